"""Requests to the API server, as the pod's own account."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from entrance.waking import UnansweredError

Object = dict[str, Any]

PATIENCE_SECONDS = 10
"""How long one request may take."""
WATCH_SECONDS = 240
"""After which a watch is begun anew."""
JSON, MERGE = "application/json", "application/merge-patch+json"
GROUPS = {
    "namespaces": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "cronjobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}


class ApiError(UnansweredError):
    """The API server is away, or refuses.

    Attributes:
        status: of its answer; 0 if it gave none.
    """

    told = ("the cluster's API server does not answer, or refuses", "look at the entrance's log")

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """An API server.

    Attributes:
        account: folder with the account's ``token``, which is renewed now and then, and ``ca.crt``.
    """

    host: str
    port: int
    account: Path
    context: ssl.SSLContext

    @classmethod
    def by(cls, host: str, port: int, account: Path) -> Api:
        """Return the API server at an address.

        Raises:
            OSError: the account cannot be read.
        """
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        # Of an authority without key identifiers, such as EKS' (kubernetes-client/python 2394).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return cls(host, port, account, context)

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None if there is none."""
        try:
            return self._ask("GET", path(kind, namespace, name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def find(
        self, kind: str, namespace: str = "", selector: str = "", fields: str = ""
    ) -> list[Object]:
        """Return all objects of a kind.

        Args:
            selector: of labels.
            fields: a selector of fields.
        """
        return list(self._list(kind, namespace, selector, fields)["items"])

    def create(self, kind: str, namespace: str, body: Object) -> Object:
        """Create an object; return it."""
        return self._ask("POST", path(kind, namespace), body)

    def replace(self, kind: str, item: Object) -> Object:
        """Replace an object, unless it has changed meanwhile; return it."""
        meta = item["metadata"]
        return self._ask("PUT", path(kind, meta["namespace"], meta["name"]), item)

    def patch(self, kind: str, name: str, namespace: str, body: Object, part: str = "") -> Object:
        """Merge a patch into an object, or into a part of it such as ``scale``; return it."""
        where = path(kind, namespace, name) + (f"/{part}" if part else "")
        return self._ask("PATCH", where, body, MERGE)

    def follow(self, kind: str, selector: str) -> Iterator[tuple[str, Object | list[Object]]]:
        """Yield all objects of a kind, as ``all``, and then each change, until the watch ends."""
        found = self._list(kind, "", selector)
        yield "all", list(found["items"])
        query = {
            "watch": "1",
            "labelSelector": selector,
            "resourceVersion": found["metadata"]["resourceVersion"],
            "timeoutSeconds": str(WATCH_SECONDS),
            "allowWatchBookmarks": "true",
        }
        connection = self._connection(WATCH_SECONDS + PATIENCE_SECONDS)
        try:
            answer = self._send(connection, "GET", f"{path(kind)}?{urlencode(query)}")
            while line := answer.readline():
                change = json.loads(line)
                if change["type"] == "ERROR":
                    status = change["object"]
                    raise ApiError(int(status.get("code", 0)), str(status.get("message", "")))
                yield change["type"], change["object"]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(0, f"the watch of {kind} broke off: {error}") from error
        finally:
            connection.close()

    def _list(self, kind: str, namespace: str, selector: str, fields: str = "") -> Object:
        said = {"labelSelector": selector, "fieldSelector": fields}
        query = urlencode({key: value for key, value in said.items() if value})
        return self._ask("GET", path(kind, namespace) + (f"?{query}" if query else ""))

    def _ask(self, method: str, where: str, body: Object | None = None, kind: str = JSON) -> Object:
        connection = self._connection(PATIENCE_SECONDS)
        try:
            answer: Object = json.loads(self._send(connection, method, where, body, kind).read())
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(0, f"the API server does not answer: {error}") from error
        finally:
            connection.close()

    def _connection(self, seconds: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=seconds, context=self.context
        )

    def _send(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        where: str,
        body: Object | None = None,
        kind: str = JSON,
    ) -> http.client.HTTPResponse:
        headers = {
            "Authorization": f"Bearer {(self.account / 'token').read_text().strip()}",
            "Accept": JSON,
            "User-Agent": "mautic-entrance",
        }
        if body is not None:
            headers["Content-Type"] = kind
        connection.request(method, where, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            said = answer.read(2000).decode(errors="replace")
            raise ApiError(answer.status, f"{method} {where}: {answer.status} {said}")
        return answer


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """Return the path of a kind's objects, or of one of them."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{GROUPS[kind]}{within}/{kind}" + (f"/{name}" if name else "")

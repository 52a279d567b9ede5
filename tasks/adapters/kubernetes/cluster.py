"""A client of a Kubernetes cluster: objects as plain dicts, and watches that reconnect.

Objects keep the API's own JSON, so that ``core.kubernetes.rollout`` and the tests see exactly what
the cluster reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tasks.adapters.kubernetes.exec import Exec
from tasks.adapters.kubernetes.kinds import KINDS, Kind
from tasks.adapters.kubernetes.transport import (
    PATIENCE_SECONDS,
    ApiRequest,
    Stop,
    Transport,
    refusal,
)
from tasks.adapters.kubernetes.watch import PAGE, WatchEvent, list_objects, watch
from tasks.core.errors import ClusterError, ConflictError
from tasks.core.kubernetes.objects import Object

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = "mautic-multidev"
SILENCE_SECONDS = 900.0
"""How long a followed log may be silent before it is connected again."""
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""How to ask for a list without specs and data
(https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches)."""


class Cluster:
    """One cluster, by one context of a kubeconfig, which is read at the first request.

    Args:
        context: the context's name; None takes the current one.
        kubeconfig: path of the kubeconfig; None takes KUBECONFIG or the user's own.
        patience: seconds for which requests to a busy, failing or unreachable API are retried.
        log_in: returns a client of the cluster, instead of one from the kubeconfig; called again
            when the API refuses its credentials.
        say: called with a message once per outage of the API.
    """

    def __init__(
        self,
        context: str | None = None,
        kubeconfig: str | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
        log_in: Callable[[], ApiClient] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._say = say
        self.context = context
        self.kubeconfig = kubeconfig
        self._patience = patience
        self._log_in = log_in

    @cached_property
    def _transport(self) -> Transport:
        return Transport(self.context, self.kubeconfig, self._patience, self._log_in, self._say)

    # -- objects --------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return an object, or None when there is none of that name."""
        try:
            return self._transport.json(ApiRequest("GET", KINDS[kind].path(namespace, name)))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def find(
        self,
        kind: str,
        namespace: str | None = None,
        selector: str = "",
        *,
        metadata_only: bool = False,
    ) -> list[Object]:
        """Return all objects of a kind, in one namespace or in all of them.

        Args:
            namespace: the namespace; None for all of them.
            selector: label selector.
            metadata_only: return only their metadata.
        """
        query = {"labelSelector": selector, "limit": str(PAGE)}
        headers = {"Accept": METADATA_ONLY} if metadata_only else None
        return list_objects(self._transport, kind, namespace, query, headers)[0]

    def find_all(
        self, kind: str, selector: str = "", *, fields: str = "", metadata_only: bool = False
    ) -> list[Object]:
        """Return all objects of a kind in one call, however many there are.

        Args:
            selector: label selector.
            fields: field selector.
            metadata_only: return only their metadata.
        """
        query = {"labelSelector": selector, "fieldSelector": fields}
        headers = {"Accept": METADATA_ONLY} if metadata_only else None
        return list_objects(self._transport, kind, None, query, headers)[0]

    def apply(self, manifest: Object) -> Object:
        """Create or update an object by server-side apply, as its sole manager."""
        kind, meta = manifest["kind"], manifest["metadata"]
        path = KINDS[kind].path(meta.get("namespace"), meta["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._transport.json(
            ApiRequest("PATCH", path, query, manifest, "application/apply-patch+yaml")
        )

    def would_be(self, manifest: Object, manager: str) -> Object:
        """Return what an object would be after a server-side apply; nothing is changed.

        Args:
            manager: the field manager that would apply it, by force.

        Raises:
            ClusterError: the API would refuse it.
        """
        kind, meta = manifest["kind"], manifest["metadata"]
        path = KINDS[kind].path(meta.get("namespace"), meta["name"])
        query = {"fieldManager": manager, "force": "true", "dryRun": "All"}
        return self._transport.json(
            ApiRequest("PATCH", path, query, manifest, "application/apply-patch+yaml")
        )

    def create(self, manifest: Object) -> Object:
        """Create an object.

        Raises:
            ConflictError: there is one of that name.
        """
        path = KINDS[manifest["kind"]].path(manifest["metadata"].get("namespace"))
        return self._write(ApiRequest("POST", path, {"fieldManager": FIELD_MANAGER}, manifest))

    def replace(self, manifest: Object) -> Object:
        """Replace an object, if it is still at the version that was read.

        Raises:
            ConflictError: it was changed in the meantime.
        """
        meta = manifest["metadata"]
        path = KINDS[manifest["kind"]].path(meta.get("namespace"), meta["name"])
        return self._write(ApiRequest("PUT", path, {"fieldManager": FIELD_MANAGER}, manifest))

    def _write(self, request: ApiRequest) -> Object:
        """Return the API's object after a request that is not idempotent.

        If the answer to the first attempt was lost, the retry conflicts with its own result.
        """
        try:
            return self._transport.json(request)
        except ConflictError as error:
            wanted = request.body
            if not error.repeated or wanted is None:
                raise
            meta = wanted["metadata"]
            found = self.get(wanted["kind"], meta["name"], meta.get("namespace"))
            if found is None or not _is_written(found, wanted):
                raise
            return found

    def patch(self, kind: str, name: str, namespace: str | None, patch: Object) -> Object:
        """Change some fields of an object by a JSON merge patch."""
        path = KINDS[kind].path(namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return self._transport.json(
            ApiRequest("PATCH", path, query, patch, "application/merge-patch+json")
        )

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        uid: str = "",
    ) -> bool:
        """Request an object's deletion; return False if there is none, or none with that uid.

        Args:
            propagation: how its dependents are deleted.
            grace_seconds: its grace period; None for its own.
            uid: if given, the uid that it must have.
        """
        options: Object = {"propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._transport.json(
                ApiRequest("DELETE", KINDS[kind].path(namespace, name), body=options)
            )
        except ClusterError as error:
            # The precondition failed: another object has the name.
            if error.status == 404 or (uid and error.status == 409):
                return False
            raise
        return True

    # -- questions ------------------------------------------------------------------------------

    def may(self, verb: str, kind: str, namespace: str | None = None) -> bool:
        """Return True if this user may do something, by SelfSubjectAccessReview.

        Args:
            verb: the API's verb, or ``*`` for all of them.
            kind: the kind, a subresource as in ``Pod/log``, or ``*`` for everything.
            namespace: the namespace; None for all of them.
        """
        name, _, part = kind.partition("/")
        where = Kind("*/*", "*") if name == "*" else KINDS[name]
        group, _, _ = where.api.rpartition("/")
        attributes = {"verb": verb, "group": group, "resource": where.plural}
        if part:
            attributes["subresource"] = part
        if namespace and where.namespaced:
            attributes["namespace"] = namespace
        review = self.create(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "metadata": {},
                "spec": {"resourceAttributes": attributes},
            }
        )
        return bool(review["status"]["allowed"])

    def namespaced_kinds(self, api: str) -> frozenset[str]:
        """Return the kinds of an API, e.g. ``apps/v1``, whose objects live in namespaces.

        There are none where the cluster does not serve the API.
        """
        root = "/api" if "/" not in api else "/apis"
        try:
            found = self._transport.json(ApiRequest("GET", f"{root}/{quote(api)}"))
        except ClusterError as error:
            if error.status != 404:
                raise
            return frozenset()
        resources = found.get("resources") or ()
        return frozenset(each["kind"] for each in resources if each["namespaced"])

    def version(self) -> str:
        """Return the API server's version, e.g. ``v1.36.2``."""
        return str(self._transport.json(ApiRequest("GET", "/version"))["gitVersion"])

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail: int | None = 500,
        since: datetime | None = None,
        stamped: bool = False,
    ) -> str | None:
        """Return the end of a container's log, or None where there is none.

        It is tried once: an unreachable node must not delay the logs of all others.

        Args:
            namespace: the pod's.
            pod: its name.
            container: the container.
            previous: the log of its previous run.
            tail: how many of its last lines; None for all.
            since: leave out what is older.
            stamped: put its time before each line.

        Raises:
            ClusterError: the API, or the node it asked, failed.
        """
        query = {"container": container, "previous": str(previous).lower(), **_part(tail, since)}
        query |= {"timestamps": "true"} if stamped else {}
        request = ApiRequest("GET", KINDS["Pod"].path(namespace, pod, "log"), query)
        answer = self._transport.attempt(request)
        if answer.status in {400, 404}:  # not started yet, or gone
            return None
        if answer.status >= 400:
            raise refusal(request, answer)
        return answer.body.decode(errors="replace")

    def log_lines(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail: int | None,
        since: datetime | None,
        stop: Stop,
    ) -> Iterator[str]:
        """Yield a container's log line by line as it is written, each after its time stamp.

        Args:
            tail: lines to begin with; None begins with the first one.
            since: leave out what is older.
            stop: ends it.

        Raises:
            ClusterError: the API refused, or stayed unreachable. A broken connection ends the log.
        """
        query = {"container": container, "follow": "true", "timestamps": "true"}
        query |= _part(tail, since)
        path = KINDS["Pod"].path(namespace, pod, "log")
        request = ApiRequest("GET", path, query, timeout=(5.0, SILENCE_SECONDS))
        yield from self._transport.lines(request, stop)

    def execute(self, namespace: str, pod: str, container: str, argv: Sequence[str]) -> int:
        """Run a command in a container on this process's own terminal; return its exit status.

        Raises:
            ClusterError: it could not be started, or the connection broke off.
        """
        path = KINDS["Pod"].path(namespace, pod, "exec")
        return Exec(self._transport, path, container, argv).run()

    def output(
        self, namespace: str, pod: str, container: str, argv: Sequence[str]
    ) -> tuple[int, bytes]:
        """Run a command in a container; return its exit status and what it wrote to stdout.

        Raises:
            ClusterError: it could not be started, or the connection broke off.
        """
        path = KINDS["Pod"].path(namespace, pod, "exec")
        return Exec(self._transport, path, container, argv).output()

    def pipe(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        """Run a command in a container that reads and writes bytes; as ``Exec.pipe``."""
        path = KINDS["Pod"].path(namespace, pod, "exec")
        run = Exec(self._transport, path, container, argv)
        return run.pipe(source=source, take=take, on_line=on_line)

    def http(
        self, namespace: str, service: str, port: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body of a GET to a Service, through the API server's proxy.

        It is tried once, because the caller decides how long to wait for a site. The proxy prefixes
        every link of a page with its own path; this is undone.
        """
        proxy = KINDS["Service"].path(namespace, f"{service}:{port}", "proxy")
        answer = self._transport.attempt(ApiRequest("GET", proxy + path, headers=headers))
        return answer.status, answer.body.replace(unquote(proxy).encode(), b"")

    def now(self) -> datetime:
        """Return the time by the cluster's clock, from the last response's date."""
        return self._transport.now()

    # -- watches --------------------------------------------------------------------------------

    def watch(
        self,
        kind: str,
        namespace: str | None,
        on_change: Callable[[WatchEvent], None],
        *,
        selector: str = "",
        stop: Stop,
    ) -> None:
        """List and then watch a kind until stopped; reconnect as needed.

        Args:
            kind: what to watch.
            namespace: where; None watches all namespaces.
            on_change: called with every change; first, and whenever changes were missed, with
                ``SYNCED`` and the whole list.
            selector: label selector.
            stop: ends the watch at once.

        Raises:
            ClusterError: the API refused, or was unreachable for longer than the patience.
        """
        watch(self._transport, kind, namespace, on_change, selector=selector, stop=stop)


def _is_written(found: Object, wanted: Object) -> bool:
    """Return True if an object has the content that a request was to write."""
    meta = {key: wanted["metadata"].get(key) or {} for key in ("labels", "annotations")}
    shared = {key: wanted[key] for key in wanted.keys() - {"kind", "apiVersion", "status"}}
    return _holds(found, {**shared, "metadata": meta})


def _holds(found: Any, wanted: Any) -> bool:
    """Return True if an object has all wanted fields; the API adds others."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _holds(found.get(key, {}), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(_holds, found, wanted))
        )
    return bool(found == wanted)


def _part(tail: int | None, since: datetime | None) -> dict[str, str]:
    """Return the query for a part of a log: its last lines, what is not older than a time."""
    query = {} if tail is None else {"tailLines": str(tail)}
    return query | ({"sinceTime": since.strftime("%Y-%m-%dT%H:%M:%SZ")} if since else {})

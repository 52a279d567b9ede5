"""A fake EKS: a real API server that accepts EKS tokens, and the API that has its address."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

import requests
import yaml

from tests.integration.build_support import Answer, Request, front_door
from tests.support.aws import Moto
from tests.support.controlplane import ControlPlane

if TYPE_CHECKING:
    from types import TracebackType


def admit_database(checkout: Path) -> str:
    """Write the values that let a branch reach the stack's database; return their file's path."""
    path = "helm/environments/subnets.yaml"
    values = {"networkPolicy": {"database": {"cidrs": ["10.20.52.0/24"]}}}
    (checkout / path).write_text(yaml.safe_dump(values))
    return path


def url_of(token: str) -> str:
    """Return the signed URL that a token is made of."""
    assert token.startswith("k8s-aws-v1.")
    encoded = token.removeprefix("k8s-aws-v1.")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", encoded), "base64url without padding"
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def asked_of_sts(url: str, cluster: str) -> str:
    """Return STS's answer to a presigned URL; moto only supports signatures in headers."""
    query = {key: value[0] for key, value in parse_qs(urlsplit(url).query).items()}
    signed = ", ".join(
        f"{name}={query[f'X-Amz-{name}']}" for name in ("Credential", "SignedHeaders", "Signature")
    )
    headers = {"x-k8s-aws-id": cluster, "Authorization": f"AWS4-HMAC-SHA256 {signed}"}
    return requests.get(url, headers=headers, timeout=60).text


class Webhook:
    """What EKS puts beside its API server: it sends what a token signs, and says whose it is.

    Attributes:
        cluster: the name that tokens must be signed for.
        tokens: those it was asked about, in order.
        refused: how many more it turns away.
    """

    def __init__(self, sts: str) -> None:
        self.cluster = ""
        self.tokens: list[str] = []
        self.refused = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(hook.judge(review, sts)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def judge(self, review: dict[str, object], sts: str) -> dict[str, object]:
        token = review["spec"]["token"]  # type: ignore[index]
        self.tokens.append(token)
        status: dict[str, object] = {"authenticated": False}
        if self.refused:
            self.refused -= 1
        elif token.startswith("k8s-aws-v1.") and url_of(token).startswith(f"{sts}/?"):
            arn = re.search("<Arn>(.*)</Arn>", asked_of_sts(url_of(token), self.cluster))
            if arn:
                user = {"username": arn[1], "groups": ["system:masters"]}
                status = {"authenticated": True, "user": user}
        return {"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status}

    def forget(self) -> None:
        """Reset the recorded requests, and accept every user."""
        self.tokens.clear()
        self.refused = 0


@dataclass
class Eks:
    """A real control plane, and an EKS that knows it.

    Attributes:
        aws: moto, for all that is not EKS.
        programs: where the control plane's programs are.
        root: where its files go.
        whole: start scheduler and controllers, too, not the API server alone.
    """

    aws: Moto
    programs: Path
    root: Path
    whole: bool = False

    def __enter__(self) -> Self:
        self.webhook = Webhook(self.aws.url)
        address = f"http://127.0.0.1:{self.webhook.server.server_port}/"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sts", "cluster": {"server": address}}],
            "users": [{"name": "api", "user": {}}],
            "contexts": [{"name": "webhook", "context": {"cluster": "sts", "user": "api"}}],
            "current-context": "webhook",
        }
        path = self.root / "webhook.yaml"
        path.write_text(json.dumps(config))
        self.plane = ControlPlane(self.programs, self.root)
        self.plane.api_options = (
            f"--authentication-token-webhook-config-file={path}",
            "--authentication-token-webhook-version=v1",
            "--authentication-token-webhook-cache-ttl=0s",
        )
        if self.whole:
            self.plane.start()
        else:
            self.plane.start_bare()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.plane.stop()
        self.webhook.server.shutdown()
        self.webhook.server.server_close()

    @contextlib.contextmanager
    def api(self, name: str) -> Iterator[tuple[str, list[Request]]]:
        """Play EKS's API for a cluster of that name; moto's has no API server behind it.

        Yields:
            Its address, and the requests it has seen.
        """
        self.webhook.cluster = name
        authority = base64.b64encode((self.plane.pki.root / "ca.crt").read_bytes()).decode()
        cluster = {
            "name": name,
            "status": "ACTIVE",
            "endpoint": self.plane.url,
            "certificateAuthority": {"data": authority},
        }
        body = json.dumps({"cluster": cluster}).encode()

        def answer(request: Request) -> Answer | None:
            known = request.path == f"/clusters/{name}"
            return Answer(200, {"Content-Type": "application/json"}, body) if known else None

        with front_door(self.aws.host, answer) as (host, seen):
            yield f"http://{host}", seen

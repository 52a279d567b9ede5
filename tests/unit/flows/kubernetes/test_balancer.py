"""A stranger's way to a site whose load balancer asks for the login: over TLS, at the Gateway's."""

from __future__ import annotations

import http.server
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tasks.core.errors import SuiteError
from tasks.flows.kubernetes.balancer import balancer
from tasks.flows.kubernetes.deployer import ClusterDeployer
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tests.support.controlplane import Pki
from tests.support.fakes_cluster import (
    NAMES,
    NAMESPACE,
    FakeCluster,
    FakeHelm,
    a_cluster_context,
)
from tests.support.fakes_images import FakeRegistry
from tests.support.serving import Serving

ASKED = "https://previews.auth.eu-west-3.amazoncognito.com/oauth2/authorize"


class _Balancer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"{ASKED}?host={self.headers['Host']}")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class _Serving(Serving):
    def __init__(self, folder: Path, host: str) -> None:
        pki = Pki(folder)
        pki.issue("server", "balancer", server=True, names=[host])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.root / "server.crt", pki.root / "server.key")
        self.authority = pki.root / "ca.crt"
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Balancer)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Serving]:
    with _Serving(tmp_path_factory.mktemp("balancer") / "pki", NAMES.host) as made:
        yield made


def _cluster(port: int, *, protocol: str = "HTTPS", address: str = "127.0.0.1") -> FakeCluster:
    made = FakeCluster()
    made.put("HTTPRoute", f"{NAMES.release}-web", NAMESPACE)
    route = made.objects["HTTPRoute", NAMESPACE, f"{NAMES.release}-web"]
    parent = {"name": "mautic", "namespace": "platform", "sectionName": "https"}
    route["spec"] = {"parentRefs": [parent]}
    made.put("Gateway", "mautic", "platform")
    gateway = made.objects["Gateway", "platform", "mautic"]
    listener = {"name": "https", "protocol": protocol, "port": port}
    gateway["spec"] = {"listeners": [{"name": "http", "protocol": "HTTP", "port": 80}, listener]}
    gateway["status"] = {"addresses": [{"value": address}] if address else []}
    return made


def test_the_site_s_own_name_is_asked_for_at_the_gateway_s_address(
    served: _Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(served.authority))
    answer = balancer(_cluster(served.port), NAMES).get("/s/login")  # type: ignore[arg-type]
    assert (answer.status, answer.headers["location"]) == (302, f"{ASKED}?host={NAMES.host}")


def test_whoever_has_no_certificate_of_the_site_is_not_its_load_balancer(served: _Serving) -> None:
    with pytest.raises(SuiteError, match=f"https://{NAMES.host}/s/login does not answer: .*CERT"):
        balancer(_cluster(served.port), NAMES).get("/s/login")  # type: ignore[arg-type]


def test_a_deployer_asks_the_load_balancer_for_a_stranger(
    served: _Serving, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(served.authority))
    arn = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
    pool = {"user_pool_arn": arn, "client_id": "4f9ab", "domain": "previews"}
    for more, host in (({"door": "oidc", "door_oidc": pool}, urlsplit(ASKED).hostname), ({}, "")):
        context, _ = a_cluster_context(_cluster(served.port), FakeHelm(), tmp_path, **more)
        deployer = ClusterDeployer(
            context,
            find_images=lambda _: {},
            uploads=ClusterSharedUploads(context, FakeRegistry),
            base=str,
        )
        assert (deployer.has_door, deployer.login_host) == (True, host)
        if host:
            answer = deployer.get(NAMES, "/s/login", stranger=True)
            assert answer.headers["location"].startswith(f"https://{host}/oauth2/authorize?")


@pytest.mark.parametrize("change", [{"protocol": "HTTP"}, {"address": ""}])
def test_a_gateway_that_is_not_ready_is_told(change: dict[str, str]) -> None:
    with pytest.raises(SuiteError, match="platform/mautic has no address for HTTPS yet"):
        balancer(_cluster(443, **change), NAMES)  # type: ignore[arg-type]


def test_there_is_nothing_to_ask_without_a_route() -> None:
    with pytest.raises(SuiteError, match="has no HTTPRoute"):
        balancer(FakeCluster(), NAMES)  # type: ignore[arg-type]

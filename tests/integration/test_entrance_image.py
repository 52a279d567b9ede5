"""The entrance's image: nginx leads by the name alone, and to the waker what it cannot reach."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest
import requests

from entrance.use import visited_host
from tests.integration.standin_support import container, finish, output
from tests.support.deploys import until
from tests.support.entrance import BROWSER, entrance_image

HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "tmpfs": {"/tmp": "uid=65532,gid=65532"},
}
PLAYED = """
import http.server, json, socket, sys, threading
kind = sys.argv[1]
def listen():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 8083))
    while True:
        print("USE " + made.recv(65535).decode(), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        told = {"kind": kind, "method": self.command, "path": self.path, "length": length,
                "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(told).encode()
        self.rfile.read(length)
        accel = self.path.startswith("/held")
        self.send_response(503 if kind == "waker" and not accel else 200)
        if accel:
            self.send_header("X-Accel-Redirect", "@site")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): pass
if kind == "waker":
    threading.Thread(target=listen, daemon=True).start()
place = ("127.0.0.1" if kind == "waker" else "", int(sys.argv[2]))
http.server.ThreadingHTTPServer(place, Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient) -> str:
    return entrance_image(engine)


@dataclass
class Led:
    """The entrance's nginx, a waker that is played, and a network that sites come to."""

    engine: docker.DockerClient
    image: str
    network: Any
    address: str
    waker: Any

    def site(self, slug: str) -> Any:
        """Return a site that is up for the time of the block."""
        return container(
            self.engine,
            self.image,
            ["-c", PLAYED, "site", "8080"],
            entrypoint="python3",
            network=self.network.name,
            networking_config={
                self.network.name: self.engine.api.create_endpoint_config(
                    aliases=[f"mautic-{slug}.internal"]
                )
            },
        )

    def ask(self, slug: str, path: str = "/s/login", **options: Any) -> requests.Response:
        headers = {**BROWSER, "Host": f"{slug}.dev.example.com", **options.pop("headers", {})}
        method = options.pop("method", "GET")
        return requests.request(
            method, f"{self.address}{path}", headers=headers, timeout=30, **options
        )


@pytest.fixture(scope="module")
def led(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Led]:
    folder = tmp_path_factory.mktemp("entrance")
    site: dict[str, Any] = {
        "environment": "dev",
        "host": "{slug}.dev.example.com",
        "namespace": "mautic-{slug}",
    }
    site |= {"page": "environments.dev.example.com", "prices": {}}
    rules = {"project": "mautic", "sites": [site], "address": "{namespace}.internal:8080"}
    (folder / "rules.json").write_text(json.dumps(rules))
    folder.chmod(0o755)
    network = engine.networks.create(f"entrance-{secrets.token_hex(4)}")
    try:
        with (
            container(
                engine,
                image,
                ["lead"],
                **HARDENED,
                network=network.name,
                volumes={str(folder): {"bind": "/etc/entrance", "mode": "ro"}},
                environment={"ENTRANCE_RULES": "/etc/entrance/rules.json"},
            ) as nginx,
            container(
                engine,
                image,
                ["-c", PLAYED, "waker", "8082"],
                entrypoint="python3",
                network_mode=f"container:{nginx.id}",
            ) as waker,
        ):
            nginx.reload()
            ip = nginx.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
            made = Led(engine, image, network, f"http://{ip}:8080", waker)
            until(lambda: _answers(ip, nginx), 90)
            yield made
    finally:
        network.remove()


def _answers(ip: str, nginx: Any) -> bool:
    try:
        return requests.get(f"http://{ip}:8081/waker", timeout=2).status_code == 503
    except requests.RequestException:
        nginx.reload()
        assert nginx.status == "running", nginx.logs().decode()
        return False


def test_it_holds_no_more_than_it_needs(engine: docker.DockerClient, image: str) -> None:
    command = (
        "import importlib.util as found, os, entrance.server, entrance.use, entrance.overview\n"
        "print(os.getuid(), *map(found.find_spec, ('pip', 'kubernetes', 'tasks.flows')))"
    )
    said = output(engine, image, ["-c", command], entrypoint="python3", network_mode="none")
    assert said == "65532 None None None\n"


def test_what_answers_is_led_to_with_who_asks(led: Led) -> None:
    with led.site("up"):
        until(lambda: led.ask("up").json()["kind"] == "site", 90)
        found = led.ask(
            "up",
            "/a%2Fb?c=d",
            headers={
                "X-Forwarded-For": "192.0.2.7",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "evil.example.com",
                "Forwarded": "for=192.0.2.9",
            },
        ).json()
    assert found["path"] == "/a%2Fb?c=d"
    headers = found["headers"]
    assert headers["host"] == headers["x-forwarded-host"] == "up.dev.example.com"
    assert headers["x-forwarded-for"].startswith("192.0.2.7, ")
    assert headers["x-forwarded-proto"] == "https"
    assert "forwarded" not in headers


def test_a_site_does_not_say_where_a_request_goes_on(led: Led) -> None:
    with led.site("sly"):
        until(lambda: led.ask("sly").json()["kind"] == "site", 90)
        found = led.ask("sly", "/held")
    assert (found.status_code, found.json()["path"]) == (200, "/held")
    assert "X-Accel-Redirect" not in found.headers


def test_the_page_of_all_is_the_waker_s_with_the_login(led: Led) -> None:
    with led.site("environments"):
        found = requests.post(
            f"{led.address}/x",
            headers={**BROWSER, "Host": "environments.dev.example.com"},
            auth=("preview", "secret"),
            data="a" * 1000,
            timeout=30,
        ).json()
    assert (found["kind"], found["path"], found["length"]) == ("waker", "/x", 0)
    assert found["headers"]["authorization"].startswith("Basic ")
    assert found["headers"]["host"] == "environments.dev.example.com"


def test_what_cannot_be_reached_goes_to_the_waker_without_its_body(led: Led) -> None:
    found = led.ask("gone", "/form/submit?x=1", method="POST", data="a" * 1000)
    told = found.json()
    assert (found.status_code, told["kind"], told["method"]) == (503, "waker", "POST")
    assert (told["path"], told["length"]) == ("/form/submit?x=1", 0)
    assert told["headers"]["host"] == "gone.dev.example.com"
    assert told["headers"]["user-agent"] == BROWSER["User-Agent"]


def test_what_was_held_is_led_to_the_site_or_told_to_come_again(led: Led) -> None:
    found = led.ask("gone", "/held")
    assert (found.status_code, found.headers["Retry-After"]) == (503, "5")
    assert "does not answer yet" in found.text
    with led.site("held"):
        until(lambda: led.ask("held").json()["kind"] == "site", 90)
        # Its container is there, and nothing listens yet for the first attempt.
        assert led.ask("held", "/held").json()["kind"] == "site"


def test_no_other_name_leads_anywhere(led: Led) -> None:
    for host in ("dev.example.com", "a.b.dev.example.com", "a.example.com", "localhost"):
        found = requests.get(f"{led.address}/", headers={**BROWSER, "Host": host}, timeout=60)
        assert found.status_code == 404, host
        assert "No environment" in found.text


def test_the_waker_is_told_of_visits_to_sites_alone(led: Led) -> None:
    with led.site("used"):
        until(lambda: led.ask("used").json()["kind"] == "site", 90)
        led.ask("used", "/mtracking.gif")
        led.ask("used", '/quoted"?x=\\')

    def told() -> list[bytes]:
        lines: list[bytes] = led.waker.logs().splitlines()
        return [line for line in lines if b"used.dev" in line]

    until(lambda: len(told()) >= 3, 90)
    assert {visited_host(line) for line in told()} == {"used.dev.example.com", ""}
    assert b"gone.dev" not in led.waker.logs()


def test_a_wrong_setting_ends_it_with_a_word(engine: docker.DockerClient, image: str) -> None:
    for command, status in ((["lead"], 78), (["wake"], 78), (["dance"], 64)):
        with container(engine, image, command, network_mode="none") as made:
            assert finish(made)[0] == status

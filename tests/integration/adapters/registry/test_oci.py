"""The registry client, against a real registry; faults it cannot have on demand are played."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.registry.attachments import Attachment, attachment_tag
from tasks.adapters.registry.oci import (
    INDEX,
    PART_BYTES,
    OciRegistry,
    RequestLimits,
    UnreachableError,
)
from tasks.core.errors import RegistryError, SettingsError
from tests.integration.build_support import Answer, Request, front_door, put_image
from tests.support.registry_contract import (
    check_attachments,
    check_images,
    check_layers,
    check_registry,
)
from tests.support.serving import Serving

ENOUGH_BYTES = 64 << 20


@pytest.fixture
def place(registry: str) -> OciRegistry:
    """A path in the real registry that is this test's own."""
    return OciRegistry(f"{registry}/t{secrets.token_hex(4)}")


def put(place: OciRegistry, name: str, tag: str, content: str) -> str:
    return put_image(place.host, f"{place.url.partition('/')[2]}/{name}", tag, content)


# -- against the real registry ----------------------------------------------------------------


def test_it_does_what_the_flows_count_on(place: OciRegistry) -> None:
    def push(content: str, /, *tags: str) -> str:
        (digest,) = {put(place, "mautic", tag, content) for tag in tags}
        return digest

    check_registry(place, push)


def test_files_are_attached_to_an_image(place: OciRegistry) -> None:
    def push(content: str, /, *tags: str) -> str:
        (digest,) = {put(place, "mautic", tag, content) for tag in tags}
        return digest

    check_attachments(place, push)


def test_a_layer_becomes_an_image_part_by_part(place: OciRegistry) -> None:
    check_layers(place)
    _, manifest = place.manifest("seed-images", "seed.1")
    (layer,) = json.loads(manifest)["layers"]
    content = place.blob("seed-images", layer["digest"])
    assert len(content) == layer["size"] > PART_BYTES
    assert layer["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    config = json.loads(place.blob("seed-images", json.loads(manifest)["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]


def test_images_are_listed_and_removed_by_digest(place: OciRegistry) -> None:
    def push(content: str, /, *tags: str) -> str:
        (digest,) = {put(place, "mautic", tag, content) for tag in tags}
        return digest

    check_images(place, push)


def test_the_inventory_tells_age_lists_and_what_is_attached(place: OciRegistry) -> None:
    made = "2026-01-10T12:00:00.123456789Z"
    digests = {}
    for tag, created in (("dated", made), ("reproducible", "1970-01-01T00:00:00Z"), ("none", "")):
        config = json.dumps({"of": tag, "created": created}).encode()
        place.put_blob("mautic", config)
        descriptor = {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
            "size": len(config),
        }
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": descriptor, "layers": []}
        content = json.dumps(manifest).encode()
        digests[tag] = place.put_manifest("mautic", tag, content, kind)
    child = {"mediaType": kind, "digest": digests["dated"], "size": len(content)}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
    digests["list"] = place.put_manifest("mautic", "list", json.dumps(index).encode(), INDEX)
    place.attach("mautic", digests["none"], [Attachment("text/plain", b"x")])
    known = datetime(2026, 2, 1, tzinfo=UTC)
    stored = {one.digest: one for one in place.stored("mautic", {digests["reproducible"]: known})}
    assert {tag: stored[digest].pushed_at for tag, digest in digests.items()} == {
        "dated": datetime(2026, 1, 10, 12, 0, 0, 123456, tzinfo=UTC),
        "reproducible": known,
        "none": None,
        "list": None,
    }
    assert stored[digests["list"]].children == (digests["dated"],)
    (attached,) = stored.keys() - set(digests.values())
    assert stored[attached].subject == stored[attached].attached_to == digests["none"]


def test_what_is_attached_is_found_by_its_tag_and_names_its_image(place: OciRegistry) -> None:
    """By cosign's tag, and as a referrer where the registry has the API."""
    digest = put(place, "mautic", "1", "one")
    place.attach("mautic", digest, [Attachment("text/plain", b"x")])
    tag = f"sha256-{digest.partition(':')[2]}.att"
    assert set(place.tags("mautic")) == {"1", tag}
    kind, written = place.manifest("mautic", tag)
    subject = json.loads(written)["subject"]
    assert (kind, subject["digest"]) == ("application/vnd.oci.image.manifest.v1+json", digest)
    assert subject["size"] == len(place.manifest("mautic", digest)[1])


@pytest.mark.parametrize("broken", ["content", "size", "manifest"])
def test_what_is_attached_and_cannot_be_is_told(place: OciRegistry, broken: str) -> None:
    digest = put(place, "mautic", "1", "one")
    place.attach("mautic", digest, [Attachment("text/plain", b"right")])
    tag = attachment_tag(digest)
    kind, written = place.manifest("mautic", tag)

    def fault(request: Request) -> Answer | None:
        if broken == "content" and "/blobs/" in request.path:
            return Answer(200, {}, b"wrong")
        if request.method == "GET" and request.path.endswith(tag) and broken != "content":
            changed = json.loads(written)
            changed["layers"][0]["size"] = 10**12
            body = json.dumps(changed).encode() if broken == "size" else b'{"layers": 7}'
            return Answer(200, {"Content-Type": kind}, body)
        return None

    with front_door(place.host, fault) as (host, _):
        behind = OciRegistry(place.url.replace(place.host, host))
        with pytest.raises(RegistryError, match="what is attached to an image cannot be read"):
            behind.attached("mautic", digest)


def test_a_registry_that_is_there_answers(place: OciRegistry) -> None:
    place.ping()


def test_an_image_is_found_by_tag_and_by_digest(place: OciRegistry) -> None:
    digest = put(place, "mautic", "1", "one")
    assert place.digest("mautic", "1") == digest
    assert place.digest("mautic", digest) == digest
    assert place.reference("mautic", digest) == f"{place.url}/mautic@{digest}"


def test_what_is_not_there_has_no_digest(place: OciRegistry) -> None:
    put(place, "mautic", "1", "one")
    assert place.digest("mautic", "2") is None
    assert place.digest("nginx", "1") is None


def test_many_questions_are_answered_in_their_order(place: OciRegistry) -> None:
    digests = [put(place, "mautic", str(n), f"content {n}") for n in range(20)]
    asked = [("mautic", str(n)) for n in range(25)]
    assert place.digests(asked) == [*digests, *[None] * 5]


def test_an_image_gets_more_tags_and_stays_the_same(place: OciRegistry) -> None:
    digest = put(place, "mautic", "1", "one")
    put(place, "mautic", "2", "two")
    place.tag("mautic", "1", ["2", "latest", "branch.x.1"])
    assert place.tags("mautic") == dict.fromkeys(["1", "2", "latest", "branch.x.1"], digest)


def test_tagging_what_is_not_there_names_it(place: OciRegistry) -> None:
    with pytest.raises(RegistryError, match=f"no image 7 in {place.url}/mautic") as caught:
        place.tag("mautic", "7", ["8"])
    assert "inv build" in str(caught.value.hint)


def test_a_repository_that_is_not_there_has_no_tags(place: OciRegistry) -> None:
    assert place.tags("nothing") == {}


def test_tags_come_in_pages(place: OciRegistry) -> None:
    digest = put(place, "mautic", "first", "one")
    names = [f"tag-{n:03}" for n in range(30)]
    place.tag("mautic", "first", names)

    def small_pages(request: Request) -> Answer | None:
        # CNCF distribution 2.8 has no pages: the front door makes them out of its whole answer.
        if "/tags/list" not in request.path:
            return None
        last = request.path.partition("last=")[2]
        rest = sorted(name for name in ["first", *names] if name > last)
        page = rest[:7]
        following = f"{request.path.partition('?')[0]}?n=7&last={page[-1]}"
        return Answer(
            200,
            {"Link": f'<{following}>; rel="next"'} if len(rest) > 7 else {},
            json.dumps({"name": "x", "tags": page}).encode(),
        )

    with front_door(place.host, small_pages) as (host, seen):
        found = OciRegistry(place.url.replace(place.host, host)).tags("mautic")
    assert found == dict.fromkeys(["first", *names], digest)
    assert sum("/tags/list" in request.path for request in seen) == 5


def test_deleting_one_tag_leaves_the_others_of_the_same_image(place: OciRegistry) -> None:
    digest = put(place, "mautic", "1", "one")
    place.tag("mautic", "1", ["2", "3"])
    assert place.delete_tag("mautic", "2") is True
    assert place.tags("mautic") == {"1": digest, "3": digest}
    assert place.digest("mautic", digest) == digest


def test_deleting_every_tag_leaves_none(place: OciRegistry) -> None:
    put(place, "mautic", "1", "one")
    place.tag("mautic", "1", ["2"])
    assert [place.delete_tag("mautic", tag) for tag in ("1", "2")] == [True, True]
    assert place.tags("mautic") == {}


def test_deleting_a_tag_that_is_not_there_is_no_error(place: OciRegistry) -> None:
    assert place.delete_tag("mautic", "1") is False
    put(place, "mautic", "1", "one")
    assert place.delete_tag("mautic", "2") is False


def test_deleting_the_same_tag_twice_at_once_is_no_error(place: OciRegistry) -> None:
    put(place, "mautic", "1", "one")
    errors: list[Exception] = []

    def delete() -> None:
        try:
            OciRegistry(place.url).delete_tag("mautic", "1")
        except RegistryError as error:
            errors.append(error)

    threads = [threading.Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert place.tags("mautic") == {}


# -- faults -----------------------------------------------------------------------------------


def quick(url: str) -> OciRegistry:
    return OciRegistry(url, RequestLimits(connect=2, read=1, retries=2))


def test_a_registry_that_is_down_is_named(free_port: Callable[[], int]) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached: Connection refused") as caught:
        OciRegistry(f"localhost:{free_port()}/mautic").digest("nginx", "1")
    assert "inv doctor" in str(caught.value.hint)


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnreachableError, match=r"registry.invalid cannot be reached"):
        quick("registry.invalid/mautic").digest("nginx", "1")


def test_a_registry_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"localhost:{silent.getsockname()[1]}/mautic"
        with pytest.raises(UnreachableError, match=r"cannot be reached: .*timed out"):
            OciRegistry(url, RequestLimits(connect=0.5, read=0.3, retries=1)).digest("nginx", "1")


def test_something_else_on_the_port_is_no_registry(registry: str) -> None:
    with (
        front_door(registry, lambda _: Answer(403, body=b"AirTunes")) as (host, _),
        pytest.raises(RegistryError),
    ):
        OciRegistry(f"{host}/mautic").ping()


@pytest.mark.parametrize(
    ("status", "pause"),
    [
        *((status, "0") for status in (429, 500, 502, 503)),
        *((429, pause) for pause in ("Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-1")),
    ],
)
def test_a_passing_fault_is_waited_out(place: OciRegistry, status: int, pause: str) -> None:
    digest = put(place, "mautic", "1", "one")
    answers = [Answer(status, {"Retry-After": pause}), Answer(status)]

    def at_first(_: Request) -> Answer | None:
        return answers.pop() if answers else None

    with front_door(place.host, at_first) as (host, seen):
        assert OciRegistry(place.url.replace(place.host, host)).digest("mautic", "1") == digest
    assert len(seen) == 3


def test_a_fault_that_stays_is_an_error_with_its_status(registry: str) -> None:
    with front_door(registry, lambda _: Answer(503, body=b"out of order")) as (host, seen):
        with pytest.raises(UnreachableError, match="answered 503 to GET /v2/m/nginx/") as caught:
            quick(f"{host}/m").tag("nginx", "1", ["2"])
        assert len(seen) == 3
    assert caught.value.output == "out of order"


def test_something_else_that_answers_in_a_registry_s_place_is_told(registry: str) -> None:
    with (
        front_door(registry, lambda _: Answer(200, body=b"<html>Log in")) as (host, _),
        pytest.raises(RegistryError, match=r"GET /v2/m/nginx/tags/list.* is no JSON") as told,
    ):
        quick(f"{host}/m").tags("nginx")
    assert told.value.output == "<html>Log in"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ({"tags": "abc"}, "tags that are none"),
        ({"tags": [1]}, "tags that are none"),
        ({"tags": ["../../v2"]}, "tags that are none"),
        ({"tags": ["a\x1b[2Jb"]}, "tags that are none"),
        ({"tags": []}, "a next page that was there before"),
    ],
)
def test_an_answer_that_breaks_the_specification_is_told(
    registry: str, answer: dict[str, Any], what: str
) -> None:
    def reply(request: Request) -> Answer:
        link = {"Link": f'<{request.path}>; rel="next"'}
        return Answer(200, link, json.dumps(answer).encode())

    with (
        front_door(registry, reply) as (host, _),
        pytest.raises(RegistryError, match=rf"GET /v2/m/nginx/tags/list.* with {what}"),
    ):
        quick(f"{host}/m").tags("nginx")


def test_a_digest_and_a_type_are_what_they_should_be(registry: str) -> None:
    def reply(request: Request) -> Answer:
        return Answer(200, {"Docker-Content-Digest": "x; rm", "Content-Type": "text/html"}, b"{}")

    with front_door(registry, reply) as (host, _):
        with pytest.raises(RegistryError, match="with a digest that is none"):
            quick(f"{host}/m").digest("nginx", "1")
        with pytest.raises(RegistryError, match="a manifest of the type 'text/html'"):
            quick(f"{host}/m").tag("nginx", "1", ["2"])


class Endless(Serving):
    """Answers every GET with a body that never ends; a redirect, too.

    Attributes:
        sent: how many bytes it has sent.
    """

    def __init__(self, status: int) -> None:
        outer = self
        self.sent = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", INDEX)
                self.send_header("Location", "/storage")
                self.end_headers()
                part = b"[" * (1 << 16)
                # A client that reads on would be given up after a while.
                with contextlib.suppress(OSError):
                    while outer.sent < ENOUGH_BYTES:
                        outer.sent += self.wfile.write(part)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{self._server.server_address[1]}"


@pytest.mark.parametrize("status", [200, 307, 404, 500])
@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        (lambda place: place.manifest("nginx", "1"), 4),
        (lambda place: place.tags("nginx"), 16),
        (lambda place: place.blob("nginx", "sha256:1"), 32),
        (lambda place: place.ping(), 32),
    ],
    ids=["manifest", "tags", "blob", "ping"],
)
def test_an_answer_without_an_end_is_not_read_to_it(
    ask: Callable[[OciRegistry], object], limit: int, status: int
) -> None:
    with Endless(status) as server:
        place = OciRegistry(f"{server.host}/m", RequestLimits(connect=2, read=1, retries=0))
        with pytest.raises(RegistryError) as told:
            ask(place)
    assert f"more than {limit} MiB, and was not read further" in told.value.message
    # The rest is in the buffers of both sides.
    assert server.sent < (limit + 16) << 20


def test_too_many_requests_is_not_unreachable(registry: str) -> None:
    with front_door(registry, lambda _: Answer(429)) as (host, _):
        with pytest.raises(RegistryError, match="answered 429") as caught:
            quick(f"{host}/m").digest("nginx", "1")
        assert not isinstance(caught.value, UnreachableError)


def test_a_connection_cut_while_tagging_is_made_again(place: OciRegistry) -> None:
    put(place, "mautic", "1", "one")
    cut = [True]

    def at_first(request: Request) -> Answer | None:
        if request.method == "PUT" and cut:
            cut.clear()
            raise ConnectionAbortedError  # the handler drops the connection
        return None

    with front_door(place.host, at_first) as (host, _):
        OciRegistry(place.url.replace(place.host, host)).tag("mautic", "1", ["2"])
    assert set(place.tags("mautic")) == {"1", "2"}


def test_a_registry_without_deletion_says_how_to_allow_it(place: OciRegistry) -> None:
    put(place, "mautic", "1", "one")

    def forbid(request: Request) -> Answer | None:
        return Answer(405) if request.method == "DELETE" else None

    with (
        front_door(place.host, forbid) as (host, _),
        pytest.raises(RegistryError, match="answered 405 to DELETE") as caught,
    ):
        OciRegistry(place.url.replace(place.host, host)).delete_tag("mautic", "1")
    assert "REGISTRY_STORAGE_DELETE_ENABLED" in str(caught.value.hint)


def test_several_tags_are_deleted_and_counted(place: OciRegistry) -> None:
    digest = put(place, "mautic", "1", "one")
    place.tag("mautic", "1", ["2", "3"])
    assert place.delete_tags("mautic", ["1", "absent", "2"]) == 2
    assert place.tags("mautic") == {"3": digest}


def test_a_registry_that_deletes_tags_is_asked_to(place: OciRegistry) -> None:
    put(place, "mautic", "1", "one")

    def newer(request: Request) -> Answer | None:
        return Answer(202) if request.method == "DELETE" else None

    with front_door(place.host, newer) as (host, seen):
        assert OciRegistry(place.url.replace(place.host, host)).delete_tag("mautic", "1")
    assert [r.path.rpartition("/")[2] for r in seen if r.method == "DELETE"] == ["1"]
    assert not [r for r in seen if r.method == "PUT"]


# -- who may ----------------------------------------------------------------------------------

USER = "ada:s3cret"


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes a Docker configuration that knows the password of a registry."""

    def write(host: str) -> None:
        auth = base64.b64encode(USER.encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))
    return write


def basic(request: Request) -> Answer | None:
    expected = "Basic " + base64.b64encode(USER.encode()).decode()
    if request.headers.get("Authorization") == expected:
        return None
    return Answer(401, {"WWW-Authenticate": 'Basic realm="here"'})


def bearer(request: Request) -> Answer | None:
    """Ask for a token for exactly the right that a request needs, as Docker Hub does."""
    host = request.headers["Host"]
    if request.path.startswith("/token"):
        expected = "Basic " + base64.b64encode(USER.encode()).decode()
        if request.headers.get("Authorization") != expected:
            return Answer(401)
        scope = request.path.partition("scope=")[2].partition("&")[0]
        return Answer(200, body=json.dumps({"token": f"for-{scope}"}).encode())
    right = "pull" if request.method in {"GET", "HEAD"} else "pull,push"
    scope = f"repository:m:{right}"
    from urllib.parse import quote_plus

    if request.headers.get("Authorization") == f"Bearer for-{quote_plus(scope)}":
        return None
    challenge = f'Bearer realm="http://{host}/token",service="s",scope="{scope}"'
    return Answer(401, {"WWW-Authenticate": challenge})


@pytest.mark.parametrize("guard", [basic, bearer], ids=["basic", "bearer"])
def test_the_password_of_docker_login_is_used(
    place: OciRegistry, login: Callable[[str], None], guard: Callable[[Request], Answer | None]
) -> None:
    digest = put(place, "mautic", "1", "one")
    with front_door(place.host, guard) as (host, seen):
        login(host)
        registry = OciRegistry(place.url.replace(place.host, host))
        assert registry.digest("mautic", "1") == digest
        assert registry.digest("mautic", "1") == digest
        registry.tag("mautic", "1", ["2"])
    assert place.digest("mautic", "2") == digest
    # One refusal for reading and, where rights are told apart, one for writing.
    refused = [r for r in seen if "Authorization" not in r.headers]
    assert len(refused) == 1


@pytest.mark.parametrize("guard", [basic, bearer], ids=["basic", "bearer"])
def test_without_a_password_the_error_says_to_log_in(
    registry: str, login: object, guard: Callable[[Request], Answer | None]
) -> None:
    with (
        front_door(registry, guard) as (host, _),
        pytest.raises(RegistryError, match="refused access") as caught,
    ):
        OciRegistry(f"{host}/m").digest("nginx", "1")
    assert f"docker login {host}" in str(caught.value.hint)


def test_a_wrong_password_is_not_repeated_in_the_error(
    registry: str, login: Callable[[str], None]
) -> None:
    refuse = Answer(401, {"WWW-Authenticate": 'Basic realm="here"'})
    with (
        front_door(registry, lambda _: refuse) as (host, _),
        pytest.raises(RegistryError) as caught,
    ):
        login(host)
        OciRegistry(f"{host}/m").digest("nginx", "1")
    assert "s3cret" not in "\n".join(caught.value.lines())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths": [1]}',
        '{"auths": {"h": "text"}}',
        '{"auths": {"h": {"auth": "no base64"}}}',
        '{"auths": {"h": {"auth": "bm9jb2xvbg=="}}}',
        '{"auths": {"h": {"auth": null}}}',
        '{"credHelpers": "text"}',
    ],
)
def test_a_docker_configuration_that_is_damaged_is_told(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with (
        front_door("127.0.0.1:9", basic) as (host, _),
        pytest.raises(SettingsError, match=re.escape(str(config))) as caught,
    ):
        OciRegistry(f"{host}/m").digest("nginx", "1")
    assert "mend or remove it" in (caught.value.hint or "")


def test_a_credential_helper_that_is_missing_is_named(
    registry: str, tmp_path: Path, login: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "not-installed"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with (
        front_door(registry, basic) as (host, _),
        pytest.raises(RegistryError, match="not-installed"),
    ):
        OciRegistry(f"{host}/m").digest("nginx", "1")


def test_a_proxy_that_was_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    own = OciRegistry("registry.example.org/mautic", patience=RequestLimits(1, 1, 0))
    with pytest.raises(UnreachableError) as caught:
        own.ping()
    assert "does registry.example.org belong into NO_PROXY?" in (caught.value.hint or "")

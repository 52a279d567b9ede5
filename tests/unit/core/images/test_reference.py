"""Image references are read as Docker reads them."""

from __future__ import annotations

import pytest

from tasks.core.errors import InputError
from tasks.core.images.reference import is_loopback, parse_reference, place_of_image

DIGEST = "sha256:" + "a" * 64

TABLE = {
    # text: host, repository, tag, digest
    "debian": ("docker.io", "library/debian", None, None),
    "debian:trixie-slim": ("docker.io", "library/debian", "trixie-slim", None),
    "mautic/mautic:7.2-fpm": ("docker.io", "mautic/mautic", "7.2-fpm", None),
    "docker.io/debian": ("docker.io", "library/debian", None, None),
    "docker.io/library/debian": ("docker.io", "library/debian", None, None),
    "localhost/a": ("localhost", "a", None, None),
    "localhost:5050/mautic/nginx:1": ("localhost:5050", "mautic/nginx", "1", None),
    "registry.example.org/a/b/c": ("registry.example.org", "a/b/c", None, None),
    "[::1]:5000/a:1": ("[::1]:5000", "a", "1", None),
    f"debian@{DIGEST}": ("docker.io", "library/debian", None, DIGEST),
    f"h:1/a:b@{DIGEST}": ("h:1", "a", "b", DIGEST),
}


@pytest.mark.parametrize("text", TABLE)
def test_a_reference_has_four_parts(text: str) -> None:
    found = parse_reference(text)
    assert (found.host, found.repository, found.tag, found.digest) == TABLE[text]


@pytest.mark.parametrize(
    "text",
    ["", ":", "a b", "Debian", "a//b", "/a", "a/", "a:", "a@sha256:1", "a:b:c", "-a", "a\n"],
)
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not an image reference"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("debian:trixie-slim", f"debian:trixie-slim@{DIGEST}"),
        ("localhost:5050/a", f"localhost:5050/a@{DIGEST}"),
    ],
)
def test_a_pinned_reference_keeps_its_name_and_tag(text: str, pinned: str) -> None:
    assert parse_reference(text).at(DIGEST) == pinned
    assert parse_reference(pinned).digest == DIGEST


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5050", True),
        ("registry.localhost:1", True),
        ("127.0.0.1:5050", True),
        ("127.8.8.8", True),
        ("[::1]:5050", True),
        ("registry.example.org", False),
        ("localhost.example.org:5050", False),
        ("10.0.0.1:5050", False),
        ("docker.io", False),
    ],
)
def test_what_is_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        (f"localhost:5050/m/mautic@{DIGEST}", "localhost:5050/m"),
        (f"127.0.0.1:5050/m/mautic:tag@{DIGEST}", "localhost:5050/m"),
        ("localhost:5050/mautic:tag", "localhost:5050/"),
        ("1.dkr.ecr-fips.us-east-1.amazonaws.com/m/nginx", "1.dkr.ecr.us-east-1.amazonaws.com/m"),
        ("nginx:1", ""),
    ],
)
def test_a_registry_s_place_is_told_by_an_image(reference: str, place: str) -> None:
    assert place_of_image(reference) == place

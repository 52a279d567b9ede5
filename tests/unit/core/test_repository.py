"""Which repository an address means, however somebody writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.repository import canonical, is_same

SHARED = "https://gitlab.example.org/g/p"

ADDRESSES = [
    "https://gitlab.example.org/g/p",
    "https://gitlab.example.org/g/p.git",
    "https://gitlab.example.org/g/p/",
    "https://gitlab.example.org/g/p.git/",
    "https://gitlab.example.org//g/./p.git",
    "https://gitlab.example.org./g/p.git",
    "https://gitlab.example.org:8443/g/p.git",
    "https://ci:t0ken@gitlab.example.org/g/p.git",
    "HTTPS://GitLab.Example.org/g/p.git",
    "http://gitlab.example.org/g/p.git",
    "https://gitlab.example.org/%67/p.git",
    "git://gitlab.example.org/g/p.git",
    "ssh://git@gitlab.example.org/g/p.git",
    "ssh://git@gitlab.example.org:22/g/p.git",
    "ssh://git@gitlab.example.org:2222/g/p.git",
    "ssh://gitlab.example.org/g/p",
    "git+ssh://git@gitlab.example.org/g/p.git",
    "git@gitlab.example.org:g/p.git",
    "git@gitlab.example.org:/g/p.git",
    "gitlab.example.org:g/p",
    "git@GITLAB.example.org:g/p/",
    "[gitlab.example.org]:g/p.git",
    "[gitlab.example.org:2222]:g/p.git",
    "git@[gitlab.example.org:2222]:g/p.git",
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_every_way_to_write_an_address_means_one_repository(url: str) -> None:
    assert canonical(url) == SHARED
    assert is_same(url, SHARED)


@pytest.mark.parametrize(
    "url",
    [
        "https://gitlab.example.org/g/q",
        "https://gitlab.example.org/g/sub/p",
        "https://gitlab.example.org/p",
        "https://gitlab.example.com/g/p",
        "git@example.org:g/p",
        "/g/p",
        "",
    ],
)
def test_other_repositories_are_others(url: str) -> None:
    assert not is_same(url, SHARED)


def test_hosters_tell_no_capital_letters_apart_and_this_machine_does() -> None:
    assert is_same(
        "git@gitlab.example.org:Group/Project.git", "https://GitLab.example.org/group/project"
    )
    assert not is_same("/home/ada/P", "/home/ada/p")
    # It is shown as somebody wrote it.
    assert canonical("git@gitlab.example.org:Group/P") == "https://gitlab.example.org/Group/P"


@pytest.mark.parametrize(
    ("door", "host"),
    [
        ("ssh.github.com", "github.com"),
        ("altssh.gitlab.com", "gitlab.com"),
        ("altssh.bitbucket.org", "bitbucket.org"),
    ],
)
def test_a_hoster_s_door_for_closed_networks_is_the_hoster(door: str, host: str) -> None:
    assert is_same(f"ssh://git@{door}:443/g/p.git", f"https://{host}/g/p")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/srv/git/p.git", "/srv/git/p"),
        ("/srv/git/p/", "/srv/git/p"),
        ("file:///srv/git/p.git", "/srv/git/p"),
        ("../elsewhere", "../elsewhere"),
        ("./a:b", "./a:b"),
        ("/", "/"),
    ],
)
def test_a_path_stays_a_path(url: str, shown: str) -> None:
    assert canonical(url) == shown
    assert canonical(url, lambda host: f"resolved {host}") == shown


def test_only_ssh_has_aliases() -> None:
    hosts = {"work": "gitlab.example.org"}
    for url in ("work:g/p", "git@work:g/p.git", "ssh://git@work/g/p", "ssh://work:22/g/p"):
        assert canonical(url, lambda host: hosts[host]) == SHARED
    assert canonical("https://work/g/p", lambda host: hosts[host]) == "https://work/g/p"


hosts = st.from_regex(r"[a-zA-Z][a-zA-Z0-9.-]{0,8}[a-z]", fullmatch=True)
paths = st.from_regex(r"[a-zA-Z~][a-zA-Z0-9/._~-]{0,12}", fullmatch=True)


@given(hosts, paths)
def test_what_an_address_comes_to_is_the_same_repository(host: str, path: str) -> None:
    for url in (
        f"https://{host}/{path}",
        f"ssh://u@{host}:22/{path}",
        f"{host}:{path}",
        f"/{path}",
    ):
        found = canonical(url)
        assert is_same(url, found)
        assert canonical(found) == found


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_address_breaks_it(one: str, other: str) -> None:
    for url in (one, f"https://{one}/{other}", f"ssh://[{one}]:{other}", f"{one}:{other}"):
        assert is_same(url, url)

"""Which packages bring what is missing, and where they are taken from."""

from __future__ import annotations

import pytest

from tasks.core.doctor.checks import Need
from tasks.core.doctor.packages import (
    PREFERENCES,
    SOURCES,
    Apt,
    Candidate,
    FixCommand,
    Index,
    docker_packages,
    install_commands,
    manual_install_hint,
    mirrors,
    newer_sources,
    read_indexes,
    read_policy,
)

DEBIAN = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
DEB822 = f"""\
# what the image came with
Types: deb deb-src
URIs: {DEBIAN}
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {SECURITY}
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr
 -----END PGP PUBLIC KEY BLOCK-----
"""
BOOKWORM = (
    Index(f"{DEBIAN}/", "bookworm", "bookworm", "Debian"),
    Index(f"{DEBIAN}/", "bookworm-updates", "bookworm-updates", "Debian"),
    Index(f"{DEBIAN}/", "bookworm-backports", "bookworm-backports", "Debian Backports"),
    Index(f"{SECURITY}/", "bookworm-security", "bookworm-security", "Debian"),
)
TRIXIE = (Index(f"{DEBIAN}/", "trixie", "trixie", "Debian"),)
OLD = {
    "docker.io": Candidate("20.10.24+dfsg1-1+deb12u1+b6", ""),
    "docker-compose": Candidate("1.29.2-3", ""),
}
NEW = {
    "docker.io": Candidate("26.1.5+dfsg1-9+deb13u1", ""),
    "docker-cli": Candidate("26.1.5+dfsg1-9+deb13u1", ""),
    "docker-buildx": Candidate("0.13.1+ds1-3", ""),
    "docker-compose": Candidate("2.26.1-4", ""),
}
UBUNTU = {
    "docker.io": Candidate("28.2.2-0ubuntu1~24.04.1", ""),
    "docker-buildx": Candidate("0.21.3-0ubuntu1~24.04.1", ""),
    "docker-compose": Candidate("1.29.2-6ubuntu1", ""),
    "docker-compose-v2": Candidate("2.37.1+ds1-0ubuntu2~24.04.1", ""),
}
DOCKER_INC = {
    "docker-ce": Candidate("5:28.2.2-1~debian.12~bookworm", ""),
    "docker-ce-cli": Candidate("5:28.2.2-1~debian.12~bookworm", ""),
    "docker-buildx-plugin": Candidate("0.24.0-1~debian.12~bookworm", ""),
    "docker-compose-plugin": Candidate("2.36.2-1~debian.12~bookworm", ""),
}
ALL = (Need.ENGINE, Need.CLIENT, Need.BUILDX, Need.COMPOSE, Need.START)


def installed(commands: tuple[FixCommand, ...] | None) -> list[str]:
    """Return the packages that the last command installs."""
    assert commands is not None
    words = commands[-1].argv
    assert words[2:5] == ("apt-get", "install", "--yes")
    return list(words[words.index("Dpkg::Use-Pty=0") + 1 :])


def test_policy_is_read() -> None:
    text = """\
docker.io:
  Installed: (none)
  Candidate: 20.10.24+dfsg1-1+deb12u1+b6
  Version table:
     20.10.24+dfsg1-1+deb12u1+b6 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
docker-ce:
  Installed: (none)
  Candidate: (none)
  Version table:
docker-cli:
  Installed: 26.1.5+dfsg1-9+deb13u1
  Candidate: 26.1.5+dfsg1-9+deb13u1
"""
    assert read_policy(text) == {
        "docker.io": Candidate("20.10.24+dfsg1-1+deb12u1+b6", ""),
        "docker-ce": Candidate("", ""),
        "docker-cli": Candidate("26.1.5+dfsg1-9+deb13u1", "26.1.5+dfsg1-9+deb13u1"),
    }


def test_indexes_are_read_and_without_lists_apt_counts_as_never_updated() -> None:
    stanza = f"MetaKey: main/binary-amd64/Packages\nRelease: bookworm\nRepo-URI: {DEBIAN}/\n"
    updated = f"{stanza}Codename: bookworm\nOrigin: Debian\n"
    assert read_indexes(f"{updated}\n{updated}") == (BOOKWORM[0],)
    assert read_indexes(stanza) == (Index(f"{DEBIAN}/", "bookworm", "", ""),)
    assert Apt({}, read_indexes(updated), {}).updated
    assert not Apt({}, read_indexes(stanza), {}).updated


def test_deb822_sources_keep_their_mirror_and_keys_and_lose_the_rest() -> None:
    made = newer_sources(Apt({}, BOOKWORM, {"debian.sources": DEB822}), "bookworm", "trixie")
    assert (
        made
        == f"""\
Types: deb
URIs: {DEBIAN}
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {SECURITY}
Suites: trixie-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr
 -----END PGP PUBLIC KEY BLOCK-----
"""
    )


def test_one_line_sources_keep_their_options() -> None:
    mirror = "https://mirror.example.org/debian"
    text = f"""\
# deb {DEBIAN} bookworm main
deb [arch=amd64,arm64 signed-by=/etc/apt/keyrings/own.gpg lang-=de] {mirror} bookworm main contrib
deb-src {mirror} bookworm main
deb {mirror} bookworm-updates main # fixes
deb https://example.org/apt bookworm main
"""
    indexes = (
        Index(f"{mirror}/", "bookworm", "bookworm", "Debian"),
        Index(f"{mirror}/", "bookworm-updates", "bookworm-updates", "Debian"),
        Index("https://example.org/apt/", "bookworm", "bookworm", "Example"),
    )
    made = newer_sources(Apt({}, indexes, {"/etc/apt/sources.list": text}), "bookworm", "trixie")
    assert (
        made
        == f"""\
Types: deb
URIs: {mirror}
Suites: trixie
Components: main
Architectures: amd64 arm64
Signed-By: /etc/apt/keyrings/own.gpg
Languages-Remove: de

Types: deb
URIs: {mirror}
Suites: trixie-updates
Components: main
"""
    )


def test_a_suite_by_its_role_becomes_the_newer_release() -> None:
    """`oldstable` says nothing of the release; apt knows which one it is."""
    indexes = (Index(f"{DEBIAN}/", "oldstable", "bookworm", "Debian"),)
    text = f"deb {DEBIAN} oldstable main\n"
    made = newer_sources(Apt({}, indexes, {"sources.list": text}), "bookworm", "trixie")
    assert "Suites: trixie\n" in made


@pytest.mark.parametrize(
    "text",
    [
        f"Types: deb\nURIs: {DEBIAN}\nSuites: bookworm\nComponents: main\nEnabled: no\n",
        f"Types: deb-src\nURIs: {DEBIAN}\nSuites: bookworm\nComponents: main\n",
        f"Types: deb\nURIs: {DEBIAN}\nSuites: bookworm\nComponents: contrib\n",
        "Types: deb\nURIs: https://example.org\nSuites: bookworm\nComponents: main\n",
        "",
    ],
)
def test_what_is_not_debian_for_this_machine_is_no_source(text: str) -> None:
    assert not newer_sources(Apt({}, BOOKWORM, {"a.sources": text}), "bookworm", "trixie")


def test_mirrors_are_web_servers_only() -> None:
    files = {
        "debian.sources": DEB822,
        "a.list": "deb file:///srv/repo ./\ndeb [trusted=yes] https://example.org/x sid main\n",
    }
    assert mirrors(files) == (DEBIAN, SECURITY, "https://example.org/x")


def test_without_lists_only_the_lists_are_fetched() -> None:
    never = Apt({}, (Index(f"{DEBIAN}/", "bookworm", "", ""),), {"debian.sources": DEB822})
    commands = install_commands(ALL, never, "bookworm")
    assert [command.argv for command in commands or ()] == [("apt-get", "update", "-qq")]


def test_bookworm_takes_docker_from_trixie_and_pins_before_it_adds() -> None:
    apt = Apt(OLD, BOOKWORM, {"debian.sources": DEB822})
    commands = install_commands((*ALL, Need.DEBOOTSTRAP), apt, "bookworm")
    assert commands is not None
    assert [command.argv[:2] for command in commands] == [
        ("tee", PREFERENCES),
        ("tee", SOURCES),
        ("apt-get", "update"),
        ("env", "DEBIAN_FRONTEND=noninteractive"),
    ]
    pins = commands[0].stdin
    assert "Package: *\nPin: release o=Debian,n=trixie*\nPin-Priority: 50\n" in pins
    assert commands[1].stdin == newer_sources(apt, "bookworm", "trixie")
    packages = installed(commands)
    assert {"docker.io", "docker-cli", "docker-buildx", "docker-compose"} <= set(packages)
    assert {"debootstrap", "debian-archive-keyring"} <= set(packages)


def test_bookworm_that_has_trixie_already_is_only_pinned() -> None:
    # base-files may come from trixie, too: os-release then speaks of the wrong release.
    apt = Apt(OLD, BOOKWORM + TRIXIE, {"debian.sources": DEB822})
    commands = install_commands(ALL, apt, "trixie")
    assert [command.argv[1] for command in commands or ()] == [
        PREFERENCES,
        "update",
        "DEBIAN_FRONTEND=noninteractive",
    ]


@pytest.mark.parametrize(
    ("candidates", "wanted", "packages"),
    [
        (
            NEW,
            ALL,
            ["docker.io", "docker-cli", "docker-buildx", "docker-compose"],
        ),
        (UBUNTU, ALL, ["docker.io", "docker-buildx", "docker-compose-v2"]),
        (
            {**OLD, **DOCKER_INC},
            ALL,
            ["docker-ce", "docker-ce-cli", "docker-buildx-plugin", "docker-compose-plugin"],
        ),
        # What is installed decides: the two families exclude each other.
        (
            {**NEW, **DOCKER_INC, "docker.io": Candidate("26.1.5", "26.1.5")},
            (Need.COMPOSE,),
            ["docker-compose"],
        ),
        ({**NEW, "docker-ce": Candidate("", "5:24.0")}, (Need.BUILDX,), ["docker-buildx-plugin"]),
        # Only what is missing: an upgrade of the engine would restart everybody's containers.
        (NEW, (Need.BUILDX,), ["docker-buildx"]),
        (NEW, (Need.GIT, Need.CHROMIUM, Need.CHROMEDRIVER), ["git", "chromium", "chromium-driver"]),
    ],
)
def test_packages(
    candidates: dict[str, Candidate], wanted: tuple[Need, ...], packages: list[str]
) -> None:
    beside = ["apparmor", "ca-certificates"] if Need.ENGINE in wanted else []
    found = installed(install_commands(wanted, Apt(candidates, TRIXIE, {}), "trixie"))
    assert found == packages + beside


def test_nothing_to_install_is_no_command() -> None:
    assert install_commands((Need.START, Need.GROUP), Apt(NEW, TRIXIE, {}), "trixie") == ()


@pytest.mark.parametrize(
    "apt",
    [
        Apt(OLD, (Index("http://a/", "jammy", "jammy", "Ubuntu"),), {}),
        Apt({}, (Index(f"{DEBIAN}/", "bullseye", "bullseye", "Debian"),), {}),
        # Bookworm by its lists, but its sources are not in the files any more.
        Apt(OLD, BOOKWORM, {}),
    ],
)
def test_where_no_source_has_a_usable_docker_nothing_is_run(apt: Apt) -> None:
    assert install_commands(ALL, apt, "") is None


def test_a_compose_of_the_first_generation_is_none() -> None:
    assert docker_packages({**NEW, "docker-compose": Candidate("1.29.2-3", "1.29.2-3")}) is None


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (
            (Need.GIT, *ALL),
            "# install Docker's engine, client, buildx, compose "
            "(https://docs.docker.com/engine/install/) and git by the system's package manager",
        ),
        ((Need.RSYNC, Need.START), "# install rsync by the system's package manager"),
        ((Need.START, Need.GROUP), ""),
    ],
)
def test_other_package_managers_are_told_what_to_install(
    wanted: tuple[Need, ...], line: str
) -> None:
    assert manual_install_hint(wanted) == line


def test_commands_are_shown_as_they_are_typed() -> None:
    command = FixCommand(("tee", "/etc/a file"), stdin="one\ntwo\n")
    assert command.shown(sudo=True) == "sudo tee '/etc/a file' <<'EOF'\none\ntwo\nEOF"
    assert FixCommand(("id",), root=False).shown(sudo=True) == "id"

"""What the doctor thinks of facts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tasks.core.doctor.checks import (
    GIB,
    TERRAFORM_MIN,
    ClockSkew,
    DockerFacts,
    Facts,
    Finding,
    ImageHost,
    Need,
    PortUse,
    Severity,
    SystemFacts,
    TerraformFacts,
    judge,
    needs,
    problems,
    version_of,
)
from tests.support.suite import ROOT

SYSTEM = SystemFacts(
    name="Debian GNU/Linux 12 (bookworm)",
    machine="x86_64",
    python="3.11.2",
    user="ada",
    root=False,
    sudo=True,
    apt=True,
    codename="bookworm",
    systemd=True,
)
DOCKER = DockerFacts(
    client="/usr/bin/docker",
    daemon="/usr/sbin/dockerd",
    state="answers",
    version="26.1.5+dfsg1",
    driver="overlay2",
    root="/var/lib/docker",
    buildx="0.13.1+ds1",
    compose="2.26.1-4",
)
HUB = ImageHost(
    "docker.io", ("debian:trixie-slim", "mysql:8.4"), reached=True, detail="", missing=()
)
AWAY = dataclasses.replace(HUB, reached=False, detail="Name or service not known")
FACTS = Facts(
    system=SYSTEM,
    git="git version 2.39.5",
    docker=DOCKER,
    disk={"/var/lib/docker": 60 * GIB},
    memory=8 * GIB,
    ports=(PortUse("proxy", "platform.http_port", "127.0.0.1", 8080, "", 8080),),
    clock=ClockSkew("docker.io", 0.4),
    sources=(HUB,),
    localhost=("127.0.0.1", "::1"),
    tools={Need.DEBOOTSTRAP: ""},
)


def look(check: str, **changes: Any) -> Finding:
    """Return what is thought of one thing, when some facts are different."""
    found = [each for each in judge(dataclasses.replace(FACTS, **changes)) if each.check == check]
    assert len(found) == 1, found
    return found[0]


def test_a_machine_that_lacks_nothing() -> None:
    findings = judge(FACTS)
    assert {finding.level for finding in findings} == {Severity.OK}
    assert not needs(findings)
    assert not any(finding.remedy for finding in findings)


@pytest.mark.parametrize(
    ("changes", "words", "wanted"),
    [
        (
            {"client": "", "daemon": ""},
            "not installed",
            (Need.ENGINE, Need.CLIENT, Need.BUILDX, Need.COMPOSE, Need.START),
        ),
        (
            {"client": ""},
            "no docker client",
            (Need.CLIENT, Need.BUILDX, Need.COMPOSE),
        ),
        # An old client somewhere on PATH is not an engine.
        (
            {"daemon": "", "client": "/usr/local/bin/docker", "state": "silent", "error": "no"},
            "/usr/local/bin/docker",
            (Need.ENGINE, Need.START),
        ),
        ({"state": "silent", "error": "Is it running?"}, "Is it running?", (Need.START,)),
        ({"state": "forbidden", "error": "permission denied"}, "ada may not", (Need.GROUP,)),
        (
            {"state": "silent", "host": "DOCKER_HOST=tcp://box:2376", "error": "timeout"},
            "DOCKER_HOST=tcp://box:2376",
            (),
        ),
        ({"version": "20.10.24+dfsg1"}, "older than 23.0", (Need.ENGINE, Need.CLIENT)),
        ({"version": "20.10.24", "host": "the Docker context far"}, "older than 23.0", ()),
    ],
)
def test_an_engine_that_cannot_be_used(
    changes: dict[str, Any], words: str, wanted: tuple[Need, ...]
) -> None:
    found = look("engine", docker=dataclasses.replace(DOCKER, **changes))
    assert found.level is Severity.PROBLEM
    assert words in found.found
    assert found.needs == wanted
    # What --fix cannot bring has a remedy of its own.
    assert found.needs or found.remedy


def test_a_member_of_the_group_only_has_to_log_in_again() -> None:
    docker = dataclasses.replace(DOCKER, state="forbidden")
    found = look("engine", docker=docker, system=dataclasses.replace(SYSTEM, member=True))
    assert (found.level, found.needs) == (Severity.PROBLEM, ())
    assert "newgrp docker" in found.remedy


def test_a_storage_driver_that_copies_everything() -> None:
    found = look("engine", docker=dataclasses.replace(DOCKER, driver="vfs"))
    assert found.level is Severity.WARNING
    assert "overlay2" in found.remedy


@pytest.mark.parametrize(
    ("plugin", "version", "level"),
    [
        ("buildx", "", Severity.PROBLEM),
        ("buildx", "v0.9.1", Severity.PROBLEM),
        ("buildx", "v0.10.0", Severity.OK),
        ("compose", "", Severity.PROBLEM),
        ("compose", "1.29.2", Severity.PROBLEM),
        ("compose", "2.19.0", Severity.PROBLEM),
        ("compose", "2.20.2+ds1-0ubuntu1~22.04.1", Severity.OK),
        ("compose", "v5.0.0", Severity.OK),
    ],
)
def test_plugins(plugin: str, version: str, level: Severity) -> None:
    found = look(plugin, docker=dataclasses.replace(DOCKER, **{plugin: version}))
    assert found.level is level
    assert found.needs == (() if level is Severity.OK else (Need(plugin),))


@pytest.mark.parametrize(
    ("gib", "disk", "memory"),
    [
        (100, Severity.OK, Severity.OK),
        (9.9, Severity.WARNING, Severity.OK),
        (2.9, Severity.PROBLEM, Severity.OK),
        (1.5, Severity.PROBLEM, Severity.WARNING),
        (0.9, Severity.PROBLEM, Severity.PROBLEM),
    ],
)
def test_room(gib: float, disk: Severity, memory: Severity) -> None:
    found = look("disk", disk={"/data": int(gib * GIB)})
    assert (found.level, bool(found.remedy)) == (disk, disk is not Severity.OK)
    assert "/data" in found.found
    assert look("memory", memory=int(gib * GIB)).level is memory


def test_memory_that_the_system_does_not_tell_is_left_out() -> None:
    assert not [one for one in judge(dataclasses.replace(FACTS, memory=None)) if "mem" in one.check]


def test_a_port_of_the_platform_itself_is_no_problem() -> None:
    use = dataclasses.replace(FACTS.ports[0], holder="ours")
    assert look("port 8080", ports=(use,)).level is Severity.OK


def test_a_taken_port_names_its_holder_the_setting_and_a_free_one() -> None:
    use = PortUse("registry", "platform.registry_port", "127.0.0.1", 5050, "container x", 5051)
    found = look("port 5050", ports=(use,))
    assert found.level is Severity.PROBLEM
    assert "container x" in found.found
    assert "platform.registry_port: 5051" in found.remedy
    assert "localhost:5051" in found.remedy


@pytest.mark.parametrize(
    ("skew", "level", "word"),
    [
        (0.0, Severity.OK, "agrees"),
        (-59.0, Severity.OK, "agrees"),
        (61.0, Severity.WARNING, "ahead of"),
        (-301.0, Severity.PROBLEM, "behind"),
    ],
)
def test_clock(skew: float, level: Severity, word: str) -> None:
    found = look("clock", clock=ClockSkew("docker.io", skew))
    assert (found.level, bool(found.remedy)) == (level, level is not Severity.OK)
    assert word in found.found


def test_a_clock_that_nothing_can_be_compared_with() -> None:
    assert "not compared" in look("clock", clock=ClockSkew()).found


@pytest.mark.parametrize(
    ("changes", "level", "debootstrap"),
    [
        ({}, Severity.OK, None),
        # The engine has all of them: nothing has to be fetched.
        ({"sources": (AWAY,)}, Severity.OK, None),
        (
            {"sources": (dataclasses.replace(AWAY, missing=("mysql:8.4",)),)},
            Severity.WARNING,
            Severity.PROBLEM,
        ),
        (
            {
                "sources": (dataclasses.replace(AWAY, missing=("mysql:8.4",)),),
                "standins": "official",
            },
            Severity.PROBLEM,
            None,
        ),
        (
            {"sources": (dataclasses.replace(AWAY, missing=("mysql:8.4",)),), "protected": True},
            Severity.PROBLEM,
            None,
        ),
        ({"sources": (), "standins": "standins"}, Severity.OK, Severity.PROBLEM),
    ],
)
def test_base_images_decide_whether_debootstrap_is_needed(
    changes: dict[str, Any], level: Severity, debootstrap: Severity | None
) -> None:
    found = look("base images", **changes)
    assert found.level is level
    assert (level is Severity.OK) or ("docker.io" in found.found and found.remedy)
    facts = dataclasses.replace(FACTS, **changes)
    levels = [each.level for each in judge(facts) if each.check == "debootstrap"]
    assert levels == ([debootstrap] if debootstrap else [])


def test_a_missing_tool_of_the_tests_is_a_warning_that_can_be_fixed() -> None:
    found = look("chromium", tools={Need.CHROMIUM: ""})
    assert (found.level, found.needs) == (Severity.WARNING, (Need.CHROMIUM,))
    assert look("chromium", tools={Need.CHROMIUM: "/usr/bin/chromium"}).level is Severity.OK


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ("1.11.0", Severity.OK, "Terraform 1.11.0"),
        ("1.12.0-beta2", Severity.OK, "Terraform 1.12.0-beta2"),
        ("2.0.1", Severity.OK, "Terraform 2.0.1"),
        ("1.10.5", Severity.WARNING, "Terraform 1.10.5: older than 1.11"),
        ("", Severity.WARNING, "/usr/bin/terraform does not say its version"),
    ],
)
def test_terraform_for_an_environment_of_a_stack(version: str, level: Severity, words: str) -> None:
    found = look("terraform", terraform=TerraformFacts("/usr/bin/terraform", version, used=True))
    assert found.level is level
    assert found.found.startswith(words)
    assert ("install Terraform 1.11 or later" in found.remedy) == (level is not Severity.OK)


def test_terraform_that_is_missing_matters_where_there_is_a_stack_alone() -> None:
    found = look("terraform", terraform=TerraformFacts(used=True))
    assert (found.level, found.needs) == (Severity.WARNING, ())
    assert found.remedy.endswith("https://developer.hashicorp.com/terraform/install")
    assert look("terraform", terraform=TerraformFacts()).level is Severity.OK
    assert not [one for one in judge(FACTS) if one.check == "terraform"]


def test_the_oldest_terraform_is_the_one_that_the_code_asks_for() -> None:
    oldest = ".".join(map(str, TERRAFORM_MIN))
    for path in (ROOT / "terraform").rglob("versions.tf"):
        assert f'required_version = ">= {oldest}"' in path.read_text(), path


@pytest.mark.parametrize(
    ("addresses", "level"),
    [
        (("127.0.0.1",), Severity.OK),
        (("127.0.0.1", "::1"), Severity.OK),
        ((), Severity.WARNING),
        (("203.0.113.7",), Severity.WARNING),
    ],
)
def test_names_below_localhost(addresses: tuple[str, ...], level: Severity) -> None:
    found = look("names", localhost=addresses)
    assert (found.level, bool(found.remedy)) == (level, level is not Severity.OK)


def test_other_systems_are_told_that_they_install_by_hand() -> None:
    found = look("system", system=dataclasses.replace(SYSTEM, apt=False, name="Fedora Linux 44"))
    assert (found.level, bool(found.remedy)) == (Severity.WARNING, True)


def test_needs_come_once_and_in_order_and_only_problems_count() -> None:
    findings = judge(
        dataclasses.replace(FACTS, git="", docker=DockerFacts(), tools={Need.CHROMIUM: ""})
    )
    assert needs(findings) == (
        Need.GIT,
        Need.ENGINE,
        Need.CLIENT,
        Need.BUILDX,
        Need.COMPOSE,
        Need.CHROMIUM,
        Need.START,
    )
    assert [finding.check for finding in problems(findings)] == ["git", "engine"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("26.1.5+dfsg1-9+deb13u1", (26, 1, 5)),
        ("5:28.2.2-1~debian.12~bookworm", (28, 2, 2)),
        ("v0.13.1+ds1", (0, 13, 1)),
        ("1.29", (1, 29)),
        ("27.5.1-0ubuntu3~24.04.2", (27, 5, 1)),
        ("", ()),
        ("dev", ()),
    ],
)
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version_of(text) == numbers

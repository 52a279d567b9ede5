"""The doctor's plan: what is run, what is only told, and what a person reads of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.adapters.host.docker_service import DockerService
from tasks.adapters.process import Runner
from tasks.core.doctor.checks import DockerFacts, Facts, Need, SystemFacts, judge
from tasks.core.doctor.packages import Apt, Candidate, Index
from tasks.core.errors import SuiteError
from tasks.core.redact import Redactor
from tasks.flows.doctor import Doctor, DoctorReport, FixPlan, as_dict, refuse, text

ROOT = SystemFacts(
    "Debian GNU/Linux 13 (trixie)", "x86_64", "3.13.5", "root", True, False, True, "", True
)
ADA = dataclasses.replace(ROOT, user="ada", root=False, sudo=True)
BARE = Facts(system=ROOT, localhost=("127.0.0.1",), git="git version 2.47")
TRIXIE = Apt(
    {
        "docker.io": Candidate("26.1.5", ""),
        "docker-cli": Candidate("26.1.5", ""),
        "docker-buildx": Candidate("0.13.1", ""),
        "docker-compose": Candidate("2.26.1", ""),
    },
    (Index("http://deb.debian.org/debian/", "trixie", "trixie", "Debian"),),
    {},
)


def report(**changes: Any) -> DoctorReport:
    """Return a report on a machine with nothing but git, when some facts are different."""
    facts = dataclasses.replace(BARE, **changes)
    return DoctorReport(facts, judge(facts))


def plan(of: DoctorReport, apt: Apt = TRIXIE) -> FixPlan:
    """Return the plan of a doctor who is told what apt knows."""
    doctor = Doctor(
        machine=cast("Any", None),
        service=DockerService(Runner(Redactor())),
        runner=cast("Any", None),
        apt=cast("Any", SimpleNamespace(knowledge=lambda: apt)),
        settings=cast("Any", None),
        environment=cast("Any", None),
        root=Path("/"),
        work=cast("Any", None),
    )
    return doctor.plan(of)


def test_a_bare_machine_gets_its_packages_and_then_its_engine_started() -> None:
    made = plan(report())
    assert made.runnable
    assert made.lines[0] == "apt-get update -qq"
    assert "docker.io docker-cli docker-buildx docker-compose" in made.lines[1]
    assert made.lines[2:] == ("systemctl enable --now docker",)
    assert [step.subject for step in made.steps] == list(made.lines)


def test_without_systemd_dockerd_is_started_in_the_background() -> None:
    made = plan(report(system=dataclasses.replace(ROOT, systemd=False)))
    assert made.lines[-1].startswith("start-stop-daemon --start --background")
    assert made.lines[-1].endswith("--exec /usr/sbin/dockerd")


def test_before_the_first_update_nothing_further_is_promised() -> None:
    never = Apt({}, (Index("http://deb.debian.org/debian/", "trixie", "", ""),), {})
    assert plan(report(), never).lines == ("apt-get update -qq",)


def test_an_ordinary_account_needs_sudo_in_front() -> None:
    made = plan(report(system=ADA))
    assert made.sudo
    assert all(line.startswith("sudo ") for line in made.lines)


def test_a_stranger_to_the_group_is_added_to_it() -> None:
    docker = DockerFacts("/usr/bin/docker", state="forbidden", buildx="0.13.1", compose="2.26.1")
    of = report(system=ADA, docker=docker)
    assert plan(of).lines == ("sudo usermod -aG docker ada",)
    assert "not in the group docker" in "\n".join(text(of, plan(of)))


def test_elsewhere_it_is_told_and_nothing_is_run() -> None:
    told = "# install Docker's engine, client, buildx, compose (https://docs.docker.com"
    of = report(system=dataclasses.replace(ROOT, apt=False))
    made = plan(of)
    assert not made.runnable
    assert made.lines[0].startswith(told)
    assert told in "\n".join(text(of, made))
    with pytest.raises(SuiteError) as caught:
        refuse(of, made)
    assert caught.value.exit_code == 1
    assert told in "\n".join(caught.value.lines())


def test_elsewhere_an_engine_that_is_installed_is_started() -> None:
    docker = DockerFacts("/usr/bin/docker", "/usr/bin/dockerd", buildx="0.13.1", compose="2.26.1")
    made = plan(report(system=dataclasses.replace(ROOT, apt=False), docker=docker))
    assert made.runnable
    assert made.lines == ("systemctl enable --now docker",)


def test_a_debian_without_a_usable_docker_is_told_where_one_is() -> None:
    old = Apt({"docker.io": Candidate("20.10.24", "")}, (Index("http://a/", "x", "x", "Own"),), {})
    made = plan(report(), old)
    assert not made.runnable
    assert "https://docs.docker.com/engine/install/" in made.lines[0]


def test_nothing_to_fix_is_an_empty_plan_and_no_refusal() -> None:
    fine = DockerFacts(
        "/usr/bin/docker",
        "/usr/sbin/dockerd",
        "",
        "answers",
        "",
        "26.1.5",
        "overlay2",
        "/",
        "0.13.1",
        "2.26.1",
    )
    of = report(docker=fine)
    assert (plan(of).steps, of.problems) == ((), ())
    refuse(of, plan(of))
    assert as_dict(of, plan(of))["ok"] is True


def test_what_is_read_by_machines() -> None:
    of = report()
    found = as_dict(of, plan(of))
    assert found["ok"] is False
    assert found["fix"] == list(plan(of).lines)
    engine = next(one for one in found["findings"] if one["check"] == "engine")
    assert engine == {
        "check": "engine",
        "level": "problem",
        "found": "Docker is not installed",
        "remedy": "./inv doctor --fix",
    }


def test_tests_do_not_mind_what_cannot_be_installed() -> None:
    """Ports of the platform may be taken: the tests use others."""
    of = report(disk={"/": 0})
    assert [finding.check for finding in of.problems] == ["engine", "disk"]
    assert [finding.check for finding in of.lacking.problems] == ["engine"]
    assert all(Need.ENGINE in finding.needs for finding in of.lacking.problems)

"""An upgrade is rehearsed on this machine: real images, a real server, the real command line."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import docker
import pytest
import yaml

from tests.support.controlplane import free_ports
from tests.support.local import SERVICE, World, make_world, until_says
from tests.support.rehearsals import (
    BAD,
    ENV,
    FAILING,
    GOOD,
    KEY,
    LOCKING,
    REBUILDING,
    RULES,
    SKIPPED,
    fill,
    later_release,
)

OWN = "rehearse/main"
BROKEN_PAGE = """<?php
declare(strict_types=1);
if ('/s/reports' === strtok($_SERVER['REQUEST_URI'], '?')) {
    http_response_code(500);
    exit;
}
require __DIR__.'/app/standin/autoload.php';
(new Standin\\Site())->respond();
"""
BROKEN_CRON = {"acme": {"schedule": "* * * * *", "command": ["mautic:integration:fetchleads"]}}


@dataclass
class Rehearsals:
    """A world with a seed.

    Attributes:
        folder: where reports go.
        seed: its id.
    """

    world: World
    folder: Path
    seed: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.world.settings(), "seeds": {"store": str(self.folder / "seeds")}}

    def run(self, *args: str) -> CompletedProcess[str]:
        done = self.world.run(*args, settings=self.settings, env=ENV)
        assert KEY not in done.stdout + done.stderr
        return done

    def report(self, *args: str) -> tuple[int, dict[str, Any]]:
        """Rehearse; return the exit status, and what was told as JSON."""
        done = self.run("rehearse", "--format", "json", *args)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def left(self) -> list[str]:
        """Return what the engine has of a rehearsal's environment."""
        return self.world.objects("rehearse-main")


@pytest.fixture(scope="module")
def rehearsals(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rehearsals]:
    """A seed of a branch that is deployed."""
    checkout = tmp_path_factory.mktemp("rehearse") / "checkout"
    shutil.copytree(_project, checkout, symlinks=True)
    ports = iter(free_ports(2))
    world = make_world(engine, checkout, tmp_path_factory.mktemp("scratch"), lambda: next(ports))
    made = Rehearsals(world, tmp_path_factory.mktemp("reports"))
    rules = checkout / "masking.yaml"
    try:
        world.ok("build")
        world.ok("deploy")
        command = fill("/run/secrets/mautic")
        world.ok("shell", "--service", "database", "--command", command)
        rules.write_text(yaml.safe_dump(RULES))
        done = made.run("db.seed")
        assert done.returncode == 0, done.stderr
        made.seed = done.stdout.strip()
        rules.unlink()
        yield made
    finally:
        world.remove()


@pytest.fixture(scope="module")
def later(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., str]]:
    """Makes an image with a later release of the application."""
    made = []

    def make(name: str, *content: Any) -> str:
        made.append(later_release(engine, tmp_path_factory.mktemp(name), *content))
        return made[-1]

    yield make
    for tag in made:
        engine.images.remove(tag, force=True)


def test_an_upgrade_is_measured_and_nothing_of_it_stays(
    rehearsals: Rehearsals, later: Callable[..., str]
) -> None:
    image = later("good", GOOD)
    tags = rehearsals.world.tag()
    dry = rehearsals.run("rehearse", "--mautic", image, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"with seed {rehearsals.seed} of local" in dry.stdout
    assert rehearsals.left() == []

    page = rehearsals.folder / "report.md"
    status, told = rehearsals.report("--mautic", image, "--out", str(page))
    assert (status, told["failures"]) == (0, [])
    assert told["seed"]["id"] == rehearsals.seed
    assert told["migrated"]["rebuilt_by"] == "table id"
    results = {each["migration"]: each for each in told["migrated"]["results"]}
    assert {name: each["outcome"] for name, each in results.items()} == {
        **{LOCKING: "done", REBUILDING: "done", SKIPPED: "skipped"}
    }
    # Whoever came in the middle of it waited less.
    slow = results[LOCKING]
    for who in ("readers", "writers"):
        assert 0.5 < slow[f"{who}_seconds"] < 3, slow
        assert slow[f"{who}_table"] == "page_hits"
    assert slow["seconds"] >= 1
    assert {name: each["rebuilt"] for name, each in results.items()} == {
        **{LOCKING: [], REBUILDING: ["page_hits"], SKIPPED: []}
    }
    looked = {each["check"] for each in told["checks"]}
    assert looked == {"plugin", "cron", "page"}
    assert len([each for each in told["checks"] if each["check"] == "page"]) == 12
    assert f"| {LOCKING} | done |" in page.read_text()

    assert rehearsals.left() == []
    assert rehearsals.world.get("main", "/s/login").status_code == 200
    assert rehearsals.world.tag() == tags
    assert "everything is as it should be" in rehearsals.world.ok("deploy").stderr


def test_a_page_and_a_scheduled_command_that_fail_are_named(
    rehearsals: Rehearsals, later: Callable[..., str]
) -> None:
    broken = {"docroot/index.php": BROKEN_PAGE, "config/cron.json": json.dumps(BROKEN_CRON)}
    status, told = rehearsals.report("--mautic", later("broken", {SKIPPED: []}, broken))
    assert status == 6
    page, cron = told["failures"]
    assert page == "page /s/reports: answers 500"
    assert cron == "cron acme: mautic:integration:fetchleads needs --integration=NAME."
    assert rehearsals.left() == []


def test_a_migration_that_fails_ends_it_and_the_logs_are_kept(
    rehearsals: Rehearsals, later: Callable[..., str]
) -> None:
    image = later("failing", BAD)
    done = rehearsals.run("rehearse", "--mautic", image)
    assert done.returncode == 6, done.stderr
    assert f"migration {FAILING}: " in done.stderr
    assert "Duplicate entry" in done.stderr
    assert SKIPPED not in done.stdout
    assert "/s/contacts" not in done.stdout
    logs = sorted((rehearsals.world.checkout / "artifacts" / "rehearsals").iterdir())
    assert any(logs[-1].iterdir())
    assert rehearsals.left() == []


def test_interrupted_it_leaves_nothing_and_kept_it_stands_in_the_way_of_another(
    rehearsals: Rehearsals, later: Callable[..., str]
) -> None:
    image = later("slow", {LOCKING: ["DO SLEEP(10)"]})
    process = rehearsals.world.inv.start(
        *(rehearsals.world.checkout, "rehearse", "--mautic", image),
        settings=rehearsals.settings,
        env=ENV,
    )
    until_says(process, "migrations are missing")
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 128 + signal.SIGINT
    assert rehearsals.left() == []

    kept = rehearsals.run("rehearse", "--mautic", later("kept", {SKIPPED: []}), "--keep")
    assert kept.returncode == 0, kept.stderr
    there = {
        container.labels[SERVICE]: container.status
        for container in rehearsals.world.engine.containers.list(all=True, ignore_removed=True)
        if container.name.startswith(f"{rehearsals.world.project}-rehearse-main")
    }
    held = {name for name, state in there.items() if state != "running"}
    assert (held, len(there)) == ({"worker", "cron"}, 5)
    again = rehearsals.run("rehearse")
    assert (again.returncode, f"--branch {OWN}" in again.stderr) == (3, True)
    (found,) = [
        each
        for each in json.loads(rehearsals.world.ok("list", "--format", "json").stdout)
        if each["branch"] == OWN
    ]
    assert found["expires_at"] > found["deployed_at"]
    rehearsals.world.ok("cleanup", "--branch", OWN)
    assert rehearsals.left() == []


def test_what_cannot_be_is_refused_in_a_line(rehearsals: Rehearsals) -> None:
    for args, status, named in (
        (("rehearse", "--mautic", "newest"), 2, "must be a version such as 7.2"),
        (("rehearse", "--seed", "20200101t000000"), 2, "20200101t000000"),
        (("rehearse", "--contacts", "5"), 2, f"a seed is never cut down later: {rehearsals.seed}"),
        (("rehearse", "--out", "/nowhere/report.md"), 2, "there is no folder /nowhere"),
        (("rehearse", "--branch", OWN), 2, "only inv rehearse makes environments"),
        (("deploy", "--branch", OWN), 2, "only inv rehearse makes environments"),
        (("build", "--branch", OWN), 2, "only inv rehearse makes environments"),
    ):
        done = rehearsals.run(*args)
        assert (done.returncode, named in done.stderr) == (status, True), done.stderr
    assert rehearsals.left() == []


def test_without_a_right_to_see_ids_tables_are_told_by_their_time(rehearsals: Rehearsals) -> None:
    world = rehearsals.world
    asked = ("shell", "--command", "mautic rehearse migrations")
    assert json.loads(world.ok(*asked).stdout)["rebuilt_by"] == "table id"
    root = "MYSQL_PWD=$(cat /run/secrets/mautic/db_root_password) mysql -uroot -e"
    revoke = f"{root} \"REVOKE PROCESS ON *.* FROM '$MYSQL_USER'@'%'\""
    world.ok("shell", "--service", "database", "--command", revoke)
    assert json.loads(world.ok(*asked).stdout)["rebuilt_by"] == "creation time"

"""Every command that the documents show for this machine, run; every output, compared."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.support.controlplane import free_ports
from tests.support.documents import documented
from tests.support.local import make_world
from tests.support.rehearsals import ENV, RULES, fill
from tests.support.suite import commit_all, git
from tests.support.walk import Walk
from tests.support.workshop import READY

EARLIER = "1a2b3c4d"
"""The pages' tag of an earlier release."""
MIGRATES = "migrates"
MIGRATION = (
    "USER 0\nRUN echo '<?php return [\"SELECT 1\"];'"
    " > /var/www/html/docroot/app/migrations/Version20990101000000.php\nUSER 33:33"
)
FAILED = (
    "INSERT INTO messenger_messages (id, body, headers, queue_name, created_at, available_at)"
    " VALUES (7, 'works', '{\"type\": \"Mail\"}', 'failed', NOW(), NOW()),"
    " (9, 'works', '{\"type\": \"Mail\"}', 'failed', NOW(), NOW())"
)
QUERY = "MYSQL_PWD=$(cat /run/secrets/mautic/db_password) mysql -h127.0.0.1 -u$MYSQL_USER"
FAIL = "./inv shell --service database --command " + shlex.quote(
    f"{QUERY} $MYSQL_DATABASE -e {shlex.quote(FAILED)}"
)
"""Leaves two messages that have failed."""

WORK, DATA = "docs/local-development.md", "docs/data.md"
PAGES = documented("machine", "docs/first-steps.md", WORK, "README.md", DATA)
BEFORE = {
    (WORK, "./inv list"): ["./inv deploy"],
    (WORK, "./inv queue"): [FAIL],
    (WORK, "./inv queue --retry 7,9"): [FAIL],
    (WORK, "./inv deploy"): [f"./inv deploy --tag {EARLIER}"],
    (WORK, f"./inv rollback --to {EARLIER}"): ["./inv deploy"],
    ("README.md", "$ ./inv build"): ["./inv deploy"],
    (DATA, "./inv db.dump before.zip"): ["git switch main"],
    (DATA, "./inv db.load seed:20261127t071205 --replace"): ["git switch feature/x"],
    (DATA, "./inv deploy --data seed"): ["git switch -c feature/seeded"],
    (DATA, "./inv deploy --data main"): ["git switch -c feature/copied"],
    (DATA, "./inv deploy --data empty"): ["git switch -c feature/empty"],
    (DATA, "./inv rollback --branch feature/x --with-data"): [
        f"./inv deploy --branch feature/x --tag {MIGRATES}"
    ],
}
"""What is run before a command for the first time, since its page takes it for granted."""
ENDLESS = {
    "./inv dev": READY,
    "./inv dev --xdebug": READY,
    "./inv logs --follow": "|",
    "./inv page --serve": "http://127.0.0.1:",
}


@pytest.fixture(scope="module")
def walk(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walk]:
    """A checkout with an environment for `main`, and images of an earlier and a later release."""
    checkout = tmp_path_factory.mktemp("documents") / "checkout"
    shutil.copytree(_project, checkout, symlinks=True)
    (checkout / "masking.yaml").write_text(yaml.safe_dump(RULES))
    commit_all(checkout)
    git(checkout, "branch", "feature/x")
    scratch = tmp_path_factory.mktemp("scratch")
    ports = iter(free_ports(2))
    world = make_world(engine, checkout, scratch, lambda: next(ports))
    settings = {**world.settings(), "seeds": {"store": str(scratch / "seeds")}}

    def run(*words: str) -> Any:
        return world.run(*words, settings=settings, env=ENV)

    def start(*words: str) -> Any:
        return world.inv.start(checkout, *words, settings=settings, env=ENV)

    def seed() -> str:
        listed = json.loads(run("db.seed", "--list", "--format", "json").stdout)
        return f"seed:{listed[0]['id']}"

    try:
        world.ok("build")
        world.ok("deploy")
        world.ok("shell", "--service", "database", "--command", fill("/run/secrets/mautic"))
        world.variant(EARLIER)
        world.variant(MIGRATES, MIGRATION)
        yield Walk(
            checkout,
            run,
            start,
            BEFORE,
            ENDLESS,
            names={
                "seed:20261127t071205": seed,
                "--env prod": lambda: "--env local",
                "--env dev": lambda: "--env local",
            },
            says={
                world.project: "mautic",
                "images.source is standins": "docker.io cannot be reached",
            },
        )
    finally:
        world.remove()


@pytest.mark.parametrize("page", PAGES)
def test_a_page(walk: Walk, page: str) -> None:
    walk.follow(PAGES[page])

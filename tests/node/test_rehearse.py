"""An upgrade is rehearsed on a real node."""

from __future__ import annotations

import json
from pathlib import Path

import docker
import yaml

from tests.support.realnode.bed import ON, Bed
from tests.support.rehearsals import ENV, GOOD, KEY, LOCKING, REBUILDING, RULES, fill, later_release

MAIN = "main"
OWN = "rehearse/main"


def test_an_upgrade_is_rehearsed_and_nothing_of_it_stays(
    bed: Bed, engine: docker.DockerClient, tmp_path: Path
) -> None:
    bed.deployed(MAIN, "--tag", bed.build())
    command = fill("/run/secrets/mysql")
    bed.ok("shell", *ON, "--branch", MAIN, "--service", "database", "--command", command)
    settings = {**bed.settings(), "seeds": {"store": str(tmp_path / "seeds")}}
    rules = bed.checkout / "masking.yaml"
    rules.write_text(yaml.safe_dump(RULES))
    bed.ok("db.seed", *ON, "--branch", MAIN, settings=settings, env=ENV)
    rules.unlink()
    later = tmp_path / "later"
    later.mkdir()
    image = later_release(engine, later, GOOD)

    words = ("rehearse", *ON, "--branch", MAIN, "--mautic", image, "--format", "json")
    done = bed.run(*words, settings=settings, env=ENV)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    results = {each["migration"]: each for each in told["migrated"]["results"]}
    assert results[REBUILDING]["rebuilt"] == ["page_hits"]
    assert results[LOCKING]["writers_seconds"] > 0.5
    assert {each["check"] for each in told["checks"]} == {"plugin", "cron", "page"}
    assert not bed.exists(OWN)
    assert bed.exists(MAIN)

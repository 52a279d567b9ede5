"""Production's deploys and their snapshots: the real command line, a control plane, moto's RDS."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.aws import REGION, Moto
from tests.support.deploys import FAST, Deploys
from tests.support.kube_cli import KubeEnv

PROD = ("--env", "prod", "--branch", "main")


class Production:
    """The environment `prod`, whose database is an instance of RDS."""

    def __init__(self, deploys: Deploys, aws: Moto) -> None:
        self.deploys = deploys
        self.server = f"mautic-{secrets.token_hex(4)}"
        self._variables = {**aws.variables(), "AWS_DEFAULT_REGION": REGION}
        self._rds = aws.client("rds")
        self._rds.create_db_instance(
            DBInstanceIdentifier=self.server, DBInstanceClass="db.t4g.micro", Engine="mysql"
        )

    def run(self, *args: str) -> CompletedProcess[str]:
        """Run `inv` for it."""
        settings = self.deploys.settings()
        prod = settings["environments"]["prod"]
        prod["database"] = {**prod["database"], "identifier": self.server}
        prod["values"] = ["helm/environments/dev.yaml", FAST]
        prod["rds_snapshots"] = {"keep": 1}
        return self.deploys.run(*args, *PROD, settings=settings, env=self._variables)

    def ok(self, *args: str) -> CompletedProcess[str]:
        """Run `inv` for it; it must succeed."""
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done

    @property
    def taken(self) -> dict[str, dict[str, str]]:
        """The tags of its snapshots, by name."""
        found: list[Any] = self._rds.describe_db_snapshots(
            DBInstanceIdentifier=self.server, SnapshotType="manual"
        )["DBSnapshots"]
        return {
            each["DBSnapshotIdentifier"]: {tag["Key"]: tag["Value"] for tag in each["TagList"]}
            for each in found
        }


@pytest.fixture(scope="module")
def production(kube_env: KubeEnv, aws: Moto) -> Iterator[Production]:
    """Production, deployed once."""
    with Deploys(kube_env) as deploys:
        made = Production(deploys, aws)
        deploys.commit()
        made.ok("deploy")
        yield made


def test_a_deploy_of_other_code_takes_one_and_keeps_as_many_as_it_should(
    production: Production,
) -> None:
    assert production.taken == {}  # a first deploy has nothing to lose
    by_hand = production.ok("db.snapshot", "--why", "before the sale").stdout.strip()
    for _ in range(2):
        tag = production.deploys.commit()[:8]
        before = set(production.taken)
        planned = production.ok("deploy", "--dry-run").stdout
        assert f"server {production.server}" in planned
        assert set(production.taken) == before
        said = production.ok("deploy").stderr
        (name,) = set(production.taken) - before
        assert f"snapshot of {production.server}: {name}" in said
        assert production.taken[name]["mautic-multidev/release"] == tag
    assert set(production.taken) == {by_hand, name}
    assert "everything is as it should be" in production.ok("deploy").stderr
    assert set(production.taken) == {by_hand, name}

    listed = json.loads(production.ok("db.snapshots", "--format", "json").stdout)
    assert [(one["name"], one["status"]) for one in listed] == [
        (by_hand, "available"),
        (name, "available"),
    ]
    assert "before the sale" in production.ok("db.snapshots").stdout


def test_going_back_takes_none_and_brings_no_data_back(production: Production) -> None:
    refused = production.run("rollback", "--with-data")
    assert refused.returncode == 3
    assert "restored into a new instance" in refused.stderr

"""Snapshots of an instance of RDS, with moto's."""

from __future__ import annotations

import secrets

import pytest

from tasks.adapters.aws.rds_snapshots import RdsSnapshots
from tasks.adapters.aws.session import Aws
from tasks.core.errors import AwsError
from tests.support.aws import REGION, Moto

TAGS = {"mautic-multidev/environment": "prod", "mautic-multidev/branch": "feature/x"}


@pytest.fixture
def server(aws: Moto, monkeypatch: pytest.MonkeyPatch) -> RdsSnapshots:
    for name, value in aws.variables().items():
        monkeypatch.setenv(name, value)
    name = f"mautic-{secrets.token_hex(4)}"
    aws.client("rds").create_db_instance(
        DBInstanceIdentifier=name, DBInstanceClass="db.t4g.micro", Engine="mysql"
    )
    return RdsSnapshots(Aws(REGION), name)


def test_what_is_taken_is_listed_with_its_tags_and_can_be_removed_twice(
    server: RdsSnapshots,
) -> None:
    assert server.list() == []
    name = f"{server.server}-at-20261127t120000z-main"
    for _ in range(2):  # as after an answer that was lost
        assert server.take(name, TAGS)
    (found,) = server.list()
    assert (found.name, found.server, found.tags) == (name, server.server, TAGS)
    assert found.status == "available"  # moto tells no percentage
    assert found.taken_at.endswith("+00:00")
    for _ in range(2):
        server.remove(name)
    assert server.list() == []


def test_the_snapshots_of_another_instance_are_not_listed(aws: Moto, server: RdsSnapshots) -> None:
    other = f"other-{secrets.token_hex(4)}"
    rds = aws.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier=other, DBInstanceClass="db.t4g.micro", Engine="mysql"
    )
    rds.create_db_snapshot(DBSnapshotIdentifier=f"{other}-x", DBInstanceIdentifier=other)
    assert server.list() == []


def test_an_instance_that_is_not_there_is_named(server: RdsSnapshots) -> None:
    assert server.state() == "available"
    gone = RdsSnapshots(Aws(REGION), "mautic-gone")
    with pytest.raises(AwsError, match="mautic-gone"):
        gone.take("mautic-gone-at-1", TAGS)
    with pytest.raises(AwsError, match="mautic-gone"):
        gone.state()

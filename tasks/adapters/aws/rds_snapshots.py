"""Snapshots of one database instance of RDS."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from tasks.adapters.aws.session import Aws
from tasks.core.errors import AwsError
from tasks.core.server_snapshots import ServerSnapshot

BUSY = "InvalidDBInstanceState"
"""RDS takes one snapshot of an instance at a time, and none while it changes the instance."""


class RdsSnapshots:
    """The snapshots of an instance that were not taken by RDS itself.

    Args:
        aws: credentials that may list and take them, and remove those of this suite.
        server: the instance's identifier.
    """

    def __init__(self, aws: Aws, server: str) -> None:
        self.server = server
        self._aws = aws

    def list(self) -> list[ServerSnapshot]:
        """Return all of them.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        pages = self._client.get_paginator("describe_db_snapshots")
        with self._aws.calling():
            return [
                _read(one)
                for page in pages.paginate(DBInstanceIdentifier=self.server, SnapshotType="manual")
                for one in page["DBSnapshots"]
            ]

    def state(self) -> str:
        """Return the state of the instance: ``available``, ``backing-up``, and so on.

        Raises:
            AwsError: there is no such instance; or AWS refused, or cannot be reached.
        """
        with self._aws.calling():
            found = self._client.describe_db_instances(DBInstanceIdentifier=self.server)
        return str(found["DBInstances"][0]["DBInstanceStatus"])

    def take(self, name: str, tags: Mapping[str, str]) -> bool:
        """Have a snapshot begun; return False while the instance is busy.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        try:
            with self._aws.calling():
                self._client.create_db_snapshot(
                    DBSnapshotIdentifier=name,
                    DBInstanceIdentifier=self.server,
                    Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                )
        except AwsError as error:
            if error.code == BUSY:
                return False
            # Of an attempt of this call whose answer was lost: the name has a time of its own.
            if error.code != "DBSnapshotAlreadyExists":
                raise
        return True

    def remove(self, name: str) -> None:
        """Delete a snapshot, unless it is gone already.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        try:
            with self._aws.calling():
                self._client.delete_db_snapshot(DBSnapshotIdentifier=name)
        except AwsError as error:
            if not error.code.startswith("DBSnapshotNotFound"):
                raise

    @property
    def _client(self) -> Any:
        return self._aws.client("rds")


def _read(one: Mapping[str, Any]) -> ServerSnapshot:
    # An answer lacks the time until the snapshot has begun.
    taken = one.get("SnapshotCreateTime")
    return ServerSnapshot(
        name=one["DBSnapshotIdentifier"],
        server=one["DBInstanceIdentifier"],
        taken_at=taken.astimezone(UTC).isoformat(timespec="seconds") if taken else "",
        status=one["Status"],
        percent=one.get("PercentProgress", 0),
        tags={tag["Key"]: tag["Value"] for tag in one.get("TagList", ())},
    )

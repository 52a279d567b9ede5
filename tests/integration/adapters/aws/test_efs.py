"""Access points of EFS, on moto."""

from __future__ import annotations

import pytest

from tasks.adapters.aws.efs import FileSystems
from tasks.adapters.aws.session import Aws
from tests.support.aws import REGION, Moto


def test_access_points_are_counted_of_one_file_system(
    aws: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tasks.adapters.aws.efs.PAGE", 2)
    efs = aws.client("efs")
    own, other = (
        efs.create_file_system(CreationToken=token)["FileSystemId"] for token in ("own", "other")
    )
    for number in range(5):
        efs.create_access_point(ClientToken=str(number), FileSystemId=own)
    efs.create_access_point(ClientToken="another", FileSystemId=other)
    systems = FileSystems(Aws(REGION))
    assert systems.access_points(own) == 5
    assert systems.access_points(other) == 1

"""Sleep and wake on a real node: no pods, then the page again, and nothing lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.realnode.bed import ON, Bed

BRANCH = "sleeper"
ADD = (
    "INSERT INTO messenger_messages (body, headers, queue_name, created_at, available_at) "
    "VALUES (0x61, 0x5b5d, 0x6661696c6564, NOW(), NOW())"
)
"""A message in the queue `failed`, of which no worker takes any."""
COUNT = "SELECT COUNT(*) FROM messenger_messages"


@pytest.fixture(scope="module")
def awake(bed: Bed) -> Iterator[Bed]:
    """A branch that is deployed, with a message in a queue."""
    bed.deployed(BRANCH, "--tag", bed.build())
    sql(bed, ADD)
    yield bed
    bed.ok("cleanup", *ON, "--branch", BRANCH)


def sql(bed: Bed, statement: str) -> str:
    """Run a statement in the branch's database; return what it answers."""
    client = 'MYSQL_PWD="$(cat /run/secrets/mysql/db_root_password)" mysql -uroot -N'
    command = f'{client} {bed.names(BRANCH).database} -e "{statement}"'
    where = ("--branch", BRANCH, "--service", "database")
    return bed.ok("shell", *ON, *where, "--command", command).stdout.strip()


def up(bed: Bed) -> list[str]:
    return [
        pod["metadata"]["name"]
        for pod in bed.pods(BRANCH)
        if pod["status"]["phase"] in {"Running", "Pending"}
    ]


def test_what_sleeps_has_no_pods_and_what_wakes_has_lost_nothing(awake: Bed) -> None:
    bed, seconds = awake, {}
    before = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in bed.pods(BRANCH)}
    count = sql(bed, COUNT)
    assert int(count) >= 1
    for turn in ("first", "second"):
        began = time.monotonic()
        bed.ok("sleep", *ON, "--branch", BRANCH)
        seconds[f"{turn} sleep"] = time.monotonic() - began
        assert up(bed) == []
        began = time.monotonic()
        bed.ok("wake", *ON, "--branch", BRANCH)
        seconds[f"{turn} wake"] = time.monotonic() - began
        status, page = bed.get(BRANCH, "/s/login")
        assert (status, "password" in page) == (200, True)
    print({key: round(value, 1) for key, value in seconds.items()})  # noqa: T201 - for -s
    assert sql(bed, COUNT) == count
    after = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in bed.pods(BRANCH)}
    assert after == before


def test_a_command_wakes_it_and_a_deploy_too(awake: Bed) -> None:
    bed = awake
    bed.ok("sleep", *ON, "--branch", BRANCH)
    assert int(sql(bed, COUNT)) >= 1
    bed.ok("sleep", *ON, "--branch", BRANCH)
    tag = bed.record(BRANCH)["history"][-1]["tag"]
    began = time.monotonic()
    bed.deployed(BRANCH, "--tag", tag)
    print(f"deploy of a sleeper: {time.monotonic() - began:.1f} s")  # noqa: T201 - for -s
    assert bed.get(BRANCH, "/s/login")[0] == 200

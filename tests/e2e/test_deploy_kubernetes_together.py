"""Deploys of one branch at once: one at a time, and the newest commit wins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.kubernetes.helm import PENDING
from tests.support.deploys import Deploys, Lines, until
from tests.support.kube_cli import KubeEnv


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    """The command line, and a control plane."""
    with Deploys(kube_env) as made:
        yield made


@pytest.fixture(scope="module")
def checkouts(deploys: Deploys) -> list[tuple[str, Path]]:
    """Ten checkouts with a commit of their own each, the oldest first."""
    found = []
    for number in range(10):
        path = deploys.worktree(number)
        found.append((deploys.commit(path), path))
    return found


class Watched:
    """The deploys that ran at the same time, as the cluster saw them."""

    def __init__(self, deploys: Deploys, branch: str) -> None:
        self._deploys = deploys
        self._where = deploys.names(branch).namespace
        self.holders: list[str] = []

    def look(self) -> None:
        lease = self._deploys.cluster.get("Lease", "mautic-multidev", self._where)
        holder = lease["spec"].get("holderIdentity") if lease else None
        if holder and self.holders[-1:] != [holder]:
            self.holders.append(holder)


def together(
    deploys: Deploys, branch: str, checkouts: list[tuple[str, Path]]
) -> tuple[list[tuple[str, int, str]], list[str]]:
    """Deploy all commits at once; return commit, exit status and words of each, and who held."""
    deploys.fate(branch, migrate="job-slow:2")
    watched = Watched(deploys, branch)
    runs: list[Any] = []
    for sha, path in checkouts:
        process = deploys.begun(branch, path)
        runs.append((sha, process, Lines(process.stderr)))

    def all_ended() -> bool:
        watched.look()
        return all(process.poll() is not None for _, process, _ in runs)

    until(all_ended, seconds=300)
    return [(sha, process.returncode, said.text()) for sha, process, said in runs], watched.holders


@pytest.mark.parametrize("count", [2, 10])
def test_the_newest_commit_wins(
    deploys: Deploys, checkouts: list[tuple[str, Path]], count: int
) -> None:
    branch = f"together-{count}"
    newest = checkouts[count - 1][0]
    # The oldest first is the hard order: each newer one comes upon a deploy that runs.
    told, holders = together(deploys, branch, checkouts[:count])

    statuses = {sha: status for sha, status, _ in told}
    assert statuses[newest] == 0, told[-1]
    assert set(statuses.values()) <= {0, 4}, told
    for sha, status, words in told:
        if status == 4:
            assert f"error: {sha[:8]} is superseded by the newer commit " in words
            assert "nothing was changed" in words
    assert deploys.serving(branch) >= {deploys.image(newest[:8])}
    assert len(deploys.serving(branch)) == 2
    history = deploys.history(branch)
    assert not PENDING & {one["status"] for one in history}
    assert history[-1]["status"] == "deployed"
    # Nobody came twice, and each whose turn it was made a revision of its own.
    assert len(set(holders)) == len(holders)
    assert len(history) == list(statuses.values()).count(0)
    moments = [datetime.fromisoformat(one["updated"]) for one in history]
    assert moments == sorted(moments)


def test_an_older_commit_may_be_deployed_again(
    deploys: Deploys, checkouts: list[tuple[str, Path]]
) -> None:
    (older, first), (newer, second) = checkouts[:2]
    for sha, path in ((newer, second), (older, first)):
        deploys.deployed("backwards", cwd=path)
        assert deploys.image(sha[:8]) in deploys.serving("backwards")


def test_who_waits_is_told_for_whom_and_not_for_ever(
    deploys: Deploys, checkouts: list[tuple[str, Path]]
) -> None:
    branch = "waiting"
    where = deploys.names(branch).namespace
    deploys.fate(branch, migrate="job-slow:6")
    first = deploys.begun(branch, checkouts[0][1])
    said = Lines(first.stderr)
    until(lambda: said.says("roll out"))

    hasty = deploys.settings(patience={"turn_seconds": 1})
    late = deploys.deploy(branch, cwd=checkouts[1][1], settings=hasty)
    second = deploys.deploy(branch, cwd=checkouts[1][1])

    holder = f"(process {first.pid})"
    assert late.returncode == 4
    assert re.search(rf"error: {where} is held by \S+ {re.escape(holder)}\n", late.stderr)
    assert re.search(rf"{where} is held by \S+ {re.escape(holder)} since ", second.stderr)
    assert second.returncode == 0, second.stderr
    # It was told of the newer commit only after its own turn had begun.
    assert first.wait() == 0, said.text()

"""Deploys to an API server that is busy, fails, drops watches, forgets who we are or is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.helm import PENDING
from tests.support.deploys import Deploys, Lines, until
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, KubeEnv

BRANCH = "main"
AWAY_SECONDS = 20.0


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    """The command line, a control plane, and a branch that serves."""
    with Deploys(kube_env) as made:
        made.env.push("good")
        made.deployed(BRANCH, "--tag", "good")
        yield made


@pytest.fixture
def proxy(deploys: Deploys) -> Iterator[FaultyProxy]:
    """What stands before the API server."""
    with FaultyProxy(deploys.env.plane) as made:
        yield made


def through(proxy: FaultyProxy, tmp_path: Path, user: dict[str, Any] | None = None) -> Any:
    """Return the variables of a run that goes through the proxy."""
    return {"KUBECONFIG": str(proxy.write_kubeconfig(tmp_path / "kubeconfig", user))}


def check(deploys: Deploys, tag: str) -> None:
    """Make sure that a tag serves, and nothing is left pending or held."""
    assert deploys.serving(BRANCH) >= {deploys.image(tag)}
    assert len(deploys.serving(BRANCH)) == 2
    assert deploys.held(BRANCH) == []
    assert not PENDING & {one["status"] for one in deploys.history(BRANCH)}


@pytest.mark.parametrize(("status", "every"), [(429, 5), (500, 9), (503, 9)])
def test_an_api_that_is_busy_or_fails_at_times_is_survived(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path, status: int, every: int
) -> None:
    tag = f"status-{status}"
    deploys.env.push(tag)
    proxy.fail(status, every=every, Retry_After="0")

    done = deploys.deploy(BRANCH, "--tag", tag, env=through(proxy, tmp_path))

    assert done.returncode == 0, done.stderr
    assert proxy.failed > 5
    check(deploys, tag)


def test_watches_that_are_dropped_are_survived(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path
) -> None:
    deploys.env.push("dropped")
    proxy.drop(after_seconds=0.3)

    done = deploys.deploy(BRANCH, "--tag", "dropped", env=through(proxy, tmp_path))

    assert proxy.dropped > 3
    assert done.returncode == 0, done.stderr
    check(deploys, "dropped")


def test_a_token_that_expires_is_had_anew(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path
) -> None:
    deploys.env.push("token")
    token = tmp_path / "token"
    token.write_text("one")
    variables = through(proxy, tmp_path, {"tokenFile": str(token)})
    deploys.fate(BRANCH, web="fpm=slow:3")
    process = deploys.env.start(
        *("deploy", *ON, "--branch", BRANCH, "--tag", "token"),
        settings=deploys.settings(),
        env=variables,
    )
    said = Lines(process.stderr)
    until(lambda: said.says("STATUS: deployed"))
    proxy.fail(401, times=1)

    assert process.wait(timeout=120) == 0, said.text()
    deploys.fate(BRANCH)
    assert proxy.failed == 1
    check(deploys, "token")


def test_credentials_that_stay_refused_change_nothing(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path
) -> None:
    before = deploys.history(BRANCH), deploys.serving(BRANCH)
    proxy.fail(401)

    done = deploys.deploy(BRANCH, "--tag", "good", env=through(proxy, tmp_path))

    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "401" in done.stderr
    assert "log in to the cluster again" in done.stderr
    assert (deploys.history(BRANCH), deploys.serving(BRANCH)) == before


def test_an_api_that_is_away_while_a_rollout_is_tracked_is_survived(deploys: Deploys) -> None:
    deploys.env.push("away")
    deploys.fate(BRANCH, web="fpm=slow:3")
    process = deploys.env.start(
        *("deploy", *ON, "--branch", BRANCH, "--tag", "away"),
        # The controllers, too, take their time to come back.
        settings=deploys.settings(patience={"deadline_seconds": 300}),
    )
    said = Lines(process.stderr)
    until(lambda: said.says("STATUS: deployed"))
    deploys.env.plane.stop_api()
    threading.Event().wait(AWAY_SECONDS)
    deploys.env.plane.start_api()

    assert process.wait(timeout=120) == 0, said.text()
    deploys.fate(BRANCH)
    check(deploys, "away")

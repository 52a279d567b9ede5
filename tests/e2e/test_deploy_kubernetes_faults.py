"""Deploys to an API server that is busy, fails, drops watches, forgets who we are or is away."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.kubernetes.helm import PENDING
from tests.support.deploys import Deploys, Lines, until
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, KubeEnv
from tests.support.rights import check_rights

BRANCH = "main"
AWAY_SECONDS = 20.0
BACK_SECONDS = 300
"""How long the cluster's controllers may take to notice an API that is back: each of their watches
asks again after up to a minute, and may find its rights not loaded yet."""
RETRY_SECONDS = 60
"""The grace period that a project has without a setting. A controller tries again what was refused
after 5 ms, doubled each time: what failed while the API started may stand for 40 s."""


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
    check_rights(made.requests, deploys.env.project)


def through(proxy: FaultyProxy, tmp_path: Path, user: dict[str, Any] | None = None) -> Any:
    """Return the variables of a run that goes through the proxy."""
    return {"KUBECONFIG": str(proxy.write_kubeconfig(tmp_path / "kubeconfig", user))}


def check(deploys: Deploys, tag: str) -> None:
    """Make sure that a tag serves, and nothing is left pending or quiesced."""
    assert deploys.serving(BRANCH) >= {deploys.image(tag)}
    assert len(deploys.serving(BRANCH)) == 2
    assert deploys.quiesced(BRANCH) == []
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


POINTS = {
    "what it can do": r"GET /openapi/v3\?",
    "its history": r"GET \S+/secrets\?",
    "a new revision": r"POST \S+/secrets$",
    "the hook": r"PATCH \S+/jobs/",
    "the watch of the hook": r"GET \S+/jobs\?.*watch=true",
    "a workload": r"PATCH \S+/deployments/\S+-web\?",
    "the end of the revision": r"PUT \S+/secrets/sh\.helm\.release\.v1\.\S+$",
}
"""What Helm asks of the API during an upgrade, in order."""


@pytest.mark.parametrize("point", POINTS)
def test_a_failure_that_helm_does_not_try_again_leaves_the_last_good_release(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path, point: str
) -> None:
    """A 500 without Retry-After: Helm's own client gives up at once."""
    number = list(POINTS).index(point)
    tag = f"bare-{number}"
    deploys.env.push(tag)
    before = deploys.serving(BRANCH)
    proxy.fail(500, times=1, only=lambda request, agent: is_helm(agent, request, point))

    done = deploys.deploy(BRANCH, "--tag", tag, env=through(proxy, tmp_path))

    assert proxy.failed == 1
    if done.returncode == 0:
        check(deploys, tag)
        return
    assert done.returncode == 1
    told, final = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.match(r"error: helm (upgrade|history) of \S+ failed: ", told), told
    assert final.startswith(f"error: {BRANCH} was not deployed: ")
    assert "Traceback" not in done.stderr
    assert "which is running again" in done.stderr
    assert deploys.serving(BRANCH) == before
    assert deploys.quiesced(BRANCH) == []
    assert not PENDING & {one["status"] for one in deploys.history(BRANCH)}
    again = deploys.deploy(BRANCH, "--tag", tag)
    assert again.returncode == 0, again.stderr
    check(deploys, tag)


@pytest.mark.parametrize("branch", [BRANCH, "first-repeated"])
def test_a_revision_that_is_there_already_is_repaired_and_made_anew(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path, branch: str
) -> None:
    """By a request that was repeated, or by the Helm of a killed run in its last moments."""
    tag = "repeated"
    deploys.env.push(tag)
    proxy.repeat(lambda request, agent: is_helm(agent, request, "a new revision"))

    done = deploys.deploy(branch, "--tag", tag, env=through(proxy, tmp_path))

    assert done.returncode == 0, done.stderr
    assert f"repair release {deploys.names(branch).release}: pending-" in done.stderr
    assert deploys.image(tag) in deploys.serving(branch)
    assert deploys.quiesced(branch) == []
    assert not PENDING & {one["status"] for one in deploys.history(branch)}


def is_helm(agent: str, request: str, point: str) -> bool:
    """Return True if Helm asks for something."""
    return agent.startswith("Helm/") and bool(re.match(POINTS[point], request))


def test_an_api_that_fails_all_of_helm_is_told_of_and_mended_by_the_next_deploy(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path
) -> None:
    deploys.env.push("bare")
    before = deploys.serving(BRANCH)
    # From the first workload on, the way back, too.
    seen: list[str] = []

    def only(request: str, agent: str) -> bool:
        seen.append(request)
        begun = any(is_helm("Helm/", each, "a workload") for each in seen)
        return begun and agent.startswith("Helm/")

    proxy.fail(500, only=only)

    done = deploys.deploy(BRANCH, "--tag", "bare", env=through(proxy, tmp_path))

    assert done.returncode == 1
    assert "and the rollback failed, too: helm rollback of " in done.stderr
    assert "Traceback" not in done.stderr
    assert deploys.serving(BRANCH) == before
    again = deploys.deploy(BRANCH, "--tag", "bare")
    assert again.returncode == 0, again.stderr
    check(deploys, "bare")


def test_watches_that_are_dropped_are_survived(
    deploys: Deploys, proxy: FaultyProxy, tmp_path: Path
) -> None:
    deploys.env.push("dropped")
    proxy.drop(after_seconds=0.3)

    done = deploys.deploy(BRANCH, "--tag", "dropped", env=through(proxy, tmp_path))

    assert proxy.dropped > 3
    assert done.returncode == 0, done.stderr
    check(deploys, "dropped")


def test_an_expired_token_is_replaced(deploys: Deploys, proxy: FaultyProxy, tmp_path: Path) -> None:
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
    until(lambda: said.says("everything is applied"))
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
        settings=deploys.settings(
            patience={"deadline_seconds": BACK_SECONDS, "grace_seconds": RETRY_SECONDS}
        ),
    )
    said = Lines(process.stderr)
    until(lambda: said.says("everything is applied"))
    deploys.env.plane.stop_api()
    threading.Event().wait(AWAY_SECONDS)
    deploys.env.plane.start_api()

    assert process.wait(timeout=BACK_SECONDS) == 0, said.text()
    deploys.fate(BRANCH)
    check(deploys, "away")

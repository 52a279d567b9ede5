"""Runs that are killed in the middle of a deploy: the next one succeeds without a hand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.adapters.kubernetes.helm import PENDING
from tests.support.deploys import COMPONENT, INSTANCE, Deploys, Lines, Object, until
from tests.support.kube_cli import ON, PLATFORM, KubeEnv

POINTS = int(os.environ.get("MAUTIC_MULTIDEV_KILL_POINTS", "0"))
"""How many points, spread evenly over a deploy, are tried besides those with a name."""
SLOW_HOOK = {"migrate": "job-slow:4"}
BROKEN = {"web": "fpm=image-missing"}


@dataclass
class Run:
    """A deploy under way."""

    deploys: Deploys
    branch: str
    process: subprocess.Popen[str]
    said: Lines

    def revisions(self, status: str) -> list[Object]:
        """Return what Helm keeps of the revisions that it labels so."""
        names = self.deploys.names(self.branch)
        selector = f"owner=helm,name={names.release},status={status}"
        return self.deploys.cluster.find("Secret", names.namespace, selector)

    def is_release(self, status: str) -> bool:
        """Return True if Helm labels a revision so."""
        return bool(self.revisions(status))

    def makes_database(self) -> bool:
        """Return True if the Job that makes the database runs."""
        name = f"database-create-{self.deploys.names(self.branch).release}"
        job = self.deploys.cluster.get("Job", name, PLATFORM)
        return bool(job and job["status"].get("active"))

    def has_quiesced(self) -> bool:
        """Return True if the workers have been stopped for the migration."""
        names = self.deploys.names(self.branch)
        selector = f"{INSTANCE}={names.release},{COMPONENT}=worker"
        found = self.deploys.cluster.find("Deployment", names.namespace, selector)
        return bool(found) and all(item["spec"]["replicas"] == 0 for item in found)


@dataclass(frozen=True)
class Point:
    """When a run is killed.

    Attributes:
        reached: says that it is time.
        fates: what becomes of pods until then.
        first: whether nothing was deployed before.
        helm: whether Helm is killed before it; else it gets the signal that its parent's death
            sends.
    """

    reached: Callable[[Run], bool]
    fates: Mapping[str, str] = field(default_factory=dict)
    first: bool = False
    helm: bool = False


NAMED = {
    "the database is being made": Point(Run.makes_database, {"database": "job-slow:4"}, first=True),
    "pending-install": Point(
        lambda run: run.is_release("pending-install"), SLOW_HOOK, first=True, helm=True
    ),
    "pending-install, helm told to end": Point(
        lambda run: run.is_release("pending-install"), SLOW_HOOK, first=True
    ),
    "workers are quiesced": Point(Run.has_quiesced, SLOW_HOOK),
    "pending-upgrade": Point(lambda run: run.is_release("pending-upgrade"), SLOW_HOOK, helm=True),
    "pending-upgrade, helm told to end": Point(
        lambda run: run.is_release("pending-upgrade"), SLOW_HOOK
    ),
    "all is applied": Point(
        lambda run: run.said.says("everything is applied"), {"web": "fpm=slow:9"}
    ),
    "evidence is being saved": Point(lambda run: run.said.says("save the evidence"), BROKEN),
    "pending-rollback": Point(lambda run: run.is_release("pending-rollback"), BROKEN, helm=True),
}


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    """The command line, and a control plane."""
    with Deploys(kube_env) as made:
        for tag in ("good", "next", "later"):
            made.env.push(tag)
        yield made


@pytest.fixture(scope="module")
def standing(deploys: Deploys) -> str:
    """A branch that serves."""
    deploys.deployed("standing", "--tag", "good")
    return "standing"


def start(deploys: Deploys, branch: str, tag: str, scratch: Path | None = None) -> Run:
    process = deploys.env.start(
        *("deploy", *ON, "--branch", branch, "--tag", tag),
        settings=deploys.settings(),
        env={"TMPDIR": str(scratch)} if scratch else {},
    )
    return Run(deploys, branch, process, Lines(process.stderr))


def kill(run: Run, *, helm: bool) -> None:
    """Kill a run, and wait until everything that it had started has ended, too."""
    below = children(run.process.pid)
    if helm:
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    run.process.kill()
    run.process.wait()
    until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()])


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(path.parent.name))
    return found


def check_next(deploys: Deploys, branch: str, tag: str) -> None:
    """Make sure that a deploy of the same now works, and leaves nothing behind."""
    deploys.fate(branch)
    done = deploys.deploy(branch, "--tag", tag)
    assert done.returncode == 0, done.stderr
    assert deploys.image(tag) in deploys.serving(branch)
    assert len(deploys.serving(branch)) == 2
    assert deploys.quiesced(branch) == []
    history = [one["status"] for one in deploys.history(branch)]
    assert not PENDING & set(history)
    assert history[-1] == "deployed"
    release = deploys.names(branch).release
    left = [
        item["metadata"]["name"]
        for kind in ("Job", "Secret")
        for item in deploys.cluster.find(kind, PLATFORM)
        if release in item["metadata"]["name"]
    ]
    assert left == []


def fixed(deploys: Deploys, tag: str, fates: Mapping[str, str]) -> str:
    """Return the tag that is deployed next: what was broken once stays so."""
    if fates is not BROKEN:
        return tag
    deploys.env.push(f"{tag}-fixed")
    return f"{tag}-fixed"


@pytest.mark.parametrize("name", NAMED)
def test_a_killed_deploy_is_finished_by_the_next_one(
    deploys: Deploys, standing: str, name: str, tmp_path: Path
) -> None:
    point = NAMED[name]
    branch = f"first-{list(NAMED).index(name)}" if point.first else standing
    serving = deploys.serving(branch)
    tag = "later" if deploys.image("next") in serving else "next"
    deploys.fate(branch, tag, **point.fates)
    run = start(deploys, branch, tag, tmp_path)

    def reached() -> bool:
        assert run.process.poll() is None, run.said.text()
        return point.reached(run)

    until(reached)
    kill(run, helm=point.helm)

    assert list(tmp_path.iterdir()) == []
    check_next(deploys, branch, fixed(deploys, tag, point.fates))


def test_a_deploy_whose_helm_is_killed_fails_and_goes_back(deploys: Deploys, standing: str) -> None:
    serving = deploys.serving(standing)
    deploys.env.push("unlucky")
    deploys.fate(standing, "unlucky", **SLOW_HOOK)
    run = start(deploys, standing, "unlucky")
    until(lambda: run.is_release("pending-upgrade"))
    for pid in children(run.process.pid):
        os.kill(pid, signal.SIGKILL)

    assert run.process.wait(timeout=120) == 1
    assert "which is running again" in run.said.text()
    assert deploys.serving(standing) == serving
    check_next(deploys, standing, "unlucky")


@pytest.mark.parametrize("fate", ["job-slow:60", "waits:migration-lock", "image-missing"])
@pytest.mark.parametrize("first", [True, False])
def test_an_interrupted_deploy_ends_its_migration(
    deploys: Deploys, standing: str, fate: str, *, first: bool
) -> None:
    branch = f"interrupted-{fate[:3]}" if first else standing
    tag = f"interrupted-{fate[:3]}"
    deploys.env.push(tag)
    deploys.fate(branch, tag, migrate=fate)
    run = start(deploys, branch, tag)
    until(lambda: deploys.migrations(branch))

    run.process.send_signal(signal.SIGINT)

    assert run.process.wait(timeout=30) == 128 + signal.SIGINT
    assert deploys.migrations(branch) == []
    selector = f"{COMPONENT}=migrate"
    where = deploys.names(branch).namespace
    until(
        lambda: not deploys.cluster.find("Pod", where, f"{selector},batch.kubernetes.io/job-name")
    )
    check_next(deploys, branch, tag)


def test_the_next_deploy_ends_the_migration_of_one_that_was_killed(
    deploys: Deploys, standing: str
) -> None:
    deploys.env.push("forgotten")
    deploys.fate(standing, "forgotten", migrate="waits:migration-lock")
    run = start(deploys, standing, "forgotten")
    until(lambda: deploys.migrations(standing))
    kill(run, helm=True)
    [left] = deploys.migrations(standing)
    where = deploys.names(standing).namespace
    job = deploys.cluster.get("Job", left, where)
    assert job

    check_next(deploys, standing, "forgotten")

    after = deploys.cluster.get("Job", left, where)
    assert after
    assert after["metadata"]["uid"] != job["metadata"]["uid"]
    pods = deploys.cluster.find("Pod", where, f"batch.kubernetes.io/job-name={left}")
    assert not [pod for pod in pods if pod["status"]["phase"] != "Succeeded"]


@pytest.mark.parametrize("first", [True, False])
def test_a_pending_release_that_bears_another_label_is_repaired(
    deploys: Deploys, standing: str, *, first: bool
) -> None:
    """Helm, told to end, may leave behind a record that its label does not agree with."""
    branch = "half-marked" if first else standing
    deploys.env.push("half-marked")
    deploys.fate(branch, "half-marked", **SLOW_HOOK)
    run = start(deploys, branch, "half-marked")
    pending = "pending-install" if first else "pending-upgrade"
    until(lambda: run.is_release(pending))
    kill(run, helm=True)
    [left] = run.revisions(pending)
    label = {"metadata": {"labels": {"status": "failed"}}}
    where = left["metadata"]["namespace"]
    deploys.cluster.patch("Secret", left["metadata"]["name"], where, label)

    check_next(deploys, branch, "half-marked")


@pytest.mark.skipif(not POINTS, reason="minutes long: set MAUTIC_MULTIDEV_KILL_POINTS=30")
def test_a_deploy_killed_at_any_point_is_finished_by_the_next_one(deploys: Deploys) -> None:
    branch = "points"
    deploys.deployed(branch, "--tag", "good")
    seconds = {}
    for kind in ("well", "broken"):
        deploys.env.push(kind)
        deploys.fate(branch, kind, **(BROKEN if kind == "broken" else {}))
        started = time.monotonic()
        deploys.deploy(branch, "--tag", kind)
        seconds[kind] = time.monotonic() - started
    for number in range(POINTS):
        tag, kind = f"point-{number}", ("well", "broken")[number % 2]
        deploys.env.push(tag)
        fates = BROKEN if kind == "broken" else {}
        deploys.fate(branch, tag, **fates)
        run = start(deploys, branch, tag)
        time.sleep(seconds[kind] * (number + 0.5) / POINTS)
        ended = run.process.poll()
        kill(run, helm=number % 4 > 1)
        last = run.said.lines[-1:] or [(0, "nothing")]
        print(f"{number}: {kind}, exit {ended}, after: {last[0][1]}")  # noqa: T201 - for -s
        check_next(deploys, branch, fixed(deploys, tag, fates))

"""Rollouts on a real control plane, whose pods' fates a scripted node plays.

The rollouts of the table run several at a time, each in a namespace of its own.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.terminal.console import Activity
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.rollout import Policy, Verdict
from tasks.core.redact import Redactor
from tasks.flows.kubernetes.diagnostics import save_diagnostics
from tasks.flows.kubernetes.track import track
from tests.support.controlplane import ControlPlane
from tests.support.faults import FaultyProxy
from tests.support.node import Node
from tests.support.releases import RELEASE, Object, deployment, job, statefulset

# What heals has the time for it on a machine that is busy.
PATIENT = Policy(
    grace=timedelta(seconds=60), deadline=timedelta(seconds=180), stability=timedelta(seconds=3)
)
PROMPT = Policy(
    grace=timedelta(seconds=6), deadline=timedelta(seconds=60), stability=timedelta(seconds=3)
)
HASTY = Policy(
    grace=timedelta(seconds=4), deadline=timedelta(seconds=12), stability=timedelta(seconds=2)
)
AT_ONCE = 8
PLANTED = "planted-secret-4711"


@dataclass(frozen=True)
class Scene:
    """One rollout.

    Attributes:
        objects: what is applied.
        cause: a pattern of the line that names the cause; empty for one that succeeds.
        before: what was rolled out before.
        logs: patterns of evidence files that must be there.
        shown: a pattern of a line that must have been told.
        labels: of the namespace.
        policy: how patient to be, where the cause is a fault that could heal, or a deadline.
    """

    objects: tuple[Object, ...]
    cause: str = ""
    before: tuple[Object, ...] = ()
    logs: tuple[str, ...] = ()
    shown: str = ""
    labels: Object = field(default_factory=dict)
    policy: Policy | None = None


def _refer(kind: str, name: str, key: str) -> Object:
    source = {f"{kind}KeyRef": {"name": name, "key": key}}
    return {"container": {"env": [{"name": "X", "valueFrom": source}]}}


def _volume(**source: Any) -> Object:
    return {"volumes": [{"name": "config", **source}]}


def _thing(kind: str, name: str, **fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def _by_cron(manifest: Object) -> Object:
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "cron", "uid": "0"}
    manifest["metadata"]["ownerReferences"] = [owner]
    return manifest


def _within(seconds: int, manifest: Object) -> Object:
    manifest["spec"]["activeDeadlineSeconds"] = seconds
    return manifest


INIT = {"initContainers": [{"name": "warm-up", "image": "registry.example.com/mautic:1"}]}
PROBED = {"startupProbe": {"httpGet": {"path": "/ping", "port": 8080}}}
TELLING = {"terminationMessagePolicy": "FallbackToLogsOnError"}
POD = r"pod/web-\S+ container fpm: "
DATA = {"data": {"other": "eA=="}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}

DOOMED = {
    "an image that is missing": Scene(
        (deployment(fate="image-missing", replicas=2),),
        POD + r"the image cannot be pulled \(ErrImagePull: .*mautic:1: not found\)",
        shown=r"! pod/web-\S+: Failed: Failed to pull image",
    ),
    "an image name that is invalid": Scene(
        (deployment(container={"image": "registry.example.com/Mautic:1"}),),
        POD + r"the image name is invalid \(InvalidImageName",
    ),
    "a registry that stays busy": Scene(
        (deployment(fate="image-registry-busy:99"),),
        POD + r"the registry is busy or out of reach",
    ),
    "a Secret that is missing": Scene(
        (deployment(**_refer("secret", "mautic", "password")),),
        POD + r'a Secret, .* missing \(CreateContainerConfigError: secret "mautic" not found\)',
    ),
    "a ConfigMap that is missing": Scene(
        (deployment(**_refer("configMap", "mautic", "url")),),
        POD + r'a Secret, .* missing \(\S+ configmap "mautic" not found\)',
    ),
    "a key that is missing": Scene(
        (_thing("Secret", "mautic", **DATA), deployment(**_refer("secret", "mautic", "password"))),
        POD + r"a Secret, .* missing \(\S+ couldn't find key password in Secret \S+/mautic\)",
    ),
    "a Secret to be mounted that is missing": Scene(
        (deployment(**_volume(secret={"secretName": "mautic"})),),
        r'pod/web-\S+: a Secret or .* mounted is missing \(FailedMount: .*secret "mautic" not fou',
    ),
    "a key to be mounted that is missing": Scene(
        (
            _thing("ConfigMap", "mautic", data={}),
            deployment(
                **_volume(configMap={"name": "mautic", "items": [{"key": "a", "path": "a"}]})
            ),
        ),
        r"pod/web-\S+: a Secret or .* mounted is missing .*non-existent config key: a",
    ),
    "a crash loop": Scene(
        (deployment(fate="crash-loop", replicas=2, log="the database is away"),),
        POD + r"the container keeps crashing \(Error: exit code 1\)",
        logs=(r"logs/web-\S+\.fpm\.log", r"logs/web-\S+\.fpm\.previous\.log"),
        shown=r"pod/web-\S+ fpm \| the database is away",
    ),
    "a container that dies after it was available": Scene(
        (deployment(fate="crash-after-ready"),), POD + "the container keeps crashing"
    ),
    "too little memory": Scene(
        (deployment(fate="oom"),), POD + r"the container ran out of memory \(OOMKilled"
    ),
    "a command that is missing": Scene(
        (deployment(fate="start-error"),),
        POD + r"the command cannot be started .*executable file not found",
    ),
    "an init container that fails": Scene(
        (deployment(fate="warm-up=init-failure", **INIT),),
        r"pod/web-\S+ init container warm-up: the container keeps crashing",
        logs=(r"logs/web-\S+\.warm-up\.log", r"logs/web-\S+\.warm-up\.previous\.log"),
    ),
    "a pod that never becomes ready": Scene(
        (deployment(fate="never-ready"),),
        POD + r"it does not become ready \(Unhealthy: readiness probe: GET /healthz answered 503\)",
        policy=HASTY,
        shown=r"! pod/web-\S+: Unhealthy: Readiness probe failed.* \(x\d+\)$",
    ),
    "a pod that nobody can connect to": Scene(
        (deployment(fate="never-ready:refused"),),
        POD + r"it does not become ready \(Unhealthy: readiness probe: no connection to port 8080",
        policy=HASTY,
    ),
    "a site that is too slow": Scene(
        (deployment(fate="never-ready:timeout"),),
        POD + r"it does .* \(Unhealthy: readiness probe: GET /healthz timed out after 1 s\)",
        policy=HASTY,
    ),
    "a container that its start-up probe ends": Scene(
        (deployment(fate="killed:startup", container=PROBED),),
        POD + r"its probe fails, and it is restarted for that "
        r"\(Killing: startup probe: GET /ping answered 500\)",
    ),
    "an init container that does not end": Scene(
        (deployment(fate="warm-up=init-silent", **INIT),),
        r"pod/web-\S+ init container warm-up: an init container does not end \(Containers\w+: it "
        r"has run for 1\d s; its last line: warm-up: still counting\)",
        policy=HASTY,
        shown=r"pod/web-\S+ warm-up \| warm-up: still counting",
    ),
    "an init container that waits for a database": Scene(
        (deployment(fate="warm-up=init-waits:database-refused", replicas=2, **INIT),),
        r"pod/web-\S+ init container warm-up: the database refuses the connection "
        r"\(database-refused: it is database refused\)",
        shown=r"pod/web-\S+ warm-up \| wait: waiting \[database-refused\]: it is database refused",
    ),
    "an init container that gives up": Scene(
        (deployment(fate="warm-up=init-gives-up:migration", **INIT),),
        r"pod/web-\S+ init container warm-up: the migration has not run \(migration: it is migr",
        shown=r"pod/web-\S+ warm-up \| wait: failed \[migration\]: it is migration",
    ),
    "a Job that waits for a database": Scene(
        (deployment(), job(fate="waits:database-unreachable")),
        r"pod/migrate-\S+ container fpm: the database cannot be reached \(database-unrea",
        shown=r"pod/migrate-\S+ fpm \| migrate: waiting \[database-unreachable\]: it is data",
    ),
    "a Job that a database denies access": Scene(
        (deployment(), job(fate="gives-up:database-access-denied", container=TELLING)),
        r"pod/migrate-\S+ container fpm: the database denies access \(database-access",
        logs=(r"logs/migrate-\S+\.fpm\.log",),
        shown=r"pod/migrate-\S+ fpm \| migrate: failed \[database-access-denied\]: it is data",
    ),
    "more than any node has": Scene(
        (deployment(container={"resources": {"requests": {"cpu": "1k"}}}),),
        r"pod/web-\S+: no node can take the pod \(Unschedulable: .*Insufficient cpu",
    ),
    "a volume that is not bound": Scene(
        (
            _thing("PersistentVolumeClaim", "media", spec=CLAIM),
            deployment(**_volume(persistentVolumeClaim={"claimName": "media"})),
        ),
        r"pod/web-\S+: a volume is not bound",
    ),
    "a quota": Scene(
        (_thing("ResourceQuota", "small", spec={"hard": {"pods": "0"}}), deployment()),
        r"replicaset/web-\S+: refused by a quota \(FailedCreate: .*exceeded quota: small",
    ),
    "a policy of the namespace": Scene(
        (deployment(hostNetwork=True),),
        r"replicaset/web-\S+: refused by admission \(FailedCreate: .*violates PodSecurity",
        labels={"pod-security.kubernetes.io/enforce": "restricted"},
    ),
    "a service account that is missing": Scene(
        (deployment(serviceAccountName="nobody"),),
        r"replicaset/web-\S+: its service account is missing",
    ),
    "a Job that fails": Scene(
        (deployment(), job(fate="job-fail", log="no such table")),
        r"job/migrate: the Job failed \(Backoff\w+: .*pod/migrate-\S+ container fpm ended with "
        r"exit code 1\)",
        logs=(r"logs/migrate-\S+\.fpm\.log",),
        shown=r"pod/migrate-\S+ fpm \| no such table",
    ),
    "a Job that takes too long": Scene(
        (deployment(), _within(3, job(fate="job-slow:60"))),
        r"job/migrate: the Job took too long \(DeadlineExceeded: Job was active longer than",
    ),
    "a StatefulSet that crashes": Scene(
        (deployment(), statefulset(fate="crash-loop")),
        r"pod/redis-0 container fpm: the container keeps crashing",
    ),
    "a new revision that is broken": Scene(
        (deployment(fate="image-missing"),),
        POD + "the image cannot be pulled",
        before=(deployment(),),
    ),
    "the worse one of two failures": Scene(
        (deployment("slow", fate="crash-loop"), deployment(fate="image-missing")),
        POD + "the image cannot be pulled",
    ),
}
DONE = {
    "healthy replicas, a StatefulSet and a Job": Scene(
        (deployment(replicas=3), statefulset(), job()),
        shown=r".*\bdeployment/web: 3/3 updated, 3 ready",
    ),
    "a slow start": Scene((deployment(fate="slow:3"),)),
    "readiness that flaps and settles": Scene((deployment(fate="flapping"),)),
    "a registry that is busy for a while": Scene((deployment(fate="image-registry-busy:1"),)),
    "benign warnings": Scene(
        (deployment(fate="noisy"),),
        shown=r"healed meanwhile: pod/web-\S+: .*MissingClusterDNS: .* does not have ClusterDNS",
    ),
    "a Job that waits for a while": Scene(
        (deployment(), job(fate="waits:database-starting/2")),
        shown=r"pod/migrate-\S+ fpm \| migrate: waiting \[database-starting\]: it is data",
    ),
    "an init container that waits for the migration": Scene(
        (deployment(fate="warm-up=init-waits:migration/6", replicas=2, **INIT),),
        shown=r"pod/web-\S+ warm-up \| wait: waiting \[migration\]: it is migration",
    ),
    "one early restart": Scene((deployment(fate="crash-early:1"),)),
    "an old revision that crashes": Scene(
        (deployment(),), before=(deployment(fate="crash-loop", replicas=2),)
    ),
    "three early restarts before a redeploy of the same": Scene(
        (deployment(fate="crash-early:3"),), before=(deployment(fate="crash-early:3"),)
    ),
    "a failing Job that a CronJob made": Scene(
        (deployment(), _by_cron(job("cron-1", fate="job-fail")))
    ),
    "a failed Job of the last revision": Scene(
        (deployment(),), before=(job("old", fate="job-fail"),)
    ),
    "a foreign pod that crashes in the same namespace": Scene(
        (
            deployment(),
            {
                **_thing("Pod", "foreign", spec=deployment()["spec"]["template"]["spec"]),
                "metadata": {"name": "foreign", "annotations": {Node.FATE: "crash-loop"}},
            },
        )
    ),
}


@dataclass
class Told:
    """What came of a rollout."""

    verdict: Verdict
    lines: list[str]
    directory: Path

    def evidence(self) -> dict[str, str]:
        """Return the evidence: the files' texts by their names."""
        return {
            str(path.relative_to(self.directory)): path.read_text()
            for path in self.directory.rglob("*")
            if path.is_file()
        }


def _namespace(cluster: Cluster, labels: Object) -> str:
    name = f"track-{secrets.token_hex(4)}"
    manifest = _thing("Namespace", name)
    manifest["metadata"]["labels"] = labels
    cluster.create(manifest)
    _until(lambda: cluster.get("ServiceAccount", "default", name))
    return name


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _apply(cluster: Cluster, namespace: str, objects: tuple[Object, ...]) -> None:
    for each in objects:
        cluster.apply({**each, "metadata": {**each["metadata"], "namespace": namespace}})


def _before(cluster: Cluster, namespace: str, objects: tuple[Object, ...]) -> None:
    """Roll out what was there before, to the end of its own fate."""
    _apply(cluster, namespace, objects)

    def settled() -> bool:
        pods = cluster.find("Pod", namespace)
        states = [c for pod in pods for c in pod["status"].get("containerStatuses", [])]
        return bool(states) and all(
            c["ready"] or c["restartCount"] > 2 or "terminated" in c["state"] for c in states
        )

    _until(settled)
    time.sleep(2.5)  # time stamps of what was before are to differ by more than their precision


def _play(cluster: Cluster, scene: Scene, directory: Path) -> Told:
    namespace = _namespace(cluster, scene.labels)
    try:
        if scene.before:
            _before(cluster, namespace, scene.before)
        since = cluster.now()
        _apply(cluster, namespace, scene.objects)
        lines: list[str] = []
        verdict = track(
            cluster,
            namespace,
            RELEASE,
            since=since,
            policy=scene.policy or (PROMPT if scene.cause else PATIENT),
            activity=Activity(lines.append, lines.append),
        )
        save_diagnostics(cluster, namespace, RELEASE, directory, Redactor())
        return Told(verdict, lines, directory)
    finally:
        cluster.delete("Namespace", namespace)


@pytest.fixture(scope="module")
def outcomes(
    node: Node, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """What came of every rollout; each is waited for by its own test."""
    root = tmp_path_factory.mktemp("evidence")
    scenes = {**DOOMED, **DONE}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(_play, cluster, scene, root / str(number))
            for number, (name, scene) in enumerate(scenes.items())
        }


@pytest.mark.parametrize("name", DOOMED)
def test_a_doomed_rollout_is_told_with_its_cause_and_its_evidence(outcomes: Any, name: str) -> None:
    scene, told = DOOMED[name], outcomes[name].result()

    assert not told.verdict.done
    assert told.verdict.cause, told.lines
    assert re.match(scene.cause, told.verdict.cause.line()), told.verdict.cause.line()
    evidence = told.evidence()
    assert "events.txt" in evidence
    assert any(re.fullmatch(r"(deployments|jobs)\.yaml", file) for file in evidence)
    for pattern in scene.logs:
        assert [text for file, text in evidence.items() if re.fullmatch(pattern, file) and text]
    assert not scene.shown or any(re.match(scene.shown, line) for line in told.lines), told.lines


@pytest.mark.parametrize("name", DONE)
def test_a_rollout_that_comes_up_is_done(outcomes: Any, name: str) -> None:
    scene, told = DONE[name], outcomes[name].result()

    assert told.verdict.cause is None
    assert told.verdict.done
    assert not scene.shown or any(re.match(scene.shown, line) for line in told.lines), told.lines


@pytest.mark.parametrize("name", [*DOOMED, *DONE])
def test_nothing_is_told_twice(outcomes: Any, name: str) -> None:
    lines = outcomes[name].result().lines

    # A failed container's log is shown as it is, each time that it failed.
    once = [line for line in lines if " | " not in line or ": waiting [" in line]
    assert sorted(set(once)) == sorted(once)


def test_what_replicas_say_is_told_once(outcomes: Any) -> None:
    for name in ("an init container that waits for a database", "an init container that gives up"):
        lines = outcomes[name].result().lines
        said = [line.partition(" | ")[2] for line in lines if " | wait: " in line]
        assert len(said) == 1, lines


@pytest.mark.parametrize("name", DONE)
def test_a_healthy_rollout_says_little_in_a_pipe(outcomes: Any, name: str) -> None:
    # Two lines of a log for each crash, and one for each kind of warning.
    assert len(outcomes[name].result().lines) <= 8


def test_each_warning_is_told_once(outcomes: Any) -> None:
    lines = outcomes["an image that is missing"].result().lines

    warnings = [line for line in lines if line.startswith("! ") and not line.endswith(")")]
    assert len(warnings) == len({line.partition(": ")[2] for line in warnings})


@pytest.fixture
def watched(cluster: Cluster, node: Node) -> Iterator[str]:
    """A namespace with its service account."""
    name = _namespace(cluster, {})
    yield name
    cluster.delete("Namespace", name)


def test_nothing_is_done_before_all_is_applied(cluster: Cluster, watched: str) -> None:
    _before(cluster, watched, (deployment(),))
    applied = threading.Event()
    since = cluster.now()
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(
            track,
            cluster,
            watched,
            RELEASE,
            since=since,
            policy=PATIENT,
            activity=Activity(lambda _: None, lambda _: None),
            applied=applied.is_set,
        )
        time.sleep(2)
        early = told.done()
        _apply(cluster, watched, (deployment(fate="image-missing"),))
        applied.set()
        verdict = told.result()

    assert not early
    assert verdict.cause
    assert "the image cannot be pulled" in verdict.cause.line()


def test_a_hook_that_fails_is_told_before_all_is_applied(cluster: Cluster, watched: str) -> None:
    _before(cluster, watched, (deployment(fate="crash-loop"),))
    since = cluster.now()
    _apply(cluster, watched, (job(fate="job-fail"),))

    verdict = track(
        cluster,
        watched,
        RELEASE,
        since=since,
        policy=PATIENT,
        activity=Activity(lambda _: None, lambda _: None),
        applied=lambda: False,
    )

    assert verdict.cause
    assert verdict.cause.line().startswith("job/migrate: the Job failed")
    assert [row.workload for row in verdict.rows] == ["job/migrate"]


def test_tracking_can_be_given_up(cluster: Cluster, watched: str) -> None:
    _apply(cluster, watched, (deployment(fate="slow:60"),))
    panels: list[list[str]] = []

    def abort() -> bool:
        return any(line.startswith("deployment/web  1/1/0") for rows in panels for line in rows)

    verdict = track(
        cluster,
        watched,
        RELEASE,
        since=cluster.now(),
        policy=PATIENT,
        activity=Activity(lambda _: None, lambda _: None, lambda rows: panels.append([*rows])),
        abort=abort,
    )

    assert not verdict.done
    assert verdict.cause is None
    assert re.fullmatch(r"\s+desired/updated/ready\s+age", panels[-1][0])
    assert re.match(r"deployment/web\s+1/1/0\s+\d+s\s+ContainerCreating", panels[-1][1])


def test_whoever_may_not_watch_is_told_so(
    control_plane: ControlPlane, node: Node, watched: str, tmp_path: Path
) -> None:
    control_plane.pki.issue("stranger", "stranger")
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", "stranger")
    stranger = Cluster("test", str(kubeconfig))

    with pytest.raises(ClusterError, match="stranger") as caught:
        track(
            stranger,
            watched,
            RELEASE,
            since=stranger.now(),
            policy=PATIENT,
            activity=Activity(lambda _: None, lambda _: None),
        )

    assert caught.value.status == 403


def test_an_api_that_fails_and_drops_its_watches_is_survived(
    control_plane: ControlPlane, cluster: Cluster, watched: str, tmp_path: Path
) -> None:
    with FaultyProxy(control_plane) as proxy:
        shaky = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
        proxy.fail(500, every=3)
        proxy.drop(after_seconds=0.7)
        since = shaky.now()
        _apply(cluster, watched, (deployment(fate="slow:3", replicas=2),))
        verdict = track(
            shaky,
            watched,
            RELEASE,
            since=since,
            policy=PATIENT,
            activity=Activity(lambda _: None, lambda _: None),
        )

    assert verdict.done
    assert proxy.failed > 0
    assert proxy.dropped > 0


def test_what_waits_is_followed_although_the_connection_drops(
    control_plane: ControlPlane, cluster: Cluster, watched: str, tmp_path: Path
) -> None:
    lines: list[str] = []
    with FaultyProxy(control_plane) as proxy:
        shaky = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
        proxy.drop(after_seconds=0.7)
        since = shaky.now()
        _apply(cluster, watched, (job(fate="waits:migration-lock/4"), deployment()))
        verdict = track(
            shaky,
            watched,
            RELEASE,
            since=since,
            policy=PATIENT,
            activity=Activity(lines.append, lines.append),
        )

    assert verdict.done
    assert proxy.dropped > 0
    assert len([line for line in lines if " | migrate: waiting [migration-lock]: " in line]) == 1


def test_nothing_is_followed_any_more_when_the_tracking_has_ended(
    cluster: Cluster, watched: str
) -> None:
    _apply(cluster, watched, (job(fate="waits:migration-lock"), deployment()))
    lines: list[str] = []

    track(
        cluster,
        watched,
        RELEASE,
        since=cluster.now(),
        policy=PATIENT,
        activity=Activity(lines.append, lines.append),
        abort=lambda: any("waiting [migration-lock]" in line for line in lines),
    )

    _until(lambda: not [each for each in threading.enumerate() if each.name.startswith("log")])


def test_on_a_terminal_all_that_a_migration_says_is_shown(cluster: Cluster, watched: str) -> None:
    said: list[str] = []
    passing: list[str] = []
    since = cluster.now()
    _apply(cluster, watched, (job(fate="waits:migration-lock/1"), deployment()))

    verdict = track(
        cluster,
        watched,
        RELEASE,
        since=since,
        policy=PATIENT,
        activity=Activity(said.append, passing.append, lambda _: None),
    )

    assert verdict.done
    texts = [line.partition(" | ")[2] for line in said if " | " in line]
    assert texts == [
        "migrate: waiting [migration-lock]: it is migration lock",
        "migrate: it is there",
    ]
    assert "fpm | fpm: done" in passing


def test_an_api_that_is_away_for_twenty_seconds_is_survived(
    control_plane: ControlPlane, cluster: Cluster, watched: str, tmp_path: Path
) -> None:
    shown = threading.Event()
    with FaultyProxy(control_plane) as proxy, ThreadPoolExecutor(1) as pool:
        shaky = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
        since = shaky.now()
        _apply(cluster, watched, (deployment(fate="slow:3"),))
        told = pool.submit(
            track,
            shaky,
            watched,
            RELEASE,
            since=since,
            policy=PATIENT,
            activity=Activity(lambda _: shown.set(), lambda _: None),
        )
        assert shown.wait(30)
        with proxy.away():
            time.sleep(20)
        verdict = told.result()

    assert verdict.done


def test_the_evidence_has_no_secrets_and_says_what_is_missing(
    cluster: Cluster, watched: str, tmp_path: Path
) -> None:
    named = {"container": {"env": [{"name": "MAUTIC_DB_PASSWORD", "value": PLANTED}]}}
    _apply(
        cluster,
        watched,
        (
            deployment("leaky", log="connecting with known-secret-0815", **named),
            deployment(fate="image-missing"),
        ),
    )
    _until(
        lambda: [
            c["name"]
            for pod in cluster.find("Pod", watched, "app=leaky")
            for c in pod["status"].get("containerStatuses", [])
            if c["ready"]
        ]
    )
    redactor = Redactor()
    redactor.add("known-secret-0815")

    files = save_diagnostics(cluster, watched, RELEASE, tmp_path / "evidence", redactor)

    texts = {path.name: path.read_text() for path in files}
    assert not [name for name, text in texts.items() if PLANTED in text or "0815" in text]
    assert any("connecting with [redacted]" in text for text in texts.values())
    assert re.search(
        r"pod/web-\S+ container fpm log: there is none: the container is waiting \(\w+\)",
        texts["missing.txt"],
    )
    assert "managedFields" not in "".join(texts.values())


def test_evidence_of_a_cluster_that_is_away_says_so(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with FaultyProxy(control_plane) as proxy:
        kubeconfig = str(proxy.write_kubeconfig(tmp_path / "kubeconfig"))
        gone = Cluster("test", kubeconfig, patience=0.5)
        proxy.fail(503)
        files = save_diagnostics(gone, "nowhere", RELEASE, tmp_path / "evidence", Redactor())

    assert "Pod objects: GET" in (tmp_path / "evidence" / "missing.txt").read_text()
    assert files

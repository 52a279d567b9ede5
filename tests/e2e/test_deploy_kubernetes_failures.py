"""Deploys that fail, by the real command line: the cause, the evidence, and what serves afterwards.

The rows run several at a time, each lane on a branch that serves a good release before every one.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tests.support.deploys import FAST, REDIS, Deploys, Lines, Object
from tests.support.kube_cli import EXHAUSTED_CLASS, ON, KubeEnv
from tests.support.obstacles import fail_helm, fail_web, refuse_web, remove_config, storage_class

LANES = 3
CRASHES = 3
"""Of one container that are a crash loop, by default."""
GOOD = "good"
POD = r"pod/\S+-{}-\S+ container {}: "
WEB, NGINX = POD.format("web", "fpm"), POD.format("web", "nginx")
HOOK = POD.format("migrate", "migrate")


@dataclass(frozen=True)
class Row:
    """One deploy.

    Attributes:
        cause: a pattern of the one line that names the cause; empty for a deploy that works.
        fates: what becomes of pods, by component.
        values: the chart's values besides.
        logs: patterns of files among the evidence.
        first: whether nothing is deployed before.
        settings: of the environment.
        prepare: what is to be done to the cluster first.
        shown: a pattern of a line that must have been told.
    """

    cause: str = ""
    fates: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    logs: tuple[str, ...] = ()
    first: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Deploys, str, str], None] = lambda deploys, branch, tag: None
    shown: str = ""


def redis(**values: Any) -> Object:
    return {"sessions": {"handler": "redis"}, "redis": values}


MYSQL = {
    "mysql": {"enabled": True},
    "images": {"mysql": f"registry.example.com/mysql@sha256:{'d' * 64}"},
}
STEADY = {"patience": {"stability_seconds": 8}}
"""On a machine with much to do even what dies at once lives for seconds."""
HEALS = {"patience": {"grace_seconds": 60}}
"""On a machine with much to do a second attempt can take longer than the tests' patience."""
UNASKED = {"capacity": {"check": False}}
"""It would be refused before: tests/e2e/test_capacity_kubernetes.py has that."""
FAILED = {
    "an image that is missing": Row(
        WEB + r"the image cannot be pulled \(ErrImagePull: .*: not found\)",
        {"web": "fpm=image-missing"},
        shown=r"! pod/\S+-web-\S+: Failed: Failed to pull image",
    ),
    "a registry that stays busy": Row(
        WEB + r"the registry is busy or out of reach", {"web": "fpm=image-registry-busy:99"}
    ),
    "an image name that is invalid": Row(
        POD.format("redis", "redis") + r"the image name is invalid \(InvalidImageName",
        values=redis(enabled=True) | {"images": {"redis": REDIS.replace("redis@", "Redis@")}},
    ),
    "a key of the Secret that is missing": Row(
        WEB + r"a Secret, .* missing \(\S+ couldn't find key cache_password in Secret \S+/mautic",
        values=redis(host="10.0.52.11", passwordKey="cache_password"),
    ),
    "a key to be mounted that is missing": Row(
        r"pod/\S+-migrate-\S+: a Secret or .* mounted is missing \(FailedMount: .*"
        r"non-existent secret key: mailer_dsn",
        values={"secret": {"files": {"MAUTIC_MAILER_DSN": "mailer_dsn"}}},
    ),
    "a ConfigMap that is missing": Row(
        r"pod/\S+ container \S+: a Secret, a ConfigMap or .* missing "
        r"\(CreateContainerConfigError: configmap \"\S+-env\" not found\)",
        # Long enough for it to be deleted.
        dict.fromkeys(("web", "worker"), "image-registry-busy:3"),
        {"env": {"MAUTIC_ROW": "config"}},
        prepare=remove_config,
    ),
    "an image that runs as root": Row(
        WEB + r"the image would run as root \(CreateContainerConfigError: .*runAsNonRoot and image",
        {"web": "fpm=runs-as-root"},
    ),
    "a container that cannot be configured": Row(
        WEB + r"the container cannot be configured \(CreateContainerConfigError: .*subPath",
        {"web": "fpm=config-error"},
    ),
    "a container that cannot be created": Row(
        WEB + r"the container cannot be created \(CreateContainerError: .*is reserved",
        {"web": "fpm=create-error"},
    ),
    "a migration that fails": Row(
        r"job/\S+-migrate: the Job failed \(Backoff\w+: .*pod/\S+ container migrate ended with "
        r"exit code 1[:)]",
        {"migrate": "job-fail"},
        logs=(r"logs/\S+-migrate-\S+\.migrate\.log",),
        shown=r"pod/\S+-migrate-\S+ migrate \| migrate: fatal, exit code 1",
    ),
    "a migration whose image is missing": Row(
        HOOK + r"the image cannot be pulled", {"migrate": "image-missing"}
    ),
    "a database that cannot be made": Row(
        r"job/database-create-\S+: the Job failed .* in mautic-system: database: fatal",
        {"database": "job-fail"},
        first=True,
    ),
    "an init container that fails": Row(
        r"pod/\S+-web-\S+ init container wait-for-migration: the container keeps crashing",
        {"web": "wait-for-migration=init-failure", "migrate": "job-slow:30"},
        values=MYSQL,
        settings={"database": None},
        first=True,
        logs=(
            r"logs/\S+-web-\S+\.wait-for-migration\.log",
            r"logs/\S+-web-\S+\.wait-for-migration\.previous\.log",
        ),
    ),
    "a quota": Row(
        r"replicaset/\S+: refused by a quota \(FailedCreate: .*exceeded quota",
        values={"quota": {"hard": {"pods": "1"}}},
        settings=UNASKED,
    ),
    "a policy of the cluster": Row(
        r"replicaset/\S+-web-\S+: refused by admission \(FailedCreate: .*no unsigned images",
        prepare=refuse_web,
    ),
    "a webhook that does not answer": Row(
        r"replicaset/\S+-web-\S+: an admission webhook does not answer "
        r"\(FailedCreate: .*failed calling webhook",
        prepare=fail_web,
    ),
    "a service account that is missing": Row(
        r"job/\S+-migrate: its service account is missing",
        values={"serviceAccount": {"create": False, "name": "nobody"}},
    ),
    "a crash loop": Row(
        WEB + r"the container keeps crashing \(Error: exit code 1: fpm: fatal, exit code 1\)",
        {"web": "fpm=crash-loop"},
        logs=(r"logs/\S+-web-\S+\.fpm\.log", r"logs/\S+-web-\S+\.fpm\.previous\.log"),
        shown=r"pod/\S+-web-\S+ fpm \| fpm: fatal, exit code 1",
    ),
    "a worker that crashes": Row(
        POD.format("worker", "worker").replace("-worker-", "-worker-(email|hit)-")
        + "the container keeps crashing",
        {"worker": "crash-loop"},
    ),
    "a container that dies after it was available": Row(
        WEB + "the container keeps crashing",
        {"web": "fpm=crash-after-ready"},
        settings=STEADY,
    ),
    "too little memory": Row(
        NGINX + r"the container ran out of memory \(OOMKilled", {"web": "nginx=oom"}
    ),
    "a command that is missing": Row(
        WEB + r"the command cannot be started .*executable file not found",
        {"web": "fpm=start-error"},
    ),
    "a pod that never becomes ready": Row(
        NGINX + r"it does not become ready \(Unhealthy: readiness probe: GET /ready "
        r"\(Mautic's /s/login\) answered 500",
        {"web": "nginx=never-ready:500"},
        settings={"patience": {"deadline_seconds": 30}},
    ),
    "a container that its start-up probe ends": Row(
        WEB + r"its probe fails, and it is restarted for that "
        r"\(Killing: startup probe: GET /fpm-ping answered 500",
        {"web": "fpm=killed:startup"},
    ),
    "an init container that does not end": Row(
        r"pod/\S+-(web|worker|cron)-\S+ init container wait-for-migration: an init container "
        r"does not end \(ContainersNotInitialized: it has run for \d+ s; its last line: wait-for-",
        dict.fromkeys(("web", "worker", "cron"), "wait-for-migration=init-silent"),
        values=MYSQL,
        settings={"database": None, "patience": {"deadline_seconds": 30}},
        first=True,
    ),
    "a migration that never comes": Row(
        r"pod/\S+-(web|worker|cron)-\S+ init container wait-for-migration: the migration has not ",
        dict.fromkeys(("web", "worker", "cron"), "wait-for-migration=init-gives-up:migration"),
        values=MYSQL,
        settings={"database": None},
        first=True,
    ),
    "a database whose host is unknown": Row(
        HOOK + r"the database's host name is unknown \(database-unknown-host: it is database unkno",
        {"migrate": "gives-up:database-unknown-host"},
        logs=(r"logs/\S+-migrate-\S+\.migrate\.log",),
        shown=r"pod/\S+-migrate-\S+ migrate \| migrate: failed \[database-unknown-host\]: it is da",
    ),
    "a database that denies access": Row(
        HOOK + r"the database denies access \(database-access-denied: it is database access denied",
        {"migrate": "gives-up:database-access-denied"},
    ),
    "a database that is unknown": Row(
        HOOK + r"there is no such database \(database-unknown: ",
        {"migrate": "gives-up:database-unknown"},
    ),
    "a database without TLS": Row(
        HOOK + r"no secure connection to the database \(database-tls: ",
        {"migrate": "gives-up:database-tls"},
    ),
    "a database that refuses": Row(
        HOOK + r"the database refuses the connection \(database-refused: it is database refused\)",
        {"migrate": "waits:database-refused"},
        shown=r"pod/\S+-migrate-\S+ migrate \| migrate: waiting \[database-refused\]: it is databa",
    ),
    "a database that cannot be reached": Row(
        HOOK + r"the database cannot be reached \(database-unreachable: ",
        {"migrate": "waits:database-unreachable"},
    ),
    "a database that is full": Row(
        HOOK + r"the database has no connection left \(database-too-many-connections: ",
        {"migrate": "waits:database-too-many-connections"},
    ),
    "a database that does not come up": Row(
        HOOK + r"the database is not ready \(database-starting: ",
        {"migrate": "waits:database-starting"},
    ),
    "a lock that another migration holds": Row(
        HOOK + r"another migration holds the lock \(migration-lock: ",
        {"migrate": "waits:migration-lock"},
        settings={"patience": {"deadline_seconds": 20}},
    ),
    "a database of the release's own that cannot start": Row(
        POD.format("mysql", "mysql").replace("mysql-\\S+", "mysql-0")
        + r"the image name is invalid \(InvalidImageName",
        {
            "migrate": "waits:database-unknown-host",
            **dict.fromkeys(("web", "worker", "cron"), "init-waits:migration"),
        },
        values={**MYSQL, "images": {"mysql": MYSQL["images"]["mysql"].replace("mysql@", "MySQL@")}},
        settings={"database": None},
        first=True,
    ),
    "a pod that is evicted": Row(
        r"pod/\S+-web-\S+: the pod was evicted or killed \(Evicted: The node was low on",
        {"web": "fpm=evicted"},
        settings=STEADY,
        shown=r"! pod/\S+-web-\S+: Evicted: ",
    ),
    "a volume that cannot be mounted": Row(
        r"pod/\S+-web-\S+: a volume cannot be provided \(FailedMount: .*Could not mount",
        {"web": "fpm=mount-failed"},
    ),
    "a pod without an address": Row(
        r"pod/\S+-migrate-\S+: the pod cannot be set up on its node \(FailedCreatePodSandBox: .*"
        r"no IP addresses available",
        {"migrate": "sandbox-failed"},
    ),
    "a volume that cannot be provided": Row(
        r"persistentvolumeclaim/\S+: a volume cannot be provided "
        r"\(ProvisioningFailed: .*access point limit reached",
        values={"media": {"storageClass": EXHAUSTED_CLASS}},
        first=True,
    ),
    "more than any node has": Row(
        r"pod/\S+-web-\S+: no node can take the pod \(Unschedulable: .*Insufficient cpu",
        values={
            "web": {"fpm": {"resources": {"requests": {"cpu": "1k"}}}},
            "quota": {"hard": {"requests.cpu": "10k"}},
        },
        settings=UNASKED,
    ),
    "a volume that is not bound": Row(
        # The pod and its claim wait equally long: whichever is told first is right.
        r"(pod/\S+: a volume is not bound \(Unschedulable: .*; persistentvolumeclaim/\S+: \w+: "
        r"|persistentvolumeclaim/\S+: a volume cannot be provided)",
        values={"media": {"storageClass": "unserved"}},
        prepare=storage_class,
        first=True,
    ),
}
WORKS = {
    "benign warnings": Row(
        fates={"web": "fpm=noisy"}, shown=r"healed meanwhile: .*MissingClusterDNS: "
    ),
    "readiness that flaps and settles": Row(fates={"web": "fpm=flapping"}),
    "a slow start": Row(fates={"web": "fpm=slow:4"}),
    "a registry that is busy for a while": Row(
        fates={"web": "fpm=image-registry-busy:1"}, settings=HEALS
    ),
    "one early crash": Row(fates={"web": "fpm=crash-early:1"}, settings=HEALS),
    "a webhook that is away for a while": Row(
        prepare=fail_helm,
        settings=HEALS,
        shown=r"trying again for \d+ s: helm upgrade of \S+ failed: .*failed calling webhook",
    ),
    "a database that is away for a while": Row(
        fates={"migrate": "waits:database-refused/2"},
        shown=r"pod/\S+-migrate-\S+ migrate \| migrate: waiting \[database-refused\]: it is databa",
    ),
}
ROWS = {**FAILED, **WORKS}


@dataclass
class Seen:
    """What was seen of one deploy."""

    status: int
    lines: list[tuple[float, str]]
    evidence: dict[str, str]
    timings: list[Object]
    serving: set[str]
    before: set[str]
    quiesced: list[str]
    history: list[str]
    state: str
    cause: str
    migrations: list[str]
    reports: list[tuple[float, str, Object]]

    def errors(self) -> list[str]:
        """Return the lines that tell of the failure."""
        return [line for _, line in self.lines if line.startswith("error: ")]


class Witness:
    """Remembers when the cluster reported what."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.reports: list[tuple[float, str, Object]] = []
        self._stop = Stop()
        for kind in ("Pod", "Event", "ReplicaSet", "Job"):
            threading.Thread(
                target=cluster.watch,
                args=(kind, namespace, self._take),
                kwargs={"stop": self._stop},
                daemon=True,
            ).start()

    def _take(self, change: WatchEvent) -> None:
        if change.type in {"ADDED", "MODIFIED"}:
            self.reports.append((time.time(), change.kind, change.object))

    def stop(self) -> list[tuple[float, str, Object]]:
        """End; return all reports."""
        self._stop.set()
        return self.reports


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    """The command line, and a control plane."""
    with Deploys(kube_env) as made:
        yield made


@pytest.fixture(scope="module")
def outcomes(deploys: Deploys, request: pytest.FixtureRequest) -> Iterator[Any]:
    """What came of every row; each is waited for by its own test."""
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    names = {call.params.get("name") for call in asked if call}
    deploys.env.push(GOOD)
    lanes: queue.SimpleQueue[tuple[str, Path]] = queue.SimpleQueue()
    for number in range(LANES):
        lanes.put((f"lane-{number}", deploys.worktree(number)))

    def play(number: int, row: Row) -> Seen:
        lane, checkout = lanes.get()
        try:
            branch = f"first-{number}" if row.first else lane
            if not row.first and not deploys.exists(branch):
                deploys.deployed(branch, "--tag", GOOD, cwd=checkout)
            return run(deploys, row, branch, f"row-{number}", checkout)
        finally:
            lanes.put((lane, checkout))

    with ThreadPoolExecutor(LANES) as pool:
        yield {
            name: pool.submit(play, number, row)
            for number, (name, row) in enumerate(ROWS.items())
            if name in names
        }


def run(deploys: Deploys, row: Row, branch: str, tag: str, checkout: Path) -> Seen:
    deploys.env.push(tag)
    names = deploys.names(branch)
    values = checkout.parent / f"{tag}.yaml"
    values.write_text(yaml.safe_dump(dict(row.values)))
    files = ["helm/environments/dev.yaml", FAST, str(values)]
    row.prepare(deploys, branch, tag)
    before = deploys.serving(branch)
    deploys.fate(branch, tag, **row.fates)
    witness = Witness(deploys.cluster, names.namespace)
    process = deploys.env.start(
        *("deploy", *ON, "--branch", branch, "--tag", tag),
        settings=deploys.settings(values=files, **row.settings),
        cwd=checkout,
    )
    said = Lines(process.stderr)
    status = process.wait(timeout=180)
    said.join()
    deploys.fate(branch)
    namespace = deploys.cluster.get("Namespace", names.namespace)
    assert namespace
    record = json.loads(namespace["metadata"]["annotations"]["mautic-multidev.io/record"])
    folder = checkout / names.evidence
    folders = sorted(folder.iterdir()) if folder.is_dir() else []
    evidence = {
        str(path.relative_to(folders[-1])): path.read_text()
        for path in (folders[-1].rglob("*") if folders else ())
        if path.is_file()
    }
    return Seen(
        status,
        said.lines,
        evidence,
        json.loads((checkout / "artifacts" / "timings.json").read_text()),
        deploys.serving(branch),
        before,
        deploys.quiesced(branch),
        [one["status"] for one in deploys.history(branch)] if not row.first else [],
        record["state"],
        record["failures"][-1]["cause"] if record["failures"] else "",
        deploys.migrations(branch),
        witness.stop(),
    )


def seconds_to_tell(seen: Seen, told: str) -> float | None:
    """Return how long after the cluster's first report of the cause the deploy gave up.

    None where patience had to run out first: there is no one report to count from.
    """
    cause = re.fullmatch(r"error: .*? \(([\w-]+)(?:: (.*))?\)", told)
    if cause is None or "(deadline:" in told:
        return None
    reason, message = cause[1], (cause[2] or "").partition("; pod/")[0][:60]
    gave_up = next(moment for moment, line in seen.lines if line == told)
    crashing = "keeps crashing" in told or "out of memory" in told
    for moment, kind, item in seen.reports:
        said = " ".join(json.dumps(item, ensure_ascii=False).replace('\\"', '"').split())
        if crashing and (kind != "Pod" or most_crashes(item) < CRASHES):
            continue
        if reason in said and (crashing or message in said):
            return gave_up - moment
    return None


def most_crashes(pod: Object) -> int:
    statuses = [
        status
        for field_name in ("initContainerStatuses", "containerStatuses")
        for status in pod.get("status", {}).get(field_name, [])
    ]
    return max(
        (one["restartCount"] + ("terminated" in one.get("state", {})) for one in statuses),
        default=0,
    )


@pytest.mark.parametrize("name", FAILED)
def test_a_deploy_that_fails(
    outcomes: Any, name: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    row, seen = FAILED[name], outcomes[name].result()

    seconds = seconds_to_tell(seen, seen.errors()[0])
    back = seen.lines[-1][0] - next(moment for moment, line in seen.lines if "error: " in line)
    record_testsuite_property(f"seconds of the way back: {name}", back)
    record_testsuite_property(f"seconds until told: {name}", seconds)
    assert seen.status == 1, seen.lines
    told, final = seen.errors()
    assert re.match(f"error: {row.cause}", told), told
    # The very last words: what became of the branch, why, and where to look.
    cause = told.removeprefix("error: ")
    assert final.endswith(f" was not deployed: {cause}")
    assert not row.shown or any(re.match(rf"\s*{row.shown}", line) for _, line in seen.lines)
    assert {"error.txt", "events.txt"} <= seen.evidence.keys()
    assert cause in seen.evidence["error.txt"]
    for pattern in row.logs:
        files = [text for path, text in seen.evidence.items() if re.fullmatch(pattern, path)]
        assert files, seen.evidence.keys()
        assert all(files)
    phases = {one["phase"].partition(" ")[0]: one["seconds"] for one in seen.timings}
    assert "save" in phases
    assert seen.state == ("failed" if row.first else "rolled back"), seen.lines
    # What inv page shows of it.
    assert seen.cause[:200] == " ".join(cause.split())[:200]
    # The migration has ended with its deploy.
    assert seen.migrations == []
    hint = next(line for _, line in reversed(seen.lines) if "hint: " in line)
    if row.first:
        assert "nothing was running before" in hint
        assert not seen.serving
    else:
        assert "which is running again" in hint
        assert "roll" in phases
        assert seen.serving == seen.before
        assert seen.quiesced == []
        assert seen.history[-1] == "deployed"


@pytest.mark.parametrize("name", WORKS)
def test_a_deploy_that_works_in_spite_of(outcomes: Any, name: str) -> None:
    row, seen = WORKS[name], outcomes[name].result()

    assert seen.status == 0, seen.lines
    assert seen.errors() == []
    assert not row.shown or any(re.match(rf"\s*{row.shown}", line) for _, line in seen.lines)
    # What a person needs of a deploy that works, and nothing twice.
    said = [line for _, line in seen.lines]
    assert len(said) <= 20, said
    assert sorted(set(said)) == sorted(said)
    assert seen.serving != seen.before
    assert seen.quiesced == []
    assert seen.state == "ready"


def test_restarts_of_an_old_pod_are_no_failure(deploys: Deploys) -> None:
    branch = "old-restarts"
    for tag in ("shaky", "fine"):
        deploys.env.push(tag)
    deploys.fate(branch, web="fpm=crash-early:3")
    patient = deploys.settings(patience={"crashes": 9})
    deploys.deployed(branch, "--tag", "shaky", settings=patient)
    deploys.fate(branch)

    deploys.deployed(branch, "--tag", "fine")

    assert deploys.image("fine") in deploys.serving(branch)

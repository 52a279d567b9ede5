"""The judgement of rollouts, over objects as the API reports them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.images.wait_messages import ContainerMessages
from tasks.core.kubernetes.failures import RULES, Patience, Symptom, rule_for
from tasks.core.kubernetes.rollout import Policy, Verdict, judge
from tasks.core.kubernetes.snapshot import REVISION, Snapshot

Object = dict[str, Any]

STARTED = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
POLICY = Policy()
_numbers = itertools.count()


def at(seconds: float) -> str:
    """Return a time stamp so many seconds after the rollout began."""
    return (STARTED + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def owned(owner: Object | None) -> list[Object]:
    return [{"uid": owner["metadata"]["uid"], "controller": True, "kind": "X"}] if owner else []


def thing(kind: str, name: str, owner: Object | None = None, **fields: Any) -> Object:
    metadata = {
        "name": name,
        "uid": f"{kind}-{name}-{next(_numbers)}",
        "creationTimestamp": at(0),
        "ownerReferences": owned(owner),
        **fields.pop("metadata", {}),
    }
    return {"kind": kind, "metadata": metadata, "spec": {}, "status": {}, **fields}


def condition(kind: str, status: str, reason: str = "", message: str = "", since: float = 0) -> Any:
    words = {"reason": reason, "message": message, "lastTransitionTime": at(since)}
    return {"type": kind, "status": status, **words}


def container(
    name: str = "fpm",
    state: Object | None = None,
    last: Object | None = None,
    restarts: int = 0,
    ready: bool = False,
) -> Object:
    return {
        "name": name,
        "state": state or {"waiting": {"reason": "ContainerCreating"}},
        "lastState": {"terminated": last} if last else {},
        "restartCount": restarts,
        "ready": ready,
    }


def running(since: float) -> Object:
    return {"running": {"startedAt": at(since)}}


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def ended(reason: str = "Error", code: int = 1, message: str = "", when: float = 1) -> Object:
    return {"reason": reason, "exitCode": code, "message": message, "finishedAt": at(when)}


def pod(
    owner: Object,
    *containers: Object,
    inits: tuple[Object, ...] = (),
    conditions: tuple[Object, ...] = (),
    began: float = 0,
    name: str = "web-1",
    **status: Any,
) -> Object:
    ready = bool(containers) and all(c["ready"] for c in containers)
    return thing(
        "Pod",
        name,
        owner,
        status={
            "phase": "Running",
            "startTime": at(began),
            "conditions": [condition("Ready", str(ready)), *conditions],
            "containerStatuses": list(containers),
            "initContainerStatuses": list(inits),
            **status,
        },
    )


class Release:
    """A Deployment with an old and a new ReplicaSet, in the midst of its rollout."""

    def __init__(self, replicas: int = 1, *, complete: bool = False) -> None:
        number = replicas if complete else 0
        self.deployment = thing(
            "Deployment",
            "web",
            metadata={"generation": 2, "annotations": {REVISION: "2"}},
            spec={"replicas": replicas},
            status={
                "observedGeneration": 2,
                "updatedReplicas": number,
                "availableReplicas": number,
                "replicas": replicas,
            },
        )
        self.old = self._replicaset("old", "1", replicas - number, 0)
        self.new = self._replicaset("new", "2", replicas, number)

    def _replicaset(self, name: str, revision: str, replicas: int, ready: int) -> Object:
        return thing(
            "ReplicaSet",
            f"web-{name}",
            self.deployment,
            metadata={"annotations": {REVISION: revision}},
            spec={"replicas": replicas},
            status={"readyReplicas": ready},
        )

    def snapshot(self, *pods: Object, **more: Any) -> Snapshot:
        return Snapshot(
            deployments=[self.deployment], replicasets=[self.old, self.new], pods=pods, **more
        )


def told(snapshot: Snapshot, after: float = 5, policy: Policy = POLICY) -> Verdict:
    now = STARTED + timedelta(seconds=after)
    return judge(snapshot, started=STARTED, now=now, policy=policy)


def of(state: Object, last: Object | None = None, restarts: int = 0) -> Snapshot:
    """Return a snapshot of one new pod whose container is in a state."""
    release = Release()
    return release.snapshot(pod(release.new, container("fpm", state, last, restarts)))


def of_condition(reason: str, message: str = "") -> Snapshot:
    """Return a snapshot of a new ReplicaSet that may not create its pods."""
    release = Release()
    release.new["status"]["conditions"] = [condition("ReplicaFailure", "True", reason, message)]
    return release.snapshot()


def of_progress(reason: str, message: str = "") -> Snapshot:
    release = Release()
    release.deployment["status"]["conditions"] = [
        condition("Progressing", "False", reason, message)
    ]
    return release.snapshot()


def of_scheduling(message: str) -> Snapshot:
    release = Release()
    unscheduled = condition("PodScheduled", "False", "Unschedulable", message)
    return release.snapshot(pod(release.new, conditions=(unscheduled,), phase="Pending"))


def event(about: Object, reason: str, message: str, first: float = 0, last: float = 4) -> Object:
    return {
        "metadata": {"name": "e", "creationTimestamp": at(first)},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {
            "kind": about["kind"],
            "name": about["metadata"]["name"],
            "uid": about["metadata"]["uid"],
        },
        "firstTimestamp": at(first),
        "lastTimestamp": at(last),
    }


def of_event(reason: str, message: str) -> Snapshot:
    release = Release()
    starting = pod(release.new, container())
    return release.snapshot(starting, events=[event(starting, reason, message)])


def of_job(reason: str, kind: str = "Failed") -> Snapshot:
    job = thing("Job", "migrate", status={"conditions": [condition(kind, "True", reason, "no")]})
    return Snapshot(jobs=[job])


def of_eviction(reason: str) -> Snapshot:
    release = Release()
    gone = pod(release.new, phase="Failed", reason=reason, message="low on memory")
    return release.snapshot(gone)


def said(line: str, since: float = 0) -> ContainerMessages:
    """Return what a container has said whose last line is of that time."""
    return ContainerMessages().then(line, STARTED + timedelta(seconds=since))


def of_words(line: str, since: float = 0, *, inits: bool = False) -> Snapshot:
    """Return a snapshot of a Job's pod, or of a new pod's init container, that says something."""
    if inits:
        release = Release()
        waits = pod(
            release.new,
            container("fpm", waiting("PodInitializing")),
            inits=(container("wait", running(0)),),
            phase="Pending",
        )
        words = {(waits["metadata"]["uid"], "wait"): said(line, since)}
        return release.snapshot(waits, said=words)
    job = thing("Job", "migrate", status={"active": 1})
    migrates = pod(job, container("migrate", running(0)), name="migrate-x")
    words = {(migrates["metadata"]["uid"], "migrate"): said(line, since)}
    return Snapshot(jobs=[job], pods=[migrates], said=words)


def of_silence() -> Snapshot:
    """Return a snapshot of a new pod whose init container runs, and says nothing of waiting."""
    return of_words("still counting", inits=True)


def of_probe(message: str, *, since: float = 0) -> Snapshot:
    """Return a snapshot of a new pod whose container runs and fails its readiness probe."""
    release = Release()
    probed = container("nginx", running(since))
    unready = pod(release.new, probed)
    unready["spec"]["containers"] = [SPEC]
    failed = event(unready, "Unhealthy", message)
    failed["involvedObject"]["fieldPath"] = "spec.containers{nginx}"
    return release.snapshot(unready, events=[failed])


def of_killing(kind: str = "startup") -> Snapshot:
    """Return a snapshot of a new pod whose container a probe has ended three times."""
    release = Release()
    killed = pod(
        release.new, container("nginx", waiting("CrashLoopBackOff"), ended("Error", 137, when=4), 3)
    )
    killed["spec"]["containers"] = [SPEC]
    events = []
    for reason, message in (
        ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 502"),
        ("Unhealthy", f"{kind.title()} probe failed: HTTP probe failed with statuscode: 500"),
        ("Killing", f"Container nginx failed {kind} probe, will be restarted"),
    ):
        told = event(killed, reason, message)
        told["involvedObject"]["fieldPath"] = "spec.containers{nginx}"
        told["type"] = "Normal" if reason == "Killing" else "Warning"
        events.append(told)
    return release.snapshot(killed, events=events)


SPEC = {
    "name": "nginx",
    "ports": [{"name": "http", "containerPort": 8080}],
    "startupProbe": {"httpGet": {"port": "http", "path": "/healthz"}},
    "livenessProbe": {"httpGet": {"port": "http", "path": "/healthz"}},
    "readinessProbe": {"httpGet": {"port": "http", "path": "/s/login"}, "timeoutSeconds": 5},
}
ANSWERED_500 = "Readiness probe failed: HTTP probe failed with statuscode: 500"
CODES = {
    "database-unknown-host": "the database's host name is unknown",
    "database-refused": "the database refuses the connection",
    "database-unreachable": "the database cannot be reached",
    "database-access-denied": "the database denies access",
    "database-unknown": "there is no such database",
    "database-tls": "no secure connection to the database",
    "database-too-many-connections": "the database has no connection left",
    "database-starting": "the database is not ready",
    "migration-lock": "another migration holds the lock",
    "seed-missing": "there is no such seed",
    "migration": "the migration has not run",
}
PULL = 'failed to resolve reference "r/mautic:1": '
GET = 'failed to do request: Get "https://r/v2/mautic/blobs/sha256:0": '
STATUS = "unexpected status from HEAD request to https://r:5000/v2/mautic/manifests/1: "
PASSING_PULLS = (
    "dial tcp: lookup r: Temporary failure in name resolution",
    "dial tcp: lookup r: Try again",
    "dial tcp: lookup r on [fd00::a]:53: dial udp [fd00::a]:53: connect: cannot assign requested "
    "address",
    "dial tcp 10.0.0.1:443: connect: no route to host",
    "dial tcp 10.0.0.1:443: connect: network is unreachable",
    "dial tcp 10.0.0.1:443: connect: host is down",
    "proxyconnect tcp: dial tcp 10.0.0.9:3128: connect: connection refused",
    f"{GET}http2: client connection lost",
    f"{GET}http2: server sent GOAWAY and closed the connection",
    f"{GET}stream error: stream ID 5; INTERNAL_ERROR; received from peer",
    f"{GET}http: server closed idle connection",
    f"{GET}net/http: HTTP/1.x transport connection broken",
    f"{GET}Bad Gateway",
    f"{GET}write tcp 10.0.0.2:4->10.0.0.1:443: write: broken pipe",
    "read tcp 10.0.0.2:4->10.0.0.1:443: use of closed network connection",
    "failed size validation: 4096 != 70931: failed precondition",
    f"{STATUS}520 ",
    f"{STATUS}530 <none>",
    "unexpected status code [manifests 1]: 522 ",
    "unexpected status code https://r/v2/mautic/blobs/sha256:0?ns=r: 500",
    "received unexpected HTTP status: 521 ",
    "fetching blob: StatusCode: 503, <html>",
    "invalid status code from registry 504 (Gateway Time-out)",
    "write /var/lib/containerd/x: no space left on device",
    "ref layer-sha256:0 locked for 2m1s (since 12:00): unavailable",
    "rpc error: code = Unavailable desc = error reading from server: EOF",
)
"""Pull errors of containerd, CRI-O and dockerd that a retry may not meet."""
LASTING_PULLS = (
    f"{STATUS}403 Forbidden",
    f"{STATUS}401 Unauthorized",
    "unexpected status from HEAD request to https://r:501/v2/m/manifests/502: 403 Forbidden",
    "unexpected status code [manifests 503]: 401 Unauthorized",
    "received unexpected HTTP status: 400 Bad Request",
    "no match for platform in manifest: not found",
    f"{GET}x509: certificate signed by unknown authority",
    f"{GET}http: server gave HTTP response to HTTPS client",
    "pull access denied, repository does not exist or may require authorization",
)
"""What no attempt mends, with numbers in it that are no status."""
UNCOUNTED = 'pods "web-1" is forbidden: status unknown for quota: q, resources: limits.memory,pods'
HOOK = 'Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: '
POST = 'Post "https://x.n.svc:443/m?timeout=10s": '
ROWS: list[tuple[str, Snapshot]] = [
    ("the image name is invalid", of(waiting("InvalidImageName", "couldn't parse"))),
    *(
        ("the registry is busy or out of reach", of(waiting(reason, PULL + message)))
        for reason in ("ErrImagePull", "ImagePullBackOff")
        for message in (
            "dial tcp 10.0.0.1:443: i/o timeout",
            "dial tcp: lookup r on 10.0.0.10:53: no such host",
            "dial tcp 10.0.0.1:443: connect: connection refused",
            "read: connection reset by peer",
            "unexpected EOF",
            "net/http: TLS handshake timeout",
            "unexpected status from HEAD request to https://r/v2/: 503 Service Unavailable",
            "429 Too Many Requests",
            "toomanyrequests: You have reached your pull rate limit",
            "pull QPS exceeded",
            "context deadline exceeded",
            *PASSING_PULLS,
        )
    ),
    (
        "the registry is busy or out of reach",
        of(waiting("RegistryUnavailable", "the registry is unavailable")),
    ),
    ("the image cannot be pulled", of(waiting("ErrImagePull", PULL + "r/mautic:1: not found"))),
    *(
        (
            "the registry is busy or out of reach",
            of(waiting("ImagePullBackOff", f'Back-off pulling image "r/mautic:1"{why}')),
        )
        for why in ("", ": ErrImagePull: dial tcp 10.0.0.1:443: connect: no route to host")
    ),
    *(
        ("the image cannot be pulled", of(waiting(reason, PULL + message)))
        for reason in ("ErrImagePull", "ImagePullBackOff")
        for message in LASTING_PULLS
    ),
    ("the image cannot be pulled", of(waiting("ErrImagePull", "r/x@sha256:4295500eof: not found"))),
    ("the image cannot be pulled", of(waiting("ImagePullBackOff", PULL + "not found"))),
    ("the image cannot be pulled", of(waiting("ErrImageNeverPull", "is not present"))),
    (
        "a Secret, a ConfigMap or one of its keys is missing",
        of(waiting("CreateContainerConfigError", 'secret "db" not found')),
    ),
    (
        "a Secret, a ConfigMap or one of its keys is missing",
        of(waiting("CreateContainerConfigError", "couldn't find key p in Secret ns/db")),
    ),
    (
        "a Secret or a ConfigMap to be mounted is missing",
        of_event("FailedMount", 'MountVolume.SetUp failed for volume "c" : secret "db" not found'),
    ),
    (
        "a Secret or a ConfigMap to be mounted is missing",
        of_event("FailedMount", 'volume "c" : references non-existent secret key: p'),
    ),
    (
        "the image would run as root",
        of(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will …")),
    ),
    (
        "the container cannot be configured",
        of(waiting("CreateContainerConfigError", "services have not yet been read at least once")),
    ),
    (
        "the command cannot be started",
        of(waiting("RunContainerError", 'exec: "x": executable file not found in $PATH')),
    ),
    (
        "the command cannot be started",
        of(waiting("CrashLoopBackOff"), ended("StartError", 128, 'exec: "x": permission denied')),
    ),
    ("the container cannot be created", of(waiting("CreateContainerError", "name is reserved"))),
    ("refused by a quota", of_condition("FailedCreate", "is forbidden: exceeded quota: q")),
    ("refused by a quota", of_progress("ReplicaSetCreateError", "exceeded quota: q")),
    ("refused by a quota", of_condition("FailedCreate", "forbidden: insufficient quota to match")),
    *(
        ("a quota's use is not known yet", of_condition("FailedCreate", words))
        for words in (
            UNCOUNTED,
            "Internal error occurred: resource quota evaluation timed out",
            'Operation cannot be fulfilled on resourcequotas "q": the object has been modified',
        )
    ),
    ("a quota's use is not known yet", of_progress("ReplicaSetCreateError", UNCOUNTED)),
    *(
        ("an admission webhook does not answer", of_condition("FailedCreate", HOOK + words))
        for words in (
            f"{POST}dial tcp 10.96.0.7:443: connect: connection refused",
            f"{POST}context deadline exceeded",
            f'{POST}no endpoints available for service "x"',
            f"{POST}x509: certificate signed by unknown authority",
            f"{POST}proxyconnect tcp: Forbidden",
            "the server is currently unable to handle the request",
        )
    ),
    (
        "its service account is missing",
        of_condition("FailedCreate", 'is forbidden: … serviceaccount "x" not found'),
    ),
    *(
        ("the API server is not ready for its own controllers", of_condition("FailedCreate", words))
        for words in (
            'pods is forbidden: User "system:serviceaccount:kube-system:replicaset-controller" '
            'cannot create resource "pods" in API group "" in the namespace "n": RBAC: '
            '[clusterrole.rbac.authorization.k8s.io "system:basic-user" not found]',
            'pods "web-1" is forbidden: not yet ready to handle request',
        )
    ),
    (
        "refused by admission",
        of_condition("FailedCreate", 'is forbidden: violates PodSecurity "restricted:latest"'),
    ),
    (
        "refused by admission",
        of_condition("FailedCreate", 'admission webhook "x" denied the request'),
    ),
    *(
        (cause, of_words(f"{name}: waiting [{code}]: db:3306: why", inits=name == "wait"))
        for name in ("migrate", "wait")
        for code, cause in CODES.items()
    ),
    *(
        ("the Job failed", of_job(reason, kind))
        for reason in ("BackoffLimitExceeded", "PodFailurePolicy")
        for kind in ("Failed", "FailureTarget")
    ),
    *(
        ("the Job took too long", of_job("DeadlineExceeded", kind))
        for kind in ("Failed", "FailureTarget")
    ),
    *(
        ("its probe fails, and it is restarted for that", of_killing(kind))
        for kind in ("startup", "liveness")
    ),
    (
        "the container ran out of memory",
        of(waiting("CrashLoopBackOff"), ended("OOMKilled", 137), 3),
    ),
    ("the container keeps crashing", of(waiting("CrashLoopBackOff"), ended(), 3)),
    ("the container keeps crashing", of(running(4), ended("Completed", 0), 3)),
    ("a volume is not bound", of_scheduling("pod has unbound immediate PersistentVolumeClaims")),
    *(
        (
            "the nodes are under pressure or not ready",
            of_scheduling(f"0/1 nodes are available: 1 node(s) had untolerated taint(s) {taint}"),
        )
        for taint in (
            "{node.kubernetes.io/disk-pressure: }",
            "{node.kubernetes.io/memory-pressure: }",
            "{node.kubernetes.io/not-ready: }",
        )
    ),
    ("no node can take the pod", of_scheduling("0/5 nodes are available: 5 Insufficient cpu")),
    ("a volume cannot be provided", of_event("FailedMount", "Unable to attach or mount volumes")),
    ("a volume cannot be provided", of_event("FailedAttachVolume", "rpc error")),
    ("a volume cannot be provided", of_event("FailedMapVolume", "MapVolume.MapPodDevice failed")),
    *(
        ("the pod cannot be set up on its node", of_event(reason, message))
        for reason, message in (
            ("FailedCreatePodSandBox", 'failed to setup network for sandbox "3f": no free address'),
            ("FailedPodSandBoxStatus", "unable to get the status of its sandbox"),
            ("FailedCreatePodContainer", "unable to ensure pod container exists: cgroup"),
            ("NetworkNotReady", "network is not ready: cni plugin not initialized"),
        )
    ),
    ("the pod was evicted or killed", of_eviction("Evicted")),
    ("objects cannot be created", of_condition("FailedCreate", "etcdserver: request timed out")),
    ("it does not become ready", of_probe(ANSWERED_500)),
    ("an init container does not end", of_silence()),
    ("the rollout made no progress", of_progress("ProgressDeadlineExceeded", "timed out")),
]


@pytest.mark.parametrize(("cause", "snapshot"), ROWS)
def test_a_symptom_is_told_as_its_row_says_when_its_patience_is_used_up(
    cause: str, snapshot: Snapshot
) -> None:
    rule = next(rule for rule in RULES if rule.cause == cause)
    patience = {Patience.DEADLINE: POLICY.deadline}.get(rule.patience, POLICY.grace)
    early = told(snapshot, after=patience.total_seconds())
    late = told(snapshot, after=patience.total_seconds() + 1)

    assert late.cause
    assert late.cause.rule.cause == cause
    assert (early.cause is None) == (rule.patience in {Patience.GRACE, Patience.DEADLINE})
    assert not late.done


def test_every_row_has_a_test() -> None:
    assert {rule.cause for rule in RULES} == {cause for cause, _ in ROWS}


@pytest.mark.parametrize(("restarts", "doomed"), [(0, False), (1, False), (2, True), (9, True)])
@pytest.mark.parametrize("last", [ended(), ended("OOMKilled", 137)])
def test_a_crash_loop_is_told_at_the_third_crash(restarts: int, doomed: bool, last: Object) -> None:
    assert bool(told(of(waiting("CrashLoopBackOff"), last, restarts)).cause) == doomed


@pytest.mark.parametrize(("restarts", "doomed"), [(2, False), (3, True)])
def test_a_container_that_runs_again_has_crashed_as_often_as_it_was_restarted(
    restarts: int, doomed: bool
) -> None:
    assert bool(told(of(running(0), ended(), restarts)).cause) == doomed


def test_an_init_container_that_crashes_is_named() -> None:
    release = Release()
    crashing = container("warm-up", waiting("CrashLoopBackOff"), ended(), 3)
    verdict = told(release.snapshot(pod(release.new, container(), inits=(crashing,))))

    assert verdict.cause
    assert verdict.cause.line() == (
        "pod/web-1 init container warm-up: the container keeps crashing (Error: exit code 1)"
    )


def test_a_failed_job_tells_how_its_container_ended() -> None:
    job = thing(
        "Job",
        "migrate",
        status={
            "conditions": [
                condition(
                    "Failed",
                    "True",
                    "BackoffLimitExceeded",
                    "Job has reached the specified backoff limit",
                )
            ]
        },
    )
    verdict = told(
        Snapshot(
            jobs=[job],
            pods=[pod(job, container("migrate", {"terminated": ended(code=3)}), name="migrate-x")],
        )
    )

    assert verdict.cause
    assert verdict.cause.line() == (
        "job/migrate: the Job failed (BackoffLimitExceeded: Job has reached the specified backoff "
        "limit; pod/migrate-x container migrate ended with exit code 3)"
    )


@pytest.mark.parametrize(
    "benign",
    [
        of_event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        of_event("MissingClusterDNS", "kubelet does not have ClusterDNS IP configured"),
        of_event("DNSConfigForming", "Search Line limits were exceeded"),
        of_event("FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets"),
        of_event("BackOff", "Back-off restarting failed container"),
        of(waiting("ContainerCreating")),
        of(waiting("PodInitializing")),
        of(running(1)),
        of(waiting("CrashLoopBackOff"), ended(), 1),
    ],
)
def test_what_is_benign_is_never_named(benign: Snapshot) -> None:
    assert told(benign, after=590).cause is None


def test_a_new_namespace_gets_its_root_certificate_in_time() -> None:
    message = 'MountVolume.SetUp failed for volume "t" : configmap "kube-root-ca.crt" not found'
    assert told(of_event("FailedMount", message)).cause is None


def test_of_several_failures_the_one_highest_up_in_the_table_is_told() -> None:
    release = Release()
    pods = [
        pod(release.new, container("fpm", waiting("CrashLoopBackOff"), ended(), 3), name="a"),
        pod(release.new, container("fpm", waiting("ErrImagePull", "not found")), name="b"),
    ]

    for order in (pods, pods[::-1]):
        verdict = told(release.snapshot(*order))
        assert verdict.cause
        assert verdict.cause.symptom.subject == "pod/b container fpm"


@given(st.permutations([snapshot for _, snapshot in ROWS][:6] * 2), st.integers(0, 500))
def test_the_order_of_the_api_s_lists_changes_nothing(
    snapshots: list[Snapshot], after: int
) -> None:
    def joined(parts: list[Snapshot]) -> Snapshot:
        return Snapshot(
            deployments=[d for part in parts for d in part.deployments],
            replicasets=[r for part in parts for r in part.replicasets],
            pods=[p for part in parts for p in part.pods],
        )

    first, second = told(joined(snapshots), after), told(joined(snapshots[::-1]), after)
    assert first.cause == second.cause


# -- what does not count --------------------------------------------------------------------------


def test_pods_of_an_old_revision_do_not_count() -> None:
    release = Release(complete=True)
    snapshot = release.snapshot(
        pod(release.old, container("fpm", waiting("CrashLoopBackOff"), ended(), 3), name="old"),
        pod(release.old, container("fpm", waiting("ErrImagePull", "not found")), name="older"),
        pod(release.new, container("fpm", running(0), ready=True)),
    )

    assert told(snapshot, after=11).done


def test_pods_do_not_count_before_the_new_generation_is_observed() -> None:
    release = Release(complete=True)
    release.deployment["metadata"]["generation"] = 3
    snapshot = release.snapshot(pod(release.new, container("fpm", waiting("ErrImagePull", "no"))))

    verdict = told(snapshot, after=100)
    assert verdict.cause is None
    assert not verdict.done


def test_pods_that_are_being_deleted_do_not_count() -> None:
    release = Release()
    going = pod(release.new, container("fpm", waiting("ErrImagePull", "not found")))
    going["metadata"]["deletionTimestamp"] = at(1)

    assert told(release.snapshot(going)).cause is None


def test_restarts_before_the_rollout_do_not_count() -> None:
    release = Release(complete=True)
    restarted = pod(
        release.new,
        container("fpm", running(-600), ended("Completed", 0, when=-600), 5, ready=True),
        began=-9000,
    )
    earlier = {(restarted["metadata"]["uid"], "fpm"): 5}

    assert told(release.snapshot(restarted, earlier=earlier), after=1).done
    assert told(release.snapshot(restarted, earlier={}), after=1).cause


@pytest.mark.parametrize(
    ("state", "last"),
    [
        (waiting("ErrImagePull", "not found"), None),
        (waiting("CreateContainerConfigError", 'secret "db" not found'), None),
        (waiting("CrashLoopBackOff"), ended("StartError", 128, "no such file or directory", -90)),
    ],
)
def test_what_was_wrong_before_the_rollout_gets_a_grace(state: Object, last: Object | None) -> None:
    release = Release()
    snapshot = release.snapshot(pod(release.new, container("fpm", state, last), began=-90))

    assert told(snapshot, after=60).cause is None
    assert told(snapshot, after=61).cause


def test_a_container_that_runs_has_got_over_its_failed_start() -> None:
    release = Release(complete=True)
    last = ended("StartError", 128, "no such file or directory")
    snapshot = release.snapshot(pod(release.new, container("fpm", running(1), last, 1, ready=True)))

    assert told(snapshot, after=20).cause is None


def test_an_event_of_before_the_rollout_tells_nothing() -> None:
    release = Release()
    starting = pod(release.new, container())
    stale = event(starting, "FailedMount", 'secret "db" not found', first=-90, last=-30)

    assert told(release.snapshot(starting, events=[stale]), after=100).cause is None


def test_a_mount_that_failed_is_over_when_a_container_has_started() -> None:
    release = Release()
    up = pod(release.new, container("fpm", running(2)))
    healed = event(up, "FailedMount", "timed out waiting for the condition")

    assert told(release.snapshot(up, events=[healed]), after=100).cause is None


def test_a_sandbox_is_judged_by_its_first_failure_however_its_messages_differ() -> None:
    release = Release()
    starting = pod(release.new, container())
    tries = [
        event(starting, "FailedCreatePodSandBox", f'network of sandbox "{n}"', first=12 * n + 1)
        for n in range(6)
    ]

    assert told(release.snapshot(starting, events=tries[:5]), after=60).cause is None
    assert told(release.snapshot(starting, events=tries), after=62).cause


@pytest.mark.parametrize(("phase", "doomed"), [("Pending", True), ("Bound", False)])
def test_a_claim_s_events_count_while_it_is_not_bound(phase: str, doomed: bool) -> None:
    release = Release()
    claim = thing("PersistentVolumeClaim", "media", status={"phase": phase})
    waits = pod(release.new, phase="Pending")
    waits["spec"]["volumes"] = [{"persistentVolumeClaim": {"claimName": "media"}}]
    failed = event(claim, "ProvisioningFailed", "no such pool")
    foreign = thing("PersistentVolumeClaim", "other", status={"phase": "Pending"})
    strange = event(foreign, "ProvisioningFailed", "no such pool")

    verdict = told(release.snapshot(waits, claims=[claim], events=[failed]), after=100)
    assert bool(verdict.cause) == doomed
    verdict = told(release.snapshot(waits, claims=[foreign], events=[strange]), after=100)
    assert verdict.cause is None


def test_a_pod_that_waits_for_a_claim_tells_what_is_wrong_with_the_claim() -> None:
    release = Release()
    words = "pod has unbound immediate PersistentVolumeClaims"
    scheduled = condition("PodScheduled", "False", "Unschedulable", words)
    waits = pod(release.new, phase="Pending", conditions=(scheduled,))
    waits["spec"]["volumes"] = [{"persistentVolumeClaim": {"claimName": "media"}}]
    claim = thing("PersistentVolumeClaim", "media", status={"phase": "Pending"})
    # Its own patience with this is not used up yet.
    failed = event(claim, "ProvisioningFailed", "no such pool", first=80, last=80)

    verdict = told(release.snapshot(waits, claims=[claim], events=[failed]), after=100)

    assert verdict.cause
    assert verdict.cause.line() == (
        f"pod/web-1: a volume is not bound (Unschedulable: {words}; "
        "persistentvolumeclaim/media: ProvisioningFailed: no such pool)"
    )


def test_grace_of_an_evicted_pod_begins_when_it_was_evicted() -> None:
    release = Release()
    killed = container("fpm", {"terminated": ended("Error", 137, when=90)})
    gone = pod(release.new, killed, phase="Failed", reason="Evicted")

    assert told(release.snapshot(gone), after=150).cause is None
    assert told(release.snapshot(gone), after=151).cause


def test_an_evicted_pod_that_was_replaced_does_not_count() -> None:
    release = Release(complete=True)
    gone = pod(release.new, phase="Failed", reason="Evicted", name="gone")
    snapshot = release.snapshot(gone, pod(release.new, container("fpm", running(0), ready=True)))

    assert told(snapshot, after=100).done


# -- how long patience lasts -----------------------------------------------------------------------


def test_grace_begins_when_the_pod_s_init_containers_are_done() -> None:
    release = Release()
    initialized = condition("Initialized", "True", since=90)
    busy = container("fpm", waiting("ErrImagePull", "i/o timeout"))
    snapshot = release.snapshot(pod(release.new, busy, conditions=(initialized,)))

    assert told(snapshot, after=150).cause is None
    assert told(snapshot, after=151).cause


@given(st.integers(0, 600), st.integers(0, 600))
def test_patience_never_grows_back(first: int, more: int) -> None:
    snapshot = of_scheduling("0/5 nodes are available")
    if told(snapshot, after=first).cause:
        assert told(snapshot, after=first + more).cause


def test_the_deadline_names_the_workload_and_what_it_waits_for() -> None:
    release = Release()
    snapshot = release.snapshot(pod(release.new, container("fpm")))

    assert told(snapshot, after=600).cause is None
    verdict = told(snapshot, after=601)
    assert verdict.cause
    assert verdict.cause.line() == (
        "deployment/web: the rollout made no progress (deadline: ContainerCreating, 600 s after "
        "the rollout began)"
    )


def test_a_release_without_workloads_is_never_done() -> None:
    assert not told(Snapshot(), after=1).done
    verdict = told(Snapshot(), after=601)
    assert verdict.cause
    assert "the release: the rollout made no progress (deadline: has no w" in verdict.cause.line()


# -- done ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restarts", "after", "done"), [(0, 10, False), (0, 11, True), (1, 30, False), (1, 31, True)]
)
def test_a_container_must_have_run_for_the_stability_window(
    restarts: int, after: int, done: bool
) -> None:
    release = Release(complete=True)
    last = ended() if restarts else None
    up = pod(release.new, container("fpm", running(0), last, restarts, ready=True))

    assert told(release.snapshot(up), after=after).done == done


def test_a_container_that_dies_after_it_was_available_is_not_done() -> None:
    release = Release(complete=True)
    died = pod(release.new, container("fpm", waiting("CrashLoopBackOff"), ended(), 1, ready=True))

    assert not told(release.snapshot(died), after=100).done


@pytest.mark.parametrize("field", ["updatedReplicas", "availableReplicas"])
def test_a_deployment_with_too_few_pods_is_not_done(field: str) -> None:
    release = Release(2, complete=True)
    pods = [pod(release.new, container("fpm", running(0), ready=True), name=n) for n in "ab"]
    assert told(release.snapshot(*pods), after=60).done

    release.deployment["status"][field] = 1
    assert not told(release.snapshot(*pods), after=60).done


def test_a_deployment_with_old_pods_left_is_not_done() -> None:
    release = Release(complete=True)
    release.deployment["status"]["replicas"] = 2
    up = pod(release.new, container("fpm", running(0), ready=True))

    assert not told(release.snapshot(up), after=60).done


def test_nothing_is_done_while_its_pods_are_not_known_yet() -> None:
    assert not told(Release(complete=True).snapshot(), after=60).done


def test_a_deployment_that_sleeps_is_done() -> None:
    assert told(Release(0, complete=True).snapshot(), after=60).done


@pytest.mark.parametrize("revision", ["new", "old"])
def test_a_statefulset_counts_by_its_pods_revision(revision: str) -> None:
    stateful = thing(
        "StatefulSet",
        "redis",
        metadata={"generation": 1},
        spec={"replicas": 1},
        status={
            "observedGeneration": 1,
            "updateRevision": "new",
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": 1,
        },
    )
    up = pod(stateful, container("redis", running(0), ready=True))
    up["metadata"]["labels"] = {"controller-revision-hash": revision}

    assert told(Snapshot(statefulsets=[stateful], pods=[up]), after=60).done == (revision == "new")


def test_a_statefulset_s_refusal_is_told_by_its_event_while_it_lacks_a_pod() -> None:
    stateful = thing("StatefulSet", "redis", metadata={"generation": 1}, spec={"replicas": 1})
    refused = event(stateful, "FailedCreate", "forbidden: exceeded quota: q")
    assert told(Snapshot(statefulsets=[stateful], events=[refused])).cause

    stateful["status"] = {"replicas": 1}
    assert told(Snapshot(statefulsets=[stateful], events=[refused])).cause is None


def test_a_job_is_done_when_it_is_complete_however_often_it_was_tried() -> None:
    job = thing("Job", "migrate", status={"conditions": [condition("Complete", "True")]})
    failed = pod(job, container("m", {"terminated": ended()}), phase="Failed", name="one")
    good = pod(job, container("m", {"terminated": ended(code=0)}), phase="Succeeded", name="two")

    assert told(Snapshot(jobs=[job], pods=[failed, good])).done
    job["status"] = {"active": 1}
    assert not told(Snapshot(jobs=[job], pods=[failed])).done


def test_rows_tell_how_far_each_workload_is() -> None:
    release = Release(2, complete=True)
    release.deployment["status"]["availableReplicas"] = 1
    ready = pod(release.new, container("fpm", running(0), ready=True), name="a")
    busy = pod(release.new, container("fpm", waiting("ErrImagePull", "i/o timeout")), name="b")
    job = thing("Job", "migrate", status={"active": 1})

    rows = told(release.snapshot(ready, busy, jobs=[job])).rows

    assert [(r.workload, r.desired, r.updated, r.ready, r.note, r.complete) for r in rows] == [
        ("deployment/web", 2, 2, 1, "ErrImagePull", False),
        ("job/migrate", 1, 1, 0, "it has no pod yet", False),
    ]
    assert rows[0].began == STARTED


@given(st.text(alphabet=st.characters(categories=["L"]), min_size=1), st.text())
def test_what_has_no_row_is_benign(reason: str, message: str) -> None:
    known = {known for rule in RULES for known in rule.reasons}
    assert reason in known or rule_for(Symptom(reason, "pod/x", message)) is None


# -- what waits says so ----------------------------------------------------------------------------

FOR_GOOD = frozenset({"database-access-denied", "database-unknown", "database-tls", "seed-missing"})
"""What no wait mends: whoever says so, and however."""


@pytest.mark.parametrize("inits", [True, False])
@pytest.mark.parametrize("code", CODES)
def test_a_program_that_has_given_up_ends_the_rollout_at_once(code: str, inits: bool) -> None:
    name = "wait" if inits else "migrate"
    verdict = told(of_words(f"{name}: failed [{code}]: db:3306: why", inits=inits), after=0)

    assert verdict.cause
    pod_ = "pod/web-1 init container wait" if inits else "pod/migrate-x container migrate"
    assert verdict.cause.line() == f"{pod_}: {CODES[code]} ({code}: db:3306: why)"


@pytest.mark.parametrize("code", CODES)
def test_a_program_that_waits_is_given_the_time_that_its_reason_deserves(code: str) -> None:
    snapshot = of_words(f"migrate: waiting [{code}]: why", since=5)

    assert bool(told(snapshot, after=6).cause) == (code in FOR_GOOD)
    assert bool(told(snapshot, after=66).cause) == code.startswith(("database", "seed"))
    assert told(snapshot, after=601).cause


@pytest.mark.parametrize("field", ["state", "lastState"])
@pytest.mark.parametrize("inits", [True, False])
def test_the_last_words_of_a_container_stand_in_its_status(field: str, inits: bool) -> None:
    log = "wait: waiting [migration]: x\nwait: failed [database-unknown]: mautic_x\n"
    gone = ended("Error", 77, log)
    state = {"terminated": gone} if field == "state" else waiting("CrashLoopBackOff")
    said_so = container("wait", state, None if field == "state" else gone, int(field != "state"))
    release = Release()
    containers = (container("fpm", waiting("PodInitializing")),) if inits else (said_so,)
    failed = pod(release.new, *containers, inits=(said_so,) if inits else ())

    verdict = told(release.snapshot(failed))

    assert verdict.cause
    kind = "init container" if inits else "container"
    assert verdict.cause.line() == (
        f"pod/web-1 {kind} wait: there is no such database (database-unknown: mautic_x)"
    )


def test_what_a_container_said_before_the_rollout_gets_a_grace() -> None:
    release = Release()
    gone = ended("Error", 77, "wait: failed [database-unknown]: mautic_x", when=-30)
    waits = container("wait", waiting("CrashLoopBackOff"), gone, 1)
    snapshot = release.snapshot(
        pod(release.new, container("fpm", waiting("PodInitializing")), inits=(waits,), began=-90)
    )

    assert told(snapshot, after=60).cause is None
    assert told(snapshot, after=61).cause


def test_a_container_that_ended_well_has_nothing_to_say() -> None:
    release = Release(complete=True)
    gone = {"terminated": ended("Completed", 0)}
    up = pod(
        release.new, container("fpm", running(0), ready=True), inits=(container("wait", gone),)
    )
    words = {(up["metadata"]["uid"], "wait"): said("wait: waiting [database-refused]: db")}

    assert told(release.snapshot(up, said=words), after=100).done


def own_database(ready: int = 0, since: float = 0) -> tuple[Object, Object]:
    """Return the release's own database and its pod."""
    stateful = thing("StatefulSet", "mysql", spec={"replicas": 1}, status={"readyReplicas": ready})
    runs = pod(stateful, container("mysql", running(0), ready=bool(ready)), name="mysql-0")
    runs["status"]["conditions"] = [condition("Ready", str(bool(ready)), since=since)]
    return stateful, runs


@pytest.mark.parametrize(
    "code", ["database-refused", "database-unknown-host", "database-unreachable"]
)
def test_the_release_s_own_database_may_take_its_time(code: str) -> None:
    waits = of_words(f"migrate: waiting [{code}]: mysql:3306")
    stateful, runs = own_database()
    snapshot = replace(waits, databases=[stateful], pods=[*waits.pods, runs])

    assert told(snapshot, after=400).cause is None
    assert told(snapshot, after=601).cause


def test_patience_with_the_own_database_begins_when_it_is_ready() -> None:
    waits = of_words("migrate: waiting [database-refused]: mysql:3306")
    stateful, runs = own_database(1, since=200)
    snapshot = replace(waits, databases=[stateful], pods=[*waits.pods, runs])

    assert told(snapshot, after=260).cause is None
    assert told(snapshot, after=261).cause


def test_an_own_database_that_refuses_for_good_is_told_at_once() -> None:
    waits = of_words("migrate: failed [database-access-denied]: mautic")
    stateful, runs = own_database()

    assert told(replace(waits, databases=[stateful], pods=[*waits.pods, runs]), after=3).cause


# -- the deadline ----------------------------------------------------------------------------------


def test_an_init_container_that_does_not_end_is_named_with_its_last_line() -> None:
    verdict = told(of_silence(), after=601)

    assert verdict.cause
    assert verdict.cause.line() == (
        "pod/web-1 init container wait: an init container does not end "
        "(ContainersNotInitialized: it has run for 601 s; its last line: still counting)"
    )


def test_an_init_container_that_waits_is_told_by_what_it_waits_for() -> None:
    snapshot = of_words("wait: waiting [migration]: 3 of 55 have run", inits=True)

    assert told(snapshot, after=600).cause is None
    verdict = told(snapshot, after=601)
    assert verdict.cause
    assert verdict.cause.line() == (
        "pod/web-1 init container wait: the migration has not run (migration: 3 of 55 have run)"
    )


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (ANSWERED_500, "GET /s/login answered 500"),
        (
            'Readiness probe failed: Get "http://10.0.0.9:8080/s/login": dial tcp 10.0.0.9:8080: '
            "connect: connection refused",
            "no connection to port 8080",
        ),
        (
            'Readiness probe failed: Get "http://10.0.0.9:8080/s/login": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)",
            "GET /s/login timed out after 5 s",
        ),
    ],
)
def test_readiness_that_never_comes_is_told_with_the_probe_s_last_answer(
    message: str, words: str
) -> None:
    snapshot = of_probe(message)

    assert told(snapshot, after=600).cause is None
    verdict = told(snapshot, after=601)
    assert verdict.cause
    assert verdict.cause.line() == (
        f"pod/web-1 container nginx: it does not become ready (Unhealthy: readiness probe: {words})"
    )
    assert verdict.rows[0].note == f"nginx is not ready: {words}"


def test_of_several_answers_the_newest_is_told() -> None:
    snapshot = of_probe(ANSWERED_500)
    [first] = snapshot.events
    newer = {**first, "message": ANSWERED_500.replace("500", "503"), "lastTimestamp": at(9)}

    for events in ([first, newer], [newer, first]):
        verdict = told(replace(snapshot, events=events), after=601)
        assert verdict.cause
        assert "answered 503" in verdict.cause.line()


def test_a_probe_that_was_never_answered_is_named() -> None:
    snapshot = replace(of_probe(ANSWERED_500), events=())

    verdict = told(snapshot, after=601)

    assert verdict.cause
    assert "readiness probe: GET /s/login has not succeeded yet" in verdict.cause.line()


def test_a_deployment_s_own_deadline_is_explained_by_what_it_waits_for() -> None:
    snapshot = of_probe(ANSWERED_500)
    snapshot.deployments[0]["status"]["conditions"] = [
        condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing")
    ]

    verdict = told(snapshot, after=30)

    assert verdict.cause
    assert "GET /s/login answered 500" in verdict.cause.line()


@pytest.mark.parametrize("kind", ["startup", "liveness"])
def test_a_container_that_its_probe_ends_is_told_with_the_answer(kind: str) -> None:
    verdict = told(of_killing(kind))

    assert verdict.cause
    assert verdict.cause.line() == (
        "pod/web-1 container nginx: its probe fails, and it is restarted for that "
        f"(Killing: {kind} probe: GET /healthz answered 500)"
    )


def test_a_container_that_crashes_by_itself_is_not_blamed_on_its_probe() -> None:
    snapshot = of_killing()
    for event_ in snapshot.events:
        event_["lastTimestamp"] = at(-300)

    verdict = told(snapshot)

    assert verdict.cause
    assert verdict.cause.rule.cause == "the container keeps crashing"


def test_a_crash_is_told_with_the_last_line_of_a_long_log() -> None:
    log = "Starting\nFatal: no such file\n"
    verdict = told(of(waiting("CrashLoopBackOff"), ended("Error", 1, log), 3))

    assert verdict.cause
    assert "(Error: exit code 1: Fatal: no such file)" in verdict.cause.line()


def migrating(line: str = "migrate: the migrations: doctrine:migrations:migrate") -> Snapshot:
    """Return a snapshot of a migration under way, and of a new pod that waits for it."""
    job, waits = of_words(line), of_words("wait: waiting [migration]: x", inits=True)
    job.jobs[0]["spec"]["activeDeadlineSeconds"] = 1800
    job.jobs[0]["status"]["startTime"] = at(1)
    return replace(
        waits,
        jobs=job.jobs,
        pods=[*job.pods, *waits.pods],
        said={**job.said, **waits.said},
    )


def test_a_migration_that_works_has_its_own_deadline() -> None:
    assert told(migrating(), after=1861).cause is None
    assert told(migrating(), after=1862).cause


def test_a_row_tells_what_its_pod_waits_for() -> None:
    snapshot = of_words("migrate: waiting [migration-lock]: by connection 7")
    snapshot.pods[0]["status"]["conditions"] = [condition("Ready", "True")]

    assert [row.note for row in told(snapshot).rows] == ["migrate waits: by connection 7"]


def test_a_migration_that_only_waits_has_the_rollout_s() -> None:
    verdict = told(migrating("migrate: waiting [migration-lock]: by connection 7"), after=601)

    assert verdict.cause
    assert "another migration holds the lock" in verdict.cause.line()


def test_the_rollout_s_deadline_begins_when_the_migration_is_done() -> None:
    snapshot = migrating()
    snapshot.jobs[0]["status"] = {
        "completionTime": at(1000),
        "conditions": [condition("Complete", "True")],
    }

    assert told(snapshot, after=1600).cause is None
    assert told(snapshot, after=1601).cause

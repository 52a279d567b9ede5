"""The judgement of rollouts, over objects as the API reports them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.failures import RULES, Patience, Symptom, rule_for
from tasks.core.rollout import REVISION, Policy, Snapshot, Verdict, judge

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


PULL = 'failed to resolve reference "r/mautic:1": '
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
        )
    ),
    (
        "the registry is busy or out of reach",
        of(waiting("RegistryUnavailable", "the registry is unavailable")),
    ),
    ("the image cannot be pulled", of(waiting("ErrImagePull", PULL + "r/mautic:1: not found"))),
    ("the image cannot be pulled", of(waiting("ErrImagePull", PULL + "pull access denied"))),
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
    (
        "its service account is missing",
        of_condition("FailedCreate", 'is forbidden: … serviceaccount "x" not found'),
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
        ("the Job failed", of_job(reason, kind))
        for reason in ("BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy")
        for kind in ("Failed", "FailureTarget")
    ),
    (
        "the container ran out of memory",
        of(waiting("CrashLoopBackOff"), ended("OOMKilled", 137), 3),
    ),
    ("the container keeps crashing", of(waiting("CrashLoopBackOff"), ended(), 3)),
    ("the container keeps crashing", of(running(4), ended("Completed", 0), 3)),
    ("a volume is not bound", of_scheduling("pod has unbound immediate PersistentVolumeClaims")),
    ("no node can take the pod", of_scheduling("0/5 nodes are available: 5 Insufficient cpu")),
    ("a volume cannot be provided", of_event("FailedMount", "Unable to attach or mount volumes")),
    ("a volume cannot be provided", of_event("FailedAttachVolume", "rpc error")),
    ("the pod was evicted or killed", of_eviction("Evicted")),
    ("objects cannot be created", of_condition("FailedCreate", "failed calling webhook: refused")),
    ("the rollout made no progress", of_progress("ProgressDeadlineExceeded", "timed out")),
]


@pytest.mark.parametrize(("cause", "snapshot"), ROWS)
def test_a_symptom_is_told_as_its_row_says_when_its_patience_is_used_up(
    cause: str, snapshot: Snapshot
) -> None:
    rule = next(rule for rule in RULES if rule.cause == cause)
    early = told(snapshot, after=POLICY.grace.total_seconds())
    late = told(snapshot, after=POLICY.grace.total_seconds() + 1)

    assert late.cause
    assert late.cause.rule.cause == cause
    assert (early.cause is None) == (rule.patience is Patience.GRACE)
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
    snapshot = release.snapshot(pod(release.new, container("fpm", running(1))))

    assert told(snapshot, after=600).cause is None
    verdict = told(snapshot, after=601)
    assert verdict.cause
    assert verdict.cause.line() == (
        "deployment/web: the rollout made no progress (deadline: fpm is not ready, 600 s after "
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
        ("job/migrate", 1, 1, 0, "", False),
    ]
    assert rows[0].began == STARTED


@given(st.text(alphabet=st.characters(categories=["L"]), min_size=1), st.text())
def test_what_has_no_row_is_benign(reason: str, message: str) -> None:
    known = {known for rule in RULES for known in rule.reasons}
    assert reason in known or rule_for(Symptom(reason, "pod/x", message)) is None

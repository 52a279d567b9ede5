"""What a deploy to a cluster does in which order, and what is left undone after each failure."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.adapters.kubernetes.helm import Revision
from tasks.core.cost import GIB, Requests
from tasks.core.environment import Failure, Release, State
from tasks.core.environment_data import Data
from tasks.core.errors import (
    CommandError,
    ConflictError,
    HeldError,
    InputError,
    RefusedError,
    RevisionExistsError,
    SuiteError,
)
from tasks.core.kubernetes.labels import AWAKE
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE, secret
from tasks.core.kubernetes.record import ClusterRecord, record_of
from tasks.core.kubernetes.rollout import Verdict
from tasks.core.sleep import Sleep
from tasks.flows.deploy import Beginning, run_deploy
from tasks.flows.kubernetes.context import branch_namespace
from tasks.flows.kubernetes.deployer import AGAIN_SECONDS, ClusterDeployer
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.releases import HOOK
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tasks.flows.kubernetes.takeover import UnfittingError
from tasks.flows.seed_images import find_images
from tests.support.clock import PlayedClock
from tests.support.fakes import ME, NAMES, RELEASE, REQUEST, Calls, a_console
from tests.support.fakes_cluster import NAMESPACE, FakeCluster, FakeHelm, a_cluster_context
from tests.support.fakes_images import FakeRegistry
from tests.support.suite import ROOT

KEYS = (
    "db_password",
    "db_root_password",
    "secret_key",
    "admin_password",
    "door_password",
    "redis_password",
)
IMAGES = {"mautic": RELEASE.mautic, "nginx": RELEASE.nginx}
NEWER: Release = replace(RELEASE, tag="newer", mautic="m@sha256:2")
RECORD = ClusterRecord(State.READY, NAMES.url, revision=1, fingerprint="f1", history=(RELEASE,))
FIRST = ClusterPlan(
    request=REQUEST,
    release=RELEASE,
    record=None,
    expires_at="",
    values={"site": {"url": NAMES.url}},
    fingerprint="f1",
    history=(),
    seed=KEYS,
    has_server=True,
)
CHANGED = replace(
    FIRST, record=RECORD, history=(Revision(1, "deployed"),), seed=(), fingerprint="f2"
)
"""Of the values only, with the same images."""
NEWER_IMAGES = replace(CHANGED, release=NEWER)
DIED = (Revision(1, "deployed"), Revision(2, "pending-upgrade"))
EVERYTHING = replace(NEWER_IMAGES, history=DIED, seed=KEYS[:1] + KEYS[3:], autoscaled=True)
"""A deploy that has to take every step there is."""

DEPLOYING, READY, FAILED, ROLLED_BACK = (
    f"apply Namespace {NAMESPACE}: {state}"
    for state in (State.DEPLOYING, State.READY, State.FAILED, State.ROLLED_BACK)
)
LOCK, SEED, DATABASE = "check lock", "apply Secret mautic", "database Job"
CHECK = "check the values"
MIGRATION = "delete Job migrate"
REPLICAS = f"apply Deployment {NAMES.release}-web"
HOLD = f"patch Deployment {NAMES.release}-worker: replicas 0"
UPGRADE, SETTLED, SERVES = "upgrade", "settled", "serves"
BACK, FORGET = "rollback 1", f"delete Secret sh.helm.release.v1.{NAMES.release}.v2"
ORDER = [
    DEPLOYING,
    MIGRATION,
    *(REPLICAS, BACK, FORGET),
    SEED,
    DATABASE,
    *(LOCK, HOLD, LOCK, REPLICAS),
    UPGRADE,
    SETTLED,
]
"""What is done for ``EVERYTHING``."""
BROKEN = SuiteError("it broke")
ASLEEP = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")

POD = {"spec": {"containers": [{"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}]}}
"""The template of a workload's pods."""


@dataclass
class Bench:
    """A deployer on a fake cluster, all of whose collaborators note their calls in one list.

    Attributes:
        migrating: whether the migration runs while the rollout is watched.
        passwords: what the database Job was given.
    """

    helm: FakeHelm
    clock: PlayedClock
    deployer: ClusterDeployer
    told: list[str]
    lock: Calls
    registry: FakeRegistry
    migrating: bool = False
    passwords: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> FakeCluster:
        return self.helm.cluster

    @property
    def seen(self) -> list[str]:
        return self.helm.seen

    @property
    def record(self) -> ClusterRecord | None:
        found = self.cluster.objects.get(("Namespace", None, NAMESPACE))
        return record_of(found) if found else None

    @property
    def state(self) -> State | None:
        return self.record.state if self.record else None

    @property
    def secrets(self) -> dict[str, str]:
        data = self.cluster.objects["Secret", NAMESPACE, "mautic"]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def fail(self, what: str, *errors: BaseException, after: int = 0) -> None:
        """Let calls fail, after some that do not."""
        for each in (self.helm, self.cluster, self.lock):
            each.fails[what], each.skips[what] = list(errors), after

    def add(self, kind: str, name: str, component: str, **meta: Any) -> dict[str, Any]:
        """Add an object of the release; return it."""
        labels = {INSTANCE: NAMES.release, COMPONENT: component}
        self.cluster.put(kind, name, NAMESPACE, labels=labels, **meta)
        return self.cluster.objects[kind, NAMESPACE, name]

    def apply(self, plan: ClusterPlan) -> None:
        """Begin a plan, and carry it out."""
        self.deployer.begin(plan)
        self.deployer.apply(plan)

    def migrate(self) -> None:
        """Let the migration run."""
        self.add("Job", "migrate", "migrate", annotations={HOOK: "pre-upgrade"})

    def deployed(self, record: ClusterRecord = RECORD, *statuses: str) -> None:
        """Let a release be there, with its web pods and a worker."""
        self.cluster.keep(branch_namespace(REQUEST.owner, NAMES, record))
        self.cluster.keep(secret(NAMES, dict.fromkeys(KEYS[:3], "planted")))
        self.helm.record(*(statuses or ("deployed",)))
        number = {"f:spec": {"f:replicas": {}}}
        by_helm = [{"manager": "helm", "fieldsV1": number}]
        web = self.add("Deployment", f"{NAMES.release}-web", "web", managedFields=by_helm)
        web["spec"] = {"replicas": 3, "template": POD}
        worker = self.add("Deployment", f"{NAMES.release}-worker", "worker")
        worker["spec"] = {"template": POD}
        claim = self.add("PersistentVolumeClaim", f"{NAMES.release}-media", "media")
        claim["spec"] = {"resources": {"requests": {"storage": "5Gi"}}}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """Nothing is deployed yet.

    The deployer gets its cluster, its Helm and its lock from the context. Where it imports a
    function that watches the cluster in threads, that name is replaced by monkeypatch: ``track`` in
    the module ``upgrade``, and ``run_database_job``. So are the clock of a second attempt, and how
    long a failure of Helm is held back.
    """
    (tmp_path / "helm").symlink_to(ROOT / "helm")
    helm = FakeHelm()
    seen, lock = helm.seen, Calls(helm.seen)
    helm.cluster.seen = seen
    lock.check = lambda: lock.note(LOCK)  # type: ignore[attr-defined]
    server = {"host": "db.example.org"}
    context, told = a_cluster_context(helm.cluster, helm, tmp_path, database=server)
    context.locks[NAMESPACE] = lock  # type: ignore[assignment]
    registry = FakeRegistry()
    uploads = ClusterSharedUploads(context, lambda: registry)
    deployer = ClusterDeployer(context, find_images=lambda _: IMAGES, uploads=uploads, base=str)
    made = Bench(helm, PlayedClock(), deployer, told, lock, registry)

    def track(
        *_: object,
        serving: bool = False,
        applied: Callable[[], bool] = lambda: True,
        abort: Callable[[], bool] = lambda: False,
        **__: object,
    ) -> Verdict:
        while not applied():
            if abort():
                return Verdict(done=False, cause=None, rows=())
            time.sleep(0.001)
        if made.migrating:
            made.migrate()
        helm.note(SERVES if serving else SETTLED)
        return Verdict(done=True, cause=None, rows=())

    def run_database_job(*_: object, verb: str, password: str, **__: object) -> None:
        assert verb == "create"
        made.passwords.append(password)
        helm.note(DATABASE)

    monkeypatch.setattr("tasks.flows.kubernetes.upgrade.track", track)
    monkeypatch.setattr("tasks.flows.kubernetes.upgrade.TELL_SECONDS", 0)
    monkeypatch.setattr("tasks.flows.kubernetes.deployer.run_database_job", run_database_job)
    monkeypatch.setattr("tasks.flows.kubernetes.deployer.CLOCK", made.clock.clock)
    return made


# -- apply ----------------------------------------------------------------------------------------


def test_a_first_deploy_makes_secrets_then_the_database_then_the_release(bench: Bench) -> None:
    bench.apply(FIRST)
    assert bench.seen == [DEPLOYING, SEED, DATABASE, LOCK, LOCK, UPGRADE, SETTLED]
    assert bench.state is State.DEPLOYING
    assert set(bench.secrets) == set(KEYS)
    assert bench.passwords == [bench.secrets["db_password"]]


def test_the_release_is_given_its_secret_by_name_and_version_only(bench: Bench) -> None:
    bench.apply(FIRST)
    stored = bench.cluster.objects["Secret", NAMESPACE, "mautic"]
    version = stored["metadata"]["resourceVersion"]
    assert version
    assert bench.helm.values == {**FIRST.values, "secret": {"name": "mautic", "version": version}}


def test_uploads_that_were_pushed_since_the_plan_was_made_are_mounted_and_recorded(
    bench: Bench,
) -> None:
    shared = replace(FIRST, data=Data("seed:20260102t030405", "a seed", shares=True))
    with pytest.raises(SuiteError, match="are not in the registry"):
        bench.apply(shared)
    assert bench.record
    assert bench.record.shares
    for folder in ("files", "images", "dashboards"):
        bench.registry.push(f"seed-{folder}", "seed.20260102t030405", f"sha256:{folder}")
    bench.apply(shared)
    there = find_images(bench.registry, "20260102t030405")
    assert bench.helm.values["media"] == {"seed": there}
    bench.deployer.finish(shared)
    assert bench.record.fingerprint not in {"", shared.fingerprint}


def test_an_update_without_a_migration_quiesces_nothing(bench: Bench) -> None:
    bench.deployed()
    bench.apply(CHANGED)
    assert bench.seen == [DEPLOYING, LOCK, LOCK, UPGRADE, SETTLED]


def test_an_update_that_may_migrate_quiesces_what_works_on_the_database(bench: Bench) -> None:
    bench.deployed()
    bench.apply(NEWER_IMAGES)
    assert bench.seen == [DEPLOYING, LOCK, HOLD, LOCK, UPGRADE, SETTLED]
    assert bench.record == replace(RECORD, state=State.DEPLOYING, data="empty")


def test_what_sleeps_is_woken_before_its_release_and_held_as_ever(bench: Bench) -> None:
    """An autoscaler leaves the number of pods to nobody: Helm would leave it at 0."""
    bench.deployed()
    for name, noted in (("web", "3"), ("worker", "2")):
        item = bench.cluster.objects["Deployment", NAMESPACE, f"{NAMES.release}-{name}"]
        item["spec"] = {"replicas": 0}
        item["metadata"]["annotations"] = {AWAKE: noted}
    bench.apply(replace(NEWER_IMAGES, asleep=ASLEEP, autoscaled=True))
    web, worker = f"{NAMES.release}-web", f"{NAMES.release}-worker"
    assert bench.seen == [
        *(DEPLOYING, LOCK),
        f"patch Deployment {web}: replicas 3, awake None",
        f"patch Deployment {worker}: replicas 2, awake None",
        f"patch Namespace {NAMESPACE}: asleep None, waking None",
        *(HOLD, LOCK, REPLICAS, UPGRADE, SETTLED),
    ]


def everything(bench: Bench) -> None:
    bench.deployed(RECORD, "deployed", "pending-upgrade")
    bench.migrate()


def test_all_steps_are_taken_in_one_order(bench: Bench) -> None:
    everything(bench)
    bench.apply(EVERYTHING)
    assert bench.seen == ORDER
    kept = [key for key, value in bench.secrets.items() if value == "planted"]
    assert sorted(kept) == sorted(KEYS[1:3])


@pytest.mark.parametrize("failing", range(len(ORDER)))
def test_after_a_failed_step_no_other_one_is_taken(bench: Bench, failing: int) -> None:
    everything(bench)
    bench.fail(ORDER[failing], BROKEN, after=ORDER[:failing].count(ORDER[failing]))
    with pytest.raises(SuiteError, match="it broke"):
        bench.apply(EVERYTHING)
    assert bench.seen == ORDER[: failing + 1]
    # What has been begun is known, so the next deploy does not take it for working.
    assert bench.state is (State.READY if ORDER[failing] == DEPLOYING else State.DEPLOYING)


@pytest.mark.parametrize(
    ("end", "ended"), [(KeyboardInterrupt(), [MIGRATION]), (BROKEN, [])], ids=["interrupt", "fail"]
)
def test_an_interrupted_deploy_ends_its_migration_and_a_failed_one_keeps_it_for_its_log(
    bench: Bench, end: BaseException, ended: list[str]
) -> None:
    bench.deployed()
    bench.migrating = True
    bench.fail(SETTLED, end)
    with pytest.raises(type(end)):
        bench.apply(CHANGED)
    assert bench.seen == [DEPLOYING, LOCK, LOCK, UPGRADE, SETTLED, *ended]


# -- apply: again ---------------------------------------------------------------------------------


def refusal(output: str = "failed calling webhook x: no answer") -> CommandError:
    return CommandError("helm upgrade failed", output=output)


def test_what_the_api_refuses_for_what_may_heal_is_tried_again_under_the_lock(
    bench: Bench,
) -> None:
    bench.deployed()
    bench.fail(UPGRADE, refusal(), refusal())
    bench.apply(CHANGED)
    again = [UPGRADE, LOCK]
    assert bench.seen == [DEPLOYING, LOCK, LOCK, *again, *again, UPGRADE, SETTLED]
    assert bench.clock.slept == [AGAIN_SECONDS] * 2
    assert len([line for line in bench.told if line.startswith("trying again")]) == 1


def test_a_refusal_that_does_not_heal_fails_when_patience_has_run_out(bench: Bench) -> None:
    bench.deployed()
    bench.fail(UPGRADE, *(refusal() for _ in range(99)))
    with pytest.raises(CommandError):
        bench.apply(CHANGED)
    assert bench.clock.passed == 60
    assert bench.seen[-1] == UPGRADE


def test_any_other_failure_of_helm_is_not_tried_again(bench: Bench) -> None:
    bench.deployed()
    bench.fail(UPGRADE, refusal("Error: field is immutable"))
    with pytest.raises(CommandError):
        bench.apply(CHANGED)
    assert bench.seen.count(UPGRADE) == 1
    assert bench.clock.slept == []


def test_a_lock_that_is_lost_meanwhile_ends_the_attempts(bench: Bench) -> None:
    bench.deployed()
    bench.fail(UPGRADE, refusal())
    bench.lock.fails = {LOCK: [HeldError("it is another's")]}
    bench.lock.skips = {LOCK: 2}
    with pytest.raises(HeldError):
        bench.apply(CHANGED)
    assert bench.seen[-2:] == [UPGRADE, LOCK]


@pytest.mark.parametrize(
    ("left", "repair"), [("pending-upgrade", [BACK, FORGET]), ("deployed", [])]
)
def test_a_revision_that_appeared_meanwhile_is_repaired_and_the_release_made_once_more(
    bench: Bench, left: str, repair: list[str]
) -> None:
    bench.deployed(RECORD, "deployed", left)
    bench.cluster.objects["Deployment", NAMESPACE, f"{NAMES.release}-web"]["spec"] = {}
    bench.fail(UPGRADE, RevisionExistsError("release: already exists"))
    bench.apply(NEWER_IMAGES)
    once = [LOCK, HOLD, LOCK, UPGRADE]
    assert bench.seen == [DEPLOYING, *once, *repair, *once, SETTLED]


def test_a_revision_that_appears_twice_is_a_failure(bench: Bench) -> None:
    bench.deployed()
    bench.fail(UPGRADE, *(RevisionExistsError("release: already exists") for _ in range(2)))
    with pytest.raises(RevisionExistsError):
        bench.apply(CHANGED)
    assert bench.seen.count(UPGRADE) == 2


def test_what_shows_a_working_tree_is_rolled_out_over_what_a_killed_run_has_left(
    bench: Bench,
) -> None:
    bench.deployed(RECORD, "deployed", "pending-upgrade")
    bench.cluster.objects["Deployment", NAMESPACE, f"{NAMES.release}-web"]["spec"] = {}
    bench.deployer.roll_out_again(REQUEST, RELEASE, {"dev": True})
    assert bench.seen == [LOCK, BACK, FORGET, UPGRADE, SETTLED]


# -- finish ---------------------------------------------------------------------------------------


def test_a_first_deploy_ends_with_a_record_and_the_administrator(bench: Bench) -> None:
    bench.apply(FIRST)
    bench.seen.clear()
    credentials = bench.deployer.finish(FIRST)
    assert bench.seen == [LOCK, READY]
    done = replace(RECORD, database=RELEASE.mautic, data="empty", requests=Requests())
    assert bench.record == done
    assert credentials
    assert (credentials.username, credentials.password) == (
        "admin",
        bench.secrets["admin_password"],
    )
    assert credentials.password not in credentials.later


def test_an_update_ends_with_its_revision_and_tells_no_password(bench: Bench) -> None:
    bench.deployed()
    bench.apply(NEWER_IMAGES)
    assert bench.deployer.finish(NEWER_IMAGES) is None
    done = replace(RECORD, revision=2, fingerprint="f2", history=(RELEASE, NEWER), data="empty")
    # Three pods of web; this Helm starts no worker again.
    assert bench.record == replace(done, requests=Requests(300, 3 * GIB, 5 * GIB))


def test_who_has_lost_the_lock_records_no_success(bench: Bench) -> None:
    bench.deployed(replace(RECORD, state=State.DEPLOYING))
    bench.fail(LOCK, HeldError("it is another's"))
    with pytest.raises(HeldError):
        bench.deployer.finish(CHANGED)
    assert bench.seen == [LOCK]
    assert bench.state is State.DEPLOYING


# -- roll back ------------------------------------------------------------------------------------

GONE = "delete Pod broken"
FAILURE = Failure("2b3c4d5e", "2026-01-01T00:00:00+00:00", "fpm has no memory")
WAY_BACK = [LOCK, FAILED, MIGRATION, REPLICAS, BACK, SERVES, GONE, ROLLED_BACK]


def failed(bench: Bench) -> None:
    """Let the second release have failed, with its migration and a pod that does not end."""
    bench.deployed(replace(RECORD, state=State.DEPLOYING), "deployed", "failed")
    bench.migrate()
    bench.add("Pod", "broken", "web", deletionTimestamp="2026-01-01T00:00:00Z")
    bench.add("Pod", "new", "web")


def test_the_way_back_ends_the_migration_first_and_is_recorded_when_the_site_serves(
    bench: Bench,
) -> None:
    failed(bench)
    assert bench.deployer.roll_back(NEWER_IMAGES, failure=FAILURE) == RELEASE.tag
    assert bench.seen == WAY_BACK
    told = RECORD.with_failure(NEWER_IMAGES.release, FAILURE)
    assert bench.record == replace(told, state=State.ROLLED_BACK, revision=3)


@pytest.mark.parametrize("failing", range(len(WAY_BACK)))
def test_a_way_back_that_fails_leaves_the_environment_failed(bench: Bench, failing: int) -> None:
    failed(bench)
    bench.fail(WAY_BACK[failing], BROKEN)
    with pytest.raises(SuiteError, match="it broke"):
        bench.deployer.roll_back(NEWER_IMAGES)
    assert bench.seen == WAY_BACK[: failing + 1]
    assert bench.state is (State.DEPLOYING if failing < 2 else State.FAILED)
    assert bench.record
    assert bench.record.revision == 1


@pytest.mark.parametrize(
    "record",
    [
        ClusterRecord(State.DEPLOYING, NAMES.url),
        # Its revision is not known.
        replace(RECORD, state=State.DEPLOYING, revision=0),
    ],
)
def test_where_nothing_worked_before_the_failure_is_recorded_and_the_migration_ended(
    bench: Bench, record: ClusterRecord
) -> None:
    bench.deployed(record)
    bench.migrate()
    assert bench.deployer.roll_back(FIRST, failure=FAILURE) is None
    assert bench.seen == [LOCK, FAILED, MIGRATION]
    assert bench.record == record.with_failure(FIRST.release, FAILURE)


def test_without_a_namespace_there_is_nothing_to_go_back_to(bench: Bench) -> None:
    assert bench.deployer.roll_back(FIRST) is None
    assert bench.seen == []


def test_what_has_become_somebody_else_s_is_not_rolled_back(bench: Bench) -> None:
    other = replace(REQUEST, repository="git@example.org:other/b.git")
    bench.cluster.keep(branch_namespace(other.owner, NAMES, RECORD))
    with pytest.raises(RefusedError):
        bench.deployer.roll_back(NEWER_IMAGES)
    assert bench.seen == []


# -- prepare --------------------------------------------------------------------------------------

MAKES = f"create Namespace {NAMESPACE}"


def test_only_a_namespace_that_is_not_there_is_made(bench: Bench) -> None:
    bench.deployer.prepare(REQUEST)
    assert bench.state is State.DEPLOYING
    bench.deployer.prepare(REQUEST)
    assert bench.seen == [CHECK, MAKES]


SEEDED = Data("seed:1", "from seed 1")


def test_the_data_that_was_chosen_is_remembered_from_the_start_and_after_a_failure(
    bench: Bench,
) -> None:
    bench.deployer.prepare(replace(REQUEST, data="seed", resolve=lambda _: SEEDED))
    assert bench.record == ClusterRecord(State.DEPLOYING, NAMES.url, data="seed:1")
    # Nobody else's registry has images of it, so that `inv gc` there need not keep any.
    image = "localhost:5051/m/mautic@sha256:1"
    bench.deployer.begin(replace(FIRST, release=replace(RELEASE, mautic=image)))
    assert bench.record.registry == "localhost:5051/m"
    # Of a later choice a seed cannot be loaded.
    other = replace(FIRST, record=bench.record, data=replace(SEEDED, choice="seed:2"))
    bench.deployer.begin(other)
    bench.deployer.roll_back(other)
    assert (bench.state, bench.record and bench.record.data) == (State.FAILED, "seed:2")


def test_of_two_runs_that_make_the_namespace_one_is_faster(bench: Bench) -> None:
    bench.fail(MAKES, ConflictError("it exists"))
    bench.deployer.prepare(REQUEST)
    assert bench.seen == [CHECK, MAKES]


REFUSED = InputError("the chart refuses its values")


NOTHING = cast("Beginning", None)
"""Nothing is brought to what is refused."""


def test_values_that_the_chart_refuses_are_told_before_there_is_a_namespace(
    bench: Bench, tmp_path: Path
) -> None:
    bench.fail(CHECK, REFUSED, REFUSED)
    with pytest.raises(InputError, match="refuses its values"):
        bench.deployer.plan_deploy(REQUEST)  # as --dry-run does
    with pytest.raises(InputError, match="refuses its values"):
        run_deploy(
            bench.deployer, REQUEST, me=ME, console=a_console()[0], root=tmp_path, beginning=NOTHING
        )
    assert bench.seen == [CHECK, CHECK]
    assert not (tmp_path / "artifacts").exists()


def test_values_that_the_chart_refuses_touch_nothing_of_what_runs(bench: Bench) -> None:
    bench.deployed()
    bench.fail(CHECK, REFUSED)
    bench.deployer.prepare(REQUEST)
    with pytest.raises(InputError, match="refuses its values"):
        bench.deployer.plan_deploy(REQUEST)
    assert bench.seen == [CHECK]
    assert bench.record == RECORD


def test_what_helm_would_refuse_is_refused_before_anything_of_what_runs_is_touched(
    bench: Bench,
) -> None:
    bench.deployed()
    bench.cluster.put("Service", "x-mail", NAMESPACE)
    bench.helm.rendered = json.dumps(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x-mail"}}
    )
    with pytest.raises(UnfittingError, match="Helm would refuse service/x-mail: it exists"):
        bench.deployer.plan_deploy(REQUEST)
    assert bench.seen == [CHECK]
    assert bench.record == RECORD


def test_a_deploy_that_the_cluster_is_not_ready_for_makes_no_namespace(bench: Bench) -> None:
    bench.cluster.forbidden = {"create Namespace"}
    with pytest.raises(SuiteError, match="you may not create namespaces"):
        bench.deployer.prepare(REQUEST)
    assert bench.seen == []


def test_what_is_as_it_should_be_needs_no_helm(bench: Bench) -> None:
    fingerprint = bench.deployer.plan_deploy(REQUEST).fingerprint
    bench.deployed(replace(RECORD, fingerprint=fingerprint))
    bench.cluster.keep(secret(NAMES, dict.fromkeys(KEYS, "planted")))
    bench.seen.clear()
    assert bench.deployer.plan_deploy(REQUEST).steps == ()
    assert bench.seen == []

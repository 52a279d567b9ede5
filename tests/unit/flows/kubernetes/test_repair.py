"""What becomes of a release that a dead run has left pending."""

from __future__ import annotations

import pytest

from tasks.core.errors import CommandError
from tasks.core.kubernetes.manifests import INSTANCE
from tasks.core.kubernetes.removal import KINDS_OF_RELEASES, WORKLOADS
from tasks.flows.kubernetes.release_objects import POLICY
from tasks.flows.kubernetes.releases import repair, revisions
from tests.support.fakes_cluster import NAMESPACE, RELEASE, FakeCluster, FakeHelm

CLAIM = "PersistentVolumeClaim"


@pytest.fixture
def helm() -> FakeHelm:
    """A Helm whose calls are told together with those of the cluster."""
    made = FakeHelm()
    made.cluster.seen = made.seen
    return made


def mend(helm: FakeHelm, worked: int = 0) -> str:
    cluster: FakeCluster = helm.cluster
    history = revisions(cluster, RELEASE, NAMESPACE)  # type: ignore[arg-type]
    return repair(
        *(cluster, helm, RELEASE, NAMESPACE, history),  # type: ignore[arg-type]
        worked=worked,
        say=lambda _: None,
    )


def secret(number: int) -> str:
    return f"delete Secret sh.helm.release.v1.{RELEASE}.v{number}"


@pytest.mark.parametrize(
    ("statuses", "worked", "seen", "told", "left"),
    [
        (["pending-install"], 0, [secret(1)], "pending-install: removed", {}),
        (
            ["failed", "pending-upgrade"],
            0,
            [secret(1), secret(2)],
            "pending-upgrade: removed",
            {},
        ),
        (
            ["deployed", "pending-upgrade"],
            0,
            ["rollback 1", secret(2)],
            "pending-upgrade: rolled back to revision 1",
            {1: "superseded", 3: "deployed"},
        ),
        (
            ["superseded", "deployed", "pending-rollback"],
            0,
            ["rollback 2", secret(3)],
            "pending-rollback: rolled back to revision 2",
            {1: "superseded", 2: "superseded", 4: "deployed"},
        ),
        # Helm took 2 for deployed, but its site never answered.
        (
            ["superseded", "deployed", "pending-upgrade"],
            1,
            ["rollback 1", secret(3)],
            "pending-upgrade: rolled back to revision 1",
            {1: "superseded", 2: "superseded", 4: "deployed"},
        ),
        # A run that died while it repaired what another one had left.
        (
            ["deployed", "pending-upgrade", "pending-rollback"],
            0,
            ["rollback 1", secret(2), secret(3)],
            "pending-rollback: rolled back to revision 1",
            {1: "superseded", 4: "deployed"},
        ),
    ],
)
def test_it_goes_back_to_what_worked_or_away(
    helm: FakeHelm,
    statuses: list[str],
    worked: int,
    seen: list[str],
    told: str,
    left: dict[int, str],
) -> None:
    helm.record(*statuses)
    assert mend(helm, worked) == told
    assert helm.seen == seen
    assert helm.revisions == left


def test_claims_that_go_with_the_release_are_waited_for_and_others_are_not(
    helm: FakeHelm,
) -> None:
    helm.record("pending-install")
    ours = {INSTANCE: RELEASE}
    helm.cluster.put(CLAIM, "media", NAMESPACE, labels=ours)
    # A StatefulSet's own goes a moment later; it is taken for going.
    owner = {"ownerReferences": [{"kind": "StatefulSet"}]}
    helm.cluster.put(CLAIM, "data-0", NAMESPACE, labels=ours, deletionTimestamp="now", **owner)
    helm.cluster.put(CLAIM, "kept", NAMESPACE, labels=ours, annotations={POLICY: "keep"})
    helm.cluster.put(CLAIM, "somebody-elses", NAMESPACE)
    mend(helm)
    assert helm.seen == [
        f"delete {CLAIM} media",
        secret(1),
        f"wait for {CLAIM} media",
        f"wait for {CLAIM} data-0",
    ]
    there = helm.cluster.find(CLAIM, NAMESPACE)
    assert [item["metadata"]["name"] for item in there] == ["kept", "somebody-elses"]


def test_what_a_release_is_made_of_is_known_by_its_labels_alone(helm: FakeHelm) -> None:
    """Its record may name anything: whoever writes to the namespace writes it."""
    helm.record("pending-install")
    ours = {INSTANCE: RELEASE}
    for kind in KINDS_OF_RELEASES:
        helm.cluster.put(kind, "own", NAMESPACE, labels=ours)
        helm.cluster.put(kind, "own", "elsewhere", labels=ours)
        helm.cluster.put(kind, "other", NAMESPACE, labels={INSTANCE: "other"})
    helm.cluster.unserved = {"HTTPRoute"}
    mend(helm)
    deleted = [each for each in helm.seen if each.startswith("delete")]
    kinds = [each.split()[1] for each in deleted]
    assert set(kinds[: len(WORKLOADS)]) == set(WORKLOADS)
    assert kinds[-1] == "Secret"
    assert set(kinds) == {*KINDS_OF_RELEASES, "Secret"} - {"HTTPRoute"}
    for kind in KINDS_OF_RELEASES:
        assert (kind, "elsewhere", "own") in helm.cluster.objects
        assert (kind, NAMESPACE, "other") in helm.cluster.objects


@pytest.mark.parametrize("end", [CommandError("helm failed"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("statuses", "what", "seen"),
    [
        (["pending-install"], secret(1), [secret(1)]),
        (["deployed", "pending-upgrade"], "rollback 1", ["rollback 1", secret(2)]),
    ],
)
def test_a_repair_that_ends_early_has_changed_nothing_and_the_next_one_does_it(
    helm: FakeHelm, statuses: list[str], what: str, seen: list[str], end: BaseException
) -> None:
    helm.record(*statuses)
    helm.fails = helm.cluster.fails = {what: [end]}
    before = helm.revisions
    with pytest.raises(type(end)):
        mend(helm)
    assert helm.seen == [what]
    assert helm.revisions == before
    helm.seen.clear()
    mend(helm)
    assert helm.seen == seen


def test_a_repair_that_ends_after_the_way_back_leaves_a_release_that_helm_takes(
    helm: FakeHelm,
) -> None:
    helm.record("deployed", "pending-upgrade")
    helm.cluster.fails = {secret(2): [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        mend(helm)
    newest = revisions(helm.cluster, RELEASE, NAMESPACE)[-1]  # type: ignore[arg-type]
    assert (newest.number, newest.status) == (3, "deployed")

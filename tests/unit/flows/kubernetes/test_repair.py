"""What becomes of a release that a dead run has left pending."""

from __future__ import annotations

import pytest

from tasks.core.errors import CommandError
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
        (["pending-install"], 0, ["uninstall"], "pending-install: uninstalled", {}),
        (["failed", "pending-upgrade"], 0, ["uninstall"], "pending-upgrade: uninstalled", {}),
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
    helm.cluster.put(CLAIM, "media", NAMESPACE)
    # A StatefulSet's own goes a moment later; it is taken for going.
    helm.cluster.put(CLAIM, "data-0", NAMESPACE, ownerReferences=[{"kind": "StatefulSet"}])
    helm.cluster.put(CLAIM, "somebody-elses", NAMESPACE, labels={"keep": "yes"})
    mend(helm)
    assert helm.seen == ["uninstall", f"wait for {CLAIM} media", f"wait for {CLAIM} data-0"]
    assert [item["metadata"]["name"] for item in helm.cluster.find(CLAIM, NAMESPACE)] == [
        "somebody-elses"
    ]


@pytest.mark.parametrize("end", [CommandError("helm failed"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("statuses", "what", "seen"),
    [
        (["pending-install"], "uninstall", ["uninstall"]),
        (["deployed", "pending-upgrade"], "rollback 1", ["rollback 1", secret(2)]),
    ],
)
def test_a_repair_that_ends_early_has_changed_nothing_and_the_next_one_does_it(
    helm: FakeHelm, statuses: list[str], what: str, seen: list[str], end: BaseException
) -> None:
    helm.record(*statuses)
    helm.fails = {what: [end]}
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

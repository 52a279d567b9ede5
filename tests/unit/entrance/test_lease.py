"""The entrance's Lease is the suite's: each knows the other's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from entrance import lease
from tasks.core.kubernetes.lease import NAME, holder_of

NOW = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
ME = f"{lease.OWN}(one)"


def test_the_suite_waits_for_the_entrance_until_its_step_is_over_or_it_is_gone() -> None:
    made = lease.taken(None, "mautic-x", ME, NOW)
    assert made["metadata"] == {"name": NAME, "namespace": "mautic-x"}
    later = NOW + timedelta(seconds=lease.HOLD_SECONDS)
    assert holder_of(made, later) == ME
    assert holder_of(made, later + timedelta(seconds=1)) is None
    assert holder_of(lease.released(made), NOW) is None


def test_what_the_suite_has_noted_stays() -> None:
    before = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "annotations": {"x": "y"}, "resourceVersion": "7"},
        "spec": {"holderIdentity": "", "leaseTransitions": 4},
    }
    made = lease.taken(before, "mautic-x", ME, NOW)
    assert made["metadata"] == before["metadata"]
    assert made["spec"]["leaseTransitions"] == 5
    assert made["spec"]["renewTime"] == "2026-11-01T12:00:00.123456Z"
    assert holder_of(before, NOW) is None

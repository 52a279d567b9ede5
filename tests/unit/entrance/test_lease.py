"""The entrance's Lease is the suite's: each knows the other's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from entrance import lease
from tasks.adapters.kubernetes import lease as suite

NOW = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
ME = f"{lease.OWN}(one)"


def test_the_suite_waits_for_the_entrance_until_its_step_is_over_or_it_is_gone() -> None:
    assert lease.NAME == suite.NAME
    made = lease.taken(None, "mautic-x", ME, NOW)
    assert made["metadata"] == {"name": suite.NAME, "namespace": "mautic-x"}
    later = NOW + timedelta(seconds=lease.HOLD_SECONDS)
    assert suite.holder_of(made, later) == lease.holder_of(made, later) == ME
    gone = later + timedelta(seconds=1)
    assert suite.holder_of(made, gone) is None
    assert lease.holder_of(made, gone) == ""
    assert suite.holder_of(lease.released(made), NOW) is None
    assert lease.holder_of(lease.released(made), NOW) == ""


def test_what_the_suite_has_noted_stays() -> None:
    before = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": suite.NAME, "annotations": {"x": "y"}, "resourceVersion": "7"},
        "spec": {"holderIdentity": "", "leaseTransitions": 4},
    }
    made = lease.taken(before, "mautic-x", ME, NOW)
    assert made["metadata"] == before["metadata"]
    assert made["spec"]["leaseTransitions"] == 5
    assert made["spec"]["renewTime"] == "2026-11-01T12:00:00.123456Z"
    assert lease.holder_of(before, NOW) == ""

"""What the doctor says of how CI jobs enter a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.doctor.checks import Severity
from tasks.core.doctor.cluster_access import judge_access


def binding(kind: str) -> dict[str, Any]:
    return {"subjects": [{"kind": kind, "name": "x"}]}


@pytest.mark.parametrize(
    ("main", "branches", "token", "level", "said"),
    [
        (None, None, None, Severity.OK, "gives CI jobs none"),
        ("User", "Group", "KUBE_ID_TOKEN", Severity.OK, "a user of their own"),
        ("User", "Group", None, Severity.WARNING, "name no token"),
        ("Group", None, None, Severity.OK, "and no others"),
        ("Group", "Group", None, Severity.WARNING, "weaker"),
        # A token that the cluster does not take for a user changes nothing.
        ("Group", "Group", "KUBE_ID_TOKEN", Severity.WARNING, "weaker"),
        (None, "Group", None, Severity.WARNING, "weaker"),
    ],
)
def test_groups_are_named_as_the_weaker_way(
    main: str | None, branches: str | None, token: str | None, level: Severity, said: str
) -> None:
    found = judge_access(
        binding(main) if main else None, binding(branches) if branches else None, token
    )
    assert found.level is level
    assert said in found.found
    assert bool(found.remedy) == (level is Severity.WARNING)

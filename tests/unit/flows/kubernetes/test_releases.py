"""What runs of a release, and what only waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.core.errors import ClusterError
from tasks.flows.kubernetes.releases import _works


@pytest.mark.parametrize("state", [{"running": {}}, {"waiting": {}}])
def test_what_runs_on_a_node_that_is_away_is_taken_for_work(state: dict[str, Any]) -> None:
    def logs(*_: object, **__: object) -> str:
        raise ClusterError("the node does not answer", status=500)

    cluster: Any = SimpleNamespace(logs=logs)
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "status": {"containerStatuses": [{"name": "migrate", "state": state}]},
    }
    assert _works(cluster, pod) is ("running" in state)

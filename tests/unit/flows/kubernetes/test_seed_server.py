"""Which pod a seed is handed to, and when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import SuiteError
from tasks.core.kubernetes.provisioner import PLANT, has_seed, takes_seeds
from tasks.flows.kubernetes.seed_server import PODS, ClusterSeedServer
from tests.support.fakes_cluster import FakeCluster, FakeHelm, a_cluster_context

LABELS = dict([PODS.split("=")])


class Provisioner(FakeCluster):
    """A cluster whose pods say where they were asked."""

    def pipe(self, namespace: str, pod: str, container: str, argv: Any, **given: Any) -> int:
        self.asked.append(f"{namespace}/{pod}/{container} {' '.join(argv)}")
        given["on_line"](b"".join(given["source"]).decode())
        return 7


def test_a_seed_is_handed_to_a_pod_that_runs(tmp_path: Path) -> None:
    cluster, said = Provisioner(), []
    context, _ = a_cluster_context(cluster, FakeHelm(), tmp_path)
    server = ClusterSeedServer(context)
    with pytest.raises(SuiteError, match="has no pod that runs"):
        server.plant([b"x"], said.append)
    for name, phase in (("old", "Failed"), ("new", "Running")):
        meta = {"name": name, "namespace": "mautic-system", "labels": LABELS}
        cluster.keep({"kind": "Pod", "metadata": meta, "status": {"phase": phase}})
    assert server.plant([b"one ", b"two"], said.append) == 7
    assert said == ["one two"]
    assert cluster.asked[-1] == f"mautic-system/new/provisioner {' '.join(PLANT)}"


def test_a_platform_of_before_takes_no_seeds() -> None:
    assert not takes_seeds(None)
    assert not takes_seeds({"data": {"rules.json": '{"project": "m"}'}})
    assert takes_seeds({"data": {"rules.json": '{"seedKey": "ab"}'}})
    assert not has_seed(None)
    assert not has_seed({"data": {"state": "loading"}})
    assert has_seed({"data": {"state": "ready"}})

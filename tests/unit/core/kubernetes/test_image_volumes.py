"""Which nodes mount images as volumes."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.kubernetes.image_volumes import image_volume_problem


def a_node(kubelet: str, runtime: str) -> dict[str, Any]:
    info = {"kubeletVersion": kubelet, "containerRuntimeVersion": runtime}
    return {"metadata": {"name": "a"}, "status": {"nodeInfo": info}}


@pytest.mark.parametrize(
    ("kubelet", "runtime", "told"),
    [
        ("v1.36.2", "containerd://2.1.9", ""),
        ("v1.35.0-eks-1a2b3c4", "containerd://2.10.0-rc.1", ""),
        ("v2.0.0", "cri-o://1.31.0", ""),
        ("v1.34.9", "containerd://2.1.9", "node a has kubelet v1.34.9, and"),
        ("v1.9.0", "containerd://2.1.9", "node a has kubelet v1.9.0, and"),
        ("v1.36.2", "containerd://2.0.7", "node a has containerd://2.0.7, and"),
        ("v1.36.2", "containerd://1.31.0", "node a has containerd://1.31.0, and"),
        ("v1.36.2", "cri-o://1.30.4", "node a has cri-o://1.30.4, and"),
        ("v1.36.2", "docker://29.0.0", "node a has docker://29.0.0, and"),
        ("", "", "node a has kubelet unknown, and"),
        ("v1.36.2", "", "node a has an unknown runtime, and"),
    ],
)
def test_a_node_that_is_too_old_or_unknown_mounts_none(
    kubelet: str, runtime: str, told: str
) -> None:
    modern = a_node("v1.36.2", "containerd://2.2.0")
    problem = image_volume_problem([modern, a_node(kubelet, runtime)])
    assert problem.startswith(told)
    assert bool(problem) == bool(told)


def test_a_cluster_without_nodes_tells_nothing() -> None:
    assert "no node" in image_volume_problem([])
    assert image_volume_problem([{"metadata": {"name": "a"}}])

"""A kubeconfig that another program or a person has damaged: one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import ClusterError


@pytest.mark.parametrize(
    "text",
    ["", "{", "- a", "\xff", "clusters: 5", "contexts: [{name: far, context: 5}]"],
)
def test_a_kubeconfig_that_is_damaged_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ClusterError, match="the kubeconfig cannot be used") as caught:
        Cluster("far", str(path)).version()
    assert "KUBECONFIG" in (caught.value.hint or "")

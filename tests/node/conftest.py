"""Fixtures of the tests that run on a real node: `nox -s node`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import docker

    from tests.support.realnode.bed import Bed


@pytest.fixture(scope="module")
def bed(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bed]:
    """The command line, and a cluster with a real kubelet."""
    from tests.support.realnode.bed import real_bed

    if not os.environ.get("MAUTIC_NODE_CONTEXT"):
        pytest.skip("no real node: run `nox -s node`, which starts one")
    with real_bed(engine, _project, tmp_path_factory.mktemp("node")) as made:
        yield made

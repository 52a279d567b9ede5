"""Fixtures of the tests that run on a real node: `nox -s node`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    import docker

    from tests.support.realnode.bed import Bed


PLATFORM = frozenset({"test_apart", "test_data", "test_entrance"})
"""Modules that install the platform, of which there is one in a cluster."""


class _OnePlatform(LoadFileScheduling):
    """The tests of a file run in one process, and so do those of all files with the platform."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "platform" if Path(file).stem in PLATFORM else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Return the order of the processes' work, unless another one than `loadfile` was asked for."""
    return _OnePlatform(config, log) if config.getoption("dist") == "loadfile" else None


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

"""How the platform's provisioner lends a database, and what is said where it does not."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ClusterError
from tasks.core.kubernetes.provisioner import LEND
from tasks.flows.kubernetes import lending
from tasks.flows.kubernetes.lending import USAGE, lend
from tasks.flows.kubernetes.seed_server import PODS
from tasks.flows.target import Loan
from tests.support.fakes import NAMES
from tests.support.fakes_cluster import FakeCluster, FakeHelm, a_cluster_context

LOOK_SECONDS = 0.05
TOLD = b'{"database": "mt_x", "user": "mt__reader", "password": "of the reader"}\n'


class Provisioner(FakeCluster):
    """A cluster whose provisioner's program ends by itself, or when it is let go.

    Attributes:
        ends: its exit status, or what running it raises; None while it lends.
        sent: what it has read.
        waits: what it waits for first.
    """

    ends: int | Exception | None = None
    sent: bytes = b""
    waits: str = ""

    def pipe(self, namespace: str, pod: str, container: str, argv: Any, **given: Any) -> int:
        self.asked.append(f"{namespace}/{pod}/{container} {' '.join(argv)}")
        if isinstance(self.ends, Exception):
            raise self.ends
        if self.ends is not None:
            given["on_line"]("lend: it says why")
            return self.ends
        if self.waits:
            given["on_line"](f"lend: {self.waits}")
            time.sleep(3 * LOOK_SECONDS)
        # As it comes: in parts of any size.
        given["take"](TOLD[:9])
        given["take"](TOLD[9:])
        for part in given["source"]:
            self.sent += part
        return 0


@pytest.fixture
def cluster() -> Provisioner:
    made = Provisioner()
    meta = {"name": "one", "namespace": "mautic-system", "labels": dict([PODS.split("=")])}
    made.keep({"kind": "Pod", "metadata": meta, "status": {"phase": "Running"}})
    return made


def test_a_database_is_lent_until_the_copy_has_ended(cluster: Provisioner, tmp_path: Path) -> None:
    context, _ = a_cluster_context(cluster, FakeHelm(), tmp_path)
    said: list[str] = []
    with lend(context, NAMES, said.append) as loan:
        assert loan == Loan("mt_x", "mt__reader", "of the reader")
        assert "of the reader" not in context.redactor("it is of the reader")
        assert not cluster.sent.endswith(b"end\n")
    assert cluster.sent == f"{NAMES.namespace}\nend\n".encode()
    assert cluster.asked[-1] == f"mautic-system/one/provisioner {' '.join(LEND)}"
    assert said == []
    assert [each for each in threading.enumerate() if each.name == "lending"] == []


def test_what_is_waited_for_is_told_once(
    cluster: Provisioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "LOOK_SECONDS", LOOK_SECONDS)
    context, _ = a_cluster_context(cluster, FakeHelm(), tmp_path)
    cluster.waits = "another branch is being copied on this server; waiting for its end"
    said: list[str] = []
    with lend(context, NAMES, said.append) as loan:
        assert loan
    assert said == [cluster.waits]


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        (1, "it says why"),
        (USAGE, "the platform's provisioner is of an earlier version"),
        (ClusterError("you may not do that", status=403), "you may not do that"),
    ],
)
def test_what_does_not_lend_is_told(
    cluster: Provisioner, tmp_path: Path, ends: int | Exception, why: str
) -> None:
    context, _ = a_cluster_context(cluster, FakeHelm(), tmp_path)
    cluster.ends = ends
    said: list[str] = []
    with lend(context, NAMES, said.append) as loan:
        assert loan is None
    assert said == [f"the rows go from container to container: {why}"]

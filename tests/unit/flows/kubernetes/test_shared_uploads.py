"""How a seed's uploads come into the registry of a cluster's branches, and when they do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ClusterError, RegistryError, SuiteError, UnreadableError
from tasks.core.kubernetes.provisioner import UNSEAL
from tasks.flows.kubernetes.seed_server import PODS
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tests.support.fakes_cluster import FakeCluster, FakeHelm, a_cluster_context
from tests.support.fakes_images import FakeRegistry
from tests.unit.adapters.registry.test_seed_layers import tar_of

ID, KEY = "20260102t030405", "ab" * 32
PLATFORM = "mautic-system"
TAR = tar_of({"images/a.png": b"a" * 3_000_000, "files/b.pdf": b"b"})
NODE = {"kubeletVersion": "v1.36.2", "containerRuntimeVersion": "containerd://2.1.9"}


@dataclass
class Provisioner(FakeCluster):
    """A cluster whose provisioner decrypts: it turns each byte.

    Attributes:
        status: how its program ends.
        says: what it says at first.
        leaves: how much of the tar it keeps to itself.
        got: its first line.
        ended: whether its program has ended.
    """

    status: int = 0
    says: str = "unseal: ready"
    leaves: int = 0
    got: dict[str, Any] = field(default_factory=dict)
    failure: Exception | None = None

    def pipe(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        self.note(f"{namespace}/{pod}/{container} {' '.join(argv)}")
        on_line(self.says)
        if self.failure:
            raise self.failure
        if self.status == 64:
            return self.status
        parts = iter(source)
        self.got = json.loads(next(parts))
        content = b"".join(parts)[: len(TAR) - self.leaves]
        for start in range(0, len(content), 32_768):
            take(bytes(content[start : start + 32_768]).translate(TURNED))
        if self.status:
            on_line("unseal: the seed is damaged")
        return self.status


TURNED = bytes(255 - byte for byte in range(256))
SEALED = TAR.translate(TURNED)


def source(read: list[str] | None = None) -> Iterator[bytes]:
    given = {"key": KEY, "bytes": len(SEALED), "sha256": hashlib.sha256(TAR).hexdigest()}
    if read is not None:
        read.append("read")
    yield json.dumps(given).encode() + b"\n"
    yield SEALED[:1_000_000]
    yield SEALED[1_000_000:]


@dataclass
class Bench:
    """Uploads in a fake cluster whose provisioner is in order."""

    root: Path
    cluster: Provisioner = field(default_factory=Provisioner)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    own: dict[str, Any] = field(
        default_factory=lambda: {"database": {"host": "db", "provisioner": f"p@sha256:{'a' * 64}"}}
    )

    def __post_init__(self) -> None:
        labels = dict([PODS.split("=")])
        meta = {"name": "pod", "namespace": PLATFORM, "labels": labels}
        self.cluster.keep({"kind": "Pod", "metadata": meta, "status": {"phase": "Running"}})
        self.rules(seedKey="ab", unseals=True)
        self.node(NODE)

    def rules(self, **rules: Any) -> None:
        meta = {"name": "mautic-provisioner", "namespace": PLATFORM}
        data = {"rules.json": json.dumps(rules)}
        self.cluster.keep({"kind": "ConfigMap", "metadata": meta, "data": data})

    def node(self, info: dict[str, str]) -> None:
        meta = {"name": "node", "namespace": None}
        self.cluster.keep({"kind": "Node", "metadata": meta, "status": {"nodeInfo": info}})

    @property
    def uploads(self) -> ClusterSharedUploads:
        context, _ = a_cluster_context(self.cluster, FakeHelm(), self.root, **self.own)
        return ClusterSharedUploads(context, lambda: self.registry)

    def fill(self, read: list[str] | None = None) -> tuple[int, list[str]]:
        said: list[str] = []
        return self.uploads.fill(ID, "an image", source(read), said.append), said


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_they_are_decrypted_by_the_provisioner_and_pushed_once(bench: Bench) -> None:
    assert bench.fill() == (0, ["unseal: ready"])
    assert bench.cluster.seen == [f"{PLATFORM}/pod/provisioner {' '.join(UNSEAL)}"]
    # The provisioner takes no order without the seed's id.
    assert bench.cluster.got["id"] == ID
    assert bench.cluster.got["key"] == KEY
    there = bench.uploads.find(ID)
    assert set(there) == {"files", "images", "dashboards"}
    layer = bench.registry.layers["seed-images", there["images"].partition("@")[2]]
    assert b"a" * 3_000_000 in layer

    read: list[str] = []
    assert bench.fill(read) == (0, [])
    assert read == []
    assert len(bench.cluster.seen) == 1


@pytest.mark.parametrize("leaves", [0, 1_000_000])
def test_what_its_program_says_is_the_error_and_nothing_is_tagged(
    bench: Bench, leaves: int
) -> None:
    bench.cluster.status, bench.cluster.leaves = 1, leaves
    assert bench.fill() == (1, ["unseal: ready", "unseal: the seed is damaged"])
    assert bench.uploads.find(ID) == {}


def test_a_connection_that_breaks_off_is_told_as_such(bench: Bench) -> None:
    bench.cluster.failure = ClusterError("it broke off")
    with pytest.raises(ClusterError, match="it broke off"):
        bench.fill()


def test_what_is_cut_off_in_silence_is_noticed(bench: Bench) -> None:
    bench.cluster.leaves = 1
    with pytest.raises(UnreadableError, match="are not what its manifest says"):
        bench.fill()
    assert bench.uploads.find(ID) == {}


def test_a_registry_that_fails_is_the_error(bench: Bench) -> None:
    bench.registry.fails["push seed-images"] = [RegistryError("it is full")]
    with pytest.raises(RegistryError, match="it is full"):
        bench.fill()


def test_a_provisioner_of_before_is_sent_nothing_of_it(bench: Bench) -> None:
    bench.cluster.status, bench.cluster.says = 64, "say operate, setup, plant or lend"
    with pytest.raises(SuiteError, match="is of an image that decrypts no uploads"):
        bench.fill()
    assert bench.cluster.got == {}


# -- whether branches share at all ------------------------------------------------------------


def test_a_cluster_where_all_is_in_order_has_no_problem(bench: Bench) -> None:
    assert bench.uploads.problem() == ""


def test_without_a_provisioner_that_decrypts_a_branch_gets_a_copy(bench: Bench) -> None:
    bench.rules(seedKey="ab")
    assert "decrypts none" in bench.uploads.problem()
    bench.own = {}
    assert "no provisioner" in bench.uploads.problem()


def test_nodes_that_are_too_old_or_cannot_be_seen_are_a_problem(bench: Bench) -> None:
    bench.node({**NODE, "containerRuntimeVersion": "containerd://1.7.27"})
    assert "containerd://1.7.27" in bench.uploads.problem()
    bench.node(NODE)
    bench.cluster.forbidden = {"list Node"}
    assert "you may not ask the nodes" in bench.uploads.problem()


def test_a_registry_that_has_no_place_for_them_is_a_problem(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> tuple[str, ...]:
        raise RegistryError("there is no repository x/seed-files")

    monkeypatch.setattr(bench.registry, "missing", missing)
    assert bench.uploads.problem() == "there is no repository x/seed-files"

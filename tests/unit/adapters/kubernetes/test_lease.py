"""What a damaged Lease does to a run that wants it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.adapters.identity import this_run
from tasks.adapters.kubernetes.lease import PREFIX, LeaseLock
from tasks.core.errors import UnreadableError

Object = dict[str, Any]
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
ME = replace(this_run("deploy", "c" * 40, 5), job="")


class Cluster:
    """A namespace with a Lease."""

    def __init__(self, spec: Object, annotations: dict[str, str] | None = None) -> None:
        metadata = {"namespace": "here", "annotations": annotations}
        self.lease: Object = {"metadata": metadata, "spec": spec}

    def now(self) -> datetime:
        return NOW

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return self.lease if kind == "Lease" else {"metadata": {"name": name, "uid": "1"}}

    def replace(self, item: Object) -> None:
        self.lease = item


def lock(cluster: Cluster) -> LeaseLock:
    return LeaseLock(cluster, "here", ME, wait_seconds=0, say=lambda _: None)  # type: ignore[arg-type]


HELD = {"holderIdentity": "x", "leaseDurationSeconds": 30}


@pytest.mark.parametrize(
    ("spec", "annotations"),
    [
        ({**HELD, "renewTime": "10000-01-01T00:00:00.000000Z"}, None),
        (
            {},
            {f"{PREFIX}newest-committed": "many", f"{PREFIX}newest-since": "2026-01-10T12:00:00Z"},
        ),
        ({}, {f"{PREFIX}newest-since": "then"}),
        (
            {**HELD, "renewTime": "2026-01-10T12:00:00.000000Z"},
            {f"{PREFIX}newest-committed": "9" * 5000},
        ),
    ],
)
def test_a_broken_lease_is_an_error_with_its_remedy(
    spec: Object, annotations: dict[str, str] | None
) -> None:
    with (
        pytest.raises(UnreadableError, match="the Lease of here cannot be read") as told,
        lock(Cluster(spec, annotations)),
    ):
        pass
    assert "kubectl -n here delete lease mautic-multidev" in str(told.value.hint)


@pytest.mark.parametrize("spec", [{}, {"renewTime": None, "holderIdentity": "x"}])
def test_a_lease_without_anything_in_it_is_free(spec: Object) -> None:
    with lock(Cluster(spec)) as held:
        held.check()


@pytest.mark.parametrize("process", ["x", "", "9" * 30, "-1", "1) (process 2"])
def test_a_holder_that_only_looks_like_a_process_here_is_another_s(process: str) -> None:
    holder = f"{ME.owner} (process {process})"
    spec = {**HELD, "holderIdentity": holder, "renewTime": "2026-01-10T12:00:00.000000Z"}
    taken = process == "9" * 30  # no process has that number, so it has ended
    cluster = Cluster(spec)
    found = lock(cluster)._try(NOW)
    assert found is taken

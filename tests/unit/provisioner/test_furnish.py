"""Which namespaces get a floor, and in which order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from provisioner.cluster import ClusterError, Record
from provisioner.floor import FLOOR, READY, Floor
from provisioner.furnish import FullError, Furnisher
from provisioner.reconcile import Reconciler
from provisioner.rules import ForeignError
from tasks.core.kubernetes.provisioner import DATABASE
from tests.unit.provisioner.test_rules import RULES, made

QUOTA = {"pods": "40"}
LIMITS = [{"type": "Container", "default": {"memory": "512Mi"}}]


@dataclass
class Played:
    """The API server: namespaces, the objects of their floors, and records.

    Attributes:
        broken: namespaces in which no object can be written.
        laid: what namespaces had when they were labelled.
    """

    there: dict[str, Any] = field(default_factory=dict)
    objects: dict[tuple[str, str], Any] = field(default_factory=dict)
    kept: dict[str, Record] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    laid: dict[str, set[str]] = field(default_factory=dict)

    def namespaces(self) -> list[Any]:
        return list(self.there.values())

    def put_floor(self, kind: str, manifest: Any) -> None:
        where = manifest["metadata"]["namespace"]
        if where in self.broken:
            raise ClusterError("the API server answers 500")
        self.objects[where, kind] = manifest["spec"]

    def remove_floor(self, kind: str, namespace: str) -> None:
        self.objects.pop((namespace, kind), None)

    def mark_furnished(self, place: Any) -> None:
        self.there[place.namespace]["metadata"]["labels"][FLOOR] = READY
        self.laid[place.namespace] = self.kinds(place.namespace)

    def kinds(self, namespace: str) -> set[str]:
        return {kind for where, kind in self.objects if where == namespace}

    def record(self, namespace: str) -> Record | None:
        return self.kept.get(namespace)

    def records(self) -> list[Record]:
        return list(self.kept.values())

    def write(self, record: Record) -> None:
        self.kept[record.namespace] = record

    def forget(self, record: Record) -> None:
        del self.kept[record.namespace]

    def uid_of(self, namespace: str) -> str | None:
        found = self.there.get(namespace)
        return found["metadata"]["uid"] if found else None

    def tell(self, namespace: str, kind: str, reason: str, text: str) -> None:
        pass


class Bench:
    """A furnisher with what it changes."""

    def __init__(self, limit: int = 2) -> None:
        self.cluster = Played()
        played: Any = self.cluster
        self.furnisher = Furnisher(RULES, Floor(limit, QUOTA, LIMITS), played)
        server: Any = None
        self.reconciler = Reconciler(RULES, server, played, self.furnisher)

    def make(self, branch: str, environment: str = "dev", **changes: Any) -> Any:
        """Make a namespace as a deploy does, without a database."""
        item = made(branch, environment)
        del item["metadata"]["labels"][DATABASE]
        number = len(self.cluster.there)
        stamp = f"2026-01-01T00:00:{number:02}Z"
        item["metadata"] |= {"uid": f"uid-{number}", "creationTimestamp": stamp, **changes}
        self.cluster.there[item["metadata"]["name"]] = item
        return item

    def is_furnished(self, item: Any) -> bool:
        return item["metadata"]["labels"].get(FLOOR) == READY


def test_the_label_comes_after_everything_that_it_promises() -> None:
    bench = Bench()
    item = bench.make("x")
    bench.cluster.broken.add("mautic-x")
    with pytest.raises(ClusterError):
        bench.furnisher.furnish(item)
    assert not bench.is_furnished(item)
    bench.cluster.broken.clear()
    bench.furnisher.furnish(item)
    assert bench.is_furnished(item)
    assert bench.cluster.laid["mautic-x"] == {"NetworkPolicy", "ResourceQuota", "LimitRange"}
    denied = bench.cluster.objects["mautic-x", "NetworkPolicy"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert bench.cluster.objects["mautic-x", "ResourceQuota"] == {"hard": QUOTA}


def test_one_too_many_is_told_and_gets_its_turn_when_another_goes() -> None:
    bench = Bench()
    first, second, third = (bench.make(branch) for branch in ("a", "b", "c"))
    for item in (first, second):
        bench.reconciler.reconcile(item)
    with pytest.raises(FullError):
        bench.reconciler.reconcile(third)
    told = bench.cluster.kept["mautic-c"]
    assert (told.state, told.message) == ("refused", "2 of 2 environments exist")
    # One that is going may still run pods.
    first["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    with pytest.raises(FullError):
        bench.reconciler.reconcile(third)
    del bench.cluster.there["mautic-a"]
    bench.reconciler.reconcile(third)
    assert bench.is_furnished(third)
    assert (bench.cluster.kept["mautic-c"].state, bench.cluster.kept["mautic-c"].message) == (
        "ready",
        "",
    )


def test_what_was_there_before_comes_first_the_oldest_of_all() -> None:
    bench = Bench()
    oldest, older, newest = (bench.make(branch) for branch in ("z", "y", "a"))
    with pytest.raises(FullError, match="0 of 2"):
        bench.furnisher.furnish(newest)
    for item in (older, oldest):
        bench.furnisher.furnish(item)
    with pytest.raises(FullError, match="2 of 2"):
        bench.furnisher.furnish(newest)
    # What has a floor keeps it, however many there are, and an event of before it changes nothing.
    stale = json.loads(json.dumps(oldest))
    del stale["metadata"]["labels"][FLOOR]
    bench.furnisher.furnish(stale)


def test_only_what_is_of_the_environment_takes_room() -> None:
    bench = Bench(limit=1)
    stranger = bench.make("real")
    # It only says that it is the branch's.
    del bench.cluster.there["mautic-real"]
    stranger["metadata"]["name"] = "mautic-other"
    bench.cluster.there["mautic-other"] = stranger
    with pytest.raises(ForeignError):
        bench.furnisher.furnish(stranger)
    assert not bench.cluster.kinds("mautic-other")
    bench.furnisher.furnish(bench.make("qa", "qa"))
    bench.furnisher.furnish(bench.make("x"))


def test_production_has_no_quota_and_is_not_counted() -> None:
    bench = Bench(limit=1)
    item = bench.make("main", "prod")
    bench.furnisher.furnish(bench.make("x"))
    bench.furnisher.furnish(item)
    assert bench.cluster.kinds(item["metadata"]["name"]) == {"NetworkPolicy"}


def test_without_quota_and_limits_there_are_none() -> None:
    """Also if there were some before: Helm leaves out what is null."""
    bench = Bench()
    item = bench.make("x")
    bench.furnisher.furnish(item)
    played: Any = bench.cluster
    Furnisher(RULES, Floor.from_json('{"maxEnvironments": 2}'), played).furnish(item)
    assert bench.cluster.kinds("mautic-x") == {"NetworkPolicy"}


@pytest.mark.parametrize("limit", [0, 2])
def test_any_number_or_as_many_as_are_said(limit: int) -> None:
    bench = Bench(limit)
    items = [bench.make(f"b{number}") for number in range(5)]
    furnished = 0
    for item in items:
        try:
            bench.furnisher.furnish(item)
        except FullError:
            continue
        furnished += 1
    assert furnished == (limit or 5)


def test_the_sweep_restores_each_and_one_that_fails_keeps_no_other() -> None:
    bench = Bench()
    items = [bench.make(branch) for branch in ("a", "b")]
    for item in items:
        bench.furnisher.furnish(item)
    bench.cluster.objects.clear()
    bench.cluster.broken.add("mautic-a")
    bench.reconciler.sweep()
    assert not bench.cluster.kinds("mautic-a")
    assert bench.cluster.kinds("mautic-b") == {"NetworkPolicy", "ResourceQuota", "LimitRange"}


def test_a_namespace_without_a_database_has_a_record_that_goes_with_it() -> None:
    bench = Bench()
    bench.reconciler.reconcile(bench.make("x"))
    told = bench.cluster.kept["mautic-x"]
    assert (told.state, told.environment, told.database) == ("ready", "dev", "")
    del bench.cluster.there["mautic-x"]
    bench.reconciler.sweep()
    assert not bench.cluster.kept


def test_a_database_is_not_forgotten_when_its_label_is_gone() -> None:
    bench = Bench()
    item = bench.make("x")
    known = Record("mautic-x", item["metadata"]["uid"], "ready", database="mautic_x", user="u")
    bench.cluster.write(known)
    bench.reconciler.reconcile(item)
    assert bench.cluster.kept["mautic-x"] == known

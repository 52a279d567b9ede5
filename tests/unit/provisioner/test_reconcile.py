"""What the provisioner refuses by what it has made already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from provisioner.cluster import Password, Record
from provisioner.floor import Floor
from provisioner.furnish import Furnisher
from provisioner.reconcile import Reconciler
from provisioner.rules import ForeignError
from tasks.core.kubernetes.manifests import STYLE
from tasks.core.names import Style
from tasks.core.settings import names_of_all_styles
from tests.unit.provisioner.test_rules import RULES, SETTINGS, made

LONG = "a-branch-of-thirty-six-characters-"
COLLIDING = (f"{LONG}aa", f"{LONG}ab")
"""Their former users are made the same below; the real ones are found in minutes."""


@dataclass
class FakeServer:
    """The databases of a server."""

    users: dict[str, str] = field(default_factory=dict)

    def provide(self, database: str, user: str, password: str) -> None:
        self.users[user] = database

    def remove(self, database: str, user: str) -> None:
        self.users.pop(user, None)


@dataclass
class FakeKubernetes:
    """The records, and nothing else: what namespaces stand on has tests of its own."""

    kept: dict[str, Record] = field(default_factory=dict)

    def put_floor(self, kind: str, manifest: Any) -> None:
        pass

    def remove_floor(self, kind: str, namespace: str) -> None:
        pass

    def mark_furnished(self, place: Any) -> None:
        pass

    def record(self, namespace: str) -> Record | None:
        return self.kept.get(namespace)

    def records(self) -> Iterator[Record]:
        yield from list(self.kept.values())

    def write(self, record: Record) -> None:
        self.kept[record.namespace] = record

    def forget(self, record: Record) -> None:
        del self.kept[record.namespace]

    def ensure_password(self, tenant: Any, host: str, port: int) -> Password:
        return Password("password", "1")

    def delete_password(self, namespace: str) -> None:
        pass

    def tell(self, namespace: str, kind: str, reason: str, text: str) -> None:
        pass


@dataclass
class Bench:
    """A reconciler with what it changes."""

    server: FakeServer = field(default_factory=FakeServer)
    cluster: FakeKubernetes = field(default_factory=FakeKubernetes)

    def work(self, item: Any) -> None:
        cluster: Any = self.cluster
        furnisher = Furnisher(RULES, Floor(0, {}, []), cluster)
        Reconciler(RULES, self.server, cluster, furnisher).reconcile(item)

    def reconcile(self, item: Any) -> Record:
        self.work(item)
        return self.cluster.kept[item["metadata"]["name"]]


def test_nobody_gets_the_user_of_another_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch whose former user is another one's would set its password."""
    for_all = names_of_all_styles(SETTINGS, "dev", COLLIDING[0])[1].database_user
    bench = Bench()
    victim, thief = (made(branch, style=Style.FORMER) for branch in COLLIDING)
    bench.reconcile(victim)
    monkeypatch.setattr("tasks.core.names._database_user", lambda *_: for_all)
    with pytest.raises(ForeignError, match=f"{for_all} is the user of namespace"):
        bench.reconcile(thief)
    told = bench.cluster.kept[thief["metadata"]["name"]]
    assert (told.state, told.database, told.user) == ("refused", "", "")
    assert list(bench.server.users) == [for_all]
    assert bench.reconcile(victim).state == "ready"


def test_nobody_drops_the_user_of_another_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks for a removal, and has nothing, has not even been refused anything."""
    for_all = names_of_all_styles(SETTINGS, "dev", COLLIDING[0])[1].database_user
    bench = Bench()
    victim, thief = (made(branch, style=Style.FORMER) for branch in COLLIDING)
    bench.reconcile(victim)
    monkeypatch.setattr("tasks.core.names._database_user", lambda *_: for_all)
    thief["metadata"]["labels"]["mautic-multidev.io/database"] = "removed"
    bench.work(thief)
    assert list(bench.server.users) == [for_all]


def test_a_namespace_keeps_the_user_that_it_has() -> None:
    bench, item = Bench(), made("x" * 40, style=Style.FORMER)
    first = bench.reconcile(item)
    item["metadata"]["annotations"][STYLE] = Style.PRESENT.value
    with pytest.raises(ForeignError, match=f"its user is {first.user}"):
        bench.reconcile(item)
    assert list(bench.server.users) == [first.user]
    item["metadata"]["annotations"][STYLE] = Style.FORMER.value
    assert bench.reconcile(item).state == "ready"


def test_after_its_removal_a_namespace_may_have_present_names() -> None:
    bench, item = Bench(), made("x" * 40, style=Style.FORMER)
    first = bench.reconcile(item)
    item["metadata"]["labels"]["mautic-multidev.io/database"] = "removed"
    assert bench.reconcile(item).state == "removed"
    again = made("x" * 40)
    assert again["metadata"]["name"] == item["metadata"]["name"]
    second = bench.reconcile(again)
    assert second.state == "ready"
    assert second.user != first.user
    assert list(bench.server.users) == [second.user]

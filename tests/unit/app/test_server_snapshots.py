"""Of which environments' servers snapshots are taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.aws.session import Aws
from tasks.app.server_snapshots import server_snapshots
from tasks.core.errors import SettingsError
from tasks.core.settings import parse
from tasks.flows.server_snapshots import ServerSnapshots

DATABASE = {"host": "db.internal", "identifier": "mautic-prod"}
PROD = {
    **{"target": "kubernetes", "branches": ["main"], "namespace": "prod", "protected": True},
    **{"host": "mautic.example.org", "cluster": {"kind": "context", "name": "mine"}},
    **{"registry": {"url": "registry.example.org/x"}, "database": DATABASE},
}


def snapshots_of(warnings: list[str], /, **changes: Any) -> ServerSnapshots | None:
    merged = {
        "stacks": {"prod": {"region": "eu-central-1"}},
        "environments": {"prod": {**PROD, **changes}},
    }
    settings = parse(merged, lambda _: "1.yaml")
    session: Any = SimpleNamespace(
        settings=settings,
        settings_of=lambda _: settings,
        aws=lambda _: Aws("eu-central-1"),
        console=SimpleNamespace(warn=warnings.append),
    )
    return server_snapshots(session, "prod")


def test_a_protected_environment_on_rds_has_them_by_default() -> None:
    found = snapshots_of([])
    assert found
    assert (found.port.server, found.keep, found.wait_minutes) == ("mautic-prod", 3, 60)
    found = snapshots_of([], rds_snapshots={"keep": 0, "wait_minutes": 5})
    assert found
    assert (found.keep, found.wait_minutes) == (0, 5)


@pytest.mark.parametrize(
    "changes",
    [{"protected": False}, {"database": {"host": "db.internal"}}, {"database": None}],
    ids=["unprotected", "another server", "in the namespace"],
)
def test_others_have_none(changes: dict[str, Any]) -> None:
    assert snapshots_of([], **changes) is None


def test_a_stack_from_before_is_named_unless_none_are_wanted() -> None:
    warned: list[str] = []
    bare = {"stack": "prod", "database": {"host": "db.internal"}}
    assert snapshots_of(warned, **bare) is None
    assert "stack prod does not publish database/identifier" in warned[0]
    assert snapshots_of(warned, **bare, rds_snapshots={"keep": 0}) is None
    assert len(warned) == 1


def test_they_are_set_where_they_are_taken() -> None:
    with pytest.raises(SettingsError, match="rds_snapshots is for protected environments"):
        snapshots_of([], protected=False, rds_snapshots={"keep": 1})


@pytest.mark.parametrize("name", ["a--b", "1a", "a-", "a_b", "mautic-*"])
def test_an_identifier_is_one_of_rds(name: str) -> None:
    with pytest.raises(SettingsError, match=r"database\.identifier in 1\.yaml: must be the id"):
        snapshots_of([], database={**DATABASE, "identifier": name})

"""GitLab's page of environments, as `inv gc` sweeps it: with a token, and never in its way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters import gitlab_api
from tasks.app.gitlab_gc import clear_page, page_sweep
from tasks.core.setting_gc import GcSettings
from tests.support.clock import PlayedClock
from tests.support.fakes import a_console
from tests.support.gitlab_api import TOKEN, FakeGitlab, Fault

OLD = "2026-01-02T03:04:05.678Z"


def sweep(
    gitlab: FakeGitlab, monkeypatch: pytest.MonkeyPatch, *, token: str = TOKEN, **kept: Any
) -> str:
    """Sweep the page, and return what was said."""
    monkeypatch.setattr(gitlab_api, "CLOCK", PlayedClock().clock)
    for name, value in {**gitlab.variables(), "GITLAB_TOKEN": token}.items():
        monkeypatch.setenv(name, value)
    console, said = a_console()
    own = SimpleNamespace(gc=GcSettings(**kept))
    session: Any = SimpleNamespace(
        environment=lambda _: ("dev", own),
        git=SimpleNamespace(repository=lambda: "https://gitlab.example.com/team/mautic"),
        console=console,
        redactor=console.redactor,
    )
    clear_page(session, page_sweep(session, "dev"))
    return said.getvalue()


@pytest.fixture
def gitlab() -> Any:
    with FakeGitlab() as server:
        server.stop("review/old", OLD)
        server.stop("prod", OLD, tier="production")
        yield server


def names(gitlab: FakeGitlab) -> list[str]:
    return [one["name"] for one in gitlab.environments.values()]


def test_what_is_over_goes(gitlab: FakeGitlab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1 removed" in sweep(gitlab, monkeypatch)
    assert names(gitlab) == ["prod"]


@pytest.mark.parametrize("kept", [{"gitlab_stopped": None}, {"gitlab_stopped": "9999w"}])
def test_settings_keep_it(
    gitlab: FakeGitlab, monkeypatch: pytest.MonkeyPatch, kept: dict[str, Any]
) -> None:
    assert sweep(gitlab, monkeypatch, **kept) == ""
    assert names(gitlab) == ["review/old", "prod"]


def test_without_a_token_nobody_is_asked(
    gitlab: FakeGitlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sweep(gitlab, monkeypatch, token="") == ""
    assert gitlab.seen == []


@pytest.mark.parametrize("status", [403, 500])
def test_nothing_goes_while_it_is_not_known_what_is_protected(
    gitlab: FakeGitlab, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    gitlab.faults = [Fault(status)] * 4
    said = sweep(gitlab, monkeypatch)
    assert said.startswith("! GitLab's page of environments was not looked at: ")
    assert f"protected_environments with {status}" in said
    assert names(gitlab) == ["review/old", "prod"]
    assert TOKEN not in said


def test_a_refusal_is_a_warning(gitlab: FakeGitlab, monkeypatch: pytest.MonkeyPatch) -> None:
    gitlab.may = False
    said = sweep(gitlab, monkeypatch)
    assert "! not all went from GitLab's page: " in said
    assert names(gitlab) == ["review/old", "prod"]

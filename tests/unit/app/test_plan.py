"""Saved plans: what is saved, what is taken for a world that has changed, and what is not known."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from inspect import unwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.adapters.registry.oci import UnreachableError
from tasks.app import existing
from tasks.app import plan as plans
from tasks.app.images import Build
from tasks.app.plan import Made
from tasks.app.session import Session
from tasks.commands.plan import drift
from tasks.core.errors import (
    AwsError,
    ClusterError,
    DriftedError,
    EngineError,
    HeldError,
    InputError,
    RefusedError,
    RegistryError,
    SettingsError,
    SuiteError,
)
from tasks.core.foresight import REMOVE, Foresight, ObjectChange
from tasks.core.saved_plan import Asked, SavedPlan
from tasks.flows.build import BuildPlan, ImagePlan
from tasks.flows.plan import WholePlan
from tasks.flows.target import Request
from tests.support.fakes import NAMES, PLAN, a_console

ASKED = Asked("dev", "feature/x")
MADE = Made(WholePlan(None, PLAN, Foresight((), {"release": "1"}), "none"), None, {})
NO_SESSION = cast("Session", None)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    plans.save(MADE, ASKED, path)
    return path


def reopen(
    path: Path, made: Made | SuiteError, monkeypatch: pytest.MonkeyPatch
) -> tuple[SavedPlan, Made]:
    """Open a saved plan again, when planning gives this."""

    def make(session: Session, asked: Asked, *, must_fit: bool) -> Made:
        assert asked == ASKED
        if isinstance(made, SuiteError):
            raise made
        return made

    monkeypatch.setattr(plans, "make", make)
    return plans.reopen(NO_SESSION, path)


def test_a_plan_is_for_its_owner_alone(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert json.loads(saved.read_text())["facts"]["release"] == "1"


def test_a_plan_that_still_holds_is_opened(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reopen(saved, MADE, monkeypatch)[1] is MADE


def test_a_plan_that_no_longer_holds_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Foresight((), {"release": "2"})
    now = replace(MADE, plan=replace(MADE.plan, foresight=other))
    with pytest.raises(RefusedError, match=r"no longer holds: release \(1, now 2\)"):
        reopen(saved, now, monkeypatch)


@pytest.mark.parametrize(
    "error", [RegistryError("no image"), InputError("no file"), SuiteError("no secret")]
)
def test_what_cannot_be_planned_any_more_is_refused(
    error: SuiteError, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError, match=f"no longer holds: {error.message}"):
        reopen(saved, error, monkeypatch)


@pytest.mark.parametrize(
    "kind", [AwsError, ClusterError, EngineError, SettingsError, UnreachableError, HeldError]
)
def test_what_cannot_be_known_is_not_taken_for_a_change(
    kind: type[SuiteError], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind):
        reopen(saved, kind("out of reach"), monkeypatch)


def test_a_plan_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        plans.reopen(NO_SESSION, tmp_path / "none.json")


def test_images_that_are_not_built_yet_are_not_planned_for_good(tmp_path: Path) -> None:
    image = ImagePlan("mautic", "key", "code", "", ("tag",), "its content is new")
    build = cast("BuildPlan", type("Build", (), {"images": (image,)}))
    made = replace(MADE, plan=replace(MADE.plan, build=build))
    with pytest.raises(RefusedError, match="mautic has to be built first"):
        plans.save(made, ASKED, tmp_path / "plan.json")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--out"):
        plans.save(MADE, ASKED, tmp_path / "no" / "plan.json")


@pytest.mark.parametrize(
    ("build", "lacks", "planned"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_dry_run_plans_the_build_that_the_deploy_would_begin_with(
    build: bool, lacks: bool, planned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cast("Build", object())
    jobs: list[Build | None] = []

    def made(_: Session, request: Request, job: Build | None) -> Made:
        assert request is PLAN.request
        jobs.append(job)
        return MADE

    monkeypatch.setattr(plans.environments, "lacks_images", lambda *_: lacks)
    monkeypatch.setattr(plans.images, "branch_build", lambda *_: job)
    monkeypatch.setattr(plans, "_made", made)
    assert plans.of_request(NO_SESSION, PLAN.request, build=build) is MADE.plan
    assert jobs == [job if planned else None]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("kubernetes", "that has something to do sets back what the chart says"),
        ("compose", "the next inv deploy sets it back"),
    ],
)
def test_what_becomes_of_drift_is_told_by_where_it_is(
    target: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ObjectChange(REMOVE, "container/web")
    inspector = SimpleNamespace(drift=lambda *_: [gone])
    found = SimpleNamespace(names=NAMES, owner=None, inspector=inspector)
    monkeypatch.setattr(existing, "find_existing", lambda *_: found)
    own = SimpleNamespace(target=target)
    console, _ = a_console()
    session: Any = SimpleNamespace(
        console=console, settings=SimpleNamespace(environment=lambda _: own)
    )
    with pytest.raises(DriftedError) as caught:
        unwrap(drift.body)(session)
    assert str(caught.value.hint).endswith(f" {told}")

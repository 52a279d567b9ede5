"""Which environments keep no images any more in a dry run of `inv gc`, and what is not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.app.gc import going, unseen
from tasks.core.environment import State
from tasks.core.images.retention import ImageUse
from tasks.core.settings import parse
from tasks.flows.gc import StaleEnvironment, SweepPlan
from tests.unit.flows.test_gc import THERE

STALE = replace(THERE, namespace="mautic-feature-x")
STRAY = replace(THERE, state=State.MISNAMED, namespace="mautic-feature-x-0123456789")
USE = ImageUse("dev", STALE.namespace, THERE.branch, THERE.slug)


@pytest.mark.parametrize(
    ("stale", "use", "goes"),
    [
        (STALE, USE, True),
        # Another project has a branch of that name as well.
        (STALE, replace(USE, where="other-feature-x"), False),
        (STALE, replace(USE, environment="qa"), False),
        (STALE, replace(USE, problem="damaged"), False),
        # Another namespace states the same branch: only that one goes.
        (STRAY, USE, False),
        (STRAY, replace(USE, where=STRAY.namespace), True),
    ],
)
def test_an_environment_that_goes_keeps_no_image(stale: Any, use: ImageUse, goes: bool) -> None:
    sweep = SweepPlan("dev", (StaleEnvironment(stale, "its branch is gone"),))
    assert going(sweep)(use) is goes


@pytest.mark.parametrize(
    ("target", "url", "is_seen"),
    [
        ("compose", "localhost:5050/mautic", True),
        ("compose", "registry.example.com/mautic", False),
        ("kubernetes", "registry.example.com/mautic", True),
    ],
)
def test_environments_of_other_machines_are_not_seen(target: str, url: str, is_seen: bool) -> None:
    own: dict[str, Any] = {"target": target, "branches": ["*"], "host": "{slug}.localhost"}
    own["registry"] = {"url": url}
    if target == "kubernetes":
        own["cluster"] = {"kind": "context", "name": "here"}
    settings = parse({"environments": {"dev": own}}, lambda path: "test")
    assert (unseen(settings.environments) == "") is is_seen

"""Adopting an environment: what is shown, refused, and done under its lock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.environment import State
from tasks.core.errors import InputError, RefusedError
from tasks.core.summary import EnvironmentSummary, summarize
from tasks.flows.adopt import AdoptionPlan, plan_adoption, run_adoption
from tasks.flows.target import owner_of
from tests.support.fakes import ME, NAMES, RELEASE, FakeAdopter, FakeInspector, a_record

FORMER = "https://gitlab.example.org/old/mautic"
NEW = "https://gitlab.example.org/new/mautic"
FOUND: EnvironmentSummary = summarize(
    owner_of(NAMES, FORMER),
    a_record(State.READY, RELEASE),
    url=NAMES.url,
    state=State.RUNNING,
    created_at="2026-01-01",
    namespace=NAMES.namespace,
)


def plan(former: str, *, found: EnvironmentSummary = FOUND, repository: str = NEW) -> AdoptionPlan:
    return plan_adoption(FakeInspector([found]), NAMES, repository, former, is_branch=False)


@pytest.mark.parametrize("former", [FORMER, "git@gitlab.example.org:Old/mautic.git"])
def test_who_names_the_owner_adopts(former: str) -> None:
    found = plan(former)
    (step,) = found.steps
    assert (step.verb, step.subject) == ("adopt", "environment feature/x")
    assert step.reason == f"from {FORMER} to {NEW}"
    shown = dict(found.rows())
    assert shown["repository"] == FORMER
    assert shown["branch"] == "feature/x"
    assert shown["state"] == "running"
    assert shown["deployed by"] == "ada@host"
    assert found.as_dict()["found"]["repository"] == FORMER


@pytest.mark.parametrize(
    "former", [NEW, "https://gitlab.example.org/old/other", "/home/ada/mautic"]
)
def test_who_names_another_owner_is_refused(former: str) -> None:
    with pytest.raises(RefusedError, match=f"is {FORMER}'s, not {former}'s"):
        plan(former)


def test_what_is_not_there_cannot_be_adopted() -> None:
    other = replace(FOUND, branch="feature/y")
    with pytest.raises(InputError, match="feature/x has no environment in local") as caught:
        plan(FORMER, found=other)
    assert "feature/y" in (caught.value.hint or "")
    assert "--new if no branch has that name" in (caught.value.hint or "")


@pytest.mark.parametrize("repository", [FORMER, "git@GitLab.example.org:old/mautic"])
def test_what_is_ours_already_stays(repository: str) -> None:
    assert plan("https://gitlab.example.org/who/ever", repository=repository).steps == ()


def test_it_is_written_down_while_the_lock_is_held() -> None:
    adopter = FakeAdopter()

    run_adoption(plan(FORMER), adopter, me=ME, warn=print)

    assert adopter.seen == ["lock", "adopt", "unlock"]
    assert adopter.adopted == [(owner_of(NAMES, NEW), NAMES, FORMER)]

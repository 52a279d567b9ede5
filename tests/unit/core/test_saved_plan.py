"""Saved plans: read strictly, and what of their facts is no longer so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tasks.core.errors import InputError
from tasks.core.foresight import fact
from tasks.core.saved_plan import (
    DATABASE_IMAGE,
    VERSION,
    Asked,
    SavedPlan,
    changed_facts,
    facts_of_settings,
    read_saved,
    told,
)

SAVED = SavedPlan(
    *(VERSION, "deploy x to dev (1a2b)", "2026-01-01T00:00:00+00:00", Asked("dev", "x")),
    {"commit": "1a2b", "steps": fact(1)},
    ("add service/web",),
)
FRESH = {"namespace": "", "record": "", "steps": fact(1), "values": fact(2), "namespace/x": "add"}


def test_a_plan_is_read_as_it_was_saved() -> None:
    assert read_saved(SAVED.to_json(), "plan.json") == SAVED


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "one"}', b"\xff"])
def test_what_is_no_plan_is_bad_input(text: str | bytes) -> None:
    with pytest.raises(InputError, match=r"plan\.json cannot be read"):
        read_saved(text, "plan.json")


def test_a_plan_of_another_version_is_bad_input() -> None:
    other = replace(SAVED, version=VERSION + 1)
    with pytest.raises(InputError, match="another version"):
        read_saved(other.to_json(), "plan.json")


def test_the_same_facts_are_no_change() -> None:
    assert changed_facts(FRESH, dict(reversed(FRESH.items()))) == []


def test_a_change_is_told_with_texts_but_without_hashes_and_the_steps_come_last() -> None:
    then = {"steps": fact(1), "values": fact(2), "gone": "yes", "commit": "1a2b"}
    now = {"steps": fact(2), "commit": "3c4d", "values": fact(3), "service/web": f"add {fact(4)}"}
    assert changed_facts(then, now) == [
        "commit (1a2b, now 3c4d)",
        "gone (yes, now none)",
        "the chart's values",
        "service/web",
        "its steps",
    ]


def test_what_another_commit_changes_is_told_after_it_in_a_short_line() -> None:
    def facts(commit: str, image: str) -> dict[str, str]:
        return {
            "settings": fact(commit),
            **{f"content of {name}": image * 64 for name in ("mautic", "nginx")},
            "image mautic": f"localhost:5050/m/mautic@sha256:{image * 64}",
            "image nginx": f"localhost:5050/m/nginx@sha256:{image * 64}",
            "migration": f"{image * 64} {fact(image)}",
            "record": fact(1),
            "tag": commit[:8],
            "commit": commit,
        }

    line = told(changed_facts(facts("1a2b3c4d" * 5, "e"), facts("5e6f7a8b" * 5, "f")))
    assert line.startswith(
        "commit (1a2b3c4d, now 5e6f7a8b), tag (1a2b3c4d, now 5e6f7a8b), "
        "settings (invoke.yaml, INVOKE_ variables), content of mautic (eeeeeeeeeeee, now "
    )
    assert line.endswith(" and 3 more")
    assert len(line) < 300


def test_a_deploy_since_is_told_by_whom_and_not_as_another_record() -> None:
    then = {"record": fact(1), "deployed": ""}
    now = {"record": fact(2), "deployed": "1a2b by ada@host at 2026-01-01T00:00:00+00:00"}
    assert changed_facts(then, now) == [
        "deployed since: 1a2b by ada@host at 2026-01-01T00:00:00+00:00"
    ]
    assert changed_facts(now, {"record": ""}) == [f"removed since; it was {now['deployed']}"]
    assert changed_facts(then, {**then, "record": fact(3)}) == ["the environment's record"]


def test_what_sleeps_now_is_told_without_what_that_has_stopped() -> None:
    asleep = "asleep since 2026-01-01 00:00 UTC, put to sleep by ada@host (by hand)"
    awake = {"record": fact(1), "container x-web-1": "0f1e2d, running", "steps": fact(1)}
    stopped = {"record": fact(2), "container x-web-1": "0f1e2d, exited", "steps": fact(2)}
    slept = {**stopped, "asleep": asleep, "container/web state": fact(3)}
    assert changed_facts(awake, slept) == [f"the environment is {asleep}"]
    assert changed_facts(slept, awake) == [f"the environment is awake; it was {asleep}"]
    other = {"settings": fact(4)}
    assert changed_facts(awake, {**slept, **other}) == [
        f"the environment is {asleep}",
        "settings (invoke.yaml, INVOKE_ variables)",
    ]


def test_a_namespace_that_the_deploy_has_made_itself_is_no_change() -> None:
    begun = {"namespace": "uid", "record": fact(3), "steps": fact(4), "values": fact(2)}
    assert changed_facts(FRESH, begun, begun=True) == []
    assert len(changed_facts(FRESH, begun)) == 4
    assert changed_facts(FRESH, {**begun, "values": fact(9)}, begun=True) == ["the chart's values"]


def test_a_namespace_that_was_there_must_be_the_same_when_the_deploy_has_begun() -> None:
    there = {**FRESH, "namespace": "uid"}
    other = {**there, "namespace": "other"}
    assert changed_facts(there, other, begun=True) == ["namespace (uid, now other)"]


def test_an_image_that_the_deploy_has_made_itself_is_no_change() -> None:
    unmade, made = {DATABASE_IMAGE: ""}, {DATABASE_IMAGE: "host/mysql@sha256:1"}
    assert changed_facts(unmade, made, begun=True) == []
    assert len(changed_facts(unmade, made)) == 1
    assert len(changed_facts(made, {DATABASE_IMAGE: "host/mysql@sha256:2"}, begun=True)) == 1


def test_of_many_changes_some_are_named() -> None:
    assert told([str(number) for number in range(7)]) == "0, 1, 2, 3, 4 and 2 more"


def test_other_environments_settings_do_not_count() -> None:
    def of(mine: int, theirs: int) -> str:
        environments = {"dev": {"x": mine}, "prod": {"x": theirs}}
        return json.dumps(facts_of_settings({"project": "p", "environments": environments}, "dev"))

    assert of(1, 1) == of(1, 2) != of(2, 1)

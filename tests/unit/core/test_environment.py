from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from tasks.core.environment import (
    HISTORY_MAX,
    Failure,
    Holder,
    Owner,
    Record,
    Release,
    State,
    observed_state,
)
from tasks.core.errors import UnreadableError

OWNER = Owner("local", "feature-x-abc123", "feature/x", "git@example.org:a/b.git")
RELEASE = Release("1a2b3c4d", "1a2b3c4d" * 5, "m@sha256:1", "n@sha256:1", "ada@host", "2026-01-01")
RECORD = Record(State.READY, "http://x", "2026-02-01", (RELEASE,))


@pytest.mark.parametrize("state", State)
def test_a_record_survives_its_text(state: State) -> None:
    record = replace(RECORD, state=state)
    assert Record.from_json(record.to_json()) == record


def test_a_failure_is_recorded_until_a_deploy_succeeds() -> None:
    failure = Failure.of("2b3c4d5e", "2026-01-02T00:00:00+00:00", "no\n memory")
    other = replace(RELEASE, tag="2b3c4d5e")
    record = replace(RECORD.with_failure(other, failure), state=State.ROLLED_BACK)
    read = Record.from_json(record.to_json())
    assert read.failure == Failure("2b3c4d5e", "2026-01-02T00:00:00+00:00", "no memory")
    assert replace(read, state=State.DEPLOYING).failure == read.failure
    again = read.with_release(replace(other, deployed_at="2026-01-03T00:00:00+00:00"))
    assert again.failure is None
    assert replace(again, state=State.DEPLOYING).failure is None
    assert [each.cause for each in again.failures] == ["no memory"]
    with pytest.raises(UnreadableError, match="is no time"):
        Record.from_json(RECORD.with_failure(other, replace(failure, at="soon")).to_json())


def test_what_a_newer_version_has_added_to_a_record_does_no_harm() -> None:
    data = {**asdict(RECORD), "colour": "red"}
    data["history"] = [{**asdict(RELEASE), "signed": True}]
    assert Record.from_json(json.dumps(data)) == RECORD


def test_a_state_that_only_a_newer_version_knows_is_taken_for_unfinished() -> None:
    """Else this one record would end `inv list`; a deploy must not take it for working either."""
    text = json.dumps({**asdict(RECORD), "state": "hibernating"})
    record = Record.from_json(text)
    assert record == replace(RECORD, state=State.DEPLOYING)
    shown = observed_state(record, doing=None, stopped=False, complete=True)
    assert shown is State.INTERRUPTED


def test_an_owner_does_not_differ_from_itself() -> None:
    assert OWNER.difference(asdict(OWNER)) is None


@pytest.mark.parametrize("name", list(asdict(OWNER)))
def test_any_difference_of_owner_is_named(name: str) -> None:
    assert OWNER.difference({**asdict(OWNER), name: "other"}) == (
        f"its {name} is 'other', not {asdict(OWNER)[name]!r}"
    )
    said = asdict(OWNER)
    del said[name]
    assert OWNER.difference(said) == f"it has no {name}"


def test_what_says_nothing_is_nobodys_own() -> None:
    assert OWNER.difference({}) is not None
    assert OWNER.difference({"record": "{}"}) is not None


def test_history_keeps_the_newest_and_no_release_twice_in_a_row() -> None:
    again = replace(RELEASE, deployed_at="2026-01-02")
    assert RECORD.with_release(again).history == (again,)
    record = RECORD
    for number in range(HISTORY_MAX + 3):
        record = record.with_release(replace(RELEASE, mautic=f"m@sha256:{number}"))
    assert len(record.history) == HISTORY_MAX
    assert record.current == replace(RELEASE, mautic=f"m@sha256:{HISTORY_MAX + 2}")


def test_going_back_and_forth_is_remembered() -> None:
    second = replace(RELEASE, tag="2", mautic="m@sha256:2")
    record = RECORD.with_release(second).with_release(RELEASE)
    assert [release.tag for release in record.history] == [RELEASE.tag, "2", RELEASE.tag]


@pytest.mark.parametrize("state", State)
def test_a_success_ends_every_other_state(state: State) -> None:
    assert replace(RECORD, state=state).with_release(RELEASE).state is State.READY


@pytest.mark.parametrize(
    ("recorded", "stopped", "complete", "shown"),
    [
        (None, False, True, State.INTERRUPTED),
        (State.DEPLOYING, False, True, State.INTERRUPTED),
        (State.REMOVING, False, True, State.INTERRUPTED),
        (State.FAILED, False, True, State.FAILED),
        (State.FAILED, False, False, State.FAILED),
        (State.FAILED, True, False, State.FAILED),
        (State.REMOVED, True, False, State.REMOVED),
        (State.READY, True, False, State.STOPPED),
        (State.READY, False, False, State.DEGRADED),
        (State.READY, False, True, State.RUNNING),
        (State.ROLLED_BACK, True, False, State.STOPPED),
        (State.ROLLED_BACK, False, False, State.DEGRADED),
        (State.ROLLED_BACK, False, True, State.ROLLED_BACK),
    ],
)
def test_what_is_shown_of_an_environment(
    recorded: State | None, stopped: bool, complete: bool, shown: State
) -> None:
    record = replace(RECORD, state=recorded) if recorded else None
    seen = {"stopped": stopped, "complete": complete}
    assert observed_state(record, doing=None, **seen) is shown
    assert observed_state(record, doing=State.CHANGING, **seen) is State.CHANGING


# -- holders --------------------------------------------------------------------------------------


def _holder(commit: str = "", *, committed: int = 0, since: str = "2026-01-01") -> Holder:
    return Holder("ada@host", 7, since, "deploy", commit, committed)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (_holder("a", committed=2), _holder("b", committed=1), True),
        (_holder("a", committed=1), _holder("b", committed=2), False),
        (_holder("a", since="2026-01-02"), _holder("b"), True),
        (_holder("a"), _holder("b", since="2026-01-02"), False),
        (_holder("a", committed=2), _holder("a", committed=2, since="2025-01-01"), False),
    ],
    ids=["newer commit", "older commit", "came later", "came first", "same commit"],
)
def test_who_supersedes_whom(mine: Holder, theirs: Holder, *, expected: bool) -> None:
    assert mine.supersedes(theirs) is expected


def test_a_ci_job_is_named_by_its_url() -> None:
    here = _holder("1a2b")
    assert here.identity == "ada@host (process 7)"
    assert str(here) == "ada@host (pid 7, deploy 1a2b) since 2026-01-01 UTC"
    job = replace(here, job="https://ci/1")
    assert job.identity == "https://ci/1"
    assert str(job).startswith("ada@host, https://ci/1 (pid 7, ")


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("deploy", State.DEPLOYING),
        ("rollback", State.DEPLOYING),
        ("cleanup", State.REMOVING),
        ("start the platform", State.CHANGING),
    ],
)
def test_what_a_holder_is_doing(action: str, state: State) -> None:
    assert replace(_holder(), action=action).doing is state

"""GitLab's API, played by a server on loopback: one note whoever writes, bounded tries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.adapters import gitlab_api
from tasks.adapters.gitlab_api import PAUSES_SECONDS, GitlabError, GitlabProject
from tasks.core.gitlab_page import DELETED_MAX, over
from tasks.core.news import Event, News
from tasks.flows.notes import keep_note
from tests.support.clock import PlayedClock
from tests.support.gitlab_api import (
    BOT,
    ENVIRONMENTS,
    MERGE_REQUEST,
    NOTES,
    PROJECT,
    TOKEN,
    FakeGitlab,
    Fault,
)

NEWS = News(
    event=Event.RUNS,
    branch="feature/x",
    environment="dev",
    slug="feature-x-0a1b2c",
    at="2026-11-01T10:00:00+00:00",
    tag="1a2b3c4d",
)
LIFETIME = timedelta(days=30)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
OLD, NEW = "2026-01-02T03:04:05.678Z", "2026-10-31T00:00:00.000Z"


@pytest.fixture
def gitlab() -> Iterator[FakeGitlab]:
    with FakeGitlab() as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PlayedClock:
    played = PlayedClock()
    monkeypatch.setattr(gitlab_api, "CLOCK", played.clock)
    return played


def project(gitlab: FakeGitlab, token: str = TOKEN) -> GitlabProject:
    return GitlabProject(gitlab.api, f"/projects/{PROJECT}", token)


def pushed(number: int) -> News:
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=number)
    return replace(NEWS, tag=f"tag-{number}", at=at.isoformat(timespec="seconds"))


# -- the note -------------------------------------------------------------------------------------


def test_fifty_pushes_leave_one_note_with_the_last_news(gitlab: FakeGitlab) -> None:
    # More than a page, with the note at its end and beyond it.
    for number in range(99):
        gitlab.write(f"comment {number}")
    for number in range(50):
        keep_note(project(gitlab), MERGE_REQUEST, pushed(number))
        gitlab.write(f"answer {number}")
    (body,) = gitlab.own()
    assert "`tag-49`" in body
    assert len(gitlab.notes) == 99 + 50 + 1
    assert gitlab.seen.count(f"POST {NOTES}") == 1


def test_runs_at_once_end_with_one_note(gitlab: FakeGitlab) -> None:
    """All look before anyone has written, and so all of them write."""
    count = 4
    barrier = threading.Barrier(count)

    def together(method: str, path: str) -> None:
        if method == "POST":
            barrier.wait(10)

    gitlab.before = together
    with ThreadPoolExecutor(count) as pool:
        list(
            pool.map(
                lambda number: keep_note(project(gitlab), MERGE_REQUEST, pushed(number)),
                range(count),
            )
        )
    assert gitlab.seen.count(f"POST {NOTES}") == count
    assert len(gitlab.own()) == 1


def test_late_news_of_an_earlier_time_are_not_written_over_later_ones(gitlab: FakeGitlab) -> None:
    keep_note(project(gitlab), MERGE_REQUEST, pushed(2))
    keep_note(project(gitlab), MERGE_REQUEST, pushed(1))
    assert "`tag-2`" in gitlab.own()[0]


def test_nobody_elses_note_is_taken_for_it_nor_changed(gitlab: FakeGitlab) -> None:
    forged = f"{NEWS.marker}2030-01-01T00:00:00+00:00 -->\nall is well"
    gitlab.write(forged)
    other = gitlab.write(f"quoted: {forged}", BOT)
    keep_note(project(gitlab), MERGE_REQUEST, NEWS)
    assert [one["body"] for one in gitlab.notes.values()][:2] == [forged, f"quoted: {forged}"]
    assert len(gitlab.own()) == 2
    assert other in gitlab.notes


def test_two_environments_of_a_merge_request_have_a_note_each(gitlab: FakeGitlab) -> None:
    keep_note(project(gitlab), MERGE_REQUEST, NEWS)
    keep_note(project(gitlab), MERGE_REQUEST, replace(NEWS, environment="qa"))
    keep_note(project(gitlab), MERGE_REQUEST, replace(NEWS, slug=f"{NEWS.slug}-more"))
    assert len(gitlab.own()) == 3


def test_a_note_that_was_written_though_its_answer_was_lost_is_no_second_one(
    gitlab: FakeGitlab, clock: PlayedClock
) -> None:
    lost = Fault(502, does=True)

    def lose(method: str, path: str) -> None:
        if method == "POST" and lost not in gitlab.faults and not gitlab.own():
            gitlab.faults.append(lost)

    gitlab.before = lose
    keep_note(project(gitlab), MERGE_REQUEST, NEWS)
    assert gitlab.seen.count(f"POST {NOTES}") == 2
    assert len(gitlab.own()) == 1


def test_a_note_that_is_deleted_meanwhile_is_written_anew(gitlab: FakeGitlab) -> None:
    keep_note(project(gitlab), MERGE_REQUEST, pushed(1))
    (number,) = [one["id"] for one in gitlab.notes.values()]

    def delete(method: str, path: str) -> None:
        if method == "PUT":
            gitlab.notes.pop(number, None)

    gitlab.before = delete
    keep_note(project(gitlab), MERGE_REQUEST, pushed(2))
    assert "`tag-2`" in gitlab.own()[0]


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "pauses"),
    [
        (Fault(429, {"Retry-After": "7"}), [7.0]),
        (Fault(429), [1.0]),
        (Fault(503, {"Retry-After": "soon"}), [1.0]),
        (Fault(500), [1.0]),
    ],
)
def test_what_passes_is_waited_for(
    gitlab: FakeGitlab, clock: PlayedClock, fault: Fault, pauses: list[float]
) -> None:
    gitlab.faults = [fault]
    assert project(gitlab).user() == BOT
    assert clock.slept == pauses


def test_what_does_not_pass_is_given_up_in_bounded_time(
    gitlab: FakeGitlab, clock: PlayedClock
) -> None:
    gitlab.faults = [Fault(503)] * 20
    with pytest.raises(GitlabError, match="answered GET /user with 503") as caught:
        project(gitlab).user()
    assert clock.slept == list(PAUSES_SECONDS)
    assert caught.value.status == 503


def test_a_limit_of_hours_is_not_waited_for(gitlab: FakeGitlab, clock: PlayedClock) -> None:
    gitlab.faults = [Fault(429, {"Retry-After": "3600"})]
    with pytest.raises(GitlabError, match="429"):
        project(gitlab).user()
    assert clock.slept == []


@pytest.mark.parametrize(
    ("address", "token", "why"),
    [
        ("", "wrong", "answered GET /user with 401"),
        ("http://127.0.0.1:1/api/v4", TOKEN, "127.0.0.1:1 cannot be reached: Connection refused"),
        ("http://nowhere.invalid/api/v4", TOKEN, "nowhere.invalid cannot be reached"),
    ],
)
def test_a_refusal_is_told_without_the_token(
    gitlab: FakeGitlab, clock: PlayedClock, address: str, token: str, why: str
) -> None:
    with pytest.raises(GitlabError, match=why) as caught:
        GitlabProject(address or gitlab.api, f"/projects/{PROJECT}", token).user()
    assert token not in "\n".join(caught.value.lines())


def test_what_is_not_gitlabs_answer_is_an_error_of_ours(gitlab: FakeGitlab) -> None:
    """A proxy before it may answer anything with 200."""
    asked = project(gitlab)
    for ask in (
        asked.user,
        lambda: list(asked.notes(MERGE_REQUEST)),
        lambda: list(asked.stopped()),
        asked.protected,
    ):
        gitlab.faults = [Fault(200)]
        with pytest.raises(GitlabError, match="with something else"):
            ask()
    gitlab.notes[1] = {"id": 1, "body": "of nobody", "author": None}
    with pytest.raises(GitlabError, match="with something else"):
        keep_note(project(gitlab), MERGE_REQUEST, NEWS)


def test_a_token_that_may_not_write_is_told_at_once(gitlab: FakeGitlab, clock: PlayedClock) -> None:
    gitlab.may = False
    with pytest.raises(GitlabError, match=r"answered POST .*/notes with 403"):
        keep_note(project(gitlab), MERGE_REQUEST, NEWS)
    assert clock.slept == []


# -- environments ---------------------------------------------------------------------------------


def gone(gitlab: FakeGitlab) -> list[str]:
    asked = project(gitlab)
    found = over(asked.stopped(), asked.protected(), lifetime=LIFETIME, now=NOW)
    for each in found:
        assert asked.delete_environment(each.number)
    return [each.name for each in found]


def test_stopped_environments_of_branches_go_when_their_time_is_over(gitlab: FakeGitlab) -> None:
    gitlab.stop("review/old", OLD)
    gitlab.stop("review/new", NEW)
    gitlab.stop("review/runs", OLD, state="available")
    gitlab.stop("review/stopping", OLD, state="stopping")
    gitlab.stop("prod", OLD, tier="production")
    gitlab.stop("review/of-production", OLD, tier="production")
    gitlab.stop("somebody/elses", OLD)
    assert gone(gitlab) == ["review/old"]
    assert "review/old" not in [one["name"] for one in gitlab.environments.values()]
    assert len(gitlab.environments) == 6


@pytest.mark.parametrize("protected", ["review/kept", "development"])
def test_protected_ones_never_go_by_name_or_by_tier(gitlab: FakeGitlab, protected: str) -> None:
    gitlab.stop("review/kept", OLD)
    gitlab.protected = [protected]
    assert gone(gitlab) == []


def test_an_edition_without_protection_protects_none(gitlab: FakeGitlab) -> None:
    gitlab.stop("review/old", OLD)
    gitlab.protected = None
    assert gone(gitlab) == ["review/old"]


def test_nothing_goes_while_it_is_not_known_what_is_protected(
    gitlab: FakeGitlab, clock: PlayedClock
) -> None:
    gitlab.stop("review/old", OLD)
    gitlab.faults = [Fault(403)]
    with pytest.raises(GitlabError, match="protected_environments with 403"):
        project(gitlab).protected()


def test_a_thousand_go_in_one_run_and_the_rest_in_the_next(gitlab: FakeGitlab) -> None:
    for number in range(DELETED_MAX + 30):
        gitlab.stop(f"review/{number}", OLD)
    asked = project(gitlab)
    assert len(over(asked.stopped(), (), lifetime=LIFETIME, now=NOW)) == DELETED_MAX
    # And no page more is asked for than that takes.
    assert gitlab.seen.count(f"GET {ENVIRONMENTS}") == DELETED_MAX / 100

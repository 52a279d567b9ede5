"""The queues of an environment's messages, over a program of the image that is played."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tasks.core.environment import Owner
from tasks.core.errors import InputError, SuiteError, UnreadableError
from tasks.core.names import Names
from tasks.flows.data import Place
from tasks.flows.message_queue import (
    COMMANDS,
    carry_out,
    failed_rows,
    find_queues,
    plan_queue,
    queue_rows,
)
from tests.support.fakes import NAMES, a_console

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
MAIL = "Symfony\\Component\\Mailer\\Messenger\\SendEmailMessage"


class Container:
    """Plays the image's program and Mautic's console; a message whose error says so fails again."""

    def __init__(self, *errors: str) -> None:
        self.failed = {str(number): error for number, error in enumerate(errors, 1)}
        self.ran: list[tuple[str, ...]] = []
        self.status = 0
        self.says = "queue: failed [database-refused]: it is not there"
        self.told = ""

    def pipe(
        self,
        owner: Owner,
        names: Names,
        words: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        if self.status:
            on_line(self.says)
        elif words == ("mautic", "queue"):
            take((self.told or self._tell()).encode())
        else:
            self.ran.append(tuple(words))
            on_line("To retry all the messages, run messenger:consume failed")
            for each in [word for word in words if word in self.failed]:
                error = self.failed.pop(each)
                if "retry" in words[3] and "again" in error:
                    self.failed[str(int(each) + 100)] = error
        return self.status

    def _tell(self) -> str:
        queues = {
            "email": {"waiting": 3, "taken": 1, "since": "2026-11-27T11:00:00+00:00"},
            "hit": None,
            "failed": {"waiting": len(self.failed), "taken": 0, "since": None},
        }
        rows = sorted(self.failed.items(), key=lambda item: -int(item[0]))
        failed = [
            {"id": name, "class": MAIL, "since": "2026-11-26T12:00:00+00:00", "error": error}
            for name, error in rows
        ]
        return json.dumps({"queues": queues, "failed": failed})


def place_of(container: Container) -> Place:
    owner = Owner("dev", "feature-x", "feature-x", "https://git.example.org/m")
    return Place(owner, NAMES, cast("Any", container), cast("Any", None))


def test_queues_are_shown_with_their_age_and_each_failure_in_one_line() -> None:
    found = find_queues(place_of(Container("Connection refused\n  by\tsmtp:25", "")))
    assert queue_rows(found, NOW) == [
        ("email", "3", "1", "1h"),
        ("hit", "elsewhere", "-", "-"),
        ("failed", "2", "0", "-"),
    ]
    assert failed_rows(found.failed, NOW) == [
        ("2", "1d", "SendEmailMessage: nothing tells why"),
        ("1", "1d", "SendEmailMessage: Connection refused by smtp:25"),
    ]


@pytest.mark.parametrize(
    ("verb", "choice", "ids"),
    [("retry", "all", ("1", "2", "3")), ("retry", "3,1", ("1", "3")), ("remove", "2", ("2",))],
)
def test_the_chosen_ones_are_handed_to_mautics_own_command(
    verb: Any, choice: str, ids: tuple[str, ...]
) -> None:
    container = Container("a", "b", "c")
    place = place_of(container)
    plan = plan_queue(place, find_queues(place), verb, choice)
    assert [step.subject for step in plan.steps] == [f"message {each}" for each in ids]
    console, said = a_console(verbose=False)
    after = carry_out(place, plan, console)
    assert "messenger" not in said.getvalue()
    command = ("mautic", "console", "--no-interaction", COMMANDS[verb])
    assert container.ran == [(*command, *ids, "--force")]
    assert after.failed_count == 3 - len(ids)


def test_what_fails_again_is_an_error_that_says_how_many_and_why() -> None:
    place = place_of(Container("a", "again: no route"))
    plan = plan_queue(place, find_queues(place), "retry", "all")
    with pytest.raises(SuiteError, match=r"1 of 2 messages failed again.*: again: no route"):
        carry_out(place, plan, a_console()[0])


def test_nothing_to_retry_runs_nothing() -> None:
    container = Container()
    place = place_of(container)
    carry_out(place, plan_queue(place, find_queues(place), "retry", "all"), a_console()[0])
    assert container.ran == []


@pytest.mark.parametrize("choice", ["7", "1,7", ","])
def test_a_message_that_has_not_failed_is_refused(choice: str) -> None:
    place = place_of(Container("a"))
    with pytest.raises(InputError, match="has failed"):
        plan_queue(place, find_queues(place), "remove", choice)


def test_what_the_program_says_is_the_error() -> None:
    container = Container()
    container.status = 77
    with pytest.raises(SuiteError, match="it is not there"):
        find_queues(place_of(container))


def test_an_image_from_before_is_told_from_one_that_fails() -> None:
    container = Container()
    container.status, container.says = 127, "/usr/local/bin/mautic: 1: exec: queue: not found"
    with pytest.raises(SuiteError) as raised:
        find_queues(place_of(container))
    assert raised.value.message == "mautic queue ended with exit status 127"
    assert "deploy it anew" in (raised.value.hint or "")


def test_nonsense_of_an_image_is_no_traceback() -> None:
    container = Container()
    container.told = '{"queues": []}'
    with pytest.raises(UnreadableError):
        find_queues(place_of(container))

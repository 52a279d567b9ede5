"""A Helm in a thread of its own, which may have to be ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tasks.flows.kubernetes.upgrade import _Running, is_warning


def test_a_helm_that_is_given_up_before_it_has_started_is_ended_when_it_does() -> None:
    go, ended = threading.Event(), threading.Event()

    def run(started: Callable[[Callable[[], None]], None]) -> None:
        assert go.wait(30)
        started(ended.set)
        ended.wait(5)

    running = _Running(run)
    running.start()
    threading.Timer(0.1, go.set).start()
    running.end()
    assert ended.is_set()


def test_a_helm_that_fails_for_any_reason_has_applied_nothing() -> None:
    def run(_: object) -> None:
        raise OSError("no such chart")

    running = _Running(run)
    running.start()
    running.end()
    assert isinstance(running.error, OSError)


def test_helms_warnings_are_shown_but_not_that_it_failed() -> None:
    assert is_warning('level=WARN msg="unable to find a match" name=x')
    assert not is_warning('level=WARN msg="upgrade failed" name=x error="hooks failed"')
    assert not is_warning('level=INFO msg="release was updated"')

"""Several questions at once, to one server or to several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8
"""Questions at a time; the HTTP libraries keep ten connections open."""


def map_parallel(ask: Callable[[T], R], each: Iterable[T]) -> list[R]:
    """Return the answers to several questions, asked at once, in order.

    Args:
        ask: asks one; what it raises is raised here.
        each: the questions.
    """
    questions = list(each)
    if len(questions) < 2:
        return [ask(question) for question in questions]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, questions))

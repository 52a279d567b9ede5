"""Calls a function for several arguments in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8
"""Calls at a time; the HTTP libraries keep ten connections open."""


def map_parallel(ask: Callable[[T], R], each: Iterable[T]) -> list[R]:
    """Return the results of a function for several arguments, called in parallel, in order.

    Args:
        ask: the function; its exceptions are raised here.
        each: the arguments.
    """
    questions = list(each)
    if len(questions) < 2:
        return [ask(question) for question in questions]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, questions))

"""A log that breaks off, for whatever reason."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from tasks.adapters.kubernetes.transport import Stop
from tasks.flows.kubernetes.stream import stream


def test_a_node_s_own_words_in_a_log_end_nothing() -> None:
    answers = iter(
        [
            ["2026-11-26T08:00:00.000000001Z one", "rpc error: code = NotFound desc = gone"],
            ["2026-11-26T08:00:00.000000001Z one", "2026-11-26T08:00:00.000000002Z two"],
        ]
    )
    runs = iter([True, False])

    def log_lines(*_: object, **__: object) -> Iterator[str]:
        yield from next(answers)

    cluster: Any = SimpleNamespace(log_lines=log_lines)
    lines = stream(
        cluster, "n", "p", "c", tail=None, stop=Stop(), runs=lambda: next(runs), on_error=print
    )
    assert [text for _, text in lines] == ["one", "two"]

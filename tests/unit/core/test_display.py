"""Nothing that others wrote acts on a terminal, or on GitLab's job log."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.display import as_typed, is_active, readable, visible, visible_json, visible_lines


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("inv deploy --env dev", "./inv deploy --env dev"),
        (
            "no engine was started by `inv doctor --fix`",
            "no engine was started by `./inv doctor --fix`",
        ),
        ("./inv build && inv deploy", "./inv build && ./inv deploy"),
        ("inv TASK --help explains one", "./inv TASK --help explains one"),
        ("minv x, inv, inv: x, a/inv x", "minv x, inv, inv: x, a/inv x"),
    ],
)
def test_commands_are_told_as_they_can_be_typed(text: str, typed: str) -> None:
    assert as_typed(text, "./inv") == typed
    assert as_typed(text, "") == text
    assert as_typed("inv list", "/my files/inv") == "'/my files/inv' list"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("feature/é 分 🙂\tx", "feature/é 分 🙂\tx"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\r\nb\x9bc\x7f", r"a\r\nb\x9bc\x7f"),
        ("user\u202ecod.exe", r"user\u202ecod.exe"),
        ("\u2066a\u2069\u200b\ufeff\u00ad", r"\u2066a\u2069\u200b\ufeff\xad"),
        ("a\u2028b\u2029\x85", r"a\u2028b\u2029\x85"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("non-breaking\xa0space", "non-breaking\xa0space"),
    ],
)
def test_what_acts_is_shown_as_what_it_is(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_line_from_outside_starts_where_the_suite_s_own_do() -> None:
    assert visible_lines("broken\n✓ deploy: done\r\n\n  deeper") == [
        "broken",
        "  ✓ deploy: done",
        "",
        "  deeper",
    ]


def test_a_program_s_output_loses_its_colours_and_nothing_that_is_seen() -> None:
    assert readable("\x1b[31mred\x1b[0m\none\u202etwo\n") == "red\none\\u202etwo\n"


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_no_text_acts(text: str) -> None:
    for shown in (visible(text), *visible_lines(text), readable(text).replace("\n", "")):
        assert not any(is_active(x) for x in shown if x != "\t")
        shown.encode()


@given(st.dictionaries(st.text(), st.text()))
def test_json_means_the_same_and_does_not_act(value: dict[str, str]) -> None:
    shown = visible_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not any(is_active(x) for x in shown if x != "\n")

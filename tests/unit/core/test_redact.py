"""Secrets never come out, in whatever they are wrapped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.redact import MASK, MIN_LENGTH, Redactor


def redactor(*secrets: str) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.add(secret)
    return made


def test_every_occurrence_is_masked() -> None:
    assert redactor("hunter2")("hunter2 and hunter2") == f"{MASK} and {MASK}"


def test_a_secret_inside_another_leaves_no_rest() -> None:
    for order in (("abcd", "abcdefgh"), ("abcdefgh", "abcd")):
        assert redactor(*order)("abcdefgh abcd") == f"{MASK} {MASK}"


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    mask = redactor("-----BEGIN\nMIIEvQ\n-----END\n")
    assert [mask(line) for line in ("-----BEGIN", "key: MIIEvQ", "x")] == [
        MASK,
        f"key: {MASK}",
        "x",
    ]


def test_a_short_value_is_no_secret() -> None:
    assert redactor("x" * (MIN_LENGTH - 1))("xxx and text") == "xxx and text"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pa55@host/path", f"https://user:{MASK}@host/path"),
        ("mysql://root:p%40ss@db:3306/x", f"mysql://root:{MASK}@db:3306/x"),
        ("smtp://:token@mail:25", f"smtp://:{MASK}@mail:25"),
        ("https://host:8080/path", "https://host:8080/path"),
        ("https://host/a:b@c", "https://host/a:b@c"),
        ("git@host:group/project", "git@host:group/project"),
        ("see http://a:bcde@x and http://c:defg@y", f"see http://a:{MASK}@x and http://c:{MASK}@y"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, shown: str) -> None:
    assert Redactor()(text) == shown


@given(
    st.text(min_size=MIN_LENGTH, max_size=30).filter(lambda text: text not in MASK),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_no_text_brings_a_secret_out(secret: str, before: str, after: str) -> None:
    shown = redactor(secret)(f"{before}{secret}{after}")
    assert MASK in shown
    assert secret not in shown.replace(MASK, "\0")

"""Secrets never come out, in whatever they are wrapped."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
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
        ("https://user:p/a@ss/w@host/path", f"https://user:{MASK}@host/path"),
        ("https://user:12/34@host", f"https://user:{MASK}@host"),
        ("https://user:a?b#c@host", f"https://user:{MASK}@host"),
        ("https://glpat-0123456789@host/a.git", f"https://{MASK}@host/a.git"),
        ("https://glpat-0123456789abcdef:@host", f"https://{MASK}:{MASK}@host"),
        (f"https://{'a' * 40}:x-oauth-basic@github.com", f"https://{MASK}:{MASK}@github.com"),
        ("https://git@host/a.git", "https://git@host/a.git"),
        ("ssh://gitlab@host:2222/a.git", "ssh://gitlab@host:2222/a.git"),
        ("docker-image://localhost:5050/m@sha256:ab", "docker-image://localhost:5050/m@sha256:ab"),
        ("https://host/?mail=a@b", "https://host/?mail=a@b"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, shown: str) -> None:
    assert Redactor()(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc", f"Authorization: Bearer {MASK}"),
        ("'authorization': 'Basic dTpw'", f"'authorization': 'Basic {MASK}'"),
        ("> Bearer eyJh.eyJz.c-_2 <", f"> Bearer {MASK} <"),
        ("curl -H 'basic QVdTOnB3=='", f"curl -H 'basic {MASK}'"),
        ("Bearer and Basic challenges, basic authentication.", None),
        ('Www-Authenticate: Bearer realm="https://host/token",service="x"', None),
    ],
)
def test_credentials_in_headers_are_masked(text: str, shown: str | None) -> None:
    assert Redactor()(text) == (shown or text)


SECRETS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zs", "Zl", "Zp")),
    min_size=MIN_LENGTH,
    max_size=30,
)
"""What a password may be: no characters that act, and no spaces."""
TOKENS = st.text("abcXYZ0189_-.", min_size=20, max_size=60)
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda x: quote(x, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "in a URL, in lower case": lambda x: re.sub("%..", lambda y: y[0].lower(), quote(x, safe="")),
    "in a shell's single quotes": shlex.quote,
    "the same as people write it": lambda x: "'" + x.replace("'", "'\\''") + "'",
    "in a shell's double quotes": lambda x: '"' + re.sub(r'(["$`\\])', r"\\\1", x) + '"',
    "in YAML": lambda x: "'" + x.replace("'", "''") + "'",
    "in JSON": json.dumps,
    "in JSON, not ASCII": lambda x: json.dumps(x, ensure_ascii=False),
    "in Python": repr,
    "in Base64": lambda x: base64.b64encode(x.encode()).decode(),
    "in Base64 for URLs": lambda x: base64.urlsafe_b64encode(x.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(secret=SECRETS, before=st.text(max_size=9), after=st.text(max_size=9))
def test_no_quoting_and_no_encoding_brings_a_secret_out(
    form: Callable[[str], str], secret: str, before: str, after: str
) -> None:
    hidden = form(secret)
    assume(hidden.strip("'\"") not in MASK)
    shown = redactor(secret)(f"{before}{hidden}{after}")
    assert MASK in shown
    assert hidden not in shown.replace(MASK, "\0")


@given(secret=SECRETS.filter(lambda x: len(x.encode()) > 8), user=st.text(max_size=7))
def test_a_secret_in_the_base64_of_a_longer_text_is_masked(secret: str, user: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{user}:{secret}@".encode()).decode()
        start = len(f"{user}:".encode()) * 8 // 6
        left = redactor(secret)(text).replace(MASK, "\0")
        assert text[start + 2 : start + 8] not in left


@given(password=SECRETS.filter(lambda x: "@sha" not in x and x not in MASK))
def test_no_password_comes_out_of_a_url(password: str) -> None:
    """It was not encoded as it should have been, and nobody has told the redactor of it."""
    assert Redactor()(f"x https://user:{password}@host/path y") == (
        f"x https://user:{MASK}@host/path y"
    )


@given(token=TOKENS)
def test_no_token_comes_out_of_a_url_or_a_header(token: str) -> None:
    for text in (
        f"https://{token}@host/a.git",
        f"https://{token}:@host/a.git",
        f"https://{token}:x-oauth-basic@host/a.git",
        f"https://oauth2:{token}@host/a.git",
        f"Authorization: Bearer {token}",
        f'"authorization":"Bearer {token}"',
        f"Proxy-Authorization: Basic {base64.b64encode(token.encode()).decode()}",
    ):
        shown = Redactor()(f"before {text} after")
        assert token not in shown
        assert shown.startswith("before ")
        assert shown.endswith(" after")


@given(
    st.text(min_size=MIN_LENGTH, max_size=30).filter(lambda text: text not in MASK),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_no_text_brings_a_secret_out(secret: str, before: str, after: str) -> None:
    shown = redactor(secret)(f"{before}{secret}{after}")
    assert MASK in shown
    assert secret not in shown.replace(MASK, "\0")

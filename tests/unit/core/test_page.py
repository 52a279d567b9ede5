"""The page: one file that asks nobody, in which nothing that was written elsewhere can act."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.display import visible
from tasks.core.page import Assets, Cell, Column, Page, Row, render
from tasks.core.redact import Redactor

ASSETS = Assets("\nbody { color: red; }\n", "\n// one < two && three\n")
COLUMNS = (Column("Branch"), Column("State"), Column("CPU", True))


class Read(HTMLParser):
    """What a browser reads: elements with their attributes, and the text in each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag]


def a_page(*cells: Cell, state: str = "running", **more: object) -> Page:
    rows = [Row(state, cells)] if cells else []
    return Page("mautic", "now", COLUMNS, rows, 1, **more)  # type: ignore[arg-type]


def read(*cells: Cell, state: str = "running", **more: object) -> Read:
    return Read(render(a_page(*cells, state=state, **more), ASSETS, visible))


ONE = (Cell("main", link="https://main.example.com"), Cell("running"), Cell("0.5", "uses 1", 500))
PLAIN = read(*ONE)


def test_the_policy_allows_its_own_style_and_script_and_nothing_else() -> None:
    (policy,) = [
        each["content"]
        for each in PLAIN.all("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    ]
    said = dict(part.strip().split(" ", 1) for part in (policy or "").split(";"))
    assert said["default-src"] == said["base-uri"] == said["form-action"] == "'none'"
    for directive, tag in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256("".join(PLAIN.texts[tag]).encode()).digest()
        assert said[directive] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert "unsafe" not in (policy or "")


def test_nothing_is_asked_of_anybody() -> None:
    asking = {"src", "srcset", "action", "formaction", "poster", "data", "background", "ping"}
    assert [(tag, found) for tag, found in PLAIN.elements if asking & found.keys()] == []
    assert [each["href"] for each in PLAIN.all("link")] == ["data:,"]
    assert [each["href"] for each in PLAIN.all("a")] == ["https://main.example.com"]


def test_its_table_has_headers_for_those_who_do_not_see_it() -> None:
    heads = PLAIN.all("th")
    assert [each["scope"] for each in heads] == ["col", "col", "col", "row"]
    assert [each["data-label"] for each in PLAIN.all("td")] == ["State", "CPU"]
    # As cards the elements are no table any more, but for those who ask for their roles.
    roles = {found["role"] for _, found in PLAIN.elements if found.get("role")}
    assert {"table", "rowgroup", "row", "columnheader", "rowheader", "cell"} <= roles
    inputs = [found for tag, found in PLAIN.elements if tag in {"input", "select"}]
    assert len(PLAIN.all("label")) == len(inputs) == 4
    assert PLAIN.all("html") == [{"lang": "en"}]


def test_without_scripts_it_is_a_plain_table() -> None:
    assert "hidden" in PLAIN.all("form")[0]
    assert PLAIN.all("button") == []


EVIL = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "</td></table><img src=x onerror=alert(1)>",
    "]]><svg/onload=alert(1)>",
    "&lt;b&gt;",
    "</script><script>alert(1)</script>",
]


@pytest.mark.parametrize("evil", EVIL)
def test_what_somebody_has_written_is_text(evil: str) -> None:
    found = read(
        *(Cell(evil, evil, evil, f"https://a.example.com/{evil}"), Cell(evil, evil), Cell(evil)),
        state=evil,
        facts=[(evil, evil)],
        warnings=[evil],
    )
    assert [tag for tag, _ in found.elements].count("script") == 1
    known = {name for _, each in PLAIN.elements for name in each}
    assert {name for _, each in found.elements for name in each} <= known
    (row,) = found.all("tr")[1:]
    assert row["data-state"] == evil
    for tag in ("a", "small", "dt", "dd", "p", "option"):
        assert evil in found.texts[tag]


@given(st.text())
def test_whatever_is_written_makes_no_element_and_no_attribute(text: str) -> None:
    found = read(Cell(text, text, text, text), Cell(text, text), Cell(text), state=text)
    assert {tag for tag, _ in found.elements} <= {*(tag for tag, _ in PLAIN.elements)}
    assert [tag for tag, _ in found.elements].count("tr") == 2


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "JAVASCRIPT:alert(1)", " https://x", "data:text/html,x", "//x.y", ""],
)
def test_only_an_address_of_the_web_is_a_link(address: str) -> None:
    assert read(Cell("main", link=address), *ONE[1:]).all("a") == []


def test_secrets_and_characters_that_act_are_not_shown() -> None:
    redactor = Redactor()
    redactor.add("s3cret-word")
    said = Cell("a\u202eb s3cret-word", "s3cret-word", link="https://x.example.com/s3cret-word")
    html = render(a_page(said, *ONE[1:]), ASSETS, lambda text: redactor(visible(redactor(text))))
    assert "s3cret-word" not in html
    assert "\u202e" not in html
    assert r"a\u202eb" in html


def test_it_is_sorted_by_what_is_meant_and_what_is_unknown_has_no_order() -> None:
    found = read(Cell("main"), Cell("2 d", order=1.5), Cell("-", order=""))
    orders = [each["data-order"] for _, each in found.elements if "data-order" in each]
    assert orders == ["main", "1.5", ""]


def test_without_environments_it_says_so() -> None:
    assert "There are no environments." in read().texts["p"]


def test_it_is_one_whole_document() -> None:
    html = render(a_page(*ONE), ASSETS, visible)
    assert html.startswith("<!doctype html>\n")
    assert html.endswith("</html>\n")
    for tag in ("html", "head", "body", "main", "table", "thead", "tbody", "form", "dl"):
        opened = len(re.findall(rf"<{tag}[ >]", html))
        assert opened == html.count(f"</{tag}>"), tag

"""Renders a table as one HTML page that needs nothing else and asks nobody.

Style and script are inline, and a content security policy allows these two by their hashes and
nothing more: no request leaves the page, and whatever a branch is called cannot act in it. Without
scripts it is a plain table.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WEB = re.compile(r"https?://[A-Za-z0-9]")
_NUMBER = ' class="number"'
_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Column:
    """A column of the page.

    Attributes:
        title: its header.
        numeric: whether its cells are numbers.
    """

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of the page.

    Attributes:
        text: what it says first.
        note: more, below it and smaller.
        order: what it is sorted by if not by the text; empty for what is unknown, which is last.
        link: the address that the text leads to, if it is one of the web.
    """

    text: str
    note: str = ""
    order: str | float | None = None
    link: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the page: its state, and a cell for each column, the first of which names it."""

    state: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Assets:
    """Style and script of the page."""

    style: str
    script: str

    @property
    def policy(self) -> str:
        """The content security policy: these two and nothing else."""
        return (
            f"default-src 'none'; style-src '{_hash(self.style)}'; "
            f"script-src '{_hash(self.script)}'; img-src data:; base-uri 'none'; "
            "form-action 'none'"
        )


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Attributes:
        title: its heading.
        made: when and of what it was made.
        facts: a name and a value each, above the table.
        warnings: a sentence each.
        state: the number of the column that shows rows' states.
    """

    title: str
    made: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    state: int
    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()


def render(page: Page, assets: Assets, clean: Callable[[str], str]) -> str:
    """Return the page as HTML.

    Args:
        clean: makes any text safe to be seen: no secret in it, and no character that acts.
    """

    def text(said: str) -> str:
        return escape(clean(said))

    def link(address: str, said: str) -> str:
        # Anybody with rights in a namespace writes its address: `javascript:` is one as well.
        if not _WEB.match(address):
            return text(said)
        return f'<a href="{text(address)}" rel="noreferrer">{text(said)}</a>'

    def cell(column: Column, number: int, row: Row, found: Cell) -> str:
        tag = 'th scope="row" role="rowheader"' if number == 0 else 'td role="cell"'
        said = link(found.link, found.text)
        if number == page.state:
            said = f'<span class="state {_WORD.sub("-", row.state)}">{said}</span>'
        if found.note:
            said += f"<small>{text(found.note)}</small>"
        kind = _NUMBER if column.numeric else ""
        order = found.text if found.order is None else str(found.order)
        return (
            f'<{tag}{kind} data-label="{escape(column.title)}" data-order="{text(order)}">'
            f"<div>{said}</div></{tag[:2]}>"
        )

    def line(row: Row) -> str:
        cells = "".join(
            cell(column, number, row, found)
            for number, (column, found) in enumerate(zip(page.columns, row.cells, strict=True))
        )
        return f'<tr role="row" data-state="{text(row.state)}">{cells}</tr>'

    states = sorted({row.state for row in page.rows})
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(assets.policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="robots" content="noindex">',
        # Else a browser asks for /favicon.ico.
        '<link rel="icon" href="data:,">',
        f"<title>{text(page.title)}</title>",
        f"<style>{assets.style}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{text(page.title)}</h1><p>{text(page.made)}</p></header>",
        "<main>",
        _list("facts", (f"<dt>{text(a)}</dt><dd>{text(b)}</dd>" for a, b in page.facts)),
        *(f'<p class="warning">{text(each)}</p>' for each in page.warnings),
        _controls([text(column.title) for column in page.columns], [text(each) for each in states]),
        '<div class="box" role="region" aria-label="Environments" tabindex="0">',
        '<table role="table">',
        f"<caption>{text(page.title)}</caption>",
        '<thead role="rowgroup"><tr role="row">',
        *(
            f'<th scope="col" role="columnheader"{_NUMBER if column.numeric else ""}>'
            f"{text(column.title)}</th>"
            for column in page.columns
        ),
        '</tr></thead><tbody role="rowgroup">',
        *map(line, page.rows),
        "</tbody></table></div>",
        *([] if page.rows else ["<p>There are no environments.</p>"]),
        "</main>",
        f"<script>{assets.script}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _list(kind: str, pairs: Iterable[str]) -> str:
    inner = "".join(f"<div>{pair}</div>" for pair in pairs)
    return f'<dl class="{kind}">{inner}</dl>' if inner else ""


def _controls(columns: Sequence[str], states: Sequence[str]) -> str:
    """Return what filters and sorts; hidden until the script shows it. The titles are escaped."""
    by = "".join(f'<option value="{n}">{title}</option>' for n, title in enumerate(columns))
    shown = "".join(f'<option value="{state}">{state}</option>' for state in states)
    return (
        '<form hidden role="search">'
        '<label>Filter <input type="search" name="words" autocomplete="off"></label>'
        f'<label>State <select name="state"><option value="">all</option>{shown}</select></label>'
        f'<label>Sort by <select name="by">{by}</select></label>'
        '<label class="check"><input type="checkbox" name="down"> descending</label>'
        '<output aria-live="polite"></output>'
        "</form>"
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"

"""Writes what a visitor reads while a site cannot be reached. No I/O.

Anybody may read these: they name the kind of a failure, never the API's own words.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 38rem; margin: 12vh auto; }}
body {{ padding: 0 1rem; color: #1f2933; background: #fff; }}
code {{ background: #eef1f4; padding: .1em .35em; border-radius: .25em; }}
ul {{ list-style: none; padding: 0; }}
li::before {{ content: "○"; display: inline-block; width: 1.5em; }}
li.done::before {{ content: "●"; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #e4e7eb; background: #14181d; }}
  code {{ background: #2a313a; }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
_REFRESH = '<meta http-equiv="refresh" content="{seconds}">\n'


class Stage(Enum):
    """How far a site is, in a few words."""

    ASKED = "This environment is waking up"
    HELD = "Somebody is changing this environment"
    STARTING = "This environment is starting"
    FAILED = "This environment does not come up"


@dataclass(frozen=True)
class Row:
    """How many pods of one kind are ready.

    Attributes:
        title: e.g. ``web``.
        wanted: how many there are to be.
    """

    title: str
    ready: int
    wanted: int

    @property
    def is_done(self) -> bool:
        """Whether all are ready."""
        return self.ready >= self.wanted


@dataclass(frozen=True)
class Progress:
    """How far a site is.

    Attributes:
        cause: why it does not come up, by the failure table; empty if nothing is known.
        advice: what to do about that.
    """

    stage: Stage
    rows: tuple[Row, ...] = ()
    cause: str = ""
    advice: str = ""


def progress_page(slug: str, progress: Progress) -> str:
    """Return the page of a site that is waking or starting; it refreshes itself."""
    rows = "".join(_rows(progress.rows))
    shown = [f"<p><code>{html.escape(slug)}</code> {_WORDS[progress.stage]}</p>"]
    if rows:
        shown.append(f"<ul>\n{rows}</ul>")
    if progress.cause:
        shown.append(
            f"<p><strong>{html.escape(progress.cause)}</strong>: {_code(progress.advice)}.</p>"
        )
        shown.append(
            "<p><code>inv status</code> and <code>inv logs</code> say more to those who may run "
            "them. This page goes on by itself when the cause is gone.</p>"
        )
    seconds = 5 if progress.stage is Stage.FAILED else 1
    return _page(progress.stage.value, "\n".join(shown), seconds)


_WORDS = {
    Stage.ASKED: "was asleep. Waking takes some seconds; the page that you asked for follows by "
    "itself.",
    Stage.HELD: "is locked by a deploy or another command, which starts it by itself or lets this "
    "go on when it ends.",
    Stage.STARTING: "is there, but does not answer yet. This page tries again by itself.",
    Stage.FAILED: "was started, and something is in its way.",
}


def asleep_text(slug: str) -> str:
    """Return what is told to whoever wakes nothing."""
    return f"{slug} sleeps, and only a visitor's browser wakes it.\n"


def unknown_page() -> str:
    """Return the page of a name that no environment has."""
    told = "It was never deployed, or it was removed. <code>inv list</code> shows those that are."
    return _page("No environment has this name", f"<p>{told}</p>")


def unreadable_page() -> str:
    """Return the page for as long as the cluster or engine does not tell what there is."""
    return _page(
        "What runs the environments does not answer", "<p>This page tries again by itself.</p>", 5
    )


def _page(title: str, body: str, refresh_seconds: int = 0) -> str:
    refresh = _REFRESH.format(seconds=refresh_seconds) if refresh_seconds else ""
    return _PAGE.format(title=title, body=body, refresh=refresh)


def _rows(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        kind = ' class="done"' if row.is_done else ""
        yield f"<li{kind}>{html.escape(row.title)}: {row.ready} of {row.wanted} ready</li>\n"


def _code(text: str) -> str:
    """Return a text with its `code` as HTML."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))

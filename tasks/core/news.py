"""What people are told of a branch's environment: in a merge request, a job's summary, a chat.

Whoever may push a branch has written its name, and a failure's cause may repeat anything. In
Markdown both are shown as code, in which GitLab and GitHub see no mention, link, HTML, reference or
quick action; no line begins with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from tasks.core.display import visible
from tasks.core.environment import Failure

BRANCH_MAX = 255
"""Characters of a branch's name that are shown; git's own limit."""
_TIME = r"[0-9T:+-]{1,40}"


class Event(StrEnum):
    """What has become of an environment."""

    RUNS = "runs"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True)
class News:
    """What has become of a branch's environment.

    Attributes:
        slug: its environment's slug.
        at: when, ISO 8601, UTC.
        is_change: whether the one before was something else, or there was none.
        url: the site's URL; empty if nothing is known to run.
        tag: the tag of the images.
        cause: why it failed, in one line.
        became: what runs after a failure.
        evidence: the folder with the evidence of a failure, below the checkout.
        job: the URL of the pipeline's job; empty outside of pipelines.
        migrations: what a deploy has migrated.
        mail_url: where the mails are shown that the environment catches.
        login: the command that shows the login in front of the site; empty without one.
        password: the command that shows the administrator's password.
    """

    event: Event
    branch: str
    environment: str
    slug: str
    at: str
    is_change: bool = True
    url: str = ""
    tag: str = ""
    cause: str = ""
    became: str = ""
    evidence: str = ""
    job: str = ""
    migrations: str = ""
    mail_url: str = ""
    login: str = ""
    password: str = ""

    @property
    def marker(self) -> str:
        """What the note of this environment begins with, and no other note."""
        return f"<!-- mautic-multidev {self.environment}/{self.slug} "

    @property
    def evidence_url(self) -> str:
        """Where GitLab shows the evidence that the job keeps; empty without a job."""
        known = self.job and self.evidence
        return f"{self.job}/artifacts/browse/{self.evidence}/" if known else ""


@dataclass(frozen=True)
class MergeRequestNote:
    """A note that somebody has written.

    Attributes:
        number: its id.
        author: the id of its author.
    """

    number: int
    author: int
    body: str


_MARKS = {Event.RUNS: "✅", Event.FAILED: "❌", Event.REMOVED: "🧹"}


def note(news: News) -> str:
    """Return the body of a merge request's note: a hidden marker, and the news."""
    return f"{news.marker}{news.at} -->\n{markdown(news)}"


def told_at(body: str, marker: str) -> str:
    """Return the time of the news in a note's body; empty if it is not the marker's note."""
    found = re.match(rf"{re.escape(marker)}({_TIME}) -->", body)
    return found[1] if found else ""


def markdown(news: News) -> str:
    """Return news as Markdown, which has nothing that acts but its own links."""
    branch, place = code(news.branch, BRANCH_MAX), code(news.environment)
    title = {
        Event.RUNS: f"{branch} runs in {place}",
        Event.FAILED: f"{branch} was not deployed to {place}",
        Event.REMOVED: f"{branch} was removed from {place}",
    }[news.event]
    lines = [f"{_MARKS[news.event]} **{title}**", ""]
    facts = {
        "Site": f"<{news.url}>" if news.url else "",
        "Cause": code(news.cause),
        "What became of it": code(news.became),
        "Evidence": f"[what was saved](<{news.evidence_url}>)"
        if news.evidence_url
        else code(news.evidence),
        "Images": code(news.tag),
        "Migrations": code(news.migrations),
        "Mails": f"are caught and shown: <{news.mail_url}>" if news.mail_url else "",
        "Login in front of the site": code(news.login),
        "Password of `admin`": code(news.password),
    }
    lines += [f"- {name}: {fact}" for name, fact in facts.items() if fact]
    by = f" by [this job](<{news.job}>)" if news.job else ""
    return "\n".join([*lines, f"- {news.at[:16].replace('T', ' ')} UTC{by}", ""])


def code(text: str, most: int = 1000) -> str:
    """Return text from outside as Markdown's code, in one line; empty for none.

    Args:
        most: how many characters are shown.
    """
    line = " ".join(visible(" ".join(text.split())).split())
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    if not line:
        return ""
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    # A backtick beside the fence would belong to it.
    inner = f" {line} " if line[0] == "`" or line[-1] == "`" else line
    return f"{fence}{inner}{fence}"


def chat(news: News) -> str:
    """Return news as one or two lines for a chat, which mention nobody and hold no link but ours.

    Slack takes &, < and > for its own, Mattermost and others an @ before a word.
    """
    branch, place = _spoken(news.branch), news.environment
    links = " ".join(filter(None, (news.url, news.evidence_url or news.job)))
    told = {
        Event.RUNS: f"{branch} runs in {place}",
        Event.FAILED: f"{branch} was not deployed to {place}: {_spoken(news.cause)}",
        Event.REMOVED: f"{branch} was removed from {place}",
    }[news.event]
    return f"{_MARKS[news.event]} {told}" + (f"\n{links}" if links else "")


def is_for_chat(news: News) -> bool:
    """Return True if a chat is told: what a push has changed, and every failure."""
    return news.is_change or news.event is not Event.RUNS


def _spoken(text: str) -> str:
    line = Failure.of("", "", visible(text)).cause
    for character, instead in {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.items():
        line = line.replace(character, instead)
    # With a character of no width behind it, none of these is the beginning of anything.
    return re.sub(r"(@|://|\bwww\.|[*_~`\[\]()])", "\\1\u200b", line)

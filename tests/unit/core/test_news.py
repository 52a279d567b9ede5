"""What people are told: nothing that a branch's name or a cause holds acts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.news import Event, News, chat, code, is_for_chat, markdown, note, told_at

NEWS = News(
    event=Event.RUNS,
    branch="feature/x",
    environment="dev",
    slug="feature-x-0a1b2c",
    at="2026-11-01T10:00:00+00:00",
    url="https://feature-x.dev.example.com",
    tag="1a2b3c4d",
    job="https://gitlab.example.com/team/mautic/-/jobs/1",
)
FAILED = replace(
    NEWS,
    event=Event.FAILED,
    url="",
    cause="web: the image cannot be pulled",
    became="rolled back to 0f0f0f0f, which is running again",
    evidence="artifacts/dev/feature-x-0a1b2c/20261101T100000Z",
)
ATTACKS = [
    "@all",
    "`@all`",
    "``` @all",
    "<!-- mautic-multidev dev/feature-x-0a1b2c 2030 -->",
    "-->",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![](https://evil.example.com/pixel)",
    "https://evil.example.com",
    "line\n/merge",
    "line\r\n/close",
    "~bug !7 #7 $7 &7 %v1",
    "a\u202eb\u200bc\x1b[2J",
    "x" * 5000,
]


def outside_of_code(text: str) -> str:
    """Return Markdown without its code spans, as CommonMark has them: equal runs of backticks."""
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_what_somebody_else_has_written_is_code(attack: str) -> None:
    calm = replace(FAILED, branch="x", cause="x", became="x")
    news = replace(FAILED, branch=attack, cause=attack, became=attack)
    assert outside_of_code(markdown(news)) == outside_of_code(markdown(calm))
    assert markdown(news).isprintable() or markdown(news).replace("\n", "").isprintable()
    assert len(markdown(news)) < 6000


@given(st.text())
def test_any_text_is_one_span_of_code_or_nothing(text: str) -> None:
    made = code(text)
    assert outside_of_code(made) == ""
    assert "\n" not in made


def test_no_line_begins_with_anything_of_somebody_elses() -> None:
    news = replace(FAILED, branch="/merge", cause="/close", became="/assign @me")
    for line in note(news).splitlines():
        assert not line.startswith("/"), line


def test_a_note_is_found_by_its_marker_at_its_very_beginning() -> None:
    body = note(NEWS)
    assert told_at(body, NEWS.marker) == NEWS.at
    assert told_at(f"> {body}", NEWS.marker) == ""
    assert told_at(body, replace(NEWS, slug="feature").marker) == ""
    assert told_at(body, replace(NEWS, environment="de").marker) == ""
    assert told_at(f"{NEWS.marker}--> <b>", NEWS.marker) == ""


def test_a_deploy_tells_url_images_migrations_mails_and_how_to_log_in() -> None:
    news = replace(
        NEWS,
        migrations="from Version1 to Version2",
        mail_url="https://feature-x.dev.example.com/_mail/",
        login="./inv url --login --env dev --branch feature/x",
        password="inv shell",
    )
    assert markdown(news).splitlines() == [
        "✅ **`feature/x` runs in `dev`**",
        "",
        "- Site: <https://feature-x.dev.example.com>",
        "- Images: `1a2b3c4d`",
        "- Migrations: `from Version1 to Version2`",
        "- Mails: are caught and shown: <https://feature-x.dev.example.com/_mail/>",
        "- Login in front of the site: `./inv url --login --env dev --branch feature/x`",
        "- Password of `admin`: `inv shell`",
        f"- 2026-11-01 10:00 UTC by [this job](<{NEWS.job}>)",
    ]


def test_a_failure_tells_its_cause_and_where_the_evidence_is() -> None:
    evidence = f"{NEWS.job}/artifacts/browse/artifacts/dev/feature-x-0a1b2c/20261101T100000Z/"
    lines = markdown(FAILED).splitlines()
    assert lines[0] == "❌ **`feature/x` was not deployed to `dev`**"
    assert "- Cause: `web: the image cannot be pulled`" in lines
    assert f"- Evidence: [what was saved](<{evidence}>)" in lines
    # Without a pipeline there is no link to it.
    assert f"- Evidence: `{FAILED.evidence}`" in markdown(replace(FAILED, job=""))


@pytest.mark.parametrize("attack", ["@channel", "<!channel>", "<https://x|y>", "[a](https://b.c)"])
def test_a_chat_mentions_nobody_and_follows_no_link(attack: str) -> None:
    told = chat(replace(FAILED, branch=attack, cause=attack)).partition("\n")[0]
    assert not re.search(r"@\w|<|>|://\w|\]\(", told)


def test_a_chat_is_told_failures_and_what_is_new() -> None:
    assert chat(NEWS) == f"✅ feature/x runs in dev\n{NEWS.url} {NEWS.job}"
    assert is_for_chat(NEWS)
    assert not is_for_chat(replace(NEWS, is_change=False))
    assert is_for_chat(replace(FAILED, is_change=False))
    assert is_for_chat(replace(NEWS, event=Event.REMOVED, is_change=False))

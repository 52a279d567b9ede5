"""Who wakes an environment, and who counts as its visitor."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from entrance.use import is_due, visited_host
from entrance.visits import Manner, Visit, manner_of
from tasks.core.kubernetes.labels import USED_AT

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

AGENTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 AppleWebKit/537.36 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    "CCBot/2.0 (https://commoncrawl.org/faq/)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "WhatsApp/2.23.20.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "ELB-HealthChecker/2.0",
    "kube-probe/1.34",
    "Expanse, a Palo Alto Networks company, searches across the global IPv4 space",
)
"""Twenty programs that visit sites on nobody's behalf."""


@pytest.mark.parametrize("agent", AGENTS)
def test_bots_wake_nothing(agent: str) -> None:
    assert manner_of(Visit("GET", "/", PAGE, agent)) is Manner.NEVER


@pytest.mark.parametrize(
    "target",
    [
        "/mtc.js",
        "/mtc/event",
        "/mtracking.gif?d=eJw",
        "/index.php/mtracking.gif?d=eJw",
        "/email/5f1c0.gif",
        "/focus/3.js",
        "/focus/3/viewpixel.gif",
        "/dwc/slot",
        "/form/generate.js?id=1",
        "/media/js/mautic-form.js",
        "/mailer/callback",
        "/favicon.ico",
        "/robots.txt",
        "/.well-known/security.txt",
        "/healthz",
    ],
)
def test_what_is_loaded_by_itself_wakes_nothing(target: str) -> None:
    assert manner_of(Visit("GET", target, PAGE, BROWSER)) is Manner.NEVER


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_only_a_get_wakes(method: str) -> None:
    assert manner_of(Visit(method, "/s/login", PAGE, BROWSER)) is Manner.NEVER


def test_neither_who_says_nothing_of_itself_nor_what_is_fetched_in_advance_wakes() -> None:
    assert manner_of(Visit("GET", "/", PAGE, " ")) is Manner.NEVER
    assert manner_of(Visit("GET", "/", PAGE, BROWSER, "prefetch;prerender ")) is Manner.NEVER


@pytest.mark.parametrize(
    ("target", "accept", "agent", "manner"),
    [
        ("/", PAGE, BROWSER, Manner.PAGE),
        ("/s/login?x=/mtc.js", PAGE, BROWSER, Manner.PAGE),
        ("/email/view/5f1c0", PAGE, BROWSER, Manner.PAGE),
        ("/r/5f1c0", PAGE, BROWSER, Manner.PAGE),
        ("/", PAGE, "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) Chrome/130", Manner.PAGE),
        ("/api/contacts", "application/json", "curl/8.5.0", Manner.HOLD),
        ("/", "*/*", "curl/8.5.0", Manner.HOLD),
    ],
)
def test_people_wake_and_programs_of_theirs_wait(
    target: str, accept: str, agent: str, manner: Manner
) -> None:
    assert manner_of(Visit("GET", target, accept, agent)) is manner


def line(**changes: object) -> bytes:
    said = {
        "host": "a.dev.example.com",
        "status": 200,
        "method": "GET",
        "target": "/s/login",
        "accept": PAGE,
        "agent": BROWSER,
        "purpose": " ",
    }
    return b"<190>Nov 27 12:00:00 use: " + json.dumps({**said, **changes}).encode()


def test_a_visit_is_one_that_a_site_has_answered_to_somebody() -> None:
    assert visited_host(line()) == "a.dev.example.com"
    assert visited_host(line(status=404)) == "a.dev.example.com"
    for changes in ({"status": 503}, {"agent": AGENTS[0]}, {"target": "/mtracking.gif"}):
        assert visited_host(line(**changes)) == ""
    assert visited_host(line()[:60]) == visited_host(b"") == visited_host(b"{}") == ""


def test_a_use_is_written_every_five_minutes() -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def noted(text: str) -> dict[str, object]:
        return {"metadata": {"annotations": {USED_AT: text}}}

    assert not is_due(noted((now - timedelta(minutes=4)).isoformat()), now)
    assert is_due(noted((now - timedelta(minutes=5)).isoformat()), now)
    for damaged in ("", "yesterday", "2026-11-01T12:00:00"):
        assert is_due(noted(damaged), now)
    assert is_due({"metadata": {}}, now)

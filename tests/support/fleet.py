"""Many environments, as a cluster would list them, for the page that shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks.app.page import read_assets
from tasks.core.cost import GIB, Prices, Requests
from tasks.core.display import visible
from tasks.core.environment import Failure, State
from tasks.core.fleet import Fleet
from tasks.core.fleet_page import page
from tasks.core.page import render
from tasks.core.sleep import NO_REST, Pinned, Rest, Sleep
from tasks.core.summary import EnvironmentSummary

NOW = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
PRICES = Prices(0.04, 0.0045, 0.1, "USD")
CAUSE = "deployment/mautic-web: fpm is killed for its memory (1Gi): raise web.fpm.resources.limits"
EVIL = '<script>alert("1")</script>'
"""A branch that git allows, with a host that is none."""
TOPICS = ("login", "new-form", "pdf-export", "campaigns", "segments", "sms", "webhooks", "gdpr")
PEOPLE = ("ada@laptop", "grace@desk", "linus@vm")
STATES = (
    *(State.RUNNING, State.RUNNING, State.ASLEEP, State.RUNNING, State.ASLEEP, State.FAILED),
    *(State.RUNNING, State.ROLLED_BACK, State.ASLEEP, State.DEPLOYING, State.RUNNING),
)


def ago(**span: float) -> str:
    """Return a time in the past."""
    return (NOW - timedelta(**span)).isoformat(timespec="seconds")


def environment(number: int) -> EnvironmentSummary:
    """Return one of many environments, the same for the same number.

    Of the seventh it is unknown what it requests.
    """
    state = STATES[number % len(STATES)]
    topic = TOPICS[number % len(TOPICS)]
    branch = EVIL if number == 5 else f"feature/{topic}{'' if number < 8 else f'-{number}'}"
    slug = f"{topic}-{number:010x}"
    commit = f"{number * 2654435761 % 2**40:010x}" * 4
    owner = PEOPLE[number % len(PEOPLE)]
    rest = NO_REST
    if state is State.ASLEEP:
        why = ("by hand", "20:00-07:00 Mon-Fri Europe/Berlin")[number % 2]
        rest = Rest(Sleep(ago(hours=number % 90 + 1), owner, why))
    if number % 9 == 3:
        rest = Rest(rest.asleep, Pinned(ago(days=1), owner, ago(days=-9) if number % 2 else ""))
    requests = Requests(300 + 10 * (number % 7), GIB + number % 5 * GIB // 2, 5 * GIB)
    failed = state in {State.FAILED, State.ROLLED_BACK}
    return EnvironmentSummary(
        *(branch, slug, "https://git.example.org/acme/mautic"),
        f"https://{slug}.dev.example.com",
        *(state, commit[:8], commit, owner, ago(days=number % 30 + 1), ago(hours=number * 7)),
        ago(days=-(number % 14) - 1),
        rest,
        namespace=f"mautic-{slug}",
        failure=Failure("0badc0de", ago(hours=2), CAUSE) if failed else None,
        requests=None if number == 6 else requests,
    )


def fleet(count: int) -> Fleet:
    """Return so many environments, the running ones with what they use."""
    found = [environment(number) for number in range(count)]
    runs = [each for each in found if each.state is State.RUNNING]
    used = {each.namespace: Requests(40, GIB // 4) for each in runs}
    return Fleet("dev", "mautic", found, PRICES, NOW, used)


def html(shown: Fleet) -> str:
    """Return the page of environments."""
    return render(page(shown), read_assets(), visible)

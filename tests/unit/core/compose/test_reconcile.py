from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.compose.reconcile import (
    RESTARTING,
    RESTARTS_MAX,
    STRANDED,
    Fate,
    ObservedContainer,
    PresentService,
    ServiceChange,
    WantedService,
    decide,
    judge,
    keeps_restarting,
    read_services,
    short_reference,
    sort_services,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STABILITY = timedelta(seconds=5)
DIGEST = "@sha256:" + "ab" * 32
CONFIG = {
    "services": {
        "web": {"image": f"r/nginx{DIGEST}", "environment": {"A": "1"}},
        "fpm": {"image": f"r/mautic{DIGEST}", "network_mode": "service:web"},
        "cron": {"image": f"r/mautic{DIGEST}", "network_mode": "none"},
    }
}
SEEN = ObservedContainer(
    id="1",
    name="p-fpm-1",
    service="fpm",
    state="running",
    exit_status=0,
    error="",
    restarts=0,
    started_at="2026-11-22T11:59:55.123456789Z",
    health="",
    health_output="",
)
YOUNG = "2026-11-22T11:59:59.123456789Z"


def _running(**images: str) -> dict[str, PresentService]:
    services = read_services(CONFIG)
    return {
        name: PresentService(images.get(name, service.image), "running")
        for name, service in services.items()
    }


def _recorded() -> dict[str, str]:
    return {name: service.fingerprint for name, service in read_services(CONFIG).items()}


def _verbs(changes: tuple[ServiceChange, ...]) -> dict[str, str]:
    return {change.service: change.verb for change in changes}


def _services() -> list[WantedService]:
    return sort_services(list(read_services(CONFIG).values()))


def test_a_fingerprint_stands_for_everything_but_the_image() -> None:
    before = read_services(CONFIG)["web"]
    other_image = {"services": {"web": {**CONFIG["services"]["web"], "image": "other"}}}
    other_rest = {"services": {"web": {**CONFIG["services"]["web"], "environment": {"A": "2"}}}}
    assert read_services(other_image)["web"].fingerprint == before.fingerprint
    assert read_services(other_rest)["web"].fingerprint != before.fingerprint


def test_a_service_that_shares_a_network_comes_after_the_one_it_shares_it_with() -> None:
    assert [service.name for service in _services()] == ["cron", "web", "fpm"]
    assert [service.shares for service in _services()] == ["", "", "web"]


def test_nothing_to_do_when_all_is_as_recorded() -> None:
    assert set(_verbs(decide(_services(), _running(), _recorded())).values()) == {"keep"}


def test_everything_is_created_where_nothing_is() -> None:
    assert set(_verbs(decide(_services(), {}, {})).values()) == {"create"}


def test_what_changed_is_updated_and_what_hangs_on_its_network_too() -> None:
    changes = decide(_services(), _running(web="r/nginx:old"), _recorded())
    assert _verbs(changes) == {"cron": "keep", "web": "update", "fpm": "update"}
    assert "shares the network of web" in next(c.reason for c in changes if c.service == "fpm")


@pytest.mark.parametrize("service", ["cron", "fpm"])
def test_a_service_on_its_own_is_updated_alone(service: str) -> None:
    recorded = {**_recorded(), service: "another"}
    changes = decide(_services(), _running(), recorded)
    assert [change.service for change in changes if change.verb == "update"] == [service]


def test_a_service_of_which_nothing_is_recorded_is_updated() -> None:
    recorded = _recorded()
    del recorded["cron"]
    assert _verbs(decide(_services(), _running(), recorded))["cron"] == "update"


def test_a_stopped_service_is_started() -> None:
    running = {**_running(), "cron": replace(_running()["cron"], state="exited")}
    change = next(c for c in decide(_services(), running, _recorded()) if c.service == "cron")
    assert (change.verb, change.reason) == ("start", "it is exited")


@pytest.mark.parametrize(
    ("state", "reason"), [(RESTARTING, "it keeps restarting"), (STRANDED, "its network is gone")]
)
def test_what_another_start_would_not_help_is_given_a_new_container(
    state: str, reason: str
) -> None:
    running = {**_running(), "cron": replace(_running()["cron"], state=state)}
    change = next(c for c in decide(_services(), running, _recorded()) if c.service == "cron")
    assert (change.verb, change.reason) == ("update", reason)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"state": "restarting"}, True),
        ({"restarts": 1, "started_at": YOUNG}, True),
        ({"restarts": 1}, False),
        ({"started_at": YOUNG}, False),
        ({"restarts": 9, "state": "exited"}, False),
    ],
    ids=["right now", "a moment ago", "well since", "new", "stopped"],
)
def test_what_keeps_restarting(change: dict[str, object], expected: bool) -> None:
    assert keeps_restarting(replace(SEEN, **change), STABILITY, NOW) is expected  # type: ignore[arg-type]


def test_a_digest_is_cut_for_reading_and_a_tag_is_not() -> None:
    assert short_reference(f"localhost:5050/mautic/nginx{DIGEST}") == "nginx@abababababab"
    assert short_reference("mysql:8.4") == "mysql:8.4"


@pytest.mark.parametrize(
    ("change", "fate", "words"),
    [
        ({"state": "exited", "exit_status": 78}, Fate.DOOMED, "fpm ended: exit status 78"),
        ({"state": "dead", "error": "no such file"}, Fate.DOOMED, "fpm ended: no such file"),
        ({"restarts": RESTARTS_MAX, "exit_status": 1}, Fate.DOOMED, "restarted 3 times"),
        ({"state": "restarting", "restarts": 2}, Fate.COMING, "fpm is restarting"),
        ({"state": "created"}, Fate.COMING, "fpm is created"),
        ({"health": "healthy"}, Fate.UP, "fpm is healthy"),
        ({"health": "starting"}, Fate.COMING, "not healthy yet"),
        (
            {"health": "unhealthy", "health_output": "one\nno database"},
            Fate.COMING,
            "not healthy yet: no database",
        ),
        ({}, Fate.UP, "fpm runs"),
        ({"started_at": YOUNG}, Fate.COMING, "fpm has just started"),
        ({"health": "healthy", "started_at": YOUNG}, Fate.COMING, "fpm has just started"),
        (
            {"health": "healthy", "started_at": YOUNG, "restarts": 2},
            Fate.COMING,
            "fpm has just started again, after 2 restarts",
        ),
        ({"health": "healthy", "restarts": 2}, Fate.UP, "fpm is healthy"),
    ],
)
def test_what_becomes_of_a_container(change: dict[str, object], fate: Fate, words: str) -> None:
    verdict = judge(replace(SEEN, **change), 0, STABILITY, NOW)  # type: ignore[arg-type]
    assert verdict.fate is fate
    assert words in verdict.reason


def test_restarts_of_before_do_not_count() -> None:
    old = replace(SEEN, restarts=500, health="healthy")
    assert judge(old, 500, STABILITY, NOW).fate is Fate.UP
    assert judge(old, 500 - RESTARTS_MAX, STABILITY, NOW).fate is Fate.DOOMED

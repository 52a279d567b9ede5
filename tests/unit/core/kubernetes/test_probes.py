"""The answers that probes got, in words."""

from __future__ import annotations

import pytest

from tasks.core.kubernetes.probes import (
    describe_answer,
    describe_unanswered,
    is_failure_of,
    parse_killing,
)

CONTAINER = {
    "name": "nginx",
    "ports": [{"name": "http", "containerPort": 8080}],
    "startupProbe": {"httpGet": {"port": 8081, "path": "/fpm-ping"}, "timeoutSeconds": 5},
    "readinessProbe": {"httpGet": {"port": "http", "path": "/s/login"}, "timeoutSeconds": 5},
    "livenessProbe": {"tcpSocket": {"port": 3306}},
}
ADDRESS = "http://10.42.0.5:8080/s/login"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Readiness probe failed: HTTP probe failed with statuscode: 500",
            "readiness probe: GET /s/login answered 500",
        ),
        (
            f'Readiness probe failed: Get "{ADDRESS}": dial tcp 10.42.0.5:8080: connect: '
            "connection refused",
            "readiness probe: no connection to port 8080",
        ),
        (
            f'Readiness probe failed: Get "{ADDRESS}": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)",
            "readiness probe: GET /s/login timed out after 5 s",
        ),
        (
            f'Readiness probe failed: Get "{ADDRESS}": read tcp: connection reset by peer',
            "readiness probe: GET /s/login: the connection was closed without an answer",
        ),
        (
            'Startup probe failed: Get "http://10.42.0.5:8081/fpm-ping": EOF',
            "startup probe: GET /fpm-ping: the connection was closed without an answer",
        ),
        (
            "Liveness probe failed: dial tcp 10.42.0.5:3306: i/o timeout",
            "liveness probe: a connection to port 3306 timed out after 1 s",
        ),
        (
            "Liveness probe failed: dial tcp 10.42.0.5:3306: connect: connection refused",
            "liveness probe: no connection to port 3306",
        ),
        (
            "Readiness probe errored and resulted in unknown state: rpc error:\n no such thing",
            "readiness probe: rpc error: no such thing",
        ),
        ("something else", "something else"),
    ],
)
def test_a_probe_s_answer_is_told_in_the_words_of_its_spec(message: str, words: str) -> None:
    assert describe_answer(message, CONTAINER) == words


def test_a_probe_that_the_spec_does_not_have_is_told_all_the_same() -> None:
    message = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    assert describe_answer(message, {"name": "fpm"}) == "readiness probe: the request answered 503"


@pytest.mark.parametrize(
    ("started", "words"),
    [
        (True, "readiness probe: GET /s/login has not succeeded yet"),
        (False, "startup probe: GET /fpm-ping has not succeeded yet"),
    ],
)
def test_a_probe_without_an_answer_is_named(started: bool, words: str) -> None:
    assert describe_unanswered(CONTAINER, started=started) == words
    assert describe_unanswered({"name": "worker"}, started=started) == "it is not ready"


def test_a_probe_that_ended_a_container_is_known_by_the_event() -> None:
    words = "Container fpm failed startup probe, will be restarted"
    assert parse_killing(words) == ("fpm", "startup")
    assert parse_killing("Stopping container fpm") is None
    assert is_failure_of("Startup probe failed: x", "startup")
    assert not is_failure_of("Readiness probe failed: x", "startup")


@pytest.mark.parametrize(
    ("env", "page"),
    [([], "/s/login"), ([{"name": "NGINX_READY_PATH", "value": "/s/ping"}], "/s/ping")],
)
def test_the_page_behind_nginx_is_named(env: list[dict[str, str]], page: str) -> None:
    probe = {"httpGet": {"port": 8081, "path": "/ready"}}
    container = {**CONTAINER, "readinessProbe": probe, "env": env}
    message = "Readiness probe failed: HTTP probe failed with statuscode: 500"
    words = f"readiness probe: GET /ready (Mautic's {page})"
    assert describe_answer(message, container) == f"{words} answered 500"
    assert describe_unanswered(container, started=True) == f"{words} has not succeeded yet"

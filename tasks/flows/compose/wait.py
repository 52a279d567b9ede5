"""Waits for containers to come up, and fails at once if one never will."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tasks.adapters.docker.engine import Container, Engine
from tasks.adapters.wait import wait_until
from tasks.core.compose.reconcile import ContainerVerdict, Fate, judge
from tasks.core.errors import DeadlineError, EngineError

POLL_SECONDS = 0.25
TAIL_LINES = 15


def wait_until_up(
    engine: Engine,
    list_containers: Callable[[], Sequence[Container]],
    services: Sequence[str],
    *,
    say: Callable[[str], None],
    stability_seconds: float,
    deadline_seconds: float,
    hide: Callable[[str], str],
) -> None:
    """Wait until every service has a container that is up, and has been for a while.

    Args:
        list_containers: returns the project's containers.
        services: the names of the services.
        say: called once for each service that has come up.
        stability_seconds: how long each must have been running without a restart.
        deadline_seconds: how long they may take altogether.
        hide: masks secrets in log lines.

    Raises:
        EngineError: one exited, or keeps restarting; with the end of its log.
        DeadlineError: one is not up in time; with its state and the end of its log.
    """
    stability = timedelta(seconds=stability_seconds)
    before: dict[str, int] = {}
    up: set[str] = set()
    waiting: dict[str, tuple[Container | None, ContainerVerdict]] = {}

    def are_up() -> bool:
        waiting.clear()
        there = {item.service: item for item in list_containers() if not item.one_off}
        for service in services:
            container = there.get(service)
            verdict = _verdict(engine, service, container, before, stability)
            if verdict.fate is Fate.DOOMED and container is not None:
                last = hide(engine.logs(container.id, TAIL_LINES))
                raise EngineError(verdict.reason, output=last)
            if verdict.fate is not Fate.UP:
                waiting[service] = (container, verdict)
            elif service not in up:
                up.add(service)
                say(verdict.reason)
        return not waiting

    wait_until(
        "not up",
        are_up,
        deadline_seconds=deadline_seconds,
        poll_seconds=POLL_SECONDS,
        late=lambda message: _late(engine, message, waiting, hide),
    )


def _verdict(
    engine: Engine,
    service: str,
    container: Container | None,
    before: dict[str, int],
    stability: timedelta,
) -> ContainerVerdict:
    seen = engine.observe(container.id) if container else None
    if seen is None:
        return ContainerVerdict(Fate.COMING, f"{service} has no container")
    restarts = before.setdefault(seen.id, seen.restarts)
    return judge(seen, restarts, stability, datetime.now(UTC))


def _late(
    engine: Engine,
    message: str,
    waiting: Mapping[str, tuple[Container | None, ContainerVerdict]],
    hide: Callable[[str], str],
) -> DeadlineError:
    reasons = "; ".join(verdict.reason for _, verdict in waiting.values())
    container = next((item for item, _ in waiting.values() if item), None)
    return DeadlineError(
        f"{message}: {reasons}",
        output=hide(engine.logs(container.id, TAIL_LINES)) if container else None,
    )

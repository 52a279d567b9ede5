"""Reconciles the wanted services with the running ones, and judges whether they come up.

The suite decides per service what happens, instead of letting Compose compare: Compose would also
replace a container because of a label that only says when and by whom it was deployed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

MISSING = "not there yet"
"""Why something is created."""

RESTARTING = "restarting"
"""The state of a container that has exited and will be restarted by the engine."""

STRANDED = "stranded"
"""The state of a container that cannot be started: a network of its own is gone."""

RESTARTS_MAX = 3
"""Restarts during one deploy that count as a crash loop."""


@dataclass(frozen=True)
class WantedService:
    """A service as it should run.

    Attributes:
        fingerprint: a hash of its definition without the image.
        shares: the service whose network it shares, or an empty string.
    """

    name: str
    image: str
    fingerprint: str
    shares: str = ""


@dataclass(frozen=True)
class PresentService:
    """A service as the engine has it.

    Attributes:
        image: the reference its container was made from.
        state: of its container, e.g. ``running``; or ``RESTARTING`` or ``STRANDED``.
    """

    image: str
    state: str


@dataclass(frozen=True)
class ServiceChange:
    """What happens to one service.

    Attributes:
        verb: ``create``, ``update``, ``start`` or ``keep``.
    """

    service: str
    verb: str
    reason: str


def read_services(config: Mapping[str, Any]) -> dict[str, WantedService]:
    """Return the services in the output of ``docker compose config --format json``."""
    found = {}
    for name, definition in config["services"].items():
        rest = {key: value for key, value in definition.items() if key != "image"}
        text = json.dumps(rest, sort_keys=True)
        mode = definition.get("network_mode") or ""
        found[name] = WantedService(
            name=name,
            image=definition["image"],
            fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
            shares=mode.removeprefix("service:") if mode.startswith("service:") else "",
        )
    return found


def decide(
    services: Iterable[WantedService],
    present: Mapping[str, PresentService],
    recorded: Mapping[str, str],
) -> tuple[ServiceChange, ...]:
    """Return what has to happen to each service.

    Args:
        services: the services wanted; one that shares another's network comes after it.
        present: the services that have a container.
        recorded: the fingerprint each service was last started with.
    """
    changes: dict[str, ServiceChange] = {}
    for service in services:
        there = present.get(service.name)
        host = changes.get(service.shares)
        if there is None:
            verb, reason = "create", MISSING
        elif there.image != service.image:
            verb, reason = "update", f"new image {short_reference(service.image)}"
        elif recorded.get(service.name) != service.fingerprint:
            verb, reason = "update", "its configuration changed"
        elif host is not None and host.verb != "keep":
            # The network belongs to a container, and a new one has another.
            verb, reason = "update", f"it shares the network of {service.shares}"
        elif there.state == RESTARTING:
            # A new container starts at once, so that its health is soon known: the engine waits
            # longer and longer between two restarts of the same one.
            verb, reason = "update", "it keeps restarting"
        elif there.state == STRANDED:
            verb, reason = "update", "its network is gone"
        elif there.state != "running":
            verb, reason = "start", f"it is {there.state}"
        else:
            verb, reason = "keep", "unchanged"
        changes[service.name] = ServiceChange(service.name, verb, reason)
    return tuple(changes.values())


def short_reference(reference: str) -> str:
    """Return a readable form of an image's reference: name and first digits of the digest."""
    name, at, digest = reference.partition("@sha256:")
    return f"{name.rpartition('/')[2]}@{digest[:12]}" if at else reference


# -- health ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ObservedContainer:
    """The state of one container.

    Attributes:
        state: ``created``, ``running``, ``restarting``, ``exited``, ``paused`` or ``dead``.
        exit_status: of its last run.
        error: the engine's error about it, or an empty string.
        restarts: how often the engine has restarted it.
        started_at: when its present run began, ISO 8601.
        health: ``healthy``, ``unhealthy``, ``starting``, or empty without a health check.
        health_output: the output of its last health check.
    """

    id: str
    name: str
    service: str
    state: str
    exit_status: int
    error: str
    restarts: int
    started_at: str
    health: str
    health_output: str


class Fate(Enum):
    """Whether a container is up, coming up, or never will be."""

    UP = "up"
    COMING = "coming"
    DOOMED = "doomed"


@dataclass(frozen=True)
class ContainerVerdict:
    """The judgement of a container, with its reason in a few words.

    Attributes:
        reason: e.g. ``fpm ended with exit status 78``.
    """

    fate: Fate
    reason: str


def keeps_restarting(seen: ObservedContainer, stability: timedelta, now: datetime) -> bool:
    """Return True if a container was restarted and has not been running for long since.

    Args:
        seen: its state.
        stability: how long it must have been running.
        now: the present time.
    """
    if seen.state == RESTARTING:
        return True
    return seen.state == "running" and seen.restarts > 0 and _age(seen, now) < stability


def judge(
    seen: ObservedContainer, restarts_before: int, stability: timedelta, now: datetime
) -> ContainerVerdict:
    """Return whether a container is up, coming up, or never will be.

    Args:
        seen: its state.
        restarts_before: its restarts when the wait began: workers exit, and are restarted, by
            design.
        stability: how long it must have been running without a restart: a crashing program may pass
            its health check after each start.
        now: the present time.
    """
    name = seen.service or seen.name
    restarts = seen.restarts - restarts_before
    ended = seen.error or f"exit status {seen.exit_status}"
    if seen.state in {"exited", "dead"}:
        return ContainerVerdict(Fate.DOOMED, f"{name} ended: {ended}")
    if restarts >= RESTARTS_MAX:
        return ContainerVerdict(Fate.DOOMED, f"{name} was restarted {restarts} times: {ended}")
    if seen.state != "running":
        return ContainerVerdict(Fate.COMING, f"{name} is {seen.state}: {ended}")
    if seen.health not in {"", "healthy"}:
        said = seen.health_output.splitlines()
        why = f": {said[-1]}" if said else ""
        return ContainerVerdict(Fate.COMING, f"{name} runs, but is not healthy yet{why}")
    if _age(seen, now) < stability:
        again = f" again, after {restarts} restarts" if restarts else ""
        return ContainerVerdict(Fate.COMING, f"{name} has just started{again}")
    return ContainerVerdict(Fate.UP, f"{name} is healthy" if seen.health else f"{name} runs")


def _age(seen: ObservedContainer, now: datetime) -> timedelta:
    """Return how long a running container has been running."""
    return now - datetime.fromisoformat(f"{seen.started_at[:19]}+00:00")


def sort_services(services: Sequence[WantedService]) -> list[WantedService]:
    """Return the services in order: those that share a network after its owner."""
    return sorted(services, key=lambda service: (bool(service.shares), service.name))

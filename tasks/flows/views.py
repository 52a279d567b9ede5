"""Tables of environments and their services."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tasks.core.environment import Record, State
from tasks.core.errors import InputError
from tasks.core.foresight import ObjectChange, object_lines
from tasks.core.names import Names
from tasks.core.sleep import Rest
from tasks.core.spans import since, until
from tasks.core.summary import EnvironmentSummary
from tasks.flows.target import Inspector, ServiceStatus

LIST_COLUMNS = ("branch", "state", "commit", "age", "expires", "owner", "url")
RELEASE_COLUMNS = ("release", "deployed (UTC)", "by", "result", "runs")
STATUS_COLUMNS = ("service", "state", "health", "image", "status")


def no_environment_error(
    inspector: Inspector, names: Names, *, is_branch: bool = True
) -> InputError:
    """Return the error for a branch without an environment, with similar names as a hint.

    Args:
        inspector: looks at those that there are.
        names: of the branch.
        is_branch: whether it is known to be one; ``inv deploy`` takes no other name by itself.
    """
    states = {item.branch: item.state for item in inspector.list() if item.branch}
    if states.pop(names.branch, None) is State.INTERRUPTED:
        return InputError(
            f"{names.branch} in {names.environment} was interrupted, and has no services",
            hint=f"inv deploy {names.options} makes it anew, inv cleanup {names.options} removes "
            "the rest",
        )
    close = difflib.get_close_matches(names.branch, states, n=3, cutoff=0.5)
    return absent_error(names, close, is_branch=is_branch)


def absent_error(names: Names, close: Sequence[str] = (), *, is_branch: bool = True) -> InputError:
    """Return the error for a branch without an environment.

    Args:
        names: of the branch.
        close: branches with similar names that have one.
        is_branch: whether it is known to be one; the remote may have it without being asked.
    """
    new = "" if is_branch else " (--new if no branch has that name)"
    hint = f"make one: inv deploy {names.options}{new}"
    if close:
        hint = f"did you mean {' or '.join(close)}? Otherwise {hint}"
    return InputError(f"{names.branch} has no environment in {names.environment}", hint=hint)


def drift_text(changes: Sequence[ObjectChange]) -> str:
    """Return what differs from what was deployed, object by object."""
    return "\n".join(object_lines(changes))


def list_rows(environments: Sequence[EnvironmentSummary], now: datetime) -> list[tuple[str, ...]]:
    """Return environments as rows of a table under ``LIST_COLUMNS``."""
    return [
        (
            item.title,
            _state(item, now),
            item.tag or "-",
            since(item.deployed_at, now),
            _expiry(item, now),
            item.owner or "-",
            item.url,
        )
        for item in environments
    ]


def _state(item: EnvironmentSummary, now: datetime) -> str:
    asleep = item.rest.asleep
    if item.state is not State.ASLEEP or asleep is None:
        return item.state
    return f"{item.state} {since(asleep.since, now)} ({asleep.why}, {asleep.by})"


def _expiry(item: EnvironmentSummary, now: datetime) -> str:
    pin = item.rest.pinned(now)
    if pin is None:
        return until(item.expires_at, now)
    left = f" {until(pin.until, now)}" if pin.until else ""
    return f"pinned{left} ({pin.by})"


def release_parts(record: Record) -> list[dict[str, Any]]:
    """Return an environment's deploys as JSON-ready data, the newest first.

    A failed one has ended by a way back, so it never runs; the last that succeeded does.
    """
    done = [(release, "done", release is record.current) for release in record.history]
    failed = [(release, "failed", False) for release in record.failures]
    newest = sorted([*done, *failed], key=lambda each: each[0].deployed_at, reverse=True)
    return [{**asdict(release), "result": result, "runs": runs} for release, result, runs in newest]


def release_rows(parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return what ``release_parts`` does as rows of a table under ``RELEASE_COLUMNS``."""
    return [
        (
            each["tag"],
            each["deployed_at"][:16].replace("T", " "),
            each["owner"],
            each["result"],
            "yes" if each["runs"] else "",
        )
        for each in parts
    ]


def rest_lines(rest: Rest, now: datetime) -> list[str]:
    """Return that an environment sleeps, and that it is pinned, as a line each."""
    return [str(each) for each in (rest.asleep, rest.pinned(now)) if each]


def rest_part(rest: Rest, now: datetime) -> list[dict[str, Any]]:
    """Return the same as JSON-ready data, shaped like a service; nothing if it is neither."""
    pin = rest.pinned(now)
    if not (rest.asleep or pin):
        return []
    state = State.ASLEEP if rest.asleep else "awake"
    known = {"asleep": rest.asleep, "pin": pin}
    said = {key: asdict(value) if value else None for key, value in known.items()}
    return [{"service": "environment", "state": state, **said}]


def status_rows(parts: Sequence[ServiceStatus]) -> list[tuple[str, ...]]:
    """Return services as rows of a table under ``STATUS_COLUMNS``."""
    return [
        (part.service, part.state, part.health or "-", _image(part), part.uptime) for part in parts
    ]


def now() -> datetime:
    """Return the present time, UTC."""
    return datetime.now(UTC)


def _image(part: ServiceStatus) -> str:
    digest = part.image.partition("@sha256:")[2][:12]
    return " ".join(word for word in (part.tag, digest) if word) or part.image

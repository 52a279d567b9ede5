"""What a namespace in a cluster says of its environment's sleep.

That it sleeps, is pinned and when it was used stands in its annotations; how each workload sleeps,
at the workloads (``core/kubernetes/stages.py``).
"""

from __future__ import annotations

import json
from dataclasses import asdict

from tasks.core.environment import Record, parse
from tasks.core.kubernetes.labels import ASLEEP, PIN, USED_AT
from tasks.core.kubernetes.objects import Object, annotations_of
from tasks.core.sleep import Pinned, Rest, Sleep, newest_time


def rest_of(namespace: Object, record: Record | None) -> Rest:
    """Return what a namespace says of its sleep.

    Args:
        record: the environment's record, or None.

    Raises:
        UnreadableError: it is damaged.
    """
    said = annotations_of(namespace)
    asleep, pin = said.get(ASLEEP), said.get(PIN)
    current = record.current if record else None
    return Rest(
        parse(Sleep, asleep, f"the annotation {ASLEEP}") if asleep else None,
        parse(Pinned, pin, f"the annotation {PIN}") if pin else None,
        newest_time(said.get(USED_AT, ""), current.deployed_at if current else ""),
    ).checked()


def annotated(value: Sleep | Pinned | None) -> str | None:
    """Return the annotation's text of a sleep or a pin; None, which takes it away, for none."""
    return json.dumps(asdict(value), sort_keys=True) if value else None

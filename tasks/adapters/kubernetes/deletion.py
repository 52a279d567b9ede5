"""Waits until deleted objects are gone from a cluster, and reports what blocks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.wait import CLOCK, Clock, wait_until
from tasks.core.errors import ClusterError, DeadlineError
from tasks.core.kubernetes.objects import Object, title_of, uid_of
from tasks.core.kubernetes.removal import (
    blocker_of,
    has_discovery_failure,
    is_stuck,
    is_worth_reporting,
)

WAIT_SECONDS = 300
"""Timeout of every wait, even while there is progress."""
POLL_SECONDS = 0.2
NAMED_MAX = 5
"""How many of the objects that block a namespace are named."""

_REMAINING = re.compile(r"([\w.-]+)\. ?has \d+ resource instances")
"""The namespace controller's message about a kind: plural and group (pkg/controller/namespace)."""


def wait_gone(
    cluster: Cluster,
    kind: str,
    name: str,
    namespace: str | None = None,
    *,
    uid: str = "",
    say: Callable[[str], None],
    patient: bool = False,
    clock: Clock = CLOCK,
) -> None:
    """Wait until an object that is being deleted is gone.

    Args:
        uid: its uid, if another object may take its name at once; by default the present one's.
        say: called with what blocks it, after a while and whenever that changes.
        patient: wait on even without progress: somebody else has requested the deletion.

    Raises:
        DeadlineError: it is not gone; the message names what blocks it.
    """
    end = _End(cluster, kind, name, namespace, uid, say, patient=patient, clock=clock)
    wait_until(
        end.problem,
        end.has_come,
        deadline_seconds=WAIT_SECONDS,
        poll_seconds=POLL_SECONDS,
        late=end.late,
        clock=clock,
    )


class _End:
    """Tracks the deletion of one object."""

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        name: str,
        namespace: str | None,
        uid: str,
        say: Callable[[str], None],
        *,
        patient: bool,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._kind, self._name, self._namespace = kind, name, namespace
        self._uid = uid
        self._say = say
        self._patient = patient
        self._clock = clock
        self._began = self._moved = clock.monotonic()
        self._unlisted: float | None = None
        self._found: Object = {}
        self._held = self._told = ""

    @property
    def problem(self) -> str:
        """What the wait reports until then."""
        return f"{self._kind.lower()}/{self._name} is not gone"

    def has_come(self) -> bool:
        """Return True if the object is gone; otherwise report what blocks it.

        Raises:
            DeadlineError: there is no progress, so waiting longer is useless.
        """
        found = self._cluster.get(self._kind, self._name, self._namespace)
        self._uid = self._uid or (uid_of(found) if found else "")
        if found is None or uid_of(found) != self._uid:
            return True
        self._found, now, held = found, self._clock.monotonic(), blocker_of(found)
        if held != self._held:
            self._held, self._moved = held, now
        waited, unlisted = now - self._began, self._since_unlisted(now)
        if held != self._told and (
            has_discovery_failure(found) or is_worth_reporting(held, waited=waited)
        ):
            self._told = held
            named = _named(self._cluster, found, held)
            self._say(f"waiting for the end of {self._kind.lower()}/{self._name}: {named}")
        # The requester cannot fix what blocks every namespace.
        patient = self._patient and not unlisted
        still = now - self._moved
        if not patient and is_stuck(held, waited=waited, still=still, unlisted=unlisted):
            raise self.late(f"{self.problem} after {waited:.0f} s")
        return False

    def _since_unlisted(self, now: float) -> float:
        """Return for how many seconds the object's controller has not been able to list it."""
        if not has_discovery_failure(self._found):
            self._unlisted = None
            return 0
        self._unlisted = now if self._unlisted is None else self._unlisted
        return now - self._unlisted

    def late(self, message: str) -> DeadlineError:
        """Return the error that names what blocks the object."""
        named = _named(self._cluster, self._found, self._held)
        return DeadlineError(f"{message}: {named}", hint=_hint(self._found))


def _named(cluster: Cluster, found: Object, held: str) -> str:
    """Return what blocks an object; for a namespace with the names of the blocking objects."""
    if found["kind"] != "Namespace":
        return held
    names = list(_holders(cluster, found["metadata"]["name"], held))
    if len(names) > NAMED_MAX:
        names = [*names[:NAMED_MAX], f"and {len(names) - NAMED_MAX} more"]
    return f"{held} ({', '.join(names)})" if names else held


def _holders(cluster: Cluster, namespace: str, held: str) -> Iterator[str]:
    """Yield the remaining objects of a namespace that this user may list."""
    left = set(_REMAINING.findall(held))
    for kind, place in KINDS.items():
        group = place.api.rpartition("/")[0]
        if (f"{place.plural}.{group}" if group else place.plural) not in left:
            continue
        try:
            items = cluster.find(kind, namespace, metadata_only=True)
        except ClusterError:  # a CI job's rights go with the namespace
            continue
        for item in items:
            finalizers = ", ".join(item["metadata"].get("finalizers") or ())
            because = f" by {finalizers}" if finalizers else ""
            yield f"{title_of(item)}{because}"


def _hint(found: Object) -> str:
    if has_discovery_failure(found):
        return (
            "an API group does not answer, and no namespace of the cluster can go before it does: "
            "`kubectl get apiservices` shows it; mend or delete it. The namespace then goes by "
            "itself"
        )
    return (
        "its deletion has been asked for, and goes on without this run when what holds it up has "
        "let go; run the same again to be sure"
    )

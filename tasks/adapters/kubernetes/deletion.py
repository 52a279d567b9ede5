"""Waiting for the end of what is being deleted from a cluster, and naming what holds it up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from tasks.adapters.kubernetes.cluster import KINDS, Cluster
from tasks.core.errors import ClusterError, DeadlineError
from tasks.core.kubernetes.objects import Object, title_of, uid_of
from tasks.core.kubernetes.removal import cannot_be_listed, held_by, is_stuck, is_worth_a_word

WAIT_SECONDS = 300
"""How long anything is waited for, however much moves."""
POLL_SECONDS = 0.2
NAMED_MAX = 5
"""How many of the objects that hold a namespace are named."""

_REMAINING = re.compile(r"([\w.-]+)\. ?has \d+ resource instances")
"""The namespace controller's words for a kind, by plural and group (pkg/controller/namespace)."""


def wait_gone(
    cluster: Cluster,
    kind: str,
    name: str,
    namespace: str | None = None,
    *,
    uid: str = "",
    say: Callable[[str], None],
    patient: bool = False,
) -> None:
    """Wait for the end of an object that is being deleted.

    Args:
        cluster: the cluster.
        kind: the object's kind.
        name: its name.
        namespace: its namespace.
        uid: its uid, where another one may take its name at once; by default whichever is there.
        say: told what holds it up, once it has taken a while and whenever that changes.
        patient: wait on though nothing moves: somebody else has asked for its end.

    Raises:
        DeadlineError: naming what holds it up.
    """
    began = moved = time.monotonic()
    held = told = ""
    while found := cluster.get(kind, name, namespace):
        uid = uid or uid_of(found)
        if uid_of(found) != uid:
            return
        now = time.monotonic()
        words = held_by(found)
        if words != held:
            held, moved = words, now
        if held != told and is_worth_a_word(held, waited=now - began):
            told = held
            say(f"waiting for the end of {kind.lower()}/{name}: {_named(cluster, found, held)}")
        stuck = not patient and is_stuck(held, waited=now - began, still=now - moved)
        if stuck or now - began > WAIT_SECONDS:
            raise DeadlineError(
                f"{kind.lower()}/{name} is not gone after {now - began:.0f} s: "
                f"{_named(cluster, found, held)}",
                hint=_hint(found),
            )
        time.sleep(POLL_SECONDS)


def _named(cluster: Cluster, found: Object, held: str) -> str:
    """Return what holds an object up, with the names of the objects in a namespace that do."""
    if found["kind"] != "Namespace":
        return held
    names = list(_holders(cluster, found["metadata"]["name"], held))
    if len(names) > NAMED_MAX:
        names = [*names[:NAMED_MAX], f"and {len(names) - NAMED_MAX} more"]
    return f"{held} ({', '.join(names)})" if names else held


def _holders(cluster: Cluster, namespace: str, held: str) -> Iterator[str]:
    """Yield the objects of a namespace that are still there, as far as this user may look."""
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
    if cannot_be_listed(found):
        return (
            "an API group does not answer, and no namespace of the cluster can go before it does: "
            "`kubectl get apiservices` shows it; mend or delete it. The namespace then goes by "
            "itself"
        )
    return (
        "its deletion has been asked for, and goes on without this run when what holds it up has "
        "let go; run the same again to be sure"
    )

"""Furnishes namespaces: puts the floor in, keeps it there, and counts.

The label is set after the objects are there, and read by policies that admit no workload without
it. So each step may be cut off anywhere, and repeated. Two provisioners at once could furnish one
namespace too many; the platform runs one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Lock
from typing import Any

from provisioner.cluster import ClusterError, Kubernetes
from provisioner.floor import Floor, is_furnished, manifest, oldest_first
from provisioner.rules import ForeignError, Object, Place, Rules, place_of

log = logging.getLogger("provisioner")


class FullError(Exception):
    """As many environments exist as are allowed."""


class Furnisher:
    """Gives namespaces their floor."""

    def __init__(self, rules: Rules, floor: Floor, cluster: Kubernetes) -> None:
        self._rules = rules
        self._floor = floor
        self._cluster = cluster
        self._counting = Lock()

    def furnish(self, namespace: Object) -> Place:
        """Give a namespace its floor, or restore it; return what the namespace is.

        Raises:
            ForeignError: the namespace is not what it says it is.
            FullError: there is no room for another one.
            ClusterError: the API server is away, or refuses.
        """
        place = place_of(self._rules, namespace)
        self._lay(place)
        if is_furnished(namespace):
            return place
        # Between counting and labelling nobody else may label one.
        with self._counting:
            self._check_room(place)
            self._cluster.mark_furnished(place)
        log.info("%s: is furnished", place.namespace)
        return place

    def sweep(self) -> None:
        """Restore the floor of all namespaces that have one.

        One that fails keeps no other from its own.

        Raises:
            ClusterError: the namespaces cannot be listed.
        """
        for namespace in self._cluster.namespaces():
            if not is_furnished(namespace) or _is_going(namespace):
                continue
            try:
                self._lay(place_of(self._rules, namespace))
            except (ClusterError, ForeignError) as error:
                log.warning("%s: floor: %s", namespace["metadata"]["name"], error)

    def _lay(self, place: Place) -> None:
        for kind, spec in self._floor.wanted(place).items():
            if spec is None:
                self._cluster.remove_floor(kind, place.namespace)
            else:
                self._cluster.put_floor(kind, manifest(kind, place.namespace, spec))

    def _check_room(self, place: Place) -> None:
        """Refuse a namespace that there is no room for.

        Those that have their floor come first, even while they go: their pods may still run. Then
        those that wait, the oldest first.

        Raises:
            FullError: there is none.
        """
        limit = self._floor.limit_for(place)
        if not limit:
            return
        beside = [one for one in self._cluster.namespaces() if self._is_of(one, place.environment)]
        furnished = [one for one in beside if is_furnished(one)]
        if any(one["metadata"]["uid"] == place.uid for one in furnished):
            return
        waiting = [one for one in beside if not is_furnished(one) and not _is_going(one)]
        room = max(limit - len(furnished), 0)
        first = {one["metadata"]["uid"] for one in list(oldest_first(waiting))[:room]}
        if place.uid not in first:
            raise FullError(f"{len(furnished)} of {limit} environments exist")

    def _is_of(self, namespace: Mapping[str, Any], environment: str) -> bool:
        """Return True if a namespace really is of an environment: strangers take no room."""
        try:
            return place_of(self._rules, namespace).environment == environment
        except ForeignError:
            return False


def _is_going(namespace: Mapping[str, Any]) -> bool:
    return bool(namespace["metadata"].get("deletionTimestamp"))

"""Wakes environments, each in a thread of its own, however many visitors wait for it."""

from __future__ import annotations

import logging
import threading
import time

from entrance.api import Api, Object
from entrance.fleet import Fleet
from entrance.rules import Place, Rules, is_of, sleeps
from entrance.waking import Steps, Waking
from tasks.core.kubernetes.labels import WAKING
from tasks.core.kubernetes.objects import annotations_of

log = logging.getLogger("entrance")

RESUME_SECONDS = 5
"""How often what another process has begun is looked for."""


class Waker:
    """Wakes environments.

    Args:
        me: who holds their Leases meanwhile.
    """

    def __init__(self, api: Api, rules: Rules, fleet: Fleet, me: str) -> None:
        self._api = api
        self._rules = rules
        self._fleet = fleet
        self._me = me
        self._running: dict[str, Waking] = {}
        self._lock = threading.Lock()

    def find(self, place: Place) -> Object | None:
        """Return the namespace of a place, if it really is that environment."""
        found = self._fleet.get(place.namespace)
        return found if found and is_of(found, place) else None

    def ask(self, place: Place, namespace: Object) -> Waking:
        """Return the waking of an environment, begun unless it runs already."""
        with self._lock:
            waking = self._running.get(place.namespace)
            if waking is None:
                steps = Steps(self._api, place.namespace, self._me)
                waking = self._running[place.namespace] = Waking(place, steps)
                threading.Thread(
                    target=self._run,
                    args=(waking, sleeps(namespace)),
                    name=place.namespace,
                    daemon=True,
                ).start()
            waking.asked = time.monotonic()
            return waking

    def start(self) -> None:
        """Go on with what a process that is gone has begun, in a thread of its own."""
        threading.Thread(target=self._resume_for_ever, name="resume", daemon=True).start()

    def _run(self, waking: Waking, sleeping: bool) -> None:
        where = waking.place.namespace
        if sleeping:
            log.info("%s: wakes", where)
        try:
            waking.run(sleeping=sleeping)
        finally:
            with self._lock:
                del self._running[where]
        if sleeping and waking.is_open.is_set():
            log.info("%s: is awake", where)

    def _resume_for_ever(self) -> None:
        while True:
            for namespace in self._fleet.all():
                place = self._rules.place_of_namespace(namespace)
                if place and WAKING in annotations_of(namespace):
                    self.ask(place, namespace)
            time.sleep(RESUME_SECONDS)

"""Knows the namespaces of all environments, by a watch."""

from __future__ import annotations

import logging
import threading
import time

from entrance.api import Api, ApiError, Object
from tasks.core.kubernetes.labels import MANAGED

log = logging.getLogger("entrance")

AGAIN_SECONDS = 2


class Fleet:
    """The namespaces of all environments, as the API server last told.

    Attributes:
        known: set once they have been listed.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._found: dict[str, Object] = {}
        self.known = threading.Event()

    def get(self, name: str) -> Object | None:
        """Return a namespace, or None."""
        return self._found.get(name)

    def all(self) -> list[Object]:
        """Return all namespaces."""
        return list(self._found.values())

    def start(self) -> None:
        """Follow them, in a thread of its own."""
        threading.Thread(target=self._follow, name="fleet", daemon=True).start()

    def _follow(self) -> None:
        while True:
            try:
                self._watch()
            except ApiError as error:
                log.warning("namespaces: %s", error)
                time.sleep(AGAIN_SECONDS)

    def _watch(self) -> None:
        selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
        for what, said in self._api.follow("namespaces", selector):
            if isinstance(said, list):
                self._found = {one["metadata"]["name"]: one for one in said}
                self.known.set()
            elif what == "DELETED":
                self._found.pop(said["metadata"]["name"], None)
            elif what in {"ADDED", "MODIFIED"}:
                self._found[said["metadata"]["name"]] = said

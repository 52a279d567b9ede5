"""Writes when an environment was visited last: at most every few minutes, to its namespace."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from entrance.api import Api, ApiError, Object
from entrance.fleet import Fleet
from entrance.rules import Rules, is_of
from entrance.visits import Manner, Visit, manner_of
from tasks.core.kubernetes.labels import USED_AT
from tasks.core.kubernetes.objects import annotations_of

log = logging.getLogger("entrance")

EVERY = timedelta(minutes=5)
WRITE_SECONDS = 15.0
DATAGRAM_BYTES = 65535
SERVER_ERROR = 500


def visited_host(datagram: bytes) -> str:
    """Return the host that somebody has visited, by a line of nginx' log; empty if it was nobody.

    What was cut off, because an address was very long, is nobody's.
    """
    try:
        said: Mapping[str, Any] = json.loads(datagram[datagram.index(b"{") :])
        keys = ("method", "target", "accept", "agent", "purpose")
        visit = Visit(*(str(said[key]) for key in keys))
        is_answered = 0 < int(said["status"]) < SERVER_ERROR
        return str(said["host"]) if is_answered and manner_of(visit) is not Manner.NEVER else ""
    except (ValueError, KeyError, TypeError):
        return ""


def is_due(namespace: Object, now: datetime) -> bool:
    """Return True if a namespace's last use was noted long enough ago; a damaged time is none."""
    try:
        noted = datetime.fromisoformat(annotations_of(namespace).get(USED_AT, ""))
        return now - noted >= EVERY
    except (ValueError, TypeError):
        return True


class Uses:
    """What was visited since the last write.

    Args:
        port: where nginx tells of visits.
    """

    def __init__(self, api: Api, rules: Rules, fleet: Fleet, port: int) -> None:
        self._port = port
        self._api = api
        self._rules = rules
        self._fleet = fleet
        self._hosts: set[str] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen, and write, in threads of their own."""
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", self._port))
        for work in (lambda: self._listen(receiver), self._write_for_ever):
            threading.Thread(target=work, name="use", daemon=True).start()

    def note(self, host: str) -> None:
        """Note a visit."""
        with self._lock:
            self._hosts.add(host)

    def write(self, now: datetime) -> None:
        """Write the visits that were noted, where none was written a short time ago.

        Raises:
            ApiError: the API server is away, or refuses.
        """
        with self._lock:
            hosts, self._hosts = self._hosts, set()
        for host in hosts:
            place = self._rules.place_of(host)
            found = self._fleet.get(place.namespace) if place else None
            if place and found and is_of(found, place) and is_due(found, now):
                said = {USED_AT: now.isoformat(timespec="seconds")}
                meta = {"uid": found["metadata"]["uid"], "annotations": said}
                self._api.patch("namespaces", place.namespace, "", {"metadata": meta})

    def _listen(self, receiver: socket.socket) -> None:
        while True:
            if host := visited_host(receiver.recv(DATAGRAM_BYTES)):
                self.note(host)

    def _write_for_ever(self) -> None:
        while True:
            time.sleep(WRITE_SECONDS)
            try:
                self.write(datetime.now(UTC))
            except ApiError as error:
                log.warning("last use: %s", error)

"""The seeds on the database server: loaded when a deploy asks for one, dropped when none does."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import BinaryIO, Protocol

from provisioner.cluster import Kubernetes, SeedRecord
from provisioner.seed_file import SeedError, parts, statements

log = logging.getLogger("provisioner")

UNASKED_FOR = timedelta(days=3)
"""After which a seed goes: the next deploy that asks for it loads it again. No clone takes as long.
"""
LINE_MAX = 1024
Say = Callable[[str], None]


class SeedServer(Protocol):
    """A database server, as ``provisioner.server.Server`` is one."""

    def plant(self, seed: str, statements: Callable[[], Iterable[bytes]], say: Say) -> bool:
        """Load a seed; return False if it is there."""

    def uproot(self, seed: str, is_over: Callable[[], bool]) -> bool:
        """Drop a seed; return False if one is being loaded, or it is not over."""


@dataclass(frozen=True)
class Order:
    """What the first line of an order says.

    Attributes:
        seed: its id.
        key: what it is encrypted with.
        size: how many bytes follow.
    """

    seed: str
    key: bytes
    size: int

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        """Return the order that a line of JSON gives.

        Raises:
            SeedError: it gives none; nothing of it is repeated, for the key is in it.
        """
        try:
            found = json.loads(line)
            seed, key, size = found["id"], bytes.fromhex(found["key"]), found["bytes"]
            if re.fullmatch(r"[0-9]{8}t[0-9]{6}", seed) and len(key) == 32 and size > 0:
                return cls(seed, key, size)
        except (ValueError, KeyError, TypeError):
            pass
        # Not from the error, which would show the line.
        raise SeedError("stdin must begin with a line of JSON: id, key, bytes")


def order_in(file: BinaryIO, fingerprint: str) -> Order:
    """Return the order that a file begins with.

    Args:
        fingerprint: SHA-256 of the key of the project's seeds, in hexadecimal: what nobody has made
            who has another one.

    Raises:
        SeedError: it begins with none, or with one of another key.
    """
    order = Order.from_line(file.readline(LINE_MAX))
    if hashlib.sha256(order.key).hexdigest() != fingerprint:
        raise SeedError("the platform takes seeds of another key, or none")
    return order


def unseal(fingerprint: str, file: BinaryIO, take: Callable[[bytes], object], say: Say) -> None:
    """Decrypt the uploads of a seed that come behind their order.

    Args:
        fingerprint: as for ``order_in``.
        file: where they are read from.
        take: called with each part of their tar; it is whole only if this ends without an error.
        say: told when the order was read.

    Raises:
        SeedError: they are none, not whole, or not of the platform's key.
    """
    order = order_in(file, fingerprint)
    say(f"uploads of seed {order.seed}")
    for part in parts(file, order.key, order.size):
        take(part)


class Seeds:
    """Loads seeds, and drops them.

    Args:
        key: SHA-256 of the key of the project's seeds, as for ``order_in``.
    """

    def __init__(self, key: str, server: SeedServer, cluster: Kubernetes) -> None:
        self._key = key
        self._server = server
        self._cluster = cluster

    def plant(self, file: BinaryIO, say: Say) -> None:
        """Load the seed that comes behind its order, if it is not there.

        Raises:
            SeedError: it is none, or not of the platform's key.
            ServerError: the database server is away, or refuses.
            ClusterError: the API server is away, or refuses.
        """
        order = order_in(file, self._key)
        # Recorded before: what is cut off is found and dropped.
        asked = SeedRecord(order.seed, "loading", _now())
        known = self._cluster.seed(order.seed)
        self._cluster.write_seed(replace(known, asked_at=_now()) if known else asked)
        say(f"seed {order.seed}")
        made = self._server.plant(order.seed, lambda: statements(file, order.key, order.size), say)
        self._cluster.write_seed(replace(asked, state="ready"))
        say(f"seed {order.seed} " + ("is loaded" if made else "is there already"))

    def sweep(self) -> None:
        """Drop what no deploy has asked for in a while; errors as for ``plant``."""
        for record in self._cluster.seeds():
            # Looked at again when nobody loads one: a deploy may ask for it now.
            is_over = partial(self._is_over, record.seed)
            if is_over() and self._server.uproot(record.seed, is_over):
                self._cluster.forget_seed(record)
                log.info("seed %s: no deploy has asked for it; dropped", record.seed)

    def _is_over(self, seed: str) -> bool:
        record = self._cluster.seed(seed)
        asked_at = datetime.fromisoformat(record.asked_at) if record else datetime.now(UTC)
        return asked_at + UNASKED_FOR <= datetime.now(UTC)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

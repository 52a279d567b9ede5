"""Hands a branch's data on: from its PHP container straight into another branch's.

This run starts a program in each, and tells both a key that is drawn for this one time; what the
one sends to the other is encrypted with it (docker/mautic/php/handover.php). No byte of it comes
through here.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator, Sequence

from tasks.flows.data import CutOffError, Place, ignore, run_image
from tasks.flows.target import Say

PORT = 8099
"""Where the program listens that takes the data; nothing else in its container does there."""
MEET_SECONDS = 60
"""How long the one that gives tries to reach the other: network policies take a moment to count."""
COME_SECONDS = 300
"""How long the one that takes waits for the other, which may have to wait for its database."""
ALIVE_SECONDS = 15.0
"""How often something is sent, lest a load balancer on the way ends a connection that is silent."""
END_SECONDS = 15.0
"""How long the one may take to end by itself when the other one has."""


@contextlib.contextmanager
def handing_over(giver: Place, words: Sequence[str], taker: Place, say: Say) -> Iterator[Handover]:
    """Let a program in one branch's container give data to one that the caller runs in another's.

    Args:
        giver: the branch that has the data.
        words: the program that gives it.
        taker: the branch that gets it.
        say: told what could not be taken back at the end.

    Raises:
        RefusedError: whoever runs this may open no way between the two.
        SuiteError: it failed; where both ends did, this is what failed first.
    """
    with taker.data.admit(taker.names, giver.names, PORT, say):
        handover = Handover(giver, words)
        try:
            yield handover
        except CutOffError as error:
            # The other one ends as well, and its own failure comes first.
            handover.wait()
            raise handover.failure or error from None
        finally:
            handover.close()


class Handover:
    """The program that gives, in a thread of its own, and what connects it to the one that takes.

    Attributes:
        failure: why it failed, if it has not just been cut off by the other one's end.
    """

    def __init__(self, giver: Place, words: Sequence[str]) -> None:
        self.failure: Exception | None = None
        self._giver = giver
        self._words = words
        self._key = secrets.token_hex(32)
        self._told = bytearray()
        self._have_met = False
        self._ended = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def source(self) -> Iterator[bytes]:
        """Yield what the program reads that takes the data.

        Raises:
            SuiteError: the other one has failed, which ends this one.
        """
        yield self._line(seconds=COME_SECONDS)
        while not self._ended.wait(ALIVE_SECONDS):
            yield b"\n"
        # Once they have met it notices by itself, unless the other's network has gone as well.
        if self.failure and not (self._have_met and self._over.wait(END_SECONDS)):
            raise self.failure

    def take(self, part: bytes) -> None:
        """Take what it writes: where it listens, and that the other one has come."""
        self._told += part
        while b"\n" in self._told:
            line, _, rest = bytes(self._told).partition(b"\n")
            self._told = bytearray(rest)
            said = json.loads(line)
            if "listening" in said:
                self._start(said["listening"])
            else:
                self._have_met = True

    def close(self) -> None:
        """Let the program end that gives, if it still does."""
        self._over.set()
        self._ended.set()
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended."""
        if self._thread:
            self._thread.join(END_SECONDS)

    def _start(self, addresses: Sequence[str]) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(addresses,), daemon=True, name="giver"
        )
        self._thread.start()

    def _run(self, addresses: Sequence[str]) -> None:
        try:
            run_image(self._giver, self._words, ignore, source=self._orders(addresses))
        except CutOffError:
            """The other one says why it reads no more."""
        except Exception as error:
            self.failure = error
        finally:
            self._ended.set()

    def _orders(self, addresses: Sequence[str]) -> Iterator[bytes]:
        yield self._line(seconds=MEET_SECONDS, addresses=addresses)
        while not self._over.wait(ALIVE_SECONDS):
            yield b"\n"
        raise CutOffError("nobody takes it any more")

    def _line(self, *, seconds: int, **more: Sequence[str]) -> bytes:
        told = {"key": self._key, "port": PORT, "seconds": seconds, **more}
        return json.dumps(told).encode() + b"\n"

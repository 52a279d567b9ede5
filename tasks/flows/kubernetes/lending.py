"""Lends a branch's database to a copy: the platform's provisioner makes a user that may read it.

No branch's own password leaves its namespace. The provisioner's program ends, and with it the user,
when this run lets go of it or is killed.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

from tasks.core.display import visible
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.provisioner import LEND
from tasks.core.names import Names
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.seed_server import provisioner
from tasks.flows.target import Loan, Say

LOOK_SECONDS = 1.0
"""How often it is looked whether the program waits for something."""
ALIVE_SECONDS = 15.0
"""How often something is sent, lest a load balancer on the way ends a connection that is silent."""
END_SECONDS = 15.0
"""How long the program may take to drop its user; it goes on by itself."""
USAGE = 64
"""Its exit status where it is of a version that does not know what it is asked."""


@contextlib.contextmanager
def lend(context: ClusterContext, names: Names, say: Say) -> Iterator[Loan | None]:
    """Let other branches' pods read a branch's database; see ``DataPort.lend``."""
    lending = _Lending(context, names, say)
    try:
        yield lending.loan()
    finally:
        lending.close()


class _Lending:
    """A run of the provisioner's program, in a thread of its own."""

    def __init__(self, context: ClusterContext, names: Names, say: Say) -> None:
        self._context = context
        self._names = names
        self._say = say
        self._over = threading.Event()
        self._settled = threading.Event()
        self._told = bytearray()
        self._why = ""
        self._thread = threading.Thread(target=self._run, daemon=True, name="lending")

    def loan(self) -> Loan | None:
        """Return the loan, as soon as it is granted; None, and say why, if it is not."""
        self._thread.start()
        said = ""
        while not self._settled.wait(LOOK_SECONDS):
            if self._why != said:  # what it waits for: it would have ended otherwise
                said = self._why
                self._say(said)
        if not self._told.endswith(b"\n"):
            self._say(f"the rows go from container to container: {self._why}")
            return None
        try:
            loan = Loan(**json.loads(self._told))
        except (ValueError, TypeError):
            said = visible(self._told.decode(errors="replace").strip())
            self._say(
                f"the rows go from container to container: the provisioner says {said[:200]!r}"
            )
            return None
        self._context.redactor.add(loan.password)
        return loan

    def close(self) -> None:
        """Let the program end."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            place = provisioner(self._context, "lends databases")
            status = self._context.cluster.pipe(
                *(*place, LEND), source=self._orders(), take=self._take, on_line=self._listen
            )
            if status == USAGE:
                self._why = "the platform's provisioner is of an earlier version"
        except SuiteError as error:
            self._why = error.message
        finally:
            self._settled.set()

    def _orders(self) -> Iterator[bytes]:
        yield f"{self._names.namespace}\n".encode()
        while not self._over.wait(ALIVE_SECONDS):
            yield b"\n"
        # Not every API server can close a program's input.
        yield b"end\n"

    def _take(self, part: bytes) -> None:
        self._told += part
        if self._told.endswith(b"\n"):
            self._settled.set()

    def _listen(self, line: str) -> None:
        self._why = self._context.redactor(line).partition(": ")[2]

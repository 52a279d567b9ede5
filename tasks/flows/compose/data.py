"""Runs the image's programs on a branch's data, on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tasks.adapters.docker import compose
from tasks.core.compose.stages import PHP
from tasks.core.environment import Owner
from tasks.core.environment_data import EMPTY
from tasks.core.names import Names
from tasks.flows.compose.context import ComposeContext
from tasks.flows.target import HOLDING, Loan, Say


@dataclass(frozen=True)
class ComposeData:
    """Runs programs in PHP's container; errors as for ``DataPort``."""

    context: ComposeContext
    lends: bool = field(default=False, init=False)

    def pipe(
        self,
        owner: Owner,
        names: Names,
        words: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        """Run a command in PHP's container; return its exit status."""
        container = self.context.container(owner, names, PHP)
        held = (*HOLDING, *words)
        return compose.pipe(
            self.context.runner, container, held, source=source, take=take, on_line=on_line
        )

    def admin_password(self, names: Names) -> str:
        """Return the password of the first administrator, and mask it from now on."""
        return self.context.secrets(names)["admin_password"]

    def begun_with(self, owner: Owner, names: Names) -> str:
        """Return the choice that a branch's data began with."""
        record = self.context.inventory(owner, names).record
        return (record.data if record else "") or EMPTY

    def lend(self, names: Names, say: Say) -> AbstractContextManager[Loan | None]:
        """Lend nothing: each branch's server is on a network of its own."""
        return contextlib.nullcontext()

    def admit(
        self, names: Names, other: Names, port: int, say: Say
    ) -> AbstractContextManager[None]:
        """Open nothing: the PHP containers of all branches are on the platform's network."""
        return contextlib.nullcontext()

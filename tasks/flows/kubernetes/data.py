"""Runs the image's programs on a branch's data, in a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

from tasks.adapters.kubernetes.exec import HELD
from tasks.core.environment import Owner
from tasks.core.environment_data import EMPTY
from tasks.core.kubernetes.record import record_of
from tasks.core.names import Names
from tasks.flows.kubernetes.admitting import admit
from tasks.flows.kubernetes.branch_secret import read_secret
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.lending import lend
from tasks.flows.kubernetes.services import choose_container
from tasks.flows.target import HOLDING, Loan, Say


class ClusterData:
    """Runs programs in PHP's container of a pod of web; errors as for ``DataPort``."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context

    @property
    def lends(self) -> bool:
        """Whether branches share a server whose owner lends."""
        return self._context.is_provisioned

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
        """Run a command in PHP's container of the newest ready pod; return its exit status."""
        self._context.namespace(owner, names)
        cluster = self._context.cluster
        place = choose_container(cluster, names, "")
        redactor = self._context.redactor
        return cluster.pipe(
            names.namespace,
            place.pod,
            place.container,
            (*HELD, *HOLDING, *words),
            source=source,
            take=take,
            on_line=lambda line: on_line(redactor(line)),
        )

    def admin_password(self, names: Names) -> str:
        """Return the password of the first administrator, and mask it from now on."""
        return read_secret(self._context.cluster, names, self._context.redactor)["admin_password"]

    def begun_with(self, owner: Owner, names: Names) -> str:
        """Return the choice that a branch's data began with."""
        found = self._context.namespace(owner, names)
        record = record_of(found) if found else None
        return (record.data if record else "") or EMPTY

    def lend(self, names: Names, say: Say) -> AbstractContextManager[Loan | None]:
        """Let other branches' pods read a branch's database while the context lasts."""
        return lend(self._context, names, say) if self.lends else contextlib.nullcontext()

    def admit(
        self, names: Names, other: Names, port: int, say: Say
    ) -> AbstractContextManager[None]:
        """Let another branch's pods of web reach a branch's, by two network policies."""
        return admit(self._context.cluster, names, other, port, say)

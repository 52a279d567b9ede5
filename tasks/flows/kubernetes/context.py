"""The context that the ports of a cluster's environments share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.adapters.terminal.console import Work
from tasks.core.environment import ADOPT, Holder, Owner
from tasks.core.errors import RefusedError
from tasks.core.kubernetes.manifests import DatabaseServer, database_server, namespace
from tasks.core.kubernetes.objects import Object
from tasks.core.kubernetes.provisioner import DATABASE, wish
from tasks.core.kubernetes.record import ClusterRecord, stated_owner
from tasks.core.kubernetes.rollout import Policy
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.core.settings import Environment, Settings, same_cluster
from tasks.flows.kubernetes.access import grant_access
from tasks.flows.target import Say


@dataclass(frozen=True, kw_only=True)
class ClusterContext:
    """One environment of invoke.yaml, in its cluster.

    Attributes:
        environment: the environment's name in invoke.yaml.
        work: shows a piece of work.
        redactor: gets every secret.
        locks: the Leases that this run holds, by namespace.
    """

    settings: Settings
    environment: str
    cluster: Cluster
    helm: Helm
    root: Path
    work: Work
    redactor: Redactor
    locks: dict[str, LeaseLock] = field(default_factory=dict)

    @property
    def own(self) -> Environment:
        """The environment's settings."""
        return self.settings.environment(self.environment)

    @property
    def database_server(self) -> DatabaseServer | None:
        """The server with the branches' databases, or None if each branch has its own."""
        return database_server(self.settings, self.environment)

    @property
    def is_provisioned(self) -> bool:
        """Whether the platform's provisioner makes the branches' databases, and no Job."""
        return bool(self.own.database and self.own.database.provisioner)

    @property
    def is_furnished(self) -> bool:
        """Whether the platform's provisioner furnishes the cluster's namespaces."""
        here = same_cluster(self.settings, self.environment).values()
        return any(other.database and other.database.provisioner for other in here)

    @property
    def policy(self) -> Policy:
        """How patient to be with a rollout."""
        patience = self.own.patience
        return Policy(
            crashes=patience.crashes,
            grace=timedelta(seconds=patience.grace_seconds),
            deadline=timedelta(seconds=patience.deadline_seconds),
            stability=timedelta(seconds=patience.stability_seconds),
        )

    @contextlib.contextmanager
    def exclusive(self, names: Names, me: Holder, warn: Say) -> Iterator[None]:
        """Hold the Lease of the branch's namespace, if the namespace exists.

        Raises:
            HeldError: another run holds it, or a newer commit has superseded this one.
            VanishedError: the namespace was removed while this run waited.
        """
        if self.cluster.get("Namespace", names.namespace) is None:
            yield
            return
        grant_access(self.cluster, names.namespace, self.environment, names.branch)
        wait = self.own.patience.turn_seconds
        with LeaseLock(self.cluster, names.namespace, me, wait_seconds=wait, say=warn) as lock:
            self.locks[names.namespace] = lock
            try:
                yield
            finally:
                del self.locks[names.namespace]

    def check_lock(self, names: Names) -> None:
        """Check that this run still holds the branch's Lease, if it has acquired it.

        Raises:
            HeldError: another run has taken it over.
        """
        if lock := self.locks.get(names.namespace):
            lock.check()

    def namespace(self, owner: Owner, names: Names) -> Object | None:
        """Return the branch's namespace, or None.

        Raises:
            RefusedError: it has another owner.
        """
        found = self.cluster.get("Namespace", names.namespace)
        if found is None:
            return None
        if difference := owner.difference(stated_owner(found)):
            raise RefusedError(
                f"namespace {names.namespace} is not that of {owner.branch}: {difference}",
                hint="nothing was touched; whoever made it has to remove it. If its repository was "
                f"renamed or moved: {ADOPT}",
            )
        return found

    def write_record(self, owner: Owner, names: Names, record: ClusterRecord) -> None:
        """Write the environment's record to the branch's namespace."""
        self.cluster.apply(self.branch_namespace(owner, names, record))

    def branch_namespace(self, owner: Owner, names: Names, record: ClusterRecord) -> Object:
        """Return the manifest of a branch's namespace, which may ask for a database."""
        return branch_namespace(owner, names, record, provisioned=self.is_provisioned)


def branch_namespace(
    owner: Owner, names: Names, record: ClusterRecord, *, provisioned: bool = False
) -> Object:
    """Return the manifest of a branch's namespace.

    Args:
        provisioned: the platform's provisioner makes its database.
    """
    asks = {DATABASE: wish(record.state)} if provisioned else {}
    return namespace(owner, names, record, os.environ.get("CI_PIPELINE_URL", ""), asks)

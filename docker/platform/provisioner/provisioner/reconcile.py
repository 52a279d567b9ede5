"""What is done for one namespace, in which order.

Nothing is remembered between two calls but the records in the cluster. A record is written before
anything is made, and deleted after everything is dropped. So each step may be cut off anywhere,
repeated, or done by two provisioners at once.
"""

from __future__ import annotations

import logging
from typing import Protocol

from provisioner.cluster import Kubernetes, Record
from provisioner.furnish import FullError, Furnisher
from provisioner.rules import (
    DATABASE,
    STYLE,
    UNWANTED,
    ForeignError,
    Object,
    Rules,
    Tenant,
    identify,
)
from provisioner.server import ServerError

log = logging.getLogger("provisioner")


class Databases(Protocol):
    """A database server, as ``provisioner.server.Server`` is one."""

    def provide(self, database: str, user: str, password: str) -> None:
        """Create a database and its user."""

    def remove(self, database: str, user: str) -> None:
        """Drop a database and its user."""


class Reconciler:
    """Furnishes namespaces, gives them their databases, and drops these."""

    def __init__(
        self, rules: Rules, server: Databases, cluster: Kubernetes, furnisher: Furnisher
    ) -> None:
        self._rules = rules
        self._server = server
        self._cluster = cluster
        self._furnisher = furnisher

    def reconcile(self, namespace: Object) -> None:
        """Furnish a namespace, and do what its label asks for; errors as for both."""
        asked = (namespace["metadata"].get("labels") or {}).get(DATABASE)
        if asked == UNWANTED:
            self.withdraw(namespace)
            return
        self.furnish(namespace, has_more=asked is not None)
        if asked is not None:
            self.provide(namespace)

    def furnish(self, namespace: Object, *, has_more: bool) -> None:
        """Give a namespace its floor, and say so.

        Args:
            has_more: whether the namespace gets a database after it, whose record says all.

        Raises:
            ForeignError: the namespace is not what it says it is.
            FullError: there is no room for it; the record says so.
            ClusterError: the API server is away, or refuses.
        """
        known = self._current(namespace)
        try:
            place = self._furnisher.furnish(namespace)
        except (ForeignError, FullError) as error:
            meta = namespace["metadata"]
            self._refuse(known, meta["name"], meta["uid"], str(error), "FloorRefused")
            raise
        done = Record.of_place(place, "ready")
        # Where there is a database, it must not be forgotten.
        if not has_more and known != done and not (known and known.database):
            self._cluster.write(done)

    def provide(self, namespace: Object) -> None:
        """Give a namespace its database, user and Secret.

        Raises:
            ForeignError: the namespace is not what it says it is.
            ServerError: the database server is away; the record says so.
            ClusterError: the API server is away, or refuses.
        """
        meta = namespace["metadata"]
        name, uid = meta["name"], meta["uid"]
        known = self._current(namespace)
        try:
            tenant = identify(self._rules, namespace)
            self._check(tenant, known)
        except ForeignError as error:
            self._refuse(known, name, uid, str(error), "DatabaseRefused")
            raise
        record = Record.of(tenant, "creating")
        if known is None or known.state != "ready" or not known.database:
            self._cluster.write(record)
        password = self._cluster.ensure_password(tenant, self._rules.host, self._rules.port)
        done = Record.of(tenant, "ready", secret=password.version)
        if known == done:
            return
        try:
            self._server.provide(tenant.database, tenant.user, password.text)
        except ServerError as error:
            self._wait(record, str(error))
            raise
        self._cluster.write(done)
        self._cluster.tell(name, "Normal", "DatabaseReady", f"{tenant.database} is ready")
        log.info("%s: %s is ready", name, tenant.database)

    def withdraw(self, namespace: Object) -> None:
        """Drop what a namespace has, which stays; errors as for ``provide``."""
        meta = namespace["metadata"]
        known = self._known(namespace)
        if known and known.state != "removed":
            self._drop(known)
            self._cluster.delete_password(meta["name"])
            self._cluster.write(known.now("removed"))

    def remove(self, namespace: Object) -> None:
        """Drop what a namespace has, which is going; errors as for ``provide``."""
        if known := self._known(namespace):
            if known.state != "removed":
                self._drop(known)
            self._cluster.forget(known)

    def sweep(self) -> None:
        """Restore all floors, and drop what was made for namespaces that are gone.

        Errors as for ``provide``.
        """
        self._furnisher.sweep()
        for record in self._cluster.records():
            if self._cluster.uid_of(record.namespace) != record.uid:
                log.info("%s: is gone", record.namespace)
                self._drop(record)
                self._cluster.forget(record)

    def _current(self, namespace: Object) -> Record | None:
        """Return a namespace's record; what an earlier one of its name has left is dropped."""
        meta = namespace["metadata"]
        known = self._cluster.record(meta["name"])
        if known and known.uid != meta["uid"]:
            # Its finalizer was torn off, or it had none.
            self._drop(known)
            self._cluster.forget(known)
            return None
        return known

    def _check(self, tenant: Tenant, known: Record | None) -> None:
        """Refuse names that are another namespace's, or other names than a namespace has.

        Two branches with the same former user can be found in minutes: its hash has 24 bits.

        Raises:
            ForeignError: they are.
        """
        own = (tenant.database, tenant.user)
        if known and known.database and known.state != "removed":
            if (known.database, known.user) != own:
                raise ForeignError(f"its user is {known.user}: the annotation {STYLE} has changed")
            return
        for other in self._cluster.records():
            is_other = other.namespace != tenant.namespace
            if is_other and (other.database == tenant.database or other.user == tenant.user):
                raise ForeignError(f"{tenant.user} is the user of namespace {other.namespace}")

    def _known(self, namespace: Object) -> Record | None:
        """Return what a namespace has, or may have: an earlier suite's Jobs wrote no record."""
        meta = namespace["metadata"]
        known = self._cluster.record(meta["name"])
        if known:
            return known if known.uid == meta["uid"] else None
        try:
            tenant = identify(self._rules, namespace)
            self._check(tenant, None)
        except ForeignError:
            return None
        return Record.of(tenant, "creating")

    def _drop(self, record: Record) -> None:
        """Drop a record's database and user, unless they are to be kept."""
        rule = self._rules.environments.get(record.environment)
        if record.keep or (rule and rule.protected):
            log.info("%s: %s is kept", record.namespace, record.database)
        elif record.database:
            try:
                self._server.remove(record.database, record.user)
            except ServerError as error:
                self._wait(record, str(error))
                raise
            log.info("%s: %s is dropped", record.namespace, record.database)

    def _refuse(
        self, known: Record | None, namespace: str, uid: str, why: str, reason: str
    ) -> None:
        """Say in record and Event why a namespace gets nothing; what it has stays recorded."""
        record = known or Record(namespace, uid, "refused")
        if record != (told := record.now("refused", why)) or known is None:
            self._cluster.write(told)
            self._cluster.tell(namespace, "Warning", reason, why)
            log.warning("%s: refused: %s", namespace, why)

    def _wait(self, record: Record, why: str) -> None:
        """Say in the record, and in an Event, what is waited for."""
        waiting = record.now("waiting", why)
        if self._cluster.record(record.namespace) == waiting:
            return
        self._cluster.write(waiting)
        self._cluster.tell(record.namespace, "Warning", "DatabaseWaiting", why)
        log.warning("%s: waiting: %s", record.namespace, why)

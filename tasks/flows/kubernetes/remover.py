"""Plans the removal of a branch's environment from a cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from tasks.core.environment import Holder, Owner, State
from tasks.core.errors import ClusterError, RefusedError
from tasks.core.kubernetes.objects import is_being_deleted, uid_of
from tasks.core.kubernetes.record import ClusterRecord, record_of, stated_owner
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.summary import EnvironmentSummary
from tasks.flows.kubernetes.access import can_enter
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.database import DROP_WAIT_SECONDS, run_database_job
from tasks.flows.kubernetes.provisioning import withdraw_database
from tasks.flows.kubernetes.removal import (
    finish,
    inspect_namespace,
    removals,
    remove_namespace,
)
from tasks.flows.target import Removal, RemovalPlan, Say, without_messages


class ClusterRemover:
    """Removes the environments of a cluster."""

    parallel_removals = 10

    def __init__(self, context: ClusterContext) -> None:
        self._context = context

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the Lease of the branch's namespace."""
        return self._context.exclusive(names, me, warn)

    def holds_images(self, *, dry: bool) -> bool:
        """Return True: a cluster always has a registry."""
        return True

    def plan_removal(self, owner: Owner, names: Names) -> RemovalPlan:
        """Return the plan to remove everything of the branch from the cluster.

        Raises:
            RefusedError: the namespace has another owner.
        """
        context = self._context
        title = f"clean up {names.branch} in {names.environment}"
        found = context.namespace(owner, names)
        if found is None:
            return RemovalPlan(title)
        if is_being_deleted(found):
            # Nothing can be made in it any more, and a CI job may not even look into it.
            step = Step("remove", f"namespace {names.namespace}", "which is going already")
            rest = partial(finish, context.cluster, names, uid_of(found))
            return RemovalPlan(title, ((step, rest),), under_way=True)
        try:
            inside = inspect_namespace(context.cluster, names, context.own.cluster_objects)
        except ClusterError as error:
            if error.status != 403 or not can_enter(context.cluster, names.namespace):
                raise
            # Its branch has let nobody in. `exclusive` does, before this is planned once more.
            step = Step("remove", f"namespace {names.namespace}", "which nobody is bound in yet")
            return RemovalPlan(title, ((step, without_messages(int)),))
        record = record_of(found)

        def mark() -> None:
            # Without history, so that the next deploy creates everything again.
            if record:
                begun = ClusterRecord(
                    State.REMOVING, record.url, record.expires_at, database=record.database
                )
                context.write_record(owner, names, begun)

        drop = self._drop(names, record)
        todo = removals(context.cluster, names, inside, mark=mark, drop=drop)
        if inside.foreign:
            nothing = ClusterRecord(State.REMOVED, names.url)
            if record != nothing:
                step = Step("remove", f"record of namespace {names.namespace}")
                forget = partial(context.write_record, owner, names, nothing)
                todo.append((step, without_messages(forget)))
            kept = f"it holds {', '.join(inside.foreign)} of somebody else"
            todo.append((Step("keep", f"namespace {names.namespace}", kept), without_messages(int)))
        return RemovalPlan(title, tuple(todo))

    def remove_misnamed(self, found: EnvironmentSummary, say: Say) -> int:
        """Remove a namespace that is not its branch's, with all that is in it.

        No run of the suite works in it, so there is no lock, and nothing that it states of a
        database is believed.

        Raises:
            RefusedError: it has another owner by now.
            DeadlineError: it is not gone; the message names what blocks it.
        """
        cluster, where = self._context.cluster, found.namespace
        item = cluster.get("Namespace", where)
        if item is None:
            return 0
        owner = Owner(self._context.environment, found.slug, found.branch, found.repository)
        if difference := owner.difference(stated_owner(item)):
            raise RefusedError(f"namespace {where} has changed hands, and was kept: {difference}")
        remove_namespace(cluster, where, uid_of(item), say)
        return 1

    def _drop(self, names: Names, record: ClusterRecord | None) -> tuple[Step, Removal] | None:
        """Return the step that drops the branch's database and user; None if there is none."""
        server, step = self._context.database_server, _drop_step(names)
        if server is None or record is None or record.state is State.REMOVED:
            return None
        if self._context.is_provisioned:
            return step, partial(withdraw_database, self._context, names)
        image = record.database
        if not image:
            return None

        def drop(say: Say, /) -> None:
            run_database_job(
                self._context.cluster,
                names,
                server,
                verb="drop",
                image=image,
                wait_seconds=DROP_WAIT_SECONDS,
                say=say,
            )

        return step, drop


def _drop_step(names: Names) -> Step:
    return Step("remove", f"database {names.database}", f"and user {names.database_user}")

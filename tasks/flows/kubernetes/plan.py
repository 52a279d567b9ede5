"""The plan of a deploy to a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.adapters.kubernetes.helm import Revision
from tasks.core.environment import State
from tasks.core.kubernetes.manifests import SECRET
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.plan import Step
from tasks.core.sleep import Sleep
from tasks.flows.target import DeployPlan


@dataclass(frozen=True, kw_only=True)
class ClusterPlan(DeployPlan):
    """The plan of a deploy to a cluster.

    Attributes:
        exists: whether the namespace exists.
        values: the chart's values of this deploy.
        fingerprint: a hash of the release's inputs.
        history: Helm's revisions, the oldest first.
        seed: keys of the Secret that have to be made.
        has_server: whether the branch's database lives on a server of its own.
        provisioned: whether the platform's provisioner makes it there.
        furnished: whether that furnishes the namespace, too.
        autoscaled: whether an autoscaler decides how many web pods there are.
        kept_off: scheduled commands that the images cannot run, by name, and why.
        asleep: that the environment sleeps; None if it is awake.
        no_catcher: why there is no mail catcher although the values want one.
        shared: the images with the uploads that it shares, by folder; none if they are not there.
        not_shared: why it gets a copy of uploads that it was to share.
        steps: what happens, in order; empty when everything is as it should be.
    """

    record: ClusterRecord | None
    values: Mapping[str, Any]
    fingerprint: str
    history: tuple[Revision, ...]
    seed: tuple[str, ...]
    has_server: bool
    exists: bool = True
    provisioned: bool = False
    furnished: bool = False
    autoscaled: bool = False
    kept_off: Mapping[str, str] = field(default_factory=dict)
    asleep: Sleep | None = None
    no_catcher: str = ""
    shared: Mapping[str, str] = field(default_factory=dict)
    not_shared: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def makes_database(self) -> bool:
        """Whether a Job has to create database and user on the server, or set a new password."""
        made_here = self.has_server and not self.provisioned
        return made_here and (self.is_first or "db_password" in self.seed)

    @property
    def shares(self) -> bool:
        """Whether images with its seed's uploads have to be pushed, for the first time or again."""
        return self.data.shares and not self.shared

    @property
    def quiesces(self) -> bool:
        """Whether workers and crons must be quiesced, because the database may be migrated."""
        if self.record is None or self.record.current is None or not self.history:
            return False
        if self.request.restore:
            return True
        return self.record.current.mautic != self.release.mautic

    def before(self, state: State) -> ClusterRecord:
        """Return the environment's record for a state of this deploy."""
        record = self.record or ClusterRecord(state, self.request.names.url)
        database = self.release.mautic if self.makes_database else record.database
        if self.provisioned:
            database = ""
        return replace(
            record,
            state=state,
            expires_at=self.expires_at,
            database=database,
            data=self.data.choice,
            shares=self.data.shares,
            registry=self.registry,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {**super().as_dict(), "values": dict(self.values)}


def decide(plan: ClusterPlan) -> Iterator[Step]:
    """Yield the steps of a deploy in order; none if nothing has to be done.

    Args:
        plan: the plan without its steps.
    """
    names, record = plan.request.names, plan.record
    newest = plan.history[-1] if plan.history else None
    works = (
        record is not None
        and record.state is State.READY
        and record.fingerprint == plan.fingerprint
        and newest == Revision(record.revision, "deployed")
    )
    if works and not plan.seed and not plan.request.restore and not plan.asleep:
        return
    if plan.snapshot:
        yield Step("snapshot", f"server {plan.snapshot.server}", plan.snapshot.reason)
    if not plan.exists:
        yield Step("create", f"namespace {names.namespace}")
    if newest and newest.is_pending:
        yield Step("repair", f"release {names.release}", f"{newest.status}, left by a dead run")
    if plan.seed:
        yield Step("create", f"secret {SECRET}", ", ".join(plan.seed))
    if plan.makes_database:
        yield Step("create", f"database {names.database}")
    if plan.provisioned and plan.is_first:
        yield Step("create", f"database {names.database}", "by the platform's provisioner")
    if plan.asleep:
        yield Step("wake", f"environment {names.branch}", str(plan.asleep))
    if plan.quiesces:
        yield Step("quiesce", "workers and crons", "while the database is migrated")
    if plan.request.restore:
        yield Step("restore", f"database {names.database}", plan.request.restore.title)
    for name, reason in plan.kept_off.items():
        yield Step("keep off", f"cron {name}", reason)
    if plan.no_catcher:
        yield Step("keep off", "mail catcher", f"{plan.no_catcher}; mails are discarded")
    yield from _uploads(plan)
    verb = "upgrade" if newest else "install"
    rolled_out = Step(verb, f"release {names.release}", _reason(plan))
    # What a migration clones is there before anything runs.
    yield from (*plan.filling, rolled_out) if plan.clones else (rolled_out, *plan.filling)


def _uploads(plan: ClusterPlan) -> Iterator[Step]:
    """Yield what is done for the uploads of a seed, or why that is not done."""
    if plan.not_shared:
        yield Step("copy", f"uploads of {plan.data.choice}", plan.not_shared)
    yield from plan.sharing


_LAST_DEPLOY = {
    State.DEPLOYING: "the last deploy was interrupted",
    State.FAILED: "the last deploy failed",
    State.ROLLED_BACK: "the last deploy was rolled back",
}


def _reason(plan: ClusterPlan) -> str:
    current = plan.record.current if plan.record else None
    if plan.record and plan.record.state is State.REMOVING:
        return "a clean-up was cut off"
    if current is None:
        return "nothing is deployed"
    if plan.record and (told := _LAST_DEPLOY.get(plan.record.state)):
        return told
    if not current.same_images(plan.release):
        return f"images: {current.tag} becomes {plan.release.tag}"
    if plan.asleep and plan.record and plan.record.fingerprint == plan.fingerprint:
        return "it was asleep"
    return "the chart or its values changed"

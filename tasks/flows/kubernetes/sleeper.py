"""Puts environments in a cluster to sleep and wakes them, by patches of their workloads.

No Helm is involved: its next upgrade sets the same fields. See ``core/kubernetes/stages.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import ClassVar

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.parallel import map_parallel
from tasks.adapters.terminal.console import Activity
from tasks.adapters.wait import wait_until
from tasks.core.environment import Holder, Owner
from tasks.core.errors import DeadlineError
from tasks.core.kubernetes.labels import ASLEEP, INSTANCE, NOT_ASLEEP, PIN, USED_AT, WAKING
from tasks.core.kubernetes.objects import Object, title_of
from tasks.core.kubernetes.record import record_of
from tasks.core.kubernetes.sleeping import annotated, rest_of
from tasks.core.kubernetes.stages import (
    KINDS,
    Change,
    SleepStage,
    is_up,
    of_stage,
    starts,
    stops,
)
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.sleep import Pinned, Rest, Sleep
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.quiesce import wait_until_idle
from tasks.flows.kubernetes.upgrade import wait_settled
from tasks.flows.target import Say, SleepPlan, SleepStep

END_SECONDS = 300
"""How long the pods of one stage may take to end: more than any grace period of the chart's."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class ClusterSleeper:
    """Puts environments to sleep and wakes them; errors as for ``Sleeper``."""

    context: ClusterContext

    parallel_sleeps: ClassVar = 10

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the Lease of the branch's namespace."""
        return self.context.exclusive(names, me, warn)

    def rest(self, owner: Owner, names: Names) -> Rest | None:
        """Return what the namespace says; None if nothing was ever deployed."""
        found = self.context.namespace(owner, names)
        record = record_of(found) if found else None
        return rest_of(found, record) if found and record and record.current else None

    def plan_sleep(self, owner: Owner, names: Names, sleep: Sleep) -> SleepPlan:
        """Return what has to be stopped, or be waited for because it still ends."""
        title = f"put {names.branch} in {names.environment} to sleep"
        rest = self.rest(owner, names)
        fresh = rest is None or rest.asleep is None
        return SleepPlan(title, tuple(self._stops(names, sleep, fresh=fresh)))

    def _stops(self, names: Names, sleep: Sleep, *, fresh: bool) -> Iterator[SleepStep]:
        found = workloads(self.context.cluster, names)
        pods = [pod for pod in self._pods(names) if is_up(pod)]
        left = [
            (stage, changes)
            for stage, changes in stops(found, fresh=fresh)
            if changes or of_stage(pods, stage)
        ]
        if not left:
            return
        # It says so first: whoever finds the half of it stopped knows why, and how to go on.
        said = {ASLEEP: annotated(sleep), WAKING: None}
        step = Step("mark", f"namespace {names.namespace}", f"asleep: {sleep.why}")
        yield step, lambda _: annotate(self.context.cluster, names, said)
        for stage, changes in left:
            yield (
                Step("stop", stage.title, _shown(changes)),
                partial(self._stop, names, stage, changes),
            )

    def _stop(
        self,
        names: Names,
        stage: SleepStage,
        changes: Sequence[Change],
        activity: Activity,
    ) -> None:
        self.context.check_lock(names)
        patch_all(self.context.cluster, names, changes)
        if stage is SleepStage.WORK:
            why = "and nothing is stopped under it"
            wait_until_idle(self.context.cluster, names, activity.say, why=why)
        told: set[str] = set()

        def are_gone() -> bool:
            left = {
                title_of({"kind": "Pod", **pod})
                for pod in of_stage(self._pods(names), stage)
                if is_up(pod)
            }
            for name in sorted(left - told):
                activity.line(f"waiting for the end of {name}")
            told.update(left)
            return not left

        wait_until(
            f"pods of {stage.title} in {names.namespace} still run",
            are_gone,
            deadline_seconds=END_SECONDS,
            poll_seconds=POLL_SECONDS,
            late=lambda message: DeadlineError(
                f"{message}, after {END_SECONDS} s: {', '.join(sorted(told))}",
                hint="their node may not answer (kubectl get nodes); inv sleep goes on from here",
            ),
        )

    def plan_wake(self, owner: Owner, names: Names, used_at: str) -> SleepPlan:
        """Return what has to be started; nothing if the namespace does not say that it sleeps."""
        title = f"wake {names.branch} in {names.environment}"
        rest = self.rest(owner, names)
        if rest is None or rest.asleep is None:
            return SleepPlan(title)
        return SleepPlan(title, tuple(self._starts(names, used_at)))

    def _starts(self, names: Names, used_at: str) -> Iterator[SleepStep]:
        cluster = self.context.cluster
        for stage, changes in starts(workloads(cluster, names)):
            if changes or stage is SleepStage.WEB:
                yield (
                    Step("start", stage.title, _shown(changes)),
                    partial(self._start, names, stage, changes),
                )
        said = {**NOT_ASLEEP, USED_AT: used_at}
        step = Step("mark", f"namespace {names.namespace}", "awake")
        yield step, lambda _: annotate(cluster, names, said)

    def _start(
        self,
        names: Names,
        stage: SleepStage,
        changes: Sequence[Change],
        activity: Activity,
    ) -> None:
        self.context.check_lock(names)
        since = self.context.cluster.now()
        patch_all(self.context.cluster, names, changes)
        if stage is not SleepStage.WEB:
            # Web's own pods wait for their database.
            return
        # It has run before: that it stays is not waited for.
        policy = replace(self.context.policy, stability=timedelta())
        wait_settled(
            self.context.cluster,
            *(names.namespace, names.release, policy, activity),
            since=since,
            serving=True,
        )

    def pin(self, owner: Owner, names: Names, pin: Pinned | None) -> None:
        """Write it to the namespace."""
        self.context.namespace(owner, names)
        annotate(self.context.cluster, names, {PIN: annotated(pin)})

    def note_use(self, owner: Owner, names: Names, used_at: str) -> None:
        """Write it to the namespace."""
        annotate(self.context.cluster, names, {USED_AT: used_at})

    def _pods(self, names: Names) -> Sequence[Object]:
        return self.context.cluster.find("Pod", names.namespace, f"{INSTANCE}={names.release}")


def wake_for_deploy(cluster: Cluster, names: Names) -> None:
    """Start everything that sleeps, and do not wait for it: the deploy does, for what it changes.

    Where an autoscaler decides, the chart says nothing of the number of pods, and would leave 0.
    """
    for _, changes in starts(workloads(cluster, names)):
        patch_all(cluster, names, changes)
    annotate(cluster, names, NOT_ASLEEP)


def workloads(cluster: Cluster, names: Names) -> list[Object]:
    """Return everything of a release that can sleep."""
    ours = f"{INSTANCE}={names.release}"
    return [
        {"kind": kind, **item}
        for kind in KINDS
        for item in cluster.find(kind, names.namespace, ours)
    ]


def patch_all(cluster: Cluster, names: Names, changes: Iterable[Change]) -> None:
    """Apply patches of workloads in parallel."""
    map_parallel(
        lambda each: cluster.patch(
            each[0]["kind"], each[0]["metadata"]["name"], names.namespace, each[1]
        ),
        list(changes),
    )


def annotate(cluster: Cluster, names: Names, said: Mapping[str, str | None]) -> None:
    """Write annotations of a branch's namespace; None takes one away."""
    cluster.patch("Namespace", names.namespace, None, {"metadata": {"annotations": dict(said)}})


def _shown(changes: Sequence[Change]) -> str:
    """Return the workloads in a few words."""
    names = [title_of(item) for item, _ in changes]
    return (
        ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    )

"""Asks before a deploy whether it fits into the cluster, and who would have to sleep if not.

A few requests. What this user may not look at is not known, and holds nothing up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import TypeVar

from tasks.core.environment import parse
from tasks.core.errors import AwsError, ClusterError, RefusedError, UnreadableError
from tasks.core.kubernetes.capacity import (
    RULES,
    Connections,
    Needs,
    Present,
    connections_fault,
    fewest_sleepers,
    needs_of,
    node_rooms,
    nodes_fault,
    pools,
    quota_fault,
    rules_fault,
)
from tasks.core.kubernetes.objects import Object
from tasks.core.names import Names
from tasks.core.plan import FIT, Step
from tasks.core.plural import number_of
from tasks.core.summary import EnvironmentSummary
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.inspector import ClusterInspector
from tasks.flows.kubernetes.quiesce import QUIESCED
from tasks.flows.kubernetes.services import ServiceContainer, service_containers
from tasks.flows.sleep import AWAKE

T = TypeVar("T")

ALB_RULES = 100
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html"""
ASK = ("mautic", "database", "connections")
EFS = "efs-ap"
"""``provisioningMode`` of a storage class whose volumes are access points."""
_LIVES = "status.phase!=Succeeded,status.phase!=Failed"
SHOWN_MAX = 5
"""How many environments are named that would have to sleep."""


@dataclass(frozen=True)
class _Fault:
    """Something that there is too little of.

    Attributes:
        remedy: what helps; empty where sleep does.
        fits: whether there is enough without the pods of some namespaces.
    """

    message: str
    remedy: str = ""
    fits: Callable[[Collection[str]], bool] = lambda _: False


def check_capacity(
    context: ClusterContext,
    names: Names,
    manifests: Sequence[Object],
    *,
    quiesces: bool = False,
    access_points: Callable[[str], int] | None = None,
) -> Step | None:
    """Return that a release fits, and by what; None if nothing of it is known.

    Args:
        manifests: what its chart renders.
        quiesces: whether workers and crons end before.
        access_points: returns how many access points a file system of EFS has; None elsewhere.

    Raises:
        RefusedError: it does not fit; the hint says who would have to sleep.
        ClusterError: the API failed.
    """
    ending = QUIESCED if quiesces else ()
    return _Check(context, names, manifests, ending, access_points).run()


class _Check:
    """The check of one release; arguments as for ``check_capacity``.

    Args:
        ending: components whose pods end before.
    """

    def __init__(
        self,
        context: ClusterContext,
        names: Names,
        manifests: Sequence[Object],
        ending: Collection[str],
        access_points: Callable[[str], int] | None,
    ) -> None:
        self._context, self._cluster = context, context.cluster
        self._settings = context.own.capacity
        self._names, self._manifests = names, manifests
        self._ending, self._access_points = ending, access_points
        self._known: list[str] = []
        self._unknown: list[str] = []

    def run(self) -> Step | None:
        here = self._names.namespace
        exists = self._cluster.get("Namespace", here) is not None
        pods = self._look("nodes", lambda: self._cluster.find_all("Pod", fields=_LIVES))
        routes = self._routes()
        own_pods = [each for each in pods or () if each["metadata"]["namespace"] == here]
        others = [each for each in routes or () if each["metadata"]["namespace"] == here]
        if exists:
            others += self._look("claims", partial(self._own, "PersistentVolumeClaim")) or ()
            if pods is None:
                own_pods = self._look("pods", partial(self._own, "Pod")) or []
        needs = needs_of(self._manifests, Present(own_pods, others, self._ending))
        faults = [
            *self._nodes(needs, pods),
            *self._quota(needs, exists=exists),
            *self._rules(needs, routes),
            *self._file_systems(needs),
            *self._connections(needs, pods, own_pods),
        ]
        if faults:
            raise self._refusal(faults, pods)
        if not self._known:
            return None
        unknown = f"; not known: {', '.join(self._unknown)}" if self._unknown else ""
        return Step(FIT, number_of(len(needs.pods), "pod"), ", ".join(self._known) + unknown)

    def _own(self, kind: str) -> list[Object]:
        return self._cluster.find(kind, self._names.namespace)

    def _look(self, what: str, look: Callable[[], T]) -> T | None:
        """Return what somebody may look at, or None, which is noted."""
        try:
            return look()
        except (ClusterError, AwsError) as error:
            if isinstance(error, ClusterError) and error.status not in {403, 404}:
                raise
            if what not in self._unknown:
                self._unknown.append(what)
            return None

    # -- one resource each ------------------------------------------------------------------------

    def _nodes(self, needs: Needs, pods: Sequence[Object] | None) -> Iterator[_Fault]:
        if pods is None or self._settings.autoscaler:
            return
        nodes = self._look("nodes", lambda: self._cluster.find_all("Node"))
        if not nodes:
            return
        rooms = node_rooms(nodes, pods)
        self._known.append(number_of(len(rooms), "node"))
        if message := nodes_fault(needs.pods, rooms):

            def fits(gone: Collection[str]) -> bool:
                return not nodes_fault(needs.pods, [room.without(gone) for room in rooms])

            yield _Fault(message, fits=fits)

    def _quota(self, needs: Needs, *, exists: bool) -> Iterator[_Fault]:
        """Look at the namespace's own quota, or at that of the release that is to make it."""
        quotas = [each for each in self._manifests if each["kind"] == "ResourceQuota"]
        if exists:
            found = self._look("quota", partial(self._own, "ResourceQuota"))
            quotas = found or quotas
        if not quotas:
            return
        self._known.append("quota")
        if message := quota_fault(quotas, needs):
            yield _Fault(f"the quota {message}", "quota.hard of its values, or the platform's")

    def _rules(self, needs: Needs, routes: Sequence[Object] | None) -> Iterator[_Fault]:
        if routes is None or not needs.rules:
            return
        self._known.append("the load balancer's rules")
        if message := rules_fault(needs.rules, routes, self._rules_max):
            yield _Fault(message, "a branch that is cleaned up gives its rules back, and no other")

    @property
    def _rules_max(self) -> int:
        on_aws = self._context.own.cluster and self._context.own.cluster.kind == "eks"
        return self._settings.rules or (ALB_RULES if on_aws else 0)

    def _routes(self) -> list[Object] | None:
        """Return all routes of the kinds that the release has; None where none are counted."""
        kinds = {each["kind"] for each in self._manifests} & RULES.keys()
        if not (kinds and self._rules_max):
            return None
        found: list[Object] = []
        for kind in sorted(kinds):
            seen = self._look("the load balancer's rules", partial(self._cluster.find_all, kind))
            if seen is None:
                return None
            found += [{"kind": kind, **each} for each in seen]
        return found

    def _file_systems(self, needs: Needs) -> Iterator[_Fault]:
        count = self._access_points
        if count is None:
            return
        for name in sorted({name for name, _ in needs.claims if name}):
            found = self._cluster.get("StorageClass", name)
            parameters = (found or {}).get("parameters") or {}
            if parameters.get("provisioningMode") != EFS:
                continue
            system = parameters.get("fileSystemId", "")
            used = self._look("access points", partial(count, system))
            if used is None:
                continue
            self._known.append("access points")
            needed = sum(each == name for each, _ in needs.claims)
            if used + needed > self._settings.access_points:
                yield _Fault(
                    f"the file system {system} has {used} of {self._settings.access_points} "
                    f"access points, and {needed} more are needed",
                    "a branch that is cleaned up gives its own back: inv gc",
                )

    def _connections(
        self, needs: Needs, pods: Sequence[Object] | None, own_pods: Sequence[Object]
    ) -> Iterator[_Fault]:
        if self._context.own.database is None or not any(pod.connections for pod in needs.pods):
            return
        found = self._ask_server(own_pods or self._colleagues(pods or ()))
        if found is None:
            self._unknown.append("the database server's connections")
            return
        self._known.append(f"{found.used} of {found.most} connections")
        if message := connections_fault(found, needs.pods):
            held = list(pools(pods or ()))

            def fits(gone: Collection[str]) -> bool:
                # What sleeps gives up at most what it may hold, and at least nothing.
                freed = sum(count for namespace, count in held if namespace in gone)
                return not connections_fault(found, needs.pods, freed)

            yield _Fault(message, fits=fits)

    def _colleagues(self, pods: Sequence[Object]) -> Sequence[Object]:
        """Return the pods of this environment's other branches: they have the same server."""
        there = {each.namespace for each in self._environments()} if pods else set()
        return [each for each in pods if each["metadata"]["namespace"] in there]

    def _ask_server(self, pods: Sequence[Object]) -> Connections | None:
        """Return what the database server says, by a pod of web that is connected to it."""
        for pod in pods:
            for place in service_containers([pod], "fpm"):
                if place.running:
                    return self._connections_by(pod["metadata"]["namespace"], place)
        return None

    def _connections_by(self, namespace: str, place: ServiceContainer) -> Connections | None:
        try:
            status, said = self._cluster.output(namespace, place.pod, place.container, ASK)
            return parse(Connections, said, "the connections") if status == 0 else None
        except (ClusterError, UnreadableError):
            # Its node is away, this user may not ask, or its image is older than the question.
            return None

    # -- who could sleep --------------------------------------------------------------------------

    def _environments(self) -> Sequence[EnvironmentSummary]:
        found = self._look("environments", ClusterInspector(self._context).list)
        return found or ()

    def _refusal(self, faults: Sequence[_Fault], pods: Sequence[Object] | None) -> RefusedError:
        """Return the error: what there is too little of, and what would help."""
        others = [fault for fault in faults if fault.remedy]
        sleepy = [fault for fault in faults if not fault.remedy]
        hints = [fault.remedy for fault in others]
        if sleepy:
            hints.insert(0, self._sleep_hint(sleepy))
        return RefusedError(
            f"{self._names.branch} does not fit: " + "; ".join(each.message for each in faults),
            hint=f"--no-capacity-check goes on all the same; {'; '.join(hints)}",
        )

    def _sleep_hint(self, faults: Sequence[_Fault]) -> str:
        candidates = self._candidates()
        names = {each.namespace: each.branch for each in candidates}
        chosen = fewest_sleepers(
            list(names), lambda gone: all(fault.fits(gone) for fault in faults)
        )
        if chosen is None:
            if not names:
                return "nobody is awake who could sleep"
            return f"it would not fit even if all {len(names)} slept that may"
        shown = [names[each] for each in chosen[:SHOWN_MAX]]
        more = f" and {len(chosen) - SHOWN_MAX} more" if len(chosen) > SHOWN_MAX else ""
        env = self._names.environment
        commands = "; ".join(f"./inv sleep --env {env} --branch {quote(each)}" for each in shown)
        return f"it would fit if {', '.join(shown)}{more} slept: {commands}"

    def _candidates(self) -> list[EnvironmentSummary]:
        """Return who is awake and may sleep, the one that was used the longest ago first."""
        if self._context.own.protected:
            return []
        now = self._cluster.now()
        found = [
            each
            for each in self._environments()
            if each.state in AWAKE
            and each.namespace != self._names.namespace
            and not each.rest.pinned(now)
        ]
        return sorted(found, key=lambda each: each.rest.used_at or each.deployed_at)

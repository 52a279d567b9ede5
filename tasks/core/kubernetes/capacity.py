"""Whether a release fits into a cluster: nodes, quota, rules of a load balancer, connections.

What is asked is what the scheduler and the quota ask: requests, not what is used. Affinity, spread
and volumes that are bound to a zone are left to the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.core.cost import NO_REQUESTS, Requests, gibibytes, processors, total
from tasks.core.kubernetes.manifests import COMPONENT
from tasks.core.kubernetes.objects import Object
from tasks.core.kubernetes.requests import of_amounts, of_claim, of_pod, parse_quantity
from tasks.core.plural import number_of

_BLOCKS = frozenset({"NoSchedule", "NoExecute"})
_ENDED = frozenset({"Succeeded", "Failed"})
_WORKLOADS = frozenset({"Deployment", "StatefulSet"})

MAX_CHILDREN = "FPM_MAX_CHILDREN"
CHILDREN = 10
"""As in docker/mautic/Dockerfile: each process of php-fpm holds one connection at a time."""
ROLES = frozenset({"web", "worker", "cron", "migrate"})
"""What the first argument of a container of the mautic image may be that asks the database."""


@dataclass(frozen=True)
class Placing:
    """A pod that is to be placed.

    Attributes:
        name: what it is of: ``web``.
        connections: how many connections to the database server it may hold.
    """

    name: str
    requests: Requests
    limits: Requests = NO_REQUESTS
    connections: int = 0
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Object] = ()


@dataclass(frozen=True)
class Needs:
    """What a deploy needs beside what is there already.

    Attributes:
        pods: those that are new, or run beside the ones that they replace.
        claims: storage classes and sizes, in bytes, of new volumes.
        rules: new rules of the load balancer.
    """

    pods: tuple[Placing, ...]
    claims: tuple[tuple[str, int], ...] = ()
    rules: int = 0


@dataclass(frozen=True)
class Present:
    """What a release's namespace has already.

    Attributes:
        others: its claims and routes.
        ending: components whose pods end before the new ones begin.
    """

    pods: Sequence[Object] = ()
    others: Sequence[Object] = ()
    ending: Collection[str] = ()


def needs_of(manifests: Iterable[Object], there: Present) -> Needs:
    """Return what a rendered release needs.

    Args:
        manifests: its objects.
        there: what its namespace has.

    Raises:
        UnreadableError: a quantity is none.
    """
    pods: list[Placing] = []
    claims: list[tuple[str, int]] = []
    running = [item for item in there.pods if not _has_ended(item)]
    names = {item["metadata"]["name"] for item in there.others}
    rules = 0
    for item in manifests:
        name = item["metadata"]["name"]
        if item["kind"] in _WORKLOADS or item["kind"] == "Job":
            shape = placing(item["spec"]["template"])
            count = sum(_is_of(item, pod) for pod in running)
            pods += [shape] * _more(item, count, beside=shape.name not in there.ending)
        if item["kind"] == "PersistentVolumeClaim" and name not in names:
            claims.append(_claim(item))
        if item["kind"] in RULES and name not in names:
            rules += RULES[item["kind"]](item["spec"])
        templates = item["spec"].get("volumeClaimTemplates") or () if "spec" in item else ()
        for template in templates:
            own = [f"{template['metadata']['name']}-{name}-{n}" for n in range(_count(item))]
            claims += [_claim(template) for each in own if each not in names]
    return Needs(tuple(pods), tuple(claims), rules)


def placing(template: Object) -> Placing:
    """Return the pod of a template, or a pod itself, as it is placed."""
    spec = template["spec"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    return Placing(
        name=labels.get(COMPONENT, ""),
        requests=of_pod(spec),
        limits=of_pod(spec, "limits"),
        connections=sum(map(_connections, spec["containers"])),
        selector=spec.get("nodeSelector") or {},
        tolerations=spec.get("tolerations") or (),
    )


def _connections(container: Object) -> int:
    role = (container.get("args") or [""])[0]
    if role not in ROLES:
        return 0
    if role != "web":
        return 1
    said = {each["name"]: each.get("value", "") for each in container.get("env") or ()}
    children = said.get(MAX_CHILDREN, "")
    return int(children) if children.isdecimal() else CHILDREN


def _more(item: Object, running: int, *, beside: bool) -> int:
    """Return how many pods a workload adds to those that run of it.

    Args:
        beside: whether its new pods run beside the old ones.
    """
    if item["kind"] == "Job":
        return 1
    count = _count(item)
    strategy = (item["spec"].get("strategy") or {}).get("type", "RollingUpdate")
    rolls = item["kind"] == "Deployment" and strategy == "RollingUpdate" and running and count
    # One at a time.
    return max(count - running, 1 if rolls and beside else 0)


def _is_of(workload: Object, pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    wanted = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return bool(wanted) and wanted.items() <= labels.items()


def _count(item: Object) -> int:
    return int(item["spec"].get("replicas", 1))


def _claim(claim: Object) -> tuple[str, int]:
    return claim["spec"].get("storageClassName") or "", of_claim(claim).storage


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in _ENDED


# -- nodes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NodeRoom:
    """One node that takes pods.

    Attributes:
        free: what no pod has requested.
        pods: how many more pods it takes.
        taken: what each namespace has requested there, with its number of pods.
    """

    name: str
    free: Requests
    pods: int
    labels: Mapping[str, str]
    taints: Sequence[Object]
    taken: Mapping[str, tuple[Requests, int]] = field(default_factory=dict)

    def without(self, namespaces: Collection[str]) -> NodeRoom:
        """Return the node as it were without the pods of some namespaces."""
        gone = [self.taken[name] for name in namespaces if name in self.taken]
        free = total((self.free, *(requests for requests, _ in gone)))
        pods = self.pods + sum(count for _, count in gone)
        return NodeRoom(self.name, free, pods, self.labels, self.taints)

    def takes(self, pod: Placing) -> bool:
        """Return True if the scheduler may place a pod there."""
        is_chosen = all(self.labels.get(key) == pod.selector[key] for key in pod.selector)
        return is_chosen and all(_is_tolerated(taint, pod.tolerations) for taint in self.taints)


def node_rooms(nodes: Iterable[Object], pods: Iterable[Object]) -> list[NodeRoom]:
    """Return the nodes that take pods, and what is free there.

    Raises:
        UnreadableError: a quantity is none.
    """
    taken: dict[str, dict[str, tuple[Requests, int]]] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName", "")
        if not node or _has_ended(pod):
            continue
        here, namespace = taken.setdefault(node, {}), pod["metadata"]["namespace"]
        requests, count = here.get(namespace, (NO_REQUESTS, 0))
        here[namespace] = (requests + of_pod(pod["spec"]), count + 1)
    return [_room(node, taken.get(node["metadata"]["name"], {})) for node in nodes if _takes(node)]


def _takes(node: Object) -> bool:
    ready = [
        each["status"] == "True"
        for each in node.get("status", {}).get("conditions") or ()
        if each["type"] == "Ready"
    ]
    return all(ready) and not node.get("spec", {}).get("unschedulable")


def _room(node: Object, taken: Mapping[str, tuple[Requests, int]]) -> NodeRoom:
    known = node["status"].get("allocatable") or {}
    there, used = of_amounts(known), total(requests for requests, _ in taken.values())
    return NodeRoom(
        name=node["metadata"]["name"],
        free=Requests(there.cpu - used.cpu, there.memory - used.memory),
        pods=int(parse_quantity(known.get("pods", "110"))) - sum(n for _, n in taken.values()),
        labels=node["metadata"].get("labels") or {},
        taints=[
            each for each in node.get("spec", {}).get("taints") or () if each["effect"] in _BLOCKS
        ],
        taken=taken,
    )


def _is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    for each in tolerations:
        is_effect = each.get("effect", taint["effect"]) == taint["effect"]
        is_key = each.get("key", taint["key"]) == taint["key"]
        any_value = each.get("operator") == "Exists"
        if is_effect and is_key and (any_value or each.get("value", "") == taint.get("value", "")):
            return True
    return False


def unplaced(pods: Iterable[Placing], rooms: Sequence[NodeRoom]) -> list[Placing]:
    """Return the pods that find no node.

    The greatest are placed first, on the fullest node that takes them, and once more on the
    emptiest: what fits either way, fits. That both ways fail is no proof, but rare.
    """
    tries = [_place(pods, rooms, fullest=fullest) for fullest in (True, False)]
    return min(tries, key=len)


def _place(pods: Iterable[Placing], rooms: Sequence[NodeRoom], *, fullest: bool) -> list[Placing]:
    left = {room.name: (room.free, room.pods) for room in rooms}
    lost = []
    for pod in sorted(pods, key=lambda each: _size(each.requests), reverse=True):
        fits = [
            room.name
            for room in rooms
            if room.takes(pod) and _holds(left[room.name][0], pod.requests) and left[room.name][1]
        ]
        if not fits:
            lost.append(pod)
            continue
        choose = min if fullest else max
        name = choose(fits, key=lambda each: _size(left[each][0]))
        free, count = left[name]
        rest = Requests(free.cpu - pod.requests.cpu, free.memory - pod.requests.memory)
        left[name] = (rest, count - 1)
    return lost


def _holds(free: Requests, asked: Requests) -> bool:
    return free.cpu >= asked.cpu and free.memory >= asked.memory


def _size(requests: Requests) -> tuple[int, int]:
    return requests.memory, requests.cpu


def nodes_fault(pods: Sequence[Placing], rooms: Sequence[NodeRoom]) -> str:
    """Return why pods find no node, in words; empty if all do."""
    lost = unplaced(pods, rooms)
    if not lost:
        return ""
    worst = max(lost, key=lambda each: _size(each.requests))
    open_to = [room for room in rooms if room.takes(worst) and room.pods > 0]
    free = max((room.free for room in open_to), key=_size, default=NO_REQUESTS)
    nodes = number_of(len(rooms), "node")
    has = (
        f"the freest of {nodes} has {_told(free)} left" if open_to else f"none of {nodes} takes it"
    )
    count = f"{len(lost)} of {len(pods)} pods find no node"
    return f"{count}: {worst.name} requests {_told(worst.requests)}, and {has}"


def _told(requests: Requests) -> str:
    return f"{processors(requests.cpu)} processors and {gibibytes(requests.memory)}"


# -- quota, rules, connections --------------------------------------------------------------------


def quota_fault(quotas: Iterable[Object], needs: Needs) -> str:
    """Return what a namespace's quotas leave too little of, in words; empty if nothing.

    Those of a scope are for other pods.

    Raises:
        UnreadableError: a quantity is none.
    """
    asked = _asked(needs)
    faults = []
    for quota in quotas:
        spec = quota["spec"]
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        used = (quota.get("status") or {}).get("used") or {}
        for name, most in (spec.get("hard") or {}).items():
            left = parse_quantity(str(most)) - parse_quantity(str(used.get(name, "0")))
            if asked.get(name, Decimal(0)) > max(left, Decimal(0)):
                faults.append(
                    f"{quota['metadata']['name']} allows {most} of {name}, {used.get(name, '0')} "
                    f"of it used, and {_plain(name, asked[name])} more is needed"
                )
    return "; ".join(faults)


def _asked(needs: Needs) -> dict[str, Decimal]:
    """Return what is needed by the names that a quota has for it."""
    requests = total(pod.requests for pod in needs.pods)
    limits = total(pod.limits for pod in needs.pods)
    cpu, memory = Decimal(requests.cpu) / 1000, Decimal(requests.memory)
    return {
        "cpu": cpu,
        "requests.cpu": cpu,
        "memory": memory,
        "requests.memory": memory,
        "limits.cpu": Decimal(limits.cpu) / 1000,
        "limits.memory": Decimal(limits.memory),
        "pods": Decimal(len(needs.pods)),
        "persistentvolumeclaims": Decimal(len(needs.claims)),
        "requests.storage": Decimal(sum(size for _, size in needs.claims)),
    }


def _plain(name: str, amount: Decimal) -> str:
    return gibibytes(int(amount)) if name.endswith(("memory", "storage")) else f"{amount:f}"


def _route_rules(spec: Object) -> int:
    return sum(max(1, len(rule.get("matches") or ())) for rule in spec.get("rules") or ())


def _ingress_rules(spec: Object) -> int:
    paths = ((rule.get("http") or {}).get("paths") or () for rule in spec.get("rules") or ())
    return sum(max(1, len(each)) for each in paths)


RULES: Mapping[str, Callable[[Object], int]] = {
    "HTTPRoute": _route_rules,
    "Ingress": _ingress_rules,
}
"""How many rules of a load balancer a route takes, by its kind."""


def rules_fault(needed: int, routes: Iterable[Object], most: int) -> str:
    """Return that a load balancer has too few rules left, in words; empty if not.

    Args:
        needed: how many more.
        routes: all routes that there are.
        most: how many rules it may have.
    """
    used = sum(RULES[item["kind"]](item["spec"]) for item in routes)
    if used + needed <= most:
        return ""
    return f"the load balancer has {used} of {most} rules, and {needed} more are needed"


@dataclass(frozen=True)
class Connections:
    """The connections of a database server.

    Attributes:
        most: how many it takes.
        used: how many there are.
    """

    most: int
    used: int


def connections_fault(found: Connections, pods: Iterable[Placing], freed: int = 0) -> str:
    """Return that a database server has too few connections left, in words; empty if not.

    Args:
        pods: what is to be placed.
        freed: how many others would give up.
    """
    needed = sum(pod.connections for pod in pods)
    if found.used - freed + needed <= found.most:
        return ""
    return (
        f"the database server has {found.used} of {found.most} connections, and {needed} more may "
        "be needed"
    )


# -- who could sleep ------------------------------------------------------------------------------


def fewest_sleepers(
    candidates: Sequence[str], fits: Callable[[Collection[str]], bool]
) -> tuple[str, ...] | None:
    """Return candidates without whom it fits, and none of them for nothing; None if it never does.

    Args:
        candidates: who may sleep, in the order in which they are asked to.
        fits: whether it fits without some of them.
    """
    if not (candidates and fits(candidates)):
        return None
    chosen: list[str] = []
    for each in candidates:
        chosen.append(each)
        if fits(chosen):
            break
    for each in chosen[:-1]:
        rest = [other for other in chosen if other != each]
        if fits(rest):
            chosen = rest
    return tuple(chosen)


def pools(pods: Iterable[Object]) -> Iterator[tuple[str, int]]:
    """Yield the namespaces of pods that run, and the connections that each pod may hold."""
    for pod in pods:
        if not _has_ended(pod):
            yield pod["metadata"]["namespace"], placing(pod).connections

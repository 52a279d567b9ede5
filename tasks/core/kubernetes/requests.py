"""What the objects of an environment request, and what its pods use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from tasks.core.cost import NO_REQUESTS, Requests, total
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.objects import Object

_QUANTITY = re.compile(
    r"([+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse_quantity(text: str) -> Decimal:
    """Return the number that a quantity means: ``100m``, ``1.5``, ``384Mi``, ``1e3``.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

    Raises:
        UnreadableError: it is none.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise UnreadableError(f"{text!r} is no quantity")
    number, unit, exponent = found.groups()
    if unit in _BINARY:
        return Decimal(number) * (1 << _BINARY[unit])
    return Decimal(number).scaleb(_DECIMAL.get(unit, 0) if unit else int(exponent or 0))


def requests_of(workloads: Iterable[Object], claims: Iterable[Object]) -> Requests:
    """Return what Deployments, StatefulSets and claims request.

    Raises:
        UnreadableError: a quantity in them is none.
    """
    pods = (of_pod(item["spec"]["template"]["spec"]).times(_count(item)) for item in workloads)
    return total((*pods, *map(of_claim, claims)))


def used_by(metrics: Iterable[Object]) -> dict[str, Requests]:
    """Return what the pods of each namespace use, by the API's PodMetrics.

    Raises:
        UnreadableError: a quantity in them is none.
    """
    used: dict[str, Requests] = {}
    for pod in metrics:
        namespace = pod["metadata"]["namespace"]
        here = total(of_amounts(each.get("usage")) for each in pod.get("containers") or ())
        used[namespace] = used.get(namespace, NO_REQUESTS) + here
    return used


def _count(workload: Object) -> int:
    return int(workload["spec"].get("replicas", 1))


def of_pod(spec: Object, kind: str = "requests") -> Requests:
    """Return what a pod is scheduled by: all that runs, or the greatest that runs before.

    Args:
        spec: the pod's.
        kind: ``requests`` or ``limits``.

    Raises:
        UnreadableError: a quantity in it is none.
    """

    def amounts(container: Object) -> Requests:
        return of_amounts((container.get("resources") or {}).get(kind))

    before = [amounts(each) for each in spec.get("initContainers") or () if not _stays(each)]
    beside = [each for each in spec.get("initContainers") or () if _stays(each)]
    runs = total(map(amounts, (*spec["containers"], *beside)))
    for each in before:
        runs = runs.at_least(each)
    return runs


def _stays(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def of_claim(claim: Object) -> Requests:
    """Return the storage that a claim requests."""
    asked = (claim["spec"].get("resources") or {}).get("requests") or {}
    return Requests(storage=int(parse_quantity(asked.get("storage", "0"))))


def of_amounts(said: Object | None) -> Requests:
    """Return the processors and the memory of a list of resources."""
    known = said or {}
    cpu, memory = (parse_quantity(known.get(name, "0")) for name in ("cpu", "memory"))
    return Requests(int(cpu * 1000), int(memory))

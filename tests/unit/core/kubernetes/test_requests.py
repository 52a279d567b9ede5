"""What objects of the API request, in numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tasks.core.cost import GIB, Requests
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.requests import parse_quantity, requests_of, used_by


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("2", "2"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("100m", "0.1"),
        ("12345678n", "0.012345678"),
        ("384Mi", "402653184"),
        ("1Gi", "1073741824"),
        ("0.5Gi", "536870912"),
        ("5G", "5000000000"),
        ("1e3", "1000"),
        ("12E", "12000000000000000000"),
        ("15E-1", "1.5"),
    ],
)
def test_a_quantity_is_what_kubernetes_means_by_it(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1gi", "1e", "1e999", "1,5", "--1", "0x10"])
def test_what_is_no_quantity_is_none(text: str) -> None:
    with pytest.raises(UnreadableError, match="is no quantity"):
        parse_quantity(text)


def container(cpu: str = "", memory: str = "", **more: Any) -> dict[str, Any]:
    said = {key: value for key, value in {"cpu": cpu, "memory": memory}.items() if value}
    return {"resources": {"requests": said} if said else {}, **more}


def workload(*containers: dict[str, Any], replicas: int | None = 1, **spec: Any) -> dict[str, Any]:
    pod = {"spec": {"containers": list(containers), **spec}}
    count = {} if replicas is None else {"replicas": replicas}
    return {"spec": {**count, "template": pod}}


MI = 1024**2


@pytest.mark.parametrize(
    ("item", "requests"),
    [
        (
            workload(container("20m", "32Mi"), container("100m", "384Mi"), replicas=2),
            Requests(240, 832 * MI),
        ),
        (workload(container("1"), replicas=None), Requests(1000)),
        (workload(container("1"), replicas=0), Requests()),
        (workload(container()), Requests()),
        # What runs before counts where it is greater, each by itself.
        (
            workload(container("100m", "64Mi"), initContainers=[container("50m", "1Gi")]),
            Requests(100, GIB),
        ),
        # One that stays runs beside.
        (
            workload(container("100m"), initContainers=[container("50m", restartPolicy="Always")]),
            Requests(150),
        ),
    ],
)
def test_a_workload_requests_what_its_pods_are_scheduled_by(
    item: dict[str, Any], requests: Requests
) -> None:
    assert requests_of([item], []) == requests


def test_claims_request_storage() -> None:
    claims = [{"spec": {"resources": {"requests": {"storage": size}}}} for size in ("5Gi", "8Gi")]
    assert requests_of([workload(container("1"))], claims) == Requests(1000, 0, 13 * GIB)


def test_what_pods_use_is_summed_by_namespace() -> None:
    def pod(namespace: str, *usages: dict[str, str]) -> dict[str, Any]:
        found = [{"name": "x", "usage": usage} for usage in usages]
        return {"metadata": {"namespace": namespace}, "containers": found}

    found = used_by(
        [
            pod("a", {"cpu": "3456789n", "memory": "12Ki"}, {"cpu": "100m", "memory": "1Mi"}),
            pod("b", {}),
            pod("a", {"cpu": "1", "memory": "0"}),
        ]
    )
    assert found == {"a": Requests(1103, 12 * 1024 + MI), "b": Requests()}

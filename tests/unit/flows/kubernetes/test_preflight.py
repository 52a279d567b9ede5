"""What a cluster lacks for a deploy: all of it is told at once, and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.errors import SuiteError
from tasks.core.kubernetes.rights import RIGHTS
from tasks.flows.kubernetes.preflight import preflight
from tests.support.fakes_cluster import NAMESPACE, FakeCluster

VALUES: dict[str, Any] = {
    "route": {"kind": "httproute", "gateway": {"name": "door", "namespace": "platform"}},
    "door": {"oidc": {"userPoolArn": ""}},
    "limitRange": {"enabled": True},
    "quota": {"enabled": True},
    "media": {"storageClass": "shared"},
    "mysql": {"storageClass": "fast"},
}
LOGIN: dict[str, Any] = {"door": {"oidc": {"userPoolArn": "arn"}}}
OWN = {"name": "own"}
ALL = "* *"
"""What a CI job lacks; whoever has all rights is asked about none of them."""


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster that has what the values name."""
    made = FakeCluster()
    made.put("Gateway", "door", "platform")
    made.put("Gateway", "own", NAMESPACE)
    listeners = [{"name": "http", "protocol": "HTTP"}, {"name": "https", "protocol": "HTTPS"}]
    made.objects["Gateway", NAMESPACE, "own"]["spec"] = {"listeners": listeners}
    made.put("StorageClass", "shared")
    made.put("StorageClass", "fast")
    made.put("IngressClass", "public")
    return made


def problems(cluster: Any, values: dict[str, Any], *, exists: bool = True) -> list[str]:
    try:
        preflight(cluster, NAMESPACE, values, exists=exists)
    except SuiteError as error:
        start, _, said = error.message.partition(": ")
        assert start == "the cluster is not ready for this deploy"
        assert str(error.hint).startswith("nothing was changed")
        return said.split("; ")
    finally:
        assert cluster.seen == []
    return []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"media": {"storageClass": ""}, "mysql": None}, []),
        (
            {"media": {"storageClass": "x"}, "mysql": {"storageClass": "y"}},
            [
                "there is no storage class x (media.storageClass)",
                "there is no storage class y (mysql.storageClass)",
            ],
        ),
        ({"route": {"kind": "httproute", "gateway": {"name": "own"}}}, []),
        (
            {"route": {"kind": "httproute", "gateway": {"name": "door"}}},
            [f"there is no gateway {NAMESPACE}/door (route.gateway)"],
        ),
        (
            {"route": {"kind": "httproute"}},
            [f"there is no gateway {NAMESPACE}/ (route.gateway)"],
        ),
        ({"route": {"kind": "ingress", "ingress": {"className": "public"}}}, []),
        ({"route": {"kind": "ingress", "ingress": {"className": ""}}}, []),
        ({"route": {"kind": "ingress"}}, []),
        (
            {"route": {"kind": "ingress", "ingress": {"className": "x"}}},
            ["there is no ingress class x (route.ingress.className)"],
        ),
        ({"route": {"kind": "none"}}, []),
        (LOGIN | {"route": {"kind": "httproute", "gateway": OWN | {"sectionName": "https"}}}, []),
        *(
            (
                LOGIN | {"route": {"kind": "httproute", "gateway": OWN | {"sectionName": name}}},
                [
                    f"the gateway {NAMESPACE}/own has no HTTPS listener {name!r} "
                    "(route.gateway.sectionName), and door: oidc needs one"
                ],
            )
            for name in ("http", "x")
        ),
    ],
)
def test_classes_and_gateways(
    cluster: FakeCluster, changes: dict[str, Any], told: list[str]
) -> None:
    assert problems(cluster, VALUES | changes) == told


@pytest.mark.parametrize(
    ("exists", "forbidden", "told"),
    [
        (True, [], []),
        (True, [ALL], []),
        # Rights everywhere need no list of them.
        (True, ["create Secret"], []),
        (
            True,
            [ALL, "create Secret", "delete Secret", "get Pod/exec"],
            [
                f"you may not create, delete Secret objects in {NAMESPACE}",
                f"you may not get Pod/exec objects in {NAMESPACE}",
            ],
        ),
        (False, [ALL], []),
        (False, [ALL, "create Namespace"], ["you may not create namespaces"]),
        # Who may bind roles in the namespace that it makes gets the rights with it.
        (False, [ALL, "create Secret"], []),
        (
            False,
            [ALL, "create RoleBinding", "create Secret"],
            [f"you may not create Secret objects in {NAMESPACE}"],
        ),
        (
            False,
            [ALL, "create RoleBinding", "create Namespace", "create Secret"],
            [
                "you may not create namespaces",
                f"you may not create Secret objects in {NAMESPACE}",
            ],
        ),
    ],
)
def test_rights(cluster: FakeCluster, exists: bool, forbidden: list[str], told: list[str]) -> None:
    cluster.forbidden = forbidden
    assert problems(cluster, VALUES, exists=exists) == told


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"quota": {"enabled": False}}, "ResourceQuota"),
        ({"limitRange": {"enabled": False}}, "LimitRange"),
        ({"route": {"kind": "ingress"}}, "HTTPRoute"),
        ({}, "Ingress"),
        ({}, "ListenerRuleConfiguration"),
    ],
)
def test_what_is_not_made_needs_no_right(
    cluster: FakeCluster, changes: dict[str, Any], kind: str
) -> None:
    cluster.forbidden = [ALL, *(f"{verb} {kind}" for verb in RIGHTS[kind])]
    assert problems(cluster, VALUES | changes) == []


def test_everything_is_told_at_once(cluster: FakeCluster) -> None:
    cluster.objects.clear()
    cluster.forbidden = [ALL, "create Lease", "patch Deployment"]
    assert problems(cluster, VALUES) == [
        f"you may not patch Deployment objects in {NAMESPACE}",
        f"you may not create Lease objects in {NAMESPACE}",
        "there is no storage class shared (media.storageClass)",
        "there is no storage class fast (mysql.storageClass)",
        "there is no gateway platform/door (route.gateway)",
    ]

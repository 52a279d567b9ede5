"""The node's add-ons: which names its DNS answers, and what NetworkPolicies let through."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.realnode.addons import CHAIN, _without, filter_rules, matches, names

Object = dict[str, Any]

WEB, MYSQL, STRANGER = "10.247.0.2", "10.247.0.3", "10.247.0.4"
SPACES = {"a": {"team": "x"}, "b": {"team": "y"}}
TO_PODS = {"podSelector": {"matchLabels": {"app": "mysql"}}}


def pod(address: str, app: str, space: str = "a", **spec: Any) -> Object:
    container = {"ports": [{"name": "site", "containerPort": 8080}]}
    return {
        "metadata": {"namespace": space, "labels": {"app": app}},
        "spec": {"containers": [container], **spec},
        "status": {"podIP": address, "phase": "Running"},
    }


def policy(space: str = "a", app: str = "web", **spec: Any) -> Object:
    selector = {"podSelector": {"matchLabels": {"app": app}}}
    return {"metadata": {"namespace": space}, "spec": {**selector, **spec}}


PODS = [pod(WEB, "web"), pod(MYSQL, "mysql"), pod(STRANGER, "mysql", "b")]


def rules(*policies: Object, pods: list[Object] = PODS) -> list[str]:
    """Return the rules but the first, which lets answers through."""
    first, *others = filter_rules(pods, policies, SPACES)
    assert first == f"-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
    return others


# --- names -----------------------------------------------------------------------------------


def service(name: str, address: str) -> Object:
    return {"metadata": {"name": name, "namespace": "a"}, "spec": {"clusterIP": address}}


def endpoints(name: str, *each: Object) -> Object:
    labels = {"kubernetes.io/service-name": name}
    return {"metadata": {"namespace": "a", "labels": labels}, "endpoints": list(each)}


def test_a_service_is_its_own_address() -> None:
    web = endpoints("web", {"addresses": [WEB], "conditions": {"ready": True}})

    assert names([service("web", "10.248.0.9")], [web]) == {
        "web.a.svc.cluster.local": ["10.248.0.9"]
    }


def test_a_headless_service_is_its_pods_that_are_ready() -> None:
    ready: Object = {"addresses": [WEB], "hostname": "db-0", "conditions": {"ready": True}}
    unknown: Object = {"addresses": [MYSQL]}
    starting: Object = {"addresses": [STRANGER], "conditions": {"ready": False}}

    assert names([service("db", "None")], [endpoints("db", ready, unknown, starting)]) == {
        "db-0.db.a.svc.cluster.local": [WEB],
        "db.a.svc.cluster.local": [WEB, MYSQL],
    }


def test_a_service_without_pods_has_no_names() -> None:
    slices = [{"metadata": {"namespace": "a"}, "endpoints": None}]

    assert names([service("db", "None")], slices) == {}


# --- policies --------------------------------------------------------------------------------


def test_without_a_policy_everything_passes() -> None:
    assert rules() == []


def test_a_policy_without_rules_denies_both_ways() -> None:
    assert rules(policy(policyTypes=["Ingress", "Egress"])) == [
        f"-A {CHAIN} -d {WEB} -j MULTIDEV-In-{WEB}",
        f"-A MULTIDEV-In-{WEB} -j DROP",
        f"-A {CHAIN} -s {WEB} -j MULTIDEV-Eg-{WEB}",
        f"-A MULTIDEV-Eg-{WEB} -j DROP",
    ]


def test_a_rule_lets_its_ports_through_to_the_pods_of_its_own_namespace() -> None:
    ports = [{"protocol": "UDP", "port": 53}, {"port": 3306, "endPort": 3310}]

    assert rules(policy(policyTypes=["Egress"], egress=[{"ports": ports, "to": [TO_PODS]}])) == [
        f"-A {CHAIN} -s {WEB} -j MULTIDEV-Eg-{WEB}",
        f"-A MULTIDEV-Eg-{WEB} -d {MYSQL} -p udp --dport 53 -j RETURN",
        f"-A MULTIDEV-Eg-{WEB} -d {MYSQL} -p tcp --dport 3306:3310 -j RETURN",
        f"-A MULTIDEV-Eg-{WEB} -j DROP",
    ]


def test_policies_of_one_pod_add_up_and_end_in_one_denial() -> None:
    def site(number: int) -> Object:
        return policy(ingress=[{"ports": [{"port": number}]}])

    assert rules(site(80), site(443))[1:] == [
        f"-A MULTIDEV-In-{WEB} -p tcp --dport 80 -j RETURN",
        f"-A MULTIDEV-In-{WEB} -p tcp --dport 443 -j RETURN",
        f"-A MULTIDEV-In-{WEB} -j DROP",
    ]


@pytest.mark.parametrize(
    ("peer", "passes"),
    [
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, [STRANGER]),
        ({"namespaceSelector": {}}, [WEB, MYSQL, STRANGER]),
        ({"namespaceSelector": {}, **TO_PODS}, [MYSQL, STRANGER]),
        ({"namespaceSelector": {"matchLabels": {"team": "z"}}}, []),
        (TO_PODS, [MYSQL]),
        ({"ipBlock": {"cidr": "192.0.2.0/24"}}, ["192.0.2.0/24"]),
    ],
)
def test_a_peer_is_pods_by_namespace_and_labels_or_a_network(
    peer: Object, passes: list[str]
) -> None:
    chain = f"MULTIDEV-In-{WEB}"

    assert rules(policy(ingress=[{"from": [peer]}]))[1:] == [
        *(f"-A {chain} -s {each} -j RETURN" for each in passes),
        f"-A {chain} -j DROP",
    ]


def test_a_port_by_name_is_that_of_the_pod() -> None:
    known, unknown = ({"ports": [{"port": name}]} for name in ("site", "none"))

    assert rules(policy(ingress=[known, unknown]))[1:] == [
        f"-A MULTIDEV-In-{WEB} -p tcp --dport 8080 -j RETURN",
        f"-A MULTIDEV-In-{WEB} -j DROP",
    ]


def test_pods_without_an_address_of_their_own_are_no_business_of_policies() -> None:
    on_the_node = pod(WEB, "web", hostNetwork=True)
    ended = pod(WEB, "web")
    ended["status"]["phase"] = "Succeeded"
    waiting = pod("", "web")

    assert rules(policy(), pods=[on_the_node, ended, waiting]) == []


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["x"], True),
        ("In", ["y"], False),
        ("NotIn", ["x"], False),
        ("NotIn", ["y"], True),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_selectors_have_expressions(operator: str, values: list[str] | None, fits: bool) -> None:
    expression = {"key": "team", "operator": operator, "values": values}

    assert matches({"matchExpressions": [expression]}, {"team": "x"}) is fits
    if operator in {"In", "Exists"}:
        assert not matches({"matchExpressions": [expression]}, None)


# --- networks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cidr", "excepted", "left"),
    [
        ("10.0.0.0/30", None, ["10.0.0.0/30"]),
        ("10.0.0.1/30", [], ["10.0.0.0/30"]),
        ("10.0.0.0/30", ["10.0.0.0/32"], ["10.0.0.1/32", "10.0.0.2/31"]),
        ("10.0.0.0/30", ["10.0.0.3/32", "10.0.0.0/32"], ["10.0.0.1/32", "10.0.0.2/32"]),
        ("10.0.0.0/30", ["10.0.0.0/32", "10.0.0.0/31"], ["10.0.0.2/31"]),
        ("10.0.0.0/30", ["192.0.2.0/24"], ["10.0.0.0/30"]),
        ("10.0.0.0/30", ["10.0.0.0/30"], []),
        ("::/0", ["fd00::/8"], []),
    ],
)
def test_a_block_without_its_exceptions(
    cidr: str, excepted: list[str] | None, left: list[str]
) -> None:
    assert [str(network) for network in _without(cidr, excepted)] == left

"""What a branch's NetworkPolicies may open: CI jobs at a real API server with the platform."""

from __future__ import annotations

import copy
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import ApiRequest
from tasks.core.environment import Owner, State
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.handover import policies
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.network import network_rules
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Names, names
from tasks.flows.handover import PORT
from tasks.flows.kubernetes.access import grant_access
from tasks.flows.kubernetes.values import merge_values
from tests.support.chart import REQUIRED, image, overlay
from tests.support.platform import BRANCHES, MAIN, Audited, audited, found_helm, install_chart
from tests.support.suite import ROOT

Object = dict[str, Any]

PLATFORM = "mautic-system"
FILES = {
    name: [f"helm/environments/{name}.yaml", f"helm/environments/aws-{name}.yaml"]
    for name in ("dev", "prod")
}
OWN: dict[str, Object] = {
    "dev": {
        "networkPolicy": {
            "gateway": {"namespaces": ["gateway", "entrance"]},
            "dns": {"namespaces": ["kube-system", "dns"], "cidrs": ["169.254.20.10/32"]},
        },
    },
    "prod": {
        "images": {"redis": image("redis")},
        "networkPolicy": {
            "podIdentity": True,
            "extraEgress": [
                {
                    "ports": [{"protocol": "TCP", "port": 25}],
                    "to": [
                        {"ipBlock": {"cidr": "10.9.0.25/32"}},
                        {
                            "namespaceSelector": {
                                "matchLabels": {"kubernetes.io/metadata.name": "relay"}
                            }
                        },
                    ],
                }
            ],
        },
    },
}
"""What the administrator's values files have besides."""


def chart_values(environment: str) -> Object:
    given = {**REQUIRED, "networkPolicy": {}}
    return overlay(merge_values(ROOT, FILES[environment], given), OWN[environment])


VALUES: Object = {
    "access": {
        "main": {"group": MAIN, "environments": ["dev", "prod"]},
        "branches": {"group": BRANCHES, "environments": ["dev"]},
    },
    "network": {"environments": {name: network_rules(chart_values(name)) for name in FILES}},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("network-plane"))


@pytest.fixture(scope="module")
def helm() -> Path:
    return found_helm()


@pytest.fixture(scope="module")
def admin(plane: Audited) -> Cluster:
    """The administrator, after the platform has been installed."""
    return install_chart(plane, VALUES)


@pytest.fixture(scope="module")
def jobs(plane: Audited, admin: Cluster) -> dict[str, Cluster]:
    """A CI job of each environment."""
    return {
        "dev": plane.client("job-of-a-branch", BRANCHES),
        "prod": plane.client("job-of-main", MAIN),
    }


@pytest.fixture(scope="module")
def spaces(jobs: dict[str, Cluster]) -> dict[str, str]:
    """A namespace of each environment that its job has made, with policies in effect."""
    found = {}
    for name, job in jobs.items():
        own = _names(name)
        owner = Owner(name, own.slug, own.branch, "https://git.example.com/mautic.git")
        job.create(namespace(owner, own, ClusterRecord(State.DEPLOYING, own.url), ""))
        grant_access(job, own.namespace, name, own.branch)
        found[name] = own.namespace
    end = time.monotonic() + 30
    everything = policy(egress=[{}])
    # The API server reads new policies a moment later.
    while said(jobs["dev"], found["dev"], everything) == "":
        assert time.monotonic() < end, "the policy has no effect"
        time.sleep(0.1)
    return found


def _names(environment: str) -> Names:
    is_fixed = environment == "prod"
    return names(
        "main" if is_fixed else "feature",
        environment=environment,
        project="mautic",
        namespace="{project}-prod" if is_fixed else "{project}-{slug}",
        host="mautic.example.com" if is_fixed else "{slug}.dev.example.com",
    )


OTHER = replace(_names("dev"), branch="other", namespace="mautic-other", release="mautic-other")
(WAY_IN, _), (_, WAY_OUT) = (
    policies(_names("dev"), OTHER, PORT),
    policies(OTHER, _names("dev"), PORT),
)
"""What `inv db.copy` makes for the branch that gets data, and for the one that has it."""


def policy(**spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"own-{secrets.token_hex(3)}"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec},
    }


def said(job: Cluster, where: str, item: Object) -> str:
    """Return why the API refuses a NetworkPolicy; an empty string if it takes it."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{where}/networkpolicies?dryRun=All"
    try:
        job._transport.json(ApiRequest("POST", path, body=item))
    except ClusterError as error:
        return error.message
    return ""


def named(*spaces: str) -> Object:
    rule = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(spaces)}
    return {"namespaceSelector": {"matchExpressions": [rule]}}


def block(cidr: str, *holes: str) -> Object:
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}


def tcp(*ports: int | str) -> list[Object]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def egress(peer: Object, *ports: int | str) -> Object:
    return policy(egress=[{"to": [peer], **({"ports": tcp(*ports)} if ports else {})}])


def ingress(peer: Object, *ports: int | str) -> Object:
    return policy(ingress=[{"from": [peer], **({"ports": tcp(*ports)} if ports else {})}])


HOLES = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
RANGE = {"protocol": "TCP", "port": 3306, "endPort": 9000}
FIRST = block("10.20.52.0/24")
TWO = [{"to": [FIRST], "ports": tcp(3306)}, {"to": [named("mautic-other")], "ports": tcp(80)}]

ATTACKS: dict[str, Object] = {
    "out to everything": policy(egress=[{}]),
    "out to everything on one port": policy(egress=[{"ports": tcp(443)}]),
    "out to another branch": egress(named("mautic-other"), 8080),
    "out to another branch's database": egress(named("mautic-other"), 3306),
    "out to every namespace": egress({"namespaceSelector": {}}, 53),
    "out to namespaces by a label of one's own": egress(
        {"namespaceSelector": {"matchLabels": {"mautic-multidev.io/environment": "dev"}}}, 53
    ),
    "out to all namespaces but one": egress(
        {
            "namespaceSelector": {
                "matchExpressions": [
                    {
                        "key": "kubernetes.io/metadata.name",
                        "operator": "NotIn",
                        "values": ["default"],
                    }
                ]
            }
        },
        53,
    ),
    "out to the platform": egress(named(PLATFORM), 8080),
    "out to kube-system on another port": egress(named("kube-system"), 443),
    "out to kube-system on all ports": egress(named("kube-system")),
    "out to kube-system and another one": egress(named("kube-system", "mautic-other"), 53),
    "out by name resolution to any address": egress(block("8.8.8.8/32"), 53),
    "out to the internet": egress(block("0.0.0.0/0", *HOLES), 443),
    "out to the internet of IPv6": egress(block("::/0", "fc00::/7", "fe80::/10"), 443),
    "out to half of the internet": egress(block("128.0.0.0/1"), 443),
    "out to the metadata service": egress(block("169.254.169.254/32"), 80),
    "out to the agent of Pod Identity": egress(block("169.254.170.23/32"), 80),
    "out to nodes": egress(block("10.20.0.0/20"), 10250),
    "out to the database's network on all ports": egress(FIRST),
    "out to the database's network on another port": egress(FIRST, 22),
    "out to the database's network on one more port": egress(FIRST, 3306, 22),
    "out to the database's network by a range of ports": policy(
        egress=[{"to": [FIRST], "ports": [RANGE]}]
    ),
    "out to the database's network by a port's name": egress(FIRST, "mysql"),
    "out to more than the database's network": egress(block("10.20.0.0/16"), 3306),
    "out by a second rule": policy(egress=TWO),
    "out by a second peer": policy(
        egress=[{"to": [FIRST, block("10.20.99.0/24")], "ports": tcp(3306)}]
    ),
    "in from everywhere": policy(ingress=[{}]),
    "in from everywhere on one port": policy(ingress=[{"ports": tcp(8080)}]),
    "in from every namespace": ingress({"namespaceSelector": {}}),
    "in from another branch": ingress(named("mautic-other"), 8080),
    "in from another branch beside the gateway": ingress(named("gateway", "mautic-other"), 8080),
    "in from every address": ingress(block("0.0.0.0/0"), 8080),
    "in from the pods' network": ingress(block("10.20.0.0/16"), 8080),
    "in for another branch's copy": policy(**WAY_IN["spec"]),
    "out for a copy to another branch": policy(**WAY_OUT["spec"]),
    "in from the gateway and more": ingress(block("10.20.48.0/22"), 8080),
}

OWN_PODS = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "mysql"}}}
TAKEN: dict[str, Object] = {
    "nothing": policy(),
    "own pods": policy(ingress=[{"from": [OWN_PODS]}], egress=[{"to": [OWN_PODS]}]),
    "all own pods": policy(
        ingress=[{"from": [{"podSelector": {}}]}], egress=[{"to": [{"podSelector": {}}]}]
    ),
    "part of the database's network": egress(block("10.20.52.16/28"), 3306),
    "part of the gateway's networks": ingress(block("10.20.48.7/32"), 8080),
    "a pod of the gateway": ingress({**named("gateway"), **OWN_PODS}, 8080),
    "names": egress(named("dns"), 53),
    "names of a node's cache": egress(block("169.254.20.10/32"), 53),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_branch_cannot_open_itself(
    jobs: dict[str, Cluster], spaces: dict[str, str], admin: Cluster, attack: str
) -> None:
    # The API itself would take it.
    assert said(admin, spaces["dev"], ATTACKS[attack]) == ""
    told = said(jobs["dev"], spaces["dev"], ATTACKS[attack])
    assert "a NetworkPolicy may" in told


@pytest.mark.parametrize("item", TAKEN.values(), ids=list(TAKEN))
def test_what_a_branch_needs_is_taken(
    jobs: dict[str, Cluster], spaces: dict[str, str], item: Object
) -> None:
    assert said(jobs["dev"], spaces["dev"], item) == ""


def test_a_policy_that_is_there_cannot_be_widened(
    jobs: dict[str, Cluster], spaces: dict[str, str]
) -> None:
    job, where = jobs["dev"], spaces["dev"]
    item = policy()
    item["metadata"]["namespace"] = where
    job.create(item)
    name = item["metadata"]["name"]
    for wider in ({"egress": [{}]}, {"ingress": [{}]}):
        with pytest.raises(ClusterError, match="a NetworkPolicy may"):
            job.patch("NetworkPolicy", name, where, {"spec": wider})
        changed = {**copy.deepcopy(item), "spec": {**item["spec"], **wider}}
        with pytest.raises(ClusterError, match="a NetworkPolicy may"):
            job.apply(changed)
    job.delete("NetworkPolicy", name, where)


def test_production_reaches_the_internet_without_private_addresses(
    jobs: dict[str, Cluster], spaces: dict[str, str], admin: Cluster
) -> None:
    job, where = jobs["prod"], spaces["prod"]
    assert said(job, where, egress(block("0.0.0.0/0", *HOLES, "203.0.113.0/24"), 443)) == ""
    assert "a NetworkPolicy may" in said(job, where, egress(block("0.0.0.0/0"), 443))
    for left_out in HOLES:
        holes = [hole for hole in HOLES if hole != left_out]
        narrower = [*holes, left_out.replace("/8", "/9").replace("/1", "/2")]
        for some in (holes, narrower):
            item = egress(block("0.0.0.0/0", *some), 443)
            assert said(admin, where, item) == ""
            assert "a NetworkPolicy may" in said(job, where, item), some
    v6 = ("64:ff9b::/96", "fc00::/7", "fe80::/10")
    assert said(job, where, egress(block("::/0", *v6), 443)) == ""
    assert "a NetworkPolicy may" in said(job, where, egress(block("::/0", *v6[:2]), 443))


@pytest.mark.parametrize("environment", FILES)
def test_the_chart_of_an_environment_makes_what_its_platform_takes(
    helm: Path, jobs: dict[str, Cluster], spaces: dict[str, str], environment: str
) -> None:
    argv = [str(helm), "template", "mautic-x", str(ROOT / "helm" / "mautic"), "--values=-"]
    made = subprocess.run(
        argv,
        input=json.dumps(chart_values(environment)),
        text=True,
        check=True,
        capture_output=True,
    ).stdout
    found = [item for item in yaml.safe_load_all(made) if item and item["kind"] == "NetworkPolicy"]
    assert len(found) >= 3
    for item in found:
        item["metadata"]["namespace"] = spaces[environment]
        assert said(jobs[environment], spaces[environment], item) == "", item["metadata"]["name"]
        # Production's are wider than a branch may have.
        if environment == "prod" and item["metadata"]["name"].endswith("-app"):
            del item["metadata"]["namespace"]
            assert "a NetworkPolicy may" in said(jobs["dev"], spaces["dev"], item)

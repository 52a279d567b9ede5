"""What an environment's NetworkPolicies may open, as the chart's values say."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tasks.core.errors import SettingsError
from tasks.core.kubernetes.network import network_rules
from tasks.flows.kubernetes.values import overlay
from tests.support.suite import ROOT

Object = dict[str, Any]

DEFAULTS: Object = yaml.safe_load((ROOT / "helm" / "mautic" / "values.yaml").read_text())
DNS = {"kube-system": [53]}


def rules(given: Object) -> Object:
    return network_rules(overlay(DEFAULTS, given))


def test_by_default_names_are_all_that_is_open() -> None:
    assert rules({}) == {
        "ingress": {"cidrs": [], "namespaces": []},
        "egress": {"cidrs": {}, "namespaces": DNS},
        "internet": False,
    }


def test_every_value_that_opens_something_is_there() -> None:
    by_name = {"matchLabels": {"kubernetes.io/metadata.name": "relay"}}
    several = {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
        ]
    }
    found = rules(
        {
            "database": {"host": "10.7.0.5", "port": 3307},
            "redis": {"host": "redis.example.com"},
            "networkPolicy": {
                "gateway": {"namespaces": ["gateway"], "cidrs": ["10.1.0.0/24"]},
                "dns": {"cidrs": ["169.254.20.10/32"]},
                "database": {"cidrs": ["10.7.0.0/24"]},
                "redis": {"cidrs": ["10.7.0.0/24"], "namespaces": ["cache"]},
                "internet": {"enabled": True},
                "podIdentity": True,
                "extraEgress": [
                    {
                        "ports": [{"port": 25}, {"port": 26}],
                        "to": [
                            {"ipBlock": {"cidr": "10.9.0.0/24", "except": ["10.9.0.1/32"]}},
                            {"namespaceSelector": by_name},
                            {"namespaceSelector": several, "podSelector": {}},
                            {"podSelector": {}},
                        ],
                    }
                ],
            },
        }
    )
    assert found == {
        "ingress": {"cidrs": ["10.1.0.0/24"], "namespaces": ["gateway"]},
        "egress": {
            "cidrs": {
                "10.7.0.0/24": [3307, 6379],
                "10.7.0.5/32": [3307],
                "10.9.0.0/24": [25, 26],
                "169.254.170.23/32": [80],
                "169.254.20.10/32": [53],
            },
            "namespaces": {**DNS, "a": [25, 26], "b": [25, 26], "cache": [6379], "relay": [25, 26]},
        },
        "internet": True,
    }


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"to": [{"ipBlock": {"cidr": "10.9.0.0/24"}}]}, "must name ports"),
        ({"ports": [{"port": "smtp"}], "to": [{"podSelector": {}}]}, "must name ports"),
        ({"ports": [{"port": 1}, {}], "to": [{"podSelector": {}}]}, "must name ports"),
        ({"ports": [{"port": 1}], "to": [{"namespaceSelector": {}}]}, "must name namespaces"),
        (
            {
                "ports": [{"port": 1}],
                "to": [{"namespaceSelector": {"matchLabels": {"team": "mail"}}}],
            },
            "must name namespaces",
        ),
    ],
)
def test_a_rule_that_cannot_be_held_to_is_refused_by_name(rule: Object, told: str) -> None:
    with pytest.raises(SettingsError, match=r"networkPolicy\.extraEgress\[0\]: .*") as caught:
        rules({"networkPolicy": {"extraEgress": [rule]}})
    assert told in caught.value.message

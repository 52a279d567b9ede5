"""The values of helm/platform that follow from the values files of the environments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from tasks.core.kubernetes.platform import PlatformInputs, inputs_of
from tasks.flows.kubernetes.platform_chart import PlatformChart
from tests.support.suite import ROOT
from tests.unit.core.kubernetes.test_entrance import IMAGE, led, settings


def inputs(file: Path) -> PlatformInputs:
    return inputs_of(settings(dev=led(values=[str(file)])), "dev", {})


def test_the_entrance_takes_over_the_route_and_whom_it_lets_in(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    route = {"kind": "httproute", "gateway": {"name": "mautic", "namespace": "mautic-system"}}
    gateway = {"cidrs": ["10.0.0.0/24"], "namespaces": []}
    file.write_text(yaml.safe_dump({"route": route, "networkPolicy": {"gateway": gateway}}))
    own = PlatformChart(ROOT, inputs(file), ()).own
    assert own["entrance"]["image"] == IMAGE
    told = own["entrance"]["sites"]["dev"]
    assert told["host"] == "{slug}.dev.example.org"
    assert told["from"] == gateway
    assert {"kind": "httproute", "gateway": route["gateway"]}.items() <= told["route"].items()
    # CI jobs may let in the entrance, and no longer the load balancer.
    ingress = own["network"]["environments"]["dev"]["ingress"]
    assert ingress == {"namespaces": ["mautic-system"], "cidrs": []}
    without = PlatformChart(ROOT, replace(inputs(file), entrance="", led=()), ()).own
    assert "entrance" not in without

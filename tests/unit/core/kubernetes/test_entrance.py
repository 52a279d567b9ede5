"""What the platform's entrance is told, and which settings can go with it."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.errors import SettingsError
from tasks.core.kubernetes.entrance import NAME, PAGE_SECRET, POLICIES, branch_values, site
from tasks.core.kubernetes.platform import inputs_of, platform_parts, values
from tasks.core.settings import names_of, parse
from tests.unit.core.kubernetes.test_platform_inputs import DEV, PROD

IMAGE = f"r.example.org/entrance@sha256:{'a' * 64}"
ROUTE = {
    "kind": "httproute",
    "gateway": {"name": "mautic", "namespace": "mautic-system"},
    "ingress": {"className": "", "tlsSecret": ""},
    "annotations": {},
}
CHART = {
    "route": ROUTE,
    "networkPolicy": {"gateway": {"cidrs": ["10.0.0.0/24"], "namespaces": ["ingress"]}},
}


def settings(**environments: dict[str, Any]) -> Any:
    return parse({"environments": environments}, lambda _: "test")


def led(**changes: Any) -> dict[str, Any]:
    return {**DEV, "entrance": IMAGE, **changes}


def test_the_entrance_leads_to_the_environments_that_name_it() -> None:
    given = settings(dev=led(), prod=PROD)
    for name in ("dev", "prod"):
        found = inputs_of(given, name, {})
        assert (found.entrance, found.led) == (IMAGE, ("dev",))
    assert inputs_of(settings(dev=DEV, prod=PROD), "dev", {}).entrance == ""


def test_a_branch_is_reached_by_the_entrance_alone() -> None:
    given = settings(dev=led(platform_namespace="p"))
    made = branch_values(given.environment("dev"))
    assert made["route"] == {"kind": "entrance"}
    assert made["networkPolicy"] == {"gateway": {"namespaces": ["p"], "cidrs": []}}
    # And the platform holds CI jobs to just that.
    assert (
        inputs_of(given, "dev", {}).charts["dev"].values["networkPolicy"] == made["networkPolicy"]
    )
    assert branch_values(settings(dev=DEV).environment("dev")) == {}


def test_it_takes_over_the_way_that_the_values_files_describe() -> None:
    found = inputs_of(settings(dev=led()), "dev", {})
    told = site(found.names["dev"], CHART, found.prices["dev"])
    assert told == {
        "host": "{slug}.dev.example.org",
        "namespace": "mautic-{slug}",
        "page": "environments.dev.example.org",
        "prices": {"cpu_hour": 0, "memory_hour": 0, "storage_month": 0, "currency": "USD"},
        "route": ROUTE,
        "from": {"cidrs": ["10.0.0.0/24"], "namespaces": ["ingress"]},
    }


def test_no_branch_has_the_name_of_the_page_of_all() -> None:
    def host(given: Any) -> str:
        return str(names_of(given, "dev", "environments").host)

    assert host(settings(dev=DEV)) == "environments.dev.example.org"
    assert host(settings(dev=led())).startswith("environments-")


def test_the_status_of_the_platform_names_its_parts() -> None:
    found = inputs_of(settings(dev=led()), "dev", {})
    merged = {
        **values(found),
        "networkPolicy": {"enabled": True},
        "gateway": {"enabled": False},
        "provisioner": {"image": ""},
        "entrance": {"image": IMAGE, "sites": {"dev": site(found.names["dev"], CHART, {})}},
    }
    merged["access"] |= {"userPools": []}
    parts = {(part.kind, part.name) for part in platform_parts(merged, found)}
    assert ("Secret", PAGE_SECRET) in parts
    assert {("Deployment", NAME), ("HTTPRoute", f"{NAME}-dev"), ("ClusterRole", NAME)} <= parts
    assert {("ValidatingAdmissionPolicy", f"mautic-multidev-{name}") for name in POLICIES} <= parts


def test_a_cluster_has_one_entrance_and_each_environment_its_own_wildcard() -> None:
    other = IMAGE.replace("a" * 64, "b" * 64)
    qa = {"namespace": "qa-{slug}", "database": None, "registry": {"url": "r.example.org/qa"}}
    with pytest.raises(SettingsError, match="different images"):
        inputs_of(
            settings(dev=led(), qa=led(**qa, host="{slug}.qa.example.org", entrance=other)),
            "dev",
            {},
        )
    with pytest.raises(SettingsError, match="below one domain"):
        inputs_of(settings(dev=led(), qa=led(**qa, host="qa-{slug}.dev.example.org")), "dev", {})
    both = settings(dev=led(), qa=led(**qa, host="{slug}.qa.example.org"))
    assert inputs_of(both, "qa", {}).led == ("dev", "qa")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protected": True}, "protected"),
        ({"host": "www.{slug}.example.org"}, "first part"),
        ({"namespace": "a-namespace-of-many-words-{slug}"}, "may have 23"),
        ({"host": "a-host-name-of-some-words-{slug}.example.org"}, "may have 23"),
        ({"entrance": "r.example.org/entrance:latest"}, "by digest"),
    ],
)
def test_what_cannot_go_with_it_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings(dev=led(**changes))

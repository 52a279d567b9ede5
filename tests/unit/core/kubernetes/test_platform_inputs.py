"""What a cluster's platform is told of the environments that live in it."""

from __future__ import annotations

import json

import yaml

from tasks.core.kubernetes.platform import inputs_of, values
from tasks.core.settings import parse

DEV = {
    "target": "kubernetes",
    "branches": ["*"],
    "host": "{slug}.dev.example.org",
    "registry": {"url": "r.example.org/dev"},
    "cluster": {"name": "one"},
    "database": {"host": "db.example.org"},
}
PROD = {
    **DEV,
    "branches": ["main"],
    "namespace": "{project}-prod",
    "host": "www.example.org",
    "registry": {"url": "r.example.org/prod"},
    "protected": True,
}
QA = {**DEV, "namespace": "qa-{slug}", "database": None, "registry": {"url": "r.example.org/qa"}}
ELSEWHERE = {
    **DEV,
    "cluster": {"name": "another"},
    "namespace": "e-{slug}",
    "database": {"host": "db.example.net"},
}


def test_branches_may_deploy_to_no_protected_environment_of_their_cluster() -> None:
    given = {"dev": DEV, "prod": PROD, "elsewhere": ELSEWHERE}
    settings = parse({"environments": given}, lambda _: "test")
    for name in ("dev", "prod"):
        found = inputs_of(settings, name, {})
        assert found.main_environments == ("dev", "prod")
        assert found.branch_environments == ("dev",)
        for chart in (found.charts["dev"], found.charts["prod"]):
            assert chart.values == {"database": {"host": "db.example.org", "port": 3306}}
        assert found.charts.keys() == {"dev", "prod"}
    assert inputs_of(settings, "elsewhere", {}).main_environments == ("elsewhere",)


def test_the_provisioner_gets_the_rules_of_all_environments_of_its_server() -> None:
    image = f"r.example.org/provisioner@sha256:{'a' * 64}"
    database = {**DEV["database"], "provisioner": image}
    given = {"dev": {**DEV, "database": database}, "prod": PROD, "qa": QA, "elsewhere": ELSEWHERE}
    settings = parse({"environments": given}, lambda _: "test")
    found = inputs_of(settings, "dev", {})
    assert found.provisioner == image
    assert set(found.rules["environments"]) == {"dev", "prod"}
    assert set(found.rules["others"]) == {"qa"}
    # Values of Helm are YAML, and rules.json is JSON.
    assert yaml.safe_load(yaml.safe_dump(found.rules)) == json.loads(json.dumps(found.rules))
    assert inputs_of(settings, "elsewhere", {}).rules == {}


def test_policies_get_the_names_of_all_environments_of_the_cluster() -> None:
    given = {"dev": {**DEV, "host": "{slug}-{project}.dev.example.org"}, "prod": PROD}
    settings = parse({"environments": {**given, "elsewhere": ELSEWHERE}}, lambda _: "test")
    assert inputs_of(settings, "prod", {}).names == {
        "dev": {"namespace": "mautic-{slug}", "host": "{slug}-mautic.dev.example.org"},
        "prod": {"namespace": "mautic-prod", "host": "www.example.org"},
    }


def test_a_stack_says_whose_tokens_its_cluster_takes() -> None:
    settings = parse({"environments": {"dev": DEV}}, lambda _: "test")
    published = {
        "cluster/identity/project": "group/project",
        "cluster/identity/main-ref": "trunk",
    }
    access = values(inputs_of(settings, "dev", published))["access"]
    assert access["identity"] == {"project": "group/project", "main": ["trunk"]}
    assert values(inputs_of(settings, "dev", {}))["access"]["identity"]["project"] == ""


def test_each_environment_of_the_cluster_has_its_own_registry() -> None:
    """Of several registries none was enforced."""
    given = {"dev": DEV, "prod": PROD, "elsewhere": ELSEWHERE}
    settings = parse({"environments": given}, lambda _: "test")
    found = inputs_of(settings, "dev", {})
    assert found.registries == {"dev": "r.example.org/dev", "prod": "r.example.org/prod"}
    assert found.images == ("axllent/mailpit", "mysql", "redis")
    assert values(found)["access"]["registries"] == {
        "dev": ["r.example.org/dev"],
        "prod": ["r.example.org/prod"],
    }

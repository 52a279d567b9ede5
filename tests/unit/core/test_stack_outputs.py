"""A stack's parameters become settings: the weakest ones, and only those an environment takes."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from tasks.core.config_sources import Level, merge, origin
from tasks.core.errors import SettingsError
from tasks.core.settings import Environment, Settings, names_of, parse
from tasks.core.stack_outputs import KNOWN, check_complete, defaults, level, origins, path
from tests.support.suite import ROOT

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf"
PARAMETERS = {
    "region": "eu-central-1",
    "registry/url": ECR,
    "registry/cache": f"{ECR}/cache",
    "cluster/name": "mautic-dev",
    "database/host": "db.internal",
    "database/port": "3307",
    "database/identifier": "mautic-dev",
    "database/admin-secret-arn": ARN,
    "dns/domain": "dev.example.org",
    "platform/namespace": "mautic-platform",
    "platform/database-account": "database-job",
    "storage/classes": "{}",
}
DEV = {"target": "kubernetes", "branches": ["*"], "stack": "dev"}


def levels(
    own: Mapping[str, Any] = DEV, parameters: Mapping[str, str] | None = None, name: str = "dev"
) -> list[Level]:
    """Return all levels of settings with one environment that uses the stack `dev`."""
    stacks = {"dev": {"region": "eu-central-1"}}
    given = Level("invoke.yaml", {"stacks": stacks, "environments": {name: own}})
    found = [defaults(given.data), given]
    return [level("dev", PARAMETERS if parameters is None else parameters, merge(found)), *found]


def read(found: list[Level]) -> Settings:
    return parse(merge(found), functools.partial(origin, found))


def dev(parameters: Mapping[str, str] | None = None, **changes: Any) -> Environment:
    return read(levels({**DEV, **changes}, parameters)).environment("dev")


def test_an_environment_needs_to_say_only_target_branches_and_stack() -> None:
    settings = read(levels())
    own = settings.environment("dev")
    check_complete("dev", own)
    assert (own.registry.kind, own.registry.url) == ("ecr", ECR)
    assert own.cluster
    assert (own.cluster.kind, own.cluster.name) == ("eks", "mautic-dev")
    assert own.database
    assert (own.database.host, own.database.port) == ("db.internal", 3307)
    assert (own.database.admin_secret_arn, own.database.account) == (ARN, "database-job")
    assert own.database.identifier == "mautic-dev"
    assert own.platform_namespace == "mautic-platform"
    assert names_of(settings, "dev", "feature-x").url == "https://feature-x.dev.example.org"


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_project_s_own_environments_take_every_address_from_their_stack(name: str) -> None:
    given = Level("invoke.yaml", yaml.safe_load((ROOT / "invoke.yaml").read_text()))
    found = [defaults(given.data), given]
    found.insert(0, level(name, PARAMETERS, merge(found)))
    settings = read(found)
    assert (settings.environment(name).stack, settings.environment(name).gaps) == (name, ())
    assert settings.environment(name).protected is settings.stack(name).protected
    origin_of = {key: where for key, (_, where) in origins(found, name).items()}
    assert origin_of.pop("host") == "the defaults of a stack"
    assert set(origin_of.values()) == {f"SSM /mautic-multidev/{name}"}
    host = names_of(settings, name, "main").host
    assert host == {"dev": "main.dev.example.org", "prod": "dev.example.org"}[name]


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_values_of_the_project_s_environments_fit_their_stack(name: str) -> None:
    own = yaml.safe_load((ROOT / "invoke.yaml").read_text())
    *_, file = own["environments"][name]["values"]
    values = yaml.safe_load((ROOT / file).read_text())
    (variables,) = own["stacks"][name]["variables"]
    cidr = re.search(r'^cidr +?= "(.*)"', (ROOT / variables).read_text(), re.M)
    assert cidr
    # As terraform/modules/network cuts them out.
    subnets = list(ip_network(cidr[1]).subnets(new_prefix=24))
    assert values["networkPolicy"] == {
        "gateway": {"cidrs": [str(one) for one in subnets[48:51]]},
        "database": {"cidrs": [str(one) for one in subnets[52:55]]},
    }
    platform = yaml.safe_load((ROOT / "helm" / "platform" / "values.yaml").read_text())
    assert values["route"]["gateway"]["name"] == platform["gateway"]["name"]
    published = (ROOT / "terraform" / "modules" / "storage" / "outputs.tf").read_text()
    assert f"{values['media']['storageClass']} = {{" in published


def test_an_environment_of_one_namespace_has_the_domain_itself() -> None:
    settings = read(levels({**DEV, "namespace": "{project}-prod"}))
    assert names_of(settings, "dev", "main").host == "dev.example.org"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"registry": {"kind": "oci", "url": "r.example.org/m"}}, ("oci", "r.example.org/m")),
        ({"registry": {"create": True}}, ("ecr", ECR)),
    ],
)
def test_the_settings_own_registry_is_stronger(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    own = dev(**changes)
    assert (own.registry.kind, own.registry.url) == expected


def test_every_key_can_be_overridden_alone() -> None:
    own = dev(
        cluster={"kind": "context", "name": "mine"},
        database={"host": "cname.example.org"},
        domain="other.example.org",
        host="{slug}.x.{domain}",
        platform_namespace="elsewhere",
    )
    assert own.cluster
    assert (own.cluster.kind, own.cluster.name) == ("context", "mine")
    assert own.database
    assert (own.database.host, own.database.port) == ("cname.example.org", 3307)
    assert (own.domain, own.platform_namespace) == ("other.example.org", "elsewhere")


def test_the_authority_of_the_stacks_database_is_named_alone() -> None:
    own = dev(database={"tls_ca": "/var/www/html/config/rds.pem"})
    assert own.database
    assert own.database.host == PARAMETERS["database/host"]
    assert own.database.tls_ca == "/var/www/html/config/rds.pem"
    without = {name: value for name, value in PARAMETERS.items() if name != "database/host"}
    with pytest.raises(SettingsError, match="stack dev does not publish database/host"):
        check_complete("dev", dev(without, database={"tls_ca": "/ca.pem"}))


def test_a_context_needs_a_name_of_its_own_the_cluster_s_is_none() -> None:
    with pytest.raises(SettingsError, match="kind context needs name"):
        dev(cluster={"kind": "context"})


def test_no_database_may_be_wanted() -> None:
    assert dev(database=None).database is None
    without = {name: value for name, value in PARAMETERS.items() if "database" not in name}
    assert dev(without).database is None


def test_a_machine_s_environment_takes_the_registry_alone() -> None:
    own = {"target": "compose", "branches": ["*"], "host": "{slug}.localhost", "stack": "dev"}
    found = read(levels(own, name="local")).environment("local")
    assert found.registry.url == ECR
    assert (found.cluster, found.database, found.domain) == (None, None, None)


def test_without_its_parameters_the_settings_can_be_read_but_are_not_whole() -> None:
    settings = read(levels(parameters={}))
    own = settings.environment("dev")
    assert own.gaps == ("registry.url", "cluster.name", "domain")
    with pytest.raises(SettingsError, match=r"^environments\.dev\.domain: is missing$"):
        names_of(settings, "dev", "main")


@pytest.mark.parametrize(
    ("parameter", "key"),
    [("registry/url", "registry.url"), ("cluster/name", "cluster.name"), ("dns/domain", "domain")],
)
def test_what_a_stack_does_not_publish_is_named(parameter: str, key: str) -> None:
    """As with examples/existing-cluster, which has neither cluster nor domain."""
    own = dev({name: value for name, value in PARAMETERS.items() if name != parameter})
    with pytest.raises(SettingsError) as caught:
        check_complete("dev", own)
    assert caught.value.message == (
        f"environments.dev.{key}: stack dev does not publish {parameter}"
    )
    assert "inv infra.apply --stack dev" in (caught.value.hint or "")


def test_a_wrong_parameter_is_named_with_its_origin() -> None:
    with pytest.raises(
        SettingsError,
        match=r"^environments\.dev\.database\.port in SSM /mautic-multidev/dev: must be a whole",
    ):
        dev({**PARAMETERS, "database/port": "mysql"})


def test_where_a_value_came_from() -> None:
    own = {**DEV, "domain": "my.example.org", "registry": {"create": True}}
    found = origins(levels(own), "dev")
    assert found["registry.url"] == (ECR, "SSM /mautic-multidev/dev")
    assert found["cluster.name"] == ("mautic-dev", "SSM /mautic-multidev/dev")
    assert found["domain"] == ("my.example.org", "invoke.yaml")
    assert found["host"] == ("{slug}.{domain}", "the defaults of a stack")
    assert set(found) == {"host", *(".".join(keys) for keys in KNOWN.values())}


def test_settings_of_the_wrong_shape_are_left_to_the_strict_reading() -> None:
    for wrong in ({"environments": ["x"]}, {"environments": {"dev": 1}}, {}):
        assert defaults(wrong).data == {}
    with pytest.raises(SettingsError, match=r"environments\.dev\.stack in invoke\.yaml: must be"):
        read(levels({**DEV, "stack": 3, "host": "h-{slug}", "registry": {"url": "r:1"}}))


def test_the_parameters_are_those_that_terraform_publishes() -> None:
    published = (ROOT / "terraform" / "main.tf").read_text()
    for parameter in KNOWN:
        assert f'"{parameter}"' in published
    assert path("${var.stack}") in published

"""helm/platform, rendered by a real Helm and held against the API's schemas and its promises."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tasks.adapters.host.tools import find_helm
from tasks.adapters.process import Runner
from tasks.core.errors import MissingToolError, SettingsError
from tasks.core.kubernetes.platform import (
    POLICIES,
    ROUTE_POLICIES,
    PlatformInputs,
    platform_parts,
    upstream,
    values,
)
from tasks.core.redact import Redactor
from tasks.flows.kubernetes.values import overlay
from tests.conftest import missing
from tests.support.chart import name_of
from tests.support.platform import BRANCHES, CERTIFICATE, MAIN, PUBLISHED
from tests.support.rights import all_rights, rights_of
from tests.support.suite import ROOT

Object = dict[str, Any]

CHART = ROOT / "helm" / "platform"
DEFAULTS: Object = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text())
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
PLAIN = PlatformInputs("mautic", "mautic-system", ("dev",), ("dev",))
AWS = PlatformInputs(
    project="mautic",
    namespace="mautic-system",
    main_environments=("dev", "prod"),
    branch_environments=("dev",),
    main_group=MAIN,
    branch_group=BRANCHES,
    names={
        "dev": {"namespace": "mautic-{slug}", "host": "{slug}.dev.example.com"},
        "prod": {"namespace": "mautic-prod", "host": "mautic.example.com"},
    },
    registries={"dev": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev"},
    images=("mysql", "redis"),
    database_host="db.example.com",
    cluster="mautic-dev",
    region="eu-central-1",
    vpc_id="vpc-0123456789abcdef0",
    certificate_arn=CERTIFICATE,
    storage_classes=json.loads(PUBLISHED["storage/classes"]),
)


POOL = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
PROVISIONED = replace(
    AWS,
    provisioner=f"registry.example.com/provisioner@sha256:{'a' * 64}",
    rules={"project": "mautic", "host": "db.example.com", "port": 3306},
)
USERS = replace(AWS, main_group="", branch_group="", identity="group/project")
PROVISIONED_USERS = replace(PROVISIONED, identity="group/project", main_ref="release/main")


@pytest.fixture(scope="session")
def helm() -> Path:
    try:
        return find_helm(Runner(Redactor()), ROOT)
    except MissingToolError as error:
        missing(str(error))


def run(helm: Path, verb: str, given: Object) -> subprocess.CompletedProcess[str]:
    release = ["mautic-platform"] if verb == "template" else []
    argv = [str(helm), verb, *release, str(CHART), "--values=-", "--namespace=mautic-system"]
    return subprocess.run(
        argv, input=json.dumps(given), text=True, capture_output=True, check=False
    )


def objects(helm: Path, given: Object) -> list[Object]:
    done = run(helm, "template", given)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def key(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


CASES = {
    "plain": PLAIN,
    "aws": AWS,
    "provisioned": PROVISIONED,
    "users": USERS,
    "provisioned-users": PROVISIONED_USERS,
}


@pytest.mark.parametrize("case", CASES)
def test_it_passes_helms_own_check(helm: Path, case: str) -> None:
    done = run(helm, "lint", values(CASES[case]))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_objects_are_valid_in_every_supported_version(helm: Path, case: str, version: str) -> None:
    for item in objects(helm, values(CASES[case])):
        if "gateway" not in item["apiVersion"]:
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_the_same_values_give_the_same_bytes(helm: Path, case: str) -> None:
    first, second = (run(helm, "template", values(CASES[case])).stdout for _ in range(2))
    assert first == second


@pytest.mark.parametrize("case", CASES)
def test_status_knows_every_object_of_the_chart(helm: Path, case: str) -> None:
    inputs = CASES[case]
    merged = overlay(DEFAULTS, values(inputs))
    known = {(part.kind, part.name) for part in platform_parts(merged, inputs)}
    of_chart = {
        (part.kind, part.name)
        for part in platform_parts(merged, inputs)
        if part.release == "mautic-platform"
    }
    made = {key(item) for item in objects(helm, values(inputs))}
    assert made - known == set(), "made, but looked at by nobody"
    assert of_chart - made == set(), "looked for, but never made"


def test_nothing_but_an_account_is_made_where_nothing_is_known(helm: Path) -> None:
    made = {item["kind"] for item in objects(helm, values(PLAIN))}
    assert made == {"ServiceAccount", "NetworkPolicy"}


def test_volumes_are_mounted_as_the_stack_says(helm: Path) -> None:
    made = [one for one in objects(helm, values(AWS)) if one["kind"] == "StorageClass"]
    assert {name_of(one): one["mountOptions"] for one in made} == {
        "efs-branch": ["tls", "iam"],
        "efs-prod": ["tls", "iam"],
    }


def test_only_routes_of_the_suites_namespaces_get_to_the_gateway(helm: Path) -> None:
    (gateway,) = (one for one in objects(helm, values(AWS)) if one["kind"] == "Gateway")
    http, https = gateway["spec"]["listeners"]
    assert http["allowedRoutes"]["namespaces"] == {"from": "Same"}
    assert https["allowedRoutes"]["namespaces"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/managed-by": "mautic-multidev"
    }


def test_a_gateway_of_another_controller_takes_its_certificate_from_a_secret(helm: Path) -> None:
    given = {
        "gateway": {
            "enabled": True,
            "createClass": False,
            "className": "envoy",
            "tlsSecret": "wildcard",
        }
    }
    made = objects(helm, given)
    assert "GatewayClass" not in {item["kind"] for item in made}
    (gateway,) = (one for one in made if one["kind"] == "Gateway")
    _, https = gateway["spec"]["listeners"]
    assert https["tls"]["certificateRefs"] == [{"group": "", "kind": "Secret", "name": "wildcard"}]


@pytest.mark.parametrize(("inputs", "number"), [(AWS, 3), (PROVISIONED, 5), (USERS, 5)])
def test_no_role_says_everything(helm: Path, inputs: PlatformInputs, number: int) -> None:
    kinds = {"Role", "ClusterRole"}
    roles = [one for one in objects(helm, values(inputs)) if one["kind"] in kinds]
    assert len(roles) == number
    for role in roles:
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            assert {"impersonate", "escalate", "deletecollection"}.isdisjoint(words)


def test_a_job_may_do_in_a_branch_s_namespace_what_a_deploy_and_a_clean_up_do(helm: Path) -> None:
    (role,) = (
        one for one in objects(helm, values(AWS)) if name_of(one) == "mautic-multidev-environment"
    )
    # Those to the kind of a load balancer's login are for clusters whose platform names user pools.
    pools = {each for each in all_rights() if each[0] == "gateway.k8s.aws"}
    assert pools
    assert rights_of(role["rules"]) == all_rights() - pools
    given = overlay(values(AWS), {"access": {"userPools": [POOL]}})
    made = {key(one): one for one in objects(helm, given)}
    role = made["ClusterRole", "mautic-multidev-environment"]
    assert rights_of(role["rules"]) == all_rights()
    known = {(part.kind, part.name) for part in platform_parts(overlay(DEFAULTS, given), AWS)}
    assert set(made) - known == set()


@pytest.mark.parametrize("inputs", [AWS, PROVISIONED_USERS])
def test_jobs_look_at_what_nodes_have_left_only_where_they_are_to(
    helm: Path, inputs: PlatformInputs
) -> None:
    def rights(given: Object) -> set[tuple[str, str, str]]:
        made = {key(one): one for one in objects(helm, given)}
        return rights_of(made["ClusterRole", "mautic-multidev"]["rules"])

    given = values(inputs)
    nodes = ("", "nodes", "list")
    # Where a provisioner decrypts uploads, what mounts them is told by the nodes.
    assert (nodes in rights(given)) == bool(inputs.provisioner)
    more = rights(overlay(given, {"access": {"capacity": True}})) - rights(given)
    assert more | {nodes} == {
        nodes,
        ("", "pods", "list"),
        ("gateway.networking.k8s.io", "httproutes", "list"),
        ("networking.k8s.io", "ingresses", "list"),
    }


def test_with_identities_no_right_is_a_group_s_but_to_make_namespaces(helm: Path) -> None:
    """Old groups, which AWS's roles may still have, get none."""
    made = objects(helm, values(PROVISIONED_USERS))
    to_groups = {
        (one["roleRef"]["name"], subject["name"])
        for one in made
        for subject in one.get("subjects", ())
        if subject["kind"] == "Group"
    }
    assert to_groups == {("mautic-multidev", "gitlab:group/project")}
    (main,) = (one for one in made if key(one) == ("ClusterRoleBinding", "mautic-multidev-main"))
    user = "gitlab:project_path:group/project:ref_type:branch:ref:release/main"
    assert [one["name"] for one in main["subjects"]] == [user]


def test_a_policy_looks_at_everybody_who_may_have_rights(helm: Path) -> None:
    for inputs, groups in (
        (AWS, {MAIN, BRANCHES}),
        (USERS, {"gitlab:group/project"}),
        (PROVISIONED_USERS, {"gitlab:group/project", MAIN, BRANCHES}),
    ):
        found = {key(one): one for one in objects(helm, values(inputs))}
        # Pods are looked at whoever makes them: a controller does.
        for name in {*POLICIES, *ROUTE_POLICIES} - {"pods"}:
            policy = found["ValidatingAdmissionPolicy", f"mautic-multidev-{name}"]
            (condition,) = policy["spec"]["matchConditions"]
            listed = condition["expression"].partition(" in ")[2].removesuffix(")")
            assert set(json.loads(listed)) == groups, name


def test_with_a_provisioner_ci_jobs_look_at_the_platform_namespace_and_hand_over_seeds(
    helm: Path,
) -> None:
    (role,) = (
        one for one in objects(helm, values(PROVISIONED)) if key(one) == ("Role", "mautic-multidev")
    )
    verbs = {kind: rule["verbs"] for rule in role["rules"] for kind in rule["resources"]}
    assert verbs == {
        **{kind: ["get"] for kind in ("configmaps", "deployments", "gateways")},
        "pods": ["list"],
        "pods/exec": ["get", "create"],
    }


def test_the_provisioner_s_pod_is_hardened_and_told_where_its_authorities_are(helm: Path) -> None:
    for ca, told in (
        ("", ""),
        ("-----BEGIN", "/etc/provisioner/ca.pem"),
        ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt"),
    ):
        given = values(PROVISIONED)
        given["provisioner"]["tlsCa"] = ca
        made = {key(one): one for one in objects(helm, given)}
        pod = made["Deployment", "mautic-provisioner"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"name": "PROVISIONER_CA", "value": told} in container["env"]
        data = made["ConfigMap", "mautic-provisioner"]["data"]
        assert json.loads(data["rules.json"]) == PROVISIONED.rules
        assert ("ca.pem" in data) == (told == "/etc/provisioner/ca.pem")
        assert made["Deployment", "mautic-provisioner"]["spec"]["strategy"] == {"type": "Recreate"}


def test_the_provisioner_is_told_what_namespaces_stand_on(helm: Path) -> None:
    # Not above: checkov's run, which has no pytest, takes the renderings from here.
    from provisioner.floor import Floor

    given = values(PROVISIONED)
    defaults = DEFAULTS["floor"]
    for change, told in (
        ({}, {key: defaults[key] for key in ("maxEnvironments", "quota", "limits")}),
        (
            {"quota": None, "limits": [], "maxEnvironments": 0},
            {"maxEnvironments": 0, "limits": []},
        ),
    ):
        made = {key(one): one for one in objects(helm, {**given, "floor": change})}
        data = made["ConfigMap", "mautic-provisioner"]["data"]
        assert json.loads(data["floor.json"]) == told
        assert Floor.from_json(data["floor.json"]).max_environments == told["maxEnvironments"]


PRICES = {"cpu_hour": 0.05, "memory_hour": 0, "storage_month": 0.1, "currency": "EUR"}
ENTRANCE: Object = {
    "image": f"registry.example.com/entrance@sha256:{'a' * 64}",
    "sites": {
        "dev": {
            "host": "{slug}.dev.example.com",
            "namespace": "mautic-{slug}",
            "page": "environments.dev.example.com",
            "prices": PRICES,
            "route": {
                "kind": "httproute",
                "gateway": {"name": "mautic", "namespace": "mautic-system"},
                "ingress": {},
                "annotations": {},
            },
            "from": {"cidrs": ["10.20.48.0/24"], "namespaces": []},
        },
        "qa": {
            "host": "x-{slug}.qa.example.com",
            "namespace": "mautic-qa-{slug}",
            "page": "environments.qa.example.com",
            "prices": PRICES,
            "route": {
                "kind": "ingress",
                "gateway": {},
                "ingress": {"className": "nginx", "tlsSecret": "wildcard"},
                "annotations": {},
            },
            "from": {"cidrs": [], "namespaces": ["ingress"]},
        },
    },
}


def test_one_wildcard_for_each_environment_leads_to_the_entrance(helm: Path) -> None:
    made = {key(one): one for one in objects(helm, {**values(AWS), "entrance": ENTRANCE})}
    gateway = made["Gateway", "mautic"]["spec"]["listeners"]
    (own,) = (one for one in gateway if one["name"] == "entrance-dev")
    assert (own["hostname"], own["port"], own["protocol"]) == ("*.dev.example.com", 443, "HTTPS")
    # Routes of branches have no place there, and this one none among theirs.
    assert own["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    route = made["HTTPRoute", "mautic-entrance-dev"]["spec"]
    assert route["hostnames"] == ["*.dev.example.com"]
    assert route["parentRefs"][0]["sectionName"] == "entrance-dev"
    ingress = made["Ingress", "mautic-entrance-qa"]["spec"]
    assert ingress["rules"][0]["host"] == "*.qa.example.com"
    assert ingress["tls"] == [{"hosts": ["*.qa.example.com"], "secretName": "wildcard"}]
    (rule,) = made["NetworkPolicy", "mautic-entrance"]["spec"]["ingress"]
    assert len(rule["from"]) == 2
    without = {key(one) for one in objects(helm, values(AWS))}
    assert not [name for _, name in without if "entrance" in name]
    # Another Gateway's listeners are not this chart's.
    other = overlay(ENTRANCE, {"sites": {"dev": {"route": {"gateway": {"name": "other"}}}}})
    made = {key(one): one for one in objects(helm, {**values(AWS), "entrance": other})}
    assert len(made["Gateway", "mautic"]["spec"]["listeners"]) == 2
    assert "sectionName" not in made["HTTPRoute", "mautic-entrance-dev"]["spec"]["parentRefs"][0]


def test_the_entrance_s_objects_are_valid_and_known_to_the_status(helm: Path) -> None:
    given = {**values(AWS), "entrance": ENTRANCE}
    made = objects(helm, given)
    known = {(part.kind, part.name) for part in platform_parts(overlay(DEFAULTS, given), AWS)}
    assert {key(item) for item in made} - known == set()
    for version in VERSIONS:
        for item in made:
            if "gateway" not in item["apiVersion"]:
                kubernetes_validate.validate(item, version, strict=True)


def test_the_entrance_s_pods_are_hardened_and_hold_few_rights(helm: Path) -> None:
    made = {key(one): one for one in objects(helm, {**values(AWS), "entrance": ENTRANCE})}
    deployment = made["Deployment", "mautic-entrance"]["spec"]
    assert deployment["replicas"] == 2
    pod = deployment["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    mounts = {
        one["name"]: [mount["name"] for mount in one["volumeMounts"]] for one in pod["containers"]
    }
    # nginx, which reads what visitors send, does not see the page's password.
    assert mounts == {"lead": ["config", "tmp"], "wake": ["config", "page"]}
    rules = made["ClusterRole", "mautic-entrance"]["rules"]
    writes = {
        (kind, verb)
        for rule in rules
        for kind in rule["resources"]
        for verb in rule["verbs"]
        if verb not in {"get", "list", "watch"}
    }
    assert writes == {
        ("namespaces", "patch"),
        ("deployments/scale", "patch"),
        ("statefulsets/scale", "patch"),
        ("cronjobs", "patch"),
        ("leases", "create"),
        ("leases", "update"),
    }


def test_the_quota_counts_every_kind_that_a_job_may_create(helm: Path) -> None:
    given = overlay(values(PROVISIONED), {"access": {"userPools": [POOL]}})
    roles = {("ClusterRole", "mautic-multidev"), ("ClusterRole", "mautic-multidev-environment")}
    rules = [rule for one in objects(helm, given) if key(one) in roles for rule in one["rules"]]
    made = {
        f"{plural}.{group}".strip(".")
        for group, plural, verb in rights_of(rules)
        # To run a command in a pod makes no object, and a namespace has no quota around it.
        if verb == "create" and "/" not in plural and plural != "namespaces"
    }
    assert {"leases.coordination.k8s.io", "rolebindings.rbac.authorization.k8s.io"} <= made
    counted = {one.removeprefix("count/") for one in DEFAULTS["floor"]["quota"]}
    assert made - counted == set()


def test_no_job_may_read_secrets_of_the_whole_cluster(helm: Path) -> None:
    for role in objects(helm, values(AWS)):
        if key(role) in {("ClusterRole", "mautic-multidev"), ("Role", "mautic-multidev")}:
            for rule in role["rules"]:
                if "secrets" in rule["resources"]:
                    assert {"get", "list", "watch"}.isdisjoint(rule["verbs"])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"gateways": {}}, "gateways"),
        ({"gateway": {"enabled": True, "aws": {"enabled": True}}}, "certificateArn"),
        ({"gateway": {"aws": {"certificateArn": "arn:aws:iam::1:x"}}}, "certificateArn"),
        ({"storageClasses": {"x": {"provisioner": "p"}}}, "reclaimPolicy"),
        ({"access": {"main": {"group": "a', 'system:masters"}}}, "group"),
        ({"access": {"branches": {"environments": ["a'b"]}}}, "environments"),
        ({"access": {"names": {"dev": {"namespace": "a'b", "host": "x"}}}}, "namespace"),
        ({"access": {"names": {"dev": {"namespace": "a", "host": 'x"'}}}}, "host"),
        ({"access": {"identity": {"project": "group/pro'ject"}}}, "project"),
        ({"access": {"identity": {"project": "group/*"}}}, "project"),
        ({"access": {"identity": {"prefix": "x' || "}}}, "prefix"),
        ({"access": {"identity": {"main": ["m'"]}}}, "main"),
        ({"access": {"registries": {"dev": ["x'/"]}}}, "registries"),
        ({"access": {"registries": {"dev'": []}}}, "propertyName"),
        ({"access": {"registry": "registry.example.com"}}, "registry"),
        ({"floor": {"images": ["a'b"]}}, "images"),
        ({"floor": {"priorityClasses": ["a'b"]}}, "priorityClasses"),
        ({"floor": {"maxEnvironments": -1}}, "maxEnvironments"),
        ({"floor": {"pods": {"nodeLabels": {"a'b": []}}}}, "propertyName"),
        ({"floor": {"pods": {"nodeLabels": {"a": ["b'"]}}}}, "nodeLabels"),
        ({"floor": {"pods": {"tolerations": [{"operator": "Exists"}]}}}, "tolerations"),
        ({"floor": {"pods": {"runtimeClasses": ["a'b"]}}}, "runtimeClasses"),
        ({"floor": {"pods": {"schedulers": ["a'b"]}}}, "schedulers"),
        ({"floor": {"pods": {"csiDrivers": ['a"b']}}}, "csiDrivers"),
        ({"floor": {"pods": {"tokenAudiences": ['a"b']}}}, "tokenAudiences"),
        ({"access": {"annotations": ["a'b"]}}, "annotations"),
        ({"access": {"userPools": ["arn:aws:iam::1:role/x"]}}, "userPools"),
        ({"database": {"host": "a'b"}}, "host"),
        ({"network": {"environments": {"a'b": {}}}}, "environments"),
        ({"network": {"environments": {"dev": {"ingress": {"cidrs": ["a'b"]}}}}}, "cidrs"),
        (
            {"network": {"environments": {"dev": {"egress": {"namespaces": {"a'b": [1]}}}}}},
            "egress",
        ),
        ({"provisioner": {"image": "registry.example.com/provisioner:latest"}}, "image"),
        ({"entrance": {"image": "registry.example.com/entrance:latest"}}, "image"),
        ({"entrance": {"sites": {"dev": {"host": "*.example.com"}}}}, "sites"),
    ],
)
def test_impossible_values_are_refused_by_name(helm: Path, given: Object, named: str) -> None:
    """Among them all that could end a text inside a policy's expression."""
    done = run(helm, "template", given)
    assert done.returncode != 0
    assert named in done.stderr


def test_every_value_is_described_and_has_a_default() -> None:
    def walk(schema: Object, defaults: Any, path: str) -> None:
        for name, part in schema.get("properties", {}).items():
            where = f"{path}{name}"
            assert part["description"].endswith("."), where
            if where != "global":
                assert name in defaults, where
                walk(part, defaults[name], f"{where}.")

    walk(SCHEMA, DEFAULTS, "")


def test_the_page_knows_every_value() -> None:
    page = (ROOT / "docs" / "platform.md").read_text()

    def walk(schema: Object, path: str) -> None:
        for name, part in schema.get("properties", {}).items():
            where = f"{path}{name}"
            if part.get("properties"):
                walk(part, f"{where}.")
            elif where != "global":
                assert f"| `{where}` |" in page, where

    walk(SCHEMA, "")


def test_what_is_fetched_is_pinned() -> None:
    pins = upstream(yaml.safe_load((CHART / "upstream.yaml").read_text()))
    assert pins.keys() == {"gatewayApi", "loadBalancerController"}
    for pin in pins.values():
        assert pin.url.startswith("https://")
        assert pin.version in pin.url


@pytest.mark.parametrize(
    "data",
    [
        {"gatewayApi": {"version": "1", "url": "u"}},
        {"gatewayApi": {"version": "1", "url": "u", "sha256": "abc"}},
        {"gatewayApi": "v1"},
        [],
    ],
)
def test_a_file_without_a_checksum_is_not_fetched(data: Any) -> None:
    with pytest.raises(SettingsError):
        upstream(data)


def test_no_task_shadows_a_module_of_python() -> None:
    """invoke puts tasks/ before the standard library on Python's path."""
    import sys

    names = {path.stem for path in (ROOT / "tasks").iterdir()}
    assert names & set(sys.stdlib_module_names) == set()

"""inv platform.apply and status on a control plane, with small files in place of upstream's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tests.support.aws import REGION, Moto
from tests.support.kube_cli import ENVIRONMENT, ON, PLATFORM, KubeEnv, kube_environment
from tests.support.node import Node
from tests.support.platform import (
    BRANCHES,
    CERTIFICATE,
    MAIN,
    PUBLISHED,
    Audited,
    Upstream,
    audited,
    leave_pending,
)

Object = dict[str, Any]

DEFINITION = "gateways.gateway.networking.k8s.io"
CONTROLLER = "aws-load-balancer-controller"
RELEASES = {CONTROLLER: "kube-system", "mautic-platform": PLATFORM}


class Site:
    """The command line, a cluster, and a stack that Terraform has published."""

    def __init__(self, env: KubeEnv, upstream: Upstream, aws: Moto) -> None:
        self.env = env
        self.cluster = env.cluster
        self.upstream = upstream
        self.aws = aws
        self.stack = f"t{secrets.token_hex(3)}"
        aws.publish(self.stack, dict(PUBLISHED))
        upstream.pin(env.checkout)

    def settings(self, **changes: Any) -> Object:
        """Settings with a stack: `dev` for every branch, and `prod`."""
        changes = {"stack": self.stack, **changes}
        own = self.env.settings(**changes)
        dev = own["environments"][ENVIRONMENT]
        prod = {**dev, "branches": ["main"], "namespace": "{project}-prod", "protected": True}
        # A stack and a registry of its own: no unprotected environment has the same.
        prod |= {"host": "mautic.example.com", "stack": f"{changes['stack']}-prod"}
        prod |= {"registry": {"kind": "oci", "url": f"{self.env.registry}/prod"}}
        del prod["ttl"]
        return {
            **own,
            "stacks": {name: {"region": REGION} for name in (dev["stack"], prod["stack"])},
            "environments": {ENVIRONMENT: dev, "prod": prod},
        }

    def run(
        self, *args: str, settings: Object | None = None, env: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        """Run `inv platform.…` for `dev`."""
        return self.env.run(
            *args,
            *ON,
            settings=settings or self.settings(),
            env={**self.aws.variables(), **(env or {})},
        )

    def ok(self, *args: str, **options: Any) -> CompletedProcess[str]:
        """Run it; it must end well."""
        done = self.run(*args, **options)
        assert done.returncode == 0, done.stderr
        return done

    def plan(self, **options: Any) -> list[tuple[str, str]]:
        """What a dry run says that would be done."""
        done = self.ok("platform.apply", "--dry-run", "--format", "json", **options)
        return [(step["verb"], step["subject"]) for step in json.loads(done.stdout)["steps"]]

    def states(self, **options: Any) -> dict[str, Object]:
        """What `inv platform.status` says, by object."""
        done = self.run("platform.status", "--format", "json", **options)
        return {row["object"]: row for row in json.loads(done.stdout)}

    def revisions(self) -> dict[str, int]:
        """How many revisions each release has."""
        return {
            release: len(self.cluster.find("Secret", where, f"owner=helm,name={release}"))
            for release, where in RELEASES.items()
        }


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """A control plane of the module's own: a platform is everywhere in its cluster."""
    yield from audited(tmp_path_factory.mktemp("platform-plane"))


@pytest.fixture(scope="module")
def site(
    plane: Audited,
    registry: str,
    aws: Moto,
    _project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    scratch = tmp_path_factory.mktemp("platform")
    with (
        Node(plane) as node,
        kube_environment(plane, node, registry, _project, scratch) as env,
        Upstream(scratch / "upstream") as upstream,
    ):
        yield Site(env, upstream, aws)


@pytest.fixture(scope="module")
def before(site: Site) -> Object:
    """What was said of the cluster before anything was installed."""
    return {
        "plan": site.plan(),
        "text": site.ok("platform.apply", "--dry-run").stdout,
        "status": site.run("platform.status"),
        "definition": site.cluster.get("CustomResourceDefinition", DEFINITION),
        "revisions": site.revisions(),
    }


@pytest.fixture(scope="module")
def installed(site: Site, before: Object) -> Site:
    site.ok("platform.apply")
    return site


# -- before -----------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_does_nothing(before: Object) -> None:
    assert before["plan"] == [
        ("define", "Gateway API v1.6.0"),
        ("install", f"release {CONTROLLER}"),
        ("install", "release mautic-platform"),
    ]
    assert "install  release mautic-platform" in before["text"]
    assert before["definition"] is None
    assert before["revisions"] == dict.fromkeys(RELEASES, 0)


def test_status_names_what_is_missing_and_what_to_do(before: Object) -> None:
    done = before["status"]
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:3] == ["part", "object", "state"]
    assert ["storageclass", "efs-branch", "missing"] in [row[-3:] for row in rows]
    assert "inv platform.apply" in done.stderr
    assert "aws-efs-csi-driver" in done.stderr


@pytest.mark.parametrize("name", ["network/vpc-id", "dns/certificate-arn", "region"])
def test_what_the_stack_does_not_say_is_asked_for_by_name(site: Site, name: str) -> None:
    stack = f"t{secrets.token_hex(3)}"
    site.aws.publish(stack, {key: value for key, value in PUBLISHED.items() if key != name})
    done = site.run("platform.apply", "--dry-run", settings=site.settings(stack=stack))
    assert done.returncode == 2
    assert name in done.stderr


def test_storage_classes_that_make_no_sense_are_refused(site: Site) -> None:
    stack = f"t{secrets.token_hex(3)}"
    site.aws.publish(stack, {**PUBLISHED, "storage/classes": '{"efs": {}}'})
    done = site.run("platform.apply", "--dry-run", settings=site.settings(stack=stack))
    assert done.returncode == 2
    assert "storage/classes" in done.stderr


def test_an_environment_without_a_cluster_has_no_platform(site: Site) -> None:
    done = site.env.run("platform.apply", "--env", "local", settings={})
    assert done.returncode == 2
    assert "does not live in a cluster" in done.stderr


# -- installed --------------------------------------------------------------------------------


def test_everything_of_a_stack_is_there(installed: Site) -> None:
    cluster = installed.cluster
    gateway = cluster.get("Gateway", "mautic", PLATFORM)
    assert gateway
    assert gateway["spec"]["gatewayClassName"] == "mautic"
    balancer = cluster.get("LoadBalancerConfiguration", "mautic", PLATFORM)
    assert balancer
    (listener,) = balancer["spec"]["listenerConfigurations"]
    assert listener["defaultCertificate"] == CERTIFICATE
    for name, policy in (("efs-branch", "Delete"), ("efs-prod", "Retain")):
        found = cluster.get("StorageClass", name)
        assert found
        assert (found["provisioner"], found["reclaimPolicy"]) == ("efs.csi.aws.com", policy)
        assert found["parameters"]["subPathPattern"] == "${.PVC.namespace}/${.PVC.name}"
    controller = cluster.get("Deployment", CONTROLLER, "kube-system")
    assert controller
    assert controller["spec"]["template"]["spec"]["serviceAccountName"] == CONTROLLER
    (container,) = controller["spec"]["template"]["spec"]["containers"]
    assert "--aws-vpc-id=vpc-0123456789abcdef0" in container["args"]
    assert controller["status"]["readyReplicas"] == 2
    own = cluster.get("Namespace", PLATFORM)
    assert own
    assert own["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert cluster.get("ServiceAccount", "mautic-database-admin", PLATFORM)
    for name, group in (("main", MAIN), ("branches", BRANCHES)):
        binding = cluster.get("ClusterRoleBinding", f"mautic-multidev-{name}")
        assert binding
        assert [subject["name"] for subject in binding["subjects"]] == [group]


def test_jobs_deploy_to_the_environments_of_the_stack_alone(installed: Site) -> None:
    found = {
        name: (installed.cluster.get("ClusterRoleBinding", f"mautic-multidev-{name}") or {})
        for name in ("main", "branches")
    }
    environments = {
        name: one["metadata"]["annotations"]["mautic-multidev.io/environments"]
        for name, one in found.items()
    }
    assert environments == {"main": "dev", "branches": "dev"}


def test_status_follows_the_cluster(installed: Site) -> None:
    states = installed.states()
    assert {one["state"] for one in states.values()} == {"ok", "missing", "not ready"}
    assert states["csidriver efs.csi.aws.com"]["state"] == "missing"
    gateway = states[f"gateway {PLATFORM}/mautic"]
    assert gateway["state"] == "not ready"
    assert "kubectl describe gateway mautic" in gateway["remedy"]
    driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": "efs.csi.aws.com"},
        "spec": {"attachRequired": False},
    }
    installed.cluster.create(driver)
    set_gateway_status(
        installed,
        {
            "addresses": [{"type": "Hostname", "value": "lb.example.com"}],
            "conditions": [{"type": "Programmed", "status": "True"}],
        },
    )
    try:
        done = installed.run("platform.status")
        assert done.returncode == 0, done.stderr
        assert "lb.example.com" in done.stdout
        assert "2/2 ready" in done.stdout
    finally:
        installed.cluster.delete("CSIDriver", "efs.csi.aws.com")
        set_gateway_status(installed, {})


def set_gateway_status(site: Site, status: Object) -> None:
    """Play the controller."""
    api = Transport("test", str(site.env.plane.kubeconfig), 30)
    path = KINDS["Gateway"].path(PLATFORM, "mautic", "status")
    body = {"status": status or None}
    api.json(ApiRequest("PATCH", path, {}, body, "application/merge-patch+json"))


def test_a_second_run_has_nothing_to_do(installed: Site) -> None:
    assert installed.plan() == []
    before = installed.revisions()
    done = installed.ok("platform.apply")
    assert "everything is as it should be" in done.stderr
    assert installed.revisions() == before


def test_what_somebody_removed_comes_back(installed: Site) -> None:
    installed.cluster.delete("StorageClass", "efs-prod")
    assert installed.plan() == [("upgrade", "release mautic-platform")]
    installed.ok("platform.apply")
    assert installed.cluster.get("StorageClass", "efs-prod")
    assert installed.plan() == []


def test_two_runs_at_a_time_take_turns(installed: Site) -> None:
    before = installed.revisions()["mautic-platform"]
    installed.cluster.delete("StorageClass", "efs-prod")
    runs = [
        installed.env.inv.start(
            installed.env.checkout,
            "platform.apply",
            *ON,
            settings=installed.settings(),
            env=installed.env.environ(installed.aws.variables()),
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert installed.cluster.get("StorageClass", "efs-prod")
    assert installed.revisions()["mautic-platform"] == before + 1, said


def test_values_of_a_persons_own_win(installed: Site, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"gateway": {"aws": {"scheme": "internal"}}}))
    options = ("platform.apply", "--values", str(own))
    installed.ok(*options)
    try:
        found = installed.cluster.get("LoadBalancerConfiguration", "mautic", PLATFORM)
        assert found
        assert found["spec"]["scheme"] == "internal"
    finally:
        installed.ok("platform.apply")


def test_a_values_file_with_a_wrong_key_is_refused(installed: Site, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"gateway": {"schema": "internal"}}))
    done = installed.run("platform.apply", "--values", str(own))
    assert done.returncode == 1
    assert "schema" in done.stderr
    installed.ok("platform.apply")
    missing = installed.run("platform.apply", "--values", "nowhere.yaml")
    assert missing.returncode == 2


def test_older_definitions_are_renewed_and_newer_ones_stay(installed: Site) -> None:
    upstream, checkout = installed.upstream, installed.env.checkout
    try:
        upstream.gateway_api("v1.7.1")
        upstream.pin(checkout, "v1.7.1")
        assert installed.states()[f"customresourcedefinition {DEFINITION}"]["state"] == "outdated"
        assert ("define", "Gateway API v1.7.1") in installed.plan()
        installed.ok("platform.apply")
        assert bundle(installed.cluster) == "v1.7.1"
    finally:
        upstream.gateway_api("v1.6.0")
        upstream.pin(checkout)
    assert installed.plan() == []
    assert bundle(installed.cluster) == "v1.7.1"


def bundle(cluster: Cluster) -> str:
    found = cluster.get("CustomResourceDefinition", DEFINITION)
    assert found
    return str(found["metadata"]["annotations"]["gateway.networking.k8s.io/bundle-version"])


def test_a_file_that_was_replaced_upstream_is_refused(installed: Site) -> None:
    upstream, checkout = installed.upstream, installed.env.checkout
    upstream.gateway_api("v1.8.0")
    upstream.pin(checkout, "v1.8.0")
    try:
        with (upstream.folder / "gateway-api.yaml").open("a") as file:
            file.write("# one more line\n")
        before = bundle(installed.cluster)
        done = installed.run("platform.apply")
        assert done.returncode == 1
        assert "gateway-api.yaml is not the file that it was" in done.stderr
        assert bundle(installed.cluster) == before
    finally:
        upstream.gateway_api("v1.6.0")
        upstream.pin(checkout)


def test_a_file_that_cannot_be_fetched_may_be_put_there_by_hand(
    installed: Site, tmp_path: Path
) -> None:
    checkout = installed.env.checkout
    installed.upstream.gateway_api("v1.9.0")
    installed.upstream.pin(checkout, "v1.9.0")
    pins = checkout / "helm" / "platform" / "upstream.yaml"
    data = yaml.safe_load(pins.read_text())
    data["gatewayApi"]["url"] = "http://127.0.0.1:9/gateway-api.yaml"
    pins.write_text(yaml.safe_dump(data))
    try:
        environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = installed.run("platform.apply", env=environ)
        assert done.returncode == 1
        place = Path(done.stderr.rpartition("put it at ")[2].strip())
        assert place.is_relative_to(tmp_path)
        place.write_bytes((installed.upstream.folder / "gateway-api.yaml").read_bytes())
        installed.ok("platform.apply", env=environ)
        assert bundle(installed.cluster) == "v1.9.0"
    finally:
        installed.upstream.gateway_api("v1.6.0")
        installed.upstream.pin(checkout)


def test_a_release_that_a_dead_run_left_pending_is_repaired(installed: Site) -> None:
    release, where = "mautic-platform", PLATFORM
    leave_pending(installed.cluster, release, where)
    plan = installed.plan()
    assert plan == [("repair", f"release {release}"), ("upgrade", f"release {release}")]
    done = installed.ok("platform.apply")
    assert "pending-upgrade: rolled back to revision" in done.stderr
    assert installed.plan() == []
    # Helm itself would keep it as pending for ever.
    pending = f"owner=helm,name={release},status=pending-upgrade"
    assert installed.cluster.find("Secret", where, pending) == []


def test_a_first_release_that_a_dead_run_left_pending_is_made_again(installed: Site) -> None:
    release, where = "mautic-platform", PLATFORM
    leave_pending(installed.cluster, release, where)
    for one in installed.cluster.find("Secret", where, f"owner=helm,name={release}"):
        if one["metadata"]["labels"]["status"] != "pending-upgrade":
            installed.cluster.delete("Secret", one["metadata"]["name"], where)
    done = installed.ok("platform.apply")
    assert "pending-upgrade: removed" in done.stderr
    assert installed.plan() == []


def test_a_controller_that_does_not_start_is_an_error_with_its_cause(installed: Site) -> None:
    node = installed.env.node
    before = node.decide
    node.decide = lambda pod: (
        "image-missing" if pod["metadata"]["namespace"] == "kube-system" else before(pod)
    )
    try:
        installed.cluster.delete("Deployment", CONTROLLER, "kube-system")
        done = installed.run("platform.apply")
        assert done.returncode == 1
        assert "registry.example.com/controller:v3.5.0" in done.stderr
    finally:
        node.decide = before
    for pod in installed.cluster.find("Pod", "kube-system"):
        installed.cluster.delete("Pod", pod["metadata"]["name"], "kube-system")
    installed.ok("platform.apply")
    assert installed.plan() == []


def test_whoever_is_no_administrator_is_told_so(installed: Site) -> None:
    plane = installed.env.plane
    assert isinstance(plane, Audited)
    kubeconfig = plane.user("nobody", "nobodies")
    for task in ("platform.status", "platform.apply"):
        done = installed.run(task, env={"KUBECONFIG": str(kubeconfig)})
        assert done.returncode == 1
        assert "ask whoever administers the cluster" in done.stderr or (
            "administrator" in done.stderr
        )


# -- a cluster that is not on AWS -------------------------------------------------------------


def test_a_plain_cluster_gets_what_needs_no_aws(installed: Site, tmp_path: Path) -> None:
    """A second platform namespace is enough: nothing here is about the rest of the cluster."""
    own = tmp_path / "off.yaml"
    name = f"plain-{secrets.token_hex(3)}"
    settings = installed.env.settings(platform_namespace=name[:20])
    options = {"settings": settings, "env": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}}
    own.write_text(yaml.safe_dump({"networkPolicy": {"enabled": False}}))
    plan = installed.plan(**options)
    assert plan == [("create", f"namespace {name}"), ("install", "release mautic-platform")]
    installed.ok("platform.apply", "--values", str(own), **options)
    assert installed.cluster.get("ServiceAccount", "mautic-database-admin", name)
    assert installed.cluster.get("NetworkPolicy", "mautic-platform", name) is None
    states = installed.states(**options)
    assert "mautic-database-admin" in states[f"secret {name}/mautic-database-admin"]["remedy"]
    installed.cluster.delete("Namespace", name)

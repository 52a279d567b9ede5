"""A saved plan is refused when anything that it depends on has changed since: exit code 3.

On a real API server, by the command line. Each case makes a plan of its own, changes the world, and
asks for that plan to be carried out; then nothing may be different from before it asked.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests
import yaml

from tasks.core.kubernetes.record import RECORD
from tasks.core.names import Names
from tests.support.deploys import FAST, Deploys, Object
from tests.support.kube_cli import ON, KubeEnv
from tests.support.layerless import push
from tests.support.plans import World
from tests.support.suite import git

BRANCH = "feature/Planned"
PLAN = "plan.json"
APPS = "/apis/apps/v1"
SHIFTING = frozenset({"events", "leases", "endpoints", "endpointslices", "pods", "replicasets"})


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    with Deploys(kube_env) as made:
        made.commit()
        made.deployed(BRANCH)
        made.commit()
        yield made


Change = Callable[[World], AbstractContextManager[None]]
CHANGES: dict[str, tuple[Change, str, tuple[str, ...]]] = {}
"""By what is changed: how, what the refusal must name, and more options of the plan."""


def change(named: str, *options: str) -> Callable[[Callable[[World], Iterator[None]]], None]:
    """Register a change; what is to be undone follows its `yield`."""

    def register(function: Callable[[World], Iterator[None]]) -> None:
        title = function.__name__.replace("_", " ")
        CHANGES[title] = (contextlib.contextmanager(function), named, options)

    return register


# -- images and the checkout ------------------------------------------------------------------


def retag(image: str, world: World) -> Iterator[None]:
    repository = f"{world.deploys.env.registry}/{image}"
    tag = world.tag
    push(repository, tag, created="2021-01-01T00:00:00Z")
    yield
    push(repository, tag)


@change("image mautic")
def mautic_is_retagged(world: World) -> Iterator[None]:
    yield from retag("mautic", world)


@change("image nginx")
def nginx_is_retagged(world: World) -> Iterator[None]:
    yield from retag("nginx", world)


@change("there is no image")
def an_image_is_removed(world: World) -> Iterator[None]:
    host, _, path = world.deploys.env.registry.partition("/")
    digest = push(f"{host}/{path}/nginx", world.tag)
    gone = requests.delete(f"http://{host}/v2/{path}/nginx/manifests/{digest}", timeout=30)
    gone.raise_for_status()
    yield
    push(f"{host}/{path}/nginx", world.tag)


@change("commit")
def the_branch_moves_on(world: World) -> Iterator[None]:
    world.deploys.commit()
    yield


@change("commit")
def the_branch_moves_back(world: World) -> Iterator[None]:
    git(world.checkout, "reset", "--quiet", "--hard", "HEAD~1")
    yield
    git(world.checkout, "reset", "--quiet", "--hard", "HEAD@{1}")


def edited(world: World, name: str, more: str) -> Iterator[None]:
    path = world.checkout / name
    before = path.read_text()
    path.write_text(before + more)
    yield
    path.write_text(before)


@change("-dirty-")
def a_file_of_the_image_is_edited(world: World) -> Iterator[None]:
    yield from edited(world, "docker/mautic/mautic.sh", "\n# edited\n")


@change("-dirty-")
def a_plugin_is_added(world: World) -> Iterator[None]:
    path = world.checkout / "docker" / "mautic" / "plugins" / "Added.php"
    path.parent.mkdir(exist_ok=True)
    path.write_text("<?php\n")
    yield
    path.unlink()


@change("values", "--by-tag")
def the_chart_is_edited(world: World) -> Iterator[None]:
    yield from edited(world, "helm/mautic/templates/web.yaml", "{{- /* edited */}}\n")


@change("env[EDITED]", "--by-tag")
def a_values_file_is_edited(world: World) -> Iterator[None]:
    path = world.checkout / FAST
    values = yaml.safe_load(path.read_text())
    text = yaml.safe_dump({**values, "web": {**values["web"], "fpm": {"env": {"EDITED": "yes"}}}})
    before = path.read_text()
    path.write_text(text)
    yield
    path.write_text(before)


@change("there is no values file", "--by-tag")
def a_values_file_is_removed(world: World) -> Iterator[None]:
    path = world.checkout / FAST
    before = path.read_text()
    path.unlink()
    yield
    path.write_text(before)


# -- settings -----------------------------------------------------------------------------------


def setting(named: str, title: str, **changes: Any) -> None:
    def with_other_settings(world: World) -> Iterator[None]:
        world.settings = world.deploys.settings(**changes)
        yield

    with_other_settings.__name__ = title
    change(named)(with_other_settings)


setting("settings", "patience is changed", patience={"crashes": 9})
setting("settings", "the time to live is changed", ttl="3d")
setting("values", "the door is opened", door="open")
setting("address", "the domain is changed", host="{slug}.elsewhere.example.com")
setting("values", "the database server is changed", database={"host": "10.0.52.99"})
setting("the chart refuses its values", "the server is taken away", database=None)


@change("settings")
def another_mail_image_is_set(world: World) -> Iterator[None]:
    world.settings = world.deploys.settings()
    image = f"registry.example.com/mailpit@sha256:{'d' * 64}"
    world.settings["platform"] = {"mail_image": image}
    yield


# -- what is there --------------------------------------------------------------------------------


@change("spec.replicas")
def web_is_scaled_by_hand(world: World) -> Iterator[None]:
    world.patch("Deployment", world.name("web"), {"spec": {"replicas": 3}})
    yield
    world.patch("Deployment", world.name("web"), {"spec": {"replicas": 1}})


@change("spec.replicas")
def a_worker_is_stopped_by_hand(world: World) -> Iterator[None]:
    world.patch("Deployment", world.name("worker-hit"), {"spec": {"replicas": 0}})
    yield
    world.patch("Deployment", world.name("worker-hit"), {"spec": {"replicas": 1}})


@change("containers[fpm].image")
def an_image_is_set_by_hand(world: World) -> Iterator[None]:
    web = world.object("Deployment", world.name("web"))
    containers = web["spec"]["template"]["spec"]["containers"]
    before = json.loads(json.dumps(containers))
    for each in containers:
        if each["name"] == "fpm":
            each["image"] = "elsewhere.example.com/mautic:latest"
    world.patch("Deployment", world.name("web"), _containers(containers))
    yield
    world.patch("Deployment", world.name("web"), _containers(before))


def _containers(containers: list[Object]) -> Object:
    return {"spec": {"template": {"spec": {"containers": containers}}}}


@change("configmap/")
def a_config_map_is_edited(world: World) -> Iterator[None]:
    world.patch("ConfigMap", world.name("env"), {"data": {"MAUTIC_SITE_URL": "https://x"}})
    yield


def delete(world: World, kind: str, name: str) -> Iterator[None]:
    before = world.object(kind, name)
    world.delete(kind, name)
    yield
    world.bring_back(before)


@change("configmap/")
def a_config_map_is_deleted(world: World) -> Iterator[None]:
    yield from delete(world, "ConfigMap", world.name("env"))


@change("service/")
def the_service_is_deleted(world: World) -> Iterator[None]:
    yield from delete(world, "Service", world.name("web"))


@change("deployment/")
def a_deployment_is_deleted(world: World) -> Iterator[None]:
    yield from delete(world, "Deployment", world.name("worker-email"))


@change("networkpolicy/")
def a_network_policy_is_widened(world: World) -> Iterator[None]:
    egress = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
    world.patch("NetworkPolicy", world.name("app"), {"spec": {"egress": egress}})
    yield


@change("secret")
def a_password_is_changed(world: World) -> Iterator[None]:
    before = world.object("Secret", "mautic")["data"]
    world.patch("Secret", "mautic", {"data": {"door_password": "b3RoZXItcGFzc3dvcmQ="}})
    yield
    world.patch("Secret", "mautic", {"data": before})


@change("the secrets of feature/Planned are gone")
def the_secret_is_deleted(world: World) -> Iterator[None]:
    yield from delete(world, "Secret", "mautic")


@change("limits")
def a_quota_is_added(world: World) -> Iterator[None]:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "theirs"}}
    world.create({**quota, "spec": {"hard": {"pods": "30"}}})
    yield
    world.delete("ResourceQuota", "theirs")


@change("limits")
def limits_are_added(world: World) -> Iterator[None]:
    limits = [{"type": "Container", "default": {"memory": "1Gi"}}]
    made = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "theirs"}}
    world.create({**made, "spec": {"limits": limits}})
    yield
    world.delete("LimitRange", "theirs")


@change("resourcequota/")
def the_own_quota_is_changed(world: World) -> Iterator[None]:
    world.patch("ResourceQuota", world.name("quota"), {"spec": {"hard": {"pods": "39"}}})
    yield


@change("namespace's labels")
def the_namespace_is_labelled(world: World) -> Iterator[None]:
    def label(value: str | None) -> None:
        patch = {"metadata": {"labels": {"team": value}}}
        world.deploys.cluster.patch("Namespace", world.names.namespace, None, patch)

    label("theirs")
    yield
    label(None)


@change("deployed since: ")
def the_record_is_edited(world: World) -> Iterator[None]:
    found = world.deploys.cluster.get("Namespace", world.names.namespace)
    assert found
    before = found["metadata"]["annotations"][RECORD]
    record = json.loads(before)
    record["history"][-1]["tag"] = "another"
    world.annotate({RECORD: json.dumps(record)})
    yield
    world.annotate({RECORD: before})


@change("is not that of")
def the_namespace_gets_another_owner(world: World) -> Iterator[None]:
    key = "mautic-multidev.io/branch"
    world.annotate({key: "theirs"})
    yield
    world.annotate({key: world.branch})


# -- the life of the environment ------------------------------------------------------------------


@change("the environment is asleep since ")
def it_is_put_to_sleep(world: World) -> Iterator[None]:
    world.deploys.ok("sleep", *ON, "--branch", world.branch)
    yield
    world.deploys.ok("wake", *ON, "--branch", world.branch)


@change("release")
def a_run_has_left_the_release_pending(world: World) -> Iterator[None]:
    newest = newest_record(world)
    pending = {"metadata": {"labels": {"status": "pending-upgrade"}}}
    world.patch("Secret", newest, pending)
    yield
    world.patch("Secret", newest, {"metadata": {"labels": {"status": "deployed"}}})


def newest_record(world: World) -> str:
    found = world.deploys.cluster.find("Secret", world.names.namespace, "owner=helm")
    newest = max(found, key=lambda item: int(item["metadata"]["labels"]["version"]))
    return str(newest["metadata"]["name"])


@change("release (revision ")
def the_releases_records_are_deleted(world: World) -> Iterator[None]:
    found = world.deploys.cluster.find("Secret", world.names.namespace, "owner=helm")
    for item in found:
        world.delete("Secret", item["metadata"]["name"])
    yield
    for item in found:
        world.bring_back({**item, "apiVersion": "v1"})


@change("release (revision ")
def another_deploy_came_between(world: World) -> Iterator[None]:
    world.deploys.deployed(world.branch)
    yield
    world.deploys.commit()


@change("release (revision ")
def a_failed_deploy_came_between(world: World) -> Iterator[None]:
    tag = world.tag
    world.deploys.fate(world.branch, tag, migrate="job-fail")
    assert world.deploys.deploy(world.branch).returncode == 1
    world.deploys.fate(world.branch)
    yield


@change("release (revision ")
def it_was_rolled_back(world: World) -> Iterator[None]:
    world.deploys.ok("rollback", *ON, "--branch", world.branch)
    yield


@change("release (revision ")
def somebody_has_run_helm(world: World) -> Iterator[None]:
    names = world.names
    world.deploys.helm(
        *("rollback", names.release, "--no-hooks", "--force-conflicts"),
        f"--namespace={names.namespace}",
    )
    yield


@change("namespace")
def it_was_removed(world: World) -> Iterator[None]:
    world.deploys.ok("cleanup", *ON, "--branch", world.branch)
    yield


@change("namespace")
def it_was_removed_and_deployed_anew(world: World) -> Iterator[None]:
    world.deploys.deployed(world.branch)
    yield


# -- the test -----------------------------------------------------------------------------------


def state(deploys: Deploys, names: Names) -> dict[tuple[str, str], str]:
    """Return the version of all that a namespace holds, and of itself."""
    found = {
        (kind, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for kind, root, plural, namespaced in deploys.resources
        if namespaced and plural not in SHIFTING and "/metrics" not in root
        for item in deploys.api(f"{root}/namespaces/{names.namespace}/{plural}")["items"]
        # Their pods come and go, which their status counts.
        if kind not in {"Deployment", "ResourceQuota"}
    }
    for kind in ("Deployment", "ResourceQuota"):
        for item in deploys.cluster.find(kind, names.namespace):
            found[kind, item["metadata"]["name"]] = json.dumps(item["spec"], sort_keys=True)
    namespace = deploys.cluster.get("Namespace", names.namespace)
    found["Namespace", ""] = namespace["metadata"]["resourceVersion"] if namespace else ""
    return found


@pytest.mark.parametrize("title", CHANGES)
def test_a_plan_is_refused_after(title: str, deploys: Deploys) -> None:
    make, named, options = CHANGES[title]
    world = World(deploys, BRANCH)
    by_tag = ("--tag", world.tag) if "--by-tag" in options else ("--no-build",)
    deploys.ok("plan", *ON, "--branch", BRANCH, "--new", *by_tag, "--out", PLAN)
    with make(world):
        before = state(deploys, world.names)
        settings = world.settings or deploys.settings()
        refused = deploys.run("deploy", "--plan", PLAN, settings=settings)
        after = state(deploys, world.names)
    assert refused.returncode == 3, refused.stderr
    assert "no longer holds: " in refused.stderr
    assert named in refused.stderr
    assert "  hint: nothing was changed" in refused.stderr
    assert after == before


def test_there_are_thirty_of_them() -> None:
    assert len(CHANGES) >= 30

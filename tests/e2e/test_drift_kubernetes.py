"""`inv drift`: what differs from what was deployed, and what does not count, on a real API server.

Each case changes something as people's tools do, by a field manager of their own, and looks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.deploys import Deploys, Object
from tests.support.kube_cli import ON, KubeEnv
from tests.support.plans import World

KUBECTL = "kubectl-edit"


@pytest.fixture(scope="module")
def world(kube_env: KubeEnv) -> Iterator[World]:
    with Deploys(kube_env) as made:
        made.commit()
        yield World(made, "nobody")


@pytest.fixture
def deployed(world: World, request: pytest.FixtureRequest) -> World:
    """A branch of the test's own, as it was deployed: what others have made stays in the last."""
    # A short one, for the chart cuts objects' names at the end.
    test = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    made = World(world.deploys, f"feature/{test}")
    made.deploys.deployed(made.branch)
    return made


def edit(world: World, kind: str, component: str, manifest: Object, api: str = "apps/v1") -> None:
    """Change an object as kubectl does."""
    name = world.name(component)
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    path = f"{root}/namespaces/{world.names.namespace}/{kind.lower()}s/{name}"
    whole = {"apiVersion": api, "kind": kind, **manifest}
    whole["metadata"] = {"name": name, **manifest.get("metadata", {})}
    world.deploys.applied(path, whole, KUBECTL, dry=False)


def scale(world: World) -> None:
    edit(world, "Deployment", "web", {"spec": {"replicas": 2}})


def label(world: World) -> None:
    edit(world, "Service", "web", {"metadata": {"labels": {"team": "green"}}}, "v1")


def container(world: World, **fields: object) -> None:
    spec = {"spec": {"containers": [{"name": "cron", **fields}]}}
    edit(world, "Deployment", "cron", {"spec": {"template": spec}})


def add_a_variable(world: World) -> None:
    container(world, env=[{"name": "BY_HAND", "value": "yes"}])


def set_an_image(world: World) -> None:
    container(world, image="elsewhere.example.com/mautic:latest")


def edit_the_config(world: World) -> None:
    edit(world, "ConfigMap", "env", {"data": {"MAUTIC_SITE_URL": "https://x"}}, "v1")


def add_to_the_config(world: World) -> None:
    edit(world, "ConfigMap", "cron", {"data": {"ADDED": "yes"}}, "v1")


def annotate(world: World) -> None:
    edit(world, "ServiceAccount", "app", {"metadata": {"annotations": {"a.io/b": "c"}}}, "v1")


def delete_the_config(world: World) -> None:
    world.delete("ConfigMap", world.name("env"))


def delete_a_worker(world: World) -> None:
    world.delete("Deployment", world.name("worker-hit"))


def widen_the_policy(world: World) -> None:
    egress = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
    world.patch("NetworkPolicy", world.name("app"), {"spec": {"egress": egress}})


def lower_the_quota(world: World) -> None:
    world.patch("ResourceQuota", world.name("quota"), {"spec": {"hard": {"pods": "39"}}})


def change_a_password(world: World) -> None:
    world.patch("Secret", "mautic", {"data": {"door_password": "b3RoZXItcGFzc3dvcmQ="}})


def delete_the_secret(world: World) -> None:
    world.delete("Secret", "mautic")


def add_an_object(world: World) -> None:
    labels = {"app.kubernetes.io/instance": world.names.release}
    meta = {"name": "theirs", "labels": labels}
    world.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}})


def make_the_service_anew(world: World) -> None:
    world.delete("Service", world.name("web"))
    meta = {"name": world.name("web")}
    spec = {"clusterIP": "None", "ports": [{"port": 80}]}
    world.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})


def run_helm(world: World) -> None:
    names = world.names
    world.deploys.helm(
        *("rollback", names.release, "1", "--no-hooks", "--force-conflicts"),
        f"--namespace={names.namespace}",
    )


@dataclass(frozen=True)
class Case:
    """A change, and how it is told: verb, object, and a field's path or part of it."""

    change: Callable[[World], None]
    verb: str
    object: str
    field: str = ""


ROUNDS = {
    "edited": (
        Case(scale, "change", "deployment/{}-web", "spec.replicas"),
        Case(label, "change", "service/{}-web", "metadata.labels.team"),
        Case(add_a_variable, "change", "deployment/{}-cron", "containers[cron].env[BY_HAND]"),
        Case(edit_the_config, "change", "configmap/{}-env", "data.MAUTIC_SITE_URL"),
        Case(add_to_the_config, "change", "configmap/{}-cron", "data.ADDED"),
        Case(widen_the_policy, "change", "networkpolicy/{}-app", "spec.egress"),
        Case(annotate, "change", "serviceaccount/{}-app", "metadata.annotations[a.io/b]"),
        Case(lower_the_quota, "change", "resourcequota/{}-quota", "spec.hard.pods"),
        Case(change_a_password, "change", "secret/mautic", "data"),
        Case(add_an_object, "add", "configmap/theirs"),
    ),
    "deleted": (
        Case(set_an_image, "change", "deployment/{}-cron", "containers[cron].image"),
        Case(delete_the_config, "remove", "configmap/{}-env"),
        Case(delete_a_worker, "remove", "deployment/{}-worker-hit"),
        Case(make_the_service_anew, "change", "service/{}-web", "object"),
        Case(delete_the_secret, "remove", "secret/mautic"),
    ),
    "rolled back": (Case(run_helm, "change", "release/{}", "revision"),),
}
"""What is done at once; nothing else may be told."""


def drift(world: World) -> tuple[int, list[Object], str]:
    done = world.deploys.run("drift", *ON, "--branch", world.branch, "--format", "json")
    return done.returncode, json.loads(done.stdout) if done.stdout else [], done.stderr


@pytest.mark.parametrize("cases", ROUNDS.values(), ids=ROUNDS)
def test_what_others_have_changed_is_told(cases: tuple[Case, ...], deployed: World) -> None:
    assert drift(deployed)[:2] == (0, [])
    for case in cases:
        case.change(deployed)
    code, found, said = drift(deployed)
    told = {each["object"]: each for each in found}
    wanted = {case.object.format(deployed.names.release): case for case in cases}
    assert code == 7, said
    assert {name: each["verb"] for name, each in told.items()} == {
        name: case.verb for name, case in wanted.items()
    }
    for name, case in wanted.items():
        paths = [one["path"] for one in told[name]["fields"]]
        assert any(case.field in path for path in paths) or not case.field, (name, paths)
        assert name in said
    assert "b3RoZXItcGFzc3dvcmQ" not in json.dumps(found) + said


def test_what_is_no_drift(deployed: World) -> None:
    """Sleep, a note of the last use, objects of other people, and a status."""
    meta = {"name": "of-others"}
    deployed.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    deployed.annotate({"mautic-multidev.io/used-at": "2026-01-01T00:00:00+00:00"})
    assert drift(deployed)[:2] == (0, [])
    deployed.deploys.ok("sleep", *ON, "--branch", deployed.branch)
    assert drift(deployed)[:2] == (0, [])


def test_the_next_deploy_sets_it_back(deployed: World) -> None:
    scale(deployed)
    set_an_image(deployed)
    deployed.deploys.commit()
    deployed.deploys.deployed(deployed.branch)
    assert drift(deployed)[:2] == (0, [])


def test_what_does_not_exist_is_told(world: World) -> None:
    done = world.deploys.run("drift", *ON, "--branch", world.branch)
    assert done.returncode == 2
    assert "no environment" in done.stderr

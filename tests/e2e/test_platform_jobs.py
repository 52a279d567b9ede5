"""CI jobs at work: the command line with a job's rights, and no right that it never uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.attestations import attest_images
from tests.support.kube_cli import (
    ENVIRONMENT,
    ON,
    PLATFORM,
    STORAGE_CLASS,
    KubeEnv,
    kube_environment,
    with_remote,
)
from tests.support.node import Node
from tests.support.platform import BRANCHES, MAIN, Audited, Upstream, audited
from tests.support.suite import commit_all, git

Object = dict[str, Any]

USER = "job-of-a-branch"
FIRST, SECOND, BROKEN = "first", "second", "broken"
BRANCH = "feature/x"
GONE = "feature/gone"
ROUTED = "helm/environments/routed.yaml"
ALONE = "helm/environments/alone.yaml"
FAST = {"minReadySeconds": 1, "drainSeconds": 1}
VALUES: dict[str, Object] = {
    # Between them they make every kind of object that the chart can make.
    ROUTED: {
        "crons": {"mode": "cronjobs"},
        "web": {**FAST, "autoscaling": {"enabled": True}},
        "media": {"storageClass": STORAGE_CLASS, "keep": True},
        "sessions": {"handler": "redis"},
        "redis": {"enabled": True},
        "images": {"redis": f"registry.example.com/redis@sha256:{'e' * 64}"},
        "route": {"kind": "httproute", "gateway": {"name": "mautic", "namespace": PLATFORM}},
        "networkPolicy": {"gateway": {"cidrs": ["10.20.0.0/16"]}},
    },
    ALONE: {
        "web": FAST,
        "mysql": {"enabled": True, "size": "1Gi"},
        "images": {"mysql": f"registry.example.com/mysql@sha256:{'d' * 64}"},
        "route": {"kind": "ingress", "ingress": {"className": "played"}},
        "networkPolicy": {"gateway": {"cidrs": ["10.20.0.0/16"]}},
    },
}


class Site:
    """Two environments in one cluster whose platform is installed."""

    def __init__(self, env: KubeEnv, plane: Audited) -> None:
        self.env = env
        self.kubeconfig = {
            "branch": plane.user(USER, BRANCHES),
            "main": plane.user("job-of-main", MAIN),
        }

    def settings(self, values: str = ROUTED, **changes: Any) -> Object:
        files = ["helm/environments/dev.yaml", values]
        little = {"stability_seconds": 1, "grace_seconds": 4, "deadline_seconds": 60}
        settings = self.env.settings(values=files, patience=little, **changes)
        dev = settings["environments"][ENVIRONMENT]
        prod = {**dev, "branches": ["main"], "namespace": "{project}-prod", "protected": True}
        prod |= {"host": "mautic.example.com"}
        prod |= {"registry": {"kind": "oci", "url": f"{self.env.registry}/prod"}}
        del prod["ttl"]
        settings["environments"]["prod"] = prod
        return settings

    def run(self, who: str, *args: str, env: str = ENVIRONMENT, **options: Any) -> Any:
        """Run `inv` as a CI job."""
        settings = options.pop("settings", None) or self.settings()
        task, *rest = args
        environ = {"KUBECONFIG": str(self.kubeconfig[who])}
        return self.env.run(task, "--env", env, *rest, settings=settings, env=environ)

    def ok(self, who: str, *args: str, **options: Any) -> Any:
        done = self.run(who, *args, **options)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return done

    def deploy(self, who: str, branch: str, tag: str, **options: Any) -> Any:
        return self.run(who, "deploy", "--branch", branch, "--tag", tag, **options)

    def deployed(self, who: str, branch: str, tag: str, **options: Any) -> None:
        done = self.deploy(who, branch, tag, **options)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("jobs-plane"))


@pytest.fixture(scope="module")
def site(
    plane: Audited, registry: str, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    scratch = tmp_path_factory.mktemp("jobs")
    with (
        Node(plane) as node,
        kube_environment(plane, node, registry, _project, scratch) as env,
        Upstream(scratch / "upstream") as upstream,
    ):
        for name, values in VALUES.items():
            (env.checkout / name).write_text(yaml.safe_dump(values))
        with_remote(env.checkout, (BRANCH,))
        upstream.pin(env.checkout)
        commit_all(env.checkout, "values")
        made = Site(env, plane)
        own = scratch / "platform.yaml"
        access = {
            "main": {"group": MAIN, "environments": [ENVIRONMENT, "prod"]},
            "branches": {"group": BRANCHES, "environments": [ENVIRONMENT]},
        }
        gateway = {"enabled": True, "redirect": False}
        values = {"access": access, "gateway": gateway, "gatewayApi": {"install": True}}
        values["floor"] = {"images": ["registry.example.com/"]}
        own.write_text(yaml.safe_dump(values))
        env.ok("platform.apply", *ON, "--values", str(own), settings=made.settings())
        env.cluster.create(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": "played"},
                "spec": {"controller": "test.mautic-multidev/played"},
            }
        )
        for tag in (FIRST, SECOND, BROKEN):
            env.push(tag)
        before = node.decide
        wrong = env.push(BROKEN)["mautic"]
        node.decide = lambda pod: (
            "crash-loop"
            if any(wrong in one["image"] for one in pod["spec"]["containers"])
            and pod["metadata"]["labels"].get("app.kubernetes.io/component") == "web"
            else before(pod)
        )
        yield made


@pytest.fixture(scope="module")
def worked(site: Site, plane: Audited) -> set[tuple[str, str, str]]:
    """What a branch's job has used after a whole life of environments.

    Returns:
        Where (the namespace's kind), verb, and resource with its group.
    """
    alone = site.settings(ALONE, database=None)
    site.ok("branch", "deploy", "--branch", BRANCH, "--tag", FIRST, "--dry-run")
    for tag in (FIRST, SECOND):
        site.deployed("branch", BRANCH, tag)
    failed = site.deploy("branch", BRANCH, BROKEN)
    assert failed.returncode == 1
    assert "rolled back to second" in failed.stderr
    site.ok("branch", "rollback", "--branch", BRANCH)
    site.deployed("branch", GONE, FIRST, settings=alone)
    rows = json.loads(site.ok("branch", "list", "--format", "json").stdout)
    assert {row["branch"] for row in rows} == {BRANCH, GONE}
    site.ok("branch", "status", "--branch", BRANCH)
    site.ok("branch", "logs", "--branch", BRANCH)
    site.ok("branch", "url", "--branch", BRANCH)
    done = site.ok("branch", "console", "--branch", BRANCH, "--", "mautic:x")
    assert "<mautic:x>" in done.stdout
    # With somebody else's object in it, a namespace is emptied and stays; without, it goes.
    places = {branch: site.env.names(branch).namespace for branch in (GONE, BRANCH)}
    for where in places.values():
        foreign = {"name": "of-somebody", "namespace": where}
        site.env.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": foreign})
    assert "kept namespace" in site.ok("branch", "gc", "--all", "--yes", settings=alone).stderr
    site.ok("branch", "cleanup", "--branch", BRANCH)
    for branch, where in places.items():
        site.env.cluster.delete("ConfigMap", "of-somebody", where)
        site.ok("branch", "cleanup", "--branch", branch)
        assert site.env.cluster.get("Namespace", where) is None
    return used(plane)


UNSEEN = {
    ("cluster", "bind", "clusterroles.rbac.authorization.k8s.io"),
    ("environment", "create", "pods/exec"),
}
"""Asked for by the API server itself, beside the request that the audit log tells of."""


def used(plane: Audited) -> set[tuple[str, str, str]]:
    """Return what the user asked for and was allowed to, whatever came of it."""
    found = set(UNSEEN)
    for entry in plane.asked(USER):
        code, about = entry.get("responseStatus", {}).get("code"), entry["objectRef"]
        if code == 403:
            continue
        where = {None: "cluster", PLATFORM: "platform"}.get(about.get("namespace"), "environment")
        if about["resource"] in {"namespaces", "rolebindings"}:
            where = "cluster"
        resource = about["resource"] + (f"/{sub}" if (sub := about.get("subresource")) else "")
        if group := about.get("apiGroup"):
            resource += f".{group}"
        found.add((where, entry["verb"], resource))
        if entry["verb"] == "patch" and code == 201:
            # Server-side apply of what was not there needs both rights.
            found.add((where, "create", resource))
    return found


def granted(site: Site) -> set[tuple[str, str, str]]:
    found = set()
    for where, kind, name in (
        ("cluster", "ClusterRole", "mautic-multidev"),
        ("environment", "ClusterRole", "mautic-multidev-environment"),
        ("platform", "Role", "mautic-multidev"),
    ):
        role = site.env.cluster.get(kind, name, PLATFORM)
        assert role
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    full = f"{resource}.{group}" if group else resource
                    found |= {(where, verb, full) for verb in rule["verbs"]}
    return found


def test_no_right_is_granted_that_no_task_uses(
    site: Site, worked: set[tuple[str, str, str]]
) -> None:
    unused = sorted(granted(site) - worked)
    assert unused == []


def test_main_deploys_production_and_a_branch_cannot(site: Site) -> None:
    sha = git(site.env.checkout, "rev-parse", "HEAD")
    tag = sha[:8]
    digests = site.env.push(tag, "/prod")
    repository = git(site.env.checkout, "remote", "get-url", "origin")
    attest_images(f"{site.env.registry}/prod", digests, sha, "prod", repository)
    done = site.deploy("branch", "main", tag, env="prod")
    assert done.returncode == 1
    assert "environment that you may deploy to" in done.stderr
    assert site.env.cluster.get("Namespace", f"{site.env.project}-prod") is None
    site.deployed("main", "main", tag, env="prod")
    refused = site.run("branch", "status", "--branch", "main", env="prod")
    assert refused.returncode == 1
    assert "403" in refused.stderr
    rows = site.ok("main", "list", env="prod").stdout
    assert "main" in rows

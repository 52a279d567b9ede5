"""Whether a branch fits: asked of a real API server, with its own counting of quotas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, KubeEnv, with_remote

MAIN, NEW, FIRST = "main", "feature/new", "first"
SMALL = "helm/environments/small.yaml"
FLEET = "fleet/awake"


@pytest.fixture(scope="module")
def site(kube_env: KubeEnv) -> KubeEnv:
    """Two environments that are awake, `main` the one that was used last."""
    with_remote(kube_env.checkout)
    small = {"quota": {"hard": {"pods": "2"}}}
    (kube_env.checkout / SMALL).write_text(yaml.safe_dump(small))
    kube_env.push(FIRST)
    for branch in (FLEET, MAIN):
        kube_env.deploy(branch, FIRST)
    return kube_env


def deploy(
    site: KubeEnv, branch: str, *options: str, env: dict[str, str] | None = None, **settings: Any
) -> CompletedProcess[str]:
    """Plan a deploy: what is refused in the plan is refused in the deploy, by the same lines."""
    words = ("deploy", *ON, "--branch", branch, "--tag", FIRST, "--dry-run", *options)
    return site.run(*words, settings=site.settings(**settings), env=env)


def requested(site: KubeEnv) -> int:
    """Return what all pods request, in thousandths of a processor."""
    return sum(
        int(container["resources"].get("requests", {}).get("cpu", "0m").removesuffix("m"))
        for pod in site.cluster.find("Pod")
        if pod["status"]["phase"] in {"Running", "Pending"}
        for container in pod["spec"]["containers"]
    )


@contextmanager
def allocatable(site: KubeEnv, cpu: int) -> Iterator[None]:
    """Let the node have so many thousandths of a processor."""
    before = site.cluster.get("Node", site.node.name)
    assert before

    def write(amount: str) -> None:
        status = {"status": {"allocatable": {"cpu": amount}}}
        site.node.patch("Node", "", site.node.name, status, "status")

    write(f"{cpu}m")
    try:
        yield
    finally:
        write(before["status"]["allocatable"]["cpu"])


def test_what_fits_is_in_the_plan(site: KubeEnv) -> None:
    done = deploy(site, NEW)
    assert done.returncode == 0, done.stderr
    told = re.search(r"^  fit +\d pods +\((.*)\)$", done.stdout, re.M)
    assert told, done.stdout
    assert told[1] == "1 node, quota, 12 of 151 connections"
    plan = json.loads(deploy(site, NEW, "--format", "json").stdout)
    assert plan["steps"][0]["verb"] == "fit"


def test_what_does_not_fit_is_refused_with_who_would_have_to_sleep(site: KubeEnv) -> None:
    with allocatable(site, requested(site) + 100):
        done = site.run("deploy", *ON, "--branch", NEW, "--tag", FIRST)
        assert done.returncode == 3, done.stderr
        lines = done.stderr.splitlines()
        (error,) = [line for line in lines if line.startswith("error: ")]
        assert re.search(
            rf"error: {NEW} does not fit: \d of \d pods find no node: web requests 0\.12 processors"
            r" and 0\.4 GiB, and the freest of 1 node has 0\.1 processors and .* GiB left$",
            error,
        ), error
        hint = f"it would fit if {FLEET} slept: ./inv sleep --env dev --branch {FLEET}"
        assert any(hint in line for line in lines), lines
        # Nothing was made.
        assert site.cluster.get("Namespace", site.names(NEW).namespace) is None
        for options, settings in (
            (("--no-capacity-check",), {}),
            ((), {"capacity": {"check": False}}),
            ((), {"capacity": {"autoscaler": True}}),
        ):
            assert deploy(site, NEW, *options, **settings).returncode == 0
    site.ok("sleep", *ON, "--branch", FLEET)
    try:
        with allocatable(site, requested(site) + 1000):
            assert deploy(site, NEW).returncode == 0
            # Who sleeps needs as much as a new one.
            assert deploy(site, FLEET).returncode == 0
        with allocatable(site, requested(site) + 100):
            assert deploy(site, FLEET).returncode == 3
    finally:
        site.ok("wake", *ON, "--branch", FLEET)


def test_a_pinned_one_is_not_asked_to_sleep(site: KubeEnv) -> None:
    site.ok("pin", *ON, "--branch", FLEET)
    try:
        with allocatable(site, requested(site) + 100):
            said = deploy(site, NEW).stderr
        assert f"it would fit if {MAIN} slept" in said
    finally:
        site.ok("pin", *ON, "--branch", FLEET, "--off")


def test_the_quota_of_the_chart_is_asked_before_there_is_a_namespace(site: KubeEnv) -> None:
    values = [*site.settings()["environments"]["dev"]["values"], SMALL]
    done = deploy(site, NEW, values=values)
    assert done.returncode == 3, done.stderr
    assert re.search(
        r"the quota \S+ allows 2 of pods, 0 of it used, and \d more is needed", done.stderr
    )


def test_the_quota_of_the_namespace_is_counted_by_the_api(site: KubeEnv) -> None:
    where = site.names(MAIN).namespace
    (quota,) = site.cluster.find("ResourceQuota", where)
    used = int(quota["status"]["used"]["pods"])
    name, hard = quota["metadata"]["name"], quota["spec"]["hard"]["pods"]
    site.cluster.patch("ResourceQuota", name, where, {"spec": {"hard": {"pods": str(used)}}})
    try:
        # Other images are rolled out beside those that run.
        site.push("second")
        done = site.run("deploy", *ON, "--branch", MAIN, "--tag", "second", "--dry-run")
        assert done.returncode == 3, done.stderr
        assert f"the quota {name} allows {used} of pods, {used} of it used" in done.stderr
    finally:
        site.cluster.patch("ResourceQuota", name, where, {"spec": {"hard": {"pods": hard}}})


def test_it_takes_a_few_requests(site: KubeEnv, tmp_path: Path) -> None:
    def count(*options: str) -> int:
        with FaultyProxy(site.plane) as proxy:
            path = proxy.write_kubeconfig(tmp_path / "kubeconfig")
            assert deploy(site, NEW, *options, env={"KUBECONFIG": str(path)}).returncode == 0
            return len(proxy.requests)

    # Namespace, pods, nodes; the server by a colleague, whom `inv list` names with three.
    assert count() - count("--no-capacity-check") <= 7

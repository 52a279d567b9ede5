"""Sleep, wake and pin in a cluster, by the command line: a real API server, a scripted node."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tasks.core.kubernetes.labels import ASLEEP, AWAKE, USED_AT
from tasks.core.kubernetes.stages import KINDS
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, KubeEnv, with_remote
from tests.support.planting import listed
from tests.support.rights import check_rights

FIRST = "first"
SCALED = "helm/environments/scaled.yaml"


@pytest.fixture(scope="module")
def site(kube_env: KubeEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeEnv]:
    """A checkout, whose runs need no right that is not in the list."""
    with FaultyProxy(kube_env.plane) as proxy:
        kube_env.through = proxy.write_kubeconfig(tmp_path_factory.mktemp("proxy") / "kubeconfig")
        values = {
            "web": {"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 4}},
            "sessions": {"handler": "redis"},
            "redis": {"host": "10.0.52.11"},
        }
        (kube_env.checkout / SCALED).write_text(yaml.safe_dump(values))
        with_remote(kube_env.checkout)
        kube_env.push(FIRST)
        yield kube_env
        kube_env.through = None
    check_rights(proxy.requests, kube_env.project)


def workloads(site: KubeEnv, branch: str) -> dict[str, dict[str, Any]]:
    where = site.names(branch).namespace
    return {
        item["metadata"]["name"]: item for kind in KINDS for item in site.cluster.find(kind, where)
    }


def counts(site: KubeEnv, branch: str) -> dict[str, int]:
    return {name: item["spec"]["replicas"] for name, item in workloads(site, branch).items()}


def pods(site: KubeEnv, branch: str) -> list[str]:
    where = site.names(branch).namespace
    return [
        pod["metadata"]["name"]
        for pod in site.cluster.find("Pod", where)
        if pod["status"]["phase"] in {"Running", "Pending"}
    ]


def test_what_sleeps_has_no_pods_and_wakes_as_it_was(site: KubeEnv) -> None:
    branch = ("--branch", "main")
    site.deploy("main", FIRST)
    before = counts(site, "main")
    assert any(before.values())
    assert "nothing to do" in site.ok("wake", *ON, *branch, "--dry-run").stdout
    plan = site.ok("sleep", *ON, *branch, "--dry-run").stdout
    assert plan.index("workers and crons") < plan.index("web") < plan.index("servers")
    assert counts(site, "main") == before

    began = time.monotonic()
    site.ok("sleep", *ON, *branch)
    print(f"sleep: {time.monotonic() - began:.1f} s")  # noqa: T201 - for -s
    assert pods(site, "main") == []
    assert set(counts(site, "main").values()) == {0}
    row: dict[str, Any] = listed(site)["main"]
    assert row["state"] == "asleep"
    assert row["rest"]["asleep"]["why"] == "by hand"
    assert re.search(r"^main +asleep \d+s \(by hand, ", site.ok("list", *ON).stdout, re.MULTILINE)
    again = site.ok("sleep", *ON, *branch)
    assert "is asleep since" in again.stderr
    assert "nothing to do" in again.stderr
    status = site.ok("status", *ON, *branch, "--format", "json").stdout
    assert json.loads(status)[-1]["state"] == "asleep"

    began = time.monotonic()
    done = site.ok("wake", *ON, *branch)
    print(f"wake: {time.monotonic() - began:.1f} s")  # noqa: T201 - for -s
    assert done.stdout.strip() == site.names("main").url
    assert counts(site, "main") == before
    assert not any(
        AWAKE in (item["metadata"].get("annotations") or {})
        for item in workloads(site, "main").values()
    )
    assert listed(site)["main"]["state"] == "running"
    assert "is awake already" in site.ok("wake", *ON, *branch).stderr
    # Nothing has changed for Helm.
    assert "everything is as it should be" in site.deploy("main", FIRST).stderr


def test_a_deploy_and_a_command_wake(site: KubeEnv) -> None:
    site.deploy("woken", FIRST)
    before = counts(site, "woken")
    site.ok("sleep", *ON, "--branch", "woken")
    done = site.run("db.reset", *ON, "--branch", "woken", "--dry-run")
    assert done.returncode == 2
    assert "inv wake" in done.stderr
    asleep = counts(site, "woken")
    assert site.run("shell", *ON, "--branch", "woken", "--service", "nope").returncode == 2
    assert counts(site, "woken") == asleep
    site.run("shell", *ON, "--branch", "woken", "--command", "true")
    assert counts(site, "woken") == before
    site.ok("sleep", *ON, "--branch", "woken")
    plan = site.ok("deploy", *ON, "--branch", "woken", "--tag", FIRST, "--dry-run").stdout
    assert "wake" in plan
    site.deploy("woken", FIRST)
    assert counts(site, "woken") == before
    assert listed(site)["woken"]["state"] == "running"


def test_an_autoscaler_neither_wakes_it_nor_is_it_left_without_pods(site: KubeEnv) -> None:
    settings = site.settings(values=["helm/environments/dev.yaml", SCALED])
    args = (*ON, "--branch", "scaled")
    names = site.names("scaled")
    web = f"{names.release}-web"
    site.ok("deploy", *args, "--tag", FIRST, settings=settings)

    def web_pods() -> int:
        found = site.cluster.get("Deployment", web, names.namespace)
        assert found
        return int(found["spec"]["replicas"])

    deadline = time.monotonic() + 60
    while web_pods() != 2:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    site.ok("sleep", *args, settings=settings)
    # The autoscaler looks every second.
    time.sleep(4)
    assert web_pods() == 0
    site.ok("wake", *args, settings=settings)
    assert web_pods() == 2
    site.ok("sleep", *args, settings=settings)
    site.ok("deploy", *args, "--tag", FIRST, settings=settings)
    assert web_pods() == 2


def test_a_sleep_that_was_killed_is_finished_by_the_next_one(site: KubeEnv) -> None:
    site.deploy("killed", FIRST)
    before = counts(site, "killed")
    where = site.names("killed").namespace
    for _ in range(2):
        process = site.start("sleep", *ON, "--branch", "killed")
        deadline = time.monotonic() + 60
        while not any(item["spec"]["replicas"] == 0 for item in workloads(site, "killed").values()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        space = site.cluster.get("Namespace", where)
        assert space
        assert ASLEEP in space["metadata"]["annotations"]
    site.ok("sleep", *ON, "--branch", "killed")
    assert pods(site, "killed") == []
    site.ok("wake", *ON, "--branch", "killed")
    assert counts(site, "killed") == before


def test_who_is_pinned_neither_sleeps_nor_expires_and_who_is_idle_does(site: KubeEnv) -> None:
    settings = site.settings(idle="1h")
    for branch in ("pinned", "idle"):
        site.deploy(branch, FIRST)
        where = site.names(branch).namespace
        space = site.cluster.get("Namespace", where)
        assert space
        # As if it had been deployed long ago.
        record = json.loads(space["metadata"]["annotations"]["mautic-multidev.io/record"])
        past = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds")
        record["history"][-1]["deployed_at"] = past
        said = {"mautic-multidev.io/record": json.dumps(record), USED_AT: past}
        site.cluster.patch("Namespace", where, None, {"metadata": {"annotations": said}})
    done = site.ok("pin", *ON, "--branch", "pinned", "--for", "14d")
    assert "pinned until " in done.stderr
    refused = site.run("sleep", *ON, "--branch", "pinned")
    assert refused.returncode == 3
    assert "pinned until " in refused.stderr
    found = json.loads(site.ok("gc", *ON, "--sleep", "--format", "json", settings=settings).stdout)[
        "sleep"
    ]
    assert [(item["branch"], item["reason"]) for item in found] == [("idle", "unused for 1 h")]
    assert counts(site, "idle")[f"{site.names('idle').release}-web"] == 1
    site.ok("gc", *ON, "--sleep", "--yes", settings=settings)
    rows: dict[str, Any] = listed(site)
    assert rows["idle"]["state"] == "asleep"
    assert rows["idle"]["rest"]["asleep"]["why"] == "unused for 1 h"
    assert rows["pinned"]["state"] == "running"
    assert "pinned no more" in site.ok("pin", *ON, "--branch", "pinned", "--off").stderr

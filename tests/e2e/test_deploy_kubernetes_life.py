"""The life of environments in a cluster, by the real command line: what is promised is there.

Two branches live beside each other and go; what was there before is then there again, and nothing
else. Each test looks at what one telling of that story left behind.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.adapters.registry.oci import OciRegistry
from tasks.core.images.tags import branch_marker
from tests.support.deploys import INSTANCE, REDIS, Deploys, Key, Object, until
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, KubeEnv
from tests.support.rights import check_rights

LINES_MAX = 15
"""What a deploy prints into a pipe at most."""

BRANCH = "feature/Login"
OTHER = "other"
PROD = ("--env", "prod")
PREFIX = "mautic-multidev.io/"
BESIDE = {("Secret", "mautic"), ("Lease", "mautic-multidev")}
"""What a branch's namespace holds of the suite's beside the release."""


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploys]:
    """The command line, and a control plane of which no right is asked that nobody told of."""
    with FaultyProxy(kube_env.plane) as proxy, Deploys(kube_env) as made:
        folder = tmp_path_factory.mktemp("through")
        kube_env.through = proxy.write_kubeconfig(folder / "kubeconfig")
        yield made
        kube_env.through = None
    check_rights(proxy.requests, kube_env.project)


@dataclass
class Life:
    """What was seen of two branches.

    Attributes:
        before: all objects of the cluster, before anything was deployed.
        done: the runs, by what they were.
        seen: what else was seen, by when.
    """

    before: dict[Key, Object]
    done: dict[str, CompletedProcess[str]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def life(deploys: Deploys) -> Life:
    """Two branches from their first deploy to their clean-up."""
    foreign = f"{deploys.env.project}-foreign"
    deploys.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": foreign}})
    deploys.cluster.create(config_map("theirs", foreign))
    sha = [deploys.commit()]
    told = Life(deploys.dump())
    done, seen = told.done, told.seen

    def other() -> None:
        done["other"] = deploys.deploy(OTHER, "--tag", sha[0][:8])

    meanwhile = threading.Thread(target=other)
    meanwhile.start()
    done["dry run"] = deploys.deploy(BRANCH, "--dry-run", "--format", "json")
    done["first"] = deploys.deploy(BRANCH, "--format", "json")
    meanwhile.join()
    seen["first serving"] = deploys.serving(BRANCH)
    seen["first promised"] = compared(deploys, BRANCH)
    seen["first there"] = there(deploys, BRANCH)
    seen["uids"] = uids(deploys, BRANCH)
    done["nothing changed"] = deploys.deploy(BRANCH)
    seen["uids after nothing"] = uids(deploys, BRANCH)
    sha.append(deploys.commit())
    done["second"] = deploys.deploy(BRANCH)
    seen["artifacts"] = artifacts(deploys.env.checkout)
    seen["second serving"] = deploys.serving(BRANCH)
    seen["second promised"] = compared(deploys, BRANCH)
    done["rollback"] = deploys.run("rollback", *ON, "--branch", BRANCH)
    seen["rollback serving"] = deploys.serving(BRANCH)
    seen["rollback promised"] = compared(deploys, BRANCH)
    seen["history"] = [one["status"] for one in deploys.history(BRANCH)]
    images = OciRegistry(deploys.env.registry)
    for name in ("mautic", "nginx"):
        marker = branch_marker(deploys.names(BRANCH).slug, sha[1][:8])
        images.tag(name, sha[1][:8], [marker])
    done["cleanup"] = deploys.run("cleanup", *ON, "--branch", BRANCH)
    done["second cleanup"] = deploys.run("cleanup", *ON, "--branch", BRANCH)
    seen["tags"] = deploys.env.tags("mautic") | deploys.env.tags("nginx")
    seen["other serving"] = deploys.serving(OTHER)
    done["other cleanup"] = deploys.run("cleanup", *ON, "--branch", OTHER)
    seen["after"] = deploys.dump()
    seen["sha"] = sha
    return told


def config_map(name: str, namespace: str) -> Object:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}}


def artifacts(checkout: Path) -> dict[str, str]:
    return {
        "deploy.env": (checkout / "deploy.env").read_text(),
        "timings": (checkout / "artifacts" / "timings.json").read_text(),
    }


def rendered(deploys: Deploys, branch: str, environment: str) -> list[Object]:
    """Return what the chart promises for what was deployed last, and Helm leaves there."""
    names = deploys.names(branch, environment)
    # By tag: the plan of what is deployed, whatever is checked out.
    tag = current(deploys, branch, environment)["tag"]
    text = deploys.helm(
        *("template", names.release, str(deploys.env.checkout / "helm" / "mautic")),
        f"--namespace={names.namespace}",
        *deploys.helm_values(branch, environment, tag=tag),
    )
    return [item for item in yaml.safe_load_all(text) if item and not is_passing(item)]


def is_passing(item: Object) -> bool:
    """Return True if Helm removes an object once it has served."""
    annotations = item["metadata"].get("annotations", {})
    return "hook-succeeded" in annotations.get("helm.sh/hook-delete-policy", "")


def current(deploys: Deploys, branch: str, environment: str) -> Object:
    """Return the deployment that the namespace remembers as the last good one."""
    found = deploys.cluster.get("Namespace", deploys.names(branch, environment).namespace)
    assert found
    history = json.loads(found["metadata"]["annotations"][f"{PREFIX}record"])["history"]
    last: Object = history[-1]
    return last


def compared(deploys: Deploys, branch: str, environment: str = "dev") -> list[str]:
    """Return in what the cluster differs from the chart's promise: applied again, nothing would.

    The API server itself says so: what the promise would make of each object is asked for by a
    dry run of Helm's own way to apply it.
    """
    where = deploys.names(branch, environment).namespace
    paths = {kind: (root, plural) for kind, root, plural, _ in deploys.resources}
    different = []
    for manifest in rendered(deploys, branch, environment):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        root, plural = paths[kind]
        path = f"{root}/namespaces/{where}/{plural}/{name}"
        manifest["metadata"]["namespace"] = where
        annotations = manifest["metadata"].setdefault("annotations", {})
        if "helm.sh/hook" not in annotations:  # whose it is: Helm adds that, but to no hook
            annotations["meta.helm.sh/release-name"] = deploys.names(branch, environment).release
            annotations["meta.helm.sh/release-namespace"] = where
        live = deploys.api(path)
        promised = deploys.applied(path, manifest, "helm")
        for part in ("spec", "data", "automountServiceAccountToken"):
            if live.get(part) != promised.get(part):
                different.append(f"{kind}/{name}: {part}")
        for part in ("labels", "annotations"):
            if live["metadata"].get(part) != promised["metadata"].get(part):
                different.append(f"{kind}/{name}: {part}")
    return different


def there(deploys: Deploys, branch: str, environment: str = "dev") -> tuple[set[Any], set[Any]]:
    """Return what a branch's namespace holds without an owner, and what is promised.

    What the cluster's controllers put into every namespace does not count.
    """
    names = deploys.names(branch, environment)
    promised = {
        (item["kind"], item["metadata"]["name"]) for item in rendered(deploys, branch, environment)
    }
    return owned(deploys, names.namespace) - owned(deploys, "default"), promised


def owned(deploys: Deploys, namespace: str) -> set[tuple[str, str]]:
    """Return the objects of a namespace that no other object owns, by kind and name."""
    return {
        (kind, item["metadata"]["name"])
        for kind, root, plural, namespaced in deploys.resources
        if namespaced
        and plural not in {"events", "endpoints", "endpointslices"}
        and kind != "PodMetrics"
        for item in deploys.api(f"{root}/namespaces/{namespace}/{plural}")["items"]
        if "ownerReferences" not in item["metadata"] and item.get("type") != "helm.sh/release.v1"
    }


def in_namespace(deploys: Deploys, name: str) -> dict[Key, Object]:
    """Return a namespace, and all it holds."""
    found = deploys.dump(leases=True)
    return {key: item for key, item in found.items() if name in key[1:]}


def uids(deploys: Deploys, branch: str) -> dict[str, str]:
    names = deploys.names(branch)
    return {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for kind in ("Deployment", "Pod", "Secret", "PersistentVolumeClaim")
        for item in deploys.cluster.find(kind, names.namespace)
        if not any(owner["kind"] == "Job" for owner in item["metadata"].get("ownerReferences", []))
    }


def test_all_runs_work(life: Life) -> None:
    assert {name: done.returncode for name, done in life.done.items()} == dict.fromkeys(
        life.done, 0
    ), [done.stderr for done in life.done.values() if done.returncode]


def test_the_first_deploy_tells_the_url_and_once_the_password(life: Life) -> None:
    first = life.done["first"]
    assert json.loads(first.stdout)["changed"] is True
    assert json.loads(first.stdout)["url"].endswith(".dev.example.com")
    assert first.stderr.count("log in as admin with the password ") == 1
    assert "password" not in life.done["second"].stderr


def test_in_a_pipe_a_deploy_is_told_in_few_lines(life: Life) -> None:
    for name in ("first", "second", "nothing changed", "rollback"):
        # A slow machine also says what is waited for, and the URL is a line of its own.
        waits = re.compile(r"  (\d+ s|waiting for |healed )")
        lines = [each for each in life.done[name].stderr.splitlines() if not waits.match(each)]
        assert len(lines) < LINES_MAX, (name, lines)


def test_the_pods_run_the_digests_of_the_tag(life: Life, deploys: Deploys) -> None:
    for tag, seen in ((0, "first"), (1, "second"), (0, "rollback")):
        assert deploys.image(life.seen["sha"][tag][:8]) in life.seen[f"{seen} serving"]
        assert len(life.seen[f"{seen} serving"]) == 2


def test_the_cluster_has_what_the_chart_promises(life: Life) -> None:
    assert life.seen["first promised"] == []
    assert life.seen["second promised"] == []


def test_a_rollback_brings_back_all_that_was_promised(life: Life) -> None:
    assert life.seen["rollback promised"] == []
    assert life.seen["history"] == ["superseded", "superseded", "deployed"]


def test_a_branch_has_nothing_but_what_is_promised(life: Life) -> None:
    found, promised = life.seen["first there"]
    assert found == promised | BESIDE


def test_nothing_changed_means_that_nothing_is_done(life: Life) -> None:
    assert "everything is as it should be" in life.done["nothing changed"].stderr
    assert life.seen["uids after nothing"] == life.seen["uids"]


def test_a_dry_run_plans_what_is_then_done(life: Life, deploys: Deploys) -> None:
    plan = json.loads(life.done["dry run"].stdout)
    verbs = ["fit", "create", "create", "create", "install"]
    assert [step["verb"] for step in plan["steps"]] == verbs
    said = life.done["first"].stderr
    # The namespace is there by the time the lock in it is held.
    assert all(step["subject"] in said for step in plan["steps"][2:])
    assert "update" in plan["title"] or plan["branch"] == BRANCH


def test_results_are_left_for_later_jobs(life: Life, deploys: Deploys) -> None:
    lines = dict(line.split("=", 1) for line in life.seen["artifacts"]["deploy.env"].splitlines())
    names = deploys.names(BRANCH)
    assert lines["ENVIRONMENT_NAMESPACE"] == names.namespace
    assert lines["ENVIRONMENT_COMMIT"] == life.seen["sha"][1]
    assert lines["MAUTIC_IMAGE"] in life.seen["second serving"]
    phases = [one["phase"] for one in json.loads(life.seen["artifacts"]["timings"])]
    assert phases == ["quiesce workers and crons", f"roll out {names.release}", "smoke test"]


def test_two_branches_do_not_meet(life: Life, deploys: Deploys) -> None:
    assert deploys.image(life.seen["sha"][0][:8]) in life.seen["other serving"]


def test_after_the_clean_ups_all_is_as_it_was_before(life: Life) -> None:
    assert life.seen["after"] == life.before


def test_a_clean_up_takes_the_branch_s_tags_and_may_be_repeated(life: Life) -> None:
    first, second = life.seen["sha"]
    assert second[:8] not in life.seen["tags"]
    assert first[:8] in life.seen["tags"]  # no branch ever called it its own
    assert "nothing to remove" in life.done["second cleanup"].stderr


# -- prod -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prod(deploys: Deploys) -> CompletedProcess[str]:
    """`main`, deployed to production."""
    path = deploys.env.checkout / "helm" / "environments" / "prod.yaml"
    values = yaml.safe_load(path.read_text())
    values["images"] = {"redis": REDIS}
    path.write_text(yaml.safe_dump(values))
    deploys.add(path)
    deploys.commit()
    return deploys.run("deploy", *PROD, "--branch", "main")


def test_prod_has_four_replicas_that_share_sessions_in_redis(
    prod: CompletedProcess[str], deploys: Deploys
) -> None:
    assert prod.returncode == 0, prod.stderr
    names = deploys.names("main", "prod")
    pods = deploys.cluster.find("Pod", names.namespace, f"{INSTANCE}={names.release}")
    web = [pod for pod in pods if "-web-" in pod["metadata"]["name"]]
    assert len(web) == 4
    for pod in web:
        fpm = next(one for one in pod["spec"]["containers"] if one["name"] == "fpm")
        variables = {one["name"]: one.get("value") for one in fpm["env"]}
        assert variables["PHP_SESSION_SAVE_HANDLER"] == "redis"
    assert "keep off cron email-fetch (mautic:email:fetch needs" in prod.stderr
    crons = deploys.cluster.find("CronJob", names.namespace)
    assert not [one for one in crons if one["metadata"]["name"].endswith("email-fetch")]
    assert compared(deploys, "main", "prod") == []
    found, promised = there(deploys, "main", "prod")
    assert found == promised | BESIDE


@pytest.mark.usefixtures("prod")
def test_an_autoscaler_takes_over_and_back_without_one_pod_less(deploys: Deploys) -> None:
    names, plain = deploys.names("main", "prod"), deploys.settings()
    scaled = deploys.settings()
    path = deploys.env.checkout / "helm" / "environments" / "scaled.yaml"
    path.write_text(yaml.safe_dump({"web": {"autoscaling": {"enabled": True}}}))
    scaled["environments"]["prod"]["values"].append("helm/environments/scaled.yaml")
    deploys.add(path)
    deploys.commit()
    wanted: list[int] = []

    def seen(event: WatchEvent) -> None:
        if event.object["metadata"].get("name") == f"{names.release}-web":
            wanted.append(event.object["spec"]["replicas"])

    with watched(deploys, "Deployment", names.namespace, seen):
        deploys.ok("deploy", *PROD, "--branch", "main", settings=scaled)
        assert deploys.cluster.find("HorizontalPodAutoscaler", names.namespace)
        # The way back from a number is to the autoscaler.
        deploys.fates[names.namespace] = ("", {"web": "fpm=crash-loop"})
        deploys.commit()
        failed = deploys.run("deploy", *PROD, "--branch", "main", settings=plain)
        deploys.fates.pop(names.namespace)
    assert failed.returncode == 1
    assert "rolled back to" in failed.stderr, failed.stderr
    assert deploys.cluster.find("HorizontalPodAutoscaler", names.namespace)
    assert set(wanted) == {4}


@contextlib.contextmanager
def watched(
    deploys: Deploys, kind: str, namespace: str, seen: Callable[[WatchEvent], None]
) -> Iterator[None]:
    """Tell of everything that becomes of a kind in a namespace."""
    stop = Stop()
    watch = partial(deploys.cluster.watch, kind, namespace, seen, stop=stop)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures("prod")
def test_prod_is_protected(deploys: Deploys) -> None:
    for args in (
        ("cleanup", *PROD, "--branch", "main"),
        ("deploy", *PROD, "--branch", OTHER, "--new"),
        ("deploy", *PROD, "--branch", "main", "--tag", "feature1"),
        ("rollback", *PROD, "--branch", "main", "--to", "feature1"),
    ):
        done = deploys.run(*args)
        assert done.returncode == 3, done.stderr
        assert "prod is protected" in done.stderr
    assert len(deploys.serving("main", "prod")) == 2


# -- what is somebody else's ----------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["nobody's", "another branch's"])
def test_a_namespace_of_somebody_else_is_not_touched(deploys: Deploys, whose: str) -> None:
    branch = "theirs" if whose == "nobody's" else "not-ours"
    names = deploys.names(branch)
    meta: Object = {"name": names.namespace}
    if whose != "nobody's":
        meta["labels"] = {f"{PREFIX}environment": "dev", f"{PREFIX}slug": names.slug}
        meta["annotations"] = {f"{PREFIX}branch": "Not-Ours", f"{PREFIX}repository": "elsewhere"}
    deploys.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    deploys.cluster.create(config_map("theirs", names.namespace))
    # What the cluster puts into every namespace comes a moment later.
    for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
        until(partial(deploys.cluster.get, kind, name, names.namespace))
    before = in_namespace(deploys, names.namespace)

    for args in (
        ("deploy", *ON, "--branch", branch, "--new", "--no-build"),
        ("cleanup", *ON, "--branch", branch),
    ):
        done = deploys.run(*args)
        assert done.returncode == 3, done.stderr
        assert f"namespace {names.namespace} is not that of {branch}" in done.stderr
    assert in_namespace(deploys, names.namespace) == before


def test_a_foreign_object_keeps_its_namespace_alone(deploys: Deploys) -> None:
    branch = "shared"
    where = deploys.names(branch).namespace
    deploys.deployed(branch)
    deploys.cluster.create(config_map("theirs", where))

    done = deploys.ok("cleanup", *ON, "--branch", branch)
    again = deploys.ok("cleanup", *ON, "--branch", branch)

    assert f"kept namespace {where}: it holds configmap/theirs of somebody else" in done.stderr
    # A control plane of a distribution puts more into every namespace.
    left = set(in_namespace(deploys, where)) - {("ConfigMap", where, "openshift-service-ca.crt")}
    assert left == {
        ("Namespace", "", where),
        ("ConfigMap", where, "theirs"),
        ("ConfigMap", where, "kube-root-ca.crt"),
        ("ServiceAccount", where, "default"),
    }
    assert "nothing to remove" in again.stderr

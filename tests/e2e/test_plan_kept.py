"""A saved plan says exactly what then happens: observed of all objects, before and after.

On a real API server, by the command line. Each case makes a plan, looks at every object of the
namespace, carries the plan out, and looks again; what became different is what the plan says, field
by field, and nothing besides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tasks.core.kubernetes.labels import AWAKE
from tests.support.deploys import FAST, Deploys, Object
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, STORAGE_CLASS, KubeEnv
from tests.support.rights import check_rights
from tests.support.suite import git

PLAN = "plan.json"
MORE = "helm/environments/more.yaml"
OWN = "own"
"""A branch with its own database."""
BRANCH = "feature/Foreseen"
SHIFTING = frozenset({"events", "leases", "endpoints", "endpointslices", "pods", "replicasets"})
BY_CONTROLLERS = "deployment.kubernetes.io/revision"
REDIS = {"redis": {"host": "10.0.52.11"}, "sessions": {"handler": "redis"}}
EXTRA_WORKER = {"workers": {"more": {"queues": ["more"]}}}


@dataclass
class Case:
    """One plan.

    Attributes:
        title: what it changes.
        values: further values for the chart.
        settings: changes of the environment's settings.
        commit: whether there is a new commit before.
        before: what somebody does before the plan is made.
        expects: verbs of the plan, with parts of the objects' names.
    """

    title: str
    values: Object = field(default_factory=dict)
    settings: Object = field(default_factory=dict)
    commit: bool = False
    before: Callable[[Deploys], None] = lambda _: None
    branch: str = BRANCH
    expects: tuple[str, ...] = ()
    tag: Callable[[Deploys], str] = lambda _: ""


def patch(deploys: Deploys, kind: str, component: str, body: Object, branch: str = BRANCH) -> None:
    names = deploys.names(branch)
    deploys.cluster.patch(kind, f"{names.release}-{component}", names.namespace, body)


def scale(deploys: Deploys) -> None:
    patch(deploys, "Deployment", "web", {"spec": {"replicas": 2}})


def lower_the_minimum(deploys: Deploys) -> None:
    """Let the autoscaler leave the chart's number alone until Helm has removed it, at last."""
    patch(deploys, "HorizontalPodAutoscaler", "web", {"spec": {"minReplicas": 1}})


def lose_config(deploys: Deploys) -> None:
    names = deploys.names(BRANCH)
    assert deploys.cluster.delete("ConfigMap", f"{names.release}-env", names.namespace)


def lose_a_password(deploys: Deploys) -> None:
    where = deploys.names(BRANCH).namespace
    deploys.cluster.patch("Secret", "mautic", where, {"data": {"door_password": None}})


def set_an_image(deploys: Deploys) -> None:
    names = deploys.names(BRANCH)
    web = deploys.cluster.get("Deployment", f"{names.release}-cron", names.namespace)
    assert web
    containers = web["spec"]["template"]["spec"]["containers"]
    containers[0]["env"].append({"name": "BY_HAND", "value": "yes"})
    containers[0]["resources"]["limits"]["memory"] = "900Mi"
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    patch(deploys, "Deployment", "cron", body)


def fall_asleep(deploys: Deploys) -> None:
    deploys.ok("sleep", *ON, "--branch", BRANCH)


def fail(deploys: Deploys) -> None:
    deploys.commit()
    deploys.fate(BRANCH, "", migrate="job-fail")
    assert deploys.deploy(BRANCH).returncode == 1
    deploys.fate(BRANCH)


def hold(deploys: Deploys) -> None:
    """Let the release be pending, as a killed Helm leaves it."""
    where = deploys.names(BRANCH).namespace
    found = deploys.cluster.find("Secret", where, "owner=helm")
    newest = max(found, key=lambda item: int(item["metadata"]["labels"]["version"]))
    status = {"metadata": {"labels": {"status": "pending-upgrade"}}}
    deploys.cluster.patch("Secret", newest["metadata"]["name"], where, status)


def earlier_tag(deploys: Deploys) -> str:
    return git(deploys.env.checkout, "rev-parse", "--short=8", "HEAD~1")


CATCHER = {"mail": {"catcher": {"enabled": True}}}
HELMS = {"app.kubernetes.io/managed-by": "Helm"}
OWN_DATABASE = {
    "mysql": {"enabled": True, "storageClass": STORAGE_CLASS},
    "images": {"mysql": f"registry.example.com/mysql@sha256:{'b' * 64}"},
}
INGRESS = {
    "route": {"kind": "ingress"},
    "networkPolicy": {"gateway": {"namespaces": ["gateway"]}},
}

CASES = (
    Case("the first deploy", expects=("add namespace/", "add secret/", "run job/")),
    Case("nothing new"),
    Case("a new commit", commit=True, expects=("change deployment/",)),
    Case("the door opened", settings={"door": "open"}, expects=("change deployment/",)),
    Case("the door closed", expects=("change deployment/",)),
    Case("paths before the door", settings={"door_exempt": ["api"]}),
    Case("another domain", settings={"host": "{slug}.other.example.com"}),
    Case("a variable", values={"env": {"MAUTIC_CUSTOM": "one"}}, expects=("change configmap/",)),
    Case("crons as objects", values={"crons": {"mode": "cronjobs"}}, expects=("add cronjob/",)),
    Case("crons in a pod", expects=("remove cronjob/", "add deployment/")),
    Case("one more worker", values=EXTRA_WORKER, expects=("add deployment/",)),
    Case("one worker less", expects=("remove deployment/",)),
    Case("no quota", values={"quota": {"enabled": False}}, expects=("remove resourcequota/",)),
    Case("no limits", values={"limitRange": {"enabled": False}}, expects=("remove limitrange/",)),
    Case("more labels", values={"labels": {"team": "green"}}, expects=("change service/",)),
    Case("the internet", values={"networkPolicy": {"internet": {"enabled": True}}}),
    Case("no policies", values={"networkPolicy": {"enabled": False}}),
    Case("an ingress", values=INGRESS, expects=("add ingress/",)),
    Case("no ingress", expects=("remove ingress/",)),
    Case("sessions in Redis", values=REDIS),
    Case(
        "two web pods",
        values=REDIS,
        settings={"replicas": 2},
        expects=("change deployment/", "add poddisruptionbudget/"),
    ),
    Case(
        "an autoscaler",
        values={**REDIS, "web": {"autoscaling": {"enabled": True}}},
        expects=("add horizontalpodautoscaler/",),
    ),
    Case(
        "no autoscaler",
        values=REDIS,
        before=lower_the_minimum,
        expects=("remove horizontalpodautoscaler/",),
    ),
    Case("a mail catcher", values=CATCHER),
    Case("scaled by hand", before=scale, commit=True, expects=("change deployment/",)),
    Case("a lost ConfigMap", before=lose_config, commit=True, expects=("add configmap/",)),
    Case("changed by hand", before=set_an_image, commit=True),
    Case("a lost password", before=lose_a_password, expects=("change secret/",)),
    Case("asleep", before=fall_asleep, expects=("change deployment/",)),
    Case("asleep, and a new commit", before=fall_asleep, commit=True),
    Case("after a failed deploy", before=fail),
    Case("left pending", before=hold),
    Case("an earlier tag", tag=earlier_tag, expects=("change deployment/",)),
    Case(
        "with its own database",
        branch=OWN,
        values=OWN_DATABASE,
        settings={"database": None},
        expects=("add statefulset/", "add namespace/"),
    ),
)


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploys]:
    """The command line, and a control plane of which no right is asked that nobody told of."""
    with FaultyProxy(kube_env.plane) as proxy, Deploys(kube_env) as made:
        folder = tmp_path_factory.mktemp("through")
        kube_env.through = proxy.write_kubeconfig(folder / "kubeconfig")
        (kube_env.checkout / MORE).write_text("{}\n")
        made.add(kube_env.checkout / MORE)
        made.commit()
        made.commit()
        yield made
        kube_env.through = None
    check_rights(proxy.requests, kube_env.project)


# -- what is there --------------------------------------------------------------------------------


def observed(deploys: Deploys, branch: str) -> dict[str, dict[str, Any]]:
    """Return all that a branch's namespace holds, as paths and values, by kind and name.

    Without what the cluster itself keeps in it, the lock, and what other objects own.
    """
    names = deploys.names(branch)
    found: dict[str, dict[str, Any]] = {}
    for kind, root, plural, namespaced in deploys.resources:
        if not namespaced or plural in SHIFTING or "metrics" in root:
            continue
        for item in deploys.api(f"{root}/namespaces/{names.namespace}/{plural}")["items"]:
            meta = item["metadata"]
            is_record = item.get("type") == "helm.sh/release.v1"
            if is_record or "ownerReferences" in meta or "deletionTimestamp" in meta:
                continue
            if meta["name"] in {"default", "kube-root-ca.crt", "openshift-service-ca.crt"}:
                continue
            title = f"{kind.lower()}/{meta['name']}"
            parts = {
                key: value
                for key, value in item.items()
                if key not in {"metadata", "status", "apiVersion", "kind"}
            }
            annotations = dict(meta.get("annotations") or {})
            annotations.pop(BY_CONTROLLERS, None)
            told = {"labels": meta.get("labels") or {}, "annotations": annotations}
            found[title] = dict(leaves({"metadata": told, **parts}))
            found[title]["uid"] = meta["uid"]
    if deploys.exists(branch):
        found[f"namespace/{names.namespace}"] = {"uid": "there"}
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value below one, with its path."""
    if isinstance(value, dict):
        for key, below in value.items():
            part = f"[{key}]" if "." in key or "/" in key else f".{key}"
            yield from leaves(below, f"{path}{part}".lstrip("."))
    elif isinstance(value, list):
        named = [item.get("name") if isinstance(item, dict) else None for item in value]
        for number, below in enumerate(value):
            key = named[number] if all(named) and len(set(named)) == len(named) else number
            yield from leaves(below, f"{path}[{key}]")
    else:
        yield path, value


def happened(before: dict[str, Any], after: dict[str, Any]) -> dict[str, set[str]]:
    """Return what has become of which object: for a changed one, its paths."""
    told: dict[str, set[str]] = {"add": set(), "remove": set(), "change": set(), "run": set()}
    told["add"] = set(after) - set(before)
    told["remove"] = set(before) - set(after)
    for title in set(before) & set(after):
        if before[title]["uid"] != after[title]["uid"]:
            told["run"].add(title)
        elif before[title] != after[title]:
            told["change"].add(title)
    return told


def changed_paths(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {path for path in {**before, **after} if before.get(path) != after.get(path)}


def covers(field_: str, path: str) -> bool:
    """Return True if a path is a field's, or below it."""
    return path == field_ or path.startswith((f"{field_}.", f"{field_}["))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_plan_says_what_then_happens(case: Case, deploys: Deploys) -> None:
    if case.commit:
        deploys.commit()
    case.before(deploys)
    settings = deploys.settings(**case.settings)
    own = settings["environments"]["dev"]
    (deploys.env.checkout / MORE).write_text(yaml.safe_dump(case.values))
    own["values"] = ["helm/environments/dev.yaml", FAST, MORE]
    tag = case.tag(deploys) or git(deploys.env.checkout, "rev-parse", "--short=8", "HEAD")
    planned = deploys.ok(
        *("plan", *ON, "--branch", case.branch, "--tag", tag, "--out", PLAN, "--format", "json"),
        settings=settings,
    )
    plan = json.loads(planned.stdout)
    before = observed(deploys, case.branch)
    deploys.ok("deploy", "--plan", PLAN, settings=settings)
    after = observed(deploys, case.branch)

    said: dict[str, dict[str, list[Object]]] = {"add": {}, "remove": {}, "change": {}, "run": {}}
    for each in plan["objects"]:
        said.setdefault(each["verb"], {})[each["object"]] = each["fields"]
    done = happened(before, after)
    # What a hook runs for the first time is new; the policy of the migration goes with it, also one
    # that a deploy has left whose Helm was ended at a failure before it noticed that itself.
    for verb in ("add", "run", "remove"):
        done[verb] -= said["run"].keys()
    assert set(said["add"]) == done["add"]
    assert set(said["remove"]) == done["remove"]
    assert set(said["change"]) == done["change"]
    assert done["run"] == set()
    for title, fields in said["change"].items():
        observed_paths = changed_paths(before[title], after[title])
        told = [one["path"] for one in fields]
        assert [path for path in observed_paths if not any(covers(t, path) for t in told)] == []
        assert [t for t in told if not any(covers(t, path) for path in observed_paths)] == []
        for one in fields:
            if one["path"] in after[title] and not title.startswith("secret/"):
                # The password that is made changes what pods restart at: to what, nobody knows.
                is_known = "checksum" not in one["path"] or "secret/mautic" not in said["change"]
                assert not is_known or after[title][one["path"]] == one["after"]
    verbs = [f"{verb} {title}" for verb, titles in said.items() for title in titles]
    for expected in case.expects:
        assert any(each.startswith(expected) for each in verbs), verbs
    assert AWAKE not in json.dumps(after)
    assert deploys.run("drift", *ON, "--branch", case.branch, settings=settings).returncode in {
        0,
        7,
    }


def test_there_are_thirty_of_them() -> None:
    assert len(CASES) >= 30


def test_what_helm_would_not_take_over_is_foreseen_and_refused_at_once(deploys: Deploys) -> None:
    names = deploys.names(BRANCH)
    settings = deploys.settings(values=["helm/environments/dev.yaml", FAST, MORE])
    (deploys.env.checkout / MORE).write_text("{}\n")
    deploys.deployed(BRANCH, settings=settings)
    (deploys.env.checkout / MORE).write_text(yaml.safe_dump(CATCHER))
    to_it = (*ON, "--branch", BRANCH, "--tag", git(deploys.env.checkout, "rev-parse", "HEAD")[:8])
    name = f"{names.release}-mail"
    theirs = {"name": name, "namespace": names.namespace, "labels": HELMS}
    ports = {"ports": [{"port": 8025}]}
    deploys.cluster.create(
        {"apiVersion": "v1", "kind": "Service", "metadata": theirs, "spec": ports}
    )

    def said(*args: str) -> str:
        done = deploys.run(*args, *to_it, settings=settings)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def annotate(release: str) -> None:
        owner = {"release-name": release, "release-namespace": names.namespace}
        notes = {f"meta.helm.sh/{key}": value for key, value in owner.items()}
        body = {"metadata": {"annotations": notes}}
        deploys.cluster.patch("Service", name, names.namespace, body)

    foreseen = f"Helm would refuse service/{name}: it exists and is not of release {names.release}"
    for release in ("", "another"):
        if release:
            annotate(release)
        assert foreseen in said("plan")
        assert foreseen in said("deploy", "--dry-run")
    before = deploys.dump()
    assert foreseen in (refused := said("deploy"))
    assert "nothing was changed" in refused
    assert deploys.dump() == before
    annotate(names.release)
    deploys.ok("plan", *to_it, settings=settings)
    deploys.ok("deploy", *to_it, settings=settings)

"""The floor that no CI job lifts: a real API server, real users, and the real provisioner.

The provisioner's database server is away: namespaces that ask for no database need none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provisioner.server import Login
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import ApiRequest
from tasks.core.environment import Owner, State
from tasks.core.errors import ClusterError, ConflictError
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.provisioner import FLOOR, is_furnished, rules_of
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.settings import Settings, names_of, parse
from tasks.flows.kubernetes.access import grant_access
from tests.support.deploys import COMPONENT, until
from tests.support.platform import BRANCHES, MAIN, Audited, audited, install_chart
from tests.support.provisioner import ACCOUNT, PLATFORM, Mounted, Process, running

Object = dict[str, Any]

REGISTRY = "registry.example.com/mautic/dev"
OWN = f"{REGISTRY}/mautic@sha256:{'a' * 64}"
FOREIGN = "evil.example.com/miner:latest"
NAME = "mautic-multidev-floor"
SECURITY = "pod-security.kubernetes.io/"
SECONDS = 90
"""How long the provisioner may take on a busy machine."""
SOME = {
    "target": "kubernetes",
    "branches": ["*"],
    "host": "{slug}.dev.example.com",
    "cluster": {"name": "one"},
    "database": {"host": "192.0.2.1"},
    "registry": {"url": REGISTRY},
}
SETTINGS: Settings = parse(
    {
        "project": "mautic",
        "environments": {
            "dev": SOME,
            # Another environment, without a registry that the platform knows, and with room for
            # as many.
            "qa": {
                **SOME,
                "namespace": "{project}-qa-{slug}",
                "host": "{slug}.qa.example.com",
                "database": None,
            },
        },
    },
    lambda _: "the test",
)
RULES = rules_of(SETTINGS, "dev", SETTINGS.environments)
ROOM = 3
VALUES: Object = {
    "provisioner": {
        "image": f"registry.example.com/provisioner@sha256:{'a' * 64}",
        "rules": RULES,
    },
    "floor": {
        "maxEnvironments": ROOM,
        "priorityClasses": ["branches"],
        "images": ["axllent/mailpit", "redis", "mirror.example.com/"],
        "pods": {
            "nodeLabels": {"example.com/pool": ["branches", "more"]},
            "tolerations": [{"key": "branches", "operator": "Exists", "effect": "NoSchedule"}],
            "runtimeClasses": ["own"],
            "schedulers": ["packing"],
            "csiDrivers": ["secrets.example.com"],
            "tokenAudiences": ["sts.example.com"],
            "terminationGracePeriodSeconds": 300,
        },
    },
    "access": {
        "registries": {"dev": [REGISTRY]},
        "main": {"group": MAIN, "environments": ["dev", "qa"]},
        "branches": {"group": BRANCHES, "environments": ["dev", "qa"]},
    },
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("floor-plane"))


@pytest.fixture(scope="module")
def admin(plane: Audited) -> Cluster:
    """The administrator, after the platform has been installed."""
    cluster = install_chart(plane, VALUES)
    for name in ("branches", "somebodys"):
        priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1}
        cluster._transport.json(
            ApiRequest(
                "POST",
                "/apis/scheduling.k8s.io/v1/priorityclasses",
                body={**priority, "metadata": {"name": name}},
            )
        )
    for name in ("own", "foreign"):
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": name}
        path = "/apis/node.k8s.io/v1/runtimeclasses"
        body = {**runtime, "metadata": {"name": name}}
        cluster._transport.json(ApiRequest("POST", path, body=body))
    # The API server reads new policies after a moment.
    probe = plane.client("probe", BRANCHES)
    until(lambda: _is_refused(probe.create, made("probe", labels={FLOOR: "ready"})), SECONDS)
    return cluster


def _is_refused(request: Callable[..., object], item: Object) -> bool:
    try:
        request(item)
    except ClusterError as error:
        return "furnished" in error.message
    return False


@pytest.fixture(scope="module")
def provisioner(
    plane: Audited, admin: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    scratch = tmp_path_factory.mktemp("process")
    plane.pki.issue("provisioner", ACCOUNT)
    kubeconfig = plane.write_kubeconfig(scratch / "kubeconfig", "provisioner")
    decided = admin.get("ConfigMap", "mautic-provisioner", PLATFORM)
    assert decided
    data = decided["data"]
    mounted = Mounted(
        data["rules.json"], Login("mautic__manager", "x" * 24), "", data["floor.json"]
    )
    with running(Process(mounted, scratch, kubeconfig)) as made_:
        yield made_


@pytest.fixture(scope="module")
def branch(plane: Audited, admin: Cluster) -> Cluster:
    """A CI job of a branch."""
    return plane.client("job-of-a-branch", BRANCHES)


@pytest.fixture(scope="module")
def strong(plane: Audited, admin: Cluster) -> Cluster:
    """A CI job that somebody has given all rights: the policies still look at it."""
    api = "rbac.authorization.k8s.io"
    admin._transport.json(
        ApiRequest(
            "POST",
            f"/apis/{api}/v1/clusterrolebindings",
            body={
                "metadata": {"name": "strong"},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": api, "kind": "User", "name": "strong"}],
            },
        )
    )
    cluster = plane.client("strong", BRANCHES)
    until(lambda: cluster.may("create", "Pod", "default"), SECONDS)
    return cluster


def made(slug: str, environment: str = "dev", labels: Object | None = None) -> Object:
    """The namespace that a deploy makes."""
    own = names_of(SETTINGS, environment, slug)
    owner = Owner(environment, own.slug, own.branch, "https://git.example.com/mautic.git")
    record = ClusterRecord(State.DEPLOYING, own.url)
    return namespace(owner, own, record, "", labels)


def entered(job: Cluster, environment: str = "dev") -> str:
    """Make a namespace as a deploy does, and get into it; return its name."""
    branch = f"b{secrets.token_hex(4)}"
    item = made(branch, environment)
    job.create(item)
    grant_access(job, item["metadata"]["name"], environment, branch)
    return str(item["metadata"]["name"])


def furnished(admin: Cluster, where: str) -> None:
    until(lambda: is_furnished(admin.get("Namespace", where)), SECONDS)


@pytest.fixture(scope="module")
def where(admin: Cluster, branch: Cluster, provisioner: Process) -> str:
    """A branch's namespace, with its floor."""
    name = entered(branch)
    furnished(admin, name)
    return name


def refused(request: Callable[..., object], *args: Any) -> str:
    """What the API says to a request that it must refuse."""
    with pytest.raises(ClusterError) as caught:
        request(*args)
    assert caught.value.status in {403, 422}, caught.value.message
    return caught.value.message


# -- workloads of every kind ------------------------------------------------------------------


def pod_of(image: str = OWN, **changes: Any) -> Object:
    """A hardened pod."""
    container = {
        "name": "main",
        "image": image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"memory": "16Mi"},
        },
    }
    return {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **changes,
    }


def workload(kind: str, where: str, pod: Object) -> Object:
    """A workload of a kind."""
    labels = {"run": f"w{secrets.token_hex(4)}"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    once = {"template": {"spec": {**pod, "restartPolicy": "Never"}}}
    lasting = {"selector": {"matchLabels": labels}, "template": template}
    api, spec = {
        "Deployment": ("apps/v1", lasting),
        "StatefulSet": ("apps/v1", {**lasting, "serviceName": "x"}),
        "DaemonSet": ("apps/v1", lasting),
        "ReplicaSet": ("apps/v1", lasting),
        "Job": ("batch/v1", once),
        "CronJob": ("batch/v1", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": once}}),
        "Pod": ("v1", pod),
        "ReplicationController": ("v1", {"selector": labels, "template": template}),
    }[kind]
    meta = {"name": labels["run"], "namespace": where}
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}


PATHS = {
    "DaemonSet": "apis/apps/v1/namespaces/{}/daemonsets",
    "ReplicaSet": "apis/apps/v1/namespaces/{}/replicasets",
    "ReplicationController": "api/v1/namespaces/{}/replicationcontrollers",
}
"""Kinds that the suite itself never makes."""
OF_CI = ("Deployment", "StatefulSet", "Job", "CronJob")
KINDS = (*OF_CI, "DaemonSet", "ReplicaSet", "Pod", "ReplicationController")


def create(job: Cluster, item: Object) -> None:
    """Create a workload of any kind."""
    if path := PATHS.get(item["kind"]):
        there = f"/{path.format(item['metadata']['namespace'])}"
        job._transport.json(ApiRequest("POST", there, body=item))
    else:
        job.create(item)


def admitted(job: Cluster, item: Object) -> None:
    """Create what must be admitted; two that count on one quota at once are told to try again."""

    def is_made() -> bool:
        try:
            job.create(item)
        except ConflictError as error:
            assert "resourcequotas" in error.message
            return False
        return True

    until(is_made, SECONDS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_workload_runs_what_is_foreign_or_above_others(
    where: str, strong: Cluster, kind: str
) -> None:
    """Even with rights that CI jobs do not have."""
    beside = {**pod_of(FOREIGN)["containers"][0], "name": "x"}
    for pod in (
        pod_of(FOREIGN),
        pod_of(f"{REGISTRY}-evil/x"),
        pod_of(REGISTRY),
        pod_of("redis:5000/evil"),
        pod_of("rediss"),
        pod_of("axllent/mailpit-evil"),
        pod_of(initContainers=[beside]),
        pod_of(volumes=[{"name": "x", "image": {"reference": FOREIGN}}]),
    ):
        said = refused(create, strong, workload(kind, where, pod))
        assert "not from a registry of this environment: " in said
    for name in ("system-node-critical", "system-cluster-critical", "somebodys"):
        said = refused(create, strong, workload(kind, where, pod_of(priorityClassName=name)))
        assert "the priority class is not one that the platform allows" in said


def on_nodes(operator: str, *values: str, label: str = "example.com/pool") -> Object:
    """A term that selects nodes."""
    return {"matchExpressions": [{"key": label, "operator": operator, "values": list(values)}]}


def affinity(kind: str, term: Object, *, preferred: bool = False) -> Object:
    """A pod's affinity of a kind, with one term."""
    when = f"{'preferred' if preferred else 'required'}DuringSchedulingIgnoredDuringExecution"
    key = "preference" if kind == "nodeAffinity" else "podAffinityTerm"
    said: Any = [{"weight": 1, key: term}] if preferred else [term]
    if kind == "nodeAffinity" and not preferred:
        said = {"nodeSelectorTerms": said}
    return {"affinity": {kind: {when: said}}}


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "x", **source}]}


def token(audience: str) -> Object:
    source = {"serviceAccountToken": {"path": "token", "audience": audience}}
    return volume(projected={"sources": [source]})


def probed(group: str, seconds: int) -> Object:
    """Containers that a failed probe ends, in as many seconds."""
    (one,) = pod_of()["containers"]
    probe = {"exec": {"command": ["false"]}, "terminationGracePeriodSeconds": seconds}
    sidecar = {"restartPolicy": "Always"} if group == "initContainers" else {}
    return {group: [{**one, **sidecar, "name": "probed", "livenessProbe": probe}]}


BESIDE = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "somebodys",
    "resources": {"requests": {"storage": "1Mi"}},
}
BEYOND: tuple[tuple[str, Object], ...] = (
    ("does not name its node", {"nodeName": "control-plane"}),
    ("chooses no nodes", {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}),
    ("chooses no nodes", {"nodeSelector": {"example.com/pool": "production"}}),
    ("chooses no nodes", affinity("nodeAffinity", on_nodes("In", "branches", "production"))),
    ("chooses no nodes", affinity("nodeAffinity", on_nodes("NotIn", "branches"))),
    ("chooses no nodes", affinity("nodeAffinity", on_nodes("In", "x", label="a"), preferred=True)),
    (
        "chooses no nodes",
        affinity(
            "nodeAffinity",
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]},
        ),
    ),
    # Keeps the pods of all others from its nodes.
    ("of its own namespace", affinity("podAntiAffinity", {**BESIDE, "namespaceSelector": {}})),
    ("of its own namespace", affinity("podAffinity", {**BESIDE, "namespaces": ["default"]})),
    (
        "of its own namespace",
        affinity("podAntiAffinity", {**BESIDE, "namespaceSelector": {}}, preferred=True),
    ),
    ("a toleration", {"tolerations": [{"operator": "Exists"}]}),
    ("a toleration", {"tolerations": [{"key": "branches", "operator": "Exists"}]}),
    (
        "a toleration",
        {"tolerations": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
    ),
    ("the runtime class", {"runtimeClassName": "foreign"}),
    ("the scheduler", {"schedulerName": "somebodys"}),
    ("at most 300 s to end", {"terminationGracePeriodSeconds": 301}),
    ("at most 300 s to end", probed("containers", 301)),
    ("at most 300 s to end", probed("initContainers", 301)),
    ("kind of volume", volume(csi={"driver": "disks.example.com"})),
    ("kind of volume", volume(ephemeral={"volumeClaimTemplate": {"spec": CLAIM}})),
    ("a pod's token", token("sts.amazonaws.com")),
)
"""What of a pod the platform does not name, each with what is said of it."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_workload_asks_for_what_the_platform_does_not_name(
    where: str, strong: Cluster, kind: str
) -> None:
    for message, changes in BEYOND:
        assert message in refused(create, strong, workload(kind, where, pod_of(**changes))), changes


@pytest.mark.parametrize("kind", OF_CI)
def test_what_the_platform_names_may_be_asked_for(where: str, branch: Cluster, kind: str) -> None:
    for changes in (
        {"nodeSelector": {"example.com/pool": "branches"}},
        affinity("nodeAffinity", on_nodes("In", "branches", "more")),
        affinity("nodeAffinity", on_nodes("In", "more"), preferred=True),
        affinity("podAntiAffinity", BESIDE, preferred=True),
        {"tolerations": VALUES["floor"]["pods"]["tolerations"]},
        {"runtimeClassName": "own", "schedulerName": "packing"},
        {"terminationGracePeriodSeconds": 300},
        probed("containers", 300),
        # Of one's own pod alone: no other one asks this file.
        {"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["example.com"]}]},
        volume(csi={"driver": "secrets.example.com"}),
        token("sts.example.com"),
        volume(
            projected={
                "sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"configMap": {"name": "x", "optional": True}},
                ]
            }
        ),
    ):
        item = workload(kind, where, pod_of(**changes))
        admitted(branch, item)
        branch.delete(kind, item["metadata"]["name"], where)


def test_no_pod_of_a_template_of_before_names_its_node(where: str, admin: Cluster) -> None:
    item = workload("ReplicaSet", where, pod_of(nodeName="control-plane"))
    create(admin, item)

    def told() -> bool:
        events = [one["message"] for one in admin.find("Event", where)]
        return any("a pod does not name its node" in text for text in events)

    until(told, SECONDS)
    admin.delete("ReplicaSet", item["metadata"]["name"], where)


@pytest.mark.parametrize("kind", OF_CI)
def test_no_branch_makes_what_nobody_can_remove(where: str, branch: Cluster, kind: str) -> None:
    """Neither as an object, nor by what a controller makes of it."""
    stays = ["example.com/stays"]
    item = workload(kind, where, pod_of())
    item["metadata"]["finalizers"] = stays
    assert "only controllers put finalizers on objects" in refused(branch.create, item)
    item = workload(kind, where, pod_of())
    spec = item["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else item["spec"]
    spec["template"].setdefault("metadata", {})["finalizers"] = stays
    assert "only controllers put finalizers on pods" in refused(branch.create, item)
    del spec["template"]["metadata"]["finalizers"]
    if kind == "StatefulSet":
        claim = {"metadata": {"name": "x", "finalizers": stays}, "spec": CLAIM}
        spec["volumeClaimTemplates"] = [claim]
        assert "only controllers put finalizers on claims" in refused(branch.create, item)
        del spec["volumeClaimTemplates"]
    admitted(branch, item)
    name, patch = item["metadata"]["name"], {"metadata": {"finalizers": stays}}
    assert "put finalizers on objects" in refused(branch.patch, kind, name, where, patch)
    branch.delete(kind, name, where)


def test_no_branch_makes_a_namespace_that_stays(where: str, branch: Cluster) -> None:
    stays = {"finalizers": ["example.com/stays"]}
    item = made("stays")
    item["metadata"] |= stays
    assert "put finalizers on objects" in refused(branch.create, item)
    item = {**made("stays"), "spec": stays}
    assert "no finalizer but that of Kubernetes" in refused(branch.create, item)
    assert "put finalizers" in refused(branch.patch, "Namespace", where, None, {"metadata": stays})
    meta = {"name": "kept", "namespace": where}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": CLAIM}
    refused(branch.create, {**claim, "metadata": {**meta, **stays}})
    # It has the API server's own.
    admitted(branch, claim)
    branch.patch("PersistentVolumeClaim", "kept", where, {"metadata": {"labels": {"a": "b"}}})
    branch.delete("PersistentVolumeClaim", "kept", where)


def test_no_budget_holds_up_a_node_s_drain(where: str, branch: Cluster) -> None:
    item: Object = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": where},
    }
    # As the chart's own.
    selector = {"selector": {"matchLabels": {COMPONENT: "web", "run": "x"}}}
    for spec in (
        {"maxUnavailable": 0},
        {"maxUnavailable": "0%"},
        {"minAvailable": "100%"},
        {"minAvailable": 1},
        {},
    ):
        said = refused(branch.create, {**item, "spec": {**selector, **spec}})
        assert "lets a node's drain take at least one pod" in said
    # Over pods that nothing scales it lets none go.
    like = {"matchExpressions": [{"key": COMPONENT, "operator": "In", "values": ["web"]}]}
    for wide in ({}, {"matchLabels": {"run": "x"}}, {"matchLabels": {COMPONENT: "job"}}, like):
        said = refused(branch.create, {**item, "spec": {"selector": wide, "maxUnavailable": 1}})
        assert "a PodDisruptionBudget is for web pods" in said
    admitted(branch, {**item, "spec": {**selector, "maxUnavailable": 1}})
    patch: Object = {"spec": {"selector": {"matchLabels": {COMPONENT: "job"}}}}
    refused(branch.patch, "PodDisruptionBudget", "web", where, patch)
    patch = {"spec": {"maxUnavailable": 0}}
    refused(branch.patch, "PodDisruptionBudget", "web", where, patch)
    branch.patch("PodDisruptionBudget", "web", where, {"spec": {"maxUnavailable": "25%"}})
    # Of a pod that two select, none lets it go.
    other = {**item, "metadata": {"name": "other", "namespace": where}}
    said = refused(branch.create, {**other, "spec": {**selector, "maxUnavailable": 1}})
    assert "exceeded quota" in said
    branch.delete("PodDisruptionBudget", "web", where)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_scaled_has_web_pods(where: str, strong: Cluster, kind: str) -> None:
    """A StatefulSet can leave its pods behind, a Job or DaemonSet cannot be scaled."""
    item = workload(kind, where, pod_of())
    spec = item["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else item["spec"]
    holder = item if kind == "Pod" else spec["template"]
    labels = holder.setdefault("metadata", {}).setdefault("labels", {})
    labels[COMPONENT] = "web"
    if kind == "Deployment":
        admitted(strong, item)
        strong.delete(kind, item["metadata"]["name"], where)
        return
    assert "only a Deployment has web pods" in refused(create, strong, item)
    if kind == "CronJob":
        del labels[COMPONENT]
        admitted(strong, item)
        labels[COMPONENT] = "web"
        patch, name = {"spec": item["spec"]}, item["metadata"]["name"]
        said = refused(strong.patch, kind, name, where, patch)
        assert "only a Deployment has web pods" in said
        strong.delete(kind, name, where)


def test_no_foreign_container_gets_into_a_pod_that_runs(where: str, strong: Cluster) -> None:
    item = workload("Pod", where, pod_of())
    made_ = strong.create(item)
    beside = {**pod_of(FOREIGN)["containers"][0], "name": "x"}
    del beside["resources"]
    # Whatever the scheduler has written since.
    del made_["metadata"]["resourceVersion"]
    made_["spec"]["ephemeralContainers"] = [beside]
    path = f"/api/v1/namespaces/{where}/pods/{item['metadata']['name']}/ephemeralcontainers"
    said = refused(strong._transport.json, ApiRequest("PUT", path, body=made_))
    assert f"not from a registry of this environment: {FOREIGN}" in said
    strong.delete("Pod", item["metadata"]["name"], where)


def test_ci_has_no_right_to_what_it_does_not_need(where: str, branch: Cluster) -> None:
    for kind in ("Pod", "ReplicaSet"):
        for verb in ("create", "update", "patch"):
            assert not branch.may(verb, kind, where), (verb, kind)
    for kind, path in PATHS.items():
        item = workload(kind, where, pod_of())
        there = f"/{path.format(where)}"
        refused(branch._transport.json, ApiRequest("POST", there, body=item))


@pytest.mark.parametrize("kind", OF_CI)
def test_what_is_its_own_runs(where: str, branch: Cluster, admin: Cluster, kind: str) -> None:
    for pod in (
        pod_of(),
        pod_of("redis:8@sha256:" + "b" * 64),
        pod_of("axllent/mailpit@sha256:" + "b" * 64),
        pod_of("mirror.example.com/any/thing:1"),
        pod_of(priorityClassName="branches"),
    ):
        item = workload(kind, where, pod)
        admitted(branch, item)
        branch.delete(kind, item["metadata"]["name"], where)


def test_an_environment_without_a_registry_runs_nothing(
    branch: Cluster, admin: Cluster, provisioner: Process
) -> None:
    """Where environments differ, nobody's registry is taken for another's."""
    name = entered(branch, "qa")
    furnished(admin, name)
    said = refused(branch.create, workload("Deployment", name, pod_of()))
    assert "not from a registry of this environment" in said
    branch.delete("Namespace", name)


def test_what_was_there_before_may_end_and_its_pods_are_looked_at(
    where: str, branch: Cluster, admin: Cluster
) -> None:
    item = workload("Deployment", where, pod_of(FOREIGN))
    name = item["metadata"]["name"]
    # As it was admitted before there were policies: a person is none of their business.
    admin.create(item)

    def told() -> bool:
        events = [one["message"] for one in admin.find("Event", where)]
        return any("not from a registry of this environment" in text for text in events)

    until(told, SECONDS)
    assert not [one for one in admin.find("Pod", where) if one["metadata"]["name"].startswith(name)]
    other = pod_of("evil.example.com/another")["containers"]
    change = {"spec": {"template": {"spec": {"containers": other}}}}
    refused(branch.patch, "Deployment", name, where, change)
    branch.patch("Deployment", name, where, {"spec": {"replicas": 0}})
    branch.delete("Deployment", name, where)


# -- before there is a floor ------------------------------------------------------------------


def test_nothing_runs_before_a_namespace_is_furnished(
    branch: Cluster, admin: Cluster, provisioner: Process
) -> None:
    provisioner.kill()
    try:
        refused(branch.create, made("liar", labels={FLOOR: "ready"}))
        name = entered(branch)
        for label in ("ready", "x", ""):
            said = refused(
                branch.patch, "Namespace", name, None, {"metadata": {"labels": {FLOOR: label}}}
            )
            assert "only the platform says that a namespace is furnished" in said
        for kind in OF_CI:
            said = refused(branch.create, workload(kind, name, pod_of()))
            assert "this namespace is not furnished yet" in said
    finally:
        provisioner.start()
    furnished(admin, name)
    item = workload("Deployment", name, pod_of())
    until(lambda: not _refuses(branch, item), SECONDS)
    until(lambda: bool(admin.find("Pod", name)), SECONDS)
    refused(branch.patch, "Namespace", name, None, {"metadata": {"labels": {FLOOR: None}}})
    branch.delete("Namespace", name)


def _refuses(job: Cluster, item: Object) -> bool:
    """Return True while an API server has not seen the label yet."""
    try:
        job.create(item)
    except ClusterError as error:
        assert "not furnished yet" in error.message
        return True
    return False


# -- the floor itself -------------------------------------------------------------------------

OBJECTS = {
    "ResourceQuota": {"spec": {"hard": {"pods": "1000"}}},
    "LimitRange": {"spec": {"limits": [{"type": "Container", "default": {"memory": "99Gi"}}]}},
    # To its own namespace, which another policy of its own may.
    "NetworkPolicy": {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}},
}
"""What a branch would make of each."""


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_branch_neither_removes_nor_opens_its_floor(
    where: str, branch: Cluster, kind: str
) -> None:
    found = branch.get(kind, NAME, where)
    assert found
    for said in (
        refused(branch.delete, kind, NAME, where),
        refused(branch.patch, kind, NAME, where, OBJECTS[kind]),
    ):
        assert f"{NAME} is the platform's" in said
    # Two policies refuse this, and the API server names one of them.
    stays = {"metadata": {"finalizers": ["x.example/y"]}}
    said = refused(branch.patch, kind, NAME, where, stays)
    assert f"{NAME} is the platform's" in said or "only controllers put finalizers" in said
    assert branch.get(kind, NAME, where) == found


def test_the_quota_holds_and_what_no_policy_allows_is_denied(where: str, admin: Cluster) -> None:
    quota = admin.get("ResourceQuota", NAME, where)
    denied = admin.get("NetworkPolicy", NAME, where)
    assert quota
    assert denied
    assert quota["spec"]["hard"]["pods"] == "40"
    assert denied["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    greedy = pod_of()
    greedy["containers"][0]["resources"]["requests"]["memory"] = "9Gi"
    greedy["containers"][0]["resources"]["limits"]["memory"] = "9Gi"
    assert "exceeded quota" in refused(admin.create, workload("Pod", where, greedy))
    # The node's own disk, by one container and by many; an emptyDir counts as its pod's containers.
    for size, said in (("5Gi", "maximum ephemeral-storage usage per Container"), ("4Gi", "quota")):
        (one,) = pod_of()["containers"]
        one["resources"]["limits"] |= {"ephemeral-storage": size}
        many = [{**one, "name": f"c{number}"} for number in range(11)]
        assert said in refused(admin.create, workload("Pod", where, pod_of(containers=many)))


def test_no_volume_of_a_branch_outlives_it(where: str, branch: Cluster) -> None:
    meta = {"name": "stays", "namespace": where}
    item = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}
    said = refused(branch.create, {**item, "spec": {**CLAIM, "storageClassName": "efs-prod"}})
    assert "exceeded quota" in said
    assert "efs-prod" in said


def test_no_branch_takes_the_room_for_what_a_clean_up_makes(where: str, branch: Cluster) -> None:
    """The main branch's job makes its Lease and binding, if they are not there."""
    meta = {"name": "other", "namespace": where}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}
    assert "the Lease of a namespace is mautic-multidev" in refused(branch.create, lease)
    bound = branch.get("RoleBinding", "mautic-multidev", where)
    assert bound
    assert "a binding is named mautic-multidev" in refused(
        branch.create, {**bound, "metadata": meta}
    )


def test_whoever_changes_the_floor_it_comes_back(
    where: str, admin: Cluster, provisioner: Process
) -> None:
    before = {kind: (admin.get(kind, NAME, where) or {})["spec"] for kind in OBJECTS}
    admin.delete("ResourceQuota", NAME, where)
    for kind in ("LimitRange", "NetworkPolicy"):
        admin.patch(kind, NAME, where, OBJECTS[kind])
    # Each change of the namespace is a look at it; without one there is a sweep each minute.
    note = {"metadata": {"annotations": {"looked-at": secrets.token_hex(2)}}}
    admin.patch("Namespace", where, None, note)

    def restored() -> bool:
        found = {kind: admin.get(kind, NAME, where) for kind in OBJECTS}
        return {kind: one and one["spec"] for kind, one in found.items()} == before

    until(restored, SECONDS)


@pytest.mark.parametrize("version", ["v1.24", "v1.36"])
def test_a_branch_does_not_choose_an_old_pod_security(
    where: str, branch: Cluster, admin: Cluster, strong: Cluster, version: str
) -> None:
    label = {f"{SECURITY}enforce-version": version}
    said = refused(branch.create, made("old", labels=label))
    assert "the latest version of the Pod Security Standard" in said
    refused(branch.patch, "Namespace", where, None, {"metadata": {"labels": label}})
    # Nor does it use one that was chosen before there was a policy.
    admin.patch("Namespace", where, None, {"metadata": {"labels": label}})
    try:
        until(lambda: _is_old(branch, where), SECONDS)
    finally:
        label[f"{SECURITY}enforce-version"] = "latest"
        # A deploy writes the label, and so mends it.
        branch.patch("Namespace", where, None, {"metadata": {"labels": label}})
    until(lambda: not _is_old(branch, where), SECONDS)


def _is_old(job: Cluster, where: str) -> bool:
    item = workload("Deployment", where, pod_of())
    try:
        job.create(item)
    except ClusterError as error:
        assert "does not enforce the latest restricted" in error.message
        return True
    job.delete("Deployment", item["metadata"]["name"], where)
    return False


def test_there_are_as_many_environments_as_there_is_room_for(
    branch: Cluster, admin: Cluster, provisioner: Process
) -> None:
    def count() -> int:
        found = admin.find("Namespace", None, "mautic-multidev.io/environment=qa")
        return len(found)

    until(lambda: count() == 0, SECONDS)
    many = [entered(branch, "qa") for _ in range(ROOM)]
    for name in many:
        furnished(admin, name)
    late = entered(branch, "qa")

    def told() -> bool:
        record = branch.get("ConfigMap", f"database-{late}", PLATFORM)
        data = (record or {}).get("data", {})
        return (data.get("state"), data.get("message")) == (
            "refused",
            f"{ROOM} of {ROOM} environments exist",
        )

    until(told, SECONDS)
    assert not is_furnished(admin.get("Namespace", late))
    refused(branch.create, workload("Deployment", late, pod_of()))
    # Another environment has its own room.
    other = entered(branch)
    furnished(admin, other)
    for name in (*many, late, other):
        branch.delete("Namespace", name)


def test_the_provisioner_is_kept_to_the_floor(where: str, plane: Audited, admin: Cluster) -> None:
    """Even if somebody else ran under its account."""
    plane.pki.issue("as-provisioner", ACCOUNT)
    path = plane.write_kubeconfig(plane.pki.root / "as-provisioner.kubeconfig", "as-provisioner")
    thief = Cluster("test", str(path))
    spec = {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}
    for name, there in (("open", where), (NAME, "kube-system"), (NAME, PLATFORM)):
        meta = {"name": name, "namespace": there}
        item = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        refused(thief.create, {**item, "metadata": meta, "spec": spec})
    for labels in ({"x": "y"}, {FLOOR: "ready", f"{SECURITY}enforce": "privileged"}):
        refused(thief.patch, "Namespace", where, None, {"metadata": {"labels": labels}})
    for kind in ("Pod", "Deployment", "NetworkPolicy", "ResourceQuota"):
        assert not thief.may("list", kind, where)

"""What one branch reaches of another one, of the cluster and of what lies around it.

The platform of the cluster has everything that keeps branches apart: each branch's jobs are a user
of their own, the provisioner furnishes namespaces, and every policy holds. Jobs have a token of
their branch and no other credentials.

Each try of a pod is made twice from the same places: before the branches have NetworkPolicies, when
what is there must be reached, and then with them. Traffic to the node itself passes no policy here
(see tests/support/realnode/addons.py): what refuses such a try is authentication, and it is asked
for what it gives away, not whether it listens. Each try of a job through the API is one that those
may make whose it is.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from subprocess import CompletedProcess
from typing import Any

import pytest

from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.transport import ApiAnswer, ApiRequest, Transport
from tasks.core.errors import ClusterError
from tests.support.deploys import until
from tests.support.issuer import user_of
from tests.support.realnode.bed import ON, SERVED_THEME, Bed, Object
from tests.support.realnode.platform import Job, Platform, job, platform_of
from tests.support.suite import git

A, B = "apart-a", "apart-b"
ADMIN = "the administrator"
METADATA = "169.254.169.254"
INTERNET = "1.1.1.1"
SETTLE_SECONDS = 10
ASK = """
$tries = json_decode(base64_decode($argv[1]), true);
$token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
$head = is_readable($token) ? "Authorization: Bearer ".file_get_contents($token)."\\r\\n" : "";
$tls = stream_context_create(["ssl" => ["verify_peer" => false, "verify_peer_name" => false]]);
$open = []; $found = [];
foreach ($tries as $name => $try) {
    $way = STREAM_CLIENT_CONNECT | STREAM_CLIENT_ASYNC_CONNECT;
    $socket = @stream_socket_client("tcp://$try[host]:$try[port]", $code, $words, 4, $way);
    if ($socket) { $open[$name] = $socket; }
    $found[$name] = "silent";
}
$end = microtime(true) + 4;
while ($open && microtime(true) < $end) {
    $read = $except = null; $write = $open;
    if (!stream_select($read, $write, $except, 1)) { continue; }
    foreach ($write as $name => $socket) {
        $found[$name] = stream_socket_get_name($socket, true) === false ? "refused" : "open";
        unset($open[$name]);
    }
}
foreach ($tries as $name => $try) {
    if ($found[$name] !== "open" || !$try["path"]) { continue; }
    $at = ($try["scheme"] === "ssl" ? "ssl" : "tcp")."://$try[host]:$try[port]";
    $socket = @stream_socket_client($at, $code, $words, 4, STREAM_CLIENT_CONNECT, $tls);
    if (!$socket) { $found[$name] = "no answer"; continue; }
    stream_set_timeout($socket, 4);
    if ($try["scheme"] === "mysql") {
        // A server greets first: length, number, and the version of its protocol.
        $is_server = substr((string) fread($socket, 64), 3, 2) === "\\0\\x0a";
        $found[$name] = $is_server ? "greeting" : "no answer";
        continue;
    }
    fwrite($socket, "GET $try[path] HTTP/1.0\\r\\nHost: $try[host]\\r\\n$head\\r\\n");
    $found[$name] = trim(substr((string) fgets($socket), 9, 3)) ?: "no answer";
}
echo json_encode(["found" => $found, "token" => $head !== ""]), "\\n";
"""


@dataclass(frozen=True)
class Try:
    """One try to reach something.

    Attributes:
        path: what is asked for, where connecting alone is no success: a machine's way out may have
            a proxy that takes every connection.
        scheme: ``ssl``, ``tcp`` or ``mysql``: how it is asked.
        answer: what the answer begins with if it is a success: a status, or ``greeting``.
        listens: whether it must be reached where no policy stands in the way.
        by: what refuses it, where that is no NetworkPolicy; or why nothing is there.
    """

    host: str
    port: int
    path: str = ""
    scheme: str = "ssl"
    answer: str = "2"
    listens: bool = False
    by: str = ""

    def succeeded(self, found: str) -> bool:
        """Return True if it got what it wanted."""
        return found.startswith(self.answer) if self.path else found == "open"


@dataclass
class Apart:
    """Two branches, and what was found from one of them.

    Attributes:
        platform: the cluster's platform.
        jobs: a CI job of each branch.
        tag: what both run.
        tries: the tries, by what they are.
        before: what was found without policies: from a web pod of A.
        after: what was found with them: from a web pod of A, and from a pod that A has besides.
        tokens: whether a pod that tried had a token of the API.
        places: the addresses of B's pods, before and after.
    """

    platform: Platform
    jobs: dict[str, Job]
    tag: str
    tries: dict[str, Try]
    before: Mapping[str, str] = field(default_factory=dict)
    after: dict[str, Mapping[str, str]] = field(default_factory=dict)
    tokens: list[bool] = field(default_factory=list)
    places: list[Mapping[str, str]] = field(default_factory=list)


def argument(tries: Mapping[str, Try]) -> str:
    """Return the tries as the one argument of ASK."""
    told = {name: asdict(one) for name, one in tries.items()}
    return base64.b64encode(json.dumps(told).encode()).decode()


def code() -> str:
    """Return ASK in one line without quotes that a shell would read."""
    packed = base64.b64encode(ASK.encode()).decode()
    return f'eval(base64_decode("{packed}"));'


def as_job(apart: Apart, branch: str) -> dict[str, Any]:
    """Return the options of a run of `inv` as a job of a branch."""
    return {"settings": apart.platform.settings(), "env": apart.jobs[branch].env}


def from_web_pod(bed: Bed, told: Apart, **who: Any) -> Mapping[str, str]:
    command = f"php -r '{code()}' {argument(told.tries)}"
    done = bed.ok("shell", *ON, "--branch", A, "--command", command, **who)
    return read(done.stdout, told)


def from_own_pod(bed: Bed, told: Apart, image: str) -> Mapping[str, str]:
    """Make the tries from a pod that no policy of the chart selects: of a Job that A makes."""
    where = bed.names(A).namespace
    pod = restricted("", where, image, restartPolicy="Never")["spec"]
    # The node's add-on reads pods once a second: until then a new one has no policies.
    wait = f"sleep({SETTLE_SECONDS}); {code()}"
    pod["containers"][0]["command"] = ["php", "-r", wait, "--", argument(told.tries)]
    meta: Object = {"name": f"own-{secrets.token_hex(3)}", "namespace": where}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    told.jobs[A].cluster.create(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}
    )

    def pods() -> list[Object]:
        return bed.cluster.find("Pod", where, f"job-name={meta['name']}")

    def phases() -> list[str]:
        return [str(one["status"].get("phase")) for one in pods()]

    until(lambda: phases() in (["Succeeded"], ["Failed"]), seconds=120)
    said = bed.cluster.logs(where, pods()[0]["metadata"]["name"], "main") or ""
    assert phases() == ["Succeeded"], said
    told.jobs[A].cluster.delete("Job", meta["name"], where)
    return read(said, told)


def read(said: str, told: Apart) -> Mapping[str, str]:
    answer = json.loads(said.strip().splitlines()[-1])
    told.tokens.append(answer["token"])
    found: dict[str, str] = answer["found"]
    return found


def restricted(name: str, where: str, image: str, **spec: Any) -> Object:
    """Return a pod that Pod Security `restricted` takes."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 33,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    resources = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
    container = {"name": "main", "image": image, "securityContext": security}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": where},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{**container, "resources": resources}],
            **spec,
        },
    }


def address(bed: Bed, branch: str, component: str) -> str:
    """Return the address of a running pod."""
    [found] = [
        pod["status"]["podIP"]
        for pod in bed.pods(branch, component)
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ][:1]
    return str(found)


def places(bed: Bed) -> Mapping[str, str]:
    """Return the addresses of B's pods."""
    return {name: address(bed, B, name) for name in ("web", "mysql", "worker", "cron")}


def listening(bed: Bed, where: str, image: str) -> str:
    """Start something that listens in a namespace that has no policies; return its address."""
    pod = restricted("listener", where, image)
    pod["spec"]["containers"][0]["command"] = ["php", "-S", "0.0.0.0:8080", "-t", "/tmp"]
    bed.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}})
    # A new namespace gets its account a moment later.
    until(lambda: bed.cluster.get("ServiceAccount", "default", where) is not None)
    bed.cluster.create(pod)

    def found() -> str:
        status = (bed.cluster.get("Pod", "listener", where) or {}).get("status", {})
        return str(status.get("podIP", "")) if status.get("phase") == "Running" else ""

    until(lambda: bool(found()), seconds=120)
    return found()


def detour(bed: Bed, target: str) -> str:
    """Make a Service of A whose only endpoint is a pod of B; return its address."""
    where = bed.names(A).namespace
    ports = [{"name": "sql", "port": 3306, "protocol": "TCP"}]
    meta = {"name": "detour", "namespace": where}
    service = bed.api(
        "POST",
        f"/api/v1/namespaces/{where}/services",
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}},
    )
    labels = {"kubernetes.io/service-name": "detour"}
    bed.api(
        "POST",
        f"/apis/discovery.k8s.io/v1/namespaces/{where}/endpointslices",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [target], "conditions": {"ready": True}}],
            "ports": ports,
        },
    )
    return str(service["spec"]["clusterIP"])


def all_tries(bed: Bed, image: str) -> dict[str, Try]:
    """Return what a pod of A tries to reach."""
    names = bed.names(B)
    space = names.namespace
    services = {
        item["metadata"]["name"].removeprefix(f"{names.release}-"): item["spec"]["clusterIP"]
        for item in bed.cluster.find("Service", space)
    }
    web, mysql, worker, cron = places(bed).values()
    other = listening(bed, f"{bed.project}-system", image)
    [node] = [
        one["address"]
        for item in bed.api("GET", "/api/v1/nodes")["items"][:1]
        for one in item["status"]["addresses"]
        if one["type"] == "InternalIP"
    ]
    api = bed.cluster.get("Service", "kubernetes", "default")
    assert api
    slices = bed.api("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")
    # A server that listens on loopback alone publishes no address.
    places_of_api = [
        (endpoint["addresses"][0], item["ports"][0]["port"])
        for item in slices["items"]
        if item["metadata"]["name"] == "kubernetes"
        for endpoint in item["endpoints"]
    ]
    server, port = next(iter(places_of_api), (node, 6443))
    secrets_of_b = f"/api/v1/namespaces/{space}/secrets"
    login = "authentication: pods have no token"
    asks = login if places_of_api else "the API listens on the node's loopback"
    qualified = f"{space}.svc.cluster.local"

    def site(host: str, port: int) -> Try:
        """The site, by the login of its door."""
        return Try(host, port, "/s/login", "tcp", "401", listens=True)

    def probes(host: str) -> Try:
        return Try(host, 8081, "/healthz", "tcp", listens=True)

    def database(host: str) -> Try:
        return Try(host, 3306, "greeting", "mysql", "greeting", listens=True)

    return {
        "B's site by name": site(f"{names.release}-web.{qualified}", 80),
        "B's site by the Service's address": site(services["web"], 80),
        "B's probes by the Service's address": probes(services["web"]),
        "B's database by name": database(f"{names.release}-mysql.{qualified}"),
        "B's database by its pod": database(mysql),
        "B's database by a Service of A": database(detour(bed, mysql)),
        "B's nginx by its pod": site(web, 8080),
        "B's probes by its pod": probes(web),
        "B's php-fpm": Try(web, 9000, by="php-fpm listens on loopback"),
        "B's php-fpm, status": Try(web, 9001, by="php-fpm listens on loopback"),
        "B's Redis": Try(web, 6379, by="B has none"),
        "B's worker": Try(worker, 8080, by="a worker listens nowhere"),
        "B's scheduler": Try(cron, 8080, by="a scheduler listens nowhere"),
        "B's SSH": Try(web, 22, by="B has none"),
        "another namespace's pod": Try(other, 8080, "/", "tcp", "404", listens=True),
        "B's Secrets through the API": Try("kubernetes.default", 443, secrets_of_b, by=asks),
        "B's Secrets at the API's address": Try(
            api["spec"]["clusterIP"], 443, secrets_of_b, by=asks
        ),
        "B's Secrets at the API's endpoint": Try(server, port, secrets_of_b, by=asks),
        "all Secrets through the API": Try("kubernetes.default", 443, "/api/v1/secrets", by=asks),
        "all namespaces through the API": Try(
            "kubernetes.default", 443, "/api/v1/namespaces", by=asks
        ),
        "the kubelet's pods": Try(node, 10250, "/pods", by=login),
        "the kubelet's logs": Try(node, 10250, "/logs/", by=login),
        "a command through the kubelet": Try(
            node, 10250, f"/run/{space}/{names.release}-mysql-0/mysql", by=login
        ),
        "the kubelet without a login": Try(node, 10255, "/pods", "tcp", by="it is off"),
        "etcd": Try(node, 2379, "/version", "tcp", by="it listens on loopback"),
        "SSH of the node": Try(node, 22, by="it has none"),
        "the metadata service": Try(METADATA, 80),
        "the agent of Pod Identity": Try("169.254.170.23", 80),
        "other machines, 10.0.0.0/8": Try("10.1.2.3", 443),
        "other machines, 172.16.0.0/12": Try("172.31.255.1", 443),
        "other machines, 192.168.0.0/16": Try("192.168.0.1", 443),
        "other machines, 100.64.0.0/10": Try("100.64.0.1", 443),
        "the registry": Try(
            *registry(bed),
        ),
        "the internet, HTTPS": Try(INTERNET, 443),
        "the internet, mail": Try(INTERNET, 587),
        "names of another resolver": Try(INTERNET, 53),
    }


def registry(bed: Bed) -> tuple[str, int]:
    """Return where containers of this machine reach the registry."""
    port = bed.registry.rpartition(":")[2]
    for container in bed.engine.containers.list():
        published = container.ports.get("5000/tcp") or []
        if any(one["HostPort"] == port for one in published):
            networks = container.attrs["NetworkSettings"]["Networks"]
            return next(iter(networks.values()))["IPAddress"], 5000
    return bed.registry.rpartition(":")[0], int(port)


@pytest.fixture(scope="module")
def apart(bed: Bed) -> Iterator[Apart]:
    """Two branches: first without NetworkPolicies, then under the platform."""
    if not os.environ.get("MAUTIC_NODE_ISSUER"):
        pytest.skip("this node's API server trusts no issuer of tests")
    for branch in (A, B):
        git(bed.checkout, "push", "--quiet", "origin", f"main:refs/heads/{branch}")
    tag = bed.build()
    image = f"{bed.registry}/{bed.project}/mautic:{tag}"
    unlocked = bed.settings({"networkPolicy": {"enabled": False}})
    for branch in (A, B):
        bed.ok("deploy", *ON, "--branch", branch, "--tag", tag, settings=unlocked)
    with platform_of(bed) as platform:
        jobs = {branch: job(bed, branch) for branch in (A, B)}
        told = Apart(platform, jobs, tag, all_tries(bed, image))
        told.before = from_web_pod(bed, told)
        told.places.append(places(bed))
        platform.install()
        for branch in (A, B):
            bed.ok("deploy", *ON, "--branch", branch, "--tag", tag, **as_job(told, branch))
        # The node's add-on reads policies once a second.
        who = as_job(told, A)
        until(
            lambda: from_web_pod(bed, told, **who)["another namespace's pod"] == "silent",
            seconds=60,
        )
        told.after["a web pod"] = from_web_pod(bed, told, **who)
        told.after["a pod of A's own making"] = from_own_pod(bed, told, image)
        told.places.append(places(bed))
        # A clean-up keeps a namespace with what it has not made.
        jobs[A].cluster.delete("Service", "detour", bed.names(A).namespace)
        yield told


def test_without_policies_what_is_there_is_reached(apart: Apart) -> None:
    missed = [name for name, one in apart.tries.items() if one.listens and not reached(apart, name)]
    assert missed == []


def reached(apart: Apart, name: str) -> bool:
    return apart.tries[name].succeeded(apart.before[name])


def test_a_branch_reaches_nothing_of_another_one_or_of_the_cluster(
    apart: Apart, record_testsuite_property: Any
) -> None:
    assert len(apart.tries) >= 30
    assert apart.places[0] == apart.places[1], "the tries went to pods that are gone"
    for whence, found in apart.after.items():
        rows = [
            f"{name}: {apart.before[name]} -> {found[name]} ({one.by or 'NetworkPolicy'})"
            for name, one in apart.tries.items()
        ]
        print("\n".join((f"from {whence}:", *rows)))  # noqa: T201 - for -s
        successes = [name for name, one in apart.tries.items() if one.succeeded(found[name])]
        record_testsuite_property(f"successes from {whence}", len(successes))
        assert successes == []
        # Not even that somebody refuses: no packet gets there.
        heard = [name for name, one in apart.tries.items() if one.listens]
        assert {name: found[name] for name in heard} == dict.fromkeys(heard, "silent")


def test_no_pod_has_a_token(apart: Apart) -> None:
    assert apart.tokens
    assert not any(apart.tokens)


HOST: dict[str, Object] = {
    "the node's files": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    "the node's network": {"hostNetwork": True},
    "the node's processes": {"hostPID": True},
    "the node's memory": {"hostIPC": True},
}


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("what", [*HOST, "the node's rights", "root", "a port of the node"])
def test_a_pod_gets_nothing_of_its_node(bed: Bed, what: str) -> None:
    where = bed.names(A).namespace
    pod = restricted("of-the-node", where, "registry.example.com/any:1", **HOST.get(what, {}))
    container = pod["spec"]["containers"][0]
    changed: Object = {
        "the node's rights": {"privileged": True, "allowPrivilegeEscalation": True},
        "root": {"runAsUser": 0, "runAsNonRoot": False},
    }.get(what, {})
    container["securityContext"] |= changed
    if what == "a port of the node":
        container["ports"] = [{"containerPort": 8080, "hostPort": 8080}]
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        bed.cluster.create(pod)


def test_what_a_pod_mounts_is_of_its_own_namespace(apart: Apart, bed: Bed) -> None:
    """Neither Secrets nor claims have a namespace in a pod: there is no way to name another's."""
    where = bed.names(A).namespace
    claims = bed.cluster.find("PersistentVolumeClaim", bed.names(B).namespace)
    [volume] = [one["spec"]["volumeName"] for one in claims if "media" in one["metadata"]["name"]]
    meta = {"name": "theirs", "namespace": where}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta,
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": claims[0]["spec"]["storageClassName"],
            "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    apart.jobs[A].cluster.create(claim)
    try:
        with pytest.raises(AssertionError):
            until(lambda: bound(bed, where), seconds=5)
    finally:
        bed.cluster.delete("PersistentVolumeClaim", "theirs", where)


def bound(bed: Bed, where: str) -> bool:
    found = bed.cluster.get("PersistentVolumeClaim", "theirs", where)
    return bool(found and found["status"].get("phase") == "Bound")


# -- through the API ------------------------------------------------------------------------------

MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Ask:
    """A request that a job of A makes.

    Attributes:
        owner: who may make it: a job of B, or the administrator.
    """

    request: ApiRequest
    owner: str = B


def patch(path: str, body: Object) -> ApiRequest:
    return ApiRequest("PATCH", path, body=body, content_type=MERGE)


def made(kind: str, name: str, where: str | None, **parts: Any) -> ApiRequest:
    """Return a request that makes an object."""
    meta = {"name": name, **({"namespace": where} if where else {}), **parts.pop("metadata", {})}
    body = {"apiVersion": KINDS[kind].api, "kind": kind, "metadata": meta, **parts}
    return ApiRequest("POST", KINDS[kind].path(where), body=body)


def all_asks(bed: Bed, apart: Apart) -> dict[str, Ask]:
    """Return what a job of A asks the API for."""
    own, other = bed.names(A), bed.names(B)
    mine, theirs = own.namespace, other.namespace
    [web] = [pod["metadata"]["name"] for pod in bed.pods(B, "web")][:1]
    site = f"{other.release}-web"

    def path(kind: str, name: str | None = None, part: str | None = None) -> str:
        return KINDS[kind].path(theirs, *(each for each in (name, part) if each))

    run = {"command": "id", "stdout": "true"}
    foreign = restricted("", mine, "docker.io/library/busybox:1")["spec"]
    labels = {"app": "own"}
    deployment = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": foreign},
    }
    backend = {"service": {"name": site, "port": {"number": 80}}}
    rule = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    hijack = {"rules": [{"host": other.host, "http": rule}]}
    to_b = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": theirs}}}
    opened = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [to_b]}]}
    let_in = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
    api = "rbac.authorization.k8s.io"
    bound: Object = {
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "mautic-multidev-environment"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user_of(A)}],
    }
    image = f"{bed.registry}/{bed.project}/mautic:{apart.tag}"
    inside = {"template": {"spec": restricted("", theirs, image, restartPolicy="Never")["spec"]}}
    space = KINDS["Namespace"].path(None, theirs)
    system = apart.platform.namespace
    return {
        "list B's Secrets": Ask(ApiRequest("GET", path("Secret"))),
        "read B's Secret": Ask(ApiRequest("GET", path("Secret", "mautic"))),
        "change B's Secret": Ask(patch(path("Secret", "mautic"), {"data": {"a": "Yg=="}})),
        "delete B's Secret": Ask(ApiRequest("DELETE", path("Secret", "mautic"))),
        "list B's pods": Ask(ApiRequest("GET", path("Pod"))),
        "read B's log": Ask(ApiRequest("GET", path("Pod", web, "log"), {"container": "nginx"})),
        "a command in B's pod": Ask(ApiRequest("GET", path("Pod", web, "exec"), run)),
        "a command in B's pod, by POST": Ask(ApiRequest("POST", path("Pod", web, "exec"), run)),
        "delete B's pod": Ask(ApiRequest("DELETE", path("Pod", web))),
        "list B's settings": Ask(ApiRequest("GET", path("ConfigMap"))),
        "change B's Deployment": Ask(patch(path("Deployment", site), {"spec": {"replicas": 0}})),
        "delete B's Deployment": Ask(ApiRequest("DELETE", path("Deployment", site))),
        "delete B's database": Ask(
            ApiRequest("DELETE", path("StatefulSet", f"{other.release}-mysql"))
        ),
        "a pod beside B's": Ask(made("Job", "of-a", theirs, spec=inside)),
        "change B's Service": Ask(
            patch(path("Service", site), {"metadata": {"labels": {"a": "b"}}})
        ),
        "B's site through the API": Ask(
            ApiRequest("GET", path("Service", f"{site}:http", "proxy") + "/healthz")
        ),
        "delete B's policy": Ask(
            ApiRequest("DELETE", path("NetworkPolicy", f"{other.release}-deny"))
        ),
        "B's host name, in B's namespace": Ask(made("Ingress", "of-a", theirs, spec=hijack)),
        "take B's lock": Ask(ApiRequest("DELETE", path("Lease", "mautic-multidev"))),
        "change B's namespace": Ask(patch(space, {"metadata": {"annotations": {"a": "b"}}})),
        "delete B's namespace": Ask(ApiRequest("DELETE", space)),
        "open B's namespace": Ask(made("NetworkPolicy", "of-a", theirs, spec=let_in), ADMIN),
        "bind oneself in B's namespace": Ask(made("RoleBinding", "of-a", theirs, **bound), ADMIN),
        "B's host name, in A's namespace": Ask(made("Ingress", "of-b", mine, spec=hijack), ADMIN),
        "open oneself towards B": Ask(made("NetworkPolicy", "to-b", mine, spec=opened), ADMIN),
        "delete one's own floor": Ask(
            ApiRequest("DELETE", KINDS["NetworkPolicy"].path(mine, "mautic-multidev-floor")), ADMIN
        ),
        "raise one's own quota": Ask(
            patch(
                KINDS["ResourceQuota"].path(mine, "mautic-multidev-floor"),
                {"spec": {"hard": {"pods": "9999"}}},
            ),
            ADMIN,
        ),
        "an image from elsewhere": Ask(made("Deployment", "foreign", mine, spec=deployment), ADMIN),
        "give one's namespace to B": Ask(
            patch(
                KINDS["Namespace"].path(None, mine),
                {"metadata": {"annotations": {"mautic-multidev.io/branch": B}}},
            ),
            ADMIN,
        ),
        "be B": Ask(
            ApiRequest("GET", path("Secret"), headers={"Impersonate-User": user_of(B)}), ADMIN
        ),
        "list all Secrets": Ask(ApiRequest("GET", KINDS["Secret"].path()), ADMIN),
        "the database's administrator": Ask(
            ApiRequest("GET", KINDS["Secret"].path(system, "mautic-database-admin")), ADMIN
        ),
        "the provisioner's login": Ask(
            ApiRequest("GET", KINDS["Secret"].path(system, "mautic-provisioner")), ADMIN
        ),
        "a pod beside the provisioner": Ask(made("Job", "of-a", system, spec=inside), ADMIN),
        "change the provisioner's rules": Ask(
            patch(
                KINDS["ConfigMap"].path(system, "mautic-provisioner"), {"data": {"rules.json": ""}}
            ),
            ADMIN,
        ),
    }


def refused(answer: ApiAnswer) -> bool:
    """Return True if rights or an admission policy were in the way."""
    by_policy = b"ValidatingAdmissionPolicy" in answer.body and b"denied request" in answer.body
    return answer.status in {401, 403} or (answer.status == 422 and by_policy)


def test_no_request_of_a_branch_reaches_another_one_or_the_platform(
    apart: Apart, bed: Bed, record_testsuite_property: Any
) -> None:
    admin = Transport(bed.context, None, 5)
    asks = all_asks(bed, apart)
    mine, reached, rows = apart.jobs[A], [], []
    for name, one in asks.items():
        # Whose it is may do it; nothing is changed by that.
        harmless = replace(one.request, query={**one.request.query, "dryRun": "All"})
        request = one.request if one.request.method == "GET" else harmless
        theirs = admin.attempt(request) if one.owner == ADMIN else apart.jobs[B].ask(request)
        assert not refused(theirs), (name, theirs.body)
        answer = mine.ask(one.request)
        rows.append(f"{name}: {answer.status} ({one.owner}: {theirs.status})")
        if not refused(answer):
            reached.append(name)
    print("\n".join(rows))  # noqa: T201 - for -s
    record_testsuite_property("requests of A", len(asks))
    record_testsuite_property("requests of A that succeeded", len(reached))
    assert reached == []


def test_no_command_of_a_branch_reaches_another_one(apart: Apart, bed: Bed) -> None:
    before = bed.uids(B)
    for task in (
        ("deploy", "--tag", apart.tag),
        ("cleanup",),
        ("shell", "--command", "id"),
        ("url", "--login"),
    ):
        done = bed.run(task[0], *ON, "--branch", B, *task[1:], **as_job(apart, A))
        assert done.returncode == 1, (task, done.stdout, done.stderr)
        assert "403" in done.stderr or "another branch's" in done.stderr
        assert done.stdout == ""
    assert bed.uids(B) == before


# -- what a branch does with its own --------------------------------------------------------------


@dataclass
class Life:
    """The runs of two branches' jobs, by branch and what they were, and what was seen meanwhile."""

    done: dict[tuple[str, str], CompletedProcess[str]] = field(default_factory=dict)
    seen: dict[tuple[str, str], Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def life(apart: Apart, bed: Bed) -> Iterator[Life]:
    """Both branches from a first deploy to a rollback, with their own tokens alone."""
    told = Life()

    def run(what: str, task: str, branches: tuple[str, ...], *options: str) -> None:
        """Run a task for these branches at the same time."""
        running = [
            bed.start(task, *ON, "--branch", branch, *options, **as_job(apart, branch))
            for branch in branches
        ]
        for branch, process in zip(branches, running, strict=True):
            stdout, stderr = process.communicate(timeout=600)
            code = process.returncode
            told.done[branch, what] = CompletedProcess(process.args, code, stdout, stderr)
            told.seen[branch, what] = None
            if task != "cleanup" and code == 0:
                told.seen[branch, what] = (bed.get(branch, SERVED_THEME)[1], bed.uids(branch))

    both = (A, B)
    first = apart.tag
    run("removed", "cleanup", (B,))
    bed.change_theme("/* second */\n")
    second = bed.build()
    run("first", "deploy", both, "--tag", first)
    run("unchanged", "deploy", both, "--tag", first)
    run("changed", "deploy", both, "--tag", second)
    run("rolled back", "rollback", both)
    yield told


def test_the_whole_life_of_both_branches_works(life: Life) -> None:
    failed = {key: done.stderr for key, done in life.done.items() if done.returncode}
    assert failed == {}


@pytest.mark.parametrize("branch", [A, B])
def test_each_branch_runs_what_it_was_given(life: Life, branch: str) -> None:
    themes = {
        what: seen[0] for (whose, what), seen in life.seen.items() if whose == branch and seen
    }
    assert themes == {
        "first": "/* first */\n",
        "unchanged": "/* first */\n",
        "changed": "/* second */\n",
        "rolled back": "/* first */\n",
    }
    assert "everything is as it should be" in life.done[branch, "unchanged"].stderr
    assert life.seen[branch, "unchanged"] == life.seen[branch, "first"]


@pytest.mark.usefixtures("life")
@pytest.mark.parametrize("branch", [A, B])
def test_each_branch_sees_and_uses_its_own(apart: Apart, bed: Bed, branch: str) -> None:
    who = as_job(apart, branch)
    status, body = bed.get(branch, "/s/login")
    assert (status, "password" in body) == (200, True)
    argv = (*ON, "--branch", branch)
    done = bed.ok("console", *argv, "--", "doctrine:migrations:up-to-date", **who)
    assert "Up-to-date" in done.stdout + done.stderr
    done = bed.ok("logs", *argv, "--service", "web", "--tail", "50", **who)
    (web,) = bed.ready(branch)
    assert web in done.stdout
    parts = json.loads(bed.ok("status", *argv, "--format", "json", **who).stdout)
    assert {"web", "worker-email", "worker-hit", "mysql"} <= {part["service"] for part in parts}


@pytest.mark.usefixtures("life")
def test_each_branch_removes_its_own_and_nothing_is_left(apart: Apart, bed: Bed) -> None:
    for branch in (A, B):
        bed.ok("cleanup", *ON, "--branch", branch, **as_job(apart, branch))
        assert not bed.exists(branch)
    assert "eyJ" not in "".join(bed.said), "a token was shown"

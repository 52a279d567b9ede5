"""Add-ons that a bare cluster lacks: DNS, volumes, and enforcement of NetworkPolicies.

Each of them reads the API once a second; of a cluster of one node that is cheap.
"""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

from tasks.adapters.kubernetes.transport import ApiRequest, Transport

Object = dict[str, Any]

STORAGE_CLASS = "standard"
POLL_SECONDS = 1.0
TTL_SECONDS = 2
CHAIN = "MULTIDEV-PODS"


class Addons:
    """DNS, volumes and NetworkPolicies, in threads of this process.

    Args:
        api: the cluster, as its administrator.
        address: where the name server listens.
        volumes: the folder in which volumes are made.
    """

    def __init__(self, api: Transport, address: str, volumes: Path) -> None:
        self._api = api
        self._volumes = volumes
        self._names = _Names()
        self._servers = [
            DNSServer(
                self._names,
                address=address,
                port=53,
                tcp=tcp,
                logger=DNSLogger(logf=lambda line: None),
            )
            for tcp in (False, True)
        ]
        self._rules = ""
        self._stop = threading.Event()
        self._started = contextlib.ExitStack()

    def start(self) -> None:
        """Make the storage class and begin."""
        annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
        storage = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": STORAGE_CLASS, "annotations": annotations},
            "provisioner": "test.mautic-multidev/folders",
        }
        path = "/apis/storage.k8s.io/v1/storageclasses"
        self._api.json(ApiRequest("POST", path, body=storage))
        for server in self._servers:
            server.start_thread()
            self._started.callback(server.stop)
        for work in (self._publish_names, self._serve_claims, self._enforce_policies):
            thread = threading.Thread(target=self._again_and_again, args=(work,), daemon=True)
            thread.start()
            self._started.callback(thread.join)

    def stop(self) -> None:
        """End what was started, and take the packet filter's rules away."""
        self._stop.set()
        self._started.close()
        with contextlib.suppress(subprocess.CalledProcessError):
            self._load(())
        for words in (("-D", "FORWARD", "-j", CHAIN), ("-F", CHAIN), ("-X", CHAIN)):
            subprocess.run(["iptables", "--wait", *words], capture_output=True, check=False)

    def _again_and_again(self, work: Callable[[], None]) -> None:
        """Repeat a piece of work until the end; an error in one round does not end the next ones.

        The API may be away for a while. What is wrong is said once, until something else is.
        """
        said = ""
        while not self._stop.wait(POLL_SECONDS):
            try:
                work()
            except Exception as error:
                output = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
                words = f"{work.__name__}: {error!r} {output}".rstrip()
                if words != said:
                    sys.stderr.write(f"addons: {words}\n")
                said = words
            else:
                said = ""

    def _items(self, path: str) -> list[Object]:
        found: list[Object] = self._api.json(ApiRequest("GET", path)).get("items") or []
        return found

    # -- names --------------------------------------------------------------------------------

    def _publish_names(self) -> None:
        services = self._items("/api/v1/services")
        slices = self._items("/apis/discovery.k8s.io/v1/endpointslices")
        self._names.table = names(services, slices)

    # -- volumes ------------------------------------------------------------------------------

    def _serve_claims(self) -> None:
        there = {
            item["metadata"]["name"]: item for item in self._items("/api/v1/persistentvolumes")
        }
        for claim in self._items("/api/v1/persistentvolumeclaims"):
            name = f"pvc-{claim['metadata']['uid']}"
            if name not in there and _wants_volume(claim):
                self._make_volume(name, claim)
        for name, volume in there.items():
            phase = volume["status"].get("phase")
            if _is_ours(volume) and phase in {"Released", "Failed"}:
                shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)
                self._api.json(ApiRequest("DELETE", f"/api/v1/persistentvolumes/{name}"))

    def _make_volume(self, name: str, claim: Object) -> None:
        folder = self._volumes / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # whatever user the pod runs as
        meta, spec = claim["metadata"], claim["spec"]
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        reference |= {key: meta[key] for key in ("namespace", "name", "uid")}
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": spec["resources"]["requests"],
                "accessModes": spec["accessModes"],
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": reference,
                "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
            },
        }
        self._api.json(ApiRequest("POST", "/api/v1/persistentvolumes", body=volume))

    # -- policies -----------------------------------------------------------------------------

    def _enforce_policies(self) -> None:
        spaces = {
            item["metadata"]["name"]: item["metadata"].get("labels") or {}
            for item in self._items("/api/v1/namespaces")
        }
        policies = self._items("/apis/networking.k8s.io/v1/networkpolicies")
        self._load(filter_rules(self._items("/api/v1/pods"), policies, spaces))

    def _load(self, lines: Iterable[str]) -> None:
        """Put the rules in place, all at once."""
        rules = "\n".join(lines)
        if rules == self._rules:
            return
        chains = {line.split()[1] for line in rules.splitlines() if line.startswith("-A ")}
        old = {line.split()[1] for line in self._rules.splitlines() if line.startswith("-A ")}
        head = [f":{name} - [0:0]" for name in sorted({CHAIN} | chains | old)]
        gone = [f"-X {name}" for name in sorted(old - chains - {CHAIN})]
        text = "\n".join(["*filter", *head, *rules.splitlines(), *gone, "COMMIT", ""])
        restore = ["iptables-restore", "--noflush", "--wait"]
        subprocess.run(restore, input=text, text=True, capture_output=True, check=True)
        if not self._rules:
            jump = ["FORWARD", "-j", CHAIN]
            if subprocess.run(
                ["iptables", "-C", *jump], capture_output=True, check=False
            ).returncode:
                subprocess.run(["iptables", "--wait", "-I", *jump], check=True)
        self._rules = rules


def _wants_volume(claim: Object) -> bool:
    return bool(
        claim["status"].get("phase") == "Pending"
        and _is_ours(claim)
        and "deletionTimestamp" not in claim["metadata"]
    )


def _is_ours(item: Object) -> bool:
    return bool(item["spec"].get("storageClassName") == STORAGE_CLASS)


class _Names(BaseResolver):  # type: ignore[misc]  # dnslib has no types
    """Answers for the Services of the cluster and for nothing else."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Return the answer to a question."""
        reply, name = request.reply(), str(request.q.qname).rstrip(".").lower()
        if name not in self.table:
            reply.header.rcode = RCODE.NXDOMAIN
        elif QTYPE[request.q.qtype] == "A":
            for address in self.table[name]:
                reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(address), ttl=TTL_SECONDS))
        return reply


def names(services: Iterable[Object], slices: Iterable[Object]) -> dict[str, list[str]]:
    """Return the addresses that the cluster's names stand for.

    As kubernetes/dns' specification has it (schema version 1.1.0): a Service's own address, or for
    a headless one those of its pods, which also have names of their own.
    """
    found: dict[str, list[str]] = {}
    for item in services:
        address = item["spec"].get("clusterIP")
        if address and address != "None":
            found[_name(item["metadata"]["name"], item["metadata"]["namespace"])] = [address]
    with_address = set(found)
    for item in slices:
        labels = item["metadata"].get("labels") or {}
        service = labels.get("kubernetes.io/service-name", "")
        base = _name(service, item["metadata"]["namespace"])
        for endpoint in item.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            if endpoint.get("hostname"):
                found.setdefault(f"{endpoint['hostname']}.{base}", []).extend(endpoint["addresses"])
            if base not in with_address:
                found.setdefault(base, []).extend(endpoint["addresses"])
    return found


def _name(service: str, namespace: str) -> str:
    return f"{service}.{namespace}.svc.cluster.local"


def filter_rules(
    pods: Iterable[Object], policies: Iterable[Object], spaces: dict[str, Object]
) -> Iterator[str]:
    """Yield iptables' rules that let through what NetworkPolicies allow.

    Args:
        pods: all pods.
        policies: all NetworkPolicies.
        spaces: the labels of each namespace.
    """
    there = [pod for pod in pods if _has_address(pod)]
    yield f"-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
    policies = list(policies)
    for pod in there:
        space, address = pod["metadata"]["namespace"], pod["status"]["podIP"]
        about = [
            policy["spec"]
            for policy in policies
            if policy["metadata"]["namespace"] == space
            and matches(policy["spec"].get("podSelector") or {}, pod["metadata"].get("labels"))
        ]
        for kind, side, other, peers in (
            ("Ingress", "-d", "-s", "from"),
            ("Egress", "-s", "-d", "to"),
        ):
            isolating = [spec for spec in about if kind in _types(spec)]
            if not isolating:
                continue
            chain = f"MULTIDEV-{kind[:2]}-{address}"
            yield f"-A {CHAIN} {side} {address} -j {chain}"
            for rule in (rule for spec in isolating for rule in spec.get(kind.lower()) or []):
                for target in _targets(rule.get(peers), space, there, spaces):
                    match = f" {other} {target}" if target else ""
                    for port in _ports(rule, pod):
                        yield f"-A {chain}{match}{port} -j RETURN"
            yield f"-A {chain} -j DROP"


def matches(selector: Object, labels: Object | None) -> bool:
    """Return True if a label selector fits labels."""
    there = labels or {}
    expressions = {
        "In": lambda key, values: there.get(key) in values,
        "NotIn": lambda key, values: there.get(key) not in values,
        "Exists": lambda key, values: key in there,
        "DoesNotExist": lambda key, values: key not in there,
    }
    return (selector.get("matchLabels") or {}).items() <= there.items() and all(
        expressions[each["operator"]](each["key"], each.get("values") or [])
        for each in selector.get("matchExpressions") or []
    )


def _has_address(pod: Object) -> bool:
    status = pod["status"]
    return bool(
        status.get("podIP")
        and not pod["spec"].get("hostNetwork")
        and status.get("phase") in {"Pending", "Running"}
    )


def _types(spec: Object) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _targets(
    peers: Iterable[Object] | None, space: str, pods: Iterable[Object], spaces: dict[str, Object]
) -> Iterator[str]:
    """Yield the addresses and networks that a rule names; an empty string for all."""
    if not peers:
        yield ""
        return
    for peer in peers:
        if "ipBlock" in peer:
            yield from map(str, _without(peer["ipBlock"]["cidr"], peer["ipBlock"].get("except")))
            continue
        for pod in pods:
            meta = pod["metadata"]
            if "namespaceSelector" in peer:
                is_there = matches(peer["namespaceSelector"], spaces.get(meta["namespace"]))
            else:
                is_there = meta["namespace"] == space
            if is_there and matches(peer.get("podSelector") or {}, meta.get("labels")):
                yield pod["status"]["podIP"]


def _without(cidr: str, excepted: Iterable[str] | None) -> list[IPv4Network]:
    """Return the networks of IPv4 that make up a block without parts of it, which may overlap."""
    block, *holes = (ipaddress.ip_network(each, strict=False) for each in (cidr, *(excepted or ())))
    # Pods have no address of IPv6 here.
    left = [block] if isinstance(block, IPv4Network) else []
    for hole in holes:
        if isinstance(hole, IPv4Network):
            left = [part for network in left for part in _cut(network, hole)]
    return sorted(left)


def _cut(network: IPv4Network, hole: IPv4Network) -> Iterable[IPv4Network]:
    if network.subnet_of(hole):
        return ()
    return network.address_exclude(hole) if hole.subnet_of(network) else (network,)


def _ports(rule: Object, pod: Object) -> Iterator[str]:
    """Yield iptables' matches of a rule's ports; an empty string for all.

    A port by name is looked up in the pod that the policy is about, as is right for Ingress. The
    chart's Egress rules have numbers.
    """
    for port in rule.get("ports") or [{}]:
        if not port:
            yield ""
            continue
        match = f" -p {port.get('protocol', 'TCP').lower()}"
        number = port.get("port")
        if isinstance(number, str):
            named = [
                each["containerPort"]
                for container in pod["spec"]["containers"]
                for each in container.get("ports") or []
                if each.get("name") == number
            ]
            if not named:
                continue
            number = named[0]
        if number:
            match += f" --dport {number}" + (f":{port['endPort']}" if "endPort" in port else "")
        yield match

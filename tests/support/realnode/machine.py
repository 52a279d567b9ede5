"""One real node on this machine: containerd, kubelet and kube-proxy beside the control plane.

Its programs lie beside those of the control plane (KUBEBUILDER_ASSETS), the CNI plugins in `cni/`
there. It needs root, and is the only node of its kind on a machine: kube-proxy's rules are the
kernel's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tests.support.controlplane import ControlPlane, assets, free_ports
from tests.support.issuer import Issuer, trusting
from tests.support.realnode.addons import Addons

PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kube-proxy")
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
TOOLS = ("conntrack", "ip", "iptables", "nft", "runc", "sysctl")
"""Of the system: packages conntrack, iproute2, iptables, nftables, runc, procps."""
NAME = "node"
BRIDGE = "multidev0"
GATEWAY = "10.247.0.1"
PODS = "10.247.0.0/24"
SERVICES = "10.248.0.0/16"
API = "10.248.0.1"
"""The API server's Service: the first address of that range."""
READY_SECONDS = 120


def lacking() -> list[str]:
    """Return what this machine lacks to run a node, as a message."""
    folder = assets()
    found = [] if os.geteuid() == 0 else ["root"]
    if folder is None:
        return [*found, "KUBEBUILDER_ASSETS, a folder of a control plane's programs"]
    wanted = (*PROGRAMS, *(f"cni/{plugin}" for plugin in PLUGINS))
    found += [f"{folder}/{name}" for name in wanted if not os.access(folder / name, os.X_OK)]
    return found + [name for name in TOOLS if shutil.which(name) is None]


class Plane(ControlPlane):
    """A control plane whose pods are run by a real kubelet, and reach it."""

    address = GATEWAY
    known_as = (API,)
    api_options = (
        f"--service-cluster-ip-range={SERVICES}",
        "--endpoint-reconciler-type=lease",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
    )


class RealNode:
    """A cluster of one node.

    Args:
        folder: its programs.
        root: where its files go; on a file system that can be a layer of an overlay.
        registry: host and port on loopback of a registry without TLS, for images.
        pause: an image in it that does nothing, for the pods' own containers.
        issuer: whose tokens the API server trusts.

    Attributes:
        plane: its control plane.
    """

    def __init__(self, folder: Path, root: Path, registry: str, pause: str, issuer: Issuer) -> None:
        self._folder = folder
        self._root = root
        self._registry = registry
        self._pause = pause
        # The path of a socket must be short.
        self._state = Path("/run") / root.name
        self._socket = self._state / "containerd.sock"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._containerd: subprocess.Popen[bytes] | None = None
        (root / "plane").mkdir()
        self.plane = Plane(folder, root / "plane")
        trust = trusting(issuer, root / "authentication.yaml")
        self.plane.api_options = (*Plane.api_options, trust)
        self._addons: Addons | None = None

    def __enter__(self) -> RealNode:
        try:
            self._lay_network()
            self.plane.start()
            self._start_containerd()
            self._start_kubelet()
            self._start_proxy()
            api = Transport("test", str(self.plane.kubeconfig), READY_SECONDS)
            self._addons = Addons(api, GATEWAY, self._root / "volumes")
            self._addons.start()
            self._wait_ready(api)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything, and leave nothing on the machine."""
        with contextlib.ExitStack() as whatever_happens:
            whatever_happens.callback(self._end)
            if self._addons:
                self._addons.stop()

    def _end(self) -> None:
        # The kubelet first: it would start again what ends.
        for process in reversed(self._processes):
            if process is self._containerd:
                self._end_containers()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()
        self.plane.stop()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            target = line.split()[1]
            if target.startswith((f"{self._root}/", f"{self._state}/")):
                _quietly("umount", "--lazy", target)
        _quietly("ip", "link", "delete", BRIDGE)
        for way in ("-i", "-o"):
            _quietly("iptables", "--wait", "-D", "FORWARD", way, BRIDGE, "-j", "ACCEPT")
        for family in ("ip", "ip6"):
            _quietly("nft", "delete", "table", family, "kube-proxy")
        shutil.rmtree(self._state, ignore_errors=True)

    # -- its parts ----------------------------------------------------------------------------

    def _lay_network(self) -> None:
        """Make the bridge that the first pod would make: the name and API servers listen on it."""
        for words in (
            f"ip link add {BRIDGE} type bridge",
            f"ip addr add {GATEWAY}/24 dev {BRIDGE}",
            f"ip link set {BRIDGE} up",
            # Docker lets nothing through that it does not know.
            f"iptables --wait -I FORWARD -i {BRIDGE} -j ACCEPT",
            f"iptables --wait -I FORWARD -o {BRIDGE} -j ACCEPT",
            "sysctl -qw net.ipv4.ip_forward=1",
        ):
            subprocess.run(words.split(), check=True, capture_output=True)
        # Traffic between pods of one bridge passes the packet filter only with this.
        if not Path("/proc/sys/net/bridge").exists():
            subprocess.run(["modprobe", "br_netfilter"], check=True)
        subprocess.run(
            ["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"], check=True, text=True
        )
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": True}
        bridge |= {"hairpinMode": True, "ipam": {**ipam, "dataDir": str(self._root / "addresses")}}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
        (self._root / "network").mkdir()
        (self._root / "network" / "10-pods.conflist").write_text(json.dumps(network))

    def _start_containerd(self) -> None:
        hosts = self._root / "hosts" / self._registry
        hosts.mkdir(parents=True)
        (hosts / "hosts.toml").write_text(
            f'server = "http://{self._registry}"\n'
            f'[host."http://{self._registry}"]\n'
            'capabilities = ["pull", "resolve"]\n'
        )
        config = f"""
            version = 3
            root = "{self._root}/containerd"
            state = "{self._state}"
            [grpc]
              address = "{self._socket}"
            [plugins.'io.containerd.cri.v1.images'.pinned_images]
              sandbox = "{self._pause}"
            [plugins.'io.containerd.cri.v1.images'.registry]
              config_path = "{self._root}/hosts"
            [plugins.'io.containerd.cri.v1.runtime'.cni]
              bin_dirs = ["{self._folder}/cni"]
              conf_dir = "{self._root}/network"
            [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"
            [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
              BinaryName = "{self._runc()}"
              SystemdCgroup = false
        """
        path = self._root / "containerd.toml"
        path.write_text(textwrap.dedent(config))
        self._containerd = self._run("containerd", "--config", str(path))
        _until(self._socket.exists, "containerd has no socket")

    def _runc(self) -> Path:
        """Return runc, or a way around the rights that a container of its own may lack.

        The kubelet asks for a negative oom_score_adj for its pods' own containers, which some
        machines, nested in others, forbid.
        """
        runc = shutil.which("runc")
        assert runc, "there is no runc"
        mine = Path("/proc/self/oom_score_adj")
        before = mine.read_text()
        try:
            mine.write_text("-999")
        except PermissionError:
            lift = self._root / "runc"
            lift.write_text(LIFT.format(runc=runc))
            lift.chmod(0o755)
            return lift
        mine.write_text(before)
        return Path(runc)

    def _start_kubelet(self) -> None:
        pki = self.plane.pki
        pki.issue("kubelet", f"system:node:{NAME}", "system:nodes")
        kubeconfig = self.plane.write_kubeconfig(self._root / "kubelet.kubeconfig", "kubelet")
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(pki.root / "ca.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "address": GATEWAY,
            "clusterDNS": [GATEWAY],
            "clusterDomain": "cluster.local",
            "podCIDR": PODS,
            # This machine's disk is nobody's business here.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            # The defaults are for fleets: events would come late when much happens at once.
            "eventRecordQPS": 0,
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
        }
        path = self._root / "kubelet.json"
        path.write_text(json.dumps(config))
        self._run(
            "kubelet",
            *(f"--config={path}", f"--kubeconfig={kubeconfig}", f"--hostname-override={NAME}"),
            *(f"--node-ip={GATEWAY}", f"--root-dir={self._root}/kubelet"),
            f"--cert-dir={self._root}/kubelet-certificates",
        )

    def _start_proxy(self) -> None:
        healthz, metrics = free_ports(2)
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.plane.kubeconfig)},
            "clusterCIDR": PODS,
            "hostnameOverride": NAME,
            "mode": "nftables",
            "healthzBindAddress": f"127.0.0.1:{healthz}",
            "metricsBindAddress": f"127.0.0.1:{metrics}",
            # Limits of the machine: left as they are.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s"}
            | {"tcpCloseWaitTimeout": "0s"},
        }
        path = self._root / "proxy.json"
        path.write_text(json.dumps(config))
        self._run("kube-proxy", f"--config={path}")
        rules = ["nft", "list", "table", "ip", "kube-proxy"]

        def has_rules() -> bool:
            return subprocess.run(rules, capture_output=True, check=False).returncode == 0

        _until(has_rules, f"kube-proxy serves no Services: see {self._root}/kube-proxy.log")

    def _end_containers(self) -> None:
        ctr = [str(self._folder / "ctr"), f"--address={self._socket}", "--namespace=k8s.io"]
        listed = subprocess.run(
            [*ctr, "tasks", "ls", "-q"], capture_output=True, text=True, check=False
        )
        for task in listed.stdout.split():
            _quietly(*ctr, "tasks", "delete", "--force", task)

    def _wait_ready(self, api: Transport) -> None:
        def is_ready() -> bool:
            items = api.json(ApiRequest("GET", "/api/v1/nodes")).get("items") or []
            return any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for node in items
                for condition in node["status"].get("conditions", [])
            )

        _until(is_ready, f"the node is not ready: see {self._root}/kubelet.log")

    def _run(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        path = f"{self._folder}:{os.environ['PATH']}"
        with (self._root / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self._folder / program), *options],
                cwd=self._root,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process


LIFT = """\
#!/bin/sh
# runc, with a forbidden oom_score_adj lifted to 0.
case " $* " in
  *" create "*)
    bundle=$(printf '%s' "$*" | sed -n 's/.*--bundle \\([^ ]*\\).*/\\1/p')
    sed -i 's/"oomScoreAdj": *-[0-9]*/"oomScoreAdj":0/' "$bundle/config.json"
    ;;
esac
exec {runc} "$@"
"""


def _quietly(*argv: str) -> None:
    """Run a command whose failure is ignored."""
    subprocess.run(argv, capture_output=True, check=False)


def _until(condition: Callable[[], bool], words: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)

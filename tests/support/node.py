"""A node for the control plane of the tests: it registers, and simulates the kubelet of its pods.

A pod's annotation ``test.mautic-multidev/fate`` says what becomes of it, e.g. ``crash-loop``,
``slow:5`` or ``fpm=image-missing,nginx=slow:2``; without one its containers start and become
ready, and those of a Job succeed. What a fate is named after is what it does:

ready · slow:SECONDS · flapping · crash-early:TIMES · crash-loop · crash-after-ready · oom ·
start-error · never-ready:STATUS|refused|timeout · killed:startup|liveness · image-missing ·
image-registry-busy:TIMES · init-failure · init-silent · init-waits:CODE or init-waits:CODE/SECONDS
· init-gives-up:CODE · noisy (benign warnings) · runs-as-root · config-error · create-error ·
mount-failed · evicted · job-slow:SECONDS · job-fail · waits:CODE or waits:CODE/SECONDS (of a Job)
· gives-up:CODE

What waits or gives up says so in the words of the images' programs.

No fate is needed for an invalid image name or a missing Secret, ConfigMap or key: the node looks,
as a kubelet does. What no node can take is left to the real scheduler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.transport import ApiRequest, Stop, Transport
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.core.errors import ClusterError
from tests.support.kubelet import Container, Object, Play, stamp
from tests.support.nodeserver import KubeletServer, Network

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

PATIENCE_SECONDS = 120.0
"""Longer than any test lets the API server be away."""
READY_SECONDS = 30.0


class Node:
    """The only node of a control plane.

    Attributes:
        decide: returns a pod's fate; may be replaced.
        log: returns what a pod's containers log at their start; may be replaced.
        errors: what went wrong in the node itself; stopping it raises the first one.
        network: gives pods addresses and serves a site there, where this machine allows it.
    """

    FATE = "test.mautic-multidev/fate"
    LOG = "test.mautic-multidev/log"
    """A line that every container of the pod logs at its start."""
    ADDRESS = "127.0.0.1"

    def __init__(self, plane: ControlPlane, name: str = "node-1") -> None:
        self.name = name
        self.errors: list[Exception] = []
        self.decide: Callable[[Object], str] = lambda pod: (
            pod["metadata"].get("annotations", {}).get(self.FATE, "")
        )
        self.log: Callable[[Object], str] = lambda pod: (
            pod["metadata"].get("annotations", {}).get(self.LOG, "")
        )
        self._api = Transport("test", str(plane.kubeconfig), PATIENCE_SECONDS)
        self._cluster = Cluster("test", str(plane.kubeconfig), patience=PATIENCE_SECONDS)
        self._plays: dict[str, Play] = {}
        self._stop = Stop()
        self._watch = threading.Thread(target=self._follow, daemon=True, name="node")
        plane.pki.issue("kubelet", f"system:node:{name}", "system:nodes", server=True)
        self._server = KubeletServer(self.container, plane.pki.root, _programs(plane))
        self.network = Network()

    def __enter__(self) -> Self:
        self._server.start()
        self._register()
        self.network.start()
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._watch.join()
        for play in list(self._plays.values()):
            play.gone.set()
        for play in list(self._plays.values()):
            play.join()
        self._server.stop()
        self.network.stop()
        if self.errors:
            raise self.errors[0]

    def container(self, namespace: str, pod: str, name: str) -> Container | None:
        """Return a container that is simulated on this node."""
        for play in list(self._plays.values()):
            if (play.namespace, play.name_) == (namespace, pod):
                for container in (*play.inits, *play.containers):
                    if container.name == name:
                        return container
        return None

    # -- what plays ask of the API ------------------------------------------------------------

    def create(self, manifest: Object) -> None:
        """Create an object."""
        self._cluster.create(manifest)

    def patch(self, kind: str, namespace: str, name: str, patch: Object, sub: str = "") -> None:
        """Change an object, or a part of it such as its status."""
        path = KINDS[kind].path(namespace, name, sub)
        self._api.json(ApiRequest("PATCH", path, {}, patch, "application/merge-patch+json"))

    def forget(self, namespace: str, pod: str, uid: str) -> None:
        """Tell the API that a pod's containers have ended: it may forget the pod."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        self._api.json(ApiRequest("DELETE", KINDS["Pod"].path(namespace, pod), body=body))

    def missing_environment(self, pod: Object, container: Object) -> Iterator[str]:
        """Yield the missing objects that a container's environment refers to."""
        namespace = pod["metadata"]["namespace"]
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source and not source[field].get("optional"):
                    name = source[field]["name"]
                    if self._cluster.get(kind, name, namespace) is None:
                        yield f'{kind.lower()} "{name}" not found'
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if field not in source or source[field].get("optional"):
                    continue
                name, key = source[field]["name"], source[field]["key"]
                found = self._cluster.get(kind, name, namespace)
                if found is None:
                    yield f'{kind.lower()} "{name}" not found'
                elif key not in found.get("data", {}):
                    yield f"couldn't find key {key} in {kind} {namespace}/{name}"

    def missing_volumes(self, pod: Object) -> Iterator[tuple[str, str]]:
        """Yield each volume that refers to what the namespace lacks, and the kubelet's words."""
        for volume in pod["spec"].get("volumes", []):
            sources = volume.get("projected", {}).get("sources", [volume])
            for source in sources:
                for field, kind, named in (
                    ("configMap", "ConfigMap", "name"),
                    ("secret", "Secret", "secretName" if source is volume else "name"),
                ):
                    if field in source and not source[field].get("optional"):
                        words = self._missing_keys(pod, kind, named, source[field])
                        if words:
                            yield volume["name"], words

    def _missing_keys(self, pod: Object, kind: str, named: str, source: Object) -> str:
        found = self._cluster.get(kind, source[named], pod["metadata"]["namespace"])
        if found is None:
            return f'{kind.lower()} "{source[named]}" not found'
        for item in source.get("items", []):
            if item["key"] not in found.get("data", {}):
                start = "" if kind == "Secret" else "configmap "
                what = "secret" if kind == "Secret" else "config"
                return f"{start}references non-existent {what} key: {item['key']}"
        return ""

    # -- pods come and go -----------------------------------------------------------------------

    def _follow(self) -> None:
        try:
            self._cluster.watch("Pod", None, self._take, stop=self._stop)
        except Exception as error:  # told when the node stops
            self.errors.append(error)

    def _take(self, change: WatchEvent) -> None:
        if change.type == "SYNCED":
            items = change.object["items"]
            for uid in set(self._plays) - {pod["metadata"]["uid"] for pod in items}:
                self._plays.pop(uid).gone.set()
            for pod in items:
                self._take(WatchEvent("Pod", "MODIFIED", pod))
            return
        pod = change.object
        if pod["spec"].get("nodeName") != self.name:
            return
        uid = pod["metadata"]["uid"]
        play = self._plays.get(uid)
        if change.type == "DELETED":
            if play:
                self._plays.pop(uid).gone.set()
            return
        if play is None:
            play = self._plays[uid] = Play(self, pod)
            play.start()
        if "deletionTimestamp" in pod["metadata"]:
            play.deleting.set()
            play.gone.set()

    def _register(self) -> None:
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti"}
        conditions = [
            {
                "type": kind,
                "status": "True" if kind == "Ready" else "False",
                "reason": reason,
                "message": f"kubelet {words}",
                "lastHeartbeatTime": stamp(),
                "lastTransitionTime": stamp(),
            }
            for kind, reason, words in (
                ("MemoryPressure", "KubeletHasSufficientMemory", "has sufficient memory available"),
                ("DiskPressure", "KubeletHasNoDiskPressure", "has no disk pressure"),
                ("PIDPressure", "KubeletHasSufficientPID", "has sufficient PID available"),
                ("Ready", "KubeletReady", "is posting ready status"),
            )
        ]
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
        labels |= {"kubernetes.io/arch": "amd64"}
        metadata = {"name": self.name, "labels": labels}
        self.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        status: dict[str, Any] = {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            # No host name: the API server would prefer it, and nobody resolves it.
            "addresses": [{"type": "InternalIP", "address": self.ADDRESS}],
            # Without it the API server speaks SPDY to a node for exec.
            "declaredFeatures": ["ExtendWebSocketsToKubelet"],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.port}},
        }
        path = KINDS["Node"].path(name=self.name, sub="status")
        request = ApiRequest("PATCH", path, {}, {"status": status}, "application/merge-patch+json")
        self._api.json(request)
        waiter = threading.Event()
        for _ in range(int(READY_SECONDS / 0.1)):
            node = self._cluster.get("Node", self.name)
            if node and not node["spec"].get("taints"):
                return
            waiter.wait(0.1)
        raise ClusterError(f"node/{self.name} kept its taint for {READY_SECONDS:.0f} s")


def _programs(plane: ControlPlane) -> Path:
    """Return a folder with what containers have and this machine has not: `mautic`."""
    folder = plane.pki.root / "programs"
    folder.mkdir(exist_ok=True)
    program = folder / "mautic"
    program.write_text(MAUTIC)
    program.chmod(0o755)
    return folder


MAUTIC = """\
#!/bin/sh
# In place of the image's entry point: says where it is and which words it was given. Of scheduled
# commands it knows one, of migrations one as well, which its database has.
if [ "$*" = "cron status" ]; then
  echo '[{"name": "import", "schedule": "@hourly", "enabled": true, "running": false,' \
    '"result": "exit 0", "startedAt": "2026-11-22T10:00:00+00:00", "next": null}]'
  exit
fi
case "$*" in
  "database snapshots") exit ;;
  "database connections") exec echo '{"most": 151, "used": 12}' ;;
  "database migrations")
    exec echo '{"mautic": "7.0.0", "known": ["Version1"], "recorded": ["Version1"]}' ;;
  "queue")
    failed='{"id": "7", "class": "Acme\\\\Mail", "since": null, "error": "no route"}'
    [ ! -e "${0%/*}/../queue-removed" ] || failed=
    printf '{"queues": {"failed": {"waiting": %s, "taken": 0}}, "failed": [%s]}\\n' \
      "$([ -z "$failed" ] && echo 0 || echo 1)" "$failed"
    exit ;;
  "console --no-interaction messenger:failed:remove 7 --force")
    exec touch "${0%/*}/../queue-removed" ;;
esac
echo "$POD $CONTAINER"
for word; do echo "<$word>"; done
"""

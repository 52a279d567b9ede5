"""Plays a kubelet's work on one pod by a script: its containers, its status, its events.

The wording of states, conditions and events is the real kubelet's (pkg/kubelet: images,
kuberuntime, status/generate.go, kubelet_pods.go of Kubernetes 1.36) and containerd's.
"""

from __future__ import annotations

import heapq
import itertools
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.core.errors import ClusterError
from tests.support import fates
from tests.support.fates import PACE, Steps

if TYPE_CHECKING:
    from tests.support.node import Node

Object = dict[str, Any]


class Container:
    """One container of a pod, with its status."""

    def __init__(self, spec: Object, kind: str, fate: str) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.kind = kind
        self.fate, _, self.argument = fate.partition(":")
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last: Object = {}
        self.restarts = 0
        self.ready = False
        self.started = False
        self.id = ""
        self.over = False
        self.logs: list[list[str]] = []

    def status(self) -> Object:
        """Return the container's status in the API's format."""
        image = self.spec["image"]
        digest = image.rpartition("@")[2] if "@" in image else f"sha256:{'0' * 64}"
        return {
            "name": self.name,
            "image": image,
            "imageID": f"{image.partition('@')[0]}@{digest}" if self.id else "",
            **({"containerID": self.id} if self.id else {}),
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
        }

    def wait(self, reason: str, message: str = "") -> None:
        """Set the state to waiting; the last termination is kept."""
        if "terminated" in self.state:
            self.last = self.state
        words = {"message": message} if message else {}
        self.state = {"waiting": {"reason": reason, **words}}

    def run(self) -> None:
        """Start, or restart."""
        if self.id:
            if "terminated" in self.state:
                self.last = self.state
            self.restarts += 1
        self.id = f"containerd://{secrets.token_hex(32)}"
        self.state = {"running": {"startedAt": stamp()}}
        self.started = "startupProbe" not in self.spec
        self.logs.append([f"{self.name}: start number {self.restarts + 1}"])

    def end(self, code: int, reason: str, message: str = "") -> None:
        """End; how, may stand in the log's end, as the pod's spec wants it."""
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = message or "\n".join(self.logs[-1][-80:])
        began = self.state.get("running", {}).get("startedAt", "1970-01-01T00:00:00Z")
        self.state = {
            "terminated": {
                "containerID": self.id,
                "exitCode": code,
                "reason": reason,
                **({"message": message} if message else {}),
                "startedAt": began,
                "finishedAt": stamp(),
            }
        }
        self.ready = self.kind == "init" and code == 0
        self.started = False

    @property
    def ended(self) -> int | None:
        """The exit code of a container that is terminated."""
        code = self.state.get("terminated", {}).get("exitCode")
        return None if code is None else int(code)


class Play(threading.Thread):
    """Plays one pod from its binding to its end."""

    def __init__(self, node: Node, pod: Object) -> None:
        super().__init__(daemon=True, name=f"pod {pod['metadata']['name']}")
        self.node = node
        self.pod = pod
        self.namespace: str = pod["metadata"]["namespace"]
        self.name_: str = pod["metadata"]["name"]
        self.uid: str = pod["metadata"]["uid"]
        self.gone = threading.Event()
        self.deleting = threading.Event()
        self.ip = ""
        self._said: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._conditions: dict[str, tuple[str, str]] = {}
        self._published: Object = {}
        self._began = stamp()
        self._heap: list[tuple[float, int, Steps]] = []
        self._number = itertools.count()
        spec = pod["spec"]
        self.jobs = spec.get("restartPolicy", "Always") != "Always"
        script = _read(node.decide(pod), spec)
        self.inits = [
            Container(c, "init", script.get(c["name"], "")) for c in spec.get("initContainers", [])
        ]
        self.containers = [
            Container(c, "app", script.get(c["name"], "")) for c in spec["containers"]
        ]
        self.noisy = "noisy" in script.values()
        self.unmountable = "mount-failed" in script.values()
        self._evicted = ""
        if self.inits:
            for container in self.containers:
                container.wait("PodInitializing")

    # -- the clock --------------------------------------------------------------------------

    def run(self) -> None:
        """Play until the pod is gone."""
        try:
            self._begin(self._life())
            while self._heap and not self.gone.is_set():
                at, _, steps = heapq.heappop(self._heap)
                if self.gone.wait(max(0.0, at - time.monotonic())):
                    break
                pause = next(steps, None)
                self._publish()
                if pause is not None:
                    self._begin(steps, pause)
            self.gone.wait()
            if self.deleting.is_set():
                self._remove()
        except ClusterError as error:
            # 404: deleted under our hands. 403 and 409: its namespace is going, or its successor
            # has the name by now.
            if error.status not in {403, 404, 409}:
                self.node.errors.append(error)
        except Exception as error:  # told when the node stops: a thread has nobody to tell
            self.node.errors.append(error)
        finally:
            self.node.network.close(self.ip)

    def _begin(self, steps: Steps, pause: float = 0.0) -> None:
        heapq.heappush(self._heap, (time.monotonic() + pause, next(self._number), steps))

    # -- the life of a pod --------------------------------------------------------------------

    def _life(self) -> Steps:
        yield 0.0  # the first status: accepted, nothing started
        if self.noisy:
            self.event("Warning", "MissingClusterDNS", f'pod: "{self.name_}". {NO_DNS}')
            self.event("Warning", "FailedMount", SLOW_VOLUME)
        pause = 0.5
        while missing := list(self.node.missing_volumes(self.pod)):
            for volume, message in missing:
                words = f'MountVolume.SetUp failed for volume "{volume}" : {message}'
                self.event("Warning", "FailedMount", words)
            yield pause / PACE
            pause = min(pause * 2, 122)
        while self.unmountable:
            self.event("Warning", "FailedMount", BROKEN_MOUNT)
            yield pause / PACE
        self.ip = self.node.network.address()
        for container in self.inits:
            sidecar = container.spec.get("restartPolicy") == "Always"
            yield from fates.init(self, container, sidecar=sidecar)
            if not container.ready and not sidecar:
                return
        for container in self.containers:
            if "waiting" in container.state:
                container.wait("ContainerCreating")
        ports = [p["containerPort"] for c in self.containers for p in c.spec.get("ports", [])]
        if not self.jobs:
            variables = {e["name"] for c in self.containers for e in c.spec.get("env", [])}
            has_door = "NGINX_DOOR_PASSWORD_FILE" in variables
            self.node.network.serve(self.ip, ports, has_door=has_door)
        for container in self.containers:
            self._begin(fates.run(self, container))

    def evict(self, message: str) -> None:
        """End every container, and the pod with them."""
        self._evicted = message
        for container in self.containers:
            if "running" in container.state:
                container.end(137, "Error")
            container.over = True
        self._heap.clear()

    # -- what the API is told ---------------------------------------------------------------------

    @property
    def long_name(self) -> str:
        return f"{self.name_}_{self.namespace}({self.uid})"

    def event(self, kind: str, reason: str, message: str, of: Container | None = None) -> None:
        """Emit an event, or count the same one up as the kubelet's recorder does."""
        field = "initContainers" if of and of.kind == "init" else "containers"
        path = f"spec.{field}{{{of.name}}}" if of else ""
        name, count = self._said.get((reason, message, path), ("", 0))
        now = stamp()
        if name:
            body = {"count": count + 1, "lastTimestamp": now}
            self.node.patch("Event", self.namespace, name, body)
        else:
            name = f"{self.name_}.{secrets.token_hex(8)}"
            self.node.create(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": self.namespace},
                    "involvedObject": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "namespace": self.namespace,
                        "name": self.name_,
                        "uid": self.uid,
                        **({"fieldPath": path} if path else {}),
                    },
                    "reason": reason,
                    "message": message,
                    "type": kind,
                    "count": 1,
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "source": {"component": "kubelet", "host": self.node.name},
                    "reportingComponent": "kubelet",
                    "reportingInstance": self.node.name,
                }
            )
        self._said[reason, message, path] = (name, count + 1)

    def _phase(self) -> str:
        """Return the phase as getPhase of kubelet_pods.go does."""
        if self._evicted:
            return "Failed"
        if any(c.kind == "init" and not c.ready for c in self.inits):
            return "Pending"
        if any("waiting" in c.state and not c.last for c in self.containers):
            return "Pending"
        if not all(c.over for c in self.containers):
            return "Running"
        return "Succeeded" if all(c.ended == 0 for c in self.containers) else "Failed"

    def _conditions_now(self, phase: str) -> Iterator[tuple[str, bool, str, str]]:
        over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
        waiting = [c.name for c in self.inits if not c.ready]
        unready = [c.name for c in self.containers if not c.ready]
        yield "PodReadyToStartContainers", bool(self.ip) and not over, "", ""
        words = f"containers with incomplete status: [{' '.join(waiting)}]"
        yield (
            "Initialized",
            not waiting,
            "ContainersNotInitialized" if waiting else over or "",
            words if waiting else "",
        )
        words = f"containers with unready status: [{' '.join(unready)}]"
        reason = over or ("ContainersNotReady" if unready else "")
        for kind in ("Ready", "ContainersReady"):
            yield kind, not unready and not over, reason, words if unready and not over else ""
        yield "PodScheduled", True, "", ""

    def _publish(self) -> None:
        phase = self._phase()
        conditions = []
        generation = self.pod["metadata"].get("generation", 1)
        for kind, holds, reason, message in self._conditions_now(phase):
            value = str(holds)
            if self._conditions.get(kind, ("", ""))[0] != value:
                self._conditions[kind] = (value, stamp())
            conditions.append(
                {
                    "type": kind,
                    "status": value,
                    "observedGeneration": generation,
                    "lastProbeTime": None,
                    "lastTransitionTime": self._conditions[kind][1],
                    **({"reason": reason} if reason else {}),
                    **({"message": message} if message else {}),
                }
            )
        status: Object = {
            "phase": phase,
            "observedGeneration": generation,
            "conditions": conditions,
            "hostIP": self.node.ADDRESS,
            "hostIPs": [{"ip": self.node.ADDRESS}],
            "startTime": self._began,
            "containerStatuses": [container.status() for container in self.containers],
        }
        if self._evicted:
            status |= {"reason": "Evicted", "message": self._evicted}
        if self.inits:
            status["initContainerStatuses"] = [container.status() for container in self.inits]
        if self.ip:
            status |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}]}
        if status != self._published:
            self.node.patch("Pod", self.namespace, self.name_, {"status": status}, "status")
            self._published = status

    def _remove(self) -> None:
        """End what runs, as after SIGTERM, and let the API forget the pod."""
        for container in (*self.inits, *self.containers):
            if "running" in container.state:
                container.end(0, "Completed")
            container.over = True
            if "waiting" in container.state:
                container.state = container.last or container.state
        self._publish()
        self.node.forget(self.namespace, self.name_, self.uid)


NO_DNS = (
    "kubelet does not have ClusterDNS IP configured and cannot create Pod using "
    '"ClusterFirst" policy. Falling back to "Default" policy.'
)
SLOW_VOLUME = (
    "Unable to attach or mount volumes: unmounted volumes=[media], unattached volumes=[], "
    "failed to process volumes=[]: timed out waiting for the condition"
)
BROKEN_MOUNT = (
    'MountVolume.SetUp failed for volume "media" : rpc error: code = Internal desc = '
    'Could not mount "fs-1:/" at "/var/lib/kubelet": mount failed: exit status 1'
)


def stamp() -> str:
    """Return the present time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(text: str, spec: Object) -> dict[str, str]:
    """Read `fate`, `container=fate` and `fate:argument`, separated by commas."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        container, equals, fate = part.rpartition("=")
        if not equals:
            first = "initContainers" if fate.startswith("init-") else "containers"
            container = spec[first][0]["name"]
        found[container] = fate
    return found

"""The fates of containers on the tests' node, selected by an annotation of the pod.

The wording is the kubelet's (pkg/kubelet/images, kuberuntime of Kubernetes 1.36) and containerd's.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.kubelet import Container, Play

Steps = Generator[float, None, None]
"""A script: it yields the seconds until it goes on."""

PACE = 20.0
"""How much faster than in a real kubelet back-offs, probes and retries pass."""
START_SECONDS = 0.2
"""How long anything takes to start, and a readiness probe to succeed."""
IMAGE_NAME = re.compile(
    r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)

NO_ADDRESS = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for "
    'sandbox "{}": plugin type="host-local" failed (add): failed to allocate for range 0: no IP '
    "addresses available in range set: 10.244.0.1-10.244.0.254"
)


def init(play: Play, container: Container, *, sidecar: bool) -> Steps:
    """Play an init container to its success, or for ever."""
    yield from create(play, container)
    if container.fate in {"init-failure", "init-gives-up"}:
        yield from crash_loop(play, container)
        return
    yield from start(play, container)
    if container.fate == "init-waits":
        yield from wait(play, container)
    while container.fate == "init-silent":
        container.logs[-1].append(f"{container.name}: still counting")
        yield 15 / PACE
    if sidecar:
        container.ready = container.started = True
        return
    yield START_SECONDS
    container.end(0, "Completed")
    yield 0.0


def run(play: Play, container: Container) -> Steps:
    """Play an ordinary container."""
    yield from create(play, container)
    if container.fate not in FATES:
        raise ValueError(f"{play.name_}: there is no fate {container.fate!r}")
    yield from FATES[container.fate](play, container)


def ready(play: Play, container: Container) -> Steps:
    """Start and become ready; the container of a Job succeeds."""
    if container.fate == "slow":
        yield float(container.argument or 2)
    yield from start(play, container)
    if container.fate == "waits":
        yield from wait(play, container)
    if play.jobs:
        yield float(container.argument or 2) if container.fate == "job-slow" else START_SECONDS
        container.logs[-1].append(f"{container.name}: done")
        container.end(0, "Completed")
        container.over = True
        yield 0.0
        return
    if container.fate == "noisy":
        unhealthy(play, container)
    yield from become_ready(play, container)


def become_ready(play: Play, container: Container) -> Steps:
    """Let the first probe succeed."""
    if "readinessProbe" in container.spec or "startupProbe" in container.spec:
        yield START_SECONDS
    container.ready = container.started = True
    yield 0.0


def wait(play: Play, container: Container) -> Steps:
    """Log what the container waits for, as the images' programs do; `CODE/SECONDS` ends it."""
    code, _, seconds = container.argument.partition("/")
    for _ in range(int(float(seconds) * PACE / 15)) if seconds else itertools.count():
        container.logs[-1].append(says(play, "waiting", code))
        yield 15 / PACE
    container.logs[-1].append(f"{'migrate' if play.jobs else 'wait'}: it is there")


def says(play: Play, state: str, code: str) -> str:
    """Return the message of one of the images' programs when it waits or has given up."""
    program = "migrate" if play.jobs else "wait"
    return f"{program}: {state} [{code}]: it is {code.replace('-', ' ')}"


def never_ready(play: Play, container: Container) -> Steps:
    """Run, but never become ready: its probe gets a status, or `refused`, or `timeout`."""
    yield from start(play, container)
    while True:
        unhealthy(play, container, "readiness", container.argument or "503")
        yield 10 / PACE


def killed(play: Play, container: Container) -> Steps:
    """Be restarted again and again by the kubelet because of a failing probe."""
    delay = 10
    while True:
        yield from start(play, container)
        yield START_SECONDS
        unhealthy(play, container, container.argument, "500")
        words = f"Container {container.name} failed {container.argument} probe, will be restarted"
        play.event("Normal", "Killing", words, container)
        yield START_SECONDS
        container.end(137, "Error")
        yield 0.1
        where = f"failed container={container.name} pod={play.long_name}"
        container.wait("CrashLoopBackOff", f"back-off {go(delay)} restarting {where}")
        yield delay / PACE
        delay = min(delay * 2, 300)


def flapping(play: Play, container: Container) -> Steps:
    """Become ready and unready, and finally settle."""
    yield from start(play, container)
    for _ in range(2):
        container.ready = container.started = True
        yield 2 * START_SECONDS
        container.ready = False
        unhealthy(play, container)
        yield 2 * START_SECONDS
    container.ready = True
    yield 0.0


def crash_loop(play: Play, container: Container) -> Steps:
    """Crash repeatedly with the kubelet's back-off, for ever or some times only."""
    code, reason = (137, "OOMKilled") if container.fate == "oom" else (1, "Error")
    last = f"{container.name}: fatal, exit code {code}"
    if container.fate.endswith("gives-up"):
        code, last = 77, says(play, "failed", container.argument)
    times = int(container.argument or 3) if container.fate == "crash-early" else None
    delay = 10
    for crash in itertools.count(1):
        yield from start(play, container)
        if container.fate == "crash-after-ready":
            yield from become_ready(play, container)
            yield 1.0
        elif times is not None and crash > times:
            yield from become_ready(play, container)
            return
        yield START_SECONDS
        container.logs[-1].append(last)
        container.end(code, reason)
        if play.pod["spec"].get("restartPolicy") == "Never":
            container.over = True
            yield 0.0
            return
        yield 0.1
        if crash > 1:  # the first restart is not backed off
            where = f"container {container.name} in pod {play.long_name}"
            play.event("Warning", "BackOff", f"Back-off restarting failed {where}", container)
            words = f"failed container={container.name} pod={play.long_name}"
            container.wait("CrashLoopBackOff", f"back-off {go(delay)} restarting {words}")
            yield delay / PACE
            delay = min(delay * 2, 300)


def evicted(play: Play, container: Container) -> Steps:
    """Run for a while, until the node is low on memory and the whole pod has to go."""
    yield from start(play, container)
    yield from become_ready(play, container)
    yield START_SECONDS
    words = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. "
    play.event("Warning", "Evicted", words)
    play.evict(words)
    yield 0.0


def start_error(play: Play, container: Container) -> Steps:
    """Fail to start: the image lacks the command."""
    delay = 10
    words = (
        "failed to create containerd task: failed to create shim task: OCI runtime create "
        "failed: runc create failed: unable to start container process: error during "
        f'container init: exec: "{(container.spec.get("command") or ["/nope"])[0]}": '
        "executable file not found in $PATH"
    )
    while True:
        container.run()
        container.state, container.logs[-1] = {}, []
        container.end(128, "StartError", f"{words}: unknown")
        play.event("Warning", "Failed", f"Error: {words}: unknown", container)
        container.wait("RunContainerError", f"{words}: unknown")
        yield 1.0
        words_ = f"failed container={container.name} pod={play.long_name}"
        container.wait("CrashLoopBackOff", f"back-off {go(delay)} restarting {words_}")
        yield delay / PACE
        delay = min(delay * 2, 300)


def create(play: Play, container: Container) -> Steps:
    """Get a sandbox, the image, and what the environment refers to."""
    while container.fate == "sandbox-failed":
        play.event("Warning", "FailedCreatePodSandBox", NO_ADDRESS.format(secrets.token_hex(32)))
        yield 12 / PACE
    yield from pull(play, container)
    while message := next(iter(play.node.missing_environment(play.pod, container.spec)), None):
        yield from refuse(play, container, "CreateContainerConfigError", message)
    where = f'(pod: "{play.long_name}", container: {container.name})'
    reason, message = {
        "runs-as-root": (
            "CreateContainerConfigError",
            f"container has runAsNonRoot and image will run as root {where}",
        ),
        "config-error": (
            "CreateContainerConfigError",
            f'failed to prepare subPath for volumeMount "media" of container "{container.name}"',
        ),
        "create-error": (
            "CreateContainerError",
            f'failed to reserve container name "{container.name}_{play.name_}": '
            "name is reserved for another container",
        ),
    }.get(container.fate, ("", ""))
    while reason:
        yield from refuse(play, container, reason, message)


def refuse(play: Play, container: Container, reason: str, message: str) -> Steps:
    """Fail to make the container, and wait until it is tried again."""
    container.wait(reason, message)
    play.event("Warning", "Failed", f"Error: {message}", container)
    yield 10 / PACE


def start(play: Play, container: Container) -> Steps:
    """Start, one more time."""
    yield START_SECONDS
    container.run()
    line = play.node.log(play.pod)
    if line:
        container.logs[-1].append(line)
    play.event("Normal", "Created", "Container created", container)
    play.event("Normal", "Started", "Container started", container)
    yield 0.0


def pull(play: Play, container: Container) -> Steps:
    """Pull the image, or fail to."""
    image = container.spec["image"]
    while not IMAGE_NAME.match(image):
        words = (
            f'Failed to apply default image tag "{image}": couldn\'t parse image name '
            f'"{image}": invalid reference format'
        )
        play.event("Warning", "InspectFailed", words, container)
        play.event("Warning", "Failed", "Error: InvalidImageName", container)
        container.wait("InvalidImageName", words)
        yield 10 / PACE
    failures = {
        "image-missing": f'failed to resolve reference "{image}": {image}: not found',
        "image-registry-busy": (
            f'failed to resolve reference "{image}": unexpected status from HEAD request to '
            f"https://{image.split('/')[0]}/v2/manifests: 503 Service Unavailable"
        ),
    }
    if container.fate not in failures:
        words = f'Container image "{image}" already present on machine'
        play.event("Normal", "Pulled", words, container)
        return
    delay = 10
    code = "NotFound" if container.fate == "image-missing" else "Unknown"
    error = f"rpc error: code = {code} desc = failed to pull and unpack image " + (
        f'"{image}": {failures[container.fate]}'
    )
    for attempt in itertools.count(1):
        play.event("Normal", "Pulling", f'Pulling image "{image}"', container)
        yield START_SECONDS
        if container.fate == "image-registry-busy" and attempt > int(container.argument or 2):
            words = f'Successfully pulled image "{image}" in 200ms (200ms including waiting).'
            play.event("Normal", "Pulled", words, container)
            return
        container.wait("ErrImagePull", error)
        play.event("Warning", "Failed", f'Failed to pull image "{image}": {error}', container)
        play.event("Warning", "Failed", "Error: ErrImagePull", container)
        yield 0.3
        words = f'Back-off pulling image "{image}"'
        container.wait("ImagePullBackOff", f"{words}: ErrImagePull: {error}")
        play.event("Normal", "BackOff", words, container)
        play.event("Warning", "Failed", "Error: ImagePullBackOff", container)
        yield delay / PACE
        delay = min(delay * 2, 300)


def unhealthy(
    play: Play, container: Container, kind: str = "readiness", answer: str = "503"
) -> None:
    """Emit an event about a failed probe, in the kubelet's and Go's words."""
    probe = container.spec.get(f"{kind}Probe", {}).get("httpGet", {})
    ports = {one.get("name"): one["containerPort"] for one in container.spec.get("ports", [])}
    where = f"{play.ip}:{ports.get(probe.get('port'), probe.get('port', 8080))}"
    asked = f'Get "http://{where}{probe.get("path", "/")}": '
    got = {
        "refused": f"{asked}dial tcp {where}: connect: connection refused",
        "timeout": f"{asked}context deadline exceeded (Client.Timeout exceeded while awaiting "
        "headers)",
    }.get(answer, f"HTTP probe failed with statuscode: {answer}")
    play.event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {got}", container)


def go(seconds: int) -> str:
    """Return a duration in Go's format."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


FATES: dict[str, Callable[[Play, Container], Steps]] = {
    **dict.fromkeys(("", "ready", "slow", "noisy", "job-slow", "waits"), ready),
    **dict.fromkeys(("image-missing", "image-registry-busy", "sandbox-failed"), ready),
    **dict.fromkeys(("crash-loop", "crash-early", "crash-after-ready"), crash_loop),
    **dict.fromkeys(("oom", "job-fail", "gives-up"), crash_loop),
    "evicted": evicted,
    "start-error": start_error,
    "never-ready": never_ready,
    "killed": killed,
    "flapping": flapping,
}
"""What becomes of a container whose image is there; the fates of images play out before."""

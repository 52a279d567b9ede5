"""Describes failed probes in terms of the probe, e.g. ``GET /s/login answered 500``.

The kubelet's events have Go's error messages (pkg/kubelet/prober, pkg/probe of Kubernetes 1.36);
only the pod's spec has the request.
"""

from __future__ import annotations

import re

from tasks.core.kubernetes.objects import Object

LENGTH = 200
"""How much of an unknown message is shown."""

READY = "/ready"
"""What nginx answers on the port of the probes where there is a door: as Mautic's page does."""
READY_PATH = "/s/login"
"""That page, unless NGINX_READY_PATH names another one (docker/nginx)."""

_EVENT = re.compile(
    r"(?P<kind>Startup|Readiness|Liveness) probe "
    r"(?:failed|errored and resulted in \w+ state): (?P<answer>.*)",
    re.DOTALL,
)
_KILLED = re.compile(r"Container (?P<name>\S+) failed (?P<kind>startup|liveness) probe")
_STATUS = re.compile(r"HTTP probe failed with statuscode: (\d+)")
_TIMEOUT = re.compile(r"deadline exceeded|Client\.Timeout|i/o timeout|timed out", re.IGNORECASE)
_REFUSED = re.compile(r"connection refused|no route to host", re.IGNORECASE)
_CUT = re.compile(r"\bEOF\b|connection reset", re.IGNORECASE)


def describe_answer(message: str, container: Object) -> str:
    """Return a failed probe's answer, e.g. ``readiness probe: GET /s/login answered 500``.

    Args:
        message: an ``Unhealthy`` event's message.
        container: the container's spec.
    """
    found = _EVENT.match(message)
    if found is None:
        return " ".join(message.split())[:LENGTH]
    kind, got = found["kind"].lower(), found["answer"]
    probe = container.get(f"{kind}Probe") or {}
    port = _port(probe, container)
    said = _STATUS.search(got)
    if said:
        words = f"{describe_request(probe, container)} answered {said[1]}"
    elif _REFUSED.search(got):
        words = f"no connection to port {port}" if port else "no connection"
    elif _TIMEOUT.search(got):
        request = describe_request(probe, container)
        words = f"{request} timed out after {probe.get('timeoutSeconds', 1)} s"
    elif _CUT.search(got):
        words = f"{describe_request(probe, container)}: the connection was closed without an answer"
    else:
        words = " ".join(got.split())[:LENGTH]
    return f"{kind} probe: {words}"


def describe_unanswered(container: Object, *, started: bool) -> str:
    """Return which probe a container waits for if there is no event about it."""
    names = ("readinessProbe",) if started else ("startupProbe", "readinessProbe")
    name = next((name for name in names if container.get(name)), "")
    if not name:
        return "it is not ready"
    kind = name.removesuffix("Probe")
    return f"{kind} probe: {describe_request(container[name], container)} has not succeeded yet"


def parse_killing(message: str) -> tuple[str, str] | None:
    """Return container and probe of a ``Killing`` event, or None if no probe was the reason."""
    found = _KILLED.match(message)
    return (found["name"], found["kind"]) if found else None


def is_failure_of(message: str, kind: str) -> bool:
    """Return True if an ``Unhealthy`` event's message is about a kind of probe."""
    return message.lower().startswith(f"{kind} probe ")


def describe_request(probe: Object, container: Object) -> str:
    """Return a probe's request in a few words; with the page that nginx asks Mautic for in turn."""
    if http := probe.get("httpGet"):
        path = http.get("path") or "/"
        env = {each["name"]: each.get("value", "") for each in container.get("env") or ()}
        asked = env.get("NGINX_READY_PATH") or READY_PATH
        return f"GET {path} (Mautic's {asked})" if path == READY else f"GET {path}"
    if tcp := probe.get("tcpSocket"):
        return f"a connection to port {tcp['port']}"
    if probe.get("exec"):
        return "its command"
    return "the request"


def _port(probe: Object, container: Object) -> int | str | None:
    """Return the number of a probe's port, which the container may name."""
    port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    return port

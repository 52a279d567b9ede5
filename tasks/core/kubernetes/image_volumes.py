"""Whether a cluster's nodes mount images as volumes, in which branches share a seed's uploads."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.core.kubernetes.objects import Object

KUBELET = (1, 35)
"""The first version that mounts images unless it is told not to."""
RUNTIMES = {"containerd": (2, 1), "cri-o": (1, 31)}
"""The first version of each that does."""


def image_volume_problem(nodes: Iterable[Object]) -> str:
    """Return why pods on these nodes cannot mount images; empty if they can on all of them."""
    problems = [_problem(node) for node in nodes]
    if not problems:
        return "there is no node that could be asked whether it mounts images"
    return next(filter(None, problems), "")


def _problem(node: Object) -> str:
    info = node.get("status", {}).get("nodeInfo", {})
    kubelet = str(info.get("kubeletVersion", ""))
    runtime = str(info.get("containerRuntimeVersion", ""))
    name, _, version = runtime.partition("://")
    there = f"node {node['metadata']['name']} has"
    if _version(kubelet) < KUBELET:
        return f"{there} kubelet {kubelet or 'unknown'}, and images are mounted from 1.35 on"
    if name not in RUNTIMES or _version(version) < RUNTIMES[name]:
        wanted = "containerd 2.1 and CRI-O 1.31"
        return f"{there} {runtime or 'an unknown runtime'}, and images are mounted by {wanted}"
    return ""


def _version(text: str) -> tuple[int, ...]:
    """Return major and minor version; nothing, which is less than any, if the text tells none."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()

"""Applies definitions of kinds and their admission policies, and waits until they are served."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.stored_release import safe_loader
from tasks.adapters.terminal.console import Activity
from tasks.adapters.wait import wait_until
from tasks.core.errors import DeadlineError, SuiteError
from tasks.core.kubernetes.objects import has_condition

KIND = "CustomResourceDefinition"
KINDS = frozenset({KIND, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"})
"""The kinds in files of definitions; the Gateway API's policies prevent a downgrade."""
SERVED_SECONDS = 60
"""How long the API may take to serve a new kind; usually two seconds."""
POLL_SECONDS = 0.5


def define(cluster: Cluster, texts: Sequence[bytes], activity: Activity) -> None:
    """Apply definitions, and wait until the API serves them.

    Args:
        texts: files of definitions, in YAML.
        activity: shows each one.

    Raises:
        DeadlineError: one is not served.
    """
    import yaml

    objects = [
        each
        for text in texts
        for each in yaml.load_all(text, safe_loader())
        if each and each.get("kind") in KINDS
    ]
    for each in objects:
        activity.line(f"{each['kind']} {each['metadata']['name']}")
        cluster.apply(each)
    names = [each["metadata"]["name"] for each in objects if each["kind"] == KIND]
    for name in names:
        wait_until(
            f"{name} is not served",
            partial(_is_served, cluster, name),
            deadline_seconds=SERVED_SECONDS,
            poll_seconds=POLL_SECONDS,
            late=partial(
                DeadlineError, hint="kubectl describe crd says why; then run the same again"
            ),
        )
    activity.outcome = f"{len(names)} kinds"


def _is_served(cluster: Cluster, name: str) -> bool:
    found = cluster.get(KIND, name)
    return found is not None and has_condition(found, "Established")


def read_definitions(chart: Path) -> list[bytes]:
    """Return the files of a packed chart's folder crds.

    Raises:
        SuiteError: the file is no packed chart.
    """
    found = []
    try:
        with tarfile.open(chart, "r:gz") as archive:
            for member in archive:
                if member.isfile() and Path(member.name).parts[1:2] == ("crds",):
                    content = archive.extractfile(member)
                    found.append(content.read() if content else b"")
    except tarfile.TarError as error:
        raise SuiteError(f"{chart} is no packed chart: {error}") from error
    return found

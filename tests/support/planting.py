"""Environments in a cluster that consist of a namespace with a deploy's record alone."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.transport import ApiRequest
from tasks.core.environment import Owner, Release, State
from tasks.core.kubernetes.manifests import STYLE, namespace
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Style
from tests.support.kube_cli import ENVIRONMENT, ON, KubeEnv
from tests.support.suite import git

KEPT = ("ConfigMap", "ServiceAccount", "Secret", "Lease")
"""Kinds that a planted environment's namespace may hold."""


def plant(
    site: KubeEnv,
    branch: str,
    *,
    repository: str = "",
    environment: str = ENVIRONMENT,
    expires_at: str = "",
    database: str = "",
    style: Style = Style.PRESENT,
) -> str:
    """Make a branch's namespace as a deploy would, with nothing in it; return its name.

    With an image that made its database, the database has to be dropped. In the former style it is
    one of a version whose hashes had six digits.
    """
    names = site.names(branch, style)
    owner = Owner(environment, names.slug, branch, repository or origin(site))
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    release = Release("planted", "c" * 40, "m@sha256:1", "n@sha256:2", "ada@host", moment)
    record = ClusterRecord(State.READY, names.url, expires_at)
    record = replace(record, history=(release,), database=database)
    made = namespace(owner, names, record, "")
    if style is Style.FORMER:  # those versions did not store it
        del made["metadata"]["annotations"][STYLE]
    site.cluster.create(made)
    return names.namespace


def origin(site: KubeEnv) -> str:
    return git(site.checkout, "remote", "get-url", "origin")


def remove(site: KubeEnv, *names: str) -> None:
    """Delete namespaces, and wait until they are gone: another test may want their names."""
    for name in names:
        site.cluster.delete("Namespace", name)
    end = time.monotonic() + 60
    for name in names:
        while site.cluster.get("Namespace", name):
            assert time.monotonic() < end, f"{name} is not gone"
            time.sleep(0.1)


def uproot(site: KubeEnv, *names: str) -> None:
    """Remove planted environments at once.

    The cluster itself waits for 5 s before it looks at a namespace that is to go, and then deletes
    what it holds: here, only what the cluster puts into each, and what a deploy keeps.
    """
    for name in names:
        if not site.cluster.delete("Namespace", name):
            continue
        for kind in KEPT:
            for item in site.cluster.find(kind, name):
                site.cluster.delete(kind, item["metadata"]["name"], name)
        # It may have been empty, and gone, all the time.
        if found := site.cluster.get("Namespace", name):
            found["spec"]["finalizers"] = []
            path = KINDS["Namespace"].path(name=name, sub="finalize")
            site.cluster._transport.json(ApiRequest("PUT", path, body=found))


def is_there(site: KubeEnv, name: str) -> bool:
    """Return True if a namespace is there, and is not about to go."""
    found = site.cluster.get("Namespace", name)
    return found is not None and "deletionTimestamp" not in found["metadata"]


def listed(site: KubeEnv, **options: Any) -> dict[str, dict[str, str]]:
    """Return what `inv list` says, by branch."""
    rows = json.loads(site.ok("list", *ON, "--format", "json", **options).stdout)
    return {row["branch"]: row for row in rows}

"""Environments in a cluster that consist of a namespace with a deploy's record alone."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tasks.core.environment import Owner, Release, State
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.record import ClusterRecord
from tests.support.kube_cli import ENVIRONMENT, ON, KubeEnv
from tests.support.suite import git


def plant(
    site: KubeEnv,
    branch: str,
    *,
    repository: str = "",
    environment: str = ENVIRONMENT,
    expires_at: str = "",
    database: str = "",
) -> str:
    """Make a branch's namespace as a deploy would, with nothing in it; return its name.

    With an image that made its database, the database has to be dropped.
    """
    names = site.names(branch)
    owner = Owner(environment, names.slug, branch, repository or origin(site))
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    release = Release("planted", "c" * 40, "m@sha256:1", "n@sha256:2", "ada@host", moment)
    record = ClusterRecord(State.READY, names.url, expires_at)
    record = replace(record, history=(release,), database=database)
    site.cluster.create(namespace(owner, names, record, ""))
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


def is_there(site: KubeEnv, name: str) -> bool:
    """Return True if a namespace is there, and is not about to go."""
    found = site.cluster.get("Namespace", name)
    return found is not None and "deletionTimestamp" not in found["metadata"]


def listed(site: KubeEnv, **options: Any) -> dict[str, dict[str, str]]:
    """Return what `inv list` says, by branch."""
    rows = json.loads(site.ok("list", *ON, "--format", "json", **options).stdout)
    return {row["branch"]: row for row in rows}

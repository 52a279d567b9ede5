"""The doctor's check of how CI jobs enter a cluster: as users, or as members of two groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.core.doctor.checks import Finding, Severity

CHECK = "jobs' rights"


Binding = Mapping[str, Any]
"""A ClusterRoleBinding, as the API returns it."""


def judge_access(main: Binding | None, branches: Binding | None, token: str | None) -> Finding:
    """Return the finding on whether the cluster tells branches' jobs apart.

    Args:
        main: the platform's binding of jobs of the main branch, or None.
        branches: that of other branches' jobs, or None.
        token: ``cluster.token`` of the environment.
    """
    if not main and not branches:
        return Finding(CHECK, Severity.OK, "the cluster's platform gives CI jobs none")
    if main and all(one["kind"] == "User" for one in main.get("subjects") or ()):
        if token:
            return Finding(CHECK, Severity.OK, "each branch's jobs are a user of their own")
        return Finding(
            CHECK,
            Severity.WARNING,
            "each branch's jobs are a user of their own, but these settings name no token for them",
            "cluster.token: KUBE_ID_TOKEN (docs/platform.md)",
        )
    if not branches:
        return Finding(CHECK, Severity.OK, "jobs of the main branch are a group, and no others")
    return Finding(
        CHECK,
        Severity.WARNING,
        "the weaker way: jobs of all branches are one group, and reach each other's namespaces",
        "let the cluster trust GitLab's tokens: docs/platform.md, `Each branch a user of its own`",
    )

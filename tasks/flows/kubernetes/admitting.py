"""Lets one branch's PHP container reach another's, in a cluster: by two network policies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import ClusterError, RefusedError, SuiteError
from tasks.core.kubernetes.handover import CLOSED, policies
from tasks.core.kubernetes.objects import Object
from tasks.core.names import Names
from tasks.flows.target import Say

KIND = "NetworkPolicy"
REFUSALS = frozenset({403, 422})
"""The statuses by which the API refuses: no right, or a policy of admission."""


@contextlib.contextmanager
def admit(cluster: Cluster, names: Names, other: Names, port: int, say: Say) -> Iterator[None]:
    """Let another branch's pods of web reach a branch's; see ``DataPort.admit``."""
    with contextlib.ExitStack() as made:
        for policy in policies(names, other, port):
            if cluster.find(KIND, policy["metadata"]["namespace"], CLOSED):
                made.callback(_remove, cluster, policy, say)
                _make(cluster, policy, names, other)
        yield


def _make(cluster: Cluster, policy: Object, names: Names, other: Names) -> None:
    try:
        cluster.apply(policy)
    except ClusterError as error:
        if error.status not in REFUSALS:
            raise
        raise RefusedError(
            f"{names.branch} cannot get the data of {other.branch}: {error.message}",
            hint="a CI job opens no way between branches: whoever has rights to both runs this "
            "command",
        ) from error


def _remove(cluster: Cluster, policy: Object, say: Say) -> None:
    meta = policy["metadata"]
    try:
        cluster.delete(KIND, meta["name"], meta["namespace"])
    except SuiteError as error:
        say(f"networkpolicy {meta['name']} in {meta['namespace']} was not removed: {error.message}")

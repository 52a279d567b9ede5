"""Waits for what the platform's provisioner does for a namespace, and tells of it.

The run itself has no right to a database server: it labels the namespace, and reads the record that
the provisioner keeps in the platform namespace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.wait import wait_until
from tasks.core.errors import ClusterError, ConflictError, SuiteError
from tasks.core.kubernetes.manifests import decoded, secret
from tasks.core.kubernetes.objects import Object, labels_of, uid_of
from tasks.core.kubernetes.provisioner import (
    DATABASE,
    DATABASE_SECRET,
    FLOOR_RULES,
    NAME,
    UNWANTED,
    ProvisionerStatus,
    is_furnished,
    record_name,
    status_of,
)
from tasks.core.names import Names
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.target import Say

POLL_SECONDS = 0.5
MARGIN_SECONDS = 30
"""How much longer than the grace period a run waits: for the provisioner's own attempts."""
REMOVAL_SECONDS = 60
"""How long a clean-up waits: for connections to end, and for a server that is away."""


def provisioner_problems(cluster: Cluster, platform: str, environment: str) -> Iterator[str]:
    """Yield why neither floor nor database can be expected, with the remedy.

    Args:
        platform: the platform namespace.
    """
    remedy = f"an administrator installs it: inv platform.apply --env {environment}"
    try:
        found = cluster.get("Deployment", NAME, platform)
    except ClusterError as error:
        if error.status != 403:
            raise
        yield f"you may not look at the provisioner in {platform}; {remedy}"
        return
    if found is None:
        yield f"there is no provisioner of databases in {platform}; {remedy}"
        return
    decided = cluster.get("ConfigMap", NAME, platform)
    if decided is not None and FLOOR_RULES not in decided.get("data", {}):
        yield f"the provisioner in {platform} does not furnish namespaces yet; {remedy}"


def hand_over(context: ClusterContext, names: Names, found: Object, password: str) -> None:
    """Give the provisioner the password of an environment that was made without it.

    So its running pods keep their way to the database.

    Args:
        found: the namespace.
        password: what its database user has, or an empty string.
    """
    if not password or DATABASE in labels_of(found):
        return
    # Another run may be faster, or have been cut off here.
    with contextlib.suppress(ConflictError):
        context.cluster.create(secret(names, {"password": password}, DATABASE_SECRET))


def wait_until_furnished(context: ClusterContext, names: Names, say: Say) -> None:
    """Wait until a branch's namespace has its floor, without which no workload is admitted.

    Args:
        say: called with what the provisioner does, as that changes.

    Raises:
        SuiteError: it refuses, or is not done in time; the message says what it does.
    """
    cluster, where = context.cluster, names.namespace

    def furnished(status: ProvisionerStatus | None) -> str:
        if is_furnished(cluster.get("Namespace", where)):
            return where
        if status and status.state == "refused":
            raise SuiteError(
                f"the provisioner does not furnish {where}: {status.message}",
                hint="an environment that nobody needs makes room: inv list, inv cleanup. The "
                "limit is floor.maxEnvironments of helm/platform, and the platform must know this "
                "environment: inv platform.apply",
            )
        return ""

    wait = context.own.patience.grace_seconds + MARGIN_SECONDS
    _wait(context, names, furnished, wait, say, f"namespace {where} is not furnished")


def wait_for_database(context: ClusterContext, names: Names, say: Say) -> str:
    """Wait until a branch's database is ready; return its user's password.

    Args:
        say: called with what the provisioner does, as that changes.

    Raises:
        SuiteError: it refuses, or is not done in time; the message says what it does.
    """
    cluster = context.cluster

    def password(status: ProvisionerStatus | None) -> str:
        if status is None:
            return ""
        if status.state == "refused":
            raise SuiteError(
                f"the provisioner refuses a database for {names.namespace}: {status.message}",
                hint="the platform must know this environment: inv platform.apply",
            )
        found = cluster.get("Secret", DATABASE_SECRET, names.namespace)
        if status.state != "ready" or found is None:
            return ""
        if found["metadata"]["resourceVersion"] != status.secret:
            return ""
        return decoded(found)["password"]

    wait = context.own.patience.grace_seconds + MARGIN_SECONDS
    return _wait(context, names, password, wait, say, f"database {names.database} is not ready")


def withdraw_database(context: ClusterContext, names: Names, say: Say) -> None:
    """Have a branch's database and user dropped, and wait for it; errors as for the other wait.

    Args:
        say: called with what the provisioner does, as that changes.
    """
    label = {"metadata": {"labels": {DATABASE: UNWANTED}}}
    context.cluster.patch("Namespace", names.namespace, None, label)

    def is_removed(status: ProvisionerStatus | None) -> str:
        # Refused: it is not this namespace's, and nothing of it is touched.
        return status.state if status and status.state in {"removed", "refused"} else ""

    waiting_for = f"database {names.database} is not dropped"
    _wait(context, names, is_removed, REMOVAL_SECONDS, say, waiting_for)


def _wait(
    context: ClusterContext,
    names: Names,
    result: Callable[[ProvisionerStatus | None], str],
    seconds: float,
    say: Say,
    waiting_for: str,
) -> str:
    """Wait until what the provisioner does has a result, and return that."""
    cluster, platform = context.cluster, context.own.platform_namespace
    namespace = cluster.get("Namespace", names.namespace)
    uid = uid_of(namespace) if namespace else ""
    told = ""

    def look() -> str:
        nonlocal told
        status = status_of(cluster.get("ConfigMap", record_name(names.namespace), platform))
        if status and status.uid != uid:
            status = None  # an earlier namespace's
        if status and status.line != told:
            told = status.line
            say(f"provisioner: {told}")
        return result(status)

    def late(message: str) -> SuiteError:
        last = f"it says {told!r}" if told else "it has not answered"
        return SuiteError(
            f"{message}: {last}; deployment/{NAME} in {platform} {_ready(cluster, platform)}",
            hint="inv platform.status shows the platform, and what to do; then run the same again",
        )

    return wait_until(
        waiting_for, look, deadline_seconds=seconds, poll_seconds=POLL_SECONDS, late=late
    )


def _ready(cluster: Cluster, platform: str) -> str:
    """Return how many pods of the provisioner are ready, in words."""
    found = cluster.get("Deployment", NAME, platform)
    if found is None:
        return "is gone"
    ready = found.get("status", {}).get("readyReplicas", 0)
    return f"has {ready} of {found['spec']['replicas']} pods ready"

"""Grants CI jobs access to a branch's namespace, if the cluster's platform is set up for that.

A role cannot name namespaces that do not exist yet. So the run that creates one binds the role of
helm/platform there to the jobs of that environment: to groups or, where the API server knows each
branch's jobs as a user, to the users of this branch and of main. A user with rights in all
namespaces creates the binding as well, for later jobs.
"""

from __future__ import annotations

from functools import partial

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.wait import wait_until
from tasks.core.errors import ClusterError, ConflictError, DeadlineError
from tasks.core.kubernetes.manifests import MANAGED, PREFIX
from tasks.core.kubernetes.objects import Object, annotations_of

NAME = "mautic-multidev"
ROLE = "mautic-multidev-environment"
MEMBERS = ("mautic-multidev-main", "mautic-multidev-branches")
"""Bindings of helm/platform, each with subjects and the environments that they may deploy to."""
ENVIRONMENTS = f"{PREFIX}environments"
USER = f"{PREFIX}user"
"""What the user name of a branch's jobs begins with; the branch follows."""
EFFECT_SECONDS = 20
"""How long a binding may take to have an effect; usually well below a second."""
POLL_SECONDS = 0.2


def grant_access(cluster: Cluster, namespace: str, environment: str, branch: str) -> None:
    """Bind an environment's CI jobs in a namespace, unless they are bound already.

    Args:
        namespace: the branch's namespace; it must exist.

    Raises:
        ClusterError: the cluster refused.
        DeadlineError: the binding has no effect.
    """
    if _is_bound(cluster, namespace):
        return
    subjects = _subjects(cluster, environment, branch)
    if not subjects:
        return
    try:
        cluster.create(_binding(namespace, subjects))
    except ConflictError:
        return  # another run was faster
    wait_until(
        f"rolebinding/{NAME} in {namespace} has no effect",
        lambda: cluster.may("update", "Lease", namespace),
        deadline_seconds=EFFECT_SECONDS,
        poll_seconds=POLL_SECONDS,
        late=partial(
            DeadlineError,
            hint="is this user one of those that `inv platform.status` shows, and the branch that "
            "of its token?",
        ),
    )


def may_grant_access(cluster: Cluster, namespace: str) -> bool:
    """Return True if this user may bind roles in a namespace, and so get rights in a new one."""
    return cluster.may("create", "RoleBinding", namespace)


def can_enter(cluster: Cluster, namespace: str) -> bool:
    """Return True if nobody is bound in a namespace yet, and this user may bind roles there."""
    return not _is_bound(cluster, namespace) and may_grant_access(cluster, namespace)


def _is_bound(cluster: Cluster, namespace: str) -> bool:
    """Return True if this user can see the binding."""
    try:
        return cluster.get("RoleBinding", NAME, namespace) is not None
    except ClusterError as error:
        if error.status == 403:  # there may be no platform either, and nothing to bind
            return False
        raise


def _subjects(cluster: Cluster, environment: str, branch: str) -> list[tuple[str, str]]:
    """Return kind and name of those whose jobs may deploy a branch to an environment.

    Without a platform there are none.
    """
    subjects = []
    for name in MEMBERS:
        try:
            found = cluster.get("ClusterRoleBinding", name)
        except ClusterError as error:
            if error.status == 403:  # neither an administrator nor one of these jobs
                return []
            raise
        if not found or environment not in _environments(found):
            continue
        if user := annotations_of(found).get(USER):
            subjects.append(("User", f"{user}{branch}"))
        else:
            subjects += [(one["kind"], one["name"]) for one in found.get("subjects") or ()]
    return list(dict.fromkeys(subjects))


def _environments(found: Object) -> list[str]:
    return annotations_of(found).get(ENVIRONMENTS, "").split(",")


def _binding(namespace: str, subjects: list[tuple[str, str]]) -> Object:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": NAME, "namespace": namespace, "labels": MANAGED},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"apiGroup": api, "kind": kind, "name": name} for kind, name in subjects],
    }

"""The Kubernetes objects that the suite creates besides those of the chart."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.core.environment import Owner
from tasks.core.kubernetes import labels
from tasks.core.kubernetes.objects import Object
from tasks.core.kubernetes.record import RECORD, ClusterRecord
from tasks.core.names import LABEL_MAX, Names, database_prefix, shorten
from tasks.core.settings import Settings

PREFIX, MANAGED = labels.PREFIX, labels.MANAGED
INSTANCE, COMPONENT = labels.INSTANCE, labels.COMPONENT
JOB_NAME = "batch.kubernetes.io/job-name"
"""The label by which Kubernetes marks the pods of a Job."""

SECRET = "mautic"  # noqa: S105 - the object's name
STYLE = f"{PREFIX}names"
"""The annotation of a namespace with the style of its names."""
POD_SECURITY = "pod-security.kubernetes.io/"
DATABASE_JOB_SECONDS = 60
"""How long creating or dropping a database may take once its server answers."""


@dataclass(frozen=True)
class DatabaseServer:
    """The server with the branches' databases.

    Attributes:
        host: host name, as pods reach it.
        admin_secret: Secret in the platform namespace with ``username`` and ``password``.
        namespace: the platform namespace.
        prefix: prefix of every branch's database and user; nothing else is ever changed.
        admin_secret_arn: ARN of the same in AWS Secrets Manager, instead of ``admin_secret``.
        account: service account whose Pod Identity may read that secret.
        tls_ca: file in the mautic image with the server's CA certificates; empty for no TLS.
    """

    host: str
    port: int
    admin_secret: str
    namespace: str
    prefix: str
    admin_secret_arn: str = ""
    account: str = ""
    tls_ca: str = ""


def database_server(settings: Settings, environment: str) -> DatabaseServer | None:
    """Return the server with an environment's databases, or None if each branch has its own."""
    own = settings.environment(environment)
    server = own.database
    if server is None:
        return None
    return DatabaseServer(
        server.host,
        server.port,
        server.admin_secret,
        own.platform_namespace,
        database_prefix(settings.project),
        server.admin_secret_arn or "",
        server.account,
        server.tls_ca or "",
    )


def namespace(
    owner: Owner,
    names: Names,
    record: ClusterRecord,
    pipeline: str,
    more: Mapping[str, str] | None = None,
) -> Object:
    """Return a branch's namespace, with its owner and its record in labels and annotations.

    Labels are for selectors; annotations hold values that are too long for labels or have other
    characters.

    Args:
        pipeline: URL of the CI pipeline of this deploy, or an empty string.
        more: further labels.
    """
    current = record.current
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.namespace,
            "labels": {
                **MANAGED,
                f"{PREFIX}environment": owner.environment,
                f"{PREFIX}slug": owner.slug,
                # The API server refuses every pod that is not hardened.
                f"{POD_SECURITY}enforce": "restricted",
                f"{POD_SECURITY}enforce-version": "latest",
                f"{POD_SECURITY}warn": "restricted",
                **(more or {}),
            },
            "annotations": {
                f"{PREFIX}branch": owner.branch,
                f"{PREFIX}repository": owner.repository,
                f"{PREFIX}commit": current.commit if current else "",
                f"{PREFIX}owner": current.owner if current else "",
                f"{PREFIX}pipeline": pipeline,
                STYLE: names.style,
                f"{PREFIX}expires-at": record.expires_at,
                RECORD: record.to_json(),
            },
        },
    }


def secret(names: Names, values: Mapping[str, str], name: str = SECRET) -> Object:
    """Return a branch's Secret.

    Args:
        values: its keys and values, not encoded.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": names.namespace, "labels": MANAGED},
        "type": "Opaque",
        "data": encoded(values),
    }


def database_secret(names: Names, server: DatabaseServer, password: str) -> Object:
    """Return the short-lived Secret that passes the branch's password to the database Job."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"database-{names.release}",
            "namespace": server.namespace,
            "labels": MANAGED,
        },
        "type": "Opaque",
        "data": encoded({"password": password}),
    }


def database_job(
    names: Names, server: DatabaseServer, image: str, verb: str, wait_seconds: int
) -> Object:
    """Return the Job that creates or drops a branch's database and user.

    It runs in the platform namespace, the only one with the administrator's Secret, or with the
    service account whose Pod Identity may read it in AWS: EKS gives such a pod its own credentials,
    so no Kubernetes token is mounted.

    Args:
        image: the mautic image, by digest, which has the client programs.
        verb: ``create`` or ``drop``.
        wait_seconds: how long to wait for a server that cannot be reached.
    """
    labels = {**MANAGED, INSTANCE: f"database-{names.release}"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            # It is also a label of its pods, so its length is limited. Only its end is cut: the
            # rights of CI jobs depend on its beginning (helm/platform, guard.yaml).
            "name": shorten(f"database-{verb}-{names.release}", LABEL_MAX),
            "namespace": server.namespace,
            "labels": labels,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": wait_seconds + DATABASE_JOB_SECONDS,
            "ttlSecondsAfterFinished": 3600,
            "template": {
                "metadata": {"labels": labels},
                "spec": _database_pod(names, server, image, verb, wait_seconds),
            },
        },
    }


def _database_pod(
    names: Names, server: DatabaseServer, image: str, verb: str, wait_seconds: int
) -> Object:
    """Return the spec of the Job's pod; arguments as for ``database_job``."""
    variables = {
        "MAUTIC_DB_HOST": server.host,
        "MAUTIC_DB_PORT": str(server.port),
        "MAUTIC_DB_PREFIX": server.prefix,
        "MAUTIC_DB_WAIT": str(wait_seconds),
        "MAUTIC_DB_DATABASE": names.database,
        "MAUTIC_DB_USER": names.database_user,
        "MAUTIC_DB_PASSWORD_FILE": "/run/secrets/branch/password",
    }
    secrets = {"branch": f"database-{names.release}"}
    if server.tls_ca:
        variables["MAUTIC_DB_TLS_CA_FILE"] = server.tls_ca
    identity: Object = {}
    if server.admin_secret_arn:
        variables["MAUTIC_DB_ADMIN_SECRET_ARN"] = server.admin_secret_arn
        identity = {"serviceAccountName": server.account}
    else:
        variables["MAUTIC_DB_ADMIN_USER_FILE"] = "/run/secrets/admin/username"
        variables["MAUTIC_DB_ADMIN_PASSWORD_FILE"] = "/run/secrets/admin/password"  # noqa: S105
        secrets["admin"] = server.admin_secret
    return {
        **identity,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 33,
            "runAsGroup": 33,
            "fsGroup": 33,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_database_container(image, verb, variables, secrets)],
        "volumes": [
            *(_secret_volume(name, secret_name) for name, secret_name in secrets.items()),
            *({"name": f"scratch-{n}", "emptyDir": {}} for n in range(len(_SCRATCH))),
        ],
    }


def _database_container(
    image: str, verb: str, variables: Mapping[str, str], secrets: Iterable[str]
) -> Object:
    return {
        "name": "database",
        "image": image,
        "args": ["database", verb],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "volumeMounts": [
            *(
                {"name": name, "mountPath": f"/run/secrets/{name}", "readOnly": True}
                for name in secrets
            ),
            *({"name": f"scratch-{n}", "mountPath": path} for n, path in enumerate(_SCRATCH)),
        ],
        # Its last lines are in its status, so that nobody needs its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


_SCRATCH = ("/tmp", "/var/www/html/var/cache", "/var/www/html/var/tmp")  # noqa: S108


def _secret_volume(name: str, secret_name: str) -> Object:
    return {"name": name, "secret": {"secretName": secret_name, "defaultMode": 0o440}}


def decoded(found: Object | None) -> dict[str, str]:
    """Return the values of a Secret; none if it is not there."""
    data = (found or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def encoded(values: Mapping[str, str]) -> dict[str, str]:
    """Return values as a Secret's data."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}

"""The Kubernetes objects that the suite itself makes, beside those of the chart."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tasks.core.environment import Owner, Release, with_newest
from tasks.core.names import LABEL_MAX, Names, fitted

Object = dict[str, Any]

PREFIX = "mautic-multidev.io/"
MANAGED = {"app.kubernetes.io/managed-by": "mautic-multidev"}
"""On everything the suite made itself; the chart's objects are Helm's."""
INSTANCE = "app.kubernetes.io/instance"
"""The label by which everything of a release is found."""
COMPONENT = "app.kubernetes.io/component"
"""The label that says which part of a release an object is."""
JOB_NAME = "batch.kubernetes.io/job-name"
"""The label by which Kubernetes marks the pods of a Job."""

SECRET = "mautic"  # noqa: S105 - the object's name
RECORD = f"{PREFIX}record"
POD_SECURITY = "pod-security.kubernetes.io/"
DATABASE_JOB_SECONDS = 60
"""How long creating or dropping a database may take, from when its server answers."""


@dataclass(frozen=True)
class DatabaseServer:
    """Where the branches' databases live.

    Attributes:
        host: host name, as pods reach it.
        port: its port.
        admin_secret: Secret in the platform namespace with ``username`` and ``password``.
        namespace: the platform namespace.
        prefix: what every branch's database and user begins with; nothing else is ever touched.
        admin_secret_arn: the same in AWS Secrets Manager, in place of ``admin_secret``; or empty.
        account: service account whose Pod Identity may read that one.
        tls_ca: file of the mautic image with the server's authorities; or empty for no TLS.
    """

    host: str
    port: int
    admin_secret: str
    namespace: str
    prefix: str
    admin_secret_arn: str = ""
    account: str = ""
    tls_ca: str = ""


@dataclass(frozen=True)
class Record:
    """What is known of an environment in a cluster: an annotation of its namespace.

    Attributes:
        state: ``deploying``, ``ready``, ``failed``, ``removing`` or ``removed``.
        url: where a browser finds it.
        expires_at: when it may be swept away, ISO 8601, or an empty string.
        revision: Helm's number of the last revision that was seen to work, or 0.
        fingerprint: what that revision was made of; an equal one needs no deploy.
        database: the image that made the branch's database on the server, and can drop it, or an
            empty string.
        history: the successful deployments, the newest last.
    """

    state: str
    url: str
    expires_at: str = ""
    revision: int = 0
    fingerprint: str = ""
    database: str = ""
    history: tuple[Release, ...] = ()

    @property
    def current(self) -> Release | None:
        """The last deployment that succeeded."""
        return self.history[-1] if self.history else None

    def succeeded(self, release: Release, revision: int, fingerprint: str) -> Record:
        """Return the record after a successful deployment."""
        return replace(
            self,
            state="ready",
            revision=revision,
            fingerprint=fingerprint,
            history=with_newest(self.history, release),
        )

    @classmethod
    def read(cls, text: str) -> Record:
        """Return the record that ``json.dumps(asdict(record))`` wrote."""
        data: dict[str, Any] = json.loads(text)
        data["history"] = tuple(Release(**release) for release in data["history"])
        return cls(**data)


def namespace(of: Owner, names: Names, record: Record, pipeline: str) -> Object:
    """Return a branch's namespace: whose it is stands on it, for people and for the suite.

    Labels find it; annotations hold what a label cannot (63 characters, few signs).

    Args:
        of: whose it is.
        names: the branch's names.
        record: what is known of the environment.
        pipeline: URL of the CI pipeline that made this deploy, or an empty string.
    """
    current = record.current
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.namespace,
            "labels": {
                **MANAGED,
                f"{PREFIX}environment": of.environment,
                f"{PREFIX}slug": of.slug,
                # The API server refuses every pod that is not hardened.
                f"{POD_SECURITY}enforce": "restricted",
                f"{POD_SECURITY}warn": "restricted",
            },
            "annotations": {
                f"{PREFIX}branch": of.branch,
                f"{PREFIX}repository": of.repository,
                f"{PREFIX}commit": current.commit if current else "",
                f"{PREFIX}owner": current.owner if current else "",
                f"{PREFIX}pipeline": pipeline,
                f"{PREFIX}expires-at": record.expires_at,
                RECORD: json.dumps(asdict(record), sort_keys=True),
            },
        },
    }


def owner_of(found: Object) -> dict[str, str]:
    """Return what a namespace says of its owner, by the names of ``Owner``'s attributes."""
    meta = found["metadata"]
    said = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    names = ("environment", "slug", "branch", "repository")
    return {name: said[PREFIX + name] for name in names if PREFIX + name in said}


def record_of(found: Object) -> Record | None:
    """Return the record that a namespace holds, or None."""
    text = (found["metadata"].get("annotations") or {}).get(RECORD)
    return Record.read(text) if text else None


def secret(names: Names, values: Mapping[str, str], name: str = SECRET) -> Object:
    """Return a branch's Secret.

    Args:
        names: the branch's names.
        values: its keys and values, in clear.
        name: the object's name.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": names.namespace, "labels": MANAGED},
        "type": "Opaque",
        "data": _encoded(values),
    }


def database_secret(names: Names, server: DatabaseServer, password: str) -> Object:
    """Return the short-lived Secret that tells the database Job the branch's password."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"database-{names.release}",
            "namespace": server.namespace,
            "labels": MANAGED,
        },
        "type": "Opaque",
        "data": _encoded({"password": password}),
    }


def database_job(
    names: Names, server: DatabaseServer, image: str, verb: str, wait_seconds: int
) -> Object:
    """Return the Job that makes or drops a branch's database and user.

    It runs in the platform namespace, the only place where the administrator's Secret is; or where
    the service account is whose Pod Identity may read it in AWS: EKS gives such a pod credentials
    of its own, and no token of Kubernetes is mounted.

    Args:
        names: the branch's names.
        server: the database server.
        image: the mautic image, by digest; it has what is needed.
        verb: ``create`` or ``drop``.
        wait_seconds: how long to wait for a server that cannot be reached.
    """
    variables = {
        "MAUTIC_DB_HOST": server.host,
        "MAUTIC_DB_PORT": str(server.port),
        "MAUTIC_DB_PREFIX": server.prefix,
        "MAUTIC_DB_WAIT": str(wait_seconds),
        "MAUTIC_DB_DATABASE": names.database,
        "MAUTIC_DB_USER": names.database_user,
        "MAUTIC_DB_PASSWORD_FILE": "/run/secrets/branch/password",
    }
    mounts = [
        {"name": "branch", "mountPath": "/run/secrets/branch", "readOnly": True},
        *({"name": f"scratch-{n}", "mountPath": path} for n, path in enumerate(_SCRATCH)),
    ]
    volumes = [
        _secret_volume("branch", f"database-{names.release}"),
        *({"name": f"scratch-{n}", "emptyDir": {}} for n in range(len(_SCRATCH))),
    ]
    if server.tls_ca:
        variables["MAUTIC_DB_TLS_CA_FILE"] = server.tls_ca
    identity: Object = {}
    if server.admin_secret_arn:
        variables["MAUTIC_DB_ADMIN_SECRET_ARN"] = server.admin_secret_arn
        identity = {"serviceAccountName": server.account}
    else:
        variables["MAUTIC_DB_ADMIN_USER_FILE"] = "/run/secrets/admin/username"
        variables["MAUTIC_DB_ADMIN_PASSWORD_FILE"] = "/run/secrets/admin/password"  # noqa: S105
        mounts.append({"name": "admin", "mountPath": "/run/secrets/admin", "readOnly": True})
        volumes.append(_secret_volume("admin", server.admin_secret))
    container = {
        "name": "database",
        "image": image,
        "args": ["database", verb],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "volumeMounts": mounts,
        # Its last words stand in its status: whoever waits need not ask for its log.
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
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            # Its pods carry it as a label. It is cut at its end: what CI jobs may do here goes by
            # how it begins (helm/platform, guard.yaml).
            "name": fitted(f"database-{verb}-{names.release}", LABEL_MAX),
            "namespace": server.namespace,
            "labels": {**MANAGED, INSTANCE: f"database-{names.release}"},
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": wait_seconds + DATABASE_JOB_SECONDS,
            "ttlSecondsAfterFinished": 3600,
            "template": {
                "metadata": {"labels": {**MANAGED, INSTANCE: f"database-{names.release}"}},
                "spec": {
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
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


_SCRATCH = ("/tmp", "/var/www/html/var/cache", "/var/www/html/var/tmp")  # noqa: S108


def _secret_volume(name: str, secret_name: str) -> Object:
    return {"name": name, "secret": {"secretName": secret_name, "defaultMode": 0o440}}


def _encoded(values: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}

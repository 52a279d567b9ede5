"""The platform's provisioner, as the suite sees it: what it is given, and how far it is.

docker/platform/provisioner is the other side. Names and labels stand in both: the image holds
nothing of the suite but ``tasks.core.names``, and what that uses. A test compares them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.environment import State
from tasks.core.kubernetes.manifests import (
    DATABASE_JOB_SECONDS,
    MANAGED,
    PREFIX,
    DatabaseServer,
    encoded,
)
from tasks.core.kubernetes.objects import Object, annotations_of, labels_of
from tasks.core.names import database_prefix
from tasks.core.settings import Settings, naming_rule

NAME = "mautic-provisioner"
"""Its Deployment, ConfigMap and account, and the Secret of its database user."""
SETUP = "mautic-provisioner-setup"
"""The Job that makes this user, as the database's administrator."""
DATABASE = f"{PREFIX}database"
"""The label of a namespace that asks for a database."""
WANTED, UNWANTED = "provisioned", "removed"
DATABASE_SECRET = "mautic-database"  # noqa: S105 - the object's name
FLOOR = f"{PREFIX}floor"
"""The label of a namespace that is furnished: only there workloads are admitted."""
FURNISHED = "ready"
RULES, FLOOR_RULES = "rules.json", "floor.json"
"""What its ConfigMap holds; an older platform's lacks the second one."""
MADE_FOR = f"{PREFIX}made-for"
"""The annotation of the Secret: for which server and prefix its user was made."""

PLANT = ("/opt/venv/bin/python", "-m", "provisioner", "plant")
"""Its program that loads a seed; helm/platform lets CI jobs run this and the next, and no other."""
UNSEAL = ("/opt/venv/bin/python", "-m", "provisioner", "unseal")
"""Its program that decrypts a seed's uploads."""
LEND = ("/opt/venv/bin/python", "-m", "provisioner", "lend")
"""Its program that lets a copy read a branch's database."""

_USER_ID = 65532
_GONE = frozenset({State.REMOVING, State.REMOVED})


@dataclass(frozen=True)
class ProvisionerStatus:
    """How far the provisioner is with a namespace.

    Attributes:
        uid: the namespace's uid.
        state: ``creating``, ``waiting``, ``ready``, ``removed`` or ``refused``.
        message: what it waits for, or why it refuses.
        secret: resource version of the Secret that holds the password.
    """

    uid: str
    state: str
    message: str
    secret: str

    @property
    def line(self) -> str:
        """State and message in one line."""
        return f"{self.state}: {self.message}" if self.message else self.state


def status_of(record: Object | None) -> ProvisionerStatus | None:
    """Return how far the provisioner is, from its record of a namespace."""
    if record is None:
        return None
    data = record.get("data") or {}
    return ProvisionerStatus(*(data.get(key, "") for key in ("uid", "state", "message", "secret")))


def is_furnished(namespace: Object | None) -> bool:
    """Return True if a namespace has what every workload stands on."""
    return namespace is not None and labels_of(namespace).get(FLOOR) == FURNISHED


def record_name(namespace: str) -> str:
    """Return the name of the ConfigMap with the record of a namespace."""
    return f"database-{namespace}"


def wish(state: State) -> str:
    """Return what the label of a namespace asks for, by its environment's state."""
    return UNWANTED if state in _GONE else WANTED


def provisioner_user(project: str) -> str:
    """Return the database user of a project's provisioner.

    No branch's user has this name: theirs have two underscores only before six digits or eight
    letters.
    """
    return f"{database_prefix(project)}_manager"


def rules_of(
    settings: Settings, environment: str, here: Mapping[str, Any], seed_key: str = ""
) -> dict[str, Any]:
    """Return what the provisioner decides by: ``provisioner.rules.Rules`` reads it.

    Args:
        environment: the environment whose server it is.
        here: the environments of the same cluster, by name.
        seed_key: SHA-256 of the key of the seeds that it loads; empty for none.
    """
    own = settings.environment(environment)
    if own.database is None:
        return {}
    rules: dict[str, dict[str, Any]] = {"environments": {}, "others": {}}
    for name, other in sorted(here.items()):
        rule = {"names": asdict(naming_rule(settings, name)), "protected": other.protected}
        rules["environments" if other.server == own.server else "others"][name] = rule
    return {
        "project": settings.project,
        "host": own.database.host,
        "port": own.database.port,
        **rules,
        **({"seedKey": seed_key, "unseals": True} if seed_key else {}),
    }


def takes_seeds(config: Object | None) -> bool:
    """Return True if a provisioner loads seeds, by its ConfigMap."""
    rules = json.loads((config or {}).get("data", {}).get(RULES, "{}"))
    return bool(rules.get("seedKey"))


def unseals(config: Object | None) -> bool:
    """Return True if a provisioner decrypts seeds' uploads, by its ConfigMap."""
    rules = json.loads((config or {}).get("data", {}).get(RULES, "{}"))
    return bool(rules.get("seedKey") and rules.get("unseals"))


def has_seed(record: Object | None) -> bool:
    """Return True if a seed is on the server, by the provisioner's record of it."""
    return bool(record) and (record or {}).get("data", {}).get("state") == "ready"


def seed_record_name(id_: str) -> str:
    """Return the name of the ConfigMap with the record of a seed."""
    return f"seed-{id_}"


def fingerprint_of_key(key: str) -> str:
    """Return what the provisioner knows of the key of seeds, 64 hexadecimal digits: its SHA-256."""
    return hashlib.sha256(bytes.fromhex(key)).hexdigest()


def made_for(server: DatabaseServer) -> str:
    """Return what the provisioner's user was made for, as the annotation of its Secret."""
    parts = (server.host, str(server.port), server.prefix, server.tls_ca)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def is_made_for(login: Object | None, server: DatabaseServer) -> bool:
    """Return True if the user in a Secret was made for this server."""
    return login is not None and annotations_of(login).get(MADE_FOR) == made_for(server)


def login_secret(server: DatabaseServer, user: str, password: str, *, made: bool) -> Object:
    """Return the Secret of the provisioner's database user.

    Args:
        made: whether the server has this user by now.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": NAME,
            "namespace": server.namespace,
            "labels": MANAGED,
            "annotations": {MADE_FOR: made_for(server) if made else ""},
        },
        "type": "Opaque",
        "data": encoded({"username": user, "password": password}),
    }


def setup_job(server: DatabaseServer, image: str, ca: str, wait_seconds: int) -> Object:
    """Return the Job that creates the provisioner's user, as the database's administrator.

    The administrator is read from a Secret, or by the account's own identity from AWS.

    Args:
        image: the provisioner's image, by digest.
        ca: file with the authorities of the server's certificate, or an empty string.
        wait_seconds: how long its pod may take to start.
    """
    variables = {
        "PROVISIONER_RULES": f"/etc/provisioner/{RULES}",
        "PROVISIONER_LOGIN": "/run/secrets/login",
        "PROVISIONER_CA": ca,
    }
    secrets, identity = {"login": NAME}, {}
    if server.admin_secret_arn:
        variables["PROVISIONER_ADMIN_ARN"] = server.admin_secret_arn
        identity = {"serviceAccountName": server.account}
    else:
        variables["PROVISIONER_ADMIN"] = "/run/secrets/admin"
        secrets["admin"] = server.admin_secret
    mounts = [
        {"name": one, "mountPath": f"/run/secrets/{one}", "readOnly": True} for one in secrets
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": SETUP, "namespace": server.namespace, "labels": MANAGED},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": wait_seconds + DATABASE_JOB_SECONDS,
            "ttlSecondsAfterFinished": 3600,
            "template": {
                "metadata": {"labels": MANAGED},
                "spec": {
                    **identity,
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": _USER_ID,
                        "runAsGroup": _USER_ID,
                        "fsGroup": _USER_ID,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "setup",
                            "image": image,
                            "args": ["setup"],
                            "env": [
                                {"name": key, "value": text} for key, text in variables.items()
                            ],
                            "volumeMounts": [
                                *mounts,
                                {"name": "config", "mountPath": "/etc/provisioner"},
                            ],
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "resources": {
                                "requests": {"cpu": "25m", "memory": "64Mi"},
                                "limits": {"memory": "256Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                    "volumes": [
                        {"name": "config", "configMap": {"name": NAME}},
                        *(
                            {"name": one, "secret": {"secretName": name, "defaultMode": 0o440}}
                            for one, name in secrets.items()
                        ),
                    ],
                },
            },
        },
    }

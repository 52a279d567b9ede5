"""A cluster's platform on a real node: each branch a user of its own, a floor, a provisioner."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import ApiAnswer, ApiRequest, Transport
from tests.support.deploys import until
from tests.support.issuer import PROJECT, Signer
from tests.support.provisioner import provisioner_image
from tests.support.realnode.bed import Bed, Object

TOKEN = "KUBE_ID_TOKEN"
RELEASE = "mautic-platform"


@dataclass(frozen=True)
class Job:
    """What a CI job of a branch has: its token, and nobody else's credentials.

    Attributes:
        kubeconfig: the token in a file, for the suite's own client.
        env: the variables of a run of `inv`.
    """

    branch: str
    context: str
    kubeconfig: Path
    env: Mapping[str, str]

    @property
    def cluster(self) -> Cluster:
        """The suite's own client."""
        return Cluster(self.context, str(self.kubeconfig))

    def ask(self, request: ApiRequest) -> ApiAnswer:
        """Return the API server's answer to a request."""
        return Transport(self.context, str(self.kubeconfig), 5).attempt(request)


def job(bed: Bed, branch: str) -> Job:
    """Return a job of a branch; its token is good for an hour."""
    token = Signer.read(Path(os.environ["MAUTIC_NODE_ISSUER"])).token(branch)
    folder = bed.scratch / f"job-{secrets.token_hex(4)}"
    folder.mkdir()
    given = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    (context,) = (one["context"] for one in given["contexts"] if one["name"] == bed.context)
    for name, users in (("nobody", []), ("own", [{"name": "own", "user": {"token": token}}])):
        own = {"name": bed.context, "context": {**context, "user": name}}
        config = {**given, "users": users, "contexts": [own]}
        (folder / name).write_text(json.dumps(config))
    env = {"KUBECONFIG": str(folder / "nobody"), TOKEN: token}
    return Job(branch, bed.context, folder / "own", env)


class Platform:
    """The platform of the node's cluster.

    It is everywhere in the cluster: what other modules deploy meanwhile is not held up by it.
    """

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self.namespace = f"{bed.project}-platform"
        self._databases = f"{bed.project}-databases"
        self._image = ""

    def settings(self, **changes: Any) -> Object:
        """Return settings with `dev`, and an environment whose databases the provisioner makes."""
        bed = self._bed
        cluster = {"kind": "context", "name": bed.context, "token": TOKEN}
        common = {"cluster": cluster, "platform_namespace": self.namespace}
        made = bed.settings(**common, **changes)
        # Its database is on the shared server.
        without = bed.scratch / "shared.yaml"
        reached = {"database": {"namespaces": [self._databases]}}
        without.write_text(yaml.safe_dump({"mysql": {"enabled": False}, "networkPolicy": reached}))
        server = {
            "host": f"mysql.{self._databases}.svc.cluster.local",
            "provisioner": self._image,
        }
        shared = {
            "namespace": "{project}-shared-{slug}",
            "host": "{slug}.shared.example.com",
            "values": [*made["environments"]["dev"]["values"], str(without)],
            "database": server,
        }
        made["environments"]["shared"] = {**made["environments"]["dev"], **shared}
        return made

    def install(self, env: Mapping[str, str] | None = None) -> None:
        """Start a database server, and run `inv platform.apply`.

        Args:
            env: variables of that run.
        """
        bed = self._bed
        self._image = bed.push(provisioner_image(bed.engine), "provisioner")
        password = secrets.token_urlsafe(16)
        for name in (self.namespace, self._databases):
            bed.cluster.create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
        self._start_server(password)
        bed.cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "mautic-database-admin", "namespace": self.namespace},
                "stringData": {"username": "root", "password": password},
            }
        )
        values = bed.scratch / "platform.yaml"
        access = {
            "identity": {"project": PROJECT, "main": ["main"]},
            # Other modules' environments are called `dev`, too.
            "registries": {"dev": [bed.registry]},
        }
        values.write_text(yaml.safe_dump({"access": access}))
        bed.ok(
            *("platform.apply", "--env", "shared", "--values", str(values)),
            settings=self.settings(),
            env=env,
        )

    def sql(self, statement: str) -> list[str]:
        """Run statements on the shared server as its administrator; return the rows."""
        argv = ("sh", "-c", 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -N -h127.0.0.1 -uroot -e "$0"')
        status, said = self._bed.cluster.output(
            self._databases, "mysql", "mysql", (*argv, statement)
        )
        assert status == 0, said
        return said.decode().splitlines()

    def _start_server(self, password: str) -> None:
        bed, where = self._bed, self._databases
        labels = {"app": "mysql"}
        until(lambda: bed.cluster.get("ServiceAccount", "default", where) is not None)
        container = {
            "name": "mysql",
            "image": f"{bed.registry}/{bed.project}/database:1",
            "env": [{"name": "MYSQL_ROOT_PASSWORD", "value": password}],
            "readinessProbe": {"tcpSocket": {"port": 3306}, "periodSeconds": 1},
        }
        meta = {"name": "mysql", "namespace": where, "labels": labels}
        ports = [{"port": 3306}]
        for kind, spec in (
            ("Service", {"selector": labels, "ports": ports}),
            ("Pod", {"automountServiceAccountToken": False, "containers": [container]}),
        ):
            bed.cluster.create({"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": spec})

        def is_ready() -> bool:
            status = (bed.cluster.get("Pod", "mysql", where) or {}).get("status", {})
            return any(one["ready"] for one in status.get("containerStatuses") or [])

        until(is_ready, seconds=120)

    def remove(self) -> None:
        """Remove what it has put outside its namespaces, which the bed removes."""
        bed = self._bed
        argv = [str(bed.helm), "uninstall", RELEASE, "--ignore-not-found"]
        where = [f"--namespace={self.namespace}", f"--kube-context={bed.context}"]
        subprocess.run([*argv, *where], check=True, capture_output=True)


@contextlib.contextmanager
def platform_of(bed: Bed) -> Iterator[Platform]:
    """Return a platform to be installed; it is removed at the end of the block."""
    made = Platform(bed)
    try:
        yield made
    finally:
        made.remove()

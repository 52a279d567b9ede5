"""The real command line against a real control plane: everything a deploy needs is there."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

from tasks.adapters.host.tools import find_helm
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.adapters.process import Runner
from tasks.core.errors import ClusterError, ConflictError
from tasks.core.names import Names, Style
from tasks.core.redact import Redactor
from tasks.core.settings import names_of_all_styles, parse
from tests.support.controlplane import ControlPlane
from tests.support.kubelet import stamp
from tests.support.layerless import push, tags_of
from tests.support.node import Node
from tests.support.suite import ROOT, Inv, git

Object = dict[str, Any]

PLATFORM = "mautic-system"
ADMIN_SECRET = "mautic-database-admin"
ADMIN_PASSWORD = "planted-admin-password"
STORAGE_CLASS = "played"
EXHAUSTED_CLASS = "exhausted"
"""Its driver has no room left."""
ENVIRONMENT = "dev"
MAIL = f"registry.example.com/mailpit@sha256:{'c' * 64}"


class Provisioner:
    """A storage driver: gives each claim of its class a volume, as soon as it is asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = Stop()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="provisioner")
        self.errors: list[Exception] = []

    def __enter__(self) -> Provisioner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.errors:
            raise self.errors[0]

    def _follow(self) -> None:
        try:
            self._cluster.watch("PersistentVolumeClaim", None, self._take, stop=self._stop)
        except Exception as error:  # told when it stops
            self.errors.append(error)

    def _take(self, change: WatchEvent) -> None:
        claims = change.object["items"] if change.type == "SYNCED" else [change.object]
        for claim in claims:
            storage = claim["spec"].get("storageClassName")
            if storage == STORAGE_CLASS:
                self._serve(claim, deleted=change.type == "DELETED")
            elif storage == EXHAUSTED_CLASS and change.type != "DELETED":
                self._refuse(claim)

    def _refuse(self, claim: Object) -> None:
        """Tell what the external provisioner does when its driver refuses."""
        meta = claim["metadata"]
        # With WaitForFirstConsumer the driver is asked when the pod has a node.
        if "volume.kubernetes.io/selected-node" not in meta.get("annotations", {}):
            return
        about = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "uid": meta["uid"]}
        about |= {"name": meta["name"], "namespace": meta["namespace"]}
        name = f"{meta['name']}.{secrets.token_hex(8)}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": about,
            "reason": "ProvisioningFailed",
            "message": f'failed to provision volume with StorageClass "{EXHAUSTED_CLASS}": '
            "rpc error: code = ResourceExhausted desc = access point limit reached",
            "type": "Warning",
            "count": 1,
            "firstTimestamp": stamp(),
            "lastTimestamp": stamp(),
            "source": {"component": "efs.csi.aws.com"},
        }
        try:
            self._cluster.create(event)
        except ClusterError as error:
            # Its namespace is being removed: nobody asks any more.
            if error.status not in {403, 404}:
                raise

    def _serve(self, claim: Object, *, deleted: bool) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        name = f"pv-{meta['uid']}"
        if deleted:
            # What reclaiming comes to: nobody else here deletes what the class promised to.
            self._cluster.delete("PersistentVolume", name)
            return
        if claim["status"].get("phase") != "Pending":
            return
        reference = {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
        # It is there already at an earlier change of the same claim.
        with suppress(ConflictError):
            self._cluster.create(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": name},
                    "spec": {
                        "capacity": {"storage": "1Ti"},
                        "accessModes": spec["accessModes"],
                        "persistentVolumeReclaimPolicy": "Delete",
                        "storageClassName": STORAGE_CLASS,
                        "claimRef": reference,
                        "hostPath": {"path": "/nonexistent"},
                    },
                }
            )


@dataclass
class KubeEnv:
    """What the tests of one module share; each of them uses branches of its own.

    Attributes:
        plane: the control plane.
        node: its node; ``node.decide`` plays the fates of the module's pods.
        cluster: the suite's own client, as the administrator.
        inv: runs the suite.
        checkout: a checkout of the project, `main` checked out, without a remote.
        registry: URL of the environment's registry.
        project: prefix of every name.
        helm: the Helm that the runs find on PATH.
        said: stdout and stderr of every run so far.
        through: a kubeconfig of something between the runs and the API server.
    """

    plane: ControlPlane
    node: Node
    cluster: Cluster
    inv: Inv
    checkout: Path
    registry: str
    project: str
    helm: Path
    said: list[str] = field(default_factory=list)
    through: Path | None = None

    def settings(self, **changes: Any) -> Object:
        """Return settings with the one environment `dev`; changes are its."""
        own = {
            "target": "kubernetes",
            "branches": ["*"],
            # invoke.yaml's own, below these settings, has one.
            "stack": None,
            "namespace": "{project}-{slug}",
            "host": "{slug}.dev.example.com",
            "registry": {"kind": "oci", "url": self.registry},
            "cluster": {"kind": "context", "name": "test"},
            "values": ["helm/environments/dev.yaml"],
            "database": {"host": "10.0.52.10"},
            "ttl": "7d",
            # What a test has just deployed and pushed may be swept.
            "gc": {"young_hours": 0},
            "patience": {"stability_seconds": 1},
        }
        return {
            "project": self.project,
            # By digest: nobody is asked for it.
            "platform": {"mail_image": MAIL},
            "environments": {ENVIRONMENT: {**own, **changes}},
        }

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables of a run besides the clean environment."""
        path = f"{self.helm.parent}:{self.inv.environ()['PATH']}"
        kubeconfig = str(self.through or self.plane.kubeconfig)
        return {"KUBECONFIG": kubeconfig, "PATH": path, **(extra or {})}

    def run(
        self,
        *args: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> CompletedProcess[str]:
        """Run `inv` to its end."""
        done = self.inv(
            cwd or self.checkout,
            *args,
            settings=settings or self.settings(),
            env=self.environ(env),
            stdin=stdin,
            timeout=900,
        )
        self.said += [done.stdout, done.stderr]
        return done

    def ok(self, *args: str, **options: Any) -> CompletedProcess[str]:
        """Run `inv` to its end; it must succeed."""
        done = self.run(*args, **options)
        assert done.returncode == 0, f"inv {' '.join(args)}: {done.returncode}\n{done.stderr}"
        return done

    def start(
        self,
        *args: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Popen[str]:
        """Start `inv`."""
        return self.inv.start(
            cwd or self.checkout,
            *args,
            settings=settings or self.settings(),
            env=self.environ(env),
        )

    def deploy(self, branch: str, tag: str, *options: str) -> CompletedProcess[str]:
        """Deploy a branch; it must succeed."""
        return self.ok("deploy", *ON, "--branch", branch, "--tag", tag, *options)

    def names(self, branch: str, style: Style = Style.PRESENT) -> Names:
        """Return a branch's names."""
        settings = parse(self.settings(), lambda path: "the test")
        found = names_of_all_styles(settings, ENVIRONMENT, branch)
        return next(each for each in found if each.style is style)

    def push(self, tag: str, below: str = "") -> dict[str, str]:
        """Push a mautic and an nginx image of one layerless kind each; return their digests.

        Args:
            tag: their tag.
            below: where, below the registry's path: `/prod`; empty for that path itself.
        """
        return {name: push(f"{self.registry}{below}/{name}", tag) for name in ("mautic", "nginx")}

    def tags(self, name: str = "mautic") -> set[str]:
        """Return the tags of an image."""
        return tags_of(f"{self.registry}/{name}")

    def remove(self) -> None:
        """Delete every namespace that this created, without waiting."""
        for item in self.cluster.find("Namespace"):
            if item["metadata"]["name"].startswith(f"{self.project}-"):
                self.cluster.delete("Namespace", item["metadata"]["name"])


ON = ("--env", ENVIRONMENT)
"""Options of every task that takes an environment."""


def prepare_cluster(cluster: Cluster) -> None:
    """Create what an administrator creates once: a storage class and the platform namespace."""
    for manifest in (
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "test.mautic-multidev/played",
            "reclaimPolicy": "Delete",
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": EXHAUSTED_CLASS},
            "provisioner": "test.mautic-multidev/exhausted",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLATFORM}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": ADMIN_SECRET, "namespace": PLATFORM},
            "stringData": {"username": "root", "password": ADMIN_PASSWORD},
        },
    ):
        if not cluster.get(manifest["kind"], manifest["metadata"]["name"], PLATFORM):
            cluster.create(manifest)


@contextmanager
def kube_environment(
    plane: ControlPlane, node: Node, registry: str, project: Path, scratch: Path
) -> Iterator[KubeEnv]:
    """Create what a module's tests share, and remove it afterwards.

    Args:
        plane: the control plane.
        node: its node.
        registry: host and port of a registry.
        project: a copy of the project, as a git repository.
        scratch: an empty folder.
    """
    cluster = Cluster("test", str(plane.kubeconfig))
    prepare_cluster(cluster)
    checkout = scratch / "checkout"
    shutil.copytree(project, checkout, symlinks=True)
    (scratch / "home").mkdir()
    name = f"mt{secrets.token_hex(3)}"
    made = KubeEnv(
        plane,
        node,
        cluster,
        Inv(scratch / "home", scratch, warm=True),
        checkout,
        f"{registry}/{name}",
        name,
        find_helm(Runner(Redactor()), ROOT),
    )
    decide = node.decide
    with Provisioner(Cluster("test", str(plane.kubeconfig))):
        try:
            yield made
        finally:
            node.decide = decide
            made.inv.close()
            made.remove()


def with_remote(checkout: Path, branches: tuple[str, ...] = ()) -> Path:
    """Give a checkout the remote `origin` with its main and these branches; return its path."""
    remote = checkout.parent / f"{checkout.name}-origin.git"
    git(checkout.parent, "init", "--quiet", "--bare", str(remote))
    git(checkout, "remote", "add", "origin", str(remote))
    heads = ("main", *branches)
    git(checkout, "push", "--quiet", "origin", *(f"main:refs/heads/{head}" for head in heads))
    return remote

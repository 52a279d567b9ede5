"""The real command line on a real node, with the stand-in's images or Mautic's own."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import docker
import yaml

from tasks.adapters.host.tools import find_helm
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tasks.adapters.process import Runner
from tasks.core import door
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.core.settings import names_of, parse
from tests.support.images import machine_lock, standin
from tests.support.suite import ROOT, Inv, commit_all, git

Object = dict[str, Any]

ON = ("--env", "dev")
COMPONENT = "app.kubernetes.io/component"
THEME = "docker/mautic/themes/of-the-tests/style.css"
SERVED_THEME = "/themes/of-the-tests/style.css"
VALUES = "helm/environments/node.yaml"
LITTLE: Object = {"resources": {"requests": {"cpu": "5m"}}}
OWN: Object = {
    "media": {"accessMode": "ReadWriteOnce", "size": "1Gi"},
    "mysql": {"enabled": True, "size": "1Gi", **LITTLE},
    "web": {"nginx": LITTLE, "fpm": LITTLE},
    "workerDefaults": LITTLE,
    "crons": {"pod": LITTLE},
    "migrate": {**LITTLE, "waitResources": LITTLE["resources"]},
    "mail": {"catcher": {"enabled": False}},
}
"""What one small node is given: everything in the branch's namespace, and room for many of them."""


@dataclass
class Bed:
    """What the tests of one module share; each of them uses branches of its own.

    Attributes:
        engine: the Docker Engine that builds.
        inv: runs the suite.
        checkout: a checkout of the project, `main` checked out.
        project: prefix of every name.
        context: the cluster, a context of KUBECONFIG.
        registry: host and port of its registry.
        scratch: a folder for files.
        said: stdout and stderr of every run so far.
    """

    engine: docker.DockerClient
    inv: Inv
    checkout: Path
    project: str
    context: str
    registry: str
    scratch: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.context, None)
        self._api = Transport(self.context, None, 30)
        self.helm = find_helm(Runner(Redactor()), ROOT)
        (self.checkout / VALUES).write_text(yaml.safe_dump(OWN))
        (self.checkout / THEME).parent.mkdir(parents=True)
        (self.checkout / THEME).write_text("/* first */\n")
        commit_all(self.checkout, "what the tests add")
        remote = self.checkout.parent / "origin.git"
        git(self.checkout.parent, "init", "--quiet", "--bare", str(remote))
        git(self.checkout, "remote", "add", "origin", str(remote))
        git(self.checkout, "push", "--quiet", "origin", "main")

    # -- running ------------------------------------------------------------------------------

    def settings(self, values: Mapping[str, Any] | None = None, **changes: Any) -> Object:
        """Return the settings of a run.

        Args:
            values: values of the chart beside those of the tests.
            changes: keys of the environment.
        """
        files = ["helm/environments/dev.yaml", VALUES]
        if values:
            path = self.scratch / f"values-{secrets.token_hex(4)}.yaml"
            path.write_text(yaml.safe_dump(dict(values)))
            files.append(str(path))
        own = {
            "target": "kubernetes",
            "branches": ["*"],
            "stack": None,
            "namespace": "{project}-{slug}",
            "host": "{slug}.dev.example.com",
            "scheme": "http",
            "registry": {"kind": "oci", "url": f"{self.registry}/{self.project}"},
            "cluster": {"kind": "context", "name": self.context},
            "values": files,
            "ttl": "7d",
            # What a test has just deployed may be swept.
            "gc": {"young_hours": 0},
            "patience": {"stability_seconds": 5},
        }
        return {
            "project": self.project,
            "images": mautic_images(),
            "platform": {"database_image": f"{self.registry}/{self.project}/database:1"},
            "environments": {"dev": {**own, **changes}},
        }

    def _environ(self) -> dict[str, str]:
        path = f"{self.helm.parent}:{self.inv.environ()['PATH']}"
        return {"KUBECONFIG": os.environ["KUBECONFIG"], "PATH": path}

    def run(
        self,
        *args: str,
        settings: Object | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 600,
    ) -> CompletedProcess[str]:
        """Run `inv` to its end."""
        done = self.inv(
            self.checkout,
            *args,
            settings=settings or self.settings(),
            env={**self._environ(), **(env or {})},
            stdin=stdin,
            timeout=timeout,
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
        settings: Object | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Popen[str]:
        """Start `inv`."""
        settings = settings or self.settings()
        env = {**self._environ(), **(env or {})}
        return self.inv.start(self.checkout, *args, settings=settings, env=env)

    def deploy(
        self, branch: str, *options: str, settings: Object | None = None
    ) -> CompletedProcess[str]:
        """Run `inv deploy` for a branch to its end."""
        return self.run(
            "deploy", *ON, "--branch", branch, "--new", "--no-build", *options, settings=settings
        )

    def deployed(self, branch: str, *options: str) -> CompletedProcess[str]:
        """Deploy a branch; it must succeed."""
        return self.ok("deploy", *ON, "--branch", branch, "--new", "--no-build", *options)

    # -- what is deployed ---------------------------------------------------------------------

    def build(self) -> str:
        """Build and push what is checked out; return its tag."""
        # Builds of several processes at once would only wait for each other.
        with machine_lock("node-build"):
            self.ok("build", *ON, "--branch", "main")
        built: Object = json.loads((self.checkout / "build.json").read_text())
        return str(built["tag"])

    def change_theme(self, text: str) -> str:
        """Commit another theme; return the new commit's tag."""
        (self.checkout / THEME).write_text(text)
        return commit_all(self.checkout, text)[:8]

    def push(self, image: str, name: str) -> str:
        """Push an image of this machine into the registry; return its reference by digest."""
        repository = f"{self.registry}/{self.project}/{name}"
        self.engine.images.get(image).tag(repository, "1")
        self._push(repository, "1")
        found = self.engine.images.get(f"{repository}:1").attrs["RepoDigests"]
        return next(one for one in found if one.startswith(f"{repository}@"))

    def variant(self, tag: str, base: str, lines: str = "") -> str:
        """Push both images of a tag under another one, the mautic image with further lines."""
        for name, more in (("mautic", lines), ("nginx", "")):
            repository = f"{self.registry}/{self.project}/{name}"
            dockerfile = f"FROM {repository}:{base}\nLABEL variant={tag}\n{more}\n"
            image, _ = self.engine.images.build(
                fileobj=io.BytesIO(dockerfile.encode()), rm=True, forcerm=True, pull=True
            )
            image.tag(repository, tag)
            self._push(repository, tag)
        return tag

    def _push(self, repository: str, tag: str) -> None:
        answer = self.engine.images.push(repository, tag, stream=True, decode=True)
        assert not [event for event in answer if "error" in event]

    # -- what the cluster has -----------------------------------------------------------------

    def names(self, branch: str) -> Names:
        """Return a branch's names."""
        return names_of(parse(self.settings(), lambda path: "the test"), "dev", branch)

    def pods(self, branch: str, component: str = "") -> list[Object]:
        """Return the pods of a branch, or of one of its components."""
        names = self.names(branch)
        selector = f"app.kubernetes.io/instance={names.release}"
        if component:
            selector += f",{COMPONENT}={component}"
        return self.cluster.find("Pod", names.namespace, selector)

    def ready(self, branch: str) -> set[str]:
        """Return the names of the web pods that serve."""
        return {pod["metadata"]["name"] for pod in self._serving(branch)}

    def serving(self, branch: str) -> set[str]:
        """Return the images of the web pods that serve."""
        return {
            container["image"]
            for pod in self._serving(branch)
            for container in pod["spec"]["containers"]
        }

    def _serving(self, branch: str) -> list[Object]:
        return [
            pod
            for pod in self.pods(branch, "web")
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod["status"].get("conditions", [])
            )
        ]

    def uids(self, branch: str) -> dict[str, str]:
        """Return the uid of each pod of a branch, by name."""
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods(branch)}

    def get(self, branch: str, path: str, names: Names | None = None) -> tuple[int, str]:
        """Return the site's response to a GET through the API server, behind its door.

        Args:
            branch: a branch of `dev`.
            path: what is asked for.
            names: those of another environment's branch.
        """
        names = names or self.names(branch)
        secret = self.cluster.get("Secret", "mautic", names.namespace)
        assert secret
        password = base64.b64decode(secret["data"][door.KEY]).decode()
        headers = {"Host": names.host, "Accept": "*/*", **door.headers(password)}
        status, body = self.cluster.http(
            names.namespace, f"{names.release}-web", "http", path, headers
        )
        return status, body.decode(errors="replace")

    def record(self, branch: str) -> Object:
        """Return the record in the branch's namespace."""
        found = self.cluster.get("Namespace", self.names(branch).namespace)
        assert found
        record: Object = json.loads(found["metadata"]["annotations"]["mautic-multidev.io/record"])
        return record

    def exists(self, branch: str) -> bool:
        """Return True if a branch has a namespace."""
        return self.cluster.get("Namespace", self.names(branch).namespace) is not None

    def volumes(self) -> list[str]:
        """Return the volumes that this bed's branches have."""
        return [
            item["metadata"]["name"]
            for item in self.cluster.find("PersistentVolume")
            if item["spec"]["claimRef"]["namespace"].startswith(f"{self.project}-")
        ]

    def api(self, method: str, path: str, body: Object | None = None) -> Object:
        """Return what the API answers."""
        return self._api.json(ApiRequest(method, path, body=body))

    def remove(self) -> None:
        """Remove every namespace and image that this made."""
        for item in self.cluster.find("Namespace"):
            if item["metadata"]["name"].startswith(f"{self.project}-"):
                self.cluster.delete("Namespace", item["metadata"]["name"])
        # As a list alone: to look at each would fail at one that another test removes meanwhile.
        for image in self.engine.api.images():
            for name in image["RepoTags"] or ():
                if name.startswith(f"{self.registry}/{self.project}/"):
                    self.engine.images.remove(name)


def mautic_images() -> Object:
    """Return the settings of what is inside the images: the stand-in, or Mautic itself.

    MAUTIC_CODE_IMAGE names an image of this machine with Mautic's code, MAUTIC_CODE_DEBIAN and
    MAUTIC_CODE_PHP what it runs on.
    """
    code = os.environ.get("MAUTIC_CODE_IMAGE")
    if not code:
        return {"source": "standins"}
    found = {"mautic": code}
    for name in ("debian", "php"):
        if value := os.environ.get(f"MAUTIC_CODE_{name.upper()}"):
            found[name] = value
    return found


@contextlib.contextmanager
def real_bed(engine: docker.DockerClient, project: Path, scratch: Path) -> Iterator[Bed]:
    """Create what a module's tests share, and remove it afterwards.

    Args:
        engine: the Docker Engine.
        project: a copy of the project, as a git repository.
        scratch: an empty folder.
    """
    checkout = scratch / "checkout"
    shutil.copytree(project, checkout, symlinks=True)
    (scratch / "home").mkdir()
    made = Bed(
        engine=engine,
        inv=Inv(scratch / "home", scratch, warm=True),
        checkout=checkout,
        project=f"mt{secrets.token_hex(3)}",
        context=os.environ["MAUTIC_NODE_CONTEXT"],
        registry=os.environ["MAUTIC_NODE_REGISTRY"],
        scratch=scratch,
    )
    try:
        made.push(standin(engine, "database"), "database")
        yield made
    finally:
        made.inv.close()
        made.remove()

"""Deploys to the tests' control plane: fates by branch, commits, everything a cluster has."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from subprocess import CompletedProcess, Popen
from types import TracebackType
from typing import Any, Self

import yaml

from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tasks.core.errors import ClusterError
from tasks.core.names import Names
from tasks.core.settings import names_of, parse
from tests.support.attestations import attest_images
from tests.support.kube_cli import ENVIRONMENT, ON, PLATFORM, KubeEnv
from tests.support.suite import commit_all, git

Object = dict[str, Any]
Key = tuple[str, str, str]

COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
DATABASE = "database"
"""Stands for the database Job among a branch's components, to give it a fate."""
ORIGIN = "https://git.example.com/mautic.git"
FAST = "helm/environments/fast.yaml"
FAST_VALUES = {
    "web": {"minReadySeconds": 1, "drainSeconds": 1},
    # Images of PHP 8.4 cannot run it.
    "crons": {"jobs": {"email-fetch": {"enabled": True}}},
    # tests/e2e/test_platform_jobs.py has it.
    "mail": {"catcher": {"enabled": False}},
}
SHIFTING = frozenset({"events", "leases", "endpoints", "endpointslices"})
"""Kinds that the cluster itself writes at any time."""
SETTLE_SECONDS = 60.0
REDIS = f"registry.example.com/redis@sha256:{'e' * 64}"


class Deploys:
    """The command line on a control plane, where each branch's pods have a fate of their own.

    Args:
        env: the control plane and what belongs to it.

    Attributes:
        fates: what becomes of pods: by namespace an image, or none, and fates by component.
    """

    def __init__(self, env: KubeEnv) -> None:
        self.env = env
        self.cluster = env.cluster
        self.fates: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._number = 0
        self._clock = int(time.time()) - 100_000
        self._api = Transport("test", str(env.plane.kubeconfig), 30)
        values = env.checkout / FAST
        values.write_text(yaml.safe_dump(FAST_VALUES))
        git(env.checkout, "remote", "add", "origin", ORIGIN)
        commit_all(env.checkout, "values of the tests")

    def __enter__(self) -> Self:
        self._decide, self.env.node.decide = self.env.node.decide, self._fate
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.env.node.decide = self._decide

    # -- what is deployed ---------------------------------------------------------------------

    def fate(self, branch: str, only: str = "", **components: str) -> None:
        """Decide what becomes of a branch's pods from now on.

        Args:
            branch: the branch.
            only: the tag whose pods are meant; those of other releases do well.
            components: the fates, by component.
        """
        image = self.image(only) if only else ""
        self.fates[self.names(branch).namespace] = (image, components)

    def _fate(self, pod: Object) -> str:
        labels = pod["metadata"].get("labels") or {}
        namespace, component = pod["metadata"]["namespace"], labels.get(COMPONENT, "")
        if namespace == PLATFORM:
            namespace = labels.get(INSTANCE, "").removeprefix(f"{DATABASE}-")
            component = DATABASE
        if namespace not in self.fates:
            return self._decide(pod)
        image, components = self.fates[namespace]
        spec = pod["spec"]
        images = [one["image"] for one in (*spec.get("initContainers", []), *spec["containers"])]
        return components.get(component, "") if not image or image in images else ""

    def commit(self, where: Path | None = None) -> str:
        """Make a commit that is newer than all before, and push its images; return its SHA."""
        self._clock += 10
        self._number += 1
        where = where or self.env.checkout
        date = f"{self._clock} +0000"
        dates = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
        git(where, "commit", "--quiet", "--allow-empty", "-m", f"{self._number}", env=dates)
        sha = git(where, "rev-parse", "HEAD")
        self.env.push(sha[:8])
        digests = self.env.push(sha[:8], "/prod")
        attest_images(f"{self.env.registry}/prod", digests, sha, "prod", ORIGIN)
        return sha

    def add(self, path: Path) -> None:
        """Let the next commit contain a file."""
        git(self.env.checkout, "add", str(path))

    def worktree(self, number: int) -> Path:
        """Return another checkout of the same repository."""
        path = self.env.checkout.parent / f"worktree-{number}"
        git(self.env.checkout, "worktree", "add", "--quiet", "--detach", str(path))
        return path

    # -- running ------------------------------------------------------------------------------

    def settings(self, *, patience: Mapping[str, int] | None = None, **changes: Any) -> Object:
        """Return the settings of `dev`, with little patience, and of `prod`."""
        little = {"stability_seconds": 1, "grace_seconds": 4, "deadline_seconds": 60}
        own = {
            "values": ["helm/environments/dev.yaml", FAST],
            "patience": {**little, **(patience or {})},
            **changes,
        }
        settings = self.env.settings(**own)
        prod = {
            **settings["environments"][ENVIRONMENT],
            "branches": ["main"],
            "namespace": "{project}-prod",
            "host": "mautic.example.com",
            "values": ["helm/environments/prod.yaml", FAST],
            "registry": {"kind": "oci", "url": f"{self.env.registry}/prod"},
            "protected": True,
        }
        del prod["ttl"]
        settings["environments"]["prod"] = prod
        return settings

    def run(
        self, *args: str, settings: Object | None = None, **options: Any
    ) -> CompletedProcess[str]:
        """Run `inv` to its end."""
        return self.env.run(*args, settings=settings or self.settings(), **options)

    def ok(self, *args: str, **options: Any) -> CompletedProcess[str]:
        """Run `inv` to its end; it must succeed."""
        done = self.run(*args, **options)
        assert done.returncode == 0, f"inv {' '.join(args)}: {done.returncode}\n{done.stderr}"
        return done

    def deploy(self, branch: str, *options: str, **more: Any) -> CompletedProcess[str]:
        """Run `inv deploy` for a branch to its end."""
        return self.run(*_deploy(branch), *options, **more)

    def deployed(self, branch: str, *options: str, **more: Any) -> CompletedProcess[str]:
        """Deploy a branch; it must succeed."""
        return self.ok(*_deploy(branch), *options, **more)

    def begun(self, branch: str, cwd: Path) -> Popen[str]:
        """Begin `inv deploy` for a branch in another checkout."""
        return self.env.start(*_deploy(branch), settings=self.settings(), cwd=cwd)

    def names(self, branch: str, environment: str = ENVIRONMENT) -> Names:
        """Return a branch's names."""
        return names_of(parse(self.settings(), lambda path: "the test"), environment, branch)

    # -- what the cluster has -----------------------------------------------------------------

    def serving(self, branch: str, environment: str = ENVIRONMENT) -> set[str]:
        """Return the images of the web pods that are ready."""
        names = self.names(branch, environment)
        pods = self.cluster.find("Pod", names.namespace, f"{INSTANCE}={names.release}")
        return {
            container["image"]
            for pod in pods
            if (pod["metadata"]["labels"].get(COMPONENT) == "web")
            and "deletionTimestamp" not in pod["metadata"]
            for container in pod["spec"]["containers"]
            if any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod["status"].get("conditions", [])
            )
        }

    def exists(self, branch: str) -> bool:
        """Return True if a branch has a namespace."""
        return self.cluster.get("Namespace", self.names(branch).namespace) is not None

    def quiesced(self, branch: str) -> list[str]:
        """Return the workers and crons that do not run."""
        where = self.names(branch).namespace
        crons = self.cluster.find("CronJob", where)
        workers = self.cluster.find("Deployment", where, f"{COMPONENT} in (worker,cron)")
        return [
            *(item["metadata"]["name"] for item in crons if item["spec"].get("suspend")),
            *(item["metadata"]["name"] for item in workers if not item["spec"]["replicas"]),
        ]

    def migrations(self, branch: str) -> list[str]:
        """Return the migrations of a branch that run, or are about to."""
        where = self.names(branch).namespace
        jobs = self.cluster.find("Job", where, f"{COMPONENT}=migrate")
        over = {"Complete", "Failed", "FailureTarget"}
        return [
            item["metadata"]["name"]
            for item in jobs
            if not over & {one["type"] for one in item["status"].get("conditions", [])}
        ]

    def image(self, tag: str) -> str:
        """Return the reference that pods of a tag run as the mautic image."""
        return next(
            f"{self.env.registry}/mautic@{digest}"
            for name, digest in self.env.push(tag).items()
            if name == "mautic"
        )

    def history(self, branch: str, environment: str = ENVIRONMENT) -> list[Object]:
        """Return Helm's revisions of a branch's release."""
        names = self.names(branch, environment)
        done = self.helm("history", names.release, "-o", "json", f"--namespace={names.namespace}")
        found: list[Object] = yaml.safe_load(done)
        return found

    def helm(self, *args: str) -> str:
        """Run the Helm that the suite runs; return its stdout."""
        done = subprocess.run(
            [str(self.env.helm), *args],
            env={"KUBECONFIG": str(self.env.plane.kubeconfig), "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def helm_values(
        self,
        branch: str,
        environment: str = ENVIRONMENT,
        *,
        tag: str,
        settings: Object | None = None,
    ) -> list[str]:
        """Return Helm's options for the values that a deploy of a tag uses."""
        settings = settings or self.settings()
        names = self.names(branch, environment)
        plan = self.ok(
            *("deploy", "--env", environment, "--branch", branch, "--tag", tag),
            *("--dry-run", "--format", "json"),
            settings=settings,
        )
        values = json.loads(plan.stdout)["values"]
        secret = self.cluster.get("Secret", "mautic", names.namespace)
        assert secret
        values["secret"]["version"] = secret["metadata"]["resourceVersion"]
        path = self.env.checkout.parent / f"values-{names.slug}.json"
        path.write_text(json.dumps(values))
        files = settings["environments"][environment]["values"]
        return [f"--values={self.env.checkout / name}" for name in files] + [f"--values={path}"]

    def api(self, path: str, **query: str) -> Object:
        """Return what the API answers to a GET."""
        return self._api.json(ApiRequest("GET", path, query))

    def applied(self, path: str, manifest: Object, manager: str, *, dry: bool = True) -> Object:
        """Return an object as it is, or would be, after a server-side apply."""
        query = {"fieldManager": manager, "force": "true", **({"dryRun": "All"} if dry else {})}
        return self._api.json(
            ApiRequest("PATCH", path, query, manifest, "application/apply-patch+yaml")
        )

    def delete(self, path: str) -> None:
        """Delete an object."""
        self._api.json(ApiRequest("DELETE", path))

    def refusal(self, path: str, manifest: Object) -> str:
        """Return why the API would not take an object, or an empty string."""
        try:
            self.applied(path, manifest, "test")
        except ClusterError as error:
            return error.message
        return ""

    @cached_property
    def resources(self) -> tuple[tuple[str, str, str, bool], ...]:
        """Each kind that can be listed, as at first: kind, root path, plural, if namespaced."""
        groups = self.api("/apis")["groups"]
        roots = ["/api/v1", *(f"/apis/{g['preferredVersion']['groupVersion']}" for g in groups)]
        return tuple(
            (each["kind"], root, each["name"], each["namespaced"])
            for root in roots
            for each in self.api(root)["resources"]
            if {"list", "get"} <= set(each["verbs"])
        )

    def dump(self, *, leases: bool = False) -> dict[Key, Object]:
        """Return every object of the cluster by kind, namespace and name, without what shifts.

        Args:
            leases: those of branches, too.
        """
        self._settle()
        found: dict[Key, Object] = {}
        for kind, root, plural, _ in self.resources:
            if (
                plural in SHIFTING and not (leases and plural == "leases")
            ) or kind == "ComponentStatus":
                continue
            for item in self.api(f"{root}/{plural}")["items"]:
                meta = item["metadata"]
                if plural == "leases" and meta["namespace"].startswith("kube-"):
                    continue
                key = (kind, meta.get("namespace", ""), meta["name"])
                found[key] = {
                    "uid": meta["uid"],
                    "labels": meta.get("labels"),
                    **{name: value for name, value in item.items() if name in {"spec", "data"}},
                }
        return found

    def _settle(self) -> None:
        """Wait until nothing is on its way out, of earlier tests for example."""
        until(
            lambda: (
                not [
                    item
                    for kind in ("Namespace", "PersistentVolume", "Pod")
                    for item in self.cluster.find(kind)
                    if "deletionTimestamp" in item["metadata"]
                ]
            )
        )


def _deploy(branch: str) -> tuple[str, ...]:
    """Return the words of a deploy of images that were pushed by hand, which have no marker."""
    return ("deploy", *ON, "--branch", branch, "--new", "--no-build")


def until(condition: Callable[[], Any], seconds: float = SETTLE_SECONDS) -> Any:
    """Wait for a condition and return its value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return found


class Lines(threading.Thread):
    """Reads the output of a run, with the time of each line."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.lines: list[tuple[float, str]] = []
        self.start()

    def run(self) -> None:
        """Read to the end."""
        for line in self._stream:
            self.lines.append((time.time(), line.rstrip("\n")))

    def text(self) -> str:
        """Return everything after its end."""
        self.join()
        return "\n".join(line for _, line in self.lines)

    def says(self, words: str) -> bool:
        """Return True if a line with these words came so far."""
        return any(words in line for _, line in list(self.lines))

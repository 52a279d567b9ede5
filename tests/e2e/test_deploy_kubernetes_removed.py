"""Runs that meet a clean-up of the same branch: each ends clearly, and nothing stays half done."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.deploys import Deploys, Lines, Object, until
from tests.support.kube_cli import ON, PLATFORM, KubeEnv

MANAGED_BY = {"app.kubernetes.io/managed-by": "mautic-multidev"}
FINALIZER = "held.test.k8s.io/controller"
"""Of a kind that a clean-up has patience with: a busy machine takes its time to let go of it."""
SLOW_DROP = {"database": "job-slow:8"}


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    """The command line, and a control plane."""
    with Deploys(kube_env) as made:
        for tag in ("good", "next"):
            made.env.push(tag)
        yield made


class Removal:
    """A clean-up that holds the Lease for seconds, and whose namespace stays until released."""

    def __init__(self, deploys: Deploys, branch: str) -> None:
        self._deploys = deploys
        self.branch = branch
        self.where = deploys.names(branch).namespace
        deploys.deployed(branch, "--tag", "good")
        metadata: Object = {"name": "held", "namespace": self.where, "labels": MANAGED_BY}
        metadata["finalizers"] = [FINALIZER]
        deploys.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        deploys.fate(branch, **SLOW_DROP)
        self.before = self.namespace()
        self.process, self.said = self.start("cleanup")
        until(self._drops)

    def start(self, *args: str) -> tuple[subprocess.Popen[str], Lines]:
        """Start another run on this branch."""
        settings = self._deploys.settings()
        process = self._deploys.env.start(*args, *ON, "--branch", self.branch, settings=settings)
        return process, Lines(process.stderr)

    def namespace(self) -> str:
        """Return the uid of the branch's namespace, or nothing."""
        found = self._deploys.cluster.get("Namespace", self.where)
        return found["metadata"]["uid"] if found else ""

    def ends(self) -> bool:
        """Return True if the namespace is on its way out, and the Lease with it."""
        cluster = self._deploys.cluster
        found = cluster.get("Namespace", self.where)
        lease = cluster.get("Lease", "mautic-multidev", self.where)
        return bool(found and "deletionTimestamp" in found["metadata"] and lease is None)

    def release(self) -> None:
        """Let the namespace go."""
        patch: Object = {"metadata": {"finalizers": None}}
        self._deploys.cluster.patch("ConfigMap", "held", self.where, patch)

    def _drops(self) -> bool:
        name = f"database-drop-{self._deploys.names(self.branch).release}"
        job = self._deploys.cluster.get("Job", name, PLATFORM)
        return bool(job and job["status"].get("active"))


def test_a_deploy_that_waits_for_a_clean_up_deploys_afresh(deploys: Deploys) -> None:
    removal = Removal(deploys, "afresh")
    deploy, said = removal.start("deploy", "--tag", "next")
    until(lambda: said.says("waiting for "))
    until(lambda: said.says(f"{removal.where} is being removed; waiting for its end"))
    assert removal.ends()
    assert deploy.poll() is None
    removal.release()

    assert removal.process.wait(timeout=120) == 0, removal.said.text()
    assert deploy.wait(timeout=120) == 0, said.text()
    assert removal.namespace() not in {"", removal.before}
    assert deploys.image("next") in deploys.serving("afresh")
    assert len(deploys.serving("afresh")) == 2
    assert [one["status"] for one in deploys.history("afresh")] == ["deployed"]
    assert "log in as admin with the password" in said.text()


def test_a_clean_up_that_waits_for_another_one_ends_with_it(deploys: Deploys) -> None:
    removal = Removal(deploys, "twice")
    second, said = removal.start("cleanup")
    until(lambda: said.says("waiting for "))
    until(removal.ends)
    removal.release()

    assert removal.process.wait(timeout=120) == 0, removal.said.text()
    assert second.wait(timeout=120) == 0, said.text()
    assert removal.namespace() == ""


def test_a_clean_up_that_was_killed_while_the_namespace_goes_is_finished(deploys: Deploys) -> None:
    removal = Removal(deploys, "killed")
    until(removal.ends)
    removal.process.kill()
    removal.process.wait()

    second, said = removal.start("cleanup")
    until(lambda: said.says(f"waiting for the end of namespace/{removal.where}"))
    removal.release()
    assert second.wait(timeout=120) == 0, said.text()
    assert removal.namespace() == ""
    deploys.fate(removal.branch)
    again = deploys.ok("cleanup", *ON, "--branch", removal.branch)
    assert "nothing to remove" in again.stderr


def test_a_lease_in_a_namespace_that_goes_is_not_taken(deploys: Deploys) -> None:
    """The API keeps an object that has a finalizer, and takes changes of it."""
    branch = "left"
    where = deploys.names(branch).namespace
    deploys.deployed(branch, "--tag", "good")
    moment = datetime.now(UTC) + timedelta(hours=1)
    held: Object = {
        "metadata": {"finalizers": [FINALIZER]},
        "spec": {
            "holderIdentity": "ada@elsewhere (process 1)",
            "leaseDurationSeconds": 30,
            "renewTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
    deploys.cluster.patch("Lease", "mautic-multidev", where, held)
    runs = []
    for args in (("rollback", "--to", "good"), ("deploy", "--tag", "next")):
        process = deploys.env.start(*args, *ON, "--branch", branch, settings=deploys.settings())
        runs.append((process, Lines(process.stderr)))
    (back, told), (deploy, said) = runs
    for words in (told, said):
        until(lambda words=words: words.says("is held by ada@elsewhere"))
    deploys.cluster.delete("Namespace", where)
    free: Object = {"spec": {"holderIdentity": ""}}
    deploys.cluster.patch("Lease", "mautic-multidev", where, free)

    for words in (told, said):
        until(lambda words=words: words.says(f"{where} is being removed; waiting for its end"))
    deploys.cluster.patch("Lease", "mautic-multidev", where, {"metadata": {"finalizers": None}})
    assert back.wait(timeout=60) == 4, told.text()
    assert f"error: {where} was removed meanwhile\n" in told.text()
    assert "nothing was changed" in told.text()
    assert deploy.wait(timeout=120) == 0, said.text()
    assert deploys.image("next") in deploys.serving(branch)

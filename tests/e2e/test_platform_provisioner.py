"""The command line and the provisioner: platform.apply, deploys as CI jobs, and clean-ups."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import docker
import pymysql
import pytest
import yaml

from provisioner.server import Login
from tests.support.kube_cli import (
    ADMIN_SECRET,
    ENVIRONMENT,
    ON,
    PLATFORM,
    KubeEnv,
    kube_environment,
    with_remote,
)
from tests.support.node import Node
from tests.support.platform import BRANCHES, MAIN, Audited, audited
from tests.support.provisioner import (
    ACCOUNT,
    ADMINISTRATOR,
    Database,
    Mounted,
    Process,
    running,
    running_database,
)

Object = dict[str, Any]

IMAGE = f"registry.example.com/mautic/provisioner@sha256:{'a' * 64}"
TAG = "first"
FAST = {"web": {"minReadySeconds": 1, "drainSeconds": 1}}


class Site:
    """An environment whose databases the platform's provisioner makes.

    Attributes:
        job: kubeconfig of a CI job of a branch.
    """

    def __init__(self, env: KubeEnv, database: Database, job: Path) -> None:
        self.env = env
        self.database = database
        self.job = job

    def settings(self, image: str = IMAGE, **changes: Any) -> Object:
        server = {
            "host": self.database.address.host,
            "port": self.database.address.port,
            "tls_ca": "/var/www/html/config/database.pem",
            "provisioner": image,
        }
        little = {"stability_seconds": 1, "grace_seconds": 4, "deadline_seconds": 60}
        files = ["helm/environments/dev.yaml", "helm/environments/fast.yaml"]
        return self.env.settings(database=server, patience=little, values=files, **changes)

    def run(self, *args: str, admin: bool = False, **options: Any) -> CompletedProcess[str]:
        """Run `inv`, as a CI job unless as the administrator."""
        task, *rest = args
        environ = {} if admin else {"KUBECONFIG": str(self.job)}
        options.setdefault("settings", self.settings())
        return self.env.run(task, *ON, *rest, env=environ, **options)

    def ok(self, *args: str, **options: Any) -> CompletedProcess[str]:
        done = self.run(*args, **options)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return done

    def plan(self) -> list[tuple[str, str]]:
        done = self.ok("platform.apply", *self.values, "--dry-run", "--format=json", admin=True)
        return [(step["verb"], step["subject"]) for step in json.loads(done.stdout)["steps"]]

    @property
    def values(self) -> tuple[str, ...]:
        return ("--values", str(self.env.checkout / "platform.yaml"))

    @property
    def user(self) -> str:
        return f"{self.env.project}__manager"

    def secret(self, name: str, where: str) -> dict[str, str]:
        found = self.env.cluster.get("Secret", name, where) or {}
        data = found.get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("provisioned-plane"))


@pytest.fixture(scope="module")
def site(
    plane: Audited,
    registry: str,
    engine: docker.DockerClient,
    _project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    scratch = tmp_path_factory.mktemp("provisioned")
    with (
        Node(plane) as node,
        kube_environment(plane, node, registry, _project, scratch) as env,
        running_database(engine, tmp_path_factory.mktemp("database")) as database,
    ):
        config = env.checkout / "docker" / "mautic" / "config"
        (config / "database.pem").write_text(Path(database.address.ca).read_text())
        (env.checkout / "helm" / "environments" / "fast.yaml").write_text(yaml.safe_dump(FAST))
        access = {
            "main": {"group": MAIN, "environments": [ENVIRONMENT]},
            "branches": {"group": BRANCHES, "environments": [ENVIRONMENT]},
        }
        (env.checkout / "platform.yaml").write_text(yaml.safe_dump({"access": access}))
        with_remote(env.checkout)
        env.push(TAG)
        yield Site(env, database, plane.user("job-of-a-branch", BRANCHES))


@pytest.fixture(scope="module")
def before(site: Site) -> str:
    """A branch that was deployed before there was a provisioner; what came with the platform."""
    old = site.settings(image="")
    site.ok("deploy", "--branch", "old", "--tag", TAG, settings=old, admin=True)
    own = site.env.names("old")
    password = site.secret("mautic", own.namespace)["db_password"]
    # What the played Job would have done.
    for statement in (
        f"CREATE DATABASE {own.database}",
        f"CREATE TABLE {own.database}.kept (v INT)",
        f"CREATE USER '{own.database_user}'@'%' IDENTIFIED BY '{password}'",
    ):
        site.database.sql(statement)
    return password


@pytest.fixture(scope="module")
def installed(site: Site, before: str) -> CompletedProcess[str]:
    """The platform, as the administrator installs it."""
    refused = site.run("deploy", "--branch", "feature/x", "--tag", TAG, admin=True)
    assert refused.returncode == 1
    assert f"there is no provisioner of databases in {PLATFORM}" in refused.stderr
    assert f"inv platform.apply --env {ENVIRONMENT}" in refused.stderr
    return site.ok("platform.apply", *site.values, admin=True)


@pytest.fixture(scope="module")
def provisioner(
    site: Site,
    plane: Audited,
    installed: CompletedProcess[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    """The real program, with what `inv platform.apply` has left in the cluster."""
    scratch = tmp_path_factory.mktemp("process")
    found = site.env.cluster.get("ConfigMap", "mautic-provisioner", PLATFORM)
    assert found
    (scratch / "ca.pem").write_text(found["data"]["ca.pem"])
    login = site.secret("mautic-provisioner", PLATFORM)
    own = Login(login["username"], login["password"])
    plane.pki.issue("provisioner", ACCOUNT)
    kubeconfig = plane.write_kubeconfig(scratch / "kubeconfig", "provisioner")
    mounted = Mounted(found["data"]["rules.json"], own, str(scratch / "ca.pem"))
    made = Process(mounted, scratch, kubeconfig)
    made.set_up(ADMINISTRATOR)
    with running(made):
        yield made


def test_the_platform_is_installed_once_and_its_user_is_made_by_the_administrator(
    site: Site, installed: CompletedProcess[str]
) -> None:
    assert f"set up database user {site.user}" in installed.stderr
    assert site.plan() == []
    login = site.secret("mautic-provisioner", PLATFORM)
    assert login["username"] == site.user
    assert login["password"] not in installed.stderr + installed.stdout
    state = site.run("platform.status", *site.values, "--format=json", admin=True)
    rows = {row["object"]: row["state"] for row in json.loads(state.stdout)}
    assert rows[f"deployment {PLATFORM}/mautic-provisioner"] == "ok"
    assert rows[f"secret {PLATFORM}/mautic-provisioner"] == "ok"
    assert "validatingadmissionpolicy mautic-multidev-jobs" not in rows
    # A Secret that is lost is made again, and the user with it; another password replaces it.
    site.env.cluster.delete("Secret", "mautic-provisioner", PLATFORM)
    assert site.plan() == [("set up", f"database user {site.user}")]
    site.ok("platform.apply", *site.values, admin=True)
    assert site.secret("mautic-provisioner", PLATFORM)["password"] != login["password"]
    assert site.env.cluster.get("Job", "mautic-provisioner-setup", PLATFORM) is None
    # The administrator stands in no other object that was made.
    job_secret = site.secret(ADMIN_SECRET, PLATFORM)
    for kind in ("ConfigMap", "Deployment"):
        for item in site.env.cluster.find(kind, PLATFORM):
            assert job_secret["password"] not in json.dumps(item)


def test_a_deploy_waits_for_its_database_and_tells_what_happens(
    site: Site, provisioner: Process
) -> None:
    own = site.env.names("feature/x")
    done = site.ok("deploy", "--branch", "feature/x", "--tag", TAG)
    assert f"wait for database {own.database}" in done.stderr
    assert "provisioner: ready" in done.stderr
    password = site.secret("mautic", own.namespace)["db_password"]
    assert site.secret("mautic-database", own.namespace)["password"] == password
    assert password not in done.stderr + done.stdout
    login = Login(own.database_user, password)
    assert site.database.sql("SELECT 1", login, own.database) == [1]
    assert "everything is as it should be" in _said(
        site.ok("deploy", "--branch", "feature/x", "--tag", TAG)
    )
    cleaned = site.ok("cleanup", "--branch", "feature/x")
    assert f"removed database {own.database}" in cleaned.stderr
    assert site.env.cluster.get("Namespace", own.namespace) is None
    assert not site.database.names() & {own.database, own.database_user}
    assert "nothing" in _said(site.ok("cleanup", "--branch", "feature/x"))


def _said(done: CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr).lower()


def test_an_environment_of_before_keeps_its_password_and_its_data(
    site: Site, before: str, provisioner: Process
) -> None:
    own = site.env.names("old")
    site.env.push("second")
    site.ok("deploy", "--branch", "old", "--tag", "second")
    assert site.secret("mautic", own.namespace)["db_password"] == before
    login = Login(own.database_user, before)
    assert site.database.sql("SHOW TABLES", login, own.database) == ["kept"]


def test_a_namespace_that_stays_gives_its_database_back(site: Site, provisioner: Process) -> None:
    own = site.env.names("kept")
    site.ok("deploy", "--branch", "kept", "--tag", TAG)
    foreign = {"name": "of-somebody", "namespace": own.namespace}
    site.env.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": foreign})
    assert "kept namespace" in site.ok("cleanup", "--branch", "kept").stderr
    assert not site.database.names() & {own.database, own.database_user}
    site.ok("deploy", "--branch", "kept", "--tag", TAG)
    password = site.secret("mautic", own.namespace)["db_password"]
    login = Login(own.database_user, password)
    assert site.database.sql("SELECT 1", login, own.database) == [1]


def test_without_an_answer_the_deploy_says_who_is_silent(
    site: Site, provisioner: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioner.kill()
    try:
        done = site.run("deploy", "--branch", "silent", "--tag", TAG)
    finally:
        provisioner.start()
    own = site.env.names("silent")
    assert done.returncode == 1
    assert f"database {own.database} is not ready after 34 s: it has not answered" in done.stderr
    assert f"deployment/mautic-provisioner in {PLATFORM} has 1 of 1 pods ready" in done.stderr
    # What was asked for is there at the next attempt.
    site.ok("deploy", "--branch", "silent", "--tag", TAG)


def test_a_ci_job_has_no_way_left_to_the_administrator(site: Site, provisioner: Process) -> None:
    """The settings of a branch are the branch's own: the old way is closed by the cluster."""
    done = site.run("deploy", "--branch", "thief", "--tag", TAG, settings=site.settings(image=""))
    assert done.returncode == 1
    assert "403" in done.stderr
    assert site.env.cluster.find("Job", PLATFORM) == []
    with pytest.raises(pymysql.MySQLError):
        site.database.sql("SELECT 1", Login(site.env.names("thief").database_user, "x"))

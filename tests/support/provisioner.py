"""The provisioner in tests: a real database server, and the program itself as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pymysql
import requests

from provisioner.server import Address, Login
from tasks.core.kubernetes.provisioner import rules_of
from tasks.core.settings import parse
from tests.support.controlplane import Pki, free_ports
from tests.support.deploys import until
from tests.support.images import PREFIX, debian, has_image, key_of, machine_lock, run, standin
from tests.support.suite import ROOT

FOLDER = ROOT / "docker" / "platform" / "provisioner"
LABEL = "io.mautic-multidev.test"
ADMINISTRATOR = Login("root", "planted 'admin' \"pass\"word\\")
PLATFORM = "mautic-system"
FLOOR = {"maxEnvironments": 0, "quota": {"pods": "40"}, "limits": []}
"""What namespaces stand on, where a test has nothing else to say."""
ACCOUNT = f"system:serviceaccount:{PLATFORM}:mautic-provisioner"


def provisioner_image(engine: docker.DockerClient) -> str:
    """Return the provisioner's image, built if the engine lacks it."""
    base = debian(engine)
    parts = ("__init__", "display", "errors", "names")
    core = [ROOT / "tasks" / "core" / f"{name}.py" for name in parts]
    tag = key_of(FOLDER, ROOT / "docker" / "apt", *core, more=base)
    reference = f"{PREFIX}/provisioner:{tag}"
    with machine_lock("provisioner"):
        if not has_image(engine, reference):
            run(
                *("docker", "buildx", "--builder", "default", "bake", "--load"),
                *("--file", str(FOLDER / "docker-bake.hcl")),
                *(f"--set=provisioner.tags={reference}", f"--set=provisioner.context={FOLDER}"),
                f"--set=provisioner.contexts.apt={ROOT / 'docker' / 'apt'}",
                f"--set=provisioner.contexts.core={ROOT / 'tasks' / 'core'}",
                env={"DEBIAN_IMAGE": base},
            )
    return reference


@dataclass
class Database:
    """A MariaDB on loopback, which speaks TLS.

    Attributes:
        address: where it is, with its authority.
    """

    container: Any
    address: Address

    def sql(
        self, statement: str, login: Login = ADMINISTRATOR, database: str | None = None
    ) -> list[Any]:
        """Run a statement, and return the first column."""
        connection = pymysql.connect(
            host=self.address.host,
            port=self.address.port,
            user=login.user,
            password=login.password,
            database=database,
            autocommit=True,
            ssl_ca=self.address.ca,
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def names(self) -> set[str]:
        """Return the names of all databases and users."""
        return {
            *self.sql("SELECT schema_name FROM information_schema.schemata"),
            *self.sql("SELECT user FROM mysql.user"),
        }

    def stop(self) -> None:
        """Stop the server; its data stay."""
        self.container.pause()

    def resume(self) -> None:
        """Let the server answer again."""
        self.container.unpause()


@contextlib.contextmanager
def running_database(engine: docker.DockerClient, scratch: Path) -> Iterator[Database]:
    """Run a database server that takes connections by TLS alone from everybody but root."""
    pki = Pki(scratch / "pki")
    pki.issue("database", "database", server=True)
    for file in ("database.crt", "database.key", "ca.crt"):
        (pki.root / file).chmod(0o644)
    pki.root.chmod(0o755)
    (port,) = free_ports(1)
    made = engine.containers.create(
        standin(engine, "database"),
        [
            "mariadbd",
            "--ssl-ca=/tls/ca.crt",
            "--ssl-cert=/tls/database.crt",
            "--ssl-key=/tls/database.key",
        ],
        labels={LABEL: "1"},
        environment={"MYSQL_ROOT_PASSWORD": ADMINISTRATOR.password},
        tmpfs={
            "/var/lib/mysql": "uid=999,gid=999",
            "/run/mysqld": "uid=999,gid=999",
            "/tmp": "",
        },
        volumes={str(pki.root): {"bind": "/tls", "mode": "ro"}},
        # The certificate is for the first one only.
        ports={"3306/tcp": [("127.0.0.1", port), ("127.0.0.2", port)]},
    )
    database = Database(made, Address("127.0.0.1", port, str(pki.root / "ca.crt")))
    try:
        made.start()

        def answers() -> bool:
            try:
                return database.sql("SELECT 1") == [1]
            except (pymysql.MySQLError, OSError):
                return False

        until(answers, 60)
        yield database
    finally:
        made.remove(force=True, v=True)


def rules(database: Database, project: str = "mautic", **changes: Any) -> dict[str, Any]:
    """Return rules for the environments dev and prod on a server."""
    own = {
        "target": "kubernetes",
        "branches": ["*"],
        "host": "{slug}.dev.example.org",
        "cluster": {"name": "one"},
        "database": {"host": database.address.host, "port": database.address.port},
        "platform_namespace": PLATFORM,
        "registry": {"url": "registry.example.org/dev"},
    }
    production = {
        "namespace": "{project}-prod",
        "host": "mautic.example.com",
        "registry": {"url": "registry.example.org/prod"},
        "protected": True,
    }
    given = {"project": project, "environments": {"dev": own, "prod": {**own, **production}}}
    settings = parse(given, lambda _: "test")
    return {**rules_of(settings, "dev", settings.environments), **changes}


@dataclass(frozen=True)
class Mounted:
    """What the provisioner's pod has in files.

    Attributes:
        rules: the text of rules.json.
        floor: the text of floor.json.
        own: its database user.
        ca: file with the authorities of the database's certificate.
    """

    rules: str
    own: Login
    ca: str
    floor: str = json.dumps(FLOOR)


class Process:
    """The provisioner as a process, which can be killed and started again.

    Args:
        scratch: an empty folder.
    """

    def __init__(self, mounted: Mounted, scratch: Path, kubeconfig: Path) -> None:
        self.health = ""
        self.log = scratch / "provisioner.log"
        self.own = mounted.own
        self._scratch = scratch
        self._running: list[subprocess.Popen[bytes]] = []
        (scratch / "rules.json").write_text(mounted.rules)
        (scratch / "floor.json").write_text(mounted.floor)
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{FOLDER}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "KUBECONFIG": str(kubeconfig),
            "PROVISIONER_RULES": str(scratch / "rules.json"),
            "PROVISIONER_FLOOR": str(scratch / "floor.json"),
            "PROVISIONER_LOGIN": str(self._folder("login", mounted.own)),
            "PROVISIONER_CA": mounted.ca,
            "PROVISIONER_NAMESPACE": PLATFORM,
        }

    def _folder(self, name: str, login: Login) -> Path:
        """Write a user as a mounted Secret has it."""
        folder = self._scratch / name
        folder.mkdir()
        (folder / "username").write_text(login.user)
        (folder / "password").write_text(login.password)
        return folder

    def set_up(self, administrator: Login) -> str:
        """Run the Job's command to its end; return what it says."""
        folder = self._folder("admin", administrator)
        done = subprocess.run(
            [sys.executable, "-m", "provisioner", "setup"],
            cwd=self._scratch,
            env={**self._environ, "PROVISIONER_ADMIN": str(folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def plant(self, given: bytes) -> tuple[int, str]:
        """Run what loads a seed, as an exec into the pod does; return its status and words."""
        done = subprocess.run(
            [sys.executable, "-m", "provisioner", "plant"],
            cwd=self._scratch,
            env=self._environ,
            input=given,
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stderr.decode()

    @contextlib.contextmanager
    def lend(self, namespace: str) -> Iterator[subprocess.Popen[str]]:
        """Run what lends a namespace's database, as an exec into the pod does."""
        argv = [sys.executable, "-m", "provisioner", "lend"]
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(
            argv, cwd=self._scratch, env=self._environ, text=True, **streams
        ) as running:
            assert running.stdin
            running.stdin.write(f"{namespace}\n")
            running.stdin.flush()
            yield running

    def start(self, *, wait: bool = True) -> None:
        """Start one, beside those that run."""
        (port,) = free_ports(1)
        self.health = f"http://127.0.0.1:{port}/healthz"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "provisioner", "operate"],
                cwd=self._scratch,
                env={**self._environ, "PROVISIONER_HEALTH": self.health},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)

        def answers() -> bool:
            assert process.poll() is None, self.log.read_text()[-3000:]
            return self.answer() == requests.codes.ok

        if wait:
            until(answers, 60)

    def answer(self) -> int:
        """Return what the last one that was started answers to a probe: a status; 0 for nothing."""
        try:
            return requests.get(self.health, timeout=5).status_code
        except requests.RequestException:
            return 0

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End all that run."""
        for process in self._running:
            process.send_signal(number)
        for process in self._running:
            process.wait(timeout=60)
        self._running.clear()


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """Run one provisioner; all that run end with the block."""
    try:
        process.start()
        yield process
    finally:
        process.kill()

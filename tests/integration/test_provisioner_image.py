"""The provisioner's image: hardened, complete, and with nothing to install or build by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.environment import Owner, State
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.provisioner import is_furnished, rules_of
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.settings import names_of, parse
from tests.integration.standin_support import container, finish
from tests.support.controlplane import ControlPlane, free_ports
from tests.support.deploys import until
from tests.support.provisioner import (
    ADMINISTRATOR,
    FLOOR,
    Database,
    provisioner_image,
    running_database,
)

SETTINGS = parse(
    {
        "project": "image-test",
        "environments": {
            "dev": {
                "target": "kubernetes",
                "branches": ["*"],
                "host": "{slug}.dev.example.org",
                "cluster": {"name": "one"},
                "database": {"host": "192.0.2.1"},
                "registry": {"url": "registry.example.org/dev"},
            }
        },
    },
    lambda _: "the test",
)
RULES = rules_of(SETTINGS, "dev", SETTINGS.environments)
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "tmpfs": {"/tmp": "uid=65532,gid=65532"},
}


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient) -> str:
    return provisioner_image(engine)


def test_it_runs_as_nobody_and_holds_all_that_it_imports(
    engine: docker.DockerClient, image: str
) -> None:
    script = (
        "import os, shutil, botocore.session, provisioner.operator, provisioner.administrator\n"
        "botocore.session.get_session().create_client('secretsmanager', region_name='eu-west-1')\n"
        "print(os.getuid(), [shutil.which(one) for one in ('pip', 'gcc', 'curl', 'git')])"
    )
    argv = ["/opt/venv/bin/python", "-c", script]
    with container(engine, image, argv[1:], entrypoint=argv[:1], **HARDENED) as made:
        assert finish(made) == (0, "65532 [None, None, None, None]\n")


@pytest.fixture(scope="module")
def database(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with running_database(engine, tmp_path_factory.mktemp("database")) as made:
        yield made


def test_it_makes_its_user_as_the_job_does(
    engine: docker.DockerClient, image: str, database: Database, tmp_path: Path
) -> None:
    address = database.address
    files = {
        "config/rules.json": (
            f'{{"project": "mautic", "host": "{address.host}", "port": {address.port},'
            ' "environments": {}, "others": {}}'
        ),
        "config/ca.pem": Path(address.ca).read_text(),
        "login/username": "mautic__manager",
        "login/password": "planted-password",
        "admin/username": ADMINISTRATOR.user,
        "admin/password": ADMINISTRATOR.password,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    environment = {
        "PROVISIONER_RULES": "/given/config/rules.json",
        "PROVISIONER_LOGIN": "/given/login",
        "PROVISIONER_ADMIN": "/given/admin",
        "PROVISIONER_CA": "/given/config/ca.pem",
    }
    tmp_path.chmod(0o755)
    options = {
        **HARDENED,
        "network_mode": "host",
        "volumes": {str(tmp_path): {"bind": "/given", "mode": "ro"}},
        "environment": environment,
    }
    with container(engine, image, ["setup"], **options) as made:
        status, said = finish(made)
    assert (status, said) == (0, "provisioner: the user mautic__manager is limited to mautic_*\n")
    assert "mautic__manager" in database.names()


def test_it_operates_as_its_pod_does(
    engine: docker.DockerClient, image: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Hardened, as a user without a name, and before an authority without key identifiers."""
    (port,) = free_ports(1)
    files = {
        "config/rules.json": json.dumps(RULES),
        "config/floor.json": json.dumps(FLOOR),
        "login/username": "mautic__manager",
        "login/password": "planted-password",
        "kubeconfig": control_plane.kubeconfig.read_text(),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tmp_path.chmod(0o755)
    pki = str(control_plane.pki.root)
    options = {
        **HARDENED,
        "network_mode": "host",
        "volumes": {
            str(tmp_path): {"bind": "/given", "mode": "ro"},
            pki: {"bind": pki, "mode": "ro"},
        },
        "environment": {
            "KUBECONFIG": "/given/kubeconfig",
            "PROVISIONER_RULES": "/given/config/rules.json",
            "PROVISIONER_FLOOR": "/given/config/floor.json",
            "PROVISIONER_LOGIN": "/given/login",
            "PROVISIONER_NAMESPACE": "default",
            "PROVISIONER_HEALTH": f"http://127.0.0.1:{port}/healthz",
        },
    }
    with container(engine, image, ["operate"], **options) as made:

        def answers() -> bool:
            made.reload()
            assert made.status != "exited", made.logs().decode()
            try:
                return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=2).ok
            except requests.RequestException:
                return False

        until(answers, 60)
        own = names_of(SETTINGS, "dev", "plain")
        owner = Owner("dev", own.slug, own.branch, "https://git.example.com/mautic.git")
        admin = Cluster("test", str(control_plane.kubeconfig))
        admin.create(namespace(owner, own, ClusterRecord(State.DEPLOYING, own.url), ""))
        try:
            until(lambda: is_furnished(admin.get("Namespace", own.namespace)), 60)
        except AssertionError:
            pytest.fail(made.logs().decode())
        finally:
            admin.delete("Namespace", own.namespace)


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["setup"], 78, "a setting is missing or wrong: 'PROVISIONER_RULES'"),
        (["plant"], 78, "a setting is missing or wrong: 'PROVISIONER_RULES'"),
        (["drop"], 64, "say operate, setup, plant, unseal or lend"),
    ],
)
def test_used_wrongly_it_says_so(
    engine: docker.DockerClient, image: str, argv: list[str], status: int, said: str
) -> None:
    with container(engine, image, argv, **HARDENED) as made:
        found, text = finish(made)
    assert found == status, text
    assert said in text

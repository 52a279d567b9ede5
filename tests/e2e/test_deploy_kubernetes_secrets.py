"""Secrets of a deploy: planted values that can be told from all else are found in Secrets alone."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.deploys import Deploys
from tests.support.kube_cli import ADMIN_PASSWORD, ON, PLATFORM, KubeEnv
from tests.support.processes import watched_processes

BRANCH = "main"
PLANTED = {
    "db_password": "planted-db-4711-password",
    "db_root_password": "planted-root-4711-password",
    "secret_key": "planted4711" * 6,
    "admin_password": "planted-admin-4711-password",
    "door_password": "planted-door-4711-password",
    "redis_password": "planted-redis-4711-password",
}
MARKS = (*PLANTED.values(), ADMIN_PASSWORD)


def forms(secret: str) -> Iterator[str]:
    """Yield what a secret may look like: in clear, and in base64 at each offset."""
    yield secret
    for offset in range(3):
        raw = base64.b64encode(b"\0" * offset + secret.encode()).decode()
        yield raw[4 * bool(offset) : -4]


NEEDLES = [form for secret in MARKS for form in forms(secret)]


def leaks(text: str) -> list[str]:
    return [needle for needle in NEEDLES if needle in text]


@dataclass
class Told:
    """Everything that runs said, left or had among their processes."""

    said: str
    processes: set[str]
    files: dict[str, str]


@pytest.fixture(scope="module")
def deploys(kube_env: KubeEnv) -> Iterator[Deploys]:
    """The command line, and a control plane."""
    with Deploys(kube_env) as made:
        yield made


@pytest.fixture(scope="module")
def told(deploys: Deploys) -> Iterator[Told]:
    """A first deploy into a namespace whose Secret is there, a broken one, and a dry run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _told(deploys, monkeypatch)


def _told(deploys: Deploys, monkeypatch: pytest.MonkeyPatch) -> Told:
    env, node = deploys.env, deploys.env.node
    for tag in ("good", "broken"):
        env.push(tag)
    names = deploys.names(BRANCH)
    # As after a first deploy that failed: the namespace is ours, and its Secret there.
    deploys.fate(BRANCH, migrate="job-fail")
    runs = [deploys.deploy(BRANCH, "--tag", "good")]
    deploys.cluster.patch(
        "Secret",
        "mautic",
        names.namespace,
        {
            "data": {
                key: base64.b64encode(value.encode()).decode() for key, value in PLANTED.items()
            }
        },
    )
    home = env.inv.environ()["HOME"]
    with watched_processes(f"HOME={home}") as processes:
        deploys.fate(BRANCH)
        runs.append(deploys.deploy(BRANCH, "--tag", "good", "--format", "json"))
        deploys.fate(BRANCH, web="fpm=crash-loop")
        monkeypatch.setattr(node, "log", lambda pod: f"the password is {PLANTED['db_password']}")
        runs.append(deploys.deploy(BRANCH, "--tag", "broken"))
        deploys.fate(BRANCH)
        runs.append(deploys.deploy(BRANCH, "--tag", "broken", "--dry-run", "--format", "json"))
        runs.append(deploys.deploy(BRANCH, "--tag", "broken", "--dry-run"))
    ends = [f"{run.returncode}: {run.stdout}{run.stderr}" for run in runs]
    assert [run.returncode for run in runs] == [1, 0, 1, 0, 0], ends
    # The one place where a person is shown one of them, once.
    shown = f"log in as admin with the password {PLANTED['admin_password']}\n"
    assert runs[1].stderr.count(shown) == 1
    said = "".join(run.stdout + run.stderr for run in runs).replace(shown, "")
    left = [env.checkout / "deploy.env", *(env.checkout / "artifacts").rglob("*")]
    files = {str(path): path.read_text() for path in left if path.is_file()}
    return Told(said, processes, files)


def test_no_run_says_a_secret(told: Told) -> None:
    assert leaks(told.said) == []


def test_no_process_has_a_secret_among_arguments_or_variables(told: Told) -> None:
    helm = [one for one in told.processes if re.match(r"\S*/helm\0upgrade\0", one)]
    assert helm, "the processes were not seen"
    assert [leak for one in told.processes for leak in leaks(one)] == []


def test_nothing_that_is_left_holds_a_secret(told: Told) -> None:
    names = {Path(name).name for name in told.files}
    assert {"deploy.env", "timings.json", "error.txt", "events.txt"} <= names
    assert [name for name, text in told.files.items() if leaks(text)] == []


def test_a_secret_in_a_log_is_masked_among_the_evidence(told: Told) -> None:
    logs = [text for name, text in told.files.items() if name.endswith(".fpm.log")]
    assert any("the password is [redacted]" in text for text in logs)


@pytest.mark.usefixtures("told")
def test_helm_keeps_no_secret(deploys: Deploys) -> None:
    names = deploys.names(BRANCH)
    found = deploys.cluster.find("Secret", names.namespace, "owner=helm")
    assert len(found) >= 3
    for item in found:
        stored = base64.b64decode(base64.b64decode(item["data"]["release"]))
        release = gzip.decompress(stored).decode()
        assert json.loads(release)["name"] == names.release
        assert leaks(release) == []


@pytest.mark.usefixtures("told")
def test_no_other_object_of_the_cluster_holds_a_secret(deploys: Deploys) -> None:
    names = deploys.names(BRANCH)
    holding = []
    for kind, root, plural, _ in deploys.resources:
        if kind == "ComponentStatus":
            continue
        for item in deploys.api(f"{root}/{plural}")["items"]:
            meta = item["metadata"]
            if leaks(json.dumps(item)):
                holding.append((kind, meta.get("namespace", ""), meta["name"]))
    assert set(holding) == {
        ("Secret", names.namespace, "mautic"),
        ("Secret", PLATFORM, "mautic-database-admin"),
    }


@pytest.mark.usefixtures("told")
def test_what_was_there_stays_as_it_is(deploys: Deploys) -> None:
    found = deploys.cluster.get("Secret", "mautic", deploys.names(BRANCH).namespace)
    assert found
    values = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    assert values == PLANTED
    assert deploys.ok("list", *ON)


def test_a_secret_that_is_gone_is_not_made_anew(deploys: Deploys) -> None:
    branch, names = "feature/gone", deploys.names("feature/gone")
    deploys.env.push("good")
    assert deploys.deploy(branch, "--tag", "good").returncode == 0
    kept = deploys.cluster.get("Secret", "mautic", names.namespace)
    assert kept
    deploys.cluster.delete("Secret", "mautic", names.namespace)
    for options in ([], ["--dry-run"]):
        refused = deploys.deploy(branch, "--tag", "good", *options)
        assert refused.returncode == 1
        assert "the secrets of feature/gone are gone" in refused.stderr
        assert f"inv cleanup {' '.join(ON)} --branch {branch}" in refused.stderr
    assert deploys.cluster.get("Secret", "mautic", names.namespace) is None
    meta = {"name": "mautic", "namespace": names.namespace}
    deploys.cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": kept["data"]}
    )
    assert deploys.deploy(branch, "--tag", "good").returncode == 0
    found = deploys.cluster.get("Secret", "mautic", names.namespace)
    assert found
    assert found["data"] == kept["data"]

"""GitLab's jobs for real: in their own image, by gitlab-ci-local, to a site that answers.

One world for the whole file: a checkout with a remote that nobody asks, a registry and a platform
of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from subprocess import CompletedProcess

import docker
import pytest
import yaml

from tasks.core.config_sources import Level, merge, origin
from tasks.core.settings import parse
from tasks.core.stack_outputs import defaults
from tasks.flows.pipeline import LOCAL_FILE, local_settings
from tests.conftest import missing
from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.images import run
from tests.support.kube_cli import KubeEnv
from tests.support.local import World, make_world
from tests.support.suite import ROOT, Inv, commit_all, git

BRANCH = "Feature/Some_Thing-X"
SLUG = "feature-some-thing-x-9a3ca40a5a"
REPOSITORY = "https://gitlab.example.com/team/mautic"
SOCKET = Path("/var/run/docker.sock")
IMAGE_BYTES_MAX = 600_000_000

PASSED_ON = ("PIP_CERT", "PIP_INDEX_URL")
"""What the image's build may need to reach a package index."""


@dataclass
class GitLab:
    """The world, and how its pipeline is run.

    Attributes:
        world: checkout, settings, engine.
        env: the environment of every run.
    """

    world: World
    env: dict[str, str]

    def settings(self) -> dict[str, object]:
        """Return the world's settings, with a prod that takes stand-ins: there is nothing else."""
        own = self.world.settings()
        own["environments"]["prod"] = {"protected": False}
        return own

    def inv(self, *args: str, env: dict[str, str] | None = None) -> CompletedProcess[str]:
        """Run `inv` to its end."""
        return self.world.run(*args, settings=self.settings(), env={**self.env, **(env or {})})

    def jobs(self, *names: str) -> CompletedProcess[str]:
        """Run jobs of the pipeline on this machine."""
        return self.inv("ci.local", *(word for name in names for word in ("--job", name)))

    def image(self) -> str:
        """Return the image of the jobs."""
        done = self.inv("ci.image", "--format", "json")
        assert done.returncode == 0, done.stderr
        reference: str = json.loads(done.stdout)["images"]["ci"]["reference"]
        return reference

    def home(self, folder: Path) -> Path:
        """Write the settings that the jobs get into a file."""
        own = yaml.safe_load((ROOT / "invoke.yaml").read_text())
        levels = [Level("invoke.yaml", own), Level("-f", self.settings())]
        levels = [defaults(merge(levels)), *levels]
        settings = parse(merge(levels), lambda path: origin(levels, path))
        path = folder / "home.json"
        path.write_text(local_settings(settings).model_dump_json())
        path.chmod(0o644)
        return path


@pytest.fixture(scope="module")
def gitlab(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GitLab]:
    """A checkout of the project that looks like a clone of a GitLab project."""
    nearby = ROOT / "node_modules" / ".bin"
    path = os.pathsep.join((os.environ["PATH"], str(nearby)))
    if not which("gitlab-ci-local", path=path):
        missing("there is no gitlab-ci-local: npm install gitlab-ci-local@4.73.0")
    if not which("rsync"):
        missing("there is no rsync, which gitlab-ci-local copies with")
    checkout = tmp_path_factory.mktemp("gitlab") / "checkout"
    shutil.copytree(_project, checkout, symlinks=True)
    git(checkout, "remote", "add", "origin", "git@gitlab.example.com:team/mautic.git")
    git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(checkout, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    world = make_world(engine, checkout, tmp_path_factory.mktemp("scratch"), _ports())
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        yield GitLab(world, {"PATH": path, **passed})
    finally:
        world.remove()


def _ports() -> Callable[[], int]:
    held = []

    def find() -> int:
        # Kept open until all are found, so that no two are the same.
        held.append(socket.create_server(("127.0.0.1", 0)))
        port: int = held[-1].getsockname()[1]
        if len(held) == 2:
            for each in held:
                each.close()
        return port

    return find


@dataclass
class Ran:
    """Jobs that have run.

    Attributes:
        done: gitlab-ci-local, with the jobs' logs.
        kept: its folder as it was then: artifacts and logs as GitLab would keep them.
    """

    done: CompletedProcess[str]
    kept: Path

    @property
    def log(self) -> str:
        """Everything the jobs said."""
        return self.done.stdout + self.done.stderr

    def artifact(self, job: str, name: str) -> str:
        """Return an artifact of a job."""
        return (self.kept / "artifacts" / job / name).read_text()


def ran(gitlab: GitLab, folder: Path, branch: str, *jobs: str) -> Ran:
    """Check a branch out and run jobs of its pipeline."""
    checkout = gitlab.world.checkout
    git(checkout, "checkout", "--quiet", "--force", branch)
    done = gitlab.jobs(*jobs)
    kept = folder / "kept"
    shutil.copytree(
        checkout / ".gitlab-ci-local", kept, ignore=shutil.ignore_patterns("builds", "scripts")
    )
    return Ran(done, kept)


# -- a branch -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed(gitlab: GitLab, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The branch, built and deployed by its jobs."""
    git(gitlab.world.checkout, "branch", "--force", BRANCH, "main")
    folder = tmp_path_factory.mktemp("deployed")
    return ran(gitlab, folder, BRANCH, "dev-build", "dev-deploy")


def test_a_branch_is_built_and_deployed_by_its_jobs(gitlab: GitLab, deployed: Ran) -> None:
    world = gitlab.world
    assert deployed.done.returncode == 0, deployed.log
    assert world.get(SLUG, "/s/login").status_code == 200
    labels = world.containers(SLUG)["web"].labels
    assert labels["io.mautic-multidev.environment"] == "dev"
    assert labels["io.mautic-multidev.branch"] == BRANCH
    assert labels["io.mautic-multidev.repository"] == REPOSITORY
    for words in ("build --env dev", "deploy --env dev --no-build"):
        assert f"the same on your machine: ./inv {words} --branch {BRANCH}" in deployed.log


def test_the_jobs_leave_their_artifacts(gitlab: GitLab, deployed: Ran) -> None:
    record = json.loads(deployed.artifact("dev-build", "build.json"))
    assert set(record["images"]) == {"mautic", "nginx"}
    assert record["branch"] == BRANCH
    dotenv = deployed.artifact("dev-deploy", ".gitlab-ci-reports/dotenv/deploy.env")
    told = dict(line.split("=", 1) for line in dotenv.splitlines())
    assert told["ENVIRONMENT_URL"] == f"http://{SLUG}.localhost:{gitlab.world.http_port}"
    assert told["ENVIRONMENT_SLUG"] == SLUG
    timings = json.loads(deployed.artifact("dev-deploy", "artifacts/timings.json"))
    assert "smoke test" in [phase["phase"] for phase in timings]


def test_a_jobs_log_holds_no_secret_not_even_the_first_password(
    gitlab: GitLab, deployed: Ran
) -> None:
    assert "log in as admin; the password: ./inv shell" in deployed.log
    kept = [path for path in deployed.kept.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in kept)
    for name, value in gitlab.world.secrets(SLUG).items():
        assert value not in deployed.log, name
        for path in kept:
            assert value not in path.read_text(errors="replace"), (name, path)


def test_people_see_what_a_job_has_deployed(gitlab: GitLab, deployed: Ran, tmp_path: Path) -> None:
    """A person's clone by SSH and a job's by HTTPS are one repository: neither is refused."""
    done = gitlab.world.inv(
        gitlab.world.checkout,
        *("status", "--env", "dev", "--branch", BRANCH, "--format", "json"),
        env={"INVOKE_RUNTIME_CONFIG": str(gitlab.home(tmp_path))},
    )
    assert done.returncode == 0, done.stderr
    services = [part for part in json.loads(done.stdout) if part["image"]]
    assert {part["health"] for part in services} == {"healthy"}


# -- a deploy that fails, and its stop job --------------------------------------------------------


def test_a_failing_deploy_keeps_its_evidence_and_the_stop_job_removes_the_rest(
    gitlab: GitLab, tmp_path: Path
) -> None:
    world, branch = gitlab.world, "Fix/Broken_One"
    git(world.checkout, "checkout", "--quiet", "--force", "-B", branch, "main")
    script = world.checkout / "docker" / "mautic" / "mautic.sh"
    first, rest = script.read_text().split("\n", 1)
    refuse = 'if [ "${1:-web}" = web ]; then echo "fpm cannot start" >&2; exit 78; fi'
    script.write_text(f"{first}\n{refuse}\n{rest}")
    commit_all(world.checkout)
    failed = ran(gitlab, tmp_path, branch, "dev-build", "dev-deploy")
    assert failed.done.returncode != 0, failed.log
    assert f"{branch} was not deployed" in failed.log
    (kept,) = (failed.kept / "artifacts/dev-deploy/artifacts/dev").iterdir()
    slug = kept.name
    (folder,) = kept.iterdir()
    assert "fpm" in (folder / "error.txt").read_text()
    logs = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "fpm cannot start" in logs
    assert world.objects(slug)
    stopped = gitlab.jobs("cleanup")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    line = f"the same on your machine: ./inv cleanup --env dev --branch {branch}"
    assert line in stopped.stdout + stopped.stderr
    assert world.objects(slug) == []


# -- the default branch, and the image of the jobs ------------------------------------------------


def test_the_default_branch_goes_to_prod_and_the_image_alone_removes_it(
    gitlab: GitLab, tmp_path: Path
) -> None:
    """The image does what GitLab's stop job does: no repository, no root, only the full name."""
    world = gitlab.world
    prod = ran(gitlab, tmp_path, "main", "prod-build", "prod-deploy")
    assert prod.done.returncode == 0, prod.log
    assert world.get("main", "/s/login").status_code == 200
    labels = world.containers("main")["web"].labels
    assert labels["io.mautic-multidev.environment"] == "prod"
    record = json.loads(prod.artifact("prod-build", "build.json"))
    assert "latest" in record["images"]["mautic"]["tags"]
    assert record["images"]["mautic"]["repository"] == f"{world.registry}/prod/mautic"

    settings = gitlab.home(tmp_path)
    job = {
        **{"CI": "true", "CI_JOB_ID": "1", "GIT_STRATEGY": "none"},
        **{"CI_PROJECT_URL": REPOSITORY, "INVOKE_RUNTIME_CONFIG": "/settings.json"},
    }
    said = run(
        *("docker", "run", "--rm", "--network", "host", "--workdir", "/tmp"),
        *("--group-add", str(SOCKET.stat().st_gid), "--volume", f"{SOCKET}:{SOCKET}"),
        *("--volume", f"{settings}:/settings.json:ro"),
        *(word for name, value in job.items() for word in ("--env", f"{name}={value}")),
        *(gitlab.image(), "inv", "cleanup", "--env", "prod", "--branch", "main"),
    )
    assert "the same on your machine: ./inv cleanup --env prod --branch main" in said
    assert world.objects("main") == []


def test_the_image_is_small_and_runs_as_nobody_special(gitlab: GitLab) -> None:
    image = gitlab.world.engine.images.pull(gitlab.image())
    assert image.attrs["Size"] < IMAGE_BYTES_MAX
    assert image.attrs["Config"]["User"] == "1000:1000"
    script = (
        "id -u; python3 -c 'import sys; assert sys.version_info >= (3, 11)'; helm version --short; "
        "docker buildx version; docker compose version; touch /opt/mautic-multidev/x 2>&1 || true"
    )
    said = run("docker", "run", "--rm", image.id, "sh", "-c", script)
    assert said.splitlines()[0] == "1000"
    assert "v4." in said
    assert "buildx" in said
    assert "Compose" in said
    assert "Permission denied" in said


def test_an_unchanged_image_is_not_built_again(gitlab: GitLab) -> None:
    gitlab.image()
    done = gitlab.inv("ci.image", "--format", "json")
    assert json.loads(done.stdout)["images"]["ci"]["action"] == "unchanged"
    # For jobs with production's role it is built whatever is in the registry, on real bases.
    latest = gitlab.inv("ci.image", "--latest", "--format", "json")
    if latest.returncode == 3:  # Docker Hub cannot be reached
        assert "ci:latest is protected: it takes no stand-ins" in latest.stderr
        return
    image = json.loads(latest.stdout)["images"]["ci"]
    assert (image["action"], "latest" in image["tags"]) == ("built", True)


# -- a cluster from a job -------------------------------------------------------------------------


def test_the_jobs_lines_deploy_to_a_cluster_and_clean_up_without_a_repository(
    kube_env: KubeEnv, tmp_path: Path
) -> None:
    """The very lines that the file gives the jobs, with the variables that GitLab gives them."""
    checkout = kube_env.checkout
    git(checkout, "checkout", "--quiet", "-B", BRANCH)
    kube_env.push(git(checkout, "rev-parse", "HEAD")[:8])
    job = {
        **{"CI": "true", "CI_JOB_ID": "7", "GITLAB_CI": "true", "CI_PROJECT_URL": REPOSITORY},
        **{"CI_COMMIT_BRANCH": BRANCH, "GITLAB_USER_LOGIN": "ada"},
    }
    jobs = json.loads(kube_env.ok("ci.explain", "--branch", BRANCH, "--format", "json").stdout)
    lines = {one["job"]: shlex.split(one["commands"][0])[1:] for one in jobs}
    deployed = kube_env.ok(*lines["dev-deploy"], env=job)
    assert deployed.stdout.splitlines()[-1] == f"https://{SLUG}.dev.example.com"
    assert "section_start:" in deployed.stderr
    namespace = kube_env.names(BRANCH).namespace
    found = kube_env.cluster.get("Namespace", namespace)
    assert found
    assert BRANCH in found["metadata"]["annotations"].values()
    assert REPOSITORY in found["metadata"]["annotations"].values()

    bare = tmp_path / "image"
    shutil.copytree(checkout, bare, ignore=shutil.ignore_patterns(".git"))
    kube_env.ok(*lines["cleanup"], env=job, cwd=bare)
    assert kube_env.cluster.get("Namespace", namespace) is None


# -- AWS from a job -------------------------------------------------------------------------------


def test_a_job_reaches_aws_by_its_token_and_nothing_else(
    aws: Moto, inv: Inv, checkout: Path
) -> None:
    registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mautic-dev"
    published = {"registry/url": registry, "cluster/name": "mautic-dev"}
    aws.publish("dev", {**published, "dns/domain": "dev.example.org"})
    token = "header.payload.signature-of-gitlab"
    env = {
        **{name: value for name, value in aws.variables().items() if "KEY" not in name},
        **{"CI": "true", "CI_JOB_ID": "7", "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/ci"},
    }
    words = ("names", "--env", "dev", "--branch", BRANCH, "--format", "json")
    done = inv(checkout, *words, env={**env, "AWS_ID_TOKEN": token})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["host"] == f"{SLUG}.dev.example.org"
    assert token not in done.stdout + done.stderr
    without = inv(checkout, *words, env=env)
    assert without.returncode == 1
    assert "credentials" in without.stderr


# -- the engine of a job --------------------------------------------------------------------------


def test_a_job_waits_for_its_engine(
    gitlab: GitLab, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """The engine is a service that starts beside the job: here the real one, behind a late door."""
    port = free_port()
    env = {"CI": "true", "CI_JOB_ID": "1", "DOCKER_HOST": f"tcp://127.0.0.1:{port}"}
    process = gitlab.world.inv.start(
        gitlab.world.checkout, "list", "--env", "local", settings=gitlab.settings(), env=env
    )
    assert process.stderr is not None
    said = ""
    with _door(port) as open_it:
        for line in process.stderr:
            said += line
            if "waiting for the job's engine" in line:
                open_it()
    assert process.wait(timeout=60) == 0, said
    assert said.count("waiting for the job's engine") == 1


class _Door:
    """Passes connections to a port on to the engine's socket, once it is opened."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: socket.socket | None = None

    def __enter__(self) -> Callable[[], None]:
        return self._open

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.close()

    def _open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:  # closed: the test is over
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(str(SOCKET))
            for pair in ((client, engine), (engine, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


_door = _Door


def test_the_file_passes_gitlabs_schema() -> None:
    for name in (".gitlab-ci.yml", LOCAL_FILE):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "check_jsonschema"),
                *("--builtin-schema", "vendor.gitlab-ci", str(ROOT / name)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

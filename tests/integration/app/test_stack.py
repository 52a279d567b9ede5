"""The command line where an environment says only target, branches and stack: SSM has the rest."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.build_support import (
    Request,
    build_json,
    front_door,
    shrink,
)
from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.controlplane import needed_assets
from tests.support.eks import Eks, admit_database
from tests.support.suite import Inv

if TYPE_CHECKING:
    pass

OCI = "application/vnd.oci.image.manifest.v1+json"
ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1-AbCdEf"
ENVIRONMENT = "cloud"
ON = ("--env", ENVIRONMENT)


class Stack:
    """A stack of its own in moto, as its Terraform would have left it.

    Args:
        aws: moto.
        inv: runs the suite.
        checkout: a checkout with images that build in a second.
        base: the local image both are built on.
    """

    def __init__(self, aws: Moto, inv: Inv, checkout: Path, base: str) -> None:
        self.aws = aws
        self.inv = inv
        self.checkout = checkout
        self.base = base
        self.name = f"s{secrets.token_hex(4)}"
        self.path = f"mautic-{self.name}"
        self.cluster = f"mautic-{self.name}"
        self.url = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{self.path}"
        self.ecr = aws.client("ecr")
        self.said: list[str] = []

    def parameters(self) -> dict[str, str]:
        """Return what its Terraform publishes."""
        return {
            "region": REGION,
            "registry/url": self.url,
            **{f"registry/{name}": f"{self.url}/{name}" for name in ("mautic", "nginx", "cache")},
            "cluster/name": self.cluster,
            "cluster/groups/main": "mautic-multidev:main",
            "network/vpc-id": "vpc-0123456789abcdef0",
            "database/host": "mautic.abc.eu-central-1.rds.amazonaws.com",
            "database/port": "3306",
            "database/admin-secret-arn": ARN,
            "storage/file-system-id": "fs-0123456789abcdef0",
            "storage/classes": "{}",
            "dns/domain": "dev.example.org",
            "dns/zone-id": "Z0123456789",
            "dns/certificate-arn": "arn:aws:acm:…",
            "platform/namespace": "mautic-system",
            "platform/database-account": "mautic-database-admin",
        }

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return settings with one more environment."""
        own = {
            **{"target": "kubernetes", "branches": ["*"], "stack": self.name},
            "values": [admit_database(self.checkout)],
        }
        return {
            "stacks": {self.name: {"region": REGION}},
            "environments": {ENVIRONMENT: {**own, **changes}},
        }

    def run(
        self, *args: str, env: dict[str, str] | None = None, **changes: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` with the environment; changes are the environment's."""
        images = {"DEBIAN_IMAGE": self.base, "MAUTIC_IMAGE": self.base}
        done = self.inv(
            self.checkout,
            *args,
            settings=self.settings(**changes),
            env={**self.aws.variables(), **images, **(env or {})},
        )
        self.said += [done.stdout, done.stderr]
        return done

    def make_repositories(self, *names: str) -> None:
        for name in names:
            self.ecr.create_repository(repositoryName=f"{self.path}/{name}")

    def push(self, repository: str, tag: str) -> str:
        """Put an image there, as a push would; return its digest."""
        manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI, "of": f"{repository}:{tag}"})
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        self.push_again(repository, tag, tag, digest)
        return digest

    def push_again(self, repository: str, of: str, tag: str, digest: str) -> None:
        """Put the image that was pushed as one tag there under another one."""
        self.ecr.put_image(
            repositoryName=f"{self.path}/{repository}",
            imageManifest=json.dumps(
                {"schemaVersion": 2, "mediaType": OCI, "of": f"{repository}:{of}"}
            ),
            imageManifestMediaType=OCI,
            imageTag=tag,
            imageDigest=digest,
        )

    def tags(self, repository: str) -> dict[str, str]:
        found = self.ecr.list_images(repositoryName=f"{self.path}/{repository}")["imageIds"]
        return {one["imageTag"]: one["imageDigest"] for one in found}


@pytest.fixture
def stack(aws: Moto, forking: Inv, checkout: Path, base: str) -> Iterator[Stack]:
    shrink(checkout)
    made = Stack(aws, forking, checkout, base)
    aws.publish(made.name, made.parameters())
    yield made
    for one in made.ecr.describe_repositories()["repositories"]:
        if one["repositoryName"].startswith(f"{made.path}/"):
            made.ecr.delete_repository(repositoryName=one["repositoryName"], force=True)


def calls(seen: list[Request]) -> list[str]:
    """Return the operations that were asked for, by AWS's JSON protocol."""
    found = []
    for one in seen:
        headers = {name.lower(): value for name, value in one.headers.items()}
        found.append(headers.get("x-amz-target", "").rpartition(".")[2])
    return found


# -- names ----------------------------------------------------------------------------------------


def test_names_take_the_domain_from_ssm_in_one_call(stack: Stack, aws: Moto) -> None:
    with front_door(aws.host, lambda request: None) as (host, seen):
        done = stack.run(
            *("names", *ON, "--branch", "feature-x", "--format", "json"),
            env={"AWS_ENDPOINT_URL": f"http://{host}"},
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == "https://feature-x.dev.example.org"
    # Ten parameters a page is the most that SSM gives.
    pages = -(-len(stack.parameters()) // 10)
    assert calls(seen) == ["GetParametersByPath"] * pages


def test_what_needs_no_stack_asks_aws_nothing(stack: Stack, aws: Moto) -> None:
    with front_door(aws.host, lambda request: None) as (host, seen):
        env = {"AWS_ENDPOINT_URL": f"http://{host}"}
        assert stack.run("names", "--branch", "main", env=env).returncode == 0
        known = stack.run("names", *ON, "--branch", "main", env=env, host="{slug}.shop.example.org")
        assert known.returncode == 0, known.stderr
    assert "main.shop.example.org" in known.stdout
    assert seen == []


def test_a_stack_that_has_published_nothing_is_told(stack: Stack) -> None:
    settings = stack.settings(stack="empty")
    settings["stacks"] = {"empty": {"region": "eu-west-1"}}
    done = stack.inv(
        *(stack.checkout, "names", *ON, "--branch", "main"),
        settings=settings,
        env=stack.aws.variables(),
    )
    assert done.returncode == 2
    assert (
        "stack empty has published nothing: there is no parameter below /mautic-multidev/empty in "
        f"eu-west-1 of account {ACCOUNT}"
    ) in done.stderr
    assert "inv infra.apply --stack empty" in done.stderr


def test_a_parameter_that_makes_no_sense_is_told_by_its_place(stack: Stack) -> None:
    stack.aws.publish(stack.name, {"database/port": "mysql"})
    done = stack.run("names", *ON, "--branch", "main")
    assert done.returncode == 2
    assert (
        f"environments.{ENVIRONMENT}.database.port in SSM /mautic-multidev/{stack.name}: must be "
        "a whole number"
    ) in done.stderr


# -- doctor -------------------------------------------------------------------------------------


def findings(stack: Stack, *args: str, **options: Any) -> list[dict[str, str]]:
    done = stack.run("doctor", *args, "--format", "json", **options)
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


def test_doctor_says_where_each_value_came_from(stack: Stack) -> None:
    found = findings(stack, *ON, domain="my.example.org")
    said = {one["found"] for one in found if one["check"] == f"stack {stack.name}"}
    ssm = f"(SSM /mautic-multidev/{stack.name})"
    assert f"registry.url: {stack.url} {ssm}" in said
    assert f"cluster.name: {stack.cluster} {ssm}" in said
    assert f"database.port: 3306 {ssm}" in said
    assert f"database.admin_secret_arn: {ARN} {ssm}" in said
    assert "host: {slug}.{domain} (the defaults of a stack)" in said
    (domain,) = [one for one in said if one.startswith("domain: ")]
    assert re.fullmatch(r"domain: my\.example\.org \(.*settings-\d+\.yaml\)", domain)
    (terraform,) = [one for one in found if one["check"] == "terraform"]
    assert (terraform["level"] == "warning") == ("needs it" in terraform["found"])
    (aws,) = [one["found"] for one in found if one["check"] == "aws"]
    assert aws.startswith(f"{REGION} as arn:aws:sts::{ACCOUNT}:")


def test_doctor_says_what_is_wrong_with_a_stack(stack: Stack) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    (problem,) = [
        one for one in findings(stack, *ON, env=none) if one["check"] == f"stack {stack.name}"
    ]
    assert problem["level"] == "problem"
    assert problem["found"].startswith("there are no usable AWS credentials")
    assert "aws sso login" in problem["remedy"]
    local = {one["check"] for one in findings(stack, env=none)}
    assert not [check for check in local if check.startswith("stack") or check == "aws"]


# -- build ----------------------------------------------------------------------------------------


def test_build_takes_its_registry_from_ssm(stack: Stack) -> None:
    """What is pushed nowhere here is in ECR already: the rest of a build is all by ECR's API."""
    stack.make_repositories("mautic", "nginx")
    planned = stack.run("build", *ON, "--dry-run", "--format", "json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert {image["steps"][0] for image in plan["images"].values()} == {"build"}
    assert plan["repositories"] == []
    assert stack.tags("mautic") == {}

    content = {name: image["content"] for name, image in plan["images"].items()}
    digests = {name: stack.push(name, key) for name, key in content.items()}
    done = stack.run("build", *ON)
    assert done.returncode == 0, done.stderr
    written = build_json(stack.checkout)
    for name, digest in digests.items():
        image = written["images"][name]
        assert image["reference"] == f"{stack.url}/{name}@{digest}"
        assert image["action"] == "tagged"
        short = written["tag"]
        assert stack.tags(name) == dict.fromkeys(
            [content[name], short, f"branch.main.{short}"], digest
        )
    again = stack.run("build", *ON)
    assert again.returncode == 0, again.stderr
    assert {one["action"] for one in build_json(stack.checkout)["images"].values()} == {"unchanged"}


def test_build_tells_of_repositories_that_are_missing(stack: Stack) -> None:
    stack.make_repositories("mautic")
    done = stack.run("build", *ON, "--dry-run")
    assert done.returncode == 1
    assert f"there is no repository {stack.path}/nginx in {REGION}" in done.stderr
    planned = stack.run("build", *ON, "--dry-run", registry={"create": True})
    assert planned.returncode == 0, planned.stderr
    assert "create  repository nginx" in planned.stdout
    assert "repository mautic" not in planned.stdout
    assert stack.run("build", *ON, "--dry-run").returncode == 1  # a dry run makes none


def test_build_tells_of_credentials_that_are_missing(stack: Stack) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = stack.run("build", *ON, "--dry-run", env=none)
    assert done.returncode == 1
    assert "there are no usable AWS credentials" in done.stderr
    assert "Traceback" not in done.stderr


# -- deploy ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(aws: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eks]:
    with Eks(aws, needed_assets(), tmp_path_factory.mktemp("eks")) as made:
        yield made


def test_deploy_takes_everything_from_ssm(stack: Stack, played: Eks) -> None:
    stack.make_repositories("mautic", "nginx")
    for name in ("mautic", "nginx"):
        stack.push(name, "1a2b3c4d")
    with played.api(stack.cluster) as (url, seen):
        done = stack.run(
            *("deploy", *ON, "--branch", "feature-x", "--tag", "1a2b3c4d"),
            *("--dry-run", "--format", "json"),
            env={"AWS_ENDPOINT_URL_EKS": url},
        )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [one.path for one in seen] == [f"/clusters/{stack.cluster}"]
    assert played.webhook.tokens
    values = plan["values"]
    assert values["site"]["url"] == "https://feature-x.dev.example.org"
    assert values["database"]["host"] == stack.parameters()["database/host"]
    assert values["images"]["mautic"].startswith(f"{stack.url}/mautic@sha256:")
    assert "database mautic_feature_x" in [step["subject"] for step in plan["steps"]]


def test_cleanup_removes_a_branch_s_tags_from_ecr(stack: Stack, played: Eks) -> None:
    stack.make_repositories("mautic", "nginx")
    tags = [f"{number:08x}" for number in range(60)]
    for tag in tags:
        digest = stack.push("mautic", tag)
        stack.push_again("mautic", tag, f"branch.feature-x.{tag}", digest)
    kept = stack.push("mautic", "1a2b3c4d")
    stack.push_again("mautic", "1a2b3c4d", "branch.main.1a2b3c4d", kept)
    command = ("cleanup", *ON, "--branch", "feature-x")
    with played.api(stack.cluster) as (url, _):
        env = {"AWS_ENDPOINT_URL_EKS": url}
        planned = stack.run(*command, "--dry-run", "--format", "json", env=env)
        assert planned.returncode == 0, planned.stderr
        steps = json.loads(planned.stdout)["steps"]
        # What leads an interrupted clean-up to the rest goes last.
        markers = [f"branch.feature-x.{tag}" for tag in tags]
        expected = [f"image tags of mautic: {', '.join(each)}" for each in (tags, markers)]
        assert [step["subject"] for step in steps] == expected
        assert len(stack.tags("mautic")) == 2 * len(tags) + 2
        done = stack.run(*command, env=env)
        assert done.returncode == 0, done.stderr
        assert stack.tags("mautic") == {"1a2b3c4d": kept, "branch.main.1a2b3c4d": kept}
        again = stack.run(*command, env=env)
    assert "feature-x: nothing to remove" in again.stderr


def test_no_secret_is_shown_or_left(stack: Stack, played: Eks, tmp_path: Path) -> None:
    """Neither keys nor tokens: not in what is said, nor in a file of the checkout or of /tmp."""
    stack.make_repositories("mautic", "nginx")
    stack.push("mautic", "1a2b3c4d")
    stack.push("nginx", "1a2b3c4d")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    played.webhook.forget()
    with played.api(stack.cluster) as (url, _):
        env = {"AWS_ENDPOINT_URL_EKS": url, "TMPDIR": str(scratch)}
        options = ("--branch", "feature-x", "--tag", "1a2b3c4d", "--dry-run")
        assert stack.run("deploy", *ON, *options, env=env).returncode == 0
        assert stack.run("build", *ON, "--dry-run", env=env).returncode == 0
        assert stack.run("doctor", *ON, "--format", "json", env=env).stdout
    variables = stack.aws.variables()
    password = f"{ACCOUNT}-auth-token"
    hidden = [
        *played.webhook.tokens,
        password,
        base64.b64encode(f"AWS:{password}".encode()).decode(),
    ]
    hidden += [variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]]
    assert len(hidden) > 4
    said = "".join(stack.said)
    assert [one for one in hidden if one in said] == []
    assert list(scratch.iterdir()) == []
    own = stack.checkout / "tests"  # where these very values stand
    files = [path for path in stack.checkout.rglob("*") if path.is_file()]
    files = [path for path in files if not path.is_relative_to(own)]
    assert len(files) > 10
    for path in files:
        held = path.read_bytes()
        assert [one for one in hidden if one.encode() in held] == [], path

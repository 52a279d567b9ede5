"""`inv infra.*` with the AWS provider against moto: losses, drift, and a whole stack's life.

The whole stack is the prepared one with everything that moto can do: VPC, ECR, RDS, EFS, SSM, IAM,
Route 53 and ACM. EKS is tested by mocks (test_terraform.py). While Terraform waits for its database
server, first to come and then to go, the tests that need no such server are run.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.support.aws import ACCOUNT, Moto
from tests.support.controlplane import needed_assets
from tests.support.eks import Eks, admit_database
from tests.support.infra import CLOUD, NO_PROVIDER, Stack
from tests.support.life import DOMAIN, NAMESPACE, Life, rds
from tests.support.suite import Inv
from tests.support.terminal import Terminal

# What a second plan wants to change though nothing has changed: moto does not keep it.
NOT_KEPT_BY_MOTO = {
    "module.cluster.aws_launch_template.node": [
        "default_version",
        "latest_version",
        "tag_specifications",
    ],
    'module.storage.aws_vpc_security_group_ingress_rule.client["cluster"]': ["description"],
    'module.database.aws_vpc_security_group_ingress_rule.client["cluster"]': ["description"],
    "module.database.aws_db_parameter_group.this": ["parameter"],
    "module.database.aws_db_instance.this": [
        "performance_insights_enabled",
        "performance_insights_kms_key_id",
        "performance_insights_retention_period",
    ],
}
IMAGES = ("mautic", "nginx")
OCI = "application/vnd.oci.image.manifest.v1+json"
TAG = "1a2b3c4d"
ENVIRONMENT = "cloud"
OWN = {"target": "kubernetes", "branches": ["*"], "stack": "dev"}
"""What is said of the environment, but for its values: the rest is Terraform's."""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """An AWS account of its own: the provider makes things whose names are not ours to choose."""
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="module")
def stack(moto: Moto, _project: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack of two kinds of AWS' things, applied. Whoever changes one leaves the other alone."""
    made = new_stack(moto, _project, tmp_path_factory.mktemp("stack"))
    made.write(CLOUD)
    made.make_bucket()
    made.apply()
    return made


def new_stack(aws: Moto, project: Path, scratch: Path) -> Stack:
    """Return a stack in a checkout of its own."""
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    (scratch / "home").mkdir()
    shutil.copytree(project, scratch / "checkout", symlinks=True)
    inv = Inv(scratch / "home", scratch, warm=True)
    return Stack(inv, scratch / "checkout", aws, f"mt{secrets.token_hex(3)}")


def use(
    life: Life, task: str, *args: str, code: int | None = 0, **variables: str
) -> dict[str, Any]:
    """Run a task for an environment of the whole stack; return the JSON it says.

    Args:
        life: the stack.
        task: the task.
        args: its options.
        code: the exit code it must have; None takes any.
        variables: further variables of the run.
    """
    own = {**OWN, "values": [admit_database(life.stack.checkout)]}
    done = life.stack.inv(
        life.stack.checkout,
        *(task, "--env", ENVIRONMENT, *args, "--format", "json"),
        settings={**life.stack.settings(), "environments": {ENVIRONMENT: own}},
        env={**life.stack.environ(), **variables},
    )
    assert code in {None, done.returncode}, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def push(aws: Moto, repository: str) -> str:
    """Put an image into ECR, as a build does; return its digest."""
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI, "of": repository})
    done = aws.client("ecr").put_image(
        repositoryName=repository,
        imageManifest=manifest,
        imageManifestMediaType=OCI,
        imageTag=TAG,
        imageDigest=f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}",
    )
    digest: str = done["image"]["imageId"]["imageDigest"]
    return digest


@pytest.fixture(scope="module")
def life(_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """The whole stack, planned; it is being applied while other tests run."""
    scratch = tmp_path_factory.mktemp("life")
    with Moto(scratch, {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}) as aws, rds(aws) as address:
        stack = new_stack(aws, _project, scratch)
        stack.env["AWS_ENDPOINT_URL_RDS"] = address
        made = Life(stack)
        assert made.applying
        yield made
        made.close()


def number_planned(life: Life) -> int:
    """Return how many resources the stack's first plan has."""
    found = re.search(r"(\d+) to add", life.planned.stdout)
    assert found
    return int(found[1])


def test_a_whole_stack_is_planned(life: Life) -> None:
    assert number_planned(life) > 100


def test_losing_data_takes_a_second_word(stack: Stack) -> None:
    stack.variables["images"] = "others"
    planned = stack.run("plan")
    assert planned.stdout.splitlines()[-1] == (
        "  ± aws_ecr_repository.images  (because of name; LOSES images)"
    )
    assert "next, within 24 hours: inv infra.apply --stack dev --replace-stateful" in planned.stderr

    def repositories() -> list[str]:
        found = stack.aws.client("ecr").describe_repositories()["repositories"]
        return [one["repositoryName"] for one in found]

    refused = stack.run("apply", code=3)
    assert "the plan of stack dev loses images (aws_ecr_repository.images)" in refused.stderr
    assert "hint: if that is meant: inv infra.apply --stack dev --replace-stateful" in (
        refused.stderr
    )
    assert repositories() == ["dev/images"]
    assert stack.plan.exists()

    argv = stack.inv.argv("infra.apply", "--stack", "dev", settings=stack.settings())
    screen = Terminal(argv, cwd=stack.checkout, env=stack.inv.environ(stack.environ()))
    screen.expect("What is lost cannot be brought back. Type dev to go on: ")
    assert "\x1b[31;1m  ± aws_ecr_repository.images" in screen.raw
    screen.type("y\n")
    assert screen.finish() == 3
    assert repositories() == ["dev/images"]

    stack.run("apply", "--replace-stateful")
    assert repositories() == ["dev/others"]


def test_the_prepared_stack_is_planned_as_soon_as_it_is_somebodys(
    moto: Moto, _project: Path, tmp_path: Path
) -> None:
    """The root itself, EKS and all, with the settings of this project's invoke.yaml."""
    stack = new_stack(moto, _project, tmp_path)
    stack.make_bucket()

    def plan() -> subprocess.CompletedProcess[str]:
        argv = ("infra.plan", "--stack", "dev")
        settings = {"project": stack.project}
        return stack.inv(stack.checkout, *argv, settings=settings, env=stack.environ())

    examples = plan()
    if NO_PROVIDER in examples.stderr:
        missing(f"no AWS provider:\n{examples.stderr}")
    assert examples.returncode == 1
    assert "account_id must be the twelve digits of your account" in examples.stderr
    assert "domain must be one of yours" in examples.stderr

    path = stack.checkout / "terraform" / "environments" / "dev.tfvars"
    mine = path.read_text().replace("111122223333", ACCOUNT).replace("example.org", "mautic.test")
    path.write_text(mine)
    done = plan()
    assert done.returncode == 0, done.stderr
    assert "  + module.cluster.aws_eks_cluster.this" in done.stdout
    assert "  + module.database.aws_db_instance.this" in done.stdout
    assert " to change" not in done.stdout
    assert done.stderr.rstrip().endswith("inv infra.apply --stack dev")
    assert stack.plan.exists()


def test_what_is_applied_can_be_asked_for(life: Life) -> None:
    assert f"{number_planned(life)} added, 0 changed, 0 destroyed" in life.applied.stderr
    outputs = json.loads(life.stack.run("output", "--format", "json").stdout)
    aws = life.stack.aws
    assert outputs["registry_url"].endswith(".dkr.ecr.eu-central-1.amazonaws.com/mautic-dev")
    (database,) = aws.client("rds").describe_db_instances()["DBInstances"]
    assert outputs["database_host"] == database["Endpoint"]["Address"]
    assert database["CACertificateIdentifier"] == "rds-ca-rsa2048-g1"
    pages = aws.client("ssm").get_paginator("get_parameters_by_path")
    published = {
        one["Name"]: one["Value"]
        for page in pages.paginate(Path=outputs["parameter_path"], Recursive=True)
        for one in page["Parameters"]
    }
    assert sorted(published) == outputs["parameter_names"]
    arn = published[f"{outputs['parameter_path']}/database/admin-secret-arn"]
    assert arn == outputs["database_admin_secret_arn"]
    assert aws.client("secretsmanager").describe_secret(SecretId=arn)["ARN"] == arn


def test_a_build_goes_where_terraform_has_made_room(life: Life, base: str) -> None:
    assert life.applied
    built = use(life, "build", "--dry-run", DEBIAN_IMAGE=base, MAUTIC_IMAGE=base)
    assert {name: one["steps"] for name, one in built["images"].items()} == {
        name: ["build", "tag"] for name in IMAGES
    }


def test_a_deploy_takes_every_value_from_terraform(life: Life, tmp_path: Path) -> None:
    programs = needed_assets()
    assert life.applied
    aws = life.stack.aws
    outputs = json.loads(life.stack.run("output", "--format", "json").stdout)
    url, database = outputs["registry_url"], outputs["database_host"]
    digests = {name: push(aws, f"{url.partition('/')[2]}/{name}") for name in IMAGES}
    with Eks(aws, programs, tmp_path) as eks, eks.api(outputs["cluster_name"]) as (endpoint, seen):
        named = ("--branch", "feature-x", "--tag", TAG, "--dry-run")
        plan = use(life, "deploy", *named, AWS_ENDPOINT_URL_EKS=endpoint)
        doctor = use(life, "doctor", AWS_ENDPOINT_URL_EKS=endpoint, code=None)
    assert {one.path for one in seen} == {"/clusters/mautic-dev"}
    assert eks.webhook.tokens
    assert plan["url"] == f"https://feature-x.{DOMAIN}"
    assert plan["images"] == {name: f"{url}/{name}@{digests[name]}" for name in IMAGES}
    assert plan["values"]["database"]["host"] == database
    assert plan["values"]["images"] == plan["images"]
    subjects = [step["subject"] for step in plan["steps"]]
    assert f"namespace {life.stack.project}-feature-x" in subjects
    assert f"database {life.stack.project}_feature_x" in subjects
    # What a plan does not show, the doctor does, with where it comes from.
    found = {one["found"] for one in doctor["findings"] if one["check"] == "stack dev"}
    assert found == {
        "host: {slug}.{domain} (the defaults of a stack)",
        *(
            f"{key}: {value} (SSM /mautic-multidev/dev)"
            for key, value in {
                "registry.url": url,
                "cluster.name": outputs["cluster_name"],
                "domain": DOMAIN,
                "platform_namespace": NAMESPACE,
                "database.host": database,
                "database.port": "3306",
                "database.identifier": "mautic-dev",
                "database.admin_secret_arn": outputs["database_admin_secret_arn"],
                "database.account": "mautic-database-admin",
            }.items()
        ),
    }


def test_a_second_plan_is_empty(life: Life) -> None:
    """But for what moto does not keep, and what somebody has deleted."""
    assert life.applied
    name = "/mautic-multidev/dev/registry/url"
    life.stack.aws.client("ssm").delete_parameter(Name=name)
    deleted = 'module.parameters.aws_ssm_parameter.this["registry/url"]'
    second = json.loads(life.stack.run("plan", "--format", "json").stdout)
    assert {one["address"]: one["attributes"] for one in second["changes"]} == {
        **NOT_KEPT_BY_MOTO,
        deleted: [],
    }
    assert (deleted, "destroy") in {(one["address"], one["action"]) for one in second["drift"]}
    # Nothing after this needs the stack: it may go while the next test runs.
    assert life.destroying


def test_drift_is_what_somebody_else_has_changed(stack: Stack) -> None:
    # Our own change that is not applied yet is none.
    stack.variables["word"] = "another"
    none = stack.run("drift", "--format", "json")
    assert json.loads(none.stdout) == []
    assert "is as Terraform left it" in none.stderr
    assert "besides, 1 changes of the configuration are not applied yet" in none.stderr
    del stack.variables["word"]

    ssm = stack.aws.client("ssm")
    ssm.put_parameter(
        Name="/mautic-multidev/dev/word", Value="by hand", Type="String", Overwrite=True
    )
    ssm.delete_parameter(Name="/mautic-multidev/dev/other")
    found = stack.run("drift", code=7)
    rows = [line.split(maxsplit=2) for line in found.stdout.splitlines()]
    assert [row[:2] for row in rows] == [
        ["what", "address"],
        ["gone", "aws_ssm_parameter.other"],
        ["changed", "aws_ssm_parameter.word"],
    ]
    assert "value" in rows[2][2]
    assert "by hand" not in found.stdout + found.stderr
    assert "has drifted; to put it right: inv infra.plan --stack dev" in found.stderr
    assert list(stack.plan.parent.glob("*.tfplan")) == []
    assert not stack.locked

    stack.apply()
    assert ssm.get_parameter(Name="/mautic-multidev/dev/word")["Parameter"]["Value"] == "word"


def test_what_is_destroyed_is_gone(life: Life) -> None:
    """The last of this file: it takes away what others look at."""
    destroyed = life.destroying.result()
    assert "LOSES databases" in destroyed.stdout
    # One less, where a test before this has deleted a parameter.
    # One is sometimes gone before Terraform comes to it.
    number = number_planned(life)
    assert re.search(f"0 added, 0 changed, ({number}|{number - 1}) destroyed", destroyed.stderr)
    aws = life.stack.aws
    assert aws.client("rds").describe_db_instances()["DBInstances"] == []
    assert aws.client("ecr").describe_repositories()["repositories"] == []
    assert aws.client("efs").describe_file_systems()["FileSystems"] == []
    shown = [life.planned, life.applied, destroyed]
    assert life.password not in "".join(one.stdout + one.stderr for one in shown)

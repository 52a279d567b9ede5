"""`inv infra.*` with the AWS provider against moto: losses, drift, and a whole stack's life.

The whole stack is examples/existing-cluster, with everything that moto can do: VPC, ECR, RDS, EFS,
SSM and IAM. EKS is tested by mocks (test_terraform.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.aws import ACCOUNT, Moto
from tests.support.infra import CLOUD, NO_PROVIDER, Stack
from tests.support.suite import ROOT, Inv
from tests.support.terminal import Terminal

# What a second plan wants to change though nothing has changed: moto does not keep it.
NOT_KEPT_BY_MOTO = {
    'module.storage.aws_vpc_security_group_ingress_rule.client["cluster"]': ["description"],
    'module.database[0].aws_vpc_security_group_ingress_rule.client["cluster"]': ["description"],
    "module.database[0].aws_db_parameter_group.this": ["parameter"],
    "module.database[0].aws_db_instance.this": [
        "performance_insights_enabled",
        "performance_insights_kms_key_id",
        "performance_insights_retention_period",
    ],
}


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[Moto]:
    """An AWS account of its own: the provider makes things whose names are not ours to choose."""
    with Moto(tmp_path, {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}) as server:
        yield server


@pytest.fixture
def stack(inv: Inv, checkout: Path, moto: Moto, project: str) -> Stack:
    """A stack of two kinds of AWS' things, applied."""
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    made = Stack(inv, checkout, moto, project)
    made.write(CLOUD)
    made.make_bucket()
    made.apply()
    return made


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
    found = stack.run("drift", code=2)
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


def test_the_prepared_stack_is_planned_as_soon_as_it_is_somebodys(
    inv: Inv, checkout: Path, moto: Moto, project: str
) -> None:
    """The root itself, EKS and all, with the settings of this project's invoke.yaml."""
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    stack = Stack(inv, checkout, moto, project)
    stack.make_bucket()

    def plan() -> subprocess.CompletedProcess[str]:
        argv = ("infra.plan", "--stack", "dev")
        return inv(checkout, *argv, settings={"project": project}, env=stack.environ())

    examples = plan()
    if NO_PROVIDER in examples.stderr:
        missing(f"no AWS provider:\n{examples.stderr}")
    assert examples.returncode == 1
    assert "account_id must be the twelve digits of your account" in examples.stderr
    assert "domain must be one of yours" in examples.stderr

    path = checkout / "terraform" / "environments" / "dev.tfvars"
    mine = path.read_text().replace("111122223333", ACCOUNT).replace("example.org", "mautic.test")
    path.write_text(mine)
    done = plan()
    assert done.returncode == 0, done.stderr
    assert "  + module.cluster.aws_eks_cluster.this" in done.stdout
    assert "  + module.database.aws_db_instance.this" in done.stdout
    assert " to change" not in done.stdout
    assert done.stderr.rstrip().endswith("inv infra.apply --stack dev")
    assert stack.plan.exists()


def test_the_life_of_a_whole_stack(
    inv: Inv, checkout: Path, moto: Moto, project: str, base: str
) -> None:
    """Bootstrap, plan, apply, output, use, second plan, drift, destroy."""
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    stack = Stack(inv, checkout, moto, project)
    example = ROOT / "terraform" / "examples" / "existing-cluster" / "main.tf"
    stack.write(example.read_text().replace("../../modules", "./modules"))
    stack.variables = {
        "gitlab_project": "group/project",
        # moto knows neither: creation, or destruction, never ends.
        "backup": False,
        "enforce_tls": False,
    }
    stack.run("bootstrap")
    # moto takes no notice of a statement's conditions, and would refuse everything.
    moto.client("s3").delete_bucket_policy(Bucket=stack.bucket)

    assert "79 to add" in stack.run("plan").stdout
    applied = stack.run("apply")
    assert "79 added, 0 changed, 0 destroyed" in applied.stderr
    outputs = json.loads(stack.run("output", "--format", "json").stdout)
    assert outputs["registry_url"].endswith(".dkr.ecr.eu-central-1.amazonaws.com/mautic-dev")
    published = {
        one["Name"]
        for page in moto.client("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path=outputs["parameter_path"], Recursive=True)
        for one in page["Parameters"]
    }
    assert f"{outputs['parameter_path']}/database/admin-secret-arn" in published
    secrets = moto.client("secretsmanager")
    (secret,) = secrets.list_secrets()["SecretList"]
    password = json.loads(secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"])

    # What is built for an environment of the stack goes where Terraform has made room for it.
    own = {"target": "kubernetes", "branches": ["*"], "stack": "dev", "host": "{slug}.mautic.test"}
    own |= {"cluster": {"kind": "context", "name": "theirs"}}
    built = inv(
        checkout,
        *("build", "--env", "cloud", "--dry-run", "--format", "json"),
        settings={**stack.settings(), "environments": {"cloud": own}},
        env={**stack.environ(), "DEBIAN_IMAGE": base, "MAUTIC_IMAGE": base},
    )
    assert built.returncode == 0, built.stderr
    steps = {name: one["steps"] for name, one in json.loads(built.stdout)["images"].items()}
    assert steps == {name: ["build", "tag"] for name in ("mautic", "nginx")}

    # A second plan is empty, but for what moto does not keep, and what somebody has deleted.
    moto.client("ssm").delete_parameter(Name=f"{outputs['parameter_path']}/registry/url")
    deleted = 'module.parameters.aws_ssm_parameter.this["registry/url"]'
    second = json.loads(stack.run("plan", "--format", "json").stdout)
    assert {one["address"]: one["attributes"] for one in second["changes"]} == {
        **NOT_KEPT_BY_MOTO,
        deleted: [],
    }
    assert (deleted, "destroy") in {(one["address"], one["action"]) for one in second["drift"]}

    destroyed = stack.run("destroy", "--name", "dev")
    assert "LOSES databases" in destroyed.stdout
    assert "0 added, 0 changed, 78 destroyed" in destroyed.stderr
    assert moto.client("rds").describe_db_instances()["DBInstances"] == []
    assert moto.client("ecr").describe_repositories()["repositories"] == []
    assert moto.client("efs").describe_file_systems()["FileSystems"] == []
    shown = applied.stdout + applied.stderr + destroyed.stdout + destroyed.stderr
    assert str(password.get("password", password)) not in shown

"""Terraform: form, `terraform test` with a mocked provider, and an apply against moto.

Nothing here needs AWS. `terraform init` needs the AWS provider, from its registry or from wherever
the machine's own Terraform settings say; it runs in a copy, so that the project stays as it is.
The database takes moto and the provider 80 s and more: MAUTIC_MULTIDEV_TEST_RDS=1 adds it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from tasks.adapters.process import Runner
from tasks.adapters.terraform import LOCK
from tasks.adapters.terraform import Terraform as Adapter
from tasks.core.errors import RefusedError
from tasks.core.redact import Redactor
from tests.conftest import missing
from tests.support.suite import PASSED_ON, ROOT

TERRAFORM = ROOT / "terraform"
MODULE_TESTS = sorted(path.name for path in (TERRAFORM / "tests").glob("*.tftest.hcl"))
ENVIRONMENTS = sorted(path.stem for path in (TERRAFORM / "environments").glob("*.tfvars"))
REGION = "eu-central-1"
WITH_DATABASE = os.environ.get("MAUTIC_MULTIDEV_TEST_RDS") == "1"

UNREACHABLE = re.compile(r"Failed to (query available|resolve) provider packages|Failed to install")
"""What `terraform init` says when it can have no provider; whatever else it says is our fault."""


@dataclass(frozen=True)
class Terraform:
    """Runs terraform in a copy of the project's terraform/ with none of this machine's AWS."""

    program: str
    root: Path
    env: Mapping[str, str]

    def __call__(self, *args: str, where: str = ".") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *args],
            cwd=self.root / where,
            env={**self.env},
            check=False,
            capture_output=True,
            text=True,
        )

    def init(self, *args: str, where: str = ".") -> None:
        done = self("init", "-input=false", "-no-color", *args, where=where)
        if done.returncode and UNREACHABLE.search(done.stderr):
            missing(f"terraform init cannot install the AWS provider:\n{done.stderr.strip()}")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform, initialised in a copy of the root."""
    program = shutil.which("terraform")
    if program is None:
        missing("terraform is not on PATH")
    work = tmp_path_factory.mktemp("terraform")
    (work / "cache").mkdir()
    (work / "home").mkdir()
    local = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*")
    shutil.copytree(TERRAFORM, work / "root", ignore=local)
    kept = (*PASSED_ON, "TF_CLI_CONFIG_FILE")
    env = {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(work / "home"),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        # The AWS provider's schema is huge; fewer collections save a quarter of the processor time.
        "GOGC": "400",
        # The root and the example share one download. There is no lock file that it could break.
        "TF_PLUGIN_CACHE_DIR": str(work / "cache"),
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",
    }
    made = Terraform(program, work / "root", env)
    made.init("-backend=false")
    return made


# -- the provider's lock file ----------------------------------------------------------------------


@pytest.fixture
def locked(terraform: Terraform, tmp_path: Path) -> Terraform:
    """Terraform in a folder with the provider's version and the lock file that git has."""
    versions = (TERRAFORM / "versions.tf").read_text().partition("\nprovider ")[0]
    (tmp_path / "versions.tf").write_text(versions)
    shutil.copy(TERRAFORM / LOCK, tmp_path)
    return replace(terraform, root=tmp_path)


def test_the_lock_file_has_the_provider_that_is_used(locked: Terraform) -> None:
    before = (locked.root / LOCK).read_bytes()
    locked.init("-lockfile=readonly")
    assert (locked.root / LOCK).read_bytes() == before


def test_another_provider_than_the_locked_one_is_refused(locked: Terraform) -> None:
    lock = locked.root / LOCK
    lock.write_text(re.sub(r'"(h1:|zh:)....', r'"\g<1>0000', lock.read_text()))
    adapter = Adapter(Runner(Redactor()), locked.root, "dev", locked.env)
    with pytest.raises(RefusedError, match=r"is none of those in \.terraform\.lock\.hcl") as caught:
        adapter.init({})
    assert "providers lock -platform=" in str(caught.value.hint)


@pytest.fixture(scope="session")
def tested(terraform: Terraform) -> dict[str, str]:
    """What `terraform test` found in each file: nothing, or its complaints."""
    jobs = [
        *([f"-filter=tests/{name}" for name in MODULE_TESTS[part::2]] for part in (0, 1)),
        *(
            [
                "-test-directory=tests/environments",
                f"-filter=tests/environments/{name}.tftest.hcl",
                f"-var-file=environments/{name}.tfvars",
            ]
            for name in ENVIRONMENTS
        ),
    ]
    found: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in pool.map(lambda job: terraform("test", "-json", *job), jobs):
            found.update(_verdicts(done.stdout))
    return found


def _verdicts(stdout: str) -> dict[str, str]:
    """Return, by file, the complaints in the output of `terraform test -json`."""
    lines = [json.loads(line) for line in stdout.splitlines()]
    finished = {
        line["@testfile"]: line["test_file"]["status"]
        for line in lines
        if line["type"] == "test_file" and line["test_file"]["progress"] == "complete"
    }
    found: dict[str, list[str]] = {
        file: [] if status == "pass" else [f"status {status}"] for file, status in finished.items()
    }
    for line in lines:
        if line["type"] == "diagnostic" and line["diagnostic"]["severity"] == "error":
            told = line["diagnostic"]
            where = f"{line.get('@testrun', '')}: {told['summary']}: {told.get('detail', '')}"
            found.setdefault(line.get("@testfile", "?"), []).append(where)
    return {Path(file).name: "\n".join(told) for file, told in found.items()}


def test_form(terraform: Terraform) -> None:
    done = terraform("fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout + done.stderr


def test_valid(terraform: Terraform) -> None:
    done = terraform("validate", "-no-color")
    assert done.returncode == 0, done.stderr
    assert "Success" in done.stdout


def test_every_role_of_a_stack_has_the_boundary() -> None:
    """The attack: Terraform's jobs make a role without a boundary, and take it."""
    own = TERRAFORM / "modules" / "infrastructure" / "main.tf"
    for path in (TERRAFORM / "modules").rglob("*.tf"):
        blocks = re.findall(r'^resource "aws_iam_role" .*?^}', path.read_text(), re.M | re.S)
        wanted = "aws_iam_policy.own.arn" if path == own else "var.permissions_boundary"
        for block in blocks:
            assert re.search(rf"^  permissions_boundary += {re.escape(wanted)}$", block, re.M), path
    root = (TERRAFORM / "main.tf").read_text()
    for module, block in re.findall(r'^module "(\w+)" \{(.*?)^}', root, re.M | re.S):
        source = re.search(r'"\./(modules/[^"]+)"', block)
        assert source
        if "permissions_boundary" in (TERRAFORM / source[1] / "variables.tf").read_text():
            assert "permissions_boundary = local.boundary_arn" in block, module


@pytest.mark.parametrize("name", MODULE_TESTS)
def test_root_and_modules(tested: dict[str, str], name: str) -> None:
    assert tested[name] == ""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment(tested: dict[str, str], name: str) -> None:
    assert tested[f"{name}.tftest.hcl"] == ""


def test_every_module_has_tests_and_a_readme() -> None:
    modules = {path.name for path in (TERRAFORM / "modules").iterdir()}
    tests = {name.removesuffix(".tftest.hcl").replace("_", "-") for name in MODULE_TESTS}
    assert tests == {*modules, "root"}
    for module in modules:
        assert (TERRAFORM / "modules" / module / "README.md").exists(), module


def test_everything_is_described() -> None:
    for path in TERRAFORM.rglob("*.tf"):
        if ".terraform" in path.parts:
            continue
        for kind, name, body in _blocks(path):
            assert "  description = " in body, f"{path}: {kind} {name}"
            assert kind == "output" or "  type " in body, f"{path}: {name} has no type"


def test_a_policy_for_everything_says_why() -> None:
    found = 0
    for path in TERRAFORM.rglob("*.tf"):
        if ".terraform" in path.parts:
            continue
        for line in path.read_text().splitlines():
            if re.search(r'Resource\s*=\s*(\[\s*)?"\*"', line):
                found += 1
                assert re.search(r"# \w.{15,}$", line), f"{path}: {line.strip()}"
    assert found


def test_the_pages_know_every_variable_output_and_parameter() -> None:
    page = (ROOT / "docs" / "infrastructure.md").read_text()
    for file in ("variables.tf", "outputs.tf"):
        for _, name, body in _blocks(TERRAFORM / file):
            told = re.search(r'description = "(.*)"\n', body)
            assert told
            row = rf"^\| `{name}` \|.*{re.escape(told[1].replace('|', chr(92) + '|'))}"
            assert re.search(row, page, re.MULTILINE), f"{name} as in {file}"
    readme = (TERRAFORM / "README.md").read_text()
    tests = (TERRAFORM / "tests" / "root.tftest.hcl").read_text()
    published = re.findall(r'^ +"/mautic-multidev/dev/([^"]*)",$', tests, re.MULTILINE)
    assert published
    assert sorted(re.findall(r"^\| `([a-z0-9/-]+)` \|", readme, re.MULTILINE)) == published


def _blocks(path: Path) -> list[tuple[str, str, str]]:
    """Return kind, name and body of a file's variables and outputs."""
    return re.findall(
        r'^(variable|output) "(\w+)" \{\n(.*?)^\}', path.read_text(), re.DOTALL | re.MULTILINE
    )


# --- against moto ---------------------------------------------------------------------------------

EXAMPLE = "examples/existing-cluster"
VARIABLES = (
    "-input=false",
    "-no-color",
    "-var=stack=test",
    f"-var=region={REGION}",
    "-var=gitlab_project=group/project",
    f"-var=with_database={str(WITH_DATABASE).lower()}",
    # moto knows neither: creation, or destruction, never ends.
    "-var=backup=false",
    "-var=enforce_tls=false",
)

NOT_KEPT_BY_MOTO = {
    'module.storage.aws_vpc_security_group_ingress_rule.client["cluster"]': {"description"},
    'module.database[0].aws_vpc_security_group_ingress_rule.client["cluster"]': {"description"},
    "module.database[0].aws_db_parameter_group.this": {"parameter"},
    "module.database[0].aws_db_instance.this": {
        "performance_insights_enabled",
        "performance_insights_kms_key_id",
        "performance_insights_retention_period",
    },
}
"""What a second plan wants to change though nothing has changed, and which attributes of it."""


@dataclass(frozen=True)
class Applied:
    """The example, applied against moto."""

    run: Terraform
    clients: Callable[[str], Any]

    def terraform(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run(*args, where=EXAMPLE)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server's address."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", "0"],
            env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Running on (http://\S+)", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"moto did not start:\n{log.read_text()}"
            time.sleep(0.1)
        requests.get(f"{found[1]}/moto-api/data.json", timeout=30).raise_for_status()
        yield found[1]
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def applied(terraform: Terraform, moto: str) -> Applied:
    """The example without what moto cannot do, with its state in a file."""
    import boto3

    access = {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    own = Terraform(terraform.program, terraform.root, {**terraform.env, **access})
    local = 'terraform {\n  backend "local" {}\n}\n'
    (terraform.root / EXAMPLE / "override.tf").write_text(local)
    own.init(where=EXAMPLE)
    done = own("apply", "-auto-approve", *VARIABLES, where=EXAMPLE)
    assert done.returncode == 0, done.stderr
    session = boto3.Session("testing", "testing", region_name=REGION)
    return Applied(own, lambda service: session.client(service, endpoint_url=moto))


def test_the_settings_are_in_ssm(applied: Applied) -> None:
    outputs = json.loads(applied.terraform("output", "-json").stdout)
    pages = applied.clients("ssm").get_paginator("get_parameters_by_path")
    found = {
        one["Name"].removeprefix("/mautic-multidev/test/"): one
        for page in pages.paginate(Path=outputs["parameter_path"]["value"], Recursive=True)
        for one in page["Parameters"]
    }
    expected = {"region", "registry/url", "registry/mautic", "registry/nginx", "registry/cache"}
    expected |= {"network/vpc-id", "storage/file-system-id", "storage/classes"}
    expected |= {"ci/main-role-arn", "ci/branches-role-arn"}
    if WITH_DATABASE:
        expected |= {
            "database/host",
            "database/port",
            "database/identifier",
            "database/admin-secret-arn",
        }
    assert set(found) == expected
    assert {one["Type"] for one in found.values()} == {"String"}
    url = found["registry/url"]["Value"]
    assert url == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic-test"
    for name in ("mautic", "nginx", "cache"):
        assert found[f"registry/{name}"]["Value"] == f"{url}/{name}"
    classes = json.loads(found["storage/classes"]["Value"])
    assert (
        classes["efs-branch"]["parameters"]["fileSystemId"]
        == (found["storage/file-system-id"]["Value"])
    )


def test_what_is_there_is_what_was_asked_for(applied: Applied) -> None:
    repositories = applied.clients("ecr").describe_repositories()["repositories"]
    assert {one["repositoryName"] for one in repositories} == {
        "mautic-test/mautic",
        "mautic-test/nginx",
        "mautic-test/seed-dashboards",
        "mautic-test/seed-files",
        "mautic-test/seed-images",
        "mautic-test/cache",
        "mautic-test/provisioner",
        "mautic-test/entrance",
    }
    assert all(one["imageScanningConfiguration"]["scanOnPush"] for one in repositories)
    (files,) = applied.clients("efs").describe_file_systems()["FileSystems"]
    assert files["Encrypted"]
    assert files["NumberOfMountTargets"] == 3
    ec2 = applied.clients("ec2")
    mine = [{"Name": "tag:Stack", "Values": ["test"]}]
    assert len(ec2.describe_subnets(Filters=mine)["Subnets"]) == 9
    assert len(ec2.describe_nat_gateways(Filters=mine)["NatGateways"]) == 1
    roles = {one["RoleName"] for one in applied.clients("iam").list_roles()["Roles"]}
    assert {"mautic-test-ci-main", "mautic-test-ci-branches"} <= roles
    databases = applied.clients("rds").describe_db_instances()["DBInstances"]
    assert [one["StorageEncrypted"] for one in databases] == [True] * WITH_DATABASE


def test_everything_carries_the_stacks_tags(applied: Applied) -> None:
    state = json.loads(applied.terraform("show", "-json").stdout)["values"]["root_module"]
    resources = [*state["resources"]]
    for module in state["child_modules"]:
        resources += module["resources"]
    tagged = [one for one in resources if one["mode"] == "managed" and "tags_all" in one["values"]]
    assert len(tagged) > 40
    for one in tagged:
        tags = one["values"]["tags_all"]
        assert (tags["Project"], tags["Stack"], tags["ManagedBy"]) == (
            "mautic",
            "test",
            "terraform",
        ), one["address"]


def test_a_second_plan_is_empty(applied: Applied) -> None:
    """Up to what moto does not keep, which is listed."""
    saved = str(applied.run.root / "second.tfplan")
    done = applied.terraform("plan", f"-out={saved}", *VARIABLES)
    assert done.returncode == 0, done.stderr
    plan = json.loads(applied.terraform("show", "-json", saved).stdout)
    wanted = {
        one["address"]: {
            key
            for key in one["change"]["after"]
            if one["change"]["before"].get(key) != one["change"]["after"][key]
        }
        for one in plan["resource_changes"]
        if one["change"]["actions"] != ["no-op"]
    }
    unknown = {at: what for at, what in wanted.items() if what != NOT_KEPT_BY_MOTO.get(at)}
    assert unknown == {}


@pytest.mark.skipif(WITH_DATABASE, reason="the database is there")
def test_the_example_may_have_a_database(applied: Applied) -> None:
    """Planned only: moto's takes the provider a minute and a half (test_infra_aws.py has one)."""
    saved = str(applied.run.root / "database.tfplan")
    done = applied.terraform("plan", f"-out={saved}", *VARIABLES, "-var=with_database=true")
    assert done.returncode == 0, done.stderr
    plan = json.loads(applied.terraform("show", "-json", saved).stdout)
    created = {
        one["address"] for one in plan["resource_changes"] if one["change"]["actions"] == ["create"]
    }
    published = {
        f'module.parameters.aws_ssm_parameter.this["database/{name}"]'
        for name in ("host", "port", "identifier", "admin-secret-arn")
    }
    assert created >= {*published, "module.database[0].aws_db_instance.this"}
    others = created - published
    assert all(one.startswith("module.database[0].") for one in others), others


def test_destroy_leaves_nothing(applied: Applied) -> None:
    """The last of this file: it takes away what the others look at."""
    done = applied.terraform("destroy", "-auto-approve", *VARIABLES)
    assert done.returncode == 0, done.stderr
    assert applied.clients("ecr").describe_repositories()["repositories"] == []
    assert applied.clients("efs").describe_file_systems()["FileSystems"] == []
    path = "/mautic-multidev/test"
    assert applied.clients("ssm").get_parameters_by_path(Path=path)["Parameters"] == []

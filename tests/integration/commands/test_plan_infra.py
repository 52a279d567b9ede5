"""`inv plan --infra`: Terraform's plan of the environment's stack, beside the deploy's.

Terraform itself, with its state and AWS on moto; the deploy is to this machine, where nothing is
built or started for it.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import docker
import pytest

from tests.conftest import missing
from tests.support.aws import Moto
from tests.support.infra import CLOUD, PLAIN, Stack
from tests.support.suite import Inv

STACK = "stack mine (account 123456789012, eu-central-1)"


@dataclass
class Both:
    """An environment on this machine, and the stack that it names."""

    stack: Stack

    def plan(self, *args: str, code: int = 0) -> CompletedProcess[str]:
        """Run `inv plan`, and check its exit code."""
        registry = {"kind": "oci", "url": "localhost:1/mautic"}
        local = {"stack": self.stack.name, "registry": registry}
        settings = {
            **self.stack.settings(),
            "images": {"source": "standins"},
            "platform": {"registry_port": 1},
            "environments": {"local": local},
        }
        done = self.stack.inv(
            *(self.stack.checkout, "plan", "--env", "local", *args),
            settings=settings,
            env=self.stack.environ(),
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    @property
    def left(self) -> list[str]:
        """The plan files of Terraform that are left."""
        return sorted(path.name for path in self.stack.plan.parent.glob("*.tfplan*"))


@pytest.fixture(scope="module")
def both(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    scratch = tmp_path_factory.mktemp("stack")
    (scratch / "home").mkdir()
    shutil.copytree(_project, scratch / "checkout", symlinks=True)
    with Moto(scratch) as aws:
        name = f"mt{secrets.token_hex(3)}"
        stack = Stack(Inv(scratch / "home", scratch), scratch / "checkout", aws, name, "mine")
        stack.write(PLAIN)
        stack.make_bucket()
        aws.publish(stack.name, {"dns/domain": "dev.example.com"})
        yield Both(stack)


def test_what_terraform_would_make_is_on_the_page(both: Both) -> None:
    page = both.plan("--infra").stdout.splitlines()
    assert [line for line in page if line.startswith("deploy main to local (")]
    assert [line for line in page if line.startswith("address: ")]
    start = page.index(f"{STACK}: 2 to add, 3 outputs")
    assert page[start + 1 :] == [
        "  + terraform_data.note",
        "  + terraform_data.token",
        "  outputs: note, numbers, token",
    ]
    # Nothing of it is kept, nor done.
    assert (both.left, both.stack.locked, both.stack.plan.exists()) == ([], False, False)
    assert both.plan().stdout.splitlines()[-1] == "infrastructure: not asked (--infra)"


def test_an_applied_stack_has_nothing_to_do_until_its_variables_change(both: Both) -> None:
    both.stack.apply(token="s3cret-of-the-stack")
    assert both.plan("--infra").stdout.splitlines()[-1] == f"{STACK}: no changes"
    both.stack.variables["note"] = "second"
    told = both.plan("--infra", "--format", "json")
    assert "s3cret-of-the-stack" not in told.stdout + told.stderr
    infrastructure = json.loads(told.stdout)["infrastructure"]
    assert infrastructure["counts"]["update"] == 1
    assert [each["address"] for each in infrastructure["changes"]] == ["terraform_data.note"]
    # A plan of the stack that somebody has saved is still there to be applied.
    both.stack.run("plan")
    both.plan("--infra")
    both.stack.run("apply")
    assert both.plan("--infra").stdout.splitlines()[-1] == f"{STACK}: no changes"


def test_what_was_changed_in_aws_by_hand_is_told(both: Both) -> None:
    both.stack.write(CLOUD)
    both.stack.variables.clear()
    both.stack.apply()
    ssm = both.stack.aws.client("ssm")
    ssm.put_parameter(Name="/mautic-multidev/mine/word", Value="other", Overwrite=True)
    page = both.plan("--infra").stdout
    assert f"{STACK}: 1 to change\n  ~ aws_ssm_parameter.word  (" in page


def test_a_deploy_that_is_refused_does_not_wait_for_terraform(both: Both) -> None:
    told = both.plan("--infra", "--no-build", code=1).stderr
    assert "hint: run inv build" in told
    assert "terraform" not in told


def test_a_stack_that_cannot_be_asked_is_an_error_with_its_remedy(both: Both) -> None:
    both.stack.own["state_bucket"] = "nowhere-at-all"
    told = both.plan("--infra", code=2).stderr
    assert "hint: make it, once: inv infra.bootstrap --stack mine" in told
    del both.stack.own["state_bucket"]
    folder = both.stack.checkout / "terraform"
    Path(folder / "broken.tf").write_text("resource {")
    assert "terraform" in both.plan("--infra", code=1).stderr
    assert both.left == []

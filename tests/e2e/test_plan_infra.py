"""`inv plan --infra`: Terraform's plan of the environment's stack, beside the deploy's.

On a real API server, with Terraform itself; its state and AWS are on moto.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import missing
from tests.support.aws import Moto
from tests.support.deploys import Deploys
from tests.support.infra import CLOUD, PLAIN, Stack
from tests.support.kube_cli import ON, KubeEnv

BRANCH = "feature/Infrastructure"
STACK = "stack dev (account 123456789012, eu-central-1)"
SAVED = "plan.json"


@dataclass
class Both:
    """An environment in a cluster, and the stack that it names."""

    deploys: Deploys
    stack: Stack

    def plan(self, *args: str, code: int = 0, **variables: str) -> CompletedProcess[str]:
        """Run `inv plan` for the branch, and check its exit code."""
        settings = {**self.stack.settings(), **self.deploys.settings(stack=self.stack.name)}
        settings["environments"]["prod"]["stack"] = None
        done = self.deploys.run(
            *("plan", *ON, "--branch", BRANCH, "--new", "--no-build", *args),
            settings=settings,
            env={**self.stack.environ(), **variables},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    @property
    def left(self) -> list[str]:
        """The plan files of Terraform that are left."""
        return sorted(path.name for path in self.stack.plan.parent.glob("*.tfplan*"))


@pytest.fixture(scope="module")
def both(kube_env: KubeEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    with Deploys(kube_env) as deploys, Moto(tmp_path_factory.mktemp("moto")) as aws:
        stack = Stack(kube_env.inv, kube_env.checkout, aws, kube_env.project)
        stack.write(PLAIN)
        stack.make_bucket()
        aws.publish(stack.name, {"dns/domain": "dev.example.com"})
        deploys.commit()
        yield Both(deploys, stack)


def test_what_terraform_would_make_is_on_the_page(both: Both) -> None:
    page = both.plan("--infra", "--out", SAVED).stdout.splitlines()
    assert page[0].startswith(f"deploy {BRANCH} to dev (")
    assert [line for line in page if line.startswith("address: ")]
    start = page.index(f"{STACK}: 2 to add, 3 outputs")
    assert page[start + 1 :] == [
        "  + terraform_data.note",
        "  + terraform_data.token",
        "  outputs: note, numbers, token",
    ]
    assert json.loads((both.deploys.env.checkout / SAVED).read_text())["facts"]
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
    ssm.put_parameter(Name="/mautic-multidev/dev/word", Value="other", Overwrite=True)
    page = both.plan("--infra").stdout
    assert f"{STACK}: 1 to change\n  ~ aws_ssm_parameter.word  (" in page


def test_a_deploy_that_is_refused_does_not_wait_for_terraform(both: Both) -> None:
    told = both.plan("--infra", "--tag", "no-such-tag", code=1).stderr
    assert "there is no image" in told
    assert "terraform" not in told


def test_a_stack_that_cannot_be_asked_is_an_error_with_its_remedy(both: Both) -> None:
    both.stack.own["state_bucket"] = "nowhere-at-all"
    told = both.plan("--infra", code=2).stderr
    assert "hint: make it, once: inv infra.bootstrap --stack dev" in told
    del both.stack.own["state_bucket"]
    folder = both.stack.checkout / "terraform"
    Path(folder / "broken.tf").write_text("resource {")
    assert "terraform" in both.plan("--infra", code=1).stderr
    assert both.left == []

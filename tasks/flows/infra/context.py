"""The context of a stack: its settings, its Terraform and the bucket of its state."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.aws.state_bucket import StateBucket
from tasks.adapters.terminal.console import Console
from tasks.adapters.terraform import Terraform
from tasks.core.errors import InputError

FOLDER = "terraform"
"""The configuration, in the checkout."""

PLANS = ".terraform-plans"
"""The folder of saved plans in the checkout. They have secrets, so only their owner can read
them."""


@dataclass(frozen=True)
class StackContext:
    """One stack, with its Terraform and the bucket of its state.

    Attributes:
        root: the suite's files, with the configuration.
        project: the project, where plans are kept.
        files: Terraform variables files, the later ones win.
        protected: whether invoke.yaml protects the stack.
    """

    name: str
    account: str
    region: str
    files: tuple[Path, ...]
    protected: bool
    root: Path
    project: Path
    commit: str
    terraform: Terraform
    bucket: StateBucket
    console: Console

    @property
    def subject(self) -> str:
        """The stack's description in messages."""
        return f"stack {self.name} (account {self.account}, {self.region})"

    @property
    def key(self) -> str:
        """Key of its state in the bucket."""
        return f"{self.name}/terraform.tfstate"

    @property
    def plan(self) -> Path:
        """The saved plan."""
        return self.project / PLANS / f"{self.name}.tfplan"

    @property
    def record(self) -> Path:
        """The saved plan's record."""
        return self.plan.with_suffix(".json")

    def command(self, task: str) -> str:
        """Return the command line of another task on this stack."""
        return f"inv infra.{task} --stack {self.name}"


def only_stack(stacks: Collection[str]) -> str:
    """Return the name of the only stack there is.

    Raises:
        InputError: there is none, or more than one.
    """
    if not stacks:
        raise InputError(
            "there is no stack in invoke.yaml", hint="describe one under `stacks`: docs/aws.md"
        )
    if len(stacks) > 1:
        raise InputError("which stack?", hint=f"--stack {' or --stack '.join(stacks)}")
    return next(iter(stacks))


def variables_files(root: Path, stack: str, names: Iterable[str]) -> tuple[Path, ...]:
    """Return the paths of a stack's variables files.

    Raises:
        InputError: one of them is missing.
    """
    files = tuple(root / name for name in names)
    for path in files:
        if not path.is_file():
            raise InputError(
                f"the variables file of stack {stack} is not there: {path}",
                hint=f"correct stacks.{stack}.variables",
            )
    return files

"""A stack of its own for each test of `inv infra.*`: a small Terraform root, a state."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.suite import Inv, commit_all

NO_PROVIDER = "terraform init cannot install the AWS provider"

PLAIN = """
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

variable "stack" { type = string }
variable "region" { type = string }
variable "note" {
  type    = string
  default = "first"
}
variable "seconds" {
  type    = number
  default = 0
}
variable "protected" {
  type    = bool
  default = false
}
variable "token" {
  type      = string
  default   = "none-was-given"
  sensitive = true
}

resource "terraform_data" "note" { input = var.note }
resource "terraform_data" "token" { input = var.token }
resource "terraform_data" "slow" {
  count = var.seconds > 0 ? 1 : 0

  provisioner "local-exec" { command = "exec sleep ${var.seconds}" }
}

output "note" { value = terraform_data.note.output }
output "numbers" { value = [1, 2] }
output "token" {
  value     = terraform_data.token.output
  sensitive = true
}
"""
"""No provider: what Terraform itself does. A plan takes it half a second."""

CLOUD = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" { region = var.region }

variable "stack" { type = string }
variable "region" { type = string }
variable "images" {
  type    = string
  default = "images"
}
variable "word" {
  type    = string
  default = "word"
}

resource "aws_ecr_repository" "images" { name = "${var.stack}/${var.images}" }
resource "aws_ssm_parameter" "word" {
  name  = "/mautic-multidev/${var.stack}/word"
  type  = "String"
  value = var.word
}
resource "aws_ssm_parameter" "other" {
  name  = "/mautic-multidev/${var.stack}/other"
  type  = "String"
  value = "other"
}
"""
"""Two kinds of AWS' things, one of which holds data."""


def passed_on() -> dict[str, str]:
    """Return where Terraform finds its provider on this machine, and what makes that faster."""
    named = os.environ.get("TF_CLI_CONFIG_FILE", "")
    mirror = {"TF_CLI_CONFIG_FILE": named} if named and Path(named).exists() else {}
    # The provider's schema is huge; fewer collections save a quarter of the processor time.
    return {"GOGC": "400", **mirror}


@dataclass
class Stack:
    """One stack, in a checkout whose terraform/ is a small root.

    Attributes:
        inv: runs the command line.
        checkout: the checkout.
        aws: where its AWS is.
        project: first part of every name, its own.
        name: the stack's name.
        variables: what stands in its variables file.
        own: further settings of the stack.
        env: further variables of every run.
    """

    inv: Inv
    checkout: Path
    aws: Moto
    project: str
    name: str = "dev"
    variables: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def write(self, code: str) -> None:
        """Replace the Terraform code, modules apart, and commit."""
        folder = self.checkout / "terraform"
        for path in folder.iterdir():
            if path.name not in {"modules", ".gitignore"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (folder / "main.tf").write_text(code)
        commit_all(self.checkout)

    def make_bucket(self) -> None:
        """Make the state's bucket without its policy: moto takes no notice of conditions."""
        where = {"LocationConstraint": REGION}
        self.aws.client("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration=where)

    @property
    def bucket(self) -> str:
        """The state's bucket."""
        return f"{self.project}-terraform-{ACCOUNT}-{REGION}"

    @property
    def plan(self) -> Path:
        """The saved plan."""
        return self.checkout / ".terraform-plans" / f"{self.name}.tfplan"

    @property
    def locked(self) -> bool:
        """Whether the state is locked."""
        found = self.aws.client("s3").list_objects_v2(
            Bucket=self.bucket, Prefix=f"{self.name}/terraform.tfstate.tflock"
        )
        return found["KeyCount"] > 0

    def settings(self) -> dict[str, Any]:
        """Return what invoke.yaml is overridden with."""
        path = self.checkout.parent / f"{self.name}.tfvars"
        path.write_text(
            "".join(
                f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
                for name, value in self.variables.items()
            ).replace("'", '"')
        )
        stack = {"region": REGION, "variables": [str(path)], **self.own}
        return {"project": self.project, "stacks": {self.name: stack}}

    def environ(self) -> dict[str, str]:
        """Return the variables of every run."""
        return {**self.aws.variables(), **passed_on(), **self.env}

    def run(self, task: str, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `inv infra.TASK` on the stack, and check its exit code."""
        argv = (f"infra.{task}", "--stack", self.name, *args)
        done = self.inv(self.checkout, *argv, settings=self.settings(), env=self.environ())
        if NO_PROVIDER in done.stderr:
            missing(f"no AWS provider:\n{done.stderr}")
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, task: str, *args: str) -> Running:
        """Start `inv infra.TASK` on the stack."""
        argv = (f"infra.{task}", "--stack", self.name, *args)
        process = self.inv.start(self.checkout, *argv, settings=self.settings(), env=self.environ())
        return Running(process)

    def apply(self, **variables: Any) -> None:
        """Change variables, plan and apply."""
        self.variables |= variables
        self.run("plan")
        self.run("apply")


class Running:
    """A running `inv` whose stderr is collected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """What it has said."""
        return "".join(self.lines)

    def expect(self, text: str, deadline_seconds: float = 60) -> None:
        """Wait until it has said something."""
        end = time.monotonic() + deadline_seconds
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} was not said:\n{self.text}"
            assert self.process.poll() is None or text in self.text, self.text
            time.sleep(0.05)

    def finish(self, deadline_seconds: float = 120) -> int:
        """Wait until it has ended; return its exit status."""
        code = self.process.wait(timeout=deadline_seconds)
        self._reader.join(timeout=60)
        return code

    def descendants(self) -> list[int]:
        """Return the process numbers of all it has started, directly or not."""
        return _below(self.process.pid)

    def kill_all(self) -> None:
        """Kill it and all its children at once, as a host that crashes would."""
        below = self.descendants()
        for pid in (self.process.pid, *below):
            os.kill(pid, signal.SIGSTOP)
        for pid in (self.process.pid, *below):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=60)

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))


def _below(pid: int) -> list[int]:
    children: list[int] = []
    # Process or thread may have ended in between.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            children += map(int, path.read_text().split())
    return [*children, *(lower for child in children for lower in _below(child))]


def command_of(hint: str) -> list[str]:
    """Return the task and options of the `inv infra.*` command that a message advises."""
    found = re.search(r"inv infra\.(\w+) --stack \S+((?: --\w[\w-]*(?: [0-9a-f-]{36})?)*)", hint)
    assert found, hint
    return [found[1], *found[2].split()]

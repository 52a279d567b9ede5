"""Terraform: python-terraform builds its command lines, the runner runs them.

The commands of python-terraform 0.10.1 are not usable: ``plan`` raises if there are changes,
``apply`` requires ``skip_plan``, ``destroy`` passes an option that Terraform has removed,
``output`` fails for a single name, and an interruption kills Terraform.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.adapters.process import Completed, Interrupted, Runner
from tasks.core.doctor.checks import TERRAFORM_REMEDY
from tasks.core.errors import (
    CommandError,
    HeldError,
    InputError,
    MissingToolError,
    RefusedError,
    SuiteError,
)

INIT_SECONDS = 900.0
"""The AWS provider is 150 MB to fetch and 680 MB to unpack."""
READ_SECONDS = 300.0

_LOCKED = "Error acquiring the state lock"
_LOCK_FIELD = re.compile(r"^\s*(ID|Operation|Who|Created):\s+(\S.*?)\s*$", re.MULTILINE)
LOCK = ".terraform.lock.hcl"
ADD = (
    "terraform -chdir=terraform providers lock -platform=linux_amd64 -platform=linux_arm64 "
    "-platform=darwin_arm64 -platform=darwin_amd64"
)
"""What completes the lock file; it asks the provider's own registry."""

_NO_BUCKET = re.compile(r"NoSuchBucket|S3 bucket \S+ does not exist")
_OTHER_PROVIDER = re.compile(r"doesn't[\s│]+match[\s│]+any[\s│]+of[\s│]+the[\s│]+checksums")
_NO_PROVIDER = re.compile(r"Failed to (?:query available|resolve|install) provider")


@dataclass(frozen=True)
class StateLock:
    """A lock on the state, as Terraform writes it.

    Attributes:
        operation: e.g. ``OperationTypeApply``.
        who: user and host.
        created: the time of locking.
    """

    id: str
    operation: str
    who: str
    created: str

    def __str__(self) -> str:
        """Return who holds it, for what, and since when."""
        what = self.operation.removeprefix("OperationType").lower() or "something"
        return f"{self.who} holds it for {what} since {self.created[:19].replace('T', ' ')} UTC"


class LockedError(HeldError):
    """The state is locked by another run."""

    def __init__(self, stack: str, lock: StateLock) -> None:
        super().__init__(
            f"the state of stack {stack} is locked: {lock}",
            hint=f"wait for that run to end; if it was killed: "
            f"inv infra.unlock --stack {stack} --id {lock.id}",
        )
        self.lock = lock


class Terraform:
    """Terraform in one directory, on one stack.

    Args:
        runner: runs it, and redacts what it says.
        root: the directory with the configuration.
        stack: the stack's name; each has its own data directory, so that no run can use another
            stack's state.
        environ: variables that select region and profile in AWS.
    """

    def __init__(self, runner: Runner, root: Path, stack: str, environ: Mapping[str, str]) -> None:
        self._runner = runner
        self._root = root
        self._stack = stack
        # boto3 asks a profile that is named before these, Terraform these before any profile.
        others = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        self._environ = {
            **(dict.fromkeys(others, "") if "AWS_PROFILE" in environ else {}),
            **environ,
            "TF_DATA_DIR": str(root / ".terraform" / stack),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            # Each would change the meaning of the commands below.
            **dict.fromkeys(("TF_CLI_ARGS", "TF_WORKSPACE"), ""),
            **{f"TF_CLI_ARGS_{name}": "" for name in ("init", "plan", "apply", "show", "output")},
        }
        self.tell: Callable[[str], None] = lambda _: None
        """Called with messages to the user while a command runs."""

    @property
    def leftover(self) -> Path:
        """The local copy of a state that an earlier run could not store in the bucket."""
        return self._root / f"errored.{self._stack}.tfstate"

    @property
    def rescue(self) -> str:
        """The hint on how to store that state in the bucket."""
        return (
            f"the state could not be stored and lies in {self.leftover}. Once its place can be "
            f"written again: inv infra.unlock --stack {self._stack}; then "
            f"TF_DATA_DIR=.terraform/{self._stack} terraform -chdir={shlex.quote(str(self._root))} "
            f"state push {self.leftover.name}; then remove the file"
        )

    def init(
        self, backend: Mapping[str, str], on_line: Callable[[str], None] | None = None
    ) -> None:
        """Download the provider, and connect to the state.

        Args:
            backend: bucket, key and region of the state.
            on_line: called with every line of output.

        Raises:
            InputError: there is no such bucket.
            MissingToolError: there is no Terraform, or the provider cannot be downloaded.
            RefusedError: the provider has none of the lock file's checksums.
        """
        options: dict[str, Any] = {
            "input": False,
            "reconfigure": True,
            "backend_config": dict(backend),
            # A folder without tests: the modules of Terraform's own tests are many.
            "test_directory": "modules",
        }
        if (self._root / LOCK).exists():
            # Whatever else it learns of the provider is for a person to commit.
            options["lockfile"] = "readonly"
        self._run("init", options, on_line=on_line, deadline=INIT_SECONDS)

    def plan(
        self,
        out: Path,
        files: Sequence[Path],
        values: Mapping[str, str],
        *,
        destroy: bool = False,
        on_line: Callable[[str], None] | None = None,
    ) -> bool:
        """Make a plan and save it; it holds secrets.

        Args:
            out: path of the plan file; only its owner can read it.
            files: variables files, the later ones win.
            values: variables that override the files.
            destroy: plan to destroy everything.
            on_line: called with every line of output.

        Returns:
            True if there is anything to change.

        Raises:
            LockedError: another run holds the state's lock.
        """
        out.touch(mode=0o600)
        options: dict[str, Any] = {"input": False, "detailed_exitcode": True, "out": str(out)}
        if destroy:
            options["destroy"] = True
        options["var_file"] = [str(path) for path in files]
        options["var"] = [f"{name}={value}" for name, value in values.items()]
        return self._run("plan", options, on_line=on_line, good=(0, 2)).returncode == 2

    def show(self, plan: Path) -> dict[str, Any]:
        """Return a saved plan as data, sensitive values in clear."""
        done = self._run("show", {"json": True}, str(plan), deadline=READ_SECONDS)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def state(self) -> dict[str, Any]:
        """Return the state as data, sensitive values in clear."""
        done = self._run("show", {"json": True}, deadline=READ_SECONDS)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def diff(self, plan: Path) -> str:
        """Return a saved plan as Terraform's own text, sensitive values masked."""
        return self._run("show", {}, str(plan), deadline=READ_SECONDS).stdout

    def apply(self, plan: Path, on_line: Callable[[str], None] | None = None) -> None:
        """Apply a saved plan.

        Raises:
            LockedError: another run holds the state's lock.
            RefusedError: the state has changed since the plan was made.
        """
        self._run("apply", {"input": False}, str(plan), on_line=on_line)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs with their types, sensitive values in clear."""
        done = self._run("output", {"json": True}, deadline=READ_SECONDS)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def unlock(self, lock_id: str) -> None:
        """Remove the lock of this id."""
        self._run("force-unlock", {"force": True}, lock_id, deadline=READ_SECONDS)

    # -- internals ----------------------------------------------------------------------------

    def _program(self) -> str:
        try:
            return self._runner.find("terraform")
        except MissingToolError as error:
            error.hint = TERRAFORM_REMEDY
            raise

    def _run(
        self,
        command: str,
        options: Mapping[str, Any],
        *args: str,
        on_line: Callable[[str], None] | None = None,
        deadline: float | None = None,
        good: tuple[int, ...] = (0,),
    ) -> Completed:
        options = {**options, "no_color": True} if command != "force-unlock" else options
        argv = self._command_line(command, options, args)
        stopping = _Stopping(self.tell)
        done = self._runner.run(
            argv,
            env=self._environ,
            cwd=self._root,
            deadline=deadline,
            on_line=on_line,
            check=False,
            on_signal=stopping.take,
            # Killed while writing its state it would also leave its lock.
            detached=True,
        )
        left = self._root / "errored.tfstate"
        if command == "apply" and left.exists():
            # Terraform's name for it does not include the stack.
            left.replace(self.leftover)
        if stopping.signum:
            raise Interrupted(stopping.signum)
        if done.returncode not in good:
            raise self._error(["terraform", *argv[1:]], done.stderr or done.stdout)
        return done

    def _command_line(
        self, command: str, options: Mapping[str, Any], args: Sequence[str]
    ) -> list[str]:
        from python_terraform import IsFlagged
        from python_terraform import Terraform as CommandLines

        flags = {name: IsFlagged if value is True else value for name, value in options.items()}
        lines = CommandLines(str(self._root), terraform_bin_path=self._program())
        argv: list[str] = lines.generate_cmd_string(command, *args, **flags)
        return argv

    def _error(self, argv: Sequence[str], output: str) -> SuiteError:
        if _LOCKED in output:
            fields = dict(_LOCK_FIELD.findall(output))
            if "ID" in fields:
                names = ("ID", "Operation", "Who", "Created")
                return LockedError(
                    self._stack, StateLock(*(fields.get(name, "") for name in names))
                )
        if "Saved plan is stale" in output:
            return RefusedError(
                f"the plan of stack {self._stack} is stale: the state has changed since",
                hint=f"make a new one: inv infra.plan --stack {self._stack}",
            )
        if _NO_BUCKET.search(output):
            return InputError(
                f"there is no bucket for the state of stack {self._stack} yet",
                hint=f"make it, once: inv infra.bootstrap --stack {self._stack}",
            )
        told: dict[str, Any] = {
            "command": self._runner.show(argv),
            "output": self._runner.redactor(output.strip()),
        }
        if _OTHER_PROVIDER.search(output):
            return RefusedError(
                f"the AWS provider is none of those in {LOCK}",
                hint="on another platform than those it has, add yours, and commit the file: "
                f"{ADD}; on one that it has, the provider was replaced: find out by whom",
                **told,
            )
        if _NO_PROVIDER.search(output):
            return MissingToolError(
                "terraform init cannot install the AWS provider",
                hint="let this machine reach registry.terraform.io, or name a mirror in the "
                "Terraform settings (TF_CLI_CONFIG_FILE)",
                **told,
            )
        hint = self.rescue if self.leftover.exists() else None
        return CommandError(f"terraform {argv[1]} failed", hint=hint, **told)


class _Stopping:
    """Forwards the first signal to Terraform, and lets it end in order, however long that takes.

    Terraform waits for operations in AWS, saves the state and releases the lock. If it is killed,
    it leaves the lock, and maybe resources that are in no state.

    Args:
        tell: called with what happens next.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._count = 0
        self.signum = 0

    def take(self, signum: int, pass_on: Callable[[int], None]) -> None:
        """Forward the first signal, announce the second, and end Terraform at the third."""
        self.signum = self.signum or signum
        self._count += 1
        if self._count == 1:
            self._tell("told Terraform to end; it saves the state and releases its lock first")
        elif self._count == 2:
            self._tell("still waiting for Terraform; once more ends it at once and leaves its lock")
            return
        pass_on(signal.SIGINT)


def read_lock(text: str) -> StateLock:
    """Return the lock in a lock file."""
    fields = json.loads(text)
    return StateLock(*(str(fields.get(name, "")) for name in ("ID", "Operation", "Who", "Created")))

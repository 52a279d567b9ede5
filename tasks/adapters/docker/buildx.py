"""docker buildx: evaluates a bake file, and bakes it."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.adapters.files.kept_answer import kept_answer
from tasks.adapters.process import Completed, Runner
from tasks.core.engine_address import context_fault, full_disk, remedy
from tasks.core.errors import (
    CommandError,
    EngineError,
    InputError,
    MissingToolError,
    RegistryError,
    SuiteError,
)
from tasks.core.images.content_key import BakeTarget
from tasks.core.variables import bake_variables

DOCTOR = "`inv doctor` says what this machine needs"

_QUICK_SECONDS = 60
"""Timeout of everything but a build."""

NO_ATTESTATIONS = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
"""Variables of builds without BuildKit's own provenance, which would make an index of each image.

ECR scans no index, and its digest is another one with every builder. What is stated of an image is
attached to it instead (tasks/flows/attest.py).
"""

_MOVING = re.compile(r"\b(?:timestamp|uuidv4|bcrypt|homedir)\s*\(|\bBAKE_")
"""What makes a bake file mean something else the next time, on the same machine."""

_VERTEX = re.compile(r"#(\d+) (?:\[([a-z0-9_-]+)[ \]])?")
"""A line of plain progress: a step's number; on its first line also its target."""

_STEP = re.compile(r"#(\d+) \[([a-z0-9_-]+) +(?:\S+ +)?(\d+/\d+)\] (.+)")
"""The first line of a Dockerfile's step: its number, its target, which it is, its instruction."""

_DONE = re.compile(r"#(\d+) DONE (\d+\.\d)s$")
"""The last line of a step that was not in the cache."""

_OPTION = re.compile(r"--\S+\s+")
"""An option of an instruction, such as a mount."""

TELLING_SECONDS = 0.3
"""How long a step takes at least that is told where only steps are."""

INSTRUCTION = 60
"""How many characters of a step's instruction are told."""

_NOISE = re.compile(r"#\d+ (?:\.\.\.$|.*\d[kMG]?B / |.*\bpushing layer )")
"""Lines that only count bytes."""

_SAID = re.compile(r"(?:#\d+ )?\d+\.\d+ ")
"""A line of a build step's own output, with its seconds."""


_REFUSED_LINK = re.compile(
    rf"^{_SAID.pattern}(docker/mautic/.+ is a link to .*, which is not in the image)$", re.MULTILINE
)
"""What docker/mautic/build/add.sh says of a link that leads to nothing."""

_MISTAKE = re.compile(rf"^{_SAID.pattern}(docker/mautic/.+:\d+: .+)$", re.MULTILINE)
"""What the programs of docker/mautic/build say of a mistake in the project's own files."""

_FAILED_STEP = re.compile(r"^#(\d+) ERROR: process ", re.MULTILINE)
"""The last line of a step that failed."""


class PushError(RegistryError):
    """The registry failed in the middle of a push; a retry may help."""


@dataclass(frozen=True)
class Definition:
    """What a bake file says.

    Attributes:
        targets: the targets of its default group, and those linked to them.
        published: the names in the default group, in order.
    """

    targets: Mapping[str, BakeTarget]
    published: tuple[str, ...]


@dataclass(frozen=True)
class Baked:
    """A target that was baked.

    Attributes:
        digest: the digest of its image: the manifest's where it was pushed.
        seconds: from the start of the bake to the end of the target's last step.
    """

    digest: str
    seconds: float


@dataclass(frozen=True)
class BakeOrder:
    """One target to bake.

    Attributes:
        cache_from: a cache to read layers from, or empty.
        cache_to: a cache to write layers to, or empty.
    """

    reference: str
    cache_from: str = ""
    cache_to: str = ""


@dataclass
class Progress:
    """Follows plain progress, and records when each target's last step ended."""

    started: float = field(default_factory=time.monotonic)
    targets: dict[str, str] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)

    def done(self, line: str) -> str | None:
        """Return what a line says of a step that has ended and took its time, or None."""
        if step := _STEP.match(line):
            number, target, which, words = step.groups()
            instruction = _OPTION.sub("", words)
            self.steps[number] = f"{target} {which}: {instruction[:INSTRUCTION]}"
        elif (end := _DONE.match(line)) and float(end[2]) >= TELLING_SECONDS:
            step_done = self.steps.get(end[1])
            return f"{step_done} ({end[2]} s)" if step_done else None
        return None

    def take(self, line: str) -> bool:
        """Record a line; return whether it is worth showing."""
        match = _VERTEX.match(line)
        if match:
            number, target = match.groups()
            if target:
                self.targets[number] = target
            if number in self.targets:
                self.ended[self.targets[number]] = time.monotonic() - self.started
        return bool(line.strip()) and not _NOISE.match(line)


class Buildx:
    """Bakes the targets of one bake file.

    Args:
        runner: runs docker.
        root: the folder that the bake file's paths are relative to.
        file: the bake file, relative to root.
        folders: folders of the images' own files, and where the project has them: what errors
            name.
    """

    def __init__(
        self, runner: Runner, root: Path, file: str, folders: Mapping[str, str] | None = None
    ) -> None:
        self._runner = runner
        self.root = root
        self.file = file
        self.folders = folders or {}

    def definition(self, variables: Mapping[str, str], *, kept: bool = False) -> Definition:
        """Evaluate the bake file with these variables.

        Args:
            variables: values of the bake file's variables; the environment is not read for them.
            kept: whether what docker said of the same text and variables before, and the user's
                cache has, is taken: docker needs longer for it than for any other question.

        Raises:
            MissingToolError: there is no docker or no buildx.
            CommandError: the bake file is wrong.
        """
        argv = ["docker", "buildx", "bake", "--file", self.file, "--print"]

        def ask() -> str:
            return self._docker(argv, env={**self._unset, **variables}).stdout

        if kept and not _MOVING.search(self.text):
            question = json.dumps([self.text, dict(variables)], sort_keys=True)
            said = kept_answer(str(self.root / self.file), question, ask, os.environ)
        else:
            said = ask()
        printed = json.loads(said)
        return Definition(printed["target"], tuple(printed["group"]["default"]["targets"]))

    @cached_property
    def exports_cache(self) -> bool:
        """Whether the builder can write a cache of every layer to a registry.

        The engine's own builder cannot, unless it keeps images in containerd's store
        (https://docs.docker.com/build/cache/backends/).
        """
        builder = self._docker(["docker", "buildx", "inspect"]).stdout
        driver = re.search(r"^Driver:\s+(\S+)", builder, re.MULTILINE)
        if driver is None or driver[1] != "docker":
            return True
        argv = ["docker", "info", "--format", "{{json .DriverStatus}}"]
        return "io.containerd.snapshotter" in self._docker(argv).stdout

    def bake(
        self,
        orders: Mapping[str, BakeOrder],
        *,
        variables: Mapping[str, str],
        linked: Collection[str] = (),
        login: Mapping[str, str] | None = None,
        push: bool = True,
        fresh: bool = False,
        on_line: Callable[[str], None] | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> dict[str, Baked]:
        """Build targets in one graph, and push them.

        Args:
            orders: what to bake, by target.
            variables: values of the bake file's variables.
            linked: other targets the baked ones copy from; their results are not kept.
            login: variables that log docker in to the registry.
            push: push to the registry, or else load into the engine.
            fresh: use no cache at all.
            on_line: called with each line of progress that is worth showing.
            on_step: called with a line for each step that took its time, as it ends.

        Raises:
            MissingToolError: there is no docker or no buildx.
            RegistryError: a base image could not be pulled, or the registry refused the push.
            PushError: the push failed; what was built stays in the builder's cache.
            EngineError: the engine cannot be reached, or its disk is full.
            InputError: a link of a plugin or theme, or of the configuration, leads to nothing.
            CommandError: a step of the build failed.
        """
        progress = Progress()

        def take(line: str) -> None:
            if progress.take(line) and on_line:
                on_line(line)
            if (step := progress.done(line)) and on_step:
                on_step(step)

        with tempfile.TemporaryDirectory(prefix="inv-build-") as scratch:
            metadata = Path(scratch) / "metadata.json"
            argv = ["docker", "buildx", "bake", "--file", self.file, "--progress", "plain"]
            argv += ["--metadata-file", str(metadata)]
            argv += ["--no-cache"] if fresh else []
            for target in linked:
                argv += ["--set", f"{target}.output=type=cacheonly"]
            for target, order in orders.items():
                argv += ["--set", f"{target}.tags={order.reference}"]
                argv += ["--set", f"{target}.output=type={'registry' if push else 'docker'}"]
                if order.cache_from:
                    argv += ["--set", f"{target}.cache-from={order.cache_from}"]
                if order.cache_to:
                    argv += ["--set", f"{target}.cache-to={order.cache_to}"]
            env = {**self._unset, **variables, **NO_ATTESTATIONS, **(login or {})}
            self._docker([*argv, *orders], env=env, deadline=None, on_line=take)
            results: dict[str, Any] = json.loads(metadata.read_text())
        return {
            target: Baked(results[target]["containerimage.digest"], progress.ended.get(target, 0.0))
            for target in orders
        }

    @property
    def text(self) -> str:
        """The bake file's text."""
        return (self.root / self.file).read_text()

    @cached_property
    def _unset(self) -> dict[str, None]:
        """The bake file's variables, all unset: the user's shell must not set any."""
        return bake_variables(self.text) if (self.root / self.file).exists() else {}

    def _docker(
        self,
        argv: list[str],
        *,
        env: Mapping[str, str | None] | None = None,
        deadline: float | None = _QUICK_SECONDS,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        done = self._runner.run(
            argv, env=env, cwd=self.root, deadline=deadline, on_line=on_line, check=False
        )
        if done.returncode != 0:
            error = diagnose(self._runner, done)
            for there, here in self.folders.items():
                error.message = error.message.replace(f"{there}/", f"{here}/")
                error.output = error.output and error.output.replace(f"{there}/", f"{here}/")
            raise error
        return done


def diagnose(runner: Runner, done: Completed) -> SuiteError:
    """Return the error for a failed run of docker, recognised by its output.

    Args:
        runner: redacts what is shown.
    """
    building = done.argv[1] == "buildx"
    kind, message, hint = _recognise(done.stderr or done.stdout, building=building)
    if kind is CommandError and not building:
        message = f"docker {done.argv[1]} failed"
    said = done.stderr or done.stdout
    mistakes = [*dict.fromkeys(_MISTAKE.findall(said))] if kind is CommandError else []
    if mistakes:
        # What is to be mended, and where: docker's words would only hide that.
        return CommandError(mistakes[0], output=runner.redactor("\n".join(mistakes[1:])))
    # Of a failed step all lines: docker's own summary has few of them, and much of the Dockerfile.
    lines = [line for line in _failed_step(said) or said.splitlines() if not _NOISE.match(line)]
    return kind(
        message,
        command=runner.show(done.argv),
        output=runner.redactor("\n".join(lines)),
        hint=hint,
    )


def _recognise(output: str, *, building: bool) -> tuple[type[SuiteError], str, str | None]:
    """Return class, message and hint of the error in docker's output."""
    # When one push fails, docker aborts the other one and reports a lost connection for it. The
    # cause is in the last error line.
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    ended = errors[-1] if building and errors else output
    if fault := _engine_fault(output, ended):
        return (EngineError, *fault)
    if re.search(r"is not a docker command|unknown command: docker|unknown flag: --file", output):
        return MissingToolError, "docker has no buildx plugin", DOCTOR
    if fault := full_disk(output):
        return (EngineError, *fault)
    if building and (refused := _REFUSED_LINK.search(output)):
        return InputError, refused[1], "put there what it leads to, or remove it"
    cause = output
    if building:
        own = (line for line in output.splitlines() if not _SAID.match(line))
        cause = "\n".join(line for line in own if "ERROR" in line or "failed to " in line)
    if "did not complete successfully" not in cause:
        for pattern, kind, message, hint in _REGISTRY_FAULTS:
            if re.search(pattern, cause):
                return kind, message, hint
    return CommandError, f"the build failed{_last_words(output)}", None


def _last_words(output: str) -> str:
    """Return the last line that a failed step of a build wrote, for the end of a sentence."""
    said = (_SAID.sub("", line).strip() for line in _failed_step(output) if _SAID.match(line))
    return next((f": {line}" for line in reversed([*said]) if line), "")


def _failed_step(output: str) -> list[str]:
    """Return the lines of the step of a build that failed; none if it was no step."""
    failed = _FAILED_STEP.search(output)
    return [line for line in output.splitlines() if failed and line.startswith(f"#{failed[1]} ")]


def _engine_fault(output: str, ended: str) -> tuple[str, str] | None:
    """Return message and hint where the engine cannot be used.

    Args:
        output: what docker wrote.
        ended: the part of it about what ended the run.
    """
    if fault := context_fault(output):
        return fault
    if re.search(_NO_ENGINE, ended):
        host = os.environ.get("DOCKER_HOST", "")
        return "the Docker Engine cannot be reached", remedy(ended, host=host)
    if "permission denied while trying to connect" in output:
        return (
            "this user may not use the Docker Engine",
            "become a member of the group docker, or run as root",
        )
    return None


_NO_ENGINE = (
    "error during connect|Cannot connect to the Docker daemon|unable to resolve docker endpoint"
)

_REGISTRY_FAULTS = (
    (
        r"load metadata|failed to resolve source metadata|failed to resolve reference",
        RegistryError,
        "a base image could not be pulled from its registry",
        "is its name right? `inv doctor` says which registries can be reached",
    ),
    (
        r"denied|unauthorized|authentication required|no basic auth credentials",
        RegistryError,
        "the registry refused the push",
        "log in: docker login; ECR's own words say which permission is missing",
    ),
    (
        r"x509: |tls: (failed|bad|unknown|remote)|server gave HTTP response to HTTPS client|"
        r"no such host",
        RegistryError,
        "the registry cannot be spoken to",
        "is its address right? The Docker Engine, or its builder, must know its name and the "
        "authority that signed its certificate",
    ),
    (
        r"failed to push|pushing|unexpected (HTTP )?status|connection refused|connection reset|"
        r"i/o timeout|EOF|server misbehaving",
        PushError,
        "the push to the registry failed",
        "the registry's own log says why; what was built stays in the builder's cache, "
        "so running it again is quick",
    ),
)
"""Patterns of error lines, and the error to raise for each; the first match counts."""

"""What every task shares: the decorator that turns errors into exit codes, and the wiring."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import invoke
from invoke.exceptions import Exit

from tasks.app.early import INTERRUPTED
from tasks.core.errors import InputError, SettingsError, SuiteError

if TYPE_CHECKING:
    from tasks.adapters.aws.session import Aws
    from tasks.adapters.docker.base_images import Bases
    from tasks.adapters.git import Git
    from tasks.adapters.process import Runner
    from tasks.adapters.terminal.console import Console
    from tasks.core.config_sources import Level
    from tasks.core.names import Names
    from tasks.core.redact import Redactor
    from tasks.core.settings import Environment, Settings

HELP = {
    "env": "environment of invoke.yaml (default: in CI the one the branch matches, else local)",
    "branch": "full branch name (default: the branch that is checked out)",
    "format": "text or json",
    "dry_run": "read only, and print the plan that a real run would execute",
}
"""Help of the options that mean the same in every task."""

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that the suite lives in."""


def task(*, help: dict[str, str] | None = None, **options: Any) -> Callable[[Any], Any]:
    """Return a decorator for a task of the suite: invoke's own, with our errors and exit codes.

    Args:
        help: help of the task's own options; the shared ones of ``HELP`` are added.
        options: passed on to ``invoke.task``.
    """

    def decorate(body: Callable[..., None]) -> Any:
        @functools.wraps(body)
        def run(context: invoke.Context, *args: Any, **kwargs: Any) -> None:
            import signal

            from tasks.adapters.gitlab import job
            from tasks.adapters.library_warnings import take_over
            from tasks.adapters.process import termination_as_interrupt

            session = Session(context)
            say = session.console.say
            take_over(session.console.warn)
            try:
                with (
                    termination_as_interrupt(),
                    job(sys.argv[1:], say=say, redactor=session.redactor),
                ):
                    body(session, *args, **kwargs)
            except SuiteError as error:
                session.console.error(error)
                raise Exit(code=error.exit_code) from error
            except KeyboardInterrupt as interrupt:
                session.console.warn(INTERRUPTED)
                raise Exit(code=128 + getattr(interrupt, "signum", signal.SIGINT)) from interrupt

        names = set(body.__code__.co_varnames[: body.__code__.co_argcount])
        shared = {name: text for name, text in HELP.items() if name in names}
        return invoke.task(help={**shared, **(help or {})}, **options)(run)

    return decorate


class Session:
    """One run of a task: its settings and the adapters, each made when first asked for.

    Args:
        context: invoke's context of the task.
    """

    def __init__(self, context: invoke.Context) -> None:
        self._context = context
        self._bases: dict[str, Bases] = {}
        self._aws: dict[str | None, Aws] = {}
        self._parameters: dict[str, dict[str, str]] = {}
        self._whole: dict[str, Settings] = {}

    @cached_property
    def dry(self) -> bool:
        """Whether ``inv --dry`` was given."""
        return bool(self._context.config.run.dry)

    @cached_property
    def redactor(self) -> Redactor:
        """What masks secrets in everything shown."""
        from tasks.core.redact import Redactor

        return Redactor()

    @cached_property
    def console(self) -> Console:
        """Where messages and data go."""
        from tasks.adapters.terminal.console import Console

        return Console(self.redactor)

    @cached_property
    def runner(self) -> Runner:
        """What runs programs."""
        from tasks.adapters.process import Runner

        return Runner(self.redactor)

    @cached_property
    def git(self) -> Git:
        """The checkout the suite lives in."""
        from tasks.adapters.git import Git

        return Git(self.runner, ROOT)

    @cached_property
    def settings(self) -> Settings:
        """The settings, read strictly; what only a stack knows is not in them.

        Raises:
            SettingsError: they are wrong; the error names the key and where it came from.
        """
        return self._read(self._levels)

    def settings_of(self, environment: str) -> Settings:
        """Return the settings with everything that an environment's stack says of it.

        Args:
            environment: the environment's name.

        Raises:
            InputError: there is no such environment.
            SettingsError: they are wrong, or the stack has published nothing.
            AwsError: AWS refused, or cannot be reached.
        """
        from tasks.core.stack_outputs import check_whole

        if self.settings.environment(environment).stack is None:
            return self.settings
        if environment not in self._whole:
            settings = self._read(self.levels_of(environment))
            check_whole(environment, settings.environment(environment))
            self._whole[environment] = settings
        return self._whole[environment]

    def levels_of(self, environment: str) -> list[Level]:
        """Return everything that says something of an environment, its stack included."""
        from tasks.core.config_sources import merge
        from tasks.core.stack_outputs import level

        stack = self.settings.environment(environment).stack
        if stack is None:
            return self._levels
        return [level(stack, self.parameters(stack), merge(self._levels)), *self._levels]

    def parameters(self, stack: str) -> Mapping[str, str]:
        """Return what a stack's Terraform has published, read from SSM once in a run.

        Args:
            stack: the stack's name.

        Raises:
            SettingsError: no such stack, or it has published nothing.
            AwsError: AWS refused, or cannot be reached.
        """
        from tasks.adapters.aws.parameters import Parameters
        from tasks.core.stack_outputs import path

        if stack not in self._parameters:
            aws = self.aws(stack)
            found = Parameters(aws).read(path(stack))
            if not found:
                raise SettingsError(
                    f"stack {stack} has published nothing: there is no parameter below "
                    f"{path(stack)} in {aws.region} of account {aws.identity.account}",
                    hint=f"are region and account right? if so, make it: inv infra.apply --stack "
                    f"{stack}",
                )
            self._parameters[stack] = found
        return self._parameters[stack]

    def aws(self, stack: str | None) -> Aws:
        """Return AWS as a stack sees it, or as the environment variables do.

        Args:
            stack: the stack's name, or None.

        Raises:
            InputError: there is no such stack.
        """
        from tasks.adapters.aws.session import Aws

        if stack not in self._aws:
            own = self.settings.stack(stack) if stack else None
            self._aws[stack] = Aws(own.region, own.profile) if own else Aws(None)
        return self._aws[stack]

    @cached_property
    def _levels(self) -> list[Level]:
        from tasks.core.config_sources import merge
        from tasks.core.stack_outputs import defaults

        given = _levels(self._context.config)
        return [defaults(merge(given)), *given]

    def _read(self, levels: list[Level]) -> Settings:
        from tasks.core.config_sources import merge, origin
        from tasks.core.settings import parse

        return parse(merge(levels), functools.partial(origin, levels))

    def branch(self, given: str | None) -> str:
        """Return the branch a run is about: the one given, or the one that is checked out.

        Args:
            given: what ``--branch`` said, or None when it was not given. An empty text is bad
                input: it must never come to mean another branch.

        Raises:
            InputError: not a legal branch name, or none is checked out.
        """
        from tasks.core.names import check_branch

        return check_branch(self.git.branch() if given is None else given)

    def environment(self, name: str | None, branch: str | None = None) -> tuple[str, Environment]:
        """Return the name and the settings of the environment a run is about.

        Args:
            name: what ``--env`` said.
            branch: the branch, or None for the one that is checked out (asked for only in CI).
        """
        from tasks.adapters.gitlab import is_job
        from tasks.core.settings import choose_environment

        ci = is_job(os.environ)
        if ci and not name and branch is None:
            branch = self.git.branch()
        chosen = choose_environment(self.settings, name, branch=branch, ci=ci)
        return chosen, self.settings.environment(chosen)

    def names(self, environment: str, branch: str) -> Names:
        """Return what a branch is called in an environment.

        Its stack is asked only where the host needs the stack's domain.
        """
        from tasks.core.settings import names_of

        lacks = "domain" in self.settings.environment(environment).gaps
        settings = self.settings_of(environment) if lacks else self.settings
        return names_of(settings, environment, branch)

    def bases(self, registry: str) -> Bases:
        """Return what resolves base and runtime images.

        Args:
            registry: host and port of the registry that keeps the stand-ins.
        """
        if registry not in self._bases:
            from tasks.adapters.docker.base_images import Bases
            from tasks.adapters.docker.images import LocalImages
            from tasks.adapters.docker.standins import Standins

            standins = Standins(
                self.runner,
                ROOT,
                host=registry,
                suite=self.settings.images.debian,
                work=self.console.work,
            )
            self._bases[registry] = Bases(
                LocalImages(self.runner),
                standins,
                source=self.settings.images.source,
                warn=self.console.warn,
            )
        return self._bases[registry]


def check_format(value: str) -> bool:
    """Return whether ``--format`` asks for JSON.

    Raises:
        InputError: neither text nor json.
    """
    if value not in {"text", "json"}:
        raise InputError(f"--format {value!r}: must be text or json")
    return value == "json"


def _levels(config: invoke.Config) -> list[Level]:
    """Return every level that sets something, in invoke's own order, without invoke's own keys."""
    from tasks.core.config_sources import Level, variables
    from tasks.core.settings import NAMED, Settings, leaves

    own = set(config.global_defaults())

    def level(path: str | None, data: dict[str, Any], *, is_shared: bool) -> Level:
        kept = {key: value for key, value in (data or {}).items() if key not in own}
        if is_shared:
            # One file for all that a person does with invoke: other projects' keys stand there too.
            kept = {key: value for key, value in kept.items() if key in Settings.model_fields}
        return Level(_shown(path), kept)

    system = level(config._system_path, config._system, is_shared=True)
    user = level(config._user_path, config._user, is_shared=True)
    project = level(config._project_path, config._project, is_shared=False)
    runtime = level(config._runtime_path, config._runtime, is_shared=False)
    named = {
        key: [
            str(name)
            for one in (system, user, project, runtime)
            if isinstance(one.data.get(key), dict)
            for name in one.data[key]
        ]
        for key in NAMED
    }
    # What invoke reads itself, besides its own keys.
    foreign = own | {"debug", "runtime_config"}
    set_by = variables(os.environ, leaves(named), foreign)
    return [system, user, project, *set_by, runtime]


def _shown(path: str | None) -> str:
    """Return a configuration file's path, short where it is the project's own."""
    if path is None or Path(path).parent == ROOT:
        return Path(path or "invoke.yaml").name
    return str(path)

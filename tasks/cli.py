"""What every task shares: the decorator that turns errors into exit codes, and the wiring."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import invoke
from invoke.exceptions import Exit

from tasks.core.errors import InputError, SuiteError

if TYPE_CHECKING:
    from tasks.adapters.bases import Bases
    from tasks.adapters.console import Console
    from tasks.adapters.git import Git
    from tasks.adapters.process import Runner
    from tasks.core.levels import Level
    from tasks.core.naming import Names
    from tasks.core.redact import Redactor
    from tasks.core.settings import Environment, Settings

HELP = {
    "env": "environment of invoke.yaml (default: in CI the one the branch matches, else local)",
    "branch": "full branch name (default: the branch that is checked out)",
    "format": "text or json",
    "dry_run": "read only, and print the plan that a real run would execute",
}
"""Help of the options that mean the same in every task."""

ROOT = Path(__file__).resolve().parent.parent
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

            from tasks.adapters.process import termination_as_interrupt

            session = Session(context)
            try:
                with termination_as_interrupt():
                    body(session, *args, **kwargs)
            except SuiteError as error:
                session.console.error(error)
                raise Exit(code=error.exit_code) from error
            except KeyboardInterrupt as interrupt:
                session.console.warn(f"interrupted; `inv {run.__name__}` can be run again")
                raise Exit(code=128 + getattr(interrupt, "signum", signal.SIGINT)) from interrupt
            except BrokenPipeError as error:
                # The reader of our stdout has gone (`inv list | head`): nothing more to say,
                # and nothing may be flushed into the closed pipe at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                raise Exit(code=128 + signal.SIGPIPE) from error

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
        from tasks.adapters.console import Console

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
        """The settings, read strictly.

        Raises:
            SettingsError: they are wrong; the error names the key and where it came from.
        """
        from tasks.core.levels import merge, origin
        from tasks.core.settings import parse

        levels = _levels(self._context.config)
        return parse(merge(levels), functools.partial(origin, levels))

    def branch(self, given: str | None) -> str:
        """Return the branch a run is about: the one given, or the one that is checked out.

        Args:
            given: what ``--branch`` said, or None when it was not given. An empty text is bad
                input: it must never come to mean another branch.

        Raises:
            InputError: not a legal branch name, or none is checked out.
        """
        from tasks.core.naming import check_branch

        return check_branch(self.git.branch() if given is None else given)

    def environment(self, name: str | None, branch: str | None = None) -> tuple[str, Environment]:
        """Return the name and the settings of the environment a run is about.

        Args:
            name: what ``--env`` said.
            branch: the branch, or None for the one that is checked out (asked for only in CI).
        """
        from tasks.core.settings import choose_environment

        ci = bool(os.environ.get("CI")) and "CI_JOB_ID" in os.environ
        if ci and not name and branch is None:
            branch = self.git.branch()
        chosen = choose_environment(self.settings, name, branch=branch, ci=ci)
        return chosen, self.settings.environment(chosen)

    def names(self, environment: str, branch: str) -> Names:
        """Return what a branch is called in an environment."""
        from tasks.core.settings import names_of

        return names_of(self.settings, environment, branch)

    def bases(self, registry: str) -> Bases:
        """Return what resolves base and runtime images.

        Args:
            registry: host and port of the registry that keeps the stand-ins.
        """
        if registry not in self._bases:
            from tasks.adapters.bases import Bases
            from tasks.adapters.local_images import LocalImages
            from tasks.adapters.standins import Standins

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
    from tasks.core.levels import Level, variables
    from tasks.core.settings import Settings, leaves

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
    named = [one.data.get("environments") for one in (system, user, project, runtime)]
    environments = [name for one in named if isinstance(one, dict) for name in map(str, one)]
    # What invoke reads itself, besides its own keys.
    foreign = own | {"debug", "runtime_config"}
    set_by = variables(os.environ, leaves(environments), foreign)
    return [system, user, project, *set_by, runtime]


def _shown(path: str | None) -> str:
    """Return a configuration file's path, short where it is the project's own."""
    if path is None or Path(path).parent == ROOT:
        return Path(path or "invoke.yaml").name
    return str(path)

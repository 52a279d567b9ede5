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

from tasks.core.errors import InputError, SettingsError, SuiteError

if TYPE_CHECKING:
    from tasks.adapters.console import Console
    from tasks.adapters.git import Git
    from tasks.adapters.process import Runner
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
        from tasks.core.settings import parse

        config = self._context.config
        runtime = config._runtime_path
        if runtime and not Path(runtime).exists():
            raise SettingsError(f"the file given with -f does not exist: {runtime}")
        own = set(config.global_defaults())
        merged = {key: value for key, value in _plain(config).items() if key not in own}
        return parse(merged, functools.partial(_origin, config))

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


def check_format(value: str) -> bool:
    """Return whether ``--format`` asks for JSON.

    Raises:
        InputError: neither text nor json.
    """
    if value not in {"text", "json"}:
        raise InputError(f"--format {value!r}: must be text or json")
    return value == "json"


def _plain(value: Any) -> Any:
    """Return invoke's merged configuration as plain dicts and lists."""
    if hasattr(value, "items"):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _origin(config: invoke.Config, path: tuple[str, ...]) -> str:
    """Return where a key came from: the last level that sets it, in invoke's own order."""
    levels = [
        (config._env, "an INVOKE_ variable"),
        (config._runtime, str(config._runtime_path)),
        (config._project, _shown(config._project_path)),
        (config._user, _shown(config._user_path)),
        (config._system, _shown(config._system_path)),
    ]
    for level, name in levels:
        inner: Any = level
        for part in path:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if inner is not None:
            return name
    return "invoke.yaml"


def _shown(path: str | None) -> str:
    """Return a configuration file's path, short where it is the project's own."""
    if path and Path(path).parent == ROOT:
        return Path(path).name
    return str(path)

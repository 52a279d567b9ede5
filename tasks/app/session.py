"""One run of a task: its settings, and the adapters that every task uses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import invoke

from tasks.adapters import gitlab, library_warnings
from tasks.adapters.git import Git
from tasks.adapters.process import Runner, termination_as_interrupt
from tasks.adapters.terminal.console import Console
from tasks.adapters.terminal.typed_word import confirm_by_typing
from tasks.app.assembly import root_of
from tasks.app.paths import PROJECT
from tasks.core import stack_outputs
from tasks.core.config_sources import PROJECT_FILE, Level, merge, origin, variables
from tasks.core.errors import RefusedError, SettingsError
from tasks.core.names import Names, check_branch
from tasks.core.redact import Redactor
from tasks.core.settings import (
    NAMED,
    Environment,
    Images,
    Settings,
    choose_environment,
    leaves,
    names_of_all_styles,
    parse,
)

if TYPE_CHECKING:
    from tasks.adapters.aws.session import Aws

_MADE_OF = ("debian", "php", "mautic")
"""The settings of images that decide what is in them."""


class Session:
    """One run of a task.

    Args:
        context: invoke's context of the task.

    Attributes:
        dry: whether ``inv --dry`` was given.
        redactor: masks secrets in everything shown.
        console: where messages and data go.
        runner: runs programs.
        git: the project's checkout.
    """

    def __init__(self, context: invoke.Context) -> None:
        self.dry = bool(context.config.run.dry)
        self.redactor = Redactor()
        self.console = Console(self.redactor)
        self.runner = Runner(self.redactor)
        self.git = Git(self.runner, PROJECT, named=lambda: self.settings.repository)
        self._config = context.config
        self._aws: dict[str | None, Aws] = {}
        self._parameters: dict[str, dict[str, str]] = {}
        self._whole: dict[str, Settings] = {}

    @cached_property
    def root(self) -> Path:
        """Where all files are as in a checkout of the suite; errors as for ``root_of``."""
        return root_of(self)

    @contextlib.contextmanager
    def answerable(self, argv: Sequence[str]) -> Iterator[None]:
        """Set up signals, warnings and the GitLab job for the duration of a task.

        Args:
            argv: the command line's words after ``inv``.
        """
        library_warnings.redirect_warnings(self.console.warn)
        job = gitlab.prepared_job(argv, say=self.console.say, redactor=self.redactor)
        with termination_as_interrupt(), job:
            yield

    def confirm(self, word: str, question: str, *, refusal: str, hint: str) -> None:
        """Make the user type a word before something is lost.

        Args:
            word: what must be typed.
            question: one sentence about the consequences.
            refusal: the error's message if the word is not typed.
            hint: how to go on without a terminal.

        Raises:
            RefusedError: another word was typed, or there is no terminal.
        """
        if not confirm_by_typing(word, question):
            raise RefusedError(refusal, hint=hint)

    # -- settings -----------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Settings:
        """The settings, parsed strictly, without the values that a stack publishes.

        Raises:
            SettingsError: they are invalid; the error names the key and its origin.
        """
        return _read(self._levels)

    def settings_of(self, environment: str) -> Settings:
        """Return the settings with the values that an environment's stack publishes.

        Args:
            environment: the environment's name.

        Raises:
            InputError: there is no such environment.
            SettingsError: they are invalid, or the stack has published nothing.
            AwsError: AWS refused, or cannot be reached.
        """
        if self.settings.environment(environment).stack is None:
            return self.settings
        if environment not in self._whole:
            settings = _read(self.levels_of(environment))
            stack_outputs.check_complete(environment, settings.environment(environment))
            self._whole[environment] = settings
        return self._whole[environment]

    def levels_of(self, environment: str) -> list[Level]:
        """Return all levels that set values of an environment, including its stack."""
        stack = self.settings.environment(environment).stack
        if stack is None:
            return self._levels
        published = self.parameters(stack)
        return [stack_outputs.level(stack, published, merge(self._levels)), *self._levels]

    @cached_property
    def other_images(self) -> dict[str, str]:
        """What images are made of, by setting, where that is not as the project's file has it.

        The commit does not tell it: a variable does, or a file of the user's or of this run.
        """
        own = merge([level for level in self._levels if level.name == PROJECT_FILE])
        committed = {key: field.default for key, field in Images.model_fields.items()}
        committed |= own.get("images") or {}
        wanted = {key: str(getattr(self.settings.images, key)) for key in _MADE_OF}
        return {f"images.{key}": value for key, value in wanted.items() if value != committed[key]}

    @cached_property
    def _levels(self) -> list[Level]:
        given = _levels(self._config)
        return [stack_outputs.defaults(merge(given)), *given]

    # -- AWS ----------------------------------------------------------------------------------

    def parameters(self, stack: str) -> Mapping[str, str]:
        """Return what a stack's Terraform has published, read from SSM once in a run.

        Args:
            stack: the stack's name.

        Raises:
            SettingsError: no such stack, or it has published nothing.
            AwsError: AWS refused, or cannot be reached.
        """
        if stack not in self._parameters:
            from tasks.adapters.aws.parameters import Parameters

            aws, path = self.aws(stack), stack_outputs.path(stack)
            found = Parameters(aws).read(path)
            if not found:
                raise SettingsError(
                    f"stack {stack} has published nothing: there is no parameter below "
                    f"{path} in {aws.region} of account {aws.identity.account}",
                    hint=f"are region and account right? if so, make it: inv infra.apply --stack "
                    f"{stack}",
                )
            self._parameters[stack] = found
        return self._parameters[stack]

    def aws(self, stack: str | None) -> Aws:
        """Return AWS with a stack's region and profile, or with those of the environment.

        Args:
            stack: the stack's name, or None.

        Raises:
            InputError: there is no such stack.
        """
        if stack not in self._aws:
            from tasks.adapters.aws.session import Aws

            own = self.settings.stack(stack) if stack else None
            self._aws[stack] = Aws(own.region, own.profile) if own else Aws(None)
        return self._aws[stack]

    # -- the branch and the environment of a command line -------------------------------------

    def branch(self, given: str | None) -> str:
        """Return the branch of a run: the one given, or the one that is checked out.

        Args:
            given: what ``--branch`` said, or None when it was not given. An empty string is an
                error: it must never be taken for another branch.

        Raises:
            InputError: not a legal branch name, or none is checked out.
        """
        return check_branch(self.git.branch() if given is None else given)

    def environment(self, name: str | None, branch: str | None = None) -> tuple[str, Environment]:
        """Return the name and the settings of the environment of a run.

        Args:
            name: what ``--env`` said.
            branch: the branch, or None for the one that is checked out (asked for only in CI).
        """
        ci = gitlab.is_job(os.environ)
        if ci and not name and branch is None:
            branch = self.git.branch()
        chosen = choose_environment(self.settings, name, branch=branch, ci=ci)
        return chosen, self.settings.environment(chosen)

    def names(self, env: str, branch: str | None) -> Names:
        """Return the names of the command line's branch in its environment.

        Args:
            env: what ``--env`` said.
            branch: what ``--branch`` said, or None when it was not given.
        """
        chosen = self.branch(branch)
        environment, _ = self.environment(env, chosen)
        return self.names_in(environment, chosen)

    def unprotected_names(
        self, env: str, branch: str | None, refuse_protected: Callable[..., None]
    ) -> Names:
        """Return the same, unless the environment is protected.

        That is known before the names are, which may need credentials.

        Args:
            env: what ``--env`` said.
            branch: what ``--branch`` said, or None when it was not given.
            refuse_protected: given the environment's name and whether it is ``protected``; raises
                if it is.
        """
        chosen = self.branch(branch)
        environment, own = self.environment(env, chosen)
        refuse_protected(environment, protected=own.protected)
        return self.names_in(environment, chosen)

    def names_in(self, environment: str, branch: str) -> Names:
        """Return a branch's names in an environment that is deployed now.

        The stack is only asked if the host name needs its domain.
        """
        return self.names_of_all_styles(environment, branch)[0]

    def names_of_all_styles(self, environment: str, branch: str) -> list[Names]:
        """Return the different names that a branch's environment may bear, the present first."""
        lacks = "domain" in self.settings.environment(environment).gaps
        settings = self.settings_of(environment) if lacks else self.settings
        return names_of_all_styles(settings, environment, branch)


def _read(levels: list[Level]) -> Settings:
    if not any(level.data for level in levels) and not (PROJECT / PROJECT_FILE).exists():
        raise SettingsError(
            f"there is no {PROJECT_FILE} in {PROJECT}",
            hint="git may have it; for a repository that never had one, inv init writes it",
        )
    return parse(merge(levels), partial(origin, levels))


def _levels(config: invoke.Config) -> list[Level]:
    """Return every level that sets something, in invoke's own order, without invoke's own keys."""
    own = set(config.global_defaults())

    def level(path: str | None, data: dict[str, Any], *, is_shared: bool) -> Level:
        kept = {key: value for key, value in (data or {}).items() if key not in own}
        if is_shared:
            # Shared by all of a user's projects, so it may have keys of others.
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
    if path is None or Path(path).parent == PROJECT:
        return Path(path or PROJECT_FILE).name
    return str(path)

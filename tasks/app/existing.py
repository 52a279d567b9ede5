"""Finds a branch's environment, and says where it is and how to pass its door."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.adapters.gitlab import is_job
from tasks.adapters.terminal.console import Console
from tasks.app import wiring
from tasks.core import door
from tasks.core.errors import InputError, RefusedError
from tasks.core.redact import Redactor
from tasks.core.sleep import NO_REST, Rest
from tasks.flows.target import Inspector, ServiceStatus, Target, owner_of
from tasks.flows.views import no_environment_error, now

if TYPE_CHECKING:
    from tasks.app.session import Session
    from tasks.core.environment import Owner
    from tasks.core.names import Names

MAIL = "mail"
"""The service that catches an environment's mail in a cluster."""


@dataclass(frozen=True)
class ExistingEnvironment:
    """An environment that exists, with its services and its target."""

    target: Target[Any]
    owner: Owner
    names: Names
    parts: tuple[ServiceStatus, ...]

    @property
    def inspector(self) -> Inspector:
        """What looks at it."""
        return self.target.inspector

    @property
    def rest(self) -> Rest:
        """That it sleeps or is pinned."""
        return self.target.sleeper.rest(self.owner, self.names) or NO_REST


def find_existing(session: Session, env: str, branch: str | None) -> ExistingEnvironment:
    """Return a branch's environment.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.

    Raises:
        InputError: it is not there.
    """
    names = wiring.settled(session, session.names(env, branch))
    target = wiring.target(session, names.environment)
    owner = owner_of(names, session.git.repository())
    parts = tuple(target.inspector.status(owner, names))
    if not parts:
        raise absent(session, target.inspector, names)
    return ExistingEnvironment(target, owner, names, parts)


def absent(session: Session, inspector: Inspector, names: Names) -> InputError:
    """Return the error for a branch without an environment, and what may have been meant."""
    from tasks.app.branches import is_known

    return no_environment_error(inspector, names, is_branch=is_known(session, names.branch))


def mail_url(session: Session, found: ExistingEnvironment) -> str:
    """Return where nginx shows the mails that an environment has caught; empty if nowhere."""
    own = session.settings.environment(found.names.environment)
    is_shown = own.has_password and any(part.service == MAIL for part in found.parts)
    return f"{found.names.url}{door.MAIL_PATH}" if is_shown else ""


def show_door(session: Session, found: ExistingEnvironment, hours: int) -> None:
    """Print how to pass an environment's door: the login, or a link that ends.

    The session's console would mask the password.

    Args:
        session: the run.
        found: the environment.
        hours: how long the link is good; 0 for the login.

    Raises:
        InputError: there is no door, or no link opens this door.
        RefusedError: this is a CI job, whose log many people read.
    """
    if pool := session.settings.environment(found.names.environment).door_oidc:
        if hours:
            raise InputError(
                f"no link opens {found.names.url}: the load balancer asks for a login at "
                f"{pool.host}",
                hint="a link opens the password of `door: login`; add a user to the user pool",
            )
        session.console.data(found.names.url)
        session.console.data(f"login: your own, at {pool.host}")
        return
    if is_job(os.environ):
        raise RefusedError(
            "a job's log is no place for what opens the door", hint="ask on your own machine"
        )
    names = found.names
    password = found.inspector.door_password(names)
    if not password:
        raise InputError(
            f"no login stands in front of {names.branch} in {names.environment}",
            hint="environments deployed from before have none until the next inv deploy; "
            "`door` in invoke.yaml says who has one",
        )
    once = Console(Redactor())
    if hours:
        once.data(door.link(names.url, password, int(now().timestamp()) + hours * 3600))
        return
    once.data(names.url)
    once.data(f"user: {door.USER}")
    once.data(f"password: {password}")

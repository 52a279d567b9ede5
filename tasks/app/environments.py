"""What is done with a branch's environment, put together: asked for, looked at, removed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from tasks.adapters.gitlab import is_job
from tasks.adapters.terminal.console import Console
from tasks.app import images, wiring
from tasks.app.session import Session
from tasks.app.task import ROOT
from tasks.core.environment import Owner
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.flows.build import guard
from tasks.flows.cleanup import plan_cleanup, refuse_protected, run_cleanup
from tasks.flows.deploy import Deployed, run_deploy
from tasks.flows.gc import Sweep, find_sweep, run_sweep
from tasks.flows.registry_port import Registry
from tasks.flows.target import Credentials, Part, RemovalPlan, Request, Target
from tasks.flows.views import absent


@dataclass(frozen=True)
class Existing:
    """An environment that is there.

    Attributes:
        target: what runs it.
        owner: whose it is.
        names: what its branch is called.
        parts: its services.
    """

    target: Target
    owner: Owner
    names: Names
    parts: tuple[Part, ...]


def existing(session: Session, env: str, branch: str | None) -> Existing:
    """Return a branch's environment.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.

    Raises:
        InputError: it is not there.
    """
    names = session.names(env, branch)
    target, owner = wiring.target(session, names.environment), _owner(session, names)
    parts = tuple(target.status(owner, names))
    if not parts:
        raise absent(target, names)
    return Existing(target, owner, names, parts)


# -- deploying ------------------------------------------------------------------------------------


def request(session: Session, env: str, branch: str | None, tag: str = "") -> Request:
    """Return the request to deploy the images of a tag, or of what is checked out.

    Raises:
        RefusedError: the environment is protected, and what is checked out may not go there.
    """
    if tag:
        names = session.names(env, branch)
        return Request(names, session.git.repository(), wiring.owner(), tag)
    subject = images.subject_of(session, env, branch)
    guard(subject, session.git)
    names, checkout = session.names_in(subject.name, subject.branch), subject.checkout
    return Request(names, subject.repository, wiring.owner(), checkout.tag, checkout.commit)


def rollback_request(session: Session, env: str, branch: str | None, tag: str) -> Request:
    """Return the request to go back to the release of a tag; empty for the one before.

    Raises:
        InputError: the branch has no environment.
    """
    found = existing(session, env, branch)
    return Request(found.names, found.owner.repository, wiring.owner(), tag=tag, rollback=True)


def deploy(session: Session, request: Request) -> Deployed:
    """Deploy what a request asks for, and return what it came to."""
    action = "rollback" if request.rollback else "deploy"
    committed = session.git.committed(request.commit) if request.commit else 0
    return run_deploy(
        wiring.target(session, request.names.environment),
        request,
        me=wiring.holder(action, request.tag, committed),
        console=session.console,
        root=ROOT,
    )


def show(session: Session, done: Deployed, *, as_json: bool = False) -> None:
    """Print where the site is; of a first deploy also who may log in."""
    if done.credentials:
        _show_credentials(done.credentials)
    if as_json:
        session.console.json({"url": done.url, "changed": done.changed})
    else:
        session.console.data(done.url)


def _show_credentials(credentials: Credentials) -> None:
    """Show the first administrator, this once.

    The session's own console would mask the password, as everywhere else. A job's log is kept and
    read by many: there it only says where the password is.
    """
    once = Console(Redactor())
    if is_job(os.environ):
        once.success(f"log in as {credentials.username}; the password: {credentials.later}")
        return
    once.success(f"log in as {credentials.username} with the password {credentials.password}")
    once.say(f"  shown this once; later: {credentials.later}")


# -- removing -------------------------------------------------------------------------------------


class Removal:
    """The removal of everything that belongs to a branch.

    Args:
        session: the run.
        names: what the branch is called.
        dry: start nothing, not even a registry.
    """

    def __init__(self, session: Session, names: Names, *, dry: bool) -> None:
        self._session = session
        self._names = names
        self._target = wiring.target(session, names.environment)
        self._tags = _tags(session, self._target, names.environment, dry=dry)

    def plan(self) -> RemovalPlan:
        """Return what would be removed. Reads only."""
        environment = self._session.settings.environment(self._names.environment)
        return plan_cleanup(
            self._target,
            _owner(self._session, self._names),
            self._names,
            tags=self._tags,
            protected=environment.protected,
            root=ROOT,
        )

    def run(self) -> int:
        """Remove it, and return the number of objects that were removed."""
        me, console = wiring.holder("cleanup"), self._session.console
        return run_cleanup(self._target, self.plan, self._names, me=me, console=console)


class Sweeping:
    """The removal of the environments, and the image tags, that nobody needs any more.

    Args:
        session: the run.
        env: what ``--env`` said.
        dry: start nothing, not even a registry.

    Raises:
        RefusedError: the environment is protected.
    """

    def __init__(self, session: Session, env: str, *, dry: bool) -> None:
        environment, own = session.environment(env)
        refuse_protected(environment, protected=own.protected)
        self._session = session
        self._environment = environment
        self._names_of = partial(session.names_in, environment)
        self._target = wiring.target(session, environment)
        self._tags = _tags(session, self._target, environment, dry=dry)

    def plan(self, now: datetime) -> Sweep:
        """Return what would be removed at a moment. Reads only."""
        return find_sweep(
            self._environment,
            self._target,
            self._session.git,
            self._names_of,
            tags=self._tags,
            now=now,
        )

    def run(self, sweep: Sweep) -> None:
        """Remove it; errors as of ``run_sweep``."""
        run_sweep(
            sweep,
            self._target,
            self._names_of,
            tags=self._tags,
            me=wiring.holder("cleanup"),
            console=self._session.console,
            root=ROOT,
        )


def _owner(session: Session, names: Names) -> Owner:
    return Owner(names.environment, names.slug, names.branch, session.git.repository())


def _tags(session: Session, target: Target, environment: str, *, dry: bool) -> Registry | None:
    """Return the registry to remove image tags from, or None where it holds nothing."""
    return wiring.registry(session, environment) if target.holds_images(dry=dry) else None

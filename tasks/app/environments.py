"""Puts together what is done with a branch's environment: deploy, inspect, remove."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.gitlab import is_job
from tasks.adapters.identity import this_checkout, this_run, user_at_host
from tasks.adapters.registry.oci import UnreachableError
from tasks.adapters.terminal.console import Console
from tasks.app import images, wiring
from tasks.app.existing import find_existing
from tasks.app.paths import PROJECT
from tasks.app.server_snapshots import server_snapshots
from tasks.app.session import Session
from tasks.core.environment_data import check_choice
from tasks.core.errors import InputError
from tasks.core.images.tags import IMAGES, branch_marker
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.core.rehearsal import check_no_rehearsal
from tasks.flows.build import BUILT_FROM
from tasks.flows.cleanup import plan_cleanup, run_cleanup
from tasks.flows.data import refuse_protected as refuse_data_change
from tasks.flows.deploy import DeployResult, run_deploy
from tasks.flows.protection import guard, guard_tag
from tasks.flows.registry_port import Registry
from tasks.flows.target import (
    Credentials,
    Deployer,
    DeployPlan,
    RemovalPlan,
    Remover,
    Request,
    owner_of,
)

if TYPE_CHECKING:
    from tasks.adapters.git import Checkout

CHARTS = "helm"
"""The folder with the charts and the values of environments."""


# -- deploying ------------------------------------------------------------------------------------


def request(
    session: Session,
    env: str,
    branch: str | None,
    tag: str = "",
    data: str | None = None,
    *,
    must_fit: bool = True,
    dry: bool = False,
) -> Request:
    """Return the request to deploy the images of a tag, or of what is checked out.

    Args:
        data: what a new environment begins with, or None for its setting.
        must_fit: whether it is refused where the cluster has too little left for it.
        dry: only look, also at another branch whose data that is.

    Raises:
        RefusedError: the environment is protected, and what is checked out may not go there, or is
            not what the tag says.
        InputError: a sparse checkout leaves out a file that the deploy needs, or there is no such
            data.
    """
    choice = "" if data is None else check_choice(data)
    names = session.names(env, branch)
    check_no_rehearsal(names.branch)
    repository = session.git.repository()
    if tag and not session.settings.environment(names.environment).protected:
        _require_files(session, names.environment)
        names = wiring.settled(session, names)
        request = Request(names, repository, user_at_host(), tag, must_fit=must_fit)
        return _choosing(session, request, choice, dry=dry)
    checkout = _guarded(session, names, tag)
    names = wiring.settled(session, names)
    server = server_snapshots(session, names.environment)
    request = Request(names, repository, user_at_host(), checkout.tag, checkout.commit)
    request = replace(request, server=server, must_fit=must_fit)
    return _choosing(session, request, choice, dry=dry)


def _choosing(session: Session, request: Request, choice: str, *, dry: bool = False) -> Request:
    """Return a request with the choice of data, and what finds it."""
    # Which itself looks for environments.
    from tasks.app import beginning

    find = partial(beginning.find, session, request.names, dry=dry)
    check = partial(beginning.check, session, request.names)
    return replace(request, data=choice, resolve=find, check_data=check)


def rollback_request(
    session: Session,
    env: str,
    branch: str | None,
    tag: str,
    *,
    with_data: bool = False,
    keep_data: bool = False,
) -> Request:
    """Return the request to go back to the release of a tag; empty for the one before.

    A protected environment goes back to what is checked out alone: chart and values are read there.

    Args:
        with_data: also to the data from before the migrations that the release does not know.
        keep_data: leave the data as it is, whatever has migrated it.

    Raises:
        InputError: the branch has no environment; or as for ``request``.
        RefusedError: the environment is protected, and what is checked out may not go there, or is
            not what the tag says, or its data should go back.
    """
    if with_data and keep_data:
        raise InputError("--with-data and --keep-data are opposites: give one of them")
    if with_data:
        session.unprotected_names(env, branch, refuse_data_change)
    found = find_existing(session, env, branch)
    request = Request(
        *(found.names, found.owner.repository, user_at_host(), tag),
        rollback=True,
        with_data=with_data,
        keep_data=keep_data,
    )
    if not session.settings.environment(found.names.environment).protected:
        _require_files(session, found.names.environment)
        return request
    checkout = _guarded(session, found.names, tag)
    server = server_snapshots(session, found.names.environment)
    return replace(request, commit=checkout.commit, pinned=True, server=server)


def _guarded(session: Session, names: Names, tag: str) -> Checkout:
    """Return the checkout, after the guard of a protected environment.

    Args:
        session: the run.
        names: the branch's names.
        tag: the tag that was asked for, or an empty string.
    """
    subject = images.subject_of(session, names.environment, names.branch)
    _require_files(session, names.environment)
    guard(subject, session.git, PROJECT)
    if tag:
        guard_tag(subject.name, subject.checkout, tag)
    return subject.checkout


def _require_files(session: Session, environment: str) -> None:
    """Check that everything a deploy reads is checked out."""
    on_kubernetes = session.settings.environment(environment).target == "kubernetes"
    session.git.require_checked_out(BUILT_FROM, *([CHARTS] if on_kubernetes else []))


def deploy(
    session: Session,
    request: Request,
    deployer: Deployer[Any] | None = None,
    agreed: Callable[[DeployPlan], None] | None = None,
    *,
    build: bool = False,
) -> DeployResult:
    """Deploy what a request asks for, and return the result.

    Args:
        session: the run.
        request: what is to be deployed.
        deployer: that of the environment's target; None to find it.
        agreed: raises RefusedError if a plan is not what was agreed to.
        build: build the images of what is checked out first, if the registry lacks them.
    """
    lacks = build and lacks_images(session, request)
    first = ": what is missing of its images is built first" if lacks else ""
    session.console.say(f"{request.title}{first}")
    if lacks:
        names = request.names
        images.branch_build(session, names.environment, names.branch).make()
    action = "rollback" if request.rollback else "deploy"
    # A rollback goes back in time on purpose: no newer commit takes its turn.
    is_ranked = request.commit and not request.rollback
    committed = session.git.committed(request.commit) if is_ranked else 0
    me = this_run(action, request.tag, committed)
    pushed = session.git.was_pushed(request.names.branch)
    request = replace(request, checkout=this_checkout(PROJECT), pushed=pushed)
    deployer = deployer or wiring.target(session, request.names.environment).deployer
    from tasks.app import beginning

    return run_deploy(
        *(deployer, request),
        me=me,
        console=session.console,
        root=PROJECT,
        beginning=beginning.Bringer(session),
        agreed=agreed,
    )


def lacks_images(session: Session, request: Request) -> bool:
    """Return True if the registry of an environment lacks an image of a request's tag.

    Or the marker that its branch uses it: without one, the clean-up of another branch removes it.

    Those of a protected environment are built by a job of its own, whose log says what is in them.
    """
    environment = request.names.environment
    if session.settings.environment(environment).protected:
        return False
    try:
        slug = session.names_in(environment, request.names.branch).slug
        tags = (request.tag, branch_marker(slug, request.tag))
        wanted = [(name, tag) for name in IMAGES for tag in tags]
        return None in wiring.registry(session, environment).digests(wanted)
    except UnreachableError:
        # The local platform's, which a build starts; or the build says what is wrong.
        return True


def show_deployed(session: Session, done: DeployResult, *, as_json: bool = False) -> None:
    """Print the site's URL; after a first deploy also the administrator's login."""
    if done.credentials:
        _show_credentials(done.credentials)
    if as_json:
        session.console.json({"url": done.url, "changed": done.changed})
    else:
        session.console.data(done.url)


def _show_credentials(credentials: Credentials) -> None:
    """Show the first administrator's password, only this once.

    The session's console would mask it. A job's log is stored and read by many people, so there it
    only says how to get the password.
    """
    once = Console(Redactor())
    if is_job(os.environ):
        once.success(f"log in as {credentials.username}; the password: {credentials.later}")
        return
    once.success(f"log in as {credentials.username} with the password {credentials.password}")
    once.say(f"  shown this once; later: {credentials.later}")


# -- removing -------------------------------------------------------------------------------------


class BranchCleanup:
    """The removal of everything that belongs to a branch.

    Args:
        session: the run.
        names: the branch's names.
        dry: start nothing, not even a registry.
        root: the checkout, whose saved diagnostics of the branch go as well; None keeps them.
    """

    def __init__(
        self, session: Session, names: Names, *, dry: bool, root: Path | None = PROJECT
    ) -> None:
        self._session = session
        self._names = names
        self._root = root
        self._owner = owner_of(names, session.git.repository())
        self._remover = wiring.target(session, names.environment).remover
        self._tags = _tags(session, self._remover, names.environment, dry=dry)

    def plan(self) -> RemovalPlan:
        """Return what would be removed. Reads only."""
        environment = self._session.settings.environment(self._names.environment)
        return plan_cleanup(
            self._remover,
            self._owner,
            self._names,
            tags=self._tags,
            protected=environment.protected,
            root=self._root,
        )

    def run(self) -> int:
        """Remove the environment, and return the number of removed objects."""
        me, console = this_run("cleanup"), self._session.console
        return run_cleanup(self._remover, self.plan, self._names, me=me, console=console)


def _tags(session: Session, remover: Remover, environment: str, *, dry: bool) -> Registry | None:
    """Return the registry to remove image tags from, or None where it holds nothing."""
    return wiring.registry(session, environment) if remover.holds_images(dry=dry) else None

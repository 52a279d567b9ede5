"""Puts together how a branch's environment shows the working tree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tasks.adapters.docker.build_context import built_from
from tasks.adapters.files.tree import Rules, WorkingTree
from tasks.adapters.identity import this_run
from tasks.app import environments, wiring
from tasks.app.assembly import is_assembled
from tasks.app.existing import ExistingEnvironment, mail_url
from tasks.app.paths import PROJECT, ROOT
from tasks.app.session import Session
from tasks.app.sleep import be_used
from tasks.core.environment import Owner, Record
from tasks.core.errors import InputError, SuiteError
from tasks.core.names import Names
from tasks.core.project_files import moved
from tasks.core.setting_paths import BUILT
from tasks.core.working_tree import is_passed_over, is_served, place_of
from tasks.flows import workshop
from tasks.flows.build import BAKE
from tasks.flows.smoke import LOGIN
from tasks.flows.target import UNFINISHED, Target, owner_of
from tasks.flows.workshop import DevPlan, Shown, plan_dev

RUNNING = "running"


@dataclass(frozen=True)
class Dev:
    """`inv dev` of the branch that is checked out."""

    session: Session
    shown: Shown
    target: Target[Any]

    def plan(self, *, stop: bool) -> DevPlan:
        """Return what would be done; reads only."""
        return plan_dev(self.shown, stop=stop)

    def make_ready(self) -> None:
        """Deploy the branch if it has no whole environment, or a part of it is down; wake it."""
        session, target = self.session, self.target
        owner, names = self.shown.owner, self.shown.names
        record = target.inspector.record(owner, names)
        if record is None or record.current is None or record.state in UNFINISHED:
            request = environments.request(session, names.environment, names.branch)
            done = environments.deploy(session, request, build=True)
            environments.show_deployed(session, done)
            return
        be_used(session, target, owner, names)
        if not _runs(target, owner, names):
            # It may be down because another inv dev has just had it started anew.
            workshop.refuse_held(self.shown, me=this_run("dev"), console=session.console)
            tag = record.current.tag
            request = environments.request(session, names.environment, names.branch, tag)
            environments.deploy(session, request)

    def run(self) -> None:
        """Show the tree, and what the services write, until Ctrl-C."""
        me = this_run("dev")
        workshop.run_dev(self.shown, me=me, console=self.session.console, ready=self._ready)

    def stop(self) -> bool:
        """Undo what a killed run has left; return False if there is nothing."""
        return workshop.stop_dev(self.shown, me=this_run("dev"), console=self.session.console)

    def _ready(self) -> Callable[[], None]:
        """Say where to look, and follow the logs; return what ends that."""
        names, console = self.shown.names, self.session.console
        console.success(f"{names.url} shows the working tree; Ctrl-C goes back")
        for line in self._places():
            console.say(f"  {line}")
        return self._follow()

    def _places(self) -> list[str]:
        found = ["the login in front of it: inv url --login"]
        if mails := self._mails():
            found.append(f"mails are shown there and not sent: {mails}")
        if self.shown.debugger:
            found.append("Xdebug connects to port 9003 of this machine, by its trigger")
        return found

    def _mails(self) -> str:
        """Return where mails are shown; empty if nowhere."""
        session, names = self.session, self.shown.names
        if session.settings.environment(names.environment).target == "kubernetes":
            parts = tuple(self.target.inspector.status(self.shown.owner, names))
            found = ExistingEnvironment(self.target, self.shown.owner, names, parts)
            return mail_url(session, found)
        own = session.settings.platform
        shared = wiring.platform(session, wiring.standins(session, names.environment), dry=True)
        return f"http://{own.address}:{own.mail_port}" if shared.has_mail() else ""

    def _follow(self) -> Callable[[], None]:
        ended = threading.Event()

        def follow() -> None:
            try:
                self.target.inspector.logs(
                    *(self.shown.owner, self.shown.names, self.session.console.data),
                    service="",
                    follow=True,
                    tail=0,
                    since_seconds=0,
                )
            except SuiteError as error:
                if not ended.is_set():
                    self.session.console.warn(f"the logs end here: {error.message}")

        threading.Thread(target=follow, daemon=True, name="logs").start()
        return ended.set


def find(
    session: Session, env: str, branch: str | None, *, debugger: bool = False, stop: bool = False
) -> Dev:
    """Return what `inv dev` does with a branch's environment.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
        debugger: whether PHP runs with Xdebug.
        stop: whether it is only about what a killed run has left.

    Raises:
        RefusedError: the environment is protected.
        InputError: the tree is another branch's, or Xdebug could not reach this machine.
    """
    # Before the names, which may need credentials.
    environment, own = session.environment(env, session.branch(branch))
    workshop.refuse_protected(environment, protected=own.protected)
    if debugger and own.target == "kubernetes":
        raise InputError(
            f"Xdebug cannot reach this machine from {environment}",
            hint="inv dev --env local --xdebug",
        )
    names = session.names(env, branch)
    if not stop and (other := _why_over(session, names)):
        place = session.git.place_of(names.branch)
        hint = f"{names.branch} is checked out in {place}: run this there" if place else ""
        raise InputError(other, hint=hint or f"git switch {names.branch}")
    names = wiring.settled(session, names)
    target = wiring.target(session, names.environment)
    owner = owner_of(names, session.git.repository())
    shown = Shown(
        *(target.workshop, owner, names, _tree(session)),
        status=lambda: target.deployer.get(names, LOGIN).status,
        known=lambda: _places_at(session, target.inspector.record(owner, names)),
        why_over=lambda: _why_over(session, names),
        debugger=debugger,
    )
    return Dev(session, shown, target)


def _tree(session: Session) -> WorkingTree:
    """Return the project's folders, of which is shown what a build takes."""
    folders = session.settings.paths.folders
    back = {here: there for there, here in folders.items()}

    def taken(paths: Collection[str]) -> Collection[str]:
        # A builder that is given the checkout itself does not ask git.
        if not is_assembled(session.settings):
            return paths
        return {moved(name, back) for name in session.git.files(*folders.values())}

    built = built_from(ROOT, BAKE, folders).of_project(PROJECT, BUILT)
    return WorkingTree(
        {there: PROJECT / here for there, here in folders.items()},
        Rules(place_of, is_passed_over, is_served, taken, built.leads_to),
        session.console.warn,
    )


def _runs(target: Target[Any], owner: Owner, names: Names) -> bool:
    """Return True if every service of an environment runs."""
    services = target.inspector.status(owner, names)
    return bool(services) and all(part.state == RUNNING for part in services)


def _places_at(session: Session, record: Record | None) -> list[str]:
    """Return the places of the files that the deployed commit has of the project."""
    commit = record.current.commit if record and record.current else ""
    folders = session.settings.paths.folders
    back = {here: there for there, here in folders.items()}
    found = []
    for name in session.git.files_at(commit, *folders.values()):
        path = moved(name, back)
        folder = next(there for there in folders if path.startswith(f"{there}/"))
        found.append(place_of(folder, path.removeprefix(f"{folder}/")))
    return [place for place in found if place]


def _why_over(session: Session, names: Names) -> str:
    """Return that another branch is checked out meanwhile, or an empty string."""
    branch = session.branch(None)
    return "" if branch == names.branch else f"{branch} is checked out now, not {names.branch}"

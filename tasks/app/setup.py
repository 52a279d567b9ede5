"""Puts together what makes a repository a project of the suite's, and what upgrades one."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tasks.adapters.host.package import installed_from, opened
from tasks.adapters.terminal.question import ask
from tasks.app.paths import IS_PACKAGE, PROJECT, ROOT
from tasks.core.errors import InputError, SettingsError
from tasks.core.project_files import LOCK, OWN, SETTINGS
from tasks.core.project_layout import find_layout
from tasks.core.project_setup import (
    BROUGHT,
    Answers,
    ports_of,
    project_name,
    settings_text,
)
from tasks.core.settings import Images, parse
from tasks.flows import setup
from tasks.flows.setup import SetupPlan

if TYPE_CHECKING:
    from tasks.app.session import Session


OPTIONS = {
    "project": "project",
    "environments.dev.host": "host",
    "environments.dev.registry": "registry",
    "environments.dev.cluster": "cluster",
}
"""The options of `inv init`, by what the keys of its settings begin with."""


def init_plan(
    session: Session, given: tuple[str, str, str, str], wheel: str, *, ask_for_more: bool
) -> SetupPlan:
    """Return what makes this repository a project.

    Args:
        session: the run.
        given: what ``--project``, ``--host``, ``--registry`` and ``--cluster`` said.
        wheel: what ``--wheel`` said; empty for the running package.
        ask_for_more: ask for what it has not said.

    Raises:
        InputError: this is no git repository, or the suite's own; the answers do not fit; or the
            wheel is none.
    """
    _refuse_own_checkout("init")
    session.git.require_repository(hint="make it one: git init")
    names = session.git.files(".")
    layout = find_layout(names, lambda name: (PROJECT / name).read_text(errors="replace"))
    is_new = not (PROJECT / SETTINGS).exists()
    own = "" if is_new else _own_name(given[0])
    answers = _answers(Answers(own or given[0], *given[1:]), ask_for_more=ask_for_more and is_new)
    answers.check()
    session.console.say(f"found: {layout.kind}")
    for folder in layout.left_out:
        session.console.warn(
            f"{folder} is left out: one folder of each kind is built in ({SETTINGS}, paths)"
        )
    images = Images()
    text = settings_text(
        answers,
        layout,
        ports_of(answers.project, _is_free),
        {"DEBIAN": images.debian, "PHP": images.php, "MAUTIC_IMAGE": images.mautic},
    )
    _check(text, answers)
    with opened(wheel or _running_wheel()) as (found, url):
        return setup.plan_init(PROJECT, answers, layout, found, url, text)


def upgrade_plan(wheel: str) -> SetupPlan:
    """Return what brings this project to the version of a wheel.

    Raises:
        InputError: this is no project, or the wheel is none.
    """
    _refuse_own_checkout("upgrade")
    lock = PROJECT / LOCK
    if not lock.exists():
        raise InputError(f"there is no {LOCK} here", hint="inv init makes a project")
    now = {name: (ROOT / name).read_text() for name in BROUGHT}
    with opened(wheel) as (found, url):
        return setup.plan_upgrade(PROJECT, now, found, url, setup.package_of(lock.read_text()))


def carry_out(plan: SetupPlan) -> None:
    """Write the files of a plan."""
    setup.carry_out(PROJECT, plan)


def say_additions(session: Session, plan: SetupPlan) -> None:
    """Say what `inv init` leaves to be added to files that are there."""
    for file in plan.files:
        if file.more:
            session.console.say(f"add to {file.path}:")
            for line in file.more:
                session.console.say(f"  {line}")


def say_next(session: Session) -> None:
    """Say what to do after `inv init`."""
    say = session.console.say
    say("next:")
    say("  git add --all && git commit -m 'Use mautic-multidev'")
    say("  ./inv doctor     # what this machine lacks; --fix installs it")
    say("  ./inv build && ./inv deploy")
    say(f"  {SETTINGS} is yours from now on; docs/adopt.md of mautic-multidev goes on from here")


def show_upgrade(session: Session, plan: SetupPlan, *, as_json: bool) -> None:
    """Show what an upgrade changes: the news, and the difference of each file."""
    if as_json:
        session.console.json(plan.as_dict())
        return
    for line in plan.news:
        session.console.say(line)
    session.console.plan(plan)
    for file in plan.files:
        if file.verb == "keep":
            for line in file.more:
                session.console.say(line)


def _refuse_own_checkout(task: str) -> None:
    if not IS_PACKAGE:
        raise InputError(
            f"inv {task} is for other repositories, and this is a checkout of the suite",
            hint="install the suite as a package, and run mautic-multidev in that repository: "
            "docs/adopt.md",
        )


def _running_wheel() -> str:
    """Return the wheel that the running package is from, as ``opened`` takes it.

    Raises:
        InputError: neither pip nor a lock of the project knows it.
    """
    lock = PROJECT / LOCK
    try:
        return installed_from()
    except InputError:
        # A project's own .venv is made from its lock, of which pip notes nothing.
        if not lock.is_file():
            raise
    package = setup.package_of(lock.read_text())
    if package.url:
        return f"{package.url}#sha256={package.sha256}"
    return str(PROJECT / OWN / package.wheel)


def _own_name(given: str) -> str:
    """Return the name that the project's settings give it, or an empty string.

    Args:
        given: what ``--project`` said.

    Raises:
        InputError: that is another one, or they are of another shape than settings.
    """
    name = setup.own_settings(PROJECT).get("project") or ""
    if name and given not in {"", name}:
        raise InputError(
            f"--project {given!r}: {SETTINGS} says {name}",
            hint=f"{SETTINGS} is yours: change it there, or leave --project",
        )
    return name


def _answers(given: Answers, *, ask_for_more: bool) -> Answers:
    name = given.project or project_name(PROJECT.name)
    if not ask_for_more:
        if not name:
            raise InputError(f"{PROJECT.name} makes no project's name", hint="give --project")
        return Answers(name, given.host, given.registry, given.cluster)
    project = given.project or ask("Project, the prefix of every name", name)
    cluster = given.cluster or ask("Context of a cluster in your kubeconfig, or nothing")
    if not cluster:
        return Answers(project, given.host, given.registry)
    host = given.host or ask("Host of a branch's site, with {slug} for the branch")
    registry = given.registry or ask("Where images are pushed, host/path")
    return Answers(project, host, registry, cluster)


def _check(text: str, answers: Answers) -> None:
    """Check that new settings are valid.

    Raises:
        InputError: an answer is not; the error names the option.
        SettingsError: what was found is not; the error names the key.
    """
    import yaml

    try:
        parse(yaml.safe_load(text), lambda _: SETTINGS)
    except SettingsError as error:
        key, _, why = error.message.partition(f" in {SETTINGS}: ")
        for beginning, option in OPTIONS.items():
            if key.startswith(beginning):
                value = getattr(answers, option)
                raise InputError(f"--{option} {value!r}: {why.partition(' (and ')[0]}") from error
        raise


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

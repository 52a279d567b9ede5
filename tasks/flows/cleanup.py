"""Removing everything that belongs to a branch, from the branch's name alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from tasks.adapters.terminal.console import Activity
from tasks.core.environment import Holder, Owner
from tasks.core.errors import RefusedError, VanishedError
from tasks.core.images.tags import IMAGES, is_marker, removable
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.flows.target import Removal, RemovalPlan, Remover, Say, without_messages


class Tags(Protocol):
    """The part of a registry that a clean-up needs."""

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest."""

    def delete_tags(self, repository: str, tags: Sequence[str]) -> int:
        """Delete tags in their order; one that is gone is no error. Returns how many there were."""


class CleanupConsole(Protocol):
    """The part of a console that a clean-up needs."""

    def warn(self, text: str) -> None:
        """Tell something that the user should look at."""

    def work(self, title: str) -> AbstractContextManager[Activity]:
        """Show a piece of work while it runs."""


def plan_cleanup(
    remover: Remover, owner: Owner, names: Names, *, tags: Tags | None, protected: bool, root: Path
) -> RemovalPlan:
    """Return everything of a branch: what runs, what it stored, its tags, its local files.

    Args:
        remover: takes environments away.
        owner: whose it must be.
        names: the branch's names.
        tags: the registry, or None where it was never started and so holds nothing.
        protected: whether the environment is.
        root: the checkout, where evidence of failed deploys lies.

    Raises:
        RefusedError: the environment is protected, or something of it is somebody else's.
        RegistryError: the registry cannot be reached, refused or failed.
    """
    refuse_protected(names.environment, protected=protected)
    plan = remover.plan_removal(owner, names)
    # What runs goes first, and what runs still refers to its images until then.
    todo = [*plan.todo, *plan_images(tags, names).todo]
    local = root / "artifacts" / names.slug
    if local.is_dir():
        step = Step("remove", f"folder {local.relative_to(root)}")
        todo.append((step, without_messages(partial(shutil.rmtree, local))))
    return replace(plan, todo=tuple(todo))


def refuse_protected(environment: str, *, protected: bool) -> None:
    """Refuse to remove anything of a protected environment.

    Raises:
        RefusedError: it is one.
    """
    if protected:
        raise RefusedError(
            f"{environment} is protected: nothing of it is ever removed",
            hint="if it has to be, take `protected` out of invoke.yaml first",
        )


def plan_images(tags: Tags | None, names: Names) -> RemovalPlan:
    """Return the image tags of a branch that nothing else uses.

    Args:
        tags: the registry, or None where it was never started and so holds nothing.
        names: the branch's names.

    Raises:
        RegistryError: the registry cannot be reached, refused or failed.
    """
    title = f"remove the image tags of {names.branch}"
    if tags is None:
        return RemovalPlan(title)
    going = {repository: removable(tags.tags(repository), names.slug) for repository in IMAGES}
    return plan_tags(title, tags, going)


def plan_tags(title: str, tags: Tags, going: Mapping[str, Sequence[str]]) -> RemovalPlan:
    """Return the removal of image tags, by repository."""
    todo: list[tuple[Step, Removal]] = []
    for repository, each in going.items():
        # The markers go by themselves, and last: they lead an interrupted clean-up to the rest.
        for part in ([t for t in each if not is_marker(t)], [t for t in each if is_marker(t)]):
            if part:
                step = Step("remove", f"image tags of {repository}", ", ".join(part))
                todo.append((step, without_messages(partial(tags.delete_tags, repository, part))))
    return RemovalPlan(title, tuple(todo))


def run_cleanup(
    remover: Remover,
    plan: Callable[[], RemovalPlan],
    names: Names,
    *,
    me: Holder,
    console: CleanupConsole,
) -> int:
    """Remove everything of a branch; return how many objects went.

    A run that was cut off is finished by the next one.
    """
    while True:
        # What is somebody else's is refused before even a lock is put there.
        first = plan()
        if all(step.verb == "keep" for step in first.steps):
            return 0
        if first.under_way:
            return _carry_out(first, console)
        try:
            with remover.exclusive(names, me, console.warn):
                return _carry_out(plan(), console)
        except VanishedError:
            # Somebody else has removed it; what he left, or has made since, is looked at anew.
            continue


def _carry_out(plan: RemovalPlan, console: CleanupConsole) -> int:
    if not plan.steps:
        return 0
    with console.work(plan.title) as activity:
        removed = remove(plan, activity.say)
        activity.outcome = f"{removed} objects removed"
    return removed


def remove(plan: RemovalPlan, say: Say) -> int:
    """Carry out a plan; return how many objects went.

    Args:
        plan: what to remove.
        say: told of each object, and of what one is waited for.
    """
    removed = 0
    for step, action in plan.todo:
        if step.verb == "keep":
            say(f"kept {step.subject}: {step.reason}")
            continue
        action(say)
        if step.verb == "remove":
            removed += 1
            reason = f", {step.reason}" if step.reason else ""
            say(f"removed {step.subject}{reason}")
    return removed

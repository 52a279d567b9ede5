"""Removes everything that belongs to a branch, given only the branch's name."""

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
from tasks.core.images.tags import IMAGES, is_marker, removable, shown
from tasks.core.names import Names, Style
from tasks.core.plan import Step
from tasks.flows.target import Removal, RemovalPlan, Remover, Say, without_messages


class Tags(Protocol):
    """The part of a registry that a clean-up needs."""

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest."""

    def delete_tags(self, repository: str, tags: Sequence[str]) -> int:
        """Delete tags in this order, ignoring missing ones; return the number of deleted tags."""


class CleanupConsole(Protocol):
    """The part of a console that a clean-up needs."""

    def warn(self, text: str) -> None:
        """Print a warning."""

    def work(self, title: str) -> AbstractContextManager[Activity]:
        """Show a piece of work while it runs."""


def plan_cleanup(
    remover: Remover,
    owner: Owner,
    names: Names,
    *,
    tags: Tags | None,
    protected: bool,
    root: Path | None,
) -> RemovalPlan:
    """Return the plan to remove everything of a branch: services, data, tags, local files.

    Args:
        remover: removes environments.
        owner: the owner that it must have.
        names: the branch's names.
        tags: the registry, or None if it was never started and so is empty.
        protected: whether the environment is protected.
        root: the checkout, with the diagnostics of failed deploys; None keeps them.

    Raises:
        RefusedError: the environment is protected, or a part of it has another owner.
        RegistryError: the registry cannot be reached, refused or failed.
    """
    refuse_protected(names.environment, protected=protected)
    plan = remover.plan_removal(owner, names)
    # Containers are removed first, because they use the images.
    todo = [*plan.todo, *plan_images(tags, names).todo]
    local = root and root / names.evidence
    if root and local and local.is_dir():
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
    """Return the plan to remove a branch's image tags that nothing else uses.

    Args:
        tags: the registry, or None if it was never started and so is empty.
        names: the branch's names.

    Raises:
        RegistryError: the registry cannot be reached, refused or failed.
    """
    title = f"remove the image tags of {names.branch}"
    if tags is None:
        return RemovalPlan(title)
    # Of a present style the others' slugs are left to `inv gc`, which knows whose they may be too.
    slugs = names.slugs if names.style is Style.FORMER else (names.slug,)
    going = {repository: removable(tags.tags(repository), *slugs) for repository in IMAGES}
    return plan_tags(title, tags, going)


def plan_tags(title: str, tags: Tags, going: Mapping[str, Sequence[str]]) -> RemovalPlan:
    """Return the plan to remove image tags, given by repository."""
    todo: list[tuple[Step, Removal]] = []
    for repository, each in going.items():
        # Markers are removed separately and last: an interrupted clean-up needs them.
        for part in ([t for t in each if not is_marker(t)], [t for t in each if is_marker(t)]):
            if part:
                step = Step("remove", f"image tags of {repository}: {shown(part)}")
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
    """Remove everything of a branch; return the number of removed objects.

    The next run completes an interrupted one.
    """
    while True:
        # Another owner's environment is refused before a lock is created in it.
        first = plan()
        if all(step.verb == "keep" for step in first.steps):
            return 0
        if first.under_way:
            return _carry_out(first, console)
        try:
            with remover.exclusive(names, me, console.warn):
                return _carry_out(plan(), console)
        except VanishedError:
            # Another run has removed it: plan again with what is left, or was created since.
            continue


def _carry_out(plan: RemovalPlan, console: CleanupConsole) -> int:
    if not plan.steps:
        return 0
    with console.work(plan.title) as activity:
        removed = remove(plan, activity.say, activity.note)
        activity.outcome = f"{removed} objects removed"
    return removed


def remove(plan: RemovalPlan, say: Say, note: Say) -> int:
    """Carry out a plan; return the number of removed objects.

    Args:
        plan: what to remove.
        say: called with what is kept, what goes along with an object, and the reasons for waiting.
        note: called with a message per other object.
    """
    removed = 0
    for step, action in plan.todo:
        if step.verb == "keep":
            say(f"kept {step.subject}: {step.reason}")
            continue
        action(say)
        if step.verb == "remove":
            removed += 1
            tell, more = (say, f", {step.reason}") if step.reason else (note, "")
            tell(f"removed {step.subject}{more}")
    return removed

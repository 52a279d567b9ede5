"""Removing everything that belongs to a branch, from the branch's name alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from tasks.adapters.console import Console
from tasks.adapters.lock import Holder
from tasks.core.errors import RefusedError
from tasks.core.naming import Names
from tasks.core.plan import Step
from tasks.core.record import Owner
from tasks.core.tags import removable
from tasks.flows.target import RemovalPlan, Target

IMAGES = ("mautic", "nginx")


class Tags(Protocol):
    """The part of a registry that a clean-up needs."""

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest."""

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Delete one tag; one that is gone is no error."""


def plan_cleanup(
    target: Target, of: Owner, names: Names, *, tags: Tags | None, protected: bool, root: Path
) -> RemovalPlan:
    """Return everything of a branch: what runs, what it stored, its tags, its local files.

    Args:
        target: where it runs.
        of: whose it must be.
        names: the branch's names.
        tags: the registry, or None where it was never started and so holds nothing.
        protected: whether the environment is.
        root: the checkout, where evidence of failed deploys lies.

    Raises:
        RefusedError: the environment is protected, or something of it is somebody else's.
        RegistryError: the registry cannot be reached, refused or failed.
    """
    if protected:
        raise RefusedError(
            f"{names.environment} is protected: cleanup never removes it",
            hint="if it has to be, take `protected` out of invoke.yaml first",
        )
    plan = target.plan_removal(of, names)
    todo: list[tuple[Step, Callable[[], object]]] = []
    if tags:
        for repository in IMAGES:
            for tag in removable(tags.tags(repository), names.slug):
                step = Step("remove", f"image tag {repository}:{tag}")
                todo.append((step, partial(tags.delete_tag, repository, tag)))
    local = root / "artifacts" / names.slug
    if local.is_dir():
        step = Step("remove", f"folder {local.relative_to(root)}")
        todo.append((step, partial(shutil.rmtree, local)))
    # What runs goes first, and what runs still refers to its images until then.
    return replace(
        plan,
        steps=(*plan.steps, *(step for step, _ in todo)),
        objects=(*plan.objects, *(action for _, action in todo)),
    )


def run_cleanup(
    target: Target,
    plan: Callable[[], RemovalPlan],
    names: Names,
    *,
    me: Holder,
    console: Console,
) -> int:
    """Remove everything of a branch; return how many objects went.

    A run that was cut off is finished by the next one.
    """
    # What is somebody else's is refused before even a lock is put there.
    if not plan().steps:
        return 0
    with target.exclusive(names, me, console.warn):
        todo = plan()
        if not todo.steps:
            return 0
        with console.work(todo.title) as activity:
            removed = 0
            for step, remove in zip(todo.steps, todo.objects, strict=True):
                if step.verb == "keep":
                    activity.say(f"kept {step.subject}: {step.reason}")
                    continue
                remove()
                removed += 1
                activity.say(f"removed {step.subject}")
            activity.outcome = f"{removed} objects removed"
    return removed

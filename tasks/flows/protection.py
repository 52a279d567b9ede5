"""The guard of protected environments: what may be built and deployed there, and from where.

Every way into a protected environment passes ``guard``: a build, a deploy, a deploy by tag, a
rollback. What a build is made from passes ``guard_bases`` as well, and a deploy ``guard_tag``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import RefusedError
from tasks.core.project_files import LOCK, SETTINGS
from tasks.core.settings import matches

if TYPE_CHECKING:
    from tasks.adapters.docker.base_images import BaseImage
    from tasks.adapters.git import Checkout, Git
    from tasks.flows.build import BuildSubject

CHART = "helm/mautic"


@dataclass(frozen=True)
class DeployedFrom:
    """What a deploy reads from the checkout besides the images: settings, chart, values files.

    Where the suite is a package the chart is in it, and the lock says which package.

    Attributes:
        root: the checkout.
        values: the environment's values files, relative to it.
    """

    root: Path
    values: Sequence[str] = ()

    def paths(self) -> frozenset[str]:
        """Return the files and links, relative to the root; one may lead out of it."""
        root = self.root.resolve()
        named = (root / name for name in (SETTINGS, LOCK, *self.values))
        found = [path for path in named if path.is_file()]
        found += [path for path in (root / CHART).rglob("*") if not path.is_dir()]
        # A link is committed by where it leads, so what it leads to must be as committed, too.
        found += [path.resolve() for path in found]
        return frozenset(os.path.relpath(path, root) for path in found)

    def holds(self, path: str) -> bool:
        """Return True if a deploy would read a file at that path."""
        return path in {SETTINGS, LOCK, *self.values} or path.startswith(f"{CHART}/")


def guard(subject: BuildSubject, git: Git, root: Path) -> None:
    """Refuse a checkout that a protected environment must not be built or deployed from.

    Args:
        subject: the environment, the branch and the checkout.
        git: asks about the checkout.
        root: the checkout.

    Raises:
        RefusedError: the tree is dirty, settings, chart or values are not as committed, or the
            commit is on no branch of the environment.
        InputError: a shallow clone cannot tell which branch the commit is on.
    """
    if not subject.environment.protected:
        return
    name, checkout = subject.name, subject.checkout
    if checkout.unseen:
        otherwise = ", or name it in the .dockerignore"
        raise _not_committed(name, checkout.unseen, "images would hold it", otherwise)
    if checkout.dirty:
        raise RefusedError(
            f"{name} is protected: there are uncommitted changes",
            hint="commit or stash them: git status",
        )
    allowed = ", ".join(subject.environment.branches)
    if not matches(subject.environment, subject.branch):
        raise RefusedError(
            f"{name} is protected: {subject.branch} is none of its branches ({allowed})"
        )
    differing = git.differing(DeployedFrom(root, subject.environment.values))
    if differing:
        raise _not_committed(name, differing, "a deploy would read it")
    if not git.is_on(checkout.commit, subject.branch):
        raise RefusedError(
            f"{name} is protected: commit {checkout.short} is not on {subject.branch}",
            hint="check that branch out, or merge the commit into it first",
        )


def guard_tag(name: str, checkout: Checkout, tag: str) -> None:
    """Refuse a tag that is not that of the commit which is checked out.

    Whose commit a tag is, only the commit itself can tell: in a registry anybody who may push there
    can set any tag. Chart and values come from the same commit.

    Args:
        name: the protected environment.
        checkout: what is checked out, after ``guard``.
        tag: what was asked for.

    Raises:
        RefusedError: it is another tag.
    """
    if tag != checkout.tag:
        raise RefusedError(
            f"{name} is protected: it takes the images of the commit that is checked out, which "
            f"are {checkout.tag}, not {tag}",
            hint="check out the commit that is meant, with its chart and values: "
            "git switch --detach COMMIT, and name the branch by --branch",
        )


def guard_bases(
    name: str, bases: Mapping[str, BaseImage], standin_in: Callable[[BaseImage], bool]
) -> None:
    """Refuse base images that are stand-ins, or whose content only this machine vouches for.

    Args:
        name: what is built: a protected environment, or the image of its jobs.
        bases: the base images, by build argument.
        standin_in: returns True if what a registry has under a base's digest is a stand-in.

    Raises:
        RefusedError: one is a stand-in, or is not in a registry by its digest.
        RegistryError: a base's registry cannot be reached, refused or failed.
    """
    hint = (
        "build where Docker Hub can be reached, or name your own copies by MAUTIC_IMAGE and "
        "DEBIAN_IMAGE"
    )
    used = sorted({base.standin for base in bases.values() if base.standin})
    if used:
        raise RefusedError(
            f"{name} is protected: it takes no stand-ins (here: {', '.join(used)})", hint=hint
        )
    for argument, base in sorted(bases.items()):
        if base.origin != "registry":
            raise RefusedError(
                f"{name} is protected: {argument} is {base.reference}, which only this machine's "
                "engine has under that name, not a registry",
                hint=hint,
            )
        if standin_in(base):
            raise RefusedError(
                f"{name} is protected: it takes no stand-ins, and {argument} is one under another "
                f"name: {base.reference}",
                hint=hint,
            )


def _not_committed(name: str, paths: Sequence[str], why: str, otherwise: str = "") -> RefusedError:
    more = f", and {len(paths) - 1} more" if paths[1:] else ""
    return RefusedError(
        f"{name} is protected: {paths[0]} is not as committed{more}",
        hint=f"git status does not show it (ignored? in a repository of its own?), but {why}: "
        f"commit it, remove it{otherwise}",
    )

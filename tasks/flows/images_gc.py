"""Sweeps images that no rule keeps: from the registry by digest, and from this machine's engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasks.adapters.git import SHORT, Git
from tasks.adapters.terminal.console import Activity, Work
from tasks.core.errors import AwsError, RegistryError, SuiteError
from tasks.core.images.retention import (
    ImageUse,
    ImageVerdict,
    KeepingRule,
    Policies,
    StoredImage,
    judge,
    stale_tags,
)
from tasks.core.images.seed_image import REPOSITORIES
from tasks.core.images.tags import IMAGES, shown
from tasks.core.names import is_branch
from tasks.core.plan import Step
from tasks.flows.registry_port import Copy, LocalImages, Registry
from tasks.flows.target import Inspector

AT_ONCE = 1000
"""Images that are removed between two messages: whole batches of every registry."""

COLUMNS = ("image", "number", "what becomes of them")
DETAIL_COLUMNS = ("image", "tags", "what becomes of it")


@dataclass(frozen=True)
class ImageSources:
    """What a sweep of images looks at.

    Attributes:
        registry: the registry.
        place: where it is, in the one form of its URL.
        inspectors: what lists the environments that may run its images, by environment; a
            function, as one may be out of reach.
        policies: what the settings keep.
        git: knows the branches.
        private: whether branches may be unpushed, as environments are on this machine alone.
        slugs_of: returns the slugs that a branch may have.
        local: this machine's images, where the registry is its own.
        unseen: environments that may run the registry's images and cannot be seen from here, or
            an empty string.
    """

    registry: Registry
    place: str
    inspectors: Mapping[str, Callable[[], Inspector]]
    policies: Policies
    git: Git
    private: bool
    slugs_of: Callable[[str], Collection[str]]
    local: LocalImages | None = None
    unseen: str = ""

    def stored(self, repository: str) -> list[StoredImage]:
        """Return every manifest of a repository."""
        times = self.local.push_times(repository) if self.local else None
        return self.registry.stored(repository, times)

    def uses(self) -> tuple[ImageUse, ...]:
        """Return what all environments name. Of what cannot be seen, any image may be a part."""
        found: list[ImageUse] = []
        if self.unseen:
            found.append(ImageUse("", self.unseen, problem="it cannot be seen from here"))
        for environment, inspector in self.inspectors.items():
            try:
                found += inspector().image_uses()
            except SuiteError as error:
                found.append(ImageUse(environment, environment, problem=error.message))
        return tuple(use.seen_from(self.place) for use in found)


@dataclass(frozen=True)
class ImageSweep:
    """The plan of a sweep of images.

    Attributes:
        verdicts: what becomes of every image of the registry.
        tips: the branch by the tag of its newest commit.
        tags: tags of gone branches on images that are kept, by repository, in removal order.
        copies: the engine's copies that go.
        garbage: the number of blobs in the local registry that nothing names already.
        problems: why images are kept that might go.
    """

    verdicts: tuple[ImageVerdict, ...] = ()
    tips: Mapping[str, str] | None = None
    tags: Mapping[str, tuple[str, ...]] | None = None
    copies: tuple[Copy, ...] = ()
    garbage: int = 0
    problems: tuple[str, ...] = ()

    @property
    def going(self) -> tuple[StoredImage, ...]:
        """The images that go, lists of manifests before what they list."""
        going = [verdict.image for verdict in self.verdicts if verdict.goes]
        return tuple(sorted(going, key=lambda image: not image.children))

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per repository, and those on this machine."""
        count = Counter(image.repository for image in self.going)
        steps = [Step("remove", f"{count[name]} images of {name}") for name in sorted(count)]
        for name, tags in (self.tags or {}).items():
            steps.append(Step("remove", f"image tags of {name}", shown(tags)))
        if self.copies:
            steps.append(Step("remove", f"{len(self.copies)} images of this engine"))
        if self.garbage:
            steps.append(Step("remove", f"{self.garbage} blobs of the local registry"))
        return tuple(steps)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "images": [
                {
                    "repository": verdict.image.repository,
                    "digest": verdict.image.digest,
                    "tags": list(verdict.image.tags),
                    "goes": verdict.goes,
                    "rule": verdict.rule.name.lower(),
                    "reason": verdict.reason,
                }
                for verdict in self.verdicts
            ],
            "tags": {name: list(tags) for name, tags in (self.tags or {}).items()},
            "copies": [list(copy.names) for copy in self.copies],
            "garbage": self.garbage,
            "image_problems": list(self.problems),
        }

    def tables(self, *, details: bool) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]]]]:
        """Yield columns and rows: what becomes of how many images, or of each.

        Args:
            details: show each image.
        """
        if details and self.verdicts:
            yield DETAIL_COLUMNS, [_detail(verdict) for verdict in self.verdicts]
        if self.steps or details:
            yield COLUMNS, list(self._summary())

    def _summary(self) -> Iterator[tuple[str, ...]]:
        order = list(KeepingRule)
        count = Counter((verdict.image.repository, verdict.rule) for verdict in self.verdicts)
        for repository, rule in sorted(count, key=lambda each: (each[0], order.index(each[1]))):
            becomes = "removed" if rule is KeepingRule.NONE else "kept"
            yield repository, str(count[repository, rule]), f"{becomes}: {rule.value}"
        for name, tags in (self.tags or {}).items():
            yield name, "-", f"tags of gone branches removed: {shown(tags)}"
        if self.copies:
            megabytes = sum(copy.size for copy in self.copies) / 1e6
            yield "this engine's", str(len(self.copies)), f"removed: {megabytes:.0f} MB at most"
        if self.garbage:
            yield "local registry", "-", f"{self.garbage} blobs that no image has: removed"


def _detail(verdict: ImageVerdict) -> tuple[str, ...]:
    image = verdict.image
    becomes = "removed" if verdict.goes else "kept"
    return (
        f"{image.repository}@{image.digest[:19]}",
        shown(image.tags) or "-",
        f"{becomes}: {verdict.reason}",
    )


def find_image_sweep(
    sources: ImageSources, *, without: Callable[[ImageUse], bool], now: datetime
) -> ImageSweep:
    """Return the plan of a sweep of images. Reads only.

    Args:
        sources: what it looks at.
        without: whether an environment is about to be removed, and keeps nothing.
        now: the present time.

    Raises:
        SuiteError: the registry, the branches or the engine cannot be read.
    """
    # Read before the branches and the environments: what is pushed, built and deployed at this
    # moment is not taken for left over by any of them.
    images = [image for repository in IMAGES for image in sources.stored(repository)]
    unread = []
    for repository in REPOSITORIES.values():
        try:
            images += sources.stored(repository)
        except (RegistryError, AwsError) as error:
            # A stack from before them has no such repository, nor the right to look.
            unread.append(f"{repository}: {error.message}")
            break
    there = sources.git.remote_heads() if sources.git.has_remote() else {}
    heads = {**(sources.git.heads() if sources.private else {}), **there}
    tips = {commit[:SHORT]: branch for branch, commit in heads.items()}
    uses = [use for use in sources.uses() if not without(use)]
    verdicts = judge(images, uses, sources.policies, tips, now=now)
    # Anybody may have pushed a branch whose name the suite refuses: it has no images.
    living = {slug for branch in filter(is_branch, heads) for slug in sources.slugs_of(branch)}
    sweep = ImageSweep(
        verdicts,
        tips,
        stale_tags(verdicts, uses, living),
        problems=(*(f"{use.title}: {use.problem}" for use in uses if use.problem), *unread),
    )
    if sources.local is None or any(not use.slug for use in uses):
        return sweep
    kept = {name for verdict in verdicts if not verdict.goes for name in verdict.image.names}
    copies = sources.local.copies(kept, now - sources.policies.young)
    return replace(sweep, copies=tuple(copies), garbage=sources.local.garbage())


def run_image_sweep(
    sweep: ImageSweep, sources: ImageSources, *, work: Work, now: Callable[[], datetime]
) -> None:
    """Remove what the plan says, but for what has come into use since it was made.

    Args:
        sweep: the plan.
        sources: what it was made of.
        work: shows a piece of work.
        now: returns the present time.

    Raises:
        SuiteError: something could not be removed. The next run goes on from there.
    """
    if sweep.going or sweep.tags:
        with work("remove images") as activity:
            _remove_images(sweep, sources, activity, now)
    if sources.local is None:
        return
    if sweep.copies:
        with work("remove this engine's copies") as activity:
            for copy in sweep.copies:
                sources.local.remove_copy(copy)
                activity.line(f"removed {copy.names[0]}")
            activity.outcome = f"{len(sweep.copies)} removed"
    if sweep.going or sweep.garbage:
        with work("collect the local registry's garbage") as activity:
            activity.outcome = sources.local.collect(activity.line)


def _remove_images(
    sweep: ImageSweep,
    sources: ImageSources,
    activity: Activity,
    now: Callable[[], datetime],
) -> None:
    images = [verdict.image for verdict in sweep.verdicts]
    again = judge(images, sources.uses(), sources.policies, sweep.tips or {}, now=now())
    in_use = {(one.image.repository, one.image.digest) for one in again if not one.goes}
    going = [image for image in sweep.going if (image.repository, image.digest) not in in_use]
    for image in set(sweep.going) - set(going):
        activity.say(f"kept {image.repository}@{image.digest[:19]}: it has come into use")
    removed = 0
    for repository, digests in _batches(going):
        removed += sources.registry.delete_images(repository, digests)
        activity.line(f"{removed} of {len(going)} removed")
    for repository, tags in (sweep.tags or {}).items():
        sources.registry.delete_tags(repository, tags)
    activity.outcome = f"{removed} removed"


def _batches(going: Iterable[StoredImage]) -> Iterator[tuple[str, list[str]]]:
    """Yield repositories and digests; a list of manifests never together with what it lists."""
    by_kind: dict[tuple[bool, str], list[str]] = {}
    for image in going:
        by_kind.setdefault((bool(image.children), image.repository), []).append(image.digest)
    for (_, repository), digests in by_kind.items():
        for start in range(0, len(digests), AT_ONCE):
            yield repository, digests[start : start + AT_ONCE]

"""Which images of a registry are kept, and by which rule; those that no rule names go.

Every tag of an image is the image's own: it is kept or goes as one, by its digest. A rule that
keeps too much costs room, one that keeps too little costs a site; so what is not known keeps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from tasks.core.durations import SPELLING, hours_of
from tasks.core.errors import InputError
from tasks.core.images.content_key import is_content_key
from tasks.core.images.reference import place_of_image
from tasks.core.images.seed_image import is_seed_tag
from tasks.core.images.tags import CACHE, IMAGES, LATEST, is_marker, removable, slugs

POLICY = rf"^\S+( newest [1-9][0-9]{{0,4}}| for {SPELLING})?$"
"""A policy as the settings have it."""

_ATTACHED = re.compile(r"(sha256)-([0-9a-f]{64})(\.[a-z]+)?")
"""The tags of what is attached to an image: the suite's own, cosign's, and those of the referrers
tag schema (distribution-spec, "Referrers Tag Schema")."""

_BUILT = re.compile(rf"/({'|'.join(IMAGES)})([:@]|$)")
"""Matches references to what an environment's build makes."""


class KeepingRule(StrEnum):
    """The rules that keep an image, the first that applies being told; and that none does."""

    RUNS = "it runs"
    SLEEPS = "it sleeps"
    SHARED = "branches share a seed's uploads"
    RELEASE = "an environment's last releases"
    BUSY = "a run changes its environment"
    UNREADABLE = "its environment cannot be read"
    YOUNG = "it is young"
    TIP = "a branch's newest commit"
    TAG = "a tag that is never removed"
    POLICY = "a policy"
    PART = "it belongs to an image that is kept"
    NONE = "nothing needs it"


@dataclass(frozen=True)
class StoredImage:
    """One manifest in a registry: an image, a list of some, or what is attached to one.

    Attributes:
        repository: its name below the registry's path.
        pushed_at: when it was pushed, or made where the registry does not tell; None if unknown.
        children: the digests of the manifests that it lists.
        subject: the digest of the image that it is attached to, or an empty string.
        size: bytes, as far as they are known.
    """

    repository: str
    digest: str
    tags: tuple[str, ...] = ()
    pushed_at: datetime | None = None
    children: tuple[str, ...] = ()
    subject: str = ""
    size: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called below the registry's path: ``mautic@sha256:…``, ``nginx:tag``."""
        tags = (f"{self.repository}:{tag}" for tag in self.tags)
        return (f"{self.repository}@{self.digest}", *tags)

    @property
    def attached_to(self) -> str:
        """The digest of the image that it is attached to, by its manifest or tag; or empty."""
        if self.subject:
            return self.subject
        found = (_ATTACHED.fullmatch(tag) for tag in self.tags)
        return next((f"{each[1]}:{each[2]}" for each in found if each), "")


@dataclass(frozen=True)
class ImageUse:
    """What one environment names of images, each by its digest, or by its tag.

    Attributes:
        environment: its environment in invoke.yaml.
        where: its namespace or Compose project.
        branch: its branch, or an empty string.
        slug: its slug; empty if even that is not known.
        runs: the images that run, or that a run is about to deploy.
        sleeps: those of services that are stopped, or scaled to nothing.
        shares: the tag of the seed whose uploads it shares.
        releases: those of its last releases, and the one that can drop its database.
        tags: the tags that those releases were deployed as.
        busy: whether a run is changing it.
        problem: why what it names cannot be read, or an empty string.
        registries: the places of the registries that its images are in; empty if unknown.
        elsewhere: whether these are others than the one that is looked at.
    """

    environment: str
    where: str
    branch: str = ""
    slug: str = ""
    runs: frozenset[str] = frozenset()
    sleeps: frozenset[str] = frozenset()
    shares: frozenset[str] = frozenset()
    releases: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    busy: bool = False
    problem: str = ""
    registries: frozenset[str] = frozenset()
    elsewhere: bool = False

    @property
    def title(self) -> str:
        """The branch, or what is known instead."""
        return self.branch or self.where

    def seen_from(self, registry: str) -> ImageUse:
        """Return what it may name of the images in one registry.

        Another project may have a branch of the same name, and a tag: of what is known to have its
        images in other registries, neither counts. Digests do, as a registry may have two names.

        Args:
            registry: the registry's place.
        """
        if self.problem or not self.registries or registry in self.registries:
            return self
        runs, sleeps, releases = (
            frozenset(name for name in names if ":" in name)
            for names in (self.runs, self.sleeps, self.releases)
        )
        return replace(
            self,
            runs=runs,
            sleeps=sleeps,
            releases=releases,
            shares=frozenset(),
            tags=frozenset(),
            busy=False,
            elsewhere=True,
        )


@dataclass(frozen=True)
class TagPolicy:
    """A policy of the settings: which images of some tags are kept.

    Attributes:
        pattern: the tags, as a glob.
        newest: how many of them; 0 for any number.
        hours: for how long after the push; 0 for ever.
    """

    text: str
    pattern: str
    newest: int = 0
    hours: int = 0


@dataclass(frozen=True)
class Policies:
    """What the settings say of the images that are kept.

    Attributes:
        young: how long every image is kept.
    """

    young: timedelta
    kept: tuple[TagPolicy, ...] = ()


@dataclass(frozen=True)
class ImageVerdict:
    """What becomes of one image.

    Attributes:
        reason: the rule with what it applies to, e.g. ``runs in feature/x``.
    """

    image: StoredImage
    rule: KeepingRule
    reason: str

    @property
    def goes(self) -> bool:
        """Whether no rule keeps it."""
        return self.rule is KeepingRule.NONE


def parse_policy(text: str) -> TagPolicy:
    """Return a policy from its text: ``v*``, ``v* newest 20`` or ``v* for 90d``.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch(POLICY, text):
        raise InputError(f"{text!r} is no policy: PATTERN, PATTERN newest 20, PATTERN for 90d")
    pattern, _, rest = text.partition(" ")
    word, _, amount = rest.partition(" ")
    if word == "newest":
        return TagPolicy(text, pattern, newest=int(amount))
    return TagPolicy(text, pattern, hours=hours_of(amount) if word else 0)


def name_in(reference: str) -> str:
    """Return the digest of an image's reference, or its tag if it has no digest."""
    name, at, digest = reference.partition("@")
    return digest if at else name.rpartition("/")[2].partition(":")[2] or LATEST


def names_in(references: Iterable[str]) -> frozenset[str]:
    """Return the digests or tags of references."""
    return frozenset(filter(None, map(name_in, filter(None, references))))


def registries_in(references: Iterable[str]) -> frozenset[str]:
    """Return the places of the registries that what was built is in, of references to anything."""
    built = (each for each in references if _BUILT.search(each))
    return frozenset(filter(None, map(place_of_image, built)))


def judge(
    images: Sequence[StoredImage],
    uses: Collection[ImageUse],
    policies: Policies,
    tips: Mapping[str, str],
    *,
    now: datetime,
) -> tuple[ImageVerdict, ...]:
    """Return what becomes of every image, in the same order.

    Args:
        images: all manifests of some repositories.
        uses: what all environments name that may run images of them.
        policies: what the settings keep.
        tips: the branch by the tag of its newest commit, of every branch that exists.
        now: the present time.
    """
    named = _Named.of(uses)
    by_policy = dict(_by_policy(images, policies.kept, now))
    found: dict[tuple[str, str], tuple[KeepingRule, str]] = {}
    for image in images:
        if own := (
            named.keeps(image)
            or _by_age(image, policies.young, now)
            or _by_tag(image, tips)
            or by_policy.get(_key(image))
        ):
            found[_key(image)] = own
    for key, pair in _pairs(images, policies.young, now):
        found.setdefault(key, pair)
    _add_parts(images, found)
    none = (KeepingRule.NONE, KeepingRule.NONE.value)
    return tuple(ImageVerdict(image, *found.get(_key(image), none)) for image in images)


def stale_tags(
    verdicts: Iterable[ImageVerdict], uses: Collection[ImageUse], living: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return the tags of gone branches on images that are kept, by repository, in removal order.

    No image loses its last tag by this, and none whose age or environment keeps it is touched.

    Args:
        verdicts: what becomes of every image.
        uses: what all environments name. If one does not even tell its slug, no tag goes.
        living: the slugs of the branches that exist.
    """
    if any(not use.slug for use in uses):
        return {}
    used = frozenset(tag for use in uses for tag in use.tags)
    kept_slugs = {*living, *(use.slug for use in uses if not use.elsewhere)}
    kept: dict[str, dict[str, str]] = defaultdict(dict)
    fixed: set[str] = set()
    for verdict in verdicts:
        image = verdict.image
        if not verdict.goes:
            kept[image.repository] |= dict.fromkeys(image.tags, image.digest)
        if verdict.rule in {KeepingRule.YOUNG, KeepingRule.BUSY, KeepingRule.UNREADABLE}:
            fixed.add(image.digest)
    found = {}
    for repository, tags in kept.items():
        gone = slugs(tags) - kept_slugs
        going = [
            tag for tag in removable(tags, *gone, used=used) if gone and tags[tag] not in fixed
        ]
        staying = {digest for tag, digest in tags.items() if tag not in going}
        if going := [tag for tag in going if tags[tag] in staying]:
            found[repository] = tuple(going)
    return found


# -- the rules ------------------------------------------------------------------------------------

_Found = tuple[KeepingRule, str]


def _key(image: StoredImage) -> tuple[str, str]:
    return image.repository, image.digest


@dataclass(frozen=True)
class _Named:
    """What environments name, by digest or tag; and the slugs whose images are left alone.

    Attributes:
        unknown: an environment of which nothing is known, or an empty string: any image may be its
            own.
        unread: one whose record cannot be read, or an empty string: it may share any uploads.
    """

    names: Mapping[str, _Found]
    slugs: Mapping[str, _Found]
    unknown: str
    unread: str

    @classmethod
    def of(cls, uses: Collection[ImageUse]) -> _Named:
        names: dict[str, _Found] = {}
        by_slug: dict[str, _Found] = {}
        unknown = unread = ""
        for rule, kind, text in (
            (KeepingRule.RUNS, "runs", "runs in"),
            (KeepingRule.SLEEPS, "sleeps", "sleeps in"),
            (KeepingRule.SHARED, "shares", "has uploads of"),
            (KeepingRule.RELEASE, "releases", "is one of the last releases of"),
        ):
            for use in uses:
                for name in getattr(use, kind):
                    names.setdefault(name, (rule, f"{text} {use.title}"))
        for use in uses:
            unread = use.title if use.problem else unread
            if use.problem and not use.slug:
                unknown = use.title
            elif use.problem:
                why = f"{use.title} cannot be read"
                by_slug[use.slug] = (KeepingRule.UNREADABLE, why)
            elif use.busy:
                by_slug.setdefault(use.slug, (KeepingRule.BUSY, f"a run is changing {use.title}"))
        return cls(names, by_slug, unknown, unread)

    def keeps(self, image: StoredImage) -> _Found | None:
        found = [self.names[name] for name in (image.digest, *image.tags) if name in self.names]
        if found:
            order = list(KeepingRule)
            return min(found, key=lambda each: order.index(each[0]))
        for slug in slugs(image.tags):
            if slug in self.slugs:
                return self.slugs[slug]
        if self.unread and any(map(is_seed_tag, image.tags)):
            return KeepingRule.UNREADABLE, f"{self.unread} cannot be read, and may share it"
        if self.unknown:
            return (
                KeepingRule.UNREADABLE,
                f"{self.unknown} cannot be read, and may be its environment",
            )
        return None


def _by_age(image: StoredImage, young: timedelta, now: datetime) -> _Found | None:
    if any(map(is_seed_tag, image.tags)) and image.pushed_at is None:
        # Its record was there before it: whoever shares it is known.
        return None
    if image.pushed_at is None:
        # What is attached shares its image's fate, and has no age of its own in many registries.
        return None if image.attached_to else (KeepingRule.YOUNG, "its age is not known")
    if now - image.pushed_at >= young:
        return None
    hours = young.total_seconds() / 3600
    return KeepingRule.YOUNG, f"it was pushed less than {hours:g} h ago"


def _by_tag(image: StoredImage, tips: Mapping[str, str]) -> _Found | None:
    for tag in image.tags:
        if tag in tips:
            return KeepingRule.TIP, f"is of the newest commit of {tips[tag]}"
    for tag in (LATEST, CACHE):
        if tag in image.tags:
            return KeepingRule.TAG, f"is tagged {tag}"
    return None


def _by_policy(
    images: Sequence[StoredImage], policies: Iterable[TagPolicy], now: datetime
) -> Iterator[tuple[tuple[str, str], _Found]]:
    """Yield the images that a policy keeps; counted in each repository by itself."""
    for policy in policies:
        matching: dict[str, list[StoredImage]] = defaultdict(list)
        for image in images:
            if any(fnmatchcase(tag, policy.pattern) for tag in image.tags):
                matching[image.repository].append(image)
        for each in matching.values():
            # Without a time of its own one counts as the newest: none is dropped for it.
            each.sort(key=lambda image: (image.pushed_at or now, image.digest), reverse=True)
            for image in each[: policy.newest or None]:
                age = now - image.pushed_at if image.pushed_at else timedelta()
                if not policy.hours or age < timedelta(hours=policy.hours):
                    yield _key(image), (KeepingRule.POLICY, f"policy {policy.text!r}")


def _pairs(
    images: Sequence[StoredImage], young: timedelta, now: datetime
) -> Iterator[tuple[tuple[str, str], _Found]]:
    """Yield the images that have a tag in common with a young one, itself included.

    A build pushes what has changed, and tags the rest, which may have been pushed long ago.
    """
    tags = {
        tag
        for image in images
        if _by_age(image, young, now)
        for tag in image.tags
        if not (is_marker(tag) or is_content_key(tag) or _ATTACHED.fullmatch(tag))
    }
    for image in images:
        if shared := tags & set(image.tags):
            yield (
                _key(image),
                (KeepingRule.PART, f"is of one build with a young one: {min(shared)}"),
            )


def _add_parts(images: Sequence[StoredImage], found: dict[tuple[str, str], _Found]) -> None:
    """Add what kept images list and what is attached to them, and so on."""
    attached: dict[tuple[str, str], list[StoredImage]] = defaultdict(list)
    there = {_key(image): image for image in images}
    for image in images:
        if image.attached_to:
            attached[image.repository, image.attached_to].append(image)
    todo = [there[key] for key in found if key in there]
    while todo:
        whole = todo.pop()
        listed = (there.get((whole.repository, digest)) for digest in whole.children)
        for part in (*listed, *attached[_key(whole)]):
            if part and _key(part) not in found:
                found[_key(part)] = (KeepingRule.PART, f"belongs to {whole.digest[:19]}")
                todo.append(part)

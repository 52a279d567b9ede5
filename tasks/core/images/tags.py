"""The tags of an image in the registry, and which of them are removed with a branch.

For every tag that a branch's build sets it also sets a marker, ``branch.<slug>.<tag>``. By the
markers a clean-up finds a branch's tags from the branch's name alone, and knows whether another
branch still uses one. A slug has only [a-z0-9-], so the dots are unambiguous.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

from tasks.core.images.content_key import PREFIX, is_content_key

IMAGES = ("mautic", "nginx")
"""The repositories below an environment's registry; what an environment runs."""

CACHE = "cache"
"""The tag of the last image built, used as a layer cache by builders without a local one."""

LATEST = "latest"

_MARKER = "branch."
_KEY_SHOWN = len(PREFIX) + 12


def build_tags(kinds: Sequence[str], slug: str, tag: str, *, dirty: bool) -> tuple[str, ...]:
    """Return the tags that a branch's build sets besides the content key.

    Args:
        kinds: the environment's ``tags``: ``short-sha``, ``latest``.
        slug: the branch's slug.
        tag: the tag of what is checked out.
        dirty: whether they are of more than the commit; ``latest`` only ever names a commit.
    """
    tags = [tag] if "short-sha" in kinds else []
    if LATEST in kinds and not dirty:
        tags.append(LATEST)
    return (*tags, branch_marker(slug, tag))


def variant(others: Mapping[str, str]) -> str:
    """Return eight hex digits that stand for image settings; an empty string for none.

    Args:
        others: those that the project's own file does not have so, by their names.
    """
    text = "\n".join(f"{name}={value}" for name, value in sorted(others.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:8] if others else ""


def shown(tags: Iterable[str]) -> str:
    """Return tags as they are shown: of a content key no more digits than of a digest."""
    return ", ".join(tag[:_KEY_SHOWN] if is_content_key(tag) else tag for tag in tags)


def branch_marker(slug: str, tag: str) -> str:
    """Return the marker that says a branch uses a tag."""
    return f"{_MARKER}{slug}.{tag}"


def is_marker(tag: str) -> bool:
    """Return True if a tag is a marker."""
    return tag.startswith(_MARKER)


def slugs(tags: Iterable[str]) -> frozenset[str]:
    """Return the slugs of the branches that use some of these tags, by their markers."""
    return frozenset(tag.removeprefix(_MARKER).partition(".")[0] for tag in tags if is_marker(tag))


def removable(
    tags: Mapping[str, str], *slugs: str, used: Collection[str] = frozenset()
) -> tuple[str, ...]:
    """Return the tags of one repository to remove with branches, in the order of removal.

    The branches' markers are removed, and the tags they name, unless another branch's marker names
    a tag, something else uses it, or its image is ``latest``. A content key is removed if its image
    loses its last other tag by this. One that never had another tag is kept: a running build may
    just have pushed it. The markers come last, so that an interrupted clean-up finds the rest.

    Args:
        tags: every tag of the repository, with its digest.
        slugs: the slugs of the branches.
        used: tags that are in use for other reasons.
    """
    own = tuple(branch_marker(slug, "") for slug in slugs)
    markers = {tag for tag in tags if tag.startswith(own)}
    others = {_named(tag) for tag in tags if is_marker(tag) and tag not in markers}
    named = {_named(tag) for tag in markers}
    released = {
        tag
        for tag in named & tags.keys()
        if tag not in {LATEST, CACHE, *others, *used} and tags[tag] != tags.get(LATEST)
    }
    going = markers | released
    touched = {tags[tag] for tag in going}
    staying = {
        digest
        for tag, digest in tags.items()
        if tag not in going and tag != CACHE and not is_content_key(tag)
    }
    orphans = {
        tag
        for tag, digest in tags.items()
        if is_content_key(tag) and digest in touched and digest not in staying
    }
    return (*sorted(released), *sorted(orphans), *sorted(markers))


def _named(marker: str) -> str:
    """Return the tag that a marker names."""
    return marker.removeprefix(_MARKER).partition(".")[2]

"""docker/images.lock: the digest of each image that others publish, a line ``name:tag@digest``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.core.errors import InputError, SettingsError
from tasks.core.images.reference import parse_reference

if TYPE_CHECKING:
    from tasks.core.settings import Settings

LOCK = "docker/images.lock"
TERRAFORM_IMAGE = "hashicorp/terraform:1.11.4"
"""As in docker/ci/docker-bake.hcl."""

_HEAD = """\
# The images of others that are built on or run, each by its digest. Written by `inv images.pin`.
# What is not here goes by its tag.
"""
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")

PIPELINE = ".gitlab-ci.yml"
"""GitLab reads no lock: the digest of the engine beside its build jobs stands there, too."""

_ENGINE = re.compile(
    r"""^(\s+DIND_IMAGE:\s+["']?)([^\s@"'#]+)(@[^\s"'#]+)?(?=["']?\s*(?:#.*)?$)""", re.MULTILINE
)


@dataclass(frozen=True)
class Pin:
    """What happens to an image's digest.

    Attributes:
        reference: the image, by its tag.
        before: its digest in the lock, or empty.
        after: its digest from now on, or empty.
        failure: why its registry has told none; the digest then stays.
    """

    reference: str
    before: str
    after: str
    failure: str = ""

    @property
    def action(self) -> str:
        """One word for it."""
        if self.failure:
            return "failed"
        if self.before == self.after:
            return "unchanged"
        if not self.after:
            return "removed"
        return "moved" if self.before else "pinned"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {**asdict(self), "action": self.action}


def public_images(settings: Settings) -> tuple[str, ...]:
    """Return the images by tag that are built on or run anywhere, in the order of their names."""
    images, platform = settings.images, settings.platform
    named = {
        *(f"debian:{images.debian}-slim", images.mautic, images.redis, TERRAFORM_IMAGE),
        *(platform.registry_image, platform.database_image, platform.mail_image),
    }
    return tuple(sorted(name for name in named if not parse_reference(name).digest))


def parse_pins(text: str) -> dict[str, str]:
    """Return the digests by reference.

    Raises:
        SettingsError: a line is no image by digest, or names an image again.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        reference, _, digest = line.strip().partition("@")
        try:
            parse_reference(reference)
        except InputError as error:
            raise SettingsError(f"{LOCK}, line {number}: {error}") from error
        if not _SHA256.fullmatch(digest):
            raise SettingsError(f"{LOCK}, line {number}: {reference} has no digest sha256:…")
        if reference in found:
            raise SettingsError(f"{LOCK}, line {number}: {reference} stands there twice")
        found[reference] = digest
    return found


def format_pins(pins: Mapping[str, str]) -> str:
    """Return the file's text."""
    return _HEAD + "".join(f"{name}@{digest}\n" for name, digest in sorted(pins.items()))


def engine_image(pipeline: str) -> tuple[str, ...]:
    """Return the image of the engine beside build jobs, by its tag; none if there is none.

    Args:
        pipeline: the text of .gitlab-ci.yml.
    """
    found = _ENGINE.search(pipeline)
    return (found[2],) if found else ()


def with_engine_digest(pipeline: str, pins: Mapping[str, str]) -> str:
    """Return the text of .gitlab-ci.yml with the lock's digest of the engine's image.

    Args:
        pipeline: the text.
        pins: the lock's digests by reference; without one of this image the text stays.
    """

    def pinned(found: re.Match[str]) -> str:
        digest = pins.get(found[2])
        return f"{found[1]}{found[2]}@{digest}" if digest else found[0]

    return _ENGINE.sub(pinned, pipeline)

"""States of images that no build has made what a build would have stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tasks.adapters.git import Checkout
from tasks.adapters.registry.oci import OciRegistry
from tasks.core.repository import canonical
from tasks.flows.attest import Attester, ImageContents
from tests.support.fakes_images import a_subject


def attest_images(
    url: str, digests: Mapping[str, str], commit: str, environment: str, repository: str
) -> None:
    """State of images where they come from, and that they hold no packages.

    Args:
        url: the registry, and the path below which they are.
        digests: the images' digests, by name.
        commit: the full commit.
        environment: the environment.
        repository: the address of the repository.
    """
    subject = replace(
        a_subject(),
        name=environment,
        checkout=Checkout(commit, None),
        repository=canonical(repository),
    )
    attester = Attester(lambda reference, paths, login: {}, None, "urn:mautic-multidev:user:test")
    now = datetime.now(UTC)
    for name, digest in digests.items():
        attester.attest(
            OciRegistry(url), subject, name, digest, ImageContents([]), bases={}, started=now
        )

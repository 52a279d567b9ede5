"""Fixtures of the builds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.build_support import Site, forget_images, shrink, tiny_base
from tests.support.suite import Inv

if TYPE_CHECKING:
    import docker


@pytest.fixture(scope="module")
def base(engine: docker.DockerClient) -> Iterator[str]:
    """An image of one file that no registry knows."""
    reference = tiny_base(engine, f"base-{secrets.token_hex(4)}")
    yield reference
    engine.images.remove(reference, force=True)


@pytest.fixture
def site(
    checkout: Path, forking: Inv, registry: str, base: str, engine: docker.DockerClient
) -> Iterator[Site]:
    """A checkout with two tiny images, and a place in a registry of its own for them."""
    shrink(checkout)
    url = f"{registry}/t{secrets.token_hex(4)}"
    yield Site(checkout, forking, url, base)
    forget_images(engine, f"{url}/")

"""Base and runtime images: what a reference is right now, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.adapters.docker.engine import Engine
from tasks.adapters.docker.standins import STANDIN, Standins
from tasks.adapters.registry.oci import OciRegistry, RequestLimits, UnreachableError
from tasks.core.errors import RegistryError
from tasks.core.images.pins import LOCK
from tasks.core.images.reference import Reference, parse_reference

ImageSource = Literal["auto", "official", "standins"]

_PATIENCE = RequestLimits(connect=3.0, read=5.0, retries=0)
"""Short, because there are alternatives: the engine's own copy, or a stand-in."""


@dataclass(frozen=True)
class BaseImage:
    """An image that something is built on or run from.

    Attributes:
        reference: what to give to the builder or the engine, pinned where that is possible;
            empty for a stand-in that has yet to be made.
        digest: what the image is right now; empty for a stand-in that has yet to be made.
        origin: ``engine`` is the engine's own copy, used when the registry is out of reach.
        standin: the name of the stand-in, or empty.
    """

    reference: str
    digest: str
    origin: Literal["registry", "engine", "stand-in"]
    standin: str = ""


class BaseImages:
    """Resolves image references; an unreachable registry is tried once per run.

    Sources in order: the reference's own registry, the engine's own copy, the stand-in.

    Args:
        engine: has images of its own.
        source: ``official`` never takes a stand-in; ``standins`` takes one wherever there is one.
        warn: called once with the reason when stand-ins are used.
        pins: the digests of docker/images.lock by reference: an image that has one is no other.
    """

    def __init__(
        self,
        engine: Engine,
        standins: Standins,
        *,
        source: ImageSource,
        warn: Callable[[str], None],
        pins: Mapping[str, str] | None = None,
    ) -> None:
        self._engine = engine
        self._standins = standins
        self._source = source
        self._warn = warn
        self._pins = pins or {}
        self._warned = False
        self._found: dict[str, BaseImage] = {}
        self._registries: dict[str, OciRegistry] = {}
        self._unreachable: dict[str, UnreachableError] = {}

    @property
    def platform(self) -> str:
        """The engine's own platform, for which everything is built; errors as for the engine's."""
        return self._engine.platform

    def look(self, reference: str) -> BaseImage:
        """Return what an image is right now. Reads only.

        Args:
            reference: the image, e.g. ``debian:trixie-slim``.

        Raises:
            InputError: it is not an image reference.
            RegistryError: no source has it.
            EngineError: the engine cannot be reached.
        """
        if reference not in self._found:
            base = self._look(parse_reference(reference), reference)
            if not base.digest:
                return base
            self._found[reference] = base
        return self._found[reference]

    def resolve(self, reference: str) -> BaseImage:
        """Return what an image is right now; make a missing stand-in.

        Args:
            reference: the image, e.g. ``debian:trixie-slim``.

        Raises:
            InputError: it is not an image reference.
            RegistryError: no source has it.
            SuiteError: making the stand-in failed.
        """
        base = self.look(reference)
        if base.digest:
            return base
        made = _standin(base.standin, self._standins.image(base.standin))
        self._found[reference] = made
        return made

    def standin_in(self, base: BaseImage) -> bool:
        """Return True if what a registry has under a base's digest says that it is a stand-in.

        Raises:
            RegistryError: its registry cannot be reached, refused or failed, or has no such image.
        """
        parsed = parse_reference(base.reference)
        labels = self._registry(parsed.host).labels(parsed.repository, base.digest)
        return STANDIN in labels

    def _look(self, parsed: Reference, reference: str) -> BaseImage:
        if parsed.digest:
            return BaseImage(reference, parsed.digest, "registry")
        standin = self._standins.name_for(parsed) if self._source != "official" else None
        if standin and self._source == "standins":
            return self._stand_in(standin, "images.source is standins")
        pin = self._pins.get(reference)
        try:
            digest = self._ask(parsed, pin or parsed.wanted)
            absent = _no_image(parsed, reference, pin)
        except RegistryError as error:
            digest, absent = None, error
        if digest:
            return BaseImage(parsed.at(digest), digest, "registry")
        own = self._engine.image(reference)
        if own:
            start = f"{parsed.name}@{pin or ''}"
            pinned = next((at for at in own.digests if at.startswith(start)), None)
            if pinned:
                digest = pinned.rpartition("@")[2]
                return BaseImage(parsed.at(digest), digest, "engine")
            if not pin:
                # Made on this machine: no registry has a digest for it.
                return BaseImage(reference, own.id, "engine")
        if standin and isinstance(absent, UnreachableError):
            return self._stand_in(standin, f"{parsed.host} cannot be reached")
        raise absent

    def _ask(self, parsed: Reference, wanted: str) -> str | None:
        """Return the digest that a tag or digest has in its registry, or None if it has none."""
        host = parsed.host
        if host in self._unreachable:
            raise self._unreachable[host]
        try:
            return self._registry(host).digest(parsed.repository, wanted)
        except UnreachableError as error:
            self._unreachable[host] = error
            raise

    def _registry(self, host: str) -> OciRegistry:
        return self._registries.setdefault(host, OciRegistry(host, _PATIENCE))

    def _stand_in(self, name: str, why: str) -> BaseImage:
        if not self._warned:
            self._warned = True
            self._warn(f"{why}: using the stand-ins of docker/standins, not for production")
        return _standin(name, self._standins.find(name))


def _no_image(parsed: Reference, reference: str, pin: str | None) -> RegistryError:
    if pin:
        return RegistryError(
            f"the registry {parsed.host} does not have {reference} by its digest of {LOCK}, {pin}",
            hint="inv images.pin writes the digests of today; commit them",
        )
    return RegistryError(
        f"there is no image {reference}: its registry {parsed.host} does not know it",
        hint="is the name right? An image made on this machine must be in its engine",
    )


def _standin(name: str, reference: str | None) -> BaseImage:
    if reference is None:
        return BaseImage("", "", "stand-in", name)
    _, _, digest = reference.partition("@")
    # A stand-in that only the engine has no digest: the recipe's key takes its place.
    return BaseImage(reference, digest or reference.rpartition(":")[2], "stand-in", name)

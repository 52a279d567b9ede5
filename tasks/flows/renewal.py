"""Compares an image that was just built with the one before it, by what is stated of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.core.errors import RefusedError
from tasks.core.images.attestation import PROVENANCE, provenance_in
from tasks.core.images.packages import Package, PackageChange, package_changes
from tasks.flows.attest import (
    ExpectedSource,
    packages_in_bill,
    statements_of,
    verify_source,
)

if TYPE_CHECKING:
    from tasks.flows.registry_port import Registry


@dataclass(frozen=True)
class Difference:
    """How an image differs from the one before it.

    Attributes:
        former: the digest of the one before; empty if there is none.
        packages: the packages that differ.
        bases: base images that differ, by build argument: references before and after.
        unknown: why it cannot be said what differs, or an empty string.
    """

    former: str = ""
    packages: Sequence[PackageChange] = ()
    bases: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unknown: str = ""

    @property
    def is_none(self) -> bool:
        """Whether both images are known to hold the same packages on the same bases."""
        return bool(self.former) and not (self.packages or self.bases or self.unknown)

    def lines(self) -> Iterator[str]:
        """Yield a line for each thing that differs."""
        if self.unknown:
            yield f"what the image before held is unknown: {self.unknown}"
        for name, (before, after) in self.bases.items():
            yield f"{name} {before or 'was not there'} → {after or 'is gone'}"
        for one in self.packages:
            origin = " (security archive)" if one.is_security else ""
            yield f"{one.name} {one.before or 'was not there'} → {one.after or 'is gone'}{origin}"
        if self.is_none:
            yield "the same packages as before"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "former": self.former,
            "packages": [one.as_dict() for one in self.packages],
            "bases": {name: list(both) for name, both in self.bases.items()},
            "unknown": self.unknown,
        }


def difference(
    registry: Registry,
    name: str,
    former: str | None,
    *,
    packages: Sequence[Package],
    bases: Mapping[str, str],
    expected: ExpectedSource | None = None,
) -> Difference:
    """Return how an image differs from the one before it.

    Args:
        registry: where both are.
        name: the image.
        former: the digest of the one before, or None if there is none.
        packages: what the new image holds.
        bases: its base images' references by digest, by build argument.
        expected: what the one before must be stated to come from; None where that does not matter.

    Raises:
        RegistryError: the registry cannot be reached, refused or failed.
        AwsError: the key cannot be used.
    """
    if former is None:
        return Difference()
    try:
        stated = statements_of(registry, name, former, expected.signer if expected else None)
        reference = registry.reference(name, former)
        if expected:
            verify_source(name, reference, stated, expected)
        before, provenance = packages_in_bill(reference, stated), stated.get(PROVENANCE)
        old = provenance_in(provenance.predicate).bases if provenance else {}
    except (RefusedError, ValueError) as error:
        return Difference(former, unknown=str(error))
    if before is None or provenance is None:
        # Built before images stated anything: there is nothing to compare.
        return Difference()
    changed = {
        argument: (old.get(argument, ""), bases.get(argument, ""))
        for argument in sorted({*old, *bases})
        if old.get(argument) != bases.get(argument)
    }
    return Difference(former, package_changes(before, packages), changed)

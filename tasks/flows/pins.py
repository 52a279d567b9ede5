"""Pins the images of others: asks their registries for the digests of today."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tasks.core.errors import RegistryError
from tasks.core.images.pins import Pin


def plan_pins(
    references: Iterable[str], pins: Mapping[str, str], ask: Callable[[str], str | None]
) -> list[Pin]:
    """Return what happens to every image of the lock, and to those that it lacks.

    Args:
        references: the images that are used, by tag.
        pins: the lock's digests by reference.
        ask: returns an image's digest in its registry, or None when that does not have it.
    """
    wanted = list(references)
    found = [_pin(reference, pins.get(reference, ""), ask) for reference in wanted]
    return found + [Pin(name, pins[name], "") for name in sorted(pins.keys() - set(wanted))]


def pinned(plan: Iterable[Pin]) -> dict[str, str]:
    """Return the lock's digests by reference, once the plan is carried out."""
    return {pin.reference: pin.after for pin in plan if pin.after}


def _pin(reference: str, before: str, ask: Callable[[str], str | None]) -> Pin:
    try:
        digest = ask(reference)
    except RegistryError as error:
        return Pin(reference, before, before, error.message)
    if not digest:
        return Pin(reference, before, before, "its registry does not have it")
    return Pin(reference, before, digest)

"""The lock of public images: read by whatever resolves images, moved by `inv images.pin`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.adapters.files.whole import write_whole
from tasks.adapters.registry.oci import OciRegistry, UnreachableError
from tasks.app.paths import PROJECT, ROOT
from tasks.core.errors import RegistryError
from tasks.core.images.pins import (
    LOCK,
    PIPELINE,
    Pin,
    engine_image,
    format_pins,
    parse_pins,
    public_images,
    with_engine_digest,
)
from tasks.core.images.reference import parse_reference
from tasks.flows.pins import pinned, plan_pins

if TYPE_CHECKING:
    from tasks.app.session import Session


def read_pins(root: Path) -> dict[str, str]:
    """Return the lock's digests by reference; none without a lock.

    Raises:
        SettingsError: it cannot be read.
    """
    lock = root / LOCK
    return parse_pins(lock.read_text()) if lock.exists() else {}


def present_pins() -> dict[str, str]:
    """Return the digests of the project's lock, or of the suite's where it has none.

    Raises:
        SettingsError: the lock cannot be read.
    """
    return read_pins(PROJECT if (PROJECT / LOCK).exists() else ROOT)


def write_pins(root: Path, plan: Sequence[Pin]) -> None:
    """Write the lock, and the pipeline's image, each in one step, unless nothing has changed."""
    pins = pinned(plan)
    (root / LOCK).parent.mkdir(exist_ok=True)
    _write(root / LOCK, format_pins(pins))
    pipeline = root / PIPELINE
    if pipeline.exists():
        _write(pipeline, with_engine_digest(pipeline.read_text(), pins))


def check_pins(plan: Sequence[Pin]) -> None:
    """Check that all images have a digest of today.

    Raises:
        RegistryError: some have none; it says why.
    """
    causes: dict[str, list[str]] = {}
    for pin in plan:
        if pin.failure:
            causes.setdefault(pin.failure, []).append(pin.reference)
    if causes:
        raise RegistryError(
            f"{sum(map(len, causes.values()))} of {len(plan)} images cannot be pinned anew",
            output="\n".join(f"{', '.join(names)}: {why}" for why, names in causes.items()),
            hint="run inv images.pin where their registries can be reached",
        )


def plan(session: Session) -> list[Pin]:
    """Return what happens to each image's digest; asks the registries."""
    pipeline = PROJECT / PIPELINE
    engine = engine_image(pipeline.read_text()) if pipeline.exists() else ()
    wanted = sorted({*public_images(session.settings), *engine})
    return plan_pins(wanted, present_pins(), _registries())


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        write_whole(path, text)


def _registries() -> Callable[[str], str | None]:
    """Return a function that asks an image's registry for its digest; a dead one is asked once."""
    known: dict[str, OciRegistry] = {}
    dead: dict[str, UnreachableError] = {}

    def ask(reference: str) -> str | None:
        parsed = parse_reference(reference)
        if parsed.host in dead:
            raise dead[parsed.host]
        registry = known.setdefault(parsed.host, OciRegistry(parsed.host))
        try:
            return registry.digest(parsed.repository, parsed.wanted)
        except UnreachableError as error:
            dead[parsed.host] = error
            raise

    return ask

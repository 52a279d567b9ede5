"""Reads what the registry's scanner has found in images, and holds a deploy up by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from tasks.adapters.registry.ecr_scan import ENDED, WAITING, ImageScan
from tasks.adapters.wait import wait_until
from tasks.core.errors import RegistryError, VulnerableError
from tasks.core.images.findings import JudgedFinding, Threshold

if TYPE_CHECKING:
    from tasks.adapters.terminal.console import Activity, Work
    from tasks.core.images.findings import Vulnerability

COLUMNS = ("severity", "image", "package", "version", "fixed in", "finding", "note")

DEADLINE_SECONDS = 900.0
"""A scan of an image of this size takes a minute or two; the first one of a day may queue."""
POLL_SECONDS = 5.0


class Scanner(Protocol):
    """A registry that scans."""

    def reference(self, repository: str, digest: str) -> str:
        """Return the reference of an image by its digest."""

    def scan(self, repository: str, digest: str) -> ImageScan:
        """Return the scan of an image as it is now."""

    def start_scan(self, repository: str, digest: str) -> None:
        """Have an image scanned that never was."""


def scan_images(scanner: Scanner, images: Mapping[str, str], work: Work) -> list[Vulnerability]:
    """Return what was found in images; wait for scans that are not over.

    Args:
        scanner: where they are.
        images: their digests, by name.
        work: shows a long piece of work while it runs.

    Raises:
        RegistryError: an image cannot be scanned.
        DeadlineError: a scan takes too long.
        AwsError: AWS refused, or cannot be reached.
    """
    found: list[Vulnerability] = []
    for name, digest in images.items():
        with work(f"scan of {name}") as activity:
            scan = _ended(scanner, name, digest, activity)
            activity.outcome = f"{len(scan.findings)} findings"
        found += scan.findings
    return found


def _ended(scanner: Scanner, name: str, digest: str, activity: Activity) -> ImageScan:
    """Return the scan of one image when it is over."""
    shown = ""
    reference = scanner.reference(name, digest)

    def look() -> ImageScan | None:
        nonlocal shown
        scan = scanner.scan(name, digest)
        if not scan.status and not shown:
            scanner.start_scan(name, digest)
        if scan.status not in {*ENDED, *WAITING, ""}:
            raise RegistryError(
                f"{reference} was not scanned: {scan.status}: {scan.description}",
                hint="ECR scans images of Debian; see the registry's scanning configuration",
            )
        if scan.status in ENDED:
            return scan
        state = scan.status or "just begun"
        if state != shown:
            shown = state
            activity.say(f"{name}: the scan is {state}")
        return None

    return wait_until(
        f"the scan of {reference} is not over",
        look,
        deadline_seconds=DEADLINE_SECONDS,
        poll_seconds=POLL_SECONDS,
    )


def refuse_vulnerable(
    environment: str, judged: Sequence[JudgedFinding], threshold: Threshold
) -> None:
    """Refuse images with findings that hold up a deploy.

    Raises:
        VulnerableError: there is one.
    """
    blocking = [one.finding for one in judged if one.blocks]
    if not blocking:
        return
    fixed = sum(bool(one.fixed) for one in blocking)
    raise VulnerableError(
        f"{environment}: {len(blocking)} findings of severity {threshold} or above "
        f"({_per_image(blocking)})",
        hint=f"{f'{fixed} are fixed already: ' if fixed else ''}inv build takes the newest "
        "packages of Debian; one that can wait goes into `scan_ignore`, with a day and a reason",
    )


def _per_image(findings: Iterable[Vulnerability]) -> str:
    counts: dict[str, int] = {}
    for one in findings:
        counts[one.image] = counts.get(one.image, 0) + 1
    return ", ".join(f"{name} {count}" for name, count in counts.items())

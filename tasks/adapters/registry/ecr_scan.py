"""ECR's scans of images, as basic scanning and enhanced scanning (Amazon Inspector) report them.

The answers are those of
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.images.findings import Vulnerability

ENDED = frozenset({"ACTIVE", "COMPLETE"})
"""``ACTIVE`` is what enhanced scanning calls an image that it has scanned, and goes on to scan."""
WAITING = frozenset({"IN_PROGRESS", "PENDING"})


@dataclass(frozen=True)
class ImageScan:
    """The scan of one image.

    Attributes:
        status: as ECR calls it; empty if no scan was begun.
        description: ECR's own words about that.
    """

    status: str = ""
    description: str = ""
    findings: tuple[Vulnerability, ...] = ()


def scan_in(image: str, pages: list[Mapping[str, Any]]) -> ImageScan:
    """Return the scan in the pages of an answer.

    Args:
        image: what the image is called in findings.
        pages: one at least.
    """
    status = pages[0].get("imageScanStatus", {})
    return ImageScan(
        status.get("status", ""),
        status.get("description", ""),
        tuple(
            finding
            for page in pages
            for finding in _findings(image, page.get("imageScanFindings", {}))
        ),
    )


def _findings(image: str, found: Mapping[str, Any]) -> Iterator[Vulnerability]:
    for basic in found.get("findings", []):
        attributes = {one["key"]: one.get("value", "") for one in basic.get("attributes", [])}
        yield Vulnerability(
            image,
            basic["name"],
            basic.get("severity", "UNDEFINED").lower(),
            attributes.get("package_name", ""),
            attributes.get("package_version", ""),
            url=basic.get("uri", ""),
        )
    for enhanced in found.get("enhancedFindings", []):
        # Inspector keeps those that were suppressed, or have been closed.
        if enhanced.get("status", "ACTIVE") != "ACTIVE":
            continue
        details = enhanced.get("packageVulnerabilityDetails", {})
        severity = enhanced.get("severity", "UNTRIAGED").lower()
        for package in details.get("vulnerablePackages") or [{}]:
            fixed = package.get("fixedInVersion", "")
            yield Vulnerability(
                image,
                details.get("vulnerabilityId") or enhanced.get("title", ""),
                "undefined" if severity == "untriaged" else severity,
                package.get("name", ""),
                package.get("version", ""),
                "" if fixed == "NotAvailable" else fixed,
                details.get("sourceUrl", ""),
            )

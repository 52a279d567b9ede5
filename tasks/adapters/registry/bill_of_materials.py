"""Writes and reads an image's bill of materials in CycloneDX's format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tasks.core.images.packages import Package

_ARCHIVE = "mautic-multidev:archive"
"""A component's property: the archive of Debian's that had it, where that is the security one."""


def write_bill(
    image: str, digest: str, packages: Iterable[Package], *, release: str = ""
) -> dict[str, Any]:
    """Return an image's bill of materials, the same for the same image but for its time.

    Args:
        image: the image's full repository.
        digest: its digest.
        packages: what is in it.
        release: the code name of its Debian release, or an empty string.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    bill = Bom(serial_number=uuid5(NAMESPACE_URL, f"{image}@{digest}"))
    whole = Component(name=image, type=ComponentType.CONTAINER, version=digest, bom_ref=digest)
    bill.metadata.component = whole
    parts = []
    for package in packages:
        group, _, name = package.name.rpartition("/")
        qualifiers = {
            "arch": package.architecture,
            "distro": release if package.kind == "deb" else "",
            "upstream": package.source,
        }
        url = PackageURL(
            package.kind,
            "debian" if package.kind == "deb" else group,
            name,
            package.version,
            {key: value for key, value in qualifiers.items() if value},
        )
        archive = [Property(name=_ARCHIVE, value="security")] if package.is_security else []
        parts.append(
            Component(
                name=name,
                group=group or None,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=url,
                bom_ref=url.to_string(),
                properties=archive,
            )
        )
    bill.components.update(parts)
    bill.register_dependency(whole, parts)
    written: dict[str, Any] = json.loads(JsonV1Dot6(bill).output_as_string())
    return written


def read_bill(bill: Mapping[str, Any]) -> list[Package]:
    """Return the packages in a bill of materials that this suite wrote.

    Raises:
        ValueError: it is none.
    """
    from packageurl import PackageURL

    try:
        if bill["bomFormat"] != "CycloneDX":
            raise ValueError(f"it is of the format {bill['bomFormat']!r}")
        # CycloneDX leaves an empty list out.
        listed = bill.get("components", [])
        found = [
            (PackageURL.from_string(one["purl"]), _is_security(one.get("properties", [])))
            for one in listed
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from error
    return sorted(
        Package(
            "deb" if url.type == "deb" else "composer",
            url.name if url.type == "deb" else f"{url.namespace}/{url.name}",
            url.version or "",
            url.qualifiers.get("upstream", ""),
            url.qualifiers.get("arch", ""),
            is_security,
        )
        for url, is_security in found
    )


def _is_security(properties: Iterable[Mapping[str, Any]]) -> bool:
    return any(one["name"] == _ARCHIVE and one["value"] == "security" for one in properties)

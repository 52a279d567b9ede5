"""The packages in an image, as Debian's and Composer's own databases list them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tasks.core.errors import RegistryError

DEBIAN_STATUS = "var/lib/dpkg/status"
DEBIAN_RELEASE = "usr/lib/os-release"
COMPOSER_INSTALLED = "var/www/html/vendor/composer/installed.json"
SECURITY_ARCHIVE = "usr/share/mautic-multidev/security-archive"
"""Names and versions of the packages that Debian's security archive had when they were installed;
docker/apt/install.sh writes it."""

DATABASES = (DEBIAN_STATUS, DEBIAN_RELEASE, COMPOSER_INSTALLED, SECURITY_ARCHIVE)
"""The files of an image that say what is in it; an image may lack any of them."""

PackageKind = Literal["composer", "deb"]


@dataclass(frozen=True, order=True)
class Package:
    """One installed package.

    Attributes:
        name: with Composer its vendor, too: ``symfony/console``.
        source: Debian's source package, by which its security tracker knows it; empty if it has
            the same name.
        architecture: Debian's, e.g. ``amd64``; empty with Composer.
        is_security: whether Debian's security archive has this version.
    """

    kind: PackageKind
    name: str
    version: str
    source: str = ""
    architecture: str = ""
    is_security: bool = False


@dataclass(frozen=True)
class PackageChange:
    """A package that two images do not have in the same version.

    Attributes:
        before: the old version; empty if the package is new.
        after: the new version; empty if the package is gone.
        is_security: whether Debian's security archive has the new version.
    """

    kind: PackageKind
    name: str
    before: str
    after: str
    is_security: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON-ready data."""
        return asdict(self)


def debian_packages(status: str) -> list[Package]:
    """Return the installed packages in dpkg's database.

    The format is that of deb-control(5); what was removed stays in it with another status.
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", status):
        fields = dict(re.findall(r"^([A-Za-z-]+): ?(.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            # The source's version follows in brackets where it is another one.
            source = fields.get("Source", "").partition(" ")[0]
            found.append(
                Package(
                    "deb",
                    fields["Package"],
                    fields["Version"],
                    "" if source == fields["Package"] else source,
                    fields.get("Architecture", ""),
                )
            )
    return sorted(found)


def composer_packages(installed: str) -> list[Package]:
    """Return the packages in Composer's ``installed.json``, of Composer 1 and 2.

    Raises:
        RegistryError: it cannot be read.
    """
    try:
        found: Any = json.loads(installed)
        packages = found["packages"] if isinstance(found, dict) else found
        return sorted(
            Package("composer", str(one["name"]), str(one["version"])) for one in packages
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError(f"the image's /{COMPOSER_INSTALLED} cannot be read: {error}") from error


def release_of(os_release: str) -> str:
    """Return the code name of a Debian release in os-release(5), or an empty string."""
    named = re.search(r'^VERSION_CODENAME="?([a-z]+)"?$', os_release, re.MULTILINE)
    return named[1] if named else ""


def packages_in(files: Mapping[str, str]) -> list[Package]:
    """Return all packages that an image's databases list.

    Args:
        files: the text of each file of ``DATABASES`` that the image has.

    Raises:
        RegistryError: one cannot be read.
    """
    security = {
        tuple(line.split()) for line in files.get(SECURITY_ARCHIVE, "").splitlines() if line
    }
    found = [
        replace(one, is_security=(one.name, one.version) in security)
        for one in debian_packages(files.get(DEBIAN_STATUS, ""))
    ]
    if installed := files.get(COMPOSER_INSTALLED):
        found += composer_packages(installed)
    return found


def package_changes(before: Iterable[Package], after: Iterable[Package]) -> list[PackageChange]:
    """Return the packages that are new, gone or of another version."""
    old, new = ({(one.kind, one.name): one for one in packages} for packages in (before, after))
    changes = []
    for key in sorted({*old, *new}):
        absent = Package(*key, version="")
        was, now = old.get(key, absent), new.get(key, absent)
        if was.version != now.version:
            changes.append(PackageChange(*key, was.version, now.version, now.is_security))
    return changes

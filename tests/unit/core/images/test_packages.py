"""Which packages an image holds, and how two images differ."""

from __future__ import annotations

import json

import pytest

from tasks.core.errors import RegistryError
from tasks.core.images.packages import (
    COMPOSER_INSTALLED,
    DEBIAN_STATUS,
    SECURITY_ARCHIVE,
    Package,
    PackageChange,
    composer_packages,
    debian_packages,
    package_changes,
    packages_in,
    release_of,
)

STATUS = """\
Package: libssl3t64
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.5.1-1+deb13u1
Description: Secure Sockets Layer toolkit
 Version: of no meaning in a continued line
 .
 more

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: base-files
Status: hold ok installed
Architecture: all
Version: 13.8

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19+b1
"""
DEBIAN = [
    Package("deb", "base-files", "13.8", "", "all"),
    Package("deb", "libgcc-s1", "14.2.0-19+b1", "gcc-14", "amd64"),
    Package("deb", "libssl3t64", "3.5.1-1+deb13u1", "openssl", "amd64"),
]
CONSOLE = Package("composer", "symfony/console", "v7.3.1")


def test_what_dpkg_has_installed() -> None:
    assert debian_packages(STATUS) == DEBIAN
    assert debian_packages("") == []


@pytest.mark.parametrize("version", [1, 2])
def test_what_composer_has_installed(version: int) -> None:
    packages = [{"name": CONSOLE.name, "version": CONSOLE.version, "type": "library"}]
    text = json.dumps(packages if version == 1 else {"packages": packages, "dev": False})
    assert composer_packages(text) == [CONSOLE]
    files = {DEBIAN_STATUS: STATUS, COMPOSER_INSTALLED: text}
    assert packages_in(files) == [*DEBIAN, CONSOLE]


def test_what_the_security_archive_has_is_marked_in_this_version_alone() -> None:
    archive = "libssl3t64 3.5.1-1+deb13u1\nbase-files 13.7\n"
    found = packages_in({DEBIAN_STATUS: STATUS, SECURITY_ARCHIVE: archive})
    assert [one.name for one in found if one.is_security] == ["libssl3t64"]
    (change,) = package_changes([*DEBIAN[:2], Package("deb", "libssl3t64", "3.5.1-1")], found)
    assert (change.before, change.after, change.is_security) == ("3.5.1-1", "3.5.1-1+deb13u1", True)


@pytest.mark.parametrize("text", ["{", "[1]", '{"packages": [{}]}', "null"])
def test_a_list_of_composer_that_is_none_is_told(text: str) -> None:
    with pytest.raises(RegistryError, match=f"/{COMPOSER_INSTALLED} cannot be read"):
        packages_in({COMPOSER_INSTALLED: text})


def test_an_image_without_packages_has_none() -> None:
    assert packages_in({}) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [("VERSION_CODENAME=trixie\n", "trixie"), ('ID=x\nVERSION_CODENAME="sid"', "sid"), ("", "")],
)
def test_a_release_is_known_by_its_code_name(text: str, name: str) -> None:
    assert release_of(text) == name


def test_what_differs_between_two_images() -> None:
    newer = Package("deb", "libssl3t64", "3.5.1-1+deb13u2", "openssl", "amd64")
    assert package_changes(DEBIAN, [newer, *DEBIAN[1:2], CONSOLE]) == [
        PackageChange("composer", "symfony/console", "", "v7.3.1"),
        PackageChange("deb", "base-files", "13.8", ""),
        PackageChange("deb", "libssl3t64", "3.5.1-1+deb13u1", "3.5.1-1+deb13u2"),
    ]
    assert package_changes(DEBIAN, reversed(DEBIAN)) == []

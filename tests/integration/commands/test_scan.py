"""inv scan, on moto's ECR: what it has found, and what that holds up."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.suite import Inv, git

OCI = "application/vnd.oci.image.manifest.v1+json"
BASIC = {
    "findings": [
        {
            "name": "CVE-2026-1",
            "severity": "HIGH",
            "uri": "https://security-tracker.debian.org/tracker/CVE-2026-1",
            "attributes": [
                {"key": "package_name", "value": "openssl"},
                {"key": "package_version", "value": "3.5.1-1"},
            ],
        },
        {"name": "CVE-2026-2", "severity": "LOW"},
    ]
}
ENHANCED = {
    "enhancedFindings": [
        {
            "severity": "CRITICAL",
            "status": "ACTIVE",
            "packageVulnerabilityDetails": {
                "vulnerabilityId": "CVE-2026-3",
                "vulnerablePackages": [
                    {"name": "glibc", "version": "2.41", "fixedInVersion": "2.41-12+deb13u2"},
                    {"name": "twig/twig", "version": "3.0", "fixedInVersion": "NotAvailable"},
                ],
            },
        },
        {"severity": "CRITICAL", "status": "SUPPRESSED", "title": "CVE-2026-4"},
    ]
}

Scan = Callable[..., subprocess.CompletedProcess[str]]


class Place:
    """A path in moto's ECR with the images of what is checked out."""

    def __init__(self, aws: Moto, checkout: Path) -> None:
        self.path = f"t{secrets.token_hex(4)}"
        self.aws, self.ecr = aws, aws.client("ecr")
        tag = git(checkout, "rev-parse", "HEAD")[:8]
        for name in ("mautic", "nginx"):
            self.ecr.create_repository(repositoryName=f"{self.path}/{name}")
            self.ecr.put_image(
                repositoryName=f"{self.path}/{name}",
                imageManifest=json.dumps({"schemaVersion": 2, "mediaType": OCI, "of": self.path}),
                imageManifestMediaType=OCI,
                imageTag=tag,
            )

    def finds(self, name: str, found: dict[str, Any], status: str = "COMPLETE") -> None:
        """Decide what the next look at an image's scan shows."""
        result = {
            "registryId": ACCOUNT,
            "repositoryName": f"{self.path}/{name}",
            "imageId": {},
            "imageScanStatus": {"status": status, "description": "of the test"},
            "imageScanFindings": found,
        }
        requests.post(
            f"{self.aws.url}/moto-api/static/ecr/scan-finding-results",
            json={"results": [result], "region": REGION, "account_id": ACCOUNT},
            timeout=30,
        ).raise_for_status()


@pytest.fixture
def place(aws: Moto, checkout: Path) -> Iterator[Place]:
    made = Place(aws, checkout)
    yield made
    for name in ("mautic", "nginx"):
        made.ecr.delete_repository(repositoryName=f"{made.path}/{name}", force=True)


@pytest.fixture
def scan(place: Place, aws: Moto, inv: Inv, checkout: Path) -> Scan:
    """Runs `inv scan`."""

    def run(*args: str, **own: object) -> subprocess.CompletedProcess[str]:
        url = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{place.path}"
        local = {"registry": {"kind": "ecr", "url": url}, **own}
        settings = {"environments": {"local": local}}
        return inv(checkout, "scan", *args, settings=settings, env=aws.variables())

    return run


def test_findings_hold_up_a_deploy_until_they_are_fixed_or_may_wait(
    place: Place, scan: Scan
) -> None:
    place.finds("mautic", ENHANCED, "ACTIVE")
    place.finds("nginx", BASIC)
    done = scan("--format", "json")
    assert done.returncode == 5, done.stderr
    assert "local: 3 findings of severity high or above (mautic 2, nginx 1)" in done.stderr
    rows = [
        (one["severity"], one["image"], one["package"], one["version"], one["fixed"], one["id"])
        for one in json.loads(done.stdout)
    ]
    assert rows == [
        ("critical", "mautic", "glibc", "2.41", "2.41-12+deb13u2", "CVE-2026-3"),
        ("critical", "mautic", "twig/twig", "3.0", "", "CVE-2026-3"),
        ("high", "nginx", "openssl", "3.5.1-1", "", "CVE-2026-1"),
    ]
    assert scan("--severity", "critical").returncode == 5
    ignored = [f"CVE-2026-{number} until 2999-12-31: not used here" for number in (1, 3)]
    done = scan(scan_ignore=ignored)
    assert done.returncode == 0, done.stderr
    assert "ignored until 2999-12-31: not used here" in " ".join(done.stdout.split())
    assert scan("--severity", "low", scan_ignore=ignored).returncode == 5
    over = [ignored[0], "CVE-2026-3 until 2020-12-31: not used here"]
    assert scan(scan_ignore=over).returncode == 5


def test_images_without_findings_are_fine(place: Place, scan: Scan) -> None:
    for name in ("mautic", "nginx"):
        place.finds(name, {})
    done = scan()
    assert done.returncode == 0, done.stderr
    assert "local: no findings of high or above" in done.stderr


def test_an_image_that_cannot_be_scanned_is_no_good_one(place: Place, scan: Scan) -> None:
    place.finds("mautic", {}, "UNSUPPORTED_IMAGE")
    done = scan()
    assert done.returncode == 1
    assert "was not scanned: UNSUPPORTED_IMAGE: of the test" in done.stderr


def test_what_cannot_be_asked_is_told(scan: Scan, inv: Inv, checkout: Path) -> None:
    assert scan("--severity", "terrible").returncode == 2
    done = inv(checkout, "scan", settings={})
    assert done.returncode == 2
    assert "it reads ECR's scans" in done.stderr
    done = inv(checkout, "scan", settings={"environments": {"local": {"scan_severity": "none"}}})
    assert (done.returncode, done.stdout) == (0, "")
    assert "skipped, by scan_severity: none" in done.stderr
    done = scan(scan_ignore=["CVE-2026-1"])
    assert done.returncode == 2
    assert "scan_ignore" in done.stderr
    missing = scan("--tag", "absent")
    assert missing.returncode == 1
    assert "there is no image absent" in missing.stderr

"""What a build states of production's images, and what a deploy to production wants stated."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from tasks.adapters.registry.attachments import Attachment
from tasks.core.errors import RefusedError
from tasks.core.images.attestation import (
    BILL_OF_MATERIALS,
    ENVELOPE,
    PROVENANCE,
    Envelope,
    Statement,
    envelope_in,
)
from tasks.core.images.packages import (
    COMPOSER_INSTALLED,
    DEBIAN_RELEASE,
    DEBIAN_STATUS,
    SECURITY_ARCHIVE,
    Package,
)
from tasks.flows.attest import (
    Attester,
    ExpectedSource,
    packages_in_bill,
    statements_of,
    verify_images,
)
from tests.support.fakes_images import COMMIT, FakeRegistry, a_subject, an_environment, image_digest

FILES = {
    DEBIAN_STATUS: "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12+deb13u1\n"
    "Source: glibc\nArchitecture: amd64\n",
    DEBIAN_RELEASE: "VERSION_CODENAME=trixie\n",
    SECURITY_ARCHIVE: "libc6 2.41-12+deb13u1\n",
    COMPOSER_INSTALLED: '{"packages": [{"name": "symfony/console", "version": "v7.3.1"}]}',
}
BASES = {"DEBIAN_IMAGE": f"debian:trixie-slim@sha256:{'b' * 64}"}
SUBJECT = a_subject(an_environment(protected=True))
DIGEST = image_digest("mautic")
IMAGES = {"mautic": DIGEST}
EXPECTED = ExpectedSource("dev", SUBJECT.repository, COMMIT)


@dataclass
class Key:
    """A key that signs; only another one with the same secret verifies that."""

    name: str = "ours"
    secret: bytes = b"secret"

    def sign(self, message: bytes) -> bytes:
        return hmac.digest(self.secret, message, "sha256")

    def verifies(self, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(signature, self.sign(message))


def read(reference: str, paths: tuple[str, ...], login: Mapping[str, str]) -> dict[str, str]:
    assert reference.endswith(f"@{DIGEST}")
    return {path: FILES[path] for path in paths if path in FILES}


@pytest.fixture
def registry() -> FakeRegistry:
    """A registry with one image."""
    registry = FakeRegistry()
    registry.push("mautic", "1a2b3c4d", DIGEST)
    return registry


def attest(registry: FakeRegistry, key: Key | None = None) -> list[Package]:
    attester = Attester(read, key, "https://example.org/a/b/-/runners/7", parameters={"php": "8"})
    contents = attester.contents(registry, "mautic", DIGEST)
    now = datetime.now(UTC)
    attester.attest(registry, SUBJECT, "mautic", DIGEST, contents, bases=BASES, started=now)
    return contents.packages


def packages_of(registry: FakeRegistry) -> list[Package] | None:
    stated = statements_of(registry, "mautic", DIGEST, None)
    return packages_in_bill(registry.reference("mautic", DIGEST), stated)


def test_what_is_stated_of_an_image_is_what_a_deploy_wants(registry: FakeRegistry) -> None:
    stated = attest(registry)
    found = verify_images(registry, IMAGES, EXPECTED)["mautic"]
    assert (found.commit, found.bases, found.parameters) == (COMMIT, BASES, {"php": "8"})
    assert found.started <= found.finished
    packages = packages_of(registry) or []
    assert packages == sorted(stated)
    assert [(one.kind, one.name, one.version, one.source) for one in packages] == [
        ("composer", "symfony/console", "v7.3.1", ""),
        ("deb", "libc6", "2.41-12+deb13u1", "glibc"),
    ]


def test_an_image_without_packages_has_a_bill_of_none(registry: FakeRegistry) -> None:
    attester = Attester(lambda reference, paths, login: {}, None, "urn:x")
    now = datetime.now(UTC)
    contents = attester.contents(registry, "mautic", DIGEST)
    attester.attest(registry, SUBJECT, "mautic", DIGEST, contents, bases=BASES, started=now)
    verify_images(registry, IMAGES, EXPECTED)
    assert packages_of(registry) == []


def test_the_bill_of_materials_names_packages_as_scanners_do(registry: FakeRegistry) -> None:
    """https://github.com/package-url/purl-spec, the types deb and composer."""
    attest(registry)
    bill = statements_of(registry, "mautic", DIGEST, None)[BILL_OF_MATERIALS].predicate
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == DIGEST
    assert {one["purl"] for one in bill["components"]} == {
        "pkg:composer/symfony/console@v7.3.1",
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=trixie&upstream=glibc",
    }


def test_an_image_of_which_nothing_is_stated_is_refused(registry: FakeRegistry) -> None:
    """The attack: push an image of one's own, and move production's tag to it."""
    with pytest.raises(RefusedError, match=r"dev is protected: .*it has no provenance"):
        verify_images(registry, IMAGES, EXPECTED)
    assert packages_of(registry) is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"commit": "0" * 40}, f"its commit is {COMMIT}, and must be {'0' * 40}"),
        ({"repository": "https://example.org/c"}, "its repository is https://example.org/a/b, and"),
        ({"environment": "prod"}, "its environment is dev, and must be prod"),
    ],
)
def test_an_image_from_elsewhere_is_refused(
    registry: FakeRegistry, change: dict[str, str], what: str
) -> None:
    """The attack: an image of another commit, repository or environment, with all its own."""
    attest(registry)
    with pytest.raises(RefusedError, match=what):
        verify_images(registry, IMAGES, replace(EXPECTED, **change))  # type: ignore[arg-type]


def test_nginx_is_not_deployed_as_mautic(registry: FakeRegistry) -> None:
    attest(registry)
    registry.push("nginx", "1a2b3c4d", DIGEST)
    registry.files["nginx", DIGEST] = registry.files["mautic", DIGEST]
    with pytest.raises(RefusedError, match="its image is mautic, and must be nginx"):
        verify_images(registry, {"nginx": DIGEST}, EXPECTED)


def test_what_is_stated_of_another_image_is_refused(registry: FakeRegistry) -> None:
    """The attack: copy what is attached to the right image to an image of one's own."""
    attest(registry, Key())
    other = image_digest("foreign")
    registry.push("mautic", "1a2b3c4d", other)
    registry.files["mautic", other] = registry.files["mautic", DIGEST]
    with pytest.raises(RefusedError, match=f"is stated of {DIGEST}"):
        verify_images(registry, {"mautic": other}, replace(EXPECTED, signer=Key()))


def test_an_image_that_the_key_has_signed_is_taken(registry: FakeRegistry) -> None:
    attest(registry, Key())
    verify_images(registry, IMAGES, replace(EXPECTED, signer=Key()))
    # A key that is not asked for is nobody's hindrance.
    verify_images(registry, IMAGES, EXPECTED)


@pytest.mark.parametrize("key", [None, Key("ours", b"another")])
def test_what_the_key_has_not_signed_is_refused(registry: FakeRegistry, key: Key | None) -> None:
    """The attack: whoever may push to the registry writes statements, with the key's name."""
    attest(registry, key)
    with pytest.raises(RefusedError, match="is not signed by ours"):
        verify_images(registry, IMAGES, replace(EXPECTED, signer=Key()))


def test_a_changed_statement_is_not_what_was_signed(registry: FakeRegistry) -> None:
    attest(registry, Key())
    first, second = registry.files["mautic", DIGEST]
    envelope = envelope_in(first.content)
    forged = Envelope(envelope.payload.replace(b"dev", b"prod"), envelope.signatures)
    changed = Attachment(first.kind, forged.text(), first.annotations)
    registry.attach("mautic", DIGEST, [changed, second])
    with pytest.raises(RefusedError, match="is not signed by ours"):
        verify_images(registry, IMAGES, replace(EXPECTED, signer=Key()))


@pytest.mark.parametrize("kind", [PROVENANCE, BILL_OF_MATERIALS])
@pytest.mark.parametrize("predicate", [None, {}, {"bomFormat": "CycloneDX", "components": 7}])
def test_what_is_missing_or_makes_no_sense_is_refused(
    registry: FakeRegistry, kind: str, predicate: dict[str, object] | None
) -> None:
    attest(registry)
    stated = statements_of(registry, "mautic", DIGEST, None)
    if predicate is None:
        del stated[kind]
    else:
        stated[kind] = Statement("x", DIGEST, kind, predicate)
    files = [Attachment(ENVELOPE, Envelope(one.payload()).text()) for one in stated.values()]
    registry.attach("mautic", DIGEST, files)
    with pytest.raises(RefusedError, match=r"it has no |makes no sense"):
        verify_images(registry, IMAGES, EXPECTED)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_what_is_attached_and_is_no_statement_is_refused(
    registry: FakeRegistry, content: bytes
) -> None:
    registry.attach("mautic", DIGEST, [Attachment("text/plain", content)])
    with pytest.raises(RefusedError, match=r"what is stated of .* makes no sense"):
        verify_images(registry, IMAGES, EXPECTED)


def test_no_secret_of_a_build_is_stated(registry: FakeRegistry) -> None:
    """Of a build's variables only those named are stated: one may hold a password."""
    attest(registry)
    stated = statements_of(registry, "mautic", DIGEST, None)[PROVENANCE].predicate
    given = stated["buildDefinition"]["externalParameters"]
    assert set(given) == {"environment", "parameters", "source", "target"}
    assert set(given["parameters"]) == {"php"}
    assert "PIP_INDEX_URL" not in json.dumps(stated)

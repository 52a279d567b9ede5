"""States of a protected environment's images where they come from and what is in them.

A build attaches both statements to each image, and a deploy reads them before anything is changed.
What that proves, and what it does not: docs/security.md, "Supply chain".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from tasks.adapters.registry.attachments import Attachment
from tasks.adapters.registry.bill_of_materials import read_bill, write_bill
from tasks.core.errors import RefusedError
from tasks.core.images.attestation import (
    BILL_OF_MATERIALS,
    ENVELOPE,
    PROVENANCE,
    Envelope,
    Provenance,
    Statement,
    envelope_in,
    provenance_in,
)
from tasks.core.images.packages import (
    DATABASES,
    DEBIAN_RELEASE,
    Package,
    packages_in,
    release_of,
)

if TYPE_CHECKING:
    from tasks.flows.build import BuildSubject
    from tasks.flows.registry_port import Registry

_KIND = "predicateType"
_SIGNATURE = "dev.cosignproject.cosign/signature"
"""Annotations by which cosign knows an attestation."""

ReadFiles = Callable[[str, tuple[str, ...], Mapping[str, str]], Mapping[str, str]]
"""Returns the text of an image's files: takes its reference, their paths, and docker's login."""


class Signer(Protocol):
    """A key that signs."""

    name: str

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return True if this key has made a signature of a message."""


@dataclass(frozen=True)
class ImageContents:
    """What is in an image.

    Attributes:
        release: the code name of its Debian release, or an empty string.
    """

    packages: list[Package]
    release: str = ""


@dataclass(frozen=True)
class Attester:
    """What it takes to state something of an image.

    Attributes:
        read: reads files of an image.
        signer: signs the statements, or None.
        builder: who builds, a URI.
        invocation: the URL of the job, or an empty string.
        parameters: versions that settings chose, such as PHP's.
    """

    read: ReadFiles
    signer: Signer | None
    builder: str
    invocation: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def contents(self, registry: Registry, name: str, digest: str) -> ImageContents:
        """Return what is in an image that was just pushed.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed; or a database of
                packages in the image cannot be read.
            EngineError: the engine cannot be reached, or its disk is full.
        """
        with registry.login() as login:
            files = self.read(registry.reference(name, digest), DATABASES, login)
        return ImageContents(packages_in(files), release_of(files.get(DEBIAN_RELEASE, "")))

    def attest(
        self,
        registry: Registry,
        subject: BuildSubject,
        name: str,
        digest: str,
        contents: ImageContents,
        *,
        bases: Mapping[str, str],
        started: datetime,
    ) -> None:
        """Attach provenance and bill of materials to an image that was just pushed.

        Args:
            registry: where it is.
            subject: what was built, and for whom.
            name: the image's target.
            digest: its digest.
            contents: what is in it.
            bases: the base images' references by digest, by build argument.
            started: when the build began.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
            AwsError: the key cannot be used.
        """
        repository = registry.repository(name)
        finished = datetime.now(UTC)
        provenance = Provenance(
            repository=subject.repository,
            commit=subject.checkout.commit,
            environment=subject.name,
            target=name,
            bases=bases,
            builder=self.builder,
            invocation=self.invocation,
            started=started.isoformat(timespec="seconds"),
            finished=finished.isoformat(timespec="seconds"),
            parameters=self.parameters,
        )
        bill = write_bill(repository, digest, contents.packages, release=contents.release)
        stated = {PROVENANCE: provenance.predicate(), BILL_OF_MATERIALS: bill}
        registry.attach(
            name,
            digest,
            [
                self._attachment(Statement(repository, digest, kind, predicate))
                for kind, predicate in stated.items()
            ],
        )

    def _attachment(self, statement: Statement) -> Attachment:
        envelope = Envelope(statement.payload())
        if self.signer:
            signature = (self.signer.name, self.signer.sign(envelope.signed))
            envelope = Envelope(envelope.payload, [signature])
        return Attachment(ENVELOPE, envelope.text(), {_KIND: statement.kind, _SIGNATURE: ""})


@dataclass(frozen=True)
class ExpectedSource:
    """What a protected environment's images must have been built from.

    Attributes:
        repository: the git repository.
        commit: the commit that is checked out.
        signer: the key that must have signed, or None.
    """

    environment: str
    repository: str
    commit: str
    signer: Signer | None = None


def verify_images(
    registry: Registry, images: Mapping[str, str], expected: ExpectedSource
) -> dict[str, Provenance]:
    """Check what is stated of images before they are deployed; return where they come from.

    Args:
        registry: where they are.
        images: their digests, by name.
        expected: what they must have been built from.

    Raises:
        RefusedError: a statement is missing, is of another image, is not signed by the key, or
            tells of another repository, commit or environment.
        RegistryError: the registry cannot be reached, refused or failed.
        AwsError: the key cannot be used.
    """
    return {
        name: verify_source(
            name,
            registry.reference(name, digest),
            statements_of(registry, name, digest, expected.signer),
            expected,
        )
        for name, digest in images.items()
    }


def verify_source(
    name: str, reference: str, stated: Mapping[str, Statement], expected: ExpectedSource
) -> Provenance:
    """Check what is stated of one image; return where it comes from.

    Args:
        name: the image.
        reference: its reference by digest.
        stated: the statements, by type; their signatures are checked already.
        expected: what it must have been built from.

    Raises:
        RefusedError: as for ``verify_images``.
    """

    def refused(why: str) -> RefusedError:
        return RefusedError(f"{expected.environment} is protected: {reference}: {why}", hint=_AGAIN)

    for kind, title in ((PROVENANCE, "provenance"), (BILL_OF_MATERIALS, "bill of materials")):
        if kind not in stated:
            raise refused(f"it has no {title}")
    try:
        read_bill(stated[BILL_OF_MATERIALS].predicate)
        provenance = provenance_in(stated[PROVENANCE].predicate)
    except ValueError as error:
        raise refused(f"what is stated of it makes no sense: {error}") from error
    for title, is_, must in (
        ("repository", provenance.repository, expected.repository),
        ("commit", provenance.commit, expected.commit),
        ("environment", provenance.environment, expected.environment),
        ("image", provenance.target, name),
    ):
        if is_ != must:
            raise refused(f"its {title} is {is_}, and must be {must}")
    return provenance


def packages_in_bill(reference: str, stated: Mapping[str, Statement]) -> list[Package] | None:
    """Return the packages in an image by its bill of materials, or None where it has none.

    Args:
        reference: the image's reference by digest.
        stated: what is stated of it, by type.

    Raises:
        RefusedError: the bill of materials makes no sense.
    """
    bill = stated.get(BILL_OF_MATERIALS)
    try:
        return read_bill(bill.predicate) if bill else None
    except ValueError as error:
        raise RefusedError(
            f"the bill of materials of {reference} makes no sense: {error}"
        ) from error


def statements_of(
    registry: Registry, name: str, digest: str, signer: Signer | None
) -> dict[str, Statement]:
    """Return what is stated of an image, by its type.

    Args:
        registry: where it is.
        name: the image.
        digest: its digest.
        signer: the key that must have signed each statement, or None.

    Raises:
        RefusedError: a statement makes no sense, is of another image, or not signed by the key.
        RegistryError: the registry cannot be reached, refused or failed.
        AwsError: the key cannot be used.
    """
    found = {}
    for attachment in registry.attached(name, digest):
        reference = registry.reference(name, digest)
        try:
            envelope = envelope_in(attachment.content)
            statement = envelope.statement()
        except ValueError as error:
            raise RefusedError(
                f"what is stated of {reference} makes no sense: {error}", hint=_AGAIN
            ) from error
        if signer and not any(
            signer.verifies(envelope.signed, signature) for _, signature in envelope.signatures
        ):
            raise RefusedError(
                f"what is stated of {reference} is not signed by {signer.name}",
                hint="was it built before `signing_key` was set, or by somebody who may not use "
                f"the key? {_AGAIN}",
            )
        if statement.digest != digest:
            raise RefusedError(
                f"what is attached to {reference} is stated of {statement.digest}", hint=_AGAIN
            )
        found[statement.kind] = statement
    return found


_AGAIN = "build it anew, where only this environment's builds can push: inv build"

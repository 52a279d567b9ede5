"""A client of ECR, Amazon's registry: looks up, re-tags and deletes images, and logs docker in.

The API is https://docs.aws.amazon.com/AmazonECR/latest/APIReference/. ``batch_*`` calls report what
did not work in ``failures`` and raise nothing for it.
"""

from __future__ import annotations

import base64
import contextlib
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from tasks.adapters.aws.session import Aws
from tasks.adapters.parallel import map_parallel
from tasks.adapters.registry.attachments import Attachment
from tasks.adapters.registry.docker_login import Login, logged_in
from tasks.adapters.registry.ecr_scan import ImageScan, scan_in
from tasks.adapters.registry.oci import LISTS, MANIFESTS, OciRegistry, children_in
from tasks.adapters.registry.repositories import Repositories
from tasks.core.errors import AwsError, RegistryError
from tasks.core.images.retention import StoredImage

BATCH = 100
"""Images in one call of a ``batch_*`` operation, at most."""
PAGE = 1000
"""Images in one page of a list, at most."""
TOKEN_LEFT = timedelta(hours=6)
"""A token is good for twelve hours. docker reads it once, when a build begins: one with less left
than any build takes is not handed out again."""

GONE = "ImageNotFound"
LISTED = "ImageReferencedByManifestList"
"""The failure of a manifest that a list of manifests still names: ECR keeps it."""
_ALL = "imageDetails"
_ADDRESS = re.compile(r"(?P<account>[0-9]{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.")


@dataclass(frozen=True)
class EcrToken:
    """What docker logs in with.

    Attributes:
        user: always ``AWS``.
    """

    user: str
    password: str
    expires_at: datetime


def region_of(url: str) -> str:
    """Return the region of an ECR address.

    Raises:
        ValueError: it is none.
    """
    found = _ADDRESS.match(url)
    if found is None:
        raise ValueError(f"{url} is no address of ECR")
    return found["region"]


class EcrRegistry(Repositories):
    """One account's registry in one region, and a path in it below which the repositories live.

    Args:
        url: host and path, e.g. ``123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic-dev``.
        aws: the region of that address, and the credentials.
        create: whether missing repositories may be made.
        secret: told every secret, so that it is masked.
    """

    def __init__(
        self, url: str, aws: Aws, *, create: bool = False, secret: Callable[[str], None]
    ) -> None:
        super().__init__(url)
        found = _ADDRESS.match(url)
        self._account = found["account"] if found else ""
        self._aws = aws
        self._create = create
        self._secret = secret
        self._token: EcrToken | None = None
        self._asking = threading.Lock()

    # -- repositories -----------------------------------------------------------------------------

    def ping(self) -> None:
        """Check that ECR answers and accepts the credentials.

        Raises:
            AwsError: it is not, or does not.
        """
        self.token()

    def missing(self, repositories: Sequence[str]) -> tuple[str, ...]:
        """Return the repositories that do not exist yet.

        Args:
            repositories: their names below the registry's path.

        Raises:
            RegistryError: one is missing, and may not be made.
            AwsError: AWS refused, or cannot be reached.
        """
        absent = tuple(name for name in repositories if not self._exists(name))
        if absent and not self._create:
            raise self._no_repository(absent[0])
        return absent

    def make(self, repositories: Iterable[str]) -> None:
        """Create repositories that do not exist yet.

        They scan pushed images, and their tags are mutable, as ``latest`` needs.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        for name in repositories:
            try:
                self._ask(
                    "create_repository",
                    repositoryName=self._name(name),
                    imageTagMutability="MUTABLE",
                    imageScanningConfiguration={"scanOnPush": True},
                    tags=[{"Key": "ManagedBy", "Value": "mautic-multidev"}],
                )
            except AwsError as error:
                if error.code != "RepositoryAlreadyExistsException":
                    raise

    def _exists(self, repository: str) -> bool:
        try:
            self._ask("describe_repositories", repositoryNames=[self._name(repository)])
        except AwsError as error:
            if error.code == "RepositoryNotFoundException":
                return False
            raise
        return True

    # -- reading ----------------------------------------------------------------------------------

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of an image, or None when there is no such image.

        Raises:
            RegistryError: there is no such repository, and none may be made.
            AwsError: AWS refused, or cannot be reached.
        """
        try:
            image = self._image(repository, reference)
        except NoRepositoryError:
            if self._create:
                return None
            raise
        return image["imageId"]["imageDigest"] if image else None

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest.

        Raises:
            RegistryError: there is no such repository, and none may be made.
            AwsError: AWS refused, or cannot be reached.
        """
        found = self._pages("list_images", repository, filter={"tagStatus": "TAGGED"})
        return {
            one["imageTag"]: one["imageDigest"]
            for page in found
            for one in page["imageIds"]
            if "imageTag" in one
        }

    def stored(
        self,
        repository: str,
        times: Mapping[str, datetime] | None = None,
    ) -> list[StoredImage]:
        """Return every manifest of a repository, a thousand in a call.

        Only what lists of manifests list has to be asked for besides, a hundred in a call. The
        suite's own builds make none. ECR knows when each was pushed by itself.

        Raises:
            RegistryError: there is no such repository, and none may be made.
            AwsError: AWS refused, or cannot be reached.
        """
        every = [one for page in self._pages("describe_images", repository) for one in page[_ALL]]
        lists = [one["imageDigest"] for one in every if one.get("imageManifestMediaType") in LISTS]
        children: dict[str, tuple[str, ...]] = {}
        for start in range(0, len(lists), BATCH):
            asked = [{"imageDigest": digest} for digest in lists[start : start + BATCH]]
            answer = self._call(
                "batch_get_image", repository, imageIds=asked, acceptedMediaTypes=list(MANIFESTS)
            )
            for one in answer["images"]:
                children[one["imageId"]["imageDigest"]] = children_in(one["imageManifest"])
        return [
            StoredImage(
                repository=repository,
                digest=one["imageDigest"],
                tags=tuple(one.get("imageTags", ())),
                pushed_at=one["imagePushedAt"],
                children=children.get(one["imageDigest"], ()),
                subject=one.get("subjectManifestDigest", ""),
                size=one.get("imageSizeInBytes", 0),
            )
            for one in every
        ]

    def _pages(self, operation: str, repository: str, **options: Any) -> list[dict[str, Any]]:
        """Return the pages of a list; none of a repository that has yet to be made."""
        pages = self._aws.client("ecr").get_paginator(operation)
        try:
            with self._aws.calling():
                return list(
                    pages.paginate(
                        registryId=self._account,
                        repositoryName=self._name(repository),
                        PaginationConfig={"PageSize": PAGE},
                        **options,
                    )
                )
        except AwsError as error:
            if error.code != "RepositoryNotFoundException":
                raise
            if self._create:
                return []
            raise self._no_repository(repository) from error

    # -- changing ---------------------------------------------------------------------------------

    def tag(self, repository: str, source: str, tags: Iterable[str]) -> None:
        """Add tags to an image; they are moved if other images have them.

        Args:
            repository: its name below the registry's path.
            source: a tag or digest the image has.
            tags: the tags to set.

        Raises:
            RegistryError: there is no such image or repository, or a tag is another image's and
                the repository is immutable.
            AwsError: AWS refused, or cannot be reached.
        """
        image = self._image(repository, source)
        if image is None:
            raise self._no_image(repository, source)
        map_parallel(lambda tag: self._put(repository, tag, image), tags)

    def _put(self, repository: str, tag: str, image: dict[str, Any]) -> None:
        digest = image["imageId"]["imageDigest"]
        try:
            self._call(
                "put_image",
                repository,
                imageManifest=image["imageManifest"],
                imageManifestMediaType=image["imageManifestMediaType"],
                imageTag=tag,
                imageDigest=digest,
            )
        except AwsError as error:
            already = error.code == "ImageAlreadyExistsException"
            # Success, if it means what it says: this image has this tag already.
            if already and self.digest(repository, tag) == digest:
                return
            if already or error.code == "ImageTagAlreadyExistsException":
                raise RegistryError(
                    f"{self.repository(repository)}:{tag} is another image's, and the "
                    "repository's tags are immutable",
                    hint="make the repository's tags mutable, as Terraform makes them: tags such "
                    "as `latest` move",
                ) from error
            raise

    def delete_tags(self, repository: str, tags: Sequence[str]) -> int:
        """Delete tags, a hundred at a time, ignoring missing ones.

        An image is deleted with its last tag.

        Returns:
            The number of deleted tags.

        Raises:
            RegistryError: some could not be deleted; the message says which and why.
            AwsError: AWS refused, or cannot be reached.
        """
        return self._delete(repository, [{"imageTag": tag} for tag in tags], {GONE})

    def delete_images(self, repository: str, digests: Sequence[str]) -> int:
        """Delete manifests with all their tags, a hundred in a call, ignoring missing ones.

        What a list of manifests names that stays is kept, whoever has pushed that list meanwhile.

        Args:
            repository: its name below the registry's path.
            digests: lists of manifests before what they list.

        Returns:
            The number of deleted manifests.

        Raises:
            RegistryError: some could not be deleted; the message says which and why.
            AwsError: AWS refused, or cannot be reached.
        """
        images = [{"imageDigest": digest} for digest in digests]
        return self._delete(repository, images, {GONE, LISTED})

    def _delete(
        self, repository: str, images: Sequence[dict[str, str]], ignored: Collection[str]
    ) -> int:
        """Delete images, each by its tag or digest; return how many went.

        Args:
            ignored: failures that are none.
        """
        deleted = 0
        failures: list[dict[str, Any]] = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            try:
                answer = self._call("batch_delete_image", repository, imageIds=batch)
            except NoRepositoryError:  # its tags have gone with it
                return deleted
            failed = answer.get("failures", [])
            deleted += len(batch) - len(failed)
            failures += [one for one in failed if one["failureCode"] not in ignored]
        if failures:
            first = failures[0]
            asked = first["imageId"]
            which = f":{asked['imageTag']}" if "imageTag" in asked else ""
            which = which or f"@{asked.get('imageDigest', '')}"
            more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
            raise RegistryError(
                f"{self.repository(repository)}{which} cannot be "
                f"deleted: {first['failureCode']}: {first.get('failureReason', '')}{more}",
                hint="all others are gone; run the same again once the cause is",
            )
        return deleted

    # -- what is attached to an image -------------------------------------------------------------

    def attach(self, repository: str, digest: str, files: Sequence[Attachment]) -> None:
        """Attach files to an image, in place of those that were attached to it before.

        Raises:
            RegistryError: there is no such image, or ECR cannot be reached, refused or failed.
            AwsError: AWS gives no login.
        """
        self._oci.attach(repository, digest, files)

    def attached(self, repository: str, digest: str) -> list[Attachment]:
        """Return the files that are attached to an image; none if nothing ever was.

        Raises:
            RegistryError: what is there cannot be read; or ECR cannot be reached, refused or
                failed.
            AwsError: AWS gives no login.
        """
        return self._oci.attached(repository, digest)

    def push_layer(self, repository: str, chunks: Iterable[bytes]) -> str:
        """Store an image of one layer, which has no tag yet, and return its digest.

        Raises:
            RegistryError: ECR cannot be reached, refused or failed.
            AwsError: AWS gives no login.
        """
        return self._oci.push_layer(repository, chunks)

    def labels(self, repository: str, reference: str) -> dict[str, str]:
        """Return an image's labels.

        Raises:
            RegistryError: there is no such image; or ECR cannot be reached, refused or failed.
            AwsError: AWS gives no login.
        """
        return self._oci.labels(repository, reference)

    @cached_property
    def _oci(self) -> OciRegistry:
        """The same registry by the OCI's API: ECR's own has no way to download a blob."""
        return OciRegistry(self.url, login=self._login)

    def _login(self) -> Login:
        token = self.token()
        return Login(token.user, token.password)

    # -- scans ------------------------------------------------------------------------------------

    def scan(self, repository: str, digest: str) -> ImageScan:
        """Return the scan of an image as it is now.

        Raises:
            RegistryError: there is no such repository.
            AwsError: AWS refused, or cannot be reached; or there is no such image.
        """
        pages = self._aws.client("ecr").get_paginator("describe_image_scan_findings")
        options = {"registryId": self._account} if self._account else {}
        try:
            with self._aws.calling():
                answers = list(
                    pages.paginate(
                        repositoryName=self._name(repository),
                        imageId={"imageDigest": digest},
                        PaginationConfig={"PageSize": PAGE},
                        **options,
                    )
                )
        except AwsError as error:
            if error.code == "ScanNotFoundException":
                return ImageScan()
            if error.code == "RepositoryNotFoundException":
                raise self._no_repository(repository) from error
            raise
        return scan_in(repository, answers)

    def start_scan(self, repository: str, digest: str) -> None:
        """Have an image scanned that never was, e.g. as it was pushed when scanning was off.

        Enhanced scanning begins by itself.

        Raises:
            RegistryError: there is no such repository.
            AwsError: AWS refused, or cannot be reached.
        """
        try:
            self._call("start_image_scan", repository, imageId={"imageDigest": digest})
        except AwsError as error:
            if error.code != "ValidationException":  # scanning is enhanced
                raise

    # -- logging in -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def login(self) -> Iterator[dict[str, str]]:
        """Log docker in for the duration of the context, and yield the variables it needs.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        token = self.token()
        with logged_in(self.host, token.user, token.password) as folder:
            yield {"DOCKER_CONFIG": str(folder)}

    def token(self) -> EcrToken:
        """Return what docker logs in with; renewed long before it expires.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        with self._asking:
            if self._token is None or self._token.expires_at - datetime.now(UTC) < TOKEN_LEFT:
                self._token = self._new_token()
            return self._token

    def _new_token(self) -> EcrToken:
        # Not of a registry by its id, which is deprecated: a token is good for every registry that
        # the credentials may use.
        (data,) = self._ask("get_authorization_token", own=False)["authorizationData"]
        encoded = data["authorizationToken"]
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        self._secret(password)
        self._secret(encoded)
        return EcrToken(user, password, data["expiresAt"])

    # -- calls ------------------------------------------------------------------------------------

    def _image(self, repository: str, reference: str) -> dict[str, Any] | None:
        """Return an image with its manifest, or None."""
        key = "imageDigest" if ":" in reference else "imageTag"
        answer = self._call(
            "batch_get_image",
            repository,
            imageIds=[{key: reference}],
            acceptedMediaTypes=list(MANIFESTS),
        )
        for failure in answer.get("failures", []):
            if failure["failureCode"] != GONE:
                raise RegistryError(
                    f"{self.repository(repository)}: {reference} cannot be read: "
                    f"{failure['failureCode']}: {failure.get('failureReason', '')}"
                )
        images: list[dict[str, Any]] = answer["images"]
        return images[0] if images else None

    def _call(self, operation: str, repository: str, **options: Any) -> Any:
        """Call an operation on one repository."""
        try:
            return self._ask(operation, repositoryName=self._name(repository), **options)
        except AwsError as error:
            if error.code == "RepositoryNotFoundException":
                raise self._no_repository(repository) from error
            raise

    def _ask(self, operation: str, *, own: bool = True, **options: Any) -> Any:
        client = self._aws.client("ecr")
        if own and self._account:
            options["registryId"] = self._account
        with self._aws.calling():
            return getattr(client, operation)(**options)

    def _no_repository(self, repository: str) -> RegistryError:
        mine = self._aws.identity.account
        if self._account and mine != self._account:
            hint = (
                f"the credentials are of account {mine}, the registry is of {self._account}: use "
                "the profile or role of the stack's account"
            )
        else:
            hint = (
                "make it with `inv infra.apply`, or let the build make it: `registry: {create: "
                "true}` of the environment; are account and region of the address right?"
            )
        return NoRepositoryError(
            f"there is no repository {self._name(repository)} in {self._aws.region} of account "
            f"{self._account or mine}",
            hint=hint,
        )


class NoRepositoryError(RegistryError):
    """There is no such repository."""

"""A client of an OCI registry: looks up, re-tags and deletes images without moving layers.

The API is that of https://github.com/opencontainers/distribution-spec (v1.1), with bearer tokens
as in https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tasks.adapters.connection_errors import causes, retry
from tasks.adapters.parallel import map_parallel
from tasks.adapters.registry import attachments
from tasks.adapters.registry.authorisation import authorise
from tasks.adapters.registry.bounded import bound
from tasks.adapters.registry.docker_login import Login, login_to
from tasks.adapters.registry.repositories import Repositories
from tasks.adapters.registry.trust import adapter
from tasks.core.errors import RegistryError, reason_of
from tasks.core.images.challenges import challenges
from tasks.core.images.reference import HUB, is_loopback
from tasks.core.images.retention import StoredImage
from tasks.core.images.seed_image import MANIFEST, Layer, image_of

if TYPE_CHECKING:
    import requests

INDEX = "application/vnd.oci.image.index.v1+json"
LISTS = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
"""The media types of lists of manifests."""
MANIFESTS = (
    *LISTS,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""All media types of manifests; a registry converts a type that is not accepted."""

CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
"""The media types of images' configurations."""

REPRODUCIBLE_YEAR = 1980
"""Images that should be equal whenever they are made are made in 1970 or 1980."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
RETRIES = 4
CONNECT_RETRIES = 2
"""A registry that refuses connections is down, not busy."""

RETRY_AFTER_MAX_SECONDS = 30
"""Longest accepted ``Retry-After``; a registry may ask for hours, then the request fails."""

_DIGEST = re.compile(r"[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
"""Both from the distribution specification, "Pulling manifests", and the image specification."""

_PASSING = (429, 500, 502, 503, 504)

_BYTES = {"Content-Type": "application/octet-stream"}

PART_BYTES = 8 << 20
"""How much of a layer is sent at once; ECR takes no less than 5 MB, but for the last part."""


class UnreachableError(RegistryError):
    """The registry did not answer, or answered that it cannot work (5xx)."""


@dataclass(frozen=True)
class RequestLimits:
    """How long to try.

    Attributes:
        connect: seconds for a connection.
        read: seconds without a byte of an answer.
        retries: how often a request is sent again after 429, 5xx or a broken connection.
    """

    connect: float = CONNECT_SECONDS
    read: float = READ_SECONDS
    retries: int = RETRIES


class OciRegistry(Repositories):
    """One registry, and a path in it below which the repositories live.

    Args:
        url: host, port and path without a scheme, e.g. ``localhost:5050/mautic``. A loopback
            address is spoken to over plain HTTP, every other one over TLS.
        patience: how long to try.
        login: returns who asks; None for the user's login of the Docker configuration.
    """

    def __init__(
        self,
        url: str,
        patience: RequestLimits | None = None,
        *,
        login: Callable[[], Login] | None = None,
    ) -> None:
        super().__init__(url)
        self._patience = patience or RequestLimits()
        self._find_login = login or partial(login_to, self.host)
        self._authorisations: dict[str, str] = {}
        self._authorising = threading.Lock()

    def ping(self) -> None:
        """Check that the registry answers.

        Raises:
            UnreachableError: it is not.
            RegistryError: what answers is no registry.
        """
        answer = self._send("GET", "/v2/", {}, b"")
        if answer.status_code not in {200, 401}:
            raise self._refusal("GET", "/v2/", answer)

    def missing(self, repositories: Sequence[str]) -> tuple[str, ...]:
        """Return the missing repositories: none, because a push creates them.

        Args:
            repositories: their names below the registry's path.
        """
        return ()

    def make(self, repositories: Iterable[str]) -> None:
        """Do nothing: a push creates repositories."""

    @contextlib.contextmanager
    def login(self) -> Iterator[dict[str, str]]:
        """Yield the variables for a logged-in docker: none, the user runs ``docker login``."""
        yield {}

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of an image, or None when there is no such image.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        answer = self._manifest("HEAD", repository, reference)
        if answer.status_code == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest")
        if digest is None:  # optional in the specification, even for GET
            content = self._manifest("GET", repository, reference).content
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if not _DIGEST.fullmatch(digest):
            raise self._nonsense(answer, "a digest that is none")
        return digest

    def labels(self, repository: str, reference: str) -> dict[str, str]:
        """Return an image's labels; of an image for several platforms those of the first one.

        Raises:
            RegistryError: there is no such image, or the registry cannot be reached, refused or
                failed.
        """
        answer = self._manifest("GET", repository, reference)
        if answer.status_code == 404:
            raise self._no_image(repository, reference)
        manifest = self._json(answer)
        if manifest.get("manifests"):
            return self.labels(repository, manifest["manifests"][0]["digest"])
        blob = f"{self._base(repository)}/blobs/{manifest['config']['digest']}"
        config = self._json(self._call("GET", blob)).get("config") or {}
        return dict(config.get("Labels") or {})

    def tag(self, repository: str, source: str, tags: Iterable[str]) -> None:
        """Add tags to an image; they are moved if other images have them.

        Args:
            repository: its name below the registry's path.
            source: a tag or digest the image has.
            tags: the tags to set.

        Raises:
            RegistryError: there is no such image, or the registry cannot be reached, refused or
                failed.
        """
        manifest = self._manifest("GET", repository, source)
        if manifest.status_code == 404:
            raise self._no_image(repository, source)
        kind = self._kind(manifest)
        map_parallel(lambda tag: self.put_manifest(repository, tag, manifest.content, kind), tags)

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest; empty when it does not exist.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        names: list[str] = []
        page: str | None = f"{self._base(repository)}/tags/list?n=1000"
        pages = set()
        while page:
            pages.add(page)
            answer = self._call("GET", page, missing=True)
            if answer.status_code == 404:
                return {}
            found = self._json(answer).get("tags") or []
            # Tags become parts of paths and of a user's screen.
            if not (isinstance(found, list) and all(map(_is_tag, found))):
                raise self._nonsense(answer, "tags that are none")
            names += found
            following = answer.links.get("next", {}).get("url")
            page = _below(urljoin(page, following)) if following else None
            if page in pages:
                raise self._nonsense(answer, "a next page that was there before")
        digests = self.digests((repository, name) for name in names)
        # A tag may have gone between the two questions.
        return {name: digest for name, digest in zip(names, digests, strict=True) if digest}

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Delete one tag, but not the image's other tags; return False if it did not exist.

        Raises:
            RegistryError: deletion is switched off, or the registry cannot be reached, refused
                or failed.
        """
        path = f"{self._base(repository)}/manifests/{tag}"
        if self.digest(repository, tag) is None:
            return False
        answer = self._call("DELETE", path, missing=True, unsupported=True)
        if answer.status_code in {400, 405}:
            # CNCF distribution 2.x deletes by digest only, and then all tags of that digest: so
            # the tag is first moved to an empty index of its own.
            empty = {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [],
                "annotations": {"io.mautic-multidev.deleted": str(uuid.uuid4())},
            }
            digest = self.put_manifest(repository, tag, json.dumps(empty).encode(), INDEX)
            self._call("DELETE", f"{self._base(repository)}/manifests/{digest}", missing=True)
        return True

    def delete_tags(self, repository: str, tags: Sequence[str]) -> int:
        """Delete tags one after the other, ignoring missing ones.

        Returns:
            The number of deleted tags.

        Raises:
            RegistryError: as for ``delete_tag``.
        """
        return sum(self.delete_tag(repository, tag) for tag in tags)

    def stored(
        self, repository: str, times: Mapping[str, datetime] | None = None
    ) -> list[StoredImage]:
        """Return every manifest of a repository that has a tag, or that one of these lists.

        The API tells neither what has no tag nor when anything was pushed: the latter is taken
        from the image's own configuration, which says when it was made.

        Args:
            repository: its name below the registry's path.
            times: when each manifest was pushed, by its digest, also of those without a tag, where
                that is known.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        known = times or {}
        tags: dict[str, list[str]] = {digest: [] for digest in known}
        for tag, digest in self.tags(repository).items():
            tags.setdefault(digest, []).append(tag)
        found: dict[str, StoredImage] = {}
        todo = list(tags)
        while todo:
            read = map_parallel(
                lambda digest: self._stored(repository, digest, known.get(digest)), todo
            )
            there = [one for one in read if one]
            found |= {one.digest: one for one in there}
            children = {child for one in there for child in one.children}
            todo = [child for child in sorted(children) if child not in found]
        return [
            replace(one, tags=tuple(sorted(tags.get(one.digest, ())))) for one in found.values()
        ]

    def _stored(
        self, repository: str, digest: str, pushed_at: datetime | None
    ) -> StoredImage | None:
        """Return a manifest without its tags; None if it is gone."""
        answer = self._manifest("GET", repository, digest)
        if answer.status_code == 404:
            return None
        manifest = self._json(answer)
        config = manifest.get("config") or {}
        if pushed_at is None and config.get("mediaType") in CONFIGS:
            pushed_at = self._made_at(repository, str(config.get("digest")))
        return StoredImage(
            repository=repository,
            digest=digest,
            pushed_at=pushed_at,
            children=children_in(answer.text),
            subject=str((manifest.get("subject") or {}).get("digest", "")),
        )

    def _made_at(self, repository: str, config: str) -> datetime | None:
        """Return when an image was made, by its configuration; None if that does not say."""
        blob = self._call("GET", f"{self._base(repository)}/blobs/{config}", missing=True)
        if not blob.ok:
            return None
        try:
            made = datetime.fromisoformat(str(self._json(blob).get("created")))
        except ValueError:
            return None
        # A build may set what it likes, so that two of them are equal.
        return made if made.tzinfo and made.year > REPRODUCIBLE_YEAR else None

    def delete_images(self, repository: str, digests: Sequence[str]) -> int:
        """Delete manifests with all their tags, ignoring missing ones.

        Returns:
            The number of deleted manifests.

        Raises:
            RegistryError: deletion is switched off, or the registry cannot be reached, refused
                or failed.
        """

        def delete(digest: str) -> bool:
            path = f"{self._base(repository)}/manifests/{digest}"
            return self._call("DELETE", path, missing=True).ok

        return sum(map_parallel(delete, digests))

    # -- what is attached to an image ---------------------------------------------------------

    def attach(self, repository: str, digest: str, files: Sequence[attachments.Attachment]) -> None:
        """Attach files to an image, in place of those that were attached to it before.

        Raises:
            RegistryError: there is no such image, or the registry cannot be reached, refused or
                failed.
        """
        attachments.attach(self, repository, digest, files)

    def attached(self, repository: str, digest: str) -> list[attachments.Attachment]:
        """Return the files that are attached to an image; none if nothing ever was.

        Raises:
            RegistryError: what is there cannot be read; or the registry cannot be reached, refused
                or failed.
        """
        return attachments.attached(self, repository, digest)

    def manifest(self, repository: str, reference: str) -> tuple[str, bytes]:
        """Return media type and content of a manifest.

        Raises:
            RegistryError: there is none, or the registry cannot be reached, refused or failed.
        """
        found = self._manifest("GET", repository, reference)
        if found.status_code == 404:
            raise self._no_image(repository, reference)
        return self._kind(found), found.content

    def put_manifest(self, repository: str, reference: str, content: bytes, kind: str) -> str:
        """Store a manifest under a tag or its digest, and return its digest.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        path = f"{self._base(repository)}/manifests/{reference}"
        self._call("PUT", path, {"Content-Type": kind}, content)
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def blob(self, repository: str, digest: str) -> bytes:
        """Return a blob.

        Raises:
            RegistryError: there is none, or the registry cannot be reached, refused or failed.
        """
        return self._call("GET", f"{self._base(repository)}/blobs/{digest}").content

    def put_blob(self, repository: str, content: bytes) -> None:
        """Store a blob, unless it is there.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        base = f"{self._base(repository)}/blobs"
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if self._call("HEAD", f"{base}/{digest}", missing=True).ok:
            return
        self._finish_upload(self._begin_upload(repository), digest, content)

    def push_layer(self, repository: str, chunks: Iterable[bytes]) -> str:
        """Store an image of one layer, which has no tag yet, and return its digest.

        Nothing of it is kept in memory but a part; its digest is known at its end.

        Args:
            repository: where.
            chunks: the layer, a tar that is not compressed.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        place, digest, size = self._begin_upload(repository), hashlib.sha256(), 0
        for part in _parts(chunks):
            end = size + len(part)
            told = {**_BYTES, "Content-Range": f"{size}-{end - 1}"}
            place = self._place(place, self._call("PATCH", place, told, part))
            digest.update(part)
            size = end
        layer = Layer(f"sha256:{digest.hexdigest()}", size)
        self._finish_upload(place, layer.digest, b"")
        image = image_of(layer)
        self.put_blob(repository, image.config)
        return self.put_manifest(repository, image.digest, image.manifest, MANIFEST)

    def _begin_upload(self, repository: str) -> str:
        base = f"{self._base(repository)}/blobs/uploads/"
        return self._place(base, self._call("POST", base))

    def _place(self, asked: str, answer: requests.Response) -> str:
        """Return where an upload goes on, which is the registry's to say."""
        return _below(urljoin(asked, answer.headers.get("Location", "")))

    def _finish_upload(self, place: str, digest: str, content: bytes) -> None:
        # A query may be a part of the place.
        separator = "" if place.endswith("?") else "&"
        self._call("PUT", f"{place}{separator}digest={digest}", _BYTES, content)

    # -- HTTP ---------------------------------------------------------------------------------

    def _base(self, repository: str) -> str:
        return f"/v2/{self._name(repository)}"

    def _manifest(self, method: str, repository: str, reference: str) -> requests.Response:
        path = f"{self._base(repository)}/manifests/{reference}"
        return self._call(method, path, {"Accept": ", ".join(MANIFESTS)}, missing=True)

    def _kind(self, manifest: requests.Response) -> str:
        """Return a manifest's media type; raise RegistryError if it is of none."""
        kind = manifest.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip() not in MANIFESTS:
            raise self._nonsense(manifest, f"a manifest of the type {kind!r}")
        return kind

    @cached_property
    def _session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        loopback = is_loopback(self.host)
        # Neither a proxy nor a password of ~/.netrc is for a registry on this machine.
        session.trust_env = not loopback
        session.auth = _keep
        session.hooks["response"].append(bound)
        policy = retry(
            total=self._patience.retries,
            connect=min(self._patience.retries, CONNECT_RETRIES),
            read=min(self._patience.retries, CONNECT_RETRIES),
            allowed_methods=None,
            status_forcelist=_PASSING,
            backoff_factor=0.3,
            raise_on_status=False,
            retry_after_max=RETRY_AFTER_MAX_SECONDS,
        )
        if loopback:
            session.mount("http://", HTTPAdapter(max_retries=policy))
        else:
            session.mount("https://", adapter(urlsplit(self._root).netloc, max_retries=policy))
        return session

    @cached_property
    def _root(self) -> str:
        if is_loopback(self.host):
            return f"http://{self.host}"
        return f"https://{'registry-1.docker.io' if self.host == HUB else self.host}"

    def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        missing: bool = False,
        unsupported: bool = False,
    ) -> requests.Response:
        """Send a request with authorisation and return its answer; errors are raised."""
        scope = re.split("/(?:manifests|blobs)/", path)[0]
        headers = dict(headers or {})
        known = self._authorisations.get(scope)
        if known:
            headers["Authorization"] = known
        answer = self._send(method, path, headers, body)
        if answer.status_code == 401 and "WWW-Authenticate" in answer.headers:
            with self._authorising:
                # Another thread may have been given the same answer, and asked already.
                if self._authorisations.get(scope) == known:
                    challenge = answer.headers["WWW-Authenticate"]
                    self._authorisations[scope] = self._authorise(challenge)
            headers["Authorization"] = self._authorisations[scope]
            answer = self._send(method, path, headers, body)
        accepted = answer.ok or (missing and answer.status_code == 404)
        if accepted or (unsupported and answer.status_code in {400, 405}):
            return answer
        raise self._refusal(method, path, answer)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> requests.Response:
        return self._exchange(method, self._root + path, headers=headers, data=body or None)

    def _exchange(self, method: str, url: str, **options: Any) -> requests.Response:
        timeout = (self._patience.connect, self._patience.read)
        try:
            return self._session.request(method, url, timeout=timeout, **options)
        except OSError as error:  # requests' own are some, and so are files that it cannot find
            raise UnreachableError(
                f"the registry {self.host} cannot be reached: {reason_of(error)}",
                hint=self._hint(error),
            ) from error

    def _hint(self, error: Exception | None = None) -> str:
        from requests.exceptions import ProxyError

        if error and any(isinstance(each, ssl.SSLCertVerificationError) for each in causes(error)):
            return (
                f"where an authority of your own has signed it, put its certificate into the "
                f"system's store, or into /etc/docker/certs.d/{self.host}/ca.crt; SSL_CERT_FILE "
                "names another store"
            )
        if isinstance(error, ProxyError):
            return (
                f"HTTP_PROXY, HTTPS_PROXY and NO_PROXY say which proxy is asked: must it let "
                f"{self.host} through, or does {self.host} belong into NO_PROXY?"
            )
        if is_loopback(self.host):
            return "is it running? `inv doctor` says what is wrong with this machine"
        return f"is {self.host} right, and reachable from here? `inv doctor` looks closer"

    def _authorise(self, challenge: str) -> str:
        """Return the Authorization header that a ``WWW-Authenticate`` asks for.

        Raises:
            RegistryError: the user's login does not open it.
        """

        def ask(method: str, url: str, /, **options: Any) -> dict[str, Any]:
            answer = self._exchange(method, url, **options)
            return self._json(answer) if answer.ok else {}

        header = authorise(challenges(challenge), self._login, ask)
        if not header:
            raise self._unauthorised()
        return header

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        """Return the JSON object in a response; raise RegistryError if there is none."""
        import requests

        try:
            found = answer.json()
        except requests.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise self._nonsense(answer, "what is no JSON")
        return found

    def _nonsense(self, answer: requests.Response, what: str) -> RegistryError:
        """Return the error for an answer that breaks the specification."""
        request = answer.request
        return RegistryError(
            f"the registry {self.host} answered {request.method} {request.path_url} with {what}",
            output=answer.text[:2000],
            hint=self._hint(),
        )

    @cached_property
    def _login(self) -> Login:
        """Who asks."""
        return self._find_login()

    def _unauthorised(self) -> RegistryError:
        return RegistryError(
            f"the registry {self.host} refused access to {self.url}",
            hint=f"log in: docker login {self.host}",
        )

    def _refusal(self, method: str, path: str, answer: requests.Response) -> RegistryError:
        status = answer.status_code
        if status in {401, 403}:
            return self._unauthorised()
        kind = UnreachableError if status >= 500 else RegistryError
        hint = "try again in a while" if status in _PASSING else None
        if status == 405 and method == "DELETE":
            hint = "allow deletion in the registry (REGISTRY_STORAGE_DELETE_ENABLED=true)"
        return kind(
            f"the registry {self.host} answered {status} to {method} {path}",
            output=answer.text[:2000],
            hint=hint,
        )


def children_in(manifest: str) -> tuple[str, ...]:
    """Return the digests of the manifests that one lists; none if it is of a single image."""
    listed = json.loads(manifest).get("manifests") or ()
    return tuple(str(one["digest"]) for one in listed)


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in parts of ``PART_BYTES``, but for the last one."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        while len(part) >= PART_BYTES:
            yield bytes(part[:PART_BYTES])
            del part[:PART_BYTES]
    if part:
        yield bytes(part)


def _is_tag(name: object) -> bool:
    return isinstance(name, str) and _TAG.fullmatch(name) is not None


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep a request's headers: otherwise requests uses a password from ~/.netrc."""
    return request


def _below(url: str) -> str:
    """Return path and query of a URL: the next page is always requested from the same registry."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"

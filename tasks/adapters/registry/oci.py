"""A client of an OCI registry: looks up, re-tags and deletes images without moving layers.

The API is that of https://github.com/opencontainers/distribution-spec (v1.1), with bearer tokens
as in https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tasks.adapters.connection_errors import causes, retry
from tasks.adapters.parallel import map_parallel
from tasks.adapters.registry.authorisation import authorise
from tasks.adapters.registry.docker_login import Login, login_to
from tasks.adapters.registry.repositories import Repositories
from tasks.adapters.registry.trust import adapter
from tasks.core.errors import RegistryError, reason_of
from tasks.core.images.challenges import challenges
from tasks.core.images.reference import HUB, is_loopback

if TYPE_CHECKING:
    import requests

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFESTS = (
    INDEX,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""All media types of manifests; a registry converts a type that is not accepted."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
RETRIES = 4
CONNECT_RETRIES = 2
"""A registry that refuses connections is down, not busy."""

RETRY_AFTER_MAX_SECONDS = 30
"""Longest accepted ``Retry-After``; a registry may ask for hours, then the request fails."""

_PASSING = (429, 500, 502, 503, 504)


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
    """

    def __init__(self, url: str, patience: RequestLimits | None = None) -> None:
        super().__init__(url)
        self._patience = patience or RequestLimits()
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
        return digest

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
        kind = manifest.headers["Content-Type"]
        map_parallel(lambda tag: self._put(repository, tag, manifest.content, kind), tags)

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest; empty when it does not exist.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        names: list[str] = []
        page: str | None = f"{self._base(repository)}/tags/list?n=1000"
        while page:
            answer = self._call("GET", page, missing=True)
            if answer.status_code == 404:
                return {}
            names += self._json(answer).get("tags") or []
            following = answer.links.get("next", {}).get("url")
            page = _below(urljoin(page, following)) if following else None
        found = self.digests((repository, name) for name in names)
        # A tag may have gone between the two questions.
        return {name: digest for name, digest in zip(names, found, strict=True) if digest}

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
            digest = self._put(repository, tag, json.dumps(empty).encode(), INDEX)
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

    # -- HTTP ---------------------------------------------------------------------------------

    def _base(self, repository: str) -> str:
        return f"/v2/{self._name(repository)}"

    def _manifest(self, method: str, repository: str, reference: str) -> requests.Response:
        path = f"{self._base(repository)}/manifests/{reference}"
        return self._call(method, path, {"Accept": ", ".join(MANIFESTS)}, missing=True)

    def _put(self, repository: str, tag: str, manifest: bytes, kind: str) -> str:
        path = f"{self._base(repository)}/manifests/{tag}"
        self._call("PUT", path, {"Content-Type": kind}, manifest)
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    @cached_property
    def _session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        loopback = is_loopback(self.host)
        # Neither a proxy nor a password of ~/.netrc is for a registry on this machine.
        session.trust_env = not loopback
        session.auth = _keep
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
        scope = path.rpartition("/manifests/")[0] or path
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
            request = answer.request
            raise RegistryError(
                f"the registry {self.host} answered {request.method} {request.path_url} with what "
                "is no JSON",
                output=answer.text[:2000],
                hint=self._hint(),
            )
        return found

    @cached_property
    def _login(self) -> Login:
        """The user's login of the Docker configuration."""
        return login_to(self.host)

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


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep a request's headers: otherwise requests uses a password from ~/.netrc."""
    return request


def _below(url: str) -> str:
    """Return path and query of a URL: the next page is always requested from the same registry."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"

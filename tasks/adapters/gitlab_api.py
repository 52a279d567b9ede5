"""A small client of GitLab's REST API, version 4: notes of a merge request, environments, runners.

It tries for a bounded time: what is told there is of no use to a job that never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tasks.adapters.connection_errors import is_permanent
from tasks.adapters.wait import CLOCK
from tasks.core.doctor.gitlab import FORKS
from tasks.core.errors import SuiteError, reason_of
from tasks.core.gitlab_page import StoppedEnvironment, is_review, parse_stopped
from tasks.core.news import MergeRequestNote

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""Pauses before further attempts."""
RETRY_AFTER_MAX_SECONDS = 15.0
"""Longest accepted ``Retry-After``; GitLab's limits are counted by the minute."""
PASSING = frozenset({408, 429, 500, 502, 503, 504})
AUTHORITIES = "CI_SERVER_TLS_CA_FILE"
"""GitLab's variable with the certificates of its own authority, where it has one."""
PAGE = 100
"""Entries of one page, the most that GitLab gives."""
PAGES_MAX = 100
"""A merge request with more notes than that is none that anybody reads."""


class GitlabError(SuiteError):
    """GitLab refused, failed or could not be reached.

    Attributes:
        status: its HTTP status, or 0 when there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GitlabProject:
    """One project, asked with one token.

    Args:
        api: the API's address, as in ``CI_API_V4_URL``.
        project: the project's path in it: ``/projects/7``.
        token: an access token; it goes nowhere but into a header.
        authorities: a file with the certificates of GitLab's own authority; empty for the usual.
        pauses: seconds before each further attempt; none for one attempt alone.
    """

    def __init__(
        self,
        api: str,
        project: str,
        token: str,
        authorities: str = "",
        *,
        pauses: Sequence[float] = PAUSES_SECONDS,
    ) -> None:
        self._api = api.rstrip("/")
        self._project = project
        self._token = token
        self._authorities = authorities
        self._pauses = pauses

    def version(self) -> str:
        """Return GitLab's own version.

        Raises:
            GitlabError: GitLab refused, failed or could not be reached; as for all others.
        """
        return self._read(
            "/version", self._json("GET", "/version"), lambda one: str(one["version"])
        )

    # -- notes ------------------------------------------------------------------------------------

    def user(self) -> int:
        """Return the id of the token's user.

        Raises:
            GitlabError: as for ``version``.
        """
        found = self._json("GET", "/user")
        return self._read("/user", found, lambda one: int(one["id"]))

    def notes(self, merge_request: int) -> Iterator[MergeRequestNote]:
        """Yield all notes of a merge request, the oldest first."""
        query = {"sort": "asc", "order_by": "created_at"}
        return self._all(
            self._notes(merge_request),
            query,
            lambda one: MergeRequestNote(
                int(one["id"]), int(one["author"]["id"]), str(one["body"])
            ),
        )

    def create_note(self, merge_request: int, body: str) -> None:
        """Write a new note; a lost answer may leave two."""
        self._json("POST", self._notes(merge_request), {"body": body})

    def update_note(self, merge_request: int, number: int, body: str) -> bool:
        """Write a note anew; return False if it is gone."""
        return self._is_there("PUT", f"{self._notes(merge_request)}/{number}", {"body": body})

    def delete_note(self, merge_request: int, number: int) -> bool:
        """Delete a note; return False if it is gone."""
        return self._is_there("DELETE", f"{self._notes(merge_request)}/{number}")

    def _notes(self, merge_request: int) -> str:
        return f"{self._project}/merge_requests/{merge_request}/notes"

    # -- environments -----------------------------------------------------------------------------

    def protected(self) -> frozenset[str]:
        """Return the names of its protected environments; none where GitLab has no such thing."""
        try:
            path = f"{self._project}/protected_environments"
            return frozenset(self._all(path, {}, lambda one: str(one["name"])))
        except GitlabError as error:
            # A free edition protects none.
            if error.status != 404:
                raise
            return frozenset()

    def stopped(self) -> Iterator[StoppedEnvironment]:
        """Yield the environments of branches that were stopped."""
        path = f"{self._project}/environments"
        found = self._all(
            path,
            {"states": "stopped"},
            lambda one: parse_stopped(one) if is_review(one) else None,
        )
        return (one for one in found if one)

    def delete_environment(self, number: int) -> bool:
        """Delete a stopped environment; return False if it is gone."""
        return self._is_there("DELETE", f"{self._project}/environments/{number}")

    # -- what protected jobs rely on --------------------------------------------------------------

    def runs_forks(self) -> bool:
        """Return whether pipelines of forks run in the project."""
        found = self._json("GET", self._project)
        return self._read(self._project, found, lambda one: bool(one[FORKS]))

    def runners(self, tag: str) -> dict[str, bool]:
        """Return, for each of its runners with a tag, whether it takes protected branches alone."""

        def named(one: Any) -> tuple[str, str]:
            return f"/runners/{int(one['id'])}", str(one.get("description") or one["id"])

        return {
            name: self._read(
                path,
                self._json("GET", path),
                lambda one: str(one["access_level"]) == "ref_protected",
            )
            for path, name in self._all(f"{self._project}/runners", {"tag_list": tag}, named)
        }

    # -- requests ---------------------------------------------------------------------------------

    def _all(self, path: str, query: Mapping[str, str], read: Callable[[Any], T]) -> Iterator[T]:
        """Yield all entries of a list as ``read`` makes them, page by page."""
        page = "1"
        for _ in range(PAGES_MAX):
            sent = {**query, "per_page": str(PAGE), "page": page}
            answer = self._send("GET", path, None, sent)
            content = self._content(answer, "GET", path)
            yield from self._read(path, content, lambda found: [*map(read, found)])
            page = answer.headers.get("X-Next-Page", "")
            if not page:
                return
        raise GitlabError(f"{self._host}: {path} has more than {PAGES_MAX} pages")

    def _read(self, path: str, content: Any, read: Callable[[Any], T]) -> T:
        """Return what an answer says.

        Raises:
            GitlabError: it is of another form than that of the API.
        """
        try:
            return read(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise GitlabError(f"{self._host} answered GET {path} with something else") from error

    def _is_there(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bool:
        try:
            self._content(self._send(method, path, body), method, path)
        except GitlabError as error:
            if error.status != 404:
                raise
            return False
        return True

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._content(self._send(method, path, body), method, path)

    def _content(self, answer: requests.Response, method: str, path: str) -> Any:
        """Return what an answer holds.

        Raises:
            GitlabError: it is a refusal, or no JSON.
        """
        status = answer.status_code
        if not 200 <= status < 300:
            raise GitlabError(
                f"{self._host} answered {method} {path} with {status} {answer.reason}",
                status=status,
            )
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise GitlabError(f"{self._host} answered {method} {path} with no JSON") from error

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request, again while GitLab is busy or away, and return the last answer."""
        import requests

        for pause in chain(self._pauses, [None]):
            try:
                answer = self._session.request(
                    method,
                    f"{self._api}{path}",
                    json=body,
                    params=query,
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                if pause is None or is_permanent(error):
                    raise GitlabError(
                        f"{self._host} cannot be reached: {reason_of(error)}"
                    ) from error
                wait = pause
            else:
                asked = retry_after(answer.headers.get("Retry-After", ""))
                late = asked > RETRY_AFTER_MAX_SECONDS
                if answer.status_code not in PASSING or pause is None or late:
                    return answer
                wait = max(pause, asked)
            CLOCK.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    @property
    def _host(self) -> str:
        return urlsplit(self._api).netloc.rpartition("@")[2]

    @cached_property
    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        session.headers["PRIVATE-TOKEN"] = self._token
        if self._authorities:
            session.verify = self._authorities
        return session


def retry_after(said: str) -> float:
    """Return the seconds of a ``Retry-After``; 0 if it says none."""
    return float(said) if said.isdecimal() else 0.0

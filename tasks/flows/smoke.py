"""The smoke test: requests pages of a site over HTTP, like a visitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from tasks.adapters.wait import wait_until
from tasks.core.errors import SuiteError

LOGIN = "/s/login"
REFUSED = 401
REDIRECT = 302
POLL_SECONDS = 0.5
BUSY = 429


class SiteResponse(Protocol):
    """A response of the site."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by their names in lower case."""

    @property
    def text(self) -> str:
        """The body."""


def smoke_test(
    get: Callable[[str], SiteResponse],
    say: Callable[[str], None],
    url: str,
    *,
    patience_seconds: float,
    as_stranger: Callable[[str], SiteResponse] | None = None,
    login_host: str = "",
) -> None:
    """Check that the login page and its stylesheet are served, and by a door to nobody else.

    Args:
        get: requests a path of the site; raises SuiteError if there is no response.
        say: called with the result.
        url: the site's URL, for messages and for resolving links.
        patience_seconds: how long each of the two may still fail although all services are healthy:
            the proxy caches names for a second, and on a busy machine the first page takes long.
        as_stranger: requests a path without what opens the door; None for a site without one.
        login_host: where a load balancer sends strangers; empty where the door has a password.

    Raises:
        SuiteError: a request failed; the message has its URL and the result.
    """
    patience = _Patience(get, say, url, patience_seconds)
    page = patience.ask(LOGIN, lambda answer: answer.status == 200)
    styles = [path for path in stylesheets(page.text, url + LOGIN) if path]
    if not styles:
        raise SuiteError(f"{url}{LOGIN} is answered, but by a page that links no stylesheet")
    style = patience.ask(styles[0], _is_final)
    if style.status != 200 or not style.text:
        raise SuiteError(f"{url}{styles[0]} answers {style.status} instead of a stylesheet")
    say(f"{LOGIN} and {styles[0]} answer")
    if as_stranger:
        stranger = _Patience(as_stranger, say, url, patience_seconds)
        if login_host:
            _check_balancer(stranger, login_host)
        else:
            _check_door(stranger)


def first_page(
    get: Callable[[str], SiteResponse],
    say: Callable[[str], None],
    url: str,
    *,
    patience_seconds: float,
) -> None:
    """Check that the login page is served; arguments and errors as for ``smoke_test``."""
    _Patience(get, say, url, patience_seconds).ask(LOGIN, lambda answer: answer.status == 200)


def _is_final(answer: SiteResponse) -> bool:
    """Return True unless the site, or a proxy in front of it, is busy or failing: 429 and 5xx."""
    return answer.status < 500 and answer.status != BUSY


def _check_door(stranger: _Patience) -> None:
    """Raise SuiteError if the login page is shown to somebody without the password."""
    status = stranger.ask(LOGIN, _is_final).status
    if status != REFUSED:
        raise SuiteError(
            f"{stranger.url}{LOGIN} answers {status} to a stranger, instead of asking for the "
            "password",
            hint="images of nginx from before the door have none: build them again (inv build), "
            "or set `door: open` for the environment",
        )


def _check_balancer(stranger: _Patience, login_host: str) -> None:
    """Raise SuiteError if the load balancer shows the login page to somebody without a login.

    It learns of a route some time after the API server: until then any answer is waited for.
    """

    def is_asked(answer: SiteResponse) -> bool:
        if answer.status == REDIRECT:
            to = urlsplit(answer.headers.get("location", ""))
            return (to.scheme, to.hostname) == ("https", login_host)
        return answer.status == REFUSED

    stranger.ask(
        LOGIN,
        is_asked,
        told=f" to a stranger, instead of sending him to {login_host}",
        hint="the load balancer's controller has not taken the route's filter; its log, and the "
        "status of the HTTPRoute, say why. This machine must reach the load balancer",
    )


@dataclass
class _Patience:
    get: Callable[[str], SiteResponse]
    say: Callable[[str], None]
    url: str
    seconds: float
    said: str = ""

    def ask(
        self,
        path: str,
        is_final: Callable[[SiteResponse], bool],
        *,
        told: str = "",
        hint: str = "a site that is only slow needs a larger patience.smoke_seconds in invoke.yaml",
    ) -> SiteResponse:
        """Request a path until the response is final; report once per reason for waiting.

        Args:
            told: what to add to the status of a response that is not.
            hint: the error's.
        """
        return wait_until(
            f"{self.url}{path} does not answer",
            partial(self._look, path, is_final, told),
            deadline_seconds=self.seconds,
            poll_seconds=POLL_SECONDS,
            late=lambda _: SuiteError(
                f"{self.said}, after {self.seconds:.0f} s of waiting", hint=hint
            ),
        )

    def _look(
        self, path: str, is_final: Callable[[SiteResponse], bool], told: str
    ) -> SiteResponse | None:
        try:
            answer = self.get(path)
            if is_final(answer):
                return answer
            problem = f"{self.url}{path} answers {answer.status}{told}"
        except SuiteError as error:
            problem = error.message
        if problem != self.said:
            self.said = problem
            self.say(f"{problem}; waiting up to {self.seconds:.0f} s")
        return None


def stylesheets(page: str, base: str) -> list[str]:
    """Return the paths, with their queries, of a page's own stylesheets, in order.

    Args:
        page: the HTML.
        base: the page's URL; stylesheets of other hosts are left out.
    """
    parser = _Links()
    parser.feed(page)
    found = []
    for link in parser.found:
        parts = urlsplit(urljoin(base, link))
        if parts.netloc == urlsplit(base).netloc:
            found.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    return found


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and "stylesheet" in (values.get("rel") or "") and values.get("href"):
            self.found.append(str(values["href"]))

"""The page of all environments of one name in invoke.yaml, for whoever has its password.

It is the page of `inv page`, made anew from what the API server says.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from entrance.answers import HTML, Answer
from entrance.api import Api, ApiError, Object
from entrance.fleet import Fleet
from entrance.rules import Rules, Site
from tasks.core import page as pages
from tasks.core.cost import Prices
from tasks.core.display import visible
from tasks.core.door import USER
from tasks.core.errors import UnreadableError
from tasks.core.fleet import Fleet as Environments
from tasks.core.fleet_page import page
from tasks.core.kubernetes.labels import COMPONENT
from tasks.core.kubernetes.lease import NAME
from tasks.core.kubernetes.record import stated_owner
from tasks.core.kubernetes.summary import summary
from tasks.core.page import Assets, render
from tasks.core.redact import Redactor
from tasks.core.summary import EnvironmentSummary, unreadable

log = logging.getLogger("entrance")

FRESH_SECONDS = 3.0
"""How long a page serves all who ask."""
ASSETS = Path(pages.__file__).with_name("page_assets")


class Overview:
    """The page of all environments.

    Args:
        password: the file with its password.
    """

    def __init__(self, api: Api, rules: Rules, fleet: Fleet, password: Path) -> None:
        self._api = api
        self._rules = rules
        self._fleet = fleet
        self._password = password
        style, script = ((ASSETS / name).read_text() for name in ("page.css", "page.js"))
        self._assets = Assets(style, script)
        self._clean = Redactor()
        self._turn = threading.Lock()
        self._last: dict[str, tuple[float, Answer]] = {}

    def site_of(self, host: str) -> Site | None:
        """Return the site whose page has a host name, or None."""
        return self._rules.page_of(host)

    def answer(self, site: Site, method: str, target: str, authorization: str) -> Answer:
        """Return the answer to a request for a site's page.

        Args:
            authorization: the header.
        """
        try:
            password = self._password.read_text().strip()
        except OSError as error:
            log.warning("the page's password: %s", error)
            password = ""
        if not password:
            return Answer(503, "The page has no password: inv platform.apply\n")
        if not is_login(authorization, password):
            text = f"inv page --env {site.environment} --login says how to log in\n"
            return Answer(401, text, realm=f"environments in {site.environment}")
        if method not in {"GET", "HEAD"}:
            return Answer(405, "It can only be read.\n")
        if target.partition("?")[0] != "/":
            return Answer(404, "There is one page: /\n")
        return self._page(site)

    def _page(self, site: Site) -> Answer:
        with self._turn:
            at, found = self._last.get(site.environment, (0.0, Answer(503)))
            if not at or time.monotonic() - at > FRESH_SECONDS:
                found = self._made(site)
                self._last[site.environment] = (time.monotonic(), found)
            return found

    def _made(self, site: Site) -> Answer:
        if not self._fleet.known.is_set():
            return Answer(503, "The cluster does not answer.\n", retry_seconds=5)
        try:
            fleet = self._look(site)
        except ApiError as error:
            log.warning("the page: %s", error)
            return Answer(503, "The cluster does not answer, or refuses.\n", retry_seconds=5)
        text = render(page(fleet), self._assets, self._shown)
        return Answer(200, text, HTML, policy=f"{self._assets.policy}; frame-ancestors 'none'")

    def _look(self, site: Site) -> Environments:
        web, leases = (
            {item["metadata"]["namespace"]: item for item in found}
            for found in (
                self._api.find("deployments", selector=f"{COMPONENT}=web"),
                self._api.find("leases", fields=f"metadata.name={NAME}"),
            )
        )
        now = datetime.now(UTC)
        found = [
            _summary(item, web.get(name), leases.get(name), now)
            for name, item in self._namespaces(site)
        ]
        return Environments(
            site.environment,
            self._rules.project,
            sorted(found, key=lambda item: item.title),
            Prices(**site.prices),
            now,
        )

    def _namespaces(self, site: Site) -> Iterator[tuple[str, Object]]:
        """Yield a site's namespaces, by their names."""
        for item in self._fleet.all():
            place = self._rules.place_of_namespace(item)
            if place and place.environment == site.environment:
                yield place.namespace, item

    def _shown(self, text: str) -> str:
        """Return a text without what acts, and without logins: anybody may have written it."""
        return self._clean(visible(self._clean(text)))


def is_login(authorization: str, password: str) -> bool:
    """Return True if a header of HTTP's scheme Basic has the page's user and password."""
    scheme, _, value = authorization.partition(" ")
    try:
        said = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(said, f"{USER}:{password}".encode())


def _summary(
    found: Object, web: Object | None, lease: Object | None, now: datetime
) -> EnvironmentSummary:
    try:
        return summary(found, web, lease, now)
    except UnreadableError as error:
        return unreadable(found["metadata"]["name"], stated_owner(found), error.message)

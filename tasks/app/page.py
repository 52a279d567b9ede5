"""Puts together the page of all environments: looked at, rendered, written or served."""

from __future__ import annotations

import os
from functools import cached_property, partial
from pathlib import Path

from tasks.adapters.files.whole import write_whole
from tasks.adapters.gitlab import is_job
from tasks.adapters.page_server import Answer, PageServer
from tasks.adapters.terminal.console import Console
from tasks.app import clusters
from tasks.app.fleet import find_fleet
from tasks.app.out import out_file
from tasks.app.paths import PROJECT, ROOT
from tasks.app.session import Session
from tasks.core import door
from tasks.core.display import visible
from tasks.core.errors import InputError, RefusedError, SuiteError
from tasks.core.fleet_page import page
from tasks.core.page import Assets, render
from tasks.core.redact import Redactor
from tasks.core.setting_entrance import page_host
from tasks.core.settings import naming_rule

DEFAULT = PROJECT / "artifacts" / "page.html"
_ASSETS = ROOT / "tasks" / "core" / "page_assets"


class FleetPage:
    """The page of all environments.

    Args:
        session: the run.
        env: what ``--env`` said.
        used: whether it shows what they use, for one request more.
    """

    def __init__(self, session: Session, env: str, *, used: bool) -> None:
        self._session = session
        self._find = partial(find_fleet, session, env, used=used)

    def html(self) -> str:
        """Return the page."""
        return render(page(self._find()), self._assets, self._clean)

    def write(self, out: str) -> Path:
        """Write the page, and return where it is.

        Args:
            out: what ``--out`` said.

        Raises:
            InputError: it cannot be written there.
        """
        if not out and not DEFAULT.parent.exists():
            DEFAULT.parent.mkdir()
        path = out_file(out or str(DEFAULT))
        text = self.html()
        try:
            # A link stays one.
            write_whole(path.resolve(), text)
        except OSError as error:
            raise InputError(f"--out {path}: it cannot be written: {error.strerror}") from error
        return path

    def server(self, port: int) -> PageServer:
        """Return what serves the page; looks once, so that a wrong environment is told now.

        Raises:
            SuiteError: the environments cannot be looked at, or the port is not to be had.
        """
        self._find()
        policy = f"{self._assets.policy}; frame-ancestors 'none'"
        return PageServer(port, self._answer, {"Content-Security-Policy": policy})

    def _answer(self) -> Answer:
        try:
            return Answer(200, "text/html", self.html())
        except SuiteError as error:
            self._session.console.error(error)
            return Answer(503, "text/plain", f"{self._clean(error.message)}\n")

    def _clean(self, text: str) -> str:
        redact = self._session.redactor
        return redact(visible(redact(text)))

    @cached_property
    def _assets(self) -> Assets:
        return read_assets()


def show_login(session: Session, env: str) -> None:
    """Print where the entrance of a cluster serves the page, and the login that it asks for.

    The session's console would mask the password.

    Args:
        session: the run.
        env: what ``--env`` said.

    Raises:
        InputError: no entrance serves it, or it has no password yet.
        RefusedError: this is a CI job, whose log many people read.
    """
    environment, own = session.environment(env)
    if not own.entrance:
        raise InputError(
            f"no entrance serves the page of {environment}",
            hint="set `entrance` (docs/fleet.md), or look at it here: inv page --serve",
        )
    if is_job(os.environ):
        raise RefusedError(
            "a job's log is no place for what opens the page", hint="ask on your own machine"
        )
    rule = naming_rule(session.settings_of(environment), environment)
    host = page_host(rule.host.replace("{project}", rule.project))
    password = clusters.cluster_platform(session, env, ()).page_password.read()
    once = Console(Redactor())
    once.data(f"{own.scheme}://{host}/")
    once.data(f"user: {door.USER}")
    once.data(f"password: {password}")


def read_assets() -> Assets:
    """Return the page's style and script."""
    style, script = ((_ASSETS / name).read_text() for name in ("page.css", "page.js"))
    return Assets(style, script)

"""Puts together the page of all environments: looked at, rendered, written or served."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path

from tasks.adapters.files.whole import write_whole
from tasks.adapters.page_server import Answer, PageServer
from tasks.app.fleet import find_fleet
from tasks.app.out import check_out
from tasks.app.paths import PROJECT
from tasks.app.session import Session
from tasks.core.display import visible
from tasks.core.errors import InputError, SuiteError
from tasks.core.page import Assets, render
from tasks.flows.page import page

DEFAULT = PROJECT / "artifacts" / "page.html"
_ASSETS = Path(__file__).with_name("page_assets")


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
        path = Path(out) if out else DEFAULT
        if not out:
            path.parent.mkdir(exist_ok=True)
        check_out(path)
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


def read_assets() -> Assets:
    """Return the page's style and script."""
    style, script = ((_ASSETS / name).read_text() for name in ("page.css", "page.js"))
    return Assets(style, script)

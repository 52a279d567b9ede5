"""inv page, inv cost: all environments in a browser, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, refuse_idle, task, whole_number
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.app.session import Session

PORT = 8090
"""The port of `inv page --serve` where nobody says it."""


@task(
    help={
        "out": "write the page to this file (default: artifacts/page.html)",
        "serve": "serve it on this machine until Ctrl-C, as new as it is asked for",
        "port": "port of --serve on 127.0.0.1, 0 for any that is free (default: 8090)",
        "login": "print where the cluster's entrance serves it, and what opens it there",
        "used": "also what runs uses of processors and memory, for one request more",
    }
)
def page(
    session: Session,
    env: str = "",
    out: str = "",
    serve: bool = False,
    port: str | None = None,
    login: bool = False,
    used: bool = False,
) -> None:
    """Write one HTML file that shows all environments, and what they request and cost."""
    from tasks.app.page import FleetPage, show_login

    if login:
        page = {"--out": out, "--serve": serve, "--port": port is not None, "--used": used}
        refuse_idle("is not for --login, which makes no page", page)
        show_login(session, env)
        return
    if not serve:
        refuse_idle("is for --serve", {"--port": port is not None})
    number = PORT if port is None else whole_number("port", port)
    if number > 65535:
        raise InputError(f"--port {port}: must be at most 65535")
    if serve:
        refuse_idle("is not for --serve, which writes no file", {"--out": out})
    made = FleetPage(session, env, used=used)
    if not serve:
        session.console.data(str(made.write(out)))
        return
    with made.server(number) as server:
        session.console.data(server.url)
        session.console.say("Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


@task(help={"owners": "what those of each owner request, in place of each environment"})
def cost(session: Session, env: str = "", owners: bool = False, format: str = "text") -> None:
    """Show what all environments request of the cluster, and what that costs by `prices`."""
    from tasks.app.fleet import find_fleet
    from tasks.core.fleet import cost_table

    as_json = check_format(format)
    fleet = find_fleet(session, env)
    if as_json:
        session.console.json(fleet.as_dict())
        return
    if fleet.has_requests:
        shares, what = (fleet.owners, "owner") if owners else (fleet.shares, "branch")
        session.console.table(*cost_table(fleet, shares, what))
    if fleet.unknown:
        session.console.say(
            f"not known of {fleet.unknown}: in a cluster they note it when they are deployed"
        )
    if not fleet.prices.are_known:
        session.console.say(f"no prices: set environments.{fleet.environment}.prices")

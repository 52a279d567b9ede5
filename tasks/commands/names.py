"""inv names: what a branch is called everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session


@task()
def names(
    session: Session,
    branch: str | None = None,
    env: str = "",
    format: str = "text",
) -> None:
    """Show what a branch is called everywhere: namespace, host, URL, database, user."""
    as_json = check_format(format)
    found = session.names(env, branch).as_dict()
    if as_json:
        session.console.json(found)
    else:
        session.console.table(("name", "value"), list(found.items()))

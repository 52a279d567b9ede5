"""inv names: what a branch is called everywhere."""

from __future__ import annotations

from tasks.app.session import Session, check_format, task


@task()
def names(
    session: Session,
    branch: str | None = None,
    env: str = "",
    format: str = "text",
) -> None:
    """Show what a branch is called everywhere: namespace, host, URL, database, user."""
    as_json = check_format(format)
    of_branch = session.branch(branch)
    environment, _ = session.environment(env, of_branch)
    found = session.names(environment, of_branch).as_dict()
    if as_json:
        session.console.json(found)
    else:
        session.console.table(("name", "value"), list(found.items()))

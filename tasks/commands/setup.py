"""inv init, inv upgrade: the suite in a repository of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session

_WHEEL = "wheel of the suite: a file, which is laid into the repository, or URL#sha256=CHECKSUM"


@task(
    help={
        "project": "prefix of every name (default: the folder's name)",
        "host": "host of a branch's site in a cluster, such as {slug}.dev.example.com",
        "registry": "where images for the cluster are pushed, host/path",
        "cluster": "a context of the kubeconfig; without it, only this machine is set up",
        "wheel": f"{_WHEEL} (default: the one that runs)",
        "yes": "ask nothing: take the defaults of what is not given",
    }
)
def init(
    session: Session,
    project: str = "",
    host: str = "",
    registry: str = "",
    cluster: str = "",
    wheel: str = "",
    yes: bool = False,
    dry_run: bool = False,
) -> None:
    """Make this repository a project of the suite's; nothing that is there is overwritten."""
    from tasks.app import setup

    given = (project, host, registry, cluster)
    plan = setup.init_plan(session, given, wheel, ask_for_more=not (yes or dry_run or session.dry))
    session.console.plan(plan)
    is_dry = dry_run or session.dry
    if not is_dry:
        setup.carry_out(plan)
    setup.say_additions(session, plan)
    if not is_dry:
        setup.say_next(session)


@task(
    help={"wheel": f"{_WHEEL}: of the version to go to", "dry_run": "only show what would change"}
)
def upgrade(session: Session, wheel: str, dry_run: bool = False, format: str = "text") -> None:
    """Go to another version of the suite: shows what is new, and renews the suite's own files."""
    from tasks.app import setup

    as_json = check_format(format)
    plan = setup.upgrade_plan(wheel)
    setup.show_upgrade(session, plan, as_json=as_json)
    if not (dry_run or session.dry):
        setup.carry_out(plan)

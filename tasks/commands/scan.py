"""inv scan: what the registry's scanner has found in images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "tag": "tag of the images (default: that of the commit checked out)",
        "severity": "least severity that counts: critical, high, medium, low or none "
        "(default: the environment's scan_severity)",
    }
)
def scan(
    session: Session,
    env: str = "",
    branch: str | None = None,
    tag: str = "",
    severity: str = "",
    format: str = "text",
) -> None:
    """Show what ECR's scan found in the images; exit code 5 if it holds up a deploy."""
    from tasks.app.scan import ImageScanJob
    from tasks.flows.scan import COLUMNS, refuse_vulnerable

    as_json = check_format(format)
    job = ImageScanJob(session, env, branch, tag=tag, severity=severity)
    if job.threshold == "none":
        session.console.say(f"{job.environment}: skipped, by scan_severity: none")
        found = []
    else:
        found = job.run()
    if as_json:
        session.console.json([one.as_dict() for one in found])
    elif found:
        session.console.table(COLUMNS, [one.row() for one in found])
    refuse_vulnerable(job.environment, found, job.threshold)
    if not found and job.threshold != "none":
        session.console.say(f"{job.environment}: no findings of {job.threshold} or above")

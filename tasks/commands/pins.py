"""inv images.pin: the digests of the images that others publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session


@task()
def pin(session: Session, dry_run: bool = False, format: str = "text") -> None:
    """Write today's digests of others' images to docker/images.lock and .gitlab-ci.yml."""
    from tasks.app import pins
    from tasks.app.paths import PROJECT

    as_json = check_format(format)
    plan = pins.plan(session)
    if as_json:
        session.console.json([one.as_dict() for one in plan])
    else:
        rows = [(one.reference, one.action, one.before or "-", one.after or "-") for one in plan]
        session.console.table(("image", "action", "before", "after"), rows)
    if not (dry_run or session.dry):
        pins.write_pins(PROJECT, plan)
    pins.check_pins(plan)

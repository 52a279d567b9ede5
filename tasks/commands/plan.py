"""inv plan, inv drift: what a deploy would change, and what others have changed since the last."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.app.out import out_file
from tasks.app.task import NEW, check_format, task
from tasks.core.errors import DriftedError

if TYPE_CHECKING:
    from tasks.app.session import Session
    from tasks.core.terraform_plan import PlanSummary


@task(
    help={
        "tag": "plan the deploy of this tag's images, and no build (default: of what is checked "
        "out)",
        "data": "what a new environment begins with, as for inv deploy",
        "no_build": "take the images of the commit as they are, and do not ask what a build would "
        "do; without Docker nothing else is possible",
        "new": NEW,
        "no_capacity_check": "go on even if the cluster seems to have too little left for it",
        "infra": "also ask Terraform what it would do to the environment's stack: takes minutes",
        "out": "save the plan in this file, for inv deploy --plan",
    }
)
def plan(
    session: Session,
    env: str = "",
    branch: str | None = None,
    tag: str = "",
    data: str | None = None,
    no_build: bool = False,
    new: bool = False,
    no_capacity_check: bool = False,
    infra: bool = False,
    out: str = "",
    format: str = "text",
) -> None:
    """Show what a build and a deploy would do, object by object and field by field; reads only."""
    from tasks.app import branches
    from tasks.app import plan as plans

    as_json = check_format(format)
    file = out_file(out) if out else None
    if not tag:
        branches.check_given(session, branch, new=new)
    asked = plans.asked(session, env, branch, tag, data, build=not no_build)
    with session.console.work("look at all that it depends on"):
        made = plans.make(session, asked, must_fit=not no_capacity_check)
    shown = made.plan
    if infra:
        # The slowest is last: what is refused before is told at once.
        shown = replace(shown, infrastructure=_infrastructure(session, asked.environment))
    if as_json:
        session.console.json(shown.as_dict())
    else:
        session.console.data("\n".join(shown.lines()))
    if file:
        plans.save(made, asked, file)
        session.console.say(f"saved; to do just that: inv deploy --plan {out}")


def _infrastructure(session: Session, environment: str) -> PlanSummary | str:
    """Return what Terraform would do to an environment's stack."""
    from tasks.app.infra import stack_context
    from tasks.flows.infra.plans import find_drift
    from tasks.flows.plan import NO_STACK

    stack = session.settings.environment(environment).stack
    if stack is None:
        return NO_STACK
    return find_drift(stack_context(session, stack))


@task()
def drift(session: Session, env: str = "", branch: str | None = None, format: str = "text") -> None:
    """Show what differs from what was deployed; exit code 7 if anything does."""
    from tasks.app import existing
    from tasks.flows.views import drift_text

    as_json = check_format(format)
    found = existing.find_existing(session, env, branch)
    names = found.names
    drifted = found.inspector.drift(found.owner, names)
    if drifted is None:
        raise existing.absent(session, found.inspector, names)
    if as_json:
        session.console.json([each.as_dict() for each in drifted])
    elif drifted:
        session.console.data(drift_text(drifted))
    if drifted:
        on_kubernetes = session.settings.environment(names.environment).target == "kubernetes"
        chart = "that has something to do sets back what the chart says"
        back = chart if on_kubernetes else "sets it back"
        raise DriftedError(
            f"{names.branch} in {names.environment} differs from what was deployed: "
            f"{', '.join(each.title for each in drifted)}",
            hint=f"from what was deployed to what is there; the next inv deploy {back}",
        )
    session.console.say(f"{names.branch} in {names.environment} is as it was deployed")

"""The demonstration: from nothing to a page in the browser, on one machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.core.plan import Step
from tasks.flows.views import LIST_COLUMNS, list_rows, now

if TYPE_CHECKING:
    from tasks.adapters.terminal.console import Console
    from tasks.core.names import Names
    from tasks.flows.deploy import DeployResult
    from tasks.flows.doctor import FixPlan
    from tasks.flows.target import Inspector


@dataclass(frozen=True)
class DemoPlan:
    """The plan of a demonstration.

    Attributes:
        names: the branch's names.
        fix: what this machine needs first.
    """

    names: Names
    fix: FixPlan

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"demonstrate {self.names.branch} on this machine"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run."""
        return (
            *self.fix.steps,
            Step("build", "images mautic and nginx", "`inv build --dry-run` says more"),
            Step("deploy", self.names.url, "`inv deploy --dry-run` says more"),
            Step("list", "the environments on this machine"),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "steps": [asdict(step) for step in self.steps]}


def run_demo(
    names: Names,
    *,
    build: Callable[[], object],
    deploy: Callable[[], DeployResult],
    inspector: Inspector,
    console: Console,
) -> DeployResult:
    """Build, deploy and list a branch on a machine that has everything it needs.

    A second run changes nothing: every step is idempotent.

    Args:
        names: the branch's names.
        build: builds and pushes the images.
        deploy: deploys the branch, and returns when its site has answered.
        inspector: lists the environments on this machine.

    Raises:
        SuiteError: a step failed; those after it did not run.
    """
    build()
    deployed = deploy()
    console.table(LIST_COLUMNS, list_rows(inspector.list(), now()), below=True)
    console.say("remove it again:")
    console.say(f"  {shlex.join(('./inv', 'cleanup', '--branch', names.branch))}")
    return deployed

"""One plan of all that a branch's build and deploy would do, and of what that depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tasks.core.environment_data import EMPTY
from tasks.core.foresight import KEEP, Foresight, fact
from tasks.core.plan import FIT, render
from tasks.core.saved_plan import COMMIT, DEPLOYED, STEPS, TAG

if TYPE_CHECKING:
    from tasks.core.environment import Record
    from tasks.core.plan import Step
    from tasks.core.terraform_plan import PlanSummary
    from tasks.flows.build import BuildPlan
    from tasks.flows.target import DeployPlan

UNBUILT = f"sha256:{'0' * 64}"
"""Stands for the digest of an image that has yet to be built."""
ROUTES = ("httproute/", "ingress/")
NOT_ASKED = "not asked (--infra)"
NO_STACK = "none, the environment has no stack"

CodeOf = Callable[[str], str]
"""Returns the content key of an image's code by its reference; empty if that is unknown."""


@dataclass(frozen=True)
class WholePlan:
    """What a build and a deploy would do.

    Attributes:
        build: what a build would do; None where it is no part of this.
        deploy: what the deploy does after it.
        foresight: what that changes, object by object.
        migrations: whether any may run, in a few words.
        infrastructure: what Terraform would do, or why that is not known.
        asked: further facts that the plan depends on.
    """

    build: BuildPlan | None
    deploy: DeployPlan
    foresight: Foresight
    migrations: str
    infrastructure: PlanSummary | str = NOT_ASKED
    asked: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The plan's title."""
        return self.deploy.title

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run."""
        return (*(self.build.steps if self.build else ()), *self.deploy.steps)

    @property
    def unbuilt(self) -> tuple[str, ...]:
        """The images that have yet to be built, so that nobody knows their digests."""
        images = self.build.images if self.build else ()
        return tuple(image.name for image in images if not image.digest)

    @property
    def facts(self) -> dict[str, str]:
        """Everything that the plan depends on, and what it comes to."""
        return {**self.asked, **deploy_facts(self.deploy, self.foresight)}

    def lines(self) -> Iterator[str]:
        """Yield the plan as lines of text: one page."""
        if self.build:
            yield from render(self.build)
        unbuilt = f"@{UNBUILT.partition(':')[2][:12]}"
        for line in (*render(self.deploy), *self.foresight.lines()):
            yield line.replace(unbuilt, ", not built yet")
        yield f"migrations: {self.migrations}"
        yield f"data: {_data(self.deploy)}"
        yield f"address: {self.deploy.request.names.url}{self._route()}"
        if isinstance(self.infrastructure, str):
            yield f"infrastructure: {self.infrastructure}"
        else:
            yield from (line for line, _ in self.infrastructure.lines())

    def _route(self) -> str:
        """Return what becomes of the object that leads visitors there; empty if none does."""
        found = [each for each in self.foresight.objects if each.title.startswith(ROUTES)]
        verbs = {KEEP: "stays as it is"}
        return "".join(f", {each.title}: {verbs.get(each.verb, each.verb)}" for each in found)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        infra = self.infrastructure
        return {
            **self.deploy.as_dict(),
            "build": self.build.as_dict() if self.build else None,
            "objects": [each.as_dict() for each in self.foresight.objects],
            "migrations": self.migrations,
            "infrastructure": infra if isinstance(infra, str) else infra.as_dict(),
        }

    def effects(self) -> tuple[str, ...]:
        """Return what happens to each object in a line, without any value."""
        changed = (each for each in self.foresight.objects if each.verb != KEEP)
        return tuple(
            " ".join([each.verb, each.title, *(one.path for one in each.fields)])
            for each in changed
        )


def deploy_facts(plan: DeployPlan, foresight: Foresight) -> dict[str, str]:
    """Return what a deploy depends on, and what it comes to."""
    names, release = plan.request.names, plan.release
    return {
        COMMIT: release.commit,
        TAG: release.tag,
        DEPLOYED: _last(plan.record),
        "image mautic": release.mautic,
        "image nginx": release.nginx,
        "address": names.url,
        "data": plan.data.choice,
        # How much is left for it is checked anew, and is another at every moment.
        STEPS: fact([_lasting(plan, step) for step in plan.steps if step.verb != FIT]),
        **foresight.all_facts,
    }


def _last(record: Record | None) -> str:
    """Return the last deploy that has ended: of which tag, by whom and when; empty for none."""
    last = record.last if record else None
    if record is None or last is None:
        return ""
    what = f"{last.tag}, which failed," if last in record.failures else last.tag
    return f"{what} by {last.owner} at {last.deployed_at}"


def _lasting(plan: DeployPlan, step: Step) -> dict[str, str]:
    """Return what does not change by time alone: a snapshot that is to be taken has it in its name.

    One that is there already is named, and is a fact.
    """
    is_named_now = plan.snapshot and not plan.snapshot.there and step.reason == plan.snapshot.reason
    return asdict(replace(step, reason="")) if is_named_now else asdict(step)


def migration_outlook(plan: DeployPlan, code_of: CodeOf) -> str:
    """Return whether migrations may run, in a few words."""
    current = plan.record.current if plan.record else None
    if current is None:
        return "Mautic is installed" if plan.data.choice == EMPTY else "those that its data lacks"
    if current.mautic == plan.release.mautic:
        return "none, the image is the same"
    was, becomes = code_of(current.mautic), code_of(plan.release.mautic)
    if was and was == becomes:
        return "none, the code is the same"
    if not (was and becomes):
        return "some may run: whether the code is another is unknown"
    return f"some may run: the code is another ({was[:12]} becomes {becomes[:12]})"


def _data(plan: DeployPlan) -> str:
    if not plan.is_first:
        return plan.request.restore.title if plan.request.restore else "stays as it is"
    return plan.data.title or "begins empty"

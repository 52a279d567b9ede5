"""The cluster's platform: what `inv platform.apply` installs once, for all environments of it.

The local platform, for Docker Compose, is ``tasks.flows.compose.platform``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.adapters.identity import this_run
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm, Revision
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.adapters.terminal.console import Work
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.objects import Object
from tasks.core.kubernetes.platform import (
    CONTROLLER,
    CONTROLLER_NAMESPACE,
    DEFINITION,
    RELEASE,
    PlatformInputs,
    PlatformPart,
    UpstreamFile,
    bundle_of,
    is_older,
    platform_namespace,
    platform_parts,
    recorded_fingerprints,
)
from tasks.core.kubernetes.rollout import Policy
from tasks.core.plan import Step
from tasks.flows.kubernetes.definitions import define, read_definitions
from tasks.flows.kubernetes.page_password import PagePassword
from tasks.flows.kubernetes.platform_chart import PlatformChart
from tasks.flows.kubernetes.platform_status import PartState, state_of
from tasks.flows.kubernetes.provisioner_user import ProvisionerUser
from tasks.flows.kubernetes.releases import repair, revisions
from tasks.flows.kubernetes.upgrade import wait_settled

HELM_SECONDS = 300
TURN_SECONDS = 600


@dataclass(frozen=True)
class PlatformPlan:
    """The plan to install the platform.

    Attributes:
        steps: the steps in order; empty if nothing has to be done.
        values: the values of helm/platform that are not its defaults.
        controller: the values of the load balancer controller that are not its defaults.
        prints: the fingerprint of each release.
    """

    title: str
    steps: tuple[Step, ...]
    values: Mapping[str, Any]
    controller: Mapping[str, Any]
    prints: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "steps": [asdict(step) for step in self.steps],
            "values": dict(self.values),
            "controller": dict(self.controller),
        }


class ClusterPlatform:
    """Installs the platform in one cluster, and shows its status.

    Args:
        title: the cluster's name in messages.
        inputs: the facts about the cluster.
        files: values files for helm/platform; the later ones win.
        fetch: returns a local copy of a third party's file.
        work: shows a piece of work.
        warn: called with warnings.

    Attributes:
        page_password: that of the page of all environments.
    """

    def __init__(
        self,
        *,
        title: str,
        inputs: PlatformInputs,
        files: Sequence[Path],
        cluster: Cluster,
        helm: Helm,
        root: Path,
        fetch: Callable[[UpstreamFile], Path],
        work: Work,
        warn: Callable[[str], None],
    ) -> None:
        self._title = title
        self._inputs = inputs
        self._chart = PlatformChart(root, inputs, files)
        self._cluster = cluster
        self._helm = helm
        self._fetch = fetch
        self._work = work
        self._warn = warn
        self._user = ProvisionerUser(cluster, inputs, work)
        self.page_password = PagePassword(cluster, inputs)

    # -- planning -----------------------------------------------------------------------------

    def plan(self) -> PlatformPlan:
        """Return the plan to install it; reads only.

        Raises:
            SettingsError: a required value is missing.
            ClusterError: the cluster refused, or cannot be reached.
        """
        self._chart.check()
        prints = self._chart.prints()
        return PlatformPlan(
            f"platform of {self._title}",
            tuple(self._steps(prints)),
            self._chart.own,
            self._chart.controller if CONTROLLER in prints else {},
            prints,
        )

    def _steps(self, prints: Mapping[str, str]) -> Iterator[Step]:
        found = self._cluster.get("Namespace", self._inputs.namespace)
        if found is None:
            yield Step("create", f"namespace {self._inputs.namespace}")
        if self._chart.installs_gateway_api:
            yield from self._definitions_step()
        yield from self.page_password.steps()
        record = recorded_fingerprints(found)
        for release in (CONTROLLER, RELEASE):
            if release in prints:
                yield from self._release_steps(release, prints, record)
        yield from self._user.steps()

    def _definitions_step(self) -> Iterator[Step]:
        wanted = self._chart.upstream["gatewayApi"].version
        found = self._cluster.get("CustomResourceDefinition", DEFINITION)
        there = bundle_of(found)
        if found is None:
            yield Step("define", f"Gateway API {wanted}")
        elif is_older(there, wanted):
            yield Step(
                "define", f"Gateway API {wanted}", f"in place of {there or 'an unknown one'}"
            )

    def _release_steps(
        self, release: str, prints: Mapping[str, str], record: Mapping[str, str]
    ) -> Iterator[Step]:
        history = self._history(release)
        newest = history[-1] if history else None
        if newest is None:
            yield Step("install", f"release {release}")
            return
        if newest.is_pending:
            yield Step("repair", f"release {release}", f"{newest.status}, left by a dead run")
        if newest.status != "deployed":
            yield Step("upgrade", f"release {release}", f"the last one is {newest.status}")
        elif record.get(release) != f"{newest.number} {prints[release]}":
            yield Step("upgrade", f"release {release}", "the chart or its values changed")
        elif lost := self._lost(release):
            yield Step("upgrade", f"release {release}", f"missing: {', '.join(lost)}")

    def _lost(self, release: str) -> list[str]:
        """Return the objects of a release that were deleted."""
        return [
            f"{part.kind.lower()} {part.name}"
            for part in platform_parts(self._chart.merged, self._inputs)
            if part.release == release and self._get(part) is None
        ]

    def _history(self, release: str) -> list[Revision]:
        return revisions(self._cluster, release, self._where(release))

    def _where(self, release: str) -> str:
        return CONTROLLER_NAMESPACE if release == CONTROLLER else self._inputs.namespace

    # -- installing ---------------------------------------------------------------------------

    def apply(self) -> PlatformPlan:
        """Install the platform, and return the plan that was carried out.

        Raises:
            SuiteError: it failed; the message names the cause.
        """
        plan = self.plan()
        if not plan.steps:
            return plan
        where = self._inputs.namespace
        if self._cluster.get("Namespace", where) is None:
            self._cluster.apply(platform_namespace(where, {}))
        me = this_run("apply the platform")
        with LeaseLock(self._cluster, where, me, wait_seconds=TURN_SECONDS, say=self._warn) as lock:
            # Planned again under the lock: somebody else may have done it meanwhile.
            plan = self.plan()
            record = recorded_fingerprints(self._cluster.get("Namespace", where))
            for step in plan.steps:
                lock.check()
                self._carry_out(step, plan, record)
            self._cluster.apply(platform_namespace(where, record))
        return plan

    def _carry_out(self, step: Step, plan: PlatformPlan, record: dict[str, str]) -> None:
        release = step.subject.removeprefix("release ")
        if step.verb == "define":
            self._define_gateway_api()
        elif step.verb == "generate":
            self.page_password.make()
        elif step.verb == "set up":
            self._user.make()
        elif step.verb == "repair":
            self._repair(release)
        elif release in plan.prints:
            record.pop(release, None)
            if release == CONTROLLER:
                self._install_controller()
            else:
                self._user.prepare()
                self._install(RELEASE, self._chart.folder, self._chart.own)
            newest = self._history(release)[-1].number
            record[release] = f"{newest} {plan.prints[release]}"

    def _define_gateway_api(self) -> None:
        wanted = self._chart.upstream["gatewayApi"]
        with self._work(f"define the Gateway API {wanted.version}") as activity:
            activity.line(wanted.url)
            define(self._cluster, [self._fetch(wanted).read_bytes()], activity)

    def _install_controller(self) -> None:
        wanted = self._chart.upstream["loadBalancerController"]
        chart = self._fetch(wanted)
        with self._work(f"define the kinds of {CONTROLLER} {wanted.version}") as activity:
            # Helm installs a chart's definitions once, and never renews them.
            define(self._cluster, read_definitions(chart), activity)
        since = self._cluster.now()
        self._install(CONTROLLER, chart, self._chart.controller)
        with self._work(f"wait for {CONTROLLER}") as activity:
            wait_settled(
                self._cluster, CONTROLLER_NAMESPACE, CONTROLLER, Policy(), activity, since=since
            )

    def _install(self, release: str, chart: Path, given: Mapping[str, Any]) -> None:
        with self._work(f"install {release}") as activity:
            self._helm.upgrade(
                release,
                self._where(release),
                chart,
                given,
                timeout_seconds=HELM_SECONDS,
                on_line=activity.line,
            )

    def _repair(self, release: str) -> None:
        """Repair a release that a dead run left pending."""
        with self._work(f"repair release {release}") as activity:
            activity.outcome = repair(
                self._cluster,
                self._helm,
                release,
                self._where(release),
                self._history(release),
                say=activity.say,
            )

    # -- reading ------------------------------------------------------------------------------

    def status(self) -> list[PartState]:
        """Return the state of every part of the platform."""
        # Definitions that the cluster brings are its administrator's, whatever their version.
        wanted = ""
        if self._chart.installs_gateway_api:
            wanted = self._chart.upstream["gatewayApi"].version
        return [
            state_of(part, self._get(part), wanted)
            for part in platform_parts(self._chart.merged, self._inputs)
        ]

    def _get(self, part: PlatformPart) -> Object | None:
        try:
            return self._cluster.get(part.kind, part.name, part.namespace)
        except ClusterError as error:
            if error.status != 403:
                raise
            raise ClusterError(
                f"the platform cannot be looked at: {error.message}",
                status=error.status,
                hint="this is a job for an administrator of the cluster (`admins` of Terraform)",
            ) from error

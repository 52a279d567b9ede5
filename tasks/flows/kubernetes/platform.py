"""The cluster's platform: what `inv platform.apply` installs once, for all environments of it.

The local platform, for Docker Compose, is ``tasks.flows.compose.platform``.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.adapters.identity import this_run
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm, Revision
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.adapters.kubernetes.transport import Object
from tasks.adapters.terminal.console import Activity, Work
from tasks.core.errors import ClusterError, DeadlineError, InputError, SettingsError, SuiteError
from tasks.core.kubernetes.platform import (
    CONTROLLER,
    CONTROLLER_NAMESPACE,
    DEFINITION,
    RELEASE,
    Part,
    PlatformInputs,
    Upstream,
    bundle_of,
    controller_values,
    is_older,
    namespace,
    parts,
    record_of,
    upstream,
    values,
)
from tasks.core.kubernetes.rollout import Policy
from tasks.core.plan import Step
from tasks.flows.kubernetes.platform_status import State, state_of
from tasks.flows.kubernetes.releases import repair, revisions
from tasks.flows.kubernetes.upgrade import wait_settled
from tasks.flows.kubernetes.values import fingerprint_of, overlay

FOLDER = Path("helm", "platform")
HELM_SECONDS = 300
SERVED_SECONDS = 60
"""How long the API may take to serve a kind that was just defined; two seconds as a rule."""
TURN_SECONDS = 600
POLL_SECONDS = 0.5
DEFINITIONS = frozenset(
    {
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
"""What files of definitions hold; the Gateway API guards its own against older ones."""


@dataclass(frozen=True)
class PlatformPlan:
    """What installing the platform is going to do.

    Attributes:
        title: what it is about.
        steps: what happens, in order; empty when everything is as it should be.
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
    """Installs the platform into one cluster, and looks at it.

    Args:
        title: the cluster, for people.
        inputs: what is known of it.
        files: values files for helm/platform; the later ones win.
        cluster: the cluster.
        helm: Helm for it.
        root: the checkout.
        fetch: returns a copy of a file of somebody else's.
        work: shows a piece of work.
        warn: told what a person should look at.
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
        fetch: Callable[[Upstream], Path],
        work: Work,
        warn: Callable[[str], None],
    ) -> None:
        self._title = title
        self._inputs = inputs
        self._files = tuple(files)
        self._cluster = cluster
        self._helm = helm
        self._chart = root / FOLDER
        self._fetch = fetch
        self._work = work
        self._warn = warn

    # -- what is wanted -----------------------------------------------------------------------

    @cached_property
    def _own(self) -> dict[str, Any]:
        """The chart's values that are not its defaults."""
        return self._over(values(self._inputs), self._files)

    @cached_property
    def _merged(self) -> dict[str, Any]:
        """The chart's values, all of them."""
        return overlay(_yaml(self._chart / "values.yaml"), self._own)

    @cached_property
    def _upstream(self) -> dict[str, Upstream]:
        return upstream(_yaml(self._chart / "upstream.yaml"))

    @cached_property
    def _controller(self) -> dict[str, Any]:
        """The controller's values that are not its own defaults."""
        return overlay(_yaml(self._chart / "controller.yaml"), controller_values(self._inputs))

    def _over(self, below: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
        result = dict(below)
        for path in files:
            if not path.is_file():
                raise InputError(f"there is no values file {path}")
            result = overlay(result, _yaml(path))
        return result

    def _check(self) -> None:
        """Refuse what only the stack could have said, and did not.

        Raises:
            SettingsError: naming it.
        """
        installs = self._merged["loadBalancerController"]["install"]
        aws = self._merged["gateway"]["aws"]
        for value, is_needed, what in (
            (self._inputs.cluster, installs, "cluster/name"),
            (self._inputs.region, installs, "region"),
            (self._inputs.vpc_id, installs, "network/vpc-id"),
            (aws["certificateArn"], aws["enabled"], "dns/certificate-arn"),
        ):
            if is_needed and not value:
                raise SettingsError(
                    f"the stack has published no {what}, which the load balancer needs",
                    hint="make it with `inv infra.apply`, or switch the part off with --values",
                )

    # -- planning -----------------------------------------------------------------------------

    def plan(self) -> PlatformPlan:
        """Return what installing it would do; reads only.

        Raises:
            SettingsError: something is not known that a part needs.
            ClusterError: the cluster refused, or cannot be reached.
        """
        self._check()
        prints = {RELEASE: fingerprint_of(self._own, _contents(self._chart))}
        if self._merged["loadBalancerController"]["install"]:
            pin = self._upstream["loadBalancerController"]
            packed = [(pin.url, pin.sha256.encode())]
            prints[CONTROLLER] = fingerprint_of(self._controller, packed)
        return PlatformPlan(
            f"platform of {self._title}",
            tuple(self._steps(prints)),
            self._own,
            self._controller if CONTROLLER in prints else {},
            prints,
        )

    def _steps(self, prints: Mapping[str, str]) -> Iterator[Step]:
        found = self._cluster.get("Namespace", self._inputs.namespace)
        if found is None:
            yield Step("create", f"namespace {self._inputs.namespace}")
        if self._merged["gatewayApi"]["install"]:
            yield from self._definitions_step()
        record = record_of(found)
        for release in (CONTROLLER, RELEASE):
            if release in prints:
                yield from self._release_steps(release, prints, record)

    def _definitions_step(self) -> Iterator[Step]:
        wanted = self._upstream["gatewayApi"].version
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
        """Return what somebody has removed of a release."""
        return [
            f"{part.kind.lower()} {part.name}"
            for part in parts(self._merged, self._inputs)
            if part.release == release and self._get(part) is None
        ]

    def _history(self, release: str) -> list[Revision]:
        return revisions(self._cluster, release, self._where(release))

    def _where(self, release: str) -> str:
        return CONTROLLER_NAMESPACE if release == CONTROLLER else self._inputs.namespace

    # -- installing ---------------------------------------------------------------------------

    def apply(self) -> PlatformPlan:
        """Bring the cluster to what is wanted; return what that took.

        Raises:
            SuiteError: it did not work; the message names the cause.
        """
        plan = self.plan()
        if not plan.steps:
            return plan
        where = self._inputs.namespace
        if self._cluster.get("Namespace", where) is None:
            self._cluster.apply(namespace(where, {}))
        me = this_run("apply the platform")
        with LeaseLock(self._cluster, where, me, wait_seconds=TURN_SECONDS, say=self._warn) as lock:
            # Planned again under the lock: somebody else may have done it meanwhile.
            plan = self.plan()
            record = record_of(self._cluster.get("Namespace", where))
            for step in plan.steps:
                lock.check()
                self._carry_out(step, plan, record)
            self._cluster.apply(namespace(where, record))
        return plan

    def _carry_out(self, step: Step, plan: PlatformPlan, record: dict[str, str]) -> None:
        release = step.subject.removeprefix("release ")
        if step.verb == "define":
            self._define_gateway_api()
        elif step.verb == "repair":
            self._repair(release)
        elif release in plan.prints:
            record.pop(release, None)
            if release == CONTROLLER:
                self._install_controller()
            else:
                self._install(RELEASE, self._chart, self._own)
            newest = self._history(release)[-1].number
            record[release] = f"{newest} {plan.prints[release]}"

    def _define_gateway_api(self) -> None:
        wanted = self._upstream["gatewayApi"]
        with self._work(f"define the Gateway API {wanted.version}") as activity:
            activity.line(wanted.url)
            self._define([self._fetch(wanted).read_bytes()], activity)

    def _install_controller(self) -> None:
        wanted = self._upstream["loadBalancerController"]
        chart = self._fetch(wanted)
        with self._work(f"define the kinds of {CONTROLLER} {wanted.version}") as activity:
            # Helm installs a chart's definitions once, and never renews them.
            self._define(_definitions(chart), activity)
        since = self._cluster.now()
        self._install(CONTROLLER, chart, self._controller)
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
        """End what a dead run left pending."""
        with self._work(f"repair release {release}") as activity:
            activity.outcome = repair(
                self._cluster,
                self._helm,
                release,
                self._where(release),
                self._history(release),
                say=activity.say,
            )

    def _define(self, texts: Sequence[bytes], activity: Activity) -> None:
        """Apply definitions, and wait until the API serves them."""
        import yaml

        objects = [
            each
            for text in texts
            for each in yaml.load_all(text, _loader())
            if each and each.get("kind") in DEFINITIONS
        ]
        for each in objects:
            activity.line(f"{each['kind']} {each['metadata']['name']}")
            self._cluster.apply(each)
        kinds = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
        deadline = time.monotonic() + SERVED_SECONDS
        for each in kinds:
            while not self._is_served(each):
                if time.monotonic() > deadline:
                    raise DeadlineError(
                        f"{each['metadata']['name']} is not served after {SERVED_SECONDS} s",
                        hint="kubectl describe crd says why; then run the same again",
                    )
                time.sleep(POLL_SECONDS)
        activity.outcome = f"{len(kinds)} kinds"

    def _is_served(self, definition: Object) -> bool:
        found = self._cluster.get("CustomResourceDefinition", definition["metadata"]["name"])
        return any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in (found or {}).get("status", {}).get("conditions") or ()
        )

    # -- looking ------------------------------------------------------------------------------

    def status(self) -> list[State]:
        """Return what became of every part of the platform."""
        # Definitions that the cluster brings are its administrator's, whatever their version.
        installs = self._merged["gatewayApi"]["install"]
        wanted = self._upstream["gatewayApi"].version if installs else ""
        return [
            state_of(part, self._get(part), wanted) for part in parts(self._merged, self._inputs)
        ]

    def _get(self, part: Part) -> Object | None:
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


def _contents(chart: Path) -> list[tuple[str, bytes]]:
    """Return the files of helm/platform that are the chart's, by name."""
    beside = {chart / "controller.yaml", chart / "upstream.yaml"}
    return sorted(
        (str(path.relative_to(chart)), path.read_bytes())
        for path in chart.rglob("*")
        if path.is_file() and path not in beside
    )


def _definitions(chart: Path) -> list[bytes]:
    """Return the files of a packed chart's folder crds.

    Raises:
        SuiteError: the file is no packed chart.
    """
    found = []
    try:
        with tarfile.open(chart, "r:gz") as archive:
            for member in archive:
                if member.isfile() and Path(member.name).parts[1:2] == ("crds",):
                    content = archive.extractfile(member)
                    found.append(content.read() if content else b"")
    except tarfile.TarError as error:
        raise SuiteError(f"{chart} is no packed chart: {error}") from error
    return found


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold keys and values")
    return found


def _loader() -> Any:
    """Return the fastest safe loader: definitions are files of a megabyte."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)

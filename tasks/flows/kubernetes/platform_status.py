"""The state of the parts of a cluster's platform, for `inv platform.status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.errors import SuiteError
from tasks.core.kubernetes.objects import Object, has_condition
from tasks.core.kubernetes.platform import PlatformPart, address_of, bundle_of, is_older


@dataclass(frozen=True)
class PartState:
    """The state of one part of the platform.

    Attributes:
        part: its description.
        object: its kind, namespace and name.
        state: ``ok``, ``missing``, ``not ready``, ``outdated``.
        remedy: what to do, unless it is ok.
    """

    part: str
    object: str
    state: str
    detail: str = ""
    remedy: str = ""


COLUMNS = ("part", "object", "state", "detail")


def refuse(states: Sequence[PartState]) -> None:
    """Raise an error if a part is not ok.

    Raises:
        SuiteError: a part is not ok; the error names the parts and their remedies.
    """
    bad = [state for state in states if state.state != "ok"]
    if bad:
        remedies = dict.fromkeys(state.remedy for state in bad)
        raise SuiteError(
            f"the platform lacks: {', '.join(state.part for state in bad)}",
            hint="; ".join(remedies),
        )


def rows(states: Sequence[PartState]) -> list[tuple[str, ...]]:
    """Return the states as rows of ``COLUMNS``."""
    return [(one.part, one.object, one.state, one.detail) for one in states]


def state_of(part: PlatformPart, found: Object | None, gateway_api: str) -> PartState:
    """Return the state of one part.

    Args:
        found: its object, or None.
        gateway_api: the oldest version of the Gateway API that will do, or an empty string.
    """
    where = f"{part.namespace}/" if part.namespace else ""
    subject = f"{part.kind.lower()} {where}{part.name}"
    describe = f"kubectl describe {part.kind.lower()} {part.name} --namespace {part.namespace}"
    if found is None:
        return PartState(part.title, subject, "missing", remedy=part.remedy)
    state, detail, remedy = "ok", "", ""
    if part.kind == "CustomResourceDefinition":
        detail = bundle_of(found)
        if is_older(detail, gateway_api):
            state, detail, remedy = "outdated", f"{detail} < {gateway_api}", part.remedy
    elif part.kind == "Deployment":
        ready, wanted = found.get("status", {}).get("readyReplicas", 0), found["spec"]["replicas"]
        detail = f"{ready}/{wanted} ready"
        if ready < wanted:
            state, remedy = "not ready", describe
    elif part.kind == "Gateway":
        detail = address_of(found)
        if not has_condition(found, "Programmed"):
            state, detail, remedy = "not ready", "has no address yet", describe
    return PartState(part.title, subject, state, detail, remedy)

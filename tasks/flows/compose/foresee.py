"""What a deploy changes of a branch's containers, and in what they differ from the last one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tasks.adapters.docker.engine import Container
from tasks.adapters.files.lock import FileLock
from tasks.core.compose.reconcile import ServiceChange, WantedService
from tasks.core.compose.record import ComposeRecord
from tasks.core.compose.stages import SECRETS
from tasks.core.environment import Owner
from tasks.core.environment_data import begun
from tasks.core.foresight import (
    ADD,
    CHANGE,
    KEEP,
    REMOVE,
    RUN,
    FieldChange,
    Foresight,
    ObjectChange,
    fact,
)
from tasks.core.names import Names
from tasks.core.saved_plan import ASLEEP, DATABASE_IMAGE, RECORD
from tasks.core.sleep import Sleep
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inventory import Inventory
from tasks.flows.compose.plan import MIGRATE, ComposePlan
from tasks.flows.compose.planner import plan_changes
from tasks.flows.compose.project import wanted_services
from tasks.flows.target import Request


def foresee(context: ComposeContext, plan: ComposePlan) -> Foresight:
    """Return what carrying out a plan changes, and what that depends on; reads only."""
    names = plan.request.names
    inventory = context.inventory(plan.request.owner, names)
    objects = tuple(_objects(plan, inventory)) if plan.steps else ()
    facts = {
        RECORD: fact(plan.record.to_json()) if plan.record else "",
        ASLEEP: str(_asleep(plan) or ""),
        "definition": fact({name: each.fingerprint for name, each in plan.wanted.items()}),
        "migration": plan.migration,
        # A stand-in that was not made yet has no digest.
        DATABASE_IMAGE: plan.database if "@" in plan.database else "",
        "volumes": fact(sorted(inventory.volumes)),
        **{
            f"container {item.name}": f"{item.id[:12]}, {item.state}"
            for item in inventory.containers
        },
    }
    return Foresight(objects, facts)


def _asleep(plan: ComposePlan) -> Sleep | None:
    lock = FileLock(plan.request.names.namespace)
    return plan.record.rest("", lock.wake()).asleep if plan.record else None


def _objects(plan: ComposePlan, inventory: Inventory) -> Iterator[ObjectChange]:
    secrets = f"{plan.request.names.namespace}_{SECRETS}"
    if plan.seed and secrets not in inventory.volumes:
        yield ObjectChange(ADD, f"volume/{secrets}")
    recorded = plan.record.services if plan.record else {}
    for change in plan.changes:
        there = inventory.services.get(change.service)
        yield _change(
            replace(change, verb=plan.verb(change)), there, recorded, plan.wanted[change.service]
        )
    if plan.migrate:
        yield ObjectChange(RUN, f"container/{MIGRATE}")
    yield from (ObjectChange(REMOVE, f"container/{item.name}") for item in inventory.leftovers)


def _change(
    change: ServiceChange,
    there: Container | None,
    recorded: Mapping[str, str],
    wanted: WantedService,
) -> ObjectChange:
    title = f"container/{change.service}"
    if there is None:
        # Its image is a fact of its own.
        return ObjectChange(ADD, title, wanted=fact(wanted.fingerprint))
    if change.verb == "keep":
        return ObjectChange(KEEP, title)
    fields = [
        FieldChange("image", there.image, wanted.image),
        FieldChange("configuration", recorded.get(change.service, ""), wanted.fingerprint),
    ]
    differing = tuple(each for each in fields if each.before != each.after)
    if not differing:
        after = "restarted" if change.verb == "restart" else "running"
        # One that shares the network of a new container is made anew as it was.
        after = "made anew" if change.verb == "update" else after
        differing = (FieldChange("state", there.state, after),)
    return ObjectChange(CHANGE, title, differing)


def find_drift(
    context: ComposeContext, owner: Owner, names: Names, inventory: Inventory, record: ComposeRecord
) -> Iterator[ObjectChange]:
    """Yield what differs: from what was deployed to what is there.

    Args:
        inventory: the environment's objects on the engine.
        record: of the environment, in which something was deployed.
    """
    release = record.current
    assert release, "the caller has seen to it"  # noqa: S101 - for the type
    request = Request(names, owner.repository, release.owner, release.tag)
    wanted = wanted_services(context, request, release, record.database, begun(record))
    # What the checkout has become meanwhile is no drift.
    deployed = {
        name: replace(each, fingerprint=record.services[name])
        for name, each in wanted.items()
        if name in record.services
    }
    for change in plan_changes(context, deployed, inventory):
        there, title = inventory.services.get(change.service), f"container/{change.service}"
        if there is None:
            yield ObjectChange(REMOVE, title)
        elif there.image != deployed[change.service].image:
            other = FieldChange("image", deployed[change.service].image, there.image)
            yield ObjectChange(CHANGE, title, (other,))
        elif change.verb != "keep" and not record.asleep:
            yield ObjectChange(CHANGE, title, (FieldChange("state", "running", there.state),))
    for name, item in inventory.services.items():
        if name not in record.services and name != MIGRATE:
            yield ObjectChange(ADD, f"container/{item.name}")

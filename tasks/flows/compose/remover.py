"""Removes environments from this machine, each object in the necessary order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from tasks.core.compose.reconcile import short_reference
from tasks.core.compose.record import BRANCH
from tasks.core.compose.stages import DATABASE, SECRETS
from tasks.core.environment import Holder, Owner, State
from tasks.core.environment_data import seed_id
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.summary import EnvironmentSummary
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inventory import Inventory, remove_record, write_record
from tasks.flows.compose.shared_uploads import ComposeSharedUploads
from tasks.flows.target import Removal, RemovalPlan, Say, without_messages


@dataclass(frozen=True)
class ComposeRemover:
    """Removes environments; errors as for ``Remover``."""

    context: ComposeContext

    # They share images, and each removal keeps those that another environment runs.
    parallel_removals: ClassVar = 1

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return self.context.exclusive(names, me, warn)

    def holds_images(self, *, dry: bool) -> bool:
        """Return True if there is a registry to remove images from.

        A local one that was never started is empty; otherwise it is started, unless dry.
        """
        if not self.context.registry_is_local:
            return True
        if not self.context.platform.has_registry():
            return False
        if not dry:
            self.context.platform.ensure_registry()
        return True

    def plan_removal(self, owner: Owner, names: Names) -> RemovalPlan:
        """Return the plan to remove everything of the branch from the engine."""
        inventory = self.context.inventory(owner, names)
        todo = list(self._removals(inventory, names))
        record = inventory.record
        if record and record.state is not State.REMOVING:
            going = replace(record, state=State.REMOVING, asleep=None)
            mark = partial(write_record, self.context.engine, owner, names, going)
            step, first = todo[0]
            todo[0] = (step, partial(_after, mark, first))
        return RemovalPlan(f"clean up {names.branch} in {names.environment}", tuple(todo))

    def remove_misnamed(self, found: EnvironmentSummary, say: Say) -> int:
        """Return 0: the inspector finds none on an engine."""
        return 0

    def _removals(self, inventory: Inventory, names: Names) -> Iterator[tuple[Step, Removal]]:
        engine = self.context.engine
        for item in inventory.containers:
            step = Step("remove", f"container {item.name}")
            yield step, without_messages(partial(engine.remove_container, item.id))
        for name in inventory.networks:
            step = Step("remove", f"network {name}")
            yield step, without_messages(partial(engine.remove_network, name))
        for image in self._images(inventory, names):
            step = Step("remove", f"image {short_reference(image)} of this engine")
            yield step, without_messages(partial(engine.remove_image, image))
        # The secrets after the data: what an interrupted clean-up has left can be deployed.
        for name in sorted(inventory.volumes, key=lambda name: name.endswith(f"_{SECRETS}")):
            content = f"database {names.database}" if name.endswith(f"_{DATABASE}") else ""
            step = Step("remove", f"volume {name}", content)
            yield step, without_messages(partial(engine.remove_volume, name))
        record, shared = inventory.record, ComposeSharedUploads(self.context)
        id_ = seed_id(record.data) if record and record.shares else ""
        if id_ and id_ in shared.unused(names.namespace):
            step = Step("remove", f"uploads of seed {id_}", "no other branch shares them")
            yield step, without_messages(partial(shared.remove, id_, names.namespace))
        # Last: an interrupted clean-up needs it to be finished.
        if inventory.records:
            step = Step("remove", f"record of {names.namespace}")
            yield step, without_messages(partial(remove_record, engine, names))

    def _images(self, inventory: Inventory, names: Names) -> list[str]:
        """Return the images in the engine that no other environment runs."""
        engine = self.context.engine
        history = inventory.record.history if inventory.record else ()
        own = {image for release in history for image in (release.mautic, release.nginx)}
        in_use = {
            item.image for item in engine.containers(BRANCH) if item.project != names.namespace
        }
        return sorted(image for image in own - in_use if engine.has_image(image))


def _after(mark: Callable[[], None], removal: Removal, say: Say) -> None:
    mark()
    removal(say)

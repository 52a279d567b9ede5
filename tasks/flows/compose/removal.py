"""What has to go when a branch goes, in the order in which it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.adapters.docker.engine import Engine
from tasks.core.compose.reconcile import short
from tasks.core.environment import BRANCH
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.flows.compose.inventory import State
from tasks.flows.compose.plan import DATABASE


def removals(engine: Engine, state: State, names: Names) -> list[tuple[Step, Callable[[], object]]]:
    """Return each object of an environment with what removes it.

    Args:
        engine: where they are.
        state: what the engine has of the environment.
        names: the branch's names.
    """
    todo: list[tuple[Step, Callable[[], object]]] = [
        (Step("remove", f"container {item.name}"), partial(engine.remove_container, item.id))
        for item in state.containers
    ]
    for name in state.networks:
        todo.append((Step("remove", f"network {name}"), partial(engine.remove_network, name)))
    for image in _images(engine, state, names):
        step = Step("remove", f"image {short(image)}", "this engine's copy")
        todo.append((step, partial(engine.remove_image, image)))
    # The record goes last: while it is there, an interrupted clean-up is known to be ours.
    for name in (*state.volumes, *state.records):
        content = f"database {names.database}" if name.endswith(f"_{DATABASE}") else ""
        step = Step("remove", f"volume {name}", content)
        todo.append((step, partial(engine.remove_volume, name)))
    return todo


def _images(engine: Engine, state: State, names: Names) -> list[str]:
    """Return the images in the engine that no other environment runs."""
    history = state.record.history if state.record else ()
    own = {image for release in history for image in (release.mautic, release.nginx)}
    others = {item.image for item in engine.containers(BRANCH) if item.project != names.namespace}
    return sorted(image for image in own - others if engine.has_image(image))

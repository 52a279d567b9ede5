"""Saves diagnostics of a failed deploy before the rollback removes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tasks.adapters.docker.engine import Engine
from tasks.core.compose.stages import PROJECT
from tasks.core.display import readable


def save_diagnostics(
    engine: Engine, project: str, folder: Path, hide: Callable[[str], str]
) -> None:
    """Write every container's log and state into a folder.

    Args:
        engine: the Docker Engine.
        project: the Compose project.
        folder: created if missing; gets two files per container.
        hide: masks secrets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for container in engine.containers(f"{PROJECT}={project}"):
        found = engine.inspect(container.id)
        if found is None:
            continue
        shown = {
            "name": container.name,
            "image": container.image,
            "restarts": found["RestartCount"],
            "state": found["State"],
            "command": found["Config"]["Cmd"],
            "mounts": found["Mounts"],
        }
        at = folder / container.name
        at.with_suffix(".json").write_text(hide(json.dumps(shown, indent=2)))
        at.with_suffix(".log").write_text(hide(readable(hide(engine.logs(container.id)))))

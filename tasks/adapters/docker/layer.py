"""Builds an image on top of one that the engine has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.adapters.process import Runner

BUILD_SECONDS = 900.0


def build_layer(
    runner: Runner,
    dockerfile: Path,
    tag: str,
    *,
    contexts: Mapping[str, Path],
    arguments: Mapping[str, str],
    on_line: Callable[[str], None],
) -> None:
    """Build an image into the engine.

    Args:
        dockerfile: it copies nothing but from the contexts.
        tag: what the image is called.
        contexts: folders by the names that the Dockerfile has for them.
        arguments: its arguments.
        on_line: called with every line of output.

    Raises:
        CommandError: it cannot be built.
    """
    named = [f"--build-context={name}={folder}" for name, folder in contexts.items()]
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    argv = ["docker", "buildx", "build", "--load", "--progress=plain", f"--tag={tag}"]
    runner.run(
        # A Dockerfile as input brings no build context of its own.
        [*argv, *named, *given, "-"],
        stdin=dockerfile.read_text(),
        deadline=BUILD_SECONDS,
        on_line=on_line,
    )

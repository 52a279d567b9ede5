"""Reads files of an image without running it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.adapters.docker.buildx import NO_ATTESTATIONS, diagnose
from tasks.adapters.process import Runner


def read_image_files(
    runner: Runner, reference: str, paths: Sequence[str], login: Mapping[str, str]
) -> dict[str, str]:
    """Return the text of an image's files by their paths, without those that it lacks.

    The builder copies them: what it has just pushed, it need not download again.

    Args:
        runner: runs docker.
        reference: the image, by digest.
        paths: the files, relative to the image's root, each of another name.
        login: variables that log docker in to the registry.

    Raises:
        RegistryError: the image could not be pulled.
        EngineError: the engine cannot be reached, or its disk is full.
        MissingToolError: there is no docker or no buildx.
        CommandError: docker failed.
    """
    # Only a pattern may match nothing, and only from its first wildcard on.
    patterns = " ".join(f"/[{path[0]}]{path[1:]}" for path in paths)
    dockerfile = f"FROM {reference} AS image\nFROM scratch\nCOPY --from=image {patterns} /\n"
    with tempfile.TemporaryDirectory(prefix="inv-image-") as folder:
        argv = ["docker", "buildx", "build", "--progress", "plain"]
        argv += ["--output", f"type=local,dest={folder}", "-"]
        done = runner.run(argv, stdin=dockerfile, env={**NO_ATTESTATIONS, **login}, check=False)
        if done.returncode != 0:
            raise diagnose(runner, done)
        places = {path: Path(folder) / Path(path).name for path in paths}
        return {path: place.read_text() for path, place in places.items() if place.exists()}

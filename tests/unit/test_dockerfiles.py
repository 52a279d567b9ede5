"""Modes in the images are the Dockerfiles' own, whatever umask a checkout was made under."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.suite import ROOT

DOCKERFILES = sorted((ROOT / "docker").rglob("*Dockerfile"))
WITH_MODES_OF_A_CHECKOUT = {("code.Dockerfile", "own")}
"""Stages that no image is made of as they are: nginx takes the public files, with new modes."""


def copies(path: Path) -> list[tuple[str, str]]:
    """Return the COPY and ADD lines of a Dockerfile, each with the name of its stage."""
    text = re.sub(r"\\\n\s*", "", path.read_text())
    found, stage = [], ""
    for line in text.splitlines():
        if match := re.match(r"FROM \S+(?: AS (\S+))?", line):
            stage = match[1] or ""
        elif re.match(r"(COPY|ADD) ", line):
            found.append((stage, line))
    return found


def test_there_are_dockerfiles() -> None:
    assert len(DOCKERFILES) >= 8
    assert sum(len(copies(path)) for path in DOCKERFILES) >= 20


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_comes_from_the_checkout_is_given_its_mode(path: Path) -> None:
    for stage, line in copies(path):
        if "--from=" in line or (path.name, stage) in WITH_MODES_OF_A_CHECKOUT:
            continue
        assert re.search(r" --chmod=(644|755) ", line), line
        # The one mode is that of a folder, too, and of all that is in it.
        *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
        if any((path.parent / source.rstrip("/")).is_dir() for source in sources):
            assert " --chmod=755 " in line, line


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_stage_copies_so_often_that_its_cache_takes_minutes_to_export(path: Path) -> None:
    """BuildKit looks for loops along every way through the steps: each COPY doubles their number.

    With 15 in the code's stage a build of the images on top hung for minutes (BuildKit,
    cache/remotecache/v1, ``checkLoops``).
    """
    stages = Counter(stage for stage, _ in copies(path))
    assert max(stages.values(), default=0) <= 6, stages


def test_every_program_of_the_image_is_copied() -> None:
    """One that is not, fails the first time that it is called, in a container."""
    mautic = ROOT / "docker" / "mautic"
    there = {f"php/{path.name}" for path in (mautic / "php").iterdir()}
    copied = {name for _, line in copies(mautic / "Dockerfile") for name in line.split()}
    assert there <= copied

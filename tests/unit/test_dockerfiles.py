"""Modes in the images are the Dockerfiles' own, whatever umask a checkout was made under."""

from __future__ import annotations

import re
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
        # One mode would be that of a folder, too, and of all that is in it.
        *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
        for source in sources:
            folder = path.parent / source.rstrip("/")
            assert not folder.is_dir(), line


def test_every_file_of_the_stand_in_is_copied_to_its_place() -> None:
    folder = ROOT / "docker" / "standins" / "mautic"
    found = {}
    for _, line in copies(folder / "Dockerfile"):
        source, target = line.split()[-2:]
        for path in folder.glob(source):
            found[path] = f"{target}{path.name}"
    files = [path for path in (folder / "html").rglob("*") if path.is_file()]
    assert found == {path: f"/var/www/{path.relative_to(folder)}" for path in files}

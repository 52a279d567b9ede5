"""The key and the builder see the same files: ignore files, beside what a real builder is given."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tasks.adapters.docker.build_context import BuildContext
from tasks.core.errors import InputError
from tasks.core.images.ignore_file import IgnoreFile

CASES_OF_A_BUILD = 40
"""How many folders one run of the builder takes: starting it takes longer than all of them."""

SEGMENTS = ("a", "b", "ab", "a.b", ".c", "a b", "*", "A")
WILD = (*SEGMENTS, "*", "**", "?", "a*", "*b", "**b", "a**", "[ab]", "[^a]", "..", ".", "a\\*", "")


def is_usable(line: str) -> bool:
    """Return True if neither the suite nor the builder refuses a line."""
    try:
        IgnoreFile(line)
    except InputError:
        return False
    return True


trees = st.lists(
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4), min_size=1, max_size=10
).map(lambda paths: ["/".join(path) for path in paths])
lines = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", "!", "!", " ", "! ", "#"]),
    st.sampled_from(["", "", "/", "./"]),
    st.lists(st.sampled_from(WILD), min_size=1, max_size=4).map("/".join),
    st.sampled_from(["", "", "/", " ", "\r"]),
).filter(is_usable)
cases = st.tuples(trees, st.lists(lines, max_size=5).map("\n".join))


def plant(folder: Path, paths: list[str], ignore: str) -> None:
    for path in paths:
        place = folder / path
        # What an earlier path has made a folder, or a file, stays one.
        if any(above.is_file() for above in place.parents if above != folder) or place.is_dir():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    (folder / ".dockerignore").write_text(ignore)


def listed(folder: Path) -> set[str]:
    return {
        str((Path(place) / name).relative_to(folder))
        for place, _, names in os.walk(folder)
        for name in names
    }


@pytest.mark.usefixtures("engine")
@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(cases, min_size=CASES_OF_A_BUILD, max_size=CASES_OF_A_BUILD))
def test_the_builder_is_given_what_is_keyed(found: list[tuple[list[str], str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        targets = {}
        for number, (paths, ignore) in enumerate(found):
            plant(root / f"in{number}", paths, ignore)
            targets[f"t{number}"] = {
                "context": str(root / f"in{number}"),
                "dockerfile-inline": "FROM scratch\nCOPY . /\n",
                "output": [f"type=local,dest={root}/out{number}"],
            }
        bake = {"group": {"default": {"targets": list(targets)}}, "target": targets}
        (root / "bake.json").write_text(json.dumps(bake))
        done = subprocess.run(
            ["docker", "buildx", "--builder", "default", "bake", "--file", "bake.json"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for number, (_, ignore) in enumerate(found):
            folder = root / f"in{number}"
            context = BuildContext(root, f"in{number}", folder / ".dockerignore")
            assert set(context.paths()) == listed(root / f"out{number}"), (ignore, listed(folder))

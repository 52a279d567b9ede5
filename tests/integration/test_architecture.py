"""The picture in docs/architecture.md is what its source draws."""

from __future__ import annotations

import subprocess

from tests.conftest import missing
from tests.support.suite import ROOT


def test_the_picture_of_the_rooms_is_drawn_from_its_source() -> None:
    draw = ROOT / "node_modules" / ".bin" / "wasm-graphviz-cli"
    if not draw.exists():
        missing("there is no wasm-graphviz-cli: npm ci")
    source = ROOT / "docs" / "rooms.dot"
    argv = [str(draw), "--layout=dot", "--format=svg", str(source)]
    drawn = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "rooms.svg").read_text() == drawn, "run `./inv test --only docs`"

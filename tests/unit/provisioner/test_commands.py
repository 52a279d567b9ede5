"""How the provisioner's commands end."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner import __main__ as commands
from provisioner.seed_file import SeedError
from provisioner.seeds import Seeds


@pytest.mark.parametrize(("error", "status"), [(None, 0), (SeedError("it is none"), 1)])
def test_whatever_becomes_of_a_seed_its_bytes_are_taken(
    monkeypatch: pytest.MonkeyPatch, error: SeedError | None, status: int
) -> None:
    """Otherwise an exec may not end."""
    given = io.BytesIO(b"a line\n" + b"x" * (3 << 20))

    def plant(_: Seeds, file: io.BytesIO, __: Any) -> None:
        file.readline()
        if error:
            raise error

    rules = SimpleNamespace(seed_key="")
    monkeypatch.setattr(commands, "_server_and_cluster", lambda: (rules, None, None))
    monkeypatch.setattr(Seeds, "plant", plant)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given))
    assert commands.main(["plant"]) == status
    assert given.read() == b""

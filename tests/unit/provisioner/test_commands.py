"""How the provisioner's commands end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.suite import ROOT

PLANT = """
import sys
from provisioner import __main__ as commands
commands.LOAD = (sys.executable, "-c", sys.argv[1])
sys.exit(commands.main(["plant"]))
"""


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("import sys; sys.stdin.buffer.read()", 0, ""),
        ("", 0, ""),
        ("import sys; sys.exit(1)", 1, ""),
        (
            "import os; os.kill(os.getpid(), 9)",
            1,
            "plant: what loads the seed was ended by signal 9\n",
        ),
    ],
    ids=["all is read", "it is there already", "it fails", "it is killed"],
)
def test_whatever_becomes_of_a_seed_all_its_bytes_are_taken(
    script: str, status: int, said: str
) -> None:
    """Otherwise an exec may not end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "docker/platform/provisioner")}
    argv = [sys.executable, "-c", PLANT, script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"x" * (1 << 20))
        process.stdin.close()
        assert process.stderr.read().decode() == said
    assert process.returncode == status

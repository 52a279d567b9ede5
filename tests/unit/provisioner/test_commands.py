"""How the provisioner's commands end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.support.seeds import KEY, seal
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


UPLOADS = os.urandom(3_000_000)
SEALED = seal(UPLOADS)


@pytest.mark.parametrize(
    ("changes", "sent", "status", "said"),
    [
        ({}, SEALED, 0, "uploads of seed 20260102t030405"),
        ({}, SEALED[:-1], 1, "the seed is damaged, cut off, or of another key"),
        ({}, SEALED[:30_000] + b"x" + SEALED[30_001:], 1, "the seed is damaged"),
        ({"key": "ab" * 32}, SEALED, 1, "the platform takes seeds of another key, or none"),
        ({"id": "'"}, SEALED, 1, "stdin must begin with a line of JSON: id, key, bytes"),
    ],
    ids=["whole", "cut off", "changed", "of another key", "no order"],
)
def test_uploads_are_decrypted_and_whatever_becomes_of_them_all_their_bytes_are_taken(
    tmp_path: Path, changes: dict[str, object], sent: bytes, status: int, said: str
) -> None:
    fingerprint = hashlib.sha256(bytes.fromhex(KEY)).hexdigest()
    known = {"project": "m", "host": "h", "port": 1, "environments": {}, "others": {}}
    (tmp_path / "rules.json").write_text(json.dumps({**known, "seedKey": fingerprint}))
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'docker/platform/provisioner'}:{ROOT}",
        "PROVISIONER_RULES": str(tmp_path / "rules.json"),
    }
    order = {"id": "20260102t030405", "key": KEY, "bytes": len(sent), **changes}
    argv = [sys.executable, "-m", "provisioner", "unseal"]
    with subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env) as process:
        assert process.stderr
        # Before anything is sent: of a provisioner that does not know it nothing must be left.
        assert process.stderr.readline() == b"unseal: ready\n"
        out, err = process.communicate(json.dumps(order).encode() + b"\n" + sent)
    told = err.decode().splitlines()
    assert (process.returncode, told[-1].startswith(f"unseal: {said}")) == (status, True), told
    assert KEY not in err.decode()
    assert (out == UPLOADS) == (status == 0)

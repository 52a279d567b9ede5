"""Files with secrets: nobody else reads them, and none is written through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tasks.adapters.files.private import write_private


@pytest.mark.parametrize("umask", [0, 0o077])
def test_only_their_owner_reads_them(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = write_private(tmp_path / "token", b"secret")
    finally:
        os.umask(before)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"secret", 0o600)


def test_an_old_file_that_anybody_may_read_is_closed_before_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("much longer than that")
    path.chmod(0o644)
    write_private(path, b"secret")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"secret", 0o600)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "token"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        write_private(path, b"secret")
    assert victim.read_text() == "precious"

"""A dump as a file: whole or not there, and damage is noticed."""

from __future__ import annotations

import os
import signal
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.files.dump_file import DumpFile, DumpWriter, new_dump, remove_unfinished
from tasks.core.dump_manifest import DATABASE, UPLOADS, Member
from tasks.core.errors import InputError, SuiteError, UnreadableError
from tests.unit.core.test_dump_manifest import MANIFEST


def fill(writer: DumpWriter) -> None:
    for name, parts in ((DATABASE, (b"\x00\xff", b"")), (UPLOADS, (b"files",))):
        with writer.member(name) as take:
            for part in parts:
                take(part)
    writer.finish(replace(MANIFEST, members=writer.members))


def test_a_dump_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "own.zip"
    path.write_text("an older one")
    with new_dump(path) as writer:
        fill(writer)
        assert path.read_text() == "an older one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = DumpFile(path)
    manifest = found.manifest()
    found.check(manifest)
    assert manifest.members[DATABASE].bytes == 2
    assert b"".join(found.read(DATABASE)) == b"\x00\xff"
    wrong = replace(manifest, members={**manifest.members, DATABASE: Member(2, "0" * 64)})
    with pytest.raises(UnreadableError, match="is damaged"):
        found.check(wrong)


@pytest.mark.parametrize("failure", [SuiteError("lost"), KeyboardInterrupt(), OSError("full")])
def test_what_ends_before_its_end_leaves_no_file(tmp_path: Path, failure: BaseException) -> None:
    with (
        pytest.raises((SuiteError, KeyboardInterrupt)),
        new_dump(tmp_path / "own.zip") as writer,
        writer.member(DATABASE) as take,
    ):
        take(b"half")
        raise failure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_told", [True, False], ids=["in its block", "while it is opened"])
def test_an_interrupt_where_a_file_of_it_begins_ends_it_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    opened = []
    real = zipfile.ZipFile.open

    def interrupted(*args: Any, **options: Any) -> Any:
        opened.append(real(*args, **options))
        if not is_told:
            raise KeyboardInterrupt
        return opened[-1]

    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    with pytest.raises(KeyboardInterrupt), new_dump(tmp_path / "own.zip") as writer:
        begun = writer.member(DATABASE)
        begun.__enter__()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def kill_dumping(path: Path) -> None:
    """Write a dump in a process of its own, which is killed half way."""
    if (child := os.fork()) == 0:
        with new_dump(path) as writer, writer.member(DATABASE) as take:
            take(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_killed_dump_has_left_goes_and_one_under_way_stays(tmp_path: Path) -> None:
    path = tmp_path / "own [1].zip"
    for each in (path, tmp_path / "other.zip"):
        kill_dumping(each)
    assert len(list(tmp_path.iterdir())) == 2
    with new_dump(path) as writer:
        fill(writer)
        assert len(list(tmp_path.iterdir())) == 2
        remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.zip"
    with pytest.raises(InputError, match="there is no file"):
        DumpFile(path).manifest()
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="is no dump of this suite") as caught:
        DumpFile(path).manifest()
    assert "inv db.dump writes one" in str(caught.value.hint)
    with new_dump(path) as writer, writer.member(DATABASE) as take:
        take(b"alone")
    with pytest.raises(InputError, match="is no dump of this suite"):
        DumpFile(path).manifest()


@pytest.mark.parametrize(
    ("make", "what"), [(Path.mkdir, "a folder"), (os.mkfifo, "a device or a pipe")]
)
def test_what_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    path = tmp_path / "there"
    make(path)
    with pytest.raises(InputError, match=f"is no file but {what}"):
        DumpFile(path).manifest()
    with pytest.raises(InputError, match="/dev/zero is no file but a device"):
        DumpFile(Path("/dev/zero")).manifest()


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        DumpFile(path).manifest()
    with pytest.raises(InputError, match="cannot be written: File name too long"), new_dump(path):
        pytest.fail("it is written")
    with (
        pytest.raises(InputError, match="there is no folder"),
        new_dump(tmp_path / "none" / "own.zip"),
    ):
        pytest.fail("it is written")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_dump_replaces_nothing_that_is_no_file(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "there"
    make(path)
    with pytest.raises(InputError, match=r"it is (no file|a folder)"), new_dump(path):
        pytest.fail("it is written")
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert not path.is_file()


def test_a_dump_leaves_a_link_as_it_is(tmp_path: Path) -> None:
    link, own = tmp_path / "link.zip", tmp_path / "own.zip"
    own.touch()
    link.symlink_to(own)
    with new_dump(link):
        """It has nothing in it."""
    assert link.is_symlink()
    assert own.stat().st_size > 0

"""A folder that is put together: what is there, what goes, and what of others stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.adapters.files.assemble import assemble


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    for name in ("a", "b"):
        (tmp_path / "source" / name).write_text(name)
    return tmp_path / "source"


def held(folder: Path) -> dict[str, str]:
    return {
        os.path.relpath(path, folder): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def test_it_holds_what_it_is_given_and_no_longer_what_it_was(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    assemble(folder, {"x/a": source / "a", "b": source / "b", "gone": source / "gone"})
    assert held(folder) == {"x/a": "a", "b": "b"}
    (folder / "x" / "others").write_text("o")
    (source / "b").write_text("changed")
    assemble(folder, {"b": source / "b"})
    assert held(folder) == {"b": "changed", "x/others": "o"}
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_file_that_was_replaced_is_taken_anew(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    assemble(folder, {"a": source / "a"})
    fresh = source / "fresh"
    fresh.write_text("A")  # of the same size
    fresh.replace(source / "a")
    assemble(folder, {"a": source / "a"})
    assert held(folder) == {"a": "A"}


def test_a_file_becomes_a_folder_and_a_folder_a_file(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    for files in ({"a": source / "a"}, {"a/b": source / "b"}, {"a": source / "a"}):
        assemble(folder, files)
        assert held(folder) == {name: path.read_text() for name, path in files.items()}


def test_a_link_stays_one(source: Path, tmp_path: Path) -> None:
    (source / "link").symlink_to("a")
    (source / "broken").symlink_to("nowhere")
    folder = tmp_path / "root"
    for _ in range(2):
        assemble(folder, {"link": source / "link", "broken": source / "broken"})
        assert (folder / "link").readlink() == Path("a")
        assert (folder / "broken").readlink() == Path("nowhere")


def test_where_no_links_can_be_made_files_are_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refused)
    folder = tmp_path / "root"
    assemble(folder, {"a": source / "a"})
    before = (folder / "a").stat().st_ino
    assemble(folder, {"a": source / "a"})
    assert (held(folder), (folder / "a").stat().st_ino) == ({"a": "a"}, before)
    (source / "a").write_text("A")
    assemble(folder, {"a": source / "a"})
    assert held(folder) == {"a": "A"}

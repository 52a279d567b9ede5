"""The files of a working tree, and which of them have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.adapters.files.tree import WorkingTree


def place_of(folder: str, path: str) -> str:
    return "" if path == "README.md" else f"{folder}/{path}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "themes"
    (folder / "acme" / "html").mkdir(parents=True)
    (folder / "acme" / "html" / "page.twig").write_text("one")
    (folder / "README.md").write_text("left out")
    return folder


@pytest.fixture
def tree(root: Path) -> WorkingTree:
    made = WorkingTree({"t": root}, place_of, lambda name: name.endswith("~"))
    assert made.contents() == {"t/acme/html/page.twig": b"one"}
    return made


def test_nothing_has_changed(tree: WorkingTree) -> None:
    assert tree.changed() == set()


def test_a_file_is_written_in_place_or_by_another_of_the_same_size_and_time(
    root: Path, tree: WorkingTree
) -> None:
    page = root / "acme" / "html" / "page.twig"
    page.write_text("two")
    assert tree.changed() == {"t/acme/html/page.twig"}
    assert tree.changed() == set()
    fresh = root / "acme" / "fresh~"
    fresh.write_text("six")
    fresh.replace(page)
    assert tree.changed() == {"t/acme/html/page.twig"}
    assert tree.read("t/acme/html/page.twig") == b"six"


def test_files_and_folders_come_and_go(root: Path, tree: WorkingTree) -> None:
    (root / "other").mkdir()
    (root / "other" / "a.css").write_text("a")
    (root / "other" / "a.css~").write_text("an editor's")
    (root / "link.css").symlink_to("other/a.css")
    (root / "nowhere.css").symlink_to("gone")
    assert tree.changed() == {"t/other/a.css", "t/link.css"}
    assert tree.read("t/link.css") == b"a"
    (root / "acme").rename(root.parent / "aside")
    assert tree.changed() == {"t/acme/html/page.twig"}
    assert tree.read("t/acme/html/page.twig") is None


def test_a_folder_may_be_missing_and_come(tmp_path: Path) -> None:
    tree = WorkingTree({"t": tmp_path / "later"}, place_of, lambda _: False)
    assert tree.contents() == {}
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a").write_text("a")
    assert tree.changed() == {"t/a"}

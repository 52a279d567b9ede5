"""Ignore files: the rules one by one. That they are the builder's own is asked of a real one."""

from __future__ import annotations

import pytest

from tasks.core.errors import InputError
from tasks.core.images.ignore_file import IgnoreFile

LEFT_OUT = [
    # the file, what it leaves out, what it does not
    ("", "", "a .git/config a/b"),
    ("#a\n\n \n", "", "a #a"),
    (" #a", "#a #a/b", "a"),
    ("a", "a a/b a/b/c", "b/a ab"),
    ("/a", "a a/b", "b/a"),
    ("a/", "a a/b", "b"),
    ("./a//b/../c", "a/c", "a/b a"),
    ("*.log", "a.log", "b/a.log a.logs"),
    ("*/*.log", "b/a.log", "a.log c/b/a.log"),
    ("**/*.log", "a.log b/a.log c/b/a.log", "a.lo"),
    ("**/.git", ".git a/.git a/.git/config", ".gitkeep a/b.git"),
    ("a/**", "a/b a/b/c", "a b"),
    ("a/**/c", "a/c a/b/c a/b/b/c", "a/b c"),
    ("**", "a a/b", ""),
    ("a?", "ab ab/c", "a"),
    ("[ab]", "a b", "c ab"),
    ("[^ab]", "c", "a b"),
    ("a\\*", "a*", "ab"),
    ("a.b+c(d)|{e}$", "a.b+c(d)|{e}$", "aXb"),
    ("*.(x)", "a.(x)", "a.x"),
    ("*\n!a", "b b/a", "a a/b"),
    ("*\n!a\na/b", "b a/b a/b/c", "a a/c"),
    ("*\n!a/b", "a/c c", "a/b a/b/c"),
    ("a\n!**/*.md\na/x.md", "a a/b a/x.md", "a/y.md a/b/z.md"),
    ("!a\na", "a", "b"),
    ("\ufeffa\r\n b \r\n", "a b", "c"),
    ("a\x0bb", "", "a b"),
    ("a\u2028b", "", "a b"),
    ("  !  a", "", "a"),
    ("*\n  !  a", "b", "a"),
]


@pytest.mark.parametrize(("text", "out", "kept"), LEFT_OUT, ids=[repr(row[0]) for row in LEFT_OUT])
def test_what_is_left_out(text: str, out: str, kept: str) -> None:
    ignore = IgnoreFile(text)
    paths = [*out.split(), *kept.split()]
    assert {path for path in paths if ignore.leaves_out(path)} == set(out.split())


def test_a_folder_is_pruned_where_nothing_below_it_can_be_kept() -> None:
    assert IgnoreFile("a").prunes("a")
    assert IgnoreFile("*\n!b/c").prunes("a")
    assert not IgnoreFile("*\n!b/c").prunes("b")
    assert not IgnoreFile("*\n!*/c").prunes("a")
    assert not IgnoreFile("b").prunes("a")


@pytest.mark.parametrize(
    "text",
    ["!", "!/", "[", "[]", "a[", "[b-a]", "a\\", "\\d", "[[:alpha:]]", "[*]", "!../../*", "!.."],
)
def test_what_the_builder_refuses_or_reads_otherwise_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="of an ignore file cannot be used"):
        IgnoreFile(text)

"""The commands in Mautic's container, run where its files would be."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tasks.core.working_tree import PLACES, Link, key_of
from tasks.flows.workshop_words import LIST, listed


def test_files_and_links_are_listed_by_what_tells_their_contents_apart(tmp_path: Path) -> None:
    for folder in PLACES.values():
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docroot/themes/a page.twig").write_text("one")
    (tmp_path / "docroot/themes/link.twig").symlink_to("a page.twig")
    (tmp_path / "docroot/plugins/folder").symlink_to("../themes")
    words = [word.replace("/var/www/html", str(tmp_path)) for word in LIST]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert listed(done.stdout) == {
        "docroot/themes/a page.twig": key_of(b"one"),
        "docroot/themes/link.twig": key_of(Link(b"a page.twig")),
        "docroot/plugins/folder": key_of(Link(b"../themes")),
    }

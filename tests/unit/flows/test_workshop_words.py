"""The commands in Mautic's container, run where its files would be."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tasks.core.working_tree import PLACES, Link, key_of
from tasks.flows.workshop import archive
from tasks.flows.workshop_words import LIST, UNPACK, listed


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


def test_what_is_unpacked_takes_the_place_of_a_folder_and_nothing_is_removed_behind_links(
    tmp_path: Path,
) -> None:
    acme = tmp_path / "acme"
    for folder in ("css", "styles/more", "page"):
        (acme / folder).mkdir(parents=True)
        (acme / folder / "a.css").write_text("one")
    (acme / "styles/linked").symlink_to("../css")
    (acme / "other").symlink_to("css")
    files = {
        "acme/styles": Link(b"css"),
        "acme/other": Link(b"../acme/css"),
        "acme/page": b"a file",
    }
    data = archive(files)
    words = [word.replace("/var/www/html", str(tmp_path)) for word in UNPACK]
    subprocess.run([*words, str(len(data))], input=data, check=True)
    assert {name: str((acme / name).readlink()) for name in ("styles", "other")} == {
        "styles": "css",
        "other": "../acme/css",
    }
    assert (acme / "page").read_text() == "a file"
    assert (acme / "css/a.css").read_text() == "one"

"""The scripts that lay our own files into the images, run as a build runs them, without one."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.suite import ROOT

ADD = ROOT / "docker" / "mautic" / "build" / "add.sh"
SELECT = ROOT / "docker" / "nginx" / "select-static.sh"


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files; one whose content begins with -> becomes a link."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def run(script: Path, *args: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(script), *map(str, args)], capture_output=True, text=True, check=True
    )


def modes(folder: Path) -> dict[str, str]:
    """Return the kind and the mode of everything below a folder, which counts as well."""
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in (folder, *sorted(folder.rglob("*")))
    }


# -- add.sh ---------------------------------------------------------------------------------------

OWN: dict[str, str | bytes] = {
    "Acme/Acme.php": "<?php",
    "Acme/bin/tool": "#!/bin/sh\n",
    "Acme/bin/program": b"\x7fELF\2\1\1\0",
    "Acme/a=b": "#!/usr/bin/env php\n",
    "Acme/a b.css": "body {}",
    "Acme/empty.txt": "",
    "Acme/later": "x\n#!/bin/sh\n",
    "Acme/link": "->Acme.php",
}
IN_THE_IMAGE = {
    ".": "drwxr-xr-x",
    "Acme": "drwxr-xr-x",
    "Acme/Acme.php": "-rw-r--r--",
    "Acme/a b.css": "-rw-r--r--",
    "Acme/a=b": "-rwxr-xr-x",
    "Acme/bin": "drwxr-xr-x",
    "Acme/bin/program": "-rwxr-xr-x",
    "Acme/bin/tool": "-rwxr-xr-x",
    "Acme/empty.txt": "-rw-r--r--",
    "Acme/later": "-rw-r--r--",
    "Acme/link": "lrwxrwxrwx",
    "Core": "drwxr-xr-x",
    "Core/Core.php": "-rw-r--r--",
}


@pytest.mark.parametrize("mode", [0o700, 0o600, 0o777, 0o666, 0o7777, 0o4755, 0o755, 0o644])
def test_the_modes_of_a_checkout_count_for_nothing(tmp_path: Path, mode: int) -> None:
    own = write(tmp_path / "own", OWN)
    (own / "Acme" / "nothing" / "deep").mkdir(parents=True)
    for path in (own, *own.rglob("*")):
        if not path.is_symlink():
            path.chmod(mode | (0o700 if path.is_dir() else 0))
    target = write(tmp_path / "target", {"Core/Core.php": "<?php"})

    run(ADD, own, target)

    assert modes(target) == IN_THE_IMAGE


def test_ours_takes_the_place_of_the_release_s(tmp_path: Path) -> None:
    own = write(tmp_path / "own", {"Core/Core.php": "ours", "Core/link": "file"})
    target = write(
        tmp_path / "target", {"Core/Core.php": "theirs", "other": "", "Core/link": "->../other"}
    )
    os.utime(own / "Core" / "Core.php", (1, 1))

    run(ADD, own, target)

    assert (target / "Core" / "Core.php").read_text() == "ours"
    assert (target / "Core" / "Core.php").stat().st_mtime == 1
    assert (target / "other").read_text() == ""


def test_nothing_of_our_own_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    target = write(tmp_path / "target", {"Core/Core.php": "theirs"})

    run(ADD, tmp_path / "own", target)

    assert modes(target).keys() == {".", "Core", "Core/Core.php"}


@pytest.mark.parametrize("target", ["nowhere.css", "../blank/nowhere.css", "../../nowhere", "x"])
@pytest.mark.parametrize("folder", ["plugins", "themes", "config"])
def test_a_link_to_nothing_is_refused_by_its_name(tmp_path: Path, folder: str, target: str) -> None:
    own = write(tmp_path / "own", {"a\nb/x": f"->{target}"})
    image = write(tmp_path / "docroot", {f"{folder}/blank/blank.css": ""})

    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(ADD, own, image / folder)

    assert caught.value.stderr == (
        f"docker/mautic/{folder}/a\nb/x is a link to {target}, which is not in the image\n"
    )


def test_links_may_lead_to_the_release_and_to_themes_that_come_later(tmp_path: Path) -> None:
    plugins = write(tmp_path / "plugins", {"A/a": "->../Core/c", "A/t": "->../../themes/b/b.css"})
    themes = write(tmp_path / "themes", {"b/x": "->../../plugins/Core/c", "b/all": "->../blank"})
    image = write(tmp_path / "docroot", {"plugins/Core/c": "", "themes/blank/b.css": ""})

    run(ADD, plugins, image / "plugins")
    run(ADD, themes, image / "themes")

    assert (image / "themes" / "b" / "all" / "b.css").exists()


# -- select-static.sh -----------------------------------------------------------------------------

RELEASE: dict[str, str | bytes] = {
    "themes/blank/css/blank.css": "blank",
    "themes/blank/secret.php": "<?php",
}
LINKED: dict[str, str | bytes] = {
    "themes/acme/css/acme.css": "acme",
    "themes/acme/css/.hidden/h.css": "hidden",
    "themes/acme/secret.php": "<?php",
    "themes/acme/notes.txt": "notes",
    "plugins/A/Resources/a.js": "a",
    "plugins/A/Resources/a.php": "<?php",
    # inside: what PHP reads through them is public
    "themes/child/a b.css": "->../acme/css/acme.css",
    "themes/child/folder": "->../acme/css",
    "themes/child/chain": "->folder",
    "themes/child/all": "->../acme",
    "plugins/A/Assets/res": "->../Resources",
    "themes/child/release": "->../blank/css",
    "themes/child/release.css": "->../blank/css/blank.css",
    # a program, or what is hidden, stays what it is by any name
    "themes/child/x.css": "->../acme/secret.php",
    "themes/child/y.css": "->../blank/secret.php",
    "themes/child/z.css": "->../acme/notes.txt",
    "themes/child/h.css": "->../acme/css/.hidden/h.css",
    "themes/child/hidden": "->../acme/css/.hidden",
    # out of the web root, to nothing, without an end
    "themes/child/p.json": "->/etc/passwd",
    "themes/child/out": "->../../../outside",
    "themes/child/slash": "->/",
    "themes/child/nothing.css": "->nowhere.css",
    "themes/child/self": "->.",
    "themes/acme/loop": "->../child",
}


def test_nginx_has_what_php_reads_through_links_and_nothing_else(tmp_path: Path) -> None:
    own = write(tmp_path / "own", LINKED)
    write(tmp_path / "outside", {"o.css": "outside"})
    release = write(tmp_path / "release", RELEASE)

    run(SELECT, own, tmp_path / "out", "all", release)

    docroot = tmp_path / "out" / "docroot"
    # Two folders that lead to each other end somewhere; where is no matter.
    found = {
        str(path.relative_to(docroot)): path.read_text()
        for path in docroot.rglob("*")
        if path.is_file() and path.suffix != ".gz" and "loop" not in path.parts
    }
    assert found == {
        "plugins/A/Assets/res/a.js": "a",
        "themes/acme/css/acme.css": "acme",
        "themes/child/a b.css": "acme",
        "themes/child/all/css/acme.css": "acme",
        "themes/child/chain/acme.css": "acme",
        "themes/child/folder/acme.css": "acme",
        "themes/child/release.css": "blank",
        "themes/child/release/blank.css": "blank",
    }
    assert not [path for path in docroot.rglob("*") if path.is_symlink()]
    assert all((docroot / f"{name}.gz").is_file() for name in found)


def test_files_that_are_hard_links_of_one_another_are_all_compressed(tmp_path: Path) -> None:
    own = write(tmp_path / "own", {"themes/a/a.css": "a"})
    os.link(own / "themes/a/a.css", own / "themes/a/b.css")

    said = run(SELECT, own, tmp_path / "out", "all")

    assert said.stderr == ""
    assert (tmp_path / "out/docroot/themes/a/a.css.gz").is_file()
    assert (tmp_path / "out/docroot/themes/a/b.css.gz").is_file()

"""Images of a checkout are the same whatever umask it was made under, file by file."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import docker
import pytest

from tests.integration.image_support import LABELS, Builds, probe_tree
from tests.support.suite import commit_all, copy_project

WWW_DATA = 33
WRITABLE = {
    # What the images' own users must write to, and what Debian makes everybody's.
    "mautic": {
        "run/php/",
        "tmp/",
        "var/lib/php/sessions/",
        "var/tmp/",
        "var/www/html/docroot/media/dashboards/",
        "var/www/html/docroot/media/files/",
        "var/www/html/docroot/media/images/",
        "var/www/html/var/cache/",
        "var/www/html/var/cache/ip_data/",
        "var/www/html/var/logs/",
        "var/www/html/var/sessions/",
        "var/www/html/var/tmp/",
    },
    "nginx": {"tmp/", "var/tmp/"},
}
OWN = {
    "plugins/AcmeBundle/AcmeBundle.php": "<?php",
    "plugins/AcmeBundle/Assets/acme.js": "acme",
    "plugins/AcmeBundle/bin/tool": "#!/bin/sh\n",
    "themes/acme/acme.css": "acme",
    "themes/acme/link": "-> acme.css",
    "config/parameters_local.php": "<?php $parameters = ['locale' => 'de'];",
}


class Entry(NamedTuple):
    """What an image has at a path; times are the checkout's own."""

    mode: str
    uid: int
    gid: int
    target: str
    digest: str


def entries(engine: docker.DockerClient, image: str) -> dict[str, Entry]:
    """Return everything that is in an image."""
    container = engine.containers.create(image, command=["none"], labels=LABELS)
    try:
        whole = io.BytesIO(b"".join(container.export()))
    finally:
        container.remove()
    found = {}
    with tarfile.open(fileobj=whole) as tar:
        for item in tar:
            content = tar.extractfile(item) if item.isreg() else None
            kind = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
            mode = stat.filemode(item.mode | kind.get(item.type, stat.S_IFREG))
            digest = hashlib.sha256(content.read()).hexdigest() if content else ""
            name = f"{item.name}/" if item.isdir() else item.name
            found[name] = Entry(mode, item.uid, item.gid, item.linkname, digest)
    return found


def clone(source: Path, umask: int) -> Path:
    """Clone a project as git does it under a umask."""
    target = source.parent / f"clone-{umask:03o}"
    argv = ["git", "clone", "--quiet", "--no-hardlinks", str(source), str(target)]
    subprocess.run(argv, check=True, umask=umask)
    # Folders that hold nothing are none of git's, but of a checkout's life.
    (target / "docker" / "mautic" / "plugins" / f"left-{umask}").mkdir()
    return target


@pytest.fixture(scope="module")
def images(
    engine: docker.DockerClient, debian_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, dict[str, dict[str, Entry]]]]:
    """What is in both images, by the umask that the checkout was made under."""
    scratch = tmp_path_factory.mktemp("modes")
    project = copy_project(scratch / "project")
    for name, content in OWN.items():
        path = project / "docker" / "mautic" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content)
    commit_all(project)
    builds = Builds(engine, debian_image)
    code = builds.code(probe_tree(scratch / "code"))
    found = {}
    for umask in (0o077, 0o000):
        checkout = clone(project, umask)
        # Only run, by a shell: its mode comes into no image. It would install everything anew.
        for path in (checkout / "docker" / "apt", checkout / "docker" / "apt" / "install.sh"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        references = builds.images(code, project=checkout)
        found[umask] = {name: entries(engine, image) for name, image in references.items()}
    yield found
    builds.close()


@pytest.mark.parametrize("which", ["mautic", "nginx"])
def test_the_umask_of_a_checkout_is_in_no_image(
    images: dict[int, dict[str, dict[str, Entry]]], which: str
) -> None:
    private, public = images[0o077][which], images[0o000][which]
    assert private.keys() == public.keys()
    assert {
        name: (private[name], public[name]) for name in private if private[name] != public[name]
    } == {}


@pytest.mark.parametrize("which", ["mautic", "nginx"])
def test_uid_33_may_write_what_it_must_and_read_the_rest(
    images: dict[int, dict[str, dict[str, Entry]]], which: str
) -> None:
    found = images[0o000][which]
    writable = {
        name
        for name, entry in found.items()
        if not entry.mode.startswith("l")
        and (
            (entry.uid == WWW_DATA and entry.mode[2] == "w")
            or (entry.gid == WWW_DATA and entry.mode[5] == "w")
            or entry.mode[8] == "w"
        )
    }
    # What the engine itself puts into a container, and what only some of Debian's base images have.
    assert {
        name for name in writable if not name.startswith(("dev/", "proc/", "sys/", "run/lock/"))
    } == WRITABLE[which]
    ours = {name: entry.mode for name, entry in found.items() if name.startswith("var/www/html/")}
    unreadable = [
        name
        for name, mode in ours.items()
        if mode[7] != "r" or (mode[0] == "d" and mode[9] not in "xt")
    ]
    assert unreadable == []


def test_a_script_of_a_plugin_can_be_run_and_nothing_else_of_it(
    images: dict[int, dict[str, dict[str, Entry]]],
) -> None:
    plugin = "var/www/html/docroot/plugins/AcmeBundle"
    found = images[0o077]["mautic"]
    assert found[f"{plugin}/bin/tool"].mode == "-rwxr-xr-x"
    assert found[f"{plugin}/AcmeBundle.php"].mode == "-rw-r--r--"
    assert found[f"{plugin}/bin/"].mode == "drwxr-xr-x"
    assert "var/www/html/docroot/plugins/left-63/" not in found
    assert images[0o077]["nginx"]["var/www/html/docroot/themes/acme/acme.css"].mode == "-rw-r--r--"

"""The content key: every input changes it, nothing else does."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.docker import build_context
from tasks.core.errors import InputError
from tasks.core.images.content_key import base_arguments, content_key, is_content_key, target_keys

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64

TARGETS: dict[str, Any] = {
    "code": {
        "context": "mautic",
        "dockerfile": "code.Dockerfile",
        "args": {"MAUTIC_IMAGE": "mautic/mautic:7.2-fpm"},
    },
    "mautic": {
        "context": "mautic",
        "contexts": {"code": "target:code", "shared": "shared"},
        "dockerfile": "Dockerfile",
        "args": {"DEBIAN_IMAGE": "debian:trixie-slim", "PHP": "8.4"},
        "labels": {"title": "mautic"},
    },
    "nginx": {
        "context": "nginx",
        "contexts": {"code": "target:code"},
        "dockerfile": "Dockerfile",
        "args": {"DEBIAN_IMAGE": "debian:trixie-slim"},
    },
}


class Project:
    """A small bake project on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.targets = copy.deepcopy(TARGETS)
        self.pins = {"DEBIAN_IMAGE": DIGEST, "MAUTIC_IMAGE": DIGEST}
        self.platform = "linux/amd64"
        for name, text in {
            "mautic/Dockerfile": "FROM scratch\n",
            "mautic/.dockerignore": "plugins\n# a comment\n\n**/*.log\n",
            "mautic/code.Dockerfile": "FROM scratch\n",
            "mautic/code.Dockerfile.dockerignore": "*\n!plugins\nplugins/README.md\n",
            "mautic/mautic.sh": "#!/bin/sh\n",
            "mautic/plugins/README.md": "how to\n",
            "mautic/plugins/One/One.php": "<?php\n",
            "nginx/Dockerfile": "FROM scratch\n",
            "nginx/nginx.conf": "events {}\n",
            "shared/file": "shared\n",
            "README.md": "outside every context\n",
        }.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def path(self, name: str) -> Path:
        return self.root / name

    def keys(self) -> dict[str, str]:
        return target_keys(
            self.targets,
            read=lambda name, target: build_context.read(self.root, name, target),
            pins=self.pins,
            platform=self.platform,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


Change = Callable[[Project], object]

CHANGES: dict[str, tuple[Change, set[str]]] = {
    # what changes, and whose keys change with it
    "a Dockerfile": (lambda p: p.write("nginx/Dockerfile", "FROM scratch\nUSER 1\n"), {"nginx"}),
    "a linked target's Dockerfile": (
        lambda p: p.write("mautic/code.Dockerfile", "FROM scratch\nUSER 1\n"),
        {"code", "mautic", "nginx"},
    ),
    "a file's content": (lambda p: p.write("nginx/nginx.conf", "# other\n"), {"nginx"}),
    "a new file": (lambda p: p.write("nginx/more.conf", ""), {"nginx"}),
    "a renamed file": (
        lambda p: p.path("nginx/nginx.conf").rename(p.path("nginx/ngjnx.conf")),
        {"nginx"},
    ),
    "a removed file": (lambda p: p.path("nginx/nginx.conf").unlink(), {"nginx"}),
    "a link instead of a file": (
        lambda p: (
            p.path("nginx/nginx.conf").unlink(),
            p.path("nginx/nginx.conf").symlink_to("Dockerfile"),
        ),
        {"nginx"},
    ),
    "a plugin": (
        lambda p: p.write("mautic/plugins/One/One.php", "<?php // 2\n"),
        {"code", "mautic", "nginx"},
    ),
    "a named context's file": (lambda p: p.write("shared/file", "2"), {"mautic"}),
    "an argument": (lambda p: p.targets["mautic"]["args"].update(PHP="8.2"), {"mautic"}),
    "a base's digest": (lambda p: p.pins.update(DEBIAN_IMAGE=OTHER), {"mautic", "nginx"}),
    "a linked target's base": (
        lambda p: p.pins.update(MAUTIC_IMAGE=OTHER),
        {"code", "mautic", "nginx"},
    ),
    "a label": (lambda p: p.targets["mautic"]["labels"].update(title="x"), {"mautic"}),
    "a stage": (lambda p: p.targets["nginx"].update(target="stage"), {"nginx"}),
    "the engine's platform": (
        lambda p: setattr(p, "platform", "linux/arm64"),
        {"code", "mautic", "nginx"},
    ),
    "a target's own platform": (
        lambda p: p.targets["nginx"].update(platforms=["linux/arm64"]),
        {"nginx"},
    ),
    # what changes no image
    "a tag": (lambda p: p.targets["nginx"].update(tags=["a:b"]), set()),
    "an output": (lambda p: p.targets["nginx"].update(output=["type=docker"]), set()),
    "a cache": (lambda p: p.targets["nginx"].update({"cache-from": ["type=gha"]}), set()),
    "--no-cache": (lambda p: p.targets["nginx"].update({"no-cache": True}), set()),
    "a base's name, its digest the same": (
        lambda p: p.targets["nginx"]["args"].update(DEBIAN_IMAGE="mirror/debian:1"),
        set(),
    ),
    "a file outside every context": (lambda p: p.write("README.md", "2"), set()),
    "an ignored file": (lambda p: p.write("mautic/plugins/README.md", "2"), set()),
    "a file ignored by pattern": (lambda p: p.write("mautic/a/b/c.log", "2"), set()),
    # The modes in the images are the Dockerfiles' alone.
    "a file that may be run": (lambda p: p.path("mautic/mautic.sh").chmod(0o755), set()),
    # git knows none, and a folder that had files before is easily left behind.
    "an empty folder": (lambda p: p.path("nginx/conf.d/more").mkdir(parents=True), set()),
    "a time": (lambda p: os.utime(p.path("nginx/nginx.conf"), (1, 1)), set()),
    "rights that git does not keep": (lambda p: p.path("nginx/nginx.conf").chmod(0o600), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_key_changes_with_what_the_image_is_made_of(project: Project, change: str) -> None:
    before = project.keys()
    apply, changed = CHANGES[change]
    apply(project)
    after = project.keys()
    assert {name for name in before if before[name] != after[name]} == changed


def test_an_ignored_file_beside_an_ignored_folder_changes_nothing(project: Project) -> None:
    project.write("mautic/a/kept", "")
    before = project.keys()
    project.write("mautic/a/b.log", "2")
    assert project.keys() == before


def test_the_same_files_elsewhere_give_the_same_keys(tmp_path: Path) -> None:
    assert Project(tmp_path / "one").keys() == Project(tmp_path / "two").keys()


def test_a_renamed_context_changes_no_key(project: Project) -> None:
    before = project.keys()
    project.path("nginx").rename(project.path("elsewhere"))
    project.targets["nginx"]["context"] = "elsewhere"
    assert project.keys() == before


def test_an_inline_dockerfile_takes_the_place_of_the_file(project: Project) -> None:
    inline = project.path("nginx/Dockerfile").read_text()
    project.targets["nginx"]["dockerfile-inline"] = inline
    before = project.keys()
    project.targets["nginx"]["dockerfile-inline"] = inline + "USER 1\n"
    assert project.keys()["nginx"] != before["nginx"]


def test_links_that_lead_in_a_circle_are_followed_once(project: Project) -> None:
    project.path("nginx/self").symlink_to(".")
    project.path("nginx/nowhere").symlink_to("does/not/exist")
    assert is_content_key(project.keys()["nginx"])


LINKS = {
    # where a link in mautic/plugins/One leads
    "by an absolute path": "/etc/passwd",
    "by an absolute path to a neighbour": "{root}/mautic/plugins/One/One.php",
    "out of the folder": "../../../README.md",
    "out of the folder and back": "../../../mautic/plugins/One/One.php",
    "through another link": "out/README.md",
    "to what is left out": "../../mautic.sh",
    "to a folder that is left out": "../../php",
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_to_what_is_not_in_the_image_is_refused_by_its_name(
    project: Project, kind: str
) -> None:
    project.write("mautic/php/file", "")
    project.path("mautic/plugins/One/link").symlink_to(LINKS[kind].format(root=project.root))
    if "out/" in LINKS[kind]:
        # The other link is left out itself, so that it is this one's fault.
        project.path("mautic/plugins/One/out").symlink_to("../../..")
        project.write("mautic/code.Dockerfile.dockerignore", "*\n!plugins\n**/out\n")
    with pytest.raises(InputError, match="mautic/plugins/One/link is a link to"):
        project.keys()


@pytest.mark.parametrize("target", ["link", "other", "../One/link"])
def test_a_link_without_an_end_is_refused_by_its_name(project: Project, target: str) -> None:
    project.path("mautic/plugins/One/link").symlink_to(target)
    project.path("mautic/plugins/One/other").symlink_to("link")
    with pytest.raises(InputError, match=f"plugins/One/link is a link to {target}, and leads to"):
        project.keys()


@pytest.mark.parametrize("target", ["One.php", ".", "../One", "nowhere", "../../plugins/One"])
def test_a_link_within_the_image_counts_as_what_it_says(project: Project, target: str) -> None:
    before = project.keys()
    project.path("mautic/plugins/One/link").symlink_to(target)
    linked = project.keys()
    assert {name for name in before if before[name] != linked[name]} == set(before)
    project.path("mautic/plugins/One/link").unlink()
    project.path("mautic/plugins/One/link").symlink_to("other")
    assert project.keys()["code"] not in {before["code"], linked["code"]}


def test_what_no_image_can_hold_is_refused_by_its_name(project: Project) -> None:
    os.mkfifo(project.path("nginx/pipe"))
    with pytest.raises(InputError, match="nginx/pipe is neither a file nor a folder nor a link"):
        project.keys()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["nginx.conf", "conf.d"])
def test_what_cannot_be_read_is_named(project: Project, name: str) -> None:
    project.write("nginx/conf.d/file", "")
    project.path(f"nginx/{name}").chmod(0)
    with pytest.raises(InputError, match=f"nginx/{name} cannot be read: Permission denied"):
        project.keys()
    project.path(f"nginx/{name}").chmod(0o700)


def test_what_is_refused_is_called_as_the_project_calls_it(project: Project) -> None:
    place = project.path("mautic/plugins/One/link")
    place.symlink_to("link")
    read = partial(build_context.read, project.root, "code", TARGETS["code"])
    folders = {"mautic/plugins": "docroot/plugins"}
    with pytest.raises(InputError, match=r"^docroot/plugins/One/link is a link to link, and leads"):
        read(folders)
    place.unlink()
    place.symlink_to("/etc/passwd")
    with pytest.raises(InputError, match=r"^docroot/plugins/One/link is a link to /etc/passwd"):
        read(folders)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(InputError, match=r"^docroot/plugins/One/link is neither"):
        read(folders)


def test_names_that_are_not_utf8_are_paths_like_others(project: Project) -> None:
    path = Path(os.fsdecode(os.fsencode(project.root) + b"/nginx/\xff"))
    try:
        path.write_text("")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert is_content_key(project.keys()["nginx"])


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "itself": ({"contexts": {"code": "target:nginx"}}, "target nginx .* links to itself"),
    "no target": ({"contexts": {"code": "target:cod"}}, "target cod of the bake file does not"),
    "no folder": ({"context": "ngnix"}, "no folder ngnix"),
    "no Dockerfile": ({"dockerfile": "Dockerfil"}, "no file .*Dockerfil"),
    "a remote context": ({"context": "https://example.org/x.git"}, "not on this machine"),
    "an image as context": ({"contexts": {"a": "docker-image://a"}}, "ends in _IMAGE"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_target_that_cannot_be_keyed_is_named(project: Project, broken: str) -> None:
    change, message = BROKEN[broken]
    project.targets["nginx"].update(change)
    with pytest.raises(InputError) as caught:
        project.keys()
    assert re.search(message, "\n".join(caught.value.lines()))


def test_a_key_is_a_tag_and_known_as_one() -> None:
    key = content_key({"b": 1, "a": [2]})
    assert key == content_key({"a": [2], "b": 1})
    assert is_content_key(key)
    assert len(key) == len("content-") + 64 <= 128
    assert is_content_key(key[: len("content-") + 16])  # a former version's


@pytest.mark.parametrize(
    "tag", ["latest", "content-", "content-123", "content-" + "g" * 16, "0" * 16, "content-1" * 3]
)
def test_other_tags_are_no_keys(tag: str) -> None:
    assert not is_content_key(tag)


def test_base_arguments_are_those_named_image() -> None:
    assert base_arguments(TARGETS) == {
        "DEBIAN_IMAGE": "debian:trixie-slim",
        "MAUTIC_IMAGE": "mautic/mautic:7.2-fpm",
    }


def test_one_argument_cannot_stand_for_two_images() -> None:
    targets = {"a": {"args": {"X_IMAGE": "one"}}, "b": {"args": {"X_IMAGE": "two"}}}
    with pytest.raises(InputError, match="target b: X_IMAGE is two, but one too"):
        base_arguments(targets)


def test_without_a_folder_nothing_in_it_counts_and_all_else_does(project: Project) -> None:
    def key() -> str:
        return target_keys(
            project.targets,
            read=lambda name, target: build_context.read(project.root, name, target).without(
                "themes"
            ),
            pins=project.pins,
            platform=project.platform,
        )["mautic"]

    before = key()
    project.write("mautic/themes/acme/style.css", "red")
    assert key() == before
    project.write("mautic/themes.md", "beside it")
    assert key() != before

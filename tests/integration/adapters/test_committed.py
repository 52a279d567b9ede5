"""What is built is what is named: one tag never stands for two contents, a clean one for one alone.

Each test has a checkout whose images a builder reads from its folders, and changes something in it
that `git status` sees, or does not. What git says is asked of git itself.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.adapters.docker import build_context
from tasks.adapters.docker.build_context import built_from
from tasks.adapters.git import Checkout, Git
from tasks.adapters.process import Runner
from tasks.core.errors import InputError
from tasks.core.images.bake_file import build_folders, evaluated_folders
from tasks.core.images.content_key import target_keys
from tasks.core.redact import Redactor
from tests.support.suite import ROOT, commit_all, git

BAKE = """\
target "release" {
  context    = "docker/mautic"
  dockerfile = "code.Dockerfile"
}

target "own" {
  inherits = ["release"]
  target   = "own"
}

target "mautic" {
  context = "docker/mautic"
  contexts = {
    apt  = "docker/apt"
    code = "target:release"
  }
}
"""
TARGETS = {
    "release": {"context": "docker/mautic", "dockerfile": "code.Dockerfile"},
    "mautic": {
        "context": "docker/mautic",
        "contexts": {"apt": "docker/apt", "code": "target:release"},
        "dockerfile": "Dockerfile",
    },
}
FILES = {
    "docker/docker-bake.hcl": BAKE,
    "docker/apt/install.sh": "#!/bin/sh\n",
    "docker/mautic/.dockerignore": "**/.git\n*Dockerfile\n*.dockerignore\n**/.DS_Store\n",
    "docker/mautic/Dockerfile": "FROM scratch\n",
    "docker/mautic/code.Dockerfile": "FROM scratch\n",
    "docker/mautic/code.Dockerfile.dockerignore": "*\n!themes\n**/.git\n**/.DS_Store\n",
    "docker/mautic/themes/acme/acme.css": "red",
    "docker/mautic/themes/acme/run": "#!/bin/sh\n",
    "README.md": "read me\n",
    ".gitignore": "node_modules\n*.map\n.DS_Store\n",
}
THEME = "docker/mautic/themes/acme"


@dataclass
class Place:
    """A checkout whose images can be keyed."""

    root: Path

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    @property
    def git(self) -> Git:
        return Git(Runner(Redactor()), self.root, {})

    def checkout(self, *, complete: bool = False) -> Checkout:
        built = built_from(self.root, "docker/docker-bake.hcl")
        return self.git.checkout(built, complete=complete)

    def require_complete(self) -> None:
        self.checkout(complete=True)

    def state(self) -> tuple[str, tuple[str, ...]]:
        """Return the tag, and the content keys of what a builder would make."""
        keys = target_keys(
            TARGETS,
            read=lambda name, target: build_context.read(self.root, name, target),
            pins={},
            platform="linux/amd64",
        )
        return self.checkout().tag, tuple(keys.values())

    def status(self) -> str:
        """Return what git finds uncommitted."""
        return git(self.root, "status", "--porcelain")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "checkout")
    for name, text in FILES.items():
        found.write(name, text)
    git(found.root, "init", "--quiet")
    commit_all(found.root)
    return found


def repository(where: Path, name: str = "file", text: str = "one") -> Path:
    where.mkdir(parents=True, exist_ok=True)
    (where / name).write_text(text)
    git(where, "init", "--quiet")
    commit_all(where)
    return where


def with_submodule(place: Place, path: str = f"{THEME}/parts") -> Path:
    """Add a submodule, whose own repository lies beside the checkout; return its folder."""
    source = repository(place.root.parent / "source")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(place.root, *add, str(source), path)
    commit_all(place.root)
    return place.root / path


# -- two contents never share a tag ---------------------------------------------------------------

Act = Callable[[Place], object]


def _nested(place: Place) -> None:
    repository(place.root / THEME / "parts")


def _nested_and_added(place: Place) -> None:
    _nested(place)
    git(place.root, "add", f"{THEME}/parts")
    git(place.root, "commit", "--quiet", "--message", "a repository in another")


def _linked(place: Place) -> None:
    (place.root / THEME / "link").symlink_to("acme.css")


def _relinked(place: Place) -> None:
    (place.root / THEME / "link").unlink()
    (place.root / THEME / "link").symlink_to("run")


def _hide_modes(place: Place) -> None:
    git(place.root, "config", "core.fileMode", "false")


def _hide(place: Place) -> None:
    git(place.root, "update-index", "--assume-unchanged", f"{THEME}/acme.css")


def _dirty_submodule(place: Place) -> None:
    (with_submodule(place) / "file").write_text("two")


def _ignored_in_submodule(place: Place) -> None:
    folder = with_submodule(place)
    (folder / ".gitignore").write_text("cache\n")
    commit_all(folder)
    commit_all(place.root)
    (folder / "cache").write_text("one")


def _replaced(place: Place) -> None:
    blob = git(place.root, "rev-parse", f"HEAD:{THEME}/acme.css")
    place.write("other", "blue")
    other = git(place.root, "hash-object", "-w", "other")
    (place.root / "other").unlink()
    git(place.root, "replace", blob, other)


def _write(name: str, content: str = "one") -> Act:
    return lambda place: place.write(name, content)


PAIRS: dict[str, tuple[Act, Act]] = {
    # what there is, and what changes without a commit
    "a repository in a theme": (_nested, _write(f"{THEME}/parts/file", "two")),
    "a new file in that": (_nested, _write(f"{THEME}/parts/more")),
    "a commit in that": (
        _nested,
        lambda p: (p.write(f"{THEME}/parts/file", "two"), commit_all(p.root / THEME / "parts")),
    ),
    "a repository that was added": (_nested_and_added, _write(f"{THEME}/parts/file", "two")),
    "a dirty submodule": (_dirty_submodule, _write(f"{THEME}/parts/file", "three")),
    "a new file in a submodule": (with_submodule, _write(f"{THEME}/parts/new")),
    "another new file in it": (
        lambda p: (with_submodule(p), p.write(f"{THEME}/parts/new", "one")),
        _write(f"{THEME}/parts/new", "two"),
    ),
    "what a submodule ignores": (_ignored_in_submodule, _write(f"{THEME}/parts/cache", "two")),
    "a retargeted link": (_linked, _relinked),
    "an ignored file": (lambda _: None, _write(f"{THEME}/acme.css.map")),
    "another ignored file": (
        _write(f"{THEME}/acme.css.map", "one"),
        _write(f"{THEME}/acme.css.map", "two"),
    ),
    "an ignored folder": (lambda _: None, _write(f"{THEME}/node_modules/a/b")),
    "an executable bit": (_hide_modes, lambda p: (p.root / THEME / "acme.css").chmod(0o755)),
    "an empty folder": (
        lambda _: None,
        lambda p: (p.root / THEME / "empty/deep").mkdir(parents=True),
    ),
    "a file that git shall not look at": (_hide, _write(f"{THEME}/acme.css", "blue")),
    "a Dockerfile it shall not look at": (
        lambda p: git(p.root, "update-index", "--skip-worktree", "docker/mautic/Dockerfile"),
        _write("docker/mautic/Dockerfile", "FROM scratch\nUSER 0\n"),
    ),
    "a file in a link's place": (
        lambda p: (
            _linked(p),
            commit_all(p.root),
            git(p.root, "config", "core.symlinks", "false"),
        ),
        lambda p: ((p.root / THEME / "link").unlink(), p.write(f"{THEME}/link", "acme.css")),
    ),
    "a replaced object": (_replaced, _write(f"{THEME}/acme.css", "blue")),
    "an ignored ignore file": (
        lambda p: (
            p.write(".gitignore", "docker/apt/.dockerignore\n"),
            p.write("docker/apt/more", "one"),
            commit_all(p.root),
        ),
        _write("docker/apt/.dockerignore", "more\n"),
    ),
    # what git sees itself
    "an edit": (lambda _: None, _write(f"{THEME}/acme.css", "blue")),
    "a new file": (lambda _: None, _write(f"{THEME}/more.css")),
    "a deletion": (lambda _: None, lambda p: (p.root / THEME / "acme.css").unlink()),
    # what no image holds
    "a file outside": (lambda _: None, _write("README.md", "two")),
    "an ignored file outside": (lambda _: None, _write("x.map")),
    "what the ignore file names": (lambda _: None, _write(f"{THEME}/.DS_Store")),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_two_contents_have_two_tags(place: Place, kind: str) -> None:
    prepare, change = PAIRS[kind]
    prepare(place)
    before, keys = place.state()
    change(place)
    after, other = place.state()
    assert (before == after) <= (keys == other), place.status()


@pytest.mark.parametrize("kind", PAIRS)
def test_a_clean_tag_means_what_a_fresh_clone_holds(place: Place, kind: str) -> None:
    prepare, change = PAIRS[kind]
    prepare(place)
    change(place)
    tag, keys = place.state()
    if "dirty" in tag:
        return
    clone = Place(place.root.parent / "clone")
    options = ("-c", "protocol.file.allow=always", "clone", "--quiet", "--recurse-submodules")
    git(place.root.parent, *options, str(place.root), str(clone.root))
    assert clone.state() == (tag, keys), place.status()


@pytest.mark.parametrize(
    "kind",
    [
        "an executable bit",
        "an empty folder",
        "an ignored file outside",
        "what the ignore file names",
    ],
)
def test_what_changes_no_image_makes_no_tree_dirty(place: Place, kind: str) -> None:
    prepare, change = PAIRS[kind]
    prepare(place)
    before = place.state()
    change(place)
    assert place.state() == before
    assert place.checkout().dirty is None


def test_what_git_does_not_show_is_named(place: Place) -> None:
    place.write(f"{THEME}/acme.css.map", "one")
    place.write(f"{THEME}/parts/file", "one")
    git(place.root / THEME / "parts", "init", "--quiet")
    place.write(f"{THEME}/acme.css", "blue")
    # git shows the edit, and the folder alone of the repository.
    assert place.checkout().unseen == (f"{THEME}/acme.css.map", f"{THEME}/parts/file")


def test_a_clean_checkout_with_submodules_in_each_other_is_clean(place: Place) -> None:
    inner = repository(place.root.parent / "inner")
    outer = repository(place.root.parent / "outer", "outer")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(outer, *add, str(inner), "inner")
    commit_all(outer)
    git(place.root, *add, str(outer), f"{THEME}/parts")
    update = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    git(place.root, *update, "--recursive")
    commit_all(place.root)
    assert place.checkout().dirty is None
    place.require_complete()
    before = place.state()
    place.write(f"{THEME}/parts/inner/file", "two")
    once = place.state()
    place.write(f"{THEME}/parts/inner/file", "three")
    assert len({before, once, place.state()}) == 3
    assert len({before[0], once[0], place.state()[0]}) == 3


def test_a_suite_in_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    place = Place(tmp_path / "larger" / "suite")
    for name, text in FILES.items():
        place.write(name, text)
    git(place.root.parent, "init", "--quiet")
    commit_all(place.root.parent)
    assert place.checkout().dirty is None
    place.write(f"{THEME}/acme.css", "blue")
    place.write(f"{THEME}/acme.css.map", "one")
    assert place.checkout().unseen == (f"{THEME}/acme.css.map",)


@pytest.mark.parametrize("attribute", ["ident", "working-tree-encoding=UTF-16", "eol=crlf"])
def test_what_a_checkout_makes_of_a_file_is_clean(place: Place, attribute: str) -> None:
    place.write(".gitattributes", f"*.txt {attribute}\n")
    content = "$Id$\nhéllo\n".encode("utf-16" if "UTF-16" in attribute else "utf-8")
    place.write(f"{THEME}/a.txt", content)
    commit_all(place.root)
    (place.root / THEME / "a.txt").unlink()
    git(place.root, "checkout", "--", ".")
    clean = place.state()
    assert "dirty" not in clean[0]
    if attribute == "ident":
        # git calls it unchanged, whatever stands there.
        place.write(f"{THEME}/a.txt", "$Id: another $\nhéllo\n")
        git(place.root, "update-index", "-q", "--refresh")
        assert place.state()[0] != clean[0]


# -- what is not here -----------------------------------------------------------------------------


def test_a_submodule_that_is_not_here_is_named_with_its_command(place: Place) -> None:
    with_submodule(place)
    clone = Place(place.root.parent / "clone")
    git(place.root.parent, "clone", "--quiet", str(place.root), str(clone.root))
    with pytest.raises(InputError, match=f"{THEME}/parts is a submodule that is not") as caught:
        clone.require_complete()
    assert "git submodule update --init --recursive" in (caught.value.hint or "")
    # Its commit is what it is: a deploy takes images that somebody else has built.
    assert clone.checkout().dirty is None
    allowed = ("-c", "protocol.file.allow=always")
    git(clone.root, *allowed, "submodule", "--quiet", "update", "--init", "--recursive")
    clone.require_complete()
    assert clone.state() == place.state()


def test_a_submodule_that_no_image_needs_may_be_missing(place: Place) -> None:
    with_submodule(place, "vendor/parts")
    clone = Place(place.root.parent / "clone")
    git(place.root.parent, "clone", "--quiet", str(place.root), str(clone.root))
    clone.require_complete()


def pointer(content: bytes) -> str:
    """Return what Git LFS commits in place of a file."""
    return (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    )


def test_a_pointer_of_git_lfs_is_named_with_its_command(place: Place) -> None:
    content = b"\x89PNG" * 1000
    path = place.write(f"{THEME}/logo.png", pointer(content))
    commit_all(place.root)
    tag = place.checkout().tag
    with pytest.raises(InputError, match=f"{THEME}/logo.png is only a pointer") as caught:
        place.require_complete()
    assert "git lfs pull" in (caught.value.hint or "")
    # As `git lfs pull` leaves it; git's own index then takes it for unchanged.
    path.write_bytes(content)
    git(place.root, "update-index", "--assume-unchanged", f"{THEME}/logo.png")
    place.require_complete()
    assert place.checkout().tag == tag
    path.write_bytes(content[:-1] + b"H")
    assert place.checkout().tag != tag


def test_a_pointer_in_a_submodule_or_in_a_new_file_is_named_too(place: Place) -> None:
    folder = with_submodule(place)
    (folder / "a.png").write_text(pointer(b"x"))
    with pytest.raises(InputError, match=f"{THEME}/parts/a.png is only a pointer"):
        place.require_complete()


def test_what_a_sparse_checkout_leaves_out_is_named(place: Place) -> None:
    git(place.root, "sparse-checkout", "set", "--no-cone", "/*", f"!{THEME}/acme.css")
    assert not (place.root / THEME / "acme.css").exists()
    assert place.status() == ""
    with pytest.raises(InputError, match=f"{THEME}/acme.css is committed, but not checked out"):
        place.require_complete()
    # What was deleted is a change like any other.
    git(place.root, "sparse-checkout", "disable")
    (place.root / THEME / "acme.css").unlink()
    place.require_complete()


def test_a_filter_that_this_clone_lacks_is_named(place: Place) -> None:
    place.write(".gitattributes", "*.key filter=secret\n")
    place.write(f"{THEME}/a.key", "\0GITCRYPT\0...")
    commit_all(place.root)
    with pytest.raises(InputError, match=f"{THEME}/a.key is kept by the filter 'secret'"):
        place.require_complete()
    git(place.root, "config", "filter.secret.smudge", "cat")
    place.require_complete()


def test_names_of_every_kind_are_compared(place: Place) -> None:
    names = ["a b", "a\nb", 'quo"te', "héllo", "-rf", "a\\b", "\t", os.fsdecode(b"caf\xe9")]
    for name in names:
        place.write(f"{THEME}/{name}", "one")
    commit_all(place.root)
    place.require_complete()
    assert place.checkout().dirty is None
    for name in names:
        place.write(f"{THEME}/{name}.map", "one")
    assert set(place.checkout().unseen) == {f"{THEME}/{name}.map" for name in names}


# -- the bake file --------------------------------------------------------------------------------


def test_the_text_of_the_bake_file_says_what_its_evaluation_says() -> None:
    assert build_folders(BAKE) == evaluated_folders(TARGETS.values())


@pytest.mark.parametrize("file", ["docker/docker-bake.hcl", "docker/ci/docker-bake.hcl"])
def test_the_project_s_own_bake_files_can_be_read(file: str) -> None:
    """That they say the same when they are evaluated is asked at each build."""
    found = built_from(ROOT, file)
    assert found.paths() >= {file, "docker/apt/install.sh"}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.holds("docker/apt/install.sh")
    assert not found.holds("README.md")
    assert len(listed.stdout.splitlines()) > len(found.paths())

"""The files of a working tree, and which of them have changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.adapters.docker.build_context import built_from
from tasks.adapters.files.tree import Rules, WorkingTree
from tasks.adapters.git import Git
from tasks.adapters.process import Runner
from tasks.core.project_files import moved
from tasks.core.redact import Redactor
from tasks.core.working_tree import Link
from tests.support.suite import git

PLUGINS, THEMES = "docker/mautic/plugins", "docker/mautic/themes"
FOLDERS = {PLUGINS: "src/plugins", THEMES: "themes"}
"""Not as near to each other as the images get them."""
BAKE = """target "mautic" {
  context = "docker/mautic"
}
"""


def place_of(folder: str, path: str) -> str:
    return "" if path == "README.md" else f"{folder.rpartition('/')[2]}/{path}"


@dataclass
class Project:
    """A project of which images are built that get plugins and themes, without maps."""

    root: Path
    said: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, name: str, target: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        return path

    def tree(self, *, asks_git: bool = True) -> WorkingTree:
        """Return the tree, of which the images get what git has or would take, or all."""
        back = {here: there for there, here in FOLDERS.items()}
        checkout = Git(Runner(Redactor()), self.root, {})
        built = built_from(self.root / "suite", "bake.hcl", FOLDERS)
        built = built.of_project(self.root, "docker/mautic")
        rules = Rules(
            place_of,
            lambda name: name.endswith("~"),
            lambda place: place.startswith("themes/"),
            lambda paths: (
                {moved(name, back) for name in checkout.files(*back)} if asks_git else paths
            ),
            built.leads_to,
        )
        return WorkingTree(
            {there: self.root / here for there, here in FOLDERS.items()}, rules, self.said.append
        )

    def shown(self) -> set[str]:
        """Return what is shown; what was said is about that."""
        self.said.clear()
        return set(self.tree().contents())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.write("suite/bake.hcl", BAKE)
    made.write("suite/docker/mautic/.dockerignore", "**/*.map\n")
    made.write("themes/acme/html/page.twig", "one")
    made.write("themes/README.md", "left out")
    git(made.root, "init", "--quiet")
    return made


@pytest.fixture
def root(project: Project) -> Path:
    return project.root / "themes"


@pytest.fixture
def tree(project: Project) -> WorkingTree:
    made = project.tree()
    assert made.contents() == {"themes/acme/html/page.twig": b"one"}
    return made


def test_nothing_has_changed(tree: WorkingTree) -> None:
    assert tree.changed() == set()


def test_a_file_is_written_in_place_or_by_another_of_the_same_size_and_time(
    root: Path, tree: WorkingTree
) -> None:
    page = root / "acme" / "html" / "page.twig"
    page.write_text("two")
    assert tree.changed() == {"themes/acme/html/page.twig"}
    assert tree.changed() == set()
    fresh = root / "acme" / "fresh~"
    fresh.write_text("six")
    fresh.replace(page)
    assert tree.changed() == {"themes/acme/html/page.twig"}
    assert tree.read("themes/acme/html/page.twig") == b"six"


def test_files_and_folders_come_and_go(root: Path, tree: WorkingTree) -> None:
    (root / "other").mkdir()
    (root / "other" / "a.css").write_text("a")
    (root / "other" / "a.css~").write_text("an editor's")
    assert tree.changed() == {"themes/other/a.css"}
    (root / "acme").rename(root.parent / "aside")
    assert tree.changed() == {"themes/acme/html/page.twig"}
    assert tree.read("themes/acme/html/page.twig") is None


def test_a_folder_may_be_missing_and_come(project: Project, tree: WorkingTree) -> None:
    project.write("src/plugins/A/A.php", "a")
    assert tree.changed() == {"plugins/A/A.php"}


def test_links_are_shown_as_the_images_have_them(project: Project, tree: WorkingTree) -> None:
    project.write("src/plugins/A/A.php", "a")
    targets = {
        "a file": "A.php",
        "a folder": "../A",
        # It lies there in the images.
        "a theme": "../../themes/acme/html/page.twig",
        "maybe the release's": "../../app/some.php",
    }
    for name, target in targets.items():
        project.link(f"src/plugins/A/{name}", target)
    places = {f"plugins/A/{name}" for name in targets}
    assert tree.changed() == places | {"plugins/A/A.php"}
    for name, target in targets.items():
        link = tree.read(f"plugins/A/{name}")
        assert isinstance(link, Link)
        assert link.target == target
    project.link("src/plugins/A/a file", "B.php")
    assert tree.changed() == {"plugins/A/a file"}
    assert project.said == []


def test_where_nginx_serves_what_links_lead_to_is_shown(
    project: Project, tree: WorkingTree
) -> None:
    project.write("src/plugins/A/Assets/a.css", "a")
    project.link("themes/acme/one.css", "two.css")
    project.link("themes/acme/two.css", "../../plugins/A/Assets/a.css")
    project.link("themes/acme/styles", "../other")
    project.link("themes/other", "../plugins/A/Assets")
    project.link("themes/acme/itself", "..")
    project.link("themes/acme/release.css", "../coffee/a.css")
    copies = {f"themes/{name}" for name in ("acme/one.css", "acme/two.css", "acme/styles/a.css")}
    copies |= {"plugins/A/Assets/a.css", "themes/other/a.css"}
    links = {"themes/acme/itself", "themes/acme/release.css"}
    assert tree.changed() == copies | links
    assert {tree.read(place) for place in copies} == {b"a"}
    assert {type(tree.read(place)) for place in links} == {Link}
    project.write("src/plugins/A/Assets/a.css", "b")
    assert tree.changed() == copies
    project.write("themes/base/a.css", "a")
    project.link("themes/base/link.css", "a.css")
    project.link("themes/acme/base", "../base")
    names = ("base/a.css", "base/link.css", "acme/base/a.css", "acme/base/link.css")
    assert tree.changed() == {f"themes/{name}" for name in names}
    project.write("src/plugins/A/Assets/b.css", "b")
    folders = ("themes/acme/styles", "themes/other", "plugins/A/Assets")
    assert tree.changed() == {f"{folder}/b.css" for folder in folders}
    assert project.said == []


@pytest.mark.parametrize(
    "target",
    [
        "{root}/secret",
        "{root}/src/plugins/A/A.php",
        "../../../secret",
        "../../../themes/acme/html/page.twig",
        "out/secret",
        "A.map",
        "ignored.php",
        "editors~",
        "cache",
    ],
)
def test_a_link_to_what_the_images_do_not_get_is_left_out_and_told_once(
    project: Project, target: str
) -> None:
    for name in ("secret", "src/plugins/A/A.php", "src/plugins/A/A.map", "src/plugins/A/editors~"):
        project.write(name, "")
    project.write(".gitignore", "ignored.php\ncache\nout\n")
    project.write("src/plugins/A/ignored.php", "")
    project.write("src/plugins/A/cache/file", "")
    project.link("src/plugins/A/out", "../../..")
    tree = project.tree()
    before = set(tree.contents())
    target = target.format(root=project.root)
    link = project.link("src/plugins/A/link", target)
    assert tree.changed() == set()
    project.write("src/plugins/A/B.php", "")
    assert tree.changed() == {"plugins/A/B.php"}
    assert tree.read("plugins/A/link") is None
    (told,) = project.said
    assert told == (
        f"src/plugins/A/link is a link to {target}, which is not in the image: it is left out, and "
        "a build refuses it"
    )
    link.unlink()
    link.write_text("a file")
    assert tree.changed() == {"plugins/A/link"}
    assert before | {"plugins/A/link", "plugins/A/B.php"} == project.shown()


@pytest.mark.parametrize("asks_git", [True, False])
def test_a_folder_that_is_a_link_is_left_out(project: Project, asks_git: bool) -> None:
    project.write("secrets/A/A.php", "a")
    project.link("src/plugins", "../secrets")
    assert set(project.tree(asks_git=asks_git).contents()) == {"themes/acme/html/page.twig"}
    (told,) = project.said
    assert told == f"{project.root}/src/plugins is a link: it is left out"


def test_a_link_that_no_image_gets_is_left_out_in_silence(project: Project) -> None:
    project.link("themes/acme/a.map", "html/page.twig")
    project.link("src/plugins/A/out.map", "../../../secret")
    assert project.shown() == {"themes/acme/html/page.twig"}
    assert project.said == []


def test_a_link_that_leads_to_itself_is_left_out(project: Project) -> None:
    project.link("src/plugins/A/one", "other")
    project.link("src/plugins/A/other", "one")
    assert project.shown() == {"themes/acme/html/page.twig"}
    assert [told.partition(", ")[0] for told in project.said] == [
        "src/plugins/A/one is a link to other",
        "src/plugins/A/other is a link to one",
    ]


def test_a_file_that_has_become_a_link_is_never_read_through_it(
    project: Project, root: Path, tree: WorkingTree
) -> None:
    project.write("secret", "the host's")
    page = root / "acme" / "html" / "page.twig"
    page.unlink()
    page.symlink_to(project.root / "secret")
    assert tree.read("themes/acme/html/page.twig") is None
    assert tree.changed() == {"themes/acme/html/page.twig"}
    assert tree.read("themes/acme/html/page.twig") is None


def test_what_git_ignores_is_shown_once_it_is_not_ignored(
    project: Project, tree: WorkingTree
) -> None:
    project.write("themes/.gitignore", "*.log\n")
    project.write("themes/acme/a.log", "a")
    assert tree.changed() == {"themes/.gitignore"}
    project.write("themes/acme/.gitignore", "!a.log\n")
    assert tree.changed() == {"themes/acme/.gitignore", "themes/acme/a.log"}

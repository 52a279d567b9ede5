"""What `inv init` refuses and says before it writes a file."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.git import Git
from tasks.adapters.process import Runner
from tasks.app import setup
from tasks.core.errors import InputError
from tasks.core.project_setup import Answers
from tests.support.fakes import a_console
from tests.support.suite import git

HERE = Answers("acme")
NO_WHEEL = "nope.whl"
WHEEL = "mautic_multidev-9.9.9-py3-none-any.whl"


class Repository:
    """A folder in which `inv init` is run, as the package would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.console, self.said = a_console()
        self.git = Git(Runner(self.console.redactor), root)

    def refused(self, given: Answers = HERE, wheel: str = NO_WHEEL) -> InputError:
        """Return why it is refused."""
        session: Any = self
        with pytest.raises(InputError) as caught:
            setup.init_plan(session, astuple(given), wheel, ask_for_more=False)
        return caught.value


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(setup, "IS_PACKAGE", True)
    monkeypatch.setattr(setup, "PROJECT", tmp_path)
    git(tmp_path, "init", "--quiet")
    return Repository(tmp_path)


def test_a_folder_that_is_no_repository_is_told_how_to_be_one(repository: Repository) -> None:
    (repository.root / ".git").rename(repository.root / "was")
    assert repository.refused().hint == "make it one: git init"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Answers("Bad Name!"), "--project 'Bad Name!': must be a letter and at most 39 more of"),
        (Answers("a: b"), "--project 'a: b': must be a letter"),
        (Answers("12"), "--project '12': must be a letter"),
        (Answers("acme", "{slug}.a b", "r.example.com/x", "here"), "--host '{slug}.a b': must be"),
        (Answers("acme", "{slug}.a.b", 'a"b', "here"), "--registry 'a\"b': must be host"),
        (Answers("acme", "{slug}.a.b", "mine", "here"), "--registry 'mine': needs a host"),
        (Answers("acme", "{slug}.a.b", "r.example.com/x", "c d"), "--cluster 'c d': must be one"),
    ],
)
def test_an_answer_that_no_setting_takes_is_told_by_its_option(
    given: Answers, message: str, repository: Repository
) -> None:
    told = repository.refused(given).message
    assert told.startswith(message)
    assert "invoke.yaml" not in told
    assert "more)" not in told


@pytest.mark.parametrize(
    ("wheel", "is_there", "message"),
    [
        (NO_WHEEL, False, "there is no file nope.whl"),
        (WHEEL, False, f"there is no file {WHEEL}"),
        (NO_WHEEL, True, "nope.whl is no wheel of mautic-multidev"),
    ],
)
def test_a_wheel_that_is_not_there_is_told_so(
    wheel: str,
    is_there: bool,
    message: str,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(repository.root)
    if is_there:
        (repository.root / wheel).touch()
    assert repository.refused(wheel=wheel).message == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[environments]", "invoke.yaml must hold keys and values"),
        ("text", "invoke.yaml must hold keys and values"),
        ("project: {a: b}", "project in invoke.yaml: must be text; a number needs quotes"),
        ("environments: [dev]", "environments in invoke.yaml: must hold keys and values"),
        ("environments: dev", "environments in invoke.yaml: must hold keys and values"),
        ("environments: {dev: text}", "environments.dev in invoke.yaml: must hold keys and values"),
        ("environments: {dev: [a]}", "environments.dev in invoke.yaml: must hold keys and values"),
        # To the next question.
        ("project:", "there is no file nope.whl"),
        ("environments:", "there is no file nope.whl"),
        ("environments: {dev: }", "there is no file nope.whl"),
    ],
)
def test_settings_of_another_shape_are_told_by_the_key(
    settings: str, message: str, repository: Repository
) -> None:
    (repository.root / "invoke.yaml").write_text(settings)
    cluster = Answers("acme", "{slug}.a.b", "r.example.com/x", "here")
    assert repository.refused(cluster).message == message


def test_a_folder_of_the_other_layout_is_said_to_be_left_out(repository: Repository) -> None:
    for name in ("docroot/plugins/A/A.php", "plugins/B/B.php", "themes/a/config.json"):
        path = repository.root / name
        path.parent.mkdir(parents=True)
        path.touch()
    repository.refused()
    said = repository.said.getvalue().splitlines()
    assert said[0] == "found: recommended-project"
    assert [line.partition(":")[0] for line in said[1:]] == [
        "! plugins is left out",
        "! themes is left out",
    ]

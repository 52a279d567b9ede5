"""Finds the tests that a change affects: ``python -m tests.support.changes`` prints their files.

A test is touched by a change of a file that it reaches by imports, its own included. One that
starts the command line reaches the commands that it names. Any other file is reached by the tests
that name it, or the folder at the top of the checkout that it lies in. What no test reaches by
these rules may touch each of them: then all run.

pytest-testmon, which records what a test executes, does not see the processes that the tests start.
"""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.suite import ROOT, git

FAMILIES = ("tests/unit/", "tests/integration/")
PROGRAM = "tests.support.suite.Inv"
"""What every test imports, itself or by its helpers, that starts the command line."""

DEPENDENCIES = ("pyproject.toml", "requirements*.lock", "package*.json", "tests/conftest.py")
"""What every test rests on."""


def main() -> None:
    """Print the files of the tests that are touched, one a line."""
    print(*touched(changed_files()), sep="\n")  # noqa: T201


def changed_files() -> list[str]:
    """Return what differs from where the branch left the default branch, new files included."""
    base = "HEAD"
    for other in ("origin/HEAD", "main"):
        try:
            base = git(ROOT, "merge-base", "HEAD", other)
            break
        except subprocess.CalledProcessError:
            continue
    listed = (
        git(ROOT, "diff", "--name-only", "--no-renames", "-z", base),
        git(ROOT, "ls-files", "--others", "--exclude-standard", "-z"),
    )
    return sorted({name for text in listed for name in text.split("\0") if name})


def touched(changed: Collection[str]) -> list[str]:
    """Return the files of unit and integration tests that a change touches.

    Args:
        changed: files by their paths in the checkout; those that were removed, too.
    """
    tests = [
        path
        for family in FAMILIES
        for path in _files(family)
        if Path(path).name.startswith("test_")
    ]
    found: set[str] = set()
    for name in changed:
        reaching = {test for test in tests if _reaches(test, name)}
        is_unknown = not reaching and not name.startswith("tests/")
        if is_unknown or any(Path(name).match(pattern) for pattern in DEPENDENCIES):
            return sorted(tests)
        found |= reaching
    return sorted(found)


def _reaches(test: str, name: str) -> bool:
    reached = _reach(test)
    if name.endswith(".py") and name.startswith(("tasks/", "tests/")):
        return name in reached
    top = Path(name).parts[0]
    own = [_read(path) for path in reached if path.startswith("tests/")]
    return any(
        top in one.parts or any(text == name or text.startswith(f"{top}/") for text in one.texts)
        for one in own
    )


@functools.cache
def _reach(test: str) -> frozenset[str]:
    """Return the files that a test reaches, by imports and by the commands that it names."""
    reached = _closure([test])
    own = [_read(path) for path in reached if path.startswith("tests/")]
    if any(PROGRAM in one.imports for one in own):
        texts = {text for one in own for text in one.texts}
        commands = _commands()
        named = {path for task, path in commands.items() if task in texts}
        reached |= _closure(named or set(commands.values()))
    # Their fixtures, not what these import: a test that takes a fixture imports its type.
    folders = [folder for folder in Path(test).parents if folder != Path()]
    return frozenset(reached).union(
        filter(_exists, (str(folder / "conftest.py") for folder in folders))
    )


def _closure(paths: Collection[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += filter(_exists, map(_path, _read(path).imports))
    return reached


@dataclass(frozen=True)
class _Source:
    """A Python file.

    Attributes:
        imports: the modules, and the names in them, that it imports, also inside functions.
        texts: the texts that stand in it.
        parts: those of the texts that a path is joined of.
    """

    imports: frozenset[str]
    texts: frozenset[str]
    parts: frozenset[str]


@functools.cache
def _read(path: str) -> _Source:
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text())))
    joined = [
        side
        for node in nodes
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        for side in (node.left, node.right)
    ]
    return _Source(frozenset(_imports(nodes)), _texts(nodes), _texts(joined))


def _texts(nodes: Collection[ast.AST]) -> frozenset[str]:
    return frozenset(
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _imports(nodes: Collection[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _path(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


@functools.cache
def _exists(path: str) -> bool:
    return (ROOT / path).is_file()


def _files(folder: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")]


@functools.cache
def _commands() -> dict[str, str]:
    """Return the file of each task, by its name on the command line."""
    from tasks import namespace

    return {name: _path(namespace[name].body.__module__) for name in namespace.task_names}


if __name__ == "__main__":
    main()

"""Who may import whom: core <- adapters <- flows <- app <- commands, and no arrow upwards.

Core is pure, adapters alone are with the world, flows are over adapters, app puts things together,
commands call flows. Within a layer each folder is a room of its own.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.suite import ROOT

TASKS = ROOT / "tasks"
MODULES = sorted(TASKS.rglob("*.py"))
LAYERS = ("core", "adapters", "flows", "app", "commands")
"""From the lowest to the highest: each may import itself and those below it."""
CORE, ADAPTERS, FLOWS, APP, COMMANDS = (
    [path for path in MODULES if path.is_relative_to(TASKS / layer)] for layer in LAYERS
)
TOP = [path for path in MODULES if path.relative_to(TASKS).parts[0] not in LAYERS]
FLOWS_OF_NO_TARGET = [path for path in FLOWS if path.parent == TASKS / "flows"]
TARGETS = {"tasks.flows.compose", "tasks.flows.kubernetes"}
ABOVE_FLOWS = {"tasks.app", "tasks.commands"}

PURE = {
    *("__future__", "abc", "base64", "collections", "csv", "dataclasses", "datetime", "decimal"),
    *("difflib", "enum", "fnmatch", "functools", "hashlib", "hmac", "html", "ipaddress"),
    *("itertools", "json", "math", "posixpath"),
    *("re", "shlex", "string", "textwrap", "types", "typing", "unicodedata", "urllib.parse"),
    # It reads the system's table of time zones, which is no more of the world than Unicode's.
    "zoneinfo",
}
"""What of the standard library does no I/O."""

HEAVY = {
    *("boto3", "botocore", "cyclonedx", "docker", "kubernetes", "packageurl", "pydantic"),
    *("python_terraform", "requests", "rich", "sh", "urllib3", "websocket", "yaml"),
}
"""What costs start-up time: `inv --list` must not wait for it."""

VENDORS = HEAVY - {"pydantic", "yaml"}
"""What talks to an outside system: for adapters alone."""

CODE_LINES_MAX = 600
"""Lines that hold code: docstrings, comments and blank lines do not count."""


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """Yield the full names of the modules that a module imports, outside type checking."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else _walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _names(node)


def _names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import: {ast.unparse(node)}"
        yield node.module or ""
    module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    yield from (f"{module}{alias.name}" for alias in node.names)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _walk(node)


def imports_inside_functions(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each import inside a function, and the full names of what it imports."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in {inner: None for outer in functions for inner in ast.walk(outer)}:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield ast.unparse(node), list(_names(node))


def is_of(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def ours(path: Path, *packages: str) -> set[str]:
    """Return the modules of the suite's, below these packages, that a module imports."""
    modules = {name_of(each) for each in MODULES}
    return {name for name in imports(path) if name in modules and is_of(name, set(packages))}


def heavy_modules() -> set[str]:
    """Return the modules of the suite's that are of no use without something heavy.

    They load it as soon as they are imported or used, or load a module that does.
    """
    imported = {name_of(path): set(imports(path, top_only=True)) for path in MODULES}
    heavy = {name_of(path) for path in MODULES if any(is_of(name, HEAVY) for name in imports(path))}
    while more := {
        module
        for module, names in imported.items()
        if module not in heavy and any(is_of(name, HEAVY) or name in heavy for name in names)
    }:
        heavy |= more
    return heavy


HEAVY_MODULES = heavy_modules()


def test_every_layer_has_modules() -> None:
    assert min(len(layer) for layer in (CORE, ADAPTERS, FLOWS, APP, COMMANDS)) >= 3


def test_over_the_layers_is_the_collection_of_commands_and_the_program_alone() -> None:
    assert TOP == [TASKS / "__init__.py", TASKS / "__main__.py"]
    lower = {f"tasks.{layer}" for layer in LAYERS if layer not in {"app", "commands"}}
    assert [name for path in TOP for name in imports(path) if is_of(name, lower)] == []


@pytest.mark.parametrize("path", CORE, ids=shown)
def test_core_is_pure(path: Path) -> None:
    allowed = PURE | {"pydantic", "tasks.core"}
    assert [name for name in imports(path) if not is_of(name, allowed) and name != "tasks"] == []
    called = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not {"open", "print", "input"} & set(called)


@pytest.mark.parametrize("path", FLOWS, ids=shown)
def test_flows_know_adapters_but_neither_invoke_nor_vendors(path: Path) -> None:
    forbidden = {"invoke", "subprocess", "socket", "http.client", *ABOVE_FLOWS, *VENDORS}
    assert [name for name in imports(path) if is_of(name, forbidden)] == []


@pytest.mark.parametrize("path", FLOWS_OF_NO_TARGET, ids=shown)
def test_flows_of_every_target_know_none(path: Path) -> None:
    assert [name for name in imports(path) if is_of(name, TARGETS)] == []


@pytest.mark.parametrize("path", ADAPTERS, ids=shown)
def test_adapters_know_neither_invoke_nor_flows(path: Path) -> None:
    forbidden = {"invoke", "tasks.flows", *ABOVE_FLOWS}
    assert [name for name in imports(path) if is_of(name, forbidden)] == []


@pytest.mark.parametrize("path", APP, ids=shown)
def test_app_does_not_know_commands(path: Path) -> None:
    assert [name for name in imports(path) if is_of(name, {"tasks.commands"})] == []


@pytest.mark.parametrize("path", [*TOP, *APP, *COMMANDS], ids=shown)
def test_tasks_leave_vendors_to_adapters(path: Path) -> None:
    assert [name for name in imports(path) if is_of(name, VENDORS | {"subprocess"})] == []


@pytest.mark.parametrize("path", COMMANDS, ids=shown)
def test_app_alone_puts_things_together(path: Path) -> None:
    """A command takes what it needs from app: neither from an adapter nor from another command."""
    assert ours(path, "tasks.adapters", "tasks.commands") == set()


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_an_import_inside_a_function_is_of_something_heavy(path: Path) -> None:
    """All else stands at the top, where a reader looks for it.

    Only a command loads what it does as it runs: all at once would double `inv --list`.
    """
    late = HEAVY | HEAVY_MODULES | ({"tasks.flows", "tasks.app"} if path in COMMANDS else set())
    assert [
        statement
        for statement, names in imports_inside_functions(path)
        if not any(is_of(name, late) for name in names)
    ] == []


SHARED = {"core", "adapters", "adapters/files", "adapters/terminal"}
"""Rooms that everybody may use, and which the picture of the rooms leads no arrow to."""


def test_the_picture_of_the_rooms_is_true() -> None:
    """docs/rooms.dot shows every folder, and every arrow but those that its page leaves out."""

    def room(path: Path) -> str:
        return str(path.relative_to(TASKS).parent)

    text = (ROOT / "docs" / "rooms.dot").read_text()
    boxes = re.findall(r'^ +"([^"]+)"(?: \[.*\])?;?$', text, re.MULTILINE)
    arrows = re.findall(r'^ +"([^"]+)" -> "([^"]+)"$', text, re.MULTILINE)
    below = [path for path in MODULES if path not in TOP and path.name != "__init__.py"]
    used = {
        (room(path), room(ROOT.joinpath(*name.split(".")).with_suffix(".py")))
        for path in below
        for name in ours(path, "tasks")
    }
    shown_arrows = {
        (user, other)
        for user, other in used
        if user not in {other, "app"} and other not in SHARED and other != "."
    }
    assert sorted(boxes) == sorted({room(path) for path in below})
    assert sorted(arrows) == sorted(shown_arrows)


def test_rooms_form_no_circle() -> None:
    """A room is a folder; of a layer's own modules each one stands for itself."""

    def room(path: Path) -> str:
        place = path.relative_to(TASKS)
        is_layer = len(place.parts) <= 2 and place.parts[0] in {"core", "adapters", "flows"}
        return str(place.with_suffix("") if is_layer else place.parent)

    arrows: defaultdict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for name in ours(path, "tasks"):
            other = room(ROOT.joinpath(*name.split(".")).with_suffix(".py"))
            if other != room(path):
                arrows[room(path)].add(other)
    list(TopologicalSorter(arrows).static_order())  # CycleError names the circle


def test_a_room_does_nothing_when_it_is_entered() -> None:
    doors = [path for path in MODULES if path.stem == "__init__" and path.parent != TASKS]
    assert {shown(path) for path in doors if list(imports(path))} == set()


TWO_MEANINGS: set[str] = set()
"""Public class names that read better defined twice; each needs a comment that says why."""


def test_no_public_class_name_means_two_things() -> None:
    """A reader who meets a name knows which class it is, without looking at the imports."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            for name in _types(node):
                homes[name].append(shown(path))
    twice = {name: paths for name, paths in homes.items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in TWO_MEANINGS} == {}
    assert twice.keys() >= TWO_MEANINGS


def _types(node: ast.stmt) -> Iterator[str]:
    """Yield the public class or type alias that a statement defines."""
    if isinstance(node, ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    else:
        return
    # Type aliases are written like classes; constants in capitals; one letter is a TypeVar.
    yield from (name for name in names if re.fullmatch(r"[A-Z][a-z]\w*", name))


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_is_small_enough_to_be_read(path: Path) -> None:
    source = path.read_text()
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    quiet = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}
    code = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if tokenize.tok_name[token.type] not in quiet
    }
    assert len(code - docstrings) <= CODE_LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_everything_imported_is_there_by_the_lock_or_by_python(path: Path) -> None:
    """An import inside a function would fail only when it is reached."""
    known = set(sys.stdlib_module_names) | HEAVY | {"invoke", "tasks"}
    assert [name for name in imports(path) if name.split(".")[0] not in known] == []


def test_no_program_is_run_by_a_shell() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"os.system", "os.popen", "context.run", "ctx.run"}, shown(
                    path
                )
                assert not any(word.arg == "shell" for word in node.keywords), shown(path)


@pytest.mark.parametrize("path", FLOWS, ids=shown)
def test_flows_write_no_command_line_of_docker(path: Path) -> None:
    """They ask the adapters of tasks/adapters/docker."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            assert ast.unparse(node.elts[0]) != "'docker'", ast.unparse(node)


def test_our_docker_folder_does_not_shadow_the_sdk() -> None:
    assert not (ROOT / "docker" / "__init__.py").exists()

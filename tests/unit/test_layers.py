"""Who may import whom: pure rules, flows over adapters, and adapters alone with the world."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.suite import ROOT

TASKS = ROOT / "tasks"
MODULES = sorted(TASKS.rglob("*.py"))
CORE = [path for path in MODULES if path.is_relative_to(TASKS / "core")]
FLOWS = [path for path in MODULES if path.is_relative_to(TASKS / "flows")]
ADAPTERS = [path for path in MODULES if path.is_relative_to(TASKS / "adapters")]
THIN = [path for path in MODULES if path.parent == TASKS]

PURE = {
    *("__future__", "abc", "base64", "collections", "dataclasses", "datetime", "difflib", "enum"),
    *("fnmatch", "functools", "hashlib", "ipaddress", "itertools", "json", "math", "posixpath"),
    *("re", "shlex", "string", "textwrap", "types", "typing", "urllib.parse"),
}
"""What of the standard library does no I/O."""

HEAVY = {
    *("boto3", "botocore", "docker", "kubernetes", "pydantic", "python_terraform", "requests"),
    *("rich", "sh", "urllib3", "websocket", "yaml"),
}
"""What costs start-up time: `inv --list` must not wait for it."""

VENDORS = HEAVY - {"pydantic", "yaml"}
"""What talks to an outside system: for adapters alone."""

CODE_LINES_MAX = 600
"""Lines that hold code: docstrings, comments and blank lines do not count."""


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """Yield the full names of the modules that a module imports, outside type checking."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else _walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _walk(node)


def is_of(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_every_layer_has_modules() -> None:
    assert min(len(CORE), len(FLOWS), len(ADAPTERS), len(THIN)) >= 3


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
    forbidden = {"invoke", "subprocess", "socket", "tasks.cli", "http.client", *VENDORS}
    assert [name for name in imports(path) if is_of(name, forbidden)] == []


@pytest.mark.parametrize("path", ADAPTERS, ids=shown)
def test_adapters_know_neither_invoke_nor_flows(path: Path) -> None:
    forbidden = {"invoke", "tasks.cli", "tasks.flows"}
    assert [name for name in imports(path) if is_of(name, forbidden)] == []


@pytest.mark.parametrize("path", THIN, ids=shown)
def test_tasks_leave_vendors_to_adapters(path: Path) -> None:
    assert [name for name in imports(path) if is_of(name, VENDORS | {"subprocess"})] == []


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


def test_our_docker_folder_does_not_shadow_the_sdk() -> None:
    assert not (ROOT / "docker" / "__init__.py").exists()

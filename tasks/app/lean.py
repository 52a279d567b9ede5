"""Imports invoke without what it costs and `inv` does not use; right after ``tasks.app.early``."""

import atexit
import dataclasses
import gc
import sys
import types
from collections.abc import Callable
from typing import Any

from tasks.app.early import IS_PROGRAM

GARBAGE = 500_000
"""How many more objects than before are looked through for cycles of garbage; Python has 700.

What a run imports stays until its end: looking through it again and again was a tenth of its time.
A run that lasts, such as ``inv dev``, has by then some hundred megabytes of garbage at most.
"""


def _unused() -> dict[str, types.ModuleType | None]:
    """Return what stands in for modules while invoke is imported: a quarter of ``inv --list``.

    invoke wants unittest, and with it asyncio, for the class ``MockContext`` alone, which is for
    tests; and importlib.metadata, and with it email and zipfile, for its own version alone. Its own
    copy of PyYAML takes the library in C from the package yaml, which reads none of our files.
    """
    package, mock = (types.ModuleType(name) for name in ("unittest", "unittest.mock"))
    mock.Mock = object  # type: ignore[attr-defined]
    metadata = types.ModuleType("importlib.metadata")
    metadata.version = str  # type: ignore[attr-defined]
    return {
        "unittest": package,
        "unittest.mock": mock,
        "importlib.metadata": metadata,
        "yaml": None,  # for Python: there is none
    }


def _no_plugins() -> types.ModuleType:
    """Return what stands in for pydantic's search for plugins, which wants importlib.metadata."""
    loader = types.ModuleType("pydantic.plugin._loader")
    loader.get_plugins = tuple  # type: ignore[attr-defined]
    return loader


def _compiled_late(compile_method: Callable[..., Any]) -> Callable[..., Any]:
    """Return what dataclasses compile their methods by, which does so when one is first called.

    A frozen class has six, a run loads 150 of these, and calls few methods but ``__init__``: the
    rest was a tenth of ``inv url``. From Python 3.13 on a class's methods are compiled at once.
    """

    def compile_late(name: str, *args: Any, **options: Any) -> Any:
        if name == "__init__":  # pydantic and others look at its arguments
            return compile_method(name, *args, **options)
        compiled: list[Any] = []

        def method(*given: Any) -> Any:
            if not compiled:
                compiled.append(compile_method(name, *args, **options))
            return compiled[0](*given)

        method.__name__ = name
        return method

    return compile_late


if IS_PROGRAM:
    if sys.version_info < (3, 13):
        dataclasses._create_fn = _compiled_late(dataclasses._create_fn)  # type: ignore[attr-defined]
    gc.set_threshold(GARBAGE)
    # Nor is it looked through when Python ends: another tenth.
    atexit.register(gc.freeze)
    # It would look through everything that is installed for what extends it.
    sys.modules["pydantic.plugin._loader"] = _no_plugins()
    absent = {name: module for name, module in _unused().items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]
    import invoke  # noqa: F401

    for each in absent:
        del sys.modules[each]

"""Imports invoke without what it costs and `inv` does not use; right after ``tasks.app.early``."""

import atexit
import gc
import sys
import types

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


if IS_PROGRAM:
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

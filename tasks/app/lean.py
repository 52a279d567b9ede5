"""Imports invoke without what it costs and `inv` does not use; right after ``tasks.app.early``."""

import gc
import os
import sys
import types

from tasks.app.early import IS_PROGRAM

GARBAGE = 50_000
"""How many more objects than before are looked through for cycles of garbage; Python has 700.

What a run imports stays until its end: looking through it again and again was a tenth of its time.
"""


def _unused() -> dict[str, types.ModuleType]:
    """Return what stands in for modules while invoke is imported: a quarter of ``inv --list``.

    invoke wants unittest, and with it asyncio, for the class ``MockContext`` alone, which is for
    tests; and importlib.metadata, and with it email and zipfile, for its own version alone.
    """
    package, mock = (types.ModuleType(name) for name in ("unittest", "unittest.mock"))
    mock.Mock = object  # type: ignore[attr-defined]
    metadata = types.ModuleType("importlib.metadata")
    metadata.version = str  # type: ignore[attr-defined]
    return {"unittest": package, "unittest.mock": mock, "importlib.metadata": metadata}


if IS_PROGRAM:
    gc.set_threshold(GARBAGE)
    # It would look through everything that is installed for what extends it.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    absent = {name: module for name, module in _unused().items() if name not in sys.modules}
    sys.modules.update(absent)
    import invoke  # noqa: F401

    for each in absent:
        del sys.modules[each]

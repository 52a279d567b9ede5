"""Imports invoke without what it costs and `inv` does not use; right after ``tasks.app.early``."""

import os
import sys
import types

from tasks.app.early import IS_PROGRAM


def _without_unittest() -> dict[str, types.ModuleType]:
    """Return what stands in for unittest while invoke is imported.

    invoke wants it, and with it asyncio, for the class ``MockContext`` alone, which is for tests: a
    sixth of the time of ``inv --list``.
    """
    package, mock = (types.ModuleType(name) for name in ("unittest", "unittest.mock"))
    mock.Mock = object  # type: ignore[attr-defined]
    return {"unittest": package, "unittest.mock": mock}


if IS_PROGRAM:
    # It would look through everything that is installed for what extends it.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if "unittest" not in sys.modules:
        sys.modules.update(_without_unittest())
        import invoke  # noqa: F401

        for each in _without_unittest():
            del sys.modules[each]

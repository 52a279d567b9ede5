"""Before all other imports: Ctrl-C is answered, and what costs time and is not used is left out.

It is the first import of ``tasks``. While a task runs, ``tasks.adapters.process`` handles signals.
"""

import itertools
import os
import signal
import sys
import types
from pathlib import Path
from types import FrameType

INTERRUPTED = "interrupted; the same command can be run again"


def _is_program() -> bool:
    """Return True if this process is `inv`, and does not only import the tasks."""
    argv = sys.orig_argv
    modules = {("-m", name) for name in ("tasks", "invoke", "mautic_multidev")}
    if modules & set(itertools.pairwise(argv)):
        return True
    return len(argv) > 1 and Path(argv[1]).name in {"inv", "invoke", "mautic-multidev"}


def _quit(number: int, _: FrameType | None) -> None:
    # Nothing has been done that would have to be undone, and any import may be half-way.
    os.write(2, f"! {INTERRUPTED}\n".encode())
    os._exit(128 + number)


def _without_unittest() -> dict[str, types.ModuleType]:
    """Return what stands in for unittest while invoke is imported.

    invoke wants it, and with it asyncio, for the class ``MockContext`` alone, which is for tests: a
    sixth of the time of ``inv --list``.
    """
    package, mock = (types.ModuleType(name) for name in ("unittest", "unittest.mock"))
    mock.Mock = object  # type: ignore[attr-defined]
    return {"unittest": package, "unittest.mock": mock}


if _is_program():
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _quit)
    # It would look through everything that is installed for what extends it.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if "unittest" not in sys.modules:
        sys.modules.update(_without_unittest())
        import invoke  # noqa: F401

        for each in _without_unittest():
            del sys.modules[each]

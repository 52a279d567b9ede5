"""Run the suite's tasks in the repository around the working directory."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

SUITE = Path(__file__).resolve().parent / "suite"
NAME = "mautic-multidev"
"""The program that pip installs."""


def main() -> None:
    """Run the command line."""
    sys.path.insert(0, str(SUITE))
    from tasks.core.display import PROGRAM

    # A project's ./inv has said how it was called.
    if Path(sys.argv[0]).name == NAME:
        os.environ[PROGRAM] = NAME if shutil.which(NAME) == sys.argv[0] else sys.argv[0]
    from tasks.app.invoke_config import main as run
    from tasks.app.invoke_config import show_traceback

    sys.excepthook = show_traceback
    run()


if __name__ == "__main__":
    main()

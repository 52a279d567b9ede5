"""Run the suite's tasks in the repository around the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

SUITE = Path(__file__).resolve().parent / "suite"


def main() -> None:
    """Run the command line."""
    sys.path.insert(0, str(SUITE))
    from tasks.app.invoke_config import main as run
    from tasks.app.invoke_config import show_traceback

    sys.excepthook = show_traceback
    run()


if __name__ == "__main__":
    main()

"""Run `inv`, as ./inv starts it."""

from __future__ import annotations

import sys

from tasks.app.invoke_config import main, show_traceback

if __name__ == "__main__":
    sys.excepthook = show_traceback
    main()

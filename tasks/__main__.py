"""Run `inv`, as ./inv starts it."""

from __future__ import annotations

from tasks.app.invoke_config import main

if __name__ == "__main__":
    main()

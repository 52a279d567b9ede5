"""Run `inv`, as ./inv starts it."""

from __future__ import annotations

from tasks.app.invoke_config import Suite, SuiteConfig

if __name__ == "__main__":
    Suite(name="inv", binary="inv", binary_names=["inv"], config_class=SuiteConfig).run()

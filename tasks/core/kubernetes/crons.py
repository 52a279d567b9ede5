"""Decides which of the chart's scheduled commands the images can run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MAIL = "mautic:email:fetch"
IMAP_UNTIL = (8, 3)
"""The last PHP that comes with the extension imap; Debian's last one of these is bookworm's 8.2."""
NEEDS_IMAP = f"{MAIL} needs PHP's extension imap, which Debian has up to bookworm (PHP 8.2)"


def unsupported_crons(values: Mapping[str, Any], php: str) -> Iterator[str]:
    """Yield the names of the CronJobs that would always fail with the images.

    The scheduler of ``crons.mode: pod`` checks the image itself.

    Args:
        values: the chart's values, merged.
        php: the images' version of PHP.
    """
    version = re.match(r"(\d+)\.(\d+)", php)
    if values["crons"]["mode"] != "cronjobs" or not version:
        return
    if (int(version[1]), int(version[2])) <= IMAP_UNTIL:
        return
    for name, job in values["crons"]["jobs"].items():
        if job and job.get("enabled", True) and [*job.get("command", ()), ""][0] == MAIL:
            yield name

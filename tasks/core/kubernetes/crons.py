"""Decides which of the chart's scheduled commands the images can run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MAIL = "mautic:email:fetch"
IMAP_UNTIL = (8, 3)
"""The last PHP that comes with the extension imap; Debian's last one of these is bookworm's 8.2."""
NEEDS_IMAP = f"{MAIL} needs PHP's extension imap, which Debian has up to bookworm (PHP 8.2)"
SINCE = {"mautic:contacts:cleanup_exported_files": 7, "mautic:custom-field:delete-column": 7}
"""Commands that only newer lines of Mautic have, and the first of these."""


def unsupported_crons(
    values: Mapping[str, Any], php: str, mautic: str
) -> Iterator[tuple[str, str]]:
    """Yield the names of the CronJobs that would always fail with the images, and why.

    The scheduler of ``crons.mode: pod`` checks the image itself.

    Args:
        values: the chart's values, merged.
        php: the images' version of PHP.
        mautic: the image that Mautic comes from; its tag may name the release.
    """
    if values["crons"]["mode"] != "cronjobs":
        return
    for name, job in values["crons"]["jobs"].items():
        if job and job.get("enabled", True):
            reason = _obstacle([*job.get("command", ()), ""][0], php, mautic)
            if reason:
                yield name, reason


def _obstacle(command: str, php: str, mautic: str) -> str:
    """Return why the images cannot run a command; empty if they can, or nothing says so."""
    version = re.match(r"(\d+)\.(\d+)", php)
    if command == MAIL and version and (int(version[1]), int(version[2])) > IMAP_UNTIL:
        return NEEDS_IMAP
    line = re.search(r":(\d+)(?:[.-][^/@]*)?(?:@|$)", mautic)
    if line and int(line[1]) < SINCE.get(command, 0):
        return f"Mautic has {command} since {SINCE[command]}"
    return ""

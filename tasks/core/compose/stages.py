"""Which services of an environment on an engine start together, and Compose's labels of them."""

from __future__ import annotations

import re

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"

DATABASE = "database"
SECRETS = "secrets"
PHP = "fpm"
"""The default service of commands."""
WEB = "web"
QUIESCED = ("worker", "cron")
"""The services that must not run while the database is migrated."""

STAGES = (QUIESCED, (WEB,), (PHP,), (DATABASE,))
"""What is stopped together, in this order; it is started in the other one. web comes after what it
asks: whoever reaches it gets an answer."""

_REPLACEMENT = re.compile(r"^[0-9a-f]{12}_")
"""Compose creates a new container with the old one's id as a prefix of its name, and renames it
when the old one is removed. Until then it has never been started."""


def stage_of(service: str) -> int:
    """Return the number of a service's stage; one that is in none is with the database."""
    known = {name: number for number, names in enumerate(STAGES) for name in names}
    return known.get(service, len(STAGES) - 1)


def is_replacement(name: str) -> bool:
    """Return True if an interrupted run left a container before it replaced the old one.

    While it exists, Compose fails to replace the service, because its name is in use.

    Args:
        name: the container's.
    """
    return bool(_REPLACEMENT.match(name))

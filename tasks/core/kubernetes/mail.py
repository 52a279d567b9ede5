"""Whether a release catches its own mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def catches_mail(values: Mapping[str, Any]) -> bool:
    """Return True if the chart makes a mail catcher of these values: no DSN sends mail elsewhere.

    Args:
        values: the chart's merged values; the same rule is `mautic.catchesMail` there.
    """
    return bool(values["mail"]["catcher"]["enabled"]) and not values["secret"]["files"].get(
        "MAUTIC_MAILER_DSN"
    )

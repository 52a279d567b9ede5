"""Sends a text to a chat's incoming webhook, whose address is a secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from tasks.core.errors import SuiteError, reason_of

TIMEOUT_SECONDS = 10.0


def secret_parts(address: str) -> tuple[str, ...]:
    """Return what must never be shown of a webhook's address: all of it, and all but the host."""
    parts = urlsplit(address)
    inner = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return (address, inner)


def send(address: str, text: str) -> None:
    """Send a text, once: a chat is no place for the same line twice.

    Raises:
        SuiteError: the chat refused, or cannot be reached; the address is not repeated.
    """
    import requests

    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in {"http", "https"} or not host:
        raise SuiteError("the webhook's variable holds no address")
    try:
        answer = requests.post(
            address, json={"text": text}, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )
    except requests.RequestException as error:
        raise SuiteError(f"the chat at {host} cannot be reached: {reason_of(error)}") from None
    if not 200 <= answer.status_code < 300:
        raise SuiteError(f"the chat at {host} answered {answer.status_code} {answer.reason}")

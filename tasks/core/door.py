"""The door of an environment: one password, and what opens it instead of the password.

With ``door: oidc`` there is no password: the load balancer sends visitors to a user pool. Otherwise
nginx derives the same from the same file (docker/nginx/entrypoint.sh), so that cookies and tickets
need no state, and a new password makes all of them void.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

USER = "preview"
"""The user name at the door. Mautic never sees a login by this name."""
KEY = "door_password"
"""The password's name among an environment's secrets."""
MAIL_PATH = "/_mail/"
"""Where nginx shows the mails that an environment has caught, to whoever has opened its door."""
_COOKIE = "mautic_door"


def password_of(secrets: Mapping[str, str]) -> str:
    """Return the password among an environment's secrets; empty if it is not there.

    Made by hand, it may end with a line break, which nginx takes for none of it either.
    """
    return secrets.get(KEY, "").rstrip("\n")


def cookie(password: str) -> str:
    """Return the cookie that the password is exchanged for, as NAME=VALUE."""
    return f"{_COOKIE}={_derived('cookie', password)}"


def headers(password: str) -> dict[str, str]:
    """Return what a request needs to pass the door; nothing without a password."""
    return {"Cookie": cookie(password)} if password else {}


def link(url: str, password: str, until: int) -> str:
    """Return a link that opens the door.

    Args:
        url: the site's URL.
        until: when it ends, in seconds since 1970.
    """
    # As nginx' secure_link_md5 wants it. The unknown part comes last and is random, so neither
    # MD5's collisions nor extended messages are of use.
    text = f"{until} {_derived('seal', password)}"
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    seal = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f"{url}/.door?ticket={seal}.{until}"


def pool_host(arn: str, domain: str) -> str:
    """Return the host name of the page at which a user pool of Amazon Cognito asks for a login.

    Args:
        arn: the user pool's.
        domain: its own domain, or the prefix of one of Amazon's.
    """
    region = arn.split(":")[3]
    return domain if "." in domain else f"{domain}.auth.{region}.amazoncognito.com"


def _derived(purpose: str, password: str) -> str:
    return hashlib.sha256(f"mautic-multidev {purpose}\n{password}".encode()).hexdigest()

"""Builds the Authorization header from a registry's challenges and a login."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tasks.adapters.registry.docker_login import Login
from tasks.core.images.challenges import Challenge

CLIENT = "mautic-multidev"


class Ask(Protocol):
    """Asks a token server."""

    def __call__(self, method: str, url: str, /, **options: Any) -> Mapping[str, Any]:
        """Return the object it answers, empty where it refuses."""


def authorise(asked: Iterable[Challenge], login: Login, ask: Ask) -> str:
    """Return an Authorization header, or an empty string if the login fits no challenge.

    Bearer goes before Basic in whatever order they come, as in containerd and dockerd.

    Args:
        asked: the registry's challenges.
        login: who asks; an empty one may still be given a token.
        ask: asks the token server that a challenge names.
    """
    ways = tuple(asked)
    for way in ways:
        if way.scheme == "bearer" and (token := _token(way.parameters, login, ask)):
            return f"Bearer {token}"
    return _basic(login) if any(way.scheme == "basic" for way in ways) else ""


def _token(asked: Mapping[str, str], login: Login, ask: Ask) -> str:
    """Return a token.

    Sources: https://distribution.github.io/distribution/spec/auth/token/ and, for identity tokens,
    https://distribution.github.io/distribution/spec/auth/oauth/.
    """
    if login.bearer:
        return login.bearer
    realm = asked.get("realm")
    if not realm:
        return ""
    wanted = {key: asked[key] for key in ("service", "scope") if key in asked}
    if login.identity:
        form = {
            **wanted,
            "grant_type": "refresh_token",
            "client_id": CLIENT,
            "refresh_token": login.identity,
        }
        given = ask("POST", realm, data=form)
    else:
        basic = _basic(login)
        headers = {"Authorization": basic} if basic else {}
        given = ask("GET", realm, params=wanted, headers=headers)
    return str(given.get("token") or given.get("access_token") or "")


def _basic(login: Login) -> str:
    if not login.user:
        return ""
    words = f"{login.user}:{login.password}".encode()
    return f"Basic {base64.b64encode(words).decode()}"

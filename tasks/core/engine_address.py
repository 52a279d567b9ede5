"""The Docker Engine's address, and hints if it does not answer."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

OWN = "start it (systemctl start docker); `inv doctor` says what else is missing"
"""The hint for this machine's own engine."""

LOCAL_SOCKETS = frozenset({"", "unix:///var/run/docker.sock", "unix:///run/docker.sock"})
"""Values of DOCKER_HOST that mean this machine's own engine."""

_CONTEXT = re.compile(r'context "([^"]+)": (context not found|parsing .+)')
"""The docker command's message about a context that is unknown or damaged."""

_USED_UP = re.compile(
    r"all predefined address pools have been fully subdivided"
    r"|could not find an available, non-overlapping IPv[46] address pool"
)
"""The engine's words from version 27 on, and before."""


def unknown_context(name: str) -> tuple[str, str]:
    """Return message and hint for a Docker context that does not exist."""
    return (
        f"there is no Docker context {name!r}",
        "`docker context ls` shows those that there are; DOCKER_CONTEXT or `docker context use` "
        "has chosen this one",
    )


def damaged_context(name: str, reason: str) -> tuple[str, str]:
    """Return message and hint for a Docker context whose files cannot be read."""
    return (
        f"the Docker context {name!r} cannot be read: {reason}",
        f"remove it (docker context rm {name}) and create it again; DOCKER_CONTEXT or "
        "`docker context use` has chosen it",
    )


def context_fault(said: str) -> tuple[str, str] | None:
    """Return message and hint if the docker command cannot use its context, or None.

    Args:
        said: its output.
    """
    found = _CONTEXT.search(said)
    if not found:
        return None
    name, reason = found.groups()
    return damaged_context(name, reason) if "parsing" in reason else unknown_context(name)


def full_disk(said: str) -> tuple[str, str] | None:
    """Return message and hint if the engine's disk is full, or None.

    Args:
        said: the error's message.
    """
    if "no space left on device" not in said.lower():
        return None
    return (
        "the disk of the Docker Engine is full",
        "see what takes the room: docker system df; free some: docker builder prune. "
        "`inv doctor` says how much is needed",
    )


def used_up_addresses(said: str) -> tuple[str, str] | None:
    """Return message and hint if the engine has no addresses left for a network, or None.

    Args:
        said: the error's message.
    """
    if not _USED_UP.search(said):
        return None
    return (
        "the Docker Engine has no addresses left for another network: each branch has one",
        # Without the filter those of branches that sleep would go, and these would not wake.
        "remove networks that nothing uses: docker network prune --filter "
        "label!=io.mautic-multidev.branch; branches that nobody needs: inv cleanup; or give the "
        "engine more addresses: default-address-pools in its daemon.json (docs/troubleshooting.md)",
    )


def remedy(said: str, *, host: str = "", context: str = "") -> str:
    """Return what to do when the engine does not answer.

    Args:
        said: the error's message.
        host: the address in DOCKER_HOST or the context, if known.
        context: the selected Docker context, or an empty string.
    """
    if host.startswith("ssh://") or "command [ssh" in said:
        parts = urlsplit(host)
        port = f" -p {parts.port}" if parts.port else ""
        user = f"{parts.username}@" if parts.username else ""
        place = f"{user}{parts.hostname}" if parts.hostname else "USER@HOST"
        return (
            "the suite itself does not speak SSH: run it on that machine, or lead the engine's "
            f"socket here (ssh{port} -nNT -L /tmp/docker.sock:/var/run/docker.sock {place}) and "
            "set DOCKER_HOST=unix:///tmp/docker.sock"
        )
    if host in LOCAL_SOCKETS and not context:
        return OWN
    if "certificate" in said.lower() or "ca.pem" in said:
        return "DOCKER_CERT_PATH must name a folder with ca.pem, cert.pem and key.pem for it"
    if host and not host.startswith(("unix://", "tcp://", "http://", "https://")):
        return "DOCKER_HOST must be unix:///PATH or tcp://HOST:PORT"
    if "proxy" in said.lower():
        name = urlsplit(host).hostname or "its host"
        return f"a proxy was asked for it (HTTP_PROXY, HTTPS_PROXY): add {name} to NO_PROXY"
    back = "unset DOCKER_CONTEXT; docker context use default" if context else "unset DOCKER_HOST"
    return f"{back}, for this machine's own; or is the address wrong, or that engine down?"

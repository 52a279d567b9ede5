"""Connects to the same Docker Engine as the ``docker`` command, and converts its errors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.adapters.registry.docker_login import config_file, logins, read_config
from tasks.core.engine_address import damaged_context, full_disk, remedy, unknown_context
from tasks.core.errors import EngineError

if TYPE_CHECKING:
    from docker import APIClient

SOCKET = "unix:///var/run/docker.sock"
"""Where the engine is, unless something says otherwise."""


def connect(timeout_seconds: int) -> APIClient:
    """Return a client of the engine's API.

    Args:
        timeout_seconds: how long the engine may say nothing.

    Raises:
        EngineError: the engine cannot be reached.
        SettingsError: the user's Docker configuration cannot be read.
    """
    from docker import APIClient
    from docker.utils import kwargs_from_env

    with engine_errors("connecting"):
        where: dict[str, Any] = {**kwargs_from_env()} or _context()
        host = str(where.get("base_url", ""))
        if host.startswith("ssh://"):
            # The library would need another one for it, and ports are published over there.
            raise EngineError(
                f"the Docker Engine at {host} cannot be used", hint=remedy("", host=host)
            )
        logins()  # reports a damaged configuration, on which the client fails unpredictably
        return APIClient(version="auto", timeout=timeout_seconds, **where)


def engine_socket() -> str:
    """Return the path of the engine's socket on this machine.

    Raises:
        EngineError: the engine is reached by a network.
    """
    host = str(_chosen()["base_url"]) or SOCKET
    scheme, _, path = host.partition("://")
    if scheme != "unix":
        raise EngineError(
            f"the Docker Engine at {host} has no socket on this machine",
            hint="platform.wake is for an engine of this machine: set it to false",
        )
    return path


def plain_socket() -> str | None:
    """Return the path of the engine's socket, or None where the engine is reached otherwise.

    Raises:
        EngineError: there is no such Docker context, or it is damaged.
        SettingsError: the user's Docker configuration cannot be read.
    """
    if os.environ.get("DOCKER_TLS_VERIFY") or os.environ.get("DOCKER_CERT_PATH"):
        return None
    where = _chosen()
    scheme, _, path = str(where["base_url"]).partition("://")
    return path if scheme == "unix" and path.startswith("/") and not where.get("tls") else None


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Convert the library's errors to those of the suite.

    Args:
        what: the operation, e.g. ``listing containers``.

    Raises:
        EngineError: the engine cannot be reached, or failed.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import ConnectionError as Unreachable
    from requests.exceptions import RequestException, Timeout

    try:
        yield
    except APIError as error:
        raise refused(what, str(error.explanation or error)) from error
    except Timeout as error:
        raise late(what) from error
    except (Unreachable, DockerException) as error:
        raise unreachable(error) from error
    except RequestException as error:
        raise EngineError(f"{what} failed: {error}") from error


def refused(what: str, reason: str) -> EngineError:
    """Return the error for a request that the engine refused."""
    if fault := full_disk(reason):
        message, hint = fault
        return EngineError(message, output=reason, hint=hint)
    return EngineError(f"the Docker Engine refused {what}: {reason}")


def late(what: str) -> EngineError:
    """Return the error for an engine that says nothing."""
    return EngineError(
        f"the Docker Engine did not answer in time: {what}",
        hint="is the machine overloaded, or its disk full? `inv doctor` looks",
    )


def unreachable(error: Exception) -> EngineError:
    """Return the error for an engine that does not answer, with the likely remedy."""
    host, context = os.environ.get("DOCKER_HOST", ""), ""
    if not host:
        host, context = str(_context().get("base_url", "")), os.environ.get("DOCKER_CONTEXT", "")
    where = host or "its socket"
    if "Permission denied" in str(error):
        return EngineError(
            f"the Docker Engine refuses this user at {where}",
            hint="add yourself to the group docker (usermod -aG docker $USER) and log in again",
        )
    return EngineError(
        f"the Docker Engine does not answer at {where}",
        output=str(error),
        hint=remedy(str(error), host=host, context=context),
    )


def _chosen() -> dict[str, Any]:
    """Return the address of the engine; errors as for ``_context``."""
    if host := os.environ.get("DOCKER_HOST"):
        return {"base_url": host}
    return _context() or {"base_url": SOCKET}


def _context() -> dict[str, Any]:
    """Return the address of the Docker context in use, as the docker command chooses it.

    Raises:
        EngineError: there is no such context, or it is damaged. There is no fallback: it would be
            another engine than the user chose.
        SettingsError: the user's Docker configuration cannot be read.
    """
    name = os.environ.get("DOCKER_CONTEXT") or read_config().get("currentContext") or "default"
    if name == "default":
        return {}
    # The library finds contexts only beside a config.json, which need not exist.
    store, key = config_file().parent / "contexts", hashlib.sha256(name.encode()).hexdigest()
    file, keys = store / "meta" / key / "meta.json", store / "tls" / key / "docker"
    try:
        endpoint = json.loads(file.read_text())["Endpoints"]["docker"]
        host, verify = str(endpoint["Host"]), not endpoint.get("SkipTLSVerify")
    except FileNotFoundError as error:
        message, hint = unknown_context(name)
        raise EngineError(message, hint=hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message, hint = damaged_context(name, f"{file}: {error!r}")
        raise EngineError(message, hint=hint) from error
    if not keys.is_dir():
        return {"base_url": host, "tls": False}
    from docker.tls import TLSConfig

    ca, cert, own = (keys / f"{part}.pem" for part in ("ca", "cert", "key"))
    tls = TLSConfig(
        client_cert=(str(cert), str(own)) if cert.exists() and own.exists() else None,
        ca_cert=str(ca) if ca.exists() else None,
        verify=verify,
    )
    return {"base_url": host, "tls": tls}

"""The user's Docker configuration, and private copies of it with another login."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.files.private import write_private
from tasks.core.errors import SettingsError

if TYPE_CHECKING:
    from docker.auth import AuthConfig

CONFIG = "config.json"
_SECTIONS = ("auths", "credHelpers")


@contextlib.contextmanager
def logged_in(host: str, user: str, password: str) -> Iterator[Path]:
    """Yield a private copy of the user's Docker configuration that is logged in to a registry.

    The password is in a file of mode 0600 in a folder of mode 0700 that is removed at the end:
    never in a command line, and never in the user's own configuration. The copy has links to
    everything else: plugins, contexts, builders.

    Args:
        host: the registry's host, and port if it has one.
        user: the user.
        password: the secret.

    Raises:
        SettingsError: the user's configuration cannot be read.
    """
    own = config_file()
    config = read_config()
    # An empty helper says: the password is in the file, whatever the store of all others is
    # (docker/cli, cli/config/configfile, getConfiguredCredentialStore).
    config["credHelpers"] = {**config.get("credHelpers", {}), host: ""}
    config["auths"] = {**config.get("auths", {}), host: login(user, password)}
    with tempfile.TemporaryDirectory(prefix="inv-docker-") as made:
        folder = Path(made)
        if own.parent.is_dir():
            for entry in own.parent.resolve().iterdir():
                if entry.name != CONFIG:
                    (folder / entry.name).symlink_to(entry)
        write_private(folder / CONFIG, json.dumps(config).encode())
        yield folder


def login(user: str, password: str) -> dict[str, str]:
    """Return a Docker configuration's entry for a registry with a login."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config_file() -> Path:
    """Return where the user's Docker configuration is, as the docker command finds it."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / CONFIG


def read_config() -> dict[str, Any]:
    """Return the user's Docker configuration, empty where there is none.

    Raises:
        SettingsError: it cannot be read. The docker command would go on without it: with another
            engine, perhaps, and without its logins.
    """
    path = config_file()
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as error:
        raise _unreadable(str(path), str(error)) from error
    return parse_config(text, str(path))


def parse_config(text: str, where: str) -> dict[str, Any]:
    """Return a Docker configuration.

    Args:
        text: its text.
        where: where that stands, for the error.

    Raises:
        SettingsError: it is not one.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _unreadable(where, f"it is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(found.get(section) or {}, dict) for section in _SECTIONS
    ):
        raise _unreadable(where, "it does not hold keys and values")
    return found


def logins() -> AuthConfig:
    """Return the logins of the user's Docker configuration, and its credential stores.

    Raises:
        SettingsError: the configuration cannot be read.
    """
    from docker import auth
    from docker.errors import DockerException

    try:
        return auth.load_config(config_dict=read_config())
    except (DockerException, TypeError, ValueError) as error:
        # The library takes every login apart, and raises what it comes upon.
        raise _unreadable(str(config_file()), f"one of its logins: {error}") from error


def _unreadable(where: str, reason: str) -> SettingsError:
    """Return the error for a Docker configuration that cannot be read."""
    return SettingsError(f"{where} cannot be read: {reason}", hint="mend or remove it")

"""A Docker configuration of one run's own, logged in to one registry more than the user's."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.adapters.files.private import write_private
from tasks.core.errors import SettingsError

CONFIG = "config.json"


@contextlib.contextmanager
def logged_in(host: str, user: str, password: str) -> Iterator[Path]:
    """Give a private copy of the user's Docker configuration that is logged in to a registry.

    The password stands in a file of mode 0600 in a folder of mode 0700 that is removed at the end:
    never in a command line, and never in the user's own configuration. Everything else of that
    one, such as plugins, contexts, builders and other logins, is seen through the copy.

    Args:
        host: the registry's host, and port if it has one.
        user: the user.
        password: the secret.

    Raises:
        SettingsError: the user's configuration is no JSON.
    """
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    config = _read(own / CONFIG)
    # An empty helper says: the password is in the file, whatever the store of all others is
    # (docker/cli, cli/config/configfile, getConfiguredCredentialStore).
    config["credHelpers"] = {**config.get("credHelpers", {}), host: ""}
    config["auths"] = {**config.get("auths", {}), host: login(user, password)}
    with tempfile.TemporaryDirectory(prefix="inv-docker-") as made:
        folder = Path(made)
        if own.is_dir():
            for entry in own.resolve().iterdir():
                if entry.name != CONFIG:
                    (folder / entry.name).symlink_to(entry)
        write_private(folder / CONFIG, json.dumps(config).encode())
        yield folder


def login(user: str, password: str) -> dict[str, str]:
    """Return what a Docker configuration holds of a registry that it is logged in to."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SettingsError(f"{path} is no JSON: {error}", hint="mend or remove it") from error
    return found

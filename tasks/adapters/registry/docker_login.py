"""The user's Docker configuration, and private copies of it with another login."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.files.private import write_private
from tasks.core.errors import RegistryError, SettingsError
from tasks.core.images.reference import HUB

if TYPE_CHECKING:
    from docker.auth import AuthConfig

CONFIG = "config.json"
_SECTIONS = ("auths", "credHelpers")


@dataclass(frozen=True)
class Login:
    """Who asks a registry.

    Attributes:
        user: the user, or an empty string.
        password: the user's password.
        identity: a token that its token server exchanges for others, in place of a password.
        bearer: a token that the registry itself takes.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)


def login_to(host: str) -> Login:
    """Return the user's login to a registry, an empty one where there is none.

    Args:
        host: the registry's host, and port if it has one.

    Raises:
        RegistryError: the credential store does not give it.
        SettingsError: the configuration cannot be read.
    """
    from docker.auth import resolve_index_name
    from docker.errors import DockerException

    for name, entry in (read_config().get("auths") or {}).items():
        if resolve_index_name(name) == host and (token := entry.get("registrytoken")):
            return Login(bearer=token)
    known = logins()
    try:
        found = known.resolve_authconfig(None if host == HUB else host) or {}
    except (DockerException, ValueError, KeyError, TypeError) as error:
        # The library parses a helper's answer, and may raise anything.
        raise RegistryError(
            f"the password for {host} cannot be had from the credential store: "
            f"{error if isinstance(error, DockerException) else 'its answer makes no sense'}",
            hint=f"log in again: docker login {host}",
        ) from error
    # Keys are lower-case from a file, capitalised from a store.
    given = {key.lower(): value or "" for key, value in found.items()}
    return Login(
        given.get("username", ""), given.get("password", ""), given.get("identitytoken", "")
    )


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
        config = read_config()
        config["auths"] = {
            name: _plain(entry) for name, entry in (config.get("auths") or {}).items()
        }
        return auth.load_config(config_dict=config)
    except (DockerException, TypeError, ValueError) as error:
        # The library takes every login apart, and raises what it comes upon.
        raise _unreadable(str(config_file()), f"one of its logins: {error}") from error


def _plain(entry: Any) -> Any:
    """Return a login as the library reads it, which docker may write otherwise.

    Docker takes an empty value for none, and a user and a password that are not encoded.
    """
    if not isinstance(entry, dict):
        return entry
    known = {key: value for key, value in entry.items() if value != ""}
    if "auth" not in known and "username" in known:
        known |= login(known["username"], known.get("password", ""))
    return known


def _unreadable(where: str, reason: str) -> SettingsError:
    """Return the error for a Docker configuration that cannot be read."""
    return SettingsError(f"{where} cannot be read: {reason}", hint="mend or remove it")

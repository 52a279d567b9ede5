"""Decides which of this process's environment variables programs inherit.

Variables set by a user's shell, a git hook or another project must not change the result of a
build. Programs inherit those about locations and access: hosts, proxies, certificates, credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tasks.core.errors import InputError
from tasks.core.images.reference import parse_reference

_PREFIXES = ("GIT_", "DOCKER_", "COMPOSE_", "BUILDX_", "BUILDKIT_", "BAKE_")
"""Prefixes of variables that are inherited only if they are listed below."""

_KEPT = re.compile(
    # How git reaches a remote, whose settings it reads, who makes a commit. Dropped: variables that
    # redirect git to another repository, index or object store (`git rev-parse --local-env-vars`),
    # which git sets for its hooks, and those that change how it reads paths and shows differences.
    r"GIT_(?:ASKPASS|ALLOW_PROTOCOL|AUTHOR_\w+|COMMITTER_\w+|CURL_VERBOSE|EXEC_PATH|HTTP_\w+"
    r"|DISCOVERY_ACROSS_FILESYSTEM|CONFIG_(?:COUNT|GLOBAL|KEY_\d+|NOSYSTEM|PARAMETERS|SYSTEM"
    r"|VALUE_\d+)|PROTOCOL_FROM_USER|PROXY_\w+|SSH|SSH_\w+|SSL_\w+|TERMINAL_PROMPT|TRACE\w*)"
    # Where the engine is, and the registries' credentials
    # (https://docs.docker.com/reference/cli/docker/#environment-variables). Dropped: the default
    # platform, content trust and the builder.
    r"|DOCKER_(?:API_VERSION|AUTH_CONFIG|CERT_PATH|CONFIG|CONTEXT|CUSTOM_HEADERS|HOST|TLS"
    r"|TLS_VERIFY)"
)

_DATES_OF_FILES = "SOURCE_DATE_EPOCH"
"""If set, it is a build argument of every build, so that equal content gives different images."""

PACKAGE_INDEX = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE")
"""How this machine reaches a package index, for the builds that ask one."""

_IN_COMPOSE_FILE = re.compile(r"(?<!\$)\$\{?([A-Za-z_]\w*)")
_IN_BAKE_FILE = re.compile(r'^variable\s+"(\w+)"', re.MULTILINE)


def inherited_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that programs inherit.

    Args:
        environ: this process's variables.
    """
    return {
        name: value
        for name, value in environ.items()
        if name != _DATES_OF_FILES
        and (not name.startswith(_PREFIXES) or _KEPT.fullmatch(name) is not None)
    }


def given_variables(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return the variables among these that are set and not empty: those that a build is given.

    Args:
        environ: this process's variables.

    Raises:
        InputError: one that names an image has no image reference.
    """
    found = {name: environ[name] for name in names if environ.get(name)}
    for name, value in found.items():
        if name.endswith("_IMAGE"):
            try:
                parse_reference(value)
            except InputError as error:
                raise InputError(f"the variable {name}: {error}") from error
    return found


def python_variables(names: Iterable[str]) -> dict[str, None]:
    """Return Python's own variables among these names, each to be unset."""
    return {name: None for name in names if re.fullmatch(r"PYTHON[A-Z0-9_]+", name)}


def compose_variables(text: str) -> dict[str, None]:
    """Return the variables in the text of a Compose file, each to be unset."""
    return dict.fromkeys(_IN_COMPOSE_FILE.findall(text))


def bake_variables(text: str) -> dict[str, None]:
    """Return the variables in the text of a bake file (HCL), each to be unset."""
    return dict.fromkeys(_IN_BAKE_FILE.findall(text))

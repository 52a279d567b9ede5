"""Turns the values that a stack's Terraform publishes in SSM into settings of its environments.

They have the lowest precedence: invoke.yaml overrides them key by key. terraform/README.md lists
the parameters; no secret is among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.config_sources import Level, merge, setter
from tasks.core.errors import SettingsError
from tasks.core.settings import Environment

ROOT = "/mautic-multidev"

REGISTRY = {"registry/url": ("registry", "url")}
CLUSTER = {"cluster/name": ("cluster", "name")}
PLATFORM = {"platform/namespace": ("platform_namespace",), "dns/domain": ("domain",)}
DATABASE = {
    "database/host": ("database", "host"),
    "database/port": ("database", "port"),
    "database/identifier": ("database", "identifier"),
    "database/admin-secret-arn": ("database", "admin_secret_arn"),
    "platform/database-account": ("database", "account"),
}
"""The path of each parameter in an environment's settings."""

KNOWN = {**REGISTRY, **CLUSTER, **PLATFORM, **DATABASE}


def path(stack: str) -> str:
    """Return the SSM path that holds a stack's parameters."""
    return f"{ROOT}/{stack}"


def stack_name(merged: Mapping[str, Any], environment: str) -> str | None:
    """Return the name of an environment's stack, or None.

    Args:
        merged: the merged settings, not yet parsed.
        environment: the environment's name.
    """
    stack = _environments(merged).get(environment, {}).get("stack")
    return stack if isinstance(stack, str) else None


def defaults(merged: Mapping[str, Any]) -> Level:
    """Return the defaults of environments that have a stack.

    Args:
        merged: the merged settings, not yet parsed.
    """
    made: dict[str, Any] = {}
    for name, own in _environments(merged).items():
        if stack_name(merged, name) is None:
            continue
        made[name] = {"registry": {"kind": "ecr"}}
        if own.get("target") == "kubernetes":
            fixed = "{slug}" not in str(own.get("namespace", "{slug}"))
            host = "{domain}" if fixed else "{slug}.{domain}"
            made[name] |= {"cluster": {"kind": "eks"}, "host": host}
    return Level("the defaults of a stack", {"environments": made} if made else {})


def level(stack: str, parameters: Mapping[str, str], merged: Mapping[str, Any]) -> Level:
    """Return a stack's parameters as settings of the environments that use it.

    Args:
        stack: the stack's name.
        parameters: their values, by their names below the stack's path.
        merged: the merged settings with the defaults, not yet parsed: an environment with another
            kind of registry or cluster takes none from the stack.
    """
    made: dict[str, Any] = {}
    for name, own in _environments(merged).items():
        if stack_name(merged, name) != stack:
            continue
        made[name] = {}
        for parameter, keys in _taken(own, parameters).items():
            inner = made[name]
            for key in keys[:-1]:
                inner = inner.setdefault(key, {})
            inner[keys[-1]] = parameters[parameter]
    return Level(f"SSM {path(stack)}", {"environments": made})


def check_complete(name: str, environment: Environment) -> None:
    """Check that no required key is missing after the stack's values were merged.

    Raises:
        SettingsError: one is missing; the error names it.
    """
    for gap in environment.gaps:
        where = next(one for one, keys in KNOWN.items() if ".".join(keys) == gap)
        raise SettingsError(
            f"environments.{name}.{gap}: stack {environment.stack} does not publish {where}",
            hint=f"make it with `inv infra.apply --stack {environment.stack}`, or set the key in "
            "invoke.yaml",
        )


def origins(levels: Sequence[Level], name: str) -> dict[str, tuple[Any, str]]:
    """Return value and origin of each key that a stack may set for an environment.

    Args:
        levels: lowest precedence first.
        name: the environment's name.
    """
    own = _environments(merge(levels)).get(name, {})
    found: dict[str, tuple[Any, str]] = {}
    for keys in (("host",), *KNOWN.values()):
        by = setter(levels, ("environments", name, *keys))
        if by:
            value: Any = own
            for key in keys:
                value = value[key]
            found[".".join(keys)] = (value, by)
    return found


def _taken(own: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the parameters that an environment uses, with their paths in the settings."""
    wanted: dict[str, tuple[str, ...]] = {}
    if _kind(own, "registry") == "ecr":
        wanted |= REGISTRY
    if own.get("target") == "kubernetes":
        wanted |= PLATFORM
        if _kind(own, "cluster") == "eks":
            wanted |= CLUSTER
        if "database/host" in parameters:
            wanted |= DATABASE
    return {one: keys for one, keys in wanted.items() if one in parameters}


def _kind(own: Mapping[str, Any], key: str) -> Any:
    inner = own.get(key)
    return inner.get("kind") if isinstance(inner, Mapping) else None


def _environments(merged: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the environments that are mappings; the strict parser reports others."""
    found = merged.get("environments")
    if not isinstance(found, Mapping):
        return {}
    return {name: own for name, own in found.items() if isinstance(own, Mapping)}

"""What the keys of one environment, and those of two, must not say together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tasks.core.setting_entrance import entrance_fault
from tasks.core.setting_rds import RdsSnapshotSettings

if TYPE_CHECKING:
    from tasks.core.settings import Environment, Settings


def keys_fault(own: Environment) -> tuple[str, set[str]] | None:
    """Return what keys of an environment contradict each other, and which; None if none do."""
    if own.signing_key and not own.protected:
        told = "signing_key is for protected environments: no other one's images are signed"
        return told, {"signing_key"}
    if own.rds_snapshots != RdsSnapshotSettings.as_delivered() and not own.protected:
        told = "rds_snapshots is for protected environments: a branch has snapshots of its own"
        return told, {"rds_snapshots"}
    if own.protected and (own.sleep_hours or own.idle):
        told = "sleep_hours and idle are for branches: a protected environment never sleeps"
        return told, {"sleep_hours", "idle"}
    fault = ""
    if (own.door == "oidc") != (own.door_oidc is not None):
        fault = "door: oidc needs door_oidc, and only that one"
    elif own.door == "oidc" and own.target != "kubernetes":
        fault = "door: oidc is the login of a cluster's load balancer: target must be kubernetes"
    elif own.door == "oidc" and own.scheme != "https":
        fault = "door: oidc needs scheme https: the load balancer asks for no login without TLS"
    if fault:
        return fault, {"door", "door_oidc"}
    if (own.target == "kubernetes") != (own.cluster is not None):
        return "target kubernetes needs cluster, and only that one", {"target", "cluster"}
    fault = entrance_fault(own)
    return (fault, {"entrance"}) if fault else None


def shared_databases(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each environment that would share a branch's database with another one.

    A database is named after project and branch only. Two environments of one namespace cannot
    both have the branch, so they are allowed.
    """
    for (name, own), (other, theirs) in itertools.combinations(settings.environments.items(), 2):
        templates = {own.namespace, theirs.namespace}
        server = own.server
        pairs = itertools.product(own.branches, theirs.branches)
        if (
            server is not None
            and server == theirs.server
            and all("{slug}" in template for template in templates)
            and (len(templates) > 1 or own.cluster != theirs.cluster)
            and any(itertools.starmap(_may_meet, pairs))
        ):
            yield (
                f"environments.{other}",
                f"shares the database of a branch with environments.{name}: the same server, "
                "another namespace; give one of them another server, branches that the other "
                "does not match, or the other's namespace",
            )


def shared_origins(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each unprotected environment that can write what a protected one runs.

    Whoever may build for the one would choose what the other runs: its images and its build
    cache lie in the registry, and a stack's roles may push to it.
    """
    for name, own in settings.environments.items():
        for other, theirs in settings.environments.items():
            if not own.protected or theirs.protected:
                continue
            prefix = f"environments.{name} is protected, and this one is not, but both have"
            if own.stack and own.stack == theirs.stack:
                yield (
                    f"environments.{other}.stack",
                    f"{prefix} stack {own.stack}: its roles may replace the images; give one "
                    "of them a stack of its own (stacks.NAME, inv infra.apply --stack NAME)",
                )
            elif own.registry.place and own.registry.place == theirs.registry.place:
                yield (
                    f"environments.{other}.registry.url",
                    f"{prefix} their images and build cache in {theirs.registry.url}: whoever "
                    "builds for this one could replace them; give one of them a path of its "
                    "own, which only its own jobs may push to",
                )
    for (name, stack), (other, beside) in itertools.permutations(settings.stacks.items(), 2):
        is_shared = stack.state_bucket and stack.state_bucket == beside.state_bucket
        if is_shared and stack.protected and not beside.protected:
            yield (
                f"stacks.{other}.state_bucket",
                f"stacks.{name} is protected, and this one is not, but both have their state, "
                f"which holds secrets, in {stack.state_bucket}; give each a bucket of its own",
            )


def _may_meet(one: str, other: str) -> bool:
    """Return True if a branch may match both patterns, judged by their literal prefixes."""
    first, second = (re.split(r"[*?[]", pattern)[0] for pattern in (one, other))
    if first == one:
        return fnmatchcase(one, other)
    if second == other:
        return fnmatchcase(other, one)
    return first.startswith(second) or second.startswith(first)

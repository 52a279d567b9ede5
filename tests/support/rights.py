"""The rights that requests to an API server needed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tasks.adapters.kubernetes.kinds import KINDS
from tasks.core.kubernetes.rights import RIGHTS

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PATH = re.compile(
    r"/api(?:s/(?P<group>[^/]+))?/[^/]+/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<part>[^/]+))?.*)?"
)
OUTSIDE = {"rolebindings"}
"""The rights that a job has by another role, to bind itself in a namespace."""


def resource(kind: str) -> tuple[str, str]:
    """Return the API group and the resource of a kind, or of a part as in ``Pod/log``."""
    name, _, part = kind.partition("/")
    plural = KINDS[name].plural
    return KINDS[name].api.rpartition("/")[0], f"{plural}/{part}" if part else plural


def all_rights() -> set[tuple[str, str, str]]:
    """Return the whole list: group, resource and verb of each."""
    return {(*resource(kind), verb) for kind, verbs in RIGHTS.items() for verb in verbs}


def rights_of(rules: Iterable[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Return what the rules of a role allow."""
    return {
        (group, plural, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    }


def rights_taken(requests: Iterable[str], prefix: str) -> set[tuple[str, str, str]]:
    """Return the rights that requests needed in namespaces with a prefix."""
    taken = set()
    for request in requests:
        method, _, rest = request.partition(" ")
        path, _, query = rest.partition("?")
        asked = PATH.fullmatch(path)
        if not asked or not asked["namespace"].startswith(prefix) or asked["plural"] in OUTSIDE:
            continue
        reads = "watch" if "watch=" in query else "get" if asked["name"] else "list"
        plural = f"{asked['plural']}/{asked['part']}" if asked["part"] else asked["plural"]
        taken.add((asked["group"] or "", plural, VERBS.get(method, reads)))
    return taken


def check_rights(requests: Iterable[str], prefix: str) -> None:
    """Check that requests needed no right in such namespaces that is not in the list."""
    beyond = rights_taken(requests, prefix) - all_rights()
    assert not beyond, f"not in tasks/core/kubernetes/rights.py: {sorted(beyond)}"

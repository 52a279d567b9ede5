"""Decides which database a namespace may have, from the namespace itself. No I/O.

Whoever may create a namespace chooses its labels and annotations freely. Its name is the one thing
that nobody can copy while the original exists. So the names of database and user are derived by
the suite's own rule (``tasks.core.names``) from the branch that the annotations state, and count
only if the same rule gives this very namespace for that branch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import SuiteError
from tasks.core.names import Names, NamingRule, choose, database_prefix, names_by_rule

Object = Mapping[str, Any]

PREFIX = "mautic-multidev.io/"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "mautic-multidev"
DATABASE = f"{PREFIX}database"
"""The label of a namespace that asks for a database, and the finalizer of one that has it."""
WANTED = "provisioned"
UNWANTED = "removed"
STYLE = f"{PREFIX}names"
"""The annotation of a namespace with the style of its names."""
SECRET = "mautic-database"  # noqa: S105 - the object's name
SHOWN_MAX = 80
"""How much of a stranger's text a message repeats."""


class ForeignError(Exception):
    """A namespace is not what it says it is, and gets nothing."""


@dataclass(frozen=True)
class EnvironmentRule:
    """One environment of invoke.yaml that lives in this cluster.

    Attributes:
        names: what the names of its branches depend on.
        protected: whether its data outlives the namespace.
    """

    names: NamingRule
    protected: bool


@dataclass(frozen=True)
class Rules:
    """What the platform's administrator has decided.

    Attributes:
        project: prefix of every name.
        host: the database server.
        environments: the environments by name whose databases are on this server.
        others: the cluster's other environments by name.
        seed_key: SHA-256 of the key of the seeds that are loaded; empty for none.
    """

    project: str
    host: str
    port: int
    environments: Mapping[str, EnvironmentRule]
    others: Mapping[str, EnvironmentRule]
    seed_key: str = ""

    @classmethod
    def from_json(cls, text: str) -> Rules:
        """Return the rules that ``tasks.core.kubernetes.provisioner`` wrote."""
        data = json.loads(text)
        environments, others = (
            {
                name: EnvironmentRule(NamingRule(**one["names"]), one["protected"])
                for name, one in data[key].items()
            }
            for key in ("environments", "others")
        )
        place = (data["project"], data["host"], data["port"])
        return cls(*place, environments, others, data.get("seedKey", ""))

    @property
    def prefix(self) -> str:
        """The prefix of all databases and users of the project."""
        return database_prefix(self.project)


@dataclass(frozen=True)
class Tenant:
    """A namespace with the database that is its own.

    Attributes:
        keep: whether the data outlives the namespace.
    """

    namespace: str
    uid: str
    environment: str
    database: str
    user: str
    keep: bool


@dataclass(frozen=True)
class Place:
    """A namespace that is what it says it is.

    Attributes:
        protected: whether its environment is.
    """

    namespace: str
    uid: str
    environment: str
    protected: bool


def identify(rules: Rules, namespace: Object) -> Tenant:
    """Return the database that a namespace may have.

    Raises:
        ForeignError: none; the message says why.
    """
    own, place = _identified(rules.environments, namespace)
    return Tenant(
        place.namespace,
        place.uid,
        place.environment,
        own.database,
        own.database_user,
        place.protected,
    )


def place_of(rules: Rules, namespace: Object) -> Place:
    """Return what a namespace is, whether or not it has a database.

    Raises:
        ForeignError: it is not what it says it is.
    """
    return _identified({**rules.others, **rules.environments}, namespace)[1]


def _identified(
    environments: Mapping[str, EnvironmentRule], namespace: Object
) -> tuple[Names, Place]:
    meta = namespace["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    if labels.get(MANAGED_BY) != MANAGER:
        raise ForeignError(f"the namespace lacks the label {MANAGED_BY}={MANAGER}")
    environment = labels.get(f"{PREFIX}environment", "")
    rule = environments.get(environment)
    if rule is None:
        raise ForeignError(f"the platform knows no environment {environment[:SHOWN_MAX]!r}")
    branch = annotations.get(f"{PREFIX}branch", "")
    try:
        candidates = names_by_rule(rule.names, branch)
    except SuiteError as error:
        raise ForeignError(
            f"the annotation {PREFIX}branch is no branch: {error.message}"
        ) from error
    shown = branch[:SHOWN_MAX]
    own = _own_names(candidates, meta["name"], annotations.get(STYLE, ""), shown)
    if own.slug != labels.get(f"{PREFIX}slug"):
        raise ForeignError(f"the slug of branch {shown!r} is {own.slug}, not that of the label")
    return own, Place(own.namespace, meta["uid"], environment, rule.protected)


def _own_names(candidates: Sequence[Names], namespace: str, style: str, shown: str) -> Names:
    """Return the names of a namespace, which keeps the style that it was made with.

    Raises:
        ForeignError: they are not its branch's.
    """
    if own := choose(candidates, namespace, style):
        return own
    places = list(dict.fromkeys(each.namespace for each in candidates))
    if namespace in places:
        raise ForeignError(f"the annotation {STYLE} is no style: {style[:SHOWN_MAX]!r}")
    raise ForeignError(f"the namespace of branch {shown!r} is {' or '.join(places)}, not this one")

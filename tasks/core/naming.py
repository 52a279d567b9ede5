"""What a branch is called everywhere: one pure rule, used by every part of the suite.

``slug`` is the heart of it. A branch that is already a short, plain name keeps it; every other
branch is cut and carries six hex digits of its own SHA-256, so that two branches never share a
name. A plain branch that *looks* like such a cut name is hashed as well: without that, somebody
could name a branch after another branch's slug.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from tasks.core.errors import InputError

SLUG_MAX = 40
"""Leaves room for a prefix in a Helm release (53), a DNS label (63) and a database (64)."""

HASH_DIGITS = 6
USER_MAX = 32
"""MySQL's limit for user names, in characters (dev.mysql.com, 8.4 manual, "User names")."""

BRANCH_MAX_BYTES = 4096
"""PATH_MAX on Linux: git keeps a loose branch as a file, so no longer name can be checked out."""

_HASHED = re.compile(rf"-[0-9a-f]{{{HASH_DIGITS}}}\Z")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")


@dataclass(frozen=True)
class Names:
    """Every name that belongs to one branch in one environment.

    Attributes:
        branch: the full branch name.
        environment: the environment's name in invoke.yaml.
        slug: the short, unique name that all others are made of.
        namespace: Kubernetes namespace, or Compose project.
        host: the site's host name, without a port.
        url: where a browser finds it.
        release: Helm release.
        database: the database, at most 64 characters.
        database_user: its user, at most 32 characters.
    """

    branch: str
    environment: str
    slug: str
    namespace: str
    host: str
    url: str
    release: str
    database: str
    database_user: str

    def as_dict(self) -> dict[str, str]:
        """Return the names as JSON-ready data."""
        return asdict(self)


def check_branch(branch: str) -> str:
    """Return the branch if git would accept it as one.

    The rules are those of ``git check-ref-format --branch`` (git-check-ref-format(1)), and one
    more: the name must be UTF-8, because it is kept in annotations and labels.

    Args:
        branch: a branch name as it came from the command line, CI or git.

    Raises:
        InputError: the name is empty, too long, not UTF-8, or not a legal branch name.
    """
    if not branch:
        raise InputError("the branch name is empty", hint="give one with --branch")
    shown = branch if len(branch) <= 60 else f"{branch[:57]}..."
    try:
        size = len(branch.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"the branch name {shown!r} is not valid UTF-8") from error
    if size > BRANCH_MAX_BYTES:
        raise InputError(f"the branch name {shown!r} is {size} bytes long, over {BRANCH_MAX_BYTES}")
    parts = branch.split("/")
    illegal = (
        branch == "HEAD"
        or branch.startswith("-")
        or branch.endswith(".")
        or ".." in branch
        or "@{" in branch
        or _FORBIDDEN.search(branch)
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    )
    if illegal:
        raise InputError(
            f"{shown!r} is not a legal branch name",
            hint="see `git help check-ref-format` for what git accepts",
        )
    return branch


def slug(branch: str, is_reserved: Callable[[str], bool] = lambda _: False) -> str:
    """Return the branch's slug: 1 to 40 characters of [a-z0-9-], unique to the branch.

    Args:
        branch: a full branch name.
        is_reserved: says of a slug whether something else already owns it.

    Raises:
        InputError: not a legal branch name.
    """
    check_branch(branch)

    def is_taken(value: str) -> bool:
        return value == "default" or value.startswith("kube-") or is_reserved(value)

    plain = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    is_plain = plain == branch and len(plain) <= SLUG_MAX and not _HASHED.search(plain)
    if is_plain and not is_taken(plain):
        return plain
    if not plain or f"{plain}-".startswith("kube-"):
        plain = f"branch-{plain}"
    start = plain[: SLUG_MAX - HASH_DIGITS - 1].strip("-")
    hashed = branch
    while is_taken(found := f"{start}-{_digest(hashed)}"):
        # Somebody called an environment what this branch would be called; no branch holds a NUL.
        hashed += "\0"
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def names(
    branch: str,
    *,
    environment: str,
    project: str,
    namespace: str,
    host: str,
    origin: str = "https://{host}",
    environments: Collection[str] = (),
    namespaces: Collection[str] = (),
) -> Names:
    """Return everything the branch is called in one environment.

    Args:
        branch: the full branch name.
        environment: the environment's name.
        project: prefix of release, database and database user.
        namespace: template; ``{slug}`` and ``{project}`` are replaced. Without ``{slug}`` the
            environment has one namespace for all its branches, like ``prod``.
        host: template of the host name, as above.
        origin: template of the URL; ``{host}`` is replaced.
        environments: names of all environments; a slug never equals one of them.
        namespaces: fixed namespaces of the other environments; never taken by a branch.

    Raises:
        InputError: not a legal branch name.
    """

    def fill(template: str, value: str) -> str:
        return template.replace("{slug}", value).replace("{project}", project)

    def is_reserved(value: str) -> bool:
        return value in environments or value in namespaces or fill(namespace, value) in namespaces

    of_branch = slug(branch, is_reserved)
    key = of_branch if "{slug}" in namespace else environment
    hostname = fill(host, of_branch)
    return Names(
        branch=branch,
        environment=environment,
        slug=of_branch,
        namespace=fill(namespace, of_branch),
        host=hostname,
        url=origin.replace("{host}", hostname),
        release=f"{project}-{key}",
        database=f"{project}_{key}".replace("-", "_"),
        database_user=_database_user(project, key),
    )


def _database_user(project: str, key: str) -> str:
    """Return a user name of at most 32 characters; a cut one is marked by ``__``.

    A slug never holds two hyphens in a row, so no uncut user can hold ``__`` and meet a cut one.
    """
    user = f"{project}_{key}".replace("-", "_")
    if len(user) <= USER_MAX:
        return user
    return f"{user[: USER_MAX - HASH_DIGITS - 2].rstrip('_')}__{_digest(key)}"

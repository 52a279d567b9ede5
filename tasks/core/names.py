"""Derives all names of a branch: slug, namespace, host, release, database.

The central one is the ``slug``. A branch with a short, plain name keeps it; any other is shortened
and gets ten hex digits of its SHA-256, so that two branches never share a slug: 40 bits, because
two branches with the same 24 were found in two minutes. A plain branch that *looks* like such a
shortened name is hashed as well: otherwise somebody could name a branch after another branch's
slug.

Every other name consists of a prefix and the slug. If that is too long, ``shorten`` cuts it in the
same way. A name that fits is never changed: running environments have it.

Environments that were deployed when hashes had six digits keep these names: see ``Style``.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from tasks.core.display import is_active, visible
from tasks.core.errors import InputError

SLUG_MAX = 40
"""Leaves room for a prefix in a Helm release (53), a DNS label (63) and a database (64)."""

PROJECT_MAX = 40
LABEL_MAX = 63
"""A DNS label (RFC 1123): namespaces, Services, Jobs, one part of a host name; and the value of a
label of Kubernetes, which has the same limit."""
HOST_MAX = 253
"""A whole host name (RFC 1123), and what the Gateway API takes for one."""
RELEASE_MAX = 48
"""Longest Helm release. Helm's own limit is 53, but from 49 on the chart would cut the name of the
Service, ``<release>-web``, which this suite asks for the site (52: helm/mautic, "mautic.name"). Of
the present style it is one less, so that its database Job (``database-create-<release>``) fits."""
COMPOSE_MAX = 200
"""Longest Compose project: volumes and lock files are named ``<project>_record-<19 digits>`` at
most, and file systems take names of 255 bytes."""
USER_MAX = 32
"""MySQL's limit for user names, in characters (dev.mysql.com, 8.4 manual, "User names")."""
DATABASE_PREFIX_MAX = 21
"""Longest prefix of a project's databases and users: with it a database has at most 61 characters
of MySQL's limit of 64, and a shortened user still has a part of the branch."""
BUCKET_MAX = 63
"""S3's limit (docs.aws.amazon.com, "General purpose bucket naming rules")."""
ROLE_MAX = 64
"""IAM's limit for a role's name (docs.aws.amazon.com, "IAM and AWS STS quotas")."""

BRANCH_MAX_BYTES = 4096
"""PATH_MAX on Linux: git keeps a loose branch as a file, so no longer name can be checked out."""

_LONGEST_ROLE = "-database-monitoring"
"""The longest suffix that Terraform adds to a stack's name for a role (modules/database)."""

_CUT_MIN = 40
"""How much the policy of namespaces wants before the digits of a shortened name."""

_HASHED_FORMERLY = re.compile(r"-[0-9a-f]{6}\Z")
_HASHED = re.compile(r"-(?:[0-9a-f]{6}|[0-9a-f]{10})\Z")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_COMPOSE = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""docs.docker.com, "Specify a project name"."""
_IDENTIFIER = re.compile(r"[a-z](-?[a-z0-9])*")
"""RDS' rule for an instance's name, the strictest of all names derived from a stack's."""
_SERVERS_OWN = frozenset({"information_schema", "performance_schema", "mysql", "sys"})
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")


class Style(StrEnum):
    """How names are shortened. An environment keeps the one that it was first deployed with.

    The value is stored with the environment.
    """

    FORMER = "6"
    PRESENT = "10"

    @property
    def digits(self) -> int:
        """The hex digits of a hash."""
        return int(self)

    @property
    def hashed(self) -> re.Pattern[str]:
        """The end of a slug that has a hash."""
        return _HASHED if self is Style.PRESENT else _HASHED_FORMERLY


@dataclass(frozen=True)
class Names:
    """Every name that belongs to one branch in one environment.

    Attributes:
        branch: the full branch name.
        environment: the environment's name in invoke.yaml.
        slug: the short, unique name that all others are made of.
        namespace: Kubernetes namespace, or Compose project.
        host: the site's host name, without a port.
        release: Helm release.
        database: at most 64 characters.
        database_user: at most 32 characters.
        style: how they are shortened.
        slugs: the slugs of all styles: whichever was in use when an image was built is in its tags.
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
    style: Style = Style.PRESENT
    slugs: tuple[str, ...] = ()

    @property
    def options(self) -> str:
        """The options that name this branch and environment, as a shell takes them."""
        return f"--env {self.environment} --branch {shlex.quote(self.branch)}"

    @property
    def evidence(self) -> str:
        """The folder of what is saved of its failed deploys, below the checkout."""
        return f"artifacts/{self.environment}/{self.slug}"

    def as_dict(self) -> dict[str, str]:
        """Return the names as JSON-ready data."""
        internal = {"style", "slugs"}
        return {key: value for key, value in asdict(self).items() if key not in internal}


def check_branch(branch: str) -> str:
    """Return the branch if git would accept its name.

    The rules are those of ``git check-ref-format --branch`` (git-check-ref-format(1)); besides, the
    name must be UTF-8, because it is stored in annotations and labels, and have no control, format
    or bidirectional characters, by which it would look like another branch's.

    Args:
        branch: a branch name from the command line, CI or git.

    Raises:
        InputError: the name is empty, too long, not UTF-8, not a legal branch name, or it has
            characters that are not seen.
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
    if hidden := sorted({x for x in branch if is_active(x)}):
        raise InputError(
            f"the branch name {shown!r} has characters that are not seen: "
            f"{', '.join(map(visible, hidden))}",
            hint="rename the branch: git branch -m",
        )
    return branch


def is_branch(name: str) -> bool:
    """Return True if ``check_branch`` accepts a name."""
    try:
        check_branch(name)
    except InputError:
        return False
    return True


def slug(
    branch: str,
    is_reserved: Callable[[str], bool] = lambda _: False,
    style: Style = Style.PRESENT,
) -> str:
    """Return the branch's slug: 1 to 40 characters of [a-z0-9-], unique to the branch.

    Args:
        branch: a full branch name.
        is_reserved: returns whether something else has a slug already.
        style: how it is shortened.

    Raises:
        InputError: not a legal branch name.
    """
    check_branch(branch)

    def is_taken(value: str) -> bool:
        return value == "default" or value.startswith("kube-") or is_reserved(value)

    plain = _plain(branch)
    is_plain = plain == branch and len(plain) <= SLUG_MAX and not style.hashed.search(plain)
    if is_plain and not is_taken(plain):
        return plain
    start = _start(plain, style)
    hashed = branch
    while is_taken(found := f"{start}-{_digest(hashed, style)}"):
        # An environment has this name. No branch name has a NUL, so this stays unique.
        hashed += "\0"
    return found


def _plain(branch: str) -> str:
    """Return a branch's letters and digits, with hyphens between them."""
    return re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")


def _start(plain: str, style: Style) -> str:
    """Return what stands before the digits in the slug of a branch that gets a hash."""
    if not plain or f"{plain}-".startswith("kube-"):
        plain = f"branch-{plain}"
    return plain[: SLUG_MAX - style.digits - 1].strip("-")


def _digest(text: str, style: Style) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[: style.digits]


def shorten(name: str, limit: int, style: Style = Style.PRESENT, keep: int = 0) -> str:
    """Return a name; if too long, shortened and ending in ``-`` and digits of its SHA-256.

    Args:
        name: the name.
        limit: the longest that is wanted.
        style: how many digits.
        keep: how many characters at the start must stay; for them there are down to six digits.
    """
    if len(name) <= limit:
        return name
    digits = max(Style.FORMER.digits, min(style.digits, limit - keep - 1))
    return f"{name[: limit - digits - 1].rstrip('-')}-{_digest(name, style)[:digits]}"


def platform_name(project: str) -> str:
    """Return the Compose project, and the network, of a project's local platform."""
    return f"{project}-platform"


def database_prefix(project: str) -> str:
    """Return the prefix of all databases and users of a project.

    No branch chooses a project's name, and servers grant rights by this prefix: its style stays.
    """
    return f"{shorten(project, DATABASE_PREFIX_MAX - 1, Style.FORMER)}_".replace("-", "_")


def bucket_name(project: str, account: str, region: str) -> str:
    """Return the default name of the bucket with Terraform's states.

    All stacks of an account and region share it.
    """
    return f"{project}-terraform-{account}-{region}"


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
    hosts: Collection[str] = (),
    namespace_max: int = LABEL_MAX,
    style: Style = Style.PRESENT,
) -> Names:
    """Return all names of a branch in one environment.

    Args:
        branch: the full branch name.
        environment: the environment's name.
        project: prefix of release, database and database user.
        namespace: template; ``{slug}`` and ``{project}`` are replaced. Without ``{slug}`` the
            environment has one namespace for all its branches, like ``prod``.
        host: template of the host name, as above.
        origin: template of the URL; ``{host}`` is replaced.
        environments: names of all environments; a slug never equals one of them.
        namespaces: namespaces that no branch may have.
        hosts: host names that no branch may have.
        namespace_max: maximum length of a namespace.
        style: how names are shortened.

    Raises:
        InputError: not a legal branch name.
    """

    def fill(template: str, value: str, limit: int) -> str:
        if "{" not in template:
            return template
        whole = template.replace("{slug}", value).replace("{project}", project)
        return shorten(whole, limit, style)

    def namespace_of(value: str) -> str:
        return fill(namespace, value, namespace_max)

    def database_of(value: str) -> str:
        return f"{database_prefix(project)}{value}".replace("-", "_")

    def host_of(value: str) -> str:
        # Each part of a host name has a limit of its own.
        return ".".join(fill(part, value, LABEL_MAX) for part in host.split("."))

    is_fixed = "{slug}" not in namespace

    def is_reserved(value: str) -> bool:
        if value in environments or value in namespaces:
            return True
        # If no other name depends on the slug, another slug would not help.
        return not is_fixed and (
            namespace_of(value) in namespaces
            or host_of(value) in hosts
            or database_of(value) in _SERVERS_OWN
        )

    of_branch = slug(branch, is_reserved, style)
    key = environment if is_fixed else of_branch
    hostname = host_of(of_branch)
    return Names(
        branch=branch,
        environment=environment,
        slug=of_branch,
        namespace=namespace_of(of_branch),
        host=hostname,
        url=origin.replace("{host}", hostname),
        # The platform's rules know a project's objects by its whole name at their start.
        release=shorten(
            f"{project}-{key}",
            RELEASE_MAX if style is Style.FORMER else RELEASE_MAX - 1,
            style,
            keep=len(project),
        ),
        database=database_of(key),
        database_user=_database_user(database_of(key), key, style),
        style=style,
        slugs=(of_branch,),
    )


@dataclass(frozen=True)
class NamingRule:
    """What the names of an environment's branches depend on, besides the branch.

    The suite and the provisioner of databases, which gets it as JSON, derive names from the same.

    Attributes:
        namespaces: as for ``names``, by the value of the style.
        hosts: likewise.
    """

    environment: str
    project: str
    namespace: str
    host: str
    origin: str
    environments: Collection[str]
    namespaces: Mapping[str, Collection[str]]
    hosts: Mapping[str, Collection[str]]
    namespace_max: int


def names_by_rule(rule: NamingRule, branch: str) -> list[Names]:
    """Return the different names that a branch's environment may bear, the present ones first.

    Raises:
        InputError: not a legal branch name.
    """
    present, former = (
        names(
            branch,
            environment=rule.environment,
            project=rule.project,
            namespace=rule.namespace,
            host=rule.host,
            origin=rule.origin,
            environments=rule.environments,
            namespaces=rule.namespaces[style],
            hosts=rule.hosts[style],
            namespace_max=rule.namespace_max,
            style=style,
        )
        for style in (Style.PRESENT, Style.FORMER)
    )
    if present.as_dict() == former.as_dict():
        return [present]
    slugs = tuple(dict.fromkeys((present.slug, former.slug)))
    return [replace(present, slugs=slugs), replace(former, slugs=slugs)]


def choose(candidates: Sequence[Names], namespace: str, style: str) -> Names | None:
    """Return the names that an environment bears; None if they are none of the candidates.

    Args:
        candidates: a branch's names in all styles.
        namespace: the environment's namespace.
        style: the style that is stored with it, or an empty string.
    """
    fitting = [each for each in candidates if each.namespace == namespace]
    if len(fitting) > 1:
        # Environments that were deployed before styles were stored have the former one.
        fitting = [each for each in fitting if each.style == (style or Style.FORMER)]
    return fitting[0] if fitting else None


def is_misnamed(rule: NamingRule, branch: str, slug: str, namespace: str) -> bool:
    """Return True if a namespace has a branch's name in all but what only this rule can tell.

    That is the digits of its hash, and whether its plain name is reserved. No admission policy can
    compute them (helm/platform, guard.yaml), so a branch's job can make such namespaces. What other
    projects or templates call their namespaces is none of them, even if one prefix begins with
    another.

    Args:
        branch: the branch that the namespace states.
        slug: the slug that it states.

    Raises:
        InputError: not a legal branch name.
    """
    if any(own.namespace == namespace for own in names_by_rule(rule, branch)):
        return False
    digits = f"[0-9a-f]{{{Style.PRESENT.digits}}}"
    start = _start(_plain(branch), Style.PRESENT)
    if "{slug}" not in rule.namespace or (
        slug != branch and not re.fullmatch(f"{re.escape(start)}-{digits}", slug)
    ):
        return False
    whole = _whole(rule, slug)
    if len(whole) <= rule.namespace_max:
        return namespace == whole
    cut = re.fullmatch(f"(.{{{_CUT_MIN},}})-{digits}", namespace)
    return cut is not None and whole.startswith(cut[1])


def is_foreign(rule: NamingRule, slug: str, namespace: str) -> bool:
    """Return True if a namespace is not what these settings would call that of a slug.

    It is asked of what states no legal branch, by whose names alone that could be told.

    Args:
        slug: the slug that it states; empty if it states none, and nobody knows whose it is.
    """
    whole = _whole(rule, slug)
    is_cut = len(whole) > rule.namespace_max
    fits = namespace.startswith(whole[:_CUT_MIN]) if is_cut else namespace == whole
    return bool(slug) and not fits


def _whole(rule: NamingRule, slug: str) -> str:
    """Return a slug's namespace before it is shortened."""
    return rule.namespace.replace("{slug}", slug).replace("{project}", rule.project)


def _database_user(database: str, key: str, style: Style) -> str:
    """Return a user name of at most 32 characters; a shortened one has ``__``.

    A slug never has two hyphens in a row, so no other user name has ``__``.
    """
    if len(database) <= USER_MAX:
        return database
    end = _digest(key, style)
    if style is Style.PRESENT:
        # The same 40 bits in eight characters: there must be room for a part of the branch.
        end = base64.b32encode(bytes.fromhex(end)).decode().lower()
    return f"{database[: USER_MAX - len(end) - 2].rstrip('_')}__{end}"


# -- checks ---------------------------------------------------------------------------------------


_LABEL_RULE = "RFC 1123: a-z, 0-9 and '-', with a letter or a digit at both ends"


def label_fault(what: str, name: str, limit: int = LABEL_MAX) -> str:
    """Return why a name is not a DNS label of that length, or an empty string if it is."""
    if len(name) > limit:
        return f"the {what} {name!r} has {len(name)} characters, and may have {limit}"
    return "" if _LABEL.fullmatch(name) else f"the {what} {name!r} is no DNS label ({_LABEL_RULE})"


def faults(found: Names, *, on_kubernetes: bool) -> Iterator[str]:
    """Yield the rules that names break although they are shortened, each with the object.

    Args:
        found: the names of a branch.
        on_kubernetes: whether the target is Kubernetes, not Compose.
    """
    if on_kubernetes:
        yield from filter(
            None,
            (
                label_fault("namespace", found.namespace),
                label_fault("Helm release", found.release, RELEASE_MAX),
                label_fault("label environment", found.environment),
            ),
        )
        if found.namespace == "default" or found.namespace.startswith("kube-"):
            yield f"the namespace {found.namespace!r} is one of Kubernetes' own"
    elif not _COMPOSE.fullmatch(found.namespace):
        yield f"the Compose project {found.namespace!r} must be a-z, 0-9, '_' and '-'"
    for part in found.host.split("."):
        if label_fault("part", part):
            yield f"the host {found.host!r} has a part that is no DNS label, 1 to {LABEL_MAX} long"
            break
    if len(found.host) > HOST_MAX:
        yield f"a host may have {len(found.host)} characters, and DNS takes {HOST_MAX}"
    if found.database in _SERVERS_OWN:
        yield f"the database {found.database!r} is the server's own"


def stack_faults(project: str, stack: str, region: str, bucket: str | None) -> Iterator[str]:
    """Yield why AWS would refuse a stack's resources: each object with the rule it breaks.

    Args:
        bucket: the bucket of Terraform's state, or None for the default one.
    """
    name = f"{project}-{stack}"
    if not _IDENTIFIER.fullmatch(name):
        yield f"the database server {name!r} must be a-z, 0-9 and single '-', none at the end (RDS)"
    role = f"{name}{_LONGEST_ROLE}"
    if len(role) > ROLE_MAX:
        yield f"the role {role!r} has {len(role)} characters, and IAM takes {ROLE_MAX}"
    if name.startswith("sg-"):
        yield f"the security group '{name}-database' must not begin with 'sg-' (EC2)"
    if bucket is None:
        of_state = bucket_name(project, "0" * 12, region)
        if len(of_state) > BUCKET_MAX:
            yield (
                f"the bucket {of_state!r} has {len(of_state)} characters, and S3 takes "
                f"{BUCKET_MAX}; name another one by state_bucket"
            )
        for start in ("sthree-", "xn--", "amzn-s3-demo-"):
            if of_state.startswith(start):
                yield (
                    f"the bucket {of_state!r} must not begin with {start!r} (S3); name another one "
                    "by state_bucket"
                )

"""The settings: the content of invoke.yaml as frozen, strict models.

invoke merges invoke.yaml, ``INVOKE_*`` variables and the file given with ``-f``, and silently drops
unknown keys. ``parse`` validates the merged result: an unknown key, a wrong type or an invalid
value is an error that names the key, its file and the nearest valid name.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tasks.core.config_sources import nearest
from tasks.core.durations import hours_of
from tasks.core.errors import InputError, SettingsError
from tasks.core.images.findings import Threshold
from tasks.core.images.reference import place_of
from tasks.core.names import (
    COMPOSE_MAX,
    LABEL_MAX,
    SLUG_MAX,
    Names,
    NamingRule,
    Style,
    faults,
    label_fault,
    names_by_rule,
    platform_name,
    stack_faults,
)
from tasks.core.repository import canonical
from tasks.core.setting_capacity import CapacityChoice, CapacitySettings
from tasks.core.setting_conflicts import keys_fault, shared_databases, shared_origins
from tasks.core.setting_door import DoorOidc
from tasks.core.setting_entrance import EntranceImage, page_host, too_long
from tasks.core.setting_gc import GcChoice, GcSettings
from tasks.core.setting_limits import Limits
from tasks.core.setting_news import NewsChoice, NewsSettings
from tasks.core.setting_paths import ProjectPaths
from tasks.core.setting_platform import PlatformSettings
from tasks.core.setting_prices import PriceChoice, PriceSettings
from tasks.core.setting_rds import RdsSnapshotSettings, SnapshotsChoice
from tasks.core.setting_seeds import SeedSettings
from tasks.core.setting_sleep import IdleTime, SleepHours
from tasks.core.setting_values import (
    KINDS,
    PATTERNS,
    REPOSITORY,
    Count,
    DatabaseHost,
    DataChoice,
    DebianRelease,
    Duration,
    HostTemplate,
    IgnoredText,
    ImagePath,
    ImageReference,
    InstanceName,
    KeyArn,
    Language,
    Name,
    ObjectGlob,
    PhpVersion,
    PinnedImage,
    Port,
    Project,
    SecretArn,
    Strict,
    Template,
    Variable,
    Word,
)

LOCAL = "local"
"""The environment chosen outside CI when ``--env`` is not given."""

_ECR = r"^[0-9]{12}\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?(/|$)"
"""https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html"""

_Path = tuple[str, ...]
"""The path of a key in the settings."""


class Images(Strict):
    """What the two images are made of."""

    debian: DebianRelease = Field("trixie", description="Debian release of both images' base.")
    php: PhpVersion = Field("8.4", description="PHP version that Debian packages in that release.")
    mautic: ImageReference = Field(
        "mautic/mautic:7.2-fpm", description="Image that Mautic's code is copied from."
    )
    redis: ImageReference = Field(
        "redis:8", description="Image of the chart's Redis, where the values files enable it."
    )
    source: Literal["auto", "official", "standins"] = Field(
        "auto",
        description=(
            "Where base images come from. `auto`: the official ones, or the stand-ins of "
            "docker/standins when their registry cannot be reached (never for a protected "
            "environment)."
        ),
    )


class RegistrySettings(Strict):
    """Where an environment's images are pushed to."""

    kind: Literal["oci", "ecr"] = Field(
        "oci",
        description="Kind of registry: `oci` for any, by its own API and `docker login`; `ecr` for "
        "Amazon's, by AWS's API and credentials (the default of an environment with a stack).",
    )
    url: str = Field(
        "",
        description="Host and path below which the repositories `nginx` and `mautic` live, "
        "without a scheme, the path in small letters. Loopback addresses are spoken to over plain "
        "HTTP, all others over TLS. "
        "Needed but for `ecr` with a stack, which publishes it.",
    )
    create: bool = Field(
        False, description="ECR only: make repositories that are missing while building."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        if not url:
            return url
        if "://" in url or url.endswith("/") or "@" in url or not re.match(r"^[\w.:-]+(/|$)", url):
            raise ValueError("must be host[:port][/path] without scheme, user or final slash")
        host, _, path = url.partition("/")
        if not re.search(r"[.:A-Z]|^localhost$", host):
            raise ValueError(
                f"needs a host with a dot or a port: docker takes {host} for a user of Docker Hub"
            )
        if path != path.lower():
            small = f"{host}/{path.lower()}"
            raise ValueError(
                f"must be in small letters after the host, as docker wants it: {small}"
            )
        if path and not re.fullmatch(REPOSITORY, path):
            raise ValueError(
                "must have a path of a-z and 0-9, with '/', '.', '-', '_' or '__' between them"
            )
        return url

    @property
    def place(self) -> str:
        """The url in one form: the same for every name of one registry; empty if unknown."""
        return place_of(self.url)

    @model_validator(mode="after")
    def _fits(self) -> RegistrySettings:
        if self.kind == "oci" and not self.url:
            raise ValueError("kind oci needs url")
        if self.kind == "oci" and self.create:
            raise ValueError("only ECR needs repositories to be made: create is for kind ecr")
        if self.kind == "ecr" and self.url and not re.match(_ECR, self.url):
            raise ValueError(
                "kind ecr needs a url like 123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic; "
                "any other registry is kind oci"
            )
        return self


class ClusterSettings(Strict):
    """The Kubernetes cluster an environment lives in."""

    kind: Literal["context", "eks"] = Field(
        "context",
        description="`context` for a context of the kubeconfig; `eks` for an EKS cluster, with "
        "AWS's credentials and no kubeconfig (the default of an environment with a stack).",
    )
    name: Word | None = Field(
        None,
        description="The context's or the EKS cluster's name. Needed but for `eks` with a stack, "
        "which publishes it.",
    )
    token: Variable | None = Field(
        None,
        description="Variable that holds a job's ID token for its API server (docs/platform.md).",
    )

    @model_validator(mode="after")
    def _fits(self) -> ClusterSettings:
        if self.kind == "context" and not self.name:
            raise ValueError("kind context needs name")
        return self


class Database(Strict):
    """The database server that every branch gets a database of its own on."""

    host: DatabaseHost = Field(
        "",
        description="Its host name, as the pods reach it. Needed but with a stack, which "
        "publishes it.",
    )
    port: Port = Field(3306, description="Its port.")
    identifier: InstanceName = ""
    tls_ca: ImagePath | None = Field(
        None,
        description="Where it speaks TLS: a file of the mautic image with the certificates of the "
        "authorities that signed its own, by its full path. `/var/www/html/config/NAME` is "
        "`docker/mautic/config/NAME`, `/etc/ssl/certs/ca-certificates.crt` what Debian trusts. "
        "With it every connection is by TLS, and the server's certificate and name are checked.",
    )
    admin_secret: Word = Field(
        "mautic-database-admin",
        description="Secret in the platform namespace with `username` and `password` of a user "
        "who may create databases and users. Only a Job in that namespace reads it.",
    )
    admin_secret_arn: SecretArn | None = Field(
        None,
        description="The same in AWS Secrets Manager, by its ARN, in place of `admin_secret`. "
        "Only that Job reads it, with the Pod Identity of `account`.",
    )
    account: Word = Field(
        "mautic-database-admin",
        description="Service account in the platform namespace that the Job runs as where "
        "`admin_secret_arn` is set.",
    )
    provisioner: PinnedImage = Field(
        "",
        description="Image, by digest, of the provisioner that gives each namespace its database: "
        "`inv platform.image` makes it, `inv platform.apply` runs it. With it no CI job comes near "
        "the administrator, and it furnishes all namespaces of the cluster with quota and network "
        "policy (docs/security.md). Empty: CI jobs run the Job.",
    )


class PatienceSettings(Strict):
    """How long a deploy may take, and what is waited for.

    Compose uses `stability_seconds` and `smoke_seconds` alone.
    """

    crashes: Count = Field(
        3, description="How often a new container must have crashed for a crash loop."
    )
    grace_seconds: Count = Field(
        60, description="How long what may heal may last: no node, no volume, no database."
    )
    deadline_seconds: Count = Field(
        600, description="How long the rollout may take; a migration that works is not counted."
    )
    stability_seconds: Count = Field(
        10, description="How long every new container must have run before it is done."
    )
    smoke_seconds: Count = Field(
        90,
        description="How long a site whose parts are all ready may still answer with an error.",
    )
    migration_seconds: Count = Field(1800, description="How long a migration may take.")
    turn_seconds: Count = Field(1800, description="How long to wait for another run to finish.")


class Stack(Strict):
    """One set of AWS infrastructure, as `inv infra.*` makes it with Terraform."""

    region: Word = Field(description="AWS region.")
    profile: Word | None = Field(
        None, description="Profile of the AWS configuration; without it, boto3's usual search."
    )
    variables: tuple[str, ...] = Field(
        (), description="Terraform variables files; the later ones win."
    )
    state_bucket: Word | None = Field(
        None, description="S3 bucket of Terraform's state; made by `inv infra.bootstrap`."
    )
    protected: bool = Field(False, description="Refuses `inv infra.destroy`.")


class Environment(Strict):
    """One place where branches, or one branch, are deployed."""

    target: Literal["compose", "kubernetes"] = Field(description="What runs it.")
    branches: tuple[str, ...] = Field(
        description="Patterns (`*`, `?`) of the branches deployed here; in CI the first "
        "environment whose patterns match is the default."
    )
    namespace: Template = Field(
        "{project}-{slug}",
        description="Compose project or Kubernetes namespace of a branch; `{slug}`, `{project}`.",
    )
    host: HostTemplate = Field(
        description="Host name of a branch's site; `{slug}`, `{project}`, `{domain}`. On "
        "Kubernetes with a stack the default is `{slug}.{domain}`, or `{domain}` where "
        "`namespace` has no `{slug}`."
    )
    domain: Word | None = Field(
        None, description="What `{domain}` stands for; a stack publishes its own."
    )
    registry: RegistrySettings = Field(description="Where its images are pushed to.")
    tags: tuple[Literal["short-sha", "latest"], ...] = Field(
        ("short-sha",), description="Tags its images get besides their content key."
    )
    ttl: Duration | None = Field(
        None, description="Age (`12h`, `7d`, `2w`) after which a branch may be swept away."
    )
    protected: bool = Field(
        False,
        description="Refuses dirty trees, commits and tags that are not on its branches, "
        "stand-ins, `cleanup`, and a registry path or stack that an unprotected environment has, "
        "too. Its images are always built, without a cache.",
    )
    signing_key: KeyArn | None = Field(
        None,
        description="Protected only: key of AWS KMS (ECC_NIST_P256, SIGN_VERIFY), by its ARN or "
        "that of an alias. `inv build` signs with it what is stated of the images, and "
        "`inv deploy` takes none that is not signed by it (docs/security.md).",
    )
    scan_severity: Threshold = Field(
        "high",
        description="Least severity of a finding in its images that makes `inv scan` fail; `none` "
        "skips that. It reads ECR's scans.",
    )
    scan_ignore: tuple[IgnoredText, ...] = Field(
        (),
        description="Findings that can wait, each with its last day and the reason: "
        "`CVE-2026-1234 until 2026-12-31: only in a tool that we do not run`.",
    )
    stack: Name | None = Field(
        None,
        description="Stack whose addresses (registry, cluster, database, domain) it uses, read "
        "from SSM; what stands here is stronger, key by key.",
    )
    cluster: ClusterSettings | None = Field(None, description="Kubernetes only, and needed there.")
    scheme: Literal["http", "https"] = Field(
        "https", description="Kubernetes only: how browsers reach the site."
    )
    values: tuple[str, ...] = Field(
        (), description="Kubernetes only: values files for the chart; the later ones win."
    )
    replicas: Count | None = Field(
        None, description="Kubernetes only: web pods; overrides the values files."
    )
    data: DataChoice = "empty"
    language: Language = ""
    sleep_hours: SleepHours = ()
    idle: IdleTime = None
    cluster_objects: tuple[ObjectGlob, ...] = Field(
        (),
        description="Kubernetes only: objects, as globs of `kind/name` "
        "(`configmap/*-root-ca`), that the cluster's controllers put into every namespace: "
        "`cleanup` removes a namespace with them. What came with the namespace, or stands in most "
        "other ones, need not be named.",
    )
    door: Literal["login", "oidc", "open"] | None = Field(
        None,
        description="`login`: nobody sees a page without the environment's password, which "
        "`inv url --login` shows. `oidc`: without a login that the load balancer asks a user pool "
        "for (Kubernetes on AWS, with `door_oidc`). `open`: everybody may. The default is `open` "
        "for a protected environment and `login` for all others.",
    )
    door_oidc: DoorOidc | None = Field(
        None, description="Needed by `door: oidc`, and only there; nothing of it is secret."
    )
    door_exempt: tuple[Literal["api", "assets", "forms", "tracking"], ...] = Field(
        (),
        description="What everybody may reach although there is a door: `forms` (/form/…), "
        "`tracking` (/mtc.js, /mtracking.gif, /r/…, /email/…, /focus/…, /dwc/…), `assets` "
        "(downloads, images, style sheets, scripts) and `api` (/api/…, /oauth/v2/…, which have a "
        "login of their own). With `door: oidc` a little less (docs/security.md).",
    )
    platform_namespace: Name = Field(
        "mautic-system",
        description="Kubernetes only: where the provisioner, or the database Job, runs.",
    )
    entrance: EntranceImage = ""
    database: Database | None = Field(
        None,
        description="Kubernetes only: the database server; without it the values files say where "
        "the database is (`mysql.enabled` for one in the branch's namespace).",
    )
    rds_snapshots: SnapshotsChoice = RdsSnapshotSettings.as_delivered()
    patience: PatienceSettings = Field(
        PatienceSettings.as_delivered(), description="Kubernetes only."
    )
    gc: GcChoice = GcSettings.as_delivered()
    prices: PriceChoice = PriceSettings.as_delivered()
    capacity: CapacityChoice = CapacitySettings.as_delivered()
    limits: Limits = Field(Limits.as_delivered(), description="Compose only.")

    @property
    def has_door(self) -> bool:
        """Whether a login stands in front of its sites."""
        return self.has_password or self.door == "oidc"

    @property
    def has_password(self) -> bool:
        """Whether nginx asks for the environment's password."""
        return self.door == "login" or (self.door is None and not self.protected)

    @property
    def gaps(self) -> tuple[str, ...]:
        """The required keys that are missing; a stack may provide them."""
        gaps = {
            "registry.url": not self.registry.url,
            "cluster.name": self.cluster is not None and not self.cluster.name,
            "database.host": self.database is not None and not self.database.host,
            "domain": "{domain}" in self.host and not self.domain,
        }
        return tuple(key for key, is_missing in gaps.items() if is_missing)

    @property
    def server(self) -> tuple[str, ...] | None:
        """The server of its databases: an address, or its stack; None without either."""
        if self.database and self.database.host:
            return (self.database.host.lower().rstrip("."), str(self.database.port))
        # The server is the stack's; its values are merged in later.
        may_be = self.database is not None or "database" not in self.model_fields_set
        return (self.stack,) if self.stack and may_be else None

    @property
    def ttl_hours(self) -> int | None:
        """The ttl in hours, or None if its branches do not expire."""
        return hours_of(self.ttl) if self.ttl else None

    def expires_at(self, deployed_at: str) -> str:
        """Return when a deployment expires, or an empty string for never.

        Args:
            deployed_at: ISO 8601, like the result.
        """
        if not self.ttl_hours:
            return ""
        return (datetime.fromisoformat(deployed_at) + timedelta(hours=self.ttl_hours)).isoformat()


class _KeysError(ValueError):
    """Values that are valid by themselves do not fit together."""

    def __init__(self, message: str, keys: Iterable[_Path]) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class Settings(Strict):
    """Everything invoke.yaml may say."""

    project: Project = Field(
        "mautic",
        description="Prefix of every name the suite makes. What would be too long with it is cut "
        "(docs/names.md); where that cannot be, the project is refused, with the reason.",
    )
    repository: str = Field(
        "",
        description="Address of this repository, by which its environments are told from others'. "
        "Empty: that of the clone's remote, or of the project in GitLab CI. Of use where people "
        "and CI reach it by different hosts or paths.",
    )
    images: Images = Field(Images.as_delivered(), description="What the images are made of.")
    paths: ProjectPaths = Field(
        ProjectPaths.as_delivered(), description="What of the project goes into them."
    )
    platform: PlatformSettings = Field(
        PlatformSettings.as_delivered(), description="The local platform."
    )
    seeds: SeedSettings = Field(SeedSettings.as_delivered(), description="Masked copies of data.")
    news: NewsChoice = NewsSettings.as_delivered()
    stacks: Mapping[Name, Stack] = Field({}, description="The AWS infrastructure, by name.")
    environments: Mapping[Name, Environment] = Field(description="The environments, by name.")

    @field_validator("repository")
    @classmethod
    def _address(cls, repository: str) -> str:
        if repository and not re.match(r"https://[^/\s]+/\S+\Z|/", canonical(repository)):
            raise ValueError(
                "must be the address of a git repository: https://host/path, git@host:path or a "
                "full path"
            )
        return repository

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if not self.environments:
            raise ValueError("environments must name at least one environment")
        if self.seeds.stack not in {None, *self.stacks}:
            raise _KeysError(f"no stack {self.seeds.stack!r}", [("seeds", "stack")])
        for name, environment in self.environments.items():
            own = [("environments", name, key) for key in sorted(environment.model_fields_set)]
            if environment.stack not in {None, *self.stacks}:
                raise _KeysError(
                    f"no stack {environment.stack!r}", [("environments", name, "stack")]
                )
            if environment.stack is None and environment.gaps:
                missing = ("environments", name, *environment.gaps[0].split("."))
                raise _KeysError("must be given, or a stack that has it", [missing])
            if contradiction := keys_fault(environment):
                message, keys = contradiction
                raise _KeysError(message, [path for path in own if path[-1] in keys])
            for value in (environment.namespace, environment.host):
                if ("{slug}" in value) != ("{slug}" in environment.namespace):
                    raise _KeysError(
                        "namespace and host must both use {slug}, or neither",
                        [path for path in own if path[-1] in {"namespace", "host"}],
                    )
        for where, fault in self._name_faults():
            raise ValueError(f"{where}: {fault} (project {self.project!r})")
        return self

    def _name_faults(self) -> Iterator[tuple[str, str]]:
        """Yield key and fault of every name that its target would refuse."""
        for name, own in self.environments.items():
            if "domain" in own.gaps:  # these settings are read again with the stack's
                continue
            on_kubernetes = own.target == "kubernetes"
            if on_kubernetes and (
                fault := label_fault("platform namespace", own.platform_namespace)
            ):
                yield f"environments.{name}", fault
            # Names differ only by the slug: what is wrong shows in the shortest or the longest.
            for branch in ("x", "x" * SLUG_MAX):
                of_branch = names_of(self, name, branch)
                for fault in faults(of_branch, on_kubernetes=on_kubernetes):
                    yield f"environments.{name}", fault
            for fault in too_long(own, self.project):
                yield f"environments.{name}.entrance", fault
        yield from shared_databases(self)
        yield from shared_origins(self)
        for name, stack in self.stacks.items():
            for fault in stack_faults(self.project, name, stack.region, stack.state_bucket):
                yield f"stacks.{name}", fault

    def environment(self, name: str) -> Environment:
        """Return the environment of that name.

        Raises:
            InputError: there is none; the hint has the nearest name.
        """
        try:
            return self.environments[name]
        except KeyError:
            raise InputError(
                f"there is no environment {name!r} in invoke.yaml",
                hint=nearest(name, self.environments),
            ) from None

    def stack(self, name: str) -> Stack:
        """Return the stack of that name.

        Raises:
            InputError: there is none; the hint has the nearest name.
        """
        try:
            return self.stacks[name]
        except KeyError:
            raise InputError(
                f"there is no stack {name!r} in invoke.yaml", hint=nearest(name, self.stacks)
            ) from None


def parse(merged: Mapping[str, Any], origin: Callable[[tuple[str, ...]], str]) -> Settings:
    """Parse invoke's merged configuration strictly.

    Args:
        merged: the merged configuration without invoke's own keys.
        origin: returns the file or variable that a key's path came from.

    Raises:
        SettingsError: it is invalid; the error names the key, its origin and, for an unknown key,
            the nearest valid one.
    """
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        raised = first.get("ctx", {}).get("error")
        if isinstance(raised, _KeysError):
            places = " and ".join(f"{'.'.join(keys)} in {origin(keys)}" for keys in raised.keys)
            raise SettingsError(f"{places}: {raised}") from error
        # A wrong key of a mapping stands as "name.[key]".
        path = tuple(str(part) for part in first["loc"] if part != "[key]")
        key = ".".join(path) or "invoke.yaml"
        message, hint = _told(first), None
        if first["type"] == "extra_forbidden":
            message, hint = "is not a setting", nearest(path[-1], _siblings(path))
        elif first["type"] == "missing":
            message = "is missing"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        where = f" in {origin(path)}" if path else ""
        raise SettingsError(f"{key}{where}: {message}{more}", hint=hint) from error


def choose_environment(
    settings: Settings, name: str | None, *, branch: str | None, ci: bool
) -> str:
    """Return the name of the environment of a run.

    Args:
        settings: the settings.
        name: what ``--env`` said, or None.
        branch: the branch being built or deployed, or None when there is none.
        ci: whether this is a CI job.

    Raises:
        InputError: no such environment, or no default could be chosen.
    """
    if name:
        settings.environment(name)
        return name
    if not ci:
        settings.environment(LOCAL)
        return LOCAL
    for candidate, environment in settings.environments.items():
        if candidate != LOCAL and branch and matches(environment, branch):
            return candidate
    raise InputError(
        f"no environment's branches match {branch!r}",
        hint="give --env, or add the branch to an environment's `branches` in invoke.yaml",
    )


def matches(environment: Environment, branch: str) -> bool:
    """Return True if a branch matches the environment's patterns."""
    return any(fnmatchcase(branch, pattern) for pattern in environment.branches)


def names_of(settings: Settings, environment: str, branch: str) -> Names:
    """Return a branch's names in an environment that is deployed now.

    Args:
        settings: the settings.
        environment: the environment's name.
        branch: the full branch name.

    Raises:
        InputError: no such environment, or not a legal branch name.
        SettingsError: its host needs the stack's domain, which these settings lack.
    """
    return names_of_all_styles(settings, environment, branch)[0]


def names_of_all_styles(settings: Settings, environment: str, branch: str) -> list[Names]:
    """Return the different names that a branch's environment may bear, the present ones first.

    Arguments and errors are those of ``names_of``.
    """
    return names_by_rule(naming_rule(settings, environment), branch)


def same_cluster(settings: Settings, environment: str) -> dict[str, Environment]:
    """Return the environments that live in an environment's cluster, itself included, by name."""
    own = settings.environment(environment)
    return {
        name: other
        for name, other in settings.environments.items()
        if other.target == "kubernetes"
        and (other.stack == own.stack if own.stack else other.cluster == own.cluster)
    }


def naming_rule(settings: Settings, environment: str) -> NamingRule:
    """Return what the names of an environment's branches depend on; errors as for ``names_of``."""
    own = settings.environment(environment)
    if "domain" in own.gaps:
        raise SettingsError(
            f"environments.{environment}.domain: is missing",
            hint=f"stack {own.stack} has it: inv infra.apply --stack {own.stack}",
        )
    others = [
        other
        for name, other in settings.environments.items()
        if name != environment and "{slug}" not in other.namespace
    ]
    fixed = {other.namespace.replace("{project}", settings.project) for other in others}
    # The local platform is a Compose project of this name: no branch may be called like it.
    fixed.add(platform_name(settings.project))
    on_clusters = own.target == "kubernetes"
    if on_clusters:
        fixed.add(own.platform_namespace)
    # Two environments may be of one cluster, whatever it is called in each.
    platforms = {
        other.platform_namespace
        for other in settings.environments.values()
        if on_clusters and other.target == "kubernetes"
    }
    hosts = {_host_template(other).replace("{project}", settings.project) for other in others}
    if own.entrance:
        hosts.add(page_host(_host_template(own).replace("{project}", settings.project)))
    origin = f"{own.scheme}://{{host}}"
    if own.target == "compose":
        port = settings.platform.http_port
        origin = "http://{host}" if port == 80 else f"http://{{host}}:{port}"
    present, former = Style.PRESENT.value, Style.FORMER.value
    return NamingRule(
        environment=environment,
        project=settings.project,
        namespace=own.namespace,
        host=_host_template(own),
        origin=origin,
        environments=sorted(settings.environments),
        namespaces={present: sorted(fixed | platforms), former: sorted(fixed)},
        hosts={present: sorted(hosts), former: []},
        namespace_max=LABEL_MAX if on_clusters else COMPOSE_MAX,
    )


def _host_template(environment: Environment) -> str:
    return environment.host.replace("{domain}", environment.domain or "")


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a field's type, including those in a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in {typing.Union, types.UnionType, Annotated}:
        return [model for inner in typing.get_args(annotation) for model in models_in(inner)]
    return []


NAMED: Mapping[str, type[BaseModel]] = {"stacks": Stack, "environments": Environment}
"""The settings whose keys are names chosen by users, with the model of their values."""


def leaves(named: Mapping[str, Iterable[str]]) -> dict[tuple[str, ...], bool]:
    """Return the path of every key that holds a value, and whether that is a list of values.

    Args:
        named: the names of environments and of stacks, by ``NAMED``'s keys.
    """
    found: dict[tuple[str, ...], bool] = {}

    def walk(model: type[BaseModel], path: tuple[str, ...]) -> None:
        for name, field in model.model_fields.items():
            if model is Settings and name in NAMED:
                for given in named.get(name, ()):
                    walk(NAMED[name], (name, given))
                continue
            inner = models_in(field.annotation)
            for part in inner:
                walk(part, (*path, name))
            if not inner:
                found[*path, name] = typing.get_origin(field.annotation) is tuple

    walk(Settings, ())
    return found


def _siblings(path: tuple[str, ...]) -> list[str]:
    """Return the valid keys beside the last part of a path."""
    models: list[type[BaseModel]] = [Settings]
    for depth, part in enumerate(path[:-1]):
        if path[0] in NAMED and depth < 2:
            models = [NAMED[path[0]]]
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [inner for field in fields for inner in models_in(field.annotation)] or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _told(error: Mapping[str, Any]) -> str:
    """Return the message for an invalid value."""
    if error["type"] == "string_pattern_mismatch":
        return PATTERNS[error["ctx"]["pattern"]]
    if error["type"] in KINDS:
        return KINDS[error["type"]]
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")

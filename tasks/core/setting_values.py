"""The kinds of values that a setting may have, with what is told of them when they are wrong."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tasks.core import durations
from tasks.core.environment_data import CHOICE
from tasks.core.images.findings import IGNORED, parse_ignored
from tasks.core.images.retention import POLICY
from tasks.core.names import PROJECT_MAX
from tasks.core.sleep_hours import SPAN

_NAME = r"^[a-z][a-z0-9-]{0,19}$"
_PROJECT = rf"^[a-z][a-z0-9-]{{0,{PROJECT_MAX - 1}}}$"
_TEMPLATE = r"^([a-z0-9.-]|\{slug\}|\{project\})+$"
_HOST = r"^([a-z0-9.-]|\{slug\}|\{project\}|\{domain\})+$"
_CURRENCY = r"^[A-Z]{3}$"
_NODE_TYPE = r"^([a-z0-9-]+\.[a-z0-9-]+)?$"
_WORD = r"^\S+$"
_VERSION = r"^[0-9]+\.[0-9]+$"
_RELEASE = r"^[a-z]+$"
_SIZE = r"^[1-9][0-9]{0,5}[kmg]$"
_OBJECT = r"^[a-z*]+/[a-z0-9.*?-]+$"
DATABASE_HOST = (
    r"^([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?|"
    r"\[[0-9A-Fa-f:.]+\])$"
)
"""As in docker/mautic/php/variables.json."""
_LANGUAGE = r"^([a-z]{2,3}(_[A-Za-z0-9]+)*)?$"
_PATH = r"^/\S+$"
_FOLDER = r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$"
_INSTANCE = r"^([A-Za-z](-?[A-Za-z0-9]){0,62})?$"
"""https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html"""
_BY_DIGEST = r"^(\S+@sha256:[0-9a-f]{64})?$"
_ARN = r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:\S+$"
_VARIABLE = r"^[A-Z_][A-Z0-9_]*$"
_SEED_STORE = r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*|[^\s:]*)$"
_KEY = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/\S+$"
_POOL = r"^arn:aws:cognito-idp:[a-z0-9-]+:[0-9]{12}:userpool/[a-z0-9-]+_[A-Za-z0-9]+$"
_CLIENT = r"^[a-z0-9]{1,128}$"
_DOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
_PART = r"[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
REPOSITORY = rf"{_PART}(?:/{_PART})*"
"""https://github.com/distribution/reference, the grammar at the top of reference.go"""
_REGISTRY = r"(?:localhost|[A-Za-z0-9-]*[.:\[][A-Za-z0-9.:\[\]-]*)"
_IMAGE = (
    rf"^(?:{_REGISTRY}/)?{REPOSITORY}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?:@[a-z0-9]+:[0-9a-f]{32,})?$"
)
"""As in tasks/core/images/reference.py."""

PATTERNS = {
    CHOICE: "must be empty, seed (the newest), or seed:ID",
    _NAME: "must be a letter and at most 19 more of a-z, 0-9 and '-'",
    _PROJECT: f"must be a letter and at most {PROJECT_MAX - 1} more of a-z, 0-9 and '-'",
    _TEMPLATE: "must be made of a-z, 0-9, '.', '-', {slug} and {project}",
    _HOST: "must be made of a-z, 0-9, '.', '-', {slug}, {project} and {domain}",
    DATABASE_HOST: "must be a host's name or address, without scheme and port",
    _LANGUAGE: "must be a language as Mautic calls it, such as de or pt_BR, or empty",
    _PATH: "must be the full path of a file in the mautic image",
    _FOLDER: "must be a folder of the repository, such as docroot/plugins, or empty",
    _INSTANCE: "must be the identifier of an instance of RDS: at most 63 letters, digits and '-'",
    _ARN: "must be the ARN of a secret of Secrets Manager",
    _SEED_STORE: "must be a folder, or s3://BUCKET or s3://BUCKET/PREFIX",
    _VARIABLE: "must be the name of a variable: A-Z, 0-9 and '_'",
    _KEY: "must be the ARN of a key of KMS, or of an alias: arn:aws:kms:REGION:ACCOUNT:alias/NAME",
    _POOL: "must be the ARN of a user pool of Cognito: "
    "arn:aws:cognito-idp:REGION:ACCOUNT:userpool/ID",
    _CLIENT: "must be the ID of a client of the user pool: a-z and 0-9",
    _DOMAIN: "must be the prefix of the user pool's domain at Amazon, or a domain of its own",
    IGNORED: "must be the finding, the last day and the reason: CVE-2026-1234 until 2026-12-31: "
    "only in a tool that we do not run",
    SPAN: "must be hours, days and a time zone: 20:00-07:00 Mon-Fri Europe/Berlin",
    POLICY: "must be a tag's pattern, alone, with its number or with its time: v*, "
    "v* newest 20, v* for 90d",
    _NODE_TYPE: "must be a type of EC2's instances: m6i.large",
    _CURRENCY: "must be a currency's code of three letters: USD, EUR",
    durations.DURATION: durations.EXPECTED,
    _WORD: "must be one word",
    _VERSION: "must be a version: 8.4",
    _IMAGE: "must be an image reference, its path in small letters: host/path:tag",
    _RELEASE: "must be the name of a Debian release: trixie",
    _SIZE: "must be a size: 512m, 2g",
    _BY_DIGEST: "must be an image by digest: registry.example.com/mautic/provisioner@sha256:…",
    _OBJECT: "must be kind/name in lower case, with * and ?",
}
"""Descriptions of patterns, for error messages and the documentation."""


KINDS = {
    "dict_type": "must hold keys and values",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "mapping_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "string_type": "must be text; a number needs quotes",
    "tuple_type": "must be a list",
}
"""pydantic's error types, which are in terms of Python, in terms of YAML."""


def _of_a_day(text: str) -> str:
    parse_ignored(text)
    return text


Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Folder = Annotated[str, StringConstraints(pattern=_FOLDER)]
Project = Annotated[str, StringConstraints(pattern=_PROJECT)]
Word = Annotated[str, StringConstraints(pattern=_WORD)]
PhpVersion = Annotated[str, StringConstraints(pattern=_VERSION)]
DebianRelease = Annotated[str, StringConstraints(pattern=_RELEASE)]
ImageReference = Annotated[str, StringConstraints(pattern=_IMAGE)]
ObjectGlob = Annotated[str, StringConstraints(pattern=_OBJECT)]
Template = Annotated[str, StringConstraints(pattern=_TEMPLATE)]
HostTemplate = Annotated[str, StringConstraints(pattern=_HOST)]
DatabaseHost = Annotated[str, StringConstraints(pattern=DATABASE_HOST)]
InstanceName = Annotated[
    str,
    StringConstraints(pattern=_INSTANCE),
    Field(
        description="Its identifier in RDS, for snapshots of a protected environment's server; a "
        "stack publishes it. Empty: it is not on RDS, or no snapshots of it are taken."
    ),
]
ImagePath = Annotated[str, StringConstraints(pattern=_PATH)]
SecretArn = Annotated[str, StringConstraints(pattern=_ARN)]
IgnoredText = Annotated[str, StringConstraints(pattern=IGNORED), AfterValidator(_of_a_day)]
KeepText = Annotated[str, StringConstraints(pattern=POLICY)]
UserPoolArn = Annotated[str, StringConstraints(pattern=_POOL)]
PoolClient = Annotated[str, StringConstraints(pattern=_CLIENT)]
PoolDomain = Annotated[str, StringConstraints(pattern=_DOMAIN)]
KeyArn = Annotated[str, StringConstraints(pattern=_KEY)]
PinnedImage = Annotated[str, StringConstraints(pattern=_BY_DIGEST)]
Variable = Annotated[str, StringConstraints(pattern=_VARIABLE)]
SeedStoreAddress = Annotated[str, StringConstraints(pattern=_SEED_STORE)]
DataChoice = Annotated[
    str,
    StringConstraints(pattern=CHOICE),
    Field(
        description="What a new branch's database begins with, unless `inv deploy --data` says "
        "otherwise: `empty`, a fresh installation, `seed`, the newest masked data there is, or "
        "`seed:ID`."
    ),
]
Language = Annotated[
    str,
    StringConstraints(pattern=_LANGUAGE),
    Field(
        description="Language of its sites, Mautic's parameter `locale`. Empty: that of the values "
        "files, of `parameters_local.php`, or English."
    ),
]
Price = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
NodeType = Annotated[str, StringConstraints(pattern=_NODE_TYPE)]
Currency = Annotated[str, StringConstraints(pattern=_CURRENCY)]
Duration = Annotated[str, StringConstraints(pattern=durations.DURATION)]
Size = Annotated[str, StringConstraints(pattern=_SIZE)]


class Strict(BaseModel):
    """Settings that take no unknown key, never change, and are not repeated in errors."""

    # What validates a part is made with the whole, which is all that is ever read.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )

    @classmethod
    def as_delivered(cls) -> Self:
        """Return these settings where nothing is set, without making what validates the part."""
        return super().model_construct()

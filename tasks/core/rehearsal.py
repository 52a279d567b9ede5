"""A rehearsed upgrade: what its environment is called, and what came of it.

docker/mautic/php/rehearse.php writes the results, a line of JSON each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tasks.core.errors import InputError, SuiteError
from tasks.core.seeds import Seed

PREFIX = "rehearse/"
"""What the branch of a rehearsal's environment begins with; nothing else is deployed as such."""
LIFETIME_HOURS = 24
"""After this long `inv gc` takes an environment that was kept, or that a killed run has left."""
SHOWN_SECONDS = 0.05
"""Shorter waits are those of a busy machine."""

MIGRATION_COLUMNS = (
    "migration",
    "result",
    "seconds",
    "readers waited",
    "writers waited",
    "rebuilt",
)
CHECK_COLUMNS = ("check", "name", "result", "seconds")

OFFICIAL = "mautic/mautic:{version}-fpm"
_TRIXIE = {"debian": "trixie", "php": "8.4"}
_BOOKWORM = {"debian": "bookworm", "php": "8.2"}
_NEWEST_OF_BOOKWORM = 6


def environment_branch(branch: str) -> str:
    """Return the branch that the environment of a branch's rehearsal is named after."""
    return f"{PREFIX}{branch}"


def is_rehearsal(branch: str) -> bool:
    """Return True if a branch's name is that of a rehearsal's environment."""
    return branch.startswith(PREFIX)


def check_no_rehearsal(branch: str) -> None:
    """Refuse a branch whose environment would be taken for a rehearsal's.

    Raises:
        InputError: its name begins like one.
    """
    if is_rehearsal(branch):
        raise InputError(
            f"{branch}: only inv rehearse makes environments whose names begin with {PREFIX}",
            hint="rename the branch: git branch -m",
        )


def image_tag(tag: str, slug: str) -> str:
    """Return the tag of a rehearsal's images: never that of a branch's own.

    Args:
        tag: of what is checked out.
        slug: of the rehearsal's environment.
    """
    return f"{tag}-{hashlib.sha256(slug.encode()).hexdigest()[:8]}"


def mautic_variables(mautic: str) -> dict[str, str]:
    """Return the variables of a build of another Mautic.

    Args:
        mautic: a version, such as 7.2, or an image that holds one.

    Raises:
        InputError: it is neither.
    """
    if "/" in mautic or ":" in mautic:
        return {"MAUTIC_IMAGE": mautic}
    major = mautic.partition(".")[0]
    if not major.isdecimal():
        raise InputError(f"--mautic {mautic!r}: must be a version such as 7.2, or an image")
    chosen = _BOOKWORM if int(major) <= _NEWEST_OF_BOOKWORM else _TRIXIE
    given = {"DEBIAN": chosen["debian"], "PHP": chosen["php"]}
    return {"MAUTIC_IMAGE": OFFICIAL.format(version=mautic), **given}


@dataclass(frozen=True)
class MigrationResult:
    """One migration, run alone.

    Attributes:
        outcome: ``done``, ``skipped`` by itself, or ``failed``.
        seconds: its own, without the console's start.
        readers_seconds: the longest that somebody waited who only read.
        readers_table: for which table.
        writers_seconds: the longest that somebody waited who wanted to write.
        writers_table: for which table.
        rebuilt: the tables that were made anew.
        error: why it failed, or an empty string.
    """

    migration: str
    outcome: Literal["done", "skipped", "failed"]
    seconds: float
    readers_seconds: float
    readers_table: str
    writers_seconds: float
    writers_table: str
    rebuilt: tuple[str, ...]
    error: str

    def row(self) -> tuple[str, ...]:
        """Return it as a row of ``MIGRATION_COLUMNS``."""
        return (
            *(self.migration, self.outcome, f"{self.seconds:.2f}"),
            _wait(self.readers_seconds, self.readers_table),
            _wait(self.writers_seconds, self.writers_table),
            ", ".join(self.rebuilt) or "-",
        )


@dataclass(frozen=True)
class CheckResult:
    """One look at what was migrated.

    Attributes:
        check: ``plugin``, ``cron`` or ``page``.
        name: which one.
        error: what is wrong, or an empty string.
    """

    check: str
    name: str
    seconds: float
    error: str

    def row(self) -> tuple[str, ...]:
        """Return it as a row of ``CHECK_COLUMNS``."""
        return (self.check, self.name, self.error or "ok", f"{self.seconds:.2f}")


@dataclass(frozen=True)
class Migrated:
    """The migrations of a rehearsal.

    Attributes:
        mautic: the version of the code that they belong to, or an empty string.
        pending: how many there were.
        rebuilt_by: how rebuilt tables are known: ``table id``, or ``creation time``, by which
            tables that were only changed may count, too.
        results: those that were run.
    """

    mautic: str
    pending: int
    rebuilt_by: str
    results: tuple[MigrationResult, ...]


@dataclass(frozen=True)
class Rehearsal:
    """What came of a rehearsal.

    Attributes:
        branch: the branch whose upgrade was rehearsed.
        environment: where, by its name in invoke.yaml.
        tag: of the images.
        seed: the data.
        began_at: ISO 8601, UTC.
        seconds: how long each part took, by its name.
        migrated: the migrations.
        checks: none where a migration failed.
    """

    branch: str
    environment: str
    tag: str
    seed: Seed
    began_at: str
    seconds: Mapping[str, float]
    migrated: Migrated
    checks: tuple[CheckResult, ...]

    @property
    def title(self) -> str:
        """What was rehearsed."""
        before, after = self.seed.mautic or "?", self.migrated.mautic or "?"
        return f"upgrade of {self.branch} from Mautic {before} to {after}"

    @property
    def data(self) -> str:
        """What it was rehearsed with."""
        seed = self.seed
        return f"seed {seed.id} of {seed.source}, {seed.contacts} contacts, {seed.rows:,} rows"

    @property
    def summary(self) -> tuple[str, ...]:
        """Its figures: a sentence each."""
        ran = self.migrated.results
        total = sum(each.seconds for each in ran)
        lines = [
            f"{len(ran)} of {self.migrated.pending} migrations ran in {total:.1f} s",
            *(
                f"{who} waited {seconds:.2f} s at most, for {table}"
                for who, seconds, table in self._longest()
            ),
        ]
        if self.migrated.rebuilt_by != "table id":
            lines.append(
                f"rebuilt tables are known by their {self.migrated.rebuilt_by}: a table that was "
                "only changed may be among them"
            )
        return tuple(lines)

    def _longest(self) -> Iterator[tuple[str, float, str]]:
        for who in ("readers", "writers"):
            waits = [
                (getattr(each, f"{who}_seconds"), getattr(each, f"{who}_table"))
                for each in self.migrated.results
            ]
            seconds, table = max(waits, default=(0.0, ""))
            if seconds >= SHOWN_SECONDS:
                yield who, seconds, table

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed: a sentence each."""
        return (
            *(
                f"migration {each.migration}: {each.error}"
                for each in self.migrated.results
                if each.outcome == "failed"
            ),
            *(f"{each.check} {each.name}: {each.error}" for each in self.checks if each.error),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        seed = self.seed.as_dict()
        return {"title": self.title, **asdict(self), "seed": seed, "failures": list(self.failures)}

    def markdown(self) -> str:
        """Return it as a page."""
        parts = "; ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        lines = [
            *(f"# {self.title[0].upper()}{self.title[1:]}", ""),
            f"- data: {self.data}",
            f"- images: `{self.tag}` in {self.environment}",
            f"- begun: {self.began_at}; {parts}",
            *(f"- {line}" for line in self.summary),
            *("", "## Failures", ""),
            *([f"- {each}" for each in self.failures] or ["None."]),
            *("", "## Migrations", ""),
            *_table(MIGRATION_COLUMNS, [each.row() for each in self.migrated.results]),
            *("", "## Checks", ""),
            *_table(CHECK_COLUMNS, [each.row() for each in self.checks]),
        ]
        return "\n".join(lines) + "\n"


def read_migrations(lines: Sequence[str]) -> Migrated:
    """Return what ``rehearse migrations`` has written.

    Raises:
        SuiteError: it is something else.
    """
    try:
        first, *rest = map(json.loads, lines)
        results = [MigrationResult(**{**each, "rebuilt": tuple(each["rebuilt"])}) for each in rest]
        return Migrated(first["mautic"], first["pending"], first["rebuilt_by"], tuple(results))
    except (ValueError, TypeError, KeyError) as error:
        raise SuiteError(f"the results of the migrations cannot be read: {error!r}") from error


def read_checks(lines: Sequence[str]) -> tuple[CheckResult, ...]:
    """Return what ``rehearse plugins``, ``crons`` or ``pages`` has written.

    Raises:
        SuiteError: it is something else.
    """
    try:
        return tuple(CheckResult(**json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise SuiteError(f"the results of the checks cannot be read: {error!r}") from error


def _wait(seconds: float, table: str) -> str:
    return f"{seconds:.2f} {table}" if seconds >= SHOWN_SECONDS else "-"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    if not rows:
        return ["None."]
    return [line(columns), line(["---"] * len(columns)), *map(line, rows)]

"""In which order an upgrade is rehearsed, and that its environment goes whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.core.dump_manifest import Member
from tasks.core.environment import Owner
from tasks.core.errors import RefusedError, SuiteError, UnfitError, UnreadableError
from tasks.core.names import Names
from tasks.core.rehearsal import Rehearsal, environment_branch
from tasks.core.seeds import Seed
from tasks.flows.data import Place, SeedSource
from tasks.flows.rehearse import (
    RehearsalPlan,
    refuse_failures,
    refuse_present,
    rehearse,
    show,
)
from tests.support.fakes import ME, NAMES, REQUEST, FakeDeployer, a_console

SEED = Seed("20261127t071205", "prod", "5.1.0", "all", 21928, Member(10, "ab"), "cd", "{}")
PLAN = RehearsalPlan(
    "feature/x", replace(NAMES, branch=environment_branch("x")), "7.2", SEED, False
)
FIRST = {"mautic": "7.2.0", "pending": 2, "rebuilt_by": "table id"}
MIGRATION = {
    **{"migration": "Version1", "outcome": "done", "seconds": 1.5, "rebuilt": ["leads"]},
    **{"readers_seconds": 0.0, "readers_table": "", "error": ""},
    **{"writers_seconds": 0.0, "writers_table": ""},
}
FAILED = {**MIGRATION, "migration": "Version2", "outcome": "failed", "error": "no such table"}
MIGRATIONS, PLUGINS, PAGES, CRONS = (
    f"mautic rehearse {name}" for name in ("migrations", "plugins", "pages", "crons")
)
BEGUN = ["check seed", "build", "deploy", "lock", "hold", "put seed"]
CHECKS = [PLUGINS, PAGES, CRONS]


def a_check(kind: str, error: str = "") -> dict[str, Any]:
    return {"check": kind, "name": f"a {kind}", "seconds": 0.25, "error": error}


@dataclass
class World:
    """A stage, a place and a seed whose calls come in one list.

    Attributes:
        fails: what a call raises, by its name.
        answers: what the programs write.
    """

    deployer: FakeDeployer = field(default_factory=FakeDeployer)
    fails: dict[str, BaseException] = field(default_factory=dict)
    answers: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            MIGRATIONS: [FIRST, MIGRATION],
            PLUGINS: [a_check("plugin")],
            PAGES: [a_check("page")],
            CRONS: [a_check("cron")],
        }
    )
    read: list[bytes] = field(default_factory=list)
    tag: str = "1a2b3c4d-5e6f"

    @property
    def seen(self) -> list[str]:
        return self.deployer.seen

    def note(self, what: str) -> None:
        self.seen.append(what)
        if what in self.fails:
            raise self.fails[what]

    # -- the stage

    def build(self) -> object:
        return self.note("build")

    def deploy(self) -> object:
        return self.note("deploy")

    def remove(self) -> int:
        self.note("remove")
        return 3

    # -- the data

    def pipe(
        self,
        owner: Owner,
        names: Names,
        words: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        self.read.append(b"".join(source))
        text = "".join(f"{json.dumps(each)}\n" for each in self.answers[" ".join(words)]).encode()
        # Parts end anywhere.
        for start in range(0, len(text), 7):
            take(text[start : start + 7])
        self.note(" ".join(words))
        return 0

    def admin_password(self, names: Names) -> str:
        return "the administrator's"

    # -- the seed

    def check(self, _: object) -> None:
        self.note("check seed")

    def put(self, place: Place, _: object, *, migrated: bool) -> None:
        assert not migrated
        assert place.names is PLAN.names
        self.note("put seed")

    def run(self, evidence: Path, *, keep: bool = False) -> tuple[Rehearsal, str]:
        console, said = a_console()
        place = Place(REQUEST.owner, PLAN.names, self, self.deployer)
        done = rehearse(
            *(replace(PLAN, keep=keep), self, place, cast("SeedSource", self)),
            me=ME,
            console=console,
            evidence=evidence,
        )
        show(console, done)
        return done, said.getvalue()


def test_a_seed_is_migrated_one_by_one_then_looked_at_then_all_is_removed(tmp_path: Path) -> None:
    world = World()
    done, said = world.run(tmp_path / "logs")
    assert world.seen == [*BEGUN, MIGRATIONS, *CHECKS, "unlock", "remove"]
    assert done.failures == ()
    refuse_failures(done)
    assert list(done.seconds) == ["build", "deploy", "data", "migrations", "checks"]
    assert [each.migration for each in done.migrated.results] == ["Version1"]
    assert [each.check for each in done.checks] == ["plugin", "page", "cron"]
    assert "  Version1: done, 1.50 s\n" in said
    assert not (tmp_path / "logs").exists()


def test_the_password_goes_by_stdin_to_the_pages_alone(tmp_path: Path) -> None:
    world = World()
    world.run(tmp_path / "logs")
    login = json.dumps({"username": "admin", "password": "the administrator's"}).encode() + b"\n"
    assert world.read == [b"", b"", login, b""]


def test_nothing_is_looked_at_after_a_migration_that_failed(tmp_path: Path) -> None:
    world = World()
    world.answers[MIGRATIONS] = [FIRST, MIGRATION, FAILED]
    done, said = world.run(tmp_path / "logs")
    assert world.seen == [*BEGUN, MIGRATIONS, "unlock", "diagnostics", "remove"]
    assert "  Version2: failed, 1.50 s\n" in said
    with pytest.raises(UnfitError) as caught:
        refuse_failures(done)
    assert caught.value.exit_code == 6
    assert caught.value.output == "migration Version2: no such table"
    assert (tmp_path / "logs").is_dir()


@pytest.mark.parametrize(("kind", "words"), [("plugin", PLUGINS), ("page", PAGES), ("cron", CRONS)])
def test_a_check_that_fails_is_a_result_and_the_others_follow(
    tmp_path: Path, kind: str, words: str
) -> None:
    world = World()
    world.answers[words] = [a_check(kind, "it broke"), a_check(kind)]
    done, _ = world.run(tmp_path / "logs")
    assert world.seen == [*BEGUN, MIGRATIONS, *CHECKS, "unlock", "diagnostics", "remove"]
    assert done.failures == (f"{kind} a {kind}: it broke",)


def test_logs_that_cannot_be_saved_take_no_result_away(tmp_path: Path) -> None:
    world = World()
    world.answers[PAGES] = [a_check("page", "answers 500")]
    world.deployer.fails["diagnostics"] = [SuiteError("no room")]
    done, said = world.run(tmp_path / "logs")
    assert done.failures == ("page a page: answers 500",)
    assert "not all of the logs could be saved: no room" in said


@pytest.mark.parametrize("error", [SuiteError("it broke"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["build", "deploy", "hold", "put seed", MIGRATIONS, PAGES])
def test_whatever_ends_it_the_environment_goes(
    tmp_path: Path, where: str, error: BaseException
) -> None:
    world = World(fails={where: error})
    if where == "hold":
        world.deployer.fails["hold"] = [error]
    with pytest.raises(type(error)):
        world.run(tmp_path / "logs")
    assert world.seen[-1] == "remove"
    assert world.seen.count("lock") == world.seen.count("unlock")


def test_one_that_is_kept_says_how_it_goes(tmp_path: Path) -> None:
    world = World()
    _, said = world.run(tmp_path / "logs", keep=True)
    assert "remove" not in world.seen
    assert "to remove it: inv cleanup --env local --branch rehearse/x" in said
    world = World(fails={"deploy": SuiteError("it broke")})
    with pytest.raises(SuiteError, match="it broke"):
        world.run(tmp_path / "logs", keep=True)
    assert "remove" not in world.seen


def test_a_removal_that_is_interrupted_says_how_it_goes(tmp_path: Path) -> None:
    console, said = a_console()
    world = World(fails={"remove": KeyboardInterrupt()})
    place = Place(REQUEST.owner, PLAN.names, world, world.deployer)
    with pytest.raises(KeyboardInterrupt):
        rehearse(
            *(PLAN, world, place, cast("SeedSource", world)),
            me=ME,
            console=console,
            evidence=tmp_path / "logs",
        )
    assert "may still be there: inv cleanup --env local --branch rehearse/x" in said.getvalue()


def test_a_damaged_seed_ends_it_before_anything_is_made(tmp_path: Path) -> None:
    world = World(fails={"check seed": UnreadableError("not what its manifest says")})
    with pytest.raises(UnreadableError):
        world.run(tmp_path / "logs")
    assert world.seen == ["check seed"]


def test_a_second_one_is_refused_with_the_way_to_remove_the_first() -> None:
    world = World()
    place = Place(REQUEST.owner, PLAN.names, world, world.deployer)
    refuse_present(place, 0)
    with pytest.raises(RefusedError, match="rehearse/x is there already") as caught:
        refuse_present(place, 4)
    assert caught.value.hint == "inv cleanup --env local --branch rehearse/x"


def test_the_plan_tells_what_would_be_done() -> None:
    told = PLAN.as_dict()
    assert [step["verb"] for step in told["steps"]] == [
        *("build", "deploy", "hold", "fill", "migrate", "check", "remove")
    ]
    assert "21,928 rows, of Mautic 5.1.0" in told["steps"][3]["reason"]
    assert replace(PLAN, keep=True).steps[-1].verb == "keep"
    assert replace(PLAN, mautic="").steps[0].reason == ""

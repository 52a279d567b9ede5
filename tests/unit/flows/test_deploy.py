"""In which order a deploy does what, and what it does after each failure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tasks.core.environment import State
from tasks.core.environment_data import Data
from tasks.core.errors import HeldError, InputError, RefusedError, SuiteError, VanishedError
from tasks.core.points import Point
from tasks.flows.deploy import DeployResult, run_deploy
from tasks.flows.target import DeployPlan
from tests.support.fakes import (
    ME,
    NAMES,
    PLAN,
    RELEASE,
    REQUEST,
    FakeDeployer,
    a_console,
    a_record,
)

PLANNED = ["prepare", "lock", "plan"]
BEGUN = [*PLANNED, "begin"]
SMOKE = ["get /s/login", "get /style.css"]
BACK = ["diagnostics", "roll back"]
FAILURE = SuiteError("it broke", hint="mend it")


@dataclass(frozen=True)
class Bringer:
    """Notes what it is asked for, among the deployer's calls."""

    deployer: FakeDeployer

    def plant(self, plan: DeployPlan) -> None:
        self.deployer.note(f"plant {plan.data.choice}")

    def share(self, plan: DeployPlan) -> None:
        self.deployer.note(f"share uploads of {plan.data.choice}")

    def upload(self, plan: DeployPlan) -> None:
        self.deployer.note(f"upload of {plan.data.choice}")

    def fill(self, plan: DeployPlan) -> None:
        self.deployer.note(f"fill with {plan.data.choice}")


def deploy(
    deployer: FakeDeployer,
    root: Path,
    *,
    rollback: bool = False,
    secret: str = "",
    agreed: Callable[[DeployPlan], None] | None = None,
    data: str = "",
) -> tuple[DeployResult, str]:
    console, said = a_console()
    console.redactor.add(secret)
    request = replace(REQUEST, rollback=rollback, data=data)

    done = run_deploy(
        *(deployer, request),
        me=ME,
        console=console,
        root=root,
        beginning=Bringer(deployer),
        agreed=agreed,
    )
    return done, said.getvalue()


SEEDED = replace(PLAN, data=Data("seed:1", "from seed 1"))


def test_data_is_put_in_before_the_site_is_looked_at_and_only_once(tmp_path: Path) -> None:
    deployer = FakeDeployer(plan=SEEDED)
    deploy(deployer, tmp_path)
    filled = [*BEGUN, "apply", "fill with seed:1", *SMOKE, "finish", "unlock"]
    assert deployer.seen == filled
    deploy(deployer, tmp_path)
    assert deployer.seen[len(filled) :] == [*PLANNED, *SMOKE, "finish", "unlock"]


def test_a_filling_that_was_cut_off_is_done_anew(tmp_path: Path) -> None:
    cut_off = SuiteError("the connection broke off")
    deployer = FakeDeployer(plan=SEEDED, fails={"fill with seed:1": [cut_off]})
    with pytest.raises(SuiteError, match="was not deployed: the connection broke off"):
        deploy(deployer, tmp_path)
    assert "finish" not in deployer.seen
    deployer.fails.clear()
    deploy(deployer, tmp_path)
    assert deployer.seen.count("fill with seed:1") == 2


def test_what_the_migration_clones_is_loaded_before_and_not_put_in_once_more(
    tmp_path: Path,
) -> None:
    deployer = FakeDeployer(plan=replace(SEEDED, clones=True))
    deploy(deployer, tmp_path)
    upload = "upload of seed:1"
    planted = [*BEGUN, "plant seed:1", "apply", upload, *SMOKE, "finish", "unlock"]
    assert deployer.seen == planted
    deploy(deployer, tmp_path)
    assert deployer.seen[len(planted) :] == [*PLANNED, *SMOKE, "finish", "unlock"]


@pytest.mark.parametrize("clones", [False, True])
def test_shared_uploads_are_there_before_anything_mounts_them(tmp_path: Path, clones: bool) -> None:
    shared = replace(SEEDED, data=replace(SEEDED.data, shares=True), clones=clones)
    deployer = FakeDeployer(plan=shared)
    deploy(deployer, tmp_path)
    begun = [*BEGUN, "share uploads of seed:1"]
    assert deployer.seen[: len(begun)] == begun
    assert deployer.seen.index("apply") >= len(begun)
    deployer.seen.clear()
    deploy(deployer, tmp_path)
    assert deployer.seen == [*PLANNED, *SMOKE, "finish", "unlock"]


def test_a_choice_whose_seed_cannot_be_loaded_is_remembered_all_the_same(tmp_path: Path) -> None:
    cut_off = SuiteError("the connection broke off")
    deployer = FakeDeployer(plan=replace(SEEDED, clones=True), fails={"plant seed:1": [cut_off]})
    with pytest.raises(SuiteError, match="was not deployed: the connection broke off"):
        deploy(deployer, tmp_path)
    assert deployer.seen == [*BEGUN, "plant seed:1", *BACK, "unlock"]


def test_uploads_of_a_planted_seed_that_were_cut_off_come_with_the_next_deploy(
    tmp_path: Path,
) -> None:
    upload, cut_off = "upload of seed:1", SuiteError("the connection broke off")
    deployer = FakeDeployer(plan=replace(SEEDED, clones=True), fails={upload: [cut_off]})
    with pytest.raises(SuiteError, match="was not deployed: the connection broke off"):
        deploy(deployer, tmp_path)
    assert "finish" not in deployer.seen
    deployer.fails.clear()
    deploy(deployer, tmp_path)
    assert deployer.seen.count(upload) == 2


def test_a_first_deploy_is_remembered_after_its_site_has_answered(tmp_path: Path) -> None:
    deployer = FakeDeployer()
    done, said = deploy(deployer, tmp_path)
    assert deployer.seen == [*BEGUN, "apply", *SMOKE, "finish", "unlock"]
    assert (done.url, done.changed) == (NAMES.url, True)
    assert done.credentials
    assert "  create  service web" in said
    assert (tmp_path / "deploy.env").read_text().splitlines() == [
        "ENVIRONMENT_NAME=local",
        f"ENVIRONMENT_SLUG={NAMES.slug}",
        f"ENVIRONMENT_URL={NAMES.url}",
        f"ENVIRONMENT_NAMESPACE={NAMES.namespace}",
        "ENVIRONMENT_TAG=1a2b3c4d",
        f"ENVIRONMENT_COMMIT={RELEASE.commit}",
        "MAUTIC_IMAGE=m@sha256:1",
        "NGINX_IMAGE=n@sha256:1",
    ]
    phases = json.loads((tmp_path / "artifacts" / "timings.json").read_text())
    assert [each["phase"] for each in phases] == ["smoke test"]


def test_what_is_refused_while_it_is_planned_leaves_no_evidence_and_rolls_nothing_back(
    tmp_path: Path,
) -> None:
    deployer = FakeDeployer(fails={"plan": [InputError("the chart refuses its values")]})
    with pytest.raises(InputError, match="refuses its values") as caught:
        deploy(deployer, tmp_path)
    assert caught.value.exit_code == 2
    assert deployer.seen == [*PLANNED, "unlock"]
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_was_not_agreed_to_is_refused_under_the_lock_and_changes_nothing(
    tmp_path: Path,
) -> None:
    deployer = FakeDeployer()

    def agreed(plan: DeployPlan) -> None:
        deployer.note("ask whether it is agreed to")
        raise RefusedError("the plan no longer holds: commit")

    with pytest.raises(RefusedError, match="no longer holds"):
        deploy(deployer, tmp_path, agreed=agreed)
    assert deployer.seen == [*PLANNED, "ask whether it is agreed to", "unlock"]
    assert list(tmp_path.iterdir()) == []


def test_where_mails_are_shown_is_said_last(tmp_path: Path) -> None:
    deployer = FakeDeployer(plan=replace(PLAN, mail_url="https://x.example.com/_mail/"))
    _, said = deploy(deployer, tmp_path)
    assert said.endswith("mails are shown there and not sent: https://x.example.com/_mail/\n")
    assert "_mail" not in deploy(FakeDeployer(), tmp_path)[1]


def test_what_is_as_it_should_be_is_tested_and_not_touched(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=(), record=a_record(State.READY, RELEASE))
    deployer = FakeDeployer(plan=plan)
    done, said = deploy(deployer, tmp_path)
    assert deployer.seen == [*PLANNED, *SMOKE, "finish", "unlock"]
    assert (done.changed, done.credentials) == (False, None)
    assert "everything is as it should be" in said
    assert "keeps its data" not in said


def test_other_data_than_was_asked_for_is_told_where_nothing_else_is_done(tmp_path: Path) -> None:
    record = a_record(State.READY, RELEASE)
    plan = replace(PLAN, steps=(), record=record, data=Data("empty", ""))
    _, said = deploy(FakeDeployer(plan=plan), tmp_path, data="seed:1")
    assert "! deploy feature/x to local (1a2b3c4d), which keeps its data (empty)" in said


@pytest.mark.parametrize(
    ("fails", "back", "seen", "hint"),
    [
        (
            {"apply": [FAILURE]},
            None,
            ["apply", *BACK],
            "nothing was running before, so nothing was rolled back",
        ),
        (
            {"apply": [FAILURE]},
            "old",
            ["apply", *BACK, "migrations"],
            "rolled back to old, which is running again",
        ),
        (
            {"get /s/login": [FAILURE]},
            "old",
            ["apply", SMOKE[0], *BACK, "migrations"],
            "rolled back to old, which is running again",
        ),
        (
            {"apply": [FAILURE], "roll back": [SuiteError("that as well")]},
            None,
            ["apply", *BACK],
            "and the rollback failed, too: that as well",
        ),
        (
            {"apply": [FAILURE], "diagnostics": [SuiteError("no disk")]},
            "old",
            ["apply", *BACK, "migrations"],
            "rolled back to old, which is running again",
        ),
        (
            {"apply": [FAILURE], "migrations": [SuiteError("no answer")]},
            "old",
            ["apply", *BACK, "migrations"],
            "rolled back to old, which is running again",
        ),
    ],
    ids=[
        "nothing before",
        "something before",
        "the site does not answer",
        "the way back fails",
        "diagnostics cannot be saved",
        "migrations cannot be asked about",
    ],
)
def test_a_failure_is_followed_by_diagnostics_and_the_way_back(
    tmp_path: Path,
    fails: dict[str, list[SuiteError]],
    back: str | None,
    seen: list[str],
    hint: str,
) -> None:
    deployer = FakeDeployer(fails={key: [*errors] for key, errors in fails.items()}, back=back)
    with pytest.raises(SuiteError, match=r"^feature/x was not deployed: it broke") as caught:
        deploy(deployer, tmp_path)
    assert deployer.seen == [*BEGUN, *seen, "unlock"]
    (folder,) = (tmp_path / "artifacts" / NAMES.environment / NAMES.slug).iterdir()
    assert caught.value.hint == f"{hint}; evidence: {folder.relative_to(tmp_path)}"
    if "diagnostics" not in fails:
        assert (folder / "error.txt").read_text().startswith("it broke")
    assert (tmp_path / "artifacts" / "timings.json").exists()
    assert not (tmp_path / "deploy.env").exists()


def test_what_is_recorded_of_a_failure_is_one_line_without_secrets(tmp_path: Path) -> None:
    told = SuiteError("it broke:\n  password s3cret-word " + "x" * 400)
    deployer = FakeDeployer(fails={"apply": [told]})
    with pytest.raises(SuiteError):
        deploy(deployer, tmp_path, secret="s3cret-word")
    failure = deployer.failure
    assert failure
    assert (failure.tag, len(failure.cause)) == (RELEASE.tag, 300)
    assert re.match(r"it broke: password \S+ x+…$", failure.cause)
    assert "s3cret" not in failure.cause


def test_older_code_over_a_newer_schema_is_told(tmp_path: Path) -> None:
    newer = tuple(f"Version{number}" for number in range(7))
    deployer = FakeDeployer(fails={"apply": [FAILURE]}, back="old", known=(), recorded=newer)
    with pytest.raises(SuiteError) as caught:
        deploy(deployer, tmp_path)
    told = "7 migrations (Version2, Version3, Version4, Version5, Version6 and 2 more)"
    assert f"over a database with {told} that old does not know" in str(caught.value.hint)


BEFORE = replace(RELEASE, tag="old", mautic="m@sha256:0", migration="Version1")
STOOD = a_record(State.READY, BEFORE)
DEPLOYED = replace(RELEASE, deployed_at="2026-02-01T10:00:00+00:00")
POINT = Point("0", "2026-02-01T10:00:05Z", "7.0.0", "before 2 migrations", 9, 1000)
OURS = replace(POINT, release=DEPLOYED.tag, migration="Version1")


@pytest.mark.parametrize(
    ("point", "way"),
    [
        (OURS, "roll back to snapshot 0"),
        (replace(OURS, release=DEPLOYED.mautic), "roll back to snapshot 0"),
        (replace(OURS, release="", open=True), "roll back to snapshot 0"),
        (replace(OURS, taken_at="2026-02-01T09:59:59Z"), "roll back"),
        (replace(OURS, release=""), "roll back"),
        (replace(OURS, half=True), "roll back"),
    ],
    ids=["this deploy's", "by its image", "half way", "an earlier deploy's", "by hand", "half"],
)
def test_a_failed_deploy_goes_back_with_the_data_from_before_its_own_migrations(
    tmp_path: Path, point: Point, way: str
) -> None:
    plan = replace(PLAN, record=STOOD, release=DEPLOYED)
    deployer = FakeDeployer(plan=plan, fails={"apply": [FAILURE]}, back="old", points=[point])
    with pytest.raises(SuiteError) as caught:
        deploy(deployer, tmp_path)
    ways = ["diagnostics", "snapshots", way, "migrations"]
    assert deployer.seen == [*BEGUN, "apply", *ways, "unlock"]
    assert ("with its data: snapshot 0" in str(caught.value.hint)) == (way != "roll back")


def test_where_snapshots_cannot_be_read_the_way_back_says_that_the_data_stays(
    tmp_path: Path,
) -> None:
    fails = {"apply": [FAILURE], "snapshots": [SuiteError("no answer")]}
    deployer = FakeDeployer(plan=replace(PLAN, record=STOOD), fails=fails, back="old")
    console, said = a_console()
    with pytest.raises(SuiteError, match="was not deployed"):
        run_deploy(
            *(deployer, REQUEST),
            me=ME,
            console=console,
            root=tmp_path,
            beginning=Bringer(deployer),
        )
    assert "roll back" in deployer.seen
    assert "the data stays as it is: its snapshots cannot be read (no answer)" in said.getvalue()


def test_what_a_release_knows_is_asked_once_and_recorded(tmp_path: Path) -> None:
    plan = replace(PLAN, release=replace(RELEASE, migration=""))
    deployer = FakeDeployer(plan=plan, known=("Version1", "Version2"))
    deploy(deployer, tmp_path)
    assert deployer.seen.index("migrations") < deployer.seen.index("finish")
    assert deployer.plan.record
    assert deployer.plan.record.current
    assert deployer.plan.record.current.migration == "Version2"
    deployer.seen.clear()
    deploy(deployer, tmp_path)
    assert "migrations" not in deployer.seen


@pytest.mark.parametrize(
    ("fails", "seen"),
    [
        ({"prepare": [SuiteError("no engine")]}, ["prepare"]),
        ({"lock": [HeldError("held")]}, ["prepare", "lock"]),
        ({"plan": [SuiteError("no images")]}, [*PLANNED, "unlock"]),
        ({"apply": [RefusedError("theirs")]}, [*BEGUN, "apply", "unlock"]),
        ({"finish": [SuiteError("gone")]}, [*BEGUN, "apply", *SMOKE, "finish", "unlock"]),
    ],
)
def test_where_nothing_was_changed_or_all_has_come_there_is_no_way_back(
    tmp_path: Path, fails: dict[str, list[SuiteError]], seen: list[str]
) -> None:
    deployer = FakeDeployer(fails=fails)
    with pytest.raises(SuiteError):
        deploy(deployer, tmp_path)
    assert deployer.seen == seen
    assert not (tmp_path / "artifacts").exists()


def test_what_was_removed_while_a_deploy_waited_is_made_afresh(tmp_path: Path) -> None:
    deployer = FakeDeployer(fails={"lock": [VanishedError("it was removed meanwhile")]})
    _, said = deploy(deployer, tmp_path)
    assert deployer.seen[:4] == ["prepare", "lock", "prepare", "lock"]
    assert deployer.seen[-1] == "unlock"
    assert "it was removed meanwhile: deploying afresh" in said


def test_a_rollback_makes_nothing_afresh(tmp_path: Path) -> None:
    deployer = FakeDeployer(fails={"lock": [VanishedError("it was removed meanwhile")]})
    with pytest.raises(VanishedError):
        deploy(deployer, tmp_path, rollback=True)
    assert deployer.seen == ["prepare", "lock"]


def test_a_second_deploy_only_asks_the_site(tmp_path: Path) -> None:
    deployer = FakeDeployer()
    deploy(deployer, tmp_path)
    deployer.seen.clear()
    done, _ = deploy(deployer, tmp_path)
    assert deployer.seen == [*PLANNED, *SMOKE, "finish", "unlock"]
    assert (done.changed, done.credentials) == (False, None)


WHOLE = [*BEGUN, "apply", *SMOKE, "finish", "unlock"]


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        ("prepare", ["prepare"]),
        ("lock", ["prepare", "lock"]),
        ("plan", [*PLANNED, "unlock"]),
        ("begin", [*BEGUN, "unlock"]),
        ("apply", [*BEGUN, "apply", "unlock"]),
        ("get /s/login", [*BEGUN, "apply", SMOKE[0], "unlock"]),
        ("get /style.css", [*BEGUN, "apply", *SMOKE, "unlock"]),
        ("finish", WHOLE),
    ],
)
def test_an_interrupted_deploy_lets_go_and_the_next_one_finishes_it(
    tmp_path: Path, where: str, seen: list[str]
) -> None:
    """There is no way back: whoever pressed Ctrl-C may want to look, and runs the same again."""
    deployer = FakeDeployer(fails={where: [KeyboardInterrupt()]}, back="old")
    with pytest.raises(KeyboardInterrupt):
        deploy(deployer, tmp_path)
    assert deployer.seen == seen
    assert list(tmp_path.iterdir()) == []
    deployer.seen.clear()
    done, _ = deploy(deployer, tmp_path)
    assert deployer.seen == WHOLE
    assert done.credentials


@pytest.mark.parametrize("where", [*BACK, "migrations"])
def test_an_interruption_after_a_failure_lets_go_as_well(tmp_path: Path, where: str) -> None:
    fails = {"apply": [FAILURE], where: [KeyboardInterrupt()]}
    deployer = FakeDeployer(fails=fails, back="old")
    with pytest.raises(KeyboardInterrupt):
        deploy(deployer, tmp_path)
    after = [*BACK, "migrations"]
    done = after[: after.index(where) + 1]
    assert deployer.seen == [*BEGUN, "apply", *done, "unlock"]
    assert not (tmp_path / "deploy.env").exists()

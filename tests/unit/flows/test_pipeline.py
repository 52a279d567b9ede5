"""GitLab's pipeline: what each event runs by the file's own rules, and what a job finds."""

from __future__ import annotations

import json
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.adapters.gitlab import is_job, prepared_job
from tasks.adapters.identity import this_run
from tasks.core.config_sources import Level, merge, origin
from tasks.core.errors import InputError, SettingsError
from tasks.core.gitlab_pipeline import (
    EVENTS,
    Pipeline,
    PipelineJob,
    event_variables,
    expand,
    holds,
    ref_slug,
)
from tasks.core.names import names
from tasks.core.redact import MASK, Redactor
from tasks.core.settings import LOCAL, Settings, choose_environment, parse
from tasks.core.stack_outputs import defaults
from tasks.flows.pipeline import (
    LOCAL_FILE,
    check_jobs,
    explain,
    local_argv,
    local_settings,
    read_pipeline,
    socket_of,
)
from tests.support.inprocess import InProcess
from tests.support.suite import ROOT
from tests.unit.test_cli import ARGUMENTS, TASKS

DOCUMENT = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
FILE = Pipeline(DOCUMENT)
OWN = yaml.safe_load((ROOT / "invoke.yaml").read_text())
BRANCH = "Feature/Some_Thing"
ODD = ["we'ird/$HOME-`id`", 'quo"te', "über/中文", "a&b;c|d", "x" * 200, "-dash/ok"]
"""Branches that git accepts and a shell would trip over."""


def settings() -> Settings:
    levels = [defaults(OWN), Level("invoke.yaml", OWN)]
    return parse(merge(levels), lambda path: origin(levels, path))


def on(event: str, branch: str = BRANCH, *, tag: str = "", **more: str) -> dict[str, PipelineJob]:
    """Return the jobs of an event by name; further arguments are the project's variables."""
    found = FILE.jobs({**more, **event_variables(event, branch, default_branch="main", tag=tag)})
    return {one.name: one for one in found}


def commands(jobs: Mapping[str, PipelineJob]) -> dict[str, tuple[str, ...]]:
    return {name: one.commands for name, one in jobs.items()}


# -- which jobs there are, and what they run ------------------------------------------------------

CHECKS = {
    "lint": ("./inv test --only lint --only types",),
    "unit": ("./inv test --only unit",),
}
OF_A_BRANCH = {
    **CHECKS,
    "dev-build": (f"inv build --env dev --branch {BRANCH}",),
    "dev-deploy": (f"inv deploy --env dev --no-build --branch {BRANCH}",),
    "cleanup": (f"inv cleanup --env dev --branch {BRANCH}",),
}
OF_MAIN = {
    **CHECKS,
    "prod-build": ("inv build --env prod --branch main",),
    "ci-image": ("inv ci.image --latest",),
    "prod-scan": ("inv scan --env prod --branch main",),
    "prod-deploy": ("inv deploy --env prod --no-build --branch main",),
}


@pytest.mark.parametrize(
    ("event", "branch", "tag", "expected"),
    [
        ("push", BRANCH, "", OF_A_BRANCH),
        ("merge_request", BRANCH, "", OF_A_BRANCH),
        ("push", "main", "", OF_MAIN),
        ("tag", "main", "v1.0", CHECKS),
        ("schedule", "main", "", {"gc": ("inv gc --env dev --yes --all",)}),
    ],
)
def test_what_an_event_runs(
    event: str, branch: str, tag: str, expected: Mapping[str, tuple[str, ...]]
) -> None:
    assert commands(on(event, branch, tag=tag)) == expected


def test_a_deleted_branch_runs_the_stop_job_alone_and_by_the_full_name() -> None:
    (stop,) = explain(FILE, "stop", BRANCH, default_branch="main")
    assert stop.name == "cleanup"
    assert stop.here == (f"./inv cleanup --env dev --branch {BRANCH}",)
    assert stop.environment == on("push")["dev-deploy"].environment
    assert stop.action == "stop"
    assert stop.variables["GIT_STRATEGY"] == "none"


def test_a_branch_with_a_merge_request_has_one_pipeline_not_two() -> None:
    opened = {"CI_OPEN_MERGE_REQUESTS": "group/project!7"}
    assert on("push", **opened) == {}
    assert commands(on("merge_request", **opened)) == OF_A_BRANCH
    assert list(on("schedule", "main", **opened)) == ["gc"]


def test_a_merge_request_of_a_fork_is_checked_and_nothing_else() -> None:
    event = event_variables("merge_request", BRANCH, default_branch="main")
    found = FILE.jobs({**event, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"})
    assert {one.name for one in found} == set(CHECKS)


@pytest.mark.parametrize(
    ("variable", "branch", "gone"),
    [
        ("DEV_BUILD_DISABLED", BRANCH, {"dev-build"}),
        ("DEV_RELEASE_DISABLED", BRANCH, {"dev-deploy", "cleanup"}),
        ("PROD_BUILD_DISABLED", "main", {"prod-build"}),
        ("PROD_RELEASE_DISABLED", "main", {"prod-scan", "prod-deploy"}),
        ("PROD_SCAN_DISABLED", "main", {"prod-scan"}),
        ("CHECKS_DISABLED", BRANCH, {"lint", "unit"}),
        ("CI_IMAGE_DISABLED", "main", {"ci-image"}),
    ],
)
def test_a_switch_takes_its_jobs_away(variable: str, branch: str, gone: set[str]) -> None:
    whole, rest = on("push", branch), on("push", branch, **{variable: "true"})
    assert set(whole) - set(rest) == gone
    # What is left needs nothing that is gone.
    for one in rest.values():
        hard = [
            need if isinstance(need, str) else need["job"]
            for need in FILE.definitions[one.name].get("needs", [])
            if isinstance(need, str) or not need.get("optional")
        ]
        assert set(hard) <= set(rest)


def test_only_branches_of_the_pattern_get_an_environment() -> None:
    wanted = {"DEV_BRANCHES": "/^(dev|release-)/"}
    assert "dev-deploy" in on("push", "release-7", **wanted)
    assert set(on("push", "other", **wanted)) == set(CHECKS)


def test_stacks_add_infrastructure_by_hand_and_drift_by_schedule() -> None:
    stacks = {"DEV_STACK": "dev", "PROD_STACK": "prod"}
    by_hand = {name: one for name, one in on("push", "main", **stacks).items() if "infra" in name}
    assert commands(by_hand) == {
        f"{stack}-infra-{verb}": (f"inv infra.{verb} --stack {stack}",)
        for stack in ("dev", "prod")
        for verb in ("plan", "apply")
    }
    assert {one.when for one in by_hand.values()} == {"manual"}
    assert all(one.allow_failure is True for one in by_hand.values())
    assert by_hand["prod-infra-apply"].needs == ("prod-infra-plan",)
    assert not [name for name in on("push", **stacks) if "infra" in name]
    nightly = commands(on("schedule", "main", **stacks))
    assert nightly["dev-drift"] == ("inv infra.drift --stack dev",)
    assert nightly["prod-drift"] == ("inv infra.drift --stack prod",)
    assert "gc" not in on("schedule", "main", GC_DISABLED="1", **stacks)


def test_tests_that_look_at_containers_wait_for_a_runner_that_can() -> None:
    jobs = on("push", ENGINE_RUNNER_TAG="docker-host")
    assert jobs["tests"].commands == ("./inv test --only integration --only e2e",)


# -- the same for every job -----------------------------------------------------------------------


def every_job() -> dict[str, PipelineJob]:
    more = {"DEV_STACK": "dev", "PROD_STACK": "prod", "ENGINE_RUNNER_TAG": "host"}
    found: dict[str, PipelineJob] = {}
    for branch in (BRANCH, "main"):
        for event, what in (("push", ""), ("schedule", "rebuild"), ("schedule", "sleep")):
            found |= on(event, branch, SCHEDULE=what, **more)
    return found


def test_no_job_of_the_file_is_out_of_reach_of_these_tests() -> None:
    assert set(every_job()) == set(FILE.definitions)


@pytest.mark.parametrize("name", sorted(FILE.definitions))
def test_every_script_is_one_line_of_the_suite_that_exists(name: str) -> None:
    (line,) = every_job()[name].commands
    program, task, *options = shlex.split(line)
    assert program in {"inv", "./inv"}
    assert "before_script" not in FILE.definitions[name]
    assert "after_script" not in FILE.definitions[name]
    assert task in TASKS
    flags = {f"--{one.replace('_', '-')}" for item in ARGUMENTS[task] for one in item.names}
    assert {word for word in options if word.startswith("--")} <= flags


@pytest.mark.parametrize("name", sorted(FILE.definitions))
def test_only_a_runners_failure_is_tried_again(name: str) -> None:
    retry = FILE.definitions[name]["retry"]
    assert set(retry["when"]) == {"api_failure", "runner_system_failure", "scheduler_failure"}


@pytest.mark.parametrize("name", sorted(FILE.definitions))
def test_what_changes_an_environment_is_never_cut_off_half_way(name: str) -> None:
    changes = re.search(r"deploy|cleanup|infra|drift|gc|sleep", name) is not None
    assert every_job()[name].interruptible is not changes


def test_one_job_at_a_time_changes_an_environment() -> None:
    jobs = every_job()
    assert jobs["dev-deploy"].resource_group == jobs["cleanup"].resource_group
    assert jobs["dev-deploy"].resource_group != on("push", "other")["dev-deploy"].resource_group
    for name, one in jobs.items():
        if one.environment or "infra" in name:
            assert one.resource_group, name


def test_deploys_start_as_soon_as_their_images_are_there() -> None:
    jobs = every_job()
    assert jobs["dev-build"].needs == ()
    assert jobs["dev-deploy"].needs == ("dev-build",)
    # What goes to production has passed the checks, and the scan of its images.
    assert set(jobs["prod-deploy"].needs) == {"prod-build", "prod-scan", "lint", "unit"}
    assert jobs["prod-scan"].needs == ("prod-build",)


def test_a_deploy_that_gave_way_to_a_newer_one_is_no_failure() -> None:
    for name in ("dev-deploy", "prod-deploy"):
        assert every_job()[name].allow_failure == (4,)


def test_a_deploy_keeps_its_evidence_and_tells_its_url() -> None:
    for name in ("dev-deploy", "prod-deploy"):
        artifacts = FILE.definitions[name]["artifacts"]
        assert artifacts["when"] == "always"
        assert artifacts["paths"] == ["artifacts/"]
        assert artifacts["reports"]["dotenv"] == "deploy.env"
        assert FILE.definitions[name]["environment"]["url"] == "$ENVIRONMENT_URL"
    assert FILE.definitions["dev-build"]["artifacts"]["paths"] == ["build.json"]


def test_a_saved_plan_is_for_the_job_that_applies_it_alone() -> None:
    for stack in ("dev", "prod"):
        assert FILE.definitions[f"{stack}-infra-plan"]["artifacts"]["access"] == "none"


def readable_by_developers(pipeline: Pipeline) -> list[str]:
    """Return the trusted jobs whose artifacts are for more people than maintainers."""
    return sorted(
        name
        for name, definition in pipeline.definitions.items()
        if is_trusted(definition)
        and "artifacts" in definition
        and definition["artifacts"].get("access") not in {"maintainer", "none"}
    )


def test_what_production_keeps_is_for_maintainers() -> None:
    """The attack: a Developer downloads the logs that a failed deploy of production has left."""
    kept = {
        name for name, one in FILE.definitions.items() if is_trusted(one) and "artifacts" in one
    }
    plans = {"dev-infra-plan", "prod-infra-plan"}
    assert kept == {"prod-build", "prod-deploy", "prod-rebuild", *plans}
    assert readable_by_developers(FILE) == []
    for access in ("developer", "all"):
        changed = {**DOCUMENT, ".for-maintainers": {"artifacts": {"access": access}}}
        assert readable_by_developers(Pipeline(changed)) == sorted(kept - plans)


def test_the_deploy_gets_what_the_build_has_kept() -> None:
    for env in ("dev", "prod"):
        assert FILE.definitions[f"{env}-build"]["artifacts"]["paths"] == ["build.json"]
        (needed,) = (
            need
            for need in FILE.definitions[f"{env}-deploy"]["needs"]
            if need["job"] == f"{env}-build"
        )
        assert needed.get("artifacts", True)
    assert FILE.definitions["dev-deploy"]["artifacts"]["access"] == "developer"


def test_the_stop_job_exists_whenever_the_deploy_does() -> None:
    deploy, stop = (FILE.definitions[name]["rules"] for name in ("dev-deploy", "cleanup"))
    assert [rule["if"] for rule in deploy] == [rule["if"] for rule in stop]
    assert FILE.definitions["dev-deploy"]["environment"]["on_stop"] == "cleanup"
    manual = every_job()["cleanup"]
    assert (manual.when, manual.allow_failure) == ("manual", True)


def test_gitlab_stops_an_environment_when_the_suite_would() -> None:
    amount, unit = FILE.definitions["dev-deploy"]["environment"]["auto_stop_in"].split()
    assert f"{amount}{unit[0]}" == OWN["environments"]["dev"]["ttl"]


def is_trusted(definition: Mapping[str, Any]) -> bool:
    """Return True if a job has a role that branches have not, or makes what such jobs run."""
    role = definition.get("variables", {}).get("AWS_ROLE_ARN", "$DEV_AWS_ROLE_ARN")
    return role != "$DEV_AWS_ROLE_ARN" or "ci.image" in " ".join(definition["script"])


def mutable_images(pipeline: Pipeline) -> list[str]:
    """Return the trusted jobs whose image somebody else than a maintainer may replace."""

    def is_pinned(definition: Mapping[str, Any]) -> bool:
        found = re.fullmatch(r"\$\w+@\$(\w+)", str(definition["image"]))
        # A digest that is not in the file is the project's protected variable, or there is none.
        written = {*DOCUMENT["variables"], *definition.get("variables", {})}
        return found is not None and found[1] not in written

    return sorted(
        name
        for name, definition in pipeline.definitions.items()
        if is_trusted(definition) and not is_pinned(definition)
    )


def test_no_job_with_a_role_of_its_own_runs_an_image_that_may_be_replaced() -> None:
    """The attack: a Developer pushes another image as the one that production's jobs run in."""
    trusted = {name for name, one in FILE.definitions.items() if is_trusted(one)}
    assert trusted == {
        *("prod-build", "prod-scan", "prod-deploy", "prod-rebuild"),
        *("ci-image", "dev-drift", "prod-drift"),
        *(f"{stack}-infra-{verb}" for stack in ("dev", "prod") for verb in ("plan", "apply")),
    }
    assert mutable_images(FILE) == []
    by_tag = "$CI_PROTECTED_IMAGE:$CI_PROTECTED_DIGEST"
    for image in ("$CI_IMAGE", "r.example.org/ci:latest", by_tag):
        changed = {**DOCUMENT, ".protected": {"image": image}}
        mutable = ["ci-image", "prod-build", "prod-deploy", "prod-rebuild", "prod-scan"]
        assert mutable_images(Pipeline(changed)) == mutable


def test_jobs_with_a_role_of_their_own_run_where_no_branch_does() -> None:
    for name, definition in FILE.definitions.items():
        tags = definition.get("tags", [])
        assert (tags == ["$PROTECTED_RUNNER_TAG"]) is is_trusted(definition), name


def test_a_schedule_of_its_own_builds_productions_images_anew() -> None:
    assert set(on("schedule", "main", SCHEDULE="rebuild")) == {"gc", "prod-rebuild"}
    rebuilt = on("schedule", "main", SCHEDULE="rebuild")["prod-rebuild"]
    assert rebuilt.commands == ("inv build --env prod --branch main --if-changed",)
    assert set(on("schedule", BRANCH, SCHEDULE="rebuild")) == {"gc"}


def test_a_schedule_of_its_own_puts_to_sleep_and_does_nothing_else() -> None:
    stacks = {"DEV_STACK": "dev", "PROD_STACK": "prod"}
    jobs = commands(on("schedule", "main", SCHEDULE="sleep", **stacks))
    assert jobs == {"dev-sleep": ("inv gc --env dev --sleep --yes",)}


def test_a_schedule_on_another_branch_gets_no_role_of_the_infrastructure() -> None:
    """The attack: a Developer's own schedule, on a branch of theirs."""
    stacks = {"DEV_STACK": "dev", "PROD_STACK": "prod"}
    assert set(on("schedule", BRANCH, **stacks)) == {"gc"}


def test_every_stack_has_a_role_of_its_own() -> None:
    for stack in ("dev", "prod"):
        for name in (f"{stack}-infra-plan", f"{stack}-infra-apply", f"{stack}-drift"):
            role = FILE.definitions[name]["variables"]["AWS_ROLE_ARN"]
            assert role == f"${stack.upper()}_INFRA_AWS_ROLE_ARN"


def test_what_checks_leave_behind_does_not_get_into_production() -> None:
    needs = FILE.definitions["prod-deploy"]["needs"]
    assert [one["job"] for one in needs if one.get("artifacts", True)] == ["prod-build"]


def test_jobs_reach_aws_by_a_signed_token_and_a_role_of_their_ref() -> None:
    roles = {
        name: every_job()[name].variables["AWS_ROLE_ARN"] for name in ("dev-deploy", "prod-deploy")
    }
    assert set(roles.values()) == {""}  # set nowhere but in the project
    given = {"DEV_AWS_ROLE_ARN": "arn:aws:iam::1:role/b", "PROD_AWS_ROLE_ARN": "arn:aws:iam::1:r/m"}
    assert on("push", **given)["dev-build"].variables["AWS_ROLE_ARN"] == given["DEV_AWS_ROLE_ARN"]
    main = on("push", "main", **given)
    assert main["prod-deploy"].variables["AWS_ROLE_ARN"] == given["PROD_AWS_ROLE_ARN"]
    for name, definition in FILE.definitions.items():
        if "AWS_ROLE_ARN" in definition.get("variables", {}):
            assert definition["id_tokens"]["AWS_ID_TOKEN"] == {"aud": "$CI_SERVER_URL"}, name


def test_only_jobs_of_a_cluster_have_a_token_for_it_and_it_is_no_other_s() -> None:
    tokens = {name: one.get("id_tokens", {}) for name, one in FILE.definitions.items()}
    with_one = {name for name, given in tokens.items() if "KUBE_ID_TOKEN" in given}
    assert with_one == {"dev-deploy", "prod-deploy", "cleanup", "gc", "dev-sleep"}
    for name, given in tokens.items():
        assert given.keys() <= {"AWS_ID_TOKEN", "KUBE_ID_TOKEN"}, name
        if name in with_one:
            assert given["KUBE_ID_TOKEN"] == {"aud": "$KUBE_ID_AUDIENCE"}


# -- where an environment lives -------------------------------------------------------------------


@pytest.mark.parametrize("branch", [BRANCH, "main", "release-7", *ODD])
def test_the_file_and_the_suite_choose_the_same_environment(branch: str) -> None:
    jobs = on("push", branch)
    (name,) = {"prod-deploy", "dev-deploy"} & set(jobs)
    words = shlex.split(jobs[name].commands[0])
    chosen = choose_environment(settings(), None, branch=branch, ci=True)
    assert words[words.index("--env") + 1] == chosen


@pytest.mark.parametrize("branch", [BRANCH, *ODD])
def test_a_branch_of_any_name_reaches_the_suite_unchanged(branch: str) -> None:
    jobs = on("push", branch)
    for name in ("dev-build", "dev-deploy", "cleanup"):
        words = shlex.split(jobs[name].commands[0])
        assert words[words.index("--branch") + 1 :] == [branch]


def test_gitlabs_slug_may_be_two_branches_and_never_says_where_one_lives() -> None:
    assert ref_slug("a_b") == ref_slug("a/b") == "a-b"
    assert len(ref_slug("x" * 200)) == 63
    jobs = [on("push", branch)["cleanup"] for branch in ("a_b", "a/b")]
    assert jobs[0].environment == jobs[1].environment
    assert jobs[0].commands != jobs[1].commands
    ours = {
        names(
            branch,
            environment="dev",
            project="m",
            namespace="{slug}",
            host="{slug}.x",
            origin="https://{host}",
            environments=[],
            namespaces=[],
        ).slug
        for branch in ("a_b", "a/b")
    }
    assert len(ours) == 2


# -- GitLab's rules -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$SET", True),
        ("$EMPTY", False),
        ("$MISSING", False),
        ("$MISSING == null", True),
        ("$EMPTY == null", False),
        ('$EMPTY == ""', True),
        ('$SET == "yes"', True),
        ("$SET != 'yes'", False),
        ("$SET == $SAME", True),
        ("$SET =~ /^y/", True),
        ("$SET =~ /^Y/", False),
        ("$SET =~ /^Y/i", True),
        ("$SET !~ /no/", True),
        (r"$PATH_LIKE =~ /^a\/b$/", True),
        ("$SET =~ $PATTERN", True),
        ("$SET =~ $LONGER", True),
        ("$LONGER =~ $SET", False),
        ("$MISSING =~ /x/", False),
        ("$MISSING && $SET || $SET", True),
        ("$SET || $MISSING && $MISSING", True),
        ("($SET || $SET) && $MISSING", False),
        ('$SET == "yes" && ($MISSING == null || $EMPTY)', True),
    ],
)
def test_expressions(expression: str, expected: bool) -> None:
    variables = {
        **{"SET": "yes", "SAME": "yes", "EMPTY": "", "PATTERN": "/^y.s$/", "LONGER": "yes!"},
        "PATH_LIKE": "a/b",
    }
    assert holds(expression, variables) is expected


@pytest.mark.parametrize("expression", ["", "$A ==", "$A $B", "($A", "!$A", "a == b", "&& $A"])
def test_an_expression_that_cannot_be_read_is_no_guess(expression: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        holds(expression, {"A": "1"})


def one_job(**job: Any) -> Pipeline:
    return Pipeline({"stages": ["test"], "x": {"stage": "test", "script": "inv x", **job}})


def test_a_keyword_that_is_not_known_is_no_guess() -> None:
    with pytest.raises(InputError, match="'changes'"):
        one_job(rules=[{"changes": ["docs/*"]}]).jobs({})


def test_extends_joins_mappings_and_replaces_lists() -> None:
    document = {
        "stages": ["test"],
        "default": {"image": "d", "retry": 1},
        ".a": {"variables": {"A": "1", "B": "1"}, "needs": ["y"], "image": "a"},
        ".b": {"extends": ".a", "variables": {"B": "2"}},
        "x": {"extends": [".a", ".b"], "stage": "test", "script": ["inv $A $B"], "needs": []},
    }
    made = Pipeline(document)
    (found,) = made.jobs({})
    assert found.commands == ("inv 1 2",)
    assert found.needs == ()
    assert made.definitions["x"]["image"] == "a"
    assert made.definitions["x"]["retry"] == 1


def test_extending_nothing_is_bad_input() -> None:
    with pytest.raises(InputError, match="no such job"):
        one_job(extends=".gone")


def test_the_projects_variables_beat_those_of_the_file() -> None:
    made = one_job(variables={"A": "file"}, script="inv $A")
    assert made.jobs({"A": "project"})[0].commands == ("inv project",)


def test_variables_are_filled_in_as_deep_as_they_are_written() -> None:
    assert expand("$A-${A}-$$A-$NONE", {"A": "$B", "B": "b"}) == "b-b-$A-"


# -- inv ci.explain, inv ci.local -----------------------------------------------------------------


def test_explain_shows_jobs_environments_and_lines(inv: InProcess) -> None:
    done = inv("ci.explain", "--branch", BRANCH)
    assert done.returncode == 0, done.stderr
    assert re.search(
        rf"^dev-deploy +on_success +review/feature-some-thing +"
        rf"\./inv deploy --env dev --no-build --branch {BRANCH}$",
        done.stdout,
        re.M,
    )
    as_json = inv("ci.explain", "--branch", "main", "--format", "json")
    assert {job["job"] for job in json.loads(as_json.stdout)} == set(OF_MAIN)


@pytest.mark.parametrize(
    "options",
    [
        ("--event", "nonsense"),
        ("--event", "tag"),
        ("--tag", "v1"),
        ("--variable", "NOVALUE"),
    ],
)
def test_explain_refuses_what_it_cannot_answer(options: tuple[str, ...], inv: InProcess) -> None:
    done = inv("ci.explain", "--branch", "x", *options)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_can_be_explained(event: str, inv: InProcess) -> None:
    tag = ("--tag", "v1") if event == "tag" else ()
    assert inv("ci.explain", "--branch", "main", "--event", event, *tag).returncode == 0


def test_a_job_that_is_not_there_is_named(inv: InProcess) -> None:
    done = inv("ci.local", "--job", "dev-deplyo")
    assert done.returncode == 2
    assert "did you mean 'dev-deploy'" in done.stderr
    check_jobs(FILE, ["dev-deploy"])


def test_a_pipeline_tried_out_here_reaches_no_cluster() -> None:
    own = settings()
    home = local_settings(own)
    local = own.environments[LOCAL]
    assert home.environments[LOCAL] == local
    for name in ("dev", "prod"):
        there = home.environments[name]
        assert there.target == "compose"
        assert there.registry.url == f"{local.registry.url}/{name}"
        assert there.host == local.host
        assert there.protected is own.environments[name].protected
        assert there.tags == own.environments[name].tags
        assert (there.scan_severity, there.signing_key) == ("none", None)
    # Written to a file and laid over invoke.yaml it means the same.
    levels = [Level("invoke.yaml", OWN), Level("home", json.loads(home.model_dump_json()))]
    assert parse(merge(levels), lambda path: origin(levels, path)) == home


def test_the_jobs_get_this_machines_engine_and_the_settings() -> None:
    argv = local_argv(
        "gcl", image="r/ci@sha256:1", settings=Path("/t/s.json"), jobs=["a"], socket="/x.sock"
    )
    assert argv[:3] == ["gcl", "--file", LOCAL_FILE]
    assert "/x.sock:/var/run/docker.sock" in argv
    assert "CI_IMAGE=r/ci@sha256:1" in argv
    for name in ("PROTECTED", "INFRA"):
        assert {f"CI_{name}_IMAGE=r/ci", f"CI_{name}_DIGEST=sha256:1"} <= set(argv)
    assert "INVOKE_RUNTIME_CONFIG=/tmp/s.json" in argv
    assert argv[-1] == "a"


def test_the_engine_must_be_on_this_machine() -> None:
    assert socket_of("") == "/var/run/docker.sock"
    assert socket_of("unix:///run/user/1/docker.sock") == "/run/user/1/docker.sock"
    with pytest.raises(InputError, match="tcp://elsewhere"):
        socket_of("tcp://elsewhere:2376")


def test_no_pipeline_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.gitlab-ci\.yml"):
        read_pipeline(tmp_path)
    (tmp_path / ".gitlab-ci.yml").write_text("a: [")
    with pytest.raises(InputError, match="cannot be read"):
        read_pipeline(tmp_path)


# -- inside a job ---------------------------------------------------------------------------------


def test_a_job_says_first_how_to_do_the_same_elsewhere(inv: InProcess) -> None:
    env = {"CI": "true", "CI_JOB_ID": "1", "CI_COMMIT_SHORT_SHA": "1a2b3c4d"}
    done = inv("names", "--branch", "we'ird x"[:6], "--env", "local", env=env)
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    assert first == (
        "the same on your machine: ./inv names --branch 'we'\"'\"'ird' --env local  (at 1a2b3c4d)"
    )
    assert "the same" not in inv("names", "--branch", "x").stderr


def test_a_jobs_credentials_are_private_files_while_it_runs() -> None:
    given = {
        **{"CI": "true", "CI_JOB_ID": "1", "AWS_ID_TOKEN": "header.payload.signature"},
        **{"AWS_ROLE_ARN": "arn:aws:iam::1:role/dev", "CI_REGISTRY": "registry.example.org"},
        **{"CI_REGISTRY_USER": "gitlab-ci-token", "CI_REGISTRY_PASSWORD": "s3cret-of-registry"},
        "DOCKER_AUTH_CONFIG": '{"auths": {"other.example.org": {"auth": "eDp5"}}}',
    }
    environ, redactor, said = dict(given), Redactor(), []
    with prepared_job(["build"], say=said.append, redactor=redactor, environ=environ):
        assert "AWS_ID_TOKEN" not in environ
        assert environ["AWS_ROLE_SESSION_NAME"] == "gitlab-job-1"
        token = Path(environ["AWS_WEB_IDENTITY_TOKEN_FILE"])
        config = Path(environ["DOCKER_CONFIG"]) / "config.json"
        assert token.read_text() == given["AWS_ID_TOKEN"]
        auths = json.loads(config.read_text())["auths"]
        assert set(auths) == {"registry.example.org", "other.example.org"}
        for path in (token, config):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert environ == given
    assert not token.exists()
    assert not config.exists()
    assert redactor("header.payload.signature s3cret-of-registry") == f"{MASK} {MASK}"
    assert not any("s3cret" in text for text in said)


@pytest.mark.parametrize("text", ["s3cret{", "[]", '{"auths": ["s3cret"]}'])
def test_a_jobs_logins_that_are_no_docker_configuration_are_told(text: str) -> None:
    environ = {
        **{"CI": "true", "CI_JOB_ID": "1", "CI_REGISTRY": "registry.example.org"},
        **{"CI_REGISTRY_PASSWORD": "password", "DOCKER_AUTH_CONFIG": text},
    }
    with (
        pytest.raises(SettingsError, match="DOCKER_AUTH_CONFIG") as caught,
        prepared_job([], say=lambda _: None, redactor=Redactor(), environ=environ),
    ):
        pytest.fail("the job began")
    assert "docs/gitlab.md" in (caught.value.hint or "")
    assert "s3cret" not in "\n".join(caught.value.lines())


def test_whoever_waits_for_a_job_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://gitlab.example.org/g/p/-/jobs/7"
    monkeypatch.setenv("CI_JOB_URL", url)
    assert url in str(this_run("deploy"))


@pytest.mark.parametrize("role", ["", "$DEV_AWS_ROLE_ARN"])
def test_a_role_that_the_project_does_not_set_is_none(role: str) -> None:
    environ = {"CI": "true", "CI_JOB_ID": "1", "AWS_ROLE_ARN": role, "AWS_ID_TOKEN": "a.b.c"}
    with prepared_job([], say=lambda _: None, redactor=Redactor(), environ=environ):
        assert "AWS_ROLE_ARN" not in environ
        assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in environ


def test_outside_a_job_nothing_is_touched() -> None:
    environ = {"CI": "true", "CI_REGISTRY": "r", "CI_REGISTRY_PASSWORD": "password"}
    assert not is_job(environ)
    said: list[str] = []
    with prepared_job(["x"], say=said.append, redactor=Redactor(), environ=environ):
        assert environ.keys() == {"CI", "CI_REGISTRY", "CI_REGISTRY_PASSWORD"}
    assert said == []


def test_no_secret_of_a_job_is_shown_however_much_is_traced(inv: InProcess) -> None:
    hidden = {
        **{"CI_REGISTRY_PASSWORD": "registry-pass-1", "CI_JOB_TOKEN": "job-token-2"},
        **{
            "AWS_ID_TOKEN": "aws.id.token-3",
            "KUBE_ID_TOKEN": "kube.id.token-5",
            "MAUTIC_ADMIN_PASSWORD": "admin-pass-4",
        },
    }
    env = {
        **{"CI": "true", "CI_JOB_ID": "1", "CI_DEBUG_TRACE": "true", "INVOKE_DEBUG": "1"},
        **{"GITLAB_CI": "true", "CI_REGISTRY": "registry.example.org"},
        **{"CI_PROJECT_URL": "https://gitlab.example.org/g/p", "AWS_ROLE_ARN": "arn:aws:x"},
        "CI_REPOSITORY_URL": "https://gitlab-ci-token:job-token-2@gitlab.example.org/g/p.git",
        **hidden,
    }
    for words in (
        ["names", "--branch", "x"],
        ["ci.explain", "--branch", "x"],
        ["doctor"],
        ["--list"],
    ):
        done = inv(*words, env=env)
        for name, value in hidden.items():
            assert value not in done.stdout + done.stderr, (words, name)

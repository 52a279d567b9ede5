"""What a build is going to do, in which order it does it, and what is left after each failure."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.adapters.docker.buildx import PushError
from tasks.core.errors import CommandError, InputError, RefusedError, RegistryError
from tasks.core.images.content_key import is_content_key
from tasks.flows import build as flow
from tasks.flows.build import (
    BuiltImage,
    plan_build,
    recorded_digests,
    resolve_images,
    run_build,
    write_build_file,
)
from tasks.flows.pipeline import ci_subject
from tests.support.fakes_images import COMMIT, URL, Bench, a_subject, an_environment

TAGS = ("1a2b3c4d", "branch.feature-x.1a2b3c4d")
SET = " ".join(TAGS)
BAKED = ["log in", "bake mautic nginx", "log out"]
TAGGED = [f"tag mautic {SET} cache", f"tag nginx {SET} cache"]
SUBJECT = a_subject()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A registry that is empty."""
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "PUSH_AGAIN_SECONDS", (0, 0))


def build(bench: Bench, *only: str, fresh: bool = False) -> dict[str, BuiltImage]:
    return run_build(plan_build(SUBJECT, bench.tools, only=only, fresh=fresh), bench.tools)


def again(bench: Bench, *only: str, fresh: bool = False) -> list[str]:
    """Build once more; return what was asked for."""
    bench.seen.clear()
    build(bench, *only, fresh=fresh)
    return bench.seen


def actions(built: dict[str, BuiltImage]) -> dict[str, str]:
    return {name: image.action for name, image in built.items()}


# -- what is going to be done ---------------------------------------------------------------------


def test_a_plan_only_reads(bench: Bench) -> None:
    plan = plan_build(SUBJECT, bench.tools)
    assert bench.seen == []
    assert plan.title == "build 1a2b3c4d of feature/x for dev"
    assert [(step.verb, step.subject, step.reason) for step in plan.steps] == [
        ("build", "image mautic", "its content is new"),
        ("tag", "image mautic", ", ".join(TAGS)),
        ("build", "image nginx", "its content is new"),
        ("tag", "image nginx", ", ".join(TAGS)),
    ]
    told = plan.as_dict()
    assert (told["commit"], told["tag"], told["branch"]) == (COMMIT, "1a2b3c4d", "feature/x")
    assert told["bases"]["DEBIAN_IMAGE"]["digest"] == "sha256:base"
    assert is_content_key(told["images"]["nginx"]["content"])


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ("", ["keep image mautic", "keep image nginx"]),
        ("a tag is gone", ["tag image mautic", "keep image nginx"]),
        ("a tag is another image's", ["tag image mautic", "keep image nginx"]),
        ("a file", ["keep image mautic", "build image nginx", "tag image nginx"]),
        (
            "the base",
            ["build image mautic", "tag image mautic", "build image nginx", "tag image nginx"],
        ),
        (
            "fresh",
            ["build image mautic", "tag image mautic", "build image nginx", "tag image nginx"],
        ),
        ("only nginx", ["keep image nginx"]),
    ],
)
def test_what_is_done_after_a_build(bench: Bench, change: str, steps: list[str]) -> None:
    build(bench)
    if change == "a tag is gone":
        del bench.registry.images["mautic"][TAGS[0]]
    if change == "a tag is another image's":
        bench.registry.push("mautic", TAGS[0], "sha256:other")
    if change == "a file":
        (bench.root / "nginx" / "nginx.conf").write_text("events {}\n")
    if change == "the base":
        bench.bases.digest = "sha256:newer"
    only = ("nginx",) if change == "only nginx" else ()
    plan = plan_build(SUBJECT, bench.tools, only=only, fresh=change == "fresh")
    assert [f"{step.verb} {step.subject}" for step in plan.steps] == steps


def test_a_file_that_changed_within_its_size_and_time_is_built(bench: Bench) -> None:
    file = bench.root / "nginx" / "nginx.conf"
    file.write_text("events {}")
    before = file.stat()
    build(bench)
    file.write_text("Events {}")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert build(bench)["nginx"].action == "built"


def test_the_builder_is_not_asked_what_it_can_where_nothing_is_built(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(bench)
    asked = property(lambda _: pytest.fail("docker takes as long to tell as all the rest"))
    monkeypatch.setattr(type(bench.buildx), "exports_cache", asked)
    assert {action.action for action in build(bench).values()} == {"unchanged"}


def test_what_has_to_be_there_first_is_made_first(bench: Bench) -> None:
    bench.bases.standin, bench.bases.made = "debian", False
    bench.registry.repositories = set()
    plan = plan_build(SUBJECT, bench.tools)
    assert [f"{step.verb} {step.subject}" for step in plan.steps[:3]] == [
        "make stand-in debian",
        "create repository mautic",
        "create repository nginx",
    ]
    assert {image.reason for image in plan.images} == {"its base has yet to be made"}
    assert plan.unmade == ("debian:trixie-slim",)


def test_folders_that_git_does_not_keep_are_there_for_the_builder(bench: Bench) -> None:
    (bench.root / "docker" / "mautic").mkdir(parents=True)
    plan = plan_build(SUBJECT, bench.tools)
    assert list((bench.root / "docker" / "mautic").iterdir()) == []
    run_build(plan, bench.tools)
    made = {path.name for path in (bench.root / "docker" / "mautic").iterdir()}
    assert made == {"config", "plugins", "themes", "translations"}


def test_a_registry_to_come_is_not_asked(bench: Bench) -> None:
    bench.registry.repositories = set()
    plan = plan_build(SUBJECT, bench.tools, registry_to_come=True)
    assert plan.steps[0].subject == "local registry"
    assert plan.repositories == ()
    assert {image.reason for image in plan.images} == {"the registry has yet to be started"}


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        ("dirty", RefusedError, "dev is protected: there are uncommitted changes"),
        ("branch", RefusedError, "feature/x is none of its branches"),
        ("commit", RefusedError, "commit 1a2b3c4d is not on feature/x"),
        ("stand-in", RefusedError, r"it takes no stand-ins \(here: debian\)"),
        ("re-tagged", RefusedError, "DEBIAN_IMAGE is debian:trixie-slim.* only this machine's eng"),
        ("pushed again", RefusedError, "no stand-ins, and DEBIAN_IMAGE is one under another name"),
        ("values", RefusedError, "helm/environments/prod.yaml is not as committed, and 1 more"),
        ("line ends", InputError, "docker/a.sh has Windows line ends .* and 1 more"),
        ("no such image", InputError, "there is no image 'web'"),
        ("another folder", InputError, "a target is built from elsewhere, which its text does not"),
        ("no folder", InputError, "target nginx: there is no file"),
    ],
)
def test_what_must_not_be_built_is_refused_before_anything_is_asked_for(
    bench: Bench, case: str, error: type[Exception], message: str
) -> None:
    branches = ["main"] if case == "branch" else ["feature/*"]
    protected = error is RefusedError
    own = an_environment(branches=branches, protected=protected)
    subject = a_subject(own, dirty="0a1b2c3d" if case == "dirty" else None)
    bench.git.is_there = case != "commit"
    bench.git.crlf = ["docker/a.sh", "docker/b.sh"] if case == "line ends" else []
    bench.bases.standin = "debian" if case == "stand-in" else ""
    bench.bases.only_here = case == "re-tagged"
    bench.bases.renamed = case == "pushed again"
    if case == "values":
        bench.git.not_committed = ["helm/environments/prod.yaml", "helm/mautic/values.yaml"]
    if case == "another folder":
        bench.buildx.targets = {"web": {"context": "elsewhere"}, **bench.buildx.targets}
    if case == "no folder":
        (bench.root / "nginx" / "Dockerfile").unlink()
    with pytest.raises(error, match=message):
        plan_build(subject, bench.tools, only=["web"] if case == "no such image" else [])
    assert bench.seen == []


# -- carrying it out ------------------------------------------------------------------------------


def test_a_first_build_is_baked_in_one_graph_and_tagged_afterwards(bench: Bench) -> None:
    built = build(bench)
    assert bench.seen == [*BAKED, *TAGGED]
    assert actions(built) == {"mautic": "built", "nginx": "built"}
    for name, image in built.items():
        key, *others = image.tags
        assert is_content_key(key)
        assert others == list(TAGS)
        assert bench.registry.images[name] == dict.fromkeys([*image.tags, "cache"], image.digest)
        assert image.as_dict()["reference"] == f"{URL}/{name}@{image.digest}"
        assert image.seconds >= 1.5
    assert bench.buildx.variables["REVISION"] == COMMIT
    assert bench.buildx.variables["DEBIAN_IMAGE"] == "debian:trixie-slim@sha256:base"
    assert bench.buildx.variables["PHP"] == "8.4"


def test_a_second_build_asks_for_nothing(bench: Bench) -> None:
    first = build(bench)
    bench.seen.clear()
    second = build(bench)
    assert bench.seen == []
    assert actions(second) == {"mautic": "unchanged", "nginx": "unchanged"}
    assert [image.digest for image in second.values()] == [image.digest for image in first.values()]


def test_another_commit_of_the_same_content_is_only_tagged(bench: Bench) -> None:
    build(bench)
    bench.seen.clear()
    other = replace(SUBJECT, checkout=replace(SUBJECT.checkout, commit="f" * 40))
    built = run_build(plan_build(other, bench.tools), bench.tools)
    tags = "ffffffff branch.feature-x.ffffffff"
    assert bench.seen == [f"tag mautic {tags}", f"tag nginx {tags}"]
    assert actions(built) == {"mautic": "tagged", "nginx": "tagged"}


def test_only_what_changed_is_baked(bench: Bench) -> None:
    build(bench)
    (bench.root / "nginx" / "nginx.conf").write_text("events {}\n")
    assert again(bench) == ["log in", "bake nginx", "log out", TAGGED[1]]


def test_fresh_is_baked_whatever_is_there(bench: Bench) -> None:
    build(bench)
    assert again(bench, fresh=True) == [*BAKED, *TAGGED]
    assert bench.buildx.fresh == [False, True]


def test_a_stand_in_is_made_once_and_what_hangs_on_it_is_decided_then(bench: Bench) -> None:
    build(bench)
    # The very base that both are built on, no longer in the engine.
    bench.bases.standin, bench.bases.made = "debian", False
    assert again(bench) == ["make debian"]
    assert again(bench) == []


def test_repositories_are_made_before_anything_is_pushed(bench: Bench) -> None:
    bench.registry.repositories = {"mautic"}
    build(bench)
    assert bench.seen == ["make nginx", *BAKED, *TAGGED]


def test_where_the_builder_keeps_its_cache_apart_no_image_is_tagged_for_it(bench: Bench) -> None:
    bench.buildx.exports_cache = True
    bench.registry.repositories = set()
    build(bench)
    assert bench.seen == [
        *("make mautic", "make nginx", "make cache", *BAKED),
        *(f"tag mautic {SET}", f"tag nginx {SET}"),
    ]


def test_a_registry_on_this_machine_gets_no_cache_from_the_engine_that_has_the_layers(
    bench: Bench,
) -> None:
    bench.registry.url = "localhost:5050/x"
    build(bench)
    assert {order.cache_to for order in bench.buildx.orders} == {""}
    assert not any("cache" in tags for tags in bench.registry.images.values())


# -- what others could have written ---------------------------------------------------------------

PROTECTED = a_subject(an_environment(branches=["feature/*"], protected=True, tags=["latest"]))


def test_an_image_pushed_under_the_content_key_never_becomes_productions(bench: Bench) -> None:
    """The attack: a branch pushes its own image under the key that production's build will have."""
    (key, *_), *_ = [image.tags for image in build(bench).values()]
    for name in ("mautic", "nginx"):
        bench.registry.push(name, key, "sha256:foreign")
    built = run_build(plan_build(PROTECTED, bench.tools), bench.tools)
    assert actions(built) == {"mautic": "built", "nginx": "built"}
    for name, image in built.items():
        assert image.digest != "sha256:foreign"
        assert bench.registry.images[name]["latest"] == image.digest


@pytest.mark.parametrize("exports_cache", [True, False], ids=["apart", "in the image"])
def test_a_protected_build_reads_and_writes_no_cache(bench: Bench, exports_cache: bool) -> None:
    bench.buildx.exports_cache = exports_cache
    for place in (("cache", "mautic"), ("mautic", "cache"), ("nginx", "cache")):
        bench.registry.push(*place, "sha256:poisoned")
    bench.buildx.fails = {"bake mautic nginx": [PUSH]}
    plan = plan_build(PROTECTED, bench.tools)
    assert {image.reason for image in plan.images} == {"dev is protected: always built"}
    assert not bench.buildx.kept
    run_build(plan, bench.tools)
    assert bench.buildx.fresh == [True, True]
    assert {(order.cache_from, order.cache_to) for order in bench.buildx.orders} == {("", "")}
    assert bench.registry.images["mautic"]["cache"] == "sha256:poisoned"


# -- after a failure ------------------------------------------------------------------------------

PUSH = PushError("the registry answered 500")
BROKEN = CommandError("RUN failed")


@pytest.mark.parametrize("failures", [1, 2])
def test_a_push_is_tried_again_from_the_builders_cache(bench: Bench, failures: int) -> None:
    bench.buildx.fails = {"bake mautic nginx": [PUSH] * failures}
    assert actions(build(bench, fresh=True)) == {"mautic": "built", "nginx": "built"}
    assert bench.seen == [*BAKED * (failures + 1), *TAGGED]
    assert bench.buildx.fresh == [True, *[False] * failures]
    assert bench.titles[1:] == ["the registry answered 500; trying again in 0 s"] * failures


def test_a_registry_that_goes_on_failing_is_told(bench: Bench) -> None:
    bench.buildx.fails = {"bake mautic nginx": [PUSH] * 3}
    with pytest.raises(PushError):
        build(bench)
    assert bench.seen == BAKED * 3


@pytest.mark.parametrize("end", [BROKEN, KeyboardInterrupt()], ids=["failure", "interruption"])
@pytest.mark.parametrize(
    ("where", "what", "seen", "left", "next_time"),
    [
        ("bases", "make debian", ["make debian"], {}, ["make debian", *BAKED, *TAGGED]),
        ("registry", "log in", ["log in"], {}, [*BAKED, *TAGGED]),
        ("buildx", "bake mautic nginx", BAKED, {}, [*BAKED, *TAGGED]),
        (
            "buildx, one is pushed",
            "bake mautic nginx",
            BAKED,
            {"nginx": 1},
            # What was pushed is not built again; the cache is that of the last build.
            ["log in", "bake mautic", "log out", TAGGED[0], f"tag nginx {SET}"],
        ),
        (
            "registry",
            TAGGED[0],
            [*BAKED, TAGGED[0]],
            {"mautic": 1, "nginx": 1},
            [f"tag mautic {SET}", f"tag nginx {SET}"],
        ),
        (
            "registry",
            TAGGED[1],
            [*BAKED, *TAGGED],
            {"mautic": 4, "nginx": 1},
            [f"tag nginx {SET}"],
        ),
    ],
    ids=["a stand-in", "login", "bake", "half of a bake", "first tags", "second tags"],
)
def test_the_next_build_goes_on_where_one_ended(
    bench: Bench,
    end: BaseException,
    where: str,
    what: str,
    seen: list[str],
    left: dict[str, int],
    next_time: list[str],
) -> None:
    part = {"bases": bench.bases, "registry": bench.registry}.get(where, bench.buildx)
    part.fails = {what: [end]}
    if where == "bases":
        bench.bases.standin, bench.bases.made = "debian", False
    if where.endswith("pushed"):
        bench.buildx.pushed = ["nginx"]
    with pytest.raises(type(end)):
        build(bench)
    assert bench.seen == seen
    assert {name: len(tags) for name, tags in bench.registry.images.items()} == left
    assert again(bench) == next_time
    assert again(bench) == []


# -- what a deploy finds --------------------------------------------------------------------------


def test_a_deploy_finds_both_images_of_a_tag_by_digest(bench: Bench) -> None:
    built = build(bench)
    assert resolve_images(bench.registry, TAGS[0]) == {
        name: f"{URL}/{name}@{image.digest}" for name, image in built.items()
    }


def test_a_tag_that_was_moved_after_the_build_is_not_what_a_deploy_finds(
    bench: Bench, tmp_path: Path
) -> None:
    """The attack: somebody moves production's tag between its build and its deploy."""
    built = build(bench)
    write_build_file(tmp_path / "build.json", SUBJECT, built)
    bench.registry.push("mautic", TAGS[0], "sha256:foreign")
    recorded = recorded_digests(tmp_path / "build.json", "dev", TAGS[0])
    assert resolve_images(bench.registry, TAGS[0], recorded) == {
        name: f"{URL}/{name}@{image.digest}" for name, image in built.items()
    }
    for digests in bench.registry.images["mautic"], bench.registry.images["nginx"]:
        digests.clear()
    with pytest.raises(RegistryError, match=r"no image 1a2b3c4d as build\.json has it in"):
        resolve_images(bench.registry, TAGS[0], recorded)


def test_another_environments_or_commits_build_json_says_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    path = tmp_path / "build.json"
    assert recorded_digests(path, "dev", TAGS[0]) == {}
    write_build_file(path, SUBJECT, build(bench))
    assert set(recorded_digests(path, "dev", TAGS[0])) == {"mautic", "nginx"}
    assert recorded_digests(path, "prod", TAGS[0]) == {}
    assert recorded_digests(path, "dev", "ffffffff") == {}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"environment": "dev", "tag": "1a2b3c4d"}'])
def test_a_damaged_build_json_is_no_guess(tmp_path: Path, text: str) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(InputError, match=r"build\.json cannot be read"):
        recorded_digests(tmp_path / "build.json", "dev", TAGS[0])


@pytest.mark.parametrize("gone", [["nginx"], ["mautic", "nginx"]])
def test_images_that_are_not_there_are_named(bench: Bench, gone: list[str]) -> None:
    build(bench)
    for name in gone:
        del bench.registry.images[name][TAGS[0]]
    there = " and ".join(f"{URL}/{name}" for name in gone)
    with pytest.raises(RegistryError, match=f"there is no image 1a2b3c4d in {there}$") as caught:
        resolve_images(bench.registry, TAGS[0])
    assert caught.value.hint == "run inv build"


# -- the image of GitLab's jobs -------------------------------------------------------------------


def test_the_jobs_image_is_never_one_that_somebody_pushed_under_its_key(bench: Bench) -> None:
    """The attack: `inv ci.image --latest` makes a foreign image the one that all jobs run in."""
    checked = ci_subject(SUBJECT, latest=False)
    run_build(plan_build(checked, bench.tools), bench.tools)
    for name in bench.registry.images:
        for tag in bench.registry.images[name]:
            bench.registry.push(name, tag, "sha256:foreign")
    published = ci_subject(SUBJECT, latest=True)
    built = run_build(plan_build(published, bench.tools), bench.tools)
    assert actions(built) == {"mautic": "built", "nginx": "built"}
    for name, image in built.items():
        assert bench.registry.images[name]["latest"] == image.digest != "sha256:foreign"
    assert bench.buildx.fresh == [False, True]


def test_the_jobs_image_is_built_on_no_stand_in(bench: Bench) -> None:
    bench.bases.standin = "debian"
    plan_build(ci_subject(SUBJECT, latest=False), bench.tools)
    with pytest.raises(RefusedError, match="ci:latest is protected: it takes no stand-ins"):
        plan_build(ci_subject(SUBJECT, latest=True), bench.tools)

"""A saved plan with Docker Compose: it does what it says, and is refused after any change.

Real images, a real engine, the real command line.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.local import SERVICES, World, make_world
from tests.support.suite import git

MAIN = "main"
PLAN = "plan.json"
OTHER = "feature/Copied"
TAG = "planned"
"""The images whose deploy is planned: another release than the one that runs."""


@pytest.fixture(scope="module")
def fresh(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A checkout on a machine on which nothing was built yet."""
    checkout = tmp_path_factory.mktemp("local") / "checkout"
    shutil.copytree(_project, checkout, symlinks=True)
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    made = make_world(engine, checkout, tmp_path_factory.mktemp("scratch"), ports.pop)
    try:
        yield made
    finally:
        made.remove()


# -- before there are images ----------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_built_and_goes_on(fresh: World) -> None:
    page = fresh.ok("deploy", "--dry-run").stdout
    lines = page.splitlines()
    for name in ("mautic", "nginx"):
        assert re.search(rf"^  build +image {name}\b", page, re.MULTILINE), page
    assert f"deploy {MAIN} to local ({fresh.tag()}):" in lines
    assert f"objects: {len(SERVICES) + 1} added, 1 run" in lines
    assert "migrations: Mautic is installed" in lines
    told = json.loads(fresh.ok("deploy", "--dry-run", "--format", "json").stdout)
    assert {name: "build" in each["steps"] for name, each in told["build"]["images"].items()} == {
        "mautic": True,
        "nginx": True,
    }
    without = fresh.run("deploy", "--dry-run", "--no-build")
    assert (without.returncode, "run inv build" in without.stderr) == (1, True)
    # It has started nothing, not even a registry.
    assert [
        name
        for each in fresh.engine.containers.list(all=True, ignore_removed=True)
        if (name := str(each.name)).startswith(fresh.project)
    ] == []


def test_a_plan_whose_images_nobody_knows_is_shown_and_not_saved(fresh: World) -> None:
    done = fresh.run("plan", "--out", PLAN)
    assert done.returncode == 3
    assert "mautic and nginx have to be built first" in done.stderr
    assert "image mautic" in done.stdout
    assert not (fresh.checkout / PLAN).exists()


# -- what it says happens -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(fresh: World) -> World:
    """The same checkout, its images built, and those of a second release."""
    fresh.ok("build")
    fresh.variant(TAG)
    return fresh


def state(world: World) -> dict[str, str]:
    """Return what there is of the branch: each container with its state, each object by name."""
    there = {name: f"{each.id} {each.status}" for name, each in world.containers(MAIN).items()}
    return {**there, **dict.fromkeys(world.objects(MAIN), "")}


def carried_out(world: World, *options: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Plan, deploy by the plan; return what it said, and what happened, of containers by verb."""
    told = json.loads(world.ok("plan", *options, "--out", PLAN, "--format", "json").stdout)
    before = world.containers(MAIN)
    world.ok("deploy", "--plan", PLAN)
    after = world.containers(MAIN)
    said: dict[str, set[str]] = {"add": set(), "change": set(), "remove": set(), "keep": set()}
    for each in told["objects"]:
        kind, _, name = each["object"].partition("/")
        if kind == "container" and each["verb"] in said:
            said[each["verb"]].add(name)
    ended = {"migrate"}
    both = (before.keys() & after.keys()) - ended
    same = {name for name in both if before[name].id == after[name].id}
    done = {
        "add": after.keys() - before.keys() - ended,
        "remove": before.keys() - after.keys() - ended,
        "change": both - same,
        "keep": same,
    }
    return said, done


def test_a_plan_says_which_containers_then_are_made_anew(world: World) -> None:
    said, done = carried_out(world)
    assert said == done
    assert done["add"] == SERVICES
    assert world.get(MAIN, "/s/login").status_code == 200
    # Nothing new: what is not touched is not named.
    said, done = carried_out(world)
    assert (said["add"] | said["change"] | said["remove"], done["keep"]) == (set(), SERVICES)


# -- it is refused --------------------------------------------------------------------------------


@dataclass
class Changed:
    """What is changed between a plan and its deploy.

    Attributes:
        settings: those of the deploy; empty for those of the plan.
    """

    world: World
    settings: dict[str, Any] = field(default_factory=dict)


Change = Callable[[Changed], AbstractContextManager[None]]
CHANGES: dict[str, tuple[Change, str, tuple[str, ...]]] = {}
"""By what is changed: how, what the refusal must name, and the options of the plan."""


def change(
    named: str, *options: str
) -> Callable[[Callable[[Changed], Iterator[None]]], Callable[[Changed], Iterator[None]]]:
    """Register a change; what is to be undone follows its `yield`."""

    def register(
        function: Callable[[Changed], Iterator[None]],
    ) -> Callable[[Changed], Iterator[None]]:
        title = function.__name__.replace("_", " ")
        CHANGES[title] = (contextlib.contextmanager(function), named, options)
        return function

    return register


BY_TAG = ("--tag", TAG)


@change("commit")
def the_branch_moves_on(it: Changed) -> Iterator[None]:
    git(it.world.checkout, "commit", "--quiet", "--allow-empty", "-m", "more")
    yield
    git(it.world.checkout, "reset", "--quiet", "--hard", "HEAD~1")


def edited(it: Changed, name: str, more: str) -> Iterator[None]:
    path = it.world.checkout / name
    before = path.read_text()
    path.write_text(before + more)
    yield
    path.write_text(before)


@change("-dirty-")
def a_file_of_the_image_is_edited(it: Changed) -> Iterator[None]:
    yield from edited(it, "docker/mautic/mautic.sh", "\n# edited\n")


@change("definition", *BY_TAG)
def the_compose_file_is_edited(it: Changed) -> Iterator[None]:
    path = it.world.checkout / "docker" / "compose.yaml"
    before = path.read_text()
    text = before.replace("x-hardened: &hardened\n", "x-hardened: &hardened\n  oom_score_adj: 1\n")
    assert text != before
    path.write_text(text)
    yield
    path.write_text(before)


@change("image mautic", *BY_TAG)
def the_tag_is_pushed_anew(it: Changed) -> Iterator[None]:
    it.world.variant(TAG, "LABEL pushed=anew")
    yield
    it.world.variant(TAG)


@change("settings", *BY_TAG)
def patience_is_changed(it: Changed) -> Iterator[None]:
    it.settings = it.world.settings()
    it.settings["environments"]["local"]["patience"]["crashes"] = 9
    yield


@change("definition", *BY_TAG)
def the_door_is_opened(it: Changed) -> Iterator[None]:
    it.settings = it.world.settings()
    it.settings["environments"]["local"]["door"] = "open"
    yield


@change("address", *BY_TAG)
def the_domain_is_changed(it: Changed) -> Iterator[None]:
    it.settings = it.world.settings()
    it.settings["environments"]["local"]["host"] = "{slug}.elsewhere.localhost"
    yield


@change("-web-1", *BY_TAG)
def a_container_is_stopped_by_hand(it: Changed) -> Iterator[None]:
    web = it.world.containers(MAIN)["web"]
    web.stop()
    yield
    web.start()


@change("the environment is asleep since ", *BY_TAG)
def it_is_put_to_sleep(it: Changed) -> Iterator[None]:
    it.world.ok("sleep")
    yield
    it.world.ok("wake")


@change("deployed since: ", *BY_TAG)
def another_deploy_came_between(it: Changed) -> Iterator[None]:
    it.world.ok("deploy", "--tag", it.world.variant("between", "LABEL between=yes"))
    yield


@change("deployed since: ", *BY_TAG)
def it_was_rolled_back(it: Changed) -> Iterator[None]:
    it.world.ok("rollback")
    yield


@change("main has no environment", "--branch", OTHER, "--new", *BY_TAG, "--data", MAIN)
def the_branch_whose_data_it_takes_is_removed(it: Changed) -> Iterator[None]:
    it.world.ok("cleanup", "--branch", MAIN)
    yield
    it.world.ok("deploy")


@change("removed since", *BY_TAG)
def it_was_removed(it: Changed) -> Iterator[None]:
    it.world.ok("cleanup", "--branch", MAIN)
    yield
    it.world.ok("deploy")


@pytest.mark.parametrize("title", CHANGES)
def test_a_plan_is_refused_after(title: str, world: World) -> None:
    make, named, options = CHANGES[title]
    world.ok("deploy")
    world.ok("plan", *options, "--out", PLAN)
    it = Changed(world)
    with make(it):
        before = state(world)
        refused = world.run("deploy", "--plan", PLAN, settings=it.settings or None)
        after = state(world)
    assert refused.returncode == 3, refused.stderr
    assert "no longer holds: " in refused.stderr
    assert named in refused.stderr
    assert "  hint: nothing was changed" in refused.stderr
    assert after == before


def test_a_plan_that_still_holds_is_carried_out(world: World) -> None:
    world.ok("deploy")
    said, done = carried_out(world, *BY_TAG)
    assert said == done
    assert done["change"] == SERVICES - {"database"}

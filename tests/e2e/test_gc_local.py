"""`inv gc` on this machine's engine: what a branch left behind goes, what is at work stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from tasks.adapters.docker.engine import PROJECT
from tasks.core.compose.record import ComposeRecord, owner_labels
from tasks.core.environment import Owner, Release, State
from tasks.core.images.tags import branch_marker
from tasks.core.names import Names, Style, slug
from tasks.core.settings import names_of_all_styles, parse
from tests.support.kube_cli import with_remote
from tests.support.layerless import push, tags_of
from tests.support.suite import Inv, git

IMAGE = f"localhost:1/x@sha256:{'a' * 64}"


class Planted:
    """Environments of which the engine has nothing but the record that they are there."""

    def __init__(self, engine: docker.DockerClient, project: str, repository: str) -> None:
        self._engine = engine
        self._repository = repository
        self.settings: dict[str, Any] = {"project": project}
        self._made: list[str] = []

    def plant(
        self,
        branch: str,
        *,
        hours: int = 24,
        repository: str = "",
        style: Style = Style.PRESENT,
    ) -> Names:
        """Make an environment whose time is over in so many hours; return its names."""
        local = {
            "target": "compose",
            "branches": ["*"],
            "host": "{slug}.localhost",
            "registry": {"url": "localhost:1/x"},
        }
        settings = parse({**self.settings, "environments": {"local": local}}, lambda path: "test")
        both = names_of_all_styles(settings, "local", branch)
        names = both[-1] if style is Style.FORMER else both[0]
        owner = Owner("local", names.slug, branch, repository or self._repository)
        now = datetime.now(UTC)
        release = Release("tag", "c" * 40, IMAGE, IMAGE, "ada@host", now.isoformat())
        expires_at = (now + timedelta(hours=hours)).isoformat()
        record = replace(ComposeRecord(State.READY, names.url, expires_at), history=(release,))
        labels = {**owner_labels(owner), **record.to_labels(), PROJECT: names.namespace}
        name = f"{names.namespace}_record-1"
        self._engine.volumes.create(name, labels=labels)
        self._made.append(name)
        return names

    def left(self) -> set[str]:
        """Return the branches whose environments are there."""
        found = self._engine.volumes.list(filters={"label": PROJECT})
        mine = [each for each in found if each.name in self._made]
        return {each.attrs["Labels"]["io.mautic-multidev.branch"] for each in mine}

    def remove(self) -> None:
        """Remove what is left."""
        for each in self._engine.volumes.list():
            if each.name in self._made:
                each.remove()


@pytest.fixture
def planted(engine: docker.DockerClient, checkout: Path, project: str) -> Iterator[Planted]:
    remote = with_remote(checkout, ("feature/pushed",))
    made = Planted(engine, project, str(remote))
    yield made
    made.remove()


def test_gc_spares_branches_that_were_never_pushed(
    inv: Inv, checkout: Path, planted: Planted
) -> None:
    git(checkout, "branch", "feature/unpushed")
    for branch in ("main", "feature/pushed", "feature/unpushed", "feature/gone"):
        planted.plant(branch)
    planted.plant("feature/theirs", repository="https://elsewhere/mautic.git")
    git(checkout, "branch", "feature/old")
    planted.plant("feature/old", hours=-1)

    listed = inv(checkout, "gc", "--format", "json", settings=planted.settings)
    assert listed.returncode == 0, listed.stderr
    stale = {item["branch"]: item["reason"] for item in json.loads(listed.stdout)["environments"]}
    assert stale == {"feature/gone": "its branch is gone", "feature/old": "its time is over"}
    before = planted.left()

    done = inv(checkout, "gc", "--yes", settings=planted.settings)
    assert done.returncode == 0, done.stderr
    assert planted.left() == before - stale.keys()
    assert "feature/gone: 1 objects removed" in done.stderr


def test_gc_removes_the_tags_of_branches_that_are_gone(
    inv: Inv, checkout: Path, planted: Planted, registry: str, project: str
) -> None:
    git(checkout, "branch", "feature/unpushed")
    planted.plant("feature/pushed")
    unpushed = branch_marker(slug("feature/unpushed"), "kept")
    tags = {"built", "branch.gone.built", "kept", "branch.gone.kept", unpushed}
    repository = f"{registry}/{project}/mautic"
    for tag in tags:
        push(repository, tag)
    url = {"registry": {"kind": "oci", "url": f"{registry}/{project}"}}
    settings = {**planted.settings, "environments": {"local": url}}

    listed = inv(checkout, "gc", settings=settings)
    assert listed.returncode == 0, listed.stderr
    assert tags_of(repository) == tags
    done = inv(checkout, "gc", "--yes", settings=settings)
    assert done.returncode == 0, done.stderr
    assert tags_of(repository) == {"kept", unpushed}
    assert planted.left() == {"feature/pushed"}


def test_gc_removes_nothing_without_a_remote(inv: Inv, checkout: Path, planted: Planted) -> None:
    planted.plant("feature/gone", repository=str(checkout))
    git(checkout, "remote", "remove", "origin")
    done = inv(checkout, "gc", "--yes", settings=planted.settings)
    assert done.returncode == 1
    assert "the branches of origin cannot be read" in done.stderr
    assert planted.left() == {"feature/gone"}


def test_an_environment_of_before_is_found_and_removed_under_its_former_names(
    inv: Inv, checkout: Path, planted: Planted
) -> None:
    former = planted.plant("feature/pushed", style=Style.FORMER)
    listed = inv(checkout, "list", "--format", "json", settings=planted.settings)
    rows = {item["branch"]: item["slug"] for item in json.loads(listed.stdout)}
    assert rows == {"feature/pushed": former.slug}
    dry = inv(
        checkout, "cleanup", "--branch", "feature/pushed", "--dry-run", settings=planted.settings
    )
    assert f"volume {former.namespace}_record-1" in dry.stdout
    done = inv(checkout, "cleanup", "--branch", "feature/pushed", settings=planted.settings)
    assert done.returncode == 0, done.stderr
    assert planted.left() == set()

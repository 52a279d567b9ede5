"""`inv gc` on this machine's engine: what a branch left behind goes, what is at work stays."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import docker
import pytest

from tasks.adapters.docker.engine import Engine
from tasks.adapters.process import Runner
from tasks.adapters.registry.oci import OciRegistry
from tasks.adapters.terminal.console import Activity
from tasks.core.compose.record import ComposeRecord, owner_labels
from tasks.core.compose.stages import PROJECT
from tasks.core.environment import PIPELINE, Owner, Release, State
from tasks.core.names import Names, Style
from tasks.core.redact import Redactor
from tasks.core.settings import names_of_all_styles, parse
from tasks.flows.compose.images import STORAGE
from tasks.flows.compose.platform import LocalPlatform
from tests.integration.build_support import forget_images, shrink, tiny_base
from tests.support.kube_cli import with_remote
from tests.support.layerless import LONG_AGO, push, tags_of
from tests.support.suite import ROOT, Inv, commit_all, git

NOTHING_YOUNG = {"gc": {"young_hours": 0}}
IMAGE = f"localhost:1/x/mautic@sha256:{'a' * 64}"

LIVING = "living"


class Planted:
    """Environments of which the engine has nothing but the record that they are there."""

    def __init__(self, engine: docker.DockerClient, project: str, repository: str) -> None:
        self._engine = engine
        self._repository = repository
        self.settings: dict[str, Any] = {
            "project": project,
            "environments": {"local": NOTHING_YOUNG},
        }
        self._made: list[str] = []

    def plant(
        self,
        branch: str,
        *,
        hours: int = 24,
        repository: str = "",
        style: Style = Style.PRESENT,
        checkout: str = PIPELINE,
        image: str = IMAGE,
        project: str = "",
        state: State = State.READY,
    ) -> Names:
        """Make an environment whose time is over in so many hours; return its names."""
        local = {
            "target": "compose",
            "branches": ["*"],
            "host": "{slug}.localhost",
            "registry": {"url": "localhost:1/x"},
        }
        settings = parse(
            {"project": project or self.settings["project"], "environments": {"local": local}},
            lambda path: "test",
        )
        both = names_of_all_styles(settings, "local", branch)
        names = both[-1] if style is Style.FORMER else both[0]
        owner = Owner("local", names.slug, branch, repository or self._repository)
        now = datetime.now(UTC)
        release = Release("tag", "c" * 40, image, image, "ada@host", now.isoformat())
        release = replace(release, checkout=checkout)
        expires_at = (now + timedelta(hours=hours)).isoformat()
        record = replace(ComposeRecord(state, names.url, expires_at), history=(release,))
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


def test_gc_of_one_clone_leaves_the_environments_of_another_alone(
    inv: Inv, checkout: Path, planted: Planted
) -> None:
    planted.plant("feature/gone", checkout="ada@host:/other")
    planted.plant("feature/of-before", checkout="")
    done = inv(checkout, "gc", "--yes", settings=planted.settings)
    assert done.returncode == 0, done.stderr
    assert planted.left() == {"feature/gone", "feature/of-before"}
    header, *rows = done.stdout.splitlines()
    assert header.endswith("reason; removed with --all")
    assert "ada@host  ada@host:/other  its branch is gone" in rows[0]
    assert "not known" in rows[1]
    done = inv(checkout, "gc", "--yes", "--all", settings=planted.settings)
    assert done.returncode == 0, done.stderr
    assert planted.left() == set()


def test_gc_removes_images_that_no_rule_keeps(
    inv: Inv, checkout: Path, planted: Planted, registry: str, project: str
) -> None:
    repository = f"{registry}/{project}/mautic"
    here = git(checkout, "rev-parse", "HEAD")[:8]
    git(checkout, "branch", LIVING)
    going = {"built", f"branch.{LIVING}.built", "branch.gone.built"}
    kept = {"other", "v1", "v2", here, "deployed", "pushed"}
    now = datetime.now(UTC).isoformat()
    pushed = {
        tag: push(repository, tag, created=now if tag == "pushed" else LONG_AGO)
        for tag in sorted(going | kept)
    }
    planted.plant("feature/pushed", image=f"{repository}@{pushed['deployed']}")
    # A branch of the same name is none of this project's.
    planted.plant(LIVING, project=f"{project}-other", state=State.DEPLOYING)
    own = {
        "registry": {"kind": "oci", "url": f"{registry}/{project}"},
        "gc": {"keep": ["v* newest 2", "other for 9999w"]},
    }
    settings = {**planted.settings, "environments": {"local": own}}

    listed = inv(checkout, "gc", "--format", "json", settings=settings)
    assert listed.returncode == 0, listed.stderr
    told = {each["tags"][0]: each for each in json.loads(listed.stdout)["images"]}
    assert {tag for tag, each in told.items() if each["goes"]} == going
    assert {tag: told[tag]["rule"] for tag in sorted(kept)} == {
        **{here: "tip", "deployed": "release", "other": "policy", "pushed": "young"},
        **{"v1": "policy", "v2": "policy"},
    }
    shown = inv(checkout, "gc", "--verbose", settings=settings)
    assert "kept: is one of the last releases of feature/pushed" in shown.stdout
    assert "3       removed: nothing needs it" in shown.stdout
    assert tags_of(repository) == going | kept
    done = inv(checkout, "gc", "--yes", settings=settings)
    assert done.returncode == 0, done.stderr
    assert tags_of(repository) == kept
    assert planted.left() == {"feature/pushed", LIVING}
    assert "nothing to sweep away" in inv(checkout, "gc", "--yes", settings=settings).stderr


@pytest.fixture
def platform(
    engine: docker.DockerClient, project: str, free_port: Callable[[], int]
) -> Iterator[LocalPlatform]:
    """The local platform's registry, which runs, and nothing else of it."""
    from tests.support.images import standin

    port = free_port()
    local = {
        "target": "compose",
        "branches": ["*"],
        "host": "{slug}.localhost",
        "registry": {"url": f"localhost:{port}/m"},
    }
    told = {"registry_port": port, "registry_image": standin(engine, "registry")}
    settings = parse(
        {"project": project, "platform": told, "environments": {"local": local}},
        lambda path: "test",
    )

    @contextlib.contextmanager
    def quiet(_: str) -> Iterator[Activity]:
        yield Activity(lambda _: None, lambda _: None)

    made = LocalPlatform(
        *(settings, Engine(), Runner(Redactor()), ROOT, str, contextlib.nullcontext, quiet),
        Path,
    )
    made.ensure_registry()
    yield made
    label = {"label": f"{PROJECT}={made.name}"}
    for container in engine.containers.list(all=True, filters=label):
        container.remove(force=True, v=True)
    for volume in engine.volumes.list(filters=label):
        volume.remove(force=True)
    for network in engine.networks.list(filters=label):
        network.remove()
    forget_images(engine, f"localhost:{port}/")


def on(platform: LocalPlatform, hours: int) -> dict[str, Any]:
    """Return the settings of a run on a platform, by which what is so many hours old is young."""
    url = f"{platform.registry}/m"
    own = {"registry": {"kind": "oci", "url": url}, "gc": {"young_hours": hours}}
    told = {"registry_port": platform.settings.platform.registry_port}
    return {
        "project": platform.settings.project,
        "platform": told,
        "environments": {"local": own},
    }


def test_after_all_branches_are_gone_neither_registry_nor_engine_has_an_image_of_them(
    inv: Inv, checkout: Path, platform: LocalPlatform, engine: docker.DockerClient, project: str
) -> None:
    shrink(checkout)
    with_remote(checkout)
    base = tiny_base(engine, f"{project}-base")
    url = f"{platform.registry}/m"
    environ = {"DEBIAN_IMAGE": base, "MAUTIC_IMAGE": base}

    def copies() -> list[str]:
        found = (image["RepoTags"] or image["RepoDigests"] for image in engine.api.images())
        return [names[0] for names in found if names and names[0].startswith(url)]

    try:
        for number in range(3):
            git(checkout, "switch", "--quiet", "-C", f"feature/{number}")
            for name in ("mautic", "nginx"):
                (checkout / "docker" / name / "own" / "file").write_text(f"{project} {number}")
            commit_all(checkout)
            built = inv(checkout, "build", settings=on(platform, 0), env=environ)
            assert built.returncode == 0, built.stderr
        assert len(copies()) == 6
        kept = inv(checkout, "gc", "--yes", settings=on(platform, 0))
        assert "nothing to sweep away" in kept.stderr, kept.stdout
        git(checkout, "switch", "--quiet", "main")
        for number in range(3):
            git(checkout, "branch", "--quiet", "-D", f"feature/{number}")
        done = inv(checkout, "gc", "--yes", settings=on(platform, 0))
        assert done.returncode == 0, done.stderr
        assert copies() == []
        assert tags_of(f"{url}/mautic") == tags_of(f"{url}/nginx") == set()
    finally:
        engine.images.remove(base, force=True)


def test_gc_cleans_up_the_local_registry_and_the_engine(
    inv: Inv,
    checkout: Path,
    planted: Planted,
    platform: LocalPlatform,
    engine: docker.DockerClient,
    project: str,
) -> None:
    url = f"{platform.registry}/m"
    git(checkout, "branch", LIVING)
    digests = {}
    for name, tags in (("old", ("1", f"branch.{LIVING}.1")), ("new", ("2",)), ("young", ("3",))):
        base = tiny_base(engine, f"{project}-{name}", content=os.urandom(300_000))
        for tag in tags:
            engine.images.get(base).tag(f"{url}/mautic", tag)
            engine.images.push(f"{url}/mautic", tag)
        engine.images.remove(base)
        digests[name] = OciRegistry(url).digest("mautic", tags[0])
    planted.plant("main", image=f"{url}/mautic@{digests['new']}")
    registry = platform.present()["registry"].id

    def age(path: str, ago: str) -> None:
        command = f"find {STORAGE} {path} -exec touch -d @$(($(date +%s) - {ago})) {{}} +"
        found = engine.containers.get(registry).exec_run(["sh", "-c", command])
        assert found.exit_code == 0, found.output

    def sweep(hours: int = 2) -> CompletedProcess[str]:
        done = inv(checkout, "gc", "--yes", settings=on(platform, hours))
        assert done.returncode == 0, done.stderr
        return done

    def copies() -> set[str]:
        return {
            tag.rpartition(":")[2]
            for image in engine.images.list(f"{url}/mautic")
            for tag in image.tags
        }

    # All three were pushed a moment ago.
    assert "nothing to sweep away" in sweep().stderr
    # Only the times of the links count, and the oldest image's alone are past.
    for name in ("old", "new"):
        age(f"-path '*{digests[name].partition(':')[2]}/link'", "9000")
    said = sweep()
    assert tags_of(f"{url}/mautic") == {"2", "3"}
    assert "put off: something was pushed" in said.stderr
    # The engine has named its copies only now.
    assert copies() == {"1", f"branch.{LIVING}.1", "2", "3"}
    age("-type f", "700")
    said = sweep(hours=0)
    assert "MB freed" in said.stderr
    assert float(re.findall(r"([0-9.]+) MB freed", said.stderr)[0]) > 0.25
    assert tags_of(f"{url}/mautic") == {"2"}
    assert copies() == {"2"}
    engine.images.remove(f"{url}/mautic:2")
    engine.images.pull(f"{url}/mautic", "2")
    # A run that was killed in between has left the registry stopped: the next one starts it.
    engine.containers.get(registry).stop()
    again = sweep(hours=0)
    assert "MB freed" in again.stderr or "nothing to sweep away" in again.stderr
    assert "nothing to sweep away" in sweep(hours=0).stderr


def test_gc_removes_nothing_without_a_remote(inv: Inv, checkout: Path, planted: Planted) -> None:
    planted.plant("feature/gone", repository=str(checkout))
    git(checkout, "remote", "remove", "origin")
    done = inv(checkout, "gc", "--yes", settings=planted.settings)
    assert done.returncode == 0, done.stderr
    assert "this clone has no remote" in done.stderr
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
    assert f"record of {former.namespace}" in dry.stdout
    done = inv(checkout, "cleanup", "--branch", "feature/pushed", settings=planted.settings)
    assert done.returncode == 0, done.stderr
    assert planted.left() == set()

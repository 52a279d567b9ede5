"""inv build, against a real registry and engine: tiny images, and once the project's own."""

from __future__ import annotations

import io
import json
import re
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.adapters.docker.standins import STANDIN
from tasks.core.errors import RegistryError
from tasks.core.images.attestation import PROVENANCE, provenance_in
from tasks.core.images.tags import removable
from tasks.flows import attest
from tasks.flows.build import resolve_images
from tests.integration.build_support import (
    Site,
    build_json,
    forget_images,
    front_door,
    put_image,
    tiny_base,
)
from tests.support.suite import Inv, git

if TYPE_CHECKING:
    import docker

BUILT = {"mautic": "built", "nginx": "built"}
TAGGED = {"mautic": "tagged", "nginx": "tagged"}
UNCHANGED = {"mautic": "unchanged", "nginx": "unchanged"}


def label(engine: docker.DockerClient, reference: str, name: str) -> str:
    value: str = engine.images.get(reference).labels[name]
    return value


# -- what is built, and what is not -----------------------------------------------------------


def test_a_first_build_pushes_tags_and_records_both_images(
    site: Site, engine: docker.DockerClient
) -> None:
    done = site.build()
    assert done.returncode == 0, done.stderr
    commit = git(site.checkout, "rev-parse", "HEAD")
    written = build_json(site.checkout)
    assert {key: written[key] for key in ("environment", "branch", "commit", "tag")} == {
        "environment": "local",
        "branch": "main",
        "commit": commit,
        "tag": commit[:8],
    }
    for name in ("mautic", "nginx"):
        image = written["images"][name]
        key, *others = image["tags"]
        assert re.fullmatch("content-[0-9a-f]{64}", key)
        assert others == [commit[:8], f"branch.main.{commit[:8]}"]
        held = site.registry.tags(name)
        assert held == dict.fromkeys(image["tags"], image["digest"])
        assert image["repository"] == f"{site.url}/{name}"
        assert image["reference"] == f"{site.url}/{name}@{image['digest']}"
        assert image["action"] == "built"
        assert image["seconds"] > 0
        assert f"{image['digest'][7:19]}" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["image", "action"],
        ["mautic", "built"],
        ["nginx", "built"],
    ]
    reference = written["images"]["mautic"]["reference"]
    assert label(engine, reference, "org.opencontainers.image.revision") == commit


def test_the_image_holds_the_code_the_base_and_its_own_files(
    site: Site, engine: docker.DockerClient
) -> None:
    reference = site.built()["mautic"]["reference"]
    container = engine.containers.create(reference, command=["none"])
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as tar:
            files = set(tar.getnames())
    finally:
        container.remove()
    assert {"name", "plugins/plugin", "own/file"} <= files


def test_nothing_changed_changes_nothing(site: Site) -> None:
    first = site.built()
    with front_door(site.url.partition("/")[0], lambda _: None) as (host, seen):
        url = site.url.replace(site.url.partition("/")[0], host)
        done = site.build(url=url)
    assert done.returncode == 0, done.stderr
    second = build_json(site.checkout)["images"]
    assert {name: image["action"] for name, image in second.items()} == UNCHANGED
    assert [second[name]["digest"] for name in second] == [first[name]["digest"] for name in first]
    # Only asked for: nothing is pulled, pushed or set.
    assert {request.method for request in seen} == {"GET", "HEAD"}
    assert {request.path for request in seen if request.method == "GET"} == {"/v2/"}


def test_a_new_commit_of_the_same_content_is_only_tagged(site: Site) -> None:
    first = site.built()
    (site.checkout / "README.md").write_text("more words\n")
    commit = site.commit()
    with front_door(site.url.partition("/")[0], lambda _: None) as (host, seen):
        url = site.url.replace(site.url.partition("/")[0], host)
        done = site.build(url=url)
    assert done.returncode == 0, done.stderr
    second = build_json(site.checkout)["images"]
    assert {name: image["action"] for name, image in second.items()} == TAGGED
    for name in second:
        assert second[name]["digest"] == first[name]["digest"]
        assert site.registry.digest(name, commit) == first[name]["digest"]
    assert not [request for request in seen if "/blobs/" in request.path]


def test_only_what_changed_is_built(site: Site) -> None:
    first = site.built()
    site.write("nginx/own/file", "changed")
    site.commit()
    second = site.built()
    assert {name: image["action"] for name, image in second.items()} == {
        "mautic": "tagged",
        "nginx": "built",
    }
    assert second["mautic"]["digest"] == first["mautic"]["digest"]
    assert second["nginx"]["digest"] != first["nginx"]["digest"]


def test_a_changed_plugin_is_in_both_images(site: Site) -> None:
    site.built()
    site.write("mautic/plugins/plugin", "changed")
    site.commit()
    assert site.actions() == BUILT


def test_a_changed_file_makes_few_lines_in_a_pipe(site: Site) -> None:
    site.built()
    site.write("mautic/plugins/plugin", "changed")
    done = site.build()
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        ["mautic", "built"],
        ["nginx", "built"],
    ]
    assert len([*done.stderr.splitlines(), *done.stdout.splitlines()]) <= 15, done.stderr


def test_going_back_to_old_content_builds_nothing(site: Site) -> None:
    first = site.built()
    site.write("nginx/own/file", "changed")
    site.commit()
    site.built()
    site.write("nginx/own/file", "nginx")
    site.commit()
    third = site.built()
    assert {name: image["action"] for name, image in third.items()} == TAGGED
    assert third["nginx"]["digest"] == first["nginx"]["digest"]


def test_only_one_image_can_be_asked_for(site: Site) -> None:
    assert site.actions("--only", "nginx") == {"nginx": "built"}
    assert site.registry.tags("mautic") == {}
    assert site.actions() == {"mautic": "built", "nginx": "unchanged"}


def test_an_image_that_does_not_exist_cannot_be_asked_for(site: Site) -> None:
    done = site.build("--only", "ngnix")
    assert done.returncode == 2
    assert "there is no image 'ngnix'" in done.stderr
    assert "mautic, nginx" in done.stderr


def test_a_rebuild_replaces_what_is_there(site: Site) -> None:
    first = site.built()
    second = site.built("--rebuild")
    for name, image in second.items():
        assert image["action"] == "built"
        assert image["digest"] != first[name]["digest"]
        assert set(site.registry.tags(name).values()) == {image["digest"]}


def test_a_setting_reaches_the_image_and_its_key(site: Site, engine: docker.DockerClient) -> None:
    site.images = {"php": "8.2"}
    first = site.built()
    environ = engine.images.get(first["mautic"]["reference"]).attrs["Config"]["Env"]
    assert "PHP=8.2" in environ
    site.images = {"php": "8.3"}
    second = site.built()
    assert second["mautic"]["action"] == "built"
    assert second["nginx"]["action"] == "tagged"
    for nothing_for_a_shell in ("8.2; rm -rf / $(reboot)", "$(reboot)'\""):
        site.images = {"php": nothing_for_a_shell}
        assert site.build().returncode == 2


def test_a_tag_belongs_to_what_it_was_built_from(site: Site) -> None:
    commit = git(site.checkout, "rev-parse", "HEAD")[:8]
    own = site.built()
    env = {"INVOKE_IMAGES_PHP": "8.2"}
    done = site.build(env=env)
    assert done.returncode == 0, done.stderr
    other = build_json(site.checkout)
    tag = other["tag"]
    assert tag.startswith(f"{commit}-with-")
    assert f"images.php: not as in invoke.yaml, so the images get a tag of their own, {tag}" in (
        done.stderr
    )
    assert other["images"]["mautic"]["action"] == "built"
    for name, image in own.items():
        assert site.registry.digest(name, commit) == image["digest"]
        assert site.registry.digest(name, tag) == other["images"][name]["digest"]
    # The same settings find it again.
    assert site.actions(env=env) == UNCHANGED


# -- base images ------------------------------------------------------------------------------


def test_another_code_image_makes_other_images(site: Site, engine: docker.DockerClient) -> None:
    site.built()
    other = tiny_base(engine, f"other-{secrets.token_hex(4)}")
    try:
        assert site.actions(env={"MAUTIC_IMAGE": other}) == BUILT
        # The settings say the same as the variable does.
        site.images = {"mautic": other}
        assert site.actions(env={"MAUTIC_IMAGE": ""}) == TAGGED
        # The former images, which differ in nothing that they took from the code image.
        assert site.actions() == UNCHANGED
    finally:
        engine.images.remove(other, force=True)


def test_a_base_that_moves_on_makes_other_images(
    site: Site, engine: docker.DockerClient, registry: str
) -> None:
    repository = f"{registry}/base-{secrets.token_hex(4)}"
    base = f"{repository}:1"
    try:
        for expected in (BUILT, BUILT):
            tiny = tiny_base(engine, f"moving-{secrets.token_hex(4)}")
            engine.images.get(tiny).tag(repository, "1")
            engine.images.remove(tiny)
            pushed = "".join(engine.images.push(repository, tag="1", stream=False))
            assert "errorDetail" not in pushed
            # The registry's word counts, not what this engine happens to hold.
            engine.images.remove(base, force=True)
            assert site.actions(env={"DEBIAN_IMAGE": base}) == expected
            assert site.actions(env={"DEBIAN_IMAGE": base}) == UNCHANGED
    finally:
        forget_images(engine, repository)


def test_a_base_whose_registry_is_away_is_the_engines_own(
    site: Site, engine: docker.DockerClient, registry: str
) -> None:
    path = f"base-{secrets.token_hex(4)}"
    with front_door(registry, lambda _: None) as (host, _):
        base = f"{host}/{path}:1"
        tiny = tiny_base(engine, f"away-{secrets.token_hex(4)}")
        engine.images.get(tiny).tag(f"{host}/{path}", "1")
        engine.images.remove(tiny)
        engine.images.push(f"{host}/{path}", tag="1")
        assert site.actions(env={"DEBIAN_IMAGE": base}) == BUILT
    try:
        # The same image by its digest: nothing to do, and a build would work, too.
        assert site.actions(env={"DEBIAN_IMAGE": base}) == UNCHANGED
        assert site.actions("--rebuild", env={"DEBIAN_IMAGE": base}) == BUILT
    finally:
        forget_images(engine, f"{host}/{path}")


def test_a_base_that_is_nowhere_is_named(site: Site, registry: str) -> None:
    done = site.build(env={"MAUTIC_IMAGE": f"{registry}/nowhere/code:1"})
    assert done.returncode == 1
    assert f"there is no image {registry}/nowhere/code:1" in done.stderr
    assert site.registry.tags("mautic") == {}


# -- tags, branches, environments -------------------------------------------------------------


def test_branches_at_one_commit_share_its_tag(site: Site) -> None:
    site.built()
    git(site.checkout, "checkout", "--quiet", "-b", "feature/x")
    assert site.actions() == TAGGED
    tags = site.registry.tags("nginx")
    marker = next(tag for tag in tags if tag.startswith("branch.feature-x-"))
    slug = marker.split(".")[1]
    for tag in removable(tags, slug):
        assert site.registry.delete_tag("nginx", tag)
    left = site.registry.tags("nginx")
    assert left == {tag: digest for tag, digest in tags.items() if tag != marker}
    for tag in removable(left, "main"):
        assert site.registry.delete_tag("nginx", tag)
    assert not site.registry.tags("nginx")


def test_changes_that_go_out_under_another_branchs_name_are_told(site: Site) -> None:
    git(site.checkout, "branch", "feature/x")
    told = "uncommitted changes go out under the name of feature/x, which is not checked out"
    assert told not in site.build("--branch", "feature/x", "--dry-run").stderr
    site.write("nginx/own/file", "changed")
    assert told in site.build("--branch", "feature/x", "--dry-run").stderr
    assert "uncommitted" not in site.build("--branch", "main", "--dry-run").stderr


def test_a_dirty_tree_has_a_tag_of_its_own(site: Site) -> None:
    site.environment = {"tags": ["short-sha", "latest"]}
    short = git(site.checkout, "rev-parse", "HEAD")[:8]
    site.write("nginx/own/file", "one")
    one = site.built()["nginx"]["tags"][1]
    site.write("nginx/own/file", "two")
    two = site.built()["nginx"]["tags"][1]
    for tag in (one, two):
        assert re.fullmatch(rf"{short}-dirty-[0-9a-f]{{8}}", tag)
    assert one != two
    held = site.registry.tags("nginx")
    assert {one, two} <= held.keys()
    assert short not in held
    assert "latest" not in held


def test_latest_follows_the_last_commit(site: Site) -> None:
    site.environment = {"tags": ["short-sha", "latest"]}
    site.built()
    site.write("nginx/own/file", "changed")
    commit = site.commit()
    site.built()
    held = site.registry.tags("nginx")
    assert held["latest"] == held[commit]


def test_a_detached_head_needs_a_branch(site: Site) -> None:
    git(site.checkout, "checkout", "--quiet", "--detach")
    done = site.build()
    assert done.returncode == 2
    assert "--branch" in done.stderr
    assert site.actions("--branch", "main") == BUILT


def test_a_repository_without_a_commit_is_bad_input(site: Site) -> None:
    shutil.rmtree(site.checkout / ".git")
    git(site.checkout, "init", "--quiet")
    done = site.build()
    assert done.returncode == 2
    assert "there is no commit yet" in done.stderr


def test_a_shallow_clone_builds(site: Site, tmp_path: Path) -> None:
    site.commit("another")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{site.checkout}", str(shallow))
    site.checkout = shallow
    assert site.actions() == BUILT


PROTECTED = {"protected": True, "branches": ["main", "release/*"]}


@pytest.fixture
def published(site: Site, engine: docker.DockerClient) -> Iterator[str]:
    """A protected environment, and a base that a registry has by its digest; the base's name."""
    reference = f"{site.url}/base:1"
    engine.images.get(site.base).tag(reference)
    engine.api.push(reference)
    site.environment, site.base = PROTECTED, reference
    yield reference
    engine.api.remove_image(reference, force=True)


@pytest.mark.usefixtures("published")
def test_a_protected_environment_takes_a_clean_commit_of_its_branch_and_builds_it(
    site: Site,
) -> None:
    """The attack: others have pushed their own images under the very keys that it will have."""
    plan = json.loads(site.build("--dry-run", "--format", "json").stdout)
    foreign = {
        name: put_image(*f"{site.url}/{name}".split("/", 1), image["content"], "foreign")
        for name, image in plan["images"].items()
    }
    for _ in range(2):
        for name, image in site.built().items():
            assert image["action"] == "built"
            assert image["digest"] != foreign[name]
            assert "cache" not in site.registry.tags(name)


STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12
"""


def deployable(site: Site) -> subprocess.CompletedProcess[str]:
    """Plan a deploy of the images in the registry, which `build.json` says nothing of."""
    (site.checkout / "build.json").unlink(missing_ok=True)
    return site.inv(site.checkout, "deploy", "--dry-run", **site.options())


@pytest.mark.usefixtures("published")
def test_production_runs_only_images_that_are_stated_to_be_of_its_commit(site: Site) -> None:
    """The attacks: move production's tag to an image of one's own, or of another commit."""
    site.write("nginx/own/status", STATUS)
    site.write("nginx/own/security", "libc6 2.41-12+deb13u1\n")
    with (site.checkout / "docker" / "nginx" / "Dockerfile").open("a") as file:
        file.write("COPY own/status /var/lib/dpkg/status\n")
        file.write("COPY own/security /usr/share/mautic-multidev/security-archive\n")
    first = site.commit("a library")
    site.environment = {**site.environment, "tags": ["short-sha", "latest"]}
    done = site.build()
    assert done.returncode == 0, done.stderr
    assert "attest nginx: 1 packages" in done.stderr
    assert "libc6" not in done.stderr  # there was no image before
    old = build_json(site.checkout)["images"]
    stated = attest.statements_of(site.registry, "mautic", old["mautic"]["digest"], None)
    source = provenance_in(stated[PROVENANCE].predicate)
    assert (source.commit[:8], source.environment, source.target) == (first, "local", "mautic")
    assert source.bases["DEBIAN_IMAGE"].startswith(f"{site.base}@sha256:")

    site.write("nginx/own/status", STATUS.replace("2.41-12", "2.41-12+deb13u1"))
    second = site.commit("a newer one")
    done = site.build()
    assert done.returncode == 0, done.stderr
    assert "nginx: libc6 2.41-12 → 2.41-12+deb13u1 (security archive)" in done.stderr
    assert "mautic: the same packages as before" in done.stderr
    new = build_json(site.checkout)["images"]
    done = deployable(site)
    assert done.returncode == 0, done.stderr
    assert f"nginx: built from {second}" in done.stderr

    # Of another commit, with everything that is stated of it.
    site.registry.tag("nginx", old["nginx"]["digest"], [second])
    done = deployable(site)
    assert done.returncode == 3, done.stderr
    assert f"its commit is {first}" in done.stderr
    # Nobody knows whose.
    put_image(*f"{site.url}/nginx".split("/", 1), second, "foreign")
    done = deployable(site)
    assert done.returncode == 3, done.stderr
    assert "it has no provenance" in done.stderr
    # With what is attached to the right one.
    foreign = site.registry.digest("nginx", second) or ""
    files = site.registry.attached("nginx", new["nginx"]["digest"])
    site.registry.attach("nginx", foreign, files)
    done = deployable(site)
    assert done.returncode == 3, done.stderr
    assert f"is stated of {new['nginx']['digest']}" in done.stderr


@pytest.mark.usefixtures("published")
def test_a_rebuild_of_production_changes_only_what_has_other_packages(
    site: Site, engine: docker.DockerClient
) -> None:
    site.environment = {**site.environment, "tags": ["short-sha", "latest"]}

    def debian(version: str) -> dict[str, str]:
        """Which version there is by now is said by a base: the commit stays the same."""
        status = STATUS.replace("2.41-12", version).encode()
        local = tiny_base(engine, f"libc-{secrets.token_hex(4)}", status)
        reference = f"{site.url}/code:{version}"
        engine.images.get(local).tag(reference)
        engine.api.push(reference)
        return {"MAUTIC_IMAGE": reference}

    with (site.checkout / "docker" / "mautic" / "Dockerfile").open("a") as file:
        file.write("COPY --from=code /name /var/lib/dpkg/status\n")
        file.write("COPY <<EOF /usr/share/mautic-multidev/security-archive\nlibc6 2.41-8.5\nEOF\n")
    site.commit("a library")
    old = debian("2.41-8.4")
    first = site.built(env=old)
    tags = {name: site.registry.tags(name) for name in first}

    done = site.build("--if-changed", env=old)
    assert done.returncode == 0, done.stderr
    for name, image in build_json(site.checkout)["images"].items():
        assert f"{name}: the same packages as before" in done.stderr
        assert (image["action"], image["digest"]) == ("unchanged", first[name]["digest"])
        assert site.registry.tags(name) == tags[name]
    assert deployable(site).returncode == 0

    # Somebody else's image under this commit's tag, and no package that differs.
    (tag,) = (tag for tag in tags["mautic"] if tag.startswith("branch."))
    put_image(*f"{site.url}/mautic".split("/", 1), tag, "foreign")
    done = site.build("--if-changed", env=old)
    assert done.returncode == 0, done.stderr
    assert "mautic: what the image before held is unknown" in done.stderr
    images = build_json(site.checkout)["images"]
    assert [images[name]["action"] for name in ("mautic", "nginx")] == ["built", "unchanged"]
    assert site.registry.digest("mautic", tag) == images["mautic"]["digest"]
    assert deployable(site).returncode == 0

    done = site.build("--if-changed", env=debian("2.41-8.5"))
    assert done.returncode == 0, done.stderr
    assert "mautic: libc6 2.41-8.4 → 2.41-8.5 (security archive)" in done.stderr
    renewed = build_json(site.checkout)["images"]
    # Both are made of that base.
    assert [renewed[name]["action"] for name in ("mautic", "nginx")] == ["built", "built"]
    assert renewed["mautic"]["difference"]["packages"] == [
        {
            "kind": "deb",
            "name": "libc6",
            "before": "2.41-8.4",
            "after": "2.41-8.5",
            "is_security": True,
        }
    ]
    assert site.registry.digest("mautic", "latest") == renewed["mautic"]["digest"]
    assert deployable(site).returncode == 0


def test_only_images_that_state_something_are_compared(site: Site) -> None:
    done = site.build("--if-changed")
    assert done.returncode == 2
    assert "those of local state nothing" in done.stderr


def test_a_protected_environment_refuses_a_base_that_only_this_engine_has(site: Site) -> None:
    """The attack: `docker tag`, by which a stand-in gets the name of a real base."""
    site.environment = PROTECTED
    done = site.build()
    assert done.returncode == 3
    assert f"is {site.base}, which only this machine's engine has" in done.stderr


def test_a_protected_environment_refuses_a_stand_in_under_another_name(
    site: Site, engine: docker.DockerClient, published: str
) -> None:
    told = engine.images.build(
        fileobj=io.BytesIO(f'FROM {published}\nLABEL {STANDIN}="true"\n'.encode()), tag=published
    )
    assert told
    engine.api.push(published)
    done = site.build()
    assert done.returncode == 3
    assert "it takes no stand-ins, and DEBIAN_IMAGE is one under another name" in done.stderr


@pytest.mark.usefixtures("published")
def test_a_protected_environment_refuses_tags_that_are_not_of_its_commit(site: Site) -> None:
    """The attack: `--tag` names images of a branch, or of nobody knows what."""
    for tag in ("feature1", "latest"):
        for name in ("mautic", "nginx"):
            put_image(*f"{site.url}/{name}".split("/", 1), tag, "foreign")
        done = site.inv(site.checkout, "deploy", "--tag", tag, "--dry-run", **site.options())
        assert done.returncode == 3, done.stdout
        assert f"not {tag}" in done.stderr


@pytest.mark.usefixtures("published")
def test_a_protected_environment_refuses_charts_and_values_that_git_does_not_have(
    site: Site,
) -> None:
    """The attack: what a deploy reads is changed where `git status` does not look."""
    values = "helm/environments/prod.yaml"
    site.environment = {**PROTECTED, "values": [values]}
    git(site.checkout, "update-index", "--assume-unchanged", values)
    before = (site.checkout / values).read_text()
    (site.checkout / values).write_text("sleeping: true")
    assert git(site.checkout, "status", "--porcelain") == ""
    assert f"{values} is not as committed" in site.build().stderr
    (site.checkout / values).write_text(before)
    (site.checkout / ".git" / "info" / "exclude").write_text("*.local.yaml\n")
    added = "helm/mautic/templates/a.local.yaml"
    (site.checkout / added).write_text("kind: ClusterRoleBinding")
    done = site.inv(site.checkout, "deploy", "--dry-run", **site.options())
    assert done.returncode == 3
    assert f"{added} is not as committed" in done.stderr
    (site.checkout / added).unlink()
    gone = "helm/mautic/templates/networkpolicy.yaml"
    git(site.checkout, "update-index", "--skip-worktree", gone)
    policy = (site.checkout / gone).read_text()
    (site.checkout / gone).unlink()
    assert git(site.checkout, "status", "--porcelain") == ""
    assert f"{gone} is not as committed" in site.build().stderr
    (site.checkout / gone).write_text(policy)
    assert site.build("--dry-run").returncode == 0


def test_a_protected_environment_refuses_a_dirty_tree(site: Site) -> None:
    site.environment = PROTECTED
    site.write("nginx/own/file", "changed")
    done = site.build()
    assert done.returncode == 3
    assert "uncommitted changes" in done.stderr
    assert site.registry.tags("nginx") == {}


def test_what_git_ignores_has_a_tag_of_its_own_and_goes_into_nothing_protected(site: Site) -> None:
    clean = site.built()["mautic"]["tags"]
    with (site.checkout / ".git" / "info" / "exclude").open("a") as file:
        file.write("*.map\n")
    site.write("mautic/plugins/a.map", "ignored")
    assert git(site.checkout, "status", "--porcelain") == ""
    dirty = site.built()["mautic"]["tags"]
    assert "-dirty-" in dirty[1]
    assert not set(clean) & set(dirty)
    site.environment = PROTECTED
    done = site.build()
    assert done.returncode == 3
    assert "docker/mautic/plugins/a.map is not as committed" in done.stderr


def test_what_is_not_here_is_refused_by_its_name(site: Site) -> None:
    oid = "0" * 64
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 1\n"
    site.write("mautic/plugins/a.png", pointer)
    site.commit()
    done = site.build()
    assert done.returncode == 2
    assert "docker/mautic/plugins/a.png is only a pointer of Git LFS" in done.stderr
    assert "git lfs pull" in done.stderr
    (site.checkout / "docker" / "mautic" / "plugins" / "a.png").unlink()
    (site.checkout / "docker" / "mautic" / "plugins" / "b").symlink_to("/etc/passwd")
    done = site.build()
    assert done.returncode == 2
    assert "docker/mautic/plugins/b is a link to /etc/passwd" in done.stderr


def test_what_a_bake_file_hides_from_its_text_is_refused(site: Site) -> None:
    bake = site.checkout / "docker" / "docker-bake.hcl"
    text = bake.read_text().replace('"docker/nginx"', '"${"docker/nginx"}"')
    bake.write_text(text)
    done = site.build()
    assert done.returncode == 2
    assert "a target is built from docker/nginx, which its text does not show" in done.stderr


def test_a_protected_environment_refuses_other_branches(site: Site) -> None:
    site.environment = PROTECTED
    git(site.checkout, "checkout", "--quiet", "-b", "feature")
    done = site.build()
    assert done.returncode == 3
    assert "feature is none of its branches (main, release/*)" in done.stderr


def test_a_protected_environment_refuses_a_commit_that_is_not_on_the_branch(site: Site) -> None:
    site.environment = PROTECTED
    git(site.checkout, "checkout", "--quiet", "--detach")
    site.write("nginx/own/file", "changed")
    commit = site.commit()
    done = site.build("--branch", "main")
    assert done.returncode == 3
    assert f"commit {commit} is not on main" in done.stderr


def test_a_protected_environment_refuses_stand_ins(site: Site) -> None:
    site.environment = PROTECTED
    site.images = {"source": "standins"}
    done = site.build(env={"DEBIAN_IMAGE": "debian:trixie-slim"})
    assert done.returncode == 3
    assert "it takes no stand-ins (here: debian)" in done.stderr


# -- plans, records, both at once -------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_does_nothing(site: Site) -> None:
    dry = site.build("--dry-run")
    assert dry.returncode == 0, dry.stderr
    short = git(site.checkout, "rev-parse", "HEAD")[:8]
    assert dry.stdout.splitlines() == [
        f"build {short} of main for local:",
        "  build  image mautic  (its content is new)",
        f"  tag    image mautic  ({short}, branch.main.{short})",
        "  build  image nginx  (its content is new)",
        f"  tag    image nginx  ({short}, branch.main.{short})",
    ]
    assert site.registry.tags("mautic") == {}
    assert not (site.checkout / "build.json").exists()


def test_a_dry_run_tells_what_would_be_tagged_or_kept(site: Site) -> None:
    site.built()
    site.write("nginx/own/file", "changed")
    site.commit()
    plan = json.loads(site.build("--dry-run", "--format", "json").stdout)
    assert plan["images"]["mautic"]["steps"] == ["tag"]
    assert plan["images"]["nginx"]["steps"] == ["build", "tag"]
    site.built()
    plan = json.loads(site.build("--dry-run", "--format", "json").stdout)
    assert plan["images"]["mautic"]["steps"] == ["keep"]


def planned(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    return site.inv(site.checkout, *options, **site.options())


def test_one_plan_shows_what_is_built_and_is_not_saved_before(site: Site) -> None:
    done = planned(site, "plan", "--out", "plan.json")
    assert done.returncode == 3, done.stderr
    assert "  build  image nginx  (its content is new)" in done.stdout
    assert "  + container/web" in done.stdout
    assert "mautic and nginx have to be built first" in done.stderr
    assert not (site.checkout / "plan.json").exists()
    assert site.registry.tags("mautic") == {}


def test_a_saved_plan_holds_until_a_file_of_an_image_is_another(site: Site) -> None:
    images = site.built()
    done = planned(site, "plan", "--out", "plan.json", "--format", "json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["images"]["nginx"] == images["nginx"]["reference"]
    assert plan["build"]["images"]["nginx"]["steps"] == ["keep"]
    again = planned(site, "deploy", "--plan", "plan.json", "--dry-run")
    assert again.returncode == 0, again.stderr
    site.write("nginx/own/file", "changed")
    refused = planned(site, "deploy", "--plan", "plan.json")
    assert refused.returncode == 3
    assert "no longer holds: " in refused.stderr
    assert "content of nginx" in refused.stderr


def test_a_saved_plan_knows_the_images_that_it_only_tags(site: Site) -> None:
    images = site.built()
    git(site.checkout, "commit", "--quiet", "--allow-empty", "-m", "nothing")
    done = planned(site, "plan", "--out", "plan.json", "--format", "json")
    plan = json.loads(done.stdout)
    assert plan["build"]["images"]["nginx"]["steps"] == ["tag"]
    assert plan["images"]["nginx"] == images["nginx"]["reference"]
    assert planned(site, "deploy", "--plan", "plan.json", "--dry-run").returncode == 0
    site.commit("another")
    assert "no longer holds: commit" in planned(site, "deploy", "--plan", "plan.json").stderr


def test_what_build_prints_as_json_is_what_it_writes(site: Site) -> None:
    done = site.build("--format", "json")
    assert json.loads(done.stdout) == build_json(site.checkout)


def test_a_tag_is_deployed_by_digest(site: Site) -> None:
    images = site.built()
    tag = images["nginx"]["tags"][1]
    assert resolve_images(site.registry, tag) == {
        name: image["reference"] for name, image in images.items()
    }


def test_a_tag_of_which_an_image_is_missing_is_not_deployed(site: Site) -> None:
    tag = site.built("--only", "nginx")["nginx"]["tags"][1]
    with pytest.raises(RegistryError, match=f"no image {tag} in {site.url}/mautic$") as caught:
        resolve_images(site.registry, tag)
    assert caught.value.hint == "run inv build"


def test_two_builds_of_one_tree_at_once_both_succeed(site: Site) -> None:
    running = [site.inv.start(site.checkout, "build", **site.options()) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    written = build_json(site.checkout)["images"]
    for name, image in written.items():
        assert site.registry.digest(name, image["digest"])
    assert site.actions().keys() == written.keys()


# -- the project's own images -----------------------------------------------------------------


def test_the_projects_own_images_are_built_on_stand_ins(
    checkout: Path, inv: Inv, registry: str, engine: docker.DockerClient
) -> None:
    host = registry
    site = Site(checkout, inv, f"{host}/t{secrets.token_hex(4)}", "")
    site.images = {"source": "standins"}
    env = {"DEBIAN_IMAGE": "debian:trixie-slim", "MAUTIC_IMAGE": ""}
    try:
        done = site.build(env=env)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("not for production") == 1
        with front_door(host, lambda _: None) as (door, seen):
            again = site.build(env=env, url=site.url.replace(host, door))
            assert again.returncode == 0, again.stderr
        # Found in the registry: asked for by name, neither pulled nor made.
        assert {r.method for r in seen if "/standins/" in r.path} == {"HEAD"}
        assert {r.path.split("/")[3] for r in seen if "/standins/" in r.path} == {
            "debian",
            "mautic",
        }
        written = build_json(checkout)["images"]
        assert {name: image["action"] for name, image in written.items()} == UNCHANGED
        digest = written["mautic"]["digest"]
        config = engine.images.get(site.registry.reference("mautic", digest)).attrs["Config"]
        assert config["User"] == "33:33"
    finally:
        forget_images(engine, f"{site.url}/")
        forget_images(engine, f"{host}/standins/")

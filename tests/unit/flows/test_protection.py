"""What may go to a protected environment: which tag, and what a deploy reads from the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.adapters.git import Checkout
from tasks.core.errors import RefusedError
from tasks.core.project_files import LOCK
from tasks.flows.protection import DeployedFrom, guard, guard_tag
from tests.support.fakes_images import COMMIT, FakeGit, a_subject, an_environment

HEAD = Checkout(COMMIT, None)


@pytest.mark.parametrize("tag", ["latest", "deadbeef", "content-1a2b3c4d", COMMIT, ""])
def test_only_the_tag_of_what_is_checked_out_is_taken(tag: str) -> None:
    guard_tag("prod", HEAD, HEAD.tag)
    with pytest.raises(RefusedError, match="prod is protected: it takes the images of the commit"):
        guard_tag("prod", HEAD, tag)


def test_an_unprotected_environment_is_not_asked_about(tmp_path: Path) -> None:
    git = FakeGit(not_committed=["helm/mautic/values.yaml"], is_there=False)
    guard(a_subject(dirty="0a1b2c3d"), git, tmp_path)
    with pytest.raises(RefusedError):
        guard(a_subject(an_environment(protected=True), dirty="0a1b2c3d"), git, tmp_path)


def test_a_deploy_reads_settings_chart_and_values_and_what_links_lead_to(tmp_path: Path) -> None:
    root, outside = tmp_path / "checkout", tmp_path / "outside.yaml"
    templates = root / "helm" / "mautic" / "templates"
    templates.mkdir(parents=True)
    outside.write_text("a: 1")
    (root / "prod.yaml").symlink_to(outside)
    for path in (root / "invoke.yaml", templates / "a.yaml", root / "helm" / "other.yaml"):
        path.write_text("a: 1")
    read = DeployedFrom(root, ("prod.yaml", "absent.yaml", str(outside)))
    assert read.paths() == {
        *("invoke.yaml", "helm/mautic/templates/a.yaml", "prod.yaml"),
        "../outside.yaml",
    }
    assert read.holds("helm/mautic/templates/new.yaml")
    assert not read.holds("helm/other.yaml")


def test_of_a_project_it_reads_the_lock_that_names_the_suite(tmp_path: Path) -> None:
    (tmp_path / LOCK).parent.mkdir()
    (tmp_path / LOCK).touch()
    read = DeployedFrom(tmp_path)
    assert read.paths() == {LOCK}
    assert read.holds(LOCK)

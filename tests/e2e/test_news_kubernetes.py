"""A merge request's note, a summary and a chat, written by the jobs' own lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.gitlab_api import TOKEN, FakeGitlab, Fault
from tests.support.kube_cli import ON, KubeEnv, with_remote

BRANCH = "feature/`@all`<!--x"
FIRST, SECOND = "first", "second"


@pytest.fixture(scope="module")
def site(kube_env: KubeEnv) -> KubeEnv:
    with_remote(kube_env.checkout)
    for tag in (FIRST, SECOND):
        kube_env.push(tag)
    return kube_env


@pytest.fixture
def gitlab() -> Iterator[FakeGitlab]:
    with FakeGitlab() as server:
        yield server


def job(
    site: KubeEnv, gitlab: FakeGitlab, *words: str, branch: str = BRANCH
) -> CompletedProcess[str]:
    """Run a job's line."""
    settings = site.settings(patience={"stability_seconds": 1, "grace_seconds": 4})
    line = (words[0], *ON, "--branch", branch, *words[1:])
    done = site.run(*line, settings=settings, env=gitlab.variables())
    assert TOKEN not in done.stdout + done.stderr
    return done


def spoil(site: KubeEnv, branch: str) -> Any:
    """Let the image of web be missing; return what decided before."""
    before, where = site.node.decide, site.names(branch).namespace

    def decide(pod: dict[str, Any]) -> str:
        is_web = pod["metadata"]["labels"].get("app.kubernetes.io/component") == "web"
        fates = {True: "fpm=image-missing", False: ""}
        return fates[is_web and pod["metadata"]["namespace"] == where]

    site.node.decide = decide
    return before


def test_one_note_follows_a_branch_through_its_life(
    site: KubeEnv, gitlab: FakeGitlab, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    done = job(site, gitlab, "deploy", "--tag", FIRST, "--summary", str(summary))
    assert done.returncode == 0, done.stderr
    (body,) = gitlab.own()
    url = done.stdout.strip()
    assert f"- Site: <{url}>" in body
    assert f"- Mails: are caught and shown: <{url}/_mail/>" in body
    assert "- Migrations: `none; the newest is Version1`" in body
    assert "- Login in front of the site: ``./inv url --login --env dev --branch '" in body
    assert "kubectl get secret mautic --namespace" in body
    assert body.endswith(summary.read_text().rstrip("\n") + "\n")
    before = spoil(site, BRANCH)
    try:
        done = job(site, gitlab, "deploy", "--tag", SECOND)
    finally:
        site.node.decide = before
    assert done.returncode == 1, done.stderr
    (body,) = gitlab.own()
    assert "was not deployed to `dev`" in body
    assert re.search(r"- Cause: `pod/\S+-web-\S+ container fpm: the image cannot be pulled", body)
    assert f"- What became of it: `rolled back to {FIRST}, which is running again`" in body
    where = re.search(r"evidence: (artifacts/\S+)", done.stderr)
    assert where
    assert f"https://gitlab.example.com/team/mautic/-/jobs/1/artifacts/browse/{where[1]}/" in body
    done = job(site, gitlab, "cleanup")
    assert done.returncode == 0, done.stderr
    (body,) = gitlab.own()
    assert "was removed from `dev`" in body
    assert gitlab.commands == []


@pytest.mark.parametrize("status", [403, 503])
def test_a_gitlab_that_fails_fails_no_deploy(
    site: KubeEnv, gitlab: FakeGitlab, status: int
) -> None:
    gitlab.faults = [Fault(status)] * 20
    done = job(site, gitlab, "deploy", "--tag", FIRST, branch="quiet")
    assert done.returncode == 0, done.stderr
    assert "! the merge request's note was not written: 127.0.0.1" in done.stderr
    assert str(status) in done.stderr

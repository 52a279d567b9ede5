"""What a protected environment relies on in GitLab: from facts to findings with remedies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.core.doctor.checks import Finding, Severity, version_of

VERSION_MIN = (18, 4)
"""The first one with `access: maintainer` for artifacts, which .gitlab-ci.yml says
(https://docs.gitlab.com/ci/yaml/#artifactsaccess)."""

_FORKS_APART = (18, 2, 2)
"""Before, a token of a merge request from a fork had the parent's project and branch as its `sub`
(https://gitlab.com/gitlab-org/gitlab/-/issues/563038)."""

FORKS = "ci_allow_fork_pipelines_to_run_in_parent_project"
"""A project's attribute in GitLab's API."""

CHECK = "gitlab"


@dataclass(frozen=True)
class GitlabFacts:
    """What GitLab says of itself and of a project.

    Attributes:
        version: its version, or empty if unknown.
        forks: whether pipelines of forks run in the project, or None if unknown.
        runners: for each runner with the protected jobs' tag, whether it takes jobs of protected
            branches alone; None if unknown.
        unknown: why something is unknown, or empty.
    """

    version: str = ""
    forks: bool | None = None
    runners: Mapping[str, bool] | None = None
    unknown: str = ""


def judge_gitlab(facts: GitlabFacts, tag: str) -> tuple[Finding, ...]:
    """Return the findings on GitLab.

    Args:
        facts: what is known of it.
        tag: the tag of the runners for protected jobs.
    """
    found = []
    if facts.version:
        found.append(_version(facts.version))
    if facts.forks is not None:
        found.append(_forks(is_allowed=facts.forks))
    if facts.runners is not None:
        found.append(_runners(facts.runners, tag))
    if facts.unknown:
        oldest = ".".join(map(str, VERSION_MIN))
        found.append(
            Finding(
                CHECK,
                Severity.WARNING,
                f"not everything is known that production relies on: {facts.unknown}",
                "set GITLAB_TOKEN to a token of a maintainer with read_api; or look yourself: "
                f"GitLab {oldest} or later, no pipelines of forks in this project, a protected "
                f"runner with the tag {tag} (docs/security.md)",
            )
        )
    return tuple(found)


def _version(version: str) -> Finding:
    if version_of(version) >= VERSION_MIN:
        return Finding(CHECK, Severity.OK, f"GitLab {version}")
    why = (
        "AWS cannot tell a fork's branch from this project's"
        if version_of(version) < _FORKS_APART
        else "it does not know `access: maintainer` of artifacts, and refuses the pipeline"
    )
    return Finding(
        CHECK,
        Severity.PROBLEM,
        f"GitLab {version}: {why}",
        f"upgrade it to {'.'.join(map(str, VERSION_MIN))} or later",
    )


def _forks(*, is_allowed: bool) -> Finding:
    if not is_allowed:
        return Finding(CHECK, Severity.OK, "pipelines of forks do not run in this project")
    return Finding(
        CHECK,
        Severity.PROBLEM,
        "pipelines of forks may run in this project, on its runners",
        f"switch them off: {FORKS}=false (PUT /projects/:id), or in the project's CI/CD settings",
    )


def _runners(runners: Mapping[str, bool], tag: str) -> Finding:
    if not runners:
        return Finding(
            CHECK,
            Severity.PROBLEM,
            f"no runner has the tag {tag}: protected jobs never start",
            "give a protected runner that tag, or say another by PROTECTED_RUNNER_TAG",
        )
    shared = sorted(name for name, is_protected in runners.items() if not is_protected)
    if shared:
        return Finding(
            CHECK,
            Severity.PROBLEM,
            f"runner {shared[0]} has the tag {tag} and runs jobs of every branch",
            "make it a protected runner, or take the tag from it",
        )
    return Finding(CHECK, Severity.OK, f"protected runners with the tag {tag}: {len(runners)}")

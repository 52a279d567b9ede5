"""Finds a project on GitLab, and asks what its protected jobs rely on. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from tasks.adapters.gitlab_api import AUTHORITIES, GitlabError, GitlabProject
from tasks.core.doctor.gitlab import GitlabFacts
from tasks.core.repository import canonical

TOKEN = "GITLAB_TOKEN"  # noqa: S105 - the variable's name


def gitlab_facts(environ: Mapping[str, str], repository: str, tag: str) -> GitlabFacts:
    """Return what GitLab says of itself and of a project.

    Args:
        environ: may have a token; in a job GitLab's own variables say where it is.
        repository: the project's address.
        tag: the tag of the runners for protected jobs.
    """
    version = environ.get("CI_SERVER_VERSION", "")
    token = environ.get(TOKEN)
    if not token:
        return GitlabFacts(version, unknown=f"there is no {TOKEN}")
    api, path = project_address(environ, repository)
    if not api:
        return GitlabFacts(version, unknown=f"{repository} is no address of GitLab")
    # Whoever asks waits for the answer: GitLab that is away is told at once.
    project = GitlabProject(api, path, token, environ.get(AUTHORITIES, ""), pauses=())
    try:
        version = project.version()
        return GitlabFacts(version, project.runs_forks(), project.runners(tag))
    except GitlabError as error:
        return GitlabFacts(version, unknown=error.message)


def project_address(environ: Mapping[str, str], repository: str) -> tuple[str, str]:
    """Return the API's address and the project's path in it; empty if they are unknown."""
    if environ.get("CI_API_V4_URL") and environ.get("CI_PROJECT_ID"):
        return environ["CI_API_V4_URL"], f"/projects/{environ['CI_PROJECT_ID']}"
    parts = urlsplit(canonical(repository))
    if parts.scheme != "https":
        return "", ""
    return f"https://{parts.netloc}/api/v4", f"/projects/{quote(parts.path.strip('/'), safe='')}"

"""Asks GitLab's API what a project's protected jobs rely on. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from tasks.core.doctor.gitlab import FORKS, GitlabFacts
from tasks.core.errors import reason_of
from tasks.core.repository import canonical

TOKEN = "GITLAB_TOKEN"  # noqa: S105 - the variable's name
TIMEOUT_SECONDS = 10
RUNNERS_MAX = 100
"""Runners of one page, at most; more of them with one tag is no small project any more."""


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
    api, project = project_address(environ, repository)
    if not api:
        return GitlabFacts(version, unknown=f"{repository} is no address of GitLab")

    import requests

    with requests.Session() as session:
        session.headers["PRIVATE-TOKEN"] = token

        def ask(path: str) -> Any:
            answer = session.get(f"{api}{path}", timeout=TIMEOUT_SECONDS, allow_redirects=False)
            answer.raise_for_status()
            return answer.json()

        try:
            version = str(ask("/version")["version"])
            forks = bool(ask(project)[FORKS])
            return GitlabFacts(version, forks, _runners(ask, project, tag))
        except (OSError, KeyError, TypeError, ValueError) as error:
            why = reason_of(error) if isinstance(error, OSError) else f"it answered without {error}"
            return GitlabFacts(version, unknown=f"{api}: {why}")


def _runners(ask: Callable[[str], Any], project: str, tag: str) -> dict[str, bool]:
    """Return, for each runner of a project with a tag, whether it is protected."""
    listed = ask(f"{project}/runners?tag_list={quote(tag, safe='')}&per_page={RUNNERS_MAX}")
    return {
        str(one.get("description") or one["id"]): ask(f"/runners/{one['id']}")["access_level"]
        == "ref_protected"
        for one in listed
    }


def project_address(environ: Mapping[str, str], repository: str) -> tuple[str, str]:
    """Return the API's address and the project's path in it; empty if they are unknown."""
    if environ.get("CI_API_V4_URL") and environ.get("CI_PROJECT_ID"):
        return environ["CI_API_V4_URL"], f"/projects/{environ['CI_PROJECT_ID']}"
    parts = urlsplit(canonical(repository))
    if parts.scheme != "https":
        return "", ""
    return f"https://{parts.netloc}/api/v4", f"/projects/{quote(parts.path.strip('/'), safe='')}"

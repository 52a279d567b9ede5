"""Puts together the sweep of GitLab's page of environments, a part of `inv gc`."""

from __future__ import annotations

import os
from datetime import timedelta

from tasks.adapters.gitlab_api import AUTHORITIES, GitlabProject
from tasks.adapters.gitlab_project import TOKEN, project_address
from tasks.app.session import Session
from tasks.core.durations import hours_of
from tasks.core.errors import SuiteError
from tasks.flows.gitlab_gc import PageSweep, plan_page_sweep, run_page_sweep
from tasks.flows.views import now


def page_sweep(session: Session, env: str) -> PageSweep:
    """Return what is over on GitLab's page; nothing without a token.

    That GitLab cannot be asked is a warning: the cluster is swept all the same.
    """
    _, own = session.environment(env)
    page = _page(session)
    if page is None or own.gc.gitlab_stopped is None:
        return PageSweep()
    lifetime = timedelta(hours=hours_of(own.gc.gitlab_stopped))
    try:
        return plan_page_sweep(page, lifetime, now())
    except SuiteError as error:
        session.console.warn(f"GitLab's page of environments was not looked at: {error.message}")
        return PageSweep()


def clear_page(session: Session, sweep: PageSweep) -> None:
    """Delete what is over from GitLab's page; a failure is a warning."""
    page = _page(session)
    if page is None or not sweep.gone:
        return
    try:
        run_page_sweep(page, sweep, session.console.work)
    except SuiteError as error:
        session.console.warn(f"not all went from GitLab's page: {error.message}")


def _page(session: Session) -> GitlabProject | None:
    """Return the project on GitLab, or None where no token opens it."""
    token = os.environ.get(TOKEN, "")
    api, project = project_address(os.environ, session.git.repository())
    if not (token and api):
        return None
    session.redactor.add(token)
    return GitlabProject(api, project, token, os.environ.get(AUTHORITIES, ""))

"""What has become of a branch's environment, as news for people."""

from __future__ import annotations

from dataclasses import replace

from tasks.core.environment import State
from tasks.core.errors import SuiteError
from tasks.core.names import Names
from tasks.core.news import Event, News
from tasks.flows.deploy import DeployResult, FailedDeployError
from tasks.flows.target import DeployPlan, Request

_FAILED = frozenset({State.FAILED, State.ROLLED_BACK})


def of_deploy(done: DeployResult, at: str, *, has_door: bool, job: str = "") -> News:
    """Return the news that a branch was deployed.

    Args:
        at: when, ISO 8601, UTC.
        has_door: whether a login stands in front of the site.
        job: the pipeline's job; empty outside of pipelines.
    """
    plan, names = done.plan, done.plan.request.names
    record = plan.record
    return replace(
        _of(Event.RUNS, names, at, job),
        is_change=plan.is_first or bool(record and (record.failure or record.state in _FAILED)),
        url=done.url,
        tag=plan.release.tag,
        migrations=_migrations(plan),
        mail_url=plan.mail_url,
        login=f"./inv url --login {names.options}" if has_door else "",
        password=done.password,
    )


def of_failure(request: Request, error: SuiteError, at: str, job: str = "") -> News:
    """Return the news that a deploy has failed, or was refused; arguments as for ``of_deploy``."""
    news = replace(_of(Event.FAILED, request.names, at, job), tag=request.tag, cause=error.message)
    if not isinstance(error, FailedDeployError):
        return news
    return replace(news, cause=error.cause, became=error.became, evidence=error.evidence)


def of_removal(names: Names, at: str, job: str = "") -> News:
    """Return the news that an environment is gone; arguments as for ``of_deploy``."""
    return _of(Event.REMOVED, names, at, job)


def _of(event: Event, names: Names, at: str, job: str) -> News:
    return News(
        event=event,
        branch=names.branch,
        environment=names.environment,
        slug=names.slug,
        at=at,
        job=job,
    )


def _migrations(plan: DeployPlan) -> str:
    """Return what a deploy has migrated."""
    before = plan.record.current.migration if plan.record and plan.record.current else ""
    newest = plan.release.migration
    if before and newest and before != newest:
        return f"from {before} to {newest}"
    return f"none; the newest is {newest}" if newest else ""

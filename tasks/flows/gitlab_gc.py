"""What is over on GitLab's page of environments: stopped ones of branches, in their hundreds."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from tasks.adapters.terminal.console import Work
from tasks.core.gitlab_page import StoppedEnvironment, over
from tasks.core.plan import Step

COLUMNS = ("stopped on GitLab's page", "since")


class EnvironmentsPage(Protocol):
    """GitLab's page of a project's environments."""

    def protected(self) -> Collection[str]:
        """Return names and tiers that GitLab protects."""

    def stopped(self) -> Iterable[StoppedEnvironment]:
        """Return the environments of branches that were stopped."""

    def delete_environment(self, number: int) -> bool:
        """Delete a stopped environment; return False if it is gone."""


@dataclass(frozen=True)
class PageSweep:
    """Stopped environments that GitLab's page need not show any more."""

    gone: tuple[StoppedEnvironment, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step for each."""
        return tuple(Step("remove", f"{each.name} from GitLab's page") for each in self.gone)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of a table of ``COLUMNS``."""
        return [(each.name, each.since.date().isoformat()) for each in self.gone]


def plan_page_sweep(page: EnvironmentsPage, lifetime: timedelta, now: datetime) -> PageSweep:
    """Return what is over on GitLab's page; reads only.

    Raises:
        SuiteError: GitLab cannot be asked, or does not say what is protected.
    """
    protected = page.protected()
    return PageSweep(over(page.stopped(), protected, lifetime=lifetime, now=now))


def run_page_sweep(page: EnvironmentsPage, sweep: PageSweep, work: Work) -> None:
    """Delete what is over from GitLab's page.

    Raises:
        SuiteError: GitLab refused; what was deleted before stays deleted.
    """
    with work("remove stopped environments from GitLab's page") as activity:
        done = 0
        for each in sweep.gone:
            done += page.delete_environment(each.number)
            activity.outcome = f"{done} removed"

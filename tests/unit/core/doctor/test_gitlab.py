"""What production relies on in GitLab, and what is said where it is not so."""

from __future__ import annotations

import pytest

from tasks.core.doctor.checks import Severity
from tasks.core.doctor.gitlab import GitlabFacts, judge_gitlab

GOOD = GitlabFacts("18.4.0-ee", forks=False, runners={"eight": True})


@pytest.mark.parametrize(
    ("facts", "level", "found"),
    [
        (GitlabFacts("18.4.0-ee"), Severity.OK, "GitLab 18.4.0-ee"),
        (GitlabFacts("18.3.6"), Severity.PROBLEM, "18.3.6: it does not know `access: maintainer`"),
        (GitlabFacts("18.2.2-ee"), Severity.PROBLEM, "does not know `access: maintainer`"),
        (GitlabFacts("19.0.0-pre"), Severity.OK, "GitLab 19.0.0-pre"),
        (GitlabFacts("18.2.1"), Severity.PROBLEM, "cannot tell a fork's branch"),
        (GitlabFacts("17.11.7-ee"), Severity.PROBLEM, "cannot tell a fork's branch"),
        (GitlabFacts(forks=False), Severity.OK, "pipelines of forks do not run"),
        (GitlabFacts(forks=True), Severity.PROBLEM, "pipelines of forks may run"),
        (GitlabFacts(runners={"a": True, "b": True}), Severity.OK, "with the tag safe: 2"),
        (GitlabFacts(runners={"a": True, "b": False}), Severity.PROBLEM, "runner b has the tag"),
        (GitlabFacts(runners={}), Severity.PROBLEM, "no runner has the tag safe"),
        (GitlabFacts(unknown="no token"), Severity.WARNING, "production relies on: no token"),
    ],
)
def test_each_fact_is_judged(facts: GitlabFacts, level: Severity, found: str) -> None:
    (finding,) = judge_gitlab(facts, "safe")
    assert (finding.level, found in finding.found) == (level, True), finding
    assert bool(finding.remedy) is (level != Severity.OK)


def test_where_all_is_well_nothing_is_to_be_done() -> None:
    assert [one.remedy for one in judge_gitlab(GOOD, "protected")] == ["", "", ""]

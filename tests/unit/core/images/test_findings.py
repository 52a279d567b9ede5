"""Which findings of a scanner hold up a deploy."""

from __future__ import annotations

from datetime import date

import pytest

from tasks.core.images.findings import Threshold, Vulnerability, judge, parse_ignored

TODAY = date(2026, 11, 26)
FOUND = [
    Vulnerability("nginx", "CVE-1", "low", "a", "1"),
    Vulnerability("nginx", "CVE-2", "high", "b", "1", "2"),
    Vulnerability("mautic", "CVE-3", "critical", "c", "1"),
    Vulnerability("mautic", "CVE-4", "undefined", "d", "1"),
    Vulnerability("mautic", "CVE-2", "high", "b", "1", "2"),
]


def ids(threshold: Threshold, *ignored: str) -> list[tuple[str, str, bool]]:
    judged = judge(
        FOUND, threshold=threshold, ignored=[parse_ignored(one) for one in ignored], today=TODAY
    )
    return [(one.finding.image, one.finding.id, one.blocks) for one in judged]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ("none", []),
        ("critical", ["CVE-3"]),
        ("high", ["CVE-3", "CVE-2", "CVE-2"]),
        ("medium", ["CVE-3", "CVE-2", "CVE-2"]),
        ("low", ["CVE-3", "CVE-2", "CVE-2", "CVE-1"]),
    ],
)
def test_what_is_severe_enough_counts_the_worst_first(
    threshold: Threshold, expected: list[str]
) -> None:
    assert [name for _, name, _ in ids(threshold)] == expected


@pytest.mark.parametrize(("day", "blocks"), [("2026-11-26", False), ("2026-11-25", True)])
def test_a_finding_is_ignored_until_its_day_is_over(day: str, blocks: bool) -> None:
    found = ids("high", f"CVE-2 until {day}: not used")
    assert dict.fromkeys((one[:2] for one in found if one[1] == "CVE-2"), blocks) == {
        one[:2]: one[2] for one in found if one[1] == "CVE-2"
    }
    assert ("mautic", "CVE-3", True) in found


def test_the_longest_of_two_days_counts_and_the_reason_is_shown() -> None:
    ignored = [
        parse_ignored("CVE-3 until 2020-01-01: old"),
        parse_ignored("CVE-3 until 2027-01-01: ok"),
    ]
    (judged,) = judge(FOUND[2:3], threshold="low", ignored=ignored, today=TODAY)
    assert (judged.blocks, judged.note) == (False, "ignored until 2027-01-01: ok")
    (judged,) = judge(FOUND[2:3], threshold="low", ignored=ignored[:1], today=TODAY)
    assert judged.note == "ignored until 2020-01-01 only"


def test_a_severity_that_nobody_knows_yet_counts() -> None:
    (judged,) = judge(
        [Vulnerability("nginx", "CVE-9", "apocalyptic")],
        threshold="critical",
        ignored=(),
        today=TODAY,
    )
    assert judged.blocks


@pytest.mark.parametrize("text", ["CVE-1", "CVE-1 until 2026-13-01: x", "CVE-1 until 2026-12-01:"])
def test_a_finding_is_ignored_with_day_and_reason_or_not_at_all(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_ignored(text)

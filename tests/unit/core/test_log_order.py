"""Lines of several logs are shown in the order in which they were written."""

from __future__ import annotations

from tasks.core.log_order import LogLine, ends, in_order

DAY = "2026-11-28T12:00:"


def test_a_line_begins_with_its_stamp() -> None:
    for stamp in (f"{DAY}01.000000001", f"{DAY}01"):
        for text in ("a  b ", ""):
            assert LogLine.of("web", f"{stamp}Z {text}") == LogLine("web", stamp, text)
    assert LogLine.of("web", f"{DAY}01Z") == LogLine("web", f"{DAY}01", "")
    for there in ("14:00:01.5+02:00", "07:30:01.5-04:30"):
        assert LogLine.of("web", f"2026-11-28T{there} x") == LogLine("web", f"{DAY}01.5", "x")
    for line in ("", "plain", f"{DAY}01.5 x", f"{DAY}01Zx"):
        assert LogLine.of("web", line) == LogLine("web", "", line)


def test_lines_come_by_time_and_those_of_one_moment_as_they_stand() -> None:
    lines = [
        LogLine("web", f"{DAY}01", "1"),
        LogLine("web", f"{DAY}03.1", "4"),
        LogLine("fpm", f"{DAY}01", "2"),
        LogLine("fpm", f"{DAY}03", "3"),
        LogLine("fpm", f"{DAY}03.12", "5"),
    ]
    assert [line.text for line in in_order(lines)] == ["1", "2", "3", "4", "5"]


def test_a_line_of_unknown_time_stays_behind_the_one_before_it() -> None:
    lines = [
        LogLine("web", "", "0"),
        LogLine("web", f"{DAY}02", "2"),
        LogLine("web", "", "3"),
        LogLine("fpm", f"{DAY}01", "1"),
        LogLine("fpm", f"{DAY}04", "4"),
    ]
    assert [line.text for line in in_order(lines)] == ["0", "1", "2", "3", "4"]


def test_the_end_of_a_log_is_its_newest_stamp() -> None:
    lines = [LogLine("web", stamp, "") for stamp in ("2", "3", "", "1")]
    assert ends([*lines, LogLine("fpm", "", "")]) == {"web": "3"}

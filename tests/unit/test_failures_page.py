"""docs/failures.md tells every row of the failure table, and no other."""

from __future__ import annotations

import re

from tasks.core.images.wait_messages import parse_message
from tasks.core.kubernetes.failures import RULES
from tests.support.suite import ROOT

PAGE = ROOT / "docs" / "failures.md"


def test_every_row_of_the_failure_table_is_explained_in_its_order() -> None:
    rows = [
        f"| {rule.cause} | {', '.join(f'`{reason}`' for reason in sorted(rule.reasons))} "
        f"| {rule.patience.value} | {rule.advice} |"
        for rule in RULES
    ]
    table = re.search(
        r"\| the line says \| the API's.*?\n\|---.*?\n(.*?)\n\n", PAGE.read_text(), re.S
    )
    assert table
    assert table[1].splitlines() == rows


def test_the_lines_of_programs_that_wait_are_such_as_a_deploy_judges() -> None:
    (block,) = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    words = [parse_message(line.partition(" | ")[2]) for line in block.splitlines()]
    assert [each.final for each in words if each] == [False, True]
    codes = {each.code for each in words if each}
    assert len(codes) == len(words)
    assert codes <= {reason for rule in RULES for reason in rule.reasons}

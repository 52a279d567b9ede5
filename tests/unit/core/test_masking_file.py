"""What a project's masking.yaml may say, and how a mistake in it is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tasks.core.errors import InputError
from tasks.core.masking_file import CHOICE, check_rules
from tests.support.masking import RULES
from tests.support.suite import ROOT

GOOD: dict[str, Any] = {
    "plugins": ["AcmeBundle"],
    "tables": {
        "acme_visits": {
            "contact": "lead_id",
            "columns": {"keep": ["id", "lead_id"], "text.lorem": "note", "const:x {id}": ["name"]},
        },
        "acme_hits": {"through": {"acme_visits": "visit_id"}, "columns": {"keep": ["id"]}},
        "acme_cache": {"empty": True, "why": "nothing in it lasts"},
        "leads": {"columns": {"null": ["position"], "keep": ["favourite_colour"]}},
        "audit_log": {"empty": True},
    },
}


@pytest.mark.parametrize("found", [None, {}, GOOD])
def test_rules_go_to_the_program_as_they_stand(found: Any) -> None:
    assert check_rules(found, RULES, "masking.yaml") == (found or {})


def table(**given: Any) -> dict[str, Any]:
    return {"tables": {"acme": given}}


def columns(**given: Any) -> dict[str, Any]:
    return table(columns=given)


@pytest.mark.parametrize(
    ("found", "said", "hint"),
    [
        ([1], "masking.yaml: must hold keys and values", ""),
        ({"table": {}}, "masking.yaml: table: is not known", "did you mean 'tables'?"),
        ({"tables": 3}, "masking.yaml: tables: must hold keys and values", ""),
        ({"tables": {"acme": 3}}, "masking.yaml: tables.acme: must hold keys and values", ""),
        ({"tables": {True: {}}}, "masking.yaml: tables.True: must be text: put it in quotes", ""),
        ({"plugins": "Acme"}, "masking.yaml: plugins: must be a list of names of plugins", ""),
        (table(colums={}), "tables.acme.colums: is not known", "did you mean 'columns'?"),
        (table(contact="a"), "tables.acme: must have columns, or empty: true", ""),
        (table(empty="yes"), "tables.acme.empty: must be true or false", ""),
        (table(contact=1, columns={}), "tables.acme.contact: must be text", ""),
        (table(through="a", columns={}), "tables.acme.through: must be a table, and the", ""),
        (columns(kep=["a"]), "tables.acme.columns.kep: is no rule", "did you mean 'keep'?"),
        (columns(keep=[True]), "tables.acme.columns.keep: must be a list of columns; a number", ""),
        (columns(keep=["a"], null="a"), "columns.null: a has the rule keep as well", ""),
        (
            {"tables": {"leads": {"columns": {"keep": ["email"]}}}},
            "tables.leads.columns.keep: email has the rule fake.email, which can only become null",
            "",
        ),
        (
            {"tables": {"audit_log": {"columns": {"keep": ["details"]}}}},
            "tables.audit_log.columns: which rows of Mautic's tables go along is settled",
            "",
        ),
        (
            {"tables": {"leads": {"contact": "id", "columns": {}}}},
            "tables.leads.contact: which rows of Mautic's tables go along is settled",
            "",
        ),
    ],
)
def test_a_mistake_is_told_by_file_and_key(found: Any, said: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        check_rules(found, RULES, "masking.yaml")
    assert caught.value.message.startswith("masking.yaml: ")
    assert said in caught.value.message
    assert hint in str(caught.value.hint)


def test_the_image_knows_the_same_rules() -> None:
    program = (ROOT / "docker" / "mautic" / "php" / "masking_rules.php").read_text()
    (listed,) = re.findall(r"CHOICE = \[(.*?)\];", program, re.S)
    assert sorted(re.findall(r"'([^']+)'", listed)) == sorted(CHOICE)

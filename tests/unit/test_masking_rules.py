"""docker/mautic/php/masking.json against the recorded schemas of Mautic's lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.masking import RULES, VERSIONS, schema_of

BESIDE = {"migrations", "messenger_messages"}
"""Tables that Doctrine's metadata does not know."""
PHP_ARRAY, TEXT = "(DC2Type:array)", ("VARCHAR", "CHAR", "TEXT", "LONGTEXT", "TINYTEXT", "JSON")


def parts(definitions: str) -> Iterator[str]:
    """Split what stands between the brackets of CREATE TABLE."""
    start = depth = 0
    quoted = False
    for at, letter in enumerate(definitions):
        if letter == "'":
            quoted = not quoted
        elif not quoted:
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if letter == "," and not depth:
                yield definitions[start:at].strip()
                start = at + 1
    yield definitions[start:].strip()


def tables(version: str) -> dict[str, dict[str, str]]:
    """Return the columns of each table with their definitions."""
    found = {}
    for table, definitions in re.findall(
        r"^CREATE TABLE (\w+) \((.*)\) DEFAULT CHARACTER", schema_of(version), re.M
    ):
        columns = dict(part.split(" ", 1) for part in parts(definitions))
        for word in ("INDEX", "UNIQUE", "PRIMARY", "FULLTEXT"):
            columns.pop(word, None)
        found[table] = {name.strip("`"): text for name, text in columns.items()}
    return found


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, dict[str, str]]]:
    return {version: tables(version) for version in VERSIONS}


def test_every_column_of_every_version_has_one_rule(
    schemas: dict[str, dict[str, dict[str, str]]],
) -> None:
    assert [len(each) for each in schemas.values()] == [106, 107, 123]
    known: dict[str, set[str]] = {}
    for version in VERSIONS:
        for table, columns in schemas[version].items():
            known.setdefault(table, set()).update(columns)
    assert RULES["tables"].keys() == known.keys() | BESIDE
    for table, rule in RULES["tables"].items():
        assert ("columns" in rule) != rule.get("empty", False), table
        named = [name for names in rule.get("columns", {}).values() for name in names]
        assert len(named) == len(set(named)), table
        if "columns" in rule and table not in BESIDE:
            assert set(named) == known[table], table


@pytest.mark.parametrize("version", VERSIONS)
def test_rules_fit_their_columns(
    schemas: dict[str, dict[str, dict[str, str]]], version: str
) -> None:
    for table, columns in schemas[version].items():
        for rule, names in RULES["tables"][table].get("columns", {}).items():
            for definition in (columns[name] for name in names if name in columns):
                where = f"{table}: {rule}: {definition}"
                assert (PHP_ARRAY in definition) == rule.startswith("php."), where
                assert definition.startswith("JSON") == rule.startswith("json."), where
                assert (" AS (" in definition) == (rule == "generated"), where
                assert rule != "null" or "NOT NULL" not in definition, where
                if rule not in {"keep", "null", "generated", "const:0", "published.builder"}:
                    assert definition.startswith(TEXT), where


def test_whatever_is_left_out_or_taken_in_part_says_so() -> None:
    for table, rule in RULES["tables"].items():
        if rule.get("empty"):
            assert rule["why"], table
        columns = {name for names in rule.get("columns", {}).values() for name in names}
        assert {"contact", "through", "named"} & rule.keys() or "lead_id" not in columns, table
        assert rule.get("contact", "id") in columns | {"id"}, table
        for parent, column in rule.get("through", {}).items():
            assert column in columns
            assert {"contact", "named"} & RULES["tables"][parent].keys()

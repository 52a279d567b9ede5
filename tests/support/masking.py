"""A Mautic's database full of canaries: rows in every table, one canary in every text column."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pymysql

from tests.support.suite import ROOT

RULES: dict[str, Any] = json.loads(
    (ROOT / "docker" / "mautic" / "php" / "masking.json").read_text()
)
VERSIONS = ("5.1.0", "5.2.3", "7.0.0")
ROWS = 3
SITE = "https://mautic.shop.test"
CANARY = r"(?i)kanarie\d{6}"
REPLACING = ("fake.", "staff.", "text.lorem", "hash")
"""Rules that make pseudonyms."""
REMOVING = (*REPLACING, "null", "const:", "php.empty", "json.empty")
"""Rules that leave nothing of a value."""
TEXTS = {"char", "varchar", "tinytext", "text", "longtext", "json"}
FIELDS = {
    "favourite": ("text", 0, "text.lorem"),
    "vip_code": ("text", 1, "hash"),
    "shop": ("url", 0, "fake.url"),
    "second_mail": ("email", 0, "fake.email"),
    "tax_number": ("select", 0, "null"),
}
"""Custom columns of contacts: a field's type, whether it identifies them, the rule it gets."""


@dataclass(frozen=True)
class Column:
    """A column as the server describes it, with its rule in masking.json."""

    table: str
    name: str
    kind: str
    length: int
    rule: str
    generated: bool


def columns(cursor: Any, database: str) -> Iterator[Column]:
    """Read the columns of a database."""
    cursor.execute(
        # MariaDB's JSON is text with a check.
        "SELECT c.table_name, column_name,"
        " IF(k.check_clause LIKE 'json_valid%%', 'json', data_type),"
        " character_maximum_length, extra"
        " FROM information_schema.columns c LEFT JOIN information_schema.check_constraints k"
        " ON constraint_schema = table_schema AND k.table_name = c.table_name"
        " AND constraint_name = column_name"
        " WHERE table_schema = %s ORDER BY c.table_name, ordinal_position",
        (database,),
    )
    for table, name, kind, length, extra in cursor.fetchall():
        rule = rule_of(table, name)
        yield Column(table, name, kind, length or 0, rule, "GENERATED" in extra.upper())


def rule_of(table: str, column: str) -> str:
    """Return the rule of a column; an empty string in a table of which nothing goes along."""
    if table == "leads" and column in FIELDS:
        return FIELDS[column][2]
    rules = RULES["tables"].get(table, {}).get("columns", {})
    return next((rule for rule, names in rules.items() if column in names), "")


class Canaries:
    """Makes values that no two columns share."""

    def __init__(self) -> None:
        self._count = 0

    def word(self) -> str:
        self._count += 1
        return f"Kanarie{self._count:06}"

    def address(self) -> str:
        return f"{self.word()}@People.test"

    def value(self, column: Column, row: int) -> Any:
        """Return what stands in a column of a row."""
        own = SPECIAL.get((column.table, column.name))
        if own:
            return own(row)
        if column.kind in TEXTS:
            return self._text(column)[: column.length]
        return {
            "date": "2024-05-17",
            "datetime": "2024-05-17 10:11:12",
            "time": "10:11:12",
            "tinyint": 1,
            "longblob": self.word(),
        }.get(column.kind, row)

    def _text(self, column: Column) -> str:
        rule = column.rule
        self._count += 1
        if column.name == "uuid":
            return f"00000000-0000-4000-8000-{self._count:012}"
        if rule.startswith("php.") or rule.startswith("json.") or column.kind == "json":
            tree = self._tree(rule)
            return php(tree) if rule.startswith("php.") else json.dumps(tree)
        free = f"Ask {self.address()} or <a href='{SITE}/x'>us</a> 'now'\\\nor \u00fc"
        free += SITE.replace("/", r"\/") + quote(f" {SITE}/y", safe="")
        texts = {
            "keep": f"kept {self.address()}" if column.length > 100 else f"k{self._count}",
            "text.scrub": free,
            "site.rewrite": free,
            "url.strip": f"https://shop.test/p?mail={self.word()}%40people.test#{self.word()}",
            "fake.email": self.address(),
        }
        return texts.get(rule) or self.word()

    def _tree(self, rule: str) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "name": f"kept \u00fc {self.address()}",
            "list": [self.address(), 7, True, None, {"deep": f"<{self.address()}>"}],
            "inner": php({"again": self.address()}),
            self.address(): "key",
        }
        if rule == "php.rewrite":
            tree |= {
                "to": self.word(),
                "firstname": self.word(),
                "email": 12,
                "password": self.word(),
                "filters": [{"field": "lastname", "filter": self.word(), "display": self.word()}],
                "site": f"{SITE}/form/1",
            }
        if rule.endswith("empty"):
            tree["plain"] = self.word()
        return tree


SPECIAL: dict[tuple[str, str], Callable[[int], Any]] = {
    ("plugins", "bundle"): lambda row: RULES["plugins"][row],
    ("leads", "company"): lambda row: f"Kanarie90000{row} and sons",
    ("companies", "companyname"): lambda row: f"kanarie90000{row} and Sons",
    ("leads", "email"): lambda row: f"kanarie80000{row}@people.test",
    ("email_stats", "email_address"): lambda row: f"Kanarie80000{row}@people.test",
    ("lead_notes", "text"): lambda row: f"Kanarie70000{row} " + "x" * 400,
    ("form_fields", "form_id"): lambda row: 1,
    ("form_fields", "alias"): lambda row: ["", "your_mail", "story", "colour"][row],
    ("form_fields", "type"): lambda row: ["", "text", "textarea", "select"][row],
    ("form_fields", "mapped_object"): lambda row: ["", "contact", None, None][row],
    ("form_fields", "mapped_field"): lambda row: ["", "email", None, None][row],
    ("form_fields", "lead_field"): lambda row: None,
    ("lead_fields", "object"): lambda row: "lead",
}


def php(value: Any) -> str:
    """Serialise as PHP does."""
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return f"a:{len(value)}:{{{''.join(php(key) + php(item) for key, item in pairs)}}}"


def schema_of(version: str) -> str:
    """Return a version's schema, as Doctrine makes it."""
    file = ROOT / "tests" / "data" / "schemas" / f"mautic-{version}.sql.gz"
    return gzip.decompress(file.read_bytes()).decode()


def fill(connection: pymysql.Connection[Any], database: str, version: str) -> None:
    """Make a database of a version's schema, with rows in every table and custom fields."""
    with connection.cursor() as cursor:
        collation = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        cursor.execute(f"CREATE DATABASE {database} {collation}")
        cursor.execute(f"USE {database}")
        cursor.execute("SET foreign_key_checks = 0")
        for statement in schema_of(version).split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        for name in FIELDS:
            cursor.execute(f"ALTER TABLE leads ADD {name} VARCHAR(191)")
        cursor.execute(
            "CREATE TABLE form_results_1_contact (submission_id INT PRIMARY KEY, form_id INT,"
            " your_mail LONGTEXT, story LONGTEXT, colour LONGTEXT, gone LONGTEXT)"
        )
        cursor.execute(
            "CREATE TABLE migrations (version VARCHAR(191) PRIMARY KEY, executed_at DATETIME,"
            " execution_time INT)"
        )
        made = Canaries()
        tables: dict[str, list[Column]] = {}
        for column in columns(cursor, database):
            if not column.generated:
                tables.setdefault(column.table, []).append(column)
        for table, each in tables.items():
            names = ", ".join(f"`{column.name}`" for column in each)
            holes = ", ".join(["%s"] * len(each))
            for row in range(1, ROWS + 1):
                values = [made.value(column, row) for column in each]
                cursor.execute(f"INSERT INTO `{table}` ({names}) VALUES ({holes})", values)  # noqa: S608
        for alias, (kind, unique, _) in FIELDS.items():
            cursor.execute(
                "INSERT INTO lead_fields (is_published, label, alias, type, is_required, is_fixed,"
                " is_visible, is_short_visible, is_listable, is_publicly_updatable,"
                " is_unique_identifer, field_order, object, properties)"
                " SELECT 1, 'own', %s, %s, 0, 0, 1, 1, 1, 1, %s, 1, 'lead', 'a:0:{}'",
                (alias, kind, unique),
            )
        cursor.execute(
            "UPDATE form_results_1_contact, leads SET your_mail = email, colour = 'kept red',"
            " story = 'Kanarie600001 lived', gone = 'Kanarie600002' WHERE submission_id = id"
        )
        connection.commit()

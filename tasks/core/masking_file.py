"""The project's own rules of masking: read strictly, so that what is wrong is told by its key.

docs/data.md ("Tables of your plugins") says what they are. The image's program checks the same
(docker/mautic/php/masking_rules.php): there it is too late for a good error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.core.config_sources import nearest
from tasks.core.errors import InputError

KEEP, NULL, HASH = "keep", "null", "hash"
CHOICE = (
    *(KEEP, NULL, HASH, "text.lorem", "text.scrub", "url.strip", "site.rewrite", "date.month"),
    *("php.keep", "php.empty", "php.rewrite", "json.keep", "json.empty", "generated"),
    *("fake.email", "fake.phone", "fake.url", "fake.first_name", "fake.last_name"),
    *("fake.company", "fake.street", "fake.city", "fake.zip", "fake.ip"),
)
"""The rules that a project may give, beside ``const:TEXT``."""
CONSTANT = "const:"

_PARTS = ("plugins", "tables")
_TABLE = ("columns", "contact", "empty", "through", "why")


class _WrongError(Exception):
    """What is wrong with a key.

    Attributes:
        key: its path.
    """

    def __init__(self, key: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


def check_rules(found: Any, own: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the project's rules, as the image's program takes them.

    Args:
        found: what the file holds; None where it is empty.
        own: the rules of Mautic's own tables, masking.json.
        file: its name, for errors.

    Raises:
        InputError: a key or a value is wrong; the error names file and key.
    """
    rules: dict[str, Any] = {} if found is None else found
    try:
        for key, value in _items(rules, "", _PARTS):
            if key == "plugins":
                _check_texts(value, key, "names of plugins")
            else:
                for name, table in _items(value, key):
                    _check_table(table, f"{key}.{name}", own["tables"].get(name))
    except _WrongError as error:
        place = f"{file}: {error.key}" if error.key else file
        raise InputError(f"{place}: {error}", hint=error.hint) from error
    return rules


def _check_table(table: Any, key: str, own: Mapping[str, Any] | None) -> None:
    """Check the rules of one table.

    Args:
        own: those that it has already, if it is Mautic's.
    """
    given = dict(_items(table, key, _TABLE))
    if not isinstance(given.get("empty", False), bool):
        raise _WrongError(f"{key}.empty", "must be true or false")
    if not given.get("empty") and "columns" not in given:
        raise _WrongError(key, "must have columns, or empty: true")
    for part in {"contact", "why"} & given.keys():
        if not isinstance(given[part], str):
            raise _WrongError(f"{key}.{part}", "must be text")
    if "through" in given and not _is_reference(given["through"]):
        raise _WrongError(f"{key}.through", "must be a table, and the column with a row's id of it")
    if own and not given.get("empty"):
        settled = ["columns"] if own.get("empty") else sorted({"contact", "through"} & given.keys())
        for part in settled:
            raise _WrongError(f"{key}.{part}", "which rows of Mautic's tables go along is settled")
    taken = dict(_rules_of(own.get("columns", {}))) if own else {}
    _check_columns(given.get("columns", {}), f"{key}.columns", taken)


def _check_columns(columns: Any, key: str, taken: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for rule, names in _items(columns, key):
        if rule not in CHOICE and not rule.startswith(CONSTANT):
            hint = nearest(rule, [*CHOICE, f"{CONSTANT}TEXT"])
            raise _WrongError(f"{key}.{rule}", "is no rule", hint)
        _check_texts([names] if isinstance(names, str) else names, f"{key}.{rule}", "columns")
    for column, rule in _rules_of(columns):
        if column in seen:
            message = f"{column} has the rule {seen[column]} as well: give it one"
            raise _WrongError(f"{key}.{rule}", message)
        seen[column] = rule
        if column in taken and rule not in {NULL, HASH}:
            message = f"{column} has the rule {taken[column]}, which can only become null or hash"
            raise _WrongError(f"{key}.{rule}", message)


def _rules_of(columns: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield columns, each with its rule."""
    for rule, names in columns.items():
        for name in [names] if isinstance(names, str) else names:
            yield name, rule


def _items(value: Any, key: str, known: Iterable[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield what is in a mapping, whose keys must be text, and known ones where some are named."""
    if not isinstance(value, dict):
        raise _WrongError(key, "must hold keys and values")
    for name, inner in value.items():
        path = f"{key}.{name}" if key else str(name)
        if not isinstance(name, str):
            raise _WrongError(path, "must be text: put it in quotes")
        if known and name not in known:
            raise _WrongError(path, "is not known", nearest(name, known))
        yield name, inner


def _check_texts(value: Any, key: str, what: str) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _WrongError(key, f"must be a list of {what}; a number, yes or no needs quotes")


def _is_reference(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    return all(isinstance(each, str) for pair in value.items() for each in pair)

"""What a plan changes: its lines, its facts, and that no secret is among them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.core.foresight import (
    ADD,
    CHANGE,
    KEEP,
    REMOVE,
    RUN,
    FieldChange,
    Foresight,
    Hidden,
    Note,
    ObjectChange,
    fact,
    shown,
)

IMAGE = FieldChange("spec.image", "host/a/mautic@sha256:" + "1" * 64, "b/mautic@sha256:" + "2" * 64)
OBJECTS = (
    ObjectChange(ADD, "service/web", wanted="abc"),
    ObjectChange(CHANGE, "deployment/web", (IMAGE, FieldChange("spec.replicas", 1, None))),
    ObjectChange(KEEP, "configmap/env"),
    ObjectChange(RUN, "job/migrate"),
    ObjectChange(REMOVE, "cronjob/old"),
)


def test_the_lines_count_and_name_what_does_not_stay() -> None:
    assert list(Foresight(OBJECTS).lines()) == [
        "objects: 1 added, 1 changed, 1 removed, 1 run, 1 unchanged",
        "  + service/web",
        "  ~ deployment/web",
        f"      spec.image: mautic@{'1' * 12} -> mautic@{'2' * 12}",
        "      spec.replicas: 1 -> none",
        "  > job/migrate",
        "  - cronjob/old",
    ]


def test_without_objects_it_says_so() -> None:
    assert list(Foresight().lines()) == ["objects: none is touched"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        ("", '""'),
        ("ä", '"ä"'),
        (False, "false"),
        ({"b": 1, "a": [2]}, '{"a": [2], "b": 1}'),
        ("two\nlines", f"9 characters, {fact(chr(10).join(['two', 'lines']))}"),
        ("x" * 61, f"61 characters, {fact('x' * 61)}"),
        (Hidden("abc"), "hidden, abc"),
        (Note("cannot be had: " + "x" * 90), "cannot be had: " + "x" * 90),
    ],
)
def test_a_value_is_shown_in_one_short_line(value: Any, text: str) -> None:
    assert shown(value) == text


def test_its_facts_are_what_was_found_and_each_effect() -> None:
    foresight = Foresight(OBJECTS, {"release": "revision 1, deployed"})
    facts = foresight.all_facts
    assert list(facts) == [
        "release",
        "service/web",
        "deployment/web spec.image",
        "deployment/web spec.replicas",
        "job/migrate",
        "cronjob/old",
    ]
    assert (facts["service/web"], facts["cronjob/old"]) == ("add abc", "remove")


def test_a_fact_of_a_field_is_another_if_it_comes_from_or_goes_to_another_value() -> None:
    def of(before: Any, after: Any) -> str:
        change = ObjectChange(CHANGE, "x/y", (FieldChange("a", before, after),))
        return Foresight((change,)).all_facts["x/y a"]

    assert len({of(1, 2), of(1, 3), of(0, 2), of("1", 2)}) == 4
    assert of(1, 2) == of(1, 2)


def test_a_hidden_value_is_in_no_form_of_it() -> None:
    secret = FieldChange("data.key", Hidden(fact("hush")), None)
    change = ObjectChange(CHANGE, "secret/x", (secret,))
    told = json.dumps([change.as_dict(), Foresight((change,)).all_facts, str(secret)])
    assert "hush" not in told
    assert change.as_dict()["fields"][0]["before"] == f"hidden, {fact('hush')}"

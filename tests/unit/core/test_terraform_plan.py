"""Terraform plans: what they do, what they lose, what is drift, who may apply them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.core.errors import InputError
from tasks.core.plan import render
from tasks.core.terraform_plan import (
    MAX_AGE,
    STATEFUL,
    PlanRecord,
    PlanSummary,
    read_record,
    refusal,
    secrets_in,
    summarise,
)

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC)


def resource(address: str, *actions: str, **more: Any) -> dict[str, Any]:
    """Return a resource's change as `terraform show -json` has it."""
    kind = address.rsplit("module.", maxsplit=1)[-1].split(".")[-2]
    change = {"actions": list(actions), "before": None, "after": None, "after_unknown": {}}
    outer = {key: more.pop(key) for key in ("previous_address", "deposed", "mode") if key in more}
    return {"address": address, "type": kind, "mode": "managed", **outer, "change": change | more}


def summary(*resources: dict[str, Any], **more: Any) -> PlanSummary:
    return summarise({"resource_changes": list(resources), **more}, "stack dev")


KINDS = [
    (("create",), "+ aws_vpc.a", "1 to add"),
    (("update",), "~ aws_vpc.a", "1 to change"),
    (("delete",), "- aws_vpc.a", "1 to destroy"),
    (("delete", "create"), "± aws_vpc.a", "1 to replace"),
    (("create", "delete"), "± aws_vpc.a", "1 to replace"),
    (("forget",), ". aws_vpc.a", "1 to forget"),
]


@pytest.mark.parametrize(("actions", "line", "headline"), KINDS)
def test_every_kind_of_change_has_a_sign_and_is_counted(
    actions: tuple[str, ...], line: str, headline: str
) -> None:
    found = summary(resource("aws_vpc.a", *actions))
    assert found.headline == headline
    assert list(found.lines()) == [(f"stack dev: {headline}", False), (f"  {line}", False)]


def test_what_stays_is_not_named() -> None:
    found = summary(
        resource("aws_vpc.a", "no-op"),
        resource("data.aws_region.b", "read", mode="data"),
        output_changes={"kept": {"actions": ["no-op"]}},
    )
    assert (found.changes, found.outputs, found.headline) == ((), (), "no changes")
    assert render(found) == ["stack dev: nothing to do"]


def test_moves_imports_and_leftovers_say_so() -> None:
    found = summary(
        resource("aws_vpc.new", "no-op", previous_address="aws_vpc.old"),
        resource("aws_vpc.found", "no-op", importing={"id": "vpc-1"}),
        resource("aws_vpc.left", "delete", deposed="00ff"),
    )
    assert [change.line() for change in found.changes] == [
        "> aws_vpc.new  (was aws_vpc.old)",
        "> aws_vpc.found  (imported)",
        "- aws_vpc.left  (what an earlier replacement has left, 00ff)",
    ]
    assert found.headline == "1 to destroy, 2 to move"


def test_a_change_names_its_attributes_but_never_their_values() -> None:
    found = summary(
        resource(
            "aws_vpc.a",
            "update",
            before={"cidr": "10.0.0.0/8", "tags": {"a": "1"}, "arn": "arn:1", "same": 1},
            after={"cidr": "10.0.0.0/9", "tags": {"a": "2"}, "same": 1},
            after_unknown={"arn": True, "tags": {}},
        )
    )
    assert [change.line() for change in found.changes] == ["~ aws_vpc.a  (arn, cidr, tags)"]
    assert "10.0.0.0" not in str(found.as_dict())


def test_a_replacement_names_what_forces_it() -> None:
    found = summary(
        resource(
            *("aws_subnet.a", "delete", "create"),
            replace_paths=[["zone"], ["tags", "x"]],
            before={"other": 1},
            after={"other": 2},
        )
    )
    assert found.changes[0].line() == "± aws_subnet.a  (because of tags, zone)"


@pytest.mark.parametrize("kind", sorted(STATEFUL))
@pytest.mark.parametrize("actions", [("delete",), ("delete", "create"), ("create", "delete")])
def test_losing_what_holds_data_comes_last_and_alarms(kind: str, actions: tuple[str, ...]) -> None:
    found = summary(
        resource(f"module.x.{kind}.this", *actions), resource("aws_vpc.a", "delete", "create")
    )
    *others, last = found.lines()
    assert [alarming for _, alarming in others] == [False, False]
    assert last == (f"  {found.losses[0].line()}", True)
    assert f"LOSES {STATEFUL[kind]}" in last[0]
    assert [change.address for change in found.losses] == [f"module.x.{kind}.this"]


@pytest.mark.parametrize("actions", [("create",), ("update",), ("forget",)])
def test_what_keeps_its_data_loses_none(actions: tuple[str, ...]) -> None:
    assert summary(resource("aws_db_instance.a", *actions)).losses == ()


def test_only_what_terraform_would_undo_is_drift() -> None:
    found = summary(
        resource("aws_vpc.changed", "update", before={"a": 2}, after={"a": 1}),
        resource("aws_vpc.gone", "create"),
        resource("aws_vpc.pending", "update", before={"a": 1}, after={"a": 2}),
        resource("aws_vpc.computed", "no-op"),
        resource("aws_vpc.both", "update", before={"a": 1, "c": {}}, after={"a": 2, "c": {}}),
        resource_drift=[
            resource("aws_vpc.both", "update", before={"a": 1, "c": None}, after={"a": 1, "c": {}}),
            resource("aws_vpc.changed", "update", before={"a": 1, "b": 1}, after={"a": 2, "b": 2}),
            resource("aws_vpc.gone", "delete"),
            resource("aws_vpc.computed", "update", before={"b": None}, after={"b": "x"}),
        ],
    )
    assert found.drift_rows == [("changed", "aws_vpc.changed", "a"), ("gone", "aws_vpc.gone", "")]


def test_a_stack_is_protected_by_its_own_variables() -> None:
    assert summary(variables={"protected": {"value": True}}).protected
    assert not summary(variables={"protected": {"value": False}}).protected
    assert not summary().protected


def test_a_plan_as_data() -> None:
    found = summary(
        resource("aws_db_instance.a", "delete"), output_changes={"x": {"actions": ["create"]}}
    )
    data = found.as_dict()
    assert data["counts"]["destroy"] == 1
    assert data["outputs"] == ["x"]
    assert data["changes"][0]["loses"] == "databases"
    assert render(found)[1] == "  destroy  aws_db_instance.a  (databases)"


# -- secrets --------------------------------------------------------------------------------------


def test_sensitive_values_are_found_wherever_they_are_marked() -> None:
    document = {
        "resource_changes": [
            resource(
                "aws_x.a",
                "update",
                before={"password": "old-password", "user": "someone-known"},
                before_sensitive={"password": True},
                after={"keys": ["public-key-1", "secret-key-2"], "all": {"deep": "hidden-deep"}},
                after_sensitive={"keys": [False, True], "all": True},
            )
        ],
        "planned_values": {
            "outputs": {"token": {"sensitive": True, "value": "output-token"}},
            "root_module": {
                "child_modules": [
                    {
                        "resources": [
                            {
                                "type": "aws_y",
                                "values": {"a": "inner-secret", "b": "plain-value"},
                                "sensitive_values": {"a": True},
                            }
                        ]
                    }
                ]
            },
        },
        "outputs": {"url": {"sensitive": False, "value": "registry.example"}},
    }
    assert secrets_in(document) == {
        *("old-password", "secret-key-2", "hidden-deep", "output-token", "inner-secret")
    }


def test_plain_parameters_and_short_words_are_no_secrets() -> None:
    def parameter(kind: str) -> dict[str, Any]:
        return resource(
            *("aws_ssm_parameter.a", "create"),
            after={"type": kind, "value": "eu-central-1", "other": "admin"},
            after_sensitive={"value": True, "other": True},
        )

    assert secrets_in({"resource_changes": [parameter("String")]}) == set()
    assert secrets_in({"resource_changes": [parameter("SecureString")]}) == {"eu-central-1"}


# -- who may apply it -----------------------------------------------------------------------------

RECORD = PlanRecord(
    stack="dev",
    account="123456789012",
    region="eu-central-1",
    state="bucket/dev/terraform.tfstate",
    commit="0123456789abcdef",
    created_at=NOW.isoformat(),
    source="s" * 64,
    plan="p" * 64,
)


def test_a_fresh_plan_of_the_same_stack_may_be_applied() -> None:
    later = NOW + MAX_AGE - timedelta(minutes=1)
    # Another commit that changes nothing of Terraform's is no matter.
    assert refusal(RECORD, replace(RECORD, commit="f" * 16), later) == ""


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("stack", "prod", "it is a plan of stack dev, and this is stack prod"),
        ("account", "210987654321", "of account 123456789012, and this is account 210987654321"),
        ("region", "us-east-1", "of region eu-central-1, and this is region us-east-1"),
        ("state", "b/k", "of state bucket/dev/terraform.tfstate, and this is state b/k"),
        ("plan", "q" * 64, "the plan file is not the one that was saved"),
        ("source", "t" * 64, "have changed since it was made of 01234567"),
    ],
)
def test_a_foreign_or_changed_plan_is_refused(name: str, value: str, reason: str) -> None:
    assert reason in refusal(RECORD, replace(RECORD, **{name: value}), NOW)


def test_an_old_plan_is_refused() -> None:
    assert "25 hours ago" in refusal(RECORD, RECORD, NOW + timedelta(hours=25))


def test_a_record_survives_being_saved() -> None:
    assert read_record(RECORD.as_dict()) == RECORD


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {**RECORD.as_dict(), "created_at": "yesterday"},
        {**RECORD.as_dict(), "created_at": "2026-11-22T16:00:00"},
    ],
)
def test_a_record_that_is_none(data: Any) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_record(data)

"""Reading the API's objects, in each of the ways in which the API may leave something out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.core.kubernetes.objects import (
    Object,
    annotations_of,
    conditions_of,
    container_spec,
    container_statuses,
    controller_uid,
    created_at,
    event_subject,
    event_uid,
    find_condition,
    has_condition,
    has_ended,
    is_being_deleted,
    is_running,
    labels_of,
    last_seen,
    latest_end,
    owners_of,
    parse_time,
    times_seen,
    title_of,
    uid_of,
)

EIGHT = datetime(2026, 11, 26, 8, tzinfo=UTC)
BARE: list[Object] = [
    {"metadata": {"name": "x"}},
    {
        "kind": "Object",
        "metadata": {
            "name": "x",
            "labels": None,
            "annotations": None,
            "ownerReferences": None,
            "deletionTimestamp": None,
        },
        "status": {
            "conditions": None,
            "initContainerStatuses": None,
            "containerStatuses": None,
        },
    },
]


@pytest.mark.parametrize("item", BARE, ids=["absent", "null"])
def test_what_is_absent_and_what_is_null_mean_the_same(item: Object) -> None:
    assert title_of(item) == "object/x"
    assert uid_of(item) == controller_uid(item) == ""
    assert labels_of(item) == annotations_of(item) == {}
    assert [*owners_of(item), *conditions_of(item), *container_statuses(item)] == []
    assert not is_being_deleted(item)
    assert created_at(item) is None
    assert find_condition(item, "Ready") is None
    assert not has_condition(item, "Ready")
    assert container_spec(item, "web") == {"name": "web"}


def test_the_controller_is_the_one_owner_that_controls() -> None:
    owners = [{"uid": "a"}, {"uid": "b", "controller": True}]
    assert controller_uid({"metadata": {"ownerReferences": owners}}) == "b"


@pytest.mark.parametrize(
    ("status", "kind", "ended"),
    [("True", "Complete", True), ("True", "Failed", True), ("False", "Failed", False)],
)
def test_only_a_true_condition_ends_a_job(status: str, kind: str, ended: bool) -> None:
    job: Object = {
        "metadata": {"name": "migrate"},
        "status": {"conditions": [{"type": kind, "status": status}]},
    }
    assert has_ended(job) is has_condition(job, kind) is ended
    assert find_condition(job, kind) is not None
    assert (find_condition(job, kind, "False") is None) is ended


EVENTS: list[tuple[dict[str, Any], datetime, int]] = [
    ({"lastTimestamp": "2026-11-26T08:00:00Z", "count": 4}, EIGHT, 4),
    ({"eventTime": "2026-11-26T08:00:00.000000Z", "lastTimestamp": None, "count": None}, EIGHT, 1),
    (
        {
            "eventTime": "2026-11-26T07:00:00.000000Z",
            "series": {"lastObservedTime": "2026-11-26T08:00:00.000000Z", "count": 9},
        },
        EIGHT,
        9,
    ),
    ({}, datetime.min.replace(tzinfo=UTC), 1),
]


@pytest.mark.parametrize(("said", "when", "times"), EVENTS)
def test_an_event_tells_in_either_way_when_and_how_often(
    said: dict[str, Any], when: datetime, times: int
) -> None:
    event = {"metadata": {}, **said}
    assert last_seen(event) == when
    assert times_seen(event) == times


def test_an_event_names_what_it_is_about() -> None:
    event = {"involvedObject": {"kind": "Pod", "name": "web-1", "uid": "u"}}
    assert (event_subject(event), event_uid(event)) == ("pod/web-1", "u")
    assert event_uid({}) == ""


@pytest.mark.parametrize(
    ("container", "running", "code"),
    [
        ({}, False, None),
        ({"state": {"running": {}}}, True, None),
        ({"state": {"terminated": {"exitCode": 1}}}, False, 1),
        ({"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 2}}}, True, 2),
        (
            {
                "state": {"terminated": {"exitCode": 1}},
                "lastState": {"terminated": {"exitCode": 2}},
            },
            False,
            1,
        ),
    ],
)
def test_the_latest_end_of_a_container_is_told(
    container: Object, running: bool, code: int | None
) -> None:
    assert is_running(container) is running
    assert latest_end(container).get("exitCode") == code


def test_time_stamps_know_their_zone() -> None:
    assert parse_time("2026-11-26T08:00:00Z") == EIGHT
    assert parse_time("") is parse_time(None) is None
    assert created_at({"metadata": {"creationTimestamp": "2026-11-26T08:00:00Z"}}) == EIGHT

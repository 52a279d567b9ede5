from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from tasks.core.environment import HISTORY_MAX, RECORD, Owner, Record, Release, newest

OWNER = Owner("local", "feature-x-abc123", "feature/x", "git@example.org:a/b.git")
RELEASE = Release("1a2b3c4d", "1a2b3c4d" * 5, "m@sha256:1", "n@sha256:1", "ada@host", "2026-01-01")
RECORD_OF = Record(
    state="ready",
    url="http://x",
    database="mysql@sha256:1",
    services={"web": "f1"},
    history=(RELEASE,),
)


def test_a_record_survives_its_labels() -> None:
    assert Record.from_labels(RECORD_OF.to_labels()) == RECORD_OF


def test_an_owner_knows_its_own_labels() -> None:
    assert OWNER.difference(OWNER.labels()) is None


@pytest.mark.parametrize("name", list(asdict(OWNER)))
def test_any_difference_of_owner_is_named(name: str) -> None:
    other = replace(OWNER, **{name: "other"})
    assert name in (OWNER.difference(other.labels()) or "")
    labels = OWNER.labels()
    del labels[f"io.mautic-multidev.{name}"]
    assert "no label" in (OWNER.difference(labels) or "")


def test_what_has_no_label_is_nobodys_own() -> None:
    assert OWNER.difference({}) is not None
    assert OWNER.difference({RECORD: "{}"}) is not None


def test_history_keeps_the_newest_and_no_release_twice_in_a_row() -> None:
    again = replace(RELEASE, deployed_at="2026-01-02")
    assert RECORD_OF.with_release(again).history == (again,)
    record = RECORD_OF
    for number in range(HISTORY_MAX + 3):
        record = record.with_release(replace(RELEASE, mautic=f"m@sha256:{number}"))
    assert len(record.history) == HISTORY_MAX
    assert record.current == replace(RELEASE, mautic=f"m@sha256:{HISTORY_MAX + 2}")


def test_going_back_and_forth_is_remembered() -> None:
    second = replace(RELEASE, tag="2", mautic="m@sha256:2")
    record = RECORD_OF.with_release(second).with_release(RELEASE)
    assert [release.tag for release in record.history] == [RELEASE.tag, "2", RELEASE.tag]


def test_a_success_ends_every_other_state() -> None:
    assert replace(RECORD_OF, state="failed").with_release(RELEASE).state == "ready"


def test_the_newest_record_is_the_one_of_the_largest_number() -> None:
    assert newest(["p_record-9", "p_record-10", "p_record-8"]) == "p_record-10"
    assert newest([]) is None

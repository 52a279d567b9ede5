from __future__ import annotations

from tasks.core.compose.record import PREFIX, ComposeRecord, labelled_owner, newest, owner_labels
from tasks.core.environment import Owner, Release, State

OWNER = Owner("local", "feature-x-abc123", "feature/x", "git@example.org:a/b.git")
RELEASE = Release("1a2b3c4d", "1a2b3c4d" * 5, "m@sha256:1", "n@sha256:1", "ada@host", "2026-01-01")
RECORD = ComposeRecord(
    State.READY,
    "http://x",
    database="mysql@sha256:1",
    services={"web": "f1"},
    history=(RELEASE,),
)


def test_a_record_survives_its_labels() -> None:
    assert ComposeRecord.from_labels(RECORD.to_labels()) == RECORD


def test_a_record_of_an_earlier_version_is_read() -> None:
    text = (
        '{"state": "rolled back", "url": "http://x", "expires_at": "", "database_image": "mysql:8",'
        ' "database": "mysql@sha256:1", "migrated": "c f", "history": [], "services": {"web": "f"}}'
    )
    found = ComposeRecord.from_labels({f"{PREFIX}record": text})
    assert found.state is State.ROLLED_BACK
    assert (found.migrated, found.services) == ("c f", {"web": "f"})


def test_an_owner_knows_its_own_labels() -> None:
    assert OWNER.difference(labelled_owner(owner_labels(OWNER))) is None


def test_labels_of_others_do_not_make_an_owner() -> None:
    labels = {"branch": "feature/x", "com.docker.compose.project": "p"}
    assert OWNER.difference(labelled_owner(labels)) == "it has no environment"


def test_the_newest_record_is_the_one_of_the_largest_number() -> None:
    assert newest(["p_record-9", "p_record-10", "p_record-8"]) == "p_record-10"
    assert newest([]) is None

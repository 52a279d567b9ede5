from __future__ import annotations

from tasks.core.environment import Release, State
from tasks.core.kubernetes.record import ClusterRecord

RELEASE = Release("1a2b3c4d", "1a2b3c4d" * 5, "m@sha256:1", "n@sha256:1", "ada@host", "2026-01-01")


def test_a_success_is_remembered_with_what_helm_calls_it() -> None:
    record = ClusterRecord(State.DEPLOYING, "https://x", database="m@sha256:0")
    done = record.succeeded(RELEASE, 7, "f1")
    assert (done.state, done.current, done.revision) == (State.READY, RELEASE, 7)
    assert (done.fingerprint, done.database) == ("f1", "m@sha256:0")
    assert ClusterRecord.from_json(done.to_json()) == done


def test_a_record_of_an_earlier_version_is_read() -> None:
    text = (
        '{"database": "", "expires_at": "", "fingerprint": "f1", "history": [], "revision": 3,'
        ' "state": "failed", "url": "https://x"}'
    )
    assert ClusterRecord.from_json(text) == ClusterRecord(
        State.FAILED, "https://x", revision=3, fingerprint="f1"
    )

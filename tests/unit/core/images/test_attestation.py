"""Statements about images, in envelopes that can be signed."""

from __future__ import annotations

import base64
import json

import pytest

from tasks.core.images.attestation import (
    PROVENANCE,
    Envelope,
    Provenance,
    Statement,
    envelope_in,
    provenance_in,
)

DIGEST = f"sha256:{'a' * 64}"
WHENCE = Provenance(
    repository="https://example.org/a/b",
    commit="1a2b3c4d" * 5,
    environment="prod",
    target="mautic",
    bases={"DEBIAN_IMAGE": f"debian:trixie-slim@sha256:{'b' * 64}"},
    builder="https://example.org/a/b/-/runners/7",
    invocation="https://example.org/a/b/-/jobs/1",
    started="2026-11-26T20:00:00+00:00",
    finished="2026-11-26T20:05:00+00:00",
    parameters={"php": "8.4"},
)
STATED = Statement("registry.example.org/x/mautic", DIGEST, PROVENANCE, WHENCE.predicate())


def test_a_statement_is_read_as_it_was_written() -> None:
    envelope = Envelope(STATED.payload(), [("key", b"\x00signature")])
    assert envelope_in(envelope.text()) == envelope
    assert envelope.statement() == STATED
    assert provenance_in(STATED.predicate) == WHENCE


def test_what_is_stated_has_the_fields_of_in_toto_and_slsa() -> None:
    """https://slsa.dev/spec/v1.0/provenance and in-toto's Statement, field by field."""
    stated = json.loads(STATED.payload())
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert stated["subject"] == [{"name": STATED.name, "digest": {"sha256": "a" * 64}}]
    assert stated["predicateType"] == "https://slsa.dev/provenance/v1"
    definition, run = (stated["predicate"][key] for key in ("buildDefinition", "runDetails"))
    source = {"uri": WHENCE.repository, "digest": {"gitCommit": WHENCE.commit}}
    assert definition["resolvedDependencies"] == [
        source,
        {
            "name": "DEBIAN_IMAGE",
            "uri": WHENCE.bases["DEBIAN_IMAGE"],
            "digest": {"sha256": "b" * 64},
        },
    ]
    assert run["builder"] == {"id": WHENCE.builder}
    assert run["metadata"]["invocationId"] == WHENCE.invocation


def test_what_is_signed_is_the_encoding_of_dsse() -> None:
    """The example of https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, but for
    the type of the payload."""
    assert Envelope(b"hello world").signed == (
        b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    )


def text(payload: object, /, **changes: object) -> bytes:
    encoded = base64.b64encode(json.dumps(payload).encode()).decode()
    whole = {"payloadType": "application/vnd.in-toto+json", "payload": encoded, "signatures": []}
    return json.dumps({**whole, **changes}).encode()


GOOD = json.loads(STATED.payload())


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        text(GOOD, payloadType="text/plain"),
        text(GOOD, payload="?"),
        text(GOOD, signatures=[{}]),
        text(GOOD, signatures=7),
        text([]),
        text({**GOOD, "_type": "https://in-toto.io/Statement/v0.1"}),
        text({**GOOD, "subject": []}),
        text({**GOOD, "subject": GOOD["subject"] * 2}),
        text({**GOOD, "subject": [{"name": "x", "digest": {}}]}),
        text({**GOOD, "predicateType": 7}),
        text({**GOOD, "predicate": []}),
    ],
)
def test_what_is_no_statement_is_told(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        envelope_in(stored).statement()


@pytest.mark.parametrize(
    "change",
    [
        {"buildDefinition": {}},
        {"buildDefinition": []},
        {"runDetails": {"builder": {"id": 7}}},
        {"buildDefinition": {**GOOD["predicate"]["buildDefinition"], "buildType": "another"}},
    ],
)
def test_what_is_no_provenance_of_ours_is_told(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        provenance_in({**STATED.predicate, **change})

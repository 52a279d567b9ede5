"""What is stated about an image: in-toto statements in DSSE envelopes.

Sources: https://github.com/in-toto/attestation/tree/main/spec/v1 for statements,
https://slsa.dev/spec/v1.0/provenance for where an image comes from, and
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md for the envelopes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PROVENANCE = "https://slsa.dev/provenance/v1"
BILL_OF_MATERIALS = "https://cyclonedx.org/bom"
"""Types of what is stated."""

BUILD_TYPE = "urn:mautic-multidev:bake:v1"
"""What the parameters of our provenance mean: docs/security.md, "Supply chain"."""

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True)
class Statement:
    """Something stated about one image.

    Attributes:
        name: the image's full repository.
        digest: the image's digest.
        kind: the type of what is stated.
        predicate: what is stated.
    """

    name: str
    digest: str
    kind: str
    predicate: Mapping[str, Any]

    def payload(self) -> bytes:
        """Return the statement as it is signed."""
        algorithm, _, value = self.digest.partition(":")
        stated = {
            "_type": _STATEMENT,
            "subject": [{"name": self.name, "digest": {algorithm: value}}],
            "predicateType": self.kind,
            "predicate": self.predicate,
        }
        return json.dumps(stated, separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True)
class Provenance:
    """Where an image comes from.

    Attributes:
        repository: the git repository, in its canonical form.
        commit: the full commit.
        environment: the environment that it was built for.
        target: the target of the bake file.
        parameters: versions that settings chose, such as PHP's. Never all build arguments: one may
            hold a secret.
        bases: the base images' references by digest, by build argument.
        builder: who built it, a URI: a runner, or a user on a machine.
        invocation: the job's URL, or an empty string.
        started: when the build began, in ISO 8601.
        finished: when it had ended.
    """

    repository: str
    commit: str
    environment: str
    target: str
    bases: Mapping[str, str]
    builder: str
    invocation: str = ""
    started: str = ""
    finished: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def predicate(self) -> dict[str, Any]:
        """Return it as SLSA's predicate."""
        source = {"uri": self.repository, "digest": {"gitCommit": self.commit}}
        bases = [
            {
                "name": name,
                "uri": reference,
                "digest": dict([reference.rpartition("@")[2].split(":", 1)]),
            }
            for name, reference in sorted(self.bases.items())
        ]
        ran = {
            "invocationId": self.invocation,
            "startedOn": self.started,
            "finishedOn": self.finished,
        }
        return {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "source": source,
                    "environment": self.environment,
                    "target": self.target,
                    "parameters": dict(self.parameters),
                },
                "resolvedDependencies": [source, *bases],
            },
            "runDetails": {
                "builder": {"id": self.builder},
                "metadata": {name: value for name, value in ran.items() if value},
            },
        }


def provenance_in(predicate: Mapping[str, Any]) -> Provenance:
    """Return the provenance in a predicate that this suite wrote.

    Raises:
        ValueError: it is none.
    """
    try:
        definition, run = predicate["buildDefinition"], predicate["runDetails"]
        given = definition["externalParameters"]
        if definition["buildType"] != BUILD_TYPE:
            raise ValueError(f"it is of the type {definition['buildType']!r}")
        ran = run.get("metadata", {})
        return Provenance(
            repository=_text(given["source"]["uri"]),
            commit=_text(given["source"]["digest"]["gitCommit"]),
            environment=_text(given["environment"]),
            target=_text(given["target"]),
            bases={
                _text(one["name"]): _text(one["uri"])
                for one in definition["resolvedDependencies"][1:]
            },
            builder=_text(run["builder"]["id"]),
            invocation=_text(ran.get("invocationId", "")),
            started=_text(ran.get("startedOn", "")),
            finished=_text(ran.get("finishedOn", "")),
            parameters={_text(name): _text(value) for name, value in given["parameters"].items()},
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from error


@dataclass(frozen=True)
class Envelope:
    """A signed payload.

    Attributes:
        signatures: each with the key that made it; none where nothing is signed.
    """

    payload: bytes
    signatures: Sequence[tuple[str, bytes]] = ()

    @property
    def signed(self) -> bytes:
        """The bytes that a signature is for: DSSE's pre-authentication encoding."""
        kind = PAYLOAD.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)

    def text(self) -> bytes:
        """Return the envelope as it is stored."""
        signatures = [
            {"keyid": key, "sig": base64.b64encode(value).decode()}
            for key, value in self.signatures
        ]
        payload = base64.b64encode(self.payload).decode()
        stored = {"payloadType": PAYLOAD, "payload": payload, "signatures": signatures}
        return json.dumps(stored).encode()

    def statement(self) -> Statement:
        """Return the statement that is the payload.

        Raises:
            ValueError: it is none about one image.
        """
        try:
            found = json.loads(self.payload)
            (subject,) = found["subject"]
            ((algorithm, value),) = subject["digest"].items()
            if found["_type"] != _STATEMENT or not isinstance(found["predicate"], dict):
                raise ValueError("it is no in-toto statement")
            return Statement(
                _text(subject["name"]),
                f"{algorithm}:{value}",
                _text(found["predicateType"]),
                found["predicate"],
            )
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it lacks {error}") from error


def envelope_in(text: bytes) -> Envelope:
    """Return a stored envelope.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(text)
        if found["payloadType"] != PAYLOAD:
            raise ValueError(f"its payload is of the type {found['payloadType']!r}")
        signatures = [
            (_text(one.get("keyid", "")), base64.b64decode(one["sig"], validate=True))
            for one in found["signatures"]
        ]
        return Envelope(base64.b64decode(found["payload"], validate=True), signatures)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it lacks {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text, and has {value!r}")
    return value

"""What docker's output of a failed push tells: what may heal is tried again, the rest is not."""

from __future__ import annotations

import pytest

from tasks.adapters.docker.buildx import PushError, diagnose
from tasks.adapters.process import Completed, Runner
from tasks.core.errors import InputError, RegistryError
from tasks.core.redact import Redactor

PUSH = "ERROR: failed to solve: failed to push r.example.com/m/nginx:1: "
HEAD = 'failed to do request: Head "https://r.example.com/v2/m/nginx/blobs/sha256:1": '


@pytest.mark.parametrize(
    ("words", "heals"),
    [
        (HEAD + "dial tcp 192.0.2.1:443: connect: connection refused", True),
        (HEAD + "dial tcp: lookup r.example.com: server misbehaving", True),
        (HEAD + "EOF", True),
        ("unexpected status from PUT request: 503 Service Unavailable", True),
        (HEAD + "dial tcp: lookup r.example.com: no such host", False),
        (HEAD + "tls: failed to verify certificate: x509: certificate has expired", False),
        (HEAD + "x509: certificate is valid for a.example.com, not r.example.com", False),
        (HEAD + "http: server gave HTTP response to HTTPS client", False),
        ("denied: requested access to the resource is denied", False),
        ("unauthorized: authentication required", False),
    ],
)
def test_a_push_that_cannot_heal_is_not_tried_again(words: str, heals: bool) -> None:
    argv = ("docker", "buildx", "bake")
    error = diagnose(Runner(Redactor()), Completed(argv, 1, "", PUSH + words, 0.1))
    assert isinstance(error, RegistryError)
    assert isinstance(error, PushError) is heals


@pytest.mark.parametrize("prefix", ["#12 0.345 ", "0.345 "])
def test_a_link_that_the_build_refuses_is_bad_input(prefix: str) -> None:
    refused = "docker/mautic/themes/a/x is a link to nowhere, which is not in the image"
    output = f"#12 [mautic 9/9] RUN\n{prefix}{refused}\nERROR: did not complete successfully\n"
    argv = ("docker", "buildx", "bake")
    error = diagnose(Runner(Redactor()), Completed(argv, 1, "", output, 0.1))
    assert isinstance(error, InputError)
    assert error.message == refused

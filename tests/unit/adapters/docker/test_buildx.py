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


MISTAKE = "docker/mautic/plugins/A/B.php:3: syntax error, unexpected token"
FAILED = """\
#12 [mautic stage-1 7/9] RUN sh /build/syntax.sh
#12 0.100 {line}
#12 ERROR: process "/bin/sh -c sh" did not complete successfully: exit code: 1
------
 > [mautic stage-1 7/9] RUN sh /build/syntax.sh:
0.050 first
0.100 {line}

------
Dockerfile:80
ERROR: target mautic: failed to solve: process "/bin/sh" did not complete successfully: exit code: 1
"""


@pytest.mark.parametrize(
    ("line", "headline"),
    [
        (MISTAKE, MISTAKE),
        ("cannot compile", "the build failed: cannot compile"),
    ],
)
def test_the_cause_of_a_failed_build_is_the_headline(line: str, headline: str) -> None:
    done = Completed(("docker", "buildx", "bake"), 1, "", FAILED.format(line=line), 0.1)
    error = diagnose(Runner(Redactor()), done)
    assert error.message == headline
    assert error.exit_code == 1


def test_a_build_that_failed_without_a_word_is_still_told() -> None:
    output = "ERROR: failed to solve: process x did not complete successfully: exit code: 1\n"
    done = Completed(("docker", "buildx", "bake"), 1, "", output, 0.1)
    assert diagnose(Runner(Redactor()), done).message == "the build failed"

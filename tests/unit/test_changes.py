"""Which tests `./inv test --changed` runs."""

from __future__ import annotations

import pytest

from tests.support.changes import touched

REDACT = "tests/unit/core/test_redact.py"
GIT = "tests/integration/adapters/test_git.py"
INFRA = "tests/integration/commands/test_infra.py"
UNKNOWN = f"nobody-{1}.txt"
"""Put together, so that this test does not name it."""

PIPELINE = "tests/unit/flows/test_pipeline.py"


@pytest.mark.parametrize(
    ("changed", "reaching", "others"),
    [
        ([REDACT], {REDACT}, {GIT, INFRA, PIPELINE}),
        # By imports, some of them inside functions.
        (["tasks/core/redact.py"], {REDACT, GIT, INFRA, PIPELINE}, set()),
        (["tasks/adapters/git.py"], {GIT, INFRA}, {REDACT}),
        # By the tasks that a test runs: `inv infra.plan`. The pipeline's stage is called as the
        # task `plan`, which reaches it as well.
        (["tasks/flows/infra/plans.py"], {INFRA, PIPELINE}, {REDACT, GIT}),
        # By the name of a file or of a folder.
        ([".gitlab-ci.yml"], {PIPELINE}, {REDACT, GIT, INFRA}),
        (["terraform/modules/new.tf"], {"tests/integration/test_terraform.py"}, {REDACT, GIT}),
        (["docs/aws.md"], {"tests/unit/test_docs.py"}, {REDACT, GIT}),
        # Of another family of tests, which a person runs by its name.
        (["tests/bench/measure.py"], set(), {REDACT, GIT, INFRA, PIPELINE}),
        ([], set(), {REDACT, GIT, INFRA, PIPELINE}),
        # What cannot be told.
        (["requirements-dev.lock"], {REDACT, GIT, INFRA, PIPELINE}, set()),
        ([UNKNOWN, REDACT], {REDACT, GIT, INFRA, PIPELINE}, set()),
        (["tasks/core/gone.py"], {REDACT, GIT, INFRA, PIPELINE}, set()),
        (["tests/conftest.py"], {REDACT, GIT, INFRA, PIPELINE}, set()),
        (["tests/unit/conftest.py"], {REDACT, PIPELINE}, {GIT, INFRA}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_change_touches(changed: list[str], reaching: set[str], others: set[str]) -> None:
    found = set(touched(changed))
    assert reaching <= found
    assert not others & found

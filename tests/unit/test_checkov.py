"""What lint makes of checkov's reports, in the form of checkov 3.3."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.checkov import faults

FINDING = {
    "check_id": "CKV_AWS_51",
    "check_name": "Ensure ECR Image Tags are immutable",
    "file_path": "/main.tf",
    "resource": "aws_ecr_repository.image",
}


def skipped(reason: object) -> dict[str, Any]:
    return {**FINDING, "check_result": {"result": "SKIPPED", "suppress_comment": reason}}


def test_a_finding_is_told_with_its_place() -> None:
    assert list(faults({"failed_checks": [FINDING]})) == [
        "/main.tf aws_ecr_repository.image: CKV_AWS_51 Ensure ECR Image Tags are immutable"
    ]


@pytest.mark.parametrize("reason", ["No comment provided", "", " ", None])
def test_a_skip_without_a_reason_is_a_fault(reason: object) -> None:
    assert list(faults({"skipped_checks": [skipped(reason)]})) == [
        "/main.tf aws_ecr_repository.image: CKV_AWS_51 is skipped without a reason"
    ]


def test_a_skip_with_a_reason_is_none() -> None:
    assert list(faults({"passed_checks": [], "skipped_checks": [skipped("`latest` moves")]})) == []


def test_a_file_that_checkov_cannot_read_is_a_fault() -> None:
    assert list(faults({"parsing_errors": ["/broken.tf"]})) == ["/broken.tf cannot be read"]

"""What the suite asks of ECR is what Terraform lets the jobs of a pipeline do."""

from __future__ import annotations

import re

from tests.support.suite import ROOT

OPERATION = re.compile(r'"((?:batch|create|describe|get|list|put|start)_[a-z_]+)"')
MAKES_REPOSITORIES = {"ecr:CreateRepository"}
"""With `registry.create` alone, which is for registries that Terraform has not made."""


def test_a_job_may_call_every_operation_of_the_client() -> None:
    client = (ROOT / "tasks/adapters/registry/ecr.py").read_text()
    asked = {
        "ecr:" + "".join(word.capitalize() for word in name.split("_"))
        for name in OPERATION.findall(client)
    }
    assert {"ecr:DescribeImages", "ecr:BatchDeleteImage"} <= asked
    granted = (ROOT / "terraform/modules/ci/main.tf").read_text()
    allowed = set(re.findall(r'"(ecr:[A-Za-z]+)"', granted))
    assert asked - MAKES_REPOSITORIES <= allowed

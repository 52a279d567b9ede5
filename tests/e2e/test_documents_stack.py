"""Every command that the documents show for a stack, run by Terraform on a small one, in moto."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import missing
from tests.support.aws import Moto
from tests.support.documents import documented
from tests.support.infra import PLAIN, Stack
from tests.support.suite import Inv
from tests.support.walk import Walk

AWS = "docs/aws.md"
PAGES = documented("stack", AWS)
LOCK = "6f1e0c52-9d0b-4c43-8f3e-2a5d3c1b7a90"
NAME_SERVERS = 'output "name_servers" { value = ["ns-1.awsdns-1.org"] }\n'


@pytest.fixture(scope="module")
def walk(aws: Moto, _project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A checkout whose Terraform needs no provider, and an account with nothing in it."""
    if shutil.which("terraform") is None:
        missing("terraform is not on PATH")
    scratch = tmp_path_factory.mktemp("documents")
    (scratch / "home").mkdir()
    shutil.copytree(_project, scratch / "checkout", symlinks=True)
    inv = Inv(scratch / "home", scratch, warm=True)
    stack = Stack(inv, scratch / "checkout", aws, f"mt{secrets.token_hex(3)}")
    stack.write(PLAIN + NAME_SERVERS)

    def run(*words: str) -> CompletedProcess[str]:
        return inv(stack.checkout, *words, settings=stack.settings(), env=stack.environ())

    def lose() -> None:
        """Leave a lock behind, as a run does that was killed."""
        held = {"ID": LOCK, "Operation": "OperationTypeApply", "Who": "ada@laptop"}
        held |= {"Version": "1.11.0", "Created": "2026-11-22T10:15:00Z", "Info": "", "Path": ""}
        key = f"{stack.name}/terraform.tfstate.tflock"
        aws.client("s3").put_object(Bucket=stack.bucket, Key=key, Body=json.dumps(held).encode())

    def admit() -> None:
        """Remove the bucket's policy: moto takes no notice of its conditions, and refuses all."""
        aws.client("s3").delete_bucket_policy(Bucket=stack.bucket)

    yield Walk(
        stack.checkout,
        run,
        inv.start,
        before={
            (AWS, "./inv infra.plan --stack dev"): [admit],
            (AWS, "./inv infra.unlock --stack dev"): [lose],
        },
        codes={(AWS, "./inv infra.unlock --stack dev"): 2},
        names={"--id ID": lambda: f"--id {LOCK}"},
    )
    inv.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page(walk: Walk, page: str) -> None:
    walk.follow(PAGES[page])

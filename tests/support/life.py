"""The prepared stack itself, against moto: all of the root's Terraform but EKS' own resources."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from subprocess import CompletedProcess

import requests

from tests.integration.build_support import Answer, Request, front_door
from tests.support.aws import ACCOUNT, Moto
from tests.support.infra import Stack
from tests.support.suite import commit_all

DOMAIN = "dev.mautic.test"
NAMESPACE = "platform-of-tests"
"""Not the default, so a deploy that names it can only have it from Terraform."""

VARIABLES = f"""
platform_namespace = "{NAMESPACE}"
# moto knows neither: creation, or destruction, never ends.
files = {{ backup = false, enforce_tls = false }}
"""

EKS = """
data "aws_subnet" "first" { id = var.subnet_ids[0] }
resource "aws_security_group" "eks" {
  name   = "eks-cluster-sg-${var.name}"
  vpc_id = data.aws_subnet.first.vpc_id
}
locals {
  eks = {
    name       = var.name
    arn        = ""
    endpoint   = ""
    vpc_config = [{ cluster_security_group_id = aws_security_group.eks.id }]
  }
}
"""
"""What the modules ask the cluster for. moto's has no security group, and knows no add-ons, access
entries and pod identities; roles, keys, logs and launch template are made as ever."""


def without_eks(terraform: Path) -> None:
    """Take EKS' resources out of a copy of terraform/."""
    for path in (terraform / "modules").rglob("*.tf"):
        code = path.read_text()
        fewer = re.sub(r'^resource "aws_eks_.*?^}\n', "", code, flags=re.DOTALL | re.MULTILINE)
        fewer = fewer.replace("aws_eks_cluster.this", "local.eks")
        fewer = re.sub(r"aws_eks_\w+\.\w+(, *)?", "", fewer)  # of a depends_on
        if fewer != code:
            path.write_text(fewer)
    (terraform / "modules" / "cluster" / "eks.tf").write_text(EKS)


@contextlib.contextmanager
def rds(aws: Moto) -> Iterator[str]:
    """Stand before moto's RDS, which gives a new server a certificate authority of no name in AWS.

    The provider names the wanted one only after the creation, unless it is AWS' default
    (hashicorp/terraform-provider-aws#40911), and waits 80 seconds for that change, too.

    Yields:
        Its address.
    """

    def answer(request: Request) -> Answer | None:
        if b"Action=CreateDBInstance&" not in request.body:
            return None
        body = request.body + b"&CACertificateIdentifier=rds-ca-rsa2048-g1"
        headers = {k: v for k, v in request.headers.items() if k.lower() != "content-length"}
        done = requests.post(aws.url + request.path, body, headers=headers, timeout=60)
        return Answer(done.status_code, dict(done.headers), done.content)

    with front_door(aws.host, answer) as (host, _):
        yield f"http://{host}"


class Life:
    """A stack from its plan to its end. Terraform waits more than it works: others can meanwhile.

    Args:
        stack: the stack, in a checkout of the whole project.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        terraform = stack.checkout / "terraform"
        without_eks(terraform)
        prepared = terraform / "environments" / "dev.tfvars"
        mine = prepared.read_text().replace("111122223333", ACCOUNT)
        prepared.write_text(mine.replace("dev.example.org", DOMAIN))
        own = stack.checkout.parent / "moto.tfvars"
        own.write_text(VARIABLES)
        commit_all(stack.checkout)
        stack.own["variables"] = [str(prepared), str(own)]
        self._worker = ThreadPoolExecutor(max_workers=1)

    @cached_property
    def planned(self) -> CompletedProcess[str]:
        """`inv infra.plan`, after `inv infra.bootstrap`."""
        self.stack.run("bootstrap")
        # moto takes no notice of a statement's conditions, and would refuse everything.
        self.stack.aws.client("s3").delete_bucket_policy(Bucket=self.stack.bucket)
        return self.stack.run("plan")

    @cached_property
    def applying(self) -> Future[CompletedProcess[str]]:
        """Start `inv infra.apply` in the background."""
        assert self.planned
        return self._worker.submit(self.stack.run, "apply")

    @property
    def applied(self) -> CompletedProcess[str]:
        """`inv infra.apply` at its end."""
        return self.applying.result()

    @cached_property
    def password(self) -> str:
        """The database administrator's password, which must never be shown."""
        assert self.applied
        secrets = self.stack.aws.client("secretsmanager")
        (secret,) = secrets.list_secrets()["SecretList"]
        held = json.loads(secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"])
        password: str = held["password"]
        return password

    @cached_property
    def destroying(self) -> Future[CompletedProcess[str]]:
        """Start `inv infra.destroy` in the background."""
        assert self.password
        return self._worker.submit(self.stack.run, "destroy", "--name", self.stack.name)

    def close(self) -> None:
        """Wait for the background run."""
        self._worker.shutdown()

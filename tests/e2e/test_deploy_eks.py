"""A branch, where AWS says everything: SSM, ECR and STS by moto, EKS by a real control plane that
takes its tokens, pods by the tests' node.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.controlplane import needed_assets
from tests.support.eks import Eks, admit_database
from tests.support.kube_cli import PLATFORM, KubeEnv, kube_environment
from tests.support.node import Node

NAME = f"mautic-{secrets.token_hex(3)}"
URL = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}"
ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1-AbCdEf"
AUTHORITIES = "/var/www/html/config/rds.pem"
OCI = "application/vnd.oci.image.manifest.v1+json"
ENVIRONMENT = "dev"
ON = ("--env", ENVIRONMENT)
PUBLISHED = {
    "region": REGION,
    "registry/url": URL,
    "cluster/name": NAME,
    "database/host": "mautic.abc.eu-central-1.rds.amazonaws.com",
    "database/port": "3306",
    "database/admin-secret-arn": ARN,
    "dns/domain": "dev.example.org",
    "platform/namespace": PLATFORM,
    "platform/database-account": "mautic-database-admin",
}


@dataclass
class Cloud:
    """What the tests share.

    Attributes:
        aws: moto.
        eks: the cluster.
        env: runs the suite, and removes what it made.
        variables: what leads the suite to all that, and to no kubeconfig.
        jobs: the pods of database Jobs that the node has played.
        said: everything that the suite said.
    """

    aws: Moto
    eks: Eks
    env: KubeEnv
    variables: dict[str, str]
    jobs: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def run(self, *args: str) -> tuple[int, str, str]:
        """Run `inv` with an environment that says next to nothing."""
        own = {
            "target": "kubernetes",
            "branches": ["*"],
            "stack": ENVIRONMENT,
            "values": ["helm/environments/dev.yaml", admit_database(self.env.checkout)],
            "database": {"tls_ca": AUTHORITIES},
            "patience": {"stability_seconds": 1},
        }
        done = self.env.inv(
            self.env.checkout,
            *args,
            settings={"project": self.env.project, "environments": {ENVIRONMENT: own}},
            env=self.variables,
            timeout=300,
        )
        self.said += [done.stdout, done.stderr]
        return done.returncode, done.stdout, done.stderr

    def push(self, tag: str) -> None:
        """Put both images into ECR under a tag, with a branch's marker."""
        for name in ("mautic", "nginx"):
            manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI, "of": f"{name}:{tag}"})
            for each in (tag, f"branch.feature-x.{tag}"):
                self.aws.client("ecr").put_image(
                    repositoryName=f"{NAME}/{name}",
                    imageManifest=manifest,
                    imageManifestMediaType=OCI,
                    imageTag=each,
                    imageDigest=f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}",
                )

    def tags(self) -> set[str]:
        """Return the tags of the mautic image."""
        found = self.aws.client("ecr").list_images(repositoryName=f"{NAME}/mautic")["imageIds"]
        return {one["imageTag"] for one in found}


@pytest.fixture(scope="module")
def cloud(aws: Moto, _project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    programs = needed_assets()
    ecr = aws.client("ecr")
    for name in ("mautic", "nginx"):
        ecr.create_repository(repositoryName=f"{NAME}/{name}")
    aws.publish(ENVIRONMENT, PUBLISHED)
    root, scratch = tmp_path_factory.mktemp("eks"), tmp_path_factory.mktemp("cloud")
    with (
        Eks(aws, programs, root, whole=True) as eks,
        Node(eks.plane) as node,
        kube_environment(eks.plane, node, "unused", _project, scratch) as env,
        eks.api(NAME) as (url, _),
    ):
        account = {"name": "mautic-database-admin", "namespace": PLATFORM}
        env.cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        variables = {
            **aws.variables(),
            "AWS_ENDPOINT_URL_EKS": url,
            "KUBECONFIG": os.devnull,
            "PATH": env.environ()["PATH"],
        }
        made = Cloud(aws, eks, env, variables)
        fate = node.decide

        def watched(pod: dict[str, Any]) -> str:
            if pod["metadata"]["namespace"] == PLATFORM:
                made.jobs.append(pod)
            return fate(pod)

        node.decide = watched
        yield made
    for name in ("mautic", "nginx"):
        ecr.delete_repository(repositoryName=f"{NAME}/{name}", force=True)
    ssm = aws.client("ssm")
    ssm.delete_parameters(Names=[f"/mautic-multidev/{ENVIRONMENT}/{name}" for name in PUBLISHED])


def test_a_branch_lives_and_goes(cloud: Cloud) -> None:
    branch = ("--branch", "feature-x")
    cloud.push("1a2b3c4d")
    status, url, said = cloud.run("deploy", *ON, *branch, "--tag", "1a2b3c4d")
    assert (status, url) == (0, "https://feature-x.dev.example.org\n"), said

    namespace = f"{cloud.env.project}-feature-x"
    web = cloud.env.cluster.find("Deployment", namespace, "app.kubernetes.io/component=web")
    images = {one["image"] for one in web[0]["spec"]["template"]["spec"]["containers"]}
    assert {image.partition("@")[0] for image in images} == {f"{URL}/mautic", f"{URL}/nginx"}

    (job,) = cloud.jobs
    variables = {one["name"]: one.get("value") for one in job["spec"]["containers"][0]["env"]}
    assert job["spec"]["serviceAccountName"] == "mautic-database-admin"
    assert variables["MAUTIC_DB_ADMIN_SECRET_ARN"] == ARN
    assert variables["MAUTIC_DB_HOST"] == PUBLISHED["database/host"]
    assert variables["MAUTIC_DB_TLS_CA_FILE"] == AUTHORITIES
    (config,) = cloud.env.cluster.find("ConfigMap", namespace, "app.kubernetes.io/component=config")
    assert config["data"]["MAUTIC_DB_TLS_CA_FILE"] == AUTHORITIES

    status, listed, _ = cloud.run("list", *ON, "--format", "json")
    assert [row["url"] for row in json.loads(listed)] == [url.strip()]
    cloud.push("5e6f7a8b")
    assert cloud.run("deploy", *ON, *branch, "--tag", "5e6f7a8b")[0] == 0
    status, _, said = cloud.run("rollback", *ON, *branch)
    assert status == 0, said

    status, _, said = cloud.run("cleanup", *ON, *branch)
    assert status == 0, said
    assert cloud.env.cluster.get("Namespace", namespace) is None
    assert cloud.tags() == set()
    assert [one["spec"]["containers"][0]["args"][-1] for one in cloud.jobs] == ["create", "drop"]


def test_no_token_and_no_key_was_said_or_written(cloud: Cloud) -> None:
    """After the other one; alone it deploys a branch for it."""
    if not cloud.said:
        cloud.push("9c0d1e2f")
        assert cloud.run("deploy", *ON, "--branch", "feature-x", "--tag", "9c0d1e2f")[0] == 0
    hidden = [*set(cloud.eks.webhook.tokens), cloud.variables["AWS_SECRET_ACCESS_KEY"]]
    assert len(hidden) > 1
    said = "".join(cloud.said)
    assert [one for one in hidden if one in said] == []
    written = [path for path in cloud.env.checkout.rglob("*") if path.is_file()]
    written = [path for path in written if "tests" not in path.parts]
    assert any(path.name == "timings.json" for path in written)
    for path in written:
        held = path.read_bytes()
        assert [one for one in hidden if one.encode() in held] == [], path

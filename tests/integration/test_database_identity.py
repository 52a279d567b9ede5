"""`mautic database` with the administrator's password in AWS: read with the pod's own identity.

The agent that EKS runs on every node is played; IAM, STS and Secrets Manager are moto's, which
checks every signature and policy; server and image are real.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasks.core.kubernetes.manifests import DatabaseServer, database_job
from tasks.core.names import names
from tests.integration.build_support import Answer, Request, front_door
from tests.integration.standin_support import container, pair
from tests.support.aws import Moto
from tests.support.images import standin

if TYPE_CHECKING:
    import docker

ADMIN_PASSWORD = "R@nd0m&of-RDS"
POD_TOKEN = "eyJhbGciOiJSUzI1NiJ9.cG9k.c2ln"
SCRATCH = ("/tmp", "/var/www/html/var/cache", "/var/www/html/var/tmp")
DENY = 77
WRONG = 78
ABSENT = 75


@dataclass
class Identity:
    """What stands around the pod.

    Attributes:
        aws: moto, which checks signatures and policies.
        arn: the secret.
        agent: the agent's address.
        client: a container of the mautic image on the host's network.
        port: the database server's port on loopback.
        tokens: what the agent was shown.
    """

    aws: Moto
    arn: str
    agent: str
    client: Any
    port: int
    tokens: list[str] = field(default_factory=list)

    def role(self, verb: str, **environment: str) -> tuple[int, str]:
        """Run the role as the Job would; return exit status and output."""
        given = {
            "MAUTIC_DB_HOST": "127.0.0.1",
            "MAUTIC_DB_PORT": str(self.port),
            "MAUTIC_DB_PREFIX": "mt_",
            "MAUTIC_DB_DATABASE": "mt_branch",
            "MAUTIC_DB_USER": "mt_branch",
            "MAUTIC_DB_PASSWORD": "of the branch",
            "MAUTIC_DB_ADMIN_SECRET_ARN": self.arn,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.agent}/v1/database",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/tmp/eks-pod-identity-token",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.aws.url,
            **environment,
        }
        done = self.client.exec_run(["mautic", "database", verb], environment=given)
        said = done.output.decode()
        for secret in (ADMIN_PASSWORD, POD_TOKEN):
            assert secret not in said
        return done.exit_code, said


def agent_of(credentials: dict[str, dict[str, str]], tokens: list[str]) -> ThreadingHTTPServer:
    """Return the agent: it gives the credentials of a path to whoever shows the pod's token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("Authorization", ""))
            right = tokens[-1] == POD_TOKEN
            body = json.dumps(
                credentials[self.path] if right else {"message": "no such pod"}
            ).encode()
            self.send_response(200 if right else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def strict_aws(aws: Moto) -> tuple[str, dict[str, dict[str, str]]]:
    """Make a secret, a role that may read it and one that may not; return it and credentials.

    The six calls are those that moto lets pass unchecked. It knows no resources in policies.
    """
    value = json.dumps({"username": "root", "password": ADMIN_PASSWORD})
    arn = aws.client("secretsmanager").create_secret(Name="rds!db-1", SecretString=value)["ARN"]
    iam, sts = aws.client("iam"), aws.client("sts")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    may = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    credentials = {}
    for name in ("database", "stranger"):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if name == "database":
            iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=policy)
        made = sts.assume_role(RoleArn=role, RoleSessionName="pod")["Credentials"]
        credentials[f"/v1/{name}"] = {
            "AccessKeyId": made["AccessKeyId"],
            "SecretAccessKey": made["SecretAccessKey"],
            "Token": made["SessionToken"],
            "Expiration": made["Expiration"].isoformat(),
        }
    return arn, credentials


@pytest.fixture(scope="module")
def identity(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Identity]:
    folder: Path = tmp_path_factory.mktemp("identity")
    with (
        Moto(folder, {"INITIAL_NO_AUTH_ACTION_COUNT": "6"}) as aws,
        container(
            engine,
            standin(engine, "database"),
            name=f"mautic-multidev-test-{secrets.token_hex(4)}",
            environment={"MYSQL_ROOT_PASSWORD": ADMIN_PASSWORD},
            ports={"3306/tcp": ("127.0.0.1", None)},
            tmpfs={
                "/var/lib/mysql": "uid=999,gid=999",
                "/tmp": "",
                "/run/mysqld": "uid=999,gid=999",
            },
        ) as database,
        container(
            engine,
            pair(engine)[0],
            ["sleep", "3600"],
            network_mode="host",
            tmpfs=dict.fromkeys(SCRATCH, "uid=33,gid=33"),
            read_only=True,
            cap_drop=["ALL"],
        ) as client,
    ):
        database.reload()
        arn, credentials = strict_aws(aws)
        tokens: list[str] = []
        agent = agent_of(credentials, tokens)
        threading.Thread(target=agent.serve_forever, daemon=True).start()
        write = ["php", "-r", f"file_put_contents('/tmp/eks-pod-identity-token', '{POD_TOKEN}');"]
        assert client.exec_run(write).exit_code == 0
        port = int(database.ports["3306/tcp"][0]["HostPort"])
        address = f"http://127.0.0.1:{agent.server_port}"
        try:
            yield Identity(aws, arn, address, client, port, tokens)
        finally:
            agent.shutdown()
            agent.server_close()


def test_a_database_is_made_and_dropped_with_the_pod_s_identity(identity: Identity) -> None:
    status, said = identity.role("create")
    assert (status, "mt_branch and its user mt_branch are there" in said) == (0, True), said
    status, said = identity.role("drop")
    assert (status, "are gone" in said) == (0, True), said
    assert set(identity.tokens) == {POD_TOKEN}


def test_a_secret_that_the_role_may_not_read_is_told(identity: Identity) -> None:
    stranger = f"{identity.agent}/v1/stranger"
    status, said = identity.role("create", AWS_CONTAINER_CREDENTIALS_FULL_URI=stranger)
    assert status == DENY
    assert f"the secret {identity.arn} cannot be read: 403" in said
    assert "not authorized to perform: secretsmanager:GetSecretValue" in said


def test_a_secret_that_is_not_there_is_told(identity: Identity) -> None:
    status, said = identity.role("create", MAUTIC_DB_ADMIN_SECRET_ARN=f"{identity.arn[:-6]}GhIjKl")
    assert status == DENY
    assert "cannot be read: 4" in said


@pytest.mark.parametrize(
    ("environment", "status", "words"),
    [
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": ""}, DENY, "this pod has no identity"),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://agent.example.com/v1/credentials"},
            WRONG,
            "not fetched from agent.example.com without TLS",
        ),
        ({"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere"}, WRONG, "/nowhere cannot be read"),
        ({"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/etc/hostname"}, DENY, "no such pod"),
        ({"MAUTIC_DB_ADMIN_SECRET_ARN": "admin"}, WRONG, "not the ARN of a secret"),
    ],
)
def test_what_the_pod_lacks_is_told(
    identity: Identity, environment: dict[str, str], status: int, words: str
) -> None:
    found, said = identity.role("create", **environment)
    assert (found, words in said) == (status, True), said


def test_throttling_and_failures_of_aws_are_tried_again(identity: Identity) -> None:
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    throttled = json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode()
    faults = [Answer(500, kind, b""), Answer(400, kind, throttled)]
    seen: list[str] = []

    def fault(request: Request) -> Answer | None:
        seen.append(request.path)
        if faults:
            return faults.pop()
        # The door has another address than the one that is signed.
        request.headers["Host"] = host
        return None

    with front_door(identity.aws.host, fault) as (host, _):
        url = f"http://{host}"
        status, said = identity.role("create", AWS_ENDPOINT_URL_SECRETS_MANAGER=url)
    assert status == 0, said
    assert len(seen) == 3
    identity.role("drop")


def test_the_job_has_the_arn_and_the_account_and_nothing_of_the_password() -> None:
    own = names(
        "x", environment="dev", project="mautic", namespace="mautic-{slug}", host="{slug}.d"
    )
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf"
    server = DatabaseServer("db", 3306, "admin", "mautic-system", "mautic_", arn, "database-admin")
    pod = database_job(own, server, "image", "create", 120)["spec"]["template"]["spec"]
    variables = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    assert variables["MAUTIC_DB_ADMIN_SECRET_ARN"] == arn
    assert not [
        name for name in variables if name.startswith("MAUTIC_DB_ADMIN_") and "ARN" not in name
    ]
    assert pod["serviceAccountName"] == "database-admin"
    assert pod["automountServiceAccountToken"] is False
    named = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    assert named == ["database-mautic-x"]

"""EKS: moto's clusters, and a real API server that takes tokens as EKS does, by a webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tasks.adapters.aws import eks
from tasks.adapters.aws.eks import EksAccess, sign_token
from tasks.adapters.aws.session import Aws
from tasks.adapters.host.tools import find_helm
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.process import Runner
from tasks.core.errors import AwsError, ClusterError, CommandError
from tasks.core.redact import Redactor
from tests.integration.build_support import Request
from tests.support.aws import ACCOUNT, REGION, Moto
from tests.support.controlplane import needed_assets
from tests.support.eks import Eks, Webhook, asked_of_sts, url_of
from tests.support.suite import ROOT

NAME = "mautic-test"
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci"


@pytest.fixture(autouse=True)
def credentials(aws: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws.variables().items():
        monkeypatch.setenv(name, value)


# -- the token ------------------------------------------------------------------------------------


def signature(url: str, secret: str) -> str:
    """Return the signature that AWS would compute for a presigned GET (Signature Version 4)."""
    parts = urlsplit(url)
    query = {key: value[0] for key, value in parse_qs(parts.query).items()}
    del query["X-Amz-Signature"]
    _, day, region, service, end = query["X-Amz-Credential"].split("/")
    canonical = "&".join(f"{quote(k, safe='')}={quote(query[k], safe='')}" for k in sorted(query))
    headers = f"host:{parts.netloc}\nx-k8s-aws-id:{NAME}\n"
    empty = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{canonical}\n{headers}\nhost;x-k8s-aws-id\n{empty}"
    scope = f"{day}/{region}/{service}/{end}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, end, text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


@pytest.mark.parametrize("session_token", ["", "FwoGZXIvYXdzEXAMPLE/+=="])
def test_a_token_is_what_is_documented_field_by_field(
    monkeypatch: pytest.MonkeyPatch, session_token: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")  # nothing is sent
    if session_token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", session_token)
    before = datetime.now(UTC).replace(microsecond=0)
    token = sign_token(Aws(REGION), NAME)
    url = url_of(token.value)
    parts = urlsplit(url)
    query = {key: value for key, (value,) in parse_qs(parts.query).items()}

    assert (parts.scheme, parts.netloc, parts.path) == (
        "https",
        f"sts.{REGION}.amazonaws.com",
        "/",
    )
    made = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert before <= made <= datetime.now(UTC)
    expected = {
        "Action": "GetCallerIdentity",
        "Version": "2011-06-15",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{KEY}/{made:%Y%m%d}/{REGION}/sts/aws4_request",
        "X-Amz-Date": query["X-Amz-Date"],
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host;x-k8s-aws-id",
        "X-Amz-Signature": signature(url, SECRET),
    }
    if session_token:
        expected["X-Amz-Security-Token"] = session_token
    assert query == expected
    assert made <= token.expires_at - timedelta(minutes=14) <= datetime.now(UTC)


def test_what_a_token_signs_sts_answers(aws: Moto) -> None:
    url = url_of(sign_token(Aws(REGION), NAME).value)
    assert url.startswith(aws.url)
    assert f"<Account>{ACCOUNT}</Account>" in asked_of_sts(url, NAME)


def test_a_profile_with_a_role_gives_a_token_of_that_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[profile ci]\nrole_arn = {ROLE}\ncredential_source = Environment\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_REGION", REGION)
    query = parse_qs(urlsplit(url_of(sign_token(Aws(REGION, "ci"), NAME).value)).query)
    assert not query["X-Amz-Credential"][0].startswith(KEY)
    assert query["X-Amz-Security-Token"]


def test_a_web_identity_gives_a_token_of_its_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a GitLab job, which has no keys at all."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "token").write_text("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_REGION", REGION)
    query = parse_qs(urlsplit(url_of(sign_token(Aws(REGION), NAME).value)).query)
    assert query["X-Amz-Security-Token"]


def test_without_credentials_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AwsError, match="no usable AWS credentials"):
        sign_token(Aws(REGION), NAME)


# -- the cluster, by moto -------------------------------------------------------------------------


def access(name: str, secret: Callable[[str], None] = str) -> EksAccess:
    return EksAccess(Aws(REGION), name, root=ROOT, secret=secret)


def test_address_and_authority_are_what_eks_says(aws: Moto) -> None:
    client = aws.client("eks")
    made = client.create_cluster(name="mine", roleArn=ROLE, resourcesVpcConfig={})["cluster"]
    try:
        found = access("mine").endpoint
        assert found.url == made["endpoint"]
        assert found.authority == base64.b64decode(made["certificateAuthority"]["data"])
    finally:
        client.delete_cluster(name="mine")


def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(ClusterError, match=f"no EKS cluster nothing in {REGION} of account") as one:
        access("nothing").log_in()
    assert "region" in (one.value.hint or "")


# -- an API server that asks STS whose a token is --------------------------------------------------


@pytest.fixture(scope="module")
def played(aws: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eks]:
    with Eks(aws, needed_assets(), tmp_path_factory.mktemp("eks")) as made:
        yield made


@pytest.fixture
def webhook(played: Eks) -> Webhook:
    return played.webhook


@pytest.fixture
def eks_api(played: Eks, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Request]]:
    """EKS knows the real API server, all else is moto's; the requests it has seen."""
    played.webhook.forget()
    with played.api(NAME) as (url, seen):
        monkeypatch.setenv("AWS_ENDPOINT_URL_EKS", url)
        # Two tokens of one key and second are equal, and the API server remembers good ones: 10 s.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA{secrets.token_hex(8).upper()}")
        yield seen


def cluster_by(log_in: EksAccess) -> Cluster:
    return Cluster(log_in.context, str(log_in.kubeconfig), log_in=log_in.log_in, patience=5)


def test_the_client_is_let_in(eks_api: list[Request], webhook: Webhook) -> None:
    masked: list[str] = []
    cluster = cluster_by(access(NAME, masked.append))
    assert cluster.may("create", "Namespace")
    assert cluster.find("Namespace")
    assert set(webhook.tokens) == set(masked)  # every token is masked
    assert len(masked) == 1
    assert len(eks_api) == 1


def test_a_token_is_replaced_before_it_ends(
    eks_api: list[Request], webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(eks, "LIFETIME", eks.EARLY)
    cluster = cluster_by(access(NAME, masked.append))
    for _ in range(3):
        assert cluster.version()
    assert len(masked) >= 3
    assert set(webhook.tokens) <= set(masked)


def test_a_token_that_is_refused_is_replaced_once(eks_api: list[Request], webhook: Webhook) -> None:
    masked: list[str] = []
    cluster = cluster_by(access(NAME, masked.append))
    webhook.refused = 1
    assert cluster.find("Namespace")
    assert len(masked) == 2


def test_credentials_that_the_cluster_refuses_are_told(
    eks_api: list[Request], webhook: Webhook
) -> None:
    webhook.refused = 2
    with pytest.raises(ClusterError, match="401"):
        cluster_by(access(NAME)).find("Namespace")
    assert len(webhook.tokens) == 2


def test_nobody_goes_on_without_credentials(
    eks_api: list[Request], webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = access(NAME)
    assert own.endpoint
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AwsError, match="no usable AWS credentials"):
        cluster_by(access(NAME)).version()
    assert webhook.tokens == []


def test_a_context_whose_plugin_fails_is_not_gone_on_with(played: Eks, tmp_path: Path) -> None:
    """The client library only logs that, and would ask as nobody."""
    config = json.loads(played.plane.kubeconfig.read_text())
    plugin = {"apiVersion": eks.API, "command": "false", "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": plugin}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    with pytest.raises(ClusterError, match="no credentials for test"):
        Cluster("test", str(tmp_path / "kubeconfig")).version()


def test_helm_asks_us_for_its_token(
    eks_api: list[Request], webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A person's variables, for another Python.
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    runner = Runner(Redactor())
    own = access(NAME)
    helm = Helm(
        runner,
        lambda: (own.write_kubeconfig(), find_helm(runner, ROOT, say=lambda _: None))[1],
        own.context,
        str(own.kubeconfig),
    )
    with pytest.raises(CommandError) as told:
        helm.rollback("nothing", "default", 1, timeout_seconds=30)
    assert "not found" in told.value.message
    assert webhook.tokens
    folder = own.kubeconfig.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    written = own.kubeconfig.read_text()
    assert "k8s-aws-v1" not in written
    assert SECRET not in written
    assert len(eks_api) == 1


def test_an_id_token_is_used_in_place_of_awss(eks_api: list[Request], webhook: Webhook) -> None:
    masked: list[str] = []
    token = "header.payload.signature"
    own = EksAccess(Aws(REGION), NAME, root=ROOT, secret=masked.append, id_token=token)
    with pytest.raises(ClusterError, match="401"):  # this API server knows AWS's alone
        cluster_by(own).find("Namespace")
    assert set(webhook.tokens) == set(masked) == {token}
    own.write_kubeconfig()
    written = own.kubeconfig.read_text()
    assert token not in written
    (user,) = json.loads(written)["users"]
    file = Path(user["user"]["tokenFile"])
    assert file.read_text() == token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def plugin(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = "import sys; from tasks.adapters.aws.eks_token import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "--cluster", NAME, "--region", REGION],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin_tells_why_there_is_no_token() -> None:
    environ = {**os.environ, "AWS_CONFIG_FILE": os.devnull}
    done = plugin(environ)
    answer = json.loads(done.stdout)
    assert (answer["apiVersion"], answer["kind"]) == (eks.API, "ExecCredential")
    ends = datetime.fromisoformat(answer["status"]["expirationTimestamp"])
    assert timedelta(minutes=13) < ends - datetime.now(UTC) <= timedelta(minutes=14)
    assert url_of(answer["status"]["token"])

    del environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]
    done = plugin(environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no usable AWS credentials" in done.stderr

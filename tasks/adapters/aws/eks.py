"""EKS: a cluster's address and certificate authority, and tokens for its API server.

A token is a presigned GetCallerIdentity request to STS. The API server sends that request, and so
learns who the caller is. The format is that of ``aws eks get-token``
(https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster).
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.aws.session import Aws
from tasks.adapters.files.private import write_private
from tasks.core.errors import AwsError, ClusterError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
URL_SECONDS = 60
"""The lifetime in the signature; the API server accepts the token for fifteen minutes anyway."""
LIFETIME = timedelta(minutes=14)
EARLY = timedelta(minutes=2)
"""How long before it expires a token is replaced: a request may take a while."""
CONTEXT = "eks"
API = "client.authentication.k8s.io/v1"
USABLE = frozenset({"ACTIVE", "UPDATING"})

_PLUGIN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from tasks.adapters.aws.eks_token import main; sys.exit(main())"
)
"""Runs the exec plugin in an isolated Python: the checkout is its first argument."""


@dataclass(frozen=True)
class EksToken:
    """A bearer token for the API server; its value is a secret."""

    value: str
    expires_at: datetime


@dataclass(frozen=True)
class Endpoint:
    """Where a cluster's API is.

    Attributes:
        authority: the certificate of its CA, PEM.
    """

    url: str
    authority: bytes


class EksAccess:
    """Access to one cluster with AWS credentials, without the user's kubeconfig.

    Args:
        aws: the cluster's region, and the credentials.
        root: the checkout, where Helm's exec plugin finds this suite.
        secret: called with every token, so that it is masked.
        id_token: a token of the cluster's identity provider, in place of those that AWS's
            credentials sign; empty for none.
    """

    def __init__(
        self,
        aws: Aws,
        name: str,
        *,
        root: Path,
        secret: Callable[[str], None],
        id_token: str = "",
    ) -> None:
        self._aws = aws
        self._id_token = id_token
        self._name = name
        self._root = root
        self._secret = secret
        self._token: EksToken | None = None
        self._signing = threading.Lock()

    @cached_property
    def endpoint(self) -> Endpoint:
        """Where the cluster's API is; EKS is asked once.

        Raises:
            ClusterError: there is no such cluster, or it is not ready.
            AwsError: AWS refused, or cannot be reached.
        """
        client = self._aws.client("eks")
        try:
            with self._aws.calling():
                cluster = client.describe_cluster(name=self._name)["cluster"]
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            account = self._aws.identity.account
            raise ClusterError(
                f"there is no EKS cluster {self._name} in {self._aws.region} of account {account}",
                hint="are region, account and name right? `inv doctor` says where the name is from",
            ) from error
        if cluster["status"] not in USABLE:
            raise ClusterError(
                f"the EKS cluster {self._name} is {cluster['status']}",
                hint="wait until it is ACTIVE",
            )
        authority = base64.b64decode(cluster["certificateAuthority"]["data"])
        return Endpoint(cluster["endpoint"], authority)

    def token(self) -> EksToken:
        """Return a token that does not expire soon.

        Raises:
            AwsError: there are no credentials to sign it with.
        """
        with self._signing:
            if self._id_token:
                self._secret(self._id_token)
                # It is as good as the job is long, and there is no other.
                return EksToken(self._id_token, datetime.max.replace(tzinfo=UTC))
            if self._token is None or self._token.expires_at - datetime.now(UTC) < EARLY:
                self._token = sign_token(self._aws, self._name)
                self._secret(self._token.value)
            return self._token

    def log_in(self) -> ApiClient:
        """Return a client of the cluster's API; its token is replaced before it expires.

        Raises:
            ClusterError: as for ``endpoint``.
            AwsError: AWS refused, or there are no credentials.
        """
        from kubernetes.client import ApiClient, Configuration

        # Called again only after the API refused the current token.
        self._token = None
        configuration = Configuration(
            host=self.endpoint.url,
            ssl_ca_cert=str(self._authority),
            # The client asks the hook for a new key only if it has one at all.
            api_key={"authorization": f"Bearer {self.token().value}"},
        )
        configuration.refresh_api_key_hook = self._refresh  # type: ignore[assignment]
        return ApiClient(configuration)

    def _refresh(self, configuration: Configuration) -> None:
        configuration.api_key["authorization"] = f"Bearer {self.token().value}"

    # -- files ------------------------------------------------------------------------------------

    @property
    def context(self) -> str:
        """The context's name in the private kubeconfig."""
        return CONTEXT

    @property
    def kubeconfig(self) -> Path:
        """Where the private kubeconfig is, once it has been written."""
        return Path(self._folder.name) / "kubeconfig"

    def write_kubeconfig(self) -> None:
        """Write a kubeconfig for Helm that gets its tokens from this suite, as an exec plugin.

        An ID token is in a file beside it instead.

        Raises:
            ClusterError: as for ``endpoint``.
            AwsError: AWS refused, or cannot be reached.
        """
        place = ["--cluster", self._name, "--region", self._aws.region]
        place += ["--profile", self._aws.profile] if self._aws.profile else []
        plugin = {
            "apiVersion": API,
            "command": sys.executable,
            "args": ["-I", "-X", "utf8", "-c", _PLUGIN, str(self._root), *place],
            "interactiveMode": "Never",
        }
        user: dict[str, Any] = {"exec": plugin}
        if self._id_token:
            token = write_private(Path(self._folder.name) / "token", self._id_token.encode())
            user = {"tokenFile": str(token)}
        cluster = {"server": self.endpoint.url, "certificate-authority": str(self._authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": CONTEXT, "user": user}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        }
        write_private(self.kubeconfig, json.dumps(config, indent=2).encode())

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        """A private folder of this run, mode 0700; removed when the run ends."""
        return tempfile.TemporaryDirectory(prefix="inv-eks-")

    @cached_property
    def _authority(self) -> Path:
        return write_private(Path(self._folder.name) / "ca.crt", self.endpoint.authority)


def sign_token(aws: Aws, cluster: str) -> EksToken:
    """Return a new token for a cluster; requests are sent only to obtain the credentials.

    Raises:
        AwsError: there are no credentials, or they cannot be obtained.
    """
    from botocore.model import ServiceId
    from botocore.signers import RequestSigner

    client = aws.client("sts")
    with aws.calling():
        credentials = aws.session.get_credentials()
        signer = RequestSigner(
            ServiceId("sts"), aws.region, "sts", "v4", credentials, aws.session.events
        )
        made = datetime.now(UTC)
        url = signer.generate_presigned_url(
            {
                "method": "GET",
                "url": f"{client.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
                "body": {},
                "headers": {CLUSTER_HEADER: cluster},
                "context": {},
            },
            region_name=aws.region,
            expires_in=URL_SECONDS,
            operation_name="",
        )
    encoded = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
    return EksToken(PREFIX + encoded, made + LIFETIME)


def exec_credential(token: EksToken) -> dict[str, Any]:
    """Return the ExecCredential object that an exec plugin prints.

    https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
    """
    status = {
        "token": token.value,
        "expirationTimestamp": token.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {"apiVersion": API, "kind": "ExecCredential", "status": status}

"""An issuer of ID tokens like GitLab's, on loopback, and a control plane that trusts it."""

from __future__ import annotations

import http.server
import json
import re
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tasks.adapters.kubernetes.cluster import Cluster
from tests.support.controlplane import Pki, needed_assets
from tests.support.platform import Audited
from tests.support.serving import Serving
from tests.support.suite import ROOT

PROJECT = "group/project"
AUDIENCE = "mautic-multidev"
PREFIX = "gitlab:"
SIGNER = "signer.json"


def user_of(branch: str) -> str:
    """Return the Kubernetes user of a branch's jobs."""
    return f"{PREFIX}project_path:{PROJECT}:ref_type:branch:ref:{branch}"


class Signer:
    """Signs tokens like GitLab's.

    Args:
        url: the tokens' ``iss``.
        key: the key.
    """

    def __init__(self, url: str, key: RSAKey) -> None:
        self.url = url
        self.key = key

    @classmethod
    def read(cls, folder: Path) -> Signer:
        """Return the signer of an issuer that another process runs in this folder."""
        written = json.loads((folder / SIGNER).read_text())
        return cls(written["url"], RSAKey.import_key(written["key"]))

    def token(
        self,
        branch: str,
        *,
        project: str = PROJECT,
        ref_type: str = "branch",
        key: RSAKey | None = None,
        **claims: Any,
    ) -> str:
        """Return a token with the claims of GitLab's that matter here, or with others.

        https://docs.gitlab.com/ci/secrets/id_token_authentication/
        """
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"project_path:{project}:ref_type:{ref_type}:ref:{branch}",
            "project_path": project,
            "ref": branch,
            "ref_type": ref_type,
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 3600,
            **claims,
        }
        signing = key or self.key
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, said, signing)


class Issuer(Serving, Signer):
    """Publishes its key over TLS, with a certificate of its own authority, and signs tokens.

    Args:
        folder: a folder to make, of which others make a Signer.

    Attributes:
        authority: path of the authority's certificate.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        pki = Pki(folder / "pki")
        pki.issue("server", "issuer", server=True)
        self.authority = pki.root / "ca.crt"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.root / "server.crt", pki.root / "server.key")
        self._server = _Pages(("127.0.0.1", 0), _Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        super().__init__(f"https://127.0.0.1:{self._server.server_address[1]}", new_key())
        written = {"url": self.url, "key": self.key.as_dict(private=True)}
        (folder / SIGNER).write_text(json.dumps(written))
        pages = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/jwks": KeySet([self.key]).as_dict(private=False),
        }
        self._server.pages = pages


def new_key() -> RSAKey:
    """Return a new signing key."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "one"})


class _Pages(http.server.ThreadingHTTPServer):
    daemon_threads = True
    pages: Mapping[str, Any]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Pages

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        body = json.dumps(page).encode()
        self.send_response(200 if page else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


class TrustingPlane(Audited):
    """A control plane whose API server is configured as docs/own-cluster.md says."""

    def __init__(self, root: Path, issuer: Issuer) -> None:
        super().__init__(needed_assets(), root)
        self.issuer = issuer
        self._jobs = 0
        self.api_options = (trusting(issuer, root / "authentication.yaml"),)

    def bearer(self, name: str, token: str) -> Path:
        """Return the path of a kubeconfig with a token."""
        path = self.write_kubeconfig(self._root / f"{name}.kubeconfig", name)
        config = json.loads(path.read_text())
        config["users"][0]["user"] = {"token": token}
        path.write_text(json.dumps(config))
        return path

    def job(self, branch: str, **claims: Any) -> Cluster:
        """Return the suite's own client with the token of a branch's job."""
        self._jobs += 1
        token = self.issuer.token(branch, **claims)
        return Cluster("test", str(self.bearer(f"job-{self._jobs}", token)))


def trusting(issuer: Issuer, file: Path) -> str:
    """Write the API server's configuration for an issuer; return the option that names it."""
    config = documented()
    (own,) = config["jwt"]
    own["issuer"] |= {"url": issuer.url, "certificateAuthority": issuer.authority.read_text()}
    file.write_text(yaml.safe_dump(config))
    return f"--authentication-config={file}"


def documented() -> dict[str, Any]:
    """Return the API server's configuration from docs/own-cluster.md."""
    page = (ROOT / "docs" / "own-cluster.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (found,) = (block for block in blocks if "kind: AuthenticationConfiguration" in block)
    config: dict[str, Any] = yaml.safe_load(found)
    return config

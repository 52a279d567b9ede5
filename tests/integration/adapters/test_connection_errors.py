"""What cannot heal is asked once and told in the library's words; what may heal is asked again."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.adapters.aws.session import Aws
from tasks.adapters.connection_errors import is_permanent
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.registry.oci import OciRegistry, RequestLimits
from tasks.core.errors import AwsError, ClusterError, RegistryError
from tests.support.suite import Inv
from tests.support.tls import Misfit


@pytest.fixture
def misfit(tmp_path: Path) -> Iterator[Misfit]:
    with Misfit(tmp_path) as server:
        yield server


# -- a certificate --------------------------------------------------------------------------------


def test_a_cluster_whose_certificate_is_for_another_address(misfit: Misfit, tmp_path: Path) -> None:
    authority = {"certificate-authority": str(misfit.authority), "server": misfit.other_url}
    kubeconfig = misfit.kubeconfig(tmp_path / "kubeconfig", **authority)

    with pytest.raises(ClusterError, match=r"not valid for '127\.0\.0\.2'") as caught:
        Cluster("test", str(kubeconfig)).version()
    assert misfit.tries == 1
    assert "[SSL" not in caught.value.message
    assert "certificate is for" in (caught.value.hint or "")


def test_a_cluster_whose_certificate_nobody_known_signed(misfit: Misfit, tmp_path: Path) -> None:
    kubeconfig = misfit.kubeconfig(tmp_path / "kubeconfig")

    with pytest.raises(ClusterError, match="certificate verify failed"):
        Cluster("test", str(kubeconfig)).version()
    assert misfit.tries == 1


def test_a_registry_whose_certificate_nobody_known_signed(
    misfit: Misfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A registry on this machine's loopback is spoken to in clear.
    monkeypatch.setattr("tasks.adapters.registry.oci.is_loopback", lambda host: False)

    with pytest.raises(RegistryError, match="certificate verify failed"):
        OciRegistry(f"127.0.0.1:{misfit.port}/mautic", RequestLimits(retries=4)).ping()
    assert misfit.tries == 1


def test_aws_behind_a_certificate_that_nobody_known_signed(
    misfit: Misfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", misfit.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    with pytest.raises(AwsError, match="certificate verify failed"):
        _ = Aws("eu-central-1").identity
    assert misfit.tries == 1


def test_a_client_certificate_that_is_not_there(misfit: Misfit, tmp_path: Path) -> None:
    kubeconfig = misfit.kubeconfig(tmp_path / "kubeconfig")
    config = json.loads(kubeconfig.read_text())
    key = tmp_path / "gone.key"
    config["users"][0]["user"] = {"client-certificate": str(misfit.authority)}
    config["users"][0]["user"]["client-key"] = str(key)
    kubeconfig.write_text(json.dumps(config))

    with pytest.raises(ClusterError, match=str(key)):
        Cluster("test", str(kubeconfig)).version()
    assert misfit.tries == 0


# -- a plugin -------------------------------------------------------------------------------------


def test_a_login_plugin_s_own_words_are_told(misfit: Misfit, tmp_path: Path) -> None:
    kubeconfig = misfit.kubeconfig(tmp_path / "kubeconfig")
    config = json.loads(kubeconfig.read_text())
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", "echo your session has expired >&2; exit 3"],
        "interactiveMode": "Never",
    }
    config["users"][0]["user"] = {"exec": plugin}
    kubeconfig.write_text(json.dumps(config))

    with pytest.raises(ClusterError, match="your session has expired"):
        Cluster("test", str(kubeconfig)).version()
    assert misfit.tries == 0


# -- warnings -------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_checked_is_told_once_in_our_words(
    misfit: Misfit, inv: Inv, checkout: Path, tmp_path: Path
) -> None:
    unchecked = {"insecure-skip-tls-verify": True}
    kubeconfig = misfit.kubeconfig(tmp_path / "kubeconfig", **unchecked)
    dev = {
        "target": "kubernetes",
        "branches": ["*"],
        "stack": None,
        "host": "{slug}.example.com",
        "registry": {"kind": "oci", "url": "registry.example.com/mautic"},
        "cluster": {"kind": "context", "name": "test"},
    }
    settings = {"environments": {"dev": dev}}

    done = inv(
        checkout, "list", "--env", "dev", settings=settings, env={"KUBECONFIG": str(kubeconfig)}
    )

    assert done.returncode == 0, done.stderr
    assert misfit.tries >= 1
    told, rest = done.stderr.splitlines()[0], done.stderr.splitlines()[1:]
    assert told.startswith("! the certificate of 127.0.0.1 is not checked")
    assert rest == ["there are no environments; make one: inv deploy"]


# -- which is which -------------------------------------------------------------------------------


def wrapped(error: Exception) -> Exception:
    """Return an error as a library passes it on."""
    outer = RuntimeError("Max retries exceeded")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (lambda: ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] failed"), True),
        (lambda: ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), True),
        (lambda: ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert"), True),
        (lambda: ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred"), False),
        (lambda: ssl.SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR] internal error"), False),
        (lambda: socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (lambda: socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), False),
        (lambda: FileNotFoundError(2, "No such file"), True),
        (lambda: PermissionError(13, "Permission denied"), True),
        (lambda: OSError("Tunnel connection failed: 407 Proxy Authentication Required"), True),
        (lambda: OSError("Tunnel connection failed: 502 Bad Gateway"), False),
        (lambda: ConnectionRefusedError(111, "Connection refused"), False),
        (lambda: ConnectionResetError(104, "Connection reset by peer"), False),
        (lambda: TimeoutError("timed out"), False),
    ],
)
def test_what_no_later_attempt_would_be_spared(
    error: Callable[[], Exception], permanent: bool
) -> None:
    assert is_permanent(error()) is permanent
    assert is_permanent(wrapped(error())) is permanent


def test_a_name_that_was_known_may_come_back() -> None:
    """A resolver that changes networks says for a moment that there is no such name."""
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert not is_permanent(error, known=True)

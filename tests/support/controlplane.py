"""A real Kubernetes control plane for tests: etcd, API server, controllers, scheduler.

Its programs are found in KUBEBUILDER_ASSETS. There is no kubelet: `tests.support.node` plays one.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
START_SECONDS = 60


def assets() -> Path | None:
    """Return the directory of the control plane's programs, or None if they are missing."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if named and all(os.access(Path(named) / program, os.X_OK) for program in PROGRAMS):
        return Path(named)
    return None


def needed_assets() -> Path:
    """Return the directory of the control plane's programs; without them, skip the test."""
    programs = assets()
    if programs is None:
        pytest.skip(f"no Kubernetes control plane: KUBEBUILDER_ASSETS lacks {', '.join(PROGRAMS)}")
    return programs


class Pki:
    """A certificate authority for tests, with the certificates it has issued."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = _name("test-ca", None)
        self._write("ca", self._ca_key, self._sign(self._ca_name, self._ca_key, ca=True))
        account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._write("sa", account, None)
        (root / "sa.pub").write_bytes(
            account.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def issue(
        self,
        file: str,
        user: str,
        group: str | None = None,
        *,
        server: bool = False,
        names: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> None:
        """Write `<file>.crt` and `<file>.key` for a user, or for a server on loopback.

        Args:
            names: more host names of the server.
            addresses: more addresses of the server.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        known = (*names, *map(ipaddress.ip_address, addresses))
        self._write(file, key, self._sign(_name(user, group), key, server=server, known=known))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        server: bool = False,
        known: Sequence[str | IPv4Address | IPv6Address] = (),
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            loopback = ("localhost", *map(ipaddress.ip_address, ("127.0.0.1", "10.0.0.1")))
            builder = builder.add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.DNSName(each) if isinstance(each, str) else x509.IPAddress(each)
                        for each in (*loopback, *known)
                    ]
                ),
                critical=False,
            )
        return builder.sign(self._ca_key, hashes.SHA256())

    def _write(
        self,
        file: str,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        certificate: x509.Certificate | None,
    ) -> None:
        (self.root / f"{file}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        if certificate:
            pem = certificate.public_bytes(serialization.Encoding.PEM)
            (self.root / f"{file}.crt").write_bytes(pem)


class ControlPlane:
    """A running control plane.

    Attributes:
        url: the API server's address.
        kubeconfig: an administrator's kubeconfig with the context ``test``.
        api_options: further options of the API server.
        address: where it listens.
        known_as: its other addresses.
    """

    api_options: tuple[str, ...] = ()
    address = "127.0.0.1"
    known_as: tuple[str, ...] = ()

    def __init__(self, programs: Path, root: Path) -> None:
        self._programs = programs
        self._root = root
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pki = Pki(root / "pki")
        self._etcd, self._peer, self._api, self._controllers, self._scheduler = free_ports(5)
        self.url = f"https://{self.address}:{self._api}"
        self.kubeconfig = root / "admin.kubeconfig"

    def start(self) -> None:
        """Start everything and wait until namespaces get their default service account."""
        self.start_bare()
        self._start_controllers()
        self._wait(f"https://127.0.0.1:{self._controllers}/healthz")
        self._wait(f"https://127.0.0.1:{self._scheduler}/readyz")

    def start_bare(self) -> None:
        """Start only the API server, without controllers."""
        known_as = (self.address, *self.known_as)
        self.pki.issue("apiserver", "kube-apiserver", server=True, addresses=known_as)
        self.pki.issue("front-proxy", "front-proxy-client")
        self.pki.issue("kubelet-client", "kube-apiserver-kubelet-client")
        for file, user, group in (
            ("admin", "admin", "system:masters"),
            ("controllers", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
        ):
            self.pki.issue(file, user, group)
            self.write_kubeconfig(self._root / f"{file}.kubeconfig", file)
        self._start_etcd()
        self.start_api()

    def write_kubeconfig(self, path: Path, user: str) -> Path:
        """Write a kubeconfig with the context `test` for a user whose certificate was issued."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority": str(self.pki.root / "ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate": str(self.pki.root / f"{user}.crt"),
                        "client-key": str(self.pki.root / f"{user}.key"),
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        path.write_text(json.dumps(config))
        return path

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        self._run(
            "etcd",
            f"--data-dir={self._root / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def start_api(self) -> None:
        """Start the API server, and wait until it is ready."""
        pki = self.pki.root
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            f"--bind-address={self.address}",
            f"--secure-port={self._api}",
            f"--advertise-address={self.address}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'kubelet-client.key'}",
            "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            f"--cert-dir={self._root / 'apiserver'}",
            "--profiling=false",
            # Without a front proxy's CA the controllers complain for ever.
            f"--requestheader-client-ca-file={pki / 'ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
            f"--proxy-client-key-file={pki / 'front-proxy.key'}",
            *self.api_options,
        )
        self._wait(f"{self.url}/readyz")

    def stop_api(self) -> None:
        """Kill the API server: the cluster is unreachable until `start_api`."""
        for process in [p for p in self._processes if "kube-apiserver" in str(p.args)]:
            # Asked politely it would wait for its watches to end.
            process.kill()
            process.wait()
            self._processes.remove(process)

    def _start_controllers(self) -> None:
        pki = self.pki.root
        for program, file, port, options in (
            (
                "kube-controller-manager",
                "controllers",
                self._controllers,
                (
                    "--use-service-account-credentials=true",
                    f"--service-account-private-key-file={pki / 'sa.key'}",
                    f"--root-ca-file={pki / 'ca.crt'}",
                    # The played node sends no heartbeats.
                    "--node-monitor-grace-period=1000h",
                    # What an autoscaler does, and leaves alone, is seen at once.
                    "--horizontal-pod-autoscaler-sync-period=1s",
                    # With the default rate the first service account comes seconds later.
                    "--kube-api-qps=500",
                    "--kube-api-burst=1000",
                    # Its default lies in /usr/libexec and would be made on this machine.
                    f"--flex-volume-plugin-dir={self._root / 'flex'}",
                ),
            ),
            ("kube-scheduler", "scheduler", self._scheduler, ()),
        ):
            kubeconfig = self._root / f"{file}.kubeconfig"
            self._run(
                program,
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={self._root / file}",
                "--leader-elect=false",
                *options,
            )

    def stop(self) -> None:
        """Stop everything."""
        self.stop_api()
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, program: str, *options: str) -> None:
        with (self._root / f"{program}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [str(self._programs / program), *options],
                    cwd=self._root,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _wait(self, url: str) -> None:
        # Health only: each component signs its own certificate.
        context = ssl._create_unverified_context()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5, context=context):
                    return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{url}: {error}; logs in {self._root}") from error
                time.sleep(0.1)


def _name(common: str, group: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if group:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def free_ports(count: int) -> Sequence[int]:
    """Return ports of loopback that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()

"""A cluster's platform in tests: a control plane that keeps an audit log, and upstream's files."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tasks.adapters.host.tools import find_helm
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.process import Runner
from tasks.core.errors import MissingToolError
from tasks.core.names import Names, names
from tasks.core.redact import Redactor
from tests.conftest import missing
from tests.support.controlplane import ControlPlane, needed_assets
from tests.support.suite import ROOT

Object = dict[str, Any]

MAIN = "mautic-multidev:main"
BRANCHES = "mautic-multidev:branches"
GATEWAY_API = "v1.6.0"
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/0f0f0f0f"
PUBLISHED: Mapping[str, str] = {
    "region": "eu-central-1",
    "cluster/name": "mautic-dev",
    "cluster/groups/main": MAIN,
    "cluster/groups/branches": BRANCHES,
    "network/vpc-id": "vpc-0123456789abcdef0",
    "dns/domain": "dev.example.com",
    "dns/certificate-arn": CERTIFICATE,
    "platform/namespace": "mautic-system",
    "platform/database-account": "mautic-database-admin",
    "storage/classes": json.dumps(
        {
            name: {
                "reclaimPolicy": policy,
                "mountOptions": ["tls", "iam"],
                "parameters": {
                    "provisioningMode": "efs-ap",
                    "fileSystemId": "fs-0123456789abcdef0",
                    "directoryPerms": "770",
                    "subPathPattern": "${.PVC.namespace}/${.PVC.name}",
                },
            }
            for name, policy in (("efs-branch", "Delete"), ("efs-prod", "Retain"))
        }
    ),
}
"""What Terraform publishes of a stack, as far as the platform needs it."""


def found_helm() -> Path:
    """Return Helm, or skip the test where there is none."""
    try:
        return find_helm(Runner(Redactor()), ROOT)
    except MissingToolError as error:
        missing(str(error))


def install_chart(plane: ControlPlane, values: Mapping[str, Any]) -> Cluster:
    """Install helm/platform into its namespace, which is made; return the administrator."""
    where = PUBLISHED["platform/namespace"]
    cluster = Cluster("test", str(plane.kubeconfig))
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}})
    subprocess.run(
        [
            *(str(found_helm()), "install", "mautic-platform", str(ROOT / "helm" / "platform")),
            *(f"--namespace={where}", f"--kubeconfig={plane.kubeconfig}", "--values=-"),
        ],
        input=json.dumps(values),
        text=True,
        check=True,
        capture_output=True,
    )
    return cluster


def names_in(environment: str, slug: str) -> Names:
    """Return a branch's names in `dev`, or in `prod`, which has one namespace for all."""
    fixed = environment == "prod"
    return names(
        slug,
        environment=environment,
        project="mautic",
        namespace="{project}-prod" if fixed else "{project}-{slug}",
        host="mautic.example.com" if fixed else "{slug}.dev.example.com",
    )


class Audited(ControlPlane):
    """A control plane with an audit log of what CI jobs and the platform's programs request."""

    @property
    def log(self) -> Path:
        """The audit log."""
        return self._root / "audit.log"

    def _run(self, program: str, *options: str) -> None:
        if program == "kube-apiserver":
            policy = self._root / "audit.yaml"
            groups = [MAIN, BRANCHES, f"system:serviceaccounts:{PUBLISHED['platform/namespace']}"]
            rules = [{"level": "Metadata", "userGroups": groups}, {"level": "None"}]
            stages = ["RequestReceived", "ResponseStarted"]
            policy.write_text(
                json.dumps(
                    {
                        "apiVersion": "audit.k8s.io/v1",
                        "kind": "Policy",
                        "omitStages": stages,
                        "rules": rules,
                    }
                )
            )
            options += (f"--audit-policy-file={policy}", f"--audit-log-path={self.log}")
        super()._run(program, *options)

    def user(self, name: str, group: str) -> Path:
        """Return the path of a kubeconfig of a user of a group."""
        self.pki.issue(name, name, group)
        return self.write_kubeconfig(self._root / f"{name}.kubeconfig", name)

    def client(self, name: str, group: str) -> Cluster:
        """Return the suite's own client as a user of a group."""
        return Cluster("test", str(self.user(name, group)))

    def asked(self, user: str) -> Iterator[Object]:
        """Yield the requests of a user, from the audit log."""
        for line in self.log.read_text().splitlines():
            entry = json.loads(line)
            if entry["user"]["username"] == user and "objectRef" in entry:
                yield entry


def audited(root: Path) -> Iterator[Audited]:
    """Run a control plane of a module's own: a platform is everywhere in its cluster."""
    made = Audited(needed_assets(), root)
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Upstream:
    """Serves small files in place of upstream's, and names them in a checkout.

    Attributes:
        folder: what is served.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.gateway_api(GATEWAY_API)
        (folder / "controller.tgz").write_bytes(_packed(_controller()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def gateway_api(self, version: str) -> None:
        """Serve another version of the Gateway API."""
        kinds = [
            ("GatewayClass", "gatewayclasses", "Cluster"),
            ("Gateway", "gateways", "Namespaced"),
            ("HTTPRoute", "httproutes", "Namespaced"),
        ]
        group = "gateway.networking.k8s.io"
        found = [definition(group, *each, bundle=version) for each in kinds]
        text = "# a comment first, as in upstream's file\n" + yaml.safe_dump_all(found)
        (self.folder / "gateway-api.yaml").write_text(text)

    def pin(self, checkout: Path, version: str = GATEWAY_API) -> None:
        """Name the files in a checkout, with their checksums."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        pins = {
            name: {"version": number, "url": f"{url}/{file}", "sha256": self._sum(file)}
            for name, number, file in (
                ("gatewayApi", version, "gateway-api.yaml"),
                ("loadBalancerController", "3.5.0", "controller.tgz"),
            )
        }
        (checkout / "helm" / "platform" / "upstream.yaml").write_text(yaml.safe_dump(pins))

    def _sum(self, file: str) -> str:
        return hashlib.sha256((self.folder / file).read_bytes()).hexdigest()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


def definition(group: str, kind: str, plural: str, scope: str, *, bundle: str = "") -> Object:
    """A definition that takes any object; its status is a part of its own, as upstream's."""
    meta: Object = {"name": f"{plural}.{group}"}
    if bundle:
        meta["annotations"] = {
            "gateway.networking.k8s.io/bundle-version": bundle,
            "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api",
        }
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": meta,
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def _controller() -> Mapping[str, str]:
    """A chart with names, definitions and values of the controller's, and nothing of its work."""
    kinds = [
        ("LoadBalancerConfiguration", "loadbalancerconfigurations", "Namespaced"),
        ("TargetGroupConfiguration", "targetgroupconfigurations", "Namespaced"),
    ]
    labels = {
        "app.kubernetes.io/name": "aws-load-balancer-controller",
        "app.kubernetes.io/instance": "{{ .Release.Name }}",
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "aws-load-balancer-controller", "labels": labels},
        "spec": {
            "replicas": "{{ .Values.replicaCount }}",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": "{{ .Values.serviceAccount.name }}",
                    "containers": [
                        {
                            "name": "controller",
                            "image": "registry.example.com/controller:v3.5.0",
                            "args": [
                                "--cluster-name={{ .Values.clusterName }}",
                                "--aws-vpc-id={{ .Values.vpcId }}",
                                "--aws-region={{ .Values.region }}",
                            ],
                        }
                    ],
                },
            },
        },
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "{{ .Values.serviceAccount.name }}"},
    }
    text = yaml.safe_dump_all([account, deployment]).replace("'{{ .Values.replicaCount }}'", "2")
    defined = [definition("gateway.k8s.aws", *each) for each in kinds]
    return {
        "Chart.yaml": yaml.safe_dump(
            {"apiVersion": "v2", "name": "aws-load-balancer-controller", "version": "3.5.0"}
        ),
        "templates/all.yaml": text,
        "crds/crds.yaml": yaml.safe_dump_all(defined),
    }


def _packed(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"aws-load-balancer-controller/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def leave_pending(cluster: Cluster, release: str, namespace: str) -> None:
    """Leave a release as a run does that is killed while it upgrades: a revision not finished.

    Helm keeps a revision as JSON, packed, in base64, in a Secret.
    """
    found = cluster.find("Secret", namespace, f"owner=helm,name={release}")
    newest = max(found, key=lambda one: int(one["metadata"]["labels"]["version"]))
    packed = base64.b64decode(base64.b64decode(newest["data"]["release"]))
    data = json.loads(gzip.decompress(packed))
    number = data["version"] + 1
    data["version"], data["info"]["status"] = number, "pending-upgrade"
    again = base64.b64encode(gzip.compress(json.dumps(data).encode()))
    labels = {**newest["metadata"]["labels"], "version": str(number), "status": "pending-upgrade"}
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"sh.helm.release.v1.{release}.v{number}",
                "namespace": namespace,
                "labels": labels,
            },
            "type": "helm.sh/release.v1",
            "data": {"release": base64.b64encode(again).decode()},
        }
    )

"""What Helm's stored records may name."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode

import pytest

from tasks.core.errors import RefusedError
from tasks.flows.kubernetes.stored_manifests import check_records
from tests.support.fakes_cluster import NAMESPACE, RELEASE, FakeCluster

OWN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n"
ELSEWHERE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}\n"
GLOBAL = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n"


def packed(content: bytes) -> str:
    return b64encode(b64encode(gzip.compress(content))).decode()


def check(data: dict[str, str]) -> None:
    cluster = FakeCluster()
    cluster.put("Secret", "v1", NAMESPACE, labels={"owner": "helm", "name": RELEASE})
    cluster.objects["Secret", NAMESPACE, "v1"]["data"] = data
    check_records(cluster, RELEASE, NAMESPACE)  # type: ignore[arg-type]


def check_manifest(manifest: str) -> None:
    check({"release": packed(json.dumps({"manifest": manifest}).encode())})


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        OWN,
        f"---\n# Source: x\n{OWN}---\n---\n{OWN}",
        OWN.replace("name: own", f"name: own, namespace: {NAMESPACE}"),
    ],
)
def test_what_is_the_release_s_own_passes(manifest: str) -> None:
    check_manifest(manifest)


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        (ELSEWHERE, "configmap/a in namespace kube-system"),
        (f"{OWN}---\n{ELSEWHERE}", "configmap/a in namespace kube-system"),
        (GLOBAL, "namespace/prod"),
        # Helm takes a list apart.
        (f"apiVersion: v1\nkind: List\nmetadata: {{}}\nitems: [{{{GLOBAL!r}: x}}]", "list/"),
        ("apiVersion: no.such/v1\nkind: Thing\nmetadata: {name: x}", "thing/x"),
        # For YAML one document, for Helm two.
        (f"{ELSEWHERE}---x: y\n{OWN}", "configmap/a in namespace kube-system"),
        (f"{OWN}---x: y\n{GLOBAL}", "namespace/prod"),
    ],
)
def test_what_is_not_is_refused_by_name(manifest: str, named: str) -> None:
    with pytest.raises(RefusedError) as told:
        check_manifest(manifest)
    assert f"names what is not of this release: {named}" in told.value.message
    assert f"kubectl delete secret v1 --namespace {NAMESPACE}" in (told.value.hint or "")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"release": "%"},
        {"release": b64encode(b64encode(b"plain")).decode()},
        {"release": packed(b"[]")},
        {"release": packed(b"[" * 100_000)},
        {"release": packed(b" " * (65 << 20))},
        {"release": packed(b'{"manifest": 1}')},
        {"release": packed(b'{"manifest": "a: [" }')},
        {"release": packed(b'{"manifest": "- a" }')},
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        check(data)

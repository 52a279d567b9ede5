"""What Helm's stored records may name."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from tasks.core.errors import RefusedError
from tasks.flows.kubernetes.stored_manifests import check_records, stored_objects
from tests.support.fakes_cluster import NAMESPACE, RELEASE, FakeCluster

OWN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n"
ELSEWHERE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}\n"
GLOBAL = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n"


def packed(content: bytes) -> str:
    return b64encode(b64encode(gzip.compress(content))).decode()


FIRST = f"sh.helm.release.v1.{RELEASE}.v1"
LABELS = {"owner": "helm", "name": RELEASE, "version": "1", "status": "deployed"}


def check(
    data: dict[str, str], name: str = FIRST, labels: Mapping[str, str] = MappingProxyType(LABELS)
) -> None:
    cluster = FakeCluster()
    cluster.put("Secret", name, NAMESPACE, labels=dict(labels))
    cluster.objects["Secret", NAMESPACE, name]["data"] = data
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
    assert f"kubectl delete secret {FIRST} --namespace {NAMESPACE}" in (told.value.hint or "")


@pytest.mark.parametrize(
    "manifest",
    [
        # An object with items is a list, of whatever kind it says it is.
        f"apiVersion: v1\nkind: List\nmetadata: {{}}\nitems: [{{{GLOBAL!r}: x}}]",
        f"{OWN}items: [{{metadata: {{name: a, namespace: kube-system}}}}]",
        f"{OWN}Items: []",
        # Helm lets the later one win.
        OWN.replace("name: own", f"name: own, namespace: {NAMESPACE}, <<: {{namespace: other}}"),
        OWN.replace("name: own", f"name: own, namespace: {NAMESPACE}, namespace: other"),
        f"{OWN}metadata: {{name: own, namespace: other}}\n",
        f"{OWN}? !!binary bWV0YWRhdGE=\n: {{name: own, namespace: other}}\n",
        OWN.replace("name: own", "name: own, !!binary bmFtZXNwYWNl : other"),
        OWN.replace("own", "!!bool x"),
        OWN.replace("own", "!!timestamp x"),
        OWN.replace("own", "{a: b}"),
        # Either would end the process, or hold it up for years.
        f"a: {'[' * 100_000}",
        "- " * 30_000,
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else 'x')}]\n" for n in range(12))
        + "kind: ConfigMap\napiVersion: v1\nmetadata: {name: *a11}\n",
    ],
    ids=range(14),
)
def test_what_helm_could_read_in_another_way_is_refused(manifest: str) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        check_manifest(manifest)


@pytest.mark.parametrize(
    "record",
    [
        f'{{"Manifest": {json.dumps(ELSEWHERE)}}}',
        f'{{"manifest": {json.dumps(OWN)}, "MANIFEST": {json.dumps(ELSEWHERE)}}}',
        f'{{"manife\\u017ft": {json.dumps(ELSEWHERE)}}}',
        f'{{"manifest": {json.dumps(ELSEWHERE)}, "manifest": {json.dumps(OWN)}}}',
    ],
)
def test_a_field_that_helm_knows_by_another_name_is_refused(record: str) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        check({"release": packed(record.encode())})


def test_a_record_under_the_name_of_another_revision_is_refused() -> None:
    """Helm lists by labels, and rolls back to what bears the name."""
    good = {"release": packed(json.dumps({"manifest": OWN}).encode())}
    for name, labels in (
        (FIRST, {**LABELS, "version": "2"}),
        (FIRST, {"owner": "helm", "name": RELEASE}),
        (FIRST, {}),
        ("decoy", LABELS),
    ):
        with pytest.raises(RefusedError, match="its labels are those of another revision"):
            check(good, name, labels)


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


def stored(manifest: str, kinds: frozenset[str] = frozenset({"ConfigMap"})) -> list[str]:
    """Return the names of the objects that the first revision's record names."""
    cluster = FakeCluster()
    cluster.namespaced_kinds = lambda api: kinds  # type: ignore[method-assign]
    cluster.put("Secret", FIRST, NAMESPACE, labels=dict(LABELS))
    record = {"manifest": manifest, "config": {"secret": {"version": "7"}}}
    data = {"release": packed(json.dumps(record).encode())}
    cluster.objects["Secret", NAMESPACE, FIRST]["data"] = data
    objects, values = stored_objects(cluster, RELEASE, NAMESPACE, 1)  # type: ignore[arg-type]
    assert values == {"secret": {"version": "7"}}
    return [item["metadata"]["name"] for item in objects]


def test_the_objects_of_a_revision_are_those_that_helm_reads() -> None:
    assert stored(f"---\n# Source: x\n{OWN}---\n---\n{OWN.replace('own', 'b')}") == ["own", "b"]


def test_a_record_that_is_gone_names_nothing() -> None:
    found = stored_objects(FakeCluster(), RELEASE, NAMESPACE, 1)  # type: ignore[arg-type]
    assert found == ([], {})


def test_a_record_with_others_objects_is_not_compared() -> None:
    with pytest.raises(RefusedError, match="configmap/a in namespace kube-system"):
        stored(ELSEWHERE)


def test_a_record_with_a_kind_that_no_chart_has_is_not_compared() -> None:
    with pytest.raises(RefusedError, match="names podtemplate/own, and the chart makes nothing"):
        stored(OWN.replace("ConfigMap", "PodTemplate"), frozenset({"PodTemplate"}))

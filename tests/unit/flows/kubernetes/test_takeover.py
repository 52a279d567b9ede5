"""What is in the place of the chart's objects is told before Helm runs, by Helm's own rule."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from gzip import compress
from typing import Any

import pytest

from tasks.adapters.kubernetes.helm import Revision
from tasks.core.kubernetes.objects import Object
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.takeover import UnfittingError, check_takeover, whose
from tests.support.fakes import NAMES, RELEASE, REQUEST
from tests.support.fakes_cluster import NAMESPACE, FakeCluster, FakeHelm

HELMS = {"app.kubernetes.io/managed-by": "Helm"}
PLAN = ClusterPlan(
    request=REQUEST,
    release=RELEASE,
    record=None,
    expires_at="",
    values={},
    fingerprint="f1",
    history=(),
    seed=(),
    has_server=False,
)


def made(kind: str, **annotations: str) -> Object:
    """Return an object that the chart makes."""
    meta = {"name": "x-mail", "annotations": annotations}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}


CHART = [made("ConfigMap"), made("Service"), made("Job", **{"helm.sh/hook": "pre-upgrade"})]


def with_object(kind: str = "Service", name: str = "x-mail", **meta: Any) -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(kind, name, NAMESPACE, **meta)
    return cluster


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"labels": HELMS},
        {"annotations": whose(NAMES)},
        {"labels": HELMS, "annotations": {**whose(NAMES), "meta.helm.sh/release-name": "another"}},
        {"labels": {"app.kubernetes.io/instance": NAMES.release}},
    ],
)
def test_what_helm_would_not_take_over_is_refused(meta: Any) -> None:
    with pytest.raises(UnfittingError, match="would refuse service/x-mail") as told:
        check_takeover(with_object(**meta), PLAN, CHART)  # type: ignore[arg-type]
    assert f"kubectl delete service x-mail --namespace {NAMESPACE}" in str(told.value.hint)


@pytest.mark.parametrize(
    "cluster",
    [
        FakeCluster(),
        with_object(labels=HELMS, annotations=whose(NAMES)),
        with_object(name="theirs"),
        # Helm deletes what is in a hook's place.
        with_object("Job"),
        with_object("Deployment"),
    ],
)
def test_anything_else_is_let_be_and_each_kind_of_the_chart_is_asked_for_once(
    cluster: FakeCluster,
) -> None:
    check_takeover(cluster, PLAN, CHART)  # type: ignore[arg-type]
    assert sorted(cluster.asked) == ["find ConfigMap", "find Service"]


def test_what_the_release_names_is_its_own_without_labels() -> None:
    cluster = with_object("ConfigMap")
    FakeHelm(cluster=cluster).record("deployed")
    secret = cluster.objects["Secret", NAMESPACE, f"sh.helm.release.v1.{NAMES.release}.v1"]
    packed = b64encode(compress(json.dumps({"manifest": json.dumps(made("ConfigMap"))}).encode()))
    secret["data"] = {"release": b64encode(packed).decode()}
    with pytest.raises(UnfittingError):
        check_takeover(cluster, PLAN, CHART)  # type: ignore[arg-type]
    plan = replace(PLAN, history=(Revision(1, "deployed"),))
    check_takeover(cluster, plan, CHART)  # type: ignore[arg-type]

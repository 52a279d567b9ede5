"""Manifests of small releases for the control plane of the tests."""

from __future__ import annotations

from typing import Any

from tests.support.node import Node

Object = dict[str, Any]

RELEASE = "web"
LABELS = {"app.kubernetes.io/instance": RELEASE}


def template(name: str, fate: str = "", log: str = "", **spec: Any) -> Object:
    """Return a pod template; `container` in spec changes its container `fpm`."""
    container = {
        "name": "fpm",
        "image": "registry.example.com/mautic:1",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
        **spec.pop("container", {}),
    }
    annotations = {key: value for key, value in ((Node.FATE, fate), (Node.LOG, log)) if value}
    return {
        "metadata": {"labels": {**LABELS, "app": name}, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def deployment(name: str = "web", fate: str = "", replicas: int = 1, **spec: Any) -> Object:
    """Return a Deployment whose pods have a fate."""
    return _workload(
        "apps/v1",
        "Deployment",
        name,
        {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, fate, **spec),
        },
    )


def statefulset(name: str = "redis", fate: str = "", **spec: Any) -> Object:
    """Return a StatefulSet whose pod has a fate."""
    return _workload(
        "apps/v1",
        "StatefulSet",
        name,
        {
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, fate, **spec),
        },
    )


def job(name: str = "migrate", fate: str = "", **spec: Any) -> Object:
    """Return a Job whose pod has a fate."""
    pod = template(name, fate, restartPolicy="Never", **spec)
    return _workload("batch/v1", "Job", name, {"backoffLimit": 0, "template": pod})


def _workload(api: str, kind: str, name: str, spec: Object) -> Object:
    labels = {**LABELS, "app": name}
    metadata: Object = {"name": name, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}

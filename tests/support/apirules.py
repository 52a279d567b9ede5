"""The API server's rules for names and labels, which its schemas lack.

Also of the names that controllers make of an object: those of pods, of a StatefulSet's claims, and
the labels that hold the name of what a pod belongs to. Sources: kubernetes/kubernetes,
``apimachinery/pkg/util/validation``, ``pkg/apis/*/validation`` and
``staging/src/k8s.io/apiserver/pkg/storage/names``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.chart import Object, name_of, template_of

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")
VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

LABEL_MAX = 63
SUBDOMAIN_MAX = 253
CRON_JOB_MAX = 52
"""Its Jobs get ``-`` and ten digits."""
REVISION_DIGITS = 11
"""``-`` and ten digits, which the pods of a StatefulSet carry in a label after its name."""
RANDOM_DIGITS = 5
"""What the API server appends to a ``generateName``, which it cuts to make room."""

LABELS = {"Namespace", "Service", "Job", "StatefulSet", "CronJob"}
"""Kinds whose names must be DNS labels, or become part of one."""


def label_fault(what: str, name: str, limit: int = LABEL_MAX) -> Iterator[str]:
    """Yield why a name is no DNS label of that length."""
    if not LABEL.fullmatch(name) or len(name) > limit:
        yield f"{what} {name!r} ({len(name)}) is no DNS label of at most {limit}"


def subdomain_fault(what: str, name: str) -> Iterator[str]:
    """Yield why a name is no host name."""
    if not SUBDOMAIN.fullmatch(name) or len(name) > SUBDOMAIN_MAX:
        yield f"{what} {name!r} ({len(name)}) is no DNS name of at most {SUBDOMAIN_MAX}"
    for part in name.split("."):
        yield from label_fault(f"a part of {what}", part)


def faults(item: Object) -> Iterator[str]:
    """Yield everything that the API server would refuse of an object's names, or of its pods'."""
    kind, name = item["kind"], name_of(item)
    limit = {"CronJob": CRON_JOB_MAX, "StatefulSet": LABEL_MAX - REVISION_DIGITS}
    if kind in LABELS:
        yield from label_fault(kind, name, limit.get(kind, LABEL_MAX))
    elif not SUBDOMAIN.fullmatch(name) or len(name) > SUBDOMAIN_MAX:
        yield f"{kind} {name!r} is no DNS name"
    if namespace := item["metadata"].get("namespace"):
        yield from label_fault("namespace", namespace)
    for labels in _labels(item):
        for key, value in labels.items():
            if not VALUE.fullmatch(value) or len(value) > LABEL_MAX:
                yield f"{kind} {name}: label {key} is {value!r}"
    for made in _made_of(item):
        yield from label_fault(f"what is made of {kind} {name}:", made)
    yield from _hosts(item)


def _labels(inside: Any) -> Iterator[Mapping[str, str]]:
    """Yield every map of labels in an object: its own, its pods', and those of selectors."""
    if isinstance(inside, dict):
        for key, value in inside.items():
            if key in {"labels", "matchLabels"} and isinstance(value, dict):
                yield value
            yield from _labels(value)
    if isinstance(inside, list):
        for value in inside:
            yield from _labels(value)


def _made_of(item: Object) -> Iterator[str]:
    """Yield the names of pods and claims: a pod's name is its host name as well."""
    kind, name, spec = item["kind"], name_of(item), item.get("spec", {})
    if kind == "StatefulSet":
        yield f"{name}-{spec.get('replicas', 1)}"
        for claim in spec.get("volumeClaimTemplates", []):
            yield f"{name_of(claim)}-{name}-0"
    elif template_of(item):
        # A Deployment's pods are named after its ReplicaSet, a CronJob's after its Job.
        middle = {"Deployment": "-0123456789-", "CronJob": "-0123456789-"}.get(kind, "-")
        yield f"{name}{middle}"[: LABEL_MAX - RANDOM_DIGITS] + "x" * RANDOM_DIGITS


def _hosts(item: Object) -> Iterator[str]:
    spec = item.get("spec", {})
    if item["kind"] == "HTTPRoute":
        for host in spec["hostnames"]:
            yield from subdomain_fault("host", host)
    if item["kind"] == "Ingress":
        for rule in spec["rules"]:
            yield from subdomain_fault("host", rule["host"])

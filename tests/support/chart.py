"""Renders the chart with a real Helm, and checks the result as a cluster would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "mautic"
ENVIRONMENTS = ROOT / "helm" / "environments"

Object = dict[str, Any]
Values = dict[str, Any]


def image(name: str) -> str:
    return f"registry.example.com/{name}@sha256:{name.encode().hex():0<64}"


REQUIRED: Values = {
    "images": {"mautic": image("mautic"), "nginx": image("nginx"), "mail": image("mail")},
    "site": {"url": "https://feature-x.example.com"},
    "database": {"host": "db.example.com"},
    "networkPolicy": {"database": {"cidrs": ["10.1.52.0/24"]}},
    "secret": {"name": "mautic"},
}


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """One map of values over another, as Helm does it."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = overlay(old, value)
        else:
            result[key] = value
    return result


class Chart:
    """The chart, rendered by a real Helm. Equal renderings are made once."""

    def __init__(self, helm: Path) -> None:
        self.helm = helm
        self._rendered: dict[str, list[Object]] = {}

    def run(
        self,
        verb: str,
        values: Values,
        *,
        environment: str | None = None,
        release: str | None = None,
        chart: Path = CHART,
    ) -> subprocess.CompletedProcess[str]:
        """Run `helm template` or `helm lint` with exactly these values over an environment's."""
        argv = [str(self.helm), verb, *([release] if release else []), str(chart)]
        if environment:
            argv.append(f"--values={ENVIRONMENTS / environment}.yaml")
        options = ["--values=-", "--namespace=feature-x"]
        return subprocess.run(
            [*argv, *options], input=json.dumps(values), text=True, capture_output=True, check=False
        )

    def text(self, values: Values | None = None, **options: Any) -> str:
        """The rendered text, REQUIRED below the values."""
        options.setdefault("release", "mautic-feature-x")
        done = self.run("template", overlay(REQUIRED, values or {}), **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, values: Values | None = None, **options: Any) -> list[Object]:
        """The rendered objects."""
        key = json.dumps([values, {name: str(value) for name, value in options.items()}])
        if key not in self._rendered:
            documents = yaml.safe_load_all(self.text(values, **options))
            self._rendered[key] = [document for document in documents if document]
        return self._rendered[key]

    def refusal(self, values: Values, *, required: bool = True) -> str:
        """What Helm says of values that it must refuse."""
        done = self.run(
            "template", overlay(REQUIRED, values) if required else values, release="mautic-x"
        )
        assert done.returncode != 0, "accepted"
        return done.stderr


def name_of(item: Object) -> str:
    return str(item["metadata"]["name"])


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """The objects of a kind, by name."""
    return {name_of(item): item for item in objects if item["kind"] == kind}


def only(objects: list[Object], kind: str, component: str) -> Object:
    """The one object of a kind and component."""
    found = [item for item in objects if item["kind"] == kind and component_of(item) == component]
    assert len(found) == 1, [name_of(item) for item in found]
    return found[0]


def component_of(item: Object) -> str:
    return str(item["metadata"]["labels"]["app.kubernetes.io/component"])


def template_of(item: Object) -> Object | None:
    """The pod template of a workload, or None."""
    spec = item.get("spec", {})
    template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
    return template if isinstance(template, dict) and "spec" in template else None


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Every workload with its pod template."""
    for item in objects:
        template = template_of(item)
        if template:
            yield item, template


def containers(template: Object) -> list[Object]:
    """The containers of a pod template, those of the start first."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels (Kubernetes API, LabelSelector)."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


VOLUME_TYPES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("image", "persistentVolumeClaim", "projected", "secret"),
}


def violations(spec: Object) -> list[str]:
    """What Pod Security "restricted" forbids in a pod (Kubernetes docs, Pod Security Standards).

    Stricter than the standard in one thing: user and seccomp profile must stand on the pod.
    """
    found = [
        f"{name} is set"
        for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
        if spec.get(name)
    ]
    own = spec.get("securityContext", {})
    if own.get("runAsNonRoot") is not True or not own.get("runAsUser"):
        found.append("the pod may run as root")
    if own.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        found.append("the pod has no seccomp profile")
    if own.get("sysctls"):
        found.append("sysctls are set")
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUME_TYPES:
            found.append(f"volume {volume['name']} is of a forbidden type")
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        found += [f"{container['name']}: {each}" for each in _container_violations(container)]
    return found


def _container_violations(container: Object) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    if set(context.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        yield "runs as root"
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        yield "is unconfined"
    if context.get("procMount", "Default") != "Default":
        yield "unmasks /proc"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of the node"


def pods_an_hour(objects: list[Object]) -> int:
    """How many pods the schedules of CronJobs make in their busiest hour.

    Nothing else of a release makes pods by itself: what ends in a Deployment's pod is started again
    in the same pod, and a Job is a part of a deploy.
    """
    hours = [0] * 24
    for item in of_kind(objects, "CronJob").values():
        if not item["spec"].get("suspend"):
            # Days are not looked at: the busiest has all of them.
            minutes, at = item["spec"]["schedule"].split()[:2]
            for hour in _field(at, 24):
                hours[hour] += len(_field(minutes, 60))
    return max(hours)


def _field(text: str, end: int) -> set[int]:
    """The values that a field of a schedule stands for; all are below an end."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "", str(end - 1)) if span == "*" else span.partition("-")
        found |= set(
            range(int(first), int(last or (end - 1 if step else first)) + 1, int(step or 1))
        )
    return found

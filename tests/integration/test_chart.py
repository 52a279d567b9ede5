"""The chart, rendered by a real Helm and held against the API's schemas and its own promises."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tasks.adapters.host.tools import find_helm
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.process import Runner
from tasks.core.door import MAIL_PATH
from tasks.core.errors import InputError, MissingToolError
from tasks.core.kubernetes.mail import catches_mail
from tasks.core.kubernetes.rights import needed
from tasks.core.names import RELEASE_MAX
from tasks.core.redact import Redactor
from tasks.core.setting_values import DATABASE_HOST
from tasks.flows.kubernetes.services import service_of
from tests.conftest import missing
from tests.support.apirules import faults
from tests.support.chart import (
    CHART,
    REQUIRED,
    ROOT,
    Chart,
    Object,
    Values,
    component_of,
    containers,
    image,
    name_of,
    of_kind,
    only,
    overlay,
    pods,
    pods_an_hour,
    selects,
    template_of,
    violations,
)
from tests.support.rights import resource

VERSIONS = ("1.34", "1.35", "1.36", "1.37")
RELEASE = "mautic-feature-x"
DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Values = json.loads((CHART / "values.schema.json").read_text())

RULES: Values = json.loads((CHART / "variables.json").read_text())
VALID = {
    RULES["MAUTIC_MIGRATE_WAIT"]["pattern"]: "77",
    RULES["MAUTIC_DB_OWN"]["pattern"]: "0",
    RULES["MAUTIC_SNAPSHOTS"]["pattern"]: "7",
    RULES["MAUTIC_LOCALE"]["pattern"]: "fr",
    RULES["MAUTIC_WORKER_MEMORY_LIMIT"]["pattern"]: "77M",
    RULES["MAUTIC_CRON_TIME_ZONE"]["pattern"]: "Asia/Tokyo",
    RULES["PHP_SESSION_SAVE_HANDLER"]["pattern"]: "rediscluster",
    RULES["FPM_LISTEN"]["pattern"]: "127.0.0.1:9007",
}
"""A value for variables that the chart sets, by what it must match."""

REDIS: Values = {"sessions": {"handler": "redis"}, "redis": {"enabled": True}} | {
    "images": {"redis": image("redis")}
}
MYSQL: Values = {
    "mysql": {"enabled": True},
    "database": {"host": ""},
    "images": {"mysql": image("mysql")},
}
GATEWAY: Values = {
    "route": {"kind": "httproute", "gateway": {"name": "shared", "namespace": "gateway"}},
    "networkPolicy": {"gateway": {"namespaces": ["gateway"], "cidrs": ["10.1.0.0/16"]}},
}
INGRESS: Values = {
    "route": {"kind": "ingress", "ingress": {"className": "nginx", "tlsSecret": "wildcard"}},
    "networkPolicy": {"gateway": {"namespaces": ["ingress"]}},
}
SHARED: Values = {folder: image(f"seed-{folder}") for folder in ("files", "images", "dashboards")}
"""Images with a seed's uploads, by folder."""

POOL = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
OIDC: Values = overlay(
    GATEWAY,
    {
        "door": {
            "oidc": {"userPoolArn": POOL, "clientId": "4711", "domain": "previews"},
            "exempt": ["api", "assets", "forms", "tracking"],
            "noindex": True,
        },
        "route": {"gateway": {"sectionName": "https"}},
    },
)
EVERYTHING: Values = overlay(
    overlay(overlay(REDIS, MYSQL), GATEWAY),
    {
        "labels": {"example.com/team": "marketing"},
        "annotations": {"example.com/commit": "0123abcd"},
        "env": {"MAUTIC_LOCALE": "de"},
        "secret": {"files": {"MAUTIC_MAILER_DSN": "mailer_dsn"}, "version": "4711"},
        "images": {"pullSecrets": ["registry"]},
        "web": {
            "autoscaling": {"enabled": True},
            "podLabels": {"example.com/tier": "web"},
            "podAnnotations": {"example.com/scrape": "false"},
            "nginx": {"env": {"NGINX_GZIP_LEVEL": "6"}},
        },
        "workers": {"failed": {"queues": ["failed"], "replicas": 2}},
        "crons": {"jobs": {name: {"enabled": True} for name in DEFAULTS["crons"]["jobs"]}},
        "redis": {"passwordKey": "redis_password"},
        "media": {"storageClass": "efs", "keep": True, "seed": SHARED},
        "mysql": {"storageClass": "gp3", "args": ["--max-connections=50"]},
        "serviceAccount": {"annotations": {"example.com/role": "mautic"}},
        "service": {"annotations": {"example.com/health": "8081"}},
        "networkPolicy": {
            "podIdentity": True,
            "internet": {"enabled": True},
            "extraEgress": [
                {
                    "ports": [{"protocol": "TCP", "port": 25}],
                    "to": [{"ipBlock": {"cidr": "10.9.0.25/32"}}],
                }
            ],
        },
        "quota": {"enabled": True},
        "limitRange": {"enabled": True},
        "scheduling": {
            "priorityClassName": "low",
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 1,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app": "other"}},
                            },
                        }
                    ]
                }
            },
        },
    },
)
OUTSIDE: Values = {
    "web": {"replicas": 2},
    "sessions": {"handler": "redis"},
    "redis": {"host": "redis.example.com", "tls": True, "passwordKey": "redis_password"},
    "serviceAccount": {"create": False, "name": "given"},
    "media": {"existingClaim": "given"},
    "networkPolicy": {
        "dns": {"cidrs": ["169.254.20.10/32"]},
        "internet": {"enabled": True, "ports": []},
        "redis": {"namespaces": ["cache"]},
    },
}
CATCHER: Values = {"mail": {"catcher": {"enabled": True}}, "door": {"passwordKey": "door"}}
SLEEPING: Values = {"sleeping": True}
POD: Values = {"crons": {"mode": "pod"}}
PROD: Values = {"images": {"redis": image("redis")}}

GRID: dict[str, tuple[Values, dict[str, Any]]] = {
    "defaults": ({}, {}),
    "dev": (GATEWAY, {"environment": "dev"}),
    "prod": (overlay(PROD, GATEWAY), {"environment": "prod"}),
    "everything": (EVERYTHING, {}),
    "ingress": (INGRESS, {}),
    "oidc": (OIDC, {}),
    "outside": (OUTSIDE, {}),
    "sleeping": (overlay(EVERYTHING, SLEEPING), {}),
    "mysql": (MYSQL, {}),
    "catcher": (overlay(overlay(MYSQL, GATEWAY), CATCHER), {}),
    "pod": (overlay(overlay(EVERYTHING, POD), {"mysql": {"enabled": True}}), {}),
    "shows": (overlay(overlay(EVERYTHING, POD), {"dev": True}), {}),
    "long": (EVERYTHING, {"release": "mautic-" + "long-branch-name-" * 2 + "0a1b2c"}),
}


@pytest.fixture(scope="session")
def chart() -> Chart:
    try:
        return Chart(find_helm(Runner(Redactor()), ROOT))
    except MissingToolError as error:
        missing("\n".join(error.lines()))


@pytest.fixture(params=GRID)
def rendered(request: pytest.FixtureRequest, chart: Chart) -> list[Object]:
    """The objects of each combination of values."""
    values, options = GRID[request.param]
    return chart.objects(values, **options)


# -- room ------------------------------------------------------------------------------------------


def test_a_branch_with_everything_has_room_in_the_floor_s_quota(chart: Chart) -> None:
    """With each scheduled command as a CronJob, and the floor's own objects beside it."""
    platform = yaml.safe_load((ROOT / "helm" / "platform" / "values.yaml").read_text())
    jobs = DEFAULTS["crons"]["jobs"]
    crons = {"mode": "cronjobs", "jobs": {name: {"enabled": True} for name in jobs}}
    objects = chart.objects(overlay(EVERYTHING, {"crons": crons}))
    assert len(of_kind(objects, "CronJob")) >= len(jobs)
    quota = platform["floor"]["quota"]
    for kind in {item["kind"] for item in objects}:
        group, plural = resource(kind)
        name = f"{plural}.{group}".strip(".")
        number = len(of_kind(objects, kind)) + 1
        # One budget is all that there is.
        number -= kind == "PodDisruptionBudget"
        assert number <= int(quota.get(f"count/{name}") or quota[name]), kind


# -- valid, for Helm and for Kubernetes ------------------------------------------------------------


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_helm_finds_no_fault(chart: Chart, environment: str) -> None:
    values = overlay(overlay(REQUIRED, PROD), GATEWAY)
    done = chart.run("lint", values, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


def shape(value: object) -> str:
    """An object without its values. The schemas judge keys and types; a check takes 60 ms."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{shape(value[key])}' for key in sorted(value))}}}"
    if isinstance(value, list):
        return f"[{','.join(sorted({shape(inner) for inner in value}))}]"
    return type(value).__name__


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_api(chart: Chart, version: str) -> None:
    unique = {
        shape(item): item
        for values, options in GRID.values()
        for item in chart.objects(values, **options)
    }
    kinds = set()
    for item in unique.values():
        kinds.add(item["kind"])
        if "gateway" not in item["apiVersion"]:  # not one of Kubernetes' own kinds
            kubernetes_validate.validate(item, version, strict=True)
    assert kinds >= {
        *("ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job"),
        *("LimitRange", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget"),
        *("ResourceQuota", "Service", "ServiceAccount", "StatefulSet"),
    }


def test_the_validator_refuses_what_the_api_would(chart: Chart) -> None:
    item = copy.deepcopy(only(chart.objects(), "Deployment", "web"))
    item["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, VERSIONS[0], strict=True)


def test_values_that_the_chart_refuses_are_told_without_a_cluster(
    chart: Chart, tmp_path: Path
) -> None:
    helm = Helm(Runner(Redactor()), lambda: chart.helm, None, str(tmp_path / "none"))
    helm.render("x", "x", CHART, REQUIRED)
    lacking = {**REQUIRED, "networkPolicy": {"database": {"cidrs": []}}}
    with pytest.raises(InputError, match=r"networkPolicy\.database: cidrs or namespaces must name"):
        helm.render("x", "x", CHART, lacking)
    with pytest.raises(InputError, match="nonsense"):
        helm.render("x", "x", CHART, {**REQUIRED, "nonsense": 1})


def test_the_same_values_give_the_same_bytes(chart: Chart) -> None:
    assert chart.text(EVERYTHING) == chart.text(EVERYTHING)


def test_no_template_asks_the_cluster_the_clock_or_a_die() -> None:
    forbidden = re.compile(
        r"\b(lookup|now|date|rand\w*|uuidv4|gen(CA|\w*Cert|PrivateKey)|shuffle)\b"
    )
    for path in sorted((CHART / "templates").iterdir()):
        for action in re.findall(r"\{\{.*?\}\}", path.read_text(), re.DOTALL):
            if not action.startswith(("{{/*", "{{- /*")):
                assert not forbidden.search(re.sub(r'"[^"]*"', "", action)), (path.name, action)


# -- what every pod is -----------------------------------------------------------------------------


def test_every_pod_passes_pod_security_restricted(rendered: list[Object]) -> None:
    found = {name_of(item): violations(pod["spec"]) for item, pod in pods(rendered)}
    assert found
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hostNetwork",), True),
        (("securityContext", "runAsNonRoot"), False),
        (("securityContext", "runAsUser"), 0),
        (("securityContext", "seccompProfile", "type"), "Unconfined"),
        (("volumes", 0), {"name": "host", "hostPath": {"path": "/"}}),
        (("containers", 0, "securityContext", "privileged"), True),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
        (("containers", 0, "securityContext", "capabilities", "drop"), []),
        (("containers", 0, "securityContext", "capabilities", "add"), ["SYS_ADMIN"]),
        (("containers", 1, "securityContext"), {}),
        (("containers", 0, "ports", 0, "hostPort"), 80),
    ],
)
def test_the_check_of_pod_security_sees(
    chart: Chart, path: tuple[str | int, ...], value: object
) -> None:
    spec: Any = copy.deepcopy(only(chart.objects(), "Deployment", "web"))["spec"]["template"][
        "spec"
    ]
    target = spec
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    assert violations(spec)


def test_every_container_is_bounded_read_only_and_pinned(rendered: list[Object]) -> None:
    for item, pod in pods(rendered):
        for each in containers(pod):
            where = f"{name_of(item)}/{each['name']}"
            assert set(each["resources"]["requests"]) >= {"cpu", "memory"}, where
            assert "memory" in each["resources"]["limits"], where
            assert re.search(r"@sha256:[0-9a-f]{64}$", each["image"]), where
            assert each["securityContext"]["readOnlyRootFilesystem"] is True, where


def test_the_last_words_of_every_container_stand_in_its_status(rendered: list[Object]) -> None:
    for item, pod in pods(rendered):
        for container in containers(pod):
            told = container.get("terminationMessagePolicy")
            assert told == "FallbackToLogsOnError", (name_of(item), container["name"])


def test_no_pod_gets_a_token_or_variables_of_services(rendered: list[Object]) -> None:
    for item, pod in pods(rendered):
        assert pod["spec"]["automountServiceAccountToken"] is False, name_of(item)
        assert pod["spec"]["enableServiceLinks"] is False, name_of(item)
    for account in of_kind(rendered, "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


def test_every_mount_has_its_volume_and_every_scratch_volume_its_limit(
    rendered: list[Object],
) -> None:
    for item, pod in pods(rendered):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        claims = {each["metadata"]["name"] for each in item["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
        assert mounted == set(volumes) | claims, name_of(item)
        for volume in volumes.values():
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"], (name_of(item), volume["name"])
                # Thousands of links: a disk would take seconds for them.
                if volume["name"] == "cache":
                    assert volume["emptyDir"]["medium"] == "Memory", name_of(item)


def mounts(container: Object) -> dict[str, tuple[str, bool]]:
    """What is mounted where: the volume (and folder), and whether it can be written."""
    return {
        mount["mountPath"]: (
            "/".join(filter(None, (mount["name"], mount.get("subPath")))),
            not mount.get("readOnly", False),
        )
        for mount in container["volumeMounts"]
    }


HTML = "/var/www/html"
SCRATCH = {
    "/tmp": ("tmp", True),
    f"{HTML}/var/cache": ("cache", True),
    f"{HTML}/var/logs": ("logs", True),
    f"{HTML}/var/tmp": ("var-tmp", True),
    "/run/secrets/mautic": ("secrets", False),
}
MEDIA = {
    f"{HTML}/docroot/media/files": ("media/files", True),
    f"{HTML}/docroot/media/images": ("media/images", True),
    f"{HTML}/docroot/media/dashboards": ("media/dashboards", True),
    f"{HTML}/var/cache/ip_data": ("media/ip_data", True),
}


def test_mautic_writes_where_it_must_and_shares_what_it_must(chart: Chart) -> None:
    objects = chart.objects()
    nginx, fpm = containers(only(objects, "Deployment", "web")["spec"]["template"])
    sessions = {f"{HTML}/var/sessions": ("media/sessions", True)}
    assert mounts(fpm) == SCRATCH | MEDIA | sessions
    assert mounts(nginx) == {
        "/tmp": ("nginx-tmp", True),
        f"{HTML}/docroot/media/images": ("media/images", False),
    }
    for item, pod in pods(objects):
        if component_of(item) in {"worker", "cron"}:
            assert mounts(containers(pod)[0]) == SCRATCH | MEDIA, name_of(item)
    migrate = only(objects, "Job", "migrate")["spec"]["template"]
    assert mounts(containers(migrate)[0]) == SCRATCH


def test_a_seed_s_uploads_are_images_that_are_mounted_where_nobody_can_change_them(
    chart: Chart,
) -> None:
    seed = {"data": {"seed": "mautic_seed__2026"}, "media": {"seed": SHARED}}
    objects = chart.objects(seed)
    nginx, fpm = containers(only(objects, "Deployment", "web")["spec"]["template"])
    places = {f"{HTML}/docroot/media/{folder}/seed": (f"seed-{folder}", False) for folder in SHARED}
    assert set(mounts(fpm).items()) >= set(places.items())
    # Below what is mounted read-only no place for a mount could be made.
    assert f"{HTML}/docroot/media/images/seed" not in mounts(nginx)
    assert mounts(nginx)[f"{HTML}/seed/media/images"] == ("seed-images", False)
    for item, pod in pods(objects):
        if component_of(item) in {"worker", "cron"}:
            assert set(mounts(containers(pod)[0]).items()) >= set(places.items()), name_of(item)
        volumes = {each["name"]: each.get("image") for each in pod["spec"]["volumes"]}
        found = {name: each for name, each in volumes.items() if each}
        wanted = {
            f"seed-{folder}": {"reference": image, "pullPolicy": "IfNotPresent"}
            for folder, image in SHARED.items()
        }
        assert found == (wanted if component_of(item) != "migrate" else {}), name_of(item)
    # Assets lead there, where the migration makes their rows.
    told = {"name": "MAUTIC_SEED_UPLOADS", "value": "1"}
    migrate = containers(only(objects, "Job", "migrate")["spec"]["template"])[0]
    assert told in migrate["env"]
    filled = overlay(seed, {"data": {"clone": False}})
    without_files = {**seed, "media": {"seed": {"images": SHARED["images"]}}}
    for more in (filled, without_files):
        others = only(chart.objects(more), "Job", "migrate")
        assert "MAUTIC_SEED_UPLOADS" not in json.dumps(others)


def test_a_working_tree_has_its_places_in_what_runs_and_in_no_migration(chart: Chart) -> None:
    objects = chart.objects(GRID["shows"][0])
    folders = ("docroot/plugins", "docroot/themes", "docroot/translations", "config")
    places = {f"{HTML}/{each}": (f"dev-{each.rpartition('/')[2]}", True) for each in folders}
    for item, pod in pods(objects):
        init = {each["name"]: each for each in pod["spec"].get("initContainers", ())}
        shows = component_of(item) in {"web", "worker", "cron"}
        assert ("fill" in init) == shows, name_of(item)
        for container in pod["spec"]["containers"] if shows else ():
            is_mautic = container["image"] == image("mautic")
            found = {
                path: (name, may_write)
                for path, (name, may_write) in mounts(container).items()
                if name.startswith("dev-")
            }
            served = {f"{HTML}/{each}": (f"dev-{each[8:]}", False) for each in folders[:2]}
            assert found == (places if is_mautic else served), container["name"]
        if shows:
            filled = {name for name, _ in mounts(init["fill"]).values()}
            assert filled == {name for name, _ in places.values()}


def test_pods_ask_for_the_roles_of_the_image(chart: Chart) -> None:
    roles = {
        name_of(item).removeprefix(f"{RELEASE}-"): [
            (each["image"], each.get("command"), each.get("args")) for each in containers(pod)
        ]
        for item, pod in pods(chart.objects())
        if component_of(item) != "cron"
    }
    assert roles == {
        "web": [(image("nginx"), None, None), (image("mautic"), None, ["web"])],
        "worker-email": [(image("mautic"), None, ["worker", "email"])],
        "worker-hit": [(image("mautic"), None, ["worker", "hit"])],
        "migrate": [(image("mautic"), None, ["migrate"])],
    }


# -- web -------------------------------------------------------------------------------------------


def test_web_is_probed_as_a_visitor_would_see_it(chart: Chart) -> None:
    nginx, fpm = containers(only(chart.objects(), "Deployment", "web")["spec"]["template"])
    ready = nginx["readinessProbe"]["httpGet"]
    assert (ready["port"], ready["path"]) == ("http", "/s/login")
    assert {each["name"]: each["value"] for each in ready["httpHeaders"]} == {
        "Host": "feature-x.example.com",
        "X-Forwarded-Proto": "https",
    }
    assert nginx["livenessProbe"]["httpGet"] == {"port": "health", "path": "/healthz"}
    # Readiness is asked for the first time when the start is over: php-fpm must answer by then.
    assert nginx["startupProbe"]["httpGet"] == {"port": "health", "path": "/fpm-ping"}
    patience = [
        each["startupProbe"]["periodSeconds"] * each["startupProbe"]["failureThreshold"]
        for each in (nginx, fpm)
    ]
    assert patience == [180, 180]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert fpm[probe]["httpGet"] == {"port": 8081, "path": "/fpm-ping"}
    assert {port["name"]: port["containerPort"] for port in nginx["ports"]} == {
        "http": 8080,
        "health": 8081,
    }


def test_a_door_has_its_password_from_the_secret_alone(chart: Chart) -> None:
    def nginx(**door: object) -> tuple[Object, dict[str, str], list[Object]]:
        web = only(chart.objects({"door": door}), "Deployment", "web")["spec"]["template"]
        found, fpm = containers(web)
        assert "/run/secrets/mautic" in mounts(fpm)
        variables = {each["name"]: each["value"] for each in found["env"]}
        return found, variables, web["spec"]["volumes"]

    found, variables, volumes = nginx(
        passwordKey="door", exempt=["forms", "tracking"], noindex=True
    )
    assert variables["NGINX_DOOR_PASSWORD_FILE"] == "/run/secrets/mautic/door_password"
    assert variables["NGINX_DOOR_EXEMPT"] == "forms tracking"
    assert variables["NGINX_NOINDEX"] == "on"
    # The probe need not open it.
    assert variables["NGINX_READY_PATH"] == "/s/login"
    ready = found["readinessProbe"]["httpGet"]
    assert (ready["port"], ready["path"]) == ("health", "/ready")
    assert mounts(found)["/run/secrets/mautic"] == ("door", False)
    (volume,) = (each["secret"] for each in volumes if each["name"] == "door")
    assert volume["items"] == [{"key": "door", "path": "door_password"}]

    found, variables, volumes = nginx(passwordKey="")
    assert not [name for name in variables if "DOOR" in name]
    assert variables["NGINX_NOINDEX"] == "off"
    assert "/run/secrets/mautic" not in mounts(found)
    assert not [each for each in volumes if each["name"] == "door"]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_no_container_may_fill_its_node_s_disk(chart: Chart, environment: str) -> None:
    objects = chart.objects(overlay(PROD, GATEWAY), environment=environment)
    for item, pod in pods(objects):
        for each in (*pod["spec"].get("initContainers", []), *containers(pod)):
            assert each["resources"]["limits"]["ephemeral-storage"], (name_of(item), each["name"])
    for limits in of_kind(objects, "LimitRange").values():
        (limit,) = limits["spec"]["limits"]
        assert limit["default"]["ephemeral-storage"]


def test_production_is_by_https_alone_and_its_sessions_have_a_password(chart: Chart) -> None:
    objects = chart.objects(overlay(PROD, GATEWAY), environment="prod")
    nginx, fpm = containers(only(objects, "Deployment", "web")["spec"]["template"])
    assert {"name": "NGINX_HSTS_MAX_AGE", "value": "31536000"} in nginx["env"]
    given = {each["name"]: each for each in fpm["env"]}
    reference = given["REDIS_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert reference["key"] == "redis_password"
    assert given["PHP_SESSION_SAVE_PATH"]["value"].endswith("&auth=$(REDIS_PASSWORD)")
    (redis,) = containers(only(objects, "Deployment", "redis")["spec"]["template"])
    assert "protected-mode no" not in str(redis["args"])
    assert "requirepass" in str(redis["args"])


def test_a_leaving_pod_serves_until_the_gateways_know(chart: Chart) -> None:
    spec = only(chart.objects({"web": {"drainSeconds": 20}}), "Deployment", "web")["spec"]
    pod = spec["template"]["spec"]
    nginx, fpm = (each["lifecycle"]["preStop"]["sleep"]["seconds"] for each in pod["containers"])
    assert nginx == 20
    assert nginx < fpm < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(("environment", "replicas"), [("dev", 1), ("prod", 4)])
def test_environments_have_their_replicas(chart: Chart, environment: str, replicas: int) -> None:
    objects = chart.objects(overlay(PROD, GATEWAY), environment=environment)
    assert only(objects, "Deployment", "web")["spec"]["replicas"] == replicas
    assert len(of_kind(objects, "PodDisruptionBudget")) == (replicas > 1)
    _, fpm = containers(only(objects, "Deployment", "web")["spec"]["template"])
    handlers = [each["value"] for each in fpm["env"] if each["name"].endswith("SAVE_HANDLER")]
    assert handlers == (["redis"] if replicas > 1 else [])


def test_an_autoscaler_replaces_the_number_of_replicas(chart: Chart) -> None:
    values = overlay(REDIS, {"web": {"autoscaling": {"enabled": True, "maxReplicas": 9}}})
    objects = chart.objects(values)
    web = only(objects, "Deployment", "web")
    assert "replicas" not in web["spec"]
    scaler = only(objects, "HorizontalPodAutoscaler", "web")["spec"]
    assert scaler["scaleTargetRef"]["name"] == name_of(web)
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 9)
    assert of_kind(objects, "PodDisruptionBudget")


@pytest.mark.parametrize(
    ("redis", "path"),
    [
        ({"enabled": True}, f"tcp://{RELEASE}-redis:6379?prefix={RELEASE}:session:"),
        (
            {"host": "r.example.com", "port": 6380, "tls": True, "passwordKey": "redis_password"},
            f"tls://r.example.com:6380?prefix={RELEASE}:session:&auth=$(REDIS_PASSWORD)",
        ),
    ],
)
def test_sessions_are_kept_in_redis(chart: Chart, redis: Values, path: str) -> None:
    values = {
        "sessions": {"handler": "redis"},
        "redis": redis,
        "images": {"redis": image("redis")},
        "networkPolicy": {"redis": {"cidrs": ["10.1.60.0/24"]}},
    }
    _, fpm = containers(only(chart.objects(values), "Deployment", "web")["spec"]["template"])
    env = {each["name"]: each for each in fpm["env"]}
    assert env["PHP_SESSION_SAVE_HANDLER"]["value"] == "redis"
    assert env["PHP_SESSION_SAVE_PATH"]["value"] == path
    if "passwordKey" in redis:
        reference = env["REDIS_PASSWORD"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "mautic", "key": "redis_password"}
        # Kubernetes expands only variables that stand before.
        assert list(env).index("REDIS_PASSWORD") < list(env).index("PHP_SESSION_SAVE_PATH")


def test_pods_start_anew_when_what_they_read_at_start_has_changed(chart: Chart) -> None:
    def hashes(values: Values) -> set[str]:
        return {
            pod["metadata"]["annotations"]["checksum/config"]
            for item, pod in pods(chart.objects(values))
            if component_of(item) in {"web", "worker"}
        }

    before = hashes({})
    assert len(before) == 1
    assert hashes({"env": {"MAUTIC_LOCALE": "de"}}).isdisjoint(before)
    assert hashes({"secret": {"version": "2"}}).isdisjoint(before)
    assert hashes({"secret": {"name": "other"}}).isdisjoint(before)


def test_labels_and_annotations_restart_nothing(chart: Chart) -> None:
    plain = chart.objects()
    marked = chart.objects({"labels": {"a": "b"}, "annotations": {"commit": "1"}})
    assert [template_of(item) for item in marked] == [template_of(item) for item in plain]
    assert all(item["metadata"]["labels"]["a"] == "b" for item in marked)
    assert all(item["metadata"]["annotations"]["commit"] == "1" for item in marked)


@pytest.mark.parametrize(
    ("url", "host", "scheme"),
    [
        ("https://a.example.com", "a.example.com", "https"),
        ("http://a.localhost:8080", "a.localhost", "http"),
    ],
)
def test_the_url_gives_host_and_scheme(chart: Chart, url: str, host: str, scheme: str) -> None:
    objects = chart.objects(overlay(GATEWAY, {"site": {"url": url}}))
    assert of_kind(objects, "ConfigMap")[f"{RELEASE}-env"]["data"]["MAUTIC_SITE_URL"] == url
    assert only(objects, "HTTPRoute", "web")["spec"]["hostnames"] == [host]
    nginx, _ = containers(only(objects, "Deployment", "web")["spec"]["template"])
    headers = nginx["readinessProbe"]["httpGet"]["httpHeaders"]
    assert [each["value"] for each in headers] == [host, scheme]


def test_a_route_leads_to_the_service(chart: Chart) -> None:
    route = only(chart.objects(GATEWAY), "HTTPRoute", "web")["spec"]
    assert route["parentRefs"] == [
        {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": "shared",
            "namespace": "gateway",
        }
    ]
    service = only(chart.objects(GATEWAY), "Service", "web")
    (backend,) = route["rules"][0]["backendRefs"]
    assert (backend["name"], backend["port"]) == (name_of(service), 80)
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == {
        "http": 80,
        "health": 8081,
    }


def test_the_entrance_finds_the_site_by_a_name_that_is_always_the_same(chart: Chart) -> None:
    values = {
        "route": {"kind": "entrance"},
        "networkPolicy": {"gateway": {"namespaces": ["mautic-system"]}},
    }
    objects = chart.objects(values)
    assert not {"HTTPRoute", "Ingress"} & {item["kind"] for item in objects}
    service = only(objects, "Service", "entrance")
    assert name_of(service) == "entrance"
    web = only(objects, "Service", "web")
    assert service["spec"]["selector"] == web["spec"]["selector"]
    (port,) = service["spec"]["ports"]
    assert port in web["spec"]["ports"]
    assert "entrance" not in {name_of(item) for item in chart.objects(GATEWAY)}


def test_a_load_balancer_asks_a_user_pool_for_the_login(chart: Chart) -> None:
    objects = chart.objects(OIDC)
    asks = only(objects, "ListenerRuleConfiguration", "web")
    (action,) = asks["spec"].pop("actions")
    assert asks["spec"] == {}
    assert action == {
        "type": "authenticate-cognito",
        "authenticateCognitoConfig": {
            "userPoolArn": POOL,
            "userPoolClientId": "4711",
            "userPoolDomain": "previews",
            "onUnauthenticatedRequest": "authenticate",
            "authenticationRequestExtraParams": {},
        },
    }
    spec = only(objects, "HTTPRoute", "web")["spec"]
    assert [each["sectionName"] for each in spec["parentRefs"]] == ["https"]
    behind, before = spec["rules"]
    to = {"group": "gateway.k8s.aws", "kind": asks["kind"], "name": name_of(asks)}
    assert behind["filters"] == [{"type": "ExtensionRef", "extensionRef": to}]
    assert behind["matches"][0] == {"path": {"type": "PathPrefix", "value": "/"}}
    assert "filters" not in before
    assert behind["backendRefs"] == before["backendRefs"]
    # As many as the platform lets a route have.
    assert max(len(behind["matches"]), len(before["matches"])) <= 20

    nginx, _ = containers(only(objects, "Deployment", "web")["spec"]["template"])
    variables = {each["name"]: each["value"] for each in nginx["env"]}
    assert not [name for name in variables if "DOOR" in name]
    assert variables["NGINX_NOINDEX"] == "on"
    closed = only(chart.objects(overlay(OIDC, {"door": {"exempt": []}})), "HTTPRoute", "web")
    (rule,) = closed["spec"]["rules"]
    assert (len(rule["matches"]), len(rule["filters"])) == (1, 1)
    for values in (GATEWAY, overlay(GATEWAY, {"door": {"exempt": ["forms"]}})):
        assert "ListenerRuleConfiguration" not in {item["kind"] for item in chart.objects(values)}
        (rule,) = only(chart.objects(values), "HTTPRoute", "web")["spec"]["rules"]
        assert "filters" not in rule


PATHS = [
    *(
        "/",
        "/s/login",
        "/form",
        "/form/",
        "/form/submit",
        "/formula",
        "/mtc",
        "/mtc/",
        "/mtc/event",
    ),
    *("/mtc/other", "/mtc.js", "/mtcx", "/mtracking.gif", "/mtracking.gif/x", "/r", "/r/abc"),
    *("/redirect", "/redirect/abc", "/rabbit", "/dwc", "/dwc/", "/dwc/slot", "/dwcx", "/focus"),
    *("/focus/1.js", "/email", "/email/", "/email/5f3c.gif", "/email/view/5f3c", "/email/preview"),
    *("/email/preview/", "/email/preview/1", "/emails", "/mailer/callback", "/mailer/callback/x"),
    *("/plugin/Gmail/tracking.gif", "/plugin/Gmail/x", "/asset", "/asset/12:offer.pdf", "/assets"),
    *("/assets/build/main.js", "/media", "/media/css/app.css", "/media/js/mautic-form.js"),
    *("/media/js/mautic-form-src.js", "/media/js/mautic-form.jsx", "/media/js/app.js", "/themes"),
    *("/themes/blank/thumbnail.png", "/app", "/app/assets", "/app/assets/x", "/app/bundles/A/B/x"),
    *("/app/bundles/CoreBundle/Assets/x.png", "/plugins/AcmeBundle/Assets/x.js", "/plugins/x"),
    *("/api", "/api/contacts", "/apis", "/oauth", "/oauth/v2", "/oauth/v2/token", "/oauth2/x"),
]
LEFT_BEHIND = {
    *("/plugin/Gmail/tracking.gif", "/app/bundles/CoreBundle/Assets/x.png"),
    *("/plugins/AcmeBundle/Assets/x.js", "/media/js/mautic-form.jsx", "/email/preview"),
}
"""What nginx lets through and a prefix or an exact path cannot say."""


def open_paths(route: Object) -> set[str]:
    """What the load balancer asks no login for: exact paths go first, then longer prefixes."""

    def rank(path: str, match: Object) -> tuple[bool, int]:
        wanted = match["path"]["value"]
        if match["path"]["type"] == "Exact":
            return (path == wanted, 0)
        bare = wanted.removesuffix("/")
        return (False, len(wanted) if path == bare or path.startswith(f"{bare}/") else -1)

    return {
        path
        for path in PATHS
        if "filters"
        not in max(
            route["spec"]["rules"], key=lambda rule: max(rank(path, m) for m in rule["matches"])
        )
    }


@pytest.mark.parametrize("kinds", [["api"], ["assets"], ["forms"], ["tracking"], "all"])
def test_a_load_balancer_exempts_no_more_than_nginx(chart: Chart, kinds: list[str] | str) -> None:
    exempt = list(OIDC["door"]["exempt"] if kinds == "all" else kinds)
    text = (ROOT / "docker" / "nginx" / "entrypoint.sh").read_text()
    rules = re.findall(r"^  exempt (\w+) '(.+)'$", text, re.MULTILINE)
    assert {kind for kind, _ in rules} == set(OIDC["door"]["exempt"])
    by_nginx = {
        path for path in PATHS for kind, rule in rules if kind in exempt and re.search(rule, path)
    }
    assert by_nginx
    values = overlay(OIDC, {"door": {"exempt": exempt}})
    route = only(chart.objects(values), "HTTPRoute", "web")
    # A prefix of assets covers it.
    left = LEFT_BEHIND - ({"/media/js/mautic-form.jsx"} if "assets" in exempt else set())
    assert open_paths(route) == by_nginx - left


def test_an_ingress_leads_to_the_service(chart: Chart) -> None:
    ingress = only(chart.objects(INGRESS), "Ingress", "web")["spec"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"hosts": ["feature-x.example.com"], "secretName": "wildcard"}]
    backend = ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": f"{RELEASE}-web", "port": {"name": "http"}}


# -- workers, scheduled commands, migration --------------------------------------------------------


def test_workers_are_a_table(chart: Chart) -> None:
    values: Values = {
        "workers": {
            "email": {"replicas": 0},
            "hit": None,
            "both": {"queues": ["email", "hit"], "timeLimitSeconds": 60, "replicas": 3},
        }
    }
    workers = {
        name: item
        for name, item in of_kind(chart.objects(values), "Deployment").items()
        if component_of(item) == "worker"
    }
    assert {name: item["spec"]["replicas"] for name, item in workers.items()} == {
        f"{RELEASE}-worker-email": 0,
        f"{RELEASE}-worker-both": 3,
    }
    both = containers(workers[f"{RELEASE}-worker-both"]["spec"]["template"])[0]
    assert both["args"] == ["worker", "email", "hit"]
    env = {each["name"]: each["value"] for each in both["env"]}
    assert env == {"MAUTIC_WORKER_TIME_LIMIT": "60", "MAUTIC_WORKER_MEMORY_LIMIT": "256M"}


def test_every_scheduled_command_is_there(chart: Chart) -> None:
    values = {"crons": {"jobs": {name: {"enabled": True} for name in DEFAULTS["crons"]["jobs"]}}}
    found = {
        name.removeprefix(f"{RELEASE}-cron-"): (
            item["spec"]["schedule"],
            containers(template_of(item) or {})[0]["args"],
        )
        for name, item in of_kind(chart.objects(values), "CronJob").items()
    }
    assert found == {
        name: (job["schedule"], ["console", *job["command"], "--no-interaction"])
        for name, job in DEFAULTS["crons"]["jobs"].items()
    }
    commands = {args[1].removeprefix("mautic:") for _, args in found.values()}
    assert commands == {
        *("segments:update", "campaigns:update", "campaigns:trigger", "messages:send"),
        *("broadcasts:send", "reports:scheduler", "custom-field:create-column", "email:fetch"),
        *("webhooks:process", "import", "contacts:scheduled_export", "social:monitoring"),
        *("iplookup:download", "maintenance:cleanup", "contacts:cleanup_exported_files"),
        *("webhooks:delete_logs", "custom-field:delete-column"),
        *("integration:fetchleads", "integration:pushactivity"),
    }


def test_only_harmless_commands_run_by_default(chart: Chart) -> None:
    names = {name.removeprefix(f"{RELEASE}-cron-") for name in of_kind(chart.objects(), "CronJob")}
    assert names == {
        *("segments-update", "campaigns-update", "campaigns-trigger", "messages-send"),
        *("broadcasts-send", "reports-scheduler", "custom-fields", "import", "contacts-export"),
        *("iplookup-download", "webhooks-process", "exports-cleanup", "webhook-logs"),
    }


@pytest.mark.parametrize(
    "more", [{}, overlay(REDIS, MYSQL)], ids=["alone", "with servers of its own"]
)
def test_a_branch_makes_at_most_two_pods_an_hour_by_itself(chart: Chart, more: Values) -> None:
    """Once it is deployed, and however many commands are scheduled."""
    jobs = {"jobs": {name: {"enabled": True} for name in DEFAULTS["crons"]["jobs"]}}
    for crons in ({}, jobs):
        objects = chart.objects(overlay(more, {"crons": crons}), environment="dev")
        assert pods_an_hour(objects) <= 2
        assert {item["kind"] for item in objects if template_of(item)} <= {
            *("Deployment", "StatefulSet", "Job")
        }
        assert of_kind(objects, "HorizontalPodAutoscaler") == {}
    # It counts: a CronJob of each, the default of the chart, gives each run a pod.
    assert pods_an_hour(chart.objects()) >= 100


def test_compose_and_the_chart_run_the_same_table() -> None:
    compose = json.loads((ROOT / "docker" / "mautic" / "php" / "cron.json").read_text())
    assert compose == DEFAULTS["crons"]["jobs"]


UNSEEDED = {
    *("segments-update", "messages-send", "broadcasts-send", "reports-scheduler"),
    *("webhooks-process", "email-fetch", "social-monitoring", "maintenance-cleanup"),
    *("integration-fetchleads", "integration-pushactivity"),
}
"""Commands that are off over masked data."""


@pytest.mark.parametrize("mode", [{}, POD])
def test_data_of_a_seed_is_copied_by_the_migration_and_turns_commands_off(
    chart: Chart, mode: Values
) -> None:
    names = DEFAULTS["crons"]["jobs"]
    # Also those that are off anyway; one of them by name even over a seed.
    jobs = {name: {"enabled": True} for name in names} | {"email-fetch": {"seeded": True}}
    jobs["email-fetch"]["enabled"] = True
    seeded = overlay(mode, {"data": {"seed": "mautic_seed__2026"}, "crons": {"jobs": jobs}})
    objects = chart.objects(seeded)
    env = containers(only(objects, "Job", "migrate")["spec"]["template"])[0]["env"]
    assert {"name": "MAUTIC_SEED", "value": "mautic_seed__2026"} in env
    filled = chart.objects(overlay(seeded, {"data": {"clone": False}}))
    assert "MAUTIC_SEED" not in json.dumps(only(filled, "Job", "migrate"))
    if mode:
        on = {name for name, job in cron_table(objects).items() if job.get("enabled", True)}
    else:
        prefix = f"{RELEASE}-cron-"
        on = {name.removeprefix(prefix) for name in of_kind(objects, "CronJob")}
    assert on == (names.keys() - UNSEEDED) | {"email-fetch"}
    assert len(nowhere(objects)) == 5
    assert "MAUTIC_SEED" not in json.dumps(chart.objects(mode))
    assert nowhere(chart.objects(mode)) == set()


def nowhere(objects: list[Object]) -> set[str]:
    """Return the settings that lead to a port where nobody listens."""
    given = [
        name for item in of_kind(objects, "ConfigMap").values() for name in item["data"].items()
    ]
    return {name for name, value in given if value == "http://127.0.0.1:9/"}


def cron_table(objects: list[Object]) -> dict[str, Any]:
    """The table that the one pod of crons reads."""
    found = [item for item in of_kind(objects, "ConfigMap").values() if "cron.json" in item["data"]]
    table: dict[str, Any] = json.loads(found[0]["data"]["cron.json"])
    return table


def test_one_pod_runs_the_same_table_as_the_cron_jobs(chart: Chart) -> None:
    own = {
        "import": {"schedule": "@hourly", "activeDeadlineSeconds": 60},
        "campaigns-update": {"enabled": False},
        "crm": {"schedule": "1 * * * *", "command": ["mautic:segments:update", "--batch-limit=5"]},
        "custom-fields": None,
    }
    given = {"crons": {"timeZone": "Europe/Berlin", "jobs": own}}
    objects = chart.objects(overlay(POD, given))
    deployment = only(objects, "Deployment", "cron")
    container = containers(template_of(deployment) or {})[0]
    env = {each["name"]: each["value"] for each in container["env"]}

    assert not of_kind(objects, "CronJob")
    assert container["args"] == ["cron"]
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["replicas"] == 1
    assert env["MAUTIC_CRON_TIME_ZONE"] == "Europe/Berlin"
    folder, _, file = env["MAUTIC_CRON_TABLE"].rpartition("/")
    assert (file, folder in mounts(container)) == ("cron.json", True)
    enabled = {
        f"{RELEASE}-cron-{name}": job
        for name, job in cron_table(objects).items()
        if job.get("enabled", True)
    }
    assert enabled == {
        name: {
            "schedule": item["spec"]["schedule"],
            "command": containers(template_of(item) or {})[0]["args"][1:-1],
            "startingDeadlineSeconds": item["spec"]["startingDeadlineSeconds"],
            "activeDeadlineSeconds": item["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"],
        }
        for name, item in of_kind(chart.objects(given), "CronJob").items()
    }


def test_a_changed_table_starts_the_one_pod_anew_and_nothing_else(chart: Chart) -> None:
    def hashes(values: Values) -> dict[str, str]:
        return {
            name_of(item): pod["metadata"]["annotations"]["checksum/config"]
            for item, pod in pods(chart.objects(overlay(POD, values)))
            if "checksum/config" in pod["metadata"].get("annotations", {})
        }

    before, after = hashes({}), hashes({"crons": {"jobs": {"import": {"schedule": "@daily"}}}})
    assert {name for name in before if before[name] != after[name]} == {f"{RELEASE}-cron"}


def test_branches_have_one_pod_and_production_has_cron_jobs(chart: Chart) -> None:
    for environment, has_pod in (("dev", True), ("prod", False)):
        objects = chart.objects(overlay(PROD, GATEWAY), environment=environment)
        assert bool(of_kind(objects, "CronJob")) is not has_pod, environment
        deployments = map(component_of, of_kind(objects, "Deployment").values())
        assert ("cron" in deployments) is has_pod, environment


def test_scheduled_commands_never_overlap_and_always_end(chart: Chart) -> None:
    for name, item in of_kind(chart.objects(EVERYTHING), "CronJob").items():
        spec, job = item["spec"], item["spec"]["jobTemplate"]["spec"]
        assert spec["concurrencyPolicy"] == "Forbid", name
        assert spec["suspend"] is False, name
        assert spec["timeZone"] == "Etc/UTC", name
        # Below ten seconds, the controller's own interval, runs would be left out.
        assert spec["startingDeadlineSeconds"] >= 10, name
        assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 2), name
        assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (0, 3600), name
        assert job["template"]["spec"]["restartPolicy"] == "Never", name


def test_one_command_may_differ_from_the_others(chart: Chart) -> None:
    own = {"failedJobsHistoryLimit": 0, "resources": {"limits": {"memory": "2Gi"}}}
    crons = of_kind(chart.objects({"crons": {"jobs": {"import": own}}}), "CronJob")
    item = crons[f"{RELEASE}-cron-import"]
    assert item["spec"]["failedJobsHistoryLimit"] == 0
    resources = containers(template_of(item) or {})[0]["resources"]
    assert resources["limits"]["memory"] == "2Gi"
    assert resources["requests"] == DEFAULTS["cronDefaults"]["resources"]["requests"]


def test_scheduled_commands_can_be_suspended(chart: Chart) -> None:
    for item in of_kind(chart.objects({"crons": {"suspend": True}}), "CronJob").values():
        assert item["spec"]["suspend"] is True
    objects = chart.objects(overlay(POD, {"crons": {"suspend": True}}))
    assert only(objects, "Deployment", "cron")["spec"]["replicas"] == 0


@pytest.mark.parametrize("mode", ["cronjobs", "pod"])
def test_a_sleeping_environment_runs_nothing(chart: Chart, mode: str) -> None:
    objects = chart.objects(overlay(overlay(EVERYTHING, SLEEPING), {"crons": {"mode": mode}}))
    for item in objects:
        if item["kind"] in {"Deployment", "StatefulSet"}:
            assert item["spec"]["replicas"] == 0, name_of(item)
        if item["kind"] == "CronJob":
            assert item["spec"]["suspend"] is True, name_of(item)
    assert not of_kind(objects, "Job")
    assert not of_kind(objects, "HorizontalPodAutoscaler")
    assert not of_kind(objects, "PodDisruptionBudget")
    assert of_kind(objects, "PersistentVolumeClaim")


def references(value: object) -> set[tuple[str, str]]:
    """Every object that a pod's spec names, as (kind, name)."""
    found: set[tuple[str, str]] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"configMapRef", "configMapKeyRef", "configMap"}:
                found.add(("ConfigMap", inner["name"]))
            elif key in {"secretRef", "secretKeyRef"}:
                found.add(("Secret", inner["name"]))
            elif key == "secretName":
                found.add(("Secret", inner))
            elif key == "claimName":
                found.add(("PersistentVolumeClaim", inner))
            elif key == "serviceAccountName":
                found.add(("ServiceAccount", inner))
            else:
                found |= references(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= references(inner)
    return found


def test_the_migration_runs_first_and_needs_nothing_of_the_release(chart: Chart) -> None:
    job = only(chart.objects({"env": {"MAUTIC_BRAND_NAME": "$(x)"}}), "Job", "migrate")
    annotations = job["metadata"]["annotations"]
    assert {name: value for name, value in annotations.items() if "helm.sh" in name} == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-weight": "0",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    }
    assert references(job["spec"]) == {("Secret", "mautic"), ("ServiceAccount", "default")}
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    env = {each["name"]: each["value"] for each in containers(job["spec"]["template"])[0]["env"]}
    data = only(chart.objects(), "ConfigMap", "config")["data"]
    assert env == data | {
        "MAUTIC_BRAND_NAME": "$$(x)",
        "MAUTIC_MIGRATE_WAIT": "120",
        "MAUTIC_ADMIN_USERNAME": "admin",
        "MAUTIC_ADMIN_EMAIL": "admin@example.com",
        "MAUTIC_ADMIN_PASSWORD_FILE": "/run/secrets/mautic/admin_password",
    }


def test_the_migration_reaches_its_database_before_the_release_has_policies(chart: Chart) -> None:
    def policies(values: Object | None = None) -> dict[str, Object]:
        return {
            name_of(item).rpartition("-")[2]: item
            for item in chart.objects(values or {})
            if item["kind"] == "NetworkPolicy"
        }

    found = policies()
    own, later = found["migrate"], found["app"]["spec"]["egress"]
    assert own["metadata"]["annotations"] == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-weight": "-1",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    ports = [port["port"] for rule in own["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 3306]
    assert own["spec"]["egress"] == later[:2]
    assert "migrate" not in policies(MYSQL)


def test_everything_waits_for_a_migration_that_comes_later(chart: Chart) -> None:
    objects = [
        *chart.objects(overlay(MYSQL, REDIS)),
        only(chart.objects(overlay(MYSQL, POD)), "Deployment", "cron"),
    ]
    job = only(objects, "Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    env = {each["name"]: each["value"] for each in containers(job["spec"]["template"])[0]["env"]}
    assert (env["MAUTIC_DB_OWN"], env["MAUTIC_MIGRATE_WAIT"]) == ("1", "600")
    for item, pod in pods(objects):
        first = containers(pod)[0]
        waits = first["name"] == "wait-for-migration"
        assert waits == (component_of(item) in {"web", "worker", "cron"}), name_of(item)
        if waits:
            # No Mautic, and no place to write: it only asks.
            assert first["args"] == ["wait"]
            assert [mount["name"] for mount in first["volumeMounts"]] == ["secrets"]
            env = {each["name"]: each["value"] for each in first["env"]}
            assert env == {"MAUTIC_DB_OWN": "1", "MAUTIC_MIGRATE_WAIT": "1800"}
    for item, pod in pods(chart.objects()):
        assert "initContainers" not in pod["spec"], name_of(item)


def test_what_the_pods_name_is_made_or_given(rendered: list[Object]) -> None:
    made = {(item["kind"], name_of(item)) for item in rendered}
    given = {("Secret", "mautic"), ("ServiceAccount", "default")} | {
        ("ServiceAccount", "given"),
        ("PersistentVolumeClaim", "given"),
    }
    for item, pod in pods(rendered):
        assert references(pod["spec"]) <= made | given, name_of(item)


# -- secrets ---------------------------------------------------------------------------------------


def test_secrets_are_named_and_never_rendered(rendered: list[Object]) -> None:
    assert not of_kind(rendered, "Secret")
    secret = re.compile("PASSWORD|SECRET|TOKEN|DSN")
    # The release's own catcher asks for no login.
    catcher = ("MAUTIC_MAILER_DSN", f"smtp://{RELEASE}-mail:1025")
    for config in of_kind(rendered, "ConfigMap").values():
        for name, value in config["data"].items():
            known = name.endswith("_FILE") or (name, value) == catcher
            assert known or not secret.search(name), name
    for item, pod in pods(rendered):
        for each in containers(pod):
            assert "secretRef" not in json.dumps(each.get("envFrom", [])), name_of(item)
            for variable in each.get("env", []):
                if (variable["name"], variable.get("value")) == catcher:
                    continue
                if secret.search(variable["name"]) and not variable["name"].endswith("_FILE"):
                    assert "secretKeyRef" in variable["valueFrom"], (name_of(item), variable)


def test_every_secret_file_that_is_named_is_mounted(rendered: list[Object]) -> None:
    data = of_kind(rendered, "ConfigMap")
    for item, pod in pods(rendered):
        keys = {
            entry["path"]
            for volume in pod["spec"]["volumes"]
            for entry in volume.get("secret", {}).get("items", [])
        }
        for each in containers(pod):
            env = {one["name"]: one.get("value", "") for one in each.get("env", [])}
            for source in each.get("envFrom", []):
                env |= data[source["configMapRef"]["name"]]["data"]
            files = {value for name, value in env.items() if name.endswith("_FILE")}
            assert {Path(value).name for value in files} <= keys, name_of(item)
            if each["name"] == "nginx":
                door = any(volume["name"] == "door" for volume in pod["spec"]["volumes"])
                assert files == ({"/run/secrets/mautic/door_password"} if door else set())


def test_only_the_migration_sees_the_administrators_password(chart: Chart) -> None:
    sees = {
        component_of(item)
        for item, pod in pods(chart.objects(EVERYTHING))
        if "admin_password" in json.dumps(pod)
    }
    assert sees == {"migrate"}


# -- names and labels ------------------------------------------------------------------------------

RELEASES = [
    "m",
    RELEASE,
    "mautic-" + "a" * 39 + "b",
    f"{'m' * 40}-{'x' * (RELEASE_MAX - 41)}",
    "x" * 53,
    # Helm takes dots in a release, and hyphens wherever it is cut.
    "a.b",
    "a-" * 26 + "a",
    "a." * 26 + "a",
]
LONGEST = "x" * 30
LONGEST_NAMES: Values = {
    "workers": {LONGEST: {"queues": ["failed"]}},
    "crons": {"jobs": {LONGEST: {"schedule": "@daily", "command": ["about"]}}},
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("values", [EVERYTHING, INGRESS], ids=["everything", "ingress"])
def test_every_name_is_one_that_the_api_takes(chart: Chart, release: str, values: Values) -> None:
    objects = chart.objects(overlay(values, LONGEST_NAMES), release=release)
    assert [fault for item in objects for fault in faults(item)] == []
    seen = {(item["kind"], name_of(item)) for item in objects}
    assert len(seen) == len(objects)


@pytest.mark.parametrize("release", ["mautic-feature-x", "x" * RELEASE_MAX])
def test_the_suite_finds_the_service_of_its_longest_release(chart: Chart, release: str) -> None:
    objects = chart.objects(EVERYTHING, release=release)
    assert name_of(only(objects, "Service", "web")) == f"{release}-web"


def test_names_that_are_in_use_never_change(chart: Chart) -> None:
    release = "mautic-release-2026-11-yyyyyyyyyyyyyyyyy-935a93"
    objects = chart.objects(EVERYTHING, release=release)
    named = {(item["kind"], name_of(item)) for item in objects}
    assert named >= {
        ("Service", f"{release}-web"),
        ("Deployment", f"{release}-web"),
        ("Deployment", "mautic-release-2026-11-yyyyyyyyy-e240cb-worker-email"),
        ("StatefulSet", "mautic-release-2026-11-yyyyyyyyyyyyyyyy-e240cb-mysql"),
        ("CronJob", "mautic-release-2026-11-y-e240cb-cron-segments-update"),
        ("Job", "mautic-release-2026-11-yyyyyyyyyyyyyy-e240cb-migrate"),
    }


def test_what_a_workload_is_shows_though_its_name_is_cut(chart: Chart) -> None:
    objects = chart.objects(EVERYTHING, release="x" * RELEASE_MAX)
    kinds = {"Deployment", "StatefulSet", "CronJob"}
    told = {service_of(item["metadata"]) for item in objects if item["kind"] in kinds}
    assert told >= {"web", "mysql", "redis", "worker-email", "cron-segments-update"}
    for item in objects:
        if item["kind"] in kinds:
            assert name_of(item).endswith(f"-{service_of(item['metadata'])}")


def test_a_dot_in_a_release_makes_no_two_names_alike(chart: Chart) -> None:
    names = [
        {name_of(item) for item in chart.objects(EVERYTHING, release=release)}
        for release in ("a.b", "a-b")
    ]
    assert names[0].isdisjoint(names[1])


def test_the_label_of_the_chart_takes_any_version(chart: Chart, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "chart")
    file = tmp_path / "chart" / "Chart.yaml"
    version = f"1.2.3-{'pre.' * 12}4+build.5"
    file.write_text(re.sub(r"(?m)^version: .*$", f"version: {version}", file.read_text()))
    objects = chart.objects(EVERYTHING, chart=tmp_path / "chart")
    assert [fault for item in objects for fault in faults(item)] == []


def test_cut_names_of_two_releases_differ(chart: Chart) -> None:
    one = chart.objects(EVERYTHING, release="x" * 52 + "a")
    other = chart.objects(EVERYTHING, release="x" * 52 + "b")
    assert {name_of(item) for item in one}.isdisjoint(name_of(item) for item in other)


def test_every_object_carries_the_standard_labels(rendered: list[Object]) -> None:
    for item in rendered:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "mautic"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/component"]
        assert item["metadata"]["namespace"] == "feature-x"


def test_selectors_are_the_ones_of_the_first_version(chart: Chart) -> None:
    """A Deployment's selector cannot be changed: what stands here must stay."""
    common = {"app.kubernetes.io/name": "mautic", "app.kubernetes.io/instance": RELEASE}
    found = {
        name_of(item): item["spec"]["selector"]["matchLabels"]
        for item in chart.objects(EVERYTHING)
        if item["kind"] in {"Deployment", "StatefulSet"}
    }
    component, worker = "app.kubernetes.io/component", "mautic-multidev.io/worker"
    assert found == {
        f"{RELEASE}-web": common | {component: "web"},
        f"{RELEASE}-redis": common | {component: "redis"},
        f"{RELEASE}-mysql": common | {component: "mysql"},
        f"{RELEASE}-worker-email": common | {component: "worker", worker: "email"},
        f"{RELEASE}-worker-hit": common | {component: "worker", worker: "hit"},
        f"{RELEASE}-worker-failed": common | {component: "worker", worker: "failed"},
    }


def test_another_version_of_the_chart_restarts_nothing(chart: Chart, tmp_path: Path) -> None:
    newer = tmp_path / "mautic"
    shutil.copytree(CHART, newer)
    text = (newer / "Chart.yaml").read_text()
    changed = re.sub(r"^(version|appVersion): .*$", r'\1: "9.9.9"', text, flags=re.MULTILINE)
    (newer / "Chart.yaml").write_text(changed)
    old = chart.objects(EVERYTHING)
    new = chart.objects(EVERYTHING, chart=newer)
    assert new != old
    assert [template_of(item) for item in new] == [template_of(item) for item in old]


def test_selectors_select_their_own_pods_only(rendered: list[Object]) -> None:
    labels = {name_of(item): pod["metadata"]["labels"] for item, pod in pods(rendered)}
    for item in rendered:
        if item["kind"] in {"Deployment", "StatefulSet"}:
            selector = item["spec"]["selector"]
            assert [name for name in labels if selects(selector, labels[name])] == [name_of(item)]
        if item["kind"] in {"Service", "PodDisruptionBudget"}:
            selector = item["spec"]["selector"]
            flat = selector if item["kind"] == "PodDisruptionBudget" else {"matchLabels": selector}
            assert [name for name in labels if selects(flat, labels[name])] == [name_of(item)]


# -- network ---------------------------------------------------------------------------------------


def allowed(objects: list[Object], direction: str) -> dict[str, set[tuple[str, str]]]:
    """Who may talk to whom: component -> {(peer, port)} in one direction ("ingress", "egress")."""
    workloads = {component_of(item): pod["metadata"]["labels"] for item, pod in pods(objects)}
    result: dict[str, set[tuple[str, str]]] = {}
    for policy in of_kind(objects, "NetworkPolicy").values():
        spec = policy["spec"]
        assert direction not in spec or direction.capitalize() in spec["policyTypes"]
        if direction.capitalize() not in spec["policyTypes"]:
            continue
        for component, labels in workloads.items():
            if selects(spec["podSelector"], labels):
                result.setdefault(component, set()).update(
                    (peer, f"{port['protocol']}/{port['port']}")
                    for rule in spec.get(direction, [])
                    for port in rule["ports"]
                    for each in rule[{"ingress": "from", "egress": "to"}[direction]]
                    for peer in peers(each, workloads)
                )
    return result


def peers(peer: Object, workloads: dict[str, dict[str, str]]) -> set[str]:
    if "ipBlock" in peer:
        left_out = "".join(f" but {cidr}" for cidr in peer["ipBlock"].get("except", []))
        return {peer["ipBlock"]["cidr"] + left_out}
    if "namespaceSelector" in peer:
        (rule,) = peer["namespaceSelector"]["matchExpressions"]
        assert (rule["key"], rule["operator"]) == ("kubernetes.io/metadata.name", "In")
        return {f"namespace {name}" for name in rule["values"]}
    return {name for name, labels in workloads.items() if selects(peer["podSelector"], labels)}


DNS = {("namespace kube-system", "UDP/53"), ("namespace kube-system", "TCP/53")}
PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
OPEN = " but ".join(("0.0.0.0/0", *PRIVATE))
INTERNET = {(OPEN, f"TCP/{port}") for port in (443, 465, 587)}
DATABASE = {("10.1.52.0/24", "TCP/3306")}


def test_only_the_gateway_reaches_the_site(chart: Chart) -> None:
    assert allowed(chart.objects(GATEWAY), "ingress") == {
        "web": {
            (peer, port)
            for peer in ("namespace gateway", "10.1.0.0/16")
            for port in ("TCP/8080", "TCP/8081")
        },
        **{name: set() for name in ("worker", "cron", "migrate")},
    }


def test_mautic_reaches_what_it_needs(chart: Chart) -> None:
    expected = dict.fromkeys(("web", "worker", "cron", "migrate"), DNS | DATABASE)
    assert allowed(chart.objects(), "egress") == expected
    catches = {name: peers | {("mail", "TCP/1025")} for name, peers in expected.items()}
    assert allowed(chart.objects(environment="dev"), "egress") == {**catches, "mail": set()}


def test_production_reaches_the_internet_and_no_private_or_link_local_address(
    chart: Chart,
) -> None:
    assert allowed(chart.objects(PROD, environment="prod"), "egress")["web"] == (
        DNS | DATABASE | INTERNET | {("redis", "TCP/6379")}
    )


def test_what_is_left_out_of_the_internet_cannot_be_shortened(chart: Chart) -> None:
    given = {"internet": {"enabled": True, "ports": [443], "except": ["203.0.113.0/24"]}}
    egress = allowed(chart.objects({"networkPolicy": given}), "egress")["web"]
    assert egress - DNS - DATABASE == {(f"{OPEN} but 203.0.113.0/24", "TCP/443")}


def test_a_server_with_an_address_needs_no_network(chart: Chart) -> None:
    given: Values = {
        "database": {"host": "10.7.0.5"},
        "sessions": {"handler": "redis"},
        "redis": {"host": "10.7.0.6"},
        "networkPolicy": {"database": {"cidrs": []}},
    }
    assert allowed(chart.objects(given), "egress")["web"] - DNS == {
        ("10.7.0.5/32", "TCP/3306"),
        ("10.7.0.6/32", "TCP/6379"),
    }


def test_services_of_the_release_are_reached_by_mautic_only(chart: Chart) -> None:
    objects = chart.objects(overlay(MYSQL, REDIS))
    mautic = {"web", "worker", "cron", "migrate"}
    ingress = allowed(objects, "ingress")
    assert ingress["mysql"] == {(name, "TCP/3306") for name in mautic}
    assert ingress["redis"] == {(name, "TCP/6379") for name in mautic}
    egress = allowed(objects, "egress")
    assert egress["mysql"] == egress["redis"] == set()
    reach = DNS | {("mysql", "TCP/3306"), ("redis", "TCP/6379")}
    assert {name: egress[name] for name in mautic} == dict.fromkeys(mautic, reach)


def test_a_catcher_is_written_to_by_mautic_shown_by_nginx_and_reaches_nobody(chart: Chart) -> None:
    mautic = {"web", "worker", "cron", "migrate"}
    for door in (True, False):
        given = overlay(CATCHER, {} if door else {"door": {"passwordKey": ""}})
        objects = chart.objects(given)
        reading = {("web", "TCP/8025")} if door else set()
        assert allowed(objects, "ingress")["mail"] == reading | {
            (name, "TCP/1025") for name in mautic
        }
        egress = allowed(objects, "egress")
        assert egress["mail"] == set()
        for name in mautic:
            shown = {("mail", "TCP/8025")} if door and name == "web" else set()
            assert egress[name] - DNS - DATABASE == {("mail", "TCP/1025")} | shown


def test_whoever_catches_its_mail_reaches_no_mail_server(chart: Chart) -> None:
    internet = {"enabled": True, "ports": [25, 443, 465, 587, 2525]}
    opened: Values = {"networkPolicy": {"internet": internet}}
    egress = allowed(chart.objects(overlay(CATCHER, opened)), "egress")["worker"]
    assert egress - DNS - DATABASE == {("mail", "TCP/1025"), (OPEN, "TCP/443")}
    # Nothing left is nothing open.
    alone: Values = {"networkPolicy": {"internet": {"enabled": True, "ports": [587]}}}
    egress = allowed(chart.objects(overlay(CATCHER, alone)), "egress")["worker"]
    assert egress - DNS - DATABASE == {("mail", "TCP/1025")}
    egress = allowed(chart.objects(alone), "egress")["worker"]
    assert egress - DNS - DATABASE == {(OPEN, "TCP/587")}


def test_the_network_can_be_opened_and_closed_further(chart: Chart) -> None:
    egress = allowed(chart.objects(OUTSIDE), "egress")["web"]
    assert not {peer for peer, _ in egress if peer.startswith("0.0.0.0/0")}
    assert ("169.254.20.10/32", "UDP/53") in egress
    assert ("namespace cache", "TCP/6379") in egress
    extra = allowed(chart.objects(EVERYTHING), "egress")["web"]
    assert {("169.254.170.23/32", "TCP/80"), ("10.9.0.25/32", "TCP/25")} <= extra


def test_policies_can_be_left_out(chart: Chart) -> None:
    objects = chart.objects({"networkPolicy": {"enabled": False}})
    assert not of_kind(objects, "NetworkPolicy")


# -- mail ------------------------------------------------------------------------------------------


def mailers(objects: list[Object]) -> dict[str, set[str]]:
    """Return where each component's Mautic sends mail: the variable's value, or its file."""
    found: dict[str, set[str]] = {}
    for item, template in pods(objects):
        for container in containers(template):
            given = dict(variables(container, objects))
            if "MAUTIC_SITE_URL" in given and container["name"] != "wait-for-migration":
                names = ("MAUTIC_MAILER_DSN", "MAUTIC_MAILER_DSN_FILE")
                told = {given[name] for name in names if name in given}
                found.setdefault(component_of(item), set()).update(told)
    return found


@pytest.mark.parametrize("values", [CATCHER, overlay(POD, CATCHER), overlay(MYSQL, CATCHER)])
def test_everything_that_mautic_sends_is_caught(chart: Chart, values: Values) -> None:
    objects = chart.objects(values)
    own = {f"smtp://{RELEASE}-mail:1025"}
    assert mailers(objects) == dict.fromkeys(("web", "worker", "cron", "migrate"), own)
    ports = {
        each["name"]: each["port"] for each in only(objects, "Service", "mail")["spec"]["ports"]
    }
    assert ports == {"smtp": 1025, "http": 8025}
    (catcher,) = containers(only(objects, "Deployment", "mail")["spec"]["template"])
    told = {each["name"]: each["value"] for each in catcher["env"]}
    assert (told["MP_WEBROOT"], told["MP_MAX_MESSAGES"]) == (MAIL_PATH, "500")
    assert not [name for name in told if re.search("RELAY|FORWARD|WEBHOOK|CORS", name)]
    nginx, _ = (
        each
        for each in containers(only(objects, "Deployment", "web")["spec"]["template"])
        if each["name"] != "wait-for-migration"
    )
    shown = {each["name"]: each["value"] for each in nginx["env"]}
    assert shown["NGINX_MAIL_ADDRESS"] == f"{RELEASE}-mail:8025"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, set()),
        (PROD, set()),
        (
            {"secret": {"files": {"MAUTIC_MAILER_DSN": "mailer_dsn"}}},
            {"/run/secrets/mautic/mailer_dsn"},
        ),
    ],
)
def test_without_a_catcher_mail_goes_where_the_secret_says(
    chart: Chart, values: Values, told: set[str]
) -> None:
    enabled = CATCHER if told else {}
    environment = "prod" if values is PROD else None
    objects = chart.objects(overlay(enabled, values), environment=environment)
    assert mailers(objects) == dict.fromkeys(("web", "worker", "cron", "migrate"), told)
    for kind in ("Deployment", "Service", "NetworkPolicy"):
        assert not [name for name in of_kind(objects, kind) if name.endswith("-mail")]
    assert "NGINX_MAIL_ADDRESS" not in json.dumps(objects)


def test_the_chart_and_the_suite_mean_the_same_by_a_catcher(chart: Chart) -> None:
    for enabled in (True, False):
        for files in ({"MAUTIC_MAILER_DSN": "mailer_dsn"}, {}):
            given: Values = {
                "mail": {"catcher": {"enabled": enabled}},
                "secret": {"files": files},
            }
            made = f"{RELEASE}-mail" in of_kind(chart.objects(given), "Deployment")
            assert catches_mail(overlay(DEFAULTS, given)) is made


def test_a_catcher_without_a_door_is_shown_to_nobody(chart: Chart) -> None:
    for door in ({"passwordKey": ""}, OIDC["door"] | {"passwordKey": ""}):
        objects = chart.objects(overlay(overlay(OIDC, CATCHER), {"door": door}))
        assert of_kind(objects, "Deployment")[f"{RELEASE}-mail"]
        assert "NGINX_MAIL_ADDRESS" not in json.dumps(objects)


# -- storage ---------------------------------------------------------------------------------------


def test_the_media_claim_is_as_told(chart: Chart) -> None:
    media = {"storageClass": "efs", "accessMode": "ReadWriteOnce", "size": "7Gi", "keep": True}
    claim = only(chart.objects({"media": media}), "PersistentVolumeClaim", "media")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "efs",
        "resources": {"requests": {"storage": "7Gi"}},
    }
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    plain = only(chart.objects(), "PersistentVolumeClaim", "media")
    assert plain["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "storageClassName" not in plain["spec"]
    assert "annotations" not in plain["metadata"]


@pytest.mark.parametrize("combination", GRID)
def test_a_new_web_pod_knows_the_sessions_of_the_last_one(chart: Chart, combination: str) -> None:
    """In Redis, or on the volume that outlives pods: an update logs nobody out."""
    values, options = GRID[combination]
    objects = chart.objects(values, **options)
    for item, template in pods(objects):
        volumes = {each["name"]: each for each in template["spec"].get("volumes", [])}
        for container in containers(template):
            found = dict(variables(container, objects))
            path = found.get("PHP_SESSION_SAVE_PATH", "")
            mounted = {each["mountPath"]: each for each in container.get("volumeMounts", [])}
            if container["name"] != "fpm":
                assert not path, (name_of(item), container["name"])
                assert "/var/www/html/var/sessions" not in mounted
            elif found.get("PHP_SESSION_SAVE_HANDLER") == "redis":
                assert path.startswith(("tcp://", "tls://"))
            else:
                assert "persistentVolumeClaim" in volumes[mounted[path]["name"]]
                assert mounted[path]["subPath"] == "sessions"
                # What is uploaded lies beside it, and is served.
                assert [each.get("subPath") for each in mounted.values()].count("sessions") == 1


SECRETIVE = re.compile("PASSWORD|SECRET|TOKEN|DSN")
"""Names that values may not give variables."""


def variables(container: Object, objects: list[Object]) -> Iterator[tuple[str, str]]:
    """Yield a container's variables; of one name the last one counts (Kubernetes API, EnvVar)."""
    for source in container.get("envFrom", []):
        yield from of_kind(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"].items()
    for each in container.get("env", []):
        yield each["name"], each.get("value", "")


@pytest.mark.parametrize("combination", [name for name in GRID if name != "sleeping"])
def test_a_variable_of_the_values_wins_and_no_container_has_one_twice(
    chart: Chart, combination: str
) -> None:
    values, options = GRID[combination]
    # Every variable that any container has, set by every key that sets variables.
    own = {
        each["name"]
        for given, more in (GRID[combination], GRID["everything"], GRID["pod"], GRID["outside"])
        for _, template in pods(chart.objects(given, **more))
        for container in containers(template)
        for each in container.get("env", [])
        if not SECRETIVE.search(each["name"])
    }
    files = {"secret": {"files": {"MAUTIC_BOTH": "one"}, "migrateFiles": {"MAUTIC_BOTH": "two"}}}
    own -= {name for name, rule in RULES.items() if "value" in rule}
    mine = {name: VALID.get(RULES.get(name, {}).get("pattern"), "mine") for name in own}
    for where in ("env", "fpm", "nginx"):
        change = {"env": mine} if where == "env" else {"web": {where: {"env": mine}}}
        objects = chart.objects(overlay(values, overlay(files, change)), **options)
        for item, template in pods(objects):
            for container in containers(template):
                names = [each["name"] for each in container.get("env", [])]
                assert len(names) == len(set(names)), (name_of(item), container["name"], names)
                found = dict(variables(container, objects))
                if where == container["name"] or (where == "env" and "MAUTIC_SITE_URL" in found):
                    # php-fpm's own variables are the values' as well.
                    given = {name for name in own & set(found) if not name.startswith("FPM_")}
                    assert {name: found[name] for name in given} == {n: mine[n] for n in given}
    migrate = containers(only(objects, "Job", "migrate")["spec"]["template"])[0]
    assert dict(variables(migrate, objects))["MAUTIC_BOTH_FILE"] == "/run/secrets/mautic/two"


@pytest.mark.parametrize("values", [{}, EVERYTHING, INGRESS, POD, OUTSIDE, OIDC])
def test_a_deploy_asks_for_the_rights_to_what_the_chart_makes(chart: Chart, values: Values) -> None:
    asked = set(needed(overlay(DEFAULTS, overlay(REQUIRED, values))))
    made = {item["kind"] for item in chart.objects(values)}
    # Helm asks of a hook's Job by watching it.
    verbs = ("create", "patch", "delete")
    assert {(verb, kind) for kind in made for verb in verbs} <= asked
    if values is EVERYTHING:
        assert ("create", "Ingress") not in asked


@pytest.mark.parametrize(("keep", "policy"), [(False, "Delete"), (True, "Retain")])
def test_the_databases_volume_goes_or_stays(chart: Chart, keep: bool, policy: str) -> None:
    objects = chart.objects(overlay(MYSQL, {"mysql": {"keep": keep}}))
    spec = only(objects, "StatefulSet", "mysql")["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == policy
    config = only(objects, "ConfigMap", "config")["data"]
    assert config["MAUTIC_DB_HOST"] == spec["serviceName"] == f"{RELEASE}-mysql"


def test_a_branchs_database_is_run_as_compose_runs_it(chart: Chart) -> None:
    """Neither keeps a binary log, which would be synced with every commit and read by nobody."""
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    switches = {each for each in compose["services"]["database"]["command"] if "=$" not in each}
    spec = only(chart.objects(MYSQL), "StatefulSet", "mysql")["spec"]
    args = containers(spec["template"])[0]["args"]
    # 64M is the default of MySQL, and of the stand-in.
    assert switches - {"--max-allowed-packet=64M"} == set(args)
    assert "--skip-log-bin" in args


# -- wrong values ----------------------------------------------------------------------------------

WRONG: list[tuple[Values, str]] = [
    ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    ({"web": {"replica": 2}}, "'/web': additional properties 'replica' not allowed"),
    ({"web": {"replicas": 0}}, "'/web/replicas'"),
    ({"web": {"replicas": "two"}}, "'/web/replicas'"),
    ({"web": {"drainSeconds": 36}}, "web.terminationGracePeriodSeconds:"),
    ({"web": {"maxSurge": 0}}, "web.maxSurge:"),
    ({"web": {"readiness": {"path": "s/login"}}}, "'/web/readiness/path'"),
    ({"web": {"nginx": {"trustedProxies": ["10.0.0.1"]}}}, "'/web/nginx/trustedProxies/0'"),
    ({"web": {"fpm": {"env": {"FPM_MAX_CHILDREN": 8}}}}, "'/web/fpm/env/FPM_MAX_CHILDREN'"),
    ({"web": {"fpm": {"resources": {"limits": {"gpu": "1"}}}}}, "'/web/fpm/resources/limits'"),
    ({"web": {"podLabels": {"app.kubernetes.io/name": "x"}}}, "web.podLabels.app.kubernetes.io/"),
    ({"images": {"mautic": "mautic:latest"}}, "'/images/mautic'"),
    ({"images": {"nginx": "nginx@sha256:abc"}}, "'/images/nginx'"),
    ({"images": {"pullPolicy": "Sometimes"}}, "'/images/pullPolicy'"),
    ({"site": {"url": "feature-x.example.com"}}, "'/site/url'"),
    ({"site": {"url": "https://feature-x.example.com/"}}, "'/site/url'"),
    ({"site": {"adminEmail": "nobody"}}, "'/site/adminEmail'"),
    ({"database": {"host": ""}}, "database.host:"),
    ({"database": {"name": "a-b"}}, "'/database/name'"),
    ({"database": {"port": 0}}, "'/database/port'"),
    ({"database": {"password": "x"}}, "'/database': additional properties 'password'"),
    ({"secret": {"name": "Not_A_Name"}}, "'/secret/name'"),
    ({"secret": {"files": {"MAUTIC_DB_PASSWORD": "a/b"}}}, "'/secret/files/MAUTIC_DB_PASSWORD'"),
    ({"env": {"MAUTIC_MAILER_DSN": "smtp://u:p@mail"}}, "env.MAUTIC_MAILER_DSN:"),
    ({"database": {"host": "db.example.com:3307"}}, "'/database/host'"),
    ({"database": {"host": "tcp://db.example.com"}}, "'/database/host'"),
    ({"database": {"host": "10.0.0.1:3306"}}, "'/database/host'"),
    ({"database": {"tlsCa": "config/ca.pem"}}, "'/database/tlsCa'"),
    (overlay(MYSQL, {"database": {"tlsCa": "/ca.pem"}}), "database.tlsCa: must be empty when my"),
    (
        {"database": {"tlsCa": "/ca.pem"}, "secret": {"files": {"MAUTIC_DB_TLS_CA": "ca"}}},
        "database.tlsCa: must be empty when secret",
    ),
    ({"env": {"MAUTIC_DB_NAME": "x"}}, "env.MAUTIC_DB_NAME: has a value of its own, database.name"),
    ({"env": {"MAUTIC_DB_DATABASE_FILE": "/x"}}, "value of its own, database.name"),
    ({"env": {"MAUTIC_SITE_URL": "http://x"}}, "value of its own, site.url"),
    ({"env": {"MAUTIC_CACHE_PATH": "/x"}}, "env.MAUTIC_CACHE_PATH: is the image's own"),
    ({"env": {"MAUTIC_DEFAULT_TIMEZONE": "+01:00"}}, "env.MAUTIC_DEFAULT_TIMEZONE: must be a time"),
    ({"env": {"MAUTIC_MIGRATE_WAIT": "2m"}}, "env.MAUTIC_MIGRATE_WAIT: must be a whole number"),
    ({"web": {"fpm": {"env": {"FPM_PM": ""}}}}, "web.fpm.env.FPM_PM: must be static, dynamic"),
    ({"secret": {"files": {"MAUTIC_DB_USER": "u"}}}, "value of its own, database.user"),
    ({"secret": {"migrateFiles": {"FPM_PM": "u"}}}, "secret.migrateFiles.FPM_PM: is not read from"),
    ({"env": {"lower": "x"}}, "'/env': additional properties 'lower'"),
    ({"workers": {"email": {"queues": []}}}, "'/workers/email/queues'"),
    ({"workers": {"new": {"replicas": 1}}}, "workers.new.queues:"),
    ({"workers": {"E_mail": {"queues": ["email"]}}}, "'/workers': additional properties 'E_mail'"),
    ({"crons": {"jobs": {"import": {"schedule": "daily"}}}}, "'/crons/jobs/import/schedule'"),
    ({"crons": {"jobs": {"new": {"command": ["x"]}}}}, "crons.jobs.new.schedule:"),
    ({"crons": {"jobs": {"new": {"schedule": "@daily"}}}}, "crons.jobs.new.command:"),
    ({"crons": {"suspended": True}}, "'/crons': additional properties 'suspended'"),
    ({"cronDefaults": {"activeDeadlineSeconds": 1}}, "'/cronDefaults/activeDeadlineSeconds'"),
    ({"media": {"accessMode": "ReadOnlyMany"}}, "'/media/accessMode'"),
    ({"media": {"size": "5GB"}}, "'/media/size'"),
    ({"scratch": {"cache": "lots"}}, "'/scratch/cache'"),
    ({"web": {"replicas": 2}}, "sessions.handler: must be redis when several web pods run"),
    ({"sessions": {"handler": "memcached"}}, "'/sessions/handler'"),
    ({"sessions": {"handler": "redis"}}, "sessions.handler: redis needs"),
    ({"redis": {"enabled": True}}, "images.redis:"),
    ({"mail": {"catcher": {"maxMessages": 0}}}, "'/mail/catcher/maxMessages'"),
    ({"mail": {"catcher": {"relay": "smtp.example.com"}}}, "'/mail/catcher'"),
    (overlay(REDIS, {"redis": {"host": "r"}}), "redis.host:"),
    (overlay(REDIS, {"redis": {"tls": True}}), "redis.tls:"),
    (overlay(MYSQL, {"database": {"host": "db"}}), "database.host:"),
    (overlay(MYSQL, {"database": {"port": 3307}}), "database.port:"),
    (overlay(MYSQL, {"mysql": {"passwordKey": "other"}}), "mysql.passwordKey:"),
    ({"mysql": {"enabled": True}, "database": {"host": ""}}, "images.mysql:"),
    ({"route": {"kind": "loadbalancer"}}, "'/route/kind'"),
    ({"route": {"kind": "httproute"}}, "route.gateway.name:"),
    ({"route": {"kind": "ingress"}}, "networkPolicy.gateway:"),
    (overlay(OIDC, {"door": {"oidc": {"domain": ""}}}), "door.oidc: needs"),
    (overlay(OIDC, {"door": {"passwordKey": "x"}}), "door.passwordKey: must be empty"),
    (overlay(OIDC, {"route": {"kind": "ingress"}}), "route.kind: must be httproute"),
    (overlay(OIDC, {"route": {"kind": "none"}}), "route.kind: must be httproute"),
    (OIDC | GATEWAY, "route.gateway.sectionName:"),
    (overlay(OIDC, {"site": {"url": "http://x.example.com"}}), "site.url: must be https"),
    ({"door": {"oidc": {"userPoolArn": "arn:aws:iam::1:role/x"}}}, "'/door/oidc/userPoolArn'"),
    ({"door": {"oidc": {"secret": "x"}}}, "'/door/oidc': additional properties 'secret'"),
    ({"networkPolicy": {"gateway": {"cidrs": ["10.0.0.0"]}}}, "'/networkPolicy/gateway/cidrs/0'"),
    ({"networkPolicy": {"database": {"cidrs": []}}}, "networkPolicy.database: cidrs or"),
    (
        {"sessions": {"handler": "redis"}, "redis": {"host": "r.example.com"}},
        "networkPolicy.redis: cidrs or",
    ),
    ({"networkPolicy": {"database": {"cidrs": ["0.0.0.0/0"]}}}, "networkPolicy.database.cidrs:"),
    ({"networkPolicy": {"dns": {"cidrs": ["::/0"]}}}, "networkPolicy.dns.cidrs:"),
    *(
        ({"networkPolicy": {"extraEgress": [rule]}}, f"networkPolicy.extraEgress[0]: {told}")
        for rule, told in (
            ({"ports": [{"port": 443}]}, "must say to whom"),
            ({"to": [{}]}, "must say to whom"),
            ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, "0.0.0.0/0 is no place"),
            ({"to": [{"ipBlock": {"cidr": "168.0.0.0/5"}}]}, "168.0.0.0/5 is no place"),
            ({"to": [{"ipBlock": {"cidr": "169.0.0.0/8"}}]}, "169.0.0.0/8 has link-local"),
            ({"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}, "169.254.169.254/32 has"),
            ({"to": [{"ipBlock": {"cidr": "FE80::/10"}}]}, "FE80::/10 has link-local"),
        )
    ),
    ({"labels": {"helm.sh/chart": "x"}}, "labels.helm.sh/chart:"),
    ({"quota": {"hard": {"pods": 4}}}, "'/quota/hard/pods'"),
    (
        overlay(REDIS, {"web": {"autoscaling": {"enabled": True, "maxReplicas": 1}}}),
        "web.autoscaling.minReplicas:",
    ),
]


@pytest.mark.parametrize(("values", "told"), WRONG, ids=[told for _, told in WRONG])
def test_wrong_values_are_refused_and_named(chart: Chart, values: Values, told: str) -> None:
    assert told in chart.refusal(values)


def test_the_rules_of_variables_are_the_images_and_the_schemas_and_the_settings() -> None:
    assert (CHART / "variables.json").read_bytes() == (
        ROOT / "docker" / "mautic" / "php" / "variables.json"
    ).read_bytes()
    host = RULES["MAUTIC_DB_HOST"]["pattern"]
    assert SCHEMA["properties"]["database"]["properties"]["host"]["pattern"] == f"^$|{host}"
    assert host == DATABASE_HOST


@pytest.mark.parametrize(
    "host", ["db", "db-1.example.com.", "10.0.0.1", "[2001:db8::1]", "my_sql", "a.b.c"]
)
def test_a_databases_host_may_be_a_name_or_an_address(chart: Chart, host: str) -> None:
    config = only(chart.objects({"database": {"host": host}}), "ConfigMap", "config")["data"]
    assert config["MAUTIC_DB_HOST"] == host


@pytest.mark.parametrize(
    ("values", "file"),
    [
        ({"database": {"tlsCa": "/var/www/html/config/ca.pem"}}, "/var/www/html/config/ca.pem"),
        ({"secret": {"files": {"MAUTIC_DB_TLS_CA": "ca"}}}, "/run/secrets/mautic/ca"),
    ],
)
def test_everything_that_speaks_to_the_database_is_told_the_authority(
    chart: Chart, values: Values, file: str
) -> None:
    objects = chart.objects(values)
    found = {
        (component_of(item), dict(variables(container, objects)).get("MAUTIC_DB_TLS_CA_FILE"))
        for item, template in pods(objects)
        for container in containers(template)
        if container["image"] == image("mautic")
    }
    assert found == {(part, file) for part in ("web", "worker", "cron", "migrate")}


def test_missing_values_are_all_named(chart: Chart) -> None:
    said = chart.refusal({}, required=False)
    for told in ("'mautic', 'nginx'", "'/site': missing property 'url'", "'/secret': missing"):
        assert told in said


def test_a_catcher_needs_its_image(chart: Chart) -> None:
    images = {name: image(name) for name in ("mautic", "nginx")}
    given = {**overlay(REQUIRED, CATCHER), "images": images}
    assert "images.mail: must be given" in chart.refusal(given, required=False)


def test_contradictions_are_told_together(chart: Chart) -> None:
    said = chart.refusal({"web": {"replicas": 3, "maxSurge": 0}, "route": {"kind": "httproute"}})
    for told in ("sessions.handler:", "web.maxSurge:", "route.gateway.name:"):
        assert told in said


FREE = {
    *("labels", "annotations", "web.podLabels", "web.podAnnotations"),
    *("service.annotations", "route.annotations", "serviceAccount.annotations"),
    *("quota.hard", "scheduling.nodeSelector", "scheduling.affinity"),
    # Lists of the API's own objects.
    *("networkPolicy.extraEgress[]", "scheduling.tolerations[]"),
}


def test_no_object_of_the_schema_is_open_by_accident() -> None:
    def resolve(part: Values) -> Values:
        named = part.get("$ref", "").removeprefix("#/$defs/")
        return {**SCHEMA["$defs"][named], **part} if named else part

    def walk(part: Values, key: str) -> None:
        part = resolve(part)
        if part["type"] == "array":
            walk(part["items"], f"{key}[]")
        if part["type"] == "object":
            if part.get("additionalProperties") is not False:
                opened.add(key)
            inner = {**part.get("properties", {}), **part.get("patternProperties", {})}
            for name, each in inner.items():
                walk(each, f"{key}.{name}".lstrip("."))

    opened: set[str] = set()
    walk(SCHEMA, "")
    assert opened == FREE


# -- the page --------------------------------------------------------------------------------------


def test_the_page_of_values_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "helm" / "reference.py")
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    current = (ROOT / "docs" / "chart.md").read_text()
    assert reference.page(current, SCHEMA, DEFAULTS) == current, "run: python helm/reference.py"
    assert "`web.autoscaling.scaleDownSeconds`" in current
    changed = copy.deepcopy(SCHEMA)
    changed["properties"]["site"]["description"] = "Something else."
    assert "Something else." in reference.page(current, changed, DEFAULTS)

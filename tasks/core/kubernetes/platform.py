"""What all environments of one cluster share: derives the charts' values from known facts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.core.cost import Prices
from tasks.core.errors import SettingsError
from tasks.core.images.reference import parse_reference
from tasks.core.kubernetes import entrance
from tasks.core.kubernetes.manifests import POD_SECURITY, PREFIX, DatabaseServer, database_server
from tasks.core.kubernetes.objects import Object, annotations_of
from tasks.core.kubernetes.provisioner import NAME as PROVISIONER
from tasks.core.kubernetes.provisioner import rules_of
from tasks.core.settings import Environment, Settings, naming_rule, same_cluster

RELEASE = "mautic-platform"
CONTROLLER = "aws-load-balancer-controller"
CONTROLLER_NAMESPACE = "kube-system"
"""The namespace that Terraform's role for the controller's service account is bound to."""
EFS_DRIVER = "efs.csi.aws.com"
BUNDLE = "gateway.networking.k8s.io/bundle-version"
"""Annotation of every definition of the Gateway API (its pkg/consts)."""
DEFINITION = "gateways.gateway.networking.k8s.io"
RECORD = f"{PREFIX}platform"

MAUTIC_CONFIG = "/var/www/html/config/"
"""Where docker/mautic/config is in the mautic image."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class EnvironmentChart:
    """What the chart of an environment is made from.

    Attributes:
        files: its values files; the later ones win.
        values: values of the settings, which override them.
    """

    files: tuple[str, ...]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class PlatformInputs:
    """Everything that a cluster's platform depends on; empty values are not used.

    Attributes:
        project: prefix of every name the suite makes.
        namespace: the platform namespace.
        main_environments: environments that jobs of the main branch deploy to in this cluster.
        branch_environments: environments that jobs of other branches deploy to.
        charts: the chart of each of these environments.
        main_group: Kubernetes group of jobs of the main branch.
        branch_group: Kubernetes group of jobs of other branches.
        identity: path of the GitLab project whose jobs the API server knows as users, one per
            branch; empty where it knows the groups alone.
        main_ref: the branch whose jobs are of the main kind, with such users.
        names: ``namespace`` and ``host`` of a branch by environment, as templates with ``{slug}``.
        registries: host and path that images come from, by environment.
        images: repositories of the public images that the chart can use.
        entrance: image of the entrance, by digest; empty for none.
        led: the environments that it leads to.
        prices: what the branches of each of these cost.
        database_host: the database server.
        database_secret: Secret of the platform namespace with the administrator's password; empty
            where the database Job fetches it by itself.
        database_account: account that the database Job runs as.
        database_ca: ``database.tls_ca`` of the environment.
        provisioner: image of the provisioner, by digest; empty for none.
        rules: what the provisioner decides by.
        server: the database server, where there is a provisioner.
        cluster: the EKS cluster's name.
        region: its AWS region.
        vpc_id: its VPC.
        certificate_arn: certificate of the domain and of all names below it.
        storage_classes: storage classes of the EFS driver by name: ``reclaimPolicy``,
            ``parameters`` and ``mountOptions`` of each.
    """

    project: str
    namespace: str
    main_environments: tuple[str, ...] = ()
    branch_environments: tuple[str, ...] = ()
    charts: Mapping[str, EnvironmentChart] = field(default_factory=dict)
    main_group: str = ""
    branch_group: str = ""
    identity: str = ""
    main_ref: str = "main"
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    registries: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    entrance: str = ""
    led: tuple[str, ...] = ()
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    database_host: str = ""
    database_secret: str = ""
    database_account: str = "mautic-database-admin"
    database_ca: str = ""
    provisioner: str = ""
    rules: Mapping[str, Any] = field(default_factory=dict)
    server: DatabaseServer | None = None
    cluster: str = ""
    region: str = ""
    vpc_id: str = ""
    certificate_arn: str = ""
    storage_classes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ca_file(self) -> str:
        """The file with the authorities of the database's certificate, in the provisioner's pod."""
        if self.database_ca.startswith(MAUTIC_CONFIG):
            return "/etc/provisioner/ca.pem"
        return self.database_ca


def inputs_of(
    settings: Settings,
    environment: str,
    parameters: Mapping[str, str],
    seed_key: str = "",
    price: Callable[[Environment], Prices] = lambda own: own.prices.prices(),
) -> PlatformInputs:
    """Return the inputs for the platform of an environment's cluster.

    Args:
        settings: the settings, including the stack's.
        parameters: what the stack's Terraform has published; empty without a stack.
        seed_key: SHA-256 of the key of the seeds that the provisioner loads; empty for none.
        price: returns the prices of an environment, which may stand in price lists.

    Raises:
        SettingsError: a published value cannot be read, or the environments of the cluster
            contradict each other.
    """
    own = settings.environment(environment)
    here = same_cluster(settings, environment)
    platform = settings.platform
    public = (platform.database_image, platform.mail_image, settings.images.redis)
    database = own.database
    return PlatformInputs(
        project=settings.project,
        namespace=own.platform_namespace,
        main_environments=tuple(sorted(here)),
        branch_environments=tuple(
            sorted(name for name, other in here.items() if not other.protected)
        ),
        charts={name: _chart_of(settings, name) for name in here},
        main_group=parameters.get("cluster/groups/main", ""),
        branch_group=parameters.get("cluster/groups/branches", ""),
        identity=parameters.get("cluster/identity/project", ""),
        main_ref=parameters.get("cluster/identity/main-ref", "main"),
        names={
            name: _templates(settings, name)
            for name, other in sorted(here.items())
            if "domain" not in other.gaps
        },
        registries={name: other.registry.url for name, other in here.items() if other.registry.url},
        images=tuple(sorted({parse_reference(image).name for image in public})),
        entrance=entrance.image_of(here),
        led=tuple(
            sorted(
                name
                for name, other in here.items()
                if other.entrance and "domain" not in other.gaps
            )
        ),
        prices={name: asdict(price(other)) for name, other in here.items()},
        database_host=database.host if database else "",
        database_secret=database.admin_secret if database and not database.admin_secret_arn else "",
        database_account=parameters.get("platform/database-account", "mautic-database-admin"),
        database_ca=(database.tls_ca or "") if database else "",
        provisioner=database.provisioner if database else "",
        rules=rules_of(settings, environment, here, seed_key)
        if database and database.provisioner
        else {},
        server=database_server(settings, environment),
        cluster=parameters.get("cluster/name", ""),
        region=parameters.get("region", ""),
        vpc_id=parameters.get("network/vpc-id", ""),
        certificate_arn=parameters.get("dns/certificate-arn", ""),
        storage_classes=_classes(parameters.get("storage/classes", "{}")),
    )


def _templates(settings: Settings, environment: str) -> Mapping[str, str]:
    rule = naming_rule(settings, environment)
    return {
        key: template.replace("{project}", rule.project)
        for key, template in (("namespace", rule.namespace), ("host", rule.host))
    }


def _chart_of(settings: Settings, name: str) -> EnvironmentChart:
    server = database_server(settings, name)
    own = settings.environment(name)
    given = {"database": {"host": server.host, "port": server.port}} if server else {}
    return EnvironmentChart(tuple(own.values), {**given, **entrance.branch_values(own)})


def _classes(text: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        found = json.loads(text)
        return {
            name: {
                "reclaimPolicy": one["reclaimPolicy"],
                "parameters": dict(one["parameters"]),
                # A stack of an older version publishes none.
                "mountOptions": list(one.get("mountOptions", ())),
            }
            for name, one in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"storage/classes of the stack cannot be read: {error!r}",
            hint="it is what terraform/modules/storage publishes: inv infra.apply",
        ) from error


def values(inputs: PlatformInputs) -> dict[str, Any]:
    """Return the values of helm/platform that follow from a cluster's inputs."""
    on_aws = bool(inputs.cluster)
    given: dict[str, Any] = {
        "project": inputs.project,
        "gatewayApi": {"install": on_aws},
        "loadBalancerController": {"install": on_aws},
        "storageClasses": {
            name: {"provisioner": EFS_DRIVER, **one} for name, one in inputs.storage_classes.items()
        },
        "database": {
            "serviceAccount": inputs.database_account,
            "host": inputs.database_host,
        },
        "access": {
            "registries": {name: [url] for name, url in inputs.registries.items()},
            "names": {name: dict(one) for name, one in inputs.names.items()},
            "identity": {"project": inputs.identity, "main": [inputs.main_ref]},
            "main": {
                "group": inputs.main_group,
                "environments": list(inputs.main_environments),
            },
            "branches": {
                "group": inputs.branch_group,
                "environments": list(inputs.branch_environments),
            },
        },
    }
    if inputs.images:
        given["floor"] = {"images": list(inputs.images)}
    if inputs.database_secret:
        given["database"]["adminSecret"] = inputs.database_secret
    if inputs.provisioner:
        given["provisioner"] = {"image": inputs.provisioner, "rules": dict(inputs.rules)}
    if on_aws:
        given["gateway"] = {
            "enabled": True,
            "aws": {"enabled": True, "certificateArn": inputs.certificate_arn},
        }
    return given


def controller_values(inputs: PlatformInputs) -> dict[str, Any]:
    """Return the values of the load balancer controller that only the stack knows."""
    return {"clusterName": inputs.cluster, "region": inputs.region, "vpcId": inputs.vpc_id}


# -- downloads ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UpstreamFile:
    """A third party's file.

    Attributes:
        sha256: its checksum.
    """

    version: str
    url: str
    sha256: str


def upstream(data: Any) -> dict[str, UpstreamFile]:
    """Return the files of helm/platform/upstream.yaml by name.

    Raises:
        SettingsError: the file is not valid.
    """
    try:
        found = {name: UpstreamFile(**one) for name, one in data.items()}
    except (TypeError, AttributeError) as error:
        raise SettingsError(f"helm/platform/upstream.yaml cannot be read: {error}") from error
    for name, one in found.items():
        if not _SHA256.match(str(one.sha256)):
            raise SettingsError(f"helm/platform/upstream.yaml: {name}.sha256 is none")
    return found


def is_older(found: str, wanted: str) -> bool:
    """Return True if one version, such as ``v1.5.0``, is older than another."""

    def numbers(version: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", version)[:3]]

    return numbers(found) < numbers(wanted)


# -- the parts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlatformPart:
    """One object of the platform.

    Attributes:
        title: its description for users.
        namespace: its namespace, or None.
        release: the Helm release that it belongs to, or an empty string.
        remedy: what to do if it is missing.
    """

    title: str
    kind: str
    name: str
    namespace: str | None = None
    release: str = RELEASE
    remedy: str = "inv platform.apply"


POLICIES = (
    "namespaces",
    "bindings",
    "services",
    "networkpolicies",
    "floor-namespaces",
    "workloads",
    "pods",
    "finalizers",
    "disruptionbudgets",
)
ROUTE_POLICIES = ("routes",)
POOL_POLICIES = ("listenerrules",)
JOB_POLICIES = ("secrets", "jobs")
FLOOR_POLICIES = ("floor-objects", "seeds")
PROVISIONER_POLICIES = ("provisioner-secrets", "provisioner-namespaces", "provisioner-floor")
"""The admission policies: of CI jobs always, where the names of environments are known, where user
pools are named, where they run database Jobs, and where the provisioner runs; of the provisioner
itself."""


def platform_parts(merged: Mapping[str, Any], inputs: PlatformInputs) -> list[PlatformPart]:
    """Return the objects that a platform consists of.

    Args:
        merged: the values of helm/platform, including its defaults.
        inputs: the facts about the cluster.
    """
    return [
        *_foundations(merged, inputs),
        *_gateway(merged["gateway"], inputs.namespace),
        *_storage(merged["storageClasses"]),
        *_provisioner(merged["provisioner"], inputs.namespace),
        *_entrance(merged, inputs.namespace),
        *_access(merged, inputs.namespace),
    ]


def _foundations(merged: Mapping[str, Any], inputs: PlatformInputs) -> Iterator[PlatformPart]:
    where = inputs.namespace
    yield PlatformPart("platform namespace", "Namespace", where, release="")
    account = merged["database"]["serviceAccount"]
    yield PlatformPart("account of database Jobs", "ServiceAccount", account, where)
    if merged["networkPolicy"]["enabled"]:
        yield PlatformPart("closed to connections", "NetworkPolicy", RELEASE, where)
    if inputs.database_secret:
        remedy = (
            f"kubectl create secret generic {inputs.database_secret} --namespace {where} "
            "--from-literal=username=admin --from-file=password"
        )
        title = "administrator of the database"
        yield PlatformPart(title, "Secret", inputs.database_secret, where, "", remedy)
    if merged["loadBalancerController"]["install"]:
        title = "load balancer controller"
        yield PlatformPart(title, "Deployment", CONTROLLER, CONTROLLER_NAMESPACE, CONTROLLER)


def _gateway(gateway: Mapping[str, Any], where: str) -> Iterator[PlatformPart]:
    if not gateway["enabled"]:
        return
    name = gateway["name"]
    yield PlatformPart("Gateway API", "CustomResourceDefinition", DEFINITION, release="")
    release = RELEASE if gateway["createClass"] else ""
    yield PlatformPart(
        "class of the Gateway", "GatewayClass", gateway["className"], release=release
    )
    yield PlatformPart("Gateway", "Gateway", name, where)
    if gateway["redirect"]:
        yield PlatformPart("redirect to https", "HTTPRoute", f"{name}-redirect", where)
    if gateway["aws"]["enabled"]:
        yield PlatformPart("its load balancer", "LoadBalancerConfiguration", name, where)
        yield PlatformPart("its targets", "TargetGroupConfiguration", name, where)


def _storage(classes: Mapping[str, Any]) -> Iterator[PlatformPart]:
    for name in classes:
        yield PlatformPart("storage class", "StorageClass", name)
    if any(one["provisioner"] == EFS_DRIVER for one in classes.values()):
        remedy = "the cluster's add-on aws-efs-csi-driver: inv infra.apply"
        yield PlatformPart("EFS driver", "CSIDriver", EFS_DRIVER, None, "", remedy)


def _provisioner(provisioner: Mapping[str, Any], where: str) -> Iterator[PlatformPart]:
    if not provisioner["image"]:
        return
    title = "provisioner of databases"
    yield PlatformPart(title, "Deployment", PROVISIONER, where)
    yield PlatformPart(f"{title}: its database user", "Secret", PROVISIONER, where, "")
    yield PlatformPart(f"{title}: what it decides by", "ConfigMap", PROVISIONER, where)
    yield PlatformPart(f"{title}: its account", "ServiceAccount", PROVISIONER, where)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        yield PlatformPart(f"{title}: its rights", kind, PROVISIONER)
    for kind in ("Role", "RoleBinding"):
        yield PlatformPart(f"{title}: its records", kind, PROVISIONER, where)
    yield from _guards(PROVISIONER_POLICIES)


def _entrance(merged: Mapping[str, Any], where: str) -> Iterator[PlatformPart]:
    own, name = merged["entrance"], entrance.NAME
    if not own["image"]:
        return
    yield PlatformPart("entrance", "Deployment", name, where)
    yield PlatformPart("entrance: its address", "Service", name, where)
    yield PlatformPart("entrance: in a node's drain", "PodDisruptionBudget", name, where)
    yield PlatformPart("entrance: which names lead where", "ConfigMap", name, where)
    yield PlatformPart("entrance: its page's password", "Secret", entrance.PAGE_SECRET, where, "")
    yield PlatformPart("entrance: its account", "ServiceAccount", name, where)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        yield PlatformPart("entrance: its rights", kind, name)
    if merged["networkPolicy"]["enabled"]:
        yield PlatformPart("entrance: open to the gateway", "NetworkPolicy", name, where)
    kinds = {"httproute": "HTTPRoute", "ingress": "Ingress"}
    for environment, site in own["sites"].items():
        if route := kinds.get(site["route"]["kind"]):
            title = f"entrance: the way to {environment}"
            yield PlatformPart(title, route, f"{name}-{environment}", where)
    yield from _guards(entrance.POLICIES)


def _access(merged: Mapping[str, Any], where: str) -> Iterator[PlatformPart]:
    access, has_jobs = merged["access"], not merged["provisioner"]["image"]
    project = access["identity"]["project"]
    members = {
        name: f"{name} of {project}" if project else access[name]["group"]
        for name in ("main", "branches")
        if project or access[name]["group"]
    }
    for name, title in members.items():
        yield PlatformPart(f"rights of {title}", "ClusterRoleBinding", f"mautic-multidev-{name}")
    if not members:
        return
    yield PlatformPart("rights in the cluster", "ClusterRole", "mautic-multidev")
    yield PlatformPart("rights in an environment", "ClusterRole", "mautic-multidev-environment")
    names = ["mautic-multidev"]
    if project:
        for kind in ("ClusterRole", "ClusterRoleBinding"):
            yield PlatformPart("right to see all environments", kind, "mautic-multidev-list")
        names += ["mautic-multidev-jobs"] if has_jobs else []
    title = "rights to database Jobs" if has_jobs else "rights to see the provisioner's records"
    for name in names:
        yield PlatformPart(title, "Role", name, where)
        yield PlatformPart(title, "RoleBinding", name, where)
    routes = ROUTE_POLICIES if access["names"] else ()
    pools = POOL_POLICIES if access["userPools"] else ()
    yield from _guards(
        (*POLICIES, *routes, *pools, *(JOB_POLICIES if has_jobs else FLOOR_POLICIES))
    )


def _guards(names: Sequence[str]) -> Iterator[PlatformPart]:
    for name in names:
        full = f"mautic-multidev-{name}"
        yield PlatformPart(f"guard of {name}", "ValidatingAdmissionPolicy", full)
        yield PlatformPart(f"guard of {name}", "ValidatingAdmissionPolicyBinding", full)


# -- cluster objects ------------------------------------------------------------------------------


def platform_namespace(name: str, record: Mapping[str, str]) -> Object:
    """Return the platform namespace.

    Args:
        record: the fingerprint of each release that was installed successfully.
    """
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                # Not the label of the branches' namespaces: nothing that looks for these, and no
                # route to a branch, may take this one for one of them.
                "app.kubernetes.io/part-of": "mautic-multidev",
                f"{POD_SECURITY}enforce": "restricted",
                f"{POD_SECURITY}warn": "restricted",
            },
            "annotations": {RECORD: json.dumps(dict(record), sort_keys=True)},
        },
    }


def recorded_fingerprints(found: Object | None) -> dict[str, str]:
    """Return the fingerprints in the platform namespace."""
    annotations = annotations_of(found) if found else {}
    record: dict[str, str] = json.loads(annotations.get(RECORD, "{}"))
    return record


def address_of(gateway: Object) -> str:
    """Return the address that a Gateway got, or an empty string."""
    addresses: Sequence[Mapping[str, str]] = gateway.get("status", {}).get("addresses") or ()
    return addresses[0].get("value", "") if addresses else ""


def bundle_of(definition: Object | None) -> str:
    """Return the version of the Gateway API that a definition is of, or an empty string."""
    return annotations_of(definition).get(BUNDLE, "") if definition else ""

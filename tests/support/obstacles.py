"""Obstacles for a deploy, created in the cluster before it by an administrator."""

from __future__ import annotations

import socket
import threading

from tests.support.deploys import COMPONENT, Deploys, Object, until

POD_CREATION = [
    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
]


def refuse_web(deploys: Deploys, branch: str, tag: str) -> None:
    """Make an admission policy refuse the pods that run an image."""
    where = deploys.names(branch).namespace
    image = deploys.image(tag)
    api = "admissionregistration.k8s.io/v1"
    name = f"{where}-no-web"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": where}}
    web = {"matchLabels": {COMPONENT: "web"}}
    policy: Object = {
        "matchConstraints": {
            "resourceRules": POD_CREATION,
            "namespaceSelector": selector,
            "objectSelector": web,
        },
        "validations": [
            {
                "expression": f"!object.spec.containers.exists(c, c.image == '{image}')",
                "message": "no unsigned images",
            }
        ],
    }
    for kind, plural, spec in (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", policy),
        (
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            {"policyName": name, "validationActions": ["Deny"]},
        ),
    ):
        made = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}
        deploys.applied(f"/apis/{api}/{plural}/{name}", made, "test", dry=False)
    path, pod = probe(deploys, where, image)
    until(lambda: "unsigned" in deploys.refusal(path, pod))


def probe(deploys: Deploys, where: str, image: str) -> tuple[str, Object]:
    """Return a web pod that runs an image, and where it would be made."""
    web_pods = deploys.cluster.find("Pod", where, f"{COMPONENT}=web")
    own = web_pods[0]["spec"]
    spec = {"containers": own["containers"], "securityContext": own["securityContext"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": where, "labels": {COMPONENT: "web"}},
        "spec": {**spec, "volumes": own["volumes"]},
    }
    for container in spec["containers"]:
        container["image"] = image
    return f"/api/v1/namespaces/{where}/pods/probe", pod


def fail_web(deploys: Deploys, branch: str, tag: str) -> None:
    """Make the API call a missing webhook for the pods that run an image."""
    where = deploys.names(branch).namespace
    image = deploys.image(tag)
    condition = f"object.spec.containers.exists(c, c.image == '{image}')"
    ask_nobody(
        deploys,
        where,
        {
            "rules": POD_CREATION,
            "objectSelector": {"matchLabels": {COMPONENT: "web"}},
            "matchConditions": [{"name": "image", "expression": condition}],
        },
    )
    path, pod = probe(deploys, where, image)
    until(lambda: "failed calling webhook" in deploys.refusal(path, pod))


def fail_helm(deploys: Deploys, branch: str, tag: str) -> None:
    """Let the API ask a webhook about ConfigMaps that is away until Helm has failed by it."""
    names = deploys.names(branch)
    everything = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    path = ask_nobody(
        deploys, names.namespace, {"rules": [{**everything, "resources": ["configmaps"]}]}
    )
    meta = {"name": "probe", "namespace": names.namespace}
    probe_map: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
    where = f"/api/v1/namespaces/{names.namespace}/configmaps/probe"
    until(lambda: "failed calling webhook" in deploys.refusal(where, probe_map))

    def failed() -> set[str]:
        selector = f"owner=helm,name={names.release},status=failed"
        found = deploys.cluster.find("Secret", names.namespace, selector)
        return {secret["metadata"]["name"] for secret in found}

    before = failed()

    def remove() -> None:
        until(lambda: failed() - before)
        deploys.delete(path)

    threading.Thread(target=remove, daemon=True).start()


def ask_nobody(deploys: Deploys, where: str, about: Object) -> str:
    """Let the API ask a webhook that is not there; return its configuration's path.

    Args:
        where: the namespace whose objects it is asked about.
        about: which ones.
    """
    webhook: Object = {
        "name": "absent.test.mautic-multidev",
        "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": where}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        **about,
    }
    api = "admissionregistration.k8s.io/v1"
    kind, plural = "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"
    name = f"{where}-absent"
    made = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "webhooks": [webhook]}
    path = f"/apis/{api}/{plural}/{name}"
    deploys.applied(path, made, "test", dry=False)
    return path


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def remove_config(deploys: Deploys, branch: str, tag: str) -> None:
    """Delete the release's ConfigMap as soon as it is there with the values of a tag."""
    names = deploys.names(branch)
    name = f"{names.release}-env"

    def is_new() -> bool:
        found = deploys.cluster.get("ConfigMap", name, names.namespace)
        return bool(found and found["data"].get("MAUTIC_ROW") == "config")

    def remove() -> None:
        until(is_new)
        deploys.cluster.delete("ConfigMap", name, names.namespace)

    threading.Thread(target=remove, daemon=True).start()


def storage_class(deploys: Deploys, branch: str, tag: str) -> None:
    """Create a storage class without a provisioner."""
    deploys.cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "unserved"},
            "provisioner": "kubernetes.io/no-provisioner",
        }
    )

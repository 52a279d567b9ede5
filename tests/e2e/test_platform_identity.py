"""Each branch's jobs as a user of their own: what one of them may do to another one's.

A real API server trusts an issuer's tokens as docs/own-cluster.md says, and holds helm/platform.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tasks.core.environment import Owner, State
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.kubernetes.rights import RIGHTS
from tasks.flows.kubernetes.access import grant_access
from tests.support.issuer import PREFIX, PROJECT, Issuer, TrustingPlane, new_key, user_of
from tests.support.kube_cli import ENVIRONMENT, ON, PLATFORM, KubeEnv, kube_environment, with_remote
from tests.support.node import Node
from tests.support.planting import origin
from tests.support.platform import Upstream, definition
from tests.support.suite import commit_all

Object = dict[str, Any]

MINE, OTHER, MAIN = "feature/Mine", "feature/other", "main"
ALIVE, GONE, SHUT = "feature/alive", "feature/gone", "feature/shut"
VALUES = "helm/environments/alone.yaml"
CHART: Object = {
    "web": {"minReadySeconds": 1, "drainSeconds": 1},
    "mysql": {"enabled": True, "size": "1Gi"},
    "images": {"mysql": f"registry.example.com/mysql@sha256:{'d' * 64}"},
    "route": {"kind": "httproute", "gateway": {"name": "mautic", "namespace": PLATFORM}},
    "networkPolicy": {"gateway": {"cidrs": ["10.20.0.0/16"]}},
}
TOKEN = "KUBE_ID_TOKEN"
POOL = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"


class Site:
    """A cluster with the platform, and the tokens of three branches."""

    def __init__(self, env: KubeEnv, plane: TrustingPlane) -> None:
        self.env, self.plane, self.admin = env, plane, env.cluster
        self.jobs = {branch: plane.job(branch) for branch in (MINE, OTHER, MAIN)}
        self.mine, self.other, self.main = (self.jobs[one] for one in (MINE, OTHER, MAIN))
        # What a job's KUBECONFIG holds: where the cluster is, and nobody's credentials.
        config = json.loads(plane.kubeconfig.read_text())
        config["users"], config["contexts"][0]["context"]["user"] = [], "nobody"
        self.kubeconfig = plane.kubeconfig.parent / "nobody.kubeconfig"
        self.kubeconfig.write_text(json.dumps(config))

    def settings(self) -> Object:
        return self.env.settings(
            values=["helm/environments/dev.yaml", VALUES],
            patience={"stability_seconds": 1, "grace_seconds": 4, "deadline_seconds": 60},
            database=None,
            cluster={"kind": "context", "name": "test", "token": TOKEN},
        )

    def run(self, who: str, task: str, *args: str, **environ: str) -> Any:
        """Run `inv` as a job of a branch."""
        environ = {
            "KUBECONFIG": str(self.kubeconfig),
            TOKEN: self.plane.issuer.token(who),
            **environ,
        }
        return self.env.run(task, *ON, *args, settings=self.settings(), env=environ)

    def ok(self, who: str, task: str, *args: str) -> Any:
        done = self.run(who, task, *args)
        assert done.returncode == 0, f"{task} {args}: {done.stderr}"
        return done

    def made(self, branch: str, **changes: str) -> Object:
        """The namespace that a deploy makes; changes are of labels, annotations and its name."""
        own = self.env.names(branch)
        owner = Owner(ENVIRONMENT, own.slug, own.branch, "https://git.example.com/mautic.git")
        item = namespace(owner, own, ClusterRecord(State.DEPLOYING, own.url), "")
        item = copy.deepcopy(item)
        for key, value in changes.items():
            meta = item["metadata"]
            place = next((meta[x] for x in ("labels", "annotations") if key in meta[x]), meta)
            place[key] = value
        return item

    def place(self, branch: str) -> str:
        return self.env.names(branch).namespace


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with Issuer(tmp_path_factory.mktemp("issuer") / "own") as made:
        yield made


@pytest.fixture(scope="module")
def plane(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingPlane]:
    made = TrustingPlane(tmp_path_factory.mktemp("identity-plane"), issuer)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def site(
    plane: TrustingPlane, registry: str, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    scratch = tmp_path_factory.mktemp("identity")
    with (
        Node(plane) as node,
        kube_environment(plane, node, registry, _project, scratch) as env,
        Upstream(scratch / "upstream") as upstream,
    ):
        (env.checkout / VALUES).write_text(yaml.safe_dump(CHART))
        with_remote(env.checkout, (MINE, OTHER, ALIVE))
        upstream.pin(env.checkout)
        commit_all(env.checkout, "values")
        own = scratch / "platform.yaml"
        own.write_text(
            yaml.safe_dump(
                {
                    "gateway": {"enabled": True, "redirect": False},
                    "gatewayApi": {"install": True},
                    "floor": {"images": ["registry.example.com/"]},
                    "access": {
                        "identity": {"project": PROJECT, "main": [MAIN]},
                        "annotations": [NAMED],
                        "userPools": [POOL],
                    },
                }
            )
        )
        made = Site(env, plane)
        # As the controller of a load balancer brings it.
        kind = ("ListenerRuleConfiguration", "listenerruleconfigurations", "Namespaced")
        made.admin.create(definition("gateway.k8s.aws", *kind))
        env.ok("platform.apply", *ON, "--values", str(own), settings=made.settings())
        env.push("first")
        for branch in (MINE, OTHER):
            entered(made, branch)
        yield made


def entered(site: Site, branch: str) -> None:
    """Make a branch's namespace as a deploy does, and get into it.

    The API server reads an issuer's keys, and new policies, a moment after it has started.
    """
    end = time.monotonic() + 60
    while True:
        try:
            site.jobs[branch].create(site.made(branch))
            break
        except ClusterError as error:
            if error.status not in {401, 403} or time.monotonic() > end:
                raise
            time.sleep(0.2)
    grant_access(site.jobs[branch], site.place(branch), ENVIRONMENT, branch)


def refused(request: Any, *args: Any, **options: Any) -> str:
    """What the API says to a request that it must refuse."""
    with pytest.raises(ClusterError) as caught:
        request(*args, **options)
    assert caught.value.status in {403, 422}, caught.value.message
    return caught.value.message


# -- tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 3600},
        {"aud": "https://gitlab.example.com"},
        {"iss": "https://gitlab.com"},
        {"project": "group/project-of-another"},
        {"project": "GROUP/project"},
        {"ref_type": "tag"},
        # The claims of a fork's job, with this project's path in one of them.
        {"project_path": "somebody/fork"},
        {"key": new_key()},
    ],
    ids=lambda claims: next(iter(claims)),
)
def test_a_token_that_is_not_one_of_this_project_s_branches_is_nobody_s(
    site: Site, claims: Object
) -> None:
    job = site.plane.job(MAIN, **claims)
    with pytest.raises(ClusterError) as caught:
        job.get("Namespace", site.place(MINE))
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "user",
    [
        user_of(MAIN).replace("ref_type:branch", "ref_type:tag"),
        user_of(MAIN).replace(PROJECT, "other/project"),
        user_of(""),
        f"{user_of(MAIN)}x",
        "admin",
    ],
)
def test_who_is_in_the_group_but_no_branch_changes_nothing(site: Site, user: str) -> None:
    """Where the API server is not told to refuse tags, the policies do."""
    transport = Transport("test", str(site.plane.kubeconfig), 5)
    who = {"Impersonate-User": user, "Impersonate-Group": f"{PREFIX}{PROJECT}"}
    path = KINDS["Namespace"].path(None, site.place(MINE))
    for request in (
        ApiRequest("POST", KINDS["Namespace"].path(), {}, site.made("x"), headers=who),
        ApiRequest("DELETE", path, headers=who),
    ):
        assert transport.attempt(request).status in {403, 422}
    assert site.admin.get("Namespace", site.place(MINE))


# -- every right, across ----------------------------------------------------------------------


WATCH = {"watch": "true", "timeoutSeconds": "1"}


def request_of(verb: str, kind: str, where: str) -> ApiRequest:
    """A request that needs one right, about an object that is not there."""
    name, _, part = kind.partition("/")
    kept = KINDS[name]
    item: Object = {"apiVersion": kept.api, "kind": name, "metadata": {"name": "nothing"}}
    if part == "exec":
        query = {"command": "true", "stdout": "true"}
        method = "POST" if verb == "create" else "GET"
        return ApiRequest(method, kept.path(where, "nothing", part), query)
    one, all_ = kept.path(where, "nothing", part), kept.path(where)
    return {
        "get": ApiRequest("GET", one),
        "list": ApiRequest("GET", all_),
        # From a version that is none: whoever has the right is told so at once.
        "watch": ApiRequest("GET", all_, {**WATCH, "resourceVersion": "none"}),
        "create": ApiRequest("POST", all_, body=item),
        "update": ApiRequest("PUT", one, body=item),
        "patch": ApiRequest("PATCH", one, {}, {}, "application/merge-patch+json"),
        "delete": ApiRequest("DELETE", one),
    }[verb]


@pytest.mark.parametrize("kind", RIGHTS)
def test_no_right_reaches_into_another_branch_s_namespace(site: Site, kind: str) -> None:
    for verb in RIGHTS[kind]:
        statuses = {}
        for branch in (MINE, OTHER):
            request = request_of(verb, kind, site.place(branch))
            statuses[branch] = site.mine._transport.attempt(request).status
        assert statuses[OTHER] == 403, (verb, kind)
        assert statuses[MINE] not in {401, 403}, (verb, kind)
        # Jobs of the main branch, such as a scheduled clean-up, work in all of them.
        request = request_of(verb, kind, site.place(OTHER))
        assert site.main._transport.attempt(request).status not in {401, 403}, (verb, kind)


def test_what_lies_in_another_branch_s_namespace_stays_as_it_is(site: Site) -> None:
    where = site.place(OTHER)
    item = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mautic", "namespace": where},
        "stringData": {"password": "planted"},
    }
    site.other.apply(item)
    for ask in (site.mine.get, site.mine.delete):
        refused(ask, "Secret", "mautic", where)
    refused(site.mine.patch, "Secret", "mautic", where, {"stringData": {"password": "x"}})
    refused(site.mine.apply, item)
    assert site.main.get("Secret", "mautic", where)
    refused(site.mine.find_all, "Secret")
    refused(site.mine.find_all, "Deployment")
    assert isinstance(site.main.find_all("Deployment"), list)


# -- namespaces -------------------------------------------------------------------------------

BRANCH, SLUG = "mautic-multidev.io/branch", "mautic-multidev.io/slug"
REPOSITORY = "mautic-multidev.io/repository"


def test_another_branch_s_namespace_cannot_be_changed_or_removed(site: Site) -> None:
    where = site.place(OTHER)
    patch = {"metadata": {"annotations": {"mautic-multidev.io/record": "x"}}}
    refused(site.mine.patch, "Namespace", where, None, patch)
    refused(
        site.mine.patch, "Namespace", where, None, {"metadata": {"annotations": {BRANCH: MINE}}}
    )
    refused(site.mine.apply, site.made(OTHER))
    refused(site.mine.apply, site.made(OTHER, **{BRANCH: MINE}))
    refused(site.mine.delete, "Namespace", where)
    for value in (OTHER, None):
        own = {"metadata": {"annotations": {BRANCH: value}}}
        refused(site.mine.patch, "Namespace", site.place(MINE), None, own)


def test_a_namespace_stays_its_repository_s_but_for_an_adoption(site: Site) -> None:
    """Else the main branch's `inv gc` would take it for somebody else's."""
    where = site.place(MINE)
    found = site.admin.get("Namespace", where) or {}
    before = found["metadata"]["annotations"][REPOSITORY]
    for value in ("https://git.example.com/other", "", None):
        patch = {"metadata": {"annotations": {REPOSITORY: value}}}
        said = refused(site.mine.patch, "Namespace", where, None, patch)
        assert "stays that of its repository" in said
    for who, value in ((site.main, "https://git.example.com/moved"), (site.main, before)):
        who.patch("Namespace", where, None, {"metadata": {"annotations": {REPOSITORY: value}}})
    # A hoster ignores case.
    patch = {"metadata": {"annotations": {REPOSITORY: before.upper()}}}
    site.mine.patch("Namespace", where, None, patch)


@pytest.mark.parametrize(
    ("victim", "changes"),
    [
        # In the victim's name, or in none.
        ("Feature/new", {}),
        ("plain", {}),
        ("plain", {BRANCH: ""}),
        # In the own name, with the victim's slug and namespace: its host name goes with them.
        ("Feature/new", {BRANCH: MINE}),
        ("plain", {BRANCH: MINE}),
    ],
)
def test_no_namespace_is_taken_before_its_branch_comes(
    site: Site, victim: str, changes: dict[str, str]
) -> None:
    refused(site.mine.create, site.made(victim, **changes))


def test_a_namespace_bears_slug_and_name_of_its_branch(site: Site) -> None:
    own = site.env.names("feature/new")
    wrong = own.namespace[:-1] + ("0" if own.namespace[-1] != "0" else "1")
    job = site.plane.job("feature/new")
    for changes in (
        {SLUG: "feature-new"},
        {SLUG: own.slug + "0"},
        {SLUG: "feature-newer-0123456789"},
        {SLUG: "0123456789"},
        {SLUG: ""},
        {"name": wrong},
        {"name": f"{site.env.project}-x"},
    ):
        refused(job.create, site.made("feature/new", **changes))
    job.create(site.made("feature/new"))
    patch = {"metadata": {"labels": {SLUG: site.env.names(OTHER).slug}}}
    refused(job.patch, "Namespace", own.namespace, None, patch)
    assert job.delete("Namespace", own.namespace)


@pytest.mark.parametrize(
    "branch",
    [
        "x",
        "plain-name",
        "a" * 40,
        "a" * 41,
        "a" * 28 + "-" + "b" * 20,
        "Feature/New_Form",
        "like-0123456789",
        "like-012345",
        "kube-x",
        "KUBE",
        "默认",
        "Größe/Ä",
        "\u212aelvin/\u0130x",
        "-".join("ab" * 9),
        "dev",
        "v1.2..3".replace("..", "."),
    ],
)
def test_every_branch_gets_into_its_own_namespace(site: Site, branch: str) -> None:
    """The policies derive names by the rule that the suite has."""
    job, item = site.plane.job(branch), site.made(branch)
    job.create(item)
    job.delete("Namespace", item["metadata"]["name"])


# -- bindings ---------------------------------------------------------------------------------


def binding(where: str, *subjects: tuple[str, str]) -> Object:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "mautic-multidev", "namespace": where},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "mautic-multidev-environment"},
        "subjects": [{"apiGroup": api, "kind": kind, "name": name} for kind, name in subjects],
    }


def test_nobody_is_bound_but_the_branch_and_main(site: Site) -> None:
    mine, main = ("User", user_of(MINE)), ("User", user_of(MAIN))
    found = site.main.get("RoleBinding", "mautic-multidev", site.place(MINE))
    assert found
    bound = {(one["kind"], one["name"]) for one in found["subjects"]}
    assert bound == {mine, main}
    for where in (site.place(OTHER), PLATFORM, "kube-system", "default"):
        refused(site.mine.create, binding(where, mine, main))
    for subjects in (
        (mine, main, ("User", user_of(OTHER))),
        (mine, main, ("Group", f"{PREFIX}{PROJECT}")),
        (mine, main, ("Group", user_of(MINE))),
        (mine, main, ("Group", "system:authenticated")),
        # A clean-up by the main branch could not get in.
        (mine,),
        (),
    ):
        refused(site.mine.create, binding(site.place(MINE), *subjects))
    refused(site.mine.delete, "RoleBinding", "mautic-multidev", site.place(MINE))


# -- host names -------------------------------------------------------------------------------

NAMED = "example.com/harmless"
"""An annotation that the platform names."""
REACHING = (
    "konghq.com/host-aliases",
    "konghq.com/plugins",
    "nginx.ingress.kubernetes.io/auth-secret",
    "nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kubernetes.io/server-snippet",
    "alb.ingress.kubernetes.io/group.name",
    "alb.ingress.kubernetes.io/certificate-arn",
    "alb.ingress.kubernetes.io/auth-idp-oidc",
    "traefik.ingress.kubernetes.io/router.middlewares",
    "haproxy.org/backend-config-snippet",
    "cert-manager.io/cluster-issuer",
    "getambassador.io/config",
    "tailscale.com/expose",
    "kubernetes.io/ingress.class",
)
"""What controllers take for orders, beyond a route's own host name or namespace."""


def route(site: Site, where: str, *hosts: str, **spec: Any) -> Object:
    parent = {"name": "mautic", "namespace": PLATFORM}
    backend = {"name": "web", "port": 80}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "taken", "namespace": where},
        "spec": {
            "parentRefs": [parent],
            "hostnames": list(hosts),
            "rules": [{"backendRefs": [backend]}],
            **spec,
        },
    }


def ingress(where: str, *hosts: str | None, **spec: Any) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    rules = [{"http": paths} | ({"host": host} if host else {}) for host in hosts]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "taken", "namespace": where},
        "spec": {**({"rules": rules} if rules else {}), **spec},
    }


def with_paths(item: Object, paths: list[Object]) -> Object:
    item["spec"]["rules"][0]["http"]["paths"] = paths
    return item


def test_a_route_has_its_own_branch_s_host_name_alone(site: Site) -> None:
    where, own = site.place(MINE), site.env.names(MINE).host
    other = site.env.names(OTHER).host
    mirror = {"type": "RequestMirror"}
    mirror_to = {"requestMirror": {"backendRef": {"name": "web", "namespace": site.place(OTHER)}}}
    elsewhere = {"name": "web", "namespace": site.place(OTHER), "port": 80}
    here = {"name": "web", "port": 80}
    (a_path,) = ingress(where, own)["spec"]["rules"][0]["http"]["paths"]
    bucket = {"apiGroup": "example.com", "kind": "Bucket", "name": "x"}
    for item in (
        *(
            route(site, where, host)
            for host in (other, "*.dev.example.com", f"*.{own}", f"x.{own}")
        ),
        route(site, where, own, other),
        route(site, where),
        route(site, where, own, parentRefs=[{"name": "other", "namespace": PLATFORM}]),
        route(site, where, own, parentRefs=[{"name": "mautic", "namespace": where}]),
        route(site, where, own, parentRefs=[{"name": "mautic"}]),
        route(site, where, own, parentRefs=[]),
        route(site, where, own, rules=[{"backendRefs": [elsewhere]}]),
        route(site, where, own, rules=[{"filters": [{**mirror, **mirror_to}]}]),
        *(
            route(site, where, own, rules=rules)
            for one in (
                {**mirror, **mirror_to},
                # To whom it sends what it takes; a definition that checks nothing takes any type.
                {"type": "RequestRedirect", **mirror_to},
                {"type": "ExtensionRef", "extensionRef": {"kind": "SnippetsFilter", "name": "x"}},
                {"type": "ExternalAuth", "externalAuth": {"backendRef": elsewhere}},
                {"type": "CORS", "cors": {}},
                {"requestMirror": mirror_to["requestMirror"]},
                *(
                    {"type": "ExtensionRef", "extensionRef": LOGIN | change, **more}
                    for change, more in (
                        ({"group": "example.com"}, {}),
                        ({"kind": "TargetGroupConfiguration"}, {}),
                        ({}, mirror_to),
                    )
                ),
                {"type": "RequestMirror", "extensionRef": LOGIN},
            )
            for rules in (
                [{"filters": [one], "backendRefs": [here]}],
                [{"backendRefs": [here, {**here, "filters": [one]}]}],
            )
        ),
        route(site, where, own, rules=[{"backendRefs": [{**here, "kind": "ServiceImport"}]}]),
        route(site, where, own, rules=[{"backendRefs": [{**here, "group": "example.com"}]}]),
        # A load balancer has room for so many.
        route(site, where, own, rules=[{"backendRefs": [here]}] * 5),
        route(site, where, own, rules=[{"backendRefs": [here], "matches": [{}] * 5}] * 3),
        route(site, where, own, rules=[{"backendRefs": [here], "matches": [{}] * 21}]),
        ingress(where, *[own] * 5),
        with_paths(ingress(where, own), [a_path] * 5),
        with_paths(ingress(where, own), [{**a_path, "backend": {"resource": bucket}}]),
        ingress(where, other),
        ingress(where, own, other),
        ingress(where, None),
        ingress(where, "*.dev.example.com"),
        ingress(where, own, tls=[{"hosts": [other]}]),
        ingress(where, own, tls=[{"secretName": "x"}]),
        ingress(where, own, defaultBackend={"service": {"name": "web", "port": {"number": 80}}}),
        ingress(where, defaultBackend={"service": {"name": "web", "port": {"number": 80}}}),
    ):
        assert "route" in refused(site.mine.create, item), item
    for item in (route(site, where, own), ingress(where, own, tls=[{"hosts": [own]}])):
        site.mine.create(item)
        for key in (
            "nginx.ingress.kubernetes.io/server-alias",
            "nginx.ingress.kubernetes.io/configuration-snippet",
            "alb.ingress.kubernetes.io/conditions.web",
            "external-dns.alpha.kubernetes.io/hostname",
            *REACHING,
        ):
            patch = {"metadata": {"annotations": {key: other}}}
            assert "route" in refused(site.mine.patch, item["kind"], "taken", where, patch)
        # What the platform names, and what a controller has written, hinders nobody.
        for who, key in ((site.mine, NAMED), (site.admin, REACHING[0]), (site.mine, NAMED)):
            patch = {"metadata": {"annotations": {key: secrets.token_hex(2)}}}
            who.patch(item["kind"], "taken", where, patch)
        patch = {"metadata": {"annotations": {REACHING[0]: other}}}
        refused(site.mine.patch, item["kind"], "taken", where, patch)
        site.mine.delete(item["kind"], "taken", where)


def test_a_route_may_change_headers_and_addresses(site: Site) -> None:
    where, own = site.place(MINE), site.env.names(MINE).host
    changes = {"set": [{"name": "x-one", "value": "two"}]}
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": changes},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": changes},
        {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}},
        {"type": "URLRewrite", "urlRewrite": {"hostname": own}},
    ]
    backend = {"name": "web", "port": 80, "filters": filters}
    matches = [{"path": {"type": "PathPrefix", "value": "/"}}] * 4
    rule = {"matches": matches, "filters": filters, "backendRefs": [backend]}
    site.mine.create(route(site, where, own, rules=[rule] * 4))
    site.mine.delete("HTTPRoute", "taken", where)


LOGIN = {"group": "gateway.k8s.aws", "kind": "ListenerRuleConfiguration", "name": "taken"}


def asking(where: str, **spec: Any) -> Object:
    """A login at the load balancer; its own spec is the chart's."""
    pool = {"userPoolArn": POOL, "userPoolClientId": "4711", "userPoolDomain": "previews"}
    action = {"type": "authenticate-cognito", "authenticateCognitoConfig": pool}
    return {
        "apiVersion": "gateway.k8s.aws/v1",
        "kind": "ListenerRuleConfiguration",
        "metadata": {"name": "taken", "namespace": where},
        "spec": {"actions": [action], **spec},
    }


def test_a_load_balancer_s_login_asks_a_user_pool_of_the_platform_and_does_nothing_else(
    site: Site,
) -> None:
    where, own, other = site.place(MINE), site.env.names(MINE).host, site.env.names(OTHER).host
    (cognito,) = asking(where)["spec"]["actions"]
    elsewhere = {**cognito["authenticateCognitoConfig"], "userPoolArn": f"{POOL}x"}
    answer = {"statusCode": 200, "contentType": "text/html", "messageBody": "mine"}
    hosts = {"field": "host-header", "hostHeaderConfig": {"values": [other]}}
    for spec in (
        {"conditions": [hosts]},
        {"conditions": []},
        {"tags": {"a": "b"}},
        {"actions": []},
        {"actions": [cognito, cognito]},
        {"actions": [cognito, {"type": "fixed-response", "fixedResponseConfig": answer}]},
        {"actions": [{"type": "fixed-response", "fixedResponseConfig": answer}]},
        {"actions": [{"type": "redirect", "redirectConfig": {"query": "x"}}]},
        {"actions": [{"type": "authenticate-oidc", "authenticateOIDCConfig": {"secret": {}}}]},
        {"actions": [{**cognito, "authenticateCognitoConfig": elsewhere}]},
        {"actions": [{**cognito, "fixedResponseConfig": answer}]},
        {"actions": [{"type": "authenticate-cognito"}]},
    ):
        assert "listenerrules" in refused(site.mine.create, asking(where, **spec)), spec
    refused(site.mine.create, asking(site.place(OTHER)))
    site.mine.create(asking(where))
    change = {"spec": {"conditions": [hosts]}}
    refused(site.mine.patch, "ListenerRuleConfiguration", "taken", where, change)
    filters = [{"type": "ExtensionRef", "extensionRef": LOGIN}]
    matches = [{"path": {"type": "PathPrefix", "value": "/"}}] * 20
    backends = [{"name": "web", "port": 80}]
    rules = [{"matches": matches, "filters": filters, "backendRefs": backends}] * 2
    site.mine.create(route(site, where, own, rules=rules))
    site.mine.delete("HTTPRoute", "taken", where)
    site.mine.delete("ListenerRuleConfiguration", "taken", where)


def test_no_service_makes_a_dns_record_and_no_namespace_lets_another_s_routes_in(
    site: Site,
) -> None:
    where = site.place(MINE)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "named",
            "namespace": where,
            "annotations": {"external-dns.alpha.kubernetes.io/hostname": "x.dev.example.com"},
        },
        "spec": {"ports": [{"port": 80}]},
    }
    assert "annotation external-dns" in refused(site.mine.create, service)
    for key in REACHING:
        service["metadata"]["annotations"] = {NAMED: "x", key: "x"}
        assert f"annotation {key}" in refused(site.mine.create, service)
    service["metadata"]["annotations"] = {NAMED: "x"}
    site.mine.create(service)
    site.mine.delete("Service", "named", where)
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{where}/referencegrants"
    assert site.mine._transport.attempt(ApiRequest("POST", path, body={})).status == 403


# -- the platform -----------------------------------------------------------------------------


def test_no_branch_runs_a_job_beside_the_databases_administrator(site: Site) -> None:
    for kind in ("Job", "Secret", "Pod", "ConfigMap"):
        for verb in ("get", "list", "create", "patch", "delete"):
            assert not site.mine.may(verb, kind, PLATFORM), (verb, kind)
    assert site.main.may("create", "Job", PLATFORM)


# -- the command line -------------------------------------------------------------------------


def test_a_branch_lives_by_its_token_and_no_other_one_can_touch_it(site: Site) -> None:
    site.ok(ALIVE, "deploy", "--branch", ALIVE, "--tag", "first")
    site.ok(ALIVE, "deploy", "--branch", ALIVE, "--tag", "first")
    names = site.env.names(ALIVE)
    assert site.admin.get("HTTPRoute", f"{names.release}-web", names.namespace)
    for task in (
        ("deploy", "--branch", ALIVE, "--tag", "first"),
        ("cleanup", "--branch", ALIVE),
        ("logs", "--branch", ALIVE),
        ("console", "--branch", ALIVE, "--", "mautic:x"),
        ("sleep", "--branch", ALIVE),
        ("pin", "--branch", ALIVE),
    ):
        done = site.run(OTHER, *task)
        assert done.returncode == 1, (task, done.stdout, done.stderr)
        assert "403" in done.stderr or "another branch's" in done.stderr
    assert site.ok(ALIVE, "status", "--branch", ALIVE)
    site.ok(ALIVE, "pin", "--branch", ALIVE, "--for", "1d")
    site.ok(ALIVE, "pin", "--branch", ALIVE, "--off")
    site.ok(ALIVE, "sleep", "--branch", ALIVE)
    woken = site.run(OTHER, "wake", "--branch", ALIVE)
    assert (woken.returncode, "403" in woken.stderr) == (1, True), woken.stderr
    site.ok(ALIVE, "wake", "--branch", ALIVE)
    rows = json.loads(site.ok(MAIN, "list", "--format", "json").stdout)
    assert ALIVE in {row["branch"] for row in rows}
    said = "".join(site.env.said)
    assert "eyJ" not in said, "a token was shown"
    site.ok(ALIVE, "cleanup", "--branch", ALIVE)
    assert site.admin.get("Namespace", names.namespace) is None


def test_a_deploy_with_more_rights_lets_no_record_of_a_branch_reach_elsewhere(
    site: Site,
) -> None:
    where, release = site.place(ALIVE), site.env.names(ALIVE).release
    site.ok(ALIVE, "deploy", "--branch", ALIVE, "--tag", "first")
    job = site.plane.job(ALIVE)
    grab = {
        **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"},
        "metadata": {"name": "grab"},
        "roleRef": {
            **{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"},
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "Group", "name": "x", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    elsewhere = {
        **{"apiVersion": "v1", "kind": "ConfigMap"},
        "metadata": {"name": "grab", "namespace": site.place(OTHER)},
    }
    # What worked, as the branch would have it, and an upgrade that was cut off.
    name = f"sh.helm.release.v1.{release}.v1"
    job.delete("Secret", name, where)
    worked = with_hook(release, where, elsewhere, elsewhere, grab)
    job.create(worked)
    cut = with_hook(release, where, elsewhere, version=2)
    cut["metadata"]["labels"] |= {"status": "pending-upgrade"}
    job.create(cut)
    admin = {"KUBECONFIG": str(site.plane.kubeconfig), TOKEN: ""}
    done = site.run(MAIN, "deploy", "--branch", ALIVE, "--tag", "first", **admin)
    made = [
        site.admin.get("ClusterRoleBinding", "grab"),
        site.admin.get("ConfigMap", "grab", site.place(OTHER)),
    ]
    assert made == [None, None]
    assert done.returncode == 3, done.stderr
    assert f"{name} in {where} names what is not of this release" in done.stderr
    assert "clusterrolebinding/grab" in done.stderr
    site.ok(ALIVE, "cleanup", "--branch", ALIVE)


def with_hook(release: str, where: str, hook: Object, *objects: Object, version: int = 1) -> Object:
    """Return Helm's record of a release that wants an object made before it is uninstalled.

    Args:
        objects: what its manifest names besides, to be deleted with it.
    """
    hooks = [
        {
            "name": "h",
            "kind": hook["kind"],
            "events": ["pre-delete"],
            "manifest": yaml.safe_dump(hook),
        }
    ]
    stored = {
        **{
            "name": release,
            "namespace": where,
            "version": version,
            "apply_method": "ssa",
            "config": {},
            "hooks": hooks,
        },
        "info": {"status": "deployed", "description": "", "deleted": ""},
        "chart": {"metadata": {"name": "mautic", "version": "1.0.0", "apiVersion": "v2"}},
        "manifest": yaml.safe_dump_all(objects),
    }
    text = base64.b64encode(gzip.compress(json.dumps(stored).encode())).decode()
    labels = {"name": release, "owner": "helm", "status": "deployed", "version": str(version)}
    return {
        **{"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1"},
        "metadata": {
            **{
                "name": f"sh.helm.release.v1.{release}.v{version}",
                "namespace": where,
                "labels": labels,
            }
        },
        "stringData": {"release": text},
    }


def test_a_clean_up_with_more_rights_runs_nothing_that_a_branch_has_written(site: Site) -> None:
    where, release = site.place(ALIVE), site.env.names(ALIVE).release
    site.ok(ALIVE, "deploy", "--branch", ALIVE, "--tag", "first")
    job = site.plane.job(ALIVE)
    planted = {
        **{"apiVersion": "v1", "kind": "ConfigMap"},
        "metadata": {
            **{"name": "planted", "namespace": site.place(OTHER)},
            "annotations": {"helm.sh/hook": "pre-delete"},
        },
    }
    # The newest record is the one that Helm would uninstall, and a claim of nobody's keeps the
    # namespace.
    job.delete("Secret", f"sh.helm.release.v1.{release}.v1", where)
    # Helm asks for these marks before it deletes, in whatever namespace.
    marks = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": release,
            "meta.helm.sh/release-namespace": where,
        },
    }
    victim = {
        **{"apiVersion": "v1", "kind": "ConfigMap"},
        "metadata": {"name": "victim", "namespace": site.place(OTHER), **marks},
    }
    role = {
        **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"},
        "metadata": {"name": "victim", **marks},
    }
    site.admin.create(victim)
    site.admin.create(role)
    job.create(with_hook(release, where, planted, victim, role))
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    meta = {"name": "mine", "namespace": where}
    job.create(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim}
    )
    # An administrator may delete all of it.
    admin = {"KUBECONFIG": str(site.plane.kubeconfig), TOKEN: ""}
    done = site.run(MAIN, "cleanup", "--branch", ALIVE, **admin)
    assert done.returncode == 0, done.stderr
    assert "persistentvolumeclaim/mine" in done.stdout + done.stderr
    for one in (victim, role):
        meta = one["metadata"]
        assert site.admin.get(one["kind"], meta["name"], meta.get("namespace")), "was deleted"
        site.admin.delete(one["kind"], meta["name"], meta.get("namespace"))
    assert site.admin.find("Secret", where, f"owner=helm,name={release}") == []
    assert site.admin.get("ConfigMap", "planted", site.place(OTHER)) is None


def test_a_scheduled_clean_up_of_main_removes_any_branch(site: Site) -> None:
    site.ok(GONE, "deploy", "--branch", GONE, "--tag", "first")
    # Of a branch that lets nobody in: the job of the main branch lets itself in.
    site.plane.job(SHUT).create(site.made(SHUT, **{REPOSITORY: origin(site.env)}))
    site.ok(MAIN, "gc", "--all", "--yes")
    for branch in (GONE, SHUT):
        assert site.admin.get("Namespace", site.place(branch)) is None


def test_namespaces_with_made_up_digits_are_listed_and_swept(site: Site) -> None:
    own, repository = site.env.names(OTHER), origin(site.env)
    start, job = own.slug[:-10], site.jobs[OTHER]

    def occupy(digits: str, **changes: str) -> str:
        slug = f"{start}{digits}"
        named = {"name": own.namespace.replace(own.slug, slug), SLUG: slug}
        item = site.made(OTHER, **{**named, REPOSITORY: repository, **changes})
        job.create(item)
        return str(item["metadata"]["name"])

    occupied = {occupy("0123456789"), occupy("fedcba9876")}
    theirs = occupy("aaaaaaaaaa", **{REPOSITORY: "https://git.example.com/another.git"})
    # Another project's, whose prefix begins with this one's: there the name is right.
    two = site.made(OTHER, **{"name": f"{site.env.project}-two-{own.slug}", REPOSITORY: repository})
    site.admin.create(two)
    kept = {theirs, str(two["metadata"]["name"]), own.namespace}
    try:
        done = site.ok(MAIN, "list", "--format", "json")
        rows = json.loads(done.stdout)
        found = {row["namespace"]: row for row in rows if row["state"] == "misnamed"}
        assert found.keys() == occupied
        assert {row["branch"] for row in found.values()} == {OTHER}
        assert all(f"{OTHER} in {name}: " in done.stderr for name in occupied)
        shown = site.ok(MAIN, "gc", "--all").stdout
        assert all(name in shown for name in occupied)
        assert not any(f"{name} " in shown for name in kept)
        assert all(site.admin.get("Namespace", name) for name in occupied)
        site.ok(MAIN, "gc", "--all", "--yes")
        assert not any(site.admin.get("Namespace", name) for name in occupied)
        assert all(site.admin.get("Namespace", name) for name in kept)
    finally:
        for name in {*occupied, *kept} - {own.namespace}:
            site.admin.delete("Namespace", name)


def test_doctor_says_that_branches_are_told_apart(site: Site) -> None:
    found = json.loads(site.run(MINE, "doctor", "--format", "json").stdout)["findings"]
    (rights,) = (one for one in found if one["check"] == "jobs' rights")
    assert rights["level"] == "ok"
    assert "a user of their own" in rights["found"]


def test_a_job_without_its_token_does_not_enter_by_another_way(site: Site) -> None:
    admin = {"KUBECONFIG": str(site.plane.kubeconfig), TOKEN: ""}
    done = site.run(MINE, "status", "--branch", MINE, CI="true", CI_JOB_ID="1", **admin)
    assert done.returncode == 2
    assert TOKEN in done.stderr
    # A person without the variable uses their own credentials.
    assert site.run(MINE, "list", **admin).returncode == 0
    gone = site.run(MINE, "list", **{TOKEN: site.plane.issuer.token(MINE, exp=1)})
    assert gone.returncode == 1
    assert "401" in gone.stderr

"""The Kubernetes adapter against a real API server, also one that misbehaves."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.kubernetes import cluster as adapter
from tasks.adapters.kubernetes import watch
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.core.errors import ClusterError, ConflictError
from tests.support.controlplane import ControlPlane
from tests.support.faults import FaultyProxy
from tests.support.node import Node
from tests.support.releases import deployment

Object = dict[str, Any]


def config_map(namespace: str, name: str = "settings", **data: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition comes to, once it comes to something."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane) as between:
        yield between


@pytest.fixture
def shaky(proxy: FaultyProxy, tmp_path: Path) -> Cluster:
    """A client that goes through the proxy."""
    return Cluster("test", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")), patience=20)


# -- objects --------------------------------------------------------------------------------------


def test_apply_creates_then_updates_then_forgets_what_is_left_out(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(config_map(namespace, a="1", b="1"))
    cluster.apply(config_map(namespace, a="2"))

    found = cluster.get("ConfigMap", "settings", namespace)
    assert found
    assert found["data"] == {"a": "2"}


def test_apply_takes_over_what_another_manager_has_set(cluster: Cluster, namespace: str) -> None:
    cluster.create(config_map(namespace, a="theirs"))
    cluster.patch("ConfigMap", "settings", namespace, {"data": {"b": "theirs"}})

    cluster.apply(config_map(namespace, a="ours"))

    found = cluster.get("ConfigMap", "settings", namespace)
    assert found
    assert found["data"] == {"a": "ours", "b": "theirs"}


def test_what_is_not_there_is_none_and_need_not_be_deleted(
    cluster: Cluster, namespace: str
) -> None:
    assert cluster.get("ConfigMap", "nothing", namespace) is None
    assert cluster.delete("ConfigMap", "nothing", namespace) is False
    with pytest.raises(ClusterError, match="not found") as caught:
        cluster.patch("ConfigMap", "nothing", namespace, {"data": {}})
    assert caught.value.status == 404


def test_two_of_one_name_are_a_conflict(cluster: Cluster, namespace: str) -> None:
    cluster.create(config_map(namespace))
    with pytest.raises(ConflictError, match="already exists"):
        cluster.create(config_map(namespace))


def test_replacing_what_was_changed_meanwhile_is_a_conflict(
    cluster: Cluster, namespace: str
) -> None:
    read = cluster.create(config_map(namespace, a="1"))
    cluster.patch("ConfigMap", "settings", namespace, {"data": {"a": "2"}})

    with pytest.raises(ConflictError, match="modified"):
        cluster.replace({**read, "data": {"a": "3"}})


def test_an_invalid_object_is_refused_with_the_api_s_words(
    cluster: Cluster, namespace: str
) -> None:
    with pytest.raises(ClusterError, match="Invalid value") as caught:
        cluster.create(config_map(namespace, "Not_A_Name"))
    assert caught.value.status == 422
    assert caught.value.reason == "Invalid"


def test_a_long_list_comes_whole_and_by_selector(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PAGE", 3)
    for number in range(8):
        each = config_map(namespace, f"part-{number}")
        each["metadata"]["labels"] = {"parity": str(number % 2)}
        cluster.create(each)

    assert len(cluster.find("ConfigMap", namespace, "parity")) == 8
    odd = cluster.find("ConfigMap", namespace, "parity=1")
    assert sorted(each["metadata"]["name"] for each in odd) == [f"part-{n}" for n in (1, 3, 5, 7)]
    assert {each["kind"] for each in odd} == {"ConfigMap"}
    assert len(cluster.find("ConfigMap", selector="parity")) == 8


def test_a_stranger_may_nothing(
    control_plane: ControlPlane, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    control_plane.pki.issue("outsider", "outsider")
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", "outsider")
    outsider = Cluster("test", str(kubeconfig))

    assert cluster.may("create", "Deployment", namespace)
    assert not outsider.may("create", "Deployment", namespace)
    with pytest.raises(ClusterError, match="outsider") as caught:
        outsider.find("Secret", namespace)
    assert caught.value.status == 403
    assert caught.value.hint


def test_a_context_that_does_not_exist_is_named(control_plane: ControlPlane) -> None:
    with pytest.raises(ClusterError, match="elsewhere"):
        Cluster("elsewhere", str(control_plane.kubeconfig)).version()


# -- an API that misbehaves -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_api_is_asked_again(proxy: FaultyProxy, shaky: Cluster, status: int) -> None:
    proxy.fail(status, times=2)

    assert shaky.version().startswith("v1.")
    assert proxy.failed == 2


def test_an_api_server_that_has_just_started_is_asked_again(
    proxy: FaultyProxy, shaky: Cluster, namespace: str
) -> None:
    proxy.fail(
        403, times=2, words='configmaps "settings" is forbidden: not yet ready to handle request'
    )

    assert shaky.create(config_map(namespace))["metadata"]["uid"]
    assert proxy.failed == 2


def test_a_quota_whose_count_has_just_changed_is_asked_again(
    proxy: FaultyProxy, shaky: Cluster, namespace: str
) -> None:
    """It says 409, as an object that is there does, of one that is not."""
    words = 'Operation cannot be fulfilled on resourcequotas "floor": it has been modified'
    proxy.fail(409, times=2, words=words)

    assert shaky.create(config_map(namespace))["metadata"]["uid"]
    assert proxy.failed == 2


def test_an_object_whose_answer_was_lost_is_made_once(
    proxy: FaultyProxy, shaky: Cluster, namespace: str
) -> None:
    proxy.lose_answer(lambda request, _: request.startswith("POST"))
    made = shaky.create(config_map(namespace, a="1"))
    proxy.lose_answer(lambda request, _: request.startswith("PUT"))
    replaced = shaky.replace({**made, "data": {"a": "2"}})

    assert replaced["metadata"]["uid"] == made["metadata"]["uid"]
    assert replaced["data"] == {"a": "2"}
    sent = [request.split("?")[0].split()[0] for request in proxy.requests]
    assert sent == ["POST", "POST", "GET", "PUT", "PUT", "GET"]


def test_what_somebody_else_wrote_while_an_answer_was_lost_is_a_conflict(
    proxy: FaultyProxy, shaky: Cluster, cluster: Cluster, namespace: str
) -> None:
    read = cluster.create(config_map(namespace, a="1"))
    proxy.lose_answer(lambda request, _: request.startswith("POST"))
    with pytest.raises(ConflictError, match="already exists"):
        shaky.create(config_map(namespace, a="2"))

    cluster.patch("ConfigMap", "settings", namespace, {"data": {"a": "theirs"}})
    proxy.lose_answer(lambda request, _: request.startswith("PUT"))
    with pytest.raises(ConflictError, match="modified"):
        shaky.replace({**read, "data": {"a": "3"}})


def test_an_api_that_stays_busy_is_told_when_the_patience_ends(
    proxy: FaultyProxy, tmp_path: Path
) -> None:
    hasty = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "hasty")), patience=0.5)
    proxy.fail(503)

    with pytest.raises(ClusterError, match="503 on demand"):
        hasty.version()
    assert proxy.failed > 1


def test_an_api_that_is_waited_for_is_told_once(proxy: FaultyProxy, tmp_path: Path) -> None:
    said: list[str] = []
    kubeconfig = str(proxy.write_kubeconfig(tmp_path / "told"))
    told = Cluster("test", kubeconfig, patience=20, say=said.append)
    proxy.fail(503, times=6)

    assert told.version().startswith("v1.")
    assert proxy.failed == 6
    assert len(said) == 1
    assert "GET /version: 503 on demand" in said[0]


@pytest.mark.parametrize("pause", ["60", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_an_api_asks_for_a_pause_and_gets_it(
    proxy: FaultyProxy, tmp_path: Path, pause: str
) -> None:
    hasty = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "hasty")), patience=5)
    proxy.fail(429, Retry_After=pause)

    with pytest.raises(ClusterError, match="429"):
        hasty.version()
    assert proxy.failed == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "soon"},
        {"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"Retry_After": "-1"},
        {"Retry_After": "nan"},
        {"Date": "yesterday"},
        {"Content_Type": "application/json"},
    ],
)
def test_an_answer_that_says_nonsense_beside_its_status_is_one_like_any_other(
    proxy: FaultyProxy, shaky: Cluster, headers: dict[str, str]
) -> None:
    proxy.fail(503, times=2, **headers)

    assert shaky.version().startswith("v1.")
    assert proxy.failed == 2


def test_something_else_that_answers_in_the_api_s_place_is_told_with_its_words(
    proxy: FaultyProxy, shaky: Cluster
) -> None:
    proxy.fail(200)

    with pytest.raises(ClusterError, match=r"GET /version: .* no JSON: on demand") as caught:
        shaky.version()
    assert "login page" in (caught.value.hint or "")


def test_an_absent_api_is_told_with_its_address(
    free_port: Callable[[], int], control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = json.loads(control_plane.kubeconfig.read_text())
    address = f"https://127.0.0.1:{free_port()}"
    config["clusters"][0]["cluster"]["server"] = address
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))

    with pytest.raises(ClusterError, match=f"{address} cannot be reached") as caught:
        Cluster("test", str(kubeconfig), patience=0.3).version()
    assert caught.value.status == 0


def test_an_api_that_another_authority_signed_is_refused(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = json.loads(control_plane.kubeconfig.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))

    with pytest.raises(ClusterError, match="certificate verify failed"):
        Cluster("test", str(kubeconfig), patience=0.3).version()


def _token(cluster: Cluster, namespace: str) -> str:
    """Return a token of a service account that may read the namespace's ConfigMaps."""
    api, where = "rbac.authorization.k8s.io/v1", {"name": "reader", "namespace": namespace}
    until(lambda: cluster.get("ServiceAccount", "default", namespace))
    transport = cluster._transport
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    root = f"/apis/{api}/namespaces/{namespace}"
    transport.json(
        adapter.ApiRequest(
            "POST",
            f"{root}/roles",
            body={"apiVersion": api, "kind": "Role", "metadata": where, "rules": rules},
        )
    )
    binding = {
        "apiVersion": api,
        "kind": "RoleBinding",
        "metadata": where,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    transport.json(adapter.ApiRequest("POST", f"{root}/rolebindings", body=binding))
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return str(transport.json(adapter.ApiRequest("POST", path, body=request))["status"]["token"])


def _by_plugin(control_plane: ControlPlane, tmp_path: Path, tokens: list[str]) -> tuple[Path, Path]:
    """Return a kubeconfig whose plugin gives another token at each call, and its tokens' file."""
    left = tmp_path / "tokens.json"
    left.write_text(json.dumps(tokens))
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import json, pathlib, sys\n"
        "left = pathlib.Path(sys.argv[1])\n"
        "token, *rest = json.loads(left.read_text())\n"
        "left.write_text(json.dumps(rest or [token]))\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1',\n"
        "    'kind': 'ExecCredential', 'status': {'token': token}}))\n"
    )
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(plugin), str(left)],
            "interactiveMode": "Never",
        }
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    return kubeconfig, left


def test_an_expired_token_is_replaced_by_asking_the_plugin_again(
    control_plane: ControlPlane, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    tokens = ["expired", _token(cluster, namespace)]
    kubeconfig, left = _by_plugin(control_plane, tmp_path, tokens)

    found = Cluster("test", str(kubeconfig)).find("ConfigMap", namespace)

    assert isinstance(found, list)
    assert json.loads(left.read_text()) == tokens[1:]


def test_credentials_that_stay_refused_are_one_clear_error(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    kubeconfig, _ = _by_plugin(control_plane, tmp_path, ["expired"])

    with pytest.raises(ClusterError, match="401") as caught:
        Cluster("test", str(kubeconfig)).find("ConfigMap", namespace)
    assert caught.value.status == 401
    assert "log in" in (caught.value.hint or "")


# -- watches --------------------------------------------------------------------------------------


class Watcher:
    """Watches a namespace's ConfigMaps from a thread of its own."""

    def __init__(self, cluster: Cluster, namespace: str | None) -> None:
        self.changes: list[WatchEvent] = []
        self.error: ClusterError | None = None
        self.stop = Stop()
        self._cluster, self._namespace = cluster, namespace
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self.thread.start()
        until(lambda: self.changes or self.error)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(5)

    def _watch(self) -> None:
        try:
            self._cluster.watch("ConfigMap", self._namespace, self.changes.append, stop=self.stop)
        except ClusterError as error:
            self.error = error

    def names(self) -> set[str]:
        """Return the names of everything seen and not deleted since."""
        seen: set[str] = set()
        for change in list(self.changes):
            if change.type == "SYNCED":
                seen = {item["metadata"]["name"] for item in change.object["items"]}
            elif change.type == "DELETED":
                seen.discard(change.object["metadata"]["name"])
            else:
                seen.add(change.object["metadata"]["name"])
        return seen


def test_a_watch_tells_what_is_added_changed_and_deleted(cluster: Cluster, namespace: str) -> None:
    with Watcher(cluster, namespace) as watcher:
        cluster.apply(config_map(namespace, "one", a="1"))
        cluster.apply(config_map(namespace, "one", a="2"))
        cluster.delete("ConfigMap", "one", namespace)
        until(lambda: any(change.type == "DELETED" for change in watcher.changes))

    told = [
        (change.type, change.object["data"])
        for change in watcher.changes
        if change.type != "SYNCED" and change.object["metadata"]["name"] == "one"
    ]
    assert told == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]
    assert not watcher.thread.is_alive()


def test_a_quiet_watch_stays_open_and_lists_once(
    proxy: FaultyProxy, shaky: Cluster, cluster: Cluster, namespace: str
) -> None:
    with Watcher(shaky, namespace) as watcher:
        time.sleep(3)
        cluster.create(config_map(namespace, "late"))
        until(lambda: "late" in watcher.names())

    assert [change.type for change in watcher.changes].count("SYNCED") == 1
    assert sum("watch=true" in request for request in proxy.requests) == 1


def test_a_watch_that_is_dropped_in_mid_line_loses_nothing(
    proxy: FaultyProxy, shaky: Cluster, cluster: Cluster, namespace: str
) -> None:
    proxy.drop(after_seconds=0.3)
    names = {f"part-{number}" for number in range(30)}
    with Watcher(shaky, namespace) as watcher:
        for name in sorted(names):
            cluster.create(config_map(namespace, name))
            time.sleep(0.05)
        until(lambda: names <= watcher.names())

    assert proxy.dropped > 1


def test_a_watch_whose_version_is_forgotten_lists_anew(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a long absence: the version that was read is no longer known.
    listed = watch.list_objects
    ancient = iter(["1"])

    def list_(*args: Any) -> tuple[list[Object], str]:
        items, version = listed(*args)
        return items, next(ancient, version)

    monkeypatch.setattr(watch, "list_objects", list_)
    with Watcher(cluster, namespace) as watcher:
        cluster.create(config_map(namespace, "late"))
        until(lambda: "late" in watcher.names())


def test_a_watch_outlives_the_api_server(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    with Watcher(cluster, namespace) as watcher:
        control_plane.stop_api()
        try:
            time.sleep(3)
        finally:
            control_plane.start_api()
        cluster.create(config_map(namespace, "after"))
        until(lambda: "after" in watcher.names() or watcher.error)

    assert watcher.error is None


def test_a_watch_of_an_api_that_stays_away_ends_with_an_error(
    proxy: FaultyProxy, namespace: str, tmp_path: Path
) -> None:
    hasty = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "hasty")), patience=1)
    with Watcher(hasty, namespace) as watcher, proxy.away():
        error = until(lambda: watcher.error)

    assert "cannot be reached" in error.message


def test_all_namespaces_can_be_watched(cluster: Cluster, namespace: str) -> None:
    with Watcher(cluster, None) as watcher:
        cluster.create(config_map(namespace, f"in-{namespace}"))
        until(lambda: f"in-{namespace}" in watcher.names())


# -- through the node -----------------------------------------------------------------------------


def _ready_pod(cluster: Cluster, namespace: str, fate: str = "") -> str:
    until(lambda: cluster.get("ServiceAccount", "default", namespace))
    manifest = deployment(fate=fate, log="hello")
    manifest["metadata"]["namespace"] = namespace
    cluster.apply(manifest)

    def name() -> str | None:
        for pod in cluster.find("Pod", namespace):
            for status in pod["status"].get("containerStatuses", []):
                if status["ready"] or status["restartCount"] > 0:
                    return str(pod["metadata"]["name"])
        return None

    return str(until(name))


def test_logs_are_read_to_their_end(node: Node, cluster: Cluster, namespace: str) -> None:
    pod = _ready_pod(cluster, namespace)

    assert cluster.logs(namespace, pod, "fpm") == "fpm: start number 1\nhello\n"
    assert cluster.logs(namespace, pod, "fpm", tail=1) == "hello\n"
    assert cluster.logs(namespace, pod, "fpm", previous=True) is None
    assert cluster.logs(namespace, "nothing", "fpm") is None


def test_the_log_of_the_last_life_is_read(node: Node, cluster: Cluster, namespace: str) -> None:
    pod = _ready_pod(cluster, namespace, "crash-early:1")

    log = cluster.logs(namespace, pod, "fpm", previous=True)

    assert log == "fpm: start number 1\nhello\nfpm: fatal, exit code 1\n"


def test_a_service_is_asked_through_the_api_server(
    node: Node, cluster: Cluster, namespace: str
) -> None:
    if node.network.refused:
        pytest.skip(f"no pod can serve a site here: {node.network.refused}")
    _ready_pod(cluster, namespace)
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
    )

    until(lambda: cluster.http(namespace, "web", 80, "/healthz", {}) == (200, b"ok"))

    assert cluster.http(namespace, "web", 80, "/nothing", {})[0] == 404
    assert cluster.http(namespace, "absent", 80, "/", {})[0] == 404


def test_the_cluster_s_time_is_told(cluster: Cluster, namespace: str) -> None:
    made = cluster.create(config_map(namespace))["metadata"]["creationTimestamp"]

    told = cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    assert made[:16] <= told[:16]

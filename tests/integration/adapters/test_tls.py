"""One client's connections, opened by many threads at once."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes import client, config

from provisioner.connection import relax
from tasks.adapters.kubernetes.cluster import Cluster
from tests.support.controlplane import Pki
from tests.support.tls import Misfit

THREADS, CLIENTS = 16, 40
"""As many as crashed the process in each run in which urllib3 still loaded certificates into a
context in use."""


def _list_as_the_suite(kubeconfig: Path) -> Callable[[], object]:
    cluster = Cluster("test", str(kubeconfig), patience=0)
    return lambda: cluster.get("ConfigMap", "site", "default")


def _list_as_the_provisioner(kubeconfig: Path) -> Callable[[], object]:
    api = client.CoreV1Api(relax(config.new_client_from_config(str(kubeconfig))))
    return lambda: api.list_namespaced_config_map("default")


def _connect(connect: Callable[[Path], Callable[[], object]], kubeconfig: Path) -> None:
    failed = []

    def ask(list_all: Callable[[], object]) -> None:
        try:
            list_all()
        except Exception as error:
            failed.append(error)

    for _ in range(CLIENTS):
        list_all = connect(kubeconfig)
        threads = [threading.Thread(target=ask, args=(list_all,)) for _ in range(THREADS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("connect", [_list_as_the_suite, _list_as_the_provisioner])
def test_threads_connect_at_once_with_a_certificate(
    connect: Callable[[Path], Callable[[], object]], tmp_path: Path
) -> None:
    with Misfit(tmp_path) as server:
        pki = Pki(tmp_path / "user")
        pki.issue("user", "user")
        kubeconfig = server.kubeconfig(
            tmp_path / "kubeconfig", **{"certificate-authority": str(server.authority)}
        )
        config = json.loads(kubeconfig.read_text())
        config["users"][0]["user"] = {
            "client-certificate": str(pki.root / "user.crt"),
            "client-key": str(pki.root / "user.key"),
        }
        kubeconfig.write_text(json.dumps(config))
        # A process of its own: what is tested for ends it by a signal, or hangs.
        child = multiprocessing.get_context("spawn").Process(
            target=_connect, args=(connect, kubeconfig)
        )
        child.start()
        child.join(60)
        child.kill()
        assert child.exitcode == 0
        assert server.tries > CLIENTS

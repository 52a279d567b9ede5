"""Many environments in one cluster: looking at all of them, and sweeping stale ones away."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.core.cost import GIB, Requests
from tasks.core.environment import Owner, Release, State
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.record import ClusterRecord
from tests.bench.measure import Row, ratio, say
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ENVIRONMENT, ON, KubeEnv, Object, with_remote
from tests.support.suite import git

LISTED = 500
LIST_ROUNDS = 5
LIST_LIMIT_SECONDS = 1.5
LIST_CALLS = 3
SWEPT = 20
SWEEP_LIMIT = 0.3
AT_ONCE = 4
TAG = "many"


def measure_many(env: KubeEnv) -> list[Row]:
    """`inv list` and `inv page` over 500 environments, and `inv gc --yes` over 20.

    Args:
        env: the command line on a control plane; its checkout has no remote that can be read.
    """
    if "origin" in git(env.checkout, "remote").split():
        git(env.checkout, "remote", "remove", "origin")
    with_remote(env.checkout)
    env.push(TAG)
    return [_sweep(env), *_look(env)]


def _sweep(env: KubeEnv) -> Row:
    branches = [f"swept-{number}" for number in range(SWEPT)]
    say(f"helm uninstall; delete namespace, {SWEPT} times, one after the other")
    _deploy(env, branches)
    started = time.monotonic()
    for branch in branches:
        names = env.names(branch)
        argv = [str(env.helm), "uninstall", names.release, "--namespace", names.namespace]
        environ = {**os.environ, **env.environ()}
        subprocess.run(argv, env=environ, check=True, capture_output=True)
        env.cluster.delete("Namespace", names.namespace)
        while env.cluster.get("Namespace", names.namespace):
            time.sleep(0.2)
    plain = time.monotonic() - started
    say(f"inv gc --yes over {SWEPT} environments")
    _deploy(env, branches)
    started = time.monotonic()
    env.ok("gc", *ON, "--yes")
    ours = time.monotonic() - started
    wanted = [env.names(branch).namespace for branch in branches]
    left = [name for name in wanted if env.cluster.get("Namespace", name)]
    if left:
        raise RuntimeError(f"inv gc left {left}")
    what = f"inv gc --yes over {SWEPT} environments, their databases and image tags"
    return ratio(f"{what} / helm uninstall; delete namespace, one by one", ours, plain, SWEEP_LIMIT)


def _deploy(env: KubeEnv, branches: Sequence[str]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda branch: env.deploy(branch, TAG), branches):
            pass


def _look(env: KubeEnv) -> list[Row]:
    say(f"inv list and inv page over {LISTED} environments")
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda number: _plant(env, f"listed-{number}"), range(LISTED)):
            pass
    page = env.checkout.parent / "page.html"
    return [
        *_rows(env, "list", (), lambda said: said),
        *_rows(env, "page", ("--out", str(page)), lambda _: page.read_text()),
    ]


def _rows(
    env: KubeEnv, task: str, options: Sequence[str], shown: Callable[[str], str]
) -> list[Row]:
    """Measure a task that shows all environments.

    Args:
        shown: returns what it has shown, from its output.
    """
    with FaultyProxy(env.plane) as proxy:
        kubeconfig = proxy.write_kubeconfig(env.checkout.parent / "counting")
        said = env.ok(task, *ON, *options, env={"KUBECONFIG": str(kubeconfig)}).stdout
        calls = len(proxy.requests)
    found = set(re.findall(r"\blisted-[0-9]+\b", shown(said)))
    if len(found) != LISTED:
        raise RuntimeError(f"inv {task} showed {len(found)} of {LISTED} environments")
    bare, full = [], []
    for _ in range(LIST_ROUNDS):
        for into, argv in ((bare, ("names", *ON)), (full, (task, *ON, *options))):
            started = time.monotonic()
            env.ok(*argv)
            into.append(time.monotonic() - started)
    ours, start_up = statistics.median(full), statistics.median(bare)
    return [
        Row(
            f"inv {task} over {LISTED} environments / inv names (median of {LIST_ROUNDS})",
            f"{ours:.2f} s",
            f"{start_up:.2f} s",
            f"{ours - start_up:+.2f} s",
            f"<= +{LIST_LIMIT_SECONDS} s",
            ours - start_up <= LIST_LIMIT_SECONDS,
        ),
        Row(
            f"inv {task} over {LISTED} environments: calls of the API",
            *(str(calls), "-", str(calls), f"<= {LIST_CALLS}"),
            calls <= LIST_CALLS,
        ),
    ]


def _plant(env: KubeEnv, branch: str) -> None:
    """Make what `inv list` asks for of one environment."""
    names = env.names(branch)
    owner = Owner(ENVIRONMENT, names.slug, branch, git(env.checkout, "remote", "get-url", "origin"))
    now = datetime.now(UTC)
    image = f"registry.example.com/mautic@sha256:{'a' * 64}"
    release = Release(TAG, "c" * 40, image, image, "ada@host", now.isoformat())
    expires_at = (now + timedelta(days=1)).isoformat()
    # As many as are remembered.
    record = replace(
        ClusterRecord(State.READY, names.url, expires_at),
        history=(release,) * 10,
        requests=Requests(320, GIB, 5 * GIB),
    )
    env.cluster.create(namespace(owner, names, record, ""))
    labels = {"app.kubernetes.io/component": "web"}
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": names.namespace, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "fpm", "image": image}]},
            },
        },
    }
    lease: Object = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "mautic-multidev", "namespace": names.namespace},
        "spec": {"holderIdentity": ""},
    }
    for manifest in (deployment, lease):
        env.cluster.create(manifest)

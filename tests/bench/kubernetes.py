"""`inv deploy` to a cluster against plain Helm: deploys that are doomed, and good ones.

Both sides deploy the same chart with the same values and images to the tests' control plane, whose
node plays the pods. Ours is the whole command: start-up, lock, preflight, quiescing of workers,
tracking and smoke test; for a doomed deploy the evidence and the way back, too. Plain is
`helm upgrade --install --wait` alone, which leaves the broken release as it is.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import requests

from tests.bench.engine import NotHereError
from tests.bench.many import measure_many
from tests.bench.measure import Row, ratio, say
from tests.support.controlplane import PROGRAMS, ControlPlane, assets
from tests.support.deploys import FAST, Deploys
from tests.support.images import standin
from tests.support.kube_cli import kube_environment
from tests.support.node import Node
from tests.support.suite import copy_project

FULL_TIMEOUT_SECONDS = 300
"""The time-out that plain Helm is given, and its own default."""
ROUNDS = 3
OVERHEAD_RATIO = 1.15
OVERHEAD_SECONDS = 2.0
LIMIT = 0.05
REDIS = {"host": "redis.example.com", "passwordKey": "redis_password"}
DOOMED: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "bad image": ({"web": "fpm=image-missing"}, {}),
    "missing secret": ({}, {"sessions": {"handler": "redis"}, "redis": REDIS}),
    "crash loop": ({"web": "fpm=crash-loop"}, {}),
}
"""By name: what becomes of the pods, and the values that make it so."""
OURS, PLAIN = "ours", "plain"


def measure_on_a_cluster(scratch: Path, helm_timeout: int) -> list[Row]:
    """Deploys to Kubernetes.

    Args:
        scratch: an empty folder.
        helm_timeout: seconds that plain Helm waits for a doomed deploy.

    Raises:
        NotHereError: this machine has no control plane, or its node can serve no site.
    """
    programs = assets()
    if programs is None:
        raise NotHereError(f"KUBEBUILDER_ASSETS lacks {', '.join(PROGRAMS)}")
    plane = ControlPlane(programs, scratch)
    project = copy_project(scratch / "project")
    try:
        plane.start()
        with Node(plane) as node, _registry() as registry:
            if node.network.refused:
                raise NotHereError(node.network.refused)
            (scratch / "kube").mkdir()
            with (
                kube_environment(plane, node, registry, project, scratch / "kube") as env,
                Deploys(env) as deploys,
            ):
                for branch in (OURS, PLAIN):
                    env.push("first")
                    deploys.deployed(branch, "--tag", "first")
                rows = [_healthy(deploys), *_doomed(deploys, helm_timeout)]
                return [*rows, *measure_many(env)]
    finally:
        plane.stop()


@contextlib.contextmanager
def _registry() -> Iterator[str]:
    engine = docker.from_env()
    container = engine.containers.run(
        standin(engine, "registry"),
        detach=True,
        ports={"5000/tcp": ("127.0.0.1", None)},
        tmpfs={"/var/lib/registry": "uid=5000,gid=5000"},
    )
    try:
        container.reload()
        url = f"localhost:{container.ports['5000/tcp'][0]['HostPort']}"
        for _ in range(100):
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"http://{url}/v2/", timeout=5).ok:
                    break
            time.sleep(0.1)
        yield url
    finally:
        container.remove(force=True, v=True)
        engine.close()


def _healthy(deploys: Deploys) -> Row:
    say("a good deploy: inv deploy, helm upgrade --install --wait")
    ours, plain = [], []
    for number in range(ROUNDS):
        tag = f"good-{number}"
        deploys.env.push(tag)
        plain.append(
            _helm(deploys, tag, FULL_TIMEOUT_SECONDS, settings=deploys.settings(), works=True)
        )
        started = time.monotonic()
        deploys.deployed(OURS, "--tag", tag)
        ours.append(time.monotonic() - started)
    ours_seconds, plain_seconds = statistics.median(ours), statistics.median(plain)
    limit = max(plain_seconds * OVERHEAD_RATIO, plain_seconds + OVERHEAD_SECONDS)
    return Row(
        f"inv deploy, stability window of 1 s / helm upgrade --install --wait (median of {ROUNDS})",
        f"{ours_seconds:.2f} s",
        f"{plain_seconds:.2f} s",
        f"{ours_seconds - plain_seconds:+.2f} s, {ours_seconds / plain_seconds:.3f}",
        f"<= +{OVERHEAD_SECONDS:.0f} s or {OVERHEAD_RATIO}",
        ours_seconds <= limit,
    )


def _doomed(deploys: Deploys, helm_timeout: int) -> Iterator[Row]:
    for what, (fates, values) in DOOMED.items():
        tag = f"doomed-{what.replace(' ', '-')}"
        deploys.env.push(tag)
        for branch in (OURS, PLAIN):
            deploys.fate(branch, tag, **fates)
        path = deploys.env.checkout.parent / f"{tag}.json"
        path.write_text(json.dumps(values))
        settings = deploys.settings(values=["helm/environments/dev.yaml", FAST, str(path)])
        say(f"{what}: inv deploy")
        started = time.monotonic()
        done = deploys.deploy(OURS, "--tag", tag, settings=settings)
        ours = time.monotonic() - started
        if done.returncode != 1 or "which is running again" not in done.stderr:
            raise RuntimeError(f"inv deploy exited {done.returncode}:\n{done.stderr}")
        say(f"{what}: helm upgrade --install --wait --timeout {helm_timeout}s")
        measured = _helm(deploys, tag, helm_timeout, settings=settings, works=False)
        # It waits to its very end, whenever that is.
        reckoned = measured + FULL_TIMEOUT_SECONDS - helm_timeout
        how = "" if helm_timeout == FULL_TIMEOUT_SECONDS else f", reckoned from {helm_timeout}s"
        yield ratio(
            f"{what}: inv deploy, to the way back / helm --wait --timeout 5m{how}",
            ours,
            reckoned,
            LIMIT,
        )


def _helm(
    deploys: Deploys, tag: str, timeout: int, *, settings: dict[str, Any], works: bool
) -> float:
    """Deploy a tag by plain Helm; return the seconds."""
    names = deploys.names(PLAIN)
    chart = str(deploys.env.checkout / "helm" / "mautic")
    argv = [
        *(str(deploys.env.helm), "upgrade", "--install", names.release, chart, "--wait"),
        *(f"--timeout={timeout}s", f"--namespace={names.namespace}", "--force-conflicts"),
        *deploys.helm_values(PLAIN, tag=tag, settings=settings),
    ]
    started = time.monotonic()
    done = subprocess.run(
        argv,
        env={"KUBECONFIG": str(deploys.env.plane.kubeconfig), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if (done.returncode == 0) != works:
        raise RuntimeError(f"{' '.join(argv)} exited {done.returncode}:\n{done.stderr}")
    return seconds

"""Runs a command with a real node to work on: `python -m tests.support.realnode COMMAND…`.

The node is the one that MAUTIC_NODE_CONTEXT names, a context of KUBECONFIG; MAUTIC_NODE_REGISTRY is
then the host and port of a registry that both this machine and the node reach under that name.
MAUTIC_NODE_ISSUER may name the folder of an issuer whose tokens the API server trusts
(tests/support/issuer.py), and into whose cluster a platform may be installed. Without these a node
is started on this machine for the time of the command, given root and its programs
(KUBEBUILDER_ASSETS); where those are missing, too, that is said, and nothing is run.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

import docker

from tests.conftest import running_registry
from tests.support.controlplane import assets
from tests.support.images import debian
from tests.support.issuer import Issuer
from tests.support.realnode.machine import RealNode, lacking

CONTEXT = "MAUTIC_NODE_CONTEXT"
REGISTRY = "MAUTIC_NODE_REGISTRY"
ISSUER = "MAUTIC_NODE_ISSUER"


def main(argv: list[str]) -> int:
    """Run the command; return its exit status."""
    # Without this a request to end would leave the node behind.
    signal.signal(signal.SIGTERM, _leave)
    if os.environ.get(CONTEXT):
        if missing := [name for name in (REGISTRY, "KUBECONFIG") if not os.environ.get(name)]:
            sys.stderr.write(f"{CONTEXT} needs {' and '.join(missing)}\n")
            return 2
        return run(argv, os.environ)
    # Where the system's own programs lie, which not everybody's PATH names.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    folder, lacks = assets(), lacking()
    if lacks or folder is None:
        sys.stderr.write(
            f"SKIPPED: nothing ran on a real node: this machine lacks {', '.join(lacks)}\n"
            f"SKIPPED: name one with {CONTEXT} and {REGISTRY}, or give what is missing\n"
        )
        return 0
    with node(folder) as variables:
        return run(argv, {**os.environ, **variables})


def run(argv: list[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end; return its exit status.

    A Ctrl-C reaches the command by itself, and another signal is passed on: the command ends in its
    own time, and the node after it.
    """
    with subprocess.Popen(argv, env=environment) as process:
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


@contextlib.contextmanager
def node(folder: Path) -> Iterator[dict[str, str]]:
    """Start a node and a registry; yield the variables that name them."""
    engine = docker.from_env()
    root = Path(tempfile.mkdtemp(prefix=f"multidev-node-{secrets.token_hex(2)}-", dir="/var/tmp"))
    try:
        with running_registry(engine) as registry, Issuer(root / "issuer") as issuer:
            pause = f"{registry}/pause:1"
            dockerfile = f'FROM {debian(engine)}\nENTRYPOINT ["/bin/sleep", "infinity"]\n'
            engine.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=pause, rm=True)
            for event in engine.images.push(pause, stream=True, decode=True):
                assert "error" not in event, event
            engine.images.remove(pause)
            with RealNode(folder, root, registry, pause, issuer) as made:
                yield {
                    "KUBECONFIG": str(made.plane.kubeconfig),
                    CONTEXT: "test",
                    REGISTRY: registry,
                    ISSUER: str(root / "issuer"),
                }
    finally:
        engine.close()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

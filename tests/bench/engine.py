"""A Docker Engine of the bench's own: emptied at will, and nothing of this machine's in it.

It lives in a network namespace, so that its firewall rules, its bridge and its ports meet nobody
else's; a pair of virtual interfaces joins it to this machine's docker0, and by that to Debian's
mirrors. Whatever talks to it runs in the namespace too: there, localhost is its localhost.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
NEEDS = ("dockerd", "docker", "ip", "nsenter")


class NotHereError(Exception):
    """This machine cannot have a second engine; the message says why."""


@dataclass(frozen=True)
class PrivateEngine:
    """The engine.

    Attributes:
        namespace: the network namespace it lives in.
        folder: its data, socket and log.
    """

    namespace: str
    folder: Path

    @property
    def host(self) -> str:
        """What DOCKER_HOST must be."""
        return f"unix://{self.folder}/docker.sock"

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return a command that runs in the engine's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *argv]

    def run(self, *argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
        """Run a command in the engine's network and return its stdout.

        Raises:
            RuntimeError: it failed; its output is in the message.
        """
        done = subprocess.run(
            self.inside(argv),
            env={**os.environ, "DOCKER_HOST": self.host, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            said = done.stdout + done.stderr
            raise RuntimeError(f"{' '.join(argv)} exited {done.returncode}:\n{said}")
        return done.stdout

    def empty(self) -> None:
        """Remove every cache, and every image that no container uses: the registry's stays."""
        self.run("docker", "builder", "prune", "--all", "--force")
        self.run("docker", "image", "prune", "--all", "--force")
        # What is removed in the background would be counted with what is measured next.
        os.sync()


@contextlib.contextmanager
def private_engine() -> Iterator[PrivateEngine]:
    """Start an engine; it and all it made are gone afterwards.

    Raises:
        NotHereError: this machine cannot have one.
    """
    if os.geteuid() != 0:
        raise NotHereError("only root can start a second Docker Engine")
    lacking = [name for name in NEEDS if shutil.which(name) is None]
    if lacking:
        raise NotHereError(f"a second Docker Engine needs {', '.join(lacking)}")
    name = f"bench{secrets.token_hex(3)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/var/tmp"))
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        _join_network(name, undo)
        engine = PrivateEngine(name, folder)
        argv = engine.inside(
            [
                "dockerd",
                f"--host={engine.host}",
                f"--data-root={folder}/data",
                f"--exec-root={folder}/exec",
                f"--pidfile={folder}/pid",
                # Apart from docker0, which is the way out.
                "--bip=10.213.0.1/24",
                "--default-address-pool=base=10.214.0.0/16,size=24",
            ]
        )
        with (folder / "log").open("w") as log:
            daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        undo.callback(_stop, daemon)
        _await(engine, daemon)
        undo.callback(_remove_containers, engine)
        yield engine


def _join_network(name: str, undo: contextlib.ExitStack) -> None:
    found = subprocess.run(
        ["ip", "-json", "address", "show", "docker0"], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        raise NotHereError("this machine's own Docker Engine must run: docker0 is the way out")
    addresses: list[dict[str, Any]] = json.loads(found.stdout)[0]["addr_info"]
    own = next(one for one in addresses if one["family"] == "inet")
    gateway = ipaddress.ip_interface(f"{own['local']}/{own['prefixlen']}")
    # The engine gives addresses out from the bottom of docker0's network.
    address = gateway.network.broadcast_address - (2 + secrets.randbelow(200))
    inside, outside = f"{name}i", f"{name}o"
    _ip("netns", "add", name)
    undo.callback(_ip, "netns", "delete", name)
    _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
    _ip("link", "set", outside, "master", "docker0", "up")
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "address", "add", f"{address}/{gateway.network.prefixlen}", "dev", inside)
    _ip("-n", name, "link", "set", inside, "up")
    _ip("-n", name, "route", "add", "default", "via", str(gateway.ip))


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


def _await(engine: PrivateEngine, daemon: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            engine.run("docker", "version")
            return
        except RuntimeError as error:
            if daemon.poll() is not None or time.monotonic() > end:
                said = (engine.folder / "log").read_text()[-2000:]
                raise NotHereError(f"a second Docker Engine does not start:\n{said}") from error
            time.sleep(0.2)


def _remove_containers(engine: PrivateEngine) -> None:
    there = engine.run("docker", "ps", "--all", "--quiet").split()
    if there:
        engine.run("docker", "rm", "--force", "--volumes", *there)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    daemon.wait(timeout=60)

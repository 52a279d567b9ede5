"""The waker of the local platform: the proxy, the waker and the gate as they run, on a real engine.

What it wakes are played services, with the labels and the record of a branch.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from entrance.machine import FRESH_SECONDS
from tasks.adapters.files.lock import FileLock
from tasks.core.compose.record import ComposeRecord, owner_labels
from tasks.core.compose.stages import PROJECT, SERVICE
from tasks.core.environment import Holder, Owner, State
from tasks.core.sleep import Sleep, Wake
from tests.integration.standin_support import (
    PLATFORM_FILE,
    TEST_LABEL,
    Project,
    proxy,
    until,
)
from tests.support.entrance import BROWSER, PROGRAM, entrance_image
from tests.unit.entrance.test_visits import AGENTS

WEB = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8080, bind='0.0.0.0')"
IDLE = "import signal; signal.pause()"
ORDER = ("database", "fpm", "web", "worker")
ME = Holder("ada@host", os.getpid(), "2026-01-01T00:00:00+00:00", "deploy")
SLEEP = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A local platform with a waker, and one branch on it that sleeps."""

    def __init__(self, engine: docker.DockerClient, image: str, scratch: Path, proxy: str) -> None:
        self.engine = engine
        self.image = image
        self.name = f"wake-{secrets.token_hex(3)}"
        self.project, self.slug = f"{self.name}-x", f"x{secrets.token_hex(3)}"
        self.port = free_port()
        self.locks = scratch / "locks"
        self.lock = FileLock(self.project, self.locks)
        self.locks.mkdir(mode=0o700)
        variables = {
            **{"REGISTRY_REF": "x", "REGISTRY_PORT": "1", "PROXY_REF": proxy},
            **{"PLATFORM_NETWORK": self.name, "PLATFORM_ADDRESS": "127.0.0.1"},
            **{"PROXY_PORT": str(self.port), "ENTRANCE_REF": image, "LOCKS": str(self.locks)},
            "LOCKS_USER": f"{os.getuid()}:{os.getgid()}",
        }
        self.platform = Project(self.name, PLATFORM_FILE, variables, scratch)
        self.made: list[Any] = []

    def start(self) -> None:
        self.platform.compose("--profile=wake", "up", "-d", "--wait", "proxy", "gate", "waker")
        for service in ORDER:
            self.add(service, WEB if service == "web" else IDLE)
        self.record(SLEEP)
        self.wait_until_seen()

    def wait_until_seen(self) -> None:
        """Wait until the waker's last listing is over."""
        time.sleep(FRESH_SECONDS * 2)

    def add(self, service: str, program: str) -> Any:
        """Make a service that does not run."""
        owner = Owner("local", self.slug, "feature/x", "r")
        labels = {**owner_labels(owner), PROJECT: self.project, SERVICE: service, TEST_LABEL: "1"}
        alias = {"aliases": [f"{self.slug}.mautic.internal"]} if service == "web" else {}
        config = self.engine.api.create_endpoint_config(**alias)
        one = self.engine.containers.create(
            self.image,
            ["-c", program],
            entrypoint="python3",
            name=f"{self.project}-{service}-1",
            labels=labels,
            network=self.name,
            networking_config={self.name: config},
            healthcheck={"test": ["CMD", "true"], "interval": 300_000_000},
            stop_signal="SIGKILL",
        )
        self.made.append(one)
        return one

    def record(self, asleep: Sleep | None) -> None:
        """Write the record of the branch, as the suite does."""
        owner = Owner("local", self.slug, "feature/x", "r")
        record = ComposeRecord(State.READY, "http://x", asleep=asleep)
        labels = {**owner_labels(owner), **record.to_labels(), PROJECT: self.project}
        name = f"{self.project}_record-{time.time_ns()}"
        self.made.append(self.engine.volumes.create(name, labels={**labels, TEST_LABEL: "1"}))

    def sleep(self) -> None:
        """Put it to sleep, as the suite does."""
        with self.lock.held(ME, print):
            self.lock.note_wake(Wake.NOT)
            self.record(SLEEP)
            for one in self.services().values():
                one.stop(timeout=1)
        self.wait_until_seen()

    def services(self) -> dict[str, Any]:
        label = {"label": f"{PROJECT}={self.project}"}
        found = self.engine.containers.list(all=True, filters=label)
        return {one.labels[SERVICE]: one for one in found}

    def running(self) -> set[str]:
        return {name for name, one in self.services().items() if one.status == "running"}

    def started(self) -> list[str]:
        """Return which services the gate has started, as its log says."""
        said = self.platform.container(self.engine, "gate").logs().decode().splitlines()
        lines = [line for line in said if self.project in line and "started" in line]
        return [line.split()[-1] for line in lines]

    def get(
        self, path: str = "/", agent: dict[str, str] = BROWSER, method: str = "GET", slug: str = ""
    ) -> requests.Response:
        host = f"{slug or self.slug}.localhost:{self.port}"
        url = f"http://127.0.0.1:{self.port}{path}"
        return requests.request(method, url, headers={**agent, "Host": host}, timeout=40)

    def is_awake(self) -> bool:
        return self.lock.wake() is Wake.DONE and self.running() == set(ORDER)

    def remove(self) -> None:
        for one in self.made:
            with contextlib.suppress(docker.errors.NotFound):
                one.remove(force=True)
        self.platform.down()


@pytest.fixture(scope="module")
def machine(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    made = Machine(
        engine, entrance_image(engine), tmp_path_factory.mktemp("machine"), proxy(engine)
    )
    try:
        made.start()
        yield made
    finally:
        for service in ("gate", "waker"):
            with contextlib.suppress(Exception):
                print(made.platform.container(engine, service).logs().decode())  # noqa: T201
        made.remove()


@pytest.fixture
def asleep(machine: Machine) -> Machine:
    if machine.running():
        machine.sleep()
    return machine


def told(machine: Machine, words: str) -> str:
    """Return the page once it has these words."""
    look: Callable[[], str] = lambda: page if words in (page := machine.get().text) else ""  # noqa: E731
    return str(until(words, look, 90))


def test_bots_posts_and_what_pages_load_wake_nothing(asleep: Machine) -> None:
    for agent in AGENTS:
        found = asleep.get(agent={**BROWSER, "User-Agent": agent})
        assert (found.status_code, found.headers["Retry-After"]) == (503, "120"), agent
    assert asleep.get("/mtracking.gif").status_code == 503
    assert asleep.get("/form/submit", method="POST").status_code == 503
    time.sleep(1)
    assert asleep.running() == set()
    assert asleep.lock.wake() is Wake.NOT


def test_a_hundred_visitors_wake_it_once_in_order(asleep: Machine) -> None:
    before = len(asleep.started())
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda _: asleep.get(), range(100)))
    assert {reply.status_code for reply in replies} <= {200, 503}
    assert "waking up" in replies[0].text
    assert 'http-equiv="refresh"' in replies[0].text
    until("environment that is awake", asleep.is_awake, 60)
    assert asleep.get().status_code == 200
    # Each once, and each after what it needs.
    assert asleep.started()[before:] == list(ORDER)
    assert asleep.lock.used_at()
    # The record still says that it sleeps: the suite reads both.
    assert asleep.lock.holder() is None


def test_a_program_gets_the_answer_that_it_waits_for(asleep: Machine) -> None:
    found = asleep.get("/", PROGRAM)
    assert (found.status_code, "Directory listing" in found.text) == (200, True)


def test_while_a_command_holds_it_nothing_is_started_and_the_page_says_so(
    asleep: Machine,
) -> None:
    with asleep.lock.held(ME, print):
        page = told(asleep, "Somebody is changing")
        assert "ada@host" not in page
        assert asleep.running() == set()
    until("environment that is awake", asleep.is_awake, 60)


def test_a_waker_that_is_killed_goes_on_without_a_visitor(asleep: Machine) -> None:
    asleep.get()
    until("mark", lambda: asleep.lock.wake() is Wake.BEGUN)
    waker = asleep.platform.container(asleep.engine, "waker")
    waker.kill()
    # The engine takes a kill by hand for the user's wish; after a crash it starts it by itself.
    waker.start()
    until("environment that is awake", asleep.is_awake, 60)


def test_what_was_put_to_sleep_meanwhile_stays_asleep(asleep: Machine) -> None:
    asleep.lock.note_wake(Wake.BEGUN)
    asleep.lock.note_wake(Wake.NOT)
    time.sleep(6)
    assert asleep.running() == set()


def test_the_cause_of_what_does_not_come_up_is_named(asleep: Machine) -> None:
    asleep.services()["fpm"].remove(force=True)
    broken = asleep.add("fpm", "raise SystemExit(3)")
    page = told(asleep, "does not come up")
    assert "fpm ended: exit status 3" in page
    assert "inv logs" in page
    assert "web" not in asleep.running()
    broken.remove(force=True)
    asleep.add("fpm", IDLE)
    until("environment that is awake", asleep.is_awake, 60)


def test_only_what_sleeps_is_started(asleep: Machine) -> None:
    asleep.record(None)
    asleep.wait_until_seen()
    found = asleep.get()
    assert (found.status_code, "is starting" in found.text) == (503, True)
    time.sleep(2)
    assert asleep.running() == set()
    assert asleep.get(slug="nobody").status_code == 404


def test_the_waker_reaches_the_engine_by_the_gate_alone(machine: Machine) -> None:
    mounts = {
        name: {mount["Destination"] for mount in self.attrs["Mounts"]}
        for name in ("gate", "waker", "proxy")
        if (self := machine.platform.container(machine.engine, name))
    }
    assert mounts == {
        "gate": {"/run/engine.sock", "/run/gate"},
        "waker": {"/run/gate", "/locks"},
        "proxy": set(),
    }
    gate = machine.platform.container(machine.engine, "gate")
    assert list(gate.attrs["NetworkSettings"]["Networks"]) == ["none"]
    assert gate.attrs["HostConfig"]["CapDrop"] == ["ALL"]
    ask = (
        "import sys; from pathlib import Path; from entrance.gate import UnixConnection\n"
        "for method, path in (line.split() for line in sys.argv[1].splitlines()):\n"
        "    c = UnixConnection(Path('/run/gate/gate.sock'), 5); c.request(method, path)\n"
        "    print(c.getresponse().status)\n"
    )
    tries = [
        "GET /containers/json",
        "POST /containers/create",
        f"POST /containers/{gate.id}/start",
        f"POST /{machine.name}/proxy",
        f"POST /{machine.project}/../web",
        f"DELETE /{machine.project}",
        f"POST /{machine.project}",
        "GET /v1.43/info",
    ]
    waker = machine.platform.container(machine.engine, "waker")
    done = waker.exec_run(["python3", "-c", ask, "\n".join(tries)])
    assert done.output.decode().split() == ["404"] * len(tries)


def test_without_a_waker_the_proxy_s_own_pages_are_shown(machine: Machine) -> None:
    machine.platform.compose("--profile=wake", "stop", "--timeout=1", "waker")
    for slug in ("nobody", machine.slug):
        # For a second the proxy knows where the waker was, and says that something starts.
        until("page for a name that is not known", partial(_is_unknown, machine, slug), 90)


def _is_unknown(machine: Machine, slug: str) -> bool:
    found = machine.get(slug=slug)
    return found.status_code == 404 and "inv wake" in found.text

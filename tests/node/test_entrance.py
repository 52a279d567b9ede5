"""The entrance on a real node: visitors come by it, and wake what sleeps."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from entrance.use import WRITE_SECONDS
from tasks.core import door
from tasks.core.kubernetes.entrance import NAME
from tasks.core.kubernetes.labels import ASLEEP, INSTANCE, USED_AT, WAKING
from tests.support.deploys import until
from tests.support.entrance import BROWSER, PROGRAM, entrance_image
from tests.support.realnode.bed import ON, Bed, Object
from tests.support.realnode.platform import RELEASE
from tests.unit.entrance.test_visits import AGENTS

BRANCH = "visited"
WAKES = int(os.environ.get("MAUTIC_MULTIDEV_WAKES", "3"))
KILLS = int(os.environ.get("MAUTIC_MULTIDEV_KILLS", "1"))
"""How often a sleeper is woken; 12 and more for a figure."""


class Entrance:
    """The entrance of the node's cluster, and one branch behind it."""

    def __init__(self, bed: Bed, image: str) -> None:
        self.bed = bed
        self.namespace = f"{bed.project}-platform"
        quick = {"web": {"drainSeconds": 1}}
        own = {"platform_namespace": self.namespace, "entrance": image}
        self.settings = bed.settings(quick, **own)
        self.names = bed.names(BRANCH)

    def run(self, task: str, *options: str) -> None:
        self.bed.ok(task, *ON, *options, settings=self.settings)

    def sleep(self) -> None:
        self.run("sleep", "--branch", BRANCH)

    @property
    def password(self) -> str:
        secret = self.bed.cluster.get("Secret", "mautic", self.names.namespace)
        assert secret
        return base64.b64decode(secret["data"][door.KEY]).decode()

    def generations(self) -> dict[str, int]:
        """Return how often what each workload is to be was changed."""
        return {
            item["metadata"]["name"]: item["metadata"]["generation"]
            for kind in ("Deployment", "StatefulSet", "CronJob")
            for item in self.bed.cluster.find(
                kind, self.names.namespace, f"{INSTANCE}={self.names.release}"
            )
        }

    def pods(self) -> list[Object]:
        found = self.bed.cluster.find("Pod", self.namespace, "app.kubernetes.io/component=entrance")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def address(self) -> str:
        service = self.bed.cluster.get("Service", NAME, self.namespace)
        assert service
        return str(service["spec"]["clusterIP"])

    def visit(
        self, path: str = "/s/login", agent: dict[str, str] | None = None, method: str = "GET"
    ) -> requests.Response:
        """Return the answer to a visitor who has the door's password."""
        headers = {**(agent or BROWSER), "Host": self.names.host, **door.headers(self.password)}
        return requests.request(
            method,
            f"http://{self.address()}{path}",
            headers=headers,
            timeout=40,
            allow_redirects=False,
        )

    def wait_for_page(self, seconds: float = 120) -> tuple[float, list[str]]:
        """Return how long a browser waits for the first page, and the titles that it shows."""
        began, titles = time.monotonic(), []
        while True:
            found = self.visit()
            if found.status_code == 200 and "password" in found.text:
                return time.monotonic() - began, titles
            titles.append(found.text.partition("<title>")[2].partition("</title>")[0])
            assert time.monotonic() - began < seconds, (found.status_code, found.text[-2000:])
            time.sleep(1)

    def said(self) -> dict[str, Any]:
        found = self.bed.cluster.get("Namespace", self.names.namespace)
        assert found
        said: dict[str, Any] = found["metadata"]["annotations"]
        return said

    def is_awake(self) -> bool:
        return not {ASLEEP, WAKING} & set(self.said())

    def living(self) -> list[Object]:
        """Return the pods that run, or are to."""
        up = {"Running", "Pending"}
        return [pod for pod in self.bed.pods(BRANCH) if pod["status"]["phase"] in up]

    def up(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.living()]

    def parts(self) -> set[str]:
        """Return the components that have pods."""
        label = "app.kubernetes.io/component"
        return {pod["metadata"]["labels"][label] for pod in self.living()}

    def told(self, words: str, seconds: float = 60) -> str:
        """Return the page once it has these words."""
        return str(until(lambda: (page := self.visit().text) and words in page and page, seconds))


@pytest.fixture(scope="module")
def entrance(bed: Bed) -> Iterator[Entrance]:
    """An entrance, and a branch that is awake."""
    made = Entrance(bed, bed.push(entrance_image(bed.engine), "entrance"))
    tag = bed.build()
    try:
        refused = bed.deploy(BRANCH, "--tag", tag, settings=made.settings)
        assert refused.returncode == 1
        assert "there is no entrance" in refused.stderr
        made.run("platform.apply")
        until(lambda: "1/2" not in _status(made) and "2/2 ready" in _status(made), 120)
        made.run("deploy", "--branch", BRANCH, "--tag", tag)
        yield made
    finally:
        for pod in made.pods():
            for name in ("lead", "wake"):
                with contextlib.suppress(Exception):
                    print(bed.cluster.logs(made.namespace, pod["metadata"]["name"], name))  # noqa: T201
        bed.run("cleanup", *ON, "--branch", BRANCH, settings=made.settings)
        argv = [str(bed.helm), "uninstall", RELEASE, "--ignore-not-found"]
        where = [f"--namespace={made.namespace}", f"--kube-context={bed.context}"]
        subprocess.run([*argv, *where], check=True, capture_output=True)


def _status(entrance: Entrance) -> str:
    return entrance.bed.run("platform.status", *ON, settings=entrance.settings).stdout


def test_visitors_come_by_the_entrance(entrance: Entrance) -> None:
    assert entrance.visit().status_code == 200
    assert "password" in entrance.visit().text
    unknown = requests.get(
        f"http://{entrance.address()}/",
        headers={**BROWSER, "Host": "nobody.dev.example.com"},
        timeout=60,
    )
    assert unknown.status_code == 404
    # Nobody but the door is in the way: without its password there is no page.
    bare = requests.get(
        f"http://{entrance.address()}/s/login",
        headers={**BROWSER, "Host": entrance.names.host},
        timeout=60,
        allow_redirects=False,
    )
    assert 'name="login[password]"' not in bare.text


def test_the_first_page_of_a_sleeper_comes_by_itself(entrance: Entrance) -> None:
    seconds = []
    for _ in range(WAKES):
        entrance.sleep()
        assert entrance.up() == []
        took, titles = entrance.wait_for_page()
        seconds.append(took)
        # The latter between the end of waking and the proxy's notice of it.
        assert set(titles) <= {"This environment is waking up", "This environment is starting"}
        until(entrance.is_awake, 90)
        # Pods follow what they are scaled to, on a busy machine not at once.
        until(lambda: {"web", "worker"} <= entrance.parts(), 90)
    shown = [round(each, 1) for each in sorted(seconds)]
    print(f"first page after: {shown} s")  # noqa: T201 - for -s


def test_a_hundred_visitors_at_once_scale_each_workload_once(entrance: Entrance) -> None:
    entrance.sleep()
    before = entrance.generations()
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda _: entrance.visit(), range(100)))
    assert {reply.status_code for reply in replies} <= {200, 503}
    until(entrance.is_awake, 90)
    assert {name: now - before[name] for name, now in entrance.generations().items()} == (
        dict.fromkeys(before, 1)
    )


def test_bots_and_posts_wake_nothing_and_a_program_waits_for_its_answer(
    entrance: Entrance,
) -> None:
    entrance.sleep()
    for agent in AGENTS:
        found = entrance.visit("/", {**BROWSER, "User-Agent": agent})
        assert (found.status_code, found.headers["Retry-After"]) == (503, "120")
    assert entrance.visit("/mtracking.gif").status_code == 503
    assert entrance.visit("/form/submit", method="POST").status_code == 503
    assert entrance.up() == []
    began = time.monotonic()
    found = entrance.visit("/s/login", PROGRAM)
    print(f"a program's answer after: {time.monotonic() - began:.1f} s")  # noqa: T201 - for -s
    assert (found.status_code, "password" in found.text) == (200, True)


def test_what_is_visited_is_used(entrance: Entrance) -> None:
    old = "2020-01-01T00:00:00+00:00"
    patch = {"metadata": {"annotations": {USED_AT: old}}}
    time.sleep(WRITE_SECONDS + 2)  # what was visited before is written by then
    entrance.bed.cluster.patch("Namespace", entrance.names.namespace, None, patch)
    entrance.visit("/", {**BROWSER, "User-Agent": AGENTS[0]})
    time.sleep(20)
    assert entrance.said()[USED_AT] == old
    entrance.visit()
    until(lambda: entrance.said()[USED_AT] != old, 90)


def test_the_page_of_all_environments_shows_them_to_who_has_its_password(
    entrance: Entrance,
) -> None:
    said = entrance.bed.ok("page", *ON, "--login", settings=entrance.settings).stdout.splitlines()
    (url, user, password) = (
        line.removeprefix("user: ").removeprefix("password: ") for line in said
    )
    host = urlsplit(url).hostname

    def page(login: tuple[str, str] | None) -> requests.Response:
        headers = {**BROWSER, "Host": str(host)}
        return requests.get(
            f"http://{entrance.address()}/", headers=headers, auth=login, timeout=20
        )

    for login in (None, (user, "another")):
        refused = page(login)
        assert (refused.status_code, entrance.names.slug in refused.text) == (401, False)
    shown = page((user, password))
    assert shown.status_code == 200
    assert f'href="{entrance.names.url}"' in shown.text
    assert 'data-state="running"' in shown.text
    assert password not in shown.text
    entrance.sleep()
    time.sleep(3)  # a page serves all who ask for so long
    until(lambda: 'data-state="asleep"' in page((user, password)).text, 90)
    entrance.wait_for_page()


def test_wakers_that_are_killed_meanwhile_lose_nothing(entrance: Entrance) -> None:
    seconds = []
    for number in range(KILLS):
        entrance.sleep()
        entrance.visit()
        # At another moment of the way to the first page each time.
        time.sleep(number % 5)
        for pod in entrance.pods():
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{entrance.namespace}/pods/{name}"
            entrance.bed.api("DELETE", path, {"gracePeriodSeconds": 0})
        began = time.monotonic()
        # No visitor comes again.
        until(entrance.is_awake, 90)
        seconds.append(round(time.monotonic() - began, 1))
        until(lambda: "2/2 ready" in _status(entrance), 60)
        assert entrance.visit().status_code == 200
    print(f"both killed, awake after: {sorted(seconds)} s")  # noqa: T201 - for -s


def test_a_full_quota_is_named(entrance: Entrance) -> None:
    entrance.sleep()
    where = entrance.names.namespace
    spec = {"hard": {"pods": "0"}}
    meta = {"name": "full", "namespace": where}
    entrance.bed.cluster.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec}
    )
    until(
        lambda: "hard" in (entrance.bed.cluster.get("ResourceQuota", "full", where) or {})["status"]
    )
    entrance.told("refused by a quota")
    entrance.bed.cluster.delete("ResourceQuota", "full", where)
    entrance.wait_for_page()
    until(entrance.is_awake, 90)


def test_an_image_that_is_gone_is_named(entrance: Entrance) -> None:
    entrance.sleep()
    with another_image(entrance):
        entrance.told("the image cannot be pulled")
        assert not entrance.is_awake()
    entrance.wait_for_page()
    until(entrance.is_awake, 90)


@contextlib.contextmanager
def another_image(entrance: Entrance) -> Iterator[None]:
    """Let web have an image that the registry does not have."""
    name, where = f"{entrance.names.release}-web", entrance.names.namespace
    found = entrance.bed.cluster.get("Deployment", name, where)
    assert found
    containers = found["spec"]["template"]["spec"]["containers"]

    def patch(change: Callable[[str], str]) -> None:
        changed = [{**one, "image": change(one["image"])} for one in containers]
        spec = {"template": {"spec": {"containers": changed}}}
        entrance.bed.cluster.patch("Deployment", name, where, {"spec": spec})

    patch(lambda image: f"{image.partition('@')[0]}@sha256:{'0' * 64}")
    try:
        yield
    finally:
        patch(lambda image: image)


def test_while_a_deploy_runs_the_page_waits_for_it(entrance: Entrance) -> None:
    bed = entrance.bed
    bed.change_theme("/* of a deploy */\n")
    tag = bed.build()
    entrance.sleep()
    deploy = bed.start("deploy", *ON, "--branch", BRANCH, "--tag", tag, settings=entrance.settings)
    titles: set[str] = set()
    while deploy.poll() is None:
        titles.add(entrance.visit().text.partition("<title>")[2].partition("</title>")[0])
        time.sleep(0.5)
    out, err = deploy.communicate()
    assert deploy.returncode == 0, out + err
    print(f"titles during a deploy: {sorted(titles)}")  # noqa: T201 - for -s
    assert entrance.visit().status_code == 200
    assert entrance.is_awake()


def test_the_platform_is_as_it_should_be(entrance: Entrance) -> None:
    done = entrance.bed.ok("platform.apply", *ON, settings=entrance.settings)
    assert "everything is as it should be" in done.stderr
    assert "entrance" in _status(entrance)

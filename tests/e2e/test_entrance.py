"""The waker at work: a real API server with its rights and policies, the real program."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrance.overview import FRESH_SECONDS
from entrance.rules import Rules
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tasks.core.environment import Holder
from tasks.core.kubernetes.labels import ASLEEP, MANAGED, PREFIX, USED_AT, WAKING
from tests.support.controlplane import free_ports
from tests.support.deploys import until
from tests.support.entrance import (
    ACCOUNT,
    BROWSER,
    IMAGE,
    LOGIN,
    PAGE,
    PASSWORD,
    PROGRAM,
    SITES,
    Sleeper,
    Waker,
    running,
)
from tests.support.platform import PUBLISHED, Audited, audited, install_chart
from tests.unit.entrance.test_visits import AGENTS, line

PLATFORM = PUBLISHED["platform/namespace"]
USER = f"system:serviceaccount:{PLATFORM}:{ACCOUNT}"
ASLEEP_ALL = {"mysql": 0, "web": 0, "worker": 0, "off": 0, "segments": True}
AWAKE_ALL = {"mysql": 1, "web": 2, "worker": 3, "off": 0, "segments": False}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("entrance-plane"))


@pytest.fixture(scope="module")
def admin(plane: Audited) -> Cluster:
    """The administrator, after the platform has been installed."""
    return install_chart(plane, {"entrance": {"image": IMAGE, "sites": SITES}})


@pytest.fixture(scope="module")
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def wakers(
    plane: Audited, admin: Cluster, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Waker]]:
    """Two of them, as in the cluster."""
    address, scratch = f"127.0.0.1:{port}", tmp_path_factory.mktemp("wakers")
    until(lambda: admin.get("ServiceAccount", ACCOUNT, PLATFORM))
    made = [Waker(plane, PLATFORM, scratch / name, address, name) for name in ("one", "two")]
    with running(made):
        yield made


@pytest.fixture
def sleeper(admin: Cluster, port: int) -> Iterator[Sleeper]:
    made = Sleeper(admin, f"s{secrets.token_hex(3)}", port)
    made.make()
    try:
        yield made
    finally:
        made.end()


def scales(plane: Audited, sleeper: Sleeper) -> Counter[str]:
    """Return how often each workload was changed by the entrance."""
    return Counter(
        entry["objectRef"]["name"]
        for entry in plane.asked(USER)
        if entry["objectRef"].get("namespace") == sleeper.namespace
        and entry["verb"] == "patch"
        and entry["objectRef"]["resource"] in {"deployments", "statefulsets", "cronjobs"}
        and entry["responseStatus"]["code"] == 200
    )


def awake(sleeper: Sleeper) -> bool:
    said = sleeper.said()
    return ASLEEP not in said and WAKING not in said


def test_a_hundred_visitors_wake_it_once(
    plane: Audited, wakers: list[Waker], sleeper: Sleeper
) -> None:
    assert sleeper.state() == ASLEEP_ALL
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda n: wakers[n % 2].get(sleeper.host), range(100)))
    assert {reply.status for reply in replies} == {503}
    assert all('http-equiv="refresh"' in reply.text for reply in replies)
    until(lambda: awake(sleeper), 90)
    assert sleeper.state() == AWAKE_ALL
    # Crons and workers after web.
    assert scales(plane, sleeper) == Counter({"mysql": 1, "web": 1, "worker": 1, "segments": 1})
    assert USED_AT in sleeper.said()


def test_who_waits_for_an_answer_gets_it(wakers: list[Waker], sleeper: Sleeper) -> None:
    with ThreadPoolExecutor(20) as pool:
        replies = list(
            pool.map(lambda n: wakers[n % 2].get(sleeper.host, "/api", PROGRAM), range(20))
        )
    assert {reply.headers.get("X-Accel-Redirect") for reply in replies} == {"@site"}


def test_who_waits_too_long_is_told_to_come_again(wakers: list[Waker], sleeper: Sleeper) -> None:
    sleeper.listening = False
    began = time.monotonic()
    reply = wakers[0].get(sleeper.host, "/api", PROGRAM)
    assert time.monotonic() - began > 24
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    # What waits for web stays as it was.
    assert sleeper.state() == {**ASLEEP_ALL, "mysql": 1, "web": 2}
    sleeper.listening = True
    until(lambda: awake(sleeper), 90)
    assert sleeper.state() == AWAKE_ALL


def test_twenty_bots_and_what_is_loaded_by_itself_wake_nothing(
    plane: Audited, wakers: list[Waker], sleeper: Sleeper
) -> None:
    page = BROWSER["Accept"]
    tries = [(host_agent, "/s/login", "GET") for host_agent in AGENTS]
    tries += [(BROWSER["User-Agent"], path, "GET") for path in ("/mtracking.gif", "/mtc.js")]
    tries += [(BROWSER["User-Agent"], "/s/login", "POST")]
    for agent, target, method in tries:
        headers = {"User-Agent": agent, "Accept": page}
        reply = wakers[0].get(sleeper.host, target, headers, method)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "120"), agent
    time.sleep(1)
    assert sleeper.state() == ASLEEP_ALL
    assert not scales(plane, sleeper)
    assert WAKING not in sleeper.said()


def test_what_is_no_environment_is_not_touched(
    plane: Audited, admin: Cluster, wakers: list[Waker], sleeper: Sleeper
) -> None:
    other = "other.dev.example.com"
    assert wakers[0].get(other).status == 404
    # Another environment's, or a stranger's of that name.
    labels = {"metadata": {"labels": {f"{PREFIX}environment": "prod"}}}
    admin.patch("Namespace", sleeper.namespace, None, labels)
    # A POST wakes nothing while it is not noticed yet.
    until(lambda: wakers[0].get(sleeper.host, method="POST").status == 404)
    assert wakers[0].get(sleeper.host).status == 404
    assert sleeper.state() == ASLEEP_ALL
    assert not scales(plane, sleeper)


def test_a_waker_that_is_killed_loses_nothing(
    plane: Audited, admin: Cluster, port: int, sleeper: Sleeper, tmp_path: Path
) -> None:
    """Twenty times, each at another moment, and no visitor comes again."""
    waker = Waker(plane, PLATFORM, tmp_path / "waker", f"127.0.0.1:{port}", "killed")
    seconds = []
    waker.start()
    try:
        for turn in range(20):
            before = scales(plane, sleeper)
            waker.get(sleeper.host)
            time.sleep(turn * 0.03)
            waker.kill()
            began = time.monotonic()
            waker.start()
            until(lambda: awake(sleeper), 90)
            seconds.append(time.monotonic() - began)
            assert sleeper.state() == AWAKE_ALL
            # What the API server was doing for it at that moment was done, and answered to nobody.
            done = scales(plane, sleeper) - before
            assert done <= Counter({"mysql": 1, "web": 1, "worker": 1, "segments": 1}), turn
            sleeper.sleep()
            until(lambda: ASLEEP in sleeper.said())
    finally:
        waker.kill()
    print(f"after a kill: {max(seconds):.1f} s at most")  # noqa: T201 - for -s


def test_while_a_deploy_holds_it_nothing_is_changed_and_the_page_says_so(
    plane: Audited, admin: Cluster, wakers: list[Waker], sleeper: Sleeper
) -> None:
    me = Holder("ada@host", 1, "", "deploy", job="https://ci.example.com/1")
    with LeaseLock(admin, sleeper.namespace, me, wait_seconds=5, say=lambda _: None):
        until(lambda: "Somebody is changing" in wakers[0].get(sleeper.host).text, 90)
        time.sleep(1)
        page = wakers[0].get(sleeper.host).text
        assert "deploy" in page
        assert "ci.example.com" not in page
        assert sleeper.state() == ASLEEP_ALL
    until(lambda: awake(sleeper), 90)
    assert sleeper.state() == AWAKE_ALL
    assert sum(scales(plane, sleeper).values()) == 4


def test_a_full_quota_is_named_and_what_was_begun_goes_on_when_there_is_room(
    admin: Cluster, wakers: list[Waker], sleeper: Sleeper
) -> None:
    sleeper.listening = False
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "full", "namespace": sleeper.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    admin.create(quota)
    until(lambda: "hard" in (admin.get("ResourceQuota", "full", sleeper.namespace) or {})["status"])
    until(lambda: "refused by a quota" in wakers[0].get(sleeper.host).text, 90)
    admin.delete("ResourceQuota", "full", sleeper.namespace)
    sleeper.listening = True
    until(lambda: awake(sleeper), 60)
    assert sleeper.state() == AWAKE_ALL


def test_who_is_put_to_sleep_again_meanwhile_sleeps_until_somebody_asks(
    wakers: list[Waker], sleeper: Sleeper
) -> None:
    sleeper.listening = False
    wakers[0].get(sleeper.host)
    until(lambda: sleeper.state()["web"] == 2, 90)
    patch = {"metadata": {"annotations": {WAKING: None}}}
    sleeper.admin.patch("Namespace", sleeper.namespace, None, patch)
    sleeper.sleep()
    sleeper.listening = True
    time.sleep(8)
    assert sleeper.state() == ASLEEP_ALL
    wakers[0].get(sleeper.host)
    until(lambda: awake(sleeper), 90)


def test_a_visit_is_noted_at_most_every_five_minutes(
    plane: Audited, wakers: list[Waker], sleeper: Sleeper
) -> None:
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    patch = {"metadata": {"annotations": {USED_AT: old, ASLEEP: None}}}
    sleeper.admin.patch("Namespace", sleeper.namespace, None, patch)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def visit() -> None:
            for waker in wakers:
                sender.sendto(
                    line(host=sleeper.host, agent=AGENTS[0]), ("127.0.0.1", waker.port + 1)
                )
                sender.sendto(line(host=sleeper.host), ("127.0.0.1", waker.port + 1))

        visit()
        until(lambda: sleeper.said()[USED_AT] > old, 90)
        noted = sleeper.said()[USED_AT]
        visit()
        time.sleep(17)
    assert sleeper.said()[USED_AT] == noted


def test_it_may_do_nothing_else(
    plane: Audited, admin: Cluster, sleeper: Sleeper, tmp_path: Path
) -> None:
    waker = Waker(plane, PLATFORM, tmp_path / "account", "127.0.0.1:1", "x")
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", "admin")
    text = (
        kubeconfig.read_text()
        .replace("client-certificate", "unused")
        .replace("client-key", "unused2")
    )
    token = (tmp_path / "account" / "token").read_text()
    kubeconfig.write_text(text.replace('"user": {', f'"user": {{"token": "{token}", '))
    api = Transport("test", str(kubeconfig), 5)
    del waker
    apps = f"/apis/apps/v1/namespaces/{sleeper.namespace}"
    merge = "application/merge-patch+json"

    def refused(method: str, path: str, body: object = None) -> bool:
        made = ApiRequest(method, path, body=body, content_type=merge)  # type: ignore[arg-type]
        return api.attempt(made).status in {403, 422}

    scale = {"spec": {"replicas": 5}}
    assert not refused("PATCH", f"{apps}/deployments/web/scale", scale)
    # It has pods now.
    for count in (0, 7):
        assert refused("PATCH", f"{apps}/deployments/web/scale", {"spec": {"replicas": count}})
    own = f"/apis/apps/v1/namespaces/{PLATFORM}/deployments/{ACCOUNT}/scale"
    assert refused("PATCH", own, scale)
    assert refused("PATCH", f"{apps}/deployments/web", scale)
    assert refused("GET", f"/api/v1/namespaces/{sleeper.namespace}/secrets")
    assert refused("GET", f"/api/v1/namespaces/{sleeper.namespace}/configmaps")
    job = f"/apis/batch/v1/namespaces/{sleeper.namespace}/cronjobs/segments"
    assert refused("PATCH", job, {"spec": {"schedule": "* * * * *", "suspend": False}})
    assert refused("PATCH", job, {"spec": {"suspend": True}})
    assert not refused("PATCH", job, {"spec": {"suspend": False}})
    namespace = f"/api/v1/namespaces/{sleeper.namespace}"
    for meta in (
        {"labels": {f"{PREFIX}environment": "prod"}},
        {"annotations": {f"{PREFIX}branch": "other"}},
        {"annotations": {f"{PREFIX}pin": None, "x": "y"}},
        {"annotations": {ASLEEP: "another"}},
    ):
        assert refused("PATCH", namespace, {"metadata": meta}), meta
    assert not refused("PATCH", namespace, {"metadata": {"annotations": {ASLEEP: None}}})
    assert refused("PATCH", namespace, {"metadata": {"annotations": {ASLEEP: "again"}}})
    assert refused(
        "PATCH", f"/api/v1/namespaces/{PLATFORM}", {"metadata": {"annotations": {WAKING: "x"}}}
    )
    assert refused("DELETE", namespace)


def test_it_answers_for_five_hundred_environments(
    plane: Audited, admin: Cluster, wakers: list[Waker]
) -> None:
    slugs = [f"many-{number}" for number in range(500)]

    def plant(slug: str) -> None:
        labels = {**MANAGED, f"{PREFIX}environment": "dev", f"{PREFIX}slug": slug}
        meta = {"name": f"mautic-{slug}", "labels": labels, "annotations": {ASLEEP: "{}"}}
        admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

    bot = {**BROWSER, "User-Agent": AGENTS[0]}

    def ask(slug: str) -> str:
        return wakers[0].get(f"{slug}.dev.example.com", headers=bot).text

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(plant, slugs))
        until(lambda: "sleeps" in ask(slugs[-1]), 90)
        asked = len(list(plane.asked(USER)))
        began = time.monotonic()
        answers = list(pool.map(ask, slugs))
        seconds = time.monotonic() - began
        print(f"500 answers in {seconds:.1f} s")  # noqa: T201 - for -s
        assert all(f"{slug} sleeps" in text for slug, text in zip(slugs, answers, strict=True))
        # It knows them by its watch: nobody is asked for an answer.
        assert len(list(plane.asked(USER))) == asked
        began = time.monotonic()
        page = wakers[0].get(PAGE, "/", login=LOGIN).text
        print(f"the page of all in {time.monotonic() - began:.1f} s")  # noqa: T201 - for -s
        assert page.count('<tr role="row" data-state') >= 500
        list(pool.map(lambda slug: admin.delete("Namespace", f"mautic-{slug}"), slugs))


def test_the_page_of_all_environments_is_for_who_has_its_password(
    plane: Audited, admin: Cluster, wakers: list[Waker], sleeper: Sleeper
) -> None:
    for login in (None, ("preview", "another"), ("admin", PASSWORD)):
        for method in ("GET", "HEAD", "POST"):
            reply = wakers[0].get(PAGE, "/", method=method, login=login)
            assert reply.status == 401
            assert sleeper.slug not in reply.text
    until(lambda: sleeper.slug in wakers[0].get(PAGE, "/", login=LOGIN).text, 90)
    time.sleep(FRESH_SECONDS)
    before = len(list(plane.asked(USER)))
    reply = wakers[0].get(PAGE, "/", login=LOGIN)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    # Nobody else's, nor a branch: it was woken by nobody.
    assert sleeper.state() == ASLEEP_ALL
    asked = [entry["requestURI"] for entry in plane.asked(USER)][before:]
    assert len([uri for uri in asked if "deployments" in uri or "leases" in uri]) == 2
    # Who holds an environment is known by its Lease, of which it may list the one of that name.
    me = Holder("ada@host", 1, "", "deploy")
    with LeaseLock(admin, sleeper.namespace, me, wait_seconds=5, say=lambda _: None):
        until(lambda: "deploying" in wakers[0].get(PAGE, "/", login=LOGIN).text, 90)
    assert wakers[0].get(sleeper.host, "/", login=LOGIN).status == 503


def test_the_rules_of_the_chart_are_those_that_the_program_reads(admin: Cluster) -> None:
    config = admin.get("ConfigMap", ACCOUNT, PLATFORM)
    assert config
    place = Rules.from_json(config["data"]["rules.json"]).place_of("a-b.dev.example.com")
    assert place
    assert (place.namespace, place.address) == (
        "mautic-a-b",
        "entrance.mautic-a-b.svc.cluster.local:80",
    )

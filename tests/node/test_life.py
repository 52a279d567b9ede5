"""The life of two branches on a real node, from their first deploy to their clean-up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from subprocess import CompletedProcess
from typing import Any

import docker
import pytest

from tasks.core.errors import ClusterError
from tests.support.deploys import Lines, until
from tests.support.images import mailpit
from tests.support.local import LINES_MAX, printed
from tests.support.realnode.bed import LITTLE, ON, SERVED_THEME, Bed, Object
from tests.support.suite import git

BRANCH = "feature/Login"
OTHER = "other"


@dataclass
class Life:
    """What was seen of two branches.

    Attributes:
        done: the runs, by what they were.
        seen: what else was seen, by when.
    """

    done: dict[str, CompletedProcess[str]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def life(bed: Bed) -> Iterator[Life]:
    """Two branches that are deployed; one of them is then changed, and taken back."""
    told = Life()
    done, seen = told.done, told.seen
    for branch in (BRANCH, OTHER):
        git(bed.checkout, "push", "--quiet", "origin", f"main:refs/heads/{branch}")
    first = bed.build()
    done["first"] = bed.deploy(BRANCH, "--tag", first)
    seen["first theme"] = bed.get(BRANCH, SERVED_THEME)
    seen["uids"] = bed.uids(BRANCH)
    done["unchanged"] = bed.deploy(BRANCH, "--tag", first)
    seen["uids after nothing"] = bed.uids(BRANCH)
    done["other"] = bed.deploy(OTHER, "--tag", first)
    bed.change_theme("/* second */\n")
    second = bed.build()
    done["changed"] = bed.deploy(BRANCH, "--tag", second)
    seen["second theme"] = bed.get(BRANCH, SERVED_THEME)
    yield told


def test_all_runs_work(life: Life) -> None:
    assert {name: done.returncode for name, done in life.done.items()} == dict.fromkeys(
        life.done, 0
    ), [done.stderr for done in life.done.values() if done.returncode]


def test_a_healthy_deploy_is_told_in_few_lines_and_none_twice(life: Life) -> None:
    for name in ("first", "changed"):
        # What is waited for is told the more often the longer it takes.
        lines = [x for x in printed(life.done[name]) if not x.startswith("  waiting for ")]
        assert len(lines) <= LINES_MAX, life.done[name].stderr
        assert len(set(lines)) == len(lines), life.done[name].stderr


def test_the_first_deploy_serves_and_tells_the_password_once(life: Life, bed: Bed) -> None:
    assert life.done["first"].stdout.strip() == bed.names(BRANCH).url
    assert life.done["first"].stderr.count("log in as admin with the password ") == 1
    assert "password" not in life.done["changed"].stderr
    status, body = bed.get(BRANCH, "/s/login")
    assert status == 200
    assert "password" in body


def test_nothing_changed_means_that_nothing_is_done(life: Life) -> None:
    assert "everything is as it should be" in life.done["unchanged"].stderr
    assert life.seen["uids after nothing"] == life.seen["uids"]


def test_a_changed_theme_is_served(life: Life) -> None:
    assert life.seen["first theme"] == (200, "/* first */\n")
    assert life.seen["second theme"] == (200, "/* second */\n")


@pytest.mark.usefixtures("life")
def test_commands_run_in_the_environment(bed: Bed) -> None:
    done = bed.ok("console", *ON, "--branch", BRANCH, "--", "doctrine:migrations:up-to-date")
    assert "Up-to-date" in done.stdout + done.stderr


@pytest.mark.usefixtures("life")
def test_logs_tell_which_pod_they_are_from(bed: Bed) -> None:
    bed.get(BRANCH, "/s/login")
    done = bed.ok("logs", *ON, "--branch", BRANCH, "--service", "web", "--tail", "50")
    (web,) = bed.ready(BRANCH)
    assert web in done.stdout
    assert "/s/login" in done.stdout


@pytest.mark.usefixtures("life")
def test_status_and_list_tell_the_truth(bed: Bed) -> None:
    parts = json.loads(bed.ok("status", *ON, "--branch", BRANCH, "--format", "json").stdout)
    assert {"web", "worker-email", "worker-hit", "mysql"} <= {part["service"] for part in parts}
    rows = json.loads(bed.ok("list", *ON, "--format", "json").stdout)
    assert {(row["branch"], row["state"]) for row in rows} == {
        (BRANCH, "running"),
        (OTHER, "running"),
    }


@pytest.mark.usefixtures("life")
def test_workers_wait_for_work(bed: Bed) -> None:
    pods = bed.pods(BRANCH, "worker")
    workers = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    assert len(workers) == 2
    for pod in workers:
        [status] = pod["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"]) == (True, 0)


@pytest.mark.usefixtures("life")
def test_a_branch_s_scheduled_commands_run_in_one_pod(bed: Bed) -> None:
    names = bed.names(BRANCH)
    assert bed.cluster.find("CronJob", names.namespace) == []
    pods = bed.pods(BRANCH, "cron")
    [pod] = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def log() -> str:
        return bed.cluster.logs(names.namespace, pod["metadata"]["name"], "cron") or ""

    # One of them is due each minute at most a few minutes apart.
    until(lambda: "messages-send" in log() or "import" in log(), seconds=240)


# -- what keeps branches apart --------------------------------------------------------------------

CONNECT = """
$socket = @stream_socket_client("tcp://{host}:3306", $code, $words, 3);
echo $socket ? "reached" : "not reached: ".$words;
"""


@pytest.mark.usefixtures("life")
@pytest.mark.parametrize("whose", [BRANCH, OTHER])
def test_a_branch_reaches_its_own_database_alone(bed: Bed, whose: str) -> None:
    names = bed.names(whose)
    host = f"{names.release}-mysql.{names.namespace}.svc.cluster.local"
    code = " ".join(CONNECT.replace("{host}", host).split())
    done = bed.ok("shell", *ON, "--branch", BRANCH, "--command", f"php -r '{code}'")
    assert done.stdout.strip().startswith("reached" if whose == BRANCH else "not reached")


# -- mail -----------------------------------------------------------------------------------------

SEND = """
$where = parse_url(getenv("MAUTIC_MAILER_DSN"));
$smtp = stream_socket_client("tcp://{$where["host"]}:{$where["port"]}", $code, $words, 10);
foreach (["HELO x", "MAIL FROM:<us@example.com>", "RCPT TO:<jane@example.org>", "DATA",
          "Subject: SUBJECT\\r\\n\\r\\nHello\\r\\n.", "QUIT"] as $line) {
    echo fgets($smtp);
    fwrite($smtp, $line."\\r\\n");
}
echo fgets($smtp);
"""
REACH = """
import socket
for host, port in PLACES:
    try:
        socket.create_connection((host, port), 3).close()
        print("reached", host, port)
    except OSError:
        pass
"""


def test_what_a_branch_sends_is_caught_and_shown_behind_its_door(
    bed: Bed, engine: docker.DockerClient
) -> None:
    branch, names = "mailing", bed.names("mailing")
    settings = bed.settings(
        {
            "mail": {"catcher": {"enabled": True, **LITTLE}},
            "images": {"mail": bed.push(mailpit(engine), "mailpit")},
        }
    )
    done = bed.deploy(branch, "--tag", bed.build(), settings=settings)
    assert done.returncode == 0, done.stderr
    assert f"mails are shown there and not sent: {names.url}/_mail/" in done.stderr
    try:
        sent = set()
        for component, container in (("web", "fpm"), ("worker", "worker"), ("cron", "cron")):
            (pod, *_) = bed.pods(branch, component)
            sent.add(f"from {component}")
            argv = ["php", "-r", SEND.replace("SUBJECT", f"from {component}")]
            status, said = bed.cluster.output(
                names.namespace, pod["metadata"]["name"], container, argv
            )
            assert (status, said.count(b"\n250 ")) == (0, 4), said
        if os.environ.get("MAUTIC_CODE_IMAGE"):
            # Mautic's own, as it is configured.
            words = ("mailer:test", "jane@example.org", "--from=us@example.com")
            bed.ok("console", *ON, "--branch", branch, "--", *words, "--subject=from Mautic")
            sent.add("from Mautic")
        status, found = bed.get(branch, "/_mail/api/v1/messages")
        assert status == 200
        assert {mail["Subject"] for mail in json.loads(found)["messages"]} == sent
        status, found = bed.get(branch, "/_mail/")
        assert (status, "Mailpit" in found) == (200, True)

        # It reaches nobody; that its node is reached is the node's own business.
        (pod,) = bed.pods(branch, "mail")
        ports = {"web": 8080, "mysql": 3306}
        places = [
            (each["status"]["podIP"], port)
            for component, port in ports.items()
            for each in bed.pods(branch, component)
        ]
        assert len(places) == len(ports)
        code = REACH.replace("PLACES", repr(places))
        argv = ["/usr/bin/python3", "-c", code]
        assert bed.cluster.output(names.namespace, pod["metadata"]["name"], "mail", argv) == (
            0,
            b"",
        )
    finally:
        bed.ok("cleanup", *ON, "--branch", branch)
    assert not bed.exists(branch)


# -- ways to fail, and back -----------------------------------------------------------------------


def test_a_rollback_serves_what_was_there_before(life: Life, bed: Bed) -> None:
    bed.ok("rollback", *ON, "--branch", BRANCH)
    assert bed.get(BRANCH, SERVED_THEME) == life.seen["first theme"]


@pytest.mark.usefixtures("life")
def test_a_failed_deploy_goes_back_and_the_next_one_works(bed: Bed) -> None:
    good = bed.record(BRANCH)["history"][-1]["tag"]
    bed.variant("broken", good, "ENV FPM_PM=no-such-way")
    serving, web = bed.serving(BRANCH), bed.ready(BRANCH)
    failed = bed.deploy(BRANCH, "--tag", "broken")
    assert failed.returncode == 1
    assert "FPM_PM must be static, dynamic or ondemand" in failed.stderr
    assert f"rolled back to {good}, which is running again" in failed.stderr
    assert bed.serving(BRANCH) == serving
    assert bed.ready(BRANCH) == web, "the pods that served were replaced"
    bed.deployed(BRANCH, "--tag", good)


def is_migrating(bed: Bed, lines: Lines) -> bool:
    return any(pod["status"]["phase"] == "Running" for pod in bed.pods("killed", "migrate"))


POINTS: dict[str, Callable[[Bed, Lines], bool]] = {
    "the release is being installed": lambda bed, lines: lines.says("roll out"),
    "the migration runs": is_migrating,
    "pods come up": lambda bed, lines: bool(bed.serving("killed")),
}


@pytest.mark.usefixtures("life")
def test_a_deploy_that_is_killed_at_any_point_is_finished_by_the_next_one(bed: Bed) -> None:
    tag = bed.record(OTHER)["history"][-1]["tag"]
    for name, reached in POINTS.items():
        process = bed.start("deploy", *ON, "--branch", "killed", "--tag", tag)
        lines = Lines(process.stderr)
        until(lambda: process.poll() is not None or reached(bed, lines), seconds=120)  # noqa: B023
        assert process.poll() is None, f"{name}: it had ended:\n{lines.text()}"
        process.send_signal(signal.SIGKILL)
        process.wait()
    bed.deployed("killed", "--tag", tag)
    assert bed.get("killed", "/s/login")[0] == 200


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("life")
def test_what_controllers_put_into_every_namespace_does_not_keep_one(bed: Bed) -> None:
    """As OpenShift, Istio and others do."""
    spaces = [
        item["metadata"]["name"]
        for item in bed.cluster.find("Namespace")
        if "deletionTimestamp" not in item["metadata"]
    ]
    for space in spaces:
        meta: Object = {"name": f"{bed.project}-ca.crt", "namespace": space}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}}
        # A namespace of other tests may begin to go in just this moment.
        with contextlib.suppress(ClusterError):
            bed.cluster.apply(made)
    try:
        done = bed.ok("cleanup", *ON, "--branch", OTHER)
    finally:
        for space in spaces:
            bed.cluster.delete("ConfigMap", f"{bed.project}-ca.crt", space)
    assert f"{bed.project}-ca.crt" in done.stderr
    assert not bed.exists(OTHER)


@pytest.mark.usefixtures("life")
def test_gc_sweeps_away_what_has_no_branch_any_more(bed: Bed) -> None:
    if not bed.exists("killed"):
        pytest.skip("the branch to be swept away was not deployed")
    done = bed.ok("gc", *ON, "--all", "--yes")
    assert "killed" in done.stderr + done.stdout
    assert not bed.exists("killed")


@pytest.mark.usefixtures("life")
def test_after_the_clean_up_nothing_is_left(bed: Bed) -> None:
    started = time.monotonic()
    if bed.exists(BRANCH):
        bed.ok("cleanup", *ON, "--branch", BRANCH)
    print(f"clean-up: {time.monotonic() - started:.1f} s")  # noqa: T201 - for -s
    again = bed.ok("cleanup", *ON, "--branch", BRANCH)
    assert "nothing to remove" in again.stderr
    assert not bed.exists(BRANCH)
    until(lambda: bed.volumes() == [])

"""Looking at environments in a cluster, working in them and removing them, as a person does."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.adapters.files.lock import state_folder
from tasks.core.repository import canonical
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ADMIN_PASSWORD, MAIL, ON, PLATFORM, KubeEnv, with_remote
from tests.support.planting import is_there, listed, origin, plant, remove, uproot
from tests.support.terminal import Terminal

MAIN = "main"
FIRST = "first"
COLUMNS = ["branch", "state", "commit", "age", "expires", "owner", "url"]
ENDED = "migrate"
"""A service whose pod has done its work."""


@pytest.fixture(scope="module")
def site(kube_env: KubeEnv) -> KubeEnv:
    """`main`, deployed from a checkout whose origin has no other branch."""
    with_remote(kube_env.checkout)
    kube_env.push(FIRST)
    kube_env.deploy(MAIN, FIRST)
    return kube_env


class Lines:
    """Reads a program's output from a thread, so that a test can wait for a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._seen: list[str] = []
        self._grown = threading.Condition()
        assert process.stdout
        self._source: Iterator[str] = process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._source:
            with self._grown:
                self._seen.append(line.rstrip("\n"))
                self._grown.notify()

    def expect(self, text: str, deadline_seconds: float = 60) -> str:
        """Return the first line that holds a text."""

        def found() -> list[str]:
            return [line for line in self._seen if text in line]

        with self._grown:
            in_time = self._grown.wait_for(found, deadline_seconds)
            assert in_time, f"{text!r} did not come; there was {self._seen}"
            return found()[0]

    def count(self, text: str) -> int:
        """Return how many lines hold a text."""
        with self._grown:
            return sum(text in line for line in self._seen)


# -- looking ----------------------------------------------------------------------------------


def test_list_shows_every_environment_of_these_settings_and_no_other(site: KubeEnv) -> None:
    foreign = plant(site, "of-another-repository", repository="https://elsewhere/mautic.git")
    other = plant(site, "in-another-environment", environment="qa")
    try:
        rows = listed(site)
        text = site.ok("list", *ON).stdout.splitlines()
    finally:
        uproot(site, foreign, other)
    # Where it would not fit 80 columns, the URL goes on a line of its own.
    assert " ".join(text).split()[: len(COLUMNS)] == COLUMNS
    row = rows[MAIN]
    assert (row["slug"], row["state"], row["tag"]) == (MAIN, "running", FIRST)
    assert row["url"] == "https://main.dev.example.com"
    assert row["repository"] == canonical(origin(site))
    assert row["owner"].endswith(socket.gethostname())
    assert row["created_at"] <= row["deployed_at"].replace("+00:00", "Z") < row["expires_at"]
    assert rows["of-another-repository"]["repository"] == "https://elsewhere/mautic.git"
    assert "in-another-environment" not in rows


def test_list_asks_three_times_however_many_there_are(site: KubeEnv, tmp_path: Path) -> None:
    planted = [plant(site, f"many-{number}") for number in range(20)]
    try:
        with FaultyProxy(site.plane) as proxy:
            kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
            rows = listed(site, env={"KUBECONFIG": str(kubeconfig)})
    finally:
        uproot(site, *planted)
    assert {f"many-{number}" for number in range(20)} <= rows.keys()
    assert len(proxy.requests) == 3, proxy.requests


def test_the_page_asks_no_more_than_list_and_has_no_secret(site: KubeEnv, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    with FaultyProxy(site.plane) as proxy:
        env = {"KUBECONFIG": str(proxy.write_kubeconfig(tmp_path / "kubeconfig"))}
        written = site.ok("page", *ON, "--out", str(out), env=env)
        assert written.stdout == f"{out}\n"
        assert len(proxy.requests) == 3, proxy.requests
        # Nobody measures here: that is told, and the page is there without.
        measured = site.ok("page", *ON, "--out", str(out), "--used", env=env)
        assert len(proxy.requests) == 7
        assert "metrics.k8s.io does not answer" in measured.stderr
        assert "uses " not in out.read_text()
        # As metrics-server answers: its list has no version.
        usage = {"cpu": "250123456n", "memory": "1048576Ki"}
        place = {"name": "web-1", "namespace": site.names(MAIN).namespace}
        pod = {"metadata": place, "containers": [{"name": "fpm", "usage": usage}]}
        said = json.dumps({"kind": "PodMetricsList", "metadata": {}, "items": [pod]})
        proxy.fail(200, words=said, only=lambda request, _: "metrics.k8s.io" in request)
        site.ok("page", *ON, "--out", str(out), "--used", env=env)
    html = out.read_text()
    assert "<small>uses 0.25</small>" in html
    assert "<small>uses 1.0 GiB</small>" in html
    assert f">{MAIN}</a>" in html
    # Web, workers, the mail catcher and the claim, as the deploy has noted them.
    assert re.search(r'data-label="CPU" data-order="[1-9]', html)
    assert re.search(r'data-label="Storage" data-order="[1-9]', html)
    secret = site.cluster.get("Secret", "mautic", site.names(MAIN).namespace)
    assert secret
    values = [base64.b64decode(value).decode() for value in secret["data"].values()]
    assert [value for value in (*values, ADMIN_PASSWORD) if value and value in html] == []


def test_cost_tells_what_a_deploy_has_noted_and_its_price(site: KubeEnv) -> None:
    prices = {"cpu_hour": 0.05, "memory_hour": 0.005, "storage_month": 0.1}
    said = site.ok("cost", *ON, "--format", "json", settings=site.settings(prices=prices))
    data = json.loads(said.stdout)
    (main,) = [each for each in data["environments"] if each["name"] == MAIN]
    where = site.names(MAIN).namespace
    claims = site.cluster.find("PersistentVolumeClaim", where)
    # helm/environments/dev.yaml says 2Gi.
    assert [each["spec"]["resources"]["requests"]["storage"] for each in claims] == ["2Gi"]
    assert main["now"]["storage"] == 2 * 1024**3
    pods = [pod for pod in site.cluster.find("Pod", where) if pod["status"]["phase"] == "Running"]
    assert main["now"]["cpu"] == sum(
        int(container["resources"]["requests"]["cpu"].removesuffix("m"))
        for pod in pods
        for container in pod["spec"]["containers"]
    )
    assert main["month"]["now"] == main["month"]["awake"] > 0.2
    table = site.ok("cost", *ON, "--owners").stdout.splitlines()
    assert table[0].split() == ["owner", "count", "cpu", "memory", "storage"]
    assert table[-1].split()[0] == "total"


def test_status_shows_what_runs(site: KubeEnv) -> None:
    parts = {
        part["service"]: part
        for part in json.loads(site.ok("status", *ON, "--format", "json").stdout)
    }
    assert {"web", "worker-email", "worker-hit", "cron", "mail"} <= parts.keys()
    assert (parts["web"]["state"], parts["web"]["health"]) == ("running", "1/1 ready")
    assert parts.pop("mail")["image"] == MAIL
    assert "https://main.dev.example.com/_mail/\n" in site.ok("status", *ON).stderr
    assert {part["tag"] for part in parts.values() if part["image"]} == {FIRST}
    # The one pod of the scheduled commands was asked about each of them.
    told = parts["cron-import"]
    assert (told["state"], told["health"], told["image"]) == ("@hourly", "ok", "")
    assert told["uptime"].endswith(" ago")
    assert site.ok("url", *ON).stdout == "https://main.dev.example.com\n"


def test_without_an_environment_every_task_says_how_to_make_one(site: KubeEnv) -> None:
    tasks = ("status", "logs", "url", "console", "shell", "rollback", "sleep", "wake", "pin")
    for command in tasks:
        done = site.run(command, *ON, "--branch", "maim")
        assert done.returncode == 2, done.stderr
        assert "did you mean main" in done.stderr


# -- logs -------------------------------------------------------------------------------------


def test_logs_come_from_every_container_with_its_name(site: KubeEnv) -> None:
    lines = site.ok("logs", *ON).stdout.splitlines()
    release = site.names(MAIN).release
    assert all(line.startswith(f"{release}-") and " | " in line for line in lines)
    seen = {line.partition(" | ")[0].split()[1] for line in lines}
    assert seen == {"nginx", "fpm", "worker", "cron", "migrate", "mail"}
    for service, containers in {
        "web": {"nginx", "fpm"},
        "nginx": {"nginx"},
        "worker": {"worker"},
        "cron": {"cron"},
        "worker-email": {"worker"},
    }.items():
        some = site.ok("logs", *ON, "--service", service).stdout.splitlines()
        assert {line.partition(" | ")[0].split()[1] for line in some} == containers, service
    assert len(some) == 1
    assert f"{release}-worker-email-" in some[0]
    unknown = site.run("logs", *ON, "--service", "wrker")
    assert unknown.returncode == 2
    assert "worker-email" in unknown.stderr


def test_logs_begin_with_the_last_lines(site: KubeEnv) -> None:
    pod = web_pod(site)
    write(site, pod, "nginx", "one", "two", "three")
    lines = site.ok("logs", *ON, "--service", "nginx", "--tail", "2").stdout.splitlines()
    assert [line.partition(" | ")[2] for line in lines] == ["two", "three"]


def test_logs_are_followed_into_the_pods_that_come_later(site: KubeEnv) -> None:
    pod = web_pod(site)
    run = site.start("logs", *ON, "--service", "nginx", "--follow", "--tail", "0")
    lines = Lines(run)
    # Written again and again: where following begins is not for the test to know.
    seen = threading.Event()

    def chatter() -> None:
        number = 0
        while not seen.wait(0.2):
            number += 1
            write(site, pod, "nginx", f"before {number}")

    writer = threading.Thread(target=chatter)
    writer.start()
    try:
        assert lines.expect("before ").startswith(f"{pod} nginx | ")
    finally:
        seen.set()
        writer.join()
    assert lines.count("| nginx: start number 1") == 0
    site.cluster.delete("Pod", pod, site.names(MAIN).namespace)
    came = lines.expect("| nginx: start number 1")
    assert not came.startswith(pod)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    wait_ready(site)


def test_a_followed_log_goes_on_after_the_api_was_away(site: KubeEnv, tmp_path: Path) -> None:
    pod = web_pod(site)
    with FaultyProxy(site.plane) as proxy:
        kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
        run = site.start(
            *("logs", *ON, "--service", "fpm", "--follow"), env={"KUBECONFIG": str(kubeconfig)}
        )
        lines = Lines(run)
        lines.expect("| fpm: start number 1")
        with proxy.away():
            write(site, pod, "fpm", "while away")
        lines.expect("| while away")
        write(site, pod, "fpm", "afterwards")
        lines.expect("| afterwards")
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert lines.count("| fpm: start number 1") == 1
    assert lines.count("| while away") == 1


# -- working in it ----------------------------------------------------------------------------


def test_console_passes_words_on_as_they_are(site: KubeEnv) -> None:
    words = ["mautic:import", "two words", "", "$HOME", "a'b\"c", "--flag=x", "ü"]
    done = site.ok("console", *ON, "--", *words)
    first, *rest = done.stdout.splitlines()
    assert first == f"{web_pod(site)} fpm"
    assert rest == ["<console>", *(f"<{word}>" for word in words)]


def test_a_message_that_failed_is_shown_and_removed_in_the_pod(site: KubeEnv) -> None:
    assert re.search(r"^7 +- +Mail: no route$", site.ok("queue", *ON).stdout, re.MULTILINE)
    assert site.run("queue", *ON, "--remove", "8").returncode == 2
    after = site.ok("queue", *ON, "--remove", "7").stdout
    assert re.search(r"^failed +0 +0 +-$", after, re.MULTILINE)


def test_shell_passes_streams_and_exit_status_on(site: KubeEnv) -> None:
    done = site.run(
        *("shell", *ON, "--service", "worker-hit"),
        *("--command", "cat; echo to stderr >&2; exit 7"),
        stdin="some input\n" * 20_000,
    )
    assert done.returncode == 7
    assert done.stdout == "some input\n" * 20_000
    assert done.stderr == "to stderr\n"
    where = site.ok("shell", *ON, "--service", "worker-hit", "--command", "echo $POD $CONTAINER")
    assert where.stdout.startswith(f"{site.names(MAIN).release}-worker-hit-")
    unknown = site.run("shell", *ON, "--service", "wrker")
    assert unknown.returncode == 2
    assert "worker-hit" in unknown.stderr
    asleep = site.run("shell", *ON, "--service", ENDED)
    assert asleep.returncode == 1
    assert f"no container of {ENDED} of main is running" in asleep.stderr


def test_a_command_that_is_not_there_is_named(site: KubeEnv) -> None:
    (mautic,) = (site.plane.pki.root / "programs").iterdir()
    hidden = mautic.rename(mautic.with_name("hidden"))
    try:
        done = site.run("console", *ON, "--", "list")
    finally:
        hidden.rename(mautic)
    assert done.returncode == 1
    assert "mautic cannot be run in fpm" in done.stderr
    assert "No such file" in done.stderr


def test_shell_on_a_terminal_knows_its_size_and_takes_every_key(site: KubeEnv) -> None:
    terminal = Terminal(
        site.inv.argv("shell", *ON, settings=site.settings()),
        cwd=site.checkout,
        env=site.inv.environ(site.environ()),
        columns=97,
    )
    terminal.type("stty size; tty >/dev/null && echo on a ter''minal\n")
    terminal.expect("24 97")
    terminal.expect("on a terminal")
    # Ctrl-C is for what runs there, not for inv.
    terminal.type("(echo sle''eping; exec sleep 1000)\n")
    terminal.expect("sleeping")
    terminal.type("\x03")
    terminal.type("echo still he''re\n")
    terminal.expect("still here")
    terminal.resize(50)
    terminal.type("while ! stty size | grep -q ' 50$'; do sleep 0.1; done; echo resi''zed\n")
    terminal.expect("resized")
    terminal.type("exit 9\n")
    assert terminal.finish() == 9


# -- removing ---------------------------------------------------------------------------------


def test_cleanup_removes_all_of_a_branch_and_nothing_else(site: KubeEnv) -> None:
    branch = "Feature/To-Remove"
    bystander = plant(site, "bystander")
    site.cluster.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{bystander}-foreign"}}
    )
    site.deploy(branch, FIRST)
    names = site.names(branch)
    planned = site.ok("cleanup", *ON, "--branch", branch, "--dry-run").stdout
    assert f"namespace {names.namespace}" in planned
    assert is_there(site, names.namespace)
    removed = site.ok("cleanup", *ON, "--branch", branch)
    assert f"removed database {names.database}" in removed.stderr
    assert site.cluster.get("Namespace", names.namespace) is None
    volumes = [item["spec"]["claimRef"] for item in site.cluster.find("PersistentVolume")]
    assert names.namespace not in {reference["namespace"] for reference in volumes}
    left = [
        item["metadata"]["name"]
        for kind in ("Job", "Secret", "Pod")
        for item in site.cluster.find(kind, PLATFORM)
    ]
    assert not [name for name in left if names.release in name]
    assert "nothing to remove" in site.ok("cleanup", *ON, "--branch", branch).stderr
    assert is_there(site, bystander)
    assert is_there(site, f"{bystander}-foreign")
    assert listed(site)[MAIN]["state"] == "running"
    uproot(site, bystander, f"{bystander}-foreign")


def test_somebody_elses_object_stays_and_its_namespace_with_it(site: KubeEnv) -> None:
    branch = "with-a-guest"
    site.deploy(branch, FIRST)
    names = site.names(branch)
    site.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "guest", "namespace": names.namespace},
            "data": {"mine": "yes"},
        }
    )
    done = site.ok("cleanup", *ON, "--branch", branch)
    assert "configmap/guest" in done.stderr
    assert is_there(site, names.namespace)
    guest = site.cluster.get("ConfigMap", "guest", names.namespace)
    assert guest
    assert guest["data"] == {"mine": "yes"}
    for kind in ("Deployment", "CronJob", "Job", "PersistentVolumeClaim", "Service", "Secret"):
        assert site.cluster.find(kind, names.namespace) == [], kind
    again = site.ok("cleanup", *ON, "--branch", branch)
    assert "nothing to remove" in again.stderr
    site.cluster.delete("ConfigMap", "guest", names.namespace)
    site.ok("cleanup", *ON, "--branch", branch)
    assert site.cluster.get("Namespace", names.namespace) is None


def test_a_namespace_of_another_owner_is_refused(site: KubeEnv) -> None:
    theirs = plant(site, "theirs", repository="https://elsewhere/mautic.git")
    bare = site.names("bare").namespace
    site.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": bare}})
    try:
        for branch, why in (("theirs", "its repository is"), ("bare", "it has no environment")):
            for command in ("cleanup", "status", "logs", "shell", "deploy"):
                options = ("--tag", FIRST) if command == "deploy" else ()
                done = site.run(command, *ON, "--branch", branch, *options)
                assert done.returncode == 3, (command, done.stderr)
                assert why in done.stderr
                assert site.names(branch).namespace in done.stderr
        assert is_there(site, theirs)
        assert is_there(site, bare)
    finally:
        remove(site, theirs, bare)


def test_a_namespace_is_adopted_by_who_says_whose_it_is(site: KubeEnv) -> None:
    former = "https://elsewhere.example.org/Old/mautic"
    theirs = plant(site, "theirs", repository=former)
    on = (*ON, "--branch", "theirs")
    try:
        wrong = site.run("adopt", *on, "--from", "https://elsewhere.example.org/who")
        assert wrong.returncode == 3
        assert former in wrong.stderr
        dry = site.ok("adopt", *on, "--from", former, "--dry-run")
        assert f"from {former} to " in dry.stdout
        assert site.run("status", *on).returncode == 3
        # By any way to write it.
        site.ok("adopt", *on, "--from", "git@elsewhere.example.org:old/mautic.git")
        assert site.run("status", *on).returncode != 3
        again = site.ok("adopt", *on, "--from", former)
        assert "already" in again.stderr
        assert is_there(site, theirs)
    finally:
        remove(site, theirs)


# -- its data ---------------------------------------------------------------------------------

MAUTIC = """#!{python}
import hashlib, json, os, pathlib, sys

state = pathlib.Path({state!r})
words = sys.argv[1:]


def told(program, data, **more):
    more.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    print(program + ": whole " + json.dumps(more), file=sys.stderr)


def sealed(data):
    return dict(bytes=len(data), file_sha256=hashlib.sha256(data).hexdigest())


def put(name, data):
    (state / "new").write_bytes(data)
    (state / "new").rename(state / name)


def place():
    put("migrated", os.environ["MAUTIC_ADMIN_PASSWORD"].encode())
    (state / "staged").rename(state / "uploads")


assert os.environ.get("MAUTIC_STDIN_HELD") == "1"
if words == ["database", "content"]:
    there = (state / "database").read_bytes()
    print(json.dumps({{"leads": 2}} if there else {{}}))
elif words == ["database", "migrations"]:
    print(json.dumps(dict(mautic="7.0.0", known=["one"], recorded=["one"])))
elif words == ["database", "dump"]:
    data = (state / "database").read_bytes()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    told("dump", data, mautic="7.0.0", migrations=["one"], rows=dict(leads=2))
elif words == ["uploads", "dump"]:
    data = (state / "uploads").read_bytes()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    if not (state / "silent").exists():
        told("uploads", data)
elif words == ["database", "load", "migrate", "uploads"]:
    data = sys.stdin.buffer.read(len((state / "expected").read_bytes()))
    put("database", data)
    place()
elif words == ["database", "reset", "migrate", "uploads"]:
    put("database", b"")
    place()
elif words == ["uploads", "empty"]:
    put("staged", b"")
elif words == ["uploads", "stage"]:
    given = json.loads(sys.stdin.buffer.readline())
    data, digest = b"", given.get("sha256")
    if given:
        assert digest == "ab" * 32
        data = sys.stdin.buffer.read(given["bytes"])
    else:
        while size := int(sys.stdin.buffer.readline()):
            data += sys.stdin.buffer.read(size)
        digest = sys.stdin.buffer.readline().decode().strip()
        assert digest == hashlib.sha256(data).hexdigest()
    if (state / "broken").exists():
        sys.exit("uploads: the seed is damaged, cut off, or of another key")
    put("staged", data)
elif words == ["database", "seed"]:
    asked = json.loads(sys.stdin.buffer.readline())
    data, uploads = ((state / name).read_bytes() for name in ("database", "uploads"))
    manifest = dict(format="mautic-seed 1", mautic="7.0.0", contacts="all", rows=dict(leads=2))
    manifest.update(rules_sha256="cd" * 32, **sealed(data))
    if asked.get("uploads"):
        manifest["uploads"] = dict(files=1, tar_sha256="ab" * 32, **sealed(uploads))
        data += uploads
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    print(json.dumps(manifest), file=sys.stderr)
elif words[:2] == ["database", "sow"]:
    given = json.loads(sys.stdin.buffer.readline())
    put("database", sys.stdin.buffer.read(given["bytes"]))
    if words[2:] == ["migrate", "uploads"]:
        place()
else:
    sys.exit(64)
"""
"""The programs of the image, on files."""


@pytest.fixture
def data(site: KubeEnv, tmp_path: Path) -> Iterator[Path]:
    """The folder that a branch's data is in: bytes that are no text, more than go at once."""
    program = site.plane.pki.root / "programs" / "mautic"
    hidden = program.rename(site.plane.pki.root / "hidden")
    state = tmp_path / "state"
    state.mkdir()
    (state / "database").write_bytes(secrets.token_bytes(3_000_001))
    # A dump says itself where it ends; these bytes do not.
    shutil.copy(state / "database", state / "expected")
    (state / "uploads").write_bytes(secrets.token_bytes(70_000))
    program.write_text(MAUTIC.format(python=sys.executable, state=str(state)))
    program.chmod(0o755)
    try:
        yield state
    finally:
        hidden.rename(program)
        shutil.rmtree(state_folder(os.environ) / "snapshots" / site.names(MAIN).namespace, True)


def test_data_goes_into_a_file_and_comes_back(site: KubeEnv, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.zip"
    before = {name: (data / name).read_bytes() for name in ("database", "uploads")}
    site.ok("db.dump", str(file), *ON)
    with zipfile.ZipFile(file) as archive:
        assert archive.read("database.sql.gz") == before["database"]
        assert archive.read("uploads.tar") == before["uploads"]

    refused = site.run("db.load", str(file), *ON)
    assert refused.returncode == 3
    assert "main has data: 2 leads" in refused.stderr
    (data / "database").write_bytes(b"other")
    done = site.ok("db.load", str(file), *ON, "--replace")
    assert {name: (data / name).read_bytes() for name in before} == before
    password = (data / "migrated").read_text()
    assert len(password) >= 20
    assert password not in done.stderr + done.stdout
    with zipfile.ZipFile(done.stderr.split("what was there: ")[1].split()[0]) as archive:
        assert archive.read("database.sql.gz") == b"other"

    site.ok("db.reset", *ON, "--replace")
    assert {(data / name).read_bytes() for name in before} == {b""}
    site.ok("db.load", str(file), *ON)
    assert {name: (data / name).read_bytes() for name in before} == before


def test_a_seed_goes_out_and_in_with_its_uploads_by_the_pod(
    site: KubeEnv, data: Path, tmp_path: Path
) -> None:
    given = {
        "settings": {**site.settings(), "seeds": {"store": str(tmp_path / "seeds")}},
        "env": {"MAUTIC_SEED_KEY": "0f" * 32},
    }
    before = {name: (data / name).read_bytes() for name in ("database", "uploads")}
    id_ = site.ok("db.seed", *ON, **given).stdout.strip()
    for name, part in (("database", "seed.sql.gz.enc"), ("uploads", "uploads.tar.enc")):
        assert (tmp_path / "seeds" / id_ / part).read_bytes() == before[name]

    for name in before:
        (data / name).write_bytes(b"other")
    load = ("db.load", f"seed:{id_}", *ON, "--replace")
    assert "uploads" in site.ok(*load, "--dry-run", **given).stdout
    (data / "broken").touch()
    failed = site.run(*load, **given)
    assert failed.returncode == 1
    assert "the seed is damaged" in failed.stderr
    assert {(data / name).read_bytes() for name in before} == {b"other"}
    (data / "broken").unlink()
    site.ok(*load, **given)
    assert {name: (data / name).read_bytes() for name in before} == before

    # One without, as of before there were any, leaves those of the branch.
    bare = site.ok("db.seed", *ON, "--no-uploads", **given).stdout.strip()
    (data / "uploads").write_bytes(b"the branch's")
    site.ok("db.load", f"seed:{bare}", *ON, "--replace", **given)
    assert (data / "uploads").read_bytes() == b"the branch's"


def test_what_does_not_come_whole_is_no_dump(site: KubeEnv, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    (data / "silent").touch()
    done = site.run("db.dump", str(folder / "own.zip"), *ON)
    assert done.returncode == 1
    assert "did not say that it has written everything" in done.stderr
    (data / "silent").unlink()
    with Severed(site, tmp_path / "kubeconfig") as env:
        done = site.run("db.dump", str(folder / "own.zip"), *ON, env=env)
    assert done.returncode == 1
    assert "the connection to fpm broke off" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


class Severed:
    """Passes connections to the API server on, and cuts each after a million bytes of answer."""

    LIMIT_BYTES = 1_000_000

    def __init__(self, site: KubeEnv, kubeconfig: Path) -> None:
        self._site, self._kubeconfig = site, kubeconfig
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> dict[str, str]:
        url = self._site.plane.url
        self._port = int(url.rpartition(":")[2])
        own = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        text = self._site.plane.kubeconfig.read_text()
        self._kubeconfig.write_text(text.replace(url, own))
        threading.Thread(target=self._serve, daemon=True).start()
        return {"KUBECONFIG": str(self._kubeconfig)}

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, sink, limit in (
                    (client, server, 0),
                    (server, client, self.LIMIT_BYTES),
                ):
                    threading.Thread(
                        target=self._pass, args=(source, sink, limit), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and not (limit and passed > limit):
                sink.sendall(data)
                passed += len(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


# -- support ------------------------------------------------------------------------------------


def web_pod(site: KubeEnv) -> str:
    """Return the name of main's web pod."""
    names = site.names(MAIN)
    selector = "app.kubernetes.io/component=web"
    pods = site.cluster.find("Pod", names.namespace, selector)
    (name,) = (
        pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]
    )
    return str(name)


def wait_ready(site: KubeEnv) -> None:
    """Wait until main's web pod is ready."""
    names = site.names(MAIN)
    end = time.monotonic() + 60
    while True:
        found = site.cluster.get("Deployment", f"{names.release}-web", names.namespace)
        if found and found["status"].get("readyReplicas"):
            return
        assert time.monotonic() < end, found
        time.sleep(0.1)


def write(site: KubeEnv, pod: str, container: str, *lines: str) -> None:
    """Let a container write lines."""
    found = site.node.container(site.names(MAIN).namespace, pod, container)
    assert found
    found.logs[-1].extend(lines)

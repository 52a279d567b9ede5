"""The local environment, as a person uses it: real images, a real engine, the real command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess, Popen, TimeoutExpired
from typing import Any

import docker
import pytest
import requests
import yaml

from tasks.adapters.files.lock import state_folder
from tests.support.local import (
    LINES_MAX,
    PROJECT,
    SERVICE,
    SERVICES,
    World,
    inspected,
    make_world,
    printed,
    until_says,
)
from tests.support.processes import watched_processes
from tests.support.rehearsals import ENV, KEY, RULES, TABLES

MAIN = "main"
V2 = "v2"
CODE = "/var/www/html/docroot"
PLUGIN = f"USER 0\nRUN cd {CODE}/plugins && mkdir -p NewBundle/Entity"
PLUGIN += " && touch NewBundle/Entity/Thing.php"
"""A plugin that has a table of its own."""

LATER = "Version20990101000000"
MIGRATION = f"USER 0\nRUN echo '<?php return [\"SELECT 1\"];' > {CODE}/app/migrations/{LATER}.php"


def _broken(role: str, script: str) -> str:
    """Return lines by which a role of the mautic image runs a script instead."""
    shell = f'case $0 in {role}) {script};; esac; exec mautic \\"$0\\" \\"$@\\"'
    return f'USER 33:33\nENTRYPOINT ["sh", "-c", "{shell}"]'


BROKEN_WEB = f"{MIGRATION}\n{_broken('web', 'echo fpm cannot start >&2; exit 78')}"
REFUSED = "echo 'migrate: failed [database-access-denied]: migrate cannot start' >&2; exit 77"
BROKEN_MIGRATE = _broken("migrate", REFUSED)
# Its health check finds it well as long as it is there.
BROKEN_WORKER = _broken("worker", "sleep 2; echo worker of messenger:consume cannot stay; exit 1")

POINTS = int(os.environ.get("MAUTIC_MULTIDEV_INTERRUPT_POINTS", "0"))
"""At how many moments, spread evenly over a deploy, it is interrupted besides those with a name."""


@pytest.fixture(scope="module")
def world(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A checkout whose images are built, and pushed to a platform of its own."""
    checkout = tmp_path_factory.mktemp("local") / "checkout"
    shutil.copytree(_project, checkout, symlinks=True)
    made = make_world(engine, checkout, tmp_path_factory.mktemp("scratch"), _ports())
    try:
        made.ok("build")
        yield made
    finally:
        made.remove()


@dataclass
class Site:
    """The first deploy of `main`, and everything that was seen of it."""

    done: CompletedProcess[str]
    processes: set[str]


@pytest.fixture(scope="module")
def site(world: World) -> Site:
    """`main`, deployed once."""
    with watched_processes() as processes:
        done = world.ok("deploy")
    return Site(done, processes)


@pytest.fixture(scope="module")
def v2(world: World) -> str:
    """The tag of a second release."""
    return world.variant(V2, f"{PLUGIN}\nUSER 33:33")


def _ports() -> Callable[[], int]:
    held = []

    def find() -> int:
        # Kept open until all are found, so that no two are the same.
        held.append(socket.create_server(("127.0.0.1", 0)))
        port: int = held[-1].getsockname()[1]
        if len(held) == 2:
            for each in held:
                each.close()
        return port

    return find


# -- the life of an environment -------------------------------------------------------------------


def test_first_deploy_serves_the_site_and_shows_the_password_once(world: World, site: Site) -> None:
    assert site.done.stdout.splitlines()[-1] == f"http://main.localhost:{world.http_port}"
    assert site.done.stderr.count("log in as admin with the password ") == 1
    page = world.get(MAIN, "/s/login")
    assert page.status_code == 200
    assert "password" in page.text
    status = json.loads(world.ok("status", "--format", "json").stdout)
    found = {part["service"]: part["health"] for part in status if part["image"]}
    assert found == dict.fromkeys(SERVICES, "healthy")
    scheduled = {part["service"] for part in status if not part["image"]}
    assert {"cron-segments-update", "cron-import", "cron-webhooks-process"} <= scheduled
    variables = dict(
        line.split("=", 1) for line in (world.checkout / "deploy.env").read_text().splitlines()
    )
    assert variables["ENVIRONMENT_URL"] == f"http://main.localhost:{world.http_port}"
    assert variables["ENVIRONMENT_SLUG"] == MAIN
    phases = json.loads((world.checkout / "artifacts" / "timings.json").read_text())
    assert [phase["phase"] for phase in phases][-1] == "smoke test"


def test_a_stranger_is_asked_for_the_password_that_inv_url_shows(world: World, site: Site) -> None:
    address = f"http://127.0.0.1:{world.http_port}"
    host = {"Host": f"main.localhost:{world.http_port}"}

    def status(path: str, auth: tuple[str, str] | None = None) -> int:
        url = f"{address}{path}"
        answer = requests.get(url, headers=host, auth=auth, timeout=30, allow_redirects=False)
        return answer.status_code

    assert "inv url --login" in site.done.stderr
    for path in ("/", "/s/login", "/media/css/libraries.css", "/mtc.js"):
        assert status(path) == 401, path
    password = world.secrets(MAIN)["door_password"]
    # Not through `world.ok`: it would be among what the other tests look for secrets in.
    said = world.inv(world.checkout, "url", "--login", settings=world.settings()).stdout
    assert said == f"http://main.localhost:{world.http_port}\nuser: preview\npassword: {password}\n"
    assert status("/s/login", auth=("preview", password)) == 200
    assert status("/s/login", auth=("preview", "wrong")) == 401

    link = world.inv(world.checkout, "url", "--link", "1h", settings=world.settings()).stdout
    visitor = requests.Session()
    path = link.strip().removeprefix(f"http://main.localhost:{world.http_port}")
    assert path.startswith("/.door?ticket=")
    came = visitor.get(f"{address}{path}", headers=host, timeout=30)
    assert came.history[0].status_code == 302
    assert came.status_code == 200
    assert world.run("url", "--link", "soon").returncode == 2
    job = world.run(
        "url",
        "--env",
        "local",
        "--login",
        env={"CI": "true", "GITLAB_CI": "true", "CI_JOB_ID": "1"},
    )
    assert job.returncode == 3
    assert password not in job.stdout + job.stderr


def test_a_second_deploy_changes_nothing(world: World, site: Site) -> None:
    before = {name: item.id for name, item in world.containers(MAIN).items()}
    refused = world.run("deploy", "--tag", world.tag(), "--data", "feature/nowhere")
    assert (refused.returncode, "feature/nowhere has no" in refused.stderr) == (2, True)
    done = world.ok("deploy", "--tag", world.tag())
    assert "everything is as it should be" in done.stderr
    assert "password" not in done.stderr
    assert {name: item.id for name, item in world.containers(MAIN).items()} == before


def test_no_secret_is_seen_anywhere(world: World, site: Site) -> None:
    values = world.secrets(MAIN)
    assert all(len(value) >= 20 for value in values.values())
    assert len(set(values.values())) == len(values)
    world.ok("deploy", "--dry-run", "--format", "json")
    world.ok("logs", "--tail", "1000")
    world.ok("list", "--format", "json")
    outputs = "".join(world.said).replace(
        f"with the password {values['admin_password']}", "with the password", 1
    )
    engine = inspected(world, MAIN)
    files = [world.checkout / "deploy.env", *(world.checkout / "artifacts").rglob("*")]
    written = "".join(path.read_text() for path in files if path.is_file())
    assert any("compose" in seen for seen in site.processes)
    for name, value in values.items():
        assert value not in outputs, name
        assert value not in engine, name
        assert value not in written, name
        assert not [seen for seen in site.processes if value in seen], name


def test_looking_at_an_environment(world: World, site: Site) -> None:
    assert world.ok("url").stdout == f"http://main.localhost:{world.http_port}\n"
    listed = json.loads(world.ok("list", "--format", "json").stdout)
    row = next(item for item in listed if item["branch"] == MAIN)
    assert (row["slug"], row["state"], row["tag"]) == (MAIN, "running", world.tag())
    assert row["owner"].endswith(socket.gethostname())
    assert row["expires_at"] > row["deployed_at"]
    text = world.ok("list").stdout.splitlines()
    heading = ["branch", "state", "commit", "age", "expires", "owner", "url"]
    assert " ".join(text).split()[: len(heading)] == heading
    for line in (*text, *world.ok("status").stdout.splitlines()):
        assert len(line) <= 80
    logs = world.ok("logs", "--service", "database", "--tail", "5").stdout.splitlines()
    assert logs
    assert all(line.startswith("database-1") for line in logs)
    missing = world.run("logs", "--service", "databse")
    assert missing.returncode == 2
    assert "database" in missing.stderr


def test_console_and_shell_pass_words_and_exit_status_on(world: World, site: Site) -> None:
    assert "mautic:segments:update" in world.ok("console", "--", "list").stdout
    assert "mautic:segments:update" in world.ok("console", "--command", "list").stdout
    assert world.run("console", "--", "mautic:no-such-command").returncode == 1
    assert world.run("shell", "--command", "exit 7").returncode == 7
    assert world.ok("shell", "--command", "id -u").stdout == "33\n"
    both = world.run("console", "--command", "list", "--", "list")
    assert both.returncode == 2


def test_messages_that_failed_are_shown_retried_and_removed(world: World, site: Site) -> None:
    stamp = "X-Message-Stamp-Symfony\\Component\\Messenger\\Stamp\\ErrorDetailsStamp"
    error = json.dumps([{"exceptionClass": "RuntimeException", "exceptionMessage": "no\nroute"}])
    headers = json.dumps({"type": "Acme\\Mail", stamp: error})
    quoted = headers.replace("\\", "\\\\")
    message = f"'{quoted}', 'failed', UTC_TIMESTAMP(), UTC_TIMESTAMP()"
    # The last is done with: on MySQL Symfony leaves its row until a worker looks for messages.
    rows = ", ".join(
        f"('{body}', {message}, {done})"
        for body, done in (("works", "NULL"), ("fails", "NULL"), ("done", "'9999-12-31 23:59:59'"))
    )
    insert = "INSERT INTO messenger_messages (body, headers, queue_name, created_at, available_at, "
    insert += "delivered_at)"
    query = f"{QUERY} $MYSQL_DATABASE -e {shlex.quote(f'{insert} VALUES {rows}')}"
    world.ok("shell", "--service", "database", "--command", query)

    def failed() -> list[dict[str, str]]:
        found = json.loads(world.ok("queue", "--format", "json").stdout)
        assert found["queues"]["failed"]["waiting"] == len(found["failed"])
        messages: list[dict[str, str]] = found["failed"]
        return messages

    assert [each["error"] for each in failed()] == ["no\nroute"] * 2
    shown = world.ok("queue").stdout
    assert re.search(r"^failed +2 +0 +", shown, re.MULTILINE)
    assert shown.count("  Mail: no route\n") == 2
    assert "retry  message " in world.ok("queue", "--retry", "all", "--dry-run").stdout
    again = world.run("queue", "--retry", "all")
    assert again.returncode == 1
    assert "1 of 2 messages failed again; the last: Mail: no route" in again.stderr
    (left,) = failed()
    assert world.run("queue", "--remove", "0").returncode == 2
    world.ok("queue", "--remove", left["id"])
    assert failed() == []


def test_what_sleeps_runs_nothing_and_any_use_wakes_it(world: World, site: Site) -> None:
    def states() -> set[str]:
        return {item.status for item in world.containers(MAIN).values()}

    count = "SELECT COUNT(*) FROM messenger_messages"
    query = f'{QUERY} $MYSQL_DATABASE -e "{count}"'
    before = {name: item.id for name, item in world.containers(MAIN).items()}
    kept = world.ok("shell", "--service", "database", "--command", query).stdout
    world.ok("sleep")
    assert states() == {"exited"}
    assert world.run("shell", "--service", "nope", "--command", "true").returncode == 2
    assert states() == {"exited"}
    (row,) = json.loads(world.ok("list", "--format", "json").stdout)
    assert (row["state"], row["rest"]["asleep"]["why"]) == ("asleep", "by hand")
    assert "is asleep since" in world.ok("sleep").stderr
    done = world.ok("wake")
    assert done.stdout.strip() == f"http://main.localhost:{world.http_port}"
    assert world.get(MAIN, "/s/login").status_code == 200
    assert "is awake already" in world.ok("wake").stderr
    world.ok("sleep")
    assert world.ok("shell", "--service", "database", "--command", query).stdout == kept
    assert states() == {"running"}
    world.ok("sleep")
    world.ok("deploy", "--tag", world.tag())
    assert world.get(MAIN, "/s/login").status_code == 200
    assert {name: item.id for name, item in world.containers(MAIN).items()} == before
    world.ok("pin", "--for", "1d")
    assert world.run("sleep").returncode == 3
    world.ok("pin", "--off")


def test_a_platform_that_was_killed_is_told_and_healed_by_wake(world: World, site: Site) -> None:
    proxy = world.engine.containers.get(f"{world.project}-platform-proxy-1")
    told = "the local platform's proxy is exited: any inv wake or inv deploy starts it"
    assert told not in world.ok("status").stderr
    proxy.kill()
    for looking in (("list",), ("status",), ("list", "--format", "json")):
        assert told in world.ok(*looking).stderr
    world.ok("wake")
    assert world.get(MAIN, "/s/login").status_code == 200
    assert told not in world.ok("list").stderr
    assert "is awake already" in world.ok("wake").stderr


def test_what_sleeps_comes_back_after_all_unused_networks_were_removed(
    world: World, site: Site
) -> None:
    world.ok("sleep")
    for network in world.engine.networks.list(names=[f"{world.namespace(MAIN)}_"]):
        network.remove()
    woken = world.run("wake")
    assert woken.returncode != 0
    assert "there is no network of" in woken.stderr
    assert "inv deploy" in woken.stderr
    world.ok("deploy", "--tag", world.tag())
    assert world.get(MAIN, "/s/login").status_code == 200


def test_branches_stand_side_by_side_and_go_alone(world: World, site: Site) -> None:
    branch = "feature/Side_by-side"
    to_it = ("deploy", "--branch", branch, "--tag", world.tag())
    planned = world.ok(*to_it, "--data", MAIN, "--dry-run").stdout
    assert f"(from {MAIN}: " in planned
    for data, told in (
        ("dump:1", "there is no such data"),
        ("nowhere", "nowhere has no environment"),
        (branch, "cannot be copied onto itself"),
        ("seed", "seeds.store is not set"),
    ):
        refused = world.run(*to_it, "--data", data)
        assert (refused.returncode, told in refused.stderr) == (2, True), refused.stderr
    assert branch not in world.ok("list").stdout
    deployed = world.ok(*to_it)
    url = deployed.stdout.splitlines()[-1]
    slug = url.removeprefix("http://").partition(".")[0]
    assert world.get(slug, "/s/login").status_code == 200
    assert world.get(MAIN, "/s/login").status_code == 200
    query = "MYSQL_PWD=$(cat /run/secrets/mautic/db_password) mysql -N -h127.0.0.1 -u$MYSQL_USER "
    query += '$MYSQL_DATABASE -e "{}"'
    on_database = ("shell", "--service", "database", "--command")
    world.ok(*on_database, query.format("CREATE TABLE only_main (id INT)"))
    seen = world.ok(*on_database, query.format("SHOW DATABASES"), "--branch", branch).stdout
    assert f"{world.project}_main" not in seen.split()
    tables = world.ok(*on_database, query.format("SHOW TABLES"), "--branch", branch).stdout
    assert "users" in tables.split()
    assert "only_main" not in tables.split()
    world.ok(*on_database, query.format("DROP TABLE only_main"))

    removing = world.ok("cleanup", "--branch", branch, "--dry-run").stdout
    assert f"volume {world.namespace(slug)}_database" in removing
    assert len(world.containers(slug)) == len(SERVICES)
    removed = world.ok("cleanup", "--branch", branch)
    assert len(printed(removed)) <= LINES_MAX, removed.stderr
    assert f"removed volume {world.namespace(slug)}_database, database" in removed.stderr
    assert world.objects(slug) == []
    assert branch not in world.ok("list").stdout
    assert "nothing to remove" in world.ok("cleanup", "--branch", branch).stderr
    assert set(world.containers(MAIN)) == SERVICES
    assert world.get(MAIN, "/s/login").status_code == 200


def test_update_keeps_files_and_migrates_once_and_rollback_goes_back(
    world: World, site: Site, v2: str
) -> None:
    picture = "docroot/media/images/kept.png"
    world.inside(MAIN, f"printf kept > {picture}")
    before = {name: item.id for name, item in world.containers(MAIN).items()}
    password = world.secrets(MAIN)

    done = world.ok("deploy", "--tag", v2)
    assert len(re.findall(r"^✓ migrate ", done.stderr, re.MULTILINE)) == 1
    query = "MYSQL_PWD=$(cat /run/secrets/mautic/db_password) mysql -N -h127.0.0.1 -u$MYSQL_USER "
    query += '$MYSQL_DATABASE -e "SHOW TABLES; SELECT bundle FROM plugins"'
    seen = world.inside(MAIN, query, "database").split()
    assert {"thing", "NewBundle"} <= set(seen)
    after = {name: item.id for name, item in world.containers(MAIN).items()}
    changed = {name for name in SERVICES if after[name] != before[name]}
    assert changed == SERVICES - {"database"}
    assert world.get(MAIN, "/media/images/kept.png").text == "kept"
    assert world.secrets(MAIN) == password
    assert "migrate" not in world.ok("deploy", "--tag", v2).stderr
    assert world.ok("--complete", "--", "rollback --to ").stdout.split() == [world.tag()]
    elsewhere = world.ok("--complete", "--", "rollback --branch nowhere --to ")
    assert elsewhere.stdout == ""

    back = world.ok("rollback", "--dry-run")
    assert f"({world.tag()})" in back.stdout.splitlines()[0]
    world.ok("rollback", "--to", world.tag())
    parts = json.loads(world.ok("status", "--format", "json").stdout)
    tags = {part["tag"] for part in parts if part["image"]}
    assert tags == {world.tag(), ""}
    assert world.get(MAIN, "/media/images/kept.png").text == "kept"
    unknown = world.run("rollback", "--to", "nosuchtag")
    assert unknown.returncode == 2
    assert "no release nosuchtag" in unknown.stderr
    assert f"deployed so far: {world.tag()}, v2" in unknown.stderr


def test_daily_commands_in_a_pipe_print_few_lines(
    world: World, site: Site, v2: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "own.zip")
    done = {("the first deploy",): site.done}
    for words in (
        *(("build",), ("deploy",), ("deploy", "--tag", v2), ("status",), ("list",)),
        *(("db.dump", file), ("db.load", file, "--replace"), ("rollback",)),
        *(("sleep",), ("wake",), ("gc",)),
    ):
        done[words] = world.ok(*words)
    for words, each in done.items():
        assert len(printed(each)) <= LINES_MAX, (words, each.stderr, each.stdout)


QUERY = "MYSQL_PWD=$(cat /run/secrets/mautic/db_password) mysql -N -h127.0.0.1 -u$MYSQL_USER"
PICTURE = "docroot/media/images/own.png"
SENT = Path("docroot/media/files/form/1/cv.pdf")


def ask(world: World, branch: str, statements: str) -> list[str]:
    """Run SQL as a branch's user; return the words of the answer."""
    command = f'{QUERY} $MYSQL_DATABASE -e "{statements}"'
    return world.inside(branch, command, "database").split()


def pictures(world: World, branch: str) -> str:
    """Return what is in a branch's own pictures; nginx may still have the old ones open."""
    return world.inside(branch, f"cat {PICTURE}*")


@pytest.fixture(scope="module")
def copied(world: World, site: Site) -> Iterator[str]:
    """A branch with contacts, a picture, and what somebody has sent by a form."""
    branch = "copied"
    world.ok("deploy", "--branch", branch, "--tag", world.tag())
    ask(world, branch, "CREATE TABLE leads (id INT PRIMARY KEY); INSERT INTO leads VALUES (1), (2)")
    ask(world, branch, TABLES)
    files = f"printf own > {PICTURE}; mkdir -p {SENT.parent}; printf cv > {SENT}"
    world.inside(branch, files)
    yield branch
    for name in (branch, "another", "seeded"):
        shutil.rmtree(state_folder(os.environ) / "snapshots" / world.namespace(name), True)


def test_data_goes_into_a_file_and_comes_back_as_it_was(
    world: World, copied: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.zip"
    assert (
        f"write  {file}" in world.ok("db.dump", str(file), "--branch", copied, "--dry-run").stdout
    )
    assert not file.exists()
    manifest = json.loads(
        world.ok("db.dump", str(file), "--branch", copied, "--format", "json").stdout
    )
    assert manifest["branch"] == copied
    assert manifest["rows"]["leads"] == 2
    assert manifest["migrations"]
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["database.sql.gz", "uploads.tar", "manifest.json"]
        assert archive.testzip() is None
    assert list(tmp_path.iterdir()) == [file]

    load = ("db.load", str(file), "--branch", copied)
    refused = world.run(*load)
    assert refused.returncode == 3
    assert "has data: 2 leads" in refused.stderr
    assert "--replace" in refused.stderr
    ask(
        world,
        copied,
        "INSERT INTO leads VALUES (3); CREATE TABLE stray (id INT); DROP TABLE page_hits",
    )
    world.inside(copied, f"printf other > {PICTURE}; printf x > {PICTURE}.x")
    plan = world.ok(*load, "--replace", "--dry-run").stdout
    assert [line.split()[0] for line in plan.splitlines()[1:]] == [
        *("save", "replace", "migrate", "replace")
    ]
    assert "3" in ask(world, copied, "SELECT * FROM leads")

    done = world.ok(*load, "--replace")
    assert ask(world, copied, "SELECT * FROM leads; SHOW TABLES LIKE 'stray'") == ["1", "2"]
    assert pictures(world, copied) == "own"
    assert done.stdout.split() == [f"http://{copied}.localhost:{world.http_port}"]
    snapshot = Path(done.stderr.split("what was there: ")[1].split()[0])
    assert snapshot.stat().st_mode & 0o777 == 0o600
    world.ok("db.load", str(snapshot), "--branch", copied, "--replace")
    assert ask(world, copied, "SELECT * FROM leads; SHOW TABLES LIKE 'stray'") == [*"123", "stray"]
    assert pictures(world, copied) == "otherx"
    world.ok(*load, "--replace")


def test_a_file_that_is_not_whole_changes_nothing(
    world: World, copied: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.zip"
    world.ok("db.dump", str(file), "--branch", copied)
    whole = file.read_bytes()
    middle = len(whole) // 2
    for content, status in (
        (whole[:middle], 2),
        (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], 1),
        (b"", 2),
    ):
        file.write_bytes(content)
        done = world.run("db.load", str(file), "--branch", copied, "--replace")
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert "what was there" not in done.stderr
    missing = world.run("db.load", str(tmp_path / "none.zip"), "--branch", copied)
    assert missing.returncode == 2
    nowhere = world.run("db.dump", str(tmp_path / "none" / "x.zip"), "--branch", copied)
    assert nowhere.returncode == 2
    assert ask(world, copied, "SELECT * FROM leads") == ["1", "2"]


def test_interrupted_or_killed_the_data_is_the_old_or_the_new(
    world: World, copied: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.zip"
    fill = "INSERT INTO leads SELECT seq FROM seq_3_to_300000"
    ask(world, copied, fill)
    dump = world.start("db.dump", str(file), "--branch", copied)
    until_says(dump, "dump ")
    _interrupt(dump, twice=False)
    assert dump.returncode == 130
    assert list(tmp_path.iterdir()) == []
    world.ok("db.dump", str(file), "--branch", copied)
    ask(world, copied, "DELETE FROM leads WHERE id > 2")

    load = ("db.load", str(file), "--branch", copied, "--replace")
    for text, signum in (
        ("what was there", signal.SIGKILL),
        ("what was there", signal.SIGINT),
        ("load the uploads", signal.SIGKILL),
        ("load m", signal.SIGTERM),
        ("migrate: ", signal.SIGKILL),
        ("migrate: ", signal.SIGINT),
    ):
        run = world.start(*load)
        until_says(run, text)
        os.kill(run.pid, signum)
        _, said = run.communicate()
        assert run.returncode != 0
        until_quiet(world, copied)
        # Nothing goes on behind it, and what it says is so.
        rows = ask(world, copied, "SELECT COUNT(*) FROM leads")
        assert rows in (["2"], ["300000"])
        if signum != signal.SIGKILL:
            assert ("has the new data" in said) == (rows == ["300000"]), said
            assert ("has the data that it had" in said) == (rows == ["2"]), said
        ask(world, copied, "DELETE FROM leads WHERE id > 2")
    world.ok(*load)
    assert ask(world, copied, "SELECT COUNT(*) FROM leads") == ["300000"]
    databases = ask(world, copied, "SHOW DATABASES")
    assert not [name for name in databases if "__" in name]
    ask(world, copied, "DELETE FROM leads WHERE id > 2")


def test_a_reset_that_is_cut_off_leaves_what_was_there(world: World, copied: str) -> None:
    for text, signum in (
        ("install Mautic", signal.SIGKILL),
        ("mautic:install", signal.SIGINT),
        ("mautic:install", signal.SIGKILL),
    ):
        run = world.start("db.reset", "--branch", copied, "--replace")
        until_says(run, text)
        os.kill(run.pid, signum)
        run.communicate()
        until_quiet(world, copied)
        assert ask(world, copied, "SELECT * FROM leads") == ["1", "2"]
        assert pictures(world, copied) == "own"
        assert world.get(copied, "/s/login").status_code == 200


def until_quiet(world: World, branch: str, seconds: float = 30) -> None:
    """Wait until none of the image's programs runs in a branch's PHP container."""
    look = "grep -aoE '/opt/mautic/[a-z]+[.]php' /proc/[0-9]*/cmdline || true"
    end = time.monotonic() + seconds
    while found := world.inside(branch, f'sh -c "{look}"'):
        assert time.monotonic() < end, found


def test_a_branch_gets_anothers_data_and_is_emptied(world: World, site: Site, copied: str) -> None:
    other = "another"
    world.ok("deploy", "--branch", other, "--tag", world.tag())
    own = world.run("db.copy", "--from", other, "--branch", other)
    assert own.returncode == 2
    recorded = ask(world, copied, "SELECT version FROM migrations")
    ask(world, copied, "RENAME TABLE migrations TO emptied")
    for verb in (("db.dump", "/tmp/x.zip"), ("db.snapshot",), ("db.snapshot", "--dry-run")):
        assert world.run(*verb, "--branch", copied).returncode == 3
    emptied = world.run("db.copy", "--from", copied, "--branch", other)
    assert (emptied.returncode, "holds no whole Mautic" in emptied.stderr) == (3, True)
    ask(world, copied, "RENAME TABLE emptied TO migrations")
    assert ask(world, copied, "SELECT version FROM migrations") == recorded
    copy = ("db.copy", "--from", copied, "--branch", other)
    assert f"of {copied}, from container to container" in world.ok(*copy, "--dry-run").stdout
    world.ok(*copy)
    assert ask(world, other, "SELECT * FROM leads") == ["1", "2"]
    assert pictures(world, other) == "own"

    ask(world, copied, "INSERT INTO leads SELECT seq FROM seq_3_to_300000")
    large = f"{SENT.parent}/large"
    world.inside(copied, f"head -c 50000000 /dev/urandom > {large}")
    for text, signum in (
        ("copy the uploads", signal.SIGINT),
        ("copy the uploads", signal.SIGKILL),
        ("copy m", signal.SIGTERM),
        ("copy m", signal.SIGKILL),
        ("migrate: ", signal.SIGINT),
        ("migrate: ", signal.SIGKILL),
    ):
        run = world.start(*copy, "--replace")
        until_says(run, text)
        os.kill(run.pid, signum)
        _, said = run.communicate()
        assert run.returncode != 0
        for branch in (other, copied):
            until_quiet(world, branch)
        rows = ask(world, other, "SELECT COUNT(*) FROM leads")
        assert rows in (["2"], ["300000"])
        assert (rows == ["300000"]) == ("large" in world.inside(other, f"ls {SENT.parent}"))
        if signum != signal.SIGKILL:
            assert ("has the new data" in said) == (rows == ["300000"]), said
            assert ("has the data that it had" in said) == (rows == ["2"]), said
        ask(world, other, "DELETE FROM leads WHERE id > 2")
        world.inside(other, f"rm -f {large}")
    world.ok(*copy, "--replace")
    assert ask(world, other, "SELECT COUNT(*) FROM leads") == ["300000"]
    sums = f"sha256sum {large}"
    assert world.inside(other, sums) == world.inside(copied, sums)
    ask(world, copied, "DELETE FROM leads WHERE id > 2")
    world.inside(copied, f"rm {large}")

    assert world.run("db.reset", "--branch", other).returncode == 3
    world.ok("db.reset", "--branch", other, "--replace")
    assert ask(world, other, "SHOW TABLES LIKE 'leads'; SELECT username FROM users") == ["admin"]
    assert world.get(other, "/s/login").status_code == 200
    world.ok("cleanup", "--branch", other)
    protected = {**world.settings()}
    environments = protected["environments"]
    environments["local"] = {**environments["local"], "protected": True, "branches": [copied]}
    for verb in (("db.reset",), ("db.load", "x.zip"), ("db.copy", "--from", MAIN)):
        done = world.run(*verb, "--branch", copied, settings=protected)
        assert done.returncode == 3, done.stderr
        assert "is protected" in done.stderr


def test_a_new_branch_begins_with_anothers_data_even_after_it_was_cut_off(
    world: World, copied: str
) -> None:
    other = "begins"
    to_it = ("deploy", "--branch", other, "--tag", world.tag())
    cut_off = world.start(*to_it, "--data", copied)
    until_says(cut_off, "copy the uploads")
    os.kill(cut_off.pid, signal.SIGKILL)
    cut_off.communicate()
    assert ask(world, other, "SHOW TABLES LIKE 'leads'") == []
    # The choice is remembered.
    done = world.ok(*to_it)
    assert f"(from {copied}: 2 leads)" in done.stderr
    assert "log in as admin" in done.stderr
    assert ask(world, other, "SELECT * FROM leads") == ["1", "2"]
    assert pictures(world, other) == "own"
    ask(world, other, "INSERT INTO leads VALUES (3)")
    kept = world.ok(*to_it, "--data", "empty")
    assert f"which keeps its data (branch:{copied})" in kept.stderr
    assert ask(world, other, "SELECT * FROM leads") == ["1", "2", "3"]
    world.ok("cleanup", "--branch", other)


@dataclass(frozen=True)
class Seeds:
    """A folder of seeds."""

    world: World
    store: Path
    uploads: str = ""

    def given(self, **more: Any) -> dict[str, Any]:
        """Return settings and variables of a run."""
        own = {"store": str(self.store), **({"uploads": self.uploads} if self.uploads else {})}
        settings = {**self.world.settings(), "seeds": own}
        return {"settings": settings, "env": ENV, **more}

    def run(self, *args: str, **more: Any) -> CompletedProcess[str]:
        done = self.world.run(*args, **self.given(**more))
        assert KEY not in done.stdout + done.stderr
        return done

    def ok(self, *args: str) -> CompletedProcess[str]:
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self.ok("db.seed", "--list", "--format", "json").stdout
        )
        return found


@pytest.fixture(scope="module")
def seeds(world: World, copied: str, tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return Seeds(world, tmp_path_factory.mktemp("kept") / "seeds")


def test_a_seed_is_made_where_the_data_is_and_kept_encrypted(seeds: Seeds, copied: str) -> None:
    make = ("db.seed", "--branch", copied)
    assert "there are no seeds" in seeds.run("db.seed", "--list").stderr
    without = seeds.run(*make, env={})
    assert (without.returncode, "MAUTIC_SEED_KEY" in without.stderr) == (2, True)
    nowhere = seeds.run(*make, settings=seeds.world.settings())
    assert (nowhere.returncode, "seeds.store is not set" in nowhere.stderr) == (2, True)

    rules = seeds.world.checkout / "masking.yaml"
    refused = seeds.run(*make)
    assert refused.returncode == 1
    assert "standin_counters" in refused.stderr
    assert not seeds.store.exists()
    rules.write_text(yaml.safe_dump(RULES))
    try:
        plan = seeds.ok(*make, "--dry-run").stdout
        assert str(seeds.store) in plan
        assert "uploads" in plan
        assert not seeds.store.exists()
        elsewhere = seeds.run(*make, "--server", "nowhere.invalid")
        assert (elsewhere.returncode, "nowhere.invalid" in elsewhere.stderr) == (1, True)
        assert not any(seeds.store.rglob("*"))
        seeds.ok(*make, "--no-uploads", "--server", "database")
        made = seeds.ok(*make)
    finally:
        rules.unlink()
    (id_,) = made.stdout.split()
    folder = seeds.store / id_
    parts = ["manifest.json", "seed.sql.gz.enc", "uploads.tar.enc"]
    assert sorted(path.name for path in folder.iterdir()) == parts
    assert b"INSERT" not in (folder / "seed.sql.gz.enc").read_bytes()
    bare, listed = seeds.listed()
    assert (listed["id"], listed["source"]) == (id_, "local")
    count = "find docroot/media/images docroot/media/dashboards -type f | wc -l"
    there = int(seeds.world.inside(copied, count))
    assert (listed["uploads"]["files"], bare["uploads"]) == (there, None)


SHARES = re.compile(r"  share +uploads of seed:")


def test_branches_share_a_seed_s_uploads_until_the_last_one_is_gone(
    world: World, seeds: Seeds
) -> None:
    def ok(*args: str) -> str:
        return seeds.ok(*args).stdout

    def picture(branch: str, path: str = "/media/images/own.png") -> str:
        return world.get(branch, path).text

    def shelf() -> list[str]:
        found = world.engine.volumes.list(filters={"name": f"_seed-{id_}-"})
        return [each.name for each in found]

    one, other = "sharing", "shared"
    to_it = ("deploy", "--tag", world.tag(), "--data", "seed")
    assert SHARES.search(ok(*to_it, "--branch", one, "--dry-run"))
    id_ = seeds.listed()[-1]["id"]
    try:
        for branch in (one, other):
            ok(*to_it, "--branch", branch)
            assert "own.png" not in world.inside(branch, "ls docroot/media/images")
            assert picture(branch) == picture(branch, "/media/images/seed/own.png") == "own"
            world.inside(branch, "! touch docroot/media/images/seed/x")
        world.inside(one, f"printf mine > {PICTURE}")
        assert (picture(one), picture(other)) == ("mine", "own")
        # A copy has all of it among its own, whatever the branch shares.
        ok("db.copy", "--from", one, "--branch", other, "--replace")
        assert picture(other) == "mine"
        ok(*to_it, "--branch", other)

        ok("cleanup", "--branch", one)
        assert picture(other, "/media/images/seed/own.png") == "own"

        # Whoever removes all that can be removed.
        for each in world.containers(other).values():
            each.remove(force=True)
        world.engine.volumes.get(next(each for each in shelf() if "-images" in each)).remove()
        assert SHARES.search(ok(*to_it, "--branch", other, "--dry-run"))
        ok(*to_it, "--branch", other)
        assert picture(other, "/media/images/seed/own.png") == "own"

        last = ("cleanup", "--branch", other)
        assert f"uploads of seed {id_}" in ok(*last, "--dry-run")
        ok(*last)
        assert shelf() == []
    finally:
        for branch in (one, other):
            world.run("cleanup", "--branch", branch)


def test_a_branch_begins_with_a_seed_and_a_copy_of_its_uploads_even_after_it_was_cut_off(
    world: World, seeds: Seeds
) -> None:
    seeds = replace(seeds, uploads="copy")
    other = "seeded"
    to_it = ("deploy", "--branch", other, "--tag", world.tag(), "--data", "seed")
    foreign = seeds.run(*to_it, env={"MAUTIC_SEED_KEY": "ac" * 32})
    assert (foreign.returncode, "another key than seed" in foreign.stderr) == (2, True)
    assert not world.containers(other)
    cut_off = world.inv.start(world.checkout, *to_it, **seeds.given())
    until_says(cut_off, "load the uploads")
    os.kill(cut_off.pid, signal.SIGKILL)
    cut_off.communicate()
    assert re.search(r"\d uploads", seeds.ok(*to_it).stderr)
    assert pictures(world, other) == "own"
    assert SENT.name not in world.inside(other, "find .")
    world.inside(other, f"printf changed > {PICTURE}")
    seeds.ok(*to_it)
    assert pictures(world, other) == "changed"

    bare, whole = (each["id"] for each in seeds.listed())
    load = ("db.load", "--branch", other, "--replace")
    seeds.ok(*load, f"seed:{bare}")
    assert pictures(world, other) == "changed"
    seeds.ok(*load, f"seed:{whole}")
    assert pictures(world, other) == "own"
    world.inside(other, f"printf changed > {PICTURE}")
    sealed = seeds.store / whole / "uploads.tar.enc"
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"x")
    refused = seeds.run(*load, f"seed:{whole}")
    assert refused.returncode == 1
    assert f"seed {whole} is not what its manifest says" in refused.stderr
    assert pictures(world, other) == "changed"
    world.ok("cleanup", "--branch", other)


def test_a_changed_theme_is_served_without_a_migration(world: World, site: Site) -> None:
    world.ok("deploy")
    style = world.checkout / "docker" / "mautic" / "themes" / "acme" / "style.css"
    style.parent.mkdir()
    style.write_text("red")
    try:
        unbuilt = world.run("deploy", "--no-build")
        done = world.ok("deploy")
    finally:
        shutil.rmtree(style.parent)

    assert unbuilt.returncode == 1
    assert "inv build" in unbuilt.stderr
    first = done.stderr.splitlines()[0]
    assert re.fullmatch(
        rf"deploy {MAIN} to local \({world.tag()}-dirty-\w{{8}}\): what is missing of its images "
        "is built first",
        first,
    )
    assert world.get(MAIN, "/themes/acme/style.css").text == "red"
    assert "migrate" not in done.stderr
    listed = world.ok("releases").stdout.splitlines()
    assert listed[0].split() == ["release", "deployed", "(UTC)", "by", "result", "runs"]
    assert re.match(rf"{world.tag()}-dirty-\w+  .*  done    yes$", listed[1])
    world.ok("deploy", "--tag", world.tag())


HALF = 'USER 0\nRUN echo \'<?php return ["ALTER TABLE users ADD half INT", "NO SQL"];\''
HALF += f" > {CODE}/app/migrations/{LATER}.php\nUSER 33:33"


def test_a_rollback_takes_the_data_of_before_the_migrations_along(world: World, site: Site) -> None:
    branch = "points"
    on = ("--branch", branch)
    world.ok("deploy", *on, "--tag", world.tag())
    ask(world, branch, "CREATE TABLE leads (id INT PRIMARY KEY); INSERT INTO leads VALUES (1), (2)")
    later = world.variant("later", f"{MIGRATION}\nUSER 33:33")
    world.ok("deploy", *on, "--tag", later)
    ask(world, branch, "INSERT INTO leads VALUES (3)")
    refused = world.run("rollback", *on)
    assert refused.returncode == 3
    assert LATER in refused.stderr
    assert "--with-data" in refused.stderr
    assert "restore" in world.ok("rollback", *on, "--with-data", "--dry-run").stdout
    world.ok("rollback", *on, "--with-data")
    assert ask(world, branch, "SELECT id FROM leads ORDER BY id") == ["1", "2"]
    # The one that was put in place is used up.
    (kept,) = json.loads(world.ok("db.snapshots", *on, "--format", "json").stdout)
    assert (kept["migration"], kept["why"]) == (LATER, "replaced by snapshot 0")
    assert world.run("db.restore", "--name", kept["name"], *on).returncode == 3

    assert "take" in world.ok("db.snapshot", *on, "--dry-run").stdout
    by_hand = world.ok("db.snapshot", *on, "--why", "a try").stdout.strip()
    ask(world, branch, "DELETE FROM leads")
    world.ok("db.restore", "--name", by_hand, *on)
    assert ask(world, branch, "SELECT id FROM leads ORDER BY id") == ["1", "2"]

    half = world.run("deploy", *on, "--tag", world.variant("half", HALF))
    assert half.returncode == 1
    assert "with its data: snapshot" in half.stderr
    assert "half" not in ask(world, branch, "SHOW COLUMNS FROM users")
    world.ok("cleanup", *on)


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "cause", "words"),
    [
        (BROKEN_MIGRATE, "migrate cannot start", "the migration failed: migrate cannot start"),
        (
            *(BROKEN_WORKER, "worker of messenger:consume cannot stay"),
            "worker was restarted 3 times: exit status 1",
        ),
        # The migration has been run by then, and goes with the data from before it.
        (BROKEN_WEB, "fpm cannot start", "with its data: snapshot"),
    ],
    ids=["migrate", "worker", "web"],
)
def test_a_failed_update_leaves_the_release_before_running(
    world: World, site: Site, lines: str, cause: str, words: str
) -> None:
    broken = world.variant(cause.partition(" ")[0], lines)
    settings = world.settings()
    # The worker runs for 2 seconds.
    settings["environments"]["local"]["patience"] = {"stability_seconds": 5}
    failed = world.run("deploy", "--tag", broken, settings=settings)
    assert failed.returncode == 1
    assert cause in failed.stderr
    assert words.format(tag=world.tag()) in failed.stderr
    assert f"rolled back to {world.tag()}" in failed.stderr
    assert failed.stdout == ""
    evidence = list((world.checkout / "artifacts" / "local" / MAIN).iterdir())
    newest = max(evidence, key=lambda path: path.stat().st_mtime)
    assert cause in "".join(path.read_text() for path in newest.iterdir())
    assert world.get(MAIN, "/s/login").status_code == 200
    parts = json.loads(world.ok("status", "--format", "json").stdout)
    services = [part for part in parts if part["image"]]
    assert {(part["state"], part["health"]) for part in services} == {("running", "healthy")}
    world.ok("deploy", "--tag", world.tag())


def test_evidence_that_cannot_be_saved_does_not_keep_a_deploy_from_going_back(
    world: World, site: Site
) -> None:
    broken = world.variant("unsaved", BROKEN_MIGRATE)
    folder = world.checkout / "artifacts" / "local" / MAIN
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("in the way\n")
    try:
        failed = world.run("deploy", "--tag", broken)
    finally:
        folder.unlink()
    assert failed.returncode == 1
    assert "not all of the evidence could be saved" in failed.stderr
    assert "rolled back to" in failed.stderr.splitlines()[-1]
    assert world.get(MAIN, "/s/login").status_code == 200


def test_killed_anywhere_the_next_run_finishes(world: World, site: Site) -> None:
    deploy = ("deploy", "--branch", "killed", "--tag", world.tag())
    points = (
        ("make secrets", signal.SIGKILL),
        ("start database", signal.SIGKILL),
        ("migrate: ", signal.SIGKILL),
        ("Mautic is installed", signal.SIGINT),
        ("start services", signal.SIGKILL),
    )
    for text, signum in points:
        run = world.start(*deploy)
        until_says(run, text)
        os.kill(run.pid, signum)
        run.communicate()
        assert run.returncode == (-signum if signum == signal.SIGKILL else 130)
    listed = json.loads(world.ok("list", "--format", "json").stdout)
    assert [row["state"] for row in listed if row["branch"] == "killed"] == ["interrupted"]
    done = world.ok(*deploy)
    assert done.stderr.count("log in as admin with the password ") == 1
    assert world.get("killed", "/s/login").status_code == 200
    assert set(world.containers("killed")) == SERVICES

    cleanup = world.start("cleanup", "--branch", "killed")
    until_says(cleanup, "removed container")
    cleanup.kill()
    cleanup.communicate()
    assert world.objects("killed") != []
    world.ok("cleanup", "--branch", "killed")
    assert world.objects("killed") == []


def _interrupt(run: Popen[str], *, twice: bool) -> None:
    """Press Ctrl-C on a run, which the terminal sends to all of its process group."""
    for again in (False, True) if twice else (False,):
        time.sleep(0.1 * again)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=120)


@pytest.mark.parametrize(
    ("text", "twice"),
    [("quiesce worker", False), ("  Recreate", False), ("  Recreate", True), ("  Starting", True)],
    ids=["quiesced", "replaced", "replaced, told twice", "started, told twice"],
)
def test_an_update_that_was_interrupted_is_finished_by_the_next_run(
    world: World, site: Site, v2: str, text: str, twice: bool
) -> None:
    tags = {part["tag"] for part in json.loads(world.ok("status", "--format", "json").stdout)}
    tag = world.tag() if v2 in tags else v2
    run = world.start("deploy", "--tag", tag)
    until_says(run, text)
    _interrupt(run, twice=twice)

    world.ok("deploy", "--tag", tag)
    assert "everything is as it should be" in world.ok("deploy", "--tag", tag).stderr
    names = {f"{world.namespace(MAIN)}-{service}-1" for service in SERVICES}
    assert {item.name for item in world.all_containers(MAIN)} == names


@pytest.mark.skipif(not POINTS, reason="minutes long: set MAUTIC_MULTIDEV_INTERRUPT_POINTS=100")
def test_interrupted_at_any_moment_the_next_run_finishes(world: World, site: Site, v2: str) -> None:
    world.ok("deploy", "--tag", world.tag())
    started = time.monotonic()
    world.ok("deploy", "--tag", v2)
    seconds = time.monotonic() - started
    failed = []
    for number in range(POINTS):
        tag = (world.tag(), v2)[number % 2]
        run = world.start("deploy", "--tag", tag)
        with contextlib.suppress(TimeoutExpired):
            run.wait(seconds * (number + 0.5) / POINTS)
        _interrupt(run, twice=number % 4 > 1)
        done = world.run("deploy", "--tag", tag)
        if done.returncode or world.get(MAIN, "/s/login").status_code != 200:
            failed.append((number, done.stderr))
    assert failed == []


def test_of_two_deploys_at_once_one_waits_and_names_the_other(
    world: World, site: Site, v2: str
) -> None:
    first = world.start("deploy", "--branch", "race", "--tag", world.tag())
    until_says(first, "make secrets")
    second = world.start("deploy", "--branch", "race", "--tag", v2)
    waited = until_says(second, "is held by")
    assert f"pid {first.pid}" in waited
    assert f"deploy {world.tag()}" in waited
    first.communicate(timeout=120)
    second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0)
    parts = json.loads(world.ok("status", "--branch", "race", "--format", "json").stdout)
    assert {part["tag"] for part in parts} == {v2, ""}
    world.ok("cleanup", "--branch", "race")


def test_a_later_deploy_takes_the_place_of_one_that_waits(
    world: World, site: Site, v2: str
) -> None:
    first = world.start("deploy", "--branch", "queue", "--tag", world.tag())
    until_says(first, "make secrets")
    second = world.start("deploy", "--branch", "queue", "--tag", v2)
    until_says(second, "is held by")
    third = world.start("deploy", "--branch", "queue", "--tag", world.tag())
    until_says(third, "is held by")
    _, said = second.communicate(timeout=60)
    assert second.returncode == 4
    assert f"pid {third.pid}" in said
    first.communicate(timeout=120)
    third.communicate(timeout=120)
    assert (first.returncode, third.returncode) == (0, 0)
    world.ok("cleanup", "--branch", "queue")


def test_what_is_somebody_elses_is_refused(world: World, site: Site) -> None:
    other = world.checkout.parent / "other"
    shutil.copytree(world.checkout, other, symlinks=True)
    for command in (("deploy",), ("cleanup", "--branch", MAIN), ("status",)):
        refused = world.run(*command, cwd=other)
        assert refused.returncode == 3, refused.stderr
        assert "repository" in refused.stderr
    assert set(world.containers(MAIN)) == SERVICES

    labels = {PROJECT: world.namespace("theirs"), SERVICE: "web"}
    theirs = world.engine.volumes.create(f"{world.namespace('theirs')}_database", labels=labels)
    for command in (("deploy", "--new", "--no-build"), ("cleanup",)):
        refused = world.run(*command, "--branch", "theirs")
        assert refused.returncode == 3, refused.stderr
        assert theirs.name in refused.stderr
    assert world.objects("theirs") == [theirs.name]


def test_an_environment_is_adopted_by_who_says_whose_it_is(world: World, site: Site) -> None:
    moved = world.checkout.parent / "moved"
    shutil.copytree(world.checkout, moved, symlinks=True)
    before = {name: item.id for name, item in world.containers(MAIN).items()}
    protected = world.settings()
    protected["environments"]["local"] |= {"protected": True, "branches": [MAIN]}
    former = ("adopt", "--from", str(world.checkout))

    wrong = world.run("adopt", "--from", "git@example.org:g/p.git", cwd=moved)
    assert (wrong.returncode, str(world.checkout) in wrong.stderr) == (3, True), wrong.stderr
    dry = world.run(*former, "--dry-run", cwd=moved)
    assert dry.returncode == 0, dry.stderr
    assert f"from {world.checkout} to {moved}" in dry.stdout
    untyped = world.run(*former, cwd=moved, settings=protected)
    assert untyped.returncode == 3
    assert "adopted only by its name" in untyped.stderr
    world.ok("status")

    done = world.run(*former, "--name", "local", cwd=moved, settings=protected)
    assert done.returncode == 0, done.stderr
    assert str(world.checkout) in done.stdout
    assert world.run("status").returncode == 3
    again = world.run("deploy", cwd=moved)
    assert again.returncode == 0, again.stderr
    assert {name: item.id for name, item in world.containers(MAIN).items()} == before

    world.ok("adopt", "--from", str(moved))
    world.ok("deploy")
    assert {name: item.id for name, item in world.containers(MAIN).items()} == before


def test_a_port_that_is_taken_is_named_with_its_setting(world: World, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {
            **world.settings(http_port=port, registry_port=1),
            "project": f"{world.project}-p",
        }
        failed = world.run("deploy", settings=settings)
    assert failed.returncode == 1
    assert f"port {port}" in failed.stderr
    assert "platform.http_port" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_without_engine_registry_image_or_environment_one_clear_error(
    world: World, site: Site
) -> None:
    down = world.run("deploy", env={"DOCKER_HOST": "unix:///nonexistent.sock"})
    assert down.returncode == 1
    assert down.stderr.count("error:") == 1
    assert "unix:///nonexistent.sock" in down.stderr

    settings = world.settings()
    settings["environments"]["local"]["registry"]["url"] = "localhost:1/mautic"
    unreachable = world.run("deploy", "--branch", "new", "--new", settings=settings)
    assert unreachable.returncode == 1
    assert "localhost:1" in unreachable.stderr

    unbuilt = world.run("deploy", "--tag", "neverbuilt")
    assert unbuilt.returncode == 1
    assert "inv build" in unbuilt.stderr

    for command in ("status", "logs", "url", "rollback", "sleep", "wake", "pin"):
        absent = world.run(command, "--branch", "maim")
        assert absent.returncode == 2
        assert "did you mean main? Otherwise make one: inv deploy" in absent.stderr

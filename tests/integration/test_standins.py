"""The stand-ins of docker/standins, run for real: Debian, Mautic, the database, the registry."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tests.integration.standin_support import TEST_LABEL, container, finish, output, pair, until
from tests.support.images import standin
from tests.support.suite import ROOT
from tests.support.verbs import used

DEBIAN_SH = ROOT / "docker" / "standins" / "debian.sh"
LABELS = {TEST_LABEL: "1"}
HARDENED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
WRITABLE = ["/tmp", *(f"/var/www/html/var/{folder}" for folder in ("cache", "logs", "tmp"))]
NASTY = "a%b'c\"d\\e`f$g ü;#--"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as this")


@pytest.fixture(scope="module")
def network(engine: docker.DockerClient) -> Iterator[Any]:
    made = engine.networks.create(f"mautic-multidev-test-{secrets.token_hex(4)}", labels=LABELS)
    yield made
    made.remove()


# --- Debian ---------------------------------------------------------------------------------------


def debian_sh(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(DEBIAN_SH), *args], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "usage"),
        (["trixie"], "usage"),
        (["", "{tmp}/out.tar"], "not the name of a Debian suite"),
        (["../etc", "{tmp}/out.tar"], "not the name of a Debian suite"),
        (["trixie;id", "{tmp}/out.tar"], "not the name of a Debian suite"),
        (["trixie", "{tmp}/none/out.tar"], "does not exist"),
        (["trixie", "{tmp}"], "is a folder"),
    ],
)
def test_debian_sh_refuses_wrong_arguments(args: list[str], sentence: str, tmp_path: Path) -> None:
    done = debian_sh(*(arg.format(tmp=tmp_path) for arg in args))
    assert done.returncode == 64
    assert sentence in done.stderr
    assert not done.stdout


def test_debian_sh_needs_root(tmp_path: Path) -> None:
    user = {"user": 65534} if os.geteuid() == 0 else {}
    script = DEBIAN_SH.read_text()
    # On standard input: the checkout may be closed to other users.
    done = subprocess.run(
        ["sh", "-s", "trixie", "/tmp/out.tar"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **user,  # type: ignore[arg-type]
    )
    assert done.returncode == 77
    assert "sudo" in done.stderr
    assert list(tmp_path.iterdir()) == []


@as_root
@pytest.mark.parametrize(
    ("settings", "package"),
    [
        ({"PATH": "/nowhere:{bin}"}, "apt-get install debootstrap"),
        ({"DEBIAN_KEYRING": "/nowhere.gpg"}, "apt-get install debian-archive-keyring"),
    ],
)
def test_debian_sh_names_the_missing_package(
    settings: dict[str, str], package: str, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "id").symlink_to("/usr/bin/id")
    env = {**os.environ, **{key: value.format(bin=programs) for key, value in settings.items()}}
    done = subprocess.run(
        ["/bin/sh", str(DEBIAN_SH), "trixie", str(tmp_path / "out.tar")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert package in done.stderr


@as_root
def test_debian_sh_says_which_mirror_failed(tmp_path: Path) -> None:
    env = {**os.environ, "DEBIAN_MIRROR": "http://127.0.0.1:9/debian", "TMPDIR": str(tmp_path)}
    done = debian_sh("trixie", str(tmp_path / "out.tar"), env=env)
    assert done.returncode == 1
    assert "is trixie a suite of http://127.0.0.1:9/debian" in done.stderr
    assert list(tmp_path.iterdir()) == []


@as_root
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_debian_sh_interrupted_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    started = subprocess.Popen(
        # A SIGINT that is ignored here would be ignored there, and cannot be trapped.
        ["env", "--default-signal=INT", "sh", str(DEBIAN_SH), "trixie", str(tmp_path / "out.tar")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    until("root of the new system", lambda: list(tmp_path.glob("debian-*/root/*")))
    started.send_signal(number)
    assert started.wait(timeout=60) == status
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_debian_image_is_slim_and_gets_fixes(
    engine: docker.DockerClient, debian_image: str, network: Any
) -> None:
    script = """
        set -eu
        grep -q 'trixie-security' /etc/apt/sources.list.d/debian.sources
        grep -q 'trixie-updates' /etc/apt/sources.list.d/debian.sources
        test ! -e /etc/apt/sources.list
        test -x /usr/sbin/policy-rc.d
        ! /usr/sbin/policy-rc.d
        test -z "$(find /var/lib/apt/lists /var/cache/apt /var/log /tmp -type f)"
        test ! -d /usr/share/man/man1
        test -f /usr/share/doc/bash/copyright
        test ! -s /etc/machine-id
        apt-get -qq -o APT::Update::Error-Mode=any update
        apt-get -s dist-upgrade
        ls /var/lib/apt/lists
    """
    said = output(engine, debian_image, ["bash", "-c", script], network=network.name)
    assert "trixie-security" in said
    assert engine.images.get(debian_image).attrs["Size"] < 100_000_000


# --- Mautic's code --------------------------------------------------------------------------------


class Site:
    """A container of the mautic image with the stand-in's code, and a database of its own."""

    def __init__(self, container: Any, sql: Callable[[str], str]) -> None:
        self.container = container
        self.sql = sql

    def run(self, *argv: str, **environment: str) -> tuple[int, str]:
        """Run a program beside the container's own; return its status and all its output."""
        done = self.container.exec_run(list(argv), environment=environment)
        return done.exit_code, done.output.decode()

    def console(self, *args: str, **environment: str) -> tuple[int, str]:
        """Run bin/console by the image's entry point."""
        return self.run("mautic", "console", *args, **environment)


@pytest.fixture(scope="module")
def database(engine: docker.DockerClient, network: Any) -> Iterator[Callable[[str], str]]:
    """A database server; called with SQL it answers as root does."""
    with container(
        engine,
        standin(engine, "database"),
        network=network.name,
        name=f"{network.name}-database",
        environment={"MYSQL_ROOT_PASSWORD": "root"},
        tmpfs={"/var/lib/mysql": "uid=999,gid=999", "/tmp": "", "/run/mysqld": "uid=999,gid=999"},
        **HARDENED,
    ) as made:

        def sql(statement: str) -> str:
            client = ["mysql", "--host=127.0.0.1", "--user=root", "--skip-column-names", "-e"]
            done = made.exec_run(
                [*client, statement], environment={"MYSQL_PWD": "root"}, demux=True
            )
            assert done.exit_code == 0, done.output
            return (done.output[0] or b"").decode().strip()

        until("database", lambda: _answers(made, "root", "root"))
        yield sql


@pytest.fixture
def site(
    engine: docker.DockerClient, network: Any, database: Callable[[str], str]
) -> Iterator[Site]:
    """The console over an empty database."""
    name = f"site_{secrets.token_hex(4)}"
    database(f"CREATE DATABASE {name}")
    with container(
        engine,
        pair(engine)[0],
        ["sleep", "600"],
        network=network.name,
        environment={
            "MAUTIC_DB_HOST": f"{network.name}-database",
            "MAUTIC_DB_DATABASE": name,
            "MAUTIC_DB_USER": "root",
            "MAUTIC_DB_PASSWORD": "root",
            "MAUTIC_SECRET_KEY": "key",
            "MAUTIC_SITE_URL": "http://site.test",
            "MAUTIC_ADMIN_USERNAME": "admin",
            "MAUTIC_ADMIN_EMAIL": "admin@example.org",
            "MAUTIC_ADMIN_PASSWORD": NASTY,
            "MAUTIC_MESSENGER_DSN_EMAIL": "doctrine://default?queue_name=email",
            "MAUTIC_MESSENGER_DSN_HIT": "doctrine://default?queue_name=hit",
        },
        tmpfs=dict.fromkeys(WRITABLE, "uid=33,gid=33"),
        **HARDENED,
    ) as made:
        yield Site(made, lambda statement: database(f"USE {name}; {statement}"))
    database(f"DROP DATABASE {name}")


@pytest.fixture
def installed(site: Site) -> Site:
    """The console over an installed database."""
    status, said = site.run("mautic", "migrate")
    assert status == 0, said
    return site


def test_every_php_file_of_the_stand_in_parses(site: Site) -> None:
    tree = ROOT / "docker" / "standins" / "mautic" / "html"
    files = [f"/var/www/html/{path.relative_to(tree)}" for path in tree.rglob("*.php")]
    status, said = site.run(
        "sh", "-c", 'for file; do php -l "$file" || exit; done', "sh", "bin/console", *files
    )
    assert status == 0, said
    assert said.count("No syntax errors") == len(files) + 1


@pytest.mark.parametrize("args", [["list"], [], ["about"], ["--version"]])
def test_console_says_that_it_is_a_stand_in(site: Site, args: list[str]) -> None:
    status, said = site.console(*args)
    assert status == 0, said
    assert "stand-in of mautic-multidev, not Mautic" in said


def test_unknown_verb_is_an_error_with_advice(site: Site) -> None:
    status, said = site.console("mautic:emails:send")
    assert status == 1
    assert '"mautic:emails:send" is not defined' in said
    assert "bin/console list" in said


def test_the_console_knows_every_verb_that_is_used(site: Site) -> None:
    status, said = site.console("list")
    assert status == 0, said
    wanted = set(used())
    assert wanted <= set(said.split())
    for verb in sorted(wanted):
        assert "is not defined" not in site.console(verb)[1]


def test_every_scheduled_command_runs(installed: Site) -> None:
    jobs = json.loads((ROOT / "docker" / "mautic" / "php" / "cron.json").read_text())
    verbs = {job["command"][0]: job["command"] for job in jobs.values()}
    assert len(verbs) > 10
    for command in verbs.values():
        status, said = installed.console(*command)
        assert status == 0, said
    counted = installed.sql("SELECT name, value FROM standin_counters").splitlines()
    assert sorted(counted) == sorted(f"{verb}\t1" for verb in verbs)


@pytest.mark.parametrize(
    "args",
    [
        ["mautic:contacts:deduplicate"],
        ["mautic:max-mind:purge"],
        ["mautic:integration:fetchleads"],
        ["mautic:integration:pushactivity"],
        ["messenger:consume"],
        ["doctrine:migrations:migrate"],
        ["mautic:user:password"],
    ],
)
def test_what_mautic_refuses_with_1_is_refused_with_1(site: Site, args: list[str]) -> None:
    assert site.console(*args)[0] == 1


def test_install_traps_exit_0_and_do_nothing(site: Site) -> None:
    status, said = site.console("mautic:install", "http://site.test")
    assert (status, "already installed" in said) == (0, True)
    # local.php of the image has a site_url always; a scratch one without, which cannot be written:
    site.run("sh", "-c", "mkdir /tmp/c && touch /tmp/c/local.php && chmod 444 /tmp/c/local.php")
    status, said = site.console(
        "mautic:install", "http://site.test", MAUTIC_INSTALL_CONFIG="/tmp/c/local.php"
    )
    assert (status, "Install canceled" in said) == (0, True)
    assert site.sql("SHOW TABLES") == ""


def test_a_second_install_drops_nothing(installed: Site) -> None:
    installed.sql("INSERT INTO standin_counters VALUES ('kept', 7)")
    include = (
        "<?php include '/var/www/html/config/local.php'; $parameters['site_url'] = null;"
        " $parameters += ['admin_username' => 'x', 'admin_email' => 'x', 'admin_password' => 'x'];"
    )
    installed.run("sh", "-c", 'printf %s "$1" > /tmp/local.php', "sh", include)
    status, said = installed.console(
        "mautic:install", "--force", "http://site.test", MAUTIC_INSTALL_CONFIG="/tmp/local.php"
    )
    assert status == 0
    assert "users already" in said
    assert installed.sql("SELECT value FROM standin_counters WHERE name = 'kept'") == "7"
    assert installed.sql("SELECT username FROM users") == "admin"
    # As Mautic's, it writes a new secret key: what runs it has to keep the old one.
    assert "secret_key" in installed.run("cat", "/tmp/local.php")[1]


def test_migrations_run_exactly_once(installed: Site) -> None:
    short = "SELECT RIGHT(version, 21) AS name FROM migrations ORDER BY name"
    log = "SELECT version FROM standin_migration_log ORDER BY version"
    recorded = installed.sql(short).splitlines()
    ran = installed.sql(log).splitlines()
    # One has nothing to do, as some of Mautic's: it never runs, and is recorded at the end.
    assert recorded == sorted([*ran, "Version20260301000000"])
    installed.sql("DELETE FROM migrations WHERE version REGEXP '20260[34]01'")
    assert "New: 2" in installed.console("doctrine:migrations:status")[1]
    assert installed.console("doctrine:migrations:up-to-date")[0] == 1
    for _ in range(2):
        assert installed.run("mautic", "migrate")[0] == 0
    assert installed.sql(log).splitlines() == [*ran, ran[-1]]
    assert installed.sql(short).splitlines() == recorded
    assert installed.console("doctrine:migrations:up-to-date")[0] == 0


def test_cold_cache_needs_the_database(site: Site) -> None:
    assert site.console("cache:warmup", MAUTIC_DB_HOST="127.0.0.1")[0] == 1
    offline = (
        'echo \'<?php define("MAUTIC_DB_SERVER_VERSION", "8.4.0");\' > /tmp/v.php'
        " && php -d auto_prepend_file=/tmp/v.php bin/console cache:warmup"
    )
    status, said = site.run("sh", "-c", offline, MAUTIC_DB_HOST="127.0.0.1")
    assert status == 0, said
    # Warm again, what needs no data works without it.
    assert site.console("list", MAUTIC_DB_HOST="127.0.0.1")[0] == 0
    assert site.console("cache:clear")[0] == 0


def test_a_reset_password_is_not_stored_in_clear(installed: Site) -> None:
    before = installed.sql("SELECT password FROM users")
    status, said = installed.run(
        "sh", "-c", "printf '%s\\n' new-one | mautic console mautic:user:password admin"
    )
    assert status == 0, said
    after = installed.sql("SELECT password FROM users")
    assert after.startswith("$2y$")
    assert before != after
    check = 'exit(password_verify("new-one", $argv[1]) ? 0 : 1);'
    assert installed.run("php", "-r", check, "--", after)[0] == 0
    assert installed.run("sh", "-c", "echo x | mautic console mautic:user:password nobody")[0] == 1


def test_the_admin_password_is_taken_as_it_is(installed: Site) -> None:
    stored = installed.sql("SELECT password FROM users")
    check = "exit(password_verify(getenv('MAUTIC_ADMIN_PASSWORD'), $argv[1]) ? 0 : 1);"
    assert installed.run("php", "-r", check, "--", stored)[0] == 0


def test_worker_handles_its_own_queues_and_ends_in_time(installed: Site) -> None:
    installed.sql(
        "INSERT INTO messenger_messages (body, headers, queue_name, created_at, available_at)"
        " SELECT '', '[]', q, UTC_TIMESTAMP(), UTC_TIMESTAMP()"
        " FROM (SELECT 'email' AS q UNION ALL SELECT 'email' UNION ALL SELECT 'hit') AS queues"
    )
    status, said = installed.console("messenger:consume", "email", "--time-limit=1")
    assert status == 0, said
    assert installed.sql("SELECT queue_name FROM messenger_messages") == "hit"
    assert installed.sql("SELECT name, value FROM standin_counters") == "handled email\t2"
    status, said = installed.console("messenger:consume", "hit", "--memory-limit=1K")
    assert (status, "Worker stopped" in said) == (0, True)
    # No queue behind it: Mautic's default for both.
    status, said = installed.console("messenger:consume", "hit", MAUTIC_MESSENGER_DSN_HIT="sync://")
    assert (status, "cannot be received" in said) == (1, True)


def test_worker_ignores_sigquit_and_heeds_sigterm(installed: Site) -> None:
    script = """
        php bin/console messenger:consume email > /tmp/said & pid=$!
        until grep -q Consuming /tmp/said; do sleep 0.1; done
        kill -QUIT $pid; sleep 0.5; kill -0 $pid || exit 99
        kill -TERM $pid; wait $pid
    """
    status, said = installed.run("bash", "-c", script)
    assert status == 0, said
    assert "Worker stopped" in installed.run("cat", "/tmp/said")[1]


# --- the database ---------------------------------------------------------------------------------


def _answers(container: Any, user: str, password: str, *args: str) -> bool:
    done = container.exec_run(
        ["mysql", "--host=127.0.0.1", "--protocol=tcp", f"--user={user}", "-e", "SELECT 1", *args],
        environment={"MYSQL_PWD": password},
    )
    return bool(done.exit_code == 0)


@pytest.fixture
def server(engine: docker.DockerClient) -> Iterator[Callable[..., Any]]:
    """Starts database containers over one volume."""
    volume = engine.volumes.create(labels=LABELS)
    started: list[Any] = []
    with contextlib.ExitStack() as stack:
        stack.callback(volume.remove)

        def start(**environment: str) -> Any:
            for earlier in started:
                earlier.stop()
            running = container(
                engine,
                standin(engine, "database"),
                network_mode="none",
                environment=environment,
                volumes={volume.name: {"bind": "/var/lib/mysql"}},
                tmpfs={"/tmp": "", "/run/mysqld": "uid=999,gid=999"},
                **HARDENED,
            )
            started.append(stack.enter_context(running))
            return started[-1]

        start.volume = volume.name  # type: ignore[attr-defined]
        yield start


def test_database_honours_the_official_variables(server: Callable[..., Any]) -> None:
    made = server(
        MYSQL_ROOT_PASSWORD=f"root {NASTY}",
        MYSQL_DATABASE="mautic_a_b",
        MYSQL_USER="mautic_a",
        MYSQL_PASSWORD=NASTY,
    )
    until("database", lambda: _answers(made, "mautic_a", NASTY, "mautic_a_b"))
    assert _answers(made, "root", f"root {NASTY}")
    assert not _answers(made, "root", "")
    assert not _answers(made, "mautic_a", "")
    assert made.exec_run("id -u").output == b"999\n"
    created = made.exec_run(
        ["mysql", "--user=root", "-e", "CREATE DATABASE mauticXaXb"],
        environment={"MYSQL_PWD": f"root {NASTY}"},
    )
    assert created.exit_code == 0
    # The underscores of the name are no wildcards.
    assert not _answers(made, "mautic_a", NASTY, "mauticXaXb")
    assert not _answers(made, "mautic_a", NASTY, "mysql")


def test_database_takes_passwords_from_files(engine: docker.DockerClient) -> None:
    made = engine.containers.create(
        standin(engine, "database"),
        labels=LABELS,
        network_mode="none",
        environment={
            "MYSQL_ROOT_PASSWORD_FILE": "/etc/root",
            "MYSQL_DATABASE": "d",
            "MYSQL_USER": "u",
            "MYSQL_PASSWORD_FILE": "/etc/user",
        },
    )
    try:
        made.put_archive("/etc", _tar({"root": "r\n", "user": f"{NASTY}\n"}))
        made.start()
        until("database", lambda: _answers(made, "u", NASTY, "d"))
        assert _answers(made, "root", "r")
    finally:
        made.remove(force=True, v=True)


def _tar(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid, entry.mode = len(text.encode()), 999, 0o400
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "MYSQL_ROOT_PASSWORD"),
        ({"MYSQL_ROOT_PASSWORD": "r", "MYSQL_USER": "u"}, "MYSQL_PASSWORD is empty"),
        ({"MYSQL_ROOT_PASSWORD": "r", "MYSQL_USER": "root"}, "exists already"),
        ({"MYSQL_ROOT_PASSWORD": "r", "MYSQL_ROOT_PASSWORD_FILE": "/x"}, "both"),
        ({"MYSQL_ROOT_PASSWORD_FILE": "/nowhere"}, "cannot be read"),
        ({"MYSQL_ROOT_PASSWORD": "a\nb"}, "line break"),
    ],
)
def test_database_refuses_what_cannot_be_right(
    server: Callable[..., Any], environment: dict[str, str], sentence: str
) -> None:
    made = server(**environment)
    status, said = finish(made)
    assert status == 1
    assert sentence in said


def test_database_killed_while_preparing_begins_again(server: Callable[..., Any]) -> None:
    settings = {
        "MYSQL_ROOT_PASSWORD": "r",
        "MYSQL_DATABASE": "d",
        "MYSQL_USER": "u",
        "MYSQL_PASSWORD": "p",
    }
    made = server(**settings)
    half = "test -e /var/lib/mysql/.standin-unfinished -a -e /var/lib/mysql/ibdata1"
    until("half-made database", lambda: made.exec_run(["sh", "-c", half]).exit_code == 0)
    made.kill()
    again = server(**settings)
    until("database", lambda: _answers(again, "u", "p", "d"))
    assert "the first start was cut off" in again.logs().decode()
    # The next start is an ordinary one.
    third = server()
    until("database", lambda: _answers(third, "u", "p", "d"))
    assert "first start" not in third.logs().decode()


def test_database_stops_cleanly_and_keeps_its_data(server: Callable[..., Any]) -> None:
    settings = {"MYSQL_ROOT_PASSWORD": "r", "MYSQL_DATABASE": "d"}
    made = server(**settings)
    until("database", lambda: _answers(made, "root", "r", "d"))
    insert = "CREATE TABLE d.t (i INT); INSERT INTO d.t VALUES (42)"
    query = ["mysql", "-uroot", "-N", "-e"]
    login = {"MYSQL_PWD": "r"}
    assert made.exec_run([*query, insert], environment=login).exit_code == 0
    made.stop(timeout=60)
    assert made.wait()["StatusCode"] == 0
    # Another password in the environment changes nothing, as with the official image.
    again = server(MYSQL_ROOT_PASSWORD="other")
    until("database", lambda: _answers(again, "root", "r", "d"))
    assert again.exec_run([*query, "SELECT i FROM d.t"], environment=login).output.endswith(b"42\n")


@pytest.mark.parametrize(
    ("file", "sentence"), [("mysql.ibd", "written by MySQL"), ("letters.txt", "no database")]
)
def test_database_does_not_touch_foreign_files(
    engine: docker.DockerClient, server: Callable[..., Any], file: str, sentence: str
) -> None:
    volume = {server.volume: {"bind": "/var/lib/mysql"}}  # type: ignore[attr-defined]
    image = standin(engine, "database")
    path = f"/var/lib/mysql/{file}"
    output(engine, image, ["touch", path], volumes=volume, network_mode="none")
    made = server(MYSQL_ROOT_PASSWORD="r")
    status, said = finish(made)
    assert status == 1
    assert sentence in said
    left = output(
        engine, image, ["ls", "-A", "/var/lib/mysql"], volumes=volume, network_mode="none"
    )
    assert left.split() == [file]


# --- the registry ---------------------------------------------------------------------------------


def test_registry_keeps_serves_and_deletes_images(
    engine: docker.DockerClient, registry: str
) -> None:
    image = engine.images.get(standin(engine, "mautic"))
    name = f"{registry}/test-{secrets.token_hex(4)}"
    image.tag(name, "one")
    try:
        pushed = list(engine.images.push(name, "one", stream=True, decode=True))
        assert not [event for event in pushed if "error" in event]
    finally:
        engine.images.remove(f"{name}:one", noprune=True)
    pulled = engine.images.pull(name, "one")
    engine.images.remove(f"{name}:one", noprune=True)
    assert pulled.id == image.id
    manifest = f"http://{registry}/v2/{name.partition('/')[2]}/manifests"
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    digest = requests.head(f"{manifest}/one", headers=accept, timeout=30).headers[
        "Docker-Content-Digest"
    ]
    assert requests.delete(f"{manifest}/{digest}", timeout=30).status_code == 202
    assert requests.head(f"{manifest}/one", headers=accept, timeout=30).status_code == 404


def test_registry_runs_hardened_as_no_root(engine: docker.DockerClient) -> None:
    with container(engine, standin(engine, "registry"), network_mode="none", **HARDENED) as made:
        check = ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5000/v2/"]
        until("registry", lambda: made.exec_run(check).exit_code == 0)
        assert made.exec_run("id -u").output.strip() == b"5000"

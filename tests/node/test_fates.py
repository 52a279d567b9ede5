"""Deploys that fail on a real node, by real means: the cause, how soon it is told, the way back.

What the scripted node plays in tests/e2e/test_deploy_kubernetes_failures.py is real here, with the
same rows of the failure table.
"""

from __future__ import annotations

import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.deploys import Lines
from tests.support.realnode.bed import ON, Bed

LANES = 2
HEALING_SECONDS = 40
"""Twice the turns of a readiness probe until a pod whose database is back is ready again."""
POD = r"pod/\S+-{}-\S+ (?:init )?container {}: "
WEB, NGINX = POD.format("web", "fpm"), POD.format("web", "nginx")
SERVER: Mapping[str, Any] = {"mysql": {"enabled": False}}
"""A database that is not the release's own."""
SECRET_KEY = "cache_password"
WAY_BACK: Mapping[str, int] = {"deadline_seconds": 60}
"""Of deploys whose database is away on the way back, too: what starts again waits for it."""


def nothing(bed: Bed, branch: str) -> Callable[[], None]:
    """Prepare nothing."""
    return lambda: None


def fpm(**resources: Any) -> dict[str, Any]:
    """Return values with the resources of php-fpm."""
    return {"web": {"fpm": {"resources": resources}}}


@dataclass(frozen=True)
class Fate:
    """One deploy that fails.

    Attributes:
        cause: a pattern of the line that names the cause.
        values: the chart's values.
        lines: of the mautic image's Dockerfile, besides.
        first: whether nothing is deployed before.
        patience: of the environment.
        prepare: done to the cluster first; what it returns is called at the end.
        shown: a pattern of a line that must have been told before.
    """

    cause: str
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: str = ""
    first: bool = False
    patience: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[Bed, str], Callable[[], None]] = nothing
    shown: str = ""


def wrong_password(bed: Bed, branch: str) -> Callable[[], None]:
    """Let the branch's Secret and its database disagree."""
    where = bed.names(branch).namespace
    bed.cluster.patch("Secret", "mautic", where, {"stringData": {"db_password": "another-one"}})
    return lambda: None


def migration_lock(bed: Bed, branch: str) -> Callable[[], None]:
    """Hold the lock that the migration takes."""
    code = """
        require "/opt/mautic/environment.php"; include "/var/www/html/config/local.php";
        $p = $parameters;
        $dsn = "mysql:host={$p["db_host"]};dbname={$p["db_name"]}";
        $db = new PDO($dsn, $p["db_user"], $p["db_password"]);
        $name = "mautic-migrate:".substr(hash("sha256", $p["db_name"]), 0, 32);
        echo $db->query("SELECT GET_LOCK(\\"$name\\", 5)")->fetchColumn(), "\\n"; flush();
        sleep(60);
    """
    held = bed.start(
        *("shell", *ON, "--branch", branch, "--command", f"php -r '{' '.join(code.split())}'")
    )
    lines = Lines(held.stdout)
    deadline = time.monotonic() + 30
    while not lines.lines:
        assert time.monotonic() < deadline and held.poll() is None, held.stderr.read()
        time.sleep(0.1)

    def end() -> None:
        held.kill()
        held.wait()

    return end


def in_database(bed: Bed, branch: str, command: str) -> None:
    """Run a shell's command in the database's container; `$ROOT` is its client, as root."""
    root = 'export MYSQL_PWD="$(cat /run/secrets/mysql/db_root_password)" ROOT="mysql -uroot"; '
    where = ("--branch", branch, "--service", "database")
    bed.ok("shell", *ON, *where, "--command", root + command)


def tls_required(bed: Bed, branch: str) -> Callable[[], None]:
    """Let the database take no connection without TLS."""

    def require(value: str) -> None:
        in_database(bed, branch, f'$ROOT -e "SET GLOBAL require_secure_transport = {value}"')

    require("ON")
    return lambda: require("OFF")


def database_dropped(bed: Bed, branch: str) -> Callable[[], None]:
    """Take the branch's database away from its server."""
    dump = "$(command -v mysqldump || command -v mariadb-dump)"
    in_database(
        bed,
        branch,
        f"{dump} -uroot --single-transaction $MYSQL_DATABASE > /tmp/kept.sql"
        ' && $ROOT -e "DROP DATABASE $MYSQL_DATABASE"',
    )
    return lambda: in_database(
        bed,
        branch,
        '$ROOT -e "CREATE DATABASE $MYSQL_DATABASE" && $ROOT $MYSQL_DATABASE < /tmp/kept.sql',
    )


def connections_taken(bed: Bed, branch: str) -> Callable[[], None]:
    """Hold the only connection that Mautic's user may have."""
    user = bed.names(branch).database_user

    def allow(number: int) -> None:
        sql = f"ALTER USER '{user}'@'%' WITH MAX_USER_CONNECTIONS {number}"
        in_database(bed, branch, f'$ROOT -e "{sql}"')

    # The server counts those connections alone that were made under the limit.
    allow(1)
    held = bed.start(
        *("shell", *ON, "--branch", branch, "--service", "database", "--command"),
        'export MYSQL_PWD="$(cat /run/secrets/mysql/db_password)"; '
        "until mysql -n -h127.0.0.1 -u$MYSQL_USER "
        '-e "SELECT 1; SELECT SLEEP(600)"; do sleep 0.1; done',
    )
    lines = Lines(held.stdout)
    deadline = time.monotonic() + 30
    while not lines.lines:
        assert time.monotonic() < deadline and held.poll() is None, held.stderr.read()
        time.sleep(0.1)

    def end() -> None:
        allow(0)
        held.kill()
        held.wait()

    return end


FATES = {
    "an image that is missing": Fate(
        POD.format("redis", "redis") + r"the image cannot be pulled",
        {"sessions": {"handler": "redis"}, "redis": {"enabled": True}}
        | {"images": {"redis": "{registry}/none@sha256:" + "e" * 64}},
    ),
    "a variable that cannot be": Fate(
        # All containers find it; which is told depends on who is looked at first.
        r"(job/\S+-migrate: the Job failed|the container keeps crashing) .*exit code 64: mautic: "
        r"FPM_PM must be static, dynamic or ondemand, not 'no-such-way'",
        lines="ENV FPM_PM=no-such-way",
    ),
    "a setting that php-fpm alone finds wrong": Fate(
        WEB + r"the container keeps crashing .*exit code 78",
        {"web": {"fpm": {"env": {"FPM_START_SERVERS": "99"}}}},
        shown=r"pm\.start_servers",
    ),
    "too little memory": Fate(
        # The kernel may kill php-fpm's shell or its child: the kubelet tells of the first alone.
        WEB + r"(the container ran out of memory|the container keeps crashing .*exit code 137)",
        fpm(limits={"memory": "12Mi"}, requests={"memory": "12Mi"}),
    ),
    "a key of the Secret that is missing": Fate(
        WEB + rf"a Secret, .* missing \(\S+ couldn't find key {SECRET_KEY} in Secret \S+/mautic",
        {"sessions": {"handler": "redis"}}
        | {"redis": {"host": "192.0.2.11", "passwordKey": SECRET_KEY}},
    ),
    "a quota": Fate(
        r"replicaset/\S+: refused by a quota \(FailedCreate: .*exceeded quota",
        {"quota": {"hard": {"pods": "1"}}},
    ),
    "a pod that never becomes ready": Fate(
        r"GET /ready \(Mautic's \S+\) answered 404",
        {"web": {"readiness": {"path": "/no/such/page"}}},
        patience={"deadline_seconds": 30},
    ),
    "a database host that is not there": Fate(
        r"database.*nowhere\.example\.com",
        {
            **SERVER,
            "database": {"host": "nowhere.example.com"},
            "networkPolicy": {"database": {"cidrs": ["192.0.2.0/24"]}},
        },
        first=True,
        shown=r"nowhere\.example\.com",
    ),
    "a database that refuses connections": Fate(
        r"database.*127\.0\.0\.1",
        {**SERVER, "database": {"host": "127.0.0.1"}},
        first=True,
        patience={"grace_seconds": 5},
    ),
    "a database password that is wrong": Fate(
        r"Access denied for user", prepare=wrong_password, lines="RUN touch /tmp/x"
    ),
    "a database that wants TLS": Fate(
        r"no secure connection to the database",
        prepare=tls_required,
        lines="RUN touch /tmp/z",
        patience=WAY_BACK,
    ),
    "a database that is not there": Fate(
        r"there is no such database .*Unknown database",
        prepare=database_dropped,
        lines="RUN touch /tmp/u",
        patience=WAY_BACK,
    ),
    "a database without a free connection": Fate(
        r"the database has no connection left .*max_user_connections",
        prepare=connections_taken,
        lines="RUN touch /tmp/v",
        patience={**WAY_BACK, "grace_seconds": 5},
    ),
    "a migration that waits for another one": Fate(
        r"migrat",
        prepare=migration_lock,
        lines="RUN touch /tmp/y",
        patience={"deadline_seconds": 25},
    ),
    "more than the node has": Fate(
        r"pod/\S+-web-\S+: no node can take the pod \(Unschedulable: .*Insufficient cpu",
        fpm(requests={"cpu": "1k"}) | {"quota": {"hard": {"requests.cpu": "10k"}}},
        patience={"grace_seconds": 4},
    ),
}


@dataclass
class Seen:
    """What was seen of one deploy.

    Attributes:
        status: its exit status.
        text: its stderr.
        seconds: how long it took.
        serving: the images that served before it, and after.
        pods: the web pods that served before it, and after.
    """

    status: int
    text: str
    seconds: float
    serving: tuple[set[str], set[str]]
    pods: tuple[set[str], set[str]]

    def error(self) -> str:
        """Return the line that names the cause."""
        return next(line for line in self.text.splitlines() if line.startswith("error: "))


@pytest.fixture(scope="module")
def outcomes(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Any]:
    """What came of every fate; each is waited for by its own test."""
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    names = {call.params.get("name") for call in asked if call}
    good = bed.build()
    lanes: queue.SimpleQueue[str] = queue.SimpleQueue()
    for number in range(LANES):
        lanes.put(f"lane-{number}")

    def play(number: int, fate: Fate) -> Seen:
        lane = lanes.get()
        try:
            branch = f"own-{number}" if fate.first or fate.prepare is not nothing else lane
            if not fate.first and not bed.exists(branch):
                bed.deployed(branch, "--tag", good)
            return run(bed, fate, branch, good, f"fate-{number}")
        finally:
            lanes.put(lane)

    with ThreadPoolExecutor(LANES) as pool:
        yield {
            name: pool.submit(play, number, fate)
            for number, (name, fate) in enumerate(FATES.items())
            if name in names
        }


def run(bed: Bed, fate: Fate, branch: str, good: str, tag: str) -> Seen:
    tag = bed.variant(tag, good, fate.lines)
    values = {
        key: {name: text(bed, value) for name, value in part.items()}
        for key, part in fate.values.items()
    }
    settings = bed.settings(values, patience={"stability_seconds": 2, **fate.patience})
    serving, pods = bed.serving(branch), bed.ready(branch)
    end = fate.prepare(bed, branch)
    started = time.monotonic()
    try:
        done = bed.deploy(branch, "--tag", tag, "--no-capacity-check", settings=settings)
    finally:
        end()
    seconds = time.monotonic() - started
    # What was done to the database may have kept those that serve from it for a while.
    deadline = time.monotonic() + HEALING_SECONDS
    while bed.ready(branch) != pods and time.monotonic() < deadline:
        time.sleep(1)
    return Seen(
        done.returncode,
        done.stderr,
        seconds,
        (serving, bed.serving(branch)),
        (pods, bed.ready(branch)),
    )


def text(bed: Bed, value: Any) -> Any:
    return value.replace("{registry}", bed.registry) if isinstance(value, str) else value


@pytest.mark.parametrize("name", FATES)
def test_a_deploy_that_fails_names_its_cause_and_goes_back(
    outcomes: Any, name: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    fate, seen = FATES[name], outcomes[name].result()
    record_testsuite_property(f"seconds: {name}", round(seen.seconds, 1))
    print(f"{name}: {seen.seconds:.1f} s: {seen.text}")  # noqa: T201 - for -s

    assert seen.status == 1, seen.text
    assert re.search(fate.cause, seen.error()), seen.text
    if fate.shown:
        assert re.search(fate.shown, seen.text), seen.text
    before, after = seen.serving
    assert after == before
    assert seen.pods[0] == seen.pods[1], "the pods that served were replaced"

"""`mautic database mask`, `clone`, snapshots: on a real server, with recorded schemas of Mautic."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import secrets
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from subprocess import run
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.standin_support import until
from tests.support.masking import (
    CANARY,
    REMOVING,
    REPLACING,
    ROWS,
    RULES,
    TEXTS,
    VERSIONS,
    columns,
    fill,
    php,
)
from tests.support.masking_server import (
    ADMINISTRATOR,
    KEY,
    OTHER_SALT,
    OWN_SITE,
    SALT,
    Branch,
    Server,
    begin_branch,
    enlarge,
    masking_server,
)
from tests.support.seeds import FORMER, seal, sealed

if TYPE_CHECKING:
    import docker

WRONG, REFUSED, FAILED = 78, 77, 1
ADDRESS = r"[\w.+-]+(?:@|%40|&#64;)(?:[\w-]+\.)+[a-z]{2,}"


@pytest.fixture(scope="module")
def server(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with masking_server(engine, tmp_path_factory.mktemp("masking")) as made:
        yield made


@dataclass(frozen=True)
class Seed:
    """A seed, and what it was made of.

    Attributes:
        source: the database that was read.
        folder: where it lies.
        manifest: what its manifest says.
        sql: what is in it.
        database: what was loaded from it.
    """

    source: str
    folder: Path
    manifest: dict[str, Any]
    sql: str
    database: str


def seed(server: Server, source: str, salt: str = SALT, **environment: str) -> Seed:
    """Mask a database, and load what comes of it."""
    status, said, folder = server.mask(
        source, MAUTIC_MASK_SALT_FILE=server.file(salt), **environment
    )
    assert status == 0, said
    status, said, sql = server.unseal(folder)
    assert status == 0, said
    manifest = json.loads((folder / "manifest.json").read_text())
    return Seed(source, folder, manifest, sql, server.load(sql))


@pytest.fixture(scope="module")
def seeds(server: Server) -> dict[str, Seed]:
    """A seed of each version."""
    return {version: seed(server, server.source(version)) for version in VERSIONS}


@pytest.fixture(scope="module")
def newest(seeds: dict[str, Seed]) -> Seed:
    return seeds[VERSIONS[-1]]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_seed_holds_every_row_that_goes_along_and_nobody(
    server: Server, seeds: dict[str, Seed], version: str
) -> None:
    made = seeds[version]
    for text in (made.sql, json.dumps(made.manifest)):
        assert set(re.findall(CANARY, text)) == set()
    addresses = set(re.findall(ADDRESS, made.sql, re.I))
    assert len(addresses) > 100
    assert [each for each in addresses if not each.lower().endswith("example.com")] == []
    assert "mautic.shop.test" not in made.sql
    assert "https://site.example.com/x" in made.sql

    tables = [row[0] for row in server.ask("SHOW TABLES", made.source)]
    assert sorted(tables) == sorted(row[0] for row in server.ask("SHOW TABLES", made.database))
    for table in tables:
        (before,), (after,) = (
            server.ask(f"SELECT COUNT(*) FROM `{table}`", database)[0]  # noqa: S608
            for database in (made.source, made.database)
        )
        assert before >= ROWS
        gone = RULES["tables"].get(table, {}).get("empty", False)
        assert after == (0 if gone else before), table
        assert made.manifest["rows"].get(table) == (None if gone else before)
    assert made.manifest["unreadable_values"] == 0
    assert made.manifest["file_sha256"] == sha256(made.folder / "seed.sql.gz.enc")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def values(server: Server, database: str, rules: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the values of text columns with certain rules, by column, in the rows' order."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        wanted = [
            each
            for each in columns(cursor, database)
            if each.rule.startswith(rules) and each.kind in TEXTS and not each.generated
        ]
        found = {}
        for each in wanted:
            cursor.execute(f"SELECT `{each.name}` FROM `{each.table}`")  # noqa: S608
            found[f"{each.table}.{each.name}"] = [row[0] for row in cursor.fetchall()]
    return found


def test_a_seed_fits_into_a_server_with_a_small_tmpdir(newest: Seed) -> None:
    # Without these checks MariaDB sorts what it loads in files there; a million rows were too many.
    assert "unique_checks" not in newest.sql.split("CREATE TABLE", 1)[0]


@contextmanager
def redefining(server: Server, database: str) -> Iterator[None]:
    """Change the definitions of tables while the context lasts, one after the other."""
    over = Event()

    def change() -> None:
        with closing(server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            for (table,) in cycle(cursor.fetchall()):
                if over.wait(0.005):
                    return
                cursor.execute(f"ALTER TABLE `{table}` COMMENT = 'changed'")

    changing = Thread(target=change, daemon=True)
    changing.start()
    try:
        yield
    finally:
        over.set()
        changing.join()


def test_no_table_is_left_out_whose_definition_is_being_changed(
    server: Server, newest: Seed
) -> None:
    source = server.source()
    with redefining(server, source):
        made = [server.stream(source, json.dumps({"key": KEY})) for _ in range(5)]
    for status, said, folder in made:
        assert status == 0, said
        assert json.loads(said.splitlines()[-1])["rows"] == newest.manifest["rows"]
        sql = server.unseal(folder)[2]
        assert sql.count("CREATE TABLE") == newest.sql.count("CREATE TABLE")


def test_a_table_that_is_changed_before_it_is_read_ends_the_run_in_words(server: Server) -> None:
    source = server.source()
    enlarge(server, source, {"leads": 60_000})
    changed = Event()

    def change() -> None:
        reading = (
            "SELECT 1 FROM information_schema.processlist"  # noqa: S608
            f" WHERE info LIKE 'SELECT t.%leads%' AND db = '{source}'"
        )
        with closing(server.connect(source)) as connection, connection.cursor() as cursor:
            # What is read in parts can be changed between two of them.
            until("somebody who reads", lambda: cursor.execute(reading))
            cursor.execute("ALTER TABLE leads ADD field_of_somebody INT, ALGORITHM = COPY")
            changed.set()

    changing = Thread(target=change, daemon=True)
    changing.start()
    status, said, _ = server.stream(source, json.dumps({"key": KEY}))
    assert changed.wait(60)
    assert (status, "changed by somebody else while it was read" in said) == (75, True), said


def test_no_masked_value_is_its_source(server: Server, newest: Seed) -> None:
    before = values(server, newest.source, REMOVING)
    after = values(server, newest.database, REMOVING)
    assert len(before) > 100
    for column, each in before.items():
        old = {str(value) for value in each if value is not None and len(str(value)) >= 8}
        assert old & {str(value) for value in after[column]} == set(), column


def test_the_same_salt_gives_the_same_bytes_and_another_no_pseudonym_in_common(
    server: Server, newest: Seed
) -> None:
    status, said, again = server.mask(newest.source)
    assert status == 0, said
    assert server.unseal(again)[2] == newest.sql
    manifest = json.loads((again / "manifest.json").read_text())
    other = seed(server, newest.source, OTHER_SALT)
    for key in ("sql_sha256", "salt_id"):
        assert manifest[key] == newest.manifest[key] != other.manifest[key]
    assert newest.manifest["rules_sha256"] == other.manifest["rules_sha256"]
    first, second = (
        {value for each in found.values() for value in each if value}
        for found in (values(server, made.database, REPLACING) for made in (newest, other))
    )
    assert len(first) > 100
    assert first & second == set()


def test_what_was_joined_stays_joined(server: Server, newest: Seed) -> None:
    for joined in (
        "email_stats s ON s.lead_id = l.id AND s.email_address = l.email",
        "companies c ON c.id = l.id AND c.companyname = l.company",
        "form_results_1_contact f ON f.submission_id = l.id AND f.your_mail = l.email",
        "users u ON u.id = l.created_by"
        " AND CONCAT(u.first_name, ' ', u.last_name) = l.created_by_user",
        "users u ON u.id = l.id AND l.generated_email_domain = SUBSTRING_INDEX(l.email, '@', -1)",
    ):
        found = server.ask(f"SELECT COUNT(*) FROM leads l JOIN {joined}", newest.database)  # noqa: S608
        assert found == [(ROWS,)], joined
    domains = "SELECT COUNT(DISTINCT generated_email_domain) FROM leads"
    assert server.ask(domains, newest.database) == [(1,)]
    answers = "SELECT DISTINCT colour, gone FROM form_results_1_contact"
    assert server.ask(answers, newest.database) == [("kept red", None)]
    lengths = "SELECT CHAR_LENGTH(text) FROM lead_notes ORDER BY id"
    assert server.ask(lengths, newest.database) == server.ask(lengths, newest.source)


def references(server: Server, database: str) -> list[tuple[str, str, str, str]]:
    """Return table and column of each foreign key, and what they refer to."""
    found = server.ask(
        "SELECT table_name, column_name, referenced_table_name, referenced_column_name"
        " FROM information_schema.key_column_usage"
        " WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL",
        database,
    )
    assert len(found) > 100
    return [*found, ("form_results_1_contact", "submission_id", "form_submissions", "id")]


def orphans(server: Server, database: str) -> list[tuple[str, str]]:
    """Return the columns that refer to rows that are not there."""
    lost = []
    for table, column, parent, key in references(server, database):
        question = (
            f"SELECT COUNT(*) FROM `{table}` t LEFT JOIN `{parent}` p ON p.`{key}` = t.`{column}`"  # noqa: S608
            f" WHERE t.`{column}` IS NOT NULL AND p.`{key}` IS NULL"
        )
        if server.ask(question, database) != [(0,)]:
            lost.append((table, column))
    return lost


def test_no_row_refers_to_one_that_is_left_out(server: Server, newest: Seed) -> None:
    assert orphans(server, newest.database) == []


def test_serialised_values_stay_readable(server: Server, newest: Seed) -> None:
    found = values(server, newest.database, ("php.", "json."))
    assert len(found) > 50
    check = """foreach (json_decode(stream_get_contents(STDIN)) as [$rule, $value]) {
        $read = 'php' === $rule ? @unserialize($value, ['allowed_classes' => false])
            : json_decode($value, true);
        echo json_encode($read), "\\n";
    }"""
    pairs = [
        ["php" if each.startswith(("a:", "s:")) else "json", each]
        for column in found.values()
        for each in column
        if each
    ]
    (server.shared / "values.json").write_text(json.dumps(pairs))
    (server.shared / "check.php").write_text(f"<?php {check}")
    done = server.client.exec_run(["sh", "-c", "php /shared/check.php </shared/values.json"])
    read = [json.loads(line) for line in done.output.decode().splitlines()]
    assert len(read) == len(pairs)
    assert all(isinstance(each, (dict, list)) for each in read)
    actions = [each for each in read if isinstance(each, dict) and each.get("to")]
    assert actions
    for each in actions:
        assert each["to"] == "sink@example.com"
        assert each["email"] == 12
        assert each["password"] == ""
        assert each["site"] == "https://site.example.com/form/1"
        assert each["list"][1:4] == [7, True, None]
        assert each["name"].startswith("kept \u00fc c")


def test_a_new_table_column_or_plugin_ends_the_run_by_name(server: Server) -> None:
    database = server.source()
    for change in (
        "CREATE TABLE custom_item (id INT PRIMARY KEY, name TEXT)",
        "ALTER TABLE companies ADD nickname VARCHAR(50)",
        "ALTER TABLE page_hits ADD score INT",
        "UPDATE plugins SET bundle = 'AcmeBundle' WHERE id = 2",
    ):
        server.ask(change, database)

    status, said, folder = server.mask(database)

    assert status == FAILED
    named = ("table custom_item", "companies.nickname", "page_hits.score", "plugin AcmeBundle")
    for each in named:
        assert each in said
    assert list(folder.iterdir()) == []

    rules = {
        "tables": {
            "custom_item": {"columns": {"keep": ["id"], "text.lorem": ["name"]}},
            "companies": {"columns": {"null": ["nickname"]}},
            "page_hits": {"columns": {"keep": ["score"]}},
        },
        "plugins": ["AcmeBundle"],
    }
    server.ask("INSERT INTO custom_item VALUES (1, 'Kanarie123456 is here')", database)
    status, said, folder = server.mask(database, MAUTIC_MASK_RULES=server.file(json.dumps(rules)))
    assert status == 0, said
    _, _, sql = server.unseal(folder)
    assert not re.search(CANARY, sql)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"]["custom_item"] == 1


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"tables": {"leads": {"columns": {"keep": ["email"]}}}}, "email has a rule already"),
        ({"tables": {"audit_log": {"columns": {"keep": ["details"]}}}}, "audit_log"),
        ({"tables": {"x": {"columns": {"kep": ["a"]}}}}, "'kep' of a is no rule"),
        ({"tables": {"x": {"columns": {"keep": ["a"]}, "mode": "keep"}}}, "x: must have columns"),
        ({"table": {}}, "must be a JSON object with tables"),
        ({"tables": 3}, "must be a JSON object with tables"),
        ({"plugins": ["Acme", 3]}, "must be a JSON object with tables"),
        ({"tables": {"x": {"columns": {"keep": [["a"]]}}}}, "x: columns must have, by rule"),
    ],
)
def test_the_projects_rules_let_out_nothing_that_is_masked(
    server: Server, newest: Seed, rules: dict[str, Any], named: str
) -> None:
    file = server.file(json.dumps(rules))
    status, said, folder = server.mask(newest.source, MAUTIC_MASK_RULES=file)
    assert (status, list(folder.iterdir())) == (WRONG, [])
    assert named in said


def test_a_database_of_something_else_is_told_in_one_line(server: Server) -> None:
    database = server.source()
    server.ask("RENAME TABLE form_fields TO of_something_else", database)
    status, said, folder = server.mask(database)
    assert (status, list(folder.iterdir())) == (FAILED, [])
    assert said.strip().splitlines()[-1] == (
        f"mask: there is no Mautic in the database {database}: it has no table form_fields"
    )


def test_a_canary_in_what_would_leave_ends_the_run_by_column(server: Server, newest: Seed) -> None:
    canaries = server.file("not there\nkept\n")
    status, said, folder = server.mask(newest.source, MAUTIC_MASK_CANARIES_FILE=canaries)
    assert (status, list(folder.iterdir())) == (FAILED, [])
    assert "a canary would leave in leads.title" in said


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MAUTIC_MASK_KEY_FILE": ""}, "MAUTIC_MASK_KEY_FILE is not set"),
        ({"MAUTIC_MASK_SALT": SALT}, "MAUTIC_MASK_SALT is not read"),
        ({"MAUTIC_MASK_KEY": KEY}, "MAUTIC_MASK_KEY is not read"),
        ({"MAUTIC_MASK_CONTACTS": "many"}, "MAUTIC_MASK_CONTACTS must be a whole number"),
        ({"MAUTIC_MASK_FOLDER": ""}, "MAUTIC_MASK_FOLDER is not set"),
    ],
)
def test_settings_are_refused_by_name(
    server: Server, newest: Seed, environment: dict[str, str], named: str
) -> None:
    status, said, _ = server.mask(newest.source, **environment)
    assert status == WRONG
    assert named in said


def test_a_seed_may_go_to_stdout_with_all_settings_from_stdin(server: Server, newest: Seed) -> None:
    given = {"key": KEY, "salt": SALT, "contacts": 0, "rules": {}}
    status, said, folder = server.stream(newest.source, json.dumps(given) + "\n")
    assert status == 0, said
    manifest = json.loads(said.splitlines()[-1])
    for key in ("rows", "migrations", "rules_sha256", "salt_id", "sql_sha256"):
        assert manifest[key] == newest.manifest[key]
    assert manifest["file_sha256"] == sha256(folder / "seed.sql.gz.enc")
    assert server.unseal(folder)[2] == newest.sql

    # Without a salt there is one that nobody has.
    status, said, folder = server.stream(newest.source, json.dumps({"key": KEY}))
    assert status == 0, said
    other = json.loads(said.splitlines()[-1])
    assert other["salt_id"] != newest.manifest["salt_id"]
    assert other["sql_sha256"] != newest.manifest["sql_sha256"]


def test_a_seed_may_be_read_from_another_server_by_another_user(
    server: Server, newest: Seed
) -> None:
    other = {"host": "127.0.0.1", "port": server.port, "user": "replica_reader"}
    server.ask("CREATE USER replica_reader IDENTIFIED BY 'of the replica'")
    server.ask(f"GRANT SELECT ON `{newest.source}`.* TO replica_reader")
    for wrong in ({"password": "of another"}, {"host": "nowhere.invalid"}):
        line = json.dumps({"key": KEY, "server": {**other, **wrong}})
        status, said, _ = server.stream(newest.source, line)
        assert status == REFUSED
        assert "replica_reader" in said
    assert "nowhere.invalid" in said

    line = json.dumps({"key": KEY, "server": {**other, "password": "of the replica"}})
    status, said, _ = server.stream(newest.source, line)
    assert status == 0, said
    assert json.loads(said.splitlines()[-1])["rows"] == newest.manifest["rows"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "stdin must be a line of JSON"),
        ('"x"', "stdin must be a line of JSON"),
        ('{"key": "x"}', "key must hold 64 hexadecimal digits"),
        ("{}", "key must be a text"),
        (f'{{"key": "{KEY}", "salt": "short"}}', "salt must hold at least 32 characters"),
        (f'{{"key": "{KEY}", "secret": 1}}', "an object with key, salt"),
        (f'{{"key": "{KEY}", "contacts": -1}}', "contacts must be a whole number"),
        (f'{{"key": "{KEY}", "canaries": [1]}}', "canaries must be a list of texts"),
        (f'{{"key": "{KEY}", "rules": {{"x": 1}}}}', "rules must be a JSON object with tables"),
        (f'{{"key": "{KEY}", "server": "db"}}', "server must be an object with host, port"),
        (f'{{"key": "{KEY}", "server": {{"socket": "x"}}}}', "server must be an object with host"),
        (f'{{"key": "{KEY}", "server": {{"host": []}}}}', "server must be an object with host"),
    ],
)
def test_what_stdin_says_is_checked(server: Server, newest: Seed, line: str, named: str) -> None:
    status, said, folder = server.stream(newest.source, line)
    assert (status, (folder / "seed.sql.gz.enc").read_bytes()) == (WRONG, b"")
    assert named in said


def test_a_seed_that_was_changed_or_cut_off_is_noticed(server: Server, newest: Seed) -> None:
    whole = (newest.folder / "seed.sql.gz.enc").read_bytes()
    assert b"INSERT" not in whole
    assert len(whole) > 2 * 16_384, "several frames"
    folder = server.folder()
    changed = whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:]
    for damaged in (whole[:-1], whole[: 38 + 16_384 + 17], changed, whole + b"x", b""):
        (folder / "seed.sql.gz.enc").write_bytes(damaged)
        status, said, _ = server.unseal(folder)
        assert status == FAILED
        assert "seed" in said
    (folder / "seed.sql.gz.enc").write_bytes(whole)
    assert server.unseal(folder)[0] == 0
    assert server.unseal(folder, "1f" * 32)[0] == FAILED


def test_what_a_killed_run_has_left_is_written_over_and_a_seed_is_not(
    server: Server, newest: Seed
) -> None:
    folder = server.folder()
    for name in (".seed.sql.gz.enc.unfinished", "seed.sql.gz.enc"):
        (folder / name).write_bytes(b"x" * 10_000_000)
        (folder / name).chmod(0o666)
    here = {"MAUTIC_MASK_FOLDER": f"/shared/{folder.name}"}
    status, said, _ = server.mask(newest.source, **here)
    assert status == 0, said
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "seed.sql.gz.enc"]
    assert server.unseal(folder)[0] == 0
    status, said, _ = server.mask(newest.source, **here)
    assert status == WRONG
    assert "has a seed already" in said


def test_a_run_that_is_stopped_leaves_nothing(server: Server, newest: Seed) -> None:
    """It is stopped while it waits for a table that somebody has locked."""
    folder = server.folder()
    script = 'mautic database mask; echo "$?" >"/shared/$1/status"'
    waits = (
        "SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE user = 'reader' AND state LIKE 'Waiting for table%'"
    )
    with closing(server.connect(newest.source)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES leads WRITE")
        server.client.exec_run(
            ["sh", "-c", script, "sh", folder.name],
            environment=server.environment(newest.source, folder),
            detach=True,
        )
        until("run that waits", lambda: server.ask(waits) == [(1,)])
        assert (folder / ".seed.sql.gz.enc.unfinished").exists()
        stopped = server.client.exec_run(["pkill", "-TERM", "-f", "/opt/mautic/mask.php"])
        assert stopped.exit_code == 0
        cursor.execute("UNLOCK TABLES")
    status = folder / "status"
    until("end", lambda: status.exists() and status.read_text() == "143\n")
    assert list(folder.iterdir()) == [status]


def test_a_subset_takes_contacts_with_all_that_belongs_to_them(server: Server) -> None:
    database = server.source()
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        # Of another contact's device and address, and a segment of one contact.
        cursor.execute("UPDATE page_hits SET device_id = id % 3 + 1, ip_id = id % 3 + 1")
        cursor.execute(
            "INSERT INTO leads (id, is_published, points) SELECT 10 + seq, 1, 0 FROM seq_1_to_500"
        )
        cursor.execute(
            "INSERT INTO lead_lists_leads (leadlist_id, lead_id, date_added, manually_removed,"
            " manually_added) SELECT 1, 10 + seq, NOW(), 0, 0 FROM seq_1_to_500"
        )
        cursor.execute("UPDATE users SET email = 'kanarie800003@people.test' WHERE id = 3")
        cursor.execute("DELETE FROM campaign_leads")
        cursor.execute("DELETE FROM lead_lists_leads WHERE lead_id <= 3")

        # A plugin's own table, whose rows alone name an address.
        cursor.execute(
            "CREATE TABLE acme_visits (id INT PRIMARY KEY, lead_id BIGINT UNSIGNED,"
            " ip_id INT UNSIGNED, FOREIGN KEY (ip_id) REFERENCES ip_addresses (id))"
        )
        cursor.execute(
            "INSERT INTO ip_addresses (id, ip_address) VALUES (9, '192.0.2.9'), (10, '192.0.2.10')"
        )
        cursor.execute("INSERT INTO acme_visits VALUES (1, 3, 9), (2, 999, 9)")

    visits = {"contact": "lead_id", "columns": {"keep": ["id", "lead_id", "ip_id"]}}
    rules = {"tables": {"acme_visits": visits}}
    limits = {
        "MAUTIC_MASK_CONTACTS": "20",
        "MAUTIC_MASK_PER_GROUP": "2",
        "MAUTIC_MASK_RULES": server.file(json.dumps(rules)),
    }
    made = seed(server, database, **limits)

    assert made.manifest["contacts"] == made.manifest["rows"]["leads"] == 20
    assert not re.search(CANARY, made.sql)
    taken = {row[0] for row in server.ask("SELECT id FROM leads", made.database)}
    assert 3 in taken, "the contact of a user"
    assert len(taken & set(range(11, 511))) >= 2, "of the segment"
    assert orphans(server, made.database) == []
    assert server.ask("SELECT COUNT(*) FROM email_stats_devices", made.database)[0][0] > 0
    assert server.ask("SELECT lead_id FROM acme_visits", made.database) == [(3,)]
    named = {row[0] for row in server.ask("SELECT id FROM ip_addresses", made.database)}
    assert 9 in named
    assert 10 not in named
    again = server.mask(database, **limits)[2]
    assert (
        json.loads((again / "manifest.json").read_text())["sql_sha256"]
        == (made.manifest["sql_sha256"])
    )


# --- clone ------------------------------------------------------------------------------------

REACHING: dict[str, str] = {
    "emails": "email_type = 'list' AND is_published = 1",
    "sms_messages": "sms_type = 'list' AND is_published = 1",
    "campaigns": "is_published = 1",
    "campaign_lead_event_log": "is_scheduled = 1",
    "webhooks": "is_published = 1 OR webhook_url <> 'http://127.0.0.1:9/' OR secret <> 'masked'",
    "reports": "is_scheduled = 1 OR to_address IS NOT NULL",
    "monitoring": "is_published = 1",
    "plugin_integration_settings": "name <> 'GrapesJsBuilder' AND (is_published = 1"
    " OR api_keys <> 'a:0:{}' OR feature_settings <> 'a:0:{}')",
    "pages": "head_script IS NOT NULL OR footer_script IS NOT NULL",
    "forms": "cached_html IS NOT NULL",
    "users": "password <> '!' AND username <> 'chief'",
}
"""Rows that would reach somebody, by table."""


@pytest.fixture
def branch(server: Server) -> Branch:
    """A branch with somebody's work in it."""
    return begin_branch(server)


def armed(server: Server, version: str = VERSIONS[-1]) -> str:
    """Make a seed in which everything is published, and full of the masked site's address."""
    name = f"seed_{secrets.token_hex(4)}"
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        fill(connection, name, version)
        text = "<a href='https://site.example.com/x?y=1'>\u00fc</a> https%3A%2F%2Fsite.example.com"
        tree = {"https://site.example.com/k": [text, php({"deep": text}), 7, None]}
        data = r'{"u": "https:\/\/site.example.com\/form\/1"}'
        for table, column, value in (
            ("emails", "custom_html", text),
            ("emails", "content", php(tree)),
            ("focus", "properties", php(tree)),
            ("page_hits", "url", "https://site.example.com/p/1"),
            ("lead_event_log", "properties", data),
            ("notifications", "message", text),
        ):
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id < 3", (value,))  # noqa: S608
        for statement in (
            "UPDATE emails SET email_type = 'list' WHERE id = 1",
            "UPDATE sms_messages SET sms_type = 'list' WHERE id = 1",
            "UPDATE plugin_integration_settings SET name = 'GrapesJsBuilder' WHERE id = 3",
            # One who is no administrator has the name that ours is to have.
            "UPDATE roles SET is_admin = 0 WHERE id = 1",
            "UPDATE users SET username = 'chief', email = 'chief@shop.test' WHERE id = 1",
        ):
            cursor.execute(statement)
    return name


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clone_has_the_seeds_rows_and_reaches_nobody(
    server: Server, branch: Branch, version: str
) -> None:
    made = armed(server, version)
    tables = [row[0] for row in server.ask("SHOW TABLES", made)]
    checksums = f"CHECKSUM TABLE {', '.join(f'`{table}`' for table in tables)}"
    before = server.ask(checksums, made)

    status, said = branch.run(made)

    assert status == 0, said
    assert ADMINISTRATOR not in said
    assert branch.databases() == [branch.name]
    assert server.ask(checksums, made) == before, "the seed is only read"
    assert [row[0] for row in server.ask("SHOW TABLES", branch.name)] == tables
    for table in tables:
        gone = RULES["tables"].get(table, {}).get("empty", False)
        rows = server.ask(f"SELECT COUNT(*) FROM `{table}`", branch.name)  # noqa: S608
        assert rows == [(0 if gone else server.ask(f"SELECT COUNT(*) FROM `{table}`", made)[0][0],)]  # noqa: S608
    assert sorted(references(server, branch.name)) == sorted(references(server, made))
    elsewhere = (
        "SELECT COUNT(*) FROM information_schema.referential_constraints WHERE constraint_schema"
        " = DATABASE() AND unique_constraint_schema <> DATABASE()"
    )
    assert server.ask(elsewhere, branch.name) == [(0,)]

    for table, condition in REACHING.items():
        question = f"SELECT COUNT(*) FROM {table} WHERE {condition}"  # noqa: S608
        assert server.ask(question, made)[0][0] > 0, f"{table}: there was something to do"
        assert server.ask(question, branch.name) == [(0,)], table
    published = "SELECT SUM(is_published) FROM {}"
    for table, left in (("emails", 2), ("sms_messages", 2), ("plugin_integration_settings", 1)):
        assert server.ask(published.format(table), branch.name) == [(left,)]
    assert server.ask("SELECT username, email FROM users WHERE id < 3", branch.name) == [
        ("1.chief", "1.chief@shop.test"),
        ("chief", "chief@shop.test"),
    ]
    assert branch.is_admitted()

    for table, column in (("emails", "custom_html"), ("page_hits", "url")):
        ((value,), *_) = server.ask(f"SELECT {column} FROM {table}", branch.name)  # noqa: S608
        assert OWN_SITE in value
    text = f"<a href='{OWN_SITE}/x?y=1'>\u00fc</a> https%3A%2F%2Ffeature-x.dev.shop.test"
    tree = php({f"{OWN_SITE}/k": [text, php({"deep": text}), 7, None]})
    for column in ("emails.content", "focus.properties"):
        table, name = column.split(".")
        assert server.ask(f"SELECT {name} FROM {table} WHERE id = 1", branch.name) == [(tree,)]  # noqa: S608
    assert server.ask("SELECT properties FROM lead_event_log WHERE id = 1", branch.name) == [
        (r'{"u": "https:\/\/feature-x.dev.shop.test\/form\/1"}',)
    ]
    for found in values(server, branch.name, ("",)).values():
        assert "site.example.com" not in str(found)


@pytest.mark.parametrize(
    ("statement", "status", "named"),
    [
        ("ALTER TABLE emails RENAME COLUMN email_type TO kind", FAILED, "emails has no column"),
        ("UPDATE roles SET is_admin = 0", FAILED, "no user who is an administrator"),
        ("DROP TABLE migrations", 77, "lacks the table migrations"),
        (None, 77, "lacks the table users, roles, migrations"),
    ],
)
def test_a_seed_that_cannot_be_made_harmless_changes_nothing(
    server: Server, branch: Branch, statement: str | None, status: int, named: str
) -> None:
    made = armed(server) if statement else server.source()
    if statement:
        server.ask(statement, made)
    done, said = branch.run(made)
    assert (done, branch.users()) == (status, ["before"])
    assert named in said


@pytest.mark.parametrize("name", ["MAUTIC_SEED", "MAUTIC_ADMIN_PASSWORD"])
def test_a_clone_without_a_setting_is_refused_by_name(branch: Branch, name: str) -> None:
    done, said = branch.run("seed_none", **{name: ""})
    assert (done, branch.users()) == (WRONG, ["before"])
    assert name in said


@pytest.mark.parametrize(("signal", "lock"), [("KILL", "seed"), ("KILL", "own"), ("TERM", "seed")])
def test_a_clone_that_ends_in_the_middle_leaves_the_old_data_and_the_next_one_finishes(
    server: Server, branch: Branch, signal: str, lock: str
) -> None:
    """It ends while it copies a table that somebody has locked, or while it waits to swap."""
    made = armed(server)
    locked = {"seed": f"{made}.leads", "own": f"{branch.name}.users"}[lock]
    with closing(server.connect(made)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLES {locked} WRITE")
        status = branch.start(made)
        until("statement that waits", branch.waits)
        argv = ["pkill", f"-{signal}", "-f", "/opt/mautic/clone.php"]
        assert server.client.exec_run(argv).exit_code == 0
        until("end", status.exists)
        if signal == "TERM":
            assert not branch.waits(), "what was under way has ended as well"
            assert status.read_text() == "143\n"
            assert branch.databases() == [branch.name]
        cursor.execute("UNLOCK TABLES")
    # The server may have had the one statement already that puts the new tables in place.
    assert branch.users() == ["before"] or (lock == "own" and branch.is_admitted())
    done, said = branch.run(made)
    assert (done, branch.databases()) == (0, [branch.name]), said
    assert branch.is_admitted()


def test_deadlocks_of_tables_that_are_filled_with_those_that_get_their_keys_end_no_clone(
    server: Server, branch: Branch
) -> None:
    made = armed(server)
    # Large enough for their keys to be made when their rows are there; four are at it, so that the
    # contacts come with the small tables that refer to them.
    large = ("email_stats", "page_hits", "lead_event_log", "campaign_lead_event_log")
    enlarge(server, made, {"leads": 12_000, **dict.fromkeys(large, 40_000)})
    for _ in range(4):
        status, said = branch.run(made)
        assert status == 0, said
    assert server.ask("SELECT COUNT(*) FROM leads", branch.name) == [(12_000 + ROWS,)]


def test_an_empty_database_is_filled_from_the_seed_once_and_migrated(
    server: Server, branch: Branch
) -> None:
    made = armed(server)
    server.ask(f"DROP TABLE {branch.name}.users")
    both = [Thread(target=lambda: ended.append(branch.run(made, "migrate"))) for _ in range(2)]
    ended: list[tuple[int, str]] = []
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [status for status, _ in ended] == [0, 0], ended
    assert sorted("all in" in said for _, said in ended) == [False, True]
    assert branch.is_admitted()
    assert server.ask("SELECT COUNT(*) FROM leads", branch.name) == [(ROWS,)]
    recorded = [row[0] for row in server.ask("SELECT version FROM migrations", branch.name)]
    assert "Mautic\\Migrations\\Version20260401000000" in recorded

    server.ask("UPDATE leads SET lastname = 'changed here'", branch.name)
    status, said = branch.run(made, "migrate")
    assert (status, "Mautic is installed" in said) == (0, True), said
    assert server.ask("SELECT DISTINCT lastname FROM leads", branch.name) == [("changed here",)]


def test_content_without_users_is_not_taken_for_an_empty_database(
    server: Server, branch: Branch
) -> None:
    server.ask("DELETE FROM users", branch.name)
    server.ask("CREATE TABLE leads (id INT PRIMARY KEY)", branch.name)
    server.ask("INSERT INTO leads VALUES (1)", branch.name)
    status, said = branch.run(armed(server), "migrate")
    assert status == 65, said
    assert server.ask("SELECT COUNT(*) FROM leads", branch.name) == [(1,)]


# --- snapshots --------------------------------------------------------------------------------


@pytest.fixture
def work(branch: Branch) -> Branch:
    """A branch with a whole Mautic's tables, and rows in all of them."""
    with closing(branch.server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {branch.name}")
        fill(connection, branch.name, VERSIONS[-1])
    return branch


def state(server: Server, database: str) -> dict[str, object]:
    """Return what tells a database from another: rows by checksum, tables, foreign keys."""
    tables = [
        row[0]
        for row in server.ask(
            "SELECT table_name FROM information_schema.tables"  # noqa: S608
            f" WHERE table_schema = '{database}' ORDER BY table_name"
        )
    ]
    sums = server.ask("CHECKSUM TABLE " + ", ".join(f"`{table}`" for table in tables), database)
    return {
        "rows": [(name.partition(".")[2], value) for name, value in sums],
        "keys": sorted(references(server, database)),
    }


def snapshots(branch: Branch) -> list[dict[str, Any]]:
    status, said = branch.run("", "database", "snapshots")
    assert status == 0, said
    return [json.loads(line) for line in said.splitlines()]


def test_a_snapshot_brings_back_rows_tables_and_keys(work: Branch) -> None:
    before = state(work.server, work.name)
    status, said = work.run("", "database", "snapshot", MAUTIC_SNAPSHOT_REASON="before a try")
    assert status == 0, said
    for statement in (
        "SET SESSION foreign_key_checks = 0",
        "DELETE FROM leads WHERE id > 1",
        "UPDATE emails SET subject = 'changed'",
        "DROP TABLE webhook_logs",
        "CREATE TABLE made_by_a_migration (id INT PRIMARY KEY)",
        "ALTER TABLE forms DROP COLUMN alias",
        "SET SESSION foreign_key_checks = 1",
    ):
        work.server.ask(statement, work.name)
    assert state(work.server, work.name) != before
    for _ in range(2):
        status, said = work.run("", "database", "restore")
        assert status == 0, said
        assert state(work.server, work.name) == before
    kept, *replaced = snapshots(work)
    assert (kept["name"], kept["why"]) == ("0", "before a try")
    assert kept["tables"] == len(before["rows"])  # type: ignore[arg-type]
    # What was there is a snapshot, too.
    assert {each["why"] for each in replaced} == {"replaced by snapshot 0"}
    assert work.databases() == [work.name, *(f"{work.name}__{name}" for name in "012")]
    status, said = work.run("", "database", "restore", MAUTIC_SNAPSHOT="1")
    assert status == 0, said
    assert work.server.ask("SELECT DISTINCT subject FROM emails", work.name) == [("changed",)]


def test_a_copy_of_large_tables_has_all_their_keys(work: Branch) -> None:
    for table, keys in (
        ("large", "PRIMARY KEY (id), UNIQUE KEY u (a), KEY b (b), KEY c (c, a)"),
        # Its rows cannot do without this key.
        ("numbered", "KEY id (id), KEY b (b)"),
    ):
        parent = f"CONSTRAINT of_{table} FOREIGN KEY (c) REFERENCES leads (id) ON DELETE CASCADE"
        for statement in (
            f"CREATE TABLE {table} (id INT NOT NULL AUTO_INCREMENT, a INT NOT NULL,"
            f" b VARCHAR(200), c BIGINT UNSIGNED, {keys}, {parent})",
            f"INSERT INTO {table} (a, b, c) SELECT seq, RPAD(seq, 150, 'x'), 1 FROM seq_1_to_40000",  # noqa: S608
            f"ANALYZE TABLE {table}",
        ):
            work.server.ask(statement, work.name)
    tables = [row[0] for row in work.server.ask("SHOW TABLES", work.name)]

    def definitions() -> list[tuple[Any, ...]]:
        return [work.server.ask(f"SHOW CREATE TABLE `{each}`", work.name)[0] for each in tables]

    before = (definitions(), state(work.server, work.name))
    for verb in ("snapshot", "restore"):
        status, said = work.run("", "database", verb)
        assert status == 0, said
    assert (definitions(), state(work.server, work.name)) == before


def test_the_snapshot_from_before_migrations_that_failed_half_way_stays(work: Branch) -> None:
    """Twice they fail half way, by a column that is in the way; then they are undone."""
    before = state(work.server, work.name)
    script = "/var/www/html/docroot/app/migrations/Version20990101000000.php"
    statements = '["ALTER TABLE stages ADD half INT", "NO SQL"]'
    work.server.client.exec_run(
        ["sh", "-c", f"echo '<?php return {statements};' >{script}"], user="0"
    )
    try:
        for _ in range(2):
            status, said = work.run("", "migrate", MAUTIC_SNAPSHOTS="1", MAUTIC_RELEASE="b2")
            assert status == 1, said
    finally:
        work.server.client.exec_run(["rm", script], user="0")
    assert "the snapshot from before it stays" in said
    (kept,) = snapshots(work)
    assert (kept["open"], kept["half"], kept["release"]) == (True, False, "b2")
    status, said = work.run("", "database", "snapshot", MAUTIC_SNAPSHOTS="1")
    assert status == 0, said
    assert [each["half"] for each in snapshots(work)] == [False, True], "it does not push it out"
    status, said = work.run("", "database", "undo", MAUTIC_SNAPSHOT=kept["name"])
    assert status == 0, said
    assert state(work.server, work.name) == before
    assert not any(each["open"] for each in snapshots(work))
    assert kept["name"] not in {each["name"] for each in snapshots(work)}, "it is used up"


def test_a_server_says_how_many_connections_it_has(work: Branch) -> None:
    def asked() -> dict[str, int]:
        status, said = work.run("", "database", "connections")
        assert status == 0, said
        return dict(json.loads(said))

    before = asked()
    most = int(work.server.ask("SELECT @@GLOBAL.max_connections")[0][0])
    assert before["most"] == most
    with ExitStack() as more:
        for _ in range(5):
            more.enter_context(closing(work.server.connect(work.name)))
        assert asked()["used"] >= before["used"] + 5 - 1


def test_of_snapshots_the_newest_are_kept(work: Branch) -> None:
    for number in range(4):
        work.server.ask(f"UPDATE stages SET name = 'stage {number}'", work.name)  # noqa: S608
        time.sleep(1)
        status, said = work.run(
            "",
            *("database", "snapshot"),
            MAUTIC_SNAPSHOTS="2",
            MAUTIC_SNAPSHOT_REASON=f"number {number}",
        )
        assert status == 0, said
        assert ("dropped snapshot" in said) == (number > 1)
    kept = snapshots(work)
    assert [each["why"] for each in kept] == ["number 2", "number 3"]
    for each, number in zip(kept, (2, 3), strict=True):
        status, said = work.run("", "database", "restore", MAUTIC_SNAPSHOT=each["name"])
        assert status == 0, said
        ((name,),) = work.server.ask("SELECT DISTINCT name FROM stages", work.name)
        assert name == f"stage {number}"
    kept = snapshots(work)
    missing = next(name for name in "0123456789" if name not in {each["name"] for each in kept})
    status, said = work.run("", "database", "restore", MAUTIC_SNAPSHOT=missing)
    assert status == REFUSED
    assert f"has no snapshot {missing}, but {', '.join(each['name'] for each in kept)}" in said


def test_a_snapshot_of_no_mautic_is_not_the_one_that_is_restored(work: Branch) -> None:
    before = state(work.server, work.name)
    for number in range(2):
        status, said = work.run("", "database", "snapshot")
        assert status == 0, said
        if number == 0:
            work.server.ask("DELETE FROM migrations", work.name)
            time.sleep(1)
    assert [bool(each["migration"]) for each in snapshots(work)] == [True, False]
    status, said = work.run("", "database", "restore")
    assert status == 0, said
    assert state(work.server, work.name) == before


def test_all_tables_of_a_snapshot_are_of_one_moment(work: Branch) -> None:
    """A writer writes to two tables all the time; the snapshot has as many of each, or one off."""
    for table in ("first_of_all", "zero_of_all"):
        work.server.ask(f"CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY)", work.name)
    stop = Event()

    def write() -> None:
        with closing(work.server.connect(work.name)) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO first_of_all VALUES ()")
                cursor.execute("INSERT INTO zero_of_all VALUES ()")

    writer = Thread(target=write)
    writer.start()
    try:
        until("first row", lambda: work.server.ask("SELECT 1 FROM zero_of_all LIMIT 1", work.name))
        status, said = work.run("", "database", "snapshot")
    finally:
        stop.set()
        writer.join()
    assert status == 0, said
    (first,), (zero,) = (
        work.server.ask(f"SELECT COUNT(*) FROM {table}", f"{work.name}__0")[0]  # noqa: S608
        for table in ("first_of_all", "zero_of_all")
    )
    assert first > 0
    assert first - zero in {0, 1}


def test_a_snapshot_gives_way_to_whoever_changes_a_table(work: Branch) -> None:
    """The change waits for the snapshot's lock, and what copies that table for the change."""
    server = work.server
    enlarge(server, work.name, dict.fromkeys(("leads", "email_stats", "page_hits"), 60_000))
    changed = Event()

    def change() -> None:
        with closing(server.connect(work.name)) as connection, connection.cursor() as cursor:
            question = f"SHOW DATABASES LIKE '{work.name}\\_\\_%'"
            until("a snapshot that is made", lambda: cursor.execute(question))
            cursor.execute("ALTER TABLE leads ADD field_of_somebody INT")
            changed.set()

    changing = Thread(target=change, daemon=True)
    changing.start()
    status, said = work.run("", "database", "snapshot")
    assert changed.wait(60)
    # It may have been copied before.
    assert (status, "changed by somebody else" in said) in {(75, True), (0, False)}, said
    assert len(work.databases()) == (1 if status else 2)
    assert work.run("", "database", "snapshot")[0] == 0


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
@pytest.mark.parametrize("verb", ["snapshot", "restore"])
def test_a_killed_run_leaves_the_old_or_the_new_and_the_next_one_finishes(
    work: Branch, verb: str, signal: str
) -> None:
    before = state(work.server, work.name)
    status, said = work.run("", "database", "snapshot")
    assert status == 0, said
    work.server.ask("UPDATE stages SET name = 'changed'", work.name)
    changed = state(work.server, work.name)
    environment = work.environment("", MAUTIC_SNAPSHOTS="9")
    running = f"SELECT 1 FROM information_schema.processlist WHERE user = '{work.name}'"  # noqa: S608
    for _ in range(6):
        seconds = random.uniform(0.1, 1.2)  # noqa: S311
        argv = ["timeout", f"--signal={signal}", f"{seconds:.2f}"]
        argv += ["php", "/opt/mautic/snapshot.php", verb]
        work.server.client.exec_run(argv, environment=environment)
        # What the server was told goes on without whoever told it.
        until("end of its statements", lambda: not work.server.ask(running))
        assert state(work.server, work.name) in (before, changed)
        there = snapshots(work)
        assert all(each["rows"] for each in there)
        if signal == "TERM":
            names = [work.name, *(f"{work.name}__{each['name']}" for each in there)]
            assert work.databases() == sorted(names)
    status, said = work.run("", "database", verb, MAUTIC_SNAPSHOTS="9")
    assert status == 0, said
    if verb == "restore":
        assert state(work.server, work.name) == before
    assert {name[-3:] for name in work.databases()} & {"__n", "__o"} == set()


# --- sow --------------------------------------------------------------------------------------


def sow(branch: Branch, content: bytes, **given: Any) -> tuple[int, str]:
    """Sow bytes by a pipe that nobody ends; return exit status and what was said."""
    admin = {"username": "chief", "email": "chief@shop.test", "password": ADMINISTRATOR}
    line = json.dumps({"key": KEY, "bytes": len(content), "admin": admin, **given}).encode()
    path = branch.server.shared / f"{secrets.token_hex(4)}.seed"
    path.write_bytes(line + b"\n" + content)
    script = 'f=$(mktemp -u); mkfifo "$f"; exec 3<>"$f"; cat "$1" >&3 & mautic database sow <&3'
    environment = {
        name: value
        for name, value in branch.environment("").items()
        if not name.startswith(("MAUTIC_ADMIN_", "MAUTIC_SEED"))
    }
    done = branch.server.client.exec_run(
        ["sh", "-c", script, "sh", f"/shared/{path.name}"], environment=environment
    )
    said = done.output.decode()
    assert KEY not in said
    assert ADMINISTRATOR not in said
    return done.exit_code, said


def test_a_seed_is_sown_with_no_right_but_the_branch_s(work: Branch, newest: Seed) -> None:
    content = (newest.folder / "seed.sql.gz.enc").read_bytes()
    status, said = sow(work, content)
    assert status == 0, said
    for table in ("leads", "email_stats", "page_hits"):
        assert work.server.ask(f"SELECT COUNT(*) FROM {table}", work.name) == [  # noqa: S608
            (newest.manifest["rows"][table],)
        ]
    assert work.is_admitted()
    for table, reaches in REACHING.items():
        question = f"SELECT COUNT(*) FROM {table} WHERE {reaches}"  # noqa: S608
        assert work.server.ask(question, work.name) == [(0,)], table
    assert work.databases() == [work.name]


def test_a_seed_of_before_is_loaded_with_unique_checks(work: Branch, newest: Seed) -> None:
    status, said = sow(work, sealed([FORMER, *newest.sql.splitlines()[2:]]))
    assert status == 0, said
    rows = work.server.ask("SELECT COUNT(*) FROM leads", work.name)
    assert rows == [(newest.manifest["rows"]["leads"],)]


def test_a_seed_that_is_not_whole_or_of_another_key_changes_nothing(
    work: Branch, newest: Seed
) -> None:
    content = (newest.folder / "seed.sql.gz.enc").read_bytes()
    before = state(work.server, work.name)
    changed = content[:-200] + bytes([content[-200] ^ 1]) + content[-199:]
    for damaged, given in (
        (content[:-50], {}),
        (changed, {}),
        (content + b"x", {}),
        (content, {"key": "1f" * 32}),
        (content, {"key": "short"}),
        (content, {"admin": None}),
    ):
        status, said = sow(work, damaged, **given)
        assert status in {FAILED, WRONG}, said
        assert state(work.server, work.name) == before
        assert work.databases() == [work.name]


def test_no_more_than_two_clones_of_a_server_are_made_at_once(
    server: Server, branch: Branch
) -> None:
    made = armed(server)
    with closing(server.connect()) as one, closing(server.connect()) as other:
        for number, connection in enumerate((one, other)):
            with connection.cursor() as cursor:
                cursor.execute("SELECT GET_LOCK(%s, 0)", (f"mautic-clone:{number}",))
        status = branch.start(made)
        turn = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{}__n'"
        until("clone", lambda: server.ask(turn.format(branch.name)) == [(1,)])
        time.sleep(2)
        assert not status.exists()
        assert server.ask("SHOW TABLES", f"{branch.name}__n") == []
    until("end", status.exists)
    assert (status.read_text(), branch.is_admitted()) == ("0\n", True)


# --- uploads ----------------------------------------------------------------------------------

MEDIA = "/var/www/html/docroot/media"
LONG = "images/" + "/".join(["n" * 90] * 3) + ".png"
GOING = {
    "dashboards/default.json": b"{}",
    "files/brochure.pdf": b"%PDF",
    "files/sub/unpublished.pdf": b"%PDF 2",
    "images/empty.png": b"",
    "images/logo.png": random.Random(7).randbytes(300_000),  # noqa: S311
    "images/\u00fc b\n.png": b"named",
    LONG: b"deep",
    "images/lead_avatars_of_the_team.png": b"no contact's",
}
"""What goes along, by its name below media."""
STAYING = (
    *("files/form/1/cv/cv.pdf", "files/temp/export.csv", "files/unnamed.pdf", "files/remote.pdf"),
    *("images/lead_avatars/avatar1", "images/.mautic-old/x", "/tmp/contacts.csv"),
)
"""What does not, each with a canary in it."""
LINKS = {
    "files/link.pdf": "form/1/cv/cv.pdf",
    "files/linked": "form",
    "images/link.png": f"{MEDIA}/files/temp/export.csv",
    "images/linked": "../files",
}
NAMED = (
    *("brochure.pdf", "sub/unpublished.pdf", "brochure.pdf", "form/1/cv/cv.pdf"),
    *("temp/export.csv", "./temp/export.csv", "link.pdf", "linked/1/cv/cv.pdf", "missing.pdf"),
    *("../images/lead_avatars/avatar1", f"{'../' * 9}tmp/contacts.csv", "sub", "pipe"),
    *(f"{MEDIA}/files/unnamed.pdf", "", "a\0b"),
)
"""What rows of assets name, in the order of their ids."""
LEFT_OUT = len(set(NAMED)) - 2 + 3
"""What rows name, but for two files, and the links and the pipe below images."""
PIPE = 'exec 4<&0; f=$(mktemp -u); mkfifo "$f"; exec 3<>"$f"; cat <&4 >&3 &'
"""Passes stdin on by a pipe that nobody ends."""


@dataclass(frozen=True)
class Files:
    """The uploads of the container.

    Attributes:
        client: its name.
        environment: of its programs.
    """

    client: str
    environment: Mapping[str, str]

    def shell(self, script: str, *words: str, sent: bytes = b"", user: str = "33") -> bytes:
        argv = [*self._exec("--user", user, "--workdir", MEDIA), "sh", "-euc", script, "sh", *words]
        return run(argv, input=sent, capture_output=True, check=True).stdout

    def write(self, name: str, content: bytes) -> None:
        self.shell('mkdir -p "${1%/*}"; cat >"$1"', name, sent=content)

    def clear(self) -> None:
        self.shell("find files images dashboards -mindepth 1 -delete")

    def seen(self) -> dict[str, bytes | None]:
        """Return everything that is there; what is no file without content."""
        tar = self.shell("tar --create --file=- files images dashboards")
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            found = {each.name: archive.extractfile(each) for each in archive if not each.isdir()}
            return {name: file.read() if file else None for name, file in found.items()}

    def sow(self, sealed: bytes, **given: Any) -> tuple[int, str]:
        """Stage by a pipe that nobody ends, and place; return exit status and what was said."""
        line = json.dumps({"key": KEY, "bytes": len(sealed), **given}).encode()
        script = (
            f"{PIPE} mautic uploads stage <&3 && mautic uploads place; status=$?"
            '; kill "$!" 2>/dev/null; exit "$status"'
        )
        argv = [*self._exec(), "sh", "-c", script]
        done = run(argv, input=line + b"\n" + sealed, capture_output=True, check=False)
        said = done.stderr.decode()
        assert KEY not in said
        assert "PHP" not in said
        return done.returncode, said

    def _exec(self, *options: str) -> list[str]:
        given = [f"--env={name}={value}" for name, value in self.environment.items()]
        return ["docker", "exec", "-i", *given, *options, self.client]


@pytest.fixture
def files(branch: Branch) -> Files:
    """An installation without uploads."""
    made = Files(branch.server.client.name, branch.environment(""))
    made.shell("chown -R 33:33 files images dashboards", user="0")
    made.clear()
    return made


@pytest.fixture
def uploaded(files: Files) -> Files:
    """One with uploads of all kinds, of which some must not go along."""
    for name, content in GOING.items():
        files.write(name, content)
    for name in STAYING:
        files.write(name, b"kanarie700001")
    for name, target in LINKS.items():
        files.shell('ln -s "$2" "$1"', name, target)
    files.shell("mkfifo images/pipe files/pipe; chmod 755 images/logo.png")
    return files


@pytest.fixture(scope="module")
def naming(server: Server) -> str:
    """A source whose assets name files that are there, and others that never go along."""
    name = server.source()
    for id_, path in enumerate((*NAMED, "remote.pdf"), start=100):
        where = "remote" if path == "remote.pdf" else "local"
        with closing(server.connect(name)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE one AS SELECT * FROM assets LIMIT 1")
            cursor.execute(
                "UPDATE one SET id = %s, path = %s, storage_location = %s, is_published = %s",
                (id_, path, where, id_ % 2),
            )
            cursor.execute("INSERT INTO assets SELECT * FROM one")
    return name


def with_uploads(server: Server, source: str, **environment: str) -> tuple[Path, dict[str, Any]]:
    """Make a seed with uploads; return its folder and manifest."""
    status, said, folder = server.mask(source, MAUTIC_MASK_UPLOADS="1", **environment)
    assert status == 0, said
    return folder, json.loads((folder / "manifest.json").read_text())


def members(server: Server, folder: Path) -> dict[str, bytes]:
    """Return the files of a seed's uploads; there is nothing but plain files."""
    script = 'mautic database unseal <"$1/uploads.tar.enc" >"$1/uploads.tar"'
    argv = ["sh", "-euc", script, "sh", f"/shared/{folder.name}"]
    environment = {"MAUTIC_MASK_KEY_FILE": server.file(KEY)}
    assert server.client.exec_run(argv, environment=environment).exit_code == 0
    with tarfile.open(folder / "uploads.tar") as archive:
        for each in archive:
            assert (each.isreg(), each.mode, each.uid) == (True, 0o644, 0), each.name
        return {
            each.name.removeprefix("./"): archive.extractfile(each).read()  # type: ignore[union-attr]
            for each in archive.getmembers()
        }


def test_of_uploads_goes_along_what_the_rules_say_and_nobody_s_own(
    server: Server, uploaded: Files, naming: str
) -> None:
    folder, manifest = with_uploads(server, naming)
    assert members(server, folder) == GOING
    sealed, tar = folder / "uploads.tar.enc", folder / "uploads.tar"
    assert manifest["uploads"] == {
        "files": len(GOING),
        "content_bytes": sum(map(len, GOING.values())),
        "tar_sha256": sha256(tar),
        "file_sha256": sha256(sealed),
        "bytes": sealed.stat().st_size,
    }
    assert b"%PDF" not in sealed.read_bytes()

    # The same by the other way: behind the SQL, in one stream.
    given = json.dumps({"key": KEY, "salt": SALT, "uploads": True})
    status, said, other = server.stream(naming, given)
    assert status == 0, said
    told = json.loads(said.splitlines()[-1])
    whole = (other / "seed.sql.gz.enc").read_bytes()
    assert len(whole) == told["bytes"] + told["uploads"]["bytes"]
    for part, name in ((told, "seed.sql.gz.enc"), (told["uploads"], "uploads.tar.enc")):
        (other / name).write_bytes(whole[: part["bytes"]])
        assert sha256(other / name) == part["file_sha256"]
        whole = whole[part["bytes"] :]
    assert told["uploads"]["tar_sha256"] == manifest["uploads"]["tar_sha256"]
    assert members(server, other) == GOING
    assert re.search(r"left out, .*: (\d+)", said)[1] == str(LEFT_OUT)  # type: ignore[index]


def test_a_seed_has_no_uploads_unless_they_are_asked_for_and_there(
    server: Server, uploaded: Files, naming: str
) -> None:
    status, said, folder = server.mask(naming)
    assert status == 0, said
    assert not (folder / "uploads.tar.enc").exists()
    # The project takes the names away, and the files with them.
    nameless = json.dumps({"tables": {"assets": {"columns": {"null": ["path"]}}}})
    folder, _ = with_uploads(server, naming, MAUTIC_MASK_RULES=server.file(nameless))
    assert {name for name in members(server, folder) if name.startswith("files/")} == set()
    uploaded.clear()
    folder, manifest = with_uploads(server, naming)
    assert "uploads" not in manifest
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "seed.sql.gz.enc"]
    status, said, _ = server.mask(naming, MAUTIC_MASK_UPLOADS="yes")
    assert (status, "MAUTIC_MASK_UPLOADS must be 1 or 0" in said) == (WRONG, True)


def test_uploads_of_a_seed_come_back_byte_equal_or_change_nothing(
    server: Server, uploaded: Files, naming: str
) -> None:
    folder, manifest = with_uploads(server, naming)
    sealed, digest = (folder / "uploads.tar.enc").read_bytes(), manifest["uploads"]["tar_sha256"]
    uploaded.clear()
    uploaded.write("images/own.png", b"the branch's")
    before = uploaded.seen()
    middle = len(sealed) // 2
    changed = sealed[:middle] + bytes([sealed[middle] ^ 1]) + sealed[middle + 1 :]
    for content, given in (
        (changed, {}),
        (sealed[:middle], {}),
        (sealed, {"bytes": len(sealed) - 1}),
        (sealed + b"x", {}),
        (sealed, {"key": "1f" * 32}),
        (sealed, {"sha256": "00" * 32}),
        (sealed, {"bytes": None}),
    ):
        status, said = uploaded.sow(content, **{"sha256": digest, **given})
        assert status in {FAILED, WRONG}, said
        assert uploaded.seen() == before
    for _ in range(2):
        status, said = uploaded.sow(sealed, sha256=digest)
        assert status == 0, said
        assert uploaded.seen() == GOING


def test_a_load_of_uploads_that_is_killed_leaves_the_old_and_the_next_one_finishes(
    server: Server, uploaded: Files, naming: str
) -> None:
    folder, manifest = with_uploads(server, naming)
    sealed, digest = (folder / "uploads.tar.enc").read_bytes(), manifest["uploads"]["tar_sha256"]
    uploaded.clear()
    uploaded.write("images/own.png", b"the branch's")
    line = json.dumps({"key": KEY, "bytes": len(sealed), "sha256": digest}).encode() + b"\n"
    # It waits for the rest of what it was promised.
    killed = "timeout --signal=KILL 2 php /opt/mautic/uploads.php stage"
    script = f'{PIPE} {killed} <&3 || kill "$!" || :'
    uploaded.shell(script, sent=line + sealed[:-100])
    assert uploaded.shell("ls -A images/.mautic-new")
    assert uploaded.shell("cat images/own.png") == b"the branch's"
    assert uploaded.sow(sealed, sha256=digest)[0] == 0
    assert uploaded.seen() == GOING


@pytest.mark.parametrize(
    "member",
    [
        {"name": "./images/l.png", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"name": "./images/d/p", "type": tarfile.FIFOTYPE},
        {"name": "./images/../../../config/x.php"},
        {"name": "/etc/x"},
        {"name": "./themes/x"},
    ],
)
def test_whoever_has_the_key_gets_nothing_but_files_into_the_uploads(
    files: Files, member: dict[str, Any]
) -> None:
    info, tar = tarfile.TarInfo(), io.BytesIO()
    for name, value in member.items():
        setattr(info, name, value)
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(info)
    files.write("images/own.png", b"the branch's")
    before = files.seen()
    content = tar.getvalue()
    status, said = files.sow(seal(content), sha256=hashlib.sha256(content).hexdigest())
    assert status == FAILED, said
    assert files.seen() == before

"""What the tests of rehearsals share: a seed's tables and rules, and later releases."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker

from tests.support.images import standin

KEY = "0f" * 32
ENV = {"MAUTIC_SEED_KEY": KEY}
RULES: dict[str, Any] = {
    "plugins": ["AcmeBundle"],
    "tables": {
        "standin_counters": {"columns": {"keep": ["name", "value"]}},
        "standin_migration_log": {"columns": {"keep": ["id", "version", "ran_at"]}},
    },
}
"""Rules for the tables that the stand-in has and Mautic has not."""

TABLES = (
    "CREATE TABLE lead_fields (id INT PRIMARY KEY, object VARCHAR(9), alias VARCHAR(9),"
    " type VARCHAR(9), is_unique_identifer INT);"
    "CREATE TABLE form_fields (id INT PRIMARY KEY, form_id INT, alias VARCHAR(9),"
    " type VARCHAR(9), mapped_object VARCHAR(9), mapped_field VARCHAR(9), lead_field VARCHAR(9));"
    "CREATE TABLE roles (id INT PRIMARY KEY, is_admin INT);"
    "INSERT INTO roles VALUES (1, 1);"
    "ALTER TABLE users ADD COLUMN role_id INT;"
    "UPDATE users SET role_id = 1;"
    "INSERT INTO page_hits (url, date_hit) VALUES ('https://x/', NOW()), ('https://x/', NOW());"
)
"""What masking and cloning look at, besides what the stand-in has; and two equal rows."""

LOCKING, REBUILDING, FAILING, SKIPPED = (f"Version2099010100000{n}" for n in range(4))
GOOD = {
    LOCKING: ["LOCK TABLES {page_hits} WRITE", "DO SLEEP(1)", "UNLOCK TABLES"],
    REBUILDING: ["ALTER TABLE {page_hits} FORCE"],
    SKIPPED: [],
}
# Over no data it does what it is to do.
BAD = {
    FAILING: ["ALTER TABLE {page_hits} ADD UNIQUE KEY IF NOT EXISTS one (url(99))"],
    SKIPPED: [],
}


def fill(folder: str) -> str:
    """Return the command that makes ``TABLES``, in the database's container.

    Args:
        folder: where its secrets are.
    """
    password = f"MYSQL_PWD=$(cat {folder}/db_password)"
    return f'{password} mysql -N -h127.0.0.1 -u$MYSQL_USER $MYSQL_DATABASE -e "{TABLES}"'


def later_release(
    engine: docker.DockerClient,
    folder: Path,
    migrations: Mapping[str, Sequence[str]],
    files: Mapping[str, str] | None = None,
) -> str:
    """Make an image with a later release of the stand-in; return its name.

    Args:
        engine: the Docker Engine.
        folder: an empty one.
        migrations: their statements, by name.
        files: contents of other files, by path.
    """
    all_files = dict(files or {})
    for version, statements in migrations.items():
        listed = ", ".join(f"'{each}'" for each in statements)
        all_files[f"docroot/app/migrations/{version}.php"] = f"<?php return [{listed}];\n"
    for path, text in all_files.items():
        target = folder / "html" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    base = standin(engine, "mautic")
    (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY html/ /var/www/html/\n")
    tag = f"rehearsed-mautic:{folder.name}-{secrets.token_hex(3)}"
    engine.images.build(path=str(folder), tag=tag, rm=True)
    return tag

from __future__ import annotations

from tasks.core.images.migrations import unavailable_migrations

TABLE = r"""
+------------------------------------+-------------------------+---------------------+-------+
| Migration Versions                                           |                     |       |
+------------------------------------+-------------------------+---------------------+-------+
| Migration                          | Status                  | Migrated At         | Time  |
| Mautic\Migrations\Version20230101   | migrated                | 2026-11-26 07:00:00 | 0.1s  |
| Mautic\Migrations\Version20240101   | not migrated            |                     |       |
| Mautic\Migrations\Version20250101   | migrated, not available | 2026-11-26 07:00:01 | 0.1s  |
| Version20260101                    | migrated, not available | 2026-11-26 07:00:02 |       |
+------------------------------------+-------------------------+---------------------+-------+
"""


def test_migrations_that_the_code_does_not_have() -> None:
    assert unavailable_migrations(TABLE) == ("Version20250101", "Version20260101")
    assert unavailable_migrations("There are no commands defined in the doctrine namespace") == ()

"""The settings of what a branch's services may use on this machine."""

from __future__ import annotations

from pydantic import Field

from tasks.core.setting_values import Count, Size, Strict


class Limits(Strict):
    """What the services of a branch on this machine may use."""

    database_memory: Size = Field("1g", description="Memory of the database.")
    database_buffer_pool: Size = Field(
        "256m", description="The database's cache (`innodb_buffer_pool_size`), a part of that."
    )
    fpm_memory: Size = Field("1g", description="Memory of php-fpm.")
    migrate_memory: Size = Field("1g", description="Memory of an installation or a migration.")
    cron_memory: Size = Field("1g", description="Memory of the scheduled commands.")
    worker_memory: Size = Field("512m", description="Memory of the workers.")
    web_memory: Size = Field("512m", description="Memory of nginx.")
    mautic_pids: Count = Field(128, description="Processes of each of Mautic's services.")
    log_max_size: Size = Field("10m", description="Size of a service's log; three are kept.")

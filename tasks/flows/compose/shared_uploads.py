"""Uploads of seeds that the branches of this machine share: volumes that belong to no branch.

A seed has one for each folder, and one that says that all of it is in them. They are known by
their names: where Docker has made one that was removed just before it was mounted, it has no label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tasks.adapters.docker.compose import pipe_on_volumes
from tasks.core.compose.record import RECORD, ComposeRecord
from tasks.core.compose.stages import PROJECT
from tasks.core.environment_data import seed_id
from tasks.core.errors import UnreadableError
from tasks.flows.compose.context import ComposeContext
from tasks.flows.data import FILL_UPLOADS

MEDIA = "/var/www/html/docroot/media"
FOLDERS = ("files", "images", "dashboards")
WHOLE = "whole"


@dataclass(frozen=True)
class ComposeSharedUploads:
    """A volume for each folder of a seed's uploads; errors as for ``SharedUploads``."""

    context: ComposeContext

    def fill(
        self, id_: str, image: str, source: Iterable[bytes], on_line: Callable[[str], None]
    ) -> int:
        """Make the volumes and fill them; where others do so at this moment, wait for them."""
        name = volumes_name(self.context, id_)
        if self.lacks(id_):
            # It was true before some of them were removed.
            self.context.engine.remove_volume(f"{name}-{WHOLE}")
        places = {f"{name}-{folder}": f"{MEDIA}/{folder}" for folder in FOLDERS}
        status = pipe_on_volumes(
            *(self.context.runner, places, image, FILL_UPLOADS), source=source, on_line=on_line
        )
        if status == 0:
            self.context.engine.create_volume(f"{name}-{WHOLE}", {})
        return status

    def lacks(self, id_: str) -> bool:
        """Return True if not all of a seed's uploads are there."""
        there = {item.name for item in self.context.engine.volumes()}
        name = volumes_name(self.context, id_)
        return not {f"{name}-{part}" for part in (*FOLDERS, WHOLE)} <= there

    def unused(self, without: str = "") -> list[str]:
        """Return the ids that no record names; those are written before volumes are made.

        Args:
            without: a project whose record does not count.
        """
        volumes = self.context.engine.volumes()
        prefix = volumes_name(self.context, "")
        try:
            records = [
                ComposeRecord.from_labels(item.labels)
                for item in volumes
                if RECORD in item.labels and item.labels.get(PROJECT) != without
            ]
        except UnreadableError:
            return []  # It may name any of them.
        there = {
            item.name.removeprefix(prefix).partition("-")[0]
            for item in volumes
            if item.name.startswith(prefix)
        }
        return sorted(there - {seed_id(each.data) for each in records if each.shares})

    def remove(self, id_: str, without: str = "") -> None:
        """Remove a seed's volumes, unless somebody else has come to read them meanwhile."""
        if id_ not in self.unused(without):
            return
        for part in (*FOLDERS, WHOLE):
            name = f"{volumes_name(self.context, id_)}-{part}"
            self.context.engine.remove_unused_volume(name)


def volumes_name(context: ComposeContext, id_: str) -> str:
    """Return what the names of the volumes of a seed's uploads begin with."""
    return f"{context.platform.name}_seed-{id_}"

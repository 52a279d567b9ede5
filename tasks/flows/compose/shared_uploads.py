"""Uploads of seeds that the branches of this machine share: volumes that belong to no branch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tasks.adapters.docker.compose import pipe_on_volumes
from tasks.adapters.docker.engine import DockerObject
from tasks.core.compose.record import PREFIX, RECORD, ComposeRecord
from tasks.core.environment_data import seed_id
from tasks.core.errors import UnreadableError
from tasks.flows.compose.context import ComposeContext
from tasks.flows.data import FILL_UPLOADS

MEDIA = "/var/www/html/docroot/media"
FOLDERS = ("files", "images", "dashboards")
SEED = f"{PREFIX}seed"
"""The label of a volume with a seed's uploads: the seed's id."""


@dataclass(frozen=True)
class ComposeSharedUploads:
    """A volume for each folder of a seed's uploads; errors as for ``SharedUploads``."""

    context: ComposeContext

    def fill(
        self, id_: str, image: str, source: Iterable[bytes], on_line: Callable[[str], None]
    ) -> int:
        """Make the volumes and fill them; where others do so at this moment, wait for them."""
        name = volumes_name(self.context, id_)
        for folder in FOLDERS:
            self.context.engine.create_volume(f"{name}-{folder}", {SEED: id_})
        places = {f"{name}-{folder}": f"{MEDIA}/{folder}" for folder in FOLDERS}
        return pipe_on_volumes(
            *(self.context.runner, places, image, FILL_UPLOADS), source=source, on_line=on_line
        )

    def unused(self) -> list[str]:
        """Return the ids that no record names; those are written before volumes are made."""
        volumes = self.context.engine.volumes()
        try:
            records = [
                ComposeRecord.from_labels(item.labels) for item in volumes if RECORD in item.labels
            ]
        except UnreadableError:
            return []  # It may name any of them.
        used = {seed_id(each.data) for each in records if each.shares}
        return sorted({item.labels[SEED] for item in volumes if self._is_own(item)} - used)

    def remove(self, id_: str) -> None:
        """Remove a seed's volumes."""
        for item in self.context.engine.volumes(f"{SEED}={id_}"):
            if self._is_own(item):
                self.context.engine.remove_volume(item.name)

    def _is_own(self, item: DockerObject) -> bool:
        """Return True if a volume is of a seed of this project."""
        return SEED in item.labels and item.name.startswith(
            volumes_name(self.context, item.labels[SEED])
        )


def volumes_name(context: ComposeContext, id_: str) -> str:
    """Return what the names of the volumes of a seed's uploads begin with."""
    return f"{context.platform.name}_seed-{id_}"

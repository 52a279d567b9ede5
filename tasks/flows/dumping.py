"""What a dump of a branch's data into a file does, before it does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.flows.data import Place, content, content_title
from tasks.flows.points import require_mautic


@dataclass(frozen=True)
class DumpPlan:
    """What a dump does.

    Attributes:
        file: where it is written.
        content: rows that are there now, by table.
    """

    names: Names
    file: Path
    content: dict[str, int]

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"dump the data of {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        there = content_title(self.content) or "a fresh installation"
        return (
            Step("read", f"database {self.names.database}", there),
            Step("read", "uploads"),
            Step("replace" if self.file.exists() else "write", str(self.file)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.names.branch,
            "file": str(self.file),
            "content": self.content,
            "steps": [asdict(step) for step in self.steps],
        }


def plan_dump(place: Place, file: Path) -> DumpPlan:
    """Return what a dump into a file would do; reads only.

    Raises:
        RefusedError: the database holds no Mautic.
    """
    require_mautic(place)
    return DumpPlan(place.names, file, content(place))

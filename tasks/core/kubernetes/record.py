"""The record of an environment in a cluster: an annotation of its namespace."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.core.cost import Requests
from tasks.core.environment import Record, Release
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.labels import PREFIX
from tasks.core.kubernetes.objects import Object, annotations_of, labels_of

RECORD = f"{PREFIX}record"


@dataclass(frozen=True)
class ClusterRecord(Record):
    """The stored record of an environment in a cluster.

    Attributes:
        revision: Helm's number of the last revision that worked, or 0.
        fingerprint: a hash of that revision's inputs; an equal one needs no deploy.
        database: the image that created the branch's database on the server, and can drop it, or an
            empty string.
        requests: what it requested when it was deployed; None if that was not noted.
    """

    revision: int = 0
    fingerprint: str = ""
    database: str = ""
    requests: Requests | None = None

    def succeeded(
        self,
        release: Release,
        revision: int,
        fingerprint: str,
        requests: Requests | None = None,
    ) -> ClusterRecord:
        """Return the record after a successful deployment."""
        done = self.with_release(release)
        return replace(done, revision=revision, fingerprint=fingerprint, requests=requests)


def stated_owner(found: Object) -> dict[str, str]:
    """Return a namespace's owner, by the names of ``Owner``'s attributes."""
    said = {**labels_of(found), **annotations_of(found)}
    names = ("environment", "slug", "branch", "repository")
    return {name: said[PREFIX + name] for name in names if PREFIX + name in said}


def record_of(found: Object) -> ClusterRecord | None:
    """Return the record that a namespace holds, or None.

    Raises:
        UnreadableError: it is damaged.
    """
    text = annotations_of(found).get(RECORD)
    if not text:
        return None
    try:
        return ClusterRecord.from_json(text)
    except UnreadableError as error:
        name = found["metadata"]["name"]
        error.hint = (
            f"if nobody can mend the annotation {RECORD}, remove it, and deploy the branch again: "
            f"kubectl annotate namespace {name} {RECORD}-"
        )
        raise

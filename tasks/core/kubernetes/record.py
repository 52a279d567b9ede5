"""What a cluster keeps of an environment: an annotation of its namespace."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.core.environment import Record, Release


@dataclass(frozen=True)
class ClusterRecord(Record):
    """What is remembered of an environment in a cluster.

    Attributes:
        revision: Helm's number of the last revision that was seen to work, or 0.
        fingerprint: what that revision was made of; an equal one needs no deploy.
        database: the image that made the branch's database on the server, and can drop it, or an
            empty string.
    """

    revision: int = 0
    fingerprint: str = ""
    database: str = ""

    def succeeded(self, release: Release, revision: int, fingerprint: str) -> ClusterRecord:
        """Return the record after a successful deployment."""
        done = self.with_release(release)
        return replace(done, revision=revision, fingerprint=fingerprint)

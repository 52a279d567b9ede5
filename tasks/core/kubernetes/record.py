"""The record of an environment in a cluster: an annotation of its namespace."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.core.cost import Requests
from tasks.core.environment import Record, Release


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

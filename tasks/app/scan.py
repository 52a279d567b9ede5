"""Puts the look at an environment's images together: what the registry's scanner found."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.adapters.registry.ecr import EcrRegistry
from tasks.app import images, wiring
from tasks.app.paths import RECORD
from tasks.app.session import Session
from tasks.core.errors import InputError
from tasks.core.images.findings import JudgedFinding, Threshold, judge, parse_ignored
from tasks.flows.build import recorded_digests, resolve_images
from tasks.flows.scan import scan_images


class ImageScanJob:
    """The look at the images of an environment's tag.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
        tag: the images' tag; empty for that of the commit that is checked out.
        severity: the least severity that counts; empty for that of the settings.

    Attributes:
        environment: its name.
        threshold: the least severity that counts.
    """

    def __init__(
        self, session: Session, env: str, branch: str | None, *, tag: str, severity: str
    ) -> None:
        names = session.names(env, branch)
        own = session.settings.environment(names.environment)
        self.environment = names.environment
        self.threshold: Threshold = _threshold(severity) if severity else own.scan_severity
        self._session = session
        self._branch = names.branch
        self._tag = tag
        self._ignored = [parse_ignored(text) for text in own.scan_ignore]

    def run(self) -> list[JudgedFinding]:
        """Return what was found that counts, the worst first; wait for scans that are not over.

        Raises:
            InputError: the registry is none that scans.
            SuiteError: as for ``scan_images``; or there are no such images.
        """
        registry = wiring.registry(self._session, self.environment)
        if not isinstance(registry, EcrRegistry):
            raise InputError(
                f"the images of {self.environment} are in {registry.host}, which this cannot ask "
                "what it has found: it reads ECR's scans",
                hint="scan them with a program of your own, by the bill of materials that is "
                "attached to each (docs/security.md), and set `scan_severity: none`",
            )
        tag = self._tag or self._own_tag()
        built = recorded_digests(RECORD, self.environment, tag)
        found = resolve_images(registry, tag, built)
        digests = {name: reference.rpartition("@")[2] for name, reference in found.items()}
        return judge(
            scan_images(registry, digests, self._session.console.work),
            threshold=self.threshold,
            ignored=self._ignored,
            today=datetime.now(UTC).date(),
        )

    def _own_tag(self) -> str:
        return images.subject_of(self._session, self.environment, self._branch).checkout.tag


def _threshold(severity: str) -> Threshold:
    match severity:
        case "critical" | "high" | "medium" | "low" | "none":
            return severity
    raise InputError(f"--severity {severity!r}: must be critical, high, medium, low or none")

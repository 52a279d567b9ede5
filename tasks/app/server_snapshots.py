"""Puts together what takes snapshots of the server of a protected environment."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.adapters.aws.rds_snapshots import RdsSnapshots
from tasks.app import wiring
from tasks.app.session import Session
from tasks.core.images.tags import IMAGES
from tasks.flows.server_snapshots import ServerSnapshots


def server_snapshots(session: Session, environment: str) -> ServerSnapshots | None:
    """Return what takes snapshots of an environment's server; None unless it is protected, on RDS.

    Raises:
        SettingsError: the settings are not whole.
        AwsError: AWS refused, or cannot be reached.
    """
    if not session.settings.environment(environment).protected:
        return None
    own = session.settings_of(environment).environment(environment)
    if own.database is None:
        return None
    if not own.database.identifier:
        if own.stack and own.rds_snapshots.keep:
            session.console.warn(
                f"no RDS snapshot is taken: stack {own.stack} does not publish "
                f"database/identifier; inv infra.apply --stack {own.stack}, or "
                "rds_snapshots.keep: 0"
            )
        return None

    def labels(image: str) -> Mapping[str, str]:
        place = wiring.registry(session, environment)
        return place.labels(IMAGES[0], image.rpartition("@")[2])

    return ServerSnapshots(
        port=RdsSnapshots(session.aws(own.stack), own.database.identifier),
        labels=labels,
        project=session.settings.project,
        keep=own.rds_snapshots.keep,
        wait_minutes=own.rds_snapshots.wait_minutes,
    )

"""inv platform.*: what all environments of one cluster share.

The local platform of Docker Compose starts by itself; no task is needed for it. This module cannot
be called platform: invoke puts this folder on Python's path, before the standard library's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.app.session import ROOT, Session, check_format, task

if TYPE_CHECKING:
    from tasks.flows.kubernetes.platform import ClusterPlatform

VALUES = "values file for helm/platform; may be repeated, the later ones win"


@task(help={"values": VALUES}, iterable=["values"])
def apply(
    session: Session,
    env: str = "",
    values: list[str] | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Install into a cluster what its environments share: Gateway, storage classes, rights."""
    as_json = check_format(format)
    place = _platform(session, env, values)
    if dry_run or session.dry:
        session.console.plan(place.plan(), as_json=as_json)
        return
    done = place.apply()
    if as_json:
        session.console.json(done.as_dict())
    elif not done.steps:
        session.console.say(f"{done.title}: everything is as it should be")
    else:
        session.console.say("a new Gateway has its address within minutes: inv platform.status")


@task(help={"values": VALUES}, iterable=["values"])
def status(
    session: Session, env: str = "", values: list[str] | None = None, format: str = "text"
) -> None:
    """Show what a cluster has of it, and what to do about the rest."""
    as_json = check_format(format)
    from dataclasses import asdict

    from tasks.flows.kubernetes.platform_status import COLUMNS, refuse, rows

    states = _platform(session, env, values).status()
    if as_json:
        session.console.json([asdict(state) for state in states])
    else:
        session.console.table(COLUMNS, rows(states))
    refuse(states)


def _platform(session: Session, env: str, values: list[str] | None) -> ClusterPlatform:
    """Return the platform of the cluster that an environment lives in.

    Raises:
        InputError: the environment lives in none.
    """
    from tasks.adapters.files.download import fetch
    from tasks.app.wiring import cluster
    from tasks.core.errors import InputError
    from tasks.core.kubernetes.platform import inputs_of
    from tasks.flows.kubernetes.platform import ClusterPlatform

    environment, own = session.environment(env)
    if own.target != "kubernetes":
        raise InputError(
            f"{environment} does not live in a cluster",
            hint="name an environment of target kubernetes: --env dev",
        )
    settings = session.settings_of(environment)
    place = settings.environment(environment).cluster
    access, helm = cluster(session, environment)
    return ClusterPlatform(
        title=(place.name if place else None) or environment,
        inputs=inputs_of(settings, environment, session.parameters(own.stack) if own.stack else {}),
        files=[Path(name) for name in values or ()],
        cluster=access,
        helm=helm,
        root=ROOT,
        fetch=fetch,
        work=session.console.work,
        warn=session.console.warn,
    )

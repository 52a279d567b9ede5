"""A branch's Compose project: docker/compose.yaml with the branch's variables."""

from __future__ import annotations

from dataclasses import replace

from tasks.adapters.docker.compose import Compose
from tasks.core import door
from tasks.core.compose.reconcile import WantedService, read_services
from tasks.core.compose.record import RECORD, REPOSITORY
from tasks.core.compose.stages import PROJECT
from tasks.core.environment import Release
from tasks.core.environment_data import Data, seed_database, seed_id
from tasks.flows.compose.context import SECRETS, ComposeContext
from tasks.flows.compose.plan import MIGRATE
from tasks.flows.compose.platform import MAIL_ADDRESS
from tasks.flows.compose.shared_uploads import volumes_name
from tasks.flows.target import ADMIN, Request

SHARED = "compose.seed.yaml"
"""What is laid over docker/compose.yaml where a branch shares its seed's uploads."""

SHOWN = "compose.dev.yaml"
"""What is laid over docker/compose.yaml where services show a working tree's files."""


def project(
    context: ComposeContext,
    request: Request,
    release: Release,
    database: str,
    data: Data,
    *,
    shows: bool = False,
) -> Compose:
    """Return a branch's Compose project for a release.

    Args:
        request: has the branch's names and owner.
        release: its images. Without a time, labels about the deployment are left out, so that
            services can be compared.
        database: the database's image.
        data: what the branch's database begins with.
        shows: whether its services show a working tree's files.
    """
    names, owner = request.names, request.owner
    platform = context.platform
    variables = {
        **{key.upper(): str(value) for key, value in context.own.limits.model_dump().items()},
        "ENVIRONMENT": owner.environment,
        "SLUG": owner.slug,
        "BRANCH": owner.branch,
        "REPOSITORY": _labelled(context, request),
        "MAUTIC_REF": release.mautic,
        "NGINX_REF": release.nginx,
        "DATABASE_REF": database,
        "SITE_URL": names.url,
        "DATABASE": names.database,
        "DATABASE_USER": names.database_user,
        "PLATFORM_NETWORK": platform.name,
        "ADMIN_USERNAME": ADMIN,
        "SEED": seed_database(data.choice, context.settings.project),
        "LOCALE": context.own.language,
        "MAILER_DSN": f"smtp://{MAIL_ADDRESS}" if platform.has_mail() else "null://null",
        "DOOR_PASSWORD_FILE": f"{SECRETS}/{door.KEY}" if context.own.has_password else "",
        "DOOR_EXEMPT": " ".join(context.own.door_exempt),
        "NOINDEX": "off" if context.own.protected else "on",
        "COMMIT": "",
        "OWNER": "",
        "DEPLOYED_AT": "",
        "EXPIRES_AT": "",
    }
    if release.deployed_at:
        variables["COMMIT"] = release.commit
        variables["OWNER"] = release.owner
        variables["DEPLOYED_AT"] = release.deployed_at
        variables["EXPIRES_AT"] = request.expires_at(context.own, release.deployed_at)
    over = []
    if data.shares:
        variables["SEED_UPLOADS"] = volumes_name(context, seed_id(data.choice))
        over.append(SHARED)
    if shows:
        # What is compiled lies in a volume that the services share, not in a place of each one's
        # own.
        variables["CACHE_MOUNT"] = "/mnt:ro,noexec,nosuid,nodev,size=4k"
        over.append(SHOWN)
    folder = context.root / "docker"
    return Compose(
        *(context.runner, names.namespace, folder / "compose.yaml", variables),
        over=[folder / name for name in over],
    )


def _labelled(context: ComposeContext, request: Request) -> str:
    """Return the repository as spelled in existing labels, which cannot be changed."""
    for volume in context.engine.volumes(f"{PROJECT}={request.names.namespace}"):
        if RECORD not in volume.labels and REPOSITORY in volume.labels:
            return volume.labels[REPOSITORY]
    return request.owner.repository


def wanted_services(
    context: ComposeContext, request: Request, release: Release, database: str, data: Data
) -> dict[str, WantedService]:
    """Return the wanted services of a release, without labels about the deployment.

    Arguments as for ``project``.
    """
    anonymous = replace(release, deployed_at="")
    compose = project(context, request, anonymous, database, data)
    return read_services(compose.config(profiles=[MIGRATE]))

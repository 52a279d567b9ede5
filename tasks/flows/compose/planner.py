"""Plans a deploy from the request and the engine's objects; reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.adapters.docker.engine import Container
from tasks.core import door
from tasks.core.compose.reconcile import (
    RESTARTING,
    STRANDED,
    PresentService,
    ServiceChange,
    WantedService,
    decide,
    keeps_restarting,
    sort_services,
)
from tasks.core.compose.record import ComposeRecord
from tasks.core.compose.stages import SECRETS
from tasks.core.environment import State
from tasks.core.environment_data import choose, seed_id
from tasks.core.errors import SuiteError
from tasks.core.images.content_key import CODE
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inventory import Inventory
from tasks.flows.compose.plan import (
    LAST_STEP,
    MIGRATE,
    ComposePlan,
    migration,
    migration_reason,
)
from tasks.flows.compose.project import wanted_services
from tasks.flows.compose.shared_uploads import ComposeSharedUploads
from tasks.flows.target import Request


def plan_deploy(context: ComposeContext, request: Request) -> ComposePlan:
    """Return what a deploy would do.

    Raises:
        NoImageError: there are no images of that tag.
        RefusedError: the environment has another owner.
        InputError: there is nothing to roll back to.
        SuiteError: its secrets are gone.
    """
    inventory = context.inventory(request.owner, request.names)
    if inventory.record and inventory.record.state is State.REMOVING:
        # Its data may be gone: what is left is deployed as if it had never been.
        inventory = replace(inventory, record=None)
    release = request.release(inventory.record, context.find_images)
    database = _database(context, inventory.record)
    data = choose(
        *(request.data, context.own.data, inventory.record),
        protected=context.own.protected,
        resolve=request.resolve,
        check=request.check_data,
    )
    lacks_uploads = data.shares and ComposeSharedUploads(context).lacks(seed_id(data.choice))
    if lacks_uploads:
        request.require_uploads(data)
    services = wanted_services(context, request, release, database, data)
    done = migration(services, _code(context, release.mautic))
    return ComposePlan(
        request=request,
        release=release,
        record=inventory.record,
        expires_at=request.expires_at(context.own, release.deployed_at),
        database=database,
        wanted=services,
        changes=plan_changes(context, services, inventory),
        migration=done,
        migrate=migration_reason(done, inventory.record, release.mautic)
        or ("its data is restored" if request.restore else ""),
        seed=_lacks_secrets(context, request, inventory),
        leftovers=tuple(item.id for item in inventory.leftovers),
        data=data,
        lacks_uploads=lacks_uploads,
    )


def plan_changes(
    context: ComposeContext, services: Mapping[str, WantedService], inventory: Inventory
) -> tuple[ServiceChange, ...]:
    """Return what has to happen to each service.

    Args:
        services: the wanted services, including the migration.
        inventory: the engine's objects.
    """
    present = {
        name: PresentService(item.image, _state(context, item, inventory))
        for name, item in inventory.services.items()
    }
    recorded = inventory.record.services if inventory.record else {}
    running = [service for name, service in services.items() if name != MIGRATE]
    return decide(sort_services(running), present, recorded)


def _state(context: ComposeContext, container: Container, inventory: Inventory) -> str:
    if container.name in inventory.stranded:
        return STRANDED
    return RESTARTING if _restarts(context, container) else container.state


def _restarts(context: ComposeContext, container: Container) -> bool:
    seen = context.engine.observe(container.id)
    stability = timedelta(seconds=context.own.patience.stability_seconds)
    return seen is not None and keeps_restarting(seen, stability, datetime.now(UTC))


def _code(context: ComposeContext, image: str) -> str:
    """Return the content key of an image without its themes, or an empty string if unknown.

    It is unknown before the image was pulled, and for an image that was built on top of it, which
    inherits its labels.
    """
    found = context.engine.image(image)
    if not found or context.engine.last_step(image) != LAST_STEP:
        return ""
    return found.labels.get(CODE, "")


def _database(context: ComposeContext, record: ComposeRecord | None) -> str:
    """Return the database's image; it is kept until the setting changes."""
    setting = context.settings.platform.database_image
    if record and record.database and record.database_image == setting:
        return record.database
    return context.base(setting)


def _lacks_secrets(context: ComposeContext, request: Request, inventory: Inventory) -> bool:
    volume = f"{request.names.namespace}_{SECRETS}"
    record = inventory.record
    if volume not in inventory.volumes:
        if record and record.current:
            raise SuiteError(
                f"the secrets of {request.names.branch} are gone (volume {volume}), "
                "and its database cannot be opened without them",
                hint=f"start over: inv cleanup {request.names.options}",
            )
        return True
    # They are written before the record is updated. Environments from before the door lack its
    # password.
    return record is None or not record.migrated or door.KEY not in context.secrets(request.names)

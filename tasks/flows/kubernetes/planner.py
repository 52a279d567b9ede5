"""Plans a deploy: reads the cluster's state, and computes the chart's values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tasks.core import door
from tasks.core.environment import Release
from tasks.core.environment_data import SEED, Data, choose, seed_database, seed_id
from tasks.core.errors import EngineError, RegistryError, SuiteError
from tasks.core.kubernetes.crons import unsupported_crons
from tasks.core.kubernetes.entrance import branch_values
from tasks.core.kubernetes.mail import catches_mail
from tasks.core.kubernetes.manifests import PREFIX, SECRET
from tasks.core.kubernetes.record import ClusterRecord, record_of
from tasks.core.kubernetes.sleeping import rest_of
from tasks.core.names import Names
from tasks.flows.kubernetes.branch_secret import (
    keys_in_use,
    missing_keys,
    new_branch_secrets,
)
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.plan import ClusterPlan, decide
from tasks.flows.kubernetes.preflight import entrance_problems, preflight
from tasks.flows.kubernetes.provisioning import provisioner_problems
from tasks.flows.kubernetes.releases import revisions
from tasks.flows.kubernetes.seed_server import is_loaded, loads_seeds
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tasks.flows.kubernetes.values import fingerprint, merge_values
from tasks.flows.target import FindImages, Request


def plan_deploy(
    context: ClusterContext,
    request: Request,
    *,
    find_images: FindImages,
    uploads: ClusterSharedUploads,
    base: Callable[[str], str],
) -> ClusterPlan:
    """Return what a deploy would do; reads only.

    Args:
        request: what is wanted.
        find_images: returns the images of a tag, by digest.
        uploads: what branches share of a seed's.
        base: returns, for a public image's reference, one by digest.

    Raises:
        RefusedError: the namespace is somebody else's.
        SuiteError: the cluster is not ready for it, or its secrets are gone.
    """
    names, own, cluster = request.names, context.own, context.cluster
    found = context.namespace(request.owner, names)
    exists = found is not None
    record = record_of(found) if found else None
    release = request.release(record, find_images)
    data = choose(
        *(request.data, own.data, record),
        protected=own.protected,
        resolve=request.resolve,
        check=request.check_data,
    )
    data, not_shared = _shared(uploads, data, record)
    shared = uploads.find(seed_id(data.choice)) if data.shares else {}
    if data.shares and not shared:
        request.require_uploads(data)
    clones = data.kind == SEED and loads_seeds(context)
    if clones and data.title:
        there = "is" if is_loaded(context, seed_id(data.choice)) else "is loaded first"
        data = replace(data, title=f"{data.title}, which {there} on the server")
    values = _values(context, names, release)
    values["data"] = {
        "seed": seed_database(data.choice, context.settings.project),
        "clone": clones,
    }
    if shared:
        values["media"] = {"seed": shared}
    merged = merge_values(context.root, own.values, values)
    images = context.settings.images
    kept_off = dict(unsupported_crons(merged, images.php, images.mautic))
    if kept_off:
        values["crons"] = {"jobs": {name: {"enabled": False} for name in kept_off}}
    preflight(cluster, names.namespace, merged, exists=exists, more=_platform(context, merged))
    history = tuple(revisions(cluster, names.release, names.namespace)) if exists else ()
    has_server = own.database is not None
    kept = keys_in_use(record, history, has_server=has_server)
    # CI jobs get read rights only once the namespace exists.
    seed = (
        missing_keys(cluster, names, context.redactor, kept=kept)
        if exists
        else tuple(new_branch_secrets())
    )
    if context.is_provisioned:
        seed = tuple(key for key in seed if key != "db_password")
    values["images"] |= _more_images(context, merged, base)
    no_catcher = ""
    if catches_mail(merged) and not merged["images"].get("mail"):
        try:
            values["images"]["mail"] = base(context.settings.platform.mail_image)
        except (EngineError, RegistryError) as error:
            # As with Compose: such a branch is of use, too, and discards its mails.
            no_catcher = error.message
            values["mail"] = {"catcher": {"enabled": False}}
    shows_mail = catches_mail(merged) and not no_catcher and context.own.has_password
    plan = ClusterPlan(
        request=request,
        release=release,
        record=record,
        values=values,
        fingerprint=fingerprint(context.root, own.values, values),
        history=history,
        seed=seed,
        has_server=has_server,
        exists=exists,
        provisioned=context.is_provisioned,
        furnished=context.is_furnished,
        autoscaled=merged["web"]["autoscaling"]["enabled"] and not merged["sleeping"],
        expires_at=request.expires_at(own, release.deployed_at),
        kept_off=kept_off,
        asleep=rest_of(found, record).asleep if found else None,
        no_catcher=no_catcher,
        mail_url=f"{names.url}{door.MAIL_PATH}" if shows_mail else "",
        data=data,
        shared=shared,
        not_shared=not_shared,
        clones=clones,
        snapshot=request.snapshot(record, release),
    )
    return replace(plan, steps=tuple(decide(plan)))


def with_uploads(
    context: ClusterContext, plan: ClusterPlan, uploads: ClusterSharedUploads
) -> ClusterPlan:
    """Return a plan with the images of the uploads that it shares, as they are there by now.

    Raises:
        SuiteError: they are not, or the registry cannot be asked.
    """
    if not plan.data.shares:
        return plan
    shared = uploads.find(seed_id(plan.data.choice))
    if not shared:
        raise SuiteError(
            f"the uploads of {plan.data.choice} are not in the registry (any more)",
            hint=f"put them there: inv deploy {plan.request.names.options}",
        )
    values = {**plan.values, "media": {"seed": shared}}
    own = fingerprint(context.root, context.own.values, values)
    return replace(plan, values=values, shared=shared, fingerprint=own)


def _shared(
    uploads: ClusterSharedUploads, data: Data, record: ClusterRecord | None
) -> tuple[Data, str]:
    """Return the data with whether uploads are shared, and why not although they were to be.

    Where it has begun with them it stays so: rows of assets may lead there already.
    """
    if record and record.data == data.choice and (record.shares or record.current):
        return replace(data, shares=record.shares), ""
    problem = uploads.problem() if data.shares else ""
    return replace(data, shares=data.shares and not problem), problem


def _platform(context: ClusterContext, merged: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the platform's entrance or provisioner does not do its part, where it has one."""
    platform = context.own.platform_namespace
    if context.own.entrance:
        yield from entrance_problems(context.cluster, platform, context.environment)
    if not context.is_furnished:
        return
    yield from provisioner_problems(context.cluster, platform, context.environment)
    if not merged["networkPolicy"]["enabled"]:
        yield "networkPolicy.enabled is false, and the platform denies what no policy allows"


def _values(context: ClusterContext, names: Names, release: Release) -> dict[str, Any]:
    """Return the chart's values of this deploy."""
    values: dict[str, Any] = {
        "images": {"mautic": release.mautic, "nginx": release.nginx},
        "site": {"url": names.url},
        "database": {"name": names.database, "user": names.database_user},
        "secret": {"name": SECRET},
        "labels": {f"{PREFIX}slug": names.slug},
        "door": {
            "passwordKey": door.KEY if context.own.has_password else "",
            "exempt": list(context.own.door_exempt),
            "noindex": not context.own.protected,
        },
    }
    if pool := context.own.door_oidc:
        given_pool = {"userPoolArn": pool.user_pool_arn, "clientId": pool.client_id}
        values["door"]["oidc"] = {**given_pool, "domain": pool.domain}
    if server := context.database_server:
        given = {"host": server.host, "port": server.port, "tlsCa": server.tls_ca}
        values["database"] |= given
    if context.is_furnished:
        # The platform's own are in the namespace, where no branch changes them.
        values |= {"quota": {"enabled": False}, "limitRange": {"enabled": False}}
    values |= branch_values(context.own)
    if context.own.language:
        values["env"] = {"MAUTIC_LOCALE": context.own.language}
    if context.own.replicas:
        values["web"] = {"replicas": context.own.replicas}
    return values


def _more_images(
    context: ClusterContext, merged: Mapping[str, Any], base: Callable[[str], str]
) -> dict[str, str]:
    """Return the images of the chart's other services, by digest."""
    named = merged.get("images") or {}
    wanted = {
        "mysql": context.settings.platform.database_image,
        "redis": context.settings.images.redis,
    }
    return {
        name: base(reference)
        for name, reference in wanted.items()
        if merged[name]["enabled"] and not named.get(name)
    }

"""The environments of a Kubernetes cluster: one namespace and one Helm release per branch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tasks.adapters.files.lock import Holder
from tasks.adapters.http import Response
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.kubernetes.helm import Helm, Revision
from tasks.adapters.kubernetes.lease import NAME as LEASE
from tasks.adapters.kubernetes.lease import Holder as LeaseHolder
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.adapters.terminal.console import Work
from tasks.core.environment import Owner, Release
from tasks.core.errors import ClusterError, ConflictError, InputError, RefusedError, SuiteError
from tasks.core.images.migrations import MIGRATIONS, unavailable
from tasks.core.kubernetes.crons import unable
from tasks.core.kubernetes.manifests import (
    COMPONENT,
    INSTANCE,
    MANAGED,
    PREFIX,
    SECRET,
    DatabaseServer,
    Object,
    Record,
    namespace,
    owner_of,
    record_of,
    secret,
)
from tasks.core.kubernetes.rollout import Policy
from tasks.core.names import Names, database_prefix
from tasks.core.plan import Step
from tasks.core.redact import Redactor
from tasks.core.settings import Environment, Settings, names_of
from tasks.flows import schedules
from tasks.flows.kubernetes.access import admit
from tasks.flows.kubernetes.database import DROP_WAIT_SECONDS, run_database_job
from tasks.flows.kubernetes.diagnostics import save
from tasks.flows.kubernetes.logs import show
from tasks.flows.kubernetes.plan import ClusterPlan, decide
from tasks.flows.kubernetes.preflight import preflight
from tasks.flows.kubernetes.quiesce import hold
from tasks.flows.kubernetes.releases import drop_failed, end_hooks, go_back, repair, revisions
from tasks.flows.kubernetes.removal import finish, look, removals
from tasks.flows.kubernetes.services import ALL_CRONS, places, selector, where_to_run
from tasks.flows.kubernetes.status import part, summary
from tasks.flows.kubernetes.upgrade import upgrade, wait_settled
from tasks.flows.kubernetes.values import chart, files, fingerprint, merge
from tasks.flows.target import (
    Credentials,
    Part,
    Removal,
    RemovalPlan,
    Request,
    Say,
    Summary,
    new_secrets,
    silently,
)

ADMIN = "admin"


class Kubernetes:
    """The target of environments with ``target: kubernetes``.

    Args:
        settings: the settings.
        environment: the environment's name in invoke.yaml.
        cluster: the cluster.
        helm: Helm for that cluster.
        root: the checkout.
        images: returns the mautic and the nginx image of a tag, by digest; raises RegistryError.
        base: returns, for a public image's reference, one by digest.
        work: shows a piece of work.
        redactor: told every secret.
    """

    is_private = False
    removed_at_once = 10

    def __init__(
        self,
        *,
        settings: Settings,
        environment: str,
        cluster: Cluster,
        helm: Helm,
        root: Path,
        images: Callable[[str], Mapping[str, str]],
        base: Callable[[str], str],
        work: Work,
        redactor: Redactor,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._cluster = cluster
        self._helm = helm
        self._root = root
        self._images = images
        self._base = base
        self._work = work
        self._redactor = redactor
        self._locks: dict[str, LeaseLock] = {}

    @property
    def _own(self) -> Environment:
        return self._settings.environment(self._environment)

    @property
    def smoke_seconds(self) -> float:
        """How long a site whose pods are all ready may still answer with an error."""
        return self._own.patience.smoke_seconds

    # -- before -------------------------------------------------------------------------------

    def prepare(self, request: Request) -> None:
        """Make the branch's namespace, where the lock lives, if it is not there."""
        names = request.names
        found = self._namespace(request.of, names)
        if found and found["metadata"].get("deletionTimestamp"):
            where = names.namespace
            with self._work(f"wait for the end of namespace {where}") as activity:
                wait_gone(self._cluster, "Namespace", where, say=activity.say, patient=True)
            found = None
        if found is None:
            made = namespace(request.of, names, Record("deploying", names.url), _pipeline())
            try:
                self._cluster.create(made)
            except ConflictError:
                # Another run was faster. Whether it is for the same branch shows under the lock.
                return

    @contextlib.contextmanager
    def exclusive(self, names: Names, me: Holder, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the Lease of the branch's namespace; without a namespace there is nothing to hold.

        Raises:
            HeldError: somebody else holds it, or a newer commit has taken this one's place.
        """
        if self._cluster.get("Namespace", names.namespace) is None:
            yield
            return
        admit(self._cluster, names.namespace, self._environment)
        holder = LeaseHolder(LeaseHolder.here(), me.commit, me.committed)
        wait = self._own.patience.turn_seconds
        lock = LeaseLock(self._cluster, names.namespace, holder, wait_seconds=wait, say=waiting)
        with lock:
            self._locks[names.namespace] = lock
            try:
                yield
            finally:
                del self._locks[names.namespace]

    def plan_deploy(self, request: Request) -> ClusterPlan:
        """Return what a deploy would do; reads only.

        Raises:
            RefusedError: the namespace is somebody else's.
            SuiteError: the cluster is not ready for it.
        """
        names = request.names
        found = self._namespace(request.of, names)
        record = record_of(found) if found else None
        deployed_at = datetime.now(UTC).isoformat(timespec="seconds")
        release = replace(
            self._release(request, record), owner=request.owner, deployed_at=deployed_at
        )
        values = self._values(request, release)
        merged = merge(self._root, self._own.values, values)
        kept_off = tuple(unable(merged, self._settings.images.php))
        if kept_off:
            values["crons"] = {"jobs": {name: {"enabled": False} for name in kept_off}}
        preflight(self._cluster, names.namespace, merged, exists=found is not None)
        history = tuple(self._revisions(names)) if found else ()
        plan = ClusterPlan(
            request=request,
            release=release,
            record=record,
            values={**values, "images": {**values["images"], **self._more_images(merged)}},
            fingerprint="",
            history=history,
            seed=self._missing_keys(names) if found else tuple(new_secrets()),
            has_server=self._own.database is not None,
            expires_at=self._own.expires_at(deployed_at),
            kept_off=kept_off,
        )
        plan = replace(plan, fingerprint=fingerprint(self._root, self._own.values, plan.values))
        return replace(plan, steps=tuple(decide(plan, exists=found is not None)))

    def _release(self, request: Request, record: Record | None) -> Release:
        """Return the release a request means, with its images by digest."""
        history = record.history if record else ()
        if request.rollback and (earlier := request.earlier(history)):
            return earlier
        images = self._images(request.tag)
        return Release(request.tag, request.commit, images["mautic"], images["nginx"], "", "")

    # -- values -------------------------------------------------------------------------------

    def _values(self, request: Request, release: Release) -> dict[str, Any]:
        names = request.names
        values: dict[str, Any] = {
            "images": {"mautic": release.mautic, "nginx": release.nginx},
            "site": {"url": names.url},
            "database": {"name": names.database, "user": names.database_user},
            "secret": {"name": SECRET},
            "labels": {f"{PREFIX}slug": names.slug},
        }
        server = self._server()
        if server:
            given = {"host": server.host, "port": server.port, "tlsCa": server.tls_ca}
            values["database"] |= given
        if self._own.replicas:
            values["web"] = {"replicas": self._own.replicas}
        return values

    def _more_images(self, merged: Mapping[str, Any]) -> dict[str, str]:
        """Return the images of what the chart runs beside Mautic, by digest."""
        named = merged.get("images") or {}
        wanted = {
            "mysql": self._settings.platform.database_image,
            "redis": self._settings.images.redis,
        }
        return {
            name: self._base(reference)
            for name, reference in wanted.items()
            if merged[name]["enabled"] and not named.get(name)
        }

    def _server(self) -> DatabaseServer | None:
        server = self._own.database
        if server is None:
            return None
        return DatabaseServer(
            server.host,
            server.port,
            server.admin_secret,
            self._own.platform_namespace,
            database_prefix(self._settings.project),
            server.admin_secret_arn or "",
            server.account,
            server.tls_ca or "",
        )

    # -- deploying ----------------------------------------------------------------------------

    def apply(self, plan: ClusterPlan) -> None:
        """Bring the cluster to what the plan wants.

        Raises:
            SuiteError: it did not work; the message names the cause.
        """
        names = plan.request.names
        self._helm.look()
        self._write(plan.request.of, names, plan.before("deploying"))
        # A run that was killed may have left its migration behind, whatever its release says.
        end_hooks(self._cluster, names.release, names.namespace)
        self._repair(plan)
        passwords = self._make_secret(names, plan.seed)
        server = self._server()
        if server and plan.makes_database:
            with self._work(f"create database {names.database}") as activity:
                run_database_job(
                    self._cluster,
                    names,
                    server,
                    verb="create",
                    image=plan.release.mautic,
                    wait_seconds=self._own.patience.grace_seconds,
                    password=passwords["db_password"],
                    say=activity.say,
                )
        self._still_mine(names)
        if plan.holds:
            with self._work("hold workers and crons") as activity:
                hold(self._cluster, names, activity.say)
        self._still_mine(names)
        with self._work(f"roll out {names.release}") as activity, self._ends_hooks(names):
            upgrade(
                self._cluster,
                self._helm,
                names,
                chart=chart(self._root),
                values=self._with_secret(plan.values, names),
                files=files(self._root, self._own.values),
                policy=self._policy(),
                timeout_seconds=self._own.patience.migration_seconds,
                activity=activity,
            )

    @contextlib.contextmanager
    def _ends_hooks(self, names: Names) -> Iterator[None]:
        """End the migration with a deploy that is interrupted.

        After a failure it is ended by the way back, when its log is among the evidence.
        """
        try:
            yield
        except SuiteError:
            raise
        except BaseException:
            # What cannot be ended now is ended by the next deploy.
            with contextlib.suppress(ClusterError):
                end_hooks(self._cluster, names.release, names.namespace)
            raise

    def finish(self, plan: ClusterPlan) -> Credentials | None:
        """Remember the deployment; return the administrator after the first one."""
        names = plan.request.names
        self._still_mine(names)
        revision = self._revisions(names)[-1].number
        record = plan.before("ready").succeeded(plan.release, revision, plan.fingerprint)
        self._write(plan.request.of, names, record)
        if not plan.first:
            return None
        later = (
            f"kubectl get secret {SECRET} --namespace {names.namespace} "
            "--output go-template='{{.data.admin_password | base64decode}}'"
        )
        return Credentials(ADMIN, self._secret(names)["admin_password"], later)

    def _repair(self, plan: ClusterPlan) -> None:
        """End what a dead run left pending; only whoever holds the lock may."""
        names = plan.request.names
        if not (plan.history and plan.history[-1].is_pending):
            return
        with self._work(f"repair release {names.release}") as activity:
            activity.outcome = repair(
                self._cluster,
                self._helm,
                names.release,
                names.namespace,
                plan.history,
                worked=plan.record.revision if plan.record else 0,
                say=activity.say,
            )

    def _make_secret(self, names: Names, missing: Sequence[str]) -> dict[str, str]:
        """Generate what is not there yet; what is there stays as it is."""
        made = {key: value for key, value in new_secrets().items() if key in missing}
        for value in made.values():
            self._redactor.add(value)
        values = {**self._secret(names), **made}
        if made:
            with self._work("make secrets"):
                self._cluster.apply(secret(names, values))
        return values

    def _secret(self, names: Names) -> dict[str, str]:
        """Return the branch's secrets, and keep them out of everything shown from now on."""
        import base64

        found = self._cluster.get("Secret", SECRET, names.namespace)
        data = (found or {}).get("data") or {}
        values = {key: base64.b64decode(value).decode() for key, value in data.items()}
        for value in values.values():
            self._redactor.add(value)
        return values

    def _with_secret(self, values: Mapping[str, Any], names: Names) -> dict[str, Any]:
        """Return the values with the Secret's version, at which pods restart when it changes."""
        found = self._cluster.get("Secret", SECRET, names.namespace) or {}
        version = found.get("metadata", {}).get("resourceVersion", "")
        return {**values, "secret": {"name": SECRET, "version": version}}

    def _missing_keys(self, names: Names) -> tuple[str, ...]:
        there = self._secret(names)
        return tuple(key for key in new_secrets() if key not in there)

    # -- after a failure ----------------------------------------------------------------------

    def save_evidence(self, names: Names, folder: Path) -> None:
        """Write events, descriptions and logs into a folder, without secrets."""
        self._secret(names)
        save(self._cluster, names.namespace, names.release, folder, self._redactor)

    def roll_back(self, plan: ClusterPlan) -> str | None:
        """Bring the last revision that worked back up, and wait for it.

        Raises:
            SuiteError: it does not come up either.
        """
        names = plan.request.names
        found = self._namespace(plan.request.of, names)
        record = record_of(found) if found else None
        if record is None:
            return None
        self._still_mine(names)
        # Even if there is no way back: the next deploy must not take what is there for good.
        self._write(plan.request.of, names, replace(record, state="failed"))
        end_hooks(self._cluster, names.release, names.namespace)
        if record.current is None or not record.revision:
            return None
        with self._work(f"roll back to {record.current.tag}") as activity:
            since = self._cluster.now()
            revision = go_back(
                self._cluster, self._helm, names.release, names.namespace, record.revision
            )
            wait_settled(
                self._cluster,
                names.namespace,
                names.release,
                self._policy(),
                activity,
                since=since,
                serving=True,
            )
            drop_failed(self._cluster, names.release, names.namespace)
        # What runs is what worked, under a new number; what was asked for did not come.
        self._write(plan.request.of, names, replace(record, state="failed", revision=revision))
        return record.current.tag

    def newer_migrations(self, of: Owner, names: Names) -> Sequence[str]:
        """Return the migrations that the database has seen and the code that runs does not have.

        Raises:
            SuiteError: the code that runs does not tell.
        """
        self._namespace(of, names)
        place = where_to_run(self._cluster, names, "")
        status, table = self._cluster.output(
            names.namespace, place.pod, place.container, MIGRATIONS
        )
        if status:
            raise ClusterError(f"{' '.join(MIGRATIONS)} ended with exit code {status}")
        return unavailable(table.decode(errors="replace"))

    # -- removing -----------------------------------------------------------------------------

    def holds_images(self, *, dry: bool) -> bool:
        """Say that there is a registry to remove images from: a cluster cannot do without."""
        return True

    def plan_removal(self, of: Owner, names: Names) -> RemovalPlan:
        """Return everything of the branch that the cluster has.

        Raises:
            RefusedError: the namespace is somebody else's.
        """
        title = f"clean up {names.branch} in {names.environment}"
        found = self._namespace(of, names)
        if found is None:
            return RemovalPlan(title, (), ())
        if found["metadata"].get("deletionTimestamp"):
            # Nothing can be made in it any more, and a CI job may not even look into it.
            step = Step("remove", f"namespace {names.namespace}", "which is going already")
            rest = partial(finish, self._cluster, names, found["metadata"]["uid"])
            return RemovalPlan(title, (step,), (rest,), going=True)
        inside = look(self._cluster, names, self._own.cluster_objects)
        record = record_of(found)

        def mark() -> None:
            # As if nothing had ever been deployed: a deploy after it makes everything anew.
            if record:
                begun = Record("removing", record.url, record.expires_at, database=record.database)
                self._write(of, names, begun)

        drop = self._drop(names, record.database if record else "")
        todo = removals(self._cluster, self._helm, names, inside, mark=mark, drop=drop)
        if inside.foreign:
            nothing = Record("removed", names.url)
            if record != nothing:
                step = Step("remove", f"record of namespace {names.namespace}")
                todo.append((step, silently(lambda: self._write(of, names, nothing))))
            kept = f"it holds {', '.join(inside.foreign)} of somebody else"
            todo.append((Step("keep", f"namespace {names.namespace}", kept), silently(int)))
        return RemovalPlan(
            title, tuple(step for step, _ in todo), tuple(action for _, action in todo)
        )

    def _drop(self, names: Names, image: str) -> tuple[Step, Removal] | None:
        """Return what drops the branch's database and user; None where there is none to drop.

        Args:
            names: the branch's names.
            image: the image that made it, or an empty string.
        """
        server = self._server()
        if server is None or not image:
            return None

        def drop(say: Say) -> None:
            run_database_job(
                self._cluster,
                names,
                server,
                verb="drop",
                image=image,
                wait_seconds=DROP_WAIT_SECONDS,
                say=say,
            )

        step = Step("remove", f"database {names.database}", f"and user {names.database_user}")
        return step, drop

    # -- looking ------------------------------------------------------------------------------

    def get(self, names: Names, path: str) -> Response:
        """Ask the site for a path, through the API server's proxy: there may be no DNS yet."""
        headers = {"Host": names.host, "X-Forwarded-Proto": self._own.scheme, "Accept": "*/*"}
        status, body = self._cluster.http(
            names.namespace, f"{names.release}-web", "http", path, headers
        )
        return Response(status, {}, body.decode(errors="replace"))

    def list(self) -> Sequence[Summary]:
        """Return all environments, in three calls however many there are."""
        selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
        selector += f",{PREFIX}environment={self._environment}"
        namespaces = self._cluster.find_all("Namespace", selector)
        web, leases = (
            {item["metadata"]["namespace"]: item for item in found}
            for found in (
                self._cluster.find_all("Deployment", f"{COMPONENT}=web"),
                self._cluster.find_all("Lease", fields=f"metadata.name={LEASE}"),
            )
        )
        found = []
        for item in namespaces:
            name = item["metadata"]["name"]
            if self._is_of_these_settings(item):
                found.append(summary(item, web.get(name), leases.get(name)))
        return sorted(found, key=lambda item: item.branch)

    def _is_of_these_settings(self, found: Object) -> bool:
        """Return True if a namespace is what these settings call its branch's."""
        try:
            branch = owner_of(found).get("branch", "")
            names = names_of(self._settings, self._environment, branch)
        except InputError:  # somebody else's: the suite deploys no such branch
            return False
        return bool(names.namespace == found["metadata"]["name"])

    def status(self, of: Owner, names: Names) -> Sequence[Part]:
        """Return the workloads of one environment; empty when there is none."""
        found = self._namespace(of, names)
        if found is None:
            return ()
        record = record_of(found)
        current = record.current if record else None
        ours = f"{INSTANCE}={names.release}"
        now = self._cluster.now()
        workloads = [
            part(item, current, now)
            for kind in ("Deployment", "StatefulSet", "CronJob")
            for item in self._cluster.find(kind, names.namespace, ours)
        ]
        return [*workloads, *self._scheduled(names, now)]

    def _scheduled(self, names: Names, now: datetime) -> Sequence[Part]:
        """Return the scheduled commands of the one pod that runs them, if it does."""
        where = f"{selector(names)},{PREFIX}cron={ALL_CRONS}"
        pods = places(self._cluster.find("Pod", names.namespace, where), "cron")
        running = [place for place in pods if place.running]
        if not running:
            return ()
        place = running[-1]
        try:
            status, said = self._cluster.output(
                names.namespace, place.pod, place.container, schedules.STATUS
            )
        except ClusterError as error:
            # Its node is away: all else is worth showing.
            return schedules.unknown(error.message)
        return schedules.parts(said.decode(), now) if status == 0 else schedules.unknown("")

    def logs(
        self,
        of: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int,
    ) -> None:
        """Pass on what the containers write, each line with its pod and container.

        Raises:
            InputError: there is no such service.
        """
        self._namespace(of, names)
        self._secret(names)
        show(self._cluster, names, on_line, service=service, follow=follow, tail=tail)

    def execute(self, of: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a container of a service, on this terminal; return its exit status.

        Raises:
            InputError: there is no such service.
            SuiteError: none of its containers runs.
        """
        self._namespace(of, names)
        place = where_to_run(self._cluster, names, service)
        return self._cluster.execute(names.namespace, place.pod, place.container, words)

    # -- what they share ----------------------------------------------------------------------

    def _namespace(self, of: Owner, names: Names) -> Object | None:
        """Return the branch's namespace, or None.

        Raises:
            RefusedError: it is somebody else's.
        """
        found = self._cluster.get("Namespace", names.namespace)
        if found is None:
            return None
        said = owner_of(found)
        for name, value in asdict(of).items():
            if said.get(name) != value:
                what = f"its {name} is {said[name]!r}" if name in said else f"it has no {name}"
                raise RefusedError(
                    f"namespace {names.namespace} is not that of {of.branch}: {what}",
                    hint="nothing was touched; whoever made it has to remove it",
                )
        return found

    def _revisions(self, names: Names) -> Sequence[Revision]:
        return revisions(self._cluster, names.release, names.namespace)

    def _write(self, of: Owner, names: Names, record: Record) -> None:
        self._cluster.apply(namespace(of, names, record, _pipeline()))

    def _still_mine(self, names: Names) -> None:
        lock = self._locks.get(names.namespace)
        if lock:
            lock.check()

    def _policy(self) -> Policy:
        patience = self._own.patience
        return Policy(
            crashes=patience.crashes,
            grace=timedelta(seconds=patience.grace_seconds),
            deadline=timedelta(seconds=patience.deadline_seconds),
            stability=timedelta(seconds=patience.stability_seconds),
        )


def _pipeline() -> str:
    return os.environ.get("CI_PIPELINE_URL", "")

"""Deploys a branch to a cluster: namespace, secrets, database, release; and rolls back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.adapters.http import Response
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.kubernetes.stored_release import objects_of
from tasks.adapters.terminal.console import Activity
from tasks.adapters.wait import CLOCK
from tasks.core import door
from tasks.core.cost import Requests
from tasks.core.environment import Failure, Holder, Owner, Release, State
from tasks.core.errors import (
    ClusterError,
    CommandError,
    ConflictError,
    RevisionExistsError,
    SuiteError,
)
from tasks.core.foresight import Foresight
from tasks.core.kubernetes.failures import is_passing_refusal
from tasks.core.kubernetes.manifests import INSTANCE, SECRET
from tasks.core.kubernetes.objects import Object, is_being_deleted
from tasks.core.kubernetes.record import ClusterRecord, record_of
from tasks.core.kubernetes.requests import requests_of
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.points import Migrations, Point
from tasks.flows.data import Place
from tasks.flows.kubernetes.balancer import balancer
from tasks.flows.kubernetes.branch_secret import (
    door_password,
    make_secret,
    read_secret,
    secret_version,
)
from tasks.flows.kubernetes.capacity import check_capacity
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.data import ClusterData
from tasks.flows.kubernetes.database import run_database_job
from tasks.flows.kubernetes.diagnostics import save_diagnostics
from tasks.flows.kubernetes.foresee import foresee
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.planner import plan_deploy, with_uploads
from tasks.flows.kubernetes.provisioning import (
    hand_over,
    wait_for_database,
    wait_until_furnished,
)
from tasks.flows.kubernetes.quiesce import quiesce
from tasks.flows.kubernetes.releases import (
    delete_failed_pods,
    end_hooks,
    repair,
    revisions,
    roll_back_release,
)
from tasks.flows.kubernetes.replicas import keep_replicas
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tasks.flows.kubernetes.sleeper import wake_for_deploy
from tasks.flows.kubernetes.stored_manifests import check_records
from tasks.flows.kubernetes.takeover import check_takeover
from tasks.flows.kubernetes.upgrade import upgrade, wait_settled
from tasks.flows.kubernetes.values import chart, files, release_values
from tasks.flows.points import answer, find_migrations, restoring
from tasks.flows.target import ADMIN, Credentials, FindImages, Request, Say

AGAIN_SECONDS = 2.0
"""Pause before retrying a transiently refused upgrade, in seconds."""


class ClusterDeployer:
    """Creates and changes the environments of a cluster.

    Args:
        find_images: returns the mautic and the nginx image of a tag, by digest.
        uploads: what branches share of a seed's.
        base: returns, for a public image's reference, one by digest.
        access_points: returns how many access points a file system of EFS has; None elsewhere.
    """

    def __init__(
        self,
        context: ClusterContext,
        *,
        find_images: FindImages,
        uploads: ClusterSharedUploads,
        base: Callable[[str], str],
        access_points: Callable[[str], int] | None = None,
    ) -> None:
        self._context = context
        self._cluster = context.cluster
        self._helm = context.helm
        self._find_images = find_images
        self._uploads = uploads
        self._base = base
        self._access_points = access_points
        self._fits: dict[str, Step | None] = {}

    @property
    def smoke_seconds(self) -> float:
        """How long a site may still answer with an error after all pods are ready."""
        return self._context.own.patience.smoke_seconds

    # -- before -------------------------------------------------------------------------------

    def prepare(self, request: Request) -> None:
        """Create the branch's namespace, which has the lock, if it does not exist.

        Raises:
            SuiteError: nothing would be deployed to it; it was not made.
        """
        names = request.names
        found = self._context.namespace(request.owner, names)
        if found and is_being_deleted(found):
            where = names.namespace
            with self._context.work(f"wait for the end of namespace {where}") as activity:
                wait_gone(self._cluster, "Namespace", where, say=activity.say, patient=True)
            found = None
        if found is None:
            # What is refused leaves nothing behind. Under the lock it is planned again.
            plan = self.plan_deploy(request)
            record = ClusterRecord(
                State.DEPLOYING,
                names.url,
                data=plan.data.choice,
                shares=plan.data.shares,
                registry=plan.registry,
            )
            # Another run may be faster. The owner is checked again under the lock.
            with contextlib.suppress(ConflictError):
                self._cluster.create(self._context.branch_namespace(request.owner, names, record))

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the Lease of the branch's namespace."""
        return self._context.exclusive(names, me, warn)

    def plan_deploy(self, request: Request) -> ClusterPlan:
        """Return what a deploy would do; reads only.

        Raises:
            RefusedError: the namespace has another owner.
            InputError: the chart refuses its values.
            RefusedError: it does not fit into the cluster.
            UnfittingError: Helm would refuse to take over what is in an object's place.
            SuiteError: the cluster is not ready for it.
        """
        plan = self._plan(request, self._find_images)
        if not plan.steps:
            return plan
        rendered = objects_of(self._render(plan, plan.values))
        if plan.exists:
            check_takeover(self._cluster, plan, rendered)
        if request.must_fit and self._context.own.capacity.check:
            fit = self._fit(plan, rendered)
            plan = replace(plan, steps=(*filter(None, [fit]), *plan.steps))
        return plan

    def _plan(self, request: Request, find_images: FindImages) -> ClusterPlan:
        return plan_deploy(
            self._context,
            request,
            find_images=find_images,
            uploads=self._uploads,
            base=self._base,
        )

    def _with_uploads(self, plan: ClusterPlan) -> ClusterPlan:
        return with_uploads(self._context, plan, self._uploads)

    def _fit(self, plan: ClusterPlan, rendered: Sequence[Object]) -> Step | None:
        """Return that it fits, as asked once in a run: also before its namespace is made.

        Raises:
            RefusedError: it does not fit.
        """
        where = plan.request.names.namespace
        if where not in self._fits:
            self._fits[where] = check_capacity(
                self._context,
                plan.request.names,
                rendered,
                quiesces=plan.quiesces,
                access_points=self._access_points,
            )
        return self._fits[where]

    def foresee(self, plan: ClusterPlan) -> Foresight:
        """Return what carrying out a plan changes, and what that depends on; reads only."""
        rendered: list[Object] = []
        if plan.steps:
            # A key that is made changes the version.
            version = "new" if plan.seed else secret_version(self._cluster, plan.request.names)
            rendered = objects_of(self._render(plan, release_values(plan.values, version)))
        return foresee(self._context, plan, rendered)

    # -- deploying ----------------------------------------------------------------------------

    def begin(self, plan: ClusterPlan) -> None:
        """Record that a deploy has begun, and with what data a new environment begins."""
        owner, names = plan.request.owner, plan.request.names
        self._hand_over(plan)
        self._context.write_record(owner, names, plan.before(State.DEPLOYING))

    def apply(self, plan: ClusterPlan) -> None:
        """Carry out the plan.

        Raises:
            SuiteError: it failed; the message names the cause.
        """
        names, plan = plan.request.names, self._with_uploads(plan)
        # A run that was killed may have left its migration behind, whatever its release says.
        end_hooks(self._cluster, names.release, names.namespace)
        self._furnished(plan)
        self._repair(plan)
        self._make_database(plan, self._make_secret(plan, self._provisioned(plan)))
        try:
            self._release(plan)
        except RevisionExistsError:
            # This run holds the lock. So the revision was created by the Helm of a killed run in
            # its last moments, or by its own Helm, which repeated a request whose answer was lost.
            found = revisions(self._cluster, names.release, names.namespace)
            self._repair(replace(plan, history=tuple(found)))
            self._release(plan)

    def hold(self, owner: Owner, names: Names, say: Say) -> None:
        """Stop workers and crons, and wait until they are idle; the next deploy starts them."""
        self._context.namespace(owner, names)
        quiesce(self._cluster, names, say)

    def _render(self, plan: ClusterPlan, values: Mapping[str, Any]) -> str:
        """Return what the chart makes of values, after a check that it takes them."""
        names, root = plan.request.names, self._context.root
        return self._helm.render(
            names.release,
            names.namespace,
            chart(root),
            values,
            files=files(root, self._context.own.values),
        )

    def _release(self, plan: ClusterPlan) -> None:
        """Quiesce what must not run during a migration, and roll the release out."""
        names = plan.request.names
        self._context.check_lock(names)
        check_records(self._cluster, names.release, names.namespace)
        if plan.asleep:
            wake_for_deploy(self._cluster, names)
        if plan.quiesces:
            self._quiesce(names)
        self._context.check_lock(names)
        if plan.request.restore:
            self._restore(plan, plan.request.restore)
        if plan.autoscaled:
            keep_replicas(self._cluster, names.release, names.namespace)
        self._roll_out(plan)

    def _quiesce(self, names: Names) -> None:
        with self._context.work("quiesce workers and crons") as activity:
            quiesce(self._cluster, names, activity.say)

    def _restore(self, plan: ClusterPlan, point: Point) -> None:
        names = plan.request.names
        with self._context.work(f"restore {names.database}") as activity:
            plan.restoring.run(lambda: self.aside(plan, restoring(point), activity.line))
        self._context.check_lock(names)

    def _repair(self, plan: ClusterPlan) -> None:
        """Repair a release that a dead run left pending; only the lock's holder may do that."""
        names = plan.request.names
        if not (plan.history and plan.history[-1].is_pending):
            return
        check_records(self._cluster, names.release, names.namespace)
        with self._context.work(f"repair release {names.release}") as activity:
            activity.outcome = repair(
                self._cluster,
                self._helm,
                names.release,
                names.namespace,
                plan.history,
                worked=plan.record.revision if plan.record else 0,
                say=activity.say,
            )

    def _hand_over(self, plan: ClusterPlan) -> None:
        """Leave the password of an environment that was made by a Job to the provisioner."""
        names = plan.request.names
        if not plan.provisioned:
            return
        if found := self._context.namespace(plan.request.owner, names):
            known = read_secret(self._cluster, names, self._context.redactor)
            hand_over(self._context, names, found, known.get("db_password", ""))

    def _furnished(self, plan: ClusterPlan) -> None:
        """Wait for the floor that the platform's provisioner puts into the namespace."""
        if not plan.furnished:
            return
        with self._context.work(
            f"wait for the floor of {plan.request.names.namespace}"
        ) as activity:
            wait_until_furnished(self._context, plan.request.names, activity.say)

    def _provisioned(self, plan: ClusterPlan) -> dict[str, str]:
        """Wait for the database that the platform's provisioner makes; return its password."""
        names = plan.request.names
        if not plan.provisioned:
            return {}
        with self._context.work(f"wait for database {names.database}") as activity:
            password = wait_for_database(self._context, names, activity.say)
        self._context.redactor.add(password)
        return {"db_password": password}

    def _make_secret(self, plan: ClusterPlan, given: dict[str, str]) -> dict[str, str]:
        names, redactor = plan.request.names, self._context.redactor
        there = read_secret(self._cluster, names, redactor)
        if not plan.seed and given.items() <= there.items():
            return there
        with self._context.work("make secrets"):
            return make_secret(self._cluster, names, redactor, plan.seed, given)

    def _make_database(self, plan: ClusterPlan, passwords: dict[str, str]) -> None:
        names, server = plan.request.names, self._context.database_server
        if server is None or not plan.makes_database:
            return
        with self._context.work(f"create database {names.database}") as activity:
            run_database_job(
                self._cluster,
                names,
                server,
                verb="create",
                image=plan.release.mautic,
                wait_seconds=self._context.own.patience.grace_seconds,
                password=passwords["db_password"],
                say=activity.note,
            )

    def _roll_out(self, plan: ClusterPlan) -> None:
        """Upgrade the release; retry while the API refuses its objects for transient reasons."""
        names = plan.request.names
        deadline = CLOCK.monotonic() + self._context.own.patience.grace_seconds
        told: set[str] = set()

        def once(tell: Say, text: str, known: str = "") -> None:
            """Report each message once; a retry would repeat it."""
            if (known or text) not in told:
                told.add(known or text)
                tell(text)

        with self._context.work(f"roll out {names.release}") as activity, self._ends_hooks(names):
            say, line = partial(once, activity.say), partial(once, activity.line)
            attempt = Activity(say, line, activity.panel, note=partial(once, activity.note))
            while True:
                try:
                    self._upgrade(plan, attempt)
                except CommandError as error:
                    left = deadline - CLOCK.monotonic()
                    if left <= 0 or not is_passing_refusal(error.output or ""):
                        raise
                    again = f"trying again for {left:.0f} s: {error.message}"
                    once(activity.say, again, error.message)
                    CLOCK.sleep(AGAIN_SECONDS)
                    self._context.check_lock(names)
                else:
                    return

    def roll_out_again(self, request: Request, release: Release, values: Mapping[str, Any]) -> None:
        """Roll out a release that is deployed already, with other values; nothing is recorded.

        Args:
            request: asks for that release.
            values: values over those of a deploy.

        Raises:
            SuiteError: it failed; the message names the cause.
        """
        images = {"mautic": release.mautic, "nginx": release.nginx}
        plan = self._with_uploads(self._plan(request, lambda _: images))
        self._context.check_lock(request.names)
        check_records(self._cluster, request.names.release, request.names.namespace)
        # A run that was killed while it did this has left no other trace.
        self._repair(plan)
        self._roll_out(replace(plan, values={**plan.values, **values}))

    def _upgrade(self, plan: ClusterPlan, activity: Activity) -> None:
        names, root = plan.request.names, self._context.root
        version = secret_version(self._cluster, names)
        upgrade(
            self._cluster,
            self._helm,
            names,
            chart=chart(root),
            values=release_values(plan.values, version),
            files=files(root, self._context.own.values),
            policy=self._context.policy,
            timeout_seconds=self._context.own.patience.migration_seconds,
            activity=activity,
        )

    @contextlib.contextmanager
    def _ends_hooks(self, names: Names) -> Iterator[None]:
        """End the migration if the deploy is interrupted.

        After a failure the rollback ends it, when its log has been saved.
        """
        try:
            yield
        except SuiteError:
            raise
        except BaseException:
            # If this fails, the next deploy ends it.
            with contextlib.suppress(ClusterError):
                end_hooks(self._cluster, names.release, names.namespace)
            raise

    def finish(self, plan: ClusterPlan) -> Credentials | None:
        """Record the deployment; return the administrator after the first one."""
        names = plan.request.names
        if plan.shares:
            plan = self._with_uploads(plan)  # the same values as were rolled out
        self._context.check_lock(names)
        revision = revisions(self._cluster, names.release, names.namespace)[-1].number
        record = plan.before(State.READY).succeeded(
            plan.release, revision, plan.fingerprint, self._requests(names)
        )
        self._context.write_record(plan.request.owner, names, record)
        if not plan.is_first:
            return None
        secrets = read_secret(self._cluster, names, self._context.redactor)
        return Credentials(ADMIN, secrets["admin_password"], self.password_command(names))

    def password_command(self, names: Names) -> str:
        """Return the command that shows the administrator's password."""
        return (
            f"kubectl get secret {SECRET} --namespace {names.namespace} "
            "--output go-template='{{.data.admin_password | base64decode}}'"
        )

    def _requests(self, names: Names) -> Requests:
        """Return what the release requests, so that looking at all environments asks for none."""
        selector = f"{INSTANCE}={names.release}"
        workloads, claims = (
            [item for kind in kinds for item in self._cluster.find(kind, names.namespace, selector)]
            for kinds in (("Deployment", "StatefulSet"), ("PersistentVolumeClaim",))
        )
        return requests_of(workloads, claims)

    @property
    def has_door(self) -> bool:
        """Whether a login stands in front of its sites."""
        return self._context.own.has_door

    @property
    def login_host(self) -> str:
        """Where the load balancer sends strangers; empty where nginx asks for the password."""
        pool = self._context.own.door_oidc
        return pool.host if pool else ""

    def get(self, names: Names, path: str, *, stranger: bool = False) -> Response:
        """Ask the site for a path, through the API server's proxy: there may be no DNS yet.

        A stranger asks the load balancer where that one asks for the login: nginx would not.
        """
        if stranger and self.login_host:
            return balancer(self._cluster, names).get(path)
        password = "" if stranger else door_password(self._context, names)
        headers = {
            # The proxy keeps Authorization for itself.
            **door.headers(password),
            "Host": names.host,
            "X-Forwarded-Proto": self._context.own.scheme,
            "Accept": "*/*",
        }
        status, body = self._cluster.http(
            names.namespace, f"{names.release}-web", "http", path, headers
        )
        return Response(status, {}, body.decode(errors="replace"))

    # -- after a failure ----------------------------------------------------------------------

    def save_diagnostics(self, names: Names, folder: Path) -> None:
        """Write events, descriptions and logs into a folder, without secrets."""
        redactor = self._context.redactor
        read_secret(self._cluster, names, redactor)
        save_diagnostics(self._cluster, names.namespace, names.release, folder, redactor)

    def roll_back(
        self, plan: ClusterPlan, point: Point | None = None, failure: Failure | None = None
    ) -> str | None:
        """Roll back to the last working revision and to a snapshot, and wait for the pods.

        Raises:
            SuiteError: it does not come up either, or the data cannot be restored.
        """
        owner, names = plan.request.owner, plan.request.names
        found = self._context.namespace(owner, names)
        record = record_of(found) if found else None
        if record is None:
            return None
        self._context.check_lock(names)
        # Even if there is nothing to roll back to: the next deploy must not take this for working.
        record = record.with_failure(plan.release, failure)
        self._context.write_record(owner, names, record)
        end_hooks(self._cluster, names.release, names.namespace)
        if record.current is None or not record.revision:
            return None
        if point:
            self._quiesce(names)
            self._restore(plan, point)
        with self._context.work(f"roll back to {record.current.tag}") as activity:
            check_records(self._cluster, names.release, names.namespace)
            since = self._cluster.now()
            revision = roll_back_release(
                self._cluster, self._helm, names.release, names.namespace, record.revision
            )
            wait_settled(
                self._cluster,
                names.namespace,
                names.release,
                self._context.policy,
                activity,
                since=since,
                serving=True,
            )
            delete_failed_pods(self._cluster, names.release, names.namespace)
        # The release that worked runs again, under a new revision number.
        back = replace(record, state=State.ROLLED_BACK, revision=revision)
        self._context.write_record(owner, names, back)
        return record.current.tag

    def migrations(self, owner: Owner, names: Names) -> Migrations:
        """Return the migrations of the running code and of the database."""
        return find_migrations(self._place(owner, names))

    def aside(self, plan: ClusterPlan, words: Sequence[str], on_line: Say) -> str:
        """Run a program in the newest ready pod of web: of this release, or of the one before."""
        return answer(self._place(plan.request.owner, plan.request.names), words, on_line)

    def _place(self, owner: Owner, names: Names) -> Place:
        return Place(owner, names, ClusterData(self._context), self)

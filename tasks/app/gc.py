"""Puts together `inv gc`: the sweep of environments, and of the images that no rule keeps then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

from tasks.adapters.identity import this_checkout, this_run
from tasks.app import wiring
from tasks.app.paths import PROJECT
from tasks.app.session import Session
from tasks.core.environment import State
from tasks.core.errors import SuiteError
from tasks.core.images.reference import is_loopback
from tasks.core.images.retention import ImageUse, Policies
from tasks.core.names import Names
from tasks.core.setting_sleep import sleep_rule
from tasks.core.settings import Environment
from tasks.flows.cleanup import refuse_protected
from tasks.flows.gc import Sweeper, SweepPlan, find_sleeps, find_sweep, run_sweep
from tasks.flows.images_gc import ImageSources, ImageSweep, find_image_sweep, run_image_sweep
from tasks.flows.seeds import SharedSweep
from tasks.flows.sleep import run_due
from tasks.flows.target import Inspector
from tasks.flows.views import now

_NO_REMOTE = (
    "this clone has no remote: besides what has expired, only what was deployed from here goes, if "
    "its branch was never pushed and is deleted here"
)


class Sweep:
    """The removal of environments and images that nobody needs any more.

    Args:
        session: the run.
        env: what ``--env`` said.
        everybody: whether environments that other checkouts have deployed are removed, too.
        dry: start nothing, not even a registry.
        sleeps_only: only put to sleep what is due.

    Attributes:
        now: the time that expiries are compared with.

    Raises:
        RefusedError: the environment is protected.
    """

    def __init__(
        self,
        session: Session,
        env: str,
        *,
        everybody: bool,
        dry: bool,
        sleeps_only: bool = False,
    ) -> None:
        self._environment, self._own = session.environment(env)
        refuse_protected(self._environment, protected=self._own.protected)
        self.now = now()
        self._session = session
        self._dry = dry
        self._sleeps_only = sleeps_only
        self._target = wiring.target(session, self._environment)
        self._sweeper = Sweeper(
            session.git.repository(),
            this_checkout(PROJECT),
            everybody,
            timedelta(hours=self._own.gc.young_hours),
        )

    # -- environments -----------------------------------------------------------------------------

    def plan(self) -> SweepPlan:
        """Return which environments would be removed, or put to sleep. Reads only."""
        git, inspector = self._session.git, self._target.inspector
        name, rule = self._environment, sleep_rule(self._own.sleep_hours, self._own.idle)
        if self._sleeps_only:
            return find_sleeps(name, inspector, self._sweeper.repository, rule, self.now)
        if not git.has_remote():
            self._session.console.warn(_NO_REMOTE)
        return find_sweep(name, inspector, git, self._sweeper, rule=rule, now=self.now)

    def run(self, sweep: SweepPlan) -> SuiteError | None:
        """Put to sleep and remove environments; return the error if some could not be."""
        failed = self._sleep(sweep)
        try:
            run_sweep(
                sweep,
                self._target.remover,
                self._target.inspector,
                self._names_of,
                me=this_run("cleanup"),
                console=self._session.console,
                root=PROJECT,
            )
        except SuiteError as error:
            return error
        return failed

    def _sleep(self, sweep: SweepPlan) -> SuiteError | None:
        if not sweep.due:
            return None
        try:
            run_due(
                sweep.due,
                self._target.sleeper,
                self._names_of,
                me=this_run("sleep"),
                console=self._session.console,
                now=self.now,
            )
        except SuiteError as error:
            return error
        return None

    def _names_of(self, branch: str) -> Names:
        """Return the names that a branch's environment bears."""
        return wiring.settled(self._session, self._session.names_in(self._environment, branch))

    # -- images -----------------------------------------------------------------------------------

    def plan_images(self, sweep: SweepPlan) -> ImageSweep:
        """Return which images would be removed. Reads only.

        Args:
            sweep: of a dry run, the environments that would be removed before.
        """
        if self._sleeps_only or not self._target.remover.holds_images(dry=self._dry):
            return ImageSweep()
        if not (self._target.inspector.is_private or self._session.git.has_remote()):
            self._session.console.warn("images are kept: which branches use them is not known")
            return ImageSweep()
        without = going(sweep) if self._dry else lambda _: False
        return find_image_sweep(self._sources(), without=without, now=self.now)

    def run_images(self, sweep: ImageSweep) -> None:
        """Remove images; errors as for ``run_image_sweep``."""
        run_image_sweep(sweep, self._sources(), work=self._session.console.work, now=now)

    # -- uploads of seeds ---------------------------------------------------------------------

    def plan_uploads(self) -> SharedSweep:
        """Return which uploads of seeds would be removed. Reads only."""
        return SharedSweep(() if self._sleeps_only else tuple(self._target.uploads.unused()))

    def run_uploads(self, sweep: SharedSweep) -> None:
        """Remove uploads of seeds that branches shared."""
        if sweep.gone:
            with self._session.console.work("remove uploads of seeds") as activity:
                for id_ in sweep.gone:
                    self._target.uploads.remove(id_)
                activity.outcome = f"{len(sweep.gone)} removed"

    def _sources(self) -> ImageSources:
        sharing = self._sharing()
        policies = [own.gc.policies for own in sharing.values()]
        return ImageSources(
            registry=wiring.registry(self._session, self._environment),
            place=sharing[self._environment].registry.place,
            inspectors={name: self._inspector(name) for name in sharing},
            policies=Policies(
                max(each.young for each in policies),
                tuple(dict.fromkeys(policy for each in policies for policy in each.kept)),
            ),
            git=self._session.git,
            private=self._target.inspector.is_private,
            slugs_of=lambda branch: self._slugs_of(sharing, branch),
            local=self._target.images,
            unseen=unseen(sharing),
        )

    def _sharing(self) -> dict[str, Environment]:
        """Return the environments that have their images in the same place, this one included."""
        settings = self._session.settings_of(self._environment)
        own = settings.environment(self._environment)
        found = {self._environment: own}
        for name, other in settings.environments.items():
            # Where a stack publishes the registry, it is known by the stack.
            is_same_stack = not other.registry.url and other.stack == own.stack
            if is_same_stack or other.registry.place == own.registry.place:
                found[name] = other
        return found

    def _inspector(self, name: str) -> Callable[[], Inspector]:
        return lambda: wiring.target(self._session, name, dry=True).inspector

    def _slugs_of(self, sharing: Collection[str], branch: str) -> set[str]:
        return {slug for name in sharing for slug in self._session.names_in(name, branch).slugs}


def going(sweep: SweepPlan) -> Callable[[ImageUse], bool]:
    """Return whether an environment is one of those that a plan removes."""
    stale = {item.summary.namespace: item.summary for item in sweep.stale}

    def goes(use: ImageUse) -> bool:
        found = stale.get(use.where) if use.environment == sweep.environment else None
        # Nothing of one that cannot be read goes, but for one that is deleted as it is.
        return found is not None and (found.state is State.MISNAMED or not use.problem)

    return goes


def unseen(sharing: Mapping[str, Environment]) -> str:
    """Return what runs images of a registry and cannot be seen from here; empty if nothing."""
    for name, own in sharing.items():
        if own.target == "compose" and not is_loopback(own.registry.url.partition("/")[0]):
            return f"{name} of other machines, which {own.registry.url} is shared with"
    return ""

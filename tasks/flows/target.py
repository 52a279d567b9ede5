"""The ports of a target, where branches' environments run.

A target has seven ports: the deployer creates and changes environments, the remover removes them,
the adopter gives them to another repository, the sleeper puts them to sleep and wakes them, the
inspector only reads, the data port runs programs on what a branch has stored, the workshop shows a
working tree. Where branches share a database server, one more loads seeds into it; where images are
in a registry of this machine, one more knows its storage. A flow gets those that it uses.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tasks.adapters.terminal.console import Activity
from tasks.core import door
from tasks.core.cost import Requests
from tasks.core.environment import Failure, Holder, Owner, Record, Release, State
from tasks.core.environment_data import EMPTY, NOTHING, Check, Data, Resolve, seed_id
from tasks.core.errors import InputError, RefusedError, SuiteError
from tasks.core.foresight import Foresight, ObjectChange
from tasks.core.images.reference import place_of_image
from tasks.core.images.retention import ImageUse, names_in, registries_in
from tasks.core.images.seed_image import tag_of
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.settings import Environment
from tasks.core.sleep import Pinned, Rest, Sleep
from tasks.core.summary import EnvironmentSummary

if TYPE_CHECKING:
    from tasks.adapters.http import Response
    from tasks.core.points import Migrations, Point
    from tasks.core.server_snapshots import SnapshotOrder
    from tasks.flows.registry_port import LocalImages
    from tasks.flows.server_snapshots import ServerSnapshots

# -- deploying ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request to deploy a branch.

    Attributes:
        deployed_by: the user, user@host.
        tag: the images' tag; empty for a rollback to the release before the current one.
        commit: the tag's full commit, or empty if unknown.
        rollback: whether this goes back to a release that was deployed before.
        pinned: whether a release of another commit is refused, as by a protected environment.
        data: what a new environment's database begins with, or an empty string for the default.
        lifetime_hours: when it expires after a deploy; 0 for the environment's own ``ttl``.
        resolve: finds that data.
        check_data: asks whether there is such data.
        with_data: whether a rollback also goes back to the data from before the migrations.
        keep_data: whether a rollback leaves the data as it is, whatever has migrated it.
        restore: the snapshot that it puts in the place of the data, once that is found.
        server: takes snapshots of the whole server; None where none are taken.
        checkout: the checkout that deploys (``Release``).
        pushed: whether the branch was ever seen on the remote; None if that is unknown.
        must_fit: whether it is refused where the cluster has too little left for it.
    """

    names: Names
    repository: str
    deployed_by: str
    tag: str
    commit: str = ""
    rollback: bool = False
    pinned: bool = False
    data: str = ""
    lifetime_hours: int = 0
    resolve: Resolve = field(default=Data, compare=False)
    check_data: Check = field(default=Data, compare=False)
    with_data: bool = False
    keep_data: bool = False
    restore: Point | None = None
    server: ServerSnapshots | None = field(default=None, compare=False)
    checkout: str = ""
    pushed: bool | None = None
    must_fit: bool = False

    def snapshot(self, record: Record | None, release: Release) -> SnapshotOrder | None:
        """Return the snapshot of the server that has to be taken before a release, or None.

        Going back takes none: what the release had to migrate was migrated when it was deployed.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        current = record.current if record else None
        if self.server is None or current is None or current.mautic == release.mautic:
            return None
        if self.rollback and release.migration:
            return None
        return self.server.order(self.names, current, release)

    def require_uploads(self, data: Data) -> None:
        """Refuse what could not bring back the uploads that a branch shares, before it begins.

        Raises:
            InputError: its seed, or the seed's key, is not there.
        """
        try:
            self.resolve(data.choice)
        except SuiteError as error:
            raise InputError(
                f"the uploads of {data.choice} are gone here, and come from it: {error.message}",
                hint="bring back the seed or its key; or begin anew: inv cleanup "
                f"{self.names.options}",
            ) from error

    def expires_at(self, own: Environment, deployed_at: str) -> str:
        """Return when a deployment expires, or an empty string for never.

        Args:
            own: the environment's settings.
            deployed_at: ISO 8601, like the result.
        """
        if not self.lifetime_hours:
            return own.expires_at(deployed_at)
        return (
            datetime.fromisoformat(deployed_at) + timedelta(hours=self.lifetime_hours)
        ).isoformat()

    @property
    def owner(self) -> Owner:
        """The environment's owner."""
        return owner_of(self.names, self.repository)

    @property
    def title(self) -> str:
        """What is asked for: the branch, the environment, and the tag if one is named."""
        verb = "roll back" if self.rollback else "deploy"
        title = f"{verb} {self.names.branch} to {self.names.environment}"
        return f"{title} ({self.tag})" if self.tag else title

    def release(self, record: Record | None, find_images: FindImages) -> Release:
        """Return the requested release, with its images by digest, as deployed now.

        Args:
            record: the environment's record, or None.
            find_images: finds the images of a tag that is not in the record.

        Raises:
            InputError: there is nothing to roll back to.
            RefusedError: what it would roll back to is of another commit than is allowed.
            NoImageError: there are no images of the tag to deploy.
        """
        if self.rollback:
            release = self._earlier(record)
        else:
            images = find_images(self.tag)
            release = Release(self.tag, self.commit, images["mautic"], images["nginx"], "", "")
        if self.rollback and self.pinned and release.commit != self.commit:
            commit = release.commit or "COMMIT"
            raise RefusedError(
                f"{self.names.environment} is protected: {release.tag} was deployed from another "
                "commit than is checked out, and chart and values would be those of the latter",
                hint=f"git switch --detach {commit}, then: inv rollback {self.names.options} "
                f"--to {release.tag}",
            )
        deployed_at = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(
            release,
            owner=self.deployed_by,
            deployed_at=deployed_at,
            checkout=self.checkout,
            pushed=self.pushed,
        )

    def _earlier(self, record: Record | None) -> Release:
        """Return the recorded release that a rollback deploys.

        After a deploy that has not ended well, the last one that did is an earlier one.

        Raises:
            InputError: there is no such release, or none earlier, or it is the current one.
        """
        history = record.history if record else ()
        current = history[-1] if history else None
        if record and current and record.state in UNFINISHED and self.tag in {"", current.tag}:
            return current
        for release in reversed(history[:-1]):
            if release.tag == self.tag or (not self.tag and not release.same_images(history[-1])):
                return release
        if self.tag and current and current.tag == self.tag:
            raise InputError(
                f"{self.tag} is the current release of {self.names.branch}", hint=_deployed(record)
            )
        if self.tag:
            raise InputError(
                f"{self.names.branch} has no release {self.tag} to go back to",
                hint=f"{_deployed(record)}; images of another tag: inv deploy --tag {self.tag}",
            )
        raise InputError(
            f"there is no earlier release of {self.names.branch} to go back to",
            hint=_deployed(record),
        )


def _deployed(record: Record | None) -> str:
    """Return a hint that names the releases that there are."""
    tags = [release.tag for release in record.history] if record else []
    return f"deployed so far: {', '.join(tags) or 'nothing'}"


UNFINISHED = frozenset({State.DEPLOYING, State.FAILED})
"""The stored states of an environment whose last deploy has not ended well, nor was rolled back."""


def owner_of(names: Names, repository: str) -> Owner:
    """Return the owner of a branch's environment."""
    return Owner(names.environment, names.slug, names.branch, repository)


class FindImages(Protocol):
    """Finds the images of a tag."""

    def __call__(self, tag: str, /) -> Mapping[str, str]:
        """Return the mautic and the nginx image by digest; NoImageError if there are none."""


@dataclass
class Restoring:
    """How far a run is that puts a snapshot in the place of a branch's data."""

    has_begun: bool = False
    is_done: bool = False

    def run(self, program: Callable[[], object]) -> None:
        """Run what does it; a failure has changed nothing."""
        self.has_begun = True
        try:
            program()
        except SuiteError:
            self.has_begun = False
            raise
        self.is_done = True


@dataclass(frozen=True, kw_only=True)
class DeployPlan(ABC):
    """The plan of a deploy; each target adds its own fields.

    Attributes:
        release: the images, the user and the time.
        record: the previous record, or None.
        expires_at: when the environment expires, or an empty string.
        mail_url: where the mails are shown that the environment sends; empty if nowhere.
        data: what its database begins with, or has begun with.
        clones: whether the migration makes that, of a seed on the same server.
        snapshot: the snapshot of the whole server that is taken before; None if none is.
        restoring: how far carrying it out is with the data that it goes back to.
    """

    request: Request
    release: Release
    record: Record | None
    expires_at: str
    mail_url: str = ""
    data: Data = NOTHING
    clones: bool = False
    snapshot: SnapshotOrder | None = None
    restoring: Restoring = field(default_factory=Restoring, compare=False, repr=False)

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The steps in order; empty if nothing has to be done."""

    @property
    def title(self) -> str:
        """The plan's title."""
        title = replace(self.request, tag=self.release.tag).title
        return f"{title}, {self.kept}" if self.kept else title

    @property
    def kept(self) -> str:
        """That the environment has other data already than was asked for; empty if not."""
        there = self.data.choice
        if self.is_first or self.request.data in {"", there}:
            return ""
        return f"which keeps its data ({there})"

    @property
    def is_first(self) -> bool:
        """Whether nothing was ever deployed successfully."""
        return self.record is None or self.record.current is None

    @property
    def fills(self) -> bool:
        """Whether data is put in the place of the fresh installation that it begins as."""
        return self.is_first and not self.clones and self.data.choice != EMPTY

    @property
    def plants(self) -> bool:
        """Whether a seed is loaded into the server first, for the migration to clone it."""
        return self.is_first and self.clones

    @property
    def shares(self) -> bool:
        """Whether its seed's uploads are put where its branches share them, unless they are."""
        return self.is_first and self.data.shares

    @property
    def filling(self) -> tuple[Step, ...]:
        """The step in which a new environment gets its data; none if it stays as installed."""
        if not self.is_first or self.data.choice == EMPTY:
            return ()
        return (Step("fill", f"database {self.request.names.database}", self.data.title),)

    @property
    def sharing(self) -> tuple[Step, ...]:
        """The step in which its seed's uploads are put where its branches share them, if any."""
        if not self.shares:
            return ()
        return (Step("share", f"uploads of {self.data.choice}", "nobody can change them"),)

    @property
    def images(self) -> dict[str, str]:
        """The images, by digest."""
        return {"mautic": self.release.mautic, "nginx": self.release.nginx}

    @property
    def registry(self) -> str:
        """The place of the registry that they are in."""
        return place_of_image(self.release.mautic)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.request.names.branch,
            "url": self.request.names.url,
            "tag": self.release.tag,
            "commit": self.release.commit,
            "images": self.images,
            "data": self.data.choice,
            "steps": [asdict(step) for step in self.steps],
        }


P = TypeVar("P", bound=DeployPlan)


ADMIN = "admin"
"""The user name of the first administrator."""


@dataclass(frozen=True)
class Credentials:
    """The login of the first administrator.

    Attributes:
        password: generated, and shown only once.
        later: the command that shows the password again.
    """

    username: str
    password: str
    later: str


def new_secrets() -> dict[str, str]:
    """Return new secrets for one branch, by the names of the files they become."""
    return {
        "db_password": secrets.token_urlsafe(24),
        "db_root_password": secrets.token_urlsafe(24),
        "secret_key": secrets.token_hex(32),
        "admin_password": secrets.token_urlsafe(15),
        door.KEY: secrets.token_urlsafe(15),
    }


Say = Callable[[str], None]
"""Shows a message."""


class Exclusive(Protocol):
    """A target on which one run at a time may change a branch's environment."""

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the lock of a branch's environment.

        Raises:
            HeldError: another run holds it, or a newer deploy has superseded this one.
            VanishedError: the environment was removed while this run waited.
        """


class Deployer(Exclusive, Protocol[P]):
    """Creates and changes environments."""

    @property
    def smoke_seconds(self) -> float:
        """How long a site may still answer with an error after all services are healthy."""

    def prepare(self, request: Request) -> None:
        """Start or create what is needed before the lock can be taken and images be found."""

    def plan_deploy(self, request: Request) -> P:
        """Return what a deploy would do; reads only."""

    def foresee(self, plan: P) -> Foresight:
        """Return what carrying out a plan changes, and what that depends on; reads only.

        Raises:
            SuiteError: it cannot succeed: what is there would refuse an object.
        """

    def begin(self, plan: P) -> None:
        """Record that a deploy has begun, and with what data a new environment begins."""

    def apply(self, plan: P) -> None:
        """Carry out a plan that has begun; raise SuiteError with the cause in one line."""

    def hold(self, owner: Owner, names: Names, say: Say) -> None:
        """Stop workers and crons, and wait until they are idle; the next deploy starts them.

        Args:
            say: called with what is waited for.
        """

    def finish(self, plan: P) -> Credentials | None:
        """Record the deployment; return the administrator after the first one."""

    def password_command(self, names: Names) -> str:
        """Return the command that shows the administrator's password to whoever may see it."""

    @property
    def has_door(self) -> bool:
        """Whether a login stands in front of its sites."""

    @property
    def login_host(self) -> str:
        """Where a load balancer sends strangers for their login; empty for the door's password."""

    def get(self, names: Names, path: str, *, stranger: bool = False) -> Response:
        """Ask the branch's site for a path, as a visitor would.

        Args:
            stranger: without what opens the door.
        """

    def save_diagnostics(self, names: Names, folder: Path) -> None:
        """Write diagnostics of a failure into a folder, without secrets."""

    def roll_back(
        self, plan: P, point: Point | None = None, failure: Failure | None = None
    ) -> str | None:
        """Roll back to the last working release; return its tag, or None if there is none.

        Args:
            plan: what has failed.
            failure: that it has, and why, to be recorded.
            point: the snapshot that is put in the place of the data before, while workers and crons
                are held.

        Raises:
            SuiteError: it does not come up either, or the data cannot be restored.
        """

    def migrations(self, owner: Owner, names: Names) -> Migrations:
        """Return the migrations of the running code and of the database.

        Raises:
            SuiteError: the running code cannot be asked.
        """

    def aside(self, plan: P, words: Sequence[str], on_line: Say) -> str:
        """Run a program of the image on the database; return what it writes.

        Args:
            plan: what is about to be deployed, or has failed.
            words: the command.
            on_line: called with every line of its standard error.

        Raises:
            SuiteError: it failed; the message is its own.
        """


# -- removing -------------------------------------------------------------------------------------


class Removal(Protocol):
    """Removes one object."""

    def __call__(self, say: Say, /) -> object:
        """Remove it, and report what it waits for."""


def without_messages(action: Callable[[], object]) -> Removal:
    """Return a removal that reports nothing, because it does not wait."""

    def remove(_: Say, /) -> object:
        return action()

    return remove


@dataclass(frozen=True)
class RemovalPlan:
    """The plan of a clean-up.

    Attributes:
        todo: one step per object, each with its action.
        under_way: whether the removal goes on by itself already, so that no lock is needed.
    """

    title: str
    todo: tuple[tuple[Step, Removal], ...] = ()
    under_way: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per object."""
        return tuple(step for step, _ in self.todo)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "steps": [asdict(step) for step in self.steps]}


class Remover(Exclusive, Protocol):
    """Removes environments."""

    @property
    def parallel_removals(self) -> int:
        """How many environments may be removed in parallel."""

    def holds_images(self, *, dry: bool) -> bool:
        """Return True if there may be images in a registry; unless dry, start a local one."""

    def plan_removal(self, owner: Owner, names: Names) -> RemovalPlan:
        """Return the plan to remove everything of the branch; reads only.

        Raises:
            RefusedError: a part of it has another owner.
        """

    def remove_misnamed(self, found: EnvironmentSummary, say: Say) -> int:
        """Remove an environment that has not its branch's name; return the number of objects.

        Raises:
            RefusedError: it has another owner by now.
        """


# -- adopting -------------------------------------------------------------------------------------


class Adopter(Exclusive, Protocol):
    """Transfers environments to another repository."""

    def adopt(self, owner: Owner, names: Names, former: str) -> None:
        """Write an environment's new owner, while its lock is held.

        Args:
            owner: the new owner.
            names: the branch's names.
            former: the repository that owns it now.

        Raises:
            RefusedError: a part of it belongs to another repository.
        """


# -- sleeping -------------------------------------------------------------------------------------


SleepStep = tuple[Step, Callable[[Activity], object]]
"""A step and its action, which reports what it waits for."""


@dataclass(frozen=True)
class SleepPlan:
    """The plan of going to sleep, or of waking.

    Attributes:
        todo: one step per group of services, each with its action.
    """

    title: str
    todo: tuple[SleepStep, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order; empty if nothing has to be done."""
        return tuple(step for step, _ in self.todo)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "steps": [asdict(step) for step in self.steps]}


class Sleeper(Exclusive, Protocol):
    """Puts environments to sleep and wakes them; nothing that they have stored is touched."""

    @property
    def parallel_sleeps(self) -> int:
        """How many environments may be put to sleep in parallel."""

    def rest(self, owner: Owner, names: Names) -> Rest | None:
        """Return what is stored of an environment's sleep; None if nothing was ever deployed."""

    def plan_sleep(self, owner: Owner, names: Names, sleep: Sleep) -> SleepPlan:
        """Return what has to be stopped: crons and workers, then web, then what these use.

        Args:
            sleep: what the environment says from then on.
        """

    def plan_wake(self, owner: Owner, names: Names, used_at: str) -> SleepPlan:
        """Return what has to be started, in the other order.

        Of an environment that was not put to sleep, only what it shares with others.

        Args:
            used_at: the present time.
        """

    def pin(self, owner: Owner, names: Names, pin: Pinned | None) -> None:
        """Store that an environment is pinned, or that it is not."""

    def note_use(self, owner: Owner, names: Names, used_at: str) -> None:
        """Store when somebody used an environment last; this needs no lock."""


# -- a working tree -------------------------------------------------------------------------------


class Workshop(Exclusive, Protocol):
    """Opens environments for the files of a working tree, and closes them again."""

    def is_open(self, owner: Owner, names: Names) -> bool:
        """Return True if an environment shows a working tree, also one that a killed run left."""

    def open(self, owner: Owner, names: Names, *, debugger: bool) -> None:
        """Start the services with places that can be written; the next deploy would undo it.

        Args:
            debugger: whether PHP runs with Xdebug.

        Raises:
            SuiteError: they do not come up.
        """

    def hashes(self, owner: Owner, names: Names) -> Mapping[str, str]:
        """Return the key of each file and link there, by its path in Mautic's project.

        It is the one of ``key_of`` in core/working_tree.py.
        """

    def write(self, owner: Owner, names: Names, files: bytes, gone: Sequence[str]) -> None:
        """Write files, as a tar archive has them, and remove others."""

    def warm_up(self, owner: Owner, names: Names) -> None:
        """Have the first ``compile`` take no longer than later ones.

        Raises:
            SuiteError: a container cannot be reached.
        """

    def compile(self, owner: Owner, names: Names, *, routes: bool) -> None:
        """Compile the cache of what serves pages beside the one in use, which it then replaces.

        Args:
            routes: whether routes may have changed; otherwise those in use are taken along.

        Raises:
            SuiteError: it cannot be compiled; the one in use stays, beside the files as they are.
        """

    def follow(self, owner: Owner, names: Names, go_on: Callable[[], bool]) -> bool:
        """Do the same for all other services; return False if that was left half done.

        Args:
            go_on: returns whether to go on, or whether something newer is waited for.

        Raises:
            SuiteError: as above.
        """

    def install(self, owner: Owner, names: Names) -> None:
        """Let Mautic look for new and updated plugins."""

    def restart(self, owner: Owner, names: Names, services: Sequence[str]) -> None:
        """Have services start anew, each when it has finished what it is doing."""

    def close(self, owner: Owner, names: Names) -> None:
        """Go back to what was deployed; nothing that was written stays."""


# -- reading --------------------------------------------------------------------------------------


def recorded_use(
    use: ImageUse, record: Record | None, *, held: bool, more: Iterable[str] = ()
) -> ImageUse:
    """Return what an environment names of images, with what its record names.

    Args:
        use: what its services name.
        record: its record, or None.
        held: whether a run holds its lock.
        more: further images that it names.
    """
    history = record.history if record else ()
    images = [image for release in history for image in (release.mautic, release.nginx)]
    images += more
    noted = {record.registry} if record and record.registry else set()
    shared = {tag_of(seed_id(record.data))} if record and record.shares else set()
    return replace(
        use,
        registries=use.registries | registries_in(images) | noted,
        shares=frozenset(shared),
        releases=names_in(images),
        tags=frozenset(release.tag for release in history),
        # What an interrupted deploy was about to run is named by nothing yet.
        busy=held or (record is not None and record.state is State.DEPLOYING),
    )


@dataclass(frozen=True)
class ServiceStatus:
    """One service of an environment, as `inv status` shows it.

    Attributes:
        state: the state in terms of the engine or the cluster.
        health: an empty string without a health check.
        image: by digest; an empty string for a scheduled command.
        tag: the tag that the image was deployed as, or an empty string.
        uptime: how long it has been in this state, as text.
    """

    service: str
    state: str
    health: str
    image: str
    tag: str
    uptime: str

    @property
    def told(self) -> str:
        """Its state and health in a few words."""
        return f"{self.state} ({self.health})" if self.health else self.state

    @property
    def is_down(self) -> bool:
        """Whether it is not ready, though its environment is awake.

        A workload of a cluster that has no pods is down only if it is web: as many as one may
        wish have the others.
        """
        if self.state == "stopped":
            return self.service == "web"
        return self.state in _DOWN or self.health == "unhealthy"


_DOWN = frozenset({"starting", "created", "dead", "exited", "paused", "removing", "restarting"})
"""The first is what a cluster's workload is until its pods are ready; the others are the engine's
(https://docs.docker.com/reference/cli/docker/container/ls/#status)."""


class Inspector(Protocol):
    """Lists and inspects environments, and runs commands in them."""

    @property
    def is_private(self) -> bool:
        """Whether environments are only on this machine, so that branches may be unpushed."""

    def list(self, repository: str = "") -> Sequence[EnvironmentSummary]:
        """Return all environments that have their branch's name.

        Args:
            repository: add those of this repository that have not; empty for none.
        """

    def usage(self) -> Mapping[str, Requests] | None:
        """Return what runs uses, by namespace; None where nobody measures it."""

    def image_uses(self) -> Sequence[ImageUse]:
        """Return what every environment there is names of images, whosever it is.

        One that cannot be read is told with its problem.
        """

    def find_names(self, candidates: Sequence[Names]) -> Names:
        """Return those of a branch's names that its environment bears, or the first.

        Args:
            candidates: the branch's names in all styles, the present one first.
        """

    def status(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the services of one environment; empty if it does not exist."""

    def scheduled(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the scheduled commands of one environment; its scheduler is asked for them."""

    def drift(self, owner: Owner, names: Names) -> Sequence[ObjectChange] | None:
        """Return what differs, from what was deployed to what is there.

        Returns:
            Nothing where nothing does; None if nothing was ever deployed.
        """

    def record(self, owner: Owner, names: Names) -> Record | None:
        """Return what is stored of one environment, or None if there is nothing."""

    def door_password(self, names: Names) -> str:
        """Return the password of an environment's door; empty if it has none."""

    def logs(
        self,
        owner: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int | None,
        since_seconds: int,
    ) -> None:
        """Pass on the logs of services, without secrets.

        Args:
            owner: the owner that the environment must have.
            names: the branch's names.
            on_line: called with each line.
            service: only this one, or an empty string for all.
            follow: go on until interrupted.
            tail: number of lines to start with, per service; None for all.
            since_seconds: how old a line may be; 0 for any age.

        Raises:
            InputError: there is no such service.
        """

    def check_service(self, owner: Owner, names: Names, service: str) -> None:
        """Check that an environment has a service, also where it sleeps.

        Raises:
            InputError: there is no such service.
        """

    def execute(self, owner: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a service on this process's own terminal; return its exit status.

        Args:
            owner: the owner that the environment must have.
            names: the branch's names.
            words: the command.
            service: the service, or an empty string for the PHP container.

        Raises:
            InputError: there is no such service.
        """


# -- data -----------------------------------------------------------------------------------------


HOLDING = ("env", "MAUTIC_STDIN_HELD=1")
"""Tells a program of the image that its standard input is held open until it has ended.

So it ends itself, before it changes anything, where this run is interrupted or killed.
"""


@dataclass(frozen=True)
class Loan:
    """How other branches' containers read a branch's database, for as long as it is lent."""

    database: str
    user: str
    password: str = field(repr=False)


class DataPort(Protocol):
    """Runs the image's programs on a branch's data, inside its environment."""

    @property
    def lends(self) -> bool:
        """Whether other branches' containers reach the server of the database."""

    def pipe(
        self,
        owner: Owner,
        names: Names,
        words: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        """Run a command in the PHP container; return its exit status.

        Args:
            owner: the owner that the environment must have.
            names: the branch's names.
            words: the command.
            source: its standard input, which is then held open (``HOLDING``).
            take: called with what it writes to its standard output, part by part.
            on_line: called with every line of its standard error.

        Raises:
            SuiteError: no PHP container runs, or the connection broke off.
            Interrupted: this run was interrupted; the command was let go, and waited for.
        """

    def admin_password(self, names: Names) -> str:
        """Return the password of the first administrator, and mask it from now on."""

    def begun_with(self, owner: Owner, names: Names) -> str:
        """Return the choice (``environment_data``) that a branch's data began with."""

    def lend(self, names: Names, say: Say) -> AbstractContextManager[Loan | None]:
        """Let other branches' containers read a branch's database while the context lasts.

        Args:
            names: the branch's names.
            say: told what is waited for, and why it cannot be lent.

        Returns:
            A context with how it is read; with None where it cannot be.
        """

    def admit(
        self, names: Names, other: Names, port: int, say: Say
    ) -> AbstractContextManager[None]:
        """Let another branch's PHP container reach a branch's while the context lasts.

        Args:
            names: the names of the branch that is reached.
            other: those of the one that reaches it, in the same environment.
            port: where.
            say: told what could not be closed again.

        Raises:
            RefusedError: whoever runs this may not let it.
        """


class SeedServer(Protocol):
    """A database server with the seeds that its branches' databases are cloned from."""

    def plant(self, source: Iterable[bytes], on_line: Callable[[str], None]) -> int:
        """Load a seed, unless it is there; return the exit status of what does it.

        Args:
            source: a line of JSON with the seed's id, key and bytes, then the seed, sealed.
            on_line: called with every line that is said.

        Raises:
            SuiteError: nothing there loads seeds, or the connection broke off.
        """


class SharedUploads(Protocol):
    """Where the branches of a seed read its uploads, which none of them can change."""

    def fill(
        self, id_: str, image: str, source: Iterable[bytes], on_line: Callable[[str], None]
    ) -> int:
        """Put a seed's uploads there, unless they are; return the exit status of what does it.

        Args:
            id_: the seed's.
            image: a mautic image.
            source: a line of JSON with key, bytes and checksum, then the uploads, sealed.
            on_line: called with every line that is said.

        Raises:
            SuiteError: the program could not be run.
        """

    def unused(self) -> list[str]:
        """Return the ids of the seeds that no branch reads any more."""

    def remove(self, id_: str) -> None:
        """Remove what is there of a seed, unless a branch has come to read it."""


class Target(Protocol[P]):
    """Where the branches of one environment of invoke.yaml run."""

    @property
    def deployer(self) -> Deployer[P]:
        """What creates and changes environments."""

    @property
    def remover(self) -> Remover:
        """What removes them."""

    @property
    def adopter(self) -> Adopter:
        """What gives them to another repository."""

    @property
    def inspector(self) -> Inspector:
        """What only reads."""

    @property
    def data(self) -> DataPort:
        """What runs programs on stored data."""

    @property
    def sleeper(self) -> Sleeper:
        """What puts them to sleep and wakes them."""

    @property
    def workshop(self) -> Workshop:
        """What shows a working tree in them."""

    @property
    def seeds(self) -> SeedServer | None:
        """What loads seeds, where branches share a server."""

    @property
    def uploads(self) -> SharedUploads:
        """What branches share of a seed's uploads."""

    @property
    def images(self) -> LocalImages | None:
        """This machine's images, where the registry is its own."""

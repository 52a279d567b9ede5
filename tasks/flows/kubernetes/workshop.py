"""Shows a working tree's files in a cluster: in volumes of each pod, into which they are written.

The chart makes them (`dev`). A pod that is new gets all that was written so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

from tasks.adapters.kubernetes.exec import HELD
from tasks.adapters.parallel import map_parallel
from tasks.core.environment import Holder, Owner, Release
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.objects import (
    Object,
    container_statuses,
    is_being_deleted,
    is_running,
    uid_of,
)
from tasks.core.kubernetes.record import ClusterRecord, record_of
from tasks.core.names import Names
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.deployer import ClusterDeployer
from tasks.flows.kubernetes.releases import roll_back_release
from tasks.flows.kubernetes.services import PHP, WEB, selector, service_of
from tasks.flows.kubernetes.stored_manifests import check_records
from tasks.flows.kubernetes.upgrade import wait_settled
from tasks.flows.target import Request, Say
from tasks.flows.views import absent_error
from tasks.flows.workshop_words import (
    INSTALL,
    LIST,
    REMOVE,
    RESTART_ALL,
    UNPACK,
    WARM_UP,
    compiling,
    listed,
)

VOLUME = "dev-config"
"""A volume of all pods that show a tree (helm/mautic/templates/_pods.tpl)."""


@dataclass(frozen=True)
class ShowingPod:
    """A pod that shows a tree, and its container with Mautic.

    Attributes:
        service: e.g. ``worker-email``.
    """

    uid: str
    name: str
    container: str
    service: str


@dataclass
class ClusterWorkshop:
    """Opens environments of a cluster for a working tree; errors as for ``Workshop``.

    Args:
        deployer: rolls the release out.

    Attributes:
        written: what was written so far, in order: archives, and what was removed before each.
        filled: the pods that have all of it, by uid.
        routings: how often routes may have changed.
        routed: how many of these changes are in a pod's compiled routes, by uid; those of the image
            have none.
    """

    context: ClusterContext
    deployer: ClusterDeployer
    written: list[tuple[bytes, tuple[str, ...]]] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)
    routings: int = 0
    routed: dict[str, int] = field(default_factory=dict)

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the Lease of the branch's namespace."""
        return self.context.exclusive(names, me, warn)

    def is_open(self, owner: Owner, names: Names) -> bool:
        """Return True if a Deployment is there whose pods show a tree."""
        self.context.namespace(owner, names)
        found = self.context.cluster.find("Deployment", names.namespace, selector(names))
        return any(_shows(item["spec"]["template"]["spec"]) for item in found)

    def open(self, owner: Owner, names: Names, *, debugger: bool) -> None:
        """Roll the release out with volumes for what is shown; a debugger is out of its reach."""
        _, release = self._deployed(owner, names)
        request = Request(names, owner.repository, release.owner, release.tag, release.commit)
        self.deployer.roll_out_again(request, release, {"dev": True})

    def hashes(self, owner: Owner, names: Names) -> Mapping[str, str]:
        """Return what lies in the volumes of one pod of web."""
        said = self._ask(names, self._webs(names)[0], LIST, "the files could not be listed")
        return listed(said)

    def write(self, owner: Owner, names: Names, files: bytes, gone: Sequence[str]) -> None:
        """Write into each pod's volumes."""
        self.written.append((files, tuple(gone)))
        map_parallel(partial(self._fill, names), self._pods(names))

    def _fill(self, names: Names, pod: ShowingPod) -> None:
        for files, gone in self.written[-1:] if pod.uid in self.filled else self.written:
            if gone:
                self._feed(names, pod, REMOVE, "".join(f"{place}\0" for place in gone).encode())
            self._feed(names, pod, UNPACK, files)
        self.filled.add(pod.uid)

    def _feed(self, names: Names, pod: ShowingPod, words: Sequence[str], data: bytes) -> None:
        said: list[str] = []
        status = self.context.cluster.pipe(
            *(names.namespace, pod.name, pod.container),
            (*HELD, *words, str(len(data))),
            source=[data],
            take=lambda _: None,
            on_line=said.append,
        )
        if status:
            # All of it is written again with the next change.
            self.filled.discard(pod.uid)
            raise SuiteError("the files could not be written", output="\n".join(said))

    def warm_up(self, owner: Owner, names: Names) -> None:
        """Keep PHP's code compiled in the pods of web."""
        failed = "the release's code could not be read beforehand"
        map_parallel(lambda pod: self._ask(names, pod, WARM_UP, failed), self._webs(names))

    def compile(self, owner: Owner, names: Names, *, routes: bool) -> None:
        """Run cache:clear in the pods of web, which compiles beside and then swaps."""
        self.routings += routes
        map_parallel(partial(self._compile, names), self._webs(names))

    def follow(self, owner: Owner, names: Names, go_on: Callable[[], bool]) -> bool:
        """Run cache:clear in all other pods, one after the other.

        All at once would share a node's processors, and who looks at a page would wait for all.
        """
        for pod in self._pods(names, web=False):
            if not go_on():
                return False
            self._compile(names, pod)
        return True

    def _compile(self, names: Names, pod: ShowingPod) -> None:
        routings = self.routings
        words = compiling(routes=self.routed.get(pod.uid, 0) < routings)
        self._ask(names, pod, words, "the cache cannot be compiled")
        if pod.uid in self.filled:
            # Another one has compiled its image's files, and gets the tree's with the next change.
            self.routed[pod.uid] = routings

    def install(self, owner: Owner, names: Names) -> None:
        """Run mautic:plugins:reload in a pod of web."""
        self._ask(names, self._webs(names)[0], INSTALL, "the plugins could not be installed")

    def restart(self, owner: Owner, names: Names, services: Sequence[str]) -> None:
        """Ask what runs in the pods to end; they start it again."""
        for pod in self._pods(names):
            if pod.service.partition("-")[0] in services:
                self._ask(names, pod, RESTART_ALL, f"{pod.service} was not started anew")

    def close(self, owner: Owner, names: Names) -> None:
        """Roll back to the revision that was deployed."""
        record, release = self._deployed(owner, names)
        context = self.context
        with context.work(f"go back to {release.tag}") as activity:
            context.check_lock(names)
            check_records(context.cluster, names.release, names.namespace)
            since = context.cluster.now()
            revision = roll_back_release(
                *(context.cluster, context.helm, names.release, names.namespace),
                record.revision,
            )
            context.write_record(owner, names, replace(record, revision=revision))
            wait_settled(
                *(context.cluster, names.namespace, names.release, context.policy, activity),
                since=since,
                serving=True,
            )

    def _deployed(self, owner: Owner, names: Names) -> tuple[ClusterRecord, Release]:
        found = self.context.namespace(owner, names)
        record = record_of(found) if found else None
        if record is None or record.current is None or not record.revision:
            raise absent_error(names)
        return record, record.current

    def _pods(self, names: Names, *, web: bool | None = None) -> list[ShowingPod]:
        """Return the pods that show the tree: all, those of web, or the others."""
        found = self.context.cluster.find("Pod", names.namespace, selector(names))
        pods = [pod for item in found if (pod := _showing(item))]
        return [pod for pod in pods if web in {None, pod.service == WEB}]

    def _webs(self, names: Names) -> list[ShowingPod]:
        if pods := self._pods(names, web=True):
            return pods
        raise SuiteError(
            f"no container {PHP} of {names.branch} is running",
            hint=f"look at it: inv status {names.options}",
        )

    def _ask(self, names: Names, pod: ShowingPod, words: Sequence[str], failed: str) -> str:
        """Run a command in a pod; return what it writes.

        Raises:
            SuiteError: it failed.
        """
        status, said = self.context.cluster.output(names.namespace, pod.name, pod.container, words)
        text = self.context.redactor(said.decode(errors="replace"))
        if status:
            raise SuiteError(failed, output=text)
        return text


def _shows(spec: Object) -> bool:
    return any(volume["name"] == VOLUME for volume in spec.get("volumes") or ())


def _showing(pod: Object) -> ShowingPod | None:
    """Return a pod if it shows a tree and its container with Mautic runs, or None."""
    if is_being_deleted(pod) or not _shows(pod["spec"]):
        return None
    running = {item["name"] for item in container_statuses(pod) if is_running(item)}
    for container in pod["spec"]["containers"]:
        mounts = {mount["name"] for mount in container.get("volumeMounts") or ()}
        if VOLUME in mounts and container["name"] in running:
            meta = pod["metadata"]
            return ShowingPod(uid_of(pod), meta["name"], container["name"], service_of(meta))
    return None

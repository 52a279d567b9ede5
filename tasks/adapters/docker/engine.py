"""The Docker Engine: its containers, volumes, networks and images, and what Compose cannot do."""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from tasks.adapters.docker.api import EngineApi
from tasks.adapters.docker.connection import connect, engine_errors, engine_socket, refused
from tasks.core.compose.reconcile import ObservedContainer
from tasks.core.compose.stages import ONE_OFF, PROJECT, SERVICE
from tasks.core.errors import EngineError, RegistryError

if TYPE_CHECKING:
    from docker import APIClient

QUICK_SECONDS = 30
"""Timeout of every request that transfers no image."""

LONG_SECONDS = 900
"""How long the transfer of an image may make no progress."""


_HEALTH = re.compile(r" \((?:health: )?(healthy|unhealthy|starting)\)$")
"""How the text of a container's status ends."""


@dataclass(frozen=True)
class Container:
    """A container as the engine lists it.

    Attributes:
        image: the image reference it was made from.
        state: ``created``, ``running``, ``restarting``, ``exited``, ``paused`` or ``dead``.
        status: the engine's text, e.g. ``Up 3 minutes (healthy)``.
        ports: published ports as pairs of host address and port.
        networks: ids of the networks that it is in, or will be in once it is started.
    """

    id: str
    name: str
    image: str
    state: str
    status: str
    labels: Mapping[str, str]
    ports: tuple[tuple[str, int], ...] = ()
    networks: frozenset[str] = frozenset()

    @property
    def project(self) -> str:
        """The Compose project it belongs to, or an empty string."""
        return self.labels.get(PROJECT, "")

    @property
    def service(self) -> str:
        """The Compose service that it runs, or an empty string."""
        return self.labels.get(SERVICE, "")

    @property
    def one_off(self) -> bool:
        """Whether ``docker compose run`` made it."""
        return self.labels.get(ONE_OFF) == "True"

    @property
    def health(self) -> str:
        """``healthy``, ``unhealthy``, ``starting``, or empty without a health check."""
        found = _HEALTH.search(self.status)
        return found[1] if found else ""

    @property
    def uptime(self) -> str:
        """The engine's text without the health."""
        return _HEALTH.sub("", self.status)


@dataclass(frozen=True)
class Image:
    """An image in the engine.

    Attributes:
        id: the digest of its configuration.
        digests: what registries call it, as ``name@digest``; none for one made on this machine.
    """

    id: str
    digests: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class ListedImage:
    """An image as the engine lists it.

    Attributes:
        id: the digest of its configuration.
        names: its tags and what registries call it, as ``name:tag`` and ``name@digest``.
        size: bytes, those included that it shares with other images.
    """

    id: str
    names: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class DockerObject:
    """A volume or a network."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    @property
    def project(self) -> str:
        """The Compose project it belongs to, or an empty string."""
        return self.labels.get(PROJECT, "")


class Engine:
    """A client of the engine that the ``docker`` command uses."""

    # -- reading ------------------------------------------------------------------------------

    @cached_property
    def platform(self) -> str:
        """Its own platform, e.g. ``linux/amd64``.

        Raises:
            EngineError: the engine cannot be reached, or failed.
        """
        found = self._api.read("asking for its platform", "/version")
        return f"{found['Os']}/{found['Arch']}"

    def containers(self, label: str) -> list[Container]:
        """Return the containers, stopped ones too, that carry a label.

        Args:
            label: ``key`` or ``key=value``.

        Raises:
            EngineError: the engine cannot be reached, or failed.
        """
        query = {"all": 1, "filters": {"label": [label]}}
        found = self._api.read("listing containers", "/containers/json", query)
        return [_container(item) for item in found]

    def publishing(self, port: int) -> list[Container]:
        """Return the running containers that publish a port of this machine."""
        query = {"filters": {"publish": [str(port)]}}
        found = self._api.read("listing containers", "/containers/json", query)
        return [_container(item) for item in found]

    def volumes(self, label: str | None = None) -> list[DockerObject]:
        """Return the volumes, all or those that carry a label."""
        query = {"filters": {"label": [label]}} if label else {}
        found = self._api.read("listing volumes", "/volumes", query)["Volumes"] or []
        return [DockerObject(item["Name"], item["Labels"] or {}) for item in found]

    def networks(self) -> list[DockerObject]:
        """Return the networks."""
        found = self._api.read("listing networks", "/networks")
        return [DockerObject(item["Name"], item["Labels"] or {}, item["Id"]) for item in found]

    def observe(self, container: str) -> ObservedContainer | None:
        """Return the state of a container, or None when it is gone.

        Args:
            container: id or name.
        """
        found = self.inspect(container)
        if found is None:
            return None
        state = found["State"]
        health = state.get("Health") or {}
        last = (health.get("Log") or [{}])[-1]
        return ObservedContainer(
            id=found["Id"],
            name=found["Name"].lstrip("/"),
            service=(found["Config"]["Labels"] or {}).get(SERVICE, ""),
            state=state["Status"],
            exit_status=state["ExitCode"],
            error=state["Error"] or ("out of memory" if state["OOMKilled"] else ""),
            restarts=found["RestartCount"],
            started_at=state["StartedAt"],
            health=health.get("Status", ""),
            health_output=str(last.get("Output", "")).strip(),
        )

    def inspect(self, container: str) -> dict[str, Any] | None:
        """Return what the engine knows about a container, or None when it is gone."""
        path = f"/containers/{_quoted(container)}/json"
        found: dict[str, Any] | None = self._api.find(f"inspecting container {container}", path)
        return found

    def logs(self, container: str, tail: int | None = None) -> str:
        """Return a container's log, stdout and stderr together; empty when it is gone.

        Args:
            container: id or name.
            tail: number of last lines; None for all.
        """
        from docker.errors import NotFound

        lines: Literal["all"] | int = "all" if tail is None else tail
        with engine_errors(f"reading the logs of {container}"), contextlib.suppress(NotFound):
            raw: bytes = self._library.logs(container, timestamps=False, tail=lines)
            return raw.decode(errors="replace")
        return ""

    @property
    def socket(self) -> str:
        """The path of its socket on this machine; EngineError if it is elsewhere."""
        return engine_socket()

    # -- changes ------------------------------------------------------------------------------

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Create a volume; an existing one of that name is left unchanged."""
        body = {"Name": name, "Labels": dict(labels)}
        self._api.ask(f"creating volume {name}", "/volumes/create", method="POST", body=body)

    def read_folder(self, container: str, path: str) -> dict[str, str]:
        """Return the files of a folder in a container, content by name.

        Args:
            container: id or name; it need not run.
            path: the folder.
        """
        files: dict[str, str] = {}
        with engine_errors(f"reading {path} of {container}"):
            stream, _ = self._library.get_archive(container, f"{path}/.")
            with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
                for entry in tar.getmembers():
                    content = tar.extractfile(entry)
                    if content is not None:
                        files[entry.name.rpartition("/")[2]] = content.read().decode()
        return files

    def wait(self, container: str, deadline_seconds: int) -> None:
        """Wait until a container has exited or is gone.

        Raises:
            EngineError: it still ran at the deadline.
        """
        from docker.errors import NotFound

        with engine_errors(f"waiting for {container}"), contextlib.suppress(NotFound):
            self._library.wait(container, timeout=deadline_seconds)

    def remove_container(self, container: str) -> None:
        """Remove a container with its anonymous volumes; do nothing if it is gone."""
        what = f"removing container {container}"
        path, query = f"/containers/{_quoted(container)}", {"force": "true", "v": "true"}
        answer = self._api.ask(what, path, query, method="DELETE", accept=(404, 409))
        # 409: somebody else is removing it at this very moment.
        if answer.status == 409 and "already in progress" not in answer.reason:
            raise refused(what, answer.reason)

    def remove_volume(self, name: str) -> None:
        """Remove a volume; do nothing if it is gone."""
        self._api.remove(f"removing volume {name}", f"/volumes/{_quoted(name)}")

    def remove_unused_volume(self, name: str) -> None:
        """Remove a volume; do nothing if it is gone, or a container has it mounted."""
        what, path = f"removing volume {name}", f"/volumes/{_quoted(name)}"
        self._api.ask(what, path, method="DELETE", accept=(404, 409))

    def remove_network(self, name: str) -> None:
        """Remove a network; do nothing if it is gone."""
        self._api.remove(f"removing network {name}", f"/networks/{_quoted(name)}")

    # -- images ---------------------------------------------------------------------------------

    def image(self, reference: str) -> Image | None:
        """Return the engine's copy of an image, or None.

        Raises:
            EngineError: the engine cannot be reached, or failed.
        """
        found = self._inspect_image(reference)
        if found is None:
            return None
        labels = found["Config"].get("Labels") or {}
        return Image(found["Id"], tuple(found["RepoDigests"] or ()), labels)

    def images(self) -> list[ListedImage]:
        """Return all images that are not parts of others."""
        found = self._api.read("listing images", "/images/json")
        return [
            ListedImage(
                item["Id"],
                tuple(
                    name
                    for name in (*(item["RepoTags"] or ()), *(item["RepoDigests"] or ()))
                    if "<none>" not in name
                ),
                item["Size"],
            )
            for item in found
        ]

    def images_in_use(self) -> frozenset[str]:
        """Return the ids of the images that containers are of, stopped ones included."""
        found = self._api.read("listing containers", "/containers/json", {"all": 1})
        return frozenset(item["ImageID"] for item in found)

    def named_at(self, image: str) -> datetime | None:
        """Return when an image was made or named last, or None when it is gone."""
        found = self._inspect_image(image)
        if found is None:
            return None
        named = (found.get("Metadata") or {}).get("LastTagTime") or ""
        moments = [datetime.fromisoformat(text) for text in (found["Created"], named) if text]
        return max(moment.replace(tzinfo=moment.tzinfo or UTC) for moment in moments)

    def has_image(self, reference: str) -> bool:
        """Return True if an image is in the engine."""
        return self.image(reference) is not None

    def last_step(self, reference: str) -> str:
        """Return the last instruction of an image's build history.

        Raises:
            EngineError: there is no such image, or the engine cannot be reached, or failed.
        """
        what, path = f"reading the history of image {reference}", f"{_image(reference)}/history"
        return str(self._api.read(what, path)[0]["CreatedBy"])

    def pull(self, reference: str, on_line: Callable[[str], None]) -> None:
        """Pull an image.

        Raises:
            EngineError: the pull failed; the message has the image and the reason.
        """
        with engine_errors(f"pulling {reference}"), self._for_long() as api:
            for event in api.pull(reference, stream=True, decode=True):
                # A failure is an event in the stream, not a status.
                if "error" in event:
                    raise EngineError(f"pulling {reference} failed: {event['error']}")
                if "progressDetail" not in event:
                    on_line(str(event.get("status", "")))

    def load(self, tar: Path, reference: str, *, labels: Sequence[str] = ()) -> None:
        """Create an image from the tar of a root file system.

        Args:
            tar: the root file system.
            reference: what to call the image, with a tag.
            labels: labels that it gets, each with the value `true`.

        Raises:
            EngineError: the engine cannot be reached, failed, or its disk is full.
        """
        # As in the official images; without a command `docker run` needs one.
        changes = ['CMD ["bash"]', *(f'LABEL {label}="true"' for label in labels)]
        name, _, tag = reference.rpartition(":")
        with engine_errors(f"making image {reference}"), self._for_long() as api:
            told = api.import_image_from_file(str(tar), repository=name, tag=tag, changes=changes)
        failed = [line for line in told.splitlines() if '"error"' in line]
        if failed:
            raise refused(f"making image {reference}", failed[-1])

    def push(self, reference: str, public: str, on_line: Callable[[str], None]) -> None:
        """Push an image under another name.

        Args:
            reference: the image.
            public: its name in a registry, with a tag.
            on_line: called with each line of progress.

        Raises:
            EngineError: the engine cannot be reached, or failed.
            RegistryError: the registry cannot be reached, refused or failed.
        """
        name, _, tag = public.rpartition(":")
        with engine_errors(f"pushing {public}"), self._for_long() as api:
            api.tag(reference, name, tag)
            try:
                for event in api.push(name, tag, stream=True, decode=True):
                    if "error" in event:
                        raise RegistryError(
                            f"the push of {public} failed: {event['error']}",
                            hint="the registry's own log says why",
                        )
                    if "progressDetail" not in event:
                        on_line(str(event.get("status", "")))
            finally:
                api.remove_image(public, noprune=True)

    def remove_image(self, reference: str) -> None:
        """Remove an image under all its names, unless it is in use or gone."""
        found = self._inspect_image(reference)
        for name in (*found["RepoTags"], *found["RepoDigests"]) if found else ():
            self._api.ask(
                f"removing image {reference}", _image(name), method="DELETE", accept=(404, 409)
            )

    def _inspect_image(self, reference: str) -> dict[str, Any] | None:
        what, path = f"inspecting image {reference}", f"{_image(reference)}/json"
        found: dict[str, Any] | None = self._api.find(what, path)
        return found

    @cached_property
    def _api(self) -> EngineApi:
        return EngineApi(QUICK_SECONDS)

    @cached_property
    def _library(self) -> APIClient:
        """The library's client, for what the engine streams."""
        return connect(QUICK_SECONDS)

    @contextlib.contextmanager
    def _for_long(self) -> Iterator[APIClient]:
        """Yield a connection with a long timeout."""
        with contextlib.closing(connect(LONG_SECONDS)) as api:
            yield api


def stranded(containers: Iterable[Container], networks: Iterable[DockerObject]) -> list[Container]:
    """Return the stopped containers that cannot be started: a network of theirs was removed.

    ``docker network prune`` removes those of all containers that are stopped.

    Args:
        containers: the containers.
        networks: all networks that there are.
    """
    there = {item.id for item in networks}
    return [item for item in containers if item.state != "running" and item.networks - there]


def _quoted(name: str) -> str:
    """Return a name as a part of a path of the API."""
    return quote(name, safe="/:")


def _image(reference: str) -> str:
    """Return the path of an image in the API."""
    return f"/images/{_quoted(reference)}"


def _container(item: Mapping[str, Any]) -> Container:
    networks = item["NetworkSettings"]["Networks"] or {}
    ports: Sequence[Mapping[str, Any]] = item.get("Ports") or []
    return Container(
        id=item["Id"],
        name=item["Names"][0].lstrip("/") if item["Names"] else item["Id"][:12],
        image=item["Image"],
        state=item["State"],
        status=item["Status"],
        labels=item["Labels"] or {},
        ports=tuple((port["IP"], port["PublicPort"]) for port in ports if "PublicPort" in port),
        networks=frozenset(at["NetworkID"] for at in networks.values() if at["NetworkID"]),
    )

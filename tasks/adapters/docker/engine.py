"""The Docker Engine: what runs on it, and the little that Compose cannot do."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from tasks.adapters.registry.docker_login import config_file, read_config
from tasks.core.compose.reconcile import Observed
from tasks.core.engine_address import damaged_context, remedy, unknown_context
from tasks.core.errors import EngineError

if TYPE_CHECKING:
    from docker import APIClient

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"

QUICK_SECONDS = 30
"""Every request but a pull answers within this, or the engine counts as stuck."""


@dataclass(frozen=True)
class Container:
    """A container as the engine lists it.

    Attributes:
        id: its full id.
        name: its name.
        image: the image reference it was made from.
        state: ``created``, ``running``, ``restarting``, ``exited``, ``paused`` or ``dead``.
        status: the engine's own words, e.g. ``Up 3 minutes (healthy)``.
        labels: its labels.
        ports: pairs of host address and port that it publishes.
    """

    id: str
    name: str
    image: str
    state: str
    status: str
    labels: Mapping[str, str]
    ports: tuple[tuple[str, int], ...] = ()

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
        """``healthy``, ``unhealthy``, ``starting``, or empty where nothing checks."""
        for word in ("unhealthy", "healthy", "health: starting"):
            if f"({word})" in self.status:
                return word.removeprefix("health: ")
        return ""


@dataclass(frozen=True)
class Thing:
    """A volume or a network.

    Attributes:
        name: its name, by which it is removed.
        labels: its labels.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> str:
        """The Compose project it belongs to, or an empty string."""
        return self.labels.get(PROJECT, "")


class Engine:
    """Speaks to the engine that ``docker`` on the command line speaks to."""

    # -- what is there ------------------------------------------------------------------------

    def containers(self, label: str) -> list[Container]:
        """Return the containers, stopped ones too, that carry a label.

        Args:
            label: ``key`` or ``key=value``.

        Raises:
            EngineError: the engine cannot be reached, or failed.
        """
        with self._errors("listing containers"):
            found = self._api.containers(all=True, filters={"label": label})
        return [_container(item) for item in found]

    def publishing(self, port: int) -> list[Container]:
        """Return the running containers that publish a port of this machine."""
        with self._errors("listing containers"):
            found = self._api.containers(filters={"publish": str(port)})
        return [_container(item) for item in found]

    def volumes(self, label: str | None = None) -> list[Thing]:
        """Return the volumes, all or those that carry a label."""
        with self._errors("listing volumes"):
            found = self._api.volumes(filters={"label": label} if label else {})["Volumes"] or []
        return [Thing(item["Name"], item["Labels"] or {}) for item in found]

    def networks(self) -> list[Thing]:
        """Return the networks."""
        with self._errors("listing networks"):
            found = self._api.networks()
        return [Thing(item["Name"], item["Labels"] or {}) for item in found]

    def has_image(self, reference: str) -> bool:
        """Return True if an image is in the engine."""
        return self.image_labels(reference) is not None

    def image_labels(self, reference: str) -> Mapping[str, str] | None:
        """Return an image's labels, or None when it is not in the engine.

        Raises:
            EngineError: the engine cannot be reached, or failed.
        """
        from docker.errors import ImageNotFound

        with self._errors(f"inspecting image {reference}"):
            try:
                found = self._api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None
        labels: Mapping[str, str] = found["Config"].get("Labels") or {}
        return labels

    def last_step(self, reference: str) -> str:
        """Return the last instruction that an image in the engine was built by.

        Raises:
            EngineError: there is no such image, or the engine cannot be reached, or failed.
        """
        with self._errors(f"reading the history of image {reference}"):
            history = self._api.history(reference)  # type: ignore[no-untyped-call]
        return str(history[0]["CreatedBy"])

    def observe(self, container: str) -> Observed | None:
        """Return how one container fares, or None when it is gone.

        Args:
            container: id or name.
        """
        found = self.inspect(container)
        if found is None:
            return None
        state = found["State"]
        health = state.get("Health") or {}
        last = (health.get("Log") or [{}])[-1]
        return Observed(
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
        from docker.errors import NotFound

        with self._errors(f"inspecting container {container}"):
            try:
                return cast("dict[str, Any]", self._api.inspect_container(container))
            except NotFound:
                return None

    def logs(self, container: str, tail: int | None = None) -> str:
        """Return what a container wrote, stdout and stderr together; nothing when it is gone.

        Args:
            container: id or name.
            tail: how many of its last lines; all without it.
        """
        from docker.errors import NotFound

        lines: Literal["all"] | int = "all" if tail is None else tail
        with self._errors(f"reading the logs of {container}"), contextlib.suppress(NotFound):
            raw: bytes = self._api.logs(container, timestamps=False, tail=lines)
            return raw.decode(errors="replace")
        return ""

    # -- changes ------------------------------------------------------------------------------

    def pull(self, reference: str, on_line: Callable[[str], None]) -> None:
        """Bring an image into the engine.

        Raises:
            EngineError: it cannot be had; the message names it and repeats why.
        """
        with self._errors(f"pulling {reference}"):
            api = self._client(timeout=600)
            try:
                for event in api.pull(reference, stream=True, decode=True):
                    # A failed pull is an event in the stream, not a status.
                    if "error" in event:
                        raise EngineError(f"pulling {reference} failed: {event['error']}")
                    if "progressDetail" not in event:
                        on_line(str(event.get("status", "")))
            finally:
                api.close()

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; one of that name that is there already stays as it is."""
        with self._errors(f"creating volume {name}"):
            self._api.create_volume(name, labels=dict(labels))

    def read_folder(self, container: str, path: str) -> dict[str, str]:
        """Return the files of a folder as a container sees it, name and content.

        Args:
            container: id or name; it need not run.
            path: the folder.
        """
        files: dict[str, str] = {}
        with self._errors(f"reading {path} of {container}"):
            stream, _ = self._api.get_archive(container, f"{path}/.")
            with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
                for entry in tar.getmembers():
                    content = tar.extractfile(entry)
                    if content is not None:
                        files[entry.name.rpartition("/")[2]] = content.read().decode()
        return files

    def wait(self, container: str, deadline_seconds: int) -> None:
        """Wait until a container has ended; one that is gone has.

        Raises:
            EngineError: it still ran at the deadline.
        """
        from docker.errors import NotFound

        with self._errors(f"waiting for {container}"), contextlib.suppress(NotFound):
            self._api.wait(container, timeout=deadline_seconds)

    def remove_container(self, container: str) -> None:
        """Remove a container, its anonymous volumes too; one that is gone is no error."""
        from docker.errors import APIError, NotFound

        with self._errors(f"removing container {container}"), contextlib.suppress(NotFound):
            try:
                self._api.remove_container(container, force=True, v=True)
            except APIError as error:
                # 409: somebody else is removing it at this very moment.
                if error.status_code != 409 or "already in progress" not in str(error):
                    raise

    def remove_image(self, reference: str) -> None:
        """Remove an image under all its names; one that is in use, or gone, stays as it is."""
        from docker.errors import APIError, ImageNotFound

        with self._errors(f"removing image {reference}"), contextlib.suppress(ImageNotFound):
            found = self._api.inspect_image(reference)  # type: ignore[no-untyped-call]
            for name in (*found["RepoTags"], *found["RepoDigests"]):
                try:
                    self._api.remove_image(name)
                except APIError as error:
                    if error.status_code != 409:
                        raise

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone is no error."""
        from docker.errors import NotFound

        with self._errors(f"removing volume {name}"), contextlib.suppress(NotFound):
            self._api.remove_volume(name)

    def remove_network(self, name: str) -> None:
        """Remove a network; one that is gone is no error."""
        from docker.errors import NotFound

        with self._errors(f"removing network {name}"), contextlib.suppress(NotFound):
            self._api.remove_network(name)

    # -- how ----------------------------------------------------------------------------------

    @cached_property
    def _api(self) -> APIClient:
        return self._client(timeout=QUICK_SECONDS)

    def _client(self, timeout: int) -> APIClient:
        from docker import APIClient
        from docker.utils import kwargs_from_env

        with self._errors("connecting"):
            where: dict[str, Any] = {**kwargs_from_env()} or _context()
            host = str(where.get("base_url", ""))
            if host.startswith("ssh://"):
                # The library would need another one for it, and ports are published over there.
                raise EngineError(
                    f"the Docker Engine at {host} cannot be used", hint=remedy("", host=host)
                )
            return APIClient(version="auto", timeout=timeout, **where)

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        from docker.errors import APIError, DockerException
        from requests.exceptions import ConnectionError as Unreachable
        from requests.exceptions import RequestException, Timeout

        try:
            yield
        except APIError as error:
            reason = str(error.explanation or error)
            raise EngineError(f"the Docker Engine refused {what}: {reason}") from error
        except Timeout as error:
            raise EngineError(
                f"the Docker Engine did not answer in time: {what}",
                hint="is the machine overloaded, or its disk full? `inv doctor` looks",
            ) from error
        except (Unreachable, DockerException) as error:
            raise _unreachable(error) from error
        except RequestException as error:
            raise EngineError(f"{what} failed: {error}") from error


def _unreachable(error: Exception) -> EngineError:
    """Return the error for an engine that does not answer, with the likely remedy."""
    host, context = os.environ.get("DOCKER_HOST", ""), ""
    if not host:
        host, context = str(_context().get("base_url", "")), os.environ.get("DOCKER_CONTEXT", "")
    where = host or "its socket"
    if "Permission denied" in str(error):
        return EngineError(
            f"the Docker Engine refuses this user at {where}",
            hint="add yourself to the group docker (usermod -aG docker $USER) and log in again",
        )
    return EngineError(
        f"the Docker Engine does not answer at {where}",
        output=str(error),
        hint=remedy(str(error), host=host, context=context),
    )


def _context() -> dict[str, Any]:
    """Return the address of the Docker context in use, as the docker command chooses it.

    Raises:
        EngineError: there is no such context, or it is damaged; nobody wants another engine then.
        SettingsError: the user's Docker configuration cannot be read.
    """
    from docker.tls import TLSConfig

    name = os.environ.get("DOCKER_CONTEXT") or read_config().get("currentContext") or "default"
    if name == "default":
        return {}
    # The library looks for contexts beside a config.json alone, and there need not be one.
    store, key = config_file().parent / "contexts", hashlib.sha256(name.encode()).hexdigest()
    file, keys = store / "meta" / key / "meta.json", store / "tls" / key / "docker"
    try:
        endpoint = json.loads(file.read_text())["Endpoints"]["docker"]
        host, verify = str(endpoint["Host"]), not endpoint.get("SkipTLSVerify")
    except FileNotFoundError as error:
        message, hint = unknown_context(name)
        raise EngineError(message, hint=hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message, hint = damaged_context(name, f"{file}: {error!r}")
        raise EngineError(message, hint=hint) from error
    ca, cert, own = (keys / f"{part}.pem" for part in ("ca", "cert", "key"))
    tls = TLSConfig(
        client_cert=(str(cert), str(own)) if cert.exists() and own.exists() else None,
        ca_cert=str(ca) if ca.exists() else None,
        verify=verify,
    )
    return {"base_url": host, "tls": tls if keys.is_dir() else False}


def _container(item: Mapping[str, Any]) -> Container:
    ports: Sequence[Mapping[str, Any]] = item.get("Ports") or []
    return Container(
        id=item["Id"],
        name=item["Names"][0].lstrip("/") if item["Names"] else item["Id"][:12],
        image=item["Image"],
        state=item["State"],
        status=item["Status"],
        labels=item["Labels"] or {},
        ports=tuple((port["IP"], port["PublicPort"]) for port in ports if "PublicPort" in port),
    )

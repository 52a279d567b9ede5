"""The cluster: Secrets and floors of namespaces, and records, which only the provisioner writes."""

from __future__ import annotations

import base64
import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from provisioner.floor import FLOOR, NAME, READY
from provisioner.rules import MANAGED_BY, MANAGER, PREFIX, SECRET, Object, Place, Tenant

CONFLICT, GONE = 409, 404
COMPONENT = "mautic-provisioner"
RECORD = f"{PREFIX}record"
RECORDS = {MANAGED_BY: MANAGER, RECORD: "database"}
"""The labels of records."""
SEEDS = {MANAGED_BY: MANAGER, RECORD: "seed"}
"""Those of seeds' records."""
PATIENCE_SECONDS = 10
"""How long one request to the API server may take."""

State = Literal["creating", "waiting", "ready", "removed", "refused"]


class ClusterError(Exception):
    """The API server is away, or refuses."""


class RefusedError(ClusterError):
    """The API server does not know who asks, or gives them no right."""


@dataclass(frozen=True)
class Record:
    """What the provisioner has made for a namespace; a ConfigMap in its own namespace.

    Attributes:
        uid: the namespace's uid: another one of its name is another namespace.
        keep: whether the data outlives the namespace.
        state: how far it is; ``inv deploy`` waits for ``ready``, ``inv cleanup`` for ``removed``.
        message: what it waits for, or why it refuses.
        secret: resource version of the Secret whose password the user has.
    """

    namespace: str
    uid: str
    state: State
    message: str = ""
    environment: str = ""
    database: str = ""
    user: str = ""
    keep: bool = False
    secret: str = ""

    @classmethod
    def of_place(cls, place: Place, state: State) -> Record:
        """Return the record of a namespace that has no database."""
        return cls(place.namespace, place.uid, state, environment=place.environment)

    @classmethod
    def of(cls, tenant: Tenant, state: State, *, message: str = "", secret: str = "") -> Record:
        """Return a tenant's record."""
        return cls(state=state, message=message, secret=secret, **asdict(tenant))

    @classmethod
    def from_data(cls, data: dict[str, str]) -> Record:
        """Return the record that a ConfigMap holds."""
        return cls(**{**data, "keep": data["keep"] == "true"})  # type: ignore[arg-type]

    def to_data(self) -> dict[str, str]:
        """Return the record as a ConfigMap's data."""
        return {**asdict(self), "keep": "true" if self.keep else "false"}

    def now(self, state: State, message: str = "") -> Record:
        """Return the record in another state."""
        return replace(self, state=state, message=message)


@dataclass(frozen=True)
class SeedRecord:
    """A seed on the database server; a ConfigMap in the provisioner's own namespace.

    Attributes:
        state: ``loading``, also after a run that was cut off, or ``ready``.
        asked_at: when a deploy has asked for it last, ISO 8601.
    """

    seed: str
    state: str
    asked_at: str


@dataclass(frozen=True)
class Password:
    """A tenant's password, and the version of the Secret that holds it."""

    text: str
    version: str

    def __repr__(self) -> str:
        return f"Password(version={self.version!r})"


class Kubernetes:
    """The API server, as far as the provisioner has rights.

    Args:
        api: the core API.
        own: the provisioner's own namespace.
    """

    def __init__(self, api: client.CoreV1Api, own: str) -> None:
        self._api = api
        self._network = client.NetworkingV1Api(api.api_client)
        self._own = own

    def namespaces(self) -> list[Object]:
        """Return all namespaces that say they are an environment's."""
        selector = f"{MANAGED_BY}={MANAGER}"
        found = self._call(self._api.list_namespace, label_selector=selector)
        items: list[Object] = self._api.api_client.sanitize_for_serialization(found.items)
        return items

    def check_watch(self) -> None:
        """Ask for what the operator lives by: a list and a watch of namespaces.

        Raises:
            RefusedError: the API server refuses one of them.
            ClusterError: it is away.
        """
        self._call(self._api.list_namespace, limit=1)
        begun = self._call(
            self._api.list_namespace,
            watch=True,
            # Its answer begins with whatever there is: nothing.
            field_selector="metadata.name=",
            timeout_seconds=1,
            _preload_content=False,
        )
        begun.close()

    def uid_of(self, namespace: str) -> str | None:
        """Return a namespace's uid, or None if it does not exist."""
        found = self._read(self._api.read_namespace, namespace)
        return str(found.metadata.uid) if found else None

    # -- the tenant's Secret --------------------------------------------------------------------

    def ensure_password(self, tenant: Tenant, host: str, port: int) -> Password:
        """Return the password in a tenant's Secret; without a usable one, write a new one.

        Of several provisioners, all return the password that one of them wrote.
        """
        where = tenant.namespace
        while True:
            found = self._read(self._api.read_namespaced_secret, SECRET, where)
            if found and (text := _password_in(found.data or {})):
                return Password(text, found.metadata.resource_version)
            values = {
                "host": host,
                "port": str(port),
                "name": tenant.database,
                "username": tenant.user,
                "password": secrets.token_urlsafe(24),
            }
            body = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": where, "labels": {MANAGED_BY: MANAGER}},
                "type": "Opaque",
                "stringData": values,
            }
            try:
                if found is None:
                    made = self._call(self._api.create_namespaced_secret, where, body)
                else:
                    # Only this very object: somebody else may have replaced it meanwhile.
                    options = {"body": client.V1DeleteOptions(preconditions=_this(found))}
                    self._delete(self._api.delete_namespaced_secret, SECRET, where, **options)
                    continue
            except _ChangedError:
                continue
            return Password(values["password"], made.metadata.resource_version)

    def delete_password(self, namespace: str) -> None:
        """Delete a tenant's Secret, if it exists."""
        self._delete(self._api.delete_namespaced_secret, SECRET, namespace)

    def tell(
        self, namespace: str, kind: Literal["Normal", "Warning"], reason: str, text: str
    ) -> None:
        """Post an Event about a tenant's Secret; in a namespace that is going there is none."""
        now = dt.datetime.now(dt.UTC).isoformat()
        body = {
            "metadata": {"generateName": f"{COMPONENT}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Secret",
                "name": SECRET,
                "namespace": namespace,
            },
            "type": kind,
            "reason": reason,
            "message": text[:1000],
            "source": {"component": COMPONENT},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._call(self._api.create_namespaced_event, namespace, body)
        except ClusterError as error:
            cause = error.__cause__
            if not (isinstance(cause, ApiException) and cause.status in {403, GONE}):
                raise

    # -- the floor ------------------------------------------------------------------------------

    def put_floor(self, kind: str, manifest: Object) -> None:
        """Make an object of a namespace's floor what it has to be, whatever it is."""
        where = manifest["metadata"]["namespace"]
        requests = self._floor_requests(kind)
        while True:
            try:
                # What is as it has to be stays as it is: the API server writes nothing.
                self._call(requests.replace, NAME, where, manifest)
            except _GoneError:
                try:
                    self._call(requests.create, where, manifest)
                except _ChangedError:
                    continue
            return

    def remove_floor(self, kind: str, namespace: str) -> None:
        """Delete an object of a namespace's floor, if it exists."""
        self._delete(self._floor_requests(kind).delete, NAME, namespace)

    def mark_furnished(self, place: Place) -> None:
        """Label a namespace as furnished: this very one, not another one of its name."""
        meta = {"uid": place.uid, "labels": {FLOOR: READY}}
        self._call(self._api.patch_namespace, place.namespace, {"metadata": meta})

    def _floor_requests(self, kind: str) -> _Requests:
        core, network = self._api, self._network
        return {
            "NetworkPolicy": _Requests(
                network.create_namespaced_network_policy,
                network.replace_namespaced_network_policy,
                network.delete_namespaced_network_policy,
            ),
            "ResourceQuota": _Requests(
                core.create_namespaced_resource_quota,
                core.replace_namespaced_resource_quota,
                core.delete_namespaced_resource_quota,
            ),
            "LimitRange": _Requests(
                core.create_namespaced_limit_range,
                core.replace_namespaced_limit_range,
                core.delete_namespaced_limit_range,
            ),
        }[kind]

    # -- records --------------------------------------------------------------------------------

    def record(self, namespace: str) -> Record | None:
        """Return the record of a namespace, or None."""
        found = self._read(self._api.read_namespaced_config_map, record_name(namespace), self._own)
        return Record.from_data(found.data) if found else None

    def records(self) -> Iterator[Record]:
        """Yield all records."""
        selector = ",".join(f"{key}={value}" for key, value in RECORDS.items())
        found = self._call(self._api.list_namespaced_config_map, self._own, label_selector=selector)
        for item in found.items:
            yield Record.from_data(item.data)

    def write(self, record: Record) -> None:
        """Write a record, whether or not there is one."""
        self._write(record_name(record.namespace), RECORDS, record.to_data())

    def _write(self, name: str, labels: dict[str, str], data: dict[str, str]) -> None:
        meta = {"name": name, "namespace": self._own, "labels": labels}
        body = {"metadata": meta, "data": data}
        while True:
            try:
                if self._read(self._api.read_namespaced_config_map, name, self._own):
                    self._call(self._api.replace_namespaced_config_map, name, self._own, body)
                else:
                    self._call(self._api.create_namespaced_config_map, self._own, body)
            except _ChangedError:
                continue
            return

    def forget(self, record: Record) -> None:
        """Delete a record, unless it has become that of another namespace of the same name."""
        found = self._read(
            self._api.read_namespaced_config_map, record_name(record.namespace), self._own
        )
        if found is None or found.data.get("uid") != record.uid:
            return
        options = {"body": client.V1DeleteOptions(preconditions=_this(found))}
        try:
            self._delete(
                self._api.delete_namespaced_config_map, found.metadata.name, self._own, **options
            )
        except _ChangedError:
            self.forget(record)

    def seed(self, id_: str) -> SeedRecord | None:
        """Return the record of a seed, or None."""
        found = self._read(self._api.read_namespaced_config_map, seed_name(id_), self._own)
        return SeedRecord(**found.data) if found else None

    def seeds(self) -> list[SeedRecord]:
        """Return the records of all seeds."""
        selector = ",".join(f"{key}={value}" for key, value in SEEDS.items())
        found = self._call(self._api.list_namespaced_config_map, self._own, label_selector=selector)
        return [SeedRecord(**item.data) for item in found.items]

    def write_seed(self, record: SeedRecord) -> None:
        """Write the record of a seed, whether or not there is one."""
        self._write(seed_name(record.seed), SEEDS, asdict(record))

    def forget_seed(self, record: SeedRecord) -> None:
        """Delete the record of a seed, if it exists."""
        name = seed_name(record.seed)
        self._delete(self._api.delete_namespaced_config_map, name, self._own)

    # -- requests -------------------------------------------------------------------------------

    def _read(self, request: Callable[..., Any], *args: str) -> Any:
        """Return an object, or None if it does not exist."""
        try:
            return self._call(request, *args)
        except _GoneError:
            return None

    def _delete(self, request: Callable[..., Any], *args: str, **options: Any) -> None:
        try:
            self._call(request, *args, **options)
        except _GoneError:
            return

    def _call(self, request: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return request(*args, _request_timeout=PATIENCE_SECONDS, **options)
        except ApiException as error:
            kinds = {
                CONFLICT: _ChangedError,
                GONE: _GoneError,
                HTTPStatus.UNAUTHORIZED: RefusedError,
                HTTPStatus.FORBIDDEN: RefusedError,
            }
            kind = kinds.get(error.status, ClusterError)
            raise kind(f"the API server answers {error.status} {error.reason}") from error
        except (HTTPError, OSError) as error:
            raise ClusterError(f"the API server cannot be reached: {error}") from error


@dataclass(frozen=True)
class _Requests:
    """The requests that write objects of one kind."""

    create: Callable[..., Any]
    replace: Callable[..., Any]
    delete: Callable[..., Any]


class _ChangedError(ClusterError):
    """Somebody else was faster."""


class _GoneError(ClusterError):
    """There is no such object."""


def record_name(namespace: str) -> str:
    """Return the name of a namespace's record."""
    return f"database-{namespace}"


def seed_name(id_: str) -> str:
    """Return the name of a seed's record."""
    return f"seed-{id_}"


def _this(found: Any) -> client.V1Preconditions:
    meta = found.metadata
    return client.V1Preconditions(uid=meta.uid, resource_version=meta.resource_version)


def _password_in(data: dict[str, str]) -> str:
    """Return the password that a Secret's data hold, or an empty string if it is unusable.

    Whoever owns the namespace may have written it. So it is only taken if it is plain.
    """
    try:
        text = base64.b64decode(data.get("password", ""), validate=True).decode("ascii")
    except ValueError:
        return ""
    is_plain = 16 <= len(text) <= 128 and text.isprintable()
    return text if is_plain else ""

"""The provisioner at work: a real API server with its rights, a real database, the real program."""

from __future__ import annotations

import base64
import copy
import json
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pymysql
import pytest
import requests
from kubernetes import client, config

from provisioner.cluster import Kubernetes, RefusedError
from provisioner.floor import Floor
from provisioner.furnish import Furnisher
from provisioner.reconcile import Reconciler
from provisioner.rules import Rules
from provisioner.server import Login, Server
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.environment import Owner, State
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.manifests import (
    DatabaseServer,
    database_job,
    database_secret,
    namespace,
)
from tasks.core.kubernetes.provisioner import (
    LEND,
    PLANT,
    UNSEAL,
    fingerprint_of_key,
    provisioner_user,
)
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Names
from tasks.flows.kubernetes.access import grant_access
from tests.support.deploys import until
from tests.support.platform import BRANCHES, MAIN, Audited, audited, install_chart, names_in
from tests.support.provisioner import (
    ACCOUNT,
    ADMINISTRATOR,
    FLOOR,
    PLATFORM,
    Database,
    Mounted,
    Process,
    rules,
    running,
    running_database,
)
from tests.support.seeds import KEY, sealed

Object = dict[str, Any]

IMAGE = f"registry.example.com/provisioner@sha256:{'a' * 64}"
LABEL = "mautic-multidev.io/database"
SECRET = "mautic-database"
SECONDS = 90
"""How long the provisioner may take on a busy machine."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    yield from audited(tmp_path_factory.mktemp("provisioner-plane"))


@pytest.fixture(scope="module")
def admin(plane: Audited) -> Cluster:
    """The administrator, after the platform has been installed."""
    values = {
        "provisioner": {"image": IMAGE},
        "access": {
            "main": {"group": MAIN, "environments": ["dev", "prod"]},
            "branches": {"group": BRANCHES, "environments": ["dev"]},
        },
    }
    return install_chart(plane, values)


@pytest.fixture(scope="module")
def database(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with running_database(engine, tmp_path_factory.mktemp("database")) as made:
        yield made


@pytest.fixture(scope="module")
def provisioner(
    plane: Audited,
    admin: Cluster,
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    scratch = tmp_path_factory.mktemp("process")
    plane.pki.issue("provisioner", ACCOUNT)
    kubeconfig = plane.write_kubeconfig(scratch / "kubeconfig", "provisioner")
    own = Login(provisioner_user("mautic"), secrets.token_urlsafe(24))
    decided = rules(database, seedKey=fingerprint_of_key(KEY))
    mounted = Mounted(json.dumps(decided), own, database.address.ca)
    made = Process(mounted, scratch, kubeconfig)
    said = made.set_up(ADMINISTRATOR)
    assert ADMINISTRATOR.password not in said
    assert own.password not in said
    with running(made):
        yield made


@pytest.fixture(scope="module")
def branch(plane: Audited, admin: Cluster) -> Cluster:
    """A CI job of a branch."""
    return plane.client("job-of-a-branch", BRANCHES)


def some_branch() -> str:
    return f"feature/{secrets.token_hex(4)}"


def manifest(own: Names, **labels: str | None) -> Object:
    """The namespace that a deploy makes of a branch, asking for a database."""
    owner = Owner(own.environment, own.slug, own.branch, "https://git.example.com/mautic.git")
    made = namespace(owner, own, ClusterRecord(State.DEPLOYING, own.url), "")
    made["metadata"]["labels"] |= {LABEL: "provisioned", **labels}
    return made


def reasons(cluster: Cluster, namespace: str) -> set[str]:
    """Return what Events tell so far; each is written right after what it tells is recorded."""
    return {event["reason"] for event in cluster.find("Event", namespace)}


class Places:
    """What a test makes; it is gone afterwards."""

    def __init__(self, admin: Cluster, database: Database) -> None:
        self.admin = admin
        self.database = database
        self.made: list[str] = []

    def make(self, item: Object, job: Cluster | None = None) -> str:
        name = str(item["metadata"]["name"])
        (job or self.admin).create(item)
        self.made.append(name)
        return name

    def record(self, name: str) -> dict[str, str]:
        found = self.admin.get("ConfigMap", f"database-{name}", PLATFORM)
        return (found or {}).get("data", {})

    def ready(self, name: str) -> Login:
        """Wait for a namespace's database; return its user."""
        until(lambda: self.record(name).get("state") == "ready", SECONDS)
        return self.login(name)

    def login(self, name: str) -> Login:
        found = self.admin.get("Secret", SECRET, name)
        assert found
        data = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
        return Login(data["username"], data["password"])

    def gone(self, name: str) -> None:
        """Wait for a namespace's end."""
        until(lambda: self.admin.get("Namespace", name) is None, SECONDS)
        until(lambda: not self.record(name), SECONDS)


@pytest.fixture
def places(admin: Cluster, database: Database, provisioner: Process) -> Iterator[Places]:
    made = Places(admin, database)
    yield made
    # The cluster goes with the module: nobody waits for the controller, which takes its 5 s.
    for name in made.made:
        admin.delete("Namespace", name)


# -- a life -----------------------------------------------------------------------------------


def test_a_namespace_gets_its_database_and_takes_it_with_it(
    places: Places, branch: Cluster, database: Database
) -> None:
    own = names_in("dev", some_branch())
    where = places.make(manifest(own), branch)
    grant_access(branch, where, "dev", own.branch)
    login = places.ready(where)
    assert login.user == own.database_user
    database.sql("CREATE TABLE t (v INT)", login, own.database)
    # CI reads its own Secret, and how far the provisioner is.
    assert branch.get("Secret", SECRET, where)
    seen = branch.get("ConfigMap", f"database-{where}", PLATFORM)
    assert seen
    assert login.password not in json.dumps(seen)
    until(lambda: "DatabaseReady" in reasons(branch, where), SECONDS)
    assert branch.delete("Namespace", where)
    places.gone(where)
    assert not database.names() & {own.database, own.database_user}


def test_a_namespace_that_is_kept_gives_its_database_back_by_label(
    places: Places, branch: Cluster, database: Database
) -> None:
    own = names_in("dev", some_branch())
    where = places.make(manifest(own), branch)
    places.ready(where)
    branch.patch("Namespace", where, None, {"metadata": {"labels": {LABEL: "removed"}}})
    until(lambda: places.record(where).get("state") == "removed", SECONDS)
    assert not database.names() & {own.database, own.database_user}
    assert places.admin.get("Secret", SECRET, where) is None
    branch.patch("Namespace", where, None, {"metadata": {"labels": {LABEL: "provisioned"}}})
    places.ready(where)
    assert own.database in database.names()


def test_the_password_that_a_namespace_has_is_kept(places: Places, database: Database) -> None:
    """An environment of before hands its password over; a broken Secret is replaced."""
    own = names_in("dev", some_branch())
    plain = manifest(own)
    del plain["metadata"]["labels"][LABEL]
    where = places.make(plain)
    places.admin.create(secret_in(where, SECRET, "the-password-of-before"))
    label = {"metadata": {"labels": {LABEL: "provisioned"}}}
    places.admin.patch("Namespace", where, None, label)
    # It was furnished before it asked for a database, and so its record was ready before.
    until(lambda: places.record(where).get("database") == own.database, SECONDS)
    until(lambda: places.record(where).get("state") == "ready", SECONDS)
    login = Login(own.database_user, "the-password-of-before")
    database.sql("CREATE TABLE kept (v INT)", login, own.database)
    # Whatever stands in it, it is neither believed nor does it stop anything.
    places.admin.delete("Secret", SECRET, where)
    places.admin.create(secret_in(where, SECRET, "short\n"))
    places.admin.patch("Namespace", where, None, {"metadata": {"annotations": {"again": "1"}}})

    def replaced() -> bool:
        found = places.admin.get("Secret", SECRET, where)
        return bool(found and "username" in found["data"])

    until(replaced, SECONDS)
    until(lambda: places.record(where)["secret"] == version(places.admin, where), SECONDS)
    assert database.sql("SHOW TABLES", places.login(where), own.database) == ["kept"]


def version(cluster: Cluster, where: str) -> str:
    found = cluster.get("Secret", SECRET, where)
    return str(found["metadata"]["resourceVersion"]) if found else ""


# -- however it goes --------------------------------------------------------------------------


def torn(places: Places, where: str) -> None:
    """Delete a namespace past its finalizer."""
    places.admin.patch("Namespace", where, None, {"metadata": {"finalizers": None}})
    places.admin.delete("Namespace", where)
    places.admin.patch("Namespace", where, None, {"metadata": {"finalizers": None}})
    until(lambda: places.admin.get("Namespace", where) is None, SECONDS)


def test_a_namespace_deleted_while_nobody_watches_takes_its_database_with_it(
    places: Places, provisioner: Process, database: Database
) -> None:
    own = names_in("dev", some_branch())
    where = places.make(manifest(own))
    places.ready(where)
    provisioner.kill()
    try:
        torn(places, where)
    finally:
        provisioner.start()
    places.gone(where)
    assert not database.names() & {own.database, own.database_user}


def test_production_s_data_stay_when_its_namespace_goes(places: Places, database: Database) -> None:
    own = names_in("prod", "main")
    where = places.make(manifest(own))
    login = places.ready(where)
    database.sql("CREATE TABLE kept (v INT)", login, own.database)
    places.admin.delete("Namespace", where)
    places.gone(where)
    assert {own.database, own.database_user} <= database.names()
    places.make(manifest(own))
    after = places.ready(where)
    assert after != login
    assert database.sql("SHOW TABLES", after, own.database) == ["kept"]
    places.admin.delete("Namespace", where)
    places.gone(where)


def test_killed_in_the_middle_it_goes_on_when_it_is_back(
    places: Places, provisioner: Process, database: Database
) -> None:
    many = [names_in("dev", some_branch()) for _ in range(4)]
    for own in many:
        places.make(manifest(own))
    until(lambda: many[0].database in database.names(), SECONDS)
    provisioner.kill()
    provisioner.start()
    for own in many:
        login = places.ready(own.namespace)
        database.sql("CREATE TABLE t (v INT)", login, own.database)
        places.admin.delete("Namespace", own.namespace)
    provisioner.kill()
    provisioner.start()
    for own in many:
        places.gone(own.namespace)
        assert not database.names() & {own.database, own.database_user}


class _KilledError(BaseException):
    """The process ends here."""


class Cut:
    """Does what another object does, until its calls are used up."""

    def __init__(self, whole: Any, left: list[int], *, after: bool) -> None:
        self._whole, self._left, self._after = whole, left, after

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self._left[0] -= 1
            if self._left[0] == 0 and not self._after:
                raise _KilledError
            found = getattr(self._whole, name)(*args, **options)
            if self._left[0] == 0:
                raise _KilledError
            return found

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_cut_off_before_or_after_any_step_the_next_attempt_finishes(
    plane: Audited, places: Places, provisioner: Process, database: Database, after: bool
) -> None:
    config.load_kube_config(str(plane.kubeconfig))
    cluster = Kubernetes(client.CoreV1Api(), PLATFORM)
    server = Server(database.address, lambda: provisioner.own, "mautic_")
    given = Rules.from_json(json.dumps(rules(database)))
    floor = Floor.from_json(json.dumps(FLOOR))
    whole = Reconciler(given, server, cluster, Furnisher(given, floor, cluster))

    def cut_off(work: str, item: Object, calls: int) -> bool:
        """Do a piece of work that is cut off at its n-th call; return whether it was."""
        left = [calls]
        parts = [Cut(one, left, after=after) for one in (server, cluster)]
        try:
            furnisher = Furnisher(given, floor, parts[1])  # type: ignore[arg-type]
            getattr(Reconciler(given, *parts, furnisher), work)(item)  # type: ignore[arg-type]
        except _KilledError:
            return True
        return False

    calls, was_cut = 0, True
    while was_cut:
        calls += 1
        own = names_in("dev", some_branch())
        made = manifest(own)
        # The process itself does not see it.
        made["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "somebody"
        where = places.make(made)
        item = places.admin.get("Namespace", where)
        assert item
        item["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "mautic-multidev"
        was_cut = cut_off("provide", item, calls)
        whole.provide(item)
        login = places.login(where)
        assert places.record(where)["state"] == "ready"
        database.sql("CREATE TABLE t (v INT)", login, own.database)
        was_cut |= cut_off("remove", item, calls)
        whole.remove(item)
        assert not places.record(where)
        assert not database.names() & {own.database, own.database_user}
    assert calls > 5


def test_two_at_once_do_no_harm(places: Places, provisioner: Process, database: Database) -> None:
    provisioner.start()
    try:
        many = [names_in("dev", some_branch()) for _ in range(8)]
        for own in many:
            places.make(manifest(own))
        for own in many:
            login = places.ready(own.namespace)
            database.sql("CREATE TABLE t (v INT)", login, own.database)
        for own in many:
            places.admin.delete("Namespace", own.namespace)
        for own in many:
            places.gone(own.namespace)
        assert not database.names() & {own.database for own in many}
    finally:
        provisioner.kill(signal.SIGTERM)
        provisioner.start()


def test_while_the_server_is_away_it_says_so_and_goes_on_after(
    places: Places, provisioner: Process, database: Database
) -> None:
    own = names_in("dev", some_branch())
    database.stop()
    try:
        where = places.make(manifest(own))
        until(lambda: places.record(where).get("state") == "waiting", 2 * SECONDS)
        told = places.record(where)["message"]
        assert f"{database.address.host}:{database.address.port}" in told
        assert provisioner.own.password not in told
        until(lambda: "DatabaseWaiting" in reasons(places.admin, where), SECONDS)
    finally:
        database.resume()
    places.ready(where)
    assert own.database in database.names()


# -- attacks ----------------------------------------------------------------------------------


def refused(places: Places, name: str) -> str:
    """Wait until a namespace is refused; return why."""
    until(lambda: places.record(name).get("state") == "refused", SECONDS)
    assert places.admin.get("Secret", SECRET, name) is None
    return places.record(name)["message"]


def test_a_namespace_that_copies_another_s_marks_gets_nothing(
    places: Places, branch: Cluster, database: Database
) -> None:
    victim = names_in("dev", some_branch())
    places.ready(places.make(manifest(victim)))
    before = database.names()
    thief = copy.deepcopy(manifest(victim))
    thief["metadata"]["name"] = f"mautic-thief-{secrets.token_hex(3)}"
    places.make(thief, branch)
    why = refused(places, thief["metadata"]["name"])
    assert why.startswith(f"the namespace of branch {victim.branch!r} is {victim.namespace} or ")
    assert why.endswith(", not this one")
    assert database.names() <= before
    # Nor does its end take the victim's.
    branch.delete("Namespace", thief["metadata"]["name"])
    places.gone(thief["metadata"]["name"])
    login = places.login(victim.namespace)
    assert database.sql("SELECT 1", login, victim.database) == [1]


def test_a_branch_cannot_become_another_one(
    places: Places, branch: Cluster, database: Database
) -> None:
    victim, own = names_in("dev", some_branch()), names_in("dev", some_branch())
    for one in (victim, own):
        places.ready(places.make(manifest(one), branch))
    for patch in (
        {"annotations": {"mautic-multidev.io/branch": victim.branch}},
        {"annotations": {"mautic-multidev.io/names": "6"}},
        {"annotations": {"mautic-multidev.io/names": None}},
        {"labels": {"mautic-multidev.io/slug": victim.slug}},
        {"labels": {LABEL: None}},
        {"finalizers": None},
    ):
        with pytest.raises(ClusterError) as caught:
            branch.patch("Namespace", own.namespace, None, {"metadata": patch})
        assert caught.value.status in {403, 422}
    # Even where the policies are not in the way.
    note = {"metadata": {"annotations": {"mautic-multidev.io/branch": victim.branch}}}
    places.admin.patch("Namespace", own.namespace, None, note)
    until(lambda: places.record(own.namespace).get("state") == "refused", SECONDS)
    places.admin.delete("Namespace", own.namespace)
    places.gone(own.namespace)
    assert own.database not in database.names()
    assert {victim.database, victim.database_user} <= database.names()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("x`; DROP DATABASE mysql; --", "is not a legal branch name"),
        ("x' OR '1'='1", "is not a legal branch name"),
        ("../../mysql", "is not a legal branch name"),
        ("mysql", "not this one"),
        ("main\x00", ""),
        ("x" * 5000, "is 5000 bytes long"),
        ("provisioner", "not this one"),
    ],
)
def test_no_annotation_leads_outside_the_project_s_names(
    places: Places, database: Database, name: str, said: str
) -> None:
    before = database.names()
    own = names_in("dev", some_branch())
    made = manifest(own)
    made["metadata"]["annotations"]["mautic-multidev.io/branch"] = name
    where = places.make(made)
    assert said in refused(places, where)
    assert database.names() <= before


def test_production_cannot_be_claimed_from_elsewhere(
    places: Places, branch: Cluster, database: Database
) -> None:
    before = database.names()
    prod = names_in("prod", "main")
    claims = []
    for name, labels in (
        (f"mautic-x{secrets.token_hex(3)}", {"mautic-multidev.io/environment": "prod"}),
        (f"mautic-x{secrets.token_hex(3)}", {"mautic-multidev.io/slug": "prod"}),
        (f"mautic-x{secrets.token_hex(3)}", {"mautic-multidev.io/environment": "qa"}),
    ):
        made = manifest(prod)
        made["metadata"]["name"] = name
        made["metadata"]["labels"] |= {"mautic-multidev.io/environment": "dev", **labels}
        claims.append(places.make(made))
    for name in claims:
        refused(places, name)
    assert database.names() <= before
    # The namespace itself is out of a branch's reach.
    mine = manifest(names_in("dev", "prod"))
    mine["metadata"]["name"] = prod.namespace
    places.make(mine, branch)
    assert "is mautic-prod-" in refused(places, prod.namespace)
    assert database.names() <= before


def test_a_namespace_without_the_suite_s_label_is_nobody_s(
    places: Places, database: Database
) -> None:
    own = names_in("dev", some_branch())
    where = places.make(manifest(own, **{"app.kubernetes.io/managed-by": "somebody"}))
    witness = places.make(manifest(names_in("dev", some_branch())))
    places.ready(witness)
    assert not places.record(where)
    assert own.database not in database.names()


def test_ci_reads_the_status_and_nothing_else(
    places: Places, branch: Cluster, plane: Audited, admin: Cluster
) -> None:
    """No Job, no Secret: nothing of what led to the administrator is left."""
    main = plane.client("job-of-main", MAIN)
    for job in (branch, main):
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
            for kind in ("Secret", "Job", "ServiceAccount", "Role", "CronJob"):
                assert not job.may(verb, kind, PLATFORM), (verb, kind)
            assert job.may(verb, "Pod", PLATFORM) == (verb == "list"), verb
            assert job.may(verb, "ConfigMap", PLATFORM) == (verb == "get"), verb
        for kind in ("Pod/log", "Pod/attach", "Pod/portforward", "ServiceAccount/token"):
            assert not job.may("create", kind, PLATFORM), kind
        assert job.may("create", "Pod/exec", PLATFORM)


def test_ci_runs_in_the_provisioner_what_loads_a_seed_and_nothing_else(
    branch: Cluster, admin: Cluster, plane: Audited
) -> None:
    container = {"name": "provisioner", "image": IMAGE}
    for name in ("mautic-provisioner-x", "controller"):
        meta = {"name": name, "namespace": PLATFORM}
        pod = {"metadata": meta, "spec": {"containers": [container]}}
        admin.create({"apiVersion": "v1", "kind": "Pod", **pod})

    def answer(pod: str, *argv: str) -> str:
        nothing: dict[str, Any] = {"take": lambda _: None, "on_line": lambda _: None}
        with pytest.raises(ClusterError) as caught:
            branch.pipe(PLATFORM, pod, "provisioner", argv, source=(), **nothing)
        return str(caught.value)

    try:
        # Admitted: it fails later, for no node has the pod.
        for admitted in (PLANT, UNSEAL):
            assert "not have a host" in answer("mautic-provisioner-x", *admitted)
        # An API server holds to a policy a moment after it has got it.
        until(lambda: "and nothing else" in answer("mautic-provisioner-x", "sh"), SECONDS)
        for pod, argv in (
            ("mautic-provisioner-x", ("sh", "-c", "cat /run/secrets/provisioner/password")),
            ("mautic-provisioner-x", (*PLANT, "more")),
            ("mautic-provisioner-x", (*UNSEAL, "more")),
            ("mautic-provisioner-x", PLANT[:-1]),
            ("mautic-provisioner-x", LEND),
            ("mautic-provisioner-x", ()),
            ("controller", PLANT),
            ("controller", UNSEAL),
        ):
            assert "and nothing else" in answer(pod, *argv), (pod, argv)
    finally:
        for name in ("mautic-provisioner-x", "controller"):
            admin.delete("Pod", name, PLATFORM)


def test_a_seed_is_loaded_once_and_recorded_and_goes_when_nobody_asks(
    provisioner: Process, database: Database, admin: Cluster
) -> None:
    seed, content = "20261127t071205", sealed(["CREATE TABLE `users` (id INT PRIMARY KEY);"])
    given = {"id": seed, "key": KEY, "bytes": len(content)}

    def plant(**changes: Any) -> tuple[int, str]:
        line = json.dumps({**given, **changes}).encode() + b"\n"
        status, said = provisioner.plant(line + content)
        assert KEY not in said
        return status, said

    def record() -> dict[str, str]:
        return (admin.get("ConfigMap", f"seed-{seed}", PLATFORM) or {}).get("data", {})

    assert plant(key="ee" * 32) == (1, "plant: the platform takes seeds of another key, or none\n")
    for wrong in ({"id": "x"}, {"bytes": 0}, {"key": ""}):
        assert "must begin with a line of JSON" in plant(**wrong)[1]
    assert record() == {}
    status, said = plant(bytes=len(content) - 1)
    assert (status, "damaged, cut off" in said) == (1, True)
    assert record()["state"] == "loading"
    assert plant() == (0, f"plant: seed {seed}\nplant: seed {seed} is loaded\n")
    assert record()["state"] == "ready"
    status, said = plant()
    assert (status, "is there already" in said) == (0, True)
    assert f"mautic_seed__{seed}" in database.names()

    old = {"data": {"asked_at": "2026-01-02T03:04:05+00:00"}}
    admin.patch("ConfigMap", f"seed-{seed}", PLATFORM, old)
    provisioner.kill()
    provisioner.start()  # it sweeps at once
    until(lambda: not record(), SECONDS)
    assert f"mautic_seed__{seed}" not in database.names()


@pytest.mark.parametrize("end", ["end\n", ""], ids=["it is told", "its input ends"])
def test_a_database_is_lent_for_as_long_as_somebody_wants_it(
    places: Places, provisioner: Process, database: Database, end: str
) -> None:
    own = names_in("dev", some_branch())
    where = places.make(manifest(own))
    database.sql("CREATE TABLE t (v INT)", places.ready(where), own.database)
    with provisioner.lend(where) as lending:
        assert lending.stdin
        assert lending.stdout
        told = json.loads(lending.stdout.readline())
        assert told["database"] == own.database
        reader = Login(told["user"], told["password"])
        assert database.sql("SHOW TABLES", reader, own.database) == ["t"]
        # What keeps a connection alive is no end.
        lending.stdin.write(f"\n\n{end}")
        lending.stdin.flush()
        if not end:
            lending.stdin.close()
        assert lending.wait(SECONDS) == 0
    assert reader.user not in database.names()


def test_what_has_no_database_is_not_lent(provisioner: Process) -> None:
    with provisioner.lend("kube-system") as lending:
        assert lending.stderr
        assert lending.wait(SECONDS) == 1
        assert lending.stderr.read() == "lend: kube-system has no database here that is ready\n"


SERVER = DatabaseServer("db.example.com", 3306, "mautic-database-admin", PLATFORM, "mautic_")


def variable(name: str, value: str) -> Callable[[Object, Object], None]:
    """A Job with one variable more, or with another value."""

    def change(_: Object, container: Object) -> None:
        kept = [one for one in container["env"] if one["name"] != name]
        container["env"] = [*kept, {"name": name, "value": value}]

    return change


def probe(_: Object, container: Object) -> None:
    script = ["sh", "-c", "cat /run/secrets/admin/password >&2; exit 1"]
    container["livenessProbe"] = {"exec": {"command": script}}


def other_host(pod: Object, _: Object) -> None:
    pod["hostAliases"] = [{"ip": "192.0.2.7", "hostnames": ["db.example.com"]}]


def other_resolver(pod: Object, _: Object) -> None:
    pod["dnsPolicy"], pod["dnsConfig"] = "None", {"nameservers": ["192.0.2.7"]}


@pytest.mark.parametrize(
    "change",
    [
        # An error message repeats the prefix, which is the password.
        variable("MAUTIC_DB_PREFIX_FILE", "/run/secrets/admin/password"),
        # A server that answers as the attacker wishes.
        variable("MAUTIC_DB_PORT", "31306"),
        variable("MAUTIC_DB_HOST_FILE", "/run/secrets/branch/password"),
        other_host,
        other_resolver,
        probe,
        # Another branch's database, by its names.
        variable("MAUTIC_DB_DATABASE", "mautic_prod"),
    ],
    ids=["file", "port", "host-file", "host-alias", "resolver", "probe", "production"],
)
@pytest.mark.parametrize("verb", ["create", "drop"])
def test_ways_of_the_database_job_to_the_administrator_are_closed(
    branch: Cluster, verb: str, change: Callable[[Object, Object], None]
) -> None:
    job = database_job(names_in("dev", some_branch()), SERVER, f"x@sha256:{'a' * 64}", verb, 60)
    pod = job["spec"]["template"]["spec"]
    change(pod, pod["containers"][0])
    with pytest.raises(ClusterError) as caught:
        branch.create(job)
    assert caught.value.status == 403


def test_no_branch_reads_or_replaces_another_one_s_secret_there(
    branch: Cluster, admin: Cluster
) -> None:
    """A patch that changes nothing answers with the whole object."""
    victim = names_in("dev", some_branch())
    admin.apply(database_secret(victim, SERVER, "planted"))
    name = f"database-{victim.release}"
    for attempt in (
        lambda: branch.patch("Secret", name, PLATFORM, {"metadata": {"labels": {}}}),
        lambda: branch.apply(database_secret(victim, SERVER, "replaced")),
        lambda: branch.delete("Secret", name, PLATFORM),
        lambda: branch.get("Secret", name, PLATFORM),
    ):
        with pytest.raises(ClusterError) as caught:
            attempt()
        assert caught.value.status == 403
        assert base64.b64encode(b"planted").decode() not in caught.value.message


def test_the_provisioner_itself_is_kept_to_its_work(
    places: Places, plane: Audited, admin: Cluster
) -> None:
    """Even if somebody else ran under its account."""
    plane.pki.issue("as-provisioner", ACCOUNT)
    path = plane.write_kubeconfig(plane.pki.root / "as-provisioner.kubeconfig", "as-provisioner")
    thief = Cluster("test", str(path))
    own = names_in("dev", some_branch())
    where = places.make(manifest(own))
    places.ready(where)
    for item in (
        secret_in(where, "another", "x"),
        secret_in(PLATFORM, SECRET, "x"),
        secret_in("kube-system", SECRET, "x"),
        {**secret_in(where, "token", "x"), "type": "kubernetes.io/service-account-token"},
    ):
        with pytest.raises(ClusterError) as caught:
            thief.create(item)
        assert caught.value.status in {403, 422}
    for name, patch in (
        (where, {"labels": {"mautic-multidev.io/environment": "prod"}}),
        (where, {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}),
        ("kube-system", {"annotations": {"x": "y"}}),
    ):
        with pytest.raises(ClusterError) as caught:
            thief.patch("Namespace", name, None, {"metadata": patch})
        assert caught.value.status in {403, 422}
    for verb, kind in (("list", "Secret"), ("update", "Secret"), ("get", "Pod"), ("list", "Job")):
        assert not thief.may(verb, kind, where)
    with pytest.raises(ClusterError):
        thief.get("Secret", "mautic", where)


def secret_in(where: str, name: str, password: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": where},
        "type": "Opaque",
        "data": {"password": base64.b64encode(password.encode()).decode()},
    }


def test_while_the_api_server_refuses_it_it_is_not_healthy(
    plane: Audited, admin: Cluster, provisioner: Process, database: Database, tmp_path: Path
) -> None:
    user = "bound-for-a-while"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "mautic-provisioner",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    plane.pki.issue(user, user)
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", user)
    (tmp_path / "process").mkdir()
    mounted = Mounted(json.dumps(rules(database)), provisioner.own, database.address.ca)
    second = Process(mounted, tmp_path / "process", kubeconfig)
    admin.create(binding)
    try:
        with running(second):
            admin.delete("ClusterRoleBinding", user)
            # Its watch goes on until it ends by itself; the next one would be refused.
            until(lambda: second.answer() == requests.codes.server_error, SECONDS)
            assert "the API server answers 403 Forbidden" in second.log.read_text()
            admin.create(binding)
            until(lambda: second.answer() == requests.codes.ok, SECONDS)
    finally:
        admin.delete("ClusterRoleBinding", user)


def test_a_token_that_the_api_server_does_not_know_is_refused_too(plane: Audited) -> None:
    stranger = client.Configuration(host=plane.url)
    stranger.ssl_ca_cert = str(plane.pki.root / "ca.crt")
    stranger.api_key = {"authorization": "Bearer expired"}
    with pytest.raises(RefusedError, match="401 Unauthorized"):
        Kubernetes(client.CoreV1Api(client.ApiClient(stranger)), PLATFORM).check_watch()


def test_no_password_is_in_any_log(provisioner: Process, places: Places) -> None:
    own = names_in("dev", some_branch())
    login = places.ready(places.make(manifest(own)))
    said = provisioner.log.read_text()
    assert provisioner.own.password not in said
    assert login.password not in said
    with pytest.raises(pymysql.MySQLError):
        places.database.sql("SELECT 1", Login(login.user, "guessed"))

"""What is asked of a cluster before a deploy, in which order, and the plan that is made of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tasks.core.environment import Release, State
from tasks.core.environment_data import Data
from tasks.core.errors import (
    EngineError,
    InputError,
    RefusedError,
    RegistryError,
    SuiteError,
)
from tasks.core.kubernetes.manifests import secret
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Names
from tasks.core.server_snapshots import SnapshotOrder
from tasks.flows.kubernetes.context import branch_namespace
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.planner import plan_deploy
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tasks.flows.seed_images import find_images
from tasks.flows.server_snapshots import ServerSnapshots
from tasks.flows.target import Request
from tests.support.fakes import NAMES, REQUEST
from tests.support.fakes_cluster import NAMESPACE, FakeCluster, FakeHelm, a_cluster_context
from tests.support.fakes_images import FakeRegistry
from tests.support.suite import ROOT

KEYS = (
    "db_password",
    "db_root_password",
    "secret_key",
    "admin_password",
    "door_password",
    "redis_password",
)
SERVER = {"host": "db.example.org"}
FIRST = ClusterRecord(State.DEPLOYING, NAMES.url)
OTHER = replace(REQUEST, tag="newer")
VALUES = "values.yaml"
GET, SECRET = f"get Namespace {NAMESPACE}", "get Secret mautic"


@dataclass
class Bench:
    """A checkout, and a cluster that is asked for plans.

    Attributes:
        server: whether the branches' databases live on a server of their own.
        provisioner: image of the platform's provisioner, which makes them there.
        lacking: what is said instead of a public image's digest.
    """

    root: Path
    cluster: FakeCluster
    helm: FakeHelm
    server: bool = False
    provisioner: str = ""
    lacking: SuiteError | None = None
    php: str = "8.4"
    more: Mapping[str, Any] = field(default_factory=dict)
    registry: FakeRegistry = field(default_factory=FakeRegistry)

    def plan(self, request: Request = REQUEST) -> ClusterPlan:
        """Return a plan; whatever becomes of it, nothing has been written."""
        own: dict[str, Any] = {"values": [VALUES], "database": SERVER if self.server else None}
        if self.provisioner:
            own["database"] = {**SERVER, "provisioner": self.provisioner}
        own |= self.more
        context, titles = a_cluster_context(self.cluster, self.helm, self.root, php=self.php, **own)
        self.cluster.asked.clear()
        try:
            return plan_deploy(
                context,
                request,
                find_images=self._images,
                uploads=ClusterSharedUploads(context, lambda: self.registry),
                base=self._base,
            )
        finally:
            assert (self.cluster.seen, self.helm.seen, titles) == ([], [], [])
            self.masked = context.redactor("planted") != "planted"

    def write(self, values: Mapping[str, Any]) -> None:
        """Write the environment's values file."""
        (self.root / VALUES).write_text(yaml.safe_dump(dict(values)))

    def remember(self, record: ClusterRecord, request: Request = REQUEST) -> None:
        """Let the namespace exist."""
        self.cluster.keep(branch_namespace(request.owner, NAMES, record))

    def store(self, *keys: str) -> None:
        """Let the branch's Secret exist."""
        self.cluster.keep(secret(NAMES, dict.fromkeys(keys, "planted")))

    @property
    def record(self) -> ClusterRecord:
        """What a deploy that succeeded remembers."""
        plan = self.plan()
        return FIRST.succeeded(plan.release, 1, plan.fingerprint)

    def deployed(self, state: State = State.READY) -> None:
        """Let a release be there, whose deploy has ended in a state."""
        self.store(*KEYS)
        self.helm.record("deployed")
        self.remember(replace(self.record, state=state))

    def _images(self, tag: str) -> dict[str, str]:
        self.cluster.asked.append(f"images {tag}")
        return {"mautic": f"m@sha256:{tag}", "nginx": f"n@sha256:{tag}"}

    def _base(self, reference: str) -> str:
        self.cluster.asked.append(f"base {reference}")
        if self.lacking:
            raise self.lacking
        return f"{reference}@sha256:1"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Nothing is deployed yet."""
    (tmp_path / "helm").symlink_to(ROOT / "helm")
    helm = FakeHelm()
    made = Bench(tmp_path, helm.cluster, helm)
    made.write({})
    return made


class Server:
    """Takes a snapshot before every release."""

    def order(self, names: Names, current: Release, release: Release) -> SnapshotOrder:
        return SnapshotOrder("x-at-1", "x", {}, f"{current.tag} becomes {release.tag}")


def test_a_snapshot_of_the_server_is_planned_where_the_code_changes(bench: Bench) -> None:
    server = cast("ServerSnapshots", Server())
    assert bench.plan(replace(OTHER, server=server)).snapshot is None  # nothing is there yet
    bench.deployed()
    assert bench.plan(replace(REQUEST, server=server)).snapshot is None
    planned = bench.plan(replace(OTHER, server=server))
    assert planned.steps[0].reason == "1a2b3c4d becomes newer"
    assert bench.plan(OTHER).snapshot is None


def test_data_that_is_nowhere_is_refused_also_where_there_is_other(bench: Bench) -> None:
    def check(choice: str) -> None:
        raise InputError(f"{choice} is nowhere")

    bench.deployed()
    with pytest.raises(InputError, match="branch:nope is nowhere"):
        bench.plan(replace(OTHER, data="branch:nope", check_data=check))


def nothing(_: Bench) -> None:
    """Not even a namespace."""


def namespace_alone(bench: Bench) -> None:
    bench.remember(FIRST)


def first_install_died(bench: Bench) -> None:
    bench.remember(FIRST)
    bench.store(*KEYS)
    bench.helm.record("pending-install")


def deployed(bench: Bench) -> None:
    bench.deployed()


def chart_changed(bench: Bench) -> None:
    bench.deployed()
    bench.write({"labels": {"team": "a"}})


def upgrade_died(bench: Bench) -> None:
    bench.deployed(State.DEPLOYING)
    bench.helm.record("deployed", "pending-upgrade")


def upgrade_failed(bench: Bench) -> None:
    bench.deployed(State.FAILED)


def rolled_back(bench: Bench) -> None:
    bench.deployed(State.ROLLED_BACK)


def cut_off_clean_up(bench: Bench) -> None:
    bench.deployed(State.REMOVING)


def revision_by_hand(bench: Bench) -> None:
    bench.deployed()
    bench.helm.record("superseded", "deployed")


def admin_password_gone(bench: Bench) -> None:
    bench.deployed()
    bench.store(*KEYS[:3], *KEYS[4:])


def database_passwords_gone(bench: Bench) -> None:
    bench.deployed()
    bench.store(*KEYS[2:])


MAKES_NAMESPACE = ("create", f"namespace {NAMESPACE}", "")
MAKES_SECRET = ("create", "secret mautic", ", ".join(KEYS))
MAKES_DATABASE = ("create", f"database {NAMES.database}", "")
QUIESCES = ("quiesce", "workers and crons", "while the database is migrated")


def release(verb: str, reason: str) -> tuple[str, str, str]:
    return (verb, f"release {NAMES.release}", reason)


INSTALLS = release("install", "nothing is deployed")


@pytest.mark.parametrize(
    ("situation", "request_", "server", "seed", "steps"),
    [
        (nothing, REQUEST, False, KEYS, [MAKES_NAMESPACE, MAKES_SECRET, INSTALLS]),
        (nothing, REQUEST, True, KEYS, [MAKES_NAMESPACE, MAKES_SECRET, MAKES_DATABASE, INSTALLS]),
        (namespace_alone, REQUEST, False, KEYS, [MAKES_SECRET, INSTALLS]),
        (namespace_alone, REQUEST, True, KEYS, [MAKES_SECRET, MAKES_DATABASE, INSTALLS]),
        (
            first_install_died,
            REQUEST,
            True,
            (),
            [
                release("repair", "pending-install, left by a dead run"),
                MAKES_DATABASE,
                release("upgrade", "nothing is deployed"),
            ],
        ),
        (deployed, REQUEST, False, (), []),
        (deployed, REQUEST, True, (), []),
        (
            deployed,
            OTHER,
            True,
            (),
            [QUIESCES, release("upgrade", "images: 1a2b3c4d becomes newer")],
        ),
        (
            chart_changed,
            REQUEST,
            False,
            (),
            [release("upgrade", "the chart or its values changed")],
        ),
        (
            upgrade_died,
            OTHER,
            False,
            (),
            [
                release("repair", "pending-upgrade, left by a dead run"),
                QUIESCES,
                release("upgrade", "the last deploy was interrupted"),
            ],
        ),
        (upgrade_failed, REQUEST, False, (), [release("upgrade", "the last deploy failed")]),
        (rolled_back, REQUEST, False, (), [release("upgrade", "the last deploy was rolled back")]),
        (cut_off_clean_up, REQUEST, False, (), [release("upgrade", "a clean-up was cut off")]),
        (
            revision_by_hand,
            REQUEST,
            False,
            (),
            [release("upgrade", "the chart or its values changed")],
        ),
        (
            admin_password_gone,
            REQUEST,
            False,
            KEYS[3:4],
            [
                ("create", "secret mautic", "admin_password"),
                release("upgrade", "the chart or its values changed"),
            ],
        ),
        # A user on a server is given a new password there.
        (
            database_passwords_gone,
            REQUEST,
            True,
            KEYS[:2],
            [
                ("create", "secret mautic", "db_password, db_root_password"),
                MAKES_DATABASE,
                release("upgrade", "the chart or its values changed"),
            ],
        ),
    ],
)
def test_what_is_found_decides_what_is_done(
    bench: Bench,
    situation: Callable[[Bench], None],
    request_: Request,
    server: bool,
    seed: tuple[str, ...],
    steps: list[tuple[str, str, str]],
) -> None:
    bench.server = server
    situation(bench)
    plan = bench.plan(request_)
    assert [(step.verb, step.subject, step.reason) for step in plan.steps] == steps
    assert (plan.seed, plan.has_server) == (seed, server)


@pytest.mark.parametrize(
    ("situation", "asked"),
    [
        # The Secret of a namespace to come is not read: a CI job has no rights in it before.
        (nothing, [GET, "images 1a2b3c4d", "may create Namespace", "may create RoleBinding"]),
        (namespace_alone, [GET, "images 1a2b3c4d", "may * *", "find Secret", SECRET]),
        (deployed, [GET, "images 1a2b3c4d", "may * *", "find Secret", SECRET]),
    ],
)
def test_rights_are_asked_for_before_secrets_and_other_images_last(
    bench: Bench, situation: Callable[[Bench], None], asked: list[str]
) -> None:
    bench.write({"redis": {"enabled": True}})
    situation(bench)
    bench.plan()
    assert bench.cluster.asked == [*asked, "base redis:8"]
    assert bench.masked is (situation is deployed)


def test_a_namespace_of_somebody_else_is_refused_before_anything_else_is_asked(
    bench: Bench,
) -> None:
    bench.remember(FIRST, replace(REQUEST, repository="git@example.org:other/b.git"))
    bench.cluster.forbidden = ["* *", "create Secret"]
    with pytest.raises(RefusedError, match="is not that of feature/x: its repository is"):
        bench.plan()
    assert bench.cluster.asked == [GET]


def test_a_cluster_that_is_not_ready_is_told_before_secrets_that_are_gone(bench: Bench) -> None:
    bench.deployed()
    bench.store()
    bench.write({"redis": {"enabled": True}, "media": {"storageClass": "shared"}})
    with pytest.raises(SuiteError, match="not ready for this deploy: there is no storage class"):
        bench.plan()
    assert bench.cluster.asked == [
        GET,
        "images 1a2b3c4d",
        "may * *",
        "get StorageClass shared",
    ]


@pytest.mark.parametrize(
    ("server", "keys", "lost"),
    [
        (False, KEYS[1:], "db_password"),
        (False, (), "db_password, db_root_password, secret_key"),
        (True, KEYS[:2], "secret_key"),
    ],
)
@pytest.mark.parametrize("situation", [deployed, first_install_died])
def test_secrets_that_are_gone_from_under_a_release_are_not_made_anew(
    bench: Bench, situation: Callable[[Bench], None], server: bool, keys: tuple[str, ...], lost: str
) -> None:
    bench.server = server
    situation(bench)
    bench.write({"redis": {"enabled": True}})
    bench.store(*keys)
    with pytest.raises(SuiteError, match=rf"the secrets of feature/x are gone \(.*: {lost}\)"):
        bench.plan()
    assert bench.cluster.asked[-1] == SECRET


@pytest.mark.parametrize(
    ("php", "enabled", "kept_off"),
    [("8.4", True, ("email-fetch",)), ("8.4", False, ()), ("8.2", True, ())],
)
def test_a_cron_that_the_images_cannot_run_is_kept_off(
    bench: Bench, php: str, enabled: bool, kept_off: tuple[str, ...]
) -> None:
    bench.php = php
    bench.write({"crons": {"jobs": {"email-fetch": {"enabled": enabled}}}})
    plan = bench.plan()
    assert tuple(plan.kept_off) == kept_off
    said = [step.subject for step in plan.steps if step.verb == "keep off"]
    assert said == [f"cron {name}" for name in kept_off]
    jobs = plan.values.get("crons", {}).get("jobs", {})
    assert jobs == {name: {"enabled": False} for name in kept_off}
    # It is a part of the release's inputs: other images bring it back.
    bench.php = "8.2" if php == "8.4" else "8.4"
    assert (bench.plan().fingerprint == plan.fingerprint) is not enabled


@pytest.mark.parametrize(
    ("values", "autoscaled"),
    [
        ({}, False),
        ({"web": {"autoscaling": {"enabled": True}}}, True),
        ({"web": {"autoscaling": {"enabled": True}}, "sleeping": True}, False),
    ],
)
def test_what_sleeps_is_not_autoscaled(
    bench: Bench, values: dict[str, Any], autoscaled: bool
) -> None:
    bench.write(values)
    assert bench.plan().autoscaled is autoscaled


def test_only_images_that_nobody_has_named_are_looked_up(bench: Bench) -> None:
    bench.write({"redis": {"enabled": True}, "mysql": {"enabled": True}})
    found = bench.plan().values["images"]
    assert set(found) == {"mautic", "nginx", "redis", "mysql"}
    named = {"images": {"mysql": "mine@sha256:2"}, "mysql": {"enabled": True}}
    bench.write(named)
    assert set(bench.plan().values["images"]) == {"mautic", "nginx"}


CATCHER: dict[str, Any] = {"mail": {"catcher": {"enabled": True}}}
MAILPIT = "axllent/mailpit:v1.27"


@pytest.mark.parametrize(
    ("values", "asked", "shown"),
    [
        ({}, False, False),
        (CATCHER, True, True),
        ({**CATCHER, "images": {"mail": "mine@sha256:2"}}, False, True),
        ({**CATCHER, "secret": {"files": {"MAUTIC_MAILER_DSN": "dsn"}}}, False, False),
    ],
)
def test_a_catcher_is_looked_up_where_one_is_wanted(
    bench: Bench, values: dict[str, Any], asked: bool, shown: bool
) -> None:
    bench.write(values)
    plan = bench.plan()
    assert (f"base {MAILPIT}" in bench.cluster.asked) is asked
    assert plan.values["images"].get("mail") == (f"{MAILPIT}@sha256:1" if asked else None)
    assert "mail" not in plan.values
    assert plan.mail_url == (f"{NAMES.url}/_mail/" if shown else "")


@pytest.mark.parametrize("door", ["open", "login"])
def test_mails_are_told_of_where_a_door_is_before_them(bench: Bench, door: str) -> None:
    bench.write(CATCHER)
    bench.more = {"door": door}
    assert bool(bench.plan().mail_url) is (door == "login")


@pytest.mark.parametrize("error", [EngineError, RegistryError])
def test_a_catcher_that_cannot_be_had_is_left_out_and_mails_are_discarded(
    bench: Bench, error: type[SuiteError]
) -> None:
    bench.write(CATCHER)
    bench.lacking = error("the registry docker.io cannot be reached")
    plan = bench.plan()
    assert "mail" not in plan.values["images"]
    assert plan.values["mail"] == {"catcher": {"enabled": False}}
    assert plan.mail_url == ""
    (said,) = (step for step in plan.steps if step.verb == "keep off")
    assert said.subject == "mail catcher"
    assert said.reason == "the registry docker.io cannot be reached; mails are discarded"
    # Once it can be had, it is a change.
    bench.lacking = None
    assert bench.plan().fingerprint != plan.fingerprint


def test_the_server_s_address_is_given_to_the_chart_and_no_secret_is(bench: Bench) -> None:
    bench.server = True
    bench.deployed()
    plan = bench.plan()
    assert plan.values["database"] == {
        "name": NAMES.database,
        "user": NAMES.database_user,
        "host": "db.example.org",
        "port": 3306,
        "tlsCa": "",
    }
    assert "planted" not in str(plan.as_dict())
    assert base64.b64encode(b"planted").decode() not in str(plan.as_dict())


def test_where_a_load_balancer_asks_for_the_login_nginx_has_no_password(bench: Bench) -> None:
    arn = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
    pool = {"user_pool_arn": arn, "client_id": "4f9ab", "domain": "previews"}
    bench.more = {"door": "oidc", "door_oidc": pool, "door_exempt": ["forms"]}
    assert bench.plan().values["door"] == {
        "passwordKey": "",
        "oidc": {"userPoolArn": arn, "clientId": "4f9ab", "domain": "previews"},
        "exempt": ["forms"],
        "noindex": True,
    }


@pytest.mark.parametrize("language", ["", "pt_BR"])
def test_sites_speak_the_language_of_their_environment(bench: Bench, language: str) -> None:
    bench.more = {"language": language} if language else {}
    assert bench.plan().values.get("env", {}) == ({"MAUTIC_LOCALE": language} if language else {})


def test_a_way_back_takes_the_recorded_images_and_asks_no_registry(bench: Bench) -> None:
    bench.deployed()
    newer = replace(bench.record.history[0], tag="newer", mautic="m@sha256:newer")
    bench.remember(bench.record.succeeded(newer, 1, "f2"))
    plan = bench.plan(replace(REQUEST, tag="", rollback=True))
    assert plan.release.mautic == "m@sha256:1a2b3c4d"
    assert [step.verb for step in plan.steps] == ["quiesce", "upgrade"]
    assert not [each for each in bench.cluster.asked if each.startswith("images")]


def test_a_way_back_without_an_earlier_release_is_refused(bench: Bench) -> None:
    bench.deployed()
    with pytest.raises(InputError, match="no earlier release of feature/x"):
        bench.plan(replace(REQUEST, tag="", rollback=True))
    assert bench.cluster.asked == [GET]


IMAGE = f"registry.example.org/provisioner@sha256:{'a' * 64}"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "mautic-provisioner", "namespace": "mautic-system"},
}


def a_provisioner(bench: Bench, **data: str) -> None:
    """Let the platform's provisioner be there."""
    bench.cluster.keep(DEPLOYMENT)
    meta = {"name": "mautic-provisioner", "namespace": "mautic-system"}
    bench.cluster.keep({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def test_the_platform_s_quota_replaces_the_chart_s(bench: Bench) -> None:
    bench.write({"quota": {"enabled": True}, "limitRange": {"enabled": True}})
    alone = bench.plan()
    assert not alone.furnished
    assert not {"quota", "limitRange"} & alone.values.keys()
    bench.provisioner = IMAGE
    a_provisioner(bench, **{"floor.json": "{}"})
    plan = bench.plan()
    assert plan.furnished
    assert plan.values["quota"] == plan.values["limitRange"] == {"enabled": False}


def test_a_platform_that_furnishes_nothing_is_told_with_the_remedy(bench: Bench) -> None:
    bench.provisioner = IMAGE
    with pytest.raises(SuiteError, match="there is no provisioner"):
        bench.plan()
    a_provisioner(bench, **{"rules.json": "{}"})
    with pytest.raises(SuiteError) as caught:
        bench.plan()
    assert "does not furnish namespaces yet" in caught.value.message
    assert "inv platform.apply --env local" in caught.value.message


def test_values_that_leave_a_site_without_traffic_are_refused(bench: Bench) -> None:
    bench.write({"networkPolicy": {"enabled": False}})
    bench.plan()
    bench.provisioner = IMAGE
    a_provisioner(bench, **{"floor.json": "{}"})
    with pytest.raises(SuiteError, match=r"networkPolicy\.enabled is false"):
        bench.plan()


# -- data -------------------------------------------------------------------------------------

ID = "20260102t030405"
SEEDED = replace(
    REQUEST, data="seed", resolve=lambda choice: Data(f"{choice}:{ID}", f"from seed {ID}")
)


def config_map(name: str, **data: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "mautic-system"}
    return {"kind": "ConfigMap", "metadata": meta, "data": data}


def test_a_server_of_its_own_is_filled_and_no_migration_clones(bench: Bench) -> None:
    plan = bench.plan(SEEDED)
    assert plan.values["data"] == {"seed": f"mautic_seed__{ID}", "clone": False}
    assert (plan.fills, plan.plants) == (True, False)
    assert plan.steps[-1].reason == f"from seed {ID}"


@pytest.mark.parametrize(
    ("state", "told"), [("", "is loaded first"), ("loading", "is loaded first"), ("ready", "is")]
)
def test_a_platform_that_takes_seeds_loads_it_once(bench: Bench, state: str, told: str) -> None:
    bench.server, bench.provisioner = True, f"p@sha256:{'a' * 64}"
    bench.cluster.put("Deployment", "mautic-provisioner", "mautic-system")
    config = config_map("mautic-provisioner", **{"rules.json": "{}", "floor.json": "{}"})
    bench.cluster.keep(config)
    assert bench.plan(SEEDED).fills
    config["data"]["rules.json"] = json.dumps({"seedKey": "ab"})
    bench.cluster.keep(config)
    if state:
        bench.cluster.keep(config_map(f"seed-{ID}", state=state))
    plan = bench.plan(SEEDED)
    assert (plan.fills, plan.plants) == (False, True)
    assert plan.values["data"]["clone"]
    (fill,) = plan.filling
    assert fill.reason == f"from seed {ID}, which {told} on the server"


SHARED = replace(
    SEEDED, resolve=lambda choice: Data(f"{choice}:{ID}", f"from seed {ID}", shares=True)
)


def a_platform_that_decrypts(bench: Bench, kubelet: str = "v1.36.2") -> None:
    bench.provisioner = IMAGE
    rules = json.dumps({"seedKey": "ab", "unseals": True})
    a_provisioner(bench, **{"floor.json": "{}", "rules.json": rules})
    info = {"kubeletVersion": kubelet, "containerRuntimeVersion": "containerd://2.1.9"}
    bench.cluster.keep({"kind": "Node", "metadata": {"name": "a"}, "status": {"nodeInfo": info}})


def push_uploads(bench: Bench) -> dict[str, str]:
    for folder in ("files", "images", "dashboards"):
        bench.registry.push(f"seed-{folder}", f"seed.{ID}", f"sha256:{folder}")
    return find_images(bench.registry, ID)


def test_a_branch_mounts_the_uploads_that_the_registry_has(bench: Bench) -> None:
    bench.server = True
    a_platform_that_decrypts(bench)
    plan = bench.plan(SHARED)
    assert (plan.shares, plan.before(State.DEPLOYING).shares) == (True, True)
    assert "media" not in plan.values
    assert [step.verb for step in plan.steps if "uploads" in step.subject] == ["share"]
    there = push_uploads(bench)
    plan = bench.plan(SHARED)
    assert (plan.shares, plan.values["media"]) == (False, {"seed": there})
    assert [step.verb for step in plan.steps if "uploads" in step.subject] == []


def test_where_uploads_cannot_be_shared_the_plan_says_why_they_are_copied(bench: Bench) -> None:
    bench.server = True
    a_platform_that_decrypts(bench, kubelet="v1.34.9")
    push_uploads(bench)
    plan = bench.plan(SHARED)
    assert (plan.shares, plan.data.shares, plan.before(State.DEPLOYING).shares) == (False,) * 3
    assert "media" not in plan.values
    assert [(step.verb, step.reason) for step in plan.steps if "uploads" in step.subject] == [
        ("copy", "node a has kubelet v1.34.9, and images are mounted from 1.35 on")
    ]


def test_a_branch_that_shares_stays_so_and_gets_anew_what_the_registry_lost(bench: Bench) -> None:
    push_uploads(bench)
    bench.store(*KEYS)
    bench.helm.record("deployed")
    begun = replace(FIRST, data=f"seed:{ID}", shares=True)
    # A first deploy that failed may have left rows that lead to them.
    bench.remember(begun)
    plan = bench.plan(SHARED)
    assert plan.data.shares
    bench.remember(begun.succeeded(plan.release, 1, plan.fingerprint))
    assert bench.plan().steps == ()
    bench.registry.images.clear()
    plan = bench.plan()
    assert plan.shares
    assert plan.steps[0].verb == "share"

    def gone(choice: str) -> Data:
        raise InputError(f"there is no {choice}")

    with pytest.raises(InputError, match=rf"the uploads of seed:{ID} are gone here.*there is no"):
        bench.plan(replace(SHARED, resolve=gone))


def test_data_that_is_there_is_not_looked_for(bench: Bench) -> None:
    bench.deployed()

    def unknown(choice: str) -> Data:
        raise AssertionError(choice)

    plan = bench.plan(replace(SEEDED, resolve=unknown))
    assert (plan.steps, plan.data.choice) == ((), "empty")


def test_an_entrance_leads_to_the_branch_in_place_of_its_route(bench: Bench) -> None:
    bench.write(
        {
            "route": {"kind": "httproute", "gateway": {"name": "door"}},
            "networkPolicy": {"gateway": {"cidrs": ["10.0.0.0/24"]}},
        }
    )
    bench.more = {"entrance": f"r.example.org/entrance@sha256:{'a' * 64}"}
    with pytest.raises(SuiteError, match="there is no entrance in mautic-system"):
        bench.plan()
    bench.cluster.put("Deployment", "mautic-entrance", "mautic-system")
    values = bench.plan().values
    # Neither the Gateway is asked for, nor anybody let in but the entrance.
    assert values["route"] == {"kind": "entrance"}
    gateway = values["networkPolicy"]["gateway"]
    assert gateway == {"namespaces": ["mautic-system"], "cidrs": []}

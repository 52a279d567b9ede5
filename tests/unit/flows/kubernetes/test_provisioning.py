"""What a run tells while the platform's provisioner works, and when it gives up."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ClusterError, ConflictError, SuiteError
from tasks.core.kubernetes.provisioner import DATABASE, FLOOR
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.core.settings import names_of, parse
from tasks.flows.kubernetes import provisioning
from tasks.flows.kubernetes.context import ClusterContext

SETTINGS = parse(
    {
        "project": "mautic",
        "environments": {
            "dev": {
                "target": "kubernetes",
                "branches": ["*"],
                "host": "{slug}.example.com",
                "registry": {"url": "registry.example.com/dev"},
                "cluster": {"name": "one"},
                "database": {
                    "host": "db.example.com",
                    "provisioner": f"registry.example.com/provisioner@sha256:{'a' * 64}",
                },
                "patience": {"grace_seconds": 1},
            }
        },
    },
    lambda path: "the test",
)
NAMES: Names = names_of(SETTINGS, "dev", "x")
READY = {"uid": "u", "state": "ready", "secret": "7"}


@dataclass
class Played:
    """Plays the API server by steps: each look at the record finds the next one.

    Attributes:
        secret: version and password of the tenant's Secret.
    """

    records: list[dict[str, str] | None]
    secret: tuple[str, str] = ("7", "p")
    deployment: dict[str, Any] | None = field(
        default_factory=lambda: {"spec": {"replicas": 1}, "status": {}}
    )
    made: list[Any] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Any:
        if kind == "Namespace":
            return {"metadata": {"name": name, "uid": "u", "labels": self.labels}}
        if kind == "Deployment":
            return self.deployment
        if kind == "Secret":
            version, password = self.secret
            data = {"password": base64.b64encode(password.encode()).decode()}
            return {"metadata": {"resourceVersion": version}, "data": data}
        found = self.records.pop(0) if len(self.records) > 1 else self.records[0]
        return None if found is None else {"data": found}

    def create(self, item: Any) -> None:
        self.made.append(item)

    def patch(self, *args: Any) -> None:
        self.made.append(args)


def context(cluster: Any) -> ClusterContext:
    parts: dict[str, Any] = {"helm": None, "root": Path(), "work": None, "redactor": Redactor()}
    return ClusterContext(settings=SETTINGS, environment="dev", cluster=cluster, **parts)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "POLL_SECONDS", 0)
    monkeypatch.setattr(provisioning, "MARGIN_SECONDS", -1)
    monkeypatch.setattr(provisioning, "REMOVAL_SECONDS", 0)


@pytest.mark.parametrize(
    "records",
    [
        [None],
        [{"uid": "of-an-earlier-namespace", "state": "ready", "secret": "7"}],
        [{"uid": "u", "state": "creating"}],
        # The Secret has been replaced since.
        [{**READY, "secret": "6"}],
    ],
)
def test_nothing_but_this_namespace_s_ready_database_will_do(
    records: list[dict[str, str] | None],
) -> None:
    with pytest.raises(SuiteError) as caught:
        provisioning.wait_for_database(context(Played(records)), NAMES, print)
    assert "database mautic_x is not ready after 0 s" in caught.value.message
    assert "deployment/mautic-provisioner in mautic-system has 0 of 1 pods ready" in (
        caught.value.message
    )
    assert "inv platform.status" in str(caught.value.hint)


def test_what_it_does_is_told_as_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "MARGIN_SECONDS", 60)
    waiting = {"uid": "u", "state": "waiting", "message": "db:3306: no answer"}
    said: list[str] = []
    played = Played([None, {"uid": "u", "state": "creating"}, waiting, waiting, READY])
    assert provisioning.wait_for_database(context(played), NAMES, said.append) == "p"
    assert said == [
        "provisioner: creating",
        "provisioner: waiting: db:3306: no answer",
        "provisioner: ready",
    ]


def test_a_refusal_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "MARGIN_SECONDS", 600)
    refused = {"uid": "u", "state": "refused", "message": "not this one"}
    with pytest.raises(SuiteError, match="refuses a database for mautic-x: not this one"):
        provisioning.wait_for_database(context(Played([refused])), NAMES, print)


def test_a_namespace_without_its_floor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SuiteError) as caught:
        provisioning.wait_until_furnished(context(Played([None])), NAMES, print)
    assert "namespace mautic-x is not furnished after 0 s: it has not answered" in (
        caught.value.message
    )
    monkeypatch.setattr(provisioning, "MARGIN_SECONDS", 60)
    played = Played([None, {"uid": "u", "state": "creating"}])
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        played.labels = {FLOOR: "ready"}

    provisioning.wait_until_furnished(context(played), NAMES, say)
    assert said == ["provisioner: creating"]


def test_one_environment_too_many_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "MARGIN_SECONDS", 600)
    full = {"uid": "u", "state": "refused", "message": "30 of 30 environments exist"}
    with pytest.raises(SuiteError) as caught:
        provisioning.wait_until_furnished(context(Played([full])), NAMES, print)
    assert caught.value.message == (
        "the provisioner does not furnish mautic-x: 30 of 30 environments exist"
    )
    assert "inv cleanup" in str(caught.value.hint)
    # What has its floor keeps it, whatever else is refused.
    furnished = Played([full], labels={FLOOR: "ready"})
    provisioning.wait_until_furnished(context(furnished), NAMES, print)


def test_a_clean_up_asks_by_label_and_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "REMOVAL_SECONDS", 60)
    played = Played([READY, {"uid": "u", "state": "removed"}])
    provisioning.withdraw_database(context(played), NAMES, print)
    assert played.made == [
        ("Namespace", "mautic-x", None, {"metadata": {"labels": {DATABASE: "removed"}}})
    ]
    stuck = {"uid": "u", "state": "waiting", "message": "DROP: 1205"}
    monkeypatch.setattr(provisioning, "REMOVAL_SECONDS", 0)
    with pytest.raises(SuiteError, match=r"is not dropped after 0 s: it says 'waiting: DROP: 1205"):
        provisioning.withdraw_database(context(Played([stuck])), NAMES, print)


@pytest.mark.parametrize(
    ("labels", "password", "given"),
    [({}, "old", True), ({}, "", False), ({DATABASE: "provisioned"}, "old", False)],
)
def test_only_an_environment_of_before_hands_its_password_over(
    labels: dict[str, str], password: str, given: bool
) -> None:
    played = Played([None])
    found = {"metadata": {"labels": labels}}
    provisioning.hand_over(context(played), NAMES, found, password)
    assert [item["metadata"]["name"] for item in played.made] == ["mautic-database"] * given


def test_of_two_runs_that_hand_over_the_second_one_leaves_it_as_it_is() -> None:
    class Taken(Played):
        def create(self, item: Any) -> None:
            raise ConflictError("it is there", status=409)

    provisioning.hand_over(context(Taken([None])), NAMES, {"metadata": {}}, "old")


def test_the_preflight_names_what_is_missing_with_the_remedy() -> None:
    class Forbidden(Played):
        def get(self, kind: str, name: str, namespace: str | None = None) -> Any:
            raise ClusterError("no", status=403)

    def problems(cluster: Any) -> list[str]:
        return list(provisioning.provisioner_problems(cluster, "mautic-system", "dev"))

    remedy = "an administrator installs it: inv platform.apply --env dev"
    assert problems(Played([None])) == []
    assert problems(Played([None], deployment=None)) == [
        f"there is no provisioner of databases in mautic-system; {remedy}"
    ]
    assert problems(Forbidden([None])) == [
        f"you may not look at the provisioner in mautic-system; {remedy}"
    ]

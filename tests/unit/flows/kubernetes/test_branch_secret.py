"""A branch's Secret: made once, never anew over what was encrypted with it."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from tasks.adapters.kubernetes.helm import Revision
from tasks.core.environment import State
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.redact import Redactor
from tasks.flows.kubernetes.branch_secret import keys_in_use, missing_keys
from tests.support.fakes import NAMES, RELEASE
from tests.support.fakes_cluster import FakeCluster

ALL = (
    *("db_password", "db_root_password", "secret_key", "admin_password"),
    *("door_password", "redis_password"),
)
FIRST = ClusterRecord(State.DEPLOYING, NAMES.url)
READY = ClusterRecord(State.READY, NAMES.url, revision=1, history=(RELEASE,))
FAILED = Revision(1, "failed")


def cluster_with(*keys: str, value: str = "planted") -> Any:
    made = FakeCluster()
    if keys:
        made.put("Secret", "mautic", NAMES.namespace)
        data = dict.fromkeys(keys, base64.b64encode(value.encode()).decode())
        made.objects["Secret", NAMES.namespace, "mautic"]["data"] = data
    return made


def missing(cluster: Any, kept: tuple[str, ...]) -> tuple[str, ...]:
    return missing_keys(cluster, NAMES, Redactor(), kept=kept)


@pytest.mark.parametrize(
    ("record", "history", "in_use"),
    [
        (None, (), False),
        (FIRST, (), False),
        (FIRST, (FAILED,), True),
        (None, (FAILED,), True),
        (READY, (), True),
        (replace(READY, state=State.FAILED), (), True),
        (replace(FIRST, state=State.REMOVING), (), False),
        (replace(FIRST, state=State.REMOVING), (FAILED,), True),
    ],
)
def test_secrets_are_in_use_once_a_release_or_a_record_of_one_is_there(
    record: ClusterRecord | None, history: tuple[Revision, ...], in_use: bool
) -> None:
    for has_server in (True, False):
        assert bool(keys_in_use(record, history, has_server=has_server)) is in_use


@pytest.mark.parametrize("there", [(), ALL[:1]])
def test_what_a_first_deploy_lacks_is_made(there: tuple[str, ...]) -> None:
    assert missing(cluster_with(*there), ()) == ALL[len(there) :]


@pytest.mark.parametrize(
    ("has_server", "there", "lost"),
    [
        (False, (), "db_password, db_root_password, secret_key"),
        (True, (), "secret_key"),
        (False, ALL[1:], "db_password"),
        (True, ALL[:2], "secret_key"),
    ],
)
def test_what_a_release_has_been_given_is_not_made_anew(
    has_server: bool, there: tuple[str, ...], lost: str
) -> None:
    kept = keys_in_use(READY, (), has_server=has_server)
    with pytest.raises(SuiteError, match=rf"secrets of feature/x are gone \(.*: {lost}\)") as told:
        missing(cluster_with(*there), kept)
    assert "docs/troubleshooting.md" in (told.value.hint or "")
    assert "inv cleanup --env local --branch feature/x" in (told.value.hint or "")


def test_an_empty_value_is_none() -> None:
    kept = keys_in_use(READY, (), has_server=True)
    with pytest.raises(SuiteError, match="secret_key"):
        missing(cluster_with(*ALL, value=""), kept)


def test_what_can_be_made_anew_is() -> None:
    own, server = (keys_in_use(READY, (), has_server=each) for each in (False, True))
    assert missing(cluster_with(*ALL), own) == ()
    assert missing(cluster_with(*ALL[:3]), own) == ALL[3:]
    assert missing(cluster_with("secret_key"), server) == (*ALL[:2], *ALL[3:])

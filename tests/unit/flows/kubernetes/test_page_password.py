"""The password of the page of all environments."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from tasks.core.errors import InputError
from tasks.core.kubernetes.entrance import PAGE_SECRET
from tasks.core.kubernetes.platform import inputs_of
from tasks.flows.kubernetes.page_password import PagePassword
from tests.support.fakes_cluster import FakeCluster
from tests.unit.core.kubernetes.test_entrance import led, settings

INPUTS = inputs_of(settings(dev=led()), "dev", {})


def of(cluster: FakeCluster) -> PagePassword:
    return PagePassword(cluster, INPUTS)  # type: ignore[arg-type]


def test_it_is_made_once_and_kept() -> None:
    cluster = FakeCluster()
    with pytest.raises(InputError, match="no password yet"):
        of(cluster).read()
    (step,) = of(cluster).steps()
    assert PAGE_SECRET in step.subject
    of(cluster).make()
    assert list(of(cluster).steps()) == []
    password = of(cluster).read()
    assert len(password) >= 32
    secret = cluster.objects["Secret", INPUTS.namespace, PAGE_SECRET]
    assert base64.b64decode(secret["data"]["password"]).decode() == password


def test_an_empty_one_is_none() -> None:
    cluster = FakeCluster()
    cluster.put("Secret", PAGE_SECRET, INPUTS.namespace)
    assert len(list(of(cluster).steps())) == 1


def test_without_an_entrance_there_is_none() -> None:
    made = PagePassword(FakeCluster(), replace(INPUTS, entrance=""))  # type: ignore[arg-type]
    assert list(made.steps()) == []

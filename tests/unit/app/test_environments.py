"""What is said of a site's login where a load balancer asks for it, and of caught mails."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.registry.oci import UnreachableError
from tasks.app import environments, images, wiring
from tasks.app.existing import mail_url, show_door
from tasks.core.errors import InputError
from tasks.core.settings import Environment
from tasks.flows.target import Request
from tests.support.fakes import NAMES

URL = "https://main.dev.example.com"
POOL = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
ASKS = "previews.auth.eu-west-3.amazoncognito.com"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv("CI", raising=False)
    return []


TAG = "1a2b3c4d"
FIRST = "deploy feature/x to local (1a2b3c4d): what is missing of its images is built first"
MARKER = f"branch.{NAMES.slug}.{TAG}"


class FakeRegistry:
    """A registry that has the same tags of both images; None: it does not answer."""

    def __init__(self, tags: set[str] | None) -> None:
        self._tags = tags

    def digests(self, wanted: Sequence[tuple[str, str]]) -> list[str | None]:
        if self._tags is None:
            raise UnreachableError("no answer")
        return ["sha256:1" if tag in self._tags else None for _, tag in wanted]


@pytest.mark.parametrize(
    ("tags", "build", "protected", "said"),
    [
        ({TAG, MARKER}, True, False, ["deploy feature/x to local (1a2b3c4d)", "deployed"]),
        (set(), True, False, [FIRST, "built feature/x in local", "deployed"]),
        # Another branch has built the same commit.
        ({TAG}, True, False, [FIRST, "built feature/x in local", "deployed"]),
        (None, True, False, [FIRST, "built feature/x in local", "deployed"]),
        (set(), False, False, ["deploy feature/x to local (1a2b3c4d)", "deployed"]),
        (set(), True, True, ["deploy feature/x to local (1a2b3c4d)", "deployed"]),
    ],
)
def test_a_deploy_says_what_it_does_and_builds_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    tags: set[str] | None,
    build: bool,
    protected: bool,
    said: list[str],
) -> None:
    told: list[str] = []
    session: Any = SimpleNamespace(
        settings=SimpleNamespace(environment=lambda _: SimpleNamespace(protected=protected)),
        console=SimpleNamespace(say=told.append),
        names_in=lambda environment, branch: NAMES,
        git=SimpleNamespace(committed=lambda _: 0, was_pushed=lambda _: False),
    )
    target = SimpleNamespace(deployer=None)
    monkeypatch.setattr(wiring, "registry", lambda *_: FakeRegistry(tags))
    monkeypatch.setattr(wiring, "target", lambda *_: target)
    monkeypatch.setattr(environments, "run_deploy", lambda *_, **__: told.append("deployed"))
    monkeypatch.setattr(
        images,
        "branch_build",
        lambda _, env, branch: SimpleNamespace(
            make=lambda: told.append(f"built {branch} in {env}")
        ),
    )
    request = Request(NAMES, "r", "ada@host", TAG)
    environments.deploy(session, request, build=build)
    assert told == said


OIDC = {
    "door": "oidc",
    "door_oidc": {"user_pool_arn": POOL, "client_id": "4f9ab", "domain": "previews"},
}


def _session(said: list[str], door: dict[str, Any]) -> Any:
    own = Environment.model_validate(
        {
            "target": "kubernetes",
            "cluster": {"kind": "context", "name": "mine"},
            "branches": ["*"],
            "host": "{slug}.dev.example.com",
            "registry": {"url": "registry.example.com/x"},
            **door,
        }
    )
    return SimpleNamespace(
        settings=SimpleNamespace(environment={"dev": own}.__getitem__),
        console=SimpleNamespace(data=said.append),
    )


def _show(said: list[str], duration: str) -> None:
    session = _session(said, OIDC)
    # Nothing is asked of the cluster: it has no password of this door.
    found: Any = SimpleNamespace(names=SimpleNamespace(environment="dev", url=URL))
    show_door(session, found, duration)


def test_the_user_pool_asks(said: list[str]) -> None:
    _show(said, "")
    assert said == [URL, f"login: your own, at {ASKS}"]


def test_no_link_opens_it(said: list[str]) -> None:
    with pytest.raises(InputError, match=f"no link opens {URL}.* at {ASKS}") as caught:
        _show(said, "7d")
    assert "door: login" in (caught.value.hint or "")
    assert said == []


@pytest.mark.parametrize(
    ("door", "services", "shown"),
    [
        ({}, ("web", "mail"), f"{URL}/_mail/"),
        ({}, ("web", "worker-email"), ""),
        ({"door": "open"}, ("web", "mail"), ""),
        (OIDC, ("web", "mail"), ""),
    ],
)
def test_mails_are_shown_behind_a_password_alone(
    door: dict[str, Any], services: tuple[str, ...], shown: str
) -> None:
    parts = [SimpleNamespace(service=name) for name in services]
    found: Any = SimpleNamespace(names=SimpleNamespace(environment="dev", url=URL), parts=parts)
    assert mail_url(_session([], door), found) == shown

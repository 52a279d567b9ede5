"""What is said of a site's login where a load balancer asks for it, and of caught mails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.app.environments import mail_url, show_door
from tasks.core.errors import InputError
from tasks.core.settings import Environment

URL = "https://main.dev.example.com"
POOL = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
ASKS = "previews.auth.eu-west-3.amazoncognito.com"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv("CI", raising=False)
    return []


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

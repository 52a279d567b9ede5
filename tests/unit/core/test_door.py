"""What opens a door instead of its password."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tasks.core import door
from tasks.core.durations import hours_of, seconds_of
from tasks.core.errors import InputError
from tasks.core.settings import Environment, RegistrySettings


def test_every_password_has_a_cookie_of_its_own_that_does_not_show_it() -> None:
    one, other = door.cookie("one"), door.cookie("other")
    assert one != other
    assert one == door.cookie("one")
    assert "one" not in one
    assert door.headers("one") == {"Cookie": one}
    assert door.headers("") == {}
    assert door.password_of({"door_password": "one\n"}) == "one"
    assert door.password_of({}) == ""


def test_a_link_carries_its_end_and_a_seal_over_it() -> None:
    url, _, ticket = door.link("https://a.example", "one", 4711).partition("?ticket=")
    assert url == "https://a.example/.door"
    seal, _, until = ticket.partition(".")
    assert until == "4711"
    key = hashlib.sha256(b"mautic-multidev seal\none").hexdigest()
    expected = hashlib.md5(f"4711 {key}".encode(), usedforsecurity=False).digest()
    assert base64.urlsafe_b64decode(f"{seal}==") == expected
    seals = {door.link("", *given) for given in (("one", 4711), ("one", 4712), ("two", 4711))}
    assert len(seals) == 3


@pytest.mark.parametrize(
    ("given", "protected", "has_door"),
    [
        (None, False, True),
        (None, True, False),
        ("open", False, False),
        ("login", True, True),
        ("login", False, True),
        ("oidc", True, True),
    ],
)
def test_there_is_a_door_unless_it_is_production_or_said_otherwise(
    given: str | None, protected: bool, has_door: bool
) -> None:
    own = Environment.model_validate(
        {
            "target": "compose",
            "branches": ["*"],
            "host": "{slug}.localhost",
            "registry": RegistrySettings(url="localhost:5050/x"),
            "protected": protected,
            **({"door": given} if given else {}),
        }
    )
    assert own.has_door is has_door
    assert own.has_password is (has_door and given != "oidc")


def test_a_user_pool_asks_at_amazon_s_domain_or_its_own() -> None:
    arn = "arn:aws:cognito-idp:eu-west-3:123456789012:userpool/eu-west-3_AbC123"
    assert door.pool_host(arn, "previews") == "previews.auth.eu-west-3.amazoncognito.com"
    assert door.pool_host(arn, "login.example.com") == "login.example.com"


def test_a_duration_has_a_number_and_a_unit() -> None:
    assert [hours_of(each) for each in ("12h", "7d", "2w")] == [12, 168, 336]
    for wrong in ("", "0d", "7", "7 d", "7m", "-1d", "10000h"):
        with pytest.raises(InputError, match="12h, 7d, 2w"):
            hours_of(wrong)
    assert [seconds_of(each) for each in ("90s", "10m", "2h", "1w")] == [90, 600, 7200, 604_800]

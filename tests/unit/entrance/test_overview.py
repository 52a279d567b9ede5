"""The page of all environments at the entrance: who sees it, and what it shows."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from entrance import overview
from entrance.answers import Answer
from entrance.api import ApiError
from entrance.fleet import Fleet
from entrance.overview import Overview, is_login
from tasks.core.cost import Requests
from tasks.core.environment import Failure, Owner, Release, State
from tasks.core.kubernetes.labels import ASLEEP
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.record import RECORD, ClusterRecord
from tasks.core.names import Names
from tasks.core.names import names as names_of
from tests.unit.entrance.test_rules import RULES

PASSWORD = "open, sésame"
(DEV, SHARED) = RULES.sites
RELEASE = Release("1a2b3c4d", "1a2b3c4d" + "e" * 32, "m", "n", "ada@host", "2026-11-01T10:00:00")
FAILURE = Failure("0badc0de", "2026-11-01T12:00:00", "web: <b>killed</b> for its memory")


def header(login: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(login.encode()).decode()}"


RIGHT = header(f"preview:{PASSWORD}")


def names(branch: str, environment: str = "dev") -> Names:
    return names_of(
        branch,
        environment=environment,
        project="mautic",
        namespace="mautic-{slug}",
        host="{slug}.dev.example.com",
    )


def planted(branch: str, environment: str = "dev", **said: str) -> dict[str, Any]:
    """Return the namespace of a branch that was deployed."""
    found = names(branch, environment)
    record = ClusterRecord(
        State.READY, found.url, history=(RELEASE,), requests=Requests(500, 2**30)
    ).with_failure(RELEASE, FAILURE)
    owner = Owner(environment, found.slug, branch, "git@git.example.com:g/p.git")
    made = namespace(owner, found, record, "")
    made["metadata"]["creationTimestamp"] = "2026-11-01T09:00:00Z"
    made["metadata"]["annotations"] |= said
    return made


def web(where: str, replicas: int, available: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": where, "name": "web"},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available},
    }


class Played:
    """An API server that has two environments, of which one runs."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_away = False

    def find(self, kind: str, selector: str = "", fields: str = "") -> list[dict[str, Any]]:
        self.asked.append(f"{kind} {selector}{fields}")
        if self.is_away:
            raise ApiError(0, "the token abc does not open it")
        if kind == "leases":
            return []
        return [web("mautic-awake", 1, 1), web("mautic-tired", 0, 0), web("elsewhere", 1, 1)]


@pytest.fixture
def api() -> Played:
    return Played()


@pytest.fixture
def shown(api: Played, tmp_path: Path) -> Overview:
    fleet = Fleet(None)  # type: ignore[arg-type]
    asleep = '{"since": "2026-11-01T20:00:00", "by": "ada@host", "why": "by hand"}'
    for one in (
        planted("awake"),
        planted("tired", **{ASLEEP: asleep}),
        planted("broken", **{RECORD: "{"}),
        planted("theirs", "shared"),
    ):
        fleet._found[one["metadata"]["name"]] = one
    fleet.known.set()
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return Overview(api, RULES, fleet, tmp_path / "password")  # type: ignore[arg-type]


def ask(shown: Overview, login: str = RIGHT, target: str = "/", method: str = "GET") -> Answer:
    return shown.answer(DEV, method, target, login)


@pytest.mark.parametrize(
    "login",
    [
        "",
        "Basic",
        "Basic ",
        "Basic %%%",
        header(""),
        header("preview:"),
        header("preview"),
        header(f":{PASSWORD}"),
        header(f"admin:{PASSWORD}"),
        header(f"preview:{PASSWORD} "),
        header(f"preview:{PASSWORD[:-1]}"),
        header(f"preview:{PASSWORD}", "Bearer"),
        f"Basic preview:{PASSWORD}",
    ],
)
def test_without_the_login_nobody_sees_it_and_nobody_is_asked(
    shown: Overview, api: Played, login: str
) -> None:
    for target in ("/", "/other", "/?x"):
        found = ask(shown, login, target)
        assert found.status == 401
        assert found.headers()["WWW-Authenticate"].startswith('Basic realm="environments in dev"')
        for name in ("awake", "tired", "mautic-", PASSWORD):
            assert name not in found.body
    assert api.asked == []


def test_with_the_login_it_shows_all_of_that_environment(shown: Overview, api: Played) -> None:
    found = ask(shown)
    assert (found.status, found.kind) == (200, "text/html; charset=utf-8")
    for words in ("mautic: environments in dev", "running", "asleep", "EUR a month", "unreadable"):
        assert words in found.body
    assert 'href="https://awake.dev.example.com"' in found.body
    assert "&lt;b&gt;killed" in found.body
    assert "by hand, ada@host" in found.body
    assert "theirs" not in found.body
    assert "elsewhere" not in found.body
    assert PASSWORD not in found.body
    policy = found.headers()["Content-Security-Policy"]
    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'none'" in policy
    assert found.headers()["Cache-Control"] == "no-store"
    assert api.asked == [
        "deployments app.kubernetes.io/component=web",
        "leases metadata.name=mautic-multidev",
    ]


def test_it_is_made_anew_for_who_asks_later_and_of_its_own_site(
    shown: Overview, api: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(shown)
    assert ask(shown) is first
    theirs = shown.answer(SHARED, "GET", "/", RIGHT)
    assert "environments in shared" in theirs.body
    assert "awake" not in theirs.body
    asked = len(api.asked)
    monkeypatch.setattr(overview, "FRESH_SECONDS", -1)
    shown._fleet._found.pop("mautic-awake")
    assert "awake.dev" not in ask(shown).body
    assert len(api.asked) == asked + 2


def test_a_name_that_the_rule_does_not_give_is_not_shown(shown: Overview) -> None:
    other = planted("stray")
    other["metadata"]["name"] = "mautic-other"
    shown._fleet._found["mautic-other"] = other
    assert "stray" not in ask(shown).body


def test_what_was_written_into_it_shows_no_login_and_acts_in_nothing(shown: Overview) -> None:
    evil = planted("evil", **{"mautic-multidev.io/branch": 'x"><script>1</script>\u202e'})
    evil["metadata"]["annotations"][ASLEEP] = (
        '{"since": "2026-11-01T20:00:00", "by": "https://ada:hunter22@git.example.com", "why": "x"}'
    )
    shown._fleet._found["mautic-evil"] = evil
    body = ask(shown).body
    assert "hunter22" not in body
    assert "<script>1" not in body
    assert "\u202e" not in body


def test_without_a_password_it_stays_shut(shown: Overview, tmp_path: Path) -> None:
    for change in (lambda file: file.write_text("\n"), Path.unlink):
        change(tmp_path / "password")
        for login in (RIGHT, header("preview:")):
            assert ask(shown, login).status == 503


def test_while_the_cluster_does_not_answer_it_says_so_and_no_more(
    shown: Overview, api: Played
) -> None:
    api.is_away = True
    found = ask(shown)
    assert (found.status, found.body) == (503, "The cluster does not answer, or refuses.\n")
    shown._fleet.known.clear()
    shown._last.clear()
    assert ask(shown).status == 503


def test_it_can_only_be_read_and_there_is_one(shown: Overview) -> None:
    assert ask(shown, method="POST").status == 405
    assert ask(shown, target="/other").status == 404
    assert ask(shown, target="/?state=asleep").status == 200
    assert ask(shown, method="HEAD").status == 200


def test_the_login_is_that_of_basic_in_any_case_of_its_name() -> None:
    assert is_login(header("preview:a:b", "basic"), "a:b")
    assert not is_login("Basic \N{BULLET}", "a")

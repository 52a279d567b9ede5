"""Who is told what became of an environment: every way by itself, and none fails a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters import gitlab_api, webhook
from tasks.app import news
from tasks.app.news import Teller, open_merge_request
from tasks.app.out import check_summary
from tasks.core.environment import Failure, State
from tasks.core.errors import HeldError, InputError, SuiteError
from tasks.core.news import Event, News
from tasks.core.setting_news import NewsSettings
from tasks.flows.deploy import DeployResult, FailedDeployError
from tests.support.clock import PlayedClock
from tests.support.fakes import NAMES, PLAN, REQUEST, a_console, a_record
from tests.support.gitlab_api import TOKEN, FakeGitlab, Fault

HOOK = "HOOK"
SECRET = "/services/T0/B0/s3cretHook"
NEWS = News(
    event=Event.FAILED,
    branch="feature/x",
    environment="dev",
    slug="feature-x-0a1b2c",
    at="2026-11-01T10:00:00+00:00",
    cause=f"its log says {TOKEN} and https://ada:pw1234@example.com",
)


def a_session(**settings: Any) -> tuple[Any, StringIO]:
    console, said = a_console()
    own = SimpleNamespace(has_door=True)
    whole = SimpleNamespace(news=NewsSettings(**settings), environment=lambda _: own)
    session = SimpleNamespace(settings=whole, console=console, redactor=console.redactor)
    return session, said


@contextmanager
def a_chat(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """Yield a webhook's address, and what it is sent."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == SECRET
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{SECRET}", sent
        server.shutdown()


def test_all_ways_are_told_and_none_gets_a_secret(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    with FakeGitlab() as gitlab, a_chat() as (address, sent):
        session, said = a_session(webhook=HOOK)
        environ = {**gitlab.variables(), HOOK: address}
        Teller(session, str(summary), environ).tell(NEWS)
        (body,) = gitlab.own()
    written = summary.read_text()
    assert written.startswith("before\n❌ **`feature/x` was not deployed to `dev`**\n")
    assert "mautic-multidev" not in written
    for text in (body, written, *sent):
        assert "its log says" in text
        assert TOKEN not in text
        assert "pw1234" not in text
    assert len(sent) == 1
    assert said.getvalue() == ""


def test_what_fails_is_a_warning_without_the_address_and_stops_no_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitlab_api, "CLOCK", PlayedClock().clock)
    summary = tmp_path / "summary.md"
    with FakeGitlab() as gitlab, a_chat(500) as (address, _):
        gitlab.faults = [Fault(502)] * 20
        session, said = a_session(webhook=HOOK, summary=str(tmp_path / "no" / "folder"))
        environ = {**gitlab.variables(), HOOK: address}
        Teller(session, "", environ).tell(NEWS)
        Teller(session, str(summary), {**environ, HOOK: f"http://127.0.0.1:1{SECRET}"}).tell(NEWS)
    lines = said.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "! the summary was not written",
        "! the merge request's note was not written",
        "! the chat was not written",
        "! the merge request's note was not written",
        "! the chat was not written",
    ]
    nowhere = tmp_path / "no" / "folder"
    assert lines[0] == f"! the summary was not written: {nowhere}: No such file or directory"
    assert "s3cretHook" not in said.getvalue()
    assert TOKEN not in said.getvalue()
    assert summary.read_text().startswith("❌")


def test_a_summary_goes_to_a_device_too_and_never_to_a_file_called_so(tmp_path: Path) -> None:
    session, said = a_session(summary="/dev/null")
    check_summary("/dev/null")
    Teller(session, "", {}).tell(NEWS)
    assert said.getvalue() == ""
    session, _ = a_session(summary="-")
    with pytest.raises(InputError, match=r"^news\.summary -: .* never to stdout"):
        Teller(session, "", {})
    with pytest.raises(InputError, match=f"^--summary {tmp_path}: it is a folder"):
        check_summary(str(tmp_path))


def test_a_chats_address_is_in_no_error_and_masked_everywhere() -> None:
    address = f"http://127.0.0.1:1{SECRET}?key=s3cretKey"
    with pytest.raises(SuiteError, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
        webhook.send(address, "text")
    assert "s3cret" not in "\n".join(caught.value.lines())
    session, _ = a_session(webhook=HOOK)
    Teller(session, "", {HOOK: address})
    for shown in (address, f"POST {SECRET}?key=s3cretKey HTTP/1.1"):
        assert "s3cret" not in session.redactor(shown)


@pytest.mark.parametrize("address", ["nonsense", "ftp://example.com/x", "https://"])
def test_what_is_no_address_is_told_without_it(address: str) -> None:
    with pytest.raises(SuiteError, match=r"^the webhook's variable holds no address$"):
        webhook.send(address, "text")


def test_without_a_token_one_line_says_so_and_gitlab_is_not_asked() -> None:
    with FakeGitlab() as gitlab:
        session, said = a_session(webhook=HOOK)
        Teller(session, "", {**gitlab.variables(), "GITLAB_NOTE_TOKEN": ""}).tell(NEWS)
    assert gitlab.seen == []
    assert said.getvalue().splitlines() == [
        "no note in the merge request: there is no GITLAB_NOTE_TOKEN",
        "nothing is told to the chat: there is no HOOK",
    ]


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"CI_MERGE_REQUEST_IID": "12"}, 12),
        ({"CI_OPEN_MERGE_REQUESTS": "team/mautic!7"}, 7),
        ({"CI_OPEN_MERGE_REQUESTS": "other/team/mautic!6,team/mautic!8,team/mautic!9"}, 8),
        ({"CI_OPEN_MERGE_REQUESTS": "team/mautic-fork!7"}, 0),
        ({"CI_OPEN_MERGE_REQUESTS": "team/mauticX!7,x/team/mautic!7"}, 0),
        ({}, 0),
    ],
)
def test_the_merge_request_is_that_of_this_project(changes: dict[str, str], number: int) -> None:
    assert open_merge_request({"CI_PROJECT_PATH": "team/mautic", **changes}) == number


def test_on_a_persons_machine_gitlab_is_not_asked() -> None:
    with FakeGitlab() as gitlab:
        session, said = a_session()
        environ = gitlab.variables()
        del environ["CI_JOB_ID"]
        Teller(session, "", environ).tell(NEWS)
    assert (gitlab.seen, said.getvalue()) == ([], "")


# -- what is told ---------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[News]:
    heard: list[News] = []
    monkeypatch.setattr(Teller, "tell", lambda _, each: heard.append(each))
    return heard


def deploy(result: DeployResult | Exception) -> None:
    def run() -> DeployResult:
        if isinstance(result, Exception):
            raise result
        return result

    news.deploy(a_session()[0], REQUEST, run)


def test_a_first_deploy_and_the_one_after_a_failure_are_news_and_others_are_not(
    told: list[News],
) -> None:
    record = a_record(State.READY, PLAN.release)
    failed = record.with_failure(PLAN.release, Failure("x", "2030-01-01", "it broke"))
    failed = replace(failed, state=State.DEPLOYING)
    for each in (None, record, failed, replace(record, state=State.ROLLED_BACK)):
        plan = replace(PLAN, record=each, mail_url="https://mail")
        deploy(DeployResult(NAMES.url, True, None, plan, "show it"))
    assert [each.is_change for each in told] == [True, False, True, True]
    first = told[0]
    assert (first.event, first.url, first.mail_url) == (Event.RUNS, NAMES.url, "https://mail")
    assert first.migrations == "none; the newest is Version1"
    assert first.login == f"./inv url --login --env {NAMES.environment} --branch {NAMES.branch}"
    assert first.password == "show it"


def test_migrations_are_told_from_which_to_which(told: list[News]) -> None:
    plan = replace(
        PLAN,
        record=a_record(State.READY, PLAN.release),
        release=replace(PLAN.release, migration="Version2"),
    )
    deploy(DeployResult(NAMES.url, True, None, plan, ""))
    assert told[0].migrations == "from Version1 to Version2"


def test_a_failure_is_told_and_stays_one(told: list[News]) -> None:
    error = FailedDeployError("x", "it broke", "rolled back", "artifacts/x")
    with pytest.raises(FailedDeployError):
        deploy(error)
    with pytest.raises(SuiteError):
        deploy(SuiteError("the cluster is not ready"))
    assert [(each.event, each.cause) for each in told] == [
        (Event.FAILED, "it broke"),
        (Event.FAILED, "the cluster is not ready"),
    ]
    assert (told[0].became, told[0].evidence) == ("rolled back", "artifacts/x")


def test_who_gives_way_leaves_the_news_to_the_other(told: list[News]) -> None:
    with pytest.raises(HeldError):
        deploy(HeldError("a newer commit waits"))
    assert told == []


def test_only_a_clean_up_that_removed_something_is_news(told: list[News]) -> None:
    for count in (0, 3):
        removal: Any = SimpleNamespace(run=lambda count=count: count)
        assert news.cleanup(a_session()[0], removal, NAMES) == count
    assert [each.event for each in told] == [Event.REMOVED]

from __future__ import annotations

import pytest

from tasks.adapters.http import Response
from tasks.core.errors import SuiteError
from tasks.flows import smoke
from tasks.flows.smoke import first_page, smoke_test, stylesheets

URL = "http://main.localhost:8080"
LOGIN = '<html><link rel="icon" href="/i.png"><link rel="stylesheet" href="/media/a.css?v1"></html>'


def _page(text: str = "", status: int = 200) -> Response:
    return Response(status, {}, text)


def test_login_page_and_its_stylesheet_are_asked_for() -> None:
    site = {"/s/login": _page(LOGIN), "/media/a.css?v1": _page("body {}")}
    said: list[str] = []
    smoke_test(site.__getitem__, said.append, URL, patience_seconds=0)
    assert said == ["/s/login and /media/a.css?v1 answer"]


def test_of_a_first_page_nothing_else_is_asked_for() -> None:
    asked: list[str] = []

    def get(path: str) -> Response:
        asked.append(path)
        return _page(LOGIN)

    first_page(get, lambda _: None, URL, patience_seconds=0)
    assert asked == ["/s/login"]
    with pytest.raises(SuiteError, match="answers 503"):
        first_page(lambda _: _page("", 503), lambda _: None, URL, patience_seconds=0)


@pytest.mark.parametrize("status", [200, 302, 403, 500])
def test_a_door_that_a_stranger_passes_is_none(status: int) -> None:
    site = {"/s/login": _page(LOGIN), "/media/a.css?v1": _page("body {}")}

    def test(answer: Response) -> None:
        smoke_test(
            site.__getitem__,
            lambda _: None,
            URL,
            patience_seconds=0,
            as_stranger={"/s/login": answer}.__getitem__,
        )

    test(_page("", 401))
    with pytest.raises(SuiteError, match=f"answers {status}"):
        test(_page(LOGIN, status))
    with pytest.raises(SuiteError, match="answers 200 to a stranger") as caught:
        test(_page(LOGIN))
    assert "inv build" in (caught.value.hint or "")


ASKS = "previews.auth.eu-west-3.amazoncognito.com"


def _ask(*answers: Response) -> None:
    site = {"/s/login": _page(LOGIN), "/media/a.css?v1": _page("body {}")}
    left = iter(answers)
    smoke_test(
        site.__getitem__,
        lambda _: None,
        URL,
        patience_seconds=5 if len(answers) > 1 else 0,
        as_stranger=lambda _: next(left),
        login_host=ASKS,
    )
    assert not list(left)


def _moved(to: str, status: int = 302) -> Response:
    return Response(status, {"location": to}, "")


@pytest.mark.parametrize("answer", [_moved(f"https://{ASKS}/oauth2/authorize?x=1"), _page("", 401)])
def test_a_load_balancer_sends_a_stranger_to_the_user_pool(
    monkeypatch: pytest.MonkeyPatch, answer: Response
) -> None:
    monkeypatch.setattr("tasks.flows.smoke.POLL_SECONDS", 0)
    _ask(answer)
    # It learns of the route later than the API server.
    _ask(_page("", 404), _page(LOGIN), _moved("/s/login"), answer)


@pytest.mark.parametrize(
    "answer",
    [
        _page(LOGIN),
        _page("", 403),
        _page("", 404),
        _moved("/s/login"),
        _moved(f"http://{ASKS}/oauth2/authorize"),
        _moved(f"https://{ASKS}.example.com/"),
        _moved(f"https://example.com/?x=https://{ASKS}"),
        _moved(f"https://{ASKS}/", 301),
        Response(302, {}, ""),
    ],
)
def test_nothing_else_of_a_load_balancer_is_a_login(answer: Response) -> None:
    with pytest.raises(SuiteError, match=f"answers {answer.status} to a stranger, instead of") as e:
        _ask(answer)
    assert "the status of the HTTPRoute" in (e.value.hint or "")


def test_a_stranger_is_patient_with_a_busy_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flows.smoke.POLL_SECONDS", 0)
    site = {"/s/login": _page(LOGIN), "/media/a.css?v1": _page("body {}")}
    answers = iter([_page("", 429), _page("", 503), _page("", 401)])
    smoke_test(
        site.__getitem__,
        lambda _: None,
        URL,
        patience_seconds=5,
        as_stranger=lambda _: next(answers),
    )
    assert list(answers) == []


@pytest.mark.parametrize(
    ("login", "style", "message"),
    [
        (_page("oops", 500), _page("body {}"), "/s/login answers 500"),
        (_page("<html></html>"), _page("body {}"), "links no stylesheet"),
        (_page(LOGIN), _page("", 404), "a.css?v1 answers 404"),
        (_page(LOGIN), _page("", 200), "instead of a stylesheet"),
        (_page(LOGIN), _page("", 503), "a.css?v1 answers 503"),
    ],
    ids=[
        "error page",
        "no stylesheet",
        "missing stylesheet",
        "empty stylesheet",
        "busy for ever",
    ],
)
def test_what_is_wrong_is_named(login: Response, style: Response, message: str) -> None:
    site = {"/s/login": login, "/media/a.css?v1": style}
    with pytest.raises(SuiteError) as caught:
        smoke_test(site.__getitem__, lambda _: None, URL, patience_seconds=0)
    assert message in caught.value.message


def test_a_site_that_answers_a_little_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "POLL_SECONDS", 0)
    busy = [_page("", 429), _page("", 500), _page("", 503)]
    answers = [_page("", 404), *busy, _page(LOGIN), *busy, _page("body {}")]
    said: list[str] = []
    smoke_test(lambda _: answers.pop(0), said.append, URL, patience_seconds=90)
    assert answers == []
    # Each new answer once, with how long it is waited for.
    assert f"{URL}/s/login answers 404; waiting up to 90 s" in said
    assert len(said) == len(set(said))


def test_a_site_that_stays_slow_is_told_with_the_setting_for_it() -> None:
    with pytest.raises(SuiteError, match="answers 503, after 0 s of waiting") as caught:
        smoke_test(lambda _: _page("", 503), lambda _: None, URL, patience_seconds=0)
    assert caught.value.hint
    assert "patience.smoke_seconds" in caught.value.hint


def test_a_stylesheet_that_is_missing_is_not_waited_for() -> None:
    answers = [_page(LOGIN), _page("", 404)]
    with pytest.raises(SuiteError, match="answers 404 instead of a stylesheet"):
        smoke_test(lambda _: answers.pop(0), lambda _: None, URL, patience_seconds=30)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<link rel="stylesheet" href="a.css">', ["/s/a.css"]),
        ('<link href=/b.css rel="preload stylesheet">', ["/b.css"]),
        (f'<link rel="stylesheet" href="{URL}/c.css">', ["/c.css"]),
        ('<link rel="stylesheet" href="https://fonts.example/d.css">', []),
        ('<link rel="stylesheet">', []),
        (
            '<link rel="stylesheet" href="//main.localhost:8080/e.css?x=1&amp;y=2">',
            ["/e.css?x=1&y=2"],
        ),
    ],
)
def test_own_stylesheets_of_a_page(page: str, found: list[str]) -> None:
    assert stylesheets(page, f"{URL}/s/login") == found

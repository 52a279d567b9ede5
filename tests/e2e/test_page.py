"""The page of all environments in a real browser: what is seen, sorted, filtered, and asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasks.adapters.page_server import Answer, PageServer
from tasks.app.page import read_assets
from tasks.core.environment import State
from tests.support.browser import asked, chromium, complaints
from tests.support.fleet import EVIL, fleet, html
from tests.support.suite import ROOT

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

MANY = 40
SCREENSHOTS = ROOT / "artifacts" / "screenshots"
"""Kept out of git with everything else in artifacts/."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's address as a file."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html(fleet(MANY)))
    return path.as_uri()


@pytest.fixture
def shown(browser: Chrome, file: str) -> Chrome:
    """The browser, with the page in it."""
    width(browser, 1400)
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(file)
    return browser


def width(browser: Chrome, pixels: int, scheme: str = "light") -> None:
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    colours = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": colours})


def run(browser: Chrome, script: str, *args: Any) -> Any:
    return browser.execute_script(script, *args)  # type: ignore[no-untyped-call]


def column(browser: Chrome, title: str) -> list[str]:
    """Return what the rows that are shown say in a column, in their order."""
    found: list[str] = run(
        browser,
        "return [...document.querySelectorAll(`tbody tr:not([hidden]) [data-label='${arguments[0]}'"
        "] > div`)].map((each) => each.firstChild.textContent)",
        title,
    )
    return found


def known(browser: Chrome) -> list[float]:
    """Return the processors that are known, in their order."""
    return [float(each) for each in column(browser, "CPU") if each != "-"]


def choose(browser: Chrome, **values: str) -> None:
    """Fill in the controls, as a person does."""
    for name, value in values.items():
        run(
            browser,
            "const field = document.forms[0].elements[arguments[0]]; field.value = arguments[1]; "
            "field.dispatchEvent(new Event('input', {bubbles: true}))",
            *(name, value),
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pixels", [380, 800, 1400])
def test_no_width_has_more_than_fits(shown: Chrome, pixels: int, scheme: str) -> None:
    width(shown, pixels, scheme)
    wide: int = run(shown, "return document.documentElement.scrollWidth")
    assert wide <= pixels
    beyond = run(
        shown,
        "return [...document.querySelectorAll('header, dl, form, form *, .box')]"
        ".filter((each) => each.getBoundingClientRect().right > innerWidth + 1)"
        ".map((each) => each.outerHTML.slice(0, 80))",
    )
    assert beyond == []
    inside = run(
        shown, "const b = document.querySelector('.box'); return [b.scrollWidth, b.clientWidth]"
    )
    # As cards, and where there is room, it need not be moved; between it scrolls in its own box.
    assert (inside[0] > inside[1]) == (pixels == 800)
    cards = run(shown, "return getComputedStyle(document.querySelector('tbody tr')).display")
    assert cards == ("block" if pixels == 380 else "table-row")
    ground = run(shown, "return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 19, 25)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    assert shown.save_screenshot(str(SCREENSHOTS / f"page-{pixels}-{scheme}.png"))


def test_it_asks_for_nothing_and_nothing_in_it_acts(shown: Chrome, file: str) -> None:
    assert EVIL in column(shown, "Branch")
    assert run(shown, "return document.scripts.length") == 1
    asked_for = [url for url in asked(shown) if not url.startswith("data:")]
    assert asked_for == [file]
    assert complaints(shown) == []


def test_its_policy_holds_what_would_be_added_to_it(shown: Chrome) -> None:
    run(
        shown,
        "const made = document.createElement('script'); made.textContent = 'window.acted = 1';"
        "document.body.append(made); const image = new Image(); image.src = 'http://127.0.0.1:9/x';"
        "document.body.append(image)",
    )
    assert run(shown, "return window.acted") is None
    assert len([line for line in complaints(shown) if "Content Security Policy" in line]) == 2


def test_it_is_filtered_by_words_and_by_state(shown: Chrome) -> None:
    assert len(column(shown, "Branch")) == MANY
    choose(shown, words="LOGIN ada@")
    found = column(shown, "Branch")
    assert 0 < len(found) < MANY
    assert all("login" in each for each in found)
    assert set(column(shown, "Owner")) == {"ada@laptop"}
    assert shown.find_element("css selector", "output").text == f"{len(found)} of {MANY}"
    choose(shown, words="", state=State.ASLEEP)
    assert set(column(shown, "State")) == {"asleep"}
    choose(shown, words="no such thing")
    assert column(shown, "Branch") == []


def test_it_is_sorted_by_a_column_s_button_and_once_more_the_other_way(shown: Chrome) -> None:
    buttons = {each.text: each for each in shown.find_elements("css selector", "thead button")}
    buttons["CPU"].click()
    first = known(shown)
    assert first == sorted(first)
    assert len(set(first)) > 3
    head = buttons["CPU"].find_element("xpath", "..")
    assert head.get_attribute("aria-sort") == "ascending"
    buttons["CPU"].click()
    assert known(shown) == first[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    # A span of time is not sorted by its letters: 2d, 10d.
    buttons["Expires"].click()
    days = [int(each.removesuffix("d")) for each in column(shown, "Expires") if each != "pinned"]
    assert days == sorted(days)
    assert max(days) >= 10


def test_what_is_unknown_is_last_either_way(shown: Chrome) -> None:
    for down in (False, True):
        run(shown, "document.forms[0].elements.down.checked = arguments[0]", down)
        choose(shown, by="7")
        assert [number for number, said in enumerate(column(shown, "CPU")) if said == "-"] == [
            MANY - 1
        ]


def test_every_control_is_reached_and_used_by_the_keyboard(shown: Chrome) -> None:
    from selenium.webdriver import Keys

    active = "return document.activeElement.name || document.activeElement.innerText"
    reached = []
    for _ in range(8):
        shown.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(run(shown, active))
    assert reached[:4] == ["words", "state", "by", "down"]
    assert reached[5:8] == ["Branch", "State", "Commit"]
    shown.switch_to.active_element.send_keys(Keys.ENTER)
    assert shown.find_element("css selector", "[aria-sort]").text.startswith("Commit")


def test_loading_it_again_keeps_what_was_chosen(shown: Chrome) -> None:
    choose(shown, words="feature", state=State.RUNNING, by="4")
    before = column(shown, "Branch")
    assert 0 < len(before) < MANY
    shown.refresh()
    assert column(shown, "Branch") == before
    assert shown.find_element("name", "words").get_attribute("value") == "feature"


def test_without_scripts_it_is_a_table(browser: Chrome, file: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get("about:blank")
        browser.get(file)
        rows = browser.find_elements("css selector", "tbody tr")
        assert len(rows) == MANY
        assert all(row.is_displayed() for row in rows)
        assert not browser.find_element("css selector", "form").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_it_is_the_same_when_it_is_served(browser: Chrome) -> None:
    policy = {"Content-Security-Policy": f"{read_assets().policy}; frame-ancestors 'none'"}
    answer = Answer(200, "text/html", html(fleet(MANY)))
    with PageServer(0, lambda: answer, policy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get("about:blank")
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get(server.url)
        choose(browser, words="sms")
        assert 0 < len(column(browser, "Branch")) < MANY
        assert [url for url in asked(browser) if not url.startswith("data:")] == [server.url]
        assert complaints(browser) == []
        server.shutdown()


def test_five_hundred_are_filtered_while_somebody_types(browser: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(html(fleet(500)))
    browser.get(path.as_uri())
    took: float = run(
        browser,
        "const start = performance.now(); const form = document.forms[0]; "
        "form.elements.words.value = 'login'; form.dispatchEvent(new Event('input')); "
        "document.body.offsetHeight; return performance.now() - start",
    )
    assert took < 1000
    assert len(column(browser, "Branch")) == 63

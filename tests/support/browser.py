"""A real browser without a screen."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import missing

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # Nothing here goes to the world outside.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,800",
)


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Chromium without a screen, with a profile of its own, that notes every request."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        missing("no chromium, or no chromedriver")
    options = ChromeOptions()
    options.binary_location = program
    for argument in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(executable_path=driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def answers(browser: Chrome) -> dict[str, tuple[str, int]]:
    """Return what was answered since the last call: kind and status of each URL."""
    found = {}
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.responseReceived":
            response = message["params"]["response"]
            # The browser's own first page is of the scheme chrome.
            if response["url"].startswith("http"):
                found[response["url"]] = (message["params"]["type"], response["status"])
    return found


def asked(browser: Chrome) -> list[str]:
    """Return the URLs that were asked for since the last call, but for the browser's own."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = (
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    )
    return [url for url in urls if not url.startswith("chrome")]


def complaints(browser: Chrome) -> list[str]:
    """Return what the browser has complained of since the last call."""
    return [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]

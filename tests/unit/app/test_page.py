"""The page: its own style and script, and how it is written and answered."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.app import fleet as app_fleet
from tasks.app import page as app
from tasks.app.fleet import find_fleet
from tasks.app.page import FleetPage, read_assets
from tasks.app.prices import prices_of
from tasks.core.errors import ClusterError, InputError, RefusedError
from tasks.core.setting_prices import PriceSettings
from tests.support.fakes import FakeInspector, a_console
from tests.support.fleet import environment, fleet, html
from tests.support.price_lists import NODE, as_csv
from tests.unit.core.kubernetes.test_entrance import led, settings
from tests.unit.core.kubernetes.test_platform_inputs import DEV

ASSETS = read_assets()
SCHEMES = re.findall(r":root \{(.*?)\}", ASSETS.style, re.S)
CONTRAST = 4.5
"""https://www.w3.org/TR/WCAG22/#contrast-minimum"""


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["ground", "raised"])
def test_every_text_can_be_read_on_every_ground(scheme: str, ground: str) -> None:
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", scheme))
    texts = colours.keys() - {"ground", "raised", "line"}
    assert len(texts) == 7
    for name in texts:
        light, dark = sorted(map(luminance, (colours[name], colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= CONTRAST, f"{name} on {ground}"


def test_style_and_script_ask_nobody_and_make_no_markup() -> None:
    for text in (ASSETS.style, ASSETS.script):
        assert not re.search(r"url\(|@import|https?:|//[a-z]|fetch|XMLHttp|import\(", text)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert "</" not in text


def test_five_hundred_environments_are_rendered_at_once() -> None:
    started = time.monotonic()
    text = html(fleet(500))
    assert time.monotonic() - started < 1.5
    assert text.count('<tr role="row" data-state') == 500
    assert len(text) < 1_000_000


def a_page(monkeypatch: pytest.MonkeyPatch, found: Any = None) -> tuple[FleetPage, Any]:
    """Return the page of one environment, or of an error, and what is said."""

    def find(*_: object, **__: object) -> Any:
        if isinstance(found, Exception):
            raise found
        return fleet(1)

    monkeypatch.setattr(app, "find_fleet", find)
    console, said = a_console()
    console.redactor.add("s3cret-word")
    session: Any = SimpleNamespace(console=console, redactor=console.redactor)
    return FleetPage(session, "dev", used=False), said


def login(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **own: Any) -> str:
    """Return what is printed of the page at an entrance."""
    given = settings(dev={**(led() if own.pop("entrance", True) else DEV), **own})
    platform = SimpleNamespace(page_password=SimpleNamespace(read=lambda: "s3cret-word"))
    monkeypatch.setattr(app.clusters, "cluster_platform", lambda *_: platform)
    session: Any = SimpleNamespace(
        environment=lambda _: ("dev", given.environment("dev")), settings_of=lambda _: given
    )
    app.show_login(session, "dev")
    return capsys.readouterr().out


def test_the_entrance_s_page_and_its_login_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert login(monkeypatch, capsys) == (
        "https://environments.dev.example.org/\nuser: preview\npassword: s3cret-word\n"
    )
    host = "{project}-{slug}.{domain}"
    assert "//environments.qa.org/" in login(monkeypatch, capsys, host=host, domain="qa.org")


def test_its_password_is_for_no_log_and_none_is_without_an_entrance(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "is_job", lambda _: True)
    with pytest.raises(RefusedError, match="log"):
        login(monkeypatch, capsys)
    with pytest.raises(InputError, match="no entrance"):
        login(monkeypatch, capsys, entrance=False)


def test_it_is_written_whole_and_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, _ = a_page(monkeypatch)
    path = tmp_path / "page.html"
    for _ in range(2):
        assert made.write(str(path)) == path
    assert path.read_text().endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("out", ["nowhere/page.html", "."])
def test_where_it_cannot_be_written_that_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: str
) -> None:
    made, _ = a_page(monkeypatch)
    with pytest.raises(InputError, match=r"^--out "):
        made.write(str(tmp_path / out))
    assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


def test_its_own_folder_may_be_something_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, _ = a_page(monkeypatch)
    monkeypatch.setattr(app, "DEFAULT", tmp_path / "artifacts" / "page.html")
    (tmp_path / "artifacts").touch()
    with pytest.raises(InputError, match="there is no folder"):
        made.write("")
    (tmp_path / "artifacts").unlink()
    assert made.write("").is_file()


def test_what_is_no_file_is_not_replaced_and_a_link_stays_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, _ = a_page(monkeypatch)
    pipe, link, page = (tmp_path / name for name in ("pipe", "link", "page.html"))
    os.mkfifo(pipe)  # as a device would be
    with pytest.raises(InputError, match="it is no file"):
        made.write(str(pipe))
    assert pipe.is_fifo()
    page.touch()
    link.symlink_to(page)
    made.write(str(link))
    assert link.is_symlink()
    assert page.read_text().endswith("</html>\n")


def test_a_cluster_that_cannot_be_asked_is_told_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, said = a_page(monkeypatch, ClusterError("no answer, s3cret-word\u202e"))
    answer = made._answer()
    assert (answer.status, answer.kind) == (503, "text/plain")
    assert answer.text == "no answer, [redacted]\\u202e\n"
    assert "no answer" in said.getvalue()
    with pytest.raises(ClusterError):
        made.server(0)


@pytest.mark.parametrize(
    ("used", "target", "warned"),
    [
        (False, "kubernetes", ""),
        (True, "kubernetes", "metrics.k8s.io does not answer, or not to you"),
        (True, "compose", "only a cluster tells that (--used)"),
    ],
)
def test_all_environments_are_asked_for_with_their_prices(
    monkeypatch: pytest.MonkeyPatch, used: bool, target: str, warned: str
) -> None:
    console, said = a_console()
    own = SimpleNamespace(prices=PriceSettings(cpu_hour=1), stack=None, target=target)
    session: Any = SimpleNamespace(
        console=console,
        environment=lambda _: ("dev", own),
        settings=SimpleNamespace(project="mautic"),
        git=SimpleNamespace(repository=lambda: "r"),
    )
    place = SimpleNamespace(inspector=FakeInspector([environment(0)], [environment(1)]))
    monkeypatch.setattr(app_fleet.wiring, "target", lambda *_: place)
    found = find_fleet(session, "", used=used)
    assert list(found.found) == [environment(0), environment(1)]
    assert (found.environment, found.project, found.prices.cpu_hour) == ("dev", "mautic", 1)
    line = f"! what they use is not measured: {warned}\n" if warned else ""
    assert said.getvalue() == line


def test_prices_are_those_of_lists_and_of_the_stack_s_region(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = {**NODE, "regionCode": "us-east-1"}
    path = tmp_path / "nodes.csv"
    path.write_text(as_csv([(NODE, "Hrs", "0.115"), (elsewhere, "Hrs", "0.096")]))
    chosen = PriceSettings(lists=(str(path),), node="m6i.large", storage_month=0.3)
    own: Any = SimpleNamespace(prices=chosen, stack="dev")
    stack = SimpleNamespace(region="us-east-1")
    given: Any = SimpleNamespace(stack=lambda _: stack)
    found = prices_of(given, own)
    assert found.cpu_hour * 2 + found.memory_hour * 8 == pytest.approx(0.096)
    assert (found.storage_month, found.currency) == (0.3, "USD")
    # A new version is read, the same one is not read again.
    path.write_text(as_csv([(elsewhere, "Hrs", "0.192")]))
    os.utime(path, ns=(1, 1))
    assert prices_of(given, own).cpu_hour == pytest.approx(found.cpu_hour * 2)
    path.unlink()
    with pytest.raises(InputError, match=r"the price list .*nodes.csv: No such file"):
        prices_of(given, own)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lists": ("x.csv",)}, "lists and node or storage go together"),
        ({"node": "m6i.large"}, "lists and node or storage go together"),
        ({"lists": ("x",), "node": "m6i.large", "cpu_hour": 1}, "node stands for cpu_hour"),
        ({"lists": ("x",), "storage": "efs", "storage_month": 1}, "storage stands for"),
    ],
)
def test_prices_are_given_in_one_way(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PriceSettings(**given)

"""The page's own style and script."""

from __future__ import annotations

import re
import time

import pytest

from tasks.app.page import read_assets
from tests.support.fleet import fleet, html

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

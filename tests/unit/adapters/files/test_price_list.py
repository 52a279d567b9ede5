"""Price lists as files: of either form, and what is told of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.adapters.files import price_list
from tasks.adapters.files.price_list import read_offers
from tasks.core.errors import InputError
from tasks.core.price_list import Wanted, find_prices
from tests.support.price_lists import PRODUCTS, as_answer, as_csv, as_json

WANTED = Wanted("m6i.large", "efs", "eu-central-1", "USD")
TEXTS = {
    "csv": as_csv(PRODUCTS),
    # As a spreadsheet saves it.
    "csv with a mark": f"\ufeff{as_csv(PRODUCTS)}",
    "json": json.dumps(as_json(PRODUCTS)),
    "answer": json.dumps(as_answer(PRODUCTS), indent=4),
    "entries": json.dumps(as_answer(PRODUCTS)["PriceList"]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list"


@pytest.mark.parametrize("form", TEXTS)
def test_either_form_is_read(form: str, path: Path) -> None:
    path.write_text(TEXTS[form], encoding="utf-8")
    assert find_prices(read_offers(path, WANTED.words), WANTED).storage_month == 0.36


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[1]", '{"products": {}}', "[]\n[]", "a,b\n", '["x"]', "\x00"]
)
def test_what_is_no_list_is_told(text: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match="is no price list of AWS"):
        list(read_offers(path, WANTED.words))


def test_what_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(InputError, match=r"the price list .*list: No such file"):
        list(read_offers(path, WANTED.words))


def test_json_that_is_too_large_to_be_read_whole_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_list, "JSON_MAX", 2**20)
    path.write_text(f"{TEXTS['json']}{' ' * 2**20}")
    with pytest.raises(InputError, match="more than 1 MiB of JSON") as caught:
        list(read_offers(path, WANTED.words))
    assert "index.csv" in (caught.value.hint or "")
    path.write_text(f"{TEXTS['csv']}{chr(10) * 2**20}")
    assert list(read_offers(path, WANTED.words))

"""Prices in AWS' price lists: the same from CSV, from JSON and from `aws pricing get-products`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tasks.core.errors import InputError
from tasks.core.price_list import (
    CPU_WEIGHT,
    Listed,
    Offer,
    Wanted,
    find_prices,
    offers_in_csv,
    offers_in_json,
)
from tests.support.price_lists import (
    DISK,
    HEAD,
    LARGE,
    NODE,
    PRODUCTS,
    Product,
    as_answer,
    as_csv,
    as_json,
)

WANTED = Wanted("m6i.large", "gp3", "eu-central-1", "USD")


def offers(form: str, products: Sequence[Product], wanted: Wanted = WANTED) -> Iterator[Offer]:
    if form == "csv":
        return offers_in_csv(as_csv(products).splitlines(keepends=True), wanted.words)
    if form == "json":
        return offers_in_json(as_json(products))
    answer = as_answer(products)
    return offers_in_json(answer if form == "answer" else answer["PriceList"])


@pytest.mark.parametrize("form", ["csv", "json", "answer", "entries"])
@pytest.mark.parametrize(
    ("storage", "month"), [("gp3", 0.0952), ("gp2", 0.119), ("efs", 0.36), ("", 0)]
)
def test_a_node_s_price_is_shared_out_and_storage_is_found(
    form: str, storage: str, month: float
) -> None:
    wanted = replace(WANTED, storage=storage)
    found = find_prices(offers(form, PRODUCTS, wanted), wanted)
    assert found.cpu_hour * 2 + found.memory_hour * 8 == pytest.approx(0.115)
    assert found.cpu_hour == pytest.approx(found.memory_hour * CPU_WEIGHT)
    assert found.storage_month == month


@pytest.mark.parametrize("form", ["csv", "json"])
def test_only_what_is_asked_for_is_looked_for(form: str) -> None:
    wanted = replace(WANTED, node="")
    assert find_prices(offers(form, PRODUCTS, wanted), wanted) == Listed(storage_month=0.0952)


def test_large_nodes_have_commas_in_their_memory() -> None:
    wanted = Wanted(LARGE["instanceType"], "", "", "USD")
    found = find_prices(offers("csv", PRODUCTS, wanted), wanted)
    assert found.cpu_hour * 448 + found.memory_hour * 6144 == pytest.approx(64.8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node": "m7i.large"}, "have no node m7i.large on demand in eu-central-1 in USD"),
        ({"storage": "io2"}, "have no storage io2 on demand in eu-central-1 in USD"),
        ({"region": "eu-west-1"}, "have no node m6i.large on demand in eu-west-1"),
        ({"currency": "EUR"}, "have no node m6i.large on demand in eu-central-1 in EUR"),
    ],
)
def test_what_is_not_there_is_told(changes: dict[str, str], message: str) -> None:
    wanted = replace(WANTED, **changes)
    with pytest.raises(InputError, match=message):
        find_prices(offers("json", PRODUCTS), wanted)


def test_of_several_regions_one_has_to_be_named() -> None:
    both = (*PRODUCTS, ({**NODE, "regionCode": "us-east-1"}, "Hrs", "0.0960000000"))
    with pytest.raises(InputError, match="2 prices of node m6i") as caught:
        find_prices(offers("json", both), replace(WANTED, region=""))
    assert "prices.region" in (caught.value.hint or "")
    assert find_prices(offers("json", both), replace(WANTED, region="us-east-1", storage=""))


def test_what_is_free_at_first_is_no_price() -> None:
    free = (*PRODUCTS, (DISK, "GB-Mo", "0.0000000000"))
    assert find_prices(offers("json", free), WANTED).storage_month == 0.0952


def test_a_price_that_is_no_number_is_told() -> None:
    with pytest.raises(InputError, match="'free' where a number should be"):
        find_prices(offers("json", [(NODE, "Hrs", "free")]), WANTED)


def test_of_csv_one_line_at_a_time_is_read() -> None:
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in as_csv(PRODUCTS).splitlines(keepends=True):
            read += 1
            yield line

    next(offers_in_csv(lines(), ["m6i.large"]))
    assert read == len(HEAD) + 1 + 2


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\n".join(HEAD)])
def test_what_is_no_list_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no line has the names of the columns"):
        list(offers_in_csv(text.splitlines(), ["x"]))

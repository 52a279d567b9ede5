"""Finds the prices of a node and of storage in AWS' price lists.

A list has products and their prices, as one document of JSON or as CSV with a line for each price
(https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-files.html).
What `aws pricing get-products` answers has the same entries, each a text of JSON.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks.core.errors import InputError

CPU_WEIGHT = 9
"""What a processor costs, in GiB of memory: as with AWS Fargate, and as AWS itself splits the price
of a node among its pods (split cost allocation data)."""
EFS = "efs"
T = TypeVar("T")
_DEMAND = "OnDemand"
_REGION = {"locationtype": "AWS Region"}
"""A region's list has its local zones as well, which cost more."""
_NODE = {
    "operatingsystem": "Linux",
    "tenancy": "Shared",
    "preinstalledsw": "NA",
    "capacitystatus": "Used",
    "operation": "RunInstances",
}
_EFS = {
    "servicecode": "AmazonEFS",
    "productfamily": "Storage",
    "storageclass": "General Purpose",
}


@dataclass(frozen=True)
class Offer:
    """One price of a product on demand.

    Attributes:
        attributes: the product's, by their names in small letters and digits alone, in which JSON
            and CSV agree.
        unit: what it is paid for, e.g. ``Hrs`` or ``GB-Mo``.
        amounts: the price, by currency.
    """

    attributes: Mapping[str, str]
    unit: str
    amounts: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        node: the type of the nodes, e.g. ``m6i.large``; empty for none.
        storage: ``efs``, or a type of EBS: ``gp3``; empty for none.
        region: e.g. ``eu-central-1``; empty where the lists are of one region alone.
        currency: e.g. ``USD``.
    """

    node: str
    storage: str
    region: str
    currency: str

    @property
    def words(self) -> tuple[str, ...]:
        """Words of which each line of CSV has one that has a price to be found."""
        storage = _EFS["servicecode"] if self.storage == EFS else self.storage
        return tuple(filter(None, (self.node, storage)))


@dataclass(frozen=True)
class Listed:
    """The prices that were found; 0 for what was not looked for."""

    cpu_hour: float = 0
    memory_hour: float = 0
    storage_month: float = 0


UNLISTED = Listed()


def offers_in_csv(lines: Iterable[str], words: Iterable[str]) -> Iterator[Offer]:
    """Yield the prices on demand in a list of CSV, of which one line at a time is held.

    Args:
        words: others than the lines that have one of these are passed over.

    Raises:
        ValueError: it is no such list.
    """
    rest = iter(lines)
    for line in rest:
        names = [_plain(each) for each in next(csv.reader([line]), ())]
        if {"sku", "priceperunit", "termtype"} <= set(names):
            break
    else:
        raise ValueError("no line has the names of the columns")
    wanted = tuple(words)
    for row in csv.reader(line for line in rest if any(word in line for word in wanted)):
        found = dict(zip(names, row, strict=False))
        if found["termtype"] == _DEMAND:
            yield Offer(found, found["unit"], {found["currency"]: found["priceperunit"]})


def offers_in_json(document: Any) -> Iterator[Offer]:
    """Yield the prices on demand in a list of JSON, or in an answer of `aws pricing get-products`.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is no such list.
    """
    if isinstance(document, Mapping) and "products" in document:
        terms = document["terms"].get(_DEMAND, {})
        for sku, product in document["products"].items():
            yield from _offers(product, terms.get(sku, {}))
        return
    for entry in document["PriceList"] if isinstance(document, Mapping) else document:
        found = json.loads(entry) if isinstance(entry, str) else entry
        yield from _offers(found["product"], found["terms"].get(_DEMAND, {}))


def _offers(product: Mapping[str, Any], terms: Mapping[str, Any]) -> Iterator[Offer]:
    family = {"productfamily": str(product.get("productFamily", ""))}
    own = {_plain(name): str(value) for name, value in product["attributes"].items()}
    for term in terms.values():
        for price in term["priceDimensions"].values():
            yield Offer({**own, **family}, price["unit"], price["pricePerUnit"])


def find_prices(offers: Iterable[Offer], wanted: Wanted) -> Listed:
    """Return what a processor, memory and storage cost by lists.

    A node's price is that of its processors and its memory, at ``CPU_WEIGHT`` to 1. What a list
    calls GB is a GiB.

    Raises:
        InputError: the lists do not have it, or at several prices, or in no number.
    """
    nodes, months = set[tuple[float, float, float]](), set[float]()
    for offer in offers:
        of = offer.attributes
        if wanted.region not in {"", of.get("regioncode")} or not _has(offer, _REGION):
            continue
        amount = _number(offer.amounts.get(wanted.currency, "0"))
        if not amount:
            # What is free up to a size, or in another currency.
            continue
        if offer.unit == "Hrs" and _has(offer, {**_NODE, "instancetype": wanted.node}):
            size = of.get("memory", "").removesuffix(" GiB")
            nodes.add((amount, _number(of.get("vcpu", "")), _number(size)))
        if offer.unit == "GB-Mo" and _has(offer, _storage(wanted.storage)):
            months.add(amount)
    cpu_hour = memory_hour = storage_month = 0.0
    if wanted.node:
        hour, processors, memory = _only(nodes, f"node {wanted.node}", wanted)
        memory_hour = hour / (CPU_WEIGHT * processors + memory)
        cpu_hour = CPU_WEIGHT * memory_hour
    if wanted.storage:
        storage_month = _only(months, f"storage {wanted.storage}", wanted)
    return Listed(cpu_hour, memory_hour, storage_month)


def _only(found: set[T], what: str, wanted: Wanted) -> T:
    """Return the only price that was found.

    Raises:
        InputError: there is none, or there are several.
    """
    if len(found) == 1:
        return found.pop()
    where = f" in {wanted.region}" if wanted.region else ""
    if not found:
        raise InputError(
            f"the price lists have no {what} on demand{where} in {wanted.currency}",
            hint="which lists are needed, and of which region: docs/fleet.md",
        )
    raise InputError(
        f"the price lists have {len(found)} prices of {what} on demand{where}",
        hint="lists of several regions need `prices.region`",
    )


def _has(offer: Offer, attributes: Mapping[str, str]) -> bool:
    """Return True if an offer has these attributes."""
    return all(offer.attributes.get(name) == value for name, value in attributes.items())


def _storage(kind: str) -> Mapping[str, str]:
    return _EFS if kind == EFS else {"productfamily": "Storage", "volumeapiname": kind}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _number(text: str) -> float:
    """Return a number as lists write it, e.g. ``1,952`` or ``0.1150000000``.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch(r"[0-9,]*\.?[0-9]+", text):
        raise InputError(f"the price lists have {text!r} where a number should be")
    return float(text.replace(",", ""))

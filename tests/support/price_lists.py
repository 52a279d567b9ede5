"""Price lists as AWS has them, of a few products in each of its forms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NODE = {
    "productFamily": "Compute Instance",
    "servicecode": "AmazonEC2",
    "locationType": "AWS Region",
    "regionCode": "eu-central-1",
    "instanceType": "m6i.large",
    "vcpu": "2",
    "memory": "8 GiB",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "operation": "RunInstances",
}
DISK = {
    "productFamily": "Storage",
    "servicecode": "AmazonEC2",
    "locationType": "AWS Region",
    "regionCode": "eu-central-1",
    "volumeApiName": "gp3",
}
FILES = {
    "productFamily": "Storage",
    "servicecode": "AmazonEFS",
    "locationType": "AWS Region",
    "regionCode": "eu-central-1",
    "storageClass": "General Purpose",
}
LARGE = {"instanceType": "u-6tb1.112xlarge", "vcpu": "448", "memory": "6,144 GiB"}
Product = tuple[Mapping[str, str], str, str]
PRODUCTS: Sequence[Product] = (
    (NODE, "Hrs", "0.1150000000"),
    # What looks like it, at other prices.
    ({**NODE, "operatingSystem": "Windows"}, "Hrs", "0.2070000000"),
    ({**NODE, "operation": "RunInstances:0004"}, "Hrs", "0.5950000000"),
    ({**NODE, "preInstalledSw": "SQL Web"}, "Hrs", "0.1830000000"),
    ({**NODE, "tenancy": "Dedicated"}, "Hrs", "0.1219000000"),
    ({**NODE, "capacitystatus": "UnusedCapacityReservation"}, "Hrs", "0.1160000000"),
    ({**NODE, "locationType": "AWS Local Zone"}, "Hrs", "0.1440000000"),
    ({**NODE, "instanceType": "m6i.xlarge", "vcpu": "4"}, "Hrs", "0.2300000000"),
    ({**NODE, **LARGE}, "Hrs", "64.8000000000"),
    (DISK, "GB-Mo", "0.0952000000"),
    ({**DISK, "volumeApiName": "gp2"}, "GB-Mo", "0.1190000000"),
    ({**DISK, "productFamily": "System Operation"}, "IOPS-Mo", "0.0060000000"),
    ({**DISK, "locationType": "AWS Local Zone"}, "GB-Mo", "0.1140000000"),
    (FILES, "GB-Mo", "0.3600000000"),
    ({**FILES, "storageClass": "Infrequent Access"}, "GB-Mo", "0.0190000000"),
    ({**FILES, "storageClass": "One Zone-General Purpose"}, "GB-Mo", "0.1920000000"),
)
COLUMNS = {
    "productFamily": "Product Family",
    "servicecode": "serviceCode",
    "locationType": "Location Type",
    "regionCode": "Region Code",
    "instanceType": "Instance Type",
    "vcpu": "vCPU",
    "memory": "Memory",
    "operatingSystem": "Operating System",
    "tenancy": "Tenancy",
    "preInstalledSw": "Pre Installed S/W",
    "capacitystatus": "CapacityStatus",
    "operation": "operation",
    "volumeApiName": "Volume API Name",
    "storageClass": "Storage Class",
}
PRICE_COLUMNS = ("SKU", "OfferTermCode", "TermType", "Unit", "PricePerUnit", "Currency")
HEAD = (
    *('"FormatVersion","v1.0"', '"Disclaimer","SKU, as is"', '"Publication Date","2026-10-01"'),
    *('"Version","20261001"', '"OfferCode","AmazonEC2"'),
)


def as_csv(products: Sequence[Product], currency: str = "USD") -> str:
    """Return a list as CSV; each product is offered as reserved as well."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow((*PRICE_COLUMNS, *COLUMNS.values()))
    for number, (product, unit, price) in enumerate(products):
        for term, amount in (("Reserved", "0.01"), ("OnDemand", price)):
            row = (f"SKU{number}", "JRTCKXETXF", term, unit, amount, currency)
            writer.writerow((*row, *(product.get(name, "") for name in COLUMNS)))
    return "\n".join((*HEAD, text.getvalue()))


def term(sku: str, unit: str, price: str, currency: str = "USD") -> dict[str, Any]:
    dimension = {"unit": unit, "beginRange": "0", "pricePerUnit": {currency: price}}
    code = f"{sku}.JRTCKXETXF"
    return {code: {"sku": sku, "priceDimensions": {f"{code}.6YS6EN2CT7": dimension}}}


def entries(products: Sequence[Product]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for number, (product, unit, price) in enumerate(products):
        sku = f"SKU{number}"
        own = {name: value for name, value in product.items() if name != "productFamily"}
        made = {"sku": sku, "productFamily": product["productFamily"], "attributes": own}
        yield sku, made, term(sku, unit, price)


def as_json(products: Sequence[Product]) -> dict[str, Any]:
    """Return a list as JSON."""
    made = list(entries(products))
    demand = {sku: terms for sku, _, terms in made}
    reserved = {sku: term(sku, "Hrs", "0.01") for sku in demand}
    terms = {"OnDemand": demand, "Reserved": reserved}
    return {"formatVersion": "v1.0", "products": {s: p for s, p, _ in made}, "terms": terms}


def as_answer(products: Sequence[Product]) -> dict[str, Any]:
    """Return the same as `aws pricing get-products` answers."""
    found = [
        json.dumps({"product": product, "serviceCode": "AmazonEC2", "terms": {"OnDemand": terms}})
        for _, product, terms in entries(products)
    ]
    # Of what is only reserved there is no price on demand.
    reserved = {"product": {"attributes": {}}, "terms": {"Reserved": {}}}
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(reserved), *found]}

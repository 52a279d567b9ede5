"""Opens price lists of AWS."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.core.errors import InputError
from tasks.core.price_list import Offer, offers_in_csv, offers_in_json

JSON_MAX = 64 * 1024 * 1024
"""Bytes of a list of JSON, which is read whole; in memory it takes about ten times as many."""


def read_offers(path: Path, words: Iterable[str]) -> Iterator[Offer]:
    """Yield the prices on demand in a list, of CSV or JSON.

    Args:
        words: of CSV only the lines that have one of these are looked at.

    Raises:
        InputError: it is not there, no price list, or too large to be read whole.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if file.read(1) not in {"{", "["}:
                file.seek(0)
                yield from offers_in_csv(file, words)
                return
            if path.stat().st_size > JSON_MAX:
                raise InputError(
                    f"{path} has more than {JSON_MAX // 1024**2} MiB of JSON",
                    hint="take the same list as CSV (index.csv), which is read line by line, or "
                    "what `aws pricing get-products` answers: docs/fleet.md",
                )
            file.seek(0)
            yield from offers_in_json(json.load(file))
    except OSError as error:
        raise InputError(f"the price list {path}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no price list of AWS: {error}", hint="which are read: docs/fleet.md"
        ) from error

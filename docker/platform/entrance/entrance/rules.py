"""Finds the environment of a host name, by the rule of its name alone. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.kubernetes.labels import ASLEEP, MANAGED, PREFIX, WAKING

Object = Mapping[str, Any]

SLUG = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"


@dataclass(frozen=True)
class Place:
    """Where a host name leads.

    Attributes:
        address: host and port of its Service.
    """

    environment: str
    slug: str
    namespace: str
    address: str


@dataclass(frozen=True)
class Site:
    """The environments of one name in invoke.yaml.

    Attributes:
        host: their host names; ``{slug}`` stands for the branch's slug.
        namespace: their namespaces, likewise.
    """

    environment: str
    host: str
    namespace: str

    @property
    def pattern(self) -> str:
        """A regular expression of their host names, with the group ``slug``."""
        before, after = self.host.split("{slug}")
        return f"^{re.escape(before)}(?<slug>{SLUG}){re.escape(after)}$"


@dataclass(frozen=True)
class Rules:
    """What the platform has decided.

    Attributes:
        address: host and port of an environment's Service; ``{namespace}`` stands for its own.
    """

    sites: tuple[Site, ...]
    address: str

    @classmethod
    def from_json(cls, text: str) -> Rules:
        """Return the rules that helm/platform wrote.

        Raises:
            ValueError, KeyError, TypeError: they are damaged.
        """
        data = json.loads(text)
        return cls(tuple(Site(**one) for one in data["sites"]), data["address"])

    def place_of(self, host: str) -> Place | None:
        """Return where a host name leads, or None.

        Args:
            host: the header ``Host``, with or without a port.
        """
        name = host.partition(":")[0].lower().removesuffix(".")
        for site in self.sites:
            if found := re.fullmatch(site.pattern.replace("(?<", "(?P<"), name):
                namespace = site.namespace.replace("{slug}", found["slug"])
                address = self.address.replace("{namespace}", namespace)
                return Place(site.environment, found["slug"], namespace, address)
        return None


def is_of(namespace: Object, place: Place) -> bool:
    """Return True if a namespace is, by the suite's labels, the environment of a place."""
    labels = namespace["metadata"].get("labels") or {}
    wanted = {
        **MANAGED,
        f"{PREFIX}environment": place.environment,
        f"{PREFIX}slug": place.slug,
    }
    return wanted.items() <= labels.items()


def sleeps(namespace: Object) -> bool:
    """Return True if a namespace says that its environment sleeps, or is being woken from here."""
    said = namespace["metadata"].get("annotations") or {}
    return ASLEEP in said or WAKING in said

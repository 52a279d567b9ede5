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
        page: the host name of the page of all of them.
        prices: what they cost (``core.cost.Prices``).
    """

    environment: str
    host: str
    namespace: str
    page: str
    prices: Mapping[str, Any]

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
        project: the prefix of their names.
    """

    sites: tuple[Site, ...]
    address: str
    project: str

    @classmethod
    def from_json(cls, text: str) -> Rules:
        """Return the rules that helm/platform wrote.

        Raises:
            ValueError, KeyError, TypeError: they are damaged.
        """
        data = json.loads(text)
        return cls(tuple(Site(**one) for one in data["sites"]), data["address"], data["project"])

    def place_of(self, host: str) -> Place | None:
        """Return where a host name leads, or None.

        Args:
            host: the header ``Host``, with or without a port.
        """
        name = _name(host)
        for site in self.sites:
            if found := re.fullmatch(site.pattern.replace("(?<", "(?P<"), name):
                namespace = site.namespace.replace("{slug}", found["slug"])
                address = self.address.replace("{namespace}", namespace)
                return Place(site.environment, found["slug"], namespace, address)
        return None

    def place_of_namespace(self, namespace: Object) -> Place | None:
        """Return where the host name of a namespace's environment leads: there, or None."""
        labels = namespace["metadata"].get("labels") or {}
        for site in self.sites:
            if labels.get(f"{PREFIX}environment") == site.environment:
                host = site.host.replace("{slug}", labels.get(f"{PREFIX}slug", ""))
                place = self.place_of(host)
                if place and place.namespace == namespace["metadata"]["name"]:
                    return place
        return None

    def page_of(self, host: str) -> Site | None:
        """Return the site whose page of all environments has a host name, or None.

        Args:
            host: the header ``Host``, with or without a port.
        """
        return next((site for site in self.sites if site.page == _name(host)), None)


def _name(host: str) -> str:
    return host.partition(":")[0].lower().removesuffix(".")


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

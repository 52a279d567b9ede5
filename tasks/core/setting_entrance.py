"""The setting of the entrance of a cluster's environments, and which names it can lead to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tasks.core.names import LABEL_MAX, SLUG_MAX
from tasks.core.setting_values import PinnedImage

if TYPE_CHECKING:
    from tasks.core.settings import Environment

EntranceImage = Annotated[
    PinnedImage,
    Field(
        description="Kubernetes only: image, by digest, of the entrance that leads to all branches "
        "by one wildcard route and wakes those that sleep (docs/fleet.md): `inv platform.image "
        "--part entrance` makes it, `inv platform.apply` runs it. Empty: each branch has a route "
        "of its own, and a visitor wakes nothing."
    ),
]

PAGE = "environments"
"""What the host name of the page of all environments begins with."""


def page_host(host: str) -> str:
    """Return the host name of the page of an environment's branches, below the same wildcard.

    Args:
        host: of the branches, with ``{slug}`` in its first part.
    """
    return f"{PAGE}.{host.partition('.')[2]}"


def entrance_fault(own: Environment) -> str:
    """Return why an environment's keys cannot go with an entrance; empty if they can."""
    if not own.entrance:
        return ""
    if own.target != "kubernetes":
        return "entrance is a cluster's: target must be kubernetes"
    if own.protected:
        return "entrance is for branches: a protected environment keeps a route of its own"
    if own.door == "oidc":
        return "entrance and door: oidc exclude each other: that login is a filter of a route"
    if "{slug}" not in own.host.split(".")[0]:
        return "entrance needs {slug} in the first part of host: one wildcard leads there"
    return ""


def too_long(own: Environment, project: str) -> Iterator[str]:
    """Yield why the names of an environment with an entrance could be cut, which no rule undoes.

    Args:
        project: prefix of every name.
    """
    if not own.entrance:
        return
    for key, template in (("namespace", own.namespace), ("host", own.host.split(".")[0])):
        rest = len(template.replace("{slug}", "").replace("{project}", project))
        if rest + SLUG_MAX > LABEL_MAX:
            yield (
                f"{key} has {rest} characters beside {{slug}}, and may have "
                f"{LABEL_MAX - SLUG_MAX} with an entrance, which knows no cut names"
            )

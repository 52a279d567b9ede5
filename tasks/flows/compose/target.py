"""The target of environments with ``target: compose``: one Compose project per branch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tasks.flows.compose.context import ComposeContext

if TYPE_CHECKING:
    from tasks.flows.compose.adopter import ComposeAdopter
    from tasks.flows.compose.data import ComposeData
    from tasks.flows.compose.deployer import ComposeDeployer
    from tasks.flows.compose.images import ComposeImages
    from tasks.flows.compose.inspector import ComposeInspector
    from tasks.flows.compose.plan import ComposePlan
    from tasks.flows.compose.remover import ComposeRemover
    from tasks.flows.compose.shared_uploads import ComposeSharedUploads
    from tasks.flows.compose.sleeper import ComposeSleeper
    from tasks.flows.compose.workshop import ComposeWorkshop
    from tasks.flows.target import Target


def compose_target(context: ComposeContext) -> Target[ComposePlan]:
    """Return this machine's Docker Engine as a target."""
    return _ComposeTarget(context)


class _ComposeTarget:
    """The ports; see ``Target``. A run uses one or two of them: the others are not even loaded."""

    seeds = None

    def __init__(self, context: ComposeContext) -> None:
        self._context = context

    @cached_property
    def deployer(self) -> ComposeDeployer:
        """What creates and changes environments."""
        from tasks.flows.compose.deployer import ComposeDeployer

        return ComposeDeployer(self._context)

    @cached_property
    def remover(self) -> ComposeRemover:
        """What removes them."""
        from tasks.flows.compose.remover import ComposeRemover

        return ComposeRemover(self._context)

    @cached_property
    def adopter(self) -> ComposeAdopter:
        """What gives them to another repository."""
        from tasks.flows.compose.adopter import ComposeAdopter

        return ComposeAdopter(self._context)

    @cached_property
    def inspector(self) -> ComposeInspector:
        """What only reads."""
        from tasks.flows.compose.inspector import ComposeInspector

        return ComposeInspector(self._context)

    @cached_property
    def data(self) -> ComposeData:
        """What runs programs on stored data."""
        from tasks.flows.compose.data import ComposeData

        return ComposeData(self._context)

    @cached_property
    def sleeper(self) -> ComposeSleeper:
        """What puts them to sleep and wakes them."""
        from tasks.flows.compose.sleeper import ComposeSleeper

        return ComposeSleeper(self._context)

    @cached_property
    def workshop(self) -> ComposeWorkshop:
        """What shows a working tree in them."""
        from tasks.flows.compose.workshop import ComposeWorkshop

        return ComposeWorkshop(self._context)

    @cached_property
    def uploads(self) -> ComposeSharedUploads:
        """What branches share of a seed's uploads."""
        from tasks.flows.compose.shared_uploads import ComposeSharedUploads

        return ComposeSharedUploads(self._context)

    @cached_property
    def images(self) -> ComposeImages | None:
        """This machine's images, where the registry is its own."""
        from tasks.flows.compose.images import ComposeImages

        return ComposeImages(self._context) if self._context.registry_is_local else None

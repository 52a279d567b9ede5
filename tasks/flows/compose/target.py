"""The target of environments with ``target: compose``: one Compose project per branch."""

from __future__ import annotations

from tasks.flows.compose.adopter import ComposeAdopter
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.data import ComposeData
from tasks.flows.compose.deployer import ComposeDeployer
from tasks.flows.compose.images import ComposeImages
from tasks.flows.compose.inspector import ComposeInspector
from tasks.flows.compose.plan import ComposePlan
from tasks.flows.compose.remover import ComposeRemover
from tasks.flows.compose.sleeper import ComposeSleeper
from tasks.flows.compose.workshop import ComposeWorkshop
from tasks.flows.target import Target


def compose_target(context: ComposeContext) -> Target[ComposePlan]:
    """Return this machine's Docker Engine as a target."""
    return Target(
        ComposeDeployer(context),
        ComposeRemover(context),
        ComposeAdopter(context),
        ComposeInspector(context),
        ComposeData(context),
        ComposeSleeper(context),
        ComposeWorkshop(context),
        images=ComposeImages(context) if context.registry_is_local else None,
    )

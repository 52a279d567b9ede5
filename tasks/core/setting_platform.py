"""The settings of the local platform."""

from __future__ import annotations

from pydantic import Field

from tasks.core.setting_values import ImageReference, Port, Strict, Word


class PlatformSettings(Strict):
    """The local platform: one registry, one proxy and one mail catcher for all branches."""

    address: Word = Field("127.0.0.1", description="Address the published ports listen on.")
    http_port: Port = Field(8080, description="Port of the proxy, part of every local URL.")
    registry_port: Port = Field(5050, description="Port of the local registry.")
    mail_port: Port = Field(8025, description="Port of the mail catcher's web page.")
    registry_image: ImageReference = Field("registry:3", description="Image of the local registry.")
    database_image: ImageReference = Field(
        "mysql:8.4", description="Image of each branch's database."
    )
    wake: bool = Field(
        False,
        description="Whether a visitor's browser wakes what sleeps on this machine: two more "
        "containers, of which one has the engine's socket (docs/security.md).",
    )
    mail_image: ImageReference = Field(
        "axllent/mailpit:v1.27", description="Image of the mail catchers, here and in a cluster."
    )

"""The settings of seeds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.core.setting_values import Duration, SeedStoreAddress, Strict, Variable, Word


class SeedSettings(Strict):
    """Masked copies of an environment's data: where they are kept, and what they are made with."""

    store: SeedStoreAddress = Field(
        "",
        description="Where: `s3://bucket/prefix`, or a folder outside of git. Empty: there are "
        "none.",
    )
    stack: Word | None = Field(
        None, description="Stack whose region and profile lead to the bucket; else boto3's search."
    )
    lifetime: Duration = Field(
        "30d", description="How long a seed is kept; the newest of each source stays."
    )
    key: Variable = Field(
        "MAUTIC_SEED_KEY",
        description="Variable that holds the key they are encrypted with: 64 hexadecimal digits.",
    )
    uploads: Literal["share", "copy"] = Field(
        "share",
        description="What a branch that begins with a seed gets of its uploads. `share`: all "
        "branches of a seed read the same ones, which none can change, and write to their own; a "
        "target that cannot share copies. `copy`: each gets all of them.",
    )
    rules: Word = Field(
        "masking.yaml",
        description="File with the project's own rules of masking, beside this one. One that is "
        "set here must be there.",
    )

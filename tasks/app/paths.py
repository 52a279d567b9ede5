"""Where the suite lies on the disk."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that the suite lives in."""

RECORD = ROOT / "build.json"
"""The result of a build of a branch's images, for later jobs."""

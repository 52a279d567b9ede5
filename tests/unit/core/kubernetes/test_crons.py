"""Scheduled commands that the images cannot run."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tasks.core.kubernetes.crons import unsupported_crons
from tasks.flows.kubernetes.values import overlay
from tests.support.suite import ROOT

DEFAULTS: dict[str, Any] = yaml.safe_load((ROOT / "helm" / "mautic" / "values.yaml").read_text())
ON = {"enabled": True}


@pytest.mark.parametrize(
    ("php", "crons", "off"),
    [
        ("8.4", {}, []),
        ("8.4", {"jobs": {"email-fetch": ON}}, ["email-fetch"]),
        ("8.4", {"jobs": {"email-fetch": ON}, "mode": "pod"}, []),
        ("8.2", {"jobs": {"email-fetch": ON}}, []),
        ("8.3", {"jobs": {"email-fetch": ON}}, []),
        ("9.0", {"jobs": {"email-fetch": ON}}, ["email-fetch"]),
        (
            "8.4",
            {"jobs": {"own": {"command": ["mautic:email:fetch", "--limit=9"]}}},
            ["own"],
        ),
        ("8.4", {"jobs": {"own": {"command": ["mautic:emails:send"]}, "email-fetch": None}}, []),
    ],
)
def test_a_cronjob_that_fetches_mail_needs_imap(
    php: str, crons: dict[str, Any], off: list[str]
) -> None:
    assert list(unsupported_crons(overlay(DEFAULTS, {"crons": crons}), php)) == off

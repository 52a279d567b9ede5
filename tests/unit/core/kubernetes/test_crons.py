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
MAUTIC = "mautic/mautic:7.2-fpm"


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
    values = overlay(DEFAULTS, {"crons": crons})
    assert [name for name, _ in unsupported_crons(values, php, MAUTIC)] == off


@pytest.mark.parametrize(
    ("mautic", "off"),
    [
        ("mautic/mautic:7.2-fpm", False),
        ("mautic/mautic:10.0-fpm", False),
        ("mautic/mautic:6.0-fpm", True),
        ("localhost:5000/our/mautic:5", True),
        ("localhost:5000/mautic", False),
        (f"mautic/mautic:5.1.0@sha256:{'a' * 64}", True),
        ("registry.example.org/our/mautic:main", False),
    ],
)
def test_a_cronjob_whose_command_came_later_is_left_out(mautic: str, off: bool) -> None:
    found = dict(unsupported_crons(DEFAULTS, "8.2", mautic))
    told = {"exports-cleanup": "Mautic has mautic:contacts:cleanup_exported_files since 7"}
    assert found == (told if off else {})

"""Waiting for a registry's scans, and what they hold up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tasks.adapters.registry.ecr_scan import ImageScan
from tasks.adapters.terminal.console import Activity
from tasks.core.errors import DeadlineError, RegistryError, VulnerableError
from tasks.core.images.findings import JudgedFinding, Vulnerability
from tasks.flows import scan as flow
from tasks.flows.scan import refuse_vulnerable, scan_images

FOUND = Vulnerability("mautic", "CVE-1", "high", "libc6", "1", "2")


@dataclass
class Scanner:
    """A registry whose scan goes through these states, and stays in the last one."""

    states: list[ImageScan]
    begun: list[str] = field(default_factory=list)

    def reference(self, repository: str, digest: str) -> str:
        return f"registry.example.org/{repository}@{digest}"

    def scan(self, repository: str, digest: str) -> ImageScan:
        return self.states.pop(0) if self.states[1:] else self.states[0]

    def start_scan(self, repository: str, digest: str) -> None:
        self.begun.append(repository)


@dataclass
class Screen:
    said: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        activity = Activity(self.said.append, lambda _: None)
        yield activity
        self.said.append(f"{title}: {activity.outcome}")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "POLL_SECONDS", 0)


def test_a_scan_is_waited_for_and_begun_once_where_there_is_none() -> None:
    running = ImageScan("IN_PROGRESS")
    scanner = Scanner(
        [ImageScan(), ImageScan(), running, running, ImageScan("COMPLETE", "", (FOUND,))]
    )
    screen = Screen()
    assert scan_images(scanner, {"mautic": "sha256:1"}, screen.work) == [FOUND]
    assert scanner.begun == ["mautic"]
    assert screen.said == [
        "mautic: the scan is just begun",
        "mautic: the scan is IN_PROGRESS",
        "scan of mautic: 1 findings",
    ]


def test_images_that_are_scanned_all_the_time_are_not_waited_for() -> None:
    assert scan_images(Scanner([ImageScan("ACTIVE")]), {"a": "1", "b": "2"}, Screen().work) == []


@pytest.mark.parametrize("state", ["FAILED", "UNSUPPORTED_IMAGE", "SOMETHING_NEW"])
def test_an_image_that_is_not_scanned_is_not_taken_for_a_good_one(state: str) -> None:
    scanner = Scanner([ImageScan(state, "because")])
    with pytest.raises(RegistryError, match=f"mautic@1 was not scanned: {state}: because"):
        scan_images(scanner, {"mautic": "1"}, Screen().work)


def test_a_scan_that_never_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "DEADLINE_SECONDS", 0)
    with pytest.raises(DeadlineError, match=r"the scan of .*mautic@1 is not over"):
        scan_images(Scanner([ImageScan("PENDING")]), {"mautic": "1"}, Screen().work)


def test_what_holds_a_deploy_up_has_an_exit_code_of_its_own() -> None:
    refuse_vulnerable("prod", [JudgedFinding(FOUND, blocks=False)], "high")
    with pytest.raises(VulnerableError) as caught:
        refuse_vulnerable("prod", [JudgedFinding(FOUND, blocks=True)], "high")
    assert caught.value.exit_code == 5
    assert caught.value.message == "prod: 1 findings of severity high or above (mautic 1)"
    assert "1 are fixed already" in str(caught.value.hint)

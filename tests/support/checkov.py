"""Runs checkov over Terraform and the rendered charts: `python -m tests.support.checkov PYTHON`.

PYTHON is that of the virtual environment with checkov. A finding fails, and so does a skip without
a reason. Nothing is fetched and nothing is sent: modules, policies and guidelines stay where they
are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tasks.adapters.host.tools import find_helm
from tasks.adapters.process import Runner
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.platform import values
from tasks.core.redact import Redactor
from tests.integration.test_chart import EVERYTHING, GATEWAY, POD, PROD
from tests.integration.test_platform_chart import ENTRANCE, PROVISIONED, run
from tests.support.chart import ENVIRONMENTS, ROOT, Chart, overlay

TERRAFORM = ROOT / "terraform"
NO_REASON = {"", "No comment provided"}
"""checkov's words for a skip that has none."""


def renderings(helm: Path) -> Iterator[tuple[str, str]]:
    """Yield the charts' objects: every file of helm/environments, then everything switched on."""
    chart = Chart(helm)
    for path in sorted(ENVIRONMENTS.glob("*.yaml")):
        # What a stack adds lies above the environment's own: aws-dev.yaml above dev.yaml.
        own = overlay(overlay(PROD, GATEWAY), yaml.safe_load(path.read_text()))
        yield path.stem, chart.text(own, environment=path.stem.removeprefix("aws-"))
    yield "everything", chart.text(EVERYTHING)
    yield "everything-in-one-pod", chart.text(overlay(EVERYTHING, POD))
    done = run(helm, "template", {**values(PROVISIONED), "entrance": ENTRANCE})
    if done.returncode:
        raise ValueError(done.stderr)
    yield "platform", done.stdout


def check(python: str, framework: str, folder: Path) -> list[str]:
    """Return what is wrong in a folder, a line each.

    Args:
        python: the Python that has checkov.
        framework: `terraform` or `kubernetes`.
        folder: what is checked.
    """
    argv = [python, "-I", "-m", "checkov.main", "--directory", str(folder)]
    argv += ["--framework", framework, "--skip-download", "--download-external-modules", "false"]
    argv += ["--compact", "--soft-fail", "--output", "json"]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=_without_services(os.environ)
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
        results = report["results"]
    except (ValueError, KeyError, TypeError) as error:
        raise SuiteError(
            f"checkov made no report on {folder}",
            command=" ".join(argv),
            output=done.stdout + done.stderr,
        ) from error
    return list(faults(results))


def _without_services(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what makes checkov ask its makers' services."""
    prefixes = ("BC_", "CKV_", "CHECKOV_", "PRISMA_")
    kept = {name: value for name, value in environ.items() if not name.startswith(prefixes)}
    return {**kept, "LOG_LEVEL": "ERROR"}


def faults(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong by checkov's results: findings, skips without a reason, broken files."""
    for finding in results.get("failed_checks", []):
        yield f"{_place(finding)} {finding['check_name']}"
    for skipped in results.get("skipped_checks", []):
        reason = skipped["check_result"].get("suppress_comment") or ""
        if reason.strip() in NO_REASON:
            yield f"{_place(skipped)} is skipped without a reason"
    for file in results.get("parsing_errors", []):
        yield f"{file} cannot be read"


def _place(finding: Mapping[str, Any]) -> str:
    return f"{finding['file_path']} {finding['resource']}: {finding['check_id']}"


def main(python: str) -> int:
    """Check everything, print what is wrong, and return the exit code."""
    try:
        helm = find_helm(Runner(Redactor()), ROOT)
        with tempfile.TemporaryDirectory() as scratch:
            for name, text in renderings(helm):
                (Path(scratch) / f"{name}.yaml").write_text(text)
            with ThreadPoolExecutor() as pool:
                wanted = {"terraform": TERRAFORM, "kubernetes": Path(scratch)}
                lists = pool.map(lambda each: check(python, *each), wanted.items())
                wrong = [line for lines in lists for line in lines]
    except SuiteError as error:
        wrong = error.lines()
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

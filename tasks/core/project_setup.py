"""The files that make a repository a project of the suite's, and what is told of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import InputError
from tasks.core.gitlab_pipeline import Pipeline
from tasks.core.images.pins import PIPELINE
from tasks.core.names import PROJECT_MAX
from tasks.core.project_files import LOCK, OWN
from tasks.core.project_layout import PATHS, Layout
from tasks.core.rehearsal import mautic_variables

WRAPPER = "inv"
IGNORE = ".gitignore"
INSTALL_LOCK = "requirements-install.lock"
INSTALL = "tasks/adapters/host/install.py"
TEMPLATE = f"{OWN}/gitlab-ci.yml"

BROUGHT = (WRAPPER, "requirements.lock", INSTALL_LOCK, INSTALL, PIPELINE, "CHANGELOG.md")
"""The files of the suite that those of a project are made from."""

DEFAULT_PATHS = {name: name for name in PATHS}
"""The folders of a project that has none yet."""

IGNORED = ("/.venv/", "/artifacts/", "/build.json", "/deploy.env")
"""What runs leave in a project."""

_OWN_CHECKS = ("lint", "unit", "tests")
"""Jobs of the suite's own pipeline that test the suite."""

_OFF = {"PROD_BUILD_DISABLED": "true", "PROD_RELEASE_DISABLED": "true", "CI_IMAGE_DISABLED": "true"}
_OFF_WITHOUT_CLUSTER = {"DEV_BUILD_DISABLED": "true", "DEV_RELEASE_DISABLED": "true"}
"""Variables that keep jobs back whose environment a new project does not have yet."""

_FIRST_PORT = 20_000
_GROUPS = 3_000
"""Groups of three ports, below those that systems give to outgoing connections (32768 on Linux)."""

_MOVED = {
    "lock=$root/requirements.lock": f"lock=$root/{LOCK}",
    f"install=$root/{INSTALL}": f"install=$root/{OWN}/install.py",
    "module=tasks": "module=mautic_multidev",
}
"""Lines of ./inv, and what they are in a project."""


@dataclass(frozen=True)
class Answers:
    """What a project is asked for.

    Attributes:
        project: the prefix of every name.
        host: host of a branch's site in the cluster, with ``{slug}``; empty without a cluster.
        registry: where images for the cluster are pushed; empty without one.
        cluster: the kubeconfig's context; empty: only this machine.
    """

    project: str
    host: str = ""
    registry: str = ""
    cluster: str = ""

    def check(self) -> None:
        """Check that a cluster has all that it needs.

        Raises:
            InputError: something is missing, or belongs to a cluster that is not named.
        """
        given = {"host": self.host, "registry": self.registry, "cluster": self.cluster}
        missing = [f"--{name}" for name, value in given.items() if not value]
        if missing and len(missing) < len(given):
            raise InputError(
                f"an environment in a cluster needs {', '.join(missing)} as well",
                hint="give all of --cluster, --host and --registry, or none of them",
            )
        if self.host and "{slug}" not in self.host:
            raise InputError(
                f"--host {self.host!r}: must have {{slug}} in it, which stands for the branch",
                hint="such as {slug}.dev.example.com",
            )


@dataclass(frozen=True)
class SuitePackage:
    """The package of the suite that a project uses.

    Attributes:
        version: its version.
        sha256: the checksum of its wheel.
        url: where pip gets it; empty if the wheel lies in the project.
    """

    version: str
    sha256: str
    url: str = ""

    @property
    def wheel(self) -> str:
        """The name of the wheel's file in the project; empty if it does not lie there."""
        return "" if self.url else f"mautic_multidev-{self.version}-py3-none-any.whl"

    @property
    def line(self) -> str:
        """Its entry in a lock."""
        named = f"mautic-multidev @ {self.url}" if self.url else f"mautic-multidev=={self.version}"
        return f"{named} \\\n    --hash=sha256:{self.sha256}\n"


def project_name(folder: str) -> str:
    """Return a project's name after its folder, as the setting takes it; empty if there is none."""
    small = re.sub(r"[^a-z0-9]+", "-", folder.lower())
    return re.sub(r"^[^a-z]+", "", small)[:PROJECT_MAX].strip("-")


def ports_of(project: str, is_free: Callable[[int], bool]) -> tuple[int, int, int]:
    """Return the ports of a project's local platform: of its proxy, registry and mail catcher.

    They follow from its name, so that projects on one machine have different ones, on all machines
    the same; those that somebody listens on here are passed over.

    Raises:
        InputError: none are free.
    """
    first = int(hashlib.sha256(project.encode()).hexdigest(), 16)
    for number in range(_GROUPS):
        port = _FIRST_PORT + 3 * ((first + number) % _GROUPS)
        if all(is_free(port + each) for each in range(3)):
            return port, port + 1, port + 2
    raise InputError("no three ports are free on this machine")


def settings_text(
    answers: Answers, layout: Layout, ports: tuple[int, int, int], defaults: Mapping[str, str]
) -> str:
    """Return invoke.yaml.

    Args:
        answers: what was asked for.
        layout: where plugins, themes and configuration are.
        ports: those of the local platform.
        defaults: versions of Debian and PHP, and the image of Mautic, where the layout names none.
    """
    chosen = mautic_variables(layout.mautic) if layout.mautic else defaults
    kept = DEFAULT_PATHS if layout.is_empty else layout.paths
    paths = ", ".join(f"{name}: {json.dumps(place)}" for name, place in kept.items())
    http, registry, mail = ports
    return f"""\
# The settings of mautic-multidev; every key is in its docs/configuration.md. No secrets here.
project: {json.dumps(answers.project)}

images:
  debian: {chosen["DEBIAN"]}
  php: "{chosen["PHP"]}"
  mautic: {chosen["MAUTIC_IMAGE"]}

# What of this repository goes into the images; "" where there is none of it.
paths: {{{paths}}}

# Ports of this project's own, so that others can run on the same machine.
platform: {{http_port: {http}, registry_port: {registry}, mail_port: {mail}}}

environments:
  # Every branch on this machine, with Docker Compose: the default outside CI.
  local:
    target: compose
    branches: ["*"]
    host: "{{slug}}.{{project}}.localhost"
    registry: {{kind: oci, url: {json.dumps(f"localhost:{registry}/{answers.project}")}}}
    ttl: 2w
{_cluster_text(answers)}"""


def _cluster_text(answers: Answers) -> str:
    if not answers.cluster:
        return ""
    return f"""
  # Every branch in a namespace of its own: the default in CI.
  dev:
    target: kubernetes
    branches: ["*"]
    host: {json.dumps(answers.host)}
    registry: {{kind: oci, url: {json.dumps(answers.registry)}}}
    cluster: {{kind: context, name: {json.dumps(answers.cluster)}}}
    ttl: 7d
    values: [helm/environments/dev.yaml]
"""


def suite_files(brought: Mapping[str, str], package: SuitePackage) -> dict[str, str]:
    """Return the files of a project that belong to a version of the suite, by path.

    Args:
        brought: the suite's files, by the names of ``BROUGHT``; of the pipeline the template.
        package: the package.
    """
    return {
        WRAPPER: wrapper_text(brought[WRAPPER]),
        LOCK: brought["requirements.lock"] + package.line,
        f"{OWN}/{INSTALL_LOCK}": brought[INSTALL_LOCK],
        f"{OWN}/install.py": brought[INSTALL],
        TEMPLATE: brought[PIPELINE],
    }


def wrapper_text(text: str) -> str:
    """Return a project's ./inv, made from the suite's own."""
    for line, other in _MOVED.items():
        if f"\n{line}\n" not in text:
            raise AssertionError(f"inv has no line {line}")
        text = text.replace(f"\n{line}\n", f"\n{other}\n")
    return text


def template_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the suite's pipeline that projects include: jobs, and their variables.

    Each job is whole by itself, so that nothing in it depends on, or changes, the project's own
    jobs.
    """
    jobs = {
        name: {key: value for key, value in job.items() if key != "extends"}
        for name, job in Pipeline(document).definitions.items()
        if name not in _OWN_CHECKS
    }
    for job in jobs.values():
        if "needs" in job:
            job["needs"] = [
                each
                for each in job["needs"]
                if not (isinstance(each, dict) and each.get("job") in _OWN_CHECKS)
            ]
    return {"variables": document["variables"], **jobs}


def pipeline_of(document: Mapping[str, Any], *, with_cluster: bool) -> dict[str, Any]:
    """Return a new project's pipeline: the template, with stages and workflow of the suite's.

    Args:
        document: the suite's pipeline.
        with_cluster: whether there is an environment for branches.
    """
    off = {**_OFF, **({} if with_cluster else _OFF_WITHOUT_CLUSTER)}
    return {
        "include": [{"local": TEMPLATE}],
        "stages": document["stages"],
        "workflow": document["workflow"],
        "variables": off,
    }


def pipeline_advice(
    present: Mapping[str, Any], document: Mapping[str, Any], *, with_cluster: bool
) -> list[str]:
    """Return what to add to a pipeline that is there; nothing if it includes the template.

    Args:
        present: the pipeline.
        document: the suite's.
        with_cluster: whether there is an environment for branches.
    """
    wanted = pipeline_of(document, with_cluster=with_cluster)
    included = present.get("include") or []
    named = included if isinstance(included, list) else [included]
    if any(isinstance(one, dict) and one.get("local", "").lstrip("/") == TEMPLATE for one in named):
        return []
    lines = [f"to include: {{local: {TEMPLATE}}}"]
    given = present.get("stages") or ()
    lacking = [stage for stage in wanted["stages"] if stage not in given]
    if lacking:
        lines.append(f"to stages: {', '.join(lacking)}")
    lines.append("to variables, until what they are for is set up:")
    lines += [f'  {name}: "{value}"' for name, value in wanted["variables"].items()]
    clashes = sorted(present.keys() & template_of(document).keys() - {"variables"})
    if clashes:
        lines.append(f"and rename its own {', '.join(clashes)}, which GitLab would merge with ours")
    return lines


def missing_lines(text: str, lines: Sequence[str]) -> list[str]:
    """Return the lines that a text lacks."""
    return [line for line in lines if line not in text.splitlines()]


def news(changelog: str, before: str) -> list[str]:
    """Return what a changelog says that an earlier one does not, headings included."""
    known = set(before.splitlines())
    found: list[str] = []
    for line in changelog.splitlines():
        if line.startswith("#"):
            while found and _level(found[-1]) >= _level(line):
                found.pop()  # a heading with nothing new below it
            found.append(line)
        elif line.strip() and line not in known:
            found.append(line)
    while found and _level(found[-1]):
        found.pop()
    return found


def _level(line: str) -> int:
    """Return the level of a heading; 0 for any other line."""
    return len(line) - len(line.lstrip("#"))

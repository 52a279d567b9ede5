"""Every command that the documents show for a cluster, run on a control plane; outputs compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_platform_kubernetes import Site
from tests.support.aws import Moto
from tests.support.documents import documented
from tests.support.kube_cli import kube_environment, with_remote
from tests.support.node import Node
from tests.support.platform import Audited, Upstream, audited
from tests.support.suite import ROOT, commit_all
from tests.support.walk import Walk

EARLIER = "1a2b3c4d"
"""The pages' tag of an earlier release."""
DEPLOYING, FLEET, PLATFORM = "docs/deploying.md", "docs/fleet.md", "docs/platform.md"
MINE = "helm/environments/platform.yaml"

PAGES = documented("cluster", DEPLOYING, "docs/failures.md", FLEET, "README.md", "docs/aws.md")
ENDLESS = {
    "./inv logs --env dev --service worker-email --follow": "worker",
    "./inv page --env dev --serve": "http://127.0.0.1:",
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """A control plane of the module's own: a platform is everywhere in its cluster."""
    yield from audited(tmp_path_factory.mktemp("documents-plane"))


def example(page: str, begins: str) -> str:
    """Return a file that a page shows, by how it begins."""
    (found,) = re.findall(rf"^```yaml\n({re.escape(begins)}.*?)^```$", page, re.M | re.S)
    return str(found)


@pytest.fixture(scope="module")
def walk(
    plane: Audited,
    registry: str,
    aws: Moto,
    _project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Walk]:
    """A checkout, a cluster, and images of an earlier release."""
    scratch = tmp_path_factory.mktemp("documents")
    with (
        Node(plane) as node,
        kube_environment(plane, node, registry, _project, scratch) as env,
        Upstream(scratch / "upstream") as upstream,
    ):
        site = Site(env, upstream, aws)
        (env.checkout / MINE).write_text(
            example((ROOT / PLATFORM).read_text(), "gatewayApi: {install: true}")
        )
        commit_all(env.checkout)
        with_remote(env.checkout, ("feature/new-form", "feature/x"))
        env.push(EARLIER)
        settings = {**site.settings(), "images": {"source": "standins"}}
        settings["environments"]["mine"] = settings["environments"]["dev"]

        def run(*words: str) -> Any:
            return env.run(*words, settings=settings, env=aws.variables())

        def start(*words: str) -> Any:
            variables = env.environ(aws.variables())
            return env.inv.start(env.checkout, *words, settings=settings, env=variables)

        yield Walk(env.checkout, run, start, BEFORE, ENDLESS, project=env.project)


BEFORE: dict[tuple[str, str], list[str | Callable[[], object]]] = {
    (DEPLOYING, "./inv build --env dev"): ["git switch -c feature/new-form"],
    (DEPLOYING, "./inv releases --env dev"): [
        f"./inv deploy --env dev --tag {EARLIER}",
        "./inv deploy --env dev",
    ],
    (DEPLOYING, f"./inv rollback --env dev --to {EARLIER}"): ["./inv deploy --env dev"],
}
"""What is run before a command for the first time, since its page takes it for granted."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page(walk: Walk, page: str) -> None:
    walk.follow(PAGES[page])

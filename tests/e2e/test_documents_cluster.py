"""Every command that the documents show for a cluster, run on a control plane; outputs compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.test_capacity_kubernetes import allocatable, requested
from tests.e2e.test_platform_kubernetes import Site, set_gateway_status
from tests.support.aws import Moto
from tests.support.documents import documented
from tests.support.entrance import IMAGE
from tests.support.kube_cli import kube_environment, with_remote
from tests.support.node import Node
from tests.support.platform import Audited, Upstream, audited
from tests.support.suite import ROOT, commit_all
from tests.support.walk import Place, Step, Walk

EARLIER = "1a2b3c4d"
"""The pages' tag of an earlier release."""
UNLABELLED = "whether the code is another is unknown"
DEPLOYING, FAILURES, FLEET = "docs/deploying.md", "docs/failures.md", "docs/fleet.md"
SHARED, AWS = "docs/platform.md", "docs/aws.md"
PAGES = documented("cluster", DEPLOYING, FAILURES, FLEET, "README.md", AWS)
ENDLESS = {
    "./inv logs --env dev --service worker-email --follow": "worker",
    "./inv page --env dev --serve": "http://127.0.0.1:",
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """A control plane of the module's own: a platform is everywhere in its cluster."""
    yield from audited(tmp_path_factory.mktemp("documents-plane"))


class Cluster:
    """What the pages' commands meet.

    Args:
        site: the command line, a cluster, and a stack.
    """

    def __init__(self, site: Site) -> None:
        self.site, self.env, self.aws = site, site.env, site.aws
        self.settings = {**site.settings(), "images": {"source": "standins"}}
        self.dev = self.settings["environments"]["dev"]
        own = {"host": "{slug}.mine.example.com"}
        self.settings["environments"]["mine"] = {**self.dev, **own}
        self.narrow = ExitStack()

    def run(self, *words: str, user: str = "ada") -> Any:
        variables = {**self.aws.variables(), "LOGNAME": user}
        return self.env.run(*words, settings=self.settings, env=variables)

    def start(self, *words: str) -> Any:
        variables = self.env.environ(self.aws.variables())
        return self.env.inv.start(self.env.checkout, *words, settings=self.settings, env=variables)

    def fill(self) -> None:
        """Leave too little for another branch."""
        room = requested(self.env) + 100
        self.narrow.enter_context(allocatable(self.env, room))

    def lose(self) -> None:
        """Let the images of all releases but the earlier one be missing."""
        earlier = set(self.env.push(EARLIER).values())

        def decide(pod: dict[str, Any]) -> str:
            images = {each["image"].partition("@")[2] for each in pod["spec"]["containers"]}
            is_web = pod["metadata"]["labels"].get("app.kubernetes.io/component") == "web"
            return "fpm=image-missing" if is_web and not images & earlier else ""

        self.env.node.decide = decide

    def find(self) -> None:
        """Let there be all images again."""
        self.env.node.decide = lambda pod: ""

    def price(self) -> None:
        """Set the page's prices; let one person have a branch that sleeps."""
        self.dev |= yaml.safe_load(example(FLEET, "environments:\n  dev:\n    prices: {cpu"))[
            "environments"
        ]["dev"]
        on = ("--env", "dev", "--tag", EARLIER, "--branch")
        for words, user in (
            (("deploy", *on, "main"), "ada"),
            (("deploy", *on, "feature/new-form"), "linus"),
            (("sleep", "--env", "dev", "--branch", "feature/new-form"), "linus"),
        ):
            assert self.run(*words, user=user).returncode == 0

    def open_entrance(self) -> None:
        """Name the entrance's image, as the page says."""
        self.dev["entrance"] = IMAGE

    def provide(self) -> None:
        """Be what only AWS is: a load balancer with an address, and a driver."""
        driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver"}
        self.env.cluster.create({**driver, "metadata": {"name": "efs.csi.aws.com"}, "spec": {}})
        address = {"type": "Hostname", "value": "lb.example.com"}
        conditions = [{"type": "Programmed", "status": "True"}]
        set_gateway_status(self.site, {"addresses": [address], "conditions": conditions})

    def before(self) -> dict[Place, list[Step]]:
        """Return what commands take for granted when their page comes to them."""
        earlier = f"./inv deploy --env dev --tag {EARLIER}"
        return {
            (DEPLOYING, "./inv build --env dev"): [
                f"{earlier} --branch feature/old --new",
                "git switch -c feature/new-form",
            ],
            (DEPLOYING, "./inv plan --env dev --out plan.json"): ["./inv build --env dev"],
            (DEPLOYING, "$ ./inv plan --env dev 2>/dev/null"): ["git switch -c feature/x", earlier],
            (DEPLOYING, "$ ./inv deploy --env dev 2>&1 | tail -2"): [
                "git switch -c feature/new",
                self.fill,
            ],
            (DEPLOYING, "./inv releases --env dev"): [
                self.narrow.close,
                "git switch feature/x",
                "./inv deploy --env dev",
            ],
            (DEPLOYING, f"./inv rollback --env dev --to {EARLIER}"): ["./inv deploy --env dev"],
            (FAILURES, "$ ./inv deploy --env dev 2>&1 | tail -2"): [self.lose],
            (FLEET, "./inv gc --sleep --env dev"): [self.find],
            (FLEET, "./inv platform.apply --env dev"): [self.open_entrance],
            (FLEET, "$ ./inv cost --env dev --owners"): [self.price],
            (AWS, "./inv platform.status --env dev"): [self.provide],
        }


def example(page: str, begins: str) -> str:
    """Return a file that a page shows, by how it begins."""
    text = (ROOT / page).read_text()
    (found,) = re.findall(rf"^```yaml\n({re.escape(begins)}.*?)^```$", text, re.M | re.S)
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
        cluster = Cluster(Site(env, upstream, aws))
        values = env.checkout / "helm" / "environments" / "platform.yaml"
        values.write_text(example(SHARED, "gatewayApi: {install: true}"))
        commit_all(env.checkout)
        with_remote(env.checkout, ("feature/new-form", "feature/x"))
        env.push(EARLIER)
        yield Walk(
            env.checkout,
            cluster.run,
            cluster.start,
            cluster.before(),
            ENDLESS,
            codes={
                (DEPLOYING, "$ ./inv deploy --env dev 2>&1 | tail -2"): 3,
                (FAILURES, "$ ./inv deploy --env dev 2>&1 | tail -2"): 1,
            },
            # That image is built elsewhere: tests/integration/test_entrance_image.py.
            names={"--part entrance": lambda: "--part entrance --dry-run"},
            says={
                env.project: "mautic",
                # The earlier images are the tests' own, without a label.
                UNLABELLED: "the code is another (5f2c81e09a3d becomes 77aa01c4be52)",
            },
        )


@pytest.mark.parametrize("page", PAGES)
def test_a_page(walk: Walk, page: str) -> None:
    walk.follow(PAGES[page])

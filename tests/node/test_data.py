"""What a new branch begins with, on a real node: a seed, or another branch's data.

Its database is on a server that branches share, where the platform's provisioner loads a seed once,
or a server of its own. Jobs have a token of their branch and no other credentials.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, Popen

import pytest
import yaml

from tasks.adapters.kubernetes.exec import HELD
from tasks.adapters.registry.oci import OciRegistry
from tasks.core.environment_data import seed_database
from tasks.core.images.seed_image import REPOSITORIES
from tasks.core.names import Names
from tasks.core.settings import names_of, parse
from tasks.flows.handover import PORT
from tasks.flows.kubernetes.admitting import admit
from tests.support.deploys import until
from tests.support.realnode.bed import COMPONENT, Bed, Object
from tests.support.realnode.platform import Job, Platform, job, platform_of
from tests.support.rehearsals import ENV, KEY, RULES, TABLES
from tests.support.suite import git

SOURCE, FIRST, SECOND, COPY = "source", "seeded", "seeded-too", "copied"
APART, TOO = "apart", "apart-too"
"""Branches with a server of their own."""
SHARED = "shared"
IMAGES, PICTURE = "docroot/media/images", "a-picture.png"
ROWS = 300_000
"""As many as stand in the text below: what is killed is not at its end."""
LEADS = (
    "CREATE TABLE leads (id INT PRIMARY KEY, email VARCHAR(99), firstname VARCHAR(99));"
    "INSERT INTO leads VALUES (1, 'ada@planted.org', 'Planted'), (2, 'bob@planted.org', 'Planted');"
    "INSERT INTO page_hits (url, date_hit)"
    " SELECT CONCAT('https://x/', seq), NOW() FROM seq_1_to_300000;"
)
LISTEN = "$it = stream_socket_server('tcp://0.0.0.0:'.trim(fgets(STDIN))); fgets(STDIN);"
CONNECT = "exit((int) !@stream_socket_client(trim(fgets(STDIN)), $number, $why, 3));"
# Ends the program that loads a seed, and nothing else in its pod.
KILL = """
import os, pathlib, signal
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if each.read_bytes().endswith(b"\\0load\\0"):
        os.kill(int(each.parent.name), signal.SIGKILL)
"""


@dataclass
class Site:
    """Branches of a cluster with a platform, and a seed of one of them.

    Attributes:
        tag: what is deployed.
        jobs: a CI job of each branch.
        seed: the seed's id.
    """

    bed: Bed
    platform: Platform
    store: Path
    tag: str
    jobs: dict[str, Job]
    seed: str = ""

    @property
    def settings(self) -> Object:
        """The settings of every run."""
        seeds = {"store": str(self.store), "uploads": "share"}
        return {**self.platform.settings(), "seeds": seeds}

    @property
    def registry(self) -> OciRegistry:
        """The branches' registry."""
        return OciRegistry(f"{self.bed.registry}/{self.bed.project}")

    def get(self, branch: str, path: str) -> tuple[int, str]:
        """Return what a branch's site answers."""
        return self.bed.get(branch, path, self.names(branch))

    def shell(self, branch: str, command: str) -> CompletedProcess[str]:
        """Run a command in a branch's PHP container."""
        return self.run("shell", branch, "--service", "fpm", "--command", command)

    @property
    def planted(self) -> str:
        """The seed's database on the shared server."""
        return seed_database(f"seed:{self.seed}", self.bed.project)

    def run(
        self, task: str, branch: str, *options: str, env: str = SHARED
    ) -> CompletedProcess[str]:
        """Run a task as the branch's job."""
        given = {**self.jobs[branch].env, **ENV}
        words = self._words(task, branch, *options, env=env)
        return self.bed.run(*words, settings=self.settings, env=given)

    def _words(self, task: str, branch: str, *options: str, env: str) -> tuple[str, ...]:
        return (task, "--env", env, "--branch", branch, *options)

    def ok(self, task: str, branch: str, *options: str, env: str = SHARED) -> CompletedProcess[str]:
        """Run a task as the branch's job; it must succeed."""
        done = self.run(task, branch, *options, env=env)
        assert done.returncode == 0, done.stderr
        return done

    def deploy(self, branch: str, *options: str, env: str = SHARED) -> str:
        """Deploy a branch; return what was said."""
        return self.ok("deploy", branch, "--tag", self.tag, *options, env=env).stderr

    def start_deploy(self, branch: str, *options: str) -> Popen[str]:
        """Start a deploy of a branch."""
        words = self._words("deploy", branch, "--tag", self.tag, *options, env=SHARED)
        given = {**self.jobs[branch].env, **ENV}
        return self.bed.start(*words, settings=self.settings, env=given)

    def names(self, branch: str, env: str = SHARED) -> Names:
        """Return a branch's names."""
        return names_of(parse(self.settings, lambda path: "the test"), env, branch)

    def ask(self, branch: str, statement: str) -> list[str]:
        """Run statements in a branch's database on the shared server; return the rows."""
        return self.platform.sql(f"USE {self.names(branch).database}; {statement}")

    def ask_own(self, branch: str, statement: str) -> list[str]:
        """Run a statement as the branch's own user, on a server of its own; return the rows."""
        password = "MYSQL_PWD=$(cat /run/secrets/mysql/db_password)"
        query = f'mysql -N -h127.0.0.1 -u$MYSQL_USER $MYSQL_DATABASE -e "{statement}"'
        options = ("--service", "database", "--command", f"{password} {query}")
        return self.ok("shell", branch, *options, env="dev").stdout.splitlines()

    def pod(self, names: Names) -> Object:
        """Return a branch's pod of web."""
        [web] = self.bed.cluster.find("Pod", names.namespace, f"{COMPONENT}=web")
        return web

    def php(self, names: Names, code: str, sent: Iterable[bytes]) -> int:
        """Run PHP in a branch's pod of web; return its exit status."""
        place = (names.namespace, self.pod(names)["metadata"]["name"], "fpm")
        nothing: Object = {"take": lambda _: None, "on_line": lambda _: None}
        argv = (*HELD, "php", "-r", code)
        return self.bed.cluster.pipe(*place, argv, source=sent, **nothing)

    def tables(self, database: str) -> list[str]:
        """Return the tables of a database of the shared server; none where there is none."""
        return self.platform.sql(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'"  # noqa: S608
        )

    def provisioner(self) -> Object:
        """Return the provisioner's pod."""
        where = self.platform.namespace
        [pod] = self.bed.cluster.find("Pod", where, f"{COMPONENT}=provisioner")
        return pod

    def state(self) -> str:
        """Return how far the seed is, by the provisioner's record."""
        found = self.bed.cluster.get("ConfigMap", f"seed-{self.seed}", self.platform.namespace)
        return str(found["data"]["state"]) if found else ""


@pytest.fixture(scope="module")
def site(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform, and a branch with people in it, of whom a seed is made."""
    if not os.environ.get("MAUTIC_NODE_ISSUER"):
        pytest.skip("this node's API server trusts no issuer of tests")
    branches = (SOURCE, FIRST, SECOND, COPY, APART, TOO)
    for branch in branches:
        git(bed.checkout, "push", "--quiet", "origin", f"main:refs/heads/{branch}")
    with platform_of(bed) as platform:
        platform.install(ENV)
        jobs = {branch: job(bed, branch) for branch in branches}
        made = Site(bed, platform, tmp_path_factory.mktemp("seeds"), bed.build(), jobs)
        try:
            made.deploy(SOURCE)
            made.ask(SOURCE, TABLES + LEADS)
            assert made.shell(SOURCE, f"echo of the source > {IMAGES}/{PICTURE}").returncode == 0
            rules = bed.checkout / "masking.yaml"
            rules.write_text(yaml.safe_dump(RULES))
            made.seed = made.ok("db.seed", SOURCE).stdout.strip()
            rules.unlink()
            yield made
        finally:
            # While the provisioner runs: nobody else takes the finalizer of a database off.
            for branch in branches:
                made.ok("cleanup", branch, env="dev" if branch in {APART, TOO} else SHARED)


def check_masked(leads: list[str]) -> None:
    assert len(leads) == 2
    assert all(each.endswith(".example.com") for each in leads)


def test_a_seed_whose_loading_is_killed_is_loaded_by_the_next_deploy(site: Site) -> None:
    before = site.provisioner()
    ended = site.start_deploy(FIRST, "--data", "seed")
    until(lambda: "page_hits" in site.tables(f"{site.planted}__n"), seconds=120)
    argv = ("/opt/venv/bin/python", "-c", KILL)
    where = site.platform.namespace
    name = before["metadata"]["name"]
    assert site.bed.cluster.output(where, name, "provisioner", argv) == (0, b"")
    _, said = ended.communicate(timeout=120)
    assert ended.returncode == 1, said
    assert "what loads the seed was ended by signal 9" in said
    # Whether its tables have taken their place or not: nobody has said that they are whole.
    assert site.state() == "loading"

    # The choice is remembered.
    said = site.deploy(FIRST)
    assert f"seed {site.seed} of {SHARED}" in said
    assert "is loaded first on the server" in said
    assert site.state() == "ready"
    assert site.tables(f"{site.planted}__n") == []
    check_masked(site.ask(FIRST, "SELECT email FROM leads"))
    assert int(site.ask(FIRST, "SELECT COUNT(*) FROM page_hits")[0]) > ROWS
    after = site.provisioner()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_next_branch_finds_the_seed_on_the_server_and_keeps_its_data(site: Site) -> None:
    said = site.deploy(SECOND, "--data", f"seed:{site.seed}")
    assert "which is on the server" in said
    check_masked(site.ask(SECOND, "SELECT email FROM leads"))
    site.ask(SECOND, "INSERT INTO leads VALUES (3, 'new@example.com', 'New')")
    again = site.deploy(SECOND, "--data", "empty")
    assert f"which keeps its data (seed:{site.seed})" in again
    assert len(site.ask(SECOND, "SELECT id FROM leads")) == 3


def test_both_read_the_seed_s_uploads_from_images_that_the_registry_has_once(site: Site) -> None:
    tag = f"seed.{site.seed}"
    pushed = {folder: site.registry.tags(name)[tag] for folder, name in REPOSITORIES.items()}
    for branch in (FIRST, SECOND):
        volumes = site.pod(site.names(branch))["spec"]["volumes"]
        mounted = {one["name"]: one["image"]["reference"] for one in volumes if "image" in one}
        assert mounted == {
            f"seed-{folder}": site.registry.reference(REPOSITORIES[folder], digest)
            for folder, digest in pushed.items()
        }
        for path in (PICTURE, f"seed/{PICTURE}"):
            assert site.get(branch, f"/media/images/{path}") == (200, "of the source\n")
    assert site.shell(FIRST, f"echo more > {IMAGES}/seed/more.png").returncode
    assert site.shell(FIRST, f"echo own > {IMAGES}/own.png").returncode == 0
    assert site.get(FIRST, "/media/images/own.png") == (200, "own\n")
    assert site.get(SECOND, "/media/images/own.png")[0] == 404

    # What somebody has removed is there again with the next deploy, whatever else there is to do.
    site.registry.delete_images(REPOSITORIES["images"], [pushed["images"]])
    assert f"share   uploads of seed:{site.seed}" in site.deploy(SECOND)
    assert site.registry.tags(REPOSITORIES["images"]) == {tag: pushed["images"]}
    assert "everything is as it should be" in site.deploy(SECOND)


def test_a_branch_s_data_is_refused_to_another_one_s_job_and_brought_by_a_maintainer(
    site: Site,
) -> None:
    refused = site.run("deploy", COPY, "--tag", site.tag, "--data", SECOND)
    assert refused.returncode == 3, refused.stderr
    assert f"error: {COPY} cannot get the data of {SECOND}: you have no right" in refused.stderr
    assert site.bed.cluster.get("Namespace", site.names(COPY).namespace) is None

    words = ("deploy", "--env", SHARED, "--branch", COPY, "--tag", site.tag, "--data", SECOND)
    said = site.bed.ok(*words, settings=site.settings).stderr
    assert f"from {SECOND}: 3 leads" in said
    leads = "SELECT email FROM leads ORDER BY id"
    assert site.ask(COPY, leads) == site.ask(SECOND, leads)
    assert "the rows go from container to container" not in said
    # It has all of them for itself.
    assert site.get(COPY, f"/media/images/{PICTURE}") == (200, "of the source\n")
    assert "everything is as it should be" in site.deploy(COPY)


def test_a_copy_reads_the_other_branch_s_rows_on_the_server_and_whoever_read_them_is_gone(
    site: Site,
) -> None:
    site.ask(SECOND, "INSERT INTO leads VALUES (4, 'later@example.com', 'Later')")
    words = ("db.copy", "--env", SHARED, "--from", SECOND, "--branch", COPY, "--replace")
    planned = site.bed.ok(*words, "--dry-run", settings=site.settings).stdout
    assert f"of {SECOND}, inside the cluster" in planned
    said = site.bed.ok(*words, settings=site.settings).stderr
    assert "the rows go from container to container" not in said
    count = "SELECT COUNT(*) FROM page_hits"
    assert (site.ask(COPY, count), len(site.ask(COPY, "SELECT id FROM leads"))) == (
        site.ask(SECOND, count),
        4,
    )
    assert site.platform.sql("SELECT user FROM mysql.user WHERE user LIKE '%\\_reader'") == []


def test_a_branch_with_a_server_of_its_own_decrypts_the_seed_itself(site: Site) -> None:
    site.deploy(APART, "--data", "seed", env="dev")
    check_masked(site.ask_own(APART, "SELECT email FROM leads"))


def test_branches_with_servers_of_their_own_hand_data_over_from_container_to_container(
    site: Site,
) -> None:
    where = (site.names(APART, "dev").namespace, site.names(TOO, "dev").namespace)
    shell = ("shell", "--env", "dev", "--service", "fpm", "--command")
    picture = "/var/www/html/docroot/media/images/own.png"
    written = f"head -c 9000000 /dev/urandom > {picture}; sha256sum {picture}"
    own = site.bed.ok(*shell, written, "--branch", APART, settings=site.settings).stdout
    refused = site.run("deploy", TOO, "--tag", site.tag, "--data", APART, env="dev")
    assert refused.returncode == 3, refused.stderr

    to_it = ("--env", "dev", "--branch", TOO)
    first = ("deploy", *to_it, "--tag", site.tag, "--data", APART)
    site.bed.ok(*first, settings=site.settings)
    hits = "SELECT COUNT(*) FROM page_hits"
    assert site.ask_own(TOO, hits) == site.ask_own(APART, hits)
    site.ask_own(APART, "INSERT INTO leads VALUES (9, 'later@example.com', 'Later')")
    site.bed.ok(*shell, f"rm {picture}", "--branch", TOO, settings=site.settings)
    copied = ("db.copy", *to_it, "--from", APART, "--replace")
    planned = site.bed.ok(*copied, "--dry-run", settings=site.settings).stdout
    assert f"of {APART}, from container to container" in planned
    site.bed.ok(*copied, settings=site.settings)
    assert site.ask_own(TOO, "SELECT id FROM leads") == site.ask_own(APART, "SELECT id FROM leads")
    assert (
        site.bed.ok(*shell, f"sha256sum {picture}", *to_it[2:], settings=site.settings).stdout
        == own
    )
    assert [name for each in where for name in opened(site, each)] == []


def test_a_way_between_two_branches_is_open_to_nobody_else_and_closed_again(site: Site) -> None:
    giver, taker = site.names(APART, "dev"), site.names(TOO, "dev")
    address = site.pod(taker)["status"]["podIP"]
    over = threading.Event()

    def orders() -> Iterator[bytes]:
        yield f"{PORT}\n".encode()
        over.wait()
        yield b"end\n"

    listening = threading.Thread(target=site.php, args=(taker, LISTEN, orders()), daemon=True)

    def reaches(names: Names) -> bool:
        return site.php(names, CONNECT, [f"tcp://{address}:{PORT}\n".encode()]) == 0

    said: list[str] = []
    with admit(site.bed.cluster, taker, giver, PORT, said.append):
        assert opened(site, giver.namespace)
        assert opened(site, taker.namespace)
        listening.start()
        until(lambda: reaches(giver), seconds=60)
        assert not reaches(site.names(FIRST))
        # What a run that was killed has left is no hindrance to the next one.
        with admit(site.bed.cluster, taker, giver, PORT, said.append):
            assert reaches(giver)
    assert opened(site, giver.namespace) == opened(site, taker.namespace) == []
    until(lambda: not reaches(giver), seconds=60)
    over.set()
    listening.join()
    assert said == []


def opened(site: Site, namespace: str) -> list[str]:
    """Return the names of the network policies for handovers in a namespace."""
    found = site.bed.cluster.find("NetworkPolicy", namespace)
    names = [str(each["metadata"]["name"]) for each in found]
    return [name for name in names if name.startswith("handover")]


def test_a_program_that_leaves_some_of_its_input_ends(site: Site) -> None:
    where = site.names(FIRST).namespace
    [web] = site.bed.cluster.find("Pod", where, f"{COMPONENT}=web")
    argv = (*HELD, "sh", "-c", "read -r line; sleep 1; exit 3")
    source = [b"line\n", b"x" * (1 << 20)]
    nothing: Object = {"take": lambda _: None, "on_line": lambda _: None}
    place = (where, web["metadata"]["name"], "fpm")
    assert site.bed.cluster.pipe(*place, argv, source=source, **nothing) == 3


def test_no_run_says_the_key(site: Site) -> None:
    assert KEY not in "".join(site.bed.said)


def test_uploads_go_with_the_last_branch_that_shares_them(site: Site) -> None:
    swept = ("gc", "--env", SHARED, "--yes")
    for branch, env in ((FIRST, SHARED), (APART, "dev")):
        site.ok("cleanup", branch, env=env)
    site.bed.ok(*swept, settings=site.settings)
    assert site.get(SECOND, f"/media/images/{PICTURE}")[0] == 200
    assert [len(site.registry.tags(name)) for name in REPOSITORIES.values()] == [1, 1, 1]
    site.ok("cleanup", SECOND)
    site.bed.ok(*swept, settings=site.settings)
    assert [site.registry.tags(name) for name in REPOSITORIES.values()] == [{}, {}, {}]
    assert site.get(COPY, f"/media/images/{PICTURE}")[0] == 200

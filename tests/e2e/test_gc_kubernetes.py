"""`inv gc` on a cluster: what a branch left behind goes, whatever else is there stays."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tasks.adapters.registry.oci import OciRegistry
from tasks.adapters.terminal.console import VERBOSE
from tasks.core.environment import State
from tasks.core.kubernetes.manifests import PREFIX
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Style
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, PLATFORM, KubeEnv, Object, with_remote
from tests.support.planting import is_there, listed, origin, plant, remove, uproot
from tests.support.rights import check_rights
from tests.support.suite import git

MAIN = "main"
FIRST = "first"
AT_ONCE = 10


@pytest.fixture(scope="module")
def site(kube_env: KubeEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeEnv]:
    """`main`, deployed from a checkout whose origin has no other branch."""
    with FaultyProxy(kube_env.plane) as proxy:
        folder = tmp_path_factory.mktemp("through")
        kube_env.through = proxy.write_kubeconfig(folder / "kubeconfig")
        with_remote(kube_env.checkout)
        kube_env.push(FIRST)
        kube_env.deploy(MAIN, FIRST)
        yield kube_env
        kube_env.through = None
    check_rights(proxy.requests, kube_env.project)


@pytest.fixture
def planted(site: KubeEnv) -> Iterator[dict[str, str]]:
    """Environments of every kind that a sweep meets, by branch."""
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    alive = ("feature/alive", "feature/old", "theirs")
    git(site.checkout, "push", "--quiet", "origin", *(f"main:refs/heads/{name}" for name in alive))
    found = {
        "feature/gone": plant(site, "feature/gone", expires_at=future),
        "feature/old": plant(site, "feature/old", expires_at=past),
        "feature/both": plant(site, "feature/both", expires_at=past),
        "feature/alive": plant(site, "feature/alive", expires_at=future),
        "feature/for-ever": plant(site, "feature/for-ever"),
        "theirs": plant(site, "theirs", repository="https://elsewhere/m.git", expires_at=past),
        "gone-theirs": plant(site, "gone-theirs", repository="https://elsewhere/m.git"),
        "elsewhere": plant(site, "elsewhere", environment="qa", expires_at=past),
    }
    git(site.checkout, "push", "--quiet", "origin", "main:refs/heads/feature/for-ever")
    yield found
    uproot(site, *found.values())
    for name in (*alive, "feature/for-ever"):
        git(site.checkout, "push", "--quiet", "--delete", "origin", name)


STALE = {
    "feature/both": "its branch is gone and its time is over",
    "feature/gone": "its branch is gone",
    "feature/old": "its time is over",
}


def test_gc_lists_what_is_stale_and_removes_nothing(site: KubeEnv, planted: dict[str, str]) -> None:
    for options in ((), ("--dry-run",), ("--yes", "--dry-run")):
        done = site.ok("gc", *ON, "--all", *options)
        header = done.stdout.splitlines()[0]
        assert header.split() == ["branch", "age", "last", "deploy", "owner", "reason"]
        rows = [row for row in done.stdout.splitlines() if "  ada@host  " in row]
        assert [row.split()[0] for row in rows] == list(STALE)
        for row, reason in zip(rows, STALE.values(), strict=True):
            assert row.endswith(f"ada@host  {reason}")
        assert "inv gc --yes" in done.stderr
    found = json.loads(site.ok("gc", *ON, "--all", "--format", "json").stdout)["environments"]
    assert {item["branch"]: item["reason"] for item in found} == STALE
    assert all(is_there(site, name) for name in planted.values())


def test_gc_removes_what_is_stale_and_nothing_else(site: KubeEnv, planted: dict[str, str]) -> None:
    # One of them is a real one, and shares its images with `main`.
    site.deploy("feature/real", FIRST)
    real = site.names("feature/real")
    done = site.ok("gc", *ON, "--all", "--yes", env={VERBOSE: "1"})
    for branch in (*STALE, "feature/real"):
        assert f"{branch}: " in done.stderr
        assert site.cluster.get("Namespace", site.names(branch).namespace) is None
    assert f"feature/real: removed database {real.database}" in done.stderr
    assert all(is_there(site, name) for branch, name in planted.items() if branch not in STALE)
    assert listed(site)[MAIN]["state"] == "running"
    assert FIRST in site.tags()
    assert "nothing to sweep away" in site.ok("gc", *ON, "--all", "--yes").stderr


def test_gc_removes_images_that_no_rule_keeps_and_tags_of_gone_branches(
    site: KubeEnv, planted: dict[str, str]
) -> None:
    alive = site.names("feature/alive").slug
    tip = git(site.checkout, "rev-parse", "main")[:8]
    images = {
        # Of a branch that exists, of one that is gone, and of none.
        **{"old": f"branch.{alive}.old", "built": "branch.gone.built", "by-hand": "mine"},
        # The newest commit; what a policy keeps; and the image that runs, as another branch built.
        **{tip: f"branch.{alive}.{tip}", "v1": "v1.0", FIRST: "branch.gone.both"},
    }
    registry = OciRegistry(site.registry)
    for tag, more in images.items():
        site.push(tag)
        for name in ("mautic", "nginx"):
            registry.tag(name, tag, [more, "both"] if tag == FIRST else [more])
    uproot(site, *(planted[branch] for branch in STALE))
    going = {"old", f"branch.{alive}.old", "built", "branch.gone.built", "by-hand", "mine"}
    kept = {tip, f"branch.{alive}.{tip}", "v1", "v1.0", FIRST}
    settings = site.settings(gc={"young_hours": 2, "keep": ["v*"]})

    def sweep(*options: str) -> CompletedProcess[str]:
        return site.ok("gc", *ON, "--all", *options, settings=settings)

    told = json.loads(sweep("--format", "json").stdout)
    found = {(image["repository"], tag): image for image in told["images"] for tag in image["tags"]}
    for name in ("mautic", "nginx"):
        assert {tag for tag in going | kept if found[name, tag]["goes"]} == going
        assert [found[name, tag]["rule"] for tag in (tip, "v1", FIRST)] == ["tip", "policy", "runs"]
        assert told["tags"][name] == ["both", "branch.gone.both"]
    assert site.tags() >= going | kept
    assert "removed: nothing needs it" in sweep().stdout
    shown = sweep("--verbose").stdout
    assert f"kept: runs in {MAIN}" in shown
    assert "kept: is of the newest commit of " in shown
    sweep("--yes")
    for name in ("mautic", "nginx"):
        assert not site.tags(name) & {*going, "both", "branch.gone.both"}
        assert site.tags(name) >= kept
    assert "nothing to sweep away" in sweep("--yes").stderr


def test_gc_keeps_every_image_while_an_environment_that_shares_them_is_out_of_reach(
    site: KubeEnv, planted: dict[str, str]
) -> None:
    uproot(site, *(planted[branch] for branch in STALE))
    site.push("unneeded")
    settings = site.settings()
    (own,) = settings["environments"].values()
    away = {**own, "cluster": {"kind": "context", "name": "nowhere"}, "database": None}
    settings["environments"]["qa"] = {**away, "namespace": "qa-{slug}", "host": "{slug}.qa.test"}
    done = site.ok("gc", *ON, "--all", "--yes", settings=settings)
    assert "its images are kept: qa: " in done.stderr
    assert "unneeded" in site.tags()
    site.ok("gc", *ON, "--all", "--yes")
    assert "unneeded" not in site.tags()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_gc_that_is_ended_is_finished_by_the_next_one(
    site: KubeEnv, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    # Long enough for all of the first ones to run at once on a machine with much to do.
    seconds = [20]

    def slow(pod: Object) -> str:
        return f"job-slow:{seconds[0]}" if pod["metadata"]["namespace"] == PLATFORM else ""

    monkeypatch.setattr(site.node, "decide", slow)
    image = f"{site.registry}/mautic@{site.push(FIRST)['mautic']}"
    branches = [f"{number.name.lower()}-{index:02}" for index in range(12)]
    names = {branch: plant(site, branch, database=image) for branch in branches}
    process = site.start("gc", *ON, "--all", "--yes")
    end = time.monotonic() + 60
    while len(dropping(site)) < AT_ONCE:
        assert time.monotonic() < end, dropping(site)
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    seconds[0] = 3
    _, said = process.communicate(timeout=120)

    there = {branch for branch, name in names.items() if is_there(site, name)}
    untouched = set(branches[AT_ONCE:])
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted; finishing " in said
        assert there == untouched
        assert dropping(site) == []
    else:
        assert there >= untouched
    for branch in untouched:
        assert site.cluster.find("Lease", names[branch]) == []
    done = site.ok("gc", *ON, "--all", "--yes")
    assert all(f"{branch}: " in done.stderr for branch in there)
    assert not [name for name in names.values() if site.cluster.get("Namespace", name)]
    assert dropping(site) == []
    assert "nothing to sweep away" in site.ok("gc", *ON, "--all", "--yes").stderr


def dropping(site: KubeEnv) -> list[str]:
    """Return the Jobs that drop databases of this module's branches."""
    jobs = (item["metadata"]["name"] for item in site.cluster.find("Job", PLATFORM))
    return [name for name in jobs if name.startswith(f"database-drop-{site.project}")]


@pytest.mark.parametrize("what", ["unreachable", "empty"])
def test_gc_removes_nothing_when_the_remote_cannot_be_read(
    site: KubeEnv, planted: dict[str, str], what: str
) -> None:
    remote = Path(origin(site))
    away = remote.rename(remote.with_suffix(".away"))
    if what == "empty":
        git(away, "init", "--quiet", "--bare", str(remote))
    try:
        done = site.run("gc", *ON, "--all", "--yes")
    finally:
        shutil.rmtree(remote, ignore_errors=True)
        away.rename(remote)
    assert done.returncode == 1
    assert "origin" in done.stderr
    assert done.stdout == ""
    assert all(is_there(site, name) for name in planted.values())


def test_gc_names_what_it_could_not_remove_and_removes_the_rest(
    site: KubeEnv, planted: dict[str, str]
) -> None:
    # Held by a run that lives: this one gives up when its patience is over.
    name = planted["feature/gone"]
    moment = datetime.now(UTC) + timedelta(hours=1)
    site.cluster.create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "mautic-multidev", "namespace": name},
            "spec": {
                "holderIdentity": "ada@elsewhere (process 1)",
                "leaseDurationSeconds": 30,
                "acquireTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "renewTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
    )
    settings = site.settings(patience={"stability_seconds": 1, "turn_seconds": 3})
    done = site.run("gc", *ON, "--all", "--yes", settings=settings)
    assert done.returncode == 1
    assert "1 of 3 environments could not be removed: feature/gone" in done.stderr
    assert "ada@elsewhere" in done.stderr
    assert is_there(site, name)
    for branch in ("feature/old", "feature/both"):
        assert site.cluster.get("Namespace", planted[branch]) is None


def test_gc_never_touches_a_protected_environment(site: KubeEnv, planted: dict[str, str]) -> None:
    done = site.run("gc", *ON, "--all", "--yes", settings=site.settings(protected=True))
    assert done.returncode == 3
    assert "dev is protected" in done.stderr
    assert all(is_there(site, name) for name in planted.values())


def test_broken_namespaces_hide_and_hold_up_nobody_and_are_not_collected(
    site: KubeEnv, planted: dict[str, str]
) -> None:
    """Whoever has rights in one namespace writes nonsense into it."""
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    broken = {
        name: plant(site, name, expires_at=past) for name in ("a/record", "b/date", "c/lease")
    }
    try:
        record = f"{PREFIX}record"
        for branch, text in (
            ("a/record", "{"),
            ("b/date", json.dumps({"state": "ready", "url": "", "expires_at": "soon"})),
        ):
            change = {"metadata": {"annotations": {record: text}}}
            site.cluster.patch("Namespace", broken[branch], None, change)
        site.cluster.create(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "mautic-multidev", "namespace": broken["c/lease"]},
                # The API server keeps it as the year 10000.
                "spec": {
                    "holderIdentity": "x",
                    "leaseDurationSeconds": 30,
                    "renewTime": "9999-12-31T23:59:59.000000-10:00",
                },
            }
        )
        rows = listed(site)
        assert rows[MAIN]["state"] == "running"
        assert {rows[branch]["state"] for branch in broken} == {"unreadable"}
        text = site.ok("list", *ON)
        assert all(f"! {branch} in {name} cannot" in text.stderr for branch, name in broken.items())
        assert site.run("status", *ON, "--branch", "nobody").returncode == 2
        # A clean-up of one's own goes on as ever; of a broken one it says what to do.
        site.ok("cleanup", *ON, "--branch", "feature/both")
        for branch, hint in (
            ("a/record", f"kubectl annotate namespace {broken['a/record']} {record}-"),
            ("c/lease", f"kubectl -n {broken['c/lease']} delete lease mautic-multidev"),
        ):
            refused = site.run("cleanup", *ON, "--branch", branch)
            assert refused.returncode == 1
            assert hint in refused.stderr
            assert "Traceback" not in refused.stderr
        site.ok("gc", *ON, "--all", "--yes")
        assert site.cluster.get("Namespace", planted["feature/gone"]) is None
        assert all(is_there(site, name) for name in broken.values())
    finally:
        uproot(site, *broken.values())


def test_an_environment_of_before_is_found_updated_and_removed_under_its_former_names(
    site: KubeEnv,
) -> None:
    branch = "feature/of-before"
    former, present = site.names(branch, Style.FORMER), site.names(branch)
    where = plant(site, branch, style=Style.FORMER)
    try:
        assert where == former.namespace != present.namespace
        # Its first deploy had failed, so that it has no secrets yet.
        failed = ClusterRecord(State.FAILED, former.url).to_json()
        change = {"metadata": {"annotations": {f"{PREFIX}record": failed}}}
        site.cluster.patch("Namespace", where, None, change)
        for tag in ("before", f"branch.{former.slug}.before"):
            site.push(tag)
        assert listed(site)[branch]["slug"] == former.slug
        assert site.deploy(branch, "before").stdout == f"{former.url}\n"
        row = listed(site)[branch]
        assert (row["slug"], row["state"], row["url"]) == (former.slug, "running", former.url)
        assert site.ok("url", *ON, "--branch", branch).stdout == f"{former.url}\n"
        assert site.cluster.get("Namespace", present.namespace) is None
        site.ok("cleanup", *ON, "--branch", branch)
        assert site.cluster.get("Namespace", where) is None
        assert not {"before", f"branch.{former.slug}.before"} & site.tags()
        # From now on it has its present names.
        site.push("before")
        assert site.deploy(branch, "before").stdout == f"{present.url}\n"
        assert site.cluster.get("Namespace", where) is None
        site.ok("cleanup", *ON, "--branch", branch)
    finally:
        remove(site, where, present.namespace)

"""What `inv list` makes of namespaces in which anybody may have written anything."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.app.page import read_assets
from tasks.core.cost import GIB, Prices, Requests
from tasks.core.display import visible
from tasks.core.environment import Owner, Release, State
from tasks.core.errors import ClusterError
from tasks.core.fleet import Fleet, cost_table
from tasks.core.fleet_page import page
from tasks.core.kubernetes.manifests import PREFIX, STYLE, namespace
from tasks.core.kubernetes.record import RECORD, ClusterRecord
from tasks.core.names import Names
from tasks.core.page import render
from tasks.core.redact import Redactor
from tasks.core.settings import Settings, names_of, names_of_all_styles, parse
from tasks.core.summary import EnvironmentSummary, misnamed_lines, unreadable_lines
from tasks.flows.gc import Branches, Sweeper, SweepPlan, plan_sweep
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.inspector import ClusterInspector
from tasks.flows.views import list_rows
from tests.unit.core.test_names import TWINS

Object = dict[str, Any]
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
REPOSITORY = "https://example.org/a/b"
LEASE = {"holderIdentity": "ada", "renewTime": "2026-01-10T12:00:00.000000Z"}
SETTINGS: Settings = parse(
    {
        "project": "mautic",
        "environments": {
            "local": {
                "target": "compose",
                "branches": ["*"],
                "host": "{slug}.localhost",
                "registry": {"kind": "oci", "url": "localhost:5050/mautic"},
            },
            "dev": {
                "target": "kubernetes",
                "branches": ["*"],
                "host": "{slug}.example.com",
                "registry": {"kind": "oci", "url": "localhost:5050/mautic"},
                "cluster": {"kind": "context", "name": "here"},
            },
        },
    },
    lambda _: "invoke.yaml",
)


class Cluster:
    """A cluster with namespaces and Leases."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Object]] = {"Namespace": [], "Lease": [], "Deployment": []}

    def find_all(self, kind: str, selector: str = "", fields: str = "") -> list[Object]:
        return self.objects[kind]

    def get(self, kind: str, name: str) -> Object | None:
        return next((x for x in self.objects[kind] if x["metadata"]["name"] == name), None)

    def now(self) -> datetime:
        return NOW


def listed(cluster: Cluster) -> list[EnvironmentSummary]:
    return list(inspector(cluster).list())


def swept(found: list[EnvironmentSummary]) -> SweepPlan:
    """Return what a sweep without any branch makes of environments."""
    everybody = Sweeper(REPOSITORY, "ada@host:/x", True, timedelta(hours=2))
    return plan_sweep("dev", found, everybody, Branches((), (), private=False), now=NOW)


def shown(found: list[EnvironmentSummary]) -> str:
    """Return the page of environments, with their costs."""
    prices = Prices(0.05, 0.005, 0.1, "USD")
    fleet = Fleet("dev", "mautic", found, prices, NOW)
    assert json.dumps(fleet.as_dict())
    assert cost_table(fleet, fleet.owners, "owner")
    return render(page(fleet), read_assets(), visible)


def inspector(cluster: Cluster) -> ClusterInspector:
    context = ClusterContext(
        settings=SETTINGS,
        environment="dev",
        cluster=cluster,  # type: ignore[arg-type]
        helm=None,  # type: ignore[arg-type]
        root=Path(),
        work=None,  # type: ignore[arg-type]
        redactor=Redactor(),
    )
    return ClusterInspector(context)


def environment(branch: str, /, **annotations: str) -> Object:
    """Return a branch's namespace as a deploy makes it, with changed annotations."""
    names = names_of(SETTINGS, "dev", branch)
    owner = Owner("dev", names.slug, branch, REPOSITORY)
    release = Release("t", "c" * 40, "m@sha256:1", "n@sha256:2", "ada@host", "2026-01-01T00:00:00Z")
    record = replace(ClusterRecord(State.READY, names.url), history=(release,))
    made = namespace(owner, names, record, "")
    made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    made["metadata"]["annotations"].update(
        {PREFIX + key: text for key, text in annotations.items()}
    )
    return made


def with_lease(cluster: Cluster, where: str, **spec: Any) -> None:
    cluster.objects["Lease"].append({"metadata": {"namespace": where}, "spec": {**LEASE, **spec}})


GOOD = environment("main")
TEXT: str = GOOD["metadata"]["annotations"][RECORD]


def record(**changes: Any) -> str:
    return json.dumps({**json.loads(TEXT), **changes})


BROKEN = {
    "no JSON": "{",
    "a list": "[]",
    "null": "null",
    "nothing in it": "{}",
    "a state that is no word": record(state=7),
    "a state that is a list": record(state=[]),
    "an expiry that is no time": record(expires_at="next tuesday"),
    "an expiry in a year that Python has not": record(expires_at="10000-01-01T00:00:00Z"),
    "an expiry that is a number": record(expires_at=7),
    "a history that is a word": record(history="abc"),
    "a release that lacks things": record(history=[{"tag": "x"}]),
    "a release deployed at no time": record(
        history=[{**json.loads(TEXT)["history"][0], "deployed_at": "then"}]
    ),
    "half a character": record().replace('"url": "', '"url": "\\ud800'),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_hides_no_other_environment_and_nothing_is_collected(text: str) -> None:
    cluster = Cluster()
    cluster.objects["Namespace"] = [environment("evil/x", record=text), GOOD]
    evil, good = listed(cluster)
    assert (good.branch, good.state) == ("main", State.DEGRADED)
    assert (evil.branch, evil.state) == ("evil/x", State.UNREADABLE)
    assert evil.problem
    (line,) = unreadable_lines([evil, good])
    assert line.startswith(f"evil/x in {evil.namespace} cannot be read, and is left alone: ")
    assert [row[:2] for row in list_rows([evil, good], NOW)] == [
        ("evil/x", "unreadable"),
        ("main", "degraded"),
    ]
    sweep = swept([evil, good])
    assert [item.summary.branch for item in sweep.stale] == ["main"]
    assert sweep.as_dict()["unreadable"] == [
        {**sweep.as_dict()["unreadable"][0], "branch": "evil/x", "problem": evil.problem}
    ]
    # Its images are kept with it.
    uses = {use.branch: use for use in inspector(cluster).image_uses()}
    assert (uses["evil/x"].slug, uses["evil/x"].problem) == (evil.slug, evil.problem)
    assert uses["main"].releases == {"sha256:1", "sha256:2"}


@pytest.mark.parametrize(
    "spec",
    [
        {"renewTime": "0000-01-01T00:00:00.000000Z"},
        {"renewTime": "10000-01-01T00:00:00.000000Z"},
    ],
    ids=["the year 0", "the year 10000"],
)
def test_a_lease_of_a_year_that_only_go_has_hides_no_other_environment(spec: Object) -> None:
    cluster = Cluster()
    evil = environment("evil/x")
    cluster.objects["Namespace"] = [evil, GOOD]
    with_lease(cluster, evil["metadata"]["name"], **spec)
    with_lease(cluster, "somewhere-else", **spec)
    found, good = listed(cluster)
    assert (good.branch, found.state) == ("main", State.UNREADABLE)
    assert "the Lease of" in found.problem


@pytest.mark.parametrize("branch", ["", "a..b", "x\x1b[2J", "a\u202eb"])
def test_a_branch_that_cannot_be_is_listed_by_its_namespace(branch: str) -> None:
    cluster = Cluster()
    evil = environment("evil/x", branch=branch)
    del evil["metadata"]["labels"][f"{PREFIX}slug"]
    cluster.objects["Namespace"] = [evil, GOOD]
    found = {item.namespace: item for item in listed(cluster)}
    bad = found[evil["metadata"]["name"]]
    assert bad.state is State.UNREADABLE
    assert "its annotation mautic-multidev.io/branch" in bad.problem
    assert found[GOOD["metadata"]["name"]].branch == "main"
    # Nothing says which images its branch has built, so none is removed.
    assert "" in {use.slug for use in inspector(cluster).image_uses()}


def test_what_runs_uses_is_asked_for_once_and_summed_by_namespace() -> None:
    cluster = Cluster()
    usage = {"cpu": "250m", "memory": "1Gi"}
    pod = {"metadata": {"namespace": "a"}, "containers": [{"usage": usage}, {"usage": usage}]}
    cluster.objects["PodMetrics"] = [pod]
    assert inspector(cluster).usage() == {"a": Requests(500, 2 * GIB)}


@pytest.mark.parametrize(("status", "known"), [(404, True), (403, True), (503, True), (500, False)])
def test_where_nobody_measures_nothing_is_known_of_what_is_used(status: int, known: bool) -> None:
    class Unmeasured(Cluster):
        def find_all(self, kind: str, selector: str = "", fields: str = "") -> list[Object]:
            raise ClusterError("no metrics", status=status)

    if known:
        assert inspector(Unmeasured()).usage() is None
        return
    with pytest.raises(ClusterError):
        inspector(Unmeasured()).usage()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=8,
)


@given(
    changes=st.dictionaries(st.sampled_from(list(json.loads(TEXT))), ANYTHING),
    release=st.dictionaries(st.sampled_from(list(json.loads(TEXT)["history"][0])), ANYTHING),
    raw=st.none() | st.text(),
    repository=st.text(),
)
def test_no_annotation_ends_the_list(
    changes: Object, release: Object, raw: str | None, repository: str
) -> None:
    data = {**json.loads(TEXT), **changes}
    if isinstance(data["history"], list):
        data["history"] = [*data["history"], {**json.loads(TEXT)["history"][0], **release}]
    text = json.dumps(data) if raw is None else raw
    cluster = Cluster()
    cluster.objects["Namespace"] = [environment("evil/x", record=text, repository=repository), GOOD]
    found = listed(cluster)
    assert {"evil/x", "main"} == {item.branch for item in found}
    assert list_rows(found, NOW)
    assert shown(found)
    swept(found)
    assert {"evil/x", "main"} == {use.branch for use in inspector(cluster).image_uses()}


@pytest.mark.parametrize(
    "requests",
    [
        {"cpu": 10**400},
        {"cpu": 2**63 - 1, "memory": 2**63 - 1, "storage": 2**63 - 1},
        {"memory": -1},
        {"memory": 1e308},
        {"storage": "1Gi"},
        {"cpu": None},
        [],
        0,
    ],
)
def test_amounts_that_are_none_end_neither_list_nor_page(requests: Any) -> None:
    text = json.dumps({**json.loads(TEXT), "requests": requests})
    cluster = Cluster()
    cluster.objects["Namespace"] = [environment("evil/x", record=text), GOOD]
    found = listed(cluster)
    assert {"evil/x", "main"} == {item.branch for item in found}
    assert "main</a>" in shown(found)


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01"]
)
def test_no_time_ends_the_page(at: str) -> None:
    told = json.loads(TEXT)
    cause = "\ud800\u202e" + "x" * 100_000
    failure = {**told["history"][0], "deployed_at": at, "cause": cause}
    text = json.dumps({**told, "failures": [failure], "expires_at": at})
    cluster = Cluster()
    cluster.objects["Namespace"] = [environment("evil/x", record=text), GOOD]
    assert shown(listed(cluster)).encode()


def test_images_are_told_of_every_environment_by_workloads_lease_and_record() -> None:
    cluster = Cluster()
    other = environment("other")
    other["metadata"]["labels"][f"{PREFIX}environment"] = "qa"
    record = {"database": "m@sha256:9", "state": "deploying"}
    other["metadata"]["annotations"][RECORD] = json.dumps({**json.loads(TEXT), **record})
    cluster.objects["Namespace"] = [GOOD, other]
    where = GOOD["metadata"]["name"]
    for replicas, image in ((1, "m@sha256:3"), (0, "r/m:tag"), (None, "m@sha256:4")):
        containers = {"containers": [{"image": image}], "initContainers": [{"image": "i@sha256:5"}]}
        spec = {"template": {"spec": containers}}
        spec |= {} if replicas is None else {"replicas": replicas}
        cluster.objects["Deployment"].append({"metadata": {"namespace": where}, "spec": spec})
    with_lease(cluster, where, leaseDurationSeconds=30)
    noted = {f"{PREFIX}newest-commit": "1a2b3c4d"}
    cluster.objects["Lease"][-1]["metadata"]["annotations"] = noted
    main, qa = inspector(cluster).image_uses()
    assert main.runs == {"sha256:3", "sha256:4", "sha256:5", "1a2b3c4d"}
    assert main.sleeps == {"tag", "sha256:5"}
    assert main.releases == {"sha256:1", "sha256:2"}
    assert (main.tags, main.busy, main.problem) == ({"t"}, True, "")
    # An interrupted deploy was about to run what nothing names yet.
    assert (qa.environment, qa.busy) == ("qa", True)
    assert qa.releases == {"sha256:1", "sha256:2", "sha256:9"}


def test_where_images_are_is_told_by_workloads_and_by_what_a_deploy_noted_before_any_runs() -> None:
    cluster = Cluster()
    begun = environment("begun", record=json.dumps({**json.loads(TEXT), "registry": "r.test/b"}))
    cluster.objects["Namespace"] = [GOOD, begun]
    images = [f"r.test/a/mautic@sha256:{'1' * 64}", f"docker.io/library/redis@sha256:{'2' * 64}"]
    spec = {"template": {"spec": {"containers": [{"image": each} for each in images]}}}
    where = {"namespace": GOOD["metadata"]["name"]}
    cluster.objects["Deployment"].append({"metadata": where, "spec": spec})
    found = {use.branch: use.registries for use in inspector(cluster).image_uses()}
    assert found == {"main": {"r.test/a"}, "begun": {"r.test/b"}}


# -- names that no rule gives ---------------------------------------------------------------------


def called(branch: str, slug: str, name: str = "", **annotations: str) -> Object:
    """Return a namespace that states a branch, but bears another slug, and maybe another name."""
    made = environment(branch, **annotations)
    made["metadata"]["labels"][f"{PREFIX}slug"] = slug
    made["metadata"]["name"] = name or f"mautic-{slug}"
    return made


def test_what_is_broken_of_another_project_is_not_listed() -> None:
    theirs = called("a/b", "x", "mautic-two-x")
    theirs["metadata"]["annotations"][f"{PREFIX}branch"] = "a..b"
    cluster = Cluster()
    cluster.objects["Namespace"] = [theirs, GOOD]
    assert [item.branch for item in listed(cluster)] == ["main"]


def test_made_up_digits_are_listed_and_what_others_call_theirs_is_not() -> None:
    slug = "evil-x-0123456789"
    illegal = called("a/b", "a-b-0123456789")
    illegal["metadata"]["annotations"][f"{PREFIX}branch"] = "a..b"
    cluster = Cluster()
    cluster.objects["Namespace"] = [
        environment("evil/x"),
        called("evil/x", slug, owner="eve@host", record="{"),
        called("dev", "dev"),  # reserved: an environment's name
        called("evil/y", "evil-y-0123456789", repository="https://example.org/a/another"),
        called("evil/z", "evil-z-0123456789", "mautic-two-evil-z-0123456789"),
        called("evil/z", "evil-z-0123456789", repository=""),
        called("two/z", "z-0123456789", "mautic-two-z-0123456789"),
        illegal,
        of_before("feature/x")[0],
    ]
    everything = inspector(cluster).list(f"{REPOSITORY}.git")
    reserved, occupied = (item for item in everything if item.state is State.MISNAMED)
    assert (occupied.branch, occupied.state) == ("evil/x", State.MISNAMED)
    assert (occupied.namespace, occupied.owner) == (f"mautic-{slug}", "eve@host")
    assert (reserved.branch, reserved.namespace) == ("dev", "mautic-dev")
    (line,) = misnamed_lines([*listed(cluster), occupied])
    assert line.startswith(f"evil/x in mautic-{slug}: ")
    assert list_rows([occupied], NOW)[0][:2] == (f"evil/x in mautic-{slug}", "misnamed")


# -- names of before ------------------------------------------------------------------------------


def of_before(branch: str) -> tuple[Object, list[Names]]:
    """Return the namespace of an environment whose hashes have six digits, and all its names."""
    both = names_of_all_styles(SETTINGS, "dev", branch)
    made = environment(branch)
    made["metadata"]["name"] = both[-1].namespace
    made["metadata"]["labels"][f"{PREFIX}slug"] = both[-1].slug
    del made["metadata"]["annotations"][STYLE]
    return made, both


def test_an_environment_of_before_is_found_under_its_former_names() -> None:
    cluster = Cluster()
    made, (present, former) = of_before("feature/x")
    assert inspector(cluster).find_names([present, former]) == present
    cluster.objects["Namespace"] = [made]
    assert inspector(cluster).find_names([present, former]) == former
    assert [(x.branch, x.slug) for x in listed(cluster)] == [("feature/x", former.slug)]
    # Where there are both, the present one counts.
    cluster.objects["Namespace"].append(environment("feature/x"))
    assert inspector(cluster).find_names([present, former]) == present


@pytest.mark.parametrize("branch", ["x" * 40, "feature/x"])
def test_names_are_those_that_are_stored(branch: str) -> None:
    """Database and user may differ where the namespace does not."""
    cluster = Cluster()
    made, (present, former) = of_before(branch)
    cluster.objects["Namespace"] = [made]
    assert inspector(cluster).find_names([present, former]) == former
    cluster.objects["Namespace"] = [environment(branch)]
    assert inspector(cluster).find_names([present, former]) == present


def test_what_has_another_branch_s_former_name_is_not_its_environment() -> None:
    cluster = Cluster()
    made, _ = of_before(TWINS[0])
    cluster.objects["Namespace"] = [made]
    attacker = names_of_all_styles(SETTINGS, "dev", TWINS[1])
    assert attacker[1].namespace == made["metadata"]["name"]
    assert inspector(cluster).find_names(attacker) == attacker[0]

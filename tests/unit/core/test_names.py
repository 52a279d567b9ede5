"""Names: valid, distinct and unreserved for every branch that git accepts; exit 2 for all else."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.core.environment import Owner, State
from tasks.core.errors import InputError, SettingsError
from tasks.core.images.tags import build_tags
from tasks.core.kubernetes.manifests import (
    DatabaseServer,
    Object,
    database_job,
    database_secret,
    namespace,
    secret,
)
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import (
    BRANCH_MAX_BYTES,
    PROJECT_MAX,
    SLUG_MAX,
    Names,
    NamingRule,
    Style,
    check_branch,
    database_prefix,
    is_branch,
    is_foreign,
    is_misnamed,
    names,
    names_by_rule,
    slug,
)
from tasks.core.settings import Settings, names_of, naming_rule, parse
from tests.support.apirules import faults, label_fault, subdomain_fault
from tests.support.chart import name_of
from tests.support.suite import ROOT

SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
DATABASE = re.compile(r"[a-z0-9_]+")

# An example costs far more than what it holds: each holds many branches, about 16.
many = settings(max_examples=300, deadline=None)
some = settings(max_examples=100, deadline=None)

anything = st.text(max_size=120)
# Names as people give them: ASCII with the characters that the rules turn on.
realistic = st.text(alphabet=string.ascii_letters + string.digits + "-_./#+@", max_size=80)
# Names that sit close to one another and to the rules' edges.
plain = st.text(alphabet="abc019-", min_size=1, max_size=45)
hashed = st.builds(
    "{}-{}".format,
    plain,
    st.from_regex(r"([0-9a-f]{6}|[0-9a-f]{10})", fullmatch=True),
)
branches = st.one_of(anything, realistic, plain, hashed)
TWINS = (f"feature/{'x' * 40}2925", f"feature/{'x' * 40}4274")
"""Two branches with the same beginning and the same 24 bits of their hashes."""
sets_of_branches = st.sets(branches, min_size=8, max_size=24)


def is_legal(branch: str) -> bool:
    try:
        check_branch(branch)
    except InputError:
        return False
    return True


def of(branch: str, *, environment: str = "local", project: str = "mautic", **other: Any) -> Names:
    templates = {"namespace": "{project}-{slug}", "host": "{slug}.example.org", **other}
    return names(
        branch,
        environment=environment,
        project=project,
        environments={"local", "dev", "prod"},
        namespaces={"mautic-prod", "mautic-platform"},
        **templates,
    )


# -- what git accepts -----------------------------------------------------------------------------

LEGAL = [
    "main",
    "feature/x",
    "feature/UPPER_Case.2",
    "dependabot/npm_and_yarn/left-pad-1.3.0",
    "a.b",
    "héllo",
    "分支",
    "🚀",
    "a@b",
    "a{b}",
    "#42",
    "x" * 300,
    "refs/heads/x",
    "a'b\"c$(d)`e`;f&g|h<i>j!k%l",
    "\u00a0",
    "HEAD/x",
    "@x",
    "-".join(["a"] * 5),
    "12345678",
    "a.lockx",
    "a-",
    "_",
]
ILLEGAL = [
    "",
    "HEAD",
    "-x",
    "--help",
    ".x",
    "x.",
    "x..y",
    "x/.y",
    "x.lock",
    "x.lock/y",
    "/x",
    "x/",
    "x//y",
    "x y",
    "x~y",
    "x^y",
    "x:y",
    "x?y",
    "x*y",
    "x[y",
    "x\\y",
    "x@{y",
    "x\ty",
    "x\ny",
    "x\x7fy",
    "x\n",
    "\x1b[31mx",
]


HIDDEN = {
    "a\u202eb": r"\u202e",
    "main\u200b": r"\u200b",
    "\u2066x\u2069": r"\u2066, \u2069",
    "x\x9b2Jy": r"\x9b",
    "x\x85y": r"\x85",
    "a\u2028b": r"\u2028",
    "a\ufeffb": r"\ufeff",
    "a\u00adb": r"\xad",
    "a\U000e0041b": r"\U000e0041",
}
"""Names that git accepts, with what is not seen of each."""


@pytest.mark.parametrize(("branch", "told"), HIDDEN.items())
def test_a_branch_that_looks_like_another_is_bad_input_and_is_shown_as_it_is(
    branch: str, told: str
) -> None:
    with pytest.raises(InputError, match="characters that are not seen") as caught:
        check_branch(branch)
    assert caught.value.exit_code == 2
    assert caught.value.message.endswith(f": {told}")
    assert caught.value.message.isprintable()
    assert not is_branch(branch)


@pytest.mark.parametrize("branch", LEGAL)
def test_what_git_accepts_gets_names(branch: str) -> None:
    assert SLUG.fullmatch(slug(branch))


@pytest.mark.parametrize("branch", ILLEGAL)
def test_what_git_refuses_is_bad_input(branch: str) -> None:
    with pytest.raises(InputError) as caught:
        slug(branch)
    assert caught.value.exit_code == 2


def test_a_branch_called_at_has_a_name() -> None:
    assert re.fullmatch(r"branch-[0-9a-f]{10}", slug("@"))


def test_a_nul_is_bad_input() -> None:
    with pytest.raises(InputError, match="not a legal branch name"):
        slug("a\0b")


def test_a_name_of_100_kilobytes_is_bad_input_and_is_not_repeated_in_full() -> None:
    with pytest.raises(InputError) as caught:
        slug("x" * 100_000)
    assert "100000 bytes" in caught.value.message
    assert len(caught.value.message) < 200


def test_the_limit_counts_bytes_not_characters() -> None:
    assert slug("x" * BRANCH_MAX_BYTES)
    with pytest.raises(InputError):
        slug("é" * (BRANCH_MAX_BYTES // 2 + 1))


def test_bytes_that_are_not_utf8_are_bad_input() -> None:
    # What Python makes of the argument b"caf\xe9" on a UTF-8 system.
    with pytest.raises(InputError, match="not valid UTF-8"):
        slug(b"caf\xe9".decode(errors="surrogateescape"))


# -- slugs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["main", "a", "0", "feature-x", "x" * SLUG_MAX, "a-12345"])
def test_a_short_plain_branch_keeps_its_name(branch: str) -> None:
    assert slug(branch) == branch


@pytest.mark.parametrize(
    ("branch", "start"),
    [
        ("feature/x", "feature-x-"),
        ("Feature-X", "feature-x-"),
        ("fix__many.dots/--dashes", "fix-many-dots-dashes-"),
        ("x" * (SLUG_MAX + 1), "x" * 29 + "-"),
        ("分支", "branch-"),
        ("default", "default-"),
        ("kube-system", "branch-kube-system-"),
        ("Kube", "branch-kube-"),
        ("kube/x", "branch-kube-x-"),
        ("a-abcdef", "a-abcdef-"),
        ("a-0123456789", "a-0123456789-"),
    ],
)
def test_any_other_branch_carries_ten_digits_of_its_hash(branch: str, start: str) -> None:
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{10}", slug(branch))


def test_slugs_never_change() -> None:
    """Running environments bear these names: a change here strands them."""
    for branch, former, present in (
        ("feature/x", "feature-x-217d2b", "feature-x-217d2bf51f"),
        ("分支", "branch-a25144", "branch-a251448a84"),
        ("kube-system", "branch-kube-system-88007f", "branch-kube-system-88007f7066"),
    ):
        assert slug(branch) == present
        assert slug(branch, style=Style.FORMER) == former


def test_two_branches_whose_first_24_bits_are_the_same_are_not_called_alike() -> None:
    """Found by trying, in minutes."""
    one, other = TWINS
    assert slug(one, style=Style.FORMER) == slug(other, style=Style.FORMER)
    first, second = of(one), of(other)
    assert first.slug != second.slug
    assert first.namespace != second.namespace
    assert first.host != second.host
    assert first.database_user != second.database_user


@many
@given(sets_of_branches)
def test_every_legal_branch_has_a_valid_slug(given_branches: set[str]) -> None:
    for branch in filter(is_legal, given_branches):
        found = slug(branch)
        assert SLUG.fullmatch(found)
        assert len(found) <= SLUG_MAX
        assert "--" not in found


@many
@given(sets_of_branches)
def test_two_branches_are_never_called_alike(given_branches: set[str]) -> None:
    legal = list(filter(is_legal, given_branches))
    assert all_differ([slug(branch) for branch in legal])
    all_names = [of(branch) for branch in legal]
    for name in ("namespace", "host", "url", "release", "database", "database_user"):
        assert all_differ([getattr(found, name) for found in all_names]), name


def all_differ(found: list[str]) -> bool:
    return len(set(found)) == len(found)


@some
@given(sets_of_branches)
def test_a_branch_named_like_another_s_slug_gets_another_one(given_branches: set[str]) -> None:
    for branch in filter(is_legal, given_branches):
        found = slug(branch)
        if found != branch:
            assert slug(found) != found
            assert slug(slug(found)) not in {found, slug(found)}


kubes = st.builds("{}{}{}".format, st.sampled_from(["kube", "Kube", "kube-"]), plain, plain)
reservable = st.one_of(branches, kubes, st.just("default"))


@some
@given(st.sets(reservable, min_size=8, max_size=24), st.sets(plain, max_size=5))
def test_reserved_names_are_never_taken(given_branches: set[str], others: set[str]) -> None:
    for branch in filter(is_legal, given_branches):
        # The worst case: what the branch would be called belongs to something else, twice over.
        reserved = others | {slug(branch)}
        reserved |= {slug(branch, reserved.__contains__)}
        found = slug(branch, reserved.__contains__)
        assert SLUG.fullmatch(found)
        assert len(found) <= SLUG_MAX
        assert found not in reserved
        assert found != "default"
        assert not found.startswith("kube-")


# -- everything else a branch is called -----------------------------------------------------------


@pytest.mark.parametrize("branch", ["local", "dev", "prod", "platform", "default", "kube-public"])
def test_names_that_belong_to_something_else_are_not_taken(branch: str) -> None:
    found = of(branch)
    assert found.slug != branch
    assert found.namespace not in {"mautic-prod", "mautic-platform"}
    assert found.namespace != f"mautic-{branch}"


def test_an_environment_without_a_slug_has_one_place_for_all() -> None:
    found = of("main", environment="prod", namespace="{project}-shop", host="www.example.org")
    assert found.namespace == "mautic-shop"
    assert found.url == "https://www.example.org"
    assert (found.release, found.database) == ("mautic-prod", "mautic_prod")


def test_all_names_of_a_branch() -> None:
    assert of("feature/x").as_dict() == {
        "branch": "feature/x",
        "environment": "local",
        "slug": "feature-x-217d2bf51f",
        "namespace": "mautic-feature-x-217d2bf51f",
        "host": "feature-x-217d2bf51f.example.org",
        "url": "https://feature-x-217d2bf51f.example.org",
        "release": "mautic-feature-x-217d2bf51f",
        "database": "mautic_feature_x_217d2bf51f",
        "database_user": "mautic_feature_x_217d2bf51f",
    }


def test_what_names_a_branch_in_a_command_is_quoted() -> None:
    assert of("feature/x").options == "--env local --branch feature/x"
    assert of("a;b").options == "--env local --branch 'a;b'"


def test_a_long_database_user_is_cut_and_marked() -> None:
    found = of("x" * 40)
    assert re.fullmatch(r"mautic_x{15}__[a-z2-7]{8}", found.database_user)


# -- names that are in use never change -----------------------------------------------------------

LONG = f"release/2026-11-{'y' * 60}"
IN_USE = [
    # project, branch, namespace, database user; as 1.0 called them
    ("mautic", "main", "mautic-main", "mautic_main"),
    ("mautic", "feature/x", "mautic-feature-x-217d2b", "mautic_feature_x_217d2b"),
    ("mautic", "x" * 40, f"mautic-{'x' * 40}", f"mautic_{'x' * 17}__bd913f"),
    (
        "mautic",
        LONG,
        "mautic-release-2026-11-yyyyyyyyyyyyyyyyy-935a93",
        "mautic_release_2026_11_y__05f193",
    ),
    ("mautic", "分支", "mautic-branch-a25144", "mautic_branch_a25144"),
    (
        "mautic",
        "kube-system",
        "mautic-branch-kube-system-88007f",
        "mautic_branch_kube_system_88007f",
    ),
    ("a", "x" * 40, f"a-{'x' * 40}", f"a_{'x' * 22}__bd913f"),
    ("a", LONG, "a-release-2026-11-yyyyyyyyyyyyyyyyy-935a93", "a_release_2026_11_yyyyyy__05f193"),
    ("a-", "main", "a--main", "a__main"),
    ("mautics", "x" * 40, f"mautics-{'x' * 40}", f"mautics_{'x' * 16}__bd913f"),
    (
        "mautics",
        LONG,
        "mautics-release-2026-11-yyyyyyyyyyyyyyyyy-935a93",
        "mautics_release_2026_11__05f193",
    ),
    ("marketing", "main", "marketing-main", "marketing_main"),
    ("marketing", "feature/x", "marketing-feature-x-217d2b", "marketing_feature_x_217d2b"),
    (
        "marketing",
        "kube-system",
        "marketing-branch-kube-system-88007f",
        "marketing_branch_kube_sy__34fd61",
    ),
    (
        "team-marketing-emea1",
        "feature/x",
        "team-marketing-emea1-feature-x-217d2b",
        "team_marketing_emea1_fea__e29d9c",
    ),
    (
        "team-marketing-emea1",
        "kube-system",
        "team-marketing-emea1-branch-kube-system-88007f",
        "team_marketing_emea1_bra__34fd61",
    ),
]


@pytest.mark.parametrize(("project", "branch", "namespace", "user"), IN_USE)
def test_names_that_are_in_use_never_change(
    project: str, branch: str, namespace: str, user: str
) -> None:
    found = of(branch, project=project, style=Style.FORMER)
    assert (found.namespace, found.release) == (namespace, namespace)
    assert (found.database, found.database_user) == (namespace.replace("-", "_"), user)
    assert found.host == f"{found.slug}.example.org"
    create, drop, secret = database_objects(found)
    assert name_of(secret) == f"database-{namespace}"
    assert name_of(drop) == f"database-drop-{namespace}"
    # At 48 characters of a release there never was such a Job: it has to be cut.
    if len(namespace) <= 47:
        assert name_of(create) == f"database-create-{namespace}"


def test_names_of_a_fixed_environment_never_change() -> None:
    found = of("main", environment="prod", namespace="{project}-prod", host="www.example.org")
    assert (found.namespace, found.release) == ("mautic-prod", "mautic-prod")
    assert (found.database, found.database_user) == ("mautic_prod", "mautic_prod")


def test_two_environments_may_have_one_fixed_namespace_in_two_clusters() -> None:
    own = parse_settings("mautic").environment("prod")
    two = Settings(environments={"prod": own, "mirror": own})
    assert names_of(two, "prod", "main").namespace == "mautic-prod"
    assert names_of(two, "mirror", "main").release == "mautic-mirror"


def test_a_compose_project_of_a_long_template_keeps_its_name() -> None:
    template = f"{'team-' * 9}{{project}}-{{slug}}"
    settings = parse_settings("mautic", namespace=template)
    found = names_of(settings, "local", "x" * 40)
    assert found.namespace == f"{'team-' * 9}mautic-{'x' * 40}"


# -- every project --------------------------------------------------------------------------------

projects = st.one_of(
    st.from_regex(rf"[a-z][a-z0-9-]{{0,{PROJECT_MAX - 1}}}", fullmatch=True),
    st.sampled_from(["a" * PROJECT_MAX, "ab" * (PROJECT_MAX // 2), "a" * 20, "a" * 21]),
    st.sampled_from(["kube", "kube-x", "sg", "xn-", "sthree", "performance", "information", "a-"]),
)
few = settings(max_examples=400, deadline=None)
long_branches = st.text(alphabet="abc/-", min_size=35, max_size=200)


@cache
def parse_settings(project: str, **local: str) -> Settings:
    """Settings with one environment of every sort: Compose, branches of a cluster, one for all."""
    oci = {"kind": "oci", "url": "registry.example.org"}
    cluster = {"target": "kubernetes", "cluster": {"name": "c"}, "registry": oci}
    environments = {
        "local": {
            "target": "compose",
            "branches": ["*"],
            "host": "{slug}.localhost",
            "registry": oci,
            **local,
        },
        "dev": {**cluster, "branches": ["*"], "host": "{project}-{slug}.example.org"},
        "prod": {
            **cluster,
            "branches": ["main"],
            "namespace": "{project}-prod",
            "host": "{project}.example.org",
        },
    }
    return parse({"project": project, "environments": environments}, lambda _: "invoke.yaml")


def database_objects(found: Names) -> list[Object]:
    prefix = database_prefix(found.release.partition("-")[0])
    server = DatabaseServer("db.example.org", 3306, "admin", "mautic-system", prefix)
    return [
        database_job(found, server, "image", "create", 120),
        database_job(found, server, "image", "drop", 10),
        database_secret(found, server, "secret"),
    ]


COMPOSE_FILE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


def compose_names(namespace: str) -> Iterator[str]:
    """Everything that Compose and the suite call after a Compose project."""
    for service in COMPOSE_FILE["services"]:
        yield from (f"{namespace}-{service}-1", f"{namespace}-{service}-run-0123456789ab")
    for name in (*COMPOSE_FILE["volumes"], *COMPOSE_FILE["networks"], f"record-{2**63}"):
        yield f"{namespace}_{name}"
    yield f"{namespace}.lock"


def check(found: Names, project: str, *, on_kubernetes: bool) -> None:
    """Check everything that is called after a branch, by the rules of those who take the names."""
    if on_kubernetes:
        of_branch = Owner(found.environment, found.slug, found.branch, "group/project")
        owner = namespace(of_branch, found, ClusterRecord(State.READY, found.url), "")
        for item in (owner, secret(found, {}), *database_objects(found)):
            assert list(faults(item)) == []
        assert list(label_fault("release", found.release, 53)) == []
        # The chart cuts names at 52: the Service that the suite asks must not be among them.
        assert len(f"{found.release}-web") <= 52
        create, drop, password = database_objects(found)
        # By these the platform's guard knows what is the project's own (guard.yaml).
        assert name_of(create).startswith(f"database-create-{project}-")
        assert name_of(drop).startswith(f"database-drop-{project}-")
        assert name_of(password).startswith(f"database-{project}-")
        assert found.namespace.startswith(f"{project}-")
        assert not found.namespace.startswith("kube-")
    else:
        for name in compose_names(found.namespace):
            # Docker's rule for containers, and a file's name on the disk.
            assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]+", name)
            assert len(name) <= 255
        assert list(label_fault("alias", found.slug)) == []
    assert list(subdomain_fault("host", found.host)) == []
    prefix = database_prefix(project)
    for name, limit in ((found.database, 64), (found.database_user, 32)):
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert len(name) <= limit
        assert name.startswith(prefix)
        assert name != prefix
    assert found.database not in {"information_schema", "performance_schema"}
    for tag in build_tags(("short-sha",), found.slug, "0123abcd-dirty-0123abcd", dirty=True):
        assert re.fullmatch(r"\w[\w.-]{0,127}", tag)


@few
@given(projects, st.one_of(branches, long_branches), st.sampled_from(["local", "dev", "prod"]))
def test_every_name_of_every_project_is_valid_or_the_project_is_refused(
    project: str, branch: str, environment: str
) -> None:
    assume(is_legal(branch))
    try:
        given_settings = parse_settings(project)
    except SettingsError as refused:
        assert repr(project) in refused.message
        assert project.startswith("kube") or project.endswith("-")
        return
    found = names_of(given_settings, environment, branch)
    check(found, project, on_kubernetes=environment != "local")
    assert found == names_of(given_settings, environment, branch)


@few
@given(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=PROJECT_MAX),
    st.one_of(branches, long_branches),
    st.one_of(branches, long_branches),
)
def test_two_branches_of_any_project_are_never_called_alike(
    project: str, one: str, other: str
) -> None:
    assume(one != other and is_legal(one) and is_legal(other))
    assume(not project.startswith("kube"))
    given_settings = parse_settings(project)
    for environment in ("local", "dev"):
        mine = names_of(given_settings, environment, one)
        yours = names_of(given_settings, environment, other)
        for name in ("namespace", "host", "url", "release", "database", "database_user"):
            assert getattr(mine, name) != getattr(yours, name), name
        mine_made = {name_of(item) for item in database_objects(mine)}
        yours_made = {name_of(item) for item in database_objects(yours)}
        assert mine_made.isdisjoint(yours_made)


@pytest.mark.parametrize("length", range(1, PROJECT_MAX + 1))
def test_the_longest_branch_has_names_with_a_project_of_every_length(length: int) -> None:
    project = "m" * length
    for environment, on_kubernetes in (("local", False), ("dev", True), ("prod", True)):
        for branch in ("x", "x" * SLUG_MAX, "feature/" + "x" * 200):
            found = names_of(parse_settings(project), environment, branch)
            check(found, project, on_kubernetes=on_kubernetes)


def test_a_branch_is_not_called_like_the_platform_s_namespace() -> None:
    settings = parse_settings("mautic")
    assert names_of(settings, "dev", "system").namespace != "mautic-system"
    # On a machine with Compose there is none: what is in use there keeps its name.
    assert names_of(settings, "local", "system").namespace == "mautic-system"


def test_a_branch_is_not_called_like_the_platform_of_another_environment() -> None:
    settings = parse_settings("mautic")
    prod = settings.environment("prod").model_copy(update={"platform_namespace": "mautic-base"})
    both = settings.model_copy(update={"environments": {**settings.environments, "prod": prod}})
    assert names_of(both, "dev", "base").namespace != "mautic-base"
    assert names_of(both, "dev", "bases").namespace == "mautic-bases"


def test_a_branch_does_not_get_the_host_of_production() -> None:
    settings = parse_settings("mautic")
    dev = settings.environment("dev").model_copy(update={"host": "{slug}.example.org"})
    both = settings.model_copy(update={"environments": {**settings.environments, "dev": dev}})
    assert names_of(both, "prod", "main").host == "mautic.example.org"
    found = names_of(both, "dev", "mautic")
    assert found.host != "mautic.example.org"
    assert found.slug.startswith("mautic-")
    assert names_of(both, "dev", "shop").host == "shop.example.org"


@pytest.mark.parametrize("project", ["performance", "information"])
def test_a_branch_is_not_called_like_a_database_of_the_server(project: str) -> None:
    found = names_of(parse_settings(project), "dev", "schema")
    assert found.database != f"{project}_schema"


REGION = "eu-central-1"
STACKS = [
    # project, stack, state_bucket, what is told
    ("mautic", "dev", None, ""),
    ("m" * 27, "dev", None, ""),
    ("m" * 28, "dev", None, f"the bucket '{'m' * 28}-terraform-000000000000-eu-central-1' has 64 "),
    ("m" * 28, "dev", "own", ""),
    ("m" * 40, "dev", "own", ""),
    ("m" * 40, "test", "own", f"the role '{'m' * 40}-test-database-monitoring' has 65 characters"),
    ("m--m", "dev", "own", "the database server 'm--m-dev' must be"),
    ("mautic", "dev-", "own", "the database server 'mautic-dev-' must be"),
    ("sg", "dev", None, "the security group 'sg-dev-database' must not begin with 'sg-'"),
    ("sthree", "dev", None, "must not begin with 'sthree-' (S3); name another one by state_bucket"),
    ("sthree", "dev", "own", ""),
]


@pytest.mark.parametrize(("project", "stack", "bucket", "told"), STACKS)
def test_a_project_that_aws_would_refuse_is_refused_at_once(
    project: str, stack: str, bucket: str | None, told: str
) -> None:
    given_stack = {"region": REGION} | ({"state_bucket": bucket} if bucket else {})
    merged = parse_settings(project).model_dump(exclude_defaults=True)
    merged |= {"project": project, "stacks": {stack: given_stack}}
    if not told:
        assert parse(merged, lambda _: "invoke.yaml").project == project
        return
    with pytest.raises(SettingsError) as caught:
        parse(merged, lambda _: "invoke.yaml")
    assert caught.value.message.startswith(f"invoke.yaml: stacks.{stack}: ")
    assert told in caught.value.message
    assert caught.value.message.endswith(f"(project {project!r})")


NO_NAMES = [
    # namespace, host, environment's name, platform namespace, what is told
    ("{project}.{slug}", "{slug}.x", "dev", "p", "the namespace 'm.x' is no DNS label (RFC 1123"),
    ("{slug}-", "{slug}.x", "dev", "p", "the namespace 'x-' is no DNS label"),
    ("kube-{slug}", "{slug}.x", "dev", "p", "the namespace 'kube-x' is one of Kubernetes' own"),
    ("{slug}", "-{slug}.x", "dev", "p", "the host '-x.x' has a part that is no DNS label"),
    ("{slug}", "{slug}..x", "dev", "p", "the host 'x..x' has a part that is no DNS label"),
    ("{slug}", "{slug}." + "y" * 64, "dev", "p", "has a part that is no DNS label"),
    ("{slug}", "{slug}" + ".yyyyyyy" * 27, "dev", "p", "a host may have 256 characters, and DNS"),
    ("prod", "x", "dev-", "p", "the Helm release 'm-dev-' is no DNS label"),
    ("{slug}", "{slug}.x", "dev-", "p", "the label environment 'dev-' is no DNS label"),
    ("{slug}", "{slug}.x", "dev", "p-", "the platform namespace 'p-' is no DNS label"),
]


@pytest.mark.parametrize(("template", "host", "name", "platform", "told"), NO_NAMES)
def test_templates_that_make_no_names_are_refused(
    template: str, host: str, name: str, platform: str, told: str
) -> None:
    own = {
        "target": "kubernetes",
        "cluster": {"name": "c"},
        "registry": {"url": "registry.example.org"},
        "branches": ["*"],
        "namespace": template,
        "host": host,
        "platform_namespace": platform,
    }
    with pytest.raises(SettingsError) as caught:
        parse({"project": "m", "environments": {name: own}}, lambda _: "invoke.yaml")
    assert caught.value.message.startswith(f"invoke.yaml: environments.{name}: ")
    assert told in caught.value.message


RULE_KUBERNETES = {
    "target": "kubernetes",
    "branches": ["*"],
    "registry": {"url": "registry.example.org/x"},
    "cluster": {"name": "one"},
    "host": "{slug}.example.org",
}


def rule_of(project: str = "mautic", **own: Any) -> NamingRule:
    settings = {
        "dev": {**RULE_KUBERNETES, **own},
        "qa": {**RULE_KUBERNETES, "cluster": {"name": "2"}},
    }
    return naming_rule(parse({"project": project, "environments": settings}, lambda _: "x"), "dev")


LONG_PROJECT = "p" * PROJECT_MAX
LONG_SLUG = "feature-" + "x" * 21 + "-0123456789"


@pytest.mark.parametrize(
    ("branch", "slug_of_it", "namespace_of_it", "expected"),
    [
        ("feature/x", "feature-x-0123456789", "mautic-feature-x-0123456789", True),
        ("qa", "qa", "mautic-qa", True),
        ("默认", "branch-0123456789", "mautic-branch-0123456789", True),
        ("feature/x", "feature-x-012345678", "mautic-feature-x-012345678", False),
        ("feature/x", "feature-y-0123456789", "mautic-feature-y-0123456789", False),
        ("feature/x", "feature-x-0123456789", "mautic-feature-x-9876543210", False),
        ("feature/x", "feature-x-0123456789", "mautic-two-feature-x-0123456789", False),
        ("feature/x", "two-feature-x-0123456789", "mautic-two-feature-x-0123456789", False),
        ("feature/x", "", "mautic-", False),
        ("two", "two", "mautic-two", False),
    ],
)
def test_what_only_the_rule_can_tell(
    branch: str, slug_of_it: str, namespace_of_it: str, expected: bool
) -> None:
    assert is_misnamed(rule_of(), branch, slug_of_it, namespace_of_it) is expected


def test_a_shortened_namespace_is_compared_up_to_its_digits() -> None:
    rule, branch = rule_of(LONG_PROJECT), "feature/" + "x" * 60
    own, *_ = names_by_rule(rule, branch)
    start = own.namespace[:-10]
    assert not is_misnamed(rule, branch, own.slug, own.namespace)
    assert is_misnamed(rule, branch, own.slug, f"{start}0123456789")
    assert is_misnamed(rule, branch, LONG_SLUG, f"{start}0123456789")
    # The policy lets it be cut anywhere behind the 40th character.
    assert is_misnamed(rule, branch, LONG_SLUG, f"{LONG_PROJECT}-0123456789")
    assert not is_misnamed(rule, branch, LONG_SLUG, f"{LONG_PROJECT}-two-0123456789")


@pytest.mark.parametrize(
    ("slug_of_it", "namespace_of_it", "expected"),
    [
        ("x", "mautic-x", False),
        ("x", "mautic-multidev-test-x", True),
        ("x", "other-x", True),
        ("", "other-x", False),
    ],
)
def test_a_namespace_is_another_projects_by_its_slug(
    slug_of_it: str, namespace_of_it: str, expected: bool
) -> None:
    assert is_foreign(rule_of(), slug_of_it, namespace_of_it) is expected


@many
@given(branch=anything.filter(is_branch))
def test_what_the_rule_gives_is_never_another_projects(branch: str) -> None:
    for rule in (rule_of(), rule_of(LONG_PROJECT)):
        for own in names_by_rule(rule, branch):
            assert not is_foreign(rule, own.slug, own.namespace)


@many
@given(branch=anything.filter(is_branch))
def test_what_the_rule_gives_is_never_misnamed(branch: str) -> None:
    rule = rule_of()
    for own in names_by_rule(rule, branch):
        assert not is_misnamed(rule, branch, own.slug, own.namespace)


def test_an_environment_with_one_namespace_for_all_has_no_misnamed_ones() -> None:
    rule = rule_of(namespace="{project}-dev", host="example.org", branches=["main"])
    assert not is_misnamed(rule, "feature/x", "feature-x-0123456789", "mautic-feature-x-0123456789")

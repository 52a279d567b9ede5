"""Names: valid, distinct and unreserved for every branch that git accepts; exit 2 for all else."""

from __future__ import annotations

import re
import string
import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.core.errors import InputError
from tasks.core.naming import BRANCH_MAX_BYTES, SLUG_MAX, Names, check_branch, names, slug

SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
DATABASE = re.compile(r"[a-z0-9_]+")

many = settings(max_examples=4000, deadline=None)
some = settings(max_examples=1500, deadline=None)

anything = st.text(max_size=120)
# Names as people give them: ASCII with the characters that the rules turn on.
realistic = st.text(alphabet=string.ascii_letters + string.digits + "-_./#+@", max_size=80)
# Names that sit close to one another and to the rules' edges.
plain = st.text(alphabet="abc019-", min_size=1, max_size=45)
hashed = st.builds(
    "{}-{}".format, plain, st.text(alphabet="0123456789abcdef", min_size=6, max_size=6)
)
branches = st.one_of(anything, realistic, plain, hashed)


def is_legal(branch: str) -> bool:
    try:
        check_branch(branch)
    except InputError:
        return False
    return True


def git_accepts(branch: str) -> bool:
    done = subprocess.run(
        ["git", "check-ref-format", "--branch", branch], capture_output=True, check=False
    )
    return done.returncode == 0


def of(branch: str, *, environment: str = "local", project: str = "mautic", **other: str) -> Names:
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
    "a\u202eb",
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


@pytest.mark.parametrize("branch", LEGAL)
def test_what_git_accepts_gets_names(branch: str) -> None:
    assert git_accepts(branch)
    assert SLUG.fullmatch(slug(branch))


@pytest.mark.parametrize("branch", ILLEGAL)
def test_what_git_refuses_is_bad_input(branch: str) -> None:
    assert not git_accepts(branch)
    with pytest.raises(InputError) as caught:
        slug(branch)
    assert caught.value.exit_code == 2


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="ab/.@{~^:?*[\\-\x00\x01\x7f é\n", min_size=1, max_size=12))
def test_the_rules_are_git_s_own(branch: str) -> None:
    # git's versions differ over "@" alone, which can stand for HEAD.
    assume("\0" not in branch and branch != "@")
    assert is_legal(branch) == git_accepts(branch)


def test_a_branch_called_at_has_a_name() -> None:
    assert re.fullmatch(r"branch-[0-9a-f]{6}", slug("@"))


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
        ("x" * (SLUG_MAX + 1), "x" * 33 + "-"),
        ("分支", "branch-"),
        ("default", "default-"),
        ("kube-system", "branch-kube-system-"),
        ("Kube", "branch-kube-"),
        ("kube/x", "branch-kube-x-"),
        ("a-abcdef", "a-abcdef-"),
    ],
)
def test_any_other_branch_carries_six_digits_of_its_hash(branch: str, start: str) -> None:
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{6}", slug(branch))


def test_slugs_never_change() -> None:
    """Running environments bear these names: a change here strands them."""
    assert slug("feature/x") == "feature-x-217d2b"
    assert slug("分支") == "branch-a25144"
    assert slug("kube-system") == "branch-kube-system-88007f"


@many
@given(branches)
def test_every_legal_branch_has_a_valid_slug(branch: str) -> None:
    assume(is_legal(branch))
    found = slug(branch)
    assert SLUG.fullmatch(found)
    assert len(found) <= SLUG_MAX
    assert "--" not in found


@many
@given(branches, branches)
def test_two_branches_are_never_called_alike(one: str, other: str) -> None:
    assume(one != other and is_legal(one) and is_legal(other))
    assert slug(one) != slug(other)
    mine, yours = of(one), of(other)
    for name in ("namespace", "host", "url", "release", "database", "database_user"):
        assert getattr(mine, name) != getattr(yours, name), name


@some
@given(branches)
def test_a_branch_named_like_another_s_slug_gets_another_one(branch: str) -> None:
    assume(is_legal(branch))
    found = slug(branch)
    assume(found != branch)
    assert slug(found) != found
    assert slug(slug(found)) not in {found, slug(found)}


kubes = st.builds("{}{}{}".format, st.sampled_from(["kube", "Kube", "kube-"]), plain, plain)


@some
@given(st.one_of(branches, kubes, st.just("default")), st.sets(plain, max_size=5))
def test_reserved_names_are_never_taken(branch: str, reserved: set[str]) -> None:
    assume(is_legal(branch))
    # The worst case: what the branch would be called belongs to something else, twice over.
    reserved |= {slug(branch)}
    reserved |= {slug(branch, reserved.__contains__)}
    found = slug(branch, reserved.__contains__)
    assert SLUG.fullmatch(found)
    assert len(found) <= SLUG_MAX
    assert found not in reserved
    assert found != "default"
    assert not found.startswith("kube-")


# -- everything else a branch is called -----------------------------------------------------------


@some
@given(branches)
def test_every_name_fits_where_it_is_used(branch: str) -> None:
    assume(is_legal(branch))
    found = of(branch, project="a" * 20)
    assert SLUG.fullmatch(found.namespace)
    assert len(found.namespace) <= 63
    assert SLUG.fullmatch(found.host.split(".")[0])
    assert len(found.host) <= 253
    assert SLUG.fullmatch(found.release)
    assert len(found.release) <= 63
    assert DATABASE.fullmatch(found.database)
    assert len(found.database) <= 64
    assert DATABASE.fullmatch(found.database_user)
    assert len(found.database_user) <= 32


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
        "slug": "feature-x-217d2b",
        "namespace": "mautic-feature-x-217d2b",
        "host": "feature-x-217d2b.example.org",
        "url": "https://feature-x-217d2b.example.org",
        "release": "mautic-feature-x-217d2b",
        "database": "mautic_feature_x_217d2b",
        "database_user": "mautic_feature_x_217d2b",
    }


def test_a_long_database_user_is_cut_and_marked() -> None:
    found = of("x" * 40)
    assert re.fullmatch(r"mautic_x{17}__[0-9a-f]{6}", found.database_user)

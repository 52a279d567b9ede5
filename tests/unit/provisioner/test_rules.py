"""Which database a namespace may have: derived from what nobody can copy, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import cluster as other_cluster
from provisioner import floor as other_floor
from provisioner import rules as other
from provisioner.rules import ForeignError, Rules, identify
from tasks.core.environment import Owner, State
from tasks.core.errors import InputError
from tasks.core.kubernetes import provisioner as own
from tasks.core.kubernetes.manifests import MANAGED, PREFIX, STYLE, namespace
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Style
from tasks.core.settings import Settings, names_of, names_of_all_styles, parse

SETTINGS: Settings = parse(
    {
        "project": "mautic",
        "environments": {
            "dev": {
                "target": "kubernetes",
                "branches": ["*"],
                "host": "{slug}.example.com",
                "registry": {"url": "registry.example.com/dev"},
                "cluster": {"name": "one"},
                "database": {"host": "db.example.com"},
            },
            "prod": {
                "target": "kubernetes",
                "branches": ["main"],
                "namespace": "{project}-prod",
                "host": "example.com",
                "registry": {"url": "registry.example.com/prod"},
                "cluster": {"name": "one"},
                "database": {"host": "DB.example.com."},
                "protected": True,
            },
            "qa": {
                "target": "kubernetes",
                "branches": ["qa"],
                "namespace": "{project}-qa",
                "host": "qa.example.com",
                "registry": {"url": "registry.example.com/qa"},
                "cluster": {"name": "one"},
                "database": {"host": "elsewhere.example.com"},
            },
        },
    },
    lambda path: "the test",
)
RULES = Rules.from_json(json.dumps(own.rules_of(SETTINGS, "dev", SETTINGS.environments)))


def made(branch: str, environment: str = "dev", style: Style = Style.PRESENT) -> Any:
    """The namespace that a deploy makes, as the API server gives it back."""
    names = next(
        each for each in names_of_all_styles(SETTINGS, environment, branch) if each.style == style
    )
    owner = Owner(environment, names.slug, branch, "https://git.example.com/mautic.git")
    label = {own.DATABASE: own.wish(State.DEPLOYING)}
    item = namespace(owner, names, ClusterRecord(State.DEPLOYING, names.url), "", label)
    item["metadata"]["uid"] = "uid"
    return item


def test_both_sides_mean_the_same() -> None:
    """The image holds nothing of the suite but its rule for names."""
    assert PREFIX == other.PREFIX
    assert {other.MANAGED_BY: other.MANAGER} == MANAGED
    assert (own.DATABASE, own.DATABASE_SECRET) == (other.DATABASE, other.SECRET)
    assert (own.WANTED, own.UNWANTED) == (other.WANTED, other.UNWANTED)
    assert STYLE == other.STYLE
    assert (own.FLOOR, own.FURNISHED) == (other_floor.FLOOR, other_floor.READY)
    assert own.record_name("mautic-x") == other_cluster.record_name("mautic-x")
    record = other_cluster.Record("mautic-x", "uid", "waiting", "for it", secret="7")
    seen = own.status_of({"data": record.to_data()})
    assert seen == own.ProvisionerStatus("uid", "waiting", "for it", "7")
    assert other_cluster.Record.from_data(record.to_data()) == record


def test_only_environments_of_the_same_server_are_in_the_rules() -> None:
    assert set(RULES.environments) == {"dev", "prod"}
    assert RULES.environments["prod"].protected
    assert RULES.environments["dev"].names.environments == ["dev", "prod", "qa"]
    assert (RULES.host, RULES.port, RULES.prefix) == ("db.example.com", 3306, "mautic_")


@given(st.text(min_size=1, max_size=60))
def test_every_branch_gets_the_names_that_the_suite_gives_it(branch: str) -> None:
    try:
        names = names_of(SETTINGS, "dev", branch)
    except InputError:
        return
    tenant = identify(RULES, made(branch))
    assert (tenant.namespace, tenant.database, tenant.user, tenant.keep) == (
        names.namespace,
        names.database,
        names.database_user,
        False,
    )
    assert tenant.user != own.provisioner_user("mautic")


@pytest.mark.parametrize("branch", ["feature/x", "x" * 40, "a-branch-of-thirty-six-characters-ab"])
def test_an_environment_of_before_keeps_its_names(branch: str) -> None:
    present, former = names_of_all_styles(SETTINGS, "dev", branch)
    assert present.database_user != former.database_user
    item = made(branch, style=Style.FORMER)
    stored = item["metadata"]["annotations"]
    assert stored[STYLE] == Style.FORMER
    for change in ({}, {STYLE: ""}):  # before styles were stored there was none
        stored.update(change)
        tenant = identify(RULES, item)
        assert (tenant.namespace, tenant.database, tenant.user) == (
            former.namespace,
            former.database,
            former.database_user,
        )
    assert identify(RULES, made(branch)).user == present.database_user


def test_a_style_that_does_not_exist_is_refused() -> None:
    item = made("x" * 40)
    item["metadata"]["annotations"][STYLE] = "7"
    with pytest.raises(ForeignError, match="names is no style: '7'"):
        identify(RULES, item)


def test_production_is_kept() -> None:
    tenant = identify(RULES, made("main", "prod"))
    assert (tenant.namespace, tenant.database, tenant.keep) == ("mautic-prod", "mautic_prod", True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "mautic-thief"}, "the namespace of branch 'victim' is mautic-victim, not this"),
        ({f"{PREFIX}slug": "other"}, "the slug of branch 'victim' is victim, not that of"),
        ({f"{PREFIX}slug": None}, "the slug of branch"),
        ({f"{PREFIX}branch": "other"}, "the namespace of branch 'other' is mautic-other"),
        ({f"{PREFIX}branch": ""}, "is no branch: the branch name is empty"),
        ({f"{PREFIX}branch": "a b"}, "is not a legal branch name"),
        ({f"{PREFIX}branch": "`;--\n"}, "is not a legal branch name"),
        ({f"{PREFIX}environment": "qa"}, "the platform knows no environment 'qa'"),
        ({f"{PREFIX}environment": None}, "the platform knows no environment ''"),
        ({f"{PREFIX}environment": "prod"}, "is mautic-prod, not this one"),
        ({"app.kubernetes.io/managed-by": "Helm"}, "lacks the label"),
        # A dev branch called like production, in production's namespace.
        ({"name": "mautic-prod", f"{PREFIX}branch": "prod"}, "is mautic-prod-"),
    ],
)
def test_a_namespace_that_is_not_what_it_says_gets_nothing(
    change: dict[str, str | None], said: str
) -> None:
    item = made("victim")
    meta = item["metadata"]
    for key, value in change.items():
        place = next((one for one in ("labels", "annotations") if key in meta[one]), None)
        place_ = meta[place] if place else meta
        if value is None:
            del place_[key]
        else:
            place_[key] = value
    with pytest.raises(ForeignError) as caught:
        identify(RULES, item)
    assert said in str(caught.value)

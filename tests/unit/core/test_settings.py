"""Settings: read strictly; whatever is wrong is one line that names the key and where it stands."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tasks.core.config_sources import Level, merge, origin, variable, variables
from tasks.core.errors import InputError, SettingsError
from tasks.core.settings import (
    LOCAL,
    Settings,
    choose_environment,
    leaves,
    matches,
    names_of,
    parse,
)
from tasks.core.stack_outputs import defaults
from tests.support.suite import ROOT
from tests.unit.core.images.test_reference import TABLE

OWN = yaml.safe_load((ROOT / "invoke.yaml").read_text())
LOCAL_ENVIRONMENT = {
    "target": "compose",
    "branches": ["*"],
    "host": "{slug}.localhost",
    "registry": {"kind": "oci", "url": "localhost:5050/mautic"},
}
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic"
SMALLEST = {"environments": {LOCAL: LOCAL_ENVIRONMENT}}


POOL = {
    "user_pool_arn": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_AbC123",
    "client_id": "4f9ab",
    "domain": "previews",
}
CLUSTER = {"target": "kubernetes", "cluster": {"kind": "context", "name": "mine"}}


def read(*more: Mapping[str, Any], base: Mapping[str, Any] = SMALLEST) -> Settings:
    """Read the settings of invoke.yaml with the files `1.yaml`, `2.yaml`… on top."""
    files = [Level(f"{number}.yaml", data) for number, data in enumerate(more, start=1)]
    levels = [Level("invoke.yaml", base), *files]
    return parse(merge(levels), functools.partial(origin, levels))


def local(**changes: Any) -> dict[str, Any]:
    return {"environments": {LOCAL: changes}}


# -- what is right --------------------------------------------------------------------------------


def test_the_project_s_own_file_is_right() -> None:
    settings = read(base=merge([defaults(OWN), Level("invoke.yaml", OWN)]))
    assert settings.environment(LOCAL).registry.url == "localhost:5050/mautic"
    assert settings.environment(LOCAL).ttl_hours == 2 * 7 * 24


def test_what_is_not_said_has_a_default() -> None:
    settings = read()
    assert settings.project == "mautic"
    assert settings.platform.http_port == 8080
    assert settings.environment(LOCAL).tags == ("short-sha",)
    assert settings.environment(LOCAL).ttl_hours is None
    assert not settings.environment(LOCAL).protected


def test_a_stronger_file_changes_only_what_it_names() -> None:
    settings = read({"platform": {"http_port": 8081}}, {"platform": {"mail_port": 8026}})
    assert (settings.platform.http_port, settings.platform.mail_port) == (8081, 8026)
    assert settings.platform.registry_port == 5050


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().project = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("ttl", "hours"), [("12h", 12), ("7d", 168), ("2w", 336)])
def test_a_ttl_is_hours_days_or_weeks(ttl: str, hours: int) -> None:
    assert read(local(ttl=ttl)).environment(LOCAL).ttl_hours == hours


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:5050/mautic", "registry.example.org", "10.0.0.1:5000/a/b", "localhost/a"),
        *("Registry.example.org/a", "h:1/a.b/c__d/e-f--g/h_i", "h:1/0"),
    ],
)
def test_a_registry_is_a_host_and_a_path(url: str) -> None:
    assert read(local(registry={"url": url})).environment(LOCAL).registry.url == url


@pytest.mark.parametrize("text", TABLE)
def test_an_image_may_be_any_reference(text: str) -> None:
    assert read({"images": {"mautic": text}}).images.mautic == text


@pytest.mark.parametrize(
    "address",
    ["", "https://h/a/b.git", "git@h:a/b.git", "alias:b", "/srv/git/a b.git", "file:///srv/a"],
)
def test_a_repository_is_an_address_or_a_full_path(address: str) -> None:
    assert read({"repository": address}).repository == address


# -- what is wrong --------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    # unknown keys, at every level, with the nearest valid name
    ({"projekt": "x"}, "projekt in 1.yaml: is not a setting", "did you mean 'project'?"),
    (
        {"zzz": 1},
        "zzz in 1.yaml: is not a setting",
        "valid names: project, repository, images, paths, platform, seeds, news, stacks, "
        "environments",
    ),
    (
        {"images": {"debain": "x"}},
        "images.debain in 1.yaml: is not a setting",
        "did you mean 'debian'?",
    ),
    (
        {"platform": {"http_prot": 1}},
        "platform.http_prot in 1.yaml: is not a setting",
        "did you mean 'http_port'?",
    ),
    (
        local(brnches=["x"]),
        "environments.local.brnches in 1.yaml: is not a setting",
        "did you mean 'branches'?",
    ),
    (
        local(registry={"urll": "x"}),
        "environments.local.registry.urll in 1.yaml: is not a setting",
        "did you mean 'url'?",
    ),
    # wrong types
    ({"project": 3}, "project in 1.yaml: must be text; a number needs quotes", None),
    (
        {"images": {"php": 8.4}},
        "images.php in 1.yaml: must be text; a number needs quotes",
        None,
    ),
    ({"images": "x"}, "images in 1.yaml: must hold keys and values", None),
    (
        local(prices={"cpu_hour": "much"}),
        "environments.local.prices.cpu_hour in 1.yaml: must be a number",
        None,
    ),
    ({"images": None}, "images in 1.yaml: must hold keys and values", None),
    ({"environments": ["x"]}, "environments in 1.yaml: must hold keys and values", None),
    (
        {"environments": {"local": 1}},
        "environments.local in 1.yaml: must hold keys and values",
        None,
    ),
    (
        {"platform": {"http_port": "x"}},
        "platform.http_port in 1.yaml: must be a whole number",
        None,
    ),
    (
        {"platform": {"http_port": []}},
        "platform.http_port in 1.yaml: must be a whole number",
        None,
    ),
    (local(branches="*"), "environments.local.branches in 1.yaml: must be a list", None),
    (local(tags="latest"), "environments.local.tags in 1.yaml: must be a list", None),
    (
        local(protected="perhaps"),
        "environments.local.protected in 1.yaml: must be a valid boolean, "
        "unable to interpret input",
        None,
    ),
    (
        local(sleep_hours="20:00-07:00 Mon-Fri Europe/Berlin"),
        "environments.local.sleep_hours in 1.yaml: must be a list",
        None,
    ),
    (
        local(sleep_hours=["20:00-07:00 Mon-Fri"]),
        "environments.local.sleep_hours.0 in 1.yaml: must be hours, days and a time zone: "
        "20:00-07:00 Mon-Fri Europe/Berlin",
        None,
    ),
    (
        local(sleep_hours=["20:00-07:00 Mon-Fri Europe/Nowhere"]),
        "environments.local.sleep_hours.0 in 1.yaml: Europe/Nowhere is no time zone that this "
        "machine knows",
        None,
    ),
    (
        local(idle="90 minutes"),
        "environments.local.idle in 1.yaml: must be 1 to 9999 hours, days or weeks: 12h, 7d, 2w",
        None,
    ),
    # impossible values
    (
        {"project": "No_Way"},
        "project in 1.yaml: must be a letter and at most 39 more of a-z, 0-9 and '-'",
        None,
    ),
    (
        {"platform": {"http_port": 0}},
        "platform.http_port in 1.yaml: must be greater than or equal to 1",
        None,
    ),
    (
        {"platform": {"http_port": 65536}},
        "platform.http_port in 1.yaml: must be less than or equal to 65535",
        None,
    ),
    *(
        ({"images": {"php": value}}, "images.php in 1.yaml: must be a version: 8.4", None)
        for value in ("", "9", "8.4;id", "8.4.1", "8.4\n", "$(reboot)'\"")
    ),
    *(
        (
            {"images": {"debian": value}},
            "images.debian in 1.yaml: must be the name of a Debian release: trixie",
            None,
        )
        for value in ("", "../x", "Trixie", "trixie-slim", "13")
    ),
    *(
        (
            {group: {key: value}},
            f"{group}.{key} in 1.yaml: must be an image reference, its path in small letters: "
            "host/path:tag",
            None,
        )
        for group, key, value in (
            *(("images", "mautic", value) for value in ("Mautic/UPPER:1", "a:b:c", "a/")),
            *(("images", "redis", "Redis"), ("platform", "registry_image", "registry:")),
            *(("platform", "database_image", "a//b"), ("platform", "mail_image", "http://a/b")),
        )
    ),
    *(
        (
            {"repository": value},
            "repository in 1.yaml: must be the address of a git repository: https://host/path, "
            "git@host:path or a full path",
            None,
        )
        for value in ("not an url", "example", "https://", "https://host", "../m", "no: url")
    ),
    (
        {"images": {"source": "hub"}},
        "images.source in 1.yaml: must be 'auto', 'official' or 'standins'",
        None,
    ),
    (
        local(target="swarm"),
        "environments.local.target in 1.yaml: must be 'compose' or 'kubernetes'",
        None,
    ),
    (
        local(tags=["newest"]),
        "environments.local.tags.0 in 1.yaml: must be 'short-sha' or 'latest'",
        None,
    ),
    (
        local(ttl="forever"),
        "environments.local.ttl in 1.yaml: must be 1 to 9999 hours, days or weeks: 12h, 7d, 2w",
        None,
    ),
    (
        local(host="{branch}.localhost"),
        "environments.local.host in 1.yaml: must be made of a-z, 0-9, '.', '-', {slug}, {project} "
        "and {domain}",
        None,
    ),
    (
        local(namespace="{slug}.{domain}"),
        "environments.local.namespace in 1.yaml: must be made of a-z, 0-9, '.', '-', {slug} and "
        "{project}",
        None,
    ),
    (
        local(registry={"url": "http://localhost:5050"}),
        "environments.local.registry.url in 1.yaml: must be host[:port][/path] without scheme, "
        "user or final slash",
        None,
    ),
    *(
        (local(registry={"url": url}), f"environments.local.registry.url in 1.yaml: {told}", None)
        for url, told in (
            (
                "registry.example.org/Team/Mautic",
                "must be in small letters after the host, as docker wants it: "
                "registry.example.org/team/mautic",
            ),
            (
                "registry/mautic",
                "needs a host with a dot or a port: docker takes registry for a user of Docker Hub",
            ),
            *(
                (
                    f"h:1/{path}",
                    "must have a path of a-z and 0-9, with '/', '.', '-', '_' or '__' between them",
                )
                for path in ("a//b", "-a", "a-", "a..b", "a___b", "a:1", "a b", "é")
            ),
        )
    ),
    (
        local(host="localhost"),
        "environments.local.host in 1.yaml: namespace and host must both use {slug}, or neither",
        None,
    ),
    (
        {"environments": {"Staging!": LOCAL_ENVIRONMENT}},
        "environments.Staging! in 1.yaml: must be a letter and at most 19 more of a-z, 0-9 and '-'",
        None,
    ),
    (
        local(namespace="{project}-live"),
        "environments.local.host in invoke.yaml and environments.local.namespace in 1.yaml: "
        "namespace and host must both use {slug}, or neither",
        None,
    ),
    (
        local(target="kubernetes"),
        "environments.local.target in 1.yaml: target kubernetes needs cluster, and only that one",
        None,
    ),
    # stacks, registries and clusters by their kinds
    (
        {"stacks": {"dev": {"regoin": "x", "region": "y"}}},
        "stacks.dev.regoin in 1.yaml: is not a setting",
        "did you mean 'region'?",
    ),
    ({"stacks": {"dev": {}}}, "stacks.dev.region in 1.yaml: is missing", None),
    (
        {"stacks": {"Dev": {"region": "eu-central-1"}}},
        "stacks.Dev in 1.yaml: must be a letter and at most 19 more of a-z, 0-9 and '-'",
        None,
    ),
    (local(stack="dev"), "environments.local.stack in 1.yaml: no stack 'dev'", None),
    (
        local(registry={"kind": "ecr"}),
        "environments.local.registry in 1.yaml: kind ecr needs a url like "
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mautic; any other registry is kind oci",
        None,
    ),
    (
        local(registry={"create": True}),
        "environments.local.registry in 1.yaml: only ECR needs repositories to be made: create is "
        "for kind ecr",
        None,
    ),
    (
        local(registry={"kind": "oci", "url": ""}),
        "environments.local.registry in 1.yaml: kind oci needs url",
        None,
    ),
    (
        local(registry={"kind": "ecr", "url": ""}),
        "environments.local.registry.url in 1.yaml: must be given, or a stack that has it",
        None,
    ),
    (
        local(host="{slug}.{domain}"),
        "environments.local.domain in 1.yaml: must be given, or a stack that has it",
        None,
    ),
    (
        local(target="kubernetes", cluster={"kind": "eks"}),
        "environments.local.cluster.name in 1.yaml: must be given, or a stack that has it",
        None,
    ),
    (
        local(target="kubernetes", cluster={}),
        "environments.local.cluster in 1.yaml: kind context needs name",
        None,
    ),
    (
        local(target="kubernetes", database={"host": "db", "admin_secret_arn": "admin"}),
        "environments.local.database.admin_secret_arn in 1.yaml: must be the ARN of a secret of "
        "Secrets Manager",
        None,
    ),
    (
        local(
            target="kubernetes",
            cluster={"kind": "context", "name": "mine"},
            database={"tls_ca": "/var/www/html/config/ca.pem"},
        ),
        "environments.local.database.host in 1.yaml: must be given, or a stack that has it",
        None,
    ),
    *(
        (
            local(target="kubernetes", database={"host": host}),
            "environments.local.database.host in 1.yaml: must be a host's name or address, without "
            "scheme and port",
            None,
        )
        for host in ("db.example.com:3307", "tcp://db.example.com", "10.0.0.1:3306", "db;x", "")
    ),
    (
        local(target="kubernetes", database={"host": "db", "tls_ca": "config/ca.pem"}),
        "environments.local.database.tls_ca in 1.yaml: must be the full path of a file in the "
        "mautic image",
        None,
    ),
    # the login at a load balancer
    *(
        (
            local(door="oidc", door_oidc=POOL | change),
            f"environments.local.{told}",
            "valid names: user_pool_arn, client_id, domain" if "secret" in change else None,
        )
        for change, told in (
            (
                {"user_pool_arn": "arn:aws:iam::123456789012:role/x"},
                "door_oidc.user_pool_arn in 1.yaml: must be the ARN of a user pool of Cognito: "
                "arn:aws:cognito-idp:REGION:ACCOUNT:userpool/ID",
            ),
            (
                {"client_id": "a b"},
                "door_oidc.client_id in 1.yaml: must be the ID of a client of the user pool: "
                "a-z and 0-9",
            ),
            (
                {"domain": "https://login.example.com"},
                "door_oidc.domain in 1.yaml: must be the prefix of the user pool's domain at "
                "Amazon, or a domain of its own",
            ),
            ({"secret": "x"}, "door_oidc.secret in 1.yaml: is not a setting"),
        )
    ),
    (
        local(door="oidc"),
        "environments.local.door in 1.yaml: door: oidc needs door_oidc, and only that one",
        None,
    ),
    (
        local(door_oidc=POOL),
        "environments.local.door_oidc in 1.yaml: door: oidc needs door_oidc, and only that one",
        None,
    ),
    (
        local(door="oidc", door_oidc=POOL),
        "environments.local.door in 1.yaml and environments.local.door_oidc in 1.yaml: door: oidc "
        "is the login of a cluster's load balancer: target must be kubernetes",
        None,
    ),
    (
        local(door="oidc", door_oidc=POOL, scheme="http", **CLUSTER),
        "environments.local.door in 1.yaml and environments.local.door_oidc in 1.yaml: door: oidc "
        "needs scheme https: the load balancer asks for no login without TLS",
        None,
    ),
    # missing and several
    (
        {"environments": {"dev": {"target": "compose", "branches": [], "host": "{slug}.dev"}}},
        "environments.dev.registry in 1.yaml: is missing",
        None,
    ),
    (
        {"projekt": 1, "imags": 2, "plattform": 3},
        "projekt in 1.yaml: is not a setting (and 2 more)",
        "did you mean 'project'?",
    ),
]


@pytest.mark.parametrize(("change", "message", "hint"), WRONG, ids=lambda value: str(value)[:50])
def test_what_is_wrong_is_named(change: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        read(change)
    assert caught.value.exit_code == 2
    assert caught.value.message == message
    assert caught.value.hint == hint


def test_there_must_be_an_environment() -> None:
    with pytest.raises(SettingsError, match=r"^environments in invoke\.yaml: is missing$"):
        read(base={"project": "x"})
    # What a stack sets comes before any file.
    levels = [Level("the defaults of a stack", {}), Level("/etc/invoke.yaml", {})]
    with pytest.raises(SettingsError, match=r"^environments in invoke\.yaml: is missing$"):
        parse(merge(levels), functools.partial(origin, levels))
    with pytest.raises(SettingsError, match="at least one environment"):
        read(base={"environments": {}})


def test_a_wrong_value_is_never_repeated() -> None:
    """It may be a secret that landed in the wrong place."""
    with pytest.raises(SettingsError) as caught:
        read(local(registry={"url": "https://user:hunter2@registry.example.org"}))
    assert "hunter2" not in "\n".join(caught.value.lines())


# -- where a key comes from -----------------------------------------------------------------------


def test_the_strongest_place_that_sets_a_key_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^project in 2\.yaml"):
        read({"project": "fine"}, {"project": "Wrong"})
    with pytest.raises(SettingsError, match=r"^project in 1\.yaml"):
        read({"project": "Wrong"}, {"images": {"php": "8.2"}})


def test_levels_leave_each_other_alone() -> None:
    base = {"a": {"b": 1}}
    assert merge([Level("1", base), Level("2", {"a": {"c": 2}})]) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


def test_a_key_that_is_no_text_is_named_all_the_same() -> None:
    with pytest.raises(SettingsError, match=r"^8 in 1\.yaml: is not a setting"):
        read({8: "x"})  # type: ignore[dict-item]


# -- variables ------------------------------------------------------------------------------------

FOREIGN = {"run", "tasks", "debug", "runtime_config"}


def of_environ(**environ: str) -> dict[str, Any]:
    return merge(
        variables(
            environ, leaves({"environments": ["local", "my-dev"], "stacks": ["dev"]}), FOREIGN
        )
    )


@pytest.mark.parametrize(
    ("name", "value", "data"),
    [
        ("INVOKE_PROJECT", "x", {"project": "x"}),
        ("INVOKE_IMAGES_PHP", "8.2", {"images": {"php": "8.2"}}),
        ("INVOKE_PLATFORM_HTTP_PORT", "81", {"platform": {"http_port": "81"}}),
        ("INVOKE_ENVIRONMENTS_LOCAL_TTL", "1h", local(ttl="1h")),
        ("INVOKE_ENVIRONMENTS_LOCAL_REGISTRY_URL", "h:1/p", local(registry={"url": "h:1/p"})),
        (
            "INVOKE_ENVIRONMENTS_LOCAL_TAGS",
            "latest, short-sha",
            local(tags=["latest", "short-sha"]),
        ),
        ("INVOKE_ENVIRONMENTS_MY_DEV_HOST", "h", {"environments": {"my-dev": {"host": "h"}}}),
        ("INVOKE_STACKS_DEV_REGION", "x", {"stacks": {"dev": {"region": "x"}}}),
    ],
)
def test_a_variable_sets_a_key(name: str, value: str, data: dict[str, Any]) -> None:
    assert of_environ(**{name: value}) == data


@pytest.mark.parametrize(
    "name", ["INVOKE_RUN_ECHO", "INVOKE_DEBUG", "INVOKE_RUNTIME_CONFIG", "INVOKED", "PATH"]
)
def test_invoke_s_own_variables_are_left_to_it(name: str) -> None:
    assert of_environ(**{name: "1"}) == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("INVOKE_PROJEKT", "INVOKE_PROJECT"),
        ("INVOKE_PLATFORM_HTTPPORT", "INVOKE_PLATFORM_HTTP_PORT"),
        ("INVOKE_ENVIRONMENTS_LOCAL_HOTS", "INVOKE_ENVIRONMENTS_LOCAL_HOST"),
    ],
)
def test_a_variable_that_sets_nothing_is_an_error(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"the variable {name} sets nothing") as caught:
        of_environ(**{name: "x"})
    assert caught.value.hint == f"did you mean {nearest!r}?"


def test_a_wrong_value_of_a_variable_names_the_variable() -> None:
    levels = [
        Level("invoke.yaml", SMALLEST),
        *variables(
            {"INVOKE_PLATFORM_HTTP_PORT": "http"}, leaves({"environments": [LOCAL]}), FOREIGN
        ),
    ]
    with pytest.raises(SettingsError) as caught:
        parse(merge(levels), functools.partial(origin, levels))
    assert caught.value.message == (
        "platform.http_port in the variable INVOKE_PLATFORM_HTTP_PORT: must be a whole number"
    )


def test_no_two_keys_share_a_variable() -> None:
    paths = leaves({"environments": ["local", "dev"], "stacks": ["dev", "prod"]})
    assert len({variable(path) for path in paths}) == len(paths)


# -- choosing an environment ----------------------------------------------------------------------


def with_dev_and_prod() -> Settings:
    dev = {**LOCAL_ENVIRONMENT, "branches": ["feature/*", "fix-?"]}
    prod = {
        **LOCAL_ENVIRONMENT,
        "branches": ["main"],
        "namespace": "{project}-live",
        "host": "www.example.org",
        "registry": {"url": "localhost:5050/live"},
        "protected": True,
    }
    return read({"environments": {"prod": prod, "dev": dev}})


@pytest.mark.parametrize(
    ("name", "branch", "ci", "chosen"),
    [
        (None, "main", False, "local"),
        ("", "main", False, "local"),
        (None, None, False, "local"),
        ("prod", "feature/x", False, "prod"),
        (None, "main", True, "prod"),
        (None, "feature/x/y", True, "dev"),
        (None, "fix-1", True, "dev"),
        ("local", "main", True, "local"),
    ],
)
def test_the_environment_of_a_run(
    name: str | None, branch: str | None, ci: bool, chosen: str
) -> None:
    assert choose_environment(with_dev_and_prod(), name, branch=branch, ci=ci) == chosen


@pytest.mark.parametrize("branch", ["fix-12", "Feature/x", "mainline", None])
def test_in_ci_a_branch_of_no_environment_is_bad_input(branch: str | None) -> None:
    with pytest.raises(InputError, match="no environment's branches match"):
        choose_environment(with_dev_and_prod(), None, branch=branch, ci=True)


@pytest.mark.parametrize(("name", "hint"), [("pord", "did you mean 'prod'?"), ("x", "valid names")])
def test_an_environment_that_does_not_exist_is_bad_input(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"there is no environment '{name}'") as caught:
        choose_environment(with_dev_and_prod(), name, branch="main", ci=False)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("own", [{"idle": "2d"}, {"sleep_hours": ["20:00-07:00 daily UTC"]}])
def test_what_is_protected_never_sleeps(own: dict[str, object]) -> None:
    prod = {**LOCAL_ENVIRONMENT, **own}
    assert read({"environments": {"dev": prod}})
    with pytest.raises(SettingsError, match="a protected environment never sleeps"):
        read({"environments": {"dev": {**prod, "protected": True}}})


def test_patterns_know_case_and_cross_slashes() -> None:
    dev = with_dev_and_prod().environment("dev")
    assert matches(dev, "feature/a/b")
    assert not matches(dev, "FEATURE/a")


ON_SERVER = {
    "target": "kubernetes",
    "host": "{slug}.dev.example.org",
    "namespace": "{project}-{slug}",
    "registry": {"kind": "oci", "url": "registry.example.org/m"},
    "cluster": {"kind": "context", "name": "one"},
    "branches": ["*"],
    "database": {"host": "db.example.org"},
}
OTHER_SPACE = {"namespace": "{project}-qa-{slug}"}
OF_STACK = {"stack": "dev", "database": ...}


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({}, OTHER_SPACE, True),
        ({}, {"cluster": {"kind": "context", "name": "two"}}, True),
        ({}, {**OTHER_SPACE, "database": {"host": "DB.example.org."}}, True),
        ({"branches": ["main"]}, {**OTHER_SPACE, "branches": ["ma*"]}, True),
        ({"branches": ["release/*"]}, {**OTHER_SPACE, "branches": ["x", "*"]}, True),
        (OF_STACK, {**OF_STACK, **OTHER_SPACE}, True),
        ({}, {}, False),
        ({}, {**OTHER_SPACE, "database": {"host": "db.example.org", "port": 3307}}, False),
        ({}, {**OTHER_SPACE, "database": None}, False),
        ({"branches": ["main"]}, {**OTHER_SPACE, "branches": ["fix/*", "mainline"]}, False),
        ({"branches": ["release/*"]}, {**OTHER_SPACE, "branches": ["fix/*"]}, False),
        ({}, {"namespace": "{project}-live", "host": "www.example.org"}, False),
        (OF_STACK, {**OF_STACK, **OTHER_SPACE, "database": None}, False),
        (OF_STACK, {**OF_STACK, **OTHER_SPACE, "stack": "prod"}, False),
    ],
)
def test_no_two_environments_share_a_branch_s_database(
    first: dict[str, Any], second: dict[str, Any], refused: bool
) -> None:
    given = {
        name: {key: value for key, value in {**ON_SERVER, **own}.items() if value is not ...}
        for name, own in (("dev", first), ("qa", second))
    }
    stacks = {name: {"region": "eu-central-1"} for name in ("dev", "prod")}
    settings = {"stacks": stacks, "environments": given}
    if not refused:
        read(settings)
        return
    with pytest.raises(SettingsError, match=r"environments\.qa: .*shares the database of a branch"):
        read(settings)


PROD = {
    **LOCAL_ENVIRONMENT,
    "branches": ["main"],
    "namespace": "{project}-prod",
    "host": "www.example.org",
    "protected": True,
}


@pytest.mark.parametrize(
    ("prod", "other", "reason"),
    [
        ({"registry": {"url": "r.example.org/a"}}, {}, ""),
        ({}, {"protected": True}, ""),
        ({}, {}, "images and build cache in localhost:5050/mautic: whoever builds for this one"),
        ({"registry": {"url": "127.0.0.1:5050/mautic"}}, {}, "a path of its own"),
        ({"registry": {"url": "localhost:5050/mautic/prod"}}, {}, ""),
        (
            {"registry": {"kind": "ecr", "url": ECR}},
            {"registry": {"kind": "ecr", "url": ECR.replace(".ecr.", ".ecr-fips.")}},
            "a path of its own",
        ),
        ({"stack": "prod"}, {"stack": "prod"}, "have stack prod: its roles may replace the images"),
        ({"stack": "prod"}, {"stack": "dev"}, ""),
    ],
)
def test_nothing_unprotected_writes_what_production_runs(
    prod: dict[str, Any], other: dict[str, Any], reason: str
) -> None:
    """The attack: a branch's build pushes to the very path that production's images come from."""
    ecr = {"registry": {"kind": "ecr"}}
    own = {**PROD, **(ecr if "stack" in prod else {}), **prod}
    local = {**LOCAL_ENVIRONMENT, **(ecr if "stack" in other else {}), **other}
    stacks = {name: {"region": "eu-central-1"} for name in ("dev", "prod")}
    settings = {"stacks": stacks, "environments": {LOCAL: local, "prod": own}}
    if not reason:
        read(base=settings)
        return
    with pytest.raises(
        SettingsError, match=r"environments\.prod is protected, and this one is not"
    ) as caught:
        read(base=settings)
    assert "environments.local." in caught.value.message
    assert reason in caught.value.message


def test_nothing_unprotected_reads_the_state_of_what_is_protected() -> None:
    """The attack: the role of one stack's Terraform reads the secrets in the other's state."""
    prod = {"region": "eu-central-1", "state_bucket": "states", "protected": True}
    read({"stacks": {"prod": prod, "dev": {**prod, "state_bucket": "others", "protected": False}}})
    read({"stacks": {"prod": prod, "next": prod}})
    with pytest.raises(SettingsError, match=r"stacks\.dev\.state_bucket: stacks.prod is protected"):
        read({"stacks": {"dev": {**prod, "protected": False}, "prod": prod}})


# -- names by the settings ------------------------------------------------------------------------


def test_names_follow_the_settings() -> None:
    settings = read({"project": "shop", "platform": {"http_port": 80}})
    assert names_of(settings, LOCAL, "main").url == "http://main.localhost"
    settings = read({"platform": {"http_port": 8088}})
    assert names_of(settings, LOCAL, "main").url == "http://main.localhost:8088"


@pytest.mark.parametrize("branch", ["platform", "live", "local", "dev", "prod"])
def test_a_branch_never_takes_the_place_of_something_else(branch: str) -> None:
    found = names_of(with_dev_and_prod(), LOCAL, branch)
    assert found.namespace not in {"mautic-platform", "mautic-live"}
    assert found.slug != branch

"""The Compose files of the platform and of a branch: what they say, and the whole set running."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tasks.adapters.docker.buildx import Buildx, Definition
from tasks.adapters.docker.compose import Compose
from tasks.adapters.process import Runner
from tasks.core.redact import Redactor
from tasks.core.setting_limits import Limits
from tasks.core.variables import compose_variables
from tests.integration.standin_support import (
    COMPOSE_FILE,
    PLATFORM_FILE,
    Project,
    Visitor,
    container,
    pair,
    proxy,
    until,
)
from tests.support.images import standin
from tests.support.suite import ROOT

BRANCH = {
    "MAUTIC_REF": "registry.example/mautic@sha256:" + "1" * 64,
    "NGINX_REF": "registry.example/nginx@sha256:" + "2" * 64,
    "DATABASE_REF": "registry.example/database@sha256:" + "3" * 64,
    "SLUG": "feature-x",
    "BRANCH": "feature/$HOME ü",
    "REPOSITORY": "git@example.org:group/project.git",
    "SITE_URL": "http://feature-x.localhost:8080",
    "DATABASE": "mautic_feature_x",
    "DATABASE_USER": "mautic_feature_x",
    "PLATFORM_NETWORK": "mautic-platform",
}
WAKER = {
    "ENTRANCE_REF": "registry.example/entrance@sha256:" + "6" * 64,
    "ENGINE_SOCKET": "/run/docker.sock",
    "LOCKS": "/home/ada/locks",
    "LOCKS_USER": "1000:1001",
}
"""What the waker and its gate take, which run only where `platform.wake` is set."""
PLATFORM = {
    "REGISTRY_REF": "registry.example/registry@sha256:" + "4" * 64,
    "PROXY_REF": "registry.example/proxy@sha256:" + "5" * 64,
    "PLATFORM_NETWORK": "mautic-platform",
    "PLATFORM_ADDRESS": "127.0.0.1",
    "REGISTRY_PORT": "5050",
    "PROXY_PORT": "8080",
    **WAKER,
}
FILES = {"branch": (COMPOSE_FILE, BRANCH), "platform": (PLATFORM_FILE, PLATFORM)}
SERVICES = {
    "branch": ["cron", "database", "fpm", "migrate", "secrets", "web", "worker"],
    "platform": ["gate", "mail", "proxy", "registry", "waker"],
}
EVERY = [(kind, service) for kind, services in SERVICES.items() for service in services]
ONE_SHOT = {"migrate", "secrets"}


BAKE_FILES = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "docker").rglob("docker-bake.hcl")
)
TOOLS = {
    "COMPOSE_FILE": "/nonexistent",
    "COMPOSE_ENV_FILES": "/nonexistent",
    "COMPOSE_PROFILES": "migrate",
    "COMPOSE_PROJECT_NAME": "mine",
    "COMPOSE_BAKE": "true",
    "DOCKER_DEFAULT_PLATFORM": "linux/arm64",
    "DOCKER_CONTENT_TRUST": "1",
    "BUILDX_BUILDER": "mine",
    "BUILDX_BAKE_FILE": "/nonexistent",
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    "BUILDKIT_PROGRESS": "rawjson",
    "SOURCE_DATE_EPOCH": "1",
}
"""What a person may have set for a project of their own."""


@pytest.fixture
def set_all(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Sets every word in a file that may be a variable's name, and what Docker's tools read."""

    def set_them(file: Path) -> None:
        kept = {"PATH", "HOME", *(name for name in os.environ if name.endswith("_PROXY"))}
        for name in {*re.findall(r"\b[A-Z][A-Z0-9_]{2,}\b", file.read_text())} - kept:
            monkeypatch.setenv(name, "7g")
        for name, value in TOOLS.items():
            monkeypatch.setenv(name, value)

    return set_them


# --- what the files say ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    scratch = tmp_path_factory.mktemp("config")
    return {
        kind: Project(f"test-{kind}", file, variables, scratch).config()
        for kind, (file, variables) in FILES.items()
    }


def test_every_service_is_looked_at(configs: dict[str, dict[str, Any]]) -> None:
    assert {kind: sorted(config["services"]) for kind, config in configs.items()} == SERVICES


@pytest.mark.parametrize("kind", FILES)
def test_nothing_of_a_person_s_shell_reaches_a_compose_project(
    kind: str, set_all: Callable[[Path], None]
) -> None:
    file, variables = FILES[kind]

    def config() -> dict[str, Any]:
        return Compose(Runner(Redactor()), f"test-{kind}", file, variables).config()

    clean = config()
    set_all(file)
    assert config() == clean


@pytest.mark.parametrize("file", BAKE_FILES)
def test_nothing_of_a_person_s_shell_reaches_a_build(
    file: str, set_all: Callable[[Path], None]
) -> None:
    def definition() -> Definition:
        return Buildx(Runner(Redactor()), ROOT, file).definition({})

    clean = definition()
    set_all(ROOT / file)
    assert definition() == clean


def test_the_limits_of_the_settings_are_those_of_the_file(
    configs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    limits = {key.upper(): str(value) for key, value in Limits().model_dump().items()}
    assert set(limits) <= set(compose_variables(COMPOSE_FILE.read_text()))
    project = Project("test-branch", COMPOSE_FILE, {**BRANCH, **limits}, tmp_path)
    assert project.config()["services"] == configs["branch"]["services"]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_service_is_hardened(configs: dict[str, dict[str, Any]], kind: str, name: str) -> None:
    service = configs[kind]["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["CHOWN"] if name == "secrets" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert int(service["pids_limit"]) > 0
    assert int(service["mem_limit"]) > 0
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    for mount in service.get("tmpfs", []):
        options = mount.partition(":")[2].split(",")
        assert {"noexec", "nosuid", "nodev"} <= set(options), mount
        assert any(option.startswith("size=") for option in options), mount
    bound = [one["source"] for one in service.get("volumes", []) if one["type"] != "volume"]
    known = {"gate": ["/run/docker.sock"], "waker": ["/home/ada/locks"]}
    assert bound == known.get(name, [])
    users = {"database": "999:999", "mail": "65534:65534", "registry": None, "waker": "1000:1001"}
    assert service.get("user") == {**users, "secrets": "0:0", "gate": "0:0"}.get(name, "33:33")


def test_a_seed_s_uploads_are_mounted_where_nobody_can_change_them() -> None:
    over = COMPOSE_FILE.with_name("compose.seed.yaml")
    runner, variables = Runner(Redactor()), {**BRANCH, "SEED_UPLOADS": "shelf"}
    config = Compose(runner, "test-branch", COMPOSE_FILE, variables, [over]).config(["migrate"])
    mounted = {
        name: {one["target"]: one for one in service.get("volumes", [])}
        for name, service in config["services"].items()
    }
    media = "/var/www/html/docroot/media"
    for name in ("fpm", "worker", "cron", "migrate"):
        for folder in ("files", "images", "dashboards"):
            assert mounted[name][f"{media}/{folder}"]["source"] == f"media-{folder}"
            seed = mounted[name][f"{media}/{folder}/seed"]
            assert (seed["source"], seed["read_only"]) == (f"seed-{folder}", True)
    # Below what is mounted read-only no place for a mount could be made.
    assert not [place for place in mounted["web"] if place.startswith(f"{media}/images/")]
    assert mounted["web"]["/var/www/html/seed/media/images"]["read_only"]
    # They are nobody's: `docker compose down --volumes` leaves them.
    volumes = {name: each for name, each in config["volumes"].items() if name.startswith("seed-")}
    assert {each["name"] for each in volumes.values() if each["external"]} == {
        f"shelf-{folder}" for folder in ("files", "images", "dashboards")
    }


def test_a_working_tree_is_shown_by_the_same_services_in_volumes_of_its_own() -> None:
    over = COMPOSE_FILE.with_name("compose.dev.yaml")
    variables = {**BRANCH, "CACHE_MOUNT": "/mnt:ro,noexec,nosuid,nodev,size=4k"}
    plain, shown = (
        Compose(Runner(Redactor()), "test-branch", COMPOSE_FILE, *more).config()
        for more in ((BRANCH,), (variables, [over]))
    )
    assert set(shown["volumes"]) - set(plain["volumes"]) == {
        *("dev-plugins", "dev-themes", "dev-translations", "dev-config", "dev-cache")
    }
    changed = {
        name: {key for key in {*now, *service} if now.get(key) != service.get(key)}
        for name, service in plain["services"].items()
        if (now := shown["services"][name]) != service
    }
    more = {"environment", "volumes"}
    late = {*more, "tmpfs", "cpu_shares"}
    assert changed.pop("fpm") == {*more, "tmpfs", "extra_hosts", "cpu_shares"}
    assert changed == {"web": more, "worker": late, "cron": late}
    for name in ("fpm", "worker", "cron", "web"):
        service = shown["services"][name]
        mounts = {each["source"]: each for each in service["volumes"]}
        of_mautic = ["dev-translations", "dev-config"] if name != "web" else []
        for source in ("dev-plugins", "dev-themes", *of_mautic):
            assert mounts[source].get("read_only", False) == (name != "fpm"), (name, source)
        targets = {mount.partition(":")[0] for mount in service["tmpfs"]}
        assert targets.isdisjoint({each["target"] for each in service["volumes"]}), name


@pytest.mark.parametrize(("kind", "name"), [item for item in EVERY if item[1] not in ONE_SHOT])
def test_service_is_watched_and_comes_back(
    configs: dict[str, dict[str, Any]], kind: str, name: str
) -> None:
    service = configs[kind]["services"][name]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"]
    check = service["healthcheck"]
    assert check["test"]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_no_environment_value_is_a_secret(
    configs: dict[str, dict[str, Any]], kind: str, name: str
) -> None:
    environment = configs[kind]["services"][name].get("environment") or {}
    for key, value in environment.items():
        if re.search("PASSWORD|SECRET|KEY|TOKEN", key):
            assert key.endswith("_FILE"), key
            assert value.startswith("/run/secrets/mautic/")


def test_ports_are_published_on_the_given_address_only(
    configs: dict[str, dict[str, Any]],
) -> None:
    assert not any(service.get("ports") for service in configs["branch"]["services"].values())
    published = [
        (port["host_ip"], port["published"], port["target"])
        for service in configs["platform"]["services"].values()
        for port in service.get("ports", [])
    ]
    assert sorted(published) == [
        ("127.0.0.1", "5050", 5000),
        ("127.0.0.1", "8025", 8025),
        ("127.0.0.1", "8080", 8080),
    ]


def test_secrets_are_mounted_read_only_where_they_are_read(
    configs: dict[str, dict[str, Any]],
) -> None:
    mounted = {
        name: volume.get("read_only", False)
        for name, service in configs["branch"]["services"].items()
        for volume in service.get("volumes", [])
        if volume["source"] == "secrets"
    }
    readers = dict.fromkeys(("database", "migrate", "fpm", "worker", "cron"), True)
    assert mounted == {**readers, "secrets": False}
    # nginx has the password of its door, and no other.
    door = {
        (name, volume["target"], volume.get("read_only", False))
        for name, service in configs["branch"]["services"].items()
        for volume in service.get("volumes", [])
        if volume["source"] == "door"
    }
    assert door == {("web", "/run/secrets/mautic", True), ("secrets", "/run/secrets/door", False)}
    told = configs["branch"]["services"]["web"]["environment"]
    assert told["NGINX_DOOR_PASSWORD_FILE"] == "/run/secrets/mautic/door_password"
    assert (told["NGINX_DOOR_EXEMPT"], told["NGINX_NOINDEX"]) == ("", "on")


def test_every_part_of_mautic_speaks_the_language_of_the_environment() -> None:
    file, variables = FILES["branch"]
    for language in ("", "de"):
        compose = Compose(
            Runner(Redactor()), "test-language", file, {**variables, "LOCALE": language}
        )
        services = compose.config(profiles=["migrate"])["services"]
        for name in ("migrate", "fpm", "worker", "cron"):
            assert services[name]["environment"]["MAUTIC_LOCALE"] == language


def test_what_mautic_writes_and_others_read_is_shared_and_outlives_its_container(
    configs: dict[str, dict[str, Any]],
) -> None:
    """The same folders as in the chart, whose pods mount them from one claim."""
    chart = (ROOT / "helm" / "mautic" / "templates" / "_pods.tpl").read_text()
    shared = set(re.findall(r"name: media, mountPath: (\S+), subPath", chart))
    assert len(shared) >= 4
    services = configs["branch"]["services"]
    for name in ("fpm", "worker", "cron", "migrate"):
        mounted = {volume["target"]: volume for volume in services[name]["volumes"]}
        assert shared <= mounted.keys(), name
        assert not any(mounted[target].get("read_only") for target in shared), name
    # Only php-fpm has sessions, and no other container may read them.
    holders = [
        name
        for name, service in services.items()
        if any(volume["source"] == "sessions" for volume in service.get("volumes", []))
    ]
    assert holders == ["fpm"]
    (sessions,) = (v for v in services["fpm"]["volumes"] if v["source"] == "sessions")
    assert services["fpm"]["environment"]["PHP_SESSION_SAVE_PATH"] == sessions["target"]


def test_the_seed_is_named_to_the_commands_alone(tmp_path: Path) -> None:
    seed = "mautic_seed__2026"
    config = Project("test-seed", COMPOSE_FILE, {**BRANCH, "SEED": seed}, tmp_path).config()
    told = {
        name
        for name, service in config["services"].items()
        if (service.get("environment") or {}).get("MAUTIC_SEED") == seed
    }
    assert told == {"cron"}


def test_networks_keep_apart_what_need_not_meet(configs: dict[str, dict[str, Any]]) -> None:
    branch, platform = configs["branch"], configs["platform"]
    on = {name: set(s.get("networks") or ()) for name, s in branch["services"].items()}
    both = {"private", "platform"}
    assert on == {
        **{"database": {"private"}, "migrate": {"private"}, "web": {"platform"}},
        **{"fpm": both, "worker": both, "cron": both, "secrets": set()},
    }
    assert branch["services"]["secrets"]["network_mode"] == "none"
    assert branch["networks"]["private"]["internal"] is True
    aliases = branch["services"]["web"]["networks"]["platform"]["aliases"]
    assert aliases == ["feature-x.mautic.internal"]
    # The registry asks for no password.
    assert set(platform["services"]["registry"]["networks"]) == {"registry"}
    # Nobody reaches what has the engine's socket but by its own.
    assert platform["services"]["gate"]["network_mode"] == "none"
    sharing = {
        name
        for name, service in platform["services"].items()
        if any(one["source"] == "gate" for one in service.get("volumes", []))
    }
    assert sharing == {"gate", "waker"}
    # No slug has a dot: no branch takes its name.
    assert platform["services"]["waker"]["networks"]["platform"]["aliases"] == [
        "waker.platform.mautic.internal"
    ]


@pytest.mark.parametrize("kind", FILES)
def test_everything_says_what_it_belongs_to(configs: dict[str, dict[str, Any]], kind: str) -> None:
    wanted = {
        "platform": {"io.mautic-multidev.platform": "true"},
        "branch": {
            "io.mautic-multidev.environment": "local",
            "io.mautic-multidev.slug": "feature-x",
            "io.mautic-multidev.branch": "feature/$$HOME ü",
            "io.mautic-multidev.repository": BRANCH["REPOSITORY"],
        },
    }[kind]
    things = [
        (f"{part} {name}", thing)
        for part in ("services", "networks", "volumes")
        for name, thing in configs[kind][part].items()
        if not thing.get("external")
    ]
    assert len(things) > 4
    for name, thing in things:
        assert wanted.items() <= thing["labels"].items(), name


def test_a_release_is_named_on_what_it_replaces_only(tmp_path: Path) -> None:
    release = {"COMMIT": "abc", "OWNER": "ada", "DEPLOYED_AT": "now", "EXPIRES_AT": "later"}
    config = Project("test-labels", COMPOSE_FILE, {**BRANCH, **release}, tmp_path).config()
    wanted = {
        "io.mautic-multidev.commit": "abc",
        "io.mautic-multidev.owner": "ada",
        "io.mautic-multidev.deployed-at": "now",
        "io.mautic-multidev.expires-at": "later",
    }
    for name, service in config["services"].items():
        named = wanted.items() & service["labels"].items()
        expected = set() if name in {"database", "secrets"} else set(wanted.items())
        assert named == expected, name


@pytest.mark.parametrize(
    ("kind", "missing"),
    [(kind, name) for kind, (_, names) in FILES.items() for name in names if name not in WAKER],
)
def test_a_missing_variable_is_named(kind: str, missing: str, tmp_path: Path) -> None:
    file, variables = FILES[kind]
    rest = {name: value for name, value in variables.items() if name != missing}
    done = Project("test-missing", file, rest, tmp_path).compose("config", check=False)
    assert done.returncode != 0
    assert missing in done.stderr


def test_two_branches_share_nothing_but_the_platform(tmp_path: Path) -> None:
    names = []
    for slug in ("one", "two"):
        variables = {**BRANCH, "SLUG": slug}
        config = Project(f"mautic-{slug}", COMPOSE_FILE, variables, tmp_path).config()
        assert not any("container_name" in service for service in config["services"].values())
        names.append(
            {thing["name"] for part in ("networks", "volumes") for thing in config[part].values()}
        )
    assert names[0] & names[1] == {"mautic-platform"}


# --- the whole set, run by plain docker compose ---------------------------------------------------


class Environment:
    """One branch's environment and what a person knows of it."""

    def __init__(self, project: Project, port: int, engine: docker.DockerClient) -> None:
        self.project = project
        self.engine = engine
        self.slug = project.variables["SLUG"]
        self.secrets = {
            name: f"%{name}%'\"\\{secrets.token_hex(8)}"
            for name in ("db_password", "db_root_password", "secret_key", "admin_password")
        }
        self._port = port

    def visitor(self) -> Visitor:
        """Return somebody who has never been here."""
        return Visitor(self._port, f"{self.slug}.localhost")

    def user(self) -> Visitor:
        """Return somebody who is logged in."""
        visitor = self.visitor()
        page = visitor.log_in("admin", self.secrets["admin_password"])
        assert page.request.path_url == "/s/dashboard", page.text
        return visitor

    def deploy(self, **variables: str) -> None:
        """Do what the head of the compose file says."""
        given = "".join(f"{name} {value}\n" for name, value in self.secrets.items())
        self.project.compose("run", "--rm", "-T", "secrets", stdin=given, **variables)
        self.project.compose("run", "--rm", "-T", "migrate", **variables)
        self.project.compose("up", "--detach", "--wait", **variables)
        # The proxy may remember a name for a second.
        until("login page", lambda: self.visitor().get("/s/login").status_code == 200)

    def container(self, service: str) -> Any:
        """Return the container of a service."""
        return self.project.container(self.engine, service)

    def sql(self, statement: str) -> str:
        """Ask the database as Mautic's user."""
        script = (
            'MYSQL_PWD="$(cat /run/secrets/mautic/db_password)"'
            ' mysql --host=127.0.0.1 --user="$MYSQL_USER" -N -e "$1" "$MYSQL_DATABASE" 2>/dev/null'
        )
        done = self.container("database").exec_run(["sh", "-c", script, "sh", statement])
        assert done.exit_code == 0, done.output
        text: str = done.output.decode().strip()
        return text

    def ids(self) -> dict[str, str]:
        """Return the id of every service's container."""
        return {
            name: self.container(name).id for name in SERVICES["branch"] if name not in ONE_SHOT
        }


@pytest.fixture(scope="module")
def platform(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    name = f"mautic-multidev-test-{secrets.token_hex(4)}"
    ports = {}
    for port in ("REGISTRY_PORT", "PROXY_PORT"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports[port] = str(probe.getsockname()[1])
    variables = {
        **{"REGISTRY_REF": standin(engine, "registry"), "PROXY_REF": proxy(engine)},
        **{"PLATFORM_NETWORK": name, "PLATFORM_ADDRESS": "127.0.0.1", **ports},
    }
    project = Project(name, PLATFORM_FILE, variables, tmp_path_factory.mktemp("platform"))
    try:
        project.compose("up", "--detach", "--wait")
        yield project
    finally:
        project.down()


def environment(
    engine: docker.DockerClient, platform: Project, slug: str, scratch: Path
) -> Environment:
    mautic, nginx = pair(engine)
    port = platform.variables["PROXY_PORT"]
    variables = {
        **{"MAUTIC_REF": mautic, "NGINX_REF": nginx, "DATABASE_REF": standin(engine, "database")},
        **{"SLUG": slug, "BRANCH": f"{slug}/$HOME ü", "REPOSITORY": "/nowhere"},
        **{"SITE_URL": f"http://{slug}.localhost:{port}", "DATABASE": f"mautic_{slug}"},
        **{"DATABASE_USER": f"user_{slug}", "PLATFORM_NETWORK": platform.name},
        "DOOR_PASSWORD_FILE": "",
    }
    project = Project(f"{platform.name}-{slug}", COMPOSE_FILE, variables, scratch)
    return Environment(project, int(port), engine)


@pytest.fixture(scope="module")
def one(
    engine: docker.DockerClient, platform: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """An environment that tests may use and restart, but not redeploy."""
    made = environment(engine, platform, "one", tmp_path_factory.mktemp("one"))
    try:
        made.deploy()
        yield made
    finally:
        made.project.down()


@pytest.fixture
def two(engine: docker.DockerClient, platform: Project, tmp_path: Path) -> Iterator[Environment]:
    """An environment of a test's own."""
    made = environment(engine, platform, "two", tmp_path)
    try:
        made.deploy()
        yield made
    finally:
        made.project.down()


def png() -> bytes:
    """Return a small picture."""
    parts = [
        (b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0])),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    ]
    chunks = [
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_login_page_with_everything_it_needs(one: Environment) -> None:
    visitor = one.visitor()
    page = visitor.get("/")
    assert page.status_code == 200
    assert page.request.path_url == "/s/login"
    assert "stand-in of mautic-multidev, not Mautic" in page.headers["X-Mautic-Stand-In"]
    assert "stand-in of mautic-multidev, not Mautic" in page.text
    needed = re.findall(r'(?:href|src)="(/[^"]+)"', page.text)
    assert {address.rpartition(".")[2].partition("?")[0] for address in needed} == {
        *("css", "js", "svg")
    }
    for address in needed:
        answer = visitor.get(address)
        assert answer.status_code == 200, address
        assert answer.content
        assert ("?v" in address) == ("immutable" in answer.headers["Cache-Control"]), address


def test_session_from_login_to_logout(one: Environment) -> None:
    visitor = one.visitor()
    for path in ("/s/dashboard", "/s/files"):
        assert visitor.get(path).request.path_url == "/s/login"
    for name, password in (
        ("admin", "wrong"),
        ("nobody", one.secrets["admin_password"]),
        ("admin' OR '1'='1", "x"),
        ("", ""),
    ):
        assert "Wrong user name or password" in visitor.log_in(name, password).text
    before = visitor.get("/s/login").request.headers["Cookie"]
    page = visitor.log_in("admin", one.secrets["admin_password"])
    assert page.request.path_url == "/s/dashboard"
    assert '<strong id="user">admin</strong>' in page.text
    # A session id that was known before the login is worth nothing after it.
    assert page.request.headers["Cookie"] != before
    assert visitor.get("/s/logout").request.path_url == "/s/login"
    assert visitor.get("/s/dashboard").request.path_url == "/s/login"


def test_forms_without_the_token_are_refused(one: Environment) -> None:
    form = {"_username": "admin", "_password": one.secrets["admin_password"]}
    assert one.visitor().post("/s/login_check", data=form).request.path_url == "/s/login"
    answer = one.user().post("/s/files", files={"file": ("a.png", png())})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("name", "content", "address", "type_"),
    [
        ("a b.png", png(), "/media/images/a-b.png", "image/png"),
        ("evil.php", png(), "/media/images/evil.png", "image/png"),
        ("../../up.png", png(), "/media/images/up.png", "image/png"),
        ("page.html", b"<script>", "/asset/page.bin", "application/octet-stream"),
        ("shell.png", b"<?php echo 1;", "/asset/shell.bin", "application/octet-stream"),
    ],
)
def test_uploads_are_named_by_their_content(
    one: Environment, name: str, content: bytes, address: str, type_: str
) -> None:
    user = one.user()
    page = user.upload(name, content)
    assert page.request.path_url == "/s/files"
    assert f'href="{address}"' in page.text
    answer = one.visitor().get(address)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == type_


@pytest.mark.parametrize("path", ["/nothing", "/s/nothing", "/asset/none", "/asset/..%2fx"])
def test_other_addresses_are_404(one: Environment, path: str) -> None:
    assert one.visitor().get(path).status_code == 404


def test_a_hit_is_counted_and_handled_by_the_worker(one: Environment) -> None:
    visitor = one.visitor()
    before = visitor.counters()
    pixel = visitor.get("/mtracking.gif")
    assert (pixel.status_code, pixel.headers["Content-Type"]) == (200, "image/gif")
    assert visitor.get("/mtc.js").status_code == 200
    assert visitor.counters()["hits"] == before.get("hits", 0) + 1

    # As the visitor typed it: Mautic makes it of what the web server says about itself.
    url = one.sql("SELECT url FROM page_hits ORDER BY id DESC LIMIT 1")
    assert url == f"{one.project.variables['SITE_URL']}/mtracking.gif"

    def handled() -> bool:
        return visitor.counters().get("handled hit", 0) == before.get("handled hit", 0) + 1

    until("worker that handles the hit", handled)


def test_no_container_shows_a_secret(one: Environment) -> None:
    shown = json.dumps([one.container(name).attrs for name in one.ids()])
    logs = "".join(one.container(name).logs().decode(errors="replace") for name in one.ids())
    for name, value in one.secrets.items():
        assert json.dumps(value)[1:-1] not in shown, name
        assert value not in logs, name


def test_secrets_are_readable_by_those_who_need_them(one: Environment) -> None:
    listing = one.container("fpm").exec_run(
        ["sh", "-c", "cd /run/secrets/mautic && stat -c '%n %u:%g %a' *"]
    )
    assert listing.output.decode().splitlines() == [
        "admin_password 33:33 400",
        "db_password 33:999 440",
        "db_root_password 999:999 400",
        "secret_key 33:33 400",
    ]
    for service, readable in (
        ("fpm", {"admin_password", "db_password", "secret_key"}),
        ("database", {"db_password", "db_root_password"}),
    ):
        for name, value in one.secrets.items():
            done = one.container(service).exec_run(["cat", f"/run/secrets/mautic/{name}"])
            assert (done.exit_code == 0) == (name in readable), (service, name)
            assert (done.output.decode() == value) == (name in readable), (service, name)
    assert one.container("fpm").exec_run("rm /run/secrets/mautic/secret_key").exit_code != 0


def test_given_secrets_are_never_replaced(one: Environment) -> None:
    one.project.compose("run", "--rm", "-T", "secrets", stdin="secret_key other\n")
    kept = one.container("fpm").exec_run("cat /run/secrets/mautic/secret_key").output.decode()
    assert kept == one.secrets["secret_key"]
    done = one.project.compose("run", "--rm", "-T", "secrets", stdin="other x\n", check=False)
    assert done.returncode == 64
    assert "no secret of the name 'other'" in done.stderr


@pytest.mark.parametrize("service", ["web", "fpm"])
def test_either_half_of_the_pair_may_be_killed(one: Environment, service: str) -> None:
    half = one.container(service)
    half.kill()
    half.start()
    until("login page", lambda: one.visitor().get("/s/login").status_code == 200)


def test_without_its_database_the_site_answers_500(one: Environment) -> None:
    database = one.container("database")
    database.stop()
    try:
        for path in ("/s/login", "/mtc.js", "/mtracking.gif"):
            answer = one.visitor().get(path)
            assert answer.status_code == 500, path
            assert one.secrets["db_password"] not in answer.text
    finally:
        database.start()
    until("login page", lambda: one.visitor().get("/s/login").status_code == 200)


def test_an_unknown_branch_is_told_where_to_look(platform: Project) -> None:
    port = int(platform.variables["PROXY_PORT"])
    for host in ("nowhere.localhost", "a.b.localhost", "-.localhost", "example.org", "_"):
        visitor = Visitor(port, host)
        for answer in (visitor.get("/s/login"), visitor.post("/s/login_check", data={"a": "b"})):
            assert answer.status_code == 404, host
            assert "inv list" in answer.text
            assert answer.headers["Cache-Control"] == "no-store"
    # What a visitor sends in Host is shown as text.
    raw = requests.get(f"http://127.0.0.1:{port}/", headers={"Host": "<b>.localhost"}, timeout=30)
    assert "<b>" not in raw.text


def test_an_environment_that_does_not_listen_yet_is_starting(
    engine: docker.DockerClient, platform: Project
) -> None:
    visitor = Visitor(int(platform.variables["PROXY_PORT"]), "starting.localhost")
    assert visitor.get("/").status_code == 404
    alias = engine.api.create_endpoint_config(aliases=["starting.mautic.internal"])
    with container(
        engine,
        pair(engine)[0],
        ["sleep", "60"],
        network=platform.name,
        networking_config={platform.name: alias},
    ):
        until("page of an environment that starts", lambda: visitor.get("/").status_code == 503)
        answer = visitor.get("/")
        assert "is starting" in answer.text
        assert answer.headers["Retry-After"] == "3"
        assert "inv status" in answer.text
    # It went without a reload, as it came.
    until("page of no environment", lambda: visitor.get("/").status_code == 404)


def test_redeploy_keeps_data_and_replaces_what_changed_only(two: Environment) -> None:
    user = two.user()
    user.upload("kept.png", png())
    two.container("fpm").exec_run(
        ["sh", "-c", "touch docroot/media/dashboards/a var/cache/ip_data/b"]
    )
    hits = 3
    for _ in range(hits):
        user.get("/mtracking.gif")
    migrations = two.sql("SELECT version FROM standin_migration_log ORDER BY id")
    before = two.ids()
    two.deploy(NGINX_WORKER_PROCESSES="1")
    after = two.ids()
    assert {name for name in before if before[name] != after[name]} == {"web"}
    two.deploy(COMMIT="another")
    changed = two.ids()
    assert {name for name in after if after[name] == changed[name]} == {"database"}
    assert two.sql("SELECT version FROM standin_migration_log ORDER BY id") == migrations
    # Whoever was logged in still is.
    assert user.get("/s/dashboard").request.path_url == "/s/dashboard"
    assert two.visitor().get("/media/images/kept.png").content == png()
    for service in ("fpm", "worker", "cron"):
        listing = two.container(service).exec_run(
            ["ls", "docroot/media/dashboards/a", "var/cache/ip_data/b"]
        )
        assert listing.exit_code == 0, (service, listing.output)
    assert two.visitor().counters()["hits"] == hits
    two.user()


def test_two_branches_side_by_side_and_one_goes(
    engine: docker.DockerClient, one: Environment, two: Environment
) -> None:
    before = one.visitor().counters().get("hits", 0)
    two.user().upload("only-two.png", png())
    two.visitor().get("/mtracking.gif")
    assert one.visitor().counters().get("hits", 0) == before
    assert one.visitor().get("/media/images/only-two.png").status_code == 404
    # Neither login nor database of one is any good for the other.
    answer = one.visitor().log_in("admin", two.secrets["admin_password"])
    assert "Wrong user name or password" in answer.text
    private = f"{two.project.name}_private"
    address = two.container("database").attrs["NetworkSettings"]["Networks"][private]["IPAddress"]
    connect = f"exit(@fsockopen('{address}', 3306, $code, $text, 2) ? 0 : 1);"
    assert two.container("worker").exec_run(["php", "-r", connect]).exit_code == 0
    assert one.container("worker").exec_run(["php", "-r", connect]).exit_code == 1

    # Each service ends by itself when it is told to: 137 would be a kill.
    containers = {name: two.container(name) for name in two.ids()}
    two.project.compose("stop")
    ended = {name: stopped.wait()["StatusCode"] for name, stopped in containers.items()}
    assert ended == dict.fromkeys(containers, 0)

    two.project.down()
    mine = {"label": f"com.docker.compose.project={two.project.name}"}
    assert engine.containers.list(all=True, ignore_removed=True, filters=mine) == []
    assert engine.volumes.list(filters=mine) == []
    assert engine.networks.list(filters=mine) == []
    assert one.visitor().get("/s/login").status_code == 200

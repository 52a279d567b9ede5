"""The images as they are built and run: layouts, limits, hardening, settings, signals, roles."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from tasks.adapters.docker.buildx import diagnose
from tasks.adapters.process import Completed, Runner
from tasks.core.redact import Redactor
from tests.integration.image_support import (
    METADATA,
    PARAMETERS,
    VAR,
    Builds,
    Containers,
    Site,
    containers,
    copy_docker,
    finish,
    logs,
    look,
    probe_tree,
    start_site,
    until,
)
from tests.integration.standin_support import pair
from tests.support.controlplane import Pki
from tests.support.images import debian, standin
from tests.support.suite import ROOT

STOP_SECONDS = 60
"""How long a role may take to end on a busy machine, requests in flight included."""


@pytest.fixture(scope="module")
def builds(engine: docker.DockerClient, debian_image: str) -> Iterator[Builds]:
    made = Builds(engine, debian_image)
    yield made
    made.close()


@pytest.fixture(scope="module")
def probe_code(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> str:
    files = {
        "docroot/media/css/app.css": "body {}\n" * 300,
        "docroot/plugins/CoreBundle/Assets/a.js": "1",
        "docroot/plugins/CoreBundle/CoreBundle.php": "<?php // the release's",
        "docroot/themes/blank/blank.css": "body {}\n" * 300,
        "docroot/themes/blank/html/page.html.twig": "the release's",
    }
    return builds.code(probe_tree(tmp_path_factory.mktemp("code") / "tree", files))


LINKS = {
    "themes/child/style.css": "../acme/acme.css",
    "themes/child/all": "../acme",
    "themes/child/release": "../blank",
    "plugins/AcmeBundle/Assets/x.js": "../AcmeBundle.php",
}
"""Links among our own plugins and themes, and to the release's."""


@pytest.fixture(scope="module")
def images(
    builds: Builds, probe_code: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Both images with the probe as code, and with plugins, themes and configuration of our own."""
    project = copy_docker(tmp_path_factory.mktemp("own"))
    own = {
        "plugins/AcmeBundle/AcmeBundle.php": "<?php // ours",
        "plugins/AcmeBundle/Assets/acme.js": "acme",
        "plugins/CoreBundle/CoreBundle.php": "<?php // ours instead",
        "themes/acme/config.json": "{}",
        "themes/acme/acme.css": "acme",
        "themes/acme/html/page.html.twig": "acme",
        "themes/blank/blank.css": "ours",
        "translations/de/CoreBundle/messages.ini": 'mautic.core.yes="Ja"',
        "config/parameters_local.php": "<?php $parameters = ['locale' => 'de'];",
        "config/cron.json": json.dumps({"import": None, "own": {"command": ["own:job"]}}),
    }
    for name, content in own.items():
        path = project / "docker" / "mautic" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name, target in LINKS.items():
        path = project / "docker" / "mautic" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    # As a umask of 077 leaves them in a checkout.
    for private in ("themes/acme", "themes/acme/acme.css", "plugins/AcmeBundle/Assets"):
        path = project / "docker" / "mautic" / private
        path.chmod(0o700 if path.is_dir() else 0o600)
    labels = {"REVISION": "0123abc", "SOURCE": "https://git.example/mautic", "VERSION": "7.2"}
    return builds.images(probe_code, project=project, **labels)


@pytest.fixture(scope="module")
def made(engine: docker.DockerClient, builds: Builds) -> Iterator[Containers]:
    with containers(engine) as running:
        yield running


@pytest.fixture(scope="module")
def site(made: Containers, images: dict[str, str]) -> Site:
    return start_site(made, images)


# --- what the builds take and refuse ---------------------------------------------------------


def test_nginx_serves_what_php_reads_through_a_link(site: Site) -> None:
    for path in ("style.css", "all/acme.css"):
        assert look(site.fpm, "cat", f"/var/www/html/docroot/themes/child/{path}") == (0, "acme")
        assert site.request(f"/themes/child/{path}").body == b"acme"
    assert site.request("/themes/child/release/blank.css").body == b"ours"
    # No link makes a file of a program.
    assert b"<?php" not in site.request("/plugins/AcmeBundle/Assets/x.js").body


def test_own_files_lie_on_top_of_the_release(site: Site) -> None:
    def read(container: Container, *paths: str) -> str:
        return look(container, "cat", *paths)[1]

    root = "/var/www/html"
    assert read(site.fpm, f"{root}/docroot/plugins/AcmeBundle/AcmeBundle.php") == "<?php // ours"
    assert read(site.fpm, f"{root}/docroot/plugins/CoreBundle/CoreBundle.php").endswith("instead")
    assert read(site.fpm, f"{root}/docroot/plugins/CoreBundle/Assets/a.js") == "1"
    assert read(site.fpm, f"{root}/docroot/themes/acme/config.json") == "{}"
    assert read(site.fpm, f"{root}/docroot/translations/de/CoreBundle/messages.ini") == (
        'mautic.core.yes="Ja"'
    )
    # Beside the image's own, which lays it below what the environment says.
    assert "'de'" in read(site.fpm, f"{root}/config/parameters_own.php")
    assert "MauticEnvironment" in read(site.fpm, f"{root}/config/parameters_local.php")
    assert "MauticEnvironment" in read(site.fpm, f"{root}/config/local.php")
    assert site.request("/plugins/AcmeBundle/Assets/acme.js").body == b"acme"
    assert site.request("/themes/acme/acme.css").body == b"acme"


def test_a_small_file_of_our_own_replaces_the_packed_one_of_the_release(site: Site) -> None:
    path = "/themes/blank/blank.css"
    packed = site.request(path, {"Accept-Encoding": "gzip"})

    assert site.request(path).body == b"ours"
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == b"ours"


def test_a_changed_theme_leaves_all_layers_but_the_last_as_they_were(
    engine: docker.DockerClient, builds: Builds, probe_code: str, tmp_path: Path
) -> None:
    project = copy_docker(tmp_path)
    style = project / "docker" / "mautic" / "themes" / "acme" / "acme.css"
    style.parent.mkdir()
    layers: list[dict[str, list[str]]] = []
    # The first one counts for nothing: both targets may run a step that is new to both, and which
    # result a later build takes says nothing about the theme.
    for _ in range(3):
        style.write_text(secrets.token_hex())
        made = builds.images(probe_code, project=project)
        layers.append(
            {name: engine.images.get(made[name]).attrs["RootFS"]["Layers"] for name in made}
        )

    _, before, after = layers
    # A step that ran again would have left files of another time.
    for name in ("mautic", "nginx"):
        assert after[name][:-1] == before[name][:-1]
        assert after[name][-1] != before[name][-1]


def test_the_folders_explanations_stay_out_of_the_images(site: Site) -> None:
    for container in (site.fpm, site.nginx):
        listing = look(container, "find", "/var/www/html", "-xdev")[1]
        assert "/var/www/html/docroot\n" in listing
        assert "README" not in listing
        assert ".gitkeep" not in listing


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("local.php", "parameters_local.php"),
        ("paths_local.php", "parameters_local.php"),
        ("config_override.php", "config_local.php"),
    ],
)
def test_a_file_that_would_replace_ours_is_refused(
    builds: Builds, probe_code: str, tmp_path: Path, name: str, instead: str
) -> None:
    project = copy_docker(tmp_path)
    (project / "docker" / "mautic" / "config" / name).write_text("<?php")

    done, _ = builds.bake(probe_code, project=project, targets=("mautic",))

    assert done.returncode != 0
    assert f"docker/mautic/config/{name} would replace the image's own" in done.stderr
    assert instead in done.stderr


@pytest.mark.parametrize(
    ("minimum", "maximum", "fits"),
    [
        ("8.2.0", "8.4.99", True),
        ("8.1.0", "8.3.99", False),
        ("8.5.0", "8.5.99", False),
        # As Mautic compares them: 8.4.1 is above 8.4.
        ("8.2.0", "8.4", False),
    ],
)
def test_mautics_own_php_limits_are_kept(
    builds: Builds, tmp_path: Path, minimum: str, maximum: str, fits: bool
) -> None:
    limits = {"minimum_php_version": minimum, "maximum_php_version": maximum}
    code = builds.code(probe_tree(tmp_path / "tree", metadata={**METADATA, **limits}))

    done, _ = builds.bake(code, targets=("mautic",))

    sentence = (
        f"Mautic 7.2.2 runs on PHP {minimum} to {maximum}, but PHP=8.4 of this Debian is 8.4."
    )
    assert (done.returncode == 0) is fits
    assert (sentence in done.stderr) is not fits


def test_an_image_without_mautic_is_refused(builds: Builds, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "hello").touch()

    done, _ = builds.bake(builds.code(tree))

    assert done.returncode != 0
    assert "MAUTIC_IMAGE has no Mautic in /var/www/html" in done.stderr


MISTAKES = {
    "plugins/AcmeBundle/Form/A.php": (
        "<?php\n\nfunction f( {\n",
        'docker/mautic/plugins/AcmeBundle/Form/A.php:3: syntax error, unexpected token "{"',
    ),
    "plugins/AcmeBundle/Twice.php": (
        "<?php\nfunction g() {}\n\nfunction g() {}\n",
        "docker/mautic/plugins/AcmeBundle/Twice.php:4: Cannot redeclare ",
    ),
    "plugins/AcmeBundle/Config/config.php": (
        "<?php\n\nreturn NO_SUCH;\n",
        'docker/mautic/plugins/AcmeBundle/Config/config.php:3: Undefined constant "NO_SUCH"',
    ),
    "plugins/OtherBundle/Config/config.php": (
        "<?php\n",
        "docker/mautic/plugins/OtherBundle/Config/config.php:1: returns no array",
    ),
    "translations/de/CoreBundle/messages.ini": (
        'mautic.core.yes="Ja"\nmautic.core.no=N(ein\n',
        "docker/mautic/translations/de/CoreBundle/messages.ini:2: syntax error, unexpected '('",
    ),
    "translations/overrides/messages.ini": (
        'mautic.core.yes="Yep"\n',
        "docker/mautic/translations/overrides/messages.ini:1: Mautic reads LANGUAGE/",
    ),
    "translations/de/config.json": (
        '{"name": }',
        "docker/mautic/translations/de/config.json:1: no JSON: Syntax error",
    ),
    "config/parameters_local.php": (
        "<?php $parameters = [\n",
        "docker/mautic/config/parameters_local.php:2: ",
    ),
}
"""A file of the project with a mistake, and how what the build says of it begins."""
BAKING = ("docker", "buildx", "bake")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_our_own_php_fails_the_build_with_its_line(
    builds: Builds, tmp_path: Path, name: str
) -> None:
    text, sentence = MISTAKES[name]
    project = copy_docker(tmp_path / "project")
    place = project / "docker" / "mautic" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)

    done, _ = builds.bake(builds.code(probe_tree(tmp_path / "tree")), project=project)

    error = diagnose(Runner(Redactor()), Completed(BAKING, done.returncode, "", done.stderr, 0))
    assert error.message.startswith(sentence)
    assert error.exit_code == 1


def test_what_a_plugin_brings_of_others_is_not_looked_at(builds: Builds, tmp_path: Path) -> None:
    project = copy_docker(tmp_path / "project")
    place = project / "docker" / "mautic" / "plugins" / "AcmeBundle" / "vendor" / "x.php"
    place.parent.mkdir(parents=True)
    place.write_text("<?php for PHP 9")
    # As templates of older plugins begin.
    (place.parents[1] / "view.php").write_text('<?xml version="1.0"?><?php echo 1; ?>')

    builds.images(builds.code(probe_tree(tmp_path / "tree")), project=project, targets=("mautic",))


CRON_TABLES = {
    '{"import": null, "a-b/c": {"schedule": "0 3 * * *", "command": ["x"]}}\n': "",
    '{\n  "import": "*/5 * * * *",\n  "webhooks-process": null,\n}\n': "4: no JSON: Syntax error",
    '{\n  "import": "*/5 * * * *"\n  "webhooks-process": null\n}': "3: no JSON: Syntax error",
    '{\n  "import": null,\n': "2: no JSON: Syntax error",
    '{\n  "import": "*/5 * * *\n}': "2: no JSON: ",
    '{"x": {"command": ["[{"],\n"enabled": tru}}': "2: no JSON: Syntax error",
    '["import"]': "1: must be a JSON object of jobs by their names",
    '{\n\n  "import": "61 * * * *"\n}': "3: the schedule '61 * * * *' has a wrong minute, '61'",
    '{\n  "nosuch": null\n}': "2: names the job nosuch, which does not exist",
    '{\n "import": null,\n "crm": {"schedule": "@daily"}\n}': "3: the job crm needs a command",
}
"""A cron.json of the project, and what is said of it: its line at the beginning."""


def test_a_mistake_in_our_own_cron_json_is_told_by_its_line(
    images: dict[str, str], made: Containers
) -> None:
    script = (ROOT / "docker" / "mautic" / "build" / "cron-table.php").read_text()
    program = f"{script.removeprefix('<?php')}"
    for table, sentence in CRON_TABLES.items():
        words = ["sh", "-c", 'printf %s "$1" > /tmp/cron.json; exec php -r "$2" /tmp', "sh"]
        status, said = made.finish(images["mautic"], *words, table, program)
        assert status == (1 if sentence else 0), said
        assert said.startswith(f"docker/mautic/config/cron.json:{sentence}" if sentence else "")


def test_a_secret_in_the_compiled_cache_fails_the_build(builds: Builds, tmp_path: Path) -> None:
    tree = probe_tree(tmp_path / "tree", {"leak": "MAUTIC_SECRET_KEY"})

    done, _ = builds.bake(builds.code(tree), targets=("mautic",))

    assert done.returncode != 0
    assert "cache:warmup wrote the secret key into the cache" in done.stderr


def test_a_cache_that_knows_the_builds_url_is_left_out(
    builds: Builds, made: Containers, tmp_path: Path
) -> None:
    tree = probe_tree(tmp_path / "tree", {"leak": "MAUTIC_SITE_URL"})

    image = builds.images(builds.code(tree), targets=("mautic",))["mautic"]

    assert made.finish(image, "sh", "-c", "ls -d var/warm* 2>&1 || true")[1].count("http") == 0


def test_the_plain_layout_serves_the_same(builds: Builds, made: Containers, tmp_path: Path) -> None:
    files = {"docroot/media/css/app.css": "css", "docroot/media/images/logo.png": "logo"}
    tree = probe_tree(tmp_path / "tree", files, plain=True)

    plain = start_site(made, builds.images(builds.code(tree)))

    assert plain.request("/s/login").probe["server"]["DOCUMENT_ROOT"] == "/var/www/html/docroot"
    assert plain.request("/media/css/app.css").body == b"css"
    assert plain.request("/media/images/logo.png").body == b"logo"
    assert plain.request("/docroot/media/css/app.css").status == 404
    assert plain.request("/bin/console").status == 404


def test_bookworm_and_its_php_by_arguments_alone(
    engine: docker.DockerClient, builds: Builds, made: Containers, tmp_path: Path
) -> None:
    limits = {"minimum_php_version": "8.1.0", "maximum_php_version": "8.3.99"}
    code = builds.code(probe_tree(tmp_path / "tree", metadata={**METADATA, **limits}))
    arguments = {"DEBIAN": "bookworm", "PHP": "8.2", "DEBIAN_IMAGE": debian(engine, "bookworm")}

    old = start_site(made, builds.images(code, **arguments))

    assert old.request("/s/login").from_php
    modules = look(old.fpm, "php", "-m")[1].split()
    assert {"imap", "intl", "pdo_mysql", "redis", "amqp"} <= set(modules)


# --- what the images are ---------------------------------------------------------------------


def test_labels_say_where_an_image_comes_from(
    engine: docker.DockerClient, images: dict[str, str]
) -> None:
    for name, reference in images.items():
        labels = engine.images.get(reference).labels
        assert labels["org.opencontainers.image.title"] == name
        assert labels["org.opencontainers.image.revision"] == "0123abc"
        assert labels["org.opencontainers.image.source"] == "https://git.example/mautic"
        assert labels["org.opencontainers.image.version"] == "7.2"


def test_a_new_commit_keeps_the_layers(
    engine: docker.DockerClient, builds: Builds, probe_code: str
) -> None:
    layers = []
    for revision in ("aaaaaaaa", "bbbbbbbb"):
        image = builds.images(probe_code, REVISION=revision)["nginx"]
        layers.append(engine.images.get(image).attrs["RootFS"]["Layers"])

    assert layers[0] == layers[1]


def test_the_images_run_as_nobody_in_particular(
    engine: docker.DockerClient, images: dict[str, str]
) -> None:
    for reference in images.values():
        config = engine.images.get(reference).attrs["Config"]
        assert config["User"] == "33:33"
        assert config["StopSignal"] == "SIGQUIT"


@pytest.mark.parametrize("which", ["nginx", "fpm"])
def test_the_pair_runs_hardened(site: Site, which: str) -> None:
    container: Container = getattr(site, which)

    status = look(container, "cat", "/proc/1/status")[1]
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["33"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    for place in ("/var/www/html/docroot/x", "/etc/x", "/usr/local/bin/x"):
        assert look(container, "touch", place)[0] != 0


@pytest.mark.parametrize("which", ["nginx", "fpm"])
def test_there_are_no_tools_for_an_intruder(site: Site, which: str) -> None:
    container: Container = getattr(site, which)

    privileged = look(container, "find", "/", "-xdev", "-type", "f", "-perm", "/6000")[1]
    assert [line for line in privileged.splitlines() if "Permission denied" not in line] == []
    for tool in ("gcc", "make", "composer", "git", "curl", "node"):
        assert look(container, "sh", "-c", f"command -v {tool}")[0] != 0, tool


@pytest.mark.parametrize("which", ["nginx", "mautic"])
def test_nothing_of_the_build_is_left(made: Containers, images: dict[str, str], which: str) -> None:
    places = "/tmp /var/cache/apt/archives /var/log -type f"
    container = made.start(
        images[which], *("-c", f"find {places}"), entrypoint=["sh"], network_mode="none"
    )

    found = finish(container)[1].split()

    # What the base image brings along.
    ours = ("/tmp/", "/var/log/dpkg", "/var/log/apt", "/var/log/nginx", "/var/log/php")
    assert [path for path in found if path.startswith(ours) or path.endswith(".deb")] == []


@pytest.mark.parametrize("program", ["php", "php-fpm"])
def test_every_installed_module_of_php_is_on(site: Site, program: str) -> None:
    available = look(site.fpm, "sh", "-c", "ls /etc/php/*/mods-available")[1].split()
    status, said = look(site.fpm, program, "-m")

    assert status == 0
    assert {"mysqli.ini", "opcache.ini", "redis.ini"} <= set(available)
    loaded = said.lower().replace("zend opcache", "opcache").split()
    assert {Path(name).stem for name in available} <= set(loaded)


def test_the_authorities_are_trusted(site: Site) -> None:
    """Mautic calls mail services, webhooks and S3 over TLS."""
    wanted = look(site.fpm, "grep", "-c", "^[^#!]", "/etc/ca-certificates.conf")[1]
    bundle = look(
        site.fpm, "grep", "-c", "BEGIN CERTIFICATE", "/etc/ssl/certs/ca-certificates.crt"
    )[1]

    assert int(bundle) == int(wanted) > 100


def test_the_code_belongs_to_root_and_cannot_be_changed(site: Site) -> None:
    own = "find docroot bin config -xdev -not -user 0 -not -path 'docroot/media/*'"

    assert look(site.fpm, "sh", "-c", own) == (0, "")


# --- settings --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong:
    """A setting that is refused, and what is said about it."""

    image: str
    command: tuple[str, ...]
    name: str
    value: str


WRONG = [
    Wrong("nginx", (), "NGINX_CLIENT_MAX_BODY_SIZE", "lots"),
    Wrong("nginx", (), "NGINX_CLIENT_MAX_BODY_SIZE", "1m; return 200"),
    Wrong("nginx", (), "NGINX_CLIENT_MAX_BODY_SIZE", "1m\n;autoindex on"),
    Wrong("nginx", (), "NGINX_UPLOAD_MAX_BODY_SIZE", "1m; return 200"),
    Wrong("nginx", (), "NGINX_CLIENT_RATE", "fast"),
    Wrong("nginx", (), "NGINX_CLIENT_BURST", "0"),
    Wrong("nginx", (), "NGINX_CLIENT_CONNECTIONS", "-1"),
    Wrong("nginx", (), "NGINX_CLIENT_MAX_BODIES", "0"),
    Wrong("nginx", (), "NGINX_LOGIN_RATE", "1r/h"),
    Wrong("nginx", (), "NGINX_LOGIN_BURST", "none"),
    Wrong("nginx", (), "NGINX_NOINDEX", "yes"),
    Wrong("nginx", (), "NGINX_READY_PATH", "/s/login; return 200"),
    Wrong("nginx", (), "NGINX_DOOR_EXEMPT", "forms,assets"),
    Wrong("nginx", (), "NGINX_MAIL_ADDRESS", "mail:8025/x;"),
    Wrong("nginx", (), "NGINX_DOOR_PASSWORD_FILE", "/etc/motd;"),
    Wrong("nginx", (), "NGINX_DOOR_PASSWORD_FILE", "/run/secrets/nothing"),
    Wrong("nginx", (), "NGINX_TRUSTED_PROXIES", "10.0.0.0/8 everybody"),
    Wrong("nginx", (), "NGINX_TRUSTED_PROXIES", "10.0.0.0/8;deny"),
    Wrong("nginx", (), "NGINX_WORKER_PROCESSES", "0"),
    Wrong("nginx", (), "NGINX_WORKER_CONNECTIONS", "-1"),
    Wrong("nginx", (), "NGINX_KEEPALIVE_TIMEOUT", "1 minute"),
    Wrong("nginx", (), "NGINX_GZIP_LEVEL", "10"),
    Wrong("nginx", (), "NGINX_FASTCGI_TIMEOUT", ""),
    Wrong("nginx", (), "NGINX_FASTCGI_ADDRESS", "fpm"),
    Wrong("nginx", (), "NGINX_ACCESS_LOG", "yes"),
    Wrong("nginx", (), "NGINX_HSTS_MAX_AGE", "1y"),
    Wrong("nginx", (), "NGINX_STATIC_MAX_AGE", "1d"),
    Wrong("nginx", (), "NGINX_SHUTDOWN_TIMEOUT", "soon"),
    Wrong("nginx", (), "NGINX_REAL_IP_HEADER", "X Forwarded"),
    Wrong("nginx", (), "NGINX_REAL_IP_HEADER", "forwarded"),
    Wrong("mautic", (), "PHP_INI_VALUE_MEMORY_LIMIT", "lots"),
    Wrong("mautic", ("worker", "email"), "MAUTIC_WORKER_TIME_LIMIT", "1h"),
    Wrong("mautic", ("worker", "email"), "MAUTIC_WORKER_MEMORY_LIMIT", "a lot"),
    Wrong("mautic", ("cron",), "MAUTIC_CRON_TIMEOUT", "1h"),
    Wrong("mautic", ("wait",), "MAUTIC_DB_HOST", "host:3307"),
    Wrong("mautic", ("migrate",), "MAUTIC_DB_PORT", "tcp://10.0.0.1:3306"),
    Wrong("mautic", ("console", "list"), "MAUTIC_DEFAULT_TIMEZONE", "Europe/Nowhere"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.name}={wrong.value!r}")
def test_a_wrong_setting_is_refused_by_name(
    made: Containers, images: dict[str, str], wrong: Wrong
) -> None:
    start = getattr(made, wrong.image)
    container = start(images[wrong.image], *wrong.command, environment={wrong.name: wrong.value})

    status, said = finish(container)

    assert status == 64
    assert wrong.name in said


ALL_WRONG = {
    # what people write into them, and what a Service called mautic-db does
    "MAUTIC_DB_HOST": "tcp://10.0.0.1",
    "MAUTIC_DB_PORT": "tcp://10.0.0.1:3306",
    "MAUTIC_DB_USER": "a b",
    "MAUTIC_SITE_URL": "mautic.example.com",
    "MAUTIC_ADMIN_EMAIL": "nobody",
    "MAUTIC_LOCALE": "German",
    "MAUTIC_DB_DRIVER": "pdo_pgsql",
    "MAUTIC_MIGRATE_WAIT": "2m",
    "MAUTIC_DB_OWN": "yes",
    # of a parameter's type, whatever it is for
    "MAUTIC_API_ENABLED": "maybe",
    "MAUTIC_DEFAULT_PAGELIMIT": "many",
    "MAUTIC_BOT_HELPER_BOT_RATIO_THRESHOLD": "half",
    "MAUTIC_MONITORED_EMAIL": '{"general": {"password": "geheim"}',
    "MAUTIC_DO_NOT_TRACK_IPS": "10.0.0.1",
    "MAUTIC_TRUSTED_PROXIES": "[10.0.0.1]",
    "MAUTIC_MAILER_DSN": "geheim",
    "MAUTIC_MESSENGER_DSN_HIT": "geheim",
    # time zones
    "MAUTIC_DEFAULT_TIMEZONE": "+01:00",
    "MAUTIC_CRON_TIME_ZONE": "GMT+01:00",
    "PHP_INI_VALUE_DATE_TIMEZONE": "",
    # of PHP and php-fpm
    "PHP_INI_VALUE_MAX_EXECUTION_TIME": "5m",
    "PHP_OPCACHE_VALIDATE_TIMESTAMPS": "no",
    "PHP_SESSION_SAVE_HANDLER": "memcached",
    "FPM_PM": "quick",
    "FPM_MAX_CHILDREN": "ten",
    "FPM_LISTEN": "everywhere",
    # what must or must not be a file
    "MAUTIC_DB_TLS_CA": "-----BEGIN CERTIFICATE-----",
    "FPM_MAX_REQUESTS_FILE": "/run/secrets/x",
    "MAUTIC_SECRET_KEY_FILE": "/run/secrets/none",
    # what the image has made up its mind about
    "MAUTIC_CACHE_PATH": "/var/cache/mautic",
    "MAUTIC_TMP_PATH": "/tmp",
    "MAUTIC_LOG_PATH": "/var/log",
    "MAUTIC_TABLE_PREFIX": "m_",
    "MAUTIC_REQUEST_CONTEXT_HOST": "mautic.example.com",
}


def test_wrong_settings_are_told_all_at_once_and_secrets_not_at_all(
    made: Containers, images: dict[str, str]
) -> None:
    status, said = made.finish(images["mautic"], "web", environment=ALL_WRONG)

    assert status == 64
    assert sorted(each.split()[1] for each in said.splitlines()) == sorted(ALL_WRONG)
    assert "geheim" not in said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"MAUTIC_DB_NAME": "a", "MAUTIC_DB_DATABASE": "b"}, "mean the same and differ"),
        (
            {"MAUTIC_LOCALE": "de", "MAUTIC_CONFIG_PARAMETERS": '{"locale": "fr"}'},
            "MAUTIC_LOCALE is in MAUTIC_CONFIG_PARAMETERS too",
        ),
        (
            {"MAUTIC_DB_DATABASE": "a", "MAUTIC_CONFIG_PARAMETERS": '{"db_name": "b"}'},
            "MAUTIC_DB_DATABASE is in MAUTIC_CONFIG_PARAMETERS too",
        ),
        ({"MAUTIC_CONFIG_PARAMETERS": "locale: de"}, "MAUTIC_CONFIG_PARAMETERS must be JSON"),
        ({"MAUTIC_CONFIG_PARAMETERS": '{"db_table_prefix": "m_"}'}, "MAUTIC_DB_TABLE_PREFIX is"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    made: Containers, images: dict[str, str], given: dict[str, str], told: str
) -> None:
    status, said = made.finish(images["mautic"], "console", "x", environment=given)

    assert status == 64
    assert told in said


RULES: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "docker" / "mautic" / "php" / "variables.json").read_text()
)
GIVEN = {
    "bool": ("true", True),
    "int": ("4711", 4711),
    "float": ("0.25", 0.25),
    "array": ('{"a%": ["b"]}', {"a%": ["b"]}),
    "string": ("some % text", "some % text"),
}
SPECIAL = {
    **dict.fromkeys(("db_host", "db_name", "db_user"), "own"),
    **dict.fromkeys(("mailer_dsn", "messenger_dsn_email", "messenger_dsn_hit"), "redis://own%"),
    "messenger_dsn_failed": "redis://own",
    "db_driver": "pdo_mysql",
    "default_timezone": "Asia/Tokyo",
    "locale": "fr",
    "site_url": "https://own.example.com/path",
}


@pytest.mark.parametrize("line", PARAMETERS)
@pytest.mark.parametrize("by_file", [False, True], ids=["variable", "file"])
def test_each_parameter_of_mautic_works_or_is_refused_with_the_way_that_does(
    made: Containers, images: dict[str, str], tmp_path: Path, line: str, by_file: bool
) -> None:
    types = PARAMETERS[line]
    variables = {name: f"MAUTIC_{name.upper()}" for name in types}
    given = {
        name: (SPECIAL[name], SPECIAL[name]) if name in SPECIAL else GIVEN[kind]
        for name, kind in types.items()
    }
    given["db_port"] = ("3307", 3307)
    environment = {variables[name]: text for name, (text, _) in given.items()}
    tmp_path.chmod(0o755)
    if by_file:
        for name, text in environment.items():
            (tmp_path / name).write_text(f"{text}\n")
        environment = {f"{name}_FILE": f"/given/{name}" for name in environment}
    rows = "".join(f"'{name}' => '{kind}'," for name, kind in types.items())
    (tmp_path / "parameters.php").write_text(f"<?php return [{rows}];")
    mounts = {
        str(tmp_path): {"bind": "/given", "mode": "ro"},
        str(tmp_path / "parameters.php"): {"bind": "/opt/mautic/parameters.php", "mode": "ro"},
    }

    def run(*argv: str) -> tuple[int, str]:
        return made.finish(images["mautic"], *argv, environment=environment, volumes=mounts)

    refused = {
        name
        for name, variable in variables.items()
        if RULES.get(variable, {}).keys() & {"instead", "compiled"}
    }
    status, said = run("console", "x")
    assert status == 64
    assert {each.split()[1] for each in said.splitlines()} == {variables[name] for name in refused}
    for sentence in said.splitlines():
        assert re.search("is the image's own|parameters_local.php, and build", sentence)

    status, said = run(
        *("php", "-r"),
        "foreach (['local', 'parameters_local'] as $file) { include \"config/$file.php\"; "
        "$found[] = $parameters; } echo json_encode([$found, $_ENV]);",
    )
    assert status == 0, said
    found, seen = json.loads(said)
    for parameters in found:
        wrong = {
            name: parameters.get(name)
            for name, (_, value) in given.items()
            if name not in refused and parameters.get(name) != value
        }
        assert wrong == {}
    # Symfony reads these first, and takes a percent sign for the beginning of a reference.
    assert seen["MAUTIC_BRAND_NAME" if line == "7" else "MAUTIC_THEME"] == "some %% text"
    assert json.loads(seen["MAUTIC_IP_LOOKUP_CONFIG"]) == {"a%%": ["b"]}
    assert "MAUTIC_API_OAUTH2_ACCESS_TOKEN_LIFETIME" not in seen, "Mautic's own are seconds"


def test_what_the_environment_says_beats_what_was_built_in(
    made: Containers, images: dict[str, str]
) -> None:
    script = "include 'config/local.php'; echo $parameters['locale'], ' ';"
    script += "include 'config/parameters_local.php'; echo $parameters['locale'];"

    def locale(**environment: str) -> tuple[int, str]:
        return made.finish(images["mautic"], "php", "-r", script, environment=environment)

    assert locale() == (0, "de de")
    assert locale(MAUTIC_LOCALE="fr") == (0, "fr fr")
    assert locale(MAUTIC_LOCALE="") == (0, "de de")
    assert locale(MAUTIC_CONFIG_PARAMETERS='{"locale": "fr"}') == (0, "fr fr")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("worker",), "at least one queue"),
        (("worker", "email;rm"), "is not the name of a queue"),
        (("web", "now"), "takes no arguments"),
        (("migrate", "now"), "takes no arguments"),
    ],
)
def test_a_wrong_command_is_refused(
    made: Containers, images: dict[str, str], command: tuple[str, ...], message: str
) -> None:
    status, said = made.finish(images["mautic"], *command)

    assert status == 64
    assert message in said


def test_settings_reach_nginx_php_and_php_fpm(made: Containers, images: dict[str, str]) -> None:
    nginx = {
        "NGINX_CLIENT_MAX_BODY_SIZE": "2k",
        "NGINX_GZIP_LEVEL": "0",
        "NGINX_STATIC_MAX_AGE": "77",
        "NGINX_ACCESS_LOG": "off",
        "NGINX_WORKER_PROCESSES": "3",
        "NGINX_FASTCGI_ADDRESS": "127.0.0.1:9100",
        "NGINX_FASTCGI_STATUS_ADDRESS": "127.0.0.1:9101",
    }
    fpm = {
        "PHP_INI_VALUE_MEMORY_LIMIT": "300M",
        "FPM_LISTEN": "127.0.0.1:9100",
        "FPM_STATUS_LISTEN": "127.0.0.1:9101",
        "FPM_PM": "static",
        "FPM_MAX_CHILDREN": "3",
    }
    tuned = start_site(made, images, nginx={"environment": nginx}, fpm={"environment": fpm})

    assert tuned.request("/", method="POST", body=b"x" * 2000).probe["body_bytes"] == 2000
    assert tuned.request("/", method="POST", body=b"x" * 4000).status == 413
    for target in ("/media/css/app.css", "/s/login"):
        answer = tuned.request(target, {"Accept-Encoding": "gzip"})
        assert (answer.status, answer.headers["Content-Encoding"]) == (200, None)
    kept = tuned.request("/media/css/app.css").headers["Cache-Control"]
    assert kept == "public, max-age=77"
    assert tuned.request("/").probe["memory_limit"] == "300M"
    assert "total processes:      3" in tuned.inner_request("/fpm-status")
    assert '" 200 ' not in logs(tuned.nginx)
    processes = [row[-1] for row in tuned.nginx.top()["Processes"]]
    assert sum("worker process" in name for name in processes) == 3


def test_nginx_starts_a_worker_for_each_processor_it_may_use(
    made: Containers, images: dict[str, str]
) -> None:
    container = made.nginx(images["nginx"], nano_cpus=1_500_000_000)

    def workers() -> int:
        return sum("worker process" in row[-1] for row in container.top()["Processes"])

    assert until("nginx worker", workers) == 2


def _parameters(
    made: Containers, image: str, environment: dict[str, str], *argv: str
) -> dict[str, Any]:
    """Read local.php twice, as Mautic does; return its parameters and what Symfony would see."""
    script = (
        "for ($i = 0; $i < 2; ++$i) { include 'config/local.php'; }"
        "echo json_encode(['local' => $parameters, 'env' => $_ENV]);"
    )
    status, said = made.finish(image, "php", "-r", script, "--", *argv, environment=environment)
    assert status == 0, said
    seen: dict[str, Any] = json.loads(said)
    return seen


def test_an_empty_variable_is_none(made: Containers, images: dict[str, str]) -> None:
    given = {"MAUTIC_THEME": "", "MAUTIC_BRAND_NAME": "Acme %"}
    script = (
        "include 'config/local.php'; echo json_encode([$_ENV, isset($_SERVER['MAUTIC_THEME'])]);"
    )
    status, said = made.finish(images["mautic"], "php", "-r", script, environment=given)
    assert status == 0, said
    seen, is_in_the_way = json.loads(said)
    assert (seen["MAUTIC_BRAND_NAME"], "MAUTIC_THEME" in seen, is_in_the_way) == (
        *("Acme %%", False),
        False,
    )


def test_percent_signs_in_values_are_meant_as_such(
    made: Containers, images: dict[str, str]
) -> None:
    seen = _parameters(
        made,
        images["mautic"],
        {
            "MAUTIC_DB_PASSWORD": "a%b%c%%",
            "MAUTIC_MAILER_DSN": "smtp://u:p%40ss@mail",
            "MAUTIC_MAILER_FROM_NAME": "100 %",
            "MAUTIC_UPLOAD_DIR": "%mautic.application_dir%/media/%files",
        },
    )

    # The installer connects with local.php's value; Symfony resolves the environment's.
    assert seen["local"]["db_password"] == "a%b%c%%"
    assert seen["env"]["MAUTIC_DB_PASSWORD"] == "a%%b%%c%%%%"
    assert seen["env"]["MAUTIC_MAILER_DSN"] == "smtp://u:p%%40ss@mail"
    assert seen["env"]["MAUTIC_MAILER_FROM_NAME"] == "100 %%"
    assert seen["env"]["MAUTIC_UPLOAD_DIR"] == "%mautic.application_dir%/media/%%files"


def test_a_secret_is_read_from_the_file_that_is_named(
    made: Containers, images: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("s3c%ret\n")
    (tmp_path / "password").chmod(0o444)
    tmp_path.chmod(0o755)
    mount = {str(tmp_path): {"bind": "/run/secrets/mautic", "mode": "ro"}}
    script = (
        "include 'config/local.php'; echo $parameters['db_password'], $_ENV['MAUTIC_DB_PASSWORD'];"
    )

    for name, expected in (("password", (0, "s3c%rets3c%%ret")), ("nothing", (255, None))):
        status, said = made.finish(
            images["mautic"],
            *("php", "-r", script),
            environment={"MAUTIC_DB_PASSWORD_FILE": f"/run/secrets/mautic/{name}"},
            volumes=mount,
        )
        assert status == expected[0]
        if expected[1] is None:
            assert "MAUTIC_DB_PASSWORD_FILE names /run/secrets/mautic/nothing" in said
        else:
            assert said == expected[1]


def test_lists_may_be_written_as_people_write_them(
    made: Containers, images: dict[str, str]
) -> None:
    environment = {
        "MAUTIC_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
        "MAUTIC_TRUSTED_HOSTS": '["a.example"]',
    }
    seen = _parameters(made, images["mautic"], environment)

    assert seen["local"]["trusted_proxies"] == ["10.0.0.0/8", "127.0.0.1"]
    assert json.loads(seen["env"]["MAUTIC_TRUSTED_PROXIES"]) == ["10.0.0.0/8", "127.0.0.1"]
    assert seen["local"]["trusted_hosts"] == ["a.example"]


def test_mautic_imports_from_folders_that_are_writable_and_shared(
    made: Containers, images: dict[str, str]
) -> None:
    """Mautic's own default for both is var/import."""
    seen = _parameters(made, images["mautic"], {})["local"]

    folders = {name: value for name, value in seen.items() if name.endswith("_dir")}
    assert folders == dict.fromkeys(
        ("import_leads_dir", "import_campaigns_dir"), "%mautic.application_dir%/media/files/import"
    )


@pytest.mark.parametrize(
    ("argv", "seen"),
    [
        (("mautic:plugins:reload",), ["sync://", "sync://", "null://"]),
        (("--no-interaction", "mautic:plugins:update"), ["sync://", "sync://", "null://"]),
        (
            ("messenger:consume", "hit"),
            [
                "redis://mine",
                *(f"doctrine://default?queue_name={name}" for name in ("hit", "failed")),
            ],
        ),
    ],
)
def test_plugins_are_installed_without_a_queue_in_the_database(
    made: Containers, images: dict[str, str], argv: tuple[str, ...], seen: list[str]
) -> None:
    """Symfony adds the queue's table to every schema, that of a plugin's own tables among them."""
    given = {"MAUTIC_MESSENGER_DSN_EMAIL": "redis://mine"}
    found = _parameters(made, images["mautic"], given, *argv)

    names = [f"messenger_dsn_{name}" for name in ("email", "hit", "failed")]
    assert [found["local"][name] for name in names] == seen
    # What Symfony reads, before any parameter.
    assert found["env"].get("MAUTIC_MESSENGER_DSN_EMAIL", seen[0]) == seen[0]


def test_folders_that_are_mounted_over_belong_to_mautic(
    made: Containers, images: dict[str, str]
) -> None:
    """An empty volume takes owner and mode from the image's folder."""
    folders = [f"{VAR}/sessions", f"{VAR}/cache/ip_data"]
    folders += [f"/var/www/html/docroot/media/{name}" for name in ("files", "images", "dashboards")]
    container = made.start(images["mautic"], "stat", "-c", "%u", *folders, network_mode="none")

    assert finish(container) == (0, "33\n" * len(folders))


# --- the compiled cache ----------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_role_starts_with_the_cache_of_its_scheme(
    made: Containers, images: dict[str, str], scheme: str
) -> None:
    container = made.mautic(
        images["mautic"],
        *("console", "probe:wait"),
        environment={"MAUTIC_SITE_URL": f"{scheme}://mautic.example"},
    )
    until("console", lambda: "running" in logs(container), lambda: logs(container))

    read = "cd var/cache/prod && cat *.php ContainerProbe/* twig/*"
    assert look(container, "sh", "-c", read)[1].splitlines() == [
        "<?php // the same for both",
        f"<?php // routes for {scheme}",
        "<?php // a class",
        "<?php // a template",
    ]
    # Mautic does not look again whether a compiled template still fits: none of a theme is there.


def test_the_compiled_cache_is_linked_and_still_takes_what_is_compiled_anew(
    made: Containers, images: dict[str, str]
) -> None:
    """Copies would take seconds of a disk, in every container."""
    container = made.mautic(images["mautic"], "console", "probe:wait")
    until("console", lambda: "running" in logs(container), lambda: logs(container))

    # Symfony asks for the place of the first alone: it must look as if it had been compiled here.
    kinds = look(container, "sh", "-c", "cd var/cache/prod && stat -c '%n %F' *.php */* Cont*")[1]
    assert sorted(kinds.splitlines()) == [
        "ContainerProbe symbolic link",
        "ContainerProbe/getProbe.php regular file",
        "container.php regular file",
        "twig/page.php symbolic link",
        "url_matching_routes.php regular file",
    ]
    # A compiled class names files of the project by their way from its own place: as deep as there.
    warm = look(container, "realpath", "var/cache/prod/ContainerProbe")[1].strip()
    assert warm == f"{VAR}/warm-http/prod/ContainerProbe"
    # Symfony renames what it has written into place, and removes what is out of date.
    script = """
        cd var/cache/prod
        echo new > twig/new && mv twig/new twig/page.php && touch twig/more && cat twig/page.php
        cat /var/www/html/var/warm-http/prod/twig/page.php
        rm -r twig ContainerProbe && ls
    """
    status, said = look(container, "sh", "-euc", script)
    assert (status, said.splitlines()) == (
        0,
        ["new", "<?php // a template", "container.php", "url_matching_routes.php"],
    )


@pytest.mark.parametrize("place", ["var/warm-http/prod", "var/warm-http/prod/ContainerProbe"])
def test_no_request_can_change_what_was_compiled_at_build(
    made: Containers, images: dict[str, str], place: str
) -> None:
    container = made.start(images["mautic"], "touch", f"{place}/x", network_mode="none")

    status, said = finish(container)

    assert status == 1
    assert "Permission denied" in said


def test_what_the_two_caches_share_is_in_the_image_once(
    made: Containers, images: dict[str, str]
) -> None:
    argv = ("sh", "-c", "cd var && find warm-* -type f -printf '%p %n\\n'")
    _, said = made.finish(images["mautic"], *argv)

    assert sorted(said.splitlines()) == [
        f"warm-{scheme}/prod/{name}"
        for scheme in ("http", "https")
        for name in (
            "ContainerProbe/getProbe.php 2",
            "container.php 2",
            "twig/page.php 2",
            "url_matching_routes.php 1",
        )
    ]


# --- signals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["SIGQUIT", "SIGTERM"])
@pytest.mark.parametrize("which", ["fpm", "nginx"])
def test_a_request_in_flight_is_finished_first(
    made: Containers, images: dict[str, str], which: str, signal: str
) -> None:
    pair = start_site(made, images)
    client = pair.neighbour_request(made, images["nginx"], "/slow")
    until(
        "request in flight",
        lambda: look(pair.fpm, "test", "-e", "/tmp/slow-started")[0] == 0,
        lambda: logs(client),
    )

    container: Container = getattr(pair, which)
    container.kill(signal)
    status, said = finish(container, STOP_SECONDS)
    asked, answer = finish(client)

    assert (status, asked) == (0, 0), said + answer
    assert re.match(r"HTTP/1\.\d 200 ", answer)
    assert "\r\nX-Probe: 1\r\n" in answer


@pytest.mark.parametrize("signal", ["SIGQUIT", "SIGTERM"])
@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (("worker", "email", "hit"), {}),
        (("console", "probe:wait"), {}),
        (
            ("cron",),
            {"MAUTIC_CRON_JOBS": '{"own": {"schedule": "* * * * *", "command": ["probe:wait"]}}'},
        ),
    ],
    ids=["worker", "console", "cron"],
)
def test_a_command_is_told_to_finish(
    made: Containers,
    images: dict[str, str],
    command: tuple[str, ...],
    environment: dict[str, str],
    signal: str,
) -> None:
    container = made.mautic(images["mautic"], *command, environment=environment)
    until("command", lambda: "running: " in logs(container), lambda: logs(container))

    container.kill(signal)
    status, said = finish(container, STOP_SECONDS)

    assert status == 0, said
    assert "finished its message" in said


STOP_AT_ONCE = """
    my $pid = fork // die;
    exec @ARGV or die unless $pid;
    while (1) {
        open my $status, "<", "/proc/$pid/status" or die;
        last if grep { /^SigCgt:.*4...$/ } <$status>;
        select undef, undef, undef, 0.001;
    }
    kill "TERM", $pid;
    waitpid $pid, 0;
"""
"""Runs a command and stops it in the moment in which it begins to handle SIGTERM."""


@pytest.mark.parametrize(
    ("which", "command"), [("mautic", ("mautic", "web")), ("nginx", ("mautic-nginx",))]
)
def test_a_stop_while_it_starts_is_not_lost(
    made: Containers, images: dict[str, str], which: str, command: tuple[str, ...]
) -> None:
    start = getattr(made, which)
    container = start(images[which], *command, entrypoint=["perl", "-e", STOP_AT_ONCE])

    status, said = finish(container, STOP_SECONDS)

    assert status == 0, said


def test_a_command_that_does_not_listen_is_ended(made: Containers, images: dict[str, str]) -> None:
    """cron gives its command 15 seconds, so that the container ends by itself."""
    jobs = {"own": {"schedule": "* * * * *", "command": ["probe:stubborn"]}}
    container = made.mautic(
        images["mautic"], "cron", environment={"MAUTIC_CRON_JOBS": json.dumps(jobs)}
    )
    until("command", lambda: "deaf\n" in logs(container), lambda: logs(container))

    container.kill("SIGTERM")
    status, said = finish(container, STOP_SECONDS)

    assert status == 0, said
    assert "own ends: signal 9" in said


# --- roles -----------------------------------------------------------------------------------


def test_the_worker_consumes_its_queues_within_limits(
    made: Containers, images: dict[str, str]
) -> None:
    limits = {"MAUTIC_WORKER_TIME_LIMIT": "60", "MAUTIC_WORKER_MEMORY_LIMIT": "128M"}
    container = made.mautic(images["mautic"], "worker", "email", "hit", environment=limits)
    until("worker", lambda: "running: " in logs(container), lambda: logs(container))

    assert (
        "running: messenger:consume email hit --no-interaction --time-limit=60 --memory-limit=128M"
        in logs(container)
    )


def test_the_console_passes_arguments_status_and_input(
    made: Containers, images: dict[str, str]
) -> None:
    words = ("mautic:segments:update", "--batch-limit=5", "a b", "$(id)", "")
    status, said = made.finish(images["mautic"], "console", *words)
    assert (status, json.loads(said)) == (0, list(words))
    assert made.finish(images["mautic"], "console", "probe:exit", "3")[0] == 3

    piped = subprocess.run(
        [
            "docker",
            "run",
            "--rm",
            "--network=none",
            "-i",
            images["mautic"],
            "console",
            "probe:stdin",
        ],
        input="typed",
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout == "stdin: typed\n"


def test_anything_else_is_run_as_it_is(made: Containers, images: dict[str, str]) -> None:
    assert made.finish(images["mautic"], "php", "-r", "echo PHP_SAPI;") == (0, "cli")
    assert made.finish(images["mautic"], "sh", "-c", "exit 9")[0] == 9


SCHEDULES = [
    ("* * * * *", "2026-11-22 10:07", True),
    ("7 * * * *", "2026-11-22 10:07", True),
    ("8 * * * *", "2026-11-22 10:07", False),
    ("0,15,30,45 * * * *", "2026-11-22 10:30", True),
    ("0,15,30,45 * * * *", "2026-11-22 10:31", False),
    ("*/3 * * * *", "2026-11-22 10:57", True),
    ("*/3 * * * *", "2026-11-22 10:58", False),
    ("2-59/5 * * * *", "2026-11-22 10:57", True),
    ("2-59/5 * * * *", "2026-11-22 10:55", False),
    ("10-20 * * * *", "2026-11-22 10:20", True),
    ("10-20 * * * *", "2026-11-22 10:21", False),
    ("5-5/9 * * * *", "2026-11-22 10:05", True),
    ("0 4 * * *", "2026-11-22 04:00", True),
    ("0 4 * * *", "2026-11-22 16:00", False),
    ("0 0 1 1 *", "2027-01-01 00:00", True),
    ("0 0 1 1 *", "2027-02-01 00:00", False),
    ("0 0 31 * *", "2026-11-30 00:00", False),
    # 22 November 2026 is a Sunday, which is 0 and 7.
    ("0 0 * * 0", "2026-11-22 00:00", True),
    ("0 0 * * 7", "2026-11-22 00:00", True),
    ("0 0 * * 5-7", "2026-11-22 00:00", True),
    ("0 0 * * 1", "2026-11-22 00:00", False),
    # Both day fields given: either will do. One of them free: the other decides.
    ("0 0 1 * 0", "2026-11-22 00:00", True),
    ("0 0 22 * 1", "2026-11-22 00:00", True),
    ("0 0 1 * 1", "2026-11-22 00:00", False),
    ("0 0 */2 * 0", "2026-11-22 00:00", False),
    ("  0   0  *  *  * ", "2026-11-22 00:00", True),
    # What a CronJob of Kubernetes takes as well.
    ("5/20 * * * *", "2026-11-22 10:45", True),
    ("5/20 * * * *", "2026-11-22 10:20", False),
    ("0 0 ? nov SUN", "2026-11-22 00:00", True),
    ("0 0 ? nov MON-fri", "2026-11-22 00:00", False),
    ("@hourly", "2026-11-22 10:00", True),
    ("@weekly", "2026-11-22 00:00", True),
    ("@monthly", "2026-11-22 00:00", False),
]
NO_SCHEDULES = [
    "",
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 8",
    "20-10 * * * *",
    "*/0 * * * *",
    "a * * * *",
    "1, * * * *",
    "-1 * * * *",
    "@never",
    "jan * * * *",
    "* * * sun *",
    "* * * janfeb *",
]


def test_schedules_mean_what_they_mean_to_cron(made: Containers, images: dict[str, str]) -> None:
    script = """
        require '/opt/mautic/schedule.php';
        foreach (json_decode(getenv('TABLE')) as [$text, $time]) {
            try {
                $said[] = Schedule::parse($text)->matches(new DateTimeImmutable($time ?? 'now'));
            } catch (InvalidArgumentException $e) {
                $said[] = $e->getMessage();
            }
        }
        echo json_encode($said);
    """
    table = [
        *((text, time) for text, time, _ in SCHEDULES),
        *((text, None) for text in NO_SCHEDULES),
    ]
    status, said = made.finish(
        images["mautic"], "php", "-r", script, environment={"TABLE": json.dumps(table)}
    )

    assert status == 0, said
    results = json.loads(said)
    matched = [(*row[:2], result) for row, result in zip(SCHEDULES, results, strict=False)]
    assert matched == SCHEDULES
    for text, message in zip(NO_SCHEDULES, results[len(SCHEDULES) :], strict=True):
        assert isinstance(message, str), text
        assert f"'{text}'" in message


def test_the_next_run_is_the_first_minute_that_matches(
    made: Containers, images: dict[str, str]
) -> None:
    script = """
        require '/opt/mautic/schedule.php';
        foreach (json_decode(getenv('TABLE')) as [$text, $time]) {
            $schedule = Schedule::parse($text);
            $after = new DateTimeImmutable($time, new DateTimeZone('Europe/Berlin'));
            $minute = $after;
            do {
                $minute = $minute->setTimestamp($minute->getTimestamp() + 60);
            } while (!$schedule->matches($minute));
            $said[] = [$schedule->next($after)?->format('c'), $minute->format('c')];
        }
        $said[] = [Schedule::parse('0 0 30 2 *')->next(new DateTimeImmutable()), null];
        echo json_encode($said);
    """
    # The clocks change on 29 March 2026 at 2:00 and on 25 October 2026 at 3:00.
    starts = ["2026-11-22 10:07", "2026-12-31 23:59", "2026-03-29 01:59", "2026-10-25 01:59"]
    texts = {text for text, _, _ in SCHEDULES} - {"0 0 1 1 *"} | {"30 2 * * *", "0 3 * * *"}
    table = [(text, start) for text in sorted(texts) for start in starts]
    status, said = made.finish(
        images["mautic"], "php", "-r", script, environment={"TABLE": json.dumps(table)}
    )

    assert status == 0, said
    for row, (found, expected) in zip([*table, "30 February"], json.loads(said), strict=True):
        assert found == expected, row


CLOCKED = """
    require '/opt/mautic/scheduler.php';
    if ('' !== $state = (string) getenv('STATE')) { file_put_contents(Scheduler::STATE, $state); }
    $table = Job::readTable(json_decode(getenv('TABLE'), true));
    $time = new DateTimeImmutable('2026-11-22 10:00');
    $steps = json_decode(getenv('STEPS'));
    $clock = function () use (&$time, &$steps) {
        $now = $time;
        // A job that has to be stopped in order must first be there to be told.
        $isReady = !str_contains(getenv('TABLE'), 'probe:wait') || is_file('/tmp/probe-waits');
        if ([] === $steps && $isReady) { posix_kill(getmypid(), SIGTERM); }
        $time = $time->modify(array_shift($steps) ?? '+0 minutes');
        return $now;
    };
    (new Scheduler($table, 600, $clock, (int) getenv('PARALLEL'), (int) getenv('DELAY')))->run();
"""
"""Runs a table by a clock that goes forward by one step at each look."""


def clocked(
    made: Containers,
    image: str,
    table: dict[str, Any],
    steps: list[str],
    *,
    parallel: int = 1,
    delay: int = 0,
    state: dict[str, Any] | None = None,
) -> str:
    """Run a table by a clock of the test's own until its steps are used up; return the log."""
    environment = {"TABLE": json.dumps(table), "STEPS": json.dumps(steps)}
    environment |= {"STATE": json.dumps({"jobs": state})} if state else {}
    environment |= {"PARALLEL": str(parallel), "DELAY": str(delay)}
    status, said = made.finish(image, "php", "-r", CLOCKED, environment=environment)
    assert status == 0, said
    return said


LONG = {"schedule": "* * * * *", "command": ["probe:wait"], "startingDeadlineSeconds": 3600}


def test_due_jobs_take_turns_and_never_run_twice_at_once(
    made: Containers, images: dict[str, str]
) -> None:
    table = {
        "hourly": {"schedule": "0 * * * *", "command": ["first"]},
        "long": LONG,
        "off": {"schedule": None, "command": ["never"]},
        "disabled": {"schedule": "* * * * *", "command": ["never"], "enabled": False},
    }
    said = clocked(made, images["mautic"], table, ["+1 minute"] * 20)

    assert said.index("hourly ends: exit 0") < said.index("long starts: probe:wait")
    assert said.count("long starts") == 1
    assert "long misses its run of 10:1" in said
    assert "its last run has not ended" in said
    assert "long is stopped with us" in said
    assert "long ends: exit 0" in said
    assert "never" not in said


def test_jobs_that_are_not_for_masked_data_are_off_in_an_environment_of_a_seed(
    made: Containers, images: dict[str, str]
) -> None:
    script = """
        require '/opt/mautic/jobs.php';
        $on = array_filter(Job::fromEnvironment(), static fn (Job $job) => null !== $job->schedule);
        echo implode(' ', array_keys($on));
    """
    changes = {"email-fetch": {"seeded": True, "enabled": True}, "segments-update": "@hourly"}
    on = {}
    for seed in ("", "mautic_seed__2026"):
        status, said = made.finish(
            images["mautic"],
            *("php", "-r", script),
            environment={"MAUTIC_SEED": seed, "MAUTIC_CRON_JOBS": json.dumps(changes)},
        )
        assert status == 0, said
        on[seed] = set(said.split())
    off = {"broadcasts-send", "messages-send", "reports-scheduler", "webhooks-process"}
    assert on[""] - on["mautic_seed__2026"] == off | {"segments-update"}
    assert {"email-fetch", "campaigns-trigger", "custom-fields"} <= on["mautic_seed__2026"]


def test_a_long_job_keeps_no_other_from_its_turn(made: Containers, images: dict[str, str]) -> None:
    table = {"long": LONG, "other": {"schedule": "3 * * * *", "command": ["second"]}}
    said = clocked(made, images["mautic"], table, ["+1 minute"] * 20, parallel=2)

    assert said.index("long starts") < said.index("other ends: exit 0") < said.index("long ends")
    # Whose line it is stands before it.
    assert "\nlong: running: --no-interaction probe:wait\n" in said
    assert '\nother: ["--no-interaction","second"]\n' in said


def test_a_long_import_holds_up_nothing_that_is_due_each_minute(
    made: Containers, images: dict[str, str]
) -> None:
    """It has a lane of its own, also where all others have a single one."""
    table = {
        "import": {**LONG, "command": ["mautic:import", "probe:wait"]},
        "often": {"schedule": "* * * * *", "command": ["often"]},
    }
    ten_minutes = ["+0 minutes"] * 5 + ["+1 minute", *["+0 minutes"] * 9] * 10
    said = clocked(made, images["mautic"], table, ten_minutes)

    during = said[said.index("import starts") : said.index("import is stopped with us")]
    assert during.count("often starts") >= 8
    assert during.count("import starts") == 1
    # On a busy machine its last run may not have ended; but none waits for a turn.
    assert not re.search("often misses .*(turn|begin)", during)


def test_a_command_that_this_mautic_lacks_is_off(made: Containers, images: dict[str, str]) -> None:
    script = """
        require '/opt/mautic/jobs.php';
        $why = array_map(static fn (Job $job) => $job->obstacle(), Job::fromEnvironment());
        echo json_encode(array_filter($why));
    """
    status, said = made.finish(images["mautic"], "php", "-r", script)
    assert status == 0, said
    why = json.loads(said)
    assert sorted(why) == ["custom-fields-delete", "email-fetch", "exports-cleanup"]
    missing = "this Mautic has no mautic:contacts:cleanup_exported_files"
    assert why["exports-cleanup"] == missing
    container = made.mautic(images["mautic"], "cron")
    until("start", lambda: "jobs: " in logs(container), lambda: logs(container))
    assert f"cron: exports-cleanup stays off: {missing}\n" in logs(container)
    listed = re.search(r"^cron: \d+ jobs: (.*)$", logs(container), re.MULTILINE)
    assert listed
    assert "webhook-logs" in listed[1]
    assert "exports-cleanup" not in listed[1]


def test_runs_that_could_not_be_are_told(made: Containers, images: dict[str, str]) -> None:
    """A clock that jumps, as on a machine that slept, and a job without a turn in time."""
    table = {
        "long": LONG,
        "late": {"schedule": "0 * * * *", "command": ["late"], "startingDeadlineSeconds": 60},
        "often": {"schedule": "*/10 * * * *", "command": ["often"]},
    }
    steps = ["+0 minutes", "+0 minutes", "+0 minutes", "+2 minutes", *["+0 minutes"] * 3]
    said = clocked(made, images["mautic"], table, [*steps, "+28 minutes", *["+0 minutes"] * 5])

    assert "late misses its run of 10:00: it could not begin within 60 s" in said
    assert "often misses its run of 10:20 and 1 before it: " in said


def test_a_scheduler_that_starts_again_runs_no_job_twice_in_a_minute(
    made: Containers, images: dict[str, str]
) -> None:
    began = {
        "same": "2026-11-22T10:00:02+00:00",
        "elsewhere": "2026-11-22T11:00:02+01:00",
        "before": "2026-11-22T09:59:58+00:00",
    }
    table = {
        name: {"schedule": "* * * * *", "command": [name]} for name in ("first", *began, "last")
    }
    state = {name: {"startedAt": when} for name, when in began.items()}
    again = ["+0 minutes"] * 15

    said = clocked(made, images["mautic"], table, again, state=state, parallel=5)
    later = clocked(
        made, images["mautic"], table, [*again, "+1 minute", *again], state=state, parallel=5
    )

    started = Counter(re.findall(r"^cron: (\w+) starts", said, re.MULTILINE))
    assert started == {"first": 1, "before": 1, "last": 1}
    assert set(re.findall(r"^cron: (\w+) starts", later, re.MULTILINE)) == set(table)
    assert "misses" not in said


def test_nothing_begins_before_its_time(made: Containers, images: dict[str, str]) -> None:
    table = {"often": {"schedule": "* * * * *", "command": ["often"]}}

    early = clocked(made, images["mautic"], table, ["+1 second"] * 9, delay=10)
    later = clocked(made, images["mautic"], table, ["+5 seconds"] * 9, delay=10)

    assert "often starts" not in early
    assert later.count("often starts") == 1


def test_the_status_says_what_became_of_each_job(
    made: Containers, images: dict[str, str], tmp_path: Path
) -> None:
    """By a table that is given as a file, which is all there is then: as the chart does."""
    often = "* * * * *"
    table = {
        "good": {"schedule": often, "command": ["done"]},
        "bad": {"schedule": often, "command": ["probe:exit", "3"]},
        "hung": {"schedule": often, "command": ["probe:wait"], "activeDeadlineSeconds": 1},
        "rare": {"schedule": "30 4 1 1 *", "command": ["rare"]},
        "off": {"schedule": often, "command": ["never"], "enabled": False},
    }
    file = tmp_path / "cron.json"
    file.write_text(json.dumps(table))
    file.chmod(0o644)
    container = made.mautic(
        images["mautic"],
        "cron",
        volumes={str(file): {"bind": "/etc/cron.json", "mode": "ro"}},
        environment={"MAUTIC_CRON_TABLE": "/etc/cron.json", "MAUTIC_CRON_TIME_ZONE": "Asia/Tokyo"},
    )
    until("end", lambda: "hung ends" in logs(container), lambda: logs(container))

    def look_at(name: str) -> dict[str, Any]:
        code, said = look(container, "mautic", "cron", "status")
        assert code == 0, said
        found: list[dict[str, Any]] = json.loads(said)
        assert [row["name"] for row in found] == list(table)
        return next(row for row in found if row["name"] == name)

    assert look_at("good")["result"] == "exit 0"
    assert look_at("bad")["result"] == "exit 3"
    assert "hung is stopped after 1 s" in logs(container)
    rare = look_at("rare")
    assert (rare["next"][4:], rare.get("startedAt")) == ("-01-01T04:30:00+09:00", None)
    assert (look_at("off")["enabled"], look_at("off")["next"]) == (False, None)
    # It starts no Mautic and fills no cache.
    other = made.finish(images["mautic"], "cron", "status", environment={"APP_ENV": "x"})
    assert other == (75, "cron: no scheduler has run here\n")


def test_a_job_that_hangs_is_ended(made: Containers, images: dict[str, str]) -> None:
    jobs = {"own": {"schedule": "* * * * *", "command": ["probe:wait"]}}
    environment = {"MAUTIC_CRON_JOBS": json.dumps(jobs), "MAUTIC_CRON_TIMEOUT": "1"}
    container = made.mautic(images["mautic"], "cron", environment=environment)

    until("end of the job", lambda: "own ends" in logs(container), lambda: logs(container))

    assert "own is stopped after 1 s" in logs(container)


@pytest.mark.parametrize(
    ("jobs", "on", "off", "told"),
    [
        # Switched off by the variable, by config/cron.json, and as delivered.
        (
            {"webhooks-process": None},
            {"segments-update", "campaigns-update", "campaigns-trigger"},
            {"webhooks-process", "import", "maintenance-cleanup"},
            [],
        ),
        (
            {"email-fetch": "* * * * *"},
            {"segments-update"},
            {"email-fetch"},
            ["email-fetch stays off: mautic:email:fetch needs PHP's extension imap"],
        ),
    ],
    ids=["by file and variable", "by what PHP lacks"],
)
def test_the_schedule_is_changed(
    made: Containers,
    images: dict[str, str],
    jobs: dict[str, Any],
    on: set[str],
    off: set[str],
    told: list[str],
) -> None:
    jobs = {**jobs, "own": "* * * * *"}
    container = made.mautic(
        images["mautic"], "cron", environment={"MAUTIC_CRON_JOBS": json.dumps(jobs)}
    )
    until("job", lambda: "own ends: exit 0" in logs(container), lambda: logs(container))

    said = logs(container)
    listed = re.search(r"^cron: \d+ jobs: (.*)$", said, re.MULTILINE)
    assert listed
    names = set(listed[1].split(", "))
    assert on | {"own"} <= names
    assert not off & names
    for words in told:
        assert said.count(words) == 1


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("segments", "MAUTIC_CRON_JOBS must be a JSON object"),
        ('["segments-update"]', "MAUTIC_CRON_JOBS must be a JSON object"),
        ('{"segment-update": "* * * * *"}', "names the job segment-update, which does not exist"),
        ('{"segments-update": "99 * * * *"}', "wrong minute, '99'"),
        ('{"segments-update": 5}', "segments-update must be a schedule, null or an object"),
        ('{"mine": {"schedule": "* * * * *"}}', "the job mine needs a command"),
        ('{"own": {"command": "a b"}}', "the job own needs a command"),
        ('{"own": {"command": ["a"], "when": "x"}}', "the unknown key when"),
        ('{"own": {"command": ["a"], "enabled": "yes"}}', "enabled of the job own"),
        ('{"import": {"activeDeadlineSeconds": 0}}', "activeDeadlineSeconds of the job import"),
    ],
)
def test_a_wrong_job_is_refused(
    made: Containers, images: dict[str, str], jobs: str, message: str
) -> None:
    status, said = made.finish(images["mautic"], "cron", environment={"MAUTIC_CRON_JOBS": jobs})

    assert status == 78
    assert message in said


# --- migrate, against a real database --------------------------------------------------------

PASSWORD = "a%b%c#d$e'f"


class Database:
    """A MariaDB with one empty database after another.

    Args:
        made: what removes it.
        image: the database image.
        mautic: the mautic image that is installed into it.
        arguments: of the server.
        options: of its container.
    """

    def __init__(
        self, made: Containers, image: str, mautic: str, *arguments: str, **options: Any
    ) -> None:
        self._made = made
        self._mautic = mautic
        self._network = made.network()
        self._client = ("mariadb", "-uroot", "-proot", "-h127.0.0.1", "-N", "-B")
        self._count = 0
        self._container = made.start(
            image,
            *arguments,
            network=self._network,
            environment={"MYSQL_ROOT_PASSWORD": "root", "MYSQL_DATABASE": "none"},
            **options,
        )
        self.beside = {"network_mode": f"container:{self._container.id}"}
        """Options of a container that reaches it on loopback."""
        self._container.reload()
        until("database", self._answers, lambda: logs(self._container))

    def change(self, statement: str, name: str = "mysql") -> None:
        """Run SQL that changes something, as root in a database."""
        done = self._container.exec_run([*self._client, name, "-e", statement])
        assert done.exit_code == 0, done.output.decode()

    def ask(self, question: str, name: str = "mysql") -> str:
        """Return the answer to SQL that only looks, as root in a database."""
        status, said = look(self._container, *self._client, name, "-e", question)
        assert status == 0, said
        return said

    def _answers(self) -> bool:
        return look(self._container, *self._client, "mysql", "-e", "SELECT 1") == (0, "1\n")

    def create(self) -> str:
        """Make an empty database; return its name, which is also its user's."""
        self._count += 1
        name = f"mautic_{self._count}"
        password = PASSWORD.replace("'", "''")
        self.change(
            f"CREATE DATABASE {name}; CREATE USER {name} IDENTIFIED BY '{password}';"
            f"GRANT ALL ON {name}.* TO {name}"
        )
        return name

    def start(self, statement: str) -> str:
        """Begin a statement as root that lasts; return it."""
        self._container.exec_run([*self._client, "none", "-e", statement], detach=True)
        until("statement", lambda: self.id_of(statement))
        return statement

    def id_of(self, statement: str) -> str:
        """Return the connection that runs a statement."""
        quoted = statement.replace("'", "''")
        listed = "SELECT id FROM information_schema.processlist WHERE info = "
        return self.ask(f"{listed}'{quoted}'").strip()

    def crowd(self) -> None:
        """Make the user "crowded", who has as many connections as it may."""
        if not self.ask("SELECT user FROM mysql.user WHERE user = 'crowded'"):
            client = (*self._client[:1], "-ucrowded", *self._client[2:])
            self.change("CREATE USER crowded IDENTIFIED BY 'root' WITH MAX_USER_CONNECTIONS 1")
            self.change("GRANT ALL ON none.* TO crowded")
            self._container.exec_run([*client, "none", "-e", "SELECT SLEEP(3600)"], detach=True)
        until("crowd", lambda: self.id_of("SELECT SLEEP(3600)"))

    def migrate(self, name: str, **more: Any) -> Container:
        """Start the role migrate on a database."""
        return self.role(name, "migrate", **more)

    def role(
        self,
        name: str,
        *command: str,
        image: str = "",
        options: dict[str, Any] | None = None,
        **more: str,
    ) -> Container:
        """Start a role of an image, the fixture's own by default, on a database."""
        environment = {
            "MAUTIC_DB_HOST": self._container.name,
            "MAUTIC_DB_DATABASE": name,
            "MAUTIC_DB_USER": name,
            "MAUTIC_DB_PASSWORD": PASSWORD,
            "MAUTIC_SECRET_KEY": "0" * 64,
            "MAUTIC_SITE_URL": "http://mautic.example",
            "MAUTIC_ADMIN_USERNAME": "admin",
            "MAUTIC_ADMIN_EMAIL": "admin@example.com",
            "MAUTIC_ADMIN_PASSWORD": "Tr0ub4dor%3",
            **more,
        }
        options = options or {"network": self._network}
        image = image or self._mautic
        return self._made.mautic(image, *command, environment=environment, **options)


@pytest.fixture(scope="module")
def database(engine: docker.DockerClient, made: Containers) -> Database:
    return Database(made, standin(engine, "database"), pair(engine)[0])


def test_migrate_installs_once_then_only_migrates(database: Database) -> None:
    name = database.create()

    status, said = finish(database.migrate(name))
    assert status == 0, said
    assert "migrate: installed" in said
    users = database.ask("SELECT * FROM users", name)
    migrations = database.ask("SELECT * FROM migrations", name)
    assert "admin@example.com" in users
    assert migrations

    status, said = finish(database.migrate(name, MAUTIC_ADMIN_PASSWORD="another"))
    assert status == 0, said
    assert "migrate: Mautic is installed" in said
    assert database.ask("SELECT * FROM users", name) == users
    assert database.ask("SELECT * FROM migrations", name) == migrations


def test_two_migrations_at_once_make_one_installation(database: Database) -> None:
    name = database.create()

    both = [finish(container) for container in [database.migrate(name), database.migrate(name)]]

    assert [status for status, _ in both] == [0, 0], both
    assert sorted("migrate: installed" in said for _, said in both) == [False, True]
    assert database.ask("SELECT COUNT(*) FROM users", name).strip() == "1"


def test_migrations_of_two_databases_do_not_wait_for_each_other(database: Database) -> None:
    """Locks belong to the server, and all branches may share one: their names must differ."""
    names = [database.create(), database.create()]

    both = [finish(container) for container in map(database.migrate, names)]

    assert [status for status, _ in both] == [0, 0], both
    assert not any("another migration" in said for _, said in both)


def test_an_installation_that_was_cut_off_is_done_again(database: Database) -> None:
    name = database.create()
    assert finish(database.migrate(name))[0] == 0
    database.change("DELETE FROM users; DELETE FROM migrations", name)

    status, said = finish(database.migrate(name))

    assert status == 0, said
    assert "an earlier installation was cut off" in said
    assert database.ask("SELECT COUNT(*) FROM users", name).strip() == "1"


def test_an_installation_cut_off_after_its_user_is_brought_to_its_end(database: Database) -> None:
    name = database.create()
    assert finish(database.migrate(name))[0] == 0
    recorded = database.ask("SELECT version FROM migrations ORDER BY version", name)
    database.change("DROP TABLE migrations", name)

    status, said = finish(database.migrate(name))

    assert status == 0, said
    assert "migrate: Mautic is installed" in said
    assert database.ask("SELECT version FROM migrations ORDER BY version", name) == recorded


def test_content_without_a_user_is_never_installed_over(database: Database) -> None:
    name = database.create()
    database.change("CREATE TABLE leads (id INT); INSERT INTO leads VALUES (1)", name)

    status, said = finish(database.migrate(name))

    assert status == 65
    assert f"the database {name} has rows in leads but no user" in said
    assert database.ask("SELECT COUNT(*) FROM leads", name).strip() == "1"


def test_migrations_that_skip_themselves_are_recorded(database: Database) -> None:
    """Doctrine keeps no record of them: `up-to-date` would say no for ever."""
    name = database.create()
    assert finish(database.migrate(name))[0] == 0
    database.change("DELETE FROM migrations WHERE version REGEXP '20260[23]01'", name)

    status, said = finish(database.migrate(name))

    assert status == 0, said
    assert "migrated Version20260201000000" in said
    assert "1 migrations had nothing to do: Version20260301000000" in said
    assert finish(database.role(name, "console", "doctrine:migrations:up-to-date"))[0] == 0
    assert finish(database.role(name, "wait"))[0] == 0


def test_what_is_done_is_not_asked_of_mautic_again(database: Database) -> None:
    name = database.create()
    assert finish(database.migrate(name))[0] == 0

    status, said = finish(database.migrate(name))

    assert status == 0, said
    assert re.findall(r"^migrate: .*?: ([a-z:-]+)$", said, re.MULTILINE) == [
        "mautic:plugins:reload"
    ]


@pytest.mark.parametrize("way", ["MAUTIC_DB_NAME", "MAUTIC_CONFIG_PARAMETERS"])
def test_every_way_to_name_the_database_is_obeyed_by_all(database: Database, way: str) -> None:
    """The console went to the one, migrate to the other."""
    name = database.create()

    def given(value: str) -> dict[str, str]:
        text = value if way == "MAUTIC_DB_NAME" else json.dumps({"db_name": value})
        return {"MAUTIC_DB_DATABASE": "", way: text}

    status, said = finish(database.migrate(name, **given(name)))
    assert status == 0, said
    assert database.ask("SELECT COUNT(*) FROM users", name).strip() == "1"
    for role in ("migrate", "wait"):
        status, said = finish(database.role(name, role, **given("nothing")))
        assert status == 77, said
        assert f"{role}: failed [database-access-denied]: the database nothing" in said
    command = ("console", "doctrine:migrations:up-to-date")
    assert finish(database.role(name, *command, **given(name)))[0] == 0
    assert finish(database.role(name, *command, **given("nothing")))[0] == 1


def test_a_prefix_of_the_tables_is_built_in_and_then_used_by_all(
    builds: Builds,
    made: Containers,
    database: Database,
    engine: docker.DockerClient,
    tmp_path: Path,
) -> None:
    project = copy_docker(tmp_path)
    own = project / "docker" / "mautic" / "config" / "parameters_local.php"
    own.write_text("<?php $parameters = ['db_table_prefix' => 'm_'];")
    image = builds.images(standin(engine, "mautic"), project=project, targets=("mautic",))["mautic"]
    name = database.create()

    status, said = finish(database.migrate(name, image=image))
    assert status == 0, said
    assert {table[:2] for table in database.ask("SHOW TABLES", name).split()} == {"m_"}
    assert finish(database.role(name, "wait", image=image))[0] == 0
    given = {"image": image, "MAUTIC_DB_TABLE_PREFIX": "m_"}
    assert finish(database.role(name, "wait", **given))[0] == 0
    status, said = finish(database.role(name, "wait", **given | {"MAUTIC_DB_TABLE_PREFIX": "x_"}))
    assert status == 64
    assert "MAUTIC_DB_TABLE_PREFIX is compiled into the image" in said


# --- TLS to the database ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: ca.crt has signed server.crt, other.crt has not."""
    folder = tmp_path_factory.mktemp("tls")
    pki = Pki(folder / "pki")
    pki.issue("server", "server", server=True)
    shutil.copy(Pki(folder / "another").root / "ca.crt", pki.root / "other.crt")
    for path in (folder, pki.root, *pki.root.iterdir()):
        path.chmod(0o755)
    return pki.root


@pytest.fixture(scope="module")
def tls_database(engine: docker.DockerClient, made: Containers, authorities: Path) -> Database:
    """A server that takes nobody without TLS."""
    arguments = [f"--ssl-{name}=/tls/{file}" for name, file in TLS_FILES.items()]
    return Database(
        made,
        standin(engine, "database"),
        pair(engine)[0],
        *arguments,
        "--require-secure-transport=ON",
        volumes=tls_mount(authorities),
    )


TLS_FILES = {"ca": "ca.crt", "cert": "server.crt", "key": "server.key"}


def tls_mount(authorities: Path) -> dict[str, dict[str, str]]:
    return {str(authorities): {"bind": "/tls", "mode": "ro"}}


def by_tls(authorities: Path, database: Database, ca: str = "") -> dict[str, Any]:
    """Return what lets a role reach the server by the name of its certificate."""
    given = {"MAUTIC_DB_TLS_CA_FILE": f"/tls/{ca}"} if ca else {}
    options = {**database.beside, "volumes": tls_mount(authorities)}
    return {"options": options, "MAUTIC_DB_HOST": "127.0.0.1", **given}


def test_a_database_that_wants_tls_is_installed_and_used(
    tls_database: Database, authorities: Path
) -> None:
    name, given = tls_database.create(), by_tls(authorities, tls_database, "ca.crt")

    status, said = finish(tls_database.migrate(name, **given))
    assert status == 0, said
    assert "migrate: installed" in said
    for command in (("wait",), ("console", "doctrine:migrations:up-to-date")):
        status, said = finish(tls_database.role(name, *command, **given))
        assert status == 0, said
    admin = {"MAUTIC_DB_PREFIX": "mt_", "MAUTIC_DB_ADMIN_USER": "root"}
    admin |= {"MAUTIC_DB_ADMIN_PASSWORD": "root", "MAUTIC_DB_DATABASE": "mt_x"}
    for verb in ("create", "drop"):
        container = tls_database.role("mt_x", "database", verb, **{**given, **admin})
        status, said = finish(container)
        assert status == 0, said


@pytest.mark.parametrize(
    ("ca", "host", "said_of_it"),
    [
        ("", "127.0.0.1", "insecure transport are prohibited"),
        ("other.crt", "127.0.0.1", "certificate verify failed"),
        ("ca.crt", "127.0.0.2", "did not match expected"),
    ],
    ids=["no TLS", "another authority", "another name"],
)
@pytest.mark.parametrize("role", [("wait",), ("migrate",)])
def test_a_connection_that_cannot_be_secure_ends_at_once(
    tls_database: Database,
    authorities: Path,
    role: tuple[str, ...],
    ca: str,
    host: str,
    said_of_it: str,
) -> None:
    given = by_tls(authorities, tls_database, ca) | {"MAUTIC_DB_HOST": host}
    given |= {"MAUTIC_DB_USER": "root", "MAUTIC_DB_PASSWORD": "root"}

    status, said = finish(tls_database.role("none", *role, **given))

    assert status == 77, said
    (line,) = said.splitlines()
    assert line.startswith(f"{role[0]}: failed [database-tls]: the database none on {host}")
    assert said_of_it in line


def test_a_server_without_tls_is_not_spoken_to_in_clear(
    database: Database, authorities: Path
) -> None:
    given = by_tls(authorities, database, "ca.crt")
    given |= {"MAUTIC_DB_USER": "root", "MAUTIC_DB_PASSWORD": "root"}

    status, said = finish(database.role("none", "wait", **given))

    assert status == 77, said
    assert "wait: failed [database-tls]: " in said


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "MAUTIC_DB_TLS_CA_FILE names /ca/ca.pem, which cannot be read"),
        ("no certificate", "MAUTIC_DB_TLS_CA must hold certificates in PEM form"),
    ],
)
def test_an_authority_that_is_none_is_refused(
    made: Containers, images: dict[str, str], tmp_path: Path, content: str | None, told: str
) -> None:
    tmp_path.chmod(0o755)
    if content:
        (tmp_path / "ca.pem").write_text(content)
    status, said = made.finish(
        images["mautic"],
        "wait",
        environment={"MAUTIC_DB_TLS_CA_FILE": "/ca/ca.pem"},
        volumes={str(tmp_path): {"bind": "/ca", "mode": "ro"}},
    )

    assert status == 64
    assert told in said


# --- waiting ---------------------------------------------------------------------------------


def waits(said: str) -> list[str]:
    """Return the reasons that a program gave for waiting, in order."""
    return re.findall(r"^[a-z]+: waiting \[([a-z-]+)\]: ", said, re.MULTILINE)


def test_wait_ends_with_the_migration(database: Database) -> None:
    name = database.create()
    container = database.role(name, "wait")
    until("word", lambda: "Mautic is not installed yet" in logs(container), lambda: logs(container))
    # It starts no Mautic and fills no cache.
    places = [f"{VAR}/{name}" for name in ("cache", "logs", "tmp")]
    assert look(container, "find", *places, "-mindepth", "1")[1] == ""

    assert finish(database.migrate(name))[0] == 0
    status, said = finish(container)

    assert status == 0, said
    assert set(waits(said)) == {"migration"}
    # Each sentence once, until something changes.
    assert len(said.splitlines()) == len(set(said.splitlines()))


def test_wait_names_what_is_missing_and_gives_up_in_time(database: Database) -> None:
    name = database.create()
    assert finish(database.migrate(name))[0] == 0
    newer = r"INSERT INTO migrations VALUES ('Mautic\\\\Migrations\\\\Version2099', NOW(), 0)"
    database.change(newer, name)
    # Older code over a newer schema.
    assert finish(database.role(name, "wait")) == (0, "")

    database.change("DELETE FROM migrations WHERE version LIKE '%Version20260201000000'", name)
    status, said = finish(database.role(name, "wait", MAUTIC_MIGRATE_WAIT="1"))

    assert status == 75
    sentence = (
        r"1 migrations have not run yet, the first is Mautic\Migrations\Version20260201000000"
    )
    assert said.splitlines() == [
        f"wait: waiting [migration]: {sentence}",
        f"wait: failed [migration]: {sentence} (after 1 s)",
    ]


def test_wait_waits_for_a_migration_at_work(database: Database) -> None:
    """Behind the migrations come the plugins, whose tables no record tells of."""
    name = database.create()
    assert finish(database.migrate(name))[0] == 0
    lock = f"mautic-migrate:{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    holder = database.start(f"SELECT GET_LOCK('{lock}', 0), SLEEP(600)")

    container = database.role(name, "wait")
    another = database.migrate(name, MAUTIC_MIGRATE_LOCK_WAIT="1")
    until("word", lambda: "the migration runs" in logs(container), lambda: logs(container))
    status, said = finish(another)
    assert (status, waits(said)) == (75, ["migration-lock"])
    assert re.search(r"^migrate: failed \[migration-lock\]: another migration runs", said, re.M)
    database.change(f"KILL {database.id_of(holder)}")

    assert finish(container)[0] == 0


ERRORS = [
    (1045, "Access denied for user 'a'@'b' (using password: YES)", "database-access-denied"),
    (1044, "Access denied for user 'a'@'%' to database 'b'", "database-access-denied"),
    (1130, "Host '10.0.0.1' is not allowed to connect", "database-access-denied"),
    (1049, "Unknown database 'b'", "database-unknown"),
    (2026, "SSL connection error: unsupported protocol", "database-tls"),
    (9002, "SSL connection is required. Please specify SSL options and retry.", "database-tls"),
    (3159, "Connections using insecure transport are prohibited", "database-tls"),
    (2002, "SSL: certificate verify failed", "database-tls"),
    (1040, "Too many connections", "database-too-many-connections"),
    (1203, "User a already has more than 'max_user_connections'", "database-too-many-connections"),
    (2002, "php_network_getaddresses: getaddrinfo for b failed", "database-unknown-host"),
    (2002, "php_network_getaddresses: getaddrinfo for b.tls failed", "database-unknown-host"),
    (2002, "Connection refused", "database-refused"),
    (2002, "No such file or directory", "database-refused"),
    (2002, "Connection timed out", "database-unreachable"),
    (2002, "No route to host", "database-unreachable"),
    (2006, "MySQL server has gone away", "database-starting"),
    (1053, "Server shutdown in progress", "database-starting"),
]
STATEMENTS = [(1064, "You have an error in your SQL syntax", ""), (1062, "Duplicate entry '1'", "")]
"""Errors of statements: in the middle of the work they say nothing of the server."""


def test_a_drivers_error_is_told_by_its_reason(made: Containers, images: dict[str, str]) -> None:
    """What a server or a driver says that cannot be brought about here."""
    script = """
        require '/opt/mautic/waiting.php';
        foreach (json_decode(getenv('TABLE')) as [$number, $text]) {
            $error = new PDOException("SQLSTATE[HY000] [{$number}] {$text}", $number);
            $said[] = Obstacle::of($error);
            $error->errorInfo = ['HY000', $number, $text];
            $said[] = Obstacle::of($error);
            $work[] = Obstacle::ofWork($error);
        }
        echo json_encode([$said, $work]);
    """
    table = json.dumps([row[:2] for row in [*ERRORS, *STATEMENTS]])
    status, said = made.finish(images["mautic"], "php", "-r", script, environment={"TABLE": table})

    assert status == 0, said
    connecting, working = json.loads(said)
    waited = [*ERRORS, *[(*row[:2], "database-starting") for row in STATEMENTS]]
    assert connecting == [reason for *_, reason in waited for _ in range(2)]
    assert working == [reason for *_, reason in [*ERRORS, *STATEMENTS]]


NOWHERE: dict[str, Any] = {"network_mode": "none"}
NAMELESS = "hosts: files\n"
"""For /etc/nsswitch.conf: no name server is asked, so that no name but localhost exists."""


@pytest.mark.parametrize(
    ("more", "reason", "status"),
    [
        ({"MAUTIC_DB_HOST": "127.0.0.1"}, "database-refused", 75),
        ({"MAUTIC_DB_HOST": "192.0.2.1"}, "database-unreachable", 75),
        ({"MAUTIC_DB_PASSWORD": "wrong"}, "database-access-denied", 77),
        ({"MAUTIC_DB_DATABASE": "none_such"}, "database-unknown", 77),
        ({"MAUTIC_DB_HOST": "none.invalid"}, "database-unknown-host", 77),
        ({"MAUTIC_DB_HOST": "none.invalid", "MAUTIC_DB_OWN": "1"}, "database-unknown-host", 75),
        ({"MAUTIC_DB_USER": "crowded"}, "database-too-many-connections", 75),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_database_that_cannot_be_is_named(
    database: Database, tmp_path: Path, more: dict[str, str], reason: str, status: int
) -> None:
    """What cannot heal ends it at once; what may heal is waited for, in time."""
    options: dict[str, Any] = {}
    if more.get("MAUTIC_DB_HOST") == "192.0.2.1":
        options = NOWHERE
    if more.get("MAUTIC_DB_HOST") == "none.invalid":
        file = tmp_path / "nsswitch.conf"
        file.write_text(NAMELESS)
        file.chmod(0o644)
        mount = {str(file): {"bind": "/etc/nsswitch.conf", "mode": "ro"}}
        options = NOWHERE | {"volumes": mount}
    if "MAUTIC_DB_USER" in more:
        database.crowd()
    given = {"MAUTIC_DB_USER": "root", "MAUTIC_DB_PASSWORD": "root", "MAUTIC_MIGRATE_WAIT": "3"}
    given |= {"MAUTIC_DB_DATABASE": "none", **more}
    roles = {
        role: database.role("none", role, options=options, **given) for role in ("wait", "migrate")
    }

    for role, container in roles.items():
        ended, said = finish(container)
        assert ended == status, said
        assert set(waits(said)) <= {reason}
        last = said.splitlines()[-1]
        assert last.startswith(f"{role}: failed [{reason}]: the database "), said
        # The time is that of the attempts, of which each may take a while.
        assert bool(re.search(r" \(after \d+ s\)$", last)) == (status == 75)
        assert "Warning" not in said


@pytest.mark.parametrize(
    "missing", ["MAUTIC_SITE_URL", "MAUTIC_SECRET_KEY", "MAUTIC_ADMIN_PASSWORD"]
)
def test_a_missing_setting_is_named(database: Database, missing: str) -> None:
    name = database.create()

    status, said = finish(database.migrate(name, **{missing: ""}))

    assert status == 78
    assert f"{missing} (or {missing}_FILE) is not set" in said
    assert database.ask(f"SHOW TABLES FROM {name}") == ""


def test_an_installer_that_pretends_success_is_not_believed(database: Database) -> None:
    """Mautic's installer ends with status 0 for some failures, as for a database it cannot use."""
    name = database.create()
    database.change(f"REVOKE INSERT ON {name}.* FROM {name}")

    status, said = finish(database.migrate(name))

    assert status == 1, said


def test_a_migration_ends_when_it_is_told_to(database: Database) -> None:
    container = database.migrate(database.create(), MAUTIC_DB_HOST="127.0.0.1")
    until("migration", lambda: "waiting [" in logs(container), lambda: logs(container))

    container.kill("SIGQUIT")
    status, said = finish(container, STOP_SECONDS)

    assert status == 143
    assert "stopped before it was done" in said

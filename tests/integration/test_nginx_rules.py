"""nginx's rules, asked of a running pair of nginx and php-fpm by requests that nothing tidies."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from tests.integration.image_support import (
    PARAMETERS,
    Builds,
    Containers,
    Site,
    containers,
    declaration,
    logs,
    look,
    probe_tree,
    start_site,
    until,
)

EVIL = (
    "<?php header('X-Evil: 1');"
    "file_put_contents('/trace/evil', __FILE__.PHP_EOL, FILE_APPEND); ?>evil"
)
"""Leaves a trace wherever PHP runs it, and shows itself wherever it is served as text."""

CSS = "body { color: teal }\n" * 100
PIXEL = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x00;"

STATIC = {
    "docroot/media/css/app.css": CSS,
    "docroot/media/css/app.3f9a1b2c.css": CSS,
    "docroot/media/js/app.js": "js",
    "docroot/media/libraries/ckeditor/ckeditor.js": "js",
    "docroot/app/assets/images/favicon.ico": "ico",
    "docroot/app/bundles/CoreBundle/Assets/images/avatar.png": "png",
    "docroot/plugins/GrapesJsBuilderBundle/Assets/library/js/dist/builder.js": "js",
    "docroot/themes/blank/thumbnail.png": "png",
    "docroot/assets/build/main.js": "js",
    "docroot/media/images/logo.png": "release",
    "docroot/media/images/badge.png": "release",
    "docroot/favicon.ico": "ico",
    "docroot/robots.txt": "User-agent: *",
}
HIDDEN = {
    "docroot/.env": "APP_ENV=prod",
    "docroot/.htaccess": "Deny",
    "docroot/composer.json": "{}",
    "docroot/upgrade.php": EVIL,
    "docroot/autoload.php": EVIL,
    "docroot/app/AppKernel.php": EVIL,
    "docroot/app/config/config.php": EVIL,
    # The build itself reads this one: it has to declare Mautic's parameters.
    "docroot/app/bundles/CoreBundle/Config/config.php": EVIL + declaration(PARAMETERS["7"]),
    "docroot/app/bundles/CoreBundle/Assets/js/evil.php": EVIL,
    "docroot/media/css/evil.php": EVIL,
    "docroot/media/css/evil.php.css": EVIL,
    "docroot/media/js/.secret.js": "secret",
    "docroot/plugins/GrapesJsBuilderBundle/GrapesJsBuilderBundle.php": EVIL,
    "docroot/plugins/GrapesJsBuilderBundle/Config/config.php": EVIL + declaration({}),
    "docroot/plugins/integrations/evil.php": EVIL,
    "docroot/themes/blank/html/base.html.twig": "{{ secret }}",
    "docroot/themes/blank/evil.php": EVIL,
    "docroot/media/files/report.pdf": "a customer's",
    "docroot/asset/evil.php": EVIL,
    "config/secret.php": EVIL,
    "vendor/autoload.php": EVIL,
    "var/logs/prod.log": "log",
}
FOLDERS = (
    *("app", "bin", "build", "config", "docroot", "media", "node_modules", "patches", "plugins"),
    *("templates", "tests", "themes", "translations", "upgrade", "var", "vendor"),
)
"""Folders of Mautic's tree, in both of its layouts, whose names people give to pages as well."""

HIDDEN |= {f"docroot/{name}/evil.php": EVIL for name in FOLDERS}
HIDDEN |= {f"docroot/{name}/x/secret": "secret" for name in FOLDERS}
UPLOADS = {
    "photo.png": PIXEL,
    "sub/photo two.jpeg": PIXEL,
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "evil.php": EVIL.encode(),
    "evil.php7": EVIL.encode(),
    "evil.PHP": EVIL.encode(),
    "evil.phtml": EVIL.encode(),
    "evil.phar": EVIL.encode(),
    "evil.php.png": EVIL.encode(),
    "evil.phar.svg": EVIL.encode(),
    "evil.png": EVIL.encode(),
    "page.html": b"<script>1</script>",
    "page.svgz": b"x",
    ".hidden.png": PIXEL,
    ".tmb/l1_cGhvdG8.png": PIXEL,
    ".tmb/.hidden.png": PIXEL,
    ".other/photo.png": PIXEL,
    ".htaccess": b"AddHandler php .png",
    "notes.txt": b"notes",
}
SHARED = {
    "photo.png": b"the seed's photo",
    "old.png": b"the seed's",
    "drawn.svg": UPLOADS["drawing.svg"],
    "seed/twice.png": b"the seed's own folder",
    "badge.png": b"the seed's badge",
    "hollow.php": EVIL.encode(),
    "hollow.php.png": EVIL.encode(),
    ".shared.png": PIXEL,
}
"""A seed's pictures, which lie beside the branch's own."""


@dataclass(frozen=True)
class Rules:
    """Two sites of the same images: one believes nobody, the other the engine's gateway."""

    site: Site
    behind_proxy: Site

    trace: Path

    def traces_of_evil(self) -> str:
        """Return what planted PHP has left behind, which must be nothing."""
        evil = self.trace / "evil"
        return evil.read_text() if evil.exists() else ""


@pytest.fixture(scope="module")
def rules(
    engine: docker.DockerClient, debian_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rules]:
    folder = tmp_path_factory.mktemp("rules")
    pictures = {
        "/var/www/html/docroot/media/images": _written(folder / "uploads", UPLOADS),
        "/var/www/html/seed/media/images": _written(folder / "seed", SHARED),
    }
    trace = folder / "trace"
    trace.mkdir()
    # Any container's uid 33 may write here.
    trace.chmod(0o777)
    builds = Builds(engine, debian_image)
    try:
        images = builds.images(builds.code(probe_tree(folder / "tree", {**STATIC, **HIDDEN})))
        with containers(engine) as made:
            yield _start(made, images, pictures, trace)
    finally:
        builds.close()


def _written(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    # Readable for uid 33 of the containers, whatever this process's umask is.
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def _start(
    made: Containers, images: dict[str, str], pictures: Mapping[str, Path], trace: Path
) -> Rules:
    mount = {str(path): {"bind": place, "mode": "ro"} for place, path in pictures.items()}
    sites = [
        start_site(
            made,
            images,
            nginx={"volumes": mount, "environment": {"NGINX_TRUSTED_PROXIES": proxies, **more}},
            fpm={"volumes": {**mount, str(trace): {"bind": "/trace", "mode": "rw"}}},
        )
        for proxies, more in (
            ("", {}),
            ("172.16.0.0/12, 192.168.0.0/16 10.0.0.0/8", {"NGINX_HSTS_MAX_AGE": "300"}),
        )
    ]
    return Rules(*sites, trace)


PHP = [
    "/",
    "/index.php",
    "/index.php?page=1",
    "/s/login",
    "/s/dashboard?tmpl=list",
    "/s/themes/export/blank",
    "/s/plugins/config/Hubspot",
    "/s/assets/new",
    "/api/contacts",
    "/oauth/v2/token",
    "/mtc.js",
    "/mtc",
    "/mtracking.gif?d=abc",
    "/form/generate.js?id=1",
    "/form/submit?formId=1",
    "/email/5f3c.gif",
    "/email/unsubscribe/abc/jane@example.php",
    "/focus/1.js",
    "/focus/1/viewpixel.gif",
    "/plugin/Gmail/tracking.gif",
    "/plugins/integrations/authcallback/Hubspot?code=1",
    "/plugins/integrations/authstatus/Hubspot",
    "/saml/metadata.xml",
    "/OneSignalSDKWorker.js",
    "/manifest.json",
    "/social/generate/signup.js",
    "/asset/12:offer.pdf",
    "/asset/12:notes.php",
    "/r/abc?ct=%2Fs%2F..%2Fx",
    "/a-landing-page",
    "/a.landing.page",
    "/installer",
    # Aliases of pages that are names of folders, too; the folders lie in the tree.
    *(f"/{name}" for name in FOLDERS),
    "/Upgrade?utm_source=x",
    "/upgrades",
    "/s/./login",
    "//s//login",
    "/%73/login",
]
SERVED = [
    ("/media/css/app.css", CSS.encode()),
    ("/media/css/app.css?v3f9a1b2c", CSS.encode()),
    ("/media/./css/app.css", CSS.encode()),
    ("/media/css/app.3f9a1b2c.css", CSS.encode()),
    ("/media/js/app.js", b"js"),
    ("/media/libraries/ckeditor/ckeditor.js", b"js"),
    ("/app/assets/images/favicon.ico", b"ico"),
    ("/app/bundles/CoreBundle/Assets/images/avatar.png", b"png"),
    ("/plugins/GrapesJsBuilderBundle/Assets/library/js/dist/builder.js", b"js"),
    ("/themes/blank/thumbnail.png", b"png"),
    ("/assets/build/main.js", b"js"),
    ("/favicon.ico", b"ico"),
    ("/robots.txt", b"User-agent: *"),
    ("/media/images/photo.png", PIXEL),
    ("/media/images/sub/photo%20two.jpeg", PIXEL),
    ("/media/images/drawing.svg", UPLOADS["drawing.svg"]),
    # The file manager's thumbnails.
    ("/media/images/.tmb/l1_cGhvdG8.png", PIXEL),
    # Served as an image, byte by byte: a name ending in .png is never run.
    ("/media/images/evil.png", EVIL.encode()),
    # The release's own image, which the volume hides in the web root.
    ("/media/images/logo.png", b"release"),
    # The seed's, by the address that they always had, and by the one that the editor shows.
    ("/media/images/old.png", SHARED["old.png"]),
    ("/media/images/seed/old.png", SHARED["old.png"]),
    ("/media/images/seed/photo.png", SHARED["photo.png"]),
    ("/media/images/drawn.svg", SHARED["drawn.svg"]),
    ("/media/images/seed/twice.png", SHARED["seed/twice.png"]),
    ("/media/images/seed/seed/twice.png", SHARED["seed/twice.png"]),
    # The branch's own where the seed has none of that name, and the seed's before the release's.
    ("/media/images/seed/sub/photo%20two.jpeg", PIXEL),
    ("/media/images/badge.png", SHARED["badge.png"]),
]
DENIED = [
    # steps upwards, plain, encoded, encoded twice, mixed
    "/media/css/../../.env",
    "/../etc/passwd",
    "/media/css/..%2f..%2f.env",
    "/media/css/%2e%2e/%2e%2e/.env",
    "/media/css/.%2e/.%2e/.env",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%5c..%5cetc/passwd",
    "/..\\..\\etc\\passwd",
    "/media/css/%252e%252e/%252e%252e/.env",
    "/media/css/..%252f..%252f.env",
    "/media/css/..%25252f.env",
    "/media/images/..%2f..%2findex.php",
    "/media/images/%2e%2e/files/report.pdf",
    "/media/css/app.css%00.php",
    "/email/..%2f..%2fconfig/secret.php",
    "/asset/%2e%2e/upgrade.php",
    # uploads that PHP could run, and other active content
    "/media/images/evil.php",
    "/media/images/evil.PHP",
    "/media/images/evil.%70hp",
    "/media/images/evil.php7",
    "/media/images/evil.phtml",
    "/media/images/evil.phar",
    "/media/images/evil.php.png",
    "/media/images/evil.phar.svg",
    "/media/images/evil.png/.php",
    "/media/images/hollow.php",
    "/media/images/hollow.php.png",
    "/media/images/seed/hollow.php",
    "/media/images/seed/hollow.php.png",
    "/media/images/.shared.png",
    "/media/images/seed/.shared.png",
    "/media/images/seed/missing.png",
    "/media/images/evil.png/index.php",
    "/media/images/evil.png/x.php",
    "/media/images/evil.php/",
    "/media/images/page.html",
    "/media/images/page.svgz",
    "/media/images/notes.txt",
    "/media/images/.hidden.png",
    "/media/images/.tmb/.hidden.png",
    "/media/images/.other/photo.png",
    "/media/images/.htaccess",
    "/media/images/nothing.png",
    "/media/images/",
    "/media/images",
    # files are handed out by Mautic alone
    "/media/files/report.pdf",
    "/media/files/",
    "/media/files",
    # code, wherever it is
    "/upgrade.php",
    "/autoload.php",
    "/autoload.php/s/login",
    "/upgrade.php~",
    "/app/AppKernel.php",
    "/app/config/config.php",
    "/app/bundles/CoreBundle/Config/config.php",
    "/app/bundles/CoreBundle/Assets/js/evil.php",
    "/app/release_metadata.json",
    "/media/css/evil.php",
    "/media/css/evil.php.css",
    "/media/css/evil.php/app.css",
    "/plugins/GrapesJsBuilderBundle/GrapesJsBuilderBundle.php",
    "/plugins/GrapesJsBuilderBundle/Config/config.php",
    "/plugins/GrapesJsBuilderBundle",
    "/plugins/integrations/evil.php",
    "/plugins/integrations/evil.php/authcallback",
    "/themes/blank/evil.php",
    "/themes/blank/html/base.html.twig",
    "/themes/",
    *(f"/{name}/" for name in FOLDERS),
    *(f"/{name}/{file}" for name in FOLDERS for file in ("evil.php", "evil", "x/secret")),
    # dot files and folders that are none of the web's business
    "/.env",
    "/.htaccess",
    "/.git/config",
    "/media/js/.secret.js",
    "/s/.git/HEAD",
    "/config/secret.php",
    "/config/local.php",
    "/vendor/autoload.php",
    "/vendor/",
    "/bin/console",
    "/var/logs/prod.log",
    "/docroot/index.php",
    "/docroot/media/css/app.css",
    "/node_modules/x/index.js",
    "/translations/de.ini",
    "/composer.json",
    "/composer.lock",
    "/package.json",
    "/package-lock.json",
    "/README.md",
    "/dump.sql",
    "/local.php.bak",
    "/index.php.bak",
    "/index.php~",
    "/wp-login.php",
    "/INDEX.PHP",
    "/index.php7",
]


@pytest.mark.parametrize("target", PHP)
def test_a_route_reaches_the_front_controller_and_nothing_else(rules: Rules, target: str) -> None:
    answer = rules.site.request(target)

    assert (answer.status, answer.from_php) == (200, True)
    seen = answer.probe
    assert seen["script"] == "/var/www/html/docroot/index.php"
    assert seen["server"]["SCRIPT_FILENAME"] == "/var/www/html/docroot/index.php"
    assert seen["server"]["REQUEST_URI"] == target
    assert "X-Evil" not in answer.headers
    assert not rules.traces_of_evil()


@pytest.mark.parametrize(("target", "content"), SERVED)
def test_a_static_file_is_served_without_php(rules: Rules, target: str, content: bytes) -> None:
    answer = rules.site.request(target)

    assert (answer.status, answer.from_php) == (200, False)
    assert answer.body == content
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("target", DENIED)
def test_everything_else_is_not_there(rules: Rules, target: str) -> None:
    answer = rules.site.request(target)

    # 400 is nginx' own answer to a path that leaves the root.
    assert answer.status in {400, 404}
    assert not answer.from_php
    assert "X-Evil" not in answer.headers
    assert b"evil" not in answer.body
    assert not rules.traces_of_evil()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("target", ["/media/images/evil.php", "/upgrade.php", "/media/files/x.php"])
def test_the_method_does_not_matter(rules: Rules, method: str, target: str) -> None:
    answer = rules.site.request(target, method=method, body=b"a=1")

    assert answer.status in {404, 405}
    assert not answer.from_php
    assert not rules.traces_of_evil()


def test_the_planted_php_would_leave_a_trace(rules: Rules) -> None:
    """The tests above can fail: run by hand, the same file does what they look for."""
    planted = "/var/www/html/docroot/upgrade.php"

    assert look(rules.site.fpm, "php", planted) == (0, "evil")
    assert set(rules.traces_of_evil().splitlines()) == {planted}
    (rules.trace / "evil").unlink()


def test_php_fpm_refuses_other_extensions_even_when_asked_directly(rules: Rules) -> None:
    """The second lock: security.limit_extensions, should nginx ever name another file."""
    script = (
        "$s = stream_socket_client('tcp://127.0.0.1:9000');"
        "$p = fn ($k, $v) => chr(strlen($k)).chr(strlen($v)).$k.$v;"
        "$f = '/var/www/html/docroot/media/images/evil.png';"
        "$b = $p('SCRIPT_FILENAME', $f).$p('REQUEST_METHOD', 'GET');"
        "$r = fn ($t, $c) => pack('CCnnCC', 1, $t, 1, strlen($c), 0, 0).$c;"
        "fwrite($s, $r(1, pack('nCx5', 1, 0)).$r(4, $b).$r(4, '').$r(5, ''));"
        "echo stream_get_contents($s);"
    )
    _, said = look(rules.site.fpm, "php", "-r", script)

    assert "Status: 403" in said
    assert not rules.traces_of_evil()


def test_the_old_front_controller_url_is_redirected(rules: Rules) -> None:
    answer = rules.site.request("/index.php/s/login?a=1")

    assert (answer.status, answer.headers["Location"]) == (301, "/s/login?a=1")


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "Client-IP": "6.6.6.7",
    "X-Forwarded": "6.6.6.8",
    "X-Cluster-Client-IP": "6.6.6.9",
    "Forwarded-For": "6.6.6.10",
    "Forwarded": "for=6.6.6.11;proto=https",
    "X-Real-IP": "6.6.6.12",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Scheme": "https",
    "X-Forwarded-Protocol": "https",
    "X-Forwarded-Ssl": "on",
    "Front-End-Https": "on",
    "X-Original-URL": "/s/users",
    "Proxy": "http://evil.example",
}


def test_nothing_a_stranger_says_about_himself_is_believed(rules: Rules) -> None:
    answer = rules.site.request("/s/login", FORGED)

    seen = answer.probe["server"]
    assert "6.6.6." not in str(seen)
    assert "evil.example" not in str(seen)
    assert seen["HTTP_X_FORWARDED_FOR"] == seen["REMOTE_ADDR"]
    assert (seen["REQUEST_SCHEME"], seen.get("HTTPS", "")) == ("http", "")
    told = {name: value for name, value in seen.items() if name.startswith("HTTP_")}
    assert "https" not in told.values()
    assert "on" not in told.values()
    assert "6666" not in str(seen)
    assert seen["REQUEST_URI"] == "/s/login"
    assert "Strict-Transport-Security" not in answer.headers


def test_a_trusted_proxy_is_believed_about_address_and_scheme(rules: Rules) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}

    answer = rules.behind_proxy.request("/s/login", {**headers, "Client-IP": "6.6.6.7"})

    seen = answer.probe["server"]
    assert seen["REMOTE_ADDR"] == "203.0.113.9"
    assert seen["HTTP_X_FORWARDED_FOR"] == "203.0.113.9"
    assert seen["REQUEST_SCHEME"] == "https"
    assert "6.6.6.7" not in str(seen)
    assert answer.headers["Strict-Transport-Security"] == "max-age=300"


def test_of_a_chain_the_last_address_that_is_no_proxy_counts(rules: Rules) -> None:
    """The first entries of X-Forwarded-For are the client's own words."""
    chain = "6.6.6.6, 203.0.113.9, 10.1.2.3"

    seen = rules.behind_proxy.request("/", {"X-Forwarded-For": chain}).probe["server"]

    assert seen["REMOTE_ADDR"] == "203.0.113.9"


SCHEMES = [
    ({"X-Forwarded-Proto": "https"}, "https"),
    ({"X-Forwarded-Proto": "HTTPS"}, "https"),
    # Of two proxies in a row the second one may add its own word, with and without a blank.
    ({"X-Forwarded-Proto": "https, http"}, "https"),
    ({"X-Forwarded-Proto": "https,http"}, "https"),
    ({"X-Forwarded-Proto": " https , http , http"}, "https"),
    ({"X-Forwarded-Proto": "http, https"}, "http"),
    ({"X-Forwarded-Proto": "http,https"}, "http"),
    ({"X-Forwarded-Proto": "wss"}, "https"),
    ({"X-Forwarded-Proto": "httpsx"}, "http"),
    ({"X-Forwarded-Proto": "x https"}, "http"),
    ({"X-Forwarded-Proto": ", https"}, "http"),
    ({}, "http"),
    # RFC 7239, and its own examples.
    ({"Forwarded": "proto=https"}, "https"),
    ({"Forwarded": "for=192.0.2.60;proto=https;by=203.0.113.43"}, "https"),
    ({"Forwarded": 'For="[2001:db8:cafe::17]:4711";Proto="HTTPS"; host="shop.example"'}, "https"),
    ({"Forwarded": "for=192.0.2.43;proto=https, for=198.51.100.17;proto=http"}, "https"),
    ({"Forwarded": "for=192.0.2.43;proto=http, for=198.51.100.17;proto=https"}, "http"),
    ({"Forwarded": "for=192.0.2.43, for=198.51.100.17;proto=https"}, "http"),
    ({"Forwarded": 'for="_a,b;proto=https";proto=http'}, "http"),
    ({"Forwarded": r'for="_a\";x,;proto=http";proto=https'}, "https"),
    ({"Forwarded": "for=192.0.2.60;notproto=https"}, "http"),
    ({"Forwarded": 'for="' + "a;" * 4000}, "http"),
    # Whoever sends both has passed one of them on.
    ({"X-Forwarded-Proto": "https", "Forwarded": "proto=http"}, "https"),
    ({"X-Forwarded-Proto": "http", "Forwarded": "proto=https"}, "http"),
]


@pytest.mark.parametrize(("headers", "scheme"), SCHEMES, ids=lambda value: str(value)[:60])
def test_the_scheme_is_what_the_first_proxy_saw(
    rules: Rules, headers: dict[str, str], scheme: str
) -> None:
    answer = rules.behind_proxy.request("/s/login", headers)
    seen = answer.probe["server"]
    assert (seen["REQUEST_SCHEME"], seen.get("HTTPS", "")) == (
        (scheme, "on") if scheme == "https" else (scheme, "")
    )
    assert seen["HTTP_X_FORWARDED_PROTO"] == scheme
    assert seen.get("HTTP_FORWARDED", "") == ""
    assert ("Strict-Transport-Security" in answer.headers) == (scheme == "https")
    # Of a stranger nothing of it is believed.
    seen = rules.site.request("/s/login", headers).probe["server"]
    assert (seen["REQUEST_SCHEME"], seen.get("HTTPS", "")) == ("http", "")


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        # Some add the port.
        ("203.0.113.9:51234", "203.0.113.9"),
        ("203.0.113.9:51234, 10.1.2.3:4711", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]:51234", "2001:db8::9"),
        ("203.0.113.9,10.1.2.3", "203.0.113.9"),
    ],
)
def test_an_address_may_come_with_its_port(rules: Rules, chain: str, address: str) -> None:
    seen = rules.behind_proxy.request("/", {"X-Forwarded-For": chain}).probe["server"]
    assert (seen["REMOTE_ADDR"], seen["HTTP_X_FORWARDED_FOR"]) == (address, address)


def test_https_is_not_assumed_behind_a_proxy(rules: Rules) -> None:
    answer = rules.behind_proxy.request("/", {"X-Forwarded-Proto": "http"})

    assert answer.probe["server"]["REQUEST_SCHEME"] == "http"
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("branch.localhost:8080", "branch.localhost:8080"),
        ("branch.localhost", "branch.localhost"),
        ("[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_port_of_the_host_is_kept(rules: Rules, host: str, seen: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rules.site.port, timeout=30)
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()

    assert f'"HTTP_HOST":"{seen}"'.encode() in answer.read()
    connection.close()


@pytest.mark.parametrize(
    "site",
    [
        *("http://branch.localhost", "http://branch.localhost:8080", "http://[::1]:8081"),
        *("http://branch.localhost:443", "https://branch.example", "https://[::1]:8443"),
        *("https://branch.example:80", "https://branch.example:8080", "http://Branch.localhost:80"),
    ],
)
def test_mautic_knows_the_url_that_was_visited(rules: Rules, site: str) -> None:
    scheme, _, host = site.partition("://")
    connection = http.client.HTTPConnection("127.0.0.1", rules.behind_proxy.port, timeout=30)
    connection.request("GET", "/offer?a=1", headers={"Host": host, "X-Forwarded-Proto": scheme})
    seen = json.loads(connection.getresponse().read())["server"]
    connection.close()

    assert _hit_url(seen) == f"{site.removesuffix(':80' if scheme == 'http' else '')}/offer?a=1"
    assert seen["REQUEST_SCHEME"] == scheme
    assert seen["HTTP_HOST"] == host


def _hit_url(server: dict[str, str]) -> str:
    """Return what Mautic stores as a page hit's URL, by the code of PageModel::getPageUrl()."""
    url = "https://" if server.get("HTTPS") == "on" else "http://"
    port = "" if server["SERVER_PORT"] in {"80", "8080", "443"} else f":{server['SERVER_PORT']}"
    return f"{url}{server['SERVER_NAME']}{port}{server['REQUEST_URI']}"


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/media/css/app.css", "public, max-age=86400"),
        ("/media/css/app.css?v3f9a1b2c", "public, max-age=31536000, immutable"),
        ("/media/css/app.3f9a1b2c.css", "public, max-age=31536000, immutable"),
        ("/media/images/photo.png", "public, max-age=3600"),
    ],
)
def test_how_long_a_file_may_be_kept(rules: Rules, target: str, value: str) -> None:
    assert rules.site.request(target).headers["Cache-Control"] == value


def test_static_text_and_pages_are_compressed(rules: Rules) -> None:
    for target in ("/media/css/app.css", "/s/login"):
        answer = rules.site.request(target, {"Accept-Encoding": "gzip"})

        assert answer.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert len(gzip.decompress(answer.body)) > len(answer.body)


def test_an_unchanged_file_is_not_sent_again(rules: Rules) -> None:
    etag = rules.site.request("/media/css/app.css").headers["ETag"]

    answer = rules.site.request("/media/css/app.css", {"If-None-Match": etag})

    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("name", ["drawing.svg", "drawn.svg", "seed/drawing.svg"])
def test_an_uploaded_drawing_cannot_run_scripts(rules: Rules, name: str) -> None:
    answer = rules.site.request(f"/media/images/{name}")

    assert answer.status == 200

    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("target", "value"), [("/s/login", "SAMEORIGIN"), ("/a-landing-page", None), ("/sales", None)]
)
def test_only_the_administration_may_not_be_framed(
    rules: Rules, target: str, value: str | None
) -> None:
    assert rules.site.request(target).headers["X-Frame-Options"] == value


def test_a_connection_serves_several_requests(rules: Rules) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rules.site.port, timeout=30)
    connection.request("GET", "/media/js/app.js")
    first = connection.getresponse()
    first.read()
    connected = connection.sock
    connection.request("GET", "/s/login")

    assert connection.getresponse().status == 200
    assert connection.sock is connected is not None
    connection.close()


def test_the_probes_have_a_port_of_their_own(rules: Rules) -> None:
    assert rules.site.probe_request("/healthz").body == b"ok\n"
    assert rules.site.probe_request("/fpm-ping").body == b"pong"
    assert "listen queue" in rules.site.inner_request("/fpm-status")
    assert rules.site.probe_request("/s/login").status == 404
    # On the public port these are pages of Mautic, which knows none of that name.
    assert rules.site.request("/fpm-status").from_php


def test_the_log_has_time_and_peer_but_no_query(rules: Rules) -> None:
    rules.behind_proxy.request("/s/logged?token=hush", {"X-Forwarded-For": "203.0.113.77"})

    def logged() -> list[str]:
        said = logs(rules.behind_proxy.nginx).splitlines()
        return [line for line in said if "/s/logged" in line]

    (line,) = until("line in the log", logged)
    assert line.startswith("203.0.113.77 ")
    assert "hush" not in line
    assert "peer=1" in line


def test_nothing_tells_the_versions(rules: Rules) -> None:
    answer = rules.site.request("/s/login")

    assert answer.headers["Server"] == "nginx"
    assert "X-Powered-By" not in answer.headers


def test_the_nginx_image_holds_no_code(rules: Rules) -> None:
    folders = ("/var/www/html/docroot", "/var/www/html/release")
    _, listing = look(rules.site.nginx, "find", *folders, "-xdev", "-type", "f")

    assert "docroot/media/css/app.css" in listing
    for piece in (".php", ".twig", ".env", ".secret", "composer", "/files/"):
        assert piece not in listing

"""What a stranger gets of a preview and of production: the door, and the limits of each client."""

from __future__ import annotations

import base64
import itertools
import json
import re
import smtplib
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from tasks.core.door import MAIL_PATH, USER, cookie, link
from tests.integration.image_support import (
    HARDENED,
    Answer,
    Builds,
    Containers,
    Site,
    containers,
    look,
    probe_tree,
    start_site,
    until,
)
from tests.support.images import mailpit

PASSWORD = "A-word_of%20 its'own"
PASSWORD_FILE = "/run/secrets/mautic/door_password"
DOMAIN = "feature-x.svc.example.internal"
MEBIBYTE = 1024 * 1024
GUESSES = 30
PROXIES = "172.16.0.0/12 192.168.0.0/16 10.0.0.0/8"
STATIC = {
    "docroot/media/css/app.css": "body { color: teal }",
    "docroot/media/js/app.js": "js",
    "docroot/media/js/mautic-form.js": "js",
    "docroot/media/images/logo.png": "release",
    "docroot/app/assets/images/favicon.ico": "ico",
    "docroot/app/bundles/CoreBundle/Assets/images/avatar.png": "png",
    "docroot/plugins/AcmeBundle/Assets/acme.js": "js",
    "docroot/themes/blank/thumbnail.png": "png",
    "docroot/assets/build/main.js": "js",
    "docroot/favicon.ico": "ico",
    "docroot/robots.txt": "User-agent: *",
}


@dataclass(frozen=True)
class Sites:
    """Sites of the same images, behind a proxy that is believed, and one that believes nobody."""

    preview: Site
    """With the door."""
    exempting: Site
    """With the door, and every exemption."""
    production: Site
    balanced: Site
    """A preview whose load balancer asks for the login."""
    direct: Site
    """Production without a proxy, with small limits."""
    catcher: Container
    """What catches the mails of all of them; only the preview is told its right name."""


@pytest.fixture(scope="module")
def sites(
    engine: docker.DockerClient, debian_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("door")
    builds = Builds(engine, debian_image)
    try:
        images = builds.images(builds.code(probe_tree(folder / "tree", STATIC)))
        with containers(engine) as made:
            yield _start(engine, made, images, _secrets(folder / "secrets"))
    finally:
        builds.close()


def _secrets(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the mount of a folder with the password; readable for the containers' uid 33."""
    folder.mkdir()
    (folder / "door_password").write_text(f"{PASSWORD}\n")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return {str(folder): {"bind": str(Path(PASSWORD_FILE).parent), "mode": "ro"}}


def _start(
    engine: docker.DockerClient,
    made: Containers,
    images: Mapping[str, str],
    secrets: Mapping[str, Mapping[str, str]],
) -> Sites:
    network = made.network()

    def start(**variables: str) -> Site:
        nginx = {"environment": variables, "volumes": secrets}
        # As in a pod, a name without a dot is one of the namespace.
        nginx |= {"network": network, "dns_search": [DOMAIN]}
        return start_site(made, images, nginx=nginx)

    def catch_mail() -> Container:
        options = {"user": "65534:65534", "tmpfs": {"/tmp": ""}, **HARDENED}
        variables = {"MP_WEBROOT": MAIL_PATH, "MP_MAX_MESSAGES": "3"}
        ports = {"1025/tcp": ("127.0.0.1", None)}
        catcher = made.start(mailpit(engine), environment=variables, ports=ports, **options)
        engine.networks.get(network).connect(catcher, aliases=[f"mail.{DOMAIN}"])
        until("mail catcher", lambda: look(catcher, "/mailpit", "readyz")[0] == 0)
        catcher.reload()
        return catcher

    door = {"NGINX_DOOR_PASSWORD_FILE": PASSWORD_FILE, "NGINX_NOINDEX": "on"}
    proxied = {"NGINX_TRUSTED_PROXIES": PROXIES}
    small = {
        "NGINX_CLIENT_RATE": "1r/m",
        "NGINX_CLIENT_BURST": "40",
        "NGINX_CLIENT_MAX_BODIES": "8",
    }
    mail = {"NGINX_MAIL_ADDRESS": "mail:8025"}
    exempting = {"NGINX_DOOR_EXEMPT": "forms tracking assets api", "NGINX_LOGIN_BURST": "3"}
    return Sites(
        preview=start(**door, **proxied, **mail),
        exempting=start(**door, **proxied, **exempting, NGINX_MAIL_ADDRESS="nobody.invalid:8025"),
        production=start(**proxied, **mail, NGINX_HSTS_MAX_AGE="31536000"),
        balanced=start(**proxied, **mail, NGINX_NOINDEX="on"),
        direct=start(**small),
        # Last: nginx starts without it.
        catcher=catch_mail(),
    )


_ADDRESSES = itertools.count(1)


def client() -> dict[str, str]:
    """Return the header of a client that has never been here, as a proxy tells it."""
    number = next(_ADDRESSES)
    return {"X-Forwarded-For": f"203.0.{113 + number // 250}.{1 + number % 250}"}


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of an HTTP Basic login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


RIGHT = basic(USER, PASSWORD)
WRONG = basic(USER, PASSWORD[:-1])
COOKIE = {"Cookie": cookie(PASSWORD)}
MAILS = f"{MAIL_PATH}api/v1/messages"
EVENTS = f"{MAIL_PATH}api/events"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


# -- who sees what ---------------------------------------------------------------------------------

ROUTES = [
    *("/", "/index.php", "/index.php?page=1", "/s", "/s/login", "/s/dashboard?tmpl=list"),
    *("/s/contacts", "/s/themes/export/blank", "/s/assets/new", "/s/./login", "//s//login"),
    *("/%73/login", "/api/contacts", "/api/v2/contacts", "/oauth/v2/token", "/mtc.js", "/mtc"),
    *("/mtc/event", "/mtracking.gif?d=abc", "/form/generate.js?id=1", "/form/submit?formId=1"),
    *("/form/1", "/email/5f3c.gif", "/email/view/5f3c", "/email/unsubscribe/abc/jane@example.org"),
    *("/focus/1.js", "/focus/1/viewpixel.gif", "/plugin/Gmail/tracking.gif", "/dwc/slot"),
    *("/plugins/integrations/authcallback/Hubspot?code=1", "/saml/metadata.xml", "/passwordreset"),
    *("/manifest.json", "/asset/12:offer.pdf", "/r/abc?ct=1", "/page/preview/1", "/a-landing-page"),
    *("/installer", "/healthy", "/healthz/x", "/efconnect", "/s/_uploader/asset/upload"),
]
FILES = [
    *("/media/css/app.css", "/media/css/app.css?v3f9a1b2c", "/media/js/app.js", "/favicon.ico"),
    *("/media/images/logo.png", "/app/assets/images/favicon.ico", "/themes/blank/thumbnail.png"),
    *("/app/bundles/CoreBundle/Assets/images/avatar.png", "/plugins/AcmeBundle/Assets/acme.js"),
    *("/assets/build/main.js", "/robots.txt"),
]
URLS = [
    # target, and the statuses for a stranger, for who has the password, and of production
    *((target, 401, 200, 200) for target in (*ROUTES, *FILES)),
    *((target, 404, 404, 404) for target in ("/.env", "/s/.git/HEAD", "/upgrade.php", "/vendor/x")),
    ("/media/files/report.pdf", 404, 404, 404),
    ("/s/..%2fhealthz", 404, 404, 404),
    # Only what everybody knows: that nginx runs, and how bookmarks of old are written now.
    ("/healthz", 200, 200, 200),
    ("/index.php/s/login", 301, 301, 301),
]


def test_a_stranger_sees_nothing_of_a_preview_and_who_has_the_password_everything(
    sites: Sites,
) -> None:
    assert len(URLS) >= 60
    roles = [(sites.preview, {}), (sites.preview, COOKIE), (sites.production, {})]
    wrong = []
    for target, *statuses in URLS:
        for (site, headers), status in zip(roles, statuses, strict=True):
            answer = site.request(target, {**client(), **headers})
            through = answer.from_php and target in ROUTES
            if answer.status != status or (status == 401 and (answer.from_php or through)):
                wrong.append((target, status, answer.status))
            indexed = answer.headers["X-Robots-Tag"]
            if indexed != (None if site is sites.production else "noindex, nofollow"):
                wrong.append((target, "X-Robots-Tag", indexed))
    assert wrong == []


EXEMPT = [
    *("/form/submit?formId=1", "/form/generate.js?id=1", "/media/js/mautic-form.js", "/mtc.js"),
    *("/mtc", "/mtc/event", "/mtracking.gif?d=1", "/r/abc", "/email/5f3c.gif", "/email/view/5f3c"),
    *("/focus/1.js", "/plugin/Gmail/tracking.gif", "/dwc/slot", "/dwc?x=1", "/asset/12:offer.pdf"),
    *(
        "/media/images/logo.png",
        "/media/css/app.css",
        "/themes/blank/thumbnail.png",
        "/api/contacts",
    ),
    *("/oauth/v2/token", "/plugins/AcmeBundle/Assets/acme.js", "/redirect/abc", "/mailer/callback"),
]
CLOSED = [
    *("/", "/s/login", "/s/dashboard", "/a-landing-page", "/formula", "/form", "/mtcx", "/apis"),
    *(
        "/%66orm/submit",
        "//form/submit",
        "/./form/submit",
        "/email/preview/1",
        "/emails",
        "/rabbit",
    ),
    *("/s/form/submit", "/index.php?/form/submit", "/plugins/integrations/authcallback/X", "/r"),
    *("/passwordreset", "/api", "/?x=/form/submit", "/FORM/submit", "/s/assets/new"),
]


@pytest.mark.parametrize(("targets", "status"), [(EXEMPT, 200), (CLOSED, 401)])
def test_what_outsiders_must_reach_is_exempt_by_setting(
    sites: Sites, targets: list[str], status: int
) -> None:
    answers = {each: sites.exempting.request(each, client()).status for each in targets}

    assert answers == dict.fromkeys(targets, status)


@pytest.mark.parametrize(
    "target",
    [
        *("/form/../s/login", "/form/..%2fs/login", "/r/%2e%2e/s/login"),
        # Mautic reads its routes decoded; of /email/ this one alone is not exempt.
        *(
            "/email/%70review/1",
            "/email/p%72eview/1?x=1",
            "/email//preview/1",
            "/email/./preview/1",
        ),
    ],
)
def test_no_step_leads_from_what_is_exempt_to_what_is_not(sites: Sites, target: str) -> None:
    assert sites.exempting.request(target, client()).status in {400, 404}


def test_nginx_leaves_the_login_to_a_load_balancer_and_believes_nobody_who_came(
    sites: Sites,
) -> None:
    told = {f"X-Amzn-Oidc-{name}": "planted" for name in ("Accesstoken", "Data", "Identity")}
    answer = sites.balanced.request("/s/login", {**client(), **told})
    assert (answer.status, answer.from_php) == (200, True)
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert b"planted" not in answer.body
    assert b"planted" in sites.balanced.request("/", {**client(), "X-Other": "planted"}).body
    # No spelling leads from a prefix that is exempt there to what is not.
    assert sites.balanced.request("/email/%70review/1", client()).status == 404
    assert sites.balanced.request("/email/preview/1", client()).status == 200
    assert sites.balanced.request("/.door?ticket=x", client()).status == 404


# -- the password, and what it opens ---------------------------------------------------------------


def test_the_password_is_asked_for_once(sites: Sites) -> None:
    asked = sites.preview.request("/s/login", client())
    assert asked.headers["WWW-Authenticate"] == 'Basic realm="Preview"'

    answer = sites.preview.request("/s/login", {**client(), **RIGHT})
    assert (answer.status, answer.from_php) == (200, True)
    given = answer.headers["Set-Cookie"]
    assert given == f"{cookie(PASSWORD)}; Path=/; HttpOnly; SameSite=Lax"
    https = {**client(), **RIGHT, "X-Forwarded-Proto": "https"}
    assert sites.preview.request("/", https).headers["Set-Cookie"] == f"{given}; Secure"

    again = sites.preview.request("/s/login", {**client(), "Cookie": given.partition(";")[0]})
    assert again.status == 200
    assert again.headers["Set-Cookie"] is None


@pytest.mark.parametrize("headers", [WRONG, basic("admin", PASSWORD), basic(USER, ""), {}])
def test_whoever_does_not_know_it_gets_no_cookie(sites: Sites, headers: dict[str, str]) -> None:
    # The last ones are answered before the door, or by it.
    for target in ("/s/login", "/media/css/app.css", "/healthz", "/index.php/s", "/.env", "/.door"):
        answer = sites.preview.request(target, {**client(), **headers})
        assert answer.headers["Set-Cookie"] is None, target
        assert not answer.from_php
    # Here nothing is asked, so nothing is checked either.
    exempt = sites.exempting.request("/form/1", {**client(), **headers})
    assert (exempt.status, exempt.headers["Set-Cookie"]) == (200, None)


@pytest.mark.parametrize(
    "forged",
    ["", "x", cookie("another").partition("=")[2], "." * 22, f"{'A' * 22}.9999999999", "none"],
)
def test_a_cookie_of_ones_own_opens_nothing(sites: Sites, forged: str) -> None:
    headers = {**client(), "Cookie": f"mautic_door={forged}"}

    assert sites.preview.request("/s/login", headers).status == 401


def test_mautic_s_own_logins_pass_the_door_and_the_door_s_is_none_of_them(sites: Sites) -> None:
    own = basic("ada", "hers")
    seen = sites.preview.request("/api/contacts", {**client(), **own, **COOKIE}).probe["server"]
    assert seen["HTTP_AUTHORIZATION"] == own["Authorization"]
    # Without the cookie it is taken for the door's.
    assert sites.preview.request("/api/contacts", {**client(), **own}).status == 401
    assert sites.exempting.request("/api/contacts", {**client(), **own}).status == 200

    for headers in (RIGHT, {**RIGHT, **COOKIE}):
        seen = sites.preview.request("/api/contacts", {**client(), **headers}).probe["server"]
        assert seen.get("HTTP_AUTHORIZATION", "") == ""
        assert seen.get("REMOTE_USER", "") == ""
    bearer = {"Authorization": "Bearer abc"}
    for site, more in ((sites.production, {}), (sites.preview, COOKIE)):
        seen = site.request("/api/contacts", {**client(), **bearer, **more}).probe["server"]
        assert seen["HTTP_AUTHORIZATION"] == "Bearer abc"


def test_a_link_opens_until_its_time_is_over(sites: Sites) -> None:
    def follow(until: int, password: str = PASSWORD) -> Answer:
        target = link("http://x", password, until).removeprefix("http://x")
        return sites.preview.request(target, client())

    now = int(time.time())
    answer = follow(now + 60)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    ticket = answer.headers["Set-Cookie"].partition(";")[0]
    opened = sites.preview.request("/s/login", {**client(), "Cookie": ticket})
    assert (opened.status, opened.headers["Set-Cookie"]) == (200, None)

    for refused in (follow(now - 1), follow(now + 60, "another")):
        assert (refused.status, refused.headers["Set-Cookie"]) == (403, None)
    longer = re.sub(r"\d+$", str(now + 9999), ticket)
    expired = link("", PASSWORD, now - 1).partition("=")[2]
    for forged in (longer, f"mautic_door={expired}"):
        assert sites.preview.request("/s/login", {**client(), "Cookie": forged}).status == 401
    assert sites.production.request("/.door?ticket=x", client()).status == 404


def test_the_password_is_in_no_argument_and_no_variable(sites: Sites) -> None:
    sites.preview.nginx.reload()
    assert PASSWORD not in str(sites.preview.nginx.attrs)
    _, processes = look(sites.preview.nginx, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert PASSWORD not in processes
    _, modes = look(sites.preview.nginx, "find", "/tmp/nginx", "-type", "f", "-perm", "/077")
    assert modes == ""


# -- the mails -------------------------------------------------------------------------------------


def send_mail(sites: Sites, subject: str, html: str = "<p>Hello</p>") -> None:
    """Have the catcher take a mail as Mautic sends it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "us@example.com", "jane@example.org", subject
    mail.set_content("Hello")
    mail.add_alternative(html, subtype="html")
    port = int(sites.catcher.ports["1025/tcp"][0]["HostPort"])
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as smtp:
        smtp.send_message(mail)


def mails(sites: Sites) -> dict[str, str]:
    """Return the ids of the mails that the preview shows, by subject."""
    answer = sites.preview.request(MAILS, {**client(), **COOKIE})
    assert answer.status == 200, answer.body
    return {each["Subject"]: each["ID"] for each in json.loads(answer.body)["messages"]}


@pytest.mark.parametrize(
    "target",
    [
        *("/_mail", "/_mail/", MAILS, "/_mail/view/latest", "//_mail/api/v1/messages"),
        *("/%5fmail/api/v1/messages", "/./_mail/", "/_mail/?x=/form/submit"),
    ],
)
def test_a_stranger_sees_no_mail_and_where_there_is_no_door_nobody_does(
    sites: Sites, target: str
) -> None:
    send_mail(sites, "for few")
    statuses = {301} if target == "/_mail" else {401}
    for site in (sites.preview, sites.exempting):
        answer = site.request(target, client())
        assert answer.status in statuses
        assert b"for few" not in answer.body
    statuses = {301} if target == "/_mail" else {404}
    for site in (sites.production, sites.balanced):
        for headers in ({}, COOKIE, RIGHT):
            answer = site.request(target, {**client(), **headers})
            assert answer.status in statuses
            assert not answer.from_php


def test_no_exemption_leads_to_the_mails(sites: Sites) -> None:
    for prefix in ("/form", "/api", "/email", "/r", "/media"):
        for step in ("/../_mail/", "/%2e%2e/_mail/", "/..%2f_mail/"):
            answer = sites.exempting.request(f"{prefix}{step}", client())
            assert answer.status in {400, 404}, (prefix, step)


def test_whoever_has_opened_the_door_reads_the_mails(sites: Sites) -> None:
    send_mail(sites, "welcome", "<script>alert(1)</script>")
    page = sites.preview.request("/_mail/", {**client(), **COOKIE})
    assert (page.status, page.from_php) == (200, False)
    assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert page.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert page.headers["Content-Security-Policy"] is None
    assert page.headers.get_all("Referrer-Policy") == ["strict-origin-when-cross-origin"]

    key = mails(sites)["welcome"]
    # What it shows may have been written by anybody: on this site it runs nothing.
    for target in (f"view/{key}.html", f"%76iew/{key}.html", f"api/v1/message/{key}"):
        answer = sites.preview.request(f"{MAIL_PATH}{target}", {**client(), **COOKIE})
        assert answer.headers["Content-Security-Policy"] == "sandbox"
        if not target.startswith("%"):
            assert (answer.status, b"alert(1)" in answer.body) == (200, True), target


def test_the_catcher_learns_nothing_of_what_opens_the_door_or_mautic(sites: Sites) -> None:
    headers = {"Cookie": f"{COOKIE['Cookie']}; mautic_session=hush", **basic("ada", "hush")}
    target = "/_mail/api/v1/seen"
    answer = sites.preview.request(target, {**client(), **headers, "Host": "x.example.com:8443"})
    assert answer.status == 200
    seen = json.loads(answer.body)
    assert (seen["Host"], seen.get("Cookie"), seen.get("Authorization")) == (
        "x.example.com:8443",
        None,
        None,
    )
    # The first page may be this one.
    first = sites.preview.request("/_mail/", {**client(), **RIGHT})
    assert (first.status, first.headers["Set-Cookie"].partition(";")[0]) == (200, cookie(PASSWORD))


def test_a_page_of_another_site_makes_the_catcher_do_nothing(sites: Sites) -> None:
    send_mail(sites, "kept")
    proxied = {**COOKIE, "Host": "x.example.com", "X-Forwarded-Proto": "https"}
    for origin in (
        *("https://y.example.com", "https://x.example.com.evil.org", "https://xaexample.com"),
        *("https://x.example.com:8443", "http://x.example.com", "null"),
        "https://x.example.com https://",
    ):
        foreign = {**client(), **proxied, "Origin": origin}
        answer = sites.preview.request(MAILS, foreign, method="DELETE")
        assert answer.status == 403, origin
        assert sites.preview.request(EVENTS, {**foreign, **UPGRADE}).status == 403
    assert "kept" in mails(sites)

    own = {**client(), **proxied, "Origin": "https://x.example.com"}
    assert sites.preview.request(MAILS, own, method="DELETE").status == 200
    assert mails(sites) == {}


def test_new_mails_show_by_themselves(sites: Sites) -> None:
    headers = {"Host": "x.example.com", "Origin": "http://x.example.com", **UPGRADE}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **COOKIE}.items())
    with socket.create_connection(("127.0.0.1", sites.preview.port), timeout=60) as connection:
        connection.sendall(f"GET {EVENTS} HTTP/1.1\r\n{lines}\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        for number in range(2):
            send_mail(sites, f"news {number}")
            assert connection.recv(100) == b"\x81\x03new"


def test_a_site_whose_catcher_is_away_goes_on(sites: Sites) -> None:
    for target in ("/_mail/", MAILS):
        assert sites.exempting.request(target, {**client(), **COOKIE}).status == 502
    assert sites.exempting.request("/s/login", {**client(), **COOKIE}).status == 200


def test_the_stand_in_for_mailpit_takes_its_variables(sites: Sites) -> None:
    for number in range(5):
        send_mail(sites, f"number {number}")
    # MP_MAX_MESSAGES, below MP_WEBROOT.
    assert set(mails(sites)) == {"number 2", "number 3", "number 4"}


# -- guesses ---------------------------------------------------------------------------------------


def test_thirty_wrong_passwords_in_a_row_are_slowed(sites: Sites) -> None:
    me = client()
    guesses = [sites.preview.request("/s/login", {**me, **WRONG}).status for _ in range(GUESSES)]

    # One, as many more as are let through at once, and what comes in while they run.
    assert guesses.count(401) <= 15
    assert guesses.count(429) >= 15
    assert sites.preview.request("/s/login", {**me, **RIGHT}).status == 429
    assert sites.preview.request("/s/login", {**me, **COOKIE}).status == 200
    assert sites.preview.request("/s/login", {**client(), **RIGHT}).status == 200


@pytest.mark.parametrize("target", ["/s/login_check", "/s/%6cogin_check", "/passwordreset?x=1"])
def test_thirty_logins_in_a_row_are_slowed(sites: Sites, target: str) -> None:
    me = client()
    statuses = [
        sites.production.request(target, me, method="POST", body=b"_password=x").status
        for _ in range(GUESSES)
    ]

    assert statuses.count(200) <= 15
    assert statuses.count(429) >= 15
    assert sites.production.request("/s/login", me).status == 200
    assert sites.production.request(target, client(), method="POST", body=b"").status == 200


def test_a_client_is_whoever_a_trusted_peer_says_and_nobody_else_s_word_counts(
    sites: Sites,
) -> None:
    def login(site: Site, address: str) -> int:
        headers = {"X-Forwarded-For": address}
        return site.request("/s/login_check", headers, method="POST", body=b"x").status

    forged = [login(sites.direct, f"198.51.100.{number}") for number in range(1, GUESSES)]
    assert forged.count(429) >= 14
    # Of IPv6 a client has a whole network.
    network = [login(sites.production, f"2001:db8:7:8::{number}") for number in range(1, GUESSES)]
    assert network.count(429) >= 14
    assert login(sites.production, "2001:db8:7:9::1") == 200


# -- what a request may cost -----------------------------------------------------------------------


def half_sent(site: Site, target: str, size: int, sent: int) -> socket.socket:
    """Send a request's header and a part of its body; return the open connection."""
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=60)
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    try:
        connection.sendall(head.encode())
        for _ in range(sent // MEBIBYTE):
            connection.sendall(b"x" * MEBIBYTE)
    except (ConnectionError, TimeoutError):
        pass  # refused
    return connection


def disk_bytes(site: Site) -> int:
    """Return what lies in nginx' temporary files, those without a name as well."""
    _, said = look(site.nginx, "df", "--output=used", "-B1", "/tmp")
    return int(said.split()[-1])


@pytest.mark.parametrize(
    "target", ["/", "/form/submit", "/s/assets/new", "/s/_uploader/asset/upload"]
)
def test_six_half_sent_requests_hold_a_small_part_of_the_disk(sites: Sites, target: str) -> None:
    before = disk_bytes(sites.production)
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(half_sent(sites.production, target, 100 * MEBIBYTE, 20 * MEBIBYTE))
        time.sleep(0.5)
        large = disk_bytes(sites.production) - before
        for _ in range(6):
            held.enter_context(half_sent(sites.production, target, 2 * MEBIBYTE, MEBIBYTE))
        time.sleep(0.5)
        small = disk_bytes(sites.production) - before
    assert large <= MEBIBYTE
    assert small <= 13 * MEBIBYTE


def test_bodies_of_unknown_length_end_at_the_same_limit(sites: Sites) -> None:
    before = disk_bytes(sites.production)
    with socket.create_connection(("127.0.0.1", sites.production.port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            connection.sendall(b"100000\r\n" + b"x" * MEBIBYTE + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        assert disk_bytes(sites.production) - before <= 3 * MEBIBYTE


def test_files_are_for_users_of_mautic(sites: Sites) -> None:
    body = b"x" * (5 * MEBIBYTE)
    user = {**client(), "Cookie": "mautic_session=1"}
    for target in ("/s/_uploader/asset/upload", "/efconnect", "/s/contacts/import/new/1"):
        answer = sites.production.request(target, user, method="POST", body=body)
        assert (answer.status, answer.probe["body_bytes"]) == (200, len(body)), target
        assert answer.probe["server"]["REQUEST_METHOD"] == "POST"
        assert answer.probe["server"]["REQUEST_URI"] == target
        stranger = sites.production.request(target, client(), method="POST", body=b"x")
        assert (stranger.status, stranger.headers["Location"]) == (302, "/s/login")
        assert sites.production.request(target, client()).from_php
    # Anywhere else a user's are small, too.
    assert sites.production.request("/", user, method="POST", body=b"").status == 200
    half_sent(sites.production, "/form/submit", 5 * MEBIBYTE, 0).close()


def test_one_client_gets_a_share_of_the_requests_and_connections(sites: Sites) -> None:
    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(half_sent(sites.direct, "/", 1000, 0))
        time.sleep(0.3)
        assert sites.direct.request("/", method="POST", body=b"x").status == 429
        # Whoever only reads is not counted with them.
        assert sites.direct.request("/").status in {200, 429}
    statuses = [sites.direct.request("/").status for _ in range(50)]
    assert statuses[-1] == 429
    assert sites.direct.request("/healthz").status == 200


# -- what a probe may know -------------------------------------------------------------------------


def test_the_probe_of_a_site_with_a_door_goes_the_whole_way(sites: Sites) -> None:
    answer = sites.preview.probe_request("/ready?x=1")

    assert (answer.status, answer.from_php) == (200, True)
    seen = answer.probe["server"]
    assert (seen["REQUEST_URI"], seen.get("QUERY_STRING", "")) == ("/s/login", "")
    assert sites.preview.probe_request("/fpm-ping").body == b"pong"


def test_nobody_reads_in_php_fpm_s_status_what_others_ask_for(sites: Sites) -> None:
    sites.production.request("/passwordreset?token=hush", client())
    for target in ("/fpm-status", "/fpm-status?full", "/fpm-status?json&full"):
        assert sites.production.probe_request(target).status == 403
    said = sites.production.inner_request("/fpm-status?full")
    assert "listen queue" in said
    assert "hush" not in said
    assert "request uri" not in said


@pytest.mark.parametrize(
    ("target", "value"),
    [
        *(
            (each, "SAMEORIGIN")
            for each in ("/s", "/s/login", "/%73/login", "//s//login", "/s/./x")
        ),
        *(
            (each, "SAMEORIGIN")
            for each in ("/./s/login", "/%73%2flogin"[:4] + "/login?x=1", "/s?x")
        ),
        *((each, None) for each in ("/a-landing-page", "/sales", "/form/1?next=/s/login", "/x/s/")),
    ],
)
def test_the_administration_may_not_be_framed_however_its_path_is_written(
    sites: Sites, target: str, value: str | None
) -> None:
    answer = sites.production.request(target, client())

    assert (answer.status, answer.headers["X-Frame-Options"]) == (200, value)

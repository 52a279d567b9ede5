"""Being let into a registry: its challenges, the logins of docker, and whose certificates count."""

from __future__ import annotations

import json
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.registry.oci import OciRegistry, RequestLimits, UnreachableError
from tasks.core.errors import RegistryError, SettingsError
from tests.support.controlplane import Pki
from tests.support.registry_standin import (
    DIGEST,
    IDENTITY,
    PASSWORD,
    TOKEN,
    USER,
    RegistryStandin,
    basic,
)

BEARER = 'Bearer realm="REALM",service="s",scope="repository:m/mautic:pull"'
BASIC = 'Basic realm="here, there"'
ONLY_ONCE = RequestLimits(connect=2, read=2, retries=0)

Write = Callable[[dict[str, Any]], None]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the Docker configuration; there is none at first."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    def write(content: dict[str, Any]) -> None:
        (folder / "config.json").write_text(json.dumps(content))

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs the credential helper `test`, which answers this."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def install(answer: str) -> None:
        program = folder / "docker-credential-test"
        (tmp_path / "answer").write_text(answer)
        program.write_text(f"#!/bin/sh\ncat >{tmp_path}/asked\ncat {tmp_path}/answer\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return install


def found(standin: RegistryStandin) -> str | None:
    return OciRegistry(f"{standin.host}/m", ONLY_ONCE).digest("mautic", "1")


# -- challenges -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        (BEARER,),
        (BASIC, BEARER),
        (BEARER, BASIC),
        (f"{BASIC}, {BEARER}",),
        (f"{BEARER}, {BASIC}",),
        (f"Negotiate, {BASIC}", BEARER),
        ('Negotiate oRQwEqADCg==, Digest realm="x", nonce="a=b,c"', BEARER),
        ("bearer service=s,realm=REALM , scope=repository:m/mautic:pull",),
        ('BEARER Realm = "REALM", error="invalid_token"',),
    ],
)
def test_a_token_is_asked_for_wherever_its_challenge_stands(
    headers: tuple[str, ...], config: Write
) -> None:
    with RegistryStandin(headers, f"Bearer {TOKEN}") as standin:
        config({"auths": {standin.host: {"username": USER, "password": PASSWORD}}})
        assert found(standin) == DIGEST
    assert [method for method, _ in standin.asked] == ["GET"]


@pytest.mark.parametrize(
    "headers", [(BASIC,), ("Negotiate", BASIC), ('Bearer scope="x"', BASIC), ("basic",)]
)
def test_a_password_is_sent_where_there_is_no_token_server(
    headers: tuple[str, ...], config: Write
) -> None:
    with RegistryStandin(headers, basic()) as standin:
        config({"auths": {standin.host: {"auth": basic().split()[1]}}})
        assert found(standin) == DIGEST
    assert standin.asked == []


def test_a_password_is_sent_where_the_token_server_gives_none(config: Write) -> None:
    with RegistryStandin((BEARER, BASIC), basic(), token={}) as standin:
        config({"auths": {standin.host: {"auth": basic().split()[1]}}})
        assert found(standin) == DIGEST


def test_a_token_server_is_asked_for_what_the_challenge_says(config: Write) -> None:
    with RegistryStandin((BEARER,), f"Bearer {TOKEN}") as standin:
        config({"auths": {standin.host: {"auth": basic().split()[1]}}})
        found(standin)
    assert standin.asked == [("GET", {"service": "s", "scope": "repository:m/mautic:pull"})]


@pytest.mark.parametrize("headers", [(), ("Negotiate",), ('Digest realm="REALM"',), (",, =",)])
def test_what_no_login_opens_says_to_log_in(headers: tuple[str, ...], config: Write) -> None:
    with RegistryStandin(headers, "never") as standin:
        config({"auths": {standin.host: {"auth": basic().split()[1]}}})
        with pytest.raises(RegistryError, match="refused access") as told:
            found(standin)
    assert f"docker login {standin.host}" in (told.value.hint or "")


# -- logins -----------------------------------------------------------------------------------


def test_an_identity_token_is_exchanged(config: Write) -> None:
    with RegistryStandin((BEARER,), f"Bearer {TOKEN}", token={"access_token": TOKEN}) as standin:
        config({"auths": {standin.host: {"auth": "", "identitytoken": IDENTITY}}})
        assert found(standin) == DIGEST
    ((method, form),) = standin.asked
    assert (method, form["grant_type"], form["service"]) == ("POST", "refresh_token", "s")
    assert form["scope"] == "repository:m/mautic:pull"
    assert form["client_id"]


def test_an_identity_token_that_has_expired_is_not_shown(config: Write) -> None:
    with RegistryStandin((BEARER, BASIC), "never") as standin:
        config({"auths": {standin.host: {"identitytoken": "planted-expired"}}})
        with pytest.raises(RegistryError, match="refused access") as told:
            found(standin)
    assert "planted" not in "\n".join(told.value.lines())


def test_a_token_of_the_registry_s_own_is_sent_as_it_is(config: Write) -> None:
    with RegistryStandin((BEARER,), "Bearer planted-own") as standin:
        config({"auths": {standin.host: {"registrytoken": "planted-own"}}})
        assert found(standin) == DIGEST
    assert standin.asked == []


@pytest.mark.parametrize(
    "entry",
    [
        {"auth": basic().split()[1], "identitytoken": ""},
        {"auth": "", "username": USER, "password": PASSWORD},
        {"username": USER, "password": PASSWORD, "email": ""},
    ],
)
def test_an_empty_value_of_a_login_is_none(entry: dict[str, str], config: Write) -> None:
    with RegistryStandin((BEARER,), f"Bearer {TOKEN}") as standin:
        config({"auths": {f"http://{standin.host}/v2/": entry}})
        assert found(standin) == DIGEST


@pytest.mark.parametrize("where", ["credsStore", "credHelpers"])
@pytest.mark.parametrize(
    ("user", "secret", "method"), [("<token>", IDENTITY, "POST"), (USER, PASSWORD, "GET")]
)
def test_a_helper_may_answer_with_a_token_or_a_password(
    where: str, user: str, secret: str, method: str, config: Write, helper: Callable[[str], None]
) -> None:
    helper(json.dumps({"ServerURL": "x", "Username": user, "Secret": secret}))
    with RegistryStandin((BASIC, BEARER), f"Bearer {TOKEN}") as standin:
        config({where: "test" if where == "credsStore" else {standin.host: "test"}})
        assert found(standin) == DIGEST
    assert [asked for asked, _ in standin.asked] == [method]


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", "{}", '{"Username": "ada"}'])
def test_a_helper_s_answer_that_makes_no_sense_is_told(
    answer: str, config: Write, helper: Callable[[str], None]
) -> None:
    helper(answer)
    with RegistryStandin((BASIC,), basic()) as standin:
        config({"credsStore": "test"})
        with pytest.raises(RegistryError, match="credential store") as told:
            found(standin)
    assert f"docker login {standin.host}" in (told.value.hint or "")


def test_a_helper_that_knows_nobody_leaves_the_file(
    config: Write, helper: Callable[[str], None]
) -> None:
    helper(json.dumps({"Username": "", "Secret": ""}))
    with RegistryStandin((BASIC,), basic()) as standin:
        auths = {standin.host: {"auth": basic().split()[1]}}
        config({"credsStore": "test", "auths": auths})
        assert found(standin) == DIGEST


# -- certificates -----------------------------------------------------------------------------

NAME = "registry.example.org"


@pytest.fixture
def authority(tmp_path: Path) -> Pki:
    """An authority of our own, which has signed for the registry."""
    pki = Pki(tmp_path / "pki")
    pki.issue("server", "server", server=True, names=(NAME,))
    pki.issue("user", "user")
    return pki


@pytest.fixture
def secure(
    authority: Pki, tmp_path: Path, config: Write, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RegistryStandin]:
    """A registry that speaks TLS, by a name that leads to this machine."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    known = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **options: Any) -> Any:
        return known("127.0.0.1" if host == NAME else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.root / "server.crt", authority.root / "server.key")
    with RegistryStandin((BEARER,), f"Bearer {TOKEN}", context=context) as standin:
        config({"auths": {f"{NAME}:{standin.port}": {"auth": basic().split()[1]}}})
        yield standin


def asked_by_tls(standin: RegistryStandin) -> str | None:
    return OciRegistry(f"{NAME}:{standin.port}/m", ONLY_ONCE).digest("mautic", "1")


def test_an_authority_that_nobody_trusts_is_told_once(secure: RegistryStandin) -> None:
    with pytest.raises(UnreachableError, match="certificate verify failed") as told:
        OciRegistry(f"{NAME}:{secure.port}/m").digest("mautic", "1")
    assert f"/etc/docker/certs.d/{NAME}:{secure.port}/ca.crt" in (told.value.hint or "")
    assert secure.tries == 1


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_an_authority_that_a_variable_names_is_trusted(
    variable: str, secure: RegistryStandin, authority: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(authority.root / "ca.crt"))
    assert asked_by_tls(secure) == DIGEST


def test_an_authority_of_the_system_s_store_is_trusted(
    secure: RegistryStandin, authority: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(authority.root / "ca.crt")
    monkeypatch.setattr("tasks.adapters.registry.trust.SYSTEM", ("/nonexistent", store))
    assert asked_by_tls(secure) == DIGEST


def test_an_authority_of_docker_s_folder_is_trusted_for_its_registry_alone(
    secure: RegistryStandin, authority: Pki, tmp_path: Path
) -> None:
    certs = tmp_path / "config" / "docker" / "certs.d"
    (certs / NAME).mkdir(parents=True)
    (certs / NAME / "ca.crt").write_bytes((authority.root / "ca.crt").read_bytes())
    with pytest.raises(UnreachableError):
        asked_by_tls(secure)
    (certs / NAME).rename(certs / f"{NAME}:{secure.port}")
    assert asked_by_tls(secure) == DIGEST


def test_a_certificate_of_the_user_s_own_is_shown_to_its_registry(
    secure: RegistryStandin, authority: Pki, tmp_path: Path
) -> None:
    assert secure.context
    secure.context.verify_mode = ssl.CERT_REQUIRED
    secure.context.load_verify_locations(authority.root / "ca.crt")
    folder = tmp_path / "config" / "docker" / "certs.d" / f"{NAME}:{secure.port}"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes((authority.root / "ca.crt").read_bytes())
    with pytest.raises(UnreachableError):
        asked_by_tls(secure)
    for name, ending in (("client.cert", "crt"), ("client.key", "key")):
        (folder / name).write_bytes((authority.root / f"user.{ending}").read_bytes())
    assert asked_by_tls(secure) == DIGEST


@pytest.mark.parametrize("name", ["ca.crt", "client.cert"])
def test_a_damaged_certificate_of_docker_s_folder_is_named(
    name: str, secure: RegistryStandin, tmp_path: Path
) -> None:
    folder = tmp_path / "config" / "docker" / "certs.d" / f"{NAME}:{secure.port}"
    folder.mkdir(parents=True)
    (folder / name).write_text("no certificate")
    with pytest.raises(SettingsError, match=f"{NAME}:{secure.port} cannot be read"):
        asked_by_tls(secure)


def test_a_store_that_is_not_there_is_told(
    secure: RegistryStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises(UnreachableError, match=r"/nonexistent/ca\.pem"):
        asked_by_tls(secure)

"""What to do when the Docker Engine does not answer, by where it was looked for."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
from pathlib import Path

import pytest

from tasks.adapters.docker.buildx import diagnose
from tasks.adapters.docker.engine import Engine
from tasks.adapters.process import Completed, Runner
from tasks.core.engine_address import remedy
from tasks.core.errors import EngineError, SettingsError
from tasks.core.redact import Redactor

NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's Docker configuration, and nothing else that says where the engine is."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def test_the_waker_s_gate_gets_the_engine_s_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Engine().socket == "/var/run/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
    assert Engine().socket == "/run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", NOBODY)
    with pytest.raises(EngineError, match="no socket on this machine"):
        _ = Engine().socket


def failure() -> EngineError:
    with pytest.raises(EngineError) as caught:
        Engine().containers("x=y")
    return caught.value


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        ({"DOCKER_HOST": NOBODY}, f"does not answer at {NOBODY}", "unset DOCKER_HOST"),
        (
            {"DOCKER_HOST": "ssh://ada@box.example:2222"},
            "at ssh://ada@box.example:2222 cannot be used",
            "ssh -p 2222 -nNT -L /tmp/docker.sock:/var/run/docker.sock ada@box.example",
        ),
        ({"DOCKER_HOST": "bogus://x"}, "does not answer at bogus://x", "must be unix:///PATH"),
        (
            {"DOCKER_HOST": NOBODY, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nonexistent"},
            f"does not answer at {NOBODY}",
            "DOCKER_CERT_PATH must name a folder",
        ),
        (
            {"DOCKER_HOST": "tcp://192.0.2.1:2375", "http_proxy": "http://127.0.0.1:9"},
            "does not answer at tcp://192.0.2.1:2375",
            "add 192.0.2.1 to NO_PROXY",
        ),
        (
            {"DOCKER_HOST": "unix:///nonexistent.sock"},
            "does not answer at unix:///nonexistent.sock",
            "unset DOCKER_HOST",
        ),
        ({"DOCKER_CONTEXT": "nope"}, "there is no Docker context 'nope'", "docker context ls"),
    ],
    ids=str,
)
def test_the_hint_fits_what_was_chosen(
    environ: dict[str, str], message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    error = failure()
    assert message in error.message
    assert hint in (error.hint or "")
    assert "systemctl start" not in (error.hint or "")


def test_a_context_in_use_that_was_removed_is_not_taken_for_this_machine(home: Path) -> None:
    (home / "config.json").write_text(json.dumps({"currentContext": "gone"}))
    assert failure().message == "there is no Docker context 'gone'"


DAMAGED = "parsing /home/ada/.docker/contexts/meta/5a/meta.json: unexpected end of JSON input"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Name": "far"}', "\xff"], ids=repr)
def test_a_context_whose_file_is_damaged_is_told(
    text: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    context(home, "far").write_text(text, encoding="latin-1")
    error = failure()
    assert error.message.startswith("the Docker context 'far' cannot be read: ")
    assert "docker context rm far" in (error.hint or "")


@pytest.mark.parametrize("names", [("ca", "cert", "key"), ("ca",)])
def test_a_context_whose_keys_are_damaged_is_told(
    names: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    meta = context(home, "far")
    keys = home / "contexts" / "tls" / meta.parent.name / "docker"
    keys.mkdir(parents=True)
    for name in names:
        (keys / f"{name}.pem").write_text("no certificate")
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
        meta.write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
        assert failure().message == f"the Docker Engine does not answer at {host}"


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\xff"], ids=repr)
def test_a_configuration_that_is_damaged_does_not_lead_to_another_engine(
    text: str, home: Path
) -> None:
    (home / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=re.escape(str(home / "config.json"))):
        Engine().containers("x=y")


def test_a_context_needs_no_configuration_beside_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    endpoints = {"docker": {"Host": NOBODY, "SkipTLSVerify": False}}
    text = json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints})
    context(home, "far").write_text(text)
    error = failure()
    assert error.message == f"the Docker Engine does not answer at {NOBODY}"
    assert "docker context use default" in (error.hint or "")


def context(home: Path, name: str) -> Path:
    """Return the file that a Docker context of this name has."""
    folder = home / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    return folder / "meta.json"


@pytest.mark.parametrize(
    ("said", "host", "message", "hint"),
    [
        (
            f'Failed to initialize: unable to resolve docker endpoint: context "far": {DAMAGED}',
            "",
            f"the Docker context 'far' cannot be read: {DAMAGED}",
            "docker context rm far",
        ),
        (
            'Failed to initialize: unable to resolve docker endpoint: context "nope": context not '
            "found: open /root/.docker/contexts/meta/ca37/meta.json: no such file or directory",
            "",
            "there is no Docker context 'nope'",
            "docker context ls",
        ),
        (
            'error during connect: Get "http://docker.example.com/v1.50/version": command [ssh -T '
            "-l ada -- box docker system dial-stdio] has exited with exit status 255",
            "ssh://ada@box",
            "the Docker Engine cannot be reached",
            "/var/run/docker.sock ada@box",
        ),
        (
            f"Cannot connect to the Docker daemon at {NOBODY}. Is the docker daemon running?",
            NOBODY,
            "the Docker Engine cannot be reached",
            "unset DOCKER_HOST",
        ),
        (
            "unable to resolve docker endpoint: open /nonexistent/ca.pem: no such file",
            NOBODY,
            "the Docker Engine cannot be reached",
            "DOCKER_CERT_PATH",
        ),
        (
            "unable to resolve docker endpoint: invalid bind address format: bogus://x",
            "bogus://x",
            "the Docker Engine cannot be reached",
            "must be unix:///PATH",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
            "",
            "the Docker Engine cannot be reached",
            "systemctl start docker",
        ),
    ],
)
def test_the_docker_command_s_words_lead_to_the_same(
    said: str, host: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host:
        monkeypatch.setenv("DOCKER_HOST", host)
    for argv in (("docker", "version"), ("docker", "buildx", "bake")):
        error = diagnose(Runner(Redactor()), Completed(argv, 1, "", f"ERROR: {said}\n", 0.1))
        assert isinstance(error, EngineError)
        assert error.message == message
        assert hint in (error.hint or "")


def test_of_a_context_whose_address_is_unknown() -> None:
    assert remedy("no answer", context="far").startswith("unset DOCKER_CONTEXT; docker context use")
    assert "NO_PROXY" in remedy("proxyconnect tcp: dial", context="far")


def test_nothing_is_loaded_for_an_engine_by_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://box")
    assert "run it on that machine" in (failure().hint or "")
    assert "paramiko" not in sys.modules

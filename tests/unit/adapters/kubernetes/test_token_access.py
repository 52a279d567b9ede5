"""A kubeconfig with a job's token in place of a person's credentials."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.adapters.kubernetes.token_access import TokenAccess
from tasks.core.errors import ClusterError

TOKEN = "header.payload.signature"


def kubeconfig(folder: Path, **more: Any) -> Path:
    """A kubeconfig whose authority lies beside it, with a user of a person's."""
    folder.mkdir()
    (folder / "ca.crt").write_text("PEM")
    cluster = {"server": "https://api.example.com", "certificate-authority": "ca.crt", **more}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": [{"name": "ada", "user": {"token": "of-a-person"}}],
        "contexts": [{"name": "mine", "context": {"cluster": "one", "user": "ada"}}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_token_is_used_and_nothing_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    first.write_text("apiVersion: v1\nkind: Config\n")
    second = kubeconfig(tmp_path / "elsewhere", **{"tls-server-name": "api"})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    masked: list[str] = []
    access = TokenAccess("mine", TOKEN, secret=masked.append)
    client = access.log_in()
    assert client.configuration.host == "https://api.example.com"
    assert client.configuration.auth_settings()["BearerToken"]["value"] == f"Bearer {TOKEN}"
    assert masked == [TOKEN]
    written = json.loads(access.kubeconfig.read_text())
    (cluster,) = written["clusters"]
    assert cluster["cluster"]["certificate-authority"] == str(second.parent / "ca.crt")
    assert cluster["cluster"]["tls-server-name"] == "api"
    for text in (access.kubeconfig.read_text(), *map(str, access.kubeconfig.parent.iterdir())):
        assert "of-a-person" not in text
        assert TOKEN not in text
    (user,) = written["users"]
    assert Path(user["user"]["tokenFile"]).read_text() == TOKEN
    folder = access.kubeconfig.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "text", ["", "- a", "contexts: [{name: mine, context: {cluster: one}}]", "contexts: 5"]
)
def test_a_kubeconfig_without_the_cluster_is_told(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(ClusterError, match="the kubeconfig cannot be used") as caught:
        TokenAccess("mine", TOKEN, secret=str).log_in()
    assert "mine" in (caught.value.hint or "")
    assert TOKEN not in "\n".join(caught.value.lines())

"""What is asked of the store of seeds, and how often in one run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.seed_store import SeedFolder
from tasks.app import seeds
from tasks.core.dump_manifest import Member
from tasks.core.errors import InputError, SuiteError
from tasks.core.seeds import MANIFEST, Seed, key_check
from tests.support.fakes import a_console
from tests.support.inprocess import InProcess

ID = "20260102t030405"
KEY = "ab" * 32


def an_own(id_: str) -> Seed:
    """Return a seed that is encrypted with ``KEY``."""
    check = key_check(KEY, id_)
    return Seed(id_, "prod", "7.0.0", "all", 1, Member(1, "ab" * 32), "", "", key_check=check)


def test_a_manifest_is_read_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(seeds, "seed_store", lambda _: None)
    monkeypatch.setattr(seeds, "with_key", lambda *_: None)
    monkeypatch.setattr(seeds, "newest_id", lambda _: ID)
    monkeypatch.setattr(seeds, "stored_seed", lambda _, id_: read.append(id_))
    session: Any = object()
    for named in ("", ID):
        seeds.find_seed(session, named)
    assert read == [ID]


@pytest.mark.parametrize(("named", "asked"), [("seed", ""), (f"seed:{ID}", ID)])
def test_a_load_names_a_seed_as_a_deploy_does(
    named: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "find_seed", lambda _, id_: id_)
    session: Any = object()
    assert seeds.find_source(session, named) == asked
    # As of an empty variable: not the newest.
    with pytest.raises(InputError, match="is no seed's id"):
        seeds.find_source(session, "seed:")


def test_another_key_is_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    session: Any = SimpleNamespace(settings=SimpleNamespace(seeds=SimpleNamespace(key="SEED_KEY")))
    store = SeedFolder(Path("/nowhere"))
    monkeypatch.setattr(seeds, "seed_key", lambda _: KEY)
    assert seeds.with_key(session, store, an_own(ID)).key == KEY
    monkeypatch.setattr(seeds, "seed_key", lambda _: "ac" * 32)
    with pytest.raises(InputError, match=f"SEED_KEY holds another key than seed {ID} is") as caught:
        seeds.with_key(session, store, an_own(ID))
    assert "inv db.seed --list" in str(caught.value.hint)


def test_seeds_are_listed_of_all_environments_or_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeedFolder(tmp_path)
    for id_, source in ((ID, "prod"), ("20260102t030406", "stage")):
        manifest = {
            **{"id": id_, "format": "mautic-seed 1", "source": source, "mautic": "7.0.0"},
            **{"contacts": "all", "rows": {}, "bytes": 1, "file_sha256": "ab" * 32},
            "rules_sha256": "cd" * 32,
        }
        store.write(id_, MANIFEST, [json.dumps(manifest).encode()])
    monkeypatch.setattr(seeds, "seed_store", lambda _: store)
    known: Any = SimpleNamespace(settings=SimpleNamespace(environment=lambda _: None))

    def listed(env: str) -> list[str]:
        return [each.source for each in seeds.kept_seeds(known, env).whole]

    assert listed("") == ["prod", "stage"]
    assert listed("prod") == ["prod"]
    assert listed("dev") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "seeds.rules: there is no file {path}"),
        ("tables: 3", "{path}: tables: must hold keys and values"),
        (
            "tables: {}\ntables: {}",
            "{path} cannot be read: line 2: the key 'tables' is given",
        ),
        ("a: [", "{path} cannot be read: while parsing a flow node"),
    ],
)
def test_rules_are_read_before_any_environment_is_asked(
    text: str | None, said: str, tmp_path: Path, inv: InProcess
) -> None:
    path = tmp_path / "rules.yaml"
    if text is not None:
        path.write_text(text)
    own = {"seeds": {"store": str(tmp_path), "rules": str(path)}}
    done = inv("db.seed", "--branch", "none", settings=own, env={"MAUTIC_SEED_KEY": KEY})
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(f"error: {said.format(path=path)}")


@pytest.mark.parametrize(
    ("server", "env", "said"),
    [
        ("", {}, "--server must be [USER@]HOST[:PORT]"),
        ("a b", {}, "--server must be [USER@]HOST[:PORT]"),
        ("replica:0", {}, "--server must be [USER@]HOST[:PORT]"),
        ("replica:99999", {}, "--server must be [USER@]HOST[:PORT]"),
        ("u:word@replica", {}, "--server must be [USER@]HOST[:PORT]"),
        (
            *("reader@replica", {}),
            f"the variable {seeds.READER}, which holds the password of reader, is not set",
        ),
        ("reader@replica:3307", {seeds.READER: "of the reader"}, "none has no environment"),
    ],
)
def test_another_server_is_checked_before_any_environment_is_asked(
    server: str, env: dict[str, str], said: str, tmp_path: Path, inv: InProcess
) -> None:
    own = {"seeds": {"store": str(tmp_path)}}
    words = ("db.seed", "--branch", "none", "--server", server)
    done = inv(*words, settings=own, env={"MAUTIC_SEED_KEY": KEY, **env})
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(f"error: {said}")
    assert "of the reader" not in done.stderr
    assert "word@" not in done.stderr


def test_what_the_program_says_of_the_rules_is_told_of_their_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise SuiteError(f"table acme without a rule. Give them one in {seeds.RULES}")

    console, _ = a_console()
    place = SimpleNamespace(names=SimpleNamespace(database="mt_main"))
    monkeypatch.setattr(seeds, "_ordered", lambda *_: (None, None))
    monkeypatch.setattr(seeds, "find_place", lambda *_: place)
    monkeypatch.setattr(seeds, "make_seed", fail)
    own = SimpleNamespace(seeds=SimpleNamespace(rules="masking.yaml"))
    session: Any = SimpleNamespace(settings=own, console=console)
    with pytest.raises(SuiteError) as caught:
        seeds.make(session, "", None, 0, uploads=True)
    assert caught.value.message.endswith("Give them one in masking.yaml")

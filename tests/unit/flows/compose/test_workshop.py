"""How services of this machine come to show a working tree, and what undoes that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.core.compose.record import RECORD
from tasks.core.errors import CommandError, InputError, SuiteError
from tasks.flows.compose.workshop import SHOWING
from tasks.flows.target import Workshop
from tests.support.fake_engine import Deployed
from tests.support.fakes import NAMES, REQUEST

OWNER = REQUEST.owner
PLACE = (OWNER, NAMES)


class Bench(Deployed):
    """A branch whose services show a working tree."""

    @property
    def workshop(self) -> Workshop:
        assert self.target.workshop
        return self.target.workshop

    @property
    def ids(self) -> dict[str, str]:
        return {item.service: item.id for item in self.engine.there.values()}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.setattr("tasks.adapters.files.lock.lock_folder", lambda _: tmp_path / "locks")
    return Bench()


def test_the_image_of_php_fills_the_volumes_and_leaving_undoes_all(bench: Bench) -> None:
    record, database = bench.record, bench.ids["database"]
    bench.workshop.open(*PLACE, debugger=False)
    assert bench.compose.seen == ["up fpm", "up worker cron web"]
    assert bench.workshop.is_open(*PLACE)
    bench.compose.seen.clear()
    bench.workshop.close(*PLACE)
    assert bench.compose.seen == ["up fpm", "up worker cron web"]
    assert not bench.workshop.is_open(*PLACE)
    assert (bench.record, bench.ids["database"]) == (record, database)
    assert bench.deploy().steps == ()


def test_the_next_deploy_undoes_what_a_killed_run_has_left(bench: Bench) -> None:
    bench.workshop.open(*PLACE, debugger=False)
    changes = bench.target.deployer.plan_deploy(REQUEST).changes
    assert {item.service for item in changes if item.verb == "update"} == set(SHOWING)
    bench.deploy()
    assert not bench.workshop.is_open(*PLACE)
    assert not [name for name in bench.engine.kept if "_dev-" in name]


@pytest.mark.parametrize("failing", ["up fpm", "up worker"])
def test_one_that_does_not_open_is_replaced_by_the_next_deploy(bench: Bench, failing: str) -> None:
    bench.compose.fails = {failing: CommandError("it broke")}
    with pytest.raises(SuiteError):
        bench.workshop.open(*PLACE, debugger=False)
    changes = bench.target.deployer.plan_deploy(REQUEST).changes
    assert {item.service for item in changes if item.verb == "update"} == set(SHOWING)


def test_it_writes_as_root_and_removes_before(bench: Bench, monkeypatch: Any) -> None:
    seen: list[tuple[list[str], bytes]] = []

    def pipe(argv: list[str], *, source: list[bytes], **_: Any) -> int:
        seen.append((list(argv), b"".join(source)))
        return 0

    monkeypatch.setattr(bench.compose, "pipe", pipe)
    bench.workshop.write(*PLACE, b"a tar", ["docroot/themes/a b", "config/c"])
    (remove, names), (unpack, files) = seen
    assert remove[:5] == ["docker", "exec", "--interactive", "--user", "0"]
    assert (names, files) == (b"docroot/themes/a b\0config/c\0", b"a tar")
    assert (remove[-1], unpack[-1]) == (str(len(names)), str(len(files)))


def test_what_cannot_be_written_or_compiled_is_told(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr(bench.compose, "pipe", lambda *_, **__: 2)
    with pytest.raises(SuiteError, match="could not be written"):
        bench.workshop.write(*PLACE, b"a tar", [])
    failed = CommandError("it broke", output="Unknown class A")
    monkeypatch.setattr(bench.compose, "_execute", _raising(failed))
    with pytest.raises(SuiteError, match="the cache cannot be compiled") as found:
        bench.workshop.compile(*PLACE, routes=True)
    assert found.value.output == "Unknown class A"


def test_nothing_is_shown_where_nothing_was_deployed(bench: Bench) -> None:
    (volume,) = bench.engine.volumes(RECORD)
    bench.engine.remove_volume(volume.name)
    with pytest.raises(InputError, match="has no environment"):
        bench.workshop.open(*PLACE, debugger=False)


def test_workers_start_anew(bench: Bench) -> None:
    bench.workshop.restart(*PLACE, ["cron", "worker"])
    assert bench.compose.seen == [
        f"exec {name} sh -c kill -s TERM 1" for name in ("cron", "worker")
    ]


def _raising(error: Exception) -> Any:
    def raise_it(*_: Any) -> None:
        raise error

    return raise_it

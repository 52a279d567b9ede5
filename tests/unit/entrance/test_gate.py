"""The gate to an engine: what it asks of it, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from entrance.gate import Engine, EngineError, Gate
from tasks.core.compose.record import ComposeRecord, owner_labels
from tasks.core.compose.stages import ONE_OFF, PROJECT, SERVICE
from tasks.core.environment import Owner, State
from tasks.core.sleep import Sleep

SLEEP = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")
NETWORK = "mautic-platform"


def labels(project: str, service: str = "", **more: str) -> dict[str, str]:
    owner = Owner("local", project.removeprefix("mautic-"), f"feature/{project}", "r")
    return {**owner_labels(owner), PROJECT: project, SERVICE: service, **more}


def container(
    project: str, service: str, network: str = NETWORK, state: str = "exited", **more: str
) -> dict[str, Any]:
    name = f"{project}-{service}-1"
    return {
        "Id": f"id-of-{name}",
        "Names": [f"/{name}"],
        "Labels": labels(project, service, **more),
        "NetworkSettings": {"Networks": {network: {}}},
        "State": state,
    }


def volume(project: str, number: int, asleep: Sleep | None) -> dict[str, Any]:
    record = ComposeRecord(State.READY, "http://x", asleep=asleep)
    name = f"{project}_record-{number}"
    return {"Name": name, "Labels": {**labels(project), **record.to_labels()}}


class Played(Engine):
    """An engine, and what is asked of it."""

    def __init__(self, containers: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> None:
        super().__init__(Path("/nowhere"))
        object.__setattr__(self, "containers", containers)
        object.__setattr__(self, "volumes", volumes)
        object.__setattr__(self, "asked", [])

    def ask(self, method: str, where: str, query: Any = None) -> Any:
        self.asked.append(f"{method} {where}")  # type: ignore[attr-defined]
        if where == "/volumes":
            return {"Volumes": self.volumes}  # type: ignore[attr-defined]
        there = self.containers  # type: ignore[attr-defined]
        if where == "/containers/json":
            wanted = dict(
                label.partition("=")[::2] for label in query["filters"]["label"] if "=" in label
            )
            return [item for item in there if wanted.items() <= item["Labels"].items()]
        if method == "POST":
            return None
        item = next(each for each in there if f"/containers/{each['Id']}/json" == where)
        state = {
            **{"Status": item["State"], "ExitCode": 0, "Error": "", "OOMKilled": False},
            **{"StartedAt": "2026-01-01T00:00:00.123456789Z", "Health": {"Status": "healthy"}},
        }
        return {
            **{"Id": item["Id"], "Name": item["Names"][0], "RestartCount": 0, "State": state},
            "Config": {"Labels": item["Labels"], "Env": ["DATABASE_PASSWORD=hunter22"]},
        }


@pytest.fixture
def engine() -> Played:
    sleeper, awake, other = "mautic-tired", "mautic-awake", "other-tired"
    return Played(
        [
            *(container(sleeper, name) for name in ("database", "fpm", "web")),
            container(sleeper, "worker", state="running"),
            container(sleeper, "migrate", **{ONE_OFF: "True"}),
            {**container(sleeper, "web"), "Names": ["/0123456789ab_mautic-tired-web-1"]},
            container(awake, "web"),
            container(other, "web", "other-platform"),
            container("mautic-bare", "web"),
        ],
        [
            volume(sleeper, 1, None),
            volume(sleeper, 2, SLEEP),
            volume(awake, 2, None),
            volume(awake, 1, SLEEP),
            volume(other, 1, SLEEP),
        ],
    )


@pytest.fixture
def gate(engine: Played) -> Gate:
    return Gate(engine, NETWORK)


def asked(engine: Played, method: str = "POST") -> list[str]:
    return [line for line in engine.asked if line.startswith(method)]  # type: ignore[attr-defined]


def test_it_lists_what_the_proxy_leads_to_by_the_newest_record(gate: Gate) -> None:
    status, found = gate.answer("GET", "/")
    assert status == 200
    assert [(each["project"], each["slug"], each["asleep"]) for each in found] == [
        ("mautic-tired", "tired", True),
        ("mautic-awake", "awake", False),
    ]


def test_it_tells_of_services_no_more_than_their_state(gate: Gate) -> None:
    status, found = gate.answer("GET", "/mautic-tired")
    assert status == 200
    assert {each["service"] for each in found["services"]} == {"database", "fpm", "web", "worker"}
    assert "hunter22" not in json.dumps(found)


def test_it_starts_a_stopped_service_of_what_sleeps(gate: Gate, engine: Played) -> None:
    assert gate.answer("POST", "/mautic-tired/fpm") == (200, {})
    assert asked(engine) == ["POST /containers/id-of-mautic-tired-fpm-1/start"]
    # What runs already, and what the suite runs for once, is not started.
    for name in ("worker", "migrate", "nothing"):
        assert gate.answer("POST", f"/mautic-tired/{name}")[0] == 200
    assert len(asked(engine)) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/mautic-awake/web", 403),
        ("POST", "/other-tired/web", 404),
        ("POST", "/mautic-bare/web", 404),
        ("POST", "/mautic-platform/registry", 404),
        ("POST", "/containers/id-of-mautic-tired-fpm-1/start", 404),
        ("POST", "/containers/create", 404),
        ("POST", "/mautic-tired/fpm/../../x", 404),
        ("POST", "/", 404),
        ("POST", "/mautic-tired", 404),
        ("DELETE", "/mautic-tired/fpm", 404),
        ("PUT", "/", 404),
        ("GET", "/mautic-tired/fpm", 404),
        ("GET", "/info", 404),
    ],
)
def test_nothing_else_reaches_the_engine(
    gate: Gate, engine: Played, method: str, path: str, status: int
) -> None:
    assert gate.answer(method, path)[0] == status
    assert not [line for line in engine.asked if not line.startswith("GET /")]  # type: ignore[attr-defined]
    assert {line.split()[1] for line in asked(engine, "GET")} <= {"/volumes", "/containers/json"}


def test_a_damaged_record_hides_no_other_and_is_not_asleep(engine: Played) -> None:
    damaged = volume("mautic-awake", 3, SLEEP)
    damaged["Labels"]["io.mautic-multidev.record"] = "{"
    engine.volumes.append(damaged)  # type: ignore[attr-defined]
    _, found = Gate(engine, NETWORK).answer("GET", "/")
    assert [each["asleep"] for each in found] == [True, False]


def test_an_engine_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not answer"):
        Engine(tmp_path / "none.sock").ask("GET", "/volumes")

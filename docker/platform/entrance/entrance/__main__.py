"""The entrance's commands.

    python -m entrance lead   write nginx' configuration, and become nginx
    python -m entrance wake   answer what nginx cannot lead to a site, and wake environments
    python -m entrance local  the same on one machine, where the platform's proxy is nginx
    python -m entrance gate   let that one start what sleeps, and nothing else, at the engine

Environment:
    ENTRANCE_RULES            file: which host names lead where (rules.json)
    ENTRANCE_NAME             wake: this pod's name
    ENTRANCE_ACCOUNT          wake: folder with the account's token and the API server's authority
    ENTRANCE_PASSWORD         wake: file with the password of the page of all environments
    ENTRANCE_PORT             wake: where it listens, and at the next one for visits; nginx': 8082
    KUBERNETES_SERVICE_HOST   wake: the API server; and KUBERNETES_SERVICE_PORT
    ENTRANCE_GATE             local, gate: the socket between them
    ENTRANCE_LOCKS            local: folder of the suite's locks
    ENTRANCE_ENGINE           gate: the Docker Engine's socket
    ENTRANCE_NETWORK          gate: the platform's network

Exit status: 64 used wrongly, 78 a setting is missing or wrong.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from entrance.nginx import WAKER_PORT, configuration, resolvers_in
from entrance.rules import Rules

USAGE, WRONG_SETTING = 64, 78
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
IPV6 = Path("/proc/net/if_inet6")
CONF = Path("/tmp/nginx.conf")  # noqa: S108 - the pod's own, and nothing else may be written


def main(argv: list[str]) -> int:
    """Run a command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    commands = {"lead": _lead, "wake": _wake, "local": _local, "gate": _gate}
    if len(argv) != 1 or argv[0] not in commands:
        print(f"say {', '.join(commands)}", file=sys.stderr)  # noqa: T201
        return USAGE
    try:
        commands[argv[0]]()
    except (KeyError, ValueError, TypeError, OSError) as error:
        print(f"entrance: a setting is missing or wrong: {error!r}", file=sys.stderr)  # noqa: T201
        return WRONG_SETTING
    return 0


def _rules() -> Rules:
    return Rules.from_json(Path(os.environ["ENTRANCE_RULES"]).read_text())


def _lead() -> None:
    rules = _rules()
    resolvers = resolvers_in(Path("/etc/resolv.conf").read_text())
    CONF.write_text(configuration(rules, resolvers, ipv6=IPV6.exists() and bool(IPV6.read_text())))
    nginx = ["nginx", "-e", "/dev/stderr", "-c", str(CONF), "-g", "daemon off;"]
    os.execvp(nginx[0], nginx)  # noqa: S606 - it takes this process' place


def _wake() -> None:
    from entrance.api import Api
    from entrance.cluster import ClusterWaker
    from entrance.fleet import Fleet
    from entrance.lease import OWN
    from entrance.overview import Overview
    from entrance.server import Entrance, Server
    from entrance.use import Uses

    _leave_when_told()
    rules = _rules()
    host, port = (os.environ[f"KUBERNETES_SERVICE_{part}"] for part in ("HOST", "PORT"))
    api = Api.by(host, int(port), Path(os.environ.get("ENTRANCE_ACCOUNT", ACCOUNT)))
    fleet = Fleet(api)
    waker = ClusterWaker(api, rules, fleet, f"{OWN}({os.environ['ENTRANCE_NAME']})")
    own = int(os.environ.get("ENTRANCE_PORT", WAKER_PORT))
    overview = Overview(api, rules, fleet, Path(os.environ["ENTRANCE_PASSWORD"]))
    server = Server(own, Entrance(waker, overview))
    for part in (fleet, waker, Uses(api, rules, fleet, own + 1)):
        part.start()
    server.serve_forever()


def _local() -> None:
    from entrance.machine import GateClient, MachineWaker
    from entrance.server import Entrance, Server

    _leave_when_told()
    gate = GateClient(Path(os.environ["ENTRANCE_GATE"]))
    waker = MachineWaker(gate, Path(os.environ["ENTRANCE_LOCKS"]))
    # The proxy is another container.
    server = Server(WAKER_PORT, Entrance(waker), "0.0.0.0")  # noqa: S104
    waker.start()
    server.serve_forever()


def _gate() -> None:
    from entrance.gate import Engine, Gate, GateServer

    _leave_when_told()
    gate = Gate(Engine(Path(os.environ["ENTRANCE_ENGINE"])), os.environ["ENTRANCE_NETWORK"])
    GateServer(Path(os.environ["ENTRANCE_GATE"]), gate).serve_forever()


def _leave_when_told() -> None:
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, _leave)


def _leave(number: int, _: FrameType | None) -> None:
    # What has begun is gone on with by whoever finds its mark.
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

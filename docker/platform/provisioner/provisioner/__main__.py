"""The provisioner's commands.

    python -m provisioner operate   furnish namespaces, and give them their databases
    python -m provisioner setup     as the database's administrator: create the user of `operate`
    python -m provisioner plant     in the pod of `operate`, for a deploy: load the seed on stdin,
                                    behind a line of JSON with its id, key and bytes
    python -m provisioner load      what `plant` starts for it
    python -m provisioner unseal    in the pod of `operate`, for a deploy: decrypt the uploads on
                                    stdin, behind such a line, to stdout; it says so when it is
                                    ready to read
    python -m provisioner lend      in the pod of `operate`, for a copy: let a user of its own read
                                    the database of the namespace on stdin. A line of JSON on
                                    stdout tells of both; the user goes when stdin ends or has a
                                    line "end"

Environment:
    PROVISIONER_RULES       file: what the platform decided (rules.json)
    PROVISIONER_FLOOR       operate: file: what every namespace stands on (floor.json)
    PROVISIONER_LOGIN       folder with `username` and `password` of the provisioner's database user
    PROVISIONER_CA          file with the authorities of the server's certificate; empty for no TLS
    PROVISIONER_NAMESPACE   operate, plant, lend: the platform namespace
    PROVISIONER_HEALTH      operate: URL on which it answers to probes
    PROVISIONER_ADMIN       setup: folder with the administrator's `username` and `password`, or
    PROVISIONER_ADMIN_ARN   setup: their secret in AWS Secrets Manager

Exit status: 0 done, 1 the server is away or refuses, the seed is none of the project's, or the
namespace has no database, 64 used wrongly, 78 a setting is missing or wrong.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.administrator import login_in, login_of
from provisioner.rules import Rules
from provisioner.server import Address, Server, ServerError, set_up

if TYPE_CHECKING:
    from provisioner.cluster import Kubernetes

FAILED, USAGE, WRONG_SETTING = 1, 64, 78
CHUNK_BYTES = 1 << 20
LOAD = (sys.executable, "-m", "provisioner", "load")
HEALTH = "http://0.0.0.0:8080/healthz"


def main(argv: list[str]) -> int:
    """Run a command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    commands = {"operate": _operate, "setup": _setup, "plant": _plant, "load": _load}
    commands |= {"unseal": _unseal, "lend": _lend}
    if len(argv) != 1 or argv[0] not in commands:
        print("say operate, setup, plant, unseal or lend", file=sys.stderr)  # noqa: T201
        return USAGE
    try:
        return commands[argv[0]]()
    except ServerError as error:
        print(f"provisioner: failed: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except (KeyError, ValueError, OSError) as error:
        # Of a file only its name is told: it may hold anything.
        told = error if isinstance(error, KeyError | OSError) else type(error).__name__
        print(f"provisioner: a setting is missing or wrong: {told}", file=sys.stderr)  # noqa: T201
        return WRONG_SETTING


def _operate() -> int:
    # kopf is only needed here.
    from provisioner.floor import Floor
    from provisioner.furnish import Furnisher
    from provisioner.operator import register, run
    from provisioner.reconcile import Reconciler
    from provisioner.seeds import Seeds

    floor = Floor.from_json(Path(os.environ["PROVISIONER_FLOOR"]).read_text())
    rules, server, cluster = _server_and_cluster()
    reconciler = Reconciler(rules, server, cluster, Furnisher(rules, floor, cluster))
    sweeps = (reconciler.sweep, Seeds(rules.seed_key, server, cluster).sweep, server.recall)
    registry = register(reconciler, cluster.check_watch, sweeps)
    run(registry, os.environ.get("PROVISIONER_HEALTH", HEALTH))
    return 0


def _plant() -> int:
    """Load a seed in a process of its own, and take what that leaves of its input.

    As of a seed that is there, or where it is killed: with containerd 2 the end of a program that
    leaves some is not told, and the deploy would wait for it.
    """
    status = subprocess.run(LOAD, check=False).returncode
    _take_the_rest()
    if status < 0:
        _say_of_seed(f"what loads the seed was ended by signal {-status}")
        return FAILED
    return status


def _take_the_rest() -> None:
    while os.read(sys.stdin.fileno(), CHUNK_BYTES):
        pass


def _say_of_seed(text: str) -> None:
    print(f"plant: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _load() -> int:
    from provisioner.cluster import ClusterError
    from provisioner.seed_file import SeedError
    from provisioner.seeds import Seeds

    rules, server, cluster = _server_and_cluster()
    try:
        Seeds(rules.seed_key, server, cluster).plant(sys.stdin.buffer, _say_of_seed)
    except (SeedError, ServerError, ClusterError) as error:
        _say_of_seed(str(error))
        return FAILED
    return 0


def _unseal() -> int:
    """Decrypt uploads; where that fails, take the rest of them as well, as ``_plant`` does."""
    from provisioner.seed_file import SeedError
    from provisioner.seeds import unseal

    def say(text: str) -> None:
        print(f"unseal: {text}", file=sys.stderr, flush=True)  # noqa: T201

    rules, _ = _rules_and_address()
    # Whoever calls it waits for this: a provisioner that does not know it says something else.
    say("ready")
    try:
        with open(sys.stdout.fileno(), "wb", closefd=False) as out:
            unseal(rules.seed_key, sys.stdin.buffer, out.write, say)
    except SeedError as error:
        say(str(error))
        return FAILED
    finally:
        _take_the_rest()
    return 0


def _lend() -> int:
    """Let a copy read a branch's database; nobody can say when that has ended but whoever asks."""
    from provisioner.cluster import ClusterError

    def say(text: str) -> None:
        print(f"lend: {text}", file=sys.stderr, flush=True)  # noqa: T201

    _, server, cluster = _server_and_cluster()
    namespace = sys.stdin.readline().strip()
    try:
        record = cluster.record(namespace)
        if record is None or not record.database or record.state != "ready":
            say(f"{namespace} has no database here that is ready")
            return FAILED
        with server.lend(record.database, say) as reader:
            told = {"database": record.database, "user": reader.user, "password": reader.password}
            print(json.dumps(told), flush=True)  # noqa: T201
            for line in sys.stdin:
                if line == "end\n":
                    break
    except (ServerError, ClusterError) as error:
        say(str(error))
        return FAILED
    return 0


def _server_and_cluster() -> tuple[Rules, Server, Kubernetes]:
    """Return what the platform has decided, and the clients of both servers."""
    from kubernetes import client, config

    from provisioner.cluster import Kubernetes
    from provisioner.connection import relax

    rules, address = _rules_and_address()
    login = partial(login_in, Path(os.environ["PROVISIONER_LOGIN"]))
    login()  # what is wrong with it is told at once
    # In a pod it prints that it found no file; standard output is for whoever asked.
    with contextlib.redirect_stdout(sys.stderr):
        config.load_config()  # type: ignore[no-untyped-call]
    api = client.CoreV1Api(relax(client.ApiClient()))
    cluster = Kubernetes(api, os.environ["PROVISIONER_NAMESPACE"])
    return rules, Server(address, login, rules.prefix), cluster


def _setup() -> int:
    rules, address = _rules_and_address()
    arn = os.environ.get("PROVISIONER_ADMIN_ARN", "")
    administrator = login_of(arn) if arn else login_in(Path(os.environ["PROVISIONER_ADMIN"]))
    own = login_in(Path(os.environ["PROVISIONER_LOGIN"]))
    set_up(address, administrator, own, rules.prefix)
    print(f"provisioner: the user {own.user} is limited to {rules.prefix}*")  # noqa: T201
    return 0


def _rules_and_address() -> tuple[Rules, Address]:
    rules = Rules.from_json(Path(os.environ["PROVISIONER_RULES"]).read_text())
    return rules, Address(rules.host, rules.port, os.environ.get("PROVISIONER_CA", ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

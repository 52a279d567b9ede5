"""The provisioner's commands.

    python -m provisioner operate   furnish namespaces, and give them their databases
    python -m provisioner setup     as the database's administrator: create the user of `operate`

Environment:
    PROVISIONER_RULES       file: what the platform decided (rules.json)
    PROVISIONER_FLOOR       operate: file: what every namespace stands on (floor.json)
    PROVISIONER_LOGIN       folder with `username` and `password` of the provisioner's database user
    PROVISIONER_CA          file with the authorities of the server's certificate; empty for no TLS
    PROVISIONER_NAMESPACE   operate: the platform namespace
    PROVISIONER_HEALTH      operate: URL on which it answers to probes
    PROVISIONER_ADMIN       setup: folder with the administrator's `username` and `password`, or
    PROVISIONER_ADMIN_ARN   setup: their secret in AWS Secrets Manager

Exit status: 0 done, 1 the server is away or refuses, 64 used wrongly, 78 a setting is missing or
wrong.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path

from provisioner.administrator import login_in, login_of
from provisioner.rules import Rules
from provisioner.server import Address, Server, ServerError, set_up

FAILED, USAGE, WRONG_SETTING = 1, 64, 78
HEALTH = "http://0.0.0.0:8080/healthz"


def main(argv: list[str]) -> int:
    """Run a command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if len(argv) != 1 or argv[0] not in {"operate", "setup"}:
        print("say operate or setup", file=sys.stderr)  # noqa: T201
        return USAGE
    try:
        return _operate() if argv[0] == "operate" else _setup()
    except ServerError as error:
        print(f"provisioner: failed: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except (KeyError, ValueError, OSError) as error:
        # Of a file only its name is told: it may hold anything.
        told = error if isinstance(error, KeyError | OSError) else type(error).__name__
        print(f"provisioner: a setting is missing or wrong: {told}", file=sys.stderr)  # noqa: T201
        return WRONG_SETTING


def _operate() -> int:
    # kopf and the client are only needed here.
    from kubernetes import client, config

    from provisioner.cluster import Kubernetes
    from provisioner.connection import relax
    from provisioner.floor import Floor
    from provisioner.furnish import Furnisher
    from provisioner.operator import register, run
    from provisioner.reconcile import Reconciler

    rules, address = _rules_and_address()
    floor = Floor.from_json(Path(os.environ["PROVISIONER_FLOOR"]).read_text())
    login = partial(login_in, Path(os.environ["PROVISIONER_LOGIN"]))
    login()  # what is wrong with it is told at once
    config.load_config()  # type: ignore[no-untyped-call]
    api = client.CoreV1Api(relax(client.ApiClient()))
    cluster = Kubernetes(api, os.environ["PROVISIONER_NAMESPACE"])
    server, furnisher = Server(address, login, rules.prefix), Furnisher(rules, floor, cluster)
    reconciler = Reconciler(rules, server, cluster, furnisher)
    run(register(reconciler, cluster.check_watch), os.environ.get("PROVISIONER_HEALTH", HEALTH))
    return 0


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

"""What the tests fork instead of starting is the same run."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.suite import Inv

CALLS = (
    (("names", "--branch", "Feature/X"), 0),
    (("names", "--branch", ""), 2),
    (("nothing",), 2),
    (("--version",), 0),
    (("list", "--env", "elsewhere", "--format", "json"), 2),
)


WAITS = """
import signal, sys
print(*sys.argv[1:], flush=True)
try:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pause()
except KeyboardInterrupt:
    print("told")
    sys.exit(7)
"""


def test_what_is_forked_says_and_ends_as_what_is_started(
    checkout: Path, inv: Inv, forking: Inv
) -> None:
    for words, status in CALLS:
        cold, forked = inv(checkout, *words), forking(checkout, *words)
        assert forked.returncode == status
        told = (forked.returncode, forked.stdout, forked.stderr)
        assert told == (cold.returncode, cold.stdout, cold.stderr)


def test_each_has_its_own_variables_and_settings(
    checkout: Path, inv: Inv, forking: Inv, tmp_path: Path
) -> None:
    settings = {
        "environments": {
            "dev": {
                "target": "kubernetes",
                "stack": None,
                "branches": ["*"],
                "namespace": "{project}-{slug}",
                "host": "{slug}.example.com",
                "values": ["helm/environments/dev.yaml"],
                "database": {"host": "10.0.52.10"},
                "registry": {"kind": "oci", "url": "localhost:1/x"},
                "cluster": {"kind": "context", "name": "nowhere"},
            }
        }
    }
    said = set()
    for name, text in (("none", None), ("wrong", "wrong"), ("empty", "{}")):
        path = tmp_path / name
        if text:
            path.write_text(text)
        words, env = (checkout, "list", "--env", "dev"), {"KUBECONFIG": str(path)}
        forked = forking(*words, settings=settings, env=env)
        assert forked.stderr == inv(*words, settings=settings, env=env).stderr
        said.add(forked.stderr)
    assert len(said) > 1


def test_one_that_takes_too_long_is_killed(checkout: Path, forking: Inv) -> None:
    forking(checkout, "--version")
    with pytest.raises(subprocess.TimeoutExpired):
        forking(checkout, "--version", timeout=0)
    assert forking(checkout, "--version").returncode == 0


def test_one_that_dies_of_a_signal_has_its_number(checkout: Path, forking: Inv) -> None:
    (checkout / "tasks" / "__main__.py").write_text(
        f"import os, signal\nos.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    assert forking(checkout, "--version").returncode == -signal.SIGKILL


def test_one_that_goes_on_is_signalled_alone_and_read_to_its_end(
    checkout: Path, forking: Inv
) -> None:
    (checkout / "tasks" / "__main__.py").write_text(WAITS)
    run = forking.start(checkout, "first", "second")
    assert run.stdout
    assert run.stdout.readline() == "first second\n"
    assert os.getpgid(run.pid) == run.pid
    assert run.poll() is None
    for wait in (run.wait, run.communicate):
        with pytest.raises(subprocess.TimeoutExpired):
            wait(timeout=0.1)
    os.killpg(run.pid, signal.SIGINT)
    assert run.communicate(timeout=60) == ("told\n", "")
    assert (run.wait(), run.returncode, run.poll()) == (7, 7, 7)
    run.kill()


def test_without_what_forks_there_is_no_run_and_no_status(checkout: Path, forking: Inv) -> None:
    (checkout / "tasks" / "__init__.py").write_text("raise SystemExit\n")
    with pytest.raises((ChildProcessError, BrokenPipeError)):
        forking(checkout, "--version")

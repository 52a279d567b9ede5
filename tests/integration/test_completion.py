"""Completion as a shell asks for it, by what `inv completion` writes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.suite import Inv

ASKED = {
    "bash": 'source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _inv "${2%% *}" "${2##*[ :]}" ""; '
    'printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": "compdef() :; _files() :; compadd() print -l -- $@[2,-1]; source $1; "
    'words=("${(@s: :)2}"); CURRENT=$#words; _inv',
    "fish": "source $argv[1]; complete -C $argv[2]",
}
"""A program that prints what may follow a command line, from the script and that line."""
PLACES = {
    "bash": ".local/share/bash-completion/completions/inv",
    "fish": ".config/fish/completions/inv.fish",
    "zsh": ".local/share/zsh/site-functions/_inv",
}


SHELLS = [
    pytest.param(one, marks=pytest.mark.skipif(not shutil.which(one), reason=f"there is no {one}"))
    for one in ASKED
]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_tasks_options_and_branches(
    shell: str, inv: Inv, checkout: Path, tmp_path: Path
) -> None:
    assert inv(checkout, "completion", shell).returncode == 0
    script = Path(inv.environ()["HOME"]) / PLACES[shell]
    program = tmp_path / "inv"
    program.write_text(f'#!/bin/sh\ncd {checkout} && exec {shlex.join(inv.argv())} "$@"\n')
    program.chmod(0o755)
    subprocess.run(["git", "-C", str(checkout), "branch", "feature/x"], check=True)

    def after(typed: str) -> list[str]:
        arguments = [str(script), f"./inv {typed}"]
        argv = [shell, "-c", ASKED[shell], *([] if shell == "fish" else ["-"]), *arguments]
        done = subprocess.run(
            argv, cwd=tmp_path, env=inv.environ(), capture_output=True, text=True, check=False
        )
        return done.stdout.split()

    assert after("roll") == ["rollback"]
    assert after("rollback --wi") == ["--with-data"]
    assert after("deploy --branch fea") == ["feature/x"]
    assert after("deploy --env pro") == ["prod"]
    assert after("logs --service wo") == ["worker"]
    assert sorted(after("queue --re")) == ["--remove", "--retry"]


def test_a_shell_that_is_not_known_is_refused(inv: Inv, checkout: Path) -> None:
    done = inv(checkout, "completion", "csh")
    assert (done.returncode, done.stderr) == (2, "error: 'csh': must be bash, zsh, fish\n")

"""Completion as a person has it: installed by `inv completion`, then asked by the Tab key."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.adapters.host.machine import BASH_COMPLETION
from tests.conftest import missing
from tests.support.suite import Inv
from tests.support.terminal import Terminal

PROMPT = "ready> "
STARTED = {
    "bash": (".bashrc", f"PS1={PROMPT!r}\n", ""),
    "bash-completion": (".bashrc", f"PS1={PROMPT!r}\n. {BASH_COMPLETION}\n", ""),
    "zsh": (".zshrc", f"PROMPT={PROMPT!r}\n", "autoload -U compinit && compinit -u\n"),
    "fish": (".config/fish/config.fish", f"function fish_prompt; echo -n {PROMPT!r}; end\n", ""),
}
"""What a shell reads when it starts: before and after what `inv completion` has advised."""
INV = """\
#!/bin/sh
case $1 in --complete) cd {checkout} && exec {argv} "$@" ;; esac
printf 'ran: %s.\\n' "$*"
"""


@pytest.mark.parametrize("started", STARTED)
def test_a_tab_completes_tasks_options_and_branches(
    started: str, inv: Inv, checkout: Path, tmp_path: Path
) -> None:
    shell, _, package = started.partition("-")
    if not (BASH_COMPLETION.exists() if package else shutil.which(shell)):
        missing(f"there is no {started}")
    name, before, after = STARTED[started]
    startup = Path(inv.environ()["HOME"]) / name
    startup.parent.mkdir(parents=True, exist_ok=True)
    done = inv(checkout, "completion", shell)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"has to say.*: (.+)", done.stderr)
    startup.write_text("\n".join([before, *([] if package else said), after]))
    program = tmp_path / "inv"
    program.write_text(INV.format(checkout=checkout, argv=shlex.join(inv.argv())))
    program.chmod(0o755)
    subprocess.run(["git", "-C", str(checkout), "branch", "feature/x"], check=True)
    terminal = Terminal([shell, "-i"], cwd=tmp_path, env=inv.environ())
    for typed, completed in (
        ("roll", "rollback"),
        ("rollback --wi", "rollback --with-data"),
        ("deploy --branch fea", "deploy --branch feature/x"),
        ("deploy --env pro", "deploy --env prod"),
        ("logs --service wo", "logs --service worker"),
        ("deploy --env=pro", "deploy --env=prod"),
    ):
        terminal.expect(PROMPT)
        terminal.raw = ""
        terminal.type(f"./inv {typed}\t\r")
        terminal.expect(f"ran: {completed}.")
    terminal.type("exit\r")
    assert terminal.finish() == 0


def test_a_shell_that_is_not_known_is_refused(inv: Inv, checkout: Path) -> None:
    done = inv(checkout, "completion", "csh")
    assert (done.returncode, done.stderr) == (2, "error: 'csh': must be bash, zsh, fish\n")

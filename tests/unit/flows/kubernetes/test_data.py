"""How a program is run that reads bytes in a pod."""

from __future__ import annotations

import subprocess

import pytest

from tasks.adapters.kubernetes.exec import ENDED, HELD

MORE = b"x" * (1 << 20)
"""More than a pipe holds."""


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("read -r line; kill -9 $$", 137)])
def test_what_a_program_leaves_of_its_input_is_taken_and_its_status_kept(
    script: str, status: int
) -> None:
    argv = [*HELD, "sh", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"line\n" + MORE)
        process.stdin.flush()
        # Its end is told before that of its input is.
        assert f"{ENDED}\n".encode() in iter(process.stderr.readline, b"")
    assert process.returncode == status


def test_a_program_gets_its_words_its_input_and_its_output_as_they_are() -> None:
    argv = [*HELD, "sh", "-c", 'cat; echo "$1"', "sh", "a  $b"]
    assert subprocess.run(argv, input=MORE, stdout=subprocess.PIPE, check=True).stdout == (
        MORE + b"a  $b\n"
    )

"""The runner: real programs, their streams, their ends, and the signals on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from tasks.adapters import identity, process
from tasks.adapters.process import Runner
from tasks.core.errors import CommandError, DeadlineError, MissingToolError
from tasks.core.redact import MASK, Redactor
from tests.support.suite import ROOT
from tests.support.terminal import Terminal
from tests.unit.core.test_variables import DROPPED

SECRET = "hunter2-and-more"


@pytest.fixture
def runner() -> Runner:
    redactor = Redactor()
    redactor.add(SECRET)
    return Runner(redactor)


def python(code: str, *args: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *args]


def wait_until(condition: Callable[[], bool], deadline_seconds: float = 90) -> None:
    end = time.monotonic() + deadline_seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        # A zombie that nobody has waited for yet has ended.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


# -- what a program says --------------------------------------------------------------------------


def test_both_streams_and_the_status_come_back(runner: Runner) -> None:
    argv = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    done = runner.run(argv, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.argv == tuple(argv)
    assert done.seconds > 0


def test_arguments_reach_the_program_as_they_are(runner: Runner) -> None:
    given = ["a b", "$(id)", "'\"", "*", "", "é", "-x", "a\nb", "%s", "{}"]
    done = runner.run(python("import sys, json; print(json.dumps(sys.argv[1:]))", *given))
    assert done.stdout.strip() == json.dumps(given)


def test_stdin_env_and_directory(runner: Runner, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read(), os.environ['EXTRA'], os.getcwd(), end='')"
    done = runner.run(python(code), stdin="question", env={"EXTRA": "more"}, cwd=tmp_path)
    assert done.stdout == f"question more {tmp_path}"
    assert "EXTRA" not in os.environ


def test_without_stdin_a_program_reads_nothing(runner: Runner) -> None:
    assert runner.run(python("import sys; print(repr(sys.stdin.read()))")).stdout == "''\n"


@pytest.mark.parametrize("detached", [False, True])
def test_lines_come_while_the_program_runs(runner: Runner, detached: bool, tmp_path: Path) -> None:
    """The program ends only once its first line has been seen."""
    seen = tmp_path / "seen"
    code = """
        import pathlib, sys, time
        print("first", flush=True)
        while not pathlib.Path(sys.argv[1]).exists():
            time.sleep(0.01)
        print("second", file=sys.stderr)
    """
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        seen.touch()

    runner.run(python(code, str(seen)), on_line=on_line, deadline=60, detached=detached)
    assert lines == ["first", "second"]


@pytest.mark.parametrize("detached", [False, True])
def test_a_big_output_arrives_whole(runner: Runner, detached: bool) -> None:
    code = """
        import sys
        for number in range(100_000):
            print(number, "x" * 50)
            if number % 10 == 0:
                print(number, file=sys.stderr)
    """
    done = runner.run(python(code), detached=detached)
    assert done.stdout.splitlines() == [f"{number} {'x' * 50}" for number in range(100_000)]
    assert done.stderr.splitlines() == [str(number) for number in range(0, 100_000, 10)]


@pytest.mark.parametrize("detached", [False, True])
def test_a_line_of_megabytes_arrives_whole(runner: Runner, detached: bool) -> None:
    done = runner.run(python("print('x' * 5_000_000, end='')"), detached=detached)
    assert len(done.stdout) == 5_000_000


@pytest.mark.parametrize("detached", [False, True])
def test_output_that_is_not_utf8_is_shown_as_well_as_can_be(runner: Runner, detached: bool) -> None:
    code = r"import sys; sys.stdout.buffer.write(b'caf\xe9 \xff\n')"
    assert runner.run(python(code), detached=detached).stdout == "caf\ufffd \ufffd\n"


def test_several_programs_run_at_once(runner: Runner) -> None:
    code = "import sys; print(sys.argv[1] * 1000)"
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda name: runner.run(python(code, name)), "abcdefgh"))
    assert [one.stdout.strip() for one in done] == [name * 1000 for name in "abcdefgh"]


# -- what a program is given ----------------------------------------------------------------------


@pytest.mark.parametrize("name", DROPPED)
def test_no_program_of_a_run_is_given_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "leaked")
    runner = Runner(Redactor())
    argv = ["sh", "-c", f'echo "${{{name}-unset}}"']
    assert runner.run(argv).stdout == "unset\n"
    assert runner.interact(argv) == 0
    assert capfd.readouterr().out == "unset\n"
    assert runner.run(argv, env={name: "ours"}).stdout == "ours\n"


def test_a_variable_can_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    argv = [sys.executable, "-c", "import os; print(os.environ.get('PYTHONWARNINGS'))"]
    runner = Runner(Redactor())
    assert runner.run(argv).stdout == "error\n"
    assert runner.run(argv, env={"PYTHONWARNINGS": None}).stdout == "None\n"


# -- how it ends ----------------------------------------------------------------------------------


def test_a_failure_tells_the_command_and_the_end_of_its_output(runner: Runner) -> None:
    argv = ["git", "frobnicate", "--password", SECRET, f"https://me:{SECRET}@host/"]
    with pytest.raises(CommandError) as caught:
        runner.run(argv, hint="try something else")
    error = caught.value
    assert error.message == "git frobnicate failed with exit status 1"
    assert error.command == f"git frobnicate --password '{MASK}' 'https://me:{MASK}@host/'"
    assert "is not a git command" in (error.output or "")
    assert error.hint == "try something else"


def test_a_secret_with_quotes_is_masked_in_a_command_line() -> None:
    redactor = Redactor()
    redactor.add('it\'s "it"')
    shown = Runner(redactor).show(["mysql", '--password=it\'s "it"'])
    assert shown == f"mysql '--password={MASK}'"


def test_secrets_are_masked_in_lines_and_errors_but_not_in_results(runner: Runner) -> None:
    lines: list[str] = []
    code = f"import sys; print('key {SECRET}'); print('bad {SECRET}', file=sys.stderr); sys.exit(1)"
    with pytest.raises(CommandError) as caught:
        runner.run(python(code), on_line=lines.append)
    assert sorted(lines) == [f"bad {MASK}", f"key {MASK}"]
    assert SECRET not in "\n".join(caught.value.lines())
    assert SECRET in runner.run(python(f"print('{SECRET}')")).stdout


def test_without_stderr_the_error_shows_stdout(runner: Runner) -> None:
    with pytest.raises(CommandError) as caught:
        runner.run(python("print('the only word'); raise SystemExit(1)"))
    assert caught.value.output == "the only word\n"


def test_a_program_that_is_not_there(runner: Runner) -> None:
    for call in (runner.run, runner.interact):
        with pytest.raises(MissingToolError, match="no-such-program is not on PATH") as caught:
            call(["no-such-program"])
        assert "inv doctor" in (caught.value.hint or "")


def test_a_program_ended_by_a_signal(runner: Runner) -> None:
    argv = python("import os; os.kill(os.getpid(), 9)")
    assert runner.run(argv, check=False).returncode == -signal.SIGKILL
    with pytest.raises(CommandError):
        runner.run(argv)


def test_at_the_deadline_the_program_and_its_children_end(runner: Runner, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = """
        import os, pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
        print("starting", flush=True)
        time.sleep(600)
    """
    with pytest.raises(DeadlineError, match="still running after 3 s") as caught:
        runner.run(python(code, str(pids)), deadline=3, hint="wait longer")
    assert caught.value.hint == "wait longer"
    assert caught.value.output == "starting\n"
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid))


def test_a_program_that_ignores_the_deadline_is_killed(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    """
    with pytest.raises(DeadlineError):
        runner.run(python(code), deadline=1)


def test_no_thread_is_left_after_a_run(runner: Runner) -> None:
    before = threading.active_count()
    runner.run(python("print('x')"), deadline=600)
    wait_until(lambda: threading.active_count() <= before)


# -- a short program that only reads --------------------------------------------------------------


def test_a_question_is_answered_as_by_a_run(runner: Runner, tmp_path: Path) -> None:
    code = r"""
        import os, sys
        sys.stdout.buffer.write(sys.stdin.buffer.read() + b"\r\n\xff" + os.getcwd().encode())
        sys.stderr.write(os.environ["ONE"])
        sys.exit(3)
    """
    options = {"stdin": "given", "env": {"ONE": "1"}, "cwd": tmp_path, "check": False}
    asked, run = (
        ask(python(code), deadline=60, undecodable="surrogateescape", **options)
        for ask in (runner.ask, runner.run)
    )
    assert asked.stdout == f"given\r\n\udcff{tmp_path}"
    assert (asked.returncode, asked.stderr) == (3, "1")
    assert (asked.argv, asked.returncode, asked.stdout) == (run.argv, run.returncode, run.stdout)
    with pytest.raises(CommandError, match="failed with exit status 3"):
        runner.ask(python(code), deadline=60, env={"ONE": "1"})


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "talking"])
def test_a_question_that_is_not_answered_in_time_ends_with_its_children(
    runner: Runner, tmp_path: Path, silent: bool
) -> None:
    pids = tmp_path / "pids"
    code = """
        import os, pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
        if sys.argv[2] == "silent":
            os.close(1)
        while True:
            time.sleep(0.01)
            if sys.argv[2] != "silent":
                print("x", flush=True)
    """
    argv = python(code, str(pids), "silent" if silent else "talking")
    with pytest.raises(DeadlineError, match="still running after 3 s"):
        runner.ask(argv, deadline=3)
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid))


def test_a_question_is_over_although_it_left_something_running(runner: Runner) -> None:
    code = """
        import subprocess, sys
        left = "import time; time.sleep(20)"
        subprocess.Popen([sys.executable, "-c", left], stdout=subprocess.DEVNULL)
    """
    assert runner.ask(python(code), deadline=15).returncode == 0


def test_an_interrupt_ends_a_question(tmp_path: Path) -> None:
    asking = PARENT.replace(
        '.run([sys.executable, "-c", *sys.argv[1:]])',
        '.ask([sys.executable, "-c", *sys.argv[1:]], deadline=600)',
    )
    parent = subprocess.Popen(
        python(
            asking,
            f"import os\n{CHILD}".replace("touch()", "write_text(str(os.getpid()))"),
            str(tmp_path),
        ),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = tmp_path / "ready"
    wait_until(lambda: ready.exists() and ready.read_text() != "")
    parent.send_signal(signal.SIGTERM)
    stdout, _ = parent.communicate(timeout=60)
    assert (parent.returncode, "interrupted by" in stdout) == (9, True)
    wait_until(lambda: not is_alive(int(ready.read_text())))


# -- signals to the suite are signals to the program ----------------------------------------------

PARENT = """
    import sys
    from tasks.adapters.process import Interrupted, Runner, termination_as_interrupt
    from tasks.core.redact import Redactor

    try:
        with termination_as_interrupt():
            Runner(Redactor()).run([sys.executable, "-c", *sys.argv[1:]])
    except KeyboardInterrupt as interrupt:
        print("interrupted by", getattr(interrupt, "signum", "SIGINT"))
        sys.exit(9)
"""
CHILD = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def end(number, frame):
    (folder / "signal").write_text(signal.Signals(number).name)
    sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, end)
(folder / "ready").touch()
time.sleep(600)
"""


def run_signalled(parent: str, signalling: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a parent to its end that sends itself a signal.

    Args:
        parent: its code.
        signalling: the code that sees to the signal, which goes in before the rest.
        args: the parent's arguments.
    """
    first = "import sys\n"
    code = textwrap.dedent(parent).replace(first, first + textwrap.dedent(signalling), 1)
    return subprocess.run(
        python(code, *args), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("name", "passed_on"),
    [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGTERM")],
)
def test_a_signal_reaches_the_program_which_may_end_in_order(
    name: str, passed_on: str, tmp_path: Path
) -> None:
    parent = subprocess.Popen(
        python(PARENT, CHILD, str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    wait_until((tmp_path / "ready").exists)
    parent.send_signal(signal.Signals[name])
    stdout, _ = parent.communicate(timeout=60)
    assert parent.returncode == 9, stdout
    assert (tmp_path / "signal").read_text() == passed_on
    assert name in stdout or str(int(signal.Signals[name])) in stdout


EARLY = """
    import os, pathlib, sh, signal, time
    started = sh.Command.__call__

    def told_while_starting(*args, **options):
        program = started(*args, **options)
        while not pathlib.Path(sys.argv[2], "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        return program

    sh.Command.__call__ = told_while_starting
"""


def test_a_signal_that_comes_while_the_program_is_being_started(tmp_path: Path) -> None:
    done = run_signalled(PARENT, EARLY, CHILD, str(tmp_path))
    assert done.returncode == 9, done.stderr
    assert (tmp_path / "signal").read_text() == "SIGTERM"


JUST_BEFORE = """
    import contextlib, os, signal
    from tasks.adapters import process

    @contextlib.contextmanager
    def told_before():
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    process._gate.closed = told_before
"""


def test_a_signal_that_comes_just_before_the_program_is_started(tmp_path: Path) -> None:
    done = run_signalled(PARENT, JUST_BEFORE, CHILD, str(tmp_path))
    assert done.returncode == 9, done.stderr
    assert not (tmp_path / "ready").exists()


TO_ANOTHER_THREAD = """
    import pathlib, signal, threading, time

    def take_it() -> None:
        while not pathlib.Path(sys.argv[2], "ready").exists():
            time.sleep(0.01)
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Thread(target=take_it).start()
"""


def test_a_signal_that_does_not_wake_whoever_waits_for_the_program(tmp_path: Path) -> None:
    """As one that comes just before the wait, which cannot be had on demand."""
    done = run_signalled(PARENT, TO_ANOTHER_THREAD, CHILD, str(tmp_path))
    assert done.returncode == 9, done.stderr
    assert (tmp_path / "signal").read_text() == "SIGTERM"


STUBBORN = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: (folder / "told").touch())
(folder / "ready").write_text(str(os.getpid()))
while True:
    time.sleep(1)
"""


def test_the_second_ctrl_c_ends_a_program_that_ignores_the_first(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        python(PARENT, STUBBORN, str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text() != "")
    parent.send_signal(signal.SIGINT)
    wait_until((tmp_path / "told").exists)
    parent.send_signal(signal.SIGINT)
    stdout, _ = parent.communicate(timeout=60)
    assert parent.returncode == 9, stdout
    assert not is_alive(int((tmp_path / "ready").read_text()))


PATIENT = """
    import sys
    from tasks.adapters.process import Runner, termination_as_interrupt
    from tasks.core.redact import Redactor

    seen = []

    def decide(number, send):
        seen.append(number)
        if len(seen) == 2:
            send(number)

    with termination_as_interrupt():
        done = Runner(Redactor()).run(
            [sys.executable, "-c", *sys.argv[1:]], on_signal=decide, check=False
        )
    print(len(seen), "signals, status", done.returncode)
"""


def test_who_decides_about_signals_is_told_each_and_waited_for(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        python(PATIENT, CHILD, str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    wait_until((tmp_path / "ready").exists)
    parent.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert not (tmp_path / "signal").exists()
    parent.send_signal(signal.SIGINT)
    stdout, _ = parent.communicate(timeout=60)
    assert (parent.returncode, stdout) == (0, "2 signals, status 0\n")
    assert (tmp_path / "signal").read_text() == "SIGINT"


WRITER = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def end(number, frame):
    time.sleep(1)  # the suite's threads end one by one, and its pipes with the last of them
    for stream in (1, 2):
        os.write(stream, b"saving\\n")
    (folder / "saved").touch()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
(folder / "ready").touch()
time.sleep(600)
"""


def test_a_detached_program_ends_in_order_when_the_suite_is_killed(tmp_path: Path) -> None:
    code = PARENT.replace(", *sys.argv[1:]])", ", *sys.argv[1:]], detached=True)")
    parent = subprocess.Popen(python(code, WRITER, str(tmp_path)), cwd=ROOT)
    wait_until((tmp_path / "ready").exists)
    parent.kill()
    parent.wait(timeout=30)
    wait_until((tmp_path / "saved").exists)


def test_what_the_listener_raises_ends_the_program_and_is_raised(runner: Runner) -> None:
    """It listens in another thread, where that would be lost."""
    heard: list[str] = []

    def on_line(line: str) -> None:
        heard.append(line)
        raise BrokenPipeError

    argv = ["sh", "-c", "echo one; echo two; echo three >&2; exec sleep 600"]
    with pytest.raises(BrokenPipeError):
        runner.run(argv, on_line=on_line)
    assert len(heard) == 1


# -- on the terminal ------------------------------------------------------------------------------

INTERACT = """
    import sys
    from tasks.adapters.process import Runner, termination_as_interrupt
    from tasks.core.redact import Redactor

    argv = ["sh", "-c", sys.argv[1]]
    with termination_as_interrupt():
        print("status", Runner(Redactor()).interact(argv, env={"GREETING": "hi"}))
"""


def test_a_program_on_the_terminal_talks_to_the_person() -> None:
    script = 'test -t 0 && test -t 1 && printf "%s? " "$GREETING" && read answer && exit "$answer"'
    terminal = Terminal(python(INTERACT, script), cwd=ROOT)
    terminal.expect("hi? ")
    terminal.type("5\n")
    assert terminal.finish() == 0
    assert "status 5" in terminal.text


def test_a_program_that_died_of_a_signal_has_the_status_of_a_shell(runner: Runner) -> None:
    """As `inv console | head` has it, where the program itself writes into the closed pipe."""
    assert runner.interact(["sh", "-c", "kill -PIPE $$"]) == 128 + signal.SIGPIPE
    assert runner.interact(["sh", "-c", "exit 7"]) == 7


def test_ctrl_c_on_the_terminal_is_the_program_s_own_matter() -> None:
    script = 'trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.1; done'
    terminal = Terminal(python(INTERACT, script), cwd=ROOT)
    terminal.expect("ready")
    terminal.type("\x03")
    assert terminal.finish() == 0
    assert "caught" in terminal.text
    assert "status 7" in terminal.text


def test_a_signal_to_the_suite_alone_reaches_the_program_on_the_terminal() -> None:
    script = 'trap "echo told; exit 8" TERM; echo ready; while :; do sleep 0.1; done'
    terminal = Terminal(python(INTERACT, script), cwd=ROOT)
    terminal.expect("ready")
    terminal.signal(signal.SIGTERM)
    assert terminal.finish() == 0
    assert "status 8" in terminal.text


TOLD_WHILE_STARTING = """
    import os, pathlib, signal, subprocess, time
    started = subprocess.Popen.__init__

    def told_while_starting(process, *args, **options):
        started(process, *args, **options)
        while not pathlib.Path(sys.argv[2]).exists():
            time.sleep(0.01)
        os.kill(os.getpid(), int(sys.argv[3]))
        time.sleep(0.1)

    subprocess.Popen.__init__ = told_while_starting
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 8), (signal.SIGINT, 0)])
def test_a_signal_while_the_program_on_the_terminal_is_being_started(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = f'trap "exit 8" TERM; touch {ready}; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done'
    done = run_signalled(INTERACT, TOLD_WHILE_STARTING, script, str(ready), str(int(number)))
    assert done.stdout == f"status {status}\n", done.stderr
    assert done.returncode == 0


def test_a_signal_that_does_not_wake_whoever_waits_for_the_program_on_the_terminal(
    tmp_path: Path,
) -> None:
    script = f'trap "exit 8" TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done'
    done = run_signalled(INTERACT, TO_ANOTHER_THREAD, script, str(tmp_path))
    assert done.stdout == "status 8\n", done.stderr


# -- whether one is alive ------------------------------------------------------------------------


def test_a_process_is_alive_until_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        assert identity.is_alive(program.pid)
    assert not identity.is_alive(program.pid)


# -- bytes ------------------------------------------------------------------------------------


def test_bytes_pass_through_a_program_as_they_are(runner: Runner) -> None:
    came, lines = bytearray(), list[str]()
    code = """
        import sys
        sys.stdout.buffer.write(sys.stdin.buffer.read(1_024_000))
        print(sys.argv[1], "told", file=sys.stderr)
        sys.exit(5)
    """
    sent = bytes(range(256)) * 4000
    parts = (sent[start : start + 70_000] for start in range(0, len(sent), 70_000))
    status = runner.pipe(python(code, SECRET), source=parts, take=came.extend, on_line=lines.append)
    assert (status, bytes(came), lines) == (5, sent, [f"{MASK} told"])
    # It need not read what it is sent.
    assert runner.pipe(["true"], source=iter([sent]), take=came.extend, on_line=lines.append) == 0


@pytest.mark.parametrize("side", ["source", "take"])
def test_a_program_ends_when_its_bytes_cannot_be_given_or_taken(
    runner: Runner, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LET_GO_SECONDS", 0.5)

    def fail(*_: bytes) -> None:
        raise ValueError(side)

    def source() -> Iterator[bytes]:
        yield b"first"
        if side == "source":
            fail()
        yield b"second"

    with pytest.raises(ValueError, match=side):
        runner.pipe(
            ["sh", "-c", "echo some; exec sleep 600"],
            source=source(),
            take=fail if side == "take" else lambda _: None,
            on_line=print,
        )


HOLDER = """
    import sys
    from functools import partial
    from tasks.adapters.process import Interrupted, Runner, termination_as_interrupt
    from tasks.core.redact import Redactor

    with termination_as_interrupt():
        try:
            Runner(Redactor()).pipe(
                sys.argv[1:],
                source=[b"first"],
                take=lambda _: None,
                on_line=partial(print, flush=True),
            )
        except Interrupted as interrupt:
            print("status", interrupt.status, flush=True)
"""
"""Runs a program as one in a container is run."""
SAFE = "head -c 5 >/dev/null; echo begun >&2; cat >/dev/null; echo ended >&2; sleep 1; exit 143"
DEAF = "trap '' TERM; echo begun >&2; exec sleep 600 >/dev/null"


@contextlib.contextmanager
def holding(script: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a program that is held, from its first words on; at the end, who holds it is killed."""
    with subprocess.Popen(
        python(HOLDER, "sh", "-c", script), stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        try:
            assert holder.stdout.readline() == "begun\n"
            yield holder, holder.stdout
        finally:
            holder.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_go_of_a_program_that_is_held_and_tells_how_it_ended(
    signum: signal.Signals,
) -> None:
    with holding(SAFE) as (holder, stdout):
        holder.send_signal(signum)
        assert stdout.read() == "ended\nstatus 143\n"


def test_of_a_program_that_does_not_end_a_second_interrupt_knows_nothing() -> None:
    with holding(DEAF) as (holder, stdout):
        holder.send_signal(signal.SIGINT)
        time.sleep(1)
        holder.send_signal(signal.SIGINT)
        assert stdout.read() == "status None\n"


def test_a_program_notices_that_what_holds_it_was_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"head -c 5 >/dev/null; echo begun >&2; cat >/dev/null; echo ended >{said}"
    with holding(script):
        pass
    wait_until(said.exists)

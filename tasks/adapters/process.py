"""Runs programs: argv lists, streamed and redacted output, timeouts, forwarded signals."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from tasks.core.errors import CommandError, DeadlineError, MissingToolError
from tasks.core.redact import Redactor
from tasks.core.variables import inherited_variables

if TYPE_CHECKING:
    from types import FrameType

GRACE_SECONDS = 15.0
"""How long a program may take to exit after a signal before it is killed."""

LOOK_SECONDS = 0.5
"""How often a wait for a program is interrupted, so that Python can handle signals."""

TAIL_SECONDS = 0.1
"""How often the output of a detached program is read."""

LET_GO_SECONDS = 40.0
"""How long a program in a container may take to end once its input was let go.

It ends at its next safe point, or finishes what cannot be left half done. What it runs itself may
take 15 seconds to end, and tables that are in use are waited for.
"""

PIPE_BYTES = 1 << 16
"""How much of a program's output is taken at once."""

PR_SET_PDEATHSIG = 1


class Interrupted(KeyboardInterrupt):
    """A signal told this run to end.

    Attributes:
        signum: the signal; a plain KeyboardInterrupt is SIGINT.
        status: the exit status of the program in a container that was let go then; None if it has
            not ended in time, or none was running.
    """

    def __init__(self, signum: int, status: int | None = None) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum
        self.status = status


def interrupted(interrupt: KeyboardInterrupt, status: int | None) -> Interrupted:
    """Return an interrupt that tells what became of the program that was running."""
    return Interrupted(getattr(interrupt, "signum", signal.SIGINT), status)


class OnStart(Protocol):
    """Is given the means to end a program early, as soon as it has started."""

    def __call__(self, end: Callable[[], None], /) -> None:
        """Keep ``end``, which may be called from any thread."""


class OnSignal(Protocol):
    """Decides what a signal to this process does to the program that is running."""

    def __call__(self, signum: int, send: Callable[[int], None], /) -> None:
        """Handle a signal; ``send`` sends one to the program's group."""


class _Gate:
    """Defers signals while a program is being started.

    An exception raised during a fork is lost: Python runs the hooks of ``os.register_at_fork``
    there (logging has one), and only prints what they raise. One raised after the fork, but before
    the process is known, could not be forwarded to it.
    """

    def __init__(self) -> None:
        self._closed = False
        self._kept: int | None = None
        self._to: Callable[[int], None] | None = None

    def take(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal: raise it, forward it, or defer it."""
        if self._to:
            self._to(signum)
        elif self._closed:
            self._kept = signum
        else:
            raise Interrupted(signum)

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Defer signals; only the main thread receives any."""
        mine = threading.current_thread() is threading.main_thread()
        self._closed = self._closed or mine
        try:
            yield
        finally:
            self._to = None if mine else self._to
            self._closed = self._closed and not mine

    def hand_to(self, to: Callable[[int], None]) -> None:
        """Forward signals, including a deferred one, for as long as the gate is closed."""
        self._to = to
        kept, self._kept = self._kept, None
        if kept is not None:
            to(kept)

    def give_back(self) -> None:
        """Raise the deferred signal, if there is one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            raise Interrupted(kept)


_gate = _Gate()


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Raise ``Interrupted`` for SIGINT, SIGTERM and SIGHUP: each ends a run like Ctrl-C."""
    before = {number: signal.signal(number, _gate.take) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Completed:
    """A program that has exited."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class _Listener:
    """Passes on a program's lines, which two threads deliver, one at a time.

    If ``on_line`` raises an exception, it ends the program and stores the exception.
    """

    def __init__(self, on_line: Callable[[str], None] | None, redactor: Redactor) -> None:
        self._on_line = on_line
        self._redactor = redactor
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self.failure: Exception | None = None

    def collect(self, lines: list[str]) -> Callable[[str], None]:
        """Return a function that handles a stream's lines, and appends them to a list."""

        def take(line: str) -> None:
            lines.append(line)
            if self._on_line is None:
                return
            with self._lock:
                if self.failure:
                    return
                try:
                    self._on_line(self._redactor(line.rstrip("\r\n")))
                except Exception as error:
                    self.failure = error
                    if self._end:
                        self._end()

        return take

    def end_with(self, end: Callable[[], None]) -> None:
        """Set the function that ends the program, once it has started."""
        with self._lock:
            self._end = end
            if self.failure:
                end()


class _Detached:
    """Reads a program's output through a file in memory instead of a pipe.

    A pipe breaks when this process is killed, and most programs die when they next write to it.

    Args:
        take: called with each line.
        errors: Python's error handler for bytes that are not UTF-8.
    """

    def __init__(self, take: Callable[[str], None], errors: str) -> None:
        if sys.platform == "linux":
            self.file: IO[bytes] = os.fdopen(os.memfd_create("output"), "r+b", buffering=0)
        else:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        self._take = take
        self._decode = codecs.getincrementaldecoder("utf-8")(errors).decode
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Pass on the rest, once the program has exited."""
        self._ended.set()
        self._reader.join()
        self.file.close()

    def _read(self) -> None:
        offset, rest, ended = 0, "", False
        while not ended:
            ended = self._ended.wait(TAIL_SECONDS)
            while chunk := os.pread(self.file.fileno(), 1 << 20, offset):
                offset += len(chunk)
                *lines, rest = (rest + self._decode(chunk)).split("\n")
                for line in lines:
                    self._take(f"{line}\n")
        if rest := rest + self._decode(b"", True):
            self._take(rest)


class _Ending:
    """Ends a program by a signal, and kills it if it takes too long."""

    def __init__(self) -> None:
        self._timers: list[threading.Timer] = []
        self.late = False

    def begin(self, process: Any, deadline: float | None) -> None:
        """Set the process, and start its deadline in seconds, if there is one."""
        self._process = process
        if deadline is not None:
            self._after(deadline, self._expire)

    def send(self, signum: int) -> None:
        """Send a signal to the program's group."""
        # It may have ended between the decision and the signal.
        with contextlib.suppress(ProcessLookupError):
            self._process.signal_group(signum)

    def end(self, signum: int = signal.SIGTERM) -> None:
        """Signal the program to end, and kill it if it does not in time."""
        self.send(signum)
        self._after(GRACE_SECONDS, lambda: self.send(signal.SIGKILL))

    def cancel(self) -> None:
        """Cancel the timers: the program has exited."""
        for timer in self._timers:
            timer.cancel()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(threading.Timer(seconds, action))
        self._timers[-1].start()

    def _expire(self) -> None:
        self.late = True
        self.end()


class _Feed:
    """Writes what a program reads, in a thread, and holds its standard input open until let go.

    Args:
        process: the program.
        source: what it reads.

    Attributes:
        failure: what ``source`` raised. The program has been let go then, and terminated if it
            has not ended in time.
    """

    def __init__(self, process: subprocess.Popen[bytes], source: Iterable[bytes]) -> None:
        assert process.stdin  # noqa: S101 - for the type
        self.failure: Exception | None = None
        self._process = process
        self._file = process.stdin
        self._source = source
        self._let_go = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="stdin").start()

    def let_go(self) -> None:
        """End the program's standard input, if it still reads."""
        self._let_go.set()
        with contextlib.suppress(BrokenPipeError):
            self._file.close()

    def _run(self) -> None:
        try:
            for data in self._source:
                left = memoryview(data)
                while left and not self._let_go.is_set():
                    left = left[self._file.write(left) :]
                if self._let_go.is_set():
                    return
        except BrokenPipeError:
            """It may end before it has read everything."""
        except Exception as error:
            if self._let_go.is_set():  # it was closed meanwhile
                return
            self.failure = error
            self.let_go()
            try:
                self._process.wait(LET_GO_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.terminate()


class Runner:
    """Runs programs for the adapters.

    Args:
        redactor: masks secrets in every command line and output that is shown or raised.
    """

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        deadline: float | None = None,
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
        hint: str | None = None,
        undecodable: str = "replace",
        on_start: OnStart | None = None,
        on_signal: OnSignal | None = None,
        detached: bool = False,
    ) -> Completed:
        """Run a program to its end and return its output.

        The program runs in its own process group. SIGINT and SIGTERM to this process are forwarded
        to the group, SIGHUP as SIGTERM; it then has 15 seconds to exit, or until the second signal.

        Args:
            argv: the program, looked up on PATH, and its arguments.
            stdin: its standard input; secrets are passed here, never in argv.
            env: variables added to those inherited from this process; None removes one.
            cwd: its working directory.
            deadline: seconds after which it is ended.
            on_line: called with every line of its output, redacted, as it comes.
            check: raise if its exit status is not 0.
            hint: the hint of the error.
            undecodable: Python's error handler for bytes that are not UTF-8.
            on_start: receives a function that ends the program early, from another thread.
            on_signal: handles signals instead of the forwarding above; the program may then take
                as long as it needs to exit.
            detached: the program can still write, and exit in order, when this process is killed.

        Raises:
            MissingToolError: the program is not on PATH.
            CommandError: its exit status was not 0.
            DeadlineError: it was still running at the deadline.
            KeyboardInterrupt: this process was interrupted; the program has exited.
            Exception: raised by on_line; the program was ended.
        """
        import sh

        started = time.monotonic()
        stdout: list[str] = []
        stderr: list[str] = []
        listener = _Listener(on_line, self.redactor)

        program = sh.Command(self.find(argv[0]))
        takers = (listener.collect(stdout), listener.collect(stderr))
        files = [_Detached(take, undecodable) for take in takers if detached]
        out, err = (file.file for file in files) if detached else takers
        ending = _Ending()
        ended: Future[int] | None = None
        try:
            with _gate.closed():
                process = program(
                    *argv[1:],
                    _in=stdin,
                    _out=out,
                    _err=err,
                    _env=_environment(env or {}),
                    _cwd=str(cwd) if cwd else None,
                    _bg=True,
                    _bg_exc=False,
                    _no_out=True,
                    _no_err=True,
                    _tty_out=False,
                    _new_group=True,
                    _decode_errors=undecodable,
                    _preexec_fn=_end_with_parent,
                )
                ending.begin(process, deadline)
                listener.end_with(ending.end)
                if on_start:
                    on_start(ending.end)
                ended = _end_of(process)
                if on_signal:
                    _gate.hand_to(lambda signum: on_signal(signum, ending.send))
                    _wait(ended)
            _gate.give_back()
            returncode = _wait(ended)
        except KeyboardInterrupt as interrupt:
            if ended is None:
                raise  # it was not started: the signal came just before the gate was closed
            signum = getattr(interrupt, "signum", signal.SIGINT)
            try:
                # sh starts every program with SIGHUP ignored.
                ending.end(signal.SIGTERM if signum == signal.SIGHUP else signum)
                _wait(ended)
            except KeyboardInterrupt:
                # The second signal: kill it.
                ending.send(signal.SIGKILL)
                _wait(ended)
            raise
        finally:
            ending.cancel()
            for file in files:
                file.close()
        if listener.failure:
            raise listener.failure
        done = Completed(
            tuple(argv), returncode, "".join(stdout), "".join(stderr), time.monotonic() - started
        )
        if ending.late:
            raise self._late(done, deadline, hint=hint)
        if check and returncode != 0:
            raise self.error(done, hint=hint)
        return done

    def ask(
        self,
        argv: Sequence[str],
        *,
        deadline: float,
        stdin: str = "",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        undecodable: str = "replace",
    ) -> Completed:
        """Run a short program that only reads, and return its output.

        It costs a fraction of ``run``, which copies this process and starts threads: git is asked a
        dozen times in a run. A signal to this process kills it, and its group.

        Args and errors as for ``run``.
        """
        started = time.monotonic()
        full = [self.find(argv[0]), *argv[1:]]
        # A file for its errors, because SSH that it leaves running for the next question keeps it.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(stdin.encode())
            given.seek(0)
            with _gate.closed():
                process = subprocess.Popen(
                    full,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=_environment(env or {}),
                    cwd=cwd,
                    process_group=0,
                )
            with _killed_unless_ended(process):
                _gate.give_back()
                output = b"".join(_output(process, deadline))
                late = not _has_ended(process, started + deadline)
            said.seek(0)
            out, err = (each.decode(errors=undecodable) for each in (output, said.read()))
        done = Completed(tuple(argv), process.returncode, out, err, time.monotonic() - started)
        if late:
            raise self._late(done, deadline)
        if check and done.returncode != 0:
            raise self.error(done)
        return done

    def interact(self, argv: Sequence[str], *, env: Mapping[str, str | None] | None = None) -> int:
        """Run a program on this process's own terminal and return its exit status.

        If a signal killed it, the status is 128 plus the signal's number, as in a shell.

        Raises:
            MissingToolError: the program is not on PATH.
        """
        full = [self.find(argv[0]), *argv[1:]]
        with (
            _gate.closed(),
            subprocess.Popen(full, env=_environment(env or {})) as process,
        ):

            def hand_on(signum: int) -> None:
                # The terminal sends its SIGINT to the program as well: it decides.
                if signum != signal.SIGINT:
                    process.send_signal(signum)

            _gate.hand_to(hand_on)
            while True:
                # As in _wait: never blocked for long.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(LOOK_SECONDS)
                    return status if status >= 0 else 128 - status

    def pipe(
        self,
        argv: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        """Run a program that reads and writes bytes; return its exit status.

        Its standard input is held open until it has ended: the end of that tells it, wherever it
        runs, that this process was interrupted or killed. After a signal to this process it has
        ``LET_GO_SECONDS`` to end by itself, or until the second signal.

        Args:
            argv: the program, looked up on PATH, and its arguments.
            source: its standard input, read as fast as it takes it.
            take: called with what it writes to its standard output, part by part.
            on_line: called with every line of its standard error, redacted, from another thread.

        Raises:
            MissingToolError: the program is not on PATH.
            Interrupted: this process was interrupted; with the program's exit status.
            Exception: raised by ``source`` or ``take``; the program was ended.
        """
        full = [self.find(argv[0]), *argv[1:]]

        def tell(stderr: IO[bytes]) -> None:
            with stderr:
                for line in io.BufferedReader(cast("io.RawIOBase", stderr)):
                    on_line(self.redactor(line.decode(errors="replace").rstrip("\r\n")))

        with _gate.closed():
            process = subprocess.Popen(
                full,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment({}),
                start_new_session=True,  # Ctrl-C on the terminal is for this process
            )
            feed = _Feed(process, source)
            teller = threading.Thread(target=tell, args=(process.stderr,), daemon=True)
            teller.start()
        try:
            _gate.give_back()
            for data in _output(process):
                take(data)
            status = process.wait()
        except KeyboardInterrupt as interrupt:
            feed.let_go()
            ended = _end(process, LET_GO_SECONDS)
            teller.join(LOOK_SECONDS)
            raise interrupted(interrupt, ended) from None
        except BaseException:
            process.terminate()
            _end(process, GRACE_SECONDS)
            raise
        finally:
            feed.let_go()
        teller.join()
        if feed.failure:
            raise feed.failure
        return status

    def find(self, program: str) -> str:
        """Return the path of a program.

        Raises:
            MissingToolError: it is not on PATH.
        """
        path = which(program)
        if path is None:
            raise MissingToolError(
                f"{program} is not on PATH", hint="`inv doctor` says what this machine needs"
            )
        return path

    def show(self, argv: Sequence[str]) -> str:
        """Return a command line as a person would type it, redacted."""
        # Masked before quoting, which would change a secret that contains a quote.
        return shlex.join(self.redactor(part) for part in argv)

    def _late(
        self, done: Completed, deadline: float | None, *, hint: str | None = None
    ) -> DeadlineError:
        return DeadlineError(
            f"{done.argv[0]} was still running after {deadline:.0f} s and was ended",
            command=self.show(done.argv),
            output=self.redactor(done.stderr or done.stdout),
            hint=hint,
        )

    def error(
        self, done: Completed, *, what: str | None = None, hint: str | None = None
    ) -> CommandError:
        """Return the error for a program that failed."""
        name = (
            " ".join(done.argv[:2]) if done.argv[1:2] and done.argv[1][0] != "-" else done.argv[0]
        )
        return CommandError(
            what or f"{name} failed with exit status {done.returncode}",
            command=self.show(done.argv),
            output=self.redactor(done.stderr.strip() or done.stdout),
            hint=hint,
        )


def _output(process: subprocess.Popen[bytes], seconds: float | None = None) -> Iterator[bytes]:
    """Yield what a program writes to its standard output, until its end.

    Args:
        seconds: for how long; None for as long as it runs.
    """
    assert process.stdout  # noqa: S101 - for the type
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        # As in _wait: never blocked for long.
        if select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
            data = os.read(process.stdout.fileno(), PIPE_BYTES)
            if not data:
                return
            yield data


def _has_ended(process: subprocess.Popen[bytes], until: float) -> bool:
    """Wait for a program that has said everything; return whether it has ended by a moment."""
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


@contextlib.contextmanager
def _killed_unless_ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a program and its group afterwards, unless it has ended."""
    try:
        yield
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout  # noqa: S101 - for the type
        process.stdout.close()


def _end(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait until a program has ended by itself; return its exit status, or None if it was killed.

    Args:
        seconds: how long it may take; it has less if this process is interrupted meanwhile.
    """
    until = time.monotonic() + seconds
    with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        for _ in _output(process, seconds):
            """Nobody wants it any more, but it must not block."""
        return process.wait(max(0.0, until - time.monotonic()))
    process.kill()
    process.wait()
    return None


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return a program's environment: the inherited variables with changes."""
    whole = {**inherited_variables(os.environ), **changes}
    return {name: value for name, value in whole.items() if value is not None}


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent is killed (prctl(2), Linux only).

    Otherwise the Helm of a killed run would go on changing a release that the next run has taken
    over.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_of(process: Any) -> Future[int]:
    """Return the future exit status of a process started by sh; negative for a signal."""
    import sh

    ended: Future[int] = Future()

    def wait() -> None:
        try:
            with contextlib.suppress(sh.ErrorReturnCode):
                process.wait()
            ended.set_result(int(process.process.exit_code))
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=wait, daemon=True, name="wait").start()
    return ended


def _wait(ended: Future[int]) -> int:
    """Wait for an exit status, but let Python handle signals meanwhile.

    Python runs signal handlers between two bytecodes of the main thread: a signal that arrives just
    before the thread blocks is handled only when it continues. So it never blocks for long.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            return ended.result(LOOK_SECONDS)

"""Runs a command in a pod, on this process's own terminal: the API's exec over a websocket.

The protocol is v5.channel.k8s.io (staging/src/k8s.io/apimachinery/pkg/util/remotecommand): each
message begins with the number of its channel. v4, of API servers before 1.30, differs only in that
it cannot signal the end of stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import ssl
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tasks.adapters.kubernetes.transport import Transport
from tasks.adapters.process import LET_GO_SECONDS, LOOK_SECONDS, interrupted
from tasks.core.errors import ClusterError

if TYPE_CHECKING:
    from websocket import WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5 = "v5.channel.k8s.io"
PING_SECONDS = 30.0
"""Load balancers cut connections that are silent for a minute or more."""
CHUNK_BYTES = 32 * 1024
SILENT_SECONDS = 60.0
"""Timeout of a silent command without a terminal: its container, or node, may hang."""
PIPE_SILENT_SECONDS = 900.0
"""The same of one that reads bytes: it may be busy with what it has, and take no more."""
ENDED = "-- ended --"
"""What a command whose input is held open says on its standard error when it has ended."""
HELD = ("sh", "-c", f'"$@"; status=$?; echo "{ENDED}" >&2; cat > /dev/null; exit "$status"', "sh")
"""Runs a command, says that it has ended, and takes what it has left of its input.

Of one that leaves some, a container runtime may not tell the end as long as that is not taken
(containerd 2): the exec would stay open until it counts as silent.
"""


class Exec:
    """One command in one container.

    Args:
        transport: speaks to the API server.
        path: the API path of the pod's exec.
        argv: the command.
    """

    def __init__(
        self, transport: Transport, path: str, container: str, argv: Sequence[str]
    ) -> None:
        self._transport = transport
        self._path = path
        self._container = container
        self._argv = argv
        self._ended = threading.Event()
        self._is_held = tuple(argv[: len(HELD)]) == HELD
        self._let_go = threading.Event()
        self._has_closed = False
        self._until: float | None = None
        # Before Python 3.13 two threads must not use one TLS connection at the same moment.
        self._using = threading.Lock()
        # Held for a whole message: nothing may come between its parts.
        self._sending = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> int:
        """Run it to its end; return its exit status.

        Raises:
            ClusterError: it could not be started, or the connection broke off.
        """
        on_terminal = os.isatty(0) and os.isatty(1)
        options = {"stdin": True, "stdout": True, "stderr": not on_terminal, "tty": on_terminal}
        query = [("container", self._container)]
        query += [(name, str(value).lower()) for name, value in options.items()]
        query += [("command", word) for word in self._argv]
        socket = self._transport.websocket(self._path, query)
        with _raw_terminal() if on_terminal else contextlib.nullcontext():
            if on_terminal:
                before = signal.signal(signal.SIGWINCH, lambda *_: self._wake(b"w"))
                self._wake(b"w")
            sender = threading.Thread(target=self._send, args=(socket,), daemon=True, name="stdin")
            sender.start()
            try:
                return self._receive(socket, _show)
            finally:
                self._ended.set()
                self._wake(b"e")
                if on_terminal:
                    signal.signal(signal.SIGWINCH, before)
                socket.close(timeout=1)

    def output(self) -> tuple[int, bytes]:
        """Run it to its end without a terminal; return its exit status and what it wrote to stdout.

        Raises:
            ClusterError: it could not be started, the connection broke off, or the command was
                silent for ``SILENT_SECONDS``.
        """
        query = [("container", self._container), ("stdout", "true"), ("stderr", "true")]
        query += [("command", word) for word in self._argv]
        socket = self._transport.websocket(self._path, query)
        socket.settimeout(SILENT_SECONDS)
        said = bytearray()

        def take(channel: int, data: bytes) -> None:
            if channel == STDOUT:
                said.extend(data)

        try:
            return self._receive(socket, take), bytes(said)
        finally:
            socket.close(timeout=1)

    def pipe(
        self,
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        """Run a command that reads and writes bytes to its end; return its exit status.

        Its standard input is held open until it has ended, if it begins with ``HELD``: the end of
        that tells it that this process was interrupted or killed, or that the connection is lost.
        After a signal to this process it has ``LET_GO_SECONDS`` to end by itself. Another command
        has to take all of ``source``, also where it fails: with containerd 2 the end of one that
        leaves some is not told. An API server before 1.30 cannot tell the end of its input.

        Args:
            source: its standard input, read as fast as it takes it.
            take: called with what it writes to its standard output, part by part.
            on_line: called with every line of its standard error.

        Raises:
            ClusterError: it could not be started, or the connection broke off, which it notices
                after ``PIPE_SILENT_SECONDS`` at the latest.
            Interrupted: this process was interrupted; with the command's exit status.
            Exception: raised by ``source`` or ``take``; the connection was closed.
        """
        query = [("container", self._container)]
        query += [(name, "true") for name in ("stdin", "stdout", "stderr")]
        query += [("command", word) for word in self._argv]
        socket = self._transport.websocket(self._path, query)
        socket.settimeout(PIPE_SILENT_SECONDS)
        failures: list[Exception] = []

        def tell(line: str) -> None:
            if line == ENDED:
                self._close_input(socket)
            else:
                on_line(line)

        lines = _Lines(tell)
        feeder = threading.Thread(
            target=self._feed, args=(socket, source, failures), daemon=True, name="stdin"
        )
        feeder.start()

        def receive(channel: int, data: bytes) -> None:
            (take if channel == STDOUT else lines.add)(data)

        def drain(channel: int, data: bytes) -> None:
            if channel == STDERR:
                lines.add(data)

        try:
            status = self._receive(socket, receive)
        except KeyboardInterrupt as interrupt:
            ended = self._end(socket, drain) if self._is_held else None
            raise interrupted(interrupt, ended) from None
        except ClusterError:
            if failures:
                raise failures[0] from None
            raise
        finally:
            self._ended.set()
            self._let_go.set()
            socket.close(timeout=1)
            lines.end()
        if failures:
            raise failures[0]
        return status

    def _end(self, socket: WebSocket, take: Callable[[int, bytes], None]) -> int | None:
        """Let go of the command and wait for its end; return its exit status, or None."""
        self._close_input(socket)
        self._until = time.monotonic() + LET_GO_SECONDS
        with contextlib.suppress(KeyboardInterrupt, ClusterError):
            return self._receive(socket, take)
        return None

    def _close_input(self, socket: WebSocket) -> None:
        """Tell the command that its input has ended, once."""
        from websocket import WebSocketException

        self._let_go.set()
        # The receiving thread reports a lost connection.
        with self._sending, self._using, contextlib.suppress(WebSocketException, OSError):
            if not self._has_closed and _can_close(socket):
                self._has_closed = True
                socket.send_binary(bytes([CLOSE, STDIN]))

    def _feed(self, socket: WebSocket, source: Iterable[bytes], failures: list[Exception]) -> None:
        """Send everything, hold the input open if need be, then keep the connection alive."""
        from websocket import WebSocketException

        # The receiving thread reports a lost connection.
        with contextlib.suppress(WebSocketException, OSError):
            try:
                self._send_all(socket, source)
            except (WebSocketException, OSError):
                raise
            except Exception as error:
                failures.append(error)
                self._let_go.set()
                if not (self._is_held and _can_close(socket)):
                    socket.close(timeout=1)
                    return
            while self._is_held and not self._let_go.wait(PING_SECONDS):
                with self._sending, self._using:
                    socket.ping()
            self._close_input(socket)
            while not self._ended.wait(PING_SECONDS):
                with self._sending, self._using:
                    socket.ping()

    def _send_all(self, socket: WebSocket, source: Iterable[bytes]) -> None:
        for data in source:
            for start in range(0, len(data), CHUNK_BYTES):
                with self._sending:
                    if self._let_go.is_set():
                        return
                    self._put(socket, bytes([STDIN]) + data[start : start + CHUNK_BYTES])

    def _put(self, socket: WebSocket, message: bytes) -> None:
        """Send a message, and let go of the connection wherever that would wait.

        A command that writes as it reads takes no more until what it has written is received.
        """
        from websocket import ABNF, WebSocketConnectionClosedException

        frame = ABNF.create_frame(message, ABNF.OPCODE_BINARY).format()
        while True:
            with self._using:
                connection: Any = socket.sock
                if connection is None:
                    raise WebSocketConnectionClosedException("socket is already closed.")
                frame = frame[_send_some(connection, frame) :]
            if not frame:
                return
            # ValueError: it was closed meanwhile.
            with contextlib.suppress(ValueError):
                select.select([], [connection], [], LOOK_SECONDS)

    def _wake(self, why: bytes) -> None:
        os.write(self._wake_write, why)

    # -- receiving ------------------------------------------------------------------------------

    def _receive(self, socket: WebSocket, take: Callable[[int, bytes], None]) -> int:
        status: dict[str, Any] | None = None
        for channel, data in self._messages(socket):
            if channel in {STDOUT, STDERR}:
                take(channel, data)
            elif channel == ERROR:
                status = json.loads(data)
        if status is None:
            raise ClusterError(
                f"the connection to {self._container} broke off",
                hint="what was started there may still be running: inv status",
            )
        return self._exit_status(status)

    def _messages(self, socket: WebSocket) -> Iterator[tuple[int, bytes]]:
        """Yield channels and their data until the connection ends, for whatever reason."""
        from websocket import ABNF, WebSocketException

        with contextlib.suppress(WebSocketException, OSError):
            while True:
                _wait_readable(socket, self._until)
                with self._using:
                    opcode, frame = socket.recv_data_frame(True)
                if opcode == ABNF.OPCODE_CLOSE:
                    return
                if opcode == ABNF.OPCODE_BINARY and frame.data:
                    yield frame.data[0], frame.data[1:]

    def _exit_status(self, status: dict[str, Any]) -> int:
        if status["status"] == "Success":
            return 0
        for cause in status.get("details", {}).get("causes", []):
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        raise ClusterError(
            f"{self._argv[0]} cannot be run in {self._container}: {status.get('message', status)}"
        )

    # -- sending --------------------------------------------------------------------------------

    def _send(self, socket: WebSocket) -> None:
        from websocket import WebSocketException

        sources = [self._wake_read, 0]
        # The receiving thread reports a lost connection.
        with contextlib.suppress(WebSocketException, OSError):
            while not self._ended.is_set():
                readable, _, _ = select.select(sources, [], [], PING_SECONDS)
                if not readable:
                    socket.ping()
                if self._wake_read in readable and b"w" in os.read(self._wake_read, CHUNK_BYTES):
                    size = os.get_terminal_size()
                    told = json.dumps({"Width": size.columns, "Height": size.lines})
                    socket.send_binary(bytes([RESIZE]) + told.encode())
                if 0 in readable:
                    data = os.read(0, CHUNK_BYTES)
                    if data:
                        socket.send_binary(bytes([STDIN]) + data)
                        continue
                    sources.remove(0)
                    if _can_close(socket):
                        socket.send_binary(bytes([CLOSE, STDIN]))


def _can_close(socket: WebSocket) -> bool:
    """Return whether the API server can tell a command that its input has ended."""
    return (socket.getheaders() or {}).get("sec-websocket-protocol") == V5


def _send_some(connection: Any, data: bytes) -> int:
    """Send as much as goes without waiting; return how much."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        return int(connection.send(data))
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return 0
    finally:
        connection.settimeout(timeout)


def _wait_readable(socket: WebSocket, until: float | None) -> None:
    """Wait until something has come, at most for the socket's timeout.

    Args:
        until: when there is no more waiting, as ``time.monotonic``; None for never.
    """
    connection: Any = socket.sock
    pending = getattr(connection, "pending", lambda: 0)
    silent = socket.gettimeout()
    ends = [time.monotonic() + silent] if silent else []
    ends += [until] if until else []
    # Never blocked for long: a signal that comes just before is handled only afterwards.
    while not pending() and not select.select([connection], [], [], LOOK_SECONDS)[0]:
        if ends and time.monotonic() > min(ends):
            raise TimeoutError


class _Lines:
    """Makes lines of what a command writes."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))

    def end(self) -> None:
        if self._rest:
            self.add(b"\n")


def _show(channel: int, data: bytes) -> None:
    stream = sys.stdout if channel == STDOUT else sys.stderr
    stream.buffer.write(data)
    stream.buffer.flush()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Pass every key to the command: its own terminal handles Ctrl-C."""
    before = termios.tcgetattr(0)
    # Not flushed: what was typed ahead is for the command.
    tty.setraw(0, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)

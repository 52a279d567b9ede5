"""`pods/exec` as the tests' node serves it: a real program of this machine, over a websocket.

The kubelet's side of v5.channel.k8s.io: an API server of 1.36 passes a client's websocket on to a
node that declares ExtendWebSocketsToKubelet.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
BINARY, CLOSING, PING, PONG = 2, 8, 9, 10
PROTOCOL = "v5.channel.k8s.io"
ANSWER_SECONDS = 5.0
# RFC 6455, 1.3
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def serve(
    handler: BaseHTTPRequestHandler,
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    tty: bool,
) -> None:
    """Answer an exec request: run the program to its end, its streams on the websocket."""
    asked = handler.headers.get("Sec-WebSocket-Protocol", "")
    if PROTOCOL not in asked:
        handler.send_error(403, f"only {PROTOCOL} is served here, not {asked!r}")
        return
    digest = hashlib.sha1(
        (handler.headers["Sec-WebSocket-Key"] + GUID).encode(), usedforsecurity=False
    )
    handler.send_response(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.send_header("Sec-WebSocket-Accept", base64.b64encode(digest.digest()).decode())
    handler.send_header("Sec-WebSocket-Protocol", PROTOCOL)
    handler.end_headers()
    handler.close_connection = True
    _Session(handler).run(argv, env, tty=tty)


class _Session:
    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self._lock = threading.Lock()
        self._terminal = -1

    def run(self, argv: Sequence[str], env: Mapping[str, str], *, tty: bool) -> None:
        try:
            process, stdin, outputs = self._start(argv, env, tty=tty)
        except OSError as error:
            words = f'OCI runtime exec failed: exec: "{argv[0]}": {error.strerror}'
            # As of a real kubelet: its cause has a message, and no reason.
            failure = {"status": "Failure", "reason": "InternalError", "message": words}
            self._status({**failure, "details": {"causes": [{"message": words}]}, "code": 500})
            return
        feeder = threading.Thread(target=self._feed, args=(stdin, process), daemon=True)
        feeder.start()
        readers = [
            threading.Thread(target=self._pass_on, args=(channel, output), daemon=True)
            for channel, output in outputs
        ]
        for reader in readers:
            reader.start()
        code = process.wait()
        for reader in readers:
            reader.join()
        code = code if code >= 0 else 128 - code
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if code:
            status |= {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": f"command terminated with non-zero exit code {code}",
                "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
            }
        self._status(status)
        # Closed with bytes unread, a connection is reset, and what was sent last may be lost: the
        # other side answers the end first (RFC 6455, 7.1.1).
        feeder.join(ANSWER_SECONDS)

    def _start(
        self, argv: Sequence[str], env: Mapping[str, str], *, tty: bool
    ) -> tuple[subprocess.Popen[bytes], int, list[tuple[int, int]]]:
        if not tty:
            process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdin and process.stdout and process.stderr
            streams = [(STDOUT, process.stdout.fileno()), (STDERR, process.stderr.fileno())]
            return process, process.stdin.fileno(), streams
        self._terminal, inner = pty.openpty()
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no lock held
        )
        os.close(inner)
        return process, self._terminal, [(STDOUT, self._terminal)]

    def _pass_on(self, channel: int, output: int) -> None:
        # A pseudo-terminal whose other end is closed answers with an error.
        with contextlib.suppress(OSError):
            while data := os.read(output, 32768):
                self._send(BINARY, bytes([channel]) + data)

    def _feed(self, stdin: int, process: subprocess.Popen[bytes]) -> None:
        # ValueError: the request has been answered, and its stream is closed.
        with contextlib.suppress(OSError, ValueError):
            for opcode, data in self._frames():
                if opcode == PING:
                    self._send(PONG, data)
                elif opcode == CLOSING:
                    break
                elif data[0] == STDIN:
                    # The command may have ended, and the rest is nobody's.
                    with contextlib.suppress(OSError):
                        os.write(stdin, data[1:])
                elif data[0] == RESIZE:
                    size = json.loads(data[1:])
                    packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
                    fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)
                elif data[0] == CLOSE and process.stdin:
                    process.stdin.close()
        # As containerd does where a client is gone.
        if process.stdin:
            process.stdin.close()

    def _status(self, status: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._send(BINARY, bytes([ERROR]) + json.dumps(status).encode())
            self._send(CLOSING, struct.pack(">H", 1000))

    # -- frames: RFC 6455, 5.2 ------------------------------------------------------------------

    def _send(self, opcode: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, size)
        else:
            head = struct.pack(">BBH", 0x80 | opcode, 126, size)
        with self._lock:
            self._handler.wfile.write(head + data)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        read = self._handler.rfile.read
        while head := read(2):
            size = head[1] & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", read(8))
            mask = read(4) if head[1] & 0x80 else bytes(4)
            data = read(size)
            yield head[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

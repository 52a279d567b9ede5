"""Seeds as the image's program writes them, of whatever SQL."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence

from nacl import bindings as sodium

KEY = "0f" * 32
OPENING = (
    "SET NAMES utf8mb4;",
    "SET SESSION foreign_key_checks = 0, time_zone = '+00:00', "
    "sql_mode = 'NO_AUTO_VALUE_ON_ZERO';",
)
FRAME_BYTES = 16_384


def sealed(lines: Sequence[str], key: str = KEY) -> bytes:
    """Return a seed that holds statements, a line each, behind the usual ones."""
    packed = gzip.compress("".join(f"{line}\n" for line in (*OPENING, *lines)).encode())
    return b"".join(_frames(packed, bytes.fromhex(key)))


def _frames(packed: bytes, key: bytes) -> Iterator[bytes]:
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    yield b"mautic-seed 1\n"
    yield sodium.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    for start in range(0, len(packed), FRAME_BYTES):
        tag = (
            sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
            if start + FRAME_BYTES >= len(packed)
            else sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
        )
        frame = packed[start : start + FRAME_BYTES]
        yield sodium.crypto_secretstream_xchacha20poly1305_push(state, frame, None, tag)

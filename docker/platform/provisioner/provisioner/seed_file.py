"""A seed as it is kept: SQL, a statement a line, or a tar of uploads; compressed and encrypted.

docker/mautic/php/seed_file.php writes it, and says what it looks like.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

MAGIC = b"mautic-seed 1\n"
FRAME_BYTES = 16_384 + sodium.crypto_secretstream_xchacha20poly1305_ABYTES
STATEMENT_MAX = 64 << 20
"""What a server takes at once; a line has 256 KiB, or one row that is larger."""
DAMAGED = "the seed is damaged, cut off, or of another key"

_ALLOWED = re.compile(rb"(?:CREATE TABLE|INSERT INTO) `(?:[^`]|``)+` \(")
_OPENING = (
    b"SET NAMES utf8mb4;",
    b"SET SESSION foreign_key_checks = 0, time_zone = '+00:00', "
    b"sql_mode = 'NO_AUTO_VALUE_ON_ZERO';",
)
# Seeds had it once; MariaDB sorted in its tmpdir then, and failed where that is small.
_FORMER = _OPENING[1].replace(b" time_zone", b" unique_checks = 0, time_zone")


class SeedError(Exception):
    """What came is no seed, not a whole one, or holds what no seed holds."""


def statements(file: BinaryIO, key: bytes, size: int) -> Iterator[bytes]:
    """Yield a seed's statements; it is a whole seed only if this ends without an error.

    Args:
        file: where it is read from.
        key: what it is encrypted with, 32 bytes.
        size: how many bytes it has: whoever sends it may be unable to end the file.

    Raises:
        SeedError: it is none, not whole, or holds another statement.
    """
    pending = b""
    for text in parts(file, key, size):
        *lines, pending = (pending + text).split(b"\n")
        for line in lines:
            statement = _OPENING[1] if line == _FORMER else line
            if statement not in _OPENING and not _ALLOWED.match(statement):
                raise SeedError("a statement is none of a seed")
            yield statement
        if len(pending) > STATEMENT_MAX:
            raise SeedError("a statement is longer than a server takes")
    if pending:
        raise SeedError("the seed ends in the middle of a statement")


def parts(file: BinaryIO, key: bytes, size: int) -> Iterator[bytes]:
    """Yield what is in it, part by part: what has come is right, but more may be missing.

    Arguments and errors as for ``statements``.
    """
    start = len(MAGIC) + sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
    header, left = file.read(start), size - start
    if len(header) != start or not header.startswith(MAGIC):
        raise SeedError("this is no seed")
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header[len(MAGIC) :], key)
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    tag = None
    while tag != sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL:
        frame = file.read(max(0, min(left, FRAME_BYTES)))
        left -= len(frame)
        try:
            packed, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, frame)
            yield inflate.decompress(packed)
        except (CryptoError, ValueError, zlib.error) as error:
            raise SeedError(DAMAGED) from error
    if left:
        raise SeedError("the seed goes on after its end")

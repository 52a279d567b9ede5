"""A code image with the weight of a real Mautic release, on top of the stand-in.

What a build costs hangs on the code it copies: the stand-in has five static files, a release a
thousand. The counts and sizes are those of Mautic 5.1.1 with its vendor folder: 32,552 files of
254 MB, of which nginx serves 1,036 of 53 MB. The content is made up from a fixed seed and
compresses about as code does; fonts and pictures do not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

CODE_FILES, CODE_BYTES = 31_500, 201_000_000
TEXT_FILES, TEXT_BYTES = 700, 38_000_000
PICTURE_FILES, PICTURE_BYTES = 336, 15_000_000
FILES_PER_FOLDER = 60
WORDS = 4_000
PAGE_BYTES = 1_000_000


def write(context: Path) -> None:
    """Write a build context that adds the weight to the image given as BASE_IMAGE.

    Args:
        context: an empty folder.
    """
    chance = random.Random(1)  # noqa: S311 - weight, not a secret
    words = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz_$", k=chance.randint(2, 12)))
        for _ in range(WORDS)
    ]

    # Cut at any place, one long page is as good as new ones: it is longer than what gzip looks
    # back on.
    page = " ".join(chance.choices(words, k=PAGE_BYTES // 8)).encode()

    def cut(size: int) -> bytes:
        start = chance.randrange(len(page) - size)
        return page[start : start + size]

    web = context / "docroot"

    _fill(context / "vendor/weight", CODE_FILES, CODE_BYTES, "php", cut)
    _fill(web / "app/assets/libraries/weight", TEXT_FILES, TEXT_BYTES, "js", cut)
    _fill(web / "media/images/weight", PICTURE_FILES, PICTURE_BYTES, "png", chance.randbytes)
    (context / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
        "COPY vendor/ /var/www/html/vendor/\nCOPY docroot/ /var/www/html/docroot/\n"
    )


def _fill(
    folder: Path, files: int, total_bytes: int, suffix: str, content: Callable[[int], bytes]
) -> None:
    for number in range(files):
        inner = folder / str(number // FILES_PER_FOLDER)
        if number % FILES_PER_FOLDER == 0:
            inner.mkdir(parents=True)
        (inner / f"{number}.{suffix}").write_bytes(content(total_bytes // files))

"""What a program always answers to the same question, kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping

from tasks.adapters.files.cache import cache_folder
from tasks.adapters.files.whole import write_whole


def kept_answer(
    place: str, question: str, ask: Callable[[], str], environ: Mapping[str, str]
) -> str:
    """Return the answer to a question: as it was last time at that place, or else asked now.

    Whoever can write in the user's cache decides what is answered: it is for nothing protected.

    Args:
        place: where it is asked, e.g. a file's path; of each place one answer is kept.
        question: all that the answer depends on.
        ask: asks the question.
        environ: where the cache folder is read.
    """
    path = cache_folder(environ) / "answers" / hashlib.sha256(place.encode()).hexdigest()[:16]
    with contextlib.suppress(OSError, ValueError):
        seal, _, answer = path.read_text(encoding="utf-8").partition("\n")
        if seal == _seal(question, answer):
            return answer
    answer = ask()
    # Without a cache folder it is asked again the next time.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{_seal(question, answer)}\n{answer}")
    return answer


def _seal(question: str, answer: str) -> str:
    """Return a digest of both, by which neither another question nor a damaged file is taken."""
    return hashlib.sha256(f"{question}\0{answer}".encode()).hexdigest()

"""Where links lead in a folder whose files may yet lie elsewhere."""

from __future__ import annotations

from collections.abc import Callable

_LINKS_MAX = 40
"""How many links the kernel follows in one path."""


class EndlessLinkError(ValueError):
    """A link that leads to itself."""


def followed(path: str, target_of: Callable[[str], str | None]) -> str | None:
    """Return a path without links; empty for the folder itself, None for what is not in it.

    Args:
        path: relative to the folder.
        target_of: returns where the link at a path leads; None if there is no link.

    Raises:
        EndlessLinkError: it leads to itself.
    """
    done: list[str] = []
    left = path.split("/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            if not done:
                return None
            done.pop()
        elif part not in {"", "."}:
            target = target_of("/".join([*done, part]))
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _LINKS_MAX:
                raise EndlessLinkError(path)
            if target.startswith("/"):
                return None
            left += target.split("/")[::-1]
    return "/".join(done)

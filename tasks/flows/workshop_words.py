"""The commands in Mautic's container that show a working tree, on every target."""

from __future__ import annotations

from tasks.core.working_tree import PLACES

_PROJECT = "/var/www/html"
_FOLDERS = " ".join(PLACES.values())

LIST = (
    *("sh", "-c"),
    f"cd {_PROJECT} && find {_FOLDERS} -type l -printf 'link %l  %p\\n'"
    " -o -type f -exec sha256sum {} +",
)
"""Writes the SHA-256 of each file, and where each link leads."""

UNPACK = (
    *("sh", "-euc"),
    # Times are those of the container: what was compiled of a file before is older than the file.
    f'cd {_PROJECT}; umask 022; head -c "$1"'
    # A file or link may come in place of a folder that has what the project knows nothing of.
    " | tar --extract --recursive-unlink --touch --no-same-owner --file=-",
    "sh",
)
"""Unpacks a tar archive of so many bytes; one that reads to the end would wait for it."""

REMOVE = (
    *("sh", "-euc"),
    f'cd {_PROJECT}; head -c "$1" | xargs -0 sh -euc \'rm -f -- "$@"; for place; do'
    ' rmdir -p --ignore-fail-on-non-empty -- "$(dirname "$place")" 2>/dev/null || :; done\' sh',
    "sh",
)
"""Removes the files whose names are in so many bytes, and folders that are empty then."""

_CONSOLE = ("sh", "-c", 'exec mautic console "$@" --no-interaction --no-ansi 2>&1', "sh")

_COMPILE = (
    *("sh", "-c"),
    # Symfony takes a container of the second in which it starts for compiled already.
    "find var/cache -ignore_readdir_race -type f -name '*Container.php' -newermt '3 seconds ago'"
    " -exec touch -c -d '1 minute ago' {} +; mkdir -p /tmp/compile"
    ' && PHP_INI_SCAN_DIR="$PHP_INI_SCAN_DIR:/opt/mautic/compile" exec "$@"',
    "sh",
)
_KEEP_ROUTES = ("env", "DEV_KEEP_ROUTES=1")
"""Asks docker/mautic/php/kept_routes.php to take the routes along."""

WARM_UP = (
    *(*_COMPILE, "sh", "-c"),
    # Builds the container in memory, and looks for mistakes in it; Mautic's own has some.
    "mautic console lint:container --no-interaction > /dev/null 2>&1 || :",
)
"""Has PHP keep the release's code compiled as a first ``compiling`` would, and changes nothing."""

INSTALL = (*_CONSOLE, "mautic:plugins:reload")

RESTART = ("sh", "-c", "kill -s TERM 1")
"""Has the container end, which is started again."""

RESTART_ALL = ("sh", "-c", "kill -s TERM -- -1")
"""Has everything end but the first process, which starts it again."""


def compiling(*, routes: bool) -> tuple[str, ...]:
    """Return what compiles Mautic's cache beside the one in use, which it then replaces.

    Args:
        routes: whether its routes are compiled anew, at the first request.
    """
    clear = (*_CONSOLE, "cache:clear", "--no-optional-warmers")
    return (*_COMPILE, *(() if routes else _KEEP_ROUTES), *clear)


def listed(text: str) -> dict[str, str]:
    """Return the keys that ``LIST`` has written, by path."""
    pairs = (line.partition("  ") for line in text.splitlines())
    return {path: key for key, _, path in pairs if path}

"""The routes that `inv dev` takes along are those that Symfony itself would compile.

By the words of `inv dev` and the program of the image (docker/mautic/php/kept_routes.php), in a
site of Debian's Symfony.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import docker
import pytest
from docker.models.containers import Container

from tasks.flows.workshop_words import compiling
from tests.support.images import symfony

PATHS = "/hello /bye/{name}"
MORE = f"{PATHS} /new"
COMPILED = "cd var/cache/prod && find . -name 'url_*' -exec sha256sum {} + | sort -k2"


class Site:
    """A site of Symfony's in a container."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def _run(self, words: Sequence[str], paths: str) -> tuple[int, str]:
        code, said = self._container.exec_run(list(words), environment={"ROUTES": paths})
        return code, said.decode()

    def compile(self, paths: str, *, routes: bool) -> str:
        """Compile the cache of a site with these paths; return the hashes of the routes in it."""
        code, said = self._run(compiling(routes=routes), paths)
        assert code == 0, said
        return self.compiled()

    def compiled(self) -> str:
        """Return the hashes of the compiled routes, by their files' names."""
        code, said = self._run(["sh", "-euc", COMPILED], "")
        assert code == 0, said
        return said

    def knows(self, path: str, paths: str) -> bool:
        """Ask for a path, which compiles the routes that are missing; return whether it is one."""
        code, said = self._run(["mautic", "console", "request", path], paths)
        assert code in {0, 1}, said
        return code == 0


@pytest.fixture(scope="module")
def site(engine: docker.DockerClient) -> Iterator[Site]:
    container = engine.containers.run(symfony(engine), detach=True, init=True)
    try:
        yield Site(container)
    finally:
        container.remove(force=True)


def test_kept_routes_are_what_symfony_compiles(site: Site) -> None:
    assert site.compile(PATHS, routes=True) == ""
    assert site.knows("/hello", PATHS)
    compiled = site.compiled()
    assert "/url_matching_routes.php\n" in compiled
    assert "/url_generating_routes.php\n" in compiled
    assert site.compile(PATHS, routes=False) == compiled
    assert site.knows("/hello", PATHS)
    # Nothing was missing.
    assert site.compiled() == compiled
    site.compile(PATHS, routes=True)
    assert site.knows("/hello", PATHS)
    assert site.compiled() == compiled


def test_where_paths_have_changed_they_have_to_be_compiled(site: Site) -> None:
    site.compile(PATHS, routes=True)
    assert site.knows("/hello", PATHS)
    kept = site.compile(MORE, routes=False)
    assert not site.knows("/new", MORE)
    site.compile(MORE, routes=True)
    assert site.knows("/new", MORE)
    assert site.compiled() != kept

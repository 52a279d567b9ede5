"""Fakes of what a build needs: a registry, a builder, base images, a checkout.

That the registry behaves as a real one does is told by ``registry_contract``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tasks.adapters.docker.base_images import BaseImage
from tasks.adapters.docker.buildx import Baked, BakeOrder, Definition
from tasks.adapters.git import Checkout
from tasks.adapters.registry.attachments import Attachment
from tasks.adapters.terminal.console import Activity
from tasks.core.errors import RegistryError
from tasks.core.images.retention import StoredImage
from tasks.core.settings import Environment, parse
from tasks.flows.build import BuildSubject, BuildTools
from tests.support.fakes import Calls

URL = "registry.example.org/x"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
COMMIT = "1a2b3c4d" * 5
TARGETS = {
    "mautic": {"context": "mautic", "args": {"DEBIAN_IMAGE": "debian:trixie-slim"}},
    "nginx": {"context": "nginx", "args": {"DEBIAN_IMAGE": "debian:trixie-slim"}},
}


@dataclass
class FakeRegistry(Calls):
    """A fake registry in memory; it records only changes.

    Attributes:
        images: the digest of each tag, by repository.
        repositories: those that exist; None where a push makes them.
        files: what is attached to images, by repository and digest.
        times: when images were pushed, by digest; long ago where nothing is said.
        layers: of images that were pushed as one, by repository and digest.
    """

    url: str = URL
    images: dict[str, dict[str, str]] = field(default_factory=dict)
    repositories: set[str] | None = None
    files: dict[tuple[str, str], list[Attachment]] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    layers: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.url.partition("/")[0]

    def repository(self, name: str) -> str:
        return f"{self.url}/{name}"

    def reference(self, repository: str, digest: str) -> str:
        return f"{self.repository(repository)}@{digest}"

    def ping(self) -> None:
        self.note("ping")

    def missing(self, repositories: Sequence[str]) -> tuple[str, ...]:
        there = self.repositories
        return () if there is None else tuple(name for name in repositories if name not in there)

    def make(self, repositories: Iterable[str]) -> None:
        for name in repositories:
            self.note(f"make {name}")
            if self.repositories is not None:
                self.repositories.add(name)

    @contextlib.contextmanager
    def login(self) -> Iterator[Mapping[str, str]]:
        self.note("log in")
        try:
            yield {}
        finally:
            self.seen.append("log out")

    def push(self, repository: str, tag: str, digest: str) -> None:
        """Add an image, like a builder's push."""
        self.images.setdefault(repository, {})[tag] = digest

    def digest(self, repository: str, reference: str) -> str | None:
        tags = self.images.get(repository, {})
        is_there = reference in tags.values() or (repository, reference) in self.layers
        return reference if is_there else tags.get(reference)

    def digests(self, wanted: Iterable[tuple[str, str]]) -> list[str | None]:
        return [self.digest(*each) for each in wanted]

    def labels(self, repository: str, reference: str) -> dict[str, str]:
        return {"of": reference}

    def tag(self, repository: str, source: str, tags: Iterable[str]) -> None:
        names = list(tags)
        self.note(f"tag {repository} {' '.join(names)}")
        digest = self.digest(repository, source)
        if digest is None:
            raise RegistryError(
                f"there is no image {source} in {self.repository(repository)}", hint="run inv build"
            )
        self.images.setdefault(repository, {}).update(dict.fromkeys(names, digest))

    def push_layer(self, repository: str, chunks: Iterable[bytes]) -> str:
        content = b"".join(chunks)
        self.note(f"push {repository}")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.layers[repository, digest] = content
        return digest

    def tags(self, repository: str) -> dict[str, str]:
        return dict(self.images.get(repository, {}))

    def delete_tags(self, repository: str, tags: Sequence[str]) -> int:
        self.note(f"delete {repository} {' '.join(tags)}")
        there = self.images.get(repository, {})
        return sum(there.pop(tag, None) is not None for tag in tags)

    def stored(
        self, repository: str, times: Mapping[str, datetime] | None = None
    ) -> list[StoredImage]:
        tags = self.images.get(repository, {})
        return [
            StoredImage(
                repository,
                digest,
                tuple(tag for tag, at in tags.items() if at == digest),
                self.times.get(digest, LONG_AGO),
            )
            for digest in dict.fromkeys(tags.values())
        ]

    def delete_images(self, repository: str, digests: Sequence[str]) -> int:
        self.note(f"delete images {repository} {' '.join(digests)}")
        there = self.images.get(repository, {})
        gone = set(digests) & set(there.values())
        self.images[repository] = {tag: at for tag, at in there.items() if at not in gone}
        return len(gone)

    def attach(self, repository: str, digest: str, files: Sequence[Attachment]) -> None:
        self.note(f"attach {repository}")
        if self.digest(repository, digest) is None:
            raise RegistryError(f"there is no image {digest} in {self.repository(repository)}")
        self.files[repository, digest] = list(files)

    def attached(self, repository: str, digest: str) -> list[Attachment]:
        return self.files.get((repository, digest), [])


@dataclass
class FakeBuildx(Calls):
    """A fake builder: an image's digest is derived from its reference.

    Attributes:
        pushed: of the images of a bake that fails, those that were pushed before.
        variables, orders: those of the last bake.
        fresh: whether each bake was to take nothing from a cache.
        kept: whether the last evaluation might come from the user's cache.
    """

    registry: FakeRegistry = field(default_factory=FakeRegistry)
    root: Path = Path()
    file: str = "docker-bake.hcl"
    folders: Mapping[str, str] = field(default_factory=dict)
    exports_cache: bool = False
    targets: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: TARGETS)
    pushed: Collection[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    orders: Collection[BakeOrder] = ()
    fresh: list[bool] = field(default_factory=list)
    kept: bool = False

    @property
    def text(self) -> str:
        """The bake file, which tells of the folders of ``TARGETS``, whatever is in ``targets``."""
        blocks = (f'target "{name}" {{\n  context = "{name}"\n}}\n' for name in TARGETS)
        return "\n".join(blocks)

    def definition(self, variables: Mapping[str, str], *, kept: bool = False) -> Definition:
        self.kept = kept
        return Definition(self.targets, ("mautic", "nginx"))

    def bake(
        self,
        orders: Mapping[str, BakeOrder],
        *,
        variables: Mapping[str, str],
        linked: Sequence[str],
        login: Mapping[str, str],
        fresh: bool,
        on_line: Callable[[str], None],
        on_step: Callable[[str], None],
    ) -> dict[str, Baked]:
        self.variables, self.orders = variables, orders.values()
        self.fresh.append(fresh)
        digests = {name: image_digest(order.reference) for name, order in orders.items()}
        try:
            self.note(f"bake {' '.join(orders)}")
        except BaseException:
            self._push({name: orders[name] for name in self.pushed if name in orders}, digests)
            raise
        self._push(orders, digests)
        return {name: Baked(digest, 1.5) for name, digest in digests.items()}

    def _push(self, orders: Mapping[str, BakeOrder], digests: Mapping[str, str]) -> None:
        for name, order in orders.items():
            self.registry.push(name, order.reference.rpartition(":")[2], digests[name])


def commit_of(branch: str) -> str:
    """Return the newest commit of a branch."""
    return hashlib.sha256(branch.encode()).hexdigest()[:40]


def image_digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass
class FakeBases(Calls):
    """Base images from a registry; or stand-ins, of which one has to be made first.

    Attributes:
        standin: its name, where there are only stand-ins.
        made: whether it is there already.
        digest: what the base is right now.
        only_here: whether only this machine's engine has it.
        renamed: whether what the registry has under its name is a stand-in.
    """

    standin: str = ""
    made: bool = True
    digest: str = "sha256:base"
    only_here: bool = False
    renamed: bool = False
    platform: str = "linux/amd64"

    def look(self, reference: str) -> BaseImage:
        if not self.standin:
            origin: Literal["engine", "registry"] = "engine" if self.only_here else "registry"
            return BaseImage(f"{reference}@{self.digest}", self.digest, origin)
        digest = self.digest if self.made else ""
        return BaseImage(
            f"standin/{self.standin}" if digest else "", digest, "stand-in", self.standin
        )

    def standin_in(self, base: BaseImage) -> bool:
        return self.renamed

    def resolve(self, reference: str) -> BaseImage:
        self.note(f"make {self.standin}")
        self.made = True
        return self.look(reference)


@dataclass
class FakeGit(Calls):
    """A checkout, and the branches that there are.

    Attributes:
        crlf: files with other line ends than committed.
        is_there: whether the commit is on the branch.
        not_committed: what a deploy reads and the commit has not.
    """

    crlf: list[str] = field(default_factory=list)
    is_there: bool = True
    not_committed: list[str] = field(default_factory=list)
    remote: frozenset[str] = frozenset()
    is_clone: bool = True
    local: frozenset[str] = frozenset()

    def with_other_line_ends(self, *folders: str) -> list[str]:
        return self.crlf

    def differing(self, files: object) -> list[str]:
        return self.not_committed

    def is_on(self, commit: str, branch: str) -> bool:
        return self.is_there

    def remote_heads(self) -> dict[str, str]:
        return {branch: commit_of(branch) for branch in self.remote_branches()}

    def heads(self) -> dict[str, str]:
        return {branch: commit_of(branch) for branch in self.branches()}

    def has_remote(self) -> bool:
        return self.is_clone

    def remote_branches(self) -> frozenset[str]:
        self.note("remote branches")
        return self.remote

    def branches(self) -> frozenset[str]:
        self.note("local branches")
        return self.local

    def repository(self) -> str:
        return "ours"


def an_environment(name: str = "dev", **changes: object) -> Environment:
    """Return the settings of an environment whose images go to a registry."""
    own = {
        "target": "compose",
        "branches": ["*"],
        "host": "{slug}.localhost",
        "registry": {"url": URL},
        **changes,
    }
    return parse({"environments": {name: own}}, lambda _: "test").environment(name)


def a_subject(environment: Environment | None = None, *, dirty: str | None = None) -> BuildSubject:
    """Return the subject of a build: a branch's commit."""
    return BuildSubject(
        name="dev",
        environment=environment or an_environment(),
        branch="feature/x",
        slug="feature-x",
        checkout=Checkout(COMMIT, dirty),
        repository="https://example.org/a/b",
    )


@dataclass
class Bench:
    """Fakes of the tools of a build, and the titles of its work."""

    root: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    bases: FakeBases = field(default_factory=FakeBases)
    git: FakeGit = field(default_factory=FakeGit)
    titles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.buildx = FakeBuildx(registry=self.registry, root=self.root)
        # One list: the order of things is told across all of them.
        self.seen = self.registry.seen
        self.bases.seen = self.buildx.seen = self.git.seen = self.seen
        (self.root / self.buildx.file).write_text(self.buildx.text)
        for name in TARGETS:
            (self.root / name).mkdir(exist_ok=True)
            (self.root / name / "Dockerfile").write_text(f"FROM {name}\n")

    @property
    def tools(self) -> BuildTools:
        """The tools."""
        return BuildTools(
            git=self.git,  # type: ignore[arg-type]
            buildx=self.buildx,  # type: ignore[arg-type]
            registry=self.registry,
            bases=self.bases,  # type: ignore[arg-type]
            variables={"PHP": "8.4"},
            work=self._work,
            project=self.root,
        )

    @contextlib.contextmanager
    def _work(self, title: str) -> Iterator[Activity]:
        self.titles.append(title)
        yield Activity(self.titles.append, lambda _: None)

"""Builds both images: those whose content is in the registry are only tagged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from tasks.adapters.docker import build_context
from tasks.adapters.docker.buildx import BakeOrder, PushError
from tasks.adapters.files.whole import write_whole
from tasks.core.errors import InputError, NoImageError
from tasks.core.images.bake_file import build_folders, evaluated_folders
from tasks.core.images.content_key import base_arguments, linked, target_keys
from tasks.core.images.reference import is_loopback
from tasks.core.images.tags import CACHE, IMAGES, LATEST, build_tags
from tasks.core.plan import Step
from tasks.core.rehearsal import image_tag
from tasks.flows.attest import ExpectedSource
from tasks.flows.protection import guard, guard_bases
from tasks.flows.renewal import Difference, difference

if TYPE_CHECKING:
    from tasks.adapters.docker.base_images import BaseImage, BaseImages
    from tasks.adapters.docker.buildx import Baked, Buildx, Definition
    from tasks.adapters.git import Checkout, Git
    from tasks.adapters.terminal.console import Activity, Work
    from tasks.core.settings import Environment
    from tasks.flows.attest import Attester
    from tasks.flows.registry_port import Registry

BAKE = "docker/docker-bake.hcl"
BUILT_FROM = "docker"
"""The folder with everything that images are built from, and the stand-ins are made from."""

THEMES = "themes"
"""The folder of the build context that migrations do not depend on: themes."""

_OWN = tuple(f"docker/mautic/{name}" for name in ("config", "plugins", "themes", "translations"))
"""Folders that the builder cannot do without; git keeps none that is empty."""

PUSH_AGAIN_SECONDS = (1, 3)
"""Pauses before a push is retried. Docker retries layers, but not manifests; and a registry may
answer 500, like CNCF's if two clients push the same tag at once."""

Action = Literal["built", "tagged", "unchanged"]


@dataclass(frozen=True)
class BuildTools:
    """What a build needs.

    Attributes:
        registry: where the images are pushed.
        variables: the bake file's variables: versions of Debian, PHP and Mautic.
        work: shows a long piece of work while it runs.
        project: the checkout.
        folders: what of it images are built from.
        attester: states of each new image where it comes from and what is in it, or None.
    """

    git: Git
    buildx: Buildx
    registry: Registry
    bases: BaseImages
    variables: Mapping[str, str]
    work: Work
    project: Path
    folders: Sequence[str] = (BUILT_FROM,)
    attester: Attester | None = None


@dataclass(frozen=True)
class BuildSubject:
    """What is being built, and for whom.

    Attributes:
        checkout: the commit, and whether the tree is dirty.
        repository: where the repository lives, for the images' labels.
    """

    name: str
    environment: Environment
    branch: str
    slug: str
    checkout: Checkout
    repository: str

    @property
    def title(self) -> str:
        """What messages call it: the environment."""
        return self.name

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that the images get in addition to their content keys."""
        return build_tags(
            self.environment.tags,
            self.slug,
            self.checkout.tag,
            dirty=self.checkout.tag != self.checkout.short,
        )

    @property
    def always_built(self) -> bool:
        """Whether nothing that lies in a registry or a cache is taken for these images.

        Whoever can push to the registry can put another image there under a content key, and other
        layers into a cache.
        """
        return self.environment.protected


@dataclass(frozen=True)
class RehearsalSubject(BuildSubject):
    """The subject of a build of a rehearsal's images, whose tag is no branch's."""

    @property
    def tag(self) -> str:
        """The tag of its images."""
        return image_tag(self.checkout.tag, self.slug)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that the images get in addition to their content keys."""
        return build_tags(["short-sha"], self.slug, self.tag, dirty=True)


@dataclass(frozen=True)
class ImagePlan:
    """The plan of one image.

    Attributes:
        name: its target in the bake file, and its repository.
        key: its content key; empty if it depends on a stand-in that has yet to be made.
        code: its content key without the project's themes, or empty likewise.
        digest: its digest in the registry; empty if it has to be built.
        tags: the tags to set, without those it has already.
        reason: why, in a few words.
    """

    name: str
    key: str
    code: str
    digest: str
    tags: tuple[str, ...]
    reason: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, as a dry run shows them."""
        subject = f"image {self.name}"
        if not self.digest:
            build = Step("build", subject, self.reason)
            tag = Step("tag", subject, ", ".join(self.tags))
            return (build, tag) if self.tags else (build,)
        if not self.tags:
            return (Step("keep", subject, self.reason),)
        return (Step("tag", subject, f"{', '.join(self.tags)}; {self.reason}"),)


@dataclass(frozen=True)
class BuildPlan:
    """What a build is going to do.

    Attributes:
        subject: what is being built, and for whom.
        bases: the base images, by build argument.
        images: the images, in the bake file's order.
        fresh: build without any cache, and replace existing images.
        if_changed: keep the images of this commit that are there where the new ones have the same
            packages and bases.
        registry_to_come: the local platform's registry has to be started first.
        repositories: those that have to be created first.
    """

    subject: BuildSubject
    bases: Mapping[str, BaseImage]
    images: tuple[ImagePlan, ...]
    definition: Definition
    fresh: bool
    registry_to_come: bool
    repositories: tuple[str, ...]
    if_changed: bool = False

    def keeps(self, found: Difference) -> bool:
        """Return True if the image before a new one stays in its place."""
        return self.if_changed and found.is_none

    @property
    def title(self) -> str:
        """The plan's title."""
        subject = self.subject
        return f"build {subject.checkout.tag} of {subject.branch} for {subject.name}"

    @property
    def unmade(self) -> tuple[str, ...]:
        """The references of missing stand-ins."""
        argument = base_arguments(self.definition.targets)
        return tuple(argument[name] for name, base in self.bases.items() if not base.digest)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run."""
        starts = (Step("start", "local registry"),) if self.registry_to_come else ()
        makes = (
            Step("make", f"stand-in {base.standin}", f"for {name}, not for production")
            for name, base in self.bases.items()
            if not base.digest
        )
        creates = (Step("create", f"repository {name}") for name in self.repositories)
        images = (step for image in self.images for step in image.steps)
        return (*starts, *makes, *creates, *images)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "environment": self.subject.name,
            "branch": self.subject.branch,
            "commit": self.subject.checkout.commit,
            "tag": self.subject.checkout.tag,
            "bases": {
                name: {"reference": base.reference, "digest": base.digest, "origin": base.origin}
                for name, base in self.bases.items()
            },
            "repositories": list(self.repositories),
            "images": {
                image.name: {
                    "content": image.key,
                    "digest": image.digest,
                    "steps": [step.verb for step in image.steps],
                    "tags": list(image.tags),
                    "reason": image.reason,
                }
                for image in self.images
            },
        }


@dataclass(frozen=True)
class BuiltImage:
    """One image after a build.

    Attributes:
        repository: its full name in the registry.
        tags: all tags of the build, including those it had before.
        action: what was done.
        difference: how it differs from the image before, or None where that is not asked.
    """

    repository: str
    digest: str
    tags: tuple[str, ...]
    action: Action
    seconds: float
    difference: Difference | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the image's entry in build.json."""
        entry = {
            "repository": self.repository,
            "digest": self.digest,
            "reference": f"{self.repository}@{self.digest}",
            "tags": list(self.tags),
            "action": self.action,
            "seconds": round(self.seconds, 2),
        }
        return entry | ({"difference": self.difference.as_dict()} if self.difference else {})

    def row(self) -> tuple[str, str, str]:
        """Return action, short digest and seconds, as a row of a table."""
        return self.action, self.digest.partition(":")[2][:12], f"{self.seconds:.1f}"


def plan_build(
    subject: BuildSubject,
    tools: BuildTools,
    *,
    only: Sequence[str] = (),
    fresh: bool = False,
    if_changed: bool = False,
    registry_to_come: bool = False,
) -> BuildPlan:
    """Return what a build would do. Reads only.

    Args:
        only: build just these images; empty means all.
        fresh: build without any cache, and replace existing images.
        if_changed: keep the images of this commit that are there where the new ones have the same
            packages and bases.
        registry_to_come: the registry has not been started yet, so it is empty.

    Raises:
        InputError: ``if_changed``, and nothing is stated of these images; ``only`` names an
            unknown image; or a build context does not exist, or has a
            file that no image can hold.
        RefusedError: the environment is protected, and must not be built from this tree or bases.
        RegistryError: a registry cannot be reached, refused or failed.
        EngineError: the engine cannot be reached.
    """
    if if_changed and not tools.attester:
        raise InputError(
            f"--if-changed compares what is stated of images, and those of {subject.title} state "
            "nothing",
            hint="it is for a protected environment; elsewhere only what is new is built",
        )
    guard(subject, tools.git, tools.project)
    check_line_ends(tools.git, tools.folders)
    # A label may name the commit, but a new commit alone makes no new image.
    blank = {"REVISION": "", "SOURCE": "", "VERSION": "", "CODE": ""}
    definition = tools.buildx.definition(
        {**tools.variables, **blank}, kept=not subject.always_built
    )
    check_places(tools.buildx, definition)
    names = _chosen(definition, only)
    bases = {
        argument: tools.bases.look(reference)
        for argument, reference in base_arguments(definition.targets).items()
    }
    if subject.always_built:
        guard_bases(subject.title, bases, tools.bases.standin_in)
    fresh = fresh or subject.always_built
    plan = BuildPlan(
        subject, bases, (), definition, fresh, registry_to_come, (), if_changed=if_changed
    )
    plan = replace(plan, images=_plan_images(plan, tools, names))
    if registry_to_come or all(image.digest for image in plan.images):
        return plan
    # Asked only now: which builder it is takes docker as long as all the rest.
    missing = tools.registry.missing(_repositories(subject, tools, names))
    return replace(plan, repositories=missing)


def _plan_images(plan: BuildPlan, tools: BuildTools, names: Sequence[str]) -> tuple[ImagePlan, ...]:
    """Return the plans of images, of a plan that lacks only them."""
    tags = plan.subject.tags
    if plan.unmade:
        return tuple(
            ImagePlan(name, "", "", "", tags, "its base has yet to be made") for name in names
        )
    targets = plan.definition.targets
    sources = {
        name: build_context.read(tools.buildx.root, name, target, tools.buildx.folders)
        for name, target in targets.items()
    }
    key = partial(
        target_keys,
        targets,
        pins={argument: base.digest for argument, base in plan.bases.items()},
        platform=tools.bases.platform,
    )
    keys = key(read=lambda name, _: sources[name])
    codes = key(read=lambda name, _: sources[name].without(THEMES))
    if reason := _build_reason(plan):
        return tuple(ImagePlan(name, keys[name], codes[name], "", tags, reason) for name in names)
    wanted = [(name, tag) for name in names for tag in (keys[name], *tags)]
    digests = dict(zip(wanted, tools.registry.digests(wanted), strict=True))
    return tuple(_decide(name, keys[name], codes[name], tags, digests) for name in names)


def run_build(plan: BuildPlan, tools: BuildTools) -> dict[str, BuiltImage]:
    """Carry out a plan, and return the images.

    Raises:
        RegistryError: the registry cannot be reached, refused or failed.
        EngineError: the engine cannot be reached, or its disk is full.
        CommandError: a step of the build failed.
        SuiteError: making a stand-in failed.
    """
    if plan.unmade:
        for reference in plan.unmade:
            tools.bases.resolve(reference)
        names = [image.name for image in plan.images]
        # Content keys of images that are built on them are known only now.
        plan = plan_build(
            plan.subject, tools, only=names, fresh=plan.fresh, if_changed=plan.if_changed
        )
    missing = [image for image in plan.images if not image.digest]
    tools.registry.make(plan.repositories)
    began = datetime.now(UTC)
    baked = _bake(plan, missing, tools) if missing else {}
    differences: Mapping[str, Difference] = {}
    if tools.attester:
        # Before the tags: whoever finds an image by one finds what is stated of it, too.
        differences = _attest(plan, baked, tools, tools.attester, began)
    built: dict[str, BuiltImage] = {}
    for image in plan.images:
        started = time.monotonic()
        fresh, differs = baked.get(image.name), differences.get(image.name)
        digest = fresh.digest if fresh else image.digest
        action: Action = "built" if fresh else "tagged" if image.tags else "unchanged"
        if differs and plan.keeps(differs):
            # The push has moved the content key.
            digest, action = differs.former, "unchanged"
            tools.registry.tag(image.name, digest, (image.key,))
        inlines = fresh and not plan.subject.always_built and _inlines_cache(tools)
        cache = (CACHE,) if inlines else ()
        if image.tags:
            tools.registry.tag(image.name, digest, (*image.tags, *cache))
        built[image.name] = BuiltImage(
            tools.registry.repository(image.name),
            digest,
            (image.key, *plan.subject.tags),
            action,
            time.monotonic() - started + (fresh.seconds if fresh else 0.0),
            differs,
        )
    return built


def _attest(
    plan: BuildPlan,
    baked: Mapping[str, Baked],
    tools: BuildTools,
    attester: Attester,
    began: datetime,
) -> dict[str, Difference]:
    """Attach what is stated of new images; show, and return, how they differ from those before.

    Where the plan keeps images that have not changed, nothing is attached to the new ones.
    """
    subject = plan.subject
    bases = {argument: base.reference for argument, base in plan.bases.items()}
    # The marker names this commit; what is kept must be of it.
    former_tag = subject.tags[-1] if plan.if_changed else _newest(subject.tags)
    expected = ExpectedSource(
        subject.name, subject.repository, subject.checkout.commit, attester.signer
    )
    found = {}
    for name, image in baked.items():
        former = tools.registry.digest(name, former_tag)
        with tools.work(f"attest {name}") as activity:
            contents = attester.contents(tools.registry, name, image.digest)
            found[name] = difference(
                tools.registry,
                name,
                former,
                packages=contents.packages,
                bases=bases,
                expected=expected if plan.if_changed else None,
            )
            activity.outcome = f"{len(contents.packages)} packages"
            for line in found[name].lines():
                activity.say(f"{name}: {line}")
            if plan.keeps(found[name]):
                activity.say(f"{name}: kept as it is")
                continue
            attester.attest(
                tools.registry, subject, name, image.digest, contents, bases=bases, started=began
            )
    return found


def _newest(tags: Sequence[str]) -> str:
    return LATEST if LATEST in tags else tags[0]


def record(subject: BuildSubject, built: Mapping[str, BuiltImage]) -> dict[str, Any]:
    """Return the content of build.json."""
    return {
        "environment": subject.name,
        "branch": subject.branch,
        "commit": subject.checkout.commit,
        "tag": subject.checkout.tag,
        "images": {name: image.as_dict() for name, image in built.items()},
    }


def write_build_file(path: Path, subject: BuildSubject, built: Mapping[str, BuiltImage]) -> None:
    """Write build.json atomically: two builds may end at the same time."""
    write_whole(path, json.dumps(record(subject, built), indent=2) + "\n")


def check_line_ends(git: Git, folders: Sequence[str]) -> None:
    """Check that files have the committed line ends.

    With CRLF the images' shell scripts do not start, and one commit gives different images.

    Raises:
        InputError: a file has other line ends; the error names it.
    """
    found = git.with_other_line_ends(*folders)
    if found:
        more = f", and {len(found) - 1} more" if found[1:] else ""
        raise InputError(
            f"{found[0]} has Windows line ends (CRLF) here, and was committed without them{more}",
            hint="was it core.autocrlf, or an editor? With everything committed: git config "
            "core.autocrlf false && git rm -rq --cached . && git reset --hard",
        )


def check_places(buildx: Buildx, definition: Definition) -> None:
    """Check that all folders that images are built from are known from the bake file's text.

    Raises:
        InputError: a folder is not; the error names it.
    """
    unknown = evaluated_folders(definition.targets.values()) - build_folders(buildx.text)
    if unknown:
        named = min(unknown, key=str)
        raise InputError(
            f"{buildx.file}: a target is built from {named.folder}, which its text does not show",
            hint="give context, contexts and dockerfile of a target as plain texts: whether the "
            "checkout is dirty is asked where there is no Docker, too",
        )


def resolve_images(
    registry: Registry, tag: str, built: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return both images of a tag by digest: name to ``repository@digest``.

    Args:
        registry: where they are.
        tag: the tag.
        built: the digests that the build of that tag recorded, by name. They are taken in place
            of the tag, which may have been moved meanwhile.

    Raises:
        NoImageError: one is missing.
        RegistryError: the registry cannot be reached, refused or failed.
    """
    wanted = [(name, built.get(name, tag)) for name in IMAGES]
    found = dict(zip(wanted, registry.digests(wanted), strict=True))
    missing = [registry.repository(name) for (name, _), digest in found.items() if digest is None]
    if missing:
        what = tag if not built else f"{tag} as build.json has it"
        raise NoImageError(
            f"there is no image {what} in {' and '.join(missing)}", hint="run inv build"
        )
    return {name: registry.reference(name, digest) for (name, _), digest in found.items() if digest}


def recorded_digests(path: Path, environment: str, tag: str) -> dict[str, str]:
    """Return the digests in build.json, by image, where it is of that environment and tag.

    Args:
        path: build.json, which need not exist.

    Raises:
        InputError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text())
        if (found["environment"], found["tag"]) != (environment, tag):
            return {}
        return {name: str(image["digest"]) for name, image in found["images"].items()}
    except FileNotFoundError:
        return {}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path.name} cannot be read: {error}", hint="remove it, or run inv build"
        ) from error


def _chosen(definition: Definition, only: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(only) - set(definition.published))
    if unknown:
        raise InputError(
            f"there is no image {unknown[0]!r}",
            hint=f"valid names: {', '.join(definition.published)}",
        )
    return tuple(name for name in definition.published if not only or name in only)


def _repositories(
    subject: BuildSubject, tools: BuildTools, names: Sequence[str]
) -> tuple[str, ...]:
    """Return the repositories that a build of these images pushes to."""
    exports = not subject.always_built and tools.buildx.exports_cache
    return (*names, CACHE) if exports else tuple(names)


def _build_reason(plan: BuildPlan) -> str:
    """Return why all images are built without a look at the registry, or an empty string."""
    if plan.subject.always_built:
        kept = ", and taken if packages or bases have changed" if plan.if_changed else ""
        return f"{plan.subject.title} is protected: always built{kept}"
    if plan.fresh:
        return "asked for with --rebuild"
    return "the registry has yet to be started" if plan.registry_to_come else ""


def _decide(
    name: str,
    key: str,
    code: str,
    tags: tuple[str, ...],
    digests: Mapping[tuple[str, str], str | None],
) -> ImagePlan:
    digest = digests[name, key]
    if digest is None:
        return ImagePlan(name, key, code, "", tags, "its content is new")
    differing = tuple(tag for tag in tags if digests[name, tag] != digest)
    return ImagePlan(name, key, code, digest, differing, "its content is in the registry")


def _bake(plan: BuildPlan, missing: Sequence[ImagePlan], tools: BuildTools) -> dict[str, Baked]:
    names = [image.name for image in missing]
    subject = plan.subject
    variables = {
        **tools.variables,
        **{argument: base.reference for argument, base in plan.bases.items()},
        "REVISION": subject.checkout.commit,
        "SOURCE": subject.repository,
        "VERSION": subject.checkout.tag,
        "CODE": next((image.code for image in missing if image.name == IMAGES[0]), ""),
    }
    for folder in _OWN:
        place = tools.buildx.root / folder
        if place.parent.is_dir():
            place.mkdir(exist_ok=True)
    links = {of for target in plan.definition.targets.values() for of in linked(target).values()}

    def bake(activity: Activity, *, fresh: bool) -> dict[str, Baked]:
        with tools.registry.login() as login:
            return tools.buildx.bake(
                {image.name: _order(image, plan.subject, tools) for image in missing},
                variables=variables,
                linked=sorted(links - set(names)),
                login=login,
                fresh=fresh,
                on_line=activity.detail,
                on_step=activity.line,
            )

    fresh = plan.fresh
    with tools.work(f"build {', '.join(names)}") as activity:
        for pause in PUSH_AGAIN_SECONDS:
            try:
                return bake(activity, fresh=fresh)
            except PushError as error:
                activity.say(f"{error.message}; trying again in {pause} s")
            time.sleep(pause)
            # What was built just now is in the builder's cache, but others may be, too.
            fresh = subject.always_built
        return bake(activity, fresh=fresh)


def _order(image: ImagePlan, subject: BuildSubject, tools: BuildTools) -> BakeOrder:
    """Return the order for an image: tagged with its content key, with a cache in the registry."""
    registry = tools.registry
    reference = f"{registry.repository(image.name)}:{image.key}"
    exports, inlines = tools.buildx.exports_cache, _inlines_cache(tools)
    if subject.always_built or not (exports or inlines):
        return BakeOrder(reference)
    repository, tag = (image.name, CACHE) if inlines else (CACHE, image.name)
    cache = f"type=registry,ref={registry.repository(repository)}:{tag}"
    # An image manifest, since ECR takes no other:
    # https://docs.docker.com/build/cache/backends/registry/
    kinds = "mode=max,image-manifest=true,oci-mediatypes=true"
    return BakeOrder(
        reference,
        cache_from=cache if registry.digest(repository, tag) else "",
        cache_to="type=inline" if inlines else f"{cache},{kinds}",
    )


def _inlines_cache(tools: BuildTools) -> bool:
    """Return True if the images themselves tell the builder which layers they were built from.

    That is all that the engine's own builder can do. For a registry on this machine it is not
    worth it: whoever builds from there has the layers in the engine, and after thousands of builds
    an engine can take hours to prepare the export (https://github.com/moby/buildkit/issues/6008).
    """
    return not tools.buildx.exports_cache and not is_loopback(tools.registry.host)

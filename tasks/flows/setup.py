"""Makes a repository a project of the suite's, and brings one to another version of the suite."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.adapters.files.whole import write_whole_bytes
from tasks.adapters.host.package import Wheel
from tasks.core.errors import InputError
from tasks.core.images.pins import PIPELINE
from tasks.core.plan import Step
from tasks.core.project_files import LOCK, OWN, SETTINGS
from tasks.core.project_layout import Layout
from tasks.core.project_setup import (
    BROUGHT,
    DEFAULT_PATHS,
    IGNORE,
    IGNORED,
    TEMPLATE,
    WRAPPER,
    Answers,
    SuitePackage,
    missing_lines,
    news,
    pipeline_advice,
    pipeline_of,
    suite_files,
    template_of,
)
from tasks.core.setting_values import KINDS

_HEAD = """\
# Of mautic-multidev {version}, written by `inv init` and `inv upgrade`: not to be edited.
"""
_OWN_HEAD = """\
# GitLab's pipeline. The jobs are in the file that it includes; how to set GitLab up is in
# mautic-multidev's docs/gitlab.md. Jobs of one kind are on again without their variable here.
"""


@dataclass(frozen=True)
class FileStep:
    """What happens to one file.

    Attributes:
        verb: ``create``, ``extend``, ``replace``, ``remove`` or ``keep``.
        path: relative to the project.
        content: what it then holds.
        reason: why, in a few words.
        more: what a person should see of it, in lines.
    """

    verb: str
    path: str
    content: bytes = b""
    reason: str = ""
    more: tuple[str, ...] = ()

    @property
    def step(self) -> Step:
        """The step, as a dry run shows it."""
        return Step(self.verb, self.path, self.reason)


@dataclass(frozen=True)
class SetupPlan:
    """What happens to the files of a project.

    Attributes:
        title: what it is about.
        files: in the order in which they are written.
        news: what the changelog says that it did not before.
    """

    title: str
    files: tuple[FileStep, ...]
    news: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run; none if nothing is to be said of any file."""
        if all(file.verb == "keep" and not file.reason for file in self.files):
            return ()
        return tuple(file.step for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "files": [
                {
                    "verb": file.verb,
                    "path": file.path,
                    "reason": file.reason,
                    "lines": list(file.more),
                }
                for file in self.files
            ],
            "news": list(self.news),
        }


def plan_init(
    project: Path, answers: Answers, layout: Layout, wheel: Wheel, url: str, settings: str
) -> SetupPlan:
    """Return what makes a repository a project. Reads only.

    Args:
        project: the repository.
        answers: what was asked for.
        layout: where plugins, themes and configuration are.
        wheel: the package.
        url: where pip gets it; empty: the wheel is laid into the project.
        settings: the text of a new invoke.yaml.

    Raises:
        InputError: the wheel is none of the suite's, a file of the project cannot be read,
            something else has the name of one, or its settings have another environment of the
            name of the new one.
    """
    brought = wheel.texts(BROUGHT)
    files = [_settings(project, settings, with_cluster=bool(answers.cluster))]
    files += [_new(project, path, content, _OTHER) for path, content in _of(wheel, url).items()]
    files.append(_pipeline(project, _yaml(brought[PIPELINE]), with_cluster=bool(answers.cluster)))
    files.append(_ignored(project))
    if layout.is_empty:
        files += [
            _new(project, f"{name}/.gitkeep", "", "")
            for name in DEFAULT_PATHS
            if not (project / name).is_dir()
        ]
    title = f"make {project.name} a project of mautic-multidev {wheel.version}"
    return SetupPlan(title, tuple(files))


def plan_upgrade(
    project: Path, now: Mapping[str, str], wheel: Wheel, url: str, package: SuitePackage
) -> SetupPlan:
    """Return what brings a project to another version of the suite. Reads only.

    Args:
        project: the project.
        now: the files of the running suite, by the names of ``BROUGHT``.
        wheel: the package of the other version.
        url: where pip gets it; empty: the wheel is laid into the project.
        package: the package that the project uses now.

    Raises:
        InputError: the wheel is none of the suite's, or something that is no file has the name of
            one.
    """
    before = _rendered(now, package)
    files = [
        _replaced(project, path, content, before.get(path))
        for path, content in _of(wheel, url).items()
    ]
    old = f"{OWN}/{package.wheel}"
    if package.wheel and package.wheel != _package(wheel, url).wheel and (project / old).exists():
        files.append(FileStep("remove", old, reason="of the version before"))
    said = news(wheel.texts(["CHANGELOG.md"])["CHANGELOG.md"], now["CHANGELOG.md"])
    title = f"upgrade {project.name} from mautic-multidev {package.version} to {wheel.version}"
    return SetupPlan(title, tuple(files), tuple(said))


def carry_out(project: Path, plan: SetupPlan) -> None:
    """Write the files of a plan, each in one step; what is there already is as it should be."""
    for file in plan.files:
        path = project / file.path
        if file.verb == "remove":
            path.unlink(missing_ok=True)
        elif file.verb != "keep":
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole_bytes(path, file.content, 0o755 if file.path == WRAPPER else 0o644)


def package_of(lock: str) -> SuitePackage:
    """Return the package that a project's lock names.

    Raises:
        InputError: it names none.
    """
    lines = lock.splitlines()
    for line, below in itertools.pairwise(lines):
        if line.startswith("mautic-multidev"):
            name = line.removesuffix(" \\")
            checksum = below.strip().removeprefix("--hash=sha256:")
            if " @ " in name:
                url = name.partition(" @ ")[2]
                return SuitePackage(url.rpartition("/")[2].split("-")[1], checksum, url)
            return SuitePackage(name.partition("==")[2], checksum)
    raise InputError(f"{LOCK} does not name mautic-multidev", hint="inv init writes it")


def own_settings(project: Path) -> Mapping[str, Any]:
    """Return what the project's settings hold; nothing where there are none.

    Raises:
        InputError: what `inv init` looks at in them is of another kind than settings are.
    """
    import yaml

    own = yaml.safe_load(_present(project, SETTINGS) or b"")
    _check_kind(own, dict, SETTINGS)
    own = own or {}
    _check_kind(own.get("project"), str, f"project in {SETTINGS}:")
    environments = own.get("environments")
    _check_kind(environments, dict, f"environments in {SETTINGS}:")
    _check_kind((environments or {}).get("dev"), dict, f"environments.dev in {SETTINGS}:")
    return own


def _check_kind(found: Any, kind: type, name: str) -> None:
    if found is not None and not isinstance(found, kind):
        raise InputError(f"{name} {KINDS['dict_type' if kind is dict else 'string_type']}")


_OTHER = "it is another one: inv upgrade renews it"


def _package(wheel: Wheel, url: str) -> SuitePackage:
    return SuitePackage(wheel.version, wheel.sha256, url)


def _of(wheel: Wheel, url: str) -> dict[str, bytes]:
    """Return the files of a project that belong to the suite, as a wheel has them.

    The lock is the last one: until it is written, ./inv runs the version before.
    """
    package = _package(wheel, url)
    files = _rendered(wheel.texts(BROUGHT), package)
    lock = files.pop(LOCK)
    content = {f"{OWN}/{package.wheel}": wheel.content} if package.wheel else {}
    return {**content, **files, LOCK: lock}


def _rendered(brought: Mapping[str, str], package: SuitePackage) -> dict[str, bytes]:
    head = _HEAD.format(version=package.version)
    template = head + _dumped(template_of(_yaml(brought[PIPELINE])))
    files = suite_files({**brought, PIPELINE: template}, package)
    return {path: text.encode() for path, text in files.items()}


def _present(project: Path, path: str) -> bytes | None:
    """Return what a file of the project holds; None if there is none.

    Raises:
        InputError: something else has its name, or its folder's.
    """
    place = project / path
    for name, is_right in ((place.parent, place.parent.is_dir()), (place, place.is_file())):
        if not is_right and name.exists():
            what = "file" if name == place else "folder"
            raise InputError(
                f"{name.relative_to(project)} is no {what}, and the suite needs one of that name",
                hint="rename it",
            )
    return place.read_bytes() if place.exists() else None


def _new(project: Path, path: str, content: str | bytes, otherwise: str) -> FileStep:
    wanted = content.encode() if isinstance(content, str) else content
    present = _present(project, path)
    if present is None:
        return FileStep("create", path, wanted)
    return FileStep("keep", path, reason="" if present == wanted else otherwise)


def _settings(project: Path, wanted: str, *, with_cluster: bool) -> FileStep:
    import yaml

    step = _new(project, SETTINGS, wanted, "it is yours: nothing is added to it")
    if step.verb == "create":
        return step
    own = own_settings(project)
    whole = yaml.safe_load(wanted)
    lacking = {key: value for key, value in whole.items() if key not in own}
    if "environments" in own:  # else it is one of Invoke's own, which knows none of the suite's
        is_there = not with_cluster or _has_dev(own["environments"], whole["environments"]["dev"])
        lacking = {} if is_there else {"environments": {"dev": whole["environments"]["dev"]}}
    if not lacking:
        return step
    reason = f"it is yours; add {', '.join(lacking)}"
    return FileStep("keep", SETTINGS, reason=reason, more=tuple(_dumped(lacking).splitlines()))


def _has_dev(environments: Any, wanted: Mapping[str, Any]) -> bool:
    """Return whether settings have the environment dev; InputError if theirs is another."""
    own = (environments or {}).get("dev")
    if own is None:
        return False
    other = [key for key in ("cluster", "host", "registry") if own.get(key) != wanted[key]]
    if other:
        raise InputError(
            f"{SETTINGS} has an environment dev of another {', '.join(other)}",
            hint=f"{SETTINGS} is yours: change it there, or leave --cluster, --host and --registry",
        )
    return True


def _replaced(project: Path, path: str, wanted: bytes, before: bytes | None) -> FileStep:
    present = _present(project, path)
    if present is None:
        return FileStep("create", path, wanted)
    if present == wanted:
        return FileStep("keep", path)
    if path.endswith(".whl"):
        return FileStep("replace", path, wanted)
    more = tuple(_difference(path, present, wanted))
    if before is not None and present != before:
        reason = "somebody has changed it; what is needed is below, or remove it and run this again"
        return FileStep("keep", path, reason=reason, more=more)
    return FileStep("replace", path, wanted, _count(more), more)


def _difference(path: str, present: bytes, wanted: bytes) -> Iterator[str]:
    now, then = (text.decode(errors="replace").splitlines() for text in (present, wanted))
    return difflib.unified_diff(now, then, f"{path} now", f"{path} then", n=1, lineterm="")


def _count(difference: Iterable[str]) -> str:
    lines = [line for line in difference if not line.startswith(("+++", "---"))]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return f"{added} lines more, {removed} less"


def _pipeline(project: Path, document: Mapping[str, Any], *, with_cluster: bool) -> FileStep:
    text = _present(project, PIPELINE)
    if text is None:
        wanted = pipeline_of(document, with_cluster=with_cluster)
        return FileStep("create", PIPELINE, (_OWN_HEAD + _dumped(wanted)).encode())
    present = _yaml(text.decode())
    advice = pipeline_advice(present, document, with_cluster=with_cluster)
    reason = "it is yours; what to add is below" if advice else f"it includes {TEMPLATE}"
    return FileStep("keep", PIPELINE, reason=reason, more=tuple(advice))


def _ignored(project: Path) -> FileStep:
    present = (_present(project, IGNORE) or b"").decode()
    lacking = missing_lines(present, IGNORED)
    if not lacking:
        return FileStep("keep", IGNORE)
    before = present if present.endswith("\n") or not present else f"{present}\n"
    text = before + "".join(f"{line}\n" for line in lacking)
    verb = "extend" if present else "create"
    return FileStep(verb, IGNORE, text.encode(), ", ".join(lacking))


def _yaml(text: str) -> Mapping[str, Any]:
    """Return a pipeline; tags of GitLab's own, such as !reference, stand for their content.

    Raises:
        InputError: it cannot be parsed.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows GitLab's tags."""

    Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_sequence(node))
    try:
        found = yaml.load(text, Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{PIPELINE} cannot be read: {' '.join(str(error).split())}") from error
    return found if isinstance(found, dict) else {}


def _dumped(document: Mapping[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes out what the document has twice."""

        def ignore_aliases(self, data: Any) -> bool:
            """Return True: no aliases."""
            return True

    return yaml.dump(document, Dumper=Dumper, sort_keys=False, width=110)

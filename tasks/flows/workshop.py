"""Shows a working tree's files in a branch's environment as they are saved, until it is left.

What is written is seen at the next request. What Mautic has compiled of it is compiled anew beside
that, and what runs on with old code is started again, by a thread of its own: the next file does
not wait for it.
"""

from __future__ import annotations

import io
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from tasks.core.environment import Holder, Owner
from tasks.core.errors import HeldError, RefusedError, SuiteError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.working_tree import FileChange, Link, Reaction, differing, key_of, reaction
from tasks.flows.smoke import LOGIN
from tasks.flows.target import Workshop

SHOWN_MAX = 3
"""How many files one message names."""
FAILING = 500
"""The least status of a site that fails."""
PATIENCE_SECONDS = 15.0
"""How long what is being compiled may take to end when the environment is left."""


class Tree(Protocol):
    """The files of a working tree (``adapters/files/tree.py``)."""

    def contents(self) -> dict[str, bytes]:
        """Return the content of each file, by its place; changes count from here on."""

    def read(self, place: str) -> bytes | None:
        """Return a file's content, a ``Link`` where it is one, or None if it is gone."""

    def changed(self) -> set[str]:
        """Return the places of files that have changed since; it takes a moment."""


class WorkshopConsole(Protocol):
    """The part of a console that this needs."""

    def say(self, text: str) -> None:
        """Print a message."""

    def success(self, text: str) -> None:
        """Print a message of success."""

    def warn(self, text: str) -> None:
        """Print a warning."""


@dataclass(frozen=True)
class Shown:
    """An environment and the working tree that it shows.

    Attributes:
        known: returns the places of files that the deployed images have of the project.
        why_over: returns why the tree is no longer the branch's, or an empty string.
        status: asks the site for its login page, and returns the status; SuiteError if there is no
            response.
        debugger: whether PHP runs with Xdebug.
    """

    workshop: Workshop
    owner: Owner
    names: Names
    tree: Tree
    status: Callable[[], int]
    known: Callable[[], Sequence[str]] = tuple
    why_over: Callable[[], str] = lambda: ""
    debugger: bool = False

    @property
    def title(self) -> str:
        """The branch and its environment."""
        return f"{self.names.branch} in {self.names.environment}"


@dataclass(frozen=True)
class DevPlan:
    """What `inv dev` would do."""

    title: str
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "steps": [asdict(step) for step in self.steps]}


def plan_dev(shown: Shown, *, stop: bool) -> DevPlan:
    """Return what would be done; reads only.

    Args:
        stop: only go back to what was deployed.
    """
    if stop:
        back = Step("replace", "services", "they show a working tree")
        is_open = shown.workshop.is_open(shown.owner, shown.names)
        return DevPlan(f"stop inv dev of {shown.title}", (back,) if is_open else ())
    files = len(shown.tree.contents())
    steps = (
        Step("replace", "services", "with places that can be written"),
        Step("show", f"{files} files", "and each that is saved, until Ctrl-C"),
        Step("replace", "services", "by the deployed images"),
    )
    return DevPlan(f"show the working tree in {shown.title}", steps)


def refuse_protected(environment: str, *, protected: bool) -> None:
    """Refuse to show unbuilt files in a protected environment.

    Raises:
        RefusedError: it is protected.
    """
    if protected:
        raise RefusedError(
            f"{environment} is protected: it runs what was built and reviewed, as it is",
            hint="branches' environments show a working tree",
        )


def run_dev(
    shown: Shown, *, me: Holder, console: WorkshopConsole, ready: Callable[[], Callable[[], None]]
) -> None:
    """Show a working tree's files until this run is interrupted, then go back to the images.

    Args:
        shown: the environment and the tree.
        me: this run, as the holder of the environment's lock.
        console: shows messages.
        ready: called when the tree is shown; returns what to call at the end.

    Raises:
        HeldError: another run holds the environment.
        RefusedError: the tree is no longer the branch's.
        SuiteError: services do not come up.
        KeyboardInterrupt: this run was interrupted before the tree was shown, or by another signal
            than Ctrl-C; the environment is as it was deployed.
    """
    with shown.workshop.exclusive(shown.names, me, _without_waiting(console)):
        if shown.workshop.is_open(shown.owner, shown.names):
            console.warn("a killed run has left it as a working tree; beginning anew")
            shown.workshop.close(shown.owner, shown.names)
        chores = _Chores(shown, console)
        try:
            shown.workshop.open(shown.owner, shown.names, debugger=shown.debugger)
            contents = shown.tree.contents()
            asked = _show_first(shown, contents, console)
            chores.do(asked)
            chores.start(is_cold=not asked.compile)
            end = ready()
            try:
                _watch(shown, contents, chores, console)
            except KeyboardInterrupt as interrupt:
                if getattr(interrupt, "signum", signal.SIGINT) != signal.SIGINT:
                    raise
            finally:
                end()
        finally:
            _go_back(shown, chores, console)
    console.success(f"{shown.title} runs what was deployed")


def _go_back(shown: Shown, chores: _Chores, console: WorkshopConsole) -> None:
    try:
        chores.end()
        shown.workshop.close(shown.owner, shown.names)
    except (SuiteError, KeyboardInterrupt):
        console.warn(f"{shown.title} still shows files: inv dev --stop or inv deploy ends that")
        raise


def refuse_held(shown: Shown, *, me: Holder, console: WorkshopConsole) -> None:
    """Refuse an environment that another run holds.

    Raises:
        HeldError: one does.
    """
    with shown.workshop.exclusive(shown.names, me, _without_waiting(console)):
        pass


def stop_dev(shown: Shown, *, me: Holder, console: WorkshopConsole) -> bool:
    """Undo what a killed run has left; return False if there is nothing.

    Raises:
        HeldError: a run that lives shows the tree.
        SuiteError: services do not come up.
    """
    with shown.workshop.exclusive(shown.names, me, _without_waiting(console)):
        if not shown.workshop.is_open(shown.owner, shown.names):
            return False
        shown.workshop.close(shown.owner, shown.names)
        return True


def _without_waiting(console: WorkshopConsole) -> Callable[[str], None]:
    """Return what takes a lock's messages: that it would be waited for ends the run."""

    def take(told: str) -> None:
        reason, waits, _ = told.partition("; waiting for ")
        if not waits:
            console.warn(told)
            return
        hint = "wait for the end of that; an inv dev ends by Ctrl-C where it runs"
        raise HeldError(reason, hint=hint)

    return take


def _show_first(shown: Shown, contents: Mapping[str, bytes], console: WorkshopConsole) -> Reaction:
    """Write what differs from the images; return what that asks for."""
    wanted = {place: key_of(content) for place, content in contents.items()}
    there = shown.workshop.hashes(shown.owner, shown.names)
    # What the image has of a file was never read, so everything may have changed in it.
    changes = [
        FileChange(place, None, contents.get(place))
        for place in differing(wanted, there, shown.known())
    ]
    _write(shown, changes)
    console.say(f"{len(wanted)} files, of which {len(changes)} differ from the deployed images")
    asked = reaction(changes)
    return replace(asked, routes=bool(asked.compile))


def _watch(
    shown: Shown,
    first: Mapping[str, bytes],
    chores: _Chores,
    console: WorkshopConsole,
) -> None:
    """Show each change until this run is interrupted.

    Raises:
        RefusedError: the tree is no longer the branch's.
    """
    contents: dict[str, bytes | None] = {**first}
    places: set[str] = set()
    told = ""
    while True:
        places |= shown.tree.changed()
        chores.check()
        if not places:
            continue
        if reason := shown.why_over():
            raise RefusedError(reason, hint="inv dev shows the branch that is checked out")
        started = time.monotonic()
        read = {place: shown.tree.read(place) for place in sorted(places)}
        changes = [
            FileChange(place, contents.get(place), content)
            for place, content in read.items()
            if not _is_same(contents.get(place), content)
        ]
        try:
            _write(shown, changes)
        except SuiteError as error:
            # The container may be starting: until it can be written, each time is another try.
            if error.message != told:
                console.warn("\n".join(error.lines()))
            told = error.message
            continue
        if changes:
            took = time.monotonic() - started
            console.say(f"shown: {_named([item.place for item in changes])} ({took:.1f} s)")
            chores.ask(reaction(changes))
        contents |= read
        places, told = set(), ""


def _is_same(before: bytes | None, after: bytes | None) -> bool:
    # A link may lead to what a file had for content.
    return before == after and isinstance(before, Link) == isinstance(after, Link)


def _write(shown: Shown, changes: Sequence[FileChange]) -> None:
    files = {change.place: change.after for change in changes if change.after is not None}
    gone = [change.place for change in changes if change.after is None]
    if files or gone:
        shown.workshop.write(shown.owner, shown.names, archive(files), gone)


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return files as a tar archive, all of them root's, and readable by everybody."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for place, data in files.items():
            entry = tarfile.TarInfo(place)
            if isinstance(data, Link):
                entry.type, entry.linkname = tarfile.SYMTYPE, data.target
                tar.addfile(entry)
                continue
            entry.size = len(data)
            # As docker/mautic/build/add.sh: what is meant to be run can be.
            entry.mode = 0o755 if data.startswith((b"#!", b"\x7fELF")) else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def _named(places: Sequence[str]) -> str:
    more = len(places) - SHOWN_MAX
    return ", ".join(places[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


@dataclass
class _Lane:
    """Does what is asked for in a thread of its own, one thing after the other.

    Attributes:
        work: does it; returns False if something of it is left.
        then: called with what is done.
        first: done before all else.
        is_busy: whether something is being done, or waits for that.
        is_ended: whether nothing more is to be done.
    """

    work: Callable[[Reaction], bool]
    console: WorkshopConsole
    then: Callable[[Reaction], None] = lambda _: None
    first: Callable[[], None] = lambda: None
    is_busy: bool = False
    is_ended: bool = False
    _asked: list[Reaction] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _failure: Exception | None = None
    _left: Reaction = field(default_factory=Reaction)
    """What could not be done: the mistake may be mended by a change that would ask for less."""

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True, name="lane")

    def start(self) -> None:
        """Begin to do what is asked for."""
        self._thread.start()

    def ask(self, asked: Reaction) -> None:
        """Have something done soon."""
        with self._changed:
            self._asked.append(asked)
            self.is_busy = True
            self._changed.notify()

    def check(self) -> None:
        """Raise what nobody has foreseen."""
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Begin nothing more."""
        with self._changed:
            self.is_ended = True
            self._changed.notify()

    def join(self) -> None:
        """Wait for the end of what is being done, for a while."""
        if self._thread.is_alive():
            self._thread.join(PATIENCE_SECONDS)

    def warn(self, error: SuiteError) -> None:
        """Tell what has failed, unless its end was asked for."""
        if not self.is_ended:
            self.console.warn("\n".join(error.lines()))

    def do(self, asked: Reaction) -> None:
        """Do what is asked for; what fails is told, and tried again with the next change."""
        asked, self._left = together([self._left, asked]), Reaction()
        try:
            is_done = self.work(asked)
        except SuiteError as error:
            is_done = False
            self.warn(error)
        with self._changed:
            self.is_busy = bool(self._asked)
        if is_done:
            self.then(asked)
        else:
            self._left = asked

    def _run(self) -> None:
        try:
            self.first()
            while asked := self._next():
                self.do(together(asked))
        except Exception as error:
            self._failure = error

    def _next(self) -> Sequence[Reaction]:
        """Wait for what is asked for; nothing at the end."""
        with self._changed:
            while not self._asked and not self.is_ended:
                self._changed.wait()
            asked, self._asked = self._asked, []
            return () if self.is_ended else asked


class _Chores:
    """What changes ask for: first what a page waits for, and beside that what nobody does.

    The next change waits for none of the latter, which would take as long for each worker.
    """

    def __init__(self, shown: Shown, console: WorkshopConsole) -> None:
        self._shown, self._console = shown, console
        self._rest = _Lane(self._follow, console)
        self._page = _Lane(self._serve, console, self._rest.ask)

    def start(self, *, is_cold: bool) -> None:
        """Begin to do what is asked for.

        Args:
            is_cold: whether nothing was compiled so far.
        """
        if is_cold:
            self._page.first = self._warm_up
        self._page.start()
        self._rest.start()

    def do(self, asked: Reaction) -> None:
        """Do what a page waits for."""
        self._page.do(asked)

    def ask(self, asked: Reaction) -> None:
        """Have something done soon."""
        self._page.ask(asked)

    def check(self) -> None:
        """Raise what nobody has foreseen."""
        self._page.check()
        self._rest.check()

    def end(self) -> None:
        """Do nothing more; what is being done may end, for a while."""
        for lane in (self._page, self._rest):
            lane.stop()
        for lane in (self._page, self._rest):
            lane.join()

    def _warm_up(self) -> None:
        """Prepare for the first compile, and before it: at once they may need too much memory."""
        started = time.monotonic()
        try:
            self._shown.workshop.warm_up(self._shown.owner, self._shown.names)
        except SuiteError as error:
            self._page.warn(error)
            return
        self._console.say(f"ready to compile ({time.monotonic() - started:.1f} s)")

    def _serve(self, asked: Reaction) -> bool:
        workshop, place = self._shown.workshop, (self._shown.owner, self._shown.names)
        if asked.compile:
            self._console.say(f"compiling, for {_named(asked.compile)} …")
            started = time.monotonic()
            try:
                workshop.compile(*place, routes=asked.routes)
            except SuiteError as error:
                error.message = f"{error.message}; {self._what_is_served()}"
                raise
            self._console.success(f"compiled ({time.monotonic() - started:.1f} s)")
        if asked.install:
            workshop.install(*place)
        return True

    def _what_is_served(self) -> str:
        """Return what becomes of pages: each reads some of the files, whatever is compiled."""
        try:
            status = self._shown.status()
        except SuiteError as error:
            return f"pages fail until that is mended: {error.message}"
        if status >= FAILING:
            return f"pages fail until that is mended: {LOGIN} answers {status}"
        return f"the one before is used, and {LOGIN} answers"

    def _follow(self, asked: Reaction) -> bool:
        workshop, place = self._shown.workshop, (self._shown.owner, self._shown.names)
        page = self._page

        def go_on() -> bool:
            return not (page.is_busy or page.is_ended)

        if asked.compile and not workshop.follow(*place, go_on):
            return False
        if page.is_ended:
            return False
        if asked.restart:
            workshop.restart(*place, sorted(asked.restart))
        return True


def together(asked: Sequence[Reaction]) -> Reaction:
    """Return what several changes ask for, done once."""
    return Reaction(
        tuple(dict.fromkeys(place for each in asked for place in each.compile)),
        any(each.routes for each in asked),
        any(each.install for each in asked),
        frozenset(service for each in asked for service in each.restart),
    )

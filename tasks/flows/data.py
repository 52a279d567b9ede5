"""A branch's data as a whole: dumped into a file, loaded from one, copied, taken away.

What goes into a file or comes from one passes through this run in parts, never as a whole. What
they were is said at the end by the program that sent them, so that a connection that broke off is
no end. What a load has not put in place yet changes nothing: docker/mautic/php/load.php and
uploads.php. A program ends by itself when this run is interrupted or killed (``HOLDING``).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tasks.adapters.files.dump_file import DumpFile, new_dump, remove_unfinished
from tasks.adapters.seed_store import SeedStore
from tasks.adapters.terminal.console import Activity, Console
from tasks.core.display import megabytes
from tasks.core.dump_manifest import DATABASE, UPLOADS, Manifest, Member, measure, member_of
from tasks.core.environment import Holder, Owner
from tasks.core.errors import RefusedError, SuiteError, UnreadableError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.seeds import DATA, Seed, SeedUploads
from tasks.core.seeds import UPLOADS as SEALED_UPLOADS
from tasks.flows.smoke import smoke_test
from tasks.flows.target import ADMIN, DataPort, Deployer, SeedServer, SharedUploads

DUMP_DATABASE = ("mautic", "database", "dump")
LOAD_DATABASE = ("mautic", "database", "load")
GIVE_DATABASE = ("mautic", "database", "give")
TAKE_DATABASE = ("mautic", "database", "take")
COPY_DATABASE = ("mautic", "database", "copy")
RESET_DATABASE = ("mautic", "database", "reset")
CONTENT = ("mautic", "database", "content")
DUMP_UPLOADS = ("mautic", "uploads", "dump")
GIVE_UPLOADS = ("mautic", "uploads", "give")
TAKE_UPLOADS = ("mautic", "uploads", "take")
STAGE_UPLOADS = ("mautic", "uploads", "stage")
EMPTY_UPLOADS = ("mautic", "uploads", "empty")
PLACE_UPLOADS = ("mautic", "uploads", "place")
FILL_UPLOADS = ("mautic", "uploads", "fill")
BEGIN_UPLOADS = ("mautic", "uploads", "begin")
MASK = ("mautic", "database", "seed")
SOW = ("mautic", "database", "sow")
ADMIN_EMAIL = "admin@example.com"
ADMINISTERED = (
    *("env", f"MAUTIC_ADMIN_USERNAME={ADMIN}", f"MAUTIC_ADMIN_EMAIL={ADMIN_EMAIL}"),
    # By stdin: in argv everybody could read it.
    *("sh", "-c", 'read -r MAUTIC_ADMIN_PASSWORD; export MAUTIC_ADMIN_PASSWORD; exec "$@"', "sh"),
)
"""Runs a program that may install Mautic; the first line of its input is the password."""
PROGRESS_SECONDS = 5.0
WHOLE = re.compile(r"(?:dump|uploads): whole (\{.*\})")
"""What the programs of the image say once they have written everything."""
CUT_OFF = 76
"""The exit status of a program whose other end, in another container, has ended early."""
NOT_FOUND = 127
"""The exit status of an image that does not know a program at all."""
UNKNOWN = ("database needs", "stdin must be a line of JSON")
"""What an image says that does not know a verb, or a word of the line it is sent."""


class CutOffError(SuiteError):
    """A program failed because the one that it takes data from, or gives it to, has ended."""


@dataclass(frozen=True)
class Place:
    """A branch's environment, and the ports to it."""

    owner: Owner
    names: Names
    data: DataPort
    deployer: Deployer[Any]


class Source(Protocol):
    """What a branch's data is replaced by."""

    @property
    def title(self) -> str:
        """A few words, for plans."""

    @property
    def has_uploads(self) -> bool:
        """Whether uploads are replaced as well."""

    def check(self, console: Console) -> None:
        """Look at all of it, before anything is changed.

        Raises:
            SuiteError: it is damaged, or not there any more.
        """

    def stage(self, place: Place, console: Console) -> None:
        """Bring its uploads, if it has some, beside those of the branch; nothing has changed then.

        Raises:
            SuiteError: it failed; nothing is left of them.
        """

    def put(self, place: Place, console: Console) -> None:
        """Put it in the place of what the branch has, staged uploads with it, in one step.

        Raises:
            SuiteError: it failed; nothing has changed.
        """


@dataclass(frozen=True)
class Fresh:
    """A fresh installation."""

    title: str = ""
    has_uploads: bool = True

    def check(self, console: Console) -> None:
        """There is nothing to look at."""

    def stage(self, place: Place, console: Console) -> None:
        """Make empty folders."""
        run_image(place, EMPTY_UPLOADS, ignore)

    def put(self, place: Place, console: Console) -> None:
        """Install Mautic."""
        title = f"install Mautic in {place.names.database} anew"
        put_database(place, RESET_DATABASE, title, console, has_uploads=True)


@dataclass(frozen=True)
class DumpSource:
    """A dump."""

    file: DumpFile
    manifest: Manifest
    has_uploads: bool = True

    @property
    def title(self) -> str:
        """The manifest's title."""
        return self.manifest.title

    def check(self, console: Console) -> None:
        """Compare the file with its manifest."""
        with console.work(f"check {self.file.path}"):
            self.file.check(self.manifest)

    def stage(self, place: Place, console: Console) -> None:
        """Send the uploads."""
        uploads, digest = self.file.read(UPLOADS), self.manifest.members[UPLOADS].sha256
        with console.work(f"load the uploads of {place.names.branch}") as activity:
            sent = counted(in_parts(uploads, digest), activity)
            run_image(place, STAGE_UPLOADS, ignore, activity, sent)

    def put(self, place: Place, console: Console) -> None:
        """Load the database."""
        title = f"load {place.names.database}"
        source = self.file.read(DATABASE)
        put_database(place, LOAD_DATABASE, title, console, source, has_uploads=True)


@dataclass(frozen=True)
class SeedSource:
    """A seed, as it is kept.

    Attributes:
        key: what it is encrypted with, 64 hexadecimal digits.
        shared: whether the branch shares its uploads with others, in place of a copy.
    """

    store: SeedStore
    seed: Seed
    key: str
    shared: bool = False

    @property
    def title(self) -> str:
        """The seed's title."""
        return self.seed.title

    @property
    def has_uploads(self) -> bool:
        """Whether the branch gets a copy of some; its own stay otherwise."""
        return self.seed.uploads is not None and not self.shared

    def check(self, console: Console) -> None:
        """Compare the seed with its manifest."""
        with console.work(f"check seed {self.seed.id}"):
            for name, expected in self.seed.parts.items():
                if self.shared and name == SEALED_UPLOADS:
                    continue
                if measure(self.store.read(self.seed.id, name)) != expected:
                    raise UnreadableError(f"seed {self.seed.id} is not what its manifest says")

    def stage(self, place: Place, console: Console) -> None:
        """Send its uploads, if it has some; they are decrypted there.

        Of shared ones the branch takes what Mautic does not read there.
        """
        if self.shared:
            run_image(place, BEGIN_UPLOADS, ignore)
            return
        if self.seed.uploads is None:
            return
        with console.work(f"load the uploads of {place.names.branch}") as activity:
            sent = counted(self.uploads(self.seed.uploads), activity)
            run_image(place, STAGE_UPLOADS, ignore, activity, sent)

    def put(self, place: Place, console: Console, *, migrated: bool = True) -> None:
        """Decrypt it beside the branch's database, and clone it from there.

        Args:
            migrated: whether it is migrated to the release that runs.
        """
        admin = {"username": ADMIN, "email": ADMIN_EMAIL}
        admin["password"] = place.data.admin_password(place.names)
        title = f"sow {place.names.database}"
        shared = {"shared": True} if self.shared else {}
        sent = self.sent(DATA, self.seed.sealed.bytes, admin=admin, **shared)
        put_database(
            *(place, SOW, title, console, sent), has_uploads=self.has_uploads, migrated=migrated
        )

    def put_uploads(self, place: Place, console: Console) -> None:
        """Put its uploads alone, if it has some, in the place of the branch's.

        Raises:
            SuiteError: it failed; the same again finishes.
        """
        self.stage(place, console)
        if self.has_uploads:
            run_image(place, PLACE_UPLOADS, ignore)

    def uploads(self, uploads: SeedUploads) -> Iterable[bytes]:
        """Return what a program reads that decrypts the seed's uploads."""
        return self.sent(SEALED_UPLOADS, uploads.sealed.bytes, sha256=uploads.tar_sha256)

    def sent(self, name: str, size: int, **more: Any) -> Iterable[bytes]:
        """Return what a program reads: a line that says how to read it, then a part of the seed."""
        line = json.dumps({"key": self.key, "bytes": size, **more}).encode() + b"\n"
        return itertools.chain([line], self.store.read(self.seed.id, name))


@dataclass(frozen=True)
class ChangePlan:
    """What a load, a copy or a reset does.

    Attributes:
        verb: for the title.
        content: rows that are there now, by table.
        snapshot: where what is there is saved first, or None.
        source: what is loaded, in a few words; empty if everything is taken away.
        has_uploads: whether uploads are replaced as well.
    """

    verb: str
    names: Names
    content: dict[str, int]
    snapshot: Path | None
    source: str
    has_uploads: bool

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"{self.verb} the data of {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        database = f"database {self.names.database}"
        there = content_title(self.content)
        steps = []
        if self.snapshot:
            steps.append(Step("save", f"what is there to {self.snapshot}", there))
        if self.source:
            steps.append(Step("replace", database, self.source))
            steps.append(Step("migrate", database, "to the release that runs, before that"))
        else:
            steps.append(Step("install", f"Mautic in {database}"))
        if self.has_uploads:
            steps.append(Step("replace" if self.source else "empty", "uploads"))
        return tuple(steps)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.names.branch,
            "content": self.content,
            "snapshot": str(self.snapshot) if self.snapshot else None,
            "steps": [asdict(step) for step in self.steps],
        }


def ignore(_: bytes) -> None:
    """Take what nobody needs."""


# -- out ------------------------------------------------------------------------------------------


def dump(place: Place, path: Path, console: Console) -> Manifest:
    """Write a branch's database and uploads into a file.

    Raises:
        SuiteError: it failed; there is no file then, or the one that was there before.
    """
    with new_dump(path) as writer:
        with console.work(f"dump {place.names.database}") as activity:
            with writer.member(DATABASE) as take:
                told = send_out(place, DUMP_DATABASE, take, activity)
            compare(told, writer.members[DATABASE], DATABASE)
            activity.outcome = megabytes(writer.members[DATABASE].bytes)
        with console.work(f"dump the uploads of {place.names.branch}") as activity:
            with writer.member(UPLOADS) as take:
                files = send_out(place, DUMP_UPLOADS, take, activity)
            compare(files, writer.members[UPLOADS], UPLOADS)
            activity.outcome = megabytes(writer.members[UPLOADS].bytes)
        manifest = Manifest(
            branch=place.names.branch,
            environment=place.names.environment,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            mautic=told.get("mautic") or "",
            migrations=tuple(told["migrations"]),
            rows=told["rows"],
            members=writer.members,
        )
        writer.finish(manifest)
    return manifest


def send_out(
    place: Place, words: Sequence[str], take: Callable[[bytes], None], activity: Activity
) -> dict[str, Any]:
    """Run a program that writes bytes; return what it said of them at its end.

    Args:
        place: where.
        words: the command.
        take: called with what it writes.
        activity: shows how much that was so far, and what it says.

    Raises:
        SuiteError: it failed, or did not say that it has written everything.
    """
    said = run_image(place, words, _Progress(activity).counting(take), activity)
    found = [match[1] for match in map(WHOLE.fullmatch, said) if match]
    if not found:
        raise SuiteError(f"{' '.join(words)} did not say that it has written everything")
    told: dict[str, Any] = json.loads(found[-1])
    return told


def compare(told: dict[str, Any], came: Member, name: str) -> None:
    """Check that what was sent has come.

    Raises:
        SuiteError: something was lost on its way.
    """
    if member_of(told) != came:
        raise SuiteError(f"not all of {name} has come: {told['bytes']} bytes were sent")


def mask(
    place: Place, line: bytes, take: Callable[[bytes], None], on_line: Callable[[str], None]
) -> None:
    """Run the program that masks a branch's database; see ``tasks.flows.seeds.Masking``."""
    run_program(place, MASK, take=take, on_line=on_line, source=[line])


# -- in -------------------------------------------------------------------------------------------


def content(place: Place) -> dict[str, int]:
    """Return the number of rows that hold somebody's work, by table; empty if there are none."""
    answer = bytearray()
    run_image(place, CONTENT, answer.extend)
    found: dict[str, int] = json.loads(answer)
    return found


def content_title(rows: Mapping[str, int]) -> str:
    """Return what ``content`` found, in a few words."""
    return ", ".join(f"{count} {table}" for table, count in rows.items())


def refuse_protected(environment: str, *, protected: bool) -> None:
    """Refuse to change the data of a protected environment.

    Raises:
        RefusedError: it is protected.
    """
    if protected:
        raise RefusedError(
            f"{environment} is protected: its data is not replaced by this suite",
            hint="inv db.dump reads it; an RDS snapshot is restored into a new instance beside it: "
            "docs/aws.md, Disasters",
        )


def plan_change(
    place: Place,
    verb: str,
    source: str,
    snapshot: Path,
    *,
    has_uploads: bool,
    replace: bool = True,
) -> ChangePlan:
    """Return what a load, a copy or a reset would do; reads only.

    Args:
        place: the branch's environment.
        verb: which of them.
        source: what is loaded, in a few words; empty if everything is taken away.
        snapshot: where what is there would be saved.
        has_uploads: whether uploads are replaced as well.
        replace: whether there may be something.

    Raises:
        RefusedError: the branch has data, and ``replace`` is not set.
    """
    there = content(place)
    if there and not replace:
        raise RefusedError(
            f"{place.names.branch} has data: {content_title(there)}",
            hint="with --replace it is saved to a file, and replaced",
        )
    kept = snapshot if there else None
    return ChangePlan(verb, place.names, there, kept, source, has_uploads)


def change(
    place: Place,
    find_plan: Callable[[], ChangePlan],
    source: Source,
    *,
    me: Holder,
    console: Console,
) -> ChangePlan:
    """Replace a branch's data, migrated, in one step; then look at the site.

    Args:
        place: the branch's environment.
        find_plan: returns the plan, once the environment's lock is held.
        source: what comes in its place.
        me: this run, as the holder of the lock.
        console: shows progress.

    Raises:
        SuiteError: it failed; the message says what became of the data.
        KeyboardInterrupt: it was interrupted; what became of the data was said.
    """
    names = place.names
    source.check(console)
    with place.deployer.exclusive(names, me, console.warn):
        plan = find_plan()
        with saying(console, f"{names.branch} has the data that it had"):
            if plan.snapshot:
                plan.snapshot.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                remove_unfinished(plan.snapshot.parent)
                dump(place, plan.snapshot, console)
                console.say(f"what was there: {plan.snapshot}")
            source.stage(place, console)
        source.put(place, console)
        try:
            look(place, console)
        except SuiteError as error:
            back = f"inv db.load {plan.snapshot} --replace {names.options}"
            raise SuiteError(
                f"{plan.verb}: the data is in place, but {error.message}",
                hint=f"what was there before: {back}" if plan.snapshot else error.hint,
                output=error.output,
            ) from error
    return plan


def fill(place: Place, source: Source, console: Console) -> None:
    """Put data in the place of a fresh installation; the lock is held.

    Raises:
        SuiteError: it failed; nothing has changed.
    """
    source.check(console)
    source.stage(place, console)
    source.put(place, console)


def in_parts(tar: Iterable[bytes], sha256: str) -> Iterable[bytes]:
    """Yield what the program that stages uploads reads: it is not told their size before.

    Args:
        tar: the uploads.
        sha256: their checksum.
    """
    yield b"{}\n"
    for part in filter(None, tar):
        yield b"%d\n%b" % (len(part), part)
    yield f"0\n{sha256}\n".encode()


def put_database(
    place: Place,
    words: Sequence[str],
    title: str,
    console: Console,
    source: Iterable[bytes] = (),
    *,
    take: Callable[[bytes], None] = ignore,
    has_uploads: bool = False,
    migrated: bool = True,
) -> None:
    """Run the program that puts other data in the place of a branch's.

    It fills a database beside the branch's own and migrates that, or installs Mautic in it. Then
    all changes in one step, which no interrupt of this run leaves half done.

    Args:
        place: the branch's environment.
        words: the program.
        title: of the work.
        console: shows progress, and says which data there is if this run is interrupted.
        source: what the program reads.
        take: called with what it writes.
        has_uploads: whether staged uploads come along.
        migrated: whether it is migrated to the release that runs.

    Raises:
        SuiteError: it failed; nothing has changed.
    """
    along = [*(["migrate"] if migrated else []), *(["uploads"] if has_uploads else [])]
    password = f"{place.data.admin_password(place.names)}\n".encode()
    has_begun = False

    def sent(activity: Activity) -> Iterator[bytes]:
        nonlocal has_begun
        has_begun = True
        yield password
        yield from counted(source, activity)

    try:
        with console.work(title) as activity:
            run_image(place, (*ADMINISTERED, *words, *along), take, activity, sent(activity))
    except KeyboardInterrupt as interrupt:
        status = getattr(interrupt, "status", None)
        console.warn(outcome(place.names, status, has_begun=has_begun))
        raise


def outcome(names: Names, status: int | None, *, has_begun: bool) -> str:
    """Return which data a branch has after an interrupt.

    Args:
        names: the branch's names.
        status: the exit status of the program that was let go; None if it had not ended.
        has_begun: whether it had begun, which reading tells.
    """
    if status is None and has_begun:
        return (
            f"the program that changes the data of {names.branch} has not ended yet: it does so by "
            "itself, before it changes anything or when all is changed"
        )
    return f"{names.branch} has {'the new data' if status == 0 else 'the data that it had'}"


@contextlib.contextmanager
def saying(console: Console, sentence: str) -> Iterator[None]:
    """Say something if this run is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        console.warn(sentence)
        raise


def plant(server: SeedServer, source: SeedSource, console: Console) -> None:
    """Load a seed into the server that branches share, unless it is there.

    It is not read before: one that is damaged leaves nothing.

    Raises:
        SuiteError: it failed; the message is the program's own.
    """
    seed, said = source.seed, [""]

    def tell(line: str) -> None:
        said.append(line.partition(": ")[2])
        activity.line(said[-1])

    with console.work(f"load seed {seed.id} into the database server") as activity:
        sent = source.sent(DATA, seed.sealed.bytes, id=seed.id)
        status = server.plant(counted(sent, activity), tell)
        if status:
            raise SuiteError(said[-1] or f"what loads seeds ended with exit status {status}")


def share(there: SharedUploads, source: SeedSource, image: str, console: Console) -> None:
    """Put a seed's uploads where its branches share them, unless they are there.

    Args:
        there: where.
        source: a seed with uploads.
        image: a mautic image.
        console: shows progress.

    Raises:
        SuiteError: it failed; the message is the program's own.
    """
    seed, said = source.seed, [""]
    if seed.uploads is None:
        raise SuiteError(f"seed {seed.id} has no uploads that could be shared")

    def tell(line: str) -> None:
        said.append(line.partition(": ")[2])
        activity.line(line)

    with console.work(f"share the uploads of seed {seed.id}") as activity:
        sent = counted(source.uploads(seed.uploads), activity)
        status = there.fill(seed.id, image, sent, tell)
        if status:
            raise SuiteError(said[-1] or f"what shares uploads ended with exit status {status}")


def look(place: Place, console: Console) -> None:
    """Look at the site, whose data has changed."""
    names, deployer = place.names, place.deployer
    with (
        saying(console, f"{names.branch} has the new data"),
        console.work("smoke test") as activity,
    ):
        smoke_test(
            lambda path: deployer.get(names, path),
            activity.note,
            names.url,
            patience_seconds=deployer.smoke_seconds,
        )


# -- internals ------------------------------------------------------------------------------------


def run_image(
    place: Place,
    words: Sequence[str],
    take: Callable[[bytes], None],
    activity: Activity | None = None,
    source: Iterable[bytes] = (),
) -> list[str]:
    """Run a program of the image; return the lines of its standard error.

    Args:
        place: where.
        words: the command.
        take: called with what it writes.
        activity: shows the lines.
        source: what it reads.

    Raises:
        SuiteError: it failed; the message is its own.
    """

    def tell(line: str) -> None:
        if activity and not WHOLE.fullmatch(line):
            activity.line(line)

    return run_program(place, words, take=take, on_line=tell, source=source)


def run_program(
    place: Place,
    words: Sequence[str],
    *,
    take: Callable[[bytes], None],
    on_line: Callable[[str], None],
    source: Iterable[bytes],
) -> list[str]:
    """Run a program of the image; return the lines that went to ``on_line``.

    Arguments are as for ``DataPort.pipe``.

    Raises:
        SuiteError: it failed; the message is its own.
    """
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        on_line(line)

    status = place.data.pipe(
        place.owner, place.names, words, source=source, take=take, on_line=tell
    )
    if status:
        # What the shell says of a program that is not there is no message of the program's.
        told = said[-1].partition(": ")[2] if said and status != NOT_FOUND else ""
        hint = ""
        if status in {64, NOT_FOUND} or (status == 78 and told.startswith(UNKNOWN)):
            hint = (
                f"the release of {place.names.branch} that runs is of an image from before these "
                "verbs: deploy it anew"
            )
        kind = CutOffError if status == CUT_OFF else SuiteError
        raise kind(
            told or f"{' '.join(words[:3])} ended with exit status {status}",
            hint=hint or None,
            output="\n".join(said),
        )
    return said


def counted(source: Iterable[bytes], activity: Activity) -> Iterable[bytes]:
    """Yield what a source yields, and say now and then how much that was."""
    progress = _Progress(activity)
    for data in source:
        yield data
        progress.add(data)


class _Progress:
    """Says now and then how many bytes have passed."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._bytes = 0
        self._said_at = time.monotonic()

    def counting(self, take: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Return a function that counts, and passes on, what it is called with."""

        def counted(data: bytes) -> None:
            take(data)
            self.add(data)

        return counted

    def add(self, data: bytes) -> None:
        """Count what has passed."""
        self._bytes += len(data)
        if time.monotonic() - self._said_at >= PROGRESS_SECONDS:
            self._said_at = time.monotonic()
            self._activity.line(megabytes(self._bytes))

"""Puts together the rehearsal of an upgrade."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.adapters.identity import this_run, user_at_host
from tasks.app import environments, images, seeds, wiring
from tasks.app.paths import PROJECT
from tasks.app.session import Session
from tasks.core.environment_data import EMPTY
from tasks.core.errors import InputError, RefusedError
from tasks.core.names import Names
from tasks.core.rehearsal import (
    LIFETIME_HOURS,
    Rehearsal,
    check_no_rehearsal,
    environment_branch,
    image_tag,
)
from tasks.core.seeds import Seed, check_id
from tasks.flows.data import Place, SeedSource
from tasks.flows.rehearse import RehearsalPlan, refuse_present, rehearse
from tasks.flows.seeds import find_seeds, stored_seed
from tasks.flows.target import Request, owner_of

EVIDENCE = PROJECT / "artifacts" / "rehearsals"
"""Where the logs of rehearsals with failures are saved, each in a folder of its own."""


@dataclass(frozen=True)
class SuiteStage:
    """Makes a rehearsal's environment by what builds, deploys and removes every other one."""

    session: Session
    names: Names
    image: images.Build
    tag: str

    def build(self) -> object:
        """Build its images."""
        return self.image.make()

    def deploy(self) -> object:
        """Deploy them, with an empty database."""
        request = Request(
            *(self.names, self.session.git.repository(), user_at_host(), self.tag),
            data=EMPTY,
            lifetime_hours=LIFETIME_HOURS,
        )
        return environments.deploy(self.session, request)

    def remove(self) -> int:
        """Remove everything of it but what was saved of a failure."""
        return environments.BranchCleanup(self.session, self.names, dry=False, root=None).run()


@dataclass(frozen=True)
class Rehearsing:
    """A rehearsal with everything it needs."""

    session: Session
    plan: RehearsalPlan
    stage: SuiteStage
    place: Place
    source: SeedSource

    def run(self) -> Rehearsal:
        """Do it, and return what came of it; errors as for ``rehearse``."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return rehearse(
            *(self.plan, self.stage, self.place, self.source),
            me=this_run("rehearse"),
            console=self.session.console,
            evidence=EVIDENCE / stamp,
        )


def rehearsing(
    session: Session,
    env: str,
    branch: str | None,
    *,
    mautic: str,
    seed: str,
    contacts: int,
    keep: bool,
) -> Rehearsing:
    """Return a rehearsal.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
        mautic: another version of Mautic, or an image that holds it; empty for the project's.
        seed: a seed's id, or an empty string for the newest.
        contacts: of how many contacts the seed is to be; 0 for any number.
        keep: whether the environment stays.

    Raises:
        RefusedError: the environment is protected, or the rehearsal's own is there already.
        InputError: there is no such seed, or no key for it.
        SettingsError: the settings do not say where seeds are kept.
    """
    chosen = session.branch(branch)
    check_no_rehearsal(chosen)
    environment, own = session.environment(env, chosen)
    if own.protected:
        raise RefusedError(
            f"{environment} is protected: nothing is rehearsed there",
            hint="rehearse in another environment, with a seed of this one",
        )
    source = _source(session, seed, contacts)
    names = session.names_in(environment, environment_branch(chosen))
    target = wiring.target(session, environment)
    owner = owner_of(names, session.git.repository())
    place = Place(owner, names, target.data, target.deployer)
    refuse_present(place, len(target.inspector.status(owner, names)))
    image = images.rehearsal_build(session, environment, names.branch, mautic)
    tag = image_tag(image.subject.checkout.tag, names.slug)
    plan = RehearsalPlan(chosen, names, mautic, source.seed, keep)
    return Rehearsing(session, plan, SuiteStage(session, names, image, tag), place, source)


def write_report(path: Path, done: Rehearsal) -> None:
    """Write what came of a rehearsal into a file: JSON if its name ends so, else Markdown.

    Raises:
        InputError: it cannot be written.
    """
    is_json = path.suffix == ".json"
    text = json.dumps(done.as_dict(), indent=2) + "\n" if is_json else done.markdown()
    try:
        path.write_text(text)
    except OSError as error:
        raise InputError(f"--out {path}: it cannot be written: {error.strerror}") from error


def _source(session: Session, id_: str, contacts: int) -> SeedSource:
    """Return the seed of an id, or the newest of that many contacts, as what data is replaced by.

    Raises:
        InputError: there is none, no key, or another one.
    """
    store = seeds.seed_store(session)
    found = [stored_seed(store, check_id(id_))] if id_ else [*find_seeds(store).whole]
    fitting = [seed for seed in found if not contacts or seed.contacts == str(contacts)]
    if not fitting:
        raise InputError(_lack(found, contacts), hint=_remedy(contacts))
    # No file of an upload is looked at by what a rehearsal measures.
    return seeds.with_key(session, store, fitting[-1].without_uploads())


def _lack(found: list[Seed], contacts: int) -> str:
    if not found:
        return "there are no seeds to rehearse with"
    kept = ", ".join(f"{seed.id} ({seed.contacts})" for seed in found)
    return f"there is no seed of {contacts} contacts, and a seed is never cut down later: {kept}"


def _remedy(contacts: int) -> str:
    size = f" --contacts {contacts}" if contacts else ""
    return f"make one: inv db.seed --env ENVIRONMENT{size}"

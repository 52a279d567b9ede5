"""Which release a request means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.environment import Record, Release, State
from tasks.core.errors import InputError, NoImageError, RefusedError
from tasks.core.images.retention import ImageUse
from tasks.flows.target import recorded_use
from tests.support.fakes import NAMES, RELEASE, REQUEST, a_record

FOUND = {"mautic": "m@sha256:found", "nginx": "n@sha256:found"}
OLD = replace(RELEASE, tag="old", mautic="m@sha256:old", owner="bob@host")
NEW = replace(RELEASE, tag="new", mautic="m@sha256:new")
AGAIN = replace(NEW, tag="again")
"""What was built anew without a change."""


def images(tag: str) -> dict[str, str]:
    if tag == "nosuchtag":
        raise NoImageError("there are no images of nosuchtag")
    return FOUND


def test_a_deploy_takes_the_images_of_its_tag() -> None:
    release = REQUEST.release(a_record(State.READY, replace(RELEASE, owner="bob@host")), images)
    assert (release.mautic, release.nginx) == (FOUND["mautic"], FOUND["nginx"])
    assert (release.tag, release.commit, release.owner) == ("1a2b3c4d", REQUEST.commit, "ada@host")
    assert release.deployed_at.endswith("+00:00")


@pytest.mark.parametrize(
    ("history", "tag", "meant"),
    [
        ((OLD, NEW), "", OLD),
        ((OLD, NEW), "old", OLD),
        ((OLD, NEW, AGAIN), "", OLD),
        ((OLD, NEW, AGAIN), "new", NEW),
        ((OLD, NEW, OLD), "new", NEW),
    ],
)
def test_a_rollback_takes_the_release_from_the_record(
    history: tuple[Release, ...], tag: str, meant: Release
) -> None:
    request = replace(REQUEST, tag=tag, rollback=True)
    release = request.release(a_record(State.READY, *history), images)
    assert release == replace(meant, owner="ada@host", deployed_at=release.deployed_at)
    assert release.deployed_at != meant.deployed_at


@pytest.mark.parametrize(
    ("record", "tag", "told"),
    [
        (None, "", "there is no earlier release of"),
        (a_record(), "", "there is no earlier release of"),
        (a_record(State.READY, NEW), "", "there is no earlier release of"),
        (a_record(State.READY, NEW, AGAIN), "", "there is no earlier release of"),
        (a_record(State.READY, OLD, NEW), "new", "new is the current release of"),
    ],
)
def test_where_there_is_nothing_to_go_back_to_the_releases_are_named(
    record: Record | None, tag: str, told: str
) -> None:
    request = replace(REQUEST, tag=tag, rollback=True)
    with pytest.raises(InputError, match=f"^{told} {NAMES.branch}") as caught:
        request.release(record, images)
    deployed = ", ".join(each.tag for each in record.history) if record else ""
    assert caught.value.hint == f"deployed so far: {deployed or 'nothing'}"


def test_a_protected_environment_goes_back_to_what_is_checked_out_alone() -> None:
    record = a_record(State.READY, replace(OLD, commit="0" * 40), NEW)
    back = replace(REQUEST, tag="", rollback=True, pinned=True)
    with pytest.raises(RefusedError, match="old was deployed from another commit") as caught:
        back.release(record, images)
    assert f"git switch --detach {'0' * 40}" in str(caught.value.hint)
    assert replace(back, commit="0" * 40).release(record, images).tag == "old"


def test_a_rollback_takes_no_release_that_the_branch_never_had() -> None:
    """Whatever images the registry has under that tag: they may be another branch's."""
    request = replace(REQUEST, tag="others", commit="", rollback=True)
    with pytest.raises(InputError, match="no release others to go back to") as caught:
        request.release(a_record(State.READY, OLD, NEW), images)
    assert caught.value.hint
    assert caught.value.hint.startswith("deployed so far: old, new; ")


def test_a_record_names_the_uploads_that_its_branch_shares() -> None:
    seeded = replace(a_record(), data="seed:20260102t030405")
    for record, shares in (
        (replace(seeded, shares=True), {"seed.20260102t030405"}),
        (seeded, set()),
    ):
        assert recorded_use(ImageUse("dev", "x"), record, held=False).shares == shares

"""inv dev on a real node: what is saved is served, and every way out leads back to the images.

The times are printed (pytest -s).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tasks.flows.kubernetes.releases import revisions
from tests.support.deploys import until
from tests.support.realnode.bed import ON, Bed
from tests.support.workshop import DEADLINE_SECONDS, DEPLOYED, PAGE, PATH, Editor, leave, showing

MAIN = "main"
DEV = ("dev", *ON)
VOLUMES = ("dev-plugins", "dev-themes", "dev-translations", "dev-config")


@pytest.fixture(scope="module")
def _deployed(bed: Bed) -> Editor:
    """The branch that is checked out, deployed, and who works on its plugin and its theme."""
    made = Editor(bed.checkout, lambda path: bed.get(MAIN, path))
    made.begin()
    bed.deployed(MAIN, "--tag", bed.build())
    return made


@pytest.fixture
def editor(_deployed: Editor) -> Iterator[Editor]:
    """Who works on the plugin and the theme."""
    yield _deployed
    _deployed.undo()


def tag(bed: Bed) -> str:
    return str(bed.record(MAIN)["history"][-1]["tag"])


def images(bed: Bed) -> set[tuple[str, str, str]]:
    """Return each container of the branch's pods, with the image that the node runs."""
    return {
        (pod["metadata"]["labels"]["app.kubernetes.io/component"], each["name"], each["imageID"])
        for pod in bed.pods(MAIN)
        if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
        for each in pod["status"]["containerStatuses"]
    }


def showing_pods(bed: Bed) -> list[str]:
    """Return the pods that have volumes for a working tree."""
    return [
        pod["metadata"]["name"]
        for pod in bed.pods(MAIN)
        if {volume["name"] for volume in pod["spec"]["volumes"]} & set(VOLUMES)
    ]


def newest(bed: Bed) -> str:
    """Return the status of Helm's newest revision of the branch's release."""
    names = bed.names(MAIN)
    return revisions(bed.cluster, names.release, names.namespace)[-1].status


def is_as_deployed(bed: Bed, editor: Editor) -> None:
    """Check that the deployed release runs, and nothing else."""
    until(lambda: showing_pods(bed) == [])
    assert editor.get(PATH) == (200, DEPLOYED)
    assert bed.ok("drift", *ON).stdout == ""
    words = ("deploy", *ON, "--tag", tag(bed), "--dry-run", "--format", "json")
    assert json.loads(bed.ok(*words).stdout)["steps"] == []


def test_what_is_saved_is_served_and_ctrl_c_goes_back(bed: Bed, editor: Editor) -> None:
    before = images(bed)
    dev = bed.start(*DEV)
    with showing(dev):
        print(editor.change_all())  # noqa: T201 - for -s
        second = bed.run(*DEV)
        assert second.returncode == 4, second.stderr
        assert "is held by" in second.stderr
        leave(dev)
    editor.undo()
    is_as_deployed(bed, editor)
    until(lambda: images(bed) == before)


def test_what_killed_runs_leave_is_mended(bed: Bed, editor: Editor) -> None:
    with showing(dev := bed.start(*DEV)):
        editor.save(PAGE, "twig of a killed run")
        editor.served("twig of a killed run")
        dev.kill()
    editor.undo()
    # What it has left is served on until the environment is used again.
    assert editor.get(PATH) == (200, "php one, twig of a killed run")

    # Helm's revisions stay pending where it was killed along with who waited for it.
    dev = bed.start(*DEV)
    until(lambda: newest(bed) == "pending-upgrade", DEADLINE_SECONDS)
    dev.kill()
    with showing(dev := bed.start(*DEV)):
        editor.served(DEPLOYED)
        dev.send_signal(signal.SIGINT)
        until(lambda: newest(bed) == "pending-rollback", DEADLINE_SECONDS)
        dev.kill()
    bed.deployed(MAIN, "--tag", tag(bed))
    is_as_deployed(bed, editor)

"""docker/images.lock: read strictly, written in one form, moved by a plan."""

from __future__ import annotations

import pytest
import yaml

from tasks.core.errors import RegistryError, SettingsError
from tasks.core.images.pins import (
    TERRAFORM_IMAGE,
    Pin,
    engine_image,
    format_pins,
    parse_pins,
    public_images,
    with_engine_digest,
)
from tasks.core.settings import Settings
from tasks.flows.pins import pinned, plan_pins
from tests.support.suite import ROOT

OLD, NEW = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
DEBIAN, MAUTIC = "debian:trixie-slim", "localhost:5000/mautic:7.2-fpm"


def test_what_is_written_is_read_again() -> None:
    pins = {DEBIAN: OLD, MAUTIC: NEW}
    assert parse_pins(format_pins(pins)) == pins
    assert format_pins({}).startswith("#")
    assert parse_pins("") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{DEBIAN}\n", "line 1: debian:trixie-slim has no digest"),
        (f"# a comment\n{DEBIAN}@sha256:abc\n", "line 2: debian:trixie-slim has no digest"),
        (f"{DEBIAN}@{OLD} # why\n", "has no digest"),
        (f"DEBIAN image@{OLD}\n", "is not an image reference"),
        (f"{DEBIAN}@{OLD}\n{DEBIAN}@{NEW}\n", "stands there twice"),
    ],
)
def test_a_lock_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse_pins(text)


def test_every_public_image_is_pinned_once_and_those_by_digest_are_not() -> None:
    given = yaml.safe_load((ROOT / "invoke.yaml").read_text())
    data = {
        "environments": {"local": given["environments"]["local"]},
        "images": {"mautic": f"registry.example.com/mautic:7@{OLD}"},
        "platform": {"database_image": "mysql:8.4"},
    }
    found = public_images(Settings.model_validate(data))
    assert found == (
        *("axllent/mailpit:v1.27", DEBIAN, TERRAFORM_IMAGE, "mysql:8.4", "redis:8", "registry:3"),
    )


def test_terraform_s_image_is_the_one_that_is_built_with() -> None:
    assert f'default = "{TERRAFORM_IMAGE}"' in (ROOT / "docker/ci/docker-bake.hcl").read_text()


def test_the_engine_of_the_pipeline_is_pinned_where_gitlab_reads_it() -> None:
    text = (ROOT / ".gitlab-ci.yml").read_text()
    assert len(engine_image(text)) == 1
    (image,) = engine_image(text)
    once = with_engine_digest(text, {image: OLD})
    assert yaml.safe_load(once)["variables"]["DIND_IMAGE"] == f"{image}@{OLD}"
    assert engine_image(once) == (image,)
    assert with_engine_digest(once, {image: NEW}) == once.replace(OLD, NEW)
    assert with_engine_digest(once, {DEBIAN: NEW}) == once
    assert engine_image("variables: {}\n") == ()


@pytest.mark.parametrize(
    ("written", "pinned"),
    [
        ("  DIND_IMAGE: docker:29-dind", f"  DIND_IMAGE: docker:29-dind@{NEW}"),
        ('    DIND_IMAGE: "docker:29-dind"', f'    DIND_IMAGE: "docker:29-dind@{NEW}"'),
        ("  DIND_IMAGE:  'docker:29-dind'", f"  DIND_IMAGE:  'docker:29-dind@{NEW}'"),
        (f"  DIND_IMAGE: docker:29-dind@{OLD} # x", f"  DIND_IMAGE: docker:29-dind@{NEW} # x"),
    ],
)
def test_the_engine_is_found_however_it_is_written(written: str, pinned: str) -> None:
    text = f"variables:\n{written}\nother: x\n"
    assert engine_image(text) == ("docker:29-dind",)
    assert with_engine_digest(text, {"docker:29-dind": NEW}) == text.replace(written, pinned)


def test_a_plan_says_what_becomes_of_each_digest() -> None:
    def ask(reference: str) -> str | None:
        if reference == "redis:8":
            raise RegistryError("docker.io cannot be reached")
        return {DEBIAN: NEW, MAUTIC: OLD, "mysql:8.4": NEW}.get(reference)

    pins = {DEBIAN: OLD, MAUTIC: OLD, "redis:8": OLD, "gone:1": OLD}
    plan = plan_pins([DEBIAN, MAUTIC, "mysql:8.4", "redis:8", "wrong:1"], pins, ask)
    assert [(pin.reference, pin.action) for pin in plan] == [
        (DEBIAN, "moved"),
        (MAUTIC, "unchanged"),
        ("mysql:8.4", "pinned"),
        ("redis:8", "failed"),
        ("wrong:1", "failed"),
        ("gone:1", "removed"),
    ]
    # What a registry did not tell stays as it was.
    assert pinned(plan) == {DEBIAN: NEW, MAUTIC: OLD, "mysql:8.4": NEW, "redis:8": OLD}


def test_a_second_run_changes_nothing() -> None:
    plan = plan_pins([DEBIAN], {DEBIAN: NEW}, lambda _: NEW)
    assert plan == [Pin(DEBIAN, NEW, NEW)]
    assert plan[0].as_dict()["action"] == "unchanged"

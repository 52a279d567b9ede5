"""A sweep of ten thousand images in ECR, counted by its calls: moto in this process."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws
from moto.core.responses import ActionResult
from moto.ecr.models import Image, Repository, ecr_backends
from moto.ecr.responses import ECRResponse

from tasks.adapters.aws.session import Aws
from tasks.adapters.registry.ecr import BATCH, PAGE, EcrRegistry
from tasks.adapters.terminal.console import Activity
from tasks.core.images.retention import ImageUse, Policies
from tasks.flows.images_gc import ImageSources, find_image_sweep, run_image_sweep
from tests.support.aws import ACCOUNT, REGION
from tests.support.fakes_images import FakeGit

IMAGES = 10_000
GOING = 9_000
NO_SEEDS = 1
"""The call that finds that there are no repositories of seeds' uploads."""
ENOUGH_SECONDS = 60
MANIFEST = '{"schemaVersion": 2, "layers": []}'
KIND = "application/vnd.oci.image.manifest.v1+json"
LIST = "application/vnd.oci.image.index.v1+json"
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def digest(number: int) -> str:
    return f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}"


def image(repository: str, number: int, *, days: int, kind: str = KIND) -> Image:
    """Return an image as moto keeps it, with the tags that a build sets."""
    made = Image(ACCOUNT, f"{number:08x}", MANIFEST, repository, kind, digest(number))
    made.image_tags = [f"{number:08x}", f"branch.main.{number:08x}", f"content-{number:064x}"]
    made.image_pushed_at = int((NOW - timedelta(days=days)).timestamp())
    return made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the calls of ECR, whose lists come page by page: moto gives all at once."""
    seen: Counter[str] = Counter()
    whole = ECRResponse.describe_images

    def paged(self: Any) -> ActionResult:
        size, start = int(self._get_param("maxResults")), int(self._get_param("nextToken") or 0)
        assert size == PAGE
        every = whole(self).result["imageDetails"]
        page: dict[str, Any] = {"imageDetails": every[start : start + size]}
        if start + size < len(every):
            page["nextToken"] = str(start + size)
        return ActionResult(page)

    monkeypatch.setattr(ECRResponse, "describe_images", paged)
    call = ECRResponse.call_action

    def counted(self: Any) -> Any:
        seen[self._get_action()] += 1
        return call(self)

    monkeypatch.setattr(ECRResponse, "call_action", counted)
    for name, value in (("ID", "AKIAIOSFODNN7EXAMPLE"), ("KEY", "x" * 40)):
        word = "ACCESS_KEY_ID" if name == "ID" else "SECRET_ACCESS_KEY"
        monkeypatch.setenv(f"AWS_{word}", value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield seen


def repository(name: str) -> Repository:
    """Make a repository, and return it as moto keeps it."""
    backend = ecr_backends[ACCOUNT][REGION]
    backend.create_repository(f"x/{name}", None, None, None, None, None, None)
    return backend.repositories[f"x/{name}"]


@contextmanager
def quiet(_: str) -> Iterator[Activity]:
    yield Activity(lambda _: None, lambda _: None)


def sources(*uses: ImageUse) -> ImageSources:
    git: Any = FakeGit(remote=frozenset({"main"}))

    class Inspector:
        def image_uses(self) -> tuple[ImageUse, ...]:
            return uses

    inspector: Any = Inspector()
    url = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/x"
    return ImageSources(
        EcrRegistry(url, Aws(REGION), secret=str),
        url,
        {"dev": lambda: inspector},
        Policies(timedelta(hours=2)),
        git,
        private=False,
        slugs_of=lambda branch: {branch},
    )


def test_ten_thousand_images_take_a_call_per_thousand_and_one_per_hundred_that_go(
    calls: Counter[str],
) -> None:
    for half, name in enumerate(("mautic", "nginx")):
        stored = repository(name)
        first = half * IMAGES // 2
        stored.images = [
            image(f"x/{name}", number, days=90 if number - first < GOING // 2 else 0)
            for number in range(first, first + IMAGES // 2)
        ]
    # One of the old ones runs.
    runs = ImageUse("dev", "x-main", "main", "main", frozenset({digest(7)}))
    begun = time.monotonic()
    sweep = find_image_sweep(sources(runs), without=lambda _: False, now=NOW)
    assert len(sweep.verdicts) == IMAGES
    assert len(sweep.going) == GOING - 1
    assert calls == {"DescribeImages": IMAGES / PAGE + NO_SEEDS}
    run_image_sweep(sweep, sources(runs), work=quiet, now=lambda: NOW)
    assert calls == {
        "DescribeImages": IMAGES / PAGE + NO_SEEDS,
        "BatchDeleteImage": GOING / BATCH,
    }
    calls.clear()
    again = find_image_sweep(sources(runs), without=lambda _: False, now=NOW)
    assert again.steps == ()
    assert len(again.verdicts) == IMAGES - GOING + 1
    assert calls == {"DescribeImages": (IMAGES - GOING) / PAGE + 1 + NO_SEEDS}
    taken = time.monotonic() - begun
    assert taken < ENOUGH_SECONDS, taken


def test_what_lists_of_manifests_list_is_asked_for_a_hundred_at_once(
    calls: Counter[str],
) -> None:
    stored = repository("mautic")
    repository("nginx")
    lists = [image("x/mautic", number, days=0, kind=LIST) for number in range(150)]
    for number, each in enumerate(lists):
        child = f'{{"manifests": [{{"digest": "{digest(1000 + number)}"}}]}}'
        each.image_manifest = child
    children = [image("x/mautic", 1000 + number, days=90) for number in range(150)]
    for each in children:
        each.image_tags = []
    stored.images = [*lists, *children]
    sweep = find_image_sweep(sources(), without=lambda _: False, now=NOW)
    assert sweep.going == ()
    assert calls == {"DescribeImages": 2 + NO_SEEDS, "BatchGetImage": 2}
    grown = replace(sources(), policies=Policies(timedelta(0)))
    assert len(find_image_sweep(grown, without=lambda _: False, now=NOW).going) == 300

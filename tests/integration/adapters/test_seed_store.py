"""Where seeds are kept: a folder, and moto's S3; both behave alike."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.adapters.aws.seed_bucket import SeedBucket
from tasks.adapters.aws.session import Aws
from tasks.adapters.seed_store import SeedFolder, SeedStore
from tasks.core.errors import AwsError, InputError, SuiteError
from tests.support.aws import REGION, Moto

ID, LATER = "20261127t071205", "20261128t071205"
PIECE = secrets.token_bytes(700_000)


@pytest.fixture
def bucket(aws: Moto, monkeypatch: pytest.MonkeyPatch) -> SeedStore:
    for name, value in aws.variables().items():
        monkeypatch.setenv(name, value)
    name = f"seeds-{secrets.token_hex(4)}"
    aws.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return SeedBucket(Aws(REGION), name, "team/mautic")


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SeedStore:
    if request.param == "folder":
        return SeedFolder(tmp_path / "seeds")
    found: SeedStore = request.getfixturevalue("bucket")
    return found


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield PIECE


def test_what_is_kept_comes_back(store: SeedStore) -> None:
    assert store.parts() == {}
    # More than one part of a multipart upload, which has 8 MiB.
    store.write(ID, "data", pieces(15))
    store.write(ID, "manifest", [b"{}"])
    store.write(LATER, "data", [b"", b"x"])
    assert store.parts() == {ID: {"data", "manifest"}, LATER: {"data"}}
    assert b"".join(store.read(ID, "data")) == PIECE * 15
    store.write(LATER, "data", [b"y"])
    assert b"".join(store.read(LATER, "data")) == b"y"


def test_what_breaks_off_keeps_nothing(store: SeedStore) -> None:
    def broken() -> Iterator[bytes]:
        yield from pieces(15)
        raise SuiteError("the connection is gone")

    with pytest.raises(SuiteError, match="the connection is gone"):
        store.write(ID, "data", broken())
    assert store.parts() == {}


def test_a_removed_seed_is_gone_and_may_be_removed_again(store: SeedStore) -> None:
    store.write(ID, "data", [b"x"])
    store.write(ID, "manifest", [b"{}"])
    for _ in range(2):
        store.remove(ID, ["manifest", "data"])
        assert store.parts() == {}
    with pytest.raises(InputError, match=f"has no data of seed {ID}"):
        b"".join(store.read(ID, "data"))


def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "seeds"
    SeedFolder(root).write(ID, "data", [b"x"])
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root, root / ID)} == {0o700}
    assert stat.S_IMODE((root / ID / "data").stat().st_mode) == 0o600


def test_an_interrupted_upload_leaves_no_parts(bucket: SeedStore, aws: Moto) -> None:
    """Parts of an upload cost, and are not listed."""

    def interrupted() -> Iterator[bytes]:
        yield from pieces(15)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bucket.write(ID, "data", interrupted())
    name = str(bucket).split("/")[2]
    assert "Uploads" not in aws.client("s3").list_multipart_uploads(Bucket=name)


def test_a_bucket_that_is_not_there_is_named(
    bucket: SeedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = SeedBucket(Aws(REGION), "seeds-of-nobody", "")
    with pytest.raises(AwsError, match="bucket"):
        missing.write(ID, "data", [b"x"])
    with pytest.raises(AwsError, match="bucket"):
        missing.parts()

"""A seed's uploads as layers: which files are in which, and what they are."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from tasks.adapters.registry.seed_layers import CHUNK_BYTES, layers
from tasks.core.errors import UnreadableError

LONG = f"{'a' * 120}/{'ü' * 150}.png"
FILES = {
    "dashboards/team.json": b"{}",
    "images/a.png": b"a",
    f"images/{LONG}": b"long",
    "images/empty.png": b"",
    "files/block.pdf": b"x" * 512,
    "files/large.pdf": bytes(range(256)) * 10_000,
}


def tar_of(files: dict[str, bytes], **options: object) -> bytes:
    """Return a tar as docker/mautic/php/tar_writer.php writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime = len(content), 1_700_000_000
            for key, value in options.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def parts(content: bytes, size: int = 700) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def read(layer: bytes) -> dict[str, tuple[bytes, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        found = {}
        for each in archive:
            content = archive.extractfile(each)
            assert content
            found[each.name] = (content.read(), each.mode, each.uid)
    return found


def test_each_folder_is_a_layer_whose_root_it_is() -> None:
    made = {folder: b"".join(layer) for folder, layer in layers(parts(tar_of(FILES)))}
    assert list(made) == ["dashboards", "images", "files"]
    found = {
        f"{folder}/{name}": content
        for folder, layer in made.items()
        for name, content in read(layer).items()
    }
    # Whoever mounts it may be any user.
    assert found == {name: (content, 0o644, 0) for name, content in FILES.items()}


def test_a_seed_without_a_folder_has_no_layer_for_it() -> None:
    only = {name: content for name, content in FILES.items() if name.startswith("images/")}
    assert [folder for folder, layer in layers([tar_of(only)]) if b"".join(layer)] == ["images"]
    assert list(layers([tar_of({})])) == []


def test_the_same_seed_gives_the_same_bytes_however_it_comes() -> None:
    made = [
        [(folder, b"".join(layer)) for folder, layer in layers(parts(tar_of(FILES), size))]
        for size in (1000, 100_000)
    ]
    assert made[0] == made[1]


def test_a_file_is_never_held_as_a_whole() -> None:
    given = tar_of({"files/large": b"x" * (3 * CHUNK_BYTES)})
    ((_, layer),) = ((folder, [len(part) for part in parts]) for folder, parts in layers([given]))
    assert max(layer) == CHUNK_BYTES


@pytest.mark.parametrize(
    "name", ["other/a", "images", "images/../files/a", "images//a", "/etc/passwd"]
)
def test_what_is_no_file_of_a_seed_ends_it(name: str) -> None:
    with pytest.raises(UnreadableError, match=r"no file of a seed's uploads"):
        [b"".join(layer) for _, layer in layers([tar_of({name: b"x"})])]


@pytest.mark.parametrize("name", ["images/seed/a.png", "files/seed"])
def test_a_seed_that_would_be_hidden_where_it_is_mounted_is_not_shared(name: str) -> None:
    given = tar_of({"images/a.png": b"a", name: b"x"})
    with pytest.raises(UnreadableError, match=r"the seed has \w+/seed, .* seeds\.uploads: copy"):
        [b"".join(layer) for _, layer in layers([given])]


def test_a_link_ends_it() -> None:
    given = tar_of({"images/a": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd")
    with pytest.raises(UnreadableError, match=r"'\./images/a' is no file"):
        [b"".join(layer) for _, layer in layers([given])]


@pytest.mark.parametrize("cut", [100, 600, 3000, 1_000_000])
def test_one_that_was_cut_off_is_noticed(cut: int) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        [b"".join(layer) for _, layer in layers([tar_of(FILES)[:cut]])]

"""What the image does with uploads of a seed that branches share, in real mounts of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import docker
import pytest

from tests.integration.copies_support import Branch, Server, database_server
from tests.integration.standin_support import TEST_LABEL, pair
from tests.integration.test_copies import staged
from tests.support.masking import VERSIONS

MEDIA = "/var/www/html/docroot/media"
FOLDERS = ("files", "images", "dashboards")
KEY = "ab" * 32
FILES = {
    "dashboards/team.json": b"{}",
    "dashboards/1/own.json": b"{}",
    "images/a.png": b"the seed's a",
    "images/sub/b.png": b"the seed's b",
    "files/offer.pdf": b"%PDF" * 100_000,
    "files/.hidden": b"h",
}
SEAL = r"""
require '/opt/mautic/seed_file.php'; require '/opt/mautic/tar_writer.php';
$key = random_bytes(32); $file = fopen('php://temp', 'w+b'); $seed = new SeedFile($file, $key);
$tar = new TarWriter($seed->write(...));
foreach (json_decode(stream_get_contents(STDIN), true) as $name => $content) {
    $one = tmpfile(); fwrite($one, base64_decode($content)); rewind($one);
    $tar->add("./$name", $one);
}
$tar->finish(); $made = ['key' => bin2hex($key)] + $seed->finish(); rewind($file);
echo json_encode($made), "\n";
fpassthru($file);
"""


@dataclass(frozen=True)
class Shelf:
    """The volumes of a seed's uploads, and what fills them."""

    name: str
    image: str
    sealed: bytes

    @property
    def volumes(self) -> Mapping[str, str]:
        return {folder: f"{self.name}-{folder}" for folder in FOLDERS}

    def argv(self, *words: str) -> list[str]:
        mounts = [f"--volume={volume}:{MEDIA}/{name}" for name, volume in self.volumes.items()]
        return [
            *("docker", "run", "--rm", "--interactive", "--network=none", "--read-only"),
            *(f"--label={TEST_LABEL}=1", *mounts, "--entrypoint=mautic", self.image, *words),
        ]

    def fill(self, sent: bytes) -> tuple[int, str]:
        argv = self.argv("uploads", "fill")
        done = subprocess.run(argv, input=sent, capture_output=True, check=False)
        return done.returncode, done.stderr.decode()

    def found(self) -> dict[str, bytes]:
        """Return the files that are there, as a branch would find them."""
        tar = subprocess.run(self.argv("uploads", "dump"), check=True, capture_output=True)
        return contents(tar.stdout)


def contents(tar: bytes) -> dict[str, bytes]:
    """Return what unpacking leaves: of two files of one name the later one."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        files = [each for each in archive.getmembers() if each.isfile()]
        return {
            each.name.removeprefix("./"): opened.read()
            for each in files
            if (opened := archive.extractfile(each)) and not each.name.endswith(".gitkeep")
        }


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient) -> str:
    return pair(engine)[0]


@pytest.fixture(scope="module")
def sealed(image: str) -> bytes:
    return seal(image, FILES)


def seal(image: str, files: Mapping[str, bytes]) -> bytes:
    """Return what `uploads fill` reads of a seed with these files."""
    given = {name: base64.b64encode(content).decode() for name, content in files.items()}
    argv = ["docker", "run", "--rm", "--interactive", "--entrypoint=php", image, "-r", SEAL]
    done = subprocess.run(argv, input=json.dumps(given).encode(), check=True, capture_output=True)
    return done.stdout


@pytest.fixture
def shelf(engine: docker.DockerClient, image: str, sealed: bytes) -> Iterator[Shelf]:
    with shelves(engine, image, sealed) as made:
        yield made


class shelves(ExitStack):  # noqa: N801 - reads as a function
    """Makes volumes that are gone afterwards."""

    def __init__(self, engine: docker.DockerClient, image: str, sealed: bytes) -> None:
        super().__init__()
        self.shelf = Shelf(f"mt-{secrets.token_hex(4)}", image, sealed)
        for volume in self.shelf.volumes.values():
            made = engine.volumes.create(volume, labels={TEST_LABEL: "1"})
            # By its name: a test may have removed it, and Docker made it anew.
            self.callback(lambda name=made.name: engine.volumes.get(name).remove())

    def __enter__(self) -> Shelf:  # type: ignore[override]
        return self.shelf


def test_uploads_are_all_there_or_not_for_anybody(shelf: Shelf) -> None:
    for sent in (shelf.sealed[:1000], shelf.sealed[:-1], shelf.sealed[:-1] + b"!", b"", b"{}\n"):
        status, said = shelf.fill(sent)
        assert status in {1, 78}, said
        assert "PHP" not in said
        assert shelf.found() == {}
    status, said = shelf.fill(shelf.sealed)
    assert (status, "in place" in said) == (0, True), said
    assert shelf.found() == FILES
    # It is not read once more, whatever is sent.
    status, said = shelf.fill(shelf.sealed[:1000])
    assert (status, "are there" in said) == (0, True), said
    assert shelf.found() == FILES


@pytest.mark.parametrize("name", ["images/seed/a.png", "files/seed"])
def test_a_seed_that_would_be_hidden_where_it_is_mounted_is_not_shared(
    shelf: Shelf, name: str
) -> None:
    status, said = shelf.fill(seal(shelf.image, {**FILES, name: b"x"}))
    folder = name.split("/", maxsplit=1)[0]
    assert (status, f"the seed has {folder}/seed, which" in said) == (1, True), said
    assert shelf.found() == {}
    assert shelf.fill(shelf.sealed)[0] == 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_was_removed_is_filled_anew(
    engine: docker.DockerClient, shelf: Shelf, folder: str
) -> None:
    assert shelf.fill(shelf.sealed)[0] == 0
    engine.volumes.get(shelf.volumes[folder]).remove()
    status, said = shelf.fill(shelf.sealed)
    assert (status, "in place" in said) == (0, True), said
    assert shelf.found() == FILES
    status, said = shelf.fill(b"{}\n")
    assert status == 78, said


def test_where_something_was_mounted_is_in_nobody_s_way(shelf: Shelf) -> None:
    """As in a branch that was to share and has got a copy instead: root has made the places."""
    argv = shelf.argv(*(f"{MEDIA}/{folder}/seed" for folder in FOLDERS))
    argv[argv.index("--entrypoint=mautic")] = "--entrypoint=mkdir"
    subprocess.run([*argv[:2], "--user=0", *argv[2:]], check=True, capture_output=True)
    status, said = shelf.fill(shelf.sealed)
    assert status == 0, said
    assert shelf.found() == FILES


def test_of_several_at_once_one_fills(shelf: Shelf) -> None:
    argv = shelf.argv("uploads", "fill")
    pipe = subprocess.PIPE
    running = [subprocess.Popen(argv, stdin=pipe, stderr=pipe, stdout=pipe) for _ in range(3)]
    said = [each.communicate(shelf.sealed)[1] for each in running]
    assert [each.returncode for each in running] == [0, 0, 0], said
    assert sum(b"in place" in each for each in said) == 1
    assert shelf.found() == FILES


def test_one_that_was_killed_is_filled_anew(shelf: Shelf) -> None:
    argv = shelf.argv("uploads", "fill")
    argv.insert(2, f"--name={shelf.name}")
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as filling:
        assert filling.stdin
        filling.stdin.write(shelf.sealed[: len(shelf.sealed) // 2])
        filling.stdin.flush()
        # It waits for the rest, holding what tells others to wait.
        subprocess.run(["docker", "kill", shelf.name], check=False, capture_output=True)
    assert filling.returncode != 0
    assert shelf.found() == {}
    assert shelf.fill(shelf.sealed)[0] == 0
    assert shelf.found() == FILES


# -- in a branch ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(engine: docker.DockerClient, image: str, sealed: bytes) -> Iterator[Server]:
    """A server whose container shares a seed's uploads."""
    with shelves(engine, image, sealed) as shelf:
        assert shelf.fill(sealed)[0] == 0
        mounts = {
            volume: {"bind": f"{MEDIA}/{folder}/seed", "mode": "ro"}
            for folder, volume in shelf.volumes.items()
        }
        with database_server(engine, volumes=mounts) as made:
            yield made


@pytest.fixture
def branch(server: Server) -> Branch:
    """A branch with a Mautic's tables, and no uploads of its own."""
    made = server.branch(VERSIONS[-1])
    made.ask("DELETE FROM assets")
    shell(made, "mkdir -p files images dashboards; chown 33:33 files images dashboards", "0")
    assert uploads(made, "empty")[0] == uploads(made, "place")[0] == 0
    return made


def shell(branch: Branch, script: str, user: str = "33") -> str:
    argv = ["docker", "exec", "--user", user, "--workdir", MEDIA, branch.client]
    argv += ["sh", "-euc", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def uploads(branch: Branch, *words: str, sent: bytes = b"") -> tuple[int, bytes, str]:
    argv = branch.argv(*words, role="uploads")
    done = subprocess.run(argv, input=sent, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def seen(branch: Branch) -> list[str]:
    return shell(branch, "find files images dashboards -type f | sort").splitlines()


SHARED = sorted(
    [f"{folder}/seed/{name}" for folder, _, name in (each.partition("/") for each in FILES)]
    + [f"{folder}/seed/.mautic-whole" for folder in FOLDERS]
)


def test_a_branch_takes_its_dashboards_unless_it_has_them(branch: Branch) -> None:
    assert uploads(branch, "begin")[0] == 0
    assert seen(branch) == sorted([*SHARED, "dashboards/1/own.json", "dashboards/team.json"])
    shell(branch, "echo own | tee dashboards/team.json >dashboards/1/own.json")
    shell(branch, "echo {} >dashboards/1/new.json")
    assert uploads(branch, "begin")[0] == 0
    assert shell(branch, "cat dashboards/team.json dashboards/1/own.json") == "own\nown\n"
    assert "dashboards/1/new.json" in seen(branch)


def test_a_dump_is_as_of_a_copy_and_comes_back_beside_what_is_shared(branch: Branch) -> None:
    branch.ask(
        "INSERT INTO assets (is_published, title, alias, lang, storage_location, path,"
        " download_count, unique_download_count, revision)"
        " VALUES (1, 'offer', 'offer', 'en', 'local', 'seed/offer.pdf', 0, 0, 1),"
        " (1, 'own', 'own', 'en', 'local', 'own.pdf', 0, 0, 1)"
    )
    shell(branch, "echo own >images/a.png; echo own >files/own.pdf")
    assert uploads(branch, "begin")[0] == 0
    status, tar, said = uploads(branch, "dump")
    assert status == 0, said
    own = {"images/a.png": b"own\n", "files/own.pdf": b"own\n"}
    assert contents(tar) == {**FILES, **own}
    digest = json.loads(said.rsplit("uploads: whole ", 1)[1])["sha256"]
    rows = branch.ok("dump")

    shell(branch, "rm images/a.png; echo new >images/new.png")
    assert uploads(branch, "stage", sent=staged(tar, digest))[0] == 0
    branch.ok("load", rows, "uploads")

    assert seen(branch) == sorted([*SHARED, *FILES, *own.keys() - FILES.keys()])
    assert shell(branch, "cat images/a.png") == "own\n"
    found = branch.ask("SELECT path FROM assets ORDER BY path")
    assert found == [("offer.pdf",), ("own.pdf",)]


def test_what_would_come_to_lie_where_others_are_shared_changes_nothing(branch: Branch) -> None:
    branch.ask(
        "INSERT INTO assets (is_published, title, alias, lang, storage_location, path,"
        " download_count, unique_download_count, revision)"
        " VALUES (1, 'offer', 'offer', 'en', 'local', 'seed/x.pdf', 0, 0, 1)"
    )
    rows = branch.ok("dump")
    assert uploads(branch, "empty")[0] == 0
    shell(branch, "mkdir files/.mautic-new/seed; echo x >files/.mautic-new/seed/x.pdf")
    branch.ask("UPDATE assets SET path = 'before'")
    status, _, said = branch.run("load", rows, "uploads")
    assert (status, "they have files/seed" in said) == (1, True), said
    assert branch.ask("SELECT path FROM assets") == [("before",)]
    assert seen(branch) == SHARED
    assert branch.beside() == set()


@pytest.mark.parametrize(("shared", "path"), [("1", "seed/offer.pdf"), ("", "offer.pdf")])
def test_assets_of_a_clone_lead_to_what_is_shared(
    server: Server, branch: Branch, shared: str, path: str
) -> None:
    seed = server.branch(VERSIONS[-1])
    seed.ask(
        "DELETE FROM assets",
        "INSERT INTO assets (is_published, title, alias, lang, storage_location, path,"
        " remote_path, download_count, unique_download_count, revision)"
        " VALUES (1, 'offer', 'offer', 'en', 'local', 'offer.pdf', NULL, 0, 0, 1),"
        " (1, 'far', 'far', 'en', 'remote', NULL, 'https://example.com/x', 0, 0, 1)",
        f"GRANT SELECT ON `{seed.name}`.* TO {branch.name}",
    )
    argv = branch.argv("clone")
    argv[2:2] = [f"--env=MAUTIC_SEED={seed.name}", f"--env=MAUTIC_SEED_UPLOADS={shared}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = branch.ask("SELECT path, remote_path FROM assets ORDER BY path")
    assert found == [(None, "https://example.com/x"), (path, None)]


def test_a_seed_of_a_branch_that_shares_another_one_s_is_as_of_a_copy(branch: Branch) -> None:
    branch.ask(
        "INSERT INTO assets (is_published, title, alias, lang, storage_location, path,"
        " download_count, unique_download_count, revision)"
        " VALUES (1, 'offer', 'offer', 'en', 'local', 'seed/offer.pdf', 0, 0, 1),"
        " (1, 'own', 'own', 'en', 'local', 'own.pdf', 0, 0, 1)"
    )
    shell(branch, "echo own >images/a.png; mkdir -p images/sub; echo own >images/sub/own.png")
    shell(branch, "echo own >files/own.pdf; echo own >files/unnamed.pdf")
    assert uploads(branch, "begin")[0] == 0
    status, sealed, said = branch.run("seed", json.dumps({"key": KEY, "uploads": True}).encode())
    assert status == 0, said
    told = json.loads(said.splitlines()[-1])

    tar = unsealed(branch, sealed[told["bytes"] :])
    assert hashlib.sha256(tar).hexdigest() == told["uploads"]["tar_sha256"]
    own = dict.fromkeys(["images/a.png", "images/sub/own.png", "files/own.pdf"], b"own\n")
    # Of files those that are assets'.
    expected = {**FILES, **own}
    del expected["files/.hidden"]
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert sorted(archive.getnames()) == sorted(f"./{name}" for name in expected)
    assert contents(tar) == expected
    rows = unsealed(branch, sealed[: told["bytes"]])
    assert b"'offer.pdf'" in rows
    assert b"'own.pdf'" in rows
    assert b"seed/" not in rows


def unsealed(branch: Branch, sealed: bytes) -> bytes:
    """Return what is in a part of a seed."""
    shell(branch, f"umask 077; printf {KEY} >/tmp/key")
    argv = branch.argv("unseal")
    argv.insert(2, "--env=MAUTIC_MASK_KEY_FILE=/tmp/key")
    return subprocess.run(argv, input=sealed, check=True, capture_output=True).stdout

"""What docker's output of a failed push tells: what may heal is tried again, the rest is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tasks.adapters.docker.buildx import Buildx, Progress, PushError, diagnose
from tasks.adapters.process import Completed, Runner
from tasks.core.errors import CommandError, InputError, RegistryError
from tasks.core.redact import Redactor

PUSH = "ERROR: failed to solve: failed to push r.example.com/m/nginx:1: "
HEAD = 'failed to do request: Head "https://r.example.com/v2/m/nginx/blobs/sha256:1": '


@pytest.mark.parametrize(
    ("words", "heals"),
    [
        (HEAD + "dial tcp 192.0.2.1:443: connect: connection refused", True),
        (HEAD + "dial tcp: lookup r.example.com: server misbehaving", True),
        (HEAD + "EOF", True),
        ("unexpected status from PUT request: 503 Service Unavailable", True),
        (HEAD + "dial tcp: lookup r.example.com: no such host", False),
        (HEAD + "tls: failed to verify certificate: x509: certificate has expired", False),
        (HEAD + "x509: certificate is valid for a.example.com, not r.example.com", False),
        (HEAD + "http: server gave HTTP response to HTTPS client", False),
        ("denied: requested access to the resource is denied", False),
        ("unauthorized: authentication required", False),
    ],
)
def test_a_push_that_cannot_heal_is_not_tried_again(words: str, heals: bool) -> None:
    argv = ("docker", "buildx", "bake")
    error = diagnose(Runner(Redactor()), Completed(argv, 1, "", PUSH + words, 0.1))
    assert isinstance(error, RegistryError)
    assert isinstance(error, PushError) is heals


@pytest.mark.parametrize("prefix", ["#12 0.345 ", "0.345 "])
def test_a_link_that_the_build_refuses_is_bad_input(prefix: str) -> None:
    refused = "docker/mautic/themes/a/x is a link to nowhere, which is not in the image"
    output = f"#12 [mautic 9/9] RUN\n{prefix}{refused}\nERROR: did not complete successfully\n"
    argv = ("docker", "buildx", "bake")
    error = diagnose(Runner(Redactor()), Completed(argv, 1, "", output, 0.1))
    assert isinstance(error, InputError)
    assert error.message == refused


PROGRESS = """\
#1 [internal] load local bake definitions
#5 [mautic internal] load metadata for docker.io/library/debian:trixie-slim
#5 DONE 0.9s
#8 [mautic php 2/2] RUN set -eu
#8 CACHED
#9 [mautic stage-1  9/10] RUN --mount=type=bind,source=plugins,target=/own sh /build/add.sh /own
#9 0.412 warming up
#9 DONE 4.2s
#10 [mautic stage-1 10/10] COPY quick /
#10 DONE 0.0s
#11 [mautic] exporting to image
#11 pushing layer 1.2MB / 3MB
#11 DONE 1.4s
"""


def test_only_the_steps_that_were_done_and_took_time_are_told() -> None:
    progress = Progress()
    told = [step for line in PROGRESS.splitlines() if (step := progress.done(line))]
    assert told == ["mautic 9/10: RUN sh /build/add.sh /own (4.2 s)"]


MISTAKE = "docker/mautic/plugins/A/B.php:3: syntax error, unexpected token"
OTHER_MISTAKE = "docker/mautic/plugins/A/C.php:9: Cannot redeclare go()"
FAILED = """\
#12 [mautic stage-1 7/9] RUN sh /build/syntax.sh
#12 0.100 {line}
#12 ERROR: process "/bin/sh -c sh" did not complete successfully: exit code: 1
------
 > [mautic stage-1 7/9] RUN sh /build/syntax.sh:
0.050 first
0.100 {line}

------
Dockerfile:80
ERROR: target mautic: failed to solve: process "/bin/sh" did not complete successfully: exit code: 1
"""


def test_mistakes_in_the_projects_files_are_all_that_is_told_of_a_build() -> None:
    output = FAILED.format(line=f"{MISTAKE}\n#12 0.110 {OTHER_MISTAKE}")
    done = Completed(("docker", "buildx", "bake"), 1, "", output, 0.1)
    error = diagnose(Runner(Redactor()), done)
    assert error.lines() == [MISTAKE, f"  | {OTHER_MISTAKE}"]
    assert error.exit_code == 1


def test_the_cause_of_a_failed_build_is_the_headline() -> None:
    line = "cannot compile"
    done = Completed(("docker", "buildx", "bake"), 1, "", FAILED.format(line=line), 0.1)
    error = diagnose(Runner(Redactor()), done)
    assert error.message == "the build failed: cannot compile"
    assert error.exit_code == 1
    # All that the step wrote, and nothing of what docker adds.
    assert error.output
    assert [*error.output.splitlines()][1] == f"#12 0.100 {line}"
    assert "Dockerfile:80" not in error.output


def test_a_build_that_failed_without_a_word_is_still_told() -> None:
    output = "ERROR: failed to solve: process x did not complete successfully: exit code: 1\n"
    done = Completed(("docker", "buildx", "bake"), 1, "", output, 0.1)
    assert diagnose(Runner(Redactor()), done).message == "the build failed"


def test_a_mistake_is_told_by_the_path_that_the_project_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(Redactor())
    said = "#34 0.437 docker/mautic/plugins/ABundle/ABundle.php:2: Unclosed '(' on line 1\n"
    said += "#34 0.438 docker/mautic/plugins/B.php:7: twice\n"
    done = Completed(("docker", "buildx", "bake"), 1, "", said, 0.1)
    monkeypatch.setattr(runner, "run", lambda *_, **__: done)
    buildx = Buildx(runner, tmp_path, "bake.hcl", {"docker/mautic/plugins": "docroot/plugins"})
    with pytest.raises(CommandError) as caught:
        buildx.definition({})
    assert caught.value.lines() == [
        "docroot/plugins/ABundle/ABundle.php:2: Unclosed '(' on line 1",
        "  | docroot/plugins/B.php:7: twice",
    ]


class Asked:
    """A bake file, and docker, which counts how often it is asked.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "bake.hcl"
        self.file.write_text(BAKE)
        self.times = 0
        self._runner = Runner(Redactor())
        self._runner.run = self._answer  # type: ignore[method-assign,assignment]

    def __call__(self, *, kept: bool = True, **variables: str) -> str:
        """Evaluate the file as a run of its own; return the context of its target."""
        buildx = Buildx(self._runner, self.file.parent, self.file.name)
        return str(buildx.definition(variables, kept=kept).targets["web"]["context"])

    def _answer(self, argv: list[str], **_: object) -> Completed:
        self.times += 1
        context = self.file.read_text().partition('context = "')[2].partition('"')[0]
        said = {"target": {"web": {"context": context}}, "group": {"default": {"targets": ["web"]}}}
        return Completed(tuple(argv), 0, json.dumps(said), "", 0.1)


BAKE = 'variable "A" {}\ntarget "web" {\n  context = "one"\n}\n'


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Asked(tmp_path)


def test_docker_is_asked_once_what_a_bake_file_means(asked: Asked) -> None:
    assert {asked(A="1") for _ in range(3)} == {"one"}
    assert asked.times == 1
    asked(A="2")
    assert asked.times == 2


def test_a_bake_file_of_the_same_size_and_time_is_another_one(asked: Asked) -> None:
    assert asked() == "one"
    before = asked.file.stat()
    asked.file.write_text(BAKE.replace("one", "two"))
    os.utime(asked.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert asked() == "two"


def test_what_must_not_depend_on_the_user_s_cache_is_asked_anew(asked: Asked) -> None:
    asked()
    assert asked(kept=False) == "one"
    assert asked.times == 2


@pytest.mark.parametrize("call", ["timestamp()", "uuidv4 ()", "BAKE_LOCAL_PLATFORM"])
def test_what_means_something_else_each_time_is_asked_anew(asked: Asked, call: str) -> None:
    asked.file.write_text(f"{BAKE}x = {call}\n")
    asked()
    asked()
    assert asked.times == 2


@pytest.mark.parametrize("damage", ["", "{}", "cut", "\udcff"])
def test_a_damaged_answer_is_asked_anew(asked: Asked, tmp_path: Path, damage: str) -> None:
    asked()
    (kept,) = (tmp_path / "cache").rglob("answers/*")
    whole = kept.read_text()
    kept.write_text(whole[:-5] if damage == "cut" else damage, errors="surrogateescape")
    assert asked() == "one"
    assert (asked.times, kept.read_text()) == (2, whole)


def test_without_a_cache_folder_it_is_asked_each_time(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [asked(), asked()] == ["one", "one"]
    assert asked.times == 2

"""Every verb of bin/console that is used anywhere must be one that Mautic has, in each line."""

from __future__ import annotations

import pytest

from tasks.core.kubernetes.crons import SINCE
from tests.support.verbs import STANDIN_ONLY, VERB, by_line, used


@pytest.mark.parametrize("line", ["5.2", "6", "7"])
def test_every_verb_that_is_used_is_one_of_mautics(line: str) -> None:
    known = by_line()[line] | STANDIN_ONLY
    # What came later is kept off where it is missing.
    known |= {verb for verb, since in SINCE.items() if float(line) < since}
    unknown = {verb: files for verb, files in used().items() if verb not in known}
    assert not unknown


def test_the_scan_sees_where_verbs_stand() -> None:
    found = used()
    for verb, file in {
        "mautic:plugins:reload": "docker/mautic/php/migrate.php",
        "messenger:consume": "docker/mautic/mautic.sh",
        "cache:warmup": "docker/mautic/build/warm-up.sh",
        "mautic:custom-field:create-column": "helm/mautic/values.yaml",
        "mautic:segments:update": "docs/deploying.md",
    }.items():
        assert file in found[verb]


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ('["mautic:contacts:scheduled_export", "--limit=5"]', ["mautic:contacts:scheduled_export"]),
        ("mautic console doctrine:migrations:up-to-date;", ["doctrine:migrations:up-to-date"]),
        ("mautic/mautic:latest doctrine://default mautic: text", []),
    ],
)
def test_a_verb_is_told_from_other_words(text: str, verbs: list[str]) -> None:
    assert VERB.findall(text) == verbs

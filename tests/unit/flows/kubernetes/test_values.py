"""The chart's values: files that a person wrote are read, or told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import InputError
from tasks.flows.kubernetes.values import merge_values, read_values

TEXTS = ["a: [", "- a", "5", "\xff"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "helm" / "mautic").mkdir(parents=True)
    (tmp_path / "helm" / "mautic" / "values.yaml").write_text("a: 1\nb: {c: 2}\n")
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_a_values_file_that_is_damaged_is_told(text: str, root: Path) -> None:
    (root / "own.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"own\.yaml"):
        merge_values(root, ["own.yaml"], {})


def test_an_empty_file_says_nothing_and_a_later_one_wins(root: Path) -> None:
    (root / "empty.yaml").write_text("# nothing yet\n")
    (root / "own.yaml").write_text("b: {d: 3}\n")
    merged = merge_values(root, ["empty.yaml", "own.yaml"], {"a": 4})
    assert merged == {"a": 4, "b": {"c": 2, "d": 3}}


def test_a_values_file_that_cannot_be_read_is_told(root: Path) -> None:
    (root / "own.yaml").mkdir()
    with pytest.raises(InputError, match=r"own\.yaml cannot be read: Is a directory"):
        read_values(root / "own.yaml")

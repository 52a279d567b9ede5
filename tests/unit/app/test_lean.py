"""What inv leaves out of libraries, or does later: it is where it is expected."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys

import pytest
from pydantic.plugin import _loader

from tasks.app.lean import _compiled_late


def test_pydantic_searches_for_plugins_where_it_is_kept_from_it() -> None:
    assert list(_loader.get_plugins()) == []


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="compiles a class's methods at once")
def test_methods_of_dataclasses_are_the_same_when_they_are_compiled_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names: list[str] = []
    create = dataclasses._create_fn  # type: ignore[attr-defined]

    def counted(name: str, *args: object, **options: object) -> object:
        names.append(name)
        return create(name, *args, **options)

    monkeypatch.setattr("dataclasses._create_fn", _compiled_late(counted))
    # Where pickle finds it.
    monkeypatch.setattr(sys.modules[__name__], "Late", None, raising=False)

    @dataclasses.dataclass(frozen=True, order=True)
    class Late:
        name: str
        size: int = 3
        also: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)

    Late.__qualname__ = "Late"
    monkeypatch.setattr(sys.modules[__name__], "Late", Late)
    assert names == ["__init__"]
    one = Late("a", also=frozenset("x"))
    assert repr(one) == "Late(name='a', size=3)"
    assert (one == Late("a"), one == Late("b"), one == "a") == (True, False, False)
    assert one < Late("b")
    assert len({one, Late("a")}) == 1
    assert dataclasses.replace(one, size=4) == Late("a", 4)
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        one.name = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del one.name
    with pytest.raises(TypeError):
        one < 3  # type: ignore[operator]  # noqa: B015
    assert sorted({*names}) == sorted(names), "each is compiled once"

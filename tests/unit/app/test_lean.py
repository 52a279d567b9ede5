"""What inv leaves out of libraries: of the locked versions, it is where it is expected."""

from __future__ import annotations

from pydantic.plugin import _loader


def test_pydantic_searches_for_plugins_where_it_is_kept_from_it() -> None:
    assert list(_loader.get_plugins()) == []

"""The one note of an environment in a merge request, whoever writes it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tasks.core.news import MergeRequestNote, News, note, told_at

ROUNDS_MAX = 3
"""How often it is begun anew because somebody deletes the note meanwhile."""


class Notes(Protocol):
    """The notes of a project's merge requests."""

    def user(self) -> int:
        """Return the id of the user who writes."""

    def notes(self, merge_request: int) -> Iterator[MergeRequestNote]:
        """Yield all notes of a merge request, the oldest first."""

    def create_note(self, merge_request: int, body: str) -> None:
        """Write a new note."""

    def update_note(self, merge_request: int, number: int, body: str) -> bool:
        """Write a note anew; return False if it is gone."""

    def delete_note(self, merge_request: int, number: int) -> bool:
        """Delete a note; return False if it is gone."""


def keep_note(notes: Notes, merge_request: int, news: News, text: str = "") -> None:
    """Write news into the environment's note, and leave no second one.

    Two runs that find none write one each. Each looks again after that, and both keep the oldest:
    so one stays, with the later news.

    Args:
        merge_request: its number in the project.
        text: the note's body; empty for that of the news.

    Raises:
        SuiteError: GitLab refused, failed or could not be reached.
    """
    body, me = text or note(news), notes.user()
    for _ in range(ROUNDS_MAX):
        own = _own(notes, merge_request, news.marker, me)
        if not own:
            notes.create_note(merge_request, body)
            own = _own(notes, merge_request, news.marker, me)
        if not own:  # somebody has deleted it already
            continue
        kept = min(own)
        for number in sorted(own.keys() - {kept}):
            notes.delete_note(merge_request, number)
        # What another run says of a later time is not overwritten.
        if told_at(own[kept], news.marker) > news.at or own[kept] == body:
            return
        if notes.update_note(merge_request, kept, body):
            return


def _own(notes: Notes, merge_request: int, marker: str, me: int) -> dict[int, str]:
    """Return the environment's notes by number: nobody else's, whatever they begin with."""
    return {
        one.number: one.body
        for one in notes.notes(merge_request)
        if one.author == me and told_at(one.body, marker)
    }

"""The way an experiment was edited, back and forth."""

from __future__ import annotations

import copy
from typing import Any

Data = dict[str, Any]

_LONGEST = 200


class History:
    """What an experiment was before each edit, and what was taken back.

    Data that goes in or comes out is copied, so that nobody edits the past.
    """

    def __init__(self) -> None:
        self._past: list[Data] = []
        self._future: list[Data] = []
        self._now: Data | None = None

    @property
    def now(self) -> Data | None:
        """The experiment as it stands; None before the first."""
        return copy.deepcopy(self._now)

    def push(self, data: Data) -> bool:
        """Take note of the experiment as it now stands; False where nothing changed.

        What was taken back before is then forgotten, and beyond 200 edits the oldest.
        """
        if data == self._now:
            return False
        if self._now is not None:
            self._past = [*self._past[1 - _LONGEST :], self._now]
        self._now = copy.deepcopy(data)
        self._future = []
        return True

    def undo(self) -> Data | None:
        """Go back to the experiment before the last edit; None where there is none."""
        if not self._past or self._now is None:
            return None
        self._future.append(self._now)
        self._now = self._past.pop()
        return copy.deepcopy(self._now)

    def redo(self) -> Data | None:
        """Go forward to what was taken back last; None where there is none."""
        if not self._future or self._now is None:
            return None
        self._past.append(self._now)
        self._now = self._future.pop()
        return copy.deepcopy(self._now)

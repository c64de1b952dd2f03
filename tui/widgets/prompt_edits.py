"""The table of prompts as it is edited on the screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.state.prompt_selection import Table

_MOST_UNDER_WAY = 50


class PromptEdits:
    """One table after the other, some of them still on their way out and back.

    Attributes:
        table: the experiment's table of prompts as it is now.
    """

    def __init__(self) -> None:
        self.table: Table = {}
        self._last: tuple[Hashable, Table, Table] | None = None
        self._sent: deque[Table] = deque(maxlen=_MOST_UNDER_WAY)

    def take(self, table: Table) -> None:
        """Take the table from outside.

        What was changed here comes back one change after the other: only the last of them counts.
        """
        while table in self._sent:
            if self._sent.popleft() == table and self._sent:
                return
        self._sent.clear()
        self.table = table

    def change(self, key: Hashable, new: Table) -> bool:
        """Make a change; the same toggle again restores what was there before, to the order of a list.

        Args:
            key: what is toggled; None for a change that is no toggle.
            new: the table afterwards.

        Returns:
            Whether anything changed.
        """
        before = self.table
        if self._last is not None and key is not None and self._last[0] == key and self._last[2] == before:
            new = self._last[1]
        self._last = (key, before, new)
        if new == before:
            return False
        self.table = new
        self._sent.append(new)
        return True

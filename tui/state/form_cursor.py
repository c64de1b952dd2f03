"""Where a form's highlight is: on a row, or in the open list of a row's choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tui.state.form_rows import FormRow


class FormCursor:
    """Rows, the highlighted one, and the one whose choices are listed.

    Attributes:
        rows: as they are shown.
        index: the highlighted row, -1 where there is none.
        opened: the row whose choices are listed, -1 for none.
        choice: the highlighted one of them.
    """

    def __init__(self) -> None:
        self.rows: tuple[FormRow, ...] = ()
        self.index = -1
        self.opened = -1
        self.choice = 0

    @property
    def row(self) -> FormRow | None:
        """The highlighted row."""
        return self.rows[self.index] if 0 <= self.index < len(self.rows) else None

    @property
    def key(self) -> str:
        """The key of the highlighted row; empty where there is none."""
        return self.row.key if self.row else ""

    def take(self, rows: Sequence[FormRow]) -> None:
        """Have other rows; the highlight stays on its key, else about where it was, and an open list stays open."""
        key, open_key = self.key, self.rows[self.opened].key if self.opened >= 0 else ""
        self.rows = tuple(rows)
        self.opened = next((i for i, row in enumerate(rows) if open_key and row.key == open_key and row.choices), -1)
        if self.opened >= 0:
            self.choice = min(self.choice, len(self.rows[self.opened].choices) - 1)
        reach = self._reach()
        same = next((i for i in reach if self.rows[i].key == key), None)
        self.index = same if same is not None else min(reach, key=lambda i: abs(i - max(0, self.index)), default=-1)

    def set_problem(self, key: str, problem: str) -> bool:
        """Have another problem at one row; whether anything changed."""
        before = self.rows
        self.rows = tuple(dataclasses.replace(row, problem=problem) if row.key == key else row for row in before)
        return self.rows != before

    def find(self, key: str) -> int | None:
        """The row of a key; None where the highlight cannot stand."""
        return next((i for i in self._reach() if self.rows[i].key == key), None)

    def ahead(self, step: int) -> int | None:
        """The row that is so many rows that can be reached away, or the last there is; None where there is none."""
        reach = [i for i in self._reach() if (i > self.index if step > 0 else i < self.index)]
        ordered = reach if step > 0 else reach[::-1]
        return ordered[min(abs(step), len(ordered)) - 1] if ordered else None

    def is_first(self) -> bool:
        """Whether no row above the highlighted one can be reached."""
        return not any(row.reachable for row in self.rows[: max(0, self.index)])

    def move_choice(self, step: int) -> None:
        """Highlight another choice of the open list."""
        self.choice = max(0, min(self.choice + step, len(self.rows[self.opened].choices) - 1))

    def go_to_choice(self, letter: str) -> bool:
        """Highlight the next choice of the open list that begins with a letter, round and round; False for none."""
        choices = self.rows[self.opened].choices
        after = [(self.choice + step) % len(choices) for step in range(1, len(choices) + 1)]
        found = next((at for at in after if choices[at][1].casefold().startswith(letter.casefold())), None)
        self.choice = self.choice if found is None else found
        return found is not None

    def open(self) -> None:
        """List the choices of the highlighted row, the present one highlighted."""
        row = self.rows[self.index]
        self.opened = self.index
        self.choice = next((i for i, (text, _) in enumerate(row.choices) if text == row.text), 0)

    def _reach(self) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row.reachable]

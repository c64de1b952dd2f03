"""The line of tabs above the results, and beside them how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.message import Message

from srm_explorer.tui.charts.picture import Cell, Picture, cells_of
from srm_explorer.tui.widgets.chart import CellView
from srm_explorer.tui.widgets.table_render import fit

_SHORT = {"Thresholds": "Thresh"}
_NOTE = 28
"""Cells that a note has beside the tabs before their names are written out."""


class TabStrip(CellView):
    """Names of tabs, the one in view marked; a click picks one.

    Args:
        names: of the tabs, in order.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tab-strip--current", "tab-strip--other"}
    DEFAULT_CSS = """
    TabStrip {
        height: 1;
        & > .tab-strip--current { color: $primary; text-style: bold underline; }
        & > .tab-strip--other { text-style: dim; }
    }
    """

    @dataclass
    class Picked(Message):
        """A tab was clicked."""

        index: int

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)
        self._current = 0
        self._notes: tuple[str, ...] = ("",)
        self._spans: list[tuple[int, int]] = []

    def show(self, current: int, *notes: str) -> None:
        """Mark a tab as the one in view, and tell at the right how it is shown: the first of the notes that fits."""
        self._current, self._notes = current, notes
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._draw()

    def on_click(self, event: events.Click) -> None:
        for index, (start, end) in enumerate(self._spans):
            if start <= event.x < end:
                event.stop()
                self.post_message(self.Picked(index))

    def _draw(self) -> None:
        width = self.size.width
        if not width or not self.is_attached:
            return
        # By the width alone, so that no tab moves when the note changes.
        long = sum(cell_len(name) + 2 for name in self._names) + _NOTE <= width
        names = [name if long else _SHORT.get(name, name) for name in self._names]
        current = self.get_component_rich_style("tab-strip--current", partial=True)
        other = self.get_component_rich_style("tab-strip--other", partial=True)
        cells: list[Cell] = []
        self._spans = []
        for index, name in enumerate(names):
            start = len(cells)
            here = index == self._current
            # The brackets tell where there is no colour.
            left, right = ("[", "]") if here else (" ", " ")
            cells += [(left, other), *cells_of(name, current if here else other), (right, other)]
            self._spans.append((start, len(cells)))
        room = width - len(cells) - 2
        words = next((note for note in self._notes if cell_len(note) <= room), self._notes[-1])
        note = fit(words, room, "right") if room >= 12 else ""
        cells += [(" ", other)] * (width - len(cells) - cell_len(note))
        cells += cells_of(note, other)
        self.put(Picture(width, (tuple(cells[:width]),)))

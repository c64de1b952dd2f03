"""What the comparison shows: two sessions, a plane they share, the view, and where the spotlight stands."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ExplorerError
from engine.figures.comparison import (
    Comparison,
    GroupNumbers,
    compare,
    compared_groups,
    compared_numbers,
)
from engine.figures.curves import SweptGroup
from engine.figures.numbers import NOTHING, degrees, short, three_digits
from engine.figures.session import telling_threshold
from engine.session import load_session
from tui.paint.comparison import View
from tui.widgets.columns import Column

if TYPE_CHECKING:
    from tui.paint.scene import Scene

VIEWS: tuple[View, ...] = ("counts", "mean", "thresholds", "dose")
FULL_TURN = 360


class CompareState:
    """Two sessions compared; every number of the screen comes from here.

    Attributes:
        comparison: the two.
        plane: index among the planes that both have.
        theta: the spotlight's angle in whole degrees, 0 to 359.
        threshold: cosine, one of either experiment's.
        view: what the chart shows.
        groups: of both, swept in the plane; empty where nothing can be.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.plane = 0
        self.theta = 0
        self.view: View = "counts"
        self.groups: tuple[SweptGroup, ...] = ()
        self._fault = ""
        self._sweep()
        self.threshold = telling_threshold(self.groups) if self.groups else comparison.thresholds()[0]

    @classmethod
    def of(cls, one: Path, other: Path) -> CompareState:
        """Read both sessions.

        Raises:
            ExplorerError: one of them cannot be read.
        """
        return cls(compare(load_session(one), load_session(other)))

    def frozen(self) -> CompareState:
        """The state as it is now, for another thread."""
        return copy.copy(self)

    def turn(self, angle: int) -> None:
        """Turn the spotlight counter-clockwise by whole degrees."""
        self.theta = (self.theta + angle) % FULL_TURN

    def next_threshold(self, step: int = 1) -> None:
        """Go to the next threshold of either experiment, round and round."""
        known = self.comparison.thresholds()
        self.threshold = known[(known.index(self.threshold) + step) % len(known)]

    def next_view(self) -> None:
        """Go to the next view, round and round."""
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]

    def next_plane(self) -> None:
        """Go to the next plane that both have, round and round."""
        if len(self.comparison.planes) > 1:
            self.plane = (self.plane + 1) % len(self.comparison.planes)
            self._sweep()

    def swap(self) -> None:
        """Put the second session first."""
        self.comparison = self.comparison.swapped()
        self.plane = 0
        self._sweep()

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called."""
        return self.comparison.names

    @property
    def told(self) -> tuple[str, ...]:
        """What the reader must know first."""
        return self.comparison.told

    @property
    def differences(self) -> tuple[str, ...]:
        """A line a field of the experiments that differs."""
        return self.comparison.differences

    @property
    def caption(self) -> str:
        """Where the spotlight stands."""
        return f"θ {self.theta}°, cosine > {short(self.threshold)}"

    def scene(self, width: int, height: int) -> Scene:
        """Paint the view; where it cannot be, say why."""
        from tui.paint.comparison import comparison_scene
        from tui.paint.scene import Scene

        if not self.groups:
            return Scene.message(self._fault, width, height)
        try:
            return comparison_scene(self.comparison, self.groups, self.plane, self.view, self.threshold, width, height)
        except ExplorerError as error:
            return Scene.message(f"no dose chart of both: {error}; v shows the next view", width, height)

    def look(self) -> tuple[Hashable, ...]:
        """What the chart depends on, besides its size and the spotlight's angle."""
        return self.names, self.plane, self.view, self.threshold

    def chart(self, width: int, height: int, *, colour: bool = True) -> str:
        """The view with the spotlight on it as text."""
        shown = self.scene(width, height).shown(self.theta, self.threshold)
        return shown.ansi() if colour else shown.text()

    number_columns = (
        Column("label", "group", least=22),
        Column("runs", "runs", width=6, align="right", priority=1),
        Column("A", "A", width=6, align="right"),
        Column("phase", "φ", width=4, align="right"),
        Column("lit", "lit", width=11, align="right"),
        Column("mean", "mean", width=7, align="right", priority=2),
    )

    @property
    def difference_columns(self) -> tuple[Column, ...]:
        """Columns of the table of differences: the field, and what it is in either."""
        one, other = self.names
        return Column("field", "field", least=16, share=2), Column("old", one, least=8), Column("new", other, least=8)

    @property
    def number_count(self) -> int:
        """Rows of the table of numbers."""
        return len(self.groups)

    def numbers(self) -> tuple[GroupNumbers, ...]:
        """Every group where the spotlight stands."""
        return compared_numbers(self.groups, self.theta, self.threshold) if self.groups else ()

    def number_cell(self, row: int, key: str) -> str:
        """A cell of the table of numbers."""
        one = self.numbers()[row]
        share = f" {100 * one.lit / one.total:3.0f} %" if one.total else ""
        cells: dict[str, Callable[[], str]] = {
            "label": lambda: one.label,
            "runs": lambda: f"{one.n_runs:,}",
            "A": lambda: three_digits(one.amplitude),
            "phase": lambda: degrees(one.phase_deg),
            "lit": lambda: f"{one.lit:,}{share}" if one.total else NOTHING,
            "mean": lambda: three_digits(one.mean),
        }
        return cells[key]()

    def difference_cell(self, row: int, key: str) -> str:
        """A cell of the table of differences."""
        if not self.differences:
            return "the same experiment" if key == "field" else ""
        field, _, values = self.differences[row].partition(": ")
        old, _, new = values.partition(" -> ")
        return {"field": field, "old": old, "new": new}[key]

    def text(self, part: int, width: int, height: int) -> str:
        """What copying takes of a part: the chart, the numbers with tabs between, or the differences."""
        if part == 0:
            return self.chart(width, height, colour=False)
        if part == 2:
            return "\n".join(self.differences or ("the same experiment",))
        header = "\t".join(column.title for column in self.number_columns)
        rows = [
            "\t".join(self.number_cell(row, column.key) for column in self.number_columns)
            for row in range(self.number_count)
        ]
        return "\n".join((f"Numbers at {self.caption}", header, *rows))

    def curves_csv(self) -> str:
        """The curves of both, a row a group and angle: mean cosine, and the count above every threshold."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        levels = self.comparison.thresholds()
        writer.writerow(["group", "runs", "angle_deg", "mean_similarity", *(f"count_thresh_{x:g}" for x in levels)])
        for group in self.groups:
            sweep = group.sweep
            order = [sweep.thresholds.index(level) for level in levels]
            for at, angle in enumerate(sweep.angles_deg.tolist()):
                counts = [int(sweep.counts[index, at]) for index in order]
                writer.writerow([group.label, sweep.n, f"{angle:g}", repr(float(sweep.mean[at])), *counts])
        return file.getvalue()

    def _sweep(self) -> None:
        try:
            self.groups = compared_groups(self.comparison, self.plane)
        except ExplorerError as error:
            self.groups, self._fault = (), str(error)

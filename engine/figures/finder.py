"""The chart of planes that were searched: chosen on half of the units, tested on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.table import CellValue, TableFigure

MOST_PLANES = 20
"""That are drawn; the table has all."""
CHOSEN, TESTED = "chosen on one half", "tested on the other"


@dataclass(frozen=True)
class FoundPlane:
    """One plane.

    Attributes:
        label: "n488 × n20".
        chosen: its statistic on the half of the units that it was chosen on.
        tested: on the other half.
        q: of the test; None where it was not tested.
        differences: along each direction that is told: the difference and the ends of its interval.
    """

    label: str
    chosen: float | None
    tested: float | None
    q: float | None
    differences: tuple[tuple[float | None, float | None, float | None], ...]


@dataclass(frozen=True)
class FinderFigure:
    """What a chart of found planes shows.

    Attributes:
        statistic: what they are ranked by: "gain", "t²", "r".
        directions: what the differences are along: "Δ 0°", "Δ 90°".
        planes: in the table's order, the most telling first.
        total: planes that were tested.
        legend: the statistic on either half, then a direction each.
    """

    title: str
    statistic: str
    directions: tuple[str, ...]
    planes: tuple[FoundPlane, ...]
    total: int
    legend: tuple[LegendEntry, ...]
    warnings: tuple[str, ...]


def finder_figure(table: TableFigure, warnings: Sequence[str] = ()) -> FinderFigure:
    """Lay out the table of `finder_study`, the numbers as they stand there.

    Raises:
        ExplorerError: it is another table, or no plane was found.
    """
    at = {column.key: place for place, column in enumerate(table.columns)}
    if not {"a", "b", "score", "statistic"} <= at.keys():
        raise ExplorerError("this is no table of planes that were searched", remedy="choose the finder's")
    if not table.rows:
        raise ExplorerError("no plane was found", where=table.title, remedy="choose other groups, or another site")
    keys = [key for key in ("difference_a", "difference_b") if key in at]
    directions = tuple(table.columns[at[key]].title for key in keys)
    planes = tuple(
        FoundPlane(
            f"{row[at['a']]} × {row[at['b']]}",
            _number(row[at["score"]]),
            _number(row[at["statistic"]]),
            _number(row[at["q"]]),
            tuple(
                (_number(row[at[key]]), _number(row[at[f"{key}_low"]]), _number(row[at[f"{key}_high"]])) for key in keys
            ),
        )
        for row in table.rows[:MOST_PLANES]
    )
    some = f"the first {len(planes)} of {len(table.rows)} planes" if len(table.rows) > len(planes) else ""
    legend = [LegendEntry(CHOSEN, "baseline", ()), LegendEntry(TESTED, "pooled", ())]
    legend += [LegendEntry(name, "level", ("with its 95 % interval",)) for name in directions]
    return FinderFigure(
        title=f"{table.title} · {some}" if some else table.title,
        statistic=table.columns[at["statistic"]].title.removesuffix(" tested"),
        directions=directions,
        planes=planes,
        total=len(table.rows),
        legend=tuple(legend),
        warnings=tuple(warnings),
    )


def _number(cell: CellValue) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None

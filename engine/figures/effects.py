"""The chart of effects on the texts: what the tables of effects hold, with intervals, over the value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.curves import Curve, CurveBand, LegendEntry
from srm_explorer.engine.figures.dose import DoseFigure, DosePanel
from srm_explorer.engine.figures.numbers import Axis, axis_from_zero, count_of, round_axis
from srm_explorer.engine.figures.table import CellValue, TableFigure


@dataclass(frozen=True)
class _Measure:
    """A column that is drawn.

    Attributes:
        key: its name; "_low" and "_high" after it name its interval, else `ends` do.
        label: what its panel is called; "{}" is the row's cell under `of`.
        level: of no effect, which is drawn as a line; None for none.
        of: column whose every cell has a panel of its own; empty for one panel.
    """

    table: str
    key: str
    label: str
    level: float | None = None
    of: str = ""
    ends: tuple[str, str] | None = None


_EITHER = ("low", "high")
_DRAWN = (
    _Measure("effects", "changed", "share of runs whose text changed"),
    _Measure("effects", "kl", "KL(untouched || condition), nats a token"),
    _Measure("effects", "perplexity_ratio", "perplexity of the text, ratio to the baseline's", 1.0),
    _Measure("text_changes", "change", "change of {}", 0.0, "measure", _EITHER),
    _Measure("collapsed", "net", "net rescued from collapse, share of units", 0.0),
    _Measure(
        "collapse", "harmed_share", "collapsed with it, share of healthy units", ends=("harmed_low", "harmed_high")
    ),
    _Measure("collapse", "rescued_share", "rescued, share of collapsed units", ends=("rescued_low", "rescued_high")),
    _Measure("direct", "direct_share", "direct share of the change, {}", None, "site"),
    _Measure("difference", "change", "change of logits, {}", 0.0, "difference", _EITHER),
    _Measure("odds", "change", "change of log-odds, {}", 0.0, "token", _EITHER),
    _Measure("patching", "moved", "logits moved: {}", 0.0, "done", _EITHER),
    _Measure("patching", "share", "share of the difference: {}", None, "done"),
)
"""What is drawn of which table, in this order."""


def effects_figure(
    tables: Sequence[TableFigure],
    title: str,
    values: Mapping[str, float],
    *,
    value_label: str = "value",
    label: str = "with it",
    warnings: Sequence[str] = (),
) -> DoseFigure:
    """Lay out what tables of effects hold, a panel a measure, the numbers as they stand there.

    Args:
        tables: as `effects_study` and its kin make them.
        values: of the conditions' labels; where one has none, conditions stand beside one another in the tables' order.
        label: what all values together are called.

    Raises:
        ExplorerError: the tables hold no measure by the value.
    """
    known = {table.name: table for table in tables}
    found = [(measure, known[measure.table]) for measure in _DRAWN if measure.table in known]
    series = [one for measure, table in found for one in _series(measure, table)]
    series = [one for one in series if any(math.isfinite(y) for _, y, _, _ in one[2])]
    if not series:
        raise ExplorerError("these tables hold nothing by the value", where=title, remedy="--csv writes them")
    labels = list(dict.fromkeys(row[0] for _, _, rows in series for row in rows if math.isfinite(row[1])))
    numeric = all(math.isfinite(values.get(name, math.nan)) for name in labels)
    numeric = numeric and len({values[name] for name in labels}) == len(labels)
    places = {name: values[name] if numeric else float(at) for at, name in enumerate(labels)}
    axis = _categories(labels)
    if numeric:
        axis = round_axis(places.values(), most=5)
    panels: list[DosePanel] = []
    for name, level, rows in series:
        rows = sorted((row for row in rows if row[0] in places), key=lambda row: places[row[0]])
        x = np.array([places[row[0]] for row in rows])
        y, low, high = np.array([row[1:] for row in rows], np.float64).T
        reached = [*y.tolist(), *low.tolist(), *high.tolist(), *([] if level is None else [level])]
        bands = (CurveBand(label, x, low, high),) if np.isfinite(low).any() else ()
        panels.append(
            DosePanel(
                label=name,
                curve=Curve(label, x, y),
                baseline=level,
                axis=round_axis(reached, most=4) if level else axis_from_zero(reached, most=4),
                connected=numeric,
                bands=bands,
            )
        )
    units = next((count for table in tables if (count := _units(table))), 0)
    over = f" over {count_of(units, 'unit')}" if units else ""
    details = (f"95 % intervals{over}",) if any(panel.bands for panel in panels) else ()
    return DoseFigure(
        title=title,
        value_label=value_label if numeric else "condition",
        values=axis,
        panels=tuple(panels),
        legend=(LegendEntry(label, "pooled", details),),
        warnings=tuple(warnings),
        named=not numeric,
    )


_Row = tuple[str, float, float, float]
"""The condition's label, the number, and the ends of its interval; NaN where there are none."""


def _series(measure: _Measure, table: TableFigure) -> Iterator[tuple[str, float | None, list[_Row]]]:
    """The panels of a measure: what each is called, its level of no effect, and its rows."""
    at = {column.key: place for place, column in enumerate(table.columns)}
    if "value" not in at or measure.key not in at or (measure.of and measure.of not in at):
        return
    ends = measure.ends or (f"{measure.key}_low", f"{measure.key}_high")
    rows: dict[str, list[_Row]] = {}
    for row in table.rows:
        numbers = [_number(row[at[key]]) if key in at else math.nan for key in (measure.key, *ends)]
        name = measure.label.format(row[at[measure.of]]) if measure.of else measure.label
        rows.setdefault(name, []).append((str(row[at["value"]]), *numbers))  # pyright: ignore[reportArgumentType]
    for name, listed in rows.items():
        yield name, measure.level, listed


def _number(cell: CellValue) -> float:
    return math.nan if cell is None or isinstance(cell, str) else float(cell)


def _categories(labels: Sequence[str]) -> Axis:
    return Axis(-0.5, len(labels) - 0.5, tuple(map(float, range(len(labels)))), tuple(labels))


def _units(table: TableFigure) -> int:
    keys = [column.key for column in table.columns]
    counts = [row[keys.index("units")] for row in table.rows] if "units" in keys else []
    return max((int(count) for count in counts if isinstance(count, int)), default=0)

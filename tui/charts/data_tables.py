"""The numbers behind a chart, as rows of a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from srm_explorer.engine.figures import NO_OVERLAYS, Band, CompassFigure, Curve, DoseFigure, Overlays, SweptGroup, above
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.spotlight import is_lit, spotlight
from srm_explorer.tui.charts.scene import Table

_KINDS = ("", "_arithmetic", "_low", "_high", "_chance_low", "_chance_high")
"""What follows the name of a column, in the order of the columns."""


def sweep_table(groups: Sequence[SweptGroup], overlays: Overlays = NO_OVERLAYS) -> Table:
    """Mean cosine and counts of every group at every angle, their bands, what arithmetic predicts and chance draws.

    Columns of what is not known of any group are left out; those not known of one group are empty in its rows.
    """
    levels = groups[0].sweep.thresholds if groups else ()
    names = ["mean_cosine", *(f"count_above_{level!r}" for level in levels)]
    blocks_by_group = [(group, _blocks(group, overlays)) for group in groups]
    shown = [kind for kind in _KINDS if any(kind in blocks for _, blocks in blocks_by_group)]
    rows: Table = [["group", "n", "angle_deg", *(f"{name}{kind}" for kind in shown for name in names)]]
    for group, blocks in blocks_by_group:
        columns = [column for kind in shown for column in blocks.get(kind) or [None] * len(names)]
        for index, angle in enumerate(group.sweep.angles_deg.tolist()):
            cells = ["" if column is None else repr(column[index]) for column in columns]
            rows.append([group.label, str(group.sweep.n), repr(angle), *cells])
    return rows


def _blocks(group: SweptGroup, overlays: Overlays) -> dict[str, list[list[float] | None]]:
    """By kind of column, the mean and the counts above each threshold; None where a band has no such threshold."""

    def curves(swept: SweptGroup) -> list[list[float] | None]:
        return [swept.sweep.mean.tolist(), *swept.sweep.counts.tolist()]

    def ends(low: str, high: str, mean: Band, counts: Mapping[float, Band]) -> None:
        bands = [mean, *(above(counts, level) for level in group.sweep.thresholds)]
        for kind, end in ((low, 0), (high, 1)):
            blocks[kind] = [None if band is None else band[end].tolist() for band in bands]

    blocks = {"": curves(group)}
    if group.label in overlays.predicted:
        blocks["_arithmetic"] = curves(overlays.predicted[group.label])
    known = None if overlays.bands is None else overlays.bands.of(group.label)
    if known is not None:
        ends("_low", "_high", known.mean_band(len(group.sweep.angles_deg)), known.counts)
    null = overlays.null if overlays.focus == group.label else None
    if null is None and overlays.bands is not None:
        null = overlays.bands.null_of(group.label)
    if null is not None:
        ends("_chance_low", "_chance_high", null.mean, null.counts)
    return blocks


def curves_table(curves: Sequence[Curve], quantity: str) -> Table:
    """Every curve of a chart over the angle, point by point.

    Args:
        curves: of one chart.
        quantity: what those without a tag show.
    """
    rows: Table = [["group", "quantity", "angle_deg", "value"]]
    for curve in curves:
        for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
            rows.append([curve.label, curve.tag or quantity, repr(x), repr(y)])
    return rows


def compass_table(session: Session, figure: CompassFigure, theta: int, threshold: float) -> Table:
    """Every run's cosines with the two directions and with the spotlight, and whether it is lit."""
    rows: Table = [["run", "group", "cosine_a", "cosine_b", "angle_deg", "cosine", "threshold", "lit"]]
    cos, sin = spotlight(theta)
    for group in figure.groups:
        for run, (x, y) in zip(group.runs.tolist(), group.xy.tolist(), strict=True):
            cosine = x * cos + y * sin
            lit = "1" if is_lit(cosine, threshold) else "0"
            index = str(session.runs[run].index)
            rows.append([index, group.label, repr(x), repr(y), str(theta), repr(cosine), repr(threshold), lit])
    return rows


def dose_table(figure: DoseFigure) -> Table:
    """Every quantity by the value, as observed, as predicted, and its band; the baseline's in a row by itself."""
    header, columns, bases = ["value"], list[list[float]](), list[str]()
    for panel in figure.panels:
        parts = [(panel.label, panel.curve.y)]
        parts += [(f"{panel.label} {other.curve.label}", other.curve.y) for other in panel.others]
        for band in panel.bands:
            parts += [(f"{panel.label} low", band.low), (f"{panel.label} high", band.high)]
        header += [name for name, _ in parts]
        columns += [values.tolist() for _, values in parts]
        bases += ["" if panel.baseline is None else repr(panel.baseline), *[""] * (len(parts) - 1)]
    rows: Table = [header]
    if any(bases):
        rows.append(["baseline", *bases])
    values = figure.panels[0].curve.x.tolist() if figure.panels else []
    return rows + [[repr(value), *(repr(column[at]) for column in columns)] for at, value in enumerate(values)]

"""Charts for papers: what the screen's charts show, drawn by matplotlib with real curves, fills and text."""

from __future__ import annotations

import functools
import io
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures.compass import CompassFigure, compass_from_session
from srm_explorer.engine.figures.curves import Curve, CurveBand, LegendEntry, Role
from srm_explorer.engine.figures.dose import DoseFigure, DosePanel, dose_from_session
from srm_explorer.engine.figures.groups import (
    CONDITION,
    polar_from_session,
    swept_groups,
    telling_threshold,
    telling_view,
    thresholds_from_session,
)
from srm_explorer.engine.figures.overlays import CHANCE
from srm_explorer.engine.figures.polar import PolarFigure, Ring, Spoke
from srm_explorer.engine.figures.session_overlays import overlays_from_session, stored_bands
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.engine.session import Session

Drawn: TypeAlias = PolarFigure | ThresholdFigure | DoseFigure | CompassFigure
Chart: TypeAlias = Literal["polar", "thresholds", "dose"]
View: TypeAlias = Literal["counts", "mean", "compass"]
ColumnWidth: TypeAlias = Literal["single", "double"]

WIDTHS: dict[ColumnWidth, float] = {"single": 3.4, "double": 7.0}
"""Inches of a column of text, and of both, as most journals have them."""

FORMATS = ("pdf", "svg", "png")

# Okabe and Ito 2008: told apart with every common colour vision, and in print.
_FIXED: dict[Role, tuple[str, str]] = {
    "baseline": ("#0072B2", "o"),
    "pooled": ("#D55E00", "s"),
    "reference": ("#CC79A7", "D"),
    "arithmetic": ("#555555", ""),
    "chance": ("#BBBBBB", ""),
}
_CYCLE = ("#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#8C6D1F")
_MARKERS = ("^", "v", "P", "X", "<", ">", "*")
_LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (4, 1, 1, 1)))
_GRID, _DASHED, _DOTTED = "#DDDDDD", (0, (4, 2)), (0, (1, 1.5))


def figure(
    session: Session,
    chart: Chart = "polar",
    *,
    plane: int = 1,
    by: Sequence[str] = (),
    view: View | None = None,
    threshold: float | None = None,
    column: ColumnWidth = "single",
) -> Any:
    """Draw a chart of a session as the screen has it: a matplotlib figure, for a notebook or `savefig`.

    Args:
        plane: which of the session's, from 1.
        by: as `swept_groups` takes it; the dose chart is always by condition.
        view: counts, means, or every run in the plane; one of the first two that shows something by default.
        threshold: cosine that is counted above; one that tells something by default.

    Raises:
        ExplorerError: no such chart or plane, or matplotlib is not installed.
    """
    if chart not in get_args(Chart):
        raise ExplorerError(f"there is no chart {chart!r}", remedy=did_you_mean(str(chart), list(get_args(Chart))))
    if not 1 <= plane <= len(session.planes):
        remedy = f"choose 1 to {len(session.planes)}" if session.planes else "srm-explorer planes NAME --add A B"
        raise ExplorerError(f"it has no plane {plane}", where=session.name, remedy=remedy)
    record = session.planes[plane - 1]
    if chart == "dose":
        bands = stored_bands(session, plane - 1, (CONDITION,))
        return draw(dose_from_session(session, record, threshold, plain=False, bands=bands), column)
    levels = session.spec.spotlight.thresholds
    groups = swept_groups(session, record, by, levels if threshold in (None, *levels) else (*levels, threshold))
    level = telling_threshold(groups) if threshold is None else threshold
    overlays = overlays_from_session(session, record, groups, by, stored_bands(session, plane - 1, by))
    if chart == "thresholds":
        return draw(thresholds_from_session(session, record, groups, level, overlays), column)
    chosen = view or telling_view(groups)
    if chosen == "compass":
        return draw(compass_from_session(session, record, groups, by, overlays), column)
    return draw(polar_from_session(session, record, groups, chosen, level, overlays), column)


def draw(shown: Drawn, column: ColumnWidth = "single") -> Any:
    """Draw a chart as a matplotlib figure, in the user's style sheet, on white.

    Raises:
        ExplorerError: matplotlib is not installed.
    """
    matplotlib = _matplotlib()
    width = WIDTHS[column]
    with matplotlib.rc_context(_settings(matplotlib)):
        made: Any = import_module("matplotlib.figure").Figure(
            figsize=(width, _height(shown, width)), layout="constrained"
        )
        painters: dict[type[Any], Callable[[Any, Any], None]] = {
            PolarFigure: _polar, CompassFigure: _compass, ThresholdFigure: _thresholds, DoseFigure: _dose,
        }  # fmt: skip
        painters[type(shown)](made, shown)
        lines = [shown.title, getattr(shown, "radius_label", "")]
        title = "\n".join(_wrapped(line, width, "\n") for line in lines if line)
        made.suptitle(title, fontsize=matplotlib.rcParams["font.size"])
        _legend(made, shown.legend, shown)
    return made


def figure_bytes(made: Any, form: str) -> bytes:
    """A matplotlib figure as the content of a file; the same bytes for the same figure.

    Args:
        form: "pdf", "svg" or "png" (300 dots an inch).

    Raises:
        ExplorerError: another format.
    """
    if form not in FORMATS:
        raise ExplorerError(
            f"a figure is no .{form} file", remedy=f"name it {', '.join(f'.{known}' for known in FORMATS)}"
        )
    matplotlib = _matplotlib()
    file = io.BytesIO()
    # A date, and numbers drawn at random, would make another file of the same figure.
    dated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    with matplotlib.rc_context({**_settings(matplotlib), "svg.hashsalt": "srm-explorer"}):
        made.savefig(file, format=form, dpi=300, metadata=dated[form])
    return file.getvalue()


@functools.cache
def _matplotlib() -> Any:
    # No window is ever opened, whatever backend the user's settings name.
    os.environ.setdefault("MPLBACKEND", "agg")
    try:
        return import_module("matplotlib")
    except ImportError:
        what = "figures for papers are drawn by matplotlib, which is not installed"
        raise ExplorerError(what, remedy="pip install 'srm-explorer[figures]'") from None


def _settings(matplotlib: Any) -> dict[str, Any]:
    """Text that stays text; sizes for print where the user's own style sheet says nothing of them."""
    settings: dict[str, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none"}
    plain = matplotlib.rcParamsDefault
    for name, value in (("font.size", 8.0), ("lines.linewidth", 1.2), ("axes.linewidth", 0.6)):
        if matplotlib.rcParams[name] == plain[name]:
            settings[name] = value
    return settings


def _height(shown: Drawn, width: float) -> float:
    entries = 0.2 * len(shown.legend) * (1 if width >= WIDTHS["double"] else 1.6)
    if isinstance(shown, DoseFigure):
        columns = 1 if width < WIDTHS["double"] else 2
        return 0.4 + 1.5 * -(-len(shown.panels) // columns) + entries
    return (width if width < WIDTHS["double"] else 0.62 * width) + entries


class _Look:
    """How every entry of a legend is drawn, the same all over a figure."""

    def __init__(self, legend: Iterable[LegendEntry]) -> None:
        self._of: dict[str, tuple[str, str, Any]] = {}
        cycled = 0
        for entry in legend:
            if entry.role in _FIXED:
                self._of[entry.label] = (*_FIXED[entry.role], "-")
            else:
                colour, marker = _CYCLE[cycled % len(_CYCLE)], _MARKERS[cycled % len(_MARKERS)]
                self._of[entry.label] = (colour, marker, _LINES[cycled // len(_CYCLE) % len(_LINES)])
                cycled += 1

    def colour(self, label: str) -> str:
        return self._of.get(label, ("#555555", "", "-"))[0]

    def marker(self, label: str) -> str:
        return self._of.get(label, ("#555555", "", "-"))[1]

    def line(self, curve: Curve) -> Any:
        if curve.dashed:
            return _DASHED
        return _DOTTED if curve.dotted else self._of.get(curve.label, ("", "", "-"))[2]


def _wrapped(text: str, width: float, new_line: str) -> str:
    """A text in lines as long as so many inches hold."""
    return new_line.join(textwrap.wrap(text, int(17 * width), break_long_words=False))


def _entry(entry: LegendEntry) -> str:
    """A legend's line: what it is, of how many runs, where the mean is and may be, the p of what is beyond."""
    row = entry.row
    if row is None:
        return "  ".join([entry.label, *entry.details[:1]])
    parts = [f"{row.runs} runs" if row.runs else "", row.note if entry.role == "chance" else ""]
    parts += [f"A {row.amplitude} {row.amplitude_range}".rstrip() if row.amplitude else ""]
    parts += [f"φ {row.phase} {row.phase_range}".rstrip() if row.phase else "", f"p {row.p}" if row.p else ""]
    return "  ".join([entry.label, *filter(None, parts)])


def _legend(made: Any, legend: Sequence[LegendEntry], shown: Drawn) -> None:
    look = _Look(legend)
    lines: Any = import_module("matplotlib.lines")
    patches: Any = import_module("matplotlib.patches")
    handles: list[Any] = []
    points = isinstance(shown, CompassFigure)
    for entry in legend:
        label = _wrapped(_entry(entry), made.get_figwidth(), "\n    ")
        colour = look.colour(entry.label)
        if entry.role == "chance":
            handles.append(patches.Patch(facecolor=colour, alpha=0.5, label=label))
        else:
            style = _DASHED if entry.role == "arithmetic" else "none" if points else "-"
            marker = look.marker(entry.label) if points or isinstance(shown, DoseFigure) else ""
            handles.append(
                lines.Line2D([], [], color=colour, linestyle=style, marker=marker, markersize=4, label=label)
            )
    if handles:
        made.legend(handles=handles, loc="outside lower center", frameon=False, fontsize="small")


def _round(axes: Any, rings: Sequence[Ring], spokes: Sequence[Spoke], low: float, high: float) -> None:
    """Rings, spokes and their names; the radius is linear from `low` at the centre."""
    axes.set_aspect("equal")
    axes.axis("off")
    turn = np.linspace(0, 2 * np.pi, 361)
    for ring in rings:
        radius = (ring.value - low) / (high - low)
        axes.plot(
            radius * np.cos(turn), radius * np.sin(turn), color=_GRID, linewidth=1.2 if ring.bold else 0.6, zorder=0
        )
        axes.annotate(
            ring.label, radius * np.array([np.cos(1.2), np.sin(1.2)]), color="#777777", fontsize="x-small", zorder=6
        )
    for spoke in spokes:
        radians = math.radians(spoke.angle_deg)
        tip = (math.cos(radians), math.sin(radians))
        axes.plot([0, tip[0]], [0, tip[1]], color=_GRID, linewidth=0.6, zorder=0)
        aside = {1: "left", -1: "right", 0: "center"}[round(tip[0])]
        above = {1: "bottom", -1: "top", 0: "center"}[round(tip[1])]
        axes.annotate(
            f"{spoke.angle_label} {spoke.name}",
            (1.04 * tip[0], 1.04 * tip[1]),
            ha=aside,
            va=above,
            annotation_clip=False,
        )
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)


def _at(angle_deg: NDArray[np.float64], radius: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    turn = np.deg2rad(angle_deg)
    return radius * np.cos(turn), radius * np.sin(turn)


def _polar(made: Any, shown: PolarFigure) -> None:
    axes = made.add_subplot()
    look = _Look(shown.legend)
    _round(axes, shown.rings, shown.spokes, shown.low, shown.high)

    def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (np.clip(values, shown.low, None) - shown.low) / (shown.high - shown.low)

    for band in shown.bands:
        if np.isfinite(band.low).all() and np.isfinite(band.high).all():
            outer, inner = _at(band.x, scaled(band.high)), _at(band.x[::-1], scaled(band.low)[::-1])
            x, y = np.concatenate([outer[0], inner[0]]), np.concatenate([outer[1], inner[1]])
            axes.fill(x, y, color=_band_colour(look, band), alpha=_alpha(band), linewidth=0, zorder=1)
    for curve in shown.curves:
        axes.plot(*_at(curve.x, scaled(curve.y)), color=look.colour(curve.label), linestyle=look.line(curve), zorder=3)


def _compass(made: Any, shown: CompassFigure) -> None:
    axes = made.add_subplot()
    look = _Look(shown.legend)
    _round(axes, shown.rings, shown.spokes, 0.0, 1.0)
    for group in shown.groups:
        colour = look.colour(group.label)
        hollow = group.role in ("baseline", "baseline of")
        axes.scatter(
            *group.xy.T, s=6, marker=look.marker(group.label) or "o", linewidths=0.5, alpha=0.7, zorder=2,
            facecolors="none" if hollow else colour, edgecolors=colour,
        )  # fmt: skip
    for region in shown.regions:
        axes.plot(region.x, region.y, color=look.colour(region.label), linewidth=0.8, zorder=3)
    for arrow in shown.arrows:
        if np.isfinite(arrow.tip).all():
            style = {"arrowstyle": "-|>", "color": look.colour(arrow.label), "shrinkA": 0, "shrinkB": 0}
            style["linestyle"] = "dashed" if arrow.dashed else "solid"
            axes.annotate("", arrow.tip, arrow.tail, arrowprops=style, zorder=4)


def _thresholds(made: Any, shown: ThresholdFigure) -> None:
    axes = made.add_subplot()
    look = _Look(shown.legend)
    _fill(axes, look, shown.bands)
    for curve in shown.counts:
        axes.plot(curve.x, curve.y, color=look.colour(curve.label), linestyle=look.line(curve))
        if curve.tag and np.isfinite(curve.y).any():
            peak = int(np.nanargmax(curve.y))
            axes.annotate(curve.tag, (curve.x[peak], curve.y[peak]), fontsize="x-small", ha="center", va="bottom")
    axes.set_xlabel("spotlight θ, degrees")
    axes.set_xticks(range(0, 361, 90))
    axes.set_xlim(0, 360)
    axes.set_ylim(shown.left.low, shown.left.high)
    axes.set_yticks(shown.left.ticks, shown.left.labels)
    axes.set_ylabel(shown.left_label)
    axes.spines[["top", "right"]].set_visible(False)
    if shown.right is not None and shown.means:
        beside = axes.twinx()
        for curve in shown.means:
            beside.plot(curve.x, curve.y, color=look.colour(curve.label), linestyle=_DOTTED)
        beside.set_ylim(shown.right.low, shown.right.high)
        beside.set_yticks(shown.right.ticks, shown.right.labels)
        beside.set_ylabel(shown.right_label)
        beside.spines["top"].set_visible(False)


def _dose(made: Any, shown: DoseFigure) -> None:
    columns = 1 if made.get_figwidth() < WIDTHS["double"] else 2
    rows = -(-len(shown.panels) // columns)
    look = _Look(shown.legend)
    grid = made.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, panel in zip(grid, shown.panels, strict=False):
        _panel(axes, look, panel)
        axes.set_xlim(shown.values.low, shown.values.high)
        axes.set_xticks(shown.values.ticks, shown.values.labels)
    for axes in grid[len(shown.panels) :]:
        axes.axis("off")
    for axes in grid[max(0, len(shown.panels) - columns) : len(shown.panels)]:
        axes.set_xlabel(shown.value_label)
        axes.tick_params(labelbottom=True)


def _panel(axes: Any, look: _Look, panel: DosePanel) -> None:
    colour = look.colour(panel.curve.label)
    if panel.units is not None:
        axes.plot(panel.curve.x, panel.units.T, color=colour, linewidth=0.4, alpha=0.25, zorder=1)
    _fill(axes, look, panel.bands)
    for curve in (panel.curve, *(other.curve for other in panel.others)):
        own = look.colour(curve.label)
        joined = look.line(curve) if panel.connected else "none"
        marker = look.marker(curve.label) or "."
        axes.plot(curve.x, curve.y, color=own, linestyle=joined, marker=marker, markersize=3.5, zorder=3)
    if panel.baseline is not None:
        axes.axhline(panel.baseline, color=_FIXED["baseline"][0], linewidth=0.8, zorder=2)
    axes.set_ylim(panel.axis.low, panel.axis.high)
    axes.set_yticks(panel.axis.ticks, panel.axis.labels)
    axes.set_ylabel(panel.label, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _fill(axes: Any, look: _Look, bands: Iterable[CurveBand]) -> None:
    for band in bands:
        colour = _band_colour(look, band)
        axes.fill_between(band.x, band.low, band.high, color=colour, alpha=_alpha(band), linewidth=0, zorder=1)


def _band_colour(look: _Look, band: CurveBand) -> str:
    return _FIXED["chance"][0] if band.chance or band.label == CHANCE else look.colour(band.label)


def _alpha(band: CurveBand) -> float:
    return 0.5 if band.chance else 0.25

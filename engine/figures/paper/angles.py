"""Charts over the spotlight's angle: counts or shares above thresholds, and the mean beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.paper.discs import band_alpha, band_colour
from srm_explorer.engine.figures.paper.painter import Painter
from srm_explorer.engine.figures.paper.style import DOTTED, FAINT, GRID, HALO, WIDTHS, Look, Ruler
from srm_explorer.engine.figures.thresholds import ThresholdFigure

Floats = NDArray[np.float64]
HEIGHTS = {True: 2.4, False: 3.2}
"""Inches that it is high on a single column, and on both."""
EDGE = 14
"""Degrees at either end at which a curve's name would lie over an axis."""
WINDOW = 5
"""Steps of two degrees around a name over which its curve should be flat."""


class AnglesPainter(Painter[ThresholdFigure]):
    """Draws curves over the angle."""

    def height(self, width: float) -> float:
        return HEIGHTS[width < WIDTHS["double"]]

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        return {"linestyle": look.line_of(entry.label), "marker": ""}

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        shown = self.shown
        axes = self._axes(made, area)
        for band in shown.bands:
            axes.fill_between(
                band.x,
                band.low,
                band.high,
                color=band_colour(look, band),
                alpha=band_alpha(band),
                linewidth=0,
                zorder=1,
            )
        if shown.left.low < 0:
            axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
        for curve in shown.counts:
            axes.plot(curve.x, curve.y, color=look.colour(curve.label), linestyle=look.line(curve), zorder=3)
        self._name_curves(axes, look, area)
        if shown.right is not None and shown.means:
            beside = axes.twinx()
            for curve in shown.means:
                beside.plot(curve.x, curve.y, color=look.colour(curve.label), linestyle=DOTTED)
            beside.set_ylim(shown.right.low, shown.right.high)
            beside.set_yticks(shown.right.ticks, shown.right.labels)
            beside.spines["top"].set_visible(False)
        if shown.dark:
            said = Ruler("small").wrap(shown.dark, 0.7 * area[2])
            axes.text(180, (shown.left.low + shown.left.high) / 2, said, ha="center", va="center", fontsize="small")

    def _axes(self, made: Any, area: tuple[float, float, float, float]) -> Any:
        """Axes with room for their ticks and names; those of the vertical ones stand over them, where none is cut."""
        shown = self.shown
        left, bottom, width, height = area
        page, tall = made.get_size_inches()
        ruler, small = Ruler("medium"), Ruler("small")
        margin = max(map(ruler.width, shown.left.labels), default=0) + 0.08
        is_double = shown.right is not None and bool(shown.means)
        right = max(map(ruler.width, shown.right.labels)) + 0.08 if shown.right is not None and is_double else 0.15
        half = (width - 0.1) / 2 if is_double else width
        what = small.wrap(shown.left_label, half)
        over = max(small.height(what), small.line) + 0.04 + ruler.line / 2
        under = 2 * ruler.line + 0.1
        axes = made.add_axes(
            (
                (left + margin) / page,
                (bottom + under) / tall,
                (width - margin - right) / page,
                (height - under - over) / tall,
            )
        )
        at: dict[str, Any] = {"fontsize": small.size, "va": "bottom", "linespacing": 1.15}
        top = (bottom + height - over + ruler.line / 2) / tall
        made.text(left / page, top, what, ha="left", **at)
        if is_double:
            beside = f"{shown.right_label} (dotted)"
            made.text((left + width) / page, top, small.wrap(beside, half), ha="right", color=FAINT, **at)
        axes.set_xlabel("spotlight θ, degrees")
        axes.set_xticks(range(0, 361, 90))
        axes.set_xlim(0, 360)
        axes.set_ylim(shown.left.low, shown.left.high)
        axes.set_yticks(shown.left.ticks, shown.left.labels)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def _name_curves(self, axes: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        """Write the threshold of each curve on it, where no other curve is near; not where it is 0 all along."""
        shown = self.shown
        told = [curve for curve in shown.counts if curve.tag and not curve.dashed]
        named = [curve for curve in told if np.nanmax(np.abs(curve.y), initial=0.0) > 0]
        if not named:
            return
        span = shown.left.high - shown.left.low
        x = np.arange(EDGE, 361.0 - EDGE, 2)
        heights = {id(curve): np.interp(x, curve.x, curve.y) / span for curve in shown.counts}
        taken: list[tuple[float, float]] = []
        far = 0.35 * area[3]
        for curve in named:
            own = heights[id(curve)]
            others = [heights[id(other)] for other in shown.counts if other is not curve]
            away: Floats = np.min([np.abs(own - other) for other in others], axis=0) if others else np.ones(len(own))
            # Where a curve is steep, what is written on it hides it.
            padded = np.concatenate([np.repeat(own[:1], WINDOW), own, np.repeat(own[-1:], WINDOW)])
            around: Floats = np.array([padded[at : at + 2 * WINDOW + 1] for at in range(len(own))])
            away = np.minimum(away, 0.12) - 2 * (around.max(axis=1) - around.min(axis=1))
            for at, height in taken:
                near = np.hypot((x - at) / 360 * area[2], (own - height) * area[3]) < 0.3
                away = away - near
            # Close to the bottom they would lie over the axis.
            away = away - 0.5 * ((own < 0.04) & (shown.left.low == 0))
            best = int(np.argmax(np.nan_to_num(away, nan=-far)))
            taken.append((float(x[best]), float(own[best])))
            axes.text(
                x[best], own[best] * span, curve.tag, color=look.colour(curve.label), fontsize="x-small", ha="center",
                va="center", bbox=HALO, zorder=4,
            )  # fmt: skip

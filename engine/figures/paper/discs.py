"""Charts around the plane's two directions: polar curves, and the compass of every run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures.compass import CompassFigure
from srm_explorer.engine.figures.curves import CurveBand, LegendEntry
from srm_explorer.engine.figures.overlays import CHANCE
from srm_explorer.engine.figures.paper.painter import Painter
from srm_explorer.engine.figures.paper.style import CHANCE_FILL, FAINT, GRID, HALO, WIDTHS, Look, Ruler
from srm_explorer.engine.figures.polar import PolarFigure

Floats = NDArray[np.float64]
LARGEST = 3.0
"""Inches across a disc, at most."""
SIDE = 1.1
"""Inches that the name of a direction may take beside it, at most."""
MOST_MARKED = 400


Shown = TypeVar("Shown", PolarFigure, CompassFigure)


class _Disc(Painter[Shown]):
    """A disc with rings and the names of four directions; what is drawn on it is in parts of its radius."""

    def title(self) -> Sequence[str]:
        # On paper ink lies over ink.
        return self.shown.title, self.shown.radius_label.replace("brighter where", "darker where")

    def height(self, width: float) -> float:
        above, below, across = self._sizes(width)[2:]
        return above + across + below

    def scaled(self, values: Floats) -> Floats:
        """Values as parts of the radius; what lies below the centre's is the centre."""
        low, high = self.shown.low, self.shown.high
        return (np.clip(values, low, None) - low) / (high - low)

    def axes(self, made: Any, area: tuple[float, float, float, float]) -> Any:
        left, bottom, width, _ = area
        page, tall = made.get_size_inches()
        beside, _, _, below, across = self._sizes(page)
        x = left + beside + max(0.0, (width - beside - self._sizes(page)[1] - across) / 2)
        axes = made.add_axes((x / page, (bottom + below) / tall, across / page, across / tall))
        axes.set_xlim(-1, 1)
        axes.set_ylim(-1, 1)
        axes.axis("off")
        inch = 2 / across
        for spoke, name in zip(self.shown.spokes, self._names(page), strict=True):
            radians = math.radians(spoke.angle_deg)
            tip = np.array([round(math.cos(radians), 9), round(math.sin(radians), 9)])
            axes.plot([0, tip[0]], [0, tip[1]], color=GRID, linewidth=0.6, zorder=0)
            aside = {1: "left", -1: "right", 0: "center"}[round(tip[0])]
            up = {1: "bottom", -1: "top", 0: "center"}[round(tip[1])]
            axes.text(
                *(tip * (1 + 0.05 * inch)), name, ha=aside, va=up, fontsize="medium", linespacing=1.15,
                multialignment=aside, clip_on=False,
            )  # fmt: skip
        return axes

    def rings(self, axes: Any, curves: Sequence[Floats]) -> None:
        """Circles of one value, each with its name where no curve is near.

        Args:
            curves: [361] radii at every degree, in parts of the disc's.
        """
        turn = np.linspace(0, 2 * np.pi, 361)
        candidates = np.array([at for at in range(20, 360, 5) if min(at % 90, 90 - at % 90) >= 15])
        for ring in self.shown.rings:
            radius = float(self.scaled(np.array([ring.value]))[0])
            axes.plot(
                radius * np.cos(turn), radius * np.sin(turn), color=GRID, linewidth=1.2 if ring.bold else 0.6, zorder=0,
                clip_on=False,
            )  # fmt: skip
            away = np.full(len(candidates), np.inf)
            for curve in curves:
                near = np.abs(curve[candidates] - radius)
                away = np.minimum(away, np.where(np.isfinite(near), near, np.inf))
            # Of places as good as any other, one on the upper right, where they stand in a row.
            best = np.argmin(np.where(away >= min(0.12, float(away.max())), np.abs(candidates - 65), 1000))
            angle = math.radians(float(candidates[int(best)]))
            axes.text(
                radius * math.cos(angle), radius * math.sin(angle), ring.label, color=FAINT, fontsize="x-small",
                ha="center", va="center", zorder=5, bbox=HALO,
            )  # fmt: skip

    def _names(self, page: float) -> list[str]:
        """The directions' names, with their angles, in as many lines as there is room for."""
        ruler = Ruler("medium")
        names: list[str] = []
        for spoke in self.shown.spokes:
            if round(math.sin(math.radians(spoke.angle_deg))):
                names.append(ruler.wrap(f"{spoke.angle_label} {spoke.name}", page - 0.2))
            else:
                names.append(f"{spoke.angle_label}\n{ruler.wrap(spoke.name, min(SIDE, page / 4))}")
        return names

    def _sizes(self, page: float) -> tuple[float, float, float, float, float]:
        """Inches left, right, above and below of the disc, and across it."""
        ruler, names = Ruler("medium"), self._names(page)
        right, above, left, below = (
            ruler.width(name) if side else ruler.height(name)
            for name, side in zip(names, (True, False, True, False), strict=True)
        )
        gap = 0.1
        across = min(LARGEST, page - 0.12 - left - right - 2 * gap)
        return left + gap, right + gap, above + gap, below + gap, across


def at_angles(angle_deg: Floats, radius: Floats) -> tuple[Floats, Floats]:
    turn = np.deg2rad(angle_deg)
    return radius * np.cos(turn), radius * np.sin(turn)


class PolarPainter(_Disc[PolarFigure]):
    """Draws closed curves around a plane."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        return {"linestyle": look.line_of(entry.label), "marker": ""}

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        shown = self.shown
        axes = self.axes(made, area)
        degrees = np.arange(361.0)
        curves = [np.interp(degrees, curve.x, self.scaled(curve.y)) for curve in shown.curves]
        self.rings(axes, curves)
        for band in shown.bands:
            for x, low, high in finite_parts(band):
                outer, inner = at_angles(x, self.scaled(high)), at_angles(x[::-1], self.scaled(low)[::-1])
                ring = (np.concatenate([out, back]) for out, back in zip(outer, inner, strict=True))
                axes.fill(
                    *ring, color=band_colour(look, band), alpha=band_alpha(band), linewidth=0, zorder=1, clip_on=False
                )
        for curve in shown.curves:
            axes.plot(
                *at_angles(curve.x, self.scaled(curve.y)), color=look.colour(curve.label), linestyle=look.line(curve),
                zorder=3, clip_on=False,
            )  # fmt: skip
        said = shown.dark or ("" if any(np.isfinite(curve.y).any() for curve in shown.curves) else "no finite run")
        if said:
            wrapped = Ruler("small").wrap(said, 0.7 * axes.get_window_extent().width / made.dpi)
            axes.text(0, 0, wrapped, ha="center", va="center", fontsize="small", zorder=6, bbox=HALO)


class CompassPainter(_Disc[CompassFigure]):
    """Draws every run as a point, and the means as arrows."""

    def handle(self, look: Look, entry: LegendEntry) -> dict[str, Any]:
        marker = look.marker(entry.label)
        return {"linestyle": "none", "marker": marker or "o", "markerfacecolor": look.face(entry.label)}

    def paint(self, made: Any, look: Look, area: tuple[float, float, float, float]) -> None:
        shown = self.shown
        axes = self.axes(made, area)
        self.rings(axes, ())
        far = shown.high
        small = made.get_figwidth() < WIDTHS["double"]
        points = sum(len(group.runs) for group in shown.groups)
        size = (6.0 if small else 10.0) * (1.0 if points <= MOST_MARKED else 0.5)
        for group in shown.groups:
            axes.scatter(
                *(group.xy.T / far), s=size, marker=look.marker(group.label) or "o", linewidths=0.5, alpha=0.7,
                zorder=2, facecolors=look.face(group.label), edgecolors=[look.colour(group.label)], clip_on=False,
            )  # fmt: skip
        for region in shown.regions:
            axes.plot(region.x / far, region.y / far, color=look.colour(region.label), linewidth=0.8, zorder=3)
        for arrow in shown.arrows:
            if np.isfinite([arrow.tip, arrow.tail]).all():
                style = {"arrowstyle": "-|>", "color": look.colour(arrow.label), "shrinkA": 0, "shrinkB": 0}
                style |= {"linestyle": "dashed" if arrow.dashed else "solid", "mutation_scale": 6, "linewidth": 1.0}
                tip, tail = np.array(arrow.tip) / far, np.array(arrow.tail) / far
                axes.annotate("", tuple(tip), tuple(tail), arrowprops=style, zorder=4, annotation_clip=False)


def finite_parts(band: CurveBand) -> list[tuple[Floats, Floats, Floats]]:
    """The stretches of a band over which both of its ends are known."""
    known = np.isfinite(band.low) & np.isfinite(band.high)
    parts = np.split(np.arange(len(known)), np.flatnonzero(np.diff(known.astype(np.int8))) + 1)
    return [(band.x[part], band.low[part], band.high[part]) for part in parts if len(part) > 1 and known[part[0]]]


def band_colour(look: Look, band: CurveBand) -> Any:
    return CHANCE_FILL if band.chance or band.label == CHANCE else look.colour(band.label)


def band_alpha(band: CurveBand) -> float:
    return 0.5 if band.chance else 0.25

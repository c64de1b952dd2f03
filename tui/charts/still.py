"""A chart as pixels: what papers have, on the background of the screen, with the spotlight where it points."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures import CompassFigure, PolarFigure, ThresholdFigure
from srm_explorer.engine.figures.paper import draw, figure_bytes

if TYPE_CHECKING:
    from srm_explorer.engine.figures.paper import ColumnWidth, Drawn

LEAST_DPI = 60
"""Dots an inch below which the letters of a figure cannot be read."""
MOST_DPI = 220
_SMALL_DPI = 75
"""Dots an inch below which a figure of the other width is tried."""
_FINER = 2
_WIDE = 1.2
"""Width over height from which a figure of two columns fills more of the room."""

Pixels = NDArray[np.uint8]


def still_of(
    figure: Drawn,
    width: int,
    height: int,
    background: tuple[int, int, int],
    spotlight: tuple[int, float] | None = None,
) -> Pixels | None:
    """Draw a figure as large as there is room for, in the middle of it.

    Args:
        figure: what a chart shows.
        width, height: of the room, in pixels.
        background: its colour; where that is dark, light and dark are exchanged and hues stay.
        spotlight: its angle in degrees and the threshold; None for none.

    Returns:
        [height, width, 3] colours; None where there is too little room to read it.

    Raises:
        ExplorerError: matplotlib is not installed.
    """
    from PIL import Image

    columns: tuple[ColumnWidth, ColumnWidth] = ("double", "single") if width > _WIDE * height else ("single", "double")
    made, dpi = _fitted(figure, columns[0], width, height)
    if dpi < _SMALL_DPI:
        made, dpi = max((made, dpi), _fitted(figure, columns[1], width, height), key=lambda drawn: drawn[1])
    if dpi < LEAST_DPI:
        return None
    if spotlight is not None:
        _point(made, figure, *spotlight)
    # Letters of few dots are wider than in print, and would be cut off at the edge: drawn larger, then made smaller.
    drawn = Image.open(io.BytesIO(figure_bytes(made, "png", dpi=_FINER * dpi))).convert("RGB").reduce(_FINER)
    on_page = np.asarray(drawn, np.float64)[:height, :width]
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = background
    top, left = (height - on_page.shape[0]) // 2, (width - on_page.shape[1]) // 2
    pixels[top : top + on_page.shape[0], left : left + on_page.shape[1]] = _on_background(on_page, background)
    return pixels


def _fitted(figure: Drawn, column: ColumnWidth, width: int, height: int) -> tuple[Any, float]:
    """A figure, and the dots an inch at which it fills so many pixels."""
    made = draw(figure, column)
    across, up = made.get_size_inches()
    return made, min(MOST_DPI, width / across, height / up)


def is_dark(background: tuple[int, int, int]) -> bool:
    """Whether a colour is dark, by its luma (ITU-R BT.601)."""
    red, green, blue = background
    return 0.299 * red + 0.587 * green + 0.114 * blue < 128


def _on_background(pixels: NDArray[np.float64], background: tuple[int, int, int]) -> Pixels:
    """Exchange the white of a page for a background: ink keeps its hue and chroma.

    On a dark one lightness L of HSL becomes 1 - L, which adds 1 - (largest + smallest) to each of red, green and blue;
    then black, which white has become, is raised to the background, and white stays.
    """
    page = pixels / 255
    base = np.asarray(background) / 255
    if is_dark(background):
        turned = page + 1 - page.max(-1, keepdims=True) - page.min(-1, keepdims=True)
        shown = base + turned * (1 - base)
    else:
        shown = page * base
    return np.clip(np.rint(255 * shown), 0, 255).astype(np.uint8)


def _point(made: Any, figure: Drawn, theta: int, threshold: float) -> None:
    """Draw the spotlight as the screen does: a ray, on the compass with its chord, or a cursor over the angle."""
    axes, ink = made.axes[0], {"color": "black", "linewidth": 1.2, "zorder": 6}
    cos, sin = math.cos(math.radians(theta)), math.sin(math.radians(theta))
    if isinstance(figure, ThresholdFigure):
        axes.axvline(theta, linestyle=(0, (2, 2)), **ink)
    elif isinstance(figure, PolarFigure | CompassFigure):
        start = 0.0
        if isinstance(figure, CompassFigure) and -1 < threshold < 1:
            half, start = math.sqrt(1 - threshold**2), threshold
            axes.plot(
                [start * cos + half * sin, start * cos - half * sin],
                [start * sin - half * cos, start * sin + half * cos],
                **ink,
            )
        axes.plot([start * cos, cos], [start * sin, sin], linestyle=(0, (2, 2)), **ink)

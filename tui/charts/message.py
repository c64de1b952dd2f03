"""What stands in a chart's place when it cannot be drawn."""

from __future__ import annotations

from tui.charts.canvas import Canvas
from tui.charts.labels import fit


def one_line(text: str, width: int, height: int) -> str:
    """Put one line of plain text at the top of an area of exactly `height` rows."""
    canvas = Canvas(max(0, width), max(0, height))
    canvas.text(0, 0, fit(text, width))
    return canvas.string(colour=False)

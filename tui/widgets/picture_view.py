"""A painted chart as a widget that only shows it."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from srm_explorer.tui.charts.picture import Picture, glyph
from srm_explorer.tui.widgets.chart import markers_of


class PictureView(Widget):
    """Shows a picture that was painted for this widget's size."""

    DEFAULT_CSS = "PictureView { background: $surface; color: $foreground; &:ansi { background: ansi_default; } }"

    _picture: Picture | None = None

    def show(self, picture: Picture | None) -> None:
        self._picture = picture
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of the picture, with stand-ins for what the terminal lacks."""
        base, width = self.visual_style.rich_style, self.size.width
        if self._picture is None or y >= self._picture.height:
            return Strip.blank(width, base)
        mode = markers_of(self.app)
        cells = self._picture.rows[y]
        return Strip([Segment(glyph(text, mode), base + style) for text, style in cells if text]).adjust_cell_length(
            width, base
        )

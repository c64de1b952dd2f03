"""A painted chart as a widget that only shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from srm_explorer.tui.charts.picture import Mode, Picture


class PictureView(Widget):
    """Shows text with colour codes, as the painters of `srm_explorer.tui.charts` return it, cell by cell."""

    DEFAULT_CSS = "PictureView { background: $surface; color: $foreground; &:ansi { background: ansi_default; } }"

    _picture: Picture | None = None

    def show(self, painted: str) -> None:
        """Show a chart that was painted for this widget's size; an empty text shows nothing."""
        from srm_explorer.tui.charts.picture import Picture

        width, height = self.size
        self._picture = Picture.from_ansi(painted, width, height) if painted and width and height else None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of the chart, with stand-ins for what the terminal lacks."""
        from rich.segment import Segment

        from srm_explorer.tui.charts.picture import sign

        base = self.visual_style.rich_style
        width = self.size.width
        if self._picture is None or y >= self._picture.height:
            return Strip.blank(width, base)
        mode: Mode = getattr(getattr(self.app, "settings", None), "markers", "braille")
        cells = self._picture.rows[y]
        return Strip([Segment(sign(text, mode), base + style) for text, style in cells if text]).adjust_cell_length(
            width, base
        )

"""A painted chart as a widget that only shows it."""

from __future__ import annotations

from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.widgets.chart import CellView


class PictureView(CellView):
    """Shows a picture that was painted for this widget's size."""

    DEFAULT_CSS = "PictureView { background: $surface; color: $foreground; &:ansi { background: ansi_default; } }"

    def show(self, picture: Picture | None) -> None:
        """Show a picture, or nothing."""
        self.put(picture or Picture.blank(0, 0))

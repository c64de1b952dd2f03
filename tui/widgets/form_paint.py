"""The lines of a form as they are drawn."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui.state.form_cursor import FormCursor
from tui.state.glyphs import glyphs_of
from tui.widgets.component_style import component_style
from tui.widgets.form_layout import Layout, lay_out

LOOKS = ("label", "value", "quiet", "pending", "problem", "reason", "section", "choice", "chosen", "cursor")


class FormPaint(Widget):
    """Draws rows, as many lines high as they need."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"form--{name}" for name in LOOKS}
    DEFAULT_CSS = """
    FormPaint {
        layer: lines;
        width: 1fr;
        height: auto;
        & > .form--label { color: $text-muted; }
        & > .form--quiet { color: $text-muted; }
        & > .form--pending { color: $text-warning; }
        & > .form--problem { color: $text-error; text-style: bold; }
        & > .form--reason { color: $text-error; }
        & > .form--section { color: $text-muted; }
        & > .form--chosen { text-style: bold; }
        & > .form--cursor { background: $boost; }
        &:focus > .form--cursor { background: $primary-muted; text-style: bold; }
        &:ansi {
            & > .form--label, & > .form--quiet, & > .form--section { color: ansi_default; }
            & > .form--pending { color: ansi_yellow; }
            & > .form--problem, & > .form--reason { color: ansi_red; }
            & > .form--cursor { background: ansi_default; text-style: underline; }
            &:focus > .form--cursor { background: ansi_default; text-style: reverse; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.cursor = FormCursor()
        self._layout: tuple[int, Layout] | None = None
        self.looks: dict[str, Style] = {}

    @property
    def width(self) -> int:
        """Cells of a line."""
        return self.scrollable_content_region.width

    def place_of(self, key: str) -> tuple[int, int] | None:
        """The cell where the value of a row begins."""
        index = self.cursor.find(key)
        if index is None:
            return None
        return self.lay().value_x[index], self.lay().first[index]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Number of lines."""
        return max(1, len(self.lay(width).lines))

    def render_line(self, y: int) -> Strip:
        """Paint one line."""
        lines = self.lay().lines
        segments: list[Segment] = []
        x = 0
        for part in lines[y] if y < len(lines) else ():
            if part.x > x:
                segments.append(Segment(" " * (part.x - x), self.look("")))
            segments.append(Segment(part.text, self.look(part.look)))
            x = part.x + Segment(part.text).cell_length
        return Strip(segments).adjust_cell_length(self.size.width, self.look(""))

    def notify_style_update(self) -> None:
        """Forget looks that a theme or the focus has changed."""
        self.looks.clear()
        super().notify_style_update()

    def draw(self) -> None:
        """Draw everything anew."""
        before = self._layout
        self._layout = None
        # Where the number of lines is the same, only this widget is painted again and nothing around it is placed anew.
        self.refresh(layout=before is None or len(before[1].lines) != len(self.lay(before[0]).lines))

    def lay(self, width: int | None = None) -> Layout:
        """The lines for a width, the present one if none is given; kept until something changes."""
        cells = self.width if width is None else width
        if self._layout is None or self._layout[0] != cells:
            at = self.cursor
            told = lay_out(at.rows, cells, glyphs_of(self.app), cursor=at.index, opened=at.opened, choice=at.choice)
            self._layout = (cells, told)
        return self._layout[1]

    def look(self, name: str) -> Style:
        """The style of parts with that look, several by several words."""
        if name not in self.looks:
            style = self.visual_style.rich_style
            for one in name.split():
                style += component_style(self, f"form--{one}")
            self.looks[name] = style
        return self.looks[name]

"""The lines of a form as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.widgets.form_layout import FormCursor, Layout, lay_out, wrapped
from srm_explorer.tui.widgets.table_render import component_style, fit, one_line

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


Tone = Literal["plain", "note", "problem"]

_WIDE_FROM = 52
_TALL_FROM = 16


class FormFoot(Widget):
    """Two parts of fixed height, so that nothing above them moves: a hint, and facts in a rule."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"foot--plain", "foot--note", "foot--problem", "foot--facts"}
    DEFAULT_CSS = """
    FormFoot {
        height: auto;
        & > .foot--plain { color: $text-muted; }
        & > .foot--note { color: $text-accent; }
        & > .foot--problem { color: $text-error; }
        & > .foot--facts { color: $text; }
        &:ansi {
            & > .foot--plain, & > .foot--note, & > .foot--facts { color: ansi_default; }
            & > .foot--problem { color: ansi_red; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._hint, self._tone = "", "plain"
        self._facts: tuple[str, ...] = ()

    def set_hint(self, text: str, tone: Tone = "plain") -> None:
        """Say a line; longer ones are cut."""
        if (text, tone) != (self._hint, self._tone):
            self._hint, self._tone = text, tone
            self.refresh()

    def set_facts(self, facts: Sequence[str]) -> None:
        """Show other facts."""
        if tuple(facts) != self._facts:
            self._facts = tuple(facts)
            self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Lines of both parts: more hints where it is high, more facts where it is narrow."""
        return self._hint_lines(container.height) + self._fact_lines(width)

    def render_line(self, y: int) -> Strip:
        """Paint one line."""
        width, height = self.size
        facts = self._fact_lines(width)
        hints = max(0, height - facts)
        if y < hints:
            return self._strip(self._hints(width, hints)[y], self._tone)
        return self._strip(self._told(width, facts)[y - hints], "facts")

    def _hint_lines(self, height: int) -> int:
        return 2 if height >= _TALL_FROM else 1

    def _fact_lines(self, width: int) -> int:
        return 2 if width < _WIDE_FROM else 1

    def _hints(self, width: int, count: int) -> list[str]:
        glyphs = glyphs_of(self.app)
        lines = wrapped(one_line(self._hint), max(1, width - 2))
        if len(lines) > count:
            lines = [
                *lines[: count - 1],
                fit(" ".join(lines[count - 1 :]), max(1, width - 2), ellipsis=glyphs.ellipsis),
            ]
        return [f" {line}" for line in lines] + [""] * (count - len(lines))

    def _told(self, width: int, count: int) -> list[str]:
        """Facts on lines, as many on each as fit, the first in a rule that parts them from the form."""
        glyphs = glyphs_of(self.app)
        lines: list[str] = []
        for fact in self._facts:
            joined = f"{lines[-1]} {glyphs.separator} {fact}" if lines else fact
            if lines and (cell_len(joined) <= width - 4 or len(lines) == count):
                lines[-1] = joined
            else:
                lines.append(fact)
        first, *rest = lines or [""]
        head = f"{glyphs.rule} {first} " if first else ""
        ruled = head + glyphs.rule * max(0, width - cell_len(head))
        return [ruled, *(f"  {line}" for line in rest), *[""] * (count - 1 - len(rest))]

    def _strip(self, text: str, look: str) -> Strip:
        width = self.size.width
        style: Style = self.visual_style.rich_style + component_style(self, f"foot--{look}")
        return Strip([Segment(fit(text, width, ellipsis=glyphs_of(self.app).ellipsis), style)], width)

"""The foot of a form: a line about the highlighted row, and what the whole will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui.state.glyphs import glyphs_of
from tui.widgets.component_style import component_style
from tui.widgets.form_layout import wrapped
from tui.widgets.one_line import fit, one_line

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

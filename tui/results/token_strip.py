"""A neuron's activation at every token: bars, digits on a scale of colours, and the number under the cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.table_render import fit, one_line

if TYPE_CHECKING:
    from srm_explorer.tui.results.run_detail import TokenSeries


LEVELS = 10
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
# From dark blue to yellow by way of green: in order for every colour vision, and in grey.
HEAT = (17, 18, 24, 30, 36, 71, 107, 143, 179, 221)
LIGHT_FROM = 3
"""The level from which digits are black on their colour."""
LABEL = 10
"""Cells before the first token."""
NOT_FINITE = "?"


class TokenStrip(Widget):
    """Rows of cells, a token each: bars and digits 0 to 9 of the run, digits of the baseline, and a place to stand."""

    DEFAULT_CSS = """
    TokenStrip { height: auto; color: $foreground; }
    """

    cursor: reactive[int] = reactive(0, init=False)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._series: TokenSeries | None = None
        self._levels: list[int | None] = []
        self._base_levels: list[int | None] = []
        self._range = (math.nan, math.nan)
        self._message = ""

    def show(self, series: TokenSeries | None, message: str = "") -> None:
        """Show a run's activations; None shows a line that says why there are none."""
        self._series, self._message = series, message
        if series is not None:
            values, baseline = series.values.tolist(), series.baseline.tolist()
            self._range = span(values + baseline)
            self._levels = [level(value, *self._range) for value in values]
            self._base_levels = [level(value, *self._range) for value in baseline]
        self.cursor = min(self.cursor, max(0, self.count - 1))
        self.refresh(layout=True)

    @property
    def count(self) -> int:
        """Tokens that can be stood on: of the run or, where it is longer, of its baseline."""
        return 0 if self._series is None else max(len(self._levels), len(self._base_levels))

    def move(self, tokens: int) -> None:
        self.cursor = max(0, min(self.cursor + tokens, self.count - 1))

    def can_move(self, tokens: int) -> bool:
        """Whether there is a token before or after the one under the cursor."""
        return self.cursor > 0 if tokens < 0 else self.cursor < self.count - 1

    def reading(self) -> str:
        """The token under the cursor with its number, and the baseline's."""
        from srm_explorer.engine.figures import three_digits

        series = self._series
        if series is None:
            return self._message
        parts: list[str] = []
        for name, fed, values in (("", series.fed, series.values), ("baseline ", series.baseline_fed, series.baseline)):
            if self.cursor < len(fed):
                token, value = fed[self.cursor], three_digits(float(values[self.cursor]))
                same_position = (
                    bool(name) and self.cursor < len(series.fed) and token.position == series.fed[self.cursor].position
                )
                caption = "" if same_position else f"{token.caption} "
                parts.append(f"{name}{caption}(id {token.token_id}) {value}")
            elif len(fed):
                parts.append(f"{name or 'this run '}ends before")
        return " · ".join(parts)

    def legend(self) -> str:
        from srm_explorer.engine.figures import three_digits

        series = self._series
        if series is None:
            return ""
        low, high = (three_digits(value) for value in self._range)
        scale = f"{low} everywhere" if low == high else f"0 is {low}, {LEVELS - 1} is {high}"
        shared = " · one scale with the baseline" if len(series.baseline) else ""
        return f"{series.coordinate.caption} by token · {scale}{shared}"

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if self._series is None:
            return len(self._wrapped(width))
        return 2 + len(self._lines()) * max(1, math.ceil(self.count / self._per_row(width)))

    def watch_cursor(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        width, lines = self.size.width, len(self._lines())
        row, line = divmod(event.y - 1, lines)
        column = (event.x - LABEL) // self._cell(width)
        if event.y >= 1 and row >= 0 and 0 <= column < self._per_row(width):
            at = row * self._per_row(width) + column
            if at < self.count and line >= 0:
                self.cursor = at

    def render_line(self, y: int) -> Strip:
        """Paint the legend, the reading at the bottom, or a line of the tokens between."""
        width = self.size.width
        look = self.visual_style.rich_style
        if self._series is None or y == 0 or y == self.size.height - 1:
            message = self._wrapped(width)
            text = message[y] if y < len(message) else self.legend() if y == 0 else self.reading()
            bold = Style() if y == 0 else Style(bold=True)
            return Strip([Segment(fit(text, width, "left", glyphs_of(self.app).ellipsis), look + bold)])
        lines = self._lines()
        row, line = divmod(y - 1, len(lines))
        first = row * self._per_row(width)
        segments = [Segment(fit(lines[line] if row == 0 else "", LABEL), look)]
        cell = self._cell(width)
        for at in range(first, min(first + self._per_row(width), self.count)):
            text, style = self._sign(lines[line], at)
            segments.append(Segment(fit(text, cell), look + style))
        return Strip(segments).crop_extend(0, width, look).simplify()

    def _wrapped(self, width: int) -> list[str]:
        return wrapped(one_line(self._message), max(1, width), hyphens=True) if self._series is None else []

    def _lines(self) -> Sequence[str]:
        return ("bars", "this run", "baseline", "") if self._base_levels else ("bars", "this run", "")

    def _sign(self, line: str, at: int) -> tuple[str, Style]:
        here = Style(reverse=True) if at == self.cursor else Style()
        if line == "":
            signs = glyphs_of(self.app)
            return (signs.up, Style(bold=True)) if at == self.cursor else ("", Style())
        levels = self._base_levels if line == "baseline" else self._levels
        if at >= len(levels):
            return "", Style()
        known = levels[at]
        if known is None:
            return NOT_FINITE, here
        if line == "bars":
            bars = ASCII_BARS if glyphs_of(self.app).up == "^" else BARS
            return bars[known * len(bars) // LEVELS], here
        ink = "black" if known >= LIGHT_FROM else "bright_white"
        return str(known), Style(color=ink, bgcolor=Color.from_ansi(HEAT[known]), underline=at == self.cursor)

    def _cell(self, width: int) -> int:
        return 2 if self.count * 2 <= width - LABEL else 1

    def _per_row(self, width: int) -> int:
        return max(1, (width - LABEL) // self._cell(width))


def span(values: Sequence[float]) -> tuple[float, float]:
    """The smallest and the largest of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (math.nan, math.nan)


def level(value: float, low: float, high: float) -> int | None:
    """Where a value stands between two others, 0 to 9; None for one that is not finite."""
    if not math.isfinite(value):
        return None
    # Halved first: the difference of two huge numbers would overflow.
    room = high / 2 - low / 2
    return 0 if room <= 0 else min(LEVELS - 1, int((value / 2 - low / 2) / room * LEVELS))

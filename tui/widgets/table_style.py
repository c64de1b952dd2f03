"""How the cells of a table look, on the themes and on the terminal's own colours."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from tui.widgets.component_style import component_style

LOOKS = ("dim", "bold", "good", "warn", "bad", "lit", "base", "accent")

TABLE_CSS = """
LineTable {
    background: $surface;
    color: $foreground;
    scrollbar-size: 1 1;
    scrollbar-gutter: stable;
    & > .line-table--header { text-style: bold; color: $text-muted; }
    & > .line-table--cursor { background: $boost; }
    &:focus > .line-table--cursor { background: $primary-muted; text-style: bold; }
    & > .line-table--dim { color: $text-muted; }
    & > .line-table--bold { text-style: bold; }
    & > .line-table--good { color: $text-success; }
    & > .line-table--warn { color: $text-warning; }
    & > .line-table--bad { color: $text-error; }
    & > .line-table--lit { color: $text-warning; text-style: bold; }
    & > .line-table--base { color: $text-primary; }
    & > .line-table--accent { color: $text-accent; }
    &:ansi {
        background: ansi_default;
        color: ansi_default;
        & > .line-table--header { color: ansi_default; text-style: bold underline; }
        & > .line-table--cursor { background: ansi_default; text-style: underline; }
        &:focus > .line-table--cursor { background: ansi_default; text-style: reverse; }
        & > .line-table--dim { color: ansi_default; text-style: dim; }
        & > .line-table--good { color: ansi_green; }
        & > .line-table--warn { color: ansi_yellow; }
        & > .line-table--bad { color: ansi_red; }
        & > .line-table--lit { color: ansi_yellow; }
        & > .line-table--base { color: ansi_blue; }
        & > .line-table--accent { color: ansi_magenta; }
    }
}
"""


class Looks:
    """The styles of a table's cells by name, kept until the theme or the focus changes."""

    def __init__(self, table: Widget) -> None:
        self._table = table
        self._known: dict[tuple[str, bool], Style] = {}

    def clear(self) -> None:
        """Ask the theme again."""
        self._known.clear()

    def plain(self, name: str) -> Style:
        """How a cell looks; "" is a plain one."""
        return self._style(name, False)

    def on_cursor(self, name: str) -> Style:
        """How it looks in the highlighted row."""
        return self._style(name, True)

    def _style(self, name: str, on_cursor: bool) -> Style:
        style = self._known.get((name, on_cursor))
        if style is None:
            style = self._table.visual_style.rich_style
            for part in (name, "cursor" if on_cursor else ""):
                if part:
                    style += component_style(self._table, f"line-table--{part}")
            self._known[name, on_cursor] = style
        return style

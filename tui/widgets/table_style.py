"""How the cells of a table look, on the themes and on the terminal's own colours."""

from __future__ import annotations

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

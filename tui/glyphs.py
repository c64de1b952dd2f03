"""The few signs the screen draws that a terminal's font may lack, with a stand-in in ASCII for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Glyphs:
    """Signs by what they mean; each stand-in has the width of the sign that the same layout needs.

    Attributes:
        checked: a selected row.
        partly: a set of which a part is selected.
        unchecked: a row that is not selected.
        cursor: stands before the highlighted row.
        lit: a run under the spotlight.
        ellipsis: where a text was cut.
        left, right, up, down: directions and scroll hints.
        choice: a field that offers a list.
        dot: something is not saved.
        warning: comes before a warning.
        bar_full, bar_empty: cells of a progress bar.
        rule: one cell of a horizontal line.
        separator: between facts on one line.
        times: a cross between two directions.
        minus: comes before a negative number.
    """

    checked: str = "☑"
    partly: str = "◪"
    unchecked: str = "☐"
    cursor: str = "▸"
    lit: str = "●"
    ellipsis: str = "…"
    left: str = "←"
    right: str = "→"
    up: str = "↑"
    down: str = "↓"
    choice: str = "▾"
    dot: str = "●"
    warning: str = "⚠"
    bar_full: str = "▓"
    bar_empty: str = "░"
    rule: str = "─"
    separator: str = "·"
    times: str = "×"
    minus: str = "−"


UNICODE = Glyphs()
ASCII = Glyphs(
    checked="[x]",
    partly="[~]",
    unchecked="[ ]",
    cursor=">",
    lit="*",
    ellipsis="...",
    left="<",
    right=">",
    up="^",
    down="v",
    choice="v",
    dot="*",
    warning="!",
    bar_full="#",
    bar_empty="-",
    rule="-",
    separator="|",
    times="x",
    minus="-",
)


def glyphs(mode: str = "unicode") -> Glyphs:
    """The signs of a mode, "unicode" or "ascii"; anything else counts as "unicode"."""
    return ASCII if mode == "ascii" else UNICODE


def glyphs_of(app: object) -> Glyphs:
    """The signs that an app was told to use; those of Unicode where it says nothing."""
    chosen = getattr(app, "glyphs", None)
    return chosen if isinstance(chosen, Glyphs) else UNICODE

"""Texts that terminals give different numbers of cells: what comes after one stands where it would in any terminal.

Characters that would act on the terminal, wherever they come from, never reach it.
"""

from __future__ import annotations

import re

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual.strip import Strip

from srm_explorer.tui.terminal.textual_patches import fingerprint
from srm_explorer.tui.text import UNSURE

# Of the source of `Strip.render` that this file stands in for.
KNOWN = frozenset({"2ba7a4913a72125d"})

_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control and direction signs, which have no cells: without them the rest stands where it was."""

_SAVE, _RESTORE = "\x1b7", "\x1b8"


def install() -> bool:
    """Replace the method; False, and nothing is changed, where it is not the one that is known."""
    if fingerprint(_ORIGINAL) in KNOWN:
        Strip.render = _render
        return True
    return False


def _render(self: Strip, console: Console) -> str:
    """Do what the original does, but go on after such a text by cells counted from where it began.

    Its cells, and blank ones after it, are cleared first, since it may fill fewer of them than it is given.
    """
    if self._render_cache is not None:
        return self._render_cache
    colors = console._color_system or ColorSystem.TRUECOLOR

    def painted(text: str, style: Style | None) -> str:
        return text if style is None else self.render_style(style, text, color_system=colors)

    parts: list[str] = []
    segments = list(self._segments)
    at = 0
    while at < len(segments):
        text, style, _ = segments[at]
        at += 1
        if not text.isprintable():
            text = _ACTING.sub("", text)
        if text.isascii() or UNSURE.search(text) is None:
            parts.append(painted(text, style))
            continue
        first, cells = at - 1, segments[at - 1].cell_length
        while at < len(segments) and not segments[at].text.strip(" "):
            cells += segments[at].cell_length
            at += 1
        blanks = [painted(" " * segment.cell_length, segment.style) for segment in segments[first:at]]
        forward = f"\x1b[{cells}C" if cells else ""
        # Some terminals keep what was saved only until it is restored.
        parts += [_SAVE, *blanks, _RESTORE, _SAVE, painted(text.rstrip(" "), style), _RESTORE, forward]
    self._render_cache = "".join(parts)
    return self._render_cache


_ORIGINAL = Strip.render

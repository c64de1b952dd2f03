"""Charts as pictures on the command line, where the terminal shows pictures."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from srm_explorer.engine import ExplorerError
from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.cli.output import drawn, note
from srm_explorer.tui.settings import load_settings
from srm_explorer.tui.terminal.graphics import MISSING, NONE, Graphics, asked, asks, is_extra_there, sequence

if TYPE_CHECKING:
    from srm_explorer.engine.figures.paper import Drawn


def chart(cells: Callable[[], Picture], figure: Callable[[], Drawn], width: int, height: int) -> str:
    """A chart as the terminal shows it best: as a picture, else in characters.

    Args:
        cells: the chart in characters.
        figure: what it shows.
        width, height: columns and rows that it fills.
    """
    graphics = terminal_graphics()
    picture = "" if graphics is None else _picture(graphics, figure(), width, height)
    return picture or drawn(cells())


@functools.cache
def terminal_graphics() -> Graphics | None:
    """What the terminal shows, asked once; None where charts are drawn in characters."""
    choice = load_settings().pictures
    if not (sys.stdin.isatty() and sys.stdout.isatty() and asks(choice)):
        return None
    if os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        # In the background, whoever reads the terminal is stopped.
        return None
    known = asked() if is_extra_there() else None
    if known is not None and known.way is not None:
        return known
    if choice == "on":
        # Who asks for pictures is told why there are none; the charts are there all the same.
        note(str(MISSING if known is None else NONE))
    return None


def _picture(graphics: Graphics, figure: Drawn, width: int, height: int) -> str:
    """A picture, and the cursor below it; empty where there is no room for one."""
    # matplotlib takes a second, which only a picture is worth.
    from srm_explorer.tui.charts.still import still_of

    assert graphics.way is not None
    rows = min(height, shutil.get_terminal_size((80, 25)).lines - 1)
    cell = graphics.cell or graphics.USUAL_CELL
    try:
        pixels = still_of(figure, width * cell[0], rows * cell[1], graphics.background or (0, 0, 0))
    except ExplorerError:
        return ""
    if pixels is None or rows < 1:
        return ""
    picture = sequence(graphics.way, pixels, width, rows, 1 + secrets.randbelow(2**31))
    # Room for it first: a terminal that scrolls amid a picture leaves the cursor wherever it likes.
    return "\n" * rows + f"\x1b[{rows}A\x1b7{picture}\x1b8\x1b[{rows}B"

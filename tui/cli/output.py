"""What commands print: lines, tables and JSON on standard output, notes on standard error."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.lines import file_size as file_size
from srm_explorer.engine.lines import note as note
from srm_explorer.engine.lines import visible as visible
from srm_explorer.tui.cli.json_fields import PRINTED

if TYPE_CHECKING:
    # Most commands paint nothing, and rich takes its time.
    from srm_explorer.tui.charts.picture import Picture

GAP = "  "
NARROWEST = 12
"""Columns a text is never wrapped below."""

SMALLEST, LARGEST = 20, 1000
"""Columns or rows a chart may be asked to take."""


def say(*lines: str) -> None:
    """Print lines on standard output as they are; texts from outside belong through `visible` first."""
    _write("".join(f"{line}\n" for line in lines))


def flush() -> None:
    """Send what was printed on its way; ExplorerError where it cannot be written, BrokenPipeError where none reads."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from None


def say_json(data: Mapping[str, Any], kind: str) -> None:
    """Print the one object of `--json`.

    Args:
        kind: of `PRINTED`, which tells the fields to people and programs; the tests hold every object to it.
    """
    _write(f"{PRINTED[kind].text(data)}\n")


def when(instant: str) -> str:
    """An instant, as sessions hold it, in local time to the minute; an unreadable one as it stands."""
    try:
        return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return visible(instant)


def screen_size(width: int | None = None, height: int | None = None) -> tuple[int, int]:
    """Columns and rows to draw in: those asked for, else the terminal's less the line of the prompt, else 80x24."""
    columns, rows = shutil.get_terminal_size((80, 25))
    columns = max(SMALLEST, min(LARGEST, columns))
    rows = max(SMALLEST // 2, min(LARGEST, rows - 1))
    return width or columns, height or rows


def table_width(stream: TextIO | None = None) -> int | None:
    """The width tables are wrapped to: the terminal's; None on a pipe, where a row stays a line for other programs."""
    return screen_size()[0] if _is_terminal(stream or sys.stdout) else None


def colour_wanted(stream: TextIO | None = None) -> bool:
    """Whether to print colours: on a terminal that can, unless NO_COLOR is set; elsewhere only with FORCE_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return _is_terminal(stream or sys.stdout) and os.environ.get("TERM", "") not in ("", "dumb")


def drawn(chart: Picture) -> str:
    return chart.ansi() if colour_wanted() else chart.text()


def bold(text: str, *, colour: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if colour else text


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[int] = (),
    width: int | None = None,
    flexible: int = -1,
) -> list[str]:
    """Lay out rows in aligned columns.

    Args:
        header: a name a column.
        rows: [row][column] texts, as long as the header.
        right: columns aligned to the right, numbers mostly.
        width: columns of the screen; None for any.
        flexible: the column that continues on further lines where a row would be wider than the screen; the words of
            the header, then other columns of text, do where that is not enough.

    Returns:
        Lines without trailing spaces, the header first.
    """
    cells = [[visible(text) for text in row] for row in rows]
    return _laid_out([list(header)], cells, set(right), width, flexible % len(header))


def narrowest_heading(title: str) -> int:
    """Columns that a heading takes where its words stand below each other."""
    from rich.cells import cell_len

    return max(map(cell_len, title.split()), default=0)


def fields(rows: Iterable[tuple[str, str]], *, width: int | None = None) -> list[str]:
    """Lay out names and texts in two columns, as `table` does."""
    cells = [[name, visible(text)] for name, text in rows]
    return _laid_out([], cells, set(), width, 1) if cells else []


def count(number: int, noun: str) -> str:
    """A count with its noun: "1 run", "1,204 runs"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _laid_out(
    head: Sequence[Sequence[str]], body: Sequence[Sequence[str]], numbers: set[int], width: int | None, flexible: int
) -> list[str]:
    from rich.cells import cell_len

    from srm_explorer.tui.text import wrapped

    wide = _widths(head, body, numbers, width, flexible)
    lines: list[str] = []
    for row in (*head, *body):
        parts = [wrapped(text, room) if cell_len(text) > room else [text] for text, room in zip(row, wide, strict=True)]
        for line in itertools.zip_longest(*parts, fillvalue=""):
            padded = [
                " " * (wide[i] - cell_len(text)) + text if i in numbers else text + " " * (wide[i] - cell_len(text))
                for i, text in enumerate(line)
            ]
            lines.append(GAP.join(padded).rstrip())
    return lines


def _widths(
    head: Sequence[Sequence[str]], body: Sequence[Sequence[str]], numbers: set[int], width: int | None, flexible: int
) -> list[int]:
    """[column] columns of the screen; those that no room can be made for stay as wide as they are."""
    from rich.cells import cell_len

    columns = range(len((*head, *body)[0]))
    wide = [max(cell_len(row[i]) for row in (*head, *body)) for i in columns]
    if width is None:
        return wide
    room = width - len(GAP) * (len(wide) - 1)
    if sum(wide) - max(0, wide[flexible] - NARROWEST) > room:
        wide = [
            max([*(narrowest_heading(row[i]) for row in head), *(cell_len(row[i]) for row in body)]) for i in columns
        ]
    others = sorted((i for i in columns if i not in numbers and i != flexible), key=lambda i: -wide[i])
    for column in (flexible, *others):
        over = max(0, sum(wide) - room)
        wide[column] = min(wide[column], max(NARROWEST, wide[column] - over))
    return wide


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from None


def unwritten(error: OSError) -> ExplorerError | None:
    """What keeps the output from being written by others than `say`, a library's help say; None for other errors."""
    is_of_output = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    return _unwritable(error) if is_of_output else None


def _unwritable(error: OSError) -> ExplorerError:
    what = f"the output cannot be written: {(error.strerror or str(error)).lower()}"
    return ExplorerError(what, remedy="send it elsewhere")


def _is_terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty()

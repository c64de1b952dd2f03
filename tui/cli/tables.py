"""What studies found, printed: as text that fits the terminal, as CSV, or as the one JSON object of `--json`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine.figures import TableFigure, tables_as_csv
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.tui.cli.output import (
    GAP,
    NARROWEST,
    bold,
    colour_wanted,
    count,
    say,
    say_json,
    table,
    table_width,
    visible,
)

Format = Literal["text", "csv", "json"]
ON_A_PIPE = 120
"""Columns of a line of text where no terminal tells; other programs read CSV or JSON."""


def say_tables(
    tables: Sequence[TableFigure],
    *,
    form: Format = "text",
    file: Path | None = None,
    most: int | None = None,
    further: Mapping[str, Any] | None = None,
) -> None:
    """Print tables.

    Args:
        tables: one after another.
        form: CSV holds every row, numbers as they were computed, one block a table with an empty line between.
        file: write the CSV there instead, whatever the form; the form is then printed as well.
        most: rows of each table that text shows; the others are counted.
        further: fields of the JSON object beside the tables.

    Raises:
        ExplorerError: the file cannot be written.
    """
    if file is not None:
        write_atomic(file, tables_as_csv(tables).encode())
    if form == "json":
        say_json({**(further or {}), "tables": [_plain(one) for one in tables]})
    elif form == "csv" and file is None:
        say(tables_as_csv(tables).rstrip("\n"))
    elif form == "text":
        told: set[str] = set()
        for index, one in enumerate(tables):
            say(*([""] if index else []), *_as_text(one, most, told))
            told.update(one.notes)


def _as_text(one: TableFigure, most: int | None, told: Collection[str]) -> list[str]:
    rows = range(len(one.rows) if most is None else min(most, len(one.rows)))
    columns = _columns_that_fit(one, rows)
    header = [one.columns[column].title for column in columns]
    right = [index for index, column in enumerate(columns) if one.columns[column].shown != "text"]
    texts = [[one.shown(row, column) for column in columns] for row in rows]
    flexible = next((i for i in reversed(range(len(header))) if i not in right), -1)
    lines = [bold(visible(one.title), colour=colour_wanted())]
    lines += table(header, texts, right=right, width=table_width(), flexible=flexible) if texts else ["(no rows)"]
    if len(one.rows) > len(rows):
        lines.append(f"… and {len(one.rows) - len(rows):,} more rows; --csv FILE writes all")
    if len(columns) < len(one.columns):
        lines.append(f"{count(len(one.columns) - len(columns), 'column')} more in --csv and --json")
    return [*lines, *(f"  {visible(note)}" for note in one.notes if note not in told)]


def _columns_that_fit(one: TableFigure, rows: range) -> list[int]:
    """Those a line has room for: the most readily dropped go first, the rightmost of equals; on a pipe too."""
    from rich.cells import cell_len

    columns = list(range(len(one.columns)))
    wide = [
        max([cell_len(one.columns[column].title), *(cell_len(visible(one.shown(row, column))) for row in rows)])
        for column in columns
    ]
    # A text continues on further lines where there is no room for it.
    wide = [
        min(width, NARROWEST) if column.shown == "text" else width
        for column, width in zip(one.columns, wide, strict=True)
    ]
    room = table_width() or ON_A_PIPE
    while sum(wide[column] + len(GAP) for column in columns) - len(GAP) > room:
        dropped = max(columns, key=lambda column: (one.columns[column].keep, column))
        if not one.columns[dropped].keep:
            break
        columns.remove(dropped)
    return columns


def _plain(one: TableFigure) -> dict[str, Any]:
    data = one.to_dict()
    return {key: data[key] for key in ("name", "title", "rows", "notes")}

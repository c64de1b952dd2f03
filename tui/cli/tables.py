"""What studies found, printed: as text that fits the terminal, as CSV, or as the one JSON object of `--json`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine.analyses import study_figure, tables_in
from srm_explorer.engine.figures import TableFigure, exploratory_sidecar, tables_as_csv
from srm_explorer.engine.figures.glossary import explain, glossary
from srm_explorer.engine.figures.paper import ColumnWidth
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.session import Session
from srm_explorer.tui.cli.figures import FigureFile
from srm_explorer.tui.cli.output import (
    GAP,
    NARROWEST,
    bold,
    colour_wanted,
    count,
    narrowest_heading,
    note,
    say,
    say_json,
    table,
    table_width,
    visible,
)
from srm_explorer.tui.text import wrapped

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
    kind: str = "tables",
) -> None:
    """Print tables.

    Args:
        tables: one after another.
        form: CSV holds every row, numbers as they were computed, one block a table with an empty line between.
        file: write the CSV there instead, whatever the form; the form is then printed as well.
        most: rows of each table that text shows; the others are counted.
        further: fields of the JSON object beside the tables.
        kind: of that object, as `say_json` takes it.

    Raises:
        ExplorerError: the file cannot be written.
    """
    if file is not None:
        write_atomic(file, tables_as_csv(tables).encode("utf-8", "backslashreplace"))
        if sidecar := exploratory_sidecar({figure.name: figure.notes for figure in tables}):
            write_atomic(file.with_name(f"{file.name}.json"), sidecar)
    if form == "json":
        exploratory = {"exploratory": True} if any(figure.is_exploratory for figure in tables) else {}
        say_json({**(further or {}), **exploratory, "tables": [_plain(figure) for figure in tables]}, kind)
    elif form == "csv" and file is None:
        say(tables_as_csv(tables).rstrip("\n"))
    elif form == "text":
        printed: set[str] = set()
        for index, figure in enumerate(tables):
            say(*([""] if index else []), *_as_text(figure, most, printed))
            printed.update(figure.notes)


@dataclass(frozen=True)
class Output:
    """Where what a study found of a session goes.

    Attributes:
        csv: file for every row of its tables.
        as_json: whether it is printed as one JSON object.
        figure: file for its chart.
    """

    csv: Path | None
    as_json: bool
    figure: FigureFile | None = None

    @classmethod
    def of(cls, csv: Path | None, as_json: bool, figure: Path | None, column: ColumnWidth) -> Output:
        """As a command's options name it; errors as `FigureFile.of`."""
        return cls(csv, as_json, FigureFile.of(figure, column))

    def tell(
        self, session: Session, findings: dict[str, Any], what: str, *, most: int | None = None, **further: Any
    ) -> None:
        """Print the tables; where a file is named their CSV goes there, and a note says `what` is in it.

        Args:
            most: rows of each table that text shows.
            further: fields of the JSON object beside the tables and the session's name.
        """
        form = "json" if self.as_json else "text"
        told = {"session": session.name, **further}
        say_tables(tables_in(findings), form=form, file=self.csv, most=most, further=told)
        if self.csv is not None and not self.as_json:
            note(f"{what} written to {visible(str(self.csv))}")

    def draw(self, session: Session, findings: dict[str, Any], what: str) -> None:
        """Write the chart of the findings where a file is named for it: `what` of the session."""
        if self.figure is not None:
            shown = study_figure(session, tables_in(findings))
            self.figure.write(shown, f"{what} of {session.name}", quiet=self.as_json)


def _as_text(figure: TableFigure, most: int | None, printed: Collection[str]) -> list[str]:
    rows = range(len(figure.rows) if most is None else min(most, len(figure.rows)))
    columns = _columns_that_fit(figure, rows)
    header = [figure.columns[column].title for column in columns]
    right = [index for index, column in enumerate(columns) if figure.columns[column].shown != "text"]
    texts = [[figure.shown(row, column) for column in columns] for row in rows]
    flexible = next((i for i in reversed(range(len(header))) if i not in right), -1)
    lines = [bold(visible(figure.title), colour=colour_wanted())]
    lines += table(header, texts, right=right, width=table_width(), flexible=flexible) if texts else ["(no rows)"]
    if len(figure.rows) > len(rows):
        lines.append(f"… and {len(figure.rows) - len(rows):,} more rows; --csv FILE writes all")
    if len(columns) < len(figure.columns):
        lines.append(f"{count(len(figure.columns) - len(columns), 'column')} more in --csv and --json")
    for text in figure.notes:
        if text not in printed:
            lines += [f"  {line}" for line in _lines_of(visible(text))]
    return lines


def _lines_of(text: str) -> list[str]:
    """A note in lines that fit a terminal, the later ones set in; on a pipe one line, as other programs read it."""
    width = table_width()
    return wrapped(text, max(20, width - 2), "  ") if width else [text]


def _columns_that_fit(figure: TableFigure, rows: range) -> list[int]:
    """Those a line has room for: the most readily dropped go first, the rightmost of equals; on a pipe too.

    Of an interval both ends go, or none.
    """
    from rich.cells import cell_len

    columns = list(range(len(figure.columns)))
    width = table_width()
    # A heading of several words stands in several lines where there is no room for it in one.
    heads = [narrowest_heading(column.title) if width else cell_len(column.title) for column in figure.columns]
    wide = [max([heads[column], *(cell_len(visible(figure.shown(row, column))) for row in rows)]) for column in columns]
    # A text continues on further lines where there is no room for it.
    wide = [
        min(width, NARROWEST) if column.shown == "text" else width
        for column, width in zip(figure.columns, wide, strict=True)
    ]
    room = width or ON_A_PIPE
    while sum(wide[column] + len(GAP) for column in columns) - len(GAP) > room:
        dropped = max(columns, key=lambda column: (figure.columns[column].keep, column))
        if not figure.columns[dropped].keep:
            break
        key = figure.columns[dropped].key
        ends = {key, f"{key.removesuffix('high')}low"} if key.endswith("high") else {key}
        columns = [column for column in columns if figure.columns[column].key not in ends]
    return columns


def _plain(figure: TableFigure) -> dict[str, Any]:
    data = figure.to_dict()
    return {key: data[key] for key in ("name", "title", "rows", "notes")}


def explain_command(words: Sequence[str], as_json: bool) -> None:
    """Print what words mean; all of them, section by section, where none is named."""
    terms = explain(words) if words else glossary()
    if as_json:
        say_json(
            {"terms": [{"words": list(t.words), "section": t.section, "meaning": t.meaning} for t in terms]}, "terms"
        )
        return
    section = ""
    for term in terms:
        if not words and term.section != section:
            say(*([""] if section else []), bold(term.section, colour=colour_wanted()))
            section = term.section
        say(f"{term.word}: {term.meaning}")

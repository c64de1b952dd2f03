"""Tables as CSV: every row and column, numbers as they were computed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from engine.figures.table import TableFigure


def tables_as_csv(tables: Sequence[TableFigure]) -> str:
    """Tables as CSV text, one block a table with an empty line between; a cell without a value is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for index, one in enumerate(tables):
        if index:
            writer.writerow([])
        writer.writerow([column.key for column in one.columns])
        writer.writerows([["" if value is None else value for value in row] for row in one.rows])
    return text.getvalue()

"""Looking into tables that a study found."""

from __future__ import annotations

from srm_explorer.engine.figures.table import TableFigure


def column_index(table: TableFigure, key: str) -> int:
    """The place of a column; ValueError for a name that is none."""
    return [column.key for column in table.columns].index(key)

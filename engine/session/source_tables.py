"""Tables that other programs wrote, as rows by the names of `session_from`: CSV, TSV, and Parquet with its vectors."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.values import shown
from srm_explorer.engine.io.arrow_vectors import read_vector_batches
from srm_explorer.engine.io.files import long_fields, read_text, text_of_cell
from srm_explorer.engine.session.keys import condition_of, key_cells

MARKS = {".csv": ",", ".tsv": "\t"}
"""What parts the cells of a file, by its ending; another one where the heading makes sense with that alone."""

PARQUET = ".parquet"

_SAYING = ("output", "text", "prompt", "prompt_text", "core_id")
"""Columns of which a table without vectors has at least one."""

_NAMES = (
    *_SAYING,
    "type",
    "level",
    "sweep",
    "condition",
    "value",
    "baseline",
    "sample",
    "set",
    "prompt_id",
    "id",
    "key",
)
"""Columns that are read whatever the case of their names."""

_OURS = {"run", "prompt", "condition", "value", "sample", "finish", "min_margin"}
"""Columns that a table of ours has, and hardly one of another program's."""

_UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""What the index of a frame is called that was saved with it: it tells no prompt from another."""


@dataclass
class Table:
    """What a table holds.

    Attributes:
        rows: cells by name.
        lines: [row] where it stands in its file: "line 3", "row 2".
        vectors: [row, d] by the name of its column; empty where the table holds texts alone.
        left_out: columns that were not read, and why.
    """

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lines: list[str] = field(default_factory=list[str])
    vectors: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    left_out: dict[str, str] = field(default_factory=dict[str, str])


def is_table(path: Path) -> bool:
    """Whether a file's ending is that of a table."""
    return path.suffix.lower() in (*MARKS, PARQUET)


def read_table(path: Path) -> Table:
    """Read a table with a heading, cells as they stand there; an empty one is an empty text.

    Raises:
        ExplorerError: missing or broken, no row, or no column that says anything of a run.
    """
    table = _parquet(path) if path.suffix.lower() == PARQUET else _text_table(path)
    if not table.rows:
        raise ExplorerError("the table has no row", where=str(path), remedy="give a row a run")
    return table


def _text_table(path: Path) -> Table:
    text = read_text(path).removeprefix("\ufeff")
    if not text.strip():
        raise ExplorerError("the file is empty", where=str(path), remedy="give it a heading, and a row a run")
    table = Table()
    with long_fields():
        mark = _mark_of(text, MARKS[path.suffix.lower()])
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        begins = 0
        try:
            heading = _heading(next(reader, list[str]()), path, table)
            begins = reader.line_num
            for cells in reader:
                if cells and len(cells) != len(heading):
                    what = f"{len(cells)} cells where the heading has {len(heading)}"
                    remedy = "put quotes around a text that holds the separator or a line break"
                    raise ExplorerError(what, where=f"{path}, line {begins + 1}", remedy=remedy)
                line, begins = begins + 1, reader.line_num
                if cells:
                    row = {name: cell for name, cell in zip(heading, cells, strict=True) if name}
                    # A table of ours marks what a spreadsheet would take for a formula.
                    if row.keys() >= _OURS:
                        row = {name: text_of_cell(cell) for name, cell in row.items()}
                    table.rows.append(_row(row))
                    table.lines.append(f"line {line}")
        except csv.Error as error:
            what = f"the table cannot be read: {error}"
            raise ExplorerError(what, where=f"{path}, line {begins + 1}", remedy="mend its quotes") from None
    return table


def _mark_of(text: str, usual: str) -> str:
    """What parts the cells: another mark than usual where the heading says something with that alone."""
    first = text.lstrip("\r\n").splitlines()[0]
    for mark in dict.fromkeys((usual, ",", "\t", ";")):
        names = next(csv.reader([first], delimiter=mark), list[str]())
        if any(name.strip().casefold() in _SAYING for name in names):
            return mark
    return usual


def _parquet(path: Path) -> Table:
    table = Table()
    parts: dict[str, list[NDArray[Any]]] = {}
    heading: list[str] = []
    for cells, vectors in read_vector_batches(path):
        if not table.rows:
            heading = _heading(list(cells), path, table, has_vectors=bool(vectors))
        for name, rows in vectors.items():
            parts.setdefault(name, []).append(rows)
        lists: list[list[object]] = list(cells.values())
        count = max(map(len, vectors.values())) if vectors else 0
        for row in zip(*lists, strict=True) if lists else itertools.repeat((), count):
            named: dict[str, Any] = {name: cell for name, cell in zip(heading, row, strict=True) if name}
            for name in [name for name, cell in named.items() if isinstance(cell, list | dict)]:
                table.left_out[name] = "holds lists or objects that are no vectors of one width"
                del named[name]
            table.rows.append(_row(named))
            table.lines.append(f"row {len(table.rows)}")
    for name, rows in parts.items():
        if len({part.shape[1] for part in rows}) > 1 or sum(map(len, rows)) != len(table.rows):
            what = f"the column {shown(name)} holds lists of several lengths"
            raise ExplorerError(what, where=str(path), remedy="save vectors of one width in a column")
        table.vectors[name] = np.concatenate(rows)
    return table


def _heading(names: Sequence[str], path: Path, table: Table, *, has_vectors: bool = False) -> list[str]:
    """The names of the columns, "" for one that is left out."""
    heading = [name.strip() for name in names]
    heading = [name.casefold() if name.casefold() in _NAMES else name for name in heading]
    doubled = [name for name, times in Counter(heading).items() if times > 1 and not _UNNAMED.fullmatch(name)]
    if doubled:
        what = f"the column {shown(doubled[0])} stands there twice"
        raise ExplorerError(what, where=str(path), remedy="rename one of them")
    if not has_vectors and not any(name in heading for name in _SAYING):
        what = f"no column is called output, text, prompt or core_id, but {', '.join(heading[:8])}"
        remedy = "name the columns core_id, type, level, sweep, prompt, output"
        raise ExplorerError(what, where=str(path), remedy=remedy)
    for number, name in enumerate(heading, 1):
        if _UNNAMED.fullmatch(name):
            table.left_out[name or f"column {number}"] = "has no name, as the index of a frame has none"
    return ["" if _UNNAMED.fullmatch(name) else name for name in heading]


def _row(cells: dict[str, Any]) -> dict[str, Any]:
    """A row by the names of `session_from`."""
    if cells.keys() >= _OURS:
        cells = _our_row(cells)
    if isinstance(key := cells.pop("key", None), str):
        cells = {**key_cells(key), **cells, "id": key}
    for name in ("sweep", "condition"):
        if name in cells:
            cell = cells[name]
            cells[name] = condition_of("" if cell is None or cell != cell else str(cell))
    for name in ("value", "sample"):
        cell = cells.get(name)
        if isinstance(cell, str):
            cells[name] = None if not cell.strip() else int(cell) if cell.strip().isdecimal() else cell
    return cells


def _our_row(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an export of ours: its places in planes are computed again where there are vectors."""
    row = {name.removeprefix("factor_"): cell for name, cell in cells.items() if name.startswith("factor_")}
    row = {name: cell for name, cell in row.items() if cell not in ("", None)}
    row |= {"prompt_id": f"prompt_{cells['prompt']}"}
    row |= {name: cells[name] for name in ("set", "condition", "value", "sample")}
    row |= {name: cells[own] for name, own in (("prompt", "prompt_text"), ("output", "text")) if own in cells}
    if cells.get("control"):
        row["condition"], row["value"] = f"{cells['condition']} of control {cells['control']}", None
    return row


def with_texts(
    runs: Sequence[dict[str, Any]],
    rows: Sequence[tuple[dict[str, Any], str]],
    *,
    in_order: bool,
) -> list[tuple[dict[str, Any], str]]:
    """Give runs the texts of the rows of their prompts and conditions; the rows that are of no run come back.

    Args:
        rows: each with where it stands: "texts.tsv, line 3".
        in_order: whether runs tell nothing of themselves but their number, so that the row of that number is meant.

    Raises:
        ExplorerError: the rows cannot be told apart, or there is none for a run.
    """
    told = ("id", "set", "sweep", "sample")
    shared = sorted({name for run in runs for name in run} & {name for row, _ in rows for name in row} - set(told))
    file = rows[0][1].rpartition(", ")[0]
    if not shared and in_order:
        if len(rows) != len(runs):
            what = f"it has {len(rows):,} rows for {len(runs):,} vectors that have no keys"
            raise ExplorerError(what, where=file, remedy="give a row a vector, in their order")
        for run, (row, _) in zip(runs, rows, strict=True):
            run.pop("prompt_id", None)
            run.update(row)
        return []
    if not shared:
        what = f"no factor of the vectors' keys ({', '.join(sorted(set(runs[0]) - set(told))) or 'none'}) is a column"
        remedy = "import the table by itself, or name the keys core_id=..._type=..._level=..._sweep=..."
        raise ExplorerError(what, where=file, remedy=remedy)
    of_key: dict[tuple[str, ...], int] = {}
    for number, (row, where) in enumerate(rows):
        if (first := of_key.setdefault(_identity(row, shared), number)) != number:
            what = f"{', '.join(shared)} and condition are those of {rows[first][1].rpartition(', ')[2]} too"
            what += f": {' · '.join(_identity(row, shared))}"
            raise ExplorerError(what, where=where, remedy="import the table by itself")
    used: set[int] = set()
    for run in runs:
        number = of_key.get(_identity(run, shared))
        if number is None:
            what = f"no row is the text of the vector {shown(run['id'])}"
            raise ExplorerError(what, where=file, remedy="import the table by itself")
        used.add(number)
        run.update({name: cell for name, cell in rows[number][0].items() if name not in ("sweep", "condition", *run)})
    return [
        ({**row, "sweep": row.get("sweep", row.get("condition", "baseline"))}, where)
        for number, (row, where) in enumerate(rows)
        if number not in used
    ]


def _identity(cells: Mapping[str, Any], names: Collection[str]) -> tuple[str, ...]:
    condition = str(cells.get("sweep", cells.get("condition", "baseline"))).strip()
    try:
        condition = repr(float(condition.replace("−", "-")))
    except ValueError:
        condition = condition.casefold()
    return (*(_told(cells.get(name)) for name in names), condition, str(cells.get("sample") or 0))


def _told(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)

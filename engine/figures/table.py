"""Tables: what a study found, the same on the screen, on the command line and in a file."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from typing import Any, Literal, SupportsFloat, TypeAlias, cast, get_args

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.numbers import NOTHING, three_digits
from srm_explorer.engine.io.files import CsvWriter
from srm_explorer.engine.session.codec import json_line

CellValue: TypeAlias = str | int | float | None
"""A number as it was computed, not as it is shown; None where there is none."""


def as_cell(value: SupportsFloat) -> float | None:
    """A number as a cell has it: None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


Shown: TypeAlias = Literal["text", "whole", "index", "number", "p", "percent", "degrees", "time"]
"""How a column's values are written: "index" numbers a thing, "p" is a probability, "percent" a share of 1, "time" an
instant in ISO 8601."""


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes:
        key: its name in CSV and JSON: lower case, no spaces.
        title: its name on the screen, short.
        shown: how its values are written.
        keep: how readily it is dropped where room is short: 0 never, then the highest first.
    """

    key: str
    title: str
    shown: Shown = "number"
    keep: int = 0


def table_columns(layout: str) -> tuple[TableColumn, ...]:
    """Columns from text: "key:title:shown:keep" each, parted by "; "; what is left out is the key, "number" and 0."""
    columns: list[TableColumn] = []
    for column in layout.split("; "):
        key, title, shown, keep = [*column.split(":"), "", "", ""][:4]
        if shown and shown not in get_args(Shown):
            raise ValueError(f"column {key}: nothing is shown as {shown!r}")
        columns.append(TableColumn(key, title or key, cast("Shown", shown or "number"), int(keep or 0)))
    return tuple(columns)


EXPLORATORY = "exploratory: "
"""How the note begins that says that a frozen analysis did not name what a table holds."""


@dataclass(frozen=True)
class PlaneChoice:
    """A plane that a row of a table proposes.

    Attributes:
        a: the direction at 0 degrees, as in an experiment file: a neuron's number, or a direction's text.
        held_out: seed of a split of the units: it is made of one half and shown on the other; None for all units.
    """

    site: str
    a: int | str
    b: int | str
    held_out: int | None = None


def _plain_choice(choice: PlaneChoice) -> dict[str, Any]:
    return {name: value for name, value in vars(choice).items() if name != "held_out" or value is not None}


@dataclass(frozen=True, eq=False)
class TableFigure:
    """What a study found, a row a finding, the most telling first.

    Attributes:
        name: in file names and JSON: lower case, no spaces.
        columns: at least one.
        rows: [row][column] values.
        notes: what a reader must know to read it, the most important first, each a line: units resampled, size of the
            family that q-values correct over, seed, what the numbers cannot tell.
        planes: [row] the plane that a row proposes; empty where rows propose none.
        runs: [row] index of the run a row tells of, among all planned ones; empty where rows tell of none.
    """

    name: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[CellValue, ...], ...]
    notes: tuple[str, ...] = ()
    planes: tuple[PlaneChoice | None, ...] = ()
    runs: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.name}: a row is not as long as the header")
        if any(len(other) not in (0, len(self.rows)) for other in (self.planes, self.runs)):
            raise ValueError(f"{self.name}: planes or runs do not stand beside the rows")

    @property
    def is_exploratory(self) -> bool:
        """Whether it was computed beside an analysis that was frozen before the run."""
        return any(note.startswith(EXPLORATORY) for note in self.notes)

    def noted(self, line: str) -> TableFigure:
        """The same with a further first note; as it is where that is empty or stands there."""
        return replace(self, notes=(line, *self.notes)) if line and line not in self.notes else self

    def frame(self) -> Any:
        """The table as a pandas frame, a column a key; an empty cell is missing.

        Raises:
            ExplorerError: pandas is not installed.
        """
        keys = [column.key for column in self.columns]
        return pandas().DataFrame([dict(zip(keys, row, strict=True)) for row in self.rows], columns=keys)

    def __repr__(self) -> str:
        keys = ", ".join(column.key for column in self.columns)
        return f"Table {self.name}: {self.title} · {len(self.rows):,} rows · {keys}"

    def _repr_html_(self) -> str:
        # In a file of its own that looks at sessions, which know tables.
        return import_module("srm_explorer.engine.figures.html").table_html(self)

    def shown(self, row: int, column: int) -> str:
        return cell_text(self.rows[row][column], self.columns[column].shown)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: a record a row, the numbers as they were computed."""
        keys = [column.key for column in self.columns]
        return {
            "name": self.name,
            "title": self.title,
            "columns": [{"key": c.key, "title": c.title, "shown": c.shown, "keep": c.keep} for c in self.columns],
            "rows": [dict(zip(keys, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
            "planes": [None if p is None else _plain_choice(p) for p in self.planes],
            "runs": list(self.runs),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TableFigure:
        columns = tuple(TableColumn(**column) for column in data["columns"])
        return cls(
            data["name"],
            data["title"],
            columns,
            tuple(tuple(row[column.key] for column in columns) for row in data["rows"]),
            tuple(data["notes"]),
            tuple(None if p is None else PlaneChoice(**p) for p in data["planes"]),
            tuple(data["runs"]),
        )


def cell_text(value: CellValue, shown: Shown) -> str:
    """Write a value as its column does: at most three significant digits, probabilities never as 0."""
    if isinstance(value, str):
        return _moment(value) if shown == "time" else value
    if value is None or math.isnan(value):
        return NOTHING
    match shown:
        case "whole":
            return f"{round(value):,}".replace("-", "−") if math.isfinite(value) else three_digits(value)
        case "index":
            return str(round(value))
        case "p":
            return "<.0001" if value < 1e-4 else three_digits(value)
        case "percent":
            return f"{three_digits(100 * value)} %"
        case "degrees":
            return f"{round(value) % 360}°"
        case _:
            return three_digits(value)


def _moment(instant: str) -> str:
    """A point in time as a reader's clock has it, to the minute; as it is where it is none."""
    try:
        return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return instant


def pandas() -> Any:
    """The library of frames; ExplorerError where it is not installed."""
    try:
        # Half a second, and no part of an installation, unless a frame is asked for.
        return import_module("pandas")
    except ImportError:
        what = "frames are pandas's, which is not installed"
        raise ExplorerError(what, remedy="pip install 'srm-explorer[frames]'") from None


def exploratory_sidecar(notes: Mapping[str, Sequence[str]]) -> bytes:
    """What lies as JSON beside a CSV file of what a frozen analysis did not name; empty where nothing is exploratory.

    Args:
        notes: by the name of each table or chart: rows of numbers have no room for words.
    """
    if not any(note.startswith(EXPLORATORY) for listed in notes.values() for note in listed):
        return b""
    return json_line({"exploratory": True, "notes": {name: list(listed) for name, listed in notes.items()}}) + b"\n"


def tables_as_csv(tables: Sequence[TableFigure]) -> str:
    """Tables as CSV text, one block a table with an empty line between; a cell without a value is empty."""
    text = io.StringIO()
    writer = CsvWriter(text)
    for index, table in enumerate(tables):
        if index:
            writer.writerow([])
        writer.writerow([column.key for column in table.columns])
        writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return text.getvalue()

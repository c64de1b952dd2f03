"""Tables in the formats of Arrow: Parquet files, and data sets that the `datasets` library has cached."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import check_regular

VECTOR_ROWS = 2_048
"""Rows read at a time where some hold vectors."""

FEWEST_SPREAD = 8
"""Numbered columns of numbers that are the coordinates of vectors, and no measures that happen to be numbered."""


def read_batches(path: Path, form: Literal["parquet", "dataset"]) -> Iterator[dict[str, list[object]]]:
    """Read a table some rows after the other, as columns by name; nothing is unpickled.

    Values are as JSON would have them; dates, decimals and bytes are the text that Python gives them.

    Raises:
        ExplorerError: a missing or broken file, or pyarrow is not there.
    """
    for batch, _ in _batches(path, form):
        yield _columns(batch)


def read_vector_batches(path: Path) -> Iterator[tuple[dict[str, list[object]], dict[str, NDArray[Any]]]]:
    """Read a Parquet file some rows after the other: columns as `read_batches` has them, and vectors.

    A column of lists of numbers of one length is [n, d] vectors; so are columns of numbers that are numbered from 0,
    as a frame of a matrix is saved ("0" to "767", "d0" to "d767"), by what stands before the number. NaN where a row
    has none.

    Raises:
        ExplorerError: a missing or broken file, or pyarrow is not there.
    """
    for batch, library in _batches(path, "parquet", VECTOR_ROWS):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        vectors = {name: rows for name, column in columns.items() if (rows := _lists(column, library)) is not None}
        for prefix, names in _spread(columns, library).items():
            vectors[prefix] = np.stack([columns[name].to_numpy(zero_copy_only=False) for name in names], axis=1)
            columns = {name: column for name, column in columns.items() if name not in names}
        rest = [name for name in columns if name not in vectors]
        yield _columns(batch.select(rest)), vectors


def _lists(column: Any, library: Any) -> NDArray[Any] | None:
    """[n, d] a column of lists of numbers; None where it holds something else, or lists of several lengths."""
    types, kind = library.types, column.type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return None
    if not (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        return None
    there = column.is_valid().to_numpy(zero_copy_only=False)
    # A null's place in a list of a fixed size holds numbers too.
    numbers = column.filter(library.array(there)).flatten().to_numpy(zero_copy_only=False)
    count = int(there.sum())
    lengths = {len(cell) for cell in column if cell.is_valid}
    if len(lengths) != 1 or 0 in lengths or len(numbers) % count:
        return None
    rows = numbers.reshape(count, -1)
    if count == len(column):
        return rows
    whole = np.full((len(column), rows.shape[1]), np.nan, np.result_type(rows.dtype, np.float32))
    whole[there] = rows
    return whole


def _spread(columns: Mapping[str, Any], library: Any) -> dict[str, list[str]]:
    """By what they begin with, columns of numbers that are numbered from 0 without a gap."""
    numbered: dict[str, list[str]] = {}
    for name, column in columns.items():
        match = re.fullmatch(r"(\D*)(0|[1-9]\d{0,6})", name)
        if match and library.types.is_floating(column.type):
            listed = numbered.setdefault(match[1], [])
            listed += [name] if int(match[2]) == len(listed) else []
    return {prefix: names for prefix, names in numbered.items() if len(names) >= FEWEST_SPREAD}


def _batches(path: Path, form: Literal["parquet", "dataset"], rows: int = 65_536) -> Iterator[tuple[Any, Any]]:
    """The batches of a file, each with the library."""
    try:
        check_regular(path)
    except FileNotFoundError:
        raise ExplorerError("there is no such file", where=str(path), remedy="check the path") from None
    except OSError as error:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=str(path), remedy="check the path") from None
    library, readers = _pyarrow("parquet" if form == "parquet" else "ipc", str(path))
    try:
        if form == "parquet":
            for batch in readers.ParquetFile(path).iter_batches(batch_size=rows):
                yield batch, library
        else:
            with library.memory_map(str(path)) as memory:
                for batch in readers.open_stream(memory):
                    yield batch, library
    except (library.ArrowException, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what = f"the table can't be read ({first[:120]})"
        raise ExplorerError(what, where=str(path), remedy="save it again") from None


def parquet_bytes(table: Mapping[str, Sequence[Any]], *, categories: Callable[[str], bool]) -> bytes:
    """A table as a Parquet file; half a surrogate pair, which UTF-8 cannot hold, is written as its code.

    Args:
        table: columns by name, all of one length.
        categories: whether a column, by its name, has few values that come again and again.

    Raises:
        ExplorerError: pyarrow is not there.
    """
    library, writers = _pyarrow("parquet", "")
    columns = {name: library.array([_storable(cell) for cell in cells]) for name, cells in table.items()}
    for name, column in columns.items():
        if categories(name):
            columns[name] = column.cast(library.string()).dictionary_encode()
    sink: Any = library.BufferOutputStream()
    writers.write_table(library.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _storable(cell: Any) -> Any:
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) and not cell.isascii() else cell


def _pyarrow(part: Literal["parquet", "ipc"], where: str) -> tuple[Any, Any]:
    """The library and one part of it, loaded where a table is met: 0.4 s that no first frame should wait for."""
    try:
        return import_module("pyarrow"), import_module(f"pyarrow.{part}")
    except ImportError:
        what = "Parquet and cached data sets need pyarrow, which is not installed"
        remedy = "pip install 'srm-explorer[frames]', or use another format"
        raise ExplorerError(what, where=where, remedy=remedy) from None


def _columns(batch: Any) -> dict[str, list[object]]:
    plain = (str, int, float, bool, list, dict, type(None))
    return {
        name: [value if isinstance(value, plain) else str(value) for value in column.to_pylist()]
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }

"""Vectors in Parquet files: columns of lists, or a column a coordinate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.io.arrow import batches_of, columns_of

VECTOR_ROWS = 2_048
"""Rows read at a time where some hold vectors."""

FEWEST_SPREAD = 8
"""Numbered columns of numbers that are the coordinates of vectors, and no measures that happen to be numbered."""


def read_vector_batches(path: Path) -> Iterator[tuple[dict[str, list[object]], dict[str, NDArray[Any]]]]:
    """Read a Parquet file some rows after the other: columns as `read_batches` has them, and vectors.

    A column of lists of numbers of one length is [n, d] vectors; so are columns of numbers that are numbered from 0,
    as a frame of a matrix is saved ("0" to "767", "d0" to "d767"), by what stands before the number. NaN where a row
    has none.

    Raises:
        ExplorerError: a missing or broken file, or pyarrow is not there.
    """
    for batch, library in batches_of(path, "parquet", VECTOR_ROWS):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        vectors = {name: rows for name, column in columns.items() if (rows := _lists(column, library)) is not None}
        for prefix, names in _spread(columns, library).items():
            vectors[prefix] = np.stack([columns[name].to_numpy(zero_copy_only=False) for name in names], axis=1)
            columns = {name: column for name, column in columns.items() if name not in names}
        rest = [name for name in columns if name not in vectors]
        yield columns_of(batch.select(rest)), vectors


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

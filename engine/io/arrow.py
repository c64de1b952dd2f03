"""Tables in the formats of Arrow: Parquet files, and data sets that the `datasets` library has cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import check_regular


def read_batches(path: Path, form: Literal["parquet", "dataset"]) -> Iterator[dict[str, list[object]]]:
    """Read a table some rows after the other, as columns by name; nothing is unpickled.

    Values are as JSON would have them; dates, decimals and bytes are the text that Python gives them.

    Raises:
        ExplorerError: a missing or broken file, or pyarrow is not there.
    """
    for batch, _ in batches_of(path, form):
        yield columns_of(batch)


_FILE = b"ARROW1"
"""What the format begins with that may be read in any order; a stream has no such mark."""


def batches_of(path: Path, form: Literal["parquet", "dataset"], rows: int = 65_536) -> Iterator[tuple[Any, Any]]:
    """The batches of a file, each with the library; errors as `read_batches`."""
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
                if memory.read(len(_FILE)) == _FILE:
                    table = readers.open_file(memory)
                    for number in range(table.num_record_batches):
                        yield table.get_batch(number), library
                    return
                memory.seek(0)
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


def columns_of(batch: Any) -> dict[str, list[object]]:
    """The columns of a batch by name, values as JSON would have them."""
    plain = (str, int, float, bool, list, dict, type(None))
    return {
        name: [value if isinstance(value, plain) else str(value) for value in column.to_pylist()]
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }

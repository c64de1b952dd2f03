"""Vectors in .npz and .npy files: read a block of rows at a time, never unpickled; written whole or not at all."""

from __future__ import annotations

import contextlib
import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import write_atomic

BLOCK_BYTES = 32 * 2**20
"""Rows are read this many bytes at a time, so that a file may be larger than the memory."""

_MAGIC = b"\x93NUMPY"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# A RuntimeError is what an encrypted archive raises, and one compressed in a way that is not known here.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)
# What numpy's reader of headers, which evaluates a literal, lets through for a header that is noise.
_NO_HEADER = (*_BROKEN, SyntaxError, TypeError, OverflowError, MemoryError, tokenize.TokenError)


@dataclass(frozen=True, eq=False)
class Block:
    """Some vectors of one array.

    Attributes:
        key: name of the array in its file; of a .npy file the file's stem.
        first: index in the array of the first of these vectors.
        rows: [n, d] in the file's own type.
        is_table: whether the array holds many vectors [n, d]; else it is one vector [d].
    """

    key: str
    first: int
    rows: NDArray[Any]
    is_table: bool

    def label(self, row: int) -> str:
        """What to call one of these vectors: the key, with the index in the array where it has many."""
        return f"{self.key}[{self.first + row}]" if self.is_table else self.key


@dataclass(frozen=True)
class Skipped:
    """An array that holds no vectors, and why."""

    key: str
    why: str


Part: TypeAlias = Block | Skipped


def read_npz(path: Path) -> Iterator[Part]:
    """Read the vectors of an .npz or .npy file in the file's order: [d] is one vector, [n, d] are n vectors.

    Arrays that are not numeric or have other than 1 or 2 dimensions are skipped. Pickled objects are refused from the
    array's header, before any of its data is touched.

    Raises:
        ExplorerError: missing, unreadable, damaged or cut short, neither .npz nor .npy, or holding pickled objects or
            complex numbers.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
            file.seek(0)
            if head.startswith(_ZIP_MAGIC):
                yield from _members(path, file)
            elif head == _MAGIC:
                yield from _array(path, path.stem, file)
            else:
                what = "the file is empty" if not head else "this is neither an .npz nor an .npy file"
                raise ExplorerError(what, where=str(path), remedy="save the vectors with numpy.savez")
    except FileNotFoundError:
        raise ExplorerError("there is no such file", where=str(path), remedy="check the path") from None
    except IsADirectoryError:
        raise ExplorerError("this is a folder", where=str(path), remedy="name the files in it") from None
    except OSError as error:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=str(path), remedy="check the file") from None


def write_npz(path: Path, arrays: Iterable[tuple[str, ArrayLike]]) -> None:
    """Write named arrays as `numpy.savez` does, replacing the file in one step; they may come one at a time.

    Raises:
        ExplorerError: the file cannot be written.
        ValueError: a key stands twice, or an array holds objects.
    """

    def write(file: BinaryIO) -> None:
        written: set[str] = set()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for key, array in arrays:
                if key in written:
                    raise ValueError(f"two arrays are named {key!r}")
                written.add(key)
                # A fixed date: equal vectors give equal files.
                member = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                with archive.open(member, "w", force_zip64=True) as target:
                    npy.write_array(cast("Any", target), np.asanyarray(array), allow_pickle=False)

    write_atomic(path, write)


def _members(path: Path, file: BinaryIO) -> Iterator[Part]:
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise _damaged(path, error) from None
    with archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            key = member.filename.removesuffix(".npy")
            try:
                stream = archive.open(member)
            except _BROKEN as error:
                raise _damaged(path, error, key) from None
            with stream:
                yield from _array(path, key, stream)


def _array(path: Path, key: str, stream: IO[bytes]) -> Iterator[Part]:
    try:
        magic = stream.read(npy.MAGIC_LEN)
        if not magic.startswith(_MAGIC):
            yield Skipped(key, "not an array")
            return
        shape, fortran, dtype = _header(magic, stream)
    except _NO_HEADER as error:
        raise _damaged(path, error, key) from None
    if dtype.hasobject:
        raise ExplorerError(
            f"'{key}' holds pickled Python objects, which are never loaded",
            where=str(path),
            remedy="save it as numbers: numpy.asarray(vectors, dtype='float32')",
        )
    if dtype.kind == "c":
        raise ExplorerError(
            f"'{key}' holds complex numbers", where=str(path), remedy="save its real part, or take it out"
        )
    if dtype.kind not in "fiub" or dtype.itemsize == 0:
        yield Skipped(key, f"not numeric (type {dtype})")
    elif len(shape) not in (1, 2):
        yield Skipped(key, f"{len(shape)}-dimensional, a vector has 1 dimension and a table of vectors 2")
    elif 0 in shape:
        yield Skipped(key, "empty")
    else:
        yield from _blocks(path, key, stream, shape, fortran and len(shape) == 2, dtype)


def _header(magic: bytes, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = (magic[6], magic[7])
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version == (3, 0):
        # The third version differs from the second by UTF-8 in field names alone, which only records have.
        readers[version] = npy.read_array_header_2_0
    if version not in readers:
        raise ValueError(f"unknown format version {version[0]}.{version[1]}")
    shape, fortran, dtype = cast("Any", readers[version](cast("Any", stream)))
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"impossible shape {shape}")
    return shape, fortran, dtype


def _blocks(
    path: Path, key: str, stream: IO[bytes], shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]
) -> Iterator[Block]:
    is_table = len(shape) == 2
    count, width = shape if is_table else (1, shape[0])
    # Columns first means that no row is whole before the last byte.
    step = count if fortran else max(1, BLOCK_BYTES // (width * dtype.itemsize))
    for first in range(0, count, step):
        n = min(step, count - first)
        rows = np.frombuffer(_exactly(path, key, stream, n * width * dtype.itemsize), dtype)
        yield Block(key, first, rows.reshape((width, n)).T if fortran else rows.reshape((n, width)), is_table)
    with _telling(path, key):
        # The archive compares its checksum when the end is read.
        if stream.read(1):
            raise ValueError("more data than its shape says")


def _exactly(path: Path, key: str, stream: IO[bytes], size: int) -> bytearray:
    # Grown as it is read: a header may promise more than the machine has.
    data = bytearray()
    with _telling(path, key):
        while len(data) < size:
            part = stream.read(min(size - len(data), BLOCK_BYTES))
            if not part:
                raise EOFError(f"cut short: {len(data):,} of {size:,} bytes")
            data += part
    return data


@contextlib.contextmanager
def _telling(path: Path, key: str) -> Generator[None]:
    try:
        yield
    except _BROKEN as error:
        raise _damaged(path, error, key) from None


def _damaged(path: Path, error: Exception, key: str = "") -> ExplorerError:
    reason = (str(error).strip().splitlines() or ["cut short"])[0][:150]
    return ExplorerError(
        f"'{key}' is damaged: {reason}" if key else f"the file is damaged: {reason}",
        where=str(path),
        remedy="copy it again, or save it again with numpy.savez",
    )

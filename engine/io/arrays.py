"""Vectors in .npz, .npy and .safetensors files: read a block of rows at a time, never unpickled; written whole or not
at all."""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import open_regular, write_atomic

BLOCK_BYTES = 32 * 2**20
"""Rows are read this many bytes at a time, so that a file may be larger than the memory."""

LARGEST_WHOLE = 2**30
"""Bytes of what cannot be read in part: one row, or an array whose columns come first."""

Reduce: TypeAlias = Literal["mean", "last"]
"""What makes one vector of several [token, d]: their mean, or the last of them."""

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
    """An array that holds no vectors, and why; with a remedy where that is not for vectors to be found in any way."""

    key: str
    why: str
    remedy: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether it holds no real numbers at all, but objects or complex ones."""
        return bool(self.remedy)


Part: TypeAlias = Block | Skipped


def read_arrays(path: Path, *, reduce: Reduce | None = None, only: Collection[str] | None = None) -> Iterator[Part]:
    """Read the vectors of an .npz, .npy or .safetensors file in the file's order: [d] is one vector, [n, d] are n.

    What holds no vectors of real numbers is skipped, pickled objects by the array's header, before any of its data is
    touched; a .npy file, which holds nothing else then, is refused.

    Args:
        reduce: what makes [n, d] of an array [n, token, d]; without it such an array is skipped.
        only: keys of the arrays that are read; None reads all.

    Raises:
        ExplorerError: missing, no regular file, unreadable, damaged or cut short, of no such format, or too large to be
            read where it cannot be read in part.
    """
    try:
        with open_regular(path) as file:
            head = file.read(9)
            file.seek(0)
            if head.startswith(_ZIP_MAGIC):
                yield from _members(path, file, reduce, only)
            elif head.startswith(_MAGIC):
                for part in _array(path, path.stem, file, reduce):
                    if isinstance(part, Skipped) and part.is_foreign:
                        raise ExplorerError(f"'{part.key}' {part.why}", where=str(path), remedy=part.remedy)
                    yield part
            elif is_tensors(head):
                yield from _tensors(path, file, reduce, only)
            elif head.startswith(_PICKLE_MAGIC) or path.suffix.lower() in PICKLES:
                raise pickled(path)
            elif other := next((named for magic, named in _OTHERS.items() if head.startswith(magic)), None):
                raise _other(path, *other)
            else:
                what = "the file is empty" if not head else "this is no .npz, .npy or .safetensors file"
                raise ExplorerError(what, where=str(path), remedy="save the vectors with numpy.savez")
    except FileNotFoundError:
        raise ExplorerError("there is no such file", where=str(path), remedy="check the path") from None
    except IsADirectoryError:
        raise ExplorerError("this is a folder", where=str(path), remedy="name the files in it") from None
    except OSError as error:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=str(path), remedy="check the file") from None


PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
"""What pickles are called, which are refused by name."""

_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def pickled(path: Path) -> ExplorerError:
    """The error for a file that only unpickling could read, with the lines that convert it."""
    lines = (
        "import torch, safetensors.torch",
        f"t = torch.load({path.name!r}, map_location='cpu', weights_only=True)",
        "t = t if isinstance(t, dict) else {'vector': t}",
        "t = {str(k): v.contiguous() for k, v in t.items() if torch.is_tensor(v)}",
        f"safetensors.torch.save_file(t, {f'{path.stem}.safetensors'!r})",
    )
    what = "this is a pickle, as PyTorch writes it, which is never loaded"
    return ExplorerError(what, where=str(path), remedy=f"convert it in Python: {'; '.join(lines)}")


_OTHERS = {
    b"\x89HDF": (
        "an HDF5 file",
        "import h5py, numpy; t = {}; h5py.File(NAME).visititems(lambda k, v: t.update({k.replace('/', '.'): v[()]})"
        " if isinstance(v, h5py.Dataset) else None); numpy.savez(NEW, **t)",
    ),
    b"GGUF": (
        "a GGUF file, as of control vectors",
        "import gguf, numpy; numpy.savez(NEW, **{t.name: numpy.array(t.data) for t in gguf.GGUFReader(NAME).tensors})",
    ),
}
"""Formats that are not read, by how they begin: what they are, and the lines that convert them."""


def _other(path: Path, named: str, lines: str) -> ExplorerError:
    lines = lines.replace("NAME", repr(path.name)).replace("NEW", repr(f"{path.stem}.npz"))
    return ExplorerError(
        f"this is {named}, which is not read", where=str(path), remedy=f"convert it in Python: {lines}"
    )


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


def _members(path: Path, file: IO[bytes], reduce: Reduce | None, only: Collection[str] | None) -> Iterator[Part]:
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise _damaged(path, error) from None
    with archive:
        if any(name == "data.pkl" or name.endswith("/data.pkl") for name in archive.namelist()):
            raise pickled(path)
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if member.is_dir():
                continue
            if only is not None and key not in only:
                yield Skipped(key, "not asked for")
                continue
            try:
                stream = archive.open(member)
            except _BROKEN as error:
                raise _damaged(path, error, key) from None
            with stream:
                yield from _array(path, key, stream, reduce)


def _tensors(path: Path, file: IO[bytes], reduce: Reduce | None, only: Collection[str] | None) -> Iterator[Part]:
    try:
        tensors = read_header(file)
    except _BROKEN as error:
        raise _damaged(path, error) from None
    for tensor in tensors:
        if only is not None and tensor.key not in only:
            yield Skipped(tensor.key, "not asked for")
        elif tensor.dtype is None:
            yield Skipped(tensor.key, f"of the type {tensor.kind}, which is not read here; save it as float32")
        elif why := _no_vectors(tensor.shape, reduce):
            yield Skipped(tensor.key, why)
        else:
            file.seek(tensor.begin)
            rows = _rows(path, tensor.key, file, tensor.shape, False, tensor.dtype)
            numbers = ((first, tensor.numbers(block)) for first, block in rows)
            yield from _blocks(tensor.key, numbers, tensor.shape, reduce)


def _array(path: Path, key: str, stream: IO[bytes], reduce: Reduce | None) -> Iterator[Part]:
    try:
        magic = stream.read(npy.MAGIC_LEN)
        if not magic.startswith(_MAGIC):
            yield Skipped(key, "not an array")
            return
        shape, fortran, dtype = _header(magic, stream)
    except _NO_HEADER as error:
        raise _damaged(path, error, key) from None
    if dtype.hasobject:
        remedy = "save it as numbers: numpy.asarray(vectors, dtype='float32')"
        yield Skipped(key, "holds pickled Python objects, which are never loaded", remedy)
    elif dtype.kind == "c":
        yield Skipped(key, "holds complex numbers", "save its real part, or take it out")
    elif dtype.kind not in "fiub" or dtype.itemsize == 0:
        yield Skipped(key, f"not numeric (type {dtype})")
    elif why := _no_vectors(shape, reduce):
        yield Skipped(key, why)
    else:
        rows = _rows(path, key, stream, shape, fortran and len(shape) > 1, dtype)
        yield from _blocks(key, rows, shape, reduce)
        with _telling(path, key):
            # The archive compares its checksum when the end is read.
            if stream.read(1):
                raise ValueError("more data than its shape says")


def _no_vectors(shape: tuple[int, ...], reduce: Reduce | None) -> str:
    """Why an array of a shape holds no vectors; empty where it does."""
    if len(shape) == 3 and reduce is None:
        return "3-dimensional (`--reduce mean`, or last, makes one vector of each [token, d])"
    if len(shape) not in (1, 2, 3):
        return f"{len(shape)}-dimensional, a vector has 1 dimension and a table of vectors 2"
    return "empty" if 0 in shape else ""


def _header(magic: bytes, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = (magic[6], magic[7])
    size = stream.read(2 if version == (1, 0) else 4)
    # A header that promises more than numpy takes is refused by numpy.
    return _parsed(version, size + stream.read(min(int.from_bytes(size, "little"), _LONGEST_NPY_HEADER)))


_LONGEST_NPY_HEADER = 2**20


@lru_cache(maxsize=64)
def _parsed(version: tuple[int, int], header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What a header says; of thousands of vectors in a file all say the same, and numpy takes its time over each."""
    stream = io.BytesIO(header)
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
    key: str, rows: Iterable[tuple[int, NDArray[Any]]], shape: tuple[int, ...], reduce: Reduce | None
) -> Iterator[Block]:
    if len(shape) == 3 and reduce is not None:
        rows = _reduced(rows, shape[1], reduce)
    for first, block in rows:
        yield Block(key, first, block, len(shape) > 1)


def _rows(
    path: Path, key: str, stream: IO[bytes], shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The rows of an array, its last axis, a block at a time: the number of the first, and [n, d]."""
    count, width = math.prod(shape[:-1]), shape[-1]
    # Columns first means that no row is whole before the last byte.
    step = count if fortran else max(1, BLOCK_BYTES // (width * dtype.itemsize))
    size = min(step, count) * width * dtype.itemsize
    if size > LARGEST_WHOLE:
        what = f"'{key}' is {'stored by columns' if fortran else 'one row'} and takes {size / 1e9:,.1f} GB at once"
        remedy = "save it with numpy.ascontiguousarray" if fortran else "save vectors [n, d]"
        raise ExplorerError(what, where=str(path), remedy=remedy)
    for first in range(0, count, step):
        n = min(step, count - first)
        rows = np.frombuffer(_exactly(path, key, stream, n * width * dtype.itemsize), dtype)
        yield first, rows.reshape(shape[::-1]).T.reshape((n, width)) if fortran else rows.reshape((n, width))


def _reduced(
    rows: Iterable[tuple[int, NDArray[Any]]], tokens: int, reduce: Reduce
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows [n * token, d], a block at a time, as vectors [n, d]; one that two blocks share is carried over."""
    total: NDArray[Any] | None = None
    for first, block in rows:
        if reduce == "last":
            ends = np.arange((tokens - 1 - first) % tokens, len(block), tokens)
            if len(ends):
                yield (first + int(ends[0])) // tokens, block[ends]
            continue
        begins = np.unique([0, *range((-first) % tokens, len(block), tokens)])
        sums = np.add.reduceat(block, begins, axis=0, dtype=np.float64)
        if first % tokens and total is not None:
            sums[0] += total
        is_whole = (first + len(block)) % tokens == 0
        total = None if is_whole else sums[-1]
        whole = sums if is_whole else sums[:-1]
        if len(whole):
            yield first // tokens, whole / tokens


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


_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_LONGEST_HEADER = 100_000_000
"""Bytes, as the format has it."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as the header of its file tells of it.

    Attributes:
        kind: its type in the words of the format, such as "BF16".
        begin: its first byte in the file.
    """

    key: str
    kind: str
    shape: tuple[int, ...]
    begin: int

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """How its bytes are read; None for a type that is not known here."""
        return np.dtype(_DTYPES[self.kind]) if self.kind in _DTYPES else None

    def numbers(self, raw: NDArray[Any]) -> NDArray[Any]:
        """What was read, as numbers: numpy has no bfloat16, which is the upper half of a float32."""
        return (raw.astype(np.uint32) << 16).view(np.float32) if self.kind == "BF16" else raw


def is_tensors(head: bytes) -> bool:
    """Whether a file that begins so is a safetensors file: the length of a header, and the header's brace."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


def read_header(file: IO[bytes]) -> list[Tensor]:
    """The tensors of a safetensors file by where they lie.

    Raises:
        ValueError: it is not what the format says, or is cut short.
    """
    length = int.from_bytes(file.read(8), "little")
    text = file.read(length)
    size = file.seek(0, 2) - 8 - length
    if size < 0:
        raise ValueError("cut short")
    try:
        header = json.loads(text)
    except RecursionError:
        raise ValueError("its header is too deeply nested") from None
    entries = cast("dict[str, Any]", header) if isinstance(header, dict) else {}
    tensors = [_tensor(key, entry, size, 8 + length) for key, entry in entries.items() if key != "__metadata__"]
    return sorted(tensors, key=lambda tensor: tensor.begin)


def _tensor(key: str, entry: Any, size: int, base: int) -> Tensor:
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"its header does not say where '{key}' lies") from None
    if not isinstance(kind, str) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"its header does not say where '{key}' lies")
    tensor = Tensor(key, kind, shape, base + begin)
    if not begin <= end <= size or (
        tensor.dtype is not None and end - begin != math.prod(shape) * tensor.dtype.itemsize
    ):
        raise ValueError(f"'{key}' is cut short, or of another shape than its header says")
    return tensor

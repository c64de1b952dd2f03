"""Captured vectors in safetensors files: one tensor a site, or one a site and run where every token was kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.arrays import Skipped, read_arrays
from srm_explorer.engine.io.files import check_regular

Matrix: TypeAlias = NDArray[np.float32]
"""[run, d] the vectors of a site, or [token, d] those of one run; float64 where an import came with such numbers."""

Vectors: TypeAlias = Mapping[str, Matrix | Sequence[Matrix]]
"""By site: one [run, d] array, or a list with a [token, d] array for every run."""

SCHEMA = "1"


def token_mean(tokens: NDArray[Any]) -> NDArray[Any]:
    """[d] mean of [token, d] vectors in float64; NaN where there is no token."""
    if not len(tokens):
        return np.full(int(tokens.shape[1]), np.nan, np.float64)
    mean: NDArray[Any] = tokens.mean(axis=0, dtype=np.float64)
    return mean


def as_rows(
    vectors: Matrix | Sequence[Matrix], rows: NDArray[np.int64] | None = None, dtype: DTypeLike = np.float64
) -> NDArray[Any]:
    """[run, d] one vector a run; where every token was kept their mean, NaN for a run without any.

    Args:
        rows: places of the runs; all by default.
        dtype: of means over tokens.
    """
    if isinstance(vectors, np.ndarray):
        return vectors if rows is None else vectors[rows]
    width = vectors[0].shape[1] if len(vectors) else 0
    places: Sequence[int] = range(len(vectors)) if rows is None else rows.tolist()
    return np.array([token_mean(vectors[row]) for row in places], dtype).reshape(len(places), width)


def write_vectors(file: BinaryIO, vectors: Vectors) -> None:
    """Write vectors as a safetensors file without holding them in memory a second time.

    A [run, d] array is the tensor "<site>"; a list is the tensors "<site>/0", "<site>/1", ... All are float32, or
    float64 as they are; whole numbers of 4 or 8 bytes stay what they are, and arrays may have any shape, as tables
    that lie beside the vectors, see `read_tables`.
    """
    named = list(_named(vectors))
    header: dict[str, Any] = {"__metadata__": {"format": "np", "schema": SCHEMA, "sites": "\n".join(vectors)}}
    end = 0
    for name, array in named:
        kind, saved = _saved_as(array)
        begin, end = end, end + saved.itemsize * array.size
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for _, array in named:
        file.write(np.ascontiguousarray(array, dtype=_saved_as(array)[1]).data)


_KINDS = {"<f8": "F64", "<i4": "I32", "<i8": "I64", "<u8": "U64"}


def _saved_as(array: NDArray[Any]) -> tuple[str, np.dtype[Any]]:
    """How an array is called in the file, and the numbers it holds there."""
    name = array.dtype.newbyteorder("<").str
    return (_KINDS[name], np.dtype(name)) if name in _KINDS else ("F32", np.dtype("<f4"))


def read_tables(path: Path, prefix: str) -> dict[str, NDArray[Any]]:
    """Read the arrays whose names begin with a prefix, of whatever shape and numbers, and no others.

    Raises:
        ExplorerError: a missing or damaged file.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            reader = cast("Any", file)
            names = [name for name in cast("list[str]", reader.keys()) if name.startswith(prefix)]
            return {name: cast("NDArray[Any]", reader.get_tensor(name)) for name in names}
    except (SafetensorError, OSError) as error:
        remedy = "restore it from a copy, or run the experiment again"
        raise ExplorerError(f"cannot be read: {error}", where=str(path), remedy=remedy) from None


def read_vectors(
    path: Path, *, runs: int, sites: Collection[str] | None = None, optional: Collection[str] = ()
) -> dict[str, Matrix | list[Matrix]]:
    """Read what `write_vectors` wrote.

    Args:
        path: the file.
        runs: how many runs it must hold.
        sites: read these alone, all of which it must hold; None reads all there are.
        optional: read these beside `sites`, as far as it holds them.

    Raises:
        ExplorerError: a missing or damaged file, or one that holds another number of runs.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            return _read(cast("Any", file), runs, sites, optional)
    except (SafetensorError, OSError, _DamagedError) as error:
        remedy = "restore it from a copy, or run the experiment again"
        raise ExplorerError(f"cannot be read: {error}", where=str(path), remedy=remedy) from None


def check_vectors(path: Path, *, runs: int, sites: Collection[str]) -> None:
    """Make sure that a file holds the vectors of so many runs at some sites; its header is read alone.

    Raises:
        ExplorerError: a missing or damaged file, or one that lacks some.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            reader = cast("Any", file)
            names = set(cast("list[str]", reader.keys()))
            for site in sites:
                listed = sum(name.startswith(f"{site}/") for name in names)
                held = int(reader.get_slice(site).get_shape()[0]) if site in names else listed
                if held != runs:
                    raise _DamagedError(f"it holds {held} runs of {site} where {runs} belong")
    except (SafetensorError, OSError, _DamagedError) as error:
        remedy = "restore it from a copy, or run the experiment again"
        raise ExplorerError(f"cannot be read: {error}", where=str(path), remedy=remedy) from None


BLOCK_ROWS = 1_024
"""Vectors that are read at a time where a file is streamed."""


def stream_runs(path: Path, *, runs: int, site: str) -> Iterator[Matrix]:
    """Read what `write_vectors` wrote one run after the other: [d], or [token, d] where every token was kept.

    Args:
        path: the file, which may be larger than the memory.
        runs: how many runs it must hold.

    Raises:
        ExplorerError: a missing or damaged file, or one that holds another number of runs.
    """
    check_vectors(path, runs=runs, sites=[site])
    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            reader = cast("Any", file)
            if site in set(cast("list[str]", reader.keys())):
                rows = reader.get_slice(site)
                for first in range(0, runs, BLOCK_ROWS):
                    yield from cast("Matrix", rows[first : min(runs, first + BLOCK_ROWS)])
            else:
                for run in range(runs):
                    yield _tensor(reader, f"{site}/{run}")
    except (SafetensorError, OSError, _DamagedError) as error:
        remedy = "restore it from a copy, or run the experiment again"
        raise ExplorerError(f"cannot be read: {error}", where=str(path), remedy=remedy) from None


def read_columns(path: Path, site: str, run: int, columns: Sequence[int]) -> Matrix:
    """Read a few coordinates of one run at every captured token, without the rest of the file.

    Args:
        path: the file.
        site: one of which every token was kept.
        run: its place among the session's runs.
        columns: coordinates of the site.

    Returns:
        [token, column]

    Raises:
        ExplorerError: a missing or damaged file, or one that lacks them.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            own = _tensor(cast("Any", file), f"{site}/{run}")
    except (SafetensorError, OSError, _DamagedError) as error:
        remedy = "restore it from a copy, or run the experiment again"
        raise ExplorerError(f"cannot be read: {error}", where=str(path), remedy=remedy) from None
    if any(not 0 <= column < own.shape[1] for column in columns):
        what = f"it holds {own.shape[1]} coordinates of {site}"
        raise ExplorerError(what, where=str(path), remedy=f"choose 0 to {own.shape[1] - 1}")
    return own[:, list(columns)]


def widths(vectors: Vectors) -> dict[str, int]:
    """The number of coordinates at each site; 0 where there is no run to tell it."""
    return {
        site: int(own.shape[1] if isinstance(own, np.ndarray) else own[0].shape[1] if own else 0)
        for site, own in vectors.items()
    }


class _DamagedError(Exception):
    """A well-formed file that is not what was written."""


def _named(vectors: Vectors) -> Iterator[tuple[str, Matrix]]:
    for site, own in vectors.items():
        if isinstance(own, np.ndarray):
            yield site, own
        else:
            yield from ((f"{site}/{run}", array) for run, array in enumerate(own))


def _read(
    file: Any, runs: int, sites: Collection[str] | None, optional: Collection[str]
) -> dict[str, Matrix | list[Matrix]]:
    metadata = cast("dict[str, str]", file.metadata() or {})
    if metadata.get("schema") != SCHEMA:
        raise _DamagedError("it holds no captured vectors")
    names = set(cast("list[str]", file.keys()))
    found: dict[str, Matrix | list[Matrix]] = {}
    for site in metadata.get("sites", "").split("\n") if names or metadata.get("sites") else []:
        if sites is not None and site not in sites and site not in optional:
            continue
        if site in names:
            found[site] = _tensor(file, site)
            held = len(found[site])
        else:
            held = sum(name.startswith(f"{site}/") for name in names)
            found[site] = [_tensor(file, f"{site}/{run}") for run in range(held) if f"{site}/{run}" in names]
        if held != runs or len(found[site]) != runs:
            raise _DamagedError(f"it holds {held} runs of {site} where {runs} belong")
    missing = [site for site in sites or () if site not in found]
    if missing:
        raise _DamagedError(f"it holds no vectors of {missing[0]}")
    return found


def _tensor(file: Any, name: str) -> Matrix:
    array = cast("Matrix", file.get_tensor(name))
    if array.dtype.str not in ("<f4", "<f8") or array.ndim != 2:
        raise _DamagedError(f"'{name}' is not a table of float32 or float64")
    return array


def read_direction(named: str, base: Path) -> NDArray[np.float64]:
    """Read a direction from a file and give it length 1.

    Args:
        named: "file.safetensors#name" or "file.npz#key" for a vector; "...#W_dec[123]" for a row of a matrix,
            "...#W_enc[:,123]" for a column.
        base: the folder a relative path starts from; the working folder comes next.

    Returns:
        [d] float64 unit vector.

    Raises:
        ExplorerError: no such file, name, row or column, not one row of finite numbers, or all zeros.
    """
    file, _, name = named.rpartition("#")
    written = paths.expanded(file)
    searched = [base / written] if written.is_absolute() else [base / written, paths.working_folder() / written]
    path = next((path for path in searched if path.exists()), None)
    if path is None:
        raise ExplorerError("there is no such file", where=file, remedy="check the path of the direction")
    vector = _vector_of(path, name)
    peak = float(np.abs(vector).max(initial=0)) if np.isfinite(vector).all() else 0.0
    if not peak:
        what = f"{name!r} is not a direction (it must be one row of finite numbers, not all 0)"
        raise ExplorerError(what, where=str(path), remedy="save a [d] vector")
    # Scaled first, so that the squares of no number overflow or vanish.
    scaled = vector / peak
    return scaled / float(np.linalg.norm(scaled))


def direction_sha256(direction: np.ndarray) -> str:
    """Hash a direction by its numbers, wherever they lie."""
    return hashlib.sha256(np.asarray(direction, dtype="<f8").tobytes()).hexdigest()


_LINE = re.compile(r"(?P<key>.+)\[\s*(?P<column>:\s*,)?\s*(?P<number>[0-9]{1,12})\s*(?:,\s*:\s*)?\]")
"""A row or a column of a matrix, as numpy writes it."""


def _vector_of(path: Path, name: str) -> NDArray[np.float64]:
    """[d] the vector that a name means: an array of that very name, else a row or column of a matrix."""
    line = _LINE.fullmatch(name)
    number = int(line["number"]) if line else 0
    keys = {name, line["key"]} if line else {name}
    others: dict[str, str] = {}
    shapes: dict[str, tuple[int, int]] = {}
    whole: list[NDArray[np.float64]] = []
    parts: list[NDArray[np.float64]] = []
    # A matrix may be larger than the memory: of it the line alone is kept.
    for part in read_arrays(path, only=keys):
        if isinstance(part, Skipped):
            others[part.key] = part.why
            continue
        rows, width = part.rows, part.rows.shape[1]
        shapes[part.key] = (part.first + len(rows), width)
        if part.key == name:
            whole += [rows.reshape(-1).astype(np.float64)] if width == 1 or part.first + len(rows) == 1 else []
        elif line:
            at = number - part.first
            kept = rows[:, number : number + 1] if line["column"] else rows[max(0, at) : max(0, at + 1)]
            parts.append(kept.reshape(-1).astype(np.float64))
    if name in shapes:
        if 1 not in shapes[name]:
            rows, width = shapes[name]
            what = f"{name!r} is not a direction but a matrix [{rows}, {width}]"
            remedy = f"name a row, {name}[0] to {name}[{rows - 1}], or a column, {name}[:,0]"
            raise ExplorerError(what, where=str(path), remedy=remedy)
        return np.concatenate(whole)
    if line and line["key"] in shapes:
        axis = 1 if line["column"] else 0
        many = shapes[line["key"]][axis]
        if number < many:
            return np.concatenate(parts)
        what = f"{'column' if axis else 'row'} {number} is out of range for '{line['key']}' {[*shapes[line['key']]]}"
        raise ExplorerError(what, where=str(path), remedy=f"choose 0 to {many - 1}")
    named = next((key for key in sorted(keys) if key in others), None)
    if named is not None:
        what = f"{named!r} is not a direction: {others[named]}"
        raise ExplorerError(what, where=str(path), remedy="save a [d] vector")
    known = ", ".join([*shapes, *others][:8])
    remedy = f"choose one of {known}" if known else "it holds none at all"
    raise ExplorerError(f"it holds no vector {name!r}", where=str(path), remedy=remedy)

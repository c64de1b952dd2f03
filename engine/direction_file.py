"""Directions in files: one named vector of a safetensors, .npz or .npy file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine.errors import ExplorerError
from engine.npz import Block, read_npz


def read_direction(named: str, base: Path) -> NDArray[np.float64]:
    """Read a direction from a file and give it length 1.

    Args:
        named: "file.safetensors#name" or "file.npz#key".
        base: the folder a relative path starts from; the working folder comes next.

    Returns:
        [d] float64 unit vector.

    Raises:
        ExplorerError: no such file or name, not one row of finite numbers, or all zeros.
    """
    file, _, name = named.rpartition("#")
    written = Path(file).expanduser()
    path = next((p for p in (base / written, Path.cwd() / written) if p.is_file()), None)
    if path is None:
        raise ExplorerError("there is no such file", where=file, remedy="check the path of the direction")
    vector = (_of_npz if path.suffix.lower() in (".npz", ".npy") else _of_safetensors)(path, name)
    vector = vector.reshape(-1) if vector.size == max(vector.shape, default=0) else vector
    peak = float(np.abs(vector).max(initial=0)) if vector.ndim == 1 and np.isfinite(vector).all() else 0.0
    if not peak:
        what = f"{name!r} is not a direction (it must be one row of finite numbers, not all 0)"
        raise ExplorerError(what, where=str(path), remedy="save a [d] vector")
    # Scaled first, so that the squares of no number overflow or vanish.
    scaled = vector / peak
    return scaled / float(np.linalg.norm(scaled))


def direction_sha256(direction: np.ndarray) -> str:
    """Hash a direction by its numbers, wherever they lie."""
    return hashlib.sha256(np.asarray(direction, dtype="<f8").tobytes()).hexdigest()


def _of_safetensors(path: Path, name: str) -> NDArray[np.float64]:
    try:
        with safe_open(path, framework="numpy") as opened:  # pyright: ignore[reportUnknownVariableType]
            reader = cast("Any", opened)
            names: list[str] = list(reader.keys())
            if name not in names:
                raise _unknown(path, name, names)
            return np.asarray(reader.get_tensor(name), dtype=np.float64)
    except (SafetensorError, OSError, TypeError) as error:
        what = f"it is no safetensors file that can be read: {error}"
        remedy = "save the vector with safetensors as float32, or with numpy.savez"
        raise ExplorerError(what, where=str(path), remedy=remedy) from None


def _of_npz(path: Path, name: str) -> NDArray[np.float64]:
    names: list[str] = []
    for part in read_npz(path):
        if part.key == name and isinstance(part, Block):
            return part.rows.astype(np.float64)
        names.append(part.key)
    if name in names:
        raise ExplorerError(f"{name!r} holds no vector", where=str(path), remedy="save a [d] vector")
    raise _unknown(path, name, list(dict.fromkeys(names)))


def _unknown(path: Path, name: str, names: list[str]) -> ExplorerError:
    known = ", ".join(names[:8])
    return ExplorerError(f"it holds no vector {name!r}", where=str(path), remedy=f"choose one of {known}")

"""Tensors of a safetensors file, those of bfloat16 too: where they lie, and how their bytes become numbers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

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

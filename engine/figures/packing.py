"""Bands as plain data for a session file: small, and fast to open."""

from __future__ import annotations

import base64
import zlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Band: TypeAlias = NDArray[np.float64]
"""[2, point] lower and upper end."""

FEW_POINTS = 30
"""Up to which a band is written as numbers that a person can read."""

MOST_BYTES = 1_000_000
"""Of a band that is read: a file may come from anyone."""


def packed(band: Band) -> str | list[list[float]]:
    """A band for a session file, to four significant digits: its numbers where they are few, else a text.

    The text is base64 of zlib of little-endian float32, lower ends first: it opens ten times as fast as numbers.
    """
    rounded = [[float(f"{value:.4g}") for value in row] for row in band.tolist()]
    if band.shape[1] <= FEW_POINTS:
        return rounded
    return base64.b64encode(zlib.compress(np.array(rounded, "<f4").tobytes())).decode("ascii")


def unpacked(data: object) -> Band:
    """Read what `packed` wrote.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if isinstance(data, str):
        whole = zlib.decompressobj()
        try:
            numbers = whole.decompress(base64.b64decode(data, validate=True), MOST_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if not whole.eof:
            raise ValueError("a band is cut short, or too long")
        return np.frombuffer(numbers, "<f4").astype(np.float64).reshape(2, -1)
    band = np.array(data, np.float64)
    if band.ndim != 2 or len(band) != 2:
        raise ValueError("a band has two ends")
    return band


def unpacked_curve(data: object) -> Band:
    """Read what `packed` wrote of a curve; TypeError or ValueError where it is something else, or has no point."""
    band = unpacked(data)
    if not band.shape[1]:
        raise ValueError("a band has a point at least")
    return band


def finite_pair(pair: tuple[float, float] | None) -> tuple[float, float] | None:
    """The pair itself, or None; ValueError where one of the two is not finite."""
    if pair is not None and not np.isfinite(pair).all():
        raise ValueError("a number is not finite")
    return pair

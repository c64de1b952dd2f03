"""What arithmetic predicts: a vector whose edited coordinates are what operations make of them, the text unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SegmentEdit:
    """One operation on some coordinates, or along a direction, of many runs.

    Attributes:
        op: `clamp` and `mean` replace by the value, `add` adds it, `scale` multiplies by it, `zero` replaces by 0,
            `steer` adds the value times a direction.
        present: [run] whether the run has it.
        values: [run, k] a value a coordinate, [run, 1] for `steer`; any numbers where the run has it not.
        columns: [k] which of the tracked coordinates; none for `steer`.
        direction: which of the directions, for `steer`.
        segments: [segment] the stretches of a row that it edits.
    """

    op: Literal["clamp", "add", "scale", "zero", "mean", "steer"]
    present: NDArray[np.bool_]
    values: Floats
    columns: NDArray[np.int64]
    direction: int
    segments: Sequence[bool]


def edited_sums(
    unedited: Floats, tokens: Floats, edits: Sequence[SegmentEdit], entries: Floats
) -> tuple[Floats, Floats]:
    """Apply operations, in order, to coordinates that are summed over the tokens of segments.

    Every operation is affine in the coordinate and the same at every token of a segment, so the sums are all it takes.

    Args:
        unedited: [run, segment, k] sums of the tracked coordinates over the captured tokens of a segment.
        tokens: [run, segment] how many those are.
        edits: in the order in which they happen.
        entries: [direction, k] entries of the directions at the tracked coordinates.

    Returns:
        [run, segment, k] the sums after the edits, and [run, direction] how far the other coordinates were moved along
        each direction, summed over all captured tokens.
    """
    sums = np.array(unedited, np.float64)
    moved = np.zeros((len(sums), len(entries)))
    for edit in edits:
        for segment in np.flatnonzero(edit.segments):
            counts = tokens[:, segment, None]
            if edit.op == "steer":
                far = np.where(edit.present, edit.values[:, 0] * counts[:, 0], 0.0)
                moved[:, edit.direction] += far
                sums[:, segment] += far[:, None] * entries[edit.direction]
                continue
            before = sums[:, segment, edit.columns]
            match edit.op:
                case "clamp" | "mean":
                    after = edit.values * counts
                case "add":
                    after = before + edit.values * counts
                case "scale":
                    after = before * edit.values
                case "zero":
                    after = np.zeros_like(before)
            sums[:, segment, edit.columns] = np.where(edit.present[:, None], after, before)
    return sums, moved


@dataclass(frozen=True, eq=False)
class Span:
    """The directions along which edits move a vector, and an orthonormal basis of what they span.

    Attributes:
        columns: [k] coordinates that are moved by themselves.
        rows: [m, width] directions, zero at `columns`.
        basis: [q, width] orthonormal basis of the rows.
    """

    width: int
    columns: NDArray[np.int64]
    rows: Floats
    basis: Floats

    @classmethod
    def of(cls, width: int, columns: NDArray[np.int64], directions: Floats, *, centred: bool = False) -> Span:
        """Lay out what edits of coordinates and along directions span.

        Args:
            columns: [k] different coordinates.
            directions: [m, width]; what they have at `columns` is left out, as it is part of the coordinates' change.
            centred: True where the space holds vectors whose mean over coordinates was taken out: so are the moves.
        """
        rows = np.array(directions, np.float64).reshape(-1, width)
        rows[:, columns] = 0.0
        if centred:
            unit = np.zeros((len(columns), width))
            unit[np.arange(len(columns)), columns] = 1.0
            rows = np.concatenate([unit, rows])
            rows -= rows.mean(axis=1, keepdims=True)
            columns = np.empty(0, np.int64)
        basis = np.linalg.qr(rows.T)[0].T if len(rows) else rows
        return cls(width, columns, rows, basis)

    def split(self, vectors: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Take vectors apart: [run, k + q] their coordinates in the span, and [run] the norm of what is outside it."""
        outside = np.array(vectors, np.float64)
        parts = [outside[:, self.columns]]
        # A direction at a time and no matrix product, so that a run's numbers do not depend on its neighbours.
        parts += [(outside * direction).sum(axis=1)[:, None] for direction in self.basis]
        inside = np.concatenate(parts, axis=1)
        outside[:, self.columns] = 0.0
        for index, direction in enumerate(self.basis):
            outside -= inside[:, len(self.columns) + index, None] * direction
        return inside, np.sqrt((outside**2).sum(axis=1))

    def shadows(self, moves: Floats) -> Floats:
        """[run, k + q] what moves along the columns and then the rows, [run, k + m], change of the coordinates."""
        k = len(self.columns)
        along = [(moves[:, k:] * (self.rows @ direction)).sum(axis=1)[:, None] for direction in self.basis]
        return np.concatenate([moves[:, :k], *along], axis=1)

    def on(self, basis: Floats) -> Floats:
        """[k + m, 2] coordinates of the moves in a plane whose orthonormal basis is [2, width]."""
        return np.concatenate([basis[:, self.columns].T, self.rows @ basis.T])

    def basis_on(self, basis: Floats) -> Floats:
        """[k + q, 2] where the span's own orthonormal basis falls in a plane."""
        return np.concatenate([basis[:, self.columns].T, self.basis @ basis.T])


def moved_norm(inside: Floats, outside: Floats) -> Floats:
    """[run] norms of vectors whose coordinates in a span are `inside` [run, q] and whose rest has norm `outside`.

    Nothing is subtracted, so nothing cancels where an edited coordinate was nearly all of a vector.
    """
    return np.sqrt((inside**2).sum(axis=1) + outside**2)

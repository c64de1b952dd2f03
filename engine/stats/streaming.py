"""Statistics of columns whose rows come in parts: moments that are summed, and a sample that stays small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)

_PART = 1 << 20
"""Numbers of a part that are raised to powers at a time."""


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """What is known of each column.

    Attributes:
        n: rows that were seen.
        mean: [column].
        std: [column] standard deviation (ddof 0).
        kurtosis: [column] excess kurtosis, 0 for a normal distribution; NaN for a column that never changes.
        low: [column] smallest value.
        high: [column] largest value.
        high_at: [column] number of the row that holds it, the first of them.
        positive: [column] share of values above 0.
        sample: [kept, column] rows that were kept, all of them or a random choice.
    """

    n: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    kurtosis: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    high_at: NDArray[np.int64]
    positive: NDArray[np.float64]
    sample: NDArray[np.float32]

    @property
    def is_exact(self) -> bool:
        """Whether every row was kept, so that quantiles are those of all rows."""
        return len(self.sample) == self.n

    @property
    def rms(self) -> NDArray[np.float64]:
        """[column] root of the mean square: how large a column is, whatever its sign."""
        return np.sqrt(self.mean**2 + self.std**2)

    @property
    def flatness(self) -> NDArray[np.float64]:
        """[column] standard deviation by root mean square: 0 for a constant, 1 for mean 0; NaN for zeros alone."""
        with np.errstate(invalid="ignore"):
            return self.std / self.rms

    def quantiles(self, levels: tuple[float, ...] = QUANTILES) -> NDArray[np.float64]:
        """[level, column] quantiles of the rows that were kept, interpolated linearly.

        A quantile q of a random choice of m rows stands at a rank that is off by sqrt(q (1 - q) / m), one standard
        error; levels nearer to 0 or 1 than 1 / m are no better than the extreme that was kept.
        """
        return np.quantile(self.sample.astype(np.float64), levels, axis=0)


class RunningColumns:
    """Gathers statistics of columns, part by part; the parts and their order change nothing beyond rounding.

    Powers are summed in float64 about the first row seen, so that a mean far from 0 costs no digits. Of the rows, those
    with the smallest random keys are kept: a random choice without replacement that depends on the row's number and the
    seed alone (bottom-k sampling; Cohen and Kaplan, 2007).

    Args:
        keep: the most rows that are kept, at least 1.
    """

    def __init__(self, keep: int, seed: int = 0) -> None:
        self._keep = keep
        self._seed = seed
        self._n = 0
        self._shift = np.zeros(0)
        self._sums = np.zeros((4, 0))
        self._positive = np.zeros(0, np.int64)
        self._low = np.zeros(0)
        self._high = np.zeros(0)
        self._high_at = np.zeros(0, np.int64)
        self._rows: list[NDArray[np.float32]] = []
        self._keys = np.zeros(0)

    def add(self, part: NDArray[np.floating], numbers: NDArray[np.int64]) -> None:
        """Take a part.

        Args:
            part: [row, column] finite values.
            numbers: [row] the number of each row among all, none twice.
        """
        if not len(part):
            return
        if not self._n:
            self._begin(part[0])
        for rows in np.array_split(part, -(-part.size // _PART)):
            shifted: NDArray[np.float64] = rows.astype(np.float64) - self._shift
            power = np.ones_like(shifted)
            for order in range(len(self._sums)):
                power *= shifted
                self._sums[order] += power.sum(axis=0)
        self._n += len(part)
        self._positive += (part > 0).sum(axis=0)
        self._low = np.minimum(self._low, part.min(axis=0))
        self._take_highest(part, numbers)
        self._keep_some(part, numbers)

    def result(self) -> ColumnStatistics:
        """Return what is known; ValueError where nothing was seen."""
        if not self._n:
            raise ValueError("no row was seen")
        first, second, third, fourth = self._sums / self._n
        # A column that never changes must have no spread, whatever rounding leaves.
        varies = self._high > self._low
        variance = np.where(varies, np.maximum(second - first**2, 0), 0.0)
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        with np.errstate(divide="ignore", invalid="ignore"):
            kurtosis = np.where(variance > 0, central / variance**2 - 3, np.nan)
        order = np.argsort(self._keys, kind="stable")
        return ColumnStatistics(
            n=self._n,
            mean=np.where(varies, self._shift + first, self._low),
            std=np.sqrt(variance),
            kurtosis=kurtosis,
            low=self._low,
            high=self._high,
            high_at=self._high_at,
            positive=self._positive / self._n,
            sample=np.concatenate(self._rows)[order],
        )

    def _begin(self, row: NDArray[np.floating]) -> None:
        self._shift = row.astype(np.float64)
        self._sums = np.zeros((4, len(row)))
        self._positive = np.zeros(len(row), np.int64)
        self._low, self._high = np.full(len(row), np.inf), np.full(len(row), -np.inf)
        self._high_at = np.full(len(row), np.iinfo(np.int64).max)

    def _take_highest(self, part: NDArray[np.floating], numbers: NDArray[np.int64]) -> None:
        # In the order of their numbers, so that of equal values the first is found whatever the parts are.
        ordered = np.argsort(numbers, kind="stable")
        at = part[ordered].argmax(axis=0)
        values, rows_at = part[ordered[at], np.arange(part.shape[1])], numbers[ordered[at]]
        better = (values > self._high) | ((values == self._high) & (rows_at < self._high_at))
        self._high = np.where(better, values, self._high)
        self._high_at = np.where(better, rows_at, self._high_at)

    def _keep_some(self, part: NDArray[np.floating], numbers: NDArray[np.int64]) -> None:
        keys = _keys(self._seed, numbers)
        if len(self._keys) >= self._keep:
            chosen = keys < self._keys.max()
            part, keys = part[chosen], keys[chosen]
        if not len(part):
            return
        self._rows.append(part.astype(np.float32))
        self._keys = np.concatenate([self._keys, keys])
        if len(self._keys) > self._keep:
            best = np.sort(np.argpartition(self._keys, self._keep - 1)[: self._keep])
            self._rows, self._keys = [np.concatenate(self._rows)[best]], self._keys[best]


def _keys(seed: int, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number from 0 to 1 for each row, the same whatever part it comes in (SplitMix64; Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = (numbers.astype(np.uint64) + np.uint64(seed % 2**63) * np.uint64(0x2545F4914F6CDD1D)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53

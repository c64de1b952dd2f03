"""Every neuron of a survey among all others: who moves the texts more than its like, prompt after prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as _stats  # pyright: ignore[reportMissingTypeStubs]

from srm_explorer.engine.stats.matching import rank_p
from srm_explorer.engine.stats.permutation import benjamini_hochberg

# scipy has no types; what it gives is an array again below.
stats: Any = _stats

Floats = NDArray[np.float64]

STEP = 1 / 32
"""Normal scores are rounded to multiples of this, so that the distribution of their sum is a finite sum."""
MOST_EXACT = 128
"""Units up to which that distribution is computed; the sum of more is as good as normal."""


@dataclass(frozen=True, eq=False)
class FamilyRanks:
    """Every cell among all cells of its family; NaN, and rank 0, for a cell that is not in it.

    Attributes:
        mean: [cell] its effect, averaged over units.
        rank: [cell] 1 for the largest mean; equal ones share the best of their ranks.
        score: [cell] its normal score, averaged over units: 0 for the middle of the family, 1 for what lies a standard
            deviation above it in every unit.
        p: [cell] how often chance ranks a cell so high over all units together.
        q: [cell] the same, Benjamini-Hochberg over the family.
        units: how many there are.
        family: cells that are compared.
    """

    mean: Floats
    rank: NDArray[np.int64]
    score: Floats
    p: Floats
    q: Floats
    units: int
    family: int

    def p_before(self, cell: int) -> float:
        """The p of one cell that was named before anybody looked: the rank of its mean among the others (`rank_p`).

        NaN for a cell outside the family, or alone in it.
        """
        return rank_p(float(self.mean[cell]), np.delete(self.mean, cell))


def rank_family(effects: ArrayLike) -> FamilyRanks:
    """Rank cells within every unit, and test that a cell's ranks are no higher than chance has them.

    In every unit the cells are ranked, equal ones sharing their mean rank, and rank r of m becomes the normal score
    ``Phi^-1(r / (m + 1))`` (van der Waerden 1952), centred, so that a unit that responds a hundred times as much counts
    no more than another. Where a cell is like the others, each unit's score is a draw from that unit's own scores, and
    units are independent; p is the share of such sums that reach the cell's, computed by convolution (normal beyond
    `MOST_EXACT` units), one-sided: large effects are looked for. Cells of a family push one another down in the ranks,
    which makes their scores negatively dependent, by 1 / (m - 1).

    Args:
        effects: [unit, cell] of any scale; a cell with an entry that is not finite takes no part.
    """
    table = np.asarray(effects, np.float64)
    units, cells = table.shape
    kept = np.flatnonzero(np.isfinite(table).all(axis=0)) if units else np.zeros(0, np.int64)
    mean, score, p = (np.full(cells, np.nan) for _ in range(3))
    rank = np.zeros(cells, np.int64)
    if kept.size:
        table = table[:, kept]
        means = table.mean(axis=0)
        steps = _scores(table)
        sums = steps.sum(axis=0)
        mean[kept] = means
        rank[kept] = stats.rankdata(-means, method="min").astype(np.int64)
        score[kept] = sums * STEP / units
        if kept.size > 1:
            p[kept] = _reached(steps, sums)
    return FamilyRanks(mean, rank, score, p, benjamini_hochberg(p), units, int(kept.size))


def _scores(table: Floats) -> NDArray[np.int64]:
    """[unit, cell] normal scores in multiples of STEP."""
    ranks = np.asarray(stats.rankdata(table, axis=1), np.float64)
    scores = np.asarray(stats.norm.ppf(ranks / (table.shape[1] + 1)), np.float64)
    # Many equal ranks at one end shift a unit's mean away from 0.
    scores -= scores.mean(axis=1, keepdims=True)
    return np.rint(scores / STEP).astype(np.int64)


def _reached(steps: NDArray[np.int64], sums: NDArray[np.int64]) -> Floats:
    """[cell] the probability that one draw of every unit's scores [unit, cell] adds up to no less than a sum."""
    units, cells = steps.shape
    if units > MOST_EXACT:
        spread = np.sqrt((steps.astype(np.float64) ** 2).mean(axis=1).sum())
        if not spread:
            return np.ones(len(sums))
        middle = float(steps.mean(axis=1).sum())
        # Half a step: a sum of whole steps stands for all that is rounded to it.
        reached: Floats = stats.norm.sf((sums - 0.5 - middle) / spread)
        return reached
    low = steps.min(axis=1)
    share = np.ones(1)
    for unit, least in zip(steps, low.tolist(), strict=True):
        # Terms are positive, so that small probabilities keep their digits, which a Fourier transform would lose.
        share = np.convolve(share, np.bincount(unit - least) / cells)
    above = np.minimum(np.cumsum(share[::-1])[::-1], 1.0)
    return above[sums - int(low.sum())]

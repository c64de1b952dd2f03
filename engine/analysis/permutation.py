"""Permutation tests on units: how often chance alone, acting on whole units, does as much."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

PERMUTATIONS = 10_000
# Equal statistics computed in another order differ by round-off; they count as reached.
AS_LARGE = 1.0 - 1e-9
# Numbers held at a time while many hypotheses are tested: 64 MB.
CHUNK = 8_000_000


@dataclass(frozen=True, eq=False)
class SignFlips:
    """What `sign_flip_test` found.

    Attributes:
        p: [hypothesis] or a single number; 1 where every value is zero.
        flips: how many sign patterns were tried; all of them where exact.
        exact: whether every pattern was tried.
        units: how many units have values.
    """

    p: NDArray[np.float64]
    flips: int
    exact: bool
    units: int


def sign_flip_test(values: ArrayLike, flips: int = PERMUTATIONS, seed: int = 0) -> SignFlips:
    """Test that paired differences are symmetric around zero, by flipping the signs of whole units.

    The statistic is Hotelling's ``s' M^-1 s`` with s the sum over units and M their second moment, which no flip
    changes: a joint test of all k coordinates. Fisher 1935; p = (1 + reached) / (1 + flips) after Hemerik and Goeman
    2018.

    Args:
        values: [unit, k] a difference of every unit, or [unit, hypothesis, k] for many hypotheses at once, under the
            same flips. A unit with an entry that is not finite takes no part in that hypothesis.
        flips: random sign patterns; where 2^units is no more than this, all patterns are tried instead.
        seed: of the patterns.
    """
    given = np.asarray(values, np.float64)
    table = given[:, None, :] if given.ndim == 2 else given
    known = np.isfinite(table.sum(axis=2))
    table = np.where(known[:, :, None], table, 0.0)
    taking_part = np.count_nonzero(known, axis=1) > 0
    table = table[taking_part]
    signs, exact = sign_patterns(len(table), flips, seed)
    p = np.ones(table.shape[1])
    step = max(1, CHUNK // max(1, len(signs) * table.shape[2]))
    rows = max(1, CHUNK // max(1, len(table)))
    for start in range(0, table.shape[1], step):
        part = table[:, start : start + step]
        # Every hypothesis is whitened by its own second moment, so the statistic is a plain sum of squares.
        whitened = np.stack([_whitened(part[:, index]) for index in range(part.shape[1])], axis=1)
        observed: NDArray[np.float64] = (whitened.sum(axis=0) ** 2).sum(axis=1)
        columns = whitened.shape[1] * whitened.shape[2]
        flat = whitened.reshape(len(table), columns)
        products = [signs[at : at + rows].astype(np.float64) @ flat for at in range(0, len(signs), rows)]
        sums = np.concatenate(products).reshape(len(signs), *whitened.shape[1:])
        reached: NDArray[np.int64] = ((sums**2).sum(axis=2) >= observed * AS_LARGE).sum(axis=0)
        p[start : start + step] = reached / len(signs) if exact else (1 + reached) / (1 + len(signs))
    return SignFlips(p[0] if given.ndim == 2 else p, len(signs), exact, int(taking_part.sum()))


def sign_patterns(units: int, flips: int, seed: int) -> tuple[NDArray[np.int8], bool]:
    """Sign patterns [pattern, unit] of +1 and -1, and whether they are all there are."""
    if 2**units <= flips:
        return np.array(list(product((1, -1), repeat=units)), np.int8).reshape(2**units, units), True
    return 1 - 2 * np.random.default_rng(seed).integers(0, 2, size=(flips, units), dtype=np.int8), False


def permutation_p(observed: ArrayLike, permuted: ArrayLike) -> NDArray[np.float64]:
    """How often a permuted statistic is as large as the observed one: (1 + reached) / (1 + permutations).

    Args:
        observed: [...] statistics, larger ones more against the hypothesis; NaN gives NaN.
        permuted: [permutation, ...] the same after each permutation.
    """
    seen, drawn = np.asarray(observed, np.float64), np.asarray(permuted, np.float64)
    slack = np.abs(seen) * (1.0 - AS_LARGE)
    reached = (drawn >= seen - slack).sum(axis=0)
    return np.where(np.isnan(seen), np.nan, (1.0 + reached) / (1.0 + len(drawn)))


def permutations_within(of_run: ArrayLike, permutations: int = PERMUTATIONS, seed: int = 0) -> NDArray[np.int64]:
    """Orders of runs that stay inside their unit: ``labels[order[i]]`` are labels permuted within units.

    Args:
        of_run: [run] the unit (or stratum) of each run: any whole numbers.
        permutations: how many.
        seed: of what is drawn.

    Returns:
        [permutation, run] indices.
    """
    places = np.unique(np.asarray(of_run), return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    home = np.argsort(places, kind="stable")
    orders = np.empty((permutations, len(places)), np.int64)
    step = max(1, CHUNK // max(1, len(places)))
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        shuffled = np.argsort(places + generator.random((rows, len(places))), axis=1)
        orders[start : start + rows, home] = shuffled
    return orders


def unit_permutations(stratum: ArrayLike, permutations: int = PERMUTATIONS, seed: int = 0) -> NDArray[np.int64]:
    """Orders of units that stay inside their stratum, [permutation, unit]: for correlations across units.

    Args:
        stratum: [unit] the prompt set of each; all equal to permute freely.
        permutations: how many.
        seed: of what is drawn.
    """
    return permutations_within(stratum, permutations, seed)


def _whitened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[unit, k] values in whose coordinates the second moment is the identity, or 0 along directions without values."""
    _, singular, right = np.linalg.svd(values, full_matrices=False)
    kept = singular > 1e-12 * singular.max(initial=0.0)
    scale = np.where(kept, 1.0 / np.where(kept, singular, 1.0), 0.0)
    return values @ (right.T * scale)

"""Controls of an intervention: neurons that are like its own, and directions that are like any other."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POOL = 3
"""Controls are drawn from this many times as many nearest neurons, so that they are random and near."""

_NORMAL = 1.4826  # median absolute deviation to standard deviation, of a normal distribution
_FLOOR = 1e-6  # of the median; a neuron that never changes has no logarithm


@dataclass(frozen=True, eq=False)
class Traits:
    """What neurons are matched on.

    Attributes:
        mean: [neuron] over the baseline's generated tokens.
        std: [neuron] over the same (ddof 0).
        norm: [neuron] length of the row of W_out.
    """

    mean: Floats
    std: Floats
    norm: Floats

    def standardised(self) -> Floats:
        """[neuron, 3] mean, log standard deviation and log norm, each over its robust spread among all neurons.

        The spread is 1.4826 times the median absolute deviation (Hampel 1974), since a few loud neurons would make a
        standard deviation that calls all others alike; where that is 0, the standard deviation. NaN for a neuron with a
        trait that is not finite.
        """
        return np.stack([_spread_out(self.mean), _spread_out(_log(self.std)), _spread_out(_log(self.norm))], axis=1)


@dataclass(frozen=True, eq=False)
class Matched:
    """The controls of one neuron.

    Attributes:
        neurons: [control] distinct.
        distances: [control] from the neuron, Euclidean, in robust spreads.
    """

    neurons: NDArray[np.int64]
    distances: Floats


def pooled_moments(mean: Floats, variance: Floats, tokens: Sequence[int]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (ddof 0) over the tokens of all runs, from those of each run.

    Args:
        mean: [run, neuron] over a run's tokens.
        variance: [run, neuron] over the same (ddof 0).
        tokens: [run] how many there are; runs without any count for nothing.

    Returns:
        [neuron] and [neuron]; NaN where there is no token at all.
    """
    weight = np.asarray(tokens, np.float64)[:, None]
    used = weight[:, 0] > 0
    if not used.any():
        missing = np.full(mean.shape[1], np.nan)
        return missing, missing
    weight, means, within = weight[used], np.asarray(mean, np.float64)[used], np.asarray(variance, np.float64)[used]
    whole = (weight * means).sum(axis=0) / weight.sum()
    spread = (weight * (within + (means - whole) ** 2)).sum(axis=0) / weight.sum()
    return whole, np.sqrt(spread)


def match_neurons(
    traits: Traits, targets: Sequence[int], count: int, taken: Collection[int], seed: Sequence[int]
) -> list[Matched]:
    """Choose controls for neurons: at random among the nearest, none of them twice.

    With controls drawn from the ``3 k`` nearest, target and controls are as good as exchangeable where nothing sets the
    target apart, which is what the rank p needs (Phipson and Smyth 2010).

    Args:
        traits: of all neurons of the site.
        targets: the neurons, distinct.
        count: controls of each.
        taken: neurons that may not be chosen; the targets are among them.

    Returns:
        One a target.

    Raises:
        ValueError: too few neurons are left, or a target has no finite traits.
    """
    generator = np.random.Generator(np.random.PCG64(list(seed)))
    positions = traits.standardised()
    free = np.asarray(np.isfinite(positions).all(axis=1))
    for target in targets:
        if not free[target]:
            raise ValueError(f"neuron {target} has no finite mean, standard deviation and norm")
    free[[*taken, *targets]] = False
    matches: list[Matched] = []
    for target in targets:
        others = np.flatnonzero(free)
        if len(others) < count:
            raise ValueError(f"{len(others)} neurons are left for {count} controls")
        distances = np.sqrt(((positions[others] - positions[target]) ** 2).sum(axis=1))
        nearest = np.argsort(distances, kind="stable")[: POOL * count]
        chosen = np.sort(generator.choice(nearest, size=count, replace=False))
        drawn = generator.permutation(chosen)
        free[others[drawn]] = False
        matches.append(Matched(others[drawn], distances[drawn]))
    return matches


def placebo_direction(seed: Sequence[int], width: int) -> Floats:
    """Draw a direction from the uniform distribution on the sphere, the same from the same seed in every version.

    Made of the raw bits of a Philox stream, which numpy keeps as they are, where its normal variates may change; the
    transform is that of Box and Muller (1958).

    Returns:
        [width] of length 1.
    """
    stream = np.random.Philox(np.random.SeedSequence(list(seed)))
    pairs = (width + 1) // 2
    uniform = (np.asarray(stream.random_raw(2 * pairs), np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log1p(-uniform[:pairs]))
    angle = 2.0 * np.pi * uniform[pairs:]
    drawn = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:width]
    return drawn / np.linalg.norm(drawn)


def rank_p(target: float, controls: Sequence[float] | Floats, candidates: int = 1) -> float:
    """How often the best of m exchangeable candidates has no more than b of k controls at or above it.

    ``1 - C(k, b + 1) / C(m + k, b + 1)``: the b + 1 largest of all m + k are not all controls (the number of
    exceedances; Gumbel and von Schelling 1950, the maximum over candidates as in Westfall and Young 1993). For one
    candidate that is the share of target and controls at least as large as the target, ``(1 + b) / (k + 1)``, never
    below 1/(k+1) (Phipson and Smyth 2010). For a target that is not the best of its candidates it is too large, never
    too small.

    Args:
        target: of the neuron that was chosen.
        controls: [control] of others, none of them a candidate; those that are NaN are left out.
        candidates: m, how many were looked at before the target was chosen, itself included; 1 for none but itself.

    Returns:
        NaN where the target is, or no control is left.
    """
    others = np.asarray(controls, np.float64)
    others = others[~np.isnan(others)]
    if np.isnan(target) or not others.size:
        return float("nan")
    # What is equal but for rounding is at least as large.
    slack = 1e-12 * max(1.0, abs(target))
    above, k = int(np.count_nonzero(others >= target - slack)), len(others)
    # Whole numbers, so that it is exact for any number of candidates.
    every = math.comb(candidates + k, above + 1)
    return (every - math.comb(k, above + 1)) / every


def null_band(curves: Floats) -> tuple[Floats, bool]:
    """The range that k curves span at every point, or its middle 95 % where that is narrower: from k = 39 on.

    The ends are order statistics: at every point by itself, a further exchangeable curve lies outside with a
    probability of at most 5 %, which the range of fewer than 39 cannot promise.

    Args:
        curves: [control, point].

    Returns:
        [2, point], and whether it is the middle 95 %.
    """
    ordered = np.sort(np.asarray(curves, np.float64), axis=0)
    k = len(ordered)
    cut = int(0.025 * (k + 1) + 1e-9)
    if cut < 1:
        return np.stack([ordered[0], ordered[-1]]), False
    return np.stack([ordered[cut - 1], ordered[k - cut]]), True


def _log(values: Floats) -> Floats:
    positive = values[np.isfinite(values) & (values > 0)]
    floor = _FLOOR * float(np.median(positive)) if positive.size else 1.0
    with np.errstate(invalid="ignore"):
        return np.log(np.maximum(values, floor))


def _spread_out(values: Floats) -> Floats:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.full(len(values), np.nan)
    middle = float(np.median(finite))
    spread = _NORMAL * float(np.median(np.abs(finite - middle))) or float(finite.std()) or 1.0
    return (values - middle) / spread

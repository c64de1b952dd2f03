"""What the line under a chart says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Readout:
    """What the line under a chart says of all runs of swept conditions, and of the baseline's.

    Attributes:
        theta: the spotlight's angle, degrees.
        threshold: cosine.
        lit, total, mean: of the finite runs of all swept conditions: those whose cosine is above the threshold,
            how many there are, and their mean cosine, NaN without one.
        baseline_lit, baseline_total, baseline_mean: the same of the baseline.
        as_charted: whether the chart shows these very numbers, and not what is left of them.
    """

    theta: int
    threshold: float
    lit: int
    total: int
    mean: float
    baseline_lit: int
    baseline_total: int
    baseline_mean: float
    as_charted: bool = True

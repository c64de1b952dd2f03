"""The test of units' slopes by its definition, a partner and a sign pattern at a time: slow, to check the fast way."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.stats.pairings import Method
from srm_explorer.engine.stats.unit_slopes import CLOSE, TIE


def slope_p_reference(x: ArrayLike, y: ArrayLike, prompt: ArrayLike, unit: ArrayLike, method: Method) -> float:
    """Give the p of one partner over all 2^units sign patterns, as `slope_test` gives it.

    Args:
        x: [run], varying within a prompt of every unit.
        y: [run].
        prompt: [run].
        unit: [run].
        method: "pearson" or "spearman".
    """
    set_to, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    of_prompt, of_unit = np.asarray(prompt), np.asarray(unit)
    slopes: list[float] = []
    for one in np.unique(of_unit):
        slope = 0.0
        for here in np.unique(of_prompt[of_unit == one]):
            a, b = (_of_prompt(values, of_prompt == here, method) for values in (set_to, other))
            slope += float(((a - a.mean()) * (b - b.mean())).sum())
        slopes.append(slope)
    far = abs(sum(slopes)) - TIE * float(np.linalg.norm(slopes))
    reached = [abs(float(np.dot(signs, slopes))) >= far for signs in product((1, -1), repeat=len(slopes))]
    return sum(reached) / len(reached)


def _of_prompt(values: NDArray[np.float64], here: NDArray[np.bool_], method: Method) -> NDArray[np.float64]:
    close = CLOSE * float(np.sqrt((values**2).mean()))
    return np.array(_ranks(values[here].tolist(), close)) if method == "spearman" else values[here]


def _ranks(values: list[float], close: float) -> list[float]:
    """Ranks from 1; values that a chain of steps no longer than `close` joins share their mean."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    ties: list[list[int]] = []
    for at in order:
        if ties and values[at] - values[ties[-1][-1]] <= close:
            ties[-1].append(at)
        else:
            ties.append([at])
    ranks, before = [0.0] * len(values), 0
    for tie in ties:
        for at in tie:
            ranks[at] = before + (len(tie) + 1) / 2
        before += len(tie)
    return ranks

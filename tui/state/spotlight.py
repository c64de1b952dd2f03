"""The spotlight: its direction, and what it lights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from engine.analysis.arcs import STRICT, directions
from engine.analysis.groups import BASELINE
from engine.figures.curves import SweptGroup

FULL_TURN = 360


def spotlight(theta: int) -> tuple[float, float]:
    """Cosine and sine of a whole angle in degrees: the very numbers the sweep compares with."""
    cos, sin = directions(FULL_TURN)
    return float(cos[theta % FULL_TURN]), float(sin[theta % FULL_TURN])


@overload
def is_lit(cosine: float, threshold: float) -> bool: ...
@overload
def is_lit(cosine: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]: ...
def is_lit(cosine: float | NDArray[np.float64], threshold: float) -> bool | NDArray[np.bool_]:
    """Whether a cosine is above a threshold as the sweep compares: strictly; NaN is not."""
    return cosine > threshold + STRICT


def without_baseline(groups: Sequence[SweptGroup]) -> tuple[SweptGroup, ...]:
    """The groups but the baseline, or the baselines of all levels; all of them where nothing else would be left."""
    return tuple(group for group in groups if not is_baseline(group.label)) or tuple(groups)


def is_baseline(label: str) -> bool:
    """Whether a group's label is the baseline's, or that of one of its levels."""
    return label == BASELINE or label.startswith(f"{BASELINE} · ")

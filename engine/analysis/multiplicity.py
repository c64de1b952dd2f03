"""Many hypotheses at once: the share of false ones among those that are called true."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """The smallest false discovery rate at which each hypothesis would be called: ``min over j >= i of m p(j) / j``.

    Benjamini and Hochberg 1995. It holds for independent and for positively dependent tests (Benjamini and Yekutieli
    2001). The family is every p that is a number: pass all of an analysis, whatever is shown of it later.

    Args:
        p: any shape, 0 to 1; NaN where a hypothesis was not tested: it is not in the family and stays NaN.

    Returns:
        The shape of p, 0 to 1.

    Raises:
        ValueError: a p is outside 0 to 1.
    """
    given = np.asarray(p, np.float64)
    flat = given.ravel()
    tested = np.flatnonzero(~np.isnan(flat))
    values = flat[tested]
    if ((values < 0) | (values > 1)).any():
        raise ValueError("a p-value lies outside 0 to 1")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    smallest = np.minimum.accumulate(scaled[::-1])[::-1]
    q = np.full(flat.shape, np.nan)
    q[tested[order]] = np.minimum(smallest, 1.0)
    return q.reshape(given.shape)


def family_size(p: ArrayLike) -> int:
    """How many hypotheses q-values are corrected over: those that were tested."""
    return int(np.count_nonzero(~np.isnan(np.asarray(p, np.float64))))

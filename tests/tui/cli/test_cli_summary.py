from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.figures import peak_of
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 12),
    angles=st.integers(1, 40),
    level=st.sampled_from([-1.0, -0.3, 0.0, 0.2, 0.7]),
)
def test_a_peak_is_an_arc_of_largest_counts_that_cannot_be_made_longer(
    seed: int, n: int, angles: int, level: float
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, 4))
    swept = spotlight_sweep(unit_coordinates(vectors[:, :2], np.linalg.norm(vectors, axis=1)), (level,), angles)
    peak, counts = peak_of(swept, 0), swept.counts[0]
    assert peak.count == counts.max()
    if peak.count == 0:
        assert peak.first_deg is None
        return
    assert peak.first_deg is not None
    assert peak.last_deg is not None
    first, last = (int(np.searchsorted(swept.angles_deg, deg)) for deg in (peak.first_deg, peak.last_deg))
    length = (last - first) % angles + 1
    assert all(counts[(first + step) % angles] == peak.count for step in range(length))
    if length < angles:
        assert counts[(first - 1) % angles] < peak.count
        assert counts[(last + 1) % angles] < peak.count

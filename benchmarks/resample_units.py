"""The statistics of the protocol's two groups beside a plain loop over resamples, in one process, taking turns.

python benchmarks/resample_units.py
"""

from __future__ import annotations

import argparse
import statistics as middle
import sys
import time

import numpy as np

from srm_explorer.engine.stats.bands import share_bands, unit_counts
from srm_explorer.engine.stats.regions import joint_region
from srm_explorer.engine.stats.resampling import bootstrap_weights, unit_totals

UNITS, THRESHOLDS, ANGLES = 50, (0.7, 0.5, 0.3, 0.1), 360
VALUES = np.array([-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20.0])
STRATUM = np.repeat([0, 1], [20, 30])

Group = tuple[np.ndarray, np.ndarray]


def two_groups(seed: int) -> list[Group]:
    """50 baseline runs and 550 clamped ones: [run, 2] unit coordinates and the unit of each run."""
    generator = np.random.default_rng(seed)
    rest = generator.normal(14, 3, size=(UNITS, 1)) * np.exp(0.1 * generator.normal(size=(UNITS, len(VALUES))))
    clamped = np.stack([VALUES / np.hypot(VALUES, rest), 0.1 * generator.normal(size=rest.shape)], -1).reshape(-1, 2)
    baseline = generator.normal([0.01, -0.01], [0.02, 0.05], size=(UNITS, 2))
    return [(baseline, np.arange(UNITS)), (clamped, np.repeat(np.arange(UNITS), len(VALUES)))]


def vectorised(groups: list[Group], resamples: int) -> None:
    """Joint region and simultaneous count bands of every group."""
    for xy, of_run in groups:
        joint_region(unit_totals(xy, of_run, UNITS), STRATUM, resamples=resamples)
        share_bands(unit_counts(xy, of_run, UNITS, THRESHOLDS, ANGLES), STRATUM, len(THRESHOLDS), resamples=resamples)


def one_by_one(groups: list[Group], resamples: int) -> None:
    """The same curves of every resample, laid out run by run and swept angle by angle as arrays."""
    radians = np.deg2rad(np.arange(ANGLES))
    directions = np.stack([np.cos(radians), np.sin(radians)])
    for xy, of_run in groups:
        curves = []
        for weight in bootstrap_weights(STRATUM, resamples):
            runs = np.repeat(np.arange(len(xy)), weight[of_run].astype(int))
            cosine = xy[runs] @ directions
            counts = [np.count_nonzero(cosine > level + 1e-12, axis=0) / len(runs) for level in THRESHOLDS]
            curves.append(np.concatenate([xy[runs].mean(axis=0), *counts]))
        table = np.array(curves)
        spread = np.where(table.std(axis=0) > 0, table.std(axis=0), 1.0)
        np.quantile(np.abs((table - table.mean(axis=0)) / spread).max(axis=1), 0.95)


def main() -> int:
    """Print seconds of both ways for as many resamples, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--plain", type=int, default=100, help="resamples of the plain loop; its time is scaled up")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=float, default=0.0, help="fail if the fast way takes more seconds than this")
    given = parser.parse_args()
    groups = two_groups(0)
    fast: list[float] = []
    slow: list[float] = []
    for _ in range(given.rounds):
        start = time.perf_counter()
        vectorised(groups, given.resamples)
        fast.append(time.perf_counter() - start)
        start = time.perf_counter()
        one_by_one(groups, given.plain)
        slow.append((time.perf_counter() - start) * given.resamples / given.plain)
    took, plain = middle.median(fast), middle.median(slow)
    grid = f"{ANGLES} angles x {len(THRESHOLDS)} thresholds"
    print(f"two groups, 600 runs of {UNITS} units, {grid}, {given.resamples:,} resamples")
    print(f"regions and simultaneous bands   {took:7.3f} s   ({min(fast):.3f} to {max(fast):.3f})")
    print(f"plain loop over resamples        {plain:7.3f} s   (from {given.plain} of them)")
    print(f"ratio                            {plain / took:7.0f}")
    return 1 if given.most and took > given.most else 0


if __name__ == "__main__":
    sys.exit(main())

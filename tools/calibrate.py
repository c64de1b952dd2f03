"""Measure every test and interval on simulated experiments, and write what they keep into docs/methods.md.

python tools/calibrate.py [--experiments N] [--only WORDS] [--write]

It fails where a size leaves its limit, or a coverage falls short of it, by more than three standard errors of the
simulation. Continuous integration runs it with few experiments; the table is made with --write.

A quantity is one function with @measured above it; it gets a generator and a number of experiments.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from srm_explorer.engine.stats.bands import share_bands, unit_counts
from srm_explorer.engine.stats.collapse import HealthMatrix
from srm_explorer.engine.stats.comparison import Sample, paired_test, synergy
from srm_explorer.engine.stats.dose_response import curve_at, curve_slopes, monotone_test, saturation
from srm_explorer.engine.stats.equivalence import equivalence_test
from srm_explorer.engine.stats.matching import rank_p
from srm_explorer.engine.stats.pairings import pair
from srm_explorer.engine.stats.permutation import benjamini_hochberg, matched_blocks, sign_flip_test
from srm_explorer.engine.stats.plane_tests import correlation_test, flipped_residuals
from srm_explorer.engine.stats.plane_tests import paired_test as planes_test
from srm_explorer.engine.stats.regions import JointRegion, amplitude_difference, joint_region
from srm_explorer.engine.stats.resampling import UnitTotals, bca_interval, binomial_interval, unit_totals
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.engine.stats.survey import rank_family
from srm_explorer.engine.stats.unit_means import mean_effect
from srm_explorer.engine.stats.unit_slopes import mean_slopes, slope_test, unit_slopes

METHODS = Path(__file__).resolve().parents[1] / "docs" / "methods.md"
BEGIN, END = "<!-- calibration: tools/calibrate.py -->", "<!-- end of calibration -->"
EXPERIMENTS = 4_000
LEVEL = 0.05

Array = np.ndarray


@dataclass(frozen=True)
class Measured:
    """What a simulation gave; NaN for what the quantity has not.

    Attributes:
        size: share of nulls with p <= .05.
        coverage: share of 95 % intervals that hold the truth.
        power: share of p <= .05 where something is there.
        beside: the same of the reference that is best where its assumptions hold, on the same data.
        experiments: behind each share.
        most: size that is allowed.
        least: coverage that is asked for.
    """

    size: float = np.nan
    coverage: float = np.nan
    power: float = np.nan
    beside: float = np.nan
    experiments: int = 0
    most: float = LEVEL
    least: float = 1 - LEVEL

    @property
    def problems(self) -> list[str]:
        problems: list[str] = []
        if np.isnan(self.size) and np.isnan(self.coverage):
            problems.append("nothing was measured")
        if self.size > self.most + self._room(self.most):
            problems.append(f"size {self.size:.3f} is above {self.most:.3f}")
        if self.coverage < self.least - self._room(self.least):
            problems.append(f"coverage {self.coverage:.3f} is below {self.least:.3f}")
        return problems

    def _room(self, share: float) -> float:
        return 3 * float(np.sqrt(share * (1 - share) / self.experiments))


Simulation = Callable[[np.random.Generator, int], Measured]


@dataclass(frozen=True)
class Quantity:
    """A line of the table.

    Attributes:
        name: what the tool prints.
        reference: the independent implementation that its tests compare it with.
        null: what the simulated experiments are like.
        share: of the experiments asked for that it runs, where one takes long.
    """

    name: str
    reference: str
    null: str
    simulate: Simulation
    share: float


QUANTITIES: list[Quantity] = []


def measured(name: str, reference: str, null: str, share: float = 1.0) -> Callable[[Simulation], Simulation]:
    """Add a simulation to the table, `share` of the experiments asked for where one takes long."""

    def add(simulate: Simulation) -> Simulation:
        QUANTITIES.append(Quantity(name, reference, null, simulate, share))
        return simulate

    return add


VALUES = np.array([-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20.0])
RUNS = len(VALUES) + 1
UNITS = 24


def swept(rng: np.random.Generator, units: int = UNITS) -> tuple[Array, Array]:
    """Units [run] and what was set [run]: a baseline with the neuron's own activation, then the values."""
    own = rng.exponential(0.3, size=(units, 1))
    return np.repeat(np.arange(units), RUNS), np.concatenate([own, np.tile(VALUES, (units, 1))], axis=1).ravel()


def persistent(rng: np.random.Generator, experiments: int, units: int = UNITS) -> Array:
    """[run, experiment] greedy texts: equal to the baseline's at small values, alike at neighbouring ones.

    Units respond unequally much, each upwards or downwards by chance: no trend over units.
    """
    moves = rng.standard_t(4, (units, len(VALUES), experiments))
    for at in range(1, len(VALUES)):
        moves[:, at] = 0.8 * moves[:, at - 1] + 0.6 * moves[:, at]
    moves += 0.05 * VALUES[:, None]
    moves[np.abs(VALUES) <= rng.choice([1, 3, 6], size=(units, 1))] = 0.0
    moves *= rng.exponential(size=(units, 1, experiments)) * rng.choice([-1.0, 1.0], size=(units, 1, experiments))
    whole = np.concatenate([np.zeros((units, 1, experiments)), moves], axis=1)
    return (rng.normal(size=(units, 1, experiments)) + whole).reshape(units * RUNS, experiments)


def called(p: Array) -> float:
    """The share of p that are no larger than .05."""
    return float(np.mean(p <= LEVEL))


def by_t(values: Array) -> float:
    """Student's t of the means of [unit, experiment]."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return called(2 * stats.t.sf(np.abs(values.mean(axis=0) / error), len(values) - 1))


def _slopes(method: str) -> Simulation:
    def simulate(rng: np.random.Generator, experiments: int) -> Measured:
        unit, x = swept(rng)
        y = persistent(rng, experiments)
        methods = [method]
        null = slope_test(x, y, unit, unit, methods=methods, flips=1999)[method].p  # pyright: ignore
        trend = 0.03 * x[:, None] * rng.exponential(size=(UNITS, experiments)).repeat(RUNS, axis=0)
        there = slope_test(x, y + trend, unit, unit, methods=methods, flips=1999)[method].p  # pyright: ignore
        beside = by_t(unit_slopes(x, y + trend, unit, unit, method))  # pyright: ignore
        return Measured(size=called(null), power=called(there), beside=beside, experiments=experiments)

    return simulate


GREEDY = "greedy repeats, neighbours alike, units unequal; 24 units of 12 runs"
measured("pairs, pooled and partial r of a neuron that was set: p", "definition, flip by flip", GREEDY)(
    _slopes("pearson")
)
measured("pairs, pooled and partial ρ of a neuron that was set: p", "definition, flip by flip", GREEDY)(
    _slopes("spearman")
)


@measured(
    "pairs, r of a neuron that was observed: p",
    "scipy.stats.pearsonr and spearmanr",
    f"both follow the value; {GREEDY}",
)
def _exchanged(rng: np.random.Generator, experiments: int) -> Measured:
    unit, value = swept(rng)
    x, y = (persistent(rng, n) + 0.1 * value[:, None] for n in (1, experiments))
    slots = np.tile(np.arange(RUNS), UNITS).tolist()
    blocks = matched_blocks(unit.tolist(), slots, [0] * len(unit))
    found = [
        pair(x[:, 0], each, blocks, labels=unit.tolist(), methods=["pearson"], permutations=999)["pearson"].p
        for each in (y, y + 0.5 * (x - 0.1 * value[:, None]))
    ]
    # One x, and one set of permutations for all experiments, add chance of their own.
    return Measured(size=called(found[0]), power=called(found[1]), experiments=experiments, most=0.06)


SKEWED: dict[str, tuple[str, Callable[[np.random.Generator, tuple[int, int]], Array], float]] = {
    "exponential": ("exponential differences, 20 units", lambda rng, size: rng.exponential(size=size) - 1, LEVEL),
    "lognormal": (
        "lognormal differences (σ .5), 12 units",
        lambda rng, size: rng.lognormal(sigma=0.5, size=size) - np.exp(0.125),
        0.055,
    ),
    "half": (
        "half of the units unchanged, the others exponential, 50 units",
        lambda rng, size: (rng.random(size) < 0.5) * (rng.exponential(size=size) - 1),
        0.065,
    ),
}


def _means(name: str, units: int) -> Simulation:
    _, draw, most = SKEWED[name]

    def simulate(rng: np.random.Generator, experiments: int) -> Measured:
        null = draw(rng, (units, experiments))
        found = mean_effect(null, resamples=1999)
        # Power where Student's t is right.
        normal = rng.normal(size=(units, experiments)) + 3 / np.sqrt(units)
        return Measured(
            size=called(found.p),
            coverage=float(np.mean((found.low <= 0) & (found.high >= 0))),
            power=called(mean_effect(normal, resamples=1999).p),
            beside=by_t(normal),
            experiments=experiments,
            most=most,
            least=1 - most,
        )

    return simulate


for _name, _units in (("exponential", 20), ("lognormal", 12), ("half", 50)):
    measured(
        "mean over units: interval, and p of the studentised bootstrap",
        "definition, resample by resample",
        SKEWED[_name][0],
    )(_means(_name, _units))


@measured("sign flips, two coordinates jointly: p of symmetry", "Hotelling's T², all patterns", "t(3), 50 units")
def _flips(rng: np.random.Generator, experiments: int) -> Measured:
    values = rng.standard_t(3, size=(50, experiments, 2)) * rng.exponential(size=(50, 1, 1))
    normal = rng.normal(size=(50, experiments, 2)) + np.array([0.45, 0.0])
    t2 = np.array([_hotelling(normal[:, at]) for at in range(experiments)])
    return Measured(
        size=called(sign_flip_test(values, flips=999).p),
        power=called(sign_flip_test(normal, flips=999).p),
        beside=called(stats.f.sf(t2 * 48 / (2 * 49), 2, 48)),
        experiments=experiments,
    )


def _hotelling(values: Array) -> float:
    mean = values.mean(axis=0)
    return float(len(values) * mean @ np.linalg.solve(np.cov(values.T), mean))


STRATUM = np.repeat([0, 1], [20, 30])
SETS = np.array([[0.06, 0.01], [0.02, -0.02]])
TRUTH = np.array([20, 30]) @ SETS / 50
TWO_SETS = "exponential units of two prompt sets, 50 units of 11 runs"


def _regions(rng: np.random.Generator, experiments: int) -> list[JointRegion]:
    of_run = np.repeat(np.arange(50), 11)
    regions: list[JointRegion] = []
    for seed in range(experiments):
        own = (rng.exponential(size=(50, 2)) - 1) @ np.array([[0.03, 0.01], [0.0, 0.02]])
        xy = (SETS[STRATUM] + own)[of_run] + 0.02 * rng.normal(size=(550, 2))
        region = joint_region(unit_totals(xy, of_run, 50), STRATUM, resamples=400, seed=seed)
        assert region is not None
        regions.append(region)
    return regions


@measured("(A, B): region", "resample by resample", TWO_SETS, share=0.25)
def _ellipse(rng: np.random.Generator, experiments: int) -> Measured:
    off = [(TRUTH - region.centre, region) for region in _regions(rng, experiments)]
    held = [each @ np.linalg.solve(region.covariance, each) <= region.radius2 for each, region in off]
    return Measured(coverage=float(np.mean(held)), experiments=experiments, least=0.945)


@measured("phase: interval", "angles of points of the ellipse", TWO_SETS, share=0.25)
def _phase(rng: np.random.Generator, experiments: int) -> Measured:
    angle = float(np.degrees(np.arctan2(TRUTH[1], TRUTH[0])))
    ends = [region.phase_deg for region in _regions(rng, experiments)]
    held = [end is None or (angle - end[0]) % 360 <= (end[1] - end[0]) % 360 for end in ends]
    return Measured(coverage=float(np.mean(held)), experiments=experiments, least=0.945)


@measured("amplitude: range", "norms of points of the ellipse", TWO_SETS, share=0.25)
def _amplitude(rng: np.random.Generator, experiments: int) -> Measured:
    truth = float(np.hypot(*TRUTH))
    ends = [region.amplitude for region in _regions(rng, experiments)]
    return Measured(coverage=float(np.mean([low <= truth <= high for low, high in ends])), experiments=experiments)


@measured(
    "sessions diff: difference of two amplitudes", "MOVER by hand", "skewed units, those of either apart", share=0.25
)
def _amplitudes(rng: np.random.Generator, experiments: int) -> Measured:
    of_run, stratum = np.repeat(np.arange(20), 3), np.arange(20) % 2
    held: list[bool] = []
    for at in range(experiments):
        regions: list[JointRegion | None] = []
        for turn in (0.3, 2.0):
            along = np.array([np.cos(turn), np.sin(turn)])
            xy = ((0.0, 0.2, 1.0)[at % 3] + 0.5 * (rng.exponential(size=(20, 1)) - 1)) * along
            xy = (xy + 0.15 * (rng.exponential(size=(20, 2)) - 1))[of_run]
            regions.append(joint_region(unit_totals(xy, of_run, 20), stratum, resamples=400))
        low, high = amplitude_difference(*regions) or (np.nan, np.nan)
        held.append(bool(low <= 0 <= high))
    return Measured(coverage=float(np.mean(held)), experiments=experiments)


@measured(
    "counts: simultaneous band of a curve", "plain loop over resamples", "50 clamped units, 11 values", share=0.05
)
def _bands(rng: np.random.Generator, experiments: int) -> Measured:
    levels, angles = (0.5, 0.1), 60

    def draw(units: int) -> Array:
        rest = rng.normal(14, 3, size=(units, 1)) * np.exp(0.1 * rng.normal(size=(units, 11)))
        y = rng.normal(0.02, 0.1, size=(units, 1)) + 0.05 * rng.normal(size=(units, 11))
        return np.stack([VALUES / np.hypot(VALUES, rest), y], -1).reshape(-1, 2)

    many = draw(20_000)
    truth = spotlight_sweep(unit_coordinates(many, np.ones(len(many))), levels, angles).fraction.ravel()
    held: list[bool] = []
    for seed in range(experiments):
        totals = unit_counts(draw(50), np.repeat(np.arange(50), 11), 50, levels, angles)
        band = share_bands(totals, STRATUM, 2, resamples=300, seed=seed)
        assert band is not None
        # Three thousandths: what the truth itself was simulated with.
        inside = (band[0] <= truth + 3e-3) & (truth - 3e-3 <= band[1])
        held += inside.reshape(2, -1).all(axis=1).tolist()
    return Measured(coverage=float(np.mean(held)), experiments=len(held))


@measured(
    "sessions diff: p of the mean of (A, B)",
    "resample by resample",
    "exponential, 1 to 9 runs a unit, 30 units",
    share=0.25,
)
def _diff(rng: np.random.Generator, experiments: int) -> Measured:
    units, found = 30, []
    sets = np.repeat([0, 1], 15)
    for shift in (0.0, 0.6):
        p: list[float] = []
        for seed in range(experiments):
            runs = np.repeat(np.arange(units), rng.integers(1, 10, size=units))
            own = (rng.exponential(size=(units, 2)) - 1 + np.array([shift, 0.0]))[runs]
            other = rng.normal(size=(units, 2))
            first = Sample(other[runs] + own + 0.3 * rng.normal(size=own.shape), runs)
            tested = paired_test(first, Sample(other, np.arange(units)), sets, flips=400, seed=seed)
            assert tested is not None
            assert tested.region is not None
            p.append(tested.region.p)
        found.append(called(np.array(p)))
    return Measured(size=found[0], power=found[1], experiments=experiments, most=0.06)


@measured(
    "plane finder, separation and change: p that one coordinate adds",
    "regression by regression, flip by flip",
    "the other separates strongly, units respond up to 100 times more; 25 units",
)
def _adds(rng: np.random.Generator, experiments: int) -> Measured:
    units, ones, none = 25, np.ones(25), np.empty((25, 0))
    scale = rng.exponential(size=(units, experiments)) ** 2 + 0.05
    a = scale * (np.resize([0.0, 3.0, 10.0], experiments) + rng.standard_t(4, size=scale.shape))
    b = 0.6 * a + 0.8 * scale * rng.standard_t(4, size=scale.shape)
    alike = rng.normal(size=scale.shape)
    more = 0.6 * alike + 0.8 * rng.normal(size=scale.shape) + 3 * 0.8 / np.sqrt(units)
    rest = alike - alike.mean(axis=0)
    slope = (rest * more).sum(axis=0) / (rest**2).sum(axis=0)
    intercept = more.mean(axis=0) - slope * alike.mean(axis=0)
    spread = ((more - intercept - slope * alike) ** 2).sum(axis=0) / (units - 2)
    error = np.sqrt(spread * (1 / units + alike.mean(axis=0) ** 2 / (rest**2).sum(axis=0)))
    return Measured(
        size=called(flipped_residuals(b, ones, a, none, 399, 0)),
        power=called(flipped_residuals(more, ones, alike, none, 399, 0)),
        beside=called(2 * stats.t.sf(np.abs(intercept / error), units - 2)),
        experiments=experiments,
    )


@measured("plane finder, separation and change: p that both add", "as above", "nothing there (so it is conservative)")
def _planes(rng: np.random.Generator, experiments: int) -> Measured:
    pairs = np.arange(2 * experiments).reshape(-1, 2)
    scale = rng.lognormal(sigma=1.0, size=(25, experiments)).repeat(2, axis=1)
    found = planes_test(scale * rng.standard_t(4, size=scale.shape), pairs, 399, 0, single=False)
    return Measured(size=called(found.p), experiments=experiments)


@measured("plane finder, anisotropy: p", "as above", "uncorrelated, units loud in both coordinates; 50 units")
def _anisotropy(rng: np.random.Generator, experiments: int) -> Measured:
    pairs = np.arange(2 * experiments).reshape(-1, 2)
    scale = rng.lognormal(sigma=1.0, size=(50, experiments)).repeat(2, axis=1)
    null = scale * rng.standard_t(3, size=scale.shape)
    there = rng.normal(size=scale.shape)
    there[:, 1::2] += 0.4 * there[:, ::2]
    found = [
        correlation_test(each - each.mean(axis=0), np.zeros(50, np.int64), pairs, np.ones(experiments), 399, 0).p
        for each in (null, there)
    ]
    r = np.array([np.corrcoef(there[:, at], there[:, at + 1])[0, 1] for at in pairs[:, 0]])
    beside = called(stats.t.sf(r * np.sqrt(48 / (1 - r**2)), 48))
    return Measured(size=called(found[0]), power=called(found[1]), beside=beside, experiments=experiments)


@measured("plane finder, synergy: p", "plain formula", "one coordinate tells everything; exponential, 30 units")
def _synergy(rng: np.random.Generator, experiments: int) -> Measured:
    pairs = np.arange(2 * experiments).reshape(-1, 2)
    null = rng.exponential(size=(30, 2 * experiments)) - 1
    null[:, ::2] += 0.8
    p = synergy([null], pairs).p
    return Measured(size=called(p), experiments=experiments)


@measured("controls: rank p of a neuron chosen before", "counting", "19 controls; .05 is the smallest p there is")
def _rank(rng: np.random.Generator, experiments: int) -> Measured:
    values = rng.exponential(size=(experiments, 20))
    p = np.array([rank_p(float(row[0]), row[1:]) for row in values])
    higher = np.array([rank_p(float(row[0] + 2.5), row[1:]) for row in values])
    return Measured(size=called(p), power=called(higher), experiments=experiments)


@measured("controls: p of the best of 5 candidates", "counting", "100 controls")
def _best(rng: np.random.Generator, experiments: int) -> Measured:
    values = rng.exponential(size=(experiments, 105))
    p = np.array([rank_p(float(row[:5].max()), row[5:], 5) for row in values])
    return Measured(size=called(p), experiments=experiments)


LIKE = "200 neurons alike, skewed, prompts unequal"


def _surveyed(units: int, unmoved: float, more: float) -> Simulation:
    def simulate(rng: np.random.Generator, experiments: int) -> Measured:
        size: list[float] = []
        power: list[bool] = []
        for _ in range(experiments):
            moved = rng.exponential(size=(units, 200)) * (rng.random((units, 200)) >= unmoved)
            size.append(called(rank_family(moved * rng.exponential(size=(units, 1))).p))
            moved[:, 0] += more
            power.append(bool(rank_family(moved * rng.exponential(size=(units, 1))).q[0] <= LEVEL))
        return Measured(size=float(np.mean(size)), power=float(np.mean(power)), experiments=experiments)

    return simulate


for _units, _unmoved, _more in ((8, 0.0, 2.0), (50, 0.9, 0.1)):
    measured(
        "survey: p of a neuron's ranks",
        "draw by draw",
        f"{LIKE}; {_units} prompts{', nine texts of ten unmoved' if _unmoved else ''}",
        share=0.1,
    )(_surveyed(_units, _unmoved, _more))


@measured("survey: q, families with a false call", "definition", f"{LIKE}; 24 prompts", share=0.5)
def _families(rng: np.random.Generator, experiments: int) -> Measured:
    null = rng.exponential(size=(experiments, 24, 200)) * rng.exponential(size=(experiments, 24, 1))
    found = [bool((rank_family(each).q <= LEVEL).any()) for each in null]
    return Measured(size=float(np.mean(found)), experiments=experiments)


@measured("effects: exact interval of a share", "tables of Clopper and Pearson", "7 of 20 units on average")
def _shares(rng: np.random.Generator, experiments: int) -> Measured:
    low, high = binomial_interval(rng.binomial(20, 0.35, size=experiments), 20)
    return Measured(coverage=float(np.mean((low <= 0.35) & (high >= 0.35))), experiments=experiments)


@measured("effects: BCa interval of a mean", "scipy.stats.bootstrap", "exponential, 20 units", share=0.5)
def _bca(rng: np.random.Generator, experiments: int) -> Measured:
    values = rng.exponential(size=(20, experiments))
    totals = UnitTotals(values, np.ones(20))
    low, high = bca_interval(totals, np.zeros(20, np.int64), resamples=1999)
    held = float(np.mean((low <= 1) & (high >= 1)))
    return Measured(coverage=held, experiments=experiments, least=0.92)


@measured(
    "patching, direct share: interval of a ratio of means",
    "Fieller's roots; ratio by ratio",
    "exponential differences of 24 pairs, what is moved of them scatters in proportion",
)
def _ratio(rng: np.random.Generator, experiments: int) -> Measured:
    whole = rng.exponential(size=(24, experiments))
    moved = whole * (0.7 + 0.5 * (rng.exponential(size=whole.shape) - 1))
    # The interval holds the ratios that this does not reject: tests/engine/stats/test_ratio_of_means.py.
    held = 1 - called(mean_effect(moved - 0.7 * whole, resamples=1999).p)
    power = called(mean_effect(moved, resamples=1999).p)
    return Measured(coverage=held, power=power, experiments=experiments, least=0.94)


@measured(
    "pairs: mean slope of a partner, interval and p", "scipy.stats.linregress, then as above", "skewed slopes, 24 units"
)
def _mean_slopes(rng: np.random.Generator, experiments: int) -> Measured:
    unit, x = swept(rng)
    noise = 0.05 * rng.normal(size=(len(x), experiments))
    skewed = (rng.exponential(size=(UNITS, experiments)) - 1).repeat(RUNS, axis=0)
    found = mean_slopes(x, noise + 0.2 * x[:, None] * skewed, unit, unit, np.zeros(UNITS, np.int64), resamples=999)
    return Measured(
        size=called(found.p),
        coverage=float(np.mean((found.low <= 0) & (found.high >= 0))),
        experiments=experiments,
    )


@measured(
    "dose-response: slope of the curve, interval and p",
    "definition",
    "greedy repeats, units turned by chance; 24 units",
)
def _dose(rng: np.random.Generator, experiments: int) -> Measured:
    found = []
    for trend in (0.0, 0.03):
        curves = persistent(rng, experiments).reshape(UNITS, RUNS, experiments)[:, 1:]
        curves += trend * VALUES[:, None] * rng.exponential(size=(UNITS, 1, experiments))
        slopes = np.stack([curve_slopes(VALUES, curves[:, :, at]) for at in range(experiments)], axis=1)
        found.append((mean_effect(slopes, resamples=999), by_t(slopes)))
    (null, _), (there, beside) = found
    return Measured(
        size=called(null.p),
        coverage=float(np.mean((null.low <= 0) & (null.high >= 0))),
        power=called(there.p),
        beside=beside,
        experiments=experiments,
    )


@measured("dose-response: p of a monotone curve", "pooled adjacent violators", "as above, 12 units", share=0.25)
def _monotone(rng: np.random.Generator, experiments: int) -> Measured:
    found = []
    for trend in (0.0, 0.05):
        curves = persistent(rng, experiments, 12).reshape(12, RUNS, experiments)[:, 1:] + trend * VALUES[:, None]
        found.append(called(np.array([monotone_test(curves[:, :, at], flips=499).p for at in range(experiments)])))
    return Measured(size=found[0], power=found[1], experiments=experiments)


@measured(
    "equivalence: p of two one-sided tests",
    "as the mean over units",
    "the mean lies at the bound, exponential; 20 units",
    share=0.25,
)
def _equivalence(rng: np.random.Generator, experiments: int) -> Measured:
    skewed = rng.exponential(size=(experiments, 20))
    null = [equivalence_test(values, 1.0, resamples=399).p for values in skewed]
    none = [equivalence_test(values - 1, 1.0, resamples=399).p for values in skewed]
    return Measured(size=called(np.array(null)), power=called(np.array(none)), experiments=experiments, most=0.065)


@measured(
    "effects: net of rescued and harmed, exact p (McNemar)", "scipy.stats.binomtest", "50 units of which a third differ"
)
def _net(rng: np.random.Generator, experiments: int) -> Measured:
    found = []
    for rescued in (1 / 6, 0.3):
        counts = rng.multinomial(50, [rescued, 1 / 6, 0.2, 0.8 - 1 / 6 - rescued], size=experiments)
        found.append([HealthMatrix(healthy, harmed, saved, bad) for saved, harmed, bad, healthy in counts.tolist()])
    ends = np.array([matrix.interval() for matrix in found[0]])
    return Measured(
        size=called(np.array([matrix.p for matrix in found[0]])),
        coverage=float(np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))),
        power=called(np.array([matrix.p for matrix in found[1]])),
        experiments=experiments,
    )


@measured("q over a family: share of false among those called", "definition", "180 of 200 null, dependent by twos")
def _q(rng: np.random.Generator, experiments: int) -> Measured:
    z = rng.normal(size=(experiments, 100)).repeat(2, axis=1)
    z[:, :20] += 3.0
    false: list[float] = []
    found: list[float] = []
    for p in 2 * stats.norm.sf(np.abs(z)):
        taken = benjamini_hochberg(p) <= LEVEL
        false.append(float(taken[20:].sum() / max(1, taken.sum())))
        found.append(float(taken[:20].mean()))
    return Measured(size=float(np.mean(false)), power=float(np.mean(found)), experiments=experiments)


@measured(
    "dose, where half of the way to a plateau is done: interval",
    "scipy.optimize.least_squares, curve by curve",
    "logistic, skewed units at unlike levels; 15 units, 7 values; those that are not refused",
    share=0.25,
)
def _plateau(rng: np.random.Generator, experiments: int) -> Measured:
    doses = np.array([-20, -10, -3, 0, 3, 10, 20.0])
    curve = curve_at(doses, [0.1, 0.6, 2.0, np.log(4.0)], "logistic")
    held: list[bool] = []
    for at in range(experiments):
        units = curve + 0.1 * (rng.exponential(size=(15, 1)) - 1) + 0.06 * rng.normal(size=(15, len(doses)))
        found = saturation(doses, units, fits=199, seed=at)
        held += [] if found.refused else [found.half_ends[0] <= 2.0 <= found.half_ends[1]]
    return Measured(coverage=float(np.mean(held)), experiments=len(held), least=0.92)


def share_of(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}".removeprefix("0")


def table(results: list[tuple[Quantity, Measured]]) -> str:
    """The table in Markdown."""
    lines = [
        "| quantity | tested against | simulated | size at .05 | coverage of 95 % | power (beside) | experiments |",
        "|---|---|---|---|---|---|---|",
    ]
    for quantity, found in results:
        size = share_of(found.size) + (
            f" (≤ {share_of(found.most)})" if found.size == found.size and found.most != LEVEL else ""
        )
        power = share_of(found.power) + (f" ({share_of(found.beside)})" if found.beside == found.beside else "")
        cells = (quantity.name, quantity.reference, quantity.null, size, share_of(found.coverage), power)
        lines.append(f"| {' | '.join(cells)} | {found.experiments:,} |")
    return "\n".join(lines)


def written_in(text: str) -> list[str]:
    """The lines of the table in a document, without its heading."""
    return text.split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]


def simulated(quantity: Quantity, experiments: int) -> Measured:
    """Measure a quantity, by a seed of its own, so that a further one changes no other."""
    rng = np.random.default_rng(zlib.crc32(f"{quantity.name} {quantity.null}".encode()))
    return quantity.simulate(rng, max(20, round(experiments * quantity.share)))


def main() -> int:
    """Measure, print, and write the table; 1 where something leaves its limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS)
    parser.add_argument("--only", default="", help="quantities whose name holds these words")
    parser.add_argument("--write", action="store_true", help="the table into docs/methods.md")
    given = parser.parse_args()
    if given.write and given.only:
        parser.error("--write needs every quantity: leave --only out")
    results: list[tuple[Quantity, Measured]] = []
    problems: list[str] = []
    for quantity in QUANTITIES:
        if given.only.lower() not in quantity.name.lower():
            continue
        start = time.perf_counter()
        found = simulated(quantity, given.experiments)
        results.append((quantity, found))
        problems += [f"{quantity.name} ({quantity.null}): {problem}" for problem in found.problems]
        print(f"{time.perf_counter() - start:6.1f} s  {quantity.name} ({quantity.null}): {found}", flush=True)
    if given.write:
        text = METHODS.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        METHODS.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")
    for problem in problems:
        print(f"out of its limits: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

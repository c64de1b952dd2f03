"""How a quantity follows the value of an intervention: slopes and curves of units, monotone or saturated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srm_explorer.engine.stats.permutation import FEWEST_UNITS, sign_patterns
from srm_explorer.engine.stats.resampling import LEVEL, bootstrap_weights, merged_strata, normal_cdf, student_quantile
from srm_explorer.engine.stats.unit_means import LEAST_UNITS

Floats = NDArray[np.float64]

Shape = Literal["logistic", "emax"]

FITS = 400
"""Resamples that a curve is fitted to."""
CONVERGED = 0.9
"""Share of them that must converge, else the curve is refused."""
FEWEST_VALUES = 5
"""A curve of four numbers needs more values than that."""
REACHED = 0.75
"""Share of its way to a plateau that a curve must go within the values, else they tell of none."""
ENDS = 0.01
"""Share of its way at either end where a logistic curve is as good as at its levels."""
TIE = 1e-9
ROUNDING = 1e-6
"""Of the size of numbers that were kept as float32."""
STEPS = 40
SETTLED = 1e-5
CHUNK = 2_000_000


def unit_curves(values: ArrayLike, quantity: ArrayLike, unit: ArrayLike, units: int) -> tuple[Floats, Floats]:
    """Each unit's curve: the mean of its runs at every value.

    Args:
        values: [run] of the intervention; NaN where a run has none.
        quantity: [run]; NaN takes no part.
        unit: [run] whole numbers below `units`.

    Returns:
        [value] in order, and [unit, value]; NaN where a unit has no run at a value.
    """
    x, y, of = np.asarray(values, np.float64), np.asarray(quantity, np.float64), np.asarray(unit, np.int64)
    known = np.isfinite(x) & np.isfinite(y)
    levels, place = np.unique(x[known], return_inverse=True)
    cell = of[known] * len(levels) + place
    size = units * len(levels)
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, weights=y[known], minlength=size)
    with np.errstate(invalid="ignore"):
        return levels, np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(units, len(levels))


def without_rounding(curves: ArrayLike, size: float) -> Floats:
    """Curves whose values differ by no more than rounding, made flat: each its own mean.

    Args:
        curves: [unit, value].
        size: of the numbers that the quantity was computed from; `ROUNDING` of it is rounding.
    """
    table = np.array(curves, np.float64)
    known = np.isfinite(table)
    mean = np.where(known, table, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    flat = np.abs(np.where(known, table - mean[:, None], 0.0)).max(axis=1, initial=0.0) <= ROUNDING * size
    return np.where(flat[:, None] & known, mean[:, None], table)


def whole_curves(curves: ArrayLike) -> Floats:
    """Curves that can be compared: those that lack a value are all NaN, where enough others have every value.

    A slope over the few values that are left is another quantity where the response is no straight line, and the change
    that it is carried on to lies beyond what was seen of the unit.
    """
    table = np.array(curves, np.float64)
    whole = np.isfinite(table).all(axis=1)
    if whole.sum() >= LEAST_UNITS:
        table[~whole] = np.nan
    return table


def curve_slopes(levels: ArrayLike, curves: ArrayLike) -> Floats:
    """[unit] least-squares slope of each curve, every value counted once; NaN with fewer than two values.

    ``sum (x - mean x) y / sum (x - mean x)^2`` over the values that the unit has.
    """
    x, y = np.asarray(levels, np.float64), np.asarray(curves, np.float64)
    known = np.isfinite(y)
    count = known.sum(axis=1)
    centre = np.where(known, x, 0.0).sum(axis=1) / np.maximum(count, 1)
    away = np.where(known, x - centre[:, None], 0.0)
    spread = (away**2).sum(axis=1)
    # From the first value on, so that a flat curve is exactly so.
    first = np.where(known.any(axis=1), y[np.arange(len(y)), known.argmax(axis=1)], 0.0)
    rise = np.where(known, y - first[:, None], 0.0)
    rest = np.where(known, rise - (rise.sum(axis=1) / np.maximum(count, 1))[:, None], 0.0)
    top = (away * rest).sum(axis=1)
    # Rounding must not pass for a slope where a curve is at right angles to the values.
    top[np.abs(top) <= TIE * np.sqrt(spread * (rest**2).sum(axis=1))] = 0.0
    return np.where((count >= 2) & (spread > 0), top / np.where(spread > 0, spread, 1.0), np.nan)


def isotonic(curves: ArrayLike) -> Floats:
    """The nearest non-decreasing curves, by least squares, all values weighed alike.

    ``g_i = max over a <= i of min over b >= i of mean(y_a .. y_b)`` (Robertson, Wright and Dykstra 1988, theorem
    1.4.4), which is what pooling adjacent violators gives.

    Args:
        curves: [..., value].
    """
    y = np.asarray(curves, np.float64)
    k = y.shape[-1]
    sums = np.concatenate([np.zeros((*y.shape[:-1], 1)), np.cumsum(y, axis=-1)], axis=-1)
    fitted = np.full(y.shape, -np.inf)
    for a in range(k):
        lengths = np.arange(1, k - a + 1, dtype=np.float64)
        means = np.divide(sums[..., a + 1 :] - sums[..., a : a + 1], lengths)
        least = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
        fitted[..., a:] = np.maximum(fitted[..., a:], least)
    return fitted


@dataclass(frozen=True)
class MonotoneTest:
    """What `monotone_test` found.

    Attributes:
        p: two-sided, for "the curves' deviations are symmetric around none"; NaN with fewer than two complete units.
        rising: whether the nearer monotone curve rises.
        explained: share of the mean curve's variation that the nearer monotone curve follows, 0 to 1; NaN without any.
        units: complete ones, which have every value.
        least: the smallest p that so many units and flips can give.
    """

    p: float
    rising: bool
    explained: float
    units: int
    least: float


def monotone_test(curves: ArrayLike, *, flips: int = 2000, seed: int = 0) -> MonotoneTest:
    """Test a monotone curve against a constant one, over units.

    The statistic is the variation of the monotone curve nearest to the mean curve, ``sum (g - mean)^2``, rising
    or falling, whichever varies more (Bartholomew 1959; Robertson et al. 1988, chapter 2). Its null distribution
    is that of flips of the signs of whole units' deviations from their own mean, all patterns where they are no more
    than `flips`: so it tests that these are *symmetric* around a flat curve, whatever their spread, and however
    neighbouring values go together within a unit.

    Args:
        curves: [unit, value]; units that lack a value take no part.
    """
    table = np.asarray(curves, np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    units, k = table.shape
    if units < FEWEST_UNITS or k < 2:
        return MonotoneTest(math.nan, True, math.nan, units, 1.0)
    away = table - table.mean(axis=1, keepdims=True)
    # Nothing but rounding around a flat curve is none.
    away[np.abs(away).max(axis=1) <= TIE * np.abs(table).max(axis=1)] = 0.0
    mean = away.mean(axis=0)
    up, down = (float(_variation(side)) for side in (mean, -mean))
    total = float((mean**2).sum())
    signs, exact = sign_patterns(units, flips, seed)
    if not total:
        return MonotoneTest(1.0, True, math.nan, units, 1.0)
    least = max(up, down) * (1 - TIE)
    reached = 0
    step = max(1, CHUNK // max(units, k))
    for start in range(0, len(signs), step):
        flipped = signs[start : start + step].astype(np.float64) @ away / units
        reached += int((np.maximum(_variation(flipped), _variation(-flipped)) >= least).sum())
    more = 0 if exact else 1
    smallest = 2.0 ** (1 - units)
    p = max((more + reached) / (more + len(signs)), smallest)
    return MonotoneTest(p, up >= down, max(up, down) / total, units, max(smallest, 1 / (more + len(signs))))


def _variation(curves: Floats) -> Floats:
    fitted = isotonic(curves)
    return ((fitted - fitted.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)


@dataclass(frozen=True)
class Saturation:
    """A curve with a plateau that was fitted to units' mean curve, or why there is none.

    Attributes:
        shape: "logistic" where values have both signs, else "emax".
        start: the level it leaves: at far negative values of a logistic curve, at 0 of an Emax curve.
        plateau: the level it comes to.
        half: the value at which half of the way is done.
        start_ends, plateau_ends, half_ends: intervals, from resampled units.
        units: complete ones, which have every value.
        converged: share of the resamples whose fit converged.
        refused: empty, or why nothing is fitted; then every number is NaN.
    """

    shape: Shape
    start: float
    plateau: float
    half: float
    start_ends: tuple[float, float]
    plateau_ends: tuple[float, float]
    half_ends: tuple[float, float]
    units: int
    converged: float
    refused: str


def saturation(
    levels: ArrayLike,
    curves: ArrayLike,
    stratum: ArrayLike | None = None,
    *,
    fits: int = FITS,
    level: float = LEVEL,
    seed: int = 0,
) -> Saturation:
    """Fit a curve that saturates to the mean curve, and to that of every resample of units.

    ``start + (plateau - start) / (1 + exp(-(x - half) / width))``, or of values of one sign
    ``start + (plateau - start) |x| / (half + |x|)`` (Emax; Ratkowsky 1990), by least squares. Percentile intervals over
    units whose fits converged, with the tails widened for few units (Hesterberg 2015, section 3.4.2).

    It is refused with fewer than `FEWEST_VALUES` values or five units; where the fit does not converge, or the values
    reach less than `REACHED` of the way to a plateau, or it is a step between two of them; where less than `CONVERGED`
    of the resamples' fits do better; and where the interval of plateau minus start holds 0.

    Args:
        levels: [value].
        curves: [unit, value]; units that lack a value take no part.
        stratum: [unit] what units are resampled within.
    """
    x, table = np.asarray(levels, np.float64), np.asarray(curves, np.float64)
    whole = np.isfinite(table).all(axis=1)
    strata = np.zeros(len(table), np.int64) if stratum is None else np.asarray(stratum, np.int64)
    table, strata = table[whole], strata[whole]
    shape: Shape = "logistic" if len(x) and x.min() < 0 < x.max() else "emax"

    def refuse(why: str, share: float = 0.0) -> Saturation:
        none = (math.nan, math.nan)
        return Saturation(shape, math.nan, math.nan, math.nan, none, none, none, len(table), share, why)

    if len(x) < FEWEST_VALUES:
        return refuse(f"{len(x)} values are too few, {FEWEST_VALUES} are needed")
    if len(table) < 5:
        return refuse(f"units that have every value are too few: {len(table)}")
    mean = table.mean(axis=0)
    if np.ptp(mean) <= TIE * np.abs(table).max():
        return refuse("no plateau within these values: the mean curve is flat")
    (fitted,), (good,) = fit_curves(x, mean[None], shape)
    if not good:
        return refuse("no plateau within these values: the fit does not converge")
    weights = bootstrap_weights(merged_strata(strata), fits, seed)
    means = weights.astype(np.float64) @ table / len(table)
    parameters, converged = fit_curves(x, means, shape, np.broadcast_to(fitted, (len(means), 4)))
    share = float(converged.mean())
    if share < CONVERGED:
        return refuse(f"no plateau that holds: the fit converges in {100 * share:.0f} % of the resamples", share)
    ends = np.quantile(parameters[converged], _tails(len(table), level), axis=0)
    rise = np.quantile(parameters[converged, 1] - parameters[converged, 0], _tails(len(table), level))
    if rise[0] <= 0 <= rise[1]:
        return refuse("no plateau that holds: resamples of units differ in whether it rises or falls", share)
    # Rounding is no number, and ends that only it parts are no interval: units do not differ there.
    sizes = np.array([*[np.abs(fitted[:2]).max()] * 2, np.ptp(x)])
    start, plateau, half = np.where(np.abs(fitted[:3]) <= ROUNDING * sizes, 0.0, fitted[:3]).tolist()
    ends = np.where(np.ptp(ends[:, :3], axis=0) <= ROUNDING * sizes, math.nan, ends[:, :3])
    start_ends, plateau_ends, half_ends = ((low, high) for low, high in ends.T.tolist())
    return Saturation(shape, start, plateau, half, start_ends, plateau_ends, half_ends, len(table), share, "")


def _tails(units: int, level: float) -> tuple[float, float]:
    """Both tails of a percentile interval, widened by what resampling makes of few units' spread."""
    tail = float(normal_cdf(math.sqrt(units / (units - 1)) * student_quantile((1 - level) / 2, units - 1)))
    return tail, 1 - tail


def fit_curves(
    levels: ArrayLike, means: ArrayLike, shape: Shape, start: ArrayLike | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Fit many curves at once, by Levenberg's and Marquardt's method (Moré 1978).

    scipy's `least_squares` gives the same, one curve at a time.

    Args:
        levels: [value] different numbers.
        means: [curve, value].
        start: [curve, 4] start, plateau, half and log width to begin from; by default the best of a grid.

    Returns:
        [curve, 4] start, plateau, half and log width (of "emax", 0); and [curve] whether it converged to a curve that
        the values tell of: half lies among them, and they reach `REACHED` of the way at the plateau's end.
    """
    x, y = np.asarray(levels, np.float64), np.asarray(means, np.float64)
    size = float(np.abs(x).max()) or 1.0
    x = x / size
    free = 4 if shape == "logistic" else 3
    at = _grid_start(x, y, shape) if start is None else np.array(start, np.float64)
    if start is not None:
        at[:, 2] /= size
        at[:, 3] -= math.log(size) if shape == "logistic" else 0.0
    if shape == "emax":
        at[:, 2] = np.log(np.maximum(at[:, 2], 1e-6))
    spread = y.std(axis=1, keepdims=True)
    scale = np.where(spread > 0, spread, 1.0)
    y = (y - y.mean(axis=1, keepdims=True)) / scale
    middle = np.asarray(means, np.float64).mean(axis=1, keepdims=True)
    at[:, :2] = (at[:, :2] - middle) / scale
    # A step too far may overflow, and is not taken then.
    with np.errstate(all="ignore"):
        left = _descend(x, y, at, shape, free)
    done = np.ones(len(at), np.bool_)
    done[left] = False
    told = _told(x, at, shape)
    at[:, :2] = at[:, :2] * scale + middle
    if shape == "emax":
        at[:, 2], at[:, 3] = np.exp(at[:, 2]) * size, 0.0
    else:
        at[:, 2], at[:, 3] = at[:, 2] * size, at[:, 3] + math.log(size)
    return at, done & told & np.isfinite(at).all(axis=1)


def _descend(x: Floats, y: Floats, at: Floats, shape: Shape, free: int) -> NDArray[np.int64]:
    """Improve [curve, 4] parameters in place; the places of curves that did not come to rest."""
    damping = np.full(len(at), 1e-2)
    rest, slopes = _residuals(x, y, at, shape)
    loss = (rest**2).sum(axis=1)
    left = np.arange(len(at))
    for _ in range(STEPS):
        some = slopes[left][..., :free]
        normal = some.transpose(0, 2, 1) @ some
        gradient = np.einsum("ckp,ck->cp", some, rest[left])
        diagonal = damping[left, None] * np.einsum("cpp->cp", normal) + 1e-12
        normal[:, np.arange(free), np.arange(free)] += diagonal
        move = np.zeros((len(left), 4))
        move[:, :free] = -np.linalg.solve(normal, gradient[..., None])[..., 0]
        move[:, 2:] = np.clip(move[:, 2:], -1.0, 1.0)
        tried = at[left] + move
        tried_rest, tried_slopes = _residuals(x, y[left], tried, shape)
        tried_loss = (tried_rest**2).sum(axis=1)
        better = np.isfinite(tried_loss) & (tried_loss <= loss[left])
        moved = left[better]
        at[moved], rest[moved], slopes[moved] = tried[better], tried_rest[better], tried_slopes[better]
        loss[moved] = tried_loss[better]
        damping[left] = np.clip(np.where(better, damping[left] / 4, damping[left] * 4), 1e-10, 1e8)
        left = left[~(better & (np.abs(move).max(axis=1) < SETTLED))]
        if not left.size:
            break
    return left


def curve_at(levels: ArrayLike, parameters: ArrayLike, shape: Shape) -> Floats:
    """[..., value] a fitted curve, from its [..., 4] parameters as `fit_curves` gives them."""
    x, at = np.asarray(levels, np.float64), np.asarray(parameters, np.float64)
    done = _fractional_response(x, at[..., 2:3], np.exp(at[..., 3:4]), shape)
    return at[..., :1] + (at[..., 1:2] - at[..., :1]) * done


def _fractional_response(x: Floats, half: Floats, width: Floats, shape: Shape) -> Floats:
    """Fraction, 0 to 1, of the distance from start to plateau, at each value."""
    if shape == "emax":
        return np.abs(x) / (half + np.abs(x))
    return 0.5 * (1 + np.tanh((x - half) / (2 * width)))


def _residuals(x: Floats, y: Floats, at: Floats, shape: Shape) -> tuple[Floats, Floats]:
    """[curve, value] fitted minus observed, and [curve, value, 4] its derivatives."""
    start, plateau, third, fourth = (at[:, column, None] for column in range(4))
    slopes = np.zeros((*y.shape, 4))
    if shape == "emax":
        half = np.exp(np.clip(third, -30, 30))
        response = _fractional_response(x, half, half, shape)
        slopes[..., 2] = -(plateau - start) * response * (1 - response)
    else:
        width = np.exp(np.clip(fourth, -30, 30))
        response = _fractional_response(x, third, width, shape)
        turn = (plateau - start) * response * (1 - response)
        slopes[..., 2] = -turn / width
        slopes[..., 3] = -turn * (x - third) / width
    slopes[..., 0], slopes[..., 1] = 1 - response, response
    return start + (plateau - start) * response - y, slopes


def _grid_start(x: Floats, y: Floats, shape: Shape) -> Floats:
    """The best of a grid of half values and widths; start and plateau follow by linear least squares."""
    low, high = float(x.min()), float(x.max())
    if shape == "emax":
        shapes = np.array([(half, 0.0) for half in np.geomspace(0.02, 2.0, 24)])
    else:
        halves, widths = np.linspace(low, high, 15), (high - low) * np.geomspace(0.02, 0.5, 8)
        shapes = np.array([(half, math.log(width)) for half in halves for width in widths])
    responses = _fractional_response(x, shapes[:, :1], np.exp(shapes[:, 1:]), shape)
    centred = responses - responses.mean(axis=1, keepdims=True)
    spread = (centred**2).sum(axis=1)
    slope = y @ centred.T / np.where(spread > 0, spread, 1.0)
    best = (slope**2 * spread).argmax(axis=1)
    height = slope[np.arange(len(y)), best]
    start = y.mean(axis=1) - height * responses[best].mean(axis=1)
    return np.stack([start, start + height, shapes[best, 0], shapes[best, 1]], axis=1)


def _told(x: Floats, at: Floats, shape: Shape) -> NDArray[np.bool_]:
    """[curve] whether the values reach what its numbers say."""
    if shape == "emax":
        half = np.exp(at[:, 2])
        far = float(np.abs(x).max())
        near = float(np.abs(x)[np.abs(x) > 0].min(initial=far))
        return (half >= near / 20) & (far / (half + far) >= REACHED)
    response = _fractional_response(np.array([x.min(), x.max()]), at[:, 2:3], np.exp(at[:, 3:4]), shape)
    reached = (
        (response[:, 0] <= 1 - REACHED) & (response[:, 1] >= REACHED) & (at[:, 2] > x.min()) & (at[:, 2] < x.max())
    )
    # Of a step between two values nothing tells where it is: half and width take two values in transition.
    in_transition = np.abs(_fractional_response(x, at[:, 2:3], np.exp(at[:, 3:4]), shape) - 0.5) <= 0.5 - ENDS
    return reached & (in_transition.sum(axis=1) >= 2)

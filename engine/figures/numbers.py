"""Numbers as a chart prints them, and the round numbers its axes stand on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MINUS = "−"
NOTHING = "–"
# Beyond this an axis would overflow while it computes its own span.
LARGEST = 1e300
ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
ROUND_ENDS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """The range of one axis and its ticks, all inside the range.

    Attributes:
        low: value at the axis' start; below high.
        ticks: round values, ascending.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]


def three_digits(value: float | None) -> str:
    """Write a number with three significant digits, no leading zero: ".0110", "−.5", "303", "1.20e−7"."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 99_950:
        return _trim(f"{value:.2e}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-"))
    rounded = float(f"{value:.2e}")
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return _trim(f"{rounded:,.{decimals}f}")


def short(value: float) -> str:
    """Write a setting (a threshold, a value) as given, without a leading zero: ".7", "−1", "20"."""
    return _trim(f"{value:.6g}")


def degrees(phase_deg: float | None) -> str:
    """Write an angle in whole degrees, 0 to 359: "303°"."""
    return f"{NOTHING}" if phase_deg is None else f"{round(phase_deg) % 360}°"


def count_of(number: int, noun: str) -> str:
    """Write a count with its noun: "1 run", "1,204 runs"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def end_above(value: float) -> float:
    """Return the smallest round number at or above a positive value; 1 where there is none."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    value = min(max(value, 1e-300), LARGEST)
    magnitude = 10.0 ** math.floor(math.log10(value))
    # The slack keeps 0.3 at 0.3, not 0.4, when it was computed as 0.30000000000000004.
    return next((end * magnitude for end in ROUND_ENDS if end * magnitude >= value * (1 - 1e-9)), 10 * magnitude)


def round_axis(values: Iterable[float], most: int = 5, include: tuple[float, ...] = ()) -> Axis:
    """Choose an axis that holds every finite value, with at most so many round ticks.

    Args:
        values: any numbers; those that are not finite are left out.
        most: at most this many ticks, 3 or more.
        include: values the axis must reach, such as 0.
    """
    finite = [min(max(value, -LARGEST), LARGEST) for value in (*values, *include) if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    # Where the values differ by round-off alone, a step of their last digit would be no information.
    if high - low <= 1e-9 * max(abs(low), abs(high)) or high - low < 1e-300:
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    # A range around zero takes three ticks however wide the step.
    most = max(3, most)
    step = _step((high - low) / (most - 1))
    while math.ceil(high / step - 1e-9) - math.floor(low / step + 1e-9) + 1 > most:
        step = _step(step * 1.01)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(index * step for index in range(first, last + 1))
    return Axis(low=ticks[0], high=ticks[-1], ticks=ticks, labels=tuple(tick_label(tick, step) for tick in ticks))


def decade_axis(low: float, high: float, most: int = 5) -> Axis:
    """An axis of decimal logarithms: ticks at powers of ten, or at 1, 2 and 5 times these where there are few.

    Args:
        low: logarithm at its start, as all of it: ticks lie within.
        most: at most this many ticks.
    """
    first, last = math.floor(low), math.ceil(high)
    step = max(1, math.ceil((last - first + 1) / max(1, most)))
    chosen: list[float] = []
    for digits, every in (((1,), step), ((1,), 1), ((1, 3), 1), ((1, 2, 5), 1)):
        values = [digit * 10.0**power for power in range(first, last + 1, every) for digit in digits]
        within = [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]
        if not chosen or len(within) <= most:
            chosen = within
    return Axis(low, high, tuple(map(math.log10, chosen)), tuple(map(short, chosen)))


def axis_from_zero(values: Iterable[float], most: int = 5) -> Axis:
    """Choose an axis that holds 0 and every finite value; 0 to 1 where all are 0, as counts that nothing reaches."""
    known = [value for value in values if math.isfinite(value)]
    return round_axis(known, most, include=(0.0,) if any(known) else (0.0, 1.0))


def tick_label(value: float, step: float) -> str:
    """Write a tick with the decimals its step needs, no more."""
    if abs(value) < step / 1000:
        return "0"
    if max(abs(value), step) >= 1e5 or step < 1e-4:
        mantissa, exponent = f"{value:.3e}".split("e")
        return _trim(f"{float(mantissa):g}e{int(exponent)}")
    decimals = next(d for d in range(9) if d == 8 or abs(round(step, d) - step) < step * 1e-6)
    return _trim(f"{value:,.{decimals}f}")


def _step(least: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(least))
    return next((nice * magnitude for nice in ROUND if nice * magnitude >= least * (1 - 1e-9)), 10 * magnitude)


def _trim(text: str) -> str:
    sign, digits = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    if digits.startswith("0."):
        digits = digits[1:]
    return sign + digits.replace("-", MINUS)

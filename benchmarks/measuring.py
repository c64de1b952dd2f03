"""Rows of the table: what is measured, what it is compared with, and what it should reach."""

from __future__ import annotations

import ctypes
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Goal:
    """What a row should reach.

    Args:
        of: which of its numbers.
        is_least: whether the bound is the least that is good, or the most.
        bound: inclusive.
        quick: the bound of the short run, which has less to lose itself in; None for the same.
    """

    of: Literal["value", "ratio"]
    is_least: bool
    bound: float
    quick: float | None = None

    def within(self, quick: bool) -> float:
        """The bound of a short or a whole run."""
        return self.quick if quick and self.quick is not None else self.bound

    def told(self, quick: bool) -> str:
        """Write it: `ratio >= 3`."""
        return f"{self.of} {'>=' if self.is_least else '<='} {self.within(quick):g}"

    def is_met(self, value: float, ratio: float | None, quick: bool) -> bool | None:
        """Whether the numbers reach it; None where the one that is asked for is not there."""
        number = value if self.of == "value" else ratio
        if number is None:
            return None
        return number >= self.within(quick) if self.is_least else number <= self.within(quick)


def at_least(ratio: float, quick: float | None = None) -> Goal:
    """Times the reference, at least."""
    return Goal("ratio", True, ratio, quick)


def at_most(ratio: float) -> Goal:
    """Times the reference, at most."""
    return Goal("ratio", False, ratio)


def under(value: float) -> Goal:
    """A value, at most."""
    return Goal("value", False, value)


@dataclass(frozen=True)
class Asked:
    """A row to be filled.

    Args:
        name: what is measured, and against what.
        unit: of value and reference.
        goal: what it should reach, if anything.
        quick: whether the short run measures it.
        needs: what a machine may lack: "a GPU", "REAL_MODEL"; empty for nothing.
    """

    name: str
    unit: str
    goal: Goal | None = None
    quick: bool = True
    needs: str = ""


@dataclass(frozen=True)
class Measured:
    """Numbers of a row.

    Args:
        name: of the row.
        value: ours, or the number itself.
        reference: what it is compared with, in the same unit.
        ratio: how many times the reference's speed ours is, or its size; the median of those of every turn.
        spread: the smallest and the largest ratio, or value where nothing is compared.
        note: what else there is to say.
    """

    name: str
    value: float | None
    reference: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""


class Report:
    """Where a section leaves its rows, one a line, as soon as each is known."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def add(self, row: Measured) -> None:
        """Keep a row, and print it."""
        print(f"  {row.name}: {brief(row.value)}" + (f", ratio {brief(row.ratio)}" if row.ratio else ""), flush=True)
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def rates(self, name: str, ours: Sequence[float], theirs: Sequence[float], note: str = "") -> None:
        """A row of rates, turn by turn: more is better."""
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        middle = statistics.median
        self.add(Measured(name, middle(ours), middle(theirs), middle(ratios), (min(ratios), max(ratios)), note))

    def times(self, name: str, ours: Sequence[float], theirs: Sequence[float], note: str = "") -> None:
        """A row of seconds, turn by turn: the ratio says how many times as fast ours is."""
        ratios = [other / one for one, other in zip(ours, theirs, strict=True)]
        middle = statistics.median
        self.add(Measured(name, middle(ours), middle(theirs), middle(ratios), (min(ratios), max(ratios)), note))

    def number(self, name: str, values: Sequence[float], note: str = "") -> None:
        """A row that is compared with nothing but its goal."""
        self.add(Measured(name, statistics.median(values), spread=(min(values), max(values)), note=note))


@dataclass(frozen=True)
class Options:
    """What a section is told.

    Args:
        report: where its rows go.
        quick: whether the whole is to take five minutes.
        shaped: folder of a random model of GPT-2 Small's shape.
        real: folder of a real model, if there is one.
        scratch: an empty folder.
    """

    report: Report
    quick: bool
    shaped: Path
    real: Path | None
    scratch: Path


def brief(number: float | None) -> str:
    """Three digits that count."""
    if number is None:
        return "-"
    if number == 0 or 1000 <= abs(number) < 1e7:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 1e7 else f"{number:.3e}"


def timed(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> tuple[float, T]:
    """Seconds of the clock that some work takes, and what comes of it."""
    began = time.perf_counter()
    result = work(*arguments, **options)
    return time.perf_counter() - began, result


def seconds(work: Callable[[], Any]) -> float:
    """Seconds of the clock that some work takes."""
    return timed(work)[0]


def memory(field: str) -> int:
    """Read VmRSS or VmHWM, bytes (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) * 1024 if found else 0


def reset_peak() -> None:
    """Let VmHWM start from now, without what was freed and not given back (Linux)."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_above(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> tuple[int, float, T]:
    """Time some work and look at its memory.

    Returns:
        bytes at its peak above what the process held before (Linux; 0 elsewhere), seconds, what comes of it.
    """
    reset_peak()
    before = memory("VmRSS")
    took, result = timed(work, *arguments, **options)
    return max(0, memory("VmHWM") - before), took, result

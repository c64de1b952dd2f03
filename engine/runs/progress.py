"""How far a run is, and the wish to stop it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from srm_explorer.engine.session.codec import DamagedError, Number, Text, Whole, read_record
from srm_explorer.engine.session.standing import Standing

Stage = Literal["waiting", "loading", "testing", "running", "survey", "lengths", "saving"]
"""`survey`: neurons are surveyed, part by part; `lengths`: texts are fed once more, for their means at the lengths at
which others of their prompts stopped."""

STAGES: dict[Stage, str] = {
    "waiting": "waiting for the device",
    "loading": "loading the model",
    "testing": "testing the model",
    "running": "running",
    "survey": "surveying",
    "lengths": "taking means at common lengths",
    "saving": "saving",
}
"""Each in words."""

_WEIGH_EVERY = 0.5
"""Seconds between two looks at the memory, at least."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        runs_done: finished runs, those of an earlier start included.
        rows: rows of the batch in flight.
        step: tokens generated in it, of `steps`.
        steps: tokens a run.
        tokens: tokens generated since this start.
        rate: tokens a second since the first batch of this start; 0 before there is one.
        seconds_left: estimate; None before there is one.
        memory: bytes that the process, or on CUDA its tensors at their most, take; None where that is not known.
        waits_for: process that has the device, while it waits for it; 0 where that cannot be named.
        part: finished parts of a stage that is no run of texts, of `parts`; both 0 where it has none. What is saved of
            a survey has those of the survey. They take about as long as one another, and tell shares and times.
        flying: how much of a part, or of several at once, is done of what is in flight.
        neurons: how far a survey is, also while it is saved; None before its plan is fixed, and of any other stage.
        lacks: what somebody waits for who should help, in a line; empty where nobody does.
    """

    stage: Stage
    runs_done: Whole = 0
    runs: Whole = 0
    rows: Whole = 0
    step: Whole = 0
    steps: Whole = 0
    tokens: Whole = 0
    rate: Number = 0.0
    seconds_left: Number | None = None
    memory: Whole | None = None
    waits_for: Whole | None = None
    part: Whole = 0
    parts: Whole = 0
    flying: Number = 0.0
    lacks: Text = ""
    neurons: Standing | None = None

    @property
    def counted(self) -> str:
        """How far a stage of parts is: "3 of 11", of a survey "40 of 512 neurons scored"; empty for any other."""
        if self.neurons is not None:
            return self.neurons.under_way
        return f"{self.part:,} of {self.parts:,}" if self.parts else ""

    def cell(self, *, is_over: bool) -> str:
        """The same in a cell of a table: "120 / 1,600" runs, "40 / 512 neurons"; empty before it is known.

        Args:
            is_over: whether nobody goes on with it: then it does not matter how far a stage was that has no results.
        """
        if self.neurons is not None:
            return self.neurons.short(" / ")
        if self.counted and not is_over:
            return f"{self.stage} {self.counted}"
        return f"{self.runs_done:,} / {self.runs:,}" if self.runs else ""

    @property
    def piece(self) -> str:
        """What a run that is asked to stop finishes first: a batch, or a part of a stage that has parts."""
        return "part" if self.stage in ("survey", "lengths") else "batch"

    @property
    def stage_share(self) -> float:
        """Finished part of a stage of parts, what is in flight included, else of the whole, 0 to 1."""
        return min((self.part + self.flying) / self.parts, 1.0) if self.parts else self.share

    @property
    def share(self) -> float:
        """Finished part of the whole, of a survey of its parts, 0 to 1, what is in flight included."""
        if self.neurons is not None and self.parts:
            return self.stage_share
        if not self.runs:
            return 0.0
        flying = self.rows * self.step / self.steps if self.steps else 0.0
        return min((self.runs_done + flying) / self.runs, 1.0)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self | None:
        """Read what `to_dict` wrote, in this version or another; None where that is no progress."""
        try:
            return read_record(cls, data)
        except DamagedError:
            return None


@dataclass(frozen=True)
class Flight:
    """A batch that somebody has.

    Args:
        rows: of it.
        step: tokens a row that are written.
        tokens: written by all rows.
    """

    rows: int
    step: int
    tokens: int


class Stopped(Exception):
    """The run was asked to stop at once."""


@dataclass
class StopSignal:
    """A wish to stop that grows: once, after the batch in flight; twice, now."""

    level: int = 0

    def ask(self) -> None:
        self.level += 1


@dataclass
class Meter:
    """Counts tokens and tells listeners how far the run is.

    Args:
        weigh: tells the bytes in use, None where it cannot.

    Attributes:
        lacks: as `Progress` has it, told with every progress from here on.
    """

    listeners: list[Callable[[Progress], None]]
    stop: StopSignal
    weigh: Callable[[], int | None] | None = None
    runs: int = 0
    steps: int = 0
    runs_done: int = 0
    lacks: str = ""
    _finished_tokens: int = 0
    _tokens: int = 0
    _rows: int = 0
    _began: float = field(default=0.0)
    _batch_began: float = 0.0
    _first: tuple[int, float] | None = None  # of a batch, the step that was told first, and when
    _worked: int = 0
    _spent: float = 0.0
    _memory: int | None = None
    _weigh_due: float = 0.0
    _parted: Progress = field(default_factory=lambda: Progress("waiting"))
    _parts_timed: bool = False
    _parts_before: int = 0
    _parts_began: float = 0.0

    def stage(self, stage: Stage, waits_for: int | None = None) -> None:
        told = Progress(stage, self.runs_done, self.runs, tokens=self._tokens, waits_for=waits_for)
        if stage == "saving" and self._parted.stage == "survey":
            survey = self._parted
            told = dataclasses.replace(told, part=survey.part, parts=survey.parts, neurons=survey.neurons)
        self._tell(told)

    def begin_parts(self, stage: Stage, part: int, parts: int, neurons: Standing | None = None) -> None:
        """Begin a stage whose parts take about as long as one another; raise Stopped if that is wished.

        Args:
            part: how many are finished.
            neurons: as `Progress` has them.
        """
        self.part(stage, part, parts, neurons)
        self._parts_timed, self._parts_before, self._parts_began = True, part, time.monotonic()

    def part(self, stage: Stage, part: int, parts: int, neurons: Standing | None = None) -> None:
        """Tell how far a stage of parts is; raise Stopped if that is wished."""
        if stage != self._parted.stage:
            self._parts_timed = False
        self._parted = Progress(stage, self.runs_done, self.runs, part=part, parts=parts, neurons=neurons)
        self.fly(0.0)

    def fly(self, share: float) -> None:
        """Tell how much of the parts in flight is done, 1 for each that is; raise Stopped if that is wished."""
        told = self._parted
        done = told.part - self._parts_before + share
        spent = time.monotonic() - self._parts_began
        timed = self._parts_timed and done > 0
        left = spent * max(0.0, told.parts - told.part - share) / done if timed else None
        self._tell(dataclasses.replace(told, flying=share, seconds_left=left, memory=self._weighed()))
        if self.stop.level > 1:
            raise Stopped

    @property
    def rate(self) -> float:
        """Tokens a second over the batches that this start finished; 0 before there is one."""
        return self._finished_tokens / self._spent if self._spent > 0 else 0.0

    def begin_batch(self, rows: int) -> None:
        self._batch_began = time.monotonic()
        self._began = self._began or self._batch_began
        self._rows = rows
        self._first = None
        self._tokens = self._finished_tokens
        self._tell(self._progress(0))

    def step(self, step: int, tokens: int) -> None:
        """Count the tokens that were written since the step that was told before; raise Stopped if that is wished."""
        self._tokens += tokens
        if self._first is None or step <= self._first[0]:
            # Where prompts of one length go on after those of another, steps begin again.
            self._first = step, time.monotonic()
        self._tell(self._progress(step + 1))
        if self.stop.level > 1:
            raise Stopped

    def in_flight(self, flights: Sequence[Flight]) -> None:
        """Tell of batches that run at once, at other hands; raise Stopped if that is wished."""
        self._began = self._began or time.monotonic()
        self._rows = sum(flight.rows for flight in flights)
        self._tokens = self._finished_tokens + sum(flight.tokens for flight in flights)
        steps = sum(flight.rows * flight.step for flight in flights)
        progress = self._progress(steps // max(self._rows, 1))
        done = self._worked + (steps / self.steps if self.steps else 0.0)
        left = self.runs - self.runs_done - (done - self._worked)
        # As in one batch, its first step reads the prompt: taken for one of many, it would make days of minutes.
        known = self._worked or any(flight.step > 1 for flight in flights)
        seconds = left * (time.monotonic() - self._began) / done if done and known else None
        self._tell(dataclasses.replace(progress, seconds_left=seconds))
        if self.stop.level > 1:
            raise Stopped

    def halt(self, _step: int, _tokens: int) -> None:
        """Count nothing; raise Stopped if that is wished."""
        if self.stop.level > 1:
            raise Stopped

    def end_batch(self, tokens: int, rows: int | None = None) -> None:
        """Count a batch's runs as finished, with the tokens they hold.

        Args:
            rows: of the batch, where several are in flight.
        """
        self._finished_tokens += tokens
        self._tokens = self._finished_tokens
        rows = self._rows if rows is None else rows
        self.runs_done += rows
        self._worked += rows
        self._spent = time.monotonic() - self._began
        self._rows = 0
        self._tell(self._progress(0))

    def end_pass(self, rows: int, tokens: int) -> None:
        """Count runs that went through the model in one pass, which is over."""
        self._rows = rows
        self.end_batch(tokens)

    def _tell(self, progress: Progress) -> None:
        told = dataclasses.replace(progress, lacks=self.lacks) if self.lacks else progress
        for listener in self.listeners:
            listener(told)

    def _progress(self, step: int) -> Progress:
        now = time.monotonic()
        spent = now - self._began
        return Progress(
            "running",
            self.runs_done,
            self.runs,
            self._rows,
            step,
            self.steps,
            self._tokens,
            self._tokens / spent if spent > 0 else 0.0,
            self._seconds_left(step, now),
            self._weighed(),
        )

    def _seconds_left(self, steps: int, now: float) -> float | None:
        """From the time that runs have taken; within a batch, from that of its steps since the first that was told.

        The first step reads the prompt: taken for one of many, it would make hours of minutes. On a GPU steps are told
        some at a time.
        """
        runs, spent, left = self._worked, self._spent, 0.0
        first, since = self._first or (0, now)
        if self._rows and steps > first + 1:
            a_step = (now - since) / (steps - 1 - first)
            left = (self.steps - steps) * a_step
            runs, spent = runs + self._rows, spent + now - self._batch_began + left
        elif self._rows and runs:
            left = max(0.0, self._rows * spent / runs - (now - self._batch_began))
        return left + (self.runs - self.runs_done - self._rows) * spent / runs if runs else None

    def _weighed(self) -> int | None:
        if self.weigh is not None and time.monotonic() >= self._weigh_due:
            self._weigh_due = time.monotonic() + _WEIGH_EVERY
            self._memory = self.weigh()
        return self._memory

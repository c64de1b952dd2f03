"""The runs of a session as rows of a table: numbers and texts by column, and the order they are listed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.figures import SET, factor_columns
from srm_explorer.engine.session import PlaneRecord, Session, baseline_of

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNSORTED = ""
LIT, COSINE = "lit", "cos"
MOVING = (LIT, COSINE)
"""What changes as the spotlight turns."""
FACTOR = "factor."
"""Comes before the name of a factor where a column is meant."""
LARGEST_FIRST = (LIT, COSINE, "norm")
"""Columns that are sorted from the largest down unless asked otherwise."""


class RunRows:
    """What a session's runs are, but for the spotlight; row i is the i-th run; without a plane none has coordinates."""

    def __init__(self, session: Session, record: PlaneRecord | None) -> None:
        self.session = session
        self.record = record
        self.conditions = [session.conditions[run.condition] for run in session.runs]
        self.factors = _factors(session)
        self._baselines: list[int] = baseline_of(session).tolist()

    def __len__(self) -> int:
        return len(self.session.runs)

    @property
    def has_controls(self) -> bool:
        known = self.session.conditions
        return bool(known) and known[-1].kind == "control"

    @cached_property
    def numbers(self) -> dict[str, Numbers]:
        """[run] by column; NaN where a run has none. "change" counts tokens from 1."""
        runs, plane, is_unknown = self.session.runs, self.record, self.session.is_unknown
        missing: Numbers = np.full(len(runs), np.nan)
        columns: dict[str, Numbers] = {
            "value": _numbers(condition.value for condition in self.conditions),
            "x": missing if plane is None else np.array(plane.x, np.float64),
            "y": missing if plane is None else np.array(plane.y, np.float64),
            "norm": missing if plane is None else np.array(plane.norm, np.float64),
            "change": _numbers(self.first_change(i) for i in range(len(runs))),
            "tokens": missing if is_unknown("tokens") else _numbers(len(run.token_ids) for run in runs),
            "margin": _numbers(run.min_margin for run in runs),
            "run": _numbers(run.index for run in runs),
            "sample": _numbers(run.sample for run in runs),
        }
        if self.has_controls:
            columns["control"] = _numbers(condition.control for condition in self.conditions)
        for name in dict.fromkeys(name for run in runs for name in run.metrics):
            # Stored as an index into the token ids, it is read like the column: from 1.
            numbers = columns["change"] if name == "first_change" else _numbers(run.metrics.get(name) for run in runs)
            columns.setdefault(name, numbers)
        return columns

    @cached_property
    def texts(self) -> dict[str, list[str | None]]:
        """[run] by column; None where a prompt has no such factor. Factors' columns are "factor.<name>"."""
        runs, prompts = self.session.runs, self.session.prompts
        names = [prompt.text for prompt in prompts]
        if self.session.is_unknown("prompts"):
            # What is known of them: their factors, else their number, as keys of vectors have it.
            names = [" ".join(prompt.factors.values()) or f"prompt_{at}" for at, prompt in enumerate(prompts)]
        columns: dict[str, list[str | None]] = {
            "prompt": [names[run.prompt] for run in runs],
            "text": [run.text for run in runs],
            "finish": [run.finish for run in runs],
            SET: [prompts[run.prompt].set for run in runs],
        }
        if self.has_controls:
            columns["kind"] = [condition.kind for condition in self.conditions]
        return columns | {f"{FACTOR}{name}": levels for name, levels in self.factors.items()}

    @cached_property
    def words(self) -> list[str]:
        """[run] prompt and continuation, folded, for searching."""
        pairs = zip(self.texts["prompt"], self.texts["text"], strict=True)
        return [f"{prompt}\n{text}".casefold() for prompt, text in pairs]

    @cached_property
    def changed(self) -> Mask:
        """[run] whether the tokens differ from the baseline's; the texts, where tokens are unknown."""
        session = self.session
        if not session.is_unknown("tokens") or session.is_unknown("texts"):
            return np.isfinite(self.numbers["change"])
        bases = [self.baseline_of(row) for row in range(len(self))]
        pairs = zip(session.runs, bases, strict=True)
        return np.array([base is not None and not session.same_text(run, session.runs[base]) for run, base in pairs])

    def baseline_of(self, row: int) -> int | None:
        """The row of the same prompt and sample without any intervention; None where it is not finished."""
        base = self._baselines[row]
        return None if base < 0 else base

    def first_change(self, row: int) -> int | None:
        """The first token that differs from the baseline's, from 1; None where none does, or nothing is known."""
        run = self.session.runs[row]
        noted = run.metrics.get("first_change")
        return None if noted is None or not np.isfinite(noted) else int(noted) + 1

    def order(self, sort: str, descending: bool, shown: Mask | None, cosines: Numbers, lit: Mask) -> NDArray[np.intp]:
        """The rows to list, sorted; rows that are equal keep the session's order, rows without a value come last.

        Args:
            sort: a column, "lit", "cos", or "" for the session's order.
            descending: from the largest down; of "lit": those that are lit first.
            shown: [run] which rows to list; None for all.
            cosines: [run] at the spotlight.
            lit: [run] under the spotlight.
        """
        if sort == UNSORTED:
            rows = np.arange(len(self))
            rows = rows[::-1] if descending else rows
        else:
            moving = {LIT: lit.astype(np.float64), COSINE: cosines}
            key = moving[sort] if sort in moving else self._rank(sort)
            absent = np.isnan(key)
            rows = np.lexsort((np.where(absent, 0.0, -key if descending else key), absent))
        return rows if shown is None else rows[shown[rows]]

    def knows(self, column: str) -> bool:
        return column in (UNSORTED, *MOVING) or column in self.numbers or column in self.texts

    def _rank(self, column: str) -> Numbers:
        if column == "value":
            return self._value_rank
        if column in self.numbers:
            return self.numbers[column]
        texts = self.texts[column]
        known = sorted({text.casefold() for text in texts if text is not None})
        ranks = {text: float(rank) for rank, text in enumerate(known)}
        return _numbers(None if text is None else ranks[text.casefold()] for text in texts)

    @cached_property
    def _value_rank(self) -> Numbers:
        """The baseline, the reference, then conditions by value; those without a single value in their own order.

        Controls come after the target, each by value.
        """
        known = self.session.conditions
        ranked = sorted(known, key=lambda c: (c.control or 0, c.value if c.value is not None else 0.0, c.index))
        others = [c for c in known if c.kind in ("baseline", "reference")]
        ordered = [*others, *(c for c in ranked if c.kind not in ("baseline", "reference"))]
        ranks = {condition.index: float(rank) for rank, condition in enumerate(ordered)}
        return _numbers(ranks[condition.index] for condition in self.conditions)


def _factors(session: Session) -> Mapping[str, list[str | None]]:
    """[run] levels of the prompts' own factors; the prompt set is none of them."""
    named = {name for prompt in session.prompts for name in prompt.factors}
    return {name: levels for name, levels in factor_columns(session).items() if name in named}


def _numbers(values: Iterable[float | None]) -> Numbers:
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)

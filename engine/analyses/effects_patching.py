"""Whether a site is enough for a difference between two runs, and whether the difference needs it: one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import count_of
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, as_cell, table_columns
from srm_explorer.engine.session import ComputedTest, Session, record_tests, repeated_prompts
from srm_explorer.engine.session.units import nan_logits
from srm_explorer.engine.stats.resampling import RESAMPLES, unit_totals
from srm_explorer.engine.stats.unit_means import LEAST_UNITS, known_means, mean_effect, ratio_of_means

Floats = NDArray[np.float64]

FAMILY = "patching"
"""Of the ledger, unless another is named."""

DONE = {
    "patch": "patched in (sufficiency)",
    "zero": "set to 0 (necessity)",
    "mean": "set to its mean (necessity)",
    "project_out": "projected out (necessity)",
}
"""What is done to a site, by the operation."""


@dataclass(frozen=True, eq=False)
class PatchReadings:
    """A difference of logits in the runs that patching compares, a row a run that something is patched into.

    Attributes:
        difference: what is compared: "' yes' - ' no'", or "answer - the other's answer".
        condition: [row] the condition that the patch is part of.
        prompt: [row] whose run it is written into.
        source: [row] whose run it comes from; the same where it comes from another condition.
        unit: [row] its unit: pairs that share a prompt are one.
        stratum: [unit].
        clean: [row] the difference in the run that the values come from.
        corrupt: [row] in the run that they are written into, without them.
        patched: [row] in that run with them.
        ablated: by operation, see `DONE`, [row] in the run that the values come from, without the site's own.
        oriented: [row] whether `clean` is the larger one by its meaning; else by its number.
        both: [row] whether each prompt of a pair is the clean one in turn: then the site is ablated in both.
        rounding: what floating point alone may change a difference by.
        remark: what else is to be known of the tokens.
    """

    difference: str
    condition: NDArray[np.int64]
    prompt: NDArray[np.int64]
    source: NDArray[np.int64]
    unit: NDArray[np.int64]
    stratum: NDArray[np.int64]
    clean: Floats
    corrupt: Floats
    patched: Floats
    ablated: Mapping[str, Floats]
    oriented: NDArray[np.bool_]
    both: NDArray[np.bool_]
    rounding: float
    remark: str = ""

    def effects(self) -> tuple[Floats, dict[str, Floats]]:
        """The differences between the two runs [row], and by operation, how much of each it moves [row]."""
        whole = self.clean - self.corrupt
        sign = np.where(self.oriented, 1.0, np.sign(whole))
        moved = {"patch": sign * (self.patched - self.corrupt)}
        # A pair's two rows are averaged: twice the mean is what ablating both takes from between them.
        sides = np.where(self.both, 2.0, 1.0)
        moved |= {name: sides * sign * (self.clean - without) for name, without in self.ablated.items()}
        return sign * whole, moved


def patching_tables(
    session: Session, found: PatchReadings, *, resamples: int = RESAMPLES, seed: int = 0, family: str = FAMILY
) -> tuple[TableFigure, ...]:
    """Sufficiency and necessity side by side, then every run; the tests are written into the session's ledger.

    Raises:
        ExplorerError: the two runs of no pair differ, or the family has no plain name.
    """
    whole, moved = found.effects()
    differs = np.abs(whole) > found.rounding
    if not differs.any():
        raise ExplorerError(
            f"the two runs of every pair have the same {found.difference}: nothing can be restored",
            where=session.name,
            remedy="choose tokens, or pairs of prompts, in which the model differs",
        )
    rows = [(c, np.flatnonzero(found.condition == c.index)) for c in session.conditions if c.index in found.condition]

    def of_units(values: Floats, at: NDArray[np.int64]) -> Floats:
        return unit_totals(values[at], found.unit[at], len(found.stratum)).unit_means[:, 0]

    effects = [
        [mean_effect(of_units(values, at), found.stratum, resamples=resamples, seed=seed) for values in moved.values()]
        for _, at in rows
    ]
    of: dict[str, Any] = {"difference": found.difference, "values": [c.label for c, _ in rows], "done": list(moved)}
    if not found.both.any():
        of["from"] = sorted({int(prompt) for prompt in found.source})
    test = ComputedTest("patching", of, np.array([[float(effect.p) for effect in row] for row in effects]))
    counted = record_tests(session, [test], family)
    columns = table_columns(
        "value::text; done:what is done:text; units::whole:3; difference::number:2; moved; low:from; high:to; p::p; "
        "q::p:2; share::percent; share_low:from:percent:1; share_high:to:percent:1"
    )
    lines: list[tuple[CellValue, ...]] = []
    for (condition, at), inferred, q in zip(rows, effects, counted.q[0], strict=True):
        denominator = of_units(whole, at)
        for (name, values), effect, each in zip(moved.items(), inferred, q, strict=True):
            share = ratio_of_means(of_units(values, at), denominator, found.stratum, resamples=resamples, seed=seed)
            # Where the runs do not differ beyond rounding, a share is rounding over rounding.
            known = (share.ratio, share.low, share.high) if differs[at].any() else (np.nan,) * 3
            numbers = (effect.mean, effect.low, effect.high, effect.p, each, *known)
            head = (condition.label, DONE[name], int(effect.units), as_cell(known_means(denominator)))
            lines.append((*head, *(as_cell(number) for number in numbers)))
    notes = _notes(session, found, differs, counted.caption, resamples, seed)
    notes = (*notes, counted.problem) if counted.problem else notes
    table = TableFigure("patching", f"Sufficiency and necessity: {found.difference}", columns, tuple(lines), notes)
    return table, _run_table(session, found, rows, differs)


def _notes(
    session: Session, found: PatchReadings, differs: NDArray[np.bool_], caption: str, resamples: int, seed: int
) -> tuple[str, ...]:
    where = "both prompts of a pair" if found.both.any() else "the run that the values come from"
    notes = [
        f"difference: {found.difference} of the run that the values come from less that of the run they are written"
        " into, at the first generated position, mean over units",
        "patched in: by how much the values move the one towards the other; set to 0 and the like: how much of the"
        f" difference is gone where the site is so set in {where}",
        "share: moved over difference, a ratio of means, whose from and to are the ratios that a studentised bootstrap"
        " does not reject (Fieller 1954; Hwang 1995); none where the difference itself may be 0",
        f"from, to, p of moved: studentised bootstrap of units, {resamples:,} resamples, seed {seed}",
        caption,
    ]
    if not found.oriented.all():
        notes.insert(1, "of a pair, the prompt with the larger difference counts as the clean one")
    if repeated := repeated_prompts(session.prompts):
        copies = sum(map(len, repeated))
        notes.insert(0, f"{copies} prompts are the same as another: pairs that share one are one unit")
    if found.remark:
        notes.insert(1, found.remark)
    units = len(np.unique(found.unit))
    if units < LEAST_UNITS:
        notes.insert(0, f"{count_of(units, 'unit')}: too few for an interval or a p ({LEAST_UNITS} are the fewest)")
    known = np.isfinite(found.effects()[0])
    if broken := int((~known).sum()):
        notes.insert(0, nan_logits(broken, len(known), "runs"))
    if same := int((known & ~differs).sum()):
        notes.insert(0, f"{count_of(same, 'run')} of {len(differs)}: no difference beyond rounding to be moved")
    return tuple(notes)


def _run_table(
    session: Session,
    found: PatchReadings,
    rows: Sequence[tuple[object, NDArray[np.int64]]],
    differs: NDArray[np.bool_],
) -> TableFigure:
    names = list(found.ablated)
    columns = (
        *table_columns("run::index:2; value::text; clean:come from; corrupt:written into; patched; share::percent"),
        *(TableColumn(name, DONE[name].partition(" (")[0], keep=1) for name in names),
        *table_columns("prompt::text:1; source:from:text:1"),
    )
    run_of = {(run.prompt, run.condition): run.index for run in reversed(session.runs)}
    lines: list[tuple[CellValue, ...]] = []
    links: list[int | None] = []
    for _, members in rows:
        for at in members.tolist():
            clean, corrupt, patched = (float(side[at]) for side in (found.clean, found.corrupt, found.patched))
            share = (patched - corrupt) / (clean - corrupt) if differs[at] else None
            run = run_of.get((int(found.prompt[at]), int(found.condition[at])))
            label = session.conditions[int(found.condition[at])].label
            texts = [session.prompts[int(of[at])].text for of in (found.prompt, found.source)]
            without = [float(found.ablated[name][at]) for name in names]
            lines.append((run, label, clean, corrupt, patched, share, *without, *texts))
            links.append(run)
    title = f"Every run that is written into: {found.difference}"
    return TableFigure("patched", title, columns, tuple(lines), runs=tuple(links))

"""What an intervention did to chosen tokens: differences of logits, log-odds, and what neurons add to them directly."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import count_of
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, as_cell, table_columns
from srm_explorer.engine.session import ComputedTest, Counted, Session, record_tests, unit_warnings
from srm_explorer.engine.session.units import nan_logits
from srm_explorer.engine.stats.resampling import RESAMPLES, unit_totals
from srm_explorer.engine.stats.unit_means import LEAST_UNITS, MeanEffect, known_means, mean_effect, ratio_of_means

Floats = NDArray[np.float64]

MOST_TOKENS = 12
"""Each is a row for every value."""

FAMILY = "tokens"
"""Of the ledger, unless another is named."""


def token_list(text: str) -> tuple[str, ...]:
    """Read a list of tokens: `` yes,no`` are " yes" and "no".

    Commas part tokens and everything else counts, spaces too. A token in double quotes may hold commas; two double
    quotes in it are one.

    Raises:
        ExplorerError: no token, an empty one, one that is named twice, or a quote that is not closed.
    """
    remedy = "write tokens parted by commas, spaces included: ' yes, no'; one with a comma in double quotes"
    try:
        tokens: list[str] = next(csv.reader([text], strict=True), list[str]())
    except csv.Error:
        raise ExplorerError(f"{text!r} is no list of tokens: a double quote is not closed", remedy=remedy) from None
    return checked_tokens(tokens)


def checked_tokens(tokens: Sequence[str]) -> tuple[str, ...]:
    """Refuse a list of tokens that asks nothing, see `token_list`."""
    remedy = "write tokens parted by commas, spaces included: ' yes, no'"
    if not tokens or not all(tokens):
        raise ExplorerError("a token is empty" if any(tokens) else "no token is named", where="tokens", remedy=remedy)
    twice = next((token for at, token in enumerate(tokens) if token in tokens[:at]), None)
    if twice is not None:
        raise ExplorerError(f"{twice!r} is named twice", where="tokens", remedy="name each token once")
    if len(tokens) > MOST_TOKENS:
        what = f"{len(tokens)} tokens are named"
        raise ExplorerError(what, where="tokens", remedy=f"name {MOST_TOKENS} or fewer")
    return tuple(tokens)


def contrasts_of(tokens: Sequence[str]) -> tuple[tuple[str, ...], Floats]:
    """The differences of logits that some tokens make: the first less each of the others; one alone is its logit.

    Returns:
        names, and [contrast, token] the weight of each token's logit.
    """
    if len(tokens) == 1:
        return (repr(tokens[0]),), np.ones((1, 1))
    names = tuple(f"{tokens[0]!r} - {other!r}" for other in tokens[1:])
    weights = np.zeros((len(names), len(tokens)))
    weights[:, 0] = 1.0
    weights[np.arange(len(names)), np.arange(1, len(tokens))] = -1.0
    return names, weights


PARTS = ("direct", "norm", "later")
"""What a change of logits is made of: what the changed neurons add, what their effect on the last norm does to all else
in the residual stream, and what later layers make of them."""


@dataclass(frozen=True, eq=False)
class TokenReadings:
    """Logits of chosen tokens with and without an intervention, a row a run; averaged over a text where one was read.

    Attributes:
        tokens: as they were named.
        over: "first", the first generated position, or "text", all positions of the baseline's text.
        runs: [row] index of the run among all planned ones.
        unit: [row] its unit.
        stratum: [unit].
        condition: [row].
        before: [row, 3, token] logit, log-odds against all other tokens and probability in the untouched model.
        after: [row, 3, token] the same under the row's condition.
        parts: [row, 3, token] see `PARTS`; None where they are not known.
        without_parts: why not.
        rounding: what floating point alone may change a logit by; a smaller change is none.
        cap: see `srm_explorer.engine.model.logit_cap`.
    """

    tokens: tuple[str, ...]
    over: str
    runs: NDArray[np.int64]
    unit: NDArray[np.int64]
    stratum: NDArray[np.int64]
    condition: NDArray[np.int64]
    before: Floats
    after: Floats
    rounding: float = 0.0
    parts: Floats | None = None
    without_parts: str = ""
    cap: float | None = None

    def of_units(self, values: Floats, members: NDArray[np.int64]) -> Floats:
        """[unit, k] means of the rows of `members`, whose values [member, k] are; NaN for a unit without one."""
        return unit_totals(values, self.unit[members], len(self.stratum)).unit_means


def token_tables(
    session: Session, found: TokenReadings, *, resamples: int = RESAMPLES, seed: int = 0, family: str = FAMILY
) -> tuple[TableFigure, ...]:
    """The tables of what was read: differences of logits, log-odds, direct attribution, every prompt.

    Its tests are written into the session's ledger.

    Raises:
        ExplorerError: the family has no plain name.
    """
    names, weights = contrasts_of(found.tokens)
    members = [np.flatnonzero(found.condition == at) for at in range(len(session.conditions))]
    rows = [(condition, members[condition.index]) for condition in session.conditions if len(members[condition.index])]
    logits = (found.after - found.before)[:, 0] @ weights.T
    odds = (found.after - found.before)[:, 1]

    def inferred(values: Floats) -> list[MeanEffect]:
        per_unit = [found.of_units(values[at], at) for _, at in rows]
        return [mean_effect(table, found.stratum, resamples=resamples, seed=seed) for table in per_unit]

    by_contrast, by_token = inferred(logits), inferred(odds)
    of = {"tokens": list(found.tokens), "over": found.over, "values": [condition.label for condition, _ in rows]}
    tests = [
        ComputedTest(name, of, np.array([effect.p for effect in effects]))
        for name, effects in (("logit difference", by_contrast), ("log-odds", by_token))
    ]
    # Two tokens' difference of logits is the log-odds between the two; against all others is another question.
    counted = record_tests(session, tests, family)
    columns = (
        *table_columns("value::text"),
        TableColumn("difference", "logits of" if len(found.tokens) == 1 else "logits", "text"),
        *table_columns("units::whole:3; before:baseline::1; after:with it::1; change; low:from; high:to; p::p; q::p:2"),
    )
    differences: list[tuple[CellValue, ...]] = []
    shares: list[tuple[CellValue, ...]] = []
    for (condition, at), effect, at_odds, q, q_odds in zip(rows, by_contrast, by_token, *counted.q, strict=True):
        ends = [found.of_units(side[at, 0] @ weights.T, at) for side in (found.before, found.after)]
        for number, name in enumerate(names):
            differences.append((condition.label, name, *_effect_row(ends, effect, number, q)))
        ends = [found.of_units(side[at, 2], at) for side in (found.before, found.after)]
        for number, token in enumerate(found.tokens):
            shares.append((condition.label, repr(token), *_effect_row(ends, at_odds, number, q_odds)))
    odds_columns = table_columns(
        "value::text; token::text; units::whole:3; before:baseline prob:percent:1; after:prob with it:percent:1; "
        "change:log-odds; low:from; high:to; p::p; q::p:2"
    )
    notes = _notes(session, found, logits, counted, resamples, seed)
    tables = [
        TableFigure("difference", _title(found), columns, tuple(differences), notes),
        TableFigure("odds", "Each token against all others", odds_columns, tuple(shares), (_ODDS, counted.caption)),
    ]
    tables.append(_direct_table(session, found, names, weights, logits, resamples, seed))
    tables.append(_prompt_table(session, found, names, weights))
    return tuple(tables)


_ODDS = "log-odds: change of ln(p / (1 - p)) against all other tokens of the model, nats, mean over units"


def _effect_row(ends: Sequence[Floats], effect: MeanEffect, number: int, q: Floats) -> list[CellValue]:
    levels = [as_cell(known_means(end[:, number])) for end in ends]
    numbers = (effect.mean[number], effect.low[number], effect.high[number], effect.p[number], q[number])
    return [int(effect.units[number]), *levels, *map(as_cell, numbers)]


def _title(found: TokenReadings) -> str:
    where = "at the first generated position" if found.over == "first" else "over the baseline's text"
    what = "logits" if len(found.tokens) == 1 else "differences of logits"
    return f"Effect on {what}, {where}"


def _notes(
    session: Session, found: TokenReadings, changes: Floats, counted: Counted, resamples: int, seed: int
) -> tuple[str, ...]:
    units = len(np.unique(found.unit))
    moved = len(np.unique(found.unit[(np.abs(changes) > found.rounding).any(axis=1)]))
    notes = [
        "change: with the value less without it, mean over units; the same prompt both times"
        + ("" if found.over == "first" else ", and the same text"),
        f"from, to, p: studentised bootstrap of units (mean, not symmetry), {resamples:,} resamples, seed {seed}",
        counted.caption,
    ]
    if counted.problem:
        notes.append(counted.problem)
    if len(found.tokens) > 2:
        notes.insert(0, "the first token less each of the others")
    known = np.asarray(np.isfinite(found.before[:, 0] + found.after[:, 0]).all(axis=1), np.bool_)
    if broken := int((~known).sum()):
        notes.insert(0, nan_logits(broken, len(known), "runs"))
    if len(found.tokens) == 1:
        notes.insert(0, "one logit alone is no probability: read its log-odds")
    if units < LEAST_UNITS:
        notes.insert(0, f"{count_of(units, 'unit')}: too few for an interval or a p ({LEAST_UNITS} are the fewest)")
    if moved < units:
        late = all(edit.positions == "generated" for edit in session.spec.interventions)
        why = ": what is changed at generated positions cannot reach the first one" if late else ""
        notes.insert(0, f"{moved} of {units} units change at all{why}")
    return (*notes, *unit_warnings(session))


def _direct_table(
    session: Session,
    found: TokenReadings,
    names: Sequence[str],
    weights: Floats,
    observed: Floats,
    resamples: int,
    seed: int,
) -> TableFigure:
    """What was observed beside what the changed neurons add directly."""
    layout = (
        "value::text; difference:logits:text; observed; direct; low:from; high:to; norm:by the norm; "
        "later:later layers; share:direct share:percent; share_low:from:percent:1; share_high:to:percent:1"
    )
    columns = table_columns(layout if found.cap is None else f"{layout}; cap:by the cap")
    title = "What the changed neurons add directly (attribution)"
    if found.parts is None:
        return TableFigure("direct", title, columns, (), (f"not attributed: {found.without_parts}",))
    parts = found.parts @ weights.T
    rows: list[tuple[CellValue, ...]] = []
    for condition in session.conditions:
        at = np.flatnonzero(found.condition == condition.index)
        if not len(at):
            continue
        stacked = np.concatenate([parts[at], observed[at, None]], axis=1)
        per_unit = found.of_units(stacked.reshape(len(at), -1), at).reshape(-1, len(PARTS) + 1, len(names))
        means = known_means(per_unit)
        effect = mean_effect(per_unit[:, 0], found.stratum, resamples=resamples, seed=seed)
        for number, name in enumerate(names):
            direct, norm, later, seen = means[:, number].tolist()
            row: list[CellValue] = [condition.label, name, as_cell(seen), as_cell(direct)]
            row += map(as_cell, (effect.low[number], effect.high[number], norm, later))
            share = ratio_of_means(
                per_unit[:, 0, number], per_unit[:, -1, number], found.stratum, resamples=resamples, seed=seed
            )
            row += map(as_cell, (share.ratio, share.low, share.high))
            rows.append((*row, *([] if found.cap is None else [as_cell(seen - direct - norm - later)])))
    notes = [
        "direct: value x W_out x the last norm's gain x W_U, with the norm's division as each run had it, less the same"
        " in the untouched model; a norm after W_out has its gain and its division there too",
        "by the norm: the division changes for all else in the residual stream (that after W_out, for all else in the"
        " MLP); later layers: what they make of the change, 0 in the last layer; the parts add up to what is observed"
        + ("" if found.cap is None else ", but for the cap"),
        "direct share: direct over observed, means over units, where the observed change is told from 0; from, to:"
        " ratios that a studentised bootstrap does not reject (Fieller 1954; Hwang 1995)",
    ]
    if found.cap is not None:
        notes.append(f"this model caps its logits, {found.cap:g} tanh(x / {found.cap:g}): parts are those of x")
    return TableFigure("direct", title, columns, tuple(rows), tuple(notes))


def _prompt_table(session: Session, found: TokenReadings, names: Sequence[str], weights: Floats) -> TableFigure:
    columns = table_columns(
        "run::index:2; value::text; difference:logits:text; before:baseline; after:with it; change; direct:::1; "
        "prompt::text:1"
    )
    before, after = (side[:, 0] @ weights.T for side in (found.before, found.after))
    direct = None if found.parts is None else found.parts[:, 0] @ weights.T
    record = {run.index: run for run in session.runs}
    rows: list[tuple[CellValue, ...]] = []
    links: list[int] = []
    for at in np.lexsort((np.arange(len(found.runs)), found.condition)).tolist():
        run = record[int(found.runs[at])]
        label, text = session.conditions[run.condition].label, session.prompts[run.prompt].text
        for number, name in enumerate(names):
            pair = before[at, number], after[at, number]
            attributed = None if direct is None else float(direct[at, number])
            rows.append((run.index, label, name, *map(float, pair), float(pair[1] - pair[0]), attributed, text))
            links.append(run.index)
    return TableFigure("prompts", "Every prompt", columns, tuple(rows), runs=tuple(links))

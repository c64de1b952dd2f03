"""What controls say of a session: the band they span, and how its target ranks among them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.controls_split import Captured, Part, has_own_axis, parts_of
from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.bands import Band, NullBand
from srm_explorer.engine.figures.captions import coordinate_caption, plane_title, pooled_caption, site_caption
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.groups import CONDITION, points_of, swept_groups
from srm_explorer.engine.figures.numbers import count_of, short, three_digits
from srm_explorer.engine.figures.table import TableColumn, TableFigure, as_cell, table_columns
from srm_explorer.engine.figures.warnings import edge_lines
from srm_explorer.engine.io.vectors import as_rows
from srm_explorer.engine.session import ComputedTest, Counted, DamagedError, Session, baseline_of, record_tests
from srm_explorer.engine.session.controls import Controls, Selection, controls_of, selection_of
from srm_explorer.engine.session.lengths import length_note, paired
from srm_explorer.engine.stats.matching import null_band, rank_p

WHOLE_TEXT = "text"


@dataclass(frozen=True)
class Measure:
    """One number of a target or of a control.

    Attributes:
        where: the plane, the site or "text".
        value: larger is more of an effect; NaN where there is none.
        tested: False where it holds what the experiment set.
        circular: an angle, which has no median or range.
        headline: worth a column in the list of controls.
    """

    where: str
    group: str
    name: str
    value: float
    tested: bool = True
    circular: bool = False
    headline: bool = False


def measures_of(part: Part, vectors: Captured, *, by_condition: bool = False) -> tuple[Measure, ...]:
    """Measure a target or a control: in its planes, at the captured sites off what was edited, and by its texts.

    Args:
        vectors: full vectors of the whole session.

    Returns:
        The same measures in the same order for every part of a session.
    """
    pooled = pooled_caption(part.session.spec)
    groups = {pooled: _places(part, None)}
    if by_condition:
        swept = [condition for condition in part.session.conditions if condition.kind == "sweep"]
        if len(swept) > 1:
            groups |= {condition.label: _places(part, condition.index) for condition in swept}
    measures: list[Measure] = []
    for index in range(len(part.session.planes)):
        measures.extend(_in_plane(part, index, groups, pooled))
    for site in part.session.spec.capture.sites:
        measures.extend(_off_axis(part, vectors, site, groups, pooled))
    for label, rows in groups.items():
        measures.append(Measure(WHOLE_TEXT, label, "share changed", _changed(part, rows), headline=label == pooled))
    return tuple(measures)


def _places(part: Part, condition: int | None) -> NDArray[np.int64]:
    of_run = np.array([run.condition for run in part.session.runs], np.int64)
    return np.flatnonzero((part.session.kinds == "sweep") & (condition is None or of_run == condition))


def _in_plane(part: Part, index: int, groups: dict[str, NDArray[np.int64]], pooled: str) -> Iterator[Measure]:
    session = part.session
    plane = session.planes[index]
    if not part.has_axis[index]:
        return
    where = f"plane {index + 1}"
    pairs = paired(session, plane)
    points, base_points = points_of(pairs.runs), points_of(pairs.baselines)
    predicted = arithmetic_points(session, index, pairs)
    base = baseline_of(session)
    sets = any(side in part.edited.get(plane.site, ()) for side in (plane.a, plane.b))
    swept = {group.label: group for group in swept_groups(session, plane, points=points)}
    swept |= {group.label: group for group in swept_groups(session, plane, (CONDITION,), points=points)}
    for label, rows in groups.items():
        sweep = swept[label].sweep
        yield Measure(where, label, "amplitude", sweep.amplitude, tested=not sets, headline=label == pooled)
        phase = math.nan if sweep.phase_deg is None else sweep.phase_deg
        yield Measure(where, label, "phase °", phase, tested=False, circular=True)
        for side, along in enumerate((plane.a, plane.b)):
            if along in part.edited.get(plane.site, ()):
                continue
            shift = _mean(points.xy[rows, side] - base_points.xy[rows, side], base[rows])
            yield Measure(where, label, f"|change of cos {('0°', '90°')[side]}|", abs(shift))
        residual = math.nan
        if predicted is not None:
            differences = points.xy[rows] - predicted.xy[rows]
            differences = differences[np.isfinite(differences).all(axis=1)]
            residual = float(np.hypot(*differences.mean(axis=0))) if len(differences) else math.nan
        yield Measure(where, label, "beyond arithmetic", residual, headline=label == pooled)
        for number, level in enumerate(sweep.thresholds):
            counts = sweep.counts[number]
            yield Measure(where, label, f"most > {short(level)}", float(counts.max()) if sweep.n else math.nan)


def _off_axis(
    part: Part, vectors: Captured, site: str, groups: dict[str, NDArray[np.int64]], pooled: str
) -> Iterator[Measure]:
    """How far runs move from their baselines in the coordinates that nothing edits, in mean baseline lengths.

    At a site that a direction is added to, what is added is part of it: as long for every control as for the target.
    """
    name = "change off axis" if part.edited.get(site) else "change"
    edited = list(part.edited.get(site, ()))
    whole = as_rows(vectors[site], part.rows).astype(np.float64)
    own, others = part.paired(vectors, site)
    for matrix in (whole, own, others):
        matrix[:, edited] = 0.0
    base = baseline_of(part.session)
    is_baseline = np.flatnonzero(base == np.arange(len(base)))
    lengths = np.sqrt((whole[is_baseline] ** 2).sum(axis=1))
    scale = _mean(lengths, is_baseline)
    for label, rows in groups.items():
        moved = np.sqrt(((own[rows] - others[rows]) ** 2).sum(axis=1))
        value = _mean(moved, base[rows]) / scale if scale else math.nan
        yield Measure(site_caption(site), label, name, value, headline=label == pooled)


def _changed(part: Part, rows: NDArray[np.int64]) -> float:
    runs = part.session.runs
    base = baseline_of(part.session)
    known = [int(row) for row in rows if base[row] >= 0]
    differing = [not part.session.same_text(runs[row], runs[int(base[row])]) for row in known]
    return float(np.mean(differing)) if differing else math.nan


def _mean(values: NDArray[np.float64], base: NDArray[np.int64]) -> float:
    """The mean of what is finite and has a baseline."""
    kept = values[np.isfinite(values) & (base >= 0)]
    return float(kept.mean()) if kept.size else math.nan


UNDER = ("pooled", "value", "level")
"""Roles of groups that hold intervened runs."""
FAMILY = "controls"
"""That ranks among controls are in."""
_FAR = 2.0
"""Robust spreads of three traits beyond which neurons are not alike: typical neighbours are at about 1."""


def control_nulls(session: Session, plane_index: int, by: Sequence[str], vectors: Captured) -> tuple[NullBand, ...]:
    """The band that controls span around the curves of every group of intervened runs of a plane.

    Each control is swept in its own plane: its own neuron at 0 degrees where the target's is, the same partner. With
    at least 39 the band is the middle 95 % at every angle by itself, with fewer the whole range.

    Args:
        session: any; without controls, or with none that are complete, there are no bands.
        vectors: full vectors of at least the plane's site, rows in the order of the runs.

    Returns:
        One a group of which at least two controls have every run.
    """
    try:
        controls = controls_of(session)
    except DamagedError:
        return ()
    plane = session.planes[plane_index]
    if controls is None or not has_own_axis(session, plane):
        return ()
    swept: dict[str, list[SweptGroup]] = {}
    target, *others = parts_of(session, vectors)
    targets = {group.label: group for group in swept_groups(target.session, target.session.planes[plane_index], by)}
    for part in others:
        if not part.rows.size:
            continue
        for group in swept_groups(part.session, part.session.planes[plane_index], by):
            if group.role in UNDER and group.label in targets and group.n_runs == targets[group.label].n_runs:
                swept.setdefault(group.label, []).append(group)
    noun = "matched neurons" if controls.matches else "random directions"
    what = f"{noun} {pooled_caption(session.spec)} alike"
    return tuple(_null(label, groups, what) for label, groups in swept.items() if len(groups) > 1)


def controls_study(session: Session, arguments: Arguments) -> Findings:
    """How the target of a session ranks among its controls, and which those are.

    Args:
        arguments: "by": "pooled" (default) or "condition" for every value by itself as well; "chosen" ("before" or
            "after" looking) and "candidates" (how many were looked at), where the experiment does not say.

    Raises:
        ExplorerError: no controls, none complete, no vectors, or the experiment says otherwise.
    """
    settings = StudyArguments(arguments, ("by", "chosen", "candidates"), "controls")
    by = settings.choice("by", ("pooled", CONDITION))
    chosen = settings.word("chosen", ("before", "after"))
    selection = selection_of(session, chosen, settings.whole("candidates", least=1))
    vectors = session.vectors()
    parts = parts_of(session, vectors, complete=True)
    by_part = [measures_of(part, vectors, by_condition=by == CONDITION) for part in parts]
    controls = controls_of(session)
    assert controls is not None, "parts_of refuses a session without"
    return findings_of(
        _ranks(session, parts, by_part, selection),
        _neurons(session, parts, by_part, controls),
        chosen=selection.chosen,
        candidates=selection.candidates,
        looked_at=selection.known,
    )


def least_p(count: int, candidates: int = 1) -> str:
    """The smallest p-value that controls can give the best of some candidates, as text: ".05" for 19 and 1."""
    return short(float(f"{candidates / (count + candidates):.3g}"))


def _null(label: str, groups: Sequence[SweptGroup], what: str) -> NullBand:
    mean, middle = null_band(np.array([group.sweep.mean for group in groups]))
    legend = f"{'95 %' if middle else 'range'} of {len(groups)} {what}"
    counts: dict[float, Band] = {
        level: null_band(np.array([group.sweep.counts[index] for group in groups], np.float64))[0]
        for index, level in enumerate(groups[0].sweep.thresholds)
    }
    return NullBand("controls", legend, label, len(groups), mean, counts)


def _ranks(
    session: Session, parts: Sequence[Part], by_part: Sequence[Sequence[Measure]], selection: Selection
) -> TableFigure:
    """Every measure of the target beside the controls', those left out that nobody has."""
    everyone = np.array([[measure.value for measure in measures] for measures in by_part], np.float64)
    measured = np.flatnonzero(~np.isnan(everyone).all(axis=0))
    target: list[Measure] = [by_part[0][int(index)] for index in measured]
    columns: list[NDArray[np.float64]] = list(everyone[1:, measured].T)
    p = np.array(
        [
            rank_p(measure.value, column, selection.compared) if measure.tested else np.nan
            for measure, column in zip(target, columns, strict=True)
        ],
        np.float64,
    )
    tests = [
        ComputedTest(
            "rank among controls",
            {"where": m.where, "runs": m.group, "measure": m.name, "best of": selection.compared},
            value,
        )
        for m, value in zip(target, p.tolist(), strict=True)
    ]
    counted = record_tests(session, tests, FAMILY)
    q = [float(value) for value in counted.q]
    rows: list[tuple[str | float | None, ...]] = []
    for index, (measure, column) in enumerate(zip(target, columns, strict=True)):
        known = column[~np.isnan(column)]
        spread = (None, None, None)
        if known.size and not measure.circular:
            spread = (float(np.median(known)), float(known.min()), float(known.max()))
        rows.append(
            (measure.where, measure.group, measure.name, measure.value, *spread, as_cell(p[index]), as_cell(q[index]))
        )
    return TableFigure(
        name="controls",
        title=f"{session.name} · the target among its controls",
        columns=table_columns(
            "where::text; group:runs:text:1; measure::text; target; control_median:median; control_low:lowest; "
            f"control_high:highest; p:{selection.p_title}:p; q:{selection.q_title}:p:2"
        ),
        rows=tuple(rows),
        notes=_notes(
            session,
            parts,
            counted,
            any(not (measure.tested or measure.circular) for measure in target),
            selection,
        ),
    )


def _notes(
    session: Session, parts: Sequence[Part], counted: Counted, holds_set: bool, selection: Selection
) -> tuple[str, ...]:
    controls = controls_of(session)
    assert controls is not None
    k = controls.count
    target = parts[0].session
    pairs = len({(run.prompt, run.sample) for run in target.runs})
    planned = sum(session.prompts_seen) * session.spec.generation.samples
    sizes = f"{count_of(k, 'control')}, {count_of(len({run.prompt for run in target.runs}), 'prompt')}"
    over = "neurons" if controls.matches else "directions"
    n_runs = int(np.count_nonzero(target.kinds == "sweep"))
    named = selection.p_title
    rank = f"(1 + controls at least as large) / {k + 1}, so none below {least_p(k)}"
    if selection.compared > 1:
        rank = f"how often the best of {selection.compared:,} has no more of {count_of(k, 'control')} above it"
    notes = [
        *edge_lines(controls),
        *selection.notes(k),
        f"{sizes}, {count_of(n_runs, 'run')} each; "
        + ("the same raw values for all" if controls.matches else "directions of the same length, the same values"),
        f"{named}: {rank}; over {over}, these prompts given; {selection.q_title}: Benjamini-Hochberg",
        *counted.lines,
    ]
    lengths = [length_note(session, plane) for plane in session.planes[:1]]
    if lengths and lengths[0].said:
        over = "each run and its baseline over the tokens that both have" if lengths[0].kept else lengths[0].said
        notes.append(f"texts differ in length: {over}")
    if holds_set:
        notes.append("no p where the measure holds what the experiment set: its coordinate is part of the amplitude")
    if pairs < planned:
        notes.insert(0, f"incomplete: on the {pairs} of {planned} prompts and samples that have all of their runs")
    if k < 19 and selection.compared == 1:
        notes.append(f"with {count_of(k, 'control')} nothing can fall below p = .05; 19 is the least that can")
    distances = [distance for match in controls.matches for distance in match.distances]
    if distances:
        far = float(np.median(distances))
        notes.append(
            f"controls lie {three_digits(far)} robust spreads from their target (median; at most"
            f" {three_digits(max(distances))}) in mean, log σ and log W_out norm, over {controls.tokens:,} tokens of"
            " the baseline"
        )
        if far > _FAR:
            notes.insert(0, "poorly matched: the target is unlike other neurons of its layer, so controls say little")
    for index, plane in enumerate(session.planes):
        if not has_own_axis(session, plane):
            continue
        other = parts[1].session.planes[index] if len(parts) > 1 else plane
        swapped = ", for each control with its own neuron in place of the target's"
        is_own = (other.a, other.b) != (plane.a, plane.b)
        notes.append(f"plane {index + 1}: {plane_title(plane)}{swapped if is_own else ', the same for every control'}")
    skipped = [number for number, plane in enumerate(session.planes, 1) if not has_own_axis(session, plane)]
    if skipped:
        listed = ", ".join(map(str, skipped))
        notes.append(f"left out: plane {listed}, whose axis is the target's own weights; controls have none there")
    notes.append(f"drawn with seed {controls.seed} from the nearest neurons" if distances else f"seed {controls.seed}")
    return tuple(notes)


def _neurons(
    session: Session, parts: Sequence[Part], by_part: Sequence[Sequence[Measure]], controls: Controls
) -> TableFigure:
    shown = [index for index, measure in enumerate(by_part[0]) if measure.headline]
    several = len({match.site for match in controls.matches}) > 1
    columns = [TableColumn("control", "control", "text")]
    for number, match in enumerate(controls.matches, 1):
        name = coordinate_caption(match.site, match.target)
        title = f"L{match.site.split('.')[1]} {name}" if several else f"for {name}"
        suffix = f"_{number}" if len(controls.matches) > 1 else ""
        columns += [
            TableColumn(f"neuron{suffix}", title, "text"),
            TableColumn(f"distance{suffix}", "distance", keep=1),
            TableColumn(f"mean{suffix}", "mean", keep=2),
            TableColumn(f"std{suffix}", "σ", keep=2),
            TableColumn(f"norm{suffix}", "W_out norm", keep=2),
        ]
    for index in shown:
        title = f"{by_part[0][index].where}: {by_part[0][index].name}"
        key = re.sub(r"\W+", "_", title.lower()).strip("_")  # what it is, also where keys stand without titles: --json
        columns.append(TableColumn(f"measure_{key}", title, keep=3))
    rows: list[tuple[str | float | None, ...]] = []
    for part, measures in zip(parts, by_part, strict=True):
        cells: list[str | float | None] = [str(part.number) if part.number else "target"]
        for match in controls.matches:
            neuron = match.neurons[part.number - 1] if part.number else match.target
            traits = match.traits[part.number]
            distance = match.distances[part.number - 1] if part.number else None
            cells += [coordinate_caption(match.site, neuron), distance, traits.mean, traits.std, traits.norm]
        rows.append((*cells, *(as_cell(measures[index].value) for index in shown)))
    return TableFigure(
        name="control_neurons",
        title=f"{session.name} · the controls" + ("" if controls.matches else ": random directions"),
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            *edge_lines(controls),
            *(("distance: in robust spreads, of mean, log σ and log W_out norm",) if controls.matches else ()),
        ),
    )

"""What the reader of a chart would be misled without, one line each, the gravest first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.experiment import InterventionSpec, Site
from srm_explorer.engine.experiment.directions import needs_runs
from srm_explorer.engine.experiment.model_fit import Apartness, apart_from
from srm_explorer.engine.figures.bands import lit_by_chance, stored_nulls, stored_p
from srm_explorer.engine.figures.captions import (
    coordinate_caption,
    edited_caption,
    exploratory_line,
    plane_captions,
    site_caption,
)
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.numbers import count_of, degrees, short, three_digits
from srm_explorer.engine.figures.table import cell_text
from srm_explorer.engine.session import (
    DamagedError,
    Number,
    PlaneRecord,
    Session,
    chosen_on,
    read_record,
    seen_units,
    unit_warnings,
)
from srm_explorer.engine.session.controls import Controls, controls_of
from srm_explorer.engine.session.lengths import depends_on_length, length_note
from srm_explorer.engine.session.units import broken_texts

FEW_UNITS = 10
NEAR_DEG = 20.0
"""Raw angle of two directions below which noise in one of them turns the plane."""

SIGNIFICANCE = 0.05
"""Above this p, nothing beyond arithmetic was found."""

NEAR_TIE, NEAR_TIE_HALF = 1e-3, 0.1
"""Lead in logits, of float32 and of half precision, that rounding alone can turn round."""

CHANCE_SHARE = 0.05
"""Share of runs that chance may light before a threshold tells nothing."""


def session_warnings(session: Session, plane: PlaneRecord | None, groups: Sequence[SweptGroup] = ()) -> tuple[str, ...]:
    """What the reader of a chart should know of the experiment, the gravest first; without a plane, of its texts."""
    first = (
        *broken_texts(session.runs_of_seen),
        *_of_model(session),
        *_kept_back(session),
        *filter(None, [exploratory_line(session)]),
    )
    of_all = (*_few_units(session), *unit_warnings(session))
    runs = (*_at_edges(session), *_last_layer(session), *_near_ties(session))
    if plane is None:
        middle = (*_unreached(session), *_incomplete(session), *_out_of_range(session))
        return tuple(dict.fromkeys((*first, *middle, *of_all, *runs, *_clamped_to_zero(session))))
    notes = (
        *first,
        *_apart(session, plane, "here"),
        *(_apart(session, plane, "elsewhere") if _is_unseen(session) else ()),
        *dipped(session, plane),
        *_symmetric(session, plane, groups),
        *_unreached(session),
        *_incomplete(session),
        *_collinear(plane),
        *_out_of_range(session),
        *of_all,
        *_chance(session, plane, groups),
        *runs,
        *_lengths(session, plane),
        *_apart(session, plane, "elsewhere"),
        *_clamped_to_zero(session),
    )
    return tuple(dict.fromkeys(notes))


def clamped_values(session: Session, intervention: int, neuron: int) -> NDArray[np.float64]:
    """Raw values one neuron was clamped to over the sweep, ascending; none where their units were not resolved."""
    if session.spec.interventions[intervention].background:
        return np.empty(0)
    clamped: list[float] = []
    for condition in session.conditions:
        row = session.resolved[condition.index] if session.resolved else ()
        if condition.kind == "sweep" and intervention < len(row):
            values = row[intervention]
            if values is not None and neuron < len(values):
                clamped.append(values[neuron])
    return np.sort(np.array(clamped, dtype=np.float64))


def _of_model(session: Session) -> Iterator[str]:
    remarks: object = session.told("model").get("remarks")
    if isinstance(remarks, list):
        yield from (
            remark for remark in cast("list[object]", remarks) if isinstance(remark, str) and remark.isprintable()
        )


def _kept_back(session: Session) -> Iterator[str]:
    number = session.kept_back
    if session.confirms:
        yield f"only the {count_of(number, 'prompt')} that were kept for confirmation"
    elif number:
        yield (
            f"{count_of(number, 'prompt')} of {len(session.prompts):,} are kept for confirmation and in no chart or"
            f" table: srm-explorer confirm {session.name}"
        )


def _apart(session: Session, plane: PlaneRecord, which: Apartness) -> Iterator[str]:
    """Say that nothing edited lies in the plane; among neurons of another layer that may well be what is wanted."""
    if apart_from(session.spec, plane.site, plane.a, plane.b) != which:
        return
    a, b = plane_captions(plane)
    edited = edited_caption(session.spec, past=True, layers=which == "elsewhere")
    where = f" of {site_caption(plane.site)}" if which == "elsewhere" else ""
    yield f"this plane holds nothing that was edited: {edited}, the plane is {a} × {b}{where}"


def _is_unseen(session: Session) -> bool:
    """Whether no plane of a session holds anything that was edited."""
    return all(apart_from(session.spec, plane.site, plane.a, plane.b) != "no" for plane in session.planes)


HELD_OUT = "held out (--held-out, P on the screen)"
"""Where the alternative is, on the command line and on the screen."""


def dipped(session: Session, plane: PlaneRecord) -> Iterator[str]:
    """Say that a plane was made of the runs that are shown in it, or chosen on them; or that these are held out.

    Groups separate along the difference of their own means whether or not they differ in anything else (Kriegeskorte,
    Simmons, Bellgowan and Baker 2009).
    """
    if plane.held_out is not None:
        yield f"held out: made on {plane.held_out.made} units, the {plane.held_out.shown} others are shown"
        return
    sides = zip((plane.a, plane.b), plane_captions(plane), strict=True)
    made = [caption for along, caption in sides if isinstance(along, str) and needs_runs(along)]
    if made:
        them, are = ("them", "are") if len(made) > 1 else ("it", "is")
        yield (
            f"{' and '.join(made)} {are} made of the runs that are shown: they separate along {them} by construction,"
            f" also where nothing differs; {HELD_OUT}, half of the units make the plane and the others are shown"
        )
        return
    chosen = len(chosen_on(session, plane.site, plane.a, plane.b))
    if chosen:
        a, b = plane_captions(plane)
        every = seen_units(session)
        yield (
            f"{a} × {b} was chosen among many planes on {chosen} of these {every} units, which separate in it by that"
            f" choice; {HELD_OUT}, the other {every - chosen} are shown alone"
        )


def _symmetric(session: Session, plane: PlaneRecord, groups: Sequence[SweptGroup]) -> Iterator[str]:
    pooled = next((group for group in groups if group.role == "pooled"), None)
    if pooled is None:
        pooled = next((group for group in groups if group.role == "level"), None)
    if pooled is None:
        return
    for edit, _, neuron, values in _clamps(session):
        on_axis = edit.site == plane.site and neuron in (plane.a, plane.b)
        if not (on_axis and values.any() and np.allclose(values, -values[::-1], rtol=1e-6, atol=1e-9)):
            continue
        angle = "±90°" if neuron == plane.a else "0° or 180°"
        p = stored_p(session, plane, pooled.label)
        if p is not None and p > SIGNIFICANCE:
            yield (
                f"as arithmetic predicts: symmetric clamps turn the pooled phase to {angle} by themselves"
                f" (here {degrees(pooled.sweep.phase_deg)}), and nothing beyond it was found"
                f" (p {cell_text(p, 'p')}); compare values one by one, or without {_name(edit, neuron)}"
            )
        else:
            more = "" if p is None else f"; what is beyond it has p {cell_text(p, 'p')}"
            yield (
                f"clamps symmetric around 0: the phase of their pooled mean turns to {angle} by arithmetic{more};"
                " compare values one by one"
            )


def _incomplete(session: Session) -> Iterator[str]:
    counted = {condition.index for condition in session.conditions if condition.kind != "control"}
    done = Counter(run.prompt for run in session.runs_of_seen if run.condition in counted)
    balanced = set(done.values()) <= {len(counted) * session.spec.generation.samples}
    if session.is_imported and not balanced:
        cells = {(run.prompt, run.condition) for run in session.runs if run.condition in counted}
        yield (
            "prompts have unlike numbers of runs: what is over runs weighs some of them more"
            if set(Counter(prompt for prompt, _ in cells).values()) == {len(counted)}
            else "some prompts lack some of the conditions, so groups hold different prompts"
        )
    elif session.state == "interrupted" and not balanced:
        # The same of a run that goes on and of one that was stopped: who draws it may not know which it is.
        yield (
            "incomplete: some prompts lack some of their conditions, so groups hold different prompts until the last"
            " run is there"
        )


def _collinear(plane: PlaneRecord) -> Iterator[str]:
    angle = min(plane.raw_angle_deg, 180.0 - plane.raw_angle_deg)
    if angle < NEAR_DEG:
        a, b = plane_captions(plane)
        yield (
            f"{a} and {b} are only {three_digits(angle)}° apart: 90° is what little of {b} is not along {a};"
            " choose directions further apart"
        )


def _chance(session: Session, plane: PlaneRecord, groups: Sequence[SweptGroup]) -> Iterator[str]:
    levels = sorted({level for group in groups for level in group.sweep.thresholds if level > 0})
    lit: dict[float, float] = {}
    for null in stored_nulls(session, plane):
        group = next((group for group in groups if group.label == null.get("group")), None)
        if group is None or not group.sweep.n:
            continue
        for level in levels:
            share = lit_by_chance(null, level) / group.sweep.n
            if share > CHANCE_SHARE:
                lit[level] = max(lit.get(level, 0.0), share)
    if lit:
        listed = ", ".join(short(level) for level in lit)
        yield (
            f"counts above {listed} say little: chance alone lights up to {cell_text(max(lit.values()), 'percent')}"
            " of a group's runs there, away from the first direction; choose a higher threshold"
        )


def _out_of_range(session: Session) -> Iterator[str]:
    worst: tuple[float, str] | None = None
    for edit, index, neuron, values in _clamps(session):
        ends = _measured_range(session, index, edit.neurons.index(neuron))
        if ends is None or not len(values):
            continue
        low, high = ends
        excess = np.maximum(low - values, values - high)
        outside = excess > 1e-9 * max(abs(low), abs(high), 1e-30)
        if not outside.any():
            continue
        width = high - low
        far = float(excess.max()) / width if width > 0 else np.inf
        value = three_digits(float(values[int(excess.argmax())]))
        how = (
            f"the farthest, {value}, by {three_digits(far)} times that range" if np.isfinite(far) else f"as {value} is"
        )
        note = (
            f"{int(outside.sum())} of {count_of(len(values), 'clamp value')} lie outside what {_name(edit, neuron)}"
            f" does in the baseline ({three_digits(low)} to {three_digits(high)}), {how};"
            " no text of these prompts does that"
        )
        if worst is None or far > worst[0]:
            worst = far, note
    if worst is not None:
        yield worst[1]


def _few_units(session: Session) -> Iterator[str]:
    units = seen_units(session)
    if units == 1:
        yield "only 1 unit (prompt): there is no interval and no p; add prompts"
    elif 0 < units < FEW_UNITS:
        least = cell_text(2.0 ** (1 - units), "p")
        yield f"only {count_of(units, 'unit')} (prompts): intervals are wide, and p is at least {least}; add prompts"


def _last_layer(session: Session) -> Iterator[str]:
    layers = session.told("model").get("n_layers")
    exceptions = {
        "prompt": ": the first token alone",
        "last": ": the first token alone",
        "generated": ": not the first token",
    }
    for edit in session.spec.interventions:
        site = Site.parse(edit.site)
        if site.layer + 1 == layers and site.kind != "hook_resid_pre" and session.spec.generation.tokens:
            which = exceptions.get(edit.positions, "") if isinstance(edit.positions, str) else ""
            yield (
                "at the last layer no later token sees what was changed: it acts on tokens that are predicted at"
                f" changed positions{which}; choose an earlier layer for what spreads"
            )
            return


def _unreached(session: Session) -> Iterator[str]:
    """Experts that are changed and never chosen: whatever the values, nothing was done."""
    counts: Counter[str] = Counter()
    for batch in session.receipts:
        for receipt in cast("Sequence[Mapping[str, Any]]", batch.get("sites", ())):
            counts[receipt["site"]] += receipt["edited"]
    for site in dict.fromkeys(edit.site for edit in session.spec.interventions):
        if Site.parse(site).expert is not None and site in counts and not counts[site]:
            yield f"no position at which {site_caption(site)} is changed was sent to its expert: nothing was changed"


def _near_ties(session: Session) -> Iterator[str]:
    half = session.spec.model.dtype in ("float16", "bfloat16")
    least = NEAR_TIE_HALF if half else NEAR_TIE
    changed = [run for run in session.seen_runs if "first_change" in run.metrics]
    near = sum(run.min_margin is not None and run.min_margin < least for run in changed)
    if near:
        yield (
            f"{near:,} of {count_of(len(changed), 'changed text')} came within {short(least)} logits of a tie: rounding"
            " may have flipped them, not the intervention; replay in float64 to see"
        )


def _lengths(session: Session, plane: PlaneRecord) -> Iterator[str]:
    if not depends_on_length(session.spec):
        return
    lengths: defaultdict[int, set[int]] = defaultdict(set)
    for run in session.seen_runs:
        lengths[run.prompt].add(len(run.token_ids))
    unlike = sum(len(counts) > 1 for counts in lengths.values())
    if unlike:
        note = length_note(session, plane)
        tests = (
            f"tests are at the common length, over the tokens that both texts have ({note.differ:,} of {note.units:,}"
            " units differ), an end-of-text not counted"
        )
        if not note.kept:
            tests = "so are tests here, where no means over fewer tokens are kept: run it again to have them"
            if session.state == "interrupted":
                tests = "means over common tokens, which tests take, come after the last run"
        elif note.empty:
            tests += f", and leave out {count_of(note.empty, 'run')} of a pair of which one ended at once"
        yield (
            f"texts differ in length within {unlike:,} of {count_of(len(lengths), 'prompt')} (an end-of-text): curves"
            f" are of means over unlike numbers of tokens, and a mean over more is shorter; {tests}"
        )


def _at_edges(session: Session) -> Iterator[str]:
    try:
        controls = controls_of(session)
    except DamagedError:
        return
    yield from edge_lines(controls) if controls is not None else ()


def edge_lines(controls: Controls) -> tuple[str, ...]:
    """Say of every target at the edge of what it was matched on that its controls are not like it there."""
    lines: list[str] = []
    for match in controls.matches:
        ends = [
            f"its {name} ({three_digits(own)}) is not within theirs ({three_digits(low)} to {three_digits(high)})"
            for name, own, low, high in match.edges()
        ]
        if ends:
            who = coordinate_caption(match.site, match.target)
            lines.append(f"{who} lies at the edge of its {count_of(controls.count, 'control')}: {', '.join(ends)}")
    return tuple(lines)


def _clamped_to_zero(session: Session) -> Iterator[str]:
    if any((values == 0).any() for *_, values in _clamps(session)):
        yield "a clamp to 0 is not the baseline: it holds the neuron at 0"


def _clamps(session: Session) -> Iterator[tuple[InterventionSpec, int, int, NDArray[np.float64]]]:
    """Each clamped neuron of the sweep: its intervention and that one's place, the neuron, its raw values."""
    for index, edit in enumerate(session.spec.interventions):
        if edit.op == "clamp" and not edit.background:
            for at, neuron in enumerate(edit.neurons):
                yield edit, index, neuron, clamped_values(session, index, at)


def _name(edit: InterventionSpec, neuron: int) -> str:
    return coordinate_caption(edit.site, neuron)


def _measured_range(session: Session, index: int, at: int) -> tuple[float, float] | None:
    """The smallest and largest value that a neuron had in the baseline; None where that was not measured."""
    units: object = session.provenance.get("units")
    listed = cast("list[object]", units) if isinstance(units, list) else []
    measured = listed[index] if index < len(listed) else None
    try:
        quantiles = cast("list[list[object]]", cast("Mapping[str, Any]", measured)["quantiles"])
        return read_record(tuple[Number, Number], (quantiles[0][at], quantiles[-1][at]), "quantiles")
    except (KeyError, IndexError, TypeError, DamagedError):
        return None

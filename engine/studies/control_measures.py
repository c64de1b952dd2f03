"""What a target and its controls are measured by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.figures.arithmetic import arithmetic_points
from engine.figures.captions import pooled_caption, site_caption
from engine.figures.editing import baseline_of
from engine.figures.numbers import short
from engine.figures.session import CONDITION, points_of, swept_groups
from engine.studies.controlled import Captured, Part, has_own_axis, run_means

WHOLE_TEXT = "text"


@dataclass(frozen=True)
class Measure:
    """One number of a target or of a control.

    Attributes:
        where: the plane, the site or "text".
        group: label of the runs it is of.
        name: what it is.
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
        part: of a session, see `parts_of`.
        vectors: full vectors of the whole session.
        by_condition: True to measure every value by itself as well.

    Returns:
        The same measures in the same order for every part of a session.
    """
    pooled = pooled_caption(part.session.spec)
    groups = {pooled: _places(part, None)}
    if by_condition:
        swept = [one for one in part.session.conditions if one.kind == "sweep"]
        if len(swept) > 1:
            groups |= {one.label: _places(part, one.index) for one in swept}
    found: list[Measure] = []
    for index in range(len(part.session.planes)):
        found.extend(_in_plane(part, index, groups, pooled))
    for site in part.session.spec.capture.sites:
        found.extend(_off_axis(part, vectors, site, groups, pooled))
    for label, places in groups.items():
        found.append(Measure(WHOLE_TEXT, label, "share changed", _changed(part, places), headline=label == pooled))
    return tuple(found)


def _places(part: Part, condition: int | None) -> NDArray[np.int64]:
    """Places, among the part's runs, of one condition of the sweep, or of all."""
    kinds = [one.kind for one in part.session.conditions]
    return np.array(
        [
            place
            for place, run in enumerate(part.session.runs)
            if kinds[run.condition] == "sweep" and condition in (None, run.condition)
        ],
        np.int64,
    )


def _in_plane(part: Part, index: int, groups: dict[str, NDArray[np.int64]], pooled: str) -> Iterator[Measure]:
    session = part.session
    plane = session.planes[index]
    if not has_own_axis(session, plane):
        return
    where = f"plane {index + 1}"
    points = points_of(plane)
    predicted = arithmetic_points(session, index)
    base = baseline_of(session)
    sets = any(side in part.edited.get(plane.site, ()) for side in (plane.a, plane.b))
    swept = {one.label: one for one in swept_groups(session, plane)}
    swept |= {one.label: one for one in swept_groups(session, plane, (CONDITION,))}
    for label, places in groups.items():
        sweep = swept[label].sweep
        yield Measure(where, label, "amplitude", sweep.amplitude, tested=not sets, headline=label == pooled)
        phase = math.nan if sweep.phase_deg is None else sweep.phase_deg
        yield Measure(where, label, "phase °", phase, tested=False, circular=True)
        for side, along in enumerate((plane.a, plane.b)):
            if along in part.edited.get(plane.site, ()):
                continue
            shift = _mean(points.xy[places, side] - points.xy[base[places], side], base[places])
            yield Measure(where, label, f"|change of cos {('0°', '90°')[side]}|", abs(shift))
        beyond = math.nan
        if predicted is not None:
            apart = points.xy[places] - predicted.xy[places]
            apart = apart[np.isfinite(apart).all(axis=1)]
            beyond = float(np.hypot(*apart.mean(axis=0))) if len(apart) else math.nan
        yield Measure(where, label, "beyond arithmetic", beyond, headline=label == pooled)
        for place, level in enumerate(sweep.thresholds):
            counts = sweep.counts[place]
            yield Measure(where, label, f"most > {short(level)}", float(counts.max()) if sweep.n else math.nan)


def _off_axis(
    part: Part, vectors: Captured, site: str, groups: dict[str, NDArray[np.int64]], pooled: str
) -> Iterator[Measure]:
    """How far runs move from their baselines in the coordinates that nothing edits, in mean baseline lengths.

    At a site that a direction is added to, what is added is part of it: as long for every control as for the target.
    """
    name = "change off axis" if part.edited.get(site) else "change"
    whole = run_means(vectors[site], part.rows)
    whole[:, list(part.edited.get(site, ()))] = 0.0
    base = baseline_of(part.session)
    is_baseline = np.flatnonzero(base == np.arange(len(base)))
    lengths = np.sqrt((whole[is_baseline] ** 2).sum(axis=1))
    scale = _mean(lengths, is_baseline)
    for label, places in groups.items():
        moved = np.sqrt(((whole[places] - whole[base[places]]) ** 2).sum(axis=1))
        value = _mean(moved, base[places]) / scale if scale else math.nan
        yield Measure(site_caption(site), label, name, value, headline=label == pooled)


def _changed(part: Part, places: NDArray[np.int64]) -> float:
    """The share of runs whose tokens differ from their baseline's."""
    runs = part.session.runs
    base = baseline_of(part.session)
    known = [int(place) for place in places if base[place] >= 0]
    differing = [runs[place].token_ids != runs[int(base[place])].token_ids for place in known]
    return float(np.mean(differing)) if differing else math.nan


def _mean(values: NDArray[np.float64], base: NDArray[np.int64]) -> float:
    """The mean of what is finite and has a baseline."""
    kept = values[np.isfinite(values) & (base >= 0)]
    return float(kept.mean()) if kept.size else math.nan

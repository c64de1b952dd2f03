"""What a session holds and tells as pandas frames, for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.analyses.survey import survey_table
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.figures import SweptGroup
from srm_explorer.engine.figures.bands import GroupBand
from srm_explorer.engine.figures.groups import CONDITION, swept_groups
from srm_explorer.engine.figures.session_overlays import stored_bands
from srm_explorer.engine.figures.table import pandas
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.engine.session.export import is_category, run_table

FrameKind: TypeAlias = Literal["runs", "curves", "effects", "statistics", "survey"]

_GROUPINGS: tuple[tuple[str, ...], ...] = ((), (CONDITION,))


def frame(session: Session, kind: FrameKind = "runs") -> Any:
    """A pandas frame of a session; numbers as they were computed, what is not known missing.

    Args:
        kind: "runs", a row a run: prompt, condition, text, places in planes, of controls too;
            "curves", a row a plane, group and angle: the mean cosine, and the runs above each threshold;
            "effects", a row a value: what the intervention did to the texts, and what those are like;
            "statistics", a row a plane and group: A, B, amplitude and phase (degrees) with their intervals as far as
            bands are saved, and the p and q of what is beyond arithmetic;
            "survey", a row a layer, neuron and value: what was found of each neuron, see `survey_table`.

    Raises:
        ExplorerError: another kind, what the session lacks for it, or pandas is not installed.
    """
    if kind not in get_args(FrameKind):
        raise ExplorerError(f"there is no frame {kind!r}", remedy=did_you_mean(str(kind), list(get_args(FrameKind))))
    library = pandas()
    if kind == "runs":
        table: Mapping[str, Sequence[Any]] = run_table(session, controls=True)
        columns = {name: _column(library, name, cells) for name, cells in table.items()}
        return library.DataFrame(columns).astype({name: "Int64" for name in _WHOLE if name in columns})
    if kind == "effects":
        return _effects(library, session)
    if kind == "survey":
        found = survey_table(session)
        return library.DataFrame({name: _column(library, name, cells) for name, cells in found.items()})
    rows = list(_curves(session) if kind == "curves" else _statistics(session))
    if not rows:
        what = f"it has no plane, and so no {kind}"
        raise ExplorerError(what, where=session.name, remedy="add one: srm-explorer planes NAME --add A B")
    made = library.DataFrame({name: _column(library, name, [row[name] for row in rows]) for name in rows[0]})
    return made.astype({"site": "category", "group": "category"})


_WHOLE = ("tokens", "control")
"""Of runs, whole numbers that some may lack."""


def _column(library: Any, name: str, cells: Sequence[Any]) -> Any:
    if is_category(name):
        return library.Categorical(cells)
    if None in cells and any(map(_is_whole, cells)) and all(cell is None or _is_whole(cell) for cell in cells):
        return library.array(cells, dtype="Int64")
    is_number = any(isinstance(cell, float) for cell in cells) or (None in cells and not any(map(_is_text, cells)))
    return library.Series(cells, dtype="float64").array if is_number else cells


def _is_whole(cell: object) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool)


def _is_text(cell: object) -> bool:
    return isinstance(cell, str)


def _planes(session: Session) -> Iterator[tuple[dict[str, Any], PlaneRecord, SweptGroup, GroupBand | None]]:
    """Every group of every plane once: pooled, then by value."""
    for index, plane in enumerate(session.planes):
        heading = {"plane": index + 1, "site": plane.site, "a": str(plane.a), "b": str(plane.b)}
        known: set[str] = set()
        for by in _GROUPINGS:
            bands = stored_bands(session, index, by)
            for group in swept_groups(session, plane, by):
                if group.label not in known:
                    known.add(group.label)
                    yield {**heading, "group": group.label}, plane, group, bands.of(group.label) if bands else None


def _curves(session: Session) -> Iterator[dict[str, Any]]:
    for heading, _, group, _ in _planes(session):
        sweep = group.sweep
        counts = {
            f"count_thresh_{level!r}": row.tolist() for level, row in zip(sweep.thresholds, sweep.counts, strict=True)
        }
        for at, (angle, mean) in enumerate(zip(sweep.angles_deg.tolist(), sweep.mean.tolist(), strict=True)):
            yield {
                **heading,
                "angle_deg": angle,
                "mean_similarity": mean,
                **{name: row[at] for name, row in counts.items()},
                "n": sweep.n,
            }


def _statistics(session: Session) -> Iterator[dict[str, Any]]:
    for heading, _, group, band in _planes(session):
        sweep = group.sweep
        amplitude = (None, None) if band is None else band.amplitude
        phase = (None, None) if band is None or band.phase_deg is None else band.phase_deg
        yield {
            **heading,
            "prompts": group.n_prompts,
            "runs": group.n_runs,
            "units": None if band is None else band.units,
            "a_mean": sweep.a,
            "b_mean": sweep.b,
            "amplitude": sweep.amplitude,
            "amplitude_from": amplitude[0],
            "amplitude_to": amplitude[1],
            "phase_deg": sweep.phase_deg,
            "phase_from_deg": phase[0],
            "phase_to_deg": phase[1],
            "p_beyond_arithmetic": None if band is None else band.p_arithmetic,
            "q_beyond_arithmetic": None if band is None else band.q_arithmetic,
            "p_mean_beyond_arithmetic": None if band is None else band.p_mean,
        }


def _effects(library: Any, session: Session) -> Any:
    """The tables of the effects study that have a row a value, side by side."""
    made: dict[str, dict[str, Any]] = {}
    known: dict[str, None] = {}
    for table in tables_in(effects_study(session, {})):
        keys = [column.key for column in table.columns]
        if keys[0] != "value" or len({row[0] for row in table.rows}) < len(table.rows):
            continue
        values = [str(row[0]) for row in table.rows]
        known |= dict.fromkeys(values)
        for key, *cells in list(zip(keys, *table.rows, strict=True))[1:]:
            made.setdefault(key, dict(zip(values, cells, strict=True)))
    if not made:
        raise ExplorerError("it tells of no effects", where=session.name, remedy="it needs texts, and a baseline")
    order = [label for condition in session.conditions if (label := condition.label) in known]
    order += [value for value in known if value not in order]
    values = library.Categorical(order, categories=order, ordered=True)
    columns = {key: _column(library, key, [cells.get(value) for value in order]) for key, cells in made.items()}
    return library.DataFrame({"value": values, **columns})

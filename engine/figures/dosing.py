"""From a session to the dose chart of one of its planes."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from engine.analysis.groups import BASELINE
from engine.analysis.srm import UnitCoordinates
from engine.errors import ExplorerError
from engine.figures.arithmetic import arithmetic_points
from engine.figures.bands import PlaneBands
from engine.figures.captions import plane_captions, plane_title, pooled_caption, value_caption
from engine.figures.certainty import plane_index, predictions_of
from engine.figures.dose import DoseFigure, DoseStep, Prediction, dose_figure
from engine.figures.session import CONDITION, points_of, run_groups, session_warnings, swept_groups, telling_threshold
from engine.session import PlaneRecord, Session


def dose_of(
    session: Session,
    plane: PlaneRecord,
    threshold: float | None = None,
    *,
    plain: bool = True,
    bands: PlaneBands | None = None,
    points: UnitCoordinates | None = None,
    beyond: bool = False,
) -> DoseFigure:
    """The dose chart of a plane: what changes with the intervention's value.

    Args:
        session: the plane's.
        plane: one of its planes.
        threshold: cosine that runs are counted above, `telling_threshold` by default.
        plain: whether what arithmetic predicts is left out.
        bands: of the plane, grouped by condition, where they were computed.
        points: where the runs lie in the plane; as they were observed by default, else nothing is predicted.
        beyond: show what was observed minus what arithmetic predicts.

    Raises:
        ExplorerError: the session's conditions have no single value to draw it over, or nothing is predicted of them.
    """
    levels = session.spec.spotlight.thresholds if threshold is None else (threshold,)
    groups = swept_groups(session, plane, (CONDITION,), levels, points)
    places = points_of(plane) if points is None else points
    values = {condition.label: condition.value for condition in session.conditions if condition.kind == "sweep"}
    norms, along = np.array(plane.norm, dtype=np.float64), np.array(plane.x, dtype=np.float64)
    energies = (places.xy**2).sum(axis=1)
    rows = run_groups(session, (CONDITION,))
    steps: list[DoseStep] = []
    baseline: DoseStep | None = None
    for group in groups:
        runs = rows[group.label].runs
        energy = _mean(energies[runs])
        # Norm and activation are those of whole vectors.
        norm, activation = (_mean(norms[runs]), _mean(along[runs])) if points is None else (None, None)
        value = values.get(group.label)
        if group.role == BASELINE:
            baseline = DoseStep(0.0, group, norm, energy, activation)
        elif value is not None:
            steps.append(DoseStep(value, group, norm, energy, activation))
    if not steps:
        crossed = session.spec.grid and len(values) > 1
        what = "its interventions are crossed, so no single value varies" if crossed else "it has no swept value"
        raise ExplorerError(what, where=session.name, remedy="choose --chart polar or thresholds")
    prediction: Prediction | None = None
    if points is None and (beyond or not plain):
        found = arithmetic_points(session, plane_index(session, plane))
        swept = predictions_of(session, plane, groups, (CONDITION,))
        if found is not None and swept:
            energies = (found.xy**2).sum(axis=1)
            prediction = {
                label: DoseStep(values.get(label) or 0.0, group, None, _mean(energies[rows[label].runs]))
                for label, group in swept.items()
            }
    if beyond and prediction is None:
        raise ExplorerError("arithmetic predicts nothing of its runs", where=session.name, remedy="choose another view")
    figure = dose_figure(
        steps,
        telling_threshold(groups) if threshold is None else threshold,
        baseline,
        f"{session.name} · {plane_title(plane)}",
        value_caption(session.spec),
        pooled_caption(session.spec),
        f"mean {plane_captions(plane)[0]}",
        prediction=prediction,
        bands=() if bands is None or beyond or points is not None else bands.dose,
        beyond=beyond,
    )
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")

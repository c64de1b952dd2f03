"""Observed minus arithmetic: what the changed text did, with what the intervention set taken away."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.captions import plane_captions, plane_title
from srm_explorer.engine.figures.curves import Curve, SweptGroup, checked_labels, once_round, warnings_of
from srm_explorer.engine.figures.difference import difference_entry, difference_figure
from srm_explorer.engine.figures.groups import FEW_GROUPS, session_warnings, telling_threshold
from srm_explorer.engine.figures.numbers import MINUS, end_above, short, tick_label
from srm_explorer.engine.figures.overlays import Overlays
from srm_explorer.engine.figures.polar import PolarFigure, signed_rings, spokes_of, threshold_index
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.engine.session import PlaneRecord, Session

PREDICTED = "predicted"


def residual_polar(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    overlays: Overlays,
    view: Literal["counts", "mean"] = "counts",
    threshold: float | None = None,
) -> PolarFigure:
    """The polar chart of what was observed minus what arithmetic predicts; zero is the bold ring.

    Args:
        view: shares of runs above a threshold, or mean cosines.
        threshold: of the counts, `telling_threshold` by default.

    Raises:
        ExplorerError: arithmetic predicts nothing of the groups.
    """
    pairs = residual_pairs(session, groups, overlays)
    level = telling_threshold(groups) if threshold is None else threshold
    curves: list[Curve] = []
    for group, predicted in pairs:
        if view == "mean":
            y = group.sweep.mean - predicted.sweep.mean
        else:
            y = group.sweep.fraction[threshold_index(group, level)]
            y = y - predicted.sweep.fraction[threshold_index(predicted, level)]
        curves.append(Curve(group.label, *once_round(group.sweep, y)))
    sizes = np.concatenate([np.abs(curve.y) for curve in curves])
    high = end_above(float(np.nanmax(sizes)) if np.isfinite(sizes).any() else 0.0)
    end = tick_label(high, high)
    what = "mean cosine" if view == "mean" else f"share of runs with cosine > {short(level)}"
    return PolarFigure(
        title=f"{session.name} · {plane_title(plane)}",
        radius_label=f"radius: {what} {MINUS} {PREDICTED}, {tick_label(-high, high)} to {end}, bold 0",
        low=-high,
        high=high,
        curves=tuple(curves),
        rings=signed_rings(high),
        spokes=spokes_of(*plane_captions(plane)),
        legend=tuple(difference_entry(group, predicted, PREDICTED, overlays.bands) for group, predicted in pairs),
        warnings=(*warnings_of(group.sweep for group, _ in pairs), *session_warnings(session, plane, groups)),
    )


def residual_thresholds(
    session: Session,
    plane: PlaneRecord,
    groups: Sequence[SweptGroup],
    overlays: Overlays,
    threshold: float | None = None,
) -> ThresholdFigure:
    """The threshold chart of what was observed minus what arithmetic predicts; otherwise as `residual_polar`."""
    pairs = residual_pairs(session, groups, overlays)
    few = len(pairs) <= FEW_GROUPS
    level = telling_threshold(groups) if threshold is None else threshold
    levels = session.spec.spotlight.thresholds if few else (level,)
    title = f"{session.name} · {plane_title(plane)}"
    figure = difference_figure(pairs, levels, title, with_means=few, less=PREDICTED, bands=overlays.bands)
    return dataclasses.replace(figure, warnings=(*figure.warnings, *session_warnings(session, plane, groups)))


def residual_pairs(
    session: Session, groups: Sequence[SweptGroup], overlays: Overlays
) -> list[tuple[SweptGroup, SweptGroup]]:
    """Each group of which arithmetic predicts something, and what it predicts.

    Raises:
        ExplorerError: there is none.
    """
    checked_labels(groups)
    pairs = [(group, overlays.predicted[group.label]) for group in groups if group.label in overlays.predicted]
    if not pairs:
        raise ExplorerError(
            "arithmetic predicts nothing of its runs in this plane", where=session.name, remedy="choose another view"
        )
    return pairs
